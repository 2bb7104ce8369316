//! The text of a lock: read strictly, written one way.

use std::fmt::Write as _;

use super::{GitPin, Lock, PackageName, PackagePin, UrlPin};
use crate::diag::{Diagnostic, Span, escape, suggest};
use crate::digest::{BlobDigest, DigestError};
use crate::platform::{Platform, PlatformError};
use crate::remote::git::is_commit;

/// The largest lock that is read, in bytes.
pub const LARGEST: usize = 16 << 20;
/// How many problems are told.
const TOLD: usize = 20;
const HEAD: &str =
    "// What names stood for. `lith lock` writes this file; `lith lock --update` renews it.\nlock 1\n";
const RENEW: &str = "`lith lock --update` writes this file anew";
const KINDS: [&str; 4] = ["git", "image", "package", "url"];

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
        for (PackageName { name, suite, platform }, pin) in &self.packages {
            let (name, suite, platform) = (quoted(name), quoted(suite), quoted(&platform.to_string()));
            let (version, architecture) = (quoted(&pin.version), quoted(&pin.architecture));
            let (sha256, size, index, url) =
                (pin.sha256.hex(), pin.size, quoted(&pin.index), quoted(&pin.url));
            let required = if pin.required { " required=#true" } else { "" };
            let _ = write!(out, "package {name} suite={suite} platform={platform} version={version} ");
            let _ = write!(out, "architecture={architecture} sha256=\"{sha256}\" size={size} ");
            let _ = writeln!(out, "index={index} url={url}{required}");
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
struct Reader<'a> {
    lock: Lock,
    versioned: bool,
    /// The pins so far, as they are written.
    lines: Vec<(&'a str, Span)>,
    found: Vec<Diagnostic>,
}

impl<'a> Reader<'a> {
    fn line(&mut self, line: &'a str, span: Span) {
        let result = if self.versioned { self.pin(line) } else { self.version(line) };
        match result {
            Ok(()) if self.versioned => self.lines.push((line, span)),
            Ok(()) => {}
            Err(problem) => self.found.push(problem.at(span)),
        }
        // Without one it is told once.
        self.versioned = true;
    }

    fn end(mut self, span: Span) -> Result<Lock, Vec<Diagnostic>> {
        if !self.versioned {
            self.found.push(Diagnostic::error(span, "there is no line `lock 1`").with_help(RENEW));
        }
        if !self.found.is_empty() {
            return Err(self.found);
        }
        let pins = self.lock.pins();
        match self.lines.iter().zip(pins.lines()).find(|((line, _), expected)| line != expected) {
            None => Ok(self.lock),
            Some(((_, span), expected)) => {
                let problem = Problem::new("the pins are not in their order");
                Err(vec![problem.with_help(format!("first comes {}", escape(expected.as_bytes()))).at(*span)])
            }
        }
    }

    fn version(&self, line: &str) -> Result<(), Problem> {
        match line {
            "lock 1" => Ok(()),
            "lock 1\r" => Err(Problem::new("the lines end in carriage returns").with_help(
                "git may have put them there; in .gitattributes, `*.lock -text` keeps it from that",
            )),
            _ if line.starts_with("lock ") => Err(Problem::new("this is a lock of another version than 1")
                .with_help("it takes another version of lith")),
            _ => Err(Problem::new("expected `lock 1` before any pin").with_help(RENEW)),
        }
    }

    fn pin(&mut self, line: &str) -> Result<(), Problem> {
        if ["<<<<<<<", "|||||||", "=======", ">>>>>>>"].iter().any(|mark| line.starts_with(mark)) {
            return Err(Problem::new("this is a merge that nobody finished").with_help(RENEW));
        }
        let parts = Parts::of(line)?;
        let name = parts.name.clone();
        let mut one = Lock::default();
        let fresh = match parts.kind {
            "git" => {
                let [commit, tree] = parts.values(["commit", "tree"])?;
                let pin = GitPin { commit: object(commit)?, tree: object(tree)? };
                one.git.insert(name.clone(), pin.clone());
                self.lock.git.insert(name, pin).is_none()
            }
            "image" => {
                let [platform, manifest] = parts.values(["platform", "manifest"])?;
                let platform = platform_of(platform)?;
                let manifest =
                    manifest.parse().map_err(|error: DigestError| Problem::new(error.to_string()))?;
                let key = (name, platform);
                one.images.insert(key.clone(), manifest);
                self.lock.images.insert(key, manifest).is_none()
            }
            "package" => {
                let (key, pin) = package(&parts)?;
                one.packages.insert(key.clone(), pin.clone());
                self.lock.packages.insert(key, pin).is_none()
            }
            "url" => {
                let [sha256, size] = parts.values(["sha256", "size"])?;
                let pin = UrlPin { sha256: sha256_of(sha256)?, size: size_of(size)? };
                one.urls.insert(name.clone(), pin);
                self.lock.urls.insert(name, pin).is_none()
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

/// The parts of a line: kind, name, properties in order.
struct Parts<'a> {
    kind: &'a str,
    name: String,
    properties: Vec<(&'a str, String)>,
}

impl<'a> Parts<'a> {
    /// Takes a line apart. What is no pin in a way that does not show here shows when it is compared with what lith
    /// would have written.
    fn of(line: &'a str) -> Result<Self, Problem> {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        if !KINDS.contains(&kind) {
            return Err(unknown(kind));
        }
        let (name, mut rest) = string(rest).ok_or_else(|| {
            Problem::new(format!("expected a name in quotes behind {kind}")).with_help(RENEW)
        })?;
        let mut properties = Vec::new();
        while let Some(next) = rest.strip_prefix(' ').map(str::trim_start).filter(|next| !next.is_empty()) {
            let broken = || {
                let shown: String = next.chars().take(40).collect();
                let message = format!("expected key=\"value\" instead of {}", escape(shown.as_bytes()));
                Problem::new(message).with_help(RENEW)
            };
            let (key, value) = next.split_once('=').ok_or_else(broken)?;
            let (value, behind) = match string(value) {
                Some(found) => found,
                None => {
                    let (number, _) = value.split_once(' ').unwrap_or((value, ""));
                    (number.to_owned(), &value[number.len()..])
                }
            };
            properties.push((key, value));
            rest = behind;
        }
        Ok(Self { kind, name, properties })
    }

    /// The values of exactly these properties.
    fn values<const N: usize>(&self, wanted: [&str; N]) -> Result<[&str; N], Problem> {
        self.values_and(wanted, None)
    }

    /// The same where one more may be there, whose only value is true.
    fn values_and<const N: usize>(
        &self,
        wanted: [&str; N],
        optional: Option<&str>,
    ) -> Result<[&str; N], Problem> {
        let is_known = |key: &str| wanted.contains(&key) || optional == Some(key);
        if let Some((other, _)) = self.properties.iter().find(|(key, _)| !is_known(key)) {
            let known = wanted.into_iter().chain(optional).collect::<Vec<_>>().join(", ");
            let shown: String = other.chars().take(40).collect();
            let message = format!("{} has no {}; it has {known}", self.kind, escape(shown.as_bytes()));
            return Err(Problem::new(message));
        }
        let mut values = [""; N];
        for (value, key) in values.iter_mut().zip(wanted) {
            let found = self.properties.iter().find(|(known, _)| *known == key);
            *value = &found.ok_or_else(|| Problem::new(format!("{key}= is missing")).with_help(RENEW))?.1;
        }
        Ok(values)
    }
}

/// A string in quotes at the beginning of a text, and what is behind it.
fn string(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut rest = text.strip_prefix('"')?.chars();
    loop {
        match rest.next()? {
            '"' => return Some((out, rest.as_str())),
            '\\' => match rest.next()? {
                c @ ('"' | '\\') => out.push(c),
                'u' => {
                    let (digits, behind) = rest.as_str().strip_prefix('{')?.split_once('}')?;
                    out.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
                    rest = behind.chars();
                }
                _ => return None,
            },
            c => out.push(c),
        }
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

    fn at(self, span: Span) -> Diagnostic {
        let diagnostic = Diagnostic::error(span, self.message);
        match self.help {
            Some(help) => diagnostic.with_help(help),
            None => diagnostic,
        }
    }
}

fn unknown(kind: &str) -> Problem {
    let problem = Problem::new(format!("{} is no kind of pin", escape(kind.as_bytes())));
    match suggest(kind, KINDS) {
        Some(known) => problem.with_help(format!("did you mean {known}?")),
        None => problem.with_help("there are git, image, package and url"),
    }
}

fn package(parts: &Parts<'_>) -> Result<(PackageName, PackagePin), Problem> {
    let wanted = ["suite", "platform", "version", "architecture", "sha256", "size", "index", "url"];
    let values = parts.values_and(wanted, Some("required"))?;
    let [suite, platform, version, architecture, sha256, size, index, url] = values;
    let name =
        PackageName { name: parts.name.clone(), suite: suite.to_owned(), platform: platform_of(platform)? };
    let pin = PackagePin {
        version: version.to_owned(),
        architecture: architecture.to_owned(),
        sha256: sha256_of(sha256)?,
        size: size_of(size)?,
        index: index.to_owned(),
        url: url.to_owned(),
        required: parts.properties.iter().any(|(key, _)| *key == "required"),
    };
    Ok((name, pin))
}

fn platform_of(text: &str) -> Result<Platform, Problem> {
    text.parse().map_err(|error: PlatformError| Problem::new(error.to_string()))
}

fn sha256_of(text: &str) -> Result<BlobDigest, Problem> {
    BlobDigest::from_hex(text).map_err(|error| Problem::new(error.to_string()))
}

fn size_of(text: &str) -> Result<u64, Problem> {
    text.parse().map_err(|_| Problem::new("size is not a number of bytes"))
}

fn object(text: &str) -> Result<String, Problem> {
    if is_commit(text) {
        return Ok(text.to_owned());
    }
    let shown: String = text.chars().take(80).collect();
    Err(Problem::new(format!("{} is not 40 or 64 hexadecimal digits", escape(shown.as_bytes()))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COMMIT: &str = "0123456789012345678901234567890123456789";

    fn lock() -> Lock {
        let mut lock = Lock::default();
        let platform = |text: &str| text.parse::<Platform>().unwrap();
        lock.git.insert("https://h/a.git#v1".into(), GitPin { commit: COMMIT.into(), tree: COMMIT.into() });
        lock.images.insert(("alpine".into(), platform("linux/arm64")), BlobDigest::of(b"a"));
        lock.images.insert(("alpine".into(), platform("linux/amd64")), BlobDigest::of(b"b"));
        for (at, platform) in ["linux/amd64", "linux/arm64"].map(platform).into_iter().enumerate() {
            let key = PackageName { name: "libc6".into(), suite: "bookworm".into(), platform };
            let pin = PackagePin {
                version: "2.36-9+deb12u10".into(),
                architecture: "amd64".into(),
                sha256: BlobDigest::of(b"d"),
                size: 9,
                index: "bookworm/main".into(),
                url: "http://h/debian/pool/main/g/glibc/libc6.deb".into(),
                required: at == 0,
            };
            lock.packages.insert(key, pin);
        }
        lock.urls
            .insert("https://h/x?{\"\\\u{202e}".into(), UrlPin { sha256: BlobDigest::of(b"c"), size: 7 });
        lock
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let text = lock().text();
        assert_eq!(Lock::parse(&text).unwrap(), lock());
        assert_eq!(text.lines().count(), 8);
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
        refused(&url.replace("size=1", "size=0x1"), "number of bytes");
        refused(&url.replace("size=1", "size=+1"), "not as lith writes it");
        refused(&format!("{url}\r"), "number of bytes");
        refused(&url.replace("url \"u\"", "url u"), "expected a name");
        refused(&url.replace(" sha256", "  sha256"), "not as lith writes it");
        refused(&format!("{url} // mine"), "expected key=");
        refused(&format!("{url}; {url}"), "url has no");
        refused(&format!("{url} {{ }}"), "expected key=");
        refused(&format!("/* */ {url}"), "no kind of pin");
        refused(&url.replace("size=1", "size=-1"), "number of bytes");
        refused(&url.replace("size=1", "size=\"1\""), "not as lith writes it");
        refused(&url.replace("size", "length"), "url has no length");
        refused(&url.replace(" size=1", ""), "size= is missing");
        refused(&url.replace(&sha, "0123"), "0123");
        refused(&url.replace("url \"u\"", "url"), "expected a name");
        refused(&url.replace("url", "ulr"), "no kind of pin");
        let package = format!(
            "package \"a\" suite=\"s\" platform=\"linux/amd64\" version=\"1\" architecture=\"all\" sha256=\"{sha}\" size=1 index=\"s/main\" url=\"u\""
        );
        Lock::parse(&format!("lock 1\n{package} required=#true\n")).unwrap();
        refused(&format!("{package} required=#false"), "not as lith writes it");
        refused(&format!("{package} size=1"), "not as lith writes it");
        refused(&format!("{package} since=1"), "package has no since");
        refused(&package.replace("version=\"1\" ", ""), "version= is missing");
        refused(&package.replace("linux/amd64", "amiga"), "amiga");
        refused(&package.replace("size=1", "size=one"), "number of bytes");
        refused("lock 1", "no kind of pin");
        refused("url \"u", "expected a name");
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
    fn order_is_part_of_the_form() {
        let text = lock().text();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.swap(3, 4);
        let found = Lock::parse(&lines.join("\n")).unwrap_err();
        assert!(found[0].message.contains("order"), "{found:?}");
        let crlf = Lock::parse(&text.replace('\n', "\r\n")).unwrap_err();
        assert!(crlf[0].message.contains("carriage returns"), "{crlf:?}");
    }

    #[test]
    fn nothing_nests_and_many_problems_are_cut_short() {
        let hostile = ["a{", "(", "url \"\\u{", "url /-", "a \\u{", "url \"", "(a)", "url a=", "url \"x\" ="];
        for part in hostile {
            assert_eq!(
                Lock::parse(&format!("lock 1\n{}\n", part.repeat(300_000))).unwrap_err().len(),
                1,
                "{part}"
            );
        }
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
