//! What goes wrong around containers: clients that leave, full disks, damaged records, signals.

use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use super::{World, eventually};
use crate::support::children;

fn state(world: &World) -> serde_json::Value {
    let dir = children(&world.store().join("containers")).pop().unwrap();
    serde_json::from_slice(&fs::read(dir.join("state.json")).unwrap()).unwrap()
}

fn supervisor(world: &World) -> i32 {
    i32::try_from(state(world)["supervisor"]["pid"].as_i64().unwrap()).unwrap()
}

fn send(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Clock ticks that a process has used.
fn ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_supervisor_sleeps_while_nothing_happens() {
    let Some(world) = World::root() else { return };
    world.ok(&["run", "-d", "-i", "--name", "idle", "base", "sleep", "1000"]);
    // Clients that have left, of the program and of one that goes on.
    world.ok(&["exec", "-d", "idle", "sleep", "1000"]);
    let mut left = world.command(&["exec", "-i", "idle", "sleep", "1000"]);
    let mut left = left.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    eventually("it runs", || world.ok(&["exec", "idle", "ps"]).matches("sleep").count() == 3);
    left.kill().unwrap();
    left.wait().unwrap();
    let pid = supervisor(&world);
    sleep(Duration::from_millis(200));
    let before = ticks(pid);
    sleep(Duration::from_millis(1500));
    assert!(ticks(pid) - before < 20, "{} ticks in 1.5 s", ticks(pid) - before);
}

#[test]
fn codes_are_told_of_containers_that_go_with_their_end() {
    let Some(world) = World::root() else { return };
    let script = "head -c 30m /dev/zero > /big; sleep 0.3; exit 3";
    world.ok(&["run", "-d", "--rm", "--name", "brief", "base", "sh", "-c", script]);
    assert_eq!(world.ok(&["wait", "brief"]), "3");
    let mut caller = world.command(&["run", "--rm", "--name", "lost", "base", "sleep", "1000"]);
    let mut caller = caller.stderr(Stdio::null()).spawn().unwrap();
    eventually("it runs", || world.ok(&["ps", "--format", "{{.Names}}"]) == "lost");
    send(u32::try_from(supervisor(&world)).unwrap(), rustix::process::Signal::KILL);
    assert_eq!(caller.wait().unwrap().code(), Some(137));
    world.ok(&["run", "-d", "--name", "long", "--stop-signal", "KILL", "base", "sleep", "1000"]);
    world.ok(&["stop", "-t", "9223372036854775807", "long"]);
}

#[test]
fn whoever_only_looks_can_be_told_to_end() {
    let Some(world) = World::root() else { return };
    world.ok(&["run", "-d", "--name", "seen", "base", "sh", "-c", "while :; do echo tick; sleep 0.05; done"]);
    let mut looking = world.command(&["attach", "--sig-proxy=false", "seen"]);
    let mut looking = looking.stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 5];
    std::io::Read::read_exact(looking.stdout.as_mut().unwrap(), &mut first).unwrap();
    send(looking.id(), rustix::process::Signal::TERM);
    assert_eq!(looking.wait().unwrap().code(), Some(128 + 15));
    let mut following = world.command(&["logs", "-f", "seen"]);
    let mut following = following.stdout(Stdio::piped()).spawn().unwrap();
    std::io::Read::read_exact(following.stdout.as_mut().unwrap(), &mut first).unwrap();
    drop(following.stdout.take());
    eventually("it ends with its reader", || following.try_wait().unwrap().is_some());
    assert_eq!(world.ok(&["ps", "--format", "{{.Names}}"]), "seen");
}

