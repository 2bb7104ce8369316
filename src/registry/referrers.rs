//! What is said of a manifest: the referrers of a digest, from the API or, where a registry has none, from the tag
//! that stands in for it (distribution-spec, "Listing Referrers", "Referrers Tag Schema").

use ureq::http::header::ACCEPT;

use super::{RegistryError, Repository, Target, pages};
use crate::digest::BlobDigest;
use crate::oci::media::MediaType;
use crate::oci::{Descriptor, Document, Index};

impl Repository<'_> {
    /// Descriptors of the manifests whose subject a digest is, with `artifact_type` only those of that type.
    pub fn referrers(
        &self,
        subject: BlobDigest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let what = format!("referrers of {}", self.named(&Target::Digest(subject)));
        let host = self.own();
        let mut first = host.url(&format!("{}/referrers/{subject}", self.path()));
        if let Some(kind) = artifact_type {
            first.query_pairs_mut().append_pair("artifactType", kind);
        }
        let accepted = [(ACCEPT, MediaType::OciIndex.as_str().to_owned())];
        let found = match pages::all::<Index>(host, first, &accepted, &self.pulling(), &what) {
            Ok(pages) => pages.into_iter().flat_map(|page| page.manifests).collect(),
            Err(error) if error.is_missing() => self.tagged_referrers(subject)?.manifests,
            Err(error) => return Err(error),
        };
        // A registry may leave the choice to who asks.
        let is_wanted = |entry: &Descriptor| {
            artifact_type.is_none_or(|kind| entry.artifact_type.as_deref() == Some(kind))
        };
        Ok(found.into_iter().filter(is_wanted).collect())
    }

    /// Lists a manifest among the referrers of its subject, for a registry that does not do so itself. Of two that do
    /// so at once one may be lost: the schema has nothing against that.
    pub(super) fn tag_referrer(&self, subject: BlobDigest, entry: &Descriptor) -> Result<(), RegistryError> {
        let mut index = self.tagged_referrers(subject)?;
        if index.manifests.iter().any(|known| known.digest == entry.digest) {
            return Ok(());
        }
        index.manifests.push(entry.clone());
        let tag = tag(subject);
        self.put_manifest(Target::Tag(&tag), &MediaType::OciIndex, &index.to_bytes()).map(drop)
    }

    fn tagged_referrers(&self, subject: BlobDigest) -> Result<Index, RegistryError> {
        let tag = tag(subject);
        match self.manifest_at(self.own(), Target::Tag(&tag)) {
            Ok(resolved) => match resolved.document {
                Document::Index(index) => Ok(index),
                Document::Manifest(_) => {
                    let what = self.named(&Target::Tag(&tag));
                    Err(self.own().broken(&what, "it is to be an index of referrers, and is a manifest"))
                }
            },
            Err(error) if error.is_missing() => Ok(Index::new(Vec::new())),
            Err(error) => Err(error),
        }
    }
}

fn tag(subject: BlobDigest) -> String {
    format!("sha256-{}", subject.hex())
}
