//! The table of floors: a module names only modules of a lower floor, or of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::support::children;

/// Floors from the bottom up; modules of one line may name each other only as `SAME` says.
const FLOORS: [&[&str]; 12] = [
    &["capabilities", "csv", "diag", "limits", "size"],
    &["digest", "epoch", "mount", "platform", "path", "canon", "sys"],
    &["oci", "remote"],
    &["action", "lock", "login", "recipe", "sbom", "sign"],
    &["frontend", "context", "layer", "transfer"],
    &["graph", "plan", "registries", "store", "sandbox"],
    &["sched", "image", "fetch"],
    &["debian", "diff", "registry"],
    &["shared"],
    &["exec"],
    &["bundle", "container", "engine", "init", "view"],
    &["cli"],
];

/// Pairs of one floor that are allowed, with the reason.
const SAME: [(&str, &str); 5] = [
    // Bytes that are not UTF-8 are written in hex.
    ("path", "digest"),
    ("canon", "digest"),
    // What is opened below a directory is a validated path.
    ("sys", "path"),
    // A bound copy keeps the recipe's word on archives.
    ("action", "recipe"),
    // A pattern is found wrong where it is written, by the matcher that will use it.
    ("frontend", "context"),
];

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|modules| modules.contains(&module))
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for path in children(dir) {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The modules a file names: every `crate::name`, comments left out.
fn named(text: &str) -> Vec<String> {
    let code: String =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut names = Vec::new();
    for part in code.split("crate::").skip(1) {
        if let Some(group) = part.strip_prefix('{') {
            let inner = group.split('}').next().unwrap();
            names.extend(inner.split(',').map(|n| n.trim().split("::").next().unwrap().to_owned()));
        } else {
            names.push(part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    names
}

#[test]
fn modules_name_only_lower_floors() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut wrong: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut checked = 0;
    for file in &files {
        let relative = file.strip_prefix(&src).unwrap();
        let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
        let own = first.trim_end_matches(".rs");
        if matches!(own, "lib" | "main") {
            continue;
        }
        let floor_of_own = floor(own).unwrap_or_else(|| panic!("module {own} stands on no floor"));
        for name in named(&std::fs::read_to_string(file).unwrap()) {
            checked += 1;
            let Some(other) = floor(&name) else { continue };
            let allowed = name == own || other < floor_of_own || SAME.contains(&(own, name.as_str()));
            if !allowed {
                wrong.entry(relative.display().to_string()).or_default().push(name);
            }
        }
    }
    assert!(checked > 200, "the table was held against {checked} names only");
    assert!(wrong.is_empty(), "modules that name upwards: {wrong:#?}");
}

/// No clock enters an image: the wall clock is read in two places, of which one serves the stat index, the life of
/// containers and the question whether a file is still being written to, and the other `--epoch now`, whether a release
/// of an archive is over, and signatures of what is written to a shared cache.
#[test]
fn the_wall_clock_is_read_where_it_cannot_reach_an_image() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let readers = |needles: &[&str]| -> Vec<String> {
        let reads = |file: &&PathBuf| {
            let text = std::fs::read_to_string(file).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            code.clone().any(|line| needles.iter().any(|needle| line.contains(needle)))
        };
        files.iter().filter(reads).map(|f| f.strip_prefix(&src).unwrap().display().to_string()).collect()
    };
    let clocks =
        ["SystemTime", "Timestamp::now", "Zoned::now", "clock_gettime", "gettimeofday", "libc::time"];
    // The world of hermetic steps names the calls, to answer them with a time that follows from the step; a test of ELF does.
    // Clocks of durations are read to make them begin with a step.
    let found = [
        "cli/build.rs",
        "sandbox/durations.rs",
        "sandbox/world/vdso/aarch64.rs",
        "sandbox/world/vdso/x86_64.rs",
        "sandbox/world.rs",
        "sys/clock.rs",
        "sys/elf.rs",
    ];
    assert_eq!(readers(&clocks), found);
    // The life of containers, the time a file was read, for the stat index, whether one changes while it is read; and which
    // stamps of files a hermetic step made, and how long one of its programs waits.
    let found = [
        "container/state.rs",
        "exec/source.rs",
        "layer/capture/steady.rs",
        "sandbox/world/clock.rs",
        "sandbox/world/waits.rs",
    ];
    assert_eq!(readers(&["sys::clock"]), found);
    // The moment of a signature is known to those alone who write what is shared.
    assert_eq!(
        readers(&["Signing"]),
        ["cli/sharing.rs", "shared/mod.rs", "shared/signed.rs", "shared/writer.rs"]
    );
    let monotonic = readers(&["Instant"]);
    // And for containers, for giving up on a server, and for how long a token is good, which make no image at all.
    let allowed = |f: &String| {
        f.starts_with("cli/")
            || f.starts_with("container/")
            || matches!(f.as_str(), "fetch/pace.rs" | "registry/token.rs")
    };
    assert!(monotonic.iter().all(allowed), "durations are for people: {monotonic:?}");
}

#[test]
fn unsafe_stands_in_sys_alone() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    for file in files.iter().filter(|f| !f.starts_with(src.join("sys"))) {
        let text = std::fs::read_to_string(file).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        assert!(!code.clone().any(|line| line.contains("unsafe ")), "{}", file.display());
    }
}

/// Every test that the list of threats names is there, by its file and its name.
#[test]
fn threats_name_tests_that_exist() {
    assert_eq!(rows_with_tests('S', "tests/kernel"), (1..=31).collect::<Vec<u32>>());
    assert_eq!(rows_with_tests('R', "tests/it"), (1..=23).collect::<Vec<u32>>());
    // What is open there names no test, and says so.
    assert_eq!(rows_with_tests('C', "tests/it"), (1..=12).collect::<Vec<u32>>());
}

/// C12: the crates that read what strangers send are not older than the last release that mended something of theirs.
/// A floor for what was known when it was written: new advisories are not asked for here.
#[test]
fn c12_crates_are_not_older_than_their_last_known_faults() {
    const LEAST: [(&str, [u32; 3]); 6] = [
        ("crossbeam-channel", [0, 5, 15]),
        ("idna", [1, 0, 0]),
        ("ring", [0, 17, 12]),
        ("rustls", [0, 23, 18]),
        ("rustls-webpki", [0, 103, 10]),
        ("tar", [0, 4, 45]),
    ];
    let lock = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    let mut held = 0;
    for package in lock.split("[[package]]").skip(1) {
        let field = |name: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(&format!("{name} = \"")));
            line.map(|value| value.trim_end_matches('"'))
        };
        assert!(
            field("source").is_none_or(|source| source.starts_with("registry+https://github.com/rust-lang/")),
            "{package}: crates come from crates.io"
        );
        let least = LEAST.iter().find(|(name, _)| Some(*name) == field("name"));
        let Some((name, least)) = least else { continue };
        let version = field("version").unwrap().split(['+', '-']).next().unwrap();
        let version: Vec<u32> = version.split('.').map(|part| part.parse().unwrap()).collect();
        assert!(version.as_slice() >= least.as_slice(), "{name} {version:?}: expected {least:?} or later");
        held += 1;
    }
    assert!(held >= LEAST.len() - 1, "{held} of them are in Cargo.lock");
}

/// The rows of one kind, each found to name tests that are below `home` or where they say.
fn rows_with_tests(kind: char, home: &str) -> Vec<u32> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("spec/threats.md")).unwrap();
    let begins = format!("| {kind}");
    let mut held = Vec::new();
    for line in page.lines() {
        let columns: Vec<&str> = line.split(" | ").collect();
        let number = columns[0].strip_prefix(&begins).and_then(|number| number.parse().ok());
        let Some(row) = number.filter(|_| !columns[2].starts_with("*open*")) else { continue };
        let tests: Vec<&str> = columns[3].split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "{kind}{row} names no test");
        for test in tests {
            let (file, name) = test.rsplit_once("::").unwrap_or((test, ""));
            let at_home = root.join(home).join(format!("{file}.rs"));
            let file = if at_home.is_file() { at_home } else { root.join(file) };
            let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{kind}{row}: {test}: {e}"));
            let begins = if name.is_empty() { "fn ".into() } else { format!("fn {name}(") };
            let found = text.split("#[test]\n").skip(1).any(|rest| rest.trim_start().starts_with(&begins));
            assert!(found, "{kind}{row}: {test} is no test");
        }
        held.push(row);
    }
    held
}
