//! What packages say of each other: `Depends`, `Conflicts`, `Provides` and their kin (Debian Policy, chapter 7).

use std::cmp::Ordering;
use std::fmt;

use super::version::Version;

/// One package, perhaps some versions of it only: `libc6 (>= 2.36)`, `python3:any`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    pub name: String,
    /// What stands behind the colon.
    pub qualifier: Option<String>,
    pub version: Option<(Operator, Version)>,
}

/// How a version has to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Earlier,
    EarlierEqual,
    Equal,
    LaterEqual,
    Later,
}

/// Alternatives, the preferred first; one of them is enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause(pub Vec<Relation>);

/// Why a text is no relation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a relation to a package: expected name[:architecture] [(operator version)]")]
pub struct RelationError(String);

impl Operator {
    const ALL: [(&str, Operator); 7] = [
        ("<<", Self::Earlier),
        ("<=", Self::EarlierEqual),
        (">=", Self::LaterEqual),
        (">>", Self::Later),
        ("=", Self::Equal),
        // As they were written long ago.
        ("<", Self::EarlierEqual),
        (">", Self::LaterEqual),
    ];

    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Earlier => order.is_lt(),
            Self::EarlierEqual => order.is_le(),
            Self::Equal => order.is_eq(),
            Self::LaterEqual => order.is_ge(),
            Self::Later => order.is_gt(),
        }
    }
}

impl Relation {
    /// Whether a version is among those that are meant.
    pub fn admits(&self, version: &Version) -> bool {
        self.version.as_ref().is_none_or(|(operator, wanted)| operator.holds(version.cmp(wanted)))
    }

    /// Whether a package of any architecture is meant: `name:any`.
    pub fn is_of_any_architecture(&self) -> bool {
        self.qualifier.as_deref() == Some("any")
    }
}

impl std::str::FromStr for Relation {
    type Err = RelationError;

    fn from_str(text: &str) -> Result<Self, RelationError> {
        let error = || RelationError(text.trim().chars().take(200).collect());
        let (target, version) = match text.split_once('(') {
            None => (text.trim(), None),
            Some((target, rest)) => {
                let inner = rest.trim_end().strip_suffix(')').ok_or_else(error)?.trim();
                let mut operators = Operator::ALL.iter();
                let (sign, operator) =
                    operators.find(|(sign, _)| inner.starts_with(sign)).ok_or_else(error)?;
                let version = inner[sign.len()..].trim().parse().map_err(|_| error())?;
                (target.trim(), Some((*operator, version)))
            }
        };
        let (name, qualifier) = match target.split_once(':') {
            Some((name, qualifier)) => (name, Some(qualifier)),
            None => (target, None),
        };
        if !is_name(name) || qualifier.is_some_and(|qualifier| !is_name(qualifier)) {
            return Err(error());
        }
        Ok(Self { name: name.to_owned(), qualifier: qualifier.map(str::to_owned), version })
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(qualifier) = &self.qualifier {
            write!(f, ":{qualifier}")?;
        }
        if let Some((operator, version)) = &self.version {
            let known = Operator::ALL.iter().find(|(_, known)| known == operator);
            write!(f, " ({} {version})", known.map_or("", |(sign, _)| sign))?;
        }
        Ok(())
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.0.iter().map(Relation::to_string).collect();
        f.write_str(&all.join(" | "))
    }
}

/// The clauses of a field, all of which have to hold.
pub fn clauses(text: &str) -> Result<Vec<Clause>, RelationError> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| Ok(Clause(part.split('|').map(str::parse).collect::<Result<_, _>>()?))).collect()
}

/// Whether a text can be the name of a package or of an architecture.
pub fn is_name(text: &str) -> bool {
    text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read() {
        let found = clauses("libc6 (>= 2.36), python3:any|python3 (<<3), a( = 1:2-3 ) ,").unwrap();
        let shown: Vec<String> = found.iter().map(Clause::to_string).collect();
        assert_eq!(shown, ["libc6 (>= 2.36)", "python3:any | python3 (<< 3)", "a (= 1:2-3)"]);
        let version = |text: &str| text.parse::<Version>().unwrap();
        assert!(found[0].0[0].admits(&version("2.36-9")));
        assert!(!found[1].0[1].admits(&version("3")));
        assert!(found[2].0[0].admits(&version("1:2-3")));
    }

    #[test]
    fn what_is_no_relation() {
        for text in
            ["a b", "a (1)", "a (>= )", "a (>= 1", "(>= 1)", "a [amd64]", "a <!x>", "../a", "|a", "a:"]
        {
            assert!(clauses(text).is_err(), "{text}");
        }
    }
}
