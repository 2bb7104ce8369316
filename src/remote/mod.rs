//! What ADD and build contexts name on other machines: files by URL, git repositories (spec/fetch.md, "Names").
//!
//! Owns: which texts are remote, their parts, which of them are refused, how they are shown without credentials. Pure
//! text, no network.

pub mod git;

use url::Url;

use crate::diag::escape;

pub use git::GitRepo;

/// Something on another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remote {
    /// A file by its http or https URL, as written.
    File(String),
    Git(Box<GitRepo>),
}

/// Why a text names nothing that can be fetched. No message holds credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    #[error("{url}: {scheme}:// is not fetched; use https or http, for a repository git or ssh too")]
    Scheme { url: String, scheme: String },
    #[error("{0} is not a URL: expected scheme://host/path")]
    Malformed(String),
    #[error("{0}: a user, host or path that begins with '-' is what programs take for an option")]
    Option(String),
    #[error("{url}: {reference:?} is not the name of a branch, tag or commit")]
    Reference { url: String, reference: String },
    #[error("{url}: subdirectory {subdir:?} leads out of the repository")]
    Subdir { url: String, subdir: String },
    #[error("{url}: {message}")]
    Query { url: String, message: String },
    #[error("checksum {0:?} is not a commit: 7 to 64 hexadecimal digits")]
    Commit(String),
}

impl Remote {
    /// Reads a text as ADD does; `None` if it is a path. An HTTP URL is a repository only if its path ends in `.git`.
    pub fn parse(text: &str) -> Result<Option<Self>, RemoteError> {
        let git = |repo: GitRepo| Self::Git(Box::new(repo));
        let Some(scheme) = scheme(text) else { return Ok(git::scp(text)?.map(git)) };
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" if !names_repository(text) => Ok(Some(Self::File(text.to_owned()))),
            "http" | "https" | "git" | "ssh" => Ok(Some(git(GitRepo::parse(text)?))),
            "ftp" | "ftps" | "file" | "rsync" | "svn" => {
                Err(RemoteError::Scheme { url: shown(text), scheme: escape(scheme.as_bytes()) })
            }
            _ => Ok(None),
        }
    }

    /// Reads a text as the context of a build: `github.com/…` without a scheme is a repository too.
    pub fn parse_context(text: &str) -> Result<Option<Self>, RemoteError> {
        if text.starts_with("github.com/") {
            let repo = GitRepo::parse(&format!("https://{text}"))?;
            return Ok(Some(Self::Git(Box::new(repo))));
        }
        Self::parse(text)
    }

    /// For people, without credentials.
    pub fn shown(&self) -> String {
        match self {
            Self::File(url) => shown(url),
            Self::Git(repo) => repo.shown(),
        }
    }
}

/// The scheme of a text that has one: what stands before `://`.
fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once("://")?;
    let valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    valid.then_some(scheme)
}

/// Whether an HTTP URL is a repository's.
fn names_repository(text: &str) -> bool {
    let address = text.split(['?', '#']).next().unwrap_or(text);
    let path = address.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
    path.is_some_and(|(_, path)| path.ends_with(".git"))
}

/// A URL with nothing in it that a program could take for an option.
fn parse_url(text: &str) -> Result<Url, RemoteError> {
    let malformed = || RemoteError::Malformed(shown_broken(text));
    if text.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(malformed());
    }
    let url = Url::parse(text).map_err(|_| malformed())?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(malformed)?;
    if host.starts_with('-') || url.username().starts_with('-') {
        return Err(RemoteError::Option(shown(text)));
    }
    Ok(url)
}

/// With `%` escapes for all but what means itself everywhere in a URL.
fn percent_encoded(bytes: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/');
    let encoded =
        |byte: &u8| if plain(*byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") };
    bytes.iter().map(encoded).collect()
}

/// With `%` escapes resolved.
pub fn percent_decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

/// A text without the user and password of any URL in it. The user of ssh is no secret, and no address without it.
pub fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after.find(|c: char| ends_authority(c) || c.is_whitespace()).unwrap_or(after.len());
        let (authority, behind) = after.split_at(end);
        out.push_str(host(before, authority));
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// One URL without user and password, whatever they are made of.
pub fn without_credentials(url: &str) -> String {
    let Some(at) = url.find("://") else { return url.to_owned() };
    let (before, after) = url.split_at(at + 3);
    let (authority, behind) = after.split_at(after.find(ends_authority).unwrap_or(after.len()));
    format!("{before}{}{behind}", host(before, authority))
}

/// What may follow user, host and port, as the URL standard reads them: blanks and quotes may not.
fn ends_authority(c: char) -> bool {
    matches!(c, '/' | '?' | '#' | '\\')
}

/// An authority without what is secret in it; `before` ends in the scheme.
fn host<'a>(before: &str, authority: &'a str) -> &'a str {
    match authority.rsplit_once('@') {
        Some((user, host)) if user.contains(':') || !before.ends_with("ssh://") => host,
        Some(_) | None => authority,
    }
}

