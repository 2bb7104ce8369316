//! The store under damage, crowds and kills. Names begin with the row of the project's list of threats. All of it
//! with COPY-only images, which need no kernel privileges.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use lith::store::{Store, StoreError, Unpacking};

use crate::support::{Built, Lab, Ran};

const DOCKERFILE: &str = "FROM scratch\nCOPY a /a\nCOPY --chown=1:2 b /d/b\nLABEL x=y\n";

fn context(lab: &Lab) {
    lab.write("ctx/Dockerfile", DOCKERFILE);
    lab.write("ctx/a", "aaaa");
    lab.write("ctx/b", vec![b'b'; 5000]);
}

/// A lab with a store `store` that holds one small tagged image, and what it exports to.
fn small() -> (Lab, String, Vec<u8>) {
    let lab = Lab::new();
    context(&lab);
    let built = lab.build("store", "ctx", &["-t", "x"]);
    let archive = export(&lab, "store").expect("an undamaged store exports");
    (lab, built.manifest(), archive)
}

/// The image named `x`, packed with gzip; `None` if that fails with an error.
fn export(lab: &Lab, store: &str) -> Option<Vec<u8>> {
    let out = lab.path("export.tar");
    let _ = fs::remove_file(&out);
    let spec = format!("type=oci,compression=gzip,dest={}", out.display());
    let ran = lab.run(store, &["build", "-q", "-t", "x", "-o", &spec, "ctx"]);
    sane(&ran);
    (ran.code == 0).then(|| fs::read(out).unwrap())
}

#[track_caller]
fn sane(ran: &Ran) {
    assert!((0..=3).contains(&ran.code), "{} {}", ran.code, ran.err);
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
    assert!(ran.code == 0 || !ran.err.is_empty(), "an error says something");
}

/// All files below a directory, sorted; locks left out.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in lith::sys::dir::list_path(dir).unwrap() {
        let path = dir.join(std::ffi::OsStr::from_bytes(&entry.name));
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() && entry.name != b"locks" {
            all.extend(files(&path));
        } else if meta.is_file() && entry.name != b"lock" {
            all.push(path);
        }
    }
    all
}

fn copy(lab: &Lab, from: &str, to: &str) {
    let _ = fs::remove_dir_all(lab.path(to));
    let done = Command::new("cp").arg("-a").arg(lab.path(from)).arg(lab.path(to)).status().unwrap();
    assert!(done.success());
}

/// Damages every file of the store in turn. Blobs are found by `verify`; nothing panics; whatever is built or given
/// out has the right digest; a rebuild without the cache mends what a build made.
#[track_caller]
fn damage_every_file(damage: impl Fn(&Path) -> bool) {
    let (lab, manifest, archive) = small();
    let count = files(&lab.path("store")).len();
    assert!(count > 15, "{count}");
    for at in 0..count {
        copy(&lab, "store", "hurt");
        let path = files(&lab.path("hurt")).swap_remove(at);
        if !damage(&path) {
            continue;
        }
        let shown = path.strip_prefix(lab.path("hurt")).unwrap().display().to_string();
        let verify = lab.run("hurt", &["store", "verify"]);
        sane(&verify);
        if ["blobs", "tocs"].iter().any(|dir| shown.starts_with(dir)) {
            assert_eq!(verify.code, 1, "{shown}: {}", verify.out);
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(verify.out.contains(name), "{shown} is not named: {}", verify.out);
        }
        for args in [
            ["images", "-a"].as_slice(),
            &["history", "x"],
            &["image", "inspect", "x"],
            &["why", "ctx"],
            &["plan", "ctx"],
        ] {
            sane(&lab.run("hurt", args));
        }
        let listed = lab.run("hurt", &["images", "--format", "json"]).out;
        let honest = |l: &str| l.contains("\"Repository\":\"x\"") || l.contains("\"Repository\":\"<none>\"");
        assert!(listed.lines().all(honest), "{shown}: {listed}");
        if let Some(found) = export(&lab, "hurt") {
            assert!(found == archive, "{shown}: a wrong image was given out");
        }
        if shown == "version" {
            continue;
        }
        let again = lab.build("hurt", "ctx", &["--no-cache", "-t", "x"]);
        assert_eq!(again.manifest(), manifest, "{shown}");
        assert!(export(&lab, "hurt").as_ref() == Some(&archive), "{shown}: not mended by a rebuild");
        let verify = lab.run("hurt", &["store", "verify"]);
        assert_eq!(verify.code, 0, "{shown}: {}", verify.out);
    }
}

#[test]
fn t9_a_flipped_bit_in_any_file_is_never_served() {
    damage_every_file(|path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        let Some(byte) = bytes.get_mut(middle) else { return false };
        *byte ^= 1;
        fs::write(path, bytes).unwrap();
        true
    });
}

