#!/bin/sh
# Makes, in the current directory, base.tar (a root file system with owners, links, devices and a capability) and the
# context ctx beside its Dockerfile. Times are fixed and long ago.
set -eu
umask 022

mkdir base ctx
mkdir base/bin base/dev base/etc base/proc base/root base/sys base/opt
mkdir -m 1777 base/tmp
cp "$(command -v busybox)" base/bin/busybox
for applet in $(busybox --list); do
    [ "$applet" = busybox ] || ln -s busybox "base/bin/$applet"
done
printf 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:2000:app:/:/bin/sh\n' >base/etc/passwd
printf 'root:x:0:\ngrp:x:2001:app\napp:x:2000:\n' >base/etc/group
echo capable >base/bin/capable
chown 3:4 base/bin/capable
chmod 755 base/bin/capable
setcap cap_net_raw+ep base/bin/capable
mkdir -p base/opt/old/deep base/opt/keep
echo a >base/opt/old/a
echo b >base/opt/old/deep/b
ln base/opt/old/a base/opt/old/hard
ln -s a base/opt/old/soft
chown 5:6 base/opt/keep
chmod 2750 base/opt/keep
echo k >base/opt/keep/k
mknod -m 666 base/opt/null c 1 3
mkfifo base/opt/fifo
ln -s opt/keep base/tokeep
tar --xattrs --xattrs-include='*' --numeric-owner --format=pax --sort=name --mtime=@1000000000 -C base -cf base.tar .

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
