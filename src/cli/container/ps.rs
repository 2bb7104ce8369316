//! `lith ps`.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::containers;
use crate::cli::session::Need;
use crate::cli::template::{Listing, Template};
use crate::cli::{CliError, find, out};
use crate::container::{Container, Status, clock, list};

/// Arguments of `lith ps`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lith ps -a\n  lith ps -aq --filter status=exited\n  lith ps --format '{{.Names}}: {{.Status}}'"
)]
#[expect(clippy::struct_excessive_bools, reason = "the flags of a command line")]
pub struct Ps {
    /// Also those that do not run
    #[arg(short, long)]
    all: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// Only those that are so: id=, name=, status=, ancestor=, label=, exited=, health=, volume=
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// table, json, or a template as '{{.ID}} {{.Names}}'
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Template,
    /// Only the one made last
    #[arg(short, long)]
    latest: bool,
    /// Full ids and commands
    #[arg(long)]
    no_trunc: bool,
}

/// One line, in docker's words.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(rename = "ID")]
    id: String,
    image: String,
    command: String,
    created_at: String,
    running_for: String,
    status: String,
    state: String,
    names: String,
    mounts: String,
    labels: String,
}

const COLUMNS: [(&str, &str); 6] = [
    ("CONTAINER ID", "ID"),
    ("IMAGE", "Image"),
    ("COMMAND", "Command"),
    ("CREATED", "RunningFor"),
    ("STATUS", "Status"),
    ("NAMES", "Names"),
];

impl Ps {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let filters = self.filter.iter().map(|text| Filter::parse(text)).collect::<Result<Vec<_>, _>>()?;
        let (session, all) = containers(root, Need::Store)?;
        let asks_for_status =
            filters.iter().any(|filter| matches!(filter, Filter::Status(_) | Filter::Exited(_)));
        let mut found = list(&all, |damaged| crate::cli::errors::show(&damaged.into()))?;
        found.reverse();
        found.retain(|container| {
            let shown =
                self.all || self.latest || asks_for_status || container.state.status == Status::Running;
            shown && Filter::all_hold(&filters, container)
        });
        if self.latest {
            found.truncate(1);
        }
        let rows: Vec<Row> = found.iter().map(|container| self.row(container)).collect();
        drop(session);
        if self.quiet {
            rows.iter().for_each(|row| out::print(&format!("{}\n", row.id)));
            return Ok(());
        }
        out::print(&Listing { columns: &COLUMNS, rows: &rows }.render(&self.format)?);
        Ok(())
    }

    fn row(&self, container: &Container) -> Row {
        let (config, state) = (&container.config, &container.state);
        let command = crate::diag::escape(config.program.argv.join(" ").as_bytes());
        let command = match command.char_indices().nth(19) {
            Some((end, _)) if !self.no_trunc => format!("{}…", &command[..end]),
            _ => command,
        };
        let labels: Vec<String> =
            config.run.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mounts: Vec<String> =
            config.mounts.iter().map(|mount| mount.target.display().to_string()).collect();
        Row {
            id: if self.no_trunc { container.id.to_string() } else { container.id.short().to_owned() },
            image: config.image_name.clone(),
            command: format!("\"{command}\""),
            created_at: config.created.clone(),
            running_for: ago(&config.created),
            status: status(container),
            state: state.status.name().to_owned(),
            names: container.name.clone(),
            mounts: mounts.join(","),
            labels: labels.join(","),
        }
    }
}

/// As docker says it: `Up 3 minutes (healthy)`.
fn status(container: &Container) -> String {
    let state = &container.state;
    match state.status {
        Status::Created | Status::Starting => "Created".into(),
        Status::Dead => "Dead".into(),
        Status::Running => {
            let since = state.started.as_deref().map_or_else(String::new, since);
            let health =
                state.health.as_ref().map_or_else(String::new, |health| match health.status.name() {
                    "starting" => " (health: starting)".into(),
                    name => format!(" ({name})"),
                });
            format!("Up {since}{health}")
        }
        Status::Exited => {
            let since = state.finished.as_deref().map_or_else(|| "an unknown time".into(), since);
            format!("Exited ({}) {since} ago", state.exit_code)
        }
    }
}

