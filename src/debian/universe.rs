//! Every package that an archive offers for one architecture, from its indices.

use std::collections::HashMap;

use super::control::{ControlError, Paragraph, paragraphs};
use super::relation::{Clause, Relation, RelationError, clauses};
use super::version::{Version, VersionError};
use crate::digest::{BlobDigest, DigestError};

/// Names a package of a universe.
pub type PackageId = usize;

/// One version of one package.
#[derive(Debug, Clone)]
pub struct Package<'a> {
    pub name: &'a str,
    pub version: Version,
    pub architecture: &'a str,
    pub priority: Priority,
    /// `Essential: yes`.
    pub essential: bool,
    /// `Protected: yes`, which apt knows as important.
    pub protected: bool,
    /// `Multi-Arch: allowed`.
    pub any_architecture: bool,
    pub provides: Vec<Provided>,
    /// Path below the archive.
    pub filename: &'a str,
    pub size: u64,
    pub sha256: BlobDigest,
    /// Which of the indices it is from.
    pub index: usize,
    pub fields: Paragraph<'a>,
}

/// A name that a package stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provided {
    pub name: String,
    pub version: Option<Version>,
}

/// How much a distribution wants a package, most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    Required,
    Important,
    Standard,
    Optional,
    Extra,
    None,
}

/// Why an index cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error("package {name}: the field {field} is missing")]
    Missing { name: String, field: &'static str },
    #[error("package {name}: {source}")]
    Version { name: String, source: VersionError },
    #[error("package {name}: {source}")]
    Relation { name: String, source: RelationError },
    #[error("package {name}: SHA256: {source}")]
    Digest { name: String, source: DigestError },
    #[error("package {name}: {text:?} is not a number of bytes")]
    Size { name: String, text: String },
    #[error("package {name}: {filename:?} is not a path below the archive")]
    Filename { name: String, filename: String },
}

/// All packages, by name and by what they provide.
#[derive(Debug)]
pub struct Universe<'a> {
    pub architecture: &'a str,
    packages: Vec<Package<'a>>,
    named: HashMap<&'a str, Vec<PackageId>>,
    provided: HashMap<String, Vec<PackageId>>,
    /// In which order names are first met, counted as apt counts them: its last word where nothing else decides.
    ranks: HashMap<String, usize>,
}

impl<'a> Universe<'a> {
    /// The packages of indices, in the order of the sources. Those of other architectures are left out.
    pub fn new(
        indices: impl IntoIterator<Item = &'a String>,
        architecture: &'a str,
    ) -> Result<Self, IndexError> {
        let mut universe = Self {
            architecture,
            packages: Vec::new(),
            named: HashMap::new(),
            provided: HashMap::new(),
            ranks: HashMap::new(),
        };
        for (index, text) in indices.into_iter().enumerate() {
            for paragraph in paragraphs(text)? {
                if matches!(paragraph.get("Architecture"), Some(own) if own == architecture || own == "all") {
                    universe.add(Package::read(paragraph, index)?);
                }
            }
        }
        Ok(universe)
    }

    fn add(&mut self, package: Package<'a>) {
        let id = self.packages.len();
        let again = self.named(package.name).any(|known| self.packages[known].version == package.version);
        if again {
            return;
        }
        self.rank(package.name);
        for field in RELATIONS {
            for relation in package.field(field).split([',', '|']) {
                let target = relation.split('(').next().unwrap_or_default().trim();
                // `name:any` is to apt a name of its own, which does not make `name` known.
                match target.split_once(':') {
                    Some((_, "any")) => {}
                    Some((name, _)) => self.rank(name),
                    None => self.rank(target),
                }
            }
        }
        self.named.entry(package.name).or_default().push(id);
        for provided in &package.provides {
            self.provided.entry(provided.name.clone()).or_default().push(id);
        }
        self.packages.push(package);
    }

    fn rank(&mut self, name: &str) {
        if !name.is_empty() && !self.ranks.contains_key(name) {
            self.ranks.insert(name.to_owned(), self.ranks.len());
        }
    }

