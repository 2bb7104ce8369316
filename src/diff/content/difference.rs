//! How two files differ: what a comparer says, and what reports are made of. Pure values.

use std::ops;

use serde::{Deserialize, Serialize};

use super::suspects::Class;

/// How two files differ (spec/diff.md, "Content").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What both files are: `text`, `elf`, `zip`, …; `bytes` if that is not known or not the same.
    pub format: String,
    /// One line for people.
    pub summary: String,
    /// Where the bytes differ, the first of them first; not all if there are many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<Range>,
    pub body: Body,
    /// What was left out or could not be read, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Why they may differ, of what is inside as well; the most frequent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suspects: Vec<Suspect>,
}

/// Bytes of the one file that stand for bytes of the other; either may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    pub a: ops::Range<u64>,
    pub b: ops::Range<u64>,
}

/// What is shown of a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "show", rename_all = "lowercase")]
pub enum Body {
    /// Lines, as `diff -u` shows them.
    Text { hunks: Vec<Hunk> },
    /// Bytes around the first difference.
    Hex { a: Excerpt, b: Excerpt },
    /// What the files consist of: members, sections, chunks.
    Parts { parts: Vec<Part> },
    /// Named values.
    Fields { fields: Vec<Field> },
}

/// Lines that stand together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hunk {
    /// Number of the first line on each side, from 1.
    pub a: u64,
    pub b: u64,
    pub lines: Vec<Line>,
}

/// One line of a hunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub side: Side,
    /// Without its end; long lines are cut around what differs.
    pub text: String,
}

/// Where a line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    Both,
    A,
    B,
}

/// Some bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excerpt {
    pub offset: u64,
    /// The bytes in lower-case hex.
    pub hex: String,
}

/// A part of both files, or of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub name: String,
    pub change: Change,
    /// Values of the part itself, such as a member's time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
    /// How the contents differ, if they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<Box<Difference>>,
}

/// On which side a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// In A alone.
    Removed,
    /// In B alone.
    Added,
    /// In both, not the same.
    Changed,
}

/// A value that differs; none where a side does not have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub a: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub b: Option<String>,
}

/// A cause that the bytes speak for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspect {
    pub class: Class,
    /// How many differences it explains.
    pub count: u64,
    /// One of them: where, and both values.
    pub example: String,
    /// What is usually done about it.
    pub fix: String,
}
