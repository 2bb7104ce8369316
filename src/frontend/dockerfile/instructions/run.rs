//! RUN.

use crate::diag::Diagnostic;
use crate::recipe::{Network, Security};

use super::super::ast::{MountText, RunText};
use super::super::shown;
use super::Parser;

impl Parser<'_> {
    pub(super) fn run(&mut self) -> Option<RunText> {
        for span in self.flags.take_all("device") {
            let refused =
                Diagnostic::error(span, "RUN --device is not supported: steps get no devices of the machine");
            self.refused.push(refused.with_help("build this stage without --device"));
        }
        let mounts = self.flags.take_many("mount", self.problems);
        let mounts: Vec<MountText> = mounts.iter().filter_map(|flag| self.mount(flag)).collect();
        let network = match self.flag("network") {
            None => Network::Default,
            Some(word) => match word.text.as_str() {
                "default" => Network::Default,
                "none" => Network::None,
                "host" => Network::Host,
                other => {
                    let message = format!("unknown network mode {}", shown(other));
                    self.problems.error_help(word.span, message, "use default, none or host");
                    return None;
                }
            },
        };
        let security = match self.flag("security") {
            None => Security::Sandbox,
            Some(word) => match word.text.as_str() {
                "sandbox" => Security::Sandbox,
                "insecure" => Security::Insecure,
                other => {
                    let message = format!("unknown security mode {}", shown(other));
                    self.problems.error_help(word.span, message, "use sandbox or insecure");
                    return None;
                }
            },
        };
        let command = self.command(&self.parts.rest.clone())?;
        Some(RunText { command, heredocs: self.line.heredocs.clone(), network, security, mounts })
    }
}
