//! Variables, quotes and escapes in a word: `$v`, `${v:-w}`, `${v#p}`, `${v/p/r}` and their kin.
//!
//! One lexer serves plain expansion, the bodies of here-documents, and the search for `<<NAME`.

use std::iter::Peekable;
use std::str::Chars;

use indexmap::IndexSet;

use crate::diag::escape;

use super::env::{Budget, Env, Exhausted, MAX_VALUE};
use super::pattern::{Greed, Pattern};

/// How deep `${` may nest.
const MAX_DEPTH: usize = 100;

/// Why a word cannot be expanded. Its message shows text of the file escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    #[error("syntax error: missing '}}'")]
    MissingBrace,
    #[error("syntax error: missing '/' in ${{}}")]
    MissingSlash,
    #[error("syntax error: bad substitution")]
    BadSubstitution,
    #[error("unexpected end of statement while looking for matching single-quote")]
    SingleQuote,
    #[error("unexpected end of statement while looking for matching double-quote")]
    DoubleQuote,
    #[error("unsupported modifier ({}) in substitution", escape(.0.as_bytes()))]
    Modifier(String),
    #[error("{}: {}", escape(.name.as_bytes()), escape(.message.as_bytes()))]
    Required { name: String, message: String },
    #[error("invalid pattern ({}) in substitution: \\ may stand before *, ?, \\, }} and / only", escape(.0.as_bytes()))]
    PatternEscape(String),
    #[error("value grows beyond 1048576 bytes")]
    TooLarge,
    #[error("more than 100 nested ${{")]
    TooDeep,
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
}

/// What quotes do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quotes {
    /// They group and vanish.
    Strip,
    /// They group and stay.
    Keep,
    /// They are text.
    Text,
}

/// What happens to an escape character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escapes {
    Strip,
    Keep,
}

/// Expands words in one environment.
#[derive(Debug, Clone, Copy)]
pub struct Lexer<'a> {
    escape: char,
    quotes: Quotes,
    escapes: Escapes,
    /// `None`: variables are left as they are written.
    env: Option<&'a Env>,
}

impl<'a> Lexer<'a> {
    /// For the words of an instruction.
    pub fn new(escape: char, env: &'a Env) -> Self {
        Self { escape, quotes: Quotes::Strip, escapes: Escapes::Strip, env: Some(env) }
    }

    /// For the body of a here-document: quotes are text, and `\` escapes whatever the directive says.
    pub fn document(env: &'a Env) -> Self {
        Self { escape: '\\', quotes: Quotes::Text, escapes: Escapes::Strip, env: Some(env) }
    }

    /// The names of the variables that a text mentions, each once, in order; those that lie in a part which would not
    /// be used too. Of a text that cannot be expanded, those before the fault.
    pub fn variables(&self, text: &str) -> Vec<String> {
        let mut budget = Budget::new();
        let lexer = Lexer { env: None, ..*self };
        let mut walk = lexer.start(text, &mut budget);
        // Whoever expands the text reports what is wrong with it.
        let _ = walk.until(None, None);
        walk.names.into_iter().collect()
    }

    /// The text with its variables replaced, quotes and escapes resolved.
    pub fn word(&self, text: &str, budget: &mut Budget) -> Result<String, ExpandError> {
        self.start(text, budget).until(None, None)
    }

    /// The same, split at white space that came without quotes, from variables too.
    pub fn words(&self, text: &str, budget: &mut Budget) -> Result<Vec<String>, ExpandError> {
        let mut words = Words::default();
        self.start(text, budget).until(None, Some(&mut words))?;
        Ok(words.finish())
    }

    fn start<'t, 'b>(&self, text: &'t str, budget: &'b mut Budget) -> Walk<'a, 't, 'b> {
        Walk {
            lexer: *self,
            escapes: self.escapes,
            chars: text.chars().peekable(),
            depth: 0,
            budget,
            names: IndexSet::new(),
        }
    }
}

