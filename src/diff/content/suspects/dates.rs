//! Dates and times of day in the forms that programs write.

use std::ops::Range;

/// A date in a text: where, and by which form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Date {
    pub at: Range<usize>,
    pub form: &'static str,
}

/// Forms, those that hold others first. `Y` is a year of four digits, `M` `D` `h` `m` `s` two digits, `d` a
/// day that may begin with a space or have one digit, `N` a month's name, `W` a weekday's, `Z` a zone in letters or
/// numbers, `f` a fraction or nothing; the rest stands for itself.
const FORMS: [&str; 22] = [
    "W, D N Y h:m:s",
    "W N d h:m:s Z Y",
    "W N d h:m:s Y",
    "W d N Y h:m:s",
    "Y-M-DTh:m:sf",
    "Y-M-D h:m:sf",
    "Y/M/D h:m:sf",
    "D/N/Y:h:m:s",
    "N d h:m:s",
    "YMDTh",
    "YMDhms",
    "Y-M-D",
    "Y/M/D",
    "D/M/Y",
    "M/D/Y",
    "D.M.Y",
    "N d, Y",
    "N d Y",
    "d N Y",
    "D-N-Y",
    "YMD",
    "h:m:sf",
];

const MONTHS: [&str; 23] = [
    "January",
    "February",
    "March",
    "April",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "May",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Oct",
    "Nov",
    "Dec",
];
const DAYS: [&str; 14] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
    "Mon",
    "Tue",
    "Wed",
    "Thu",
    "Fri",
    "Sat",
    "Sun",
];

/// Every date of a text that does not lie in another.
pub fn find(text: &str) -> Vec<Date> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let begins =
            bytes[at].is_ascii_alphanumeric() && !at.checked_sub(1).is_some_and(|i| joins(bytes, i, at));
        let date =
            begins.then(|| FORMS.iter().find_map(|form| Some((form, matches(form, bytes, at)?)))).flatten();
        match date {
            Some((form, end)) => {
                found.push(Date { at: at..end, form });
                at = end;
            }
            None => at += 1,
        }
    }
    found
}

/// Whether the byte before or behind makes what begins or ends here a part of something longer.
fn joins(bytes: &[u8], other: usize, own: usize) -> bool {
    match (bytes.get(other), bytes.get(own)) {
        (Some(other), Some(own)) if own.is_ascii_digit() => other.is_ascii_digit() || *other == b'.',
        (Some(other), Some(_)) => other.is_ascii_alphabetic(),
        _ => false,
    }
}

/// Where the form ends, if the text from there on has it.
fn matches(form: &str, bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    for letter in form.bytes() {
        at += width(letter, bytes.get(at..)?)?;
    }
    let last = at - 1;
    let continues = match bytes.get(at) {
        Some(next) if bytes[last].is_ascii_digit() => {
            let goes_on = *next == b'.' || form.as_bytes().contains(next);
            next.is_ascii_digit() || goes_on && bytes.get(at + 1).is_some_and(u8::is_ascii_digit)
        }
        _ => false,
    };
    // A zone or a fraction of a second may follow a time; a number that goes on may not follow a date.
    (!continues || form.ends_with('f') || form.ends_with('s') || form.ends_with('h')).then_some(at)
}

/// How many bytes of the text are what a letter of a form stands for.
fn width(letter: u8, text: &[u8]) -> Option<usize> {
    match letter {
        b'Y' => number(text, 4).filter(|year| (1970..=2099).contains(year)).map(|_| 4),
        b'M' => number(text, 2).filter(|month| (1..=12).contains(month)).map(|_| 2),
        b'D' => number(text, 2).filter(|day| (1..=31).contains(day)).map(|_| 2),
        b'd' => day(text),
        b'h' => number(text, 2).filter(|hour| *hour < 24).map(|_| 2),
        b'm' => number(text, 2).filter(|minute| *minute < 60).map(|_| 2),
        b's' => number(text, 2).filter(|second| *second <= 60).map(|_| 2),
        b'N' => name(text, &MONTHS),
        b'W' => name(text, &DAYS),
        b'Z' => {
            let zone = |byte: &&u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || **byte == b'+';
            Some(text.iter().take_while(zone).count()).filter(|len| (1..=6).contains(len))
        }
        b'f' => Some(match text {
            [b'.' | b',', rest @ ..] => match rest.iter().take_while(|b| b.is_ascii_digit()).count() {
                0 => 0,
                digits => digits + 1,
            },
            _ => 0,
        }),
        literal => (text.first() == Some(&literal)).then_some(1),
    }
}

