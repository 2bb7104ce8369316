//! The same dealings with registries that share no code: docker's, and the crate `container-registry`, which can do less.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use base64::Engine as _;
use lith::login::{Login, LoginError, Logins, Secret};
use lith::registry::{Endpoint, Endpoints, Options, Registry, Scheme};

use crate::support::peer::{Make, PASSWORD, Peer, USER};
use crate::support::{Lab, Ran, has, kernel_lab, skip};

const BOTH: [Make; 2] = [Make::Distribution, Make::Container];

/// An image of three layers, `app`.
fn image(lab: &Lab, store: &str) {
    lab.base(store, "base");
    lab.write("ctx/Dockerfile", "FROM base\nCOPY one /one\nCOPY two /two\nENV A=b\n");
    lab.write("ctx/one", "one\n");
    // Of several parts, where anybody sends parts.
    let noise: Vec<u8> = (0u32..10_000_000).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    lab.write("ctx/two", noise);
    lab.build(store, "ctx", &["-t", "app"]);
}

/// A registry, and whom one is to it.
struct World {
    lab: Lab,
    peer: Peer,
    logins: PathBuf,
}

impl World {
    fn start(make: Make) -> Option<Self> {
        let lab = kernel_lab()?;
        let peer = Peer::start(make, &lab.path("registry"))?;
        let who = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
        let logins = serde_json::json!({ "auths": { peer.host.clone(): { "auth": who } } });
        let logins = lab.write("logins.json", logins.to_string());
        Some(Self { lab, peer, logins })
    }

    /// Runs any program as whom one is.
    fn run(&self, command: &mut Command) -> Ran {
        Ran::of(command.env("REGISTRY_AUTH_FILE", &self.logins).output().unwrap())
    }

    #[track_caller]
    fn ok(&self, command: &mut Command) -> Ran {
        let ran = self.run(command);
        assert_eq!(ran.code, 0, "{command:?}\n{}{}", ran.out, ran.err);
        ran
    }

    fn lith(&self, store: &str, args: &[&str]) -> Command {
        self.lab.command(store, args)
    }

    #[track_caller]
    fn push(&self, name: &str, more: &[&str]) -> String {
        let args = [&["push", "--plain-http"], more, &["app", name]].concat();
        digest(&self.ok(&mut self.lith("a", &args)).out)
    }

    #[track_caller]
    fn pull(&self, store: &str, name: &str) -> String {
        let pulled = digest(&self.ok(&mut self.lith(store, &["pull", "--plain-http", name])).out);
        self.lab.ok(store, &["store", "verify"]);
        assert_eq!(self.lab.ok(store, &["run", "--rm", name, "cat", "/one"]).out, "one\n", "{name}");
        pulled
    }
}

/// The digest of a line `NAME@DIGEST`.
#[track_caller]
fn digest(out: &str) -> String {
    out.trim().rsplit_once('@').unwrap_or_else(|| panic!("{out}")).1.to_owned()
}

fn rootfs(lab: &Lab, store: &str, name: &str) -> serde_json::Value {
    let shown = lab.ok(store, &["image", "inspect", name]).out;
    serde_json::from_str::<serde_json::Value>(&shown).unwrap()[0]["RootFS"].clone()
}

#[test]
fn images_go_to_every_registry_and_come_back_the_same() {
    for make in BOTH {
        let Some(world) = World::start(make) else { return };
        let (lab, peer) = (&world.lab, &world.peer);
        image(lab, "a");
        let name = peer.name("team/app:1");
        let pushed = world.push(&name, &[]);
        assert_eq!(world.push(&name, &[]), pushed, "{make:?}: sent again it is the same");
        assert_eq!(world.pull("b", &name), pushed, "{make:?}");
        let zstd = peer.name("team/app:zstd");
        assert_ne!(world.push(&zstd, &["--compression=zstd", "--force-compression"]), pushed);
        world.pull("c", &zstd);
        assert_eq!(rootfs(lab, "c", &zstd), rootfs(lab, "a", "app"), "{make:?}");
        let plain = peer.name("team/app:plain");
        world.push(&plain, &["--compression=uncompressed"]);
        assert_eq!(world.pull("d", &plain), world.pull("e", &plain));
        assert_eq!(world.pull("e", &peer.name(&format!("team/app@{pushed}"))), pushed, "{make:?}: by digest");
        // What is not there is not there.
        let ran = world.run(&mut world.lith("b", &["pull", "--plain-http", &peer.name("team/app:none")]));
        assert!(ran.code == 2 && ran.err.contains("team/app:none"), "{make:?}: {} {}", ran.code, ran.err);
    }
}

