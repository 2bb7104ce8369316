//! The kernel, one idea a function. The only home of `unsafe`.
