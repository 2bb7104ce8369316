//! Archives that lie: one or more a row of the M table, each an error that names the object.

use proptest::prelude::*;

use super::*;

/// A layout under construction: files by name.
#[derive(Clone)]
pub struct Layout {
    pub files: BTreeMap<String, Vec<u8>>,
    pub config: Value,
    pub manifest: Value,
    descriptor: Value,
}

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn blob_name(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", BlobDigest::of(bytes).hex())
}

pub fn describe(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": BlobDigest::of(bytes).to_string(), "size": bytes.len() })
}

impl Layout {
    /// A sound layout of one gzipped layer; the parts may be changed before [`Layout::seal`].
    pub fn new() -> Self {
        let tar = base_layer();
        let packed = gzip(&tar);
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": { "type": "layers", "diff_ids": [BlobDigest::of(&tar).to_string()] },
        });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": null,
            "layers": [describe("application/vnd.oci.image.layer.v1.tar+gzip", &packed)],
        });
        let mut layout = Self { files: BTreeMap::new(), config, manifest, descriptor: json!({}) };
        layout.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        layout.blob(&packed);
        layout
    }

    fn file(&mut self, name: &str, bytes: &[u8]) {
        self.files.insert(name.into(), bytes.to_vec());
    }

    pub fn blob(&mut self, bytes: &[u8]) {
        self.file(&blob_name(bytes), bytes);
    }

    /// Writes config, manifest and index from the parts.
    pub fn seal(mut self) -> Self {
        let config = serde_json::to_vec(&self.config).unwrap();
        if self.manifest["config"].is_null() {
            self.manifest["config"] = describe("application/vnd.oci.image.config.v1+json", &config);
        }
        self.blob(&config);
        let manifest = serde_json::to_vec(&self.manifest).unwrap();
        self.with_manifest(&manifest)
    }

    /// Lets the index point to these bytes.
    fn with_manifest(mut self, bytes: &[u8]) -> Self {
        self.blob(bytes);
        let mut descriptor = describe(MANIFEST, bytes);
        for (key, value) in self.descriptor.as_object().unwrap() {
            descriptor[key] = value.clone();
        }
        self.with_index(&json!({ "schemaVersion": 2, "manifests": [descriptor] }))
    }

    pub fn with_index(mut self, index: &Value) -> Self {
        let bytes = serde_json::to_vec(index).unwrap();
        self.file("index.json", &bytes);
        self
    }

    pub fn tar(&self) -> Vec<u8> {
        let entries: Vec<(&str, &[u8])> =
            self.files.iter().map(|(n, b)| (n.as_str(), b.as_slice())).collect();
        layer(&entries)
    }

    /// Loads it from a tar and from a directory; both must agree.
    fn load(&self) -> Result<Vec<Loaded>, LoadError> {
        let (_a, store) = new_store();
        let from_tar = load_stream(&store, "layout", &self.tar()[..], &options());
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in &self.files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let (_b, other) = new_store();
        let from_dir = load_path(&other, dir.path(), &options());
        match (&from_tar, &from_dir) {
            (Ok(a), Ok(b)) => assert_eq!(a[0].image, b[0].image),
            (Err(a), Err(b)) => {
                let plain = b.to_string().replace(&dir.path().display().to_string(), "layout");
                assert_eq!(a.to_string(), plain);
            }
            (a, b) => panic!("tar and directory disagree: {a:?} {b:?}"),
        }
        if from_tar.is_err() {
            assert!(store.images().unwrap().is_empty(), "nothing of a refused image is visible");
        }
        from_tar
    }

    fn refused(&self, naming: &str) -> LoadError {
        let error = self.load().unwrap_err();
        let text = error.to_string();
        assert!(text.contains(naming), "{text:?} names {naming:?}");
        assert!(!text.contains('\n'), "one line: {text:?}");
        error
    }

    fn layer_digest(&self) -> String {
        self.manifest["layers"][0]["digest"].as_str().unwrap().to_owned()
    }
}

