# Makes the context ctx in the current directory, beside its Dockerfile. Times are fixed and long ago.
mkdir ctx
cd ctx
mkdir -p src/sub src/run tree/a tree/b docs
echo main >src/main.c
echo x >src/sub/x.h
chmod 4711 src/sub/x.h
echo gone >src/sub/y.tmp
echo '#!/bin/sh' >src/run/go
chmod 755 src/run/go
ln -s ../main.c src/sub/link
ln -s /nowhere src/dangling
echo one >tree/a/one
echo two >tree/b/two
ln tree/a/one tree/b/one-hard
mkdir -m 700 tree/empty
chmod 1777 tree/b
for name in README secret keep; do
    echo "$name" >"docs/$name.md"
done
for at in 1 2 3; do
    echo "$at" >"f$at.txt"
done
ln -s f1.txt flink
ln -s tree treelink
printf 'docs/*\n!docs/keep.md\n**/*.tmp\n' >.dockerignore
for suffix in .tar .tar.gz .tar.xz .tar.bz2; do
    mkdir "d$suffix"
    echo in >"d$suffix/in"
    ln "d$suffix/in" "d$suffix/in-hard"
    ln -s in "d$suffix/in-soft"
    chmod 640 "d$suffix/in"
    chown -R 12:13 "d$suffix"
    tar --sort=none --numeric-owner --mtime=@1100000000 -caf "arch$suffix" "d$suffix"
    rm -r "d$suffix"
done
