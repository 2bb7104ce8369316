//! The command line: one file a verb. The only place that prints, reads the environment or exits.

mod args;
mod attest;
mod build;
mod bundle;
mod caches;
mod call;
mod check;
mod client;
mod container;
mod contexts;
mod convert;
mod copy;
mod diff;
mod digest;
mod errors;
mod files;
mod find;
mod gc;
mod graph;
mod history;
mod images;
mod import;
mod init;
mod inspect;
mod keys;
mod language;
mod limits;
mod lint;
mod lock;
mod log;
mod login;
mod logins;
mod mount;
mod names;
mod network;
mod out;
mod pins;
mod places;
mod plan;
mod process_flags;
mod progress;
mod prompt;
mod pull;
mod pulling;
mod push;
mod registries;
mod results;
mod save;
mod secrets;
mod session;
mod sharing;
mod signatures;
mod template;
mod trace;
mod vendor;
mod verify;
mod why;

use std::process::ExitCode;

use clap::Parser as _;

pub use errors::CliError;

/// Runs the program: what the process' arguments ask for. Errors go to stderr with a next step; the exit code is 0,
/// 1 if a build or comparison failed, 2 for wrong usage or bad input, 3 if the environment cannot do it. What runs a
/// program of a container ends as that one does, or with docker's 125, 126 and 127.
pub fn main() -> ExitCode {
    if let Some(code) = crate::sandbox::child_entry().or_else(crate::container::child_entry) {
        return code;
    }
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // A closed terminal is no reason to fail differently.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { args::usage_code() } else { 0 });
        }
    };
    match args.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => errors::report(&error),
    }
}
