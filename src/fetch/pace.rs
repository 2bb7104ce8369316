//! How slow a server may be: one that sends a byte now and then would otherwise hold a build for ever.

use std::io::{self, Read};
use std::time::{Duration, Instant};

/// Bytes that have to come in a second, on the average of a window.
const LEAST: u128 = 100;

/// The error of a server that is there and yet too slow: asking it again would be no better.
#[derive(Debug, thiserror::Error)]
#[error("the server sends next to nothing")]
pub struct Trickle;

/// What has come, held against the least that has to.
#[derive(Debug)]
pub struct Pace {
    window: Duration,
    since: Instant,
    /// Bytes at the beginning of the window.
    had: u64,
}

impl Pace {
    /// `window`: how long it may take until enough has come.
    pub fn new(window: Duration) -> Self {
        Self { window, since: Instant::now(), had: 0 }
    }

    /// An error if a window is over in which too little came. `has`: bytes since the beginning; where nobody counts
    /// them, nobody can be held to it.
    pub fn check(&mut self, has: impl FnOnce() -> Option<u64>) -> Result<(), Trickle> {
        if self.since.elapsed() < self.window {
            return Ok(());
        }
        let Some(has) = has() else { return Ok(()) };
        if u128::from(has.saturating_sub(self.had)) * 1000 < LEAST * self.window.as_millis() {
            return Err(Trickle);
        }
        (self.since, self.had) = (Instant::now(), has);
        Ok(())
    }
}

/// A reader that gives up where too little comes.
pub struct Paced<R> {
    inner: R,
    pace: Pace,
    got: u64,
}

impl<R: Read> Paced<R> {
    /// `window`: how long it may take until enough has come.
    pub fn new(inner: R, window: Duration) -> Self {
        Self { inner, pace: Pace::new(window), got: 0 }
    }
}

impl<R: Read> Read for Paced<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.got += got as u64;
        if got > 0 {
            self.pace.check(|| Some(self.got)).map_err(io::Error::other)?;
        }
        Ok(got)
    }
}
