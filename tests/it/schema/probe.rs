//! What the parser takes, asked of the parser: a file with one thing at one place of it, and whether that is an error
//! there. The names to ask for come from the schema, and from what the parser itself says is known at the place.

use std::collections::BTreeSet;

use lith::diag::{Diagnostic, Span};
use lith::frontend::kdl::Imports;
use lith::path::ImagePath;

use crate::kdl;

/// How messages say that a name is not known where it stands.
pub const UNKNOWN: [&str; 6] = [
    " is no part of ",
    " is no property of ",
    " is no step",
    " is nothing that a file is made of",
    " holds no other ",
    " and nothing more",
];

/// The shortest good nodes of a name: a line, and what its block has to hold.
struct Example {
    line: &'static str,
    inner: &'static str,
}

/// A place of a file: a node below others, the first of them at the top.
#[derive(Clone)]
pub struct Place<'a> {
    pub names: Vec<&'a str>,
}

/// A node of an example while parts of it are exchanged.
pub struct Line {
    words: Vec<&'static str>,
    inner: &'static str,
}

/// A file around a node.
pub struct Around {
    text: String,
    /// Of the node, from its name to the end of its line.
    pub line: Span,
}

const fn line(line: &'static str) -> Example {
    Example { line, inner: "" }
}

/// Examples of the last of some names, which is below the others; the first can hold whatever any of them can.
fn examples(names: &[&str]) -> Vec<Example> {
    let name = *names.last().expect("a place has a name");
    let lines: &[&'static str] = match name {
        "param" => &[r#"param "p""#],
        "import" => &[r#"import "a.kdl""#],
        "image" => return vec![Example { line: r#"image "i""#, inner: r#"base "scratch""# }],
        "stage" => return vec![Example { line: r#"stage "s""#, inner: r#"base "scratch""# }],
        "base" => {
            return vec![
                Example { line: r#"base debian="d""#, inner: r#"packages "p""# },
                line(r#"base "scratch""#),
            ];
        }
        "from" => {
            return vec![
                Example { line: r#"from debian="d""#, inner: r#"packages "p""# },
                line(r#"from "scratch""#),
            ];
        }
        "packages" => &[r#"packages "q""#],
        "components" => &[r#"components "main""#],
        "mirror" => &[r#"mirror "https://debian.example.invalid""#],
        "snapshot" => &[r#"snapshot "20261101T000000Z""#],
        "essential" => &["essential"],
        "configure" => &["configure"],
        "layer" if matches!(names, [.., "base" | "from", _]) => {
            return vec![Example { line: r#"layer "l""#, inner: r#"packages "r""# }];
        }
        "layer" => return vec![Example { line: r#"layer "l""#, inner: r#"author "a""# }],
        "config" => return vec![Example { line: "config", inner: r#"author "a""# }],
        "copy" => &[r#"copy "a" to="/d""#],
        "add" => &[r#"add "a" to="/d""#, r#"add "https://files.example.invalid/f" to="/d""#],
        "fetch" => &[
            r#"fetch "https://files.example.invalid/f" to="/d""#,
            r#"fetch "https://git.example.invalid/r.git" to="/d""#,
        ],
        "file" => &[r#"file "/f" content="c""#],
        "exclude" => &[r#"exclude "p""#],
        "inline" => &[r#"inline "n" "c""#],
        "run" => &[r#"run "x""#],
        "script" => &[r#"script "s" "x""#],
        "mount" => &[
            r#"mount "bind" at="/m""#,
            r#"mount "cache" at="/m""#,
            r#"mount "tmpfs" at="/m""#,
            r#"mount "secret" id="i""#,
            r#"mount "ssh""#,
        ],
        "author" => &[r#"author "a""#],
        "cmd" => &[r#"cmd "a""#],
        "entrypoint" => &[r#"entrypoint "a""#],
        "env" => &[r#"env A="1""#, r#"env "A" "1""#],
        "expose" => &[r#"expose "80""#],
        "healthcheck" => &[r#"healthcheck "a""#, "healthcheck #false"],
        "label" => &[r#"label A="1""#, r#"label "A" "1""#],
        "shell" => &[r#"shell "a""#],
        "stop-signal" => &[r#"stop-signal "SIGTERM""#],
        "user" => &[r#"user "u""#],
        "volume" => &[r#"volume "/v""#],
        "workdir" => &[r#"workdir "/w""#],
        "onbuild" => &[r#"onbuild "a""#],
        "history" => &[r#"history "h""#],
        other => panic!("give an example of {other}"),
    };
    lines.iter().map(|text| line(text)).collect()
}

impl<'a> Place<'a> {
    /// The place of a child.
    pub fn with(&self, name: &'a str) -> Self {
        Self { names: self.names.iter().copied().chain([name]).collect() }
    }

    /// Nodes that may stand here.
    pub fn lines(&self) -> Vec<Line> {
        let line = |example: Example| Line { words: example.line.split(' ').collect(), inner: example.inner };
        examples(&self.names).into_iter().map(line).collect()
    }

    /// A file with a node of this place, and what the node holds.
    pub fn around(&self, line: &str, inner: &str) -> Around {
        self.around_given(line, inner, "x")
    }

    /// The same, where `${given}` is some text without quotes.
    pub fn around_given(&self, line: &str, inner: &str, given: &str) -> Around {
        // What is built if the place is in no image.
        let mut text =
            format!("param \"given\" default=\"{given}\"\nimage \"last\" {{\n base \"scratch\"\n}}\n");
        let above = self.names.len() - 1;
        for depth in 0..above {
            let example = examples(&self.names[..=depth]).swap_remove(0);
            // A base of its own is the one that is looked at.
            let inner = if matches!(self.names[depth + 1], "base" | "from") { "" } else { example.inner };
            text.extend([example.line, " {\n", inner, "\n"]);
        }
        let start = text.len();
        text.push_str(line);
        let line = Span::new(start, text.len());
        if !inner.is_empty() {
            text.extend([" {\n", inner, "\n}"]);
        }
        text.push('\n');
        text.push_str(&"}\n".repeat(above));
        Around { text, line }
    }

    /// Whether a node of some name can be a child here. Collects what the parser says is known.
    pub fn takes_child(&self, name: &str, known: &mut BTreeSet<String>) -> bool {
        self.lines().iter().any(|line| {
            let inner = if matches!(name, "base" | "from") { "" } else { line.inner };
            let around = self.around(&line.text(), &format!("{inner}\n{name}"));
            let start = around.line.end + " {\n".len() + inner.len() + 1;
            !unknown(&around.errors(), Span::new(start, start + name.len()), known)
        })
    }

    /// Lines of this place that a property can be added to. Collects what the parser says is known.
    pub fn lines_with(&self, prop: &str, known: &mut BTreeSet<String>) -> Vec<Line> {
        let mut lines = self.lines();
        lines.retain(|line| {
            let text = line.without(prop);
            let around = self.around(&format!("{text} {prop}=\"x\""), line.inner);
            let start = around.line.start + text.len() + 1;
            !unknown(&around.errors(), Span::new(start, start + prop.len()), known)
        });
        lines
    }

    /// Whether the parser takes a node of some name at the top of a file.
    pub fn top_takes(name: &str, known: &mut BTreeSet<String>) -> bool {
        let around = Place { names: vec![name] }.around(name, "");
        !unknown(&around.errors(), around.line, known)
    }
}

impl Line {
    pub fn text(&self) -> String {
        self.words.join(" ")
    }

    pub fn inner(&self) -> &'static str {
        self.inner
    }

    pub fn has(&self, prop: &str) -> bool {
        self.without(prop) != self.text()
    }

    /// The line, a property left out.
    pub fn without(&self, prop: &str) -> String {
        let other = |word: &&&str| word.split_once('=').is_none_or(|(name, _)| name != prop);
        self.words.iter().filter(other).copied().collect::<Vec<_>>().join(" ")
    }

    /// The line with other arguments.
    pub fn with_args(&self, args: &str) -> String {
        let props = self.words[1..].iter().filter(|word| word.contains('='));
        let words = [self.words[0]].into_iter().chain((!args.is_empty()).then_some(args));
        words.chain(props.copied()).collect::<Vec<_>>().join(" ")
    }
}

impl Around {
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What the parser has against the file.
    pub fn errors(&self) -> Vec<Diagnostic> {
        let path = ImagePath::clamped(b"a.kdl").unwrap();
        let imports = Imports::from([(path, Ok(String::new()))]);
        let options = crate::frontend::options();
        kdl::build(&kdl::source(&self.text), &imports, &options).err().unwrap_or_default()
    }
}

/// Whether what stands at a place is not known there.
fn unknown(errors: &[Diagnostic], at: Span, known: &mut BTreeSet<String>) -> bool {
    let mut there = errors.iter().filter(|error| error.span == at);
    let Some(error) = there.find(|error| UNKNOWN.iter().any(|words| error.message.contains(words))) else {
        return false;
    };
    let list = error.help.as_deref().and_then(|help| help.strip_prefix("known here: "));
    known.extend(list.iter().flat_map(|list| list.split(", ")).map(str::to_owned));
    true
}
