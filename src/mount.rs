//! What a root file system is made of: the one value where the store and the sandbox meet.
//!
//! Owns: the shape of an overlay mount. Never mounts.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A stack of unpacked layers with a place for writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// Unpacked layer directories, bottom first.
    pub lowers: Vec<PathBuf>,
    /// Where writes go; both on the same file system. `None` for a read-only view.
    pub writable: Option<Writable>,
    /// Whether overlay keeps its own marks in `user.overlay.*` (inside a user namespace) or `trusted.overlay.*`.
    pub marks: OverlayMarks,
}

/// Options of every overlay. An upper directory must hold a layer as the OCI image-spec means it: whole files and
/// directories, whiteouts and opaque marks. `nofollow` also ignores redirects that a lower layer brings, which `off`
/// may follow.
pub const OPTIONS: [(&str, &str); 4] =
    [("redirect_dir", "nofollow"), ("index", "off"), ("metacopy", "off"), ("xino", "off")];

/// The two directories a writable overlay needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writable {
    pub upper: PathBuf,
    pub work: PathBuf,
}

/// Where a single-id user namespace notes the owner that a file should have: `uid:gid`; none means 0:0. It is lith's
/// own and never part of a layer.
pub const OWNER_XATTR: &str = "user.lith.owner";

/// The xattr namespace of overlayfs' own marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OverlayMarks {
    /// `trusted.overlay.*`: needs CAP_SYS_ADMIN in the first user namespace.
    Trusted,
    /// `user.overlay.*` with the mount option `userxattr`.
    User,
}

impl OverlayMarks {
    /// The xattr that makes a directory opaque.
    pub const fn opaque(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.opaque",
            Self::User => "user.overlay.opaque",
        }
    }
}
