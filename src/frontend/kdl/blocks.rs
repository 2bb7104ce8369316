//! Images and stages of a file: their names, what they need of each other, in which order they are worked out.

use std::collections::{BTreeMap, BTreeSet};

use crate::diag::Span;
use crate::frontend::problems::Problems;
use crate::frontend::shown::{shown, similar};

use super::tree::{Node, Text, Value};

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Image,
    Stage,
}

/// An `image` or a `stage`.
#[derive(Debug)]
pub struct Block<'a> {
    pub kind: Kind,
    /// None only if the file is wrong.
    pub name: Option<Text>,
    pub node: &'a Node,
    /// Which blocks it names, and where.
    references: Vec<(usize, Span)>,
}

/// All blocks of a file, those inside an image before it.
#[derive(Debug, Default)]
pub struct Blocks<'a> {
    pub all: Vec<Block<'a>>,
    names: BTreeMap<String, usize>,
}

/// So many stages of a cycle are shown.
const SHOWN: usize = 12;

impl<'a> Blocks<'a> {
    /// Finds them among the nodes of a file.
    pub fn find(nodes: &'a [Node], problems: &mut Problems) -> Self {
        let mut blocks = Self::default();
        for node in nodes {
            match node.name.text.as_str() {
                "image" => {
                    for inner in node.children.iter().filter(|inner| inner.name.text == "stage") {
                        blocks.add(Kind::Stage, inner, problems);
                    }
                    blocks.add(Kind::Image, node, problems);
                }
                "stage" => blocks.add(Kind::Stage, node, problems),
                _ => {}
            }
        }
        blocks.refer();
        blocks
    }

    fn add(&mut self, kind: Kind, node: &'a Node, problems: &mut Problems) {
        let name = match node.args.as_slice() {
            [arg] => match &arg.value {
                Value::Text(text) => self.name(text, arg.span, problems),
                other => {
                    problems.error(arg.span, format!("a name is a string, not {}", other.kind()));
                    None
                }
            },
            [] => {
                problems.error(node.name.span, format!("{} needs a name", node.name.text));
                None
            }
            [_, second, ..] => {
                problems.error(second.span, format!("{} takes a name and nothing more", node.name.text));
                None
            }
        };
        if let Some(name) = &name {
            self.names.insert(name.text.clone(), self.all.len());
        }
        self.all.push(Block { kind, name, node, references: Vec::new() });
    }

