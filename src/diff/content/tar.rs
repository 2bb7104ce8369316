//! Tar archives: ustar, GNU and PAX, every header field of every entry.

use std::collections::BTreeMap;

use super::members::{self, Member, Value};
use super::source::Source;
use super::suspects::{Class, Findings};
use super::{Fault, Field, Found, Scope, fault, shown};

const BLOCK: u64 = 512;
/// The most bytes of a long name or of the records before an entry.
const LONGEST: u64 = 1 << 20;

pub fn compare(
    (a, b): (&Source, &Source),
    scope: &Scope<'_>,
    findings: &mut Findings,
) -> Result<Found, Fault> {
    let (left, right) = (read(a)?, read(b)?);
    let mut found = members::compare("tar", &left.entries, &right.entries, scope, findings)?;
    if left.end != right.end {
        let padding = |tar: &Tar| format!("{} bytes behind the last entry", tar.end);
        let field = Field { name: "end".to_owned(), a: Some(padding(&left)), b: Some(padding(&right)) };
        found.notes.push(format!(
            "{} in A, {} in B",
            field.a.unwrap_or_default(),
            field.b.unwrap_or_default()
        ));
    }
    Ok(found)
}

struct Tar {
    entries: Vec<Entry>,
    /// Bytes from the first block of the end on.
    end: u64,
}

struct Entry {
    name: String,
    header: [u8; 512],
    /// What PAX records and long names say, by their keys.
    records: BTreeMap<String, String>,
    raw: Source,
}

impl Entry {
    fn text(&self, at: usize, len: usize) -> String {
        let field = &self.header[at..at + len];
        shown::value(field.split(|byte| *byte == 0).next().unwrap_or(field))
    }

    fn number(&self, at: usize, len: usize) -> String {
        number(&self.header[at..at + len]).map_or_else(|| self.text(at, len), |number| number.to_string())
    }

    fn or_record(&self, key: &str, own: String) -> String {
        self.records.get(key).cloned().unwrap_or(own)
    }

    fn mtime(&self) -> String {
        let own =
            || number(&self.header[136..148]).and_then(|time| i64::try_from(time).ok()).map(shown::seconds);
        self.records.get("mtime").cloned().or_else(own).unwrap_or_else(|| self.text(136, 12))
    }
}

impl Member for Entry {
    fn name(&self) -> &str {
        &self.name
    }

    fn values(&self) -> Vec<Value> {
        let mode =
            number(&self.header[100..108]).map_or_else(|| self.text(100, 8), |mode| format!("{mode:04o}"));
        const TOLD: [&str; 9] =
            ["path", "linkpath", "uid", "gid", "uname", "gname", "mtime", "atime", "ctime"];
        let others = self.records.iter().filter(|(key, _)| !TOLD.contains(&key.as_str()) && *key != "size");
        let others: Vec<String> = others.map(|(key, value)| format!("{key}={value}")).collect();
        let record = |key: &str| self.records.get(key).cloned();
        vec![
            Value::new("kind", kind(self.header[156])),
            Value::new("mode", mode),
            Value::new("uid", self.or_record("uid", self.number(108, 8))).of(Class::Owner),
            Value::new("gid", self.or_record("gid", self.number(116, 8))).of(Class::Owner),
            Value::new("uname", self.or_record("uname", self.text(265, 32))).of(Class::Owner),
            Value::new("gname", self.or_record("gname", self.text(297, 32))).of(Class::Owner),
            Value::new("mtime", self.mtime()).of(Class::FileTime),
            Value::maybe("atime", record("atime")).of(Class::FileTime),
            Value::maybe("ctime", record("ctime")).of(Class::FileTime),
            Value::new("link", self.or_record("linkpath", self.text(157, 100))),
            Value::new("device", format!("{}:{}", self.number(329, 8), self.number(337, 8))),
            Value::new("form", self.text(257, 8)),
            Value::maybe("records", (!others.is_empty()).then(|| others.join(", "))),
        ]
    }

    fn raw(&self) -> &Source {
        &self.raw
    }
}

