//! Keys and signatures, held against openssl's. The keys of `tests/data/sign` are openssl's; the sealed ones were made of
//! them with Python's scrypt and libsodium, with the passphrase `hello` and without one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lith::digest::BlobDigest;
use lith::oci::Reference;
use lith::sign::{
    Attached, Fault, KeyError, MAX_KEYS, MAX_SIGNATURES, PayloadFault, PublicKey, RecordFault,
    RecordSignature, Signer, Trust, TrustError, payload,
};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sign").join(name)
}

fn public(name: &str) -> PublicKey {
    PublicKey::from_pem(&fs::read(data(name)).unwrap()).unwrap()
}

fn signer(name: &str) -> Signer {
    Signer::from_pem(&fs::read(data(name)).unwrap(), None).unwrap()
}

fn trust(names: &[&str]) -> Trust {
    Trust::new(names.iter().map(|name| public(name)).collect()).unwrap()
}

fn openssl(dir: &Path, line: &str) -> bool {
    let output = Command::new("openssl").args(line.split(' ')).current_dir(dir).output().unwrap();
    output.status.success()
}

const KINDS: [(&str, &str); 2] = [("p256.key", "p256.pub"), ("ed25519.key", "ed25519.pub")];

#[test]
fn keys_are_read() {
    for (private, half) in KINDS {
        assert_eq!(*signer(private).public(), public(half));
        assert_eq!(public(half).to_pem(), fs::read_to_string(data(half)).unwrap());
    }
    let id = "sha256:9b6dbab36a9798b91f5ca9537adc483a4f424fb10891e04502961d16a94d0c53";
    assert_eq!(public("p256.pub").id().to_string(), id, "that of sha256sum over openssl's DER");
    assert_eq!(id.parse(), Ok(public("p256.pub").id()));
    assert!(!format!("{:?}", signer("p256.key")).contains("9YLh"));
}

#[test]
fn other_keys_are_refused_with_a_next_step() {
    let public = |name: &str| PublicKey::from_pem(&fs::read(data(name)).unwrap()).unwrap_err().to_string();
    let private =
        |name: &str| Signer::from_pem(&fs::read(data(name)).unwrap(), None).unwrap_err().to_string();
    assert_eq!(public("p384.pub"), "the public key is neither ECDSA on P-256 nor Ed25519");
    assert_eq!(public("p256.key"), "this is a PRIVATE KEY; expected a PUBLIC KEY");
    assert_eq!(private("p256.pub"), "this is a PUBLIC KEY; expected a PRIVATE KEY");
    assert!(private("p384.key").contains("neither ECDSA on P-256 nor Ed25519"));
    assert!(private("sec1.key").contains("more than one"));
    let encrypted = "this is a ENCRYPTED PRIVATE KEY; expected a PRIVATE KEY; make it one: openssl pkey";
    assert_eq!(private("p256.encrypted.key"), encrypted);
    assert_eq!(private("p256.sealed.key"), KeyError::Locked.to_string());
    let text = fs::read_to_string(data("p256.key")).unwrap();
    let swapped = text.replacen("9YLhNi3tZl3u", "9YLhNi3tZl3v", 1);
    assert_ne!(text, swapped);
    let error = Signer::from_pem(swapped.as_bytes(), None).unwrap_err();
    assert_eq!(error, KeyError::Private, "its halves do not fit");
}

