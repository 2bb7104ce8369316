//! Images to and from registries that others wrote, and what others' clients see of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use lith::login::{Login, LoginError, Logins, Secret};
use lith::registry::{Endpoint, Endpoints, Options, Registry, Scheme};

use crate::support::peer::{Peer, free_host};
use crate::support::{Lab, Ran, has, kernel_lab, skip};

/// Debian's registry on loopback, with a log of what it is asked.
pub struct Server {
    peer: Peer,
    log: PathBuf,
}

/// What a server is like.
#[derive(Default)]
pub struct Kind<'a> {
    /// A certificate and its key.
    tls: Option<(&'a Path, &'a Path)>,
    /// Who may come in.
    htpasswd: Option<&'a Path>,
    keeps: bool,
}

const CONFIG: &str = "version: 0.1\nlog: {level: error}\n";

impl Server {
    pub fn start(lab: &Lab, name: &str, kind: &Kind<'_>) -> Option<Self> {
        if !has("docker-registry") {
            return skip("needs docker-registry");
        }
        let host = free_host();
        let storage = lab.path(name);
        let tls = kind.tls.map_or_else(String::new, |(certificate, key)| {
            format!(", tls: {{certificate: {}, key: {}}}", certificate.display(), key.display())
        });
        let auth = kind.htpasswd.map_or_else(String::new, |file| {
            format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", file.display())
        });
        let config = format!(
            "{CONFIG}storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: {}}}}}\nhttp: {{addr: {host}{tls}}}\n{auth}",
            storage.display(),
            !kind.keeps,
        );
        let config = lab.write(&format!("{name}.yml"), config);
        let log = lab.path(&format!("{name}.log"));
        let appended = fs::OpenOptions::new().append(true).create(true).open(&log).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(config).stdout(appended);
        Some(Self { peer: Peer::run(command, host, storage), log })
    }

    pub fn name(&self, repository: &str) -> String {
        self.peer.name(repository)
    }

    /// What it was asked since this was last called: method and path.
    pub fn asked(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.log).unwrap();
        fs::OpenOptions::new().write(true).truncate(true).open(&self.log).unwrap();
        let request = |line: &str| Some(line.split('"').nth(1)?.rsplit_once(' ')?.0.to_owned());
        text.lines().filter_map(request).collect()
    }

    /// A client of the library, without TLS.
    fn client(&self, logins: impl Logins + 'static) -> Registry {
        let host = self.peer.host.clone();
        let own = Endpoint { host: host.clone(), scheme: Scheme::Http, ..Endpoint::default() };
        let known = Endpoints { own: Some(own), ..Endpoints::default() };
        let options = Options { registries: [(host, known)].into(), ..Options::default() };
        Registry::new(options, Box::new(logins)).unwrap()
    }
}

/// An image of three layers.
fn image(lab: &Lab, store: &str) {
    lab.base(store, "base");
    lab.write("ctx/Dockerfile", "FROM base\nCOPY one /one\nCOPY two /two\nENV A=b\n");
    lab.write("ctx/one", "one\n");
    lab.write("ctx/two", vec![7; 300_000]);
    lab.build(store, "ctx", &["-t", "app"]);
}

fn run(program: &str, args: &[&str]) -> Ran {
    let ran = Ran::of(Command::new(program).args(args).output().unwrap());
    assert_eq!(ran.code, 0, "{program} {args:?}\n{}{}", ran.out, ran.err);
    ran
}

/// The digest of a line `NAME@DIGEST`.
#[track_caller]
fn digest(out: &str) -> String {
    out.trim().rsplit_once('@').unwrap_or_else(|| panic!("{out}")).1.to_owned()
}

