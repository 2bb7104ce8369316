//! The bound step and its result.