/// S2 for a supervisor and for what it forks: through neither can anybody write to the program.
#[test]
fn s02_supervisors_run_from_behind_a_read_only_mount() {
    let worlds = [World::root(), World::user("sealed", crate::rootless::Ids::Range)];
    for world in worlds.into_iter().flatten() {
        let id = world.ok(&["run", "-d", "--name", "sealed", "base", "sleep", "1000"]);
        world.ok(&["exec", "sealed", "true"]);
        let supervisor = supervisor(&world);
        let children = format!("/proc/{supervisor}/task/{supervisor}/children");
        let helper: i32 = fs::read_to_string(children).unwrap().trim().parse().unwrap();
        for (process, name) in
            [(supervisor, format!("lith-supervisor {id}")), (helper, "lith-sandbox-init".into())]
        {
            let line = fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap();
            assert_eq!(line.replace('\0', " ").trim_end(), name);
            // One that runs cannot be written to anyway; what counts is what holds after its end.
            let exe = format!("/proc/{process}/exe");
            let flags = rustix::fs::statvfs(&exe).unwrap().f_flag;
            assert!(flags.contains(rustix::fs::StatVfsMountFlags::RDONLY), "{name}");
            assert!(fs::OpenOptions::new().write(true).open(&exe).is_err());
        }
        world.ok(&["rm", "-f", "sealed"]);
    }
}

#[test]
fn trees_deeper_than_there_are_descriptors_go() {
    let Some(world) = World::root() else { return };
    let script = "cd $1 && for i in $(seq 1500); do mkdir d && cd d || exit 1; done";
    world.ok(&["volume", "create", "deep"]);
    for place in ["/", "/v"] {
        world.ok(&["run", "--name", "deep", "-v", "deep:/v", "base", "sh", "-c", script, "sh", place]);
        // As few as a user may have.
        let mut few = std::process::Command::new("sh");
        few.args(["-c", "ulimit -n 256; exec \"$0\" --root \"$1\" rm deep", env!("CARGO_BIN_EXE_lith")])
            .arg(world.store());
        let ran = crate::support::Ran::of(few.output().unwrap());
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
    world.ok(&["volume", "rm", "deep"]);
    assert!(world.traces().iter().all(|path| !path.starts_with(world.store().join("tmp"))));
}

#[test]
fn a_damaged_record_is_told_and_harms_no_other() {
    let Some(world) = World::root() else { return };
    world.ok(&["volume", "create", "kept"]);
    let id = world.ok(&["create", "--name", "broken", "-v", "kept:/v", "base", "true"]);
    world.ok(&["create", "--name", "whole", "base", "true"]);
    fs::write(world.store().join("containers").join(&id).join("config.json"), "").unwrap();
    let shown = world.run(&["ps", "-a", "--format", "{{.Names}}"]);
    assert_eq!((shown.code, shown.out.as_str()), (0, "whole\n"), "{}", shown.err);
    assert!(shown.err.contains(&id[..12]) && shown.err.contains("damaged"), "{}", shown.err);
    // Nobody knows what it uses, so nothing is taken away.
    assert_ne!(world.run(&["volume", "prune", "-af"]).code, 0);
    assert_eq!(world.ok(&["volume", "ls", "-q"]), "kept");
    let refused = world.run(&["rm", "broken"]);
    assert!(refused.code == 1 && refused.err.contains("rm -f"), "{}", refused.err);
    world.ok(&["rm", "-f", "broken"]);
    world.ok(&["rm", "whole"]);
    assert_eq!(world.ok(&["ps", "-aq"]), "");
}

#[test]
fn a_full_disk_keeps_nobody_from_making_room() {
    let Some(world) = World::root() else { return };
    let lab = world.lab();
    fs::create_dir(lab.path("mnt")).unwrap();
    let script = "mount -t tmpfs -o size=16m none mnt && l() { $LITH --root mnt/s \"$@\"; }
        l import base.tar base >/dev/null || exit 99
        l run -d --name full base sh -c 'while [ ! -e /go ]; do sleep 0.05; done; exit 5' >/dev/null || exit 98
        l exec full touch /go.tmp || exit 97
        cat /dev/zero > mnt/fill 2>/dev/null
        l exec full mv /go.tmp /go || exit 96
        l wait full
        l ps -a --format '{{.Names}} {{.State}}'
        l rm -f full >/dev/null || exit 95
        rm mnt/fill
        [ -z \"$(l ps -aq)\" ] || exit 94";
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script]);
    command.env("LITH", env!("CARGO_BIN_EXE_lith")).current_dir(lab.path(""));
    let ran = crate::support::Ran::of(command.output().unwrap());
    assert_eq!((ran.code, ran.out.as_str()), (0, "5\nfull exited\n"), "{}", ran.err);
}
