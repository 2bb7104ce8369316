//! Archives in the forms that builders beside docker and podman write, made here entry by entry: which entries, in which order,
//! under which names, with what in their headers.
//!
//! What each form is was read from its writer's source, at these commits: go-containerregistry 01f33cab (`pkg/v1/tarball`) and 14945a43
//! (`pkg/v1/layout`), through which ko 1bb82ee6 (`pkg/publish`) and kaniko 6a340c6a (`pkg/executor/push.go`) write; rules_oci
//! 03bca15d (by GNU tar), d65f261b (an index) and 06fb0f7e (by bsdtar from an mtree; `oci/private/tarball.sh.tpl`, `load.bzl`);
//! nixpkgs 01378401 (`stream_layered_image.py`) and 0000bf73 (`docker/default.nix`). The images in them are made up.

use super::*;

/// The year 1: what Go writes for a time that nobody set.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// One image before anybody packed it.
struct Parts {
    config: Vec<u8>,
    /// Tars, not packed.
    layers: Vec<Vec<u8>>,
}

impl Parts {
    fn id(&self) -> String {
        BlobDigest::of(&self.config).hex()
    }
}

/// An entry of an archive as its writer lays it down.
struct Entry<'a> {
    name: &'a str,
    kind: tar::EntryType,
    mode: u32,
    time: u64,
    body: &'a [u8],
}

fn file<'a>(name: &'a str, mode: u32, time: u64, body: &'a [u8]) -> Entry<'a> {
    Entry { name, kind: tar::EntryType::Regular, mode, time, body }
}

fn dir(name: &str, mode: u32, time: u64) -> Entry<'_> {
    Entry { name, kind: tar::EntryType::Directory, mode, time, body: b"" }
}

