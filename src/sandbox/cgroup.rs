//! A cgroup of its own for one sandbox: made before its processes, removed after them.
//!
//! Both hierarchies are known: the unified one (Documentation/admin-guide/cgroup-v2.rst) and one for each controller
//! (Documentation/admin-guide/cgroup-v1), as the machine has them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::limits::{Amount, GroupLimits, Reached};
use crate::sys::dir;
use crate::sys::file::{Lock, unique_name};

use super::hierarchy::{Hierarchy, Version, find, find_of};

/// How the names of our cgroups begin.
const PREFIX: &str = "lith-";
/// Where they are made on a unified hierarchy: a cgroup with processes may not have any below it that are limited.
const UNIFIED_PARENT: &str = "lith";

/// How often is looked whether processes have left a cgroup, and the pause in between.
const TRIES: u32 = 400;
const PAUSE: Duration = Duration::from_millis(5);

/// Those that limits take.
const CONTROLLERS: [&str; 4] = ["memory", "pids", "cpu", "cpuset"];

/// Why limits cannot be set here.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    #[error("{option} needs the cgroup controller {controller}, which this machine does not offer here")]
    NoController { option: &'static str, controller: &'static str },
    #[error(
        "{option} needs a cgroup: cannot {act} {}: {source}; run as root, or name a cgroup that was delegated to you \
         with --cgroup-parent",
        .path.display()
    )]
    Refused { option: &'static str, act: &'static str, path: PathBuf, source: io::Error },
}

/// One thing to write.
#[derive(Debug, PartialEq, Eq)]
struct Setting {
    option: &'static str,
    controller: &'static str,
    file: &'static str,
    value: String,
}

/// A cgroup in every hierarchy that has a part of the limits. Dropping it removes it; nothing may be in it then.
#[derive(Debug)]
pub(super) struct Cgroup {
    parts: Vec<Part>,
}

/// One directory.
#[derive(Debug)]
struct Part {
    dir: PathBuf,
    version: Version,
    controllers: Vec<&'static str>,
    /// Tells others that it is in use, and ends with this process however that ends.
    _lock: Lock,
}

impl Cgroup {
    /// Makes it and sets the limits; `None` if there are none.
    pub(super) fn make(limits: &GroupLimits) -> Result<Option<Self>, CgroupError> {
        let mut cgroup = Self { parts: Vec::new() };
        for (option, controller) in wanted(limits) {
            let hierarchy = find(controller).ok_or(CgroupError::NoController { option, controller })?;
            let settings = settings(limits, hierarchy.version).into_iter();
            let settings: Vec<Setting> = settings.filter(|s| s.controller == controller).collect();
            let part = cgroup.part(&hierarchy, limits, option, controller)?;
            for Setting { option, file, value, .. } in settings {
                write(option, &part.dir.join(file), &value)?;
            }
        }
        Ok((!cgroup.parts.is_empty()).then_some(cgroup))
    }

    /// The directory that a controller is in; several may share one.
    fn part(
        &mut self,
        hierarchy: &Hierarchy,
        limits: &GroupLimits,
        option: &'static str,
        controller: &'static str,
    ) -> Result<&Part, CgroupError> {
        let parent = parent(hierarchy, limits);
        let at = self.parts.iter().position(|part| part.dir.parent() == Some(&parent));
        let at = match at {
            Some(at) => at,
            None => {
                self.parts.push(Part::make(hierarchy, &parent, option)?);
                self.parts.len() - 1
            }
        };
        let part = &mut self.parts[at];
        match hierarchy.version {
            Version::Unified => enable(&hierarchy.mount, &parent, option, controller)?,
            Version::Single if controller == "cpuset" => inherit(&hierarchy.mount, &part.dir, option)?,
            Version::Single => {}
        }
        part.controllers.push(controller);
        Ok(part)
    }

    /// Moves a process into it, and whatever it starts from now on.
    pub(super) fn take(&self, process: i32) -> Result<(), CgroupError> {
        for part in &self.parts {
            write("a limit", &part.dir.join("cgroup.procs"), &process.to_string())?;
        }
        Ok(())
    }

