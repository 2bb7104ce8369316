//! The clock that stands, and where on it the times of files lie (spec/world.md, "Clock").

use rustix::io::Errno;

use crate::sys;
use crate::sys::seccomp::{Answer, Notification};

use super::super::supervisor::{Refusal, number};

/// The clock stands in the last thousandth of its second, so that no file of that second is from the future.
pub(super) const NANOSECOND: i64 = 999_000_000;
/// One that ticks stands after so many readings.
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "it does not tick there"))]
pub(super) const TICKS: i64 = 999_999;
/// The last nanosecond that a file may have.
pub(super) const LAST_OF_FILES: i64 = NANOSECOND - 1;
pub(super) const NANOSECONDS: i64 = 1_000_000_000;
/// Files of the same millisecond have the same time.
pub(super) const TICK: i64 = 1_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// clock_gettime(clock, *time)
    Clock,
    /// gettimeofday(*time, *zone)
    Day,
    /// time(*seconds)
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "no such call there"))]
    Seconds,
}

/// When a sandbox began, in nanoseconds since 1970 of the clock that stamps files.
#[derive(Debug, Clone, Copy)]
pub(in crate::sandbox) struct Begun(i64);

impl Begun {
    pub(in crate::sandbox) fn now() -> Self {
        Self(sys::clock::realtime_nanos())
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    second: i64,
    /// When the sandbox began, in nanoseconds since 1970: what is older was there before.
    start: i64,
}

impl Clock {
    /// Files that are written since then are of that second.
    pub(super) fn new(second: i64, begun: Begun) -> Self {
        Self { second, start: begun.0 }
    }

    pub(super) fn second(&self) -> i64 {
        self.second
    }

    /// When the sandbox began, in nanoseconds since 1970.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "init alone makes stamps true there"))]
    pub(super) fn start(&self) -> i64 {
        self.start
    }

    /// Whether it stands later than the sandbox began: then what it tells is no older than the run.
    pub(super) fn is_ahead(&self) -> bool {
        self.second > self.start.div_euclid(NANOSECONDS)
    }

    /// Nanoseconds since 1970 that the clock shows.
    pub(super) fn nanos(&self) -> i64 {
        self.second.saturating_mul(NANOSECONDS).saturating_add(NANOSECOND)
    }

    /// The time that a file is told to have which the kernel gave this one: (seconds, nanoseconds). The order of what is
    /// written stays, so that make(1) sees what is newer; `None` for a time that is not the kernel's own of this run.
    pub(super) fn of_file(&self, seconds: i64, nanoseconds: i64) -> Option<(i64, i64)> {
        if self.is_ahead() && seconds == self.second {
            // It was told so before.
            return None;
        }
        let real = seconds.checked_mul(NANOSECONDS)?.checked_add(nanoseconds)?;
        (real >= self.start).then(|| (self.second, ((real - self.start) / TICK + 1).min(LAST_OF_FILES)))
    }

    pub(super) fn answer(&self, ask: Ask, call: Notification) -> Result<Answer, Refusal> {
        let process = number(call)?;
        let [a, b, ..] = call.arguments;
        let write = |address: u64, words: [i64; 2], count: usize| {
            let bytes: Vec<u8> = words[..count].iter().flat_map(|word| word.to_ne_bytes()).collect();
            sys::memory::write(process, address, &bytes).map_err(|_| Errno::FAULT)
        };
        match ask {
            Ask::Clock => write(b, [self.second, NANOSECOND], 2)?,
            Ask::Day => {
                if a != 0 {
                    write(a, [self.second, NANOSECOND / 1000], 2)?;
                }
                if b != 0 {
                    // Two 32-bit numbers: no minutes west of Greenwich, no summer time.
                    write(b, [0, 0], 1)?;
                }
            }
            Ask::Seconds => {
                if a != 0 {
                    write(a, [self.second, 0], 1)?;
                }
                return Ok(Answer::Value(self.second));
            }
        }
        Ok(Answer::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_keep_their_order_and_are_never_from_the_future() {
        let clock = Clock { second: 7, start: 1_000 * NANOSECONDS };
        assert_eq!(clock.of_file(999, 999_999_999), None);
        assert_eq!(clock.of_file(1_000, 0), Some((7, 1)));
        assert_eq!(clock.of_file(1_000, 999_999), Some((7, 1)));
        assert_eq!(clock.of_file(1_000, 1_000_000), Some((7, 2)));
        assert_eq!(clock.of_file(1_001, 0), Some((7, 1_001)));
        assert_eq!(clock.of_file(i64::MAX, 0), None);
        let ahead = Clock { second: 2_000, ..clock };
        assert_eq!(ahead.of_file(1_500, 0), Some((2_000, 500_001)));
        assert_eq!(ahead.of_file(2_000, 500_001), None, "told once, it is not told again");
        let (seconds, nanoseconds) = clock.of_file(i64::MAX / NANOSECONDS, 0).unwrap();
        assert_eq!((seconds, nanoseconds), (7, LAST_OF_FILES));
        assert!(seconds * NANOSECONDS + nanoseconds < clock.nanos());
    }
}
