//! The suspects of one comparison, counted by class.

use std::collections::BTreeMap;

use super::Class;
use crate::diff::content::{Difference, Suspect, shown};

/// What the order of an archive's members is called.
pub const ORDER_OF_MEMBERS: &str = "order of members";

/// Characters of each value in an example.
const WIDTH: usize = 60;

/// Classes with how often they were found, and the first example of each.
#[derive(Debug, Default)]
pub struct Findings {
    found: BTreeMap<Class, (u64, String)>,
}

impl Findings {
    /// One difference of a class, at a place, with both values.
    pub fn add(&mut self, class: Class, at: &str, a: &str, b: &str) {
        let entry = self.found.entry(class).or_default();
        entry.0 += 1;
        if entry.0 == 1 {
            let before = if at.is_empty() { String::new() } else { format!("{at} ") };
            entry.1 = format!("{before}{} | {}", short(a), short(b));
        }
    }

    /// What was found inside a part.
    pub fn take(&mut self, part: &str, difference: &Difference) {
        for Suspect { class, count, example, .. } in &difference.suspects {
            let entry = self.found.entry(*class).or_default();
            if entry.0 == 0 {
                entry.1 = format!("{part}: {example}");
            }
            entry.0 += count;
        }
    }

    pub fn has(&self, class: Class) -> bool {
        self.found.contains_key(&class)
    }

    /// The most frequent first.
    pub fn into_suspects(self) -> Vec<Suspect> {
        let suspect = |(class, (count, example)): (Class, (u64, String))| Suspect {
            class,
            count,
            example,
            fix: class.fix().to_owned(),
        };
        let mut suspects: Vec<Suspect> = self.found.into_iter().map(suspect).collect();
        suspects.sort_by_key(|suspect| (std::cmp::Reverse(suspect.count), suspect.class));
        suspects
    }
}

fn short(text: &str) -> String {
    let line = shown::line(text.trim().as_bytes());
    match line.char_indices().nth(WIDTH) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}
