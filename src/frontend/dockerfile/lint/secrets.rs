//! Names that promise a secret, in ARG and ENV: both stay in the image or its history.

use super::super::ast::{ArgDecl, Instruction, Pair};
use super::Linter;
use super::rules::SECRETS_USED_IN_ARG_OR_ENV;
use super::state::State;
use crate::diag::Span;

/// Words between underscores that say secret.
const SECRET: [&str; 10] =
    ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"];
/// Words that say it is none.
const HARMLESS: [&str; 3] = ["public", "file", "version"];

impl Linter<'_> {
    /// ENV, whose names are expanded.
    pub(super) fn secret_names(&mut self, state: &State, pairs: &[Pair], instruction: &Instruction) {
        for pair in pairs {
            if let Some(name) = state.expand(self, &pair.name) {
                self.secret("ENV", &name, pair.name.span, instruction.origin.line);
            }
        }
    }

    /// ARG.
    pub(super) fn secret_args(&mut self, decls: &[ArgDecl], instruction: &Instruction) {
        for decl in decls {
            self.secret("ARG", &decl.name, decl.span, instruction.origin.line);
        }
    }

    fn secret(&mut self, instruction: &str, name: &str, span: Span, line: usize) {
        if is_secret(name) {
            let message = format!(
                "{instruction} {} looks like a secret, and images keep what {instruction} says",
                super::super::shown(name)
            );
            let help = "mount it where it is needed: RUN --mount=type=secret,id=…";
            self.report.warn(&SECRETS_USED_IN_ARG_OR_ENV, line, span, message, help);
        }
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    let has = |words: &[&str]| name.split('_').any(|part| words.contains(&part));
    has(&SECRET) && !has(&HARMLESS)
}

#[cfg(test)]
mod tests {
    use super::is_secret;

    #[test]
    fn names() {
        for name in ["SUPER_Secret", "password", "super_duper_secret_token", "apikey", "git_key", "AUTH"] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "sunflower",
            "PUBLIC_KEY",
            "public_token",
            "SECRET_FILE",
            "AUTH_MODULE_VERSION",
            "KEYS",
            "passphrase",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
