//! Digests by role. One type per role, so that a diff id can never stand where a chain id is meant.
//!
//! Owns: the sha256 roles of the OCI image-spec and the two BLAKE3 roles of lith. Never does I/O.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    #[error("digest {0:?} has no algorithm; expected {1}:<64 hex digits>")]
    NoAlgorithm(String, &'static str),
    #[error("digest algorithm {0:?} is not supported; expected {1}")]
    Algorithm(String, &'static str),
    #[error("digest {0:?} is not 64 lower-case hex digits")]
    Hex(String),
}

/// Lower-case hex of bytes.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)] as char);
        text.push(DIGITS[usize::from(byte & 15)] as char);
    }
    text
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let text = text.as_bytes();
    if text.len() != 64 {
        return None;
    }
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let mut out = [0; 32];
    for (slot, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *slot = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

fn parse(text: &str, algorithm: &'static str) -> Result<[u8; 32], DigestError> {
    let short = |s: &str| s.chars().take(100).collect::<String>();
    let (name, digits) =
        text.split_once(':').ok_or_else(|| DigestError::NoAlgorithm(short(text), algorithm))?;
    if name != algorithm {
        return Err(DigestError::Algorithm(short(name), algorithm));
    }
    unhex(digits).ok_or_else(|| DigestError::Hex(short(text)))
}

macro_rules! role {
    ($(#[$doc:meta])* $name:ident, $algorithm:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Wraps the 32 raw bytes of a finished hash.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 raw bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The 64 hex digits without the algorithm: a safe file name.
            pub fn hex(&self) -> String {
                hex(&self.0)
            }

            /// The first twelve hex digits, for people.
            pub fn short(&self) -> String {
                hex(&self.0[..6])
            }

            /// Parses 64 hex digits without an algorithm, as file names hold them.
            pub fn from_hex(digits: &str) -> Result<Self, DigestError> {
                unhex(digits).map(Self).ok_or_else(|| DigestError::Hex(digits.chars().take(100).collect()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($algorithm, ":{}"), self.hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }

        impl FromStr for $name {
            type Err = DigestError;
            fn from_str(text: &str) -> Result<Self, DigestError> {
                parse(text, $algorithm).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

role!(
    /// Bytes named by their sha256: any blob of an image or of the store.
    BlobDigest, "sha256"
);
role!(
    /// sha256 of a layer's uncompressed tar (image-spec, "Layer DiffID").
    DiffId, "sha256"
);
role!(
    /// Recursive sha256 over diff ids: names a stack of layers (image-spec, "Layer ChainID").
    ChainId, "sha256"
);
role!(
    /// sha256 of an image's config: what docker calls the image id.
    ImageId, "sha256"
);
role!(
    /// BLAKE3 of one regular file's bytes.
    ContentDigest, "blake3"
);
role!(
    /// BLAKE3 of an action's canonical encoding: its static key (spec/step-hash.md).
    ActionKey, "blake3"
);

impl BlobDigest {
    /// The digest of bytes in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl From<DiffId> for BlobDigest {
    /// An uncompressed layer is stored as the blob of the same hash.
    fn from(diff: DiffId) -> Self {
        Self(diff.0)
    }
}

impl From<ImageId> for BlobDigest {
    /// An image id is the digest of its config blob.
    fn from(id: ImageId) -> Self {
        Self(id.0)
    }
}

impl From<BlobDigest> for DiffId {
    fn from(blob: BlobDigest) -> Self {
        Self(blob.0)
    }
}

impl From<BlobDigest> for ImageId {
    fn from(blob: BlobDigest) -> Self {
        Self(blob.0)
    }
}

impl ContentDigest {
    /// The digest of bytes in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

/// The chain id of `layer` on top of `parent` (image-spec, "Layer ChainID").
pub fn chain_id(parent: Option<ChainId>, layer: DiffId) -> ChainId {
    match parent {
        None => ChainId(layer.0),
        Some(parent) => ChainId(Sha256::digest(format!("{parent} {layer}").as_bytes()).into()),
    }
}

/// The chain ids of a stack, bottom first: one for each layer.
pub fn chain_ids(layers: &[DiffId]) -> Vec<ChainId> {
    let mut parent = None;
    layers
        .iter()
        .map(|layer| {
            let chain = chain_id(parent, *layer);
            parent = Some(chain);
            chain
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_is_strict() {
        let good = format!("sha256:{}", "ab".repeat(32));
        assert_eq!(good.parse::<DiffId>().unwrap().to_string(), good);
        for bad in [
            "",
            "sha256",
            "sha256:",
            "md5:00",
            &format!("sha256:{}", "AB".repeat(32)),
            &format!("sha256:{}", "ab".repeat(31)),
            &format!("sha256:{}/", "ab".repeat(31)),
            &format!("SHA256:{}", "ab".repeat(32)),
            "sha256:../../../../../../etc/passwd",
        ] {
            assert!(bad.parse::<BlobDigest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn chain_ids_follow_the_image_spec() {
        // Worked by hand with sha256sum: the chain of one layer is its diff id; of two, sha256("A B").
        let a = DiffId::from(BlobDigest::of(b"a"));
        let b = DiffId::from(BlobDigest::of(b"b"));
        let chains = chain_ids(&[a, b]);
        assert_eq!(chains[0].as_bytes(), a.as_bytes());
        assert_eq!(chains[1].as_bytes(), BlobDigest::of(format!("{a} {b}").as_bytes()).as_bytes());
    }
}
