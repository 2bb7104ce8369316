//! The report as text: what a person sees on a terminal.
//!
//! Owns: what is shown of a report and what is left to its other forms. Never compares.

mod body;

use std::collections::BTreeMap;

use serde_json::Value;

use super::kind::Kind;
use super::report::{
    Entry, EntryChange, Field, Images, LayerChange, LayerFacts, LayerRow, Level, Node, NodeKind, Report, Side,
};
use crate::diag::{Paint, escape};
use crate::size::human;

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// What was compared, why it differs, and how much does.
    Summary,
    Full,
}

/// The most paths of one pair of images.
const MAX_PATHS: usize = 200;
/// The most fields of a level.
const MAX_FIELDS: usize = 100;
/// The most characters of one value.
const MAX_VALUE: usize = 60;

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const DIM: &str = "2";
const BOLD: &str = "1";

/// The report as lines.
pub fn render(report: &Report, paint: Paint, detail: Detail) -> String {
    let mut page = Page { text: String::new(), paint };
    page.side("A", RED, &report.a);
    page.side("B", GREEN, &report.b);
    page.text.push('\n');
    if let Some(cause) = &report.cause {
        let line = page.paint.wrap(BOLD, &escape(cause.line.as_bytes()));
        page.line(0, &line);
    }
    page.line(0, &verdict(report));
    if detail == Detail::Full {
        page.fields("index", report.index.iter().collect());
        for images in &report.images {
            page.images(images, report.images.len() > 1);
        }
    }
    page.ignored(&report.ignored);
    report.warnings.iter().for_each(|warning| page.line(0, &format!("warning: {warning}")));
    page.text
}

/// One line: whether they differ, and in how many things of which kind.
fn verdict(report: &Report) -> String {
    if !report.differs {
        return match report.ignored.is_empty() {
            true => "no difference".to_owned(),
            false => "no difference but what was to be ignored".to_owned(),
        };
    }
    let mut parts = Vec::new();
    let lone = report.images.iter().filter(|images| images.a.is_none() || images.b.is_none()).count();
    parts.extend(counted(lone, "image on one side only", "images on one side only"));
    parts.extend(counted(report.index.len(), "field of the index", "fields of the index"));
    let fields: Vec<&Field> = report.images.iter().flat_map(|images| &images.fields).collect();
    for (level, one, several) in [
        (Level::Manifest, "field of the manifest", "fields of the manifest"),
        (Level::Config, "field of the config", "fields of the config"),
        (Level::History, "field of history", "fields of history"),
    ] {
        parts.extend(counted(fields.iter().filter(|field| field.level == level).count(), one, several));
    }
    let rows = report.images.iter().flat_map(|images| &images.layers);
    let rows = rows.filter(|row| row.change != LayerChange::Same).count();
    parts.extend(counted(rows, "layer", "layers"));
    let entries: Vec<&Entry> = report.images.iter().flat_map(|images| &images.entries).collect();
    let of = |change: EntryChange| {
        entries.iter().filter(|entry| entry.hidden_in.is_none() && entry.change == change).count()
    };
    parts.extend(counted(of(EntryChange::Added), "path added", "paths added"));
    parts.extend(counted(of(EntryChange::Removed), "path removed", "paths removed"));
    parts.extend(counted(of(EntryChange::Changed), "path changed", "paths changed"));
    let hidden = entries.iter().filter(|entry| entry.hidden_in.is_some()).count();
    parts.extend(counted(hidden, "path that a later layer hides", "paths that later layers hide"));
    format!("they differ: {}", parts.join(", "))
}

fn counted(count: usize, one: &str, several: &str) -> Option<String> {
    match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        _ => Some(format!("{count} {several}")),
    }
}

struct Page {
    text: String,
    paint: Paint,
}

