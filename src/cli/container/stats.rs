//! `lith stats`.

use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::containers;
use crate::cli::session::Need;
use crate::cli::template::{Listing, Template};
use crate::cli::{CliError, out};
use crate::container::usage::{self, Usage};
use crate::container::{Container, ContainerError, Status, find, list};
use crate::store::{ContainerId, Containers};

/// How often figures are taken: those of CPU time are a difference.
const PERIOD: Duration = Duration::from_secs(1);

/// Arguments of `lith stats`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lith stats\n  lith stats --no-stream --format '{{.Name}}: {{.MemUsage}}' web"
)]
pub struct Stats {
    /// Also containers that do not run
    #[arg(short, long)]
    all: bool,
    /// Print once and end
    #[arg(long)]
    no_stream: bool,
    /// Full ids
    #[arg(long)]
    no_trunc: bool,
    /// table, json, or a template as '{{.Name}} {{.CPUPerc}}'
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Template,
    /// Names or ids [default: all that run]
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// One line, in docker's words.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    container: String,
    #[serde(rename = "ID")]
    id: String,
    name: String,
    #[serde(rename = "CPUPerc")]
    cpu: String,
    #[serde(rename = "MemUsage")]
    memory: String,
    #[serde(rename = "MemPerc")]
    memory_share: String,
    /// A container has the host's network, or loopback alone: nothing is counted for it.
    #[serde(rename = "NetIO")]
    network: &'static str,
    #[serde(rename = "BlockIO")]
    block: String,
    #[serde(rename = "PIDs")]
    processes: String,
}

const COLUMNS: [(&str, &str); 7] = [
    ("CONTAINER ID", "ID"),
    ("NAME", "Name"),
    ("CPU %", "CPUPerc"),
    ("MEM USAGE / LIMIT", "MemUsage"),
    ("MEM %", "MemPerc"),
    ("BLOCK I/O", "BlockIO"),
    ("PIDS", "PIDs"),
];

/// Figures of one container at one moment.
#[derive(Debug, Clone)]
struct Sample {
    id: ContainerId,
    time: Instant,
    usage: Option<Usage>,
}

impl Stats {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let (session, all) = containers(root, Need::Store)?;
        // It may go on for days, and gc is not to wait for that.
        drop(session);
        let redraw = io::stdout().is_terminal() && !self.no_stream;
        let mut before = samples(&self.wanted(&all)?)?;
        loop {
            std::thread::sleep(PERIOD);
            let wanted = self.wanted(&all)?;
            let now = samples(&wanted)?;
            let rows: Vec<Row> = wanted
                .iter()
                .zip(&now)
                .map(|(container, sample)| self.row(container, sample, &before))
                .collect();
            let text = Listing { columns: &COLUMNS, rows: &rows }.render(&self.format)?;
            let reads_on = out::print_while_read(&if redraw { over(&text) } else { text });
            if self.no_stream || !reads_on {
                return Ok(());
            }
            before = now;
        }
    }

    fn wanted(&self, all: &Containers) -> Result<Vec<Container>, ContainerError> {
        if !self.containers.is_empty() {
            return self.containers.iter().map(|name| find(all, name)).collect();
        }
        let mut found = list(all, |_| ())?;
        found.retain(|container| self.all || container.state.status == Status::Running);
        found.reverse();
        Ok(found)
    }

    fn row(&self, container: &Container, now: &Sample, before: &[Sample]) -> Row {
        let id = if self.no_trunc { container.id.as_str() } else { container.id.short() };
        let before = before.iter().find(|sample| sample.id == now.id);
        let usage = now.usage.clone().unwrap_or_default();
        let block = match (&now.usage, usage.block) {
            (Some(_), None) => "-- / --".into(),
            (None, _) => "0B / 0B".into(),
            (_, Some((read, written))) => format!("{} / {}", out::size(read), out::size(written)),
        };
        Row {
            container: id.to_owned(),
            id: id.to_owned(),
            name: container.name.clone(),
            cpu: percent(cpu(before, now)),
            memory: format!("{} / {}", binary(usage.memory), binary(usage.memory_limit)),
            memory_share: percent(ratio(usage.memory, usage.memory_limit)),
            network: "--",
            block,
            processes: usage.processes.to_string(),
        }
    }
}

fn samples(containers: &[Container]) -> Result<Vec<Sample>, CliError> {
    let sample = |container: &Container| {
        let usage = usage::of(&container.state);
        let usage = usage.map_err(CliError::io(format!("see what container {} uses", container.name)))?;
        Ok(Sample { id: container.id.clone(), time: Instant::now(), usage })
    };
    containers.iter().map(sample).collect()
}

/// How many processors were busy for it meanwhile.
fn cpu(before: Option<&Sample>, now: &Sample) -> f64 {
    let Some(Sample { time, usage: Some(earlier), .. }) = before else { return 0.0 };
    let Some(later) = &now.usage else { return 0.0 };
    let passed = now.time.duration_since(*time).as_secs_f64();
    // Of a container that was started anew, or whose process took its count along, nothing is known.
    let used = later.cpu.saturating_sub(earlier.cpu).as_secs_f64();
    if passed > 0.0 { used / passed } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn percent(ratio: f64) -> String {
    format!("{:.2}%", ratio * 100.0)
}

/// A size as docker prints memory: binary units, four significant digits.
#[expect(clippy::cast_precision_loss, reason = "four digits for people")]
fn binary(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = match value {
        ..10.0 => 3,
        ..100.0 => 2,
        ..1000.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

/// The text at the top of the terminal, in place of what was there.
fn over(text: &str) -> String {
    let lines: String = text.lines().map(|line| format!("{line}\x1b[K\r\n")).collect();
    format!("\x1b[H{lines}\x1b[J")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_dockers() {
        let sizes = [0, 1023, 1024, 1_048_576, 5_300_000, 104_857_600, 1_060_000_000, 8_174_000_000];
        assert_eq!(
            sizes.map(binary),
            ["0B", "1023B", "1KiB", "1MiB", "5.054MiB", "100MiB", "1011MiB", "7.613GiB"]
        );
        assert_eq!([0.0, 0.5, 1.234_56].map(percent), ["0.00%", "50.00%", "123.46%"]);
        assert!(ratio(1, 0) < f64::EPSILON);
    }

    #[test]
    fn cpu_is_time_used_of_time_passed() {
        let time = Instant::now();
        let sample = |after: u64, cpu: Option<u64>| Sample {
            id: ContainerId::random().unwrap(),
            time: time + Duration::from_millis(after),
            usage: cpu.map(|cpu| Usage { cpu: Duration::from_millis(cpu), ..Usage::default() }),
        };
        let of = |before: Option<&Sample>, now: &Sample| percent(cpu(before, now));
        assert_eq!(of(Some(&sample(0, Some(100))), &sample(2000, Some(1100))), "50.00%");
        assert_eq!(of(Some(&sample(0, Some(100))), &sample(2000, Some(50))), "0.00%");
        assert_eq!(of(Some(&sample(0, None)), &sample(2000, Some(50))), "0.00%");
        assert_eq!(of(None, &sample(2000, Some(50))), "0.00%");
    }
}
