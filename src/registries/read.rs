//! KDL to [`Registries`]: strictly, all mistakes at once, each at its place.

use std::path::Path;

use super::{Mirror, Registries, Registry, Transport};
use crate::diag::{Diagnostic, Source, Span, escape, suggest};
use crate::frontend::kdl::{self, Node, Text, Value};
use crate::oci::Reference;

const TOP: [&str; 2] = ["registry", "short-name"];
const PARTS: [&str; 3] = ["ca", "insecure", "mirror"];

impl Registries {
    /// Reads a file's text. Paths in it count from `directory`.
    pub fn parse(source: &Source, directory: &Path) -> Result<Self, Vec<Diagnostic>> {
        let mut reader = Reader { directory, problems: Vec::new(), all: Self::default() };
        for node in &kdl::nodes(&source.text)? {
            match node.name.text.as_str() {
                "registry" => reader.registry(node),
                "short-name" => reader.alias(node),
                _ => reader.unknown(&node.name, "what is said of registries", &TOP),
            }
        }
        reader.problems.sort_by_key(|problem| (problem.span.start, problem.span.end));
        if reader.problems.is_empty() { Ok(reader.all) } else { Err(reader.problems) }
    }
}

struct Reader<'a> {
    directory: &'a Path,
    problems: Vec<Diagnostic>,
    all: Registries,
}

