//! Faults of the system under whole builds: full disks, failing calls, read-only stores, hostile images. Names begin
//! with the row of the project's list of threats.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::time::Instant;

use lith::sys::dir::list_path;

use crate::support::{Lab, Ran, has, kernel_lab, skip};

const DOCKERFILE: &str =
    "FROM alpine\nCOPY data /data\nRUN cat /data/* > /all && mkdir -p /t && ln /all /t/x\nWORKDIR /w\n";

fn context(lab: &Lab) {
    lab.write("ctx/Dockerfile", DOCKERFILE);
    for at in 0..6 {
        lab.write(&format!("ctx/data/f{at}"), vec![at; 30_000]);
    }
}

#[track_caller]
fn sane(ran: &Ran) {
    assert!((0..=3).contains(&ran.code), "{} {}", ran.code, ran.err);
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
}

#[track_caller]
fn fails(ran: &Ran, names: &[&str]) {
    sane(ran);
    assert_ne!(ran.code, 0, "{}", ran.out);
    for name in names {
        assert!(ran.err.contains(name), "{name:?} is not named: {}", ran.err);
    }
}

/// Runs a script in a mount namespace of its own; `$LITH` is the program.
fn in_own_mounts(lab: &Lab, script: &str) -> Ran {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script]);
    command.env("LITH", env!("CARGO_BIN_EXE_lith")).current_dir(lab.path(""));
    Ran::of(command.output().unwrap())
}

#[test]
fn t3_a_full_disk_is_an_error_and_freeing_space_mends_it() {
    let Some(lab) = kernel_lab() else { return };
    context(&lab);
    lab.base("calm", "alpine");
    let expected = lab.build("calm", "ctx", &["-t", "x"]).manifest();
    fs::create_dir(lab.path("mnt")).unwrap();
    for size in ["8k", "40k", "200k", "1200k", "2200k", "2500k", "2800k", "4400k", "4600k", "4800k"] {
        let ran = in_own_mounts(
            &lab,
            &format!(
                "mount -t tmpfs -o size={size} none mnt || exit 99
                 $LITH --root mnt/s import base.tar alpine > out 2>&1 && $LITH --root mnt/s build -q -t x ctx >> out 2>&1
                 code=$?
                 [ $code = 0 ] && echo went >&2
                 [ $code -gt 3 ] && exit 98
                 [ $code = 0 ] || grep -qi 'no space' out || {{ cat out >&2; exit 97; }}
                 grep panicked out && exit 96
                 mount -o remount,size=64m mnt || exit 95
                 $LITH --root mnt/s store verify >&2 || exit 94
                 $LITH --root mnt/s import base.tar alpine > out 2>&1 || {{ cat out >&2; exit 93; }}
                 $LITH --root mnt/s build --progress=json -t x ctx || exit 92
                 $LITH --root mnt/s store verify >&2 || exit 91"
            ),
        );
        assert_eq!(ran.code, 0, "{size}: {}\n{}", ran.out, ran.err);
        assert_eq!(crate::support::Built::of(&ran.out).manifest(), expected, "{size}");
    }
}

/// Builds under strace, which lets one call fail.
fn injected(lab: &Lab, calls: &str, how: &str) -> Ran {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e"]).arg(format!("trace={calls}"));
    command.arg(format!("--inject={calls}:{how}"));
    command.arg(env!("CARGO_BIN_EXE_lith")).arg("--root").arg(lab.path("store"));
    command.args(["build", "-q", "--no-cache", "-t", "x", "ctx"]).current_dir(lab.path(""));
    Ran::of(command.output().unwrap())
}

/// Whatever call fails: an error, or the right image; then a clean build gives the right image.
fn whatever_fails(calls: &str, errno: &str, moments: impl IntoIterator<Item = u32>) {
    let Some(lab) = kernel_lab() else { return };
    if !has("strace") {
        return skip("needs strace").unwrap_or(());
    }
    context(&lab);
    lab.base("calm", "alpine");
    let calm = lab.build("calm", "ctx", &["-t", "x"]);
    let (expected, id) = (calm.manifest(), calm.image());
    lab.base("store", "alpine");
    let mut failed = 0;
    for when in moments {
        let ran = injected(&lab, calls, &format!("error={errno}:when={when}"));
        // The loader of the program reads too.
        if ran.err.contains("loading shared libraries") {
            continue;
        }
        sane(&ran);
        match ran.code {
            0 => assert_eq!(ran.out.trim(), id, "{calls} {when}"),
            _ => failed += 1,
        }
        assert_eq!(lab.build("store", "ctx", &["-t", "x"]).manifest(), expected, "{calls} {when}");
        let verify = lab.run("store", &["store", "verify"]);
        assert_eq!(verify.code, 0, "{calls} {when}: {}", verify.out);
    }
    assert!(failed > 0, "no call failed: {calls}");
    lab.ok("store", &["gc"]);
    assert!(list_path(&lab.path("store/tmp")).unwrap().is_empty());
}

