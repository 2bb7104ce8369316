//! The files a build begins with: the build file, what it imports, and its ignore file.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::CliError;
use crate::context;
use crate::diag::Source;
use crate::frontend::kdl::{self, Imports};
use crate::frontend::{Language, source_from_bytes};
use crate::path::ImagePath;
use crate::sys::file::open_regular;

/// The names of a build file that nobody named, the first that is there.
pub const NAMES: [&str; 3] = ["Dockerfile", "dockerfile", "image.kdl"];

/// Where they are.
#[derive(Debug, Args)]
pub struct Files {
    /// Where COPY takes files from: a directory, a tar, - for a tar or a Dockerfile on standard input, a git repository
    /// (URL#ref:subdir), or the URL of a tar or a Dockerfile
    #[arg(default_value = ".")]
    pub context: PathBuf,
    /// The Dockerfile, or a KDL file if it ends in .kdl; - for a Dockerfile on standard input [default: in the context
    /// Dockerfile, or image.kdl if there is none]
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// What they say.
pub struct Text {
    pub dockerfile: Source,
    pub imports: Imports,
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
                let path = self.default_file();
                (path.display().to_string(), read_dockerfile(&path)?)
            }
        };
        let dockerfile =
            source_from_bytes(&name, bytes).map_err(|error| CliError::Usage(error.to_string()))?;
        let directory = Path::new(&name).parent().unwrap_or(Path::new("")).to_owned();
        let imports = imports(&dockerfile, |path| read_import(&directory, path));
        Ok(Text { dockerfile, imports, ignore: self.read_ignore()? })
    }

    /// The build file of the context: the first of its names that is there, else the first.
    fn default_file(&self) -> PathBuf {
        let mut paths = NAMES.iter().map(|name| self.context.join(name));
        paths.find(|path| path.exists()).unwrap_or_else(|| self.context.join(NAMES[0]))
    }

    /// Where the lock of the file is: beside it, if it is on this machine.
    pub fn lock(&self) -> Option<PathBuf> {
        let path = match &self.file {
            Some(_) if self.file_is_stdin() => return None,
            Some(path) => path.clone(),
            None => self.default_file(),
        };
        if !self.context.is_dir() {
            return None;
        }
        let name = path.file_name()?.to_string_lossy();
        Some(match name.as_ref() {
            name if NAMES.contains(&name) => path.with_file_name("lith.lock"),
            other => path.with_file_name(format!("{other}.lock")),
        })
    }

    /// `<Dockerfile>.dockerignore` beats `.dockerignore`.
    fn read_ignore(&self) -> Result<(Vec<u8>, String), CliError> {
        let default = || match self.default_file() {
            path if Language::of(&path.to_string_lossy()) == Language::Kdl => path,
            _ => self.context.join(NAMES[0]),
        };
        let mut own = self.file.clone().unwrap_or_else(default).into_os_string();
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

/// What a file imports, if its language can; `read` gives the bytes of a path below its directory.
pub fn imports(source: &Source, read: impl Fn(&ImagePath) -> Result<Vec<u8>, String>) -> Imports {
    if Language::of(&source.name) != Language::Kdl {
        return Imports::new();
    }
    kdl::gather(source, |path| {
        let name = String::from_utf8_lossy(path.as_bytes());
        source_from_bytes(&name, read(path)?).map(|source| source.text).map_err(|error| error.to_string())
    })
}

/// A file below a directory; a symlink may not lead out of it.
fn read_import(directory: &Path, path: &ImagePath) -> Result<Vec<u8>, String> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let found = directory
        .canonicalize()
        .and_then(|directory| Ok((directory.join(path.as_os_str()).canonicalize()?, directory)));
    let (whole, directory) = found.map_err(|error| error.to_string())?;
    if !whole.starts_with(&directory) {
        return Err("it leads out of the directory of the first file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = open_regular(&whole).map_err(|error| error.to_string())?;
    // One byte more than may be tells that it is too long.
    let limit = crate::frontend::MAX_FILE as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// A Dockerfile on standard input.
pub fn stdin() -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes).map_err(CliError::io("read the Dockerfile"))?;
    Ok(bytes)
}
