//! How two images or trees differ, and why.

pub mod content;