impl Lexer<'static> {
    /// Keeps quotes, escapes and variables: splits only.
    pub fn raw() -> Self {
        Self { escape: '\\', quotes: Quotes::Keep, escapes: Escapes::Keep, env: None }
    }

    /// Takes quotes and escapes off, keeps variables.
    pub fn unquoting() -> Self {
        Self { quotes: Quotes::Strip, escapes: Escapes::Strip, ..Self::raw() }
    }

    /// Splits text of the file; it cannot grow, so no budget is needed.
    pub fn raw_words(&self, text: &str) -> Result<Vec<String>, ExpandError> {
        self.words(text, &mut Budget::new())
    }
}

/// The words of an expansion so far.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    word: String,
}

impl Words {
    fn space_or(&mut self, c: char) {
        if !c.is_whitespace() {
            self.word.push(c);
        } else if !self.word.is_empty() {
            self.done.push(std::mem::take(&mut self.word));
        }
    }

    fn finish(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.done.push(self.word);
        }
        self.done
    }
}

/// One pass over a text.
struct Walk<'a, 't, 'b> {
    lexer: Lexer<'a>,
    /// Patterns keep escapes for a while.
    escapes: Escapes,
    chars: Peekable<Chars<'t>>,
    depth: usize,
    budget: &'b mut Budget,
    /// Of the variables met so far.
    names: IndexSet<String>,
}

