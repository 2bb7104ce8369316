//! The signature of a record of the cache, detached (spec/signatures.md): who said so, whatever brought it here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{KeyError, KeyId, PublicKey, Signer};

/// The version of the text and of what is signed; both begin with it.
const HEAD: &str = "lith record signature 1\n";
/// A whole one is shorter.
const LONGEST: usize = 1024;

/// A signature with the name of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordSignature {
    pub key: KeyId,
    bytes: Vec<u8>,
}

/// Why a record is not signed. Such a record is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    #[error("the signature is not of the form expected")]
    Form,
    #[error("it is signed with {0}, which is not trusted")]
    Key(KeyId),
    #[error("the signature with {0} is of another record")]
    Record(KeyId),
}

impl RecordSignature {
    /// Signs a record's bytes.
    pub fn make(record: &[u8], signer: &Signer) -> Result<Self, KeyError> {
        Ok(Self { key: signer.public().id(), bytes: signer.sign(&message(record))? })
    }

    /// The text that is kept: three lines.
    pub fn encode(&self) -> String {
        format!("{HEAD}key {}\nsignature {}\n", self.key, STANDARD.encode(&self.bytes))
    }

    /// Reads a text, if it is exactly as [`RecordSignature::encode`] writes it.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= LONGEST)?;
        let (key, signature) = text.strip_prefix(HEAD)?.strip_prefix("key ")?.split_once('\n')?;
        let signature = signature.strip_prefix("signature ")?.strip_suffix('\n')?;
        Some(Self { key: key.parse().ok()?, bytes: STANDARD.decode(signature).ok()? })
    }

    /// Whether a key made it of a record.
    pub(super) fn is_by(&self, key: &PublicKey, record: &[u8]) -> bool {
        key.verifies(&message(record), &self.bytes)
    }
}

/// What is signed: no signature of anything else begins so.
fn message(record: &[u8]) -> Vec<u8> {
    [HEAD.as_bytes(), record].concat()
}
