//! The chain of steps that takes longest: however many run at once, a build from nothing takes no less.

use super::Step;

/// The chain, first to last; empty if no time is known.
pub(super) fn path(steps: &[Step]) -> Vec<usize> {
    let mut until: Vec<u64> = Vec::with_capacity(steps.len());
    let mut before: Vec<Option<usize>> = Vec::with_capacity(steps.len());
    for step in steps {
        // Of equals the first, so that the same plan always gives the same chain.
        let longest = step.needs.iter().copied().max_by_key(|need| (until[*need], usize::MAX - need));
        until.push(longest.map_or(0, |need| until[need]).saturating_add(step.micros.unwrap_or(0)));
        before.push(longest);
    }
    let last = (0..steps.len()).max_by_key(|step| (until[*step], usize::MAX - step));
    let mut at = last.filter(|step| until[*step] > 0);
    let mut chain = Vec::new();
    while let Some(step) = at {
        chain.push(step);
        at = before[step];
    }
    chain.reverse();
    chain
}

#[cfg(test)]
mod tests {
    use super::super::tests::drawing;

    #[test]
    fn the_chain_that_takes_longest_is_found() {
        let mut drawing = drawing(3, 2);
        let times = [5, 1, 1, 1, 9, 1];
        let needs: [&[usize]; 6] = [&[], &[0], &[], &[2], &[1, 3], &[4]];
        for (step, (time, needs)) in drawing.steps.iter_mut().zip(times.into_iter().zip(needs)) {
            (step.micros, step.needs) = (Some(time), needs.to_vec());
        }
        assert_eq!(super::path(&drawing.steps), [0, 1, 4, 5]);
        drawing.steps.iter_mut().for_each(|step| step.micros = None);
        assert!(super::path(&drawing.steps).is_empty());
    }
}
