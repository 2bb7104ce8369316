//! The tags of a repository (distribution-spec, "Listing Tags").

use std::collections::BTreeSet;

use serde::Deserialize;
use ureq::http::{Method, StatusCode};

use super::host::{Answered, Ask, Payload, Repeat};
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

    /// Whether the registry says that there is no such repository: with one request.
    pub fn is_unknown(&self) -> bool {
        let (what, host) = (format!("tags of {}", self.name()), self.own());
        let mut url = host.url(&format!("{}/tags/list", self.path()));
        url.query_pairs_mut().append_pair("n", "1");
        let ask = Ask {
            method: Method::GET,
            url,
            headers: vec![],
            body: Payload::Nothing,
            scopes: &self.pulling(),
            repeat: Repeat::Always,
            what: &what,
        };
        let answered = host.send(&ask, &mut host.tries());
        let is_missing = |answered: &Answered| answered.response.status() == StatusCode::NOT_FOUND;
        let missing = answered.ok().filter(is_missing);
        missing.is_some_and(|answered| host.refused(&what, answered).is_of_no_repository())
    }
}
