//! What archives hold, matched by name: on one side only, in another order, other values, other contents.

use std::collections::BTreeMap;

use super::source::Source;
use super::suspects::{Class, Findings, ORDER_OF_MEMBERS};
use super::{Body, Change, Difference, Fault, Field, Found, Part, Scope, inside, ranges, shown};

/// The most members of one archive that are looked at.
pub const MOST: usize = 50_000;

/// One thing that an archive holds.
pub trait Member {
    /// Safe to show.
    fn name(&self) -> &str;
    /// Its values, always the same names in the same order.
    fn values(&self) -> Vec<Value>;
    /// Its bytes as they lie in the archive.
    fn raw(&self) -> &Source;
    /// How they are packed; the same bytes packed in the same way are the same content.
    fn packing(&self) -> u32 {
        0
    }
    /// Its bytes, unpacked.
    fn content(&self, _: &Scope<'_>) -> Result<Source, Fault> {
        Ok(self.raw().clone())
    }
    /// Whether it is code or packed, in which bytes look like anything and speak for no class.
    fn is_opaque(&self) -> bool {
        false
    }
}

/// A value of a member, and what it may be that makes it differ.
pub struct Value {
    pub name: &'static str,
    pub text: Option<String>,
    pub class: Option<Class>,
}

impl Value {
    pub fn new(name: &'static str, text: impl ToString) -> Self {
        Self { name, text: Some(text.to_string()), class: None }
    }

    pub fn maybe(name: &'static str, text: Option<String>) -> Self {
        Self { name, text, class: None }
    }

    pub fn of(self, class: Class) -> Self {
        Self { class: Some(class), ..self }
    }
}

/// Two lists of values that differ, as fields; what the names stand for goes to the findings.
pub fn fields(a: Vec<Value>, b: Vec<Value>, at: &str, findings: &mut Findings) -> Vec<Field> {
    let mut fields = Vec::new();
    for (a, b) in a.into_iter().zip(b).filter(|(a, b)| a.text != b.text) {
        if let (Some(class), Some(left), Some(right)) = (a.class, &a.text, &b.text) {
            findings.add(class, &format!("{at}{}", a.name), left, right);
        }
        fields.push(Field { name: a.name.to_owned(), a: a.text, b: b.text });
    }
    fields
}

/// Compares what two archives hold.
pub fn compare<M: Member>(
    format: &str,
    a: &[M],
    b: &[M],
    scope: &Scope<'_>,
    findings: &mut Findings,
) -> Result<Found, Fault> {
    let (left, right) = (numbered(a), numbered(b));
    let mut parts = Parts::new(scope);
    if let Some(part) = order(a, b, (&left, &right)) {
        findings.add(
            Class::Ordering,
            &format!("{ORDER_OF_MEMBERS}:"),
            &first(&part, true),
            &first(&part, false),
        );
        parts.push(part);
    }
    let keys = left.keys().chain(right.keys().filter(|key| !left.contains_key(*key)));
    for key in keys {
        let one = |change| Part { name: key.0.to_owned(), change, fields: Vec::new(), difference: None };
        match (left.get(key), right.get(key)) {
            (Some(_), None) => parts.push(one(Change::Removed)),
            (None, Some(_)) => parts.push(one(Change::Added)),
            (None, None) => {}
            (Some(i), Some(j)) => {
                if let Some(part) = both(&a[*i], &b[*j], scope, findings)? {
                    parts.push(part);
                }
            }
        }
    }
    Ok(parts.found(format, "member", "members"))
}

fn both<M: Member>(a: &M, b: &M, scope: &Scope<'_>, findings: &mut Findings) -> Result<Option<Part>, Fault> {
    let at = format!("{}: ", a.name());
    let fields = fields(a.values(), b.values(), &at, findings);
    let difference = match contents(a, b, scope)? {
        Contents::Same => None,
        Contents::PackedOtherwise => {
            let size = |member: &M| format!("{} bytes", member.raw().len());
            findings.add(Class::Compression, at.trim_end(), &size(a), &size(b));
            None
        }
        Contents::Differ(difference) => Some(difference),
    };
    if let Some(difference) = &difference {
        findings.take(a.name(), difference);
    }
    let changed = !fields.is_empty() || difference.is_some();
    let name = a.name().to_owned();
    Ok(changed.then_some(Part { name, change: Change::Changed, fields, difference }))
}

enum Contents {
    Same,
    PackedOtherwise,
    Differ(Box<Difference>),
}

