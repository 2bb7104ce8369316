//! RUN: the argument vector, the environment, the scripts.

use std::collections::BTreeSet;

use crate::diag::Span;
use crate::recipe::{Litter, Op, Run, Security, Told};

use super::super::ast::{CommandLine, Heredoc, RunText};
use super::super::{created_by, heredoc, shown};
use super::{Failed, Lowered, Lowering};

impl Lowering<'_> {
    pub(super) fn run(&mut self, number: usize, run: &RunText, span: Span) -> Result<Lowered, Failed> {
        let mut scripts = Vec::new();
        let argv = match &run.command {
            CommandLine::Exec(argv) if argv.is_empty() => return self.fail(span, "RUN [] names no command"),
            CommandLine::Exec(argv) => argv.clone(),
            CommandLine::Shell(text) => {
                let text = self.run_text(text, &run.heredocs, span, &mut scripts)?;
                self.scope.shell(text)
            }
        };
        if run.security == Security::Insecure && !self.options.insecure {
            let message =
                "security.insecure is not allowed: the step would have all powers of this machine's root";
            self.problems.error_help(span, message, "allow it with --allow security.insecure");
            return Err(Failed);
        }
        let env = self.scope.process_env();
        self.spend(env.iter().map(|(name, value)| name.len() + value.len() + 128).sum(), span)?;
        let taken: BTreeSet<&str> = env.iter().map(|(name, _)| name.as_str()).collect();
        let proxy_env =
            self.proxies.iter().filter(|(name, _)| !taken.contains(name.as_str())).cloned().collect();
        let mounts = self.mounts(number, &run.mounts)?;
        let created_by = created_by::run(&argv, &self.scope.declared());
        let user = self.scope.image.config.user.clone();
        let run = Run {
            argv,
            env,
            proxy_env,
            litter: Litter::Dropped,
            cwd: self.scope.cwd(),
            user,
            network: run.network,
            security: run.security,
            told: Told::default(),
            mounts,
            scripts,
        };
        Ok(Lowered { op: Op::Run(run), created_by })
    }

    /// What the shell gets: a sole here-document is the script itself, or a file to run if it begins with `#!`;
    /// any other line is put together again for the shell to read.
    fn run_text(
        &mut self,
        text: &str,
        documents: &[Heredoc],
        span: Span,
        scripts: &mut Vec<(String, Vec<u8>)>,
    ) -> Result<String, Failed> {
        let Some(first) = documents.first() else { return Ok(text.to_owned()) };
        if heredoc::parse(text).is_none() {
            let mut whole = text.to_owned();
            for document in documents {
                whole.extend(["\n", &document.body, &document.name]);
            }
            return Ok(whole);
        }
        let body = first.text();
        if !body.starts_with("#!") {
            return Ok(body);
        }
        if !crate::path::is_name(first.name.as_bytes()) {
            return self.fail(span, format!("heredoc {} is not a plain file name", shown(&first.name)));
        }
        let path = format!("/dev/pipes/{}", first.name);
        scripts.push((path.clone(), body.into_bytes()));
        Ok(path)
    }
}
