//! The processes of a container as the host sees them: read from `/proc`, which another process may leave at any moment.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::state::ProcessId;
use crate::sys::dir;

/// Ticks a second of the times in `/proc`: USER_HZ, which is 100 on every processor that lith runs on.
pub const TICKS: u64 = 100;

/// One process, from proc_pid_stat(5), proc_pid_status(5) and proc_pid_cmdline(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    pub parent: i32,
    /// The host's number of its effective user.
    pub uid: u32,
    /// What it calls itself, at most 15 bytes.
    pub name: String,
    /// Empty for one that has ended and waits to be reaped.
    pub argv: Vec<Vec<u8>>,
    /// The device number of its terminal; 0 for none.
    pub terminal: u32,
    /// In ticks since the machine began.
    pub start: u64,
    /// Ticks that it used.
    pub used: u64,
    /// Ticks that children used which it has waited for.
    pub used_by_children: u64,
    pub threads: u64,
}

/// The processes of a container, by number: those in the namespace of its first process, and below them those in
/// namespaces of their own. None if the first process is gone.
pub fn of_container(first: ProcessId) -> io::Result<Vec<Process>> {
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid"));
    let own = match namespace(first.pid) {
        Err(error) if gone(&error) => return Ok(vec![]),
        own => own?,
    };
    if ProcessId::of(first.pid) != Some(first) {
        return Ok(vec![]);
    }
    let (mut inside, mut others): (Vec<Process>, Vec<Process>) =
        all()?.into_iter().partition(|process| namespace(process.pid).is_ok_and(|space| space == own));
    let mut known: BTreeSet<i32> = inside.iter().map(|process| process.pid).collect();
    loop {
        let (below, rest): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|process| known.contains(&process.parent));
        if below.is_empty() {
            break;
        }
        known.extend(below.iter().map(|process| process.pid));
        inside.extend(below);
        others = rest;
    }
    inside.sort_by_key(|process| process.pid);
    Ok(inside)
}

fn all() -> io::Result<Vec<Process>> {
    let entries = dir::list_path(Path::new("/proc"))?;
    let numbers = entries.iter().filter_map(|entry| std::str::from_utf8(&entry.name).ok()?.parse().ok());
    Ok(numbers.filter_map(read).collect())
}

/// Whether a process ended while it was looked at.
fn gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// A process, if it is still there.
fn read(pid: i32) -> Option<Process> {
    let dir = PathBuf::from(format!("/proc/{pid}"));
    let stat = fs::read(dir.join("stat")).ok()?;
    let status = fs::read(dir.join("status")).ok()?;
    let cmdline = fs::read(dir.join("cmdline")).ok()?;
    parse(pid, &String::from_utf8_lossy(&stat), &String::from_utf8_lossy(&status), &cmdline)
}

fn parse(pid: i32, stat: &str, status: &str, cmdline: &[u8]) -> Option<Process> {
    // The second field is a name in parentheses, which may hold anything.
    let (before, after) = stat.rsplit_once(')')?;
    let name = before.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = after.split_whitespace().collect();
    // The first of them is field 3 of the page.
    let number = |field: usize| fields.get(field - 3)?.parse::<i64>().ok();
    let count = |field: usize| number(field).map(|value| u64::try_from(value).unwrap_or(0));
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let words = cmdline.strip_suffix(&[0]).unwrap_or(cmdline);
    Some(Process {
        pid,
        parent: i32::try_from(number(4)?).ok()?,
        uid: uids.split_whitespace().nth(1)?.parse().ok()?,
        name,
        argv: if words.is_empty() { vec![] } else { words.split(|b| *b == 0).map(<[u8]>::to_vec).collect() },
        terminal: u32::try_from(number(7)?).unwrap_or(0),
        start: count(22)?,
        used: count(14)? + count(15)?,
        used_by_children: count(16)? + count(17)?,
        threads: count(20)?,
    })
}

/// Seconds that the machine has been up.
pub fn uptime() -> io::Result<f64> {
    let text = fs::read_to_string("/proc/uptime")?;
    let seconds = text.split_whitespace().next().and_then(|seconds| seconds.parse().ok());
    seconds.ok_or_else(|| io::Error::other("/proc/uptime does not begin with a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "42 (a) b (c) S 7 42 42 34816 42 4194304 1 2 3 4 11 22 33 44 20 0 5 0 123456 1 2 3\n";

    #[test]
    fn a_process_is_what_its_files_say() {
        let process = parse(42, STAT, "Name:\tx\nUid:\t1\t1000\t2\t3\n", b"sh\0-c\0\0").unwrap();
        let wanted = Process {
            pid: 42,
            parent: 7,
            uid: 1000,
            name: "a) b (c".into(),
            argv: vec![b"sh".to_vec(), b"-c".to_vec(), vec![]],
            terminal: 34816,
            start: 123_456,
            used: 33,
            used_by_children: 77,
            threads: 5,
        };
        assert_eq!(process, wanted);
        assert_eq!(parse(42, STAT, "Uid:\t1\t1000\t2\t3\n", b"").unwrap().argv, [b""; 0]);
        assert!(parse(42, "42 (sh) S 7", "Uid:\t1\t1\t1\t1\n", b"").is_none());
        assert!(parse(42, STAT, "Name:\tx\n", b"").is_none());
    }

    #[test]
    fn this_process_is_there() {
        let own = i32::try_from(std::process::id()).unwrap();
        let first = ProcessId::of(own).unwrap();
        let found = of_container(first).unwrap();
        let this = found.iter().find(|process| process.pid == own).unwrap();
        assert_eq!(this.start, first.start);
        assert!(of_container(ProcessId { start: first.start + 1, ..first }).unwrap().is_empty());
    }
}
