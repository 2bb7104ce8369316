//! Kinds of differences: what `--ignore` names (spec/diff.md, "Kinds").

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a difference is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// What is there, and what its bytes are: a program sees it. Never ignored.
    Content,
    /// A field of the config that a program or its start depends on. Never ignored.
    Config,
    Mtime,
    Mode,
    Owner,
    Xattr,
    Hardlink,
    Created,
    History,
    Author,
    Labels,
    Annotations,
    Attestations,
    Name,
    Form,
    Compression,
    Layers,
    Order,
    Tar,
    Hidden,
}

/// All kinds, in the order of the page.
pub const KINDS: [Kind; 20] = [
    Kind::Content,
    Kind::Config,
    Kind::Mtime,
    Kind::Mode,
    Kind::Owner,
    Kind::Xattr,
    Kind::Hardlink,
    Kind::Created,
    Kind::History,
    Kind::Author,
    Kind::Labels,
    Kind::Annotations,
    Kind::Attestations,
    Kind::Name,
    Kind::Form,
    Kind::Compression,
    Kind::Layers,
    Kind::Order,
    Kind::Tar,
    Kind::Hidden,
];

impl Kind {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Config => "config",
            Self::Mtime => "mtime",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Xattr => "xattr",
            Self::Hardlink => "hardlink",
            Self::Created => "created",
            Self::History => "history",
            Self::Author => "author",
            Self::Labels => "labels",
            Self::Annotations => "annotations",
            Self::Attestations => "attestations",
            Self::Name => "name",
            Self::Form => "form",
            Self::Compression => "compression",
            Self::Layers => "layers",
            Self::Order => "order",
            Self::Tar => "tar",
            Self::Hidden => "hidden",
        }
    }

    /// Whether `--ignore` takes it.
    pub fn is_ignorable(self) -> bool {
        !matches!(self, Self::Content | Self::Config)
    }

    /// Whether `--semantic` ignores it: what a running program cannot tell, and times of files.
    pub fn is_semantic(self) -> bool {
        match self {
            Self::Content | Self::Config | Self::Mode | Self::Owner | Self::Xattr | Self::Hardlink => false,
            Self::Mtime
            | Self::Created
            | Self::History
            | Self::Author
            | Self::Labels
            | Self::Annotations
            | Self::Attestations
            | Self::Name
            | Self::Form
            | Self::Compression
            | Self::Layers
            | Self::Order
            | Self::Tar
            | Self::Hidden => true,
        }
    }

    /// The kinds that `--semantic` ignores.
    pub fn semantic() -> BTreeSet<Kind> {
        KINDS.into_iter().filter(|kind| kind.is_semantic()).collect()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why a word names no kind that can be ignored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no kind of difference that can be ignored; expected {all}", all = ignorable())]
pub struct KindError(String);

fn ignorable() -> String {
    let names = KINDS.iter().filter(|kind| kind.is_ignorable()).map(|kind| kind.name());
    names.collect::<Vec<_>>().join(", ")
}

impl FromStr for Kind {
    type Err = KindError;

    fn from_str(text: &str) -> Result<Self, KindError> {
        let known = KINDS.into_iter().filter(|kind| kind.is_ignorable()).find(|kind| kind.name() == text);
        known.ok_or_else(|| KindError(crate::diag::escape(text.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_json_and_read_back() {
        for kind in KINDS {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
            assert_eq!(kind.name().parse().ok(), kind.is_ignorable().then_some(kind));
        }
        let error = "time".parse::<Kind>().unwrap_err().to_string();
        assert!(error.contains("expected mtime, mode") && error.contains("hidden"), "{error}");
    }
}
