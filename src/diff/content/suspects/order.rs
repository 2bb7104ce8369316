//! The same lines in another order: whether they were sorted otherwise, mixed otherwise, or neither.

use std::collections::HashMap;

use super::Class;

/// Lines on both sides, of which the same may stand at other places.
pub struct Order {
    /// What it speaks for.
    pub class: Class,
    /// A line of the first place that differs, and what is there on the other side.
    pub first: (usize, usize),
}

/// Says why lines stand in another order; none if they are not the same lines, or in the same order.
pub fn reordered(a: &[&[u8]], b: &[&[u8]]) -> Option<Order> {
    let places = places(a, b)?;
    let first = places.iter().enumerate().find(|(i, place)| *i != **place)?;
    let first = (first.0, first.0);
    let collated = |left: &[&[u8]], right: &[&[u8]]| left.is_sorted() && is_sorted_without_case(right);
    if a.len() >= 3 && (collated(a, b) || collated(b, a)) {
        return Some(Order { class: Class::Locale, first });
    }
    let class = if is_interleaved(&places) { Class::Parallelism } else { Class::Ordering };
    Some(Order { class, first })
}

/// Where each line of A stands in B, equal lines in their order.
fn places(a: &[&[u8]], b: &[&[u8]]) -> Option<Vec<usize>> {
    if a.len() != b.len() || a.len() < 2 {
        return None;
    }
    let mut at: HashMap<&[u8], std::collections::VecDeque<usize>> = HashMap::new();
    for (i, line) in b.iter().enumerate() {
        at.entry(line).or_default().push_back(i);
    }
    a.iter().map(|line| at.get_mut(line)?.pop_front()).collect()
}

/// As most languages sort: letters before case, punctuation not at all.
fn is_sorted_without_case(lines: &[&[u8]]) -> bool {
    let key = |line: &&[u8]| -> Vec<u8> {
        line.iter()
            .filter(|byte| byte.is_ascii_alphanumeric() || **byte >= 0x80)
            .map(u8::to_ascii_lowercase)
            .collect()
    };
    lines.is_sorted_by_key(key)
}

/// Whether a few writers, each in its own order, explain it: the permutation falls into far fewer ascending runs than a
/// shuffled one would, and they alternate. A block that moved as a whole has one seam only.
fn is_interleaved(places: &[usize]) -> bool {
    let seams = places.windows(2).filter(|pair| pair[1] < pair[0]).count();
    let writers = writers(places);
    seams >= 3 && places.len() >= 8 && writers * writers <= places.len() && writers * 2 <= seams + 1
}

/// The fewest ascending sequences that a permutation consists of: the length of its longest descending one (Dilworth).
fn writers(places: &[usize]) -> usize {
    let mut ends: Vec<usize> = Vec::new();
    for place in places {
        // The sequences' last places, descending; the first that is smaller takes this one.
        let taker = ends.partition_point(|end| end > place);
        match ends.get_mut(taker) {
            Some(end) => *end = *place,
            None => ends.push(*place),
        }
    }
    ends.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(a: &[&str], b: &[&str]) -> Option<Class> {
        let bytes =
            |lines: &[&str]| -> Vec<Vec<u8>> { lines.iter().map(|l| l.as_bytes().to_vec()).collect() };
        let (a, b) = (bytes(a), bytes(b));
        let refs = |lines: &[Vec<u8>]| -> Vec<&'static [u8]> {
            lines.iter().map(|line| &*Box::leak(line.clone().into_boxed_slice())).collect()
        };
        reordered(&refs(&a), &refs(&b)).map(|order| order.class)
    }

    #[test]
    fn shuffled_sorted_or_mixed() {
        assert_eq!(class(&["c", "a", "b"], &["b", "c", "a"]), Some(Class::Ordering));
        assert_eq!(class(&["B", "a", "c"], &["a", "B", "c"]), Some(Class::Locale));
        let a = ["a1", "b1", "a2", "b2", "a3", "b3", "a4", "b4", "a5", "b5"];
        let b = ["b1", "a1", "b2", "a2", "b3", "a3", "b4", "a4", "b5", "a5"];
        assert_eq!(class(&a, &b), Some(Class::Parallelism));
    }

    #[test]
    fn what_only_looks_like_it() {
        assert_eq!(class(&["a", "b"], &["a", "b"]), None);
        assert_eq!(class(&["a", "b", "b"], &["b", "a", "a"]), None, "other lines");
        // One block moved as a whole is no sign of two writers.
        let a = ["a1", "a2", "a3", "a4", "b1", "b2", "b3", "b4", "b5"];
        let b = ["b1", "b2", "b3", "b4", "b5", "a1", "a2", "a3", "a4"];
        assert_eq!(class(&a, &b), Some(Class::Ordering));
        // Sorted on the one side alone: a listing that was not sorted on the other.
        assert_eq!(class(&["a", "b", "c", "d"], &["b", "d", "a", "c"]), Some(Class::Ordering));
    }
}
