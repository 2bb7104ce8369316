//! The kernel, one idea a function. The only home of `unsafe`; errors name the call and the path.

#![allow(unsafe_code, reason = "this module is where the kernel is called; each block says why it is sound")]

pub mod beneath;
pub mod caps;
pub mod clock;
pub mod dir;
pub mod elf;
pub mod exec;
pub mod file;
pub mod landlock;
pub mod memory;
pub mod mount;
pub mod mountinfo;
pub mod ns;
pub mod seccomp;
pub mod several;
pub mod signal;
pub mod socket;
pub mod xattr;
