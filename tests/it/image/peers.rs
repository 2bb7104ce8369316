//! What other tools write is read, and what lith writes they read.

use super::*;

/// Runs a tool; `None` if it is not installed here.
fn tool(program: &str, arguments: &[&str]) -> Option<String> {
    let output = match Command::new(program).args(arguments).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("SKIP: {program} is not installed");
            return None;
        }
        Err(error) => panic!("{program}: {error}"),
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {stderr}");
    Some(String::from_utf8(output.stdout).unwrap())
}

fn written(store: &Store, image: &StoredImage, dest: &Path, kind: &str) {
    let spec = format!("type={kind},dest={}", dest.display()).parse().unwrap();
    export(store, image, &names(&["app:1"]), &spec, &[], &|_| {}, &mut Vec::new()).unwrap();
}

fn at(scheme: &str, path: &Path, tag: &str) -> String {
    format!("{scheme}:{}{tag}", path.display())
}

#[test]
fn skopeo_reads_what_lith_writes() {
    let (_a, store) = new_store();
    let image = sample(&store);
    let out = tempfile::tempdir().unwrap();
    for (kind, scheme) in [
        ("oci", "oci-archive"),
        ("oci,compression=zstd", "oci-archive"),
        ("oci,tar=false", "oci"),
        ("docker", "docker-archive"),
    ] {
        let dest = out.path().join(kind.replace([',', '='], "-"));
        written(&store, &image, &dest, kind);
        let Some(text) = tool("skopeo", &["inspect", "--config", "--raw", &at(scheme, &dest, "")]) else {
            return;
        };
        assert_eq!(BlobDigest::of(text.trim_end().as_bytes()), image.id.into(), "{kind}: the same config");
        // A copy reads every blob and checks it.
        let copy = out.path().join("copy");
        tool("skopeo", &["--insecure-policy", "copy", "-q", &at(scheme, &dest, ""), &at("dir", &copy, "")]);
    }
}

#[test]
fn lith_reads_what_skopeo_writes() {
    let (_a, store) = new_store();
    let image = sample(&store);
    let out = tempfile::tempdir().unwrap();
    let own = out.path().join("own.tar");
    written(&store, &image, &own, "oci");
    for (scheme, tag, name) in [
        ("docker-archive", ":app:1", "app:1"),
        ("oci-archive", ":app:1", "app:1"),
        ("oci-archive", ":v1", ""),
        ("oci", ":docker.io/library/app:1", "app:1"),
        ("oci", "", ""),
    ] {
        let dest = out.path().join(format!("{scheme}{}", tag.replace([':', '/'], "-")));
        let arguments =
            ["--insecure-policy", "copy", "-q", &at("oci-archive", &own, ""), &at(scheme, &dest, tag)];
        if tool("skopeo", &arguments).is_none() {
            return;
        }
        let (_b, other) = new_store();
        let loaded: Vec<Loaded> =
            load_path(&other, &dest, &options()).unwrap_or_else(|e| panic!("{scheme}{tag}: {e}"));
        assert_eq!(loaded.len(), 1);
        assert_eq!(loaded[0].image.config.rootfs, image.config.rootfs, "{scheme}{tag}");
        let found: Vec<String> = loaded[0].names.iter().map(Reference::familiar).collect();
        assert_eq!(found.join(" "), name, "{scheme}{tag}");
        assert_eq!(loaded[0].tag.as_deref(), (tag == ":v1").then_some("v1"));
    }
}

#[test]
fn umoci_unpacks_what_lith_writes_and_back() {
    let (_a, store) = new_store();
    let image = sample(&store);
    let out = tempfile::tempdir().unwrap();
    let layout = out.path().join("layout");
    written(&store, &image, &layout, "oci,tar=false");
    let bundle = out.path().join("bundle");
    let name = at("", &layout, ":1")[1..].to_owned();
    let unpack = ["raw", "unpack", "--rootless", "--image", &name, bundle.to_str().unwrap()];
    if tool("umoci", &unpack).is_none() {
        return;
    }
    assert_eq!(fs::read(bundle.join("bin/b")).unwrap(), b"first");
    assert!(!bundle.join("bin/a").exists());
    tool("umoci", &["config", "--image", &name, "--tag", "2", "--config.label", "a=b"]);
    let (_b, other) = new_store();
    let loaded = load_path(&other, &layout, &LoadOptions { name: Some("2".into()), ..options() }).unwrap();
    assert_eq!(loaded[0].image.config.config.labels["a"], "b");
    assert_eq!(loaded[0].names, names(&["app:2"]));
    assert_eq!(loaded[0].image.config.rootfs, image.config.rootfs);
}

#[test]
fn busybox_and_tar_read_the_merged_tar() {
    let (_a, store) = new_store();
    let out = tempfile::tempdir().unwrap();
    let dest = out.path().join("rootfs.tar");
    written(&store, &sample(&store), &dest, "tar");
    for program in ["busybox", "tar"] {
        let lead: &[&str] = if program == "busybox" { &["tar"] } else { &[] };
        let arguments = [lead, &["-tf", dest.to_str().unwrap()]].concat();
        let Some(list) = tool(program, &arguments) else { continue };
        assert_eq!(list.lines().collect::<Vec<_>>(), ["bin/", "bin/b", "bin/d", "l"]);
    }
}
/// Archives of the sample that real tools saved after loading it from lith's output: docker 20.10.24 (a layer a
/// directory, no OCI layout), podman 4.3.1 (layers as `<hex>.tar` with symlinks, and an OCI layout).
#[test]
fn saved_archives_of_other_tools() {
    let (_a, store) = new_store();
    let image = sample(&store);
    for (name, bytes) in [
        ("docker", &include_bytes!("../../data/image/saved-by-docker.tar.gz")[..]),
        ("podman", include_bytes!("../../data/image/saved-by-podman.tar.gz")),
        ("podman oci", include_bytes!("../../data/image/oci-by-podman.tar.gz")),
    ] {
        let (_b, other) = new_store();
        let loaded = load_stream(&other, name, bytes, &options()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(loaded[0].image.config.rootfs, image.config.rootfs, "{name}");
        if name != "podman oci" {
            // podman writes the config anew for OCI; as docker archive it stays byte for byte.
            assert_eq!(loaded[0].image.id, image.id, "{name}");
        }
        assert_eq!(loaded[0].names, names(&["app:1"]), "{name}");
    }
}
