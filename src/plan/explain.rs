//! One line that says which input of a step changed: two described actions compared field by field. Pure.

use indexmap::IndexMap;

use crate::action::Observation;

/// The described fields of an action, as [`crate::action::Action::fields`] gives them.
pub type Fields = [(String, String)];

/// What differs between two keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The first field that does, in the order of the key.
    pub field: String,
    /// What it was and is, without what both have.
    pub was: Vec<String>,
    pub is: Vec<String>,
    /// All that differs, on one line.
    pub text: String,
}

/// What differs between a step as it was and as it is; `None` if nothing does.
pub fn changed(old: &Fields, new: &Fields) -> Option<Change> {
    if old == new {
        return None;
    }
    let (was, is) = (grouped(old), grouped(new));
    let mut differing = Vec::new();
    for name in is.keys().chain(was.keys().filter(|name| !is.contains_key(*name))) {
        let values = |of: &IndexMap<&str, Vec<String>>| of.get(name).cloned().unwrap_or_default();
        let (was, is) = (values(&was), values(&is));
        if was != is {
            differing.push((*name, was, is));
        }
    }
    let texts: Vec<String> = differing.iter().map(|(name, was, is)| difference(name, was, is)).collect();
    let (field, was, is) = differing.into_iter().next()?;
    let only = |these: &[String], others: &[String]| -> Vec<String> {
        these.iter().filter(|value| !others.contains(value)).cloned().collect()
    };
    Some(Change {
        field: field.to_owned(),
        was: only(&was, &is),
        is: only(&is, &was),
        text: texts.join("; "),
    })
}

/// How many values two keys have in common, by field.
pub fn in_common(one: &Fields, other: &Fields) -> usize {
    let (one, other) = (grouped(one), grouped(other));
    one.iter()
        .map(|(name, values)| {
            let others = other.get(name).map(Vec::as_slice).unwrap_or_default();
            values.iter().filter(|value| others.contains(value)).count()
        })
        .sum()
}

/// Whether two keys are of what a person would call the same step: the same command, the same names copied to the same
/// place, whatever surrounds it and whatever is in the files.
pub fn is_same_step(one: &Fields, other: &Fields) -> bool {
    const ESSENCE: [&str; 8] = [
        "run.argv",
        "run.script.path",
        "copy.source.name",
        "copy.dest",
        "mkdir.path",
        "packages.kind",
        "packages.package",
        "merge.layer",
    ];
    fn essence(fields: &Fields) -> impl Iterator<Item = &(String, String)> {
        fields.iter().filter(|(name, _)| ESSENCE.contains(&name.as_str()))
    }
    essence(one).next().is_some() && essence(one).eq(essence(other))
}

/// Values by field name, in order; an environment variable is a field of its own.
fn grouped(fields: &Fields) -> IndexMap<&str, Vec<String>> {
    let mut groups: IndexMap<&str, Vec<String>> = IndexMap::new();
    let mut pending = String::new();
    for (name, value) in fields {
        match name.as_str() {
            "run.env.name" => pending.clone_from(value),
            "run.env.value" => groups.entry("run.env").or_default().push(format!("{pending}={value}")),
            "copy.source.name" => pending.clone_from(value),
            "copy.source.content" => {
                groups.entry("copy.source").or_default().push(pending.clone() + " " + value)
            }
            "run.mount.target" => {
                pending.clone_from(value);
                groups.entry(name).or_default().push(value.clone());
            }
            "run.mount.files" => {
                groups.entry("run.mount").or_default().push(pending.clone() + " " + value);
            }
            other => groups.entry(other).or_default().push(value.clone()),
        }
    }
    groups
}

