//! Sizes as docker reads them (`1048576`, `64k`, `1.5GiB`; units are powers of 1024) and as it prints them.

/// The number of bytes; `None` if the text is no size or too large.
pub fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let numeric = |part: &str| part.len() <= 18 && part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !numeric(whole) || !numeric(fraction) {
        return None;
    }
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let power = match unit.strip_suffix('i').unwrap_or(unit) {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let scale = 1_u128 << (10 * power);
    let tenths = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = if fraction.is_empty() { 0 } else { fraction.parse::<u128>().ok()? * scale / tenths };
    u64::try_from(whole.parse::<u128>().ok()? * scale + part).ok()
}

/// A size as docker prints it: decimal units, three significant digits.
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut unit = 0;
    let mut scale = 1u64;
    while unit + 1 < UNITS.len() && bytes / scale >= 1000 {
        unit += 1;
        scale *= 1000;
    }
    let (whole, rest) = (bytes / scale, bytes % scale);
    match (unit, whole) {
        (0, _) => format!("{whole}B"),
        (_, 0..10) => format!("{whole}.{:02}{}", rest * 100 / scale, UNITS[unit]),
        (_, 10..100) => format!("{whole}.{}{}", rest * 10 / scale, UNITS[unit]),
        (_, _) => format!("{whole}{}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, human};

    #[test]
    fn sizes() {
        for (text, wanted) in [
            ("0", Some(0)),
            ("1048576", Some(1 << 20)),
            ("64k", Some(64 << 10)),
            ("64KB", Some(64 << 10)),
            ("2 GiB", Some(2 << 30)),
            ("1.5g", Some(3 << 29)),
            ("1b", Some(1)),
            ("", None),
            ("k", None),
            ("1x", None),
            ("-1", None),
            ("1.2.3", None),
            ("99999999999999999999", None),
            ("999999999999p", None),
        ] {
            assert_eq!(bytes(text), wanted, "{text}");
        }
    }

    #[test]
    fn as_printed() {
        let of: Vec<String> =
            [0, 999, 1000, 4_400_000, 43_210_000, 999_999_999, 1_500_000_000].map(human).into();
        assert_eq!(of, ["0B", "999B", "1.00kB", "4.40MB", "43.2MB", "999MB", "1.50GB"]);
    }
}
