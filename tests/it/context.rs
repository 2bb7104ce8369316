//! The build context: what leads out of it, what cannot be read, what changes while it is read. Tests are named by
//! what must hold; the letter and number is the row of the project's list of threats.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use lith::action::KeepMeta;
use lith::context::ignore::Ignore;
use lith::context::{Context, ContextError, StatIndex};
use lith::epoch::Epoch;
use lith::exec::ExecError;
use lith::exec::pack::pack;
use lith::exec::source::{Modes, Source};
use lith::path::ImagePath;
use lith::store::{Store, Unpacking};

use crate::support::{Lab, Ran, has, skip};

fn open(lab: &Lab, at: &str) -> Arc<Context> {
    Arc::new(Context::open(&lab.path(at), Ignore::parse(b"").unwrap(), ".dockerignore").unwrap())
}

fn sources_with(context: &Arc<Context>, index: &StatIndex, pattern: &str) -> Result<Vec<Source>, ExecError> {
    let pattern = ImagePath::parse(pattern.as_bytes()).unwrap();
    let all = lith::context::Filter::default();
    Source::from_context(context, index, &pattern, &all, Modes::AsTheyAre, Epoch::ZERO)
}

fn sources(context: &Arc<Context>, pattern: &str) -> Result<Vec<Source>, ExecError> {
    sources_with(context, &StatIndex::default(), pattern)
}

/// The digests of what a pattern selects.
fn digests(lab: &Lab, at: &str, pattern: &str) -> Vec<String> {
    let selected = sources(&open(lab, at), pattern).unwrap();
    selected.iter().map(|source| format!("{:?}", source.digest(KeepMeta::Source))).collect()
}

/// Builds a Dockerfile `FROM scratch` with these lines over a context that is there.
fn build(lab: &Lab, context: &str, lines: &str, more: &[&str]) -> Ran {
    lab.write(&format!("{context}.Dockerfile"), format!("FROM scratch\n{lines}\n"));
    let file = format!("{context}.Dockerfile");
    let mut args = vec!["build", "-q", "-f", &file];
    args.extend(more);
    args.push(context);
    lab.run("store", &args)
}

