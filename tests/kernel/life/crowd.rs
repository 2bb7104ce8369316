//! Many containers at once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::{World, eventually, mounts_of, processes_about};
use crate::support::children;

const WORKERS: usize = 8;
const EACH: usize = 25;

/// Directories of cgroups that lith made here.
fn cgroups() -> BTreeSet<std::path::PathBuf> {
    fn walk(dir: &std::path::Path, depth: u32, found: &mut BTreeSet<std::path::PathBuf>) {
        if depth == 0 {
            return;
        }
        for path in children(dir).into_iter().filter(|path| path.is_dir() && !path.is_symlink()) {
            if path.file_name().unwrap().to_string_lossy().starts_with("lith-") {
                found.insert(path.clone());
            }
            walk(&path, depth - 1, found);
        }
    }
    let mut found = BTreeSet::new();
    walk(std::path::Path::new("/sys/fs/cgroup"), 4, &mut found);
    found
}

#[test]
fn two_hundred_of_eight_callers_leave_nothing() {
    let Some(world) = World::root() else { return };
    // Unpacked once, so that what is there does not change on the way.
    world.ok(&["run", "--rm", "base", "true"]);
    let before = (world.traces(), mounts_of(&world.store()));
    let mark = format!("77{:07}", std::process::id());
    let done = AtomicBool::new(false);
    let ids = thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut looks = 0;
            while !done.load(Ordering::Relaxed) {
                let shown =
                    world.ok(&["ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Names}} {{.State}}"]);
                let lines: Vec<&str> = shown.lines().collect();
                let ids: BTreeSet<&str> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
                let names: BTreeSet<&str> =
                    lines.iter().map(|line| line.split(' ').nth(1).unwrap()).collect();
                assert_eq!((ids.len(), names.len()), (lines.len(), lines.len()), "{shown}");
                assert!(lines.len() <= WORKERS, "a caller has one at a time: {shown}");
                looks += 1;
            }
            looks
        });
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (world, mark) = (&world, &mark);
                scope.spawn(move || {
                    (0..EACH).map(|round| life(world, worker, round, mark)).collect::<Vec<_>>()
                })
            })
            .collect();
        // All of them first: who panics here must not leave the watcher to go on for ever.
        let ids: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        done.store(true, Ordering::Relaxed);
        let ids: Vec<String> = ids.into_iter().flat_map(|ids| ids.unwrap()).collect();
        assert!(watcher.join().unwrap() > 5, "the watcher has looked");
        ids
    });
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), WORKERS * EACH);
    assert_eq!(world.ok(&["ps", "-aq"]), "");
    eventually("all processes end", || processes_about(&mark).is_empty());
    for id in &ids {
        eventually("each supervisor ends", || processes_about(id).is_empty());
    }
    assert_eq!((world.traces(), mounts_of(&world.store())), before);
    eventually("no cgroup is left", || {
        let held = |dir: &std::path::PathBuf| ids.iter().any(|_| dir.join("cgroup.procs").exists());
        // Other tests have some, too: those that nobody is in are left over.
        cgroups().iter().filter(|dir| held(dir)).all(|dir| {
            std::fs::read_to_string(dir.join("cgroup.procs")).is_ok_and(|procs| !procs.is_empty())
                || !dir.exists()
        })
    });
    // Nobody holds the store: a sweep does not wait, and finds nothing of them.
    let swept = world.ok(&["gc", "--dry-run"]);
    assert!(!swept.contains("containers/"), "{swept}");
}

/// One container from its start to its removal; gives its id.
fn life(world: &World, worker: usize, round: usize, mark: &str) -> String {
    let name = format!("w{worker}-{round}");
    let mut start = vec!["run", "-d", "--name", &name];
    if round.is_multiple_of(5) {
        start.extend(["--pids-limit", "20"]);
    }
    start.extend(["base", "sleep", mark]);
    let id = world.ok(&start);
    let shown = world.ok(&["ps", "--no-trunc", "--format", "{{.ID}} {{.Names}}"]);
    assert!(shown.lines().any(|line| line == format!("{id} {name}")), "{name} runs, but ps has\n{shown}");
    match round % 3 {
        0 => drop(world.ok(&["stop", "-t", "0", &name])),
        1 => drop(world.ok(&["kill", &name])),
        _ => {}
    }
    let running = world.ok(&["ps", "-q", "--no-trunc"]);
    assert_eq!(running.contains(&id), round % 3 == 2, "{name}: {running}");
    world.ok(&["rm", "-f", &name]);
    id
}

#[test]
fn of_many_who_want_a_name_one_gets_it() {
    let Some(world) = World::root() else { return };
    for _ in 0..5 {
        let codes: Vec<i32> = thread::scope(|scope| {
            let all: Vec<_> = (0..WORKERS)
                .map(|_| scope.spawn(|| world.run(&["create", "--name", "same", "base", "true"]).code))
                .collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
        assert_eq!(world.ok(&["ps", "-a", "--format", "{{.Names}}"]), "same");
        world.ok(&["rm", "same"]);
    }
    assert!(world.traces().iter().all(|path| !path.starts_with(world.store().join("containers"))));
}
