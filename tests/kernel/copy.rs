//! Options of COPY and ADD on real trees.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use crate::support::{Built, Lab, kernel_lab};

fn lab(tree: &[&str]) -> Option<Lab> {
    let lab = kernel_lab()?;
    lab.base("store", "alpine");
    for name in tree {
        match name.strip_suffix('/') {
            Some(dir) => fs::create_dir_all(lab.path(&format!("ctx/{dir}"))).unwrap(),
            None => drop(lab.write(&format!("ctx/{name}"), *name)),
        }
    }
    Some(lab)
}

/// Builds and gives everything below `/d` of the result: path and mode.
#[track_caller]
fn copied(lab: &Lab, body: &str) -> BTreeMap<String, String> {
    build(lab, body, &[]);
    let mut found = BTreeMap::new();
    walk(&lab.path("out/d"), "", &mut found);
    found
}

#[track_caller]
fn build(lab: &Lab, body: &str, more: &[&str]) -> Built {
    let _ = fs::remove_dir_all(lab.path("out"));
    lab.write("ctx/Dockerfile", format!("FROM alpine\n{body}\n"));
    let out = format!("type=local,dest={}", lab.path("out").display());
    lab.build("store", "ctx", &[&["-o", &out], more].concat())
}

fn walk(dir: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
    #[expect(clippy::disallowed_methods, reason = "a test may list a directory; the map sorts")]
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        let meta = fs::symlink_metadata(entry.path()).unwrap();
        found.insert(name.clone(), format!("{:o}", meta.mode() & 0o7777));
        if meta.is_dir() {
            walk(&entry.path(), &format!("{name}/"), found);
        }
    }
}

#[track_caller]
fn names(found: &BTreeMap<String, String>) -> Vec<&str> {
    found.keys().map(String::as_str).collect()
}

const TREE: [&str; 8] = ["a/b/x.c", "a/b/x.h", "a/y.c", "a/y.md", "c/empty/", "z.c", "z.md", ".dockerignore"];

#[test]
fn parents_keep_their_directories() {
    let Some(lab) = lab(&TREE) else { return };
    fs::set_permissions(lab.path("ctx/a/b"), fs::Permissions::from_mode(0o700)).unwrap();
    let found = copied(&lab, "COPY --parents a/b/x.c z.c /d/");
    assert_eq!(names(&found), ["a", "a/b", "a/b/x.c", "z.c"]);
    assert_eq!(found["a/b"], "700", "directories on the way are those of the source");
    assert_eq!(names(&copied(&lab, "COPY --parents a/./b/x.c /d/")), ["b", "b/x.c"]);
    assert_eq!(names(&copied(&lab, "COPY --parents ./**/*.c /d")), ["a", "a/b", "a/b/x.c", "a/y.c", "z.c"]);
    assert_eq!(names(&copied(&lab, "COPY --parents c /d/")), ["c", "c/empty"]);
    assert_eq!(names(&copied(&lab, "COPY --parents **/*.none /d/")), [""; 0]);
    let found = copied(&lab, "COPY --parents --exclude=**/*.h --exclude=z* a/./** /d/");
    assert_eq!(names(&found), ["b", "b/x.c", "y.c", "y.md"]);
    let found = copied(&lab, "COPY a /s\nFROM scratch\nCOPY --from=0 --parents /s/./b/x.* /d/");
    assert_eq!(names(&found), ["b", "b/x.c", "b/x.h"]);
    let ran = {
        lab.write("ctx/Dockerfile", "FROM alpine\nCOPY --parents a/nothing /d/\n");
        lab.run("store", &["build", lab.path("ctx").to_str().unwrap()])
    };
    assert!(ran.code == 1 && ran.err.contains("a/nothing is not in the build context"), "{}", ran.err);
}

#[test]
fn what_is_excluded_is_not_copied_and_decides_nothing() {
    let Some(lab) = lab(&TREE) else { return };
    assert_eq!(names(&copied(&lab, "COPY --exclude=*.md a /d")), ["b", "b/x.c", "b/x.h", "y.c"]);
    assert_eq!(names(&copied(&lab, "COPY --exclude=*.md z* /d/")), ["z.c"]);
    assert_eq!(names(&copied(&lab, "COPY --exclude=b --exclude=!b/x.h a /d")), ["b", "b/x.h", "y.c", "y.md"]);
    assert_eq!(names(&copied(&lab, "COPY a /s\nCOPY --from=alpine --exclude=** /etc /d")), [""; 0]);
    let step = "COPY --exclude=*.md a /d";
    build(&lab, step, &[]);
    lab.write("ctx/a/y.md", "changed");
    assert_eq!(build(&lab, step, &[]).status(step), "hit");
    lab.write("ctx/a/y.c", "changed");
    assert_eq!(build(&lab, step, &[]).status(step), "built");
}

