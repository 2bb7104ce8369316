//! Images copied from one registry to another without a store between them, and what either may do to that.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use lith::digest::BlobDigest;
use lith::image::copy::{to_docker_archive, to_layout, to_layout_archive, to_store};
use lith::image::{Extent, gather};
use lith::oci::media::MediaType;
use lith::oci::{Descriptor, Index};
use lith::registry::{Endpoints, Pushed, Target, copy};
use serde_json::json;

use super::{FakeRegistry, LARGE, REPOSITORY, World, insecure, layer, name, reference, serve, stranger};
use crate::support::registry::{Fake, INDEX, MANIFEST, Manners, query};
use crate::support::server::{Exchange, reply};

const ALL: Extent<'static> = Extent { platform: None, referrers: true };

/// A client of both registries, with a store that nothing is to come into.
fn between(registries: &[&FakeRegistry]) -> World {
    let mut world = stranger();
    for registry in registries {
        let own = Some(insecure(&registry.host()));
        world.options.registries.insert(registry.host(), Endpoints { mirrors: Vec::new(), own });
    }
    world.options.chunk = 1 << 20;
    world
}

/// Copies what one name stands for to another.
fn copied(world: &World, from: &str, to: &str, mount: Option<&str>) -> Result<Pushed, String> {
    let client = world.client();
    let (from, to) = (reference(from), reference(to));
    let source = client.repository(&from).unwrap();
    let dest = client.repository(&to).unwrap();
    let top = source.manifest(Target::Tag(from.tag().unwrap())).map_err(|e| e.to_string())?.descriptor;
    let gathered = gather(&source, &top, ALL).map_err(|error| error.to_string())?;
    let result = copy(&source, &dest, &gathered, to.tag(), mount).map_err(|error| error.to_string());
    let blobs = crate::support::children(&world.store.root().join("blobs/sha256"));
    assert!(blobs.is_empty(), "nothing goes by way of a store: {blobs:?}");
    assert!(crate::support::children(&world.store.root().join("partial")).is_empty());
    result
}

