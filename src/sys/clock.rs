//! The kernel's clock, for one purpose: to tell whether a file changed just before it was read. Never for an image.

/// Nanoseconds since 1970 of the clock that stamps files.
pub fn realtime_nanos() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}