/// Builds, and gives the names and bytes of the image's files.
#[track_caller]
fn files(lab: &Lab, context: &str, lines: &str) -> Vec<(String, Vec<u8>)> {
    let dest = lab.path("files-out");
    let _ = fs::remove_dir_all(&dest);
    let ran = build(lab, context, lines, &["-o", "type=local,dest=files-out"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let mut all = Vec::new();
    collect(&dest, &dest, &mut all);
    all
}

fn collect(top: &Path, dir: &Path, all: &mut Vec<(String, Vec<u8>)>) {
    for entry in lith::sys::dir::list_path(dir).unwrap() {
        let path = dir.join(std::ffi::OsStr::from_bytes(&entry.name));
        let name = path.strip_prefix(top).unwrap().to_string_lossy().into_owned();
        match fs::symlink_metadata(&path).unwrap().file_type() {
            kind if kind.is_dir() => collect(top, &path, all),
            kind if kind.is_symlink() => {
                all.push((name, fs::read_link(&path).unwrap().as_os_str().as_bytes().into()))
            }
            _ => all.push((name, fs::read(&path).unwrap())),
        }
    }
}

#[track_caller]
fn fails(ran: &Ran, names: &[&str]) {
    assert!(matches!(ran.code, 1 | 2), "{} {}", ran.code, ran.err);
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
    for name in names {
        assert!(ran.err.contains(name), "{name:?} is not named: {}", ran.err);
    }
}

#[test]
fn d1_no_symlink_leads_out_of_the_context() {
    let lab = Lab::new();
    lab.write("outside/secret", "SECRET");
    lab.write("ctx/in/secret", "inside");
    let outside = lab.path("outside");
    symlink(&outside, lab.path("ctx/absolute")).unwrap();
    symlink("../outside", lab.path("ctx/relative")).unwrap();
    symlink("../../../../../../../../..", lab.path("ctx/in/up")).unwrap();
    symlink(outside.join("secret"), lab.path("ctx/file")).unwrap();
    symlink("relative", lab.path("ctx/twice")).unwrap();
    symlink("/proc/self/root", lab.path("ctx/magic")).unwrap();
    let root = outside.to_str().unwrap().trim_start_matches('/').to_owned();
    for source in [
        "absolute/secret",
        "relative/secret",
        "file",
        "twice/secret",
        &format!("in/up/{root}/secret"),
        "magic/etc/passwd",
    ] {
        let ran = build(&lab, "ctx", &format!("COPY {source} /x"), &[]);
        fails(&ran, &["Dockerfile:2:"]);
        let ran = build(&lab, "ctx", &format!("ADD {source} /x"), &[]);
        fails(&ran, &["Dockerfile:2:"]);
    }
    // A pattern that selects nothing is an error or selects nothing; never the bytes outside.
    for pattern in ["absolute/*", "relative/s*", "twice/[s]ecret", "*e/secret", "magic/etc/pass*"] {
        let ran = build(&lab, "ctx", &format!("COPY {pattern} /x/"), &["-o", "type=tar,dest=out.tar"]);
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
        if ran.code == 0 {
            let tar = fs::read(lab.path("out.tar")).unwrap();
            assert!(!tar.windows(6).any(|w| w == b"SECRET" || w == b"root:x"), "{pattern}");
        }
    }
    // What is inside a directory that is copied stays a link, as it is.
    let all = files(&lab, "ctx", "COPY . /");
    assert!(all.contains(&("relative".into(), b"../outside".to_vec())), "{all:?}");
    assert!(all.iter().all(|(_, bytes)| bytes != b"SECRET"), "{all:?}");
    // An absolute link means the context's root.
    symlink("/in", lab.path("ctx/rooted")).unwrap();
    assert_eq!(files(&lab, "ctx", "COPY rooted/secret /x"), [("x".to_owned(), b"inside".to_vec())]);
}

#[test]
fn d2_dots_end_at_the_context_root() {
    let lab = Lab::new();
    lab.write("secret", "SECRET");
    lab.write("ctx/a", "a");
    for source in ["../a", "/../a", "../../../../a", "./x/../a", "/a", "../ctx/../a"] {
        let ran = build(&lab, "ctx", &format!("COPY {source} /x"), &["-o", "type=tar,dest=out.tar"]);
        if ran.code == 0 {
            let tar = fs::read(lab.path("out.tar")).unwrap();
            assert!(!tar.windows(6).any(|w| w == b"SECRET"), "{source}");
        }
    }
    assert_eq!(files(&lab, "ctx", "COPY ../a /x"), [("x".to_owned(), b"a".to_vec())]);
    fails(&build(&lab, "ctx", "COPY ../secret /x", &[]), &["secret", "build context"]);
    fails(&build(&lab, "ctx", "COPY ../../secret /x", &[]), &["secret", "build context"]);
}

#[test]
fn d6_specials_are_named_and_never_opened() {
    let lab = Lab::new();
    for kind in ["fifo", "socket", "device"] {
        let context = format!("ctx-{kind}");
        lab.write(&format!("{context}/dir/a"), "a");
        let path = lab.path(&context).join("dir/odd");
        match kind {
            "fifo" => assert!(Command::new("mkfifo").arg(&path).status().unwrap().success()),
            "socket" => drop(UnixListener::bind(&path).unwrap()),
            _ => {
                let made =
                    Command::new("mknod").arg(&path).args(["c", "1", "5"]).stderr(Stdio::null()).status();
                if !made.unwrap().success() {
                    continue;
                }
            }
        }
        for lines in ["COPY dir /", "COPY dir/odd /", "COPY dir/o* /", "ADD . /"] {
            let began = Instant::now();
            let ran = build(&lab, &context, lines, &[]);
            assert!(began.elapsed().as_secs() < 1, "{lines}");
            fails(&ran, &["dir/odd", kind, "Dockerfile:2:"]);
        }
        // What is not copied does not matter.
        assert_eq!(build(&lab, &context, "COPY dir/a /", &[]).code, 0);
    }
}

#[test]
fn d6_a_fifo_as_ignore_file_is_no_wait() {
    let lab = Lab::new();
    lab.write("ctx/a", "a");
    assert!(Command::new("mkfifo").arg(lab.path("ctx/.dockerignore")).status().unwrap().success());
    let began = Instant::now();
    fails(&build(&lab, "ctx", "COPY a /", &[]), &[".dockerignore", "regular file"]);
    fs::remove_file(lab.path("ctx/.dockerignore")).unwrap();
    fs::create_dir(lab.path("ctx/.dockerignore")).unwrap();
    fails(&build(&lab, "ctx", "COPY a /", &[]), &[".dockerignore"]);
    fs::remove_dir(lab.path("ctx/.dockerignore")).unwrap();
    symlink("/dev/zero", lab.path("ctx/.dockerignore")).unwrap();
    fails(&build(&lab, "ctx", "COPY a /", &[]), &[".dockerignore", "regular file"]);
    assert!(began.elapsed().as_secs() < 5);
}

/// The program as a user without rights: itself if it is one, `nobody` if root runs the tests.
fn plain_user(lab: &Lab, args: &[&str]) -> Option<Ran> {
    if !rustix::process::geteuid().is_root() {
        return Some(lab.run("plain", args));
    }
    if !has("setpriv") {
        return skip("needs setpriv");
    }
    let program = lab.path("lith");
    if !program.exists() {
        fs::copy(env!("CARGO_BIN_EXE_lith"), &program).unwrap();
        fs::create_dir(lab.path("plain")).unwrap();
        std::os::unix::fs::chown(lab.path("plain"), Some(65534), Some(65534)).unwrap();
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(program);
    command.arg("--root").arg(lab.path("plain")).args(args).current_dir(lab.path(""));
    Some(Ran::of(command.output().unwrap()))
}

#[test]
fn d7_what_cannot_be_read_is_named() {
    let lab = Lab::new();
    lab.write("ctx/Dockerfile", "FROM scratch\nCOPY dir /\n");
    lab.write("ctx/wild.Dockerfile", "FROM scratch\nCOPY dir/shut/* /\n");
    lab.write("ctx/dir/open", "a");
    let file = lab.write("ctx/dir/closed", "b");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    let Some(ran) = plain_user(&lab, &["build", "ctx"]) else { return };
    fails(&ran, &["dir/closed", "denied", "Dockerfile:2:"]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    lab.write("ctx/dir/shut/x", "x");
    let shut = lab.path("ctx/dir/shut");
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o000)).unwrap();
    fails(&plain_user(&lab, &["build", "ctx"]).unwrap(), &["dir/shut", "denied"]);
    let wild = plain_user(&lab, &["build", "-f", "ctx/wild.Dockerfile", "ctx"]).unwrap();
    fails(&wild, &["dir/shut", "denied"]);
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o755)).unwrap();
    let ignore = lab.write("ctx/.dockerignore", "dir/closed\n");
    fs::set_permissions(&ignore, fs::Permissions::from_mode(0o000)).unwrap();
    fails(&plain_user(&lab, &["build", "ctx"]).unwrap(), &[".dockerignore", "denied"]);
    fs::set_permissions(&ignore, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(plain_user(&lab, &["build", "ctx"]).unwrap().code, 0);
}

/// Hashes `f`, lets `change` happen to it, then packs it.
fn torn(size: usize, change: impl FnOnce(&Path)) -> Result<(), ExecError> {
    let lab = Lab::new();
    let path = lab.write("ctx/f", vec![b'a'; size]);
    let selected = sources(&open(&lab, "ctx"), "f").unwrap();
    change(&path);
    let store = Store::open(&lab.path("store"), Unpacking::Never).unwrap();
    let planned = selected.into_iter().map(|s| (ImagePath::parse(b"f").unwrap(), s.top)).collect();
    pack(&store, &planned).map(drop)
}

#[test]
fn d8_d9_a_file_that_changes_between_hash_and_pack_ends_the_build() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 9] = [
        ("rewritten", |p| fs::write(p, "b").unwrap()),
        ("one byte, times restored", |p| {
            let file = File::options().write(true).open(p).unwrap();
            let time = file.metadata().unwrap().modified().unwrap();
            file.write_all_at(b"b", 7).unwrap();
            file.set_modified(time).unwrap();
        }),
        ("grown", |p| {
            let file = File::options().write(true).open(p).unwrap();
            file.set_len(file.metadata().unwrap().len() + 1).unwrap();
        }),
        ("cut", |p| File::options().write(true).open(p).unwrap().set_len(1).unwrap()),
        ("gone", |p| fs::remove_file(p).unwrap()),
        ("replaced by an equal file", |p| {
            let bytes = fs::read(p).unwrap();
            fs::remove_file(p).unwrap();
            fs::write(p.with_extension("new"), bytes).unwrap();
            fs::rename(p.with_extension("new"), p).unwrap();
        }),
        ("a symlink now", |p| {
            fs::rename(p, p.with_extension("old")).unwrap();
            symlink("f.old", p).unwrap();
        }),
        ("a directory now", |p| {
            fs::remove_file(p).unwrap();
            fs::create_dir(p).unwrap();
        }),
        ("a FIFO now", |p| {
            fs::remove_file(p).unwrap();
            assert!(Command::new("mkfifo").arg(p).status().unwrap().success());
        }),
    ];
    for size in [100, 3 << 20] {
        for (what, change) in changes {
            match torn(size, change) {
                Err(ExecError::Context(ContextError::Changed(path))) => assert_eq!(path.as_bytes(), b"f"),
                other => panic!("{what}: {other:?}"),
            }
        }
        torn(size, |_| ()).unwrap();
    }
}

