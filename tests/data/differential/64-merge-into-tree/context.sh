mkdir -p tree/deep tree/new; echo A >tree/a; echo B >tree/deep/b; echo c >tree/deep/c; chmod 700 tree/deep; chmod 711 tree