#[test]
fn modes_change_entry_by_entry() {
    let Some(lab) = lab(&TREE) else { return };
    fs::set_permissions(lab.path("ctx/a/y.c"), fs::Permissions::from_mode(0o750)).unwrap();
    symlink("y.c", lab.path("ctx/a/link")).unwrap();
    let found = copied(&lab, "COPY --chmod=a=rX,u+w a /d/made/");
    let mode = |name: &str| found[name].as_str();
    assert_eq!(
        (mode("made"), mode("made/b"), mode("made/b/x.c"), mode("made/y.c")),
        ("755", "755", "644", "755")
    );
    assert_eq!(mode("made/link"), "777");
    let found = copied(&lab, "COPY --chmod=700 a /d/made/");
    assert_eq!((found["made"].as_str(), found["made/b/x.c"].as_str()), ("700", "700"));
}

#[test]
fn a_linked_copy_is_the_same_on_any_base() {
    let Some(lab) = lab(&TREE) else { return };
    let step = "COPY --link a/y.c /d/sub/y";
    let base = |mode: &str| format!("RUN mkdir -p -m {mode} /d && mkdir -m 711 /real /d/sub\n{step}");
    build(&lab, &base("700"), &[]);
    let meta = fs::metadata(lab.path("out/d")).unwrap();
    assert_eq!(meta.mode() & 0o7777, 0o755, "what is below is not looked at");
    assert_eq!(build(&lab, &base("711"), &[]).status(step), "hit");
    // A plain copy keeps the directory and, on another one, is made again.
    let step = "COPY a/y.c /d/sub/y";
    let base = |mode: &str| format!("RUN mkdir -p -m {mode} /d && mkdir -m 711 /d/sub\n{step}");
    build(&lab, &base("700"), &[]);
    assert_eq!(fs::metadata(lab.path("out/d")).unwrap().mode() & 0o7777, 0o700);
    assert_eq!(build(&lab, &base("711"), &[]).status(step), "built");
    // A link at the destination is replaced, not followed.
    build(&lab, "RUN mkdir /real && ln -s real /d\nCOPY --link a/y.c /d/y", &[]);
    assert!(fs::symlink_metadata(lab.path("out/d")).unwrap().is_dir() && !lab.path("out/real/y").exists());
    lab.write("ctx/Dockerfile", "FROM alpine\nCOPY --link --chown=nobody a /d\n");
    let ran = lab.run("store", &["build", lab.path("ctx").to_str().unwrap()]);
    assert!(ran.code != 0 && ran.err.contains("'nobody' in --chown of a linked copy"), "{}", ran.err);
}

#[test]
fn an_archive_is_unpacked_unless_told_otherwise() {
    let Some(lab) = lab(&TREE) else { return };
    let tar = std::process::Command::new("tar")
        .args(["-C", lab.path("ctx").to_str().unwrap(), "-cf", lab.path("ctx/a.tar").to_str().unwrap(), "a"])
        .status()
        .unwrap();
    assert!(tar.success());
    assert_eq!(names(&copied(&lab, "ADD a.tar /d/")).len(), 6);
    assert_eq!(names(&copied(&lab, "ADD --unpack a.tar /d/")).len(), 6);
    assert_eq!(names(&copied(&lab, "ADD --unpack=false a.tar /d/")), ["a.tar"]);
}

/// Builds what must fail; what it says.
#[track_caller]
fn refused(lab: &Lab, body: &str) -> String {
    lab.write("ctx/Dockerfile", format!("FROM alpine\n{body}\n"));
    let ran = lab.run("store", &["build", lab.path("ctx").to_str().unwrap()]);
    assert!(ran.code != 0, "{body}: {}", ran.out);
    ran.err
}

/// What BuildKit's own tests of the flag expect.
#[test]
fn parents_with_pivots_and_wildcards() {
    let files = ["test/a/b/c/d/foo", "test/a/b/c/d/e/bay", "test/a/b2/c/d/e/bar", "test/a/b/c2/d/e/baz"];
    let Some(lab) = lab(&[&files[..], &["test/a/b/c2/d/e2/baz"]].concat()) else { return };
    for (sources, expected) in [
        ("/test/a/b/./c/d", &["c", "c/d", "c/d/e", "c/d/e/bay", "c/d/foo"][..]),
        (
            "/test/a/b2/c/d/.",
            &[
                "test",
                "test/a",
                "test/a/b2",
                "test/a/b2/c",
                "test/a/b2/c/d",
                "test/a/b2/c/d/e",
                "test/a/b2/c/d/e/bar",
            ],
        ),
        ("/test/a/./b2/./c", &["b2", "b2/c", "b2/c/d", "b2/c/d/e", "b2/c/d/e/bar"]),
        ("/test/a/b*/./c/**/e", &["c", "c/d", "c/d/e", "c/d/e/bar", "c/d/e/bay"]),
        ("/test/a/b/c*/./d/**/baz", &["d", "d/e", "d/e/baz", "d/e2", "d/e2/baz"]),
        ("/test/a/b/./none*", &[]),
        ("/test/a/none*/./c", &[]),
    ] {
        // From the context and from a stage.
        assert_eq!(names(&copied(&lab, &format!("COPY --parents {sources} /d/"))), expected, "{sources}");
        let stage = format!("COPY test /test\nFROM scratch\nCOPY --from=0 --parents {sources} /d/");
        assert_eq!(names(&copied(&lab, &stage)), expected, "{sources} of a stage");
    }
    let said = refused(&lab, "COPY --parents /test/none /d/");
    assert!(said.contains("/test/none is not in the build context"), "{said}");
}