#[test]
fn t4_syncs_that_fail() {
    whatever_fails("fdatasync,fsync", "EIO", 1..8);
}

#[test]
fn t4_names_that_cannot_be_given() {
    whatever_fails("linkat,rename,renameat,renameat2", "EIO", 1..14);
}

#[test]
fn t4_reads_that_fail() {
    whatever_fails("read,pread64", "EIO", (1..60).step_by(4));
}

#[test]
fn t3_writes_that_find_no_space() {
    whatever_fails("write,pwrite64", "ENOSPC", (1..40).step_by(3));
}

#[test]
fn t5_no_descriptors_left() {
    whatever_fails("openat,open,openat2", "EMFILE", (1..90).step_by(6));
}

#[test]
fn t5_directories_that_cannot_be_made_and_mounts_that_fail() {
    whatever_fails("mkdir,mkdirat", "ENOSPC", 1..8);
    whatever_fails("fsopen,fsconfig,fsmount,move_mount,open_tree", "ENOMEM", (1..20).step_by(3));
}

#[test]
fn t14_a_read_only_store_can_be_looked_at() {
    let Some(lab) = kernel_lab() else { return };
    context(&lab);
    lab.base("store", "alpine");
    lab.build("store", "ctx", &["-t", "x"]);
    for args in ["images", "images -a", "image inspect x", "history x", "store verify", "save -o mnt/x.tar x"]
    {
        let ran = in_own_mounts(
            &lab,
            &format!(
                "mkdir -p mnt && mount -t tmpfs none mnt && mount --bind store store && mount -o remount,ro,bind store || exit 99
                 $LITH --root store {args}"
            ),
        );
        assert_eq!(ran.code, 0, "{args}: {}", ran.err);
    }
    for args in ["rmi x", "tag x y", "gc -a", "build --no-cache ctx"] {
        let ran = in_own_mounts(
            &lab,
            &format!(
                "mount --bind store store && mount -o remount,ro,bind store || exit 99; $LITH --root store {args}"
            ),
        );
        fails(&ran, &["ead-only"]);
    }
}

/// M15: whoever a process is asked to be and is not there, it is not root.
#[test]
fn m15_no_user_becomes_root_by_mistake() {
    let Some(lab) = kernel_lab() else { return };
    lab.base("store", "alpine");
    let users = [
        "4294967296",
        "4294967295",
        "2147483648",
        "-1",
        "+0",
        "0x0",
        "root:",
        ":0",
        ":",
        "nobody-such",
        "nobody:nogroup-such",
        "00000000000000000000x",
        "1:4294967295",
        "1:-1",
        "0 ",
        "4294967296:4294967296",
        "big",
        "minus",
        "plus",
        "empty",
    ];
    let passwd = "root:x:0:0:root:/root:/bin/sh\nbig:x:4294967295:4294967295::/:/bin/sh\nminus:x:-1:-1::/:/bin/sh\nplus:x:+0:+0::/:/bin/sh\nempty:x:::::/bin/sh\n";
    lab.write("ctx/passwd", passwd);
    for user in users {
        lab.write(
            "ctx/Dockerfile",
            format!("FROM alpine\nCOPY passwd /etc/passwd\nUSER \"{user}\"\nRUN id -u > /tmp/id\n"),
        );
        let ran = lab.run("store", &["build", "-q", "ctx"]);
        assert!(matches!(ran.code, 1 | 2), "{user:?}: {} {}", ran.code, ran.err);
        fails(&ran, &[user.split(':').find(|part| !part.is_empty()).unwrap_or(":").trim()]);
    }
    for (user, id) in [
        ("1000", "1000 0"),
        ("1000:7", "1000 7"),
        ("root", "0 0"),
        ("0:0", "0 0"),
        ("2147483647", "2147483647 0"),
    ] {
        lab.write(
            "ctx/Dockerfile",
            format!("FROM alpine\nUSER {user}\nRUN echo $(id -u) $(id -g) > /tmp/id\n"),
        );
        lab.build("store", "ctx", &["-o", "type=local,dest=out"]);
        assert_eq!(fs::read_to_string(lab.path("out/tmp/id")).unwrap().trim(), id, "{user}");
    }
}

