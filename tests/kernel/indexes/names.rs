//! Names that point to images for several platforms: what every verb makes of them.

use std::fs;

use serde_json::{Value, json};

use super::{blob, event, lab};
use crate::support::{Lab, children};

/// This machine's platform and another.
fn platforms() -> (String, &'static str) {
    let host = lith::platform::Platform::host().to_string();
    assert_ne!(host, "linux/riscv64");
    (host, "linux/riscv64")
}

fn inspect(lab: &Lab, args: &[&str]) -> Value {
    let all = lab.ok("store", &[&["image", "inspect"], args].concat()).out;
    serde_json::from_str::<Value>(&all).unwrap()[0].clone()
}

/// The listing, one object an image.
fn images(lab: &Lab) -> Vec<Value> {
    let lines = lab.ok("store", &["images", "--no-trunc", "--format=json"]).out;
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_name_stands_for_all_platforms_and_for_this_ones_where_one_is_needed() {
    let Some(lab) = lab() else { return };
    let (host, other) = platforms();
    let both = format!("{other},{host}");
    let built = lab.build("store", "ctx", &["--platform", &both, "-t", "app:1"]);
    let (index, built) = (built.manifest(), event(&built)["platforms"].clone());
    let listed = images(&lab);
    assert_eq!(listed.len(), 2, "the base and the index: {listed:?}");
    let row = listed.iter().find(|row| row["Repository"] == "app").unwrap();
    assert_eq!((&row["ID"], &row["Digest"]), (&json!(index), &json!(index)));
    assert_eq!(row["Platforms"], json!([other, host]));

    let shown = inspect(&lab, &["app:1"]);
    assert_eq!(shown["Id"], json!(index));
    assert_eq!(shown["RepoDigests"], json!([format!("app@{index}")]));
    assert_eq!(format!("linux/{}", shown["Architecture"].as_str().unwrap()), host);
    let manifests = shown["Manifests"].as_array().unwrap();
    assert_eq!(
        manifests.iter().map(|one| &one["ID"]).collect::<Vec<_>>(),
        [&built[0]["manifest"], &built[1]["manifest"]]
    );
    assert_eq!(manifests[0]["ImageData"]["Platform"]["architecture"], "riscv64");
    assert_eq!(manifests[0]["Available"], true);
    let foreign = inspect(&lab, &["--platform", other, "app:1"]);
    assert_eq!((&foreign["Id"], &foreign["Architecture"]), (&built[0]["image"], &json!("riscv64")));
    let ran = lab.run("store", &["image", "inspect", "--platform=linux/s390x", "app:1"]);
    let wanted = format!("app:1: there is no image for linux/s390x; available: {other}, {host}");
    assert!(ran.code == 2 && ran.err.contains(&wanted), "{}", ran.err);
    // By digest, by its beginning, and through another name.
    lab.ok("store", &["tag", "app:1", "again"]);
    for text in [&format!("app@{index}"), &index, &index[7..19], "again"] {
        assert_eq!(inspect(&lab, &[text])["Id"], json!(index), "{text}");
    }
    let history =
        |platform: &str| lab.ok("store", &["history", "--format=json", "--platform", platform, "app:1"]).out;
    assert!(history(other).contains("COPY file-riscv64 /arch") && history(other) != history(&host));

    // What is saved is one of them.
    let saved = lab.path("saved.tar");
    lab.ok("store", &["save", "--platform", other, "-o", saved.to_str().unwrap(), "app:1"]);
    lab.ok("saved", &["load", "--platform", other, saved.to_str().unwrap()]);
    let loaded: Value = serde_json::from_str(&lab.ok("saved", &["image", "inspect", "app:1"]).out).unwrap();
    assert_eq!(loaded[0]["Id"], built[0]["image"]);
}

#[test]
fn a_build_stands_on_the_image_for_its_platform() {
    let Some(lab) = lab() else { return };
    let (host, other) = platforms();
    let both = format!("{other},{host}");
    let base = lab.build("store", "ctx", &["--platform", &both, "-t", "app:1"]);
    lab.write("on/b", "b");
    let file = |from: &str| lab.write("on/Dockerfile", format!("FROM {from}\nCOPY b /\n"));
    file("app:1");
    let layout = lab.path("layout");
    let spec = format!("type=oci,tar=false,dest={}", layout.display());
    lab.build("store", "on", &["--platform", &both, "-t", "on:1", "-o", &spec]);
    let top: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    for entry in blob(&layout, &top["manifests"][0]["digest"])["manifests"].as_array().unwrap() {
        let manifest = blob(&layout, &entry["digest"]);
        assert_eq!(manifest["layers"].as_array().unwrap().len(), 3);
        assert_eq!(
            blob(&layout, &manifest["config"]["digest"])["architecture"],
            entry["platform"]["architecture"]
        );
    }
    // By digest it is the same, and where there is none for a platform it is said.
    file(&format!("app@{}", base.manifest()));
    let by_digest = lab.build("store", "on", &["--platform", other]);
    assert_eq!(by_digest.with_status("built"), [""; 0]);
    let context = lab.path("on");
    let ran = lab.run("store", &["build", "--platform=linux/s390x", context.to_str().unwrap()]);
    assert!(
        ran.code == 2 && ran.err.contains("no image for linux/s390x; available: linux/riscv64"),
        "{}",
        ran.err
    );
    // A lock pins the manifest of each platform.
    file("app:1");
    let lock = lab.path("on/lith.lock");
    lab.ok("store", &["lock", "--platform", &both, context.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&lock).unwrap().matches("app:1").count(), 2);
    let locked = lab.build("store", "on", &["--locked", "--platform", &both]);
    assert_eq!(locked.with_status("built"), [""; 0]);
}

#[test]
fn an_index_goes_with_its_last_name() {
    let Some(lab) = lab() else { return };
    let (host, other) = platforms();
    let both = format!("{other},{host}");
    let built = lab.build("store", "ctx", &["--platform", &both, "-t", "app:1", "-t", "app:2"]);
    let (index, of) = (built.manifest(), event(&built)["platforms"].clone());
    let part = of[0]["image"].as_str().unwrap();
    lab.ok("store", &["gc", "--all"]);
    assert_eq!(lab.ok("store", &["store", "verify"]).err, "");
    assert_eq!(inspect(&lab, &["--platform", other, "app:1"])["Id"], json!(part));

    // One platform's image is no image by itself.
    let ran = lab.run("store", &["rmi", part]);
    assert!(ran.code == 2 && ran.err.contains("lith rmi app:1"), "{}", ran.err);
    let ran = lab.run("store", &["rmi", &index]);
    assert!(ran.code == 2 && ran.err.contains("several names (app:1, app:2)"), "{}", ran.err);
    assert_eq!(lab.ok("store", &["rmi", "app:1"]).out, "Untagged: app:1\n");
    let gone = lab.ok("store", &["rmi", "app:2"]).out;
    let lines: Vec<String> = of
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("Deleted: {}", one["image"].as_str().unwrap()))
        .collect();
    assert_eq!(gone, format!("Untagged: app:2\nDeleted: {index}\n{}\n", lines.join("\n")));
    lab.ok("store", &["rmi", "alpine"]);
    lab.ok("store", &["gc", "--all"]);
    for dir in ["blobs/sha256", "indexes", "images", "refs", "tocs"] {
        assert!(children(&lab.path("store").join(dir)).is_empty(), "{dir}");
    }
}

