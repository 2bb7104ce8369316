//! Registries: what the specification asks of a client, and what servers may try (spec/registry.md, spec/threats.md).

mod auth;
mod conformance;
mod copy;
mod peers;
mod pull;
mod push;
mod signatures;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lith::digest::BlobDigest;
use lith::image::StoredImage;
use lith::login::{Login, LoginError, Logins, Secret};
use lith::oci::media::MediaType;
use lith::oci::{Descriptor, Reference};
use lith::registry::{
    Endpoint, Endpoints, Options, Pulled, Push, Pushed, Registry, RegistryError, Repository, Scheme, push,
};
use lith::store::{Store, Unpacking};
use serde_json::json;
use tempfile::TempDir;

use crate::support::archive::tar_of;
use crate::support::registry::{FakeRegistry, MANIFEST};

const REPOSITORY: &str = "team/app";

/// Larger than what is not worth keeping a part of.
const LARGE: usize = 3 << 20;

/// A store, and a client of some registries.
struct World {
    _dir: TempDir,
    store: Store,
    options: Options,
    logins: Known,
}

/// The logins that a test knows, and what was asked for.
#[derive(Clone, Default)]
struct Known {
    logins: BTreeMap<String, Login>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Logins for Known {
    fn login(&self, registry: &str) -> Result<Option<Login>, LoginError> {
        self.asked.lock().unwrap().push(registry.to_owned());
        Ok(self.logins.get(registry).cloned())
    }
}

fn password(user: &str, password: &str) -> Login {
    Login::Password { user: user.into(), password: Secret::new(password) }
}

fn insecure(host: &str) -> Endpoint {
    Endpoint { host: host.into(), scheme: Scheme::Http, ..Endpoint::default() }
}

/// A client that may speak to one registry in the clear.
fn world(registry: &FakeRegistry) -> World {
    let mut world = stranger();
    let own = Some(insecure(&registry.host()));
    world.options.registries.insert(registry.host(), Endpoints { mirrors: Vec::new(), own });
    world
}

/// A client that knows of no registry.
fn stranger() -> World {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store"), Unpacking::Never).unwrap();
    let options = Options {
        patience: Duration::from_secs(5),
        longest_wait: Duration::from_millis(1),
        ..Options::default()
    };
    World { _dir: dir, store, options, logins: Known::default() }
}

impl World {
    fn client(&self) -> Registry {
        Registry::new(self.options.clone(), Box::new(self.logins.clone())).unwrap()
    }

    fn pull(&self, name: &str) -> Result<Pulled, RegistryError> {
        self.client().pull(&self.store, &reference(name), &"linux/amd64".parse().unwrap())
    }

    #[track_caller]
    fn cannot_pull(&self, name: &str) -> String {
        self.pull(name).unwrap_err().to_string()
    }

    fn with<T>(&self, name: &str, act: impl FnOnce(&Repository<'_>) -> T) -> T {
        act(&self.client().repository(&reference(name)).unwrap())
    }

    fn fetch(&self, name: &str, blob: &Descriptor) -> Result<(), RegistryError> {
        self.with(name, |repository| repository.fetch(&self.store, blob))
    }

    /// Pushes an image of the store as it is.
    fn push(&self, name: &str, image: &StoredImage) -> Result<Pushed, RegistryError> {
        self.push_from(name, image, None)
    }

    fn push_from(
        &self,
        name: &str,
        image: &StoredImage,
        mount: Option<&str>,
    ) -> Result<Pushed, RegistryError> {
        let tag = reference(name).tag().unwrap().to_owned();
        let what = Push { images: &[(image, &[])], tag: Some(&tag), mount, ..Push::default() };
        self.with(name, |repository| push(&self.store, repository, &what))
    }

    /// An image of the store that no registry has.
    fn image(&self, layers: &[Vec<u8>]) -> StoredImage {
        let source = FakeRegistry::start(Default::default());
        serve(&source, "seed", layers);
        let mut options = self.options.clone();
        let own = Some(insecure(&source.host()));
        options.registries.insert(source.host(), Endpoints { mirrors: Vec::new(), own });
        let client = Registry::new(options, Box::new(self.logins.clone())).unwrap();
        let name = reference(&format!("{}/{REPOSITORY}:seed", source.host()));
        let pulled = client.pull(&self.store, &name, &"linux/amd64".parse().unwrap()).unwrap();
        StoredImage::open(&self.store, pulled.image.digest).unwrap()
    }
}

fn reference(name: &str) -> Reference {
    name.parse().unwrap()
}

fn name(registry: &FakeRegistry) -> String {
    format!("{}/{REPOSITORY}:v1", registry.host())
}

/// A tar with one file that does not compress.
fn layer(seed: u8, size: usize) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    let text: String = (0..size)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'a' + (state >> 24).to_le_bytes()[0] % 26)
        })
        .collect();
    tar_of(&[(format!("file-{seed}"), text)])
}

/// Puts an image of plain layers into a registry.
fn serve(registry: &FakeRegistry, tag: &str, layers: &[Vec<u8>]) -> BlobDigest {
    let diffs: Vec<String> = layers.iter().map(|layer| BlobDigest::of(layer).to_string()).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {}, "rootfs": { "type": "layers", "diff_ids": diffs },
    });
    let config = config.to_string();
    for blob in layers.iter().map(Vec::as_slice).chain([config.as_bytes()]) {
        registry.put_blob(REPOSITORY, blob);
    }
    let layers: Vec<Descriptor> =
        layers.iter().map(|layer| Descriptor::of(MediaType::OciLayer, layer)).collect();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": Descriptor::of(MediaType::OciConfig, config.as_bytes()), "layers": layers,
    });
    registry.put_manifest(REPOSITORY, Some(tag), MANIFEST, manifest.to_string().as_bytes())
}
