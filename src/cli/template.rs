//! `--format`: tables, JSON, and the part of Go's templates that people use for listings: `{{.Field}}`,
//! `{{json .}}`, `{{json .Field}}`, with `table` before it for a heading.

use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;

use super::{CliError, out};

/// How a listing is printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Template {
    Table,
    /// One object a line.
    Json,
    Parts {
        heading: bool,
        parts: Vec<Part>,
    },
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Text(String),
    /// The value at a path of names; none for the whole.
    Field {
        path: Vec<String>,
        json: bool,
    },
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "table" => return Ok(Self::Table),
            "json" => return Ok(Self::Json),
            _ => {}
        }
        let (heading, text) = match text.strip_prefix("table ") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        if !text.contains("{{") {
            return Err("expected table, json, or a template as '{{.ID}} {{.Names}}'".into());
        }
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("{{") {
            let (inside, after) = after.split_once("}}").ok_or("a {{ has no }}")?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(field(inside.trim())?);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self::Parts { heading, parts })
    }
}

fn field(text: &str) -> Result<Part, String> {
    let (json, name) = match text.strip_prefix("json ") {
        Some(name) => (true, name.trim()),
        None => (false, text),
    };
    let path = name.strip_prefix('.').ok_or_else(|| format!("{{{{{text}}}}}: expected {{{{.Name}}}}"))?;
    let path: Vec<String> = path.split('.').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let plain = |name: &String| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !path.iter().all(plain) {
        return Err(format!("{{{{{text}}}}}: expected {{{{.Name}}}} or {{{{json .Name}}}}"));
    }
    Ok(Part::Field { path, json })
}

impl Template {
    /// Objects as `inspect` prints them: one list, or the template once for each.
    pub fn objects(&self, values: &[Value]) -> Result<String, CliError> {
        match self {
            Self::Json | Self::Table => {
                Ok(serde_json::to_string_pretty(values).expect("values serialise") + "\n")
            }
            Self::Parts { parts, .. } => {
                values.iter().map(|value| Ok(Self::apply(parts, value)? + "\n")).collect()
            }
        }
    }

    /// One value in the form of the template's parts.
    pub fn apply(parts: &[Part], value: &Value) -> Result<String, CliError> {
        parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => Ok(text.clone()),
                Part::Field { path, json } => {
                    let found = path.iter().try_fold(value, |value, name| value.get(name));
                    let found = found.ok_or_else(|| unknown(path, value))?;
                    Ok(match found {
                        Value::String(text) if !json => text.clone(),
                        other => other.to_string(),
                    })
                }
            })
            .collect()
    }
}

fn unknown(path: &[String], value: &Value) -> CliError {
    let names: Vec<&str> =
        value.as_object().map(|object| object.keys().map(String::as_str).collect()).unwrap_or_default();
    CliError::Usage(format!("--format: there is no {}; there are {}", path.join("."), names.join(", ")))
}

/// Rows that can be printed in any form.
pub struct Listing<'a, R> {
    /// Headings of the table and the fields below them.
    pub columns: &'a [(&'a str, &'a str)],
    pub rows: &'a [R],
}

impl<R: Serialize> Listing<'_, R> {
    /// The whole as text.
    pub fn render(&self, template: &Template) -> Result<String, CliError> {
        let values: Vec<Value> =
            self.rows.iter().map(|row| serde_json::to_value(row).expect("plain rows")).collect();
        match template {
            Template::Json => Ok(values.iter().map(|value| format!("{value}\n")).collect()),
            Template::Table => {
                let cell = |value: &Value, name: &str| match &value[name] {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                let head = self.columns.iter().map(|(head, _)| (*head).to_owned()).collect();
                let rows = values
                    .iter()
                    .map(|value| self.columns.iter().map(|(_, name)| cell(value, name)).collect());
                Ok(out::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>()))
            }
            Template::Parts { heading, parts } => {
                let lines = values.iter().map(|value| Template::apply(parts, value));
                let lines = lines.collect::<Result<Vec<String>, CliError>>()?;
                if !heading {
                    return Ok(lines.into_iter().map(|line| line + "\n").collect());
                }
                let cells = |line: &String| line.split('\t').map(str::to_owned).collect();
                let rows: Vec<Vec<String>> =
                    std::iter::once(self.heading(parts)).chain(lines.iter().map(cells)).collect();
                Ok(out::table(&rows))
            }
        }
    }

    fn heading(&self, parts: &[Part]) -> Vec<String> {
        let title = |name: &String| {
            let known = self.columns.iter().find(|(_, field)| field == name);
            known.map_or_else(|| name.to_uppercase(), |(head, _)| (*head).to_owned())
        };
        let text: String = parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Field { path, .. } => path.last().map_or_else(String::new, title),
            })
            .collect();
        text.split('\t').map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        let rows = [serde_json::json!({"ID": "a1", "Names": "x", "Deep": {"N": 3}})];
        let listing = Listing { columns: &[("CONTAINER ID", "ID"), ("NAMES", "Names")], rows: &rows };
        let render = |text: &str| listing.render(&text.parse().unwrap()).unwrap();
        assert_eq!(render("{{.ID}}: {{ .Names }} {{.Deep.N}}"), "a1: x 3\n");
        assert_eq!(render("{{json .Names}}"), "\"x\"\n");
        assert_eq!(render("table {{.ID}}\\t{{.Names}}"), "CONTAINER ID  NAMES\na1            x\n");
        assert_eq!(render("table"), "CONTAINER ID  NAMES\na1            x\n");
        assert_eq!(render("json"), "{\"Deep\":{\"N\":3},\"ID\":\"a1\",\"Names\":\"x\"}\n");
        let missing = listing.render(&"{{.Nope}}".parse().unwrap()).unwrap_err();
        assert_eq!(missing.to_string(), "--format: there is no Nope; there are Deep, ID, Names");
        for bad in ["yaml", "{{.ID", "{{ID}}", "{{range .}}", "{{.A b}}"] {
            assert!(bad.parse::<Template>().is_err(), "{bad}");
        }
    }
}
