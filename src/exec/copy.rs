//! COPY, ADD and WORKDIR as layers: where entries land in the parent, and which directories come with them.
//!
//! Nothing is mounted: the parent is asked through an [`Observer`], so the result says what it relied on.

use std::collections::BTreeMap;

use super::ExecError;
use super::observe::Observer;
use super::source::{Entry, Form, Source, SourceNode};
use super::users::{self, Owner};
use crate::epoch::Epoch;
use crate::layer::{Meta, Mtime, Node};
use crate::path::ImagePath;
use crate::recipe::chmod::Chmod;

/// What a copy was asked to do, besides its sources.
#[derive(Debug, Clone)]
pub struct Placement<'a> {
    pub dest: &'a ImagePath,
    pub dest_is_dir: bool,
    pub chown: Option<&'a str>,
    pub chmod: Option<&'a Chmod>,
    pub epoch: Epoch,
}

/// The entries of the layer, in layer order.
pub type Planned = Vec<(ImagePath, Entry)>;

/// Entries under construction: the later of two with one path wins.
struct Landing<'a, 'b> {
    parent: &'a Observer<'b>,
    placement: &'a Placement<'a>,
    owner: Option<Owner>,
    entries: BTreeMap<ImagePath, Entry>,
    /// Existing directories in which a name was made or replaced.
    touched: std::collections::BTreeSet<ImagePath>,
}

/// Where every source lands.
pub fn land(
    parent: &Observer<'_>,
    placement: &Placement<'_>,
    sources: &[Source],
) -> Result<Planned, ExecError> {
    let owner = placement.chown.map(|text| users::chown(text, parent)).transpose()?;
    let mut landing = Landing {
        parent,
        placement,
        owner,
        entries: BTreeMap::new(),
        touched: std::collections::BTreeSet::new(),
    };
    let dest = parent.resolve(placement.dest)?;
    let inside = placement.dest_is_dir || sources.len() > 1;
    for source in sources {
        landing.source(&dest, inside, source)?;
    }
    landing.finish()
}

/// The directory of a WORKDIR and those above it that do not exist.
pub fn make_dir(
    parent: &Observer<'_>,
    path: &ImagePath,
    user: &str,
    epoch: Epoch,
) -> Result<Planned, ExecError> {
    let ids = users::process(user, parent)?;
    let placement = Placement { dest: path, dest_is_dir: true, chown: None, chmod: None, epoch };
    let owner = Some(Owner { uid: ids.uid, gid: ids.gid });
    let mut landing = Landing {
        parent,
        placement: &placement,
        owner,
        entries: BTreeMap::new(),
        touched: std::collections::BTreeSet::new(),
    };
    let path = parent.resolve(path)?;
    landing.make_dirs(&path, Form::Tree)?;
    landing.finish()
}

/// What a new entry meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Nothing,
    Dir,
    Other,
}

impl Landing<'_, '_> {
    fn source(&mut self, dest: &ImagePath, inside: bool, source: &Source) -> Result<(), ExecError> {
        match source.top.node {
            SourceNode::Dir => {
                self.make_dirs(dest, source.form)?;
                for (relative, entry) in &source.below {
                    let path = dest.join(relative);
                    // An archive may name a file without its directories.
                    let holder = path.parent().unwrap_or_default();
                    if holder != *dest && !self.entries.contains_key(&holder) {
                        self.make_dirs(&holder, source.form)?;
                    }
                    self.put(path, entry, source.form, dest)?;
                }
                Ok(())
            }
            SourceNode::File { .. } | SourceNode::Hardlink(_) | SourceNode::Other(_) => {
                let target =
                    if inside || self.is_dir(dest) { dest.child(&source.name) } else { dest.clone() };
                self.make_dirs(&target.parent().unwrap_or_default(), source.form)?;
                self.put(target, &source.top, source.form, dest)
            }
        }
    }

    /// Whether a directory stands at a path, in this layer or in the parent.
    fn is_dir(&self, path: &ImagePath) -> bool {
        match self.entries.get(path) {
            Some(entry) => matches!(entry.node, SourceNode::Dir),
            None => path.is_root() || self.parent.is_dir(path),
        }
    }

    /// Makes sure of a directory and everything above it, as `mkdir -p` with mode 0755 does. `form`: of what goes there.
    fn make_dirs(&mut self, path: &ImagePath, form: Form) -> Result<(), ExecError> {
        let steps: Vec<ImagePath> = path.ancestors().chain((!path.is_root()).then(|| path.clone())).collect();
        for step in steps {
            if let Some(made) = self.entries.get(&step) {
                if !matches!(made.node, SourceNode::Dir) {
                    return Err(ExecError::NotADirectory { path: step });
                }
                continue;
            }
            match self.parent.entry(&step) {
                Some(found) if found.entry.node == Node::Dir => {}
                Some(_) => return Err(ExecError::NotADirectory { path: step }),
                None => self.create_dir(step, form),
            }
        }
        Ok(())
    }

    fn create_dir(&mut self, path: ImagePath, form: Form) {
        let owner = self.owner.unwrap_or_default();
        let meta = Meta {
            mode: self.chmod(form).map_or(0o755, Chmod::of_new_dir),
            uid: owner.uid,
            gid: owner.gid,
            mtime: self.epoch(),
            xattrs: vec![],
        };
        self.touch_parent(&path);
        self.entries.insert(path, Entry { meta, node: SourceNode::Dir });
    }

    fn epoch(&self) -> Mtime {
        Mtime { secs: self.placement.epoch.seconds(), nanos: 0 }
    }

