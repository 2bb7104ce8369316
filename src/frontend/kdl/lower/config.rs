//! Steps that change the config alone, and `workdir`.

use crate::diag::{Span, escape};
use crate::frontend::env::MAX_ENV;
use crate::frontend::scope::clean;
use crate::frontend::shown::shown;
use crate::frontend::{created_by, duration, ports, signal};
use crate::oci::Healthcheck;
use crate::oci::config::Empty;
use crate::path::ImagePath;
use crate::recipe::Op;

use super::super::taking::{Taking, unknown};
use super::super::tree::{Node, Text, Value};
use super::{Lowering, Part};

/// What a config is made of.
pub const PARTS: [&str; 12] = [
    "author",
    "cmd",
    "entrypoint",
    "env",
    "expose",
    "healthcheck",
    "label",
    "shell",
    "stop-signal",
    "user",
    "volume",
    "workdir",
];

impl Lowering<'_, '_> {
    /// One part, a step of its own.
    pub(super) fn lone_part(&mut self, node: &Node) {
        let mut taking = Taking::new(node);
        let part = self.part(node, &mut taking);
        let history = self.history(&mut taking);
        taking.finish(self.words);
        if let Some(part) = part {
            self.push(node, part, history);
        }
    }

    /// `config { … }`: several parts, one step.
    pub(super) fn group(&mut self, node: &Node) {
        let mut taking = Taking::new(node);
        let history = self.history(&mut taking);
        taking.finish_line(self.words);
        let mut whole = Part::config(String::new());
        for child in node.children.iter().filter(|child| child.name.text != "history") {
            if !PARTS.contains(&child.name.text.as_str()) {
                let message = format!("{} is no part of a config", shown(&child.name.text));
                unknown(&child.name, message, &PARTS, self.words);
                continue;
            }
            let mut taking = Taking::new(child);
            let part = self.part(child, &mut taking);
            taking.finish(self.words);
            let Some(part) = part else { continue };
            if whole.op != Op::Config && part.op != Op::Config {
                self.words.problems.error(child.name.span, "workdir is given twice");
            }
            if part.op != Op::Config {
                whole.op = part.op;
            }
            if !whole.created_by.is_empty() {
                whole.created_by.push_str("; ");
            }
            whole.created_by.push_str(&part.created_by);
        }
        if node.children.is_empty() {
            self.words.problems.error(node.name.span, "this config is empty");
        }
        self.push(node, whole, history);
    }

    /// Does what one part says to the config. None if that was reported.
    fn part(&mut self, node: &Node, taking: &mut Taking) -> Option<Part> {
        match node.name.text.as_str() {
            "author" => {
                let name = taking.only("a name", self.words)?.text;
                self.scope.image.author = Some(name.clone());
                Some(Part::config(format!("MAINTAINER {name}")))
            }
            "cmd" => {
                let argv = self.list(taking);
                let created_by = format!("CMD {}", created_by::quoted_list(&argv));
                self.scope.set_cmd(argv);
                Some(Part::config(created_by))
            }
            "entrypoint" => {
                let argv = self.list(taking);
                let created_by = format!("ENTRYPOINT {}", created_by::quoted_list(&argv));
                self.scope.set_entrypoint(argv);
                Some(Part::config(created_by))
            }
            "shell" => {
                let argv = self.list(taking);
                let created_by = format!("SHELL {}", created_by::list(&argv));
                self.scope.config().shell = Some(argv);
                Some(Part::config(created_by))
            }
            "env" => self.env(node, taking),
            "label" => self.label(node, taking),
            "expose" => self.expose(node, taking),
            "volume" => self.volume(node, taking),
            "healthcheck" => self.healthcheck(node, taking),
            "stop-signal" => self.stop_signal(taking),
            "user" => {
                let user = taking.only("a user", self.words)?.text;
                self.scope.config().user.clone_from(&user);
                Some(Part::config(format!("USER {user}")))
            }
            _ => self.workdir(taking),
        }
    }

    fn list(&mut self, taking: &mut Taking) -> Vec<String> {
        taking.args(self.words).into_iter().map(|text| text.text).collect()
    }

    /// Arguments of which there must be one.
    fn some(&mut self, node: &Node, taking: &mut Taking) -> Option<Vec<Text>> {
        let texts = taking.args(self.words);
        if node.args.is_empty() {
            let message = format!("{} needs at least one argument", node.name.text);
            self.words.problems.error(node.name.span, message);
        }
        (!texts.is_empty()).then_some(texts)
    }

    /// `NAME VALUE`, or `NAME=VALUE` any number of times.
    pub(super) fn pairs(&mut self, node: &Node, taking: &mut Taking) -> Vec<(String, String)> {
        let mut args = taking.args(self.words).into_iter();
        let mut pairs = taking.pairs(self.words);
        match (node.args.len(), node.props.len()) {
            (0, 1..) => {}
            (2, 0) => pairs.extend(args.next().zip(args.next())),
            _ => {
                let message = format!("{0} is written {0} NAME=VALUE … or {0} NAME VALUE", node.name.text);
                self.words.problems.error(node.head, message);
            }
        }
        for (name, _) in &pairs {
            if name.text.is_empty() || name.text.contains('=') {
                let message = format!("{} cannot be a name: it is empty or holds a =", shown(&name.text));
                self.words.problems.error(name.span, message);
            }
        }
        pairs.into_iter().map(|(name, value)| (name.text, value.text)).collect()
    }

