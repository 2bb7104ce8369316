//! `spec/lith.kdl-schema` says what the KDL frontend takes: it is held against the cases of both languages, and at every
//! place of a file against the parser.

mod probe;
mod validator;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use lith::diag::{Diagnostic, Source, Span};
use lith::frontend::kdl;

use crate::frontend::{build as build_dockerfile, case_options};
use crate::kdl::{bases_of, build, imports, options_of, source};
use crate::support::data;
use probe::{Around, Place, UNKNOWN};
use validator::{Complaint, NodeRule, PropRule, validate};

/// A name that is like no other, so that the parser lists what is known.
const STRANGE: &str = "zzzzzzzzzzzz";

fn schema() -> Vec<NodeRule> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/spec/lith.kdl-schema");
    let text = std::fs::read_to_string(path).unwrap();
    let nodes = kdl::nodes(&text).unwrap_or_else(|found| panic!("{found:?}"));
    validator::read(&nodes)
}

/// What the schema has against a text; `Err` if that is no KDL.
fn complaints(text: &str, rules: &[NodeRule]) -> Result<Vec<Complaint>, Vec<Diagnostic>> {
    Ok(validate(&kdl::nodes(text)?, rules))
}

/// Calls a function with every place where the schema has a node.
fn places<'a>(rules: &'a [NodeRule], visit: &mut impl FnMut(&Place<'a>, &'a NodeRule)) {
    fn below<'a>(place: &Place<'a>, rule: &'a NodeRule, visit: &mut impl FnMut(&Place<'a>, &'a NodeRule)) {
        visit(place, rule);
        rule.children.iter().for_each(|child| below(&place.with(&child.name), child, visit));
    }
    rules.iter().for_each(|rule| below(&Place { names: vec![&rule.name] }, rule, visit));
}

/// Every name of a node, and of a property.
fn names(rules: &[NodeRule]) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut nodes, mut props) = (BTreeSet::new(), BTreeSet::new());
    places(rules, &mut |_, rule| {
        nodes.insert(rule.name.clone());
        props.extend(rule.props.iter().filter_map(|prop| prop.name.clone()));
    });
    (nodes, props)
}

