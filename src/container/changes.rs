//! What a container's programs changed, against its image: looked at, or made a layer.
//!
//! A container that does not run is locked meanwhile. One that runs is read as it is, and again if it changed.

use std::fs::File;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags, fstat};

use super::ContainerError;
use super::life::{self, Container};
use crate::epoch::Epoch;
use crate::layer::write::{LayerWriter, Written};
use crate::layer::{CaptureError, CaptureOptions, Change, Tree, record};
use crate::path::ImagePath;
use crate::recipe::Litter;
use crate::store::{Containers, Store, StoreError};
use crate::sys::file::Unnamed;
use crate::sys::{beneath, dir};

/// How often a directory that changes while it is read is read again.
const TRIES: u32 = 8;
/// How long is waited in between, at first: longer than a tick of the clock of files.
const PAUSE: Duration = Duration::from_millis(20);

/// What a layer of the container's changes would hold, by path. A later time than the epoch is none.
pub fn changes(store: &Store, container: &Container, epoch: Epoch) -> Result<Vec<Change>, ContainerError> {
    read(store, container, |upper, lower, points| {
        Ok(crate::layer::changes(upper, lower, &options(store, epoch, points))?)
    })
}

/// Makes a layer of the container's changes, in the store. Gives it, and what was left out.
pub(super) fn layer(
    store: &Store,
    container: &Container,
    epoch: Epoch,
) -> Result<(Written, Vec<String>), ContainerError> {
    read(store, container, |upper, lower, points| {
        let mut writer = LayerWriter::new(store.layer_sink()?);
        let captured = record(upper, lower, &options(store, epoch, points), &mut writer)?;
        let (sink, written) = writer.finish().map_err(CaptureError::from)?;
        store.commit_layer(sink, &written)?;
        Ok((written, captured.warnings))
    })
}

/// A layer of the container's changes as they are now, times and all, in a file without a name.
pub fn snapshot(store: &Store, container: &Container) -> Result<(File, Written), ContainerError> {
    // No file is of a later time, so that each keeps its own.
    let epoch = Epoch::from_seconds(i64::from(u32::MAX)).expect("a time that layers can have");
    read(store, container, |upper, lower, points| {
        let sink = Unnamed::new(&store.root().join("tmp")).map_err(StoreError::from)?;
        let mut writer = LayerWriter::new(sink);
        record(upper, lower, &options(store, epoch, points), &mut writer)?;
        let (sink, written) = writer.finish().map_err(CaptureError::from)?;
        Ok((sink.file().try_clone().map_err(StoreError::from)?, written))
    })
}

fn options<'a>(store: &Store, epoch: Epoch, points: &'a [(ImagePath, u64)]) -> CaptureOptions<'a> {
    CaptureOptions {
        litter: Litter::Kept,
        epoch,
        marks: store.unpacking().marks(),
        stubs: points,
        owners: store.unpacking().owners(),
    }
}

/// Why a try failed.
enum Fault {
    Capture(CaptureError),
    Store(StoreError),
}

impl From<CaptureError> for Fault {
    fn from(error: CaptureError) -> Self {
        Self::Capture(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Has the container's own layer read, against what its image has, and again while it changes.
fn read<T>(
    store: &Store,
    container: &Container,
    mut look: impl FnMut(&Path, &Tree, &[(ImagePath, u64)]) -> Result<T, Fault>,
) -> Result<T, ContainerError> {
    let containers = Containers::of(store.root());
    // Held to the end: nobody starts it meanwhile.
    let _lock = match life::lock(&containers, container) {
        Ok(lock) => Some(lock),
        Err(ContainerError::Running { .. }) => None,
        Err(error) => return Err(error),
    };
    let tocs = container.config.layers.iter().map(|layer| store.toc(layer.diff_id));
    let lower = Tree::new(tocs.collect::<Result<_, _>>()?);
    let layers = containers.layers(&container.id);
    let (upper, points) = (layers.writable().upper, layers.mount_points());
    let mut pause = PAUSE;
    for left in (0..TRIES).rev() {
        let points = mount_points(&points, &upper, &lower)
            .map_err(ContainerError::io("look at the mount points of a container"))?;
        let error = match look(&upper, &lower, &points) {
            Ok(done) => return Ok(done),
            Err(Fault::Store(error)) => return Err(error.into()),
            Err(Fault::Capture(error)) => error,
        };
        if !containers.dir(&container.id).exists() {
            return Err(ContainerError::Gone(container.id.clone()));
        }
        if left == 0 || !error.is_unsteady() {
            let name = container.name.clone();
            return Err(ContainerError::Unreadable { name, source: error });
        }
        sleep(pause);
        pause *= 2;
    }
    unreachable!("the last try returns")
}

/// The mount points that show in the container's own layer: copies of what was made for them below it, with their
/// inodes. As long as nothing is in them they are no change.
fn mount_points(points: &Path, upper: &Path, lower: &Tree) -> std::io::Result<Vec<(ImagePath, u64)>> {
    let (points, upper) = (dir::open(points)?, dir::open(upper)?);
    let mut found = Vec::new();
    let mut left = vec![ImagePath::root()];
    while let Some(path) = left.pop() {
        for entry in dir::list(&beneath::open_dir(&points, &path)?)? {
            let child = path.child(&entry.name);
            // What the image has is not there for a mount alone; something in it may be.
            let ours = lower.get(&child).is_none();
            if ours && let Ok(copy) = beneath::open(&upper, &child, OFlags::PATH, Mode::empty()) {
                found.push((child.clone(), fstat(&copy)?.st_ino));
            }
            if entry.kind == FileType::Directory {
                left.push(child);
            }
        }
    }
    Ok(found)
}
