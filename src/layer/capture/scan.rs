//! The first pass: looks at everything in the upper directory and decides what of it is a change.

use rustix::fs::{FileType, Statx};

use super::disk::{Disk, is_kept, mode_of};
use super::owned::Owned;
use super::{CaptureError, CaptureOptions, Mend, Owners, Plan, Planned, Removal, Seen, Verdict};
use crate::digest::ContentDigest;
use crate::layer::entry::{Meta, Mtime, Node, TocEntry, Xattr};
use crate::layer::header::WHITEOUT_PREFIX;
use crate::layer::litter::{self, Act};
use crate::layer::tree::{Found, Tree};
use crate::mount::OWNER_XATTR;
use crate::path::ImagePath;
use crate::recipe::Litter;

/// Decides for everything in the directory. Only an unlocked mode changes on disk.
pub(super) fn scan(
    disk: &mut Disk,
    lower: &Tree,
    options: &CaptureOptions<'_>,
) -> Result<Plan, CaptureError> {
    let litter = rules(disk, options);
    let mut scan = Scan { disk, lower, options, litter, owned: None, plan: Plan::default() };
    scan.all()?;
    Ok(scan.plan)
}

/// The rules that hold here.
fn rules(disk: &mut Disk, options: &CaptureOptions<'_>) -> litter::Litter {
    match options.litter {
        Litter::Kept => litter::Litter::default(),
        Litter::Dropped => litter::Litter::new(|path| disk.has(path)),
    }
}

/// What is still to be done. A tree may be deeper than a thread's stack.
enum Step {
    Child(ImagePath, Below),
    /// A name below an opaque directory that it has not got itself.
    Hidden(ImagePath),
    /// All in a directory was looked at; where the plan stood before it.
    Left {
        path: ImagePath,
        stat: Box<Statx>,
        entries: usize,
        removed: usize,
    },
}

/// What a directory of the upper shows of the layers below.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Below {
    Merged,
    /// It or one above it is opaque.
    Hidden,
}

struct Scan<'a> {
    disk: &'a mut Disk,
    lower: &'a Tree,
    options: &'a CaptureOptions<'a>,
    litter: litter::Litter,
    /// What packages own that came with the step, once that is asked for.
    owned: Option<Owned>,
    plan: Plan,
}