#[test]
fn sealed_keys_open_with_their_passphrase() {
    for (name, passphrase, half) in
        [("p256.sealed.key", &b"hello"[..], "p256.pub"), ("ed25519.sealed.key", b"", "ed25519.pub")]
    {
        let text = fs::read(data(name)).unwrap();
        assert_eq!(*Signer::from_pem(&text, Some(passphrase)).unwrap().public(), public(half));
        assert_eq!(Signer::from_pem(&text, Some(b"wrong")).unwrap_err(), KeyError::Passphrase);
    }
    let text = fs::read_to_string(data("ed25519.sealed.key")).unwrap();
    let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let json = String::from_utf8(STANDARD.decode(body).unwrap()).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(json.contains(from), "{from}");
        let body = STANDARD.encode(json.replacen(from, to, 1));
        let label = "ENCRYPTED COSIGN PRIVATE KEY";
        let text = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
        Signer::from_pem(text.as_bytes(), Some(b"")).unwrap_err()
    };
    // What would take the memory of the machine is not tried.
    for (from, to) in
        [("32768", "1073741824"), ("32768", "2"), ("\"r\":8", "\"r\":800"), ("\"p\":1", "\"p\":99")]
    {
        assert!(matches!(changed(from, to), KeyError::Sealed(reason) if reason.contains("scrypt")), "{to}");
    }
    assert!(matches!(changed("nacl/secretbox", "none"), KeyError::Sealed(_)));
    assert!(matches!(changed("\"nonce\":\"", "\"nonce\":\"AAAA"), KeyError::Sealed(_)));
    assert!(matches!(changed("\"kdf\"", "\"KDF\""), KeyError::Sealed(_)));
    assert_eq!(changed("\"ciphertext\":\"p", "\"ciphertext\":\"q"), KeyError::Passphrase);
    assert!(matches!(changed("\"ciphertext\":\"", "\"ciphertext\":\"\",\"x\":\""), KeyError::Passphrase));
}

#[test]
fn openssl_takes_our_signatures_and_we_take_its() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    let name: Reference = "a.example/app".parse().unwrap();
    let manifest = BlobDigest::of(b"manifest");
    let message = payload(&name, &manifest, &BTreeMap::new());
    put("m", &message);
    put("other", b"other");
    for (private, half) in KINDS {
        let [key, pem] = [private, half].map(|name| data(name).display().to_string());
        let is_ed25519 = private.starts_with("ed");
        let verify = |file: &str| match is_ed25519 {
            true => format!("pkeyutl -verify -rawin -pubin -inkey {pem} -in {file} -sigfile s"),
            false => format!("dgst -sha256 -verify {pem} -signature s {file}"),
        };
        put("s", &signer(private).sign(&message).unwrap());
        assert!(openssl(dir.path(), &verify("m")), "{private}");
        assert!(!openssl(dir.path(), &verify("other")), "{private}");
        let sign = match is_ed25519 {
            true => format!("pkeyutl -sign -rawin -inkey {key} -in m -out t"),
            false => format!("dgst -sha256 -sign {key} -out t m"),
        };
        assert!(openssl(dir.path(), &sign), "{private}");
        let signature = STANDARD.encode(fs::read(dir.path().join("t")).unwrap());
        let attached = Attached { payload: message.clone(), signature };
        assert_eq!(trust(&[half]).image(&name, &manifest, &[attached]).unwrap().key, public(half).id());
    }
}

/// One signature of each way to be wrong, and a good one.
struct Image {
    name: Reference,
    manifest: BlobDigest,
}

impl Image {
    fn new() -> Self {
        Self { name: "a.example/app:1".parse().unwrap(), manifest: BlobDigest::of(b"manifest") }
    }

    fn payload(&self) -> Vec<u8> {
        payload(&self.name, &self.manifest, &BTreeMap::from([("by".to_owned(), "me".to_owned())]))
    }

    fn signed(&self, key: &str) -> Attached {
        Attached::make(self.payload(), &signer(key)).unwrap()
    }

    /// Why one signature does not hold.
    fn fault(&self, trust: &Trust, attached: Attached) -> Fault {
        let refused = trust.image(&self.name, &self.manifest, &[attached]).unwrap_err();
        assert_eq!(refused.faults.len(), 1);
        refused.faults[0].clone()
    }
}

