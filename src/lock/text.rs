//! The text of a lock: read strictly, written one way.

use std::fmt::Write as _;

use kdl::{KdlDocument, KdlNode, KdlValue};

use super::{GitPin, Lock, UrlPin};
use crate::diag::{Diagnostic, Span, escape, suggest};
use crate::digest::{BlobDigest, DigestError};
use crate::platform::PlatformError;
use crate::remote::git::is_commit;

/// The largest lock that is read, in bytes.
const LARGEST: usize = 16 << 20;
/// How many problems are told.
const TOLD: usize = 20;
const HEAD: &str =
    "// What names stood for. `lith lock` writes this file; `lith lock --update` renews it.\nlock 1\n";
const RENEW: &str = "leave this file to `lith lock`, which writes it anew";
const KINDS: [&str; 3] = ["git", "image", "url"];

impl Lock {
    /// The whole file.
    pub fn text(&self) -> String {
        format!("{HEAD}{}", self.pins())
    }

    fn pins(&self) -> String {
        let mut out = String::new();
        for (name, pin) in &self.git {
            let (name, GitPin { commit, tree }) = (quoted(name), pin);
            let _ = writeln!(out, "git {name} commit=\"{commit}\" tree=\"{tree}\"");
        }
        for ((reference, platform), manifest) in &self.images {
            let (reference, platform) = (quoted(reference), quoted(&platform.to_string()));
            let _ = writeln!(out, "image {reference} platform={platform} manifest=\"{manifest}\"");
        }
        for (name, pin) in &self.urls {
            let _ = writeln!(out, "url {} sha256=\"{}\" size={}", quoted(name), pin.sha256.hex(), pin.size);
        }
        out
    }

    /// Reads a file; tells everything that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Vec<Diagnostic>> {
        let mut reader = Reader::default();
        if text.len() > LARGEST {
            let message = format!("it is larger than the limit of {LARGEST} bytes");
            return Err(vec![Diagnostic::error(Span::default(), message)]);
        }
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let bare = line.strip_suffix('\n').unwrap_or(line);
            let span = Span::new(start, start + bare.len());
            start += line.len();
            if reader.found.len() == TOLD {
                break;
            }
            if !bare.is_empty() && !bare.starts_with("//") {
                reader.line(bare, span);
            }
        }
        reader.end(Span::new(text.len(), text.len()))
    }
}

/// A string of KDL, on one line whatever it holds.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            // So a line without strings in mind holds neither a block nor a comment.
            '{' => out.push_str("\\u{7b}"),
            '*' if out.ends_with('/') => out.push_str("\\u{2a}"),
            c if c.is_control() || escape(c.to_string().as_bytes()) != c.to_string() => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A lock being read.
#[derive(Default)]
struct Reader {
    lock: Lock,
    versioned: bool,
    found: Vec<Diagnostic>,
}

/// The parts of a line: kind, name, properties in order.
struct Parts<'a> {
    kind: &'a str,
    name: &'a str,
    properties: Vec<(&'a str, &'a KdlValue)>,
}

impl Reader {
    fn line(&mut self, line: &str, span: Span) {
        let result = if self.versioned { self.pin(line) } else { self.version(line) };
        match result {
            Ok(()) => {}
            Err(Problem { message, help }) => {
                let diagnostic = Diagnostic::error(span, message);
                self.found.push(match help {
                    Some(help) => diagnostic.with_help(help),
                    None => diagnostic,
                });
            }
        }
        // Without one it is told once.
        self.versioned = true;
    }

    fn end(mut self, span: Span) -> Result<Lock, Vec<Diagnostic>> {
        if !self.versioned {
            self.found.push(Diagnostic::error(span, "there is no line `lock 1`").with_help(RENEW));
        }
        if self.found.is_empty() { Ok(self.lock) } else { Err(self.found) }
    }

    fn version(&self, line: &str) -> Result<(), Problem> {
        match line {
            "lock 1" => Ok(()),
            _ if line.starts_with("lock ") => Err(Problem::new("this is a lock of another version than 1")
                .with_help("it takes another version of lith")),
            _ => Err(Problem::new("expected `lock 1` before any pin").with_help(RENEW)),
        }
    }

