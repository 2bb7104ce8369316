//! A step bound to resolved inputs, what it observed, and what came of it (spec/step-hash.md).
//!
//! Owns: the static key and its printed form. Every field of a bound step is either described here or listed in
//! the spec as left out, with the reason. Never does I/O.

use serde::{Deserialize, Serialize};

use crate::canon::{Hasher, Printer, Sink};
use crate::digest::{ActionKey, ChainId, ContentDigest};
use crate::epoch::Epoch;
use crate::limits::Ulimit;
use crate::path::ImagePath;
use crate::platform::Platform;
use crate::recipe::chmod::Chmod;
use crate::recipe::mount::{Access, Mount, NodeOwner};
use crate::recipe::{Link, Litter, PackageLayer, Security, Unpack};

/// The version of the encoding in `spec/step-hash.md`. It also stands for everything that decides the bytes of a
/// layer (layer format, distribution litter rules): a change there is a new version here.
pub const ACTION_VERSION: u32 = 1;

/// The version of the rules by which packages become a layer (spec/packages.md, "Layers" and "Database").
pub const PACKAGES_VERSION: u64 = 1;

/// The version of what hermetic steps are told of the world (spec/world.md).
pub const WORLD_VERSION: u64 = 3;

/// The version of the list of what hermetic steps leave out of their layers (spec/litter.md).
pub const LITTER_VERSION: u64 = 2;

/// The version of the rules by which several layers become one (spec/layer.md, "Merging").
pub const MERGE_VERSION: u64 = 1;

/// A step with everything it depends on but its parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    pub op: BoundOp,
    /// The latest time an entry of the layer may have.
    pub epoch: Epoch,
    pub platform: Platform,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BoundOp {
    MakeDir {
        path: ImagePath,
        user: String,
    },
    Copy(BoundCopy),
    Run(BoundRun),
    Packages(PackageLayer),
    /// The layers of several steps as one.
    Merge(Vec<LayerRef>),
}

/// COPY or ADD with its sources read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundCopy {
    /// One for each source in order.
    pub sources: Vec<SourceDigest>,
    pub dest: ImagePath,
    pub dest_is_dir: bool,
    pub chown: Option<String>,
    pub chmod: Option<Chmod>,
    pub unpack: Unpack,
    pub link: Link,
    /// Whether owners, times and links are those of the source (another image) or the context's fixed ones.
    pub keep: KeepMeta,
}

/// Where an entry's owner and time come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepMeta {
    /// 0:0 and the epoch: files of the context and heredocs.
    Fixed,
    /// The source's: files of a stage or an image.
    Source,
}

/// What one source of a copy resolved to: names, kinds, modes, contents, in one digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceDigest {
    /// Where it really is, so that `lith why` can name it. What a file is called at its destination is in the digest.
    pub name: String,
    pub digest: ContentDigest,
}

/// RUN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundRun {
    pub argv: Vec<String>,
    pub env: Vec<(String, String)>,
    pub cwd: String,
    pub user: String,
    pub network: BoundNetwork,
    pub hermetic: bool,
    /// All randomness follows from the key.
    pub seeded: bool,
    /// Whether known litter is left out of the layer.
    pub litter: Litter,
    pub security: Security,
    /// Names that the build gives to hosts; not their addresses.
    pub hosts: Vec<String>,
    pub ulimits: Vec<Ulimit>,
    /// Bytes of `/dev/shm`, if the build says.
    pub shm_size: Option<u64>,
    pub mounts: Vec<BoundMount>,
    pub scripts: Vec<(String, ContentDigest)>,
}

/// A mount with its files read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundMount {
    pub mount: Mount,
    /// Of a bind, and of what a cache begins with.
    pub files: Option<ContentDigest>,
    /// What the user says of a secret's value (`key=`): a change of it reruns the step.
    pub version: Option<String>,
}

/// The network a process gets, after the build's options had their say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoundNetwork {
    None,
    Host,
}

