//! How slow a server may be: one that sends a byte now and then would otherwise hold a build for ever.

use std::io::{self, Read};
use std::time::{Duration, Instant};

/// Bytes that have to come in a second, on the average of a window.
const LEAST: u128 = 100;

/// A reader that gives up where too little comes.
pub struct Paced<R> {
    inner: R,
    window: Duration,
    since: Instant,
    got: u128,
}

impl<R: Read> Paced<R> {
    /// `window`: how long it may take until enough has come.
    pub fn new(inner: R, window: Duration) -> Self {
        Self { inner, window, since: Instant::now(), got: 0 }
    }
}

impl<R: Read> Read for Paced<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.got += got as u128;
        if got > 0 && self.since.elapsed() >= self.window {
            if self.got * 1000 < LEAST * self.window.as_millis() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the server sends next to nothing"));
            }
            (self.since, self.got) = (Instant::now(), 0);
        }
        Ok(got)
    }
}
