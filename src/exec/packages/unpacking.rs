//! Files of packages on their way to places in a layer, as dpkg would put them.
//!
//! The files below are asked for through an [`Observer`], so a layer serves again wherever what it met there is the same.

use std::collections::BTreeMap;

use super::Unpacked;
use crate::debian::{DebianError, status};
use crate::digest::ContentDigest;
use crate::epoch::Epoch;
use crate::exec::ExecError;
use crate::exec::copy::{Planned, keep_links_to, lead_with_first_names};
use crate::exec::observe::Observer;
use crate::exec::source::{Body, Entry, SourceNode};
use crate::layer::{Meta, Mtime, Node, TocEntry};
use crate::path::ImagePath;

/// What stands at a path: in this layer, else below.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    Nothing,
    Dir,
    Other,
}

/// A layer under construction.
pub(super) struct Unpacking<'a, 'b> {
    pub(super) below: &'a Observer<'b>,
    replaces: &'a [(String, String)],
    epoch: Epoch,
    entries: BTreeMap<ImagePath, Entry>,
    /// Which package each entry that is no directory is of.
    owners: BTreeMap<ImagePath, String>,
    /// The directory that was asked for last, and where it really is.
    last: Option<(ImagePath, ImagePath)>,
}

impl<'a, 'b> Unpacking<'a, 'b> {
    pub(super) fn new(below: &'a Observer<'b>, replaces: &'a [(String, String)], epoch: Epoch) -> Self {
        let (entries, owners) = (BTreeMap::new(), BTreeMap::new());
        Self { below, replaces, epoch, entries, owners, last: None }
    }

    /// Makes the links that every system with one `/usr` has, in its first layer.
    pub(super) fn merge_usr(&mut self, first: bool) -> Result<(), ExecError> {
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
    pub(super) fn package(&mut self, package: &Unpacked) -> Result<(), ExecError> {
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
    pub(super) fn admin(&mut self, name: &str, mode: u16, bytes: Vec<u8>) -> Result<(), ExecError> {
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

    pub(super) fn admin_dir(&mut self, name: &str) -> Result<(), ExecError> {
        self.make_dirs(&admin_path(name))
    }

    /// The layer: with the directories above all entries, as they are below.
    pub(super) fn finish(mut self) -> Planned {
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
