//! Variables that nothing defines.

use std::collections::{BTreeMap, BTreeSet};

use crate::diag::Span;

use super::super::ast::{Instruction, Kind, Word};
use super::super::expand::Lexer;
use super::super::similar;
use super::Linter;
use super::rules::UNDEFINED_VAR;
use super::state::State;

/// Names that ENV and ARG define in a stage, with the number of the last instruction that does.
pub fn definitions(body: &[Instruction]) -> BTreeMap<&str, usize> {
    let mut last = BTreeMap::new();
    for (number, instruction) in body.iter().enumerate() {
        match &instruction.kind {
            Kind::Env(pairs) => last.extend(pairs.iter().map(|pair| (pair.name.text.as_str(), number))),
            Kind::Arg(decls) => last.extend(decls.iter().map(|decl| (decl.name.as_str(), number))),
            _ => {}
        }
    }
    last
}

impl Linter<'_> {
    /// Where the base's variables are not known, only what the file itself makes likely to be a mistake is reported.
    pub(super) fn variables(
        &mut self,
        state: &State,
        instruction: &Instruction,
        comes_later: &dyn Fn(&str) -> bool,
    ) {
        let mut seen = BTreeSet::new();
        for (name, span) in self.uses(state, instruction) {
            let special = matches!(name.as_str(), "BUILDKIT_SBOM_SCAN_CONTEXT" | "BUILDKIT_SBOM_SCAN_STAGE");
            let defined = state.env.get(&name).is_some() || state.args.contains(&name);
            if defined || special || !seen.insert(name.clone()) {
                continue;
            }
            let global = self.globals.get(&name).is_some() || self.declared.contains(name.as_str());
            let known = state.args.iter().map(String::as_str).chain(state.env.iter().map(|(name, _)| name));
            let similar = similar(&name, known);
            let shown = crate::diag::escape(name.chars().take(80).collect::<String>().as_bytes());
            let help = match similar {
                _ if comes_later(&name) => "define it before its first use".to_owned(),
                _ if global => {
                    format!("ARGs before FROM do not reach into stages; write ARG {shown} in this one")
                }
                Some(known) => format!("did you mean ${known}?"),
                None if state.sure => format!("write ARG {shown} or ENV {shown}=… before it"),
                None => continue,
            };
            let message = format!("${shown} is not defined here");
            self.report.warn(&UNDEFINED_VAR, instruction.origin.line, span, message, help);
        }
    }

    /// The variables an instruction expands.
    fn uses(&self, state: &State, instruction: &Instruction) -> Vec<(String, Span)> {
        let plain = Lexer::new(self.file.escape, &state.env);
        let mut names = Vec::new();
        let mut add = |lexer: &Lexer, text: &str, span: Span| {
            names.extend(lexer.variables(text).into_iter().map(|name| (name, span)));
        };
        let mut word = |word: &Word| add(&plain, &word.text, word.span);
        match &instruction.kind {
            Kind::Env(pairs) | Kind::Label(pairs) => {
                pairs.iter().flat_map(|pair| [&pair.name, &pair.value]).for_each(word);
            }
            Kind::Arg(decls) => {
                let given = |name: &str| self.options.build_arg(name).is_some();
                decls.iter().filter(|decl| !given(&decl.name)).flat_map(|decl| &decl.default).for_each(word);
            }
            Kind::Workdir(text) | Kind::User(text) | Kind::StopSignal(text) => word(text),
            Kind::Volume(words) => words.iter().for_each(word),
            Kind::Copy(copy) => {
                let flags = copy.chown.iter().chain(&copy.chmod).chain(&copy.checksum);
                copy.sources.iter().chain([&copy.dest]).chain(flags).for_each(&mut word);
                let document = Lexer::document(&state.env);
                for inline in copy.inline.iter().filter(|inline| inline.expand) {
                    add(&document, &inline.body, inline.span);
                }
            }
            Kind::Run(run) => {
                let fields = run.mounts.iter().flat_map(|mount| &mount.fields);
                for field in fields.filter(|field| field.key != "from") {
                    add(&plain, field.value.as_deref().unwrap_or_default(), field.span);
                }
            }
            // Ports are expanded too, without a word about undefined variables, as in BuildKit.
            Kind::Expose(_)
            | Kind::Cmd(_)
            | Kind::Entrypoint(_)
            | Kind::Shell(_)
            | Kind::Healthcheck(_)
            | Kind::Maintainer(_)
            | Kind::OnBuild(_) => {}
        }
        names
    }
}
