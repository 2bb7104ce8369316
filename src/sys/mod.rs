//! The kernel, one idea a function. The only home of `unsafe`.

pub mod caps;
pub mod exec;
pub mod mount;
pub mod ns;
pub mod seccomp;
pub mod signal;
