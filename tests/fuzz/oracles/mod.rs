//! What must hold for any bytes. The fuzz targets call these with bytes a fuzzer made up, `tests/it/fuzz.rs` with
//! the seeds and with everything a fuzzer ever found.

pub mod content;
pub mod dockerfile;
pub mod glob;
pub mod ignore;
pub mod kdl;
pub mod lock;
pub mod names;
pub mod words;

/// Whether a message may be shown on a terminal: one line, no control characters.
fn is_printable(message: &str) -> bool {
    !message.chars().any(char::is_control)
}
