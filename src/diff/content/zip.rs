//! Zip archives: jars, wheels and whatever else is one.

use std::io::Read as _;

use flate2::read::DeflateDecoder;

use super::members::{self, Member, Value};
use super::source::Source;
use super::suspects::{Class, Findings};
use super::{Fault, Found, Scope, compressed, fault, shown};

/// The end of the directory is looked for in the last bytes: its record and the longest comment.
const END: usize = 22 + 65_535;
/// A record of the directory without its variable parts.
const RECORD: usize = 46;

pub fn compare(
    name: &str,
    (a, b): (&Source, &Source),
    scope: &Scope<'_>,
    findings: &mut Findings,
) -> Result<Found, Fault> {
    let (left, right) = (read(a, scope)?, read(b, scope)?);
    let format = match name.rsplit('.').next() {
        Some("jar" | "war" | "ear") => "jar",
        Some("whl") => "whl",
        _ => "zip",
    };
    members::compare(format, &left, &right, scope, findings)
}

struct Entry {
    name: String,
    made_by: u16,
    flags: u16,
    method: u16,
    time: u16,
    date: u16,
    attributes: u32,
    extra: Extra,
    comment: String,
    raw: Source,
}

/// What the extra fields of a record say.
#[derive(Default)]
struct Extra {
    /// Seconds since 1970.
    mtime: Option<i64>,
    owner: Option<String>,
    /// Fields that are of no meaning here, in hex.
    others: String,
}

impl Member for Entry {
    fn name(&self) -> &str {
        &self.name
    }

    fn values(&self) -> Vec<Value> {
        let (date, time) = (self.date, self.time);
        let dos = format!(
            "{}-{:02}-{:02} {:02}:{:02}:{:02}",
            1980 + (date >> 9),
            date >> 5 & 15,
            date & 31,
            time >> 11,
            time >> 5 & 63,
            (time & 31) * 2
        );
        let packed = format!("{}, {} bytes", method(self.method), self.raw.len());
        vec![
            Value::new("time", dos).of(Class::FileTime),
            Value::maybe("mtime", self.extra.mtime.map(shown::seconds)).of(Class::FileTime),
            Value::maybe("owner", self.extra.owner.clone()).of(Class::Owner),
            Value::new("mode", format!("{:o}", self.attributes >> 16)),
            Value::new("attributes", format!("{:#x}", self.attributes & 0xffff)),
            Value::new("made by", format!("{:#x}", self.made_by)),
            Value::new("flags", format!("{:#x}", self.flags)),
            Value::new("packed", packed),
            Value::new("extra", &self.extra.others),
            Value::new("comment", &self.comment),
        ]
    }

    fn raw(&self) -> &Source {
        &self.raw
    }

    fn packing(&self) -> u32 {
        u32::from(self.method)
    }

    fn content(&self, scope: &Scope<'_>) -> Result<Source, Fault> {
        if self.flags & 1 != 0 {
            return fault("it is encrypted");
        }
        match self.method {
            0 => Ok(self.raw.clone()),
            8 => {
                let limit = compressed::most(self.raw.len());
                let inflated = DeflateDecoder::new(self.raw.reader()).take(limit + 1);
                let source = Source::unpacked(inflated, scope)?;
                if source.len() > limit {
                    return fault(format!("it unpacks to more than {limit} bytes"));
                }
                Ok(source)
            }
            12 | 93 | 95 => compressed::unpack(&self.raw, scope),
            other => fault(format!("it is packed by method {other}")),
        }
    }
}

const fn method(number: u16) -> &'static str {
    match number {
        0 => "stored",
        8 => "deflate",
        12 => "bzip2",
        93 => "zstd",
        95 => "xz",
        _ => "unknown",
    }
}

fn read(source: &Source, scope: &Scope<'_>) -> Result<Vec<Entry>, Fault> {
    let (offset, size) = directory(source)?;
    let Some(directory) = source.slice(offset, size) else { return fault("its directory lies outside") };
    let bytes = directory.held(scope.limits.whole)?;
    let mut entries = Vec::new();
    let mut rest = bytes.as_slice();
    while let Some(record) = rest.get(..RECORD).filter(|record| record.starts_with(b"PK\x01\x02")) {
        let [name, extra, comment] = [28, 30, 32].map(|at| usize::from(u16_at(record, at)));
        let Some(variable) = rest.get(RECORD..RECORD + name + extra + comment) else {
            return fault("its directory is cut short");
        };
        if entries.len() == members::MOST {
            return fault(format!("it has more than {} members", members::MOST));
        }
        entries.push(entry(source, record, variable, [name, extra])?);
        rest = &rest[RECORD + variable.len()..];
    }
    Ok(entries)
}

