//! Work under locks, several pieces at once, on threads of their own.
//!
//! Never on rayon's: a thread of its pool that waits for a piece of its work takes up another meanwhile, and if that asks
//! for the lock that the thread holds, it waits for itself.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::StoreError;

/// Whether this thread may hold a lock of the store while it works.
pub(super) fn may_lock() -> bool {
    rayon::current_thread_index().is_none()
}

/// Does the same to each of a list; gives what came of each, in order, or the first error. After one nothing is begun.
pub(super) fn each<T: Sync, R: Send>(
    list: &[T],
    at_once: usize,
    work: impl Fn(&T) -> Result<R, StoreError> + Sync,
) -> Result<Vec<R>, StoreError> {
    if let [] | [_] = list {
        return list.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<R, StoreError>)>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..at_once.clamp(1, list.len()) {
            scope.spawn(|| {
                while let Some((at, item)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    list.get(at).map(|item| (at, item))
                } {
                    let result = work(item);
                    if result.is_err() {
                        next.store(list.len(), Ordering::Relaxed);
                    }
                    done.lock().expect("no panic while held").push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no panic while held");
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order_and_the_first_error_is_told() {
        let list: Vec<u64> = (0..100).collect();
        assert_eq!(each(&list, 4, |at| Ok(at * 2)).unwrap()[99], 198);
        let failed = |at: &u64| match at % 40 {
            39 => Err(StoreError::MissingImage(at.to_string())),
            _ => Ok(()),
        };
        assert_eq!(each(&list, 4, failed).unwrap_err().to_string(), "image 39 is not in the store");
        assert!(each(&[], 4, failed).unwrap().is_empty());
    }

    #[test]
    fn it_is_never_done_on_a_thread_of_the_pool() {
        assert!(each(&[1, 2, 3], 2, |_| Ok(may_lock())).unwrap().into_iter().all(|may| may));
    }
}
