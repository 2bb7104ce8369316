//! Whether who is answered runs at once where its answer was made, or where the scheduler finds room.
//!
//! One that calls alone is answered soonest on the processor that it gave up. Of several that call in turn, each would be
//! drawn to where the last answer was made, and all of them would share one processor while others are idle.

use std::os::fd::OwnedFd;

use crate::sys;
use crate::sys::seccomp::{self, Notification};

/// So long somebody counts as calling, in nanoseconds: a few turns of the scheduler.
const RECENT: i64 = 3_000_000;

pub(super) struct Handover {
    /// What the kernel was told last.
    at_once: bool,
    turns: Turns,
}

/// The last two who called, and when the first of them called last.
#[derive(Debug, Default)]
struct Turns {
    last: u32,
    before: u32,
    changed: i64,
}

impl Turns {
    /// Whether somebody else calls as well, now that this one does.
    fn are_taken(&mut self, caller: u32, now: i64) -> bool {
        let back = caller == self.before && now.saturating_sub(self.changed) < RECENT;
        if caller != self.last {
            *self = Self { last: caller, before: self.last, changed: now };
        }
        back
    }
}

impl Handover {
    pub(super) fn new(listener: &OwnedFd) -> Self {
        seccomp::hand_over_at_once(listener, true);
        Self { at_once: true, turns: Turns::default() }
    }

    /// Chooses for the answer of this call.
    pub(super) fn choose(&mut self, listener: &OwnedFd, call: Notification) {
        let others = self.turns.are_taken(call.pid, sys::clock::monotonic_nanos());
        self.tell(listener, !others);
    }

    /// Whoever calls next gives its processor to the one who answers.
    pub(super) fn wait(&mut self, listener: &OwnedFd) {
        self.tell(listener, true);
    }

    fn tell(&mut self, listener: &OwnedFd, at_once: bool) {
        if self.at_once != at_once {
            seccomp::hand_over_at_once(listener, at_once);
            self.at_once = at_once;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_back_soon_is_not_alone() {
        let mut turns = Turns::default();
        let mut taken = |caller, now| turns.are_taken(caller, now);
        assert!(!taken(1, 0));
        assert!(!taken(1, 1));
        // Another one, which may have taken the first one's place.
        assert!(!taken(2, 2));
        assert!(taken(1, 3));
        assert!(taken(2, 4));
        assert!(!taken(1, 4 + RECENT));
        assert!(!taken(3, 5 + RECENT));
        assert!(!taken(4, 6 + RECENT));
    }
}
