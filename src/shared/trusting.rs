//! `--cache-trust`: a key, and from when on it counts. Pure.

use std::path::PathBuf;
use std::str::FromStr;

use crate::csv;
use crate::epoch::Epoch;

/// One `--cache-trust`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trusting {
    /// The public key.
    pub file: PathBuf,
    /// What it signed before does not count.
    pub since: Option<Since>,
}

/// From when on signatures count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    At(Epoch),
    /// So many seconds before the build.
    Ago(i64),
}

impl Since {
    /// The moment itself, for a build that begins now.
    pub fn before(self, now: Epoch) -> Epoch {
        match self {
            Self::At(moment) => moment,
            Self::Ago(seconds) => Epoch::from_seconds(now.seconds() - seconds).unwrap_or(Epoch::ZERO),
        }
    }
}

/// Why a text names no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustingError {
    #[error("{0:?} has an open quote")]
    Quote(String),
    #[error("{0:?} names no file; expected PUBKEY or PUBKEY,since=DATE")]
    NoFile(String),
    #[error("{0:?} is no option here; there is since=DATE")]
    Option(String),
    #[error("since is given twice")]
    Twice,
    #[error(
        "since={0} is neither a date (2026-06-01), a time of RFC 3339, days or hours before now (30d, 12h), nor seconds since 1970"
    )]
    Since(String),
}

impl FromStr for Trusting {
    type Err = TrustingError;

    fn from_str(text: &str) -> Result<Self, TrustingError> {
        let fields = csv::record(text).ok_or_else(|| TrustingError::Quote(text.to_owned()))?;
        let mut fields = fields.into_iter().map(|field| field.text);
        let file = fields.next().filter(|file| !file.is_empty());
        let file = file.ok_or_else(|| TrustingError::NoFile(text.to_owned()))?.into();
        let mut since = None;
        for field in fields {
            let date = field.strip_prefix("since=").ok_or_else(|| TrustingError::Option(field.clone()))?;
            let date = moment(date).ok_or_else(|| TrustingError::Since(date.to_owned()))?;
            if since.replace(date).is_some() {
                return Err(TrustingError::Twice);
            }
        }
        Ok(Self { file, since })
    }
}

fn moment(text: &str) -> Option<Since> {
    let day = || Epoch::from_rfc3339(&format!("{text}T00:00:00Z"));
    let moment = text.parse().ok().or_else(|| Epoch::from_rfc3339(text)).or_else(day);
    moment.map(Since::At).or_else(|| ago(text).map(Since::Ago))
}

/// `30d`, `12h`.
fn ago(text: &str) -> Option<i64> {
    let (count, seconds) = match (text.strip_suffix('d'), text.strip_suffix('h')) {
        (Some(days), _) => (days, 86_400),
        (None, hours) => (hours?, 3_600),
    };
    let count: u32 = count.parse().ok().filter(|_| count.starts_with(|c: char| c.is_ascii_digit()))?;
    Some(i64::from(count) * seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Epoch {
        Epoch::from_seconds(seconds).unwrap()
    }

    #[test]
    fn texts() {
        let read = |text: &str| text.parse::<Trusting>();
        let is = |text: &str, file: &str, since: Option<i64>| {
            let since = since.map(|seconds| Since::At(at(seconds)));
            assert_eq!(read(text), Ok(Trusting { file: file.into(), since }), "{text}");
        };
        is("ci.pub", "ci.pub", None);
        is("\"a,b=c.pub\",since=2023-11-14", "a,b=c.pub", Some(1_699_920_000));
        is("ci.pub,since=2023-11-14T22:13:20Z", "ci.pub", Some(1_700_000_000));
        is("ci.pub,since=2023-11-14T23:13:20+01:00", "ci.pub", Some(1_700_000_000));
        is("ci.pub,since=1700000000", "ci.pub", Some(1_700_000_000));
        let ago = |text: &str| read(text).unwrap().since.unwrap().before(at(1_700_000_000)).seconds();
        assert_eq!((ago("k,since=2d"), ago("k,since=3h")), (1_700_000_000 - 172_800, 1_700_000_000 - 10_800));
        assert_eq!((ago("k,since=99999d"), ago("k,since=5")), (0, 5));
        for (text, says) in [
            ("a,since=d", "neither a date"),
            ("a,since=-1d", "neither a date"),
            ("a,since=+1d", "neither a date"),
            ("a,since=1dh", "neither a date"),
            ("", "names no file"),
            (",since=1", "names no file"),
            ("a,b", "\"b\" is no option"),
            ("a,since=1,since=2", "twice"),
            ("a,since=", "neither a date"),
            ("a,since=2023-02-30", "neither a date"),
            ("a,since=yesterday", "neither a date"),
            ("\"a", "open quote"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
