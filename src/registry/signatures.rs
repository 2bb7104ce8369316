//! Signatures beside images, as cosign keeps them: the layers of a manifest at a tag that its digest makes, or of
//! manifests whose subject it is (spec/signatures.md, "Where they are").

use std::collections::BTreeMap;

use serde_json::json;
use ureq::http::{Method, StatusCode};

use super::host::Host;
use super::{RegistryError, Repository, Resolved, Target};
use crate::digest::BlobDigest;
use crate::oci::media::{Flavor, MediaType};
use crate::oci::{Descriptor, Document, Manifest, Reference};
use crate::sign::{
    self, Attached, Fault, MAX_PAYLOAD, MAX_SIGNATURES, PayloadFault, Signer, Trust, Trusted, Untrusted,
};
use crate::store::Store;

/// The type of manifests with a subject that hold signatures, as cosign names them.
const ARTIFACT: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
/// How often a signature is added again that another's took the place of.
const TRIES: usize = 8;
const NOT_AN_INDEX: &str = "it is to be a manifest of signatures, and is an index";

/// Who signs what is pushed.
#[derive(Clone, Copy)]
pub struct Sign<'a> {
    /// What is pushed, in full.
    pub name: &'a Reference,
    pub signers: &'a [Signer],
    pub annotations: &'a BTreeMap<String, String>,
}

/// What signatures have to be.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    pub trust: &'a Trust,
    /// What they have to say besides.
    pub annotations: &'a BTreeMap<String, String>,
}

/// What was found beside a manifest.
#[derive(Default)]
struct Found {
    attached: Vec<Attached>,
    /// Manifests of referrers.
    looked_at: usize,
    /// Why others are none.
    faults: Vec<Fault>,
    /// How many were too many.
    left: usize,
}

impl Repository<'_> {
    /// Finds a signature of a manifest that holds, at its tag, else among what refers to it.
    pub fn verify(
        &self,
        wanted: Wanted<'_>,
        name: &Reference,
        manifest: BlobDigest,
    ) -> Result<Trusted, RegistryError> {
        let tag = sign::tag(&manifest);
        let at_tag = |host: &Host<'_>| match self.manifest_at(host, Target::Tag(&tag))?.document {
            Document::Manifest(document) => {
                let mut found = Found::default();
                self.collect(host, &document, &mut found);
                Ok(found.judged(wanted, name, &manifest)?)
            }
            Document::Index(_) => Err(host.broken(&self.named(&Target::Tag(&tag)), NOT_AN_INDEX)),
        };
        // A mirror may have an older one than the registry.
        let at_tag = match self.first(at_tag) {
            Ok(trusted) => return Ok(trusted),
            Err(RegistryError::Untrusted(untrusted)) => Some(untrusted),
            Err(error) if error.is_missing() => None,
            Err(error) => return Err(error),
        };
        let mut found = Found::default();
        for entry in self.referrers(manifest, Some(ARTIFACT))? {
            if found.looked_at >= MAX_SIGNATURES {
                found.left += 1;
                continue;
            }
            found.looked_at += 1;
            match self.manifest_at(self.own(), Target::Digest(entry.digest)) {
                Ok(Resolved { document: Document::Manifest(document), .. }) => {
                    self.collect(self.own(), &document, &mut found);
                }
                Ok(_) => found.faults.push(Fault::Lost(NOT_AN_INDEX.to_owned())),
                Err(error) => found.faults.push(Fault::Lost(error.to_string())),
            }
        }
        let judged = found.judged(wanted, name, &manifest);
        Ok(judged.map_err(|untrusted| match at_tag {
            Some(at_tag) => Box::new(at_tag.and(*untrusted)),
            None => untrusted,
        })?)
    }

    /// Adds what signers say of a manifest to the signatures it has. What one of them said already is not said again.
    pub fn sign(&self, store: &Store, sign: Sign<'_>, manifest: BlobDigest) -> Result<(), RegistryError> {
        let what = self.named(&Target::Digest(manifest));
        for signer in sign.signers {
            let payload = sign::payload(sign.name, &manifest, sign.annotations);
            let made = Attached::make(payload, signer);
            let made = made.map_err(|source| RegistryError::Sign { what: what.clone(), source })?;
            self.attach(store, &made, signer, &manifest)?;
        }
        Ok(())
    }

    /// Registries know no conditional change of a tag. So what is there is looked at just before and after the change,
    /// and one that another's took the place of is added again.
    fn attach(
        &self,
        store: &Store,
        made: &Attached,
        signer: &Signer,
        manifest: &BlobDigest,
    ) -> Result<(), RegistryError> {
        let layer = layer(made);
        self.put_bytes(store, &made.payload)?;
        for _ in 0..TRIES {
            let there = self.at_tag(manifest)?;
            let layers = there.as_ref().map(|there| there.layers.clone()).unwrap_or_default();
            if layers.iter().any(|there| says_the_same(there, made, signer)) {
                return Ok(());
            }
            let config = config(layers.iter().chain([&layer]));
            self.put_bytes(store, &config)?;
            if self.at_tag(manifest)? != there {
                continue;
            }
            let document = with(there, &config, &layer);
            let target = sign::tag(manifest);
            self.put_manifest(Target::Tag(&target), &document.media_type(), &document.to_bytes())?;
            // Looked for again from the beginning: it is there, or another's is in its place.
            if self.at_tag(manifest)?.is_some_and(|there| there.layers.contains(&layer)) {
                return Ok(());
            }
        }
        let what = self.named(&Target::Tag(&sign::tag(manifest)));
        Err(self
            .own()
            .broken(&what, format!("others changed the signatures {TRIES} times meanwhile; push again")))
    }

    /// The manifest at the tag of signatures. It is asked of the registry itself: a mirror may not have it yet.
    fn at_tag(&self, manifest: &BlobDigest) -> Result<Option<Manifest>, RegistryError> {
        let tag = sign::tag(manifest);
        let found = match self.manifest_at(self.own(), Target::Tag(&tag)) {
            Err(error) if error.is_missing() => return Ok(None),
            found => found?,
        };
        match found.document {
            Document::Manifest(document) => Ok(Some(document)),
            Document::Index(_) => {
                let what = self.named(&Target::Tag(&tag));
                Err(self.own().broken(&what, NOT_AN_INDEX))
            }
        }
    }

    /// Takes what a manifest holds to what was found.
    fn collect(&self, host: &Host<'_>, document: &Manifest, found: &mut Found) {
        let signatures = document.layers.iter().filter(|layer| layer.media_type.as_str() == sign::MEDIA_TYPE);
        for layer in signatures {
            let Some(signature) = layer.annotations.get(sign::ANNOTATION) else { continue };
            if found.attached.len() + found.faults.len() >= MAX_SIGNATURES {
                found.left += 1;
            } else if layer.size > MAX_PAYLOAD as u64 {
                found.faults.push(PayloadFault::TooLarge.into());
            } else {
                match self.small(host, layer) {
                    Ok(payload) => found.attached.push(Attached { payload, signature: signature.clone() }),
                    Err(error) => found.faults.push(Fault::Lost(error.to_string())),
                }
            }
        }
    }

    /// A blob that fits into memory.
    fn small(&self, host: &Host<'_>, blob: &Descriptor) -> Result<Vec<u8>, RegistryError> {
        let what = self.named(&Target::Digest(blob.digest));
        let mut tries = host.tries();
        let scopes = self.pulling();
        let answered =
            self.ask_blob(host, Method::GET, blob.digest, Vec::new(), &what, &scopes, &mut tries)?;
        if answered.response.status() != StatusCode::OK {
            return Err(host.refused(&what, answered));
        }
        let bytes = host.read(&what, answered.response, blob.size)?;
        match BlobDigest::of(&bytes) {
            digest if digest == blob.digest => Ok(bytes),
            actual => Err(RegistryError::Digest { what, host: host.shown(), actual }),
        }
    }
}

