for d in $(seq 20); do mkdir -p tree/d$d; for f in $(seq 20); do echo $d$f >tree/d$d/f$f; done; done