type Fault = dyn Fn(&mut Exchange<'_>, &Fake) -> bool + Send + Sync;

/// Copies an image of a large layer and a small one; either side may do something else now and then.
fn image_copied(
    source: impl Fn(&mut Exchange<'_>, &Fake) -> bool + Send + Sync + 'static,
    dest: (Manners, Box<Fault>),
) -> (FakeRegistry, FakeRegistry, BlobDigest, Result<Pushed, String>) {
    let source = FakeRegistry::faulty(Manners::default(), source);
    let digest = serve(&source, "v1", &[layer(1, LARGE), layer(2, 1000)]);
    let dest = FakeRegistry::faulty(dest.0, dest.1);
    let world = between(&[&source, &dest]);
    let result = copied(&world, &name(&source), &name(&dest), None);
    (source, dest, digest, result)
}

fn well() -> (Manners, Box<Fault>) {
    (Manners::default(), Box::new(|_, _| false))
}

#[track_caller]
fn arrives(
    source: impl Fn(&mut Exchange<'_>, &Fake) -> bool + Send + Sync + 'static,
    dest: (Manners, Box<Fault>),
) -> (FakeRegistry, FakeRegistry) {
    let (source, dest, digest, result) = image_copied(source, dest);
    assert_eq!(result.unwrap().top.digest, digest);
    assert_eq!(dest.tag(REPOSITORY, "v1"), Some(digest.to_string()));
    for bytes in [layer(1, LARGE), layer(2, 1000)] {
        let key = (REPOSITORY.to_owned(), BlobDigest::of(&bytes).to_string());
        assert_eq!(dest.fake.content.lock().unwrap().blobs[&key], bytes);
    }
    (source, dest)
}

#[track_caller]
fn fails(
    expected: &str,
    source: impl Fn(&mut Exchange<'_>, &Fake) -> bool + Send + Sync + 'static,
) -> (FakeRegistry, FakeRegistry) {
    let (source, dest, _, result) = image_copied(source, well());
    let error = result.unwrap_err();
    assert!(error.contains(expected), "{error}");
    assert_eq!(dest.tag(REPOSITORY, "v1"), None);
    assert_eq!(dest.count("PUT", "/manifests/"), 0);
    (source, dest)
}

fn is_blob(exchange: &Exchange<'_>, bytes: &[u8]) -> bool {
    exchange.request.method == "GET" && exchange.request.path.contains(&BlobDigest::of(bytes).to_string())
}

/// The head of an answer with a body, and the first bytes of that.
fn begin(exchange: &mut Exchange<'_>, body: &[u8], sent: usize) -> bool {
    let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    exchange.write(&[head.as_bytes(), &body[..sent]].concat());
    true
}

#[test]
fn a_copy_is_the_same_and_done_again_sends_nothing() {
    let (source, dest) = arrives(|_, _| false, well());
    let gets = source.count("GET", "/blobs/");
    assert_eq!(gets, 3, "each blob is read once");
    let world = between(&[&source, &dest]);
    let again = copied(&world, &name(&source), &name(&dest), None).unwrap();
    assert_eq!((again.there, again.mounted, again.uploaded), (3, 0, 0));
    assert_eq!(source.count("GET", "/blobs/"), gets, "what is there is not read");
}

/// R3 of a copy: the last bytes of a blob that is something else never leave.
#[test]
fn other_bytes_do_not_arrive() {
    let large = layer(1, LARGE);
    let (_, dest) = fails("hashes to", move |exchange, _| {
        is_blob(exchange, &large) && {
            let mut other = large.clone();
            let last = other.len() - 1;
            other[last] ^= 1;
            begin(exchange, &other, other.len())
        }
    });
    assert!(!dest.has_blob(REPOSITORY, BlobDigest::of(&layer(1, LARGE))));
    // One that says at once that it has another size.
    let large = layer(1, LARGE);
    fails("its descriptor says", move |exchange, _| {
        is_blob(exchange, &large) && begin(exchange, &large[1..], large.len() - 1)
    });
}

/// Files and stores get nothing of an image of which something is wrong.
#[test]
fn nothing_appears_where_other_bytes_came() {
    let is_sound = Arc::new(AtomicBool::new(false));
    let sound = is_sound.clone();
    let small = layer(2, 1000);
    let source = FakeRegistry::faulty(Manners::default(), move |exchange, _| {
        is_blob(exchange, &small) && !sound.load(Ordering::Relaxed) && {
            let mut other = small.clone();
            other[600] ^= 1;
            begin(exchange, &other, other.len())
        }
    });
    let digest = serve(&source, "v1", &[layer(1, LARGE), layer(2, 1000)]);
    let world = between(&[&source]);
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    world.with(&name(&source), |repository| {
        let top = repository.manifest(Target::Tag("v1")).unwrap().descriptor;
        let gathered = gather(repository, &top, ALL).unwrap();
        let all = || {
            let errors = [
                to_layout(repository, &gathered, Some("v1"), &at("layout")).err().map(|e| e.to_string()),
                to_layout_archive(repository, &gathered, None, &at("tar")).err().map(|e| e.to_string()),
                to_docker_archive(repository, &gathered, None, &at("docker")).err().map(|e| e.to_string()),
                to_store(&world.store, repository, &gathered).err().map(|e| e.to_string()),
            ];
            errors.map(Option::unwrap_or_default)
        };
        let blob = BlobDigest::of(&layer(2, 1000)).to_string();
        for (number, error) in all().iter().enumerate() {
            assert!(error.contains(&blob), "{number}: {error}");
        }
        let left: Vec<_> = crate::support::children(dir.path());
        assert_eq!(left, [at("layout")], "no archive, and nothing beside it");
        assert!(!at("layout/index.json").exists());
        assert!(!at("layout/blobs/sha256").join(&blob[7..]).exists());
        assert!(world.store.images().unwrap().is_empty());
        // The same with what was meant.
        is_sound.store(true, Ordering::Relaxed);
        assert_eq!(all(), [""; 4]);
        assert_eq!(world.store.images().unwrap()[0].manifest, Some(digest));
        assert!(["layout/index.json", "tar", "docker"].iter().all(|name| at(name).exists()));
    });
}

#[test]
fn a_stream_that_breaks_off_goes_on_where_it_was() {
    let large = layer(1, LARGE);
    let is_first = AtomicBool::new(true);
    let (source, _) = arrives(
        move |exchange, _| {
            is_blob(exchange, &large)
                && is_first.swap(false, Ordering::Relaxed)
                && begin(exchange, &large, 1_500_000)
        },
        well(),
    );
    let ranges: Vec<String> = source
        .server
        .seen()
        .iter()
        .filter_map(|request| request.header("range").map(str::to_owned))
        .collect();
    assert_eq!(ranges, ["bytes=1500000-"]);
    // One that always breaks off is given up, and the registry does not get a part for the whole.
    let large = layer(1, LARGE);
    let (_, dest) = fails("Peer disconnected", move |exchange, _| {
        is_blob(exchange, &large)
            && {
                let from = exchange.request.header("range").map_or(0, |range| {
                    range["bytes=".len()..].trim_end_matches('-').parse::<usize>().unwrap()
                });
                let head = match from {
                    0 => format!(
                        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                        large.len()
                    ),
                    _ => format!(
                        "HTTP/1.1 206 Partial Content\r\nConnection: close\r\nContent-Range: bytes {from}-{}/{}\r\nContent-Length: {}\r\n\r\n",
                        large.len() - 1,
                        large.len(),
                        large.len() - from
                    ),
                };
                exchange.write(&[head.as_bytes(), &large[from..(from + 1000).min(large.len())]].concat());
                true
            }
    });
    assert!(!dest.has_blob(REPOSITORY, BlobDigest::of(&layer(1, LARGE))));
}

/// A server that knows no parts is listened to until there, one that sends another part than asked for is not.
#[test]
fn parts_are_the_ones_that_were_asked_for() {
    let large = layer(1, LARGE);
    let is_first = AtomicBool::new(true);
    arrives(
        move |exchange, _| {
            is_blob(exchange, &large) && {
                let sent = if is_first.swap(false, Ordering::Relaxed) { 70_000 } else { large.len() };
                begin(exchange, &large, sent)
            }
        },
        well(),
    );
    let large = layer(1, LARGE);
    fails("another part than was asked for", move |exchange, _| {
        is_blob(exchange, &large) && {
            if exchange.request.header("range").is_none() {
                return begin(exchange, &large, 70_000);
            }
            let range = format!("bytes 0-{}/{}", large.len() - 1, large.len());
            exchange.write(&reply("206 Partial Content", &[("Content-Range", &range)], &large));
            true
        }
    });
}

#[test]
fn busy_registries_are_waited_for_on_both_sides() {
    // Whatever is asked is asked twice.
    let busy = || {
        let asked: Mutex<BTreeSet<String>> = Mutex::default();
        move |exchange: &mut Exchange<'_>| {
            let path = exchange.request.path.split('?').next().unwrap();
            let is_new = asked.lock().unwrap().insert(format!("{} {path}", exchange.request.method));
            is_new && {
                exchange.write(&reply("429 Too Many Requests", &[("Retry-After", "0")], b""));
                true
            }
        }
    };
    let (from, to) = (busy(), busy());
    let (source, dest) = arrives(
        move |exchange, _| from(exchange),
        (Manners::default(), Box::new(move |exchange, _| to(exchange))),
    );
    // What was sent for nothing is read again.
    assert!(source.count("GET", "/blobs/") >= 6, "{:?}", source.asked());
    assert_eq!((dest.count("POST", "/uploads/"), dest.count("PUT", "/uploads/upload")), (4, 6));
}

/// The destination loses what it was sent: the source is read again, from not long before.
#[test]
fn what_the_destination_loses_is_read_again() {
    let parts = Manners { least_chunk: Some(1 << 20), ..Manners::default() };
    let lost = AtomicUsize::new(0);
    let fault = move |exchange: &mut Exchange<'_>, fake: &Fake| {
        let is_second = exchange.request.method == "PATCH"
            && exchange.request.header("content-range").is_some_and(|range| range.starts_with("1048576-"));
        is_second && lost.fetch_add(1, Ordering::Relaxed) == 0 && {
            // Half of the part, and then nothing is heard of it.
            fake.take_part(exchange, 500_000);
            true
        }
    };
    let (source, dest) = arrives(|_, _| false, (parts, Box::new(fault)));
    let seen = dest.server.seen();
    let ranges: Vec<&str> = seen.iter().filter_map(|request| request.header("content-range")).collect();
    assert!(ranges.iter().any(|range| range.starts_with("1548576-")), "{ranges:?}");
    let seen = source.server.seen();
    let from: Vec<&str> = seen.iter().filter_map(|request| request.header("range")).collect();
    assert_eq!(from, ["bytes=1048576-"], "from the last mark before what the registry has");
}

#[test]
fn blobs_are_mounted_within_a_registry_and_sent_where_that_is_refused() {
    for (mounts, status) in
        [(true, None), (false, None), (true, Some("405 Method Not Allowed")), (true, Some("403 Forbidden"))]
    {
        let manners = Manners { mounts, ..Manners::default() };
        let registry = FakeRegistry::faulty(manners, move |exchange, _| {
            let is_mount = query(&exchange.request, "mount").is_some();
            is_mount
                && status.is_some_and(|status| {
                    exchange.write(&reply(status, &[], b""));
                    true
                })
        });
        let digest = serve(&registry, "v1", &[layer(1, LARGE), layer(2, 1000)]);
        let world = between(&[&registry]);
        let to = format!("{}/team/copy:v1", registry.host());
        let pushed = copied(&world, &name(&registry), &to, Some(REPOSITORY)).unwrap();
        assert_eq!(pushed.top.digest, digest);
        let is_mounted = mounts && status.is_none();
        let expected = if is_mounted { (3, 0) } else { (0, 3) };
        assert_eq!((pushed.mounted, pushed.uploaded), expected, "{mounts} {status:?}");
        assert_eq!(registry.count("GET", "/blobs/sha256:"), if is_mounted { 0 } else { 3 });
        assert_eq!(registry.tag("team/copy", "v1"), Some(digest.to_string()));
    }
}

/// An artifact about a manifest, as it lies in a registry.
fn artifact(registry: &FakeRegistry, subject: &Descriptor, text: &str) -> BlobDigest {
    let empty = registry.put_blob(REPOSITORY, b"{}");
    let body = registry.put_blob(REPOSITORY, text.as_bytes());
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/x-test",
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2 },
        "layers": [{ "mediaType": "text/plain", "digest": body, "size": text.len() }],
        "subject": { "mediaType": subject.media_type, "digest": subject.digest, "size": subject.size },
    });
    registry.put_manifest(REPOSITORY, None, MANIFEST, manifest.to_string().as_bytes())
}