impl Walk<'_, '_, '_> {
    /// Everything up to the stop character, which is consumed, or to the end if there is none.
    fn until(&mut self, stop: Option<char>, mut words: Option<&mut Words>) -> Result<String, ExpandError> {
        let mut out = String::new();
        while let Some(&c) = self.chars.peek() {
            if Some(c) == stop {
                self.chars.next();
                return Ok(out);
            }
            match (c, self.lexer.quotes) {
                ('$', _) => {
                    let value = self.dollar()?;
                    self.append(&mut out, &value)?;
                    if let Some(words) = words.as_deref_mut() {
                        value.chars().for_each(|c| words.space_or(c));
                    }
                }
                ('\'' | '"', Quotes::Strip | Quotes::Keep) => {
                    let text = if c == '"' { self.double_quoted()? } else { self.single_quoted()? };
                    self.append(&mut out, &text)?;
                    if let Some(words) = words.as_deref_mut() {
                        words.word.push_str(&text);
                    }
                }
                _ => self.plain(&mut out, words.as_deref_mut())?,
            }
        }
        match stop {
            None => Ok(out),
            Some('/') => Err(ExpandError::MissingSlash),
            Some(_) => Err(ExpandError::MissingBrace),
        }
    }

    /// One character that is neither quote nor variable, or an escaped one.
    fn plain(&mut self, out: &mut String, words: Option<&mut Words>) -> Result<(), ExpandError> {
        let Some(c) = self.chars.next() else { return Ok(()) };
        let mut piece = String::new();
        if c != self.lexer.escape {
            if let Some(words) = words {
                words.space_or(c);
            }
            piece.push(c);
            return self.append(out, &piece);
        }
        if self.escapes == Escapes::Keep {
            piece.push(c);
        }
        piece.extend(self.chars.next());
        if let Some(words) = words {
            words.word.push_str(&piece);
        }
        self.append(out, &piece)
    }

    fn append(&mut self, out: &mut String, text: &str) -> Result<(), ExpandError> {
        self.budget.spend(text.len())?;
        if self.lexer.env.is_some() && out.len() + text.len() > MAX_VALUE {
            return Err(ExpandError::TooLarge);
        }
        out.push_str(text);
        Ok(())
    }

    fn quote(&mut self, out: &mut String) {
        let c = self.chars.next();
        if self.lexer.quotes == Quotes::Keep {
            out.extend(c);
        }
    }

    fn single_quoted(&mut self) -> Result<String, ExpandError> {
        let mut out = String::new();
        self.quote(&mut out);
        loop {
            match self.chars.peek() {
                None => return Err(ExpandError::SingleQuote),
                Some('\'') => {
                    self.quote(&mut out);
                    return Ok(out);
                }
                Some(_) => out.extend(self.chars.next()),
            }
        }
    }

    fn double_quoted(&mut self) -> Result<String, ExpandError> {
        let mut out = String::new();
        self.quote(&mut out);
        loop {
            match self.chars.peek().copied() {
                None => return Err(ExpandError::DoubleQuote),
                Some('"') => {
                    self.quote(&mut out);
                    return Ok(out);
                }
                Some('$') => {
                    let value = self.dollar()?;
                    self.append(&mut out, &value)?;
                }
                Some(c) if c == self.lexer.escape => {
                    self.chars.next();
                    self.escaped_in_quotes(c, &mut out);
                }
                Some(_) => out.extend(self.chars.next()),
            }
        }
    }

    /// Between double quotes only `"`, `$` and the escape character can be escaped.
    fn escaped_in_quotes(&mut self, escape: char, out: &mut String) {
        let special = |c: &char| matches!(c, '"' | '$') || *c == escape;
        if self.escapes == Escapes::Keep {
            out.push(escape);
        }
        match self.chars.next_if(special) {
            Some(c) => out.push(c),
            None if self.chars.peek().is_some() => out.push(escape),
            None => {}
        }
    }

    /// `$name` or `${…}`.
    fn dollar(&mut self) -> Result<String, ExpandError> {
        self.chars.next();
        if self.chars.next_if_eq(&'{').is_none() {
            let name = self.variable();
            return Ok(match (name.as_str(), self.lexer.env) {
                ("", _) => "$".to_owned(),
                (name, Some(env)) => env.get(name).unwrap_or_default().to_owned(),
                (name, None) => format!("${name}"),
            });
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ExpandError::TooDeep);
        }
        let value = self.braces();
        self.depth -= 1;
        value
    }

    /// What follows `${`, up to and with its `}`.
    fn braces(&mut self) -> Result<String, ExpandError> {
        match self.chars.peek() {
            None => return Err(ExpandError::MissingBrace),
            Some('{' | '}' | ':') => return Err(ExpandError::BadSubstitution),
            Some(_) => {}
        }
        let name = self.variable();
        match self.chars.next() {
            None => Err(ExpandError::MissingBrace),
            Some('}') => Ok(match self.lexer.env {
                Some(env) => env.get(&name).unwrap_or_default().to_owned(),
                None => format!("${{{name}}}"),
            }),
            Some(':') => match self.chars.next() {
                None => Err(ExpandError::MissingBrace),
                Some(c @ ('-' | '+' | '?')) => self.default(&name, c, true),
                Some(c) => Err(ExpandError::Modifier(format!(":{c}"))),
            },
            Some(c @ ('-' | '+' | '?')) => self.default(&name, c, false),
            Some(c @ ('#' | '%')) => self.trim(&name, c),
            Some('/') => self.replace(&name),
            Some(c) => Err(ExpandError::Modifier(c.to_string())),
        }
    }

    /// `-`, `+`, `?`, each with or without a colon before it.
    fn default(&mut self, name: &str, modifier: char, colon: bool) -> Result<String, ExpandError> {
        let word = self.until_with('}', self.lexer.escapes)?;
        let Some(env) = self.lexer.env else {
            let colon = if colon { ":" } else { "" };
            return Ok(format!("${{{name}{colon}{modifier}{word}}}"));
        };
        let set = env.get(name);
        let value = set.filter(|value| !(colon && value.is_empty()));
        match (modifier, value) {
            ('-', value) => Ok(value.map_or(word, str::to_owned)),
            ('+', Some(_)) => Ok(word),
            ('+', None) => Ok(String::new()),
            (_, Some(value)) => Ok(value.to_owned()),
            (_, None) => {
                let plain =
                    if set.is_some() { "is not allowed to be empty" } else { "is not allowed to be unset" };
                let message = if word.is_empty() { plain.to_owned() } else { word };
                Err(ExpandError::Required { name: name.to_owned(), message })
            }
        }
    }

    /// `#`, `##`, `%`, `%%`.
    fn trim(&mut self, name: &str, modifier: char) -> Result<String, ExpandError> {
        let word = self.until_with('}', Escapes::Keep)?;
        let Some(env) = self.lexer.env else { return Ok(format!("${{{name}{modifier}{word}}}")) };
        let (pattern, greed) = match word.strip_prefix(modifier) {
            Some(rest) => (rest, Greed::Longest),
            None => (word.as_str(), Greed::Shortest),
        };
        let pattern = Pattern::parse(pattern)?;
        let value = env.get(name).unwrap_or_default();
        match modifier {
            '%' => pattern.trim_end(value, greed, self.budget),
            _ => pattern.trim_start(value, greed, self.budget),
        }
    }

    /// `/`, `//`.
    fn replace(&mut self, name: &str) -> Result<String, ExpandError> {
        let all = self.chars.next_if_eq(&'/').is_some();
        let pattern = self.until_with('/', Escapes::Keep)?;
        let with = self.until_with('}', Escapes::Keep)?;
        let Some(env) = self.lexer.env else {
            let slashes = if all { "//" } else { "/" };
            return Ok(format!("${{{name}{slashes}{pattern}/{with}}}"));
        };
        let value = env.get(name).unwrap_or_default();
        Pattern::parse(&pattern)?.replace(value, &with, all, self.budget)
    }

    fn until_with(&mut self, stop: char, escapes: Escapes) -> Result<String, ExpandError> {
        let before = std::mem::replace(&mut self.escapes, escapes);
        let word = self.until(Some(stop), None);
        self.escapes = before;
        word
    }

    fn variable(&mut self) -> String {
        let name = self.name();
        if !name.is_empty() && !self.names.contains(&name) {
            self.names.insert(name.clone());
        }
        name
    }

    /// A variable's name, a number, or one special parameter; empty if there is none.
    fn name(&mut self) -> String {
        let mut name = String::new();
        let digits = self.chars.peek().is_some_and(|c| c.is_numeric());
        let special = |c: &char| matches!(c, '@' | '*' | '#' | '?' | '-' | '$' | '!');
        if let Some(c) = self.chars.next_if(special) {
            name.push(c);
            return name;
        }
        let part = |c: &char| if digits { c.is_numeric() } else { c.is_alphanumeric() || *c == '_' };
        while let Some(c) = self.chars.next_if(part) {
            name.push(c);
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> Env {
        let mut env = Env::default();
        for (name, value) in
            [("A", "alpha"), ("E", ""), ("S", "one two"), ("P", "/usr/local/bin"), ("é", "e")]
        {
            env.set(name, value.into());
        }
        env
    }

    fn word(text: &str) -> String {
        match Lexer::new('\\', &env()).word(text, &mut Budget::new()) {
            Ok(text) => text,
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn variables_of_a_text() {
        let of = |text: &str| Lexer::new('\\', &env()).variables(text);
        assert_eq!(of("$A-${B:-$C}'$D'\\$E\"$F\"${G#$H}$A$"), ["A", "B", "C", "F", "G", "H"]);
        assert_eq!(of("$A${"), ["A"]);
    }

    /// Rules 23 to 27 of the language, one row each.
    #[test]
    fn table() {
        for (text, wanted) in [
            ("$A", "alpha"),
            ("${A}x", "alphax"),
            ("$A$A", "alphaalpha"),
            ("$Ax", ""),
            ("${é}", "e"),
            ("a$", "a$"),
            ("a$.", "a$."),
            ("$1$@$*$#$?$-$$$!$0|", "|"),
            ("$12x", "x"),
            ("${}", "error: syntax error: bad substitution"),
            ("${:x}", "error: syntax error: bad substitution"),
            ("${{A}}", "error: syntax error: bad substitution"),
            ("${A", "error: syntax error: missing '}'"),
            ("${", "error: syntax error: missing '}'"),
            ("${A:", "error: syntax error: missing '}'"),
            ("${A-x", "error: syntax error: missing '}'"),
            ("${A^}", "error: unsupported modifier (^) in substitution"),
            ("${A:=x}", "error: unsupported modifier (:=) in substitution"),
            ("${A:#x}", "error: unsupported modifier (:#) in substitution"),
            ("${N-d}", "d"),
            ("${E-d}", ""),
            ("${E:-d}", "d"),
            ("${N:-$A}", "alpha"),
            ("${N:-${E:-deep}}", "deep"),
            ("${A+x}", "x"),
            ("${E+x}", "x"),
            ("${E:+x}", ""),
            ("${N+x}", ""),
            ("${A?m}", "alpha"),
            ("${N?}", "error: N: is not allowed to be unset"),
            ("${N?gone}", "error: N: gone"),
            ("${E?m}", ""),
            ("${E:?}", "error: E: is not allowed to be empty"),
            ("${P#*/}", "usr/local/bin"),
            ("${P##*/}", "bin"),
            ("${P%/*}", "/usr/local"),
            ("${P%%/*}", ""),
            ("${P/\\//_}", "_usr/local/bin"),
            ("${P//\\//_}", "_usr_local_bin"),
            ("${P/l/$A}", "/usr/alphaocal/bin"),
            ("${A/x", "error: syntax error: missing '/' in ${}"),
            ("${A/x/y", "error: syntax error: missing '}'"),
            (
                "${A#\\n}",
                "error: invalid pattern (\\\\n) in substitution: \\ may stand before *, ?, \\, } and / only",
            ),
            ("'$A'", "$A"),
            ("'\\'", "\\"),
            ("\"$A 'x'\"", "alpha 'x'"),
            ("\"\\$A \\\" \\\\ \\n\"", "$A \" \\ \\n"),
            ("\\$A", "$A"),
            ("a\\ b", "a b"),
            ("a\\", "a"),
            ("'a", "error: unexpected end of statement while looking for matching single-quote"),
            ("\"a", "error: unexpected end of statement while looking for matching double-quote"),
            ("${N:-'a}b'}", "a}b"),
            ("pre${S}post", "preone twopost"),
        ] {
            assert_eq!(word(text), wanted, "{text}");
        }
    }

    #[test]
    fn words_split_values_and_not_quotes() {
        let words = |text: &str| Lexer::new('\\', &env()).words(text, &mut Budget::new()).unwrap();
        assert_eq!(words("$S x"), ["one", "two", "x"]);
        assert_eq!(words("\"$S\" x\\ y"), ["one two", "x y"]);
        assert_eq!(words("$E"), Vec::<String>::new());
    }

    #[test]
    fn documents_keep_quotes() {
        let text = Lexer::document(&env()).word("'$A' \"${A}\" \\$A", &mut Budget::new()).unwrap();
        assert_eq!(text, "'alpha' \"alpha\" $A");
    }

    #[test]
    fn backtick_escapes_if_asked() {
        let text = Lexer::new('`', &env()).word("C:\\$A`$A", &mut Budget::new()).unwrap();
        assert_eq!(text, "C:\\alpha$A");
    }

    #[test]
    fn nesting_and_size_have_limits() {
        let deep = format!("{}x{}", "${N:-".repeat(50_000), "}".repeat(50_000));
        assert_eq!(word(&deep), "error: more than 100 nested ${");
        assert_eq!(word(&format!("{}x{}", "${N:-".repeat(100), "}".repeat(100))), "x");
        let mut env = Env::default();
        env.set("A", "x".repeat(MAX_VALUE));
        let lexer = Lexer::new('\\', &env);
        assert_eq!(lexer.word("$A", &mut Budget::new()).unwrap().len(), MAX_VALUE);
        assert_eq!(lexer.word("$A$A", &mut Budget::new()), Err(ExpandError::TooLarge));
    }
}
