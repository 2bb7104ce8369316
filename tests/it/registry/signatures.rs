//! Signatures beside images: where they are put and found, and what others may do to them (spec/signatures.md).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use lith::digest::BlobDigest;
use lith::image::StoredImage;
use lith::oci::media::MediaType;
use lith::oci::{Descriptor, Document, Manifest};
use lith::registry::{Push, Pushed, RegistryError, Sign, Target, Wanted, push};
use lith::sign::{ANNOTATION, Attached, MEDIA_TYPE, PublicKey, Signer, Trust, payload, tag};
use serde_json::json;

use super::{FakeRegistry, REPOSITORY, World, layer, name, reference, world};
use crate::support::registry::{MANIFEST, Manners};

fn pem(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sign").join(name)).unwrap()
}

fn signer(name: &str) -> Signer {
    Signer::from_pem(&pem(&format!("{name}.key")), None).unwrap()
}

fn trust(names: &[&str]) -> Trust {
    let key = |name: &&str| PublicKey::from_pem(&pem(&format!("{name}.pub"))).unwrap();
    Trust::new(names.iter().map(key).collect()).unwrap()
}

fn none() -> BTreeMap<String, String> {
    BTreeMap::new()
}

impl World {
    /// Pushes images and signs them.
    fn push_signed(&self, name: &str, images: &[&StoredImage], key: &str) -> Result<Pushed, RegistryError> {
        let (full, annotations, signers) = (reference(name), none(), [signer(key)]);
        let sign = Sign { name: &full, signers: &signers, annotations: &annotations };
        let images: Vec<_> = images.iter().map(|image| (*image, &[][..])).collect();
        let what = Push { images: &images, tag: full.tag(), sign: Some(sign), ..Push::default() };
        self.with(name, |repository| push(&self.store, repository, &what))
    }

    /// Which key signed what a name stands for.
    fn verify(&self, name: &str, keys: &[&str]) -> Result<String, String> {
        let (trust, annotations) = (trust(keys), none());
        let wanted = Wanted { trust: &trust, annotations: &annotations };
        let verified = self.client().verify(&reference(name), wanted);
        verified.map(|(_, trusted)| trusted.key.to_string()).map_err(|error| error.to_string())
    }

    fn pull_signed(&self, name: &str, keys: &[&str]) -> Result<BlobDigest, String> {
        let (trust, annotations) = (trust(keys), none());
        let wanted = Wanted { trust: &trust, annotations: &annotations };
        let platform = "linux/amd64".parse().unwrap();
        let pulled = self.client().pull_signed(&self.store, &reference(name), &platform, wanted);
        pulled.map(|pulled| pulled.top.digest).map_err(|error| error.to_string())
    }

    fn signatures(&self, name: &str, manifest: BlobDigest) -> Option<Manifest> {
        let found = self.with(name, |repository| repository.manifest(Target::Tag(&tag(&manifest)))).ok()?;
        let Document::Manifest(document) = found.document else { panic!("a manifest") };
        Some(document)
    }
}

fn id(key: &str) -> String {
    signer(key).public().id().to_string()
}

/// Puts a manifest of signatures to the tag of another, as if somebody else had.
fn put(registry: &FakeRegistry, of: BlobDigest, signatures: &[Attached]) {
    let layers: Vec<Descriptor> = signatures.iter().map(|one| layer_of(registry, one)).collect();
    put_layers(registry, Some(&tag(&of)), layers, None);
}

fn layer_of(registry: &FakeRegistry, one: &Attached) -> Descriptor {
    registry.put_blob(REPOSITORY, &one.payload);
    let mut layer = Descriptor::of(MediaType::from(MEDIA_TYPE), &one.payload);
    layer.annotations.insert(ANNOTATION.into(), one.signature.clone());
    layer
}

