//! A root file system's tar made into an image of one layer.

use std::io::{self, Read};

use super::assemble::{AssembleError, Assembled, Assembly, assemble};
use super::files::Tee;
use super::stored::store_image;
use crate::epoch::Epoch;
use crate::layer::compress::Decompressor;
use crate::layer::read::{self, Eof, Limits, ReadError};
use crate::oci::{History, ImageConfig};
use crate::platform::Platform;
use crate::store::{Store, StoreError};

/// What an import makes beside the layer.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    pub platform: Platform,
    pub epoch: Epoch,
    /// The comment of the one line of history.
    pub comment: Option<String>,
}

/// Why a tar did not become an image.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("read {archive}: {source}")]
    Read { archive: String, source: io::Error },
    #[error("{archive} is not a sound tar of a root file system: {source}")]
    Tar { archive: String, source: ReadError },
    #[error("{archive} is cut: it ends without the two zero blocks that end a tar; fetch it again")]
    Cut { archive: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Assemble(#[from] AssembleError),
}

/// Imports a tar, packed or not. The layer is the unpacked tar as it is, so the image depends on nothing else but
/// the options. `shown` names the tar in messages. Gives the image and what was odd about the tar.
pub fn import(
    store: &Store,
    shown: &str,
    input: impl Read + Send,
    options: &ImportOptions,
) -> Result<(Assembled, Vec<String>), ImportError> {
    let archive = || crate::diag::escape(shown.as_bytes());
    let limits = Limits::default();
    let plain = Decompressor::new(input, limits.unpacking())
        .map_err(|source| ImportError::Read { archive: archive(), source })?;
    let mut writer = store.blob_writer()?;
    let indexed = read::index(Tee { from: plain, to: &mut writer }, &limits)
        .map_err(|source| ImportError::Tar { archive: archive(), source })?;
    if indexed.eof == Eof::Missing {
        return Err(ImportError::Cut { archive: archive() });
    }
    writer.commit(Some(indexed.diff_id.into()))?;
    store.add_layer(indexed.diff_id, &indexed.toc)?;
    let line = History {
        created_by: Some("lith import".into()),
        comment: options.comment.clone(),
        ..History::default()
    };
    let image = assemble(&Assembly {
        base: None,
        config: &ImageConfig::scratch(&options.platform),
        layers: &[(indexed.diff_id, indexed.size)],
        history: &[line],
        epoch: options.epoch,
    })?;
    store_image(store, &image, None)?;
    Ok((image, indexed.warnings.iter().map(ToString::to_string).collect()))
}
