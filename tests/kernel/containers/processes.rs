//! Streams, ends, process 1, and what is left of it all.

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use lith::limits::{GroupLimits, Reached};
use lith::sandbox::spec::{First, Ids, Size, Spec, Status, Stdio};
use lith::sandbox::{SandboxError, SetupError};
use rustix::process::{Signal, pidfd_send_signal};

use super::{Live, also, gone};
use crate::sandbox::{Killed, example, host_view, install, long_sleep, world};

const SIZE: Size = Size { rows: 24, columns: 80 };

fn with(spec: &Spec, stdio: Stdio, first: First) -> Spec {
    let mut spec = spec.clone();
    spec.process.stdio = stdio;
    spec.first = first;
    spec
}

#[test]
fn input_arrives_and_its_end_too() {
    let Some(world) = world() else { return };
    for first in [First::Init, First::Process] {
        let spec = with(&world.shell("busybox cat; echo end; echo err >&2"), Stdio::Piped, first);
        let mut live = Live::spawn(&spec);
        live.keys(b"one\n");
        live.says("one\n");
        live.keys(b"two\n");
        live.running.stdin = None;
        assert_eq!(live.output(), "one\ntwo\nend\n");
        assert_eq!(live.err, "err\n");
    }
}

#[test]
fn streams_that_the_program_closes_are_closed() {
    let Some(world) = world() else { return };
    for first in [First::Init, First::Process] {
        let script = "echo up; read x; exec <&- >&- 2>&-; exec sleep 100000";
        let mut live = Live::spawn(&with(&world.shell(script), Stdio::Piped, first));
        live.says("up\n");
        live.keys(b"\n");
        live.until(|live| live.open.iter().all(Option::is_none));
        // Nobody who only helps still holds the end that is read from: that would stop a writer for ever.
        let refused = rustix::io::write(live.running.stdin.as_ref().unwrap(), b"x");
        assert_eq!(refused, Err(rustix::io::Errno::PIPE), "{first:?}");
    }
}

#[test]
fn output_has_no_input() {
    let Some(world) = world() else { return };
    let script = "busybox readlink /proc/self/fd/0; busybox cat; ls /proc/self/fd";
    for first in [First::Init, First::Process] {
        let mut live = Live::spawn(&with(&world.shell(script), Stdio::Output, first));
        assert_eq!(live.output(), "/dev/null\n0\n1\n2\n3\n");
    }
}

#[test]
fn ends_are_told_whatever_the_streams() {
    let Some(world) = world() else { return };
    for stdio in [Stdio::Captured, Stdio::Piped, Stdio::Output, Stdio::Terminal(SIZE)] {
        for first in [First::Init, First::Process] {
            let status = |script: &str| Live::spawn(&with(&world.shell(script), stdio, first)).status();
            assert_eq!(status("exit 7"), Status::Exited(7));
            // The first process of a namespace cannot end itself like this.
            let killed = status("kill -TERM $$; exit 3");
            let expected = if first == First::Init { Status::Signaled(15) } else { Status::Exited(3) };
            assert_eq!(killed, expected, "{stdio:?}");
        }
    }
}

#[test]
fn a_program_that_is_none_is_an_error() {
    let Some(world) = world() else { return };
    fs::write(world.path("base/bin/data"), "data").unwrap();
    let mut sleeper = Live::spawn(&with(&world.spec(&["sleep", "100000"]), Stdio::Output, First::Init));
    for stdio in [Stdio::Piped, Stdio::Output, Stdio::Terminal(SIZE)] {
        for (name, executable, why) in
            [("nope", false, "not found"), ("data", true, "Permission denied (os error 13)")]
        {
            let mut spec = world.spec(&[name]);
            // Where the sleeper writes nobody else may.
            spec.root.writable = None;
            let ends = [
                Live::spawn(&with(&spec, stdio, First::Init)).result(),
                Live::spawn(&with(&spec, stdio, First::Process)).result(),
                sleeper.enter(&also(&spec, &[name], stdio)).result(),
            ];
            for end in ends {
                let Err(SandboxError::Setup(SetupError::Program { name: named, reason, found })) = &end
                else {
                    panic!("{stdio:?} {name}: {end:?}")
                };
                assert_eq!((named.as_str(), reason.as_str(), *found), (name, why, executable));
            }
        }
    }
}

