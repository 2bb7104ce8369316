//! Packages as layers: brought, taken apart and unpacked, and the database that dpkg would have written
//! (spec/packages.md). No script runs and nothing is mounted.

mod unpacking;

use std::cmp::Reverse;
use std::fs::File;
use std::io::{Read, Write as _};
use std::sync::Arc;

use md5::{Digest as _, Md5};
use rayon::prelude::*;

use super::observe::{self, Observer, Rootfs};
use super::{ExecError, Executor};
use crate::action::Observation;
use crate::debian::deb::{Control, Deb, DebError};
use crate::debian::{DebianError, archive, status};
use crate::digest::hex;
use crate::epoch::Epoch;
use crate::layer::TocEntry;
use crate::path::ImagePath;
use crate::recipe::{PackageLayer, Pin};
use crate::store::{LayerRef, Store};
use crate::sys::file::{Section, Unnamed};
use unpacking::Unpacking;

/// One package, taken apart.
struct Unpacked {
    name: String,
    control: Control,
    files: Vec<TocEntry>,
    /// Where the bytes of its files are.
    spool: Arc<File>,
}

impl Executor<'_> {
    /// Makes a layer of packages; fetches those that are not in the store.
    pub(super) fn packages(
        &self,
        layer: &PackageLayer,
        parent: &Rootfs,
        epoch: Epoch,
    ) -> Result<(Vec<Observation>, LayerRef), ExecError> {
        archive::bring(self.store, &self.rules.fetch, layer.pins())?;
        let observer = self.observer(parent)?;
        let (planned, observations) = match layer {
            PackageLayer::Files { pins, replaces } => {
                let packages = unpack(self.store, pins)?;
                let mut unpacking = Unpacking::new(&observer, replaces, epoch);
                unpacking.merge_usr(parent.is_empty())?;
                for package in &packages {
                    unpacking.package(package)?;
                }
                (unpacking.finish(), seen(&observer, parent))
            }
            PackageLayer::Database { pins } => {
                let mut unpacking = Unpacking::new(&observer, &[], epoch);
                self.database(pins, parent, &mut unpacking)?;
                (unpacking.finish(), vec![observe::whole(parent)])
            }
        };
        Ok((observations, self.store_layer(&planned)?))
    }

    /// What dpkg knows of all packages, whose files are in `parent`.
    fn database(
        &self,
        pins: &[Pin],
        parent: &Rootfs,
        unpacking: &mut Unpacking<'_, '_>,
    ) -> Result<(), ExecError> {
        let controls = pins
            .par_iter()
            .map(|pin| opened(self.store, pin, |deb| deb.control(pin)))
            .collect::<Result<Vec<Control>, ExecError>>()?;
        let mut text = String::new();
        for (pin, control) in pins.iter().zip(&controls) {
            let mut conffiles = Vec::new();
            for path in status::conffiles(control) {
                conffiles.extend(self.md5(&path, parent, unpacking.below)?.map(|md5| (path, md5)));
            }
            text.push_str(&status::paragraph(control, &conffiles).map_err(|source| named(pin, source))?);
        }
        unpacking.admin("status", 0o644, text.into_bytes())?;
        unpacking.admin("available", 0o644, Vec::new())?;
        unpacking.admin("info/format", 0o644, b"1\n".to_vec())?;
        unpacking.admin_dir("updates")?;
        unpacking.admin_dir("triggers")?;
        let triggers = status::triggers(&controls)
            .map_err(|source| DebianError::Deb { package: "triggers".into(), source })?;
        for (name, text) in triggers {
            unpacking.admin(&format!("triggers/{name}"), 0o644, text.into_bytes())?;
        }
        Ok(())
    }

    /// The MD5 of a file below, by which dpkg knows later whether somebody edited it; `None` if it is no file.
    fn md5(&self, path: &str, parent: &Rootfs, below: &Observer<'_>) -> Result<Option<String>, ExecError> {
        let Ok(path) = ImagePath::parse(path.as_bytes()) else { return Ok(None) };
        let path = below.resolve(&path)?;
        let Some(found) = below.entry(&path) else { return Ok(None) };
        let Some((size, _, offset)) = found.file() else { return Ok(None) };
        let tar = self.store.layer_tar(parent[found.layer].diff_id)?;
        let mut section = Section { file: &tar, at: offset, left: size };
        let mut hash = Md5::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let got = section
                .read(&mut buffer)
                .map_err(|source| ExecError::ReadLayer { path: path.clone(), source })?;
            if got == 0 {
                return Ok(Some(hex(&hash.finalize())));
            }
            hash.update(&buffer[..got]);
        }
    }
}

