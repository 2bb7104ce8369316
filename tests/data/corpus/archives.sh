# Archives and formats that write down times, numbers and places of files of this step.

#: tar-ustar | times of files, order of directories
mkdir /d && cd /d && touch $(seq 20) && tar --format=ustar -cf /o.tar .

#: tar-gnu | times of files, order of directories
mkdir /d && cd /d && touch $(seq 20) && tar --format=gnu -cf /o.tar .

#: tar-pax | times of files to the nanosecond, of change and reading; process number
#! this format has times to the nanosecond, of change too
mkdir /d && cd /d && touch 1 && tar --format=pax -cf /o.tar .

#: tar-gzip | times of files, order of directories
mkdir /d && cd /d && touch $(seq 20) && tar -czf /o.tgz .

#: tar-incremental | device, inode of directories; clock
#! device and inode of directories are written down
mkdir /d && cd /d && touch 1 && tar -g /o.snar -cf /o.tar .

#: python-tarfile | times of files
#! writes times to the nanosecond
mkdir /d && touch /d/1 && python3 -c 'import tarfile; tarfile.open("/o.tar.gz", "w:gz").add("/d")'

#: python-zipfile | times of files
mkdir /d && touch /d/1 && python3 -m zipfile -c /o.zip /d

#: gzip | time of a file
echo text > /o && gzip /o

#: gzip-stdin | clock
python3 -c 'import gzip; gzip.open("/o.gz", "w").write(b"text")'

#: bzip2-xz-zstd | number of processors: blocks
seq 2000000 > /f && xz -1 -T0 -k /f && zstd -q -T0 /f && bzip2 -k /f && rm /f

#: zip | times of files, order of directories
mkdir /d && cd /d && touch $(seq 20) && zip -qr /o.zip .

#: zip-store | times of files in extra fields
echo text > /f && zip -q -0 /o.zip /f

#: cpio | times, inode and device of files
#! inode numbers are those of the file system
mkdir /d && cd /d && touch 1 2 && find . | cpio -o -H newc --quiet > /o.cpio

#: ar-times | times and owners of files
cd / && echo 'int a;' > a.c && gcc -c a.c && ar rcU o.a a.o && ranlib -U o.a

#: ar-deterministic | nothing since binutils writes zeros
cd / && echo 'int a;' > a.c && gcc -c a.c && ar rcD o.a a.o && rm a.o

#: squashfs | clock, times of files
mkdir /d && echo text > /d/1 && mksquashfs /d /o.sqfs -quiet -no-progress

#: iso | clock, times of files
mkdir /d && echo text > /d/1 && genisoimage -quiet -R -o /o.iso /d

#: pyc | time of a source
mkdir /d && echo 'x = 1' > /d/m.py && python3 -m compileall -q /d

#: pyc-import | time of a source; a cache made by the way
mkdir /d && echo 'x = 1' > /d/m.py && cd /d && python3 -c 'import m'

#: gcc-debug | build path, host, user; a build id
mkdir "/build-$(mktemp -u XXXX)" && cd /build-* && echo 'int main(void) { return 0; }' > a.c
gcc -g -Wl,--build-id -o /o a.c && rm -r /build-*

#: gcc-host | host, user, kernel in a program
echo 'const char *by = BY;' > /c.c && gcc -DBY="\"$(whoami)@$(hostname) $(uname -r)\"" -c -o /o /c.c

#: gcc-parallel-lto | number of processors: partitions
cd / && for i in $(seq 6); do echo "int f$i(int a) { return a * $i; }" > f$i.c; done
echo 'int main(void) { return f1(1) + f6(2); }' > m.c
gcc -w -O2 -flto=auto -o /o m.c f?.c

#: gcc-random-seed | entropy: names of symbols
cd / && echo 'static int hidden; int *f(void) { return &hidden; }' > a.c
gcc -flto -c a.c -o /o.o

#: rsync-times | times that a copy keeps
mkdir /d && touch /d/1 && rsync -a /d/ /e/ && cp -a /d /g && stat -c '%Y %n' /e/1 /g/1 > /o

#: xml-date | clock in a document
printf '<a><!-- %s --></a>\n' "$(date -R)" > /f && xmllint --format /f > /o

#: texinfo | clock
printf '\\input texinfo\n@settitle x\n@today{}\n@bye\n' > /x.texi && makeinfo --plaintext -o /o /x.texi
