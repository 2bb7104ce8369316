//! `lith tag` and `lith rmi`.

use std::path::Path;

use clap::Args;

use super::session::{self, Need};
use super::{CliError, find, out};
use crate::container::list;
use crate::digest::ImageId;
use crate::oci::Reference;
use crate::store::{Containers, RefRecord, Store};

/// Arguments of `lith tag`.
#[derive(Debug, Args)]
pub struct Tag {
    /// A name, an id or a digest
    image: String,
    /// The new name
    name: String,
}

impl Tag {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let name = parse(&self.name)?;
        let store = session::open(root, Need::Store)?.store;
        let image = find::image(&store, &self.image)?;
        let manifest = image.manifest.ok_or_else(|| {
            CliError::Usage(format!(
                "{} is an intermediate image; build with --target to name a stage",
                self.image
            ))
        })?;
        Ok(store.set_ref(&name.to_string(), manifest, image.id)?)
    }
}

/// A name that can be given: with a tag, without a digest.
pub fn parse(text: &str) -> Result<Reference, CliError> {
    let reference: Reference = text.parse().map_err(|error| CliError::Usage(format!("{error}")))?;
    if reference.digest().is_some() {
        return Err(CliError::Usage(format!(
            "{text}: a name that is given cannot hold a digest; use NAME:TAG"
        )));
    }
    Ok(reference)
}

/// Arguments of `lith rmi`.
#[derive(Debug, Args)]
pub struct Rmi {
    /// Names, ids or digests
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// Even if several names point to an image that is named by its id, or a container is made of it
    #[arg(short, long)]
    force: bool,
}

impl Rmi {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let store = session::open(root, Need::Store)?.store;
        for text in &self.images {
            let image = find::image(&store, text)?;
            let by_name = text.parse::<Reference>().ok().and_then(|r| store.get_ref(&r.to_string()));
            let names: Vec<String> = match by_name {
                Some(named) => vec![named.name],
                None => store.refs()?.into_iter().filter(|r| r.image == image.id).map(|r| r.name).collect(),
            };
            if names.len() > 1 && !self.force {
                let shown: Vec<String> = names.iter().map(|n| find::familiar(n)).collect();
                return Err(CliError::Usage(format!(
                    "{text} has several names ({}); remove them by name, or pass --force",
                    shown.join(", ")
                )));
            }
            if !self.force {
                refuse_in_use(&store, text, &image.id, &names)?;
            }
            for name in &names {
                store.remove_ref(name)?;
                out::print(&format!("Untagged: {}\n", find::familiar(name)));
            }
            if store.remove_unnamed(&image.id)? {
                out::print(&format!("Deleted: {}\n", image.id));
            }
        }
        Ok(())
    }
}

/// As docker has it: the last name of an image stays while a container is made of it.
fn refuse_in_use(store: &Store, text: &str, image: &ImageId, going: &[String]) -> Result<(), CliError> {
    let stays = |r: &RefRecord| r.image == *image && !going.contains(&r.name);
    if store.refs()?.iter().any(stays) {
        return Ok(());
    }
    let all = list(&Containers::of(store.root()), |_| ())?;
    let Some(user) = all.iter().find(|container| container.config.image == *image) else { return Ok(()) };
    Err(CliError::Failed(format!(
        "{text} is in use by container {} ({}); remove that first, or pass --force: the container keeps what it needs",
        user.name,
        user.id.short()
    )))
}
