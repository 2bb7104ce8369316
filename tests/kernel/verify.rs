//! Layers that give away who touched them: whatever is done to an unpacked layer is found, named and made undone.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use lith::digest::{BlobDigest, DiffId};
use lith::store::verify::Finding;
use lith::store::{Store, Unpacking};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use serde_json::Value;

use crate::rootless::{Ids, User};
use crate::support::{Lab, Ran, has, kernel_lab, skip};

const STEP: &str = "mkdir -p /d/e/f /d/o && echo a > /d/a && ln /d/a /d/b && ln -s a /d/l && mkfifo /d/p && \
    echo in > /d/e/f/in && rm /bin/vi && chmod 4755 /d/a && chown 3:4 /d/e";

/// What a harm is done by, what of the report says so.
type Harm<'a> = (&'a str, &'a [&'a str]);

/// What changes names, bytes and modes. `$OUT` is a directory beside the store.
const HARMS: &[Harm] = &[
    ("echo x > d/new", &["added    /d/new  a file\n", "changed  /d  time "]),
    (
        "printf 'b\\n' | dd of=d/a conv=notrunc status=none; chmod 4755 d/a; touch -d @0 d/a",
        &["changed  /d/a  other bytes, as many\n", "differs in 1 path\n"],
    ),
    ("echo more >> d/e/f/in; touch -d @0 d/e/f/in", &["changed  /d/e/f/in  other bytes: 8, was 3\n"]),
    ("chmod 755 d/a", &["changed  /d/a  mode 0755, was 4755\n", "differs in 1 path\n"]),
    ("touch -d @5 d/e", &["changed  /d/e  time 1970-01-01T00:00:05Z, was 1970-01-01T00:00:00Z\n"]),
    ("touch -hd @0.5 d/l", &["changed  /d/l  time 1970-01-01T00:00:00.5Z, was "]),
    ("setfattr -n user.x -v y d/o", &["changed  /d/o  xattr user.x was added\n", "differs in 1 path\n"]),
    (
        "rm d/e/f/in; ln -s /etc/passwd d/e/f/in; touch -hd @0 d/e/f/in",
        &["changed  /d/e/f/in  is a symlink, was a file\n"],
    ),
    ("ln -sfn b d/l; touch -hd @0 d/l d", &["changed  /d/l  target b, was a\n"]),
    ("rm d/p", &["removed  /d/p\n"]),
    ("rm -r d/e", &["removed  /d/e\n", "removed  /d/e/f\n", "removed  /d/e/f/in\n"]),
    ("rm bin/vi", &["removed  /bin/vi\n"]),
    ("mknod d/e/f/gone c 0 0", &["added    /d/e/f/gone  a whiteout\n"]),
    ("rm d/e/f/in; mknod d/e/f/in c 0 0", &["changed  /d/e/f/in  is a whiteout, was a file\n"]),
    ("ln d/e/f/in $OUT/in", &["changed  /d/e/f/in  names 2, was 1\n", "differs in 1 path\n"]),
    (
        "cp -p d/e/f/in $OUT/same; ln -f $OUT/same d/e/f/in; touch -d @0 d/e/f",
        &["changed  /d/e/f/in  names 2, was 1\n", "differs in 1 path\n"],
    ),
    ("cp -p d/b d/c; mv d/c d/b", &["changed  /d/b  no longer the same file as /d/a\n"]),
    ("rm d/e/f/in; mkfifo d/e/f/in", &["changed  /d/e/f/in  is a FIFO, was a file\n"]),
    ("rm d/e/f/in; mknod d/e/f/in c 1 5", &["changed  /d/e/f/in  is a character device, was a file\n"]),
    (
        "mkfifo d/e/f/wait; mknod d/zero c 1 5",
        &["added    /d/e/f/wait  a FIFO\n", "added    /d/zero  a character device\n"],
    ),
    (
        "ln -s loop d/loop; ln -s . d/e/self",
        &["added    /d/loop  a symlink\n", "added    /d/e/self  a symlink\n"],
    ),
    (
        "rm d/e/f/in; mkdir d/e/f/in; echo x > d/e/f/in/x",
        &["changed  /d/e/f/in  is a directory, was a file\n", "added    /d/e/f/in/x  a file\n"],
    ),
    // What is outside is just what was inside: whoever follows the symlink finds nothing wrong.
    (
        "mv d/e $OUT/e; ln -s $OUT/e d/e; touch -hd @0 d/e d",
        &["changed  /d/e  is a symlink, was a directory\n", "removed  /d/e/f/in\n"],
    ),
    (
        "here=$PWD; mv $here $OUT/diff; ln -s $OUT/diff $here",
        &["changed  /  is no directory, was a directory\n"],
    ),
];

