//! The files of a project, read as far as its build file needs them.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::sys::dir;
use crate::sys::file::open_regular;

/// The longest file that is read: 4 MiB, which no manifest has.
const LONGEST: u64 = 4 << 20;

/// Why no build file can be written.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error("read {}: {source}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: {source}", .path.display())]
    Toml { path: PathBuf, source: Box<toml::de::Error> },
    #[error("{}: {source}", .path.display())]
    Json { path: PathBuf, source: serde_json::Error },
    #[error("{} has no {}; name another language, or begin with none", .dir.display(), .marks.join(", no "))]
    Missing { dir: PathBuf, marks: &'static [&'static str] },
}

/// A directory that is to become an image.
#[derive(Debug, Clone, Copy)]
pub struct Project<'a> {
    dir: &'a Path,
}

impl<'a> Project<'a> {
    pub fn new(dir: &'a Path) -> Self {
        Self { dir }
    }

    /// The name of its directory.
    pub fn name(&self) -> String {
        super::directory_name(self.dir)
    }

    /// Whether it has a file or directory of this path.
    pub fn has(&self, path: &str) -> bool {
        self.dir.join(path).exists()
    }

    /// Whether it has a directory of this path.
    pub fn has_dir(&self, path: &str) -> bool {
        self.dir.join(path).is_dir()
    }

    /// The text of a file; `None` if there is none. What is no UTF-8 is replaced: only names are looked for.
    pub fn read(&self, path: &str) -> Result<Option<String>, InitError> {
        let path = self.dir.join(path);
        let mut bytes = Vec::new();
        let read = open_regular(&path).and_then(|file| file.take(LONGEST).read_to_end(&mut bytes));
        match read {
            Ok(_) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(InitError::Read { path, source }),
        }
    }

    /// A TOML file; empty if there is none.
    pub fn toml(&self, path: &str) -> Result<toml::Table, InitError> {
        let text = self.read(path)?.unwrap_or_default();
        text.parse().map_err(|source| InitError::Toml { path: self.dir.join(path), source: Box::new(source) })
    }

    /// A JSON file; null if there is none.
    pub fn json(&self, path: &str) -> Result<serde_json::Value, InitError> {
        let Some(text) = self.read(path)? else { return Ok(serde_json::Value::Null) };
        let text = text.trim_start_matches('\u{feff}');
        serde_json::from_str(text).map_err(|source| InitError::Json { path: self.dir.join(path), source })
    }

    /// Names of the files of a directory, sorted; none if it is no directory.
    pub fn files(&self, path: &str) -> Vec<String> {
        self.list(path, |path| path.is_file())
    }

    /// Names of the directories of a directory, sorted.
    pub fn dirs(&self, path: &str) -> Vec<String> {
        self.list(path, |path| path.is_dir())
    }

    fn list(&self, path: &str, wanted: impl Fn(&Path) -> bool) -> Vec<String> {
        let within = self.dir.join(path);
        let listed = fs::canonicalize(&within).and_then(|dir| dir::list_path(&dir)).unwrap_or_default();
        let names = listed.iter().map(|entry| String::from_utf8_lossy(&entry.name).into_owned());
        names.filter(|name| wanted(&within.join(name))).collect()
    }

    /// The error of a project that lacks the files it is recognised by.
    pub fn missing(&self, marks: &'static [&'static str]) -> InitError {
        InitError::Missing { dir: self.dir.to_owned(), marks }
    }
}

/// The texts of a list that a TOML value is, others left out.
pub fn texts(value: Option<&toml::Value>) -> Vec<String> {
    let list = value.and_then(toml::Value::as_array);
    list.into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

/// A value of nested tables.
pub fn within<'a>(table: &'a toml::Table, path: &[&str]) -> Option<&'a toml::Value> {
    let (last, tables) = path.split_last()?;
    let mut table = table;
    for name in tables {
        table = table.get(*name)?.as_table()?;
    }
    table.get(*last)
}
