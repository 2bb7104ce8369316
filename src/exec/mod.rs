//! One action run for real.
