//! Java key stores of the form JKS: entries with the time they were made.

use super::members::{self, Member, Value};
use super::source::Source;
use super::suspects::{Class, Findings};
use super::{Fault, Found, Scope, fault, shown};

/// Magic, version, number of entries.
const HEADER: u64 = 12;
/// What guards the whole.
const DIGEST: u64 = 20;

pub fn compare(
    (a, b): (&Source, &Source),
    scope: &Scope<'_>,
    findings: &mut Findings,
) -> Result<Found, Fault> {
    members::compare("jks", &read(a)?, &read(b)?, scope, findings)
}

struct Entry {
    name: String,
    /// Thousandths of seconds since 1970; the digest has none.
    made: Option<u64>,
    digest: Option<String>,
    raw: Source,
}

impl Member for Entry {
    fn name(&self) -> &str {
        &self.name
    }

    fn values(&self) -> Vec<Value> {
        let seconds = |made: u64| shown::seconds(i64::try_from(made / 1000).unwrap_or(i64::MAX));
        vec![
            Value::maybe("made", self.made.map(seconds)).of(Class::Timestamp),
            Value::maybe("digest", self.digest.clone()).of(Class::Digest),
        ]
    }

    fn raw(&self) -> &Source {
        &self.raw
    }
}

fn read(source: &Source) -> Result<Vec<Entry>, Fault> {
    let count: [u8; 4] = source.array(8)?;
    let count = u32::from_be_bytes(count);
    let mut entries = Vec::new();
    let mut at = HEADER;
    for _ in 0..count {
        if entries.len() == members::MOST {
            return fault(format!("it has more than {} entries", members::MOST));
        }
        let tag = u32_at(source, at)?;
        let (name, after) = text(source, at + 4)?;
        let made = u64::from_be_bytes(source.array(after)?);
        let start = after + 8;
        let end = match tag {
            1 => chain(source, start)?,
            2 => certificate(source, start)?,
            other => return fault(format!("an entry is of kind {other}")),
        };
        let Some(raw) = source.slice(start, end - start) else { return fault("an entry is cut short") };
        entries.push(Entry { name, made: Some(made), digest: None, raw });
        at = end;
    }
    let digest: [u8; 20] = source.array(at)?;
    if source.len() - at != DIGEST {
        return fault("there is something behind its digest");
    }
    let raw = Source::memory(Vec::new());
    entries.push(Entry { name: "(digest)".to_owned(), made: None, digest: Some(shown::hex(&digest)), raw });
    Ok(entries)
}

/// A key and its certificates.
fn chain(source: &Source, at: u64) -> Result<u64, Fault> {
    let mut at = at + 4 + u64::from(u32_at(source, at)?);
    let certificates = u32_at(source, at)?;
    at += 4;
    for _ in 0..certificates {
        at = certificate(source, at)?;
    }
    Ok(at)
}

/// The name of its kind, its length, its bytes.
fn certificate(source: &Source, at: u64) -> Result<u64, Fault> {
    let (_, after) = text(source, at)?;
    Ok(after + 4 + u64::from(u32_at(source, after)?))
}

fn text(source: &Source, at: u64) -> Result<(String, u64), Fault> {
    let len: [u8; 2] = source.array(at)?;
    let len = u16::from_be_bytes(len);
    let bytes = source.some(at + 2, usize::from(len))?;
    Ok((shown::line(&bytes), at + 2 + u64::from(len)))
}

fn u32_at(source: &Source, at: u64) -> Result<u32, Fault> {
    Ok(u32::from_be_bytes(source.array(at)?))
}
