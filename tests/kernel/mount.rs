//! Images that are mounted to be looked at. Each test has a mount namespace of its own.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use crate::rootless::{Ids, User};
use crate::support::{Lab, Ran, base_tar, has, kernel_lab, skip};

/// A laboratory with an image `app` of several layers.
fn lab_with_app() -> Option<Lab> {
    let lab = kernel_lab()?;
    if !has("setcap") {
        return skip("needs setcap (package libcap2-bin)");
    }
    base_tar(&lab.path(""), None);
    lab.ok("s", &["import", "base.tar", "base"]);
    let text = "FROM base\nRUN rm opt/old/a && rm -r opt/old/deep && mkdir opt/old/deep && chown 7:8 opt/keep/k\n\
        COPY --chown=3:4 Dockerfile /f\nCMD [\"sh\"]\n";
    lab.write("ctx/Dockerfile", text);
    lab.build("s", "ctx", &["-t", "app"]);
    Some(lab)
}

/// Runs a script in a mount namespace of its own; `lith` is the program with the store `store`.
fn private(lab: &Lab, store: &str, script: &str) -> Ran {
    let prelude = "set -eu; lith() { \"$LITH\" --root \"$STORE\" \"$@\"; }\n";
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "bash", "-c", &format!("{prelude}{script}")]);
    command.env("LITH", env!("CARGO_BIN_EXE_lith")).env("STORE", lab.path(store)).current_dir(lab.path(""));
    Ran::of(command.output().unwrap())
}

/// Runs what must go well; its standard output.
#[track_caller]
fn ok(lab: &Lab, store: &str, script: &str) -> String {
    let ran = private(lab, store, script);
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    ran.out
}

/// What a directory holds with all that a tar says of files.
const TAR: &str = "pack() { tar --xattrs --xattrs-include='*' --numeric-owner --format=pax --sort=name \
    --pax-option=delete=atime,delete=ctime -cf \"$2\" -C \"$1\" $(ls \"$1\"); }\n";

#[test]
fn a_view_is_the_image_and_cannot_be_written() {
    let Some(lab) = lab_with_app() else { return };
    lab.ok("s", &["bundle", "app", "b"]);
    let script = "dir=$(lith mount app); pack \"$dir\" view.tar; pack b/rootfs rootfs.tar; cmp view.tar rootfs.tar
        ! touch \"$dir/x\" 2>err; grep -q 'Read-only file system' err
        ! chmod 0 \"$dir/f\" 2>err; ! mount -o remount,rw \"$dir\" 2>/dev/null || ! touch \"$dir/x\" 2>/dev/null
        ! cat \"$dir/opt/null\" 2>/dev/null
        grep \" $dir \" /proc/self/mountinfo | cut -d' ' -f6
        mkdir d; lith mount app d; cmp d/f \"$dir/f\"; test ! -e d/opt/old/a; lith mount app d
        lith mount; lith umount d; ! test -e d/f; lith umount app; test ! -e \"$dir\"; lith mount | wc -l";
    let out = ok(&lab, "s", &format!("{TAR}{script}"));
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("ro,nosuid,nodev"), "{out}");
    assert!(lines[2].contains("app:latest") && lines[2].contains("/s/mounts/"), "{out}");
    assert!(lines[3].contains("app:latest") && lines[3].ends_with("/d"), "{out}");
    assert_eq!(lines[4..], ["1"], "a mount that is there is not made again: {out}");
}

/// As many layers as there can be, in a store whose own path is longer than an option of a mount may be.
#[test]
fn many_layers_below_a_long_path() {
    let Some(lab) = kernel_lab() else { return };
    let store = format!("{0}/{0}", "long".repeat(50));
    fs::create_dir(lab.path(&"long".repeat(50))).unwrap();
    let mut text = "FROM scratch\n".to_owned();
    for number in 0..126 {
        let _ = writeln!(text, "COPY <<EOF /f{number}\n{number}\nEOF");
    }
    lab.write("ctx/Dockerfile", text);
    lab.build(&store, "ctx", &["-t", "many"]);
    let script = "dir=$(lith mount many); ls \"$dir\" | wc -l; cat \"$dir/f0\" \"$dir/f125\"
        lith rmi many; lith gc --all; cat \"$dir/f0\" \"$dir/f99\"; lith umount \"$dir\"; lith gc --all; ls \"$STORE/overlay\"";
    let out = ok(&lab, &store, script);
    assert!(out.starts_with("126\n0\n125\nUntagged: "), "{out}");
    assert!(out.contains("\n0\n99\nremoved "), "{out}");
    assert!(out.ends_with("mapping\n"), "{out}");
}