fn difference(name: &str, was: &[String], is: &[String]) -> String {
    let gone: Vec<&String> = was.iter().filter(|v| !is.contains(v)).collect();
    let come: Vec<&String> = is.iter().filter(|v| !was.contains(v)).collect();
    let label = name.rsplit('.').next().unwrap_or(name);
    if matches!(name, "copy.source" | "run.mount") {
        let name_of = |v: &&String| v.split(' ').next().unwrap_or_default().to_owned();
        let names: std::collections::BTreeSet<String> = gone.iter().chain(&come).map(name_of).collect();
        let names: Vec<String> =
            names.into_iter().map(|n| if n.is_empty() { ".".into() } else { n }).collect();
        return match name {
            "run.mount" => format!("what is mounted at {} changed", names.join(", ")),
            _ => format!("content of {} changed", names.join(", ")),
        };
    }
    match (gone.as_slice(), come.as_slice()) {
        ([], []) => format!("{label} changed order"),
        ([], come) => format!("{label} gained {}", quoted(come)),
        (gone, []) => format!("{label} lost {}", quoted(gone)),
        (gone, come) => format!("{label} was {}, is {}", quoted(gone), quoted(come)),
    }
}

fn quoted(values: &[&String]) -> String {
    const LONGEST: usize = 60;
    let short = |v: &&&String| {
        let cut: String = v.chars().take(LONGEST).collect();
        if cut.len() < v.len() { format!("{cut:?}…") } else { format!("{cut:?}") }
    };
    values.iter().take(3).map(|v| short(&v)).collect::<Vec<_>>().join(", ")
}

/// What an observation that no longer holds means, in words.
pub fn contradiction(expected: &Observation, found: &str) -> String {
    match expected {
        Observation::Rootfs(_) => "the file system below it changed".to_owned(),
        Observation::Path { path, seen, .. } => format!("{path} below it was {seen}, is {found}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn names_the_field() {
        let old = fields(&[
            ("run.argv", "sh"),
            ("run.argv", "echo a"),
            ("run.env.name", "A"),
            ("run.env.value", "1"),
        ]);
        let mut new = old.clone();
        assert_eq!(changed(&old, &new), None);
        new[1].1 = "echo b".into();
        let change = changed(&old, &new).unwrap();
        assert_eq!(change.text, r#"argv was "echo a", is "echo b""#);
        assert_eq!(
            (change.field.as_str(), change.was, change.is),
            ("run.argv", vec!["echo a".into()], vec!["echo b".into()])
        );
        new[1].1 = "echo a".into();
        new[3].1 = "2".into();
        assert_eq!(changed(&old, &new).unwrap().text, r#"env was "A=1", is "A=2""#);
        assert_eq!(changed(&old, &old[..2]).unwrap().text, r#"env lost "A=1""#);
    }

    #[test]
    fn names_the_source() {
        let old = fields(&[("copy.source.name", "src"), ("copy.source.content", "x")]);
        let new = fields(&[("copy.source.name", "src"), ("copy.source.content", "y")]);
        assert_eq!(changed(&old, &new).unwrap().text, "content of src changed");
    }

    #[test]
    fn the_first_field_is_that_of_the_key_and_not_of_the_alphabet() {
        let old = fields(&[("run.user", "a"), ("run.argv", "x"), ("run.cwd", "/")]);
        let new = fields(&[("run.user", "b"), ("run.argv", "y")]);
        let change = changed(&old, &new).unwrap();
        assert_eq!(change.field, "run.user");
        assert_eq!(change.text, r#"user was "a", is "b"; argv was "x", is "y"; cwd lost "/""#);
    }

    #[test]
    fn a_step_is_the_same_whatever_surrounds_it() {
        let old = fields(&[("run.argv", "make"), ("run.env.name", "A"), ("run.env.value", "1")]);
        let mut new = old.clone();
        new[2].1 = "2".into();
        assert!(is_same_step(&old, &new));
        assert_eq!((in_common(&old, &new), in_common(&old, &old)), (1, 2));
        new[0].1 = "make all".into();
        assert!(!is_same_step(&old, &new));
        let none = fields(&[("epoch", "0")]);
        assert!(!is_same_step(&none, &none), "nothing says what it is");
    }
}
