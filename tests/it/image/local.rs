//! `type=local`: the merged file system in a directory, and nothing outside of it.

use std::os::unix::fs::{MetadataExt as _, symlink};

use super::*;

fn write(store: &Store, image: &StoredImage, dest: &Path) -> Result<(), String> {
    let spec = format!("type=local,dest={}", dest.display()).parse().unwrap();
    export(store, image, &[], &spec, &[], &|_| {}, &mut Vec::new()).map(drop).map_err(|e| e.to_string())
}

/// An image of the given layers.
fn image_of(store: &Store, tars: &[Vec<u8>]) -> StoredImage {
    let layers: Vec<(DiffId, u64)> = tars.iter().map(|tar| put_layer(store, tar)).collect();
    let config = ImageConfig::scratch(&"linux/amd64".parse().unwrap());
    let history = vec![History::default(); tars.len()];
    let parts =
        Assembly { base: None, config: &config, layers: &layers, history: &history, epoch: Epoch::ZERO };
    let image = assemble(&parts).unwrap();
    store_image(store, &image, None).unwrap();
    StoredImage::open(store, image.digest).unwrap()
}

#[test]
fn a_directory_holds_the_merged_tree() {
    let (_a, store) = new_store();
    let more = layer(&[("bin/e", b"e"), ("bin/f==bin/e", b""), ("shut/", b""), ("shut/x", b"x")]);
    let image = image_of(&store, &[base_layer(), top_layer(), more]);
    let out = tempfile::tempdir().unwrap();
    let dest = out.path().join("new/dir");
    for _ in 0..2 {
        write(&store, &image, &dest).unwrap();
        assert_eq!(fs::read(dest.join("bin/b")).unwrap(), b"first");
        assert_eq!(fs::read(dest.join("bin/d")).unwrap(), b"second");
        assert!(!dest.join("bin/a").exists() && !dest.join("bin/c").exists());
        assert_eq!(fs::read_link(dest.join("l")).unwrap(), Path::new("bin/a"));
        let (e, f) = (fs::metadata(dest.join("bin/e")).unwrap(), fs::metadata(dest.join("bin/f")).unwrap());
        assert_eq!(e.ino(), f.ino());
        for path in ["bin", "bin/b", "shut"] {
            assert_eq!(fs::metadata(dest.join(path)).unwrap().mtime(), 1, "{path}");
        }
        assert_eq!(fs::metadata(dest.join("bin/b")).unwrap().mode() & 0o7777, 0o644);
        fs::write(dest.join("bin/d"), b"changed").unwrap();
    }
}

#[test]
fn d21_symlinks_that_are_there_lead_nowhere() {
    let (_a, store) = new_store();
    let image = sample(&store);
    let out = tempfile::tempdir().unwrap();
    let (dest, outside) = (out.path().join("dest"), out.path().join("outside"));
    fs::create_dir_all(&outside).unwrap();
    fs::create_dir_all(&dest).unwrap();
    fs::write(outside.join("d"), b"mine").unwrap();
    symlink(&outside, dest.join("bin")).unwrap();
    write(&store, &image, &dest).unwrap();
    assert!(fs::symlink_metadata(dest.join("bin")).unwrap().is_dir());
    assert_eq!(fs::read(outside.join("d")).unwrap(), b"mine");
    fs::remove_file(dest.join("bin/d")).unwrap();
    symlink(outside.join("d"), dest.join("bin/d")).unwrap();
    fs::remove_file(dest.join("bin/b")).unwrap();
    fs::hard_link(outside.join("d"), dest.join("bin/b")).unwrap();
    write(&store, &image, &dest).unwrap();
    assert_eq!(fs::read(outside.join("d")).unwrap(), b"mine");
    assert_eq!(fs::read(dest.join("bin/d")).unwrap(), b"second");
    assert_eq!(fs::read(dest.join("bin/b")).unwrap(), b"first");
    // The destination itself may be a symlink; that is the caller's own word.
    symlink(&dest, out.path().join("link")).unwrap();
    write(&store, &image, &out.path().join("link")).unwrap();
}

#[test]
fn d21_symlinks_of_the_image_lead_nowhere() {
    let (_a, store) = new_store();
    let out = tempfile::tempdir().unwrap();
    let outside = out.path().join("outside");
    fs::create_dir_all(&outside).unwrap();
    let target = outside.to_str().unwrap();
    let link = layer(&[(&format!("l=>{target}"), b""), ("m=>../outside", b"")]);
    for top in [layer(&[("l/", b""), ("l/x", b"x")]), layer(&[("l/x", b"x")]), layer(&[("m/x", b"x")])] {
        let image = image_of(&store, &[link.clone(), top]);
        let dest = out.path().join(image.id.short());
        // Whether it is an error or a directory in the link's place, nothing gets out.
        let _ = write(&store, &image, &dest);
        assert!(lith::sys::dir::list_path(&outside).unwrap().is_empty());
    }
}

#[test]
fn a_directory_of_the_user_is_not_removed() {
    let (_a, store) = new_store();
    let out = tempfile::tempdir().unwrap();
    fs::create_dir_all(out.path().join("bin/d/precious")).unwrap();
    fs::write(out.path().join("other"), b"stays").unwrap();
    let error = write(&store, &sample(&store), out.path()).unwrap_err();
    assert!(error.contains("/bin/d"), "{error}");
    assert!(out.path().join("bin/d/precious").exists());
    assert_eq!(fs::read(out.path().join("other")).unwrap(), b"stays");
}

#[test]
fn parents_that_no_layer_has_are_made() {
    let (_a, store) = new_store();
    let image = image_of(&store, &[layer(&[("a/b/c", b"deep")])]);
    let out = tempfile::tempdir().unwrap();
    write(&store, &image, out.path()).unwrap();
    assert_eq!(fs::read(out.path().join("a/b/c")).unwrap(), b"deep");
    assert_eq!(fs::metadata(out.path().join("a")).unwrap().mode() & 0o7777, 0o755);
    let files = tar_files(&export_to(&store, &image, &[], "type=tar,dest=-"));
    assert_eq!(files["a/b/c"], b"deep");
}