#[test]
fn others_find_in_every_registry_what_is_pushed_and_the_reverse() {
    for make in BOTH {
        let Some(world) = World::start(make) else { return };
        let (lab, peer) = (&world.lab, &world.peer);
        if !["skopeo", "podman", "buildah"].into_iter().all(has) {
            return skip("needs skopeo, podman and buildah").unwrap_or(());
        }
        image(lab, "a");
        let name = peer.name("team/app:1");
        let pushed = world.push(&name, &[]);
        let place = |what: &str| lab.path(what).to_str().unwrap().to_owned();
        let layout = format!("oci:{}:1", place("copied"));
        let (from, to) = (format!("docker://{name}"), format!("docker://{}", peer.name("back/skopeo:1")));
        let copy = |args: &[&str]| world.ok(Command::new("skopeo").args(["copy", "-q"]).args(args));
        copy(&["--src-tls-verify=false", &from, &layout]);
        copy(&["--preserve-digests", "--dest-tls-verify=false", &layout, &to]);
        assert_eq!(world.pull("b", &peer.name("back/skopeo:1")), pushed, "{make:?}");
        for program in ["podman", "buildah"] {
            let (root, runroot) = (place(&format!("{program}-r")), place(&format!("{program}-rr")));
            let run = |args: &[&str]| {
                let global = ["--root", &root, "--runroot", &runroot, "--storage-driver", "vfs"];
                world.ok(Command::new(program).args(global).args(args))
            };
            run(&["pull", "-q", "--tls-verify=false", &name]);
            assert_eq!(run(&["images", "--format", "{{.Digest}}"]).out.trim(), pushed, "{program}, {make:?}");
            let (back, told) = (peer.name(&format!("back/{program}:1")), place(program));
            run(&["push", "--tls-verify=false", "--digestfile", &told, &name, &back]);
            let told = fs::read_to_string(&told).unwrap();
            assert_eq!(world.pull("b", &back), told.trim(), "{program}, {make:?}");
        }
    }
}

/// A pull that is killed goes on where the registry gives the rest of a blob, and begins anew where it does not.
#[test]
fn a_pull_that_is_killed_ends_whole_at_every_registry() {
    for make in BOTH {
        let Some(world) = World::start(make) else { return };
        image(&world.lab, "a");
        let name = world.peer.name("team/app:1");
        let pushed = world.push(&name, &["--compression=uncompressed"]);
        let began = Instant::now();
        world.ok(&mut world.lith("whole", &["pull", "--plain-http", &name]));
        let whole = began.elapsed();
        for round in 1u32..10 {
            let mut command = world.lith("b", &["pull", "--plain-http", &name]);
            command.env("REGISTRY_AUTH_FILE", &world.logins).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            let started = Instant::now();
            while started.elapsed() < whole * round / 10 && child.try_wait().unwrap().is_none() {
                std::thread::yield_now();
            }
            let _ = child.kill();
            child.wait().unwrap();
            world.lab.ok("b", &["store", "verify"]);
        }
        assert_eq!(world.pull("b", &name), pushed, "{make:?}");
    }
}

