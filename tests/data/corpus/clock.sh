# The time of day, as programs ask for it and as they write it down.

#: date | clock
date > /o

#: date-nanoseconds | clock
date +%s.%N > /o

#: date-monday | clock: the next time a timer would run
date -d 'next monday 04:30' +%s > /o
python3 -c 'import datetime as d; now = d.datetime.now(); print(now + d.timedelta(minutes=60 - now.minute))' >> /o

#: log-lines | clock
for step in one two three; do echo "$(date '+%F %T.%N') $step"; done > /o

#: bash-epoch | clock
bash -c 'printf "%(%F %T)T %s %s\n" -1 "$EPOCHSECONDS" "$EPOCHREALTIME"' > /o

#: c-clocks | clock, by every call that there is
cat > /c.c <<'C'
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static void show(struct timespec t) { printf("%ld.%ld\n", (long)t.tv_sec, t.tv_nsec); }
int main(void) {
    struct timespec t; struct timeval v; time_t s;
    clock_gettime(CLOCK_REALTIME, &t); show(t);
    clock_gettime(CLOCK_REALTIME_COARSE, &t); show(t);
    clock_gettime(CLOCK_TAI, &t); show(t);
    timespec_get(&t, TIME_UTC); show(t);
    gettimeofday(&v, 0); printf("%ld.%ld\n", (long)v.tv_sec, (long)v.tv_usec);
    printf("%ld\n", (long)time(&s));
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &t); show(t);
    syscall(SYS_gettimeofday, &v, 0); printf("%ld.%ld\n", (long)v.tv_sec, (long)v.tv_usec);
    return 0;
}
C
gcc -o /c /c.c && /c > /o
gcc -static -o /c /c.c && /c >> /o

#: python-time | clock
python3 -c 'import time, datetime; print(time.time(), time.time_ns(), time.ctime(), datetime.datetime.now())' > /o

#: perl-time | clock
perl -MTime::HiRes -e 'print time, " ", Time::HiRes::time, " ", scalar localtime' > /o

#: node-date | clock
node -e 'console.log(Date.now(), new Date())' > /o

#: ruby-time | clock
ruby -e 'puts Time.now.to_r, Process.clock_gettime(Process::CLOCK_REALTIME)' > /o

#: php-time | clock
php -r 'echo time(), " ", microtime(), " ", uniqid(), " ", date("c");' > /o

#: lua-time | clock
lua5.4 -e 'print(os.time(), os.date())' > /o

#: gcc-date | clock: __DATE__, __TIME__
echo 'const char *built = __DATE__ " " __TIME__;' > /c.c
gcc -c -o /o /c.c && rm /c.c

#: gcc-timestamp | time of a file of this step: __TIMESTAMP__
echo 'const char *changed = __TIMESTAMP__;' > /c.c
gcc -c -o /o /c.c && rm /c.c

#: xgettext | clock: POT-Creation-Date
echo 'int main() { gettext("hello"); }' > /c.c
xgettext -o /o /c.c && rm /c.c

#: groff-ps | clock: CreationDate
echo text | groff -Tps > /o.ps

#: groff-pdf | clock: CreationDate
echo text | groff -Tpdf > /o.pdf

#: ps2pdf | clock and randomness: CreationDate, ID
echo text | groff -Tps | ps2pdf - /o.pdf

#: sqlite-time | clock
sqlite3 /o.db "create table t(x default current_timestamp, y); insert into t(y) values (julianday('now'))"

#: man-db | clock: times in index.db
mandb --quiet --create

#: fontconfig | time of directories
mkdir -p /usr/local/share/fonts && cp /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf /usr/local/share/fonts/
fc-cache -f

#: useradd | clock: the day in /etc/shadow
useradd -m someone

#: apt-install | clock: logs of apt and dpkg
mkdir -p /p/DEBIAN /p/usr/share/thing && echo data > /p/usr/share/thing/data
printf 'Package: thing\nVersion: 1\nArchitecture: all\nMaintainer: me <me@example.org>\nDescription: thing\n' > /p/DEBIAN/control
dpkg-deb --build /p /thing.deb > /dev/null
DEBIAN_FRONTEND=noninteractive apt-get install -y /thing.deb && rm -r /p

#: dpkg-deb | time of files of this step, in ar and tar
mkdir -p /p/DEBIAN /p/usr/share/thing && echo data > /p/usr/share/thing/data
printf 'Package: thing\nVersion: 1\nArchitecture: all\nMaintainer: me <me@example.org>\nDescription: thing\n' > /p/DEBIAN/control
dpkg-deb --build /p /o.deb

#: alternatives | clock: a log
touch /one && update-alternatives --install /usr/bin/thing thing /one 1

#: pip-install | time of files: RECORD, pyc
mkdir /p && cd /p && echo 'print(1)' > thing.py
printf 'from setuptools import setup\nsetup(name="thing", version="1", py_modules=["thing"])\n' > setup.py
pip install --quiet --no-index --no-build-isolation --break-system-packages /p 2> /pip.log

#: git-commit | clock: the commit; device, inode and change time of files: the index
#! `.git/index` holds device, inode and time of change of each file
git init -q /r && cd /r && echo text > file && git add file
git -c user.name=me -c user.email=me@example.org commit -qm one

#: git-object | clock: the commit alone
git init -q /r && cd /r && echo text > file && git add file
git -c user.name=me -c user.email=me@example.org commit -qm one
git rev-parse HEAD > /o && rm -r /r

#: touch-stat | time of a file, to the nanosecond
#! times keep the order in which files were written, to the millisecond, so that make(1) works
touch /f && stat -c '%X %x %Y %y' /f > /o

#: change-time | time of change and of birth
touch /f && stat -c '%z %w' /f > /o

#: make-newer | times of files decide what is done
printf 'b: a\n\tcp a b; echo made >> log\n' > /Makefile
cd / && echo 1 > a && make -s b && make -s b && sleep 0.02 && echo 2 > a && make -s b && make b >> log

#: sleep-until | clock: waiting for a moment of it
python3 - > /o <<'PY'
import threading, time, queue
began = time.time()
print(threading.Event().wait(0.2))
lock = threading.Lock(); lock.acquire()
print(lock.acquire(timeout=0.2))
try: queue.Queue().get(timeout=0.2)
except queue.Empty: print("empty", time.time() - began)
PY
timeout 0.3 sleep 9 || echo $? >> /o

#: musl-mkstemp | clock: names of temporary files, with the C library of Alpine
cat > /c.c <<'C'
#include <stdio.h>
#include <stdlib.h>
int main(void) {
    for (int i = 0; i < 3; i++) {
        char name[] = "/tmp/XXXXXX";
        if (mkstemp(name) < 0) { perror("mkstemp"); return 1; }
        puts(name);
    }
    return 0;
}
C
musl-gcc -static -o /c /c.c && /c > /o

#: monotonic | clock of durations
#! the clock of durations runs: timeouts need it
python3 -c 'import time; print(time.monotonic_ns(), time.perf_counter_ns())' > /o

#: duration | how long something took
#! the time that a processor works is so
bash -c "time seq 2000000" > /dev/null 2> /o

#: cpu-time | how much work something was
#! the time that a processor works is so
python3 -c 'import time; sum(range(100000)); print(time.process_time_ns())' > /o
