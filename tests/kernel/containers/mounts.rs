//! Read-only roots, the layer of mount points, directories of the host, and capability sets.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use lith::capabilities::Capabilities;
use lith::sandbox::spec::{Access, File, First, Ids, Mount, Mounted, Size, Spec, Stdio};

use super::{Live, also};
use crate::sandbox::{World, host_view, out, run, status, world};

fn read_only(world: &World, script: &str) -> Spec {
    let _ = fs::create_dir(world.path("points"));
    let mut spec = world.shell(script);
    spec.root_access = Access::ReadOnly;
    spec.mount_points = Some(world.path("points"));
    spec
}

fn mount(target: &str, what: Mounted) -> Mount {
    Mount { target: target.into(), what }
}

fn memory() -> Mounted {
    Mounted::Tmpfs { size: None, access: Access::ReadWrite }
}

#[track_caller]
fn host(path: &Path, access: Access) -> Mounted {
    Mounted::Host { path: path.to_owned(), access }
}

/// Every path below a directory, with mode, size and times.
fn state(dir: &Path) -> String {
    let printf = ["-printf", "%P %y %m %s %T@ %l\n"];
    let found = Command::new("find").arg(dir).args(printf).output().unwrap();
    let mut lines: Vec<_> = std::str::from_utf8(&found.stdout).unwrap().lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

#[test]
fn a_read_only_root_cannot_be_written() {
    let Some(world) = world() else { return };
    let script = "for f in /x /etc/x /bin/x; do (echo > $f) 2>&1; done; busybox rm /bin/ls 2>&1; busybox chmod 0 /etc 2>&1; \
        echo t > /tmp/t && cat /tmp/t; echo x > /dev/shm/x; echo > /dev/null; cat /proc/sys/kernel/hostname; ls /sys/class/net; \
        mount -o remount,rw / 2>&1 | busybox grep -c ermi; id -u";
    let refused = "Read-only file system";
    let expected = format!(
        "sh: can't create /x: {refused}\nsh: can't create /etc/x: {refused}\nsh: can't create /bin/x: {refused}\n\
        rm: can't remove '/bin/ls': {refused}\nchmod: /etc: {refused}\nt\nbox\nlo\n1\n0\n"
    );
    let mut spec = read_only(&world, script);
    spec.mounts = vec![mount("/tmp", memory())];
    assert_eq!(out(&spec), expected);
    // Also with nowhere to write at all, and for who enters.
    spec.root.writable = None;
    assert_eq!(out(&spec), expected);
    spec.process.argv[2] = "echo up; busybox cat".into();
    spec.process.stdio = Stdio::Piped;
    let mut live = Live::spawn(&spec);
    live.says("up");
    assert_eq!(live.enter(&also(&spec, &["sh", "-c", script], Stdio::Output)).output(), expected);
    assert_eq!(state(&world.path("upper")).lines().count(), 1, "{}", state(&world.path("upper")));
    // All powers make a second mount of it, and that is read-only as well.
    let mut spec = read_only(&world, "mount -o bind / /tmp/b && (echo > /tmp/b/x) 2>&1");
    spec.process.insecure = true;
    fs::create_dir(world.path("base/tmp/b")).unwrap();
    let (_, text) = status(&spec);
    assert_eq!(text.out, format!("sh: can't create /tmp/b/x: {refused}\n"));
}

/// Owner, mode and attributes of all that is below a directory.
fn likeness(dir: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(at) = left.pop() {
        for entry in lith::sys::dir::list_path(&at).unwrap() {
            let path = at.join(std::str::from_utf8(&entry.name).unwrap());
            let meta = fs::symlink_metadata(&path).unwrap();
            let attributes = match meta.is_dir() || meta.is_file() {
                true => {
                    let own = |name: &[u8]| !name.starts_with(b"trusted.overlay.");
                    lith::sys::xattr::read(fs::File::open(&path).unwrap(), own).unwrap()
                }
                false => vec![],
            };
            let names: Vec<_> =
                attributes.iter().map(|(name, value)| (String::from_utf8_lossy(name), value)).collect();
            let shown = path.strip_prefix(dir).unwrap().display();
            lines.push(format!("{shown} {:o} {}:{} {names:?}", meta.mode(), meta.uid(), meta.gid()));
            if meta.is_dir() {
                left.push(path);
            }
        }
    }
    lines.sort();
    lines
}

/// What is missing is found missing through whiteouts, opaque directories and links of several layers, and what is made
/// is what an overlay would have made.
#[test]
fn mount_points_are_those_that_an_overlay_would_make() {
    let Some(world) = world() else { return };
    let script = "cd $0 && mkdir -p base/srv/old base/var/deep base/opt two/etc two/var three/etc three/var/deep points ref work-ref merged host &&
        echo base > base/etc/base; mknod two/srv c 0 0 && mknod two/opt c 0 0 && mknod base/gone c 0 0 &&
        ln -s ../etc two/var/link && echo two > two/etc/two && chmod 711 two/etc && chown 5:6 two/etc &&
        echo three > three/etc/motd && chmod 2750 three/etc && chown 7:8 three/etc && chmod 700 three/var/deep && chown 9:10 three/var/deep &&
        touch -d 2001-02-03 base/var two/var three/etc three/var three/var/deep";
    let root = world.path("");
    assert!(Command::new("sh").args(["-c", script]).arg(&root).status().unwrap().success());
    let mark = |path: &str, name: &str, value: &str| {
        let dir = fs::File::open(world.path(path)).unwrap();
        lith::sys::xattr::set(dir, name.as_bytes(), value.as_bytes()).unwrap();
    };
    mark("three/etc", "trusted.overlay.opaque", "y");
    mark("three/etc", "user.kept", "value");
    mark("three/var/deep", "trusted.other", "too");
    fs::write(world.path("host/f"), "from the host\n").unwrap();
    let mut spec = world.shell("busybox ls /etc /srv /var/deep; cat /var/deep/a/f /etc/hosts");
    spec.root.lowers = ["base", "two", "three"].map(|layer| world.path(layer)).to_vec();
    spec.mount_points = Some(world.path("points"));
    spec.files = vec![File { path: "/var/link/hosts".into(), bytes: b"hosts\n".to_vec(), mode: 0o644 }];
    spec.mounts = vec![
        mount("/srv/data", memory()),
        mount("/var/deep/a/f", host(&world.path("host/f"), Access::ReadOnly)),
        mount("/gone", memory()),
    ];
    let below: Vec<_> = ["base", "two", "three"].map(|layer| state(&world.path(layer))).to_vec();
    let said = "/etc:\nhosts\nmotd\n\n/srv:\ndata\n\n/var/deep:\na\nfrom the host\nhosts\n";
    for _ in 0..2 {
        assert_eq!(out(&spec), said);
    }
    assert_eq!(["base", "two", "three"].map(|layer| state(&world.path(layer))).to_vec(), below);
    // The same by overlayfs itself.
    let overlay = "cd $0 && umask 022 && mount -t overlay -o lowerdir=three:two:base,upperdir=ref,workdir=work-ref none merged && cd merged &&
        mkdir dev proc sys srv srv/data var/deep/a gone && : > etc/hosts && : > var/deep/a/f";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", overlay]).arg(&root);
    assert!(command.status().unwrap().success());
    assert_eq!(likeness(&world.path("points")), likeness(&world.path("ref")));
    // Nothing of it shows in the times of the directories that were there.
    for (dir, like) in [("etc", "three/etc"), ("var", "three/var"), ("var/deep", "three/var/deep")] {
        let time = |path: String| fs::metadata(world.path(&path)).unwrap().mtime();
        assert_eq!(time(format!("points/{dir}")), time(like.into()), "{dir}");
    }
}

