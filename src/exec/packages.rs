//! Packages as layers: unpacked as dpkg unpacks them, and the database that dpkg would have written (spec/packages.md).
//!
//! No script runs and nothing is mounted. The files below are asked for through an [`Observer`], so a layer serves again
//! wherever what it met there is the same.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write as _};
use std::sync::Arc;

use md5::{Digest as _, Md5};
use rayon::prelude::*;

use super::copy::{Planned, keep_links_to, lead_with_first_names};
use super::observe::{self, Observer, Rootfs};
use super::source::{Body, Entry, SourceNode};
use super::{ExecError, Executor};
use crate::action::Observation;
use crate::debian::deb::{Control, Deb, DebError};
use crate::debian::{DebianError, archive, status};
use crate::digest::{ContentDigest, hex};
use crate::epoch::Epoch;
use crate::layer::{Meta, Mtime, Node, TocEntry};
use crate::path::ImagePath;
use crate::recipe::{PackageLayer, Pin};
use crate::store::{LayerRef, Store};
use crate::sys::file::{Section, Unnamed};

/// One package, taken apart.
struct Unpacked {
    name: String,
    control: Control,
    files: Vec<TocEntry>,
    /// Where the bytes of its files are.
    spool: Arc<File>,
}

/// What stands at a path: in this layer, else below.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    Nothing,
    Dir,
    Other,
}

/// A layer under construction.
struct Unpacking<'a, 'b> {
    below: &'a Observer<'b>,
    replaces: &'a [(String, String)],
    epoch: Epoch,
    entries: BTreeMap<ImagePath, Entry>,
    /// Which package each entry that is no directory is of.
    owners: BTreeMap<ImagePath, String>,
    /// The directory that was asked for last, and where it really is.
    last: Option<(ImagePath, ImagePath)>,
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
    DebianError::Deb { package: format!("{} {}", pin.name, pin.version), source }.into()
}

