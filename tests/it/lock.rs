//! `lith lock`, and builds that go by a lock.

#![expect(clippy::unwrap_used, reason = "a test: a panic is its failure")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lith::digest::BlobDigest;
use serde_json::Value;

use crate::support::git::Repos;
use crate::support::server::{Server, reply};
use crate::support::{Lab, Ran, children};

/// A laboratory, a server whose `/f` gives what the text says at the moment, and a repository `app`.
struct World {
    lab: Lab,
    text: Arc<Mutex<&'static str>>,
    repos: Repos,
    server: Server,
}

impl World {
    fn new() -> Self {
        let (lab, repos, text) = (Lab::new(), Repos::new(), Arc::new(Mutex::new("one\n")));
        repos.init("app");
        repos.write("app/a.txt", "a", 0o644);
        repos.commit("app");
        let now = text.clone();
        let server = repos.serve(move |request| {
            let body = *now.lock().unwrap();
            (request.path == "/f").then(|| reply("200 OK", &[], body.as_bytes()))
        });
        tar(&lab, "store", "base", "1");
        Self { lab, text, repos, server }
    }

    /// The Dockerfile: an image, a file and a repository, none of them pinned.
    fn file(&self) {
        let (url, repo) = (self.server.url("/f"), self.server.url("/app.git"));
        self.lab.write(
            "ctx/Dockerfile",
            format!("FROM base AS unused\nFROM base\nADD {url} /f\nADD {repo}#main /app\n"),
        );
    }

    fn build(&self, store: &str, more: &[&str]) -> Ran {
        let out = format!("type=local,dest={}", self.lab.path("out").display());
        let _ = fs::remove_dir_all(self.lab.path("out"));
        self.lab.run(store, &[&["build", "-o", &out], more, &["ctx"]].concat())
    }

    #[track_caller]
    fn gives(&self, store: &str, more: &[&str], file: &str, text: &str) {
        let ran = self.build(store, more);
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert_eq!(fs::read_to_string(self.lab.path("out").join(file)).unwrap(), text);
    }

    fn lock(&self) -> String {
        fs::read_to_string(self.lab.path("ctx/lith.lock")).unwrap()
    }
}

/// Makes an image of one file.
#[track_caller]
fn tar(lab: &Lab, store: &str, name: &str, text: &str) {
    lab.write("root/version", text);
    let made = std::process::Command::new("tar")
        .args(["--mtime=@1", "--owner=0", "--group=0", "--numeric-owner", "-cf"])
        .arg(lab.path("root.tar"))
        .arg("-C")
        .arg(lab.path("root"))
        .arg(".")
        .status();
    assert!(made.unwrap().success());
    lab.ok(store, &["import", lab.path("root.tar").to_str().unwrap(), name]);
}

#[track_caller]
fn fails(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, code, "{}", ran.err);
    for word in words {
        assert!(ran.err.contains(word), "{word} is not in: {}", ran.err);
    }
}

#[test]
fn the_first_build_of_a_kdl_file_writes_its_lock() {
    let world = World::new();
    let (url, repo) = (world.server.url("/f"), world.server.url("/app.git"));
    let image = |more: &str| {
        let steps = format!("base \"base\"; fetch \"{url}\" to=\"/f\"; copy \".\" to=\"/ctx/\"; {more}");
        world.lab.write("ctx/image.kdl", format!("image \"x\" {{ {steps} }}\n"));
    };
    image("");
    let first = world.build("store", &["--progress=json"]);
    assert_eq!(first.code, 0, "{}", first.err);
    let note = first.out.lines().find(|line| line.contains("\"note\"")).unwrap();
    assert!(note.contains("ctx/lith.lock: 2 pins"), "{note}");
    let lock = world.lock();
    assert!(lock.contains("image \"base\"") && lock.contains(&BlobDigest::of(b"one\n").hex()), "{lock}");
    assert!(world.lab.path("out/ctx/lith.lock").exists(), "it was there before the context was read");

    *world.text.lock().unwrap() = "two\n";
    tar(&world.lab, "store", "base", "2");
    let again = world.build("store", &["--progress=plain"]);
    assert_eq!(again.code, 0, "{}", again.err);
    assert!(!again.err.contains("pins") && !again.err.contains("BUILT"), "{}", again.err);
    world.gives("store", &["--locked"], "f", "one\n");
    world.gives("store", &[], "version", "1");

    // What is new is added, and what is there stays.
    image(&format!("fetch \"{repo}#main\" to=\"/app\""));
    fails(&world.build("store", &["--locked"]), 2, &["has no pin in", "lith lock"]);
    assert_eq!(world.lock(), lock);
    world.lab.ok("store", &["plan", "ctx"]);
    assert_eq!(world.lock(), lock, "a plan writes nothing");
    world.gives("store", &[], "f", "one\n");
    let added = world.lock();
    assert_eq!(added.lines().filter(|line| !lock.contains(line)).count(), 1, "{added}");
    assert!(added.contains(&format!("git \"{repo}#main\"")), "{added}");

    // A lock that cannot be written does not stop a build.
    fs::remove_file(world.lab.path("ctx/lith.lock")).unwrap();
    let ran = world.lab.command("store", &["build", "ctx"]);
    let ran = Ran::of(read_only(&world.lab.path("ctx"), ran).output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("warning: what was taken is not pinned"), "{}", ran.err);
    assert!(!world.lab.path("ctx/lith.lock").exists());
}

