//! cosign's private keys as it keeps them: a box of NaCl (`crypto_secretbox`) whose key scrypt makes of a passphrase
//! (go-securesystemslib, `encrypted`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit as _;
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit as _, StreamCipher as _};
use scrypt::{Params, scrypt};
use serde::Deserialize;

use super::KeyError;
use crate::oci::json;

/// The labels of such files.
pub const LABELS: [&str; 2] = ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"];

/// The logarithms of scrypt's N that are taken, those that cosign ever wrote: at most 128 MiB are used.
const LOG_N: std::ops::RangeInclusive<u8> = 15..=17;
const R: u32 = 8;
const P: u32 = 1;
const TAG: usize = 16;
const LONGEST: usize = 64 << 10;

#[derive(Deserialize)]
struct Sealed {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Deserialize)]
struct Kdf {
    name: String,
    params: KdfParams,
    salt: String,
}

#[derive(Deserialize)]
struct KdfParams {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

/// Opens a sealed key: PKCS#8.
pub fn open(sealed: &[u8], passphrase: &[u8]) -> Result<Vec<u8>, KeyError> {
    let sealed: Sealed =
        json::parse(sealed, LONGEST).map_err(|_| KeyError::Sealed("its JSON is not cosign's"))?;
    if sealed.kdf.name != "scrypt" || sealed.cipher.name != "nacl/secretbox" {
        return Err(KeyError::Sealed("it is not sealed with scrypt and nacl/secretbox"));
    }
    let bytes = |text: &str| STANDARD.decode(text).map_err(|_| KeyError::Sealed("a part is not base64"));
    let nonce: [u8; 24] = bytes(&sealed.cipher.nonce)?
        .try_into()
        .map_err(|_| KeyError::Sealed("its nonce has not 24 bytes"))?;
    let key = derived(&sealed.kdf.params, passphrase, &bytes(&sealed.kdf.salt)?)?;
    unboxed(&key, &nonce, &bytes(&sealed.ciphertext)?).ok_or(KeyError::Passphrase)
}

fn derived(params: &KdfParams, passphrase: &[u8], salt: &[u8]) -> Result<[u8; 32], KeyError> {
    let log_n = LOG_N.into_iter().find(|log| 1 << log == params.n);
    let log_n = log_n.filter(|_| params.r == R && params.p == P);
    let log_n = log_n.ok_or(KeyError::Sealed("its parameters of scrypt are not among cosign's"))?;
    let params = Params::new(log_n, R, P).expect("they are within the bounds of RFC 7914");
    let mut key = [0; 32];
    scrypt(passphrase, salt, &params, &mut key).expect("the key is not longer than scrypt gives");
    Ok(key)
}

/// `crypto_secretbox_open`: the first 32 bytes of the stream are the key of the tag, the next ones cover the text.
fn unboxed(key: &[u8; 32], nonce: &[u8; 24], sealed: &[u8]) -> Option<Vec<u8>> {
    let (tag, text) = sealed.split_at_checked(TAG)?;
    let mut stream = XSalsa20::new(key.into(), nonce.into());
    let mut tag_key = [0; 32];
    stream.apply_keystream(&mut tag_key);
    let expected = Poly1305::new((&tag_key).into()).compute_unpadded(text);
    // The file is the user's own; nobody measures how long this takes.
    if expected.as_slice() != tag {
        return None;
    }
    let mut text = text.to_owned();
    stream.apply_keystream(&mut text);
    Some(text)
}