#[test]
fn d9_a_directory_swapped_for_a_symlink_is_not_followed() {
    let lab = Lab::new();
    lab.write("outside/f", "SECRET");
    lab.write("ctx/d/f", "inside");
    let selected = sources(&open(&lab, "ctx"), "d/f").unwrap();
    fs::rename(lab.path("ctx/d"), lab.path("ctx/old")).unwrap();
    symlink(lab.path("outside"), lab.path("ctx/d")).unwrap();
    let store = Store::open(&lab.path("store"), Unpacking::Never).unwrap();
    let planned = selected.into_iter().map(|s| (ImagePath::parse(b"f").unwrap(), s.top)).collect();
    let error = pack(&store, &planned).map(drop).unwrap_err();
    assert!(matches!(error, ExecError::Context(ContextError::Changed(_))), "{error:?}");
}

/// The most memory a process had, in KiB, asked until it ends.
fn watch(mut command: Command) -> (Ran, u64) {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let watcher = std::thread::spawn(move || {
        let mut most = 0;
        while let Ok(text) = fs::read_to_string(&status) {
            let peak = text.lines().find_map(|l| l.strip_prefix("VmHWM:"));
            let Some(peak) = peak else { break };
            most = most.max(peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap());
            std::thread::yield_now();
        }
        most
    });
    (Ran::of(child.wait_with_output().unwrap()), watcher.join().unwrap())
}

