//! Files that came with packages: a rule about litter must not leave a package without a file that it lists.

use std::collections::BTreeSet;
use std::io::Read as _;

use super::disk::Disk;
use super::{CaptureError, io_error};
use crate::layer::litter::Litter;
use crate::path::ImagePath;

/// Where dpkg keeps a list of the files of each package.
const LISTS: &str = "var/lib/dpkg/info";
/// A list of a package's files is far shorter.
const LONGEST: u64 = 64 << 20;

/// What packages own that the step brought, of all that rules are about.
#[derive(Debug, Default)]
pub(super) struct Owned(BTreeSet<ImagePath>);

impl Owned {
    /// Reads the lists in the directory. A file that is new, and that a package owns, came with a list that is new.
    pub fn read(disk: &mut Disk, litter: &Litter) -> Result<Self, CaptureError> {
        let dir = ImagePath::parse(LISTS.as_bytes()).expect("a path of an image");
        if !disk.has(&dir) {
            return Ok(Self::default());
        }
        let mut owned = BTreeSet::new();
        for name in disk.names(&dir)?.into_iter().filter(|name| name.ends_with(b".list")) {
            let Ok(path) = ImagePath::parse(dir.child(&name).as_bytes()) else { continue };
            if !rustix::fs::FileType::from_raw_mode(disk.stat(&path)?.stx_mode.into()).is_file() {
                continue;
            }
            let mut text = Vec::new();
            disk.file(&path)?.take(LONGEST).read_to_end(&mut text).map_err(io_error("read", &path))?;
            let listed = text.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"/"));
            let listed = listed.filter_map(|line| ImagePath::parse(line).ok());
            owned.extend(listed.filter(|path| litter.act(path).is_some()));
        }
        Ok(Self(owned))
    }

    pub fn has(&self, path: &ImagePath) -> bool {
        self.0.contains(path)
    }
}
