//! `lith top` and `lith stats`: containers watched from outside.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use super::terminal::{Screen, script, worlds as worlds_with_terminals};
use super::{World, eventually};
use crate::rootless::Ids;

fn worlds(tag: &str) -> Vec<World> {
    let users = [(format!("{tag}r"), Ids::Range), (format!("{tag}s"), Ids::Single)];
    let users = users.into_iter().map(|(tag, ids)| World::user(&tag, ids));
    [World::root()].into_iter().chain(users).flatten().collect()
}

/// The rows of a table, cells apart.
fn rows(table: &str) -> Vec<Vec<String>> {
    table.lines().skip(1).map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn top_lists_the_processes_that_the_host_sees() {
    for world in worlds("top") {
        let mark = format!("79{:06}", std::process::id());
        let program = format!("sleep {mark}1 & sleep {mark}2 & wait");
        world.ok(&["run", "-d", "--name", "many", "base", "sh", "-c", &program]);
        world.ok(&["run", "-d", "--name", "other", "base", "sleep", &format!("{mark}3")]);
        world.ok(&["exec", "-d", "many", "sleep", &format!("{mark}4")]);
        eventually("all have begun", || world.ok(&["top", "many"]).matches("sleep").count() >= 4);
        let shown = world.ok(&["top", "many"]);
        assert_eq!(
            shown.lines().next().unwrap().split_whitespace().collect::<Vec<_>>(),
            ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
        );
        let first = world.inspect("many")["State"]["Pid"].to_string();
        let mut seen = Vec::new();
        for row in rows(&shown) {
            // The numbers are the host's.
            let line = std::fs::read(format!("/proc/{}/cmdline", row[1])).unwrap();
            let line = String::from_utf8(line).unwrap().replace('\0', " ");
            if line.starts_with("sleep") {
                assert_eq!(row[7..].join(" "), line.trim_end());
                seen.push(line.trim_end().to_owned());
            }
            let status = std::fs::read_to_string(format!("/proc/{}/status", row[1])).unwrap();
            assert!(status.contains(&format!("\nPPid:\t{}\n", row[2])), "{row:?}\n{status}");
            assert_eq!((row[5].as_str(), row[6].as_str()), ("?", "00:00:00"));
            assert!(row[4].len() == 5 && row[4].as_bytes()[2] == b':', "{row:?}");
        }
        seen.sort();
        assert_eq!(seen, [1, 2, 4].map(|n| format!("sleep {mark}{n}")), "{shown}");
        assert!(rows(&shown).iter().any(|row| row[1] == first), "{first} is the first process\n{shown}");
        // One with a terminal, as somebody else: the name is the host's.
        world.ok(&["run", "-dt", "--name", "tty", "base", "sleep", "1000"]);
        let row = rows(&world.ok(&["top", "tty"])).pop().unwrap();
        assert!(row[5].starts_with("pts/"), "{row:?}");
        if let World::Root(_) = world {
            assert_eq!(row[0], "root");
            world.ok(&["run", "-d", "--name", "number", "-u", "54321", "base", "sleep", "1000"]);
            assert_eq!(rows(&world.ok(&["top", "number"]))[0][0], "54321");
        }
        world.ok(&["stop", "-t", "0", "many"]);
        let ended = world.run(&["top", "many"]);
        assert_eq!(ended.code, 1);
        assert!(ended.err.contains("many is not running"), "{}", ended.err);
    }
}

#[test]
fn stats_say_what_containers_use() {
    for world in worlds("stat") {
        world.ok(&["run", "-d", "--name", "busy", "base", "sh", "-c", "while :; do :; done"]);
        // Thirty megabytes in a variable.
        let hold = "x=$(head -c 30000000 /dev/zero | tr '\\0' x); sleep 1000 & sleep 1000 & echo held; wait; echo $x";
        world.ok(&["run", "-d", "--name", "large", "base", "sh", "-c", hold]);
        world.ok(&["create", "--name", "idle", "base", "true"]);
        eventually("the memory is held", || world.ok(&["logs", "large"]) == "held");
        let of = |more: &[&str]| world.ok(&[&["stats", "--no-stream"], more].concat());
        let shown = of(&[]);
        let head = "CONTAINER ID NAME CPU % MEM USAGE / LIMIT MEM % BLOCK I/O PIDS";
        assert_eq!(shown.lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" "), head);
        let names: Vec<String> = rows(&shown).into_iter().map(|row| row[1].clone()).collect();
        assert_eq!(names, ["large", "busy"], "those that run, the newest first");
        let all = of(&[
            "-a",
            "--format",
            "{{.Name}} {{.CPUPerc}} {{.MemUsage}} {{.MemPerc}} {{.BlockIO}} {{.PIDs}}",
        ]);
        assert_eq!(all.lines().next().unwrap(), "idle 0.00% 0B / 0B 0.00% 0B / 0B 0");
        let number = |name: &str, field: &str| -> f64 {
            let text = of(&["--format", &format!("{{{{.{field}}}}}"), name]);
            text.trim_end_matches(['%', 'M', 'i', 'B'])
                .parse()
                .unwrap_or_else(|_| panic!("{field} of {name}: {text}"))
        };
        let (busy, quiet) = (number("busy", "CPUPerc"), number("large", "CPUPerc"));
        assert!(busy > 4.0 && busy < 150.0 && quiet < busy / 2.0, "busy {busy}, quiet {quiet}");
        let memory = of(&["--format", "{{.MemUsage}}", "large"]);
        let used: f64 = memory.split("MiB").next().unwrap().parse().unwrap_or_else(|_| panic!("{memory}"));
        assert!((28.0..120.0).contains(&used), "{memory}");
        assert!(
            memory.contains(" / ") && memory.ends_with("GiB"),
            "without a limit it is the machine's: {memory}"
        );
        assert!(number("large", "PIDs") >= 3.0);
        let json: serde_json::Value = serde_json::from_str(&of(&["--format", "json", "large"])).unwrap();
        assert_eq!((&json["Name"], &json["NetIO"]), (&"large".into(), &"--".into()));
        assert_eq!(json["ID"].as_str().unwrap().len(), 12);
        let unknown = world.run(&["stats", "--no-stream", "nope"]);
        assert!(unknown.code == 1 && unknown.err.contains("no such container: nope"), "{}", unknown.err);
    }
}

