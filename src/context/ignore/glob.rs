//! One pattern of a `.dockerignore`: `*` and `?` within a name, `**` across names, `[…]`, `\` escapes.
//!
//! Owns the matching, which walks all ways at once: pattern times path, no backtracking.

/// What is wrong with a pattern.
type Problem = &'static str;

/// A compiled pattern. Most are plain text with a `**` at one end at most, and need no machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Glob {
    /// No wildcard: the path itself.
    Exact(Vec<u8>),
    /// `text**`: whatever begins with the text.
    Prefix(Vec<u8>),
    /// `**text`: whatever ends with the text; `**/name` is `name` at the root too.
    Suffix(Vec<u8>),
    /// Anything else.
    Machine(Vec<Token>),
}

/// One part of a pattern, matched in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    One(u32),
    /// `?`: one character, no slash.
    Any,
    /// `*`: any characters, no slash.
    Star,
    /// A final `**`: anything without a line feed.
    Deep,
    /// `**/`, first half: nothing at all, or the second half.
    DeepDir,
    /// `**/`, second half: anything without a line feed that ends with a slash.
    DeepDirBody,
    /// `^` outside a set: the beginning of the path.
    Start,
    Set {
        negated: bool,
        ranges: Vec<(u32, u32)>,
    },
}

const SLASH: u32 = b'/' as u32;
const FEED: u32 = b'\n' as u32;

/// Which of the simple forms a pattern still may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Exact,
    Prefix,
    Suffix,
    Machine,
}

impl Glob {
    /// Compiles a cleaned pattern.
    pub fn parse(text: &[u8]) -> Result<Self, Problem> {
        let mut reader = Reader { units: units(text), at: 0 };
        let mut tokens = Vec::new();
        let mut form = Form::Exact;
        while let Some(unit) = reader.next() {
            let first = tokens.is_empty();
            match char::from_u32(unit) {
                Some('*') if reader.take('*') => {
                    let slash = reader.take('/');
                    let end = reader.at == reader.units.len();
                    form = match (end, form) {
                        _ if first => Form::Suffix,
                        (true, Form::Exact) if !slash => Form::Prefix,
                        (_, _) => Form::Machine,
                    };
                    if end {
                        tokens.push(Token::Deep)
                    } else {
                        tokens.extend([Token::DeepDir, Token::DeepDirBody])
                    }
                    continue;
                }
                Some('*') => tokens.push(Token::Star),
                Some('?') => tokens.push(Token::Any),
                Some('[') => tokens.push(reader.set()?),
                Some('\\') => tokens.push(Token::One(reader.next().ok_or("it ends with a \\")?)),
                Some(']') => tokens.push(Token::One(unit)),
                Some('^') => {
                    tokens.push(Token::Start);
                    continue;
                }
                _ => {
                    tokens.push(Token::One(unit));
                    continue;
                }
            }
            form = Form::Machine;
        }
        Ok(match form {
            Form::Exact => Self::Exact(text.to_vec()),
            Form::Prefix => Self::Prefix(text[..text.len() - 2].to_vec()),
            Form::Suffix => Self::Suffix(text[2..].to_vec()),
            Form::Machine => Self::Machine(tokens),
        })
    }

    /// Whether a path (no slash at either end) matches as a whole.
    pub fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(text) => path == text,
            Self::Prefix(text) => path.starts_with(text),
            Self::Suffix(text) => path.ends_with(text) || text.strip_prefix(b"/") == Some(path),
            Self::Machine(tokens) => run(tokens, path).is_some_and(|states| states[tokens.len()]),
        }
    }

    /// Whether something that begins with `prefix` could match.
    pub fn may_match_below(&self, prefix: &[u8]) -> bool {
        match self {
            Self::Exact(text) => text.len() > prefix.len() && text.starts_with(prefix),
            Self::Prefix(text) => text.starts_with(prefix) || prefix.starts_with(text),
            Self::Suffix(_) => true,
            // A state before the end has something left to match; at the end, more text would not.
            Self::Machine(tokens) => {
                run(tokens, prefix).is_some_and(|states| states[..tokens.len()].contains(&true))
            }
        }
    }
}

/// The states that are reached behind all of `path`; `None` once there is none.
fn run(tokens: &[Token], path: &[u8]) -> Option<Vec<bool>> {
    let mut states = vec![false; tokens.len() + 1];
    let mut next = states.clone();
    states[0] = true;
    close(tokens, &mut states, true);
    for unit in units(path) {
        next.fill(false);
        for (index, token) in tokens.iter().enumerate().filter(|(index, _)| states[*index]) {
            step(token, unit, index, &mut next);
        }
        close(tokens, &mut next, false);
        std::mem::swap(&mut states, &mut next);
        if !states.contains(&true) {
            return None;
        }
    }
    Some(states)
}

/// Where one character leads from one state.
fn step(token: &Token, unit: u32, index: usize, next: &mut [bool]) {
    let on = match token {
        Token::One(own) => *own == unit,
        Token::Any => unit != SLASH,
        Token::Set { negated, ranges } => {
            ranges.iter().any(|(from, to)| (*from..=*to).contains(&unit)) != *negated
        }
        Token::Star => {
            next[index] |= unit != SLASH;
            false
        }
        Token::Deep => {
            next[index] |= unit != FEED;
            false
        }
        Token::DeepDirBody => {
            next[index] |= unit != FEED;
            unit == SLASH
        }
        Token::DeepDir | Token::Start => false,
    };
    next[index + 1] |= on;
}

/// Adds the states that need no character. All of them lie further on.
fn close(tokens: &[Token], states: &mut [bool], at_start: bool) {
    for (index, token) in tokens.iter().enumerate() {
        if !states[index] {
            continue;
        }
        match token {
            Token::Star | Token::Deep => states[index + 1] = true,
            Token::DeepDir => {
                states[index + 1] = true;
                states[index + 2] = true;
            }
            Token::Start => states[index + 1] |= at_start,
            Token::One(_) | Token::Any | Token::DeepDirBody | Token::Set { .. } => {}
        }
    }
}

/// Characters, and above them every byte that is no part of one.
fn units(bytes: &[u8]) -> Vec<u32> {
    let mut out = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.extend(chunk.valid().chars().map(u32::from));
        out.extend(chunk.invalid().iter().map(|byte| 0x11_0000 + u32::from(*byte)));
    }
    out
}

struct Reader {
    units: Vec<u32>,
    at: usize,
}

impl Reader {
    fn next(&mut self) -> Option<u32> {
        let unit = self.units.get(self.at).copied();
        self.at += usize::from(unit.is_some());
        unit
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.units.get(self.at) == Some(&u32::from(wanted));
        self.at += usize::from(found);
        found
    }

    /// What follows `[`, up to and with its `]`.
    fn set(&mut self) -> Result<Token, Problem> {
        let negated = self.take('^');
        let mut ranges = Vec::new();
        while ranges.is_empty() || !self.take(']') {
            let from = self.member()?;
            let to = if self.take('-') { self.member()? } else { from };
            if to < from {
                return Err("a range in [] runs backwards");
            }
            ranges.push((from, to));
        }
        Ok(Token::Set { negated, ranges })
    }

    fn member(&mut self) -> Result<u32, Problem> {
        const OPEN: Problem = "[ has no ]";
        match self.next().ok_or(OPEN)? {
            unit if unit == u32::from(b'\\') => self.next().ok_or(OPEN),
            unit if unit == u32::from(b'-') || unit == u32::from(b']') => Err("- and ] in [] need a \\"),
            unit => Ok(unit),
        }
    }
}
