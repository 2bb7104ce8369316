//! Takes secrets out of what a process prints, before anybody sees or stores it.
//!
//! Best effort by nature: a process can print a value in a way nobody foresees. What is looked for is written down in
//! spec/secrets.md.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Stands for a secret in the output.
pub const MASK: &[u8] = b"*****";

/// The shortest value that is looked for: a shorter one would mask half of every output.
pub const SHORTEST: usize = 4;
/// The shortest line of a value that is looked for by itself.
const SHORTEST_LINE: usize = 8;

/// What one build looks for in its steps' output.
#[derive(Debug, Default)]
pub struct Needles {
    /// The longest first.
    texts: Vec<Vec<u8>>,
    /// Which bytes one of them begins with.
    first: Vec<bool>,
}

impl Needles {
    /// Everything a value may show as.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut texts: Vec<Vec<u8>> = values.into_iter().flat_map(forms).collect();
        texts.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        texts.dedup();
        let mut first = vec![false; 256];
        texts.iter().for_each(|text| first[usize::from(text[0])] = true);
        Self { texts, first }
    }

    /// Whether there is anything to look for.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }
}

/// The value itself, its lines, and its usual encodings.
fn forms(value: &[u8]) -> Vec<Vec<u8>> {
    let bare = value.strip_suffix(b"\n").unwrap_or(value);
    let bare = bare.strip_suffix(b"\r").unwrap_or(bare);
    if bare.len() < SHORTEST {
        return Vec::new();
    }
    let mut forms =
        vec![bare.to_vec(), base64(value), base64(bare), hex(bare, false), hex(bare, true), url(bare)];
    let lines = bare.split(|byte| *byte == b'\n').map(|line| line.trim_ascii());
    forms.extend(lines.filter(|line| line.len() >= SHORTEST_LINE).map(<[u8]>::to_vec));
    forms
}

/// Without the last characters, which depend on what follows the value.
fn base64(bytes: &[u8]) -> Vec<u8> {
    STANDARD.encode(&bytes[..bytes.len() / 3 * 3]).into_bytes()
}

fn hex(bytes: &[u8], upper: bool) -> Vec<u8> {
    let digits: &[u8; 16] = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    bytes.iter().flat_map(|byte| [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]).collect()
}

fn url(bytes: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    let encode =
        |byte: &u8| if plain(byte) { vec![*byte] } else { [vec![b'%'], hex(&[*byte], true)].concat() };
    bytes.iter().flat_map(encode).collect()
}

/// One stream on its way out. Holds back no more than what may turn out to be a secret.
#[derive(Debug, Default)]
pub struct Masked {
    pending: Vec<u8>,
}

impl Masked {
    /// Takes bytes in and gives those that are safe to show.
    pub fn push(&mut self, needles: &Needles, bytes: &[u8]) -> Vec<u8> {
        self.pending.extend_from_slice(bytes);
        let (out, used) = scan(needles, &self.pending, true);
        self.pending.drain(..used);
        out
    }

    /// The rest, when the stream has ended.
    pub fn finish(&mut self, needles: &Needles) -> Vec<u8> {
        scan(needles, &std::mem::take(&mut self.pending), false).0
    }
}

/// What is safe to show of `bytes`, and how many of them that covers. With `more` to come, an end that one of the
/// needles begins with is left.
fn scan(needles: &Needles, bytes: &[u8], more: bool) -> (Vec<u8>, usize) {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if needles.first[usize::from(*byte)] {
            let rest = &bytes[at..];
            // A longer one that may still come to be goes before a shorter one that is there.
            if more && needles.texts.iter().any(|text| text.len() > rest.len() && text.starts_with(rest)) {
                break;
            }
            if let Some(text) = needles.texts.iter().find(|text| rest.starts_with(text)) {
                out.extend_from_slice(MASK);
                at += text.len();
                continue;
            }
        }
        out.push(*byte);
        at += 1;
    }
    (out, at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(values: &[&[u8]], chunks: &[&[u8]]) -> String {
        let needles = Needles::new(values.iter().copied());
        let mut masked = Masked::default();
        let mut out: Vec<u8> = chunks.iter().flat_map(|chunk| masked.push(&needles, chunk)).collect();
        out.extend(masked.finish(&needles));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn forms_of_a_value_are_masked() {
        let value: &[u8] = b"s3cret/value\n";
        for text in [
            "s3cret/value",
            "czNjcmV0L3ZhbHVl",
            "7333637265742f76616c7565",
            "7333637265742F76616C7565",
            "s3cret%2Fvalue",
        ] {
            let line = format!("a {text} b");
            assert_eq!(whole(&[value], &[line.as_bytes()]), "a ***** b");
        }
        assert_eq!(whole(&[b"first line\nsecond line\n"], &[b"a second line"]), "a *****");
        assert_eq!(whole(&[b"abc"], &[b"abcabc"]), "abcabc", "too short to be looked for");
        assert!(Needles::new([&b"abc"[..]]).is_empty());
    }

    #[test]
    fn a_value_is_found_across_chunks() {
        assert_eq!(whole(&[b"secret"], &[b"a sec", b"re", b"t b"]), "a ***** b");
        assert_eq!(whole(&[b"secret"], &[b"a sec", b"urity"]), "a security");
        assert_eq!(whole(&[b"secret"], &[b"secre"]), "secre", "what never came to be one is shown");
        assert_eq!(
            whole(&[b"secret", b"secret-longer"], &[b"secret-", b"longer secret-short"]),
            "***** *****-short"
        );
    }

    proptest! {
        /// However the stream is cut, the result is that of the whole, and no value is left.
        #[test]
        fn cuts_do_not_matter(text in "[abc]{0,60}", cuts in prop::collection::vec(0_usize..60, 0..6)) {
            let values: [&[u8]; 2] = [b"abca", b"bcabcab"];
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
            let out = whole(&values, &chunks);
            prop_assert_eq!(&out, &whole(&values, &[text.as_bytes()]));
            prop_assert!(!out.contains("abca") && !out.contains("bcabcab"));
        }
    }
}