fn put_layers(
    registry: &FakeRegistry,
    tag: Option<&str>,
    layers: Vec<Descriptor>,
    subject: Option<BlobDigest>,
) {
    registry.put_blob(REPOSITORY, b"{}");
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "layers": layers,
        "config": Descriptor::of(MediaType::OciConfig, b"{}"),
    });
    if let Some(subject) = subject {
        manifest["artifactType"] = "application/vnd.dev.cosign.artifact.sig.v1+json".into();
        manifest["subject"] = json!({ "mediaType": MANIFEST, "digest": subject, "size": 1 });
    }
    registry.put_manifest(REPOSITORY, tag, MANIFEST, manifest.to_string().as_bytes());
}

fn made(name: &str, manifest: BlobDigest, key: &str) -> Attached {
    Attached::make(payload(&reference(name), &manifest, &none()), &signer(key)).unwrap()
}

#[test]
fn what_is_pushed_is_signed_before_it_has_a_name() {
    let registry = FakeRegistry::start(Manners::default());
    let world = world(&registry);
    let (one, two) = (world.image(&[layer(1, 100)]), world.image(&[layer(2, 100)]));
    let pushed = world.push_signed(&name(&registry), &[&one, &two], "p256").unwrap();
    for digest in [pushed.top.digest, one.digest, two.digest] {
        let at = format!("{}/{REPOSITORY}@{digest}", registry.host());
        assert_eq!(world.verify(&at, &["p256"]), Ok(id("p256")), "each manifest, and the index");
    }
    let asked = registry.asked();
    let puts: Vec<&str> = asked.iter().filter_map(|line| line.strip_prefix("PUT ")).collect();
    let place = |end: &str| puts.iter().position(|path| path.ends_with(end)).unwrap();
    assert!(place(&format!("/{}", tag(&pushed.top.digest))) < place("/manifests/v1"), "{puts:#?}");
    assert_eq!(super::world(&registry).pull_signed(&name(&registry), &["p256"]), Ok(pushed.top.digest));
}

#[test]
fn signatures_of_others_stay_and_one_key_signs_once() {
    let registry = FakeRegistry::start(Manners::default());
    let world = world(&registry);
    let image = world.image(&[layer(1, 100)]);
    let signed = |key| world.push_signed(&name(&registry), &[&image], key).unwrap();
    signed("p256");
    let first = world.signatures(&name(&registry), image.digest).unwrap().layers;
    let puts = || registry.count("PUT", &tag(&image.digest));
    signed("p256");
    assert_eq!(puts(), 1, "what the key said already is not said again, though it would have other bytes");
    signed("ed25519");
    let document = world.signatures(&name(&registry), image.digest).unwrap();
    assert_eq!((puts(), &document.layers[..1], document.layers.len()), (2, &first[..], 2));
    // The config is that of an image with these layers.
    let config = world.with(&name(&registry), |repository| {
        let mut bytes = Vec::new();
        let mut blob = lith::image::BlobSource::open(repository, &document.config).unwrap();
        std::io::Read::read_to_end(&mut blob, &mut bytes).unwrap();
        serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()
    });
    let payload = document.layers[0].digest.to_string();
    assert_eq!(config["rootfs"]["diff_ids"], json!([payload, payload]));
    for key in ["p256", "ed25519"] {
        assert_eq!(world.verify(&name(&registry), &[key]), Ok(id(key)));
    }
}

