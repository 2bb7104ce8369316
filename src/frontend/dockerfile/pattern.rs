//! Shell patterns of `${v#p}`, `${v%p}`, `${v/p/r}`: `*`, `?` and `\` escapes; no brackets. Neither wildcard
//! matches a line feed.

use super::env::Budget;
use super::expand::ExpandError;

/// How much a `*` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Greed {
    Shortest,
    Longest,
}

/// A compiled pattern: what stands between its stars. `a*b` has two parts, `ab` one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Vec<Unit>>,
}

/// One character of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    One(char),
    Any,
}

impl Unit {
    fn matches(self, c: char) -> bool {
        match self {
            Self::One(own) => own == c,
            Self::Any => c != '\n',
        }
    }
}

impl Pattern {
    /// Compiles a pattern.
    pub fn parse(text: &str) -> Result<Self, ExpandError> {
        let mut parts = vec![Vec::new()];
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let unit = match c {
                '*' => {
                    parts.push(Vec::new());
                    continue;
                }
                '?' => Unit::Any,
                '\\' => match chars.next() {
                    Some(c @ ('*' | '?' | '\\' | '}' | '/')) => Unit::One(c),
                    Some(_) | None => return Err(ExpandError::PatternEscape(text.to_owned())),
                },
                c => Unit::One(c),
            };
            parts.last_mut().expect("starts with one part and only grows").push(unit);
        }
        Ok(Self { parts })
    }

    /// `value` without the prefix that matches.
    pub fn trim_start(&self, value: &str, greed: Greed, budget: &mut Budget) -> Result<String, ExpandError> {
        let chars: Vec<char> = value.chars().collect();
        let end = self.match_at(&chars, 0, greed, budget)?.unwrap_or(0);
        Ok(chars[end..].iter().collect())
    }

    /// `value` without the suffix that matches.
    pub fn trim_end(&self, value: &str, greed: Greed, budget: &mut Budget) -> Result<String, ExpandError> {
        // The suffix of a text is the prefix of the reversed one.
        let mut parts: Vec<Vec<Unit>> = self.parts.clone();
        parts.reverse();
        parts.iter_mut().for_each(|part| part.reverse());
        let chars: Vec<char> = value.chars().rev().collect();
        let end = Self { parts }.match_at(&chars, 0, greed, budget)?.unwrap_or(0);
        Ok(chars[end..].iter().rev().collect())
    }

    /// `value` with the first match, or every match, replaced. Matches are leftmost and longest.
    pub fn replace(
        &self,
        value: &str,
        with: &str,
        all: bool,
        budget: &mut Budget,
    ) -> Result<String, ExpandError> {
        let chars: Vec<char> = value.chars().collect();
        let mut out = String::new();
        let (mut search, mut copied) = (0, 0);
        while search <= chars.len() {
            let Some((start, end)) = self.find(&chars, search, budget)? else { break };
            out.extend(&chars[copied..start]);
            // An empty match right behind a match does not count.
            if end > copied || start == 0 {
                budget.spend(with.len())?;
                out.push_str(with);
            }
            copied = end;
            search = end.max(search + 1);
            if !all {
                break;
            }
        }
        out.extend(&chars[copied.min(chars.len())..]);
        Ok(out)
    }

    fn find(
        &self,
        chars: &[char],
        from: usize,
        budget: &mut Budget,
    ) -> Result<Option<(usize, usize)>, ExpandError> {
        for start in from..=chars.len() {
            if let Some(end) = self.match_at(chars, start, Greed::Longest, budget)? {
                return Ok(Some((start, end)));
            }
        }
        Ok(None)
    }

    /// Where a match that begins at `start` ends. Taking the earliest place for each part but the last is enough:
    /// no other choice reaches further.
    fn match_at(
        &self,
        chars: &[char],
        start: usize,
        greed: Greed,
        budget: &mut Budget,
    ) -> Result<Option<usize>, ExpandError> {
        let Some(mut at) = part_at(&self.parts[0], chars, start, budget)? else { return Ok(None) };
        for (index, part) in self.parts.iter().enumerate().skip(1) {
            let line = chars[at..].iter().position(|c| *c == '\n').map_or(chars.len(), |feed| at + feed);
            let last = index + 1 == self.parts.len();
            budget.spend(1)?;
            let found = if last && greed == Greed::Longest {
                first_of((at..=line).rev(), part, chars, budget)?
            } else {
                first_of(at..=line, part, chars, budget)?
            };
            match found {
                Some(end) => at = end,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }
}

fn first_of(
    places: impl Iterator<Item = usize>,
    part: &[Unit],
    chars: &[char],
    budget: &mut Budget,
) -> Result<Option<usize>, ExpandError> {
    for place in places {
        if let Some(end) = part_at(part, chars, place, budget)? {
            return Ok(Some(end));
        }
    }
    Ok(None)
}

/// Where the part ends if it stands at `start`.
fn part_at(
    part: &[Unit],
    chars: &[char],
    start: usize,
    budget: &mut Budget,
) -> Result<Option<usize>, ExpandError> {
    budget.spend(1)?;
    let Some(text) = chars.get(start..start + part.len()) else { return Ok(None) };
    for (unit, c) in part.iter().zip(text) {
        budget.spend(1)?;
        if !unit.matches(*c) {
            return Ok(None);
        }
    }
    Ok(Some(start + part.len()))
}

#[cfg(test)]
mod tests {
    use super::super::env::Exhausted;
    use super::*;

    #[test]
    fn trims() {
        let start =
            |p: &str, v: &str, g| Pattern::parse(p).unwrap().trim_start(v, g, &mut Budget::new()).unwrap();
        let end =
            |p: &str, v: &str, g| Pattern::parse(p).unwrap().trim_end(v, g, &mut Budget::new()).unwrap();
        use Greed::{Longest, Shortest};
        assert_eq!(start("*/", "a/b/c", Shortest), "b/c");
        assert_eq!(start("*/", "a/b/c", Longest), "c");
        assert_eq!(start("x*", "a/b/c", Longest), "a/b/c");
        assert_eq!(start("?/*/", "a/b/c", Longest), "c");
        assert_eq!(start("\\*", "*a", Shortest), "a");
        assert_eq!(start("*", "a\nb", Longest), "\nb");
        assert_eq!(end(".*", "f.tar.gz", Shortest), "f.tar");
        assert_eq!(end(".*", "f.tar.gz", Longest), "f");
        assert_eq!(end("\\*a", "x*a", Shortest), "x");
    }

    #[test]
    fn replaces() {
        let one = |p: &str, v: &str, w: &str, all| {
            Pattern::parse(p).unwrap().replace(v, w, all, &mut Budget::new()).unwrap()
        };
        assert_eq!(one("o", "foo", "0", false), "f0o");
        assert_eq!(one("o", "foo", "0", true), "f00");
        assert_eq!(one("b*r", "foobarbar!", "x", false), "foox!");
        assert_eq!(one("", "ab", "-", true), "-a-b-");
        assert_eq!(one("*", "ab", "-", true), "-");
        assert_eq!(one("z", "ab", "-", true), "ab");
        assert_eq!(one("o", "foo", "$1", true), "f$1$1");
    }

    #[test]
    fn refuses_other_escapes() {
        assert!(Pattern::parse("\\n").is_err());
        assert!(Pattern::parse("a\\").is_err());
    }

    #[test]
    fn a_hopeless_search_ends() {
        let value = "a".repeat(1 << 20);
        let found = Pattern::parse("*ab").unwrap().replace(&value, "x", true, &mut Budget::new());
        assert_eq!(found, Err(ExpandError::Exhausted(Exhausted)));
    }
}
