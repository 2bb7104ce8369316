# What busybox alone can do that is not deterministic: the part of the corpus that is built by every test run.

#: busybox-date | clock
date > /o && stat -c %Y /proc/uptime / > /dev/null && date -r /o >> /o

#: busybox-time | clock: a file of this step
echo text > /f && tar -cf /o.tar /f && gzip -c /f > /o.gz

#: busybox-uuid | entropy
cat /proc/sys/kernel/random/uuid > /o

#: busybox-urandom | entropy
head -c 16 /dev/urandom | hexdump > /o

#: busybox-mktemp | entropy: bytes in a name
touch "/o.$(head -c 6 /dev/random | base64 | tr / _)"

#: busybox-awk | clock: a seed
awk 'BEGIN { srand(); print rand(), systime() }' > /o

#: busybox-uptime | time since the start
cat /proc/uptime /proc/stat > /o

#: busybox-machine | kernel, processors
uname -a > /o && nproc >> /o && cat /proc/cpuinfo /proc/version >> /o

#: busybox-boot | entropy of the machine's start
cat /proc/sys/kernel/random/boot_id > /o

#: busybox-find | order of directories
mkdir /d && cd /d && touch $(seq 40) && find . > /o

#: busybox-root | clock: times of what was made for the step
stat -c '%Y %n' / /dev /dev/null /dev/fd /dev/shm > /o

#: busybox-shuf | clock of durations: a seed
seq 50 | shuf > /o

#: busybox-names | clock of durations: names of temporary files
cd / && mktemp > /o && mktemp -d /o.XXXXXX && for i in 1 2 3 4; do mktemp /o.XXXXXXXX & done; wait

#: busybox-memory | memory
free > /o && cat /proc/meminfo >> /o

#: busybox-df | size of file systems, and their numbers
df / /dev > /o && df -i / >> /o && stat -f / >> /o && stat -f /proc >> /o
