//! `lith volume`.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::path::Path;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};

use super::containers;
use crate::cli::session::Need;
use crate::cli::template::{Listing, Template};
use crate::cli::{CliError, out};
use crate::container::ContainerError;
use crate::container::volumes::{self, Volume};
use crate::store::{ContainerId, Containers};

/// What to do with volumes.
#[derive(Debug, Subcommand)]
pub enum VolumeVerb {
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(Ls),
    /// Make a volume
    Create(Create),
    /// Print everything known of volumes, as docker does
    Inspect(Inspect),
    /// Remove volumes that no container uses
    #[command(visible_alias = "remove")]
    Rm(Rm),
    /// Remove all volumes that no container uses
    Prune(Prune),
}

/// Arguments of `lith volume ls`.
#[derive(Debug, Args)]
pub struct Ls {
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
    /// Only those that are so: dangling=true|false (whether no container uses it), name=, label=, driver=
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// table, json, or a template as '{{.Name}} {{.Mountpoint}}'
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Template,
}

/// Arguments of `lith volume create`.
#[derive(Debug, Args)]
pub struct Create {
    /// A label
    #[arg(long, value_name = "NAME[=VALUE]")]
    label: Vec<String>,
    /// Its name [default: a random one; `prune` removes such a volume without being told to remove all]
    name: Option<String>,
}

/// Arguments of `lith volume inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    /// json, or a template as '{{.Mountpoint}}'
    #[arg(short, long, value_name = "FORMAT", default_value = "json")]
    format: Template,
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Arguments of `lith volume rm`.
#[derive(Debug, Args)]
pub struct Rm {
    /// Fine if it is not there
    #[arg(short, long)]
    force: bool,
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Arguments of `lith volume prune`.
#[derive(Debug, Args)]
pub struct Prune {
    /// Also those with a name of their own, not only those that were made for one container
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only those that are so: name=, label=
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
}

impl VolumeVerb {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        // Files in there may belong to any user of a container.
        let need = match self {
            Self::Rm(_) | Self::Prune(_) => Need::FileSystems,
            Self::Ls(_) | Self::Create(_) | Self::Inspect(_) => Need::Store,
        };
        let (_session, all) = containers(root, need)?;
        match self {
            Self::Ls(verb) => verb.run(&all),
            Self::Create(verb) => verb.run(&all),
            Self::Inspect(verb) => verb.run(&all),
            Self::Rm(verb) => verb.run(&all),
            Self::Prune(verb) => verb.run(&all),
        }
    }
}

/// One line, in docker's words.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    driver: &'static str,
    name: String,
    scope: &'static str,
    mountpoint: String,
    labels: String,
}

const COLUMNS: [(&str, &str); 2] = [("DRIVER", "Driver"), ("VOLUME NAME", "Name")];
/// The only driver, named as docker's.
const DRIVER: &str = "local";

impl Ls {
    fn run(&self, all: &Containers) -> Result<(), CliError> {
        let filters = Filter::parse_all(&self.filter)?;
        // Only if that is asked for: of a damaged container nobody knows what it uses.
        let asked = filters.iter().any(|filter| matches!(filter, Filter::Dangling(_)));
        let used = if asked { volumes::used(all)? } else { BTreeMap::new() };
        let mut found = volumes::list(all)?;
        found.retain(|volume| Filter::all_hold(&filters, volume, &used));
        if self.quiet {
            found.iter().for_each(|volume| out::print(&format!("{}\n", volume.name)));
            return Ok(());
        }
        let rows: Vec<Row> = found.iter().map(|volume| row(all, volume)).collect();
        out::print(&Listing { columns: &COLUMNS, rows: &rows }.render(&self.format)?);
        Ok(())
    }
}

fn row(all: &Containers, volume: &Volume) -> Row {
    let labels: Vec<String> = volume.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Row {
        driver: DRIVER,
        name: volume.name.clone(),
        scope: "local",
        mountpoint: volumes::data(all, &volume.name).display().to_string(),
        labels: labels.join(","),
    }
}

impl Create {
    fn run(&self, all: &Containers) -> Result<(), CliError> {
        let split = |text: &String| {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            (name.to_owned(), value.to_owned())
        };
        let labels = self.label.iter().map(split).collect();
        let name = volumes::create(all, self.name.as_deref(), labels)?;
        out::print(&format!("{name}\n"));
        Ok(())
    }
}

impl Inspect {
    fn run(&self, all: &Containers) -> Result<(), CliError> {
        let found = self.names.iter().map(|name| volumes::find(all, name));
        let found = found.collect::<Result<Vec<Volume>, ContainerError>>()?;
        let shown: Vec<Value> = found.iter().map(|volume| describe(all, volume)).collect();
        out::print(&self.format.objects(&shown)?);
        Ok(())
    }
}

