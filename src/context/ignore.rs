//! `.dockerignore`: which files of a directory are not part of a build context.
//!
//! The rules are those of docker's pattern matcher as its walker applies them: the last pattern that matches wins, a
//! pattern that matches a directory holds for everything below it, and `!` takes back. Matching takes time
//! proportional to pattern times path, whatever the pattern. Never touches a file system.

use crate::diag::escape;
use crate::path::ImagePath;

use self::glob::Glob;

mod glob;
mod source;

/// The longest line, in bytes without its line feed.
const MAX_LINE: usize = 65_535;

/// Why a text is not a list of patterns. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    #[error("line {line}: '!' alone excludes nothing; a pattern must follow it")]
    LoneExclamation { line: usize },
    #[error("line {line}: pattern \"{pattern}\" is malformed: {problem}")]
    Malformed { line: usize, pattern: String, problem: &'static str },
    #[error("line {line} is longer than {MAX_LINE} bytes")]
    TooLong { line: usize },
}

/// The patterns of one file, in order.
#[derive(Debug, Clone, Default)]
pub struct Ignore {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone)]
struct Pattern {
    /// `!`: what matches is part of the context after all.
    takes_back: bool,
    glob: Glob,
}

/// Which patterns matched a directory, for what is below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParentMatch {
    /// One bit for each pattern; nothing at the root.
    matched: Vec<u64>,
}

impl ParentMatch {
    /// For the entries of the context's root.
    pub fn root() -> Self {
        Self::default()
    }

    fn has(&self, index: usize) -> bool {
        self.matched.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    fn set(&mut self, index: usize) {
        self.matched[index / 64] |= 1 << (index % 64);
    }
}

impl Ignore {
    /// Reads a `.dockerignore`.
    pub fn parse(text: &[u8]) -> Result<Self, IgnoreError> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut patterns = Vec::new();
        for (index, line) in text.split(|b| *b == b'\n').enumerate() {
            let number = index + 1;
            if line.len() > MAX_LINE {
                return Err(IgnoreError::TooLong { line: number });
            }
            if !line.starts_with(b"#") {
                patterns.extend(pattern(line, number)?);
            }
        }
        Ok(Self { patterns })
    }

    /// Patterns that do not come from a file: one a text, no comments. Errors count them from 1.
    pub fn patterns(texts: &[String]) -> Result<Self, IgnoreError> {
        let patterns = texts.iter().enumerate().map(|(index, text)| pattern(text.as_bytes(), index + 1));
        Ok(Self { patterns: patterns.filter_map(Result::transpose).collect::<Result<_, _>>()? })
    }

    /// Whether there is nothing to match.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether a path is left out. The root never is. Tries every directory above it; a walker, which has been there,
    /// uses [`Ignore::enter`].
    pub fn is_ignored(&self, path: &ImagePath) -> bool {
        if path.is_root() {
            return false;
        }
        let mut parent = ParentMatch::root();
        for above in path.ancestors() {
            parent = self.enter(&parent, &above).1;
        }
        self.enter(&parent, path).0
    }

    /// Whether an entry is left out, and what a walker hands on to the entries below it. `parent` is what the
    /// entry's directory came to, or [`ParentMatch::root`].
    pub fn enter(&self, parent: &ParentMatch, path: &ImagePath) -> (bool, ParentMatch) {
        let mut matches = ParentMatch { matched: vec![0; self.patterns.len().div_ceil(64)] };
        let mut ignored = false;
        for (index, pattern) in self.patterns.iter().enumerate() {
            // A pattern that could change nothing here is not tried, and so not handed on either. docker's walker
            // does the same, and one can tell: after `a`, `!a/x`, a second `a` does not take `a/x` out again.
            let tried = pattern.takes_back == ignored;
            if parent.has(index) || tried && pattern.glob.matches(path.as_bytes()) {
                matches.set(index);
                ignored = !pattern.takes_back;
            }
        }
        (ignored, matches)
    }

