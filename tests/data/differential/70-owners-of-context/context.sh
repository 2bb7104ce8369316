mkdir tree; echo f >tree/f; chown 12:13 tree tree/f; ln -s f tree/l; chown -h 14:15 tree/l
