//! Pairs of texts: one of each class, and what only looks like it.

use lith::diff::content::Class;

use super::{Pair, pair};

const EVERY: [(&str, &str, &str, &str, &[Class]); 54] = [
    ("text-words", "etc/motd", "one\ntwo\nthree\n", "one\nTWO\nthree\nfour\n", &[]),
    (
        "text-date",
        "etc/built",
        "x\nBuilt on 2026-11-30 10:48:08 UTC\n",
        "x\nBuilt on 2026-11-30 11:48:11 UTC\n",
        &[Class::Timestamp],
    ),
    ("text-c-date", "VERSION", "v1 (Nov 30 2026)\n", "v1 (Dec  1 2026)\n", &[Class::Timestamp]),
    (
        "text-mail-date",
        "log",
        "Date: Mon, 30 Nov 2026 10:48:08 +0000\n",
        "Date: Tue, 01 Dec 2026 09:08:07 +0000\n",
        &[Class::Timestamp],
    ),
    ("text-epoch", "stamp", "built=1764499688\n", "built=1764503291\n", &[Class::Timestamp]),
    ("text-epoch-fraction", "stamp", "t 1764499688.253\n", "t 1764503291.104\n", &[Class::Timestamp]),
    ("text-elapsed", "log", "done in 1.25s\n", "done in 3.07s\n", &[Class::Timestamp]),
    ("text-compact-date", "v", "1.0+20261130\n", "1.0+20261201\n", &[Class::Timestamp]),
    ("text-number-of-eight", "v", "id 20269930\n", "id 20269931\n", &[]),
    (
        "text-compact-date-alone",
        "v",
        "git20261130\nsnapshot-20261130-1\n",
        "git20261201\nsnapshot-20261201-1\n",
        &[Class::Timestamp],
    ),
    ("text-size", "list", "size=1764499688\n", "size=1764503291\n", &[]),
    ("text-version", "v", "version 1.2.3\n", "version 1.2.4\n", &[]),
    ("text-number", "n", "answer 41\n", "answer 42\n", &[]),
    (
        "text-path",
        "x.pc",
        "prefix=/home/ada/src/x-1.0/out\n",
        "prefix=/build/x-1.0/src/out\n",
        &[Class::BuildPath],
    ),
    ("text-pwd", "env", "PWD=/opt/one\n", "PWD=/opt/two\n", &[Class::BuildPath]),
    ("text-installed-path", "x.pc", "libdir=/usr/lib/python3.9/x\n", "libdir=/usr/lib/python3.11/x\n", &[]),
    ("text-user-at-host", "id.pub", "key of root@ash\n", "key of root@birch\n", &[Class::HostName]),
    ("text-host", "etc/x.conf", "hostname: ash\n", "hostname: birch\n", &[Class::HostName]),
    (
        "text-uname",
        "u",
        "Linux ash 6.1.0-28-amd64 #1 SMP\n",
        "Linux birch 6.1.0-28-amd64 #1 SMP\n",
        &[Class::HostName],
    ),
    ("text-tree", "t", "the tree is ash\n", "the tree is birch\n", &[]),
    (
        "text-uuid",
        "id",
        "3f2b8c1e-9d4a-4c7b-8e21-5a6f7b8c9d0e\n",
        "a91c04de-55b7-4012-9f3e-0b1c2d3e4f5a\n",
        &[Class::Random],
    ),
    (
        "text-machine-id",
        "etc/machine-id",
        "3f2b8c1e9d4a4c7b8e215a6f7b8c9d0e\n",
        "a91c04de55b740129f3e0b1c2d3e4f5a\n",
        &[Class::Random],
    ),
    (
        "text-base64",
        "secret",
        "token: q83vEjRWeJCrze8SNFZ4kA==\n",
        "token: Zm9vYmFyYmF6cXV4MTIzNA==\n",
        &[Class::Random],
    ),
    ("text-identifiers", "x.xml", "class ConfigurationManager1\n", "class ApplicationContextX2\n", &[]),
    ("text-mktemp", "log", "wrote /tmp/tmp.Xa3bQ9zz1K\n", "wrote /tmp/tmp.pL0sKd82Tq\n", &[Class::Random]),
    ("text-object-file", "log", "ld: /tmp/ccAbX9dE.o\n", "ld: /tmp/ccZq0LpW.o\n", &[Class::Random]),
    ("text-tmp-words", "log", "wrote /tmp/alphas\n", "wrote /tmp/gammas\n", &[]),
    (
        "text-shadow",
        "etc/shadow",
        "ada:$y$j9T$abc$def:20787:0:99999:7:::\nbob:!:20787:0:99999:7:::\n",
        "ada:$y$j9T$xyz$uvw:20787:0:99999:7:::\nbob:!:20788:0:99999:7:::\n",
        &[Class::Random, Class::Timestamp],
    ),
    (
        "text-key",
        "etc/ssh/ssh_host_ed25519_key",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU\n-----END OPENSSH PRIVATE KEY-----\n",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAACmFlczI\n-----END OPENSSH PRIVATE KEY-----\n",
        &[Class::Key],
    ),
    (
        "text-key-public",
        "k.pub",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAbc x\n",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIXyz x\n",
        &[Class::Key],
    ),
    ("text-order", "list", "c\na\nb\nd\n", "a\nd\nc\nb\n", &[Class::Ordering]),
    (
        "text-order-and-more",
        "list",
        "c\na\nb\nd\ne\nbuilt 2026-11-30\n",
        "a\nd\ne\nc\nb\nbuilt 2026-12-01\n",
        &[Class::Ordering, Class::Timestamp],
    ),
    (
        "text-set",
        "x.py",
        "names = {'ada', 'bob', 'eve'}\n",
        "names = {'eve', 'ada', 'bob'}\n",
        &[Class::Ordering],
    ),
    ("text-collation", "list", "B\nD\na\nc\n", "a\nB\nc\nD\n", &[Class::Locale]),
    ("text-month", "log", "Stand: 30. Dez 2026\n", "Stand: 30. Dec 2026\n", &[Class::Locale]),
    ("text-lang", "env", "LANG=de_DE.UTF-8\n", "LANG=C.UTF-8\n", &[Class::Locale]),
    ("text-comma", "n", "ratio 1.5 of 3\n", "ratio 1,5 of 3\n", &[Class::Locale]),
    (
        "text-jobs",
        "log",
        "CC a.o\nCC b.o\nLD a\nLD b\nCC c.o\nCC d.o\nLD c\nLD d\nend 1\nend 2\n",
        "CC a.o\nLD a\nCC b.o\nLD b\nCC c.o\nLD c\nCC d.o\nLD d\nend 1\nend 2\n",
        &[Class::Ordering],
    ),
    (
        "text-parallel",
        "log",
        "a1\nb1\na2\nb2\na3\nb3\na4\nb4\na5\nb5\n",
        "b1\na1\nb2\na2\nb3\na3\nb4\na4\nb5\na5\n",
        &[Class::Parallelism],
    ),
    (
        "text-pid",
        "run/x.pid.log",
        "pid 1234 started\nsshd[1234]: up\n/proc/1234/exe\n",
        "pid 2345 started\nsshd[2345]: up\n/proc/2345/exe\n",
        &[Class::Pid],
    ),
    ("text-tmp-pid", "log", "wrote /tmp/build.1234\n", "wrote /tmp/build.23456\n", &[Class::Pid]),
    ("text-rapid", "n", "rapid 1234\n", "rapid 2345\n", &[]),
    ("text-cpus", "config.log", "nproc: 4\nmake -j4 all\n", "nproc: 16\nmake -j16 all\n", &[Class::CpuCount]),
    ("text-march", "flags", "-O2 -march=znver4\n", "-O2 -march=skylake\n", &[Class::CpuFeature]),
    ("text-cpu-flags", "cpuinfo", "flags sse2 avx2\n", "flags sse2 avx512f\n", &[Class::CpuFeature]),
    (
        "text-kernel",
        "config.log",
        "uname -r = 6.1.0-28-amd64\n",
        "uname -r = 6.6.13-cloud-amd64\n",
        &[Class::Kernel],
    ),
    ("text-inode", "list", "inode 1001\n", "inode 1077\n", &[Class::Inode]),
    (
        "text-address",
        "log",
        "<object at 0x7f3a5c0d1e20>\n",
        "<object at 0x7f11b2c3d4e0>\n",
        &[Class::Address],
    ),
    ("text-mask", "h", "#define MASK 0xdeadbeef\n", "#define MASK 0xcafebabe\n", &[]),
    ("text-owner", "list", "owner=ada uid=1000\n", "owner=bob uid=1001\n", &[Class::Owner]),
    (
        "text-checksum",
        "md5sums",
        "3f2b8c1e9d4a4c7b8e215a6f7b8c9d0e  usr/x\n",
        "a91c04de55b740129f3e0b1c2d3e4f5a  usr/x\n",
        &[Class::Digest],
    ),
    ("text-no-end", "x", "a\nb\n", "a\nb", &[]),
    ("text-ends", "x", "a\r\nb\r\n", "a\nb\n", &[]),
    ("text-empty", "x", "", "a\n", &[]),
];

pub fn pairs() -> Vec<Pair> {
    let mut pairs: Vec<Pair> =
        EVERY.iter().map(|(name, file, a, b, classes)| pair(name, file, (*a, *b), classes)).collect();
    let long = |word: &str| format!("{}{word}{}\n", "x ".repeat(4000), " y".repeat(4000));
    pairs.push(pair(
        "text-long-line",
        "min.js",
        (long("2026-11-30"), long("2026-12-01")),
        &[Class::Timestamp],
    ));
    pairs.push(pair("text-latin1", "x", (b"caf\xe9 one\n".as_slice(), b"caf\xe9 two\n".as_slice()), &[]));
    pairs.push(pair("text-controls", "x", ("a \x1b[31mred\u{202e}\n", "b \x1b[31mred\u{202e}\n"), &[]));
    pairs
}
