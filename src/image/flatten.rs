//! An image's file system as one tar: layers merged, whiteouts applied.

use std::fs::File;
use std::io::Write;

use super::export::ExportError;
use super::files::Slice;
use super::stored::StoredImage;
use crate::layer::names::FirstNames;
use crate::layer::tree::{Found, Tree};
use crate::layer::write::{LayerWriter, Written};
use crate::layer::{Meta, Node};
use crate::path::ImagePath;
use crate::store::Store;

/// Writes merged file systems in layer order, times as the layers have them: each below its directory, which come sorted,
/// or one at the root.
pub(super) fn flatten<W: Write + Send>(
    store: &Store,
    images: &[(ImagePath, &StoredImage)],
    sink: W,
) -> Result<Written, ExportError> {
    let mut writer = LayerWriter::new(sink);
    for (below, image) in images {
        if !below.is_root() {
            writer.node(below, &directory(), &Node::Dir)?;
        }
        write_below(store, image, below, &mut writer)?;
    }
    let (mut sink, written) = writer.finish()?;
    sink.flush()?;
    Ok(written)
}

/// A directory that holds the files of one of several platforms.
pub(super) fn directory() -> Meta {
    Meta { mode: 0o755, ..Meta::default() }
}

fn write_below<W: Write + Send>(
    store: &Store,
    image: &StoredImage,
    below: &ImagePath,
    writer: &mut LayerWriter<W>,
) -> Result<(), ExportError> {
    let tree = merged(store, image)?;
    let tars = open_tars(store, image)?;
    let mut names = FirstNames::default();
    for found in tree.walk(&ImagePath::root()) {
        let (path, meta) = (below.join(&found.entry.path), &found.entry.meta);
        match names.node(&found).map(|node| moved(node, below)) {
            Some(node) => writer.node(&path, meta, &node)?,
            None => copy_file(image, &tars, &found, &path, meta, writer)?,
        }
    }
    Ok(())
}

/// A node of a tree that stands below a directory: a hard link names a path of the whole.
pub(super) fn moved(node: Node, below: &ImagePath) -> Node {
    match node {
        Node::Hardlink(first) => Node::Hardlink(below.join(&first)),
        other => other,
    }
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
