//! The KDL Schema Language, so much of it as `spec/lith.kdl-schema` uses: read strictly, and held against files.

use std::collections::BTreeMap;

use lith::diag::Span;
use lith::frontend::kdl::{Node, Prop, Value};
use regex_lite::Regex;

/// What a node may be. References are resolved.
#[derive(Debug, Clone, Default)]
pub struct NodeRule {
    pub name: String,
    pub description: String,
    max: Option<i64>,
    pub props: Vec<PropRule>,
    /// None: no arguments.
    pub value: Option<ValueRule>,
    pub children: Vec<NodeRule>,
}

/// What a property may be.
#[derive(Debug, Clone, Default)]
pub struct PropRule {
    /// None: of any name.
    pub name: Option<String>,
    pub description: String,
    required: bool,
    check: Check,
}

/// What arguments may be, each of them, and how many.
#[derive(Debug, Clone, Default)]
pub struct ValueRule {
    pub description: String,
    min: Option<i64>,
    max: Option<i64>,
    check: Check,
}

#[derive(Debug, Clone, Default)]
struct Check {
    types: Vec<String>,
    choices: Vec<Value>,
    pattern: Option<Regex>,
    min_length: Option<i64>,
    least: Option<i64>,
    most: Option<i64>,
}

/// Something that the schema does not allow, and where.
#[derive(Debug)]
pub struct Complaint {
    pub span: Span,
    pub message: String,
}

/// The rules of a schema's top level. Panics at any word of the schema language that this does not know.
pub fn read(nodes: &[Node]) -> Vec<NodeRule> {
    let [document] = nodes else { panic!("a schema is one document") };
    assert_eq!(document.name.text, "document");
    let mut ids = Ids::default();
    ids.gather(document);
    let mut infos = 0;
    let mut rules = Vec::new();
    for node in &document.children {
        match node.name.text.as_str() {
            "info" => infos += 1,
            "node" => rules.push(ids.node(node)),
            "definitions" => ids.definitions(node),
            other => panic!("{other} in a document"),
        }
    }
    assert_eq!(infos, 1, "a schema has one info");
    let left = ids.used.borrow();
    let unused: Vec<&&str> = ids.known.keys().filter(|id| !left.contains(**id)).collect();
    assert!(unused.is_empty(), "ids that nothing refers to: {unused:?}");
    rules
}

/// Nodes of the schema by their `id`.
#[derive(Default)]
struct Ids<'a> {
    known: BTreeMap<&'a str, &'a Node>,
    used: std::cell::RefCell<std::collections::BTreeSet<&'a str>>,
}

impl<'a> Ids<'a> {
    fn gather(&mut self, node: &'a Node) {
        if let Some(id) = text_of(node, "id") {
            assert!(self.known.insert(id, node).is_none(), "id {id} is there twice");
        }
        node.children.iter().for_each(|child| self.gather(child));
    }

    /// Reads what nothing may refer to as well, so that all of it is right.
    fn definitions(&self, node: &'a Node) {
        for child in &node.children {
            match child.name.text.as_str() {
                "node" => drop(self.node(child)),
                "prop" => drop(self.prop(child)),
                "value" => drop(self.value(child)),
                "children" => drop(self.children(child)),
                other => panic!("{other} in the definitions"),
            }
        }
    }

