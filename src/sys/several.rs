//! The same done to several things at once by threads of their own: because they mostly wait, or because they hold locks.
//!
//! A thread of rayon's pool that waits for a piece of its work takes up another meanwhile. If that asks for a lock that the
//! thread holds, it waits for itself; so whoever works under a lock does it here.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Does `act` to each thing, on so many threads; gives the results in the order of the things. After a failure none is begun;
/// the first of those that failed, in that order, is given.
pub fn each<I: Sync, T: Send, E: Send>(
    threads: usize,
    things: &[I],
    act: impl Fn(&I) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    if let [] | [_] = things {
        return things.iter().map(act).collect();
    }
    let next = AtomicUsize::new(0);
    let results: Mutex<BTreeMap<usize, Result<T, E>>> = Mutex::default();
    let has_failed = || results.lock().expect("no panic while held").values().any(Result::is_err);
    thread::scope(|scope| {
        for _ in 0..threads.clamp(1, things.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(thing) = things.get(at).filter(|_| !has_failed()) else { return };
                    let result = act(thing);
                    results.lock().expect("no panic while held").insert(at, result);
                }
            });
        }
    });
    results.into_inner().expect("no panic while held").into_values().collect()
}

/// Whether this thread may hold a lock while it works.
pub fn may_lock() -> bool {
    rayon::current_thread_index().is_none()
}

/// Does something on one processor, and lets what it starts have that one alone. Where processors cannot be chosen it has
/// all.
pub fn on_one_processor<T>(act: impl FnOnce() -> T) -> T {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let Ok(all) = sched_getaffinity(None) else { return act() };
    let first = (0..CpuSet::MAX_CPU).find(|number| all.is_set(*number)).unwrap_or(0);
    let mut one = CpuSet::new();
    one.set(first);
    let chosen = sched_setaffinity(None, &one);
    let done = act();
    if chosen.is_ok() {
        // It was so before.
        let _ = sched_setaffinity(None, &all);
    }
    done
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn several_at_once_in_order_until_one_fails() {
        // Each waits for three others, so it ends only if four are on their way.
        let barrier = Barrier::new(4);
        let all: Vec<usize> = (0..8).collect();
        let doubled: Result<Vec<usize>, ()> = each(4, &all, |number| {
            barrier.wait();
            Ok(number * 2)
        });
        assert_eq!(doubled.unwrap(), [0, 2, 4, 6, 8, 10, 12, 14]);
        let begun = Mutex::new(Vec::new());
        let failed = each(1, &all, |number| {
            begun.lock().unwrap().push(*number);
            if *number == 2 { Err("two") } else { Ok(()) }
        });
        assert_eq!((failed, begun.into_inner().unwrap()), (Err("two"), vec![0, 1, 2]));
        assert_eq!(each(4, &[], |_: &()| Err::<(), _>("none")), Ok(Vec::new()));
    }

    #[test]
    fn no_thread_of_the_pool_does_it() {
        assert_eq!(each(2, &[1, 2, 3], |_| Ok::<bool, ()>(may_lock())), Ok(vec![true; 3]));
        assert!(!rayon::join(may_lock, || ()).0);
    }
}
