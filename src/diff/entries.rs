//! Two lists of paths compared: what was added, removed, and which header fields differ.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::items::{Item, What};
use super::kind::Kind;
use super::options::Sieve;
use super::report::{Entry, EntryChange, Field, Level};
use crate::diag::escape;
use crate::layer::{Mtime, Xattr};

/// A path that differs, and where it stands in the lists.
pub(super) struct Differing<'a> {
    pub a: Option<Item<'a>>,
    pub b: Option<Item<'a>>,
    pub fields: Vec<Field>,
}

impl Differing<'_> {
    /// As the report has it.
    pub fn entry(&self, hidden_in: Option<usize>) -> Entry {
        let change = match (&self.a, &self.b) {
            (None, _) => EntryChange::Added,
            (_, None) => EntryChange::Removed,
            (Some(_), Some(_)) => EntryChange::Changed,
        };
        Entry {
            path: self.path().to_string(),
            change,
            a: self.a.map(|item| item.node()),
            b: self.b.map(|item| item.node()),
            fields: self.fields.clone(),
            content: None,
            hidden_in,
        }
    }

    pub fn path(&self) -> &crate::path::ImagePath {
        self.a.as_ref().or(self.b.as_ref()).expect("one of both").path
    }

    /// Whether both are regular files whose bytes differ, under the name that is the file's first.
    pub fn has_other_bytes(&self) -> bool {
        match (self.a.map(|item| item.what), self.b.map(|item| item.what)) {
            (
                Some(What::File { content: one, first: first_a, .. }),
                Some(What::File { content: other, first: first_b, .. }),
            ) => one != other && (first_a.is_none() || first_b.is_none()),
            _ => false,
        }
    }
}

/// Compares two lists in layer order.
pub(super) fn compare<'a>(a: &[Item<'a>], b: &[Item<'a>], sieve: &mut Sieve<'_>) -> Vec<Differing<'a>> {
    let mut all = Vec::new();
    let (mut i, mut j) = (0, 0);
    loop {
        let (one, other) = (a.get(i).copied(), b.get(j).copied());
        let order = match (&one, &other) {
            (None, None) => return all,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(other)) => place(one).cmp(&place(other)),
        };
        i += usize::from(order != Ordering::Greater);
        j += usize::from(order != Ordering::Less);
        let pair = match order {
            Ordering::Less => Differing { a: one, b: None, fields: Vec::new() },
            Ordering::Greater => Differing { a: None, b: other, fields: Vec::new() },
            Ordering::Equal => {
                let (Some(left), Some(right)) = (one, other) else { continue };
                let fields = fields(&left, &right);
                if fields.is_empty() || !sieve.takes(left.path) {
                    continue;
                }
                let kept: Vec<Field> = fields.into_iter().filter(|field| sieve.keeps(field.kind)).collect();
                if !kept.is_empty() {
                    all.push(Differing { a: one, b: other, fields: kept });
                }
                continue;
            }
        };
        if sieve.takes(pair.path()) {
            all.push(pair);
        }
    }
}

/// An opaque mark stands right behind its directory.
fn place<'a>(item: &Item<'a>) -> (&'a crate::path::ImagePath, bool) {
    (item.path, item.what == What::Opaque)
}

/// The header fields in which two entries of a path differ.
fn fields(a: &Item<'_>, b: &Item<'_>) -> Vec<Field> {
    let mut fields = Vec::new();
    what(a, b, &mut fields);
    let (one, other) = (a.meta, b.meta);
    let are_links = matches!((a.what, b.what), (What::Symlink(_), What::Symlink(_)));
    // Nobody sees the mode of a symlink: Linux says 0777 of each.
    let kind = if are_links { Kind::Tar } else { Kind::Mode };
    push(&mut fields, kind, "mode", format!("{:04o}", one.mode), format!("{:04o}", other.mode));
    push(&mut fields, Kind::Owner, "uid", one.uid, other.uid);
    push(&mut fields, Kind::Owner, "gid", one.gid, other.gid);
    push(&mut fields, Kind::Mtime, "mtime", time(one.mtime), time(other.mtime));
    xattrs(&one.xattrs, &other.xattrs, &mut fields);
    fields
}

fn what(a: &Item<'_>, b: &Item<'_>, fields: &mut Vec<Field>) {
    match (a.what, b.what) {
        (What::Dir, What::Dir)
        | (What::Fifo, What::Fifo)
        | (What::Whiteout, What::Whiteout)
        | (What::Opaque, What::Opaque) => {}
        (
            What::File { size, content, first, .. },
            What::File { size: other_size, content: other_content, first: other_first, .. },
        ) => {
            push(fields, Kind::Content, "size", size, other_size);
            if content != other_content {
                let hex = |digest: crate::digest::ContentDigest| crate::digest::hex(digest.as_bytes());
                push(fields, Kind::Content, "content", hex(content), hex(other_content));
            }
            let name = |first: Option<&crate::path::ImagePath>| first.map(ToString::to_string);
            push(fields, Kind::Hardlink, "hardlink", name(first), name(other_first));
        }
        (What::Symlink(one), What::Symlink(other)) => {
            push(fields, Kind::Content, "target", escape(one), escape(other));
        }
        (What::Char(major, minor), What::Char(other_major, other_minor))
        | (What::Block(major, minor), What::Block(other_major, other_minor)) => {
            let device = |major, minor| format!("{major}:{minor}");
            push(fields, Kind::Content, "device", device(major, minor), device(other_major, other_minor));
        }
        _ => push(fields, Kind::Content, "type", json!(a.node().kind), json!(b.node().kind)),
    }
}

fn xattrs(a: &[Xattr], b: &[Xattr], fields: &mut Vec<Field>) {
    if a == b {
        return;
    }
    let names: BTreeSet<&Vec<u8>> = a.iter().chain(b).map(|(name, _)| name).collect();
    for name in names {
        let of = |all: &[Xattr]| {
            let value = all.iter().find(|(own, _)| own == name).map(|(_, value)| value);
            value.map_or(Value::Null, |value| json!(shown(value)))
        };
        push(fields, Kind::Xattr, &format!("xattr {}", escape(name)), of(a), of(b));
    }
}

/// The value of an xattr: text as it is, anything else in hex.
fn shown(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) if !text.chars().any(char::is_control) => escape(text.as_bytes()),
        _ => format!("0x{}", crate::digest::hex(value)),
    }
}

fn push<T: serde::Serialize + PartialEq>(fields: &mut Vec<Field>, kind: Kind, name: &str, a: T, b: T) {
    if a != b {
        fields.push(Field { level: Level::Entry, kind, name: name.to_owned(), a: json!(a), b: json!(b) });
    }
}

/// RFC 3339, with as many digits of a second as there are.
pub(super) fn time(mtime: Mtime) -> String {
    let nanos = i32::try_from(mtime.nanos).unwrap_or(0);
    match jiff::Timestamp::new(mtime.secs, nanos) {
        Ok(time) => time.to_string(),
        Err(_) => format!("{} s", mtime.secs),
    }
}
