//! What is said of two files that differ: `tests/data/content/NAME` has the words and the JSON of each pair, and of
//! those that no few lines can build the files themselves, `a` and `b`. `LITH_BLESS=1` writes them anew.

mod pairs;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use lith::diag::Paint;
use lith::diff::content::{Body, Class, Difference, Input, Limits, World, Worlds, compare, compare_in};
use lith::diff::text::render_content;

use crate::support::{bless, data};
use pairs::{Pair, pairs};

fn input(bytes: &[u8]) -> Input {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Input { file, size: bytes.len() as u64 }
}

fn difference(pair: &Pair) -> Difference {
    compare(pair.file, input(&pair.a), input(&pair.b), &Limits::default()).unwrap()
}

fn classes(difference: &Difference) -> BTreeSet<Class> {
    difference.suspects.iter().map(|suspect| suspect.class).collect()
}

/// The pairs as the fuzzer has them.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let seed =
        |pair: &Pair| [format!("{} {}\n", pair.file, pair.a.len()).as_bytes(), &pair.a, &pair.b].concat();
    pairs().iter().map(|pair| (pair.name, seed(pair))).collect()
}

fn expect(path: &Path, found: &str) {
    if bless() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, found).unwrap();
        return;
    }
    let expected = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(found, expected, "{} (LITH_BLESS=1 writes it anew)", path.display());
}

#[test]
fn every_pair_is_told_as_it_was_written_down() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/content");
    let pairs = pairs();
    let names: BTreeSet<&str> = pairs.iter().map(|pair| pair.name).collect();
    assert_eq!(names.len(), pairs.len(), "names are used once");
    let mut wrong = Vec::new();
    for pair in &pairs {
        let difference = difference(pair);
        assert_ne!(difference.ranges, [], "{}: the two are the same", pair.name);
        let (found, wanted) = (classes(&difference), pair.classes.iter().copied().collect());
        if found != wanted {
            wrong.push(format!(
                "{}: {wanted:?} expected of\n{}",
                pair.name,
                render_content(&difference, Paint::Plain)
            ));
            continue;
        }
        let json = serde_json::to_string_pretty(&difference).unwrap() + "\n";
        assert_eq!(serde_json::from_str::<Difference>(&json).unwrap(), difference, "{}", pair.name);
        expect(&home.join(pair.name).join("text"), &render_content(&difference, Paint::Plain));
        expect(&home.join(pair.name).join("json"), &json);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let written = data("tests/data/content");
    let written = written.iter().map(|path| path.file_name().unwrap().to_str().unwrap());
    assert_eq!(written.collect::<BTreeSet<_>>(), names, "what lies there belongs to a pair");
}

#[test]
fn every_format_and_every_class_has_a_pair() {
    let pairs = pairs();
    let classes: BTreeSet<Class> = pairs.iter().flat_map(|pair| pair.classes.iter().copied()).collect();
    assert_eq!(classes, Class::ALL.into_iter().collect());
    let formats: BTreeSet<String> = pairs.iter().map(|pair| difference(pair).format).collect();
    for format in [
        "text", "json", "elf", "ar", "deb", "zip", "jar", "whl", "gzip", "xz", "zstd", "bzip2", "tar", "pyc",
        "png", "sqlite", "jks", "auxcache", "bytes",
    ] {
        assert!(formats.contains(format), "{format}: {formats:?}");
    }
}

/// A file has no difference from itself, and what B has that A has not is what A has not that B has.
#[test]
fn pairs_are_told_the_same_from_both_sides() {
    for pair in pairs() {
        for bytes in [&pair.a, &pair.b] {
            let same = compare(pair.file, input(bytes), input(bytes), &Limits::default()).unwrap();
            assert_eq!((same.ranges.len(), same.suspects.len()), (0, 0), "{}: {same:#?}", pair.name);
        }
        let forth = difference(&pair);
        let back = compare(pair.file, input(&pair.b), input(&pair.a), &Limits::default()).unwrap();
        assert_eq!(classes(&forth), classes(&back), "{}", pair.name);
        let counts = |d: &Difference| d.suspects.iter().map(|s| (s.class, s.count)).collect::<BTreeSet<_>>();
        assert_eq!(counts(&forth), counts(&back), "{}", pair.name);
    }
}

