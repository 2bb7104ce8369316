//! The one moment an image knows: `SOURCE_DATE_EPOCH` or its stand-ins. Never reads a clock.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Seconds since 1970-01-01T00:00:00Z, not negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Epoch(i64);

/// Why a text is not an epoch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("epoch {0:?} is not a whole number of seconds between 0 and 253402300799 (9999-12-31T23:59:59Z)")]
pub struct EpochError(String);

impl Epoch {
    /// 1970-01-01T00:00:00Z, the default.
    pub const ZERO: Epoch = Epoch(0);

    /// The latest second that RFC 3339 can write.
    const LAST: i64 = 253_402_300_799;

    /// An epoch from seconds; `None` outside 1970 to 9999.
    pub fn from_seconds(seconds: i64) -> Option<Self> {
        (0..=Self::LAST).contains(&seconds).then_some(Self(seconds))
    }

    /// The whole second of an RFC 3339 text, as configs hold it; `None` if it is none or out of range.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().and_then(|time| Self::from_seconds(time.as_second()))
    }

    /// The time of an HTTP header such as `Last-Modified`; `None` if it is none or out of range.
    pub fn from_http_date(text: &str) -> Option<Self> {
        let time = jiff::fmt::rfc2822::parse(text.trim()).ok()?;
        Self::from_seconds(time.timestamp().as_second())
    }

    /// Seconds since 1970.
    pub const fn seconds(self) -> i64 {
        self.0
    }

    /// RFC 3339 in UTC, as image configs hold it: `2023-11-14T22:13:20Z`.
    pub fn rfc3339(self) -> String {
        let timestamp = jiff::Timestamp::from_second(self.0).expect("within 1970 to 9999 by construction");
        timestamp.to_string()
    }
}

impl TryFrom<i64> for Epoch {
    type Error = EpochError;

    fn try_from(seconds: i64) -> Result<Self, EpochError> {
        Self::from_seconds(seconds).ok_or_else(|| EpochError(seconds.to_string()))
    }
}

impl From<Epoch> for i64 {
    fn from(epoch: Epoch) -> Self {
        epoch.0
    }
}

impl FromStr for Epoch {
    type Err = EpochError;
    fn from_str(text: &str) -> Result<Self, EpochError> {
        let error = || EpochError(text.chars().take(100).collect());
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(error());
        }
        text.parse().ok().and_then(Self::from_seconds).ok_or_else(error)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        assert_eq!("1700000000".parse::<Epoch>().unwrap().rfc3339(), "2023-11-14T22:13:20Z");
        assert_eq!(Epoch::ZERO.rfc3339(), "1970-01-01T00:00:00Z");
        assert_eq!(Epoch::from_rfc3339("2023-11-14T22:13:20.5Z").unwrap().seconds(), 1_700_000_000);
        let date = Epoch::from_http_date("Tue, 14 Nov 2023 22:13:20 GMT");
        assert_eq!(date.unwrap().seconds(), 1_700_000_000);
        assert_eq!(Epoch::from_http_date("yesterday"), None);
        assert_eq!(Epoch::from_rfc3339("0001-01-01T00:00:00Z"), None);
        for bad in ["", "-1", "+1", "1e3", "1.5", "253402300800", "99999999999999999999", " 1"] {
            assert!(bad.parse::<Epoch>().is_err(), "{bad}");
        }
    }
}
