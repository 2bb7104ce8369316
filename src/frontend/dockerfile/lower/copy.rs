//! COPY and ADD: sources, destination, options.

use crate::diag::Span;
use crate::recipe::chmod::{Chmod, ChmodError};
use crate::recipe::{Copy, CopySource, FilesFrom, Link, Op, Unpack};
use crate::remote::{Remote, without_credentials};

use super::super::ast::{CopyKind, CopyText, Heredoc, Word};
use super::super::expand::Lexer;
use super::super::files::{self, NO_FILES};
use super::super::scope::clean;
use super::super::{instructions, shown};
use super::{Failed, Lowered, Lowering};

impl Lowering<'_> {
    pub(super) fn copy(&mut self, number: usize, copy: &CopyText) -> Result<Lowered, Failed> {
        let mut message = copy.kind.name().to_owned();
        if copy.parents {
            message.push_str(" --parents");
        }
        let chown = self.option(copy.chown.as_ref(), "--chown", &mut message)?;
        let chmod = self.option(copy.chmod.as_ref(), "--chmod", &mut message)?;
        let chmod = match (chmod, &copy.chmod) {
            (Some(text), Some(word)) => Some(self.mode(&text, word)?),
            (_, _) => None,
        };
        // As BuildKit: with a mode it is an ordinary copy.
        let link = if copy.link && chmod.is_none() { Link::Yes } else { Link::No };
        if let (Link::Yes, Some(owner), Some(word)) = (link, &chown, &copy.chown) {
            self.owner_without_names(owner, word)?;
        }
        let from = self.stage.inputs.get(&(number, 0)).cloned().unwrap_or(FilesFrom::Context);
        let mut sources = Vec::new();
        for word in &copy.sources {
            let text = self.word(word)?;
            // (BuildKit keeps user and password.)
            message.extend([" ", &without_credentials(&text)]);
            let source = self.source(copy, &text, word)?;
            if from == FilesFrom::Scratch && files::names_a_file(&source) {
                return self.fail(word.span, NO_FILES);
            }
            sources.push(source);
        }
        let sources = self.pinned(copy, sources)?;
        let mut inline = Vec::new();
        for document in &copy.inline {
            message.extend([" <<", &document.name]);
            inline.push((document.name.clone(), self.document(document)?.into_bytes()));
        }
        let dest = self.word(&copy.dest)?;
        message.extend([" ", &dest, " # buildkit"]);
        let unpack = match (copy.kind, copy.unpack) {
            (CopyKind::Copy, _) | (CopyKind::Add, Some(false)) => Unpack::Never,
            (CopyKind::Add, None) => Unpack::Archives,
            (CopyKind::Add, Some(true)) => Unpack::All,
        };
        let op = Op::Copy(Copy {
            from,
            sources,
            inline,
            dest: self.path(&clean(&self.scope.cwd(), &dest), copy.dest.span)?,
            dest_is_dir: files::is_directory(&dest),
            chown,
            link,
            chmod,
            unpack,
            exclude: self.exclusions(&copy.exclude)?,
        });
        Ok(Lowered { op, created_by: message })
    }

    /// An expanded flag, noted in the history; `None` if it is absent or empty.
    fn option(
        &mut self,
        word: Option<&Word>,
        flag: &str,
        message: &mut String,
    ) -> Result<Option<String>, Failed> {
        let Some(word) = word else { return Ok(None) };
        let text = self.word(word)?;
        if text.is_empty() {
            return Ok(None);
        }
        message.extend([" ", flag, "=", &text]);
        Ok(Some(text))
    }

    /// The owner of a linked copy, which has no file system below it where a name could be looked up.
    fn owner_without_names(&mut self, owner: &str, word: &Word) -> Result<(), Failed> {
        match files::owner_by_name(owner) {
            None => Ok(()),
            Some(name) => {
                let message = format!("{} in --chown of a linked copy is no number", shown(name));
                let help =
                    "--link looks at no passwd file: write user and group as numbers, or leave --link out";
                self.problems.error_help(word.span, message, help);
                Err(Failed)
            }
        }
    }

    fn mode(&mut self, text: &str, word: &Word) -> Result<Chmod, Failed> {
        text.parse().map_err(|error: ChmodError| {
            let message = format!("invalid chmod parameter: {}", shown(text));
            self.problems.error_help(word.span, message, error.to_string());
            Failed
        })
    }

    /// Puts what `--checksum` says to the one source it is for.
    fn pinned(&mut self, copy: &CopyText, mut sources: Vec<CopySource>) -> Result<Vec<CopySource>, Failed> {
        let Some(word) = &copy.checksum else { return Ok(sources) };
        let text = self.word(word)?;
        if text.is_empty() {
            return Ok(sources);
        }
        let ([source], true) = (sources.as_mut_slice(), copy.inline.is_empty()) else {
            return self.fail(word.span, "--checksum is for one source alone");
        };
        match source {
            CopySource::Url { checksum, .. } => match text.parse() {
                Ok(digest) => *checksum = Some(digest),
                Err(_) => {
                    let message = format!("invalid checksum {}", shown(&text));
                    self.problems.error_help(word.span, message, "write sha256: and 64 hexadecimal digits");
                    return Err(Failed);
                }
            },
            CopySource::Git(repo) => match (**repo).clone().with_checksum(&text) {
                Ok(pinned) => **repo = pinned,
                Err(error) => return self.fail(word.span, error.to_string()),
            },
            CopySource::Path(_) | CopySource::Below { .. } => {
                return self.fail(word.span, "--checksum is for a URL or a git repository, not for a path");
            }
        }
        Ok(sources)
    }

    fn source(&mut self, copy: &CopyText, text: &str, word: &Word) -> Result<CopySource, Failed> {
        match copy.kind {
            CopyKind::Add => {
                if let Some(remote) = self.remote(copy, text, word.span)? {
                    return Ok(remote);
                }
            }
            CopyKind::Copy if instructions::is_remote(text) => {
                // One that says so as it is written was refused before.
                if !instructions::is_remote(&word.text) {
                    let word = Word { text: text.to_owned(), span: word.span };
                    self.problems.push(instructions::remote_copy(&word));
                }
                return Err(Failed);
            }
            CopyKind::Copy => {}
        }
        if !copy.parents {
            return Ok(CopySource::Path(self.checked(files::source_path(text), word.span)?));
        }
        self.checked(files::source_below(text), word.span)
    }

    fn exclusions(&mut self, words: &[Word]) -> Result<Vec<String>, Failed> {
        for word in words {
            self.checked(files::exclusion(&word.text), word.span)?;
        }
        Ok(words.iter().map(|word| word.text.clone()).collect())
    }

    /// What ADD fetches; `None` if the text is a path.
    fn remote(&mut self, copy: &CopyText, text: &str, span: Span) -> Result<Option<CopySource>, Failed> {
        match Remote::parse(text) {
            Ok(None) => Ok(None),
            Ok(Some(Remote::File(url))) => Ok(Some(CopySource::Url { url, checksum: None })),
            Ok(Some(Remote::Git(mut repo))) => {
                repo.keep_git_dir = copy.keep_git_dir.or(repo.keep_git_dir);
                Ok(Some(CopySource::Git(repo)))
            }
            Err(error) => self.fail(span, error.to_string()),
        }
    }

    fn document(&mut self, document: &Heredoc) -> Result<String, Failed> {
        let body = document.text();
        if !document.expand {
            return Ok(body);
        }
        let lexer = Lexer::document(&self.scope.env);
        let result = lexer.word(&body, self.budget);
        self.expanded(result, document.span)
    }
}
