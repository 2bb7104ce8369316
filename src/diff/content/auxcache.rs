//! What ldconfig remembers of the libraries it read: `/var/cache/ldconfig/aux-cache`.

use super::members::{self, Member, Value};
use super::source::Source;
use super::suspects::{Class, Findings};
use super::{Fault, Found, Scope, fault, shown};

/// Magic, number of libraries, bytes of their names.
const HEADER: usize = 32;
/// What each entry begins with: inode, change time, size, device, flags, place of the name.
const LEAST: usize = 40;

pub fn compare(
    (a, b): (&Source, &Source),
    scope: &Scope<'_>,
    findings: &mut Findings,
) -> Result<Found, Fault> {
    members::compare("auxcache", &read(a, scope)?, &read(b, scope)?, scope, findings)
}

struct Library {
    name: String,
    inode: u64,
    ctime: u64,
    size: u64,
    device: u64,
    raw: Source,
}

impl Member for Library {
    fn name(&self) -> &str {
        &self.name
    }

    fn values(&self) -> Vec<Value> {
        vec![
            Value::new("inode", self.inode).of(Class::Inode),
            Value::new("ctime", shown::seconds(i64::try_from(self.ctime).unwrap_or(i64::MAX)))
                .of(Class::FileTime),
            Value::new("size", self.size),
            Value::new("device", self.device).of(Class::Inode),
        ]
    }

    fn raw(&self) -> &Source {
        &self.raw
    }
}

fn read(source: &Source, scope: &Scope<'_>) -> Result<Vec<Library>, Fault> {
    let bytes = source.held(scope.limits.whole)?;
    let u32_at = |at: usize| bytes.get(at..at + 4).map(|b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
    let number = |at: usize| u32_at(at).map_or(0, |value| usize::try_from(value).unwrap_or(usize::MAX));
    let (count, names) = (number(24), number(28));
    let Some(table) = bytes.len().checked_sub(HEADER).and_then(|rest| rest.checked_sub(names)) else {
        return fault("its names are cut short");
    };
    if count == 0 || count > members::MOST || table / count < LEAST || !table.is_multiple_of(count) {
        return fault(format!("{count} libraries do not fill {table} bytes"));
    }
    let names = &bytes[HEADER + table..];
    let entry = |entry: &[u8]| {
        let word =
            |at: usize| entry.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_ne_bytes);
        let place = entry.get(36..40).and_then(|b| b.try_into().ok()).map_or(0, u32::from_ne_bytes);
        let name = names.get(usize::try_from(place).unwrap_or(usize::MAX)..).unwrap_or_default();
        let name = shown::value(name.split(|byte| *byte == 0).next().unwrap_or_default());
        let raw = Source::memory(Vec::new());
        Library { name, inode: word(0), ctime: word(8), size: word(16), device: word(24), raw }
    };
    Ok(bytes[HEADER..HEADER + table].chunks_exact(table / count).map(entry).collect())
}
