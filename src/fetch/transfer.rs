//! A body on its way into the store. What broke off goes on from where it was, as far as that is safe (RFC 9110,
//! sections 13 and 14; spec/fetch.md, "Going on").

use std::io::{self, Read as _, Write as _};
use std::time::Duration;

use ureq::Body;
use ureq::http::Response;
use ureq::http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, HeaderName, IF_RANGE, LAST_MODIFIED, RANGE,
};

use super::client::header;
use super::pace::{Paced, Trickle};
use super::watch::{Amount, Task};
use crate::digest::{BlobDigest, ContentDigest};
use crate::epoch::Epoch;
use crate::store::partials::{Trust, Whole};
use crate::store::{BlobWriter, Store, StoreError};

/// Files below this size are not worth keeping a part of.
const WORTH_KEEPING: u64 = 1 << 20;

/// How much is read at once.
const BUFFER: usize = 1 << 17;

/// What a transfer is for.
pub struct Wanted {
    /// By which its part is known in the store: of the content if that is known, else of the URL.
    pub key: String,
    pub checksum: Option<BlobDigest>,
    /// How many bytes it has, if that is known beforehand.
    pub size: Option<u64>,
    /// The largest it may be, in bytes.
    pub limit: u64,
    pub patience: Duration,
    /// Whether anybody asks for the content digest.
    pub is_content_asked: bool,
}

impl Wanted {
    fn trust(&self) -> Trust {
        if self.checksum.is_some() { Trust::Digest } else { Trust::Server }
    }
}

/// What came of a file so far.
pub struct Transfer {
    blob: BlobWriter,
    content: Content,
    total: Option<u64>,
    etag: Option<String>,
    last_modified: Option<String>,
    /// What tells this state of the file from every other.
    strong: Option<String>,
    /// Whether it came in one piece.
    is_one: bool,
}

/// The content digest under way, where somebody asks for it.
struct Content(Option<blake3::Hasher>);

impl Content {
    fn new(wanted: &Wanted) -> Self {
        Self(wanted.is_content_asked.then(blake3::Hasher::new))
    }

    fn update(&mut self, bytes: &[u8]) {
        if let Some(hasher) = &mut self.0 {
            hasher.update(bytes);
        }
    }

    fn finish(self) -> Option<ContentDigest> {
        self.0.map(|hasher| ContentDigest::from_bytes(*hasher.finalize().as_bytes()))
    }
}

/// A file that came whole.
pub struct Brought {
    pub blob: BlobDigest,
    /// Where [`Wanted`] asks for it.
    pub content: Option<ContentDigest>,
    pub size: u64,
    pub etag: Option<String>,
    pub last_modified: Option<String>,
}

/// Why a body did not become whole.
pub enum Broken {
    /// Asking again may help.
    Off(String),
    Failed(String),
    TooLarge,
    Store(StoreError),
}

impl Transfer {
    /// What an earlier run left, if the rest of it can be asked for.
    pub fn resume(store: &Store, wanted: &Wanted) -> Result<Option<Self>, StoreError> {
        let mut content = Content::new(wanted);
        let found = store.resume_blob(&wanted.key, wanted.trust(), |bytes| content.update(bytes))?;
        Ok(found.filter(|(blob, _)| blob.size() > 0).map(|(blob, whole)| Self {
            blob,
            content,
            total: Some(whole.total),
            etag: whole.etag,
            last_modified: whole.last_modified,
            strong: whole.strong,
            is_one: false,
        }))
    }

