//! Collects what the rules find, and leaves out what the file does not want to hear.

use std::collections::{BTreeMap, BTreeSet};

use crate::diag::{Diagnostic, Span};

use super::super::ast::Dockerfile;
use super::super::problems::Problems;
use super::super::{shown, similar};
use super::checks::{self, Checks};
use super::rules::{Origin, RULES, Rule};
use super::{Level, Linted};

/// Warnings so far.
pub struct Report {
    level: Level,
    file: Checks,
    /// `check` comments by the line of their instruction.
    comments: BTreeMap<usize, Checks>,
    problems: Problems,
    failing: BTreeSet<&'static str>,
}

impl Report {
    /// `given` is the value of `BUILDKIT_DOCKERFILE_CHECK`, which counts instead of the file's directive.
    pub fn new(file: &Dockerfile, given: Option<&str>, level: Level) -> Self {
        let mut problems = Problems::default();
        let checks = match (given, &file.check) {
            (Some(given), _) => Checks::parse(given).unwrap_or_else(|error| {
                let message = format!("build argument BUILDKIT_DOCKERFILE_CHECK: {error}");
                problems.error_help(Span::default(), message, FORM);
                Checks::default()
            }),
            // What is wrong with it was said when the file was parsed.
            (None, Some(word)) => Checks::parse(&word.text).unwrap_or_default(),
            (None, None) => Checks::default(),
        };
        let place = file.check.as_ref().filter(|_| given.is_none()).map_or(Span::default(), |word| word.span);
        unknown_names(&checks, place, &mut problems);
        let comments = comments(file, &mut problems);
        Self { level, file: checks, comments, problems, failing: BTreeSet::new() }
    }

    /// Warns about something of the instruction that begins in `line`, if the rule is wanted there.
    pub fn warn(
        &mut self,
        rule: &'static Rule,
        line: usize,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let own = self.comments.get(&line);
        let all = || std::iter::once(&self.file).chain(own);
        let named = all().any(|checks| checks.experimental.named.contains(rule.name));
        let wanted = match rule.origin {
            Origin::BuildKit => true,
            Origin::Experimental => named || all().any(|checks| checks.experimental.all),
            Origin::Lith => named || self.level == Level::Lint,
        };
        if !wanted || all().any(|checks| checks.skip.has(rule.name)) {
            return;
        }
        if all().any(|checks| checks.error) {
            self.failing.insert(rule.name);
        }
        self.problems.push(Diagnostic::warning(span, message).with_help(help).with_rule(rule.name));
    }

    pub fn finish(self) -> Linted {
        Linted { found: self.problems.finish(), failing: self.failing.into_iter().collect() }
    }
}

const FORM: &str = "write skip=A,B or skip=all, error=true, experimental=A, with ; between them";

/// Reports a `check` directive that cannot be read.
pub fn check_directive(file: &Dockerfile, problems: &mut Problems) {
    if let Some(word) = &file.check
        && let Err(error) = Checks::parse(&word.text)
    {
        problems.error_help(word.span, error.to_string(), FORM);
    }
}

/// The first `check` comment above each instruction. Prose may begin like one, so a bad one is no error.
fn comments(file: &Dockerfile, problems: &mut Problems) -> BTreeMap<usize, Checks> {
    let mut found = BTreeMap::new();
    for (line, above) in &file.comments {
        let first = above.iter().find_map(|word| Some((checks::of_comment(&word.text)?, word.span)));
        let Some((text, span)) = first else { continue };
        match Checks::parse(text) {
            Ok(checks) => {
                unknown_names(&checks, span, problems);
                found.insert(*line, checks);
            }
            Err(error) => {
                problems.push(Diagnostic::warning(span, format!("{error}; the comment has no effect")));
            }
        }
    }
    found
}

/// A rule of a later BuildKit must not stop a build, so unknown names are only worth a warning.
fn unknown_names(checks: &Checks, span: Span, problems: &mut Problems) {
    let known = || RULES.iter().map(|rule| rule.name);
    for name in checks.names().filter(|name| known().all(|rule| rule != *name)) {
        let warning = Diagnostic::warning(span, format!("there is no rule {}", shown(name)));
        let help = match similar(name, known()) {
            Some(rule) => format!("did you mean {rule}?"),
            None => "`lith lint --rules` lists the rules".to_owned(),
        };
        problems.push(warning.with_help(help));
    }
}
