//! What is inside two files that differ, and why they may differ.
//!
//! Owns: the formats, one file each, and the classes of causes. Each comparer holds no more than `Limits` says; bytes
//! that are not what their beginning says are compared as bytes. Never decides whether a difference matters.

mod ar;
mod auxcache;
mod budget;
mod compressed;
mod difference;
mod elf;
mod format;
mod gzip;
mod hex;
mod jks;
mod json;
mod members;
mod png;
mod pyc;
mod ranges;
mod shown;
mod source;
mod sqlite;
pub mod suspects;
mod tar;
mod text;
mod zip;

use std::fs::File;
use std::io;
use std::path::PathBuf;

use budget::Budget;
use format::Format;
use ranges::Ranges;
use source::Source;
use suspects::Findings;

pub use difference::{Body, Change, Difference, Excerpt, Field, Hunk, Line, Part, Range, Side, Suspect};
pub use suspects::Class;

/// The version of the rules below: which formats are looked into, and what is said of them (spec/diff.md).
pub const CONTENT_VERSION: u32 = 1;

/// One of two files: seekable, at its beginning.
#[derive(Debug)]
pub struct Input {
    pub file: File,
    pub size: u64,
}

/// What a comparison may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Lines of one text, or parts or fields of one file, that are shown.
    pub text_lines: usize,
    /// Bytes that a comparer may hold of one side.
    pub whole: u64,
    /// How far down files in files are looked into.
    pub depth: usize,
    /// Where what is unpacked lies meanwhile, in files without a name.
    pub scratch: PathBuf,
}

impl Default for Limits {
    fn default() -> Self {
        Self { text_lines: 400, whole: 16 << 20, depth: 8, scratch: PathBuf::from("/var/tmp") }
    }
}

/// What is known of the machine and the place where a side was built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct World {
    pub hostname: Option<String>,
    /// The directory of the build.
    pub cwd: Option<String>,
    /// As `uname -r` says it.
    pub kernel: Option<String>,
    pub user: Option<String>,
}

/// The worlds of both sides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Worlds {
    pub a: World,
    pub b: World,
}

/// How two files differ. `name` is the path in the image, for formats known by name.
pub fn compare(name: &str, a: Input, b: Input, limits: &Limits) -> io::Result<Difference> {
    compare_in(name, a, b, limits, &Worlds::default())
}

/// The same, where something is known of the places where they were built.
pub fn compare_in(
    name: &str,
    a: Input,
    b: Input,
    limits: &Limits,
    worlds: &Worlds,
) -> io::Result<Difference> {
    let budget = Budget::new(a.size.saturating_add(b.size), limits.text_lines);
    let scope = Scope { limits, worlds, depth: limits.depth, budget: &budget };
    difference(name, &Source::file(a.file, a.size), &Source::file(b.file, b.size), &scope)
}

/// What a comparison goes by, and how much deeper it may go.
#[derive(Clone, Copy)]
struct Scope<'a> {
    limits: &'a Limits,
    worlds: &'a Worlds,
    depth: usize,
    budget: &'a Budget,
}

