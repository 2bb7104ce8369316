//! An image's file system as one tar: layers merged, whiteouts applied.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;

use super::export::ExportError;
use super::files::Slice;
use super::stored::StoredImage;
use crate::layer::tree::{Found, Tree};
use crate::layer::write::{LayerWriter, Written};
use crate::layer::{Meta, Node};
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
pub(super) fn merged(store: &Store, image: &StoredImage) -> Result<Tree, ExportError> {
    let tocs = image.layers().iter().map(|diff| store.toc(*diff)).collect::<Result<_, _>>()?;
    Ok(Tree::new(tocs))
}

/// The layers' uncompressed tars, bottom first.
pub(super) fn open_tars(store: &Store, image: &StoredImage) -> Result<Vec<File>, ExportError> {
    Ok(image.layers().iter().map(|diff| store.layer_tar(*diff)).collect::<Result<_, _>>()?)
}

/// The names that files of a layer have in the merged view. The name that holds the bytes in the layer may be
/// hidden from above; then the next name holds them.
#[derive(Default)]
pub(super) struct FirstNames(BTreeMap<(usize, ImagePath), ImagePath>);

impl FirstNames {
    /// What to write in place of a body; `None` for a regular file with bytes.
    pub(super) fn node(&mut self, found: &Found<'_>) -> Option<Node> {
        let own_name = &found.entry.path;
        let holder = match &found.entry.node {
            Node::File { .. } => own_name,
            Node::Hardlink(holder) => holder,
            Node::Dir
            | Node::Symlink(_)
            | Node::Char { .. }
            | Node::Block { .. }
            | Node::Fifo
            | Node::Whiteout
            | Node::Opaque => return Some(found.entry.node.clone()),
        };
        let key = (found.layer, holder.clone());
        if let Some(first) = self.0.get(&key) {
            return Some(Node::Hardlink(first.clone()));
        }
        self.0.insert(key, own_name.clone());
        None
    }
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
