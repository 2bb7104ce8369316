//! Images pushed from the store (spec/registry.md, "Push"): blobs, then manifests, then the index, the tag last. So
//! whoever finds a name finds all that it leads to.

use std::collections::{BTreeMap, BTreeSet};

use super::host::Content;
use super::stream::Stream;
use super::upload::{BYTES, Sent, Upload};
use super::{RegistryError, Repository, Sign, Target};
use crate::digest::BlobDigest;
use crate::fetch::watch::Act;
use crate::image::output::Layers;
use crate::image::pack::{Blob, Packed, Referrer, as_it_is, pack};
use crate::image::{BlobSource, ExportError, Gathered, StoredImage};
use crate::oci::Descriptor;
use crate::oci::attest::Attestation;
use crate::oci::media::MediaType;
use crate::store::{IndexRecord, Store};
use crate::sys::several::each;

/// What is pushed.
#[derive(Default)]
pub struct Push<'a> {
    /// One image, or several that an index will join, each with what is said of it besides what came along with it.
    pub images: &'a [(&'a StoredImage, &'a [Attestation])],
    /// The index of the store that they are of, in its order.
    pub index: Option<&'a IndexRecord>,
    /// What it is to be called; without a tag it is known by its digest alone.
    pub tag: Option<&'a str>,
    /// How layers are packed; `None`: manifests and blobs go out byte for byte as the store has them.
    pub layers: Option<Layers>,
    /// Another repository of the same registry that may have some of the blobs, and that the user may read.
    pub mount: Option<&'a str>,
    /// The repository of the same registry that a blob is known to be in.
    pub elsewhere: Option<Elsewhere<'a>>,
    /// Who signs it: each image, and the index. Nobody finds the tag before.
    pub sign: Option<Sign<'a>>,
}

/// Tells where a blob is.
type Elsewhere<'a> = &'a (dyn Fn(BlobDigest) -> Option<String> + Sync);

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
    let packed = packed(store, push).map_err(|source| RegistryError::Pack {
        what: repository.name().to_owned(),
        source: Box::new(source),
    })?;
    let sign = push.sign.map(|sign| (store, sign));
    let Push { tag, mount, elsewhere, .. } = *push;
    Delivery { source: store, repository, tag, mount, elsewhere, sign }.deliver(&packed)
}

/// Gives a repository what was gathered at another place, digests and all. `mount` as in [`Push`].
pub fn copy(
    source: &dyn BlobSource,
    repository: &Repository<'_>,
    gathered: &Gathered,
    tag: Option<&str>,
    mount: Option<&str>,
) -> Result<Pushed, RegistryError> {
    let delivery = |tag| Delivery { source, repository, tag, mount, elsewhere: None, sign: None };
    // Whoever finds the image finds what signs it.
    for (tag, signature) in &gathered.signatures {
        delivery(Some(tag.as_str())).deliver(signature)?;
    }
    delivery(tag).deliver(&gathered.packed)
}

/// From where an image goes to which repository, and how.
struct Delivery<'a> {
    source: &'a dyn BlobSource,
    repository: &'a Repository<'a>,
    tag: Option<&'a str>,
    mount: Option<&'a str>,
    elsewhere: Option<Elsewhere<'a>>,
    sign: Option<(&'a Store, Sign<'a>)>,
}