#[test]
fn t9_a_flipped_last_bit_in_any_file_is_never_served() {
    damage_every_file(|path| {
        let mut bytes = fs::read(path).unwrap();
        let Some(byte) = bytes.last_mut() else { return false };
        *byte ^= 0x80;
        fs::write(path, bytes).unwrap();
        true
    });
}

/// C5: a record says itself of which action it is, whatever its file is called.
#[test]
fn c05_a_record_under_another_key_serves_nothing() {
    let (lab, manifest, _) = small();
    let records = files(&lab.path("store/actions"));
    assert_eq!(records.len(), 2, "{records:#?}");
    let kept: Vec<Vec<u8>> = records.iter().map(|path| fs::read(path).unwrap()).collect();
    fs::write(&records[0], &kept[1]).unwrap();
    fs::write(&records[1], &kept[0]).unwrap();
    let built = lab.build("store", "ctx", &["-t", "x"]);
    assert_eq!((built.with_status("built").len(), built.manifest()), (2, manifest));
    // In their own places they serve.
    records.iter().zip(&kept).for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    assert_eq!(lab.build("store", "ctx", &[]).with_status("hit").len(), 2);
}

#[test]
fn t12_an_empty_file_is_a_miss_or_mended() {
    damage_every_file(|path| {
        fs::write(path, "").unwrap();
        true
    });
}

#[test]
fn t12_a_cut_file_is_a_miss_or_mended() {
    damage_every_file(|path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        !bytes.is_empty()
    });
}

#[test]
fn t12_a_file_of_noise_is_a_miss_or_mended() {
    damage_every_file(|path| {
        let length = fs::metadata(path).unwrap().len();
        fs::write(path, vec![0xa5; usize::try_from(length).unwrap()]).unwrap();
        length > 0
    });
}

#[test]
fn t12_an_empty_version_is_written_again() {
    let (lab, manifest, _) = small();
    fs::write(lab.path("store/version"), "").unwrap();
    assert_eq!(lab.build("store", "ctx", &[]).manifest(), manifest);
    assert_eq!(fs::read_to_string(lab.path("store/version")).unwrap(), "lith-store 1\n");
}

#[test]
fn t11_a_blob_under_another_blobs_name_is_found() {
    let (lab, _, archive) = small();
    let blobs = files(&lab.path("store/blobs"));
    for at in 0..blobs.len() {
        copy(&lab, "store", "hurt");
        let hurt = files(&lab.path("hurt/blobs"));
        fs::copy(&blobs[(at + 1) % blobs.len()], &hurt[at]).unwrap();
        assert_eq!(lab.run("hurt", &["store", "verify"]).code, 1);
        if let Some(found) = export(&lab, "hurt") {
            assert!(found == archive);
        }
    }
}

#[test]
fn t21_what_is_missing_is_named_and_made_again() {
    let (lab, manifest, archive) = small();
    for at in 0..files(&lab.path("store/blobs")).len() {
        copy(&lab, "store", "hurt");
        let gone = files(&lab.path("hurt/blobs")).swap_remove(at);
        fs::remove_file(&gone).unwrap();
        sane(&lab.run("hurt", &["gc"]));
        copy(&lab, "store", "hurt");
        fs::remove_file(&gone).unwrap();
        assert_eq!(lab.build("hurt", "ctx", &["-t", "x"]).manifest(), manifest, "{}", gone.display());
        assert!(export(&lab, "hurt").as_ref() == Some(&archive), "{}", gone.display());
        lab.ok("hurt", &["store", "verify"]);
    }
    // What an image with a name needs is named if it is gone.
    let out = lab.ok("store", &["image", "inspect", "x"]).out;
    let inspected: serde_json::Value = serde_json::from_str(&out).unwrap();
    let layer = inspected[0]["RootFS"]["Layers"][0].as_str().unwrap().trim_start_matches("sha256:");
    fs::remove_file(lab.path("store/blobs/sha256").join(layer)).unwrap();
    let ran = lab.run("store", &["store", "verify"]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains(layer) && ran.out.contains("x:latest"), "{}", ran.out);
}

#[test]
fn t21_an_orphan_is_garbage() {
    let (lab, ..) = small();
    let digest = lith::digest::BlobDigest::of(b"orphan");
    let orphan = lab.write(&format!("store/blobs/sha256/{}", digest.hex()), "orphan");
    let half = lab.write("store/blobs/sha256/.123-4", "half");
    lab.ok("store", &["gc"]);
    assert!(!orphan.exists() && !half.exists());
    assert!(export(&lab, "store").is_some());
}

