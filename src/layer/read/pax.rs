//! PAX extended headers (POSIX.1-2001, "pax Header Block"): records of one entry, each key once.

use super::fault::Fault;
use super::fields::owner;
use crate::diag::escape;
use crate::layer::entry::{Mtime, Xattr};
use crate::layer::header::XATTR_PREFIX;

/// The longest value of an xattr that Linux passes on.
const MAX_XATTR: usize = 65536;

/// What the records say, as far as it matters to an image.
#[derive(Default)]
pub(super) struct Records {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mtime: Option<Mtime>,
    /// Sorted by name; those that no layer may carry are among them still.
    pub xattrs: Vec<Xattr>,
}

impl Records {
    /// Parses the body of an extended header.
    pub fn parse(body: &[u8]) -> Result<Self, Fault> {
        let mut records = Self::default();
        let mut keys: Vec<&[u8]> = Vec::new();
        for record in split(body) {
            let (key, value) = record?;
            keys.push(key);
            records.apply(key, value)?;
        }
        keys.sort_unstable();
        if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Fault::RecordTwice(escape(pair[0])));
        }
        records.xattrs.sort_unstable();
        Ok(records)
    }

    fn apply(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        match key {
            b"path" => self.path = Some(name(value)?),
            b"linkpath" => self.link = Some(name(value)?),
            b"size" => self.size = Some(decimal(value).ok_or(Fault::Number { field: "size" })?),
            b"uid" => self.uid = Some(id(value, "uid")?),
            b"gid" => self.gid = Some(id(value, "gid")?),
            b"mtime" => self.mtime = Some(time(value).ok_or(Fault::Number { field: "mtime" })?),
            b"SCHILY.realsize" => return Err(Fault::Sparse),
            key if key.starts_with(b"GNU.sparse.") => return Err(Fault::Sparse),
            key => {
                if let Some(xattr) = key.strip_prefix(XATTR_PREFIX) {
                    let fits = (1..=255).contains(&xattr.len()) && value.len() <= MAX_XATTR;
                    if !fits {
                        return Err(Fault::Xattr(escape(xattr)));
                    }
                    self.xattrs.push((xattr.to_vec(), value.to_vec()));
                }
                // Names of owners, other times, comments and vendors' own records do not reach an image.
            }
        }
        Ok(())
    }
}

/// Checks a global header: whatever would change the entries after it is refused, so that cutting a tar in two never
/// changes what an entry means.
pub(super) fn check_global(body: &[u8]) -> Result<(), Fault> {
    for record in split(body) {
        let (key, _) = record?;
        let harmless = matches!(key, b"comment" | b"hdrcharset" | b"charset")
            || key.starts_with(b"LIBARCHIVE.")
            || key.starts_with(b"VENDOR.");
        if !harmless {
            return Err(Fault::Global(escape(key)));
        }
    }
    Ok(())
}

/// The records of a body: `"%d %s=%s\n"`, the number counting all of it.
fn split(mut body: &[u8]) -> impl Iterator<Item = Result<(&[u8], &[u8]), Fault>> {
    std::iter::from_fn(move || {
        if body.is_empty() {
            return None;
        }
        let record = first(body);
        body = record.as_ref().map_or(&[][..], |(_, _, rest)| *rest);
        Some(record.map(|(key, value, _)| (key, value)))
    })
}

/// Key, value and what comes after.
type First<'a> = (&'a [u8], &'a [u8], &'a [u8]);

fn first(body: &[u8]) -> Result<First<'_>, Fault> {
    let space = body.iter().take(20).position(|b| *b == b' ').ok_or(Fault::Record("it has no length"))?;
    let len = decimal(&body[..space])
        .filter(|_| body[0] != b'0')
        .ok_or(Fault::Record("its length is no number"))?;
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let record = body.get(..len).ok_or(Fault::Record("it is longer than its header"))?;
    let inner = record.get(space + 1..).ok_or(Fault::Record("its length is too small"))?;
    let inner = inner.strip_suffix(b"\n").ok_or(Fault::Record("it does not end with a newline"))?;
    let equals = inner.iter().position(|b| *b == b'=').ok_or(Fault::Record("it has no '='"))?;
    let (key, value) = (&inner[..equals], &inner[equals + 1..]);
    if key.is_empty() || key.contains(&0) {
        return Err(Fault::Record("its key is empty or holds a zero byte"));
    }
    Ok((key, value, &body[len..]))
}

fn name(value: &[u8]) -> Result<Vec<u8>, Fault> {
    if value.is_empty() || value.contains(&0) {
        return Err(Fault::Record("a path is empty or holds a zero byte"));
    }
    Ok(value.to_vec())
}

fn id(value: &[u8], field: &'static str) -> Result<u32, Fault> {
    let number = decimal(value).ok_or(Fault::Number { field })?;
    owner(i64::try_from(number).map_err(|_| Fault::Range { field })?, field)
}

/// Digits and nothing else, at most i64's largest.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value: u64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    i64::try_from(value).ok().map(|_| value)
}

/// Seconds with an optional fraction, of which nine digits count.
fn time(text: &[u8]) -> Option<Mtime> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match text.iter().position(|b| *b == b'.') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &b""[..]),
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let secs = i64::try_from(decimal(whole)?).ok()?;
    let digits = fraction.iter().chain(std::iter::repeat(&b'0')).take(9);
    let nanos = digits.fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
    Some(match (negative, nanos) {
        (false, _) => Mtime { secs, nanos },
        (true, 0) => Mtime { secs: -secs, nanos: 0 },
        (true, _) => Mtime { secs: -secs - 1, nanos: 1_000_000_000 - nanos },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let of = |text: &str| time(text.as_bytes()).map(|t| (t.secs, t.nanos));
        assert_eq!(of("1.5"), Some((1, 500_000_000)));
        assert_eq!(of("-1.5"), Some((-2, 500_000_000)));
        assert_eq!(of("-3"), Some((-3, 0)));
        assert_eq!(of("7."), Some((7, 0)));
        assert_eq!(of("1.1234567891"), Some((1, 123_456_789)));
        for bad in
            ["", "-", ".", ".5", "nan", "inf", "1e30", "+1", "1,5", "99999999999999999999", "1.-5", " 1"]
        {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn malformed_records() {
        for bad in [
            &b"no length"[..],
            b"x path=a\n",
            b"999 path=a\n",
            b"10 path=ab",
            b"10 path=abc",
            b"2 \n",
            b"3 \n\n",
            b"6 abc\n",
            b"5 =a\n",
            b"010 path=a\n",
            b"+9 path=a\n",
            b"8 path=\n",
            b"10 path=\0\n",
            b"99999999999999999999 path=a\n",
        ] {
            assert!(Records::parse(bad).is_err(), "{}", escape(bad));
        }
        assert_eq!(Records::parse(b"9 path=a\n").unwrap().path.unwrap(), b"a");
    }
}