#[test]
fn images_go_there_and_come_back_and_others_read_them() {
    let Some(lab) = kernel_lab() else { return };
    let Some(server) = Server::start(&lab, "registry", &Kind::default()) else { return };
    image(&lab, "a");
    let name = server.name("team/app:1");
    let pushed = lab.ok("a", &["push", "--plain-http", "app", &name]);
    let pushed = digest(&pushed.out);
    // The same again sends nothing and is the same.
    assert_eq!(digest(&lab.ok("a", &["push", "--plain-http", "app", &name]).out), pushed);
    let pulled = lab.ok("b", &["pull", "--plain-http", &name]);
    assert_eq!(pulled.out, format!("{}@{pushed}\n", server.name("team/app")));
    let id = |store: &str, name: &str| {
        let shown: serde_json::Value =
            serde_json::from_str(&lab.ok(store, &["image", "inspect", name]).out).unwrap();
        (shown[0]["Id"].clone(), shown[0]["RootFS"].clone())
    };
    assert_eq!(id("a", "app"), id("b", &name));
    lab.ok("b", &["store", "verify"]);
    assert_eq!(lab.ok("b", &["run", "--rm", &name, "cat", "/one"]).out, "one\n");
    // What was pulled goes on byte for byte.
    let again = lab.ok("b", &["push", "--plain-http", &name, &server.name("other/app:2")]);
    assert_eq!(digest(&again.out), pushed);
    // By its digest, without a name.
    let by_digest = format!("{}@{pushed}", server.name("team/app"));
    lab.ok("c", &["pull", "--plain-http", &by_digest]);
    assert!(!lab.ok("c", &["images"]).out.contains("team/app"));
    // Packed anew it is another manifest of the same image.
    let packed = lab.ok(
        "a",
        &["push", "--plain-http", "--compression=zstd", "--force-compression", "app", &server.name("z:1")],
    );
    assert_ne!(digest(&packed.out), pushed);
    lab.ok("d", &["pull", "--plain-http", "-q", &server.name("z:1")]);
    assert_eq!(id("d", &server.name("z:1")), id("a", "app"));

    let shown = run(
        "skopeo",
        &["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &format!("docker://{name}")],
    );
    assert_eq!(shown.out.trim(), pushed);
    let dir = lab.path("copied");
    run(
        "skopeo",
        &["copy", "--src-tls-verify=false", &format!("docker://{name}"), &format!("oci:{}:1", dir.display())],
    );
    // And the other way.
    let back = server.name("back/skopeo:1");
    run(
        "skopeo",
        &[
            "copy",
            "--dest-tls-verify=false",
            "--preserve-digests",
            &format!("oci:{}:1", dir.display()),
            &format!("docker://{back}"),
        ],
    );
    assert_eq!(digest(&lab.ok("e", &["pull", "--plain-http", &back]).out), pushed);
    assert_eq!(id("e", &back), id("a", "app"));
}

#[test]
fn an_image_for_several_platforms_goes_as_one() {
    let Some(lab) = kernel_lab() else { return };
    let Some(server) = Server::start(&lab, "registry", &Kind::default()) else { return };
    lab.write("ctx/Dockerfile", "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /arch\n");
    lab.write("ctx/amd64", "amd64\n");
    lab.write("ctx/arm64", "arm64\n");
    lab.build("a", "ctx", &["--platform", "linux/amd64,linux/arm64", "-t", "two"]);
    let name = server.name("two:1");
    let pushed = digest(&lab.ok("a", &["push", "--plain-http", "two", &name]).out);
    let remote = format!("docker://{name}");
    let shown = run("skopeo", &["inspect", "--raw", "--tls-verify=false", &remote]).out;
    assert_eq!(lith::digest::BlobDigest::of(shown.as_bytes()).to_string(), pushed);
    let index: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
    for arch in ["amd64", "arm64"] {
        let shown = [
            &["--override-arch", arch, "inspect", "--tls-verify=false"][..],
            &["--format", "{{.Architecture}}", &remote],
        ];
        assert_eq!(run("skopeo", &shown.concat()).out.trim(), arch);
        let (store, platform) = (format!("b-{arch}"), format!("linux/{arch}"));
        let pulled = lab.ok(&store, &["pull", "--plain-http", "--platform", &platform, &name]);
        assert_eq!(digest(&pulled.out), pushed);
        lab.write(&format!("{arch}/Dockerfile"), format!("FROM --platform={platform} {name}\n"));
        lab.build(&store, arch, &["--platform", &platform, "-o", &format!("type=local,dest={arch}.out")]);
        assert_eq!(fs::read_to_string(lab.path(&format!("{arch}.out/arch"))).unwrap(), format!("{arch}\n"));
    }
}

#[test]
fn podman_and_buildah_pull_what_is_pushed_and_the_reverse() {
    let Some(lab) = kernel_lab() else { return };
    if !has("podman") || !has("buildah") {
        return skip("needs podman and buildah").unwrap_or(());
    }
    let Some(server) = Server::start(&lab, "registry", &Kind::default()) else { return };
    image(&lab, "a");
    let name = server.name("app:1");
    let pushed = digest(&lab.ok("a", &["push", "--plain-http", "app", &name]).out);
    let place = |what: &str| lab.path(what).to_str().unwrap().to_owned();
    for program in ["podman", "buildah"] {
        let (root, runroot) = (place(&format!("{program}-r")), place(&format!("{program}-rr")));
        let global = ["--root", &root, "--runroot", &runroot, "--storage-driver", "vfs"];
        run(program, &[&global[..], &["pull", "-q", "--tls-verify=false", &name]].concat());
        let shown = run(program, &[&global[..], &["images", "--format", "{{.Digest}}"]].concat());
        assert_eq!(shown.out.trim(), pushed, "{program}");
        let back = server.name(&format!("back/{program}:1"));
        let digests = place(&format!("{program}.digest"));
        run(
            program,
            &[&global[..], &["push", "--tls-verify=false", "--digestfile", &digests, &name, &back]].concat(),
        );
        let pulled = lab.ok("b", &["pull", "--plain-http", &back]);
        assert_eq!(digest(&pulled.out), fs::read_to_string(&digests).unwrap().trim(), "{program}");
        assert_eq!(lab.ok("b", &["run", "--rm", &back, "cat", "/one"]).out, "one\n");
    }
}

/// A certificate for 127.0.0.1 that vouches for itself, and its key.
fn certificate(lab: &Lab) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    (lab.write("tls.pem", made.cert.pem()), lab.write("tls.key", made.signing_key.serialize_pem()))
}

