//! HEALTHCHECK.

use crate::oci::Healthcheck;

use super::super::ast::CommandLine;
use super::super::words::Piece;
use super::super::{duration, shown};
use super::Parser;

impl Parser<'_> {
    pub(super) fn healthcheck(&mut self) -> Option<Healthcheck> {
        let rest = &self.parts.rest;
        let cut = rest.text.find(char::is_whitespace).unwrap_or(rest.text.len());
        let kind = rest.text[..cut].to_ascii_uppercase();
        let after = rest.text[cut..].trim_start();
        let command = Piece { text: after.to_owned(), at: rest.at.end - after.len()..rest.at.end };
        match kind.as_str() {
            "" => {
                self.fail("HEALTHCHECK requires at least one argument");
                None
            }
            "NONE" if !after.is_empty() => {
                self.fail("HEALTHCHECK NONE takes no arguments");
                None
            }
            "NONE" => Some(Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() }),
            "CMD" => self.healthcheck_command(&command),
            other => {
                let message = format!("unknown type {} in HEALTHCHECK", shown(other));
                self.fail_help(message, "use CMD or NONE");
                None
            }
        }
    }

    fn healthcheck_command(&mut self, command: &Piece) -> Option<Healthcheck> {
        let interval = self.interval("interval");
        let timeout = self.interval("timeout");
        let start_period = self.interval("start-period");
        let start_interval = self.interval("start-interval");
        let retries = match self.flag("retries") {
            None => Some(0),
            Some(word) => {
                let number = word.text.parse::<i32>().ok().filter(|number| *number >= 0);
                if number.is_none() {
                    let message = format!("--retries {} is not a number of at least 0", shown(&word.text));
                    self.problems.error(word.span, message);
                }
                number.map(i64::from)
            }
        };
        let test = match self.command(command)? {
            CommandLine::Shell(text) if text.is_empty() => Vec::new(),
            CommandLine::Shell(text) => vec!["CMD-SHELL".to_owned(), text],
            CommandLine::Exec(argv) if argv.is_empty() => Vec::new(),
            CommandLine::Exec(argv) => std::iter::once("CMD".to_owned()).chain(argv).collect(),
        };
        if test.is_empty() {
            self.fail("missing command after HEALTHCHECK CMD");
            return None;
        }
        Some(Healthcheck {
            test,
            interval: interval?,
            timeout: timeout?,
            start_period: start_period?,
            start_interval: start_interval?,
            retries: retries?,
        })
    }

    /// A duration: 0, or at least a millisecond.
    fn interval(&mut self, flag: &str) -> Option<i64> {
        let Some(word) = self.flag(flag) else { return Some(0) };
        let nanos = duration::parse(&word.text);
        match nanos {
            Some(nanos) if nanos == 0 || nanos >= 1_000_000 => Some(nanos),
            Some(_) => {
                self.problems.error(word.span, format!("--{flag} cannot be less than 1ms"));
                None
            }
            None => {
                let message = format!("--{flag} {} is not a duration", shown(&word.text));
                self.problems.error_help(word.span, message, "write for example 30s or 1m30s");
                None
            }
        }
    }
}
