//! Downloads that break off: what is asked for again, what is not, and that no file is made of two.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lith::digest::BlobDigest;
use lith::fetch::{FetchError, FetchOptions, Fetched, Fetcher};
use lith::store::gc::{CacheMounts, Scope};
use lith::store::{Store, Unpacking};

use crate::support::Lab;
use crate::support::server::{Reply, Request, Server, reply};

/// Larger than what is not worth keeping.
const SIZE: usize = 3 << 20;
const KEPT: usize = 2 << 20;

const TAG: (&str, &str) = ("ETag", "\"v1\"");

fn body(seed: u8) -> Vec<u8> {
    (0..SIZE).map(|at| (at / 7).to_le_bytes()[0] ^ (at >> 13).to_le_bytes()[0] ^ seed).collect()
}

fn open(dir: &tempfile::TempDir) -> Store {
    Store::open(&dir.path().join("store"), Unpacking::Never).unwrap()
}

fn options(retries: u32) -> FetchOptions {
    FetchOptions {
        retries,
        patience: Duration::from_secs(5),
        longest_wait: Duration::from_millis(1),
        largest: 1 << 24,
        ..FetchOptions::default()
    }
}

fn get(store: &Store, retries: u32, url: &str, checksum: Option<&[u8]>) -> Result<Fetched, FetchError> {
    Fetcher::new(store, &options(retries)).file(url, checksum.map(BlobDigest::of))
}

#[track_caller]
fn holds(store: &Store, fetched: &Fetched, body: &[u8]) {
    assert_eq!((fetched.blob, fetched.size), (BlobDigest::of(body), body.len() as u64));
    assert_eq!(fetched.content.to_string(), format!("blake3:{}", blake3::hash(body).to_hex()));
    assert!(store.read_blob(&fetched.blob, 1 << 24).unwrap() == body);
    assert_eq!(left(store), 0, "nothing is left of it beside the blob");
}

/// How many files there are for parts.
fn left(store: &Store) -> usize {
    lith::sys::dir::list_path(&store.root().join("partial")).unwrap().len()
}

/// Where a request wants the body to begin.
fn start(request: &Request) -> Option<usize> {
    let range = request.header("range")?;
    Some(range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap())
}

/// What a server that knows ranges answers.
fn ranged(request: &Request, body: &[u8], headers: &[(&str, &str)]) -> Reply {
    let tag = headers.iter().find(|(name, _)| *name == "ETag").map(|(_, tag)| *tag);
    match start(request) {
        Some(start) if request.header("if-range").is_none_or(|wanted| Some(wanted) == tag) => {
            let range = format!("bytes {start}-{}/{}", body.len() - 1, body.len());
            let headers = [headers, &[("Content-Range", range.as_str())]].concat();
            reply("206 Partial Content", &headers, &body[start..])
        }
        Some(_) | None => reply("200 OK", headers, body),
    }
}

/// Cuts an answer after so many bytes of its body.
fn cut(answer: Reply, after: usize) -> Reply {
    let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    answer[..answer.len().min(head + after)].to_vec()
}

fn body_of(answer: &[u8]) -> usize {
    answer.len() - answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() - 4
}

#[test]
fn a_download_goes_on_within_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    // Small files go on as large ones do, as long as the run lasts.
    for body in [body(0), body(0)[..5000].to_vec()] {
        let sent = Arc::new(AtomicUsize::new(0));
        let (bytes, count) = (body.clone(), sent.clone());
        let server = Server::start(move |request, _| {
            let answer = cut(ranged(request, &bytes, &[TAG]), bytes.len() / 3 + 1);
            count.fetch_add(body_of(&answer), Ordering::Relaxed);
            answer
        });
        let fetched = get(&store, 3, &server.url("/f"), None).unwrap();
        holds(&store, &fetched, &body);
        assert_eq!(sent.load(Ordering::Relaxed), body.len(), "every byte came once");
        let third = body.len() / 3 + 1;
        let asked: Vec<_> = server
            .seen()
            .iter()
            .map(|request| (start(request), request.header("if-range").map(str::to_owned)))
            .collect();
        let tag = Some(TAG.1.to_owned());
        assert_eq!(asked, [(None, None), (Some(third), tag.clone()), (Some(2 * third), tag)]);
    }
}

#[test]
fn tries_have_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let server = Server::start(|request, _| cut(ranged(request, &body(0), &[TAG]), 10));
    let error = get(&store, 3, &server.url("/f"), None).unwrap_err().to_string();
    assert!(error.contains("broke off after 40 of 3145728 bytes"), "{error}");
    assert_eq!(server.seen().len(), 4);
}

