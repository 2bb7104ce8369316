//! An archive of Debian packages that a test makes, signs and serves.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use lith::debian::Machine;
use lith::digest::{BlobDigest, ContentDigest};
use lith::layer::{LayerWriter, Meta, Mtime, Node};
use lith::path::ImagePath;

use super::server::{Request, Server, reply};
use super::{Lab, has, skip};

/// A package to be made.
#[derive(Clone)]
pub struct Deb {
    pub name: String,
    pub version: String,
    /// Further fields, each with its line end.
    pub more: String,
    /// Path and text of each file; a path with a slash at its end is a directory, a text that begins with `->` a link.
    pub files: Vec<(String, String)>,
    pub scripts: Vec<(String, String)>,
    /// Instead of what the files would give.
    pub data: Option<Vec<u8>>,
}

pub fn deb(name: &str, version: &str, more: &str, files: &[(&str, &str)]) -> Deb {
    let own = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>()
    };
    Deb {
        name: name.to_owned(),
        version: version.to_owned(),
        more: more.to_owned(),
        files: own(files),
        scripts: vec![],
        data: None,
    }
}

/// A tar of files, as [`Deb::files`] has them.
pub fn tar_of(files: &[(String, String)]) -> Vec<u8> {
    let mut entries: BTreeMap<ImagePath, (u16, &str, bool)> = BTreeMap::new();
    for (path, text) in files {
        let path_of = ImagePath::parse(path.as_bytes()).unwrap();
        path_of.ancestors().for_each(|dir| {
            entries.entry(dir).or_insert((0o755, "", true));
        });
        entries.insert(path_of, (0o755, text, path.ends_with('/')));
    }
    let mut writer = LayerWriter::new(Vec::new());
    for (path, (mode, text, is_dir)) in entries {
        let meta = Meta { mode, mtime: Mtime { secs: 1_600_000_000, nanos: 0 }, ..Meta::default() };
        match (is_dir, text.strip_prefix("->")) {
            (true, _) => writer.node(&path, &meta, &Node::Dir).unwrap(),
            (false, Some(to)) => writer.node(&path, &meta, &Node::Symlink(to.into())).unwrap(),
            (false, None) => {
                let text = text.as_bytes();
                writer.bytes(&path, &meta, text, ContentDigest::of(text)).unwrap();
            }
        }
    }
    writer.finish().unwrap().0
}

impl Deb {
    fn fields(&self) -> String {
        format!("Package: {}\nVersion: {}\nArchitecture: all\n{}", self.name, self.version, self.more)
    }

    fn bytes(&self) -> Vec<u8> {
        let control = format!("{}Description: made by a test\n", self.fields());
        let mut files = vec![("control".to_owned(), control)];
        files.extend(self.scripts.clone());
        let members = [
            ("debian-binary", b"2.0\n".to_vec()),
            ("control.tar", tar_of(&files)),
            ("data.tar", self.data.clone().unwrap_or_else(|| tar_of(&self.files))),
        ];
        let mut bytes = b"!<arch>\n".to_vec();
        for (name, body) in members {
            let header = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, body.len());
            bytes.extend(header.into_bytes());
            bytes.extend(&body);
            bytes.resize(bytes.len() + body.len() % 2, b'\n');
        }
        bytes
    }
}

/// What is served, by path.
type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// An archive with one suite, `sid`.
pub struct Mirror {
    server: Server,
    files: Files,
    home: PathBuf,
    pub machine: Machine,
}

impl Drop for Mirror {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(&self.home).args(["--kill", "all"]).status();
    }
}