#[test]
fn who_logs_in_comes_in_over_tls() {
    let Some(lab) = kernel_lab() else { return };
    if !has("htpasswd") {
        return skip("needs htpasswd (package apache2-utils)").unwrap_or(());
    }
    let (certificate, key) = certificate(&lab);
    let users = lab.write("users", run("htpasswd", &["-Bbn", "me", "hunter2"]).out);
    let kind = Kind { tls: Some((&certificate, &key)), htpasswd: Some(&users), ..Kind::default() };
    let Some(server) = Server::start(&lab, "registry", &kind) else { return };
    image(&lab, "a");
    let (name, host) = (server.name("app:1"), server.peer.host.clone());
    let lith = |args: &[&str], input: &str| {
        let mut command = lab.command("a", args);
        command.env("SSL_CERT_FILE", &certificate).env("DOCKER_CONFIG", lab.path("docker"));
        command
            .env_remove("REGISTRY_AUTH_FILE")
            .env("XDG_RUNTIME_DIR", lab.path("run"))
            .env("HOME", lab.path("home"));
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes());
        Ran::of(child.wait_with_output().unwrap())
    };
    let refused = |args: &[&str], input: &str, says: &[&str]| {
        let ran = lith(args, input);
        assert_ne!(ran.code, 0, "{args:?}: {}", ran.out);
        says.iter().for_each(|says| assert!(ran.err.contains(says), "{args:?}: {says:?} in {}", ran.err));
        assert!(!ran.err.contains("hunter2") && !ran.err.contains("wrong"), "{}", ran.err);
    };
    refused(&["push", "app", &name], "", &["lith login", &host]);
    refused(&["login", "-u", "me", "--password-stdin", &host], "wrong", &[&host]);
    assert!(!lab.path("docker/config.json").exists(), "what is refused is not kept");
    let ran = lith(&["login", "-u", "me", "--password-stdin", &host], "hunter2\n");
    assert_eq!((ran.code, ran.out.as_str()), (0, "Login Succeeded\n"), "{}", ran.err);
    let ran = lith(&["push", "app", &name], "");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let pushed = digest(&ran.out);
    let ran = lith(&["pull", &name], "");
    assert_eq!((ran.code, digest(&ran.out)), (0, pushed), "{}", ran.err);
    // Nobody vouches for it without the certificate, and http is not tried instead.
    let ran = lab.run("a", &["pull", &name]);
    assert!(ran.code == 1 && ran.err.contains(&host), "{}", ran.err);
    assert_eq!(lith(&["logout", &host], "").code, 0);
    refused(&["pull", &name], "", &["lith login"]);
    refused(&["pull", &server.name("none:1")], "", &["lith login"]);
}

/// A mirror whose repositories are below a path, with a certificate that counts for it alone.
#[test]
fn registries_are_asked_where_and_as_the_user_says() {
    let Some(lab) = kernel_lab() else { return };
    let (certificate, key) = certificate(&lab);
    let kind = Kind { tls: Some((&certificate, &key)), ..Kind::default() };
    let Some(server) = Server::start(&lab, "registry", &kind) else { return };
    image(&lab, "a");
    let host = server.peer.host.clone();
    let lith = |said: &str, args: &[&str]| {
        let file = lab.write("registries.kdl", said);
        Ran::of(lab.command("a", args).env("LITH_REGISTRIES", file).output().unwrap())
    };
    let known = format!("registry \"{host}\" {{ ca \"tls.pem\"; }}\n");
    let pushed = lith(&known, &["push", "app", &server.name("proxy/hub/team/app:1")]);
    assert_eq!(pushed.code, 0, "{}", pushed.err);
    server.asked();
    let mirrored = format!("{known}registry \"absent.invalid\" {{ mirror \"{host}/proxy/hub\"; }}\n");
    let pulled = lith(&mirrored, &["pull", "absent.invalid/team/app:1"]);
    assert_eq!(pulled.code, 0, "{}", pulled.err);
    assert_eq!(pulled.out, format!("absent.invalid/team/app@{}\n", digest(&pushed.out)));
    let asked = server.asked();
    assert!(asked.iter().any(|line| line.contains("/v2/proxy/hub/team/app/manifests/1")), "{asked:#?}");
    // What vouches for one registry vouches for no other.
    let other = format!(
        "registry \"b.invalid\" {{ ca \"tls.pem\"; }}\nregistry \"absent.invalid\" {{ mirror \"{host}/proxy/hub\"; }}\n"
    );
    let ran = lith(&other, &["pull", "absent.invalid/team/app:1"]);
    assert!(ran.code != 0 && ran.err.contains("absent.invalid"), "{} {}", ran.code, ran.err);
}

