//! Simple commands of a shell text, each with its words and their places: enough to see which programs run with which
//! arguments, not a shell's grammar.

use std::iter::Peekable;
use std::str::CharIndices;

use crate::diag::Span;

/// How deep `$(` may nest; what is deeper is not looked at.
const MAX_DEPTH: usize = 20;

/// A word without its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub span: Span,
}

/// One program with its arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Command {
    pub words: Vec<Token>,
    /// The program whose output it reads.
    pub fed_by: Option<String>,
    /// Whether it is followed by the end of a line or `;`, so that its failure goes unseen if more follows.
    pub ends_line: bool,
}

/// Words that stand before a program and run it.
const WRAPPERS: [&str; 16] = [
    "sudo",
    "exec",
    "env",
    "time",
    "nice",
    "nohup",
    "command",
    "eatmydata",
    "if",
    "then",
    "else",
    "elif",
    "while",
    "do",
    "!",
    "{",
];

impl Command {
    /// The program's name without its directory, and its arguments.
    pub fn program(&self) -> Option<(&str, &[Token])> {
        let is_prefix = |token: &&Token| {
            let assigns = token.text.split_once('=').is_some_and(|(name, _)| is_name(name));
            // Flags of RUN and of a wrapper.
            assigns || token.text.starts_with('-') || WRAPPERS.contains(&token.text.as_str())
        };
        let at = self.words.iter().take_while(is_prefix).count();
        let (program, arguments) = self.words[at..].split_first()?;
        Some((program.text.rsplit('/').next().unwrap_or_default(), arguments))
    }

    /// From its first word to its last.
    pub fn span(&self) -> Span {
        let spans = self.words.iter().map(|token| token.span);
        spans.reduce(Span::to).unwrap_or_default()
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// What a line feed is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// Part of a continued instruction, whose lines are joined; comment lines between them are no text.
    Joined { escape: char },
    /// The end of a command.
    Script,
}

/// The commands of a text that begins at byte `offset` of the file.
pub fn commands(text: &str, offset: usize, lines: Lines) -> Vec<Command> {
    let mut scan = Scan { chars: text.char_indices().peekable(), text, offset, lines, done: Vec::new() };
    scan.until(None, 0);
    scan.done
}

struct Scan<'a> {
    chars: Peekable<CharIndices<'a>>,
    text: &'a str,
    offset: usize,
    lines: Lines,
    done: Vec<Command>,
}

/// The command that is being read.
#[derive(Default)]
struct Open {
    command: Command,
    word: Option<(usize, String)>,
}

