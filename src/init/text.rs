//! The text of a build file while it is written: lines, comments, and the nodes that every kind of project has.

pub use crate::frontend::kdl::quoted;

use super::SUITE;
use crate::diag::escape;

/// Blanks of one level.
const INDENT: &str = "    ";

/// KDL under way.
#[derive(Debug)]
pub struct Text {
    out: String,
    depth: usize,
}

impl Text {
    /// Begins a file with what it makes, and how that is built.
    pub fn new(what: &str, name: &str) -> Self {
        let mut text = Self { out: String::new(), depth: 0 };
        text.say(what);
        text.say(&format!(
            "Build it with `lith build -t {name} .`; `lith lock .` writes down what it was built from."
        ));
        text.gap();
        text
    }

    /// The whole text.
    pub fn finish(self) -> String {
        self.out
    }

    /// A comment; names of a stranger may be in it.
    pub fn say(&mut self, text: &str) {
        self.line(&format!("// {}", escape(text.as_bytes())));
    }

    pub fn line(&mut self, text: &str) {
        self.out.push_str(&INDENT.repeat(self.depth));
        self.out.push_str(text);
        self.out.push('\n');
    }

    /// A node that holds others, until [`Text::close`].
    pub fn open(&mut self, head: &str) {
        self.line(&format!("{head} {{"));
        self.depth += 1;
    }

    pub fn close(&mut self) {
        self.depth -= 1;
        self.line("}");
    }

    /// An empty line.
    pub fn gap(&mut self) {
        self.out.push('\n');
    }

    /// `base debian=`, with packages.
    pub fn base(&mut self, packages: &[&str]) {
        self.open(&format!("base debian={}", quoted(SUITE)));
        self.line(&format!("packages {}", args(packages)));
        self.close();
    }

    pub fn workdir(&mut self, path: &str) {
        self.line(&format!("workdir {}", quoted(path)));
    }

    /// The whole project into the working directory.
    pub fn copy_all(&mut self) {
        self.line("copy \".\" to=\"./\"");
    }

    /// Some files into the working directory.
    pub fn copy(&mut self, files: &[&str]) {
        self.line(&format!("copy {} to=\"./\"", args(files)));
    }

    /// A script that runs with a network, then what it has besides; left open.
    pub fn open_fetch(&mut self, script: &[&str]) {
        self.line("run \"\"\"");
        script.iter().for_each(|line| self.line(&format!("{INDENT}{}", escaped(line))));
        self.line(&format!("{INDENT}\"\"\" network=#true {{"));
        self.depth += 1;
    }

    /// A cache that stays on this machine from build to build.
    pub fn cache(&mut self, at: &str, id: &str) {
        self.line(&format!("mount \"cache\" at={} id={}", quoted(at), quoted(id)));
    }

    /// The image's config: variables, a title, a user who owns nothing, and what is run.
    pub fn config(&mut self, name: &str, entrypoint: &[String], env: &[(&str, &str)]) {
        self.open("config");
        if !env.is_empty() {
            let pairs: Vec<String> =
                env.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
            self.line(&format!("env {}", pairs.join(" ")));
        }
        self.line(&format!("label \"org.opencontainers.image.title\" {}", quoted(name)));
        self.say("Not root: it can read the image and change nothing of it.");
        self.line("user \"1000:1000\"");
        self.line(&format!("entrypoint {}", args(entrypoint)));
        self.close();
    }
}

/// Arguments of a node.
pub fn args(texts: &[impl AsRef<str>]) -> String {
    texts.iter().map(|text| quoted(text.as_ref())).collect::<Vec<_>>().join(" ")
}

/// A line of a string of several lines.
fn escaped(line: &str) -> String {
    let quoted = quoted(line);
    quoted[1..quoted.len() - 1].to_owned()
}