impl Delivery<'_> {
    fn deliver(&self, packed: &Packed) -> Result<Pushed, RegistryError> {
        let at_once = self.repository.registry().options.at_once;
        let sent = each(at_once, &blobs(packed), |(digest, blob)| self.send(*digest, blob))?;
        let top = &packed.manifest;
        let put = |target, of: &Descriptor| put(self.repository, target, of, packed.document(of));
        let by_digest = |of: &Descriptor| put(Target::Digest(of.digest), of);
        for manifest in &packed.inner {
            by_digest(manifest)?;
        }
        // Nothing leads by its digest to a lone manifest of which nothing is said, and some registries take none without a
        // tag.
        if packed.inner.is_empty() && (self.tag.is_none() || !packed.referrers.is_empty()) {
            by_digest(top)?;
        }
        put_referrers(self.repository, packed)?;
        if !packed.inner.is_empty() {
            by_digest(top)?;
        }
        if let Some((store, sign)) = self.sign {
            for manifest in packed.inner.iter().chain([top]) {
                self.repository.sign(store, sign, manifest.digest)?;
            }
        }
        if let Some(tag) = self.tag {
            put(Target::Tag(tag), top)?;
        }
        let count = |kind| sent.iter().filter(|sent| **sent == kind).count();
        let (there, mounted, uploaded) = (count(Sent::There), count(Sent::Mounted), count(Sent::Uploaded));
        Ok(Pushed { top: top.clone(), there, mounted, uploaded })
    }

    /// Sends a blob. One that is not here is not brought only to find that it was there, or that another repository of the
    /// registry has it.
    fn send(&self, digest: BlobDigest, blob: &Blob) -> Result<Sent, RegistryError> {
        let elsewhere = self.elsewhere.and_then(|elsewhere| elsewhere(digest));
        let mount = elsewhere.as_deref().or(self.mount);
        if matches!(blob, Blob::Stored(_)) && !self.source.is_here(digest) {
            let what = self.repository.named(&Target::Digest(digest));
            let task = self.repository.registry().options.watch.task(Act::Push, &what);
            let upload = Upload::new(self.repository, digest, Content::Bytes(&[]), mount, &task);
            if let Some(spared) = upload.spare()? {
                task.done();
                return Ok(spared);
            }
        }
        send_blob(self.source, self.repository, digest, blob, mount)
    }
}

fn packed(store: &Store, push: &Push<'_>) -> Result<Packed, ExportError> {
    let one = |(image, attestations): &(&StoredImage, &[Attestation])| {
        let packed = match push.layers {
            Some(layers) => pack(store, image, layers, &|_| {})?,
            None => as_it_is(image),
        };
        Ok(packed.attested(attestations).with_what_came(store, &image.digest)?)
    };
    let mut images = push.images.iter().map(one).collect::<Result<Vec<_>, ExportError>>()?;
    match push.index {
        Some(index) => Packed::of_index(store, index, images),
        None if images.len() == 1 => Ok(images.remove(0)),
        None => Ok(Packed::joined(images, &BTreeMap::new())),
    }
}

/// All blobs that are no manifests, each once.
fn blobs(packed: &Packed) -> Vec<(BlobDigest, &Blob)> {
    let referrers = packed.referrers.iter().map(|referrer| &referrer.entry);
    let documents = packed.inner.iter().chain([&packed.manifest]).chain(referrers);
    let documents: BTreeSet<BlobDigest> = documents.map(|document| document.digest).collect();
    let blobs = packed.blobs.iter().filter(|(digest, _)| !documents.contains(digest));
    blobs.map(|(digest, blob)| (*digest, blob)).collect()
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
fn put_referrers(repository: &Repository<'_>, packed: &Packed) -> Result<(), RegistryError> {
    for Referrer { subject, entry } in &packed.referrers {
        let is_noted = put(repository, Target::Digest(entry.digest), entry, packed.document(entry))?;
        if !is_noted {
            repository.tag_referrer(*subject, entry)?;
        }
    }
    Ok(())
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
    source: &dyn BlobSource,
    repository: &Repository<'_>,
    digest: BlobDigest,
    blob: &Blob,
    mount: Option<&str>,
) -> Result<Sent, RegistryError> {
    let what = repository.named(&Target::Digest(digest));
    let task = repository.registry().options.watch.task(Act::Push, &what);
    let sent = match blob {
        Blob::Bytes(bytes) => Upload::new(repository, digest, Content::Bytes(bytes), mount, &task).send(),
        Blob::Stored(size) => {
            let size = *size;
            let blob = Descriptor::new(MediaType::Unknown(BYTES.into()), digest, size);
            match source.file(&blob)? {
                Some(file) => {
                    let content = Content::File { file: &file, size };
                    Upload::new(repository, digest, content, mount, &task).send()
                }
                None => {
                    let stream = Stream::new(source, &blob, &what);
                    Upload::new(repository, digest, Content::Stream(&stream), mount, &task).send()
                }
            }
        }
    }?;
    task.done();
    Ok(sent)
}
