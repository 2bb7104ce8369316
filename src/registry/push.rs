//! Images pushed from the store (spec/registry.md, "Push"): blobs, then manifests, then the index, the tag last. So
//! whoever finds a name finds all that it leads to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::host::Content;
use super::upload::{Sent, Upload};
use super::{RegistryError, Repository, Sign, Target};
use crate::digest::BlobDigest;
use crate::fetch::watch::Act;
use crate::image::StoredImage;
use crate::image::output::Layers;
use crate::image::pack::{Blob, Packed, as_it_is, pack};
use crate::oci::attest::Attestation;
use crate::oci::media::MediaType;
use crate::oci::{Descriptor, Index};
use crate::store::Store;

/// What is pushed.
pub struct Push<'a> {
    /// One image, or several that an index will join, each with what is said of it.
    pub images: &'a [(&'a StoredImage, &'a [Attestation])],
    /// What it is to be called; without a tag it is known by its digest alone.
    pub tag: Option<&'a str>,
    /// How layers are packed; `None`: manifests and blobs go out byte for byte as the store has them.
    pub layers: Option<Layers>,
    /// Another repository of the same registry that may have some of the blobs, and that the user may read.
    pub mount: Option<&'a str>,
    /// The repository of the same registry that a blob is known to be in.
    pub elsewhere: &'a (dyn Fn(BlobDigest) -> Option<String> + Sync),
    /// Who signs it: each image, and the index. Nobody finds the tag before.
    pub sign: Option<Sign<'a>>,
}

/// What was pushed.
#[derive(Debug, Clone, PartialEq)]
pub struct Pushed {
    /// What the tag now stands for.
    pub top: Descriptor,
    /// Blobs that were there already.
    pub there: usize,
    pub mounted: usize,
    pub uploaded: usize,
}

/// Pushes to a repository.
pub fn push(store: &Store, repository: &Repository<'_>, push: &Push<'_>) -> Result<Pushed, RegistryError> {
    let packed = packed(store, repository, push)?;
    let sent = send_blobs(store, repository, &blobs(&packed), push)?;
    for image in packed.iter().filter(|image| !is_put_by_its_tag(&packed, image, push)) {
        put(
            repository,
            Target::Digest(image.manifest.digest),
            &image.manifest,
            document(image, &image.manifest),
        )?;
    }
    for image in &packed {
        put_referrers(repository, image)?;
    }
    let (top, bytes) = top(&packed);
    if packed.len() != 1 {
        put(repository, Target::Digest(top.digest), &top, &bytes)?;
    }
    if let Some(sign) = push.sign {
        let alone = (packed.len() != 1).then_some(&top);
        for manifest in packed.iter().map(|image| &image.manifest).chain(alone) {
            repository.sign(store, sign, manifest.digest)?;
        }
    }
    if let Some(tag) = push.tag {
        put(repository, Target::Tag(tag), &top, &bytes)?;
    }
    let count = |kind| sent.iter().filter(|sent| **sent == kind).count();
    let (there, mounted, uploaded) = (count(Sent::There), count(Sent::Mounted), count(Sent::Uploaded));
    Ok(Pushed { top, there, mounted, uploaded })
}

/// Whether the tag is all that a manifest needs: nothing leads to it by its digest. Some registries take none without a tag.
fn is_put_by_its_tag(packed: &[Packed], image: &Packed, push: &Push<'_>) -> bool {
    packed.len() == 1 && image.referrers.is_empty() && push.tag.is_some()
}

fn packed(store: &Store, repository: &Repository<'_>, push: &Push<'_>) -> Result<Vec<Packed>, RegistryError> {
    let one = |(image, attestations): &(&StoredImage, &[Attestation])| {
        let packed = match push.layers {
            Some(layers) => pack(store, image, layers),
            None => Ok(as_it_is(image)),
        };
        let what = || repository.name().to_owned();
        let packed =
            packed.map_err(|source| RegistryError::Pack { what: what(), source: Box::new(source) })?;
        Ok(packed.attested(attestations))
    };
    push.images.iter().map(one).collect()
}

/// All blobs that are no manifests, each once.
fn blobs(packed: &[Packed]) -> Vec<(BlobDigest, &Blob)> {
    let documents = |image: &Packed| -> BTreeSet<BlobDigest> {
        std::iter::once(&image.manifest).chain(&image.referrers).map(|document| document.digest).collect()
    };
    let of = |image| {
        let documents = documents(image);
        image.blobs.iter().filter(move |(digest, _)| !documents.contains(digest))
    };
    let all: BTreeMap<BlobDigest, &Blob> = packed.iter().flat_map(of).map(|(d, blob)| (*d, blob)).collect();
    all.into_iter().collect()
}