fn ingest_error(error: LoadError) -> IngestError {
    match error {
        LoadError::Ingest { source, .. } => *source,
        other => panic!("not an ingest error: {other}"),
    }
}

#[test]
fn a_sound_layout_loads() {
    let loaded = Layout::new().seal().load().unwrap();
    assert_eq!(loaded[0].image.config.architecture, "amd64");
    assert!(loaded[0].names.is_empty());
}

#[test]
fn m01_blob_bytes_differ_from_the_digest() {
    let mut layout = Layout::new();
    let name = format!("blobs/sha256/{}", &layout.layer_digest()[7..]);
    layout.files.get_mut(&name).unwrap()[20] ^= 1;
    let digest = layout.layer_digest();
    let error = ingest_error(layout.seal().refused(&digest));
    assert!(matches!(error, IngestError::Store(lith::store::StoreError::CorruptBlob { .. })), "{error}");
    // A manifest that is not what the index says, though it is a sound one.
    let sealed = Layout::new().seal();
    let (index, manifest) =
        (sealed.files["index.json"].clone(), serde_json::to_vec(&sealed.manifest).unwrap());
    let digest = serde_json::from_slice::<Value>(&index).unwrap()["manifests"][0]["digest"].clone();
    let mut changed = sealed;
    let name = format!("blobs/sha256/{}", &digest.as_str().unwrap()[7..]);
    let mut other = manifest;
    other.extend_from_slice(b"\n");
    other.remove(0);
    other.insert(0, b' ');
    let keep = changed.files[&name].len();
    other.truncate(keep);
    changed.files.insert(name, other);
    changed.refused(digest.as_str().unwrap());
}

#[test]
fn m01_a_missing_blob_is_named() {
    let mut layout = Layout::new();
    let digest = layout.layer_digest();
    layout.files.retain(|name, _| !name.contains(&digest[7..]));
    let error = ingest_error(layout.seal().refused(&digest));
    assert!(matches!(error, IngestError::Read { .. }), "{error}");
}

#[test]
fn m02_sizes() {
    let size = Layout::new().manifest["layers"][0]["size"].as_u64().unwrap();
    for wrong in [size + 1, size - 1, 0, i64::MAX as u64] {
        let mut layout = Layout::new();
        layout.manifest["layers"][0]["size"] = json!(wrong);
        let digest = layout.layer_digest();
        let error = ingest_error(layout.seal().refused(&digest));
        assert!(matches!(error, IngestError::Size { expected, .. } if expected == wrong), "{error}");
    }
    for wrong in [json!(-1), json!(1.5), json!("12"), json!(u64::MAX), Value::Null] {
        let mut layout = Layout::new();
        layout.manifest["layers"][0]["size"] = wrong;
        assert!(matches!(
            ingest_error(layout.seal().refused("manifest sha256:")),
            IngestError::Document { .. }
        ));
    }
}

#[test]
fn m03_m04_digests_that_are_not_sha256() {
    for (digest, naming) in [
        ("md5:d41d8cd98f00b204e9800998ecf8427e".to_owned(), "md5"),
        (format!("sha512:{}", "ab".repeat(64)), "not supported"),
        (format!("sha256:{}", "AB".repeat(32)), "lower-case"),
        ("sha256:../../../etc/passwd".to_owned(), "lower-case"),
    ] {
        let mut layout = Layout::new();
        layout.manifest["layers"][0]["digest"] = json!(digest);
        layout.seal().refused(naming);
    }
}

#[test]
fn m05_right_diff_id_but_other_packed_bytes() {
    let mut layout = Layout::new();
    let name = format!("blobs/sha256/{}", &layout.layer_digest()[7..]);
    let mut slow = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    slow.write_all(&base_layer()).unwrap();
    layout.manifest["layers"][0]["size"] = json!(slow.get_ref().len());
    let other = slow.finish().unwrap();
    layout.manifest["layers"][0]["size"] = json!(other.len());
    layout.files.insert(name, other);
    let digest = layout.layer_digest();
    layout.seal().refused(&digest);
}

