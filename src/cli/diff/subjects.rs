//! What can be compared, as people write it: the places of images, directories, tars and containers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::container::containers;
use crate::cli::places::{Access, Place, tar};
use crate::cli::session::{self, Need, Session};
use crate::cli::{CliError, find};
use crate::container::{find as find_container, snapshot};
use crate::diff::content::World;
use crate::diff::report::{LayerFacts, PlaceKind};
use crate::diff::{Body, Bytes, Layer, Subject};
use crate::image::{Archive, LoadError};
use crate::oci::json::MAX_DOCUMENT;
use crate::store::Containers;

/// What the forms are, for the help.
pub const FORMS: &str = "What can be compared:\n  \
    NAME, store:NAME           an image of the store; also an id or a digest\n  \
    docker://HOST/REPO[:TAG]   an image at a registry\n  \
    oci:DIR[:NAME]             in an OCI layout\n  \
    oci-archive:FILE[:NAME]    in an OCI layout in a tar\n  \
    docker-archive:FILE[:NAME] in what `docker save` writes\n  \
    dir:PATH                   the files below a directory\n  \
    tar:FILE                   the files in a tar\n  \
    container:NAME             the files of a container, running or not\n  \
    PATH                       whichever of these it is, if the store has no image of that name";

/// One of two things, as it was written.
#[derive(Debug, PartialEq)]
enum Form {
    Image(Place),
    Directory(PathBuf),
    Tar(PathBuf),
    Container(String),
    /// A file whose kind it says itself.
    File(PathBuf),
}

/// How things are reached.
pub struct Reach<'a> {
    access: &'a Access<'a>,
    /// Where containers are, if one is asked for. A plain user's namespace is entered before there are threads.
    containers: Option<(Session, Containers)>,
}

impl<'a> Reach<'a> {
    pub fn new(access: &'a Access<'a>, asked: [&str; 2]) -> Result<Self, CliError> {
        let has_container = asked.iter().any(|text| text.starts_with("container:"));
        let containers = has_container.then(|| containers(access.root, Need::FileSystems)).transpose()?;
        Ok(Self { access, containers })
    }

    /// Opens what was asked for.
    pub fn with<T>(
        &self,
        text: &str,
        act: impl FnOnce(Subject<'_>) -> Result<T, CliError>,
    ) -> Result<T, CliError> {
        let name = text.to_owned();
        match self.form(text)? {
            Form::Image(place) => {
                let kind = kind_of(&place);
                self.access.read(&place, |source, top| {
                    act(Subject {
                        name,
                        place: kind,
                        body: Body::Image { source, top },
                        world: World::default(),
                    })
                })
            }
            Form::Directory(path) => {
                let body = lone(Bytes::directory(&path));
                act(Subject { name, place: PlaceKind::Directory, body, world: World::default() })
            }
            Form::Tar(path) => {
                let body = lone(Bytes::tar_file(&path));
                act(Subject { name, place: PlaceKind::Tar, body, world: World::default() })
            }
            Form::File(path) => with_file(name, &path, act),
            Form::Container(container) => self.with_container(name, &container, act),
        }
    }

    fn form(&self, text: &str) -> Result<Form, CliError> {
        if let Some(path) = text.strip_prefix("dir:") {
            return Ok(Form::Directory(path.into()));
        }
        if let Some(path) = text.strip_prefix("tar:") {
            return Ok(Form::Tar(path.into()));
        }
        if let Some(name) = text.strip_prefix("container:") {
            return Ok(Form::Container(name.to_owned()));
        }
        match Place::parse(text)? {
            Place::Store(name) if name == text => {
                Ok(self.guess(text).unwrap_or(Form::Image(Place::Store(name))))
            }
            place => Ok(Form::Image(place)),
        }
    }

    /// What a path is that exists, unless the store has an image of that name.
    fn guess(&self, text: &str) -> Option<Form> {
        let path = Path::new(text);
        let meta = std::fs::metadata(path).ok()?;
        let is_path = text.starts_with(['/', '.']);
        if !is_path
            && let Ok(session) = session::open(self.access.root, Need::Store)
            && find::found(&session.store, text).is_ok()
        {
            return None;
        }
        Some(match (meta.is_dir(), path.join("oci-layout").exists()) {
            (true, true) => Form::Image(Place::Layout { dir: path.into(), name: None }),
            (true, false) => Form::Directory(path.into()),
            (false, _) => Form::File(path.into()),
        })
    }

    fn with_container<T>(
        &self,
        name: String,
        container: &str,
        act: impl FnOnce(Subject<'_>) -> Result<T, CliError>,
    ) -> Result<T, CliError> {
        let (session, all) = self.containers.as_ref().expect("it was asked for");
        let found = find_container(all, container)?;
        session.check()?;
        let (file, written) = snapshot(&session.store, &found)?;
        let layers = found.config.layers.iter().enumerate();
        let mut layers: Vec<Layer<'_>> =
            layers.map(|(at, layer)| Layer::stored(&session.store, layer.diff_id, at + 1)).collect();
        let own = bare(layers.len() + 1);
        layers.push(Layer::new(own, None, Bytes::Tar(Arc::new(file), Arc::new(written.toc))));
        let world = World { hostname: Some(found.config.hostname.clone()), ..World::default() };
        act(Subject { name, place: PlaceKind::Container, body: Body::Tree(layers), world })
    }
}

fn kind_of(place: &Place) -> PlaceKind {
    match place {
        Place::Store(_) => PlaceKind::Store,
        Place::Registry(_) => PlaceKind::Registry,
        Place::Layout { .. } => PlaceKind::Layout,
        Place::LayoutArchive { .. } => PlaceKind::LayoutArchive,
        Place::DockerArchive { .. } => PlaceKind::DockerArchive,
    }
}

/// A layer of which nothing is said.
fn bare(number: usize) -> LayerFacts {
    LayerFacts { number, diff_id: None, digest: None, size: None, media_type: None, created_by: None }
}

/// One layer that is all there is.
fn lone(bytes: Bytes<'_>) -> Body<'_> {
    Body::Tree(vec![Layer::new(bare(1), None, bytes)])
}

/// A file that is an archive of an image, or else a tar of files.
fn with_file<T>(
    name: String,
    path: &Path,
    act: impl FnOnce(Subject<'_>) -> Result<T, CliError>,
) -> Result<T, CliError> {
    let files = tar(path)?;
    let has = |member: &str| -> Result<bool, CliError> {
        Ok(files.read(member, MAX_DOCUMENT as u64).map_err(LoadError::from)?.is_some())
    };
    let (place, archive) = if has("oci-layout")? {
        (PlaceKind::LayoutArchive, Archive::of_layout(files, None)?)
    } else if has("manifest.json")? {
        (PlaceKind::DockerArchive, Archive::of_docker(files, None)?)
    } else {
        let tar = files.into_tar().expect("it was opened as a tar");
        let (file, toc) = tar.map_err(CliError::io(format!("read {}", path.display())))?;
        let body = lone(Bytes::Tar(Arc::new(file), Arc::new(toc)));
        return act(Subject { name, place: PlaceKind::Tar, body, world: World::default() });
    };
    let top = archive.top().clone();
    act(Subject { name, place, body: Body::Image { source: &archive, top }, world: World::default() })
}
