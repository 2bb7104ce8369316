//! The kernel's clocks: to tell whether a file changed just before it was read, and for the life of containers. Never
//! for an image.

/// Nanoseconds since 1970 of the clock that stamps files.
pub fn realtime_nanos() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}

/// The time of day, for people.
pub fn now() -> std::time::SystemTime {
    #[expect(clippy::disallowed_methods, reason = "containers live in real time; no image sees it")]
    std::time::SystemTime::now()
}

/// Nanoseconds of a clock that nobody sets, to measure how long something took.
pub fn monotonic_nanos() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}