/// What takes the ids of root.
const ROOTS: &[Harm] = &[
    ("chown 7:8 d/e", &["changed  /d/e  owner 7:8, was 3:4\n", "differs in 1 path\n"]),
    ("chown -h 7:8 d/l", &["changed  /d/l  owner 7:8, was 0:0\n"]),
    (
        "setfattr -n security.capability -v 0x0100000200000400000000000000000000000000 d/e/f/in",
        &["changed  /d/e/f/in  xattr security.capability was added\n"],
    ),
    (
        "setfattr -n trusted.overlay.opaque -v y d/e",
        &["changed  /d/e  xattr trusted.overlay.opaque was added\n"],
    ),
    ("setfattr -n trusted.overlay.opaque -v y .", &["changed  /  xattr trusted.overlay.opaque was added\n"]),
    (
        "setfattr -n trusted.overlay.redirect -v /etc d/e",
        &["changed  /d/e  xattr trusted.overlay.redirect was"],
    ),
    (
        "setfattr -n trusted.overlay.metacopy d/e/f/in",
        &["changed  /d/e/f/in  xattr trusted.overlay.metacopy was"],
    ),
];

/// The same as a user whose ids begin at 700000 for id 1.
const USERS: &[Harm] = &[
    ("chown 700006:700007 d/e", &["changed  /d/e  owner 7:8, was 3:4\n", "differs in 1 path\n"]),
    ("setfattr -n user.overlay.opaque -v y d/e", &["changed  /d/e  xattr user.overlay.opaque was added\n"]),
    ("echo root > d/secret; chmod 600 d/secret", &["added    /d/secret  a file\n"]),
];

/// An image of a base and two steps in somebody's store.
struct Story<'a> {
    out: PathBuf,
    /// The unpacked layer of [`STEP`].
    layer: PathBuf,
    run: &'a dyn Fn(&[&str]) -> Ran,
}

fn context(lab: &Lab) {
    lab.write("ctx/Dockerfile", format!("FROM alpine\nRUN {STEP}\nRUN echo x > /x\n"));
}

fn inspected(run: &dyn Fn(&[&str]) -> Ran, name: &str) -> Value {
    let ran = run(&["image", "inspect", name]);
    serde_json::from_str::<Value>(&ran.out).expect(&ran.err)[0].clone()
}

impl<'a> Story<'a> {
    fn new(lab: &Lab, run: &'a dyn Fn(&[&str]) -> Ran) -> Self {
        let lower = inspected(run, "app")["GraphDriver"]["Data"]["LowerDir"].as_str().unwrap().to_owned();
        let out = lab.path("out");
        fs::create_dir_all(&out).unwrap();
        Self { out, layer: lower.split(':').next().unwrap().into(), run }
    }

    fn sh(&self, script: &str) {
        let mut shell = Command::new("sh");
        let done = shell.args(["-ec", script]).env("OUT", &self.out).current_dir(&self.layer).status();
        assert!(done.unwrap().success(), "{script}");
    }

    #[track_caller]
    fn code(&self, args: &[&str], code: i32) -> Ran {
        let ran = (self.run)(args);
        assert_eq!(ran.code, code, "{args:?}\n{}\n{}", ran.out, ran.err);
        ran
    }

    /// Everything that a layer is made of, xattrs and links too. Its root is that of an upper directory.
    fn state(&self) -> BTreeSet<String> {
        state(&self.layer)
    }

    /// Does each harm, has it named and undone.
    #[track_caller]
    fn each(&self, harms: &[Harm]) {
        self.code(&["store", "verify"], 0);
        let whole = self.state();
        for (harm, named) in harms {
            self.sh(harm);
            for args in [&["store", "verify"][..], &["store", "verify", "app"]] {
                let ran = self.code(args, 1);
                for named in *named {
                    assert!(ran.out.contains(named), "{harm}: no {named:?} in\n{}", ran.out);
                }
                assert!(ran.err.contains("--repair"), "{}", ran.err);
            }
            let ran = self.code(&["store", "verify", "--repair"], 0);
            assert!(ran.out.contains("repaired from its tar"), "{harm}: {}", ran.out);
            self.code(&["store", "verify"], 0);
            assert_eq!(self.state(), whole, "{harm}");
            let _ = fs::remove_dir_all(&self.out);
            fs::create_dir_all(&self.out).unwrap();
        }
    }
}

