//! Layers: ordered filesystem changesets, from entries to bytes and back.
//!
//! The bytes are those of containerd's archive writer with clamped times (spec/layer.md). Every layer of the store
//! has a table of contents ([`Toc`]) beside its tar; whatever needs to know what a layer holds asks that, not a
//! directory tree.

pub mod audit;
pub mod capture;
pub mod compress;
pub mod entry;
mod hash;
mod header;
pub mod litter;
pub mod merge;
pub mod names;
pub mod read;
pub mod toc;
pub mod tree;
pub mod unpack;
pub mod write;

pub use capture::{
    CaptureError, CaptureOptions, Captured, Change, ChangeKind, Owners, capture, changes, record,
};
pub use compress::{Codec, Compressor, DecompressError, DecompressLimits, Decompressor, Format};
pub use entry::{Meta, Mtime, Node, Toc, TocEntry, Xattr};
pub use read::{
    Eof, Fault, Indexed, Limits, Member, MemberKind, Purpose, ReadError, archive_entries, index, index_for,
};
pub use toc::TocError;
pub use tree::{FollowLast, Found, Resolved, Tree, TreeError};
pub use unpack::{Devices, TreeOwners, UnpackError, UnpackOptions, unpack, unpack_tree};
pub use write::{LayerWriter, WriteError, Written};
