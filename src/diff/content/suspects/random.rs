//! Values that nobody can have meant: hex, base64, UUIDs, names of temporary files.

/// Whether two words are UUIDs.
pub fn is_uuid(word: &str) -> bool {
    let groups: Vec<&str> = word.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether both are hex of one length, long enough to be no number, and do not resemble each other.
pub fn are_hex(a: &str, b: &str, least: usize) -> bool {
    let hex = |word: &str| {
        word.bytes().all(|byte| byte.is_ascii_hexdigit())
            && word.bytes().any(|byte| byte.is_ascii_alphabetic())
            && word.bytes().any(|byte| byte.is_ascii_digit())
    };
    a.len() == b.len() && a.len() >= least && hex(a) && hex(b) && differ(a, b)
}

/// Whether both are base64 of nearly one length that do not resemble each other.
pub fn are_base64(a: &str, b: &str) -> bool {
    let mixed = |word: &str| {
        let body = word.trim_end_matches('=');
        let kinds = [
            body.bytes().any(|byte| byte.is_ascii_lowercase()),
            body.bytes().any(|byte| byte.is_ascii_uppercase()),
            body.bytes().any(|byte| byte.is_ascii_digit()),
        ];
        body.len() >= 16
            && kinds.iter().all(|kind| *kind)
            && turns(body) * 4 >= body.len()
            && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/-_.".contains(&byte))
    };
    a.len().abs_diff(b.len()) <= 2 && mixed(a) && mixed(b) && differ(a, b)
}

/// Whether both are what mktemp puts into a name: of one length, letters and digits mixed.
pub fn are_suffixes(a: &str, b: &str) -> bool {
    let drawn = |word: &str| {
        let alphanumeric = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let inner_capital = word.bytes().skip(1).any(|byte| byte.is_ascii_uppercase())
            && word.bytes().any(|byte| byte.is_ascii_lowercase());
        let digit = word.bytes().any(|byte| byte.is_ascii_digit());
        let letter = word.bytes().any(|byte| byte.is_ascii_alphabetic());
        alphanumeric && (inner_capital || digit && letter)
    };
    // One of both may happen to have letters of one case only.
    a.len() == b.len() && a.len() >= 6 && (drawn(a) || drawn(b)) && differ(a, b) && letters(a) && letters(b)
}

fn letters(word: &str) -> bool {
    word.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Changes between kinds of characters: many in what was drawn, few in words.
fn turns(word: &str) -> usize {
    let kind = |byte: u8| match byte {
        b'a'..=b'z' => 0,
        b'A'..=b'Z' => 1,
        b'0'..=b'9' => 2,
        _ => 3,
    };
    word.as_bytes().windows(2).filter(|pair| kind(pair[0]) != kind(pair[1])).count()
}

/// At most a third of the places have the same character.
fn differ(a: &str, b: &str) -> bool {
    let same = a.bytes().zip(b.bytes()).filter(|(a, b)| a == b).count();
    same * 3 <= a.len().max(b.len())
}

/// Whether bytes of both sides look drawn: enough of them, many values, hardly any the same.
pub fn are_bytes(a: &[u8], b: &[u8]) -> bool {
    let spread = |bytes: &[u8]| {
        let mut seen = [false; 256];
        bytes.iter().for_each(|byte| seen[usize::from(*byte)] = true);
        let values = seen.iter().filter(|seen| **seen).count();
        // Of n values drawn of 256 some 256·(1 − e^(−n/256)) are different; three quarters of that are enough.
        #[expect(clippy::cast_possible_truncation, reason = "at most 192")]
        #[expect(clippy::cast_sign_loss, reason = "it is never below zero")]
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let expected = (192.0 * (1.0 - (-(bytes.len() as f64) / 256.0).exp())) as usize;
        let high = bytes.iter().filter(|byte| **byte >= 0x80).count();
        values >= expected && high * 5 >= bytes.len() && high * 5 <= bytes.len() * 4
    };
    let same = a.iter().zip(b).filter(|(a, b)| a == b).count();
    a.len() == b.len() && a.len() >= 12 && spread(a) && spread(b) && same * 8 <= a.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_values() {
        assert!(is_uuid("3f2b8c1e-9d4a-4c7b-8e21-5a6f7b8c9d0e"));
        assert!(are_hex("3f2b8c1e9d4a4c7b", "a91c04de55b7f012", 16));
        assert!(are_base64("q83vEjRWeJCrze8SNFZ4kA==", "Zm9vYmFyYmF6cXV4MTIzNA=="));
        assert!(are_suffixes("Xa3bQ9zz1K", "pL0sKd82Tq"));
        assert!(are_suffixes("ccAbCdEf", "ddxYzWvU"));
    }

    #[test]
    fn what_only_looks_drawn() {
        assert!(!is_uuid("3f2b8c1e-9d4a-4c7b-8e21"));
        assert!(
            !are_hex("0000000000000001", "0000000000000002", 16),
            "they resemble each other, and are numbers"
        );
        assert!(!are_hex("deadbeef", "cafebabe12", 8), "other lengths");
        assert!(!are_base64("ConfigurationManager", "ApplicationContextX1"), "words of a program");
        assert!(!are_suffixes("alphas", "gammas"), "words");
        assert!(!are_suffixes("123456", "654321"), "numbers");
        assert!(!are_bytes(&[0; 64], &[1; 64]));
        assert!(!are_bytes(b"a text that has no high bytes", b"another that has no high byte"));
    }
}
