//! The points of distribution-spec 1.1 that a client is held to, against a registry that keeps to it.

use lith::digest::BlobDigest;
use lith::image::{BlobSource as _, StoredImage};
use lith::oci::media::MediaType;
use lith::oci::{Descriptor, Document};
use lith::registry::{Push, Target, push};
use serde_json::json;

use super::{FakeRegistry, LARGE, REPOSITORY, layer, name, serve, world};
use crate::support::registry::{INDEX, MANIFEST, Manners};

#[test]
fn pull() {
    let registry = FakeRegistry::start(Manners::default());
    let world = world(&registry);
    let layers = [layer(1, 100), layer(2, LARGE)];
    let manifest = serve(&registry, "v1", &layers);
    let pulled = world.pull(&name(&registry)).unwrap();
    assert_eq!((pulled.top.digest, pulled.image.digest), (manifest, manifest));
    let image = StoredImage::open(&world.store, manifest).unwrap();
    for (diff, layer) in image.layers().iter().zip(&layers) {
        assert_eq!(world.store.read_blob(&(*diff).into(), 1 << 24).unwrap(), *layer);
    }
    // A manifest, then by digest what it names, each once and nothing else.
    let mut asked = registry.asked();
    let first = asked.remove(0);
    assert_eq!(first, format!("GET /v2/{REPOSITORY}/manifests/v1"));
    let blobs: Vec<BlobDigest> =
        image.manifest.layers.iter().map(|layer| layer.digest).chain([image.id.into()]).collect();
    let mut expected: Vec<String> =
        blobs.iter().map(|blob| format!("GET /v2/{REPOSITORY}/blobs/{blob}")).collect();
    asked.sort();
    expected.sort();
    assert_eq!(asked, expected);
    // What is here is not asked for again.
    world.pull(&name(&registry)).unwrap();
    assert_eq!(registry.count("GET", "/blobs/"), 3);
    let accepted = registry.server.seen()[0].header("accept").unwrap().to_owned();
    for kind in [MANIFEST, INDEX, "application/vnd.docker.distribution.manifest.v2+json"] {
        assert!(accepted.split(", ").any(|known| known == kind), "{accepted}");
    }
}

#[test]
fn pull_by_digest_and_by_platform() {
    let registry = FakeRegistry::start(Manners::default());
    let world = world(&registry);
    let manifest = serve(&registry, "v1", &[layer(1, 100)]);
    let size =
        registry.fake.content.lock().unwrap().manifests[&(REPOSITORY.into(), manifest.to_string())].1.len();
    let entry = |architecture: &str, digest: BlobDigest| {
        json!({
            "mediaType": MANIFEST, "digest": digest, "size": size,
            "platform": { "os": "linux", "architecture": architecture },
        })
    };
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX,
        "manifests": [entry("arm64", BlobDigest::of(b"other")), entry("amd64", manifest)],
    });
    let index = registry.put_manifest(REPOSITORY, Some("v1"), INDEX, index.to_string().as_bytes());
    let by_digest = format!("{}/{REPOSITORY}@{index}", registry.host());
    for name in
        [name(&registry), by_digest.clone(), format!("{}:gone@{index}", by_digest.split('@').next().unwrap())]
    {
        let pulled = world.pull(&name).unwrap();
        assert_eq!((pulled.top.digest, pulled.image.digest), (index, manifest), "{name}");
    }
    assert!(registry.asked().iter().all(|asked| !asked.ends_with("manifests/gone")));
}

#[test]
fn existence() {
    let registry = FakeRegistry::start(Manners::default());
    let world = world(&registry);
    let manifest = serve(&registry, "v1", &[layer(1, 100)]);
    world.with(&name(&registry), |repository| {
        for (target, is_there) in [
            (Target::Tag("v1"), true),
            (Target::Digest(manifest), true),
            (Target::Tag("v2"), false),
            (Target::Digest(BlobDigest::of(b"no")), false),
        ] {
            assert_eq!(repository.has_manifest(target).unwrap(), is_there, "{target}");
        }
        assert!(repository.has_blob(BlobDigest::of(&layer(1, 100))).unwrap());
        assert!(!repository.has_blob(BlobDigest::of(b"no")).unwrap());
        assert!(repository.manifest(Target::Tag("v2")).unwrap_err().is_missing());
    });
    assert!(registry.asked().iter().filter(|asked| asked.starts_with("GET")).count() == 1);
}

