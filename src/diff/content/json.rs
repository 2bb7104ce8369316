//! JSON: the values that differ, by their paths.

use std::collections::BTreeSet;

use serde_json::Value;

use super::source::Source;
use super::suspects::{Class, Findings, Place, look_at_lines};
use super::{Body, Fault, Field, Found, Scope, shown, text};

/// A value takes many times the bytes it was written in.
const BLOAT: u64 = 8;

pub fn compare(
    (a, b): (&Source, &Source),
    scope: &Scope<'_>,
    findings: &mut Findings,
) -> Result<Found, Fault> {
    let limit = scope.limits.whole / BLOAT;
    let (left, right) = (a.held(limit)?, b.held(limit)?);
    let parse = |bytes: &[u8]| {
        serde_json::from_slice::<Value>(bytes).map_err(|error| Fault::Format(error.to_string()))
    };
    let (x, y) = (parse(&left)?, parse(&right)?);
    let mut walk = Walk { fields: Vec::new(), count: 0, most: scope.limits.text_lines, scope, findings };
    walk.values("", &x, &y);
    let (fields, count) = (walk.fields, walk.count);
    if count == 0 {
        // The values are the same: what is left is how they are written.
        let mut found = text::lines("", &left, &right, scope, findings);
        let is_order = letters(&left) == letters(&right) && ink(&left) != ink(&right);
        if is_order && !findings.has(Class::Ordering) {
            findings.add(Class::Ordering, "keys of objects", "one order", "another");
        }
        let how = if is_order { "keys in another order" } else { "written otherwise" };
        found.format = "json".to_owned();
        found.summary = format!("the same values, {how}");
        return Ok(found);
    }
    let what = shown::count(count, "value", "values");
    let summary = match fields.as_slice() {
        [field] if count == 1 => format!("{} differs", field.name),
        _ => format!("{what} differ"),
    };
    let left_out = count - fields.len() as u64;
    let mut found = Found::new("json", summary, Body::Fields { fields });
    if left_out > 0 {
        found.notes.push(format!("{} more not shown", shown::count(left_out, "value", "values")));
    }
    Ok(found)
}

/// The bytes that are not space: they stay the same where only lines are broken otherwise.
fn ink(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().filter(|byte| !byte.is_ascii_whitespace()).copied().collect()
}

/// How often each of them is there, which stays the same where keys change places.
fn letters(bytes: &[u8]) -> Vec<u64> {
    let mut counts = vec![0; 256];
    bytes.iter().filter(|byte| !byte.is_ascii_whitespace()).for_each(|byte| counts[usize::from(*byte)] += 1);
    counts
}

struct Walk<'a> {
    fields: Vec<Field>,
    count: u64,
    most: usize,
    scope: &'a Scope<'a>,
    findings: &'a mut Findings,
}

impl Walk<'_> {
    fn values(&mut self, path: &str, a: &Value, b: &Value) {
        match (a, b) {
            (a, b) if a == b => {}
            (Value::Object(a), Value::Object(b)) => {
                let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
                for key in keys {
                    self.maybe(&format!("{path}.{}", shown::value(key.as_bytes())), a.get(key), b.get(key));
                }
            }
            (Value::Array(a), Value::Array(b)) => {
                if let Some(first) = reordered(a, b) {
                    self.findings.add(Class::Ordering, path, &a[first].to_string(), &b[first].to_string());
                    self.differ(path, Some(&Value::Array(a.clone())), Some(&Value::Array(b.clone())), false);
                    return;
                }
                for index in 0..a.len().max(b.len()) {
                    self.maybe(&format!("{path}[{index}]"), a.get(index), b.get(index));
                }
            }
            (a, b) => self.differ(path, Some(a), Some(b), true),
        }
    }

    fn maybe(&mut self, path: &str, a: Option<&Value>, b: Option<&Value>) {
        match (a, b) {
            (Some(a), Some(b)) => self.values(path, a, b),
            (a, b) => self.differ(path, a, b, true),
        }
    }

    fn differ(&mut self, path: &str, a: Option<&Value>, b: Option<&Value>, look: bool) {
        self.count += 1;
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        if let (Some(a), Some(b), true) = (a, b, look) {
            // The key says what the value is, as a word before a value does in a line.
            let key = path.rsplit(['.', '[']).next().unwrap_or(path);
            let place = Place { file: "", at: format!("{path}:"), worlds: self.scope.worlds };
            look_at_lines(
                &place,
                &format!("{key} {}", text(a)),
                &format!("{key} {}", text(b)),
                self.findings,
            );
        }
        if self.fields.len() < self.most && self.scope.budget.show(1) > 0 {
            let shown = |value: &Value| shown::value(value.to_string().as_bytes());
            let name = if path.is_empty() { "." } else { path };
            self.fields.push(Field { name: name.to_owned(), a: a.map(shown), b: b.map(shown) });
        }
    }
}

/// Where two lists of the same values first differ.
fn reordered(a: &[Value], b: &[Value]) -> Option<usize> {
    if a.len() != b.len() || a.len() < 2 {
        return None;
    }
    let sorted = |values: &[Value]| {
        let mut texts: Vec<String> = values.iter().map(Value::to_string).collect();
        texts.sort_unstable();
        texts
    };
    if sorted(a) != sorted(b) {
        return None;
    }
    a.iter().zip(b).position(|(a, b)| a != b)
}
