mkdir -p src/sub
echo main >src/main.c
echo x >src/sub/x.h
echo one >one.txt
echo two >two.txt
mkdir docs; for n in README keep secret; do echo $n >docs/$n.md; done; touch src/sub/a.tmp