/// The bytes of a manifest among an image's blobs.
fn document<'a>(image: &'a Packed, of: &Descriptor) -> &'a [u8] {
    match image.blobs.get(&of.digest) {
        Some(Blob::Bytes(bytes)) => bytes,
        Some(Blob::Stored(_)) | None => unreachable!("manifests are packed as bytes"),
    }
}

/// What the tag is to stand for.
fn top(packed: &[Packed]) -> (Descriptor, Vec<u8>) {
    if let [image] = packed {
        return (image.manifest.clone(), document(image, &image.manifest).to_vec());
    }
    let bytes = Index::new(packed.iter().map(|image| image.manifest.clone()).collect()).to_bytes();
    (Descriptor::of(MediaType::OciIndex, &bytes), bytes)
}

fn put(
    repository: &Repository<'_>,
    target: Target<'_>,
    descriptor: &Descriptor,
    bytes: &[u8],
) -> Result<bool, RegistryError> {
    repository.put_manifest(target, &descriptor.media_type, bytes)
}

/// Artifacts about an image; where the registry takes no note of what they are about, the tag that says so.
fn put_referrers(repository: &Repository<'_>, image: &Packed) -> Result<(), RegistryError> {
    for entry in &image.referrers {
        let is_noted = put(repository, Target::Digest(entry.digest), entry, document(image, entry))?;
        if !is_noted {
            repository.tag_referrer(image.manifest.digest, entry)?;
        }
    }
    Ok(())
}

/// Sends blobs over several connections at once. After a failure none is begun; the first of those that failed, by
/// digest, is named.
fn send_blobs(
    store: &Store,
    repository: &Repository<'_>,
    blobs: &[(BlobDigest, &Blob)],
    push: &Push<'_>,
) -> Result<Vec<Sent>, RegistryError> {
    let next = AtomicUsize::new(0);
    let results: Mutex<BTreeMap<usize, Result<Sent, RegistryError>>> = Mutex::default();
    let has_failed = || results.lock().expect("no panic while held").values().any(Result::is_err);
    thread::scope(|scope| {
        for _ in 0..repository.registry().options.at_once.clamp(1, blobs.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some((digest, blob)) = blobs.get(at).filter(|_| !has_failed()) else { return };
                    let sent = send_one(store, repository, (*digest, blob), push);
                    results.lock().expect("no panic while held").insert(at, sent);
                }
            });
        }
    });
    results.into_inner().expect("no panic while held").into_values().collect()
}

/// Sends one of an image's blobs. One that is not here is not brought only to find that it was there, or that another
/// repository of the registry has it.
fn send_one(
    store: &Store,
    repository: &Repository<'_>,
    (digest, blob): (BlobDigest, &Blob),
    push: &Push<'_>,
) -> Result<Sent, RegistryError> {
    let elsewhere = (push.elsewhere)(digest);
    let mount = elsewhere.as_deref().or(push.mount);
    if !store.has_blob(&digest) && store.promised(&digest).is_some() {
        let what = repository.named(&Target::Digest(digest));
        let task = repository.registry().options.watch.task(Act::Push, &what);
        if let Some(spared) = Upload::new(repository, digest, Content::Bytes(&[]), mount, &task).spare()? {
            task.done();
            return Ok(spared);
        }
    }
    send_blob(store, repository, digest, blob, mount)
}

impl Repository<'_> {
    /// Uploads a blob of the store, unless it is there.
    pub fn put_stored(&self, store: &Store, blob: &Descriptor) -> Result<(), RegistryError> {
        send_blob(store, self, blob.digest, &Blob::Stored(blob.size), None).map(drop)
    }

    /// Uploads a blob, unless it is there.
    pub fn put_bytes(&self, store: &Store, bytes: &[u8]) -> Result<(), RegistryError> {
        send_blob(store, self, BlobDigest::of(bytes), &Blob::Bytes(bytes.to_vec()), None).map(drop)
    }
}

fn send_blob(
    store: &Store,
    repository: &Repository<'_>,
    digest: BlobDigest,
    blob: &Blob,
    mount: Option<&str>,
) -> Result<Sent, RegistryError> {
    let what = repository.named(&Target::Digest(digest));
    let task = repository.registry().options.watch.task(Act::Push, &what);
    let send = |content| Upload::new(repository, digest, content, mount, &task).send();
    let sent = match blob {
        Blob::Bytes(bytes) => send(Content::Bytes(bytes)),
        Blob::Stored(_) => {
            // One that is damaged here is found before any of it is sent.
            store.verify_blob(&digest)?;
            let (file, size) = store.open_blob(&digest)?;
            send(Content::File { file: &file, size })
        }
    }?;
    task.done();
    Ok(sent)
}