impl Mirror {
    /// An empty archive whose key the machine of the test trusts; `None` if there is no gpg.
    pub fn new(lab: &Lab) -> Option<Self> {
        if !has("gpg") || !has("gpgv") {
            return skip("needs gpg and gpgv");
        }
        let files = Files::default();
        let served = files.clone();
        let answer = move |request: &Request, _| {
            let served = served.lock().unwrap();
            match served.get(&request.path) {
                Some(body) => reply("200 OK", &[], body),
                // A server that is gone says nothing at all.
                None if served.is_empty() => Vec::new(),
                None => reply("404 Not Found", &[], b""),
            }
        };
        let machine = Machine { apt: lab.path("apt"), keyrings: lab.path("keyrings"), now: 1_700_000_000 };
        let home = lab.path("gnupg");
        let mirror = Self { server: Server::start(answer), files, home, machine };
        let keyring = lab.write("apt/trusted.gpg.d/test.gpg", "");
        let key = mirror.key("archive");
        let exported = mirror.gpg(&["--export", &key]);
        fs::write(keyring, exported).unwrap();
        Some(mirror)
    }

    pub fn url(&self) -> String {
        self.server.url("/debian")
    }

    /// How often a path was asked for that ends like this.
    pub fn asked(&self, end: &str) -> usize {
        self.server.seen().iter().filter(|request| request.path.ends_with(end)).count()
    }

    /// Makes a key; gives the name by which gpg knows it.
    pub fn key(&self, name: &str) -> String {
        fs::create_dir_all(&self.home).unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&self.home, fs::Permissions::from_mode(0o700)).unwrap();
        let address = format!("{name}@example.invalid");
        self.gpg(&["--passphrase", "", "--quick-generate-key", &address, "ed25519", "sign", "never"]);
        address
    }

    fn gpg(&self, args: &[&str]) -> Vec<u8> {
        let mut gpg = Command::new("gpg");
        gpg.arg("--homedir").arg(&self.home).args(["--batch", "--yes", "--quiet"]).args(args);
        let ran = gpg.output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        ran.stdout
    }

    pub fn put(&self, path: &str, bytes: Vec<u8>) {
        self.files.lock().unwrap().insert(format!("/debian/{path}"), bytes);
    }

    pub fn get(&self, path: &str) -> Vec<u8> {
        self.files.lock().unwrap()[&format!("/debian/{path}")].clone()
    }

    /// Takes the archive off the network.
    pub fn vanish(&self) {
        self.files.lock().unwrap().clear();
    }

    /// Puts packages into the archive: their files, the index, and a release of these further fields.
    pub fn publish(&self, debs: &[Deb], more: &str) {
        self.publish_by("archive@example.invalid", debs, more);
    }

    /// The archive's key as text.
    pub fn armored(&self) -> String {
        String::from_utf8(self.gpg(&["--armor", "--export", "archive@example.invalid"])).unwrap()
    }

    pub fn publish_by(&self, key: &str, debs: &[Deb], more: &str) {
        let mut index = String::new();
        for deb in debs {
            let (bytes, path) = (deb.bytes(), format!("pool/{}_{}.deb", deb.name, deb.version));
            let digest = BlobDigest::of(&bytes).hex();
            let fields = deb.fields();
            write!(index, "{fields}Filename: {path}\nSize: {}\nSHA256: {digest}\n\n", bytes.len()).unwrap();
            self.put(&path, bytes);
        }
        let architecture =
            if lith::platform::Platform::host().architecture == "arm64" { "arm64" } else { "amd64" };
        let path = format!("main/binary-{architecture}/Packages");
        let digest = BlobDigest::of(index.as_bytes()).hex();
        let release = format!(
            "Suite: unstable\nCodename: sid\nArchitectures: {architecture}\n{more}SHA256:\n {digest} {} {path}\n",
            index.len()
        );
        self.put(&format!("dists/sid/{path}"), index.into_bytes());
        self.put("dists/sid/InRelease", self.sign(key, &release));
    }

    fn sign(&self, key: &str, text: &str) -> Vec<u8> {
        let plain = self.home.join("plain");
        fs::write(&plain, text).unwrap();
        self.gpg(&["--local-user", key, "--clearsign", "--output", "-", path(&plain)])
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