struct Me;

impl Logins for Me {
    fn login(&self, _: &str) -> Result<Option<Login>, LoginError> {
        Ok(Some(Login::Password { user: "me".into(), password: Secret::new("x") }))
    }
}

#[test]
fn lists_of_tags_are_whole_and_manifests_go_by_digest() {
    let Some(lab) = kernel_lab() else { return };
    let Some(server) = Server::start(&lab, "registry", &Kind::default()) else { return };
    image(&lab, "a");
    let name = server.name("many:t000");
    let pushed = digest(&lab.ok("a", &["push", "--plain-http", "app", &name]).out);
    // As the registry keeps them: 200 names of one manifest.
    let tags = server.peer.storage.join("docker/registry/v2/repositories/many/_manifests/tags");
    for number in 1..200 {
        let copied = Command::new("cp")
            .arg("-r")
            .arg(tags.join("t000"))
            .arg(tags.join(format!("t{number:03}")))
            .status();
        assert!(copied.unwrap().success());
    }
    let client = server.client(Me);
    let reference = name.parse().unwrap();
    let repository = client.repository(&reference).unwrap();
    let all = repository.tags().unwrap();
    assert_eq!(all.into_iter().collect::<Vec<_>>(), (0..200).map(|n| format!("t{n:03}")).collect::<Vec<_>>());
    repository.delete_manifest(pushed.parse().unwrap()).unwrap();
    let gone = repository.delete_manifest(pushed.parse().unwrap()).unwrap_err();
    assert!(gone.is_missing() && gone.to_string().contains(&pushed), "{gone}");
    let ran = lab.run("b", &["pull", "--plain-http", &name]);
    assert!(ran.code == 2 && ran.err.contains("many:t000"), "{} {}", ran.code, ran.err);
    // One that deletes nothing says so.
    let kind = Kind { keeps: true, ..Kind::default() };
    let Some(server) = Server::start(&lab, "keeper", &kind) else { return };
    let name = server.name("app:1");
    let pushed = digest(&lab.ok("a", &["push", "--plain-http", "app", &name]).out);
    let client = server.client(Me);
    let reference = name.parse().unwrap();
    let refused =
        client.repository(&reference).unwrap().delete_manifest(pushed.parse().unwrap()).unwrap_err();
    assert!(refused.to_string().contains("405") || refused.to_string().contains("delete"), "{refused}");
}

#[test]
fn a_pull_that_was_killed_goes_on() {
    let Some(lab) = kernel_lab() else { return };
    let Some(server) = Server::start(&lab, "registry", &Kind::default()) else { return };
    lab.base("a", "base");
    lab.write("ctx/Dockerfile", "FROM base\nRUN head -c 60000000 /dev/urandom > /big\n");
    lab.build("a", "ctx", &["-t", "big"]);
    let name = server.name("big:1");
    let pushed =
        digest(&lab.ok("a", &["push", "--plain-http", "--compression=uncompressed", "big", &name]).out);
    let began = Instant::now();
    lab.ok("whole", &["pull", "--plain-http", &name]);
    let whole = began.elapsed();
    for round in 0u32..12 {
        let store = format!("b{}", round % 4);
        let mut child = lab
            .command(&store, &["pull", "--plain-http", &name])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while started.elapsed() < whole * (round + 1) / 13 && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let _ = child.kill();
        child.wait().unwrap();
        lab.ok(&store, &["store", "verify"]);
    }
    for store in ["b0", "b1", "b2", "b3"] {
        assert_eq!(digest(&lab.ok(store, &["pull", "--plain-http", &name]).out), pushed);
        lab.ok(store, &["store", "verify"]);
        assert_eq!(lab.ok(store, &["run", "--rm", &name, "sh", "-c", "wc -c < /big"]).out.trim(), "60000000");
    }
}
