//! A lock: what is read is what would have been written, comments and empty lines left out.

use lith::lock::Lock;

/// Reads bytes as a lock.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Lock::parse(text) {
        Ok(lock) => {
            let written = lock.text();
            let said = |text: &str| -> Vec<String> {
                text.lines()
                    .filter(|line| !line.is_empty() && !line.starts_with("//"))
                    .map(str::to_owned)
                    .collect()
            };
            assert_eq!(said(text), said(&written));
            assert_eq!(Lock::parse(&written).as_ref(), Ok(&lock));
        }
        Err(found) => {
            assert!(!found.is_empty() && found.len() <= 21);
            for diagnostic in found {
                assert!(text.get(diagnostic.span.range()).is_some(), "{diagnostic:?}");
                assert!(super::is_printable(&diagnostic.message), "{diagnostic:?}");
                assert!(diagnostic.help.as_deref().is_none_or(super::is_printable), "{diagnostic:?}");
            }
        }
    }
}
