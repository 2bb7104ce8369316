//! COPY and ADD.

use crate::diag::Diagnostic;
use crate::remote::{Remote, redact};

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
        let (checksum, keep_git_dir, unpack) = match kind {
            CopyKind::Copy => (None, None, None),
            CopyKind::Add => (self.flag("checksum"), self.switch("keep-git-dir"), self.switch("unpack")),
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
        if kind == CopyKind::Copy {
            for source in sources.iter().filter(|source| is_remote(&source.text)) {
                self.problems.push(remote_copy(source));
            }
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
            keep_git_dir,
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
}

/// Whether a source names something on another machine, or tries to.
pub fn is_remote(source: &str) -> bool {
    !matches!(Remote::parse(source), Ok(None))
}

/// Whether a source names a file over http or https.
pub fn is_url(source: &str) -> bool {
    matches!(Remote::parse(source), Ok(Some(Remote::File(_))))
}

/// Why `COPY` of something remote never builds.
pub fn remote_copy(source: &Word) -> Diagnostic {
    let message =
        format!("source of COPY can't be a URL or a git repository: {}", shown(&redact(&source.text)));
    Diagnostic::error(source.span, message).with_help("use ADD, or put the file into the context")
}
