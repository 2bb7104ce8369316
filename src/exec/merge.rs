//! The layers of several steps as one layer (spec/layer.md, "Merging"). Nothing is mounted or unpacked.

use std::fs::File;
use std::sync::Arc;

use super::observe::Rootfs;
use super::source::{Body, Entry, SourceNode};
use super::{ExecError, Executor, copy};
use crate::layer::Node;
use crate::layer::merge::{Change, merge};
use crate::store::LayerRef;

impl Executor<'_> {
    /// Makes one layer that does on `parent` what `layers` do on it, one on top of the other.
    pub(super) fn merge(&self, layers: &[LayerRef], parent: &Rootfs) -> Result<LayerRef, ExecError> {
        let all: Rootfs = parent.iter().chain(layers).copied().collect();
        let changes = merge(&*self.trees.of(self.store, parent)?, &*self.trees.of(self.store, &all)?);
        let tars = layers.iter().map(|layer| self.store.layer_tar(layer.diff_id).map(Arc::new));
        let tars: Vec<Arc<File>> = tars.collect::<Result<_, _>>()?;
        let entry = |change: Change| entry(change, |layer| tars[layer - parent.len()].clone());
        let planned: copy::Planned =
            changes.into_iter().map(|(path, change)| (path, entry(change))).collect();
        self.store_layer(&planned)
    }
}

/// An entry as a layer is packed from it; `tar` gives that of a layer.
fn entry(change: Change, tar: impl Fn(usize) -> Arc<File>) -> Entry {
    let node = match change.node {
        Node::Dir => SourceNode::Dir,
        Node::Hardlink(target) => SourceNode::Hardlink(target),
        Node::File { size, content, offset } => {
            SourceNode::File { size, content, body: Body::Tar { tar: tar(change.layer), offset } }
        }
        node @ (Node::Symlink(_)
        | Node::Char { .. }
        | Node::Block { .. }
        | Node::Fifo
        | Node::Whiteout
        | Node::Opaque) => SourceNode::Other(node),
    };
    Entry { meta: change.meta, node }
}