/// A tar of entries with names to the letter, as `/a/` and `./` too; `block`: what the whole is padded to.
fn archive(entries: &[Entry<'_>], owner: &str, block: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..entry.name.len()].copy_from_slice(entry.name.as_bytes());
        header.set_entry_type(entry.kind);
        header.set_mode(entry.mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_username(owner).unwrap();
        header.set_groupname(owner).unwrap();
        header.set_mtime(entry.time);
        header.set_size(entry.body.len() as u64);
        header.set_cksum();
        bytes.extend(header.as_bytes());
        bytes.extend(entry.body);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize((bytes.len() + 1024).next_multiple_of(block), 0);
    bytes
}

fn diff_ids(layers: &[Vec<u8>]) -> Vec<String> {
    layers.iter().map(|layer| BlobDigest::of(layer).to_string()).collect()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// Loads an archive from a file and from a pipe, and gives what came of it. What is saved of it again is an image that
/// skopeo finds to be the same.
#[track_caller]
fn loads(what: &str, archive: &[u8], expected: &[(&Parts, &[&str])]) {
    let (_a, store) = new_store();
    let piped = load_stream(&store, what, archive, &options()).unwrap_or_else(|e| panic!("{what}: {e}"));
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("archive");
    fs::write(&path, archive).unwrap();
    let (_b, store) = new_store();
    let loaded = load_path(&store, &path, &options()).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(loaded, piped, "{what}");
    assert_eq!(loaded.len(), expected.len(), "{what}");
    for (loaded, (parts, list)) in loaded.iter().zip(expected) {
        assert_eq!(loaded.image.id.hex(), parts.id(), "{what}");
        let found: Vec<String> = loaded.image.config.rootfs.diff_ids.iter().map(DiffId::to_string).collect();
        assert_eq!(found, diff_ids(&parts.layers), "{what}");
        assert_eq!(loaded.names, names(list), "{what}");
        let image = StoredImage::open(&store, loaded.image.digest).unwrap();
        for (kind, scheme) in [("docker", "docker-archive"), ("oci", "oci-archive")] {
            let saved = out.path().join(kind);
            fs::write(&saved, export_to(&store, &image, &["app:1"], &format!("type={kind},dest=-"))).unwrap();
            read_by_skopeo(&format!("{what}, saved as {kind}"), scheme, &saved, parts);
        }
    }
}

#[track_caller]
fn read_by_skopeo(what: &str, scheme: &str, path: &Path, parts: &Parts) {
    if !crate::support::has("skopeo") {
        return crate::support::skip("needs skopeo").unwrap_or(());
    }
    let run = |args: &[&str]| {
        let output = Command::new("skopeo").args(args).output().unwrap();
        assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let from = format!("{scheme}:{}", path.display());
    let config = run(&["inspect", "--config", "--raw", &from]);
    assert_eq!(
        BlobDigest::of(config.trim_ascii_end()),
        BlobDigest::of(parts.config.trim_ascii_end()),
        "{what}"
    );
    // A copy reads every blob and checks it.
    let copy = path.with_extension("copy");
    run(&["--insecure-policy", "copy", "-q", &from, &format!("dir:{}", copy.display())]);
}

/// What ko makes: times that nobody set, one line of history for each layer.
fn go_config(layers: &[Vec<u8>], author: &str) -> Vec<u8> {
    let line = json!({ "author": author, "created": NO_TIME, "created_by": "ko build", "comment": "kodata contents" });
    let history: Vec<Value> = layers.iter().map(|_| line.clone()).collect();
    json!({
        "architecture": "amd64", "author": "github.com/ko-build/ko", "created": NO_TIME, "history": history, "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": diff_ids(layers) },
        "config": { "Entrypoint": ["/ko-app/app"], "Env": ["PATH=/bin", "KO_DATA_PATH=/var/run/ko"] },
    })
    .to_string()
    .into_bytes()
}

/// go-containerregistry's archive: the config as `sha256:HEX`, each blob once as `HEX.tar.gz` whatever it is packed with,
/// `manifest.json` last; no directories, mode 0644, time 0.
fn go_archive(images: &[(&Parts, Value)], pack: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let mut items = Vec::new();
    for (image, tags) in images {
        files.push((format!("sha256:{}", image.id()), image.config.clone()));
        let mut listed = Vec::new();
        for layer in &image.layers {
            let blob = pack(layer);
            let name = format!("{}.tar.gz", BlobDigest::of(&blob).hex());
            listed.push(name.clone());
            if files.iter().all(|(there, _)| *there != name) {
                files.push((name, blob));
            }
        }
        items.push(json!({ "Config": format!("sha256:{}", image.id()), "RepoTags": tags, "Layers": listed }));
    }
    files.push(("manifest.json".into(), json!(items).to_string().into_bytes()));
    let entries: Vec<Entry<'_>> = files.iter().map(|(name, body)| file(name, 0o644, 0, body)).collect();
    archive(&entries, "", 512)
}

#[test]
fn what_ko_writes() {
    // Directories have no entries of their own, and the time 0.
    let one = layer(&[("ko-app/app", b"program"), ("var/run/ko/", b"")]);
    let layers = vec![base_layer(), one.clone(), one];
    let image = Parts { config: go_config(&layers, "ko"), layers };
    let tags = [
        "ko.local/app-0123456789abcdef0123456789abcdef:latest",
        "ko.local/app-0123456789abcdef0123456789abcdef:v1",
    ];
    loads("ko --tarball", &go_archive(&[(&image, json!(tags))], gzip), &[(&image, &tags)]);
    // By digest alone it has no names.
    loads("ko without tags", &go_archive(&[(&image, Value::Null)], gzip), &[(&image, &[])]);
    let other = Parts { config: go_config(&image.layers[..1], "other"), layers: image.layers[..1].to_vec() };
    let both = go_archive(&[(&image, json!(["a:1"])), (&other, json!(["b:1"]))], gzip);
    loads("ko resolve", &both, &[(&image, &["a:1"]), (&other, &["b:1"])]);
}

#[test]
fn what_kaniko_writes() {
    let layers = vec![base_layer(), top_layer()];
    let config = json!({
        "architecture": "amd64", "author": "kaniko", "container": "5c1e0b", "created": "2024-05-01T10:11:12.123456789Z",
        "docker_version": "20.10.7", "os": "linux",
        "history": [
            { "created": "2024-03-09T01:32:01.9Z", "created_by": "/bin/sh -c #(nop) ADD file:1 in / " },
            { "author": "kaniko", "created": NO_TIME, "created_by": "RUN rm /bin/a" },
            { "author": "kaniko", "created": NO_TIME, "created_by": "CMD [\"/bin/b\"]", "empty_layer": true },
        ],
        "rootfs": { "type": "layers", "diff_ids": diff_ids(&layers) },
        "config": {
            "AttachStderr": true, "Cmd": ["/bin/b"], "Domainname": "", "Image": "sha256:688f82", "OnBuild": null,
            "Hostname": "5c1e0b", "ArgsEscaped": true, "Volumes": { "/v": {} }, "ExposedPorts": { "80/tcp": {} },
        },
    });
    let image = Parts { config: config.to_string().into_bytes(), layers };
    let tags = ["registry.example/team/app:1", "registry.example/team/app:latest"];
    for (what, pack) in
        [("kaniko --tar-path", gzip as fn(&[u8]) -> Vec<u8>), ("kaniko --compression=zstd", zstd)]
    {
        loads(what, &go_archive(&[(&image, json!(tags))], pack), &[(&image, &tags)]);
    }
    // The name that it makes up where nothing is pushed.
    let unset = ["docker.io/unset-repo/unset-image-name:latest"];
    loads("kaniko --no-push", &go_archive(&[(&image, json!(unset))], gzip), &[(&image, &unset)]);
}

/// `--oci-layout-path` of both, and `crane pull --format=oci`: a directory; no names; indented.
#[test]
fn layouts_of_go_containerregistry() {
    let layers = vec![base_layer()];
    let image = Parts { config: go_config(&layers, "ko"), layers };
    let out = tempfile::tempdir().unwrap();
    let blobs = out.path().join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8], kind: &str| {
        let digest = BlobDigest::of(bytes);
        fs::write(blobs.join(digest.hex()), bytes).unwrap();
        json!({ "mediaType": kind, "size": bytes.len(), "digest": digest })
    };
    let config = put(&image.config, "application/vnd.docker.container.image.v1+json");
    let layer = put(&gzip(&image.layers[0]), "application/vnd.docker.image.rootfs.diff.tar.gzip");
    let kind = "application/vnd.docker.distribution.manifest.v2+json";
    let manifest = json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer] });
    let manifest = put(manifest.to_string().as_bytes(), kind);
    let kind = "application/vnd.oci.image.index.v1+json";
    let index = json!({ "schemaVersion": 2, "mediaType": kind, "manifests": [manifest] });
    fs::write(out.path().join("index.json"), serde_json::to_vec_pretty(&index).unwrap()).unwrap();
    fs::write(out.path().join("oci-layout"), "{\n    \"imageLayoutVersion\": \"1.0.0\"\n}").unwrap();
    let (_a, store) = new_store();
    let loaded = load_path(&store, out.path(), &options()).unwrap();
    assert_eq!((loaded.len(), loaded[0].image.id.hex()), (1, image.id()));
    assert!(loaded[0].names.is_empty() && loaded[0].tag.is_none());
}

