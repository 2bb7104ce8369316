//! From entries in the order of a tar to a table of contents: what all of them say together.

use super::Purpose;
use super::fault::{Fault, ReadError};
use crate::diag::escape;
use crate::layer::entry::{Node, Toc, TocEntry};
use crate::path::ImagePath;

/// An entry and where it begins in the tar, which tells what came first.
pub(super) struct Placed {
    pub offset: u64,
    pub entry: TocEntry,
}

impl Placed {
    fn error(&self, what: Fault) -> ReadError {
        ReadError { offset: self.offset, entry: Some(escape(self.entry.path.as_bytes())), what }
    }
}

/// Sorts the entries and refuses what has no single meaning.
pub(super) fn settle(mut placed: Vec<Placed>, purpose: Purpose) -> Result<Toc, ReadError> {
    placed.sort_unstable_by(|a, b| a.entry.path.cmp(&b.entry.path).then(a.offset.cmp(&b.offset)));
    let mut placed = unite(placed, purpose)?;
    check_parents(&placed)?;
    resolve_links(&mut placed)?;
    Ok(Toc::from_sorted(placed.into_iter().map(|p| p.entry).collect()))
}

/// Makes one of several entries of a path, or refuses them.
fn unite(placed: Vec<Placed>, purpose: Purpose) -> Result<Vec<Placed>, ReadError> {
    if placed.windows(2).all(|pair| stand_alone(&pair[0].entry, &pair[1].entry)) {
        // Nearly every layer; a second list would double what a large one takes.
        return Ok(placed);
    }
    let mut united: Vec<Placed> = Vec::with_capacity(placed.len());
    let mut rest = placed.into_iter().peekable();
    while let Some(first) = rest.next() {
        let mut group = Group::default();
        let path = first.entry.path.clone();
        group.add(first, purpose)?;
        while let Some(next) = rest.next_if(|p| p.entry.path == path) {
            group.add(next, purpose)?;
        }
        let has_children = rest.peek().is_some_and(|p| p.entry.path.strip_prefix(&path).is_some());
        group.finish(has_children, &mut united);
    }
    Ok(united)
}

/// Whether neighbours have nothing to do with each other: different paths, and none below a whiteout.
fn stand_alone(first: &TocEntry, second: &TocEntry) -> bool {
    first.path != second.path
        && (first.node != Node::Whiteout || second.path.strip_prefix(&first.path).is_none())
}

/// The entries of one path.
#[derive(Default)]
struct Group {
    own: Option<Placed>,
    whiteout: Option<Placed>,
    opaque: Option<Placed>,
}

impl Group {
    fn add(&mut self, placed: Placed, purpose: Purpose) -> Result<(), ReadError> {
        match &placed.entry.node {
            Node::Whiteout => self.whiteout = Some(placed),
            Node::Opaque => self.opaque = Some(placed),
            Node::Dir
            | Node::File { .. }
            | Node::Hardlink(_)
            | Node::Symlink(_)
            | Node::Char { .. }
            | Node::Block { .. }
            | Node::Fifo => {
                // Listing a directory again is common and only says its metadata anew.
                let again = |own: &Placed| own.entry.node != Node::Dir || placed.entry.node != Node::Dir;
                if purpose == Purpose::Layer && self.own.as_ref().is_some_and(again) {
                    return Err(placed.error(Fault::Duplicate));
                }
                self.own = Some(placed);
            }
        }
        Ok(())
    }

    /// A whiteout hides what is below the layer and nothing of the layer itself: beside a directory, or what a
    /// directory must hold, it is an opaque mark; beside anything else it says nothing new.
    fn finish(self, has_children: bool, united: &mut Vec<Placed>) {
        let Self { own, whiteout, mut opaque } = self;
        let is_dir = own.as_ref().map_or(has_children, |own| own.entry.node == Node::Dir);
        match whiteout {
            Some(mut mark) if is_dir => {
                mark.entry.node = Node::Opaque;
                opaque = Some(mark);
            }
            Some(mark) if own.is_none() => {
                united.push(mark);
                return;
            }
            Some(_) | None => {}
        }
        united.extend(own);
        united.extend(opaque);
    }
}

/// Refuses entries below anything but a directory: a reader that follows a symlink there would leave the layer.
fn check_parents(placed: &[Placed]) -> Result<(), ReadError> {
    let mut above: Option<&ImagePath> = None;
    for p in placed {
        let path = &p.entry.path;
        if let Some(above) = above
            && path.strip_prefix(above).is_some()
        {
            return Err(p.error(Fault::BelowNonDirectory(above.clone())));
        }
        // Whatever lies below a path follows it at once, so the last one that is no directory is enough to know.
        above = (p.entry.node != Node::Dir && p.entry.node != Node::Opaque).then_some(path);
    }
    Ok(())
}

/// Leads each hard link to its file. A link to a symlink becomes a symlink.
fn resolve_links(placed: &mut [Placed]) -> Result<(), ReadError> {
    // In the order of the tar, so that a link to a link finds that one resolved.
    let mut links: Vec<(u64, usize)> = placed
        .iter()
        .enumerate()
        .filter(|(_, p)| matches!(p.entry.node, Node::Hardlink(_)))
        .map(|(at, p)| (p.offset, at))
        .collect();
    links.sort_unstable();
    for (offset, at) in links {
        let Node::Hardlink(target) = &placed[at].entry.node else { continue };
        let found = placed.binary_search_by(|p| p.entry.path.cmp(target)).ok().map(|to| &placed[to]);
        let found = found.filter(|found| found.offset < offset);
        let node = match found.map(|found| (&found.entry.node, &found.entry.path)) {
            Some((Node::File { .. }, path)) => Node::Hardlink(path.clone()),
            Some((Node::Hardlink(file), _)) => Node::Hardlink(file.clone()),
            Some((Node::Symlink(to), _)) => Node::Symlink(to.clone()),
            Some(_) | None => return Err(placed[at].error(Fault::LinkTarget(target.clone()))),
        };
        let meta = found.map(|found| found.entry.meta.clone()).unwrap_or_default();
        placed[at].entry.node = node;
        placed[at].entry.meta = meta;
    }
    Ok(())
}