/// The same command where a directory cannot be written.
fn read_only(dir: &Path, command: std::process::Command) -> std::process::Command {
    let mut inside = std::process::Command::new("unshare");
    let script = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec \"$@\"";
    inside.args(["-rm", "sh", "-c", script]).arg(dir);
    inside.arg(command.get_program()).args(command.get_args());
    inside.current_dir(command.get_current_dir().unwrap_or(Path::new(".")));
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => inside.env(name, value),
            None => inside.env_remove(name),
        };
    }
    inside
}

#[test]
fn a_lock_holds_a_build_where_it_was() {
    let world = World::new();
    world.file();
    let ran = world.lab.ok("store", &["lock", "ctx"]);
    assert_eq!(ran.out.lines().filter(|line| line.starts_with("+ ")).count(), 3, "{}", ran.out);
    let lock = world.lock();
    let kinds: Vec<&str> = lock.lines().skip(2).map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(kinds, ["git", "image", "url"], "{lock}");
    assert!(lock.contains(&BlobDigest::of(b"one\n").hex()) && lock.contains(" size=4\n"), "{lock}");
    assert_eq!(world.lab.ok("store", &["lock", "ctx"]).out, "", "nothing is asked that is pinned");
    assert_eq!(world.lab.ok("store", &["lock", "--check", "ctx"]).out, "");

    // Everything moves, and the build does not.
    *world.text.lock().unwrap() = "two\n";
    world.repos.write("app/a.txt", "b", 0o644);
    world.repos.commit("app");
    tar(&world.lab, "store", "base", "2");
    let asked = world.server.seen().len();
    for more in [&[][..], &["--locked"], &["--locked", "--offline"], &["--locked", "--hermetic"]] {
        world.gives("store", more, "f", "one\n");
        world.gives("store", more, "app/a.txt", "a");
        world.gives("store", more, "version", "1");
    }
    assert_eq!(world.server.seen().len(), asked, "what is pinned and here is asked for nowhere");
    assert_eq!(world.lock(), lock, "no build writes a lock");

    // Renewed one by one, then all.
    let ran = world.lab.ok("store", &["lock", "--update=base", "ctx"]);
    assert_eq!(ran.out.lines().count(), 2, "{}", ran.out);
    world.gives("store", &["--locked"], "version", "2");
    world.gives("store", &["--locked"], "f", "one\n");
    world.lab.ok("store", &["lock", "--update", "ctx"]);
    world.gives("store", &["--locked"], "f", "two\n");
    world.gives("store", &["--locked"], "app/a.txt", "b");
}