impl Reader<'_> {
    fn registry(&mut self, node: &Node) {
        let Some([name]) = self.texts(node, "a HOST[:PORT]") else { return };
        let mut registry = Registry::default();
        let mut seen = Vec::new();
        for child in &node.children {
            let part = child.name.text.as_str();
            self.no_children(child);
            if part != "mirror" && seen.contains(&part) {
                self.error(child.name.span, format!("{part} is given twice"));
            }
            seen.push(part);
            match part {
                "mirror" => self.mirror(child, &name.text, &mut registry.mirrors),
                "insecure" => registry.transport = self.transport(child),
                "ca" => {
                    registry.ca = self.texts(child, "a file").map(|[file]| self.directory.join(file.text))
                }
                _ => self.unknown(&child.name, "registry", &PARTS),
            }
        }
        if !self.is_registry(&name) {
            return;
        }
        if self.all.registries.insert(name.text.clone(), registry).is_some() {
            self.error(name.span, format!("{} is described twice", name.text));
        }
    }

    fn mirror(&mut self, node: &Node, of: &str, mirrors: &mut Vec<Mirror>) {
        let Some([text]) = self.texts(node, "a HOST[:PORT][/PATH]") else { return };
        let (host, prefix) = text.text.split_once('/').unwrap_or((&text.text, ""));
        if !self.is_registry(&Text { text: host.to_owned(), span: text.span }) {
            return;
        }
        let mirror = Mirror { registry: host.to_owned(), prefix: prefix.to_owned() };
        let has_path = !prefix.is_empty();
        if has_path != text.text.contains('/') || format!("{}/x", text.text).parse::<Reference>().is_err() {
            self.error(text.span, format!("{} is no HOST[:PORT][/PATH]", shown(&text.text)));
        } else if host == of && !has_path {
            self.error(text.span, format!("{host} cannot be its own mirror"));
        } else if mirrors.contains(&mirror) {
            self.error(text.span, format!("mirror {} is given twice", text.text));
        } else {
            mirrors.push(mirror);
        }
    }

    /// `insecure`, `insecure #true`, `insecure #false`.
    fn transport(&mut self, node: &Node) -> Transport {
        self.no_props(node);
        match node.args.as_slice() {
            [] => Transport::HttpAllowed,
            [arg] if arg.value == Value::Bool(true) => Transport::HttpAllowed,
            [arg] if arg.value == Value::Bool(false) => Transport::Https,
            [arg, ..] => {
                self.error(arg.span, "insecure takes #true or #false and nothing more");
                Transport::Https
            }
        }
    }

    /// `short-name "redis" "registry.example/redis"`.
    fn alias(&mut self, node: &Node) {
        self.no_children(node);
        let Some([short, full]) = self.texts(node, "a short name and what it stands for") else { return };
        let is_plain = |text: &str| !text.contains([':', '@']) && text.parse::<Reference>().is_ok();
        // Without a registry it would be docker's, whatever stands before the first slash.
        let as_dockers = |text: &str| format!("docker.io/{text}").parse::<Reference>().ok();
        let is_short = is_plain(&short.text) && short.text.parse().ok() == as_dockers(&short.text);
        if !is_short {
            let message = format!("{} is no short name", shown(&short.text));
            self.help(short.span, message, "a short name has no registry, tag or digest: redis, team/app");
        }
        let (host, path) = full.text.split_once('/').unwrap_or((&full.text, ""));
        let is_full = is_host(host) && is_plain(&format!("docker.io/{path}"));
        if !is_full {
            let message = format!("{} is no image's full name", shown(&full.text));
            self.help(full.span, message, "write HOST[:PORT]/PATH, without a tag or a digest");
        }
        if is_short && is_full && self.all.aliases.insert(short.text.clone(), full.text).is_some() {
            self.error(short.span, format!("{} is given twice", short.text));
        }
    }

    fn is_registry(&mut self, name: &Text) -> bool {
        let is_one = is_host(&name.text);
        if !is_one {
            let message = format!("{} is no registry", shown(&name.text));
            let help = match name.text.as_str() {
                text if text.contains("://") => {
                    "write HOST[:PORT] without a scheme; http is allowed by insecure"
                }
                text if text.ends_with("docker.io") => "write docker.io",
                _ => "write HOST[:PORT] as images name it: with a dot or a port, or localhost",
            };
            self.help(name.span, message, help);
        }
        is_one
    }

    /// Exactly so many arguments, all of them strings, and no properties.
    fn texts<const N: usize>(&mut self, node: &Node, what: &str) -> Option<[Text; N]> {
        self.no_props(node);
        let name = &node.name.text;
        if let Some(extra) = node.args.get(N) {
            self.error(extra.span, format!("{name} takes {what} and nothing more"));
            return None;
        }
        if node.args.len() < N {
            self.error(node.name.span, format!("{name} needs {what}"));
            return None;
        }
        let mut texts = Vec::new();
        for arg in &node.args {
            match &arg.value {
                Value::Text(text) if !text.is_empty() => {
                    texts.push(Text { text: text.clone(), span: arg.span })
                }
                Value::Text(_) => self.error(arg.span, format!("{name} needs {what}; this is empty")),
                other => {
                    let message = format!("{name} takes {what}, not {}", other.kind());
                    self.help(arg.span, message, "write it in quotes");
                }
            }
        }
        texts.try_into().ok()
    }

    fn no_props(&mut self, node: &Node) {
        for prop in &node.props {
            let message = format!("{} is no property of {}", shown(&prop.name.text), node.name.text);
            self.error(prop.name.span, message);
        }
    }

    fn no_children(&mut self, node: &Node) {
        if let Some(child) = node.children.first() {
            self.error(child.name.span, format!("{} has no parts", escape(node.name.text.as_bytes())));
        }
    }

    fn unknown(&mut self, name: &Text, owner: &str, known: &[&str]) {
        let message = format!("{} is no part of {owner}", shown(&name.text));
        // Distances cost the product of the lengths.
        let meant = (name.text.len() <= 60).then(|| suggest(&name.text, known.iter().copied())).flatten();
        match meant {
            Some(meant) => self.help(name.span, message, format!("did you mean {meant}?")),
            None => self.help(name.span, message, format!("known here: {}", known.join(", "))),
        }
    }

    fn error(&mut self, span: Span, message: impl Into<String>) {
        self.problems.push(Diagnostic::error(span, message));
    }

    fn help(&mut self, span: Span, message: String, help: impl Into<String>) {
        self.problems.push(Diagnostic::error(span, message).with_help(help));
    }
}

/// Whether images name a registry so, and no other.
fn is_host(text: &str) -> bool {
    let named = format!("{text}/x").parse::<Reference>();
    !text.contains('/') && named.is_ok_and(|named| named.registry() == text)
}