#[test]
fn c07_only_what_a_trusted_key_says_of_this_image_holds() {
    let image = Image::new();
    let trust = trust(&["p256.pub"]);
    let good = image.signed("p256.key");
    let held = trust.image(&image.name, &image.manifest, std::slice::from_ref(&good)).unwrap();
    assert_eq!(held.annotations["by"], "me");
    assert_eq!(image.fault(&trust, image.signed("ed25519.key")), Fault::Key);
    for at in 0..good.payload.len() {
        let mut changed = good.clone();
        changed.payload[at] ^= 1;
        assert_eq!(image.fault(&trust, changed), Fault::Key, "byte {at} of the payload");
    }
    let bytes = STANDARD.decode(&good.signature).unwrap();
    for at in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        let changed = Attached { signature: STANDARD.encode(bytes), ..good.clone() };
        assert_eq!(image.fault(&trust, changed), Fault::Key, "byte {at} of the signature");
    }
    for (signature, fault) in [
        (String::new(), Fault::Key),
        ("AAAA".into(), Fault::Key),
        ("!".into(), Fault::Encoding),
        (format!("{} ", good.signature), Fault::Encoding),
        ("A".repeat(4096), Fault::Encoding),
    ] {
        assert_eq!(image.fault(&trust, Attached { signature, ..good.clone() }), fault);
    }
    // Signed by the right key, and yet not this.
    let made = |payload: Vec<u8>| Attached::make(payload, &signer("p256.key")).unwrap();
    let other: Reference = "a.example/other".parse().unwrap();
    let moved = made(payload(&other, &image.manifest, &BTreeMap::new()));
    assert_eq!(image.fault(&trust, moved), PayloadFault::Identity("a.example/other".into()).into());
    let newer = BlobDigest::of(b"newer");
    let stale = made(payload(&image.name, &newer, &BTreeMap::new()));
    assert_eq!(image.fault(&trust, stale), PayloadFault::Manifest(newer.to_string()).into());
    assert_eq!(image.fault(&trust, made(b"{}".to_vec())), PayloadFault::Form.into());
    assert_eq!(image.fault(&trust, made(Vec::new())), PayloadFault::Form.into());
    assert_eq!(image.fault(&trust, made(vec![b' '; 100 << 10])), PayloadFault::TooLarge.into());
}

#[test]
fn c08_so_many_signatures_are_tried_and_no_more() {
    let image = Image::new();
    let trust = trust(&["ed25519.pub", "p256.pub"]);
    let (bad, good) =
        (Attached { signature: "AAAA".into(), ..image.signed("p256.key") }, image.signed("p256.key"));
    let mut attached = vec![bad; MAX_SIGNATURES];
    attached[MAX_SIGNATURES - 1] = good.clone();
    assert!(trust.image(&image.name, &image.manifest, &attached).is_ok());
    attached[MAX_SIGNATURES - 1] = attached[0].clone();
    attached.extend([good.clone(), good]);
    let refused = trust.image(&image.name, &image.manifest, &attached).unwrap_err();
    assert_eq!((refused.faults.len(), refused.untried), (MAX_SIGNATURES, 2));
    let said = format!(
        "a.example/app@{} has no signature that holds; of 100: no trusted key made it; 2 more were not tried",
        image.manifest
    );
    assert_eq!(refused.to_string(), said);
    let none = trust.image(&image.name, &image.manifest, &[]).unwrap_err().to_string();
    assert_eq!(none, format!("a.example/app@{} has no signature", image.manifest));
}

#[test]
fn trust_needs_a_key_and_takes_few() {
    assert_eq!(Trust::new(vec![]).unwrap_err(), TrustError::NoKey);
    assert!(Trust::new(vec![public("p256.pub"); MAX_KEYS + 1]).is_ok(), "the same key is one");
    let numbered = |number: u8| {
        let text = fs::read_to_string(data("ed25519.pub")).unwrap();
        let der = STANDARD.decode(text.lines().nth(1).unwrap()).unwrap();
        let der = [&der[..der.len() - 1], &[number]].concat();
        let text =
            format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der));
        PublicKey::from_pem(text.as_bytes()).unwrap()
    };
    let many = (0..=16).map(numbered).collect();
    assert_eq!(Trust::new(many).unwrap_err(), TrustError::Many(17));
}

