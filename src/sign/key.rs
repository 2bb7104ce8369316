//! Keys: ECDSA on P-256 with SHA-256, as cosign makes them, and Ed25519.

use std::fmt;
use std::str::FromStr;

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, UnparsedPublicKey,
};

use serde::{Deserialize, Serialize};

use super::pem::Block;
use super::sealed;
use crate::digest::{BlobDigest, DigestError};

/// What a public key of P-256 has before its point, in DER (RFC 5480).
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// A point without compression: 4, x, y.
const P256_POINT: usize = 65;
/// The same of Ed25519 (RFC 8410).
const CURVE25519: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const CURVE25519_POINT: usize = 32;

const PUBLIC: &str = "PUBLIC KEY";
const PRIVATE: &str = "PRIVATE KEY";

/// Why a key cannot be used. No message holds any of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("this is no key in PEM: {0}")]
    Pem(&'static str),
    #[error("this is a {found}; expected a {expected}{}", next_step(.found))]
    Kind { found: String, expected: &'static str },
    #[error("the public key is neither ECDSA on P-256 nor Ed25519")]
    Algorithm,
    #[error("the private key is not whole, or neither ECDSA on P-256 nor Ed25519, in PKCS#8")]
    Private,
    #[error("the private key is sealed; its passphrase is needed")]
    Locked,
    #[error("the passphrase is not that of the private key, or the key was changed")]
    Passphrase,
    #[error("the private key is sealed in a way that is not known: {0}")]
    Sealed(&'static str),
    #[error("the system has no random numbers to sign with")]
    Random,
}

fn next_step(found: &str) -> &'static str {
    match found {
        "EC PRIVATE KEY" | "EC PARAMETERS" => "; make it one: openssl pkcs8 -topk8 -nocrypt",
        "ENCRYPTED PRIVATE KEY" => "; make it one: openssl pkey",
        _ => "",
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Algorithm {
    EcdsaP256,
    Ed25519,
}

/// What tells a key from others: the sha256 of its public half, in DER.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(BlobDigest);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({})", self.0.short())
    }
}

impl FromStr for KeyId {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        text.parse().map(Self)
    }
}

/// A key to check signatures with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey {
    algorithm: Algorithm,
    point: Vec<u8>,
}

impl PublicKey {
    /// Reads a file's bytes: SubjectPublicKeyInfo in PEM, the one encoding of it.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let block = Block::parse(text)?;
        if block.label != PUBLIC {
            return Err(KeyError::Kind { found: block.label, expected: PUBLIC });
        }
        Self::from_der(&block.bytes).ok_or(KeyError::Algorithm)
    }

    fn from_der(der: &[u8]) -> Option<Self> {
        let of = |algorithm, point: &[u8]| Self { algorithm, point: point.to_owned() };
        if let Some(point) = der.strip_prefix(&P256) {
            return (point.len() == P256_POINT && point[0] == 4).then(|| of(Algorithm::EcdsaP256, point));
        }
        let point = der.strip_prefix(&CURVE25519).filter(|point| point.len() == CURVE25519_POINT)?;
        Some(of(Algorithm::Ed25519, point))
    }

    fn der(&self) -> Vec<u8> {
        let prefix: &[u8] = match self.algorithm {
            Algorithm::EcdsaP256 => &P256,
            Algorithm::Ed25519 => &CURVE25519,
        };
        [prefix, &self.point].concat()
    }

    /// The file that holds it.
    pub fn to_pem(&self) -> String {
        Block { label: PUBLIC.to_owned(), bytes: self.der() }.write()
    }

    pub fn id(&self) -> KeyId {
        KeyId(BlobDigest::of(&self.der()))
    }

    /// Whether a signature of a message is by this key.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &'static dyn ring::signature::VerificationAlgorithm = match self.algorithm {
            Algorithm::EcdsaP256 => &ECDSA_P256_SHA256_ASN1,
            Algorithm::Ed25519 => &ED25519,
        };
        UnparsedPublicKey::new(algorithm, &self.point).verify(message, signature).is_ok()
    }
}

/// A key to sign with. Its private half is shown to nobody.
#[derive(Debug)]
pub struct Signer {
    pair: Pair,
    public: PublicKey,
}

enum Pair {
    Ecdsa(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Signer {
    /// Reads a file's bytes: PKCS#8 in PEM, or a key that cosign sealed with a passphrase, which may be empty.
    pub fn from_pem(text: &[u8], passphrase: Option<&[u8]>) -> Result<Self, KeyError> {
        let block = Block::parse(text)?;
        match block.label.as_str() {
            PRIVATE => Self::from_pkcs8(&block.bytes),
            label if sealed::LABELS.contains(&label) => {
                Self::from_pkcs8(&sealed::open(&block.bytes, passphrase.ok_or(KeyError::Locked)?)?)
            }
            _ => Err(KeyError::Kind { found: block.label, expected: PRIVATE }),
        }
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der, &random) {
            let point = pair.public_key().as_ref().to_owned();
            let public = PublicKey { algorithm: Algorithm::EcdsaP256, point };
            return Ok(Self { pair: Pair::Ecdsa(Box::new(pair)), public });
        }
        // openssl leaves the public half out; where it is there, it must fit.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| KeyError::Private)?;
        let point = pair.public_key().as_ref().to_owned();
        let public = PublicKey { algorithm: Algorithm::Ed25519, point };
        Ok(Self { pair: Pair::Ed25519(Box::new(pair)), public })
    }

    /// The other half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a message: the same message to the same bytes with Ed25519, never with ECDSA.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        match &self.pair {
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_owned()),
            Pair::Ecdsa(pair) => {
                let signed = pair.sign(&SystemRandom::new(), message).map_err(|_| KeyError::Random)?;
                Ok(signed.as_ref().to_owned())
            }
        }
    }
}
