mkdir tree; echo file >tree/dir