    /// A package by its id.
    pub fn package(&self, id: PackageId) -> &Package<'a> {
        &self.packages[id]
    }

    /// All versions of a name.
    pub fn named(&self, name: &str) -> impl Iterator<Item = PackageId> + '_ {
        self.named.get(name).into_iter().flatten().copied()
    }

    /// All packages that provide a name, in the order of the indices.
    pub fn providers(&self, name: &str) -> impl Iterator<Item = PackageId> + '_ {
        self.provided.get(name).into_iter().flatten().copied()
    }

    /// Ids of all packages.
    pub fn ids(&self) -> std::ops::Range<PackageId> {
        0..self.packages.len()
    }

    /// When a package's name was first met.
    pub fn rank_of(&self, id: PackageId) -> usize {
        self.ranks.get(self.packages[id].name).copied().unwrap_or(usize::MAX)
    }

    /// Names that are spelled almost like this one.
    pub fn similar(&self, name: &str) -> Option<&'a str> {
        crate::diag::suggest(name, self.packages.iter().map(|package| package.name))
    }

    /// Whether a package is what a relation asks for, by its own name or by one that it provides.
    pub fn meets(&self, id: PackageId, relation: &Relation) -> bool {
        let package = &self.packages[id];
        let architecture = match relation.qualifier.as_deref() {
            None => true,
            Some("any") => package.any_architecture,
            Some(wanted) => wanted == self.architecture,
        };
        if !architecture {
            return false;
        }
        package.name == relation.name && relation.admits(&package.version)
            || package.provides.iter().any(|provided| {
                provided.name == relation.name
                    && match &provided.version {
                        Some(version) => relation.admits(version),
                        None => relation.version.is_none(),
                    }
            })
    }
}

/// The fields that name other packages, in the order in which apt meets them.
pub const RELATIONS: [&str; 9] = [
    "Pre-Depends",
    "Depends",
    "Conflicts",
    "Breaks",
    "Recommends",
    "Suggests",
    "Replaces",
    "Enhances",
    "Provides",
];

impl<'a> Package<'a> {
    fn read(fields: Paragraph<'a>, index: usize) -> Result<Self, IndexError> {
        let name = fields.get("Package").unwrap_or_default();
        let field = |field: &'static str| {
            fields.get(field).ok_or_else(|| IndexError::Missing { name: name.to_owned(), field })
        };
        let yes = |name: &str| fields.get(name) == Some("yes");
        let version = field("Version")?
            .parse()
            .map_err(|source| IndexError::Version { name: name.to_owned(), source })?;
        let size = field("Size")?;
        let filename = field("Filename")?;
        let path = crate::path::ImagePath::parse(filename.as_bytes());
        if !super::relation::is_name(name) || path.is_err() || filename.starts_with('/') {
            return Err(IndexError::Filename { name: name.to_owned(), filename: filename.to_owned() });
        }
        Ok(Self {
            name,
            version,
            architecture: field("Architecture")?,
            priority: Priority::of(fields.get("Priority").unwrap_or_default()),
            essential: yes("Essential"),
            protected: yes("Protected") || yes("Important"),
            any_architecture: fields.get("Multi-Arch") == Some("allowed"),
            provides: provides(name, fields.get("Provides").unwrap_or_default())?,
            filename,
            size: size
                .parse()
                .map_err(|_| IndexError::Size { name: name.to_owned(), text: size.to_owned() })?,
            sha256: BlobDigest::from_hex(field("SHA256")?)
                .map_err(|source| IndexError::Digest { name: name.to_owned(), source })?,
            index,
            fields,
        })
    }

    fn field(&self, name: &str) -> &'a str {
        self.fields.get(name).unwrap_or_default()
    }

    /// The clauses of one or more fields.
    fn clauses(&self, fields: &[&str]) -> Result<Vec<Clause>, IndexError> {
        let mut all = Vec::new();
        for field in fields {
            let found = clauses(self.field(field));
            let relation = |source| IndexError::Relation { name: self.name.to_owned(), source };
            all.extend(found.map_err(relation)?);
        }
        Ok(all)
    }

    /// What has to be there with it: `Pre-Depends`, then `Depends`.
    pub fn needs(&self) -> Result<Vec<Clause>, IndexError> {
        self.clauses(&["Pre-Depends", "Depends"])
    }

    /// What must not be there with it: `Conflicts` and `Breaks`.
    pub fn excludes(&self) -> Result<Vec<Relation>, IndexError> {
        Ok(self.clauses(&["Conflicts", "Breaks"])?.into_iter().flat_map(|clause| clause.0).collect())
    }

    /// Whose files it may take over.
    pub fn replaces(&self) -> Result<Vec<Relation>, IndexError> {
        Ok(self.clauses(&["Replaces"])?.into_iter().flat_map(|clause| clause.0).collect())
    }
}

impl Priority {
    fn of(text: &str) -> Self {
        match text {
            "required" => Self::Required,
            "important" => Self::Important,
            "standard" => Self::Standard,
            "optional" => Self::Optional,
            "extra" => Self::Extra,
            _ => Self::None,
        }
    }
}

fn provides(name: &str, text: &str) -> Result<Vec<Provided>, IndexError> {
    let found = clauses(text).map_err(|source| IndexError::Relation { name: name.to_owned(), source })?;
    let relations = found.into_iter().flat_map(|clause| clause.0);
    Ok(relations
        .map(|relation| Provided {
            name: relation.name,
            version: relation.version.map(|(_, version)| version),
        })
        .collect())
}
