//! An image's file system as one tar: layers merged, whiteouts applied.

use std::fs::File;
use std::io::Write;

use super::export::ExportError;
use super::files::Slice;
use super::stored::StoredImage;
use crate::layer::Meta;
use crate::layer::names::FirstNames;
use crate::layer::tree::{Found, Tree};
use crate::layer::write::{LayerWriter, Written};
use crate::path::ImagePath;
use crate::store::Store;

/// Writes the merged file system in layer order, times as the layers have them.
pub(super) fn flatten<W: Write + Send>(
    store: &Store,
    image: &StoredImage,
    sink: W,
) -> Result<Written, ExportError> {
    let tree = merged(store, image)?;
    let tars = open_tars(store, image)?;
    let mut writer = LayerWriter::new(sink);
    let mut names = FirstNames::default();
    for found in tree.walk(&ImagePath::root()) {
        let (path, meta) = (&found.entry.path, &found.entry.meta);
        match names.node(&found) {
            Some(node) => writer.node(path, meta, &node)?,
            None => copy_file(image, &tars, &found, path, meta, &mut writer)?,
        }
    }
    let (mut sink, written) = writer.finish()?;
    sink.flush()?;
    Ok(written)
}

/// The merged view of an image's layers.
pub fn merged(store: &Store, image: &StoredImage) -> Result<Tree, ExportError> {
    let tocs = image.layers().iter().map(|diff| store.toc(*diff)).collect::<Result<_, _>>()?;
    Ok(Tree::new(tocs))
}

/// The layers' uncompressed tars, bottom first.
pub fn open_tars(store: &Store, image: &StoredImage) -> Result<Vec<File>, ExportError> {
    Ok(image.layers().iter().map(|diff| store.layer_tar(*diff)).collect::<Result<_, _>>()?)
}

fn copy_file<W: Write + Send>(
    image: &StoredImage,
    tars: &[File],
    found: &Found<'_>,
    path: &ImagePath,
    meta: &Meta,
    writer: &mut LayerWriter<W>,
) -> Result<(), ExportError> {
    let layer = image.layers()[found.layer];
    let corrupt = || ExportError::Corrupt { layer, path: path.clone() };
    let (size, content, offset) = found.file().ok_or_else(corrupt)?;
    let mut body = Slice::new(&tars[found.layer], offset, size);
    if writer.stream(path, meta, size, &mut body)? != content {
        return Err(corrupt());
    }
    Ok(())
}
