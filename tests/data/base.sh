# Makes base in the current directory: a root file system with users, owners, links, devices and a capability.
mkdir base
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
