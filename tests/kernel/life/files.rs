//! What containers changed, seen from outside: `diff` and `commit`.

use std::collections::BTreeSet;
use std::fs;

use super::{World, eventually};
use crate::peers::tools::{ok, unpack};
use crate::rootless::Ids;
use crate::support::has;

/// Every kind of change: new, changed, deleted, hidden by a directory made anew, links, modes, what is beside a mount.
const CHANGES: &str = "set -e; mkdir -p /new/deep; echo x > /new/deep/file; ln /new/deep/file /new/hard; \
    ln -s /etc /new/link; rm /etc/group; echo more >> /etc/passwd; chmod 0700 /root; rm -r /srv/old; mkdir /srv/old; \
    echo y > /srv/old/other; touch /mnt/seen; rm /mnt/seen; echo in > /mnt/volume/in; touch -d @1000 /srv/kept; \
    mkfifo /new/fifo; chmod 000 /new/hard; echo gone > /tmp/gone; rm /tmp/gone";
/// What it comes to. `/mnt` is there for the mount alone; a later time is that of the epoch, which `/srv/kept` has already.
const LINES: [&str; 14] = [
    "C /etc",
    "D /etc/group",
    "C /etc/passwd",
    "A /new",
    "A /new/deep",
    "A /new/deep/file",
    "A /new/fifo",
    "A /new/hard",
    "A /new/link",
    "C /root",
    "C /srv",
    "C /srv/old",
    "D /srv/old/file",
    "A /srv/old/other",
];

/// As root, as a user with ids, as one without.
pub fn worlds(tag: &str) -> Vec<World> {
    let (range, single) = (format!("{tag}r"), format!("{tag}s"));
    let all = [World::root(), World::user(&range, Ids::Range), World::user(&single, Ids::Single)];
    all.into_iter().flatten().collect()
}

/// An image `app` with something to change and to hide.
fn app(world: &World) {
    let lab = world.lab();
    lab.write("app/srv/old/file", "old");
    lab.write("app/srv/kept", "kept");
    lab.write("app/Dockerfile", "FROM base\nCOPY srv /srv\nENV A=1\nCMD [\"sh\"]\n");
    world.ok(&["build", "-q", "-t", "app", lab.path("app").to_str().unwrap()]);
}

/// The entries of an image's topmost layer as `diff` would say them: deletions, and all else.
fn entries(world: &World, image: &str) -> BTreeSet<(bool, String)> {
    let layers = world.inspect(image)["RootFS"]["Layers"].clone();
    let top = layers.as_array().unwrap().last().unwrap().as_str().unwrap().replace("sha256:", "sha256/");
    let tar = fs::read(world.store().join("blobs").join(top)).unwrap();
    let mut archive = tar::Archive::new(tar.as_slice());
    let paths = archive.entries().unwrap().map(|entry| {
        let path = entry.unwrap().path().unwrap().to_string_lossy().trim_end_matches('/').to_owned();
        (path.contains(".wh."), format!("/{}", path.replace(".wh.", "")))
    });
    paths.collect()
}

fn said(diff: &str) -> BTreeSet<(bool, String)> {
    diff.lines().map(|line| (line.starts_with('D'), line[2..].to_owned())).collect()
}

