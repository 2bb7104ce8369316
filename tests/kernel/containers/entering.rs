//! One more process in a sandbox that runs.

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Output};

use lith::sandbox::spec::{First, Ids, Net, Size, Spec, Status, Stdio};
use lith::sandbox::{SandboxError, SetupError};

use super::{Live, also, gone, launcher, namespaces};
use crate::sandbox::{Killed, User, World, example, long_sleep, processes_with, world};

/// A sandbox in which a process waits for the end of its input.
fn waiting(spec: &Spec, first: First) -> Live {
    let mut spec = spec.clone();
    spec.process.argv = ["sh", "-c", "echo up; busybox cat"].map(str::to_owned).into();
    spec.process.stdio = Stdio::Piped;
    spec.first = first;
    let mut live = Live::spawn(&spec);
    live.says("up\n");
    live
}

fn shell(spec: &Spec, script: &str, stdio: Stdio) -> lith::sandbox::spec::Process {
    also(spec, &["sh", "-c", script], stdio)
}

#[test]
fn it_is_in_the_same_namespaces() {
    let Some(world) = world() else { return };
    for network in [Net::None, Net::Host] {
        let mut spec = world.shell("");
        spec.network = network;
        let mut live = waiting(&spec, First::Init);
        let script = "for n in cgroup ipc mnt net pid user uts; do busybox readlink /proc/self/ns/$n; done; hostname; ls /";
        let mut entered = live.enter(&shell(&spec, script, Stdio::Output));
        let theirs = namespaces(live.pid());
        assert_eq!(
            entered.output(),
            format!("{}\nbox\nbin\ndev\netc\nproc\nsys\ntmp\n", theirs.join("\n")),
            "{network:?}"
        );
        let ours = namespaces(rustix::process::getpid().as_raw_pid());
        let shared: Vec<_> = theirs.iter().filter(|theirs| ours.contains(theirs)).collect();
        assert_eq!(shared.len(), if network == Net::Host { 2 } else { 1 }, "the user's, {shared:?}");
        // It sees the others and they it; what it leaves in the root is there.
        let mark = long_sleep(31);
        let script = format!("echo $$ > /left; exec sleep {mark}");
        let mut sleeper = live.enter(&shell(&spec, &script, Stdio::Output));
        sleeper.until(|live| live.started);
        let look = "while [ ! -s /left ]; do :; done; read p < /left; \
            while ! busybox grep -q sleep /proc/$p/cmdline; do :; done; busybox rm /left; kill -KILL $p; echo found";
        assert_eq!(live.enter(&shell(&spec, look, Stdio::Output)).output(), "found\n");
        assert_eq!(sleeper.status(), Status::Signaled(9));
    }
}

#[test]
fn it_has_its_own_words_user_and_streams() {
    let Some(world) = world() else { return };
    let spec = world.shell("");
    let mut live = waiting(&spec, First::Process);
    let script = "busybox env; busybox pwd; id -u; id -g; id -G; umask; ulimit -c; ls /proc/self/fd; busybox cat; echo err >&2";
    let mut process = shell(&spec, script, Stdio::Piped);
    process.env = vec!["PATH=/bin".into(), "NEW=1".into()];
    process.cwd = "/etc".into();
    process.user = Ids { uid: 7, gid: 8, groups: vec![9] };
    let expected = "PATH=/bin\nNEW=1\nSHLVL=1\nPWD=/etc\n/etc\n7\n8\n8 9\n0022\n0\n0\n1\n2\n3\n";
    let mut piped = live.enter(&process);
    piped.keys(b"in\n");
    piped.running.stdin = None;
    let mut lines: Vec<_> = piped.output().lines().collect();
    let mut wanted: Vec<_> = expected.lines().chain(["in"]).collect();
    lines.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(lines, wanted);
    assert_eq!(piped.err, "err\n");
    for stdio in [Stdio::Output, Stdio::Captured] {
        process.stdio = stdio;
        let mut entered = live.enter(&process);
        assert!(entered.output().ends_with("/etc\n7\n8\n8 9\n0022\n0\n0\n1\n2\n3\n"), "{}", entered.out);
    }
    process.stdio = Stdio::Terminal(Size { rows: 1, columns: 2 });
    process.argv[2] = "busybox tty; id -u; echo x > /dev/tty".into();
    assert_eq!(live.enter(&process).output(), "/dev/pts/0\r\n7\r\nx\r\n");
    // What cannot be executed says so where that was asked for.
    let mut lost = live.enter(&also(&spec, &["nope"], Stdio::Captured));
    assert_eq!((lost.status(), lost.err.as_str()), (Status::Exited(127), "lith: nope: not found\n"));
}

