//! What a container uses: each figure from its own cgroups where they have it, of either version, else summed over its
//! processes. Read only.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::processes::{self, Process, TICKS};
use super::state::State;

/// Figures of one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    /// Since the container was started.
    pub cpu: Duration,
    /// Bytes: without page cache that could go at once.
    pub memory: u64,
    /// Bytes: its limit, else what the machine has.
    pub memory_limit: u64,
    /// Processes and their threads.
    pub processes: u64,
    /// Bytes read from and written to devices, where that is told.
    pub block: Option<(u64, u64)>,
}

/// What a running container uses; `None` if it does not run.
pub fn of(state: &State) -> io::Result<Option<Usage>> {
    let Some(first) = state.process else { return Ok(None) };
    let all = processes::of_container(first)?;
    if all.is_empty() {
        return Ok(None);
    }
    let groups = Groups(&state.cgroups);
    let machine = machine_memory()?;
    Ok(Some(Usage {
        cpu: groups.cpu().unwrap_or_else(|| cpu(&all)),
        memory: groups.memory().unwrap_or_else(|| all.iter().map(|process| memory(process.pid)).sum()),
        memory_limit: groups.memory_limit().map_or(machine, |limit| limit.min(machine)),
        processes: groups.processes().unwrap_or_else(|| all.iter().map(|process| process.threads).sum()),
        block: groups.block().or_else(|| block(&all)),
    }))
}

/// Directories of a container's cgroup, one for each hierarchy that has a part of it. What a directory has no file for is
/// counted elsewhere, or not at all.
struct Groups<'a>(&'a [PathBuf]);

impl Groups<'_> {
    fn read(&self, file: &str) -> Option<String> {
        self.0.iter().find_map(|dir| fs::read_to_string(dir.join(file)).ok())
    }

    fn number(&self, file: &str) -> Option<u64> {
        self.read(file)?.trim().parse().ok()
    }

    fn cpu(&self) -> Option<Duration> {
        let unified = self.read("cpu.stat").and_then(|text| keyed(&text, "usage_usec"));
        let nanos = || self.number("cpuacct.usage").map(Duration::from_nanos);
        unified.map(Duration::from_micros).or_else(nanos)
    }

    fn memory(&self) -> Option<u64> {
        let (all, idle) = match self.number("memory.current") {
            Some(all) => (all, "inactive_file"),
            None => (self.number("memory.usage_in_bytes")?, "total_inactive_file"),
        };
        let idle = self.read("memory.stat").and_then(|text| keyed(&text, idle)).unwrap_or(0);
        Some(all.saturating_sub(idle))
    }

    /// A limit that is none is the word `max`, or more than any machine has.
    fn memory_limit(&self) -> Option<u64> {
        self.number("memory.max").or_else(|| self.number("memory.limit_in_bytes"))
    }

    fn processes(&self) -> Option<u64> {
        self.number("pids.current")
    }

    fn block(&self) -> Option<(u64, u64)> {
        if let Some(text) = self.read("io.stat") {
            return Some((summed(&text, "rbytes="), summed(&text, "wbytes=")));
        }
        let text = self.read("blkio.throttle.io_service_bytes")?;
        // "8:0 Read 4096", and at the end "Total 8192".
        let of = |kind: &str| {
            let values =
                text.lines().filter_map(|line| line.split_once(&format!(" {kind} "))?.1.parse::<u64>().ok());
            values.sum()
        };
        Some((of("Read"), of("Write")))
    }
}

/// The number behind a key at the beginning of a line.
fn keyed(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix([' ', ':']))?;
    value.split_whitespace().next()?.parse().ok()
}

/// The sum of all numbers behind a key.
fn summed(text: &str, key: &str) -> u64 {
    text.split_whitespace().filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok()).sum()
}

/// What children used counts once their parent has waited for them; what was used by a process that nobody waited for is
/// lost.
fn cpu(all: &[Process]) -> Duration {
    let ticks: u64 = all.iter().map(|process| process.used + process.used_by_children).sum();
    Duration::from_millis(ticks * 1000 / TICKS)
}

