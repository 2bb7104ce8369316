//! Entries of the layer db held against the stacks they are named by.

use std::collections::{BTreeMap, BTreeSet};

use super::{Extent, Finding, Objects};
use crate::digest::{ChainId, DiffId, ImageId, chain_id, chain_ids};
use crate::store::{Store, StoreError};
use crate::sys::file;

/// More bytes than a digest has as text.
const DIGEST: u64 = 128;
/// More layers than a stack has.
const DEEPEST: usize = 4096;

impl Store {
    /// Entries that are not what their stacks make, and those that images need and that are not there.
    pub(super) fn damaged_chains(
        &self,
        objects: &Objects,
        extent: Extent<'_>,
    ) -> Result<Vec<Finding>, StoreError> {
        let whole: BTreeSet<ImageId> = objects.images.iter().map(|(_, image, _)| *image).collect();
        let mut stacks: BTreeMap<ChainId, Vec<DiffId>> = BTreeMap::new();
        for stack in whole.iter().filter_map(|image| self.stack(*image)) {
            for (at, chain) in chain_ids(&stack).into_iter().enumerate() {
                stacks.entry(chain).or_insert_with(|| stack[..=at].to_vec());
            }
        }
        let mut findings = Vec::new();
        if matches!(extent, Extent::Store) {
            for name in self.names_in("layerdb/sha256", |name| Some(name.to_owned()))? {
                let known = ChainId::from_hex(&name).is_ok_and(|chain| stacks.contains_key(&chain));
                if !known {
                    findings.extend(self.stray_chain(&name)?);
                }
            }
        }
        for stack in stacks.into_values() {
            findings.extend(self.damaged_chain(stack)?);
        }
        Ok(findings)
    }

    fn damaged_chain(&self, stack: Vec<DiffId>) -> Result<Option<Finding>, StoreError> {
        // What stands on a layer that came later has no entry.
        let was_elsewhere = |diff: &DiffId| self.promise_of(&(*diff).into()).is_some();
        let chain = *chain_ids(&stack).last().expect("a stack has a top");
        if stack.iter().any(was_elsewhere) && !self.chain_dir(chain).exists() {
            return Ok(None);
        }
        // Without its tar and table an entry cannot be told; that they are missing is said.
        let Ok(entry) = self.chain_entry(&stack) else { return Ok(None) };
        let faults = entry.faults()?;
        Ok((!faults.is_empty()).then_some(Finding::Chain { dir: entry.dir, stack: Some(stack), faults }))
    }

    /// An entry that no image needs: left by one that was removed, or, if it has no size, by a process that was killed.
    fn stray_chain(&self, name: &str) -> Result<Option<Finding>, StoreError> {
        let dir = self.root.join("layerdb/sha256").join(name);
        if name.starts_with('.') || dir.is_dir() && !dir.join("size").exists() {
            return Ok(None);
        }
        let link = ChainId::from_hex(name).ok().and_then(|chain| self.chain_link(chain));
        match link {
            None => {
                let faults = vec!["its name is not that of its diff and parent".to_owned()];
                Ok(Some(Finding::Chain { dir, stack: None, faults }))
            }
            Some(link) => match self.chain_stack(link) {
                Some(stack) => self.damaged_chain(stack),
                None => Ok(None),
            },
        }
    }

    /// The layer and the parent of an entry, if they make its name.
    fn chain_link(&self, chain: ChainId) -> Option<(DiffId, Option<ChainId>)> {
        let dir = self.chain_dir(chain);
        let text = |name: &str| String::from_utf8(file::read_regular(&dir.join(name), DIGEST).ok()?).ok();
        let diff = text("diff")?.parse().ok()?;
        let parent = match dir.join("parent").exists() {
            true => Some(text("parent")?.parse().ok()?),
            false => None,
        };
        (chain_id(parent, diff) == chain).then_some((diff, parent))
    }

    /// The stack that an entry is the top of, if the entries below are all there.
    fn chain_stack(&self, (diff, mut parent): (DiffId, Option<ChainId>)) -> Option<Vec<DiffId>> {
        let mut stack = vec![diff];
        while let Some(chain) = parent {
            let below = self.chain_link(chain)?;
            stack.push(below.0);
            parent = below.1;
            if stack.len() > DEEPEST {
                return None;
            }
        }
        stack.reverse();
        Some(stack)
    }
}
