//! What `RUN --mount` puts into the file system of a process, for the time it runs.

use super::FilesFrom;
use crate::path::ImagePath;

/// One mount, in the order written: a later one may lie inside an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mount {
    Bind(BindMount),
    Cache(CacheMount),
    Tmpfs(TmpfsMount),
    Secret(SecretMount),
    Ssh(SshMount),
}

impl Mount {
    /// Whose files it brings, and which.
    pub fn files(&self) -> Option<(&FilesFrom, &ImagePath)> {
        match self {
            Self::Bind(bind) => Some((&bind.from, &bind.source)),
            Self::Cache(cache) => cache.seed.as_ref().map(|seed| (seed, &cache.source)),
            Self::Tmpfs(_) | Self::Secret(_) | Self::Ssh(_) => None,
        }
    }
}

/// Files of the context, of a stage or of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindMount {
    /// Not the root.
    pub target: ImagePath,
    pub from: FilesFrom,
    pub source: ImagePath,
    pub access: Access,
}

/// Whether the process may write. What it writes to a bind is thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    ReadOnly,
    ReadWrite,
}

/// A directory that lives on from build to build, outside all images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheMount {
    /// Not the root.
    pub target: ImagePath,
    /// Its name, without the build's namespace; never empty, not a path.
    pub id: String,
    /// What a new one begins with; empty if there is nothing.
    pub seed: Option<FilesFrom>,
    /// Directory of the seed, or of the cache itself if it has none.
    pub source: ImagePath,
    pub sharing: Sharing,
    pub access: Access,
    /// Of a new one's directory, 0 to 0o7777; else the seed's, or 0755.
    pub mode: Option<u16>,
    /// Likewise; else the seed's, or 0.
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

/// What happens when two steps want one cache at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Both use it.
    Shared,
    /// The second gets another instance.
    Private,
    /// The second waits.
    Locked,
}

impl Sharing {
    /// The word for it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Private => "private",
            Self::Locked => "locked",
        }
    }
}

/// Mode and owner of something that is made for a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeOwner {
    /// 0 to 0o7777.
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
}

/// Memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TmpfsMount {
    /// Not the root.
    pub target: ImagePath,
    /// At most so many bytes.
    pub size: Option<u64>,
    pub access: Access,
}

/// A value that the build was given and that must show nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretMount {
    pub id: String,
    /// Where it is a file, if it is one.
    pub file: Option<ImagePath>,
    /// The variable that holds it, if one does.
    pub env: Option<String>,
    /// Whether the step fails without it.
    pub required: bool,
    pub owner: NodeOwner,
}

/// The socket of an ssh agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshMount {
    pub id: String,
    pub target: ImagePath,
    /// Whether the step fails without it.
    pub required: bool,
    pub owner: NodeOwner,
}

impl Mount {
    /// Whose files it needs.
    pub fn from(&self) -> Option<&FilesFrom> {
        match self {
            Self::Bind(bind) => Some(&bind.from),
            Self::Cache(cache) => cache.seed.as_ref(),
            Self::Tmpfs(_) | Self::Secret(_) | Self::Ssh(_) => None,
        }
    }

    pub(super) fn input_mut(&mut self) -> Option<&mut FilesFrom> {
        match self {
            Self::Bind(bind) => Some(&mut bind.from),
            Self::Cache(cache) => cache.seed.as_mut(),
            Self::Tmpfs(_) | Self::Secret(_) | Self::Ssh(_) => None,
        }
    }
}
