//! Names for containers that were given none.

use super::ContainerError;
use crate::store::ContainerId;

const FIRST: [&str; 48] = [
    "amber", "ample", "azure", "bold", "brave", "brisk", "calm", "clear", "clever", "crisp", "deft", "eager",
    "early", "fair", "fleet", "fond", "gentle", "glad", "grand", "hardy", "keen", "kind", "lucid", "merry",
    "mild", "neat", "noble", "plain", "proud", "quick", "quiet", "rapid", "ready", "sharp", "shy", "silver",
    "sleek", "smart", "solid", "sound", "stout", "sturdy", "swift", "tidy", "vivid", "warm", "wise", "witty",
];
/// Stones and what is made of them.
const SECOND: [&str; 48] = [
    "agate", "arch", "basalt", "beryl", "boulder", "brick", "cairn", "chalk", "clay", "cliff", "cobble",
    "coral", "crag", "dolmen", "dolomite", "dune", "ember", "flint", "garnet", "gneiss", "granite", "gravel",
    "jade", "jasper", "keystone", "lava", "ledge", "lime", "lintel", "marble", "marl", "menhir", "mica",
    "obelisk", "onyx", "opal", "pebble", "pillar", "quartz", "ridge", "sand", "scree", "shale", "slate",
    "talus", "topaz", "tuff", "vault",
];

/// Names of a container in the order in which they are tried. The last cannot be taken.
pub fn random(id: &ContainerId) -> impl Iterator<Item = String> + use<> {
    let digits: Vec<usize> = id.as_str().bytes().map(|b| usize::from(b) - usize::from(b'0')).collect();
    let pick = move |at: usize, list: &[&'static str; 48]| {
        list[digits[at..at + 4].iter().fold(0, |sum, digit| sum * 97 + digit) % list.len()]
    };
    let id = id.clone();
    let plain = (0..6).map(move |turn| format!("{}_{}", pick(turn * 8, &FIRST), pick(turn * 8 + 4, &SECOND)));
    plain.chain(std::iter::once_with(move || format!("c_{id}")))
}

/// Whether a name is made of what docker allows in one.
pub fn is_plain(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
    first && name.len() <= 200 && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// Whether a name may be given to a container: docker's rule.
pub fn check(name: &str) -> Result<(), ContainerError> {
    if is_plain(name) && name.len() >= 2 {
        return Ok(());
    }
    Err(ContainerError::BadName { name: name.chars().take(100).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names() {
        let id = ContainerId::random().unwrap();
        let names: Vec<String> = random(&id).collect();
        assert_eq!(names.len(), 7);
        names.iter().for_each(|name| check(name).unwrap());
        for bad in ["", "a", "-ab", "a/b", "a b", "../x", "ä1", &"a".repeat(201)] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