impl Action {
    /// Writes every field that decides the result.
    pub fn describe(&self, sink: &mut dyn Sink) {
        sink.number("epoch", self.epoch.seconds().unsigned_abs());
        sink.text("platform", &self.platform.to_string());
        match &self.op {
            BoundOp::MakeDir { path, user } => {
                sink.open("mkdir");
                sink.field("path", &path.absolute());
                sink.text("user", user);
            }
            BoundOp::Copy(copy) => {
                sink.open("copy");
                copy.describe(sink);
            }
            BoundOp::Run(run) => {
                sink.open("run");
                run.describe(sink);
            }
            BoundOp::Merge(layers) => {
                sink.open("merge");
                sink.number("version", MERGE_VERSION);
                for layer in layers {
                    sink.text("layer", &layer.diff_id.to_string());
                }
            }
            BoundOp::Packages(layer) => {
                sink.open("packages");
                packages(layer, sink);
            }
        }
        sink.close();
    }

    /// The static key.
    pub fn key(&self) -> ActionKey {
        let mut hasher = Hasher::new("lith action", ACTION_VERSION);
        self.describe(&mut hasher);
        ActionKey::from_bytes(hasher.finish())
    }

    /// The same fields for people and for `lith why`.
    pub fn fields(&self) -> Vec<(String, String)> {
        let mut printer = Printer::default();
        self.describe(&mut printer);
        printer.finish()
    }
}

/// Each package by what it is and by its bytes, not by where it comes from.
fn packages(layer: &PackageLayer, sink: &mut dyn Sink) {
    sink.number("version", PACKAGES_VERSION);
    let (kind, replaces) = match layer {
        PackageLayer::Files { replaces, .. } => ("files", replaces.as_slice()),
        PackageLayer::Database { .. } => ("database", [].as_slice()),
    };
    sink.text("kind", kind);
    for pin in layer.pins() {
        sink.text("package", &format!("{} {} {}", pin.name, pin.version, pin.architecture));
        sink.text("sha256", &pin.sha256.to_string());
    }
    for (by, whom) in replaces {
        sink.text("replaces", &format!("{by} {whom}"));
    }
}

impl BoundCopy {
    fn describe(&self, sink: &mut dyn Sink) {
        for source in &self.sources {
            sink.open("source");
            sink.text("name", &source.name);
            sink.content("content", &source.digest);
            sink.close();
        }
        sink.field("dest", &self.dest.absolute());
        sink.text("dest-is-dir", yes_no(self.dest_is_dir));
        sink.maybe("chown", self.chown.as_deref().map(str::as_bytes));
        if let Some(chmod) = &self.chmod {
            sink.text("chmod", &chmod.to_string());
        }
        if self.link == Link::Yes {
            sink.text("link", "yes");
        }
        sink.text(
            "unpack",
            match self.unpack {
                Unpack::Never => "never",
                Unpack::Archives => "archives",
                Unpack::All => "all",
            },
        );
        sink.text(
            "metadata",
            match self.keep {
                KeepMeta::Fixed => "fixed",
                KeepMeta::Source => "source",
            },
        );
    }
}

impl BoundRun {
    fn describe(&self, sink: &mut dyn Sink) {
        for arg in &self.argv {
            sink.text("argv", arg);
        }
        for (name, value) in &self.env {
            sink.open("env");
            sink.text("name", name);
            sink.text("value", value);
            sink.close();
        }
        sink.text("cwd", &self.cwd);
        sink.text("user", &self.user);
        sink.text(
            "network",
            match self.network {
                BoundNetwork::None => "none",
                BoundNetwork::Host => "host",
            },
        );
        sink.text("hermetic", yes_no(self.hermetic));
        if self.hermetic {
            sink.number("world", WORLD_VERSION);
        }
        if self.seeded {
            sink.text("random", "seeded");
        }
        match self.litter {
            Litter::Kept => {}
            Litter::Dropped => sink.number("litter", LITTER_VERSION),
        }
        if self.security == Security::Insecure {
            sink.text("security", "insecure");
        }
        for host in &self.hosts {
            sink.text("host", host);
        }
        for ulimit in &self.ulimits {
            sink.text("ulimit", &ulimit.to_string());
        }
        if let Some(size) = self.shm_size {
            sink.number("shm-size", size);
        }
        for mount in &self.mounts {
            sink.open("mount");
            mount.describe(sink);
            sink.close();
        }
        for (path, content) in &self.scripts {
            sink.open("script");
            sink.text("path", path);
            sink.content("content", content);
            sink.close();
        }
    }
}