#[test]
fn ends_are_told_and_who_stays_behind_holds_nobody_up() {
    let Some(world) = world() else { return };
    let spec = world.shell("");
    let mut live = waiting(&spec, First::Init);
    assert_eq!(live.enter(&shell(&spec, "exit 9", Stdio::Output)).status(), Status::Exited(9));
    assert_eq!(live.enter(&shell(&spec, "kill -SEGV $$", Stdio::Output)).status(), Status::Signaled(11));
    let mark = long_sleep(32);
    let script = format!("sleep {mark} & setsid sleep {mark} & echo up");
    // It has the streams still, and does not end.
    let mut entered = live.enter(&shell(&spec, &script, Stdio::Piped));
    assert_eq!(entered.output(), "up\n");
    while processes_with(&mark).len() < 2 {
        std::thread::yield_now();
    }
    drop(live);
    gone(&mark);
}

#[test]
fn it_ends_with_the_sandbox() {
    let Some(world) = world() else { return };
    let spec = world.shell("");
    for first in [First::Init, First::Process] {
        let mut live = waiting(&spec, first);
        let mark = long_sleep(33);
        let script = format!("trap '' TERM HUP; setsid sleep {mark} & echo up; sleep {mark}");
        let mut entered = live.enter(&shell(&spec, &script, Stdio::Output));
        entered.says("up\n");
        let (_, init) = live.init.as_ref().unwrap();
        let init = init.try_clone().unwrap();
        live.running.stdin = None;
        assert_eq!(live.status(), Status::Exited(0));
        assert_eq!(entered.status(), Status::Signaled(9));
        gone(&mark);
        let late = launcher().enter(init.as_fd(), &shell(&spec, "true", Stdio::Output)).unwrap_err();
        assert!(late.to_string().contains("lost touch") && format!("{late:?}").contains("ended"), "{late:?}");
    }
}

#[test]
fn what_cannot_be_entered_is_said() {
    let Some(world) = world() else { return };
    let spec = world.shell("");
    let mut live = waiting(&spec, First::Init);
    let mut process = shell(&spec, "true", Stdio::Output);
    process.cwd = "/nope".into();
    let end = live.enter(&process).result().unwrap_err();
    assert!(matches!(&end, SandboxError::Setup(SetupError::Cwd { path, .. }) if path == "/nope"), "{end:?}");
    process.argv = vec!["a\0b".into()];
    let end = live.enter(&process).result().unwrap_err();
    assert!(matches!(end, SandboxError::Setup(SetupError::Nul { .. })), "{end:?}");
}

/// The example as another user, with its output.
fn as_user(user: &User, program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={}", user.id("-u"))).arg(format!("--regid={}", user.id("-g")));
    command.arg("--clear-groups").arg(program).args(arguments);
    command
}

fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

/// Enters the sandbox of another user of the host, as that one; what a script says there.
fn entered_by(user: &User, world: &World, first: &[&str], script: &str) -> Option<(String, String)> {
    let example = example(world)?;
    let mut give = Command::new("chown");
    give.args(["-Rh", &format!("{}:{}", user.id("-u"), user.id("-g"))]);
    assert!(give.args(["base", "upper", "work"].map(|dir| world.path(dir))).status().unwrap().success());
    let mark = long_sleep(34);
    let (base, upper, work) = (world.path("base"), world.path("upper"), world.path("work"));
    let paths = [base.to_str().unwrap(), "--writable", upper.to_str().unwrap(), work.to_str().unwrap()];
    let words = ["sh", "-c", "echo up; sleep 100000; true", &mark];
    let arguments = [first, &paths[..], &words[..]].concat();
    let mut holder = as_user(user, &example, &arguments);
    let mut holder = holder
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .map(Killed)
        .unwrap();
    let mut line = String::new();
    let said = holder.0.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(said), &mut line).unwrap();
    assert_eq!(line, "up\n");
    let pids = processes_with(&mark);
    let pid = pids.iter().find(|pid| u32::try_from(**pid) != Ok(holder.0.id())).unwrap().to_string();
    let mut enter = as_user(user, &example, &["--enter", &pid, "sh", "-c", script]);
    let entered = enter.stdin(std::process::Stdio::null()).output().unwrap();
    drop(holder);
    gone(&mark);
    Some(text(&entered))
}

