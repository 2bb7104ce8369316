//! From a logical line to a typed instruction: arguments counted, flags checked, forms told apart.

use crate::diag::{Diagnostic, suggest};
use crate::oci::Healthcheck;
use crate::recipe::{Network, Origin};

use super::ast::{
    ArgDecl, CommandLine, CopyKind, CopyText, Instruction, Kind, Pair, RunText, StageText, Word,
};
use super::flags::Flags;
use super::lines::Line;
use super::problems::Problems;
use super::words::{self, JsonError, Parts, Piece};
use super::{duration, heredoc, shown};

/// Every instruction of the language.
const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// What a line turned out to be.
pub enum Parsed {
    From(StageText),
    Instruction(Instruction),
}

/// Parses one line. `None` if it is beyond use; then at least one error was reported.
pub fn parse(line: &Line, escape: char, problems: &mut Problems) -> Option<Parsed> {
    let parts = words::split_line(&line.text);
    let name = parts.name.text.to_ascii_uppercase();
    let Some(name) = NAMES.iter().copied().find(|known| *known == name) else {
        unknown(line, &parts.name, problems);
        return None;
    };
    let before = problems.errors();
    let mut parser = Parser {
        flags: Flags::new(name, line, &parts.flags),
        name,
        line,
        parts: &parts,
        escape,
        problems,
        refused: Vec::new(),
    };
    let parsed = if name == "FROM" {
        parser.from().map(Parsed::From)
    } else {
        parser.kind().map(|kind| {
            Parsed::Instruction(Instruction {
                kind,
                origin: origin(line),
                refused: std::mem::take(&mut parser.refused),
            })
        })
    };
    let Parser { flags, problems, .. } = parser;
    flags.finish(problems);
    if parsed.is_none() && problems.errors() == before {
        problems.error(line.whole(), format!("{name} cannot be read"));
    }
    parsed
}

fn unknown(line: &Line, name: &Piece, problems: &mut Problems) {
    let message = format!("unknown instruction: {}", shown(&name.text));
    let diagnostic = Diagnostic::error(line.span(name.at.clone()), message);
    problems.push(match suggest(&name.text, NAMES) {
        Some(known) if name.text.len() <= 20 => diagnostic.with_help(format!("did you mean {known}?")),
        Some(_) | None => diagnostic,
    });
}

fn origin(line: &Line) -> Origin {
    Origin { line: line.number, span: line.whole(), text: line.text.trim().to_owned() }
}

/// One line on its way to an instruction.
struct Parser<'a> {
    name: &'static str,
    line: &'a Line,
    parts: &'a Parts,
    flags: Flags<'a>,
    escape: char,
    problems: &'a mut Problems,
    refused: Vec<Diagnostic>,
}

