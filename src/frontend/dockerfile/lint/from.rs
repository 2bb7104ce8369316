//! FROM: its variables, its platform, its image; and the images of `--from`.

use crate::oci::Reference;
use crate::platform::Platform;

use super::super::ast::{Instruction, Word};
use super::super::expand::Lexer;
use super::super::{clipped, shown, similar};
use super::Linter;
use super::rules::{
    DUPLICATE_STAGE_NAME, FROM_PLATFORM_FLAG_CONST_DISALLOWED, IMAGE_NOT_PINNED, INVALID_BASE_IMAGE_PLATFORM,
    INVALID_DEFAULT_ARG_IN_FROM, REDUNDANT_TARGET_PLATFORM, RESERVED_STAGE_NAME, UNDEFINED_ARG_IN_FROM,
};
use super::state::State;

/// References that name a file or directory of this machine.
const LOCAL: [&str; 3] = ["oci-layout:", "docker-archive:", "rootfs:"];

impl Linter<'_> {
    /// Everything about one FROM that needs no base.
    pub(super) fn from(&mut self, index: usize) {
        self.describe_from(index);
        self.casing_of_from(index);
        self.stage_name(index);
        let stage = &self.file.stages[index];
        let line = stage.origin.line;
        self.undefined(&stage.base, line);
        self.default_base(&stage.base, line);
        if let Some(platform) = &stage.platform {
            self.undefined(platform, line);
            let name = stage.name.as_ref().map_or("", |name| &name.text);
            self.platform(platform, name, line);
        }
        self.everywhere(index);
    }

    fn stage_name(&mut self, index: usize) {
        let stage = &self.file.stages[index];
        let Some(name) = &stage.name else { return };
        if matches!(name.text.as_str(), "scratch" | "context") {
            let message = format!("{} has a meaning of its own and is no good stage name", shown(&name.text));
            self.report.warn(
                &RESERVED_STAGE_NAME,
                stage.origin.line,
                name.span,
                message,
                "choose another name",
            );
        }
        if let Some(same) = self.names.before(&name.text, index) {
            let other = self.file.stages[same].origin.line;
            let message = format!("stage name {} is used in line {other} too", shown(&name.text));
            let help = "choose another name: FROM and --from mean the nearest earlier one";
            self.report.warn(&DUPLICATE_STAGE_NAME, stage.origin.line, name.span, message, help);
        }
    }

    fn undefined(&mut self, word: &Word, line: usize) {
        for name in Lexer::new(self.file.escape, &self.globals).variables(&word.text) {
            if self.globals.get(&name).is_some() || self.declared.contains(name.as_str()) {
                continue;
            }
            let known = self.declared.iter().copied().chain(self.globals.iter().map(|(known, _)| known));
            let help = match similar(&name, known) {
                Some(known) => format!("did you mean ${known}?"),
                None => format!("declare it before the first FROM: ARG {name}"),
            };
            let message =
                format!("FROM uses ${}, which no ARG before the first FROM declares", clipped(&name));
            self.report.warn(&UNDEFINED_ARG_IN_FROM, line, word.span, message, help);
        }
    }

    /// Whether the file builds if nobody passes build arguments.
    fn default_base(&mut self, word: &Word, line: usize) {
        let lexer = Lexer::new(self.file.escape, &self.defaults);
        if lexer.variables(&word.text).is_empty() {
            return;
        }
        let Ok(value) = lexer.word(&word.text, &mut self.budget) else { return };
        if is_local(&value) || value.parse::<Reference>().is_ok() {
            return;
        }
        let message =
            format!("without build arguments {} is {}, which is no image", shown(&word.text), shown(&value));
        let help = "give the ARG a default that names an image";
        self.report.warn(&INVALID_DEFAULT_ARG_IN_FROM, line, word.span, message, help);
    }

    fn platform(&mut self, word: &Word, stage: &str, line: usize) {
        let lexer = Lexer::new(self.file.escape, &self.globals);
        let names = lexer.variables(&word.text);
        let Ok(value) = lexer.word(&word.text, &mut self.budget) else { return };
        if names == ["TARGETPLATFORM"] && self.globals.get("TARGETPLATFORM") == Some(&value) {
            let message = format!("--platform={} is what FROM does anyway", shown(&word.text));
            self.report.warn(&REDUNDANT_TARGET_PLATFORM, line, word.span, message, "leave the flag out");
        }
        let Ok(platform) = Platform::parse_on(&value, &self.options.build_platform) else { return };
        // A stage that is called after its platform is meant for it.
        let told = stage.contains(&platform.os) || stage.contains(&platform.architecture);
        if names.is_empty() && !told {
            let message =
                format!("--platform={} is a constant: the image fits no other platform", shown(&value));
            let help = "leave it out, write $BUILDPLATFORM, or call the stage after the platform";
            self.report.warn(&FROM_PLATFORM_FLAG_CONST_DISALLOWED, line, word.span, message, help);
        }
    }

    /// What holds at the top of a stage. `states` are those at the ends of the stages before it.
    pub(super) fn begin(&mut self, index: usize, states: &[State]) -> State {
        let stage = &self.file.stages[index];
        let lexer = Lexer::new(self.file.escape, &self.globals);
        let Ok(base) = lexer.word(&stage.base.text, &mut self.budget) else { return State::on_unknown() };
        if base == "scratch" {
            return State::on_scratch();
        }
        if let Some(earlier) = self.names.before(&base, index) {
            return match self.budget.spend(states[earlier].weight()) {
                Ok(()) => states[earlier].clone(),
                Err(_) => State::on_unknown(),
            };
        }
        self.pinned(&base, &stage.base, stage.origin.line);
        let Some(platform) = self.stage_platform(index) else { return State::on_unknown() };
        match self.facts.bases.get(&(base.clone(), platform.clone())) {
            Some(config) => {
                self.base_platform(index, &base, &platform, &config.os, &config.architecture);
                State::on_image(config)
            }
            None => State::on_unknown(),
        }
    }

    /// What a stage is for, as it says; `None` if that cannot be read.
    fn stage_platform(&mut self, index: usize) -> Option<Platform> {
        let Some(word) = &self.file.stages[index].platform else {
            return Some(self.options.platform.clone());
        };
        let lexer = Lexer::new(self.file.escape, &self.globals);
        let value = lexer.word(&word.text, &mut self.budget).ok()?;
        Platform::parse_on(&value, &self.options.build_platform).ok()
    }

    fn base_platform(&mut self, index: usize, base: &str, expected: &Platform, os: &str, architecture: &str) {
        let stage = &self.file.stages[index];
        if expected.os == os && expected.architecture == architecture {
            return;
        }
        let message = format!(
            "base image {} is for {}/{}, expected {expected}",
            shown(base),
            clipped(os),
            clipped(architecture)
        );
        let help = "bring the image for that platform, or say --platform";
        self.report.warn(&INVALID_BASE_IMAGE_PLATFORM, stage.origin.line, stage.base.span, message, help);
    }

    /// Images that the instruction takes files from.
    pub(super) fn pinned_froms(&mut self, index: usize, instruction: &Instruction) {
        for (_, word) in instruction.froms() {
            let number = word.text.bytes().all(|b| b.is_ascii_digit());
            let stage = self.names.before(&word.text.to_lowercase(), index).is_some();
            if !number && !stage && word.text != "scratch" && !word.text.contains('$') {
                self.pinned(&word.text, &word, instruction.origin.line);
            }
        }
    }

    fn pinned(&mut self, reference: &str, word: &Word, line: usize) {
        let context = self.options.named_contexts.find(reference, &self.options.platform).is_some();
        if context
            || is_local(reference)
            || reference.contains('@')
            || reference.parse::<Reference>().is_err()
        {
            return;
        }
        let message = format!("{} may be another image tomorrow: it has no digest", shown(reference));
        let help = format!("write {}@sha256:… (`lith images --digests` shows it)", clipped(reference));
        self.report.warn(&IMAGE_NOT_PINNED, line, word.span, message, help);
    }
}

fn is_local(reference: &str) -> bool {
    LOCAL.iter().any(|scheme| reference.starts_with(scheme))
}
