//! gzip: what its header says (RFC 1952), and what is inside.

use super::members::{self, Value};
use super::source::Source;
use super::suspects::{Class, Findings};
use super::{Fault, Found, Scope, compressed, ranges, shown};

/// The longest header: its fixed part, extra field, name and comment.
const LONGEST: usize = 128 << 10;

pub fn compare(
    name: &str,
    (a, b): (&Source, &Source),
    scope: &Scope<'_>,
    findings: &mut Findings,
) -> Result<Found, Fault> {
    let (left, right) = (Header::read(a)?, Header::read(b)?);
    let streams = (a.tail(left.len), b.tail(right.len));
    let fields = members::fields(left.values(), right.values(), "", findings);
    let mut found = compressed::contents("gzip", name, (a, b), fields, scope, findings)?;
    if let (Some(x), Some(y)) = streams
        && found.summary.starts_with("the same content;")
        && !ranges::equal(&x, &y)?
    {
        findings.add(Class::Compression, "", &format!("{} bytes", x.len()), &format!("{} bytes", y.len()));
        found.summary.push_str(", and it is compressed otherwise");
    }
    Ok(found)
}

struct Header {
    len: u64,
    mtime: u32,
    flags: u8,
    level: u8,
    system: u8,
    extra: Option<String>,
    name: Option<String>,
    comment: Option<String>,
}

impl Header {
    fn read(source: &Source) -> Result<Self, Fault> {
        let bytes = source.some(0, LONGEST)?;
        let short = || Fault::Format("its header is cut short".to_owned());
        let fixed = bytes.get(..10).ok_or_else(short)?;
        let flags = fixed[3];
        let mut at = 10;
        let mut extra = None;
        if flags & 4 != 0 {
            let len = bytes.get(at..at + 2).map(|b| usize::from(u16::from_le_bytes([b[0], b[1]])));
            let len = len.ok_or_else(short)?;
            extra = Some(shown::hex(bytes.get(at + 2..at + 2 + len).ok_or_else(short)?));
            at += 2 + len;
        }
        let mut text = |flag: u8| -> Result<Option<String>, Fault> {
            if flags & flag == 0 {
                return Ok(None);
            }
            let rest = bytes.get(at..).ok_or_else(short)?;
            let len = rest.iter().position(|byte| *byte == 0).ok_or_else(short)?;
            at += len + 1;
            Ok(Some(shown::value(&rest[..len])))
        };
        let (name, comment) = (text(8)?, text(16)?);
        let len = (at + if flags & 2 != 0 { 2 } else { 0 }) as u64;
        let mtime = u32::from_le_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
        Ok(Self { len, mtime, flags, level: fixed[8], system: fixed[9], extra, name, comment })
    }

    fn values(self) -> Vec<Value> {
        // Zero says that there is no time.
        let mtime = (self.mtime != 0).then(|| shown::seconds(i64::from(self.mtime)));
        vec![
            Value::new("mtime", mtime.unwrap_or_else(|| "none".to_owned())).of(Class::FileTime),
            Value::maybe("name", self.name),
            Value::maybe("comment", self.comment),
            Value::maybe("extra", self.extra),
            Value::new("flags", format!("{:#x}", self.flags)),
            Value::new("level", self.level),
            Value::new("system", self.system),
        ]
    }
}
