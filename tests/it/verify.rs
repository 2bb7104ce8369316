//! `lith store verify` and its repairs of what stands beside the layers: tables, the layer db, memos, records.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use lith::layer::Toc;
use serde_json::Value;

use crate::support::{Lab, Ran, children};

/// A store with two images, one of them packed with gzip, that were built of COPY alone.
fn lab() -> Lab {
    let lab = Lab::new();
    lab.write("ctx/Dockerfile", "FROM scratch\nCOPY a /a\nCOPY --chown=1:2 b /d/b\nLABEL x=y\n");
    lab.write("ctx/a", "aaaa");
    lab.write("ctx/b", vec![b'b'; 5000]);
    lab.build("store", "ctx", &["-t", "x", "-o", "type=oci,compression=gzip,dest=x.tar"]);
    lab.write("other/Dockerfile", "FROM scratch\nCOPY o /o\n");
    lab.write("other/o", "o");
    lab.build("store", "other", &["-t", "other"]);
    lab
}

fn verify(lab: &Lab, more: &[&str], code: i32) -> Ran {
    let command = lab.command("store", &[&["store", "verify"], more].concat());
    let mut timed = Command::new("timeout");
    timed.args(["-k", "1", "60"]).arg(command.get_program()).args(command.get_args());
    let ran = Ran::of(timed.current_dir(lab.path("")).output().unwrap());
    assert_eq!(ran.code, code, "{more:?}\n{}\n{}", ran.out, ran.err);
    ran
}

/// Every file below a directory of the store with its bytes; half-written ones do not count.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for path in children(dir) {
        if path.is_dir() {
            all.insert(path.clone(), Vec::new());
            all.extend(files(&path));
        } else if !path.file_name().unwrap().as_bytes().starts_with(b".") {
            all.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    all
}