#[test]
fn gc_leaves_what_is_mounted() {
    let Some(lab) = lab_with_app() else { return };
    let script = "dir=$(lith mount app); pack \"$dir\" before.tar; lith rmi app base >/dev/null
        lith gc --all >/dev/null; echo 3 >/proc/sys/vm/drop_caches
        pack \"$dir\" after.tar; cmp before.tar after.tar
        for id in \"$STORE\"/overlay/*/diff; do test -d \"$id\"; done; ls \"$STORE/overlay\" \"$STORE/l\" | wc -l
        lith umount \"$dir\"; lith gc --all >/dev/null; ls \"$STORE/overlay\" \"$STORE/l\"";
    let out = ok(&lab, "s", &format!("{TAR}{script}"));
    // Three layers and what they are mapped by, two headlines and an empty line, three links.
    assert!(out.starts_with("10\n"), "{out}");
    assert!(out.ends_with("/overlay:\nmapping\n"), "{out}");
    // Whoever mounts layers by their short links, as docker does, keeps them too.
    lab.ok("s", &["import", "base.tar", "base"]);
    let script = "lith mount base >/dev/null; lith umount base; mkdir m none; cd \"$STORE\"
        mount -t overlay overlay -o \"lowerdir=l/$(ls l):$OLDPWD/none\" \"$OLDPWD/m\"; cd - >/dev/null
        lith rmi base >/dev/null; lith gc --all >/dev/null; ls \"$STORE/l\" | wc -l; test -x m/bin/busybox
        umount m; lith gc --all >/dev/null; ls \"$STORE/l\" | wc -l";
    assert_eq!(ok(&lab, "s", script), "1\n0\n");
}

#[test]
fn mounting_at_once_in_use_and_after_a_restart() {
    let Some(lab) = lab_with_app() else { return };
    let script = "for i in 1 2 3 4; do lith mount app & done; wait; lith mount | grep -c app
        dir=$(lith mount app); cd \"$dir\"; ! lith umount app 2>\"$OLDPWD/err\"; cd \"$OLDPWD\"; cat err
        mkdir d e; lith mount app d; ! lith umount app 2>err; cat err; ! lith mount base d 2>err; cat err
        ! lith umount e 2>err; cat err; ! lith mount app no 2>err; cat err; lith umount d \"$dir\"; ! lith umount app 2>err
        cat err; lith mount app";
    let out = ok(&lab, "s", script);
    let dir = out.lines().next().unwrap().to_owned();
    let base = lab.path("").canonicalize().unwrap().display().to_string();
    let d = format!("{base}/d");
    let expected = [
        &dir,
        &dir,
        &dir,
        &dir,
        "1",
        &format!(
            "error: {dir} is in use; end what has its files open or works in it (`fuser -vm` lists them)"
        ),
        &format!("error: app is mounted several times; name one of {dir}, {d}"),
    ];
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[..7], expected);
    assert!(
        lines[7].starts_with("error: image ")
            && lines[7].ends_with(&format!("is mounted at {d}; unmount it first (lith umount)")),
        "{out}"
    );
    assert_eq!(
        lines[8..],
        [
            "error: nothing that lith mounted is at e; `lith mount` lists what is",
            "error: no is not a directory; make one to mount the image at, or name none",
            "error: app is not mounted; `lith mount` lists what is",
            &dir,
        ]
    );
    // The namespace is gone, and with it the mount, as after a restart; the directory is still there.
    assert!(fs::exists(&dir).unwrap());
    let out = ok(
        &lab,
        "s",
        "lith mount | wc -l; dir=$(lith mount app); test -x \"$dir/bin/busybox\"; lith umount app; ls -A \"$STORE/mounts\"",
    );
    assert_eq!(out, "1\n.empty\n");
}

/// A layer may be in an image twice; overlayfs takes a directory once.
#[test]
fn a_layer_that_is_there_twice() {
    let Some(lab) = kernel_lab() else { return };
    lab.base("s", "base");
    lab.write("ctx/f", "f");
    let text = "FROM base\nCOPY f /d/f\nRUN rm -r d && mkdir d && touch d/g\nCOPY f /d/f\nRUN ls d > seen\n";
    lab.write("ctx/Dockerfile", text);
    lab.build("s", "ctx", &["-t", "twice"]);
    lab.ok("s", &["bundle", "twice", "b", "x"]);
    let out = ok(
        &lab,
        "s",
        "dir=$(lith mount twice); cat \"$dir/seen\"; ls \"$dir/d\" b/rootfs/d; lith umount twice",
    );
    let (seen, rest) = out.split_at(4);
    assert_eq!(seen, "f\ng\n");
    assert!(rest.starts_with("/") && rest.matches("f\ng\n").count() == 2, "{out}");
}

#[test]
fn images_without_files_and_plain_users() {
    let Some(lab) = kernel_lab() else { return };
    lab.write("ctx/Dockerfile", "FROM scratch\nCMD [\"x\"]\n");
    lab.build("s", "ctx", &["-t", "empty"]);
    let out =
        ok(&lab, "s", "dir=$(lith mount empty); ls -A \"$dir\"; stat -c %a \"$dir\"; lith umount empty");
    assert_eq!(out, "755\n");
    let Some(user) = User::new("mount", Ids::Range) else { return };
    user.base("base");
    for args in [&["mount", "base"][..], &["umount", "base"]] {
        let ran = user.run(args);
        assert_eq!(ran.code, 3, "{}", ran.err);
        assert!(ran.err.contains("what other processes see; `lith run "), "{}", ran.err);
    }
    assert_eq!(user.ok(&["mount"]).out, "IMAGE ID  NAMES  DIRECTORY\n");
}