/// Nothing that is cut off or changed makes a comparer panic, fail, or claim that two files are the same.
#[test]
fn broken_files_are_compared_as_bytes_at_worst() {
    for pair in pairs() {
        let mut len = 0;
        while len < pair.b.len() {
            let cut = &pair.b[..len];
            let difference = compare(pair.file, input(&pair.a), input(cut), &Limits::default()).unwrap();
            assert!(!difference.ranges.is_empty() || pair.a == cut, "{} cut at {len}", pair.name);
            len += (pair.b.len() / 40).max(1);
        }
        for at in (0..pair.b.len()).step_by((pair.b.len() / 60).max(1)) {
            let mut broken = pair.b.clone();
            broken[at] ^= 0xff;
            let difference = compare(pair.file, input(&pair.b), input(&broken), &Limits::default()).unwrap();
            assert_eq!(
                difference.ranges.first().map(|range| range.a.start),
                Some(at as u64),
                "{} at {at}",
                pair.name
            );
        }
    }
}

#[test]
fn what_is_known_of_the_worlds_is_found() {
    let world = |hostname: &str, cwd: &str, kernel: &str, user: &str| World {
        hostname: Some(hostname.to_owned()),
        cwd: Some(cwd.to_owned()),
        kernel: Some(kernel.to_owned()),
        user: Some(user.to_owned()),
    };
    let worlds =
        Worlds { a: world("ash", "/opt/one", "6.1.2", "ada"), b: world("birch", "/opt/two", "6.6.7", "bob") };
    for (a, b, class) in [
        ("on ash today", "on birch today", Class::HostName),
        ("in /opt/one/x", "in /opt/two/x", Class::BuildPath),
        ("v6.1.2", "v6.6.7", Class::Kernel),
        ("by ada", "by bob", Class::Owner),
    ] {
        let known =
            compare_in("f", input(a.as_bytes()), input(b.as_bytes()), &Limits::default(), &worlds).unwrap();
        assert_eq!(classes(&known), [class].into(), "{a}");
        let unknown = compare("f", input(a.as_bytes()), input(b.as_bytes()), &Limits::default()).unwrap();
        assert_eq!(classes(&unknown), BTreeSet::new(), "{a}: nothing in the words says so");
        // The same words the other way round are not of these worlds.
        let other =
            compare_in("f", input(b.as_bytes()), input(a.as_bytes()), &Limits::default(), &worlds).unwrap();
        assert_eq!(classes(&other), BTreeSet::new(), "{a}");
    }
}

/// One machine that is known by name is enough, where its name stands alone and another name for it.
#[test]
fn a_host_that_only_one_side_knows_is_found() {
    let one = World { hostname: Some("builder-7".to_owned()), ..World::default() };
    let (of_a, of_b) =
        (Worlds { a: one.clone(), b: World::default() }, Worlds { a: World::default(), b: one });
    let told = |a: &str, b: &str, worlds: &Worlds| {
        let (a, b) = (input(a.as_bytes()), input(b.as_bytes()));
        classes(&compare_in("f", a, b, &Limits::default(), worlds).unwrap())
    };
    for (known, other) in [
        ("made on builder-7\n", "made on ash\n"),
        ("builder-7\n", "f3a1c2d4e5b6\n"),
        ("at builder-7:/srv\n", "at ash:/srv\n"),
        ("see builder-7.example.org\n", "see ash.example.org\n"),
        // In bytes that are no lines as well.
        ("\u{0}\u{1}\u{0}made on builder-7 by\u{0}\u{1}", "\u{0}\u{1}\u{0}made on ashes-and by\u{0}\u{1}"),
    ] {
        assert_eq!(told(known, other, &of_a), [Class::HostName].into(), "{known:?}");
        assert_eq!(told(other, known, &of_b), [Class::HostName].into(), "{known:?}");
        assert_eq!(told(known, other, &of_b), BTreeSet::new(), "{known:?}: it is A's name, not B's");
    }
    for (known, other) in [
        ("made on builder-70\n", "made on ash\n"),
        ("made on my_builder-7\n", "made on ash\n"),
        ("made on builder-7/x\n", "made on ash/y\n"),
        ("made on builder-7\n", "made on a/b\n"),
        ("made on builder-7\n", "made on\n"),
    ] {
        assert_eq!(told(known, other, &of_a), BTreeSet::new(), "{known:?} {other:?}");
    }
    let number =
        Worlds { a: World { hostname: Some("12".to_owned()), ..World::default() }, b: World::default() };
    assert_eq!(told("part 12 of it\n", "part 13 of it\n", &number), BTreeSet::new(), "a number is no proof");
}