/// Does a harm, has it named, repairs it, and holds a directory of the store against what it was.
fn repaired(lab: &Lab, dir: &str, harm: impl Fn(), named: &[&str]) -> Ran {
    let dir = lab.path("store").join(dir);
    let whole = files(&dir);
    harm();
    let ran = verify(lab, &[], 1);
    for named in named {
        assert!(ran.out.contains(named), "no {named:?} in {}", ran.out);
    }
    assert!(ran.err.contains("--repair"), "{}", ran.err);
    let ran = verify(lab, &["--repair"], 0);
    assert!(ran.out.contains("repaired"), "{}", ran.out);
    verify(lab, &[], 0);
    assert_eq!(files(&dir).keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>());
    assert!(files(&dir) == whole, "{}", dir.display());
    ran
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn fifo(path: &Path) {
    let _ = fs::remove_file(path);
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn every_file_of_the_layer_db_is_held() {
    let lab = lab();
    let entries = children(&lab.path("store/layerdb/sha256"));
    assert_eq!(entries.len(), 3);
    for entry in &entries {
        let name = entry.file_name().unwrap().to_str().unwrap();
        for file in children(entry) {
            let inside = file.file_name().unwrap().to_str().unwrap();
            repaired(&lab, "layerdb", || flip(&file), &["layerdb entry", name, &format!(": {inside} is ")]);
            let gone = format!(": {inside} was removed");
            repaired(&lab, "layerdb", || fs::remove_file(&file).unwrap(), &[name, &gone]);
            repaired(&lab, "layerdb", || fifo(&file), &[name, inside, "not a regular file"]);
        }
        repaired(
            &lab,
            "layerdb",
            || fs::write(entry.join("lower"), "l/X").unwrap(),
            &[name, "lower was added"],
        );
        repaired(&lab, "layerdb", || fs::remove_dir_all(entry).unwrap(), &[name, "is missing"]);
        let outside = lab.path("outside");
        let swap = || {
            fs::rename(entry, &outside).unwrap();
            std::os::unix::fs::symlink(&outside, entry).unwrap();
        };
        repaired(&lab, "layerdb", swap, &[name, "is no directory"]);
        assert!(outside.join("diff").exists(), "what a symlink leads to is left");
        fs::remove_dir_all(outside).unwrap();
        // Somebody may want to hide that a layer was swapped.
        let (a, b) = (&entries[0], &entries[1]);
        let swap = || {
            let aside = lab.path("aside");
            for (from, to) in [(a, &aside), (b, a), (&aside, b)] {
                fs::rename(from, to).unwrap();
            }
        };
        repaired(&lab, "layerdb", swap, &["layerdb entry", "diff is sha256:"]);
    }
}

#[test]
fn entries_that_no_image_needs_are_forgotten_when_they_are_wrong() {
    let lab = lab();
    let stray = lab.path("store/layerdb/sha256").join("ab".repeat(32));
    let harm = || {
        fs::create_dir(&stray).unwrap();
        for (name, text) in [("diff", format!("sha256:{}", "cd".repeat(32))), ("size", "5".into())] {
            fs::write(stray.join(name), text).unwrap();
        }
    };
    repaired(&lab, "layerdb", harm, &["its name is not that of its diff"]);
    // What a kill left is none of that.
    fs::create_dir(&stray).unwrap();
    fs::write(stray.join("diff"), "x").unwrap();
    verify(&lab, &[], 0);
}

#[test]
fn tables_are_made_again_from_their_tars() {
    let lab = lab();
    for table in children(&lab.path("store/tocs")) {
        let diff = table.file_name().unwrap().to_str().unwrap();
        let named = ["table of contents of layer", diff];
        repaired(&lab, "tocs", || flip(&table), &named);
        repaired(&lab, "tocs", || fs::remove_file(&table).unwrap(), &named);
        repaired(&lab, "tocs", || fifo(&table), &named);
        let dir = || {
            fs::remove_file(&table).unwrap();
            fs::create_dir(&table).unwrap();
        };
        repaired(&lab, "tocs", dir, &named);
        // A checksum is no proof: whoever forges a table makes one that fits.
        let forged = || {
            let toc = Toc::decode(&fs::read(&table).unwrap()).unwrap();
            let mut entries = toc.entries().to_vec();
            entries.last_mut().unwrap().meta.mode ^= 0o4000;
            fs::write(&table, Toc::new(entries).encode()).unwrap();
        };
        repaired(&lab, "tocs", forged, &[diff, "not what the layer's tar says"]);
    }
}

#[test]
fn memos_are_forgotten() {
    let lab = lab();
    for memo in children(&lab.path("store/compressed")) {
        let sound = fs::read(&memo).unwrap();
        let text = String::from_utf8(sound.clone()).unwrap();
        let (digest, size) = text.trim().split_once(' ').unwrap();
        for bytes in ["", "x 5", digest, &format!("{digest} {size}1"), &"9".repeat(300)] {
            fs::write(&memo, bytes).unwrap();
            let ran = verify(&lab, &[], 1);
            assert!(ran.out.contains(&format!("memo {}", memo.display())), "{}", ran.out);
            verify(&lab, &["--repair"], 0);
            assert!(!memo.exists());
            verify(&lab, &[], 0);
        }
        lab.build("store", "ctx", &["-t", "x", "-o", "type=oci,compression=gzip,dest=again.tar"]);
        assert_eq!(fs::read(&memo).unwrap_or_default(), sound);
        assert!(fs::read(lab.path("x.tar")).unwrap() == fs::read(lab.path("again.tar")).unwrap());
    }
    let sealed = [children(&lab.path("store/actions")), children(&lab.path("store/builds"))].concat();
    let sealed: Vec<PathBuf> = sealed
        .into_iter()
        .flat_map(|path| if path.is_dir() { children(&path) } else { vec![path] })
        .collect();
    assert!(sealed.len() > 3, "{sealed:?}");
    for record in sealed {
        flip(&record);
        assert!(verify(&lab, &[], 1).out.contains("checksum does not match"));
        let ran = verify(&lab, &["--repair", "--format", "json"], 0);
        let line: Value = serde_json::from_str(ran.out.trim()).unwrap();
        assert_eq!((&line["object"], &line["repair"]), (&"memo".into(), &"forgotten".into()));
        assert_eq!(line["path"], record.to_str().unwrap());
        assert!(!record.exists());
        verify(&lab, &[], 0);
    }
}

#[test]
fn a_lost_image_record_is_made_of_its_name() {
    let lab = lab();
    for record in children(&lab.path("store/images")) {
        let sound: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
        if sound["manifest"].is_null() {
            continue;
        }
        for harm in ["{}", "gone"] {
            fs::write(&record, harm).unwrap();
            verify(&lab, &["--repair"], 0);
            let made: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
            assert_eq!((&made["id"], &made["manifest"]), (&sound["id"], &sound["manifest"]));
        }
    }
}

#[test]
fn what_nothing_can_mend_is_named_with_a_next_step() {
    let lab = lab();
    for blob in children(&lab.path("store/blobs/sha256")) {
        let sound = fs::read(&blob).unwrap();
        let name = blob.file_name().unwrap().to_str().unwrap();
        for harm in [flip, fifo] {
            harm(&blob);
            for more in [&[][..], &["--repair"]] {
                let ran = verify(&lab, more, 1);
                assert!(ran.out.contains(name) && ran.out.contains("lith build --no-cache"), "{}", ran.out);
            }
            fs::remove_file(&blob).unwrap();
            fs::write(&blob, &sound).unwrap();
            // The table and the entry of the layer stand on the blob, which is sound again.
            verify(&lab, &["--repair"], 0);
            verify(&lab, &[], 0);
        }
    }
}

#[test]
fn only_what_an_image_needs_is_looked_at() {
    let lab = lab();
    let inspected = lab.ok("store", &["image", "inspect", "other"]).out;
    let inspected: Value = serde_json::from_str(&inspected).unwrap();
    let layer =
        inspected[0]["RootFS"]["Layers"][0].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    let all = verify(&lab, &[], 0).out;
    let some = verify(&lab, &["x"], 0).out;
    assert_ne!(all, some);
    flip(&lab.path("store/blobs/sha256").join(&layer));
    flip(&lab.path("store/tocs").join(&layer));
    flip(&lab.path("store/layerdb/sha256").join(&layer).join("size"));
    verify(&lab, &["x"], 0);
    for more in [&["other"][..], &["x", "other"], &[]] {
        let ran = verify(&lab, more, 1);
        assert!(ran.out.matches(&*layer).count() >= 3, "{}", ran.out);
    }
    let ran = verify(&lab, &["nowhere"], 2);
    assert!(ran.err.contains("nowhere"), "{}", ran.err);
}

#[test]
fn json_is_one_object_a_line() {
    let lab = lab();
    assert_eq!(verify(&lab, &["--format", "json"], 0).out, "");
    let entry = &children(&lab.path("store/layerdb/sha256"))[0];
    fs::write(entry.join("size"), "0").unwrap();
    let table = &children(&lab.path("store/tocs"))[0];
    flip(table);
    let ran = verify(&lab, &["--format", "json"], 1);
    let lines: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let objects: Vec<&str> = lines.iter().map(|line| line["object"].as_str().unwrap()).collect();
    assert_eq!(objects, ["table", "layerdb"]);
    assert_eq!(lines[1]["path"], entry.to_str().unwrap());
    let hex = table.file_name().unwrap().to_str().unwrap();
    assert_eq!(lines[0]["layer"], format!("sha256:{hex}"));
    for line in &lines {
        assert_eq!(line["repairable"], true);
        assert!(line.get("repair").is_none() && line["problem"].is_string() && line["help"].is_string());
    }
    let ran = verify(&lab, &["--format", "json", "--repair"], 0);
    assert!(ran.out.lines().all(|line| line.contains("\"repair\":\"made\"")), "{}", ran.out);
}
