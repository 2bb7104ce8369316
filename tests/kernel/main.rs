//! Tests on the real kernel.

mod sandbox;
