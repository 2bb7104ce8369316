//! Keys, and what is signed with them: images as cosign does it, and records of the cache (spec/signatures.md).
//!
//! Bytes in, verdicts out: nothing here reads a file or asks a server. Whatever cannot be read, is not whole or is for
//! something else is no signature.

mod key;
mod pem;
mod record;
mod sealed;
mod simple;
mod trust;

pub use key::{KeyError, KeyId, PublicKey, Signer};
pub use record::{RecordFault, RecordSignature};
pub use simple::{ANNOTATION, Annotations, Attached, MAX_PAYLOAD, MEDIA_TYPE, PayloadFault, payload, tag};
pub use trust::{Fault, MAX_KEYS, MAX_SIGNATURES, Trust, TrustError, Trusted, Untrusted};
