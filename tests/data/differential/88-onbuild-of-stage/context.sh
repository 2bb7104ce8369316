mkdir -p src/sub
echo main >src/main.c
echo x >src/sub/x.h
echo one >one.txt
echo two >two.txt