#[test]
fn m06_diff_ids() {
    let wrong = BlobDigest::of(b"wrong").to_string();
    let mut layout = Layout::new();
    layout.config["rootfs"]["diff_ids"] = json!([wrong]);
    let digest = layout.layer_digest();
    let error = ingest_error(layout.seal().refused(&digest));
    assert!(
        matches!(&error, IngestError::DiffId { expected, .. } if expected.to_string() == wrong),
        "{error}"
    );
    for ids in [json!([]), json!([wrong, wrong]), Value::Null] {
        let mut layout = Layout::new();
        layout.config["rootfs"]["diff_ids"] = ids;
        assert!(matches!(ingest_error(layout.seal().refused("diff ids")), IngestError::LayerCount { .. }));
    }
    for id in ["", "sha256:00"] {
        let mut layout = Layout::new();
        layout.config["rootfs"]["diff_ids"] = json!([id]);
        assert!(matches!(ingest_error(layout.seal().refused("config sha256:")), IngestError::Config { .. }));
    }
    // Two layers whose diff ids are swapped.
    let mut layout = Layout::new();
    let second = top_layer();
    let packed = gzip(&second);
    layout.blob(&packed);
    let first = layout.config["rootfs"]["diff_ids"][0].clone();
    layout.config["rootfs"]["diff_ids"] = json!([BlobDigest::of(&second).to_string(), first]);
    let more = describe("application/vnd.oci.image.layer.v1.tar+gzip", &packed);
    layout.manifest["layers"].as_array_mut().unwrap().push(more);
    assert!(matches!(ingest_error(layout.seal().refused("unpacks to")), IngestError::DiffId { .. }));
}

#[test]
fn m06_a_known_layer_is_no_excuse() {
    // The store has the right layer already; an image that pairs its diff id with another blob is still refused.
    let (_a, store) = new_store();
    load_stream(&store, "good", &Layout::new().seal().tar()[..], &options()).unwrap();
    let mut layout = Layout::new();
    let packed = gzip(&top_layer());
    layout.blob(&packed);
    layout.manifest["layers"][0] = describe("application/vnd.oci.image.layer.v1.tar+gzip", &packed);
    let error = load_stream(&store, "bad", &layout.seal().tar()[..], &options()).unwrap_err();
    assert!(matches!(ingest_error(error), IngestError::DiffId { .. }));
}

#[test]
fn m07_manifest_and_index_at_once() {
    let mut layout = Layout::new();
    layout.manifest["manifests"] = json!([]);
    layout.seal().refused("both \"layers\" and \"manifests\"");
    let mut layout = Layout::new();
    layout.descriptor = json!({ "mediaType": "application/vnd.docker.distribution.manifest.v2+json" });
    layout.seal().refused("announced as application/vnd.docker");
    let mut layout = Layout::new();
    layout.descriptor = json!({ "mediaType": INDEX });
    layout.seal().refused("a body of a manifest has the media type");
}

#[test]
fn m08_two_readings() {
    let sealed = Layout::new().seal();
    let text = String::from_utf8(serde_json::to_vec(&sealed.manifest).unwrap()).unwrap();
    for (bytes, naming) in [
        (text.replacen('{', "{\"layers\":[],", 1), "duplicate key"),
        (text.replacen('{', "{\"LAYERS\":[],", 1), "case only"),
        (format!("{text}{{}}"), "trailing"),
        (format!("\u{feff}{text}"), "byte order mark"),
        (format!("{text}\0"), "trailing"),
    ] {
        let layout = Layout { files: sealed.files.clone(), ..Layout::new() }.with_manifest(bytes.as_bytes());
        assert!(matches!(ingest_error(layout.refused(naming)), IngestError::Document { .. }));
    }
    let index = String::from_utf8(sealed.files["index.json"].clone()).unwrap();
    let mut layout = sealed;
    layout.file("index.json", index.replacen('{', "{\"manifests\":[],", 1).as_bytes());
    assert!(matches!(layout.refused("duplicate key"), LoadError::Index { .. }));
}