fn state(layer: &Path) -> BTreeSet<String> {
    // A whiteout has no time; where a file was copied from is for overlayfs alone.
    let script = "find . -mindepth 1 -type c -printf '%P %y %m %n\\n' -o -mindepth 1 -printf '%P %y %m %U:%G %T@ %n %l\\n'; \
        find . -type f -exec sha256sum {} +; \
        find . -mindepth 1 ! -type l -exec getfattr -dm '^(security|user.x|user.lith)' {} +";
    let output = Command::new("sh").args(["-ec", script]).current_dir(layer).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// A store of root with the image `app`; verification that hangs is killed, and so fails.
fn roots() -> Option<Lab> {
    let lab = kernel_lab()?;
    lab.base("store", "alpine");
    context(&lab);
    lab.build("store", "ctx", &["-t", "app"]);
    Some(lab)
}

fn patient(lab: &Lab, args: &[&str]) -> Ran {
    let command = lab.command("store", args);
    let mut timed = Command::new("timeout");
    timed.args(["-k", "1", "120"]).arg(command.get_program()).args(command.get_args());
    Ran::of(timed.current_dir(lab.path("")).output().unwrap())
}

#[test]
fn whatever_is_done_to_a_layer_is_named_and_undone() {
    let Some(lab) = roots() else { return };
    let run = |args: &[&str]| patient(&lab, args);
    let story = Story::new(&lab, &run);
    story.each(HARMS);
    story.each(ROOTS);
    // What was there before is kept for those who use it, until nobody does.
    assert!(!lith::sys::dir::list_path(&lab.path("store/tmp")).unwrap().is_empty());
    lab.ok("store", &["gc"]);
    assert!(lith::sys::dir::list_path(&lab.path("store/tmp")).unwrap().is_empty());
    let built = lab.build("store", "ctx", &[]);
    assert_eq!(built.with_status("built"), [""; 0]);
}

#[test]
fn users_find_and_undo_it_too() {
    for (tag, ids) in [("vr", Ids::Range), ("vs", Ids::Single)] {
        let Some(user) = User::new(tag, ids) else { return };
        user.base("alpine");
        context(&user.lab);
        user.build("ctx", &["-t", "app"]);
        let run = |args: &[&str]| user.run(args);
        let story = Story::new(&user.lab, &run);
        story.each(&HARMS[..6]);
        match ids {
            Ids::Range => story.each(USERS),
            Ids::Single => {
                // An owner that the file cannot have is what it says of itself.
                let harm = "setfattr -n user.lith.owner -v 7:8 d/e";
                story.each(&[(harm, &["changed  /d/e  owner 7:8, was 3:4\n"]), USERS[1]]);
            }
        }
        user.ok(&["gc"]);
        assert_eq!(user.build("ctx", &[]).with_status("built"), [""; 0]);
    }
}

/// A layer that takes a directory from below is unpacked with it, and held against that too.
#[test]
fn a_layer_that_leans_on_what_is_below_is_held_too() {
    let Some(lab) = kernel_lab() else { return };
    let script = "mkdir -p root/bin root/deep/in; cp $(command -v busybox) root/bin/busybox; ln -s busybox root/bin/sh; \
        chmod 750 root/deep; chown 5:6 root/deep; tar -C root -cf 1.tar bin deep; \
        echo top > root/deep/in/file; tar -C root -cf 2.tar deep/in/file";
    fs::create_dir(lab.path("lean")).unwrap();
    let made = Command::new("sh").args(["-ec", script]).current_dir(lab.path("lean")).status();
    assert!(made.unwrap().success());
    let diff = |name: &str| BlobDigest::of(&fs::read(lab.path("lean").join(name)).unwrap()).to_string();
    let config = serde_json::json!({
        "architecture": match std::env::consts::ARCH { "aarch64" => "arm64", _ => "amd64" },
        "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [diff("1.tar"), diff("2.tar")]},
    });
    lab.write("lean/config.json", config.to_string());
    let manifest = serde_json::json!([{"Config": "config.json", "RepoTags": ["lean:latest"], "Layers": ["1.tar", "2.tar"]}]);
    lab.write("lean/manifest.json", manifest.to_string());
    let files = ["-cf", "lean.tar", "-C", "lean", "manifest.json", "config.json", "1.tar", "2.tar"];
    assert!(Command::new("tar").args(files).current_dir(lab.path("")).status().unwrap().success());
    lab.ok("store", &["load", "lean.tar"]);
    lab.write("ctx/Dockerfile", "FROM lean\nRUN : > /done\n");
    lab.build("store", "ctx", &["-t", "app"]);
    let run = |args: &[&str]| patient(&lab, args);
    let story = Story::new(&lab, &run);
    assert!(story.layer.join("deep/in/file").exists() && !story.layer.join("bin").exists(), "it leans");
    story.each(&[
        ("chmod 755 deep", &["changed  /deep  mode 0755, was 0750\n"]),
        ("chown 0:0 deep", &["changed  /deep  owner 0:0, was 5:6\n"]),
        ("echo x > deep/new", &["added    /deep/new  a file\n"]),
        ("mkdir bin; echo evil > bin/sh", &["added    /bin  a directory\n", "added    /bin/sh  a file\n"]),
    ]);
    lab.ok("store", &["rmi", "app"]);
    story.sh("echo x > deep/new");
    story.code(&["store", "verify", "lean"], 1);
    story.code(&["store", "verify", "--repair"], 0);
}

#[test]
fn a_tree_deeper_than_any_path_is_named_by_its_top() {
    let Some(lab) = roots() else { return };
    let run = |args: &[&str]| patient(&lab, args);
    let story = Story::new(&lab, &run);
    story.sh("perl -e 'for (1..3000) { mkdir \"n\" or die; chdir \"n\" or die }'");
    let ran = story.code(&["store", "verify"], 1);
    assert!(ran.out.contains("added    /n  a directory\n") && ran.out.contains("and 19"), "{}", ran.out);
    let json = story.code(&["store", "verify", "--format", "json"], 1).out;
    let line: Value = serde_json::from_str(json.trim()).unwrap();
    assert_eq!(line["changes"].as_array().unwrap().len(), 2049);
    story.code(&["store", "verify", "--repair"], 0);
    story.code(&["store", "verify"], 0);
    assert!(Command::new("rm").arg("-rf").arg(lab.path("store/tmp")).status().unwrap().success());
}

/// Something mounted over a layer hides what overlayfs sees; that is named, and not looked into.
#[test]
fn what_is_mounted_over_a_layer_is_named() {
    let Some(lab) = roots() else { return };
    let run = |args: &[&str]| patient(&lab, args);
    let story = Story::new(&lab, &run);
    for (target, named) in [("d/e", "/d/e"), ("d/e/f/in", "/d/e/f/in"), ("d/p", "/d/p"), (".", "/")] {
        let script = format!(
            "cp -a {target} $OUT/copy; mount --bind $OUT/copy {target}; cd /; \"$@\"; code=$?; exit $code"
        );
        let command = lab.command("store", &["store", "verify"]);
        let mut unshare = Command::new("unshare");
        unshare.args(["-m", "sh", "-c", &script, "sh"]).arg(command.get_program());
        unshare.arg("--root").arg(lab.path("store")).args(["store", "verify"]);
        let ran = Ran::of(unshare.env("OUT", &story.out).current_dir(&story.layer).output().unwrap());
        assert_eq!(ran.code, 1, "{target}: {}{}", ran.out, ran.err);
        assert!(ran.out.contains(&format!("changed  {named}  something is mounted here\n")), "{}", ran.out);
        fs::remove_dir_all(&story.out).unwrap();
        fs::create_dir(&story.out).unwrap();
    }
    story.code(&["store", "verify"], 0);
}

/// An image of many small files, some large ones and one of several names, all of it unpacked.
fn large(lab: &Lab) -> PathBuf {
    lab.base("store", "alpine");
    lab.write(
        "ctx/Dockerfile",
        "FROM alpine\nRUN mkdir /m && cd /m && i=0 && while [ $i -lt 3000 ]; do \
         head -c 4000 /dev/zero > f$i; echo $i >> f$i; i=$((i+1)); done; head -c 20000000 /dev/zero > large; \
         head -c 300000 /dev/zero > middle; ln middle again; ln large twice\nRUN echo x > /x\n",
    );
    lab.build("store", "ctx", &["-t", "app"]);
    let run = |args: &[&str]| patient(lab, args);
    Story::new(lab, &run).layer
}

/// Bytes of all files below a directory, each inode once.
fn bytes_below(dir: &Path) -> u64 {
    let mut seen = BTreeSet::new();
    let mut dirs = vec![dir.to_owned()];
    let mut bytes = 0;
    while let Some(dir) = dirs.pop() {
        for entry in lith::sys::dir::list_path(&dir).unwrap() {
            let path = dir.join(std::ffi::OsStr::from_bytes(&entry.name));
            let meta = fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() {
                dirs.push(path);
            } else if meta.is_file() && seen.insert(meta.ino()) {
                bytes += meta.len();
            }
        }
    }
    bytes
}

/// What a process has read in its life: asked of the kernel when it has ended and nobody has taken note of that yet.
fn bytes_read(mut command: Command) -> u64 {
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let pid = Pid::from_child(&child);
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
    let io = fs::read_to_string(format!("/proc/{}/io", child.id())).unwrap();
    assert!(child.wait().unwrap().success());
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap();
    line.parse().unwrap()
}

#[test]
fn each_byte_is_read_once() {
    let Some(lab) = kernel_lab() else { return };
    large(&lab);
    let blobs = bytes_below(&lab.path("store/blobs"));
    let (layers, tables) = (bytes_below(&lab.path("store/overlay")), bytes_below(&lab.path("store/tocs")));
    assert!(layers > 32_000_000 && blobs > 32_000_000);
    let read = bytes_read(lab.command("store", &["store", "verify"]));
    let least = blobs + layers;
    // The program, its libraries, records and configs.
    let most = least + tables + 300_000;
    assert!((least..most).contains(&read), "{read} bytes of {least} to {most}");
}

fn layers_of(lab: &Lab) -> Vec<DiffId> {
    let run = |args: &[&str]| lab.run("store", args);
    let layers = inspected(&run, "app")["RootFS"]["Layers"].clone();
    layers.as_array().unwrap().iter().map(|layer| layer.as_str().unwrap().parse().unwrap()).collect()
}

#[test]
fn one_image_is_audited_by_a_call() {
    let Some(lab) = kernel_lab() else { return };
    let layer = large(&lab);
    let store = Store::open(&lab.path("store"), Unpacking::Root).unwrap();
    let layers = layers_of(&lab);
    assert!(store.verify_stack(&layers).unwrap().is_empty());
    // The last byte of the last piece, and every file of several names by the first of them.
    for (file, at) in [("m/large", 19_999_999), ("m/twice", 8_388_608), ("m/again", 299_999), ("m/f1234", 0)]
    {
        use std::os::unix::fs::FileExt as _;
        let path = layer.join(file);
        let times = fs::metadata(&path).unwrap().modified().unwrap();
        let open = fs::OpenOptions::new().write(true).open(&path).unwrap();
        open.write_all_at(b"!", at).unwrap();
        open.set_modified(times).unwrap();
        let found = store.verify_stack(&layers).unwrap();
        let [Finding::Unpacked { deviations, stack, dir }] = &found[..] else { panic!("{file}: {found:?}") };
        assert_eq!((deviations.len(), stack.len(), dir), (1, 2, &layer), "{deviations:?}");
        assert!(deviations[0].change.to_string().starts_with("other bytes, as many"), "{deviations:?}");
        assert!(store.repair(&found[0]).is_well());
        assert!(store.verify_stack(&layers).unwrap().is_empty());
    }
    // What was never unpacked is no one's to touch.
    fs::remove_dir_all(layer.parent().unwrap()).unwrap();
    assert!(store.verify_stack(&layers).unwrap().is_empty());
}

/// Who has the old directory mounted keeps it; who comes later gets the new one.
#[test]
fn a_repair_leaves_mounts_alone() {
    let Some(lab) = roots() else { return };
    let run = |args: &[&str]| patient(&lab, args);
    let story = Story::new(&lab, &run);
    let whole = story.state();
    story.sh("echo evil > d/e/f/in; echo more > d/more");
    fs::create_dir_all(lab.path("m")).unwrap();
    fs::create_dir_all(lab.path("empty")).unwrap();
    let script = "mount -t overlay o -o lowerdir=$2:$3 $1; shift 3; cat m/d/e/f/in; \"$@\" --root store store verify --repair || exit 9; \
        echo 2 > /proc/sys/vm/drop_caches; cat m/d/e/f/in m/d/more; ls m/d | wc -l";
    let mut unshare = Command::new("unshare");
    unshare
        .args(["-m", "sh", "-c", script, "sh"])
        .arg(lab.path("m"))
        .arg(&story.layer)
        .arg(lab.path("empty"));
    let ran = Ran::of(unshare.arg(env!("CARGO_BIN_EXE_lith")).current_dir(lab.path("")).output().unwrap());
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.starts_with("evil\n") && ran.out.ends_with("evil\nmore\n7\n"), "{}", ran.out);
    assert_eq!(story.state(), whole);
}

