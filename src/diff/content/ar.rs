//! `ar` archives, and the packages of Debian, which are such.

use super::members::{self, Member, Value};
use super::source::Source;
use super::suspects::{Class, Findings};
use super::{Fault, Found, Scope, fault, shown};

/// Bytes of the magic, and of a member's header.
const MAGIC: u64 = 8;
const HEADER: u64 = 60;
/// The most bytes of the table of long names.
const NAMES: u64 = 4 << 20;

pub fn compare(
    (a, b): (&Source, &Source),
    scope: &Scope<'_>,
    findings: &mut Findings,
) -> Result<Found, Fault> {
    let (left, right) = (read(a)?, read(b)?);
    let is_deb = |entries: &[Entry]| entries.first().is_some_and(|entry| entry.name == "debian-binary");
    let format = if is_deb(&left) && is_deb(&right) { "deb" } else { "ar" };
    members::compare(format, &left, &right, scope, findings)
}

struct Entry {
    name: String,
    /// Time, owner, group and mode as they stand in the header.
    fields: [String; 4],
    raw: Source,
}

impl Member for Entry {
    fn name(&self) -> &str {
        &self.name
    }

    fn values(&self) -> Vec<Value> {
        let [mtime, uid, gid, mode] = &self.fields;
        let time = mtime.parse().map_or_else(|_| mtime.clone(), shown::seconds);
        vec![
            Value::new("mtime", time).of(Class::FileTime),
            Value::new("uid", uid).of(Class::Owner),
            Value::new("gid", gid).of(Class::Owner),
            Value::new("mode", mode),
        ]
    }

    fn raw(&self) -> &Source {
        &self.raw
    }
}

fn read(source: &Source) -> Result<Vec<Entry>, Fault> {
    let mut entries = Vec::new();
    let mut names = Vec::new();
    let mut at = MAGIC;
    while at < source.len() {
        let header: [u8; 60] = source.array(at)?;
        let field = |from: usize, to: usize| shown::line(header[from..to].trim_ascii());
        let size: Option<u64> = field(48, 58).parse().ok();
        let (Some(size), true) = (size, header.ends_with(b"`\n")) else {
            return fault(format!("its member {} has a bad header", entries.len() + 1));
        };
        let Some(raw) = source.slice(at + HEADER, size) else {
            return fault(format!("its member {} is cut short", entries.len() + 1));
        };
        at = (at + HEADER).saturating_add(size).next_multiple_of(2);
        let own = field(0, 16);
        if own == "//" {
            names = raw.held(NAMES)?;
            continue;
        }
        if entries.len() == members::MOST {
            return fault(format!("it has more than {} members", members::MOST));
        }
        let (name, raw) = named(&own, &names, raw)?;
        let fields = [field(16, 28), field(28, 34), field(34, 40), field(40, 48)];
        entries.push(Entry { name, fields, raw });
    }
    Ok(entries)
}

/// The name of a member: its own, one of the table of long names, or one before its bytes as BSD has it.
fn named(own: &str, names: &[u8], raw: Source) -> Result<(String, Source), Fault> {
    if let Some(offset) = own.strip_prefix('/').and_then(|digits| digits.parse::<usize>().ok()) {
        let rest = names.get(offset..).unwrap_or_default();
        let name = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        return Ok((shown::line(name.strip_suffix(b"/").unwrap_or(name)), raw));
    }
    if let Some(length) = own.strip_prefix("#1/").and_then(|digits| digits.parse::<u64>().ok()) {
        let (Some(name), Some(rest)) = (raw.slice(0, length.min(4096)), raw.tail(length)) else {
            return fault("the name of a member is longer than the member");
        };
        let name = name.held(4096)?;
        return Ok((shown::line(name.split(|byte| *byte == 0).next().unwrap_or_default()), rest));
    }
    Ok((
        match own {
            "/" | "/SYM64/" | "__.SYMDEF" => "(symbols)".to_owned(),
            name => name.strip_suffix('/').unwrap_or(name).to_owned(),
        },
        raw,
    ))
}