#[test]
fn a_diff_says_what_a_commit_holds() {
    for world in worlds("diff") {
        app(&world);
        world.ok(&["run", "--name", "one", "-v", "kept:/mnt/volume", "app", "sh", "-c", CHANGES]);
        let shown = world.ok(&["diff", "one"]);
        assert_eq!(shown.lines().collect::<Vec<_>>(), LINES);
        world.ok(&["commit", "one", "made"]);
        assert_eq!(entries(&world, "made"), said(&shown));
        assert_eq!(world.ok(&["diff", "one"]), shown, "neither changes the container");
        // What it makes is what the container has.
        let script =
            "cat /new/deep/file /etc/passwd; ls -l /new /srv/old; ls -ld /root; ls -R /etc; ls /mnt || true";
        let as_image = world.ok(&["run", "--rm", "made", "sh", "-c", script]);
        assert!(as_image.contains("drwx------") && !as_image.contains("group"), "{as_image}");
        assert!(!as_image.contains("volume"), "{as_image}");

        // One that runs says the same, its volume left out.
        let forever = format!("{CHANGES}; echo ready; exec sleep 1000");
        world.ok(&["run", "-d", "--name", "two", "-v", "kept:/mnt/volume", "app", "sh", "-c", &forever]);
        eventually("the changes", || world.ok(&["logs", "two"]) == "ready");
        assert_eq!(world.ok(&["diff", "two"]), shown);
        world.ok(&["commit", "two", "running"]);
        assert_eq!(entries(&world, "running"), said(&shown));
        world.ok(&["exec", "two", "sh", "-c", "rm -r /new; touch /etc/x"]);
        let later = world.ok(&["diff", "two"]);
        assert!(later.contains("A /etc/x") && !later.contains("/new"), "{later}");

        // One that never ran, and one that changed nothing.
        world.ok(&["create", "--name", "never", "app"]);
        assert_eq!(world.ok(&["diff", "never"]), "");
        world.ok(&["run", "--name", "idle", "-v", "kept:/mnt/volume", "app", "true"]);
        assert_eq!(world.ok(&["diff", "idle"]), "");
        world.ok(&["commit", "idle", "same"]);
        assert_eq!(world.inspect("same")["RootFS"], world.inspect("app")["RootFS"], "no layer of nothing");
        let unknown = world.run(&["diff", "nope"]);
        assert_eq!((unknown.code, unknown.out.as_str()), (1, ""), "{}", unknown.err);
    }
}

#[test]
fn equal_files_give_equal_images() {
    let script = "echo a > /a; mkdir /d; echo b > /d/b; rm /etc/group";
    let mut seen = BTreeSet::new();
    for world in worlds("same") {
        app(&world);
        for name in ["one", "two"] {
            world.ok(&["run", "--name", name, "app", "sh", "-c", script]);
            // Twice, and at another time in another container.
            for _ in 0..2 {
                let args = [
                    "commit",
                    "-a",
                    "me",
                    "-m",
                    "why",
                    "-c",
                    "CMD [\"cat\", \"/a\"]",
                    "-c",
                    "ENV B=$A",
                    name,
                ];
                seen.insert(world.ok(&args));
            }
        }
        let id = seen.first().unwrap();
        let image = world.inspect(id);
        assert_eq!(image["Config"]["Cmd"], serde_json::json!(["cat", "/a"]));
        let env = image["Config"]["Env"].as_array().unwrap();
        assert_eq!(env[env.len() - 2..], ["A=1", "B=1"], "the image's, nothing of the container's own");
        assert_eq!((&image["Author"], &image["Created"]), (&"me".into(), &"1970-01-01T00:00:00Z".into()));
        assert_eq!(world.ok(&["run", "--rm", id]), "a");
        let history = world.ok(&["history", "--no-trunc", id]);
        assert!(history.lines().nth(1).unwrap().contains(&format!("sh -c {script}")), "{history}");
        assert!(history.lines().nth(1).unwrap().contains("why"), "{history}");
        let refused = world.run(&["commit", "-c", "RUN true", "one"]);
        assert_eq!(refused.code, 2, "{}", refused.err);
        assert!(refused.err.contains("RUN true"), "{}", refused.err);
    }
    assert!(seen.len() <= 1, "the same of every user: {seen:?}");
}

