//! Files by URL: what is asked, what is believed, and what never leaves.

use std::io::Write as _;
use std::time::Duration;

use lith::digest::BlobDigest;
use lith::fetch::{FetchError, FetchOptions, Fetched, Fetcher};
use lith::store::{Store, Unpacking};

use crate::support::server::{Reply, Request, Server, reply};

struct World {
    _dir: tempfile::TempDir,
    store: Store,
    options: FetchOptions,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store"), Unpacking::Never).unwrap();
    let options = FetchOptions {
        patience: Duration::from_millis(500),
        longest_wait: Duration::from_millis(1),
        largest: 1 << 20,
        ..FetchOptions::default()
    };
    World { _dir: dir, store, options }
}

impl World {
    fn get(&self, url: &str) -> Result<Fetched, FetchError> {
        Fetcher::new(&self.store, &self.options).file(url, None)
    }

    fn pinned(&self, url: &str, body: &[u8]) -> Result<Fetched, FetchError> {
        Fetcher::new(&self.store, &self.options).file(url, Some(BlobDigest::of(body)))
    }

    #[track_caller]
    fn fails(&self, url: &str) -> String {
        self.get(url).unwrap_err().to_string()
    }
}

fn ok(body: &'static [u8]) -> impl Fn(&Request, usize) -> Reply {
    move |_, _| reply("200 OK", &[], body)
}

