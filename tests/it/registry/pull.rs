//! What a registry may do to whoever pulls, and what comes of it.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lith::digest::BlobDigest;
use lith::oci::Descriptor;
use lith::oci::media::MediaType;
use lith::registry::{RegistryError, Target};
use serde_json::json;

use super::{FakeRegistry, LARGE, REPOSITORY, World, layer, name, serve, stranger, world};
use crate::support::registry::{Fake, MANIFEST, Manners};
use crate::support::server::{Exchange, Server, reply, self_signed};

/// A registry with one blob whose first answers, and all if `times` is 0, are something else.
fn faulty(
    bytes: &[u8],
    times: usize,
    fault: impl Fn(&mut Exchange<'_>, &[u8]) + Send + Sync + 'static,
) -> (FakeRegistry, Descriptor) {
    let (count, body) = (AtomicUsize::new(0), bytes.to_vec());
    let registry = FakeRegistry::faulty(Manners::default(), move |exchange, _| {
        let is_blob = exchange.request.method == "GET" && exchange.request.path.contains("/blobs/");
        let is_faulty = is_blob && (times == 0 || count.fetch_add(1, Ordering::Relaxed) < times);
        if is_faulty {
            fault(exchange, &body);
        }
        is_faulty
    });
    registry.put_blob(REPOSITORY, bytes);
    let blob = Descriptor::of(MediaType::OciLayer, bytes);
    (registry, blob)
}

fn fetch(registry: &FakeRegistry, world: &World, blob: &Descriptor) -> Result<(), String> {
    world.fetch(&name(registry), blob).map_err(|error| error.to_string())
}

#[track_caller]
fn refuses(
    bytes: &[u8],
    expected: &str,
    fault: impl Fn(&mut Exchange<'_>, &[u8]) + Send + Sync + 'static,
) -> FakeRegistry {
    let (registry, blob) = faulty(bytes, 0, fault);
    let world = world(&registry);
    let error = fetch(&registry, &world, &blob).unwrap_err();
    assert!(error.contains(expected), "{error}");
    assert!(error.contains(&format!("{}/{REPOSITORY}@{}", registry.host(), blob.digest)), "{error}");
    assert!(!world.store.has_blob(&blob.digest));
    registry
}

/// Where a request wants a blob to begin.
fn start(exchange: &Exchange<'_>) -> usize {
    let range = exchange.request.header("range").map(|range| range["bytes=".len()..].trim_end_matches('-'));
    range.map_or(0, |first| first.parse().unwrap())
}

/// An answer that is cut after so many bytes of its body.
fn cut(exchange: &mut Exchange<'_>, body: &[u8], after: usize) {
    let first = start(exchange);
    let status = if first == 0 { "200 OK" } else { "206 Partial Content" };
    let range = format!("bytes {first}-{}/{}", body.len() - 1, body.len());
    let answer = reply(status, &[("Content-Range", &range)], &body[first..]);
    let head = answer.len() - (body.len() - first);
    exchange.write(&answer[..(head + after).min(answer.len())]);
}

/// R9: what breaks off goes on from where it was, in bounds.
#[test]
fn r09_a_blob_that_breaks_off_goes_on() {
    let body = layer(1, LARGE);
    let (registry, blob) = faulty(&body, 2, |exchange, body| cut(exchange, body, 1 << 20));
    let world_of = world(&registry);
    fetch(&registry, &world_of, &blob).unwrap();
    assert_eq!(world_of.store.read_blob(&blob.digest, 1 << 24).unwrap(), body);
    let ranges: Vec<Option<String>> =
        registry.server.seen().iter().map(|request| request.header("range").map(str::to_owned)).collect();
    assert_eq!(ranges, [None, Some("bytes=1048576-".into()), Some("bytes=2097152-".into())]);
    let (registry, blob) = faulty(&body, 0, |exchange, body| cut(exchange, body, 10));
    let error = fetch(&registry, &world(&registry), &blob).unwrap_err();
    assert!(error.contains("broke off"), "{error}");
    assert_eq!(registry.asked().len(), 4);
}

/// R9: what a process left that was killed is gone on with, whichever server has the rest.
#[test]
fn r09_the_next_run_goes_on() {
    let body = layer(1, LARGE);
    let (broken, blob) = faulty(&body, 0, |exchange, body| cut(exchange, body, 2 << 20));
    let mut world = world(&broken);
    world.options.retries = 0;
    fetch(&broken, &world, &blob).unwrap_err();
    let sound = FakeRegistry::start(Manners::default());
    sound.put_blob(REPOSITORY, &body);
    world.options.registries.extend(super::world(&sound).options.registries);
    fetch(&sound, &world, &blob).unwrap();
    assert_eq!(sound.server.seen()[0].header("range"), Some("bytes=2097152-"));
    assert_eq!(world.store.read_blob(&blob.digest, 1 << 24).unwrap(), body);
}

/// R10: what a server sends instead of the rest is not joined to what is there.
#[test]
fn r10_lies_about_ranges_begin_anew() {
    let body = layer(1, LARGE);
    type Lie = fn(&mut Exchange<'_>, &[u8]);
    let lies: [Lie; 4] = [
        |exchange, body| exchange.write(&reply("200 OK", &[], body)),
        |exchange, body| {
            let range = format!("bytes 0-{}/{}", body.len() - 1, body.len());
            exchange.write(&reply("206 Partial Content", &[("Content-Range", &range)], body));
        },
        |exchange, body| {
            let (first, all) = (start(exchange), body.len() + 5);
            let range = format!("bytes {first}-{}/{all}", all - 1);
            exchange.write(&reply("206 Partial Content", &[("Content-Range", &range)], &body[first - 5..]));
        },
        |exchange, _| exchange.write(&reply("416 Range Not Satisfiable", &[], b"")),
    ];
    for (at, lie) in lies.into_iter().enumerate() {
        let (registry, blob) = faulty(&body, 2, move |exchange, body| match start(exchange) {
            0 => cut(exchange, body, 2 << 20),
            _ => lie(exchange, body),
        });
        let world = world(&registry);
        fetch(&registry, &world, &blob).unwrap_or_else(|error| panic!("{at}: {error}"));
        assert_eq!(world.store.read_blob(&blob.digest, 1 << 24).unwrap(), body, "{at}");
    }
    // The right range with the wrong bytes: found by the digest, and thrown away once.
    let (registry, blob) = faulty(&body, 2, |exchange, body| match start(exchange) {
        0 => cut(exchange, body, 2 << 20),
        first => {
            let range = format!("bytes {first}-{}/{}", body.len() - 1, body.len());
            let wrong = vec![b'x'; body.len() - first];
            exchange.write(&reply("206 Partial Content", &[("Content-Range", &range)], &wrong));
        }
    });
    fetch(&registry, &world(&registry), &blob).unwrap();
    assert_eq!(registry.server.seen()[2].header("range"), None);
}

/// R11: nothing is read beyond the size of a descriptor.
#[test]
fn r11_an_endless_body_ends_at_its_size() {
    let sent = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let endless = move |exchange: &mut Exchange<'_>, _: &[u8]| {
        exchange.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let chunk = [b"10000\r\n".to_vec(), vec![b'x'; 0x10000], b"\r\n".to_vec()].concat();
        while exchange.writes(&chunk) && counted.fetch_add(0x10000, Ordering::Relaxed) < 1 << 30 {}
    };
    refuses(b"small", "has more bytes; its descriptor says 5", endless);
    assert!(sent.load(Ordering::Relaxed) < 64 << 20);
    for told in ["6", "4", "18446744073709551615"] {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {told}\r\n\r\nsmaller");
        let expected = format!("has {told} bytes; its descriptor says 5");
        refuses(b"small", &expected, move |exchange, _| exchange.write(head.as_bytes()));
    }
    let short = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nsma";
    refuses(b"small", "broke off after 3 of 5 bytes", move |exchange, _| exchange.write(short));
}

/// R12: who sends a byte now and then, or none, is given up.
#[test]
fn r12_a_slow_body_is_given_up() {
    let (registry, blob) = faulty(&layer(1, 10_000), 0, |exchange, body| {
        exchange.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes());
        for byte in body {
            if !exchange.writes(&[*byte]) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let mut world = world(&registry);
    world.options.patience = Duration::from_millis(500);
    let began = Instant::now();
    let error = fetch(&registry, &world, &blob).unwrap_err();
    assert!(error.contains("sends next to nothing"), "{error}");
    let (registry, blob) = faulty(b"body", 0, |exchange, _| {
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nb");
        std::thread::sleep(Duration::from_secs(20));
    });
    let mut silent = super::world(&registry);
    (silent.options.patience, silent.options.retries) = (Duration::from_millis(200), 1);
    assert!(fetch(&registry, &silent, &blob).unwrap_err().contains("broke off after 1 of 4 bytes"));
    assert!(began.elapsed() < Duration::from_secs(10));
}

/// R13: a busy server is asked again after what it asks for, five times at most, and a firm answer is taken.
#[test]
fn r13_busy_servers_are_asked_again_in_bounds() {
    let body = b"body";
    let busy: [(&str, &[(&str, &str)]); 3] = [
        ("429 Too Many Requests", &[("Retry-After", "1")]),
        ("503 Service Unavailable", &[]),
        ("500 Internal Server Error", &[]),
    ];
    for (status, headers) in busy {
        let (registry, blob) =
            faulty(body, 3, move |exchange, _| exchange.write(&reply(status, headers, b"")));
        fetch(&registry, &world(&registry), &blob).unwrap();
        assert_eq!(registry.asked().len(), 4, "{status}");
        let (registry, blob) =
            faulty(body, 0, move |exchange, _| exchange.write(&reply(status, headers, b"")));
        let mut stubborn = world(&registry);
        stubborn.options.retries = 1000;
        let error = fetch(&registry, &stubborn, &blob).unwrap_err();
        assert!(error.contains(&status[..3]), "{error}");
        assert_eq!(registry.asked().len(), 6, "{status}");
    }
    // The wait is what it asks for, and never longer than the longest.
    let (registry, blob) = faulty(body, 1, |exchange, _| {
        exchange.write(&reply("429 Too Many Requests", &[("Retry-After", "99999")], b""));
    });
    let mut world = world(&registry);
    world.options.longest_wait = Duration::from_millis(300);
    let began = Instant::now();
    fetch(&registry, &world, &blob).unwrap();
    assert!((300..3000).contains(&began.elapsed().as_millis()));
    // A connection that is reset.
    let (registry, blob) = faulty(body, 2, |_, _| {});
    fetch(&registry, &super::world(&registry), &blob).unwrap();
    let (registry, blob) = faulty(body, 0, |exchange, _| exchange.write(&reply("404 Not Found", &[], b"")));
    assert!(fetch(&registry, &super::world(&registry), &blob).unwrap_err().contains("is not there"));
    assert_eq!(registry.asked().len(), 1);
}

/// R14: errors, manifests and portals are read as far as they make sense.
#[test]
fn r14_errors_and_manifests_have_a_limit() {
    let registry = refuses(b"x", "with a message of more than 1048576 bytes", |exchange, _| {
        exchange.write(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        while exchange.writes(&[b'e'; 4096]) {}
    });
    drop(registry);
    refuses(b"x", "with a web page: that is no registry", |exchange, _| {
        exchange.write(&reply("403 Forbidden", &[("Content-Type", "text/html")], b"<html>pay here"));
    });
    let registry = FakeRegistry::faulty(Manners::default(), |exchange, _| {
        exchange.write(format!("HTTP/1.1 200 OK\r\nContent-Type: {MANIFEST}\r\n\r\n").as_bytes());
        while exchange.writes(&[b' '; 4096]) {}
        true
    });
    let error = world(&registry).cannot_pull(&name(&registry));
    assert!(error.contains("larger than the limit of 4194304 bytes"), "{error}");
    let portal = FakeRegistry::faulty(Manners::default(), |exchange, _| {
        exchange.write(&reply("200 OK", &[("Content-Type", "text/html")], b"<html>"));
        true
    });
    let error = world(&portal).cannot_pull(&name(&portal));
    assert!(error.contains("text/html, which is neither a manifest nor an index"), "{error}");
}

/// R15: bytes are the blob's as they come, whatever a server says of their encoding.
#[test]
fn r15_nothing_is_decoded_on_the_way() {
    let (registry, blob) = faulty(b"\x1f\x8b not gzip", 0, |exchange, body| {
        exchange.write(&reply("200 OK", &[("Content-Encoding", "gzip")], body));
    });
    let world = world(&registry);
    fetch(&registry, &world, &blob).unwrap();
    assert_eq!(registry.server.seen()[0].header("accept-encoding"), Some("identity"));
}

/// R7: bytes are what their digest says, and no header makes them something else.
#[test]
fn r07_digests_are_of_the_bytes() {
    let evil = |exchange: &mut Exchange<'_>, body: &[u8]| {
        let digest = BlobDigest::of(body).to_string();
        exchange.write(&reply("200 OK", &[("Docker-Content-Digest", &digest)], &vec![b'x'; body.len()]));
    };
    refuses(b"right", &format!("is {}, not what it is called", BlobDigest::of(b"xxxxx")), evil);
    let registry = FakeRegistry::start(Manners::default());
    let manifest = serve(&registry, "v1", &[layer(1, 10)]);
    let lying = FakeRegistry::faulty(Manners::default(), move |exchange, fake: &Fake| {
        let is_manifest = exchange.request.path.contains("/manifests/");
        if is_manifest {
            let bytes = b"{\"schemaVersion\":2,\"layers\":[]}";
            let digest = manifest.to_string();
            let headers = [("Docker-Content-Digest", digest.as_str()), ("Content-Type", MANIFEST)];
            exchange.write(&reply("200 OK", &headers, bytes));
        }
        let _ = fake;
        is_manifest
    });
    let error = world(&lying).cannot_pull(&format!("{}/{REPOSITORY}@{manifest}", lying.host()));
    assert!(error.contains("not what it is called"), "{error}");
    // For a tag the digest is that of what came.
    let truthful = FakeRegistry::faulty(Manners::default(), |exchange, fake| {
        if !exchange.request.path.ends_with("/manifests/v1") {
            return false;
        }
        let content = fake.content.lock().unwrap();
        let (_, (kind, bytes)) = content.manifests.iter().next().unwrap();
        let headers = [("Docker-Content-Digest", "sha256:00"), ("Content-Type", kind.as_str())];
        exchange.write(&reply("200 OK", &headers, bytes));
        true
    });
    let manifest = serve(&truthful, "v1", &[layer(1, 10)]);
    assert_eq!(world(&truthful).pull(&name(&truthful)).unwrap().top.digest, manifest);
}

/// R8: a tag is asked about once; what it stood for then is what is pulled, and is what the caller is told.
#[test]
fn r08_a_tag_that_moves_is_asked_about_once() {
    let registry = FakeRegistry::faulty(Manners::default(), |exchange, fake| {
        if exchange.request.path.contains("/blobs/") {
            fake.content.lock().unwrap().tags.clear();
        }
        false
    });
    let manifest = serve(&registry, "v1", &[layer(1, 10), layer(2, 10)]);
    assert_eq!(world(&registry).pull(&name(&registry)).unwrap().top.digest, manifest);
    assert_eq!(registry.count("GET", "/manifests/") + registry.count("HEAD", ""), 1);
}

/// R4: nothing goes from encrypted to not, and in the clear nothing begins that nobody allowed.
#[test]
fn r04_nothing_is_downgraded() {
    let plain = FakeRegistry::start(Manners::default());
    let manifest = serve(&plain, "v1", &[layer(1, 10)]);
    // A loopback host is spoken to in the clear only where that was said.
    let rude = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = rude.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in rude.incoming() {
            let _ = stream.unwrap().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    for name in [name(&plain), format!("{host}/{REPOSITORY}:v1")] {
        let error = stranger().cannot_pull(&name);
        assert!(error.contains("does not seem to speak TLS") && error.contains("insecure"), "{error}");
    }
    let to = plain.server.url(&format!("/v2/{REPOSITORY}/manifests/{manifest}"));
    let before = plain.asked().len();
    let (config, pem) = self_signed(|_| {});
    let shown = to.clone();
    let encrypted = FakeRegistry::over(Some(config), Manners::default(), move |exchange, _| {
        exchange.write(&reply("307 Temporary Redirect", &[("Location", &to)], b""));
        true
    });
    let mut world = stranger();
    world.options.roots = pem.into_bytes();
    let error = world.cannot_pull(&name(&encrypted));
    assert!(error.contains(&format!("redirects to {shown}, which is not encrypted")), "{error}");
    assert_eq!(plain.asked().len(), before);
    let round = refuses(b"x", "redirects more than 10 times", |exchange, _| {
        let to = exchange.request.path.clone();
        exchange.write(&reply("302 Found", &[("Location", &to)], b""));
    });
    assert_eq!(round.asked().len(), 11);
    refuses(b"x", "a URL of another kind", |exchange, _| {
        exchange.write(&reply("302 Found", &[("Location", "file:///etc/passwd")], b""));
    });
}

/// R5: a server that nobody vouches for is none, and is asked once.
#[test]
fn r05_certificates_are_for_their_hosts_and_their_time() {
    let over = |change: fn(&mut rcgen::CertificateParams)| {
        let (config, pem) = self_signed(change);
        let registry = FakeRegistry::over(Some(config), Manners::default(), |_, _| false);
        serve(&registry, "v1", &[layer(1, 10)]);
        (registry, pem)
    };
    let (sound, pem) = over(|_| {});
    let mut world = stranger();
    world.options.roots = pem.into_bytes();
    world.pull(&name(&sound)).unwrap();
    let wrong_host: fn(&mut rcgen::CertificateParams) = |params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("other.invalid".try_into().unwrap())]
    };
    let expired: fn(&mut rcgen::CertificateParams) =
        |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    for (change, is_known, expected) in [
        (wrong_host, true, "NotValidForName"),
        (expired, true, "Expired"),
        (|_: &mut _| {}, false, "UnknownIssuer"),
    ] {
        let (registry, pem) = over(change);
        let mut world = stranger();
        world.options.roots = if is_known { pem.into_bytes() } else { Vec::new() };
        let error = world.cannot_pull(&name(&registry));
        assert!(error.contains(&registry.host()), "{error}");
        let plain = error.to_lowercase();
        let is_said = error.contains(expected)
            || plain.contains(&expected.to_lowercase())
            || (expected == "NotValidForName" && plain.contains("not valid for"));
        assert!(is_said, "{expected}: {error}");
        assert_eq!(registry.asked().len(), 0);
    }
    // TLS 1.0: the server has nothing newer, and says so.
    let old = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = old.local_addr().unwrap().to_string();
    let calls = std::thread::spawn(move || {
        let (mut stream, _) = old.accept().unwrap();
        stream.write_all(&[0x15, 3, 1, 0, 2, 2, 70]).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        old.set_nonblocking(true).unwrap();
        usize::from(old.accept().is_ok())
    });
    let error = stranger().cannot_pull(&format!("{host}/{REPOSITORY}:v1"));
    assert!(error.contains(&host) && error.contains("cannot be reached"), "{error}");
    assert_eq!(calls.join().unwrap(), 0, "it is not asked again");
}

/// What goes through a proxy, and what does not; the proxy's password goes to the proxy, and into no message.
#[test]
fn r22_proxies_are_asked_and_their_passwords_are_not_shown() {
    let registry = FakeRegistry::start(Manners::default());
    let blob = Descriptor::of(MediaType::OciLayer, b"body");
    registry.put_blob(REPOSITORY, b"body");
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = proxy.local_addr().unwrap();
    let (heard, hears) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for (at, stream) in proxy.incoming().enumerate() {
            let mut client = stream.unwrap();
            let mut lines = std::io::BufRead::lines(std::io::BufReader::new(client.try_clone().unwrap()));
            let head: Vec<String> =
                lines.by_ref().map_while(Result::ok).take_while(|l| !l.is_empty()).collect();
            let target = head[0].split(' ').nth(1).unwrap().to_owned();
            heard.send(head).unwrap();
            if at > 0 {
                client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").unwrap();
                continue;
            }
            let mut server = std::net::TcpStream::connect(target).unwrap();
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            std::thread::spawn(move || std::io::copy(&mut server, &mut client));
        }
    });
    let mut world = world(&registry);
    world.options.proxies.http = Some(format!("http://me:hunter2@{address}"));
    fetch(&registry, &world, &blob).unwrap();
    let head: Vec<String> = hears.try_iter().flatten().collect();
    assert_eq!(head[0], format!("CONNECT {} HTTP/1.1", registry.host()));
    assert!(head.iter().any(|line| line == "Proxy-Authorization: Basic bWU6aHVudGVyMg=="), "{head:?}");
    assert!(registry.server.seen().iter().all(|request| request.header("proxy-authorization").is_none()));
    let mut refused = super::world(&registry);
    refused.options.proxies = world.options.proxies.clone();
    let error = fetch(&registry, &refused, &blob).unwrap_err();
    assert!(error.contains("cannot be reached") && !error.contains("hunter2"), "{error}");
    assert_eq!(hears.try_iter().count(), 1);
    refused.options.proxies.except = Some("example.invalid,127.0.0.1".into());
    fetch(&registry, &refused, &blob).unwrap();
    assert_eq!(hears.try_iter().count(), 0);
}

/// R21: lists end, and stay where they began.
#[test]
fn r21_pages_neither_loop_nor_lead_elsewhere() {
    let elsewhere = Server::start(|_, _| reply("200 OK", &[], br#"{"tags":["evil"]}"#));
    let away = format!("<{}>; rel=\"next\"", elsewhere.url("/v2/team/app/tags/list?last=a"));
    for (link, expected) in [
        ("<?n=1000>; rel=\"next\"".to_owned(), "leads back to a page"),
        (away, "goes on at another place"),
        ("</v2/other/tags/list>; rel=\"next\"".to_owned(), "goes on at another place"),
    ] {
        let registry = FakeRegistry::faulty(Manners::default(), move |exchange, _| {
            exchange.write(&reply("200 OK", &[("Link", &link)], br#"{"tags":["a"]}"#));
            true
        });
        let tags = world(&registry).with(&name(&registry), |repository| repository.tags());
        let error = tags.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(elsewhere.seen().len(), 0);
    // Always one more page.
    let endless = FakeRegistry::faulty(Manners::default(), |exchange, _| {
        let link = format!("<?last={}>; rel=\"next\"", exchange.number);
        exchange.write(&reply("200 OK", &[("Link", &link)], br#"{"tags":null}"#));
        true
    });
    let tags = world(&endless).with(&name(&endless), |repository| repository.tags());
    assert!(tags.unwrap_err().to_string().contains("more than 1000 pages"));
}

#[test]
fn schema_1_and_layers_of_others_are_refused() {
    for kind in ["manifest.v1+prettyjws", "manifest.v1+json"] {
        let registry = FakeRegistry::start(Manners::default());
        let kind = format!("application/vnd.docker.distribution.{kind}");
        registry.put_manifest(REPOSITORY, Some("v1"), &kind, br#"{"schemaVersion":1,"fsLayers":[]}"#);
        let error = world(&registry).cannot_pull(&name(&registry));
        assert!(error.contains("schema 1 is not supported"), "{error}");
    }
    let registry = FakeRegistry::start(Manners::default());
    let kind = MediaType::OciForeignLayerGzip;
    let blob = Descriptor {
        other: [("urls".to_owned(), json!([registry.server.url("/elsewhere")]))].into(),
        ..Descriptor::of(kind, b"windows")
    };
    let error = world(&registry).fetch(&name(&registry), &blob).unwrap_err();
    assert!(matches!(error, RegistryError::Foreign { .. }), "{error}");
    assert_eq!(registry.asked(), [] as [String; 0]);
}

/// A blob that does not come keeps no other from being made a layer, and the first failure ends the pull.
#[test]
fn one_slow_layer_keeps_no_other_waiting() {
    let layers = [layer(1, 1000), layer(2, 1000), layer(3, 1000)];
    let slow = BlobDigest::of(&layers[0]).to_string();
    let (opened, open) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(open);
    let registry = FakeRegistry::faulty(Manners::default(), move |exchange, _| {
        if exchange.request.path.ends_with(&slow) {
            let _ = gate.lock().unwrap().recv_timeout(Duration::from_secs(20));
        }
        false
    });
    serve(&registry, "v1", &layers);
    let world = world(&registry);
    std::thread::scope(|scope| {
        let pulling = scope.spawn(|| world.pull(&name(&registry)).map(drop));
        let others: Vec<lith::digest::DiffId> =
            layers[1..].iter().map(|layer| BlobDigest::of(layer).into()).collect();
        let began = Instant::now();
        let are_layers = || {
            let size = |at: usize| layers[at + 1].len() as u64;
            others.iter().enumerate().all(|(at, diff)| world.store.has_layer(*diff, size(at)))
        };
        while !are_layers() {
            assert!(began.elapsed() < Duration::from_secs(15), "the others wait for the slow one");
            std::thread::sleep(Duration::from_millis(5));
        }
        opened.send(()).unwrap();
        pulling.join().unwrap().unwrap();
    });
    let target = Target::Tag("v1");
    assert!(world.with(&name(&registry), |repository| repository.has_manifest(target)).unwrap());
}
