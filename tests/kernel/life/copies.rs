//! `cp`: docker's rules, and that nothing in a container leads a copy elsewhere.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use super::World;
use super::files::worlds;
use crate::support::{Ran, children};

/// Two containers with the same files: one that runs, one that does not any more.
const FILES: &str = "mkdir -p /src/sub /dst; echo a > /src/a; echo b > /src/sub/b; ln -s a /src/link; ln -s sub /src/way; \
    ln /src/a /src/hard; chmod 4750 /src/sub/b; touch -d @1000 /src/a; mkfifo /src/fifo; echo in > /vol/in";

fn pair(world: &World) -> [&'static str; 2] {
    world.ok(&["run", "--name", "still", "-v", "kept:/vol", "base", "sh", "-c", FILES]);
    let forever = format!("{FILES}; echo ready; exec sleep 1000");
    world.ok(&["run", "-d", "--name", "alive", "-v", "kept:/vol", "base", "sh", "-c", &forever]);
    super::eventually("the files", || world.ok(&["logs", "alive"]) == "ready");
    ["still", "alive"]
}

/// A directory here that the caller may write to.
fn place(world: &World, name: &str) -> PathBuf {
    let dir = world.lab().path(if world.is_root() { "" } else { "home" }).join(name);
    fs::create_dir_all(&dir).unwrap();
    world.give(&dir);
    dir
}