/// M16.
#[test]
fn m16_the_environment_is_passed_exactly_and_reaches_no_host_process() {
    let Some(lab) = kernel_lab() else { return };
    lab.base("store", "alpine");
    lab.write(
        "ctx/Dockerfile",
        "FROM alpine\nENV LD_PRELOAD=/evil.so PATH=/bin A=\"two\\nlines  and = signs\" B=\nRUN env > /env\n",
    );
    lab.build("store", "ctx", &["-o", "type=local,dest=out"]);
    let seen = fs::read_to_string(lab.path("out/env")).unwrap();
    assert!(seen.contains("LD_PRELOAD=/evil.so\n") && seen.contains("\nB=\n"), "{seen}");
    assert!(seen.contains("two") && seen.contains("lines  and = signs"), "{seen}");
    lab.write("ctx/Dockerfile", "FROM alpine\nENV PATH=\nRUN [\"no-such-program\"]\n");
    fails(&lab.run("store", &["build", "-q", "ctx"]), &["no-such-program"]);
}

/// M17.
#[test]
fn m17_a_working_directory_is_inside_the_image() {
    let Some(lab) = kernel_lab() else { return };
    lab.base("store", "alpine");
    fs::create_dir(lab.path("victim")).unwrap();
    let victim = lab.path("victim").display().to_string();
    lab.write("ctx/f", "f");
    for dir in [
        "../../..",
        "/..",
        "/proc/self/fd/7",
        "/proc/self/cwd/../../x",
        "/dev/fd/3",
        "/link",
        "/link/x",
        "/loop",
        "/etc/passwd",
    ] {
        lab.write(
            "ctx/Dockerfile",
            format!("FROM alpine\nRUN ln -s {victim} /link; ln -s loop /loop\nWORKDIR {dir}\nCOPY f f\nRUN pwd -P > /where; touch made; ls / > /seen\n"),
        );
        let _ = fs::remove_dir_all(lab.path("out"));
        let ran = lab.run("store", &["build", "-q", "-o", "type=local,dest=out", "ctx"]);
        sane(&ran);
        assert!(list_path(&lab.path("victim")).unwrap().is_empty(), "{dir}");
        if ran.code == 0 {
            let seen = fs::read_to_string(lab.path("out/seen")).unwrap();
            assert!(seen.contains("where") && !seen.contains("boot"), "{dir}: {seen}");
        } else {
            assert!(ran.err.contains("Dockerfile:"), "{dir}: {}", ran.err);
        }
    }
    lab.write("ctx/Dockerfile", "FROM alpine\nWORKDIR ../../..\nRUN pwd > /where\n");
    lab.build("store", "ctx", &["-o", "type=local,dest=out3"]);
    assert_eq!(fs::read_to_string(lab.path("out3/where")).unwrap(), "/\n");
}

/// The busybox root with something done to it, imported as `odd`.
fn odd_base(lab: &Lab, script: &str) {
    let _ = fs::remove_dir_all(lab.path("root"));
    fs::create_dir(lab.path("root")).unwrap();
    let all = format!("tar -xf base.tar -C root && cd root && {{ {script}; }} && tar -cf ../odd.tar .");
    let status = Command::new("sh").args(["-ec", &all]).current_dir(lab.path("")).status().unwrap();
    assert!(status.success(), "{script}");
    lab.ok("store", &["import", lab.path("odd.tar").to_str().unwrap(), "odd"]);
}