    fn env(&mut self, node: &Node, taking: &mut Taking) -> Option<Part> {
        let mut message = "ENV".to_owned();
        for (name, value) in self.pairs(node, taking) {
            message.extend([" ", &name, "=", &value]);
            if !self.scope.set_env(&name, &value) {
                let message = format!("the environment of the image grows beyond {MAX_ENV} bytes");
                self.words.problems.error(node.head, message);
                return None;
            }
        }
        Some(Part::config(message))
    }

    fn label(&mut self, node: &Node, taking: &mut Taking) -> Option<Part> {
        let mut message = "LABEL".to_owned();
        for (name, value) in self.pairs(node, taking) {
            message.extend([" ", &name, "=", &value]);
            self.scope.config().labels.insert(name, value);
        }
        Some(Part::config(message))
    }

    fn expose(&mut self, node: &Node, taking: &mut Taking) -> Option<Part> {
        let mut all = Vec::new();
        for spec in self.some(node, taking)? {
            match ports::parse(&spec.text) {
                Ok(ports) => all.extend(ports),
                Err(error) => self.words.problems.error(spec.span, escape(error.to_string().as_bytes())),
            }
            self.words.spend(all.len() * 64, spec.span);
        }
        self.scope.config().exposed_ports.extend(all.iter().map(|port| (port.clone(), Empty {})));
        Some(Part::config(format!("EXPOSE {}", created_by::list(&all))))
    }

    fn volume(&mut self, node: &Node, taking: &mut Taking) -> Option<Part> {
        let mut all = Vec::new();
        for volume in self.some(node, taking)? {
            if volume.text.is_empty() {
                self.words.problems.error(volume.span, "a volume is a path, and this is empty");
            }
            all.push(volume.text);
        }
        self.scope.config().volumes.extend(all.iter().map(|volume| (volume.clone(), Empty {})));
        Some(Part::config(format!("VOLUME {}", created_by::list(&all))))
    }

    fn stop_signal(&mut self, taking: &mut Taking) -> Option<Part> {
        let text = taking.only("a signal", self.words)?;
        if !signal::is_signal(&text.text) {
            let message = format!("{} is no signal", shown(&text.text));
            let help = "write a name such as SIGTERM, or a number from 1 to 64, in quotes";
            self.words.problems.error_help(text.span, message, help);
        }
        self.scope.config().stop_signal.clone_from(&text.text);
        Some(Part::config(format!("STOPSIGNAL {}", text.text)))
    }

    /// `workdir` makes the directory too.
    fn workdir(&mut self, taking: &mut Taking) -> Option<Part> {
        let text = taking.only("a path", self.words)?;
        let dir = clean(&self.scope.cwd(), &text.text);
        let path = self.path(&dir, text.span)?;
        let user = self.scope.image.config.user.clone();
        self.scope.config().working_dir.clone_from(&dir);
        let op = if path.is_root() { Op::Config } else { Op::MakeDir { path, user } };
        Some(Part { op, created_by: format!("WORKDIR {dir}") })
    }

    pub(super) fn path(&mut self, text: &str, span: Span) -> Option<ImagePath> {
        match ImagePath::clamped(text.as_bytes()) {
            Ok(path) => Some(path),
            Err(error) => {
                self.words.problems.error(span, error.to_string());
                None
            }
        }
    }

    fn healthcheck(&mut self, node: &Node, taking: &mut Taking) -> Option<Part> {
        if let [off] = node.args.as_slice()
            && off.value == Value::Bool(false)
        {
            taking.skip_args();
            let check = Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() };
            return Some(self.set_healthcheck(check));
        }
        let argv: Vec<String> = self.some(node, taking)?.into_iter().map(|text| text.text).collect();
        let shell = taking.flag("shell", self.words).unwrap_or(argv.len() == 1);
        if shell && argv.len() > 1 {
            self.words.problems.error(node.head, "a shell takes one text, not several");
        }
        let kind = if shell { "CMD-SHELL" } else { "CMD" };
        let check = Healthcheck {
            test: std::iter::once(kind.to_owned()).chain(argv).collect(),
            interval: self.interval("interval", taking),
            timeout: self.interval("timeout", taking),
            start_period: self.interval("start-period", taking),
            start_interval: self.interval("start-interval", taking),
            retries: taking.number("retries", 0..=i64::from(i32::MAX), self.words).unwrap_or(0),
        };
        Some(self.set_healthcheck(check))
    }

    fn set_healthcheck(&mut self, check: Healthcheck) -> Part {
        let created_by = created_by::healthcheck(&check);
        self.scope.config().healthcheck = Some(check);
        Part::config(created_by)
    }

    /// A duration: 0, or at least a millisecond.
    fn interval(&mut self, name: &'static str, taking: &mut Taking) -> i64 {
        let Some(text) = taking.text(name, self.words) else { return 0 };
        match duration::parse(&text.text) {
            Some(nanos) if nanos == 0 || nanos >= 1_000_000 => return nanos,
            Some(_) => self.words.problems.error(text.span, format!("{name} cannot be less than 1ms")),
            None => {
                let message = format!("{} is not a duration", shown(&text.text));
                self.words.problems.error_help(text.span, message, "write for example 30s or 1m30s");
            }
        }
        0
    }
}
