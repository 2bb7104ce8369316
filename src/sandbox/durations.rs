//! Clocks of durations that begin with the program (time_namespaces(7)).

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags, openat};
use rustix::thread::UnshareFlags;
use rustix::time::{ClockId, clock_gettime};

use crate::sys;

/// The next process that this one starts finds CLOCK_MONOTONIC and CLOCK_BOOTTIME at so many seconds. `us` is the directory
/// of this process in a `/proc`. A kernel without such namespaces, or a machine that forbids them, leaves the clocks as they
/// are: a program then sees what is so.
pub(super) fn begin_at(seconds: i64, us: impl AsFd) {
    // Whoever reads it, the file is of the namespace of children: none but ours is to be written to.
    if sys::ns::unshare(UnshareFlags::NEWTIME).is_err() {
        return;
    }
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    if let Ok(offsets) = openat(us, c"timens_offsets", flags, Mode::empty()) {
        let lines = [("monotonic", ClockId::Monotonic), ("boottime", ClockId::Boottime)]
            .map(|(name, clock)| line(name, seconds, clock_gettime(clock)));
        // In one piece, as the kernel wants it.
        let _ = File::from(offsets).write_all(lines.concat().as_bytes());
    }
}

/// What is to be added to a clock that shows `now`: seconds, of any sign, and nanoseconds, of none.
fn line(name: &str, seconds: i64, now: rustix::time::Timespec) -> String {
    let (behind, rest) = if now.tv_nsec == 0 { (0, 0) } else { (1, 1_000_000_000 - now.tv_nsec) };
    format!("{name} {} {rest}\n", seconds - now.tv_sec - behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_and_clock_are_the_seconds_that_it_is_to_show() {
        let at = |tv_sec, tv_nsec| line("monotonic", 100, rustix::time::Timespec { tv_sec, tv_nsec });
        assert_eq!(at(100, 0), "monotonic 0 0\n");
        assert_eq!(at(1_000, 250_000_000), "monotonic -901 750000000\n");
        assert_eq!(at(7, 999_999_999), "monotonic 92 1\n");
    }
}
