//! The variables a stage sees, and how much text expanding them may make.

use indexmap::IndexMap;

/// The longest single expanded value, in bytes.
pub const MAX_VALUE: usize = 1 << 20;
/// The most environment an image config may hold, in bytes.
pub const MAX_ENV: usize = 8 << 20;
/// The most text that lowering one file may make or compare, in bytes.
const MAX_WORK: u64 = 256 << 20;

/// Variables in the order in which they were first set.
#[derive(Debug, Clone, Default)]
pub struct Env(IndexMap<String, String>);

impl Env {
    /// The value of a variable that is set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Sets a variable; its place stays if it was set before.
    pub fn set(&mut self, name: &str, value: String) {
        match self.0.get_mut(name) {
            Some(old) => *old = value,
            None => {
                self.0.insert(name.to_owned(), value);
            }
        }
    }

    /// All variables in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Splits `NAME=value` as image configs hold it; a lone name has the empty value.
pub fn split(variable: &str) -> (&str, &str) {
    variable.split_once('=').unwrap_or((variable, ""))
}

/// One file causes more work than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expanding this file makes more than {MAX_WORK} bytes of text")]
pub struct Exhausted;

/// What is left of the work that one file may cause, so that doubling a variable forty times is an error and not
/// a machine out of memory.
#[derive(Debug)]
pub struct Budget(u64);

impl Budget {
    /// The full amount for one file.
    pub fn new() -> Self {
        Self(MAX_WORK)
    }

    /// Takes some; an error if it is used up.
    pub fn spend(&mut self, amount: usize) -> Result<(), Exhausted> {
        self.0 = self.0.checked_sub(amount as u64).ok_or(Exhausted)?;
        Ok(())
    }
}