/// What a second run is answered, and what it makes of that: name, the checksum known or not, the answer, and how many
/// requests it takes.
type Second = (&'static str, bool, fn(&Request) -> Reply, usize);

const SECONDS: [Second; 10] = [
    ("the rest", false, |request| ranged(request, &body(0), &[TAG]), 1),
    (
        "the rest of what is pinned, whatever its server calls it",
        true,
        |request| ranged(request, &body(0), &[("ETag", "\"other\"")]),
        1,
    ),
    (
        "the rest in two parts",
        false,
        |request| {
            let (body, start) = (body(0), start(request).unwrap());
            let end = (start + (1 << 19)).min(SIZE);
            let range = format!("bytes {start}-{}/{SIZE}", end - 1);
            reply("206 Partial Content", &[TAG, ("Content-Range", &range)], &body[start..end])
        },
        2,
    ),
    ("all of it", false, |_| reply("200 OK", &[TAG], &body(0)), 1),
    ("another file", false, |request| ranged(request, &body(1), &[("ETag", "\"v2\"")]), 1),
    (
        "a part with another tag",
        false,
        |request| match start(request) {
            // It does not know If-Range.
            Some(start) => {
                let range = format!("bytes {start}-{}/{SIZE}", SIZE - 1);
                reply(
                    "206 Partial Content",
                    &[("ETag", "\"v2\""), ("Content-Range", &range)],
                    &body(1)[start..],
                )
            }
            None => reply("200 OK", &[("ETag", "\"v2\"")], &body(1)),
        },
        2,
    ),
    (
        "a part that begins elsewhere",
        false,
        |request| match start(request) {
            Some(start) => {
                let range = format!("bytes {}-{}/{SIZE}", start + 1, SIZE - 1);
                reply("206 Partial Content", &[TAG, ("Content-Range", &range)], &body(0)[start + 1..])
            }
            None => reply("200 OK", &[TAG], &body(0)),
        },
        2,
    ),
    (
        "a part of something longer",
        false,
        |request| match start(request) {
            Some(start) => {
                let range = format!("bytes {start}-{SIZE}/{}", SIZE + 1);
                reply(
                    "206 Partial Content",
                    &[TAG, ("Content-Range", &range)],
                    &[&body(0)[start..], b"x"].concat(),
                )
            }
            None => reply("200 OK", &[TAG], &body(0)),
        },
        2,
    ),
    (
        "that there is no rest",
        false,
        |request| match start(request) {
            Some(_) => reply("416 Range Not Satisfiable", &[("Content-Range", "bytes */7")], b""),
            None => reply("200 OK", &[TAG], &body(0)),
        },
        2,
    ),
    (
        "several parts",
        true,
        |request| match start(request) {
            Some(_) => {
                reply("206 Partial Content", &[("Content-Type", "multipart/byteranges; boundary=x")], b"--x")
            }
            None => reply("200 OK", &[], &body(0)),
        },
        2,
    ),
];

#[test]
fn the_next_run_goes_on_or_begins_anew() {
    for (name, is_pinned, answer, requests) in SECONDS {
        let dir = tempfile::tempdir().unwrap();
        let is_second = Arc::new(Mutex::new(false));
        let turn = is_second.clone();
        let server = Server::start(move |request, _| match *turn.lock().unwrap() {
            false => cut(ranged(request, &body(0), &[TAG]), KEPT),
            true => answer(request),
        });
        let url = server.url("/f");
        let pinned = body(0);
        let pinned = is_pinned.then_some(pinned.as_slice());
        get(&open(&dir), 0, &url, pinned).unwrap_err();
        *is_second.lock().unwrap() = true;
        let store = open(&dir);
        let fetched = get(&store, 1, &url, pinned).unwrap_or_else(|error| panic!("{name}: {error}"));
        let other = ["another file", "a part with another tag"].contains(&name);
        holds(&store, &fetched, &body(u8::from(other)));
        let seen = server.seen();
        assert_eq!(seen.len(), 1 + requests, "{name}");
        assert_eq!(start(&seen[1]), Some(KEPT), "{name}");
        assert_eq!(seen[1].header("if-range"), (!is_pinned).then_some(TAG.1), "{name}");
    }
}

/// Headers of an answer, and what the next request says that the file must still be.
type Case<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>);