#[test]
fn d10_a_hundred_thousand_files_in_one_directory() {
    let lab = Lab::new();
    let dir = lab.path("ctx/many");
    fs::create_dir_all(&dir).unwrap();
    for at in 0..100_000 {
        fs::write(dir.join(format!("f{at:06}")), at.to_string()).unwrap();
    }
    let mut long = lab.path("ctx");
    for _ in 0..14 {
        long.push("x".repeat(200));
    }
    fs::create_dir_all(&long).unwrap();
    fs::write(long.join("y".repeat(255)), "long").unwrap();
    lab.write("ctx/Dockerfile", "FROM scratch\nCOPY many /many\nCOPY x* /long\n");
    for round in ["cold", "warm"] {
        let began = Instant::now();
        let (ran, peak) = watch(lab.command("store", &["build", "--progress=json", "ctx"]));
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(peak > 0 && peak < 500_000, "{round}: {peak} KiB");
        assert!(began.elapsed().as_secs() < 60, "{round}: {:?}", began.elapsed());
    }
    lab.ok("store", &["build", "-q", "-o", "type=tar,dest=out.tar", "ctx"]);
    let mut archive = tar::Archive::new(File::open(lab.path("out.tar")).unwrap());
    let names: BTreeSet<Vec<u8>> =
        archive.entries().unwrap().map(|e| e.unwrap().path_bytes().into_owned()).collect();
    assert_eq!(names.iter().filter(|n| n.starts_with(b"many/f")).count(), 100_000);
    assert!(names.iter().any(|n| n.ends_with("y".repeat(255).as_bytes()) && n.len() > 2800));
}

