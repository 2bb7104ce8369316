//! Pairs that differ in one thing each.

use lith::diff::{Kind, Only, Options};
use lith::layer::compress::Codec;
use serde_json::{Value, json};

use super::build::{Form, Given, Image, layer};

/// Two sides and what is asked of them.
pub struct Pair {
    pub name: &'static str,
    pub a: Given,
    pub b: Given,
    pub options: Options,
}

fn pair(name: &'static str, a: impl Into<Given>, b: impl Into<Given>) -> Pair {
    Pair { name, a: a.into(), b: b.into(), options: Options::default() }
}

/// Two images of one layer each.
fn layers(name: &'static str, a: &str, b: &str) -> Pair {
    pair(name, Image::of(&[a]), Image::of(&[b]))
}

impl Pair {
    fn ignoring(mut self, kinds: &[&str]) -> Self {
        self.options.ignore = kinds.iter().map(|kind| kind.parse().unwrap()).collect();
        self
    }

    fn semantic(mut self) -> Self {
        self.options.ignore = Kind::semantic();
        self
    }

    fn only(mut self, patterns: &[&str]) -> Self {
        let patterns: Vec<String> = patterns.iter().map(|&text| text.to_owned()).collect();
        self.options.only = Some(Only::parse(&patterns).unwrap());
        self
    }
}

const BASE: &str = "dir bin\nfile bin/sh shell mode=755\ndir etc\nfile etc/os-release Debian_12\\n";

pub fn pairs() -> Vec<Pair> {
    let mut all = headers();
    all.extend(links());
    all.extend(whiteouts());
    all.extend(stacks());
    all.extend(documents());
    all.extend(indexes());
    all.extend(questions());
    all
}

/// One header field each.
fn headers() -> Vec<Pair> {
    vec![
        pair("equal", Image::of(&[BASE]), Image::of(&[BASE])),
        layers("entry-added", "dir etc", "dir etc\nfile etc/new 1"),
        layers("entry-removed", "dir etc\nfile etc/old 1", "dir etc"),
        layers("entry-type", "file etc/x 1", "dir etc\ndir etc/x"),
        layers("entry-mode", "file x 1 mode=644", "file x 1 mode=600"),
        layers("entry-setuid", "file x 1 mode=755", "file x 1 mode=4755"),
        layers("entry-uid", "file x 1 uid=0", "file x 1 uid=1000"),
        layers("entry-gid", "file x 1 gid=0", "file x 1 gid=5"),
        layers("entry-mtime", "file x 1 mtime=0", "file x 1 mtime=1700000000"),
        layers("entry-size", "file x 1", "file x 12"),
        layers("entry-content", "file x 12345", "file x 12f45"),
        layers("entry-xattr-changed", "file x 1 x:user.note=one", "file x 1 x:user.note=two"),
        layers("entry-xattr-added", "file x 1", "file x 1 x:user.note=one x:user.other=two"),
        layers("entry-capability", "file x 1", "file x 1 x:security.capability=raw"),
        layers("entry-symlink-target", "link x /a", "link x /b"),
        layers("entry-symlink-mode", "link x /a mode=777", "link x /a mode=755"),
        layers("entry-char-device", "char dev/x 1:3", "char dev/x 1:5"),
        layers("entry-block-device", "block dev/x 8:0", "block dev/x 8:1"),
        layers("entry-char-to-block", "char dev/x 1:3", "block dev/x 1:3"),
        layers("entry-fifo", "fifo run/x", "file run/x 1"),
        layers("entry-directory-mode", "dir tmp mode=755", "dir tmp mode=1777"),
        layers("entry-root-mode", "dir ./ mode=755\nfile x 1", "dir ./ mode=700\nfile x 1"),
        layers("entry-root-implied", "file x 1", "dir ./ mode=755 mtime=99\nfile x 1"),
        layers("entry-several-fields", "file x 1", "file x 22 mode=600 uid=7 mtime=9 x:user.a=b"),
        layers("entry-strange-name", "file a\\b 1", "file a\\b 2\nfile \u{202e}x 1"),
        layers("directory-added", "dir etc", "dir etc\ndir opt\ndir opt/a\nfile opt/a/1 1\nfile opt/a/2 22"),
        layers("directory-became-file", "dir x\nfile x/a 1\nfile x/b 2", "file x 1"),
        layers("implied-directory", "file a/b/c 1", "dir a\ndir a/b\nfile a/b/c 1"),
    ]
}

