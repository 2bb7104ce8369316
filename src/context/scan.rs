//! The scan: names sorted, every entry stated once, directories in parallel.

use std::fs::File;
use std::io::ErrorKind;

use rayon::prelude::*;
use rustix::fs::{AtFlags, FileType, StatxFlags};

use super::ignore::ParentMatch;
use super::index::Stamp;
use super::pattern::{Pattern, is_wild, may_match_none};
use super::{Context, ContextError};
use crate::path::ImagePath;

/// One entry of the context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it really is in the context: never through a symlink.
    pub path: ImagePath,
    /// 0 to 0o7777.
    pub mode: u16,
    pub kind: Kind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Dir,
    File(Stamp),
    Symlink(Vec<u8>),
}

/// What one source of a COPY selects: a file, or a directory with all that is below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// The last name of the source as it was written or matched: what a file is called at its destination.
    pub name: Vec<u8>,
    pub top: Found,
    /// In layer order; empty for a file.
    pub below: Vec<Found>,
}

/// A directory to look into, with what its ignore rules said on the way.
#[derive(Clone)]
struct Place {
    path: ImagePath,
    ignored: bool,
    matched: ParentMatch,
}

impl Context {
    /// What a source path or pattern selects, in order. A pattern may select nothing; a plain path may not.
    /// `path` is rooted in the context. Symlinks are followed in the context where they are named, and at the end; a
    /// wildcard does not look through them.
    pub fn select(&self, path: &ImagePath) -> Result<Vec<Selected>, ContextError> {
        let mut places = vec![(Vec::new(), self.top())];
        let mut wild = false;
        let mut names = path.names().peekable();
        while let Some(name) = names.next() {
            wild |= may_match_none(name);
            let look_through = !wild || names.peek().is_none();
            let mut next = Vec::new();
            for (_, place) in &places {
                self.step(path, place, name, look_through, &mut next)?;
            }
            places = next;
        }
        let mut selected = Vec::new();
        for (name, place) in places {
            selected.extend(self.select_place(name, &place, wild)?);
        }
        if selected.is_empty() && !wild {
            return Err(self.missing(path));
        }
        Ok(selected)
    }

    fn top(&self) -> Place {
        Place { path: ImagePath::root(), ignored: false, matched: ParentMatch::root() }
    }

    /// Goes from a place to its children of a name or pattern. `look_through`: symlinks are followed, not left out.
    fn step(
        &self,
        whole: &ImagePath,
        place: &Place,
        name: &[u8],
        look_through: bool,
        out: &mut Vec<(Vec<u8>, Place)>,
    ) -> Result<(), ContextError> {
        let names = if is_wild(name) {
            let pattern = Pattern::parse(name)
                .map_err(|source| ContextError::Pattern { pattern: whole.clone(), source })?;
            match self.open_dir(&place.path) {
                Ok(dir) => {
                    sorted_names(&dir, &place.path)?.into_iter().filter(|n| pattern.matches(n)).collect()
                }
                Err(ContextError::Io { source, .. }) if source.kind() == ErrorKind::NotADirectory => {
                    Vec::new()
                }
                Err(error) => return Err(error),
            }
        } else {
            vec![name.to_vec()]
        };
        for name in names {
            let child = place.path.child(&name);
            if let Some(real) = self.follow(&child)?.filter(|real| look_through || *real == child) {
                out.push((name, self.place_of(&real)));
            }
        }
        Ok(())
    }

    /// The ignore state of a real path, from the root down.
    fn place_of(&self, path: &ImagePath) -> Place {
        let mut place = self.top();
        for step in path.ancestors().chain((!path.is_root()).then(|| path.clone())) {
            let (ignored, matched) = self.ignore.enter(&place.matched, &step);
            place = Place { path: step, ignored, matched };
        }
        place
    }

    /// Resolves symlinks of a path inside the context, the last component too; `None` if nothing is there.
    fn follow(&self, path: &ImagePath) -> Result<Option<ImagePath>, ContextError> {
        let mut gone = false;
        let real = path.follow(|at| match self.read_link(at) {
            Ok(target) => Ok(target),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => {
                gone = true;
                Ok(None)
            }
            Err(error) => Err(io_error("read link", at, error)),
        })?;
        match real {
            _ if gone => Ok(None),
            Some(real) => Ok(Some(real)),
            None => Err(ContextError::Links { path: path.clone() }),
        }
    }