#[test]
fn m09_documents_over_4_mib() {
    let big = vec![b' '; (4 << 20) + 1];
    let layout = Layout::new().with_manifest(&big);
    assert!(matches!(ingest_error(layout.refused("larger than the limit")), IngestError::TooLarge { .. }));
    let mut layout = Layout::new();
    layout.manifest["config"] = describe("application/vnd.oci.image.config.v1+json", &big);
    layout.blob(&big);
    assert!(matches!(ingest_error(layout.seal().refused("config")), IngestError::TooLarge { .. }));
    let mut layout = Layout::new().seal();
    layout.file("index.json", &big);
    layout.refused("index.json has 4194305 bytes");
}

#[test]
fn m10_depth_and_counts() {
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
    Layout::new().with_manifest(deep.as_bytes()).refused("deeper than 64");
    let mut layout = Layout::new();
    let one = layout.manifest["layers"][0].clone();
    layout.manifest["layers"] = Value::Array(vec![one; 5000]);
    layout.seal().refused("5000 layers");
}

/// `depth` indexes around a sound manifest.
fn nested(depth: usize) -> Layout {
    let sealed = Layout::new().seal();
    let index: Value = serde_json::from_slice(&sealed.files["index.json"]).unwrap();
    let mut inner = index["manifests"][0].clone();
    let mut layout = sealed;
    for _ in 0..depth {
        let bytes = serde_json::to_vec(&json!({ "schemaVersion": 2, "manifests": [inner] })).unwrap();
        layout.blob(&bytes);
        inner = describe(INDEX, &bytes);
    }
    layout.with_index(&json!({ "schemaVersion": 2, "manifests": [inner] }))
}

#[test]
fn m11_index_chains() {
    nested(8).load().unwrap();
    assert!(matches!(ingest_error(nested(9).refused("nested deeper than 8")), IngestError::IndexTooDeep(_)));
    assert!(matches!(
        ingest_error(nested(500).refused("nested deeper than 8")),
        IngestError::IndexTooDeep(_)
    ));
}

#[test]
fn m12_platforms() {
    let mut layout = Layout::new();
    layout.descriptor = json!({ "platform": { "os": "linux", "architecture": "amd64" } });
    layout.config["architecture"] = json!("arm64");
    let error = ingest_error(layout.seal().refused("config sha256:"));
    assert!(matches!(error, IngestError::PlatformDiffers { .. }), "{error}");
    let mut layout = Layout::new();
    layout.descriptor = json!({ "platform": { "os": "linux", "architecture": "s390x" } });
    layout.seal().refused("available: linux/s390x");
}

#[test]
fn m14_names_are_names() {
    for name in ["../../x", "a b", "a\u{1}", &"a".repeat(10_000), "/etc/passwd", "", "x@sha256:00"] {
        let mut layout = Layout::new();
        layout.descriptor = json!({ "annotations": { "org.opencontainers.image.ref.name": name } });
        assert!(matches!(layout.seal().refused("ref.name"), LoadError::Name { .. }), "{name}");
    }
}

#[test]
fn m20_history_is_data() {
    for history in [json!([{}, {}, {}]), json!([{"empty_layer": true}]), Value::Null] {
        let mut layout = Layout::new();
        layout.config["history"] = history;
        layout.config["config"] = Value::Null;
        layout.seal().load().unwrap();
    }
}

#[test]
fn m21_artifacts_are_not_images() {
    let mut layout = Layout::new();
    layout.blob(b"{}");
    layout.manifest["config"] = describe("application/vnd.oci.empty.v1+json", b"{}");
    layout.manifest["artifactType"] = json!("application/vnd.example");
    assert!(matches!(ingest_error(layout.seal().refused("is not an image")), IngestError::NotAnImage { .. }));
    // A subject that leads back is not followed.
    let mut layout = Layout::new();
    layout.manifest["subject"] = describe(MANIFEST, b"whatever");
    layout.seal().load().unwrap();
}

