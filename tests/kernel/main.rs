//! Tests on the real kernel.

mod layer;