#[test]
fn push_whole_and_in_parts() {
    for (least_chunk, patches) in [(None, 0), (Some(1), 4), (Some(2 << 20), 2)] {
        let registry = FakeRegistry::start(Manners { least_chunk, ..Manners::default() });
        let mut world = world(&registry);
        world.options.chunk = 1 << 20;
        let image = world.image(&[layer(1, LARGE), layer(2, 100)]);
        let pushed = world.push(&name(&registry), &image).unwrap();
        assert_eq!((pushed.uploaded, pushed.there, pushed.mounted), (3, 0, 0));
        assert_eq!(registry.tag(REPOSITORY, "v1"), Some(image.digest.to_string()));
        assert_eq!(registry.count("PATCH", ""), patches, "{least_chunk:?}");
        let sizes = registry.server.seen();
        let sizes =
            sizes.iter().filter(|request| request.method == "PATCH").map(|request| request.body.len());
        let least = least_chunk.unwrap_or(0);
        assert_eq!(sizes.filter(|size| *size < least).count(), usize::from(patches > 0 && least > 1));
        // The same again: all is there, and only manifests are sent.
        let again = world.push(&name(&registry), &image).unwrap();
        assert_eq!((again.uploaded, again.there), (0, 3));
        // What came is what went.
        let other = super::world(&registry);
        assert_eq!(other.pull(&name(&registry)).unwrap().image.digest, image.digest);
    }
}

#[test]
fn push_mounts_from_other_repositories() {
    let registry = FakeRegistry::start(Manners::default());
    let world = world(&registry);
    let layers = [layer(1, 1000), layer(2, 1000)];
    let image = world.image(&layers);
    registry.put_blob("base/os", &layers[0]);
    let pushed = world.push_from(&name(&registry), &image, Some("base/os")).unwrap();
    assert_eq!((pushed.mounted, pushed.uploaded), (1, 2));
    assert!(registry.has_blob(REPOSITORY, BlobDigest::of(&layers[0])));
}

#[test]
fn push_of_several_platforms_is_an_index() {
    let registry = FakeRegistry::start(Manners::default());
    let world = world(&registry);
    let (one, two) = (world.image(&[layer(1, 100)]), world.image(&[layer(1, 100), layer(2, 100)]));
    let what = Push { images: &[(&one, &[]), (&two, &[])], tag: Some("v1"), ..Push::default() };
    let pushed = world.with(&name(&registry), |repository| push(&world.store, repository, &what)).unwrap();
    assert_eq!(registry.tag(REPOSITORY, "v1"), Some(pushed.top.digest.to_string()));
    // The layer that both have went once.
    assert_eq!(registry.count("POST", "/blobs/uploads/"), 4);
    let resolved = world.with(&name(&registry), |repository| repository.manifest(Target::Tag("v1"))).unwrap();
    let Document::Index(index) = resolved.document else { panic!("an index") };
    let digests: Vec<BlobDigest> = index.manifests.iter().map(|entry| entry.digest).collect();
    assert_eq!(digests, [one.digest, two.digest]);
}

#[test]
fn tags_come_in_pages() {
    let registry = FakeRegistry::start(Manners { page: 2, ..Manners::default() });
    let world = world(&registry);
    let none = world.with(&name(&registry), |repository| repository.tags()).unwrap();
    assert!(none.is_empty());
    for tag in ["c", "a", "e", "b", "d"] {
        serve(&registry, tag, &[layer(1, 10)]);
    }
    let tags = world.with(&name(&registry), |repository| repository.tags()).unwrap();
    assert_eq!(tags.into_iter().collect::<Vec<_>>(), ["a", "b", "c", "d", "e"]);
    assert_eq!(registry.count("GET", "/tags/list"), 1 + 3);
}