/// Why a comparer gave up.
#[derive(Debug, thiserror::Error)]
enum Fault {
    /// The bytes are not what their beginning says.
    #[error("{0}")]
    Format(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn fault<T>(why: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Format(why.into()))
}

/// What a comparer found.
struct Found {
    format: String,
    summary: String,
    body: Body,
    notes: Vec<String>,
}

impl Found {
    fn new(format: impl Into<String>, summary: impl Into<String>, body: Body) -> Self {
        Self { format: format.into(), summary: summary.into(), body, notes: Vec::new() }
    }
}

/// How two sources differ, by what they are.
fn difference(name: &str, a: &Source, b: &Source, scope: &Scope<'_>) -> io::Result<Difference> {
    let formats = (Format::of(name, a)?, Format::of(name, b)?);
    let ranges = ranges::of(a, b, scope.limits.whole)?;
    if ranges.list.is_empty() {
        return Ok(same(formats.0));
    }
    let mut notes = Vec::new();
    let mut findings = Findings::default();
    let mut found = None;
    if let Some(format) = formats.0.with(formats.1) {
        let mut inner = Findings::default();
        match within(format, name, (a, b), scope, &ranges, &mut inner) {
            Ok(it) => (found, findings) = (Some(it), inner),
            Err(Fault::Io(error)) => return Err(error),
            Err(Fault::Format(why)) => notes.push(format!("not looked into as {}: {why}", format.name())),
        }
    } else {
        notes.push(format!("A is {}, B is {}", formats.0.name(), formats.1.name()));
    }
    let mut found = match found {
        Some(found) => found,
        None => {
            let found = hex::compare(name, (a, b), scope, &ranges, &mut findings)?;
            // Packed bytes look like anything, and so do those of a structure that could not be read.
            let is_text = formats.0 == Format::Text;
            if formats.0.is_packed() || formats.1.is_packed() || !notes.is_empty() && !is_text {
                findings = Findings::default();
            }
            found
        }
    };
    notes.append(&mut found.notes);
    if ranges.more > 0 {
        notes.push(format!("{} ranges more", ranges.more));
    }
    Ok(Difference {
        format: found.format,
        summary: found.summary,
        ranges: ranges.list.into_iter().take(scope.limits.text_lines).collect(),
        body: found.body,
        notes,
        suspects: findings.into_suspects(),
    })
}

fn same(format: Format) -> Difference {
    Difference {
        format: format.name().to_owned(),
        summary: "the same bytes".to_owned(),
        ranges: Vec::new(),
        body: Body::Fields { fields: Vec::new() },
        notes: Vec::new(),
        suspects: Vec::new(),
    }
}

fn within(
    format: Format,
    name: &str,
    (a, b): (&Source, &Source),
    scope: &Scope<'_>,
    ranges: &Ranges,
    findings: &mut Findings,
) -> Result<Found, Fault> {
    match format {
        Format::Text => text::compare(name, (a, b), scope, findings),
        Format::Json => match json::compare((a, b), scope, findings) {
            Err(Fault::Format(why)) => {
                let mut found = text::compare(name, (a, b), scope, findings)?;
                found.notes.push(format!("not looked into as json: {why}"));
                Ok(found)
            }
            done => done,
        },
        Format::Elf => elf::compare((a, b), scope, findings),
        Format::Ar => ar::compare((a, b), scope, findings),
        Format::Zip => zip::compare(name, (a, b), scope, findings),
        Format::Gzip => gzip::compare(name, (a, b), scope, findings),
        Format::Packed(_) => compressed::compare(name, (a, b), scope, findings),
        Format::Tar => tar::compare((a, b), scope, findings),
        Format::Pyc => pyc::compare((a, b), scope, findings),
        Format::Png => png::compare((a, b), scope, findings),
        Format::Sqlite => sqlite::compare((a, b), scope, findings),
        Format::Jks => jks::compare((a, b), scope, findings),
        Format::AuxCache => auxcache::compare((a, b), scope, findings),
        Format::Bytes => Ok(hex::compare(name, (a, b), scope, ranges, findings)?),
    }
}

/// How something inside differs, if it may be looked into.
fn inside(name: &str, a: &Source, b: &Source, scope: &Scope<'_>) -> io::Result<Difference> {
    let scope = Scope { depth: scope.depth.saturating_sub(1), ..*scope };
    if scope.depth > 0 {
        return difference(name, a, b, &scope);
    }
    let ranges = ranges::of(a, b, scope.limits.whole)?;
    if ranges.list.is_empty() {
        return Ok(same(Format::Bytes));
    }
    let mut findings = Findings::default();
    let found = hex::compare(name, (a, b), &scope, &ranges, &mut findings)?;
    let notes = vec![format!("deeper than {} files in files nothing is looked into", scope.limits.depth)];
    Ok(Difference {
        format: found.format,
        summary: found.summary,
        ranges: ranges.list,
        body: found.body,
        notes,
        suspects: findings.into_suspects(),
    })
}