impl BoundMount {
    fn describe(&self, sink: &mut dyn Sink) {
        match &self.mount {
            Mount::Bind(bind) => {
                sink.text("type", "bind");
                sink.field("target", &bind.target.absolute());
                describe_access(bind.access, sink);
            }
            Mount::Cache(cache) => {
                sink.text("type", "cache");
                sink.field("target", &cache.target.absolute());
                sink.text("id", &cache.id);
                describe_access(cache.access, sink);
                if let Some(mode) = cache.mode {
                    sink.text("mode", &format!("{mode:04o}"));
                }
                for (name, id) in [("uid", cache.uid), ("gid", cache.gid)] {
                    if let Some(id) = id {
                        sink.number(name, u64::from(id));
                    }
                }
            }
            Mount::Tmpfs(tmpfs) => {
                sink.text("type", "tmpfs");
                sink.field("target", &tmpfs.target.absolute());
                sink.maybe("size", tmpfs.size.map(|size| size.to_string()).as_deref().map(str::as_bytes));
                describe_access(tmpfs.access, sink);
            }
            Mount::Secret(secret) => {
                sink.text("type", "secret");
                sink.text("id", &secret.id);
                sink.maybe("target", secret.file.as_ref().map(ImagePath::absolute).as_deref());
                sink.maybe("env", secret.env.as_deref().map(str::as_bytes));
                sink.maybe("version", self.version.as_deref().map(str::as_bytes));
                describe_owner(&secret.owner, sink);
            }
            Mount::Ssh(ssh) => {
                sink.text("type", "ssh");
                sink.text("id", &ssh.id);
                sink.field("target", &ssh.target.absolute());
                describe_owner(&ssh.owner, sink);
            }
        }
        if let Some(files) = &self.files {
            sink.content("files", files);
        }
    }
}

fn describe_access(access: Access, sink: &mut dyn Sink) {
    sink.text(
        "access",
        match access {
            Access::ReadOnly => "read-only",
            Access::ReadWrite => "read-write",
        },
    );
}

fn describe_owner(owner: &NodeOwner, sink: &mut dyn Sink) {
    sink.text("owner", &format!("{:04o} {}:{}", owner.mode, owner.uid, owner.gid));
}

const fn yes_no(flag: bool) -> &'static str {
    if flag { "yes" } else { "no" }
}

/// One fact an action relied on in its parent. A record serves wherever all of its observations hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Observation {
    /// The whole root file system; `None` is the empty one.
    Rootfs(Option<ChainId>),
    /// One aspect of one path, as text; `exec::observe` writes it and compares it.
    Path { path: ImagePath, aspect: Aspect, seen: String },
}

/// What about a path mattered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aspect {
    /// Kind, and for a directory its mode, owner, time and xattrs, for a symlink its target.
    Entry,
    /// Whether it is a directory, which a file cannot replace.
    IsDir,
    /// The bytes of a regular file.
    Content,
}

