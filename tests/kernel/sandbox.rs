//! One process in a root file system of its own, on the real kernel.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use lith::mount::{Overlay, OverlayMarks, Writable};
use lith::sandbox::spec::{Ended, File, Ids, Net, Spec, Status, Stub};
use lith::sandbox::{Launcher, Output, SandboxError, SetupError, Stream};
use tempfile::TempDir;

/// A layer with busybox, and a place for writes.
struct World {
    dir: TempDir,
    marks: OverlayMarks,
}

#[derive(Default, Debug)]
struct Text {
    out: String,
    err: String,
}

impl Output for Text {
    fn chunk(&mut self, stream: Stream, bytes: &[u8]) {
        let to = match stream {
            Stream::Stdout => &mut self.out,
            Stream::Stderr => &mut self.err,
        };
        to.push_str(&String::from_utf8_lossy(bytes));
    }
}

/// The world, or `None` with a word on why the kernel or the machine does not allow the test.
fn world() -> Option<World> {
    if !rustix::process::geteuid().is_root() {
        return skip("needs root");
    }
    if !Path::new("/bin/busybox").exists() {
        return skip("needs /bin/busybox (package busybox-static)");
    }
    Some(World::new(OverlayMarks::Trusted))
}

fn skip<T>(why: &str) -> Option<T> {
    #[allow(clippy::disallowed_methods, reason = "the switch by which CI makes a skip a failure")]
    let required = std::env::var_os("LITH_REQUIRE_KERNEL").is_some_and(|v| v == "1");
    assert!(!required, "{why}");
    eprintln!("SKIP: {why}");
    None
}

impl World {
    fn new(marks: OverlayMarks) -> Self {
        let world = Self { dir: TempDir::new().unwrap(), marks };
        for dir in ["base/bin", "base/etc", "base/tmp", "upper", "work"] {
            fs::create_dir_all(world.path(dir)).unwrap();
        }
        fs::copy("/bin/busybox", world.path("base/bin/busybox")).unwrap();
        for name in
            ["sh", "id", "cat", "ls", "true", "sleep", "mount", "setsid", "touch", "mknod", "hostname"]
        {
            symlink("busybox", world.path("base/bin").join(name)).unwrap();
        }
        world
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn spec(&self, argv: &[&str]) -> Spec {
        Spec {
            root: Overlay {
                lowers: vec![self.path("base")],
                writable: Some(Writable { upper: self.path("upper"), work: self.path("work") }),
                marks: self.marks,
            },
            argv: argv.iter().map(|a| (*a).to_owned()).collect(),
            env: vec!["PATH=/bin".into(), "A=b".into()],
            cwd: "/".into(),
            user: Ids::default(),
            hostname: "box".into(),
            network: Net::None,
            files: Vec::new(),
            hermetic: true,
            interactive: false,
        }
    }

    fn shell(&self, script: &str) -> Spec {
        self.spec(&["sh", "-c", script])
    }
}

fn run(spec: &Spec) -> (Result<Ended, SandboxError>, Text) {
    let mut text = Text::default();
    let ended = Launcher::default().helper(env!("CARGO_BIN_EXE_lith")).run(spec, &mut text);
    (ended, text)
}

/// Runs what must go well; its standard output.
#[track_caller]
fn out(spec: &Spec) -> String {
    let (ended, text) = run(spec);
    let ended = ended.unwrap_or_else(|e| panic!("{e}: {e:?}"));
    assert_eq!(ended.status, Status::Exited(0), "{text:?}");
    text.out
}

#[track_caller]
fn status(spec: &Spec) -> (Status, Text) {
    let (ended, text) = run(spec);
    (ended.unwrap_or_else(|e| panic!("{e}: {e:?}")).status, text)
}

#[test]
fn ends_as_the_process_does() {
    let Some(world) = world() else { return };
    assert_eq!(status(&world.shell("exit 7")).0, Status::Exited(7));
    assert_eq!(status(&world.shell("kill -TERM $$")).0, Status::Signaled(15));
    assert_eq!(status(&world.shell("kill -PIPE $$; exit 3")).0, Status::Signaled(13));
}

#[test]
fn captures_both_streams_whole() {
    let Some(world) = world() else { return };
    let (status, text) = status(&world.shell("echo out; echo err >&2; busybox seq 1 50000; cat"));
    assert_eq!(status, Status::Exited(0));
    assert_eq!(text.err, "err\n");
    let lines: Vec<_> = text.out.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[50000]), (50001, "out", "50000"));
}