impl Page {
    fn line(&mut self, depth: usize, text: &str) {
        self.text.push_str(&"  ".repeat(depth));
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn title(&mut self, text: &str) {
        let text = self.paint.wrap(BOLD, text);
        self.text.push('\n');
        self.line(0, &text);
    }

    fn side(&mut self, letter: &str, colour: &str, side: &Side) {
        let letter = self.paint.wrap(colour, letter);
        let name = escape(side.name.as_bytes());
        let digest = side.digest.as_deref().filter(|digest| !name.contains(*digest)).unwrap_or_default();
        let digest = digest.get(..19).unwrap_or(digest);
        let line = format!("{letter} {name}  {}", self.paint.wrap(DIM, digest));
        self.line(0, line.trim_end());
    }

    fn ignored(&mut self, ignored: &BTreeMap<Kind, u64>) {
        if ignored.is_empty() {
            return;
        }
        let parts: Vec<String> = ignored.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let line = self.paint.wrap(DIM, &format!("ignored: {}", parts.join(", ")));
        self.text.push('\n');
        self.line(0, &line);
    }

    fn fields(&mut self, title: &str, fields: Vec<&Field>) {
        if fields.is_empty() {
            return;
        }
        self.title(title);
        let width = fields.iter().map(|field| field.name.len()).max().unwrap_or(0).min(40);
        for field in fields.iter().take(MAX_FIELDS) {
            let name = escape(field.name.as_bytes());
            let line = format!("{} {name:width$}  {}", self.mark(change_of(field)), self.values(field));
            self.line(1, &line);
        }
        self.more(fields.len(), MAX_FIELDS);
    }

    fn more(&mut self, count: usize, shown: usize) {
        if count > shown {
            self.line(1, &format!("… and {} more: --format json has all", count - shown));
        }
    }

    fn mark(&self, change: EntryChange) -> String {
        match change {
            EntryChange::Added => self.paint.wrap(GREEN, "+"),
            EntryChange::Removed => self.paint.wrap(RED, "-"),
            EntryChange::Changed => self.paint.wrap(YELLOW, "~"),
        }
    }

    fn values(&self, field: &Field) -> String {
        let (one, other) = (value(&field.a, &field.b), value(&field.b, &field.a));
        match change_of(field) {
            EntryChange::Added => self.paint.wrap(GREEN, &other),
            EntryChange::Removed => self.paint.wrap(RED, &one),
            EntryChange::Changed => {
                format!("{} → {}", self.paint.wrap(RED, &one), self.paint.wrap(GREEN, &other))
            }
        }
    }

    fn images(&mut self, images: &Images, several: bool) {
        let platform = images.platform.as_deref().unwrap_or_default();
        match (&images.a, &images.b) {
            (Some(_), None) => {
                self.title(&format!("{platform}: only A has an image"));
                return;
            }
            (None, Some(_)) => {
                self.title(&format!("{platform}: only B has an image"));
                return;
            }
            (_, _) if several => self.title(platform),
            (_, _) => {}
        }
        for (level, title) in
            [(Level::Manifest, "manifest"), (Level::Config, "config"), (Level::History, "history")]
        {
            self.fields(title, images.fields.iter().filter(|field| field.level == level).collect());
        }
        self.layers(&images.layers);
        let (seen, hidden): (Vec<&Entry>, Vec<&Entry>) =
            images.entries.iter().partition(|entry| entry.hidden_in.is_none());
        self.entries("files", &seen);
        self.entries("hidden by later layers", &hidden);
        if images.unread > 0 {
            self.line(
                1,
                &format!("the contents of {} more files differ and were not looked into", images.unread),
            );
        }
    }

    fn layers(&mut self, rows: &[LayerRow]) {
        if rows.iter().all(|row| row.change == LayerChange::Same) {
            return;
        }
        self.title("layers");
        let mut same: Vec<&LayerRow> = Vec::new();
        for row in rows {
            if row.change == LayerChange::Same {
                same.push(row);
                continue;
            }
            self.same_layers(&mut same);
            self.row(row);
        }
        self.same_layers(&mut same);
    }

    fn same_layers(&mut self, same: &mut Vec<&LayerRow>) {
        let number = |row: &LayerRow| row.b.first().map_or(0, |layer| layer.number);
        let line = match &same[..] {
            [] => return,
            [one] => format!("= {}  the same", number(one)),
            [first, .., last] => format!("= {}–{}  the same", number(first), number(last)),
        };
        let line = self.paint.wrap(DIM, &line);
        self.line(1, &line);
        same.clear();
    }

    fn row(&mut self, row: &LayerRow) {
        let (one, other) = (numbers(&row.a), numbers(&row.b));
        let which = match (one.is_empty(), other.is_empty()) {
            (false, false) if one != other => format!("{one} → {other}"),
            (true, _) => other,
            (false, _) => one,
        };
        let (mark, what) = match row.change {
            LayerChange::Same => return,
            LayerChange::Recompressed => (EntryChange::Changed, packed(row)),
            LayerChange::Moved => (EntryChange::Changed, "the same at another place".to_owned()),
            LayerChange::Reordered => (EntryChange::Changed, "the same files in another order".to_owned()),
            LayerChange::Rewritten => (EntryChange::Changed, "the same files in another tar".to_owned()),
            LayerChange::Changed if row.differences == 0 => {
                (EntryChange::Changed, "differs only in what is ignored".to_owned())
            }
            LayerChange::Changed if row.differences == 1 => {
                (EntryChange::Changed, "1 path differs".to_owned())
            }
            LayerChange::Changed => (EntryChange::Changed, format!("{} paths differ", row.differences)),
            LayerChange::Inserted => (EntryChange::Added, format!("only in B{}", size(&row.b))),
            LayerChange::Removed => (EntryChange::Removed, format!("only in A{}", size(&row.a))),
            LayerChange::Merged => (EntryChange::Changed, "layers of A are one in B".to_owned()),
            LayerChange::Split => (EntryChange::Changed, "one layer of A is several in B".to_owned()),
        };
        let line = row.b.last().or(row.a.last()).and_then(|layer| layer.created_by.as_deref());
        let line =
            line.map(|line| format!("  {}", self.paint.wrap(DIM, &cut(&escape(line.as_bytes()), MAX_VALUE))));
        let text = format!("{} {which}  {what}{}", self.mark(mark), line.unwrap_or_default());
        self.line(1, &text);
    }

    fn entries(&mut self, title: &str, entries: &[&Entry]) {
        if entries.is_empty() {
            return;
        }
        self.title(title);
        let (mut at, mut shown) = (0, 0);
        while at < entries.len() && shown < MAX_PATHS {
            let entry = entries[at];
            let below = below(entries, at);
            self.entry(entry, &entries[at + 1..at + 1 + below]);
            at += 1 + below;
            shown += 1;
        }
        if at < entries.len() {
            self.line(1, &format!("… and {} more: --format json has all", entries.len() - at));
        }
    }

    /// One path; of a whole directory that only one side has, what is in it as a number.
    fn entry(&mut self, entry: &Entry, within: &[&Entry]) {
        let facts = match (&entry.a, &entry.b) {
            (Some(_), Some(_)) => entry
                .fields
                .iter()
                .filter(|field| field.name != "content")
                .map(|field| format!("{} {}", escape(field.name.as_bytes()), self.values(field)))
                .collect::<Vec<_>>()
                .join(", "),
            (node, other) => {
                let node = node.as_ref().or(other.as_ref());
                let facts = node.map(facts).unwrap_or_default();
                let within = match within.len() {
                    0 => String::new(),
                    count => {
                        let bytes = within.iter().filter_map(|e| e.b.as_ref().or(e.a.as_ref())?.size).sum();
                        format!(", with {count} below, {}", human(bytes))
                    }
                };
                self.paint.wrap(DIM, &(facts + &within))
            }
        };
        let line = format!("{} {}  {facts}", self.mark(entry.change), entry.path);
        self.line(1, line.trim_end());
        if let Some(difference) = &entry.content {
            body::difference(self, difference, 3);
        } else if entry.fields.iter().any(|field| field.name == "content") {
            self.line(3, "the bytes differ");
        }
    }
}

/// How many of the next entries lie below this one and share its fate.
fn below(entries: &[&Entry], at: usize) -> usize {
    let entry = entries[at];
    let is_dir = |node: &Option<Node>| node.as_ref().is_none_or(|node| node.kind == NodeKind::Directory);
    if entry.change == EntryChange::Changed || !is_dir(&entry.a) || !is_dir(&entry.b) {
        return 0;
    }
    let inside = format!("{}/", entry.path.trim_end_matches('/'));
    let rest = &entries[at + 1..];
    rest.iter().take_while(|e| e.change == entry.change && e.path.starts_with(&inside)).count()
}

fn change_of(field: &Field) -> EntryChange {
    match (&field.a, &field.b) {
        (Value::Null, _) => EntryChange::Added,
        (_, Value::Null) => EntryChange::Removed,
        (_, _) => EntryChange::Changed,
    }
}

/// A value on one line, cut around where it differs from the other.
fn value(own: &Value, other: &Value) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => escape(text.as_bytes()),
        Value::Null => "none".to_owned(),
        other => escape(other.to_string().as_bytes()),
    };
    let (own, other) = (text(own), text(other));
    let own: Vec<char> = own.chars().collect();
    if own.len() <= MAX_VALUE {
        return own.into_iter().collect();
    }
    let common = own.iter().zip(other.chars()).take_while(|(a, b)| **a == *b).count();
    let from = common.saturating_sub(MAX_VALUE / 3).min(own.len() - MAX_VALUE);
    let part: String = own[from..from + MAX_VALUE].iter().collect();
    let before = if from > 0 { "…" } else { "" };
    let after = if from + MAX_VALUE < own.len() { "…" } else { "" };
    format!("{before}{part}{after}")
}