#[test]
fn builds_go_on_while_layers_are_repaired() {
    let Some(lab) = roots() else { return };
    let run = |args: &[&str]| patient(&lab, args);
    let story = Story::new(&lab, &run);
    let whole = story.state();
    lab.write(
        "more/Dockerfile",
        "FROM app\nRUN for i in 1 2 3; do cat /d/e/f/in /d/a; ls /d/e; done > /all\n",
    );
    let expected = lab.build("store", "more", &[]).manifest();
    std::thread::scope(|scope| {
        let builder = scope.spawn(|| {
            for _ in 0..15 {
                assert_eq!(lab.build("store", "more", &["--no-cache"]).manifest(), expected);
            }
        });
        let mut repairs = 0;
        while !builder.is_finished() {
            story.sh("touch d/o/new");
            story.code(&["store", "verify", "--repair"], 0);
            repairs += 1;
        }
        builder.join().unwrap();
        assert!(repairs > 3, "{repairs}");
    });
    story.code(&["store", "verify"], 0);
    assert_eq!(story.state(), whole);
}

/// What a killed repair leaves verifies or is found damaged, and is repaired by the next.
fn repaired_after(story: &Story<'_>, whole: &BTreeSet<String>, table: (&Path, &[u8])) -> i32 {
    let ran = (story.run)(&["store", "verify"]);
    assert!(matches!(ran.code, 0 | 1), "{}{}", ran.out, ran.err);
    story.code(&["store", "verify", "--repair"], 0);
    story.code(&["store", "verify"], 0);
    assert_eq!(story.state(), *whole);
    assert_eq!(fs::read(table.0).unwrap(), table.1);
    ran.code
}

