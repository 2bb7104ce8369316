//! Unpacked layers held against what unpacking them makes.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use rustix::fs::OFlags;

use super::{Finding, Objects};
use crate::digest::DiffId;
use crate::layer::audit::{Change, Deviation, audit};
use crate::path::ImagePath;
use crate::store::snapshots::{LABEL, short_target};
use crate::store::{Store, StoreError};
use crate::sys::{beneath, dir, file};

impl Store {
    /// Holds every unpacked layer of one image against its table of contents: what was added, changed or removed since
    /// it was unpacked. Each byte is read once, on all processors; memory stays within a few MiB and the tables.
    /// Layers that are not unpacked yet are checked when they are. To be called from outside of rayon's pool.
    ///
    /// The tables count as what their checksums say; [`Store::verify`] holds those against the tars.
    ///
    /// # Errors
    /// [`StoreError::Mapping`] where unpacked layers were made under other ids, and errors of reading tables. What
    /// cannot be read of a layer is a finding.
    pub fn verify_stack(&self, layers: &[DiffId]) -> Result<Vec<Finding>, StoreError> {
        let stacks = (1..=layers.len()).map(|top| layers[..top].to_vec());
        let mut unpacked = BTreeMap::new();
        for stack in stacks {
            let cache_id = self.cache_id(&stack)?;
            if self.is_unpacked(&self.root.join("overlay").join(&cache_id))? {
                unpacked.insert(cache_id, stack);
            }
        }
        self.changed_layers(&unpacked)
    }

    /// The stacks whose top layers are unpacked, by cache id: each layer by itself, and those of images that lean on
    /// what is below them.
    pub(super) fn unpacked_stacks(
        &self,
        objects: &Objects,
    ) -> Result<BTreeMap<String, Vec<DiffId>>, StoreError> {
        let mut stacks = BTreeMap::new();
        let alone = objects.diffs.iter().map(|diff| vec![*diff]);
        let in_images =
            objects.stacks.iter().flat_map(|stack| (1..=stack.len()).map(|top| stack[..top].to_vec()));
        for stack in alone.chain(in_images) {
            // Of a layer without a table nothing can be said; that it has none is said.
            let Ok(cache_id) = self.cache_id(&stack) else { continue };
            if self.is_unpacked(&self.root.join("overlay").join(&cache_id))? {
                stacks.entry(cache_id).or_insert(stack);
            }
        }
        Ok(stacks)
    }

    /// One layer after the other, each on all processors.
    pub(super) fn changed_layers(
        &self,
        stacks: &BTreeMap<String, Vec<DiffId>>,
    ) -> Result<Vec<Finding>, StoreError> {
        if !stacks.is_empty() {
            self.check_mapping()?;
        }
        let mut findings = Vec::new();
        for (cache_id, stack) in stacks {
            let dir = self.root.join("overlay").join(cache_id).join("diff");
            let deviations = self.audit_unpacked(cache_id, stack)?;
            if !deviations.is_empty() {
                findings.push(Finding::Unpacked { stack: stack.clone(), dir, deviations });
            }
            let links = self.damaged_links(cache_id);
            findings.extend(links.map(|(path, why)| Finding::Link { stack: stack.clone(), path, why }));
        }
        Ok(findings)
    }

    /// What differs in one unpacked layer.
    pub(in crate::store) fn audit_unpacked(
        &self,
        cache_id: &str,
        stack: &[DiffId],
    ) -> Result<Vec<Deviation>, StoreError> {
        let toc = self.toc(*stack.last().expect("a stack has a top"))?;
        let lower = self.lower(stack)?;
        let overlay = self.root.join("overlay");
        let below = format!("{cache_id}/diff");
        let opened = dir::open(&overlay).and_then(|overlay| {
            beneath::open_on_mount(overlay, OsStr::new(&below), OFlags::RDONLY | OFlags::DIRECTORY)
        });
        match opened {
            Ok(root) => {
                let audited = audit(root.as_fd(), &toc, &self.unpack_options(&lower));
                Ok(audited.map_err(|e| file::context(e, "read unpacked layer", &overlay.join(below)))?)
            }
            Err(error) => {
                Ok(vec![Deviation { path: ImagePath::root(), change: Change::of(&error, "a directory") }])
            }
        }
    }

    /// The two halves of a layer's short name.
    fn damaged_links(&self, cache_id: &str) -> impl Iterator<Item = (PathBuf, String)> {
        let name = Self::short_link(cache_id);
        let (label, short) =
            (self.root.join("overlay").join(cache_id).join("link"), self.root.join("l").join(&name));
        let found = file::read_regular(&label, LABEL);
        let label =
            (!found.is_ok_and(|found| found == name.as_bytes())).then(|| (label, "is not noted".to_owned()));
        let short = match fs::read_link(&short) {
            Ok(target) if target.as_os_str() == OsStr::new(&short_target(cache_id)) => None,
            Ok(target) => Some((short, format!("leads to {}", target.display()))),
            Err(error) => Some((short, format!("cannot be read: {error}"))),
        };
        label.into_iter().chain(short)
    }
}
