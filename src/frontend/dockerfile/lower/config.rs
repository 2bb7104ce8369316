//! Instructions that change the config alone, and WORKDIR.

use crate::diag::{Span, escape};
use crate::oci::config::Empty;
use crate::recipe::Op;

use super::super::ast::{ArgDecl, CommandLine, Pair, Word};
use super::super::expand::Lexer;
use super::super::scope::clean;
use super::super::{created_by, ports, shown, signal};
use super::{Failed, Lowered, Lowering};

impl Lowering<'_> {
    pub(super) fn env(&mut self, pairs: &[Pair], span: Span) -> Result<Lowered, Failed> {
        let mut message = "ENV".to_owned();
        for (name, value) in self.pairs(pairs)? {
            message.extend([" ", &name, "=", &value]);
            if !self.scope.set_env(&name, &value) {
                return self.fail(span, "the environment of the image grows beyond 8388608 bytes");
            }
        }
        Ok(Lowered::config(message))
    }

    pub(super) fn label(&mut self, pairs: &[Pair]) -> Result<Lowered, Failed> {
        let mut message = "LABEL".to_owned();
        for (name, value) in self.pairs(pairs)? {
            message.extend([" ", &name, "=", &value]);
            self.scope.config().labels.insert(name, value);
        }
        Ok(Lowered::config(message))
    }

    /// All pairs, expanded in the environment before the instruction.
    fn pairs(&mut self, pairs: &[Pair]) -> Result<Vec<(String, String)>, Failed> {
        let mut out = Vec::new();
        for pair in pairs {
            let name = self.word(&pair.name)?;
            if name.is_empty() || name.contains('=') {
                let message = format!("name {} expands to {}", shown(&pair.name.text), shown(&name));
                return self.fail(pair.name.span, format!("{message}; a name is not empty and holds no ="));
            }
            out.push((name, self.word(&pair.value)?));
        }
        Ok(out)
    }

    /// Each ARG sees those before it. A value comes from the build, else the default, else the global ARG.
    pub(super) fn arg(&mut self, decls: &[ArgDecl], span: Span) -> Result<Lowered, Failed> {
        let mut message = "ARG".to_owned();
        for decl in decls {
            let value = match (self.options.build_arg(&decl.name), &decl.default) {
                (Some(given), _) => Some(given.to_owned()),
                (None, Some(default)) => Some(self.word(default)?),
                (None, None) => self.resolved.globals.get(&decl.name).map(str::to_owned),
            };
            self.spend(value.as_ref().map_or(0, String::len) + decl.name.len() + 64, span)?;
            message.extend([" ", &decl.name]);
            if let Some(value) = &value {
                message.extend(["=", value]);
            }
            self.scope.set_arg(&decl.name, value);
        }
        Ok(Lowered::config(message))
    }

    pub(super) fn workdir(&mut self, word: &Word) -> Result<Lowered, Failed> {
        let text = self.word(word)?;
        let dir = clean(&self.scope.cwd(), &text);
        let path = self.path(&dir, word.span)?;
        self.scope.config().working_dir.clone_from(&dir);
        let user = self.scope.image.config.user.clone();
        let op = if path.is_root() { Op::Config } else { Op::MakeDir { path, user } };
        Ok(Lowered { op, created_by: format!("WORKDIR {dir}") })
    }

    pub(super) fn user(&mut self, word: &Word) -> Result<Lowered, Failed> {
        let user = self.word(word)?;
        self.scope.config().user.clone_from(&user);
        Ok(Lowered::config(format!("USER {user}")))
    }

    pub(super) fn stop_signal(&mut self, word: &Word) -> Result<Lowered, Failed> {
        let text = self.word(word)?;
        if !signal::is_signal(&text) {
            let message = format!("invalid signal: {}", shown(&text));
            self.problems.error_help(
                word.span,
                message,
                "write a name such as SIGTERM, or a number from 1 to 64",
            );
            return Err(Failed);
        }
        self.scope.config().stop_signal.clone_from(&text);
        Ok(Lowered::config(format!("STOPSIGNAL {text}")))
    }

    pub(super) fn expose(&mut self, words: &[Word]) -> Result<Lowered, Failed> {
        let mut all = Vec::new();
        for word in words {
            let lexer = Lexer::new(self.file.escape, &self.scope.env);
            let result = lexer.words(&word.text, self.budget);
            for spec in self.expanded(result, word.span)? {
                let ports = ports::parse(&spec)
                    .or_else(|error| self.fail(word.span, escape(error.to_string().as_bytes())))?;
                self.spend(ports.len() * 64, word.span)?;
                all.extend(ports);
            }
        }
        self.scope.config().exposed_ports.extend(all.iter().map(|port| (port.clone(), Empty {})));
        Ok(Lowered::config(format!("EXPOSE {}", created_by::list(&all))))
    }

    pub(super) fn volume(&mut self, words: &[Word]) -> Result<Lowered, Failed> {
        let mut all = Vec::new();
        for word in words {
            let volume = self.word(word)?;
            if volume.is_empty() {
                return self.fail(word.span, "VOLUME specified can not be an empty string");
            }
            all.push(volume);
        }
        self.scope.config().volumes.extend(all.iter().map(|volume| (volume.clone(), Empty {})));
        Ok(Lowered::config(format!("VOLUME {}", created_by::list(&all))))
    }

    pub(super) fn cmd(&mut self, command: &CommandLine) -> Lowered {
        let argv = self.argv(command);
        let message = format!("CMD {}", created_by::quoted_list(&argv));
        self.scope.set_cmd(argv);
        Lowered::config(message)
    }

    pub(super) fn entrypoint(&mut self, command: &CommandLine) -> Lowered {
        let argv = self.argv(command);
        let message = format!("ENTRYPOINT {}", created_by::quoted_list(&argv));
        self.scope.set_entrypoint(argv);
        Lowered::config(message)
    }

    fn argv(&self, command: &CommandLine) -> Vec<String> {
        match command {
            CommandLine::Exec(argv) => argv.clone(),
            CommandLine::Shell(text) => self.scope.shell(text.clone()),
        }
    }
}
