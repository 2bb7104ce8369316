//! Signals that `STOPSIGNAL` may name, on Linux.

const NAMES: [&str; 36] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE",
    "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU",
    "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
];

/// Whether a text is a number from 1 to 64, or a name with or without `SIG` before it, in any case.
pub fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<u8>() {
        return (1..=64).contains(&number);
    }
    let name = text.to_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let real_time = |prefix: &str, last: u8| {
        let offset = name.strip_prefix(prefix).filter(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
        offset.and_then(|rest| rest.parse::<u8>().ok()).is_some_and(|offset| (1..=last).contains(&offset))
    };
    NAMES.contains(&name) || real_time("RTMIN+", 15) || real_time("RTMAX-", 14)
}

#[cfg(test)]
mod tests {
    use super::is_signal;

    #[test]
    fn names_and_numbers() {
        for good in ["SIGTERM", "term", "9", "64", "SIGRTMIN+3", "RTMAX-14"] {
            assert!(is_signal(good), "{good}");
        }
        for bad in ["", "0", "65", "-9", "SIGFOO", "RTMIN+16", "RTMIN+", "SIGSIGTERM"] {
            assert!(!is_signal(bad), "{bad}");
        }
    }
}