fn shown(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    format!("'{}'", escape(short.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Registries, Vec<String>> {
        let source = Source { name: "r.kdl".into(), text: text.into() };
        let shown = |problems: Vec<Diagnostic>| {
            let line = |problem: &Diagnostic| {
                let (line, column) = source.position(problem.span.start);
                let help = problem.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
                format!("{line}:{column}: {}{help}", problem.message)
            };
            problems.iter().map(line).collect()
        };
        Registries::parse(&source, Path::new("/etc/lith")).map_err(shown)
    }

    #[test]
    fn a_whole_file() {
        let text = r#"
            // Everything that there is.
            registry "docker.io" {
                mirror "mirror.example:5000"
                mirror "other.example/proxy/hub"
            }
            registry "mirror.example:5000" { insecure; ca "corp.pem"; }
            registry "b.example" { insecure #false; ca "/c.pem"; }
            registry "localhost" { insecure #true; }
            short-name "redis" "b.example/cache/redis"
            short-name "team/app" "localhost:5000/app"
        "#;
        let all = read(text).unwrap();
        let mirrors = &all.of("docker.io").mirrors;
        let repositories: Vec<String> =
            mirrors.iter().map(|m| format!("{} {}", m.registry, m.repository("library/a"))).collect();
        assert_eq!(repositories, ["mirror.example:5000 library/a", "other.example proxy/hub/library/a"]);
        let mirror = all.of("mirror.example:5000");
        assert_eq!(
            (mirror.transport, mirror.ca.as_deref()),
            (Transport::HttpAllowed, Some(Path::new("/etc/lith/corp.pem")))
        );
        let other = all.of("b.example");
        assert_eq!((other.transport, other.ca.as_deref()), (Transport::Https, Some(Path::new("/c.pem"))));
        assert_eq!(all.of("localhost").transport, Transport::HttpAllowed);
        assert_eq!(all.of("mirror.example").transport, Transport::Https, "the port is a part of the name");
        assert_eq!(all.image("redis:7").unwrap().to_string(), "b.example/cache/redis:7");
        assert_eq!(read("").unwrap(), Registries::default());
    }

    #[test]
    fn mistakes_are_said_at_their_places_all_at_once() {
        let text = "registri \"a.example\"\nregistry \"a.example\" {\n  mirorr \"b.example\"\n  insecure 1\n  ca\n  ca \"x\" y=1\n}\n";
        assert_eq!(
            read(text).unwrap_err(),
            [
                "1:1: 'registri' is no part of what is said of registries (did you mean registry?)",
                "3:3: 'mirorr' is no part of registry (did you mean mirror?)",
                "4:12: insecure takes #true or #false and nothing more",
                "5:3: ca needs a file",
                "6:3: ca is given twice",
                "6:10: 'y' is no property of ca",
            ]
        );
    }

    #[test]
    fn what_is_refused() {
        let only = |text: &str| {
            let said = read(text).unwrap_err();
            assert_eq!(said.len(), 1, "{said:?}");
            said[0].clone()
        };
        for (text, said) in [
            ("registry", "registry needs a HOST"),
            ("registry 5", "not a number"),
            ("registry \"\"", "this is empty"),
            ("registry \"a.example\" \"b.example\"", "nothing more"),
            ("registry \"redis\"", "'redis' is no registry (write HOST[:PORT] as images name it"),
            ("registry \"https://a.example\"", "without a scheme"),
            ("registry \"index.docker.io\"", "write docker.io"),
            ("registry \"a.example/x\"", "is no registry"),
            ("registry \"a.example\" x=1", "no property"),
            ("registry \"a.example\"; registry \"a.example\"", "1:32: a.example is described twice"),
            ("registry \"a.example\" { mirror \"a.example\"; }", "its own mirror"),
            ("registry \"a.example\" { mirror \"b.example/\"; }", "no HOST[:PORT][/PATH]"),
            ("registry \"a.example\" { mirror \"b.example/X\"; }", "no HOST[:PORT][/PATH]"),
            ("registry \"a.example\" { mirror \"b.example\"; mirror \"b.example\"; }", "given twice"),
            ("registry \"a.example\" { mirror \"b.example\" { insecure; }; }", "mirror has no parts"),
            ("registry \"a.example\" { insecure \"yes\"; }", "#true or #false"),
            ("registry \"a.example\" { insecure; insecure; }", "given twice"),
            ("short-name \"redis\"", "needs a short name"),
            ("short-name \"a.example/redis\" \"a.example/redis\"", "no short name"),
            ("short-name \"redis:7\" \"a.example/redis\"", "no short name"),
            ("short-name \"localhost/redis\" \"a.example/redis\"", "no short name"),
            ("short-name \"redis\" \"team/redis\"", "no image's full name"),
            ("short-name \"redis\" \"a.example/redis:7\"", "no image's full name"),
            ("short-name \"redis\" \"a.example\"", "no image's full name"),
            ("short-name \"a\" \"a.example/a\"; short-name \"a\" \"b.example/a\"", "a is given twice"),
        ] {
            assert!(only(text).contains(said), "{text}: {}", only(text));
        }
        assert!(!read("registry \"a.example").unwrap_err().is_empty(), "what is no KDL");
    }
}
