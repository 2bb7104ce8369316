//! Wildcards of COPY sources: Go's `filepath.Match` on one name.

use crate::path::ImagePath;

/// Why a pattern is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("a '[' has no ']' or an empty or reversed range")]
    Class,
    #[error("it ends in a backslash")]
    Backslash,
}

/// Whether a name has any of `* ? [ \`.
pub fn is_wild(name: &[u8]) -> bool {
    name.iter().any(|b| matches!(b, b'*' | b'?' | b'[' | b'\\'))
}

/// Whether a name may stand for none or many: it has a wildcard that no backslash makes plain.
pub fn may_match_none(name: &[u8]) -> bool {
    let mut bytes = name.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'*' | b'?' | b'[' => return true,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
    false
}

/// The pattern that matches this very path and no other.
pub fn quoted(path: &ImagePath) -> ImagePath {
    let bytes = path.as_bytes().iter().flat_map(|byte| match is_wild(&[*byte]) {
        true => vec![b'\\', *byte],
        false => vec![*byte],
    });
    ImagePath::parse(&bytes.collect::<Vec<u8>>()).expect("a backslash makes no name invalid")
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Star,
    Any,
    Char(char),
    Class { negated: bool, ranges: Vec<(char, char)> },
}

/// One name's pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<Part>);

impl Pattern {
    /// Parses `*`, `?`, `[a-z]`, `[^a]` and `\x`.
    pub fn parse(text: &[u8]) -> Result<Self, PatternError> {
        let text = String::from_utf8_lossy(text);
        let mut chars = text.chars().peekable();
        let mut parts = Vec::new();
        while let Some(c) = chars.next() {
            parts.push(match c {
                '*' => Part::Star,
                '?' => Part::Any,
                '\\' => Part::Char(chars.next().ok_or(PatternError::Backslash)?),
                '[' => class(&mut chars)?,
                c => Part::Char(c),
            });
        }
        Ok(Self(parts))
    }

    /// Whether the whole name matches. Time is at most the product of both lengths.
    pub fn matches(&self, name: &[u8]) -> bool {
        let name: Vec<char> = String::from_utf8_lossy(name).chars().collect();
        let (mut part, mut at) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        while at < name.len() {
            match self.0.get(part) {
                Some(Part::Star) => {
                    retry = Some((part + 1, at));
                    part += 1;
                }
                Some(single) if single.accepts(name[at]) => {
                    part += 1;
                    at += 1;
                }
                _ => match &mut retry {
                    Some((after_star, from)) => {
                        *from += 1;
                        (part, at) = (*after_star, *from);
                    }
                    None => return false,
                },
            }
        }
        self.0[part..].iter().all(|p| *p == Part::Star)
    }
}

impl Part {
    fn accepts(&self, c: char) -> bool {
        match self {
            Part::Star => false,
            Part::Any => true,
            Part::Char(own) => *own == c,
            Part::Class { negated, ranges } => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated
            }
        }
    }
}

fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Part, PatternError> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
            return Ok(Part::Class { negated, ranges });
        }
        let from = class_char(chars)?;
        let to = if chars.next_if_eq(&'-').is_some() { class_char(chars)? } else { from };
        if to < from {
            return Err(PatternError::Class);
        }
        ranges.push((from, to));
    }
}

fn class_char(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<char, PatternError> {
    match chars.next() {
        None | Some('-' | ']') => Err(PatternError::Class),
        Some('\\') => chars.next().ok_or(PatternError::Backslash),
        Some(c) => Ok(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_filepath_match() {
        let matches = |p: &str, n: &str| Pattern::parse(p.as_bytes()).map(|p| p.matches(n.as_bytes()));
        for (pattern, name, expected) in [
            ("abc", "abc", Ok(true)),
            ("*", "abc", Ok(true)),
            ("*c", "abc", Ok(true)),
            ("a*", "a", Ok(true)),
            ("a*b?c*x", "abxbbxdbxebxczzx", Ok(true)),
            ("a*b?c*x", "abxbbxdbxebxczzy", Ok(false)),
            ("ab[c]", "abc", Ok(true)),
            ("ab[b-d]", "abc", Ok(true)),
            ("ab[e-g]", "abc", Ok(false)),
            ("ab[^c]", "abc", Ok(false)),
            ("ab[^e-g]", "abc", Ok(true)),
            ("a\\*b", "a*b", Ok(true)),
            ("a\\*b", "ab", Ok(false)),
            ("a?b", "a\u{263a}b", Ok(true)),
            ("a???b", "a\u{263a}b", Ok(false)),
            ("[\\]a]", "]", Ok(true)),
            ("[x\\-]", "-", Ok(true)),
            ("[]a]", "]", Err(PatternError::Class)),
            ("[-]", "-", Err(PatternError::Class)),
            ("[x-]", "x", Err(PatternError::Class)),
            ("[", "a", Err(PatternError::Class)),
            ("[^", "a", Err(PatternError::Class)),
            ("a[", "ab", Err(PatternError::Class)),
            ("a\\", "a", Err(PatternError::Backslash)),
            ("*x", "xxx", Ok(true)),
            ("", "", Ok(true)),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} on {name}");
        }
    }

    #[test]
    fn what_may_match_none() {
        for (name, expected) in
            [("a", false), ("a*", true), ("\\*", false), ("\\\\*", true), ("[[]", true), ("\\[\\?", false)]
        {
            assert_eq!(may_match_none(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = Pattern::parse("a*".repeat(100).as_bytes()).unwrap();
        assert!(!pattern.matches(format!("{}b", "a".repeat(50)).as_bytes()));
        assert!(!Pattern::parse(b"*a*a*a*a*a*a*a*a*a*a*b").unwrap().matches(&[b'a'; 5000]));
    }
}