/// Two who sign at once: neither takes the other's place, and whoever's change is overwritten adds it again.
#[test]
fn signatures_at_once_are_both_there() {
    // Theirs comes between the look and the change, or behind the change in the place of ours.
    for (when, puts) in [("GET", 1), ("PUT", 2)] {
        let theirs = Arc::new(Mutex::new(None::<(String, Vec<u8>)>));
        let coming = theirs.clone();
        let registry = FakeRegistry::faulty(Manners::default(), move |exchange, fake| {
            let (method, path) = (exchange.request.method.clone(), exchange.request.path.clone());
            if !path.ends_with(".sig") || method != when {
                return false;
            }
            let Some((digest, bytes)) = coming.lock().unwrap().take() else { return false };
            fake.answer(exchange);
            let at = |name: &str| (REPOSITORY.to_owned(), name.to_owned());
            let mut content = fake.content.lock().unwrap();
            content.manifests.insert(at(&digest), (MANIFEST.to_owned(), bytes));
            content.tags.insert(at(path.rsplit('/').next().unwrap()), digest);
            true
        });
        let world = world(&registry);
        let image = world.image(&[layer(1, 100)]);
        world.push(&name(&registry), &image).unwrap();
        put(&registry, image.digest, &[made(&name(&registry), image.digest, "ed25519")]);
        let tag = tag(&image.digest);
        let digest = registry.tag(REPOSITORY, &tag).unwrap();
        {
            let mut content = registry.fake.content.lock().unwrap();
            content.tags.remove(&(REPOSITORY.to_owned(), tag));
            let bytes = content.manifests[&(REPOSITORY.to_owned(), digest.clone())].1.clone();
            *theirs.lock().unwrap() = Some((digest, bytes));
        }
        world.push_signed(&name(&registry), &[&image], "p256").unwrap();
        for key in ["p256", "ed25519"] {
            assert_eq!(world.verify(&name(&registry), &[key]), Ok(id(key)), "{when}");
        }
        assert_eq!(registry.count("PUT", ".sig"), puts, "{when}");
    }
}

#[test]
fn c07_what_is_not_signed_so_is_refused_before_anything_is_written() {
    let registry = FakeRegistry::start(Manners::default());
    let ours = world(&registry);
    let (image, other) = (ours.image(&[layer(1, 100)]), ours.image(&[layer(2, 100)]));
    let name = name(&registry);
    ours.push(&name, &image).unwrap();
    let refused = |says: &[&str]| {
        let theirs = world(&registry);
        let before = registry.count("GET", "/blobs/");
        let error = theirs.pull_signed(&name, &["p256"]).unwrap_err();
        says.iter().for_each(|says| assert!(error.contains(says), "{says:?} in {error}"));
        assert!(error.contains(&image.digest.to_string()), "{error}");
        assert!(!theirs.store.has_blob(&image.digest) && theirs.store.images().unwrap().is_empty());
        registry.count("GET", "/blobs/") - before
    };
    assert_eq!(refused(&["has no signature"]), 0);
    put(&registry, image.digest, &[made(&name, image.digest, "ed25519")]);
    assert_eq!(refused(&["no trusted key made it"]), 1, "nothing but the payload was asked for");
    put(&registry, image.digest, &[made(&name, other.digest, "p256")]);
    refused(&["it is for the manifest", &other.digest.to_string()]);
    put(&registry, image.digest, &[made("a.example/other", image.digest, "p256")]);
    refused(&["it is for the image a.example/other"]);
    let mut changed = made(&name, image.digest, "p256");
    changed.payload.push(b' ');
    put(&registry, image.digest, &[changed]);
    refused(&["no trusted key made it"]);
    // An index at the tag is no manifest of signatures.
    registry.put_manifest(
        REPOSITORY,
        Some(&tag(&image.digest)),
        crate::support::registry::INDEX,
        br#"{"schemaVersion":2,"manifests":[]}"#,
    );
    let error = world(&registry).pull_signed(&name, &["p256"]).unwrap_err();
    assert!(error.contains("is an index"), "{error}");
    assert!(ours.push_signed(&name, &[&image], "p256").is_err(), "and is not overwritten");
    // One that holds beside ones that do not is enough.
    put(&registry, image.digest, &[made(&name, other.digest, "p256"), made(&name, image.digest, "p256")]);
    assert_eq!(world(&registry).pull_signed(&name, &["p256"]), Ok(image.digest));
}