#[test]
fn the_program_itself_is_process_one() {
    let Some(world) = world() else { return };
    let mark = long_sleep(21);
    let script = format!(
        "trap 'exit 5' TERM; echo $$; setsid sleep {mark} & (trap '' TERM HUP; sleep {mark}) & echo up; wait; wait"
    );
    let mut live = Live::spawn(&with(&world.shell(&script), Stdio::Output, First::Process));
    live.says("1\nup\n");
    let (_, init) = live.init.as_ref().unwrap();
    // From outside as from inside it hears only what it has a handler for, and SIGKILL.
    pidfd_send_signal(init, Signal::HUP).unwrap();
    pidfd_send_signal(init, Signal::TERM).unwrap();
    assert_eq!(live.status(), Status::Exited(5));
    gone(&mark);

    let mut live =
        Live::spawn(&with(&world.shell(&format!("echo up; sleep {mark}")), Stdio::Output, First::Process));
    live.says("up\n");
    pidfd_send_signal(&live.init.as_ref().unwrap().1, Signal::KILL).unwrap();
    assert_eq!(live.status(), Status::Signaled(9));
    gone(&mark);
}

#[test]
fn an_init_passes_signals_on_and_reaps() {
    let Some(world) = world() else { return };
    let script = "for s in HUP INT QUIT TERM USR1 USR2 WINCH; do trap \"echo $s\" $s; done; trap 'echo TERM; exit 6' TERM; \
        echo $$; while :; do sleep 100000 & wait $!; done";
    let mut live = Live::spawn(&with(&world.shell(script), Stdio::Output, First::Init));
    live.says("2\n");
    for (signal, name) in [
        (Signal::HUP, "HUP"),
        (Signal::INT, "INT"),
        (Signal::QUIT, "QUIT"),
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
        (Signal::WINCH, "WINCH"),
        (Signal::TERM, "TERM"),
    ] {
        pidfd_send_signal(live.init.as_ref().unwrap().1.as_fd(), signal).unwrap();
        live.says(&format!("{name}\n"));
    }
    assert_eq!(live.status(), Status::Exited(6));

    // A child of the entered process is init's once that has ended; so are those of the program.
    let mut live = Live::spawn(&with(&world.spec(&["sleep", "100000"]), Stdio::Output, First::Init));
    let mut entered =
        live.enter(&also(&world.shell(""), &["sh", "-c", "(sleep 0; sleep 0) & (sleep 0 &)"], Stdio::Output));
    assert_eq!(entered.status(), Status::Exited(0));
    // Init, the sleeper, sh and ls are left.
    let count = "for i in $(busybox seq 1000); do ls /proc > /p; n=$(busybox grep -c '^[0-9]' /p); [ $n = 4 ] && break; done; echo $n";
    let mut counter = live.enter(&also(&world.shell(""), &["sh", "-c", count], Stdio::Output));
    assert_eq!(counter.output(), "4\n");
}

#[test]
fn nobody_is_spared_when_memory_is_short() {
    let Some(world) = world() else { return };
    let ours = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    for first in [First::Init, First::Process] {
        for uid in [0, 1000] {
            let script = "cat /proc/self/oom_score_adj; read x";
            let mut spec = with(&world.shell(script), Stdio::Piped, first);
            spec.process.user = Ids { uid, gid: uid, groups: vec![] };
            let mut live = Live::spawn(&spec);
            live.says(&ours);
            let mut entered = live.enter(&also(&spec, &["cat", "/proc/self/oom_score_adj"], Stdio::Output));
            assert_eq!(entered.output(), ours, "{first:?} {uid}");
            live.keys(b"\n");
            assert_eq!(live.output(), ours, "{first:?} {uid}");
        }
    }
}