fn give_all(world: &World, path: &Path) {
    world.give(path);
    if path.is_dir() && !path.is_symlink() {
        children(path).iter().for_each(|path| give_all(world, path));
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[track_caller]
fn refused(world: &World, args: &[&str], code: i32, part: &str) {
    let ran = world.run(args);
    assert_eq!(ran.code, code, "{args:?}\n{}\n{}", ran.out, ran.err);
    assert!(ran.err.contains(part) && !ran.err.contains("panicked"), "{args:?}: {part:?} in {}", ran.err);
}

#[test]
fn files_come_out_by_the_rules_of_docker() {
    for world in worlds("out") {
        for name in pair(&world) {
            let here = place(&world, &format!("out-{name}"));
            let from = |path: &str| format!("{name}:{path}");
            let to = |path: &str| format!("{}/{path}", here.display());
            let copy = |more: &[&str], path: &str, dest: &str| {
                world.ok(&[&["cp"], more, &[from(path).as_str(), to(dest).as_str()]].concat())
            };
            // A file: to a new name, into a directory, over a file; with its mode and time, as its receiver's own.
            copy(&[], "/src/a", "new");
            copy(&[], "src/../src/a", "");
            fs::write(here.join("old"), "much longer than what comes").unwrap();
            world.give(&here.join("old"));
            copy(&[], "/src/sub/b", "old");
            for (path, bytes, mode) in [("new", "a\n", 0o644), ("a", "a\n", 0o644), ("old", "b\n", 0o750)] {
                let found = fs::symlink_metadata(here.join(path)).unwrap();
                assert_eq!(fs::read_to_string(here.join(path)).unwrap(), bytes);
                assert_eq!((found.mode() & 0o7777, found.uid()), (mode, fs::metadata(&here).unwrap().uid()));
            }
            assert_eq!(fs::metadata(here.join("a")).unwrap().mtime(), 1000);
            // A directory: under its own name into one that is there, as a new one, only what it holds.
            copy(&[], "/src", "");
            copy(&[], "/src/", "named");
            fs::create_dir(here.join("flat")).unwrap();
            world.give(&here.join("flat"));
            copy(&[], "/src/.", "flat");
            for dir in ["src", "named", "flat"] {
                let dir = here.join(dir);
                assert_eq!(fs::read_to_string(dir.join("sub/b")).unwrap(), "b\n");
                assert_eq!(fs::read_link(dir.join("link")).unwrap(), Path::new("a"));
                let inode = |name: &str| fs::metadata(dir.join(name)).unwrap().ino();
                assert_eq!(inode("a"), inode("hard"), "one file with two names");
                assert_eq!(children(&dir).len(), 6, "{:?}", children(&dir));
            }
            // A link: itself, or what it leads to.
            copy(&[], "/src/link", "as-link");
            assert_eq!(fs::read_link(here.join("as-link")).unwrap(), Path::new("a"));
            copy(&["-L"], "/src/link", "as-file");
            assert!(fs::symlink_metadata(here.join("as-file")).unwrap().is_file());
            copy(&[], "/src/way/", "as-dir");
            assert_eq!(fs::read_to_string(here.join("as-dir/b")).unwrap(), "b\n");
            // Volumes, and files that the container is given.
            copy(&[], "/vol/in", "volume");
            copy(&[], "/etc/hostname", "hostname");
            assert_eq!(fs::read_to_string(here.join("hostname")).unwrap().len(), 13);
            // Not what the kernel makes up.
            copy(&[], "/", "whole");
            for dir in ["proc", "sys", "dev"] {
                assert_eq!(children(&here.join("whole").join(dir)), [""; 0].map(PathBuf::from), "{dir}");
            }
            assert_eq!(fs::read_to_string(here.join("whole/vol/in")).unwrap(), "in\n");

            let (src, a) = (from("/src"), from("/src/a"));
            refused(&world, &["cp", &src, &to("new")], 1, "is not a directory");
            refused(&world, &["cp", &a, &to("missing/")], 1, "missing is not there");
            refused(&world, &["cp", &a, &to("missing/x")], 1, "missing is not there");
            refused(&world, &["cp", &from("/nope"), &to("x")], 1, "/nope is not there");
            refused(&world, &["cp", &from("/src/a/"), &to("x")], 1, "/src/a is not a directory");
            refused(&world, &["cp", &from("/proc/1/root/etc/passwd"), &to("x")], 1, "/proc/1/root");
            refused(&world, &["cp", "nope:/x", &to("x")], 1, "no such container");
            assert!(!here.join("x").exists());
        }
        refused(&world, &["cp", "a", "b"], 2, "neither side");
        refused(&world, &["cp", "still:/a", "alive:/b"], 2, "lith cp A:PATH -");
    }
}

#[test]
fn files_go_in_by_the_rules_of_docker() {
    for world in worlds("in") {
        let here = place(&world, "in");
        fs::create_dir_all(here.join("tree/sub")).unwrap();
        fs::write(here.join("tree/sub/file"), "deep").unwrap();
        fs::write(here.join("file"), "plain").unwrap();
        fs::set_permissions(here.join("file"), fs::Permissions::from_mode(0o741)).unwrap();
        symlink("file", here.join("link")).unwrap();
        let big: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
        fs::write(here.join("big"), &big).unwrap();
        give_all(&world, &here);
        for name in pair(&world) {
            let from = |path: &str| format!("{}/{path}", here.display());
            let copy = |more: &[&str], path: &str, dest: &str| {
                world.ok(&[&["cp"], more, &[from(path).as_str(), &format!("{name}:{dest}")]].concat())
            };
            copy(&[], "file", "/dst/new");
            copy(&[], "file", "dst");
            copy(&[], "file", "/src/sub/b");
            copy(&[], "tree", "/dst");
            copy(&[], "tree", "/dst/named");
            copy(&[], "tree/.", "/dst");
            copy(&[], "link", "/dst/as-link");
            copy(&["-L"], "link", "/dst/as-file");
            copy(&[], "file", "/src/way");
            copy(&[], "file", "/src/link");
            copy(&[], "big", "/vol/big");
            copy(&[], "file", "/etc/hostname");
            let to = |path: &str| format!("{name}:{path}");
            refused(&world, &["cp", &from("tree"), &to("/dst/new")], 1, "/dst/new is not a directory");
            refused(&world, &["cp", &from("file"), &to("/no/x")], 1, "/no is not there");
            refused(&world, &["cp", &from("nope"), &to("/dst")], 2, "nope is not there");
            refused(&world, &["cp", "-", &to("/dst/none")], 1, "/dst/none is not there");
            refused(&world, &["cp", &from("file"), &to("/proc/1/cwd/x")], 1, "/proc/1/cwd");
            if name == "still" {
                world.ok(&["commit", "still", "seen"]);
            }
        }
        let script = "cd /dst; ls -ln new | cut -c1-16; cat new file /src/sub/b sub/file tree/sub/file named/sub/file as-file \
            /src/a; readlink as-link; cat /src/sub/file; readlink /src/link";
        let expected = "-rwxr----x    1 0\nplainplainplaindeepdeepdeepplainplainfile\nplaina";
        let as_seen = [vec!["run", "--rm", "seen"], vec!["exec", "alive"]];
        for args in as_seen {
            let out = world.ok(&[&args[..], &["sh", "-c", script]].concat());
            let (list, rest) = out.split_once('\n').unwrap();
            assert!(list.starts_with("-rwxr----x"), "{list}");
            assert_eq!(rest, expected.split_once('\n').unwrap().1, "{args:?}");
        }
        assert_eq!(world.ok(&["exec", "alive", "cat", "/etc/hostname"]), "plain");
        let back = world.command(&["exec", "alive", "cat", "/vol/big"]).output().unwrap();
        assert!(back.stdout == big, "{} bytes came back", back.stdout.len());
    }
}

/// Feeds a tar to the container, and takes it out again.
#[test]
fn tars_go_through_standard_streams() {
    for world in worlds("tar") {
        for name in pair(&world) {
            let out = world.command(&["cp", &format!("{name}:/src"), "-"]).output().unwrap();
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            let mut archive = tar::Archive::new(out.stdout.as_slice());
            let names = archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned());
            let names: Vec<String> = names.map(|path| path.display().to_string()).collect();
            let expected =
                ["src/", "src/a", "src/fifo", "src/hard", "src/link", "src/sub/", "src/sub/b", "src/way"];
            assert_eq!(names, expected);
            let feed = |bytes: &[u8], to: &str| {
                let mut command = world.command(&["cp", "-", to]);
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
                let mut child = command.spawn().unwrap();
                let mut stdin = child.stdin.take().unwrap();
                let written = stdin.write_all(bytes);
                drop(stdin);
                (written.is_ok(), Ran::of(child.wait_with_output().unwrap()))
            };
            let (_, ran) = feed(&out.stdout, &format!("{name}:/dst"));
            assert_eq!(ran.code, 0, "{}", ran.err);
            let back = world.command(&["cp", &format!("{name}:/dst/src"), "-"]).output().unwrap();
            assert!(back.stdout == out.stdout, "the same comes back");
            // What is cut, is no tar, or leads out of its directory.
            let (_, ran) = feed(&out.stdout[..3000], &format!("{name}:/dst"));
            assert_eq!(ran.code, 1, "{}", ran.err);
            let (_, ran) = feed(
                b"no tar at all, but long enough to be read as one".repeat(20).as_slice(),
                &format!("{name}:/dst"),
            );
            assert_eq!(ran.code, 1, "{}", ran.err);
            for (path, kind) in
                [("../out", tar::EntryType::Regular), ("/dst/../../out", tar::EntryType::Symlink)]
            {
                let (_, ran) = feed(&hostile(path, kind), &format!("{name}:/dst"));
                assert_eq!(ran.code, 1, "{}", ran.err);
                assert!(ran.err.contains("the archive names"), "{}", ran.err);
            }
        }
    }
}

/// A tar of one entry, whose name no well-meaning writer would write.
fn hostile(path: &str, kind: tar::EntryType) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    if kind == tar::EntryType::Symlink {
        header.set_link_name("/etc").unwrap();
    }
    header.set_cksum();
    let mut builder = tar::Builder::new(Vec::new());
    builder.append(&header, std::io::empty()).unwrap();
    builder.into_inner().unwrap()
}

