//! A terminal of the process' own.

use lith::sandbox::spec::{First, Ids, Size, Spec, Status, Stdio};
use rustix::termios::{Winsize, tcsetwinsize};

use super::{Live, also};
use crate::sandbox::{host_view, world};

const SIZE: Size = Size { rows: 33, columns: 77 };

fn on_terminal(mut spec: Spec, first: First) -> Spec {
    spec.process.stdio = Stdio::Terminal(SIZE);
    spec.first = first;
    spec
}

#[test]
fn the_program_has_a_terminal() {
    let Some(world) = world() else { return };
    let script = "busybox tty; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo all; busybox stty size; \
        [ /dev/console -ef /dev/pts/0 ] && echo console; echo said > /dev/console; echo spoken > /dev/tty; \
        ls -1 /proc/self/fd; busybox stat -c %u:%a /dev/console; read x; echo \"<$x>\"";
    for first in [First::Init, First::Process] {
        for uid in [0, 1000] {
            let mut spec = on_terminal(world.shell(script), first);
            spec.process.user = Ids { uid, gid: uid, groups: vec![] };
            let mut live = Live::spawn(&spec);
            live.says(&format!("{uid}:620\r\n"));
            live.keys(b"typed\n");
            assert_eq!(
                live.output(),
                format!(
                    "/dev/pts/0\r\nall\r\n33 77\r\nconsole\r\nsaid\r\nspoken\r\n0\r\n1\r\n2\r\n3\r\n{uid}:620\r\n\
                    typed\r\n<typed>\r\n"
                ),
                "{first:?} {uid}"
            );
        }
    }
}

#[test]
fn a_new_size_is_noticed() {
    let Some(world) = world() else { return };
    for first in [First::Init, First::Process] {
        let script = "trap 'busybox stty size' WINCH; echo up; while :; do sleep 100000 & wait $!; done";
        let mut live = Live::spawn(&on_terminal(world.shell(script), first));
        live.says("up\r\n");
        let size = Winsize { ws_row: 50, ws_col: 132, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(live.terminal.as_ref().unwrap(), size).unwrap();
        live.says("50 132\r\n");
    }
}

#[test]
fn keys_are_signals_to_the_foreground() {
    let Some(world) = world() else { return };
    for first in [First::Init, First::Process] {
        let script = "trap 'echo interrupted; exit 3' INT; echo up; read x";
        let mut live = Live::spawn(&on_terminal(world.shell(script), first));
        live.says("up\r\n");
        live.keys(b"\x03");
        assert_eq!(live.status(), Status::Exited(3), "{first:?}");
        assert!(live.out.contains("interrupted"), "{}", live.out);
        // A shell with job control: the key ends the foreground job and not the shell.
        let script = "set -m; sh -c 'trap \"exit 5\" INT; echo job; read x'; echo over $?";
        let mut live = Live::spawn(&on_terminal(world.shell(script), first));
        live.says("job\r\n");
        live.keys(b"\x03");
        live.status();
        assert!(live.out.contains("over 5\r\n"), "{}", live.out);
    }
}

#[test]
fn the_end_of_input_is_a_key_and_the_end_of_the_terminal_a_signal() {
    let Some(world) = world() else { return };
    let mut live = Live::spawn(&on_terminal(world.shell("echo up; busybox cat; echo done"), First::Process));
    live.says("up\r\n");
    live.keys(b"\x04");
    live.says("done\r\n");
    assert_eq!(live.status(), Status::Exited(0));
    let mut live = Live::spawn(&on_terminal(world.shell("echo up; sleep 100000"), First::Init));
    live.says("up\r\n");
    live.terminal = None;
    assert_eq!(live.status(), Status::Signaled(1));
}

#[test]
fn entered_processes_have_terminals_of_their_own() {
    let Some(world) = world() else { return };
    let spec = on_terminal(world.shell("echo up; read x"), First::Process);
    let mut live = Live::spawn(&spec);
    live.says("up\r\n");
    let script =
        "busybox tty; busybox stty size; echo here > /dev/tty; trap 'echo int; exit 4' INT; echo up; read x";
    let stdio = Stdio::Terminal(Size { rows: 11, columns: 22 });
    let mut entered = live.enter(&also(&spec, &["sh", "-c", script], stdio));
    entered.says("/dev/pts/1\r\n11 22\r\nhere\r\nup\r\n");
    entered.keys(b"\x03");
    assert_eq!(entered.status(), Status::Exited(4));
    assert!(!live.out.contains("here"));
    live.keys(b"\n");
    assert_eq!(live.status(), Status::Exited(0));
}

#[test]
fn s17_keys_cannot_be_put_into_a_terminal() {
    let Some(world) = world() else { return };
    let push = r#"my $t = "x"; $! = 0; ioctl(STDIN, 0x5412, $t); print 0 + $!, "\n";
        open(T, "+<", "/dev/tty"); $! = 0; ioctl(T, 0x5412, $t); print 0 + $!, "\n";
        $t = "\x03"; $! = 0; ioctl(T, 0x541c, $t); print 0 + $!, "\n"; $| = 1; print "up\n"; <STDIN>"#;
    let spec = on_terminal(host_view(&world, &["perl", "-e", push]), First::Process);
    let mut live = Live::spawn(&spec);
    live.says("up\r\n");
    assert_eq!(live.out, "1\r\n1\r\n1\r\nup\r\n");
    let mut entered = live.enter(&also(&spec, &["perl", "-e", push], Stdio::Terminal(SIZE)));
    entered.says("up\r\n");
    assert_eq!(entered.out, "1\r\n1\r\n1\r\nup\r\n");
    // Without a terminal there is none to find either: not that of the caller, nor that of others in there.
    let find = r#"print open(T, "+<", "/dev/tty") ? "found\n" : 0 + $!, "\n""#;
    let mut blind = live.enter(&also(&spec, &["perl", "-e", find], Stdio::Output));
    assert_eq!(blind.output(), "6\n");
}
