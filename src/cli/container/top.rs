//! `lith top`.

use std::path::Path;
use std::time::Duration;

use clap::Args;

use super::containers;
use crate::cli::session::Need;
use crate::cli::{CliError, out};
use crate::container::processes::{self, Process, TICKS};
use crate::container::{ContainerError, clock, find};

/// Arguments of `lith top`.
#[derive(Debug, Args)]
pub struct Top {
    /// A name or an id
    container: String,
}

/// As `ps -ef` has it, and docker.
const HEAD: [&str; 8] = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];

impl Top {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let (session, all) = containers(root, Need::Store)?;
        drop(session);
        let container = find(&all, &self.container)?;
        let not_running = || ContainerError::NotRunning { name: container.name.clone() };
        let first = container.state.process.ok_or_else(not_running)?;
        let failed = || CliError::io("list the processes of the container");
        let found = processes::of_container(first).map_err(failed())?;
        if found.is_empty() {
            return Err(not_running().into());
        }
        let now = Now { uptime: processes::uptime().map_err(failed())?, time: clock() };
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let rows = found.iter().map(|process| now.row(process, &users));
        let head = HEAD.map(str::to_owned).to_vec();
        out::print(&out::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>()));
        Ok(())
    }
}

/// The moment that ages are counted from.
struct Now {
    /// Seconds since the machine began.
    uptime: f64,
    time: jiff::Timestamp,
}

impl Now {
    fn row(&self, process: &Process, users: &str) -> Vec<String> {
        let age = (self.uptime - ticks(process.start).as_secs_f64()).max(0.0);
        vec![
            user(process.uid, users),
            process.pid.to_string(),
            process.parent.to_string(),
            share(ticks(process.used).as_secs_f64(), age).to_string(),
            self.began(age),
            terminal(process.terminal),
            time(ticks(process.used)),
            command(process),
        ]
    }

    /// The time of day in UTC; of what is older than a day the date.
    fn began(&self, age: f64) -> String {
        let age = jiff::SignedDuration::try_from_secs_f64(age).unwrap_or_default();
        let began = self.time.checked_sub(age).unwrap_or(self.time);
        let form = if age.as_secs() < 86_400 { "%H:%M" } else { "%b%d" };
        began.strftime(form).to_string()
    }
}

fn ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 1000 / TICKS)
}

/// Percent of its life that a process computed, at most 99.
fn share(used: f64, age: f64) -> u32 {
    let percent = if age > 0.0 { used * 100.0 / age } else { 0.0 };
    (0..=99).rev().find(|whole| f64::from(*whole) <= percent).unwrap_or(0)
}

/// The host's name of a user, or the number.
fn user(uid: u32, users: &str) -> String {
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| uid.to_string())
}

/// The name of a terminal by its device number (admin-guide/devices.txt).
fn terminal(device: u32) -> String {
    let device = u64::from(device);
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    match major {
        0 => "?".into(),
        4 if minor < 64 => format!("tty{minor}"),
        4 => format!("ttyS{}", minor - 64),
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        _ => format!("{major}:{minor}"),
    }
}

fn time(used: Duration) -> String {
    let seconds = used.as_secs();
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn command(process: &Process) -> String {
    if process.argv.is_empty() {
        return format!("[{}]", crate::diag::escape(process.name.as_bytes()));
    }
    crate::diag::escape(&process.argv.join(&b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_that_of_ps() {
        let process = Process {
            pid: 42,
            parent: 7,
            uid: 1000,
            name: "sh".into(),
            argv: vec![b"sh".to_vec(), b"-c".to_vec(), b"a\nb".to_vec()],
            terminal: 136 << 8 | 3,
            start: 10_000,
            used: 366_100,
            used_by_children: 1,
            threads: 1,
        };
        let now = Now { uptime: 10_100.0, time: "2026-01-31T12:34:56Z".parse().unwrap() };
        let users = "root:x:0:0::/:/bin/sh\nada:x:1000:1000::/:/bin/sh\n";
        assert_eq!(
            now.row(&process, users),
            ["ada", "42", "7", "36", "09:48", "pts/3", "01:01:01", "sh -c a\\nb"]
        );
        let old = Now { uptime: 200_100.0, ..now };
        assert_eq!(old.row(&process, "")[..5], ["1000", "42", "7", "1", "Jan29"]);
        let ended = Process { argv: vec![], terminal: 0, ..process };
        assert_eq!(old.row(&ended, "")[5..], ["?", "01:01:01", "[sh]"]);
        assert_eq!([1024 + 1, 1024 + 64, 5 << 8].map(terminal), ["tty1", "ttyS0", "5:0"]);
    }
}