#[test]
fn what_comes_otherwise_than_pinned_is_an_error_that_names_the_lock() {
    let world = World::new();
    world.file();
    world.lab.ok("store", &["lock", "ctx"]);
    *world.text.lock().unwrap() = "two\n";
    tar(&world.lab, "other", "base", "1");
    let url = world.server.url("/f");
    fails(&world.build("other", &[]), 1, &["as it is pinned", "ctx/lith.lock", &format!("--update='{url}'")]);
    // A manifest that is not here.
    tar(&world.lab, "third", "base", "2");
    fails(
        &world.build("third", &["--pull=never"]),
        2,
        &["Dockerfile:2", "not in the store", "--update=base"],
    );
    // A commit whose tree is another.
    let lock = world.lock();
    let at = lock.find("tree=\"").unwrap() + 6;
    let forged = format!("{}{}{}", &lock[..at], "0".repeat(40), &lock[at + 40..]);
    world.lab.write("ctx/lith.lock", forged);
    fails(&world.build("store", &[]), 1, &["has the tree", "lith.lock"]);
    // A merge that nobody finished; what the error says helps.
    world.lab.write("ctx/lith.lock", "lock 1\n<<<<<<< ours\n");
    let ran = world.lab.run("store", &["lock", "ctx"]);
    fails(&ran, 2, &["ctx/lith.lock:2:1", "nobody finished", "`lith lock --update` writes this file anew"]);
    world.lab.ok("store", &["lock", "--update", "ctx"]);
    world.gives("store", &["--locked"], "f", "two\n");
    // A hand that slipped.
    world.lab.write("ctx/lith.lock", lock.replace(" size=4", "  size=4"));
    fails(&world.build("store", &[]), 2, &["ctx/lith.lock:5:1", "not as lith writes it", "expected url"]);
}

#[test]
fn a_locked_build_takes_nothing_without_a_pin_and_names_all_of_it() {
    let world = World::new();
    world.file();
    fails(&world.build("store", &["--locked"]), 2, &["there is no", "lith.lock", "`lith lock`"]);
    world.lab.write("ctx/lith.lock", "lock 1\n");
    let url = world.server.url("/f");
    fails(
        &world.build("store", &["--locked"]),
        2,
        &[
            "Dockerfile:2:6: error: base for linux/",
            &format!("Dockerfile:3:1: error: {url} has no pin"),
            ".git#main has no pin",
        ],
    );
    let ran = world.lab.run("store", &["lock", "--check", "ctx"]);
    fails(&ran, 1, &["out of date"]);
    assert_eq!(world.lock(), "lock 1\n");
    // What the file pins itself needs none.
    let sum = BlobDigest::of(b"one\n");
    world.lab.write("ctx/Dockerfile", format!("FROM scratch\nADD --checksum={sum} {url} /f\n"));
    world.gives("store", &["--locked"], "f", "one\n");
    assert_eq!(world.lab.ok("store", &["lock", "ctx"]).out, "");
}

/// What a URL was between has no say: the pinned file is in the store.
#[test]
fn a_pinned_file_is_found_whatever_its_url_gave_since() {
    let world = World::new();
    world.file();
    world.lab.ok("store", &["lock", "ctx"]);
    let lock = world.lock();
    fs::remove_file(world.lab.path("ctx/lith.lock")).unwrap();
    *world.text.lock().unwrap() = "two\n";
    world.gives("store", &[], "f", "two\n");
    world.lab.write("ctx/lith.lock", &lock);
    world.gives("store", &["--locked", "--offline"], "f", "one\n");
    world.lab.write("ctx/lith.lock", lock.replace(" size=4", " size=5"));
    fails(&world.build("store", &["--locked"]), 1, &["4 bytes, not 5", "renew the pin"]);
}

#[test]
fn what_is_asked_for_must_be_there_and_make_sense() {
    let world = World::new();
    world.file();
    fails(&world.build("store", &["--lock-file", "lith.lokc"]), 2, &["--lock-file: there is no lith.lokc"]);
    fails(&world.lab.run("store", &["lock", "--update=", "ctx"]), 2, &["has no such name"]);
    fails(&world.build("store", &["--vendored", "nowhere"]), 2, &["--vendored", "nowhere"]);
    world.lab.write("ctx/Dockerfile", "FROM scratch\nCOPY --from=lib a.txt /\n");
    let lib = format!("lib={}", world.server.url("/app.git#main"));
    fails(&world.build("store", &["--hermetic", "--build-context", &lib]), 1, &["is not pinned"]);
    world.lab.ok("store", &["lock", "--build-context", &lib, "ctx"]);
    world.gives("store", &["--hermetic", "--locked", "--build-context", &lib], "a.txt", "a");
}

