//! Installed packages without a version.

use super::super::ast::Instruction;
use super::super::shown;
use super::Linter;
use super::rules::PACKAGES_NOT_PINNED;
use super::shell::{Command, Token};
use super::state::State;

/// How a package manager is called to install, and what its arguments mean.
struct Manager {
    names: &'static [&'static str],
    verb: &'static str,
    /// Options whose value is the next word.
    with_value: &'static [&'static str],
    /// What in an argument names a version.
    pins: &'static [&'static str],
    /// Options that say the versions stand elsewhere.
    elsewhere: &'static [&'static str],
    help: &'static str,
}

const MANAGERS: [Manager; 3] = [
    Manager {
        names: &["apt-get", "apt"],
        verb: "install",
        with_value: &[
            "-t",
            "--target-release",
            "-o",
            "--option",
            "-c",
            "--config-file",
            "-a",
            "--host-architecture",
        ],
        pins: &["="],
        elsewhere: &["-S", "--snapshot"],
        help: "take packages from a snapshot (snapshot.debian.org), or name their versions: package=version",
    },
    Manager {
        names: &["apk"],
        verb: "add",
        with_value: &[
            "-t",
            "--virtual",
            "-X",
            "--repository",
            "-p",
            "--root",
            "--keys-dir",
            "--repositories-file",
        ],
        pins: &["=", "~", "<"],
        elsewhere: &[],
        help: "name their versions: package=version or package~version",
    },
    Manager {
        names: &["pip", "pip3"],
        verb: "install",
        with_value: &[
            "-e",
            "--editable",
            "-i",
            "--index-url",
            "--extra-index-url",
            "-f",
            "--find-links",
            "-t",
            "--target",
            "--prefix",
            "--root",
            "--timeout",
            "--trusted-host",
            "--only-binary",
            "--no-binary",
            "--platform",
            "--python-version",
            "--src",
            "--cache-dir",
            "--proxy",
            "--log",
        ],
        pins: &["==", "@", "<", "~="],
        elsewhere: &["-r", "--requirement", "-c", "--constraint"],
        help: "name their versions: package==version, or --requirement FILE",
    },
];

impl Linter<'_> {
    pub(super) fn packages(&mut self, state: &State, commands: &[Command], instruction: &Instruction) {
        let here = instruction.origin.text.to_ascii_lowercase().contains("snapshot");
        for command in commands {
            let Some((manager, arguments)) = installs(command) else { continue };
            if manager.verb == "install" && manager.pins == ["="] && (state.snapshot || here) {
                continue;
            }
            let Some(open) = unpinned(manager, arguments) else { continue };
            let message = format!("which {} is installed depends on the day", shown(&open.text));
            let line = instruction.origin.line;
            self.report.warn(&PACKAGES_NOT_PINNED, line, open.span, message, manager.help);
        }
    }
}

/// The package manager that a command installs with, and what follows its verb.
fn installs(command: &Command) -> Option<(&'static Manager, &[Token])> {
    let (mut program, mut arguments) = command.program()?;
    // python -m pip
    if program.starts_with("python")
        && let [option, module, rest @ ..] = arguments
        && option.text == "-m"
    {
        (program, arguments) = (&module.text, rest);
    }
    let manager = MANAGERS.iter().find(|manager| manager.names.contains(&program))?;
    let verb = arguments.iter().position(|word| !word.text.starts_with('-'))?;
    let options = arguments[..verb].iter().any(|word| manager.elsewhere.contains(&word.text.as_str()));
    (arguments[verb].text == manager.verb && !options).then_some((manager, &arguments[verb + 1..]))
}

/// The first package without a version; `None` if all have one, or if that cannot be told.
fn unpinned<'a>(manager: &Manager, arguments: &'a [Token]) -> Option<&'a Token> {
    let name = |word: &Token| word.text.split('=').next().unwrap_or_default().to_owned();
    if arguments.iter().any(|word| manager.elsewhere.contains(&name(word).as_str())) {
        return None;
    }
    let mut value = false;
    arguments.iter().find(|word| {
        let text = word.text.as_str();
        if std::mem::take(&mut value) {
            return false;
        }
        value = manager.with_value.contains(&text);
        let told_elsewhere =
            text.contains(['$', '/', '>', '*']) || text.starts_with(['-', '.']) || text.is_empty();
        !told_elsewhere && !manager.pins.iter().any(|pin| text.contains(pin))
    })
}
