//! A stranger's text in messages.

use crate::diag::escape;

/// A stranger's text in a message: escaped, and cut to what a line can show.
pub fn shown(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    let cut = if short.len() < text.len() { "…" } else { "" };
    format!("'{}'{cut}", escape(short.as_bytes()))
}

/// A stranger's text in a help, likewise, as it would be typed.
pub fn clipped(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    escape(short.as_bytes())
}

/// The known name that a stranger's one may have been meant for.
pub fn similar<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Distances cost the product of the lengths.
    if name.len() > 60 {
        return None;
    }
    // A name that cannot be shown as it is cannot be meant.
    let plain = |known: &&str| escape(known.as_bytes()) == **known;
    crate::diag::suggest(name, known.into_iter().filter(|known| known.len() <= 60).take(1000).filter(plain))
}