const fn kind(flag: u8) -> &'static str {
    match flag {
        0 | b'0' | b'7' => "file",
        b'1' => "hardlink",
        b'2' => "symlink",
        b'3' => "char",
        b'4' => "block",
        b'5' => "dir",
        b'6' => "fifo",
        b'S' => "sparse",
        _ => "other",
    }
}

/// An octal number, or one of base 256 as GNU writes large ones.
fn number(field: &[u8]) -> Option<u64> {
    if let [first, rest @ ..] = field
        && *first & 0x80 != 0
    {
        let start = u64::from(*first & 0x7f);
        return rest
            .iter()
            .try_fold(start, |value, byte| value.checked_mul(256)?.checked_add(u64::from(*byte)));
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

fn read(source: &Source) -> Result<Tar, Fault> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut records = BTreeMap::new();
    let mut at = 0;
    while at < source.len() {
        let header: [u8; 512] = source.array(at)?;
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        let place = format!("its header at byte {at}");
        if checksum(&header) != number(&header[148..156]) {
            return fault(format!("{place} has a wrong checksum"));
        }
        let Some(mut size) = number(&header[124..136]) else {
            return fault(format!("{place} has no readable size"));
        };
        let flag = header[156];
        if !matches!(flag, b'x' | b'g' | b'L' | b'K') {
            size = match records.get("size").map(|size: &String| size.parse()) {
                Some(Ok(size)) => size,
                Some(Err(_)) | None if matches!(flag, b'1'..=b'6') => 0,
                Some(Err(_)) | None => size,
            };
        }
        let Some(raw) = source.slice(at + BLOCK, size) else {
            return fault(format!("{place} names {size} bytes, more than there are"));
        };
        at = (at + BLOCK).saturating_add(size).div_ceil(BLOCK).saturating_mul(BLOCK);
        match flag {
            b'x' => records.extend(pax(&raw.held(LONGEST)?)),
            // Records for all entries are seldom and no entry's own; they count as an entry.
            b'L' | b'K' => {
                let text = raw.held(LONGEST)?;
                let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
                let key = if flag == b'L' { "path" } else { "linkpath" };
                records.insert(key.to_owned(), shown::line(text));
            }
            _ => {
                if entries.len() == members::MOST {
                    return fault(format!("it has more than {} entries", members::MOST));
                }
                let records = std::mem::take(&mut records);
                let name = records.get("path").cloned().unwrap_or_else(|| name(&header));
                entries.push(Entry { name, header, records, raw });
            }
        }
    }
    Ok(Tar { entries, end: source.len().saturating_sub(at) })
}

/// The name with its prefix, which old GNU headers use for other things.
fn name(header: &[u8; 512]) -> String {
    let text = |field: &[u8]| shown::line(field.split(|byte| *byte == 0).next().unwrap_or(field));
    let (name, prefix) = (text(&header[..100]), text(&header[345..500]));
    let is_gnu = header[257..263] == *b"ustar ";
    if prefix.is_empty() || is_gnu { name } else { format!("{prefix}/{name}") }
}

fn checksum(header: &[u8; 512]) -> Option<u64> {
    let sum = header
        .iter()
        .enumerate()
        .map(|(i, byte)| if (148..156).contains(&i) { 32 } else { u64::from(*byte) });
    Some(sum.sum())
}

/// `LENGTH KEY=VALUE\n`, as POSIX has it; what is not of that form ends them.
fn pax(mut bytes: &[u8]) -> BTreeMap<String, String> {
    let mut records = BTreeMap::new();
    while let Some(space) = bytes.iter().position(|byte| *byte == b' ') {
        let length =
            std::str::from_utf8(&bytes[..space]).ok().and_then(|digits| digits.parse::<usize>().ok());
        let Some(record) = length.and_then(|length| bytes.get(space + 1..length)) else { break };
        let mut halves = record.strip_suffix(b"\n").unwrap_or(record).splitn(2, |byte| *byte == b'=');
        let (Some(key), Some(value)) = (halves.next(), halves.next()) else { break };
        records.insert(shown::value(key), shown::line(value));
        bytes = &bytes[space + 1 + record.len()..];
    }
    records
}
