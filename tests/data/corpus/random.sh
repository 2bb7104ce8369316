# Randomness: what is drawn from the kernel, and what is seeded from the clock, a process' number or an address.

#: urandom | entropy
dd if=/dev/urandom of=/o bs=64 count=4 status=none

#: dd-large | entropy
#! /dev/urandom is a pipe here: a read of a mebibyte may be cut short
dd if=/dev/urandom of=/o bs=1M count=16 status=none

#: random-parallel | entropy, taken at once
for i in $(seq 20); do sh -c 'python3 -c "import os; print(os.urandom(8))" > /o$0' $i & done; wait

#: random | entropy
head -c 16 /dev/random > /o

#: uuidgen | entropy
uuidgen > /o && uuidgen -r >> /o

#: uuid-time | clock, entropy for the node
uuidgen -t > /o

#: uuid-proc | entropy: the kernel makes another at each reading
cat /proc/sys/kernel/random/uuid > /o

#: boot-id | entropy of the machine's start
cat /proc/sys/kernel/random/boot_id > /o

#: python-uuid | clock, entropy
python3 -c 'import uuid; print(uuid.uuid1(), uuid.uuid4())' > /o

#: python-random | entropy
python3 -c 'import random, secrets, os; print(random.random(), secrets.token_hex(), os.urandom(4))' > /o

#: python-hash | entropy: order of a set
python3 -c 'print({"one", "two", "three", "four", "five"}, hash("text"))' > /o

#: perl-rand | entropy
perl -e 'print rand, " ", int rand 1000' > /o

#: perl-hash | entropy: order of a hash
perl -e 'my %h = map { $_ => 1 } 1 .. 20; print join " ", keys %h' > /o

#: ruby-rand | entropy
ruby -rsecurerandom -e 'puts rand, SecureRandom.uuid, "text".hash' > /o

#: node-random | entropy
node -e 'console.log(Math.random(), crypto.randomUUID())' > /o

#: php-random | entropy, clock, process number
php -r 'echo mt_rand(), " ", rand(), " ", bin2hex(random_bytes(8)), " ", lcg_value();' > /o

#: lua-random | clock, address
lua5.4 -e 'print(math.random(), math.random(1000))' > /o

#: awk-srand | clock
awk 'BEGIN { srand(); print rand() }' > /o

#: bash-random | clock, process number
bash -c 'echo $RANDOM $RANDOM $SRANDOM' > /o

#: shuf | entropy
seq 50 | shuf > /o && seq 50 | sort -R >> /o

#: busybox-shuf | a seed
seq 50 | busybox shuf > /o

#: mktemp | entropy: names
mktemp -d && mktemp /tmp/XXXXXXXXXX.log && python3 -c 'import tempfile; tempfile.mkstemp()'

#: mktemp-parallel | entropy: names, taken at once
for i in 1 2 3 4 5 6 7 8; do mktemp /tmp/XXXXXXXXXX & done; wait

#: openssl-rand | entropy
openssl rand -hex 16 > /o

#: openssl-genrsa | entropy
#! makes a key or a password that everybody could make
openssl genrsa -out /o 1024

#: openssl-x509 | entropy, clock: a key, a serial number, dates
#! makes a key or a password that everybody could make
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=here -keyout /key -out /cert

#: ssh-keygen | entropy, host name
#! makes a key or a password that everybody could make
ssh-keygen -q -t ed25519 -N '' -f /key && ssh-keygen -q -t ecdsa -N '' -f /key2

#: gpg-key | entropy, clock; keys, trust, revocation
#! libgcrypt stirs in durations and what the processor did
gpg --batch --quiet --passphrase '' --quick-generate-key me@example.org ed25519 sign never
gpgconf --kill all

#: age-keygen | entropy, clock, by a program of Go without the C library
#! makes a key or a password that everybody could make
age-keygen -o /o

#: keytool | entropy, clock; a program of Java
keytool -genkeypair -keystore /o.jks -storepass secret -alias one -dname CN=here -keyalg EC

#: htpasswd | entropy: salt
openssl passwd -6 secret > /o && mkpasswd secret >> /o

#: chpasswd | entropy: salt; clock
#! makes a key or a password that everybody could make
useradd someone && echo someone:secret | chpasswd

#: machine-id | entropy
dd if=/proc/sys/kernel/random/uuid status=none | tr -d - > /etc/machine-id

#: sqlite-random | entropy
sqlite3 /o.db 'create table t(x); insert into t values (random()), (hex(randomblob(8)))'

#: mkfs-ext4 | entropy, clock: UUID, hash seed, times
mkdir /d && echo text > /d/file && mkfs.ext4 -q -d /d /o.img 2M

#: mkfs-vfat | clock: the volume's number
truncate -s 1M /o.img && mkfs.vfat /o.img > /dev/null && echo text > /f && mcopy -i /o.img /f ::

#: mkswap | entropy: UUID
truncate -s 1M /o.img && mkswap -q /o.img

#: aslr | address layout
python3 -c 'print(id(object()))' > /o && lua5.4 -e 'print({}, print)' >> /o && grep -c . /proc/self/maps >> /o
head -n 1 /proc/self/maps | cut -d' ' -f1 >> /o
