//! COPY and ADD: sources, destination, options.

use crate::diag::escape;
use crate::path::ImagePath;
use crate::recipe::{Copy, FilesFrom, Op, Unpack};

use super::super::ast::{CopyKind, CopyText, Heredoc, Word};
use super::super::expand::Lexer;
use super::super::scope::clean;
use super::super::{instructions, shown};
use super::{Failed, Lowered, Lowering};

impl Lowering<'_> {
    pub(super) fn copy(&mut self, number: usize, copy: &CopyText) -> Result<Lowered, Failed> {
        let mut message = copy.kind.name().to_owned();
        let chown = self.option(copy.chown.as_ref(), "--chown", &mut message)?;
        let chmod = self.option(copy.chmod.as_ref(), "--chmod", &mut message)?;
        let chmod = match (chmod, &copy.chmod) {
            (Some(text), Some(word)) => Some(self.mode(&text, word)?),
            (_, _) => None,
        };
        let mut sources = Vec::new();
        for word in &copy.sources {
            let text = self.word(word)?;
            message.extend([" ", &text]);
            sources.push(self.source(copy.kind, &text, word)?);
        }
        let mut inline = Vec::new();
        for document in &copy.inline {
            message.extend([" <<", &document.name]);
            inline.push((document.name.clone(), self.document(document)?.into_bytes()));
        }
        let dest = self.word(&copy.dest)?;
        message.extend([" ", &dest, " # buildkit"]);
        let op = Op::Copy(Copy {
            from: self.stage.inputs.get(&(number, 0)).cloned().unwrap_or(FilesFrom::Context),
            sources,
            inline,
            dest: self.path(&clean(&self.scope.cwd(), &dest), copy.dest.span)?,
            dest_is_dir: is_directory(&dest),
            chown,
            chmod,
            unpack: match copy.kind {
                CopyKind::Copy => Unpack::Never,
                CopyKind::Add => Unpack::Archives,
            },
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

    fn mode(&mut self, text: &str, word: &Word) -> Result<u16, Failed> {
        let octal = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match u16::from_str_radix(text, 8) {
            Ok(mode) if octal && mode <= 0o7777 => Ok(mode),
            _ if octal => {
                let message = format!("invalid chmod parameter: {}", shown(text));
                self.problems.error_help(word.span, message, "it is octal, from 0 to 07777");
                Err(Failed)
            }
            _ => {
                let message = format!("symbolic --chmod={} is not supported yet", escape(text.as_bytes()));
                self.problems.error_help(word.span, message, "write the mode in octal, for example 755");
                Err(Failed)
            }
        }
    }

    fn source(&mut self, kind: CopyKind, text: &str, word: &Word) -> Result<ImagePath, Failed> {
        // One that says so as it is written was refused before.
        if instructions::is_remote(text) {
            if !instructions::is_remote(&word.text) {
                let word = Word { text: text.to_owned(), span: word.span };
                self.problems.push(match kind {
                    CopyKind::Add => instructions::remote_add(&word),
                    CopyKind::Copy => instructions::remote_copy(&word),
                });
            }
            return Err(Failed);
        }
        self.path(text, word.span)
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

/// Whether a destination as written must be a directory.
fn is_directory(dest: &str) -> bool {
    matches!(dest, "" | ".") || dest.ends_with('/') || dest.ends_with("/.")
}