/// Offset and size of the directory.
fn directory(source: &Source) -> Result<(u64, u64), Fault> {
    let from = source.len().saturating_sub(END as u64);
    let tail = source.some(from, END)?;
    let found = tail.windows(22).rposition(|window| window.starts_with(b"PK\x05\x06"));
    let Some(at) = found else { return fault("it has no directory") };
    let (size, offset) = (u32_at(&tail, at + 12), u32_at(&tail, at + 16));
    if offset != u32::MAX && size != u32::MAX {
        return Ok((u64::from(offset), u64::from(size)));
    }
    // The locator of the larger record stands right before.
    let end = from + at as u64;
    let locator: [u8; 20] = source.array(end.checked_sub(20).ok_or_else(short)?)?;
    let place = u64_at(&locator, 8);
    let record: [u8; 56] = source.array(place)?;
    if !locator.starts_with(b"PK\x06\x07") || !record.starts_with(b"PK\x06\x06") {
        return fault("its directory is not where it says");
    }
    Ok((u64_at(&record, 48), u64_at(&record, 40)))
}

fn short() -> Fault {
    Fault::Format("it is too short".to_owned())
}

fn entry(source: &Source, record: &[u8], variable: &[u8], [name, extra]: [usize; 2]) -> Result<Entry, Fault> {
    let (mut packed, mut size, mut offset) =
        (u64::from(u32_at(record, 20)), u64::from(u32_at(record, 24)), u64::from(u32_at(record, 42)));
    let fields = &variable[name..name + extra];
    let mut extra = Extra::default();
    let mut rest = fields;
    while let [a, b, c, d, after @ ..] = rest {
        let (id, len) = (u16::from_le_bytes([*a, *b]), usize::from(u16::from_le_bytes([*c, *d])));
        let data = &after[..len.min(after.len())];
        match id {
            1 => {
                let mut large = data.chunks_exact(8).map(|chunk| u64_at(chunk, 0));
                for value in
                    [&mut size, &mut packed, &mut offset].into_iter().filter(|v| **v == u64::from(u32::MAX))
                {
                    *value = large.next().unwrap_or(*value);
                }
            }
            0x5455 if data.len() >= 5 => extra.mtime = Some(i64::from(u32_at(data, 1))),
            0x7875 => extra.owner = Some(owner(data)),
            _ => extra.others.push_str(&format!("{id:04x}:{} ", shown::hex(&data[..data.len().min(32)]))),
        }
        rest = &after[data.len()..];
    }
    let local: [u8; 30] = source.array(offset)?;
    if !local.starts_with(b"PK\x03\x04") {
        return fault("a member is not where the directory says");
    }
    let skip = 30 + u64::from(u16_at(&local, 26)) + u64::from(u16_at(&local, 28));
    let raw = offset.checked_add(skip).and_then(|at| source.slice(at, packed)).ok_or_else(short)?;
    Ok(Entry {
        name: shown::line(&variable[..name]),
        made_by: u16_at(record, 4),
        flags: u16_at(record, 8),
        method: u16_at(record, 10),
        time: u16_at(record, 12),
        date: u16_at(record, 14),
        attributes: u32_at(record, 38),
        extra,
        comment: shown::value(&variable[name + fields.len()..]),
        raw,
    })
}

/// Version 1 of Info-ZIP's field: sizes and numbers of user and group.
fn owner(data: &[u8]) -> String {
    let mut rest = data.get(1..).unwrap_or_default();
    let mut number = || {
        let (len, after) = rest.split_first()?;
        let bytes = after.get(..usize::from(*len).min(8))?;
        rest = after.get(usize::from(*len)..)?;
        Some(bytes.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte)))
    };
    match (number(), number()) {
        (Some(uid), Some(gid)) => format!("{uid}:{gid}"),
        _ => shown::hex(data),
    }
}

/// Numbers of a record that is long enough.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