#[test]
fn c03_a_record_is_signed_whole() {
    let signature = RecordSignature::make(b"record", &signer("ed25519.key")).unwrap();
    // openssl made the same of the head and the record.
    let vector = "lith record signature 1\n\
         key sha256:55c6d954c9276da3943eea6aa8cbea96d86f9ec9df7ce11e2e3eb9ab7813f315\n\
         signature M3/MWLrXP/XbaC5xTnmSB+mJFryi/3QXcWhLnYVM8QIDC9+S0NR96XI6bx1LvNqKRB5Oq75v5xa58qDiwg1eDA==\n";
    assert_eq!(signature.encode(), vector);
    assert_eq!(RecordSignature::parse(vector.as_bytes()), Some(signature.clone()));
    let trusted = trust(&["p256.pub", "ed25519.pub"]);
    let (key, other) = (public("ed25519.pub").id(), public("p256.pub").id());
    assert_eq!(trusted.record(b"record", vector.as_bytes()), Ok(key));
    for record in [&b"recore"[..], b"", b"record\n", b" record"] {
        assert_eq!(trusted.record(record, vector.as_bytes()), Err(RecordFault::Record(key)));
    }
    let untrusting = trust(&["p256.pub"]);
    assert_eq!(untrusting.record(b"record", vector.as_bytes()), Err(RecordFault::Key(key)));
    let renamed = vector.replace(&key.to_string(), &other.to_string());
    assert_eq!(trusted.record(b"record", renamed.as_bytes()), Err(RecordFault::Record(other)));
    for (from, to) in [
        ("1\n", "2\n"),
        ("key ", "key  "),
        ("A==", "A="),
        ("A==\n", "A=="),
        ("A==\n", "A==\n\n"),
        ("A==\n", "A==\r\n"),
        ("lith", " lith"),
        ("sha256:", "SHA256:"),
    ] {
        let changed = vector.replacen(from, to, 1);
        assert_ne!(changed, vector);
        assert_eq!(trusted.record(b"record", changed.as_bytes()), Err(RecordFault::Form), "{to:?}");
    }
    let long = vector.replace("M3/M", &"M3/M".repeat(1000));
    assert_eq!(trusted.record(b"record", long.as_bytes()), Err(RecordFault::Form));
    let by_ecdsa = RecordSignature::make(b"record", &signer("p256.key")).unwrap().encode();
    assert_eq!(trusted.record(b"record", by_ecdsa.as_bytes()), Ok(other));
}

#[test]
fn c03_a_signature_of_something_else_is_none_of_a_record() {
    let image = Image::new();
    let by_image = signer("ed25519.key").sign(&image.payload()).unwrap();
    let text = |bytes: &[u8]| {
        let key = public("ed25519.pub").id();
        format!("lith record signature 1\nkey {key}\nsignature {}\n", STANDARD.encode(bytes))
    };
    let trust = trust(&["ed25519.pub"]);
    let refused = trust.record(&image.payload(), text(&by_image).as_bytes());
    assert_eq!(refused, Err(RecordFault::Record(public("ed25519.pub").id())));
}

/// What the crate `sigstore` 0.15 (`cosign::CosignCapabilities::push_signature`) signed with the keys of `tests/data/sign` and
/// put beside images of a registry.
#[test]
fn what_sigstores_own_crate_signed_holds() {
    let manifest = "sha256:a2b5e40e32305373d1127a704929bcb02e0fbbf1626a7758e8d512f714766771";
    let p256 =
        "MEUCIGuwMANh3jtPwmIY1oTMhsECBXyzzly5svVcXiFtV7rfAiEA7aON638NGavD6ooqr5he+kZlRM98UiKnUT73Jo3qo14=";
    let ed25519 = "l602ii81RhZ0wIWaJYo9iyCvTkB2Ees8PIapQ0bv/JZirfN0o2gWfroQJ1l+BLKOTGMN/kWvaXo+oM2UxCenCg==";
    for (kind, other, signature) in [("p256", "ed25519", p256), ("ed25519", "p256", ed25519)] {
        let name: Reference = format!("127.0.0.1:5917/sigstore/{kind}:1").parse().unwrap();
        let payload = format!(
            r#"{{"critical":{{"identity":{{"docker-reference":"{name}"}},"image":{{"docker-manifest-digest":"{manifest}"}},"type":"cosign container image signature"}},"optional":null}}"#
        );
        let attached = [Attached { payload: payload.into_bytes(), signature: signature.to_owned() }];
        let digest = manifest.parse().unwrap();
        let key = public(&format!("{kind}.pub"));
        assert_eq!(trust(&[&format!("{kind}.pub")]).image(&name, &digest, &attached).unwrap().key, key.id());
        assert!(trust(&[&format!("{other}.pub")]).image(&name, &digest, &attached).is_err());
        let elsewhere: Reference = "127.0.0.1:5917/sigstore/other:1".parse().unwrap();
        assert!(trust(&[&format!("{kind}.pub")]).image(&elsewhere, &digest, &attached).is_err());
    }
}
