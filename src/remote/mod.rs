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
    text.split(['?', '#']).next().unwrap_or(text).ends_with(".git")
}

/// A URL with nothing in it that a program could take for an option.
fn parse_url(text: &str) -> Result<Url, RemoteError> {
    let malformed = || RemoteError::Malformed(shown(text));
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
        let end = after.find(|c: char| matches!(c, '/' | '?' | '#' | '"' | '\'') || c.is_whitespace());
        let authority = &after[..end.unwrap_or(after.len())];
        let shown = match authority.rsplit_once('@') {
            Some((user, host)) if user.contains(':') || !before.ends_with("ssh://") => host,
            Some(_) | None => authority,
        };
        out.push_str(shown);
        rest = &after[authority.len()..];
    }
    out.push_str(rest);
    out
}

/// For messages: without credentials, on one line, and not endless.
fn shown(text: &str) -> String {
    const LONGEST: usize = 200;
    let mut text = redact(text);
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
            ("ssh://git@h/x", "ssh://git@h/x"),
            ("ssh://git:p@h/x", "ssh://h/x"),
            ("a://", "a://"),
            ("no url", "no url"),
        ] {
            assert_eq!(redact(text), shown);
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
