//! Ends of programs and what keeps them from being started: docker's exit codes, one clear line each.

use std::process::Stdio;

use super::{World, eventually, mounts_of};
use crate::rootless::Ids;
use crate::support::{Ran, has};

/// The line that begins with `error:`; there is one.
#[track_caller]
fn line(ran: &Ran) -> &str {
    let lines: Vec<&str> = ran.err.lines().filter(|line| line.starts_with("error:")).collect();
    assert_eq!(lines.len(), 1, "{}", ran.err);
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
    lines[0]
}

#[track_caller]
fn refused(world: &World, args: &[&str], code: i32, parts: &[&str]) {
    let ran = world.run(args);
    assert_eq!(ran.code, code, "{args:?}\n{}\n{}", ran.out, ran.err);
    let line = line(&ran);
    for part in parts {
        assert!(line.contains(part), "{part:?} is not in {line}");
    }
}

#[test]
fn a_program_ends_as_it_likes() {
    for world in [World::root(), World::user("ends", Ids::Range), World::user("alone", Ids::Single)] {
        let Some(world) = world else { continue };
        for (script, code) in [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("(kill -9 $PPID)", 0)] {
            assert_eq!(world.run(&["run", "--rm", "base", "sh", "-c", script]).code, code, "{script}");
        }
        let killed = world.run(&["run", "--rm", "--init", "base", "sh", "-c", "kill -TERM $$"]);
        assert_eq!(killed.code, 128 + 15, "{}", killed.err);
        let both = world.run(&["run", "--rm", "base", "sh", "-c", "echo out; echo err >&2; exit 3"]);
        assert_eq!((both.code, both.out.as_str(), both.err.as_str()), (3, "out\n", "err\n"));
        assert_eq!(world.ok(&["ps", "-aq"]), "", "--rm leaves nothing");
    }
}

#[test]
fn input_is_passed_on_and_its_end_too() {
    for world in [World::root(), World::user("input", Ids::Range)] {
        let Some(world) = world else { continue };
        let fed = |args: &[&str], input: &[u8]| {
            let mut command = world.command(args);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut stdin = child.stdin.take().unwrap();
            let input = input.to_vec();
            let writer = std::thread::spawn(move || drop(std::io::Write::write_all(&mut stdin, &input)));
            let ran = child.wait_with_output().unwrap();
            writer.join().unwrap();
            ran
        };
        let echoed = fed(&["run", "--rm", "-i", "base", "cat"], b"x\n");
        assert_eq!((echoed.status.code(), echoed.stdout.as_slice()), (Some(0), &b"x\n"[..]));
        // More than any pipe or buffer on the way holds, in both directions at once.
        let much: Vec<u8> = (0..8_000_000_u32).map(|n| (n % 251) as u8).collect();
        let back = fed(&["run", "--rm", "-i", "base", "cat"], &much);
        assert!(back.stdout == much, "{} bytes came back", back.stdout.len());
        // A program that does not read ends all the same.
        let deaf = fed(&["run", "--rm", "-i", "base", "true"], &much);
        assert_eq!(deaf.status.code(), Some(0));
        // Without -i there is no input.
        assert_eq!(fed(&["run", "--rm", "base", "cat"], b"x\n").stdout, b"");
    }
}

#[test]
fn output_that_nobody_reads_ends_the_program() {
    let Some(world) = World::root() else { return };
    let mut command = world.command(&["run", "--rm", "--name", "yes", "base", "yes"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 4];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).unwrap();
    assert_eq!(&first, b"y\ny\n");
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(128 + 13));
    assert_eq!(world.ok(&["ps", "-aq"]), "");
}