#[test]
fn d11_the_digest_does_not_see_how_files_are_linked() {
    let lab = Lab::new();
    for (context, linked) in [("linked", true), ("apart", false)] {
        lab.write(&format!("{context}/d/a"), "same");
        if linked {
            fs::hard_link(lab.path("linked/d/a"), lab.path("linked/d/b")).unwrap();
        } else {
            lab.write("apart/d/b", "same");
        }
    }
    assert_eq!(digests(&lab, "linked", "d"), digests(&lab, "apart", "d"));
    let id = |context| build(&lab, context, "COPY d /d", &[]).out;
    assert_eq!(id("linked"), id("apart"));
}

#[test]
fn d11_a_sparse_file_is_its_bytes() {
    let lab = Lab::new();
    const SIZE: u64 = 300 << 20;
    for context in ["sparse", "short"] {
        fs::create_dir(lab.path(context)).unwrap();
    }
    let file = File::create(lab.path("sparse/f")).unwrap();
    file.set_len(SIZE).unwrap();
    file.write_all_at(b"middle", SIZE / 2).unwrap();
    let began = Instant::now();
    lab.write("sparse/Dockerfile", "FROM scratch\nCOPY f /f\n");
    let (ran, peak) = watch(lab.command("store", &["build", "-q", "sparse"]));
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(peak < 300_000, "{peak} KiB");
    assert!(began.elapsed().as_secs() < 60);
    let read = fs::metadata(lab.path("sparse/f")).unwrap();
    assert_eq!(read.len(), SIZE);
}

#[test]
fn d13_names_that_differ_in_case_or_form_are_two() {
    let lab = Lab::new();
    let names: [&str; 6] = ["README", "readme", "\u{e9}", "e\u{301}", "\u{212b}", "\u{c5}"];
    for name in names {
        lab.write(&format!("ctx/{name}"), name);
    }
    let bytes = lab.path("ctx").join(std::ffi::OsStr::from_bytes(b"\xff\xfe\n\x1b[0m"));
    fs::write(bytes, "raw").unwrap();
    let all = files(&lab, "ctx", "COPY . /");
    assert_eq!(all.len(), 7, "{all:?}");
    for name in names {
        assert!(all.contains(&(name.to_owned(), name.as_bytes().to_vec())), "{name}");
    }
}