impl Scan<'_> {
    fn all(&mut self) -> Result<(), CaptureError> {
        let mut steps = self.children(&ImagePath::root(), Below::Merged)?;
        while let Some(step) = steps.pop() {
            match step {
                Step::Child(path, below) => steps.extend(self.child(path, below)?),
                Step::Hidden(path) => self.whiteout(path, None, Mend::Whiteout),
                Step::Left { path, stat, entries, removed } if self.plan.entries.len() == entries + 1 => {
                    self.reconsider_empty(path, &stat, removed)?;
                }
                Step::Left { .. } => {}
            }
        }
        Ok(())
    }

    /// All that a directory holds or hides, the last in layer order first.
    fn children(&mut self, dir: &ImagePath, below: Below) -> Result<Vec<Step>, CaptureError> {
        let there = self.disk.names(dir)?;
        let hidden = match below {
            Below::Merged => Vec::new(),
            Below::Hidden => self.hidden(dir, &there),
        };
        let mut names: Vec<(&Vec<u8>, bool)> = there.iter().map(|name| (name, true)).collect();
        names.extend(hidden.iter().map(|name| (name, false)));
        names.sort();
        let step = |(name, is_there): (&Vec<u8>, bool)| {
            let path = ImagePath::parse(dir.child(name).as_bytes())
                .map_err(|source| CaptureError::Path { dir: dir.clone(), source })?;
            Ok(if is_there { Step::Child(path, below) } else { Step::Hidden(path) })
        };
        names.into_iter().rev().map(step).collect()
    }

    /// The names below an opaque directory that it has not got itself.
    fn hidden(&self, dir: &ImagePath, there: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let lower = self.lower.list(dir).into_iter().map(|found| found.entry.path.name().to_vec());
        lower.filter(|name| there.binary_search(name).is_err()).collect()
    }

    /// Looks at one; gives what is to be done next.
    fn child(&mut self, path: ImagePath, below: Below) -> Result<Vec<Step>, CaptureError> {
        let stat = self.disk.stat(&path)?;
        let kind = FileType::from_raw_mode(stat.stx_mode.into());
        if self.is_whiteout(&path, &stat, kind)? {
            // In an opaque directory too a whiteout hides the name.
            match self.lower.get(&path) {
                Some(_) => self.whiteout(path, Some(seen(&stat)), Mend::Nothing),
                None => self.plan.remove.push(Removal { path, is_dir: false }),
            }
            return Ok(vec![]);
        }
        if path.name().starts_with(WHITEOUT_PREFIX) {
            return Err(CaptureError::WhiteoutName { path });
        }
        if kind != FileType::Directory
            && let Some(act) = self.litter_act(&path)?
        {
            return self.litter(path, stat, kind, act).map(|()| vec![]);
        }
        match kind {
            FileType::Directory => return self.directory(path, stat, below),
            FileType::Socket => {
                self.plan.warnings.push(format!("{path} is a socket and is left out of the layer"));
                self.plan.remove.push(Removal { path, is_dir: false });
            }
            _ if stat.stx_size == 0 && self.is_stub(&path, &stat) => {
                self.plan.remove.push(Removal { path, is_dir: false });
            }
            _ => self.leaf(path, &stat, kind)?,
        }
        Ok(vec![])
    }

    /// What becomes of a path as litter. What a package owns is none.
    fn litter_act(&mut self, path: &ImagePath) -> Result<Option<Act>, CaptureError> {
        let Some(act) = self.litter.act(path) else { return Ok(None) };
        if self.owned.is_none() {
            self.owned = Some(Owned::read(self.disk, &self.litter)?);
        }
        let is_owned = self.owned.as_ref().is_some_and(|owned| owned.has(path));
        Ok((!is_owned).then_some(act))
    }

    /// What the layers below have stays as they have it; else it is left out, or left without its bytes.
    fn litter(&mut self, path: ImagePath, stat: Statx, kind: FileType, act: Act) -> Result<(), CaptureError> {
        let size = if kind == FileType::RegularFile { stat.stx_size } else { 0 };
        if act == Act::Empty && self.lower.get(&path).is_none() {
            if size == 0 || kind != FileType::RegularFile {
                return self.leaf(path, &stat, kind);
            }
            self.disk.empty(&path)?;
            let stat = self.disk.stat(&path)?;
            self.leaf(path.clone(), &stat, kind)?;
        } else {
            self.plan.remove.push(Removal { path: path.clone(), is_dir: false });
        }
        self.plan.dropped.bytes += size;
        self.plan.dropped.paths.push(path);
        Ok(())
    }

    fn is_whiteout(&mut self, path: &ImagePath, stat: &Statx, kind: FileType) -> Result<bool, CaptureError> {
        match kind {
            FileType::CharacterDevice => Ok((stat.stx_rdev_major, stat.stx_rdev_minor) == (0, 0)),
            FileType::RegularFile if stat.stx_size == 0 => self.disk.is_whiteout_file(path),
            _ => Ok(false),
        }
    }

    fn whiteout(&mut self, path: ImagePath, seen: Option<Seen>, mend: Mend) {
        let entry = TocEntry { path, meta: Meta::default(), node: Node::Whiteout };
        self.plan.entries.push(Planned { entry, verdict: Verdict::Changed, shared: None, seen, mend });
    }

    fn directory(&mut self, path: ImagePath, stat: Statx, below: Below) -> Result<Vec<Step>, CaptureError> {
        let unlocked = self.disk.unlock(&path, &stat)?;
        let facts = self.disk.directory(&path)?;
        let below = if facts.opaque { Below::Hidden } else { below };
        let meta = self.meta(&path, &stat, facts.xattrs, &Node::Dir);
        let entry = TocEntry { path: path.clone(), meta, node: Node::Dir };
        let found = self.lower.get(&path);
        let same = found.is_some_and(|found| equals(&found, &entry, time_of(&stat)));
        let verdict = if same { Verdict::Same } else { Verdict::Changed };
        let mend = Mend::Directory { opaque: facts.opaque, unlocked };
        let (entries, removed) = (self.plan.entries.len(), self.plan.remove.len());
        self.plan.entries.push(Planned { entry, verdict, shared: None, seen: Some(seen(&stat)), mend });
        let children = self.children(&path, below)?;
        let left = Step::Left { path, stat: Box::new(stat), entries, removed };
        Ok([left].into_iter().chain(children).collect())
    }

    /// A directory, the last of the plan, in which nothing is: the sandbox may have made it, or may have changed its
    /// time by making something in it. Neither is the step's doing.
    fn reconsider_empty(
        &mut self,
        path: ImagePath,
        stat: &Statx,
        removed: usize,
    ) -> Result<(), CaptureError> {
        let is_litter = self.litter_act(&path)? == Some(Act::Drop);
        if is_litter || self.is_stub(&path, stat) {
            self.plan.entries.pop();
            self.plan.remove.push(Removal { path, is_dir: true });
            return Ok(());
        }
        let held_stub = self.plan.remove[removed..].iter().any(|gone| {
            gone.path.parent().as_ref() == Some(&path)
                && (self.options.stubs.iter().any(|(stub, _)| *stub == gone.path)
                    || self.litter.act(&gone.path).is_some())
        });
        let planned = self.plan.entries.last_mut().expect("the directory's own entry");
        let found = self.lower.get(&path);
        let only_time = found.is_some_and(|found| equals(&found, &planned.entry, found.entry.meta.mtime));
        if held_stub && only_time {
            planned.verdict = Verdict::Same;
        }
        Ok(())
    }

    fn leaf(&mut self, path: ImagePath, stat: &Statx, kind: FileType) -> Result<(), CaptureError> {
        let node = self.node(&path, stat, kind)?;
        let is_file = matches!(node, Node::File { .. });
        let xattrs = if is_file { self.disk.file_xattrs(&path)? } else { Vec::new() };
        let meta = self.meta(&path, stat, xattrs, &node);
        let mend = if meta.mtime == time_of(stat) { Mend::Nothing } else { Mend::Time };
        let entry = TocEntry { path, meta, node };
        let found = self.lower.get(&entry.path).filter(|found| equals(found, &entry, time_of(stat)));
        let same = match found.map(|found| found.file()) {
            None => false,
            Some(None) => true,
            Some(Some((_, content, _))) => self.disk.content(&entry.path)? == content,
        };
        let verdict = if same { Verdict::Same } else { Verdict::Changed };
        let shared = (is_file && stat.stx_nlink > 1).then_some(stat.stx_ino);
        self.plan.entries.push(Planned { entry, verdict, shared, seen: Some(seen(stat)), mend });
        Ok(())
    }

    /// The node of anything but a directory, a socket or a whiteout. A file's content is left open.
    fn node(&mut self, path: &ImagePath, stat: &Statx, kind: FileType) -> Result<Node, CaptureError> {
        let (major, minor) = (stat.stx_rdev_major, stat.stx_rdev_minor);
        Ok(match kind {
            FileType::Symlink => Node::Symlink(self.disk.link_target(path)?),
            FileType::CharacterDevice => Node::Char { major, minor },
            FileType::BlockDevice => Node::Block { major, minor },
            FileType::Fifo => Node::Fifo,
            _ => Node::File { size: stat.stx_size, content: ContentDigest::from_bytes([0; 32]), offset: 0 },
        })
    }

    fn meta(&self, path: &ImagePath, stat: &Statx, mut xattrs: Vec<Xattr>, node: &Node) -> Meta {
        let noted = xattrs.iter().position(|(name, _)| name == OWNER_XATTR.as_bytes());
        let noted = noted.map(|at| xattrs.remove(at).1);
        let (uid, gid) = self.owner(path, stat, node, noted.as_deref());
        let secs = stat.stx_mtime.tv_sec.min(self.options.epoch.seconds());
        let mode = u16::try_from(mode_of(stat).as_raw_mode()).expect("twelve bits");
        Meta { mode, uid, gid, mtime: Mtime { secs, nanos: 0 }, xattrs }
    }

    /// With recorded owners a file or directory says itself whose it is; what can carry no note keeps the owner of
    /// its like below.
    fn owner(&self, path: &ImagePath, stat: &Statx, node: &Node, noted: Option<&[u8]>) -> (u32, u32) {
        let on_disk = (stat.stx_uid, stat.stx_gid);
        match (self.options.owners, node) {
            (Owners::AsOnDisk, _) => on_disk,
            (Owners::Recorded, Node::File { .. } | Node::Dir) if is_the_only_id(on_disk) => {
                noted.and_then(parse_owner).unwrap_or((0, 0))
            }
            (Owners::Recorded, _) => {
                let found = self.lower.get(path).filter(|found| is_same_kind(found, node));
                match found.map(|found| &found.entry.meta) {
                    _ if !is_the_only_id(on_disk) => on_disk,
                    Some(meta) => (meta.uid, meta.gid),
                    None => (0, 0),
                }
            }
        }
    }

    fn is_stub(&self, path: &ImagePath, stat: &Statx) -> bool {
        self.options.stubs.iter().any(|(stub, inode)| *inode == stat.stx_ino && stub == path)
    }
}

