//! Images in and out of a store: layouts, archives, other tools' archives, and what must not be believed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Cursor, Read as _, Write as _};
use std::path::Path;
use std::process::Command;

use lith::digest::{BlobDigest, DiffId};
use lith::epoch::Epoch;
use lith::image::{
    Assembled, Assembly, ImportOptions, IngestError, LoadError, LoadOptions, Loaded, Platforms, StoredImage,
    assemble, docker_archive, export, import, load_path, load_stream, store_image,
};
use lith::oci::{History, ImageConfig, Reference};
use lith::store::{Store, Unpacking};
use serde_json::{Value, json};
use tempfile::TempDir;

mod hostile;
mod indexes;
mod local;
mod peers;
mod writers;

fn new_store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store"), Unpacking::Never).unwrap();
    (dir, store)
}

fn options() -> LoadOptions {
    LoadOptions { platforms: Platforms::One("linux/amd64".parse().unwrap()), name: None }
}

/// A layer: name and body; names ending in a slash are directories, `a=>b` is a symlink, `a==b` a hard link.
fn layer(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, body) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(body.len() as u64);
        header.set_mode(if name.ends_with('/') { 0o755 } else { 0o644 });
        if let Some((from, to)) = name.split_once("=>") {
            header.set_entry_type(tar::EntryType::Symlink);
            builder.append_link(&mut header, from, to).unwrap();
        } else if let Some((from, to)) = name.split_once("==") {
            header.set_entry_type(tar::EntryType::Link);
            builder.append_link(&mut header, from, to).unwrap();
        } else {
            let is_dir = name.ends_with('/');
            header.set_entry_type(if is_dir { tar::EntryType::Directory } else { tar::EntryType::Regular });
            builder.append_data(&mut header, name, *body).unwrap();
        }
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Puts a layer's tar into a store by importing it.
fn put_layer(store: &Store, tar: &[u8]) -> (DiffId, u64) {
    let options =
        ImportOptions { platform: "linux/amd64".parse().unwrap(), epoch: Epoch::ZERO, comment: None };
    let (image, _) = import(store, "layer", Cursor::new(tar.to_vec()), &options).unwrap();
    (image.config.rootfs.diff_ids[0], tar.len() as u64)
}

fn base_layer() -> Vec<u8> {
    layer(&[("bin/", b""), ("bin/a", b"first"), ("bin/b==bin/a", b""), ("bin/c", b"gone"), ("l=>bin/a", b"")])
}

fn top_layer() -> Vec<u8> {
    layer(&[("bin/", b""), ("bin/.wh.a", b""), ("bin/.wh.c", b""), ("bin/d", b"second")])
}

/// An image of two layers, built as a build does it.
fn sample(store: &Store) -> StoredImage {
    let layers = [put_layer(store, &base_layer()), put_layer(store, &top_layer())];
    let mut config = ImageConfig::scratch(&"linux/amd64".parse().unwrap());
    config.config.cmd = Some(vec!["/bin/a".into()]);
    config.config.env = vec!["A=<&>".into()];
    let line = |text: &str| History { created_by: Some(text.into()), ..History::default() };
    let history = [line("COPY a b"), line("RUN rm /bin/a")];
    let parts =
        Assembly { base: None, config: &config, layers: &layers, history: &history, epoch: Epoch::ZERO };
    let image: Assembled = assemble(&parts).unwrap();
    store_image(store, &image, None).unwrap();
    StoredImage::open(store, image.digest).unwrap()
}

fn names(list: &[&str]) -> Vec<Reference> {
    list.iter().map(|name| name.parse().unwrap()).collect()
}

fn export_to(store: &Store, image: &StoredImage, list: &[&str], spec: &str) -> Vec<u8> {
    let mut out = Vec::new();
    export(store, image, &names(list), &spec.parse().unwrap(), &[], &|_| {}, &mut out).unwrap();
    out
}

fn tar_files(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(bytes);
    let mut files = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut body = Vec::new();
        let name = entry.path().unwrap().to_string_lossy().into_owned();
        entry.read_to_end(&mut body).unwrap();
        assert!(files.insert(name, body).is_none(), "each name once");
    }
    files
}

#[test]
fn an_oci_archive_comes_back_as_the_same_image() {
    let (_a, store) = new_store();
    let image = sample(&store);
    for compression in ["none", "gzip", "zstd"] {
        let spec = format!("type=oci,dest=-,compression={compression}");
        let bytes = export_to(&store, &image, &["app:1"], &spec);
        assert_eq!(
            bytes,
            export_to(&store, &image, &["app:1"], &spec),
            "{compression}: the same bytes again"
        );
        let (_b, other) = new_store();
        let loaded = load_stream(&other, "x", &bytes[..], &options()).unwrap();
        assert_eq!(loaded.len(), 1);
        assert_eq!(loaded[0].image.id, image.id);
        assert_eq!(loaded[0].names, names(&["app:1"]));
        let again = StoredImage::open(&other, loaded[0].image.digest).unwrap();
        assert_eq!(again.config_bytes, image.config_bytes);
        assert_eq!(
            export_to(&other, &again, &["app:1"], &spec),
            bytes,
            "{compression}: the same from elsewhere"
        );
        if compression == "none" {
            assert_eq!(again.digest, image.digest, "nothing was packed, so the manifest is the same");
        }
    }
}