#[test]
fn wildcards_select_by_go_rules() {
    let lab = Lab::new();
    for name in ["a1", "a2", "b1", "ab", "*", "[x]", ".hidden", "sub/a1", "sub/deep/a1"] {
        lab.write(&format!("ctx/{name}"), name);
    }
    let names = |pattern: &str| -> Vec<String> {
        let selected = sources(&open(&lab, "ctx"), pattern).unwrap();
        selected.into_iter().map(|s| String::from_utf8(s.name).unwrap()).collect()
    };
    assert_eq!(names("a?"), ["a1", "a2", "ab"]);
    assert_eq!(names("a[0-9]"), ["a1", "a2"]);
    assert_eq!(names("a[^0-9]"), ["ab"]);
    assert_eq!(names("*1"), ["a1", "b1"]);
    assert_eq!(names("s*/a1"), ["a1"]);
    assert_eq!(names("*/*/a1"), ["a1"]);
    assert_eq!(names("\\*"), ["*"]);
    assert_eq!(names("[[]x]"), ["[x]"]);
    assert_eq!(names("*hidden"), [".hidden"]);
    assert_eq!(names("zzz*"), [""; 0]);
    assert!(matches!(
        sources(&open(&lab, "ctx"), "a["),
        Err(ExecError::Context(ContextError::Pattern { .. }))
    ));
    // As with BuildKit a pattern may select nothing; a plain name may not.
    assert_eq!(build(&lab, "ctx", "COPY zzz* /x/", &[]).code, 0);
}

#[test]
fn d12_ignored_files_do_not_exist() {
    let lab = Lab::new();
    for name in ["keep", "drop", "out/drop", "out/keep/me", "Dockerfile"] {
        lab.write(&format!("ctx/{name}"), name);
    }
    lab.write("ctx/Dockerfile", "FROM scratch\nCOPY . /\n");
    lab.write("ctx/.dockerignore", "# comment\ndrop\nout\n!out/keep\nDockerfile\n.dockerignore\n");
    let dest = "type=local,dest=out";
    lab.ok("store", &["build", "-q", "-o", dest, "ctx"]);
    let mut all = Vec::new();
    collect(&lab.path("out"), &lab.path("out"), &mut all);
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["keep", "out/keep/me"], "an excluded Dockerfile is read, and not copied");
    for source in ["drop", "out/drop", "Dockerfile"] {
        fails(&build(&lab, "ctx", &format!("COPY {source} /x"), &[]), &[source, ".dockerignore"]);
    }
    // The file's own rules beat the context's.
    lab.write("ctx.Dockerfile.dockerignore", "keep\n");
    fails(&build(&lab, "ctx", "COPY keep /x", &[]), &["keep", "ctx.Dockerfile.dockerignore"]);
    assert_eq!(build(&lab, "ctx", "COPY drop /x", &[]).code, 0);
}

/// T26: same size, same mtime, at once.
#[test]
fn t26_a_change_within_one_tick_is_seen() {
    let lab = Lab::new();
    lab.write("ctx/Dockerfile", "FROM scratch\nCOPY f /f\n");
    let file = lab.write("ctx/f", "00000");
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    let mut ids = BTreeSet::new();
    for round in 0..25 {
        let open = File::options().write(true).open(&file).unwrap();
        open.write_all_at(format!("{round:05}").as_bytes(), 0).unwrap();
        open.set_modified(time).unwrap();
        ids.insert(lab.ok("store", &["build", "-q", "ctx"]).out);
    }
    assert_eq!(ids.len(), 25);
}

/// T26 with the index alone: hashed, changed and hashed again as fast as the machine can.
#[test]
fn t26_the_index_never_serves_old_bytes() {
    let lab = Lab::new();
    let file = lab.write("ctx/f", "00000");
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    for round in 0..300 {
        let open_file = File::options().write(true).open(&file).unwrap();
        let bytes = format!("{round:05}");
        open_file.write_all_at(bytes.as_bytes(), 0).unwrap();
        open_file.set_modified(time).unwrap();
        let index = StatIndex::load(&lab.path("index"));
        let selected = sources_with(&open(&lab, "ctx"), &index, "f").unwrap();
        index.save(&lab.path("index")).unwrap();
        let fresh = sources(&open(&lab, "ctx"), "f").unwrap();
        assert_eq!(
            format!("{:?}", selected[0].digest(KeepMeta::Source)),
            format!("{:?}", fresh[0].digest(KeepMeta::Source)),
            "round {round}"
        );
    }
}