/// A program that sees to it that it does not die with its parent.
const FREE: &str = r#"syscall(157, 1, 0) == 0 or die; $| = 1; print "up\n"; sleep 100000"#;

#[test]
fn killing_ends_also_who_does_not_follow() {
    let Some(world) = world() else { return };
    let mark = long_sleep(22);
    for first in [First::Init, First::Process] {
        let mut live =
            Live::spawn(&with(&host_view(&world, &["perl", "-e", FREE, &mark]), Stdio::Output, first));
        live.says("up\n");
        live.running.kill();
        assert_eq!(live.status(), Status::Signaled(9));
        gone(&mark);
    }
    // One that becomes another user by its set-user-ID bit stops following by that alone.
    install(std::path::Path::new("/bin/busybox"), &world.path("base/bin/busybox-raised"));
    fs::set_permissions(world.path("base/bin/busybox-raised"), fs::Permissions::from_mode(0o4755)).unwrap();
    let mut spec = with(&world.spec(&["/bin/busybox-raised", "sleep", &mark]), Stdio::Output, First::Process);
    spec.process.user = Ids { uid: 1000, gid: 1000, groups: vec![] };
    let mut live = Live::spawn(&spec);
    live.until(|live| live.started);
    // It runs, and has lost what would have ended it with its parent.
    while crate::sandbox::processes_with(&mark).is_empty() {
        std::thread::yield_now();
    }
    live.running.kill();
    assert_eq!(live.status(), Status::Signaled(9));
    gone(&mark);
}

#[test]
fn nothing_is_left_when_the_caller_is_killed() {
    use std::io::{BufRead as _, BufReader};
    let Some(world) = world() else { return };
    let Some(example) = example(&world) else { return };
    let mark = long_sleep(23);
    let up = |arguments: &[&str]| {
        let mut caller = Command::new(&example)
            .args(arguments)
            .args(["perl", "-e", FREE, &mark])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .map(Killed)
            .unwrap();
        let mut line = String::new();
        BufReader::new(caller.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "up\n", "{arguments:?}");
        caller
    };
    drop(up(&["--process", "/"]));
    gone(&mark);
    // The entered one goes alone.
    let mut live = Live::spawn(&with(&host_view(&world, &["cat"]), Stdio::Piped, First::Process));
    let pid = live.pid().to_string();
    live.until(|live| live.started);
    drop(up(&["--enter", &pid]));
    gone(&mark);
    live.keys(b"still here");
    live.says("still here");
    drop(live);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(world.dir.path().to_str().unwrap()), "{mounts}");
}

#[test]
fn limits_hold_for_all_of_it() {
    let Some(world) = world() else { return };
    let limits = GroupLimits { memory: Some(32 << 20), processes: Some(20), ..GroupLimits::default() };
    let spec = with(&world.shell("echo up; busybox cat"), Stdio::Piped, First::Process);
    let mut live = Live::limited(&spec, limits);
    live.says("up\n");
    let cgroups = live.running.cgroups();
    assert!(!cgroups.is_empty());
    // The tail of a text without a line end is kept in memory.
    let eat = ["sh", "-c", "busybox head -c 100000000 /dev/zero | busybox tail -n 1 > /dev/null; echo $?"];
    let mut eater = live.enter(&also(&spec, &eat, Stdio::Output));
    let end = eater.result();
    assert!(eater.out != "0\n", "{:?} {end:?}", eater.out);
    let mut bomb = live.enter(&also(
        &spec,
        &["sh", "-c", "for i in $(busybox seq 30); do sleep 100000 & done; echo all"],
        Stdio::Output,
    ));
    let end = bomb.result();
    assert!(!bomb.out.contains("all"), "{:?} {end:?}", bomb.out);
    live.running.stdin = None;
    let ended = live.result().unwrap();
    assert!(ended.reached.contains(&Reached::Processes), "{ended:?}");
    assert!(ended.reached.contains(&Reached::Memory), "{ended:?}");
    drop((live, eater, bomb));
    assert!(cgroups.iter().all(|dir| !dir.exists()), "{cgroups:?}");
}