/// `crane append` onto nothing: an image that says for no platform what it is.
#[test]
fn an_image_of_no_platform() {
    let layers = vec![base_layer()];
    let config = json!({
        "architecture": "", "created": NO_TIME, "history": [{ "created": NO_TIME }], "os": "",
        "rootfs": { "type": "layers", "diff_ids": diff_ids(&layers) }, "config": {},
    });
    let image = Parts { config: config.to_string().into_bytes(), layers };
    loads("crane append", &go_archive(&[(&image, json!(["app:1"]))], gzip), &[(&image, &["app:1"])]);
}

fn bazel_config(layers: &[Vec<u8>]) -> Vec<u8> {
    let rootfs = json!({ "type": "layers", "diff_ids": diff_ids(layers) });
    let config =
        json!({ "architecture": "amd64", "os": "linux", "config": { "Env": ["A=b"] }, "rootfs": rootfs });
    serde_json::to_vec_pretty(&config).unwrap()
}

/// `bazel build //:load --output_groups=+tarball`: docker's form with a layout's names. Blobs are called `.tar.gz` also where
/// the layer's rule packed nothing.
#[test]
fn what_rules_oci_writes() {
    let layers = vec![base_layer(), top_layer()];
    let image = Parts { config: bazel_config(&layers), layers };
    let blobs = [gzip(&image.layers[0]), image.layers[1].clone()];
    let config = format!("blobs/sha256/{}", image.id());
    let listed: Vec<String> =
        blobs.iter().map(|blob| format!("blobs/sha256/{}.tar.gz", BlobDigest::of(blob).hex())).collect();
    let tags = ["app:latest", "registry.example/app:1"];
    let manifest = |tags: &[&str]| {
        let item = json!({ "Config": config, "RepoTags": tags, "Layers": listed });
        serde_json::to_vec_pretty(&json!([item])).unwrap()
    };
    // By GNU tar from a directory, at first.
    let json = manifest(&tags);
    let entries = [
        file("manifest.json", 0o644, 1_700_000_000, &json),
        dir("blobs/", 0o755, 1_700_000_000),
        dir("blobs/sha256/", 0o755, 1_700_000_000),
        file(&listed[1], 0o555, 1_700_000_000, &blobs[1]),
        file(&config, 0o555, 1_700_000_000, &image.config),
        file(&listed[0], 0o555, 1_700_000_000, &blobs[0]),
    ];
    loads("rules_oci by GNU tar", &archive(&entries, "bazel", 10240), &[(&image, &tags)]);
    // By bsdtar from a list of files since: no directories, everything executable, one time.
    for tags in [&tags[..], &[]] {
        let json = manifest(tags);
        let mtree = |name, body| file(name, 0o755, 1_672_560_000, body);
        let entries = [
            mtree(&config, &image.config[..]),
            mtree(&listed[0], &blobs[0]),
            mtree(&listed[1], &blobs[1]),
            mtree("manifest.json", &json),
        ];
        loads("rules_oci by bsdtar", &archive(&entries, "", 10240), &[(&image, tags)]);
    }
}