/// A docker archive with the given manifest and files.
fn docker(manifest: &Value, files: &[(&str, &[u8])]) -> Result<Vec<Loaded>, LoadError> {
    let manifest = serde_json::to_vec(manifest).unwrap();
    let mut entries = vec![("manifest.json", manifest.as_slice())];
    entries.extend_from_slice(files);
    let (_a, store) = new_store();
    load_stream(&store, "saved.tar", &layer(&entries)[..], &options())
}

fn docker_config(tar: &[u8]) -> Vec<u8> {
    let diff = BlobDigest::of(tar).to_string();
    serde_json::to_vec(&json!({
        "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [diff] },
    }))
    .unwrap()
}

#[test]
fn m22_paths_stay_in_the_archive() {
    let tar = base_layer();
    let config = docker_config(&tar);
    let item = |config: &str, layer: &str| json!([{ "Config": config, "RepoTags": null, "Layers": [layer] }]);
    // What older dockers write: a layer shared by two images is a symlink.
    let loaded = docker(
        &item("c.json", "a/layer.tar"),
        &[("c.json", &config), ("b/layer.tar", &tar), ("a/layer.tar=>../b/layer.tar", b"")],
    );
    assert_eq!(loaded.unwrap()[0].image.id, BlobDigest::of(&config).into());
    let refused = |config_name: &str, layer_name: &str, files: &[(&str, &[u8])], naming: &str| {
        let error = docker(&item(config_name, layer_name), files).unwrap_err().to_string();
        assert!(error.contains(naming), "{error}");
    };
    let files: &[(&str, &[u8])] = &[("c.json", &config), ("l.tar", &tar)];
    refused("../../c.json", "l.tar", files, "'..'");
    refused("c.json", "../../../etc/passwd", files, "'..'");
    refused("/etc/passwd", "l.tar", files, "etc/passwd");
    let link: &[(&str, &[u8])] = &[("c.json", &config), ("l.tar=>../../../../etc/passwd", b"")];
    refused("c.json", "l.tar", link, "l.tar");
    let circle: &[(&str, &[u8])] = &[("c.json", &config), ("l.tar=>m.tar", b""), ("m.tar=>l.tar", b"")];
    refused("c.json", "l.tar", circle, "too many symlinks");
    let dir: &[(&str, &[u8])] = &[("c.json", &config), ("l.tar/", b"")];
    refused("c.json", "l.tar", dir, "not a regular file");
    // A config that calls itself by a digest it does not have.
    let named = format!("{}.json", "ab".repeat(32));
    refused(&named, "l.tar", &[(&named, &config), ("l.tar", &tar)], "hash to");
    refused("c.json", "l.tar", &[("c.json", &config), ("l.tar", &top_layer())], "the config says");
}

#[test]
fn m22_a_directory_does_not_leak() {
    let secret = tempfile::tempdir().unwrap();
    fs::write(secret.path().join("index.json"), b"{}").unwrap();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    std::os::unix::fs::symlink(secret.path().join("index.json"), dir.path().join("index.json")).unwrap();
    let (_a, store) = new_store();
    let error = load_path(&store, dir.path(), &options()).unwrap_err();
    assert!(matches!(error, LoadError::Files(_)), "{error}");
    assert!(error.to_string().contains("index.json"), "{error}");
}

#[test]
fn l50_types_agree_with_bytes() {
    for (media_type, naming) in [
        ("application/vnd.oci.image.layer.v1.tar+zstd", "first bytes are Gzip"),
        ("application/vnd.oci.image.layer.v1.tar", "first bytes are Gzip"),
        ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "not a layer that lith reads"),
        ("text/plain", "not a layer that lith reads"),
    ] {
        let mut layout = Layout::new();
        layout.manifest["layers"][0]["mediaType"] = json!(media_type);
        let digest = layout.layer_digest();
        let error = layout.clone().seal().refused(naming).to_string();
        assert!(error.contains(&digest), "{error}");
    }
}