    /// Whether a `!` pattern could match something below a directory that is left out: only then a walker has to
    /// look inside.
    pub fn may_reinclude_below(&self, dir: &ImagePath) -> bool {
        let mut prefix = dir.as_bytes().to_vec();
        if !prefix.is_empty() {
            prefix.push(b'/');
        }
        self.patterns.iter().any(|pattern| pattern.takes_back && pattern.glob.may_match_below(&prefix))
    }
}

/// One line's pattern, if it has one. docker reads a line twice, first as a line of the file and then as one of a list
/// of patterns, and one can tell: `/!a` takes back.
fn pattern(line: &[u8], number: usize) -> Result<Option<Pattern>, IgnoreError> {
    let once = cleaned_line(trim(line));
    let twice = match trim(&once) {
        b"" => return Ok(None),
        text => clean(text),
    };
    let (takes_back, text) = match twice.strip_prefix(b"!") {
        Some(b"") => return Err(IgnoreError::LoneExclamation { line: number }),
        Some(rest) => (true, rest),
        None => (false, twice.as_slice()),
    };
    match Glob::parse(text) {
        Ok(glob) => Ok(Some(Pattern { takes_back, glob })),
        Err(problem) => {
            let shown = &text[..text.len().min(200)];
            Err(IgnoreError::Malformed { line: number, pattern: escape(shown), problem })
        }
    }
}

/// A line without needless dots and slashes, and without the slash it begins with; a `!` stays in front.
fn cleaned_line(line: &[u8]) -> Vec<u8> {
    let (mark, text) = match line.strip_prefix(b"!") {
        Some(rest) => (&b"!"[..], trim(rest)),
        None => (&b""[..], line),
    };
    let mut cleaned = if text.is_empty() { Vec::new() } else { clean(text) };
    if cleaned.len() > 1 && cleaned[0] == b'/' {
        cleaned.remove(0);
    }
    [mark, &cleaned].concat()
}

/// Without white space around it.
fn trim(text: &[u8]) -> &[u8] {
    std::str::from_utf8(text).map_or(text.trim_ascii(), |text| text.trim().as_bytes())
}

