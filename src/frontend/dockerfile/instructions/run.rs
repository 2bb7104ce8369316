//! RUN.

use crate::recipe::Network;

use super::super::ast::RunText;
use super::super::shown;
use super::Parser;

impl Parser<'_> {
    pub(super) fn run(&mut self) -> Option<RunText> {
        for flag in ["mount", "security", "device"] {
            self.refuse(flag);
        }
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
        let command = self.command(&self.parts.rest.clone())?;
        Some(RunText { command, heredocs: self.line.heredocs.clone(), network })
    }
}