#[test]
fn a_pinned_file_is_fetched_once() {
    let (world, server) = (world(), Server::start(ok(b"body")));
    let first = world.pinned(&server.url("/f"), b"body").unwrap();
    assert_eq!((first.blob, first.size), (BlobDigest::of(b"body"), 4));
    assert_eq!(world.store.read_blob(&first.blob, 100).unwrap(), b"body");
    assert_eq!(world.pinned(&server.url("/f"), b"body").unwrap(), first);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_file_that_is_not_pinned_is_asked_about() {
    let world = world();
    let server = Server::start(|request, _| match request.header("if-none-match") {
        Some("\"v1\"") => reply("304 Not Modified", &[], b""),
        Some(_) | None => reply("200 OK", &[("ETag", "\"v1\"")], b"body"),
    });
    let first = world.get(&server.url("/f")).unwrap();
    assert_eq!(world.get(&server.url("/f")).unwrap(), first);
    let dated = Server::start(|request, _| match request.header("if-modified-since") {
        Some("Mon, 01 Jan 2024 00:00:00 GMT") => reply("304 Not Modified", &[], b""),
        Some(_) | None => reply("200 OK", &[("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")], b"body"),
    });
    assert_eq!(world.get(&dated.url("/f")).unwrap(), world.get(&dated.url("/f")).unwrap());
    // A change is seen.
    let changing = Server::start(|_, number| reply("200 OK", &[], if number == 1 { b"one" } else { b"two" }));
    let one = world.get(&changing.url("/f")).unwrap();
    assert_ne!(world.get(&changing.url("/f")).unwrap(), one);
}

#[test]
fn another_file_than_the_pinned_one_is_an_error_and_leaves_nothing() {
    let (world, server) = (world(), Server::start(ok(b"evil")));
    let error = world.pinned(&server.url("/f"), b"good").unwrap_err().to_string();
    assert!(error.contains(&BlobDigest::of(b"evil").to_string()), "{error}");
    assert!(error.contains(&BlobDigest::of(b"good").to_string()), "{error}");
    assert!(!world.store.has_blob(&BlobDigest::of(b"evil")));
}

#[test]
fn a_body_that_is_cut_is_no_file() {
    let world = world();
    let server = Server::start(|_, _| b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".to_vec());
    assert!(world.get(&server.url("/f")).is_err());
    let server =
        Server::start(|_, _| b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n".to_vec());
    assert!(world.get(&server.url("/f")).is_err());
    assert!(!world.store.has_blob(&BlobDigest::of(b"short")));
}

#[test]
fn a_file_beyond_the_limit_is_refused() {
    let world = world();
    let body = vec![b'x'; (1 << 20) + 1];
    let server = Server::start(move |_, _| reply("200 OK", &[], &body));
    assert!(world.fails(&server.url("/f")).contains("larger than the limit of 1048576 bytes"));
}

#[test]
fn a_busy_server_is_asked_again_and_a_firm_answer_is_taken() {
    let world = world();
    let busy = Server::start(|_, number| match number {
        1 => reply("429 Too Many Requests", &[("Retry-After", "1")], b""),
        2 => reply("503 Service Unavailable", &[], b""),
        _ => reply("200 OK", &[], b"body"),
    });
    world.get(&busy.url("/f")).unwrap();
    assert_eq!(busy.seen().len(), 3);
    let never = Server::start(|_, _| reply("502 Bad Gateway", &[], b""));
    assert!(world.fails(&never.url("/f")).contains("answered 502"));
    assert_eq!(never.seen().len(), 4);
    let gone = Server::start(|_, _| reply("404 Not Found", &[], b""));
    assert!(world.fails(&gone.url("/f")).contains("answered 404"));
    assert_eq!(gone.seen().len(), 1);
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for_long() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/f", listener.local_addr().unwrap());
    let mut world = world();
    world.options.retries = 0;
    world.options.patience = Duration::from_millis(50);
    assert!(world.fails(&url).contains("timeout"), "{}", world.fails(&url));
    // Nobody listens: said with the URL.
    drop(listener);
    assert!(world.fails(&url).starts_with(&url), "{}", world.fails(&url));
}

#[test]
fn redirects_are_followed_within_bounds() {
    let world = world();
    let server = Server::start(|request, _| match request.path.as_str() {
        "/a" => reply("302 Found", &[("Location", "b")], b""),
        "/b" => reply("301 Moved Permanently", &[("Location", "/c?x=1")], b""),
        "/c?x=1" => reply("200 OK", &[], b"there"),
        "/file" => reply("302 Found", &[("Location", "file:///etc/passwd")], b""),
        "/bad" => reply("302 Found", &[("Location", "http://")], b""),
        "/nowhere" => reply("302 Found", &[], b""),
        _ => reply("302 Found", &[("Location", "/loop")], b""),
    });
    assert_eq!(world.get(&server.url("/a")).unwrap().size, 5);
    assert!(world.fails(&server.url("/loop")).contains("redirects more than 10 times"));
    assert!(world.fails(&server.url("/file")).contains("another kind"));
    assert!(world.get(&server.url("/bad")).is_err());
    assert!(world.fails(&server.url("/nowhere")).contains("answered 302"));
}

#[test]
fn credentials_go_to_their_host_alone_and_show_nowhere() {
    let world = world();
    let other = Server::start(ok(b"other"));
    let to_other = other.url("/x");
    let server = Server::start(move |request, _| match request.path.as_str() {
        "/away" => reply("302 Found", &[("Location", &to_other)], b""),
        "/here" => reply("302 Found", &[("Location", "/there")], b""),
        "/there" => reply("200 OK", &[], b"there"),
        _ => reply("403 Forbidden", &[], b""),
    });
    let with = |path: &str| server.url(path).replace("http://", "http://me:pass%20word@");
    world.get(&with("/here")).unwrap();
    let expected = Some("Basic bWU6cGFzcyB3b3Jk");
    assert!(server.seen().iter().all(|request| request.header("authorization") == expected));
    world.get(&with("/away")).unwrap();
    assert_eq!(other.seen()[0].header("authorization"), None);
    let error = world.fails(&with("/no?token=hidden"));
    assert!(!error.contains("pass") && !error.contains("hidden") && error.contains("403"), "{error}");
}

#[test]
fn what_is_no_url_says_so() {
    let world = world();
    assert!(world.fails("http://[::1/x").contains("is not a URL"));
}

/// R12: a byte now and then keeps nobody waiting for ever.
#[test]
fn a_server_that_drips_is_left() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/f", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        // Until the other side has had enough.
        while stream.write_all(b".").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    assert!(world().fails(&url).contains("next to nothing"));
    server.join().unwrap();
}

/// R4, R5: a server whom nobody vouches for is refused, and encryption is never left.
#[test]
fn who_is_believed_over_tls() {
    let mut world = world();
    let (server, certificate) = Server::start_tls(ok(b"body"));
    let error = world.fails(&server.url("/f"));
    assert!(error.contains(&server.url("/f")) && error.contains("ertificate"), "{error}");
    assert_eq!(server.seen().len(), 0, "nothing was asked of it");
    world.options.roots = certificate.into_bytes();
    assert_eq!(world.get(&server.url("/f")).unwrap().size, 4);

    let plain = Server::start(ok(b"plain"));
    let to = plain.url("/x");
    let (away, certificate) = Server::start_tls(move |_, _| reply("302 Found", &[("Location", &to)], b""));
    world.options.roots = certificate.into_bytes();
    assert!(world.fails(&away.url("/f")).contains("which is not encrypted"));
    assert_eq!(plain.seen().len(), 0);
}