/// What one registry cannot do is said as what it is, and the rest goes on.
#[test]
fn what_a_registry_cannot_do_is_said() {
    let Some(world) = World::start(Make::Container) else { return };
    let (lab, peer) = (&world.lab, &world.peer);
    image(lab, "a");
    // It has no repositories of one part, nor of three.
    for name in ["app:1", "a/b/c:1"] {
        let ran = world.run(&mut world.lith("a", &["push", "--plain-http", "app", &peer.name(name)]));
        let says = [name.split(':').next().unwrap(), &peer.host];
        assert!(ran.code != 0 && says.iter().all(|says| ran.err.contains(says)), "{}", ran.err);
    }
    // It takes no manifest without a tag, of which an index has some.
    lab.write("two/Dockerfile", "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /arch\n");
    lab.write("two/amd64", "amd64\n");
    lab.write("two/arm64", "arm64\n");
    lab.build("a", "two", &["--platform", "linux/amd64,linux/arm64", "-t", "two"]);
    let two = peer.name("team/two:1");
    let ran = world.run(&mut world.lith("a", &["push", "--plain-http", "two", &two]));
    assert!(ran.code != 0 && ran.err.contains(&format!("{} answered 400", peer.host)), "{}", ran.err);
    let ran = world.run(&mut world.lith("b", &["pull", "--plain-http", &two]));
    assert!(ran.code == 2, "no tag is left: {}", ran.err);
    // It has no list of tags and deletes nothing.
    let name = peer.name("team/app:1");
    let pushed = world.push(&name, &[]);
    let own = Endpoint { host: peer.host.clone(), scheme: Scheme::Http, ..Endpoint::default() };
    let known = Endpoints { own: Some(own), ..Endpoints::default() };
    let options = Options { registries: [(peer.host.clone(), known)].into(), ..Options::default() };
    let client = Registry::new(options, Box::new(Known)).unwrap();
    let reference = name.parse().unwrap();
    let repository = client.repository(&reference).unwrap();
    let error = repository.tags().unwrap_err();
    assert!(error.is_missing() && error.to_string().contains(&peer.host), "{error}");
    let error = repository.delete_manifest(pushed.parse().unwrap()).unwrap_err().to_string();
    assert!(error.contains("delete") && error.contains(&peer.host), "{error}");
    assert_eq!(world.pull("b", &name), pushed, "what was to be deleted is still there");
}

struct Known;

impl Logins for Known {
    fn login(&self, _: &str) -> Result<Option<Login>, LoginError> {
        Ok(Some(Login::Password { user: USER.into(), password: Secret::new(PASSWORD) }))
    }
}

/// Logging in, where only the foot of the API says how.
#[test]
fn who_logs_in_comes_in() {
    let Some(world) = World::start(Make::Container) else { return };
    let (lab, peer) = (&world.lab, &world.peer);
    image(lab, "a");
    let lith = |args: &[&str], input: &str| {
        let mut command = lab.command("a", args);
        command.env_remove("REGISTRY_AUTH_FILE").env("DOCKER_CONFIG", lab.path("docker"));
        command.env("XDG_RUNTIME_DIR", lab.path("run")).env("HOME", lab.path("home"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes());
        Ran::of(child.wait_with_output().unwrap())
    };
    let name = peer.name("team/app:1");
    let refused = lith(&["push", "--plain-http", "app", &name], "");
    assert!(refused.code != 0 && refused.err.contains("lith login"), "{}", refused.err);
    let login = ["login", "--plain-http", "-u", USER, "--password-stdin", &peer.host];
    let refused = lith(&login, "wrong");
    assert!(refused.code != 0 && !lab.path("docker/config.json").exists(), "{}", refused.err);
    let ran = lith(&login, &format!("{PASSWORD}\n"));
    assert_eq!((ran.code, ran.out.as_str()), (0, "Login Succeeded\n"), "{}", ran.err);
    let pushed = lith(&["push", "--plain-http", "app", &name], "");
    assert_eq!(pushed.code, 0, "{}", pushed.err);
    let pulled = lith(&["pull", "--plain-http", &name], "");
    assert_eq!((pulled.code, digest(&pulled.out)), (0, digest(&pushed.out)), "{}", pulled.err);
}