/// A process' share of memory: pages that several have count for each in part. Where that is not told, its resident pages.
fn memory(pid: i32) -> u64 {
    let kib = |file: &str, key: &str| {
        fs::read_to_string(format!("/proc/{pid}/{file}")).ok().and_then(|text| keyed(&text, key))
    };
    kib("smaps_rollup", "Pss").or_else(|| kib("status", "VmRSS")).unwrap_or(0) * 1024
}

fn block(all: &[Process]) -> Option<(u64, u64)> {
    let texts: Vec<String> =
        all.iter().filter_map(|p| fs::read_to_string(format!("/proc/{}/io", p.pid)).ok()).collect();
    let sum = |key: &str| texts.iter().filter_map(|text| keyed(text, key)).sum();
    (!texts.is_empty()).then(|| (sum("read_bytes"), sum("write_bytes")))
}

fn machine_memory() -> io::Result<u64> {
    let text = fs::read_to_string(Path::new("/proc/meminfo"))?;
    keyed(&text, "MemTotal")
        .map(|kib| kib * 1024)
        .ok_or_else(|| io::Error::other("/proc/meminfo has no MemTotal"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Directories with files of cgroups.
    fn groups(files: &[(&str, &str)]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let dir = tempfile::tempdir().unwrap();
        let mut dirs = Vec::new();
        for (path, text) in files {
            let path = dir.path().join(path);
            let parent = path.parent().unwrap().to_owned();
            fs::create_dir_all(&parent).unwrap();
            fs::write(&path, text).unwrap();
            if !dirs.contains(&parent) {
                dirs.push(parent);
            }
        }
        (dir, dirs)
    }

    #[test]
    fn a_unified_hierarchy() {
        let (_dir, dirs) = groups(&[
            ("a/cpu.stat", "usage_usec 1500000\nuser_usec 1\n"),
            ("a/memory.current", "1000\n"),
            ("a/memory.stat", "anon 5\nfile 7\ninactive_file_extra 9\ninactive_file 300\n"),
            ("a/memory.max", "2048\n"),
            ("a/pids.current", "3\n"),
            ("a/io.stat", "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=2\n"),
        ]);
        let groups = Groups(&dirs);
        assert_eq!(groups.cpu(), Some(Duration::from_millis(1500)));
        assert_eq!((groups.memory(), groups.memory_limit()), (Some(700), Some(2048)));
        assert_eq!((groups.processes(), groups.block()), (Some(3), Some((11, 22))));
        fs::write(dirs[0].join("memory.max"), "max\n").unwrap();
        assert_eq!(groups.memory_limit(), None);
    }

    #[test]
    fn hierarchies_of_their_own() {
        let blkio = "8:0 Read 4096\n8:0 Write 10\n8:0 Sync 0\n8:16 Read 4\n8:0 Total 4106\nTotal 4110\n";
        let (_dir, dirs) = groups(&[
            ("cpu/cpuacct.usage", "2000000000\n"),
            ("memory/memory.usage_in_bytes", "1000\n"),
            ("memory/memory.stat", "inactive_file 1\ntotal_inactive_file 400\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("pids/pids.current", "7\n"),
            ("blkio/blkio.throttle.io_service_bytes", blkio),
        ]);
        let groups = Groups(&dirs);
        assert_eq!(groups.cpu(), Some(Duration::from_secs(2)));
        assert_eq!(groups.memory(), Some(600));
        assert_eq!((groups.processes(), groups.block()), (Some(7), Some((4100, 10))));
        assert_eq!(groups.memory_limit(), Some(9_223_372_036_854_771_712));
        let none = Groups(&[]);
        assert_eq!((none.cpu(), none.memory(), none.processes(), none.block()), (None, None, None, None));
    }

    #[test]
    fn a_machine_has_memory() {
        assert!(machine_memory().unwrap() > 1 << 20);
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(memory(own) > 1 << 12);
    }
}
