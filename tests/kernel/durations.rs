//! Clocks of durations as a step is told of them (spec/world.md, "Durations"), on the real kernel.

use std::path::Path;

use lith::sandbox::spec::World as Told;

use super::sandbox::{User, World, as_user, told, world};
use super::world::{says, seeded};
use crate::support::skip;

/// A place with the program that reads these clocks, where the kernel has namespaces for them.
fn place() -> Option<World> {
    if !Path::new("/proc/self/timens_offsets").exists() {
        return skip("needs time namespaces (Linux 5.6)");
    }
    let place = world()?;
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/world/durations.c");
    let built = std::process::Command::new("cc")
        .args(["-static", "-pthread", "-O1", "-o"])
        .args([&place.path("base/bin/durations"), Path::new(source)])
        .status();
    assert!(built.unwrap().success());
    Some(place)
}

/// Seconds and nanoseconds of a line.
fn reading(printed: &str, name: &str) -> (i64, i64) {
    let line = printed.lines().find_map(|line| line.strip_prefix(name)).expect(printed);
    let (seconds, nanoseconds) = line.trim().split_once('.').expect(line);
    (seconds.parse().unwrap(), nanoseconds.parse().unwrap())
}

#[test]
fn they_begin_with_the_step() {
    let Some(place) = place() else { return };
    for uptime in [100, 7_000_000] {
        let printed = says(&place, &Told { uptime, ..told() }, "durations first");
        for name in ["monotonic ", "boottime "] {
            let (seconds, _) = reading(&printed, name);
            assert!((uptime..uptime + 20).contains(&seconds), "{printed}");
        }
    }
    let uptime = says(&place, &Told { uptime: 260, ..told() }, "cat /proc/uptime; busybox uptime");
    assert!(uptime.starts_with("260.00 260.00\n"), "{uptime}");
    assert!(uptime.contains("up 4 min"), "{uptime}");
}

#[test]
fn they_begin_with_the_step_of_a_plain_user() {
    for ranges in [true, false] {
        let Some(place) = place() else { return };
        let Some(user) = User::make(if ranges { "tm" } else { "ts" }, ranges) else { return };
        let Some((out, err)) = as_user(&user, &place, "durations first") else { return };
        for name in ["monotonic ", "boottime "] {
            assert!((100..120).contains(&reading(&out, name).0), "{out}{err}");
        }
    }
}

#[test]
fn a_programs_first_reading_follows_from_its_seed() {
    let Some(place) = place() else { return };
    let first = |told: &Told, script: &str| {
        let printed = says(&place, told, script);
        ["monotonic ", "boottime "].map(|name| reading(&printed, name).1)
    };
    let one = first(&seeded(), "durations first");
    assert_eq!(one[0], one[1]);
    assert!(one[0] < 210_000_000, "{one:?}");
    assert_eq!(first(&seeded(), "busybox sleep 0.3; durations first"), one);
    assert_ne!(first(&seeded(), "durations first more"), one, "another program");
    assert_ne!(first(&Told { seed: Some([8; 32]), ..told() }, "durations first"), one);
    // It stands for as long as a short program runs.
    let printed = says(&place, &seeded(), "durations first");
    assert_eq!(reading(&printed, "monotonic "), reading(&printed, "later "), "{printed}");
    // Where the clock that stands ticks, too.
    let ticking = Told { ticks: true, ..seeded() };
    assert_eq!(first(&ticking, "durations first"), one);
    assert_eq!(says(&place, &ticking, "busybox date +%s"), "1700000000\n");
}

#[test]
fn names_of_temporary_files_are_the_same_at_another_time() {
    let Some(place) = place() else { return };
    // Of programs that run at once, any may be the first.
    let names = |delay: &str| {
        let script = format!(
            "busybox rm -f /tmp/*; sleep {delay}; durations names; durations names
            for i in 1 2 3 4 5 6; do durations names > /dev/null & done; wait; ls /tmp"
        );
        says(&place, &seeded(), &script)
    };
    let one = names("0");
    assert_eq!(one.lines().count(), 4 + 16, "{one}");
    assert_eq!(names("0.2"), one);
    assert_eq!(names("0.7"), one);
}

#[test]
fn they_are_never_early_and_go_back_for_nobody() {
    let Some(place) = place() else { return };
    let right = "backwards 0 early 0 late 0 enough 1\n";
    for ticks in [false, true] {
        let told = Told { ticks, ..seeded() };
        // A process and its child; threads, of which one reads it first.
        assert_eq!(says(&place, &told, "durations always"), right);
        assert_eq!(says(&place, &told, "durations always 8"), right);
    }
    assert_eq!(says(&place, &told(), "durations always 4"), right);
}
