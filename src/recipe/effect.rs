//! What makes the result of a step depend on more than its key.

use serde::{Deserialize, Serialize};

use super::mount::Mount;
use super::{Op, Run, Security};

/// One reason why a step may come out differently when it is done again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// It sees what earlier builds left in a cache mount.
    Cache,
    /// It may do to the machine what the user who builds may.
    Insecure,
}

impl Effect {
    /// As it is printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Insecure => "insecure",
        }
    }
}

impl Op {
    /// The effects of doing it, each once. Caches are empty in a hermetic build.
    pub fn effects(&self, hermetic: bool) -> Vec<Effect> {
        let Self::Run(Run { mounts, security, .. }) = self else { return Vec::new() };
        let cache = !hermetic && mounts.iter().any(|mount| matches!(mount, Mount::Cache(_)));
        let insecure = *security == Security::Insecure;
        let effects = [(Effect::Cache, cache), (Effect::Insecure, insecure)];
        effects.into_iter().filter_map(|(effect, has)| has.then_some(effect)).collect()
    }
}
