//! Which packages the image of a target holds (spec/sbom.md).

use std::collections::BTreeSet;

use super::BuildError;
use crate::digest::ImageId;
use crate::epoch::Epoch;
use crate::exec::files::{names_packed, read_packed};
use crate::exec::observe::Rootfs;
use crate::path::ImagePath;
use crate::sbom::{Contents, Distribution, Package, SbomError, apk, dpkg};
use crate::store::Store;

/// The largest database that is read, in bytes.
const LARGEST: u64 = 64 << 20;
const STATUS: &str = "var/lib/dpkg/status";
/// Where images without a dpkg of their own keep one stanza a file.
const STATUS_DIR: &str = "var/lib/dpkg/status.d";
const INSTALLED: &str = "lib/apk/db/installed";

/// Reads an image's databases.
pub(super) fn contents(
    store: &Store,
    rootfs: &Rootfs,
    image: ImageId,
    epoch: Epoch,
) -> Result<Contents, BuildError> {
    let read = |name: &str| -> Result<Option<Vec<u8>>, BuildError> {
        Ok(read_packed(store, rootfs, &path(name), LARGEST)?)
    };
    let mut packages: BTreeSet<Package> = BTreeSet::new();
    let mut databases = vec![STATUS.to_owned()];
    let single = names_packed(store, rootfs, &path(STATUS_DIR))?;
    let single = single.iter().filter(|name| !name.ends_with(".md5sums"));
    databases.extend(single.map(|name| format!("{STATUS_DIR}/{name}")));
    let list = |parse: fn(&[u8]) -> Result<Vec<Package>, SbomError>, file: &str, bytes: &[u8]| {
        parse(bytes).map_err(|source| BuildError::Sbom { file: file.to_owned(), source })
    };
    for file in &databases {
        if let Some(bytes) = read(file)? {
            packages.extend(list(dpkg, file, &bytes)?);
        }
    }
    if let Some(bytes) = read(INSTALLED)? {
        packages.extend(list(apk, INSTALLED, &bytes)?);
    }
    let mut distribution = Distribution::default();
    for file in ["etc/os-release", "usr/lib/os-release"] {
        if let Some(bytes) = read(file)? {
            distribution = Distribution::parse(&String::from_utf8_lossy(&bytes));
            break;
        }
    }
    Ok(Contents { image, epoch, distribution, packages })
}

fn path(name: &str) -> ImagePath {
    ImagePath::parse(name.as_bytes()).expect("a path of our own, or a name in an image")
}
