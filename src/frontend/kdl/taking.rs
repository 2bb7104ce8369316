//! A node while its parts are taken out of it by name; what nobody takes is a mistake.

use std::ops::RangeInclusive;

use crate::diag::Span;
use crate::frontend::shown::{shown, similar};

use super::tree::{Node, Prop, Text, Value};
use super::words::Words;

/// One node, with note of what was asked for.
pub struct Taking<'a> {
    node: &'a Node,
    props: Vec<&'static str>,
    children: Vec<&'static str>,
    /// Whether somebody took the arguments.
    args: bool,
    /// Whether somebody took properties of any name.
    pairs: bool,
}

impl<'a> Taking<'a> {
    pub fn new(node: &'a Node) -> Self {
        Self { node, props: Vec::new(), children: Vec::new(), args: false, pairs: false }
    }

    /// All arguments, expanded.
    pub fn args(&mut self, words: &mut Words) -> Vec<Text> {
        self.raw_args(words).iter().map(|text| words.expand(text)).collect()
    }

    /// All arguments as they are written; each must be a string.
    pub fn raw_args(&mut self, words: &mut Words) -> Vec<Text> {
        self.args = true;
        let mut texts = Vec::new();
        for arg in &self.node.args {
            texts.extend(string(&arg.value, arg.span, "an argument", words));
        }
        texts
    }

    /// Notes that the arguments were looked at elsewhere.
    pub fn skip_args(&mut self) {
        self.args = true;
    }

    /// The one argument, expanded; an error if there are none or several.
    pub fn only(&mut self, what: &str, words: &mut Words) -> Option<Text> {
        let text = self.only_name(what, words)?;
        Some(words.expand(&text))
    }

    /// The one argument as it is written.
    pub fn only_name(&mut self, what: &str, words: &mut Words) -> Option<Text> {
        let texts = self.raw_args(words);
        match self.node.args.as_slice() {
            [_] => texts.into_iter().next(),
            [] => {
                let message = format!("{} needs {what}", self.node.name.text);
                words.problems.error(self.node.name.span, message);
                None
            }
            [_, second, ..] => {
                let message = format!("{} takes {what} and nothing more", self.node.name.text);
                words.problems.error(second.span, message);
                None
            }
        }
    }

    /// A property's value, expanded.
    pub fn text(&mut self, name: &'static str, words: &mut Words) -> Option<Text> {
        let text = self.name(name, words)?;
        Some(words.expand(&text))
    }

    /// A property's value as it is written.
    pub fn name(&mut self, name: &'static str, words: &mut Words) -> Option<Text> {
        let prop = self.prop(name, words)?;
        string(&prop.value, prop.span, name, words)
    }

    /// A property that must be there, expanded.
    pub fn needed_text(&mut self, name: &'static str, words: &mut Words) -> Option<Text> {
        if self.node.props.iter().all(|prop| prop.name.text != name) {
            let message = format!("{} needs {name}=", self.node.name.text);
            self.props.push(name);
            words.problems.error(self.node.name.span, message);
            return None;
        }
        self.text(name, words)
    }

    /// A boolean property.
    pub fn flag(&mut self, name: &'static str, words: &mut Words) -> Option<bool> {
        let prop = self.prop(name, words)?;
        if let Value::Bool(flag) = &prop.value {
            return Some(*flag);
        }
        let message = format!("{name} is #true or #false, not {}", prop.value.kind());
        words.problems.error(prop.span, message);
        None
    }

    /// A property that is a whole number of a range.
    pub fn number(
        &mut self,
        name: &'static str,
        range: RangeInclusive<i64>,
        words: &mut Words,
    ) -> Option<i64> {
        let prop = self.prop(name, words)?;
        if let Value::Int(number) = &prop.value
            && range.contains(number)
        {
            return Some(*number);
        }
        let message = format!("{name} is a number from {} to {}", range.start(), range.end());
        words.problems.error(prop.span, message);
        None
    }

