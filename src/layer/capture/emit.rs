//! The second pass: from the plan to the layer.

use std::collections::BTreeMap;
use std::io::Write;

use super::disk::Disk;
use super::{CaptureError, Planned, Verdict};
use crate::layer::entry::Node;
use crate::layer::write::LayerWriter;
use crate::path::ImagePath;

/// Makes the first name of each file the file and the others links to it. If any name is a change then all are
/// written, since a link can only lead to a file of its own layer.
pub(super) fn join_hard_links(plan: &mut [Planned]) {
    let mut groups: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (at, planned) in plan.iter().enumerate() {
        if let Some(inode) = planned.shared {
            groups.entry(inode).or_default().push(at);
        }
    }
    for group in groups.values() {
        if group.iter().all(|at| plan[*at].verdict == Verdict::Same) {
            continue;
        }
        let first = plan[group[0]].entry.clone();
        plan[group[0]].verdict = Verdict::Changed;
        for at in &group[1..] {
            plan[*at].verdict = Verdict::Changed;
            plan[*at].entry.node = Node::Hardlink(first.path.clone());
            plan[*at].entry.meta = first.meta.clone();
        }
    }
}

/// Makes a change of every directory above one: each entry of a layer comes after the directories above it.
pub(super) fn join_directories(plan: &mut [Planned]) {
    // Unchanged directories above the current entry.
    let mut waiting: Vec<usize> = Vec::new();
    for at in 0..plan.len() {
        let path = plan[at].entry.path.clone();
        while waiting.pop_if(|dir| path.strip_prefix(&plan[*dir].entry.path).is_none()).is_some() {}
        match plan[at].verdict {
            Verdict::Same if plan[at].entry.node == Node::Dir => waiting.push(at),
            Verdict::Same => {}
            Verdict::Changed => {
                for dir in waiting.drain(..) {
                    plan[dir].verdict = Verdict::Changed;
                }
            }
        }
    }
}

/// Writes what changed.
pub(super) fn write<W: Write>(
    disk: &mut Disk,
    plan: &[Planned],
    writer: &mut LayerWriter<W>,
) -> Result<(), CaptureError> {
    let mut changed = plan.iter().filter(|planned| planned.verdict == Verdict::Changed);
    changed.try_for_each(|planned| entry(disk, planned, writer))
}

fn entry<W: Write>(
    disk: &mut Disk,
    planned: &Planned,
    writer: &mut LayerWriter<W>,
) -> Result<(), CaptureError> {
    let (path, meta, node): (&ImagePath, _, _) =
        (&planned.entry.path, &planned.entry.meta, &planned.entry.node);
    match node {
        Node::File { size, .. } => {
            let mut file = disk.file(path)?;
            writer.stream(path, meta, *size, &mut file)?;
        }
        Node::Dir
        | Node::Hardlink(_)
        | Node::Symlink(_)
        | Node::Char { .. }
        | Node::Block { .. }
        | Node::Fifo
        | Node::Whiteout
        | Node::Opaque => writer.node(path, meta, node)?,
    }
    Ok(())
}
