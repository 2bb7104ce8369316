# Makes base.tar in the current directory: a root file system with users, owners, links, devices and a capability.
# It has the files that builders mount over, so that what they leave of them is no difference.
mkdir base
mkdir base/bin base/dev base/etc base/proc base/root base/run base/sys base/opt
mkdir -m 1777 base/tmp
cp "$(command -v busybox)" base/bin/busybox
for applet in $(busybox --list); do
    [ "$applet" = busybox ] || ln -s busybox "base/bin/$applet"
done
printf 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:2000:app:/:/bin/sh\n' >base/etc/passwd
printf 'root:x:0:\ngrp:x:2001:app\napp:x:2000:\n' >base/etc/group
for name in hosts hostname resolv.conf motd; do
    echo "$name" >"base/etc/$name"
done
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
ln -s /opt/old base/toold
ln -s etc/motd base/tofile
ln -s nowhere base/dangling
ln -s ../../opt base/upward
tar --xattrs --xattrs-include='*' --numeric-owner --format=pax --sort=name --mtime=@1000000000 -C base -cf base.tar .
rm -r base