/// L51: what the sandbox mounts on is never looked for outside the image.
#[test]
fn l51_mount_points_that_are_symlinks_stay_in_the_image() {
    let Some(lab) = kernel_lab() else { return };
    lab.base("store", "alpine");
    lab.write("victim/passwd", "host");
    let victim = lab.path("victim").display().to_string();
    lab.write(
        "ctx/Dockerfile",
        "FROM odd\nRUN echo hosts > /etc/hosts; touch /dev/x /proc/x /sys/x; echo ran > /ran\n",
    );
    for dir in [
        "proc",
        "dev",
        "sys",
        "etc",
        "run",
        "tmp",
        "etc/hosts",
        "etc/resolv.conf",
        "etc/hostname",
        "dev/null",
        "dev/pts",
        "dev/shm",
    ] {
        for target in [victim.as_str(), "/", "..", "../../../../../../..", "/proc/self/root", "loop"] {
            let target = if target == "loop" { dir.rsplit('/').next().unwrap() } else { target };
            odd_base(&lab, &format!("rm -rf {dir}; ln -s {target} {dir}"));
            let began = Instant::now();
            let ran = lab.run("store", &["build", "-q", "ctx"]);
            assert!(began.elapsed().as_secs() < 10);
            sane(&ran);
            let names: Vec<_> = list_path(&lab.path("victim")).unwrap().into_iter().map(|e| e.name).collect();
            assert_eq!(names, [b"passwd"], "/{dir} -> {target}");
            assert_eq!(fs::read_to_string(lab.path("victim/passwd")).unwrap(), "host");
            if ran.code != 0 {
                assert!(ran.err.contains("Dockerfile:2"), "/{dir} -> {target}: {}", ran.err);
            }
        }
    }
    for dir in ["proc", "dev", "sys", "etc"] {
        odd_base(&lab, &format!("rm -rf {dir}; echo file > {dir}"));
        sane(&lab.run("store", &["build", "-q", "ctx"]));
    }
}

/// L52: the files that name users.
#[test]
fn l52_odd_passwd_files_are_errors_at_once() {
    let Some(lab) = kernel_lab() else { return };
    lab.base("store", "alpine");
    lab.write("victim", "app:x:0:0::/:/bin/sh\n");
    let victim = lab.path("victim").display().to_string();
    lab.write("ctx/f", "f");
    let odd = [
        "mkfifo etc/passwd",
        "ln -s /dev/zero etc/passwd",
        "ln -s /proc/self/environ etc/passwd",
        &format!("ln -s {victim} etc/passwd"),
        "ln -s passwd etc/passwd",
        "mknod etc/passwd c 1 5",
        "mkdir etc/passwd",
        "head -c 3000000 /dev/zero > etc/passwd",
        "head -c 1000000 /dev/urandom > etc/passwd",
        "yes ::::::: | head -c 900000 > etc/passwd",
        "true",
    ];
    for script in odd {
        odd_base(&lab, &format!("rm -f etc/passwd; {script}"));
        for step in ["USER app\nRUN true", "COPY --chown=app f /f", "USER app\nWORKDIR /w"] {
            lab.write("ctx/Dockerfile", format!("FROM odd\n{step}\n"));
            let began = Instant::now();
            let ran = lab.run("store", &["build", "-q", "ctx"]);
            assert!(began.elapsed().as_secs() < 5, "{script}");
            fails(&ran, &["passwd", "Dockerfile:"]);
        }
        // A number needs no file to be read as an owner.
        lab.write("ctx/Dockerfile", "FROM odd\nCOPY --chown=7:8 f /f\n");
        lab.ok("store", &["build", "-q", "ctx"]);
    }
}

/// T9 for unpacked layers' source: a tar that rotted is not unpacked for a process.
#[test]
fn t9_a_run_never_reads_a_layer_that_rotted() {
    let Some(lab) = kernel_lab() else { return };
    lab.base("store", "alpine");
    lab.write("ctx/Dockerfile", "FROM alpine\nCOPY f /f\nRUN cat /f > /g\n");
    lab.write("ctx/f", "a very special text");
    for size in [100, 4 << 20] {
        lab.write("ctx/f", b"special".repeat(size / 7));
        lab.write("ctx/copy.Dockerfile", "FROM alpine\nCOPY f /f\n");
        lab.build("store", "ctx", &["-f", lab.path("ctx/copy.Dockerfile").to_str().unwrap()]);
        for entry in list_path(&lab.path("store/blobs/sha256")).unwrap() {
            let path = lab.path("store/blobs/sha256").join(String::from_utf8(entry.name).unwrap());
            let mut bytes = fs::read(&path).unwrap();
            let found = bytes.windows(14).position(|w| w == b"specialspecial");
            if let Some(at) = found {
                bytes[at] ^= 1;
                fs::write(&path, bytes).unwrap();
            }
        }
        let ran = lab.run("store", &["build", "-q", "ctx"]);
        fails(&ran, &["f", "layer", "Dockerfile:3"]);
        lab.build("store", "ctx", &["--no-cache", "-o", "type=local,dest=out"]);
        assert_eq!(fs::read(lab.path("out/g")).unwrap(), fs::read(lab.path("ctx/f")).unwrap());
    }
}

