mkdir -m 700 empty; mkdir -p withempty/a/b; touch withempty/zero
