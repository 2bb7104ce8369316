//! The kernel, one idea a function. The only home of `unsafe`.

pub mod beneath;
pub mod dir;
pub mod xattr;
