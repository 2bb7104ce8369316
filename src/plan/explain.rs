//! One line that says which input of a step changed: two described actions compared field by field. Pure.

use std::collections::BTreeMap;

use crate::action::Observation;

/// The described fields of an action, as [`crate::action::Action::fields`] gives them.
pub type Fields = [(String, String)];

/// What differs between a step as it was and as it is; `None` if nothing does.
pub fn changed(old: &Fields, new: &Fields) -> Option<String> {
    if old == new {
        return None;
    }
    let (old, new) = (grouped(old), grouped(new));
    let names: std::collections::BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
    let mut parts = Vec::new();
    for name in names {
        match (old.get(name), new.get(name)) {
            (Some(was), Some(is)) if was == is => {}
            (was, is) => {
                parts.push(difference(name, was.map_or(&[], Vec::as_slice), is.map_or(&[], Vec::as_slice)))
            }
        }
    }
    Some(parts.join("; "))
}

/// Values by field name, in order; an environment variable is a field of its own.
fn grouped(fields: &Fields) -> BTreeMap<&str, Vec<String>> {
    let mut groups: BTreeMap<&str, Vec<String>> = BTreeMap::new();
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
        assert_eq!(changed(&old, &new).unwrap(), r#"argv was "echo a", is "echo b""#);
        new[1].1 = "echo a".into();
        new[3].1 = "2".into();
        assert_eq!(changed(&old, &new).unwrap(), r#"env was "A=1", is "A=2""#);
        assert_eq!(changed(&old, &old[..2]).unwrap(), r#"env lost "A=1""#);
    }

    #[test]
    fn names_the_source() {
        let old = fields(&[("copy.source.name", "src"), ("copy.source.content", "x")]);
        let new = fields(&[("copy.source.name", "src"), ("copy.source.content", "y")]);
        assert_eq!(changed(&old, &new).unwrap(), "content of src changed");
    }
}
