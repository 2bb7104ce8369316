//! Merged views of root file systems, kept while a build goes from one step to the next.
//!
//! A step's parent mostly is the last one with one more layer, so its view is that one's with one layer merged in,
//! not a hundred.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::ExecError;
use super::observe::chain;
use crate::digest::ChainId;
use crate::layer::tree::Tree;
use crate::store::{LayerRef, Store};

/// How many views are kept: a view of 50,000 entries takes 1.2 MB.
const KEPT: usize = 8;

/// The views used last.
#[derive(Debug, Default)]
pub struct Trees {
    /// The newest in front.
    kept: Mutex<VecDeque<(Option<ChainId>, Arc<Tree>)>>,
}

impl Trees {
    /// The view of a root file system.
    pub fn of(&self, store: &Store, rootfs: &[LayerRef]) -> Result<Arc<Tree>, ExecError> {
        let wanted = chain(rootfs);
        if let Some(tree) = self.known(wanted) {
            return Ok(tree);
        }
        let tree = match rootfs.split_last() {
            Some((top, below)) if let Some(tree) = self.known(chain(below)) => {
                tree.with_layer(store.toc(top.diff_id)?)
            }
            Some(_) | None => {
                Tree::new(rootfs.iter().map(|layer| store.toc(layer.diff_id)).collect::<Result<_, _>>()?)
            }
        };
        let tree = Arc::new(tree);
        let mut kept = self.kept.lock().expect("no panic while held");
        kept.push_front((wanted, tree.clone()));
        kept.truncate(KEPT);
        Ok(tree)
    }

    fn known(&self, wanted: Option<ChainId>) -> Option<Arc<Tree>> {
        let kept = self.kept.lock().expect("no panic while held");
        kept.iter().find(|(chain, _)| *chain == wanted).map(|(_, tree)| tree.clone())
    }
}
