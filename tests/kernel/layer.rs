//! Layers on a real overlayfs: what a process changed is captured, unpacked, and the same again.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails by panicking, as the test does")]
#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::fs::File;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use lith::digest::{ContentDigest, DiffId};
use lith::epoch::Epoch;
use lith::layer::{
    CaptureError, CaptureOptions, Captured, Devices, LayerWriter, Meta, Node, Owners, Toc, Tree,
    UnpackOptions, Written, capture, unpack,
};
use lith::mount::OverlayMarks;
use lith::path::ImagePath;

const EPOCH: i64 = 1_700_000_000;

fn path(text: &str) -> ImagePath {
    ImagePath::parse(text.as_bytes()).unwrap()
}

/// Whether the test can run; says why not, and fails where that must not be.
#[allow(
    clippy::disallowed_methods,
    reason = "the switch by which a machine says that nothing may be skipped"
)]
fn kernel_is_ours() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    assert!(std::env::var_os("LITH_REQUIRE_KERNEL").is_none(), "overlay mounts need root");
    eprintln!("SKIP: overlay mounts need root");
    false
}

/// A base layer, an overlay on it, and a change made by a process.
struct World {
    dir: tempfile::TempDir,
    base: Arc<Toc>,
}

impl World {
    fn new(setup: &str) -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        for name in ["lower", "upper", "work", "merged"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        run(&dir.path().join("lower"), setup);
        let mut world = Self { dir, base: Arc::new(Toc::default()) };
        let (written, _) = world.capture_onto("lower", &Tree::new(vec![]), "base.tar").unwrap();
        world.base = Arc::new(written.toc);
        world
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a script in the overlay; then copies what it left to `state`.
    fn change(&self, script: &str) -> Vec<Shown> {
        self.in_overlay("lower", Some("upper"), &format!("( cd merged\n{script}\n)\ncp -a merged state"));
        self.state()
    }

    /// The overlay of unpacked layers, top first, as entries.
    fn merged(&self, lowers: &str) -> Vec<Shown> {
        self.in_overlay(lowers, None, "cp -a merged state");
        self.state()
    }

    fn in_overlay(&self, lowers: &str, upper: Option<&str>, script: &str) {
        let writable = upper.map(|upper| format!(",upperdir={upper},workdir=work")).unwrap_or_default();
        let options = format!("lowerdir={lowers}{writable},redirect_dir=off,metacopy=off,index=off");
        let mount =
            format!("mount --make-rprivate /\nmount -t overlay overlay -o {options} merged\n{script}");
        let status = Command::new("unshare")
            .args(["-m", "sh", "-euc", &mount])
            .current_dir(self.dir.path())
            .status()
            .unwrap();
        assert!(status.success(), "{script}");
    }

    fn state(&self) -> Vec<Shown> {
        let (written, _) = self.capture_onto("state", &Tree::new(vec![]), "state.tar").unwrap();
        std::fs::remove_dir_all(self.at("state")).unwrap();
        shown(&Tree::new(vec![Arc::new(written.toc)]))
    }

    fn capture_onto(
        &self,
        upper: &str,
        lower: &Tree,
        tar: &str,
    ) -> Result<(Written, Captured), CaptureError> {
        self.capture_with(upper, lower, tar, &[], Owners::AsOnDisk)
    }

    fn capture_with(
        &self,
        upper: &str,
        lower: &Tree,
        tar: &str,
        stubs: &[(ImagePath, u64)],
        owners: Owners,
    ) -> Result<(Written, Captured), CaptureError> {
        let epoch = Epoch::from_seconds(EPOCH).unwrap();
        let options = CaptureOptions {
            litter: lith::recipe::Litter::Kept,
            epoch,
            marks: OverlayMarks::Trusted,
            stubs,
            owners,
        };
        let mut writer = LayerWriter::new(File::create(self.at(tar)).unwrap());
        let captured = capture(&self.at(upper), lower, &options, &mut writer)?;
        Ok((writer.finish().unwrap().1, captured))
    }

    fn lower(&self) -> Tree {
        Tree::new(vec![Arc::clone(&self.base)])
    }

    fn unpack(&self, tar: &str, toc: &Toc, dest: &str) {
        let lower = self.lower();
        let options = UnpackOptions {
            marks: OverlayMarks::Trusted,
            owners: Owners::AsOnDisk,
            devices: Devices::Make,
            lower: &lower,
        };
        std::fs::create_dir(self.at(dest)).unwrap();
        unpack(&File::open(self.at(tar)).unwrap(), toc, &self.at(dest), &options).unwrap();
    }
}

/// An entry as it matters to who looks at it: content instead of offsets, hard links resolved.
type Shown = (ImagePath, Meta, Option<ContentDigest>, Option<Node>);

fn shown(tree: &Tree) -> Vec<Shown> {
    let entries = tree.walk(&ImagePath::root());
    entries
        .iter()
        .map(|found| {
            let content = found.file().map(|(_, content, _)| content);
            let node = content.is_none().then(|| found.entry.node.clone());
            (found.entry.path.clone(), found.entry.meta.clone(), content, node)
        })
        .collect()
}

fn run(dir: &Path, script: &str) {
    let status = Command::new("sh").args(["-euc", script]).current_dir(dir).status().unwrap();
    assert!(status.success(), "{script}");
}

fn names(toc: &Toc) -> Vec<String> {
    toc.entries()
        .iter()
        .map(|e| match e.node {
            Node::Whiteout => format!("-{}", e.path),
            _ => e.path.to_string(),
        })
        .collect()
}

/// apply(diff(a, b), a) = b, three ways: by the tables of contents, by unpacking, and by the upper directory that the
/// capture left. Returns the names in the layer.
fn round_trip(setup: &str, script: &str) -> Vec<String> {
    let world = World::new(setup);
    let wanted = world.change(script);
    let (diff, captured) = world.capture_onto("upper", &world.lower(), "diff.tar").unwrap();
    assert_eq!(captured.warnings, [""; 0]);
    let both = Tree::new(vec![Arc::clone(&world.base), Arc::new(diff.toc.clone())]);
    assert_eq!(shown(&both), wanted, "the tables of contents");
    world.unpack("diff.tar", &diff.toc, "unpacked");
    assert_eq!(world.merged("unpacked:lower"), wanted, "the unpacked layer");
    assert_eq!(world.merged("upper:lower"), wanted, "the upper directory as the unpacked layer");
    let again =
        |dir: &str| -> DiffId { world.capture_onto(dir, &world.lower(), "again.tar").unwrap().0.diff_id };
    assert_eq!(again("unpacked"), diff.diff_id, "the unpacked layer captured again");
    assert_eq!(again("upper"), diff.diff_id, "the upper directory captured again");
    names(&diff.toc)
}

macro_rules! round_trips {
    ($($name:ident: $setup:expr, $script:expr => $names:expr;)*) => {
        $(#[test]
        fn $name() {
            if kernel_is_ours() {
                assert_eq!(round_trip($setup, $script), $names);
            }
        })*
    };
}

const BASE: &str = "mkdir -p etc d/sub/deep bin; echo a >etc/a; echo b >etc/b; echo x >d/x; echo y >d/sub/y; \
    echo z >d/sub/deep/z; echo tool >bin/tool; chmod 4755 bin/tool; ln -s tool bin/link; ln etc/a etc/hard; \
    mkfifo etc/pipe; chown 7:8 etc/b; touch -d @1500000000 etc/b d";

round_trips! {
    capture_nothing: BASE, "true" => [""; 0];
    capture_new_file: BASE, "echo n >etc/new" => ["/etc", "/etc/new"];
    capture_removed_file: BASE, "rm etc/b" => ["/etc", "-/etc/b"];
    capture_removed_tree: BASE, "rm -r d" => ["-/d"];
    capture_rename: BASE, "mv etc/b etc/c" => ["/etc", "-/etc/b", "/etc/c"];
    capture_moved_directory: BASE, "cp -a d e; rm -r d" =>
        ["-/d", "/e", "/e/sub", "/e/sub/deep", "/e/sub/deep/z", "/e/sub/y", "/e/x"];
    capture_directory_by_file: BASE, "rm -r d; echo f >d" => ["/d"];
    capture_file_by_directory: BASE, "rm etc/b; mkdir etc/b; echo i >etc/b/i" => ["/etc", "/etc/b", "/etc/b/i"];
    capture_file_by_symlink: BASE, "ln -sf /nowhere etc/b" => ["/etc", "/etc/b"];
    capture_directory_by_symlink: BASE, "rm -r d; ln -s etc d" => ["/d"];
    capture_opaque_directory: BASE, "rm -r d; mkdir d; echo n >d/new" => ["/d", "/d/new", "-/d/sub", "-/d/x"];
    capture_opaque_inside: BASE, "rm -r d; mkdir -p d/sub; echo n >d/sub/new" =>
        ["/d", "/d/sub", "-/d/sub/deep", "/d/sub/new", "-/d/sub/y", "-/d/x"];
    capture_opaque_with_the_same_content: BASE, "cp -a d /tmp/x.$$; rm -r d; cp -a /tmp/x.$$ d; rm -r /tmp/x.$$" => [""; 0];
    capture_touched_but_equal: BASE, "cp -a etc/b etc/t; cat etc/t >etc/b; touch -r etc/t etc/b; rm etc/t; touch -d @1700000000 etc" => [""; 0];
    capture_same_size_and_time_but_other_bytes: BASE, "echo B >etc/b; touch -d @1500000000 etc/b" => ["/etc", "/etc/b"];
    capture_mode: BASE, "chmod 600 etc/b" => ["/etc", "/etc/b"];
    capture_directory_mode: BASE, "chmod 700 d" => ["/d"];
    capture_owner: BASE, "chown 1000:1000 d/x" => ["/d", "/d/x"];
    capture_setuid: BASE, "cp -a bin/tool bin/tool2" => ["/bin", "/bin/tool2"];
    capture_hard_links: BASE, "echo h >h; ln h g; ln h d/i" => ["/d", "/d/i", "/g", "/h"];
    capture_hard_link_to_lower: BASE, "ln etc/b a" => ["/a", "/etc", "/etc/b"];
    capture_one_of_two_lower_links: BASE, "echo more >>etc/hard" => ["/etc", "/etc/hard"];
    capture_user_xattr: BASE, "setfattr -n user.k -v v etc/a; setfattr -n user.d -v w d" => ["/d", "/etc", "/etc/a"];
    capture_capability: BASE, "cp bin/tool cap; setcap cap_net_raw+ep cap" => ["/cap"];
    capture_devices: BASE, "mknod null c 1 3; mknod disk b 8 0; mkfifo p" => ["/disk", "/null", "/p"];
    capture_long_and_odd_names: BASE,
        "n=$(printf 'n%.0s' $(seq 200)); mkdir $n; echo x >$n/$n; echo y >\"$(printf 'a\\nb \\303\\251 \\377')\"" =>
        ["/a\\nb é \\xff".to_owned(), format!("/{0}", "n".repeat(200)), format!("/{0}/{0}", "n".repeat(200))];
    capture_deep_tree: "true", "p=.; for i in $(seq 300); do p=$p/dir$i; done; mkdir -p $p; touch $p/end" =>
        (1..=301).map(|n| (1..=n).map(|i| if i == 301 { "/end".into() } else { format!("/dir{i}") }).collect::<String>()).collect::<Vec<_>>();
}

/// The vectors of BuildKit, from a real overlay.
#[test]
fn capture_yields_the_vectors() {
    if !kernel_is_ours() {
        return;
    }
    let world = World::new("true");
    world.change(
        "mkdir -p a/b a.d && echo x > a/b/c && ln a/b/c a/b/d && ln -s c a/b/e && chmod 4755 a/b/c && \
         echo y > a.d/z && mkfifo a/p",
    );
    let (links, _) = world.capture_onto("upper", &world.lower(), "links.tar").unwrap();
    assert_eq!(links.diff_id.hex(), "1add2be40c8ec974c174e20467f7b3b3d90ce90b9f889bf84c35e2e704ba5926");
    std::fs::rename(world.at("upper"), world.at("first")).unwrap();
    std::fs::create_dir(world.at("upper")).unwrap();
    let script = "( cd merged && rm a/b/d && rm -rf a.d && mkdir a.d && echo n > a.d/new && mv a/b a/moved )";
    world.in_overlay("first:lower", Some("upper"), script);
    let lower = Tree::new(vec![Arc::clone(&world.base), Arc::new(links.toc)]);
    let (whiteouts, _) = world.capture_onto("upper", &lower, "whiteouts.tar").unwrap();
    assert_eq!(whiteouts.diff_id.hex(), "575e66dd80aa33dd01d25c2af068cf049591543ef9aa58924169ede40e580a9b");
}

#[test]
fn sockets_and_stubs_leave_no_trace() {
    if !kernel_is_ours() {
        return;
    }
    let world = World::new(BASE);
    world.change("mkdir -p run/secrets kept; touch etc/resolv.conf kept/in; touch d/stub");
    let _socket = std::os::unix::net::UnixListener::bind(world.at("upper/etc/sock")).unwrap();
    let inode = |name: &str| std::fs::metadata(world.at("upper").join(name)).unwrap().ino();
    let stubs = ["run", "run/secrets", "etc/resolv.conf", "kept", "d/stub"].map(|n| (path(n), inode(n)));
    let result = world.capture_with("upper", &world.lower(), "diff.tar", &stubs, Owners::AsOnDisk);
    let (diff, captured) = result.unwrap();
    // Only stubs and a socket were made in /etc and /d, whose times differ by that alone.
    assert_eq!(names(&diff.toc), ["/kept", "/kept/in"]);
    assert_eq!(captured.warnings, ["/etc/sock is a socket and is left out of the layer"]);
    let left: Vec<_> =
        lith::sys::dir::list_path(&world.at("upper")).unwrap().into_iter().map(|e| e.name).collect();
    assert_eq!(left, [b"kept"]);
}

#[test]
fn l22_a_file_named_like_a_whiteout() {
    if !kernel_is_ours() {
        return;
    }
    for script in ["touch etc/.wh.foo", "mkdir d/.wh.bar", "ln -s x .wh..wh..opq"] {
        let world = World::new(BASE);
        world.change_without_state(script);
        let error = world.capture_onto("upper", &world.lower(), "diff.tar").unwrap_err();
        assert!(matches!(error, CaptureError::WhiteoutName { .. }), "{error}");
        assert!(error.to_string().contains(".wh."), "{error}");
    }
}

impl World {
    fn change_without_state(&self, script: &str) {
        self.in_overlay("lower", Some("upper"), &format!("cd merged\n{script}"));
    }
}

#[test]
fn recorded_owners_survive_a_single_id() {
    if !kernel_is_ours() {
        return;
    }
    let world = World::new(BASE);
    // As in a user namespace of one id: all belongs to root, and a note says whose it should be.
    world.change_without_state(
        "echo more >>etc/b; chown 0:0 etc/b; setfattr -n user.lith.owner -v 7:8 etc/b; echo n >etc/n; mkdir etc/d; setfattr -n user.lith.owner -v 5:6 etc/d",
    );
    let result = world.capture_with("upper", &world.lower(), "diff.tar", &[], Owners::Recorded);
    let toc = result.unwrap().0.toc;
    let owner = |name: &str| toc.get(&path(name)).map(|e| (e.meta.uid, e.meta.gid));
    assert_eq!((owner("etc/b"), owner("etc/n"), owner("etc/d")), (Some((7, 8)), Some((0, 0)), Some((5, 6))));
    assert!(
        toc.entries().iter().all(|e| e.meta.xattrs.is_empty()),
        "the note itself is no part of the layer"
    );
}

#[test]
fn l16_l26_what_is_unpacked_is_what_the_layer_says() {
    if !kernel_is_ours() {
        return;
    }
    let world = World::new(
        "mkdir -p bin tmp; echo s >bin/su; chown 3:4 bin/su; chmod 4711 bin/su; chmod 1777 tmp; ln -s /etc/passwd tmp/x",
    );
    world.unpack("base.tar", &world.base, "unpacked");
    let stat = |name: &str| std::fs::symlink_metadata(world.at("unpacked").join(name)).unwrap();
    assert_eq!(stat("bin/su").permissions().mode() & 0o7777, 0o4711);
    assert_eq!((stat("bin/su").uid(), stat("bin/su").gid(), stat("bin/su").mtime()), (3, 4, EPOCH));
    assert_eq!(stat("tmp").permissions().mode() & 0o7777, 0o1777);
    assert_eq!(stat("tmp").mtime(), EPOCH);
    let before = std::fs::metadata("/etc/passwd").unwrap();
    world.change_without_state("rm tmp/x");
    let (diff, _) = world.capture_onto("upper", &world.lower(), "diff.tar").unwrap();
    assert_eq!(names(&diff.toc), ["/tmp", "-/tmp/x"]);
    assert_eq!(std::fs::metadata("/etc/passwd").unwrap().mtime(), before.mtime());
}

/// Layers as other programs make them: parents left out, opaque marks, whiteouts of nothing. The view from the tables
/// of contents and what the kernel shows must be one.
#[test]
fn foreign_layers_look_the_same_from_their_contents_and_on_overlay() {
    if !kernel_is_ours() {
        return;
    }
    let world = World::new(&format!("{BASE}; mkdir -p tmp; chmod 1777 tmp; chown 5:6 tmp"));
    let empty = || Node::File { size: 0, content: ContentDigest::of(b""), offset: 0 };
    let meta = Meta { mode: 0o640, uid: 9, gid: 9, ..Meta::default() };
    let entries = [
        ("d", Node::Opaque),
        ("d/new", empty()),
        ("tmp/f", empty()),
        ("brand/new/f", empty()),
        ("no/such", Node::Whiteout),
        ("etc/a", Node::Whiteout),
        ("etc/b", Node::Dir),
        ("etc/b/c", Node::Symlink(b"x".to_vec())),
        ("bin", empty()),
        ("fresh", Node::Opaque),
    ];
    let entries = entries.map(|(at, node)| {
        let bare = matches!(node, Node::Whiteout | Node::Opaque);
        let mut meta = if bare { Meta::default() } else { meta.clone() };
        if matches!(node, Node::Symlink(_)) {
            meta.mode = 0o777;
        }
        lith::layer::TocEntry { path: path(at), meta, node }
    });
    let foreign = Toc::new(entries.into());
    world.unpack("base.tar", &foreign, "unpacked");
    let tree = Tree::new(vec![Arc::clone(&world.base), Arc::new(foreign)]);
    assert_eq!(world.merged("unpacked:lower"), shown(&tree));
}
