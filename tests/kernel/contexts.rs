//! Builds from contexts of every kind, and ADD of repositories.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::process::Command;

use crate::support::git::{COMMIT_TIME, Repos};
use crate::support::server::{Server, reply};
use crate::support::{Built, Lab, Ran, kernel_lab};

const DOCKERFILE: &str = "FROM scratch\nCOPY . /d/\nCOPY sub/*.sh /s/\n";

/// A context directory with something of everything.
fn fill(lab: &Lab, name: &str) {
    lab.write(&format!("{name}/Dockerfile"), DOCKERFILE);
    lab.write(&format!("{name}/a.txt"), "a");
    lab.write(&format!("{name}/sub/run.sh"), "run");
    fs::set_permissions(
        lab.path(&format!("{name}/sub/run.sh")),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    symlink("sub/run.sh", lab.path(&format!("{name}/link"))).unwrap();
}

fn tar(lab: &Lab, dir: &str, more: &[&str]) -> Vec<u8> {
    let mut command = Command::new("tar");
    command.arg("-C").arg(lab.path(dir)).args(["--owner=7", "--group=7", "-cf", "-"]).args(more).arg(".");
    command.output().unwrap().stdout
}

#[track_caller]
fn built(ran: &Ran) -> Built {
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    Built::of(&ran.out)
}

const BUILD: [&str; 2] = ["build", "--progress=json"];

/// Names, kinds, modes, owners and contents below a directory.
fn walk(dir: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
    #[expect(clippy::disallowed_methods, reason = "a test may list a directory; the map sorts")]
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        let meta = fs::symlink_metadata(entry.path()).unwrap();
        let what = match () {
            () if meta.is_symlink() => fs::read_link(entry.path()).unwrap().display().to_string(),
            () if meta.is_dir() => "/".to_owned(),
            () => fs::read_to_string(entry.path()).unwrap(),
        };
        found
            .insert(name.clone(), format!("{:o} {}:{} {what}", meta.mode() & 0o7777, meta.uid(), meta.gid()));
        if meta.is_dir() {
            walk(&entry.path(), &format!("{name}/"), found);
        }
    }
}

/// What a build puts below `/d`.
#[track_caller]
fn added(lab: &Lab, args: &[&str]) -> BTreeMap<String, String> {
    let _ = fs::remove_dir_all(lab.path("out"));
    let out = format!("type=local,dest={}", lab.path("out").display());
    built(&lab.run("store", &[&BUILD, &["-o", &out][..], args].concat()));
    let mut found = BTreeMap::new();
    walk(&lab.path("out/d"), "", &mut found);
    found
}

#[test]
fn one_tree_makes_one_image_whatever_it_comes_in() {
    let Some(lab) = kernel_lab() else { return };
    fill(&lab, "ctx");
    let repos = Repos::new();
    repos.init("app");
    Command::new("cp").args(["-a"]).arg(lab.path("ctx/.")).arg(repos.path("app")).status().unwrap();
    let commit = repos.commit("app");
    let plain = tar(&lab, "ctx", &[]);
    let packed = tar(&lab, "ctx", &["--zstd"]);
    let git = repos.serve(|_| None);
    let web = Server::start({
        let packed = packed.clone();
        move |_, _| reply("200 OK", &[("Last-Modified", "Tue, 14 Nov 2023 22:13:20 GMT")], &packed)
    });
    let from_dir = lab.build("store", "ctx", &[]).manifest();
    for input in [&plain, &packed, &tar(&lab, "ctx", &["-z"]), &tar(&lab, "ctx", &["-J"])] {
        assert_eq!(built(&lab.fed("store", &[&BUILD, &["-"][..]].concat(), input)).manifest(), from_dir);
    }
    let file = lab.write("ctx.tar", &packed);
    assert_eq!(
        built(&lab.run("store", &[&BUILD, &[file.to_str().unwrap()][..]].concat())).manifest(),
        from_dir
    );
    let url = git.url("/app.git");
    for context in [&url, &format!("{url}#main"), &format!("{url}#{commit}"), &web.url("/ctx.tar.zst")] {
        let built = built(&lab.run("store", &[&BUILD, &[context.as_str()][..]].concat()));
        assert_eq!(built.manifest(), from_dir, "{context}");
        assert_eq!(built.status("COPY . /d/"), "hit", "{context}");
    }

    // In a store of its own nothing is a hit, and nothing else comes out.
    let alone = built(&lab.run("other", &[&BUILD, &[url.as_str()][..]].concat()));
    assert_eq!((alone.manifest(), alone.status("COPY . /d/")), (from_dir, "built"));

    // The time of the commit, and of the file.
    let expected = lab.build("store", "ctx", &["--epoch", &COMMIT_TIME.to_string()]).manifest();
    for (context, epoch) in [(&url, "git"), (&url, "context"), (&web.url("/ctx.tar.zst"), "context")] {
        let built = built(&lab.run("store", &[&BUILD, &["--epoch", epoch, context.as_str()][..]].concat()));
        assert_eq!(built.manifest(), expected, "{context} {epoch}");
    }
    let argument = ["--build-arg=SOURCE_DATE_EPOCH=context", url.as_str()];
    assert_eq!(built(&lab.run("store", &[&BUILD, &argument[..]].concat())).manifest(), expected);
    let ran = lab.run("store", &["build", "--epoch=context", "ctx"]);
    assert!(ran.code == 2 && ran.err.contains("--epoch git"), "{}", ran.err);
}