impl Parser<'_> {
    fn kind(&mut self) -> Option<Kind> {
        Some(match self.name {
            "RUN" => Kind::Run(self.run()?),
            "COPY" => Kind::Copy(self.copy(CopyKind::Copy)?),
            "ADD" => Kind::Copy(self.copy(CopyKind::Add)?),
            "ENV" => Kind::Env(self.pairs()?),
            "LABEL" => Kind::Label(self.pairs()?),
            "ARG" => Kind::Arg(self.args()?),
            "WORKDIR" => Kind::Workdir(self.whole_rest()?),
            "USER" => Kind::User(self.whole_rest()?),
            "STOPSIGNAL" => Kind::StopSignal(self.whole_rest()?),
            "MAINTAINER" => Kind::Maintainer(self.whole_rest()?.text),
            "EXPOSE" => Kind::Expose(self.expose()?),
            "VOLUME" => Kind::Volume(self.volume()?),
            "CMD" => Kind::Cmd(self.command(&self.parts.rest.clone())?),
            "ENTRYPOINT" => Kind::Entrypoint(self.command(&self.parts.rest.clone())?),
            "SHELL" => Kind::Shell(self.shell()?),
            "HEALTHCHECK" => Kind::Healthcheck(self.healthcheck()?),
            _ => self.onbuild(),
        })
    }

    /// `FROM [--platform=P] base [AS name]`.
    fn from(&mut self) -> Option<StageText> {
        let platform = self.flag("platform");
        let words = self.words();
        let (base, name) = match words.as_slice() {
            [base] => (base, None),
            [base, word, name] if word.text.eq_ignore_ascii_case("as") => {
                (base, Some(self.stage_name(name)?))
            }
            _ => {
                self.fail_help("FROM requires either one or three arguments", "write FROM image AS name");
                return None;
            }
        };
        Some(StageText { base: base.clone(), platform, name, origin: origin(self.line), body: Vec::new() })
    }

    fn stage_name(&mut self, word: &Word) -> Option<Word> {
        let name = word.text.to_lowercase();
        let valid = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'));
        if !valid {
            let message = format!("invalid name for build stage: {}", shown(&word.text));
            let help = "a name begins with a letter and holds letters, digits, '-', '_' and '.'";
            self.problems.error_help(word.span, message, help);
            return None;
        }
        Some(Word { text: name, span: word.span })
    }

    fn run(&mut self) -> Option<RunText> {
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

    fn copy(&mut self, kind: CopyKind) -> Option<CopyText> {
        let (chown, chmod) = (self.flag("chown"), self.flag("chmod"));
        let from = match kind {
            CopyKind::Copy => self.flag("from"),
            CopyKind::Add => None,
        };
        for flag in ["link", "parents", "exclude"] {
            self.refuse(flag);
        }
        if kind == CopyKind::Add {
            for flag in ["checksum", "keep-git-dir", "unpack"] {
                self.refuse(flag);
            }
        }
        if let Some(from) = from.as_ref().filter(|from| from.text.contains('$')) {
            let message = format!("variable expansion is not supported for --from: {}", shown(&from.text));
            self.problems.error_help(
                from.span,
                message,
                "define a new stage with FROM from ARG and copy from it",
            );
        }
        let mut words = self.words_or_json()?;
        let dest = match words.pop() {
            Some(dest) if !words.is_empty() => dest,
            Some(_) | None => {
                let message =
                    format!("{} requires at least two arguments: sources, then a destination", self.name);
                self.fail(message);
                return None;
            }
        };
        if heredoc::parse(&dest.text).is_some() && !self.line.heredocs.is_empty() {
            self.problems.error(dest.span, format!("{} cannot accept a heredoc as a destination", self.name));
            return None;
        }
        let (inline, sources) = self.heredoc_sources(words);
        for source in &sources {
            self.refuse_remote(kind, source);
        }
        Some(CopyText { kind, sources, inline, dest, from, chown, chmod })
    }

    /// Tells here-documents from paths among the sources.
    fn heredoc_sources(&mut self, words: Vec<Word>) -> (Vec<super::ast::Heredoc>, Vec<Word>) {
        let (mut inline, mut sources) = (Vec::new(), Vec::new());
        for word in words {
            let announced = heredoc::parse(&word.text);
            // Later documents of the same name win, as they do in BuildKit.
            let body =
                announced.and_then(|a| self.line.heredocs.iter().rev().find(|d| d.name == a.name).cloned());
            match body {
                Some(document) if crate::path::is_name(document.name.as_bytes()) => inline.push(document),
                Some(document) => {
                    let message = format!("heredoc {} is not a plain file name", shown(&document.name));
                    self.problems.error(word.span, message);
                }
                None => sources.push(word),
            }
        }
        (inline, sources)
    }

    fn refuse_remote(&mut self, kind: CopyKind, source: &Word) {
        if !is_remote(&source.text) {
            return;
        }
        match kind {
            CopyKind::Copy => self.problems.push(remote_copy(source)),
            CopyKind::Add => self.refused.push(remote_add(source)),
        }
    }

    /// `name=value …`, or the old form `name rest of the line`.
    fn pairs(&mut self) -> Option<Vec<Pair>> {
        let words = words::quoted(&self.parts.rest, self.escape);
        let Some(first) = words.first() else {
            self.fail(format!("{} requires at least one argument", self.name));
            return None;
        };
        if !first.text.contains('=') {
            return self.old_pair().map(|pair| vec![pair]);
        }
        let mut pairs = Vec::new();
        let mut good = true;
        for word in &words {
            match word.text.split_once('=') {
                Some(("", _)) => {
                    let message = format!("{} names can not be blank", self.name);
                    self.problems.error(self.line.span(word.at.clone()), message);
                    good = false;
                }
                Some((name, value)) => pairs.push(self.pair(word, name, value)),
                None => {
                    let message =
                        format!("can't find = in {}; must be of the form name=value", shown(&word.text));
                    self.problems.error(self.line.span(word.at.clone()), message);
                    good = false;
                }
            }
        }
        good.then_some(pairs)
    }

    fn pair(&self, word: &Piece, name: &str, value: &str) -> Pair {
        let span = self.line.span(word.at.clone());
        Pair { name: Word { text: name.to_owned(), span }, value: Word { text: value.to_owned(), span } }
    }

    fn old_pair(&mut self) -> Option<Pair> {
        let rest = &self.parts.rest;
        let cut = rest.text.find(['\t', '\u{b}', '\u{c}', '\r', ' ']);
        let Some(cut) = cut else {
            self.fail_help(format!("{} must have two arguments", self.name), "write name=value");
            return None;
        };
        let value = rest.text[cut..].trim_start_matches(['\t', '\u{b}', '\u{c}', '\r', ' ']);
        let word = Piece { text: String::new(), at: rest.at.clone() };
        let pair = self.pair(&word, &rest.text[..cut], value);
        let warning = Diagnostic::warning(pair.name.span, format!("{} name value is an old form", self.name));
        self.problems.push(warning.with_help(format!("write {} name=value", self.name)));
        Some(pair)
    }

    fn args(&mut self) -> Option<Vec<ArgDecl>> {
        let words = words::quoted(&self.parts.rest, self.escape);
        if words.is_empty() {
            self.fail("ARG requires at least one argument");
            return None;
        }
        let mut decls = Vec::new();
        for word in &words {
            let span = self.line.span(word.at.clone());
            let (name, default) = match word.text.split_once('=') {
                Some((name, value)) => (name, Some(Word { text: value.to_owned(), span })),
                None => (word.text.as_str(), None),
            };
            if name.is_empty() {
                self.problems.error(span, "ARG names can not be blank");
                return None;
            }
            decls.push(ArgDecl { name: name.to_owned(), default });
        }
        Some(decls)
    }

    fn expose(&mut self) -> Option<Vec<Word>> {
        let mut words = self.words();
        if words.is_empty() {
            self.fail("EXPOSE requires at least one argument");
            return None;
        }
        // Before expansion, as BuildKit does: it shows in the history.
        words.sort_by(|a, b| a.text.cmp(&b.text));
        Some(words)
    }

    fn volume(&mut self) -> Option<Vec<Word>> {
        let mut words = self.words_or_json()?;
        if words.is_empty() {
            self.fail("VOLUME requires at least one argument");
            return None;
        }
        for word in &mut words {
            word.text = word.text.trim().to_owned();
            if word.text.is_empty() {
                self.problems.error(word.span, "VOLUME specified can not be an empty string");
                return None;
            }
        }
        Some(words)
    }

    fn shell(&mut self) -> Option<Vec<String>> {
        match self.command(&self.parts.rest.clone())? {
            CommandLine::Exec(argv) if !argv.is_empty() => Some(argv),
            CommandLine::Exec(_) => {
                self.fail("SHELL requires at least one argument");
                None
            }
            CommandLine::Shell(_) => {
                self.fail_help(
                    "SHELL requires the arguments to be in JSON form",
                    "write SHELL [\"/bin/sh\", \"-c\"]",
                );
                None
            }
        }
    }

    fn healthcheck(&mut self) -> Option<Healthcheck> {
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

    fn onbuild(&mut self) -> Kind {
        let trigger = words::split_line(&self.parts.rest.text).name.text.to_ascii_uppercase();
        match trigger.as_str() {
            "" => self.fail("ONBUILD requires at least one argument"),
            "ONBUILD" => self.fail("chaining ONBUILD via ONBUILD ONBUILD isn't allowed"),
            "FROM" | "MAINTAINER" => self.fail(format!("{trigger} isn't allowed as an ONBUILD trigger")),
            _ => {
                let refused = Diagnostic::error(self.line.whole(), "ONBUILD is not supported yet");
                self.refused.push(
                    refused.with_help("move the instruction into the Dockerfiles that build on this one"),
                );
            }
        }
        Kind::OnBuild
    }

    /// The rest as a command in one of its two forms.
    fn command(&mut self, rest: &Piece) -> Option<CommandLine> {
        match words::json_array(&rest.text) {
            None => Some(CommandLine::Shell(rest.text.clone())),
            Some(Ok(argv)) => Some(CommandLine::Exec(argv)),
            Some(Err(error)) => {
                self.bad_json(rest, error);
                None
            }
        }
    }

    fn bad_json(&mut self, rest: &Piece, error: JsonError) {
        let message = match error {
            JsonError::NotStrings => "when using JSON array syntax, arrays must be comprised of strings only",
            JsonError::Nul => "an argument cannot hold a zero byte",
        };
        self.problems.error(self.line.span(rest.at.clone()), message);
    }

    /// The rest as one text, which must not be empty.
    fn whole_rest(&mut self) -> Option<Word> {
        if self.parts.rest.text.is_empty() {
            self.fail(format!("{} requires exactly one argument", self.name));
            return None;
        }
        Some(self.word(&self.parts.rest))
    }

    fn words(&self) -> Vec<Word> {
        words::plain(&self.parts.rest).iter().map(|piece| self.word(piece)).collect()
    }

    fn words_or_json(&mut self) -> Option<Vec<Word>> {
        match self.command(&self.parts.rest.clone())? {
            CommandLine::Shell(_) => Some(self.words()),
            CommandLine::Exec(texts) => {
                let span = self.line.span(self.parts.rest.at.clone());
                Some(texts.into_iter().map(|text| Word { text, span }).collect())
            }
        }
    }

    fn word(&self, piece: &Piece) -> Word {
        Word { text: piece.text.clone(), span: self.line.span(piece.at.clone()) }
    }

    fn flag(&mut self, name: &str) -> Option<Word> {
        self.flags.take(name, self.problems)
    }

    /// A flag that BuildKit knows and lith does not build yet.
    fn refuse(&mut self, name: &str) {
        for span in self.flags.take_all(name) {
            let message = format!("{} --{name} is not supported yet", self.name);
            let help = format!("build this stage without --{name}");
            self.refused.push(Diagnostic::error(span, message).with_help(help));
        }
    }

    fn fail(&mut self, message: impl Into<String>) {
        self.problems.error(self.line.whole(), message);
    }

    fn fail_help(&mut self, message: impl Into<String>, help: &str) {
        self.problems.error_help(self.line.whole(), message, help);
    }
}

/// Whether a source of COPY or ADD names something on another machine.
pub fn is_remote(source: &str) -> bool {
    let scheme = source.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let scp = source.split_once(':').is_some_and(|(host, _)| host.contains('@') && !host.contains('/'));
    matches!(scheme.as_deref(), Some("http" | "https" | "git" | "ssh" | "ftp")) || scp
}

/// Why `ADD` of something remote does not build.
pub fn remote_add(source: &Word) -> Diagnostic {
    let message =
        format!("ADD of {} is not supported yet: sources must be in the build context", shown(&source.text));
    Diagnostic::error(source.span, message).with_help("fetch it into the context first")
}

/// Why `COPY` of something remote never builds.
pub fn remote_copy(source: &Word) -> Diagnostic {
    let message = format!("source of COPY can't be a URL or a git repository: {}", shown(&source.text));
    Diagnostic::error(source.span, message).with_help("use ADD, or put the file into the context")
}