fn day(text: &[u8]) -> Option<usize> {
    let (spaces, rest) = match text {
        [b' ', rest @ ..] => (1, rest),
        rest => (0, rest),
    };
    let digits = rest.iter().take(2).take_while(|byte| byte.is_ascii_digit()).count();
    let day = number(rest, digits).filter(|day| (1..=31).contains(day) && digits > 0);
    day.map(|_| spaces + digits)
}

fn number(text: &[u8], digits: usize) -> Option<u32> {
    let digits = text.get(..digits)?;
    digits
        .iter()
        .try_fold(0u32, |value, byte| byte.is_ascii_digit().then(|| value * 10 + u32::from(byte - b'0')))
}

fn name(text: &[u8], names: &[&str]) -> Option<usize> {
    names
        .iter()
        .find(|name| text.len() >= name.len() && text[..name.len()].eq_ignore_ascii_case(name.as_bytes()))
        .map(|name| name.len())
}

/// Seconds since 1970 that a build may have seen: 2000 to 2040.
pub const PLAUSIBLE: Range<u64> = 946_684_800..2_208_988_800;

/// Whether a decimal number can be a time since 1970, in seconds or thousandths, millionths or milliardths of them.
pub fn epoch(digits: &str) -> Option<u64> {
    let whole = digits.split_once('.').map_or(digits, |(whole, _)| whole);
    let value: u64 = whole.parse().ok()?;
    let unit = match whole.len() {
        9 | 10 => 1,
        12 | 13 => 1000,
        15 | 16 => 1_000_000,
        18 | 19 => 1_000_000_000,
        _ => return None,
    };
    PLAUSIBLE.contains(&(value / unit)).then_some(value / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_that_programs_write() {
        for (text, form) in [
            ("Mon, 30 Nov 2026 10:48:08 GMT", "W, D N Y h:m:s"),
            ("Mon Nov 30 10:48:08 UTC 2026", "W N d h:m:s Z Y"),
            ("Mon Nov  3 10:48:08 2026", "W N d h:m:s Y"),
            ("at 2026-11-30T10:48:08.123Z.", "Y-M-DTh:m:sf"),
            ("2026-11-30 10:48:08", "Y-M-D h:m:sf"),
            ("[30/Nov/2026:10:48:08 +0000]", "D/N/Y:h:m:s"),
            ("Nov 30 10:48:08 host", "N d h:m:s"),
            ("20261130T104808Z", "YMDTh"),
            ("build-20261130104808", "YMDhms"),
            ("\"Nov 30 2026\"", "N d Y"),
            ("Nov  3 2026", "N d Y"),
            ("30 November 2026", "d N Y"),
            ("v20261130", "YMD"),
            ("30.11.2026", "D.M.Y"),
            ("took 10:48:08", "h:m:sf"),
        ] {
            let found = find(text);
            assert_eq!(found.iter().map(|date| date.form).collect::<Vec<_>>(), [form], "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_a_date() {
        for text in [
            "20261330",
            "120261130",
            "2026-13-30",
            "1.2026-11-30.4",
            "25:61:00",
            "Marching 12",
            "10.0.20.2026.1",
            "99/99/2026",
        ] {
            assert_eq!(find(text), [], "{text}");
        }
        assert_eq!(epoch("1764499688"), Some(1_764_499_688));
        assert_eq!(epoch("1764499688123"), Some(1_764_499_688));
        assert_eq!(epoch("1764499688.25"), Some(1_764_499_688));
        for digits in ["4294967295", "123456789", "17644996881", "0000000001", "99999999999999999999", ""] {
            assert_eq!(epoch(digits), None, "{digits}");
        }
    }
}
