//! Names of signals, as people write them: `TERM`, `SIGTERM`, `15`, `RTMIN+3`.

/// No signal of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no signal; expected a name such as TERM or SIGTERM, or a number from 1 to 64")]
pub struct UnknownSignal(String);

/// Asks a process to end.
pub const TERM: i32 = 15;
/// Ends a process.
pub const KILL: i32 = 9;

/// signal(7), by number from 1.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The first and the last that a program may use as it likes, as the C library has them.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// The number of a signal.
pub fn number(text: &str) -> Result<i32, UnknownSignal> {
    let unknown = || UnknownSignal(text.chars().take(100).collect());
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=RTMAX).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let known = (1..).zip(NAMES).find(|(_, known)| *known == name).map(|(number, _)| number);
    known.or_else(|| real_time(name)).ok_or_else(unknown)
}

fn real_time(name: &str) -> Option<i32> {
    let (from, offset) = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => (RTMIN, rest.strip_prefix('+').unwrap_or(rest)),
        (_, Some(rest)) => (RTMAX, rest),
        _ => return None,
    };
    let offset = if offset.is_empty() { 0 } else { offset.parse::<i32>().ok()? };
    let number = from.checked_add(offset)?;
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, wanted) in [
            ("TERM", 15),
            ("sigterm", 15),
            ("9", 9),
            ("SIGUSR2", 12),
            ("RTMIN+3", 37),
            ("SIGRTMAX-1", 63),
            ("SYS", 31),
        ] {
            assert_eq!(number(text), Ok(wanted), "{text}");
        }
        for text in ["", "0", "65", "-1", "TREM", "RTMIN+40", "RTMIN-1", "SIG"] {
            assert!(number(text).is_err(), "{text}");
        }
    }
}
