//! `lith logs`.

use std::path::Path;
use std::time::Duration;

use clap::Args;

use super::containers;
use crate::cli::session::Need;
use crate::cli::{CliError, out};
use crate::container::log::{self, Line, Name, Reader};
use crate::container::{Client, clock, find, rfc3339};
use crate::store::{ContainerId, Containers};

/// How often a log that is followed is looked at.
const PAUSE: Duration = Duration::from_millis(50);

/// Arguments of `lith logs`.
#[derive(Debug, Args)]
pub struct Logs {
    /// Go on until the program ends
    #[arg(short, long)]
    follow: bool,
    /// Say when each line was written
    #[arg(short, long)]
    timestamps: bool,
    /// Only what was written since: a time as 2026-01-31T12:00:00Z, seconds since 1970, or so long ago as 10m
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only what was written until then
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only the last so many lines
    #[arg(short = 'n', long, value_name = "N|all", default_value = "all")]
    tail: String,
    /// A name or an id
    container: String,
}

impl Logs {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let (session, all) = containers(root, Need::Store)?;
        drop(session);
        let container = find(&all, &self.container)?;
        let bounds = Bounds {
            since: self.since.as_deref().map(|text| time("--since", text)).transpose()?,
            until: self.until.as_deref().map(|text| time("--until", text)).transpose()?,
        };
        let tail = match self.tail.as_str() {
            "all" => None,
            number => Some(number.parse::<usize>().map_err(|_| {
                CliError::Usage(format!("--tail {number}: expected a number of lines, or all"))
            })?),
        };
        self.print(&all, &container.id, &bounds, tail)
    }

    fn print(
        &self,
        all: &Containers,
        id: &ContainerId,
        bounds: &Bounds,
        tail: Option<usize>,
    ) -> Result<(), CliError> {
        let path = log::path(all, id);
        let failed = || CliError::io(format!("read {}", path.display()));
        // Connected before the log is read to its end, so that no last line is missed.
        let mut client = if self.follow { Client::connect(all, id).ok() } else { None };
        let mut reader = Reader::open(&path).map_err(failed())?;
        let mut before = std::collections::VecDeque::new();
        while let Some(line) = next(&mut reader, &path).map_err(failed())? {
            if !bounds.hold(&line) {
                continue;
            }
            before.push_back(line);
            if tail.is_some_and(|tail| before.len() > tail) {
                before.pop_front();
            }
            if tail.is_none() && !before.drain(..).all(|line| self.show(&line)) {
                return Ok(());
            }
        }
        if !before.iter().all(|line| self.show(line)) {
            return Ok(());
        }
        while let Some(running) = &mut client {
            // Its end says that the log is whole.
            let ended = !matches!(running.end(Some(PAUSE)), Err(error) if error.kind() == std::io::ErrorKind::TimedOut);
            while let Some(line) = next(&mut reader, &path).map_err(failed())? {
                if bounds.hold(&line) && !self.show(&line) {
                    return Ok(());
                }
            }
            if ended {
                client = None;
            }
        }
        Ok(())
    }

    /// Prints a line. False if nobody reads them any more.
    fn show(&self, line: &Line) -> bool {
        let mut bytes = Vec::new();
        if self.timestamps {
            bytes.extend_from_slice(format!("{} ", line.time).as_bytes());
        }
        bytes.extend(line.bytes());
        match line.stream {
            Name::Stdout => out::bytes_while_read(&bytes),
            Name::Stderr => {
                out::err_bytes(&bytes);
                true
            }
        }
    }
}

/// The next line; the log may be there only later.
fn next(reader: &mut Option<Reader>, path: &Path) -> std::io::Result<Option<Line>> {
    if reader.is_none() {
        *reader = Reader::open(path)?;
    }
    reader.as_mut().map_or(Ok(None), Reader::next_line)
}

/// Times as RFC 3339 in UTC with nanoseconds, so that they are ordered as texts.
struct Bounds {
    since: Option<String>,
    until: Option<String>,
}

impl Bounds {
    fn hold(&self, line: &Line) -> bool {
        self.since.as_ref().is_none_or(|since| line.time >= *since)
            && self.until.as_ref().is_none_or(|until| line.time <= *until)
    }
}

fn time(option: &str, text: &str) -> Result<String, CliError> {
    let wrong = || {
        CliError::Usage(format!(
            "{option} {text}: expected a time as 2026-01-31T12:00:00Z, seconds since 1970, or so long ago as 10m or 1h30m"
        ))
    };
    if let Ok(stamp) = text.parse::<jiff::Timestamp>() {
        return Ok(rfc3339(stamp));
    }
    let after_1970 = text.parse::<f64>().ok().and_then(|s| jiff::SignedDuration::try_from_secs_f64(s).ok());
    if let Some(seconds) = after_1970 {
        return jiff::Timestamp::UNIX_EPOCH.checked_add(seconds).map(rfc3339).map_err(|_| wrong());
    }
    let ago: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    clock().checked_sub(ago).map(rfc3339).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(time("--since", "2026-01-31T12:00:00Z").unwrap(), "2026-01-31T12:00:00.000000000Z");
        assert_eq!(time("--since", "2026-01-31T12:00:00.5+02:00").unwrap(), "2026-01-31T10:00:00.500000000Z");
        assert_eq!(time("--since", "1.5").unwrap(), "1970-01-01T00:00:01.500000000Z");
        assert!(time("--since", "1h30m").unwrap() < rfc3339(clock()));
        assert!(time("--since", "yesterday").is_err());
    }
}