#[test]
fn owners_are_kept_when_asked_for() {
    let Some(world) = World::root() else { return };
    let make = "mkdir /o; echo x > /o/f; chown -R 5:6 /o; chmod 4755 /o/f; exec sleep 1000";
    world.ok(&["run", "-d", "--name", "alive", "base", "sh", "-c", make]);
    super::eventually("the files", || world.run(&["exec", "alive", "test", "-u", "/o/f"]).code == 0);
    let here = place(&world, "owners");
    let to = |name: &str| format!("{}/{name}", here.display());
    world.ok(&["cp", "alive:/o", &to("plain")]);
    world.ok(&["cp", "-a", "alive:/o", &to("kept")]);
    let found = |path: &str| {
        let stat = fs::metadata(here.join(path)).unwrap();
        (stat.uid(), stat.gid(), stat.mode() & 0o7777)
    };
    // The rights of another are not given to whoever copies.
    assert_eq!((found("plain").0, found("plain/f")), (0, (0, 0, 0o755)));
    assert_eq!((found("kept").0, found("kept/f")), (5, (5, 6, 0o4755)));
    world.ok(&["cp", &to("kept"), "alive:/roots"]);
    world.ok(&["cp", "-a", &to("kept"), "alive:/theirs"]);
    let seen = world.ok(&["exec", "alive", "stat", "-c", "%u:%g", "/roots/f", "/theirs/f"]);
    assert_eq!(seen, "0:0\n5:6");
}

