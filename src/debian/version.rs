//! Versions of Debian packages, ordered as dpkg orders them (Debian Policy, section 5.6.12).

use std::cmp::Ordering;
use std::fmt;

/// `[epoch:]upstream[-revision]`. Equal are those that dpkg takes for equal: `1.0` and `0:1.0-0`.
#[derive(Debug, Clone)]
pub struct Version(String);

/// Why a text is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a Debian version: expected [epoch:]upstream[-revision]")]
pub struct VersionError(String);

impl Version {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Epoch, upstream version and revision.
    fn parts(&self) -> (u32, &str, &str) {
        let (epoch, rest) = match self.0.split_once(':') {
            Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
            None => (0, self.0.as_str()),
        };
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch, upstream, revision)
    }
}

impl std::str::FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let rest = match text.split_once(':') {
            Some((epoch, rest))
                if epoch.parse::<u32>().is_ok_and(|epoch| epoch <= i32::MAX.unsigned_abs()) =>
            {
                rest
            }
            Some(_) => return Err(VersionError(text.to_owned())),
            None => text,
        };
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
        let sound = |part: &str, more: &[u8]| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
        };
        if sound(upstream, b".+~-:") && sound(revision, b".+~") {
            return Ok(Self(text.to_owned()));
        }
        Err(VersionError(text.to_owned()))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let (own, other) = (self.parts(), other.parts());
        own.0.cmp(&other.0).then_with(|| part(own.1, other.1)).then_with(|| part(own.2, other.2))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

/// Compares upstream versions or revisions: in turn what is no digit, by character, and digits, by number.
fn part(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        loop {
            let (left, right) = (weight(a), weight(b));
            if left != right {
                return left.cmp(&right);
            }
            if left == 0 {
                break;
            }
            (a, b) = (&a[1..], &b[1..]);
        }
        let (left, right) = (digits(&mut a), digits(&mut b));
        match left.len().cmp(&right.len()).then_with(|| left.cmp(right)) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
    }
    Ordering::Equal
}

/// What the next character counts: a tilde less than the end, the end and digits nothing, letters less than the rest.
fn weight(text: &[u8]) -> i32 {
    match text.first() {
        None | Some(b'0'..=b'9') => 0,
        Some(b'~') => -1,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    }
}

/// Takes the digits at the front, leading zeros left out.
fn digits<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let len = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(len);
    *text = rest;
    let zeros = number.iter().take_while(|byte| **byte == b'0').count();
    &number[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn order_is_that_of_dpkg() {
        for (a, order, b) in [
            ("1.0", Ordering::Equal, "0:1.0-0"),
            ("1.0", Ordering::Equal, "1.0-"),
            ("1.0", Ordering::Less, "1:0.1"),
            ("1.0~rc1", Ordering::Less, "1.0"),
            ("1.0~~", Ordering::Less, "1.0~"),
            ("1.0~", Ordering::Less, "1.0~a"),
            ("1.0", Ordering::Less, "1.0a"),
            ("1.0a", Ordering::Less, "1.0+"),
            ("1.0+b", Ordering::Less, "1.0.1"),
            ("1.09", Ordering::Equal, "1.9"),
            ("1.10", Ordering::Greater, "1.9"),
            ("1.2-3", Ordering::Less, "1.2-3+deb12u1"),
            ("2.36-9+deb12u10", Ordering::Greater, "2.36-9+deb12u9"),
            ("1-2-3", Ordering::Greater, "1-2-2"),
            ("00001", Ordering::Equal, "1"),
            ("99999999999999999999", Ordering::Less, "100000000000000000000"),
        ] {
            if let Ok(b) = b.parse::<Version>() {
                assert_eq!(version(a).cmp(&b), order, "{a} {b}");
            }
        }
    }

    #[test]
    fn what_is_no_version() {
        for text in ["", ":1", "a:1", "1:", "1 2", "1_2", "1-", "-1", "99999999999:1", "1.0\n"] {
            assert!(text.parse::<Version>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn an_order(a in "[0-2a~+.]{1,5}(-[0-1a~]{1,3})?", b in "[0-2a~+.]{1,5}(-[0-1a~]{1,3})?", c in "[0-2a~+.]{1,5}") {
            let (a, b, c) = (version(&a), version(&b), version(&c));
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
        }
    }
}
