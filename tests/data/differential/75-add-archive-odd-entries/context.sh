mkdir -p d/sub; echo in >d/sub/in; tar -cf dots.tar ./d/./sub/in
tar -P --transform='s,^,/top/,' -cf abs.tar d
tar -cf nodirs.tar d/sub/in
mkdir v; mknod v/null c 1 3; mkfifo v/fifo; chown 5:6 v/fifo; tar --numeric-owner -cf devices.tar v; rm -r d v
