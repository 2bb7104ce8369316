mkdir tree; echo new >tree/tofile
