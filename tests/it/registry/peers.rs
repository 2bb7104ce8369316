//! Against docker's own registry (package docker-registry), and what skopeo finds in it.

use std::net::TcpStream;
use std::process::Command;

use lith::digest::BlobDigest;
use lith::image::StoredImage;
use lith::registry::{Endpoints, Push, Target, push};
use serde_json::json;
use tempfile::TempDir;

use super::{LARGE, REPOSITORY, World, insecure, layer, stranger};
use crate::support::peer::{Make, Peer};
use crate::support::{has, skip};

/// Docker's registry on a free port, with an empty store.
fn peer() -> Option<(Peer, TempDir)> {
    let dir = tempfile::tempdir().unwrap();
    Some((Peer::start(Make::Distribution, dir.path())?, dir))
}

fn world(peer: &Peer) -> World {
    let mut world = stranger();
    let own = Some(insecure(&peer.host));
    world.options.registries.insert(peer.host.clone(), Endpoints { mirrors: Vec::new(), own });
    world
}

#[test]
fn dockers_registry_takes_and_gives_images() {
    let Some((peer, _dir)) = peer() else { return };
    let ours = world(&peer);
    let image = ours.image(&[layer(1, LARGE), layer(2, 1000)]);
    let name = |tag: &str| format!("{}/{REPOSITORY}:{tag}", peer.host);
    assert_eq!(ours.push(&name("v1"), &image).unwrap().uploaded, 3);
    assert_eq!(ours.push(&name("v2"), &image).unwrap().there, 3);
    let theirs = world(&peer);
    let pulled = theirs.pull(&name("v1")).unwrap();
    assert_eq!(pulled.image.digest, image.digest);
    // Into another repository, where what the first has is mounted.
    let other = format!("{}/team/other:v1", peer.host);
    assert_eq!(ours.push_from(&other, &image, Some(REPOSITORY)).unwrap().mounted, 3);
    // It has no referrers API, so what is said of an image is found by its tag.
    let said = lith::oci::attest::Attestation {
        predicate_type: "https://slsa.dev/provenance/v1".into(),
        predicate: json!({}),
    };
    let what = Push { images: &[(&image, &[said])], tag: Some("v3"), ..Push::default() };
    ours.with(&name("v1"), |repository| {
        push(&ours.store, repository, &what).unwrap();
        assert_eq!(repository.referrers(image.digest, None).unwrap().len(), 1);
        let fallback = format!("sha256-{}", image.digest.hex());
        let tags: Vec<String> = repository.tags().unwrap().into_iter().collect();
        assert_eq!(tags, [fallback.as_str(), "v1", "v2", "v3"]);
        repository.delete_manifest(image.digest).unwrap();
        assert!(repository.delete_manifest(image.digest).unwrap_err().is_missing());
        assert!(!repository.has_manifest(Target::Tag("v1")).unwrap());
        assert!(repository.has_blob(BlobDigest::of(&layer(2, 1000))).unwrap());
    });
}

/// Docker's registry takes parts too, though it does not ask for them.
#[test]
fn dockers_registry_takes_parts() {
    let Some((peer, _dir)) = peer() else { return };
    let mut ours = world(&peer);
    ours.options.chunk = 1 << 20;
    // A server between that does not take more than two megabytes at once.
    let upstream = peer.host.clone();
    let narrow = crate::support::server::Server::start_parallel(None, move |exchange| {
        let length = exchange.request.header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
        if length > 2 << 20 {
            return exchange.write(&crate::support::server::reply("413 Payload Too Large", &[], b""));
        }
        exchange.read_body();
        relay(exchange, &upstream);
    });
    let host = format!("127.0.0.1:{}", narrow.port);
    let own = Some(insecure(&host));
    ours.options.registries.insert(host.clone(), Endpoints { mirrors: Vec::new(), own });
    let image = ours.image(&[layer(1, LARGE)]);
    ours.push(&format!("{host}/{REPOSITORY}:v1"), &image).unwrap();
    assert_eq!(narrow.seen().iter().filter(|request| request.method == "PATCH").count(), 4);
    let pulled = world(&peer).pull(&format!("{}/{REPOSITORY}:v1", peer.host)).unwrap();
    assert_eq!(pulled.image.digest, image.digest);
}

/// Passes a request on, and its answer back.
fn relay(exchange: &mut crate::support::server::Exchange<'_>, upstream: &str) {
    use std::io::{Read as _, Write as _};
    let request = &exchange.request;
    let mut head = format!("{} {} HTTP/1.1\r\nConnection: close\r\n", request.method, request.path);
    let kept = request.headers.iter().filter(|(name, _)| !matches!(name.as_str(), "connection" | "expect"));
    kept.for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    head.push_str("\r\n");
    let mut server = TcpStream::connect(upstream).unwrap();
    server.write_all(&[head.as_bytes(), &request.body].concat()).unwrap();
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).unwrap();
    exchange.write(&answer);
}

#[test]
fn skopeo_finds_what_was_pushed_and_leaves_what_is_pulled() {
    if !has("skopeo") {
        skip::<()>("needs skopeo");
        return;
    }
    let Some((peer, _dir)) = peer() else { return };
    let ours = world(&peer);
    let image = ours.image(&[layer(1, LARGE), layer(2, 1000)]);
    ours.push(&format!("{}/{REPOSITORY}:v1", peer.host), &image).unwrap();
    let at = |repository: &str| format!("docker://{}/{repository}:v1", peer.host);
    let mut copy = Command::new("skopeo");
    copy.args(["copy", "-q", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false"]);
    let copied = copy.args([at(REPOSITORY), at("copy/app")]).output().unwrap();
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    let theirs = world(&peer);
    let pulled = theirs.pull(&format!("{}/copy/app:v1", peer.host)).unwrap();
    assert_eq!(StoredImage::open(&theirs.store, pulled.image.digest).unwrap(), image);
}