fn describe(all: &Containers, volume: &Volume) -> Value {
    json!({
        "CreatedAt": volume.created,
        "Driver": DRIVER,
        "Labels": volume.labels,
        "Mountpoint": volumes::data(all, &volume.name),
        "Name": volume.name,
        "Options": {},
        "Scope": "local",
        "Anonymous": volume.anonymous,
    })
}

impl Rm {
    fn run(&self, all: &Containers) -> Result<(), CliError> {
        let mut failed = None;
        for name in &self.names {
            match volumes::remove(all, name) {
                Err(ContainerError::UnknownVolume(_)) if self.force => {}
                Ok(()) => out::print(&format!("{name}\n")),
                Err(error) => {
                    if let Some(earlier) = failed.replace(error) {
                        crate::cli::errors::show(&earlier.into());
                    }
                }
            }
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}

impl Prune {
    fn run(&self, all: &Containers) -> Result<(), CliError> {
        let filters = Filter::parse_all(&self.filter)?;
        if !self.force && !self.confirmed()? {
            return Ok(());
        }
        let used = volumes::used(all)?;
        let goes = |volume: &Volume| {
            (self.all || volume.anonymous)
                && !used.contains_key(&volume.name)
                && Filter::all_hold(&filters, volume, &used)
        };
        let mut bytes = 0;
        let mut heading = "Deleted Volumes:\n";
        for volume in volumes::list(all)?.into_iter().filter(goes) {
            let size = volumes::size(all, &volume.name);
            match volumes::remove(all, &volume.name) {
                Ok(()) => {
                    out::print(&format!("{heading}{}\n", volume.name));
                    (bytes, heading) = (bytes + size, "");
                }
                // A container that was made meanwhile has it, or another prune was first.
                Err(ContainerError::VolumeInUse { .. } | ContainerError::UnknownVolume(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let gap = if heading.is_empty() { "\n" } else { "" };
        out::print(&format!("{gap}Total reclaimed space: {}\n", out::size(bytes)));
        Ok(())
    }

    fn confirmed(&self) -> Result<bool, CliError> {
        if !io::stdin().is_terminal() {
            return Err(CliError::Usage(
                "volume prune removes files for good and has no terminal to ask at; pass --force".into(),
            ));
        }
        let which = if self.all { "all" } else { "anonymous" };
        out::err(&format!(
            "WARNING! This will remove {which} local volumes not used by at least one container.\n\
             Are you sure you want to continue? [y/N] "
        ));
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map_err(CliError::io("read the answer"))?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }
}

/// What a volume has to be like.
enum Filter {
    Dangling(bool),
    Name(String),
    Label(String),
    Driver(String),
}

impl Filter {
    fn parse_all(texts: &[String]) -> Result<Vec<Self>, CliError> {
        texts.iter().map(|text| Self::parse(text)).collect()
    }

    fn parse(text: &str) -> Result<Self, CliError> {
        let wrong = |reason: &str| CliError::Usage(format!("--filter {text}: {reason}"));
        let (key, value) = text.split_once('=').ok_or_else(|| wrong("expected KEY=VALUE"))?;
        Ok(match (key, value) {
            ("dangling", "true" | "1") => Self::Dangling(true),
            ("dangling", "false" | "0") => Self::Dangling(false),
            ("dangling", _) => return Err(wrong("dangling is true or false")),
            ("name", part) => Self::Name(part.to_owned()),
            ("label", label) => Self::Label(label.to_owned()),
            ("driver", driver) => Self::Driver(driver.to_owned()),
            _ => return Err(wrong("there are dangling, name, label and driver")),
        })
    }

    /// One of each key has to hold; all labels have to.
    fn all_hold(filters: &[Self], volume: &Volume, used: &BTreeMap<String, ContainerId>) -> bool {
        filters.iter().all(|filter| match filter {
            Self::Label(_) => filter.holds(volume, used),
            other => filters
                .iter()
                .filter(|same| std::mem::discriminant(*same) == std::mem::discriminant(other))
                .any(|same| same.holds(volume, used)),
        })
    }

    fn holds(&self, volume: &Volume, used: &BTreeMap<String, ContainerId>) -> bool {
        match self {
            Self::Dangling(wanted) => used.contains_key(&volume.name) != *wanted,
            Self::Name(part) => volume.name.contains(part),
            Self::Driver(driver) => driver == DRIVER,
            Self::Label(label) => match label.split_once('=') {
                Some((name, value)) => volume.labels.get(name).is_some_and(|own| own == value),
                None => volume.labels.contains_key(label),
            },
        }
    }
}