fn ago(time: &str) -> String {
    format!("{} ago", since(time))
}

/// How long it is since an RFC 3339 time, in docker's words.
fn since(time: &str) -> String {
    let then = time.parse::<jiff::Timestamp>();
    let passed = then.ok().and_then(|then| Duration::try_from(clock().duration_since(then)).ok());
    passed.map_or_else(|| "Less than a second".into(), words)
}

fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match seconds {
        0 => "Less than a second".into(),
        1 => "1 second".into(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".into(),
        120..3600 if minutes < 46 => format!("{minutes} minutes"),
        _ if hours <= 1 => "About an hour".into(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 14 => format!("{} days", hours / 24),
        _ if hours < 24 * 60 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// What a container has to be like.
enum Filter {
    Id(String),
    Name(String),
    Status(String),
    Ancestor(String),
    Label(String),
    Exited(u8),
    Health(String),
    Volume(String),
}

impl Filter {
    fn parse(text: &str) -> Result<Self, CliError> {
        let wrong = |reason: &str| CliError::Usage(format!("--filter {text}: {reason}"));
        let (key, value) = text.split_once('=').ok_or_else(|| wrong("expected KEY=VALUE"))?;
        let value = value.to_owned();
        Ok(match key {
            "id" => Self::Id(value),
            "name" => Self::Name(value),
            "status" if matches!(value.as_str(), "created" | "running" | "exited" | "dead") => {
                Self::Status(value)
            }
            "status" => return Err(wrong("a status is created, running, exited or dead")),
            "ancestor" => Self::Ancestor(value),
            "label" => Self::Label(value),
            "exited" => {
                Self::Exited(value.parse().map_err(|_| wrong("an exit code is a number from 0 to 255"))?)
            }
            "health" => Self::Health(value),
            "volume" => Self::Volume(value),
            _ => {
                return Err(wrong("there are id, name, status, ancestor, label, exited, health and volume"));
            }
        })
    }

    /// One of each key has to hold; all labels have to.
    fn all_hold(filters: &[Self], container: &Container) -> bool {
        filters.iter().all(|filter| match filter {
            Self::Label(_) => filter.holds(container),
            other => filters
                .iter()
                .filter(|same| std::mem::discriminant(*same) == std::mem::discriminant(other))
                .any(|same| same.holds(container)),
        })
    }

    fn holds(&self, container: &Container) -> bool {
        let (config, state) = (&container.config, &container.state);
        match self {
            Self::Id(prefix) => container.id.as_str().starts_with(prefix),
            Self::Name(part) => container.name.contains(part.trim_matches('/')),
            Self::Status(status) => state.status.name() == status,
            Self::Ancestor(image) => {
                let id = config.image.to_string();
                find::familiar(&config.image_name) == find::familiar(image)
                    || id.trim_start_matches("sha256:").starts_with(image.trim_start_matches("sha256:"))
            }
            Self::Label(label) => match label.split_once('=') {
                Some((name, value)) => config.run.labels.get(name).is_some_and(|own| own == value),
                None => config.run.labels.contains_key(label),
            },
            Self::Exited(code) => state.status == Status::Exited && state.exit_code == *code,
            Self::Health(name) => state.health.as_ref().map_or("none", |health| health.status.name()) == name,
            Self::Volume(name) => config.mounts.iter().any(|mount| {
                use crate::container::MountSource::Volume;
                mount.target.as_os_str() == name.as_str()
                    || matches!(&mount.source, Volume { name: own, .. } if own == name)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_docker_says_them() {
        for (seconds, wanted) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (61, "About a minute"),
            (300, "5 minutes"),
            (3000, "About an hour"),
            (7200, "2 hours"),
            (86_400 * 3, "3 days"),
            (86_400 * 20, "2 weeks"),
            (86_400 * 90, "3 months"),
        ] {
            assert_eq!(words(Duration::from_secs(seconds)), wanted);
        }
    }
}