/// Names of one file.
fn links() -> Vec<Pair> {
    vec![
        layers("hardlink-became-copy", "file a 1\nhard b a", "file a 1\nfile b 1"),
        layers("hardlink-content", "file a 1\nhard b a", "file a 2\nhard b a"),
        layers("hardlink-holder", "file a 1\nhard b a", "file b 1\nhard a b"),
        layers("hardlink-added", "file a 1", "file a 1\nhard b a"),
        layers("hardlink-of-another", "file a 1\nfile b 1\nhard c a", "file a 1\nfile b 1\nhard c b"),
        pair(
            "hardlink-first-name-hidden",
            Image::of(&["file a 1\nhard b a", "gone a"]),
            Image::of(&["file a 1\nhard b a", "gone a\nfile c 1"]),
        ),
    ]
}

/// What a layer hides of those below.
fn whiteouts() -> Vec<Pair> {
    let below = "dir d\nfile d/a 1\nfile d/b 2\nfile e 3";
    let two = |name, a: &str, b: &str| pair(name, Image::of(&[below, a]), Image::of(&[below, b]));
    vec![
        two("whiteout-removes", "file n 1", "file n 1\ngone d/a"),
        two("whiteout-of-directory", "file n 1", "file n 1\ngone d"),
        two("whiteout-of-nothing", "file n 1", "file n 1\ngone nowhere"),
        two("opaque-hides", "dir d\nfile d/c 1", "dir d\nopaque d\nfile d/c 1"),
        two("opaque-as-whiteouts", "dir d\ngone d/a\ngone d/b\nfile d/c 1", "dir d\nopaque d\nfile d/c 1"),
        two("whiteout-and-added-again", "gone e", "file e 3"),
        two("file-over-directory", "file d 1", "dir d mode=700"),
        pair(
            "hidden-by-a-later-layer",
            Image::of(&["file x 1\nfile y 1", "file x 9"]),
            Image::of(&["file x 2\nfile y 1", "file x 9"]),
        ),
        pair(
            "hidden-by-a-whiteout",
            Image::of(&["file x 1\nfile y 1", "gone x"]),
            Image::of(&["file x 2\nfile y 1", "gone x"]),
        ),
        pair(
            "hidden-ignored",
            Image::of(&["file x 1\nfile y 1", "file x 9"]),
            Image::of(&["file x 2\nfile y 1", "file x 9"]),
        )
        .ignoring(&["hidden"]),
    ]
}

/// How the layers stand to each other.
fn stacks() -> Vec<Pair> {
    let (app, lib, doc) = ("file app 1", "file lib 2", "file doc 3");
    let of = |layers: &[&str]| Image::of(layers);
    vec![
        pair("layers-inserted", of(&[BASE, app, lib]), of(&[BASE, doc, app, lib])),
        pair("layers-inserted-empty", of(&[BASE, app]), of(&[BASE, "", app])),
        pair("layers-removed", of(&[BASE, doc, app]), of(&[BASE, app])),
        pair("layers-on-top", of(&[BASE]), of(&[BASE, app])),
        pair("layers-moved", of(&[BASE, app, lib]), of(&[BASE, lib, app])),
        pair("layers-merged", of(&[BASE, app, lib]), of(&[BASE, &format!("{app}\n{lib}")])),
        pair("layers-split", of(&[BASE, &format!("{app}\n{lib}")]), of(&[BASE, app, lib])),
        pair(
            "layers-merged-with-whiteout",
            of(&[BASE, "file tmp 1\nfile app 1", "gone tmp\nfile lib 2"]),
            of(&[BASE, "file app 1\nfile lib 2"]),
        ),
        pair(
            "layers-merged-over-each-other",
            of(&[BASE, "dir d\nfile d/a 1", "file d/a 2\nfile d/b 3"]),
            of(&[BASE, "dir d\nfile d/a 2\nfile d/b 3"]),
        ),
        pair("layers-merged-and-changed", of(&[BASE, app, lib]), of(&[BASE, "file app 1\nfile lib 9"])),
        pair(
            "layers-changed-and-inserted",
            of(&[BASE, app, lib]),
            of(&[BASE, "file new 1", "file app 9", lib]),
        ),
        pair(
            "layers-base-changed",
            of(&[BASE, app, lib]),
            of(&["dir bin\nfile bin/sh shell mode=755\ndir etc\nfile etc/os-release Debian_13\\n", app, lib]),
        ),
        pair("layers-entries-reordered", of(&["file a 1\nfile b 2"]), of(&["file b 2\nfile a 1"])),
        pair("layers-entries-rewritten", of(&["file a 1"]), Image::of_bytes(vec![padded("file a 1")])),
        pair(
            "layers-recompressed",
            of(&[BASE, app]).packed(Codec::Gzip),
            of(&[BASE, app]).packed(Codec::Zstd),
        ),
        pair("layers-unpacked", of(&[BASE]).packed(Codec::Gzip), of(&[BASE])),
        pair(
            "layers-recompressed-and-changed",
            of(&[BASE, "file x 1"]).packed(Codec::Gzip),
            of(&[BASE, "file x 2"]).packed(Codec::Zstd),
        ),
        pair("layers-twice-the-same", of(&[app, app, lib]), of(&[app, lib])),
    ]
}