#[test]
fn t6_six_builds_at_once_do_the_work_once() {
    let lab = Lab::new();
    context(&lab);
    let expected = lab.build("calm", "ctx", &[]).manifest();
    for round in 0..10 {
        let store = format!("store{round}");
        let args = ["build", "--progress=json", "-t", "x", "ctx"];
        let start =
            || lab.command(&store, &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let children: Vec<_> = (0..6).map(|_| start()).collect();
        let mut worked = 0;
        for child in children {
            let ran = Ran::of(child.wait_with_output().unwrap());
            assert_eq!(ran.code, 0, "{}", ran.err);
            let built = Built::of(&ran.out);
            assert_eq!(built.manifest(), expected);
            worked += built.with_status("built").len();
        }
        assert_eq!(worked, 2, "each of two steps once");
        lab.ok(&store, &["store", "verify"]);
    }
}

#[test]
fn t7_gc_while_builds_run_takes_nothing_that_lives() {
    let lab = Lab::new();
    context(&lab);
    let expected = lab.build("calm", "ctx", &[]).manifest();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sweeps = scope.spawn(|| {
            let mut sweeps = 0;
            while !done.load(Ordering::Relaxed) {
                lab.ok("store", if sweeps % 2 == 0 { &["gc", "-a"] } else { &["gc"] });
                sweeps += 1;
            }
            sweeps
        });
        let builders: Vec<_> = (0..3)
            .map(|number| {
                let (lab, expected) = (&lab, &expected);
                scope.spawn(move || {
                    for _ in 0..25 {
                        let name = format!("x{number}");
                        let out = format!("type=tar,dest=out{number}.tar");
                        let built = lab.build("store", "ctx", &["-t", &name, "-o", &out]);
                        assert_eq!(built.manifest(), *expected);
                        lab.ok("store", &["rmi", &name]);
                    }
                })
            })
            .collect();
        let ends: Vec<_> = builders.into_iter().map(|b| b.join()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(sweeps.join().unwrap() > 3);
        ends.into_iter().for_each(|end| end.unwrap());
    });
    lab.ok("store", &["store", "verify"]);
}