    /// Moves a process to where another one is, if that is a cgroup of ours: limits of a sandbox hold for who enters it.
    pub(super) fn share(with: i32, process: i32) -> Result<(), CgroupError> {
        for controller in CONTROLLERS {
            let Some(Hierarchy { own, .. }) = find_of(with, controller) else { continue };
            let name = own.file_name().unwrap_or_default();
            if name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
                write("a limit", &own.join("cgroup.procs"), &process.to_string())?;
            }
        }
        Ok(())
    }

    /// Where it is.
    pub(super) fn directories(&self) -> Vec<PathBuf> {
        self.parts.iter().map(|part| part.dir.clone()).collect()
    }

    /// Which limits its processes ran into so far.
    pub(super) fn reached(&self) -> Vec<Reached> {
        let counted = |part: &Part, controller: &str, file: &str, key: &str| {
            part.controllers.contains(&controller)
                && fs::read_to_string(part.dir.join(file)).is_ok_and(|text| count(&text, key) > 0)
        };
        let mut reached = Vec::new();
        for part in &self.parts {
            let memory = match part.version {
                Version::Unified => "memory.events",
                Version::Single => "memory.oom_control",
            };
            if counted(part, "memory", memory, "oom_kill") {
                reached.push(Reached::Memory);
            }
            if counted(part, "pids", "pids.events", "max") {
                reached.push(Reached::Processes);
            }
        }
        reached
    }
}

impl Part {
    fn make(hierarchy: &Hierarchy, parent: &Path, option: &'static str) -> Result<Self, CgroupError> {
        let refused = |act, path: &Path| {
            let path = path.to_owned();
            move |source| CgroupError::Refused { option, act, path, source }
        };
        fs::create_dir_all(parent).map_err(refused("make", parent))?;
        // One at a time: between its making and its locking a cgroup looks like one that was left behind.
        let _alone = Lock::directory(parent).map_err(refused("lock", parent))?;
        sweep(parent);
        let dir = parent.join(format!("{PREFIX}{}", unique_name()));
        fs::create_dir(&dir).map_err(refused("make", &dir))?;
        let lock = Lock::directory(&dir).map_err(refused("lock", &dir))?;
        Ok(Self { dir, version: hierarchy.version, controllers: Vec::new(), _lock: lock })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        remove(&self.dir);
    }
}

/// Removes a cgroup whose processes have ended or are about to: they leave it a moment later. One that they do not leave
/// is removed by the next sweep.
pub fn remove(dir: &Path) {
    for _ in 0..TRIES {
        match fs::remove_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => std::thread::sleep(PAUSE),
            Ok(()) | Err(_) => return,
        }
    }
}

/// Removes what a killed process left.
fn sweep(parent: &Path) {
    let Ok(entries) = dir::list_path(parent) else { return };
    for entry in entries.iter().filter(|entry| entry.name.starts_with(PREFIX.as_bytes())) {
        let dir = parent.join(String::from_utf8_lossy(&entry.name).as_ref());
        if let Ok(Some(_)) = Lock::attempt_directory(&dir) {
            let _ = fs::remove_dir(&dir);
        }
    }
}

/// The cgroup below which ours are made.
fn parent(hierarchy: &Hierarchy, limits: &GroupLimits) -> PathBuf {
    match (&limits.parent, hierarchy.version) {
        (Some(parent), _) => hierarchy.mount.join(parent),
        (None, Version::Unified) => hierarchy.mount.join(UNIFIED_PARENT),
        // Below our own, so that limits on us hold for steps.
        (None, Version::Single) => hierarchy.own.clone(),
    }
}

/// Makes a controller available below each cgroup from the root down to `parent`.
fn enable(
    mount: &Path,
    parent: &Path,
    option: &'static str,
    controller: &'static str,
) -> Result<(), CgroupError> {
    let mut above: Vec<&Path> = parent.ancestors().take_while(|dir| dir.starts_with(mount)).collect();
    above.reverse();
    for dir in above {
        let file = dir.join("cgroup.subtree_control");
        let enabled = fs::read_to_string(&file).unwrap_or_default();
        if !enabled.split_whitespace().any(|name| name == controller) {
            write(option, &file, &format!("+{controller}"))?;
        }
    }
    Ok(())
}

/// A new cpuset of the old kind is empty, and nothing may run in it: it gets its parent's, from the root down.
fn inherit(mount: &Path, dir: &Path, option: &'static str) -> Result<(), CgroupError> {
    let mut below: Vec<&Path> = dir.ancestors().take_while(|dir| dir.starts_with(mount)).collect();
    below.reverse();
    for pair in below.windows(2) {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let (from, to) = (pair[0].join(file), pair[1].join(file));
            let own = fs::read_to_string(&to).unwrap_or_default();
            if own.trim().is_empty() {
                let value = fs::read_to_string(&from).unwrap_or_default();
                write(option, &to, value.trim())?;
            }
        }
    }
    Ok(())
}

fn write(option: &'static str, path: &Path, value: &str) -> Result<(), CgroupError> {
    let refused = |source| CgroupError::Refused { option, act: "write to", path: path.to_owned(), source };
    let mut file = fs::OpenOptions::new().write(true).open(path).map_err(refused)?;
    io::Write::write_all(&mut file, value.as_bytes()).map_err(refused)
}

