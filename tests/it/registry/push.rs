//! What a registry may do to whoever pushes, and what comes of it.

use std::sync::atomic::{AtomicUsize, Ordering};

use lith::digest::BlobDigest;
use lith::image::StoredImage;

use super::{FakeRegistry, LARGE, REPOSITORY, layer, name, world};
use crate::support::registry::{Fake, Manners, query};
use crate::support::server::{Exchange, Server, reply};

/// Pushes an image of one large layer to a registry that does something else now and then.
fn pushed(
    manners: Manners,
    fault: impl Fn(&mut Exchange<'_>, &Fake) -> bool + Send + Sync + 'static,
) -> (FakeRegistry, StoredImage, Result<(), String>) {
    let registry = FakeRegistry::faulty(manners, fault);
    let mut world = world(&registry);
    (world.options.chunk, world.options.at_once) = (1 << 20, 1);
    let image = world.image(&[layer(1, LARGE)]);
    let result = world.push(&name(&registry), &image).map(drop).map_err(|error| error.to_string());
    (registry, image, result)
}

#[track_caller]
fn arrives(
    manners: Manners,
    fault: impl Fn(&mut Exchange<'_>, &Fake) -> bool + Send + Sync + 'static,
) -> FakeRegistry {
    let (registry, image, result) = pushed(manners, fault);
    result.unwrap();
    assert_eq!(registry.tag(REPOSITORY, "v1"), Some(image.digest.to_string()));
    let other = world(&registry);
    assert_eq!(other.pull(&name(&registry)).unwrap().image.digest, image.digest);
    registry
}

#[track_caller]
fn fails(
    expected: &str,
    fault: impl Fn(&mut Exchange<'_>, &Fake) -> bool + Send + Sync + 'static,
) -> FakeRegistry {
    let (registry, _, result) = pushed(Manners::default(), fault);
    let error = result.unwrap_err();
    assert!(error.contains(expected), "{error}");
    assert!(error.contains(&format!("{}/{REPOSITORY}", registry.host())), "{error}");
    assert_eq!(registry.tag(REPOSITORY, "v1"), None);
    registry
}

/// What a fault does so many times.
fn times(most: usize) -> impl Fn() -> bool {
    let count = AtomicUsize::new(0);
    move || count.fetch_add(1, Ordering::Relaxed) < most
}

fn is_large(exchange: &Exchange<'_>) -> bool {
    exchange.request.header("content-length").and_then(|n| n.parse::<usize>().ok()).unwrap_or(0) > LARGE
}

fn answer(exchange: &mut Exchange<'_>, status: &str, headers: &[(&str, &str)]) -> bool {
    exchange.write(&reply(status, headers, b""));
    true
}

fn in_parts() -> Manners {
    Manners { least_chunk: Some(1), ..Manners::default() }
}

/// R2: an upload goes to the server that was asked, whatever that says.
#[test]
fn r02_uploads_go_nowhere_else() {
    let elsewhere = Server::start(|_, _| reply("201 Created", &[], b""));
    for to in [elsewhere.url("/upload"), "https://127.0.0.1/upload".into(), "//other.invalid/upload".into()] {
        let location = to.clone();
        fails("which is another server", move |exchange, _| {
            exchange.request.method == "POST" && answer(exchange, "202 Accepted", &[("Location", &location)])
        });
        // Nor in the middle.
        let registry = FakeRegistry::faulty(in_parts(), move |exchange, fake| {
            exchange.request.method == "PATCH" && {
                fake.take_part(exchange, 1 << 20);
                answer(exchange, "202 Accepted", &[("Location", &to)])
            }
        });
        let mut world = world(&registry);
        world.options.chunk = 1 << 20;
        let image = world.image(&[layer(1, LARGE)]);
        let error = world.push(&name(&registry), &image).unwrap_err().to_string();
        assert!(error.contains("which is another server"), "{error}");
    }
    assert_eq!(elsewhere.seen().len(), 0);
    fails("redirects a PUT, which lith follows nowhere", move |exchange, _| {
        exchange.request.method == "PUT"
            && exchange.read_body()
            && answer(exchange, "307 Temporary Redirect", &[("Location", "/elsewhere")])
    });
}

/// R16: who says 201 and has something else is found out.
#[test]
fn r16_a_registry_that_keeps_something_else_is_found_out() {
    let other = BlobDigest::of(b"other").to_string();
    let told = other.clone();
    let registry = fails("does not have it: what it keeps is something else", move |exchange, _| {
        exchange.request.method == "PUT"
            && exchange.read_body()
            && answer(exchange, "201 Created", &[("Docker-Content-Digest", &told)])
    });
    assert_eq!(registry.count("PUT", "/manifests/"), 0);
    // One that has it all the same, under another name too, is believed.
    arrives(Manners::default(), move |exchange, fake| {
        if exchange.request.method != "PUT" || !exchange.request.path.contains("/uploads/") {
            return false;
        }
        exchange.read_body();
        let digest = query(&exchange.request, "digest").unwrap();
        let key = (REPOSITORY.to_owned(), digest);
        fake.content.lock().unwrap().blobs.insert(key, exchange.request.body.clone());
        answer(exchange, "201 Created", &[("Docker-Content-Digest", &other)])
    });
    // One that says nothing and kept nothing does not get the tag: its own check of the manifest shows it.
    fails("MANIFEST_BLOB_UNKNOWN", |exchange, _| {
        exchange.request.path.contains("/uploads/upload")
            && exchange.read_body()
            && answer(exchange, "201 Created", &[])
    });
    // A manifest that is kept as something else.
    let digest = BlobDigest::of(b"other").to_string();
    fails("what it keeps is something else", move |exchange, _| {
        exchange.request.method == "PUT"
            && exchange.request.path.contains("/manifests/")
            && exchange.read_body()
            && answer(exchange, "201 Created", &[("Docker-Content-Digest", &digest)])
    });
}

/// R17: an upload goes on where the registry says that it is, begins anew where it knows nothing of it, and ends.
#[test]
fn r17_uploads_go_on_or_begin_anew() {
    // 416: it has more than it was thought to have, and says so, or how to ask.
    for says in [true, false] {
        let once = times(1);
        let registry = arrives(in_parts(), move |exchange, fake| {
            if exchange.request.method != "PATCH" || !once() {
                return false;
            }
            fake.take_part(exchange, 1 << 20);
            let location = exchange.request.path.replace("state=0", "state=1048576");
            let headers = [("Location", location.as_str()), ("Range", "0-1048575")];
            answer(exchange, "416 Range Not Satisfiable", if says { &headers } else { &[] })
        });
        assert_eq!(registry.count("POST", "/uploads/"), 2, "a layer and a config");
        assert_eq!(registry.count("GET", "/uploads/"), usize::from(!says));
    }
    // The session is gone.
    let once = times(1);
    let registry = arrives(in_parts(), move |exchange, fake| {
        let is_later = exchange.request.method == "PATCH"
            && !exchange.request.header("content-range").unwrap().starts_with("0-");
        if is_later && once() {
            fake.forget_uploads();
        }
        false
    });
    assert_eq!(registry.count("POST", "/uploads/"), 3);
    // And again and again.
    let registry = fails("BLOB_UPLOAD_UNKNOWN", |exchange, fake| {
        if exchange.request.method == "PUT" {
            fake.forget_uploads();
        }
        false
    });
    assert_eq!(registry.count("POST", "/uploads/"), 4);
    // 416 for ever.
    fails("takes no more", |exchange, _| {
        let location = exchange.request.path.clone();
        let headers = [("Location", location.as_str()), ("Range", "0-0")];
        location.contains("/uploads/upload")
            && exchange.read_body()
            && answer(exchange, "416 Range Not Satisfiable", &headers)
    });
}

/// R17: a connection that breaks off costs what was on its way, no more.
#[test]
fn r17_an_upload_that_breaks_off_goes_on() {
    let once = times(1);
    let registry = arrives(Manners::default(), move |exchange, fake| {
        let is_cut = exchange.request.method == "PUT" && is_large(exchange) && once();
        if is_cut {
            fake.take_part(exchange, 2 << 20);
        }
        is_cut
    });
    let seen = registry.server.seen();
    let parts: Vec<&str> = seen
        .iter()
        .filter(|request| request.method == "PATCH")
        .map(|request| request.header("content-range").unwrap())
        .collect();
    assert!(parts[0].starts_with("2097152-") && parts.len() <= 2, "{parts:?}");
    assert_eq!(registry.count("GET", "/uploads/"), 1, "it was asked where it stands");
    // A registry that does not know: from the beginning.
    let once = times(1);
    let registry = arrives(Manners::default(), move |exchange, fake| {
        if exchange.request.method == "GET" && exchange.request.path.contains("/uploads/") {
            return answer(exchange, "405 Method Not Allowed", &[]);
        }
        let is_cut = exchange.request.method == "PUT" && is_large(exchange) && once();
        if is_cut {
            fake.take_part(exchange, 1000);
        }
        is_cut
    });
    assert_eq!(registry.count("POST", "/uploads/"), 3);
    // Bytes that were joined wrong are found by the registry, and none of them is used again.
    let once = times(1);
    arrives(Manners::default(), move |exchange, fake| {
        let is_cut = exchange.request.method == "PUT" && is_large(exchange) && once();
        if is_cut {
            fake.take_part(exchange, 1000);
            fake.spoil_uploads();
        }
        is_cut
    });
}

#[test]
fn what_is_too_much_for_one_request_goes_in_parts() {
    let registry = arrives(Manners::default(), |exchange, _| {
        is_large(exchange) && answer(exchange, "413 Payload Too Large", &[])
    });
    assert_eq!(registry.count("PATCH", ""), 4);
    let seen = registry.server.seen();
    let refused = seen.iter().find(|request| request.method == "PUT" && request.header("expect").is_some());
    let refused = refused.unwrap();
    assert_eq!((refused.header("expect"), refused.body.len()), (Some("100-continue"), 0), "it was not sent");
}

/// R13: what is not safe to do twice is not done twice; what a busy registry refused is.
#[test]
fn r13_busy_registries_get_an_upload_once() {
    for status in ["429 Too Many Requests", "503 Service Unavailable", "500 Internal Server Error"] {
        for method in ["POST", "PUT", "HEAD"] {
            let twice = times(2);
            arrives(Manners::default(), move |exchange, _| {
                exchange.request.method == method
                    && twice()
                    && exchange.read_body()
                    && answer(exchange, status, &[("Retry-After", "0")])
            });
        }
    }
    let registry = fails("answered 503", |exchange, _| {
        exchange.request.method == "POST" && answer(exchange, "503 Service Unavailable", &[])
    });
    assert_eq!(registry.count("POST", ""), 4);
    // Each begins with the question whether it is there: the lost answer may have been a yes.
    assert_eq!(registry.count("HEAD", "/blobs/"), 4);
    let once = times(1);
    let registry = arrives(Manners::default(), move |exchange, fake| {
        let is_lost = exchange.request.method == "PUT" && is_large(exchange) && once();
        if is_lost {
            exchange.read_body();
            let digest = query(&exchange.request, "digest").unwrap();
            let body = exchange.request.body.clone();
            fake.content.lock().unwrap().blobs.insert((REPOSITORY.to_owned(), digest), body);
            fake.forget_uploads();
        }
        is_lost
    });
    assert_eq!(registry.count("PUT", "/uploads/"), 2, "the layer once, and the config");
}

/// R13: all that one blob takes has one number of tries.
#[test]
fn r13_a_registry_that_dies_is_asked_a_few_times() {
    let registry = fails("cannot be reached", |exchange, fake| {
        // From the first upload on nobody is there.
        let is_dead = exchange.request.method == "POST" || fake.has_uploads();
        if exchange.request.method == "POST" {
            fake.answer(exchange);
        }
        is_dead
    });
    assert!(registry.asked().len() <= 8, "{:?}", registry.asked());
}

/// R18: a mount that is none is an upload, also where the user may not read what it is from.
#[test]
fn r18_a_mount_that_is_none_is_an_upload() {
    let registry = FakeRegistry::start(Manners { mounts: false, ..Manners::default() });
    let world = world(&registry);
    let layers = [layer(1, 1000)];
    let image = world.image(&layers);
    registry.put_blob("base/os", &layers[0]);
    let pushed = world.push_from(&name(&registry), &image, Some("base/os")).unwrap();
    assert_eq!((pushed.mounted, pushed.uploaded), (0, 2));
    let seen = registry.server.seen();
    let posts = seen.iter().filter(|request| request.method == "POST");
    assert!(posts.clone().all(|post| query(post, "from").as_deref() == Some("base/os")));
    // A registry that refuses such a request as a whole.
    let registry = FakeRegistry::faulty(Manners::default(), |exchange, _| {
        let is_mount = query(&exchange.request, "mount").is_some();
        is_mount && answer(exchange, "403 Forbidden", &[])
    });
    let world = super::world(&registry);
    let image = world.image(&layers);
    let pushed = world.push_from(&name(&registry), &image, Some("base/os")).unwrap();
    assert_eq!((pushed.mounted, pushed.uploaded), (0, 2));
}

/// Some registries know no upload in one request: a stream is what docker's own clients send.
#[test]
fn what_is_refused_as_a_whole_goes_as_a_stream() {
    for status in ["500 Internal Server Error", "405 Method Not Allowed", "501 Not Implemented"] {
        let registry = arrives(Manners::default(), move |exchange, _| {
            let has_body = exchange.request.header("content-length").is_some_and(|length| length != "0");
            let (method, path) = (exchange.request.method.clone(), exchange.request.path.clone());
            let is_upload = path.contains("/blobs/uploads/");
            // Nor does it say how far an upload is.
            if method == "GET" && is_upload {
                return answer(exchange, "405 Method Not Allowed", &[]);
            }
            method == "PUT" && has_body && is_upload && exchange.read_body() && answer(exchange, status, &[])
        });
        // The config and the layer: one of them was refused, which is remembered.
        assert_eq!(registry.count("POST", "/uploads/"), 3, "{status}");
        assert_eq!(registry.count("PATCH", ""), 2, "{status}: each in one piece");
        assert_eq!(registry.count("PUT", "/uploads/"), 3, "{status}");
    }
    // One that takes neither is given up.
    let registry = fails("answered 500", |exchange, _| {
        matches!(exchange.request.method.as_str(), "PUT" | "PATCH")
            && exchange.read_body()
            && answer(exchange, "500 Internal Server Error", &[])
    });
    assert!(registry.count("PUT", "") + registry.count("PATCH", "") <= 4, "{:?}", registry.asked());
}

/// R20: whoever finds a name finds what it leads to.
#[test]
fn r20_the_tag_comes_last() {
    let registry = arrives(Manners::default(), |_, _| false);
    let asked = registry.asked();
    let tag = format!("PUT /v2/{REPOSITORY}/manifests/v1");
    let at = asked.iter().position(|line| *line == tag).unwrap();
    let writes =
        |line: &&String| line.starts_with("PUT") || line.starts_with("POST") || line.starts_with("PATCH");
    let writes: Vec<&String> = asked.iter().filter(writes).collect();
    assert_eq!(writes.last(), Some(&&asked[at]));
    assert!(writes[..writes.len() - 1].iter().all(|line| line.contains("/blobs/uploads/")));
    // Two that push the same tag at once: it is one of theirs, and whole.
    let registry = FakeRegistry::start(Manners::default());
    let (one, two) = (world(&registry), world(&registry));
    let images = [one.image(&[layer(1, 1000)]), two.image(&[layer(2, 1000)])];
    std::thread::scope(|scope| {
        for (world, image) in [(&one, &images[0]), (&two, &images[1])] {
            scope.spawn(|| world.push(&name(&registry), image).unwrap());
        }
    });
    let found = world(&registry).pull(&name(&registry)).unwrap();
    assert!(images.iter().any(|image| image.digest == found.image.digest));
}

/// A layer that rotted in the store is not sent.
#[test]
fn what_is_damaged_here_is_not_sent() {
    let registry = FakeRegistry::start(Manners::default());
    let world = world(&registry);
    let layer = layer(1, 1000);
    let image = world.image(std::slice::from_ref(&layer));
    let path = world.store.root().join("blobs/sha256").join(BlobDigest::of(&layer).hex());
    std::fs::write(&path, vec![b'x'; layer.len()]).unwrap();
    let error = world.push(&name(&registry), &image).unwrap_err().to_string();
    assert!(error.contains("is corrupt"), "{error}");
    assert_eq!(registry.tag(REPOSITORY, "v1"), None);
    assert!(registry.count("PUT", "/manifests/") == 0);
}