/// The same entries, more zeros at the end.
fn padded(lines: &str) -> Vec<u8> {
    let mut tar = layer(lines);
    tar.extend([0; 10240]);
    tar
}

/// Manifest, config and history.
fn documents() -> Vec<Pair> {
    let image = || Image::of(&[BASE]);
    let set = |name, pointer: &str, value: Value| pair(name, image(), image().set(pointer, value));
    let line =
        |text: &str| json!({"created": "1970-01-01T00:00:00Z", "created_by": text, "empty_layer": true});
    vec![
        set("config-created", "/created", json!("2024-05-06T07:08:09Z")),
        set("config-author", "/author", json!("somebody")),
        set("config-architecture", "/architecture", json!("arm64")),
        set("config-env-value", "/config/Env", json!(["PATH=/bin:/usr/bin"])),
        set("config-env-added", "/config/Env", json!(["PATH=/bin", "LANG=C.UTF-8"])),
        pair(
            "config-env-order",
            image().set("/config/Env", json!(["A=1", "B=2"])),
            image().set("/config/Env", json!(["B=2", "A=1"])),
        ),
        set("config-cmd", "/config/Cmd", json!(["bash", "-l"])),
        set("config-entrypoint", "/config/Entrypoint", json!(["/init"])),
        set("config-user", "/config/User", json!("nobody")),
        set("config-workdir", "/config/WorkingDir", json!("/srv")),
        set("config-ports", "/config/ExposedPorts", json!({"80/tcp": {}})),
        set("config-volumes", "/config/Volumes", json!({"/data": {}})),
        set("config-labels", "/config/Labels", json!({"org.opencontainers.image.revision": "abc"})),
        set("config-healthcheck", "/config/Healthcheck", json!({"Test": ["CMD", "true"], "Retries": 3})),
        set("config-stop-signal", "/config/StopSignal", json!("SIGINT")),
        set("config-unknown-field", "/os.features", json!(["win32k"])),
        set("config-empty-is-missing", "/config/Volumes", json!({})),
        set("config-builder", "/docker_version", json!("24.0.7")),
        set("history-created-by", "/history/0/created_by", json!("step one")),
        set("history-created", "/history/0/created", json!("2024-05-06T07:08:09Z")),
        pair(
            "history-line-inserted",
            image().set("/history", json!([line("ENV A=1"), line("CMD sh"), {"created_by": "step 1"}])),
            image().set(
                "/history",
                json!([line("ENV A=1"), line("USER x"), line("CMD sh"), {"created_by": "step 1"}]),
            ),
        ),
        set("history-gone", "/history", Value::Null),
        pair("manifest-annotations", image(), image().annotated("org.example.build", "7")),
        pair("manifest-name", image(), image().annotated("org.opencontainers.image.ref.name", "app:1")),
        pair("form-docker", image().packed(Codec::Gzip), image().packed(Codec::Gzip).form(Form::Docker)),
        pair(
            "form-docker-and-changed",
            Image::of(&["file x 1"]),
            Image::of(&["file x 2"]).form(Form::Docker).set("/created", json!("2024-05-06T07:08:09Z")),
        ),
    ]
}

