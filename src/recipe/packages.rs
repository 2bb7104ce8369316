//! Root file systems that are made of a distribution's packages.

/// Packages of Debian or of a derivative, by name; which versions they are is settled when the recipe is bound.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackageSet {
    /// `bookworm`, `noble`.
    pub suite: String,
    /// `main` alone if there is none.
    pub components: Vec<String>,
    /// Where the archive is; the machine's own apt sources say if this does not.
    pub mirror: Option<String>,
    /// A moment of a snapshot archive: `20261101T000000Z`.
    pub snapshot: Option<String>,
    /// `name`, `name=version`, `name:architecture`, in the order written, none twice.
    pub names: Vec<String>,
    /// Whether everything that no system is without comes along: `Essential: yes` and `Priority: required`.
    pub essential: bool,
    /// Whether maintainer scripts run, in the sandbox and without a network.
    pub configure: bool,
}