/// C8: whoever may attach one may attach a million.
#[test]
fn c08_of_many_signatures_a_bounded_number_is_looked_at() {
    let registry = FakeRegistry::start(Manners::default());
    let world = world(&registry);
    let image = world.image(&[layer(1, 100)]);
    let name = name(&registry);
    world.push(&name, &image).unwrap();
    let foreign = made(&name, image.digest, "ed25519");
    let mut layers: Vec<Descriptor> = (0..500).map(|_| layer_of(&registry, &foreign)).collect();
    // One that is said to be large is not asked for.
    layers[0].size = 1 << 40;
    layers[0].digest = BlobDigest::of(b"large");
    registry.put_blob(REPOSITORY, b"large");
    put_layers(&registry, Some(&tag(&image.digest)), layers, None);
    for number in 0..300 {
        let mut layer = layer_of(&registry, &foreign);
        layer.annotations.insert("number".into(), number.to_string());
        put_layers(&registry, None, vec![layer], Some(image.digest));
    }
    let before = registry.server.seen().len();
    let error = world.verify(&name, &["p256"]).unwrap_err();
    let asked = registry.server.seen().len() - before;
    assert!(asked <= 3 + 99 + 100 + 100, "{asked} requests");
    assert!(error.contains("400 more") || error.contains("600 more"), "{error}");
    assert!(error.contains("more than 65536 bytes"), "{error}");
}

/// As cosign puts them with `--registry-referrers-mode=oci-1-1`.
#[test]
fn signatures_may_refer_to_what_they_are_of() {
    for referrers in [true, false] {
        let registry = FakeRegistry::start(Manners { referrers, ..Manners::default() });
        let world = world(&registry);
        let image = world.image(&[layer(1, 100)]);
        let name = name(&registry);
        world.push(&name, &image).unwrap();
        put(&registry, image.digest, &[made(&name, image.digest, "ed25519")]);
        let layer = layer_of(&registry, &made(&name, image.digest, "p256"));
        put_layers(&registry, None, vec![layer], Some(image.digest));
        match referrers {
            true => assert_eq!(world.verify(&name, &["p256"]), Ok(id("p256"))),
            false => assert!(world.verify(&name, &["p256"]).unwrap_err().contains("of 1: no trusted key")),
        }
        assert_eq!(world.verify(&name, &["ed25519"]), Ok(id("ed25519")));
    }
}

#[test]
fn a_payload_that_is_gone_takes_nothing_from_others() {
    let registry = FakeRegistry::start(Manners::default());
    let world = world(&registry);
    let image = world.image(&[layer(1, 100)]);
    let name = name(&registry);
    world.push(&name, &image).unwrap();
    let mut gone = layer_of(&registry, &made(&name, image.digest, "p256"));
    gone.digest = BlobDigest::of(b"gone");
    put_layers(&registry, Some(&tag(&image.digest)), vec![gone.clone()], None);
    let error = world.verify(&name, &["p256"]).unwrap_err();
    assert!(error.contains("it cannot be had") && error.contains(&gone.digest.to_string()), "{error}");
    let good = layer_of(&registry, &made(&name, image.digest, "p256"));
    put_layers(&registry, Some(&tag(&image.digest)), vec![gone, good], None);
    assert_eq!(world.verify(&name, &["p256"]), Ok(id("p256")));
}

#[test]
fn annotations_may_be_asked_for() {
    let registry = FakeRegistry::start(Manners::default());
    let world = world(&registry);
    let image = world.image(&[layer(1, 100)]);
    let name = name(&registry);
    world.push(&name, &image).unwrap();
    let said = |value: &str| BTreeMap::from([("env".to_owned(), value.to_owned())]);
    let signed = payload(&reference(&name), &image.digest, &said("prod"));
    put(&registry, image.digest, &[Attached::make(signed, &signer("p256")).unwrap()]);
    let verify = |annotations: &BTreeMap<String, String>| {
        let trust = trust(&["p256"]);
        let wanted = Wanted { trust: &trust, annotations };
        world.client().verify(&reference(&name), wanted).map_err(|error| error.to_string())
    };
    assert_eq!(verify(&said("prod")).unwrap().1.annotations["env"], "prod");
    assert!(verify(&none()).is_ok());
    assert!(verify(&said("test")).unwrap_err().contains("it does not say env=test"));
}