impl Scan<'_> {
    /// Reads up to a closing character, which is consumed, or to the end.
    fn until(&mut self, stop: Option<char>, depth: usize) {
        let mut open = Open::default();
        while let Some((at, c)) = self.chars.next() {
            if Some(c) == stop {
                break;
            }
            match c {
                '\'' => self.single(at, &mut open),
                '"' => self.double(at, &mut open, depth),
                '\\' if self.eats_line_end() => self.word_end(&mut open, at),
                c if self.continues(c) => self.word_end(&mut open, at),
                '\\' => {
                    let escaped = self.chars.next().map(|(_, c)| c);
                    Self::word(&mut open, at).extend(escaped);
                }
                '$' if self.chars.next_if(|(_, c)| *c == '(').is_some() => {
                    self.inner(')', at, &mut open, depth)
                }
                '`' => self.inner('`', at, &mut open, depth),
                '#' if open.word.is_none() => self.comment(),
                '\n' if self.lines == Lines::Script => self.end(&mut open, at, true),
                ';' => self.end(&mut open, at, true),
                '(' | ')' => self.end(&mut open, at, false),
                '&' if self.is_redirection(at) => Self::word(&mut open, at).push(c),
                '&' => {
                    self.chars.next_if(|(_, c)| *c == '&');
                    self.end(&mut open, at, false);
                }
                '|' => self.pipe(&mut open, at),
                c if c.is_whitespace() => self.word_end(&mut open, at),
                c => Self::word(&mut open, at).push(c),
            }
        }
        let end = self.here();
        self.end(&mut open, end, true);
    }

    fn here(&mut self) -> usize {
        self.chars.peek().map_or(self.text.len(), |(at, _)| *at)
    }

    fn word(open: &mut Open, at: usize) -> &mut String {
        &mut open.word.get_or_insert_with(|| (at, String::new())).1
    }

    fn single(&mut self, at: usize, open: &mut Open) {
        let word = Self::word(open, at);
        for (_, c) in self.chars.by_ref().take_while(|(_, c)| *c != '\'') {
            word.push(c);
        }
    }

    fn double(&mut self, at: usize, open: &mut Open, depth: usize) {
        Self::word(open, at);
        while let Some((at, c)) = self.chars.next() {
            match c {
                '"' => return,
                '\\' => {
                    let escaped = self.chars.next().map(|(_, c)| c);
                    Self::word(open, at).extend(escaped);
                }
                '$' if self.chars.next_if(|(_, c)| *c == '(').is_some() => self.inner(')', at, open, depth),
                '`' => self.inner('`', at, open, depth),
                c => Self::word(open, at).push(c),
            }
        }
    }

    /// A command whose output is part of a word.
    fn inner(&mut self, stop: char, at: usize, open: &mut Open, depth: usize) {
        Self::word(open, at).push_str("$()");
        if depth < MAX_DEPTH {
            self.until(Some(stop), depth + 1);
        }
    }

    /// Takes a line end behind a `\`.
    fn eats_line_end(&mut self) -> bool {
        self.chars.next_if(|(_, c)| *c == '\n').map(|_| self.comment_lines()).is_some()
    }

    /// Whether the character joins two lines of an instruction; takes what stands between them.
    fn continues(&mut self, c: char) -> bool {
        let Lines::Joined { escape } = self.lines else { return false };
        if c == '\n' {
            self.comment_lines();
            return true;
        }
        if c != escape {
            return false;
        }
        let rest = &self.text[self.here()..];
        let blanks = rest.len() - rest.trim_start_matches([' ', '\t', '\r']).len();
        let joins = rest[blanks..].starts_with('\n');
        if joins {
            self.skip(blanks + 1);
            self.comment_lines();
        }
        joins
    }

    /// In a continued instruction, lines that begin with `#` are no text.
    fn comment_lines(&mut self) {
        if self.lines == Lines::Script {
            return;
        }
        loop {
            let here = self.here();
            let rest = &self.text[here..];
            let line = rest.split_inclusive('\n').next().unwrap_or_default();
            if !line.trim_start().starts_with('#') {
                return;
            }
            self.skip(line.len());
        }
    }

    fn skip(&mut self, bytes: usize) {
        let end = self.here() + bytes;
        while self.chars.next_if(|(at, _)| *at < end).is_some() {}
    }

    /// A comment reaches to the end of the line, which is the end of the text if lines are joined.
    fn comment(&mut self) {
        let script = self.lines == Lines::Script;
        while self.chars.next_if(|(_, c)| !(script && *c == '\n')).is_some() {}
    }

    /// `2>&1`, `>&2`, `&>file`.
    fn is_redirection(&mut self, at: usize) -> bool {
        self.text[..at].ends_with('>') || self.text[at + 1..].starts_with('>')
    }

    fn pipe(&mut self, open: &mut Open, at: usize) {
        if self.chars.next_if(|(_, c)| *c == '|').is_some() {
            return self.end(open, at, false);
        }
        self.chars.next_if(|(_, c)| *c == '&');
        self.word_end(open, at);
        let feeds = open.command.program().map(|(program, _)| program.to_owned());
        self.end(open, at, false);
        open.command.fed_by = feeds;
    }

    fn word_end(&mut self, open: &mut Open, at: usize) {
        if let Some((start, text)) = open.word.take() {
            let span = Span::new(self.offset + start, self.offset + at);
            open.command.words.push(Token { text, span });
        }
    }

    fn end(&mut self, open: &mut Open, at: usize, ends_line: bool) {
        self.word_end(open, at);
        let mut command = std::mem::take(&mut open.command);
        command.ends_line = ends_line;
        if !command.words.is_empty() {
            self.done.push(command);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(text: &str) -> Vec<String> {
        shown(commands(text, 0, Lines::Joined { escape: '\\' }))
    }

    fn script(text: &str) -> Vec<String> {
        shown(commands(text, 0, Lines::Script))
    }

    fn shown(commands: Vec<Command>) -> Vec<String> {
        let of =
            |command: &Command| command.words.iter().map(|w| w.text.as_str()).collect::<Vec<_>>().join("|");
        commands.iter().map(of).collect()
    }

    #[test]
    fn separators_and_quotes() {
        assert_eq!(joined("a 'b c' && d \"e;f\" || g; h | i & j"), ["a|b c", "d|e;f", "g", "h", "i", "j"]);
        assert_eq!(joined("a 2>&1 b &> c"), ["a|2>&1|b|&>|c"]);
        assert_eq!(joined("a b\\ c # d && e"), ["a|b c"]);
        assert_eq!(joined("(a; b) && c"), ["a", "b", "c"]);
    }

    #[test]
    fn inner_commands() {
        assert_eq!(
            joined("v=$(date +%F) x \"$(uuidgen)\" `id`"),
            ["date|+%F", "uuidgen", "id", "v=$()|x|$()|$()"]
        );
    }

    #[test]
    fn lines() {
        assert_eq!(joined("a \\\n  b \\\n# note; date\n  && c"), ["a|b", "c"]);
        assert_eq!(script("a\nb \\\n c # d\ne"), ["a", "b|c", "e"]);
        let tick = commands("a `\n b", 0, Lines::Joined { escape: '`' });
        assert_eq!(shown(tick), ["a|b"]);
    }

    #[test]
    fn programs_pipes_and_places() {
        let found = commands("A=1 sudo /usr/bin/curl x | sh -s", 100, Lines::Script);
        assert_eq!(found[0].program().unwrap().0, "curl");
        assert_eq!(found[1].fed_by.as_deref(), Some("curl"));
        assert_eq!(found[1].words[1].span, Span::new(130, 132));
        assert_eq!(found[0].span(), Span::new(100, 124));
    }

    #[test]
    fn nesting_without_end_ends() {
        commands(&"$(".repeat(100_000), 0, Lines::Script);
        commands(&"\"$(".repeat(100_000), 0, Lines::Script);
        commands(&"`".repeat(100_001), 0, Lines::Script);
    }
}
