//! `check=skip=A,B|all;error=true;experimental=A,B|all`: which rules a file, an instruction or a build wants.

use std::collections::BTreeSet;

/// What one `check` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checks {
    pub skip: Names,
    pub experimental: Names,
    /// Whether a warning fails the build.
    pub error: bool,
}

/// Names of rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    pub all: bool,
    pub named: BTreeSet<String>,
}

impl Names {
    /// Whether the rule is meant, by name or by `all`.
    pub fn has(&self, rule: &str) -> bool {
        self.all || self.named.contains(rule)
    }

    fn parse(text: &str) -> Self {
        match text.trim() {
            "all" => Self { all: true, named: BTreeSet::new() },
            names => {
                let named = names.split(',').map(str::trim).filter(|name| !name.is_empty());
                Self { all: false, named: named.map(str::to_owned).collect() }
            }
        }
    }
}

/// Why a text is no list of checks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChecksError {
    #[error("invalid check option {}: it has no value", super::super::shown(.0))]
    NoValue(String),
    #[error("invalid check option {}: there are skip, error and experimental", super::super::shown(.0))]
    Unknown(String),
    #[error("check option error={} is neither true nor false", super::super::shown(.0))]
    NotBoolean(String),
}

impl Checks {
    /// Reads `option=value` parts between semicolons; a later one of the same name wins.
    pub fn parse(text: &str) -> Result<Self, ChecksError> {
        let mut checks = Self::default();
        if text.trim().is_empty() {
            return Ok(checks);
        }
        for part in text.split(';') {
            let Some((option, value)) = part.split_once('=') else {
                return Err(ChecksError::NoValue(part.trim().to_owned()));
            };
            match option.trim() {
                "skip" => checks.skip = Names::parse(value),
                "experimental" => checks.experimental = Names::parse(value),
                "error" => checks.error = boolean(value.trim())?,
                other => return Err(ChecksError::Unknown(other.to_owned())),
            }
        }
        Ok(checks)
    }

    /// The names it uses.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.skip.named.iter().chain(&self.experimental.named).map(String::as_str)
    }
}

/// As Go reads one.
fn boolean(text: &str) -> Result<bool, ChecksError> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(ChecksError::NotBoolean(other.to_owned())),
    }
}

/// The value of `check=…` in a comment, up to its first blank: what follows is for people.
pub fn of_comment(comment: &str) -> Option<&str> {
    let (key, value) = comment.split_once('=')?;
    let is_check = key.trim_end().eq_ignore_ascii_case("check");
    is_check.then(|| value.split_whitespace().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let checks = Checks::parse(" skip=A, B ; error=true;experimental=all").unwrap();
        assert!(checks.skip.has("A") && checks.skip.has("B") && !checks.skip.has("C"));
        assert!(checks.error && checks.experimental.has("anything"));
        assert_eq!(Checks::parse("").unwrap(), Checks::default());
        for bad in ["skip", "skip=A;error=yes", "sikp=A", "skip=A;"] {
            assert!(Checks::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_comment_may_say_why() {
        assert_eq!(of_comment("check=skip=A // because"), Some("skip=A"));
        assert_eq!(of_comment("Check = skip=A"), Some("skip=A"));
        assert_eq!(of_comment("to check=x"), None);
        assert_eq!(of_comment("check this"), None);
    }
}