/// What is larger than may be held is compared as bytes, and says so.
#[test]
fn nothing_is_held_beyond_the_limit() {
    let limits = Limits { whole: 1000, ..Limits::default() };
    let a = "one line of text\n".repeat(100);
    let b = a.replacen("line", "row.", 50);
    let difference = compare("f.txt", input(a.as_bytes()), input(b.as_bytes()), &limits).unwrap();
    assert_eq!(difference.format, "bytes");
    assert_eq!(
        difference.notes.first().map(String::as_str),
        Some("not looked into as text: it has 1700 bytes; at most 1000 are looked into")
    );
}

/// Files in files are looked into as deep as the limit says.
#[test]
fn the_depth_is_bounded() {
    let mut pair = (b"1 of 2\n".to_vec(), b"2 of 2\n".to_vec());
    for _ in 0..6 {
        pair = (pairs::gzip(&pair.0, 0, None), pairs::gzip(&pair.1, 0, None));
    }
    let depth_of = |depth: usize| {
        let limits = Limits { depth, ..Limits::default() };
        let mut difference = compare("x", input(&pair.0), input(&pair.1), &limits).unwrap();
        let mut formats = vec![difference.format.clone()];
        while let Body::Parts { parts } = difference.body {
            difference = *parts.into_iter().next().unwrap().difference.unwrap();
            formats.push(difference.format.clone());
        }
        formats
    };
    assert_eq!(depth_of(8), ["gzip", "gzip", "gzip", "gzip", "gzip", "gzip", "text"]);
    assert_eq!(depth_of(3), ["gzip", "gzip", "gzip", "bytes"]);
}

/// What unpacks to far more than it takes is not unpacked to the end.
#[test]
fn bombs_are_compared_packed() {
    let bomb = |byte: u8| pairs::gzip(&vec![byte; 100 << 20], 0, None);
    let (a, b) = (bomb(0), bomb(1));
    let difference = compare("x.gz", input(&a), input(&b), &Limits::default()).unwrap();
    assert_eq!((difference.format.as_str(), difference.suspects.len()), ("bytes", 0), "{difference:#?}");
    assert!(difference.notes.iter().any(|note| note.contains("bomb")), "{:?}", difference.notes);
}

/// What is unpacked and large lies in the scratch directory, not in memory; a scratch that is missing is an error.
#[test]
fn large_content_lies_in_scratch() {
    let lines = |word: &str| (0..200_000).map(|i| format!("{i} {word}\n")).collect::<String>();
    let (a, b) = (pairs::gzip(lines("a").as_bytes(), 0, None), pairs::gzip(lines("b").as_bytes(), 0, None));
    let scratch = tempfile::tempdir().unwrap();
    let limits = Limits { scratch: scratch.path().to_owned(), ..Limits::default() };
    let difference = compare("x.gz", input(&a), input(&b), &limits).unwrap();
    assert_eq!(difference.summary, "text: 200000 lines of 200000 changed");
    assert_eq!(crate::support::children(scratch.path()), Vec::<std::path::PathBuf>::new());
    let limits = Limits { scratch: scratch.path().join("none"), ..Limits::default() };
    let error = compare("x.gz", input(&a), input(&b), &limits).unwrap_err();
    assert!(error.to_string().contains("none"), "{error}");
    drop(File::open(scratch.path()).unwrap());
}