/// A lock is read, asked for and written by one at a time, and a link to one stays a link.
#[test]
fn locks_are_written_one_after_the_other() {
    let world = World::new();
    world.file();
    world.lab.write("elsewhere/real.lock", "lock 1\n");
    std::os::unix::fs::symlink("../elsewhere/real.lock", world.lab.path("ctx/lith.lock")).unwrap();
    world.lab.ok("store", &["lock", "ctx"]);
    assert!(world.lab.path("ctx/lith.lock").is_symlink());
    *world.text.lock().unwrap() = "two\n";
    world.repos.write("app/a.txt", "b", 0o644);
    world.repos.commit("app");
    tar(&world.lab, "store", "base", "2");
    let names = ["base".to_owned(), world.server.url("/f"), format!("{}#main", world.server.url("/app.git"))];
    std::thread::scope(|scope| {
        for name in &names {
            let lab = &world.lab;
            scope.spawn(move || lab.ok("store", &["lock", &format!("--update={name}"), "ctx"]));
        }
    });
    world.gives("store", &["--locked"], "f", "two\n");
    world.gives("store", &["--locked"], "app/a.txt", "b");
    world.gives("store", &["--locked"], "version", "2");
}

#[test]
fn offline_the_store_must_do() {
    let world = World::new();
    world.file();
    fails(&world.build("store", &["--offline"]), 1, &["is not in the store"]);
    assert_eq!(world.server.seen().len(), 0);
    // Without a lock a file, or a branch, is what it was last.
    world.lab.write("ctx/Dockerfile", format!("FROM scratch\nADD {} /f\n", world.server.url("/f")));
    world.gives("store", &[], "f", "one\n");
    *world.text.lock().unwrap() = "two\n";
    let asked = world.server.seen().len();
    world.gives("store", &["--offline"], "f", "one\n");
    assert_eq!(world.server.seen().len(), asked);
    world.file();
    fails(&world.build("store", &["--offline"]), 1, &["app.git#main is not in the store"]);
    world.gives("store", &[], "app/a.txt", "a");
    world.repos.write("app/a.txt", "b", 0o644);
    world.repos.commit("app");
    world.gives("store", &["--offline"], "app/a.txt", "a");
    world.gives("store", &[], "app/a.txt", "b");
}

#[test]
fn each_file_has_its_lock_and_names_are_guessed() {
    let world = World::new();
    world.lab.write("ctx/other.Dockerfile", "FROM base\n");
    world.lab.ok("store", &["lock", "-f", "ctx/other.Dockerfile", "ctx"]);
    assert!(
        world.lab.path("ctx/other.Dockerfile.lock").exists() && !world.lab.path("ctx/lith.lock").exists()
    );
    let ran = world.lab.run("store", &["lock", "-f", "ctx/other.Dockerfile", "--update=bas", "ctx"]);
    fails(&ran, 2, &["has no such name", "did you mean base?"]);
    // Pins stay, for another platform too, until somebody wants them gone.
    world.lab.ok("store", &["lock", "-f", "ctx/other.Dockerfile", "--platform=linux/riscv64", "ctx"]);
    let lock = || fs::read_to_string(world.lab.path("ctx/other.Dockerfile.lock")).unwrap();
    assert_eq!(lock().lines().filter(|line| line.starts_with("image \"base\"")).count(), 2, "{}", lock());
    world.lab.write("ctx/other.Dockerfile", "FROM scratch\nCOPY other.Dockerfile /\n");
    world.lab.ok("store", &["lock", "-f", "ctx/other.Dockerfile", "ctx"]);
    assert_eq!(lock().lines().count(), 4);
    world.lab.ok("store", &["lock", "--prune", "-f", "ctx/other.Dockerfile", "ctx"]);
    assert_eq!(lock().lines().count(), 2);
    let elsewhere = world.lab.path("my.lock");
    world.lab.ok(
        "store",
        &["lock", "--lock-file", elsewhere.to_str().unwrap(), "-f", "ctx/other.Dockerfile", "ctx"],
    );
    assert!(elsewhere.exists());
}

