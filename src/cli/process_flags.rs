//! Options about the process of an image, as docker's `run` has them.

use std::path::PathBuf;

use clap::Args;

use super::CliError;
use super::session::variable;
use crate::capabilities::Capabilities;
use crate::exec::ExecError;
use crate::exec::process::{Overrides, ProcessError, Variable};

/// Options about the process itself.
#[derive(Debug, Args)]
pub struct ProcessFlags {
    /// Run this instead of the image's entrypoint and CMD; "" for none
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Set a variable; without a value it is this environment's, or gone if that has none
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Variables from a file, one a line, as --env
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// The working directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Who runs it, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// A capability besides the usual ones, or ALL
    #[arg(long, value_name = "NAME")]
    cap_add: Vec<String>,
    /// A capability that it does not get, or ALL
    #[arg(long, value_name = "NAME")]
    cap_drop: Vec<String>,
}

impl ProcessFlags {
    /// What they want otherwise than the image, and the command that followed it.
    pub fn overrides(&self, command: &[String]) -> Result<Overrides, CliError> {
        let entrypoint = self.entrypoint.as_ref();
        let entrypoint = entrypoint.map(|program| match program.as_str() {
            "" => Vec::new(),
            program => vec![program.to_owned()],
        });
        Ok(Overrides {
            entrypoint,
            command: command.to_vec(),
            env: environment(&self.env_file, &self.env)?,
            cwd: self.workdir.clone(),
            user: self.user.clone(),
        })
    }

    /// The most that the process can have.
    pub fn capabilities(&self) -> Result<Capabilities, CliError> {
        let added = capabilities("--cap-add", &self.cap_add)?;
        let dropped = capabilities("--cap-drop", &self.cap_drop)?;
        Ok(Capabilities::default().changed(added, dropped))
    }
}

/// The exit code tells whether a person or the image is wrong.
impl From<ProcessError> for CliError {
    fn from(error: ProcessError) -> Self {
        match error {
            ProcessError::NoCommand
            | ProcessError::RelativeDirectory { .. }
            | ProcessError::User(
                ExecError::UnknownName { .. } | ExecError::BadId { .. } | ExecError::BadUser { .. },
            ) => Self::Usage(error.to_string()),
            ProcessError::User(error) => Self::Build(Box::new(error.into())),
        }
    }
}

/// Changes of the environment: those of files first.
pub fn environment(files: &[PathBuf], given: &[String]) -> Result<Vec<Variable>, CliError> {
    let mut all = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file)
            .map_err(|error| CliError::Usage(format!("--env-file {}: {error}", file.display())))?;
        // As docker reads it: no quotes, no expansion; # only at the beginning of a line.
        for line in
            text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            all.push(one(&format!("--env-file {}", file.display()), line)?);
        }
    }
    for text in given {
        all.push(one("--env", text)?);
    }
    Ok(all)
}

fn one(option: &str, text: &str) -> Result<Variable, CliError> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, variable(text)),
    };
    if name.is_empty() {
        return Err(CliError::Usage(format!("{option} {text}: expected NAME=VALUE or NAME")));
    }
    let name = name.to_owned();
    Ok(match value {
        Some(value) => Variable::Set { name, value },
        None => Variable::Unset { name },
    })
}

fn capabilities(option: &str, names: &[String]) -> Result<Capabilities, CliError> {
    names.iter().try_fold(Capabilities::NONE, |set, name| {
        let one: Capabilities =
            name.parse().map_err(|error| CliError::Usage(format!("{option} {name}: {error}")))?;
        Ok(set.with(one))
    })
}