/// T1 for the work of root: a sweep that is killed while it removes unpacked layers.
#[test]
fn t1_a_kill_during_gc_of_unpacked_layers() {
    let Some(lab) = kernel_lab() else { return };
    context(&lab);
    lab.base("store", "alpine");
    let expected = lab.build("store", "ctx", &["-t", "x"]).manifest();
    let began = Instant::now();
    lab.ok("store", &["rmi", "x"]);
    lab.ok("store", &["gc", "-a"]);
    let whole = began.elapsed();
    for round in 0u32..20 {
        lab.build("store", "ctx", &["-t", "x"]);
        lab.ok("store", &["rmi", "x"]);
        let mut child = lab.command("store", &["gc", "-a"]).stdout(Stdio::null()).spawn().unwrap();
        let started = Instant::now();
        while started.elapsed() < whole * round / 20 && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let _ = child.kill();
        child.wait().unwrap();
        lab.ok("store", &["store", "verify"]);
        let built = lab.build("store", "ctx", &["-t", "x", "-o", "type=local,dest=out"]);
        assert_eq!(built.manifest(), expected);
        assert_eq!(fs::metadata(lab.path("out/all")).unwrap().len(), 180_000);
        fs::remove_dir_all(lab.path("out")).unwrap();
    }
}

/// T1 at each file of the layer db that a sweep removes: what is left of an entry is that of a killed sweep.
#[test]
fn t1_a_sweep_killed_within_an_entry_of_the_layer_db() {
    let Some(lab) = kernel_lab() else { return };
    if !has("strace") {
        return skip("needs strace").unwrap_or(());
    }
    context(&lab);
    lab.base("store", "alpine");
    let entries = || list_path(&lab.path("store/layerdb/sha256")).unwrap().len();
    let expected = lab.build("store", "ctx", &["-t", "x"]).manifest();
    let mut torn = 0;
    // Its files come first, and the directories that hold them.
    for when in 1..=12 {
        lab.build("store", "ctx", &["-t", "x"]);
        lab.ok("store", &["rmi", "x"]);
        let whole = entries();
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-P"]).arg(lab.path("store/layerdb/sha256"));
        for entry in list_path(&lab.path("store/layerdb/sha256")).unwrap() {
            let dir = lab.path("store/layerdb/sha256").join(String::from_utf8(entry.name).unwrap());
            let files = list_path(&dir).unwrap().into_iter().map(|e| String::from_utf8(e.name).unwrap());
            command.arg("-P").arg(&dir);
            for file in files {
                command.arg("-P").arg(dir.join(file));
            }
        }
        command.arg(format!("--inject=unlink,unlinkat,rmdir:signal=KILL:when={when}"));
        command.arg(env!("CARGO_BIN_EXE_lith")).arg("--root").arg(lab.path("store")).args(["gc", "-a"]);
        let ended = command.output().unwrap();
        torn += u32::from(!ended.status.success() && entries() <= whole);
        lab.ok("store", &["store", "verify"]);
    }
    assert!(torn > 6, "{torn} of 12 sweeps were killed");
    assert_eq!(lab.build("store", "ctx", &["-t", "x"]).manifest(), expected);
}

/// The store through a symlinked parent, and a scratch that is a symlink, stay what they are.
#[test]
fn t17_a_symlinked_parent_is_fine() {
    let Some(lab) = kernel_lab() else { return };
    context(&lab);
    fs::create_dir(lab.path("real")).unwrap();
    symlink("real", lab.path("via")).unwrap();
    lab.base("via/store", "alpine");
    lab.build("via/store", "ctx", &[]);
    lab.build("real/store", "ctx", &[]);
}