/// Go's `path.Clean`: `.` and doubled slashes go, `..` takes a name away, at the root and beyond it stays.
fn clean(text: &[u8]) -> Vec<u8> {
    let rooted = text.first() == Some(&b'/');
    let mut names: Vec<&[u8]> = Vec::new();
    for name in text.split(|b| *b == b'/') {
        match name {
            b"" | b"." => {}
            b".." if names.last().is_some_and(|last| *last != b"..") => {
                names.pop();
            }
            b".." if rooted => {}
            name => names.push(name),
        }
    }
    let mut out = if rooted { vec![b'/'] } else { Vec::new() };
    out.extend(names.join(&b'/'));
    if out.is_empty() {
        out.push(b'.');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> ImagePath {
        ImagePath::parse(text.as_bytes()).unwrap()
    }

    fn ignored(patterns: &str, text: &str) -> bool {
        Ignore::parse(patterns.as_bytes()).unwrap().is_ignored(&path(text))
    }

    /// Rows of docker's rules: patterns, a path, whether it is left out.
    const TABLE: &[(&str, &str, bool)] = &[
        // Plain names and what is below them.
        ("a", "a", true),
        ("a", "a/b/c", true),
        ("a", "b/a", false),
        ("a", "ab", false),
        ("a/b", "a/b", true),
        ("a/b", "a", false),
        ("a/b", "a/b/c", true),
        ("a/", "a", true),
        ("a/", "a/b", true),
        ("/a", "a", true),
        ("//a//b/", "a/b/c", true),
        ("./a", "a", true),
        ("x/../a", "a", true),
        ("../a", "a", false),
        ("/../a", "a", true),
        (".", "a", false),
        ("/", "a", false),
        ("a.b", "axb", false),
        ("a.|)$(}+{bc", "a.|)$(}+{bc", true),
        // One star stays within a name.
        ("*", "a", true),
        ("*", "a/b", true),
        ("*.go", "x.go", true),
        ("*.go", "d/x.go", false),
        ("*.go", "x.gox", false),
        ("*.go", ".go", true),
        ("*/x", "a/x", true),
        ("*/x", "a/b/x", false),
        ("a*/b", "abc/b", true),
        ("a*/b", "a/c/b", false),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
        ("*/*/tmp*", "a/b/tmp1", true),
        ("a/*.txt", "a/d/x.txt", false),
        (".*", ".x", true),
        (".*", "x", false),
        // One character.
        ("a?c", "abc", true),
        ("a?c", "a/c", false),
        ("a?c", "ac", false),
        ("a?c", "aéc", true),
        ("a??c", "aéc", false),
        // Any depth.
        ("**", "a/b", true),
        ("**/", "a", true),
        ("**/a", "a", true),
        ("**/a", "x/y/a", true),
        ("**/a", "x/y/a/b", true),
        ("**/a", "xa", false),
        ("**a", "xa", true),
        ("**a", "d/xa", true),
        ("**/*.go", "x.go", true),
        ("**/*.go", "d/e/x.go", true),
        ("**/**/*.go", "x.go", true),
        ("a/**", "a", false),
        ("a/**", "a/b/c", true),
        ("a**", "abc/d", true),
        ("a**/*.txt", "a/d/e/x.txt", true),
        ("a**/*.txt", "ab/x.txt", true),
        ("a/**/z", "a/z", true),
        ("a/**/z", "a/b/c/z", true),
        ("a/**/z", "a/bz", false),
        ("**/d/**", "x/d/y", true),
        ("**/d/**", "d/y", true),
        ("**/d/**", "d", false),
        ("**/d/*", "x/d/y/z", true),
        ("**/.git", "sub/.git", true),
        ("**/.git", "sub/x.git", false),
        ("a/*.txt**", "a/x.txt", true),
        // Sets.
        ("a[b-d]e", "ace", true),
        ("a[b-d]e", "aae", false),
        ("a[^b-d]e", "aze", true),
        ("a[^b-d]e", "ace", false),
        ("[\\]a]", "]", true),
        ("[x\\-]", "-", true),
        ("[\\-x]", "a", false),
        ("[a-ζ]*", "α", true),
        ("*[a-ζ]", "A", false),
        // Docker's matcher is a regular expression here: a negated set takes a slash too.
        ("a[^b]c", "a/c", true),
        // Escapes.
        ("a\\*b", "a*b", true),
        ("a\\*b", "axb", false),
        ("a\\\\", "a\\", true),
        ("\\!a", "!a", true),
        ("\\#a", "#a", true),
        // And so `^` is an anchor, once the pattern has any wildcard.
        ("a^b", "a^b", true),
        ("a^b*", "a^bc", false),
        ("^a*", "ab", true),
        // Taking back; the last match wins.
        ("*\n!a", "a", false),
        ("*\n!a", "b", true),
        ("!a\n*", "a", true),
        ("d\n!d/keep", "d", true),
        ("d\n!d/keep", "d/keep", false),
        ("d\n!d/keep", "d/keep/x", false),
        ("d\n!d/keep", "d/other", true),
        ("d/*\n!d/keep", "d", false),
        ("d/*\n!d/keep", "d/keep", false),
        ("**\n!u/d/w", "u/d/w/f", false),
        ("**\n!u/d/w\nu/d/w/f", "u/d/w/f", true),
        ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true),
        ("*.md\n!README*.md\nREADME-secret.md", "README.md", false),
        ("*\n!**/*.go", "d/x.go", false),
        ("*\n!**/*.go", "d/x.c", true),
        ("a\n!a/x\na", "a/x", false),
        ("! a", "a", false),
        ("*\n! a", "a", false),
        ("*\n!/a/", "a/b", false),
        // Lines.
        ("# a\na", "a", true),
        (" # a", "# a", true),
        ("#a", "#a", false),
        ("  a\t\r\n", "a", true),
        ("\r\n\r\nb\r\n", "b", true),
        ("\u{feff}a", "a", true),
        ("a # b", "a", false),
        ("", "a", false),
    ];

    #[test]
    fn table() {
        let wrong: Vec<_> = TABLE.iter().filter(|(p, t, wanted)| ignored(p, t) != *wanted).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn malformed_patterns_are_named() {
        for bad in
            ["[", "[^", "[a", "a[", "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[b-a]", "a\\", "*/[", "[\\"]
        {
            let error = Ignore::parse(format!("ok\n{bad}").as_bytes()).unwrap_err();
            assert!(error.to_string().starts_with("line 2: pattern "), "{bad}: {error}");
        }
        for bad in ["!", "! ", "!/", "!//"] {
            let error = Ignore::parse(bad.as_bytes()).unwrap_err();
            assert_eq!(error, IgnoreError::LoneExclamation { line: 1 }, "{bad}");
        }
        let long = vec![b'a'; MAX_LINE + 1];
        assert_eq!(Ignore::parse(&long).unwrap_err(), IgnoreError::TooLong { line: 1 });
    }

    #[test]
    fn bytes_that_are_no_text_match_themselves() {
        let ignore = Ignore::parse(b"a\xffb\n*\xfe").unwrap();
        let of = |bytes: &[u8]| ignore.is_ignored(&ImagePath::parse(bytes).unwrap());
        assert!(of(b"a\xffb") && of(b"xx\xfe") && !of(b"a\xfdb"));
    }

    #[test]
    fn only_what_can_come_back_is_looked_for() {
        let below = |patterns: &str, dir: &str| {
            Ignore::parse(patterns.as_bytes()).unwrap().may_reinclude_below(&path(dir))
        };
        assert!(!below("d", "d"));
        assert!(!below("d\n!e", "d"));
        assert!(!below("d\n!d", "d"));
        assert!(below("d\n!d/x", "d"));
        assert!(!below("d\n!d/x", "d/y"));
        assert!(below("d\n!d/x/y", "d/x"));
        assert!(below("d\n!**/x", "d"));
        assert!(below("d\n!d/*/x", "d/q"));
        assert!(!below("d\n!d/*/x", "d/q/r"));
        assert!(!below("d\n!d/*.txt", "d/q"));
        assert!(below("d\n!d/**", "d/q"));
        assert!(!below("d\n!dd/**", "d"));
    }

    #[test]
    fn hostile_patterns_take_linear_time() {
        let stars = format!("{}b\n", "*a".repeat(2_000));
        assert!(!ignored(&stars, &"a".repeat(255)));
        let deep = format!("{}b\n", "**/".repeat(2_000));
        assert!(!ignored(&deep, &["a"; 30].join("/")));
        let many: String = (0..100_000).map(|n| format!("dir{n}/*.o\n!dir{n}/keep.o\n")).collect();
        assert!(ignored(&many, "dir99999/x.o") && !ignored(&many, "dir99999/keep.o"));
    }

    fn word(alphabet: &'static [&'static str]) -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(alphabet), 1..6).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nothing_panics(text in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Ignore::parse(&text).map(|ignore| ignore.is_ignored(&path("a/b")));
        }

        /// A walker that skips directories as it may sees the same files as one that looks everywhere.
        #[test]
        fn pruning_loses_nothing(
            patterns in prop::collection::vec((any::<bool>(), word(&["a", "b", "/", "*", "**", "?", "**/", "[^a]"])), 1..5),
            file in word(&["a", "b", "a/", "b/", "ab"]),
        ) {
            let text: String =
                patterns.iter().map(|(not, p)| format!("{}{p}\n", if *not { "!" } else { "" })).collect();
            let Ok(ignore) = Ignore::parse(text.as_bytes()) else { return Ok(()) };
            let file = path(&file);
            if !ignore.is_ignored(&file) {
                for dir in file.ancestors() {
                    prop_assert!(
                        !ignore.is_ignored(&dir) || ignore.may_reinclude_below(&dir),
                        "{:?} in {:?} by {:?}", file, dir, text
                    );
                }
            }
        }
    }
}