#[test]
fn credentials_are_in_no_lock() {
    let world = World::new();
    let url = world.server.url("/f").replace("http://", "http://me:word@");
    let repo = world.server.url("/app.git").replace("http://", "http://me:word@");
    world.lab.write("ctx/Dockerfile", format!("FROM scratch\nADD {url} /f\nADD {repo} /app\n"));
    world.lab.ok("store", &["lock", "ctx"]);
    assert_eq!(world.lock().lines().count(), 4, "{}", world.lock());
    assert!(!world.lock().contains("word") && !world.lock().contains("me:"), "{}", world.lock());
    world.gives("store", &["--locked"], "f", "one\n");
}

/// Everything below a directory that is a file.
fn files(dir: &Path) -> Vec<PathBuf> {
    let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    children(dir).into_iter().flat_map(below).collect()
}

#[test]
fn a_vendored_directory_is_all_that_a_build_needs() {
    let world = World::new();
    world.repos.init("inner");
    world.repos.write("inner/deep.txt", "deep", 0o644);
    world.repos.commit("inner");
    let inner = world.server.url("/inner.git");
    world.repos.git("app", &["-c", "protocol.allow=always", "submodule", "--quiet", "add", &inner, "sub"]);
    world.repos.commit("app");
    world.file();
    let ran = world.lab.run("store", &["vendor", "vendored", "ctx"]);
    fails(&ran, 2, &["base for linux/", "/f has no pin", "#main has no pin"]);
    assert!(!world.lab.path("vendored").exists(), "nothing is written for what is not pinned");
    world.lab.ok("store", &["lock", "ctx"]);
    let ran = world.lab.ok("store", &["vendor", "vendored", "ctx"]);
    assert_eq!(ran.out, "vendored: 1 images, 1 files, 2 commits\n");
    let written = files(&world.lab.path("vendored"));
    let first: Vec<Vec<u8>> = written.iter().map(|path| fs::read(path).unwrap()).collect();
    world.lab.ok("store", &["vendor", "vendored", "ctx"]);
    let again: Vec<Vec<u8>> = written.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(first == again && files(&world.lab.path("vendored")) == written, "{written:?}");

    // Nobody is asked any more.
    let asked = world.server.seen().len();
    let more = ["--locked", "--offline", "--vendored", "vendored"];
    fails(&world.build("fresh", &more[..2]), 2, &["not in the store"]);
    world.gives("fresh", &more, "f", "one\n");
    world.gives("fresh", &more, "app/sub/deep.txt", "deep");
    world.gives("fresh", &more, "version", "1");
    world.gives("fresh", &more[..2], "app/a.txt", "a");
    fails(&world.build("fresh", &["--vendored", "ctx"]), 2, &["--vendored", "lith-vendor", "`lith vendor`"]);

    // One flipped bit anywhere, or a file cut short, is found and named.
    for (number, path) in written.iter().enumerate() {
        let bytes = fs::read(path).unwrap();
        for (kind, damaged) in [("flip", flipped(&bytes)), ("cut", bytes[..bytes.len() / 2].to_vec())] {
            fs::write(path, &damaged).unwrap();
            let ran = world.build(&format!("{kind}{number}"), &more);
            assert_ne!(ran.code, 0, "{kind} {} is not found", path.display());
            let name = path.file_name().unwrap().to_str().unwrap();
            let named = ran.err.contains(name)
                || (path.ends_with("index.json") && ran.err.contains("vendored/images"));
            assert!(named, "{kind} {} is not named: {}", path.display(), ran.err);
        }
        fs::write(path, bytes).unwrap();
        world.gives(&format!("cut{number}"), &more, "f", "one\n");
    }
    assert_eq!(world.server.seen().len(), asked);
    // What is no file, or without end, is not read.
    let file = world.lab.path("vendored/files").join(BlobDigest::of(b"one\n").hex());
    fs::remove_file(&file).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &file, rustix::fs::Mode::RUSR).unwrap();
    fails(&world.build("odd", &more), 1, &["not a regular file"]);
}

