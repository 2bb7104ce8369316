//! Places that images are copied from and to, as people write them: `docker://NAME`, `oci:DIR[:NAME]` and kin.

use std::path::{Path, PathBuf};

use super::client::{Named, client};
use super::logins::logins;
use super::session::{self, Need, variable};
use super::{CliError, find, names, out};
use crate::fetch::Watcher;
use crate::image::files::Files;
use crate::image::{Archive, BlobSource, LoadError, StoredImage, index};
use crate::oci::{Descriptor, Reference};
use crate::registry::{Registry, Target};

/// What the forms are, for the help of verbs that take them.
pub const FORMS: &str = "Places:\n  \
    NAME, store:NAME           an image of the store; also an id or a digest\n  \
    docker://HOST/REPO[:TAG]   at a registry\n  \
    oci:DIR[:NAME]             in an OCI layout\n  \
    oci-archive:FILE[:NAME]    in an OCI layout in a tar\n  \
    docker-archive:FILE[:NAME] in what `docker save` writes\n\
    What begins so is never a name: an image that is called oci is store:oci.";

/// A place, and what the image is called there.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    Store(String),
    Registry(Box<Reference>),
    Layout { dir: PathBuf, name: Option<String> },
    LayoutArchive { file: PathBuf, name: Option<String> },
    DockerArchive { file: PathBuf, name: Option<String> },
}

/// What others have places for and lith has not.
const UNKNOWN: [&str; 5] = ["docker-daemon:", "containers-storage:", "dir:/", "ostree:", "sif:"];

impl Place {
    pub fn parse(text: &str) -> Result<Self, CliError> {
        let usage = |message: String| CliError::Usage(format!("{text}: {message}"));
        if let Some(known) = UNKNOWN.iter().find(|known| text.starts_with(**known)) {
            let expected = "expected docker://, oci:, oci-archive:, docker-archive:, store: or a name";
            return Err(usage(format!("lith knows no {known} {expected}")));
        }
        if let Some(name) = text.strip_prefix("docker://") {
            let Named { names, .. } = Named::read(&[name.to_owned()])?;
            let [name] = &names[..] else { unreachable!("one text is one name") };
            return Ok(Self::Registry(Box::new(name.clone())));
        }
        if text.starts_with("docker:") {
            return Err(usage("expected docker://HOST/REPO:TAG".into()));
        }
        let files = |rest: &str| -> Result<(PathBuf, Option<String>), CliError> {
            let (path, name) = match rest.split_once(':') {
                Some((path, name)) => (path, Some(name.to_owned())),
                None => (rest, None),
            };
            match (path, name.as_deref()) {
                ("", _) => Err(usage("the path is missing".into())),
                (_, Some("")) => Err(usage("the name behind the colon is missing".into())),
                _ => Ok((path.into(), name)),
            }
        };
        if let Some(rest) = text.strip_prefix("oci:") {
            return files(rest).map(|(dir, name)| Self::Layout { dir, name });
        }
        if let Some(rest) = text.strip_prefix("oci-archive:") {
            return files(rest).map(|(file, name)| Self::LayoutArchive { file, name });
        }
        if let Some(rest) = text.strip_prefix("docker-archive:") {
            return files(rest).map(|(file, name)| Self::DockerArchive { file, name });
        }
        Ok(Self::Store(text.strip_prefix("store:").unwrap_or(text).to_owned()))
    }

    /// The registry that it is at.
    pub fn registry(&self) -> Option<&Reference> {
        match self {
            Self::Registry(name) => Some(name),
            Self::Store(_)
            | Self::Layout { .. }
            | Self::LayoutArchive { .. }
            | Self::DockerArchive { .. } => None,
        }
    }

    /// A name that an image is to have here.
    pub fn new_name(text: &str) -> Result<Reference, CliError> {
        names::parse(text)
    }
}