/// Whether an owner is the one id that a namespace without ranges has: root inside, ourselves outside.
fn is_the_only_id((uid, gid): (u32, u32)) -> bool {
    let mine = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    (uid, gid) == (0, 0) || (uid, gid) == mine
}

fn seen(stat: &Statx) -> Seen {
    let changed =
        stat.stx_ctime.tv_sec.saturating_mul(1_000_000_000).saturating_add(stat.stx_ctime.tv_nsec.into());
    Seen { inode: stat.stx_ino, size: stat.stx_size, changed }
}

fn time_of(stat: &Statx) -> Mtime {
    Mtime { secs: stat.stx_mtime.tv_sec, nanos: stat.stx_mtime.tv_nsec }
}

/// Whether an entry is what the layers below have, the bytes of a file left aside. `time` is the one on disk: an
/// untouched file may well be newer than the epoch.
fn equals(found: &Found<'_>, entry: &TocEntry, time: Mtime) -> bool {
    let (below, above) = (&found.entry.meta, &entry.meta);
    // Linux has no modes of symlinks; archives from elsewhere have some.
    let modes = below.mode == above.mode || matches!(entry.node, Node::Symlink(_));
    is_same_node(found, &entry.node)
        && modes
        && (below.uid, below.gid) == (above.uid, above.gid)
        && (below.mtime == above.mtime || below.mtime == time)
        && below.xattrs.iter().filter(|(name, _)| is_kept(name)).eq(&above.xattrs)
}

fn is_same_node(found: &Found<'_>, node: &Node) -> bool {
    match node {
        Node::File { size, .. } => found.file().is_some_and(|(below, ..)| below == *size),
        Node::Dir
        | Node::Hardlink(_)
        | Node::Symlink(_)
        | Node::Char { .. }
        | Node::Block { .. }
        | Node::Fifo
        | Node::Whiteout
        | Node::Opaque => found.entry.node == *node,
    }
}

fn is_same_kind(found: &Found<'_>, node: &Node) -> bool {
    match node {
        Node::File { .. } => found.file().is_some(),
        Node::Dir
        | Node::Hardlink(_)
        | Node::Symlink(_)
        | Node::Char { .. }
        | Node::Block { .. }
        | Node::Fifo
        | Node::Whiteout
        | Node::Opaque => std::mem::discriminant(&found.entry.node) == std::mem::discriminant(node),
    }
}

/// `uid:gid` as [`OWNER_XATTR`] holds it.
pub(in crate::layer) fn parse_owner(note: &[u8]) -> Option<(u32, u32)> {
    let (uid, gid) = std::str::from_utf8(note).ok()?.split_once(':')?;
    Some((uid.parse().ok()?, gid.parse().ok()?))
}
