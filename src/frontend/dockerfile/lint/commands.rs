//! Commands whose result is another one every time.

use super::super::ast::Instruction;
use super::Linter;
use super::rules::NON_REPRODUCIBLE_COMMAND;
use super::scripts::is_shell;
use super::shell::{Command, Token};

/// What is wrong with a command, and what to do instead.
type Finding = (&'static str, &'static str);

const CLOCK: Finding = ("date prints another time in every build", "write date -d @\"$SOURCE_DATE_EPOCH\"");
const CHANCE: Finding = ("every build gets another random value", "write a fixed value, or pass it as ARG");
const REMOTE_SCRIPT: Finding = (
    "what is run is whatever the server sends that day",
    "put the script into the context, or ADD --checksum=sha256:… it and run the file",
);
const CLONE: Finding = (
    "what is cloned is whatever the branch has that day",
    "check a commit out: git checkout COMMIT, or ADD https://….git#COMMIT",
);

impl Linter<'_> {
    pub(super) fn reproducible(&mut self, commands: &[Command], instruction: &Instruction) {
        let settled = commands.iter().any(takes_a_commit);
        for command in commands {
            if let Some((message, help)) = finding(command, settled) {
                self.report.warn(
                    &NON_REPRODUCIBLE_COMMAND,
                    instruction.origin.line,
                    command.span(),
                    message,
                    help,
                );
            }
        }
    }
}

fn finding(command: &Command, settled: bool) -> Option<Finding> {
    if command.words.iter().any(|word| word.text.contains("$RANDOM") || word.text.contains("${RANDOM")) {
        return Some(CHANCE);
    }
    let (program, arguments) = command.program()?;
    match program {
        "date" => prints_now(arguments).then_some(CLOCK),
        "uuidgen" => Some(CHANCE),
        "git" if clones(arguments) && !settled => Some(CLONE),
        program if is_shell(program) || program.starts_with("python") || program == "perl" => {
            matches!(command.fed_by.as_deref(), Some("curl" | "wget")).then_some(REMOTE_SCRIPT)
        }
        _ => None,
    }
}

/// Whether `date` prints the time of the build: it is given none, and sets none.
fn prints_now(arguments: &[Token]) -> bool {
    let fixed = ["-d", "-r", "-s", "-f", "--date", "--reference", "--set", "--file"];
    let given = |word: &Token| {
        let long = word.text.split('=').next().unwrap_or_default();
        let short = word.text.strip_prefix('-').filter(|rest| !rest.starts_with('-'));
        fixed.contains(&long) || short.is_some_and(|letters| letters.contains(['d', 'r', 's', 'f']))
    };
    !arguments.iter().any(given)
}

fn clones(arguments: &[Token]) -> bool {
    let verb = arguments.iter().find(|word| !word.text.starts_with('-'));
    let pinned = arguments.iter().any(|word| word.text.starts_with("--revision"));
    verb.is_some_and(|word| word.text == "clone") && !pinned
}

/// `git checkout COMMIT` and its kin.
fn takes_a_commit(command: &Command) -> bool {
    let Some(("git", arguments)) = command.program() else { return false };
    let verbs = ["checkout", "reset", "switch", "fetch"];
    let commit = |word: &Token| {
        let text = &word.text;
        text.contains('$') || (7..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
    };
    arguments.iter().any(|word| verbs.contains(&word.text.as_str())) && arguments.iter().any(commit)
}