#[test]
fn everything_is_described_on_one_line() {
    let mut wrong = String::new();
    let good =
        |text: &str| !text.is_empty() && text.len() <= 100 && !text.contains('\n') && !text.ends_with('.');
    places(&schema(), &mut |place, rule| {
        let props = rule.props.iter().map(|prop| (prop.name.as_deref().unwrap_or("any"), &prop.description));
        let value = rule.value.iter().map(|value| ("value", &value.description));
        for (what, text) in [("node", &rule.description)].into_iter().chain(props).chain(value) {
            if !good(text) {
                let _ = writeln!(wrong, "{:?} {what}: {text:?}", place.names);
            }
        }
    });
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn good_files_validate() {
    let rules = schema();
    let mut wrong = String::new();
    let mut count = 0;
    for case in &data("tests/data/kdl") {
        let text = std::fs::read_to_string(case.join("image.kdl")).unwrap();
        let file = source(&text);
        let imports = imports(&file, case);
        if build(&file, &imports, &options_of(&text)).is_err() {
            continue;
        }
        for text in [&text].into_iter().chain(imports.values().flatten()) {
            count += 1;
            let found = complaints(text, &rules).unwrap();
            if !found.is_empty() {
                let _ = writeln!(wrong, "== {}\n{}", case.display(), shown(text, &found));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count >= 60, "only {count} files");
}

#[test]
fn converted_dockerfiles_validate() {
    let rules = schema();
    let mut wrong = String::new();
    let mut count = 0;
    for case in &data("tests/data/dockerfile") {
        let text = std::fs::read_to_string(case.join("Dockerfile")).unwrap();
        let options = case_options(&text);
        let file = Source { name: "Dockerfile".into(), text };
        let Ok((recipe, _)) = build_dockerfile(&file, &options) else { continue };
        count += 1;
        let text = kdl::write(&recipe, &options, &bases_of(&recipe));
        let found = complaints(&text, &rules).unwrap();
        if !found.is_empty() {
            let _ = writeln!(wrong, "== {}\n{}", case.display(), shown(&text, &found));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count > 150, "only {count} recipes");
}

/// Names that mean something on a node of this name, though not with its other words: a schema cannot say that.
const DEPENDS: [(&str, usize); 4] =
    [("errors-bases", 14), ("errors-healthchecks", 10), ("errors-mounts", 13), ("errors-mounts", 26)];

#[test]
fn unknown_names_do_not_validate() {
    let rules = schema();
    let mut wrong = String::new();
    let mut depends = Vec::new();
    let mut count = 0;
    for case in &data("tests/data/kdl") {
        let (text, found) = errors_of(case);
        let Ok(complaints) = complaints(&text, &rules) else { continue };
        let name = case.file_name().unwrap().to_str().unwrap().to_owned();
        let unknown = |error: &&Diagnostic| UNKNOWN.iter().any(|words| error.message.contains(words));
        for error in found.iter().filter(unknown) {
            // What was imported is a file of its own.
            if error.message.contains(".kdl:") {
                continue;
            }
            count += 1;
            if complaints.iter().any(|complaint| complaint.span == error.span) {
                continue;
            }
            let line = line_of(&text, error.span);
            if DEPENDS.contains(&(name.as_str(), line)) {
                depends.push((name.clone(), line));
            } else {
                let _ = writeln!(wrong, "{name}:{line}: the schema takes it: {}", error.message);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert_eq!(depends.len(), DEPENDS.len(), "{depends:?}");
    assert!(count >= 40, "only {count} unknown names");
}

#[test]
fn what_does_not_validate_is_an_error() {
    let rules = schema();
    let mut wrong = String::new();
    let mut count = 0;
    for case in &data("tests/data/kdl") {
        let (text, found) = errors_of(case);
        let Ok(complaints) = complaints(&text, &rules) else { continue };
        let lines: BTreeSet<usize> = found.iter().map(|error| line_of(&text, error.span)).collect();
        count += complaints.len();
        let unfounded = complaints.into_iter().filter(|found| !lines.contains(&line_of(&text, found.span)));
        let unfounded: Vec<Complaint> = unfounded.collect();
        if !unfounded.is_empty() {
            let _ = writeln!(wrong, "== {}\n{}", case.display(), shown(&text, &unfounded));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count >= 100, "only {count} complaints");
}

#[test]
fn the_parser_knows_the_nodes_of_the_schema_and_no_others() {
    let rules = schema();
    let (mut nodes, _) = names(&rules);
    nodes.insert(STRANGE.to_owned());
    let mut wrong = String::new();
    let mut compare =
        |place: &[&str], rules: &[NodeRule], takes: &dyn Fn(&str, &mut BTreeSet<String>) -> bool| {
            let mut known = nodes.clone();
            takes(STRANGE, &mut known);
            for name in known.clone() {
                let taken = takes(&name, &mut known);
                if taken != rules.iter().any(|rule| rule.name == name) {
                    let _ = writeln!(wrong, "{name} in {place:?}: the parser takes it: {taken}");
                }
            }
        };
    compare(&[], &rules, &Place::top_takes);
    places(&rules, &mut |place, rule| {
        compare(&place.names, &rule.children, &|name, known| place.takes_child(name, known));
    });
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_parser_knows_the_properties_of_the_schema_and_no_others() {
    let rules = schema();
    let (_, mut props) = names(&rules);
    props.insert(STRANGE.to_owned());
    let mut wrong = String::new();
    places(&rules, &mut |place, rule| {
        let mut known = props.clone();
        place.lines_with(STRANGE, &mut known);
        for name in known.clone() {
            let taken = !place.lines_with(&name, &mut known).is_empty();
            let fits = |prop: &PropRule| prop.name.as_ref().is_none_or(|known| *known == name);
            if taken != rule.props.iter().any(fits) {
                let _ = writeln!(wrong, "{name}= of {:?}: the parser takes it: {taken}", place.names);
            }
        }
    });
    assert!(wrong.is_empty(), "{wrong}");
}

/// Of which each is right for some property or argument.
const TEXTS: [&str; 12] = [
    "",
    "x",
    "a/b c",
    "0644",
    "64m",
    "1m30s",
    "locked",
    "sandbox",
    "linux/arm64",
    "20261101T000000Z",
    "0123456789abcdef0123456789abcdef01234567",
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
];

/// What is no text. Whether it is right for a property is the same to the schema and to the parser.
const OTHERS: [&str; 7] = ["#true", "#false", "#null", "0", "-1", "2147483647", "2147483648"];

#[test]
fn the_schema_allows_every_property_that_the_parser_takes() {
    let rules = schema();
    let mut comparing = Comparing { rules: &rules, wrong: String::new(), count: 0 };
    places(&rules, &mut |place, rule| {
        for prop in &rule.props {
            let name = prop.name.as_deref().unwrap_or(STRANGE);
            for line in place.lines_with(name, &mut BTreeSet::new()) {
                // `env "NAME" "VALUE"` has no properties, though they may be of any name.
                if prop.name.is_none() && !line.text().contains('=') {
                    continue;
                }
                let with = |value: &str| format!("{} {name}={value}", line.without(name));
                for value in OTHERS {
                    comparing.both(&place.around(&with(value), line.inner()));
                }
                for text in TEXTS {
                    comparing.schema(&place.around(&with(&format!("{text:?}")), line.inner()));
                    comparing.schema(&place.around_given(&with("\"${given}\""), line.inner(), text));
                }
            }
        }
    });
    comparing.finish(10_000);
}

#[test]
fn the_schema_allows_all_arguments_that_the_parser_takes() {
    let rules = schema();
    let mut comparing = Comparing { rules: &rules, wrong: String::new(), count: 0 };
    places(&rules, &mut |place, _| {
        for line in place.lines() {
            for args in ["#null", "0"] {
                comparing.both(&place.around(&line.with_args(args), line.inner()));
            }
            for args in ["", r#""a" "b""#, r#""a" "b" "c""#, "#true", "#false"] {
                comparing.schema(&place.around(&line.with_args(args), line.inner()));
            }
            for text in TEXTS {
                comparing.schema(&place.around(&line.with_args(&format!("{text:?}")), line.inner()));
                comparing.schema(&place.around_given(&line.with_args("\"${given}\""), line.inner(), text));
            }
        }
    });
    comparing.finish(5_000);
}

#[test]
fn what_every_node_of_a_name_needs_is_required() {
    let rules = schema();
    let mut comparing = Comparing { rules: &rules, wrong: String::new(), count: 0 };
    places(&rules, &mut |place, rule| {
        let lines = place.lines();
        for line in &lines {
            let example = place.around(&line.text(), line.inner());
            assert!(example.errors().is_empty(), "{}\n{:?}", example.text(), example.errors());
            comparing.both(&example);
        }
        for name in rule.props.iter().filter_map(|prop| prop.name.as_deref()) {
            for line in lines.iter().filter(|_| lines.iter().all(|line| line.has(name))) {
                comparing.both(&place.around(&line.without(name), line.inner()));
            }
        }
    });
    comparing.finish(300);
}

/// Files of which the schema and the parser are asked.
struct Comparing<'a> {
    rules: &'a [NodeRule],
    wrong: String,
    count: usize,
}

impl Comparing<'_> {
    /// They say the same.
    fn both(&mut self, around: &Around) {
        self.compare(around, |allowed, good| allowed == good);
    }

    /// What the schema does not allow is an error.
    fn schema(&mut self, around: &Around) {
        self.compare(around, |allowed, good| allowed || !good);
    }

    fn compare(&mut self, around: &Around, agree: impl Fn(bool, bool) -> bool) {
        self.count += 1;
        let complaints = complaints(around.text(), self.rules).unwrap();
        let errors = around.errors();
        if !agree(complaints.is_empty(), errors.is_empty()) {
            let _ = writeln!(self.wrong, "{}\nschema: {complaints:?}\nparser: {errors:?}\n", around.text());
        }
    }

    fn finish(self, least: usize) {
        assert!(self.wrong.is_empty(), "{}", self.wrong);
        assert!(self.count >= least, "only {} files", self.count);
    }
}

/// The text of a case and the errors of it; none if it has none.
fn errors_of(case: &std::path::Path) -> (String, Vec<Diagnostic>) {
    let text = std::fs::read_to_string(case.join("image.kdl")).unwrap();
    let file = source(&text);
    let found = build(&file, &imports(&file, case), &options_of(&text)).err().unwrap_or_default();
    (text, found)
}

fn line_of(text: &str, span: Span) -> usize {
    text[..span.start].matches('\n').count() + 1
}

fn shown(text: &str, found: &[Complaint]) -> String {
    let line = |found: &Complaint| format!("{}: {}\n", line_of(text, found.span), found.message);
    found.iter().map(line).collect()
}