#[test]
fn what_cannot_be_started_says_so_as_docker_does() {
    let Some(world) = World::root() else { return };
    refused(&world, &["run", "--rm", "nope", "true"], 125, &["nope", "not in the store"]);
    refused(&world, &["run", "--rm", "base", "no-such-program"], 127, &["no-such-program", "not found"]);
    refused(&world, &["run", "--rm", "base", "/no/such"], 127, &["/no/such", "not found"]);
    refused(&world, &["run", "--rm", "base", "/etc/passwd"], 126, &["/etc/passwd", "ermission denied"]);
    refused(&world, &["run", "--rm", "base", "/etc"], 126, &["/etc"]);
    refused(&world, &["run", "--rm", "base"], 125, &["no command"]);
    refused(&world, &["run", "--rm", "-v", "/no/such/place:/x", "base", "true"], 125, &["/no/such/place"]);
    refused(&world, &["run", "--rm", "-v", "a:relative", "base", "true"], 125, &["relative", "absolute"]);
    refused(&world, &["run", "--rm", "--mount", "type=nfs,target=/x", "base", "true"], 125, &["nfs", "bind"]);
    refused(&world, &["run", "--rm", "--tmpfs", "/etc/passwd", "base", "true"], 125, &["/etc/passwd"]);
    refused(&world, &["run", "--rm", "-p", "80:80", "base", "true"], 125, &["80:80", "host's network"]);
    refused(
        &world,
        &["run", "--rm", "--network", "bridge", "base", "true"],
        125,
        &["bridge", "host", "none"],
    );
    refused(&world, &["run", "--rm", "-w", "/nope", "base", "true"], 125, &["/nope"]);
    refused(&world, &["run", "--rm", "-u", "nobody2", "base", "true"], 125, &["nobody2", "/etc/passwd"]);
    refused(&world, &["run", "--rm", "--cap-add", "FLY", "base", "true"], 125, &["FLY"]);
    refused(&world, &["run", "--rm", "--memory", "lots", "base", "true"], 125, &["lots"]);
    refused(&world, &["run", "--rm", "--hostname", "a b", "base", "true"], 125, &["a b"]);
    refused(&world, &["run", "--rm", "--env-file", "/no/env", "base", "true"], 125, &["/no/env"]);
    refused(&world, &["run", "--rm", "-it", "base", "true"], 125, &["terminal"]);
    refused(&world, &["run", "--name", "-x", "base", "true"], 125, &["-x"]);
    assert_eq!(world.run(&["run", "--no-such-flag", "base"]).code, 125);
    assert_eq!(world.run(&["ps", "--no-such-flag"]).code, 2);
    assert_eq!(world.ok(&["ps", "-aq"]), "", "nothing of these stays");
    assert_eq!(mounts_of(&world.store()), [""; 0]);
}

#[test]
fn names_are_unique_and_containers_are_found() {
    let Some(world) = World::root() else { return };
    let id = world.ok(&["create", "--name", "one", "base", "true"]);
    refused(&world, &["run", "--name", "one", "base", "true"], 125, &["one", &id[..12]]);
    refused(&world, &["create", "--name", "one", "base", "true"], 1, &["one", &id[..12]]);
    refused(&world, &["start", "two"], 1, &["two"]);
    refused(&world, &["exec", "one", "true"], 1, &["one", "not running"]);
    refused(&world, &["kill", "one"], 1, &["one", "not running"]);
    refused(&world, &["kill", "-s", "FLY", "one"], 2, &["FLY"]);
    for text in ["one", "/one", id.as_str(), &id[..12], &id[..3]] {
        assert_eq!(world.inspect(text)["Id"], id.as_str());
    }
    world.ok(&["start", "one"]);
    assert_eq!(world.ok(&["wait", "one"]), "0");
    world.ok(&["rm", "one"]);
    refused(&world, &["rm", "one"], 1, &["one"]);
    world.ok(&["rm", "-f", "one"]);
    world.ok(&["create", "--name", "one", "base", "true"]);
}

#[test]
fn a_running_container_is_not_removed_nor_started_twice() {
    let Some(world) = World::root() else { return };
    world.ok(&["run", "-d", "--name", "busy", "-e", "TERM=vt220", "base", "sleep", "1000"]);
    // A terminal has the name that the container says.
    assert_eq!(world.ok(&["exec", "-t", "busy", "sh", "-c", "echo $TERM"]).trim_end(), "vt220");
    refused(&world, &["rm", "busy"], 1, &["busy", "running"]);
    refused(&world, &["start", "busy"], 1, &["busy", "running"]);
    refused(&world, &["exec", "busy", "nope"], 127, &["nope", "not found"]);
    assert_eq!(world.run(&["exec", "busy", "sh", "-c", "exit 9"]).code, 9);
    assert_eq!(
        world.ok(&[
            "exec",
            "-e",
            "A=b",
            "-w",
            "/etc",
            "-u",
            "nobody",
            "busy",
            "sh",
            "-c",
            "echo $A $PWD $(id -u)"
        ]),
        "b /etc 65534"
    );
    world.ok(&["stop", "-t", "0", "busy"]);
    assert_eq!(world.inspect("busy")["State"]["ExitCode"], 137);
    world.ok(&["restart", "busy"]);
    assert_eq!(world.ok(&["ps", "-q", "--no-trunc"]), world.inspect("busy")["Id"]);
    world.ok(&["rm", "-f", "busy"]);
}

