//! `lith push`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::build::pairs;
use super::client::{Named, RegistryArgs};
use super::logins::logins;
use super::pull::view;
use super::session::{self, Need};
use super::{CliError, find, keys, out};
use crate::digest::BlobDigest;
use crate::fetch::Watcher;
use crate::image::output::{Existing, Layers};
use crate::image::{StoredImage, attested};
use crate::oci::attest::Attestation;
use crate::oci::media::Packing;
use crate::registry::{Push as Request, Sign, push};
use crate::shared::{Form, From};
use crate::store::{ImageRecord, Store, StoreError};

/// Arguments of `lith push`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lith push registry.example.com/team/app:1.2\n  lith push app registry.example.com/team/app:1.2\n\n\
    Prints the name with the digest that it stands for now."
)]
pub struct Push {
    /// A name, an id or a digest
    image: String,
    /// What it is to be called there [default: the name it has]
    destination: Option<String>,
    /// How layers are packed that are not yet
    #[arg(long, value_enum, default_value_t = Compression::Gzip)]
    compression: Compression,
    /// Pack all layers so, also those that are packed in another way
    #[arg(long)]
    force_compression: bool,
    /// Sign it with this private key, as cosign does
    #[arg(long, value_name = "KEYFILE")]
    sign: Vec<PathBuf>,
    /// What the signature says besides
    #[arg(long, value_name = "NAME=VALUE", requires = "sign")]
    sign_annotation: Vec<String>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// The repository of a registry that promised a blob.
fn repository_with(store: &Store, digest: BlobDigest, registry: &str) -> Option<String> {
    match store.promised(&digest)?.place.parse::<From>().ok()?.form {
        Form::Registry { name, .. } if name.registry() == registry => Some(name.repository().to_owned()),
        Form::Registry { .. } | Form::Layout(_) => None,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Compression {
    Gzip,
    Zstd,
    Uncompressed,
}

impl Push {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let text = self.destination.clone().unwrap_or_else(|| self.image.clone());
        let Named { registries, names } = Named::read(std::slice::from_ref(&text))?;
        let [name] = &names[..] else { unreachable!("one text is one name") };
        if name.digest().is_some() {
            let help = "a push makes a digest; name a tag, or nothing but the repository";
            return Err(CliError::Usage(format!("{text}: {help}")));
        }
        let signers = self.sign.iter().map(|file| keys::signer("--sign", file));
        let signers = signers.collect::<Result<Vec<_>, _>>()?;
        let annotations = pairs(&self.sign_annotation, "--sign-annotation", |_| None)?.into_iter().collect();
        let store = session::open(root, Need::Store)?.store;
        let open = |record: ImageRecord| -> Result<StoredImage, CliError> {
            let manifest = record.manifest.ok_or_else(|| {
                CliError::Usage(format!("{} is an intermediate image and cannot be pushed", self.image))
            })?;
            Ok(StoredImage::open(&store, manifest)?)
        };
        let found = find::found(&store, &self.image)?;
        let images = found.images(&store).into_iter().map(open).collect::<Result<Vec<_>, _>>()?;
        if found.index.as_ref().is_some_and(|index| index.images.len() != images.len()) {
            return Err(
                StoreError::MissingImage(format!("for one of the platforms of {}", self.image)).into()
            );
        }
        let said = |image: &StoredImage| attested::built(&store, &image.digest);
        let said = images.iter().map(said).collect::<Result<Vec<_>, _>>()?;
        let images: Vec<(&StoredImage, &[Attestation])> =
            images.iter().zip(&said).map(|(image, said)| (image, &said[..])).collect();
        let logins = logins()?;
        let client = self.registry.client(
            [name.registry()],
            &registries,
            Box::new(logins),
            Watcher::new(view(self.quiet)),
        )?;
        let sign =
            (!signers.is_empty()).then_some(Sign { name, signers: &signers, annotations: &annotations });
        let elsewhere = |digest| repository_with(&store, digest, name.registry());
        let request = Request {
            images: &images,
            index: found.index.as_ref(),
            tag: name.tag(),
            layers: Some(self.layers()),
            mount: None,
            elsewhere: Some(&elsewhere),
            sign,
        };
        let pushed = push(&store, &client.repository(name)?, &request)?;
        out::print(&format!("{}@{}\n", name.familiar_name(), pushed.top.digest));
        Ok(())
    }

    fn layers(&self) -> Layers {
        let packing = match self.compression {
            Compression::Gzip => Packing::Gzip,
            Compression::Zstd => Packing::Zstd,
            Compression::Uncompressed => Packing::Plain,
        };
        Layers { packing, existing: if self.force_compression { Existing::Repack } else { Existing::Keep } }
    }
}