/// For messages about a text that is not the URL it should be: nobody knows where a password in it ends.
pub fn shown_broken(text: &str) -> String {
    let bare = without_credentials(text);
    match (bare.split_once("://"), bare.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => shown(&format!("{scheme}://…{rest}")),
        (_, _) => shown(&bare),
    }
}

/// For messages: without credentials, on one line, and not endless.
fn shown(text: &str) -> String {
    const LONGEST: usize = 200;
    let mut text = without_credentials(text);
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push('…');
    }
    escape(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R22: no credential of a URL survives.
    #[test]
    fn credentials_are_left_out() {
        for (text, shown) in [
            ("https://u:p@h/x", "https://h/x"),
            ("https://token@h/x", "https://h/x"),
            ("https://a@b:c@h:8/x@y", "https://h:8/x@y"),
            ("ADD https://u:p@h/x https://h/y@z /", "ADD https://h/x https://h/y@z /"),
            ("[\"https://u@h\", \"/\"]", "[\"https://h\", \"/\"]"),
            ("ADD 'https://u:p'q@h/x' /", "ADD 'https://h/x' /"),
            ("ssh://git@h/x", "ssh://git@h/x"),
            ("ssh://git:p@h/x", "ssh://h/x"),
            ("a://", "a://"),
            ("no url", "no url"),
        ] {
            assert_eq!(redact(text), shown);
        }
    }

    #[test]
    fn credentials_of_one_url_are_whatever_stands_before_its_host() {
        for (text, shown) in [
            ("http://me:x'word@h/f", "http://h/f"),
            ("http://me:x\"word@h/f", "http://h/f"),
            ("http://me:x word@h/f", "http://h/f"),
            ("http://me:x@word@h/f@g", "http://h/f@g"),
            ("http://h\\x@y/f", "http://h\\x@y/f"),
            ("a/b@c", "a/b@c"),
        ] {
            assert_eq!(without_credentials(text), shown);
        }
        for broken in ["https://me:a/word@h/x.git", "https://me:word@h:99999/x.git"] {
            let said = Remote::parse(broken).unwrap_err().to_string();
            assert!(!said.contains("wo") && said.contains(".git"), "{said}");
        }
    }

    /// Nor is a terminal at the mercy of what a text says.
    #[test]
    fn messages_can_be_shown() {
        let long = format!("https://{}@h:x/", "p".repeat(500));
        for text in ["a@b:c\u{7f}", "a@b:c\u{202e}d\n", "ftp://u:p@h/\u{1b}[1m", "https://u:p@h\u{7}/", &long]
        {
            match Remote::parse(text).and_then(|_| Remote::parse(&format!("{text}.git"))) {
                Err(error) => {
                    let said = error.to_string();
                    assert!(!said.contains("pp") && said.chars().count() < 400, "{said}");
                    assert_eq!(crate::diag::escape(said.as_bytes()), said.replace('\\', "\\\\"), "{said}");
                }
                Ok(other) => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_is_remote_and_what_is_a_path() {
        let kind = |text: &str| match Remote::parse(text) {
            Ok(None) => "path",
            Ok(Some(Remote::File(_))) => "file",
            Ok(Some(Remote::Git(_))) => "git",
            Err(_) => "error",
        };
        for (text, wanted) in [
            ("a/b", "path"),
            ("http:/x", "path"),
            ("https://h/a.tar", "file"),
            ("HTTPS://h/a.tar", "file"),
            ("https://h/a.git", "git"),
            ("https://h/a.git#v1:sub", "git"),
            ("https://h/a.git?ref=v1", "git"),
            ("https://h/a.git/info", "file"),
            ("https://h/x?y=a.git", "file"),
            ("https://a.git", "file"),
            ("https://a.git?ref=v1", "file"),
            ("git://h/a", "git"),
            ("ssh://git@h/a", "git"),
            ("git@h:a/b.git", "git"),
            ("git@h:a/b.git#main", "git"),
            ("a@b/c:d", "path"),
            ("github.com/a/b", "path"),
            ("ftp://h/a", "error"),
            ("file:///etc/passwd", "error"),
            ("s3://h/a", "path"),
        ] {
            assert_eq!(kind(text), wanted, "{text}");
        }
        assert!(matches!(Remote::parse_context("github.com/a/b.git#v1"), Ok(Some(Remote::Git(_)))));
    }
}
