//! Text to recipe.

pub mod dockerfile;