    /// The target if `path` is a symlink, `None` if it is anything else.
    fn read_link(&self, path: &ImagePath) -> Result<Option<Vec<u8>>, rustix::io::Errno> {
        match rustix::fs::readlinkat(&self.dir, path.as_os_str(), Vec::new()) {
            Ok(target) => Ok(Some(target.into_bytes())),
            Err(rustix::io::Errno::INVAL) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads one selected place; nothing if it is ignored whole.
    fn select_place(
        &self,
        name: Vec<u8>,
        place: &Place,
        wild: bool,
    ) -> Result<Option<Selected>, ContextError> {
        let Some(top) = self.stat(&place.path)? else { return Ok(None) };
        if place.ignored && (top.kind != Kind::Dir || !self.ignore.may_reinclude_below(&place.path)) {
            return if wild { Ok(None) } else { Err(self.ignored(&place.path)) };
        }
        let below = match top.kind {
            Kind::Dir => self.scan(place)?,
            Kind::File(_) | Kind::Symlink(_) => Vec::new(),
        };
        if place.ignored && below.is_empty() {
            return if wild { Ok(None) } else { Err(self.ignored(&place.path)) };
        }
        Ok(Some(Selected { name, top, below }))
    }

    fn ignored(&self, path: &ImagePath) -> ContextError {
        ContextError::Ignored { path: path.clone(), file: self.ignore_name.clone() }
    }

    fn missing(&self, path: &ImagePath) -> ContextError {
        ContextError::NotFound(path.clone())
    }

    fn open_dir(&self, path: &ImagePath) -> Result<File, ContextError> {
        crate::sys::beneath::open_dir(&self.dir, path).map(File::from).map_err(|source| ContextError::Io {
            act: "open directory",
            path: path.clone(),
            source,
        })
    }

    fn stat(&self, path: &ImagePath) -> Result<Option<Found>, ContextError> {
        if path.is_root() {
            let stat = rustix::fs::fstat(&self.dir).map_err(|e| io_error("stat", path, e))?;
            return Ok(Some(Found { path: path.clone(), mode: permissions(stat.st_mode), kind: Kind::Dir }));
        }
        let parent = self.open_dir(&path.parent().expect("not the root"))?;
        stat_child(&parent, path)
    }

    /// Everything below a directory that the rules leave in, in layer order. A directory that is ignored itself
    /// appears if something below it is re-included.
    fn scan(&self, place: &Place) -> Result<Vec<Found>, ContextError> {
        let dir = self.open_dir(&place.path)?;
        let names = sorted_names(&dir, &place.path)?;
        let groups: Vec<Vec<Found>> = names
            .par_iter()
            .with_min_len(32)
            .map(|name| self.scan_child(&dir, place, name))
            .collect::<Result<_, _>>()?;
        Ok(groups.into_iter().flatten().collect())
    }

    fn scan_child(&self, dir: &File, place: &Place, name: &[u8]) -> Result<Vec<Found>, ContextError> {
        let path = place.path.child(name);
        let (ignored, matched) = self.ignore.enter(&place.matched, &path);
        if ignored && !self.ignore.may_reinclude_below(&path) {
            return Ok(Vec::new());
        }
        let Some(found) = stat_child(dir, &path)? else { return Err(ContextError::Changed(path)) };
        match found.kind {
            Kind::Dir => {
                let below = self.scan(&Place { path, ignored, matched })?;
                if ignored && below.is_empty() {
                    return Ok(Vec::new());
                }
                let mut all = Vec::with_capacity(below.len() + 1);
                all.push(found);
                all.extend(below);
                Ok(all)
            }
            Kind::File(_) | Kind::Symlink(_) if ignored => Ok(Vec::new()),
            Kind::File(_) | Kind::Symlink(_) => Ok(vec![found]),
        }
    }
}

fn io_error(act: &'static str, path: &ImagePath, error: rustix::io::Errno) -> ContextError {
    ContextError::Io { act, path: path.clone(), source: error.into() }
}

fn permissions(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).expect("twelve bits")
}

fn sorted_names(dir: &File, path: &ImagePath) -> Result<Vec<Vec<u8>>, ContextError> {
    let listed = crate::sys::dir::list(dir);
    let listed = listed.map_err(|source| ContextError::Io { act: "list", path: path.clone(), source })?;
    Ok(listed.into_iter().map(|entry| entry.name).collect())
}

/// States one child; `None` if it is gone.
fn stat_child(dir: &File, path: &ImagePath) -> Result<Option<Found>, ContextError> {
    use std::os::unix::ffi::OsStrExt as _;
    let name = std::ffi::OsStr::from_bytes(path.name());
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let stat = match rustix::fs::statx(dir, name, flags, StatxFlags::BASIC_STATS) {
        Ok(stat) => stat,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(io_error("stat", path, error)),
    };
    let special = |kind| Err(ContextError::Special { path: path.clone(), kind });
    let kind = match FileType::from_raw_mode(u32::from(stat.stx_mode)) {
        FileType::Directory => Kind::Dir,
        FileType::RegularFile => Kind::File(Stamp::of_statx(&stat)),
        FileType::Symlink => {
            let target =
                rustix::fs::readlinkat(dir, name, Vec::new()).map_err(|e| io_error("read link", path, e))?;
            Kind::Symlink(target.into_bytes())
        }
        FileType::Fifo => return special("FIFO"),
        FileType::Socket => return special("socket"),
        FileType::CharacterDevice => return special("character device"),
        FileType::BlockDevice => return special("block device"),
        FileType::Unknown => return special("thing of unknown kind"),
    };
    Ok(Some(Found { path: path.clone(), mode: stat.stx_mode & 0o7777, kind }))
}
