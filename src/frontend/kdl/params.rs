//! Parameters: `param "name" default="…"`, given by `--build-arg`, used as `${name}`.

use std::collections::BTreeMap;

use crate::diag::{Diagnostic, Span};
use crate::frontend::env::Env;
use crate::frontend::options::Options;
use crate::frontend::shown::{shown, similar};

use super::taking::Taking;
use super::tree::{Node, Text};
use super::words::Words;

/// Values of parameters by name.
#[derive(Debug, Default)]
pub struct Params {
    /// `None` for one that has no default and was not given.
    declared: BTreeMap<String, Option<String>>,
    /// Of the platforms, set by the build.
    automatic: Env,
}

impl Params {
    /// Those that need no declaration.
    pub fn automatic(options: &Options) -> Self {
        Self { declared: BTreeMap::new(), automatic: options.automatic() }
    }

    /// The value of a parameter: `Some(None)` if nothing gives it one.
    pub fn get(&self, name: &str) -> Option<Option<&str>> {
        match self.declared.get(name) {
            Some(value) => Some(value.as_deref()),
            None => self.automatic.get(name).map(Some),
        }
    }

    /// The known name that another may have been meant for.
    pub fn similar(&self, name: &str) -> Option<&str> {
        let automatic = self.automatic.iter().map(|(name, _)| name);
        similar(name, self.declared.keys().map(String::as_str).chain(automatic))
    }
}

/// Takes in a `param`; its default sees those before it.
pub fn declare(node: &Node, options: &Options, words: &mut Words) {
    let mut taking = Taking::new(node);
    let name = taking.only_name("a parameter's name", words);
    let default = taking.text("default", words);
    taking.finish(words);
    let Some(name) = name else { return };
    if !is_name(&name.text) {
        let message = format!("{} cannot be the name of a parameter", shown(&name.text));
        return words.problems.error_help(name.span, message, "use letters, digits, _ - and .");
    }
    if words.params.automatic.get(&name.text).is_some() {
        let message = format!("{} is set by the build", shown(&name.text));
        return words.problems.error_help(name.span, message, "give the parameter another name");
    }
    if words.params.declared.contains_key(&name.text) {
        let message = format!("parameter {} is declared twice", shown(&name.text));
        return words.problems.error(name.span, message);
    }
    let given = options.build_arg(&name.text).map(str::to_owned);
    let value = given.or(default.map(|default| default.text));
    words.params.declared.insert(name.text, value);
}

/// Warns of build arguments that no parameter takes.
pub fn unused(options: &Options, words: &mut Words) {
    let mut reported = std::collections::BTreeSet::new();
    for (name, _) in &options.build_args {
        let taken = words.params.declared.contains_key(name) || options.needs_no_arg(name);
        if taken || !reported.insert(name) {
            continue;
        }
        let message = format!("build argument {} is not used: no param declares it", shown(name));
        let warning = Diagnostic::warning(Span::default(), message);
        let known = similar(name, words.params.declared.keys().map(String::as_str));
        let help = known.map(|known| format!("did you mean {known}?"));
        words.problems.push(Diagnostic { help, ..warning });
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// The text with every `${name}` replaced; `$${` is a `${` that stays.
pub fn expand(text: &Text, words: &mut Words) -> String {
    let mut out = String::new();
    let mut rest = text.text.as_str();
    while let Some(at) = rest.find("${") {
        let before = &rest[..at];
        if let Some(before) = before.strip_suffix('$') {
            out.extend([before, "${"]);
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(before);
        let Some(end) = rest[at..].find('}') else {
            let message = format!("{} is not closed", shown(&rest[at..]));
            words.problems.error_help(text.span, message, ESCAPED);
            return out;
        };
        out.push_str(&value(&rest[at + 2..at + end], text.span, words));
        rest = &rest[at + end + 1..];
    }
    out.push_str(rest);
    out
}

/// What is said where `${…}` was not meant for a parameter.
const ESCAPED: &str = "a ${ that stays as it is is written $${";

fn value(name: &str, span: Span, words: &mut Words) -> String {
    let found = words.params.get(name).map(|value| value.map(str::to_owned));
    match found {
        Some(Some(value)) => {
            words.spend(value.len(), span);
            return if words.exhausted { String::new() } else { value };
        }
        // Nobody needs to give what is not built.
        Some(None) if !words.needed => {}
        Some(None) => {
            let message = format!("parameter {} has no value", shown(name));
            let help = format!("pass --build-arg {name}=…, or give it a default");
            words.problems.error_help(span, message, help);
        }
        None => {
            let message = format!("there is no parameter {}", shown(name));
            let help = match words.params.similar(name) {
                Some(known) => format!("did you mean ${{{known}}}?"),
                None => ESCAPED.to_owned(),
            };
            words.problems.error_help(span, message, help);
        }
    }
    String::new()
}