impl Found {
    fn judged(
        self,
        wanted: Wanted<'_>,
        name: &Reference,
        manifest: &BlobDigest,
    ) -> Result<Trusted, Box<Untrusted>> {
        let judged = wanted.trust.image_saying(name, manifest, &self.attached, wanted.annotations);
        judged.map_err(|mut untrusted| {
            untrusted.faults.extend(self.faults);
            untrusted.untried += self.left;
            untrusted
        })
    }
}

fn layer(made: &Attached) -> Descriptor {
    let mut layer = Descriptor::of(MediaType::from(sign::MEDIA_TYPE), &made.payload);
    layer.annotations.insert(sign::ANNOTATION.into(), made.signature.clone());
    layer
}

/// Whether a layer is a signature of the same payload by the same key. Its bytes may be others: ECDSA is never twice
/// the same.
fn says_the_same(there: &Descriptor, made: &Attached, signer: &Signer) -> bool {
    let signature = there.annotations.get(sign::ANNOTATION);
    there.digest == BlobDigest::of(&made.payload)
        && signature.is_some_and(|signature| {
            Attached { payload: made.payload.clone(), signature: signature.clone() }.is_by(signer.public())
        })
}

/// A config as an image's, so that registries and tools that look at one find one: payloads are their own diff ids.
fn config<'a>(layers: impl Iterator<Item = &'a Descriptor>) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.map(|layer| layer.digest.to_string()).collect();
    let rootfs = json!({ "type": "layers", "diff_ids": diff_ids });
    crate::oci::json::to_bytes(&json!({ "architecture": "", "os": "", "config": {}, "rootfs": rootfs }))
}

/// The manifest with one layer more; all else of it stays.
fn with(there: Option<Manifest>, config: &[u8], layer: &Descriptor) -> Manifest {
    let config = Descriptor::of(MediaType::OciConfig, config);
    let mut document = there.unwrap_or_else(|| Manifest::new(Flavor::Oci, config.clone(), Vec::new()));
    document.config = config;
    document.layers.push(layer.clone());
    document
}
