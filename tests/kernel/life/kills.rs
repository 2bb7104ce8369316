//! SIGKILL of whoever takes part, at any moment.

use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use super::{World, eventually, mounts_of, processes_about};
use crate::rootless::Ids;

/// Numbers that look random and are the same each time (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed ^ (mixed >> 27)) >> 7) % limit
    }
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    // It may have ended.
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

/// The process numbers that a container's state names, as far as it is written: supervisor, first process.
fn taking_part(world: &World) -> Option<(i32, Option<i32>)> {
    let dir = crate::support::children(&world.store().join("containers")).pop()?;
    let state: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.join("state.json")).ok()?).ok()?;
    let pid = |who: &str| state[who]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    Some((pid("supervisor")?, pid("process")))
}

fn rounds(world: &World, rounds: u64, seed: u64) {
    world.ok(&["run", "--rm", "base", "true"]);
    let before = (world.traces(), mounts_of(&world.store()));
    let mark = format!("78{:06}{seed}", std::process::id());
    let mut numbers = Numbers(seed);
    for round in 0..rounds {
        let flags: &[&str] = match numbers.below(4) {
            0 => &["run", "--rm", "--name", "victim"],
            1 => &["run", "-d", "--name", "victim"],
            2 => &["run", "--name", "victim", "--pids-limit", "20"],
            _ => &["run", "--init", "--name", "victim"],
        };
        let program = format!("sleep {mark} & wait");
        let args = [flags, &["base", "sh", "-c", &program]].concat();
        let mut command = world.command(&args);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut caller = command.spawn().unwrap();
        let who = numbers.below(3);
        sleep(Duration::from_micros(numbers.below(60_000)));
        match (who, taking_part(world)) {
            (1, Some((supervisor, _))) => kill(supervisor),
            (2, Some((_, Some(init)))) => kill(init),
            // Before any of them is there, the caller is.
            _ => caller.kill().unwrap(),
        }
        sleep(Duration::from_micros(numbers.below(3_000)));
        let shown = world.run(&["ps", "-a", "--format", "{{.Names}} {{.State}}"]);
        assert_eq!(shown.code, 0, "round {round}: {}", shown.err);
        assert!(shown.out.lines().count() <= 1, "round {round}: {}", shown.out);
        let removed = world.run(&["rm", "-f", "victim"]);
        assert_eq!(removed.code, 0, "round {round}: {}", removed.err);
        // A caller that was not the one to be killed ends by itself; one of a container that only now comes to be is
        // ended as people would.
        let ended = caller.try_wait().unwrap().is_some();
        if !ended {
            caller.kill().unwrap();
        }
        caller.wait().unwrap();
        eventually("rm -f removes what a killed caller was about to start", || {
            let gone = world.run(&["rm", "-f", "victim"]).code == 0 && world.ok(&["ps", "-aq"]).is_empty();
            gone && processes_about(&mark).is_empty()
        });
    }
    world.ok(&["gc"]);
    let left = (world.traces(), mounts_of(&world.store()));
    assert_eq!(left, before, "after {rounds} rounds");
}

#[test]
fn a_hundred_kills_leave_nothing() {
    let Some(world) = World::root() else { return };
    rounds(&world, 100, 1);
}

#[test]
fn kills_of_a_plain_users_containers_leave_nothing() {
    let Some(world) = World::user("kills", Ids::Range) else { return };
    rounds(&world, 25, 2);
}

#[test]
fn a_killed_supervisor_is_recognised_and_shown() {
    let Some(world) = World::root() else { return };
    world.ok(&["run", "-d", "--name", "lost", "base", "sleep", "1000"]);
    let merged = world.inspect("lost")["GraphDriver"]["Data"]["MergedDir"].as_str().unwrap().to_owned();
    let (supervisor, init) = taking_part(&world).unwrap();
    kill(supervisor);
    eventually("the container ends with it", || {
        !std::path::Path::new(&format!("/proc/{}", init.unwrap())).exists()
    });
    let shown = world.ok(&["ps", "-a", "--format", "{{.Status}}"]);
    assert!(shown.starts_with("Exited (137)"), "{shown}");
    let state = world.inspect("lost")["State"].clone();
    assert_eq!((&state["ExitCode"], state["Running"].as_bool()), (&137.into(), Some(false)));
    assert!(state["Error"].as_str().unwrap().contains("supervisor was killed"), "{state}");
    assert!(std::fs::symlink_metadata(&merged).is_err(), "merged goes with it");
    // It can be used again.
    world.ok(&["start", "lost"]);
    assert_eq!(world.inspect("lost")["State"]["Error"], "");
    world.ok(&["rm", "-f", "lost"]);
}

#[test]
fn a_restart_of_the_machine_is_recognised() {
    let Some(world) = World::root() else { return };
    world.ok(&["run", "-d", "--name", "old", "base", "sleep", "1000"]);
    let (supervisor, init) = taking_part(&world).unwrap();
    kill(supervisor);
    eventually("the container ends with it", || {
        !std::path::Path::new(&format!("/proc/{}", init.unwrap())).exists()
    });
    // As a state looks that was written in another boot; by now the numbers belong to somebody else.
    let mut other = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let dir = crate::support::children(&world.store().join("containers")).pop().unwrap();
    let mut state: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.join("state.json")).unwrap()).unwrap();
    state["boot"] = "another\n".into();
    state["process"] = serde_json::json!({ "pid": other.id(), "start": 1 });
    std::fs::write(dir.join("state.json"), state.to_string()).unwrap();
    let shown = world.inspect("old")["State"].clone();
    assert_eq!((&shown["ExitCode"], &shown["Status"]), (&255.into(), &"exited".into()));
    assert!(shown["Error"].as_str().unwrap().contains("restarted"), "{shown}");
    assert!(other.try_wait().unwrap().is_none(), "a stranger with the number of a process is left alone");
    other.kill().unwrap();
    other.wait().unwrap();
    world.ok(&["rm", "old"]);
}

#[test]
fn a_supervisor_that_is_stopped_does_not_keep_rm_from_its_work() {
    let Some(world) = World::root() else { return };
    world.ok(&["run", "-d", "--name", "stuck", "base", "sleep", "1000"]);
    let (supervisor, _) = taking_part(&world).unwrap();
    let pid = rustix::process::Pid::from_raw(supervisor).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    world.ok(&["rm", "-f", "stuck"]);
    assert_eq!(world.ok(&["ps", "-aq"]), "");
}

#[test]
fn a_callers_death_leaves_the_container_running() {
    let Some(world) = World::root() else { return };
    let mut caller = world.command(&[
        "run",
        "--name",
        "kept",
        "base",
        "sh",
        "-c",
        "echo one; sleep 0.3; echo two; sleep 1000",
    ]);
    let mut caller = caller.stdout(Stdio::null()).spawn().unwrap();
    eventually("it runs", || world.ok(&["ps", "--format", "{{.Names}}"]) == "kept");
    caller.kill().unwrap();
    caller.wait().unwrap();
    eventually("it goes on", || world.ok(&["logs", "kept"]) == "one\ntwo");
    world.ok(&["stop", "-t", "0", "kept"]);
    assert_eq!(world.inspect("kept")["State"]["ExitCode"], 137);
    world.ok(&["rm", "kept"]);
}
