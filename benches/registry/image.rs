//! An image as people have them: files of `/usr`, some layers, each a tar that is packed as usual.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use lith::digest::BlobDigest;
use serde_json::{Value, json};

use crate::support::peer::Peer;
use crate::support::{Lab, children};

/// How the layers are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    Gzip,
    Zstd,
}

impl FromStr for Codec {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        [Self::Gzip, Self::Zstd].into_iter().find(|codec| codec.name() == name).ok_or(())
    }
}

impl Codec {
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The command that unpacks a stream.
    pub fn unpacker(self) -> &'static str {
        match self {
            Self::Gzip => "gzip -dc",
            Self::Zstd => "zstd -dc",
        }
    }

    fn packer(self) -> &'static str {
        match self {
            Self::Gzip => "gzip -nc6",
            Self::Zstd => "zstd -qc3",
        }
    }
}

/// The image in a layout.
pub struct Image {
    pub codec: Codec,
    pub layout: PathBuf,
    /// Of the layers' blobs.
    pub digests: Vec<String>,
    pub packed: u64,
    pub unpacked: u64,
}

impl Image {
    /// Makes the image `bench:1` of so many layers, that many MiB together before they are packed.
    pub fn make(lab: &Lab, codec: Codec, mib: usize, layers: usize) -> Self {
        let layout = lab.path(&format!("layout-{}", codec.name()));
        fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
        let lists = lists(Path::new("/usr"), (mib as u64) << 20, layers);
        let packing = lists.iter().enumerate().map(|(at, list)| pack(lab, codec, at, list));
        let (mut described, mut diff_ids) = (Vec::new(), Vec::new());
        let mut image = Self { codec, layout, digests: vec![], packed: 0, unpacked: 0 };
        for layer in packing {
            let digest = put_file(&image.layout, &layer.blob);
            let size = fs::metadata(image.layout.join("blobs/sha256").join(digest.hex())).unwrap().len();
            image.packed += size;
            image.unpacked += layer.unpacked;
            let kind = format!("application/vnd.oci.image.layer.v1.tar+{}", codec.name());
            described.push(json!({ "mediaType": kind, "digest": digest, "size": size }));
            diff_ids.push(layer.diff_id);
            image.digests.push(digest.to_string());
        }
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = put(&image.layout, "application/vnd.oci.image.config.v1+json", &config);
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": described });
        let mut manifest = put(&image.layout, kind, &manifest);
        manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": "bench:1" });
        let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
        fs::write(image.layout.join("index.json"), index.to_string()).unwrap();
        fs::write(image.layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        image
    }

    /// Gives it to a registry, as `bench/app:1`.
    pub fn serve(&self, peer: &Peer) {
        let from = format!("oci:{}:bench:1", self.layout.display());
        let mut copy = Command::new("skopeo");
        copy.args(["copy", "-q", "--preserve-digests", "--dest-tls-verify=false", &from]);
        let copied = copy.arg(format!("docker://{}/bench/app:1", peer.host)).output().unwrap();
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    }
}

/// Files below a directory, by name, in lists of about the same size; begun again from the front, below another name, where
/// there are not enough.
fn lists(dir: &Path, size: u64, layers: usize) -> Vec<Vec<PathBuf>> {
    let mut files = Vec::new();
    walk(dir, &mut files);
    // Neighbours are alike; every tenth gives something of everything.
    let mixed = (0..10).flat_map(|first| files.iter().skip(first).step_by(10));
    let mut files = mixed.cycle();
    let each = size / layers as u64;
    let one = |_| {
        let (mut list, mut had) = (Vec::new(), 0);
        while had < each {
            let (path, size) = files.next().expect("/usr has files");
            had += size;
            list.push(path.clone());
        }
        list
    };
    (0..layers).map(one).collect()
}

fn walk(dir: &Path, files: &mut Vec<(PathBuf, u64)>) {
    for path in children(dir) {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() {
            walk(&path, files);
        } else if meta.is_file() && meta.len() < 8 << 20 {
            files.push((path, meta.len()));
        }
    }
}

struct Packed {
    blob: PathBuf,
    diff_id: String,
    unpacked: u64,
}

fn pack(lab: &Lab, codec: Codec, at: usize, list: &[PathBuf]) -> Packed {
    let (tar, blob) = (lab.path("layer.tar"), lab.path("layer.blob"));
    let mut command = Command::new("tar");
    command.args([
        "-c",
        "--no-recursion",
        "--format=pax",
        "--pax-option=delete=atime,delete=ctime",
        "--hard-dereference",
    ]);
    command.arg(format!("--transform=s,^,layer{at}/,")).arg("-f").arg(&tar).args(["--null", "-T", "-"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let names: Vec<u8> =
        list.iter().flat_map(|path| [path.as_os_str().as_encoded_bytes(), b"\0"].concat()).collect();
    child.stdin.take().unwrap().write_all(&names).unwrap();
    assert!(child.wait().unwrap().success());
    let mut packer = Command::new("sh");
    let script = format!("exec {} < \"$1\" > \"$2\"", codec.packer());
    assert!(packer.args(["-c", &script, "sh"]).arg(&tar).arg(&blob).status().unwrap().success());
    let unpacked = fs::metadata(&tar).unwrap().len();
    let diff_id = sum(&tar).to_string();
    Packed { blob, diff_id, unpacked }
}

fn sum(path: &Path) -> BlobDigest {
    let mut bytes = Vec::new();
    File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
    BlobDigest::of(&bytes)
}

fn put_file(layout: &Path, blob: &Path) -> BlobDigest {
    let digest = sum(blob);
    fs::rename(blob, layout.join("blobs/sha256").join(digest.hex())).unwrap();
    digest
}

fn put(layout: &Path, kind: &str, document: &Value) -> Value {
    let bytes = document.to_string().into_bytes();
    let digest = BlobDigest::of(&bytes);
    fs::write(layout.join("blobs/sha256").join(digest.hex()), &bytes).unwrap();
    json!({ "mediaType": kind, "digest": digest, "size": bytes.len() })
}