#[test]
fn mount_points_are_made_in_their_layer_and_nowhere_else() {
    let Some(world) = world() else { return };
    fs::create_dir(world.path("host")).unwrap();
    fs::write(world.path("host/f"), "from the host\n").unwrap();
    symlink("/data/deep", world.path("base/link")).unwrap();
    let before = state(&world.path("base"));
    let mut spec =
        world.shell("cat /run/secret /link/dir/f /a/file; echo w > /m/w; echo written > /written; ls /");
    fs::create_dir(world.path("points")).unwrap();
    spec.mount_points = Some(world.path("points"));
    spec.files = vec![File { path: "/run/secret".into(), bytes: b"secret\n".to_vec(), mode: 0o400 }];
    spec.mounts = vec![
        mount("/link/dir", host(&world.path("host"), Access::ReadOnly)),
        mount("/a/file", host(&world.path("host/f"), Access::ReadOnly)),
        mount("/m", memory()),
    ];
    let said = "secret\nfrom the host\nfrom the host\na\nbin\ndata\ndev\netc\nlink\nm\nproc\nrun\nsys\ntmp\nwritten\n";
    let mut seen = Vec::new();
    // Containers live in the world that there is.
    spec.process.world = None;
    for first in [First::Init, First::Process, First::Init] {
        spec.first = first;
        let (ended, text) = run(&spec);
        let ended = ended.unwrap_or_else(|error| panic!("{error} {text:?}"));
        assert_eq!((text.out.as_str(), ended.stubs), (said, vec![]), "{text:?}");
        seen.push(state(&world.path("points")));
    }
    let names: Vec<_> = seen[0].lines().map(|line| line.split(' ').next().unwrap()).collect();
    let wanted = [
        "",
        "a",
        "a/file",
        "data",
        "data/deep",
        "data/deep/dir",
        "dev",
        "m",
        "proc",
        "run",
        "run/secret",
        "sys",
    ];
    assert_eq!(names, wanted);
    assert!(seen.iter().all(|again| *again == seen[0]), "{seen:?}");
    let upper = state(&world.path("upper"));
    assert_eq!(
        upper.lines().map(|line| line.split(' ').next().unwrap()).collect::<Vec<_>>(),
        ["", "written"]
    );
    assert_eq!(state(&world.path("base")), before);
    // Files that are only places hold nothing.
    assert!(names.iter().all(|name| {
        let meta = fs::symlink_metadata(world.path("points").join(name)).unwrap();
        meta.is_dir() || meta.len() == 0
    }));
}

