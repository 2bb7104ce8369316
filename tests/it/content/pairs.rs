//! Pairs of files, with the classes that have to be seen in each, and no others.

use lith::diff::content::Class;

#[path = "builders.rs"]
mod builders;
#[path = "texts.rs"]
mod texts;

pub use builders::gzip;
use builders::*;

/// Two files under one name.
pub struct Pair {
    pub name: &'static str,
    pub file: &'static str,
    pub a: Vec<u8>,
    pub b: Vec<u8>,
    pub classes: &'static [Class],
}

pub fn pair(
    name: &'static str,
    file: &'static str,
    (a, b): (impl Into<Vec<u8>>, impl Into<Vec<u8>>),
    classes: &'static [Class],
) -> Pair {
    Pair { name, file, a: a.into(), b: b.into(), classes }
}

pub fn pairs() -> Vec<Pair> {
    let mut all = texts::pairs();
    all.extend(json());
    all.extend(archives());
    all.extend(packed());
    all.extend(tars());
    all.extend(others());
    all.extend(bytes());
    all.extend(pinned());
    all
}

/// Two times of a build, an hour apart.
const TIMES: (u64, u64) = (1_764_499_688, 1_764_503_291);

fn json() -> Vec<Pair> {
    vec![
        pair(
            "json-values",
            "app/package.json",
            (
                br#"{"name":"x","time":1764499688,"deps":{"a":"1.0","b":"2.0"},"files":["p","q"]}"#
                    .as_slice(),
                br#"{"name":"x","time":1764503291,"deps":{"a":"1.1","c":"2.0"},"files":["p","q","r"]}"#
                    .as_slice(),
            ),
            &[Class::Timestamp],
        ),
        pair(
            "json-keys",
            "x.json",
            (r#"{"a":1,"b":{"c":2,"d":3}}"#, r#"{"b":{"d":3,"c":2},"a":1}"#),
            &[Class::Ordering],
        ),
        pair("json-spaces", "x.json", (r#"{"a":1}"#, "{\n  \"a\": 1\n}\n"), &[]),
        pair(
            "json-list-order",
            "x.json",
            (r#"{"l":["a","b","c"]}"#, r#"{"l":["c","a","b"]}"#),
            &[Class::Ordering],
        ),
        pair("json-broken", "x.json", ("{\"a\": 1\n", "{\"a\": 2\n"), &[]),
    ]
}

fn archives() -> Vec<Pair> {
    let texts = |word: &str| format!("a line\nthe {word} line\n").into_bytes();
    let object = |time: u64, owner: u32, word: &str| {
        ar(&[
            ("/", 0, 0, &[0, 0, 0, 0]),
            ("a.o/", time, owner, b"\x01\x02\x03"),
            ("b.txt/", time, owner, &texts(word)),
        ])
    };
    let deb = |word: &str, time: u64| {
        let control = format!("Package: x\nVersion: 1\nArchitecture: all\nDescription: {word}\n");
        let data = tar(&[Entry { mtime: time, ..entry("./usr/share/x", "x\n") }]);
        ar(&[
            ("debian-binary", 0, 0, b"2.0\n"),
            ("control.tar.gz", 0, 0, &gzip(&tar(&[entry("./control", control)]), 0, None)),
            ("data.tar.xz", 0, 0, &xz(&data)),
        ])
    };
    let jar = |word: &str, time: (u16, u16)| {
        zip(&[
            Zipped {
                time,
                ..zipped("META-INF/MANIFEST.MF", format!("Manifest-Version: 1.0\nBuilt-By: {word}\n"))
            },
            Zipped { time, ..zipped("A.class", b"\xca\xfe\xba\xbe\0\0\0\x34".to_vec()) },
        ])
    };
    let (one, two) = (zipped("one", "first\n"), zipped("two", "second\n"));
    let with = |member: &Zipped, change: fn(&mut Zipped)| {
        let mut member = member.clone();
        change(&mut member);
        member
    };
    let wheel = |hash: &str, mtime: u32| {
        let record = format!("x/__init__.py,sha256={hash},12\nx-1.dist-info/RECORD,,\n");
        zip(&[
            Zipped { mtime: Some(mtime), ..zipped("x/__init__.py", "a = 1\n") },
            zipped("x-1.dist-info/RECORD", record),
        ])
    };
    vec![
        pair(
            "ar-times",
            "lib/libx.a",
            (object(TIMES.0, 0, "same"), object(TIMES.1, 0, "same")),
            &[Class::FileTime],
        ),
        pair("ar-owner", "lib/libx.a", (object(0, 1000, "same"), object(0, 1001, "same")), &[Class::Owner]),
        pair("ar-content", "lib/libx.a", (object(0, 0, "first"), object(0, 0, "other")), &[]),
        pair(
            "ar-long-names",
            "lib/libx.a",
            (
                ar(&[
                    ("//", 0, 0, b"a-name-of-more-than-15.o/\nanother-of-more-than-15.o/\n"),
                    ("/0", 0, 0, b"1"),
                    ("/26", 0, 0, b"2"),
                ]),
                ar(&[
                    ("//", 0, 0, b"a-name-of-more-than-15.o/\nanother-of-more-than-15.o/\n"),
                    ("/26", 0, 0, b"2"),
                    ("/0", 0, 0, b"1"),
                ]),
            ),
            &[Class::Ordering],
        ),
        pair("ar-broken", "lib/libx.a", (object(0, 0, "same"), b"!<arch>\nno header".to_vec()), &[]),
        pair("deb", "x_1_all.deb", (deb("one", TIMES.0), deb("two", TIMES.1)), &[Class::FileTime]),
        pair(
            "zip-times",
            "x.zip",
            (
                zip(&[one.clone(), two.clone()]),
                zip(&[with(&one, |m| m.time = (23_422, 21_000)), two.clone()]),
            ),
            &[Class::FileTime],
        ),
        pair(
            "zip-order",
            "x.zip",
            (zip(&[one.clone(), two.clone()]), zip(&[two.clone(), one.clone()])),
            &[Class::Ordering],
        ),
        pair(
            "zip-mode",
            "x.zip",
            (zip(std::slice::from_ref(&one)), zip(&[with(&one, |m| m.mode = 0o100_755)])),
            &[],
        ),
        pair(
            "zip-stored",
            "x.zip",
            (zip(std::slice::from_ref(&one)), zip(&[with(&one, |m| m.level = None)])),
            &[Class::Compression],
        ),
        pair(
            "zip-encrypted",
            "x.zip",
            (
                zip(&[with(&one, |m| m.flags = 1)]),
                zip(&[with(&one, |m| {
                    m.flags = 1;
                    m.bytes = b"other\n".to_vec();
                })]),
            ),
            &[],
        ),
        pair("zip-members", "x.zip", (zip(std::slice::from_ref(&one)), zip(&[two])), &[]),
        pair("zip-broken", "x.zip", (zip(&[one]), b"PK\x03\x04 and no directory".to_vec()), &[]),
        pair(
            "jar",
            "app.jar",
            (jar("ada", (23_422, 0)), jar("bob", (23_422, 2048))),
            &[Class::FileTime, Class::Owner],
        ),
        pair(
            "wheel",
            "x-1-py3-none-any.whl",
            (
                wheel("q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA", 1_764_499_688),
                wheel("Zm9vYmFyYmF6cXV4MTIzNGFiY2RlZmdoaWprbG1ub3A", 1_764_503_291),
            ),
            &[Class::Digest, Class::FileTime],
        ),
    ]
}

fn packed() -> Vec<Pair> {
    let (a, b) = (b"the first text\nand more\n".as_slice(), b"the other text\nand more\n".as_slice());
    let many: Vec<u8> =
        (0..2000u32).flat_map(|i| format!("line {}\n", i * 7919 % 1000).into_bytes()).collect();
    let members =
        |time: u64, word: &str| tar(&[Entry { mtime: time, ..entry("etc/x", format!("{word}\n")) }]);
    let nested = |time: u64| {
        let inner = gzip(&members(time, "same"), 0, None);
        tar(&[entry("outer/app.zip", zip(&[zipped("inner.tgz", inner)]))])
    };
    vec![
        pair(
            "gzip-time",
            "doc/x.gz",
            (gzip(a, 1_764_499_688, Some("x")), gzip(a, 1_764_503_291, Some("x"))),
            &[Class::FileTime],
        ),
        pair("gzip-name", "doc/x.gz", (gzip(a, 0, Some("x")), gzip(a, 0, Some("y"))), &[]),
        pair("gzip-content", "doc/x.txt.gz", (gzip(a, 0, None), gzip(b, 0, None)), &[]),
        pair(
            "gzip-level",
            "doc/x.gz",
            (gzip_level(&many, 0, None, 1), gzip_level(&many, 0, None, 9)),
            &[Class::Compression],
        ),
        pair("gzip-broken", "doc/x.gz", (gzip(a, 0, None), gzip(a, 0, None)[..20].to_vec()), &[]),
        pair("gzip-against-xz", "doc/x.gz", (gzip(a, 0, None), xz(a)), &[]),
        pair("xz-content", "x.xz", (xz(a), xz(b)), &[]),
        pair("zstd-content", "x.zst", (zstd(a), zstd(b)), &[]),
        pair("bzip2-content", "x.bz2", (bzip2(a), bzip2(b)), &[]),
        pair(
            "tar-gz",
            "backup.tgz",
            (gzip(&members(TIMES.0, "a"), 0, None), gzip(&members(TIMES.1, "b"), 0, None)),
            &[Class::FileTime],
        ),
        pair("nested", "srv/bundle.tar", (nested(TIMES.0), nested(TIMES.1)), &[Class::FileTime]),
    ]
}

fn tars() -> Vec<Pair> {
    let one = entry("a/one", "1\n");
    let two = entry("a/two", "2\n");
    let with = |change: fn(&mut Entry)| {
        let mut changed = one.clone();
        change(&mut changed);
        tar(&[changed, two.clone()])
    };
    let plain = || with(|_| {});
    vec![
        pair("tar-times", "x.tar", (plain(), with(|e| e.mtime += 3600)), &[Class::FileTime]),
        pair(
            "tar-owner",
            "x.tar",
            (plain(), with(|e| (e.owner, e.user) = ((1000, 1000), "ada"))),
            &[Class::Owner],
        ),
        pair("tar-mode", "x.tar", (plain(), with(|e| e.mode = 0o664)), &[]),
        pair("tar-order", "x.tar", (plain(), tar(&[two.clone(), one.clone()])), &[Class::Ordering]),
        pair("tar-form", "x.tar", (plain(), with(|e| e.magic = b"ustar  \0")), &[]),
        pair(
            "tar-records",
            "x.tar",
            (
                with(|e| e.records = &[("ctime", "1764499688.25")]),
                with(|e| e.records = &[("ctime", "1764503291.5")]),
            ),
            &[Class::FileTime],
        ),
        pair("tar-xattr", "x.tar", (plain(), with(|e| e.records = &[("SCHILY.xattr.user.x", "1")])), &[]),
        pair("tar-content", "x.tar", (plain(), with(|e| e.bytes = b"one\n".to_vec())), &[]),
        pair("tar-entries", "x.tar", (tar(std::slice::from_ref(&one)), tar(std::slice::from_ref(&two))), &[]),
        pair("tar-end", "x.tar", (plain(), [plain(), vec![0; 8192]].concat()), &[]),
        pair(
            "tar-broken",
            "x.tar",
            (plain(), {
                let mut tar = plain();
                tar[151] ^= 1;
                tar
            }),
            &[],
        ),
    ]
}

fn others() -> Vec<Pair> {
    let code = |path: &str| [b"\xe3\0\0\0\0", path.as_bytes(), b"\0\0"].concat();
    let image = |chunks: Vec<(&'static [u8; 4], Vec<u8>)>| {
        png(&[vec![(b"IHDR", ihdr())], chunks, vec![(b"IEND", Vec::new())]].concat())
    };
    let time = |minute: u8| (b"tIME", vec![7, 234, 11, 30, 10, minute, 8]);
    let data = |level: u32| (b"IDAT", pixels([1, 2, 3, 4], level));
    vec![
        pair(
            "pyc-time",
            "x/__pycache__/y.cpython-311.pyc",
            (
                pyc(0, (1_764_499_688, 120), &code("/usr/y.py")),
                pyc(0, (1_764_503_291, 120), &code("/usr/y.py")),
            ),
            &[Class::FileTime],
        ),
        pair(
            "pyc-hash",
            "y.pyc",
            (
                pyc(3, (0x1234_5678, 0x9abc_def0), &code("/usr/y.py")),
                pyc(3, (0x2234_5678, 0x8abc_def0), &code("/usr/y.py")),
            ),
            &[Class::Digest],
        ),
        pair(
            "pyc-path",
            "y.pyc",
            (pyc(0, (1, 120), &code("/home/ada/src/y.py")), pyc(0, (1, 120), &code("/build/b1/src/y.py"))),
            &[Class::BuildPath],
        ),
        pair(
            "png-time",
            "logo.png",
            (image(vec![data(6), time(48)]), image(vec![data(6), time(49)])),
            &[Class::Timestamp],
        ),
        pair(
            "png-pixels",
            "logo.png",
            (image(vec![data(6)]), image(vec![(b"IDAT", pixels([1, 2, 3, 9], 6))])),
            &[],
        ),
        pair("png-packed", "logo.png", (image(vec![data(0)]), image(vec![data(9)])), &[Class::Compression]),
        pair(
            "png-text",
            "logo.png",
            (
                image(vec![(b"tEXt", b"date:create\x002026-11-30T10:48:08+00:00".to_vec()), data(6)]),
                image(vec![(b"tEXt", b"date:create\x002026-11-30T11:48:11+00:00".to_vec()), data(6)]),
            ),
            &[Class::Timestamp],
        ),
        pair(
            "jks-dates",
            "etc/ssl/certs/java/cacerts",
            (
                jks(&[("debian:x", TIMES.0 * 1000, b"cert")], 1),
                jks(&[("debian:x", TIMES.1 * 1000, b"cert")], 2),
            ),
            &[Class::Timestamp, Class::Digest],
        ),
        pair(
            "jks-certificate",
            "cacerts",
            (jks(&[("x", 0, b"cert one")], 1), jks(&[("x", 0, b"cert two")], 1)),
            &[],
        ),
        pair(
            "auxcache",
            "var/cache/ldconfig/aux-cache",
            (
                auxcache(&[("libc.so.6", 101, TIMES.0, 37), ("libm.so.6", 102, TIMES.0, 37)]),
                auxcache(&[("libc.so.6", 201, TIMES.1, 41), ("libm.so.6", 202, TIMES.1, 41)]),
            ),
            &[Class::Inode, Class::FileTime],
        ),
    ]
}

fn bytes() -> Vec<Pair> {
    let with = |at: usize, bytes: &[u8]| {
        let mut data = noise(7, 4096);
        data[at..at + bytes.len()].copy_from_slice(bytes);
        data
    };
    let small = |seconds: u64| u32::try_from(seconds).unwrap();
    let shifted = |gap: usize| [&noise(1, 2000)[..], &vec![b'x'; gap], &noise(2, 2000)].concat();
    vec![
        pair("bytes-one", "x.bin", (with(1000, &[1]), with(1000, &[2])), &[]),
        pair("bytes-many", "x.bin", (noise(1, 3000), noise(2, 3000)), &[]),
        pair("bytes-shifted", "x.bin", (shifted(3), shifted(40)), &[]),
        pair(
            "bytes-seconds-32",
            "x.bin",
            (with(1000, &small(TIMES.0).to_le_bytes()), with(1000, &small(TIMES.1).to_le_bytes())),
            &[Class::Timestamp],
        ),
        pair(
            "bytes-seconds-32-big",
            "x.bin",
            (with(1000, &small(TIMES.0).to_be_bytes()), with(1000, &small(TIMES.1).to_be_bytes())),
            &[Class::Timestamp],
        ),
        pair(
            "bytes-seconds-64",
            "x.bin",
            (with(1001, &TIMES.0.to_le_bytes()), with(1001, &TIMES.1.to_le_bytes())),
            &[Class::Timestamp],
        ),
        pair(
            "bytes-milliseconds-big",
            "x.bin",
            (with(1001, &(TIMES.0 * 1000).to_be_bytes()), with(1001, &(TIMES.1 * 1000).to_be_bytes())),
            &[Class::Timestamp],
        ),
        // A counter, and a number of the same size that is no time.
        pair(
            "bytes-counter",
            "x.bin",
            (with(1000, &5u32.to_le_bytes()), with(1000, &6u32.to_le_bytes())),
            &[],
        ),
        pair(
            "bytes-sizes",
            "x.bin",
            (with(1000, &3_800_000_001u32.to_le_bytes()), with(1000, &3_900_000_123u32.to_le_bytes())),
            &[],
        ),
        pair(
            "bytes-unaligned",
            "x.bin",
            (with(1001, &small(TIMES.0).to_le_bytes()), with(1001, &small(TIMES.1).to_le_bytes())),
            &[],
        ),
        pair(
            "bytes-random",
            "x.bin",
            (with(1000, &noise(3, 32)), with(1000, &noise(4, 32))),
            &[Class::Random],
        ),
        pair(
            "bytes-text",
            "x.bin",
            (with(1000, b"\0built Nov 30 2026 10:48:08\0"), with(1000, b"\0built Dec  1 2026 09:12:44\0")),
            &[Class::Timestamp],
        ),
        pair("bytes-against-text", "x", ("a text\n", b"\0\x01\x02".as_slice()), &[]),
        pair("bytes-empty", "x", ("", b"\0\x01\x02".as_slice()), &[]),
    ]
}

/// Files of real tools, which lie beside what is said of them.
fn pinned() -> Vec<Pair> {
    let file = |name: &str, side: &str| {
        let home = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/content");
        let path = home.join(name).join(side);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let real =
        |name: &'static str, path, classes| pair(name, path, (file(name, "a"), file(name, "b")), classes);
    vec![
        real("elf-date", "usr/bin/x", &[Class::Timestamp, Class::Digest]),
        real("elf-path", "usr/lib/x.o", &[Class::BuildPath]),
        real("elf-code", "usr/bin/x", &[Class::Digest]),
        real("elf-library", "usr/lib/libx.so", &[]),
        pair("elf-broken", "usr/bin/x", (file("elf-date", "a"), file("elf-date", "b")[..900].to_vec()), &[]),
        real("sqlite-rows", "var/lib/x.db", &[Class::Timestamp]),
        real("sqlite-order", "var/lib/x.db", &[Class::Ordering]),
        pair(
            "sqlite-broken",
            "var/lib/x.db",
            (file("sqlite-rows", "a"), {
                let mut broken = file("sqlite-rows", "b");
                broken[100] = 7;
                broken
            }),
            &[],
        ),
    ]
}