#[test]
fn the_dockerfile_is_found_in_the_context() {
    let Some(lab) = kernel_lab() else { return };
    fill(&lab, "ctx");
    lab.write("ctx/deep/Other", "FROM scratch\nCOPY a.txt /d/other\n");
    lab.write("ctx/.dockerignore", "a.txt\n");
    let input = tar(&lab, "ctx", &[]);
    let run = |args: &[&str], input: &[u8]| lab.fed("store", &[&BUILD, args].concat(), input);
    // No ignore file applies to what came as one.
    built(&run(&["-f", "deep/Other", "-"], &input));
    assert!(lab.run("store", &["build", "-f", "ctx/deep/Other", "ctx"]).err.contains("left out"));
    let file = lab.write("ctx.tar", &input);
    let name = file.to_str().unwrap();
    built(&run(&["-f", "-", name], b"FROM scratch\nCOPY a.txt /\n"));
    fs::rename(lab.path("ctx/Dockerfile"), lab.path("ctx/dockerfile")).unwrap();
    built(&run(&["-"], &tar(&lab, "ctx", &[])));
    // A Dockerfile alone has an empty context.
    built(&run(&["-"], b"FROM scratch\nCOPY . /d/\n"));
    for (args, input, wanted) in [
        (&["-f", "none", "-"][..], &input[..], "there is no none in the context -"),
        (&["-f", "-", "-"], b"FROM scratch\n", "cannot both be standard input"),
        (&["-f", "x", "-"], b"FROM scratch\n", "is no tar"),
        (&["-"], b"FROM scratch\nCOPY a.txt /\n", "/a.txt is not in the build context"),
        (&["-"], b"FROM scratch\nCPY a.txt /\n", "Dockerfile:2:1"),
        (&["nowhere"], b"", "nowhere is not a directory"),
        (&["ctx/a.txt"], b"", "neither a directory nor a tar"),
        (&["ftp://example.invalid/x"], b"", "ftp:// is not fetched"),
        (&["https://example.invalid/x.git#--upload-pack=x"], b"", "not the name of a branch"),
    ] {
        let ran = run(args, input);
        assert!(ran.code != 0 && ran.err.contains(wanted), "{args:?}: {}", ran.err);
    }
    let cut = &input[..input.len() - 1024];
    assert!(run(&["-"], &cut[..cut.len() / 2]).code != 0, "a cut tar is no context");
    let web = Server::start(|request, _| match request.path.as_str() {
        "/Dockerfile" => reply("200 OK", &[], b"FROM scratch\nCOPY . /d/\n"),
        _ => reply("404 Not Found", &[], b""),
    });
    built(&run(&[&web.url("/Dockerfile")], b""));
    let gone = run(&[&web.url("/none").replace("http://", "http://me:hush@")], b"");
    assert!(
        gone.code == 1 && gone.err.contains("answered 404") && !gone.err.contains("hush"),
        "{}",
        gone.err
    );
}

