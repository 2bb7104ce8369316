//! `import "other.kdl"`: the files of one build, put one behind the other, and the way from a place among them to a
//! place of the first.

use std::collections::BTreeMap;

use crate::diag::{Diagnostic, Source, Span, escape};
use crate::frontend::problems::Problems;
use crate::frontend::shown::shown;
use crate::frontend::source::MAX_FILE;
use crate::path::ImagePath;
use crate::recipe::Origin;

use super::syntax;
use super::tree::{Node, Value};

/// The most files that one build may import.
const MAX_IMPORTS: usize = 100;

/// Texts of imported files by their path below the directory of the first, or why one cannot be had.
pub type Imports = BTreeMap<ImagePath, Result<String, String>>;

/// Reads everything that a file imports, and what that imports. `read` is asked once for each path.
pub fn gather(source: &Source, mut read: impl FnMut(&ImagePath) -> Result<String, String>) -> Imports {
    let mut imports = Imports::new();
    let mut ahead = named(&source.text, &own_path(source));
    while let Some(path) = ahead.pop() {
        if imports.contains_key(&path) || imports.len() >= MAX_IMPORTS {
            continue;
        }
        let text = read(&path);
        if let Ok(text) = &text {
            ahead.extend(named(text, &path));
        }
        imports.insert(path, text);
    }
    imports
}

/// The paths that a text imports, those that can be read as such.
fn named(text: &str, of: &ImagePath) -> Vec<ImagePath> {
    if text.len() > MAX_FILE || !text.contains("import") {
        return Vec::new();
    }
    let nodes = syntax::read(text, 0, &mut Problems::default());
    nodes.iter().filter(|node| node.name.text == "import").filter_map(|node| target(node, of).ok()).collect()
}

/// What an `import` names, relative to the file it stands in.
fn target(node: &Node, of: &ImagePath) -> Result<ImagePath, (Span, String)> {
    let [arg] = node.args.as_slice() else {
        return Err((node.head, "import takes the path of one file".to_owned()));
    };
    let Value::Text(text) = &arg.value else {
        return Err((arg.span, format!("a path is a string, not {}", arg.value.kind())));
    };
    if let Some(prop) = node.props.first() {
        return Err((prop.name.span, "import takes the path of one file and nothing more".to_owned()));
    }
    if let Some(child) = node.children.first() {
        return Err((child.name.span, "import takes the path of one file and nothing more".to_owned()));
    }
    if text.is_empty() || text.starts_with('/') {
        return Err((arg.span, "the path of an import is relative to the file it stands in".to_owned()));
    }
    let parent = of.parent().unwrap_or_default();
    let depth = parent.names().count();
    if leads_out(text, depth) {
        return Err((arg.span, format!("{} leads out of the directory of the first file", shown(text))));
    }
    parent.join_clamped(text.as_bytes()).map_err(|error| (arg.span, error.to_string()))
}

/// Whether `..` leads above a directory that is `depth` below the first.
fn leads_out(text: &str, depth: usize) -> bool {
    let mut depth = depth;
    for name in text.split('/') {
        match name {
            "" | "." => {}
            ".." => match depth.checked_sub(1) {
                Some(above) => depth = above,
                None => return true,
            },
            _ => depth += 1,
        }
    }
    false
}

/// The first file's name in its directory.
fn own_path(source: &Source) -> ImagePath {
    let name = crate::frontend::files::base_name(&source.name);
    ImagePath::clamped(name.as_bytes()).unwrap_or_default()
}

/// One text among those of a build.
#[derive(Debug)]
struct Placed {
    name: String,
    text: String,
    /// Where its first byte stands.
    start: usize,
    /// The `import` that brought it; of the first file there is none.
    import: Option<Span>,
    /// Where each of its lines begins.
    lines: Vec<usize>,
}

/// All files of a build. Spans count through their texts.
#[derive(Debug)]
pub struct Files(Vec<Placed>);

impl Files {
    /// Reads a file and what it imports. The nodes of an imported file stand where its first `import` stood.
    pub fn read(source: &Source, imports: &Imports, problems: &mut Problems) -> (Self, Vec<Node>) {
        let mut reading = Reading { imports, files: Vec::new(), done: Vec::new(), end: 0 };
        let path = own_path(source);
        let nodes = reading.file(
            source.name.clone(),
            source.text.clone(),
            &path,
            None,
            &mut vec![path.clone()],
            problems,
        );
        (Self(reading.files), nodes)
    }

    fn of(&self, span: Span) -> &Placed {
        let at = self.0.partition_point(|placed| placed.start <= span.start);
        &self.0[at.saturating_sub(1)]
    }

    /// A place of the first file for any: what was imported stands where the `import` is. With the place itself, if it
    /// is in another file.
    pub fn outward(&self, span: Span) -> (Span, Option<String>) {
        let mut placed = self.of(span);
        let (line, column) = placed.position(span.start);
        let inside = placed.import.map(|_| format!("{}:{line}:{column}", clipped_path(&placed.name)));
        let mut outer = span;
        while let Some(import) = placed.import {
            (outer, placed) = (import, self.of(import));
        }
        (outer, inside)
    }