#[test]
fn a_stop_signal_is_the_images_or_the_callers() {
    let Some(world) = World::root() else { return };
    let script = "trap 'echo usr1; exit 5' USR1; trap 'echo term; exit 6' TERM; echo ready; while :; do sleep 0.05; done";
    for (flags, code, said) in
        [(&["--stop-signal", "USR1"][..], 5, "usr1"), (&[][..], 6, "term"), (&["--init"][..], 6, "term")]
    {
        let args = [&["run", "-d", "--name", "trap"], flags, &["base", "sh", "-c", script]].concat();
        world.ok(&args);
        eventually("the trap is set", || world.ok(&["logs", "trap"]).contains("ready"));
        world.ok(&["stop", "trap"]);
        assert_eq!(world.inspect("trap")["State"]["ExitCode"], code);
        assert_eq!(world.ok(&["logs", "trap"]), format!("ready\n{said}"));
        world.ok(&["rm", "trap"]);
    }
}

#[test]
fn a_full_disk_is_one_line() {
    let Some(world) = World::root() else { return };
    if !has("unshare") {
        return;
    }
    let lab = world.lab();
    std::fs::create_dir(lab.path("mnt")).unwrap();
    let script =
        "mount -t tmpfs -o size=12m none mnt && $LITH --root mnt/s import base.tar base >/dev/null || exit 99
         $LITH --root mnt/s run --rm base true || exit 98
         head -c 100m /dev/zero > mnt/fill 2>/dev/null
         $LITH --root mnt/s run --name full base true; code=$?
         rm mnt/fill
         $LITH --root mnt/s rm -f full >/dev/null 2>&1
         $LITH --root mnt/s run --rm base echo well || exit 97
         [ -z \"$($LITH --root mnt/s ps -aq)\" ] || exit 96
         exit $code";
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script]);
    command.env("LITH", env!("CARGO_BIN_EXE_lith")).current_dir(lab.path(""));
    let ran = Ran::of(command.output().unwrap());
    assert_eq!((ran.code, ran.out.as_str()), (125, "well\n"), "{}", ran.err);
    assert!(line(&ran).contains("No space left"), "{}", ran.err);
}

#[test]
fn streams_limits_and_files_are_as_asked_for() {
    let Some(world) = World::root() else { return };
    let lab = world.lab();
    lab.write("host/file", "from the host\n");
    lab.write("env", "# a comment\nFROM_FILE=yes\n");
    let host = lab.path("host").display().to_string();
    let bind = format!("{host}:/mnt:ro");
    let env = lab.path("env").display().to_string();
    let sh = |flags: &[&str], script: &str| {
        world.ok(&[&["run", "--rm"], flags, &["base", "sh", "-c", script]].concat())
    };
    assert_eq!(
        sh(&["-v", &bind], "cat /mnt/file; touch /mnt/x 2>&1 || echo no"),
        "from the host\ntouch: /mnt/x: Read-only file system\nno"
    );
    assert_eq!(sh(&["--env-file", &env, "-e", "B=c"], "echo $FROM_FILE $B"), "yes c");
    assert_eq!(
        sh(&["--hostname", "kiln"], "hostname; cat /etc/hostname; echo $HOSTNAME"),
        "kiln\nkiln\nkiln"
    );
    assert_eq!(
        sh(&["--read-only", "--tmpfs", "/tmp:size=64k"], "touch /x 2>&1; echo a > /tmp/a; cat /tmp/a"),
        "touch: /x: Read-only file system\na"
    );
    assert_eq!(sh(&["--network", "none"], "ip -o link | wc -l"), "1");
    assert_eq!(sh(&["-w", "/etc", "-u", "nobody"], "pwd; id -u"), "/etc\n65534");
    assert_eq!(sh(&["--entrypoint", "echo"], "ignored"), "sh -c ignored");
    assert_eq!(
        sh(&["--cap-drop", "ALL", "--cap-add", "CHOWN"], "grep CapEff /proc/self/status"),
        "CapEff:\t0000000000000001"
    );
    let crowded = "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; echo all";
    let crowded = world.run(&["run", "--rm", "--pids-limit", "5", "base", "sh", "-c", crowded]);
    assert!(crowded.err.contains("fork") && !crowded.out.contains("all"), "{crowded:?}");
    assert_eq!(
        sh(&["--init"], "cat /proc/1/comm; echo $$ | grep -qv '^1$' && echo behind"),
        "lith-init\nbehind"
    );
    assert_eq!(sh(&[], "echo $$"), "1");
    let memory = world.run(&[
        "run",
        "--name",
        "greedy",
        "--memory",
        "32m",
        "--memory-swap",
        "32m",
        "base",
        "sh",
        "-c",
        "x=$(head -c 200m /dev/zero | tr '\\0' x); echo $x",
    ]);
    assert_eq!(memory.code, 137, "{}", memory.err);
    assert_eq!(world.inspect("greedy")["State"]["OOMKilled"], true);
}