/// An index with an image for each of two platforms and what BuildKit says of the first.
fn index(registry: &FakeRegistry) -> (BlobDigest, Vec<Descriptor>) {
    let of = |digest: BlobDigest| {
        let content = registry.fake.content.lock().unwrap();
        let bytes = &content.manifests[&(REPOSITORY.to_owned(), digest.to_string())].1;
        Descriptor::of(MediaType::OciManifest, bytes)
    };
    let mut images =
        [of(serve(registry, "a", &[layer(1, LARGE)])), of(serve(registry, "b", &[layer(2, 1000)]))];
    for (image, platform) in images.iter_mut().zip(["linux/amd64", "linux/arm64"]) {
        image.platform = Some((&platform.parse::<lith::platform::Platform>().unwrap()).into());
    }
    let mut said = of(serve(registry, "said", &[layer(3, 10)]));
    said.platform =
        Some(serde_json::from_value(json!({ "os": "unknown", "architecture": "unknown" })).unwrap());
    said.annotations.insert("vnd.docker.reference.type".into(), "attestation-manifest".into());
    said.annotations.insert("vnd.docker.reference.digest".into(), images[0].digest.to_string());
    let manifests = images.iter().cloned().chain([said]).collect::<Vec<_>>();
    let mut index = Index::new(manifests.clone());
    index.annotations.insert("a".into(), "b".into());
    // Not as lith would write it.
    let text = serde_json::to_string_pretty(&index).unwrap();
    (registry.put_manifest(REPOSITORY, Some("v1"), INDEX, text.as_bytes()), manifests)
}

