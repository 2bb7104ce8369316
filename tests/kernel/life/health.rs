//! HEALTHCHECK: what a check says becomes the container's health.

use std::path::PathBuf;

use super::{World, eventually, processes_about};
use crate::rootless::Ids;

fn worlds(tag: &str) -> Vec<World> {
    let users = [(format!("{tag}r"), Ids::Range), (format!("{tag}s"), Ids::Single)];
    let users = users.into_iter().map(|(tag, ids)| World::user(&tag, ids));
    [World::root()].into_iter().chain(users).flatten().collect()
}

/// Builds an image with a check.
fn image(world: &World, name: &str, check: &str) {
    let lab = world.lab();
    lab.write(
        &format!("{name}/Dockerfile"),
        format!("FROM base\nHEALTHCHECK {check}\nCMD [\"sleep\", \"1000\"]\n"),
    );
    world.ok(&["build", "-q", "-t", name, lab.path(name).to_str().unwrap()]);
}

fn health(world: &World, name: &str) -> serde_json::Value {
    world.inspect(name)["State"]["Health"].clone()
}

#[track_caller]
fn becomes(world: &World, name: &str, status: &str) {
    eventually(&format!("{name} is {status}"), || health(world, name)["Status"] == status);
}

#[test]
fn a_container_starts_is_healthy_and_is_so_no_more() {
    for world in worlds("heal") {
        image(&world, "checked", "--interval=300ms --retries=2 CMD cat /fine && echo $A");
        world.ok(&["run", "-d", "--name", "ck", "-e", "A=from the container", "checked"]);
        let shown = world.ok(&["ps", "--format", "{{.Status}}"]);
        assert!(shown.ends_with("(health: starting)"), "{shown}");
        assert_eq!(health(&world, "ck")["FailingStreak"], 0);
        world.ok(&["exec", "ck", "sh", "-c", "echo well > /fine"]);
        becomes(&world, "ck", "healthy");
        let shown = world.ok(&["ps", "--format", "{{.Status}}", "--filter", "health=healthy"]);
        assert!(shown.starts_with("Up ") && shown.ends_with(" (healthy)"), "{shown}");
        let probe = health(&world, "ck")["Log"].as_array().unwrap().last().unwrap().clone();
        assert_eq!((&probe["ExitCode"], &probe["Output"]), (&0.into(), &"well\nfrom the container\n".into()));
        assert!(probe["Start"].as_str().unwrap() < probe["End"].as_str().unwrap());
        world.ok(&["exec", "ck", "rm", "/fine"]);
        becomes(&world, "ck", "unhealthy");
        let sick = health(&world, "ck");
        assert!(sick["FailingStreak"].as_u64().unwrap() >= 2, "{sick}");
        let last = sick["Log"].as_array().unwrap().last().unwrap().clone();
        assert!(last["ExitCode"] == 1 && last["Output"].as_str().unwrap().contains("/fine"), "{last}");
        assert!(world.ok(&["ps", "--format", "{{.Status}}"]).ends_with(" (unhealthy)"));
        // It keeps five, and recovers.
        eventually("there were more than five", || health(&world, "ck")["FailingStreak"].as_u64() > Some(6));
        assert_eq!(health(&world, "ck")["Log"].as_array().unwrap().len(), 5);
        world.ok(&["exec", "ck", "touch", "/fine"]);
        becomes(&world, "ck", "healthy");
        assert_eq!(health(&world, "ck")["FailingStreak"], 0);
        // The program's end is the end of it; a new start begins anew.
        world.ok(&["stop", "-t", "0", "ck"]);
        world.ok(&["start", "ck"]);
        assert_eq!(health(&world, "ck")["Status"], "starting");
    }
}

#[test]
fn failures_do_not_count_while_the_program_starts() {
    let Some(world) = World::root() else { return };
    let check = "--interval=100ms --start-period=1h --start-interval=50ms --retries=1 CMD test -e /fine";
    image(&world, "slow", check);
    world.ok(&["run", "-d", "--name", "ck", "slow"]);
    eventually("it was looked at", || health(&world, "ck")["Log"].as_array().unwrap().len() == 5);
    assert_eq!(
        (&health(&world, "ck")["Status"], &health(&world, "ck")["FailingStreak"]),
        (&"starting".into(), &0.into())
    );
    // One success ends the start, and from then on failures do.
    world.ok(&["exec", "ck", "touch", "/fine"]);
    becomes(&world, "ck", "healthy");
    world.ok(&["exec", "ck", "rm", "/fine"]);
    becomes(&world, "ck", "unhealthy");
}