#[test]
fn an_epoch_bounds_the_times_of_a_commit() {
    let Some(world) = World::root() else { return };
    world.ok(&["run", "--name", "one", "base", "sh", "-c", "touch /now; touch -d @1000 /old /etc/group"]);
    let mut command = world.command(&["commit", "one", "dated"]);
    let ran = command.env("SOURCE_DATE_EPOCH", "1700000000").output().unwrap();
    assert!(ran.status.success());
    assert_eq!(world.inspect("dated")["Created"], "2023-11-14T22:13:20Z");
    assert_eq!(world.ok(&["run", "--rm", "dated", "stat", "-c", "%Y", "/now", "/old"]), "1700000000\n1000");
    let dated = world.command(&["diff", "one"]).env("SOURCE_DATE_EPOCH", "1700000000").output().unwrap();
    assert_eq!(String::from_utf8(dated.stdout).unwrap(), "C /etc\nC /etc/group\nA /now\nA /old\n");
    assert_eq!(world.ok(&["diff", "one"]), "A /now\nA /old", "all at the epoch's time");
    let bad = world.command(&["commit", "one"]).env("SOURCE_DATE_EPOCH", "soon").output().unwrap();
    assert_eq!(bad.status.code(), Some(2));
}

/// Two files, of which the second never is ahead of the first.
const COUNT: &str =
    "i=0; while :; do i=$((i+1)); echo $i > /new; mv /new /first; echo $i > /new; mv /new /second; done";

#[test]
fn what_changes_while_it_is_read_is_never_a_wrong_layer() {
    let Some(world) = World::root() else { return };
    world.ok(&["run", "-d", "--name", "busy", "base", "sh", "-c", COUNT]);
    eventually("the files", || world.ok(&["diff", "busy"]).contains("A /second"));
    let consistent = |image: &str| {
        let both = world.ok(&["run", "--rm", image, "cat", "/first", "/second"]);
        let numbers: Vec<i64> = both.lines().map(|line| line.parse().unwrap()).collect();
        assert!(matches!(numbers[..], [a, b] if a == b || a == b + 1), "{both}");
    };
    // So little is read in a moment in which nobody writes, or not at all.
    for _ in 0..12 {
        let ran = world.run(&["commit", "busy"]);
        match ran.code {
            0 => consistent(ran.out.trim()),
            // A file that is gone when its turn comes says so in other words, and the same next step.
            code => assert!(code == 1 && ran.err.contains("lith stop busy"), "{}", ran.err),
        }
    }
    // So much is not.
    world.ok(&["exec", "busy", "dd", "if=/dev/zero", "of=/big", "bs=1M", "count=48"]);
    let ran = world.run(&["commit", "busy", "torn"]);
    assert_eq!(ran.code, 1, "{}\n{}", ran.out, ran.err);
    assert!(ran.err.contains("busy") && ran.err.contains("lith stop busy"), "{}", ran.err);
    assert_eq!(world.run(&["image", "inspect", "torn"]).code, 2, "nothing has the name");
    world.ok(&["stop", "-t", "0", "busy"]);
    world.ok(&["commit", "busy", "whole"]);
    consistent("whole");
}

#[test]
fn a_committed_image_is_one_for_others() {
    let Some(world) = World::root() else { return };
    if !has("skopeo") || !has("umoci") {
        crate::support::skip::<()>("needs skopeo and umoci");
        return;
    }
    app(&world);
    world.ok(&["run", "--name", "one", "-v", "kept:/mnt/volume", "app", "sh", "-c", CHANGES]);
    world.ok(&["commit", "-c", "LABEL by=commit", "one", "made:1"]);
    let lab = world.lab();
    world.ok(&["save", "-o", lab.path("made.tar").to_str().unwrap(), "made:1"]);
    ok(lab, "skopeo", &["copy", "docker-archive:made.tar", "oci:made.oci:x"]);
    let label = ok(lab, "skopeo", &["inspect", "--format", "{{.Labels.by}}", "oci:made.oci:x"]);
    assert_eq!(label, "commit");
    let root = unpack(lab, "made.oci:x", "made");
    assert_eq!(fs::read_to_string(root.join("new/deep/file")).unwrap(), "x\n");
    assert_eq!(crate::support::children(&root.join("srv/old")), [root.join("srv/old/other")]);
    assert!(!root.join("etc/group").exists() && !root.join("mnt/volume").exists());
}
