//! Worlds in which a step is done once more, to see whether it comes out the same (spec/check.md).
//!
//! Owns: what can be made different, and what a hermetic step holds still by itself, so that no machine can.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// One thing that differs from machine to machine, or from day to day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Axis {
    /// The time of day, and that since the start of the machine.
    Clock,
    /// Everything random.
    Randomness,
    HostName,
    Umask,
    /// `TZ`.
    TimeZone,
    /// `LC_ALL` and `LANG`.
    Locale,
    /// How many processors there are said to be.
    Processors,
    /// How many it may really use.
    Parallelism,
    /// The order in which directories are listed.
    Listing,
    /// Numbers of processes.
    Processes,
    /// Where memory lies.
    Layout,
    /// The file system that it writes to: inode numbers, sizes of directories.
    Storage,
}

impl Axis {
    pub const ALL: [Self; 12] = [
        Self::Clock,
        Self::Randomness,
        Self::HostName,
        Self::Umask,
        Self::TimeZone,
        Self::Locale,
        Self::Processors,
        Self::Parallelism,
        Self::Listing,
        Self::Processes,
        Self::Layout,
        Self::Storage,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Randomness => "randomness",
            Self::HostName => "host name",
            Self::Umask => "umask",
            Self::TimeZone => "time zone",
            Self::Locale => "locale",
            Self::Processors => "processors",
            Self::Parallelism => "parallelism",
            Self::Listing => "listing order",
            Self::Processes => "process numbers",
            Self::Layout => "memory layout",
            Self::Storage => "file system",
        }
    }

    /// Whether every world that a step is told of has the same.
    const fn is_held(self, seeded: bool) -> bool {
        match self {
            Self::Parallelism | Self::Storage => false,
            Self::Randomness => seeded,
            Self::Clock
            | Self::HostName
            | Self::Umask
            | Self::TimeZone
            | Self::Locale
            | Self::Processors
            | Self::Listing
            | Self::Processes
            | Self::Layout => true,
        }
    }

    /// What differs for a step, if nobody says what is to. The umask does not: lith gives the same to every step, and another
    /// one shows in the mode of every file.
    pub fn of_step(hermetic: bool, seeded: bool) -> BTreeSet<Self> {
        let differs = |axis: &Self| *axis != Self::Umask && !(hermetic && axis.is_held(seeded));
        Self::ALL.into_iter().filter(differs).collect()
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A world for one more time: all that is not different is held still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variation {
    pub different: BTreeSet<Axis>,
    /// Seconds since 1970 that the clock of a step shows whose own goes on.
    pub now: i64,
    /// Another file system to write to.
    pub storage: Option<PathBuf>,
}

/// What is different is different by this much: hours, minutes, the day, and on most days the month's number.
const LATER: i64 = 36 * 3600 + 17 * 60 + 29;
pub const OTHER_HOST: &str = "another-host";

impl Variation {
    pub fn is(&self, axis: Axis) -> bool {
        self.different.contains(&axis)
    }

    pub fn clock(&self, own: i64) -> i64 {
        if self.is(Axis::Clock) { own.saturating_add(LATER) } else { own }
    }

    /// Variables of the environment, where the build file says nothing of them.
    pub fn environment(&self) -> Vec<(&'static str, &'static str)> {
        let mut variables = Vec::new();
        if self.is(Axis::TimeZone) {
            // The one farthest from Greenwich.
            variables.push(("TZ", "Pacific/Kiritimati"));
        }
        if self.is(Axis::Locale) {
            variables.extend([("LC_ALL", "C.UTF-8"), ("LANG", "fr_FR.UTF-8"), ("LANGUAGE", "fr")]);
        }
        variables
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_cannot_differ() {
        assert_eq!(Axis::of_step(false, false).len(), Axis::ALL.len() - 1);
        let hermetic = Axis::of_step(true, false);
        assert_eq!(
            hermetic.into_iter().map(Axis::name).collect::<Vec<_>>(),
            ["randomness", "parallelism", "file system"]
        );
        assert!(!Axis::of_step(true, true).contains(&Axis::Randomness));
    }

    #[test]
    fn another_time_is_another_day_hour_minute_and_second() {
        let one = jiff::Timestamp::from_second(1_700_000_000).unwrap();
        let other = jiff::Timestamp::from_second(one.as_second() + LATER).unwrap();
        let fields = |time: jiff::Timestamp| {
            let text = time.to_string();
            [&text[8..10], &text[11..13], &text[14..16], &text[17..19]].map(str::to_owned)
        };
        fields(one).iter().zip(fields(other)).for_each(|(a, b)| assert_ne!(*a, b));
    }
}
