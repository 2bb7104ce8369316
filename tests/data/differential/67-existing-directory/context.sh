mkdir -p d/sub; echo f >d/sub/f; chmod 755 d; chmod 711 d/sub