fn cut(text: &str, most: usize) -> String {
    let mut short: String = text.chars().take(most).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// What a path is, in short.
fn facts(node: &Node) -> String {
    let kind = match node.kind {
        NodeKind::Directory => "directory",
        NodeKind::File => "file",
        NodeKind::Hardlink => "hard link",
        NodeKind::Symlink => "symlink",
        NodeKind::CharDevice => "character device",
        NodeKind::BlockDevice => "block device",
        NodeKind::Fifo => "fifo",
        NodeKind::Whiteout => return "whiteout".to_owned(),
        NodeKind::Opaque => return "opaque mark".to_owned(),
    };
    let target = node.target.as_ref().map(|target| match node.kind {
        NodeKind::CharDevice | NodeKind::BlockDevice => format!(" {target}"),
        _ => format!(" to {target}"),
    });
    let size = node.size.map(|size| format!(", {}", human(size))).unwrap_or_default();
    format!("{kind}{} {} {}:{}{size}", target.unwrap_or_default(), node.mode, node.uid, node.gid)
}

fn numbers(layers: &[LayerFacts]) -> String {
    match layers {
        [] => String::new(),
        [one] => one.number.to_string(),
        several => several.iter().map(|layer| layer.number.to_string()).collect::<Vec<_>>().join("+"),
    }
}

fn size(layers: &[LayerFacts]) -> String {
    let bytes: Option<u64> = layers.iter().map(|layer| layer.size).sum();
    bytes.map(|bytes| format!(", {}", human(bytes))).unwrap_or_default()
}

/// How a layer is packed on both sides.
fn packed(row: &LayerRow) -> String {
    let packing = |layers: &[LayerFacts]| {
        let media_type = layers.first().and_then(|layer| layer.media_type.as_deref()).unwrap_or_default();
        match media_type {
            text if text.ends_with("gzip") => "gzip",
            text if text.ends_with("zstd") => "zstd",
            _ => "not packed",
        }
    };
    let (one, other) = (packing(&row.a), packing(&row.b));
    match one == other {
        true => format!("the same, packed otherwise ({one})"),
        false => format!("the same, packed otherwise ({one} → {other})"),
    }
}
