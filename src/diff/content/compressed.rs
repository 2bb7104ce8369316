//! Compressed files: what is inside, whatever compressed it.

use super::source::Source;
use super::suspects::{Class, Findings};
use super::{Body, Change, Fault, Field, Found, Part, Scope, format::Format, inside, ranges, shown};
use crate::layer::{DecompressLimits, Decompressor};

/// The most bytes that one file may unpack to.
const LARGEST: u64 = 8 << 30;
/// Up to here any ratio is allowed, beyond so many bytes for each.
const FREE: u64 = 64 << 20;
const RATIO: u64 = 200;

/// What that many bytes may unpack to.
pub fn most(packed: u64) -> u64 {
    packed.saturating_mul(RATIO).clamp(FREE, LARGEST)
}

/// The bytes inside of a compressed stream.
pub fn unpack(source: &Source, scope: &Scope<'_>) -> Result<Source, Fault> {
    let limits = DecompressLimits { max_size: LARGEST, free_size: FREE, max_ratio: RATIO };
    let stream =
        Decompressor::new(source.reader(), limits).map_err(|error| Fault::Format(error.to_string()))?;
    Source::unpacked(stream, scope)
}

pub fn compare(
    name: &str,
    (a, b): (&Source, &Source),
    scope: &Scope<'_>,
    findings: &mut Findings,
) -> Result<Found, Fault> {
    let formats = (Format::of("", a)?, Format::of("", b)?);
    let mut fields = Vec::new();
    if formats.0 != formats.1 {
        let of = |format: Format| Some(format.name().to_owned());
        fields.push(Field { name: "format".to_owned(), a: of(formats.0), b: of(formats.1) });
    }
    contents(formats.0.name(), name, (a, b), fields, scope, findings)
}

/// Compares what is inside, where the outside has the fields that differ.
pub fn contents(
    format: &str,
    name: &str,
    (a, b): (&Source, &Source),
    fields: Vec<Field>,
    scope: &Scope<'_>,
    findings: &mut Findings,
) -> Result<Found, Fault> {
    let (left, right) = (unpack(a, scope)?, unpack(b, scope)?);
    let inner = inner_name(name);
    let same = ranges::equal(&left, &right)?;
    if same && fields.is_empty() {
        let size = |source: &Source| Some(format!("{} bytes", source.len()));
        let packed = Field { name: "packed".to_owned(), a: size(a), b: size(b) };
        let (from, to) = (packed.a.clone().unwrap_or_default(), packed.b.clone().unwrap_or_default());
        findings.add(Class::Compression, "", &from, &to);
        let body = Body::Fields { fields: vec![packed] };
        return Ok(Found::new(format, "the same content, compressed otherwise", body));
    }
    if same {
        let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        let summary =
            format!("the same content; {} differ", shown::count(names.len() as u64, "field", "fields"));
        let summary =
            if let [one] = names.as_slice() { format!("the same content; {one} differs") } else { summary };
        return Ok(Found::new(format, summary, Body::Fields { fields }));
    }
    let difference = inside(&inner, &left, &right, scope)?;
    findings.take(&inner, &difference);
    let summary = format!("{}: {}", difference.format, difference.summary);
    let difference = Some(Box::new(difference));
    let part = Part { name: inner, change: Change::Changed, fields, difference };
    Ok(Found::new(format, summary, Body::Parts { parts: vec![part] }))
}

/// The name of what is inside: that of the file without its last ending, safe to show.
fn inner_name(name: &str) -> String {
    let base = shown::value(name.rsplit('/').next().unwrap_or(name).as_bytes());
    match base.rsplit_once('.') {
        Some((stem, "tgz" | "txz" | "tzst" | "tbz2")) => format!("{stem}.tar"),
        Some((stem, _)) if !stem.is_empty() => stem.to_owned(),
        _ => "content".to_owned(),
    }
}