/// What the layer relied on: on nothing below it, nothing is all there was.
fn seen(observer: &Observer<'_>, parent: &Rootfs) -> Vec<Observation> {
    if parent.is_empty() { vec![observe::whole(parent)] } else { observer.observations() }
}

fn named(pin: &Pin, source: DebError) -> ExecError {
    DebianError::Deb { package: pin.to_string(), source }.into()
}

fn opened<T>(
    store: &Store,
    pin: &Pin,
    look: impl FnOnce(&Deb<'_>) -> Result<T, DebError>,
) -> Result<T, ExecError> {
    let (file, _) = store.open_blob(&pin.sha256)?;
    Deb::open(&file).and_then(|deb| look(&deb)).map_err(|source| named(pin, source))
}

/// How many shares a processor has of the packages of a layer: small ones even out what sizes do not tell.
const SHARES: usize = 4;

/// Takes packages apart, on all processors.
fn unpack(store: &Store, pins: &[Pin]) -> Result<Vec<Unpacked>, ExecError> {
    let shares = shares(pins, rayon::current_num_threads() * SHARES);
    let parts: Vec<Vec<(usize, Unpacked)>> =
        shares.into_par_iter().map(|share| spooled(store, pins, &share)).collect::<Result<_, _>>()?;
    let mut all: Vec<(usize, Unpacked)> = parts.into_iter().flatten().collect();
    all.sort_by_key(|(at, _)| *at);
    Ok(all.into_iter().map(|(_, package)| package).collect())
}

/// Packages by index, in shares of about the same size.
fn shares(pins: &[Pin], count: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..pins.len()).collect();
    order.sort_by_key(|at| Reverse(pins[*at].size));
    let mut shares: Vec<(u64, Vec<usize>)> = vec![Default::default(); count.min(pins.len())];
    for at in order {
        let (size, share) =
            shares.iter_mut().min_by_key(|(size, _)| *size).expect("as many as packages, or more than none");
        *size += pins[at].size;
        share.push(at);
    }
    shares.into_iter().map(|(_, share)| share).collect()
}

/// Takes a share of the packages apart; their files go to one spool.
fn spooled(store: &Store, pins: &[Pin], share: &[usize]) -> Result<Vec<(usize, Unpacked)>, ExecError> {
    let mut spool = Unnamed::new(&store.root().join("tmp"))?;
    let shared = Arc::new(spool.file().try_clone()?);
    let mut base = 0;
    let mut all = Vec::new();
    for at in share {
        let pin = &pins[*at];
        let (control, (files, size)) =
            opened(store, pin, |deb| Ok((deb.control(pin)?, deb.files(&mut spool, base)?)))?;
        base += size;
        all.push((*at, Unpacked { name: pin.name.clone(), control, files, spool: shared.clone() }));
    }
    spool.flush()?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::BlobDigest;

    #[test]
    fn shares_are_about_the_same() {
        let pin = |size: u64| Pin {
            name: String::new(),
            version: String::new(),
            architecture: String::new(),
            sha256: BlobDigest::of(b""),
            size,
            url: String::new(),
        };
        let pins: Vec<Pin> = [1, 9, 2, 2, 5, 3].map(pin).into();
        assert_eq!(shares(&pins, 2), [vec![1, 3], vec![4, 5, 2, 0]]);
        assert_eq!(shares(&pins[..1], 8), [vec![0]]);
        assert_eq!(shares(&[], 8), Vec::<Vec<usize>>::new());
    }
}