    fn name(&self, text: &str, span: Span, problems: &mut Problems) -> Option<Text> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.');
        if !text.starts_with(|c: char| c.is_ascii_lowercase()) || !text.chars().all(fits) {
            let message = format!("{} cannot be a name", shown(text));
            problems.error_help(span, message, "use a-z first, then a-z, 0-9, _ - and .");
            return None;
        }
        if text == "scratch" {
            problems.error(span, "scratch is the empty base, so nothing else can have that name");
            return None;
        }
        if self.names.contains_key(text) {
            let message = format!("the name {} is taken", shown(text));
            problems.error_help(
                span,
                message,
                "images and stages of a file and its imports share their names",
            );
            return None;
        }
        Some(Text { text: text.to_owned(), span })
    }

    fn refer(&mut self) {
        for block in &mut self.all {
            let known = |text: &Text| Some((*self.names.get(&text.text)?, text.span));
            block.references = stages_named(block.node).iter().filter_map(known).collect();
        }
    }

    /// The block of a name.
    pub fn get(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// All names, in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all.iter().filter_map(|block| block.name.as_ref()).map(|name| name.text.as_str())
    }

    /// The known name that another may have been meant for.
    pub fn similar(&self, name: &str) -> Option<&str> {
        similar(name, self.names())
    }

    /// The wanted blocks, each once: those named, else the last image. None if one is missing.
    pub fn targets(&self, wanted: &[String], problems: &mut Problems) -> Option<Vec<usize>> {
        if wanted.is_empty() {
            let last = self.all.iter().rposition(|block| block.kind == Kind::Image);
            if last.is_none() {
                let help = "add image \"name\" { … }, or name a stage with --target";
                problems.error_help(Span::default(), "the file has no image", help);
            }
            return Some(vec![last?]);
        }
        let mut found = indexmap::IndexSet::new();
        let mut complete = true;
        for name in wanted {
            match self.get(&name.to_lowercase()) {
                Some(index) => drop(found.insert(index)),
                None => {
                    complete = false;
                    let message = format!("target {} could not be found", shown(name));
                    match self.similar(name) {
                        Some(known) => {
                            problems.error_help(Span::default(), message, format!("did you mean {known}?"));
                        }
                        None => problems.error(Span::default(), message),
                    }
                }
            }
        }
        complete.then(|| found.into_iter().collect())
    }

    /// Whatever some blocks need, themselves too.
    pub fn needed(&self, targets: &[usize]) -> BTreeSet<usize> {
        let mut needed = BTreeSet::new();
        let mut ahead = targets.to_vec();
        while let Some(index) = ahead.pop() {
            if needed.insert(index) {
                ahead.extend(self.all[index].references.iter().map(|(reference, _)| *reference));
            }
        }
        needed
    }

    /// All blocks, each after what it needs, else as the file has them. A circle is an error.
    pub fn order(&self, problems: &mut Problems) -> Vec<usize> {
        let mut order = Vec::new();
        let mut done = vec![false; self.all.len()];
        // Blocks being visited, each with the number of the reference that is next.
        let mut path: Vec<(usize, usize)> = Vec::new();
        let mut on_path = vec![false; self.all.len()];
        for first in 0..self.all.len() {
            if !done[first] {
                path.push((first, 0));
                on_path[first] = true;
            }
            while let Some((index, next)) = path.last_mut() {
                let Some((reference, span)) = self.all[*index].references.get(*next).copied() else {
                    let (index, _) = path.pop().expect("it was just looked at");
                    on_path[index] = false;
                    done[index] = true;
                    order.push(index);
                    continue;
                };
                *next += 1;
                if on_path[reference] {
                    let from = path.iter().position(|(index, _)| *index == reference).unwrap_or(0);
                    let circle = path[from..].iter().map(|(index, _)| *index).chain([reference]);
                    let message = format!("stages need each other: {}", self.shown_path(circle.collect()));
                    problems.error(span, message);
                } else if !done[reference] {
                    on_path[reference] = true;
                    path.push((reference, 0));
                }
            }
        }
        order
    }

    fn shown_path(&self, indices: Vec<usize>) -> String {
        let name = |index: &usize| self.all[*index].name.as_ref().map_or("?", |name| name.text.as_str());
        let mut names: Vec<String> = indices.iter().map(|index| name(index).to_owned()).collect();
        if names.len() > SHOWN {
            let left_out = format!("({} more)", names.len() - SHOWN);
            names.splice(SHOWN - 1..names.len() - 1, [left_out]);
        }
        names.join(" -> ")
    }
}

/// Every stage that a block names, whether there is one or not.
fn stages_named(block: &Node) -> Vec<Text> {
    let prop = |node: &Node, wanted: &str| {
        let found = node.props.iter().find(|prop| prop.name.text == wanted)?;
        let Value::Text(text) = &found.value else { return None };
        Some(Text { text: text.clone(), span: found.span })
    };
    let mut named = Vec::new();
    for node in &block.children {
        match node.name.text.as_str() {
            // None holds another.
            "layer" => named.extend(node.children.iter().flat_map(|step| stages_of_step(step, prop))),
            "base" | "from" => named.extend(prop(node, "stage")),
            _ => named.extend(stages_of_step(node, prop)),
        }
    }
    named
}

/// Every stage whose files a step takes.
fn stages_of_step(node: &Node, prop: impl Fn(&Node, &str) -> Option<Text>) -> Vec<Text> {
    match node.name.text.as_str() {
        "copy" => prop(node, "from").into_iter().collect(),
        "run" => node.children.iter().filter_map(|mount| prop(mount, "from")).collect(),
        _ => Vec::new(),
    }
}
