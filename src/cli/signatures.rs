//! `lith verify`: whether an image in a registry is signed by a key.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::build::pairs;
use super::client::{Named, RegistryArgs};
use super::logins::logins;
use super::{CliError, keys, out};
use crate::fetch::Watcher;
use crate::oci::Reference;
use crate::registry::Wanted;
use crate::sign::Trusted;

/// Arguments of `lith verify`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  lith verify --key cosign.pub registry.example.com/team/app:1.2\n\n\
    Prints the name with the digest of what it stands for now, and which key signed that.")]
pub struct Verify {
    /// A public key; of several the signature of one is enough
    #[arg(long, required = true, value_name = "PUBKEY")]
    key: Vec<PathBuf>,
    /// What the signature has to say besides
    #[arg(long, value_name = "NAME=VALUE")]
    annotation: Vec<String>,
    /// Names, with a tag or a digest [default tag: latest]
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    registry: RegistryArgs,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    #[default]
    Text,
    /// One object a line for each image
    Json,
}

impl Verify {
    pub fn run(self) -> Result<(), CliError> {
        let trust = keys::trust("--key", &self.key)?;
        let annotations = pairs(&self.annotation, "--annotation", |_| None)?.into_iter().collect();
        let wanted = Wanted { trust: &trust, annotations: &annotations };
        let Named { registries, names } = Named::read(&self.images)?;
        let hosts = names.iter().map(Reference::registry);
        let client = self.registry.client(hosts, &registries, Box::new(logins()?), Watcher::default())?;
        for name in &names {
            let (top, Trusted { key, annotations }) = client.verify(name, wanted)?;
            let (name, key) = (name.familiar_name(), key.to_string());
            out::print(&match self.format {
                Format::Text => format!("{name}@{}\nsigned with {key}\n", top.digest),
                Format::Json => {
                    let line = json!({
                        "name": name, "digest": top.digest, "key": key, "annotations": annotations,
                    });
                    format!("{line}\n")
                }
            });
        }
        Ok(())
    }
}