#[test]
fn t8_a_lock_dies_with_its_holder() {
    let (lab, ..) = small();
    // A build that waits for its Dockerfile holds the store.
    let mut held = lab
        .command("store", &["build", "-f", "-", "ctx"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let busy = |lab: &Lab| lab.run("store", &["gc", "--no-wait"]);
    let began = std::time::Instant::now();
    while busy(&lab).code == 0 {
        assert!(began.elapsed().as_secs() < 10, "a build holds no lease");
    }
    assert!(busy(&lab).err.contains("in use"));
    held.kill().unwrap();
    held.wait().unwrap();
    assert_eq!(busy(&lab).code, 0);
    // Lock files that are only there lock nothing.
    for name in ["action-0", "unpack-0"] {
        lab.write(&format!("store/locks/{name}"), std::process::id().to_string());
    }
    assert!(export(&lab, "store").is_some());
}

/// Names, sizes, modes and times of everything in a directory.
fn state(dir: &Path) -> String {
    let out = Command::new("find").arg(dir).args(["-printf", "%p %s %m %T@ %C@\n"]).output().unwrap();
    assert!(out.status.success());
    let text = String::from_utf8(out.stdout).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

#[test]
fn t15_other_versions_are_refused_and_left_alone() {
    let (lab, ..) = small();
    for version in ["lith-store 2\n", "lith-store 0\n", "lith-store 1.1\n", "something else", "\u{1b}[31m"] {
        fs::write(lab.path("store/version"), version).unwrap();
        fs::set_permissions(lab.path("store"), fs::Permissions::from_mode(0o755)).unwrap();
        let before = state(&lab.path("store"));
        for args in
            [["images"].as_slice(), &["build", "ctx"], &["gc", "-a"], &["store", "verify"], &["rmi", "x"]]
        {
            let ran = lab.run("store", args);
            assert_eq!(ran.code, 3, "{version:?} {args:?} {}", ran.err);
            assert!(ran.err.contains("version") && !ran.err.contains('\u{1b}'), "{:?}", ran.err);
        }
        assert_eq!(state(&lab.path("store")), before, "{version:?}");
    }
}

#[test]
fn t17_a_store_is_its_users_alone() {
    let (lab, ..) = small();
    fs::set_permissions(lab.path("store"), fs::Permissions::from_mode(0o755)).unwrap();
    lab.ok("store", &["images"]);
    assert_eq!(fs::metadata(lab.path("store")).unwrap().mode() & 0o777, 0o700);
    symlink(lab.path("store"), lab.path("link")).unwrap();
    let ran = lab.run("link", &["images"]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("link") && ran.err.contains("symlink"), "{}", ran.err);
    lab.write("file", "");
    assert_eq!(lab.run("file", &["images"]).code, 3);
    lab.write("full/precious", "x");
    let ran = lab.run("full", &["build", "ctx"]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("full") && ran.err.contains("other files"), "{}", ran.err);
    assert_eq!(files(&lab.path("full")).len(), 1);
    if rustix::process::geteuid().is_root() {
        chown(lab.path("store"), Some(65534), Some(65534)).unwrap();
        let ran = lab.run("store", &["images"]);
        assert_eq!(ran.code, 3);
        assert!(ran.err.contains("uid 65534"), "{}", ran.err);
    }
}

#[test]
fn t19_removing_follows_no_symlink() {
    let (lab, ..) = small();
    lab.write("outside/keep/work/x", "x");
    // What overlayfs leaves has a directory of this name.
    fs::set_permissions(lab.path("outside/keep/work"), fs::Permissions::from_mode(0o711)).unwrap();
    let outside = lab.path("outside");
    symlink(&outside, lab.path("store/tmp/link")).unwrap();
    fs::create_dir_all(lab.path("store/tmp/dir/diff")).unwrap();
    symlink(&outside, lab.path("store/tmp/dir/diff/link")).unwrap();
    symlink(outside.join("keep"), lab.path("store/tmp/dir/work")).unwrap();
    symlink(&outside, lab.path("store/overlay/link")).unwrap();
    symlink(&outside, lab.path("store/blobs/sha256/link")).unwrap();
    lab.ok("store", &["gc", "-a"]);
    assert_eq!(fs::read_to_string(lab.path("outside/keep/work/x")).unwrap(), "x");
    assert_eq!(fs::metadata(lab.path("outside/keep/work")).unwrap().mode() & 0o777, 0o711);
    assert!(lith::sys::dir::list_path(&lab.path("store/tmp")).unwrap().is_empty());
}

#[test]
fn t25_a_copy_of_the_store_is_a_store() {
    let (lab, manifest, archive) = small();
    copy(&lab, "store", "copied");
    lab.ok("copied", &["store", "verify"]);
    let built = lab.build("copied", "ctx", &["-t", "x"]);
    assert_eq!(built.manifest(), manifest);
    assert_eq!(built.with_status("hit").len(), 2);
    assert!(export(&lab, "copied").unwrap() == archive);
}

/// A sweep killed at any moment: what is listed afterwards is whole.
#[test]
fn t1_a_kill_during_gc_leaves_a_store_that_works() {
    let (lab, manifest, archive) = small();
    let began = std::time::Instant::now();
    copy(&lab, "store", "hurt");
    lab.ok("hurt", &["gc", "-a"]);
    let whole = began.elapsed();
    for round in 0u32..40 {
        copy(&lab, "store", "hurt");
        lab.ok("hurt", &["rmi", "x"]);
        let mut child = lab.command("hurt", &["gc", "-a"]).stdout(Stdio::null()).spawn().unwrap();
        let started = std::time::Instant::now();
        while started.elapsed() < whole * round / 40 && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let _ = child.kill();
        child.wait().unwrap();
        lab.ok("hurt", &["store", "verify"]);
        lab.ok("hurt", &["images", "-a"]);
        assert_eq!(lab.build("hurt", "ctx", &["-t", "x"]).manifest(), manifest);
        assert!(export(&lab, "hurt").unwrap() == archive);
        let mut ids = BTreeSet::new();
        for path in files(&lab.path("hurt/images")) {
            ids.insert(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
        for id in ids {
            lab.ok("hurt", &["image", "inspect", &id]);
        }
    }
}

#[test]
fn a_wrong_digest_is_never_published() {
    let lab = Lab::new();
    let store = Store::open(&lab.path("store"), Unpacking::Never).unwrap();
    let expected = lith::digest::BlobDigest::of(b"right");
    let mut writer = store.blob_writer().unwrap();
    writer.write_all(b"wrong").unwrap();
    assert!(matches!(writer.commit(Some(expected)), Err(StoreError::CorruptBlob { .. })));
    assert!(files(&lab.path("store/blobs")).is_empty() && files(&lab.path("store/tmp")).is_empty());
    // A blob that rotted is replaced by bytes that were just hashed.
    let path = lab.write(&format!("store/blobs/sha256/{}", expected.hex()), "rotten");
    let mut writer = store.blob_writer().unwrap();
    writer.write_all(b"right").unwrap();
    writer.commit(Some(expected)).unwrap();
    assert_eq!(fs::read(path).unwrap(), b"right");
}
