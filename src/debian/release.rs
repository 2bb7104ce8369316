//! The signed list of what a suite holds: `InRelease`.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::DebianError;
use super::control::paragraphs;
use super::sources::Keys;
use crate::digest::BlobDigest;

/// What a release says, after its signature was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    pub suite: String,
    pub codename: String,
    pub label: String,
    /// As written.
    pub date: Option<String>,
    pub valid_until: Option<String>,
    pub by_hash: bool,
    /// Whether packages for all architectures have an index of their own.
    pub separate_all: bool,
    files: Vec<Listed>,
}

/// One file of a suite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Below the directory of the suite.
    pub path: String,
    pub size: u64,
    pub sha256: BlobDigest,
}

/// Packed forms of an index, the best first.
const PACKED: [&str; 3] = [".xz", ".gz", ""];

/// Where programs are looked for.
pub(super) const SEARCH: &str = "/usr/local/bin:/usr/bin:/bin";

/// How much of what gpgv says is shown.
const COMPLAINT: usize = 400;

impl Release {
    /// Reads a release whose signature is good. `Err` says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let found = paragraphs(text).map_err(|error| error.to_string())?;
        let [fields] = found.as_slice() else { return Err("it is not one paragraph of fields".to_owned()) };
        let field = |name: &str| fields.get(name).unwrap_or_default();
        let mut files = Vec::new();
        for line in fields.get("SHA256").ok_or("it lists no files by SHA256")?.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [digest, size, path] = words.as_slice() else {
                return Err(format!("{line:?} is not a digest, a size and a path"));
            };
            let sha256 = BlobDigest::from_hex(digest).map_err(|error| error.to_string())?;
            let size = size.parse().map_err(|_| format!("{size:?} is not a number of bytes"))?;
            files.push(Listed { path: (*path).to_owned(), size, sha256 });
        }
        let all = field("Architectures").split_whitespace().any(|architecture| architecture == "all");
        Ok(Self {
            suite: field("Suite").to_owned(),
            codename: field("Codename").to_owned(),
            label: field("Label").to_owned(),
            date: fields.get("Date").map(str::to_owned),
            valid_until: fields.get("Valid-Until").map(str::to_owned),
            by_hash: field("Acquire-By-Hash") == "yes",
            separate_all: all && !field("No-Support-for-Architecture-all").contains("Packages"),
            files,
        })
    }

    /// The packed index of a component that is fetched, and what it unpacks to, if that is listed.
    pub fn index(&self, component: &str, architecture: &str) -> Option<(&Listed, Option<&Listed>)> {
        let path = format!("{component}/binary-{architecture}/Packages");
        let listed = |suffix: &str| {
            let path = format!("{path}{suffix}");
            self.files.iter().find(|file| file.path == path)
        };
        let packed = PACKED.iter().find_map(|suffix| listed(suffix))?;
        Some((packed, listed("")))
    }
}

/// Checks a clear-signed text with gpgv and gives what was signed. `place` is an empty directory of our own.
pub fn verified(url: &str, signed: &[u8], keys: &[KeyFile], place: &Path) -> Result<String, DebianError> {
    if keys.is_empty() {
        return Err(DebianError::NoKeyring { url: url.to_owned() });
    }
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| DebianError::Read { path, source }
    };
    // By their names alone: the store may be named by a relative path.
    let (input, output) = ("signed", "payload");
    fs::write(place.join(input), signed).map_err(io(place))?;
    let mut command = Command::new("gpgv");
    command.env_clear().env("PATH", SEARCH).env("LC_ALL", "C").current_dir(place).process_group(0);
    command.args(["--homedir", ".", "--status-fd", "1", "--output", output]);
    for (number, key) in keys.iter().enumerate() {
        command.arg("--keyring").arg(key.at(place, number).map_err(io(place))?);
    }
    let ran = command.arg(input).stdin(Stdio::null()).output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => DebianError::NoGpgv,
        _ => DebianError::Read { path: "gpgv".into(), source: error },
    })?;
    judge(&String::from_utf8_lossy(&ran.stdout)).map_err(|()| {
        let said = String::from_utf8_lossy(&ran.stderr);
        let reason: String = said.trim().replace('\n', "; ").chars().take(COMPLAINT).collect();
        DebianError::Signature { url: url.to_owned(), reason: crate::diag::escape(reason.as_bytes()) }
    })?;
    let payload = fs::read(place.join(output)).map_err(io(place))?;
    String::from_utf8(payload)
        .map_err(|_| DebianError::Release { url: url.to_owned(), reason: "it is no text".into() })
}

/// What gpgv said of all signatures: one that is good and none that is bad. One by a key that is not known counts nothing.
fn judge(status: &str) -> Result<(), ()> {
    let words = status.lines().filter_map(|line| line.strip_prefix("[GNUPG:] "));
    let kinds: Vec<&str> = words.filter_map(|line| line.split(' ').next()).collect();
    let is_good = kinds.contains(&"VALIDSIG") && kinds.contains(&"GOODSIG");
    let is_bad = kinds.iter().any(|kind| matches!(*kind, "BADSIG" | "NODATA"));
    if is_good && !is_bad { Ok(()) } else { Err(()) }
}

