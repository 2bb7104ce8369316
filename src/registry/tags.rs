//! The tags of a repository (distribution-spec, "Listing Tags").

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{RegistryError, Repository, pages};
use crate::oci::Reference;

/// How many are asked for at once.
const PAGE: usize = 1000;

#[derive(Deserialize)]
struct Page {
    /// `null` where there are none, as Go writes it.
    tags: Option<Vec<String>>,
}

impl Repository<'_> {
    /// All tags, sorted.
    pub fn tags(&self) -> Result<BTreeSet<String>, RegistryError> {
        let (what, host) = (format!("tags of {}", self.name()), self.own());
        let mut first = host.url(&format!("{}/tags/list", self.path()));
        first.query_pairs_mut().append_pair("n", &PAGE.to_string());
        let pages: Vec<Page> = pages::all(host, first, &[], &self.pulling(), &what)?;
        let tags: BTreeSet<String> =
            pages.into_iter().flat_map(|page| page.tags.unwrap_or_default()).collect();
        let any: Reference = self.name().parse().expect("the name of a repository");
        for tag in &tags {
            any.with_tag(tag).map_err(|source| RegistryError::Name { what: what.clone(), source })?;
        }
        Ok(tags)
    }
}