#[test]
fn a_kill_during_a_repair_leaves_a_store_that_can_be_repaired() {
    let Some(lab) = roots() else { return };
    if !has("strace") {
        return skip("needs strace").unwrap_or(());
    }
    let run = |args: &[&str]| patient(&lab, args);
    let story = Story::new(&lab, &run);
    let whole = story.state();
    let table = lab.path("store/tocs").join(layers_of(&lab)[1].hex());
    let sound = fs::read(&table).unwrap();
    let (mut killed, mut hurt) = (Vec::new(), 0);
    // The last exchange of directories is a renameat2, what comes before it are files that get their names.
    for (calls, moments) in [("rename", 1..6), ("renameat2", 1..2), ("mkdirat", 1..4), ("mknodat", 1..3)] {
        for when in moments {
            story.sh("echo evil > d/e/f/in; rm d/p; chmod 600 d/a; echo x > d/new");
            fs::write(&table, "rotten").unwrap();
            let mut command = Command::new("strace");
            command.args(["-f", "-qq", "-o", "/dev/null", "-e"]).arg(format!("trace={calls}"));
            command.arg(format!("--inject={calls}:signal=KILL:when={when}"));
            command.arg(env!("CARGO_BIN_EXE_lith")).arg("--root").arg(lab.path("store"));
            let ended = command.args(["store", "verify", "--repair"]).output().unwrap();
            if !ended.status.success() {
                killed.push(calls);
            }
            hurt += repaired_after(&story, &whole, (&table, &sound));
        }
    }
    for calls in ["rename", "renameat2", "mkdirat", "mknodat"] {
        assert!(killed.contains(&calls), "no repair was killed at {calls}: {killed:?}");
    }
    assert!(hurt > 3, "{hurt}");
    // And at any moment.
    story.sh("echo x > d/new");
    let began = Instant::now();
    story.code(&["store", "verify", "--repair"], 0);
    let long = began.elapsed();
    for round in 0u32..16 {
        story.sh("echo evil > d/e/f/in; rm d/p; chmod 600 d/a; echo x > d/new");
        fs::write(&table, "rotten").unwrap();
        let mut child =
            lab.command("store", &["store", "verify", "--repair"]).stdout(Stdio::null()).spawn().unwrap();
        let started = Instant::now();
        while started.elapsed() < long * round / 16 && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let _ = child.kill();
        child.wait().unwrap();
        repaired_after(&story, &whole, (&table, &sound));
    }
    lab.ok("store", &["gc"]);
    assert!(lith::sys::dir::list_path(&lab.path("store/tmp")).unwrap().is_empty());
}

