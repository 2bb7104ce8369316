//! BuildKit's layers come out exactly: the diff ids of `tests/data/containerd-layers`, made by BuildKit 0.32 with
//! `rewrite-timestamp`, from a cold and a warm cache, at one job and at eight.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use crate::support::{Built, Lab, kernel_lab};

/// The layers of `tests/data/containerd-layers/context/Dockerfile`, above the base.
pub const DIFF_IDS: [&str; 8] = [
    "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
    "sha256:fd4f1d6b352412b189d11ca5e4627cdfcfaf4b14fecf8a325ceb184405dfcbcc",
    "sha256:258e27e2c3e7bb9c9f7a5d9478cf1fec9fdaa29e7c603a926b01e661c2067ef6",
    "sha256:75276a715f646bc27303ca610317e71849268fdbc8153723dff85bb01ff3dd99",
    "sha256:9624778474599d3f225b8163a09579c3a44c619ef882758d5c55cf5b18f49b0d",
    "sha256:1add2be40c8ec974c174e20467f7b3b3d90ce90b9f889bf84c35e2e704ba5926",
    "sha256:575e66dd80aa33dd01d25c2af068cf049591543ef9aa58924169ede40e580a9b",
    "sha256:9f4df7588aa595963baf002ef52eaca16387eb730580b3c712023cdb68c3e137",
];

/// The context with the modes BuildKit saw: a checkout may have others.
pub fn context(lab: &Lab, at: &str) {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/containerd-layers/context");
    for file in ["Dockerfile", "second.txt", "third.txt", "tree/a-b", "tree/sub/f", "tree.d/g"] {
        let path = lab.write(&format!("{at}/{file}"), fs::read(data.join(file)).unwrap());
        if file == "tree/a-b" {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    symlink("../a-b", lab.path(at).join("tree/sub/link")).unwrap();
    for dir in ["tree", "tree/sub", "tree.d"] {
        fs::set_permissions(lab.path(at).join(dir), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[track_caller]
fn check(lab: &Lab, store: &str, built: &Built) {
    let out = lab.ok(store, &["image", "inspect", &built.image()]).out;
    let layers = serde_json::from_str::<serde_json::Value>(&out).unwrap()[0]["RootFS"]["Layers"].clone();
    let own: Vec<&str> = layers.as_array().unwrap()[1..].iter().map(|l| l.as_str().unwrap()).collect();
    assert_eq!(own, DIFF_IDS);
}

#[test]
fn diff_ids_are_buildkits_cold_and_warm_at_one_job_and_eight() {
    let Some(lab) = kernel_lab() else { return };
    context(&lab, "ctx");
    for (store, jobs) in [("one", "1"), ("eight", "8")] {
        lab.base(store, "busybox-base");
        for cache in ["cold", "warm"] {
            let built = lab.build(store, "ctx", &["--epoch", "1700000000", "--jobs", jobs]);
            assert_eq!(built.with_status("hit").len(), if cache == "cold" { 0 } else { 8 });
            check(&lab, store, &built);
        }
    }
}

#[test]
fn the_config_is_buildkits_but_for_the_base() {
    let Some(lab) = kernel_lab() else { return };
    context(&lab, "ctx");
    lab.base("store", "busybox-base");
    let dest = lab.path("layout");
    let spec = format!("type=oci,tar=false,dest={}", dest.display());
    let built = lab.build("store", "ctx", &["--epoch", "1700000000", "-o", &spec]);
    let blob = dest.join("blobs/sha256").join(built.image().strip_prefix("sha256:").unwrap());
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(blob).unwrap()).unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/containerd-layers/config.json");
    let mut theirs: serde_json::Value = serde_json::from_slice(&fs::read(data).unwrap()).unwrap();
    config.as_object_mut().unwrap().remove("rootfs");
    // The first line is the base's own.
    config["history"].as_array_mut().unwrap().remove(0);
    theirs["history"].as_array_mut().unwrap().remove(0);
    assert_eq!(config, theirs);
}
