//! ADD of files by URL, in whole builds.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use lith::digest::BlobDigest;

use crate::support::server::{Server, reply};
use crate::support::{Built, Lab, kernel_lab};

#[track_caller]
fn build(lab: &Lab, body: &str, more: &[&str]) -> Built {
    let _ = fs::remove_dir_all(lab.path("out"));
    lab.write("ctx/Dockerfile", format!("FROM scratch\n{body}\n"));
    let out = format!("type=local,dest={}", lab.path("out").display());
    lab.build("store", "ctx", &[&["-o", &out], more].concat())
}

#[test]
fn a_file_by_url_is_added() {
    let Some(lab) = kernel_lab() else { return };
    let server = Server::start(|request, number| match request.path.as_str() {
        "/changing" => reply("200 OK", &[], number.to_string().as_bytes()),
        "/gone" => reply("404 Not Found", &[], b""),
        _ => reply("200 OK", &[("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")], b"body\n"),
    });
    let url = |path: &str| server.url(path);
    build(&lab, &format!("ADD {} {} /d/", url("/file.txt"), url("/")), &[]);
    assert_eq!(fs::read_to_string(lab.path("out/d/file.txt")).unwrap(), "body\n");
    assert_eq!(fs::metadata(lab.path("out/d/file.txt")).unwrap().mode() & 0o7777, 0o600);
    assert!(lab.path("out/d/__unnamed__").exists());
    build(&lab, &format!("ADD --chmod=755 {} /bin/tool", url("/file.txt")), &[]);
    assert_eq!(fs::metadata(lab.path("out/bin/tool")).unwrap().mode() & 0o7777, 0o755);

    // Pinned: nobody is asked again, not even for another destination.
    let sum = BlobDigest::of(b"body\n");
    let pinned = format!("ADD --checksum={sum} {} /p", url("/pinned"));
    build(&lab, &pinned, &["--hermetic"]);
    let asked = server.seen().len();
    assert_eq!(build(&lab, &pinned, &["--hermetic"]).status(&pinned), "hit");
    build(&lab, &pinned.replace(" /p", " /q"), &[]);
    assert_eq!(server.seen().len(), asked);
    lab.ok("store", &["gc"]);
    build(&lab, &pinned.replace(" /p", " /r"), &[]);
    assert_eq!(server.seen().len(), asked, "gc leaves downloads alone");

    // Not pinned: a change is seen.
    let step = format!("ADD {} /c", url("/changing"));
    build(&lab, &step, &[]);
    assert_eq!(build(&lab, &step, &[]).status(&step), "built");

    let context = lab.path("ctx");
    for (body, more, wanted) in [
        (format!("ADD {} /c", url("/changing")), &["--hermetic"][..], "is not pinned"),
        (format!("ADD {} /c", url("/gone")), &[], "answered 404"),
        (format!("ADD --checksum={} {} /c", BlobDigest::of(b"x"), url("/other")), &[], "as it is pinned"),
    ] {
        lab.write("ctx/Dockerfile", format!("FROM scratch\n{body}\n"));
        let ran = lab.run("store", &[&["build"], more, &[context.to_str().unwrap()]].concat());
        assert!(ran.code == 1 && ran.err.contains(wanted) && ran.err.contains("Dockerfile:2"), "{}", ran.err);
    }
}

#[test]
fn a_fetched_archive_is_unpacked_only_if_asked() {
    let Some(lab) = kernel_lab() else { return };
    lab.write("a/one", "1");
    let tar =
        std::process::Command::new("tar").args(["-C"]).arg(lab.path("a")).args(["-czf", "-", "one"]).output();
    let tar = tar.unwrap().stdout;
    let server = Server::start(move |_, _| reply("200 OK", &[], &tar));
    lab.write("ctx/local", "l");
    build(&lab, &format!("ADD {} local /d/", server.url("/a.tgz")), &[]);
    assert!(lab.path("out/d/a.tgz").is_file() && lab.path("out/d/local").is_file());
    build(&lab, &format!("ADD --unpack=true {} /d/", server.url("/a.tgz")), &[]);
    assert_eq!(fs::read_to_string(lab.path("out/d/one")).unwrap(), "1");
}