/// A tar that rotted cannot mend its layer: that is said, and nothing is put in place.
#[test]
fn a_rotten_tar_repairs_nothing() {
    let Some(lab) = roots() else { return };
    let run = |args: &[&str]| patient(&lab, args);
    let story = Story::new(&lab, &run);
    story.sh("echo evil > d/new");
    let diff = layers_of(&lab)[1];
    let tar = lab.path("store/blobs/sha256").join(diff.hex());
    let sound = fs::read(&tar).unwrap();
    let mut rotten = sound.clone();
    *rotten.last_mut().unwrap() ^= 1;
    fs::write(&tar, &rotten).unwrap();
    let ran = story.code(&["store", "verify", "--repair"], 1);
    let text = format!("blob sha256:{} is corrupt", diff.hex());
    assert!(ran.out.contains(&format!("\n  not repaired: {text}")), "{}", ran.out);
    assert!(ran.out.contains("lith build --no-cache"), "{}", ran.out);
    assert!(story.layer.join("d/new").exists());
    fs::write(&tar, sound).unwrap();
    story.code(&["store", "verify", "--repair"], 0);
    assert!(!story.layer.join("d/new").exists());
}

/// The short name of a layer is what an overlay may be mounted by.
#[test]
fn short_names_are_held_too() {
    let Some(lab) = roots() else { return };
    let run = |args: &[&str]| patient(&lab, args);
    let story = Story::new(&lab, &run);
    let overlay = story.layer.parent().unwrap();
    let name = fs::read_to_string(overlay.join("link")).unwrap();
    let short = lab.path("store/l").join(&name);
    let target = fs::read_link(&short).unwrap();
    let harms: [(&dyn Fn(), &str); 4] = [
        (&|| fs::remove_file(&short).unwrap(), "cannot be read"),
        (
            &|| {
                fs::remove_file(&short).unwrap();
                symlink("/etc", &short).unwrap();
            },
            "leads to /etc",
        ),
        (&|| fs::write(overlay.join("link"), "OTHER").unwrap(), "is not noted"),
        (
            &|| {
                fs::remove_file(overlay.join("link")).unwrap();
                fs::create_dir(overlay.join("link")).unwrap();
            },
            "is not noted",
        ),
    ];
    for (harm, named) in harms {
        harm();
        let ran = story.code(&["store", "verify"], 1);
        assert!(ran.out.contains(named) && ran.out.contains(&*layers_of(&lab)[1].to_string()), "{}", ran.out);
        story.code(&["store", "verify", "--repair"], 0);
        story.code(&["store", "verify"], 0);
        assert_eq!(fs::read_link(&short).unwrap(), target);
        assert_eq!(fs::read_to_string(overlay.join("link")).unwrap(), name);
    }
}

/// A layer that passes for one of an earlier boot is no way out: it is not looked at, because it is never used.
#[test]
fn a_layer_that_is_not_looked_at_is_not_used_either() {
    let Some(lab) = roots() else { return };
    let run = |args: &[&str]| patient(&lab, args);
    let story = Story::new(&lab, &run);
    let whole = story.state();
    for note in ["another boot", ""] {
        story.sh("echo evil > d/e/f/in");
        fs::write(story.layer.parent().unwrap().join("boot"), note).unwrap();
        assert!(story.code(&["store", "verify"], 0).out.contains("2 unpacked layers checked"));
        lab.write("more/Dockerfile", "FROM app\nRUN [ $(cat /d/e/f/in) = in ]\n");
        lab.build("store", "more", &["--no-cache"]);
        assert_eq!(story.state(), whole);
        story.code(&["store", "verify"], 0);
    }
}
