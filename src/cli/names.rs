//! `lith tag` and `lith rmi`.

use std::path::Path;

use clap::Args;

use super::session::{self, Need};
use super::{CliError, find, out};
use crate::container::list;
use crate::digest::ImageId;
use crate::image::index::of_host;
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
        let found = find::found(&store, &self.image)?;
        if let Some(index) = &found.index {
            return Ok(store.set_index_ref(&name.to_string(), index, of_host(index))?);
        }
        let image = found.record;
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
            let found = find::found(&store, text)?;
            let by_name = text.parse::<Reference>().ok().and_then(|r| store.get_ref(&r.to_string()));
            let names: Vec<String> = match by_name {
                Some(named) => vec![named.name],
                None => found.names(&store)?.into_iter().map(|named| named.name).collect(),
            };
            if names.is_empty() && found.index.is_none() {
                refuse_part(&store, text, &found.record.id)?;
            }
            if names.len() > 1 && !self.force {
                let shown: Vec<String> = names.iter().map(|n| find::familiar(n)).collect();
                return Err(CliError::Usage(format!(
                    "{text} has several names ({}); remove them by name, or pass --force",
                    shown.join(", ")
                )));
            }
            let images = found.images(&store);
            if !self.force {
                images.iter().try_for_each(|image| refuse_in_use(&store, text, &image.id, &names))?;
            }
            for name in &names {
                store.remove_ref(name)?;
                out::print(&format!("Untagged: {}\n", find::familiar(name)));
            }
            if let Some(index) = &found.index
                && store.remove_unnamed_index(&index.digest)?
            {
                out::print(&format!("Deleted: {}\n", index.digest));
            }
            for image in images {
                if store.remove_unnamed(&image.id)? {
                    out::print(&format!("Deleted: {}\n", image.id));
                }
            }
        }
        Ok(())
    }
}

/// An image without a name of its own goes with the index that has it.
fn refuse_part(store: &Store, text: &str, image: &ImageId) -> Result<(), CliError> {
    let indexes = store.indexes()?;
    let Some(index) = indexes.iter().find(|index| index.has(image)) else { return Ok(()) };
    let named = store.refs()?.into_iter().find(|named| named.index == Some(index.digest));
    let whole = named.map_or_else(|| find::short(&index.digest), |named| find::familiar(&named.name));
    Err(CliError::Usage(format!("{text} is one of several platforms' images; remove them: lith rmi {whole}")))
}

/// As docker has it: the last name of an image stays while a container is made of it.
fn refuse_in_use(store: &Store, text: &str, image: &ImageId, going: &[String]) -> Result<(), CliError> {
    let stays = |r: &RefRecord| !going.contains(&r.name) && find::leads_to(store, r, image);
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
