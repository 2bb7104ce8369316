//! Compiled Python: what the code was compiled of (PEP 552), and the code.

use super::members::{self, Parts, Value};
use super::source::Source;
use super::suspects::{Class, Findings};
use super::{Change, Fault, Found, Part, Scope, fault, inside, ranges, shown};

/// Bytes of the header.
const HEADER: u64 = 16;

pub fn compare(
    (a, b): (&Source, &Source),
    scope: &Scope<'_>,
    findings: &mut Findings,
) -> Result<Found, Fault> {
    let fields = members::fields(header(a)?, header(b)?, "", findings);
    let mut parts = Parts::new(scope);
    if !fields.is_empty() {
        let name = "header".to_owned();
        parts.push(Part { name, change: Change::Changed, fields, difference: None });
    }
    let (Some(left), Some(right)) = (a.tail(HEADER), b.tail(HEADER)) else { return fault("it has no code") };
    if !ranges::equal(&left, &right)? {
        let difference = inside("code", &left, &right, scope)?;
        findings.take("code", &difference);
        let (name, difference) = ("code".to_owned(), Some(Box::new(difference)));
        parts.push(Part { name, change: Change::Changed, fields: Vec::new(), difference });
    }
    Ok(parts.found("pyc", "part", "parts"))
}

fn header(source: &Source) -> Result<Vec<Value>, Fault> {
    let bytes: [u8; 16] = source.array(0)?;
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let flags = word(4);
    let by = match flags {
        0 => "the time of the source",
        1 => "the hash of the source, not checked",
        3 => "the hash of the source, checked",
        _ => return fault(format!("its flags are {flags:#x}")),
    };
    let is_timed = flags == 0;
    let when = |value: String| is_timed.then_some(value);
    Ok(vec![
        Value::new("magic", u16::from_le_bytes([bytes[0], bytes[1]])),
        Value::new("checked by", by),
        Value::maybe("source mtime", when(shown::seconds(i64::from(word(8))))).of(Class::FileTime),
        Value::maybe("source size", when(word(12).to_string())),
        Value::maybe("source hash", (!is_timed).then(|| shown::hex(&bytes[8..]))).of(Class::Digest),
    ])
}