#[test]
fn an_archive_is_sorted_and_has_no_times() {
    let (_a, store) = new_store();
    let bytes = export_to(&store, &sample(&store), &["app:1", "b.io/c:2"], "type=oci,dest=-");
    let mut archive = tar::Archive::new(&bytes[..]);
    let mut found = Vec::new();
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.header().mtime().unwrap(), 0);
        assert_eq!(entry.header().uid().unwrap(), 0);
        found.push(entry.path_bytes().into_owned());
    }
    let mut sorted = found.clone();
    sorted.sort();
    assert_eq!(found, sorted);
    let index: Value = serde_json::from_slice(&tar_files(&bytes)["index.json"]).unwrap();
    let entries = index["manifests"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[1]["annotations"]["org.opencontainers.image.ref.name"], "1");
    assert_eq!(entries[1]["annotations"]["io.containerd.image.name"], "docker.io/library/app:1");
    assert!(!String::from_utf8_lossy(&tar_files(&bytes)["index.json"]).contains("created"));
}

#[test]
fn packed_layers_go_out_as_they_came_unless_forced() {
    let (_a, store) = new_store();
    let image = sample(&store);
    let zipped = export_to(&store, &image, &[], "type=oci,dest=-,compression=gzip");
    let (_b, other) = new_store();
    let loaded = load_stream(&other, "x", &zipped[..], &options()).unwrap();
    let image = StoredImage::open(&other, loaded[0].image.digest).unwrap();
    for compression in ["none", "gzip", "zstd"] {
        let spec = format!("type=oci,dest=-,compression={compression}");
        assert_eq!(export_to(&other, &image, &[], &spec), zipped, "{compression}");
    }
    let forced = export_to(&other, &image, &[], "type=oci,dest=-,compression=none,force-compression=true");
    let files = tar_files(&forced);
    for diff in image.layers() {
        assert!(files.contains_key(&format!("blobs/sha256/{}", diff.hex())));
    }
}

#[test]
fn a_docker_archive_comes_back_as_the_same_image() {
    let (_a, store) = new_store();
    let image = sample(&store);
    let bytes = export_to(&store, &image, &["app:1", "b.io/c:2"], "type=docker,dest=-");
    let files = tar_files(&bytes);
    let manifest: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    assert_eq!(manifest[0]["Config"], format!("{}.json", image.id.hex()));
    assert_eq!(manifest[0]["RepoTags"], json!(["b.io/c:2", "app:1"]));
    assert_eq!(manifest[0]["Layers"][1], format!("{}/layer.tar", image.layers()[1].hex()));
    let repositories: Value = serde_json::from_slice(&files["repositories"]).unwrap();
    assert_eq!(repositories["app"]["1"], image.layers()[1].hex());
    let (_b, other) = new_store();
    let loaded = load_stream(&other, "x", &gzip(&bytes)[..], &options()).unwrap();
    assert_eq!(loaded[0].image.id, image.id);
    assert_eq!(loaded[0].image.digest, image.digest, "the manifest is made by the same rules");
    assert_eq!(loaded[0].names, names(&["b.io/c:2", "app:1"]));
    let plain = export_to(&store, &image, &[], "type=docker,dest=-");
    assert!(!tar_files(&plain).contains_key("repositories"));
}

#[test]
fn a_docker_archive_of_several_images_shares_layers() {
    let (_a, store) = new_store();
    let image = sample(&store);
    let options =
        ImportOptions { platform: "linux/amd64".parse().unwrap(), epoch: Epoch::ZERO, comment: None };
    let (base, _) = import(&store, "x", &base_layer()[..], &options).unwrap();
    let base = StoredImage::open(&store, base.digest).unwrap();
    let sets: Vec<BTreeSet<Reference>> =
        [&["app:1"][..], &["base:1"], &["app:2"]].iter().map(|n| names(n).into_iter().collect()).collect();
    let mut bytes = Vec::new();
    docker_archive(&store, &[(&image, &sets[0]), (&base, &sets[1]), (&image, &sets[2])], &mut bytes).unwrap();
    let manifest: Value = serde_json::from_slice(&tar_files(&bytes)["manifest.json"]).unwrap();
    assert_eq!(manifest.as_array().unwrap().len(), 2);
    assert_eq!(manifest[0]["RepoTags"], json!(["app:1", "app:2"]));
    let (_b, other) = new_store();
    let loaded = load_stream(&other, "x", &bytes[..], &self::options()).unwrap();
    assert_eq!(loaded[1].image.digest, base.digest);
    assert_eq!(loaded[1].names, names(&["base:1"]));
}