#[test]
fn an_index_without_a_name_stays_until_everything_goes() {
    let Some(lab) = lab() else { return };
    let (host, other) = platforms();
    let built = lab.build("store", "ctx", &["--platform", &format!("{other},{host}")]);
    let index = built.manifest();
    lab.ok("store", &["gc"]);
    let listed = images(&lab);
    let row = listed.iter().find(|row| row["Repository"] == "<none>").unwrap();
    assert!(row["ID"] == json!(index) && listed.len() == 2, "{listed:?}");
    lab.ok("store", &["tag", &index[7..19], "late"]);
    assert_eq!(inspect(&lab, &["late"])["Id"], json!(index));
    assert_eq!(lab.ok("store", &["rmi", "late"]).out.lines().count(), 4);
    lab.build("store", "ctx", &["--platform", &format!("{other},{host}")]);
    lab.ok("store", &["gc", "--all"]);
    assert_eq!(lab.run("store", &["image", "inspect", &index]).code, 2);
}

#[test]
fn a_name_that_moves_leaves_the_index() {
    let Some(lab) = lab() else { return };
    let (host, other) = platforms();
    lab.build("store", "ctx", &["--platform", &format!("{other},{host}"), "-t", "app"]);
    let alone = lab.build("store", "ctx", &["-t", "app"]);
    let shown = inspect(&lab, &["app"]);
    assert_eq!(shown["Id"], json!(alone.image()));
    assert_eq!(shown["Manifests"], Value::Null);
    let rows: Vec<Value> = images(&lab);
    assert_eq!(rows.iter().filter(|row| row["Repository"] == "<none>").count(), 1, "the index: {rows:?}");
}

