//! Waiting until a moment of a clock that stands (spec/world.md, "Waiting").
//!
//! A program that waits until a moment counts from what the clock shows. The kernel would count from the real clock, on
//! which that moment is long gone. So such a call is held for as long as its caller meant.

use rustix::event::Timespec;
use rustix::io::Errno;

use crate::sys;
use crate::sys::seccomp::{Answer, Notification};

use super::super::supervisor::{Calls, Refusal, low, number};
use super::clock::Clock;

/// How often is looked whether what a futex waits for has come, in nanoseconds.
const LOOK: i64 = 2_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// clock_nanosleep(clock, flags, *moment, *rest)
    Sleep,
    /// futex(*word, operation, value, *moment, …)
    Futex,
}

struct Held {
    call: Notification,
    ask: Ask,
    /// On the clock that stamps files, in nanoseconds.
    until: i64,
}

#[derive(Default)]
pub(super) struct Waits(Vec<Held>);

impl Waits {
    /// Holds a call, or says at once what becomes of it.
    pub(super) fn hold(
        &mut self,
        calls: &Calls,
        call: Notification,
        ask: Ask,
        clock: &Clock,
    ) -> Result<Option<Answer>, Refusal> {
        let [_, _, third, fourth, ..] = call.arguments;
        let address = match ask {
            Ask::Sleep => third,
            Ask::Futex => fourth,
        };
        // It waits for ever; no clock has a say in it.
        if address == 0 {
            return Ok(Some(Answer::Kernel));
        }
        let mut moment = [0; 16];
        let count = sys::memory::read(number(call)?, address, &mut moment)?;
        if count < moment.len() || !calls.waits(call) {
            return Err(Refusal::NotOurs);
        }
        let word = |at: usize| i64::from_ne_bytes(moment[at..at + 8].try_into().expect("eight bytes"));
        let (seconds, nanoseconds) = (word(0), word(8));
        if seconds < 0 || !(0..1_000_000_000).contains(&nanoseconds) {
            return Ok(Some(Answer::Kernel));
        }
        let moment = seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds);
        let rest = moment.saturating_sub(clock.nanos());
        if rest <= 0 {
            return Ok(Some(over(ask)));
        }
        if ask == Ask::Futex && has_changed(call)? {
            return Ok(Some(Answer::Failed(Errno::AGAIN)));
        }
        self.0.push(Held { call, ask, until: sys::clock::monotonic_nanos().saturating_add(rest) });
        Ok(None)
    }

    /// How long until somebody is to be looked after.
    pub(super) fn pause(&self) -> Option<Timespec> {
        let now = sys::clock::monotonic_nanos();
        let next = |held: &Held| match held.ask {
            Ask::Sleep => held.until.saturating_sub(now).max(0),
            Ask::Futex => held.until.saturating_sub(now).clamp(0, LOOK),
        };
        let pause = self.0.iter().map(next).min()?;
        Some(Timespec { tv_sec: pause / 1_000_000_000, tv_nsec: pause % 1_000_000_000 })
    }

    /// Answers those who waited long enough, or whose futex changed. Those who were interrupted are forgotten.
    pub(super) fn answer(&mut self, calls: &Calls) {
        let now = sys::clock::monotonic_nanos();
        self.0.retain(|Held { call, ask, until }| {
            if !calls.waits(*call) {
                return false;
            }
            let answer = match ask {
                _ if now >= *until => over(*ask),
                Ask::Futex if has_changed(*call).unwrap_or(true) => Answer::Failed(Errno::AGAIN),
                Ask::Futex | Ask::Sleep => return true,
            };
            let _ = sys::seccomp::answer(&calls.listener, *call, answer);
            false
        });
    }
}

/// What is said at the end of the time.
fn over(ask: Ask) -> Answer {
    match ask {
        Ask::Sleep => Answer::Done,
        Ask::Futex => Answer::Failed(Errno::TIMEDOUT),
    }
}

/// Whether a futex is no longer what its caller saw: whoever wakes waiters changes it first.
fn has_changed(call: Notification) -> rustix::io::Result<bool> {
    let [address, _, expected, ..] = call.arguments;
    let mut word = [0; 4];
    let count = sys::memory::read(number(call)?, address, &mut word)?;
    Ok(count < word.len() || u32::from_ne_bytes(word) != low(expected))
}