/// What a plain user finds that enters its own sandbox.
const LOOK: &str = "id -u; cat /proc/1/comm; ls -d /bin/sh; echo x > /made; busybox chown 33:44 /made; \
    cd /tmp; busybox ln -s /made l; busybox chown 55:66 ./l; busybox chown 7:8 ../etc/./; echo $?";

#[test]
fn a_user_with_ranges_enters() {
    let Some(world) = world() else { return };
    let Some(user) = User::make("em", true) else { return };
    let Some((out, err)) = entered_by(&user, &world, &[], LOOK) else { return };
    assert_eq!((out.as_str(), err.as_str()), ("0\nlith-init\n/bin/sh\n0\n", ""));
    let made = fs::metadata(world.path("upper/made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (3_000_054, 3_000_065));
}

#[test]
fn owners_are_noted_for_who_enters_and_for_process_one() {
    let Some(world) = world() else { return };
    let Some(user) = User::make("es", false) else { return };
    let note = |name: &str| {
        let mut bytes = [0; 64];
        let length = rustix::fs::lgetxattr(world.path(name), lith::sandbox::OWNER_XATTR, &mut bytes).ok()?;
        Some(String::from_utf8(bytes[..length].to_vec()).unwrap())
    };
    let Some((out, err)) = entered_by(&user, &world, &[], LOOK) else { return };
    assert_eq!((out.as_str(), err.as_str()), ("0\nlith-init\n/bin/sh\n0\n", ""));
    assert_eq!(note("upper/made").as_deref(), Some("55:66"));
    assert_eq!(note("upper/etc").as_deref(), Some("7:8"));
    // Links lead nowhere on the host: the root of who answers is that of the sandbox.
    let outside = world.path("outside");
    fs::write(&outside, "").unwrap();
    std::os::unix::fs::chown(&outside, Some(user.id("-u")), None).unwrap();
    let script =
        format!("busybox ln -s {} /tmp/out; cd /tmp; busybox chown 5:6 ./out || echo no", outside.display());
    let Some((out, _)) = entered_by(&user, &world, &["--process"], &script) else { return };
    assert_eq!((out.as_str(), note("outside")), ("no\n", None));

    // The same for a program that is process 1.
    let Some(example) = example(&world) else { return };
    let (base, upper, work) = (world.path("base"), world.path("upper"), world.path("work"));
    let script =
        "echo $$; echo x > /one; busybox chown 21:22 /one; cd /tmp; busybox chown 23:24 ../one; echo $?";
    let paths = [base.to_str().unwrap(), "--writable", upper.to_str().unwrap(), work.to_str().unwrap()];
    let arguments = [&["--process"], &paths[..], &["sh", "-c", script]].concat();
    let (out, err) = text(&as_user(&user, &example, &arguments).output().unwrap());
    assert_eq!((out.as_str(), err.as_str()), ("1\n0\n", "SingleId\n"));
    assert_eq!(note("upper/one").as_deref(), Some("23:24"));
    let lost = [&["--process"], &paths[..], &["nope"]].concat();
    let output = as_user(&user, &example, &lost).output().unwrap();
    assert_eq!((output.status.code(), text(&output).1.contains("nope: not found")), (Some(127), true));
}

#[test]
fn another_user_cannot_enter() {
    let Some(world) = world() else { return };
    let (Some(user), Some(other)) = (User::make("eo", false), User::make("ex", false)) else { return };
    let Some(example) = example(&world) else { return };
    let mark = long_sleep(35);
    let base = world.path("base");
    let script = ["sh", "-c", "echo up; sleep 100000; true", &mark];
    let mut holder = as_user(&user, &example, &[&[base.to_str().unwrap()], &script[..]].concat());
    let mut holder = holder.stdout(std::process::Stdio::piped()).spawn().map(Killed).unwrap();
    let mut line = String::new();
    let said = holder.0.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(said), &mut line).unwrap();
    let pids = processes_with(&mark);
    let pid = pids.iter().find(|pid| u32::try_from(**pid) != Ok(holder.0.id())).unwrap().to_string();
    let output = as_user(&other, &example, &["--enter", &pid, "id"]).output().unwrap();
    let (out, err) = text(&output);
    assert_eq!((output.status.code(), out.as_str()), (Some(3), ""));
    assert!(err.contains("cannot enter the sandbox: Operation not permitted"), "{err}");
}