#[test]
fn damage_of_an_index_is_found() {
    let Some(lab) = lab() else { return };
    let (host, other) = platforms();
    let built = lab.build("store", "ctx", &["--platform", &format!("{other},{host}"), "-t", "app:1"]);
    let index = built.manifest();
    let foreign = event(&built)["platforms"][0]["manifest"].as_str().unwrap().to_owned();
    let path = |digest: &str| lab.path("store/blobs").join(digest.replace(':', "/"));
    let verify = |more: &[&str]| lab.run("store", &[&["store", "verify"], more].concat());
    for (file, wanted) in [
        (path(&index), index.clone()),
        (path(&foreign), foreign.clone()),
        (lab.path("store/indexes").join(&index[7..]), "indexes".into()),
    ] {
        let bytes = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        let ran = verify(&[]);
        assert!(ran.code == 1 && ran.out.contains(&wanted), "{wanted}: {} {}", ran.out, ran.err);
        fs::write(&file, bytes).unwrap();
        assert_eq!(verify(&["app:1"]).code, 0);
    }
    assert_eq!(verify(&[]).code, 0);
    // Without its record the name still has this machine's image.
    fs::write(lab.path("store/indexes").join(&index[7..]), "{}").unwrap();
    let ran = verify(&[]);
    assert!(ran.code == 1 && ran.out.contains("indexes"), "{}", ran.out);
    let shown = inspect(&lab, &["app:1"]);
    assert_eq!(format!("linux/{}", shown["Architecture"].as_str().unwrap()), host);
}

#[test]
fn all_platforms_are_saved_and_loaded() {
    let Some(lab) = lab() else { return };
    let (host, other) = platforms();
    let both = format!("{other},{host}");
    let layout = lab.path("layout");
    let spec = format!("type=oci,tar=false,dest={}", layout.display());
    let more = ["--annotation=index:a=b", "--provenance", "-o", &spec];
    let built = lab.build("store", "ctx", &[&["--platform", &both, "-t", "app:1"], &more[..]].concat());
    // What is saved is the store's own index, and loaded it is the same again.
    let saved = lab.path("saved.tar");
    lab.ok("store", &["save", "--all-platforms", "-o", saved.to_str().unwrap(), "app:1"]);
    let load = |store: &str, from: &std::path::Path| {
        lab.ok(store, &["load", "--all-platforms", from.to_str().unwrap()]).out
    };
    assert_eq!(load("second", &saved), "Loaded image: app:1\n");
    let of = |store: &str| {
        serde_json::from_str::<Value>(&lab.ok(store, &["image", "inspect", "app:1"]).out).unwrap()[0].clone()
    };
    assert_eq!(of("second")["Id"], json!(built.manifest()));
    assert_eq!(of("second")["Manifests"], of("store")["Manifests"]);
    // A copy has what is said of the images too, so what is saved of it is the same to the byte.
    let archive = format!("oci-archive:{}", saved.display());
    assert_eq!(lab.ok("copied", &["image", "copy", &archive, "app:1"]).out.trim(), built.manifest());
    lab.ok("copied", &["save", "--all-platforms", "-o", lab.path("again.tar").to_str().unwrap(), "app:1"]);
    assert!(fs::read(&saved).unwrap() == fs::read(lab.path("again.tar")).unwrap());
    assert_eq!(lab.ok("copied", &["attest", "ls", "app:1"]).out.lines().count(), 3);
    // A layout with packed layers and statements: the index is the one that it has.
    let top: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    assert_eq!(load("third", &layout), "Loaded image: app:1\n");
    assert_eq!(of("third")["Id"], top["manifests"][0]["digest"]);
    lab.ok("third", &["gc", "--all"]);
    assert_eq!(lab.run("third", &["store", "verify"]).code, 0);
    let manifests = of("third")["Manifests"].as_array().unwrap().clone();
    assert!(manifests.len() == 2 && manifests.iter().all(|one| one["Available"] == true), "{manifests:?}");
    // Without the option one of them is taken, as ever.
    lab.ok("fourth", &["load", "--platform", other, layout.to_str().unwrap()]);
    assert_eq!(
        (&of("fourth")["Manifests"], &of("fourth")["Architecture"]),
        (&Value::Null, &json!("riscv64"))
    );
    let ran = lab.run("fourth", &["save", "--all-platforms", "-o", "x.tar", "app:1"]);
    assert!(ran.code == 2 && ran.err.contains("is for one platform"), "{}", ran.err);
}
