//! What archives list: signed releases, checked, and the indices that they vouch for (spec/packages.md, "Who is
//! believed").

use std::fs;
use std::io::Read as _;
use std::path::Path;

use super::DebianError;
use super::archive::{Archive, Asking};
use super::release::{KeyFile, Listed, Release, verified};
use super::sources::Source;
use super::validity::Validity;
use crate::digest::BlobDigest;
use crate::fetch::{FetchError, FetchOptions, Fetcher};
use crate::layer::{DecompressLimits, Decompressor};
use crate::recipe::PackageSet;
use crate::remote::without_credentials;
use crate::store::StoreError;
use crate::sys::file::unique_name;

/// The largest release that is read.
const LARGEST_RELEASE: u64 = 16 << 20;
/// The largest index, unpacked, where the release does not say.
const LARGEST_INDEX: u64 = 1 << 30;

/// A suite and the signed list of what it holds.
pub(super) struct Signed {
    pub source: Source,
    pub url: String,
    pub blob: BlobDigest,
}

/// What a component of a suite offers.
pub(super) struct List {
    pub archive: String,
    /// Suite and component.
    pub name: String,
    /// Where it is from.
    pub shown: String,
    pub text: String,
}

impl Archive<'_> {
    /// Brings a suite's `InRelease`. A moment's does not change, so it is asked for once; where no server answers, the one
    /// that is here serves as long as it is valid.
    pub(super) fn signed(
        &self,
        source: Source,
        set: &PackageSet,
        asking: Asking,
    ) -> Result<Option<Signed>, DebianError> {
        let url = in_release(&source);
        let options = FetchOptions { largest: LARGEST_RELEASE, ..self.options.clone() };
        let fetcher = Fetcher::new(self.store, &options);
        let last = fetcher.last(&url);
        let fetched = match (asking, last) {
            (Asking::Never, last) => last,
            (Asking::Allowed, Some(last)) if set.snapshot.is_some() => Some(last),
            (Asking::Allowed, last) => match (fetcher.file(&url, None), last) {
                (Err(FetchError::Failed { .. }), Some(last)) => Some(last),
                (result, _) => Some(result?),
            },
        };
        Ok(fetched.map(|fetched| Signed { source, url, blob: fetched.blob }))
    }

    /// Checks who signed a release, what it is of, and whether it is still valid.
    pub(super) fn release(&self, signed: &Signed, set: &PackageSet) -> Result<Release, DebianError> {
        let bytes = self.store.read_blob(&signed.blob, LARGEST_RELEASE)?;
        let keys = KeyFile::of(&signed.source.keys, || self.machine.trusted())?;
        let place = self.store.root().join("tmp").join(unique_name());
        fs::create_dir(&place).map_err(StoreError::from)?;
        let release = self.believed(signed, set, &bytes, &keys, &place);
        let _ = fs::remove_dir_all(&place);
        release
    }

    /// The same in a directory of its own.
    fn believed(
        &self,
        signed: &Signed,
        set: &PackageSet,
        bytes: &[u8],
        keys: &[KeyFile],
        place: &Path,
    ) -> Result<Release, DebianError> {
        let text = verified(&signed.url, bytes, keys, place)?;
        let url = || signed.url.clone();
        let release = Release::parse(&text).map_err(|reason| DebianError::Release { url: url(), reason })?;
        let wanted = &signed.source.suite;
        if ![&release.suite, &release.codename].contains(&wanted) {
            let found = format!("{} ({})", release.suite, release.codename);
            return Err(DebianError::Suite { url: url(), wanted: wanted.clone(), found });
        }
        if set.snapshot.is_none() {
            self.check_time(signed, &release, place)?;
        }
        Ok(release)
    }

    /// Whether a release is still valid, or whoever owns the machine does not care. apt is asked only where that decides.
    fn check_time(&self, signed: &Signed, release: &Release, place: &Path) -> Result<(), DebianError> {
        let (own, now) = (&signed.source.validity, self.machine.now);
        if !own.is_over(release, now) {
            return Ok(());
        }
        let whole = match own.check {
            Some(false) => own.clone(),
            Some(true) | None => own.or(&Validity::of_machine(&self.machine.apt, &release.label, place)),
        };
        if !whole.is_over(release, now) {
            return Ok(());
        }
        let (url, until) =
            (without_credentials(&signed.url), release.valid_until.clone().unwrap_or_default());
        if whole.check != Some(false) {
            return Err(DebianError::Expired { url, until });
        }
        let who = if own.check.is_some() { "its source" } else { "apt's configuration" };
        self.options.watch.warn(&format!("{url} was valid until {until}; {who} says not to check that"));
        Ok(())
    }

    /// The lists of a set, the first source's first.
    pub(super) fn lists(&self, set: &PackageSet, architecture: &str) -> Result<Vec<List>, DebianError> {
        let (mut signed, mut releases) = (Vec::new(), Vec::new());
        for source in self.machine.sources(set, architecture)? {
            let found = self.signed(source, set, Asking::Allowed)?.expect("servers may be asked");
            releases.push(self.release(&found, set)?);
            signed.push(found);
        }
        self.read_lists(architecture, &signed, &releases)
    }

    pub(super) fn read_lists(
        &self,
        architecture: &str,
        signed: &[Signed],
        releases: &[Release],
    ) -> Result<Vec<List>, DebianError> {
        let mut lists = Vec::new();
        for (signed, release) in signed.iter().zip(releases) {
            for component in &signed.source.components {
                for (shown, text) in self.indices(signed, release, component, architecture)? {
                    let archive = signed.source.uri.clone();
                    let name = format!("{}/{component}", signed.source.suite);
                    lists.push(List { archive, name, shown, text });
                }
            }
        }
        Ok(lists)
    }

    /// The indices of a component: where each is from, and its text.
    fn indices(
        &self,
        signed: &Signed,
        release: &Release,
        component: &str,
        architecture: &str,
    ) -> Result<Vec<(String, String)>, DebianError> {
        let listed = listed(signed, release, component, architecture)?;
        listed.into_iter().map(|listed| self.index(signed, release, listed)).collect()
    }

    /// One index: fetched packed by its digest, unpacked, and held against its digest again.
    fn index(
        &self,
        signed: &Signed,
        release: &Release,
        (packed, plain): (&Listed, Option<&Listed>),
    ) -> Result<(String, String), DebianError> {
        let directory = format!("{}/dists/{}", signed.source.uri, signed.source.suite);
        let url = match (release.by_hash, packed.path.rsplit_once('/')) {
            (true, Some((holder, _))) => {
                format!("{directory}/{holder}/by-hash/SHA256/{}", packed.sha256.hex())
            }
            _ => format!("{directory}/{}", packed.path),
        };
        let shown = format!("{directory}/{}", packed.path);
        let options = FetchOptions { largest: packed.size, ..self.options.clone() };
        Fetcher::new(self.store, &options).file(&url, Some(packed.sha256))?;
        let bytes = self.store.read_blob(&packed.sha256, packed.size)?;
        let largest = plain.map_or(LARGEST_INDEX, |plain| plain.size);
        let limits = DecompressLimits { max_size: largest, ..DecompressLimits::default() };
        let mut text = Vec::new();
        let bad = |reason: String| DebianError::BadIndex { url: shown.clone(), reason };
        let read = Decompressor::new(&bytes[..], limits).and_then(|mut reader| reader.read_to_end(&mut text));
        read.map_err(|error| bad(error.to_string()))?;
        let actual = BlobDigest::of(&text);
        if let Some(plain) = plain.filter(|plain| plain.sha256 != actual) {
            return Err(DebianError::Index { url: shown, expected: plain.sha256, actual });
        }
        let text = String::from_utf8(text).map_err(|_| bad("it is not UTF-8".to_owned()))?;
        Ok((shown, text))
    }
}

fn in_release(source: &Source) -> String {
    format!("{}/dists/{}/InRelease", source.uri, source.suite)
}

/// The indices of a component: packed, and what they are unpacked.
fn listed<'a>(
    signed: &Signed,
    release: &'a Release,
    component: &str,
    architecture: &str,
) -> Result<Vec<(&'a Listed, Option<&'a Listed>)>, DebianError> {
    let own = release.index(component, architecture).ok_or_else(|| DebianError::NoIndex {
        url: signed.url.clone(),
        component: component.to_owned(),
        architecture: architecture.to_owned(),
    })?;
    let all = release.index(component, "all").filter(|_| release.separate_all);
    Ok([own].into_iter().chain(all).collect())
}