/// S29: a program swaps a directory for a link to `/etc` as fast as it can, while files are copied out of it and into it.
#[test]
fn s29_a_container_leads_no_copy_out_of_it() {
    for world in worlds("race") {
        let mark = format!("of the host {}", std::process::id());
        let outside = place(&world, "outside");
        fs::write(outside.join("secret"), &mark).unwrap();
        // What it swaps leads to the host's by its own path, and to the container's own by another.
        let swap = format!(
            "mkdir -p /real/sub {0} /etc/sub; echo mine > /real/sub/secret; echo mine > /real/secret; echo inner > {0}/secret; \
             ln -s {0} /evil; ln -s /proc/1/root /magic; echo ready; \
             while :; do mv /real /x; mv /evil /real; mv /real /evil; mv /x /real; done",
            outside.display()
        );
        world.ok(&["run", "-d", "--name", "swap", "base", "sh", "-c", &swap]);
        super::eventually("the swapping", || world.ok(&["logs", "swap"]) == "ready");
        let here = place(&world, "race");
        fs::write(here.join("planted"), "planted").unwrap();
        let planted = here.join("planted");
        world.give(&planted);
        let before = listing(&outside);
        let (mut out, mut through, mut into) = (0, 0, 0);
        let began = Instant::now();
        for round in 0..1000 {
            let dest = here.join(format!("got-{round}"));
            let path = ["/real/secret", "/real/sub", "/real/.", "/evil/secret"][round % 4];
            if world.run(&["cp", &format!("swap:{path}"), text(&dest)]).code == 0 {
                out += 1;
                let got = every_file(&dest);
                through += usize::from(got.contains(&"inner\n".to_owned()));
                let own = ["mine\n", "inner\n", "planted"];
                assert!(got.iter().all(|got| own.contains(&got.as_str())), "{got:?}");
            }
            let to = ["swap:/real/planted", "swap:/real/sub/", "swap:/evil/planted"][round % 3];
            into += usize::from(world.run(&["cp", text(&planted), to]).code == 0);
            assert_eq!(listing(&outside), before, "nothing is written outside");
            if round >= 60 && began.elapsed().as_secs() >= 8 {
                break;
            }
        }
        assert!(out > 10 && into > 5, "{out} came out, {into} went in");
        assert!(through > 0, "the link was met on the way");
        refused(
            &world,
            &["cp", &format!("swap:/magic{}/secret", outside.display()), text(&here)],
            1,
            "/magic",
        );
    }
}

fn listing(dir: &Path) -> Vec<(PathBuf, String)> {
    let all = children(dir).into_iter();
    all.map(|path| (path.clone(), fs::read_to_string(&path).unwrap_or_default())).collect()
}

fn every_file(path: &Path) -> Vec<String> {
    if fs::symlink_metadata(path).unwrap().is_dir() {
        return children(path).iter().flat_map(|path| every_file(path)).collect();
    }
    fs::symlink_metadata(path)
        .unwrap()
        .is_file()
        .then(|| fs::read_to_string(path).unwrap())
        .into_iter()
        .collect()
}

/// The process that copies is not to be found from inside, and uses nothing of what is there.
#[test]
fn who_copies_is_neither_seen_nor_uses_what_is_there() {
    for world in worlds("unseen") {
        // Everything that a careless helper would load or execute says so, and whoever is there is written down.
        let trap = "for f in /lib/libnss_files.so.2 /lib/x86_64-linux-gnu/libnss_files.so.2 /etc/ld.so.preload /bin/tar; do \
             mkdir -p $(dirname $f); rm -f $f; printf '#!/bin/sh\\necho caught >> /caught\\n' > $f; chmod 755 $f; done; \
             head -c 3000000 /dev/zero > /big; touch /caught; \
             ( while :; do cat /proc/[0-9]*/comm /proc/[0-9]*/cmdline >> /seen 2>/dev/null; done ) & echo ready; exec sleep 1000";
        world.ok(&["run", "-d", "--name", "watch", "base", "sh", "-c", trap]);
        super::eventually("the watch", || world.ok(&["logs", "watch"]) == "ready");
        let here = place(&world, "unseen");
        let big = here.join("big");
        for round in 0..15 {
            world.ok(&["cp", "watch:/big", text(&big)]);
            world.ok(&["cp", text(&big), &format!("watch:/big-{round}")]);
        }
        world.ok(&["cp", "watch:/caught", text(&here.join("caught"))]);
        assert_eq!(fs::read_to_string(here.join("caught")).unwrap(), "");
        // Names and command lines.
        let seen = || {
            world.ok(&["cp", "watch:/seen", text(&here.join("seen"))]);
            fs::read_to_string(here.join("seen")).unwrap().replace('\0', "\n")
        };
        let before = seen();
        assert!(before.contains("exec sleep 1000") && !before.contains("lith-sandbox-enter"), "{before}");
        // busybox is its applets by way of /proc/self/exe.
        let known = ["cat", "exe", "lith-init", "sh", "sleep"];
        let names: BTreeSet<&str> =
            before.lines().filter(|line| line.len() < 16 && !line.starts_with("/proc")).collect();
        let unknown =
            |name: &&&str| !known.contains(name) && !["", "-c", "1000", "lith-sandbox-in"].contains(name);
        assert_eq!(names.iter().filter(unknown).collect::<Vec<_>>(), Vec::<&&str>::new());
        // What is started in there can be seen.
        world.ok(&["exec", "watch", "usleep", "500000"]);
        assert!(seen().contains("usleep"));
    }
}