/// L1, L3, L5, L8, D1: names and links of a tar lead nowhere, neither when it is read nor when COPY follows them.
#[test]
fn a_hostile_tar_is_no_way_out() {
    let Some(lab) = kernel_lab() else { return };
    lab.write("secret", "secret");
    let python = r#"
import io, sys, tarfile
kind = sys.argv[1]
out = tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.GNU_FORMAT)
def add(name, type=tarfile.REGTYPE, link="", data=b""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = type, link, len(data)
    out.addfile(info, io.BytesIO(data))
text = b"FROM scratch\nCOPY x /d/\n"
if kind == "dots": add("../../x", data=b"evil")
if kind == "abs": add("/x", data=b"inside")
if kind == "link": add("x", tarfile.SYMTYPE, sys.argv[2])
if kind == "way":
    add("d", tarfile.SYMTYPE, "..")
    add("x", tarfile.SYMTYPE, "d/d/d" + sys.argv[2])
if kind == "hard": add("x", tarfile.LNKTYPE, sys.argv[2])
if kind == "fifo": add("x", tarfile.FIFOTYPE)
if kind == "file": add("Dockerfile", tarfile.SYMTYPE, sys.argv[2])
else: add("Dockerfile", data=text)
out.close()
"#;
    let secret = lab.path("secret");
    let secret = secret.to_str().unwrap();
    let hostile = |kind: &str| {
        let output = Command::new("python3").args(["-c", python, kind, secret]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        lab.fed("store", &[&BUILD, &["-"][..]].concat(), &output.stdout)
    };
    for (kind, wanted) in [
        ("dots", ".."),
        ("link", "/x is not in the build context"),
        ("way", "/x is not in the build context"),
        ("hard", "secret"),
        ("fifo", "/x in the build context is a FIFO"),
        ("file", "there is no Dockerfile in the context"),
    ] {
        let ran = hostile(kind);
        assert!(ran.code != 0 && ran.err.contains(wanted), "{kind}: {}", ran.err);
    }
    assert_eq!(hostile("abs").code, 0, "an absolute name is one below the root of the tar");
}

#[test]
fn a_repository_is_added() {
    let Some(lab) = kernel_lab() else { return };
    let repos = Repos::new();
    repos.init("app");
    repos.write("app/a.txt", "a", 0o664);
    repos.write("app/sub/run.sh", "run", 0o775);
    symlink("../a.txt", repos.path("app/sub/link")).unwrap();
    let commit = repos.commit("app");
    let server = repos.serve(|_| None);
    let url = server.url("/app.git");
    let build = |body: &str, more: &[&str]| {
        lab.write("ctx/Dockerfile", format!("FROM scratch\n{body}\n"));
        added(&lab, &[more, &["ctx"]].concat())
    };
    let expect = |wanted: &[(&str, &str)]| -> BTreeMap<String, String> {
        wanted.iter().map(|(name, what)| ((*name).to_owned(), (*what).to_owned())).collect()
    };
    let all = expect(&[
        ("a.txt", "644 0:0 a"),
        ("sub", "755 0:0 /"),
        ("sub/link", "777 0:0 ../a.txt"),
        ("sub/run.sh", "755 0:0 run"),
    ]);
    assert_eq!(build(&format!("ADD {url} /d"), &[]), all);
    let sub = expect(&[("link", "777 0:0 ../a.txt"), ("run.sh", "755 0:0 run")]);
    assert_eq!(build(&format!("ADD {url}#main:sub /d/"), &[]), sub);
    let filtered = expect(&[("a.txt", "600 0:0 a")]);
    assert_eq!(build(&format!("ADD --chmod=600 --exclude=sub {url} /d"), &[]), filtered);
    let kept = build(&format!("ADD --keep-git-dir=true {url} /k\nADD {url} /d"), &[]);
    assert_eq!(kept, all);
    let out = Command::new("git")
        .args(["-c", "safe.directory=*", "-C"])
        .arg(lab.path("out/k"))
        .args(["log", "-1", "--format=%H"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), commit);

    // D19: a hermetic build takes commits alone, and nobody is asked for one that is here.
    let pinned = format!("ADD {url}#{commit} /d");
    let asked = server.seen().len();
    assert_eq!(build(&pinned, &["--hermetic"]), all);
    assert_eq!(build(&format!("ADD --checksum={commit} {url} /d"), &["--hermetic"]), all);
    assert_eq!(server.seen().len(), asked);
    lab.write("ctx/Dockerfile", format!("FROM scratch\nADD {url}#main /d\n"));
    let ran = lab.run("store", &["build", "--hermetic", "ctx"]);
    assert!(
        ran.code == 1 && ran.err.contains("is not pinned") && ran.err.contains("Dockerfile:2"),
        "{}",
        ran.err
    );
    lab.ok("store", &["gc"]);
    assert_eq!(build(&pinned.replace(" /d", " /d/"), &[]), all);
    assert_eq!(server.seen().len(), asked, "gc leaves mirrors alone");
    lab.ok("store", &["gc", "--all"]);
    assert!(lith::sys::dir::list_path(&lab.path("store/git")).unwrap().is_empty());

    // A new commit is seen, and one that changes nothing here costs nothing further on.
    repos.write("app/other.txt", "o", 0o644);
    repos.commit("app");
    lab.write("ctx/Dockerfile", format!("FROM scratch\nADD {url}#main:sub /d\nCOPY Dockerfile /\n"));
    let first = lab.build("store", "ctx", &[]);
    repos.write("app/more.txt", "m", 0o644);
    repos.commit("app");
    let second = lab.build("store", "ctx", &[]);
    assert_eq!(second.manifest(), first.manifest());
    assert_eq!(second.with_status("built"), [""; 0]);
}

#[test]
fn named_contexts_stand_for_images_and_stages() {
    let Some(lab) = kernel_lab() else { return };
    lab.base("store", "alpine");
    lab.base("store", "other");
    let repos = Repos::new();
    repos.init("app");
    repos.write("app/a.txt", "from git", 0o644);
    repos.commit("app");
    let git = repos.serve(|_| None).url("/app.git");
    lab.write("dir/etc/hello", "hello");
    lab.write("dir/no", "no");
    lab.write("dir/.dockerignore", "no\n");
    let dir = lab.path("dir").display().to_string();
    let build = |body: &str, contexts: &[&str]| {
        lab.write("ctx/Dockerfile", body);
        let contexts: Vec<String> = contexts.iter().map(|c| format!("--build-context={c}")).collect();
        let contexts: Vec<&str> = contexts.iter().map(String::as_str).collect();
        added(&lab, &[&contexts[..], &["ctx"]].concat())
    };
    let root = format!("root={dir}");
    // A stage begins with the files of a directory, or of a repository.
    let found = build("FROM root\nCOPY --from=root /etc /d/\nFROM scratch\nCOPY --from=0 / /d/\n", &[&root]);
    assert_eq!(found.keys().collect::<Vec<_>>(), [".dockerignore", "d", "d/hello", "etc", "etc/hello"]);
    assert_eq!(found["etc/hello"], "644 0:0 hello");
    let found = build("FROM app\nCOPY --from=app a.txt /d/\n", &[&format!("app={git}")]);
    assert_eq!(found["a.txt"], "644 0:0 from git");
    // An image's name, in any of its forms; a stage's name.
    let body = "FROM docker.io/library/alpine:latest AS x\nFROM scratch\nCOPY --from=alpine /etc/hello /d/\nCOPY --from=x /no* /d/\n";
    assert_eq!(build(body, &[&format!("alpine={dir}")]).keys().collect::<Vec<_>>(), ["hello"]);
    let body = "FROM nothing:1 AS built\nRUN exit 1\nFROM scratch\nCOPY --from=built /etc/hello /d/\n";
    assert_eq!(build(body, &[&format!("built={dir}")]).keys().collect::<Vec<_>>(), ["hello"]);
    // For one platform alone.
    let body = "FROM scratch\nCOPY --from=x /etc/hello /d/\n";
    let host = lith::platform::Platform::host();
    let contexts = [&format!("x::{host}={dir}")[..], "x=docker-image://other"];
    assert_eq!(build(body, &contexts).keys().collect::<Vec<_>>(), ["hello"]);
    // What an image context names is an image, with its own context or not.
    lab.write("ctx/Dockerfile", "FROM missing\nRUN true\n");
    lab.ok("store", &["build", "--build-context=missing=docker-image://alpine", "ctx"]);
    // A mount sees it too.
    lab.write(
        "ctx/Dockerfile",
        "FROM alpine\nRUN --mount=from=root,target=/m test -e /m/etc/hello -a ! -e /m/no\n",
    );
    lab.ok("store", &["build", &format!("--build-context={root}"), "ctx"]);
    let ran = lab.run("store", &["build", "--build-context=root=file:///etc", "ctx"]);
    assert!(ran.code == 2 && ran.err.contains("file:// is not fetched"), "{}", ran.err);
}