#[test]
fn stats_come_from_a_container_s_own_cgroup_where_it_has_one() {
    let Some(world) = World::root() else { return };
    let hold =
        "x=$(head -c 30000000 /dev/zero | tr '\\0' x); sleep 1000 & sleep 1000 & echo held; wait; echo $x";
    world.ok(&[
        "run",
        "-d",
        "--name",
        "held",
        "--memory",
        "256m",
        "--pids-limit",
        "50",
        "base",
        "sh",
        "-c",
        hold,
    ]);
    eventually("the memory is held", || world.ok(&["logs", "held"]) == "held");
    let shown =
        world.ok(&["stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}} {{.MemPerc}}", "held"]);
    let words: Vec<&str> = shown.split(' ').collect();
    // The shell, two that sleep, and lith's own that watches them, which counts for the limit too.
    assert_eq!((words[2], words[3]), ("256MiB", "4"), "{shown}");
    let (used, share): (f64, f64) =
        (words[0].trim_end_matches("MiB").parse().unwrap(), words[4].trim_end_matches('%').parse().unwrap());
    assert!((28.0..256.0).contains(&used) && (share - used / 2.56).abs() < 0.1, "{shown}");
}

#[test]
fn stats_go_on_until_nobody_reads() {
    let Some(world) = World::root() else { return };
    world.ok(&["run", "-d", "--name", "on", "base", "sleep", "1000"]);
    let mut child =
        world.command(&["stats", "--format", "{{.Name}}"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!([lines.next().unwrap().unwrap(), lines.next().unwrap().unwrap()], ["on", "on"]);
    // A sweep does not wait for one who watches.
    world.ok(&["gc", "--no-wait"]);
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn stats_are_redrawn_in_place() {
    for world in worlds_with_terminals("draw") {
        world.ok(&["run", "-d", "--name", "one", "base", "sleep", "1000"]);
        world.ok(&["run", "-d", "--name", "two", "base", "sleep", "1000"]);
        let screen = Screen::new(&world, &script(&world, &["stats"]));
        screen.wait_for("two");
        world.ok(&["rm", "-f", "two"]);
        world.ok(&["run", "-d", "--name", "three", "base", "sleep", "1000"]);
        screen.wait_for("three");
        let shown = screen.shows();
        assert_eq!(shown.matches("CONTAINER ID").count(), 1, "{shown}");
        assert!(shown.starts_with("CONTAINER ID") && !shown.contains("two"), "{shown}");
    }
}