#[test]
fn a_pivot_is_a_directory_and_no_link_is_looked_through() {
    let Some(lab) = lab(&["a/x/f", "file", "!odd", "l.md"]) else { return };
    symlink("x", lab.path("ctx/a/link")).unwrap();
    // A wildcard before the pivot passes files over; a plain name that is one is an error.
    assert_eq!(names(&copied(&lab, "COPY --parents */./x/f /d/")), ["x", "x/f"]);
    let said = refused(&lab, "COPY --parents file/./ /d/");
    assert!(said.contains("/file stands before `/./`"), "{said}");
    let said = refused(&lab, "COPY --parents a/link/f /d/");
    assert!(said.contains("/a/link/f is behind a symlink"), "{said}");
    assert_eq!(names(&copied(&lab, "COPY --parents a/link /d/")), ["a", "a/link"]);
    assert_eq!(names(&copied(&lab, "COPY --parents !odd /d/")), ["!odd"]);
    assert_eq!(names(&copied(&lab, "COPY --parents --exclude=a a/x/f /d/")), [""; 0]);
    // Nor does a wildcard of a plain copy; a link that is named, or matched at the end, is followed.
    assert_eq!(names(&copied(&lab, "COPY a/*/f /d/")), ["f"]);
    assert_eq!(names(&copied(&lab, "COPY a/link/f /d/")), ["f"]);
    assert_eq!(names(&copied(&lab, "COPY a/li* /d/")), ["f"]);
    let stage = "COPY a /a\nRUN rm -r /a/x/f && mkdir /a/y && echo > /a/y/g && ln -s y /a/z\nFROM scratch";
    assert_eq!(names(&copied(&lab, &format!("{stage}\nCOPY --from=0 /a/z/g /a/*/f /d/"))), ["g"]);
    let said = refused(&lab, "COPY a/\\\\*none /d/");
    assert!(said.contains("not in the build context"), "an escaped star is a name: {said}");
}

#[test]
fn what_an_archive_holds_keeps_its_modes() {
    let Some(lab) = lab(&["a/f"]) else { return };
    fs::set_permissions(lab.path("ctx/a/f"), fs::Permissions::from_mode(0o640)).unwrap();
    let tar = std::process::Command::new("tar")
        .args(["-C", lab.path("ctx").to_str().unwrap(), "-cf", lab.path("ctx/a.tar").to_str().unwrap(), "a"])
        .status()
        .unwrap();
    assert!(tar.success());
    let found = copied(&lab, "ADD --chmod=700 a.tar /d/sub/");
    assert_eq!((found["sub"].as_str(), found["sub/a/f"].as_str()), ("755", "640"));
    let found = copied(&lab, "ADD --chmod=700 --unpack=false a.tar /d/sub/");
    assert_eq!((found["sub"].as_str(), found["sub/a.tar"].as_str()), ("700", "700"));
    assert_eq!(names(&copied(&lab, "ADD --exclude=*.tar *.tar /d/")), [""; 0]);
}

#[test]
fn options_work_together_on_another_stage() {
    let Some(lab) = lab(&["s/one", "s/two.md"]) else { return };
    let stage = "COPY s /s\nRUN ln /s/one /s/hard && ln -s one /s/soft && chown 5:6 /s/one && chmod 4711 /s/one\nFROM scratch";
    let copy = "COPY --from=0 --parents --exclude=**/*.md --link --chown=7 s /d/";
    let found = copied(&lab, &format!("{stage}\n{copy}"));
    assert_eq!(names(&found), ["s", "s/hard", "s/one", "s/soft"]);
    assert_eq!(found["s/one"], "4711");
    let meta = |name: &str| fs::symlink_metadata(lab.path(&format!("out/d/s/{name}"))).unwrap();
    assert_eq!((meta("one").uid(), meta("one").gid(), meta("one").ino()), (7, 7, meta("hard").ino()));
    let found = copied(&lab, &format!("{stage}\nCOPY --from=0 --parents --chmod=g=u,a-s s/one /d/"));
    assert_eq!(found["s/one"], "771", "{found:?}");
    assert_eq!((meta("one").uid(), meta("one").gid()), (5, 6));
}
