//! The files a build begins with: the Dockerfile and its ignore file.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::CliError;
use crate::context;
use crate::diag::Source;
use crate::frontend::dockerfile;

/// Where they are.
#[derive(Debug, Args)]
pub struct Files {
    /// Where COPY takes files from: a directory, a tar, - for a tar or a Dockerfile on standard input, a git repository
    /// (URL#ref:subdir), or the URL of a tar or a Dockerfile
    #[arg(default_value = ".")]
    pub context: PathBuf,
    /// The Dockerfile; - for standard input [default: Dockerfile in the context]
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// What they say.
pub struct Text {
    pub dockerfile: Source,
    /// Rules and the name of the file they came from.
    pub ignore: (Vec<u8>, String),
}

impl Files {
    /// Whether the Dockerfile comes on standard input.
    pub fn file_is_stdin(&self) -> bool {
        self.file.as_ref().is_some_and(|path| path.as_os_str() == "-")
    }

    /// Reads what a directory has, or what stands beside it.
    pub fn read(&self) -> Result<Text, CliError> {
        if !self.context.is_dir() {
            return Err(CliError::Usage(format!(
                "{} is not a directory; the last argument is the build context",
                self.context.display()
            )));
        }
        let (name, bytes) = match &self.file {
            Some(_) if self.file_is_stdin() => ("Dockerfile".to_owned(), stdin()?),
            Some(path) => (path.display().to_string(), read_dockerfile(path)?),
            None => {
                let upper = self.context.join("Dockerfile");
                let lower = self.context.join("dockerfile");
                let path = if !upper.exists() && lower.exists() { lower } else { upper };
                (path.display().to_string(), read_dockerfile(&path)?)
            }
        };
        let dockerfile = dockerfile::source_from_bytes(&name, bytes)
            .map_err(|error| CliError::Usage(error.to_string()))?;
        Ok(Text { dockerfile, ignore: self.read_ignore()? })
    }

    /// Where the lock of the file is: beside it, if it is on this machine.
    pub fn lock(&self) -> Option<PathBuf> {
        let path = match &self.file {
            Some(_) if self.file_is_stdin() => return None,
            Some(path) => path.clone(),
            None => self.context.join("Dockerfile"),
        };
        if !self.context.is_dir() {
            return None;
        }
        let name = path.file_name()?.to_string_lossy();
        Some(match name.as_ref() {
            "Dockerfile" | "dockerfile" => path.with_file_name("lith.lock"),
            other => path.with_file_name(format!("{other}.lock")),
        })
    }

    /// `<Dockerfile>.dockerignore` beats `.dockerignore`.
    fn read_ignore(&self) -> Result<(Vec<u8>, String), CliError> {
        let file = self.file.clone().unwrap_or_else(|| self.context.join("Dockerfile"));
        let mut own = file.into_os_string();
        own.push(".dockerignore");
        for path in [PathBuf::from(own), self.context.join(".dockerignore")] {
            match context::ignore_file(&path) {
                Ok(Some(bytes)) => return Ok((bytes, path.display().to_string())),
                Ok(None) => {}
                Err(error) => return Err(CliError::Usage(format!("read {}: {error}", path.display()))),
            }
        }
        Ok((Vec::new(), ".dockerignore".into()))
    }
}

fn read_dockerfile(path: &Path) -> Result<Vec<u8>, CliError> {
    fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => CliError::Usage(format!(
            "there is no Dockerfile at {}; say where it is with -f FILE",
            path.display()
        )),
        _ => CliError::Usage(format!("read {}: {error}", path.display())),
    })
}

/// A Dockerfile on standard input.
pub fn stdin() -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes).map_err(CliError::io("read the Dockerfile"))?;
    Ok(bytes)
}
