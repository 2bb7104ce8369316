//! Two lists laid side by side: what is the same in both, in the same order, stands together.

/// The longest list that is aligned by the exact method; a longer one is only stripped of what is equal at both ends.
const MAX: usize = 2000;

/// Pairs of positions in order. A position of only one side is alone. Positions that are not the same are paired in turn
/// where as many stand on both sides between two that are.
pub(super) fn aligned<T: PartialEq>(a: &[T], b: &[T]) -> Vec<(Option<usize>, Option<usize>)> {
    let mut pairs = Vec::new();
    let (mut i, mut j) = (0, 0);
    for (x, y) in common(a, b).into_iter().chain([(a.len(), b.len())]) {
        if x - i == y - j {
            pairs.extend((i..x).zip(j..y).map(|(i, j)| (Some(i), Some(j))));
        } else {
            pairs.extend((i..x).map(|i| (Some(i), None)));
            pairs.extend((j..y).map(|j| (None, Some(j))));
        }
        if x < a.len() {
            pairs.push((Some(x), Some(y)));
        }
        (i, j) = (x + 1, y + 1);
    }
    pairs
}

/// The longest common subsequence.
pub(super) fn common<T: PartialEq>(a: &[T], b: &[T]) -> Vec<(usize, usize)> {
    let head = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (rest_a, rest_b) = (&a[head..], &b[head..]);
    let tail = rest_a.iter().rev().zip(rest_b.iter().rev()).take_while(|(x, y)| x == y).count();
    let (mid_a, mid_b) = (&rest_a[..rest_a.len() - tail], &rest_b[..rest_b.len() - tail]);
    let mut pairs: Vec<(usize, usize)> = (0..head).map(|at| (at, at)).collect();
    if mid_a.len() <= MAX && mid_b.len() <= MAX {
        pairs.extend(longest(mid_a, mid_b).into_iter().map(|(i, j)| (head + i, head + j)));
    }
    pairs.extend((0..tail).map(|at| (a.len() - tail + at, b.len() - tail + at)));
    pairs
}

fn longest<T: PartialEq>(a: &[T], b: &[T]) -> Vec<(usize, usize)> {
    let width = b.len() + 1;
    // The length of the longest for what is behind each pair of positions.
    let mut length = vec![0u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            length[i * width + j] = match a[i] == b[j] {
                true => length[(i + 1) * width + j + 1] + 1,
                false => length[(i + 1) * width + j].max(length[i * width + j + 1]),
            };
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < a.len() && j < b.len() {
        if a[i] == b[j] {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if length[(i + 1) * width + j] >= length[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_does_not_shift_the_rest() {
        let pairs = aligned(b"abcd", b"abxcd");
        assert_eq!(
            pairs,
            [(Some(0), Some(0)), (Some(1), Some(1)), (None, Some(2)), (Some(2), Some(3)), (Some(3), Some(4))]
        );
        assert_eq!(aligned(b"axc", b"ayc"), [(Some(0), Some(0)), (Some(1), Some(1)), (Some(2), Some(2))]);
        assert_eq!(aligned(b"", b"ab"), [(None, Some(0)), (None, Some(1))]);
        assert_eq!(common(b"abcab", b"xabab"), [(0, 1), (1, 2), (3, 3), (4, 4)]);
    }
}