#[test]
fn an_index_goes_whole_with_all_that_is_said_of_it() {
    for referrers in [true, false] {
        let source = FakeRegistry::start(Manners::default());
        let (top, manifests) = index(&source);
        let about = artifact(&source, &manifests[1], "about an image");
        let of = |digest: BlobDigest| {
            let content = source.fake.content.lock().unwrap();
            let (kind, bytes) = &content.manifests[&(REPOSITORY.to_owned(), digest.to_string())];
            Descriptor::of(MediaType::from(kind.as_str()), bytes)
        };
        let about_index = artifact(&source, &of(top), "about the index");
        let about_that = artifact(&source, &of(about_index), "about what is about the index");
        // As cosign keeps signatures.
        let signature = serve(&source, &format!("sha256-{}.sig", manifests[1].digest.hex()), &[layer(9, 10)]);
        let dest = FakeRegistry::start(Manners { referrers, ..Manners::default() });
        let world = between(&[&source, &dest]);
        let pushed = copied(&world, &name(&source), &name(&dest), None).unwrap();
        assert_eq!(pushed.top.digest, top);
        let content = dest.fake.content.lock().unwrap();
        let has = |digest: &BlobDigest| {
            content.manifests.contains_key(&(REPOSITORY.to_owned(), digest.to_string()))
        };
        assert!(manifests.iter().all(|manifest| has(&manifest.digest)));
        assert!([about, about_index, about_that, signature].iter().all(has));
        drop(content);
        assert!(dest.tag(REPOSITORY, &format!("sha256-{}.sig", manifests[1].digest.hex())).is_some());
        world.with(&name(&dest), |repository| {
            for (subject, expected) in
                [(top, about_index), (manifests[1].digest, about), (about_index, about_that)]
            {
                let found = repository.referrers(subject, None).unwrap();
                assert_eq!(found.iter().map(|entry| entry.digest).collect::<Vec<_>>(), [expected]);
                assert_eq!(found[0].artifact_type.as_deref(), Some("application/x-test"));
            }
        });
    }
}

