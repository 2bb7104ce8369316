//! What makes the result of a step depend on more than its key, and what that makes of an image.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::mount::Mount;
use super::{Op, Run, Security};

/// One reason why a step may come out differently when it is done again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// It can reach other machines.
    Network,
    /// It sees the time of day.
    Clock,
    /// It can draw randomness; in a hermetic step: it did.
    Entropy,
    /// It sees what the machine is.
    Machine,
    /// It sees what earlier builds left in a cache mount.
    Cache,
    /// It may do to the machine what the user who builds may.
    Insecure,
    /// Another machine did it, and did not tell what it drew on.
    Untold,
}

impl Effect {
    /// As it is printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Clock => "clock",
            Self::Entropy => "entropy",
            Self::Machine => "machine",
            Self::Cache => "cache",
            Self::Insecure => "insecure",
            Self::Untold => "untold",
        }
    }

    /// What a step does that has it, for people.
    const fn says(self) -> &'static str {
        match self {
            Self::Network => "can reach the network",
            Self::Clock => "sees the time of day",
            Self::Entropy => "draws randomness",
            Self::Machine => "sees the machine",
            Self::Cache => "sees what a cache mount holds",
            Self::Insecure => "may change the machine",
            Self::Untold => "was done by another machine, which did not tell what it drew on",
        }
    }

    /// Whether the same can be had again by who has the same thing: a cache, a machine, a seed. A network and a clock
    /// nobody has twice.
    const fn is_condition(self) -> bool {
        match self {
            Self::Entropy | Self::Machine | Self::Cache | Self::Untold => true,
            Self::Network | Self::Clock | Self::Insecure => false,
        }
    }

    /// Whether a step has it for what it says itself, and not for how the build is done.
    pub const fn is_own(self) -> bool {
        matches!(self, Self::Cache | Self::Insecure)
    }

    /// Whether it lets in more than a lock can say.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Network | Self::Cache | Self::Insecure)
    }
}

/// What steps are told of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Told {
    pub hermetic: bool,
    /// Randomness follows from a seed. Such a step is hermetic as well.
    pub seeded: bool,
}

impl Told {
    /// As much as both say.
    pub const fn and(self, other: Self) -> Self {
        let seeded = self.seeded || other.seeded;
        Self { hermetic: self.hermetic || other.hermetic || seeded, seeded }
    }
}

impl Op {
    /// What it is told where the build's options say this.
    pub fn told(&self, build: Told) -> Told {
        match self {
            Self::Run(run) => build.and(run.told),
            Self::Copy(_) | Self::MakeDir { .. } | Self::Packages(_) | Self::Config => build,
        }
    }

    /// The effects of doing it, as far as they are known beforehand, each once. `build` is what the build's options say;
    /// `reaches` tells whether it has the host's network. Caches are empty for hermetic steps.
    pub fn effects(&self, build: Told, reaches: bool) -> Vec<Effect> {
        let Self::Run(Run { mounts, security, .. }) = self else { return Vec::new() };
        let told = self.told(build);
        let cached = mounts.iter().any(|mount| matches!(mount, Mount::Cache(_)));
        let open = !told.hermetic;
        let effects = [
            (Effect::Network, reaches),
            (Effect::Clock, open),
            (Effect::Entropy, open && !told.seeded),
            (Effect::Machine, open),
            (Effect::Cache, open && cached),
            (Effect::Insecure, *security == Security::Insecure),
        ];
        effects.into_iter().filter_map(|(effect, has)| has.then_some(effect)).collect()
    }
}

/// Whether an image comes out the same when it is built again from the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Label {
    Reproducible,
    /// For who has the same of this.
    Conditional(Because),
    Impure(Because),
}

/// The first step that has an effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Because {
    pub effect: Effect,
    /// `stage/number`.
    pub step: String,
    pub line: usize,
}

impl Label {
    /// Of an image that these steps made: name, line and effects of each.
    pub fn of<'a>(steps: impl Iterator<Item = (&'a str, usize, &'a [Effect])>) -> Self {
        let mut condition = None;
        for (step, line, effects) in steps {
            for effect in effects {
                let because = || Because { effect: *effect, step: step.to_owned(), line };
                if !effect.is_condition() {
                    return Self::Impure(because());
                }
                condition.get_or_insert_with(because);
            }
        }
        condition.map_or(Self::Reproducible, Self::Conditional)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reproducible => f.write_str("reproducible"),
            Self::Conditional(Because { effect, step, line }) => {
                write!(f, "conditional on {}: step {step}, line {line}, {}", effect.name(), effect.says())
            }
            Self::Impure(Because { effect, step, line }) => {
                write!(f, "impure because of line {line}: step {step} {}", effect.says())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(steps: &[&[Effect]]) -> String {
        let names = ["a/1", "a/2", "a/3"];
        Label::of(steps.iter().enumerate().map(|(at, effects)| (names[at], at + 1, *effects))).to_string()
    }

    #[test]
    fn the_worst_step_makes_the_label() {
        assert_eq!(label(&[&[], &[]]), "reproducible");
        assert_eq!(
            label(&[&[], &[Effect::Entropy]]),
            "conditional on entropy: step a/2, line 2, draws randomness"
        );
        assert_eq!(
            label(&[&[Effect::Cache], &[Effect::Clock], &[Effect::Network]]),
            "impure because of line 2: step a/2 sees the time of day"
        );
    }
}