    fn pin(&mut self, line: &str) -> Result<(), Problem> {
        if ["<<<<<<<", "|||||||", "=======", ">>>>>>>"].iter().any(|mark| line.starts_with(mark)) {
            return Err(Problem::new("this is a merge that nobody finished").with_help(RENEW));
        }
        // No pin has a block, and nothing that could nest gets to the parser.
        if line.replace("\\u{", "").contains('{') || line.contains("/*") {
            return Err(Problem::new("a pin has neither a block nor a comment").with_help(RENEW));
        }
        let document: KdlDocument =
            KdlDocument::parse_v2(line).map_err(|_| Problem::new("this is no KDL").with_help(RENEW))?;
        let [node] = document.nodes() else {
            return Err(Problem::new("expected one pin in a line").with_help(RENEW));
        };
        let parts = Parts::of(node)?;
        let mut one = Lock::default();
        let fresh = match parts.kind {
            "git" => {
                let [commit, tree] = parts.values(["commit", "tree"])?;
                let pin = GitPin { commit: object(commit)?, tree: object(tree)? };
                one.git.insert(parts.name.to_owned(), pin.clone());
                self.lock.git.insert(parts.name.to_owned(), pin).is_none()
            }
            "image" => {
                let [platform, manifest] = parts.values(["platform", "manifest"])?;
                let platform = text(platform)?
                    .parse()
                    .map_err(|error: PlatformError| Problem::new(error.to_string()))?;
                let manifest =
                    text(manifest)?.parse().map_err(|error: DigestError| Problem::new(error.to_string()))?;
                let key = (parts.name.to_owned(), platform);
                one.images.insert(key.clone(), manifest);
                self.lock.images.insert(key, manifest).is_none()
            }
            "url" => {
                let [sha256, size] = parts.values(["sha256", "size"])?;
                let sha256 =
                    BlobDigest::from_hex(text(sha256)?).map_err(|error| Problem::new(error.to_string()))?;
                let size = size.as_integer().and_then(|size| u64::try_from(size).ok());
                let size = size.ok_or_else(|| Problem::new("size is not a number of bytes"))?;
                one.urls.insert(parts.name.to_owned(), UrlPin { sha256, size });
                self.lock.urls.insert(parts.name.to_owned(), UrlPin { sha256, size }).is_none()
            }
            other => return Err(unknown(other)),
        };
        if !fresh {
            return Err(
                Problem::new(format!("{} is pinned twice", escape(parts.name.as_bytes()))).with_help(RENEW)
            );
        }
        let pins = one.pins();
        if pins.trim_end() != line {
            return Err(Problem::new("this line is not as lith writes it")
                .with_help(format!("expected {}", escape(pins.trim_end().as_bytes()))));
        }
        Ok(())
    }
}

impl<'a> Parts<'a> {
    fn of(node: &'a KdlNode) -> Result<Self, Problem> {
        let kind = node.name().value();
        if !KINDS.contains(&kind) {
            return Err(unknown(kind));
        }
        let mut entries = node.entries().iter();
        let name =
            entries.next().filter(|entry| entry.name().is_none()).and_then(|entry| entry.value().as_string());
        let name = name.ok_or_else(|| Problem::new(format!("expected a name in quotes behind {kind}")))?;
        let mut properties = Vec::new();
        for entry in entries {
            let Some(key) = entry.name() else {
                return Err(Problem::new(format!("{} has more than one name", escape(name.as_bytes()))));
            };
            properties.push((key.value(), entry.value()));
        }
        Ok(Self { kind, name, properties })
    }

    /// The values of exactly these properties.
    fn values<const N: usize>(&self, wanted: [&str; N]) -> Result<[&'a KdlValue; N], Problem> {
        if let Some((other, _)) = self.properties.iter().find(|(key, _)| !wanted.contains(key)) {
            let known = wanted.join(", ");
            let message = format!("{} has no {}; it has {known}", self.kind, escape(other.as_bytes()));
            return Err(Problem::new(message));
        }
        let mut values = [&KdlValue::Null; N];
        for (value, key) in values.iter_mut().zip(wanted) {
            let found = self.properties.iter().find(|(known, _)| *known == key);
            *value = found.ok_or_else(|| Problem::new(format!("{}= is missing", key)).with_help(RENEW))?.1;
        }
        Ok(values)
    }
}

/// Why a line is no pin.
struct Problem {
    message: String,
    help: Option<String>,
}

