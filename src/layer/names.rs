//! Which name of a file holds its bytes where layers are merged.

use std::collections::BTreeMap;

use super::Node;
use super::tree::Found;
use crate::path::ImagePath;

/// The names that files of a layer have in the merged view. The name that holds the bytes in the layer may be
/// hidden from above; then the next name holds them.
#[derive(Default)]
pub struct FirstNames(BTreeMap<(usize, ImagePath), ImagePath>);

impl FirstNames {
    /// What to write in place of a body; `None` for a regular file with bytes.
    pub fn node(&mut self, found: &Found<'_>) -> Option<Node> {
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
