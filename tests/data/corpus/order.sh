# Order: of directories, and of what runs at the same time.

#: find | order of directories
mkdir /d && cd /d && for i in k q a x c m z e; do echo $i > $i; done && find . > /o

#: ls-unsorted | order of directories
mkdir /d && cd /d && touch $(seq 40) && ls -U > /o

#: python-listdir | order of directories
mkdir /d && cd /d && touch $(seq 40) && python3 -c 'import os, glob; print(os.listdir("."), glob.glob("*"))' > /o

#: perl-glob | order of directories
mkdir /d && cd /d && touch $(seq 40) && perl -e 'opendir D, "."; print join " ", readdir D' > /o

#: node-readdir | order of directories
mkdir /d && cd /d && touch $(seq 40) && node -e 'console.log(fs.readdirSync("."), fs.opendirSync(".").readSync().name)' > /o

#: find-usr | order of directories of lower layers
find /usr/share /etc -type f > /o && du -a --apparent-size /etc/apt | cut -f2 >> /o

#: link-order | order of directories: objects in a library
mkdir /d && cd /d && for i in k q a x; do echo "int $i;" > $i.c; gcc -c $i.c; done
gcc -shared -o /o.so $(find . -name '*.o')

#: grep-recursive | order of directories
mkdir /d && cd /d && for i in k q a x c m z e; do echo same > $i; done && grep -r same . > /o

#: wait-parallel | what runs at the same time: files of their own
for i in 1 2 3 4; do (sh -c 'echo $0 done' $i > /o$i) & done; wait

#: make-parallel | what runs at the same time: a result for each
cd / && for i in 1 2 3 4 5 6 7 8; do echo "int f$i(void) { return $i; }" > f$i.c; done
printf 'all: libf.a\nlibf.a: %s\n\tar rc $@ $^\n' "$(for i in 1 2 3 4 5 6 7 8; do printf 'f%s.o ' $i; done)" > Makefile
make -s -j4 > /dev/null

#: make-log | what runs at the same time: lines of one log
#! what runs at the same time ends in any order
printf 'all: 1 2 3 4 5 6 7 8\n%%:\n\t@head -c 300000 /dev/zero | sha256sum > /dev/null; echo $@\n' > /Makefile
cd / && make -j4 all > /o

#: xargs-parallel | what runs at the same time: lines of one log
#! what runs at the same time ends in any order
seq 40 | xargs -P 4 -n 1 sh -c 'echo $0' > /o

#: ripgrep | order of threads of one program
#! what runs at the same time ends in any order
mkdir /d && cd /d && for i in $(seq 200); do echo same > $i; done && rg -j4 same . > /o

#: threads | which thread is first
#! what runs at the same time ends in any order
python3 - > /o <<'PY'
import threading, hashlib
def work(name):
    for _ in range(200): hashlib.sha256(b"x" * 50000).digest()
    print(name)
threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
[t.start() for t in threads]; [t.join() for t in threads]
PY
