//! Images as a whole: put together, taken in, given out.
//!
//! Owns: what makes layers and a config into an image, and the forms in which images travel as files. Never runs a
//! process and never speaks to a network.

pub mod archive;
pub mod assemble;
pub mod attested;
pub mod choose;
pub mod copy;
mod docker_archive;
pub mod export;
pub mod files;
pub mod flatten;
pub mod gather;
pub mod import;
pub mod index;
pub mod ingest;
pub mod ingest_index;
mod layout;
pub mod load;
pub mod local;
pub mod output;
pub(crate) mod pack;
pub mod statements;
pub mod stored;
pub mod tarball;
mod verified;

pub use archive::Archive;
pub use assemble::{AssembleError, Assembled, Assembly, Base, assemble};
pub use choose::{ChoiceError, choose};
pub use export::{ExportError, Exported, PlatformImage, add_to_layout, docker_archive, export, export_index};
pub use gather::{CopyError, Extent, Gathered, gather};
pub use import::{ImportError, ImportOptions, import};
pub use ingest::{BlobSource, IngestError, Ingested, bring_layer, ingest, ingest_promised};
pub use layout::Growing;
pub use load::{LoadError, LoadOptions, Loaded, Platforms, load_path, load_stream};
pub use output::{OutputError, OutputKind, OutputSpec};
pub use pack::{Telling, Told, packed_layer};
pub use stored::{StoredError, StoredImage, store_image};
