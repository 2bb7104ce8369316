//! Whose signatures count, and whether something has one.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::simple::{self, Annotations, Attached, PayloadFault};
use super::{KeyId, PublicKey, RecordFault, RecordSignature};
use crate::digest::BlobDigest;
use crate::oci::Reference;

/// The most keys that are trusted at once.
pub const MAX_KEYS: usize = 16;
/// The most signatures of an image that are tried: whoever can attach one can attach a million.
pub const MAX_SIGNATURES: usize = 100;
/// A signature in base64 is shorter.
const MAX_TEXT: usize = 1024;

/// The keys whose signatures count; at least one.
#[derive(Debug, Clone)]
pub struct Trust {
    keys: Vec<PublicKey>,
}

/// Keys that are no trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    #[error("no key is trusted; expected one at least")]
    NoKey,
    #[error("{0} keys are trusted; expected {MAX_KEYS} at most")]
    Many(usize),
}

/// A signature that holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Trusted {
    pub key: KeyId,
    /// What the signer added.
    pub annotations: Annotations,
}

/// Why one signature of an image does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("it is not base64")]
    Encoding,
    #[error("no trusted key made it")]
    Key,
    #[error(transparent)]
    Payload(#[from] PayloadFault),
    /// By a trusted key, for this image.
    #[error("it does not say {0}")]
    Annotation(String),
    #[error("it cannot be had: {0}")]
    Lost(String),
}

/// No signature of an image holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untrusted {
    image: String,
    /// Of those that were tried.
    pub faults: Vec<Fault>,
    /// How many were not tried.
    pub untried: usize,
}

impl std::error::Error for Untrusted {}

impl std::fmt::Display for Untrusted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.faults.is_empty() {
            return write!(f, "{} has no signature", self.image);
        }
        write!(f, "{} has no signature that holds", self.image)?;
        let mut kinds: Vec<(&Fault, usize)> = Vec::new();
        for fault in &self.faults {
            match kinds.iter_mut().find(|(known, _)| *known == fault) {
                Some((_, count)) => *count += 1,
                None => kinds.push((fault, 1)),
            }
        }
        const SHOWN: usize = 3;
        for (fault, count) in kinds.iter().take(SHOWN) {
            write!(f, "; of {count}: {fault}")?;
        }
        if kinds.len() > SHOWN {
            write!(f, "; and others")?;
        }
        match self.untried {
            0 => Ok(()),
            more => write!(f, "; {more} more were not tried"),
        }
    }
}

impl Untrusted {
    /// The same of an image whose signatures are in two places.
    pub fn and(mut self, other: Self) -> Self {
        self.faults.extend(other.faults);
        Self { untried: self.untried + other.untried, ..self }
    }
}

fn says(annotations: &Annotations, wanted: &BTreeMap<String, String>) -> Result<(), Fault> {
    let is_missing = |(name, value): &(&String, &String)| {
        annotations.get(*name).and_then(|said| said.as_str()) != Some(*value)
    };
    match wanted.iter().find(is_missing) {
        None => Ok(()),
        Some((name, value)) => Err(Fault::Annotation(format!("{name}={value}"))),
    }
}

impl Trust {
    /// Trusts these keys, each in the same way.
    pub fn new(mut keys: Vec<PublicKey>) -> Result<Self, TrustError> {
        keys.sort();
        keys.dedup();
        match keys.len() {
            0 => Err(TrustError::NoKey),
            many if many > MAX_KEYS => Err(TrustError::Many(many)),
            _ => Ok(Self { keys }),
        }
    }

    /// Finds a signature by a trusted key for this manifest under this name.
    pub fn image(
        &self,
        name: &Reference,
        manifest: &BlobDigest,
        attached: &[Attached],
    ) -> Result<Trusted, Box<Untrusted>> {
        self.image_saying(name, manifest, attached, &BTreeMap::new())
    }

    /// The same, of signatures that say this besides.
    pub fn image_saying(
        &self,
        name: &Reference,
        manifest: &BlobDigest,
        attached: &[Attached],
        wanted: &BTreeMap<String, String>,
    ) -> Result<Trusted, Box<Untrusted>> {
        let mut faults = Vec::new();
        for signature in attached.iter().take(MAX_SIGNATURES) {
            let one = self.one(name, manifest, signature);
            match one.and_then(|trusted| says(&trusted.annotations, wanted).map(|()| trusted)) {
                Ok(trusted) => return Ok(trusted),
                Err(fault) => faults.push(fault),
            }
        }
        let untried = attached.len() - faults.len();
        let image = format!("{}@{manifest}", name.familiar_name());
        Err(Box::new(Untrusted { image, faults, untried }))
    }

    /// No byte of a payload is understood before it is known who signed it.
    fn one(&self, name: &Reference, manifest: &BlobDigest, one: &Attached) -> Result<Trusted, Fault> {
        simple::bounded(&one.payload)?;
        let text = Some(one.signature.as_str()).filter(|text| text.len() <= MAX_TEXT);
        let signature = text.and_then(|text| STANDARD.decode(text).ok()).ok_or(Fault::Encoding)?;
        let by = self.keys.iter().find(|key| key.verifies(&one.payload, &signature)).ok_or(Fault::Key)?;
        let annotations = simple::check(&one.payload, name, manifest)?;
        Ok(Trusted { key: by.id(), annotations })
    }

    /// The trusted key that signed a record, detached.
    pub fn record(&self, record: &[u8], signature: &[u8]) -> Result<KeyId, RecordFault> {
        let signature = RecordSignature::parse(signature).ok_or(RecordFault::Form)?;
        let by = self.keys.iter().find(|key| key.id() == signature.key);
        let by = by.ok_or(RecordFault::Key(signature.key))?;
        if signature.is_by(by, record) { Ok(signature.key) } else { Err(RecordFault::Record(signature.key)) }
    }
}