/// The number that follows a key in a flat-keyed file.
fn count(text: &str, key: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// Which controllers the limits take, with an option that says so.
fn wanted(limits: &GroupLimits) -> Vec<(&'static str, &'static str)> {
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    for setting in settings(limits, Version::Unified) {
        if !wanted.iter().any(|(_, controller)| *controller == setting.controller) {
            wanted.push((setting.option, setting.controller));
        }
    }
    wanted
}

/// What to write, in order.
fn settings(limits: &GroupLimits, version: Version) -> Vec<Setting> {
    let mut all = Vec::new();
    let mut add = |option, controller, file, value: String| {
        all.push(Setting { option, controller, file, value });
    };
    let unified = version == Version::Unified;
    if let Some(memory) = limits.memory {
        let file = if unified { "memory.max" } else { "memory.limit_in_bytes" };
        add("--memory", "memory", file, memory.to_string());
        match (limits.memory_swap, unified) {
            (Some(Amount::AtMost(both)), true) => {
                add("--memory-swap", "memory", "memory.swap.max", both.saturating_sub(memory).to_string());
            }
            (Some(Amount::AtMost(both)), false) => {
                add("--memory-swap", "memory", "memory.memsw.limit_in_bytes", both.to_string());
            }
            (Some(Amount::Unlimited) | None, _) => {}
        }
    }
    if let Some(processes) = limits.processes {
        add("--pids-limit", "pids", "pids.max", processes.to_string());
    }
    if let Some(time) = limits.cpu.time {
        if unified {
            add("--cpus", "cpu", "cpu.max", format!("{} {}", time.quota, time.period));
        } else {
            add("--cpus", "cpu", "cpu.cfs_period_us", time.period.to_string());
            add("--cpus", "cpu", "cpu.cfs_quota_us", time.quota.to_string());
        }
    }
    if let Some(shares) = limits.cpu.shares {
        match unified {
            true => add("--cpu-shares", "cpu", "cpu.weight", weight(shares).to_string()),
            false => add("--cpu-shares", "cpu", "cpu.shares", shares.to_string()),
        }
    }
    if let Some(set) = &limits.cpu.set {
        add("--cpuset-cpus", "cpuset", "cpuset.cpus", set.clone());
    }
    all
}

/// Shares of 2 to 262144 as a weight of 1 to 10000, as the OCI runtimes convert them.
fn weight(shares: u64) -> u64 {
    1 + (shares.saturating_sub(2) * 9999) / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{CpuLimits, CpuTime};

    fn limits() -> GroupLimits {
        GroupLimits {
            memory: Some(100),
            memory_swap: Some(Amount::AtMost(150)),
            processes: Some(7),
            cpu: CpuLimits {
                time: Some(CpuTime { quota: 50_000, period: 100_000 }),
                shares: Some(1024),
                set: Some("0-1".into()),
            },
            parent: None,
        }
    }

    #[test]
    fn both_hierarchies_are_told_the_same() {
        let written = |version| -> Vec<String> {
            settings(&limits(), version).iter().map(|s| format!("{}={}", s.file, s.value)).collect()
        };
        assert_eq!(
            written(Version::Unified),
            [
                "memory.max=100",
                "memory.swap.max=50",
                "pids.max=7",
                "cpu.max=50000 100000",
                "cpu.weight=39",
                "cpuset.cpus=0-1"
            ]
        );
        assert_eq!(
            written(Version::Single),
            [
                "memory.limit_in_bytes=100",
                "memory.memsw.limit_in_bytes=150",
                "pids.max=7",
                "cpu.cfs_period_us=100000",
                "cpu.cfs_quota_us=50000",
                "cpu.shares=1024",
                "cpuset.cpus=0-1"
            ]
        );
        assert_eq!(
            wanted(&limits()),
            [
                ("--memory", "memory"),
                ("--pids-limit", "pids"),
                ("--cpus", "cpu"),
                ("--cpuset-cpus", "cpuset")
            ]
        );
        assert!(wanted(&GroupLimits::default()).is_empty());
    }

    #[test]
    fn shares_span_the_weights() {
        assert_eq!((weight(2), weight(262_144)), (1, 10_000));
    }

    #[test]
    fn a_count_stands_behind_its_key() {
        assert_eq!(count("oom 3\noom_kill 2\n", "oom_kill"), 2);
        assert_eq!(count("oom_kill_disable 1\noom_kill 0\n", "oom_kill"), 0);
        assert_eq!(count("", "max"), 0);
    }
}