#[test]
fn l43_l44_every_gzip_member_counts() {
    let tar = base_layer();
    let (head, tail) = tar.split_at(700);
    let packed = [gzip(head), gzip(tail)].concat();
    let mut layout = Layout::new();
    layout.blob(&packed);
    layout.manifest["layers"][0] = describe("application/vnd.oci.image.layer.v1.tar+gzip", &packed);
    layout.seal().load().unwrap();
    // A diff id of the first member alone.
    let first = base_layer();
    let packed = [gzip(&first), gzip(&top_layer())].concat();
    let mut layout = Layout::new();
    layout.blob(&packed);
    layout.manifest["layers"][0] = describe("application/vnd.oci.image.layer.v1.tar+gzip", &packed);
    layout.seal().refused("layer sha256:");
}

/// A layout whose only layer is these bytes, over the sound tar's diff id.
fn packed_as(media_type: &str, packed: &[u8]) -> Layout {
    let mut layout = Layout::new();
    layout.blob(packed);
    layout.manifest["layers"][0] = describe(media_type, packed);
    layout.seal()
}

#[test]
fn l45_gzip_that_ends_badly() {
    let sound = gzip(&base_layer());
    let mut wrong_crc = sound.clone();
    let at = wrong_crc.len() - 8;
    wrong_crc[at] ^= 1;
    for bytes in [[&sound[..], b"garbage"].concat(), sound[..sound.len() - 4].to_vec(), wrong_crc] {
        let digest = BlobDigest::of(&bytes).to_string();
        packed_as("application/vnd.oci.image.layer.v1.tar+gzip", &bytes).refused(&digest);
    }
}

#[test]
fn l46_zstd_frames() {
    let tar = base_layer();
    let (head, tail) = tar.split_at(700);
    let frame = |bytes: &[u8]| zstd::encode_all(bytes, 3).unwrap();
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
    let bytes = [skipped, frame(head), frame(tail)].concat();
    packed_as("application/vnd.oci.image.layer.v1.tar+zstd", &bytes).load().unwrap();
}

#[test]
fn l49_what_is_no_tar() {
    for bytes in [&b"hello"[..], b"", &[0xff; 2048]] {
        let mut layout = Layout::new();
        layout.blob(bytes);
        layout.manifest["layers"][0] = describe("application/vnd.oci.image.layer.v1.tar", bytes);
        layout.config["rootfs"]["diff_ids"] = json!([BlobDigest::of(bytes).to_string()]);
        let digest = layout.layer_digest();
        assert!(matches!(ingest_error(layout.seal().refused(&digest)), IngestError::Layer { .. }));
    }
}

#[test]
fn other_files_are_not_images() {
    let (_a, store) = new_store();
    for (files, naming) in [
        (vec![("x", &b""[..])], "neither an OCI layout"),
        (vec![("repositories", b"{}")], "before 1.10"),
        (vec![("index.json", b"{}")], "neither an OCI layout"),
        (vec![("index.json", b"{}"), ("oci-layout", br#"{"imageLayoutVersion":"2"}"#)], "expected \"1.0.0\""),
    ] {
        let error = load_stream(&store, "x", &layer(&files)[..], &options()).unwrap_err().to_string();
        assert!(error.contains(naming), "{error}");
    }
    let missing = load_path(&store, Path::new("/nonexistent.tar"), &options()).unwrap_err();
    assert!(missing.to_string().contains("/nonexistent.tar"));
    assert!(File::open("/nonexistent.tar").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damage_is_an_error_or_harmless_but_never_another_image(at in 0..1000_usize, flip in 1..=255_u8, cut in 0..3_u8) {
        let sound = Layout::new().seal();
        let mut bytes = sound.tar();
        let index = bytes.len() * at / 1000;
        match cut {
            0 => bytes.truncate(index),
            _ => bytes[index] ^= flip,
        }
        let (_a, store) = new_store();
        if let Ok(loaded) = load_stream(&store, "x", &bytes[..], &options()) {
            let config = serde_json::to_vec(&sound.config).unwrap();
            prop_assert_eq!(loaded[0].image.id, BlobDigest::of(&config).into());
        }
    }
}