    /// The node that another stands for: `ref`, a query for an id.
    fn target(&self, node: &'a Node) -> Option<&'a Node> {
        let query = text_of(node, "ref")?;
        let id = query.strip_prefix("[id=\"").and_then(|rest| rest.strip_suffix("\"]"));
        let (id, target) =
            id.and_then(|id| self.known.get_key_value(id)).unwrap_or_else(|| panic!("ref {query}"));
        self.used.borrow_mut().insert(id);
        assert_eq!(target.name.text, node.name.text, "{query} is of another kind");
        // What wins where both say something is not clear, so they do not.
        assert!(node.args.is_empty() && node.props.len() == 1, "{query} and a word of its own");
        Some(target)
    }

    fn node(&self, node: &'a Node) -> NodeRule {
        let mut rule = match self.target(node) {
            Some(target) => self.node(target),
            None => NodeRule {
                name: only_text(node).expect("a node's name").to_owned(),
                description: described(node),
                ..NodeRule::default()
            },
        };
        for child in &node.children {
            match child.name.text.as_str() {
                "max" => once(&mut rule.max, only_number(child)),
                "value" => once(&mut rule.value, self.value(child)),
                "prop" => rule.props.push(self.prop(child)),
                "children" => rule.children.extend(self.children(child)),
                other => panic!("{other} in a node"),
            }
        }
        let names: Vec<&str> = rule.children.iter().map(|child| child.name.as_str()).collect();
        unique(&names, &rule.name);
        let names: Vec<&str> = rule.props.iter().filter_map(|prop| prop.name.as_deref()).collect();
        unique(&names, &rule.name);
        rule
    }

    fn children(&self, node: &'a Node) -> Vec<NodeRule> {
        let mut rules = self.target(node).map(|target| self.children(target)).unwrap_or_default();
        for child in &node.children {
            assert_eq!(child.name.text, "node", "in children");
            rules.push(self.node(child));
        }
        rules
    }

    fn prop(&self, node: &'a Node) -> PropRule {
        if let Some(target) = self.target(node) {
            assert!(node.children.is_empty(), "a property that is a reference and more");
            return self.prop(target);
        }
        let name = only_text(node).map(str::to_owned);
        let mut rule = PropRule { name, description: described(node), ..PropRule::default() };
        for child in &node.children {
            match child.name.text.as_str() {
                "required" => rule.required = child.args[0].value == Value::Bool(true),
                _ => rule.check.take(child),
            }
        }
        rule
    }

    fn value(&self, node: &'a Node) -> ValueRule {
        if let Some(target) = self.target(node) {
            assert!(node.children.is_empty(), "a value that is a reference and more");
            return self.value(target);
        }
        assert!(node.args.is_empty(), "a value has no name");
        let mut rule = ValueRule { description: described(node), ..ValueRule::default() };
        for child in &node.children {
            match child.name.text.as_str() {
                "min" => once(&mut rule.min, only_number(child)),
                "max" => once(&mut rule.max, only_number(child)),
                _ => rule.check.take(child),
            }
        }
        rule
    }
}

impl Check {
    fn take(&mut self, node: &Node) {
        assert!(
            node.props.is_empty() && node.children.is_empty(),
            "{} holds arguments alone",
            node.name.text
        );
        match node.name.text.as_str() {
            "type" => self.types.extend(node.args.iter().map(|arg| text(&arg.value).to_owned())),
            "enum" => self.choices.extend(node.args.iter().map(|arg| arg.value.clone())),
            "pattern" => once(&mut self.pattern, Regex::new(only_text(node).unwrap()).unwrap()),
            "min-length" => once(&mut self.min_length, only_number(node)),
            ">=" => once(&mut self.least, only_number(node)),
            "<=" => once(&mut self.most, only_number(node)),
            other => panic!("{other} is no validation"),
        }
        assert!(self.types.iter().all(|kind| ["string", "number", "boolean"].contains(&kind.as_str())));
    }