/// What is said of an image is found by the API, and by the tag where there is no API; a push cares for the tag.
#[test]
fn referrers() {
    for referrers in [true, false] {
        let registry = FakeRegistry::start(Manners { referrers, ..Manners::default() });
        let world = world(&registry);
        let image = world.image(&[layer(1, 100)]);
        let said = |kind: &'static str| lith::oci::attest::Attestation {
            predicate_type: kind.into(),
            predicate: json!({}),
        };
        let attestations = [said("https://slsa.dev/provenance/v1"), said("https://spdx.dev/Document")];
        let what = Push { images: &[(&image, &attestations)], tag: Some("v1"), ..Push::default() };
        world.with(&name(&registry), |repository| {
            push(&world.store, repository, &what).unwrap();
            let of = |kind| repository.referrers(image.digest, kind).unwrap().len();
            assert_eq!((of(None), of(Some(lith::oci::attest::IN_TOTO)), of(Some("a/b"))), (2, 2, 0));
            assert_eq!(repository.referrers(BlobDigest::of(b"no"), None).unwrap(), []);
        });
        let tag = registry.tag(REPOSITORY, &format!("sha256-{}", image.digest.hex()));
        assert_eq!(tag.is_none(), referrers);
    }
}

#[test]
fn deletes() {
    let registry = FakeRegistry::start(Manners::default());
    let world = world(&registry);
    let manifest = serve(&registry, "v1", &[layer(1, 10)]);
    let delete = |registry: &FakeRegistry, world: &super::World| {
        world.with(&name(registry), |repository| repository.delete_manifest(manifest))
    };
    delete(&registry, &world).unwrap();
    assert_eq!(registry.tag(REPOSITORY, "v1"), None);
    assert!(delete(&registry, &world).unwrap_err().is_missing());
    let firm = FakeRegistry::start(Manners { deletes: false, ..Manners::default() });
    let error = delete(&firm, &super::world(&firm)).unwrap_err().to_string();
    assert!(
        error.contains("does not allow anything to be deleted") && error.contains("UNSUPPORTED"),
        "{error}"
    );
}

#[test]
fn blobs_are_read_without_a_store() {
    let registry = FakeRegistry::start(Manners::default());
    let world = world(&registry);
    registry.put_blob(REPOSITORY, b"body");
    let read = |blob: &Descriptor| {
        world.with(&name(&registry), |repository| {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut repository.open(blob)?, &mut bytes).map(|_| bytes)
        })
    };
    let blob = Descriptor::of(MediaType::OciLayer, b"body");
    assert_eq!(read(&blob).unwrap(), b"body");
    let other = Descriptor { size: 5, ..blob };
    assert!(read(&other).unwrap_err().to_string().contains("has 4 bytes; its descriptor says 5"));
}

/// A mirror is asked first, told whose image is meant, and passed over when it has nothing or is gone.
#[test]
fn mirrors_go_before_the_registry() {
    let (mirror, registry) =
        (FakeRegistry::start(Manners::default()), FakeRegistry::start(Manners::default()));
    let mut world = world(&registry);
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    world.options.retries = 0;
    let endpoints = world.options.registries.get_mut(&registry.host()).unwrap();
    endpoints.mirrors = vec![super::insecure(&gone), super::insecure(&mirror.host())];
    let layers = [layer(1, 100), layer(2, 100)];
    let manifest = serve(&registry, "v1", &layers);
    assert_eq!(serve(&mirror, "v1", &layers), manifest);
    let missing = BlobDigest::of(&layers[1]).to_string();
    mirror.fake.content.lock().unwrap().blobs.remove(&(REPOSITORY.to_owned(), missing.clone()));
    world.pull(&name(&registry)).unwrap();
    assert_eq!(registry.asked(), [format!("GET /v2/{REPOSITORY}/blobs/{missing}")]);
    let ns = crate::support::registry::query(&mirror.server.seen()[0], "ns");
    assert_eq!(ns, Some(registry.host()));
    // Pushed is to the registry alone.
    let image = StoredImage::open(&world.store, manifest).unwrap();
    let before = mirror.asked().len();
    world.push(&format!("{}/{REPOSITORY}:v2", registry.host()), &image).unwrap();
    assert_eq!(mirror.asked().len(), before);
}
