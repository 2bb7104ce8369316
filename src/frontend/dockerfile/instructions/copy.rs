//! COPY and ADD.

use crate::diag::Diagnostic;

use super::super::ast::{CopyKind, CopyText, Heredoc, Word};
use super::super::{heredoc, shown};
use super::Parser;

impl Parser<'_> {
    pub(super) fn copy(&mut self, kind: CopyKind) -> Option<CopyText> {
        let (chown, chmod) = (self.flag("chown"), self.flag("chmod"));
        let from = match kind {
            CopyKind::Copy => self.flag("from"),
            CopyKind::Add => None,
        };
        let link = self.switch("link").unwrap_or(false);
        let parents = self.switch("parents").unwrap_or(false);
        let exclude = self.flags.take_many("exclude", self.problems);
        let (checksum, unpack) = match kind {
            CopyKind::Copy => (None, None),
            CopyKind::Add => {
                self.refuse("keep-git-dir");
                (self.flag("checksum"), self.switch("unpack"))
            }
        };
        if let Some(from) = from.as_ref().filter(|from| from.text.contains('$')) {
            let message = format!("variable expansion is not supported for --from: {}", shown(&from.text));
            self.problems.error_help(
                from.span,
                message,
                "define a new stage with FROM from ARG and copy from it",
            );
        }
        let mut words = self.words_or_json()?;
        let dest = match words.pop() {
            Some(dest) if !words.is_empty() => dest,
            Some(_) | None => {
                let message =
                    format!("{} requires at least two arguments: sources, then a destination", self.name);
                self.fail(message);
                return None;
            }
        };
        if heredoc::parse(&dest.text).is_some() && !self.line.heredocs.is_empty() {
            self.problems.error(dest.span, format!("{} cannot accept a heredoc as a destination", self.name));
            return None;
        }
        let (inline, sources) = self.heredoc_sources(words);
        for source in &sources {
            self.refuse_remote(kind, source);
        }
        Some(CopyText {
            kind,
            sources,
            inline,
            dest,
            from,
            chown,
            chmod,
            exclude,
            parents,
            link,
            checksum,
            unpack,
        })
    }

    /// Tells here-documents from paths among the sources.
    fn heredoc_sources(&mut self, words: Vec<Word>) -> (Vec<Heredoc>, Vec<Word>) {
        let (mut inline, mut sources) = (Vec::new(), Vec::new());
        for word in words {
            let announced = heredoc::parse(&word.text);
            // Later documents of the same name win, as they do in BuildKit.
            let body =
                announced.and_then(|a| self.line.heredocs.iter().rev().find(|d| d.name == a.name).cloned());
            match body {
                Some(document) if crate::path::is_name(document.name.as_bytes()) => inline.push(document),
                Some(document) => {
                    let message = format!("heredoc {} is not a plain file name", shown(&document.name));
                    self.problems.error(word.span, message);
                }
                None => sources.push(word),
            }
        }
        (inline, sources)
    }

    fn refuse_remote(&mut self, kind: CopyKind, source: &Word) {
        if !is_remote(&source.text) {
            return;
        }
        match kind {
            CopyKind::Copy => self.problems.push(remote_copy(source)),
            CopyKind::Add if is_url(&source.text) => {}
            CopyKind::Add => self.refused.push(remote_add(source)),
        }
    }
}

/// Whether a source of COPY or ADD names something on another machine.
pub fn is_remote(source: &str) -> bool {
    let scheme = source.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let scp = source.split_once(':').is_some_and(|(host, _)| host.contains('@') && !host.contains('/'));
    matches!(scheme.as_deref(), Some("http" | "https" | "git" | "ssh" | "ftp")) || scp
}

/// Whether a source names a file over http or https; a path that ends in `.git` is a repository's.
pub fn is_url(source: &str) -> bool {
    let rest = source.strip_prefix("http://").or_else(|| source.strip_prefix("https://"));
    rest.is_some_and(|rest| !rest.split(['?', '#']).next().unwrap_or(rest).ends_with(".git"))
}

/// Why `ADD` of something remote does not build.
pub fn remote_add(source: &Word) -> Diagnostic {
    let message =
        format!("ADD of {} is not supported yet: sources must be in the build context", shown(&source.text));
    Diagnostic::error(source.span, message).with_help("fetch it into the context first")
}

/// Why `COPY` of something remote never builds.
pub fn remote_copy(source: &Word) -> Diagnostic {
    let message = format!("source of COPY can't be a URL or a git repository: {}", shown(&source.text));
    Diagnostic::error(source.span, message).with_help("use ADD, or put the file into the context")
}
