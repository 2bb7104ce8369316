//! Two images or trees compared: each pair of `diff/pairs.rs` against what text and JSON are to say of it, in
//! `tests/data/diff/NAME`. `LITH_BLESS=1` writes both anew.

mod build;
mod goldens;
mod pairs;
mod places;
mod properties;