/// `oci_load` with `format = "oci"` of an index: `index.json` first, the index once for each name.
#[test]
fn what_rules_oci_writes_of_an_index() {
    let layers = vec![base_layer()];
    let image = Parts { config: bazel_config(&layers), layers };
    let blob = gzip(&image.layers[0]);
    let at = |bytes: &[u8]| format!("blobs/sha256/{}", BlobDigest::of(bytes).hex());
    let described = |bytes: &[u8], kind: &str| json!({ "mediaType": format!("application/vnd.oci.image.{kind}"), "size": bytes.len(), "digest": BlobDigest::of(bytes) });
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described(&image.config, "config.v1+json"), "layers": [described(&blob, "layer.v1.tar+gzip")],
    });
    let manifest = serde_json::to_vec_pretty(&manifest).unwrap();
    let mut listed = described(&manifest, "manifest.v1+json");
    listed["platform"] = json!({ "os": "linux", "architecture": "amd64" });
    let kind = "application/vnd.oci.image.index.v1+json";
    let index = json!({ "schemaVersion": 2, "mediaType": kind, "manifests": [listed] });
    let index = serde_json::to_vec_pretty(&index).unwrap();
    let named = |name: &str| {
        let mut entry = described(&index, "index.v1+json");
        entry["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        entry
    };
    let tags = ["app:latest", "app:v1"];
    let top = json!({ "schemaVersion": 2, "mediaType": kind, "manifests": tags.map(named) });
    let top = serde_json::to_vec_pretty(&top).unwrap();
    let names = [at(&index), at(&manifest), at(&image.config), at(&blob)];
    let entries = [
        file("index.json", 0o644, 1_700_000_000, &top),
        dir("blobs/", 0o755, 1_700_000_000),
        dir("blobs/sha256/", 0o755, 1_700_000_000),
        file(&names[0], 0o644, 1_700_000_000, &index),
        file(&names[1], 0o644, 1_700_000_000, &manifest),
        file(&names[2], 0o644, 1_700_000_000, &image.config),
        file(&names[3], 0o644, 1_700_000_000, &blob),
        file("oci-layout", 0o644, 1_700_000_000, br#"{"imageLayoutVersion": "1.0.0"}"#),
    ];
    loads("rules_oci index", &archive(&entries, "bazel", 10240), &[(&image, &tags)]);
}

/// `dockerTools.streamLayeredImage`: Python's tarfile; names that begin at the root in the layers; no directories around them;
/// a base image's layers copied as they come, also one that is there twice.
#[test]
fn what_nix_streams() {
    let one = 1;
    let store = archive(
        &[
            dir("/nix/", 0o755, one),
            dir("/nix/store/", 0o755, one),
            dir("/nix/store/0c1m-hello-2.12/", 0o555, one),
            dir("/nix/store/0c1m-hello-2.12/bin/", 0o555, one),
            file("/nix/store/0c1m-hello-2.12/bin/hello", 0o555, one, b"program"),
        ],
        "root",
        10240,
    );
    let custom = archive(
        &[dir("./", 0o755, one), dir("./bin/", 0o755, one), file("./bin/x", 0o555, one, b"x")],
        "root",
        10240,
    );
    let layers = vec![base_layer(), base_layer(), store, custom];
    let time = "1970-01-01T00:00:01+00:00";
    let history: Vec<Value> = layers
        .iter()
        .map(|_| json!({ "created": time, "comment": "store paths: ['/nix/store/0c1m-hello-2.12']" }))
        .collect();
    let config = json!({
        "created": time, "architecture": "amd64", "os": "linux", "config": { "Cmd": ["/bin/x"] }, "history": history,
        "rootfs": { "diff_ids": diff_ids(&layers), "type": "layers" },
    });
    let image = Parts { config: serde_json::to_vec_pretty(&config).unwrap(), layers };
    let listed: Vec<String> =
        image.layers.iter().map(|layer| format!("{}/layer.tar", BlobDigest::of(layer).hex())).collect();
    let name = format!("{}.json", image.id());
    let item = json!([{ "Config": name, "RepoTags": ["hello:0c1m"], "Layers": listed }]);
    let item = serde_json::to_vec_pretty(&item).unwrap();
    let mut entries: Vec<Entry<'_>> =
        listed.iter().zip(&image.layers).map(|(name, layer)| file(name, 0o644, one, layer)).collect();
    entries.extend([file(&name, 0o644, one, &image.config), file("manifest.json", 0o644, one, &item)]);
    loads("streamLayeredImage", &archive(&entries, "", 10240), &[(&image, &["hello:0c1m"])]);
}

/// `dockerTools.buildImage`: GNU tar of a directory, packed by pigz, nothing writable; beside each layer the files that dockers
/// before 1.10 want; the layer's tar begun with `.` and gone on with by `tar -r`.
#[test]
fn what_nix_builds() {
    let out = tempfile::tempdir().unwrap();
    let script = r#"
        mkdir -p layer/bin image nix/store/1d2n-app && echo x > layer/bin/x && echo y > nix/store/1d2n-app/y && ln -s x layer/bin/l
        ln nix/store/1d2n-app/y nix/store/1d2n-app/z
        tar -C layer --hard-dereference --sort=name --mtime=@1 --owner=0 --group=0 -cf layer.tar .
        chmod -R 555 nix
        printf '%s\n' ./nix ./nix/store nix/store/1d2n-app nix/store/1d2n-app/y nix/store/1d2n-app/z > files
        tar -rpf layer.tar --hard-dereference --sort=name --mtime=@1 --owner=0 --group=0 --no-recursion --files-from files
    "#;
    let run = |script: &str| {
        let ran = Command::new("sh").args(["-euc", script]).current_dir(out.path()).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    };
    run(script);
    let layers = vec![fs::read(out.path().join("layer.tar")).unwrap()];
    let time = "1970-01-01T00:00:01Z";
    let config = json!({
        "architecture": "amd64", "config": null, "created": time, "os": "linux", "history": [{ "created": time }],
        "rootfs": { "diff_ids": diff_ids(&layers), "type": "layers" },
    });
    let mut bytes = serde_json::to_vec_pretty(&config).unwrap();
    bytes.push(b'\n');
    let image = Parts { config: bytes, layers };
    let old = "a3f5c2d1b0e9a3f5c2d1b0e9a3f5c2d1b0e9a3f5c2d1b0e9a3f5c2d1b0e9a3f5";
    let put = |name: &str, bytes: &[u8]| {
        let path = out.path().join("image").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    // What is in the name is what `echo` put a line's end behind.
    put(&format!("{}.json", image.id()), &image.config);
    put(&format!("{old}/VERSION"), b"1.0");
    put(
        &format!("{old}/json"),
        json!({ "id": old, "created": time, "os": "linux", "Size": 1 }).to_string().as_bytes(),
    );
    put(&format!("{old}/layer.tar"), &image.layers[0]);
    let item = json!([{ "RepoTags": ["app:1d2n"], "Layers": [format!("{old}/layer.tar")], "Config": format!("{}.json", image.id()) }]);
    put("manifest.json", &serde_json::to_vec_pretty(&item).unwrap());
    put("repositories", json!({ "app": { "1d2n": old } }).to_string().as_bytes());
    run(
        "chmod -R a-w image; tar -C image --hard-dereference --sort=name --mtime=@1 --owner=0 --group=0 --xform 's:^\\./::' -c . | gzip -n > image.tar.gz",
    );
    let packed = fs::read(out.path().join("image.tar.gz")).unwrap();
    loads("buildImage", &packed, &[(&image, &["app:1d2n"])]);
}

/// A digest in a config's name is a claim, in whatever form.
#[test]
fn a_config_is_what_its_name_says() {
    let layers = vec![base_layer()];
    let config = go_config(&layers, "ko");
    let blob = gzip(&layers[0]);
    let other = "0".repeat(64);
    for name in [format!("sha256:{other}"), format!("{other}.json"), format!("blobs/sha256/{other}")] {
        let item = json!([{ "Config": name, "RepoTags": null, "Layers": ["layer.tar.gz"] }]);
        let item = item.to_string().into_bytes();
        let entries = [
            file(&name, 0o644, 0, &config),
            file("layer.tar.gz", 0o644, 0, &blob),
            file("manifest.json", 0o644, 0, &item),
        ];
        let (_a, store) = new_store();
        let error = load_stream(&store, "x", &archive(&entries, "", 512)[..], &options()).unwrap_err();
        assert!(matches!(error, LoadError::ConfigName { .. }), "{name}: {error}");
    }
}