fn opened<T>(
    store: &Store,
    pin: &Pin,
    look: impl FnOnce(&Deb<'_>) -> Result<T, DebError>,
) -> Result<T, ExecError> {
    let (file, _) = store.open_blob(&pin.sha256)?;
    Deb::open(&file).and_then(|deb| look(&deb)).map_err(|source| named(pin, source))
}

/// Takes packages apart, on all processors: each thread's files go to one spool, whichever they are.
fn unpack(store: &Store, pins: &[Pin]) -> Result<Vec<Unpacked>, ExecError> {
    let share = pins.len().div_ceil(rayon::current_num_threads()).max(1);
    let parts: Vec<Vec<Unpacked>> =
        pins.par_chunks(share).map(|pins| spooled(store, pins)).collect::<Result<_, _>>()?;
    Ok(parts.into_iter().flatten().collect())
}

fn spooled(store: &Store, pins: &[Pin]) -> Result<Vec<Unpacked>, ExecError> {
    let mut spool = Unnamed::new(&store.root().join("tmp"))?;
    let shared = Arc::new(spool.file().try_clone()?);
    let mut base = 0;
    let mut all = Vec::new();
    for pin in pins {
        let (control, (files, size)) =
            opened(store, pin, |deb| Ok((deb.control(pin)?, deb.files(&mut spool, base)?)))?;
        base += size;
        all.push(Unpacked { name: pin.name.clone(), control, files, spool: shared.clone() });
    }
    spool.flush()?;
    Ok(all)
}

impl<'a, 'b> Unpacking<'a, 'b> {
    fn new(below: &'a Observer<'b>, replaces: &'a [(String, String)], epoch: Epoch) -> Self {
        let (entries, owners) = (BTreeMap::new(), BTreeMap::new());
        Self { below, replaces, epoch, entries, owners, last: None }
    }

    /// Makes the links that every system with one `/usr` has, in its first layer.
    fn merge_usr(&mut self, first: bool) -> Result<(), ExecError> {
        if first {
            status::ALWAYS_MERGED.iter().try_for_each(|name| self.link_to_usr(name))?;
        }
        Ok(())
    }

    fn link_to_usr(&mut self, name: &str) -> Result<(), ExecError> {
        let link = ImagePath::root().child(name.as_bytes());
        if self.standing(&link) == Standing::Nothing {
            let target = format!("usr/{name}");
            self.make_dirs(&ImagePath::root().child(b"usr").child(name.as_bytes()))?;
            let meta = Meta { mode: 0o777, mtime: self.time(), ..Meta::default() };
            let node = SourceNode::Other(Node::Symlink(target.into_bytes()));
            self.entries.insert(link, Entry { meta, node });
            self.last = None;
        }
        Ok(())
    }

    fn time(&self) -> Mtime {
        Mtime { secs: self.epoch.seconds(), nanos: 0 }
    }

    /// Puts a package's files in their places, and beside them what dpkg keeps of it.
    fn package(&mut self, package: &Unpacked) -> Result<(), ExecError> {
        for entry in package.files.iter().filter(|entry| !entry.path.is_root()) {
            self.put(package, entry)?;
        }
        let bad = |source| DebianError::Deb { package: package.name.clone(), source };
        let list = status::list(package.files.iter().map(|entry| &entry.path));
        let name = status::info_name(&package.control, "list").map_err(bad)?;
        self.admin(&format!("info/{name}"), 0o644, list)?;
        for (kind, (mode, bytes)) in &package.control.files {
            let name = status::info_name(&package.control, kind).map_err(bad)?;
            self.admin(&format!("info/{name}"), mode & 0o777, bytes.clone())?;
        }
        Ok(())
    }

    fn put(&mut self, package: &Unpacked, entry: &TocEntry) -> Result<(), ExecError> {
        let path = self.place(&entry.path)?;
        let node = match &entry.node {
            Node::Dir => return self.directory(path, &entry.meta),
            Node::File { size, content, offset } => SourceNode::File {
                size: *size,
                content: *content,
                body: Body::Tar { tar: package.spool.clone(), offset: *offset },
            },
            Node::Hardlink(to) => SourceNode::Hardlink(self.place(to)?),
            node => SourceNode::Other(node.clone()),
        };
        if let SourceNode::Other(Node::Symlink(target)) = &node
            && (self.standing(&path) == Standing::Dir || self.leads_to_itself(&path, target)?)
        {
            // What has been there as a directory stays one; and so does what the merged /usr holds already.
            return Ok(());
        }
        if self.standing(&path) == Standing::Dir {
            return Err(ExecError::IsADirectory { path });
        }
        if self.yields(package, &path)? {
            return Ok(());
        }
        let mut meta = entry.meta.clone();
        meta.mtime = Mtime { secs: meta.mtime.secs, nanos: 0 }.min(self.time());
        if let Some(old) = self.entries.insert(path.clone(), Entry { meta, node }) {
            keep_links_to(&mut self.entries, &path, old);
        }
        self.owners.insert(path, package.name.clone());
        Ok(())
    }

    /// A directory that is there keeps what it has, as with dpkg. Its time says nothing.
    fn directory(&mut self, path: ImagePath, meta: &Meta) -> Result<(), ExecError> {
        match self.standing(&path) {
            Standing::Dir => Ok(()),
            Standing::Nothing => {
                let meta = Meta { mtime: self.time(), ..meta.clone() };
                self.entries.insert(path, Entry { meta, node: SourceNode::Dir });
                self.last = None;
                Ok(())
            }
            Standing::Other => {
                let real = self.follow(&path)?;
                let is_dir = self.standing(&real) == Standing::Dir;
                if is_dir { Ok(()) } else { Err(ExecError::NotADirectory { path }) }
            }
        }
    }

    /// Whether what stands at a path stays, because its package replaces files of this one.
    fn yields(&self, package: &Unpacked, path: &ImagePath) -> Result<bool, ExecError> {
        let owner = match self.owners.get(path) {
            Some(owner) => owner.clone(),
            None if self.standing(path) == Standing::Nothing => return Ok(false),
            None => self.owner_below(path)?,
        };
        let replaces =
            |by: &str, whom: &str| self.replaces.iter().any(|(known, loser)| known == by && loser == whom);
        if owner == package.name || replaces(&package.name, &owner) {
            return Ok(false);
        }
        if replaces(&owner, &package.name) {
            return Ok(true);
        }
        Err(ExecError::FileConflict { path: path.clone(), first: owner, second: package.name.clone() })
    }

    /// Which package of the layers below has a path, by dpkg's lists there.
    fn owner_below(&self, path: &ImagePath) -> Result<String, ExecError> {
        let info = ImagePath::root().join(&admin_path("info"));
        for file in self.below.children(&info) {
            let name = String::from_utf8_lossy(file.name()).into_owned();
            let Some(package) = name.strip_suffix(".list") else { continue };
            let text = self.below.small_file(&file)?.unwrap_or_default();
            let has = |line: &&[u8]| {
                let listed = ImagePath::parse(line).ok();
                listed.is_some_and(|listed| {
                    let real = status::merged(&listed).map_or(listed, |(_, path)| path);
                    real == *path
                })
            };
            if text.split(|byte| *byte == b'\n').any(|line| has(&line)) {
                return Ok(package.split(':').next().unwrap_or_default().to_owned());
            }
        }
        Ok("none of the database".to_owned())
    }

    /// Where a path of a package really is: in the merged `/usr`, and behind the links that lead to directories.
    fn place(&mut self, path: &ImagePath) -> Result<ImagePath, ExecError> {
        let path = match status::merged(path) {
            Some((link, below_usr)) => {
                self.link_to_usr(link)?;
                below_usr
            }
            None => path.clone(),
        };
        let holder = path.parent().unwrap_or_default();
        let real = match &self.last {
            Some((asked, real)) if *asked == holder => real.clone(),
            Some(_) | None => {
                let real = self.follow(&holder)?;
                self.make_dirs(&real)?;
                self.last = Some((holder, real.clone()));
                real
            }
        };
        Ok(real.child(path.name()))
    }

    /// Follows symlinks of this layer and of those below.
    fn follow(&self, path: &ImagePath) -> Result<ImagePath, ExecError> {
        let real = path.follow(|at| {
            let link = match self.entries.get(at).map(|entry| &entry.node) {
                Some(SourceNode::Other(Node::Symlink(target))) => Some(target.clone()),
                Some(_) => None,
                None => match self.below.entry(at).map(|found| &found.entry.node) {
                    Some(Node::Symlink(target)) => Some(target.clone()),
                    Some(_) | None => None,
                },
            };
            Ok::<_, ExecError>(link)
        })?;
        real.ok_or_else(|| ExecError::Links { path: path.clone() })
    }

    /// Whether a symlink would lead to the place where it is put.
    fn leads_to_itself(&self, path: &ImagePath, target: &[u8]) -> Result<bool, ExecError> {
        let holder = path.parent().unwrap_or_default();
        let Ok(target) = holder.join_clamped(target) else { return Ok(false) };
        Ok(status::merged(&target).map_or(target, |(_, below_usr)| below_usr) == *path)
    }

    fn standing(&self, path: &ImagePath) -> Standing {
        if path.is_root() {
            return Standing::Dir;
        }
        let dir = match self.entries.get(path) {
            Some(entry) => Some(matches!(entry.node, SourceNode::Dir)),
            None => self.below.entry(path).map(|found| found.is_dir()),
        };
        match dir {
            None => Standing::Nothing,
            Some(true) => Standing::Dir,
            Some(false) => Standing::Other,
        }
    }

    /// Makes sure of a directory and of those above it, which no package may have listed.
    fn make_dirs(&mut self, path: &ImagePath) -> Result<(), ExecError> {
        let above = path.ancestors().chain((!path.is_root()).then(|| path.clone()));
        for dir in above.collect::<Vec<_>>() {
            match self.standing(&dir) {
                Standing::Dir => {}
                Standing::Other => return Err(ExecError::NotADirectory { path: dir }),
                Standing::Nothing => {
                    let meta = Meta { mode: 0o755, mtime: self.time(), ..Meta::default() };
                    self.entries.insert(dir, Entry { meta, node: SourceNode::Dir });
                }
            }
        }
        Ok(())
    }

    /// Writes a file of dpkg's own.
    fn admin(&mut self, name: &str, mode: u16, bytes: Vec<u8>) -> Result<(), ExecError> {
        let path = admin_path(name);
        self.make_dirs(&path.parent().unwrap_or_default())?;
        let node = SourceNode::File {
            size: bytes.len() as u64,
            content: ContentDigest::of(&bytes),
            body: Body::Bytes(bytes.into()),
        };
        let meta = Meta { mode, mtime: self.time(), ..Meta::default() };
        self.entries.insert(path, Entry { meta, node });
        Ok(())
    }

    fn admin_dir(&mut self, name: &str) -> Result<(), ExecError> {
        self.make_dirs(&admin_path(name))
    }

    /// The layer: with the directories above all entries, as they are below.
    fn finish(mut self) -> Planned {
        lead_with_first_names(&mut self.entries);
        let mut above = BTreeMap::new();
        for dir in self.entries.keys().flat_map(ImagePath::ancestors) {
            if self.entries.contains_key(&dir) || above.contains_key(&dir) {
                continue;
            }
            if let Some(found) = self.below.entry(&dir) {
                above.insert(dir, Entry { meta: found.entry.meta.clone(), node: SourceNode::Dir });
            }
        }
        self.entries.append(&mut above);
        self.entries.into_iter().collect()
    }
}

fn admin_path(name: &str) -> ImagePath {
    ImagePath::parse(format!("{}/{name}", status::ADMIN).as_bytes()).expect("names of dpkg's own")
}
