//! What a container's program wrote: docker's json-file lines (spec/container-state.md, "Log").

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::sandbox::Stream;
use crate::store::{ContainerId, Containers};

/// The longest piece of a line in one object.
const PIECE: usize = 16 << 10;

/// The log's file.
pub fn path(containers: &Containers, id: &ContainerId) -> PathBuf {
    containers.dir(id).join(format!("{id}-json.log"))
}

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    pub stream: Name,
    /// RFC 3339.
    pub time: String,
}

/// docker's names of the two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Name {
    Stdout,
    Stderr,
}

impl Line {
    fn new(bytes: &[u8], stream: Name, time: String) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self { log: Some(text.to_owned()), base64: None, stream, time },
            Err(_) => Self { log: None, base64: Some(STANDARD.encode(bytes)), stream, time },
        }
    }

    /// What was written.
    pub fn bytes(&self) -> Vec<u8> {
        match (&self.log, &self.base64) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(encoded)) => STANDARD.decode(encoded).unwrap_or_default(),
            (None, None) => vec![],
        }
    }
}

/// Appends to a log.
#[derive(Debug)]
pub struct Writer {
    file: File,
    /// Beginnings of lines that are not whole yet: of standard output, of standard error.
    pending: [Vec<u8>; 2],
    /// The last line may have been written in part.
    torn: bool,
}

impl Writer {
    /// Opens the log of a container.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self { file, pending: [vec![], vec![]], torn: false })
    }

    /// Takes what came from a stream.
    pub fn chunk(&mut self, stream: Stream, bytes: &[u8], now: impl Fn() -> String) -> io::Result<()> {
        let (at, name) = match stream {
            Stream::Stdout => (0, Name::Stdout),
            Stream::Stderr => (1, Name::Stderr),
        };
        let pending = &mut self.pending[at];
        pending.extend_from_slice(bytes);
        let mut out = Vec::new();
        let mut from = 0;
        while let Some(length) = piece(&pending[from..]) {
            put(&mut out, &Line::new(&pending[from..from + length], name, now()));
            from += length;
        }
        pending.drain(..from);
        self.write(out)
    }

    /// Writes whole lines. After a full disk what is left of a line gets an end of its own.
    fn write(&mut self, mut lines: Vec<u8>) -> io::Result<()> {
        if self.torn && !lines.is_empty() {
            lines.insert(0, b'\n');
        }
        let written = self.file.write_all(&lines);
        self.torn = written.is_err() || self.torn && lines.is_empty();
        written
    }

    /// Writes what came without a newline, at the end or when nothing more comes for now.
    pub fn flush(&mut self, now: impl Fn() -> String) -> io::Result<()> {
        let mut out = Vec::new();
        for (name, pending) in [Name::Stdout, Name::Stderr].into_iter().zip(&mut self.pending) {
            if !pending.is_empty() {
                put(&mut out, &Line::new(pending, name, now()));
                pending.clear();
            }
        }
        self.write(out)
    }
}

/// How long the next piece is, if it is whole: a line, or as much as fits.
fn piece(bytes: &[u8]) -> Option<usize> {
    let window = &bytes[..bytes.len().min(PIECE)];
    match window.iter().position(|byte| *byte == b'\n') {
        Some(newline) => Some(newline + 1),
        None if bytes.len() >= PIECE => Some(cut(window)),
        None => None,
    }
}

/// Where a piece may end without cutting a character in two.
fn cut(window: &[u8]) -> usize {
    match std::str::from_utf8(window) {
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => error.valid_up_to(),
        Ok(_) | Err(_) => window.len(),
    }
}

fn put(out: &mut Vec<u8>, line: &Line) {
    serde_json::to_writer(&mut *out, line).expect("a line is plain data");
    out.push(b'\n');
}

/// Reads a log on, as far as it is written.
pub struct Reader {
    file: BufReader<File>,
    partial: Vec<u8>,
}

impl Reader {
    /// Opens a log; `None` if nothing was ever written.
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        match File::open(path) {
            Ok(file) => Ok(Some(Self { file: BufReader::new(file), partial: vec![] })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The next line, if it is whole. One that cannot be read, as a full disk may leave it, is left out.
    pub fn next_line(&mut self) -> io::Result<Option<Line>> {
        loop {
            self.file.read_until(b'\n', &mut self.partial)?;
            if self.partial.last() != Some(&b'\n') {
                return Ok(None);
            }
            let line = std::mem::take(&mut self.partial);
            if let Ok(line) = serde_json::from_slice(&line) {
                return Ok(Some(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut writer = Writer::open(&path).unwrap();
        let long = "ä".repeat(PIECE);
        let parts: [(Stream, &[u8]); 6] = [
            (Stream::Stdout, b"one\ntw"),
            (Stream::Stderr, b"err\n"),
            (Stream::Stdout, b"o\n\xff\xfe\n"),
            (Stream::Stdout, long.as_bytes()),
            (Stream::Stdout, b"\n"),
            (Stream::Stderr, b"no newline"),
        ];
        for (stream, bytes) in parts {
            writer.chunk(stream, bytes, || "t".into()).unwrap();
        }
        writer.flush(|| "t".into()).unwrap();
        let mut reader = Reader::open(&path).unwrap().unwrap();
        let (mut out, mut err, mut lines) = (vec![], vec![], 0);
        while let Some(line) = reader.next_line().unwrap() {
            lines += 1;
            assert!(line.base64.is_some() == (line.bytes() == b"\xff\xfe\n"), "{line:?}");
            match line.stream {
                Name::Stdout => out.extend(line.bytes()),
                Name::Stderr => err.extend(line.bytes()),
            }
        }
        assert_eq!(out, [b"one\ntwo\n\xff\xfe\n", long.as_bytes(), b"\n"].concat());
        assert_eq!((err, lines), (b"err\nno newline".to_vec(), 8));
    }

    #[test]
    fn a_line_that_was_cut_takes_none_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut writer = Writer::open(&path).unwrap();
        // As a disk leaves it that fills up in the middle of a write.
        std::fs::write(&path, "{\"log\":\"ha").unwrap();
        writer.torn = true;
        writer.chunk(Stream::Stdout, b"whole\n", || "t".into()).unwrap();
        writer.chunk(Stream::Stdout, b"next\n", || "t".into()).unwrap();
        let mut reader = Reader::open(&path).unwrap().unwrap();
        for line in ["whole\n", "next\n"] {
            assert_eq!(reader.next_line().unwrap().unwrap().bytes(), line.as_bytes());
        }
    }
}