#[test]
fn a_directory_keeps_what_it_has() {
    let (_a, store) = new_store();
    let image = sample(&store);
    let out = tempfile::tempdir().unwrap();
    let dest = out.path().join("layout");
    let spec = format!("type=oci,tar=false,dest={}", dest.display());
    let put = |list: &[&str]| {
        export(&store, &image, &names(list), &spec.parse().unwrap(), &[], &|_| {}, &mut Vec::new()).unwrap()
    };
    put(&["app:1"]);
    put(&["app:2"]);
    put(&["other:1"]);
    let index: Value = serde_json::from_slice(&fs::read(dest.join("index.json")).unwrap()).unwrap();
    let found: Vec<&str> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["annotations"]["io.containerd.image.name"].as_str().unwrap())
        .collect();
    assert_eq!(found, ["docker.io/library/app:2", "docker.io/library/other:1"]);
    // A damaged blob is replaced, and nothing but the layout is left behind.
    let blob = dest.join("blobs/sha256").join(BlobDigest::from(image.id).hex());
    fs::write(&blob, b"x").unwrap();
    put(&["app:2"]);
    assert_eq!(fs::read(&blob).unwrap(), image.config_bytes);
    let mut left: Vec<String> = lith::sys::dir::list_path(&dest)
        .unwrap()
        .iter()
        .map(|entry| String::from_utf8_lossy(&entry.name).into_owned())
        .collect();
    left.sort();
    assert_eq!(left, ["blobs", "index.json", "oci-layout"]);
    let (_b, other) = new_store();
    let wanted = LoadOptions { name: Some("2".into()), ..options() };
    let loaded = load_path(&other, &dest, &wanted).unwrap();
    assert_eq!(loaded[0].names, names(&["app:2"]));
    let error = load_path(&other, &dest, &LoadOptions { name: Some("3".into()), ..options() }).unwrap_err();
    assert!(error.to_string().contains("it has app:2, other:1"), "{error}");
}

#[test]
fn the_merged_tar_applies_whiteouts_and_keeps_links() {
    let (_a, store) = new_store();
    let bytes = export_to(&store, &sample(&store), &[], "type=tar,dest=-");
    let files = tar_files(&bytes);
    let found: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(found, ["bin/", "bin/b", "bin/d", "l"]);
    assert_eq!(files["bin/b"], b"first", "the name that held the bytes is gone, the other holds them");
    assert_eq!(files["bin/d"], b"second");
}

#[test]
fn a_damaged_layer_is_not_given_out() {
    let (_a, store) = new_store();
    let image = sample(&store);
    let diff = image.layers()[0];
    let path = store.root().join("blobs/sha256").join(diff.hex());
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(5).position(|w| w == b"first").unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    for kind in ["oci", "docker", "tar"] {
        let spec = format!("type={kind},dest=-").parse().unwrap();
        let error =
            export(&store, &image, &[], &spec, &[], &|_| {}, &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("corrupt") && error.contains(&diff.hex()), "{kind}: {error}");
    }
}

#[test]
fn a_file_appears_whole_or_not_at_all() {
    let (_a, store) = new_store();
    let image = sample(&store);
    let out = tempfile::tempdir().unwrap();
    let dest = out.path().join("x.tar");
    let spec = format!("type=docker,dest={}", dest.display()).parse().unwrap();
    let path = store.root().join("blobs/sha256").join(image.layers()[0].hex());
    let kept = fs::read(&path).unwrap();
    fs::write(&path, b"damaged").unwrap();
    assert!(export(&store, &image, &[], &spec, &[], &|_| {}, &mut Vec::new()).is_err());
    assert!(lith::sys::dir::list_path(out.path()).unwrap().is_empty(), "nothing is left of a failed output");
    fs::write(&path, kept).unwrap();
    export(&store, &image, &[], &spec, &[], &|_| {}, &mut Vec::new()).unwrap();
    assert_eq!(load_path(&store, &dest, &options()).unwrap()[0].image.id, image.id);
}

#[test]
fn an_import_depends_on_the_tar_alone() {
    let tar = base_layer();
    let options = ImportOptions {
        platform: "linux/arm64".parse().unwrap(),
        epoch: Epoch::ZERO,
        comment: Some("c".into()),
    };
    let mut ids = Vec::new();
    for packed in [tar.clone(), gzip(&tar), zstd::encode_all(&tar[..], 3).unwrap()] {
        let (_a, store) = new_store();
        let (image, _) = import(&store, "rootfs.tar", &packed[..], &options).unwrap();
        assert_eq!(image.config.architecture, "arm64");
        assert_eq!(image.config.created.as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(image.config.rootfs.diff_ids, [DiffId::from(BlobDigest::of(&tar))]);
        ids.push(image.digest);
    }
    assert!(ids.iter().all(|id| *id == ids[0]));
}