/// How places are reached.
pub struct Access<'a> {
    pub root: Option<&'a Path>,
    /// Registries are asked in the clear.
    pub plain_http: bool,
    pub watch: Watcher,
}

impl Access<'_> {
    /// A client for the registry of a name.
    pub fn client(&self, name: &Reference) -> Result<Registry, CliError> {
        let said = super::registries::registries()?;
        client([name.registry()], self.plain_http, &said, Box::new(logins()?), self.watch.clone())
    }

    /// Opens an image to be read: `act` gets where from, and the manifest or index that the place knows it by.
    pub fn read<T>(
        &self,
        place: &Place,
        act: impl FnOnce(&dyn BlobSource, Descriptor) -> Result<T, CliError>,
    ) -> Result<T, CliError> {
        let archive = match place {
            Place::Store(text) => return self.read_store(text, act),
            Place::Registry(name) => {
                let client = self.client(name)?;
                let repository = client.repository(name)?;
                let top = repository.manifest(Target::of(name))?.descriptor;
                return act(&repository, top);
            }
            Place::Layout { dir, name } => {
                let files = Files::directory(dir).map_err(LoadError::from)?;
                Archive::of_layout(files, name.as_deref())?
            }
            Place::LayoutArchive { file, name } => Archive::of_layout(tar(file)?, name.as_deref())?,
            Place::DockerArchive { file, name } => Archive::of_docker(tar(file)?, name.as_deref())?,
        };
        let top = archive.top().clone();
        act(&archive, top)
    }

    fn read_store<T>(
        &self,
        text: &str,
        act: impl FnOnce(&dyn BlobSource, Descriptor) -> Result<T, CliError>,
    ) -> Result<T, CliError> {
        let store = session::open(self.root, Need::Store)?.store;
        let found = find::found(&store, text)?;
        let top = match &found.index {
            Some(record) => {
                let (top, is_new) = index::top(&store, record)?;
                if is_new {
                    out::err(&format!(
                        "warning: {text}: what {} says of its images is not in the store, so this is a new index of them\n",
                        record.digest
                    ));
                }
                top
            }
            None => {
                let manifest = found.record.manifest.ok_or_else(|| {
                    CliError::Usage(format!("{text} is an intermediate image; it has no manifest"))
                })?;
                let image = StoredImage::open(&store, manifest)?;
                Descriptor::of(image.manifest.media_type(), &image.manifest_bytes)
            }
        };
        act(&store, top)
    }
}

/// Where temporary files are.
pub(super) fn scratch() -> PathBuf {
    variable("TMPDIR").filter(|dir| !dir.is_empty()).unwrap_or_else(|| "/var/tmp".into()).into()
}

/// The files of an archive; one that is packed is unpacked beside other temporary files, without a name.
pub(super) fn tar(file: &Path) -> Result<Files, CliError> {
    Ok(Files::tar_file(&scratch(), file).map_err(LoadError::from)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let layout =
            |dir: &str, name: Option<&str>| Place::Layout { dir: dir.into(), name: name.map(str::to_owned) };
        for (text, expected) in [
            ("app:1", Place::Store("app:1".into())),
            ("store:oci:1", Place::Store("oci:1".into())),
            ("registry:2", Place::Store("registry:2".into())),
            ("dir:1", Place::Store("dir:1".into())),
            ("oci:a/b", layout("a/b", None)),
            ("oci:/a:host:5000/x:1", layout("/a", Some("host:5000/x:1"))),
        ] {
            assert_eq!(Place::parse(text).unwrap(), expected, "{text}");
        }
        for (text, says) in [
            ("oci:", "the path is missing"),
            ("oci::x", "the path is missing"),
            ("oci-archive:x:", "the name behind the colon is missing"),
            ("docker:x", "expected docker://"),
            ("docker-daemon:x", "lith knows no docker-daemon:"),
            ("containers-storage:x", "lith knows no containers-storage:"),
        ] {
            assert!(Place::parse(text).unwrap_err().to_string().contains(says), "{text}");
        }
    }
}