    /// Begins with what an answer says of the file.
    pub fn start(store: &Store, wanted: &Wanted, response: &Response<Body>) -> Result<Self, StoreError> {
        let told = header(response, CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let total = wanted.size.or(told);
        let (etag, last_modified) = (header(response, ETAG), header(response, LAST_MODIFIED));
        let (etag, last_modified) = (etag.map(str::to_owned), last_modified.map(str::to_owned));
        let strong = strong(response);
        let is_kept = wanted.checksum.is_some() || strong.is_some();
        let blob = match total.filter(|total| is_kept && (WORTH_KEEPING..=wanted.limit).contains(total)) {
            Some(total) => {
                let (etag, last_modified) = (etag.clone(), last_modified.clone());
                let whole = Whole { total, etag, last_modified, strong: strong.clone() };
                store.resumable_blob(&wanted.key, &whole)?
            }
            None => {
                store.drop_partial(&wanted.key);
                store.blob_writer()?
            }
        };
        let content = Content::new(wanted);
        Ok(Self { blob, content, total, etag, last_modified, strong, is_one: true })
    }

    /// Whether all of it is here.
    pub fn is_whole(&self) -> bool {
        self.total == Some(self.blob.size())
    }

    /// Whether the rest of it can be asked for: nobody could tell otherwise whether it is the rest of the same.
    pub fn can_go_on(&self, wanted: &Wanted) -> bool {
        self.blob.size() > 0 && !self.is_whole() && (wanted.checksum.is_some() || self.strong.is_some())
    }

    /// The headers of a request for the rest. Where a digest decides in the end, any mirror's bytes will do.
    pub fn conditions(&self, wanted: &Wanted) -> impl Iterator<Item = (HeaderName, String)> {
        let range = (RANGE, format!("bytes={}-", self.blob.size()));
        let strong = self.strong.clone().filter(|_| wanted.checksum.is_none());
        std::iter::once(range).chain(strong.map(|strong| (IF_RANGE, strong)))
    }

    /// Itself, if an answer is the rest of this file, or the beginning of its rest.
    pub fn going_on_with(mut self, wanted: &Wanted, response: &Response<Body>) -> Option<Self> {
        let (first, total) = header(response, CONTENT_RANGE).and_then(range)?;
        let tag = header(response, ETAG);
        let is_other = wanted.checksum.is_none() && tag.is_some() && tag != self.etag.as_deref();
        if first != self.blob.size() || self.total.is_some_and(|known| known != total) || is_other {
            return None;
        }
        self.total = Some(total);
        self.is_one = false;
        Some(self)
    }

    /// Takes in a body. What came before an error stays.
    pub fn fill(&mut self, wanted: &Wanted, response: Response<Body>, task: &Task) -> Result<(), Broken> {
        if self.total.is_some_and(|total| total > wanted.limit) {
            return Err(Broken::TooLarge);
        }
        let body = response.into_body().into_with_config().limit(u64::MAX).reader();
        let mut body = Paced::new(body, wanted.patience);
        let mut buffer = vec![0; BUFFER];
        loop {
            task.moved(&Amount { bytes: self.blob.size(), total: self.total, pieces: None });
            let got = match body.read(&mut buffer) {
                Ok(0) if self.total.is_some_and(|total| self.blob.size() < total) => {
                    return Err(Broken::Off(self.broken("it sent no more")));
                }
                Ok(0) => return Ok(()),
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.get_ref().is_some_and(|inner| inner.is::<Trickle>()) => {
                    return Err(Broken::Failed(error.to_string()));
                }
                Err(error) => return Err(Broken::Off(self.broken(&error.to_string()))),
            };
            let size = self.blob.size() + got as u64;
            if size > wanted.limit {
                return Err(Broken::TooLarge);
            }
            if let Some(total) = self.total.filter(|total| size > *total) {
                return Err(Broken::Failed(format!(
                    "it sends more than the {total} bytes that it speaks of"
                )));
            }
            self.blob.write_all(&buffer[..got]).map_err(|error| Broken::Store(error.into()))?;
            self.content.update(&buffer[..got]);
        }
    }

    fn broken(&self, error: &str) -> String {
        let here = self.blob.size();
        match self.total {
            Some(total) => format!("the connection broke off after {here} of {total} bytes: {error}"),
            None => format!("the connection broke off after {here} bytes: {error}"),
        }
    }

    /// Whether some of it came by an earlier answer than the last.
    pub fn is_joined(&self) -> bool {
        !self.is_one
    }

    /// Names the file, if it is what it should be.
    pub fn finish(self, wanted: &Wanted) -> Result<Brought, StoreError> {
        let content = self.content.finish();
        let (blob, size) = self.blob.commit(wanted.checksum)?;
        Ok(Brought { blob, content, size, etag: self.etag, last_modified: self.last_modified })
    }
}

/// The validator that may stand in `If-Range`: a strong tag; without any tag, a date that is older than the answer, so
/// that the file cannot have changed twice within it.
fn strong(response: &Response<Body>) -> Option<String> {
    if let Some(tag) = header(response, ETAG) {
        return tag.starts_with('"').then(|| tag.to_owned());
    }
    let date = header(response, LAST_MODIFIED)?;
    let (made, told) = (Epoch::from_http_date(date)?, Epoch::from_http_date(header(response, DATE)?)?);
    (made < told).then(|| date.to_owned())
}

/// Where the bytes of a `Content-Range` begin, and how many the whole has. Their end shows as they come.
fn range(value: &str) -> Option<(u64, u64)> {
    let (bytes, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = bytes.split_once('-')?;
    let (first, last, total) = (first.parse().ok()?, last.parse::<u64>().ok()?, total.parse().ok()?);
    (first <= last && last < total).then_some((first, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(range("bytes 5-9/10"), Some((5, 10)));
        assert_eq!(range("bytes 5-7/10"), Some((5, 10)));
        for wrong in ["bytes 5-9/*", "bytes */10", "bytes 9-5/10", "bytes 5-10/10", "lines 5-9/10", "5-9/10"]
        {
            assert_eq!(range(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_tells_one_state_from_another() {
        let strong = |headers: &[(&str, &str)]| {
            let mut response = Response::builder();
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            super::strong(&response.body(Body::builder().data("")).unwrap())
        };
        let date = |second: u8| format!("Tue, 14 Nov 2023 22:13:{second:02} GMT");
        assert_eq!(strong(&[("ETag", "\"a\"")]).as_deref(), Some("\"a\""));
        assert_eq!(strong(&[("ETag", "W/\"a\"")]), None);
        let (early, late) = (date(20), date(21));
        assert_eq!(strong(&[("Last-Modified", &early), ("Date", &late)]), Some(early.clone()));
        assert_eq!(strong(&[("Last-Modified", &early), ("Date", &early)]), None);
        assert_eq!(strong(&[("Last-Modified", &early)]), None);
        assert_eq!(
            strong(&[("ETag", "W/\"a\""), ("Last-Modified", &early), ("Date", &late)]),
            None,
            "where there is a tag, the date says nothing"
        );
        assert_eq!(strong(&[]), None);
    }
}