#[test]
fn host_directories_and_files_are_there() {
    let Some(world) = world() else { return };
    let dir = world.path("host");
    fs::create_dir_all(dir.join("sub")).unwrap();
    fs::write(dir.join("f"), "f\n").unwrap();
    symlink(&dir, world.path("by-link")).unwrap();
    symlink(dir.join("f"), world.path("file-link")).unwrap();
    let mut spec = world.shell(
        "cat /h/f /one /l/f /lf; echo w > /h/w; echo w >> /one; (echo n > /l/n) 2>&1; (echo > /lf) 2>&1",
    );
    spec.mounts = vec![
        mount("/h", host(&dir, Access::ReadWrite)),
        mount("/one", host(&dir.join("f"), Access::ReadWrite)),
        mount("/l", host(&world.path("by-link"), Access::ReadOnly)),
        mount("/lf", host(&world.path("file-link"), Access::ReadOnly)),
    ];
    let (_, text) = status(&spec);
    let refused = "Read-only file system";
    assert_eq!(
        text.out,
        format!("f\nf\nf\nf\nsh: can't create /l/n: {refused}\nsh: can't create /lf: {refused}\n"),
        "{text:?}"
    );
    assert_eq!(fs::read_to_string(dir.join("f")).unwrap(), "f\nw\n");
    assert_eq!(fs::read_to_string(dir.join("w")).unwrap(), "w\n");
    assert!(!dir.join("n").exists());
    // A node of the host cannot be opened through it, and a directory goes on no file.
    let made = Command::new("mknod").arg(dir.join("null")).args(["c", "1", "3"]).status();
    assert!(made.unwrap().success());
    spec.process.argv[2] = "(echo > /h/null) 2>&1".into();
    assert!(status(&spec).1.out.contains("ermission denied"));
    spec.mounts = vec![mount("/bin/busybox", host(&dir, Access::ReadOnly))];
    let refused = run(&spec).0.unwrap_err().to_string();
    assert!(refused.contains("a directory cannot be mounted on a file"), "{refused}");
    spec.mounts = vec![mount("/x", host(&world.path("gone"), Access::ReadOnly))];
    let refused = run(&spec).0.unwrap_err().to_string();
    assert!(refused.contains("gone") && refused.contains("No such file"), "{refused}");
}