#[test]
fn a_check_that_takes_too_long_is_ended_and_counts() {
    for world in worlds("late") {
        let mark = format!("76{:06}", std::process::id());
        let check =
            format!("--interval=200ms --timeout=300ms --retries=2 CMD echo partly; sleep {mark} & wait");
        image(&world, "late", &check);
        world.ok(&["run", "-d", "--name", "ck", "late"]);
        eventually("a check runs", || !processes_about(&mark).is_empty());
        becomes(&world, "ck", "unhealthy");
        // What four checks left would be seen beside the one that runs.
        eventually("four were ended", || health(&world, "ck")["FailingStreak"].as_u64() >= Some(4));
        let last = health(&world, "ck")["Log"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(last["ExitCode"], -1);
        assert!(last["Output"].as_str().unwrap().contains("exceeded timeout (0.3s)"), "{last}");
        assert!(processes_about(&mark).len() <= 2, "a shell and its child, of one check at a time");
        // The container runs on, and can be used.
        assert_eq!(world.ok(&["exec", "ck", "echo", "well"]), "well");
        world.ok(&["stop", "-t", "0", "ck"]);
        eventually("no check outlives it", || processes_about(&mark).is_empty());
    }
}

#[test]
fn a_check_that_cannot_be_done_or_says_too_much() {
    let Some(world) = World::root() else { return };
    image(&world, "nope", "--interval=100ms --retries=1 CMD [\"/no/such/program\"]");
    world.ok(&["run", "-d", "--name", "cannot", "nope"]);
    becomes(&world, "cannot", "unhealthy");
    let last = health(&world, "cannot")["Log"].as_array().unwrap().last().unwrap().clone();
    assert!(last["ExitCode"] != 0 && last["Output"].as_str().unwrap().contains("/no/such/program"), "{last}");
    image(&world, "loud", "--interval=100ms CMD head -c 3000000 /dev/zero | tr '\\0' x");
    world.ok(&["run", "-d", "--name", "says", "loud"]);
    becomes(&world, "says", "healthy");
    let last = health(&world, "says")["Log"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["Output"], "x".repeat(4096));
}

#[test]
fn none_and_no_healthcheck_are_no_check() {
    let Some(world) = World::root() else { return };
    image(&world, "checked", "--interval=50ms CMD touch /ran");
    image(&world, "none", "NONE");
    world.ok(&["run", "-d", "--name", "off", "--no-healthcheck", "checked"]);
    world.ok(&["run", "-d", "--name", "none", "none"]);
    world.ok(&["run", "-d", "--name", "on", "checked"]);
    becomes(&world, "on", "healthy");
    for name in ["off", "none"] {
        assert_eq!(health(&world, name), serde_json::Value::Null);
        assert_eq!(world.run(&["exec", name, "test", "-e", "/ran"]).code, 1, "{name}");
        let shown = world.ok(&["ps", "--format", "{{.Status}}", "--filter", &format!("name={name}")]);
        assert!(!shown.contains("health"), "{shown}");
    }
    let filtered = world.ok(&["ps", "--format", "{{.Names}}", "--filter", "health=none"]);
    assert_eq!(filtered, "none\noff");
    world.ok(&["exec", "on", "test", "-e", "/ran"]);
}

#[test]
fn checks_count_in_the_containers_cgroup_and_leave_nothing() {
    let Some(world) = World::root() else { return };
    let mark = format!("75{:06}", std::process::id());
    let check = format!("--interval=20ms --timeout=5s CMD timeout 0.1 sleep {mark}; sleep {mark} & kill $!");
    image(&world, "many", &check);
    world.ok(&["run", "-d", "--name", "ck", "--init", "--pids-limit", "20", "many"]);
    becomes(&world, "ck", "healthy");
    let state = crate::support::children(&world.store().join("containers")).pop().unwrap().join("state.json");
    let state: serde_json::Value = serde_json::from_slice(&std::fs::read(state).unwrap()).unwrap();
    let dirs: Vec<PathBuf> =
        state["cgroups"].as_array().unwrap().iter().map(|dir| dir.as_str().unwrap().into()).collect();
    assert_eq!(dirs.len(), 1, "{state}");
    let inside = || std::fs::read_to_string(dirs[0].join("cgroup.procs")).unwrap_or_default();
    eventually("a check is seen in the cgroup", || {
        let line = |pid: &str| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        inside().lines().any(|pid| String::from_utf8_lossy(&line(pid)).contains(&mark))
    });
    let supervisor = state["supervisor"]["pid"].as_i64().unwrap();
    let descriptors = || crate::support::children(&PathBuf::from(format!("/proc/{supervisor}/fd"))).len();
    let first = health(&world, "ck")["Log"][0]["Start"].as_str().unwrap().to_owned();
    eventually("ten more checks are done", || {
        let log = health(&world, "ck")["Log"].clone();
        log[0]["Start"].as_str().unwrap() > first.as_str()
    });
    let few = descriptors();
    for _ in 0..10 {
        let seen = health(&world, "ck")["Log"][4]["Start"].clone();
        eventually("one more check is done", || health(&world, "ck")["Log"][4]["Start"] != seen);
    }
    assert!(descriptors() <= few + 6, "a check that runs has a few: {few}, then {}", descriptors());
    eventually("only the program and its init are left between two checks", || {
        let shown = world.ok(&["top", "ck"]);
        shown.contains("sleep 1000") && !shown.contains(&mark) && !shown.contains('[')
    });
    world.ok(&["rm", "-f", "ck"]);
    assert!(!dirs[0].exists());
    eventually("nothing is left", || processes_about(&mark).is_empty());
}