/// The layer an action made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRef {
    pub diff_id: crate::digest::DiffId,
    /// Bytes of the uncompressed tar.
    pub size: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{BlobDigest, DiffId};
    use crate::recipe::Pin;
    use crate::recipe::mount::{BindMount, CacheMount, SecretMount, Sharing, SshMount, TmpfsMount};

    fn run() -> BoundRun {
        BoundRun {
            argv: vec!["/bin/sh".into(), "-c".into(), "echo first".into()],
            env: vec![("PATH".into(), "/bin".into())],
            cwd: "/".into(),
            user: String::new(),
            network: BoundNetwork::Host,
            hermetic: false,
            seeded: false,
            litter: Litter::Kept,
            security: Security::Sandbox,
            hosts: vec![],
            ulimits: vec![],
            shm_size: None,
            mounts: vec![],
            scripts: vec![],
        }
    }

    fn action(op: BoundOp) -> Action {
        Action { op, epoch: Epoch::ZERO, platform: "linux/amd64".parse().unwrap() }
    }

    #[test]
    fn pinned_vector() {
        // spec/step-hash.md: a change of these values is a change of format and needs a new ACTION_VERSION.
        assert_eq!(action(BoundOp::Run(run())).key().to_string(), PINNED_RUN);
        assert_eq!(action(BoundOp::Copy(copy())).key().to_string(), PINNED_COPY);
        assert_eq!(action(BoundOp::Packages(files())).key().to_string(), PINNED_PACKAGES);
        let layers = [1, 2].map(|byte| LayerRef { diff_id: DiffId::from_bytes([byte; 32]), size: 0 });
        assert_eq!(action(BoundOp::Merge(layers.to_vec())).key().to_string(), PINNED_MERGE);
    }

    fn pin() -> Pin {
        Pin {
            name: "a".into(),
            version: "1".into(),
            architecture: "all".into(),
            sha256: BlobDigest::of(b"a"),
            size: 1,
            url: "http://a.invalid/a.deb".into(),
        }
    }

    fn files() -> PackageLayer {
        PackageLayer::Files { pins: vec![pin()], replaces: vec![("a".into(), "b".into())] }
    }

    #[test]
    fn packages_are_what_they_are_wherever_they_come_from() {
        let key = |layer: PackageLayer| action(BoundOp::Packages(layer)).key();
        let with =
            |pin: Pin| PackageLayer::Files { pins: vec![pin], replaces: vec![("a".into(), "b".into())] };
        assert_eq!(key(files()), key(with(Pin { url: "http://b.invalid/x".into(), ..pin() })));
        let others = [
            with(Pin { name: "b".into(), ..pin() }),
            with(Pin { version: "2".into(), ..pin() }),
            with(Pin { architecture: "amd64".into(), ..pin() }),
            with(Pin { sha256: BlobDigest::of(b"b"), ..pin() }),
            PackageLayer::Files { pins: vec![pin()], replaces: vec![] },
            PackageLayer::Database { pins: vec![pin()] },
        ];
        let keys: std::collections::BTreeSet<_> = others.into_iter().chain([files()]).map(key).collect();
        assert_eq!(keys.len(), 7);
    }

    #[test]
    fn options_of_the_build_enter_only_if_given() {
        let limited = BoundRun {
            hosts: vec!["mirror".into()],
            ulimits: vec!["nofile=1:2".parse().unwrap()],
            shm_size: Some(8),
            ..run()
        };
        let fields = action(BoundOp::Run(limited)).fields();
        let value = |wanted: &str| {
            let found = fields.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!(value("run.host"), Some("mirror"));
        assert_eq!(value("run.ulimit"), Some("nofile=1:2"));
        assert_eq!(value("run.shm-size"), Some("8"));
    }

    const PINNED_RUN: &str = "blake3:411b3e60e7744ac5b956654e1f44a419013ff9e64ca79bcf847fb5bda6555b00";
    const PINNED_COPY: &str = "blake3:6cdd2a6c841489013baaf536a54c231167c07c15af3f108b83afa4b53808ec41";

    const PINNED_MERGE: &str = "blake3:2c70d08b5d2dd2ef6344526ed525fea6fff2a9fc18778ea1e1e192c6a93632be";

    const PINNED_PACKAGES: &str = "blake3:8d7d56c5f62c273b2c7ccb8d1aa1898c02f805a368bd718157058e66efb4d243";

    fn copy() -> BoundCopy {
        BoundCopy {
            sources: vec![SourceDigest { name: "a".into(), digest: ContentDigest::of(b"a") }],
            dest: ImagePath::parse(b"opt").unwrap(),
            dest_is_dir: false,
            chown: None,
            chmod: None,
            unpack: Unpack::Never,
            link: Link::No,
            keep: KeepMeta::Fixed,
        }
    }

    /// Mounts that differ in one field each.
    fn mounts() -> Vec<Mount> {
        let path = |text: &str| ImagePath::parse(text.as_bytes()).unwrap();
        let owner = |mode| NodeOwner { mode, uid: 0, gid: 0 };
        let bind = |target: &str, access| {
            let from = crate::recipe::FilesFrom::Context;
            Mount::Bind(BindMount { target: path(target), from, source: ImagePath::root(), access })
        };
        let cache = |id: &str, mode, uid, gid| {
            Mount::Cache(CacheMount {
                target: path("a"),
                id: id.into(),
                seed: None,
                source: ImagePath::root(),
                sharing: Sharing::Shared,
                access: Access::ReadWrite,
                mode,
                uid,
                gid,
            })
        };
        let secret = |id: &str, file: Option<&str>, env: Option<&str>| {
            let (file, env) = (file.map(path), env.map(str::to_owned));
            Mount::Secret(SecretMount { id: id.into(), file, env, required: false, owner: owner(0o400) })
        };
        let ssh = |id: &str| {
            Mount::Ssh(SshMount { id: id.into(), target: path("a"), required: false, owner: owner(0o600) })
        };
        vec![
            bind("a", Access::ReadOnly),
            bind("a", Access::ReadWrite),
            bind("b", Access::ReadOnly),
            cache("a", None, None, None),
            cache("b", None, None, None),
            cache("a", Some(0), None, None),
            cache("a", None, Some(0), None),
            cache("a", None, None, Some(0)),
            Mount::Tmpfs(TmpfsMount { target: path("a"), size: None, access: Access::ReadWrite }),
            Mount::Tmpfs(TmpfsMount { target: path("a"), size: Some(0), access: Access::ReadWrite }),
            Mount::Tmpfs(TmpfsMount { target: path("a"), size: None, access: Access::ReadOnly }),
            secret("a", None, None),
            secret("b", None, None),
            secret("a", Some("a"), None),
            secret("a", None, Some("a")),
            ssh("a"),
            ssh("b"),
        ]
    }

    /// Every single change of a field changes the key, and no two changes meet.
    #[test]
    fn every_field_is_in_the_key() {
        let mut all = vec![action(BoundOp::Run(run())), action(BoundOp::Copy(copy()))];
        let mut with_run = |change: &dyn Fn(&mut BoundRun)| {
            let mut r = run();
            change(&mut r);
            all.push(action(BoundOp::Run(r)));
        };
        with_run(&|r| r.argv = vec!["/bin/sh".into(), "-c".into(), "echo".into(), "first".into()]);
        with_run(&|r| r.argv[2] = "echo second".into());
        with_run(&|r| r.env = vec![]);
        with_run(&|r| r.env = vec![("PATH".into(), "/bin:".into())]);
        with_run(&|r| r.env = vec![("PATH/".into(), "bin".into())]);
        with_run(&|r| r.cwd = "/w".into());
        with_run(&|r| r.user = "0".into());
        with_run(&|r| r.network = BoundNetwork::None);
        with_run(&|r| r.hermetic = true);
        with_run(&|r| r.scripts = vec![("/dev/pipes/X".into(), ContentDigest::of(b"x"))]);
        for mount in mounts() {
            let bound = |files, version| BoundMount { mount: mount.clone(), files, version };
            with_run(&|r| r.mounts = vec![bound(None, None)]);
            with_run(&|r| r.mounts = vec![bound(Some(ContentDigest::of(b"x")), None)]);
        }
        let version = Some("1".to_owned());
        with_run(&|r| {
            r.mounts =
                vec![BoundMount { mount: mounts()[11].clone(), files: None, version: version.clone() }];
        });
        with_run(&|r| r.security = Security::Insecure);
        let mut with_copy = |change: &dyn Fn(&mut BoundCopy)| {
            let mut c = copy();
            change(&mut c);
            all.push(action(BoundOp::Copy(c)));
        };
        with_copy(&|c| c.sources[0].digest = ContentDigest::of(b"b"));
        with_copy(&|c| c.sources[0].name = "b".into());
        with_copy(&|c| c.sources.push(SourceDigest { name: "b".into(), digest: ContentDigest::of(b"b") }));
        with_copy(&|c| c.dest = ImagePath::root());
        with_copy(&|c| c.dest_is_dir = true);
        with_copy(&|c| c.chown = Some(String::new()));
        with_copy(&|c| c.chown = Some("0".into()));
        with_copy(&|c| c.chmod = Some(Chmod::Octal(0)));
        with_copy(&|c| c.chmod = Some(Chmod::Octal(0o644)));
        with_copy(&|c| c.chmod = Some("u+x".parse().unwrap()));
        with_copy(&|c| c.link = Link::Yes);
        with_copy(&|c| c.unpack = Unpack::Archives);
        with_copy(&|c| c.unpack = Unpack::All);
        with_copy(&|c| c.keep = KeepMeta::Source);
        all.push(Action { epoch: Epoch::from_seconds(1).unwrap(), ..all[0].clone() });
        all.push(Action { platform: "linux/arm64".parse().unwrap(), ..all[0].clone() });
        all.push(action(BoundOp::MakeDir { path: ImagePath::root(), user: String::new() }));
        all.push(action(BoundOp::MakeDir { path: ImagePath::root(), user: "0".into() }));
        let keys: std::collections::BTreeSet<_> = all.iter().map(Action::key).collect();
        assert_eq!(keys.len(), all.len());
    }
}