    fn touch_parent(&mut self, path: &ImagePath) {
        if let Some(parent) = path.parent() {
            self.touched.insert(parent);
        }
    }

    /// Puts one entry of a source at its place. `dest`: what hardlinks of the source are relative to.
    fn put(&mut self, path: ImagePath, entry: &Entry, form: Form, dest: &ImagePath) -> Result<(), ExecError> {
        let node = match &entry.node {
            SourceNode::Hardlink(to) => SourceNode::Hardlink(dest.join(to)),
            SourceNode::Dir | SourceNode::File { .. } | SourceNode::Other(_) => entry.node.clone(),
        };
        match (&node, self.standing(&path, matches!(node, SourceNode::Dir))) {
            (SourceNode::Dir, Standing::Dir) => {}
            (SourceNode::Dir, Standing::Other) => return Err(ExecError::NotADirectory { path }),
            (_, Standing::Dir) => return Err(ExecError::IsADirectory { path }),
            (_, Standing::Other | Standing::Nothing) => self.touch_parent(&path),
        }
        let meta = self.meta(entry, form);
        if let Some(old) = self.entries.insert(path.clone(), Entry { meta, node }) {
            keep_links_to(&mut self.entries, &path, old);
        }
        Ok(())
    }

    /// What a new entry would meet at a path. Below a directory that this layer makes nothing exists, so nothing is
    /// asked; a file only needs to know that it meets no directory.
    fn standing(&self, path: &ImagePath, for_dir: bool) -> Standing {
        if let Some(made) = self.entries.get(path) {
            return if matches!(made.node, SourceNode::Dir) { Standing::Dir } else { Standing::Other };
        }
        let parent = path.parent().unwrap_or_default();
        if self.entries.contains_key(&parent) && !self.parent.is_dir(&parent) {
            return Standing::Nothing;
        }
        if !for_dir {
            return if self.parent.is_dir(path) { Standing::Dir } else { Standing::Nothing };
        }
        match self.parent.entry(path) {
            None => Standing::Nothing,
            Some(found) if found.entry.node == Node::Dir => Standing::Dir,
            Some(_) => Standing::Other,
        }
    }

    /// What `--chmod` says about a source.
    fn chmod(&self, form: Form) -> Option<&Chmod> {
        match form {
            Form::Tree => self.placement.chmod,
            Form::Archive => None,
        }
    }

    fn meta(&self, entry: &Entry, form: Form) -> Meta {
        let mut meta = entry.meta.clone();
        if let Some(owner) = self.owner {
            (meta.uid, meta.gid) = (owner.uid, owner.gid);
        }
        let symlink = matches!(entry.node, SourceNode::Other(Node::Symlink(_)));
        if let Some(chmod) = self.chmod(form).filter(|_| !symlink) {
            meta.mode = chmod.apply(meta.mode, matches!(entry.node, SourceNode::Dir));
        }
        meta.mtime = Mtime { secs: meta.mtime.secs, nanos: 0 }.min(self.epoch());
        meta
    }

    /// Adds the existing directories above all entries, as a layer shows them.
    fn finish(mut self) -> Result<Planned, ExecError> {
        lead_with_first_names(&mut self.entries);
        let mut above: BTreeMap<ImagePath, Entry> = BTreeMap::new();
        let mut last = None;
        for path in self.entries.keys() {
            let holder = path.parent();
            if last == holder {
                continue;
            }
            last = holder;
            for dir in path.ancestors() {
                if self.entries.contains_key(&dir) || above.contains_key(&dir) {
                    continue;
                }
                let Some(found) = self.parent.entry(&dir) else { continue };
                let mut meta = found.entry.meta.clone();
                let own = Mtime { secs: meta.mtime.secs, nanos: 0 };
                meta.mtime = if self.touched.contains(&dir) { self.epoch() } else { own.min(self.epoch()) };
                above.insert(dir, Entry { meta, node: SourceNode::Dir });
            }
        }
        self.entries.append(&mut above);
        Ok(self.entries.into_iter().collect())
    }
}

/// A file that a later source replaces may have other names: the first of them becomes the file.
pub fn keep_links_to(entries: &mut BTreeMap<ImagePath, Entry>, path: &ImagePath, old: Entry) {
    if !matches!(old.node, SourceNode::File { .. }) {
        return;
    }
    let mut heir: Option<ImagePath> = None;
    for (name, entry) in entries {
        if matches!(&entry.node, SourceNode::Hardlink(to) if to == path) {
            match &heir {
                None => {
                    entry.node = old.node.clone();
                    heir = Some(name.clone());
                }
                Some(heir) => entry.node = SourceNode::Hardlink(heir.clone()),
            }
        }
    }
}

/// In a layer the first name of a file holds its bytes; an archive may name them in any order.
pub fn lead_with_first_names(entries: &mut BTreeMap<ImagePath, Entry>) {
    let mut names: BTreeMap<ImagePath, Vec<ImagePath>> = BTreeMap::new();
    for (path, entry) in &*entries {
        if let SourceNode::Hardlink(to) = &entry.node {
            names.entry(to.clone()).or_default().push(path.clone());
        }
    }
    for (holder, links) in names {
        // Links come in layer order, so the first of them is the one that may stand before the holder.
        let Some(first) = links.first().filter(|first| **first < holder).cloned() else { continue };
        let Some(file) = entries.get(&holder).cloned() else { continue };
        for name in links.iter().chain([&holder]) {
            let node = SourceNode::Hardlink(first.clone());
            entries.insert(name.clone(), Entry { meta: file.meta.clone(), node });
        }
        entries.insert(first, file);
    }
}