/// C11 of what is listed: a referrer that is about something else stays behind, and is named.
#[test]
fn a_referrer_about_something_else_stays_behind() {
    let source = FakeRegistry::faulty(Manners::default(), |exchange, fake| {
        exchange.request.path.contains("/referrers/") && {
            // All artifacts are listed for whatever is asked.
            let content = fake.content.lock().unwrap();
            let about = |(kind, bytes): &(String, Vec<u8>)| {
                let document: serde_json::Value = serde_json::from_slice(bytes).unwrap();
                document.get("subject")?;
                Some(serde_json::to_value(Descriptor::of(MediaType::from(kind.as_str()), bytes)).unwrap())
            };
            let all: Vec<_> = content.manifests.values().filter_map(about).collect();
            let body = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": all }).to_string();
            exchange.write(&reply("200 OK", &[("Content-Type", INDEX)], body.as_bytes()));
            true
        }
    });
    serve(&source, "v1", &[layer(1, 1000)]);
    let other = Descriptor::of(MediaType::OciManifest, b"another image");
    let planted = artifact(&source, &other, "all is well");
    let world = between(&[&source]);
    world.with(&name(&source), |repository| {
        let top = repository.manifest(Target::Tag("v1")).unwrap().descriptor;
        let gathered = gather(repository, &top, ALL).unwrap();
        assert_eq!(gathered.warnings.len(), 1);
        let warning = &gathered.warnings[0];
        assert!(
            warning.contains(&planted.to_string()) && warning.contains(&other.digest.to_string()),
            "{warning}"
        );
    });
    let dest = FakeRegistry::start(Manners::default());
    let world = between(&[&source, &dest]);
    copied(&world, &name(&source), &name(&dest), None).unwrap();
    let key = (REPOSITORY.to_owned(), planted.to_string());
    assert!(!dest.fake.content.lock().unwrap().manifests.contains_key(&key));
}

#[test]
fn indexes_that_lead_nowhere_are_refused() {
    let registry = FakeRegistry::start(Manners::default());
    let mut inner = Descriptor::of(MediaType::OciManifest, b"");
    let image = serve(&registry, "image", &[layer(1, 10)]);
    inner.digest = image;
    let bytes = registry.fake.content.lock().unwrap().manifests[&(REPOSITORY.to_owned(), image.to_string())]
        .1
        .clone();
    inner.size = bytes.len() as u64;
    for _ in 0..12 {
        let bytes = Index::new(vec![inner.clone()]).to_bytes();
        registry.put_manifest(REPOSITORY, Some("v1"), INDEX, &bytes);
        inner = Descriptor::of(MediaType::OciIndex, &bytes);
    }
    let dest = FakeRegistry::start(Manners::default());
    let world = between(&[&registry, &dest]);
    let error = copied(&world, &name(&registry), &name(&dest), None).unwrap_err();
    assert!(error.contains("nested deeper than 8 levels"), "{error}");
    let blob = Descriptor::of(MediaType::from("text/plain"), b"x");
    registry.put_manifest(REPOSITORY, Some("v1"), INDEX, &Index::new(vec![blob]).to_bytes());
    let error = copied(&world, &name(&registry), &name(&dest), None).unwrap_err();
    assert!(error.contains("text/plain") && error.contains("--platform"), "{error}");
    // A document of another size than its descriptor says.
    inner = Descriptor::new(MediaType::OciManifest, image, bytes.len() as u64 + 1);
    registry.put_manifest(REPOSITORY, Some("v1"), INDEX, &Index::new(vec![inner]).to_bytes());
    let error = copied(&world, &name(&registry), &name(&dest), None).unwrap_err();
    assert!(error.contains("its descriptor says"), "{error}");
    assert_eq!(dest.asked(), Vec::<String>::new(), "nothing is sent before all documents are known");
}
