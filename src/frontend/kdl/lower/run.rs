//! `run`: a process in the image's file system.

use std::collections::BTreeSet;

use crate::diag::Span;
use crate::frontend::created_by;
use crate::frontend::shown::shown;
use crate::recipe::{Litter, Network, Op, Run, Security, Told};

use super::super::taking::Taking;
use super::super::tree::{Node, Text, Value};
use super::{Lowering, Part};

/// What runs a script that is one text: it stops at the first command that fails, and at a variable that is not set.
const SHELL: [&str; 2] = ["/bin/sh", "-euc"];

/// Names and values in order.
type Pairs = Vec<(String, String)>;

impl Lowering<'_, '_> {
    pub(super) fn run(&mut self, node: &Node) {
        let mut taking = Taking::new(node);
        let argv = self.command(node, &mut taking);
        let network = self.network(&mut taking);
        let security = self.security(&mut taking);
        let told = Told {
            hermetic: taking.flag("hermetic", self.words).unwrap_or_default(),
            seeded: taking.flag("deterministic", self.words).unwrap_or_default(),
        };
        let litter = match taking.flag("keep-litter", self.words) {
            Some(true) => Litter::Kept,
            Some(false) | None => Litter::Dropped,
        };
        let (env, own) = self.environment(&mut taking);
        let mounts = self.mounts(&mut taking);
        let scripts = self.scripts(&mut taking);
        let history = self.history(&mut taking);
        taking.finish(self.words);
        self.words.spend(env.iter().map(|(name, value)| name.len() + value.len() + 128).sum(), node.head);
        let taken: BTreeSet<&str> = env.iter().map(|(name, _)| name.as_str()).collect();
        let mut proxy_env = self.options.proxies();
        proxy_env.retain(|(name, _)| !taken.contains(name.as_str()));
        let created_by = created_by::run(&argv, &own);
        let run = Run {
            argv,
            env,
            proxy_env,
            cwd: self.scope.cwd(),
            user: self.scope.image.config.user.clone(),
            network,
            security,
            told,
            litter,
            mounts,
            scripts,
        };
        self.push(node, Part { op: Op::Run(run), created_by }, history);
    }

    /// One text is a script, unless it says `shell=#false`; several are the argument vector.
    fn command(&mut self, node: &Node, taking: &mut Taking) -> Vec<String> {
        let texts = taking.args(self.words);
        let shell = taking.flag("shell", self.words);
        if node.args.is_empty() {
            self.words.problems.error(node.name.span, "run needs a script, or a program and its arguments");
        }
        if shell == Some(true) && node.args.len() > 1 {
            self.words.problems.error(node.head, "a script is one text, not several");
        }
        let script = shell.unwrap_or(node.args.len() == 1);
        let before = if script { SHELL.as_slice() } else { &[] };
        let texts = texts.into_iter().map(|text| text.text);
        before.iter().map(|text| (*text).to_owned()).chain(texts).collect()
    }

    /// None if nothing is said; `#true` is what the build's options give.
    fn network(&mut self, taking: &mut Taking) -> Network {
        let Some(prop) = taking.prop("network", self.words) else { return Network::None };
        match &prop.value {
            Value::Bool(true) => Network::Default,
            Value::Bool(false) => Network::None,
            Value::Text(text) if text == "host" => Network::Host,
            Value::Text(_) | Value::Int(_) | Value::Number | Value::Null => {
                self.words.problems.error(prop.span, "network is #true, #false or \"host\"");
                Network::None
            }
        }
    }

    fn security(&mut self, taking: &mut Taking) -> Security {
        let Some(text) = taking.text("security", self.words) else { return Security::Sandbox };
        match text.text.as_str() {
            "sandbox" => Security::Sandbox,
            "insecure" => {
                if self.words.needed && !self.options.insecure {
                    let message = "security.insecure is not allowed: the step would have all powers of this machine's root";
                    let help = "allow it with --allow security.insecure";
                    self.words.problems.error_help(text.span, message, help);
                }
                Security::Insecure
            }
            other => {
                let message = format!("{} is no kind of security", shown(other));
                self.words.problems.error_help(text.span, message, "write sandbox or insecure");
                Security::Sandbox
            }
        }
    }

    /// What the process sees, and what of it the step itself says.
    fn environment(&mut self, taking: &mut Taking) -> (Pairs, Pairs) {
        let mut own: indexmap::IndexMap<String, String> = indexmap::IndexMap::new();
        for child in taking.children("env") {
            let mut inner = Taking::new(child);
            let pairs = self.pairs(child, &mut inner);
            inner.finish(self.words);
            for (name, value) in pairs {
                if own.insert(name.clone(), value).is_some() {
                    self.words.problems.error(child.head, format!("{} is given twice", shown(&name)));
                }
            }
        }
        let mut all: indexmap::IndexMap<String, String> = self.scope.process_env().into_iter().collect();
        all.extend(own.clone());
        (all.into_iter().collect(), own.into_iter().collect())
    }

    /// `script NAME CONTENT`: files that are there while the step runs.
    fn scripts(&mut self, taking: &mut Taking) -> Vec<(String, Vec<u8>)> {
        let mut scripts: Vec<(String, Vec<u8>)> = Vec::new();
        for child in taking.children("script") {
            let mut own = Taking::new(child);
            let texts = own.args(self.words);
            own.finish(self.words);
            let Ok([name, content]) = <[Text; 2]>::try_from(texts) else {
                self.words.problems.error(child.head, "script takes a file's name and its content");
                continue;
            };
            let path = format!("/dev/pipes/{}", name.text);
            if !crate::path::is_name(name.text.as_bytes()) {
                self.bad_script(name.span, format!("{} is not a plain file name", shown(&name.text)));
            } else if scripts.iter().any(|(known, _)| *known == path) {
                self.bad_script(name.span, format!("script {} is given twice", shown(&name.text)));
            } else {
                scripts.push((path, content.text.into_bytes()));
            }
        }
        scripts
    }

    fn bad_script(&mut self, span: Span, message: String) {
        self.words.problems.error(span, message);
    }
}