/// Keys in a file, or in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyFile {
    /// A keyring as gpgv reads it.
    Binary(PathBuf),
    /// The bytes of one.
    Bytes(Vec<u8>),
}

impl KeyFile {
    /// The keyrings that count for a source. `trusted` are those of the machine.
    pub fn of(
        keys: &Keys,
        trusted: impl FnOnce() -> Result<Vec<PathBuf>, DebianError>,
    ) -> Result<Vec<Self>, DebianError> {
        let files = match keys {
            Keys::Machine => trusted()?,
            Keys::Files(files) => files.clone(),
            Keys::Inline(block) => {
                let bytes = dearmored(block).ok_or_else(|| DebianError::SourceFile {
                    path: "Signed-By".into(),
                    reason: NO_KEYS.into(),
                })?;
                return Ok(vec![Self::Bytes(bytes)]);
            }
        };
        files.into_iter().map(Self::open).collect()
    }

    fn open(path: PathBuf) -> Result<Self, DebianError> {
        let bytes = fs::read(&path).map_err(|source| DebianError::Read { path: path.clone(), source })?;
        if !bytes.starts_with(b"-----BEGIN PGP") {
            return Ok(Self::Binary(path));
        }
        let block = std::str::from_utf8(&bytes).ok().and_then(dearmored);
        block.map(Self::Bytes).ok_or_else(|| DebianError::SourceFile { path, reason: NO_KEYS.into() })
    }

    /// A path to the keyring for a process in `place`, written there if it is nowhere yet.
    fn at(&self, place: &Path, number: usize) -> io::Result<PathBuf> {
        match self {
            Self::Binary(path) => Ok(path.clone()),
            Self::Bytes(bytes) => {
                let name = format!("keyring-{number}.gpg");
                fs::write(place.join(&name), bytes)?;
                Ok(Path::new(".").join(name))
            }
        }
    }
}

/// What is wrong with a block of keys.
const NO_KEYS: &str = "it is no block of public keys as gpg writes them";

/// The bytes of all armored blocks in a text; gpgv reads no armor.
fn dearmored(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("-----BEGIN PGP PUBLIC KEY BLOCK-----") {
        let block = &rest[start..];
        let end = block.find("-----END PGP PUBLIC KEY BLOCK-----")?;
        let lines = block[..end].lines().map(str::trim).skip(1).skip_while(|line| !line.is_empty());
        let body: String = lines.filter(|line| !line.starts_with('=')).collect();
        bytes.extend(STANDARD.decode(body).ok()?);
        rest = &block[end + 1..];
    }
    (!bytes.is_empty()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_lists_its_indices() {
        let digest = "ab".repeat(32);
        let text = format!(
            "Suite: stable\nCodename: bookworm\nAcquire-By-Hash: yes\nArchitectures: all amd64\nSHA256:\n {digest} 10 main/binary-amd64/Packages\n {digest} 5 main/binary-amd64/Packages.xz\n {digest} 6 main/binary-amd64/Packages.gz\n"
        );
        let release = Release::parse(&text).unwrap();
        let (packed, plain) = release.index("main", "amd64").unwrap();
        assert_eq!((packed.size, plain.unwrap().size), (5, 10));
        assert!(release.separate_all && release.by_hash);
        assert!(release.index("main", "arm64").is_none());
        assert!(Release::parse("Suite: x\n").is_err());
        assert!(Release::parse("Suite: x\nSHA256:\n ab 1 x\n").is_err());
    }

    #[test]
    fn signatures_are_judged() {
        assert_eq!(
            judge("[GNUPG:] GOODSIG 1 x\n[GNUPG:] VALIDSIG 1\n[GNUPG:] ERRSIG 2\n[GNUPG:] NO_PUBKEY 2\n"),
            Ok(())
        );
        assert_eq!(judge("[GNUPG:] GOODSIG 1 x\n[GNUPG:] VALIDSIG 1\n[GNUPG:] BADSIG 2 y\n"), Err(()));
        assert_eq!(judge("[GNUPG:] ERRSIG 2\n[GNUPG:] NO_PUBKEY 2\n"), Err(()));
        assert_eq!(judge("[GNUPG:] EXPKEYSIG 1 x\n[GNUPG:] VALIDSIG 1\n"), Err(()));
        assert_eq!(judge(""), Err(()));
    }

    #[test]
    fn armor_comes_off() {
        let block = "-----BEGIN PGP PUBLIC KEY BLOCK-----\nComment: x\n\naGVs\nbG8=\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n";
        assert_eq!(dearmored(block).unwrap(), b"hello");
        assert_eq!(dearmored(&block.repeat(2)).unwrap(), b"hellohello");
        assert_eq!(dearmored("nothing"), None);
    }
}