fn contents<M: Member>(a: &M, b: &M, scope: &Scope<'_>) -> Result<Contents, Fault> {
    scope.budget.read(a.raw().len().saturating_add(b.raw().len()))?;
    if a.packing() == b.packing() && ranges::equal(a.raw(), b.raw())? {
        return Ok(Contents::Same);
    }
    let unpacked = a.content(scope).and_then(|left| Ok((left, b.content(scope)?)));
    let mut difference = match unpacked {
        Ok((left, right)) if ranges::equal(&left, &right)? => return Ok(Contents::PackedOtherwise),
        Ok((left, right)) => inside(a.name(), &left, &right, scope)?,
        Err(Fault::Io(error)) => return Err(error.into()),
        Err(Fault::Format(why)) => {
            let mut packed = inside("", a.raw(), b.raw(), scope)?;
            packed.notes.push(format!("compared packed: {why}"));
            packed.suspects.clear();
            packed
        }
    };
    if a.is_opaque() {
        difference.suspects.clear();
    }
    Ok(Contents::Differ(Box::new(difference)))
}

/// Members by name, those of one name by their turn.
fn numbered<M: Member>(members: &[M]) -> BTreeMap<(&str, u32), usize> {
    let mut turns: BTreeMap<&str, u32> = BTreeMap::new();
    let mut numbered = BTreeMap::new();
    for (index, member) in members.iter().enumerate() {
        let turn = turns.entry(member.name()).or_default();
        numbered.insert((member.name(), *turn), index);
        *turn += 1;
    }
    numbered
}

type Numbered<'a> = BTreeMap<(&'a str, u32), usize>;

/// The first members that stand elsewhere, of those that both have.
fn order<M: Member>(a: &[M], b: &[M], (left, right): (&Numbered<'_>, &Numbered<'_>)) -> Option<Part> {
    let common = |ours: &Numbered<'_>, theirs: &Numbered<'_>| {
        let mut found: Vec<usize> =
            ours.iter().filter(|(key, _)| theirs.contains_key(*key)).map(|(_, index)| *index).collect();
        found.sort_unstable();
        found
    };
    let (ours, theirs) = (common(left, right), common(right, left));
    let moved = ours.iter().zip(&theirs).enumerate().filter(|(_, (i, j))| a[**i].name() != b[**j].name());
    let fields: Vec<Field> = moved
        .take(5)
        .map(|(place, (i, j))| Field {
            name: format!("member {}", place + 1),
            a: Some(a[*i].name().to_owned()),
            b: Some(b[*j].name().to_owned()),
        })
        .collect();
    let name = ORDER_OF_MEMBERS.to_owned();
    (!fields.is_empty()).then_some(Part { name, change: Change::Changed, fields, difference: None })
}

fn first(part: &Part, left: bool) -> String {
    let values =
        part.fields.iter().filter_map(|field| if left { field.a.as_deref() } else { field.b.as_deref() });
    values.take(3).collect::<Vec<_>>().join(", ")
}

/// Parts up to a limit, and how many there are of each kind.
pub struct Parts<'a> {
    list: Vec<Part>,
    scope: &'a Scope<'a>,
    counts: [u64; 3],
}

impl<'a> Parts<'a> {
    pub const fn new(scope: &'a Scope<'a>) -> Self {
        Self { list: Vec::new(), scope, counts: [0; 3] }
    }

    pub fn push(&mut self, part: Part) {
        let kind = match part.change {
            Change::Removed => 0,
            Change::Added => 1,
            Change::Changed => 2,
        };
        self.counts[kind] += 1;
        if self.list.len() < self.scope.limits.text_lines && self.scope.budget.show(1 + part.fields.len()) > 0
        {
            self.list.push(part);
        }
    }

    /// A body of them with a line that counts.
    pub fn found(self, format: &str, one: &str, many: &str) -> Found {
        let [removed, added, changed] = self.counts;
        let total = removed + added + changed;
        let mut words = Vec::new();
        for (number, what) in [(removed, "only in A"), (added, "only in B"), (changed, "changed")] {
            if number > 0 {
                words.push(format!("{} {what}", shown::count(number, one, many)));
            }
        }
        let summary = match (words.is_empty(), self.list.as_slice()) {
            (true, _) => format!("the same {many}, written otherwise"),
            (false, [part]) if part.change == Change::Changed => sole(part, format),
            (false, _) => words.join(", "),
        };
        let left_out = total - self.list.len() as u64;
        let mut found = Found::new(format, summary, Body::Parts { parts: self.list });
        if left_out > 0 {
            found.notes.push(format!("{} more not shown", shown::count(left_out, one, many)));
        }
        found
    }
}

/// What is said where one part alone differs.
fn sole(part: &Part, format: &str) -> String {
    let mut names: Vec<&str> = part.fields.iter().map(|field| field.name.as_str()).collect();
    let more = format!("{} more", names.len().saturating_sub(3));
    if names.len() > 4 {
        names.splice(3.., [more.as_str()]);
    }
    match (&part.difference, names.is_empty()) {
        (Some(difference), true) => format!("{}: {}", part.name, difference.summary),
        (Some(difference), false) => format!("{}: {}; {}", part.name, names.join(", "), difference.summary),
        (None, false) => format!("{}: {}", part.name, names.join(", ")),
        (None, true) => format!("{} in the {format}", part.name),
    }
}
