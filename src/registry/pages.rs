//! Lists that come in pages, each of which links to the next (RFC 8288; distribution-spec, "Listing Tags").

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use ureq::http::header::{HeaderName, LINK};
use ureq::http::{Method, StatusCode};
use url::Url;

use super::RegistryError;
use super::host::{Answered, Ask, Host, Payload, Repeat};
use crate::oci::json::{self, MAX_DOCUMENT};

/// The most pages of a list.
const MOST: usize = 1000;

/// All pages of a list, from its first URL on.
pub(super) fn all<T: DeserializeOwned>(
    host: &Host<'_>,
    first: Url,
    headers: &[(HeaderName, String)],
    scopes: &[String],
    what: &str,
) -> Result<Vec<T>, RegistryError> {
    let wrong = |reason: String| RegistryError::Pages { what: what.to_owned(), host: host.shown(), reason };
    let mut pages = Vec::new();
    let mut seen = BTreeSet::new();
    let mut next = Some(first);
    while let Some(url) = next {
        if !seen.insert(url.clone()) {
            return Err(wrong("leads back to a page that it came from".into()));
        }
        if pages.len() == MOST {
            return Err(wrong(format!("has more than {MOST} pages")));
        }
        let ask = Ask {
            method: Method::GET,
            url: url.clone(),
            headers: headers.to_vec(),
            body: Payload::Nothing,
            scopes,
            repeat: Repeat::Always,
            what,
        };
        let answered = host.send(&ask, &mut host.tries())?;
        if answered.response.status() != StatusCode::OK {
            return Err(host.refused(what, answered));
        }
        next = following(&answered, &url).map_err(|to| wrong(format!("goes on at another place: {to}")))?;
        let bytes = host.read(what, answered.response, MAX_DOCUMENT as u64)?;
        pages.push(json::parse(&bytes, MAX_DOCUMENT).map_err(|error| wrong(format!("is not one: {error}")))?);
    }
    Ok(pages)
}

/// The next page: of the same server and the same list, or an error that shows where it would be.
fn following(answered: &Answered, current: &Url) -> Result<Option<Url>, String> {
    let headers = answered.response.headers().get_all(LINK).iter();
    let Some(target) = headers.filter_map(|value| value.to_str().ok()).find_map(next_link) else {
        return Ok(None);
    };
    match current.join(&target) {
        Ok(url) if url.origin() == current.origin() && url.path() == current.path() => Ok(Some(url)),
        Ok(url) => Err(crate::fetch::shown(&url)),
        Err(_) => Err("what is no URL".into()),
    }
}

/// The target of a link with `rel="next"`.
fn next_link(text: &str) -> Option<String> {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([',', ' ', '\t']);
        let (target, behind) = rest.strip_prefix('<')?.split_once('>')?;
        let end = behind.find(",").filter(|at| behind[at + 1..].trim_start().starts_with('<'));
        let (params, more) = behind.split_at(end.unwrap_or(behind.len()));
        let is_next = params.split(';').filter_map(|param| param.split_once('=')).any(|(name, value)| {
            let names = value.trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel")
                && names.split(' ').any(|name| name.eq_ignore_ascii_case("next"))
        });
        if is_next {
            return Some(target.to_owned());
        }
        rest = more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links() {
        for (text, expected) in [
            ("</v2/a/tags/list?n=2&last=b>; rel=\"next\"", Some("/v2/a/tags/list?n=2&last=b")),
            ("<?last=b>;rel=next", Some("?last=b")),
            ("</a>; rel=\"prev\", </b>; REL=\"x next\"", Some("/b")),
            ("</a,b>; title=\"x\"; rel=next", Some("/a,b")),
            ("</a>; rel=\"prev\"", None),
            ("</a>", None),
            ("/a; rel=next", None),
            ("", None),
        ] {
            assert_eq!(next_link(text).as_deref(), expected, "{text}");
        }
    }
}