/// A vendored directory may come with a source tree: no symlink in it leads a build, or what is written, elsewhere.
#[test]
fn a_vendored_directory_leads_nowhere_else() {
    let world = World::new();
    world.file();
    world.lab.ok("store", &["lock", "ctx"]);
    let vendor = || world.lab.run("store", &["vendor", "vendored", "ctx"]);
    let build = |store: &str| world.build(store, &["--locked", "--offline", "--vendored", "vendored"]);
    let dir = world.lab.path("vendored");
    let elsewhere = world.lab.path("elsewhere");
    assert_eq!(vendor().code, 0);
    let index = fs::read_to_string(dir.join("images/index.json")).unwrap();
    let hex = BlobDigest::of(b"one\n").hex();
    let pack = files(&dir.join("git"))[0].strip_prefix(&dir).unwrap().display().to_string();
    let blobs = files(&dir.join("images/blobs/sha256"));
    let blob = blobs[0].strip_prefix(&dir).unwrap().display().to_string();
    let parts = ["files", "git", "images", "images/blobs", "images/blobs/sha256"];
    let single =
        [format!("files/{hex}"), pack, "images/index.json".to_owned(), blob, "lith-vendor".to_owned()];
    for (number, part) in parts.into_iter().chain(single.iter().map(String::as_str)).enumerate() {
        // The same bytes, behind a symlink that leads out.
        fs::rename(dir.join(part), &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, dir.join(part)).unwrap();
        let before = if elsewhere.is_dir() { files(&elsewhere) } else { vec![elsewhere.clone()] };
        let bytes = || before.iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
        let old = bytes();
        let ran = build(&format!("through{number}"));
        assert_ne!(ran.code, 0, "{part} is read through a symlink");
        let ran = vendor();
        // A file that is to be written takes the symlink's place; a directory is never written through one.
        let is_replaced = part.starts_with("files/")
            || part.starts_with("git/")
            || part.starts_with("images/blobs/sha256/");
        assert_eq!(ran.code == 0, is_replaced, "{part}: {}", ran.err);
        assert!(is_replaced || ran.err.contains("symlink"), "{part}: {}", ran.err);
        assert_eq!(bytes(), old, "{part}: nothing changes elsewhere");
        assert!(!elsewhere.is_dir() || files(&elsewhere) == before, "{part}: nothing is written elsewhere");
        fs::remove_file(dir.join(part)).unwrap();
        fs::rename(&elsewhere, dir.join(part)).unwrap();
    }
    assert_eq!(fs::read_to_string(dir.join("images/index.json")).unwrap(), index);
    assert_eq!(build("whole").code, 0);
    // The name itself is the user's.
    fs::rename(&dir, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &dir).unwrap();
    assert_eq!((vendor().code, build("named").code), (0, 0));
}

/// The bytes with one bit of the middle one changed.
fn flipped(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bytes
}

/// What docker pushed has types of its own, and its digest with them.
#[test]
fn an_image_with_dockers_types_is_vendored_as_it_is() {
    let world = World::new();
    let lab = &world.lab;
    lab.write("ctx/Dockerfile", "FROM base\n");
    lab.ok(
        "store",
        &["build", "-o", "type=oci,tar=false,dest=layout,compression=gzip,force-compression=true", "ctx"],
    );
    let read = |path: &str| fs::read_to_string(lab.path("layout").join(path)).unwrap();
    let blob = |digest: &str| format!("blobs/sha256/{}", digest.strip_prefix("sha256:").unwrap());
    let mut index: Value = serde_json::from_str(&read("index.json")).unwrap();
    let old = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
    let manifest = read(&blob(&old))
        .replace("vnd.oci.image.manifest.v1+json", "vnd.docker.distribution.manifest.v2+json")
        .replace("vnd.oci.image.config.v1+json", "vnd.docker.container.image.v1+json")
        .replace("vnd.oci.image.layer.v1.tar+gzip", "vnd.docker.image.rootfs.diff.tar.gzip");
    let digest = BlobDigest::of(manifest.as_bytes()).to_string();
    lab.write(&format!("layout/{}", blob(&digest)), &manifest);
    index["manifests"][0]["digest"] = digest.clone().into();
    index["manifests"][0]["size"] = manifest.len().into();
    index["manifests"][0]["mediaType"] = "application/vnd.docker.distribution.manifest.v2+json".into();
    lab.write("layout/index.json", index.to_string());
    lab.write("ctx/Dockerfile", "FROM oci-layout:layout\n");
    lab.ok("store", &["lock", "ctx"]);
    assert!(world.lock().contains(&digest), "{}", world.lock());
    lab.ok("store", &["vendor", "vendored", "ctx"]);
    fs::remove_dir_all(lab.path("layout")).unwrap();
    world.gives("fresh", &["--locked", "--offline", "--vendored", "vendored"], "version", "1");
}