#[test]
fn what_cannot_be_told_apart_is_not_joined() {
    let date = ("Last-Modified", "Tue, 14 Nov 2023 22:13:20 GMT");
    let later = ("Date", "Tue, 14 Nov 2023 22:13:21 GMT");
    let cases: [Case<'_>; 5] = [
        (&[], None),
        (&[("ETag", "W/\"v1\"")], None),
        (&[date], None),
        (&[date, ("Date", date.1)], None),
        (&[date, later], Some(date.1)),
    ];
    for (headers, condition) in cases {
        let dir = tempfile::tempdir().unwrap();
        let owned: Vec<(String, String)> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let server = Server::start(move |_, number| {
            let headers: Vec<_> = owned.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            cut(reply("200 OK", &headers, &body(0)), if number == 1 { KEPT } else { SIZE })
        });
        get(&open(&dir), 0, &server.url("/f"), None).unwrap_err();
        let store = open(&dir);
        holds(&store, &get(&store, 0, &server.url("/f"), None).unwrap(), &body(0));
        assert_eq!(server.seen()[1].header("if-range"), condition, "{headers:?}");
        assert_eq!(server.seen()[1].header("range").is_some(), condition.is_some(), "{headers:?}");
    }
}

/// A rest without end is no rest, even where nobody knows the digest.
#[test]
fn more_than_the_rest_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|request, _| match start(request) {
        None => cut(reply("200 OK", &[TAG], &body(0)), KEPT),
        Some(start) => {
            let rest = [&body(0)[start..], b"more"].concat();
            let mut answer = format!(
                "HTTP/1.1 206 Partial Content\r\nETag: {}\r\nContent-Range: bytes {start}-{}/{SIZE}\r\n\
                 Transfer-Encoding: chunked\r\n\r\n{:x}\r\n",
                TAG.1,
                SIZE - 1,
                rest.len()
            )
            .into_bytes();
            answer.extend(&rest);
            answer.extend(b"\r\n0\r\n\r\n");
            answer
        }
    });
    let error = get(&open(&dir), 1, &server.url("/f"), None).unwrap_err().to_string();
    assert!(error.contains("more than the 3145728 bytes"), "{error}");
}

/// The first server lies and breaks off: the bytes it left do not keep the right ones out.
#[test]
fn a_wrong_beginning_is_thrown_away() {
    let dir = tempfile::tempdir().unwrap();
    let liar = Server::start(|request, _| cut(ranged(request, &body(1), &[]), KEPT));
    get(&open(&dir), 0, &liar.url("/f"), Some(&body(0))).unwrap_err();
    let store = open(&dir);
    let server = Server::start(|request, _| ranged(request, &body(0), &[]));
    // From another URL, since the content has the same name.
    holds(&store, &get(&store, 0, &server.url("/mirror"), Some(&body(0))).unwrap(), &body(0));
    assert_eq!(server.seen().iter().map(start).collect::<Vec<_>>(), [Some(KEPT), None]);
    // A server that lies all the way is told so, and nothing stays.
    let liar = Server::start(|request, _| ranged(request, &body(1), &[]));
    let error = get(&store, 0, &liar.url("/f"), Some(&body(2))).unwrap_err();
    assert!(matches!(error, FetchError::Checksum { .. }), "{error}");
    assert_eq!(left(&store), 0);
}

#[test]
fn bytes_that_rotted_do_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|request, number| {
        cut(ranged(request, &body(0), &[TAG]), if number == 1 { KEPT } else { SIZE })
    });
    get(&open(&dir), 0, &server.url("/f"), None).unwrap_err();
    let store = open(&dir);
    let about = store
        .root()
        .join("partial")
        .join(format!("url-{}.of", blake3::hash(server.url("/f").as_bytes()).to_hex()));
    let text = String::from_utf8(std::fs::read(&about).unwrap()).unwrap();
    std::fs::write(&about, text.replace("v1", "v2")).unwrap();
    holds(&store, &get(&store, 0, &server.url("/f"), None).unwrap(), &body(0));
    assert_eq!(start(&server.seen()[1]), None, "a description that was changed is none");
}