#[test]
fn d24_inputs_that_look_alike_have_different_keys() {
    let lab = Lab::new();
    // Each tree spells the same letters in another way.
    type Make = fn(&Path);
    let trees: [Make; 9] = [
        |d| fs::write(d.join("ab"), "c").unwrap(),
        |d| fs::write(d.join("a"), "bc").unwrap(),
        |d| {
            fs::write(d.join("a"), "b").unwrap();
            fs::write(d.join("c"), "").unwrap();
        },
        |d| {
            fs::create_dir(d.join("a")).unwrap();
            fs::write(d.join("a/b"), "c").unwrap();
        },
        |d| symlink("bc", d.join("a")).unwrap(),
        |d| {
            fs::write(d.join("a"), "bc").unwrap();
            fs::set_permissions(d.join("a"), fs::Permissions::from_mode(0o755)).unwrap();
        },
        |d| {
            fs::write(d.join("a"), "bc").unwrap();
            fs::create_dir(d.join("empty")).unwrap();
        },
        |d| fs::create_dir(d.join("a")).unwrap(),
        |d| fs::write(d.join("a"), "").unwrap(),
    ];
    let mut seen = BTreeSet::new();
    for (at, make) in trees.iter().enumerate() {
        let context = format!("tree{at}");
        fs::create_dir_all(lab.path(&context).join("d")).unwrap();
        make(&lab.path(&context).join("d"));
        assert!(seen.insert(digests(&lab, &context, "d")), "tree {at}");
    }
}

#[test]
fn d24_steps_that_look_alike_have_different_keys() {
    let lab = Lab::new();
    lab.write("ctx/a", "a");
    lab.write("ctx/b", "a");
    let steps = [
        r#"RUN ["a","bc"]"#,
        r#"RUN ["ab","c"]"#,
        r#"RUN ["a b","c"]"#,
        r#"RUN ["a","b","c"]"#,
        r#"RUN ["a","b","c",""]"#,
        "RUN a b c",
        "ENV x=1 y=2\nRUN [\"a\"]",
        "ENV x=\"1 y=2\"\nRUN [\"a\"]",
        "ENV x=\"1\\ny=2\"\nRUN [\"a\"]",
        "ENV x1= y=2\nRUN [\"a\"]",
        "WORKDIR /\nRUN [\"a\"]",
        "USER 1\nRUN [\"a\"]",
        "USER 1:1\nRUN [\"a\"]",
        "SHELL [\"x\"]\nRUN a",
        "SHELL [\"x\",\"a\"]\nRUN a",
        "COPY a /x",
        "COPY a /x/",
        "COPY b /x/",
        "COPY a b /x/",
        "COPY --chown=1:2 a /x",
        "COPY --chown=12 a /x",
        "COPY --chmod=600 a /x",
        "COPY <<a /x\na\n",
    ];
    let mut seen = std::collections::BTreeMap::new();
    for step in steps {
        lab.write("Dockerfile", format!("FROM scratch\n{step}\n"));
        let out = lab.ok("store", &["plan", "--format", "json", "-f", "Dockerfile", "ctx"]).out;
        let plan: serde_json::Value = serde_json::from_str(&out).unwrap();
        let stage = plan.as_array().unwrap().last().unwrap();
        let last = stage["steps"].as_array().unwrap().last().unwrap();
        let key = last["key"].as_str().unwrap_or_else(|| panic!("{step}: {out}")).to_owned();
        if let Some(other) = seen.insert(key, step) {
            panic!("{step:?} has the key of {other:?}");
        }
    }
}