    /// A property of any type, each name once.
    pub fn prop(&mut self, name: &'static str, words: &mut Words) -> Option<&'a Prop> {
        self.props.push(name);
        let mut found = self.node.props.iter().filter(|prop| prop.name.text == name);
        let first = found.next()?;
        if let Some(second) = found.next() {
            words.problems.error(second.name.span, format!("{name}= is given twice"));
        }
        Some(first)
    }

    /// Properties of any name, none twice, expanded.
    pub fn pairs(&mut self, words: &mut Words) -> Vec<(Text, Text)> {
        self.pairs = true;
        let mut pairs: Vec<(Text, Text)> = Vec::new();
        let mut names = std::collections::BTreeSet::new();
        for prop in &self.node.props {
            if !names.insert(&prop.name.text) {
                let message = format!("{} is given twice", shown(&prop.name.text));
                words.problems.error(prop.name.span, message);
                continue;
            }
            if let Some(value) = string(&prop.value, prop.span, &clear(&prop.name.text), words) {
                pairs.push((words.expand(&prop.name), words.expand(&value)));
            }
        }
        pairs
    }

    /// All children of a name.
    pub fn children(&mut self, name: &'static str) -> impl Iterator<Item = &'a Node> + use<'a> {
        self.children.push(name);
        let node = self.node;
        node.children.iter().filter(move |child| child.name.text == name)
    }

    /// The child of a name, which may be there once.
    pub fn child(&mut self, name: &'static str, words: &mut Words) -> Option<&'a Node> {
        let mut found = self.children(name);
        let first = found.next()?;
        if let Some(second) = found.next() {
            words.problems.error(second.name.span, format!("{name} is given twice"));
        }
        Some(first)
    }

    /// A child with one text, expanded.
    pub fn child_text(&mut self, name: &'static str, what: &str, words: &mut Words) -> Option<Text> {
        let child = self.child(name, words)?;
        let mut taking = Taking::new(child);
        let text = taking.only(what, words);
        taking.finish(words);
        text
    }

    /// A child with one boolean; `#true` if it has none.
    pub fn child_flag(&mut self, name: &'static str, words: &mut Words) -> bool {
        let Some(child) = self.child(name, words) else { return false };
        let mut taking = Taking::new(child);
        taking.skip_args();
        taking.finish(words);
        match child.args.as_slice() {
            [] => true,
            [arg] => match arg.value {
                Value::Bool(flag) => flag,
                Value::Text(_) | Value::Int(_) | Value::Number | Value::Null => {
                    let message = format!("{name} takes #true or #false, not {}", arg.value.kind());
                    words.problems.error(arg.span, message);
                    false
                }
            },
            [_, second, ..] => {
                words.problems.error(second.span, format!("{name} takes #true or #false and nothing more"));
                false
            }
        }
    }

    /// Texts of all children of a name, expanded; each must have some.
    pub fn lists(&mut self, name: &'static str, words: &mut Words) -> Vec<Text> {
        let mut all = Vec::new();
        for child in self.children(name) {
            let mut taking = Taking::new(child);
            let texts = taking.args(words);
            taking.finish(words);
            if child.args.is_empty() {
                words.problems.error(child.name.span, format!("{name} needs at least one argument"));
            }
            all.extend(texts);
        }
        all
    }

    /// Reports what nobody took.
    pub fn finish(self, words: &mut Words) {
        let owner = &self.node.name.text;
        for child in
            self.node.children.iter().filter(|child| !self.children.contains(&child.name.text.as_str()))
        {
            let message = format!("{} is no part of {owner}", shown(&child.name.text));
            unknown(&child.name, message, &self.children, words);
        }
        self.finish_line(words);
    }

    /// Reports what nobody took of the node's own line; its children are looked at elsewhere.
    pub fn finish_line(self, words: &mut Words) {
        let owner = &self.node.name.text;
        let taken = |prop: &&Prop| self.pairs || self.props.contains(&prop.name.text.as_str());
        for prop in self.node.props.iter().filter(|prop| !taken(prop)) {
            let message = format!("{} is no property of {owner}", shown(&prop.name.text));
            unknown(&prop.name, message, &self.props, words);
        }
        if let Some(arg) = self.node.args.first().filter(|_| !self.args) {
            words.problems.error(arg.span, format!("{owner} takes no arguments"));
        }
    }
}

/// A name in a message about it, without what a terminal would obey.
fn clear(name: &str) -> String {
    crate::diag::escape(name.as_bytes())
}

/// Reports a name that is not known where it stands.
pub fn unknown(name: &Text, message: String, known: &[&str], words: &mut Words) {
    // Nobody reads what the thousandth may have meant.
    if words.problems.is_full() {
        return words.problems.error(name.span, message);
    }
    let help = match similar(&name.text, known.iter().copied()) {
        Some(known) => Some(format!("did you mean {known}?")),
        None if known.is_empty() => None,
        None => Some(format!("known here: {}", known.join(", "))),
    };
    match help {
        Some(help) => words.problems.error_help(name.span, message, help),
        None => words.problems.error(name.span, message),
    }
}

/// The text of a value that must be a string.
fn string(value: &Value, span: Span, what: &str, words: &mut Words) -> Option<Text> {
    match value {
        Value::Text(text) => Some(Text { text: text.clone(), span }),
        Value::Bool(_) | Value::Int(_) | Value::Number | Value::Null => {
            let message = format!("{what} is a string, not {}", value.kind());
            words.problems.error_help(span, message, "write it in quotes");
            None
        }
    }
}
