//! One thing that is not as it was made.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::digest::{BlobDigest, DiffId};
use crate::layer::Toc;
use crate::layer::audit::Deviation;
use crate::store::ImageRecord;

/// What is damaged, and what mending it takes.
#[derive(Debug, Clone)]
pub enum Finding {
    /// A blob whose bytes are not those of its name.
    Blob { digest: BlobDigest, why: String },
    /// A table of contents that is not what the layer's tar says; `toc` is what that says, if it can be read.
    Table { diff: DiffId, why: String, toc: Option<Arc<Toc>> },
    /// A blob that is not here.
    MissingBlob { digest: BlobDigest, needed_by: String },
    /// An image without its record, which can be made of this.
    MissingImage { record: ImageRecord, needed_by: String },
    /// The file of a name or an image.
    Record { path: PathBuf, help: &'static str },
    /// Something remembered that can be found out again.
    Memo { path: PathBuf, why: String },
    /// An entry of the layer db; without its stack nothing needs it.
    Chain { dir: PathBuf, stack: Option<Vec<DiffId>>, faults: Vec<String> },
    /// An unpacked layer, the last of its stack, and the paths in it that are not as the layer says.
    Unpacked { stack: Vec<DiffId>, dir: PathBuf, deviations: Vec<Deviation> },
    /// The short name of an unpacked layer.
    Link { stack: Vec<DiffId>, path: PathBuf, why: String },
}

impl Finding {
    /// What kind of object it is, in one word.
    pub const fn object(&self) -> &'static str {
        match self {
            Self::Blob { .. } | Self::MissingBlob { .. } => "blob",
            Self::Table { .. } => "table",
            Self::MissingImage { .. } => "image",
            Self::Record { .. } => "record",
            Self::Memo { .. } => "memo",
            Self::Chain { .. } => "layerdb",
            Self::Unpacked { .. } => "layer",
            Self::Link { .. } => "link",
        }
    }

    /// The layer it is of, if it is of one.
    pub fn layer(&self) -> Option<DiffId> {
        match self {
            Self::Table { diff, .. } => Some(*diff),
            Self::Unpacked { stack, .. }
            | Self::Link { stack, .. }
            | Self::Chain { stack: Some(stack), .. } => stack.last().copied(),
            Self::Blob { .. }
            | Self::MissingBlob { .. }
            | Self::MissingImage { .. }
            | Self::Record { .. }
            | Self::Memo { .. }
            | Self::Chain { stack: None, .. } => None,
        }
    }

    /// Where it is, if it has a place of its own.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Record { path, .. } | Self::Memo { path, .. } | Self::Link { path, .. } => Some(path),
            Self::Chain { dir, .. } | Self::Unpacked { dir, .. } => Some(dir),
            Self::Blob { .. } | Self::Table { .. } | Self::MissingBlob { .. } | Self::MissingImage { .. } => {
                None
            }
        }
    }

    /// Whether everything it takes to mend it is here.
    pub const fn is_repairable(&self) -> bool {
        match self {
            Self::Blob { .. } | Self::MissingBlob { .. } | Self::Record { .. } => false,
            Self::Table { toc, .. } => toc.is_some(),
            Self::MissingImage { .. }
            | Self::Memo { .. }
            | Self::Chain { .. }
            | Self::Unpacked { .. }
            | Self::Link { .. } => true,
        }
    }

    /// What mends it if `--repair` does not.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Record { help, .. } => help,
            Self::Blob { .. } | Self::MissingBlob { .. } | Self::Table { .. } => {
                "`lith build --no-cache` makes anew what a build made, `lith load` brings back what was loaded"
            }
            Self::MissingImage { .. }
            | Self::Memo { .. }
            | Self::Chain { .. }
            | Self::Unpacked { .. }
            | Self::Link { .. } => "`lith store verify --repair` makes it again",
        }
    }

    /// Blobs before tables, so that a list in this order can be mended from its beginning.
    pub(super) const fn rank(&self) -> u8 {
        match self {
            Self::Blob { .. } | Self::MissingBlob { .. } => 0,
            Self::Table { .. } => 1,
            Self::MissingImage { .. } => 2,
            Self::Record { .. } | Self::Memo { .. } => 3,
            Self::Chain { .. } => 4,
            Self::Unpacked { .. } | Self::Link { .. } => 5,
        }
    }
}

/// One line that names the object; the paths of an unpacked layer are not in it.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let top = |stack: &[DiffId]| *stack.last().expect("a stack has a top");
        match self {
            Self::Blob { why, .. } => write!(f, "{why}"),
            Self::Table { diff, why, .. } => write!(f, "table of contents of layer {diff} is damaged: {why}"),
            Self::MissingBlob { digest, needed_by } => {
                write!(f, "{needed_by} needs blob {digest}, which is not in the store")
            }
            Self::MissingImage { record, needed_by } => {
                write!(f, "{needed_by} needs the record of image {}, which is missing or damaged", record.id)
            }
            Self::Record { path, .. } => write!(f, "record {} is damaged", path.display()),
            Self::Memo { path, why } => write!(f, "memo {} is damaged: {why}", path.display()),
            Self::Chain { dir, faults, .. } => {
                write!(f, "layerdb entry {} is damaged: {}", dir.display(), faults.join("; "))
            }
            Self::Unpacked { stack, deviations, .. } => {
                let paths = if deviations.len() == 1 { "path" } else { "paths" };
                write!(f, "unpacked layer {} differs in {} {paths}", top(stack), deviations.len())
            }
            Self::Link { stack, path, why } => {
                write!(f, "short name {} of layer {} {why}", path.display(), top(stack))
            }
        }
    }
}
