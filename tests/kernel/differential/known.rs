//! The list of known differences: `known.txt` beside the cases.
//!
//! A line `[reason]` begins a group, which `spec/dockerfile.md` explains under the same name. Every other line is
//! `case builder,builder field`. Fields are those of a [`super::image::Difference`]; `fails TEXT`: the builder cannot
//! build the case and says so in these words; `builds`: it builds what lith refuses.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::builder::Peer;
use super::case;

/// One line for one builder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    pub case: String,
    pub peer: Peer,
    pub field: String,
}

/// Differences that are expected; what was met is taken off.
pub struct Known {
    lines: BTreeMap<Line, ()>,
    pub reasons: Vec<String>,
}

impl Known {
    pub fn read() -> Self {
        let text = std::fs::read_to_string(case::data().join("known.txt")).unwrap();
        let mut known = Self { lines: BTreeMap::new(), reasons: Vec::new() };
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                Some(reason) => known.reasons.push(reason.to_owned()),
                None => known.add(line),
            }
        }
        known
    }

    fn add(&mut self, line: &str) {
        assert!(!self.reasons.is_empty(), "{line}: stands under no reason");
        let [case, peers, field] = line.splitn(3, ' ').collect::<Vec<_>>().try_into().expect("three words");
        for peer in peers.split(',') {
            let peer = Peer::named(peer).unwrap_or_else(|| panic!("{line}: no builder {peer}"));
            let line = Line { case: case.to_owned(), peer, field: field.to_owned() };
            assert!(
                self.lines.insert(line, ()).is_none(),
                "twice in the list: {case} {} {field}",
                peer.name()
            );
        }
    }

    /// Whether a difference is on the list.
    pub fn meets(&mut self, line: &Line) -> bool {
        self.lines.remove(line).is_some()
    }

    /// Whether a failure with this message is on the list.
    pub fn meets_failure(&mut self, case: &str, peer: Peer, message: &str) -> bool {
        let said = |line: &Line| line.field.strip_prefix("fails ").is_some_and(|text| message.contains(text));
        let found = self.lines.keys().find(|line| line.case == case && line.peer == peer && said(line));
        let found = found.cloned();
        found.is_some_and(|line| self.meets(&line))
    }

    /// What is on the list and was not met.
    pub fn rest(self) -> Vec<Line> {
        self.lines.into_keys().collect()
    }
}

/// Lines as the list has them, equal ones of several builders in one.
pub fn listed(lines: impl IntoIterator<Item = (Line, String)>) -> String {
    let mut grouped: BTreeMap<(String, String), (Vec<&str>, String)> = BTreeMap::new();
    for (line, values) in lines {
        let group = grouped.entry((line.case, line.field)).or_default();
        group.0.push(line.peer.name());
        if !values.is_empty() {
            let _ = write!(group.1, "\n    # {}: {values}", line.peer.name());
        }
    }
    let shown = |((case, field), (peers, values)): ((String, String), (Vec<&str>, String))| {
        format!("{case} {} {field}{values}\n", peers.join(","))
    };
    grouped.into_iter().map(shown).collect()
}
