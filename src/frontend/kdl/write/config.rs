//! What a step did to the config, as the parts that do it again.

use crate::frontend::duration;
use crate::frontend::env;
use crate::oci::{Healthcheck, RunConfig};
use crate::recipe::{Op, Step};

use super::super::printer::Out;

/// One step and the config before it.
pub struct Change<'a> {
    pub before: &'a RunConfig,
    pub step: &'a Step,
    /// The author, if this step names one.
    pub author: Option<&'a str>,
}

impl Change<'_> {
    /// One node for all that changed; None if nothing did. `cmd_set`: whether the stage set a `cmd` so far.
    pub fn node(&self, cmd_set: &mut bool) -> Option<Out> {
        let mut parts = self.parts();
        parts.extend(self.commands(cmd_set));
        match parts.len() {
            0 | 1 => parts.pop(),
            _ => Some(Out::new("config").children(parts)),
        }
    }

    fn parts(&self) -> Vec<Out> {
        let (before, after) = (self.before, &self.step.config);
        let workdir = matches!(self.step.op, Op::MakeDir { .. }) || before.working_dir != after.working_dir;
        let text = |name: &'static str, changed: bool, text: &str| changed.then(|| Out::new(name).arg(text));
        // The directory is made for whoever is the user by then.
        let user = || text("user", before.user != after.user, &after.user);
        let later = matches!(&self.step.op, Op::MakeDir { user, .. } if *user == before.user);
        let new_port = |port: &&String| !before.exposed_ports.contains_key(*port);
        let new_volume = |volume: &&String| !before.volumes.contains_key(*volume);
        let parts = [
            self.author.map(|author| Out::new("author").arg(author)),
            user().filter(|_| !later),
            text("workdir", workdir, &after.working_dir),
            user().filter(|_| later),
            self.env(),
            self.labels(),
            listed("expose", after.exposed_ports.keys().filter(new_port).collect()),
            listed("volume", after.volumes.keys().filter(new_volume).collect()),
            text("stop-signal", before.stop_signal != after.stop_signal, &after.stop_signal),
            after
                .shell
                .as_ref()
                .filter(|_| before.shell != after.shell)
                .map(|argv| Out::new("shell").args(argv)),
            after.healthcheck.as_ref().filter(|_| before.healthcheck != after.healthcheck).map(healthcheck),
        ];
        parts.into_iter().flatten().collect()
    }

    fn env(&self) -> Option<Out> {
        let (before, after) = (&self.before.env, &self.step.config.env);
        let changed = after.iter().enumerate().filter(|(at, variable)| before.get(*at) != Some(*variable));
        let node = changed.fold(Out::new("env"), |node, (_, variable)| {
            let (name, value) = env::split(variable);
            node.prop(name, value)
        });
        (before != after).then_some(node)
    }

    fn labels(&self) -> Option<Out> {
        let (before, after) = (&self.before.labels, &self.step.config.labels);
        let changed = after.iter().filter(|(name, value)| before.get(*name) != Some(*value));
        let node = changed.fold(Out::new("label"), |node, (name, value)| node.prop(name, value));
        (before != after).then_some(node)
    }

    /// `entrypoint` takes away a `cmd` that the stage did not set itself.
    fn commands(&self, cmd_set: &mut bool) -> Vec<Out> {
        let (before, after) = (self.before, &self.step.config);
        let escaped = before.args_escaped != after.args_escaped;
        let lost = before.cmd.is_some() && after.cmd.is_none() && !escaped;
        let mut cmd = before.cmd.clone();
        let mut parts = Vec::new();
        if before.entrypoint != after.entrypoint || lost {
            parts.push(Out::new("entrypoint").args(after.entrypoint.iter().flatten()));
            cmd = cmd.filter(|_| *cmd_set);
        }
        if cmd != after.cmd || escaped {
            parts.push(Out::new("cmd").args(after.cmd.iter().flatten()));
            *cmd_set = true;
        }
        parts
    }
}

fn listed(name: &'static str, texts: Vec<&String>) -> Option<Out> {
    (!texts.is_empty()).then(|| Out::new(name).args(texts))
}

fn healthcheck(check: &Healthcheck) -> Out {
    let node = Out::new("healthcheck");
    let node = match check.test.as_slice() {
        [kind] if kind == "NONE" => return node.word("#false"),
        [kind, text] if kind == "CMD-SHELL" => node.arg(text),
        [_, one] => node.arg(one).word("shell=#false"),
        [_, argv @ ..] => node.args(argv),
        [] => node,
    };
    let times = [
        ("interval", check.interval),
        ("timeout", check.timeout),
        ("start-period", check.start_period),
        ("start-interval", check.start_interval),
    ];
    let node = times
        .into_iter()
        .fold(node, |node, (name, nanos)| node.maybe(name, (nanos != 0).then(|| duration::format(nanos))));
    if check.retries == 0 { node } else { node.word(format!("retries={}", check.retries)) }
}