/// Images of several platforms.
fn indexes() -> Vec<Pair> {
    let amd = || Image::of(&["file x amd"]);
    let arm = || Image::of(&["file x arm"]).set("/architecture", json!("arm64"));
    let both = || Given::Index(vec![("linux/amd64", amd()), ("linux/arm64", arm())], Value::Null);
    let changed = Image::of(&["file x ARM"]).set("/architecture", json!("arm64"));
    vec![
        pair("index-equal", both(), both()),
        pair("index-platform-added", Given::Index(vec![("linux/amd64", amd())], Value::Null), both()),
        pair(
            "index-platform-changed",
            both(),
            Given::Index(vec![("linux/amd64", amd()), ("linux/arm64", changed)], Value::Null),
        ),
        pair(
            "index-order",
            both(),
            Given::Index(vec![("linux/arm64", arm()), ("linux/amd64", amd())], Value::Null),
        ),
        pair(
            "index-annotations",
            both(),
            Given::Index(
                vec![("linux/amd64", amd()), ("linux/arm64", arm())],
                json!({"annotations": {"org.example.build": "7"}}),
            ),
        ),
        pair(
            "index-form",
            both(),
            Given::Index(
                vec![("linux/amd64", amd()), ("linux/arm64", arm())],
                json!({"mediaType": "application/vnd.docker.distribution.manifest.list.v2+json"}),
            ),
        ),
        pair(
            "index-attestations",
            both(),
            Given::Index(
                vec![
                    ("linux/amd64", amd()),
                    ("linux/arm64", arm()),
                    ("unknown/unknown", Image::of(&["file s 1"])),
                ],
                Value::Null,
            ),
        ),
        pair("index-and-manifest", both(), arm()),
        pair("index-and-manifest-changed", both(), Image::of(&["file x AMD"])),
    ]
}

/// What is asked, and trees without documents.
fn questions() -> Vec<Pair> {
    let noisy = || {
        Image::of(&["file a 1 mtime=5\nfile b 2 mtime=6"])
            .packed(Codec::Zstd)
            .form(Form::Oci)
            .set("/created", json!("2024-05-06T07:08:09Z"))
            .set("/history/0/created", json!("2024-05-06T07:08:09Z"))
            .set("/config/Labels", json!({"build": "7"}))
            .annotated("org.example.build", "7")
    };
    let quiet = || Image::of(&["file b 2\nfile a 1"]).packed(Codec::Gzip).form(Form::Docker);
    let tree = |lines: &str| Given::Tree(lines.to_owned());
    vec![
        pair("question-semantic-same", quiet(), noisy()).semantic(),
        pair("question-all-of-it", quiet(), noisy()),
        pair(
            "question-semantic-differs",
            Image::of(&["file a 1 mtime=5"]),
            Image::of(&["file a 2 mtime=6 mode=600"]),
        )
        .semantic(),
        layers("question-ignore-mtime", "file a 1 mtime=5\nfile b 1", "file a 1 mtime=6\nfile b 2")
            .ignoring(&["mtime"]),
        layers("question-ignore-all-there-is", "file a 1 mtime=5", "file a 1 mtime=6")
            .ignoring(&["mtime", "tar"]),
        pair(
            "question-ignore-history",
            Image::of(&[BASE]),
            Image::of(&[BASE]).set("/history/0/created", json!("2024-05-06T07:08:09Z")),
        )
        .ignoring(&["history"]),
        pair(
            "question-ignore-layers",
            Image::of(&["file a 1", "file b 2"]),
            Image::of(&["file a 1\nfile b 2"]).set("/history", json!([{"created_by": "squash"}])),
        )
        .ignoring(&["layers", "history", "created"]),
        layers(
            "question-only",
            "dir etc\nfile etc/a 1\ndir usr\nfile usr/a 1\nfile usr/b 1",
            "dir etc\nfile etc/a 2\ndir usr\nfile usr/a 2\nfile usr/c 1",
        )
        .only(&["/usr"]),
        layers("question-only-pattern", "file a.py 1\nfile a.pyc 1", "file a.py 2\nfile a.pyc 2")
            .only(&["*.pyc"]),
        pair("tree-and-tree", tree("dir etc\nfile etc/a 1"), tree("dir etc\nfile etc/a 2\nfile etc/b 1")),
        pair("tree-and-image", Image::of(&["file a 1", "gone a\nfile b 2"]), tree("file b 2\nfile c 3")),
        pair("tree-like-image", Image::of(&["file a 1", "gone a\nfile b 2"]), tree("file b 2")),
    ]
}
