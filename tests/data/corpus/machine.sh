# The machine: its kernel, its processors, its names, what runs on it, and where things lie.

#: nproc | number of processors
nproc > /o && getconf _NPROCESSORS_ONLN >> /o && python3 -c 'import os; print(os.cpu_count(), len(os.sched_getaffinity(0)))' >> /o

#: uname | kernel
uname -a > /o

#: proc-version | kernel
cat /proc/version /proc/sys/kernel/osrelease /proc/cmdline > /o

#: cpuinfo | kind of processor
cat /proc/cpuinfo > /o

#: lscpu | kind of processor, also by an instruction
#! the instruction cpuid says what it is; the same on one machine
lscpu > /o

#: march-native | kind of processor, by an instruction
#! the instruction cpuid says what it is; the same on one machine
echo 'int f(int *a) { int s = 0; for (int i = 0; i < 999; i++) s += a[i]; return s; }' > /c.c
gcc -O3 -march=native -c -o /o /c.c

#: uptime | time since the start
cat /proc/uptime > /o && python3 -c 'import time; print(time.clock_gettime(time.CLOCK_BOOTTIME))' >> /o

#: uptime-file | time since the start
cat /proc/uptime > /o && uptime -s >> /o

#: proc-stat | what the processors did
cat /proc/stat > /o

#: loadavg | load
cat /proc/loadavg > /o

#: meminfo | memory
cat /proc/meminfo > /o && free >> /o

#: hostname | host name
hostname > /o && cat /proc/sys/kernel/hostname /etc/hostname >> /o 2> /dev/null || true

#: pid | process number
echo $$ > /o && sh -c 'echo $$ $PPID' >> /o && python3 -c 'import os; print(os.getpid())' >> /o

#: ps | processes
ps -ef > /o

#: ps-columns | processes, without times
ps -eo pid,ppid,args > /o

#: proc-self | what the kernel says of a process
#! memory and processors of a process are as they are
cat /proc/self/status > /o

#: proc-stat-self | when a process began, what it used
#! memory and times of a process are as they are
cat /proc/self/stat > /o

#: mountinfo | mounts: numbers, devices, places of the store
#! numbers of mounts and devices are as they are
cat /proc/self/mountinfo > /o

#: cgroup | the cgroup that it runs in
cat /proc/self/cgroup > /o

#: ulimit | limits of processes
bash -c 'ulimit -a' > /o

#: environment | environment
env | sort > /o && umask >> /o && locale >> /o && date +%Z >> /o

#: inodes | inode numbers
#! inode numbers are those of the file system
mkdir /d && touch /d/a /d/b && ls -i /d > /o && find /d -printf '%i %p\n' >> /o

#: devices | device numbers of files
mkdir /d && touch /d/a && stat -c '%d %D' /d /d/a /usr/bin > /o

#: dir-size | size of directories, blocks of files
mkdir /d && touch /d/a /d/b && echo text > /d/c && ls -ls / > /o && stat -c '%s %b %n' /d /d/c >> /o

#: link-count | links of directories
mkdir -p /d/e /d/f && stat -c '%h %n' /d /d/e /usr > /o

#: du | blocks of files
mkdir /d && seq 9999 > /d/a && du -s /d > /o && du -sk /etc >> /o

#: df | size of file systems
df -h / > /o && df -i / >> /o

#: ldconfig | device, inode, times of libraries: aux-cache
ldconfig

#: locale-gen | order of files, times
localedef -i en_US -f UTF-8 en_US.UTF-8