/// Runs tests of this binary again in a mount namespace that is thrown away, by name, with `LITH_OWN_MOUNTS` set.
fn in_own_mounts(name: &str) -> bool {
    #[expect(clippy::disallowed_methods, reason = "how the second run knows itself")]
    if std::env::var_os("LITH_OWN_MOUNTS").is_some() {
        return true;
    }
    let ran = Command::new("unshare")
        .args(["-m", "--propagation", "private"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env("LITH_OWN_MOUNTS", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    false
}

#[test]
fn what_is_mounted_below_is_as_read_only() {
    if !in_own_mounts("containers::mounts::what_is_mounted_below_is_as_read_only") {
        return;
    }
    let Some(world) = world() else { return };
    let dir = world.path("host");
    fs::create_dir_all(dir.join("sub")).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "none"]).arg(dir.join("sub")).status();
    assert!(mounted.unwrap().success());
    fs::write(dir.join("sub/below"), "below\n").unwrap();
    let mut spec = world.shell("cat /h/sub/below; (echo > /h/sub/x) 2>&1; (echo >> /h/sub/below) 2>&1; mknod /w/sub/null c 1 3; (echo > /w/sub/null) 2>&1");
    spec.mounts = vec![mount("/h", host(&dir, Access::ReadOnly)), mount("/w", host(&dir, Access::ReadWrite))];
    let (_, text) = status(&spec);
    let refused = "Read-only file system";
    assert_eq!(
        text.out,
        format!(
            "below\nsh: can't create /h/sub/x: {refused}\nsh: can't create /h/sub/below: {refused}\n\
            sh: can't create /w/sub/null: Permission denied\n"
        )
    );
    let unmounted = Command::new("umount").arg(dir.join("sub")).status();
    assert!(unmounted.unwrap().success(), "something still holds it");
}

#[test]
fn targets_of_host_directories_stay_in_the_root() {
    let Some(world) = world() else { return };
    let (dir, outside) = (world.path("host"), world.path("outside"));
    for dir in [&dir, &outside] {
        fs::create_dir(dir).unwrap();
    }
    fs::write(dir.join("f"), "f\n").unwrap();
    // Links of the image, and of a directory of the host that is mounted first.
    symlink(&outside, world.path("base/abs")).unwrap();
    symlink("../../../../../../..", world.path("base/up")).unwrap();
    symlink(&outside, dir.join("abs")).unwrap();
    let shown = outside.strip_prefix("/").unwrap().to_str().unwrap();
    let script = format!("cat /abs/one/f /{shown}/two/f /up/three/f /h/abs/four/f; ls /{shown}");
    let mut spec = world.shell(&script);
    let there = || host(&dir, Access::ReadWrite);
    spec.mounts = vec![
        mount("/abs/one", there()),
        mount("/abs/two", there()),
        mount("/up/three", there()),
        mount("/h", there()),
        mount("/h/abs/four", there()),
    ];
    assert_eq!(out(&spec), "f\nf\nf\nf\nfour\none\ntwo\n");
    assert_eq!(state(&outside).lines().count(), 1);
    for target in ["/", "/up", "/proc", "/proc/self/fd", "/sys/kernel", "/dev/../proc/1"] {
        spec.mounts = vec![mount(target, there())];
        let refused = run(&spec).0.unwrap_err().to_string();
        assert!(refused.starts_with("nothing can be mounted at"), "{target}: {refused}");
    }
}

fn sets(live: &str) -> Vec<u64> {
    let lines = live.lines().filter(|line| line.starts_with("Cap"));
    lines.map(|line| u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()).collect()
}

#[test]
fn capability_sets_are_as_given() {
    let Some(world) = world() else { return };
    let set = |text: &str| text.parse::<Capabilities>().unwrap();
    // All that this process itself has.
    let all = sets(&fs::read_to_string("/proc/self/status").unwrap())[1] & Capabilities::ALL.bits();
    for (given, expected) in [
        (Capabilities::default(), 0xa804_25fb),
        (Capabilities::default().with(set("NET_ADMIN")).without(set("CHOWN")), 0xa804_35fa),
        (Capabilities::NONE, 0),
        (Capabilities::ALL, all),
    ] {
        for (first, uid) in [(First::Init, 0), (First::Process, 0), (First::Process, 1000)] {
            let mut spec = world.spec(&["busybox", "cat", "/proc/self/status", "-"]);
            spec.process.capabilities = given;
            spec.process.stdio = Stdio::Piped;
            spec.first = first;
            spec.process.user = Ids { uid, gid: uid, groups: vec![] };
            let mut live = Live::spawn(&spec);
            live.says("CapAmb");
            let mut entered = live.enter(&also(&spec, &["cat", "/proc/self/status"], Stdio::Output));
            entered.output();
            live.running.stdin = None;
            live.output();
            // Inheritable, permitted, effective, bounding, ambient.
            let own = if uid == 0 { expected } else { 0 };
            for said in [&live.out, &entered.out] {
                assert_eq!(sets(said), [0, own, own, expected, 0], "{given} {first:?} {uid}");
            }
        }
    }
    // What was taken is gone, also for programs that are set-user-ID.
    let mut spec = world
        .shell("busybox chown 5 /tmp 2>&1; /bin/busybox-raised id -u; /bin/busybox-raised chown 5 /tmp 2>&1");
    crate::sandbox::install(Path::new("/bin/busybox"), &world.path("base/bin/busybox-raised"));
    fs::set_permissions(world.path("base/bin/busybox-raised"), fs::Permissions::from_mode(0o4755)).unwrap();
    let refused = "chown: /tmp: Operation not permitted\n";
    assert_eq!(status(&spec).1.out, "0\n");
    spec.process.capabilities = Capabilities::default().without(set("CHOWN"));
    assert_eq!(status(&spec).1.out, format!("{refused}0\n{refused}"));
    assert_eq!(fs::metadata(world.path("base/tmp")).unwrap().uid(), 0);
    // One that was added is there.
    let mut spec =
        host_view(&world, &["perl", "-e", r#"print syscall(41, 2, 3, 1) < 0 ? 0 + $! : "raw", "\n""#]);
    assert_eq!(out(&spec), "raw\n");
    spec.process.capabilities = Capabilities::default().without(set("NET_RAW"));
    assert_eq!(out(&spec), "1\n");
    let mut spec = world.shell("busybox ip link set lo mtu 1000 2>&1; cat /sys/class/net/lo/mtu");
    assert!(out(&spec).ends_with("65536\n"));
    spec.process.capabilities = Capabilities::default().with(set("NET_ADMIN"));
    assert_eq!(out(&spec), "1000\n");
    // The filter stays as it is, whatever the set.
    spec.process.capabilities = Capabilities::ALL;
    spec.process.argv[2] = "mount -t tmpfs none /tmp 2>&1".into();
    assert_eq!(status(&spec).1.out, "mount: permission denied (are you root?)\n");
}

#[test]
fn a_terminal_where_dev_is_covered_is_an_error_and_leaves_the_host_alone() {
    let Some(world) = world() else { return };
    let dir = world.path("host");
    fs::create_dir(&dir).unwrap();
    let mut spec = world.shell("true");
    spec.process.stdio = Stdio::Terminal(Size { rows: 1, columns: 1 });
    spec.mounts = vec![mount("/dev", host(&dir, Access::ReadWrite))];
    let refused = Live::spawn(&spec).result().unwrap_err().to_string();
    assert!(refused.contains("/dev/pts/ptmx"), "{refused}");
    assert_eq!(state(&dir).lines().count(), 1);
    // What has no terminal needs none of it.
    spec.process.stdio = Stdio::Output;
    assert_eq!(Live::spawn(&spec).output(), "");
}