#[test]
fn a_killed_build_goes_on() {
    let lab = Lab::new();
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let held = Mutex::new(Some(held));
    let server = Server::start_streaming(move |request, number, out| {
        let answer = cut(ranged(request, &body(0), &[TAG]), if number == 1 { KEPT } else { SIZE });
        count.fetch_add(body_of(&answer), Ordering::Relaxed);
        out.write_all(&answer).unwrap();
        // The connection stays open until the client was killed.
        if let Some(held) = held.lock().unwrap().take() {
            let _ = held.recv();
        }
    });
    lab.write("ctx/Dockerfile", format!("FROM scratch\nADD {} /f\n", server.url("/f")));
    let part =
        lab.path("store/partial").join(format!("url-{}", blake3::hash(server.url("/f").as_bytes()).to_hex()));
    let mut killed = Command::new(env!("CARGO_BIN_EXE_lith"))
        .args(["--root", lab.path("store").to_str().unwrap(), "build", lab.path("ctx").to_str().unwrap()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while std::fs::metadata(&part).map_or(0, |meta| meta.len()) < KEPT as u64 {
        assert!(killed.try_wait().unwrap().is_none(), "it ended early");
        std::thread::yield_now();
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    drop(hold);
    lab.ok("store", &["build", "ctx"]);
    assert_eq!(server.seen().iter().map(start).collect::<Vec<_>>(), [None, Some(KEPT)]);
    assert_eq!(sent.load(Ordering::Relaxed), SIZE, "every byte came once");
    assert!(!part.exists());
}

/// What every view is told.
#[test]
fn what_comes_is_told() {
    use crate::support::watch::Notes;
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let server = Server::start(|request, number| {
        cut(ranged(request, &body(0), &[TAG]), if number == 1 { KEPT } else { SIZE })
    });
    let mut options = options(1);
    let notes = Notes::watching(&mut options);
    let url = server.url("/f").replace("http://", "http://me:hidden@") + "?token=secret";
    Fetcher::new(&store, &options).file(&url, None).unwrap();
    let told = notes.all();
    assert_eq!(told[0], format!("Fetch {}?…", server.url("/f")), "no password, no token");
    let came: Vec<usize> =
        told.iter().filter_map(|line| line.strip_suffix(&format!("/{SIZE}"))?.parse().ok()).collect();
    assert!(
        came.is_sorted() && came[0] == 0 && came.contains(&KEPT) && came.last() == Some(&SIZE),
        "{came:?}"
    );
    assert_eq!(told.last().unwrap(), "Done");
    Fetcher::new(&store, &options).file(&server.url("/f").replace("http", "ftp"), None).unwrap_err();
    assert_eq!(notes.all().last().unwrap(), "Failed");
}

#[test]
fn views_tell_what_comes() {
    let lab = Lab::new();
    let server = Server::start(|_, _| reply("200 OK", &[TAG], &body(0)));
    let url = server.url("/f");
    lab.write("ctx/Dockerfile", format!("FROM scratch\nADD {url} /f\n"));
    let plain = lab.ok("plain", &["build", "--progress=plain", "ctx"]);
    assert!(plain.err.contains(&format!("fetched {url} 3.14MB in ")), "{}", plain.err);
    let json = lab.ok("json", &["build", "--progress=json", "ctx"]);
    let events: Vec<serde_json::Value> =
        json.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| events.iter().filter(|event| event["event"] == kind).collect::<Vec<_>>();
    assert_eq!(of("fetching")[0]["what"], *url);
    assert_eq!(of("fetching")[0]["total"], SIZE);
    assert_eq!((of("fetched")[0]["bytes"].clone(), of("fetched").len()), (SIZE.into(), 1));
    // A context's URL is fetched before there is a build file.
    let text = Server::start(|_, _| reply("200 OK", &[], b"FROM scratch\nLABEL a=b\n"));
    let context = lab.ok("context", &["build", "--progress=plain", &text.url("/Dockerfile")]);
    assert!(context.err.contains(&format!("fetched {} 23B in ", text.url("/Dockerfile"))), "{}", context.err);
}

#[test]
fn two_at_once_fetch_once() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(&dir));
    let server = Server::start(|request, _| ranged(request, &body(0), &[TAG]));
    std::thread::scope(|scope| {
        for path in ["/a", "/b"] {
            let (dir, server) = (&dir, &server);
            scope.spawn(move || {
                let store = open(dir);
                holds(&store, &get(&store, 0, &server.url(path), Some(&body(0))).unwrap(), &body(0));
            });
        }
    });
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn parts_are_few_and_go_with_the_garbage() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|request, _| cut(ranged(request, &body(0), &[TAG]), 10));
    {
        let store = open(&dir);
        for number in 0..20 {
            get(&store, 0, &server.url(&format!("/{number}")), None).unwrap_err();
        }
        // Each with its description.
        assert_eq!(left(&store), 2 * 16);
    }
    let store = Store::open_alone(&dir.path().join("store"), Unpacking::Never, true).unwrap().unwrap();
    let plan = store.gc_plan(Scope::Garbage, CacheMounts::Keep).unwrap();
    store.sweep(&plan).unwrap();
    assert_eq!(left(&store), 0);
}
