//! The files a build begins with: the build file, what it imports, and its ignore file.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::CliError;
use crate::context;
use crate::diag::Source;
use crate::frontend::kdl::{self, Imports};
use crate::frontend::{Language, SourceError, source_from_bytes};
use crate::path::ImagePath;
use crate::sys::file::open_regular;

/// The names of a build file that nobody named, the first that is there.
pub const NAMES: [&str; 3] = ["Dockerfile", "dockerfile", "image.kdl"];

/// Where they are.
#[derive(Debug, Args)]
pub struct Files {
    /// Where COPY takes files from: a directory, a tar, - for a tar or a build file on standard input, a git repository
    /// (URL#ref:subdir), or the URL of a tar or a build file
    #[arg(default_value = ".")]
    pub context: PathBuf,
    /// The Dockerfile, or a KDL file if it ends in .kdl; - for either on standard input [default: in the context
    /// Dockerfile, or image.kdl if there is none]
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// What the build file is written in [default: by its name; of one on standard input or by URL, by how it begins]
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    file_format: Option<FileFormat>,
}

/// `--file-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum FileFormat {
    Dockerfile,
    Kdl,
}

/// What they say.
pub struct Text {
    pub dockerfile: Source,
    pub language: Language,
    pub imports: Imports,
    /// Rules and the name of the file they came from.
    pub ignore: (Vec<u8>, String),
}

impl Files {
    /// What a file of this name is written in, if no option says otherwise.
    pub fn language(&self, name: &str) -> Language {
        self.asked_language().unwrap_or_else(|| Language::of(name))
    }

    /// A file that came without a name, named as one of its language.
    pub fn nameless(&self, bytes: Vec<u8>) -> Result<(Source, Language), CliError> {
        let bad = |error: SourceError| CliError::Usage(error.to_string());
        let source = source_from_bytes(NAMES[0], bytes).map_err(bad)?;
        let language = self.asked_language().unwrap_or_else(|| Language::of_text(&source.text));
        let name = match language {
            Language::Dockerfile => NAMES[0],
            Language::Kdl => NAMES[2],
        };
        Ok((Source { name: name.to_owned(), ..source }, language))
    }

    fn asked_language(&self) -> Option<Language> {
        self.file_format.map(|format| match format {
            FileFormat::Dockerfile => Language::Dockerfile,
            FileFormat::Kdl => Language::Kdl,
        })
    }

    /// Whether the build file comes on standard input.
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
        let (dockerfile, language, directory) = if self.file_is_stdin() {
            let (source, language) = self.nameless(stdin()?)?;
            (source, language, self.context.clone())
        } else {
            let path = self.file.clone().unwrap_or_else(|| self.default_file());
            let name = path.display().to_string();
            let source = source_from_bytes(&name, read_dockerfile(&path)?)
                .map_err(|error| CliError::Usage(error.to_string()))?;
            (source, self.language(&name), path.parent().unwrap_or(Path::new("")).to_owned())
        };
        let imports = imports(&dockerfile, language, |path| read_import(&directory, path));
        Ok(Text { dockerfile, language, imports, ignore: self.read_ignore()? })
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
pub fn imports(
    source: &Source,
    language: Language,
    read: impl Fn(&ImagePath) -> Result<Vec<u8>, String>,
) -> Imports {
    if language != Language::Kdl {
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

/// A build file on standard input.
pub fn stdin() -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes).map_err(CliError::io("read standard input"))?;
    Ok(bytes)
}
