//! PNG: its chunks by name, and the pixels as one.

use std::io::Read as _;

use flate2::read::ZlibDecoder;

use super::members::{self, Member, Value};
use super::source::Source;
use super::suspects::{Class, Findings};
use super::{Fault, Found, Scope, compressed, fault, shown};

/// Bytes of the magic.
const MAGIC: u64 = 8;

pub fn compare(
    (a, b): (&Source, &Source),
    scope: &Scope<'_>,
    findings: &mut Findings,
) -> Result<Found, Fault> {
    let (left, right) = (read(a, scope)?, read(b, scope)?);
    members::compare("png", &left, &right, scope, findings)
}

struct Chunk {
    name: String,
    raw: Source,
    /// What tIME says.
    time: Option<String>,
}

/// The name of all chunks with pixels.
const PIXELS: &str = "IDAT";

impl Member for Chunk {
    fn name(&self) -> &str {
        &self.name
    }

    fn values(&self) -> Vec<Value> {
        let packed = (self.name == PIXELS).then(|| format!("{} bytes", self.raw.len()));
        vec![Value::maybe("time", self.time.clone()).of(Class::Timestamp), Value::maybe("packed", packed)]
    }

    fn raw(&self) -> &Source {
        &self.raw
    }

    fn content(&self, scope: &Scope<'_>) -> Result<Source, Fault> {
        if self.name != PIXELS {
            return Ok(self.raw.clone());
        }
        let limit = compressed::most(self.raw.len());
        let pixels = Source::unpacked(ZlibDecoder::new(self.raw.reader()).take(limit + 1), scope)?;
        if pixels.len() > limit {
            fault(format!("it unpacks to more than {limit} bytes"))
        } else {
            Ok(pixels)
        }
    }

    fn is_opaque(&self) -> bool {
        self.name == PIXELS
    }
}

fn read(source: &Source, scope: &Scope<'_>) -> Result<Vec<Chunk>, Fault> {
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut pixels = Vec::new();
    let mut at = MAGIC;
    while at < source.len() {
        let head: [u8; 8] = source.array(at)?;
        let len = u64::from(u32::from_be_bytes([head[0], head[1], head[2], head[3]]));
        let name = shown::line(&head[4..]);
        let Some(raw) = source.slice(at + 8, len) else {
            return fault(format!("its chunk {name} is cut short"));
        };
        at = at.saturating_add(12 + len);
        if chunks.len() == members::MOST {
            return fault(format!("it has more than {} chunks", members::MOST));
        }
        if name == PIXELS {
            if pixels.len() as u64 + len > scope.limits.whole {
                return fault(format!("its pixels take more than {} bytes", scope.limits.whole));
            }
            pixels.extend(raw.held(len)?);
            if chunks.last().is_some_and(|chunk| chunk.name == PIXELS) {
                continue;
            }
        }
        let time = if name == "tIME" { Some(time(raw.array(0)?)) } else { None };
        // What the time says is shown as a value, not as bytes once more.
        let raw = if time.is_some() { Source::memory(Vec::new()) } else { raw };
        chunks.push(Chunk { name, raw, time });
    }
    if let Some(chunk) = chunks.iter_mut().find(|chunk| chunk.name == PIXELS) {
        chunk.raw = Source::memory(pixels);
    }
    Ok(chunks)
}

fn time([high, low, month, day, hour, minute, second]: [u8; 7]) -> String {
    let year = u16::from_be_bytes([high, low]);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}