impl Problem {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    fn with_help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

fn unknown(kind: &str) -> Problem {
    let problem = Problem::new(format!("{} is no kind of pin", escape(kind.as_bytes())));
    match suggest(kind, KINDS) {
        Some(known) => problem.with_help(format!("did you mean {known}?")),
        None => problem.with_help("there are git, image and url"),
    }
}

fn text(value: &KdlValue) -> Result<&str, Problem> {
    value.as_string().ok_or_else(|| Problem::new("expected text in quotes"))
}

fn object(value: &KdlValue) -> Result<String, Problem> {
    let text = text(value)?;
    if is_commit(text) {
        return Ok(text.to_owned());
    }
    Err(Problem::new(format!("{} is not 40 or 64 hexadecimal digits", escape(text.as_bytes()))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::platform::Platform;

    const COMMIT: &str = "0123456789012345678901234567890123456789";

    fn lock() -> Lock {
        let mut lock = Lock::default();
        let platform = |text: &str| text.parse::<Platform>().unwrap();
        lock.git.insert("https://h/a.git#v1".into(), GitPin { commit: COMMIT.into(), tree: COMMIT.into() });
        lock.images.insert(("alpine".into(), platform("linux/arm64")), BlobDigest::of(b"a"));
        lock.images.insert(("alpine".into(), platform("linux/amd64")), BlobDigest::of(b"b"));
        lock.urls
            .insert("https://h/x?{\"\\\u{202e}".into(), UrlPin { sha256: BlobDigest::of(b"c"), size: 7 });
        lock
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let text = lock().text();
        assert_eq!(Lock::parse(&text).unwrap(), lock());
        assert_eq!(text.lines().count(), 6);
        assert!(text.is_ascii(), "{text}");
        assert_eq!(Lock::parse(HEAD).unwrap(), Lock::default());
    }

    #[test]
    fn comments_and_empty_lines_say_nothing() {
        let text = lock().text().replace('\n', "\n// why\n\n");
        assert_eq!(Lock::parse(&text).unwrap(), lock());
    }

    #[track_caller]
    fn refused(line: &str, message: &str) {
        let found = Lock::parse(&format!(
            "lock 1\n{line}\nurl \"kept\" sha256=\"{}\" size=1\n",
            BlobDigest::of(b"").hex()
        ));
        let found = found.unwrap_err();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].span, Span::new(7, 7 + line.len()), "{found:?}");
        assert!(found[0].message.contains(message), "{found:?}");
    }

    #[test]
    fn what_a_hand_got_wrong_is_named() {
        let sha = BlobDigest::of(b"").hex();
        let url = format!("url \"u\" sha256=\"{sha}\" size=1");
        refused(&format!("{url} "), "not as lith writes it");
        refused(&url.replace("size=1", "size=0x1"), "not as lith writes it");
        refused(&url.replace("url \"u\"", "url u"), "not as lith writes it");
        refused(&url.replace(" sha256", "  sha256"), "not as lith writes it");
        refused(&format!("{url} // mine"), "not as lith writes it");
        refused(&format!("{url}; {url}"), "one pin in a line");
        refused(&format!("{url} {{ }}"), "neither a block");
        refused(&format!("/* */ {url}"), "neither a block");
        refused(&url.replace("size=1", "size=-1"), "number of bytes");
        refused(&url.replace("size=1", "size=\"1\""), "number of bytes");
        refused(&url.replace("size", "length"), "url has no length");
        refused(&url.replace(" size=1", ""), "size= is missing");
        refused(&url.replace(&sha, "0123"), "0123");
        refused(&url.replace("url \"u\"", "url"), "expected a name");
        refused(&url.replace("url", "ulr"), "no kind of pin");
        refused("lock 1", "no kind of pin");
        refused("url \"u", "no KDL");
        refused("<<<<<<< ours", "merge");
        refused("image \"a\" platform=\"amiga\" manifest=\"sha256:0\"", "amiga");
        refused(&format!("git \"a\" commit=\"{COMMIT}\" tree=\"x\""), "40 or 64");
        refused("url \"kept\" sha256=\"\" size=1", "");
    }

    #[test]
    fn a_name_has_one_pin_and_a_file_one_version() {
        let text = lock().text();
        let twice = format!("{text}{}\n", text.lines().last().unwrap());
        assert!(Lock::parse(&twice).unwrap_err()[0].message.contains("pinned twice"));
        assert!(Lock::parse("").unwrap_err()[0].message.contains("no line `lock 1`"));
        assert!(Lock::parse("lock 2\n").unwrap_err()[0].message.contains("another version"));
        let headless = text.replace("lock 1\n", "");
        assert!(Lock::parse(&headless).unwrap_err()[0].message.contains("expected `lock 1`"));
    }

    #[test]
    fn nothing_nests_and_many_problems_are_cut_short() {
        let deep = format!("lock 1\n{}\n{}\n", "a{".repeat(100_000), "(".repeat(100_000));
        assert_eq!(Lock::parse(&deep).unwrap_err().len(), 2);
        assert_eq!(Lock::parse(&format!("lock 1\n{}", "x\n".repeat(1000))).unwrap_err().len(), TOLD);
    }

    proptest! {
        #[test]
        fn any_name_survives(name in any::<String>()) {
            let mut lock = Lock::default();
            lock.urls.insert(name, UrlPin { sha256: BlobDigest::of(b""), size: u64::MAX });
            let text = lock.text();
            prop_assert_eq!(text.lines().count(), 3);
            prop_assert_eq!(Lock::parse(&text).unwrap(), lock);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[a-z0-9\"= {}\\\\/\n#()-]{0,80}") {
            let _ = Lock::parse(&format!("lock 1\n{text}"));
        }
    }
}