    /// Diagnostics as they are shown with the first file.
    pub fn show(&self, found: Vec<Diagnostic>) -> Vec<Diagnostic> {
        let mut shown: Vec<Diagnostic> = found
            .into_iter()
            .map(|diagnostic| match self.outward(diagnostic.span) {
                (span, None) => Diagnostic { span, ..diagnostic },
                (span, Some(place)) => {
                    let message = format!("{place}: {}", diagnostic.message);
                    Diagnostic { span, message, ..diagnostic }
                }
            })
            .collect();
        shown.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.span.end));
        shown
    }

    /// Where a node was written: its text on one line, its place in the first file.
    pub fn origin(&self, head: Span) -> Origin {
        let placed = self.of(head);
        let text = placed.text.get(head.start - placed.start..head.end - placed.start).unwrap_or_default();
        let (span, _) = self.outward(head);
        let words: Vec<&str> = text.split_whitespace().collect();
        Origin { line: self.of(span).position(span.start).0, span, text: words.join(" ") }
    }
}

impl Placed {
    /// Line and column of a place, both from 1; the column counts characters.
    fn position(&self, at: usize) -> (usize, usize) {
        let at = at.saturating_sub(self.start).min(self.text.len());
        let line = self.lines.partition_point(|start| *start <= at);
        let before = self.text.get(self.lines[line - 1]..at).unwrap_or_default();
        (line, before.chars().count() + 1)
    }
}

/// Files while they are read.
struct Reading<'a> {
    imports: &'a Imports,
    files: Vec<Placed>,
    done: Vec<ImagePath>,
    /// Where the next file's first byte will stand.
    end: usize,
}

impl Reading<'_> {
    fn file(
        &mut self,
        name: String,
        text: String,
        path: &ImagePath,
        import: Option<Span>,
        open: &mut Vec<ImagePath>,
        problems: &mut Problems,
    ) -> Vec<Node> {
        let start = self.end;
        // A place behind the last byte of one file is none of the next.
        self.end += text.len() + 1;
        let read = syntax::read(&text, start, problems);
        let starts = text.match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(starts).collect();
        self.files.push(Placed { name, text, start, import, lines });
        let mut nodes = Vec::new();
        for node in read {
            if node.name.text == "import" {
                nodes.extend(self.import(&node, path, open, problems));
            } else {
                nodes.push(node);
            }
        }
        nodes
    }

    fn import(
        &mut self,
        node: &Node,
        of: &ImagePath,
        open: &mut Vec<ImagePath>,
        problems: &mut Problems,
    ) -> Vec<Node> {
        let path = match target(node, of) {
            Ok(path) => path,
            Err((span, message)) => {
                problems.error(span, message);
                return Vec::new();
            }
        };
        if open.contains(&path) {
            problems.error(node.head, format!("the file imports itself: {}", circle(open, &path)));
            return Vec::new();
        }
        if self.done.contains(&path) {
            return Vec::new();
        }
        let shown = brief(&path);
        let text = match self.imports.get(&path) {
            Some(Ok(text)) => text.clone(),
            Some(Err(why)) => {
                problems.error(node.head, format!("import {shown}: {}", escape(why.as_bytes())));
                return Vec::new();
            }
            None => {
                problems.error(node.head, format!("a build imports at most {MAX_IMPORTS} files"));
                return Vec::new();
            }
        };
        if self.end + text.len() > MAX_FILE {
            problems.error(node.head, format!("with {shown} the files have more than {MAX_FILE} bytes"));
            return Vec::new();
        }
        self.done.push(path.clone());
        open.push(path.clone());
        let nodes = self.file(shown, text, &path, Some(node.head), open, problems);
        open.pop();
        nodes
    }
}
/// The files of a circle, from the one that is imported again; of many the first and the last.
fn circle(open: &[ImagePath], again: &ImagePath) -> String {
    const ENDS: usize = 3;
    let start = open.iter().position(|path| path == again).unwrap_or_default();
    let mut names: Vec<String> = open[start..].iter().chain([again]).map(brief).collect();
    if names.len() > 2 * ENDS {
        names.splice(ENDS..names.len() - ENDS, ["…".to_owned()]);
    }
    names.join(" -> ")
}

fn brief(path: &ImagePath) -> String {
    clipped_path(&String::from_utf8_lossy(path.as_bytes()))
}

/// A path in a message: escaped, and of a long one its end.
fn clipped_path(path: &str) -> String {
    const SHOWN: usize = 200;
    match path.char_indices().rev().nth(SHOWN) {
        Some((at, _)) => format!("…{}", escape(&path.as_bytes()[at..])),
        None => escape(path.as_bytes()),
    }
}