    /// What is wrong with a value.
    fn fault(&self, value: &Value) -> Option<String> {
        let kind = match value {
            Value::Text(_) => "string",
            Value::Bool(_) => "boolean",
            Value::Int(_) | Value::Number => "number",
            Value::Null => "null",
        };
        if !self.types.iter().any(|known| known == kind) {
            return Some(format!("{kind} instead of {}", self.types.join(" or ")));
        }
        if !self.choices.is_empty() && !self.choices.contains(value) {
            return Some(format!("{value:?} is none of {:?}", self.choices));
        }
        match value {
            Value::Text(text) if self.pattern.as_ref().is_some_and(|pattern| !pattern.is_match(text)) => {
                Some(format!("{text:?} does not match {:?}", self.pattern))
            }
            Value::Text(text)
                if self.min_length.is_some_and(|least| (text.chars().count() as i64) < least) =>
            {
                Some("text is too short".to_owned())
            }
            Value::Int(number) if self.least.is_some_and(|least| *number < least) => {
                Some(format!("{number} is too small"))
            }
            Value::Int(number) if self.most.is_some_and(|most| *number > most) => {
                Some(format!("{number} is too large"))
            }
            Value::Text(_) | Value::Int(_) | Value::Bool(_) | Value::Number | Value::Null => None,
        }
    }
}

/// Everything in some nodes that their rules do not allow.
pub fn validate(nodes: &[Node], rules: &[NodeRule]) -> Vec<Complaint> {
    let mut found = Vec::new();
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for node in nodes {
        let name = node.name.text.as_str();
        let Some(rule) = rules.iter().find(|rule| rule.name == name) else {
            found.push(complaint(node.name.span, format!("no node {name}")));
            continue;
        };
        let count = counts.entry(name).or_default();
        *count += 1;
        if rule.max.is_some_and(|max| *count > max) {
            found.push(complaint(node.name.span, format!("too many of {name}")));
        }
        found.extend(line(node, rule));
        found.extend(validate(&node.children, &rule.children));
    }
    found
}

/// What is wrong with a node's own line.
fn line(node: &Node, rule: &NodeRule) -> Vec<Complaint> {
    let mut found = Vec::new();
    for prop in &node.props {
        let fault = match rule.prop(prop) {
            None => Some((prop.name.span, format!("no property {}", prop.name.text))),
            Some(rule) => rule.check.fault(&prop.value).map(|fault| (prop.span, fault)),
        };
        found.extend(fault.map(|(span, message)| complaint(span, message)));
    }
    for needed in rule.props.iter().filter(|prop| prop.required) {
        if node.props.iter().all(|prop| Some(&prop.name.text) != needed.name.as_ref()) {
            found.push(complaint(node.name.span, format!("property {:?} is missing", needed.name)));
        }
    }
    let none = ValueRule { max: Some(0), ..ValueRule::default() };
    let values = rule.value.as_ref().unwrap_or(&none);
    if values.min.is_some_and(|min| (node.args.len() as i64) < min) {
        found.push(complaint(node.name.span, "too few arguments".to_owned()));
    }
    for (index, arg) in node.args.iter().enumerate() {
        let fault = if values.max.is_some_and(|max| index as i64 >= max) {
            Some("an argument too many".to_owned())
        } else {
            values.check.fault(&arg.value)
        };
        found.extend(fault.map(|message| complaint(arg.span, message)));
    }
    found
}

impl NodeRule {
    /// What is said of a property: by its name, else for all names.
    fn prop(&self, prop: &Prop) -> Option<&PropRule> {
        let named = self.props.iter().find(|rule| rule.name.as_ref() == Some(&prop.name.text));
        named.or_else(|| self.props.iter().find(|rule| rule.name.is_none()))
    }
}

fn complaint(span: Span, message: String) -> Complaint {
    Complaint { span, message }
}

fn text(value: &Value) -> &str {
    let Value::Text(text) = value else { panic!("{value:?} is no text") };
    text
}

fn text_of<'a>(node: &'a Node, prop: &str) -> Option<&'a str> {
    node.props.iter().find(|known| known.name.text == prop).map(|prop| text(&prop.value))
}

fn only_text(node: &Node) -> Option<&str> {
    assert!(node.args.len() <= 1, "{} has several arguments", node.name.text);
    node.args.first().map(|arg| text(&arg.value))
}

fn only_number(node: &Node) -> i64 {
    let [arg] = node.args.as_slice() else { panic!("{} takes a number", node.name.text) };
    let Value::Int(number) = arg.value else { panic!("{} takes a number", node.name.text) };
    number
}

fn described(node: &Node) -> String {
    let known = ["description", "id"];
    assert!(node.props.iter().all(|prop| known.contains(&prop.name.text.as_str())), "{:?}", node.props);
    text_of(node, "description").unwrap_or_default().to_owned()
}

fn once<T>(place: &mut Option<T>, value: T) {
    assert!(place.replace(value).is_none(), "given twice");
}

fn unique(names: &[&str], owner: &str) {
    let set: std::collections::BTreeSet<&&str> = names.iter().collect();
    assert_eq!(set.len(), names.len(), "a name of {owner} is there twice: {names:?}");
}
