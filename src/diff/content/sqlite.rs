//! SQLite databases: what the header says, the schema, and rows by their tables and numbers.
//!
//! The reader (`sqlite/pages.rs`) takes nothing of the file for granted.

mod pages;

use std::collections::BTreeMap;

use super::members::{self, Parts, Value};
use super::source::Source;
use super::suspects::{Class, Findings, Place, look_at_lines};
use super::{Change, Fault, Field, Found, Part, Scope, shown};
use pages::{Cell, Database, Row};

pub fn compare(
    (a, b): (&Source, &Source),
    scope: &Scope<'_>,
    findings: &mut Findings,
) -> Result<Found, Fault> {
    let (left, right) = (Database::open(a)?, Database::open(b)?);
    let mut parts = Parts::new(scope);
    let fields = members::fields(header(&left), header(&right), "", findings);
    if !fields.is_empty() {
        parts.push(part("header", Change::Changed, fields));
    }
    let (ours, theirs) = (schema(&left, scope)?, schema(&right, scope)?);
    for name in ours.keys().chain(theirs.keys().filter(|name| !ours.contains_key(*name))) {
        match (ours.get(name), theirs.get(name)) {
            (Some(_), None) => parts.push(part(name, Change::Removed, Vec::new())),
            (None, Some(_)) => parts.push(part(name, Change::Added, Vec::new())),
            (None, None) => {}
            (Some(x), Some(y)) => {
                let mut fields = Vec::new();
                if x.sql != y.sql {
                    fields.push(field("sql", Some(&x.sql), Some(&y.sql)));
                }
                if x.is_table && y.is_table {
                    let rows =
                        (left.rows(x.root, scope.limits.whole)?, right.rows(y.root, scope.limits.whole)?);
                    Table { name, columns: &x.columns, scope }.rows(rows, &mut fields, findings);
                }
                if !fields.is_empty() {
                    parts.push(part(name, Change::Changed, fields));
                }
            }
        }
    }
    Ok(parts.found("sqlite", "part", "parts"))
}

fn part(name: &str, change: Change, fields: Vec<Field>) -> Part {
    Part { name: name.to_owned(), change, fields, difference: None }
}

fn field(name: &str, a: Option<&str>, b: Option<&str>) -> Field {
    Field { name: name.to_owned(), a: a.map(str::to_owned), b: b.map(str::to_owned) }
}

fn header(database: &Database<'_>) -> Vec<Value> {
    let number = |at: usize| database.number(at);
    vec![
        Value::new("page size", database.page_size()),
        Value::new("write version", number(16) >> 24),
        Value::new("change counter", number(24)),
        Value::new("pages", number(28)),
        Value::new("free pages", number(36)),
        Value::new("schema cookie", number(40)),
        Value::new("encoding", number(56)),
        Value::new("user version", number(60)),
        Value::new("application id", format!("{:#x}", number(68))),
        Value::new("written by", format!("SQLite {}", number(96))),
    ]
}

/// An entry of the schema: a table, an index, a view, a trigger.
struct Entry {
    is_table: bool,
    root: u32,
    sql: String,
    columns: Vec<String>,
}

fn schema(database: &Database<'_>, scope: &Scope<'_>) -> Result<BTreeMap<String, Entry>, Fault> {
    let mut entries = BTreeMap::new();
    for row in database.rows(1, scope.limits.whole)? {
        let [kind, name, _, root, sql, ..] = row.cells.as_slice() else { continue };
        let text = |cell: &Cell| cell.to_string();
        let root = if let Cell::Integer(root) = root { u32::try_from(*root).unwrap_or(0) } else { 0 };
        let sql = text(sql);
        // A table without row numbers is an index, and read as nothing.
        let is_table =
            text(kind) == "table" && root > 1 && !sql.to_ascii_uppercase().contains("WITHOUT ROWID");
        let columns = columns(&sql);
        entries.insert(format!("{} {}", text(kind), text(name)), Entry { is_table, root, sql, columns });
    }
    Ok(entries)
}

/// The names of columns, as well as they can be told without a parser of SQL.
fn columns(sql: &str) -> Vec<String> {
    let inner = sql.split_once('(').map_or("", |(_, inner)| inner);
    let mut depth = 0;
    let mut names = vec![String::new()];
    for c in inner.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => names.push(String::new()),
            _ => {}
        }
        if let Some(last) = names.last_mut().filter(|_| c != ',' || depth > 0) {
            last.push(c);
        }
    }
    let first = |column: &String| {
        let word = column.split_whitespace().next().unwrap_or("");
        word.trim_matches(['"', '`', '[', ']', ')', '\'']).to_owned()
    };
    names.iter().map(first).collect()
}

/// A table that both have.
struct Table<'a> {
    name: &'a str,
    columns: &'a [String],
    scope: &'a Scope<'a>,
}

impl Table<'_> {
    fn rows(&self, (a, b): (Vec<Row>, Vec<Row>), fields: &mut Vec<Field>, findings: &mut Findings) {
        let cells = |rows: &[Row]| {
            let mut texts: Vec<String> = rows.iter().map(Row::to_string).collect();
            texts.sort_unstable();
            texts
        };
        let changed = a.len() != b.len() || a.iter().zip(&b).any(|(a, b)| a.cells != b.cells);
        if changed && a.len() > 1 && cells(&a) == cells(&b) {
            let first = a.iter().zip(&b).find(|(a, b)| a.cells != b.cells);
            let (x, y) = first.map_or_else(Default::default, |(a, b)| (a.to_string(), b.to_string()));
            findings.add(Class::Ordering, &format!("{}: rows", self.name), &x, &y);
            fields.push(field("order of rows", Some(&x), Some(&y)));
            return;
        }
        let (left, right) = (by_number(&a), by_number(&b));
        for (number, row) in &left {
            match right.get(number) {
                None => self.push(
                    fields,
                    field(&format!("row {number}"), Some(&shown::cut(&row.to_string(), 0)), None),
                ),
                Some(other) => self.row(*number, row, other, fields, findings),
            }
        }
        for (number, row) in right.iter().filter(|(number, _)| !left.contains_key(*number)) {
            self.push(fields, field(&format!("row {number}"), None, Some(&shown::cut(&row.to_string(), 0))));
        }
    }

    fn row(&self, number: i64, a: &Row, b: &Row, fields: &mut Vec<Field>, findings: &mut Findings) {
        for index in 0..a.cells.len().max(b.cells.len()) {
            let (x, y) = (a.cells.get(index), b.cells.get(index));
            if x == y {
                continue;
            }
            let column = self.columns.get(index).filter(|name| !name.is_empty());
            let column = column.cloned().unwrap_or_else(|| format!("column {}", index + 1));
            let (x, y) = (x.map(Cell::to_string), y.map(Cell::to_string));
            if let (Some(x), Some(y)) = (&x, &y) {
                let at = format!("{} row {number}, {column}:", self.name);
                let place = Place { file: "", at, worlds: self.scope.worlds };
                look_at_lines(&place, &format!("{column} {x}"), &format!("{column} {y}"), findings);
            }
            let cut = |text: Option<String>| text.map(|text| shown::value(text.as_bytes()));
            self.push(fields, Field { name: format!("row {number}, {column}"), a: cut(x), b: cut(y) });
        }
    }

    fn push(&self, fields: &mut Vec<Field>, field: Field) {
        if fields.len() < self.scope.limits.text_lines && self.scope.budget.show(1) > 0 {
            fields.push(field);
        }
    }
}

fn by_number(rows: &[Row]) -> BTreeMap<i64, &Row> {
    rows.iter().map(|row| (row.number, row)).collect()
}
