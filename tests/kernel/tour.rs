//! The tour that docker's users know, each step of it: an image's layers found in the layer db by their chain ids, a
//! container's four directories, what it writes in `upper`, what a stop and a removal take away. And the page about it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::life::{World, mounts_of};
use crate::rootless::Ids;
use crate::support::{Ran, bless, children, has, kernel_lab, skip};

const DOCKERFILE: &str = "FROM base\nCOPY first /first\nRUN echo second > /second && mkdir /dir\nENV A=b\nCMD [\"sleep\", \"1000\"]\n";

#[test]
fn as_root() {
    tour(World::root());
}

#[test]
fn as_a_user_with_ids() {
    tour(World::user("tour", Ids::Range));
}

#[test]
fn as_a_user_without_ids() {
    tour(World::user("tour1", Ids::Single));
}

fn chain_ids(layers: &[String]) -> Vec<String> {
    let mut chains: Vec<String> = Vec::new();
    for layer in layers {
        chains.push(match chains.last() {
            None => layer.clone(),
            Some(parent) => {
                let hash = Sha256::digest(format!("{parent} {layer}"));
                format!("sha256:{}", hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
            }
        });
    }
    chains
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn tour(world: Option<World>) {
    let Some(world) = world else { return };
    let store = world.store();
    let lab = world.lab();
    lab.write("ctx/Dockerfile", DOCKERFILE);
    lab.write("ctx/first", "first\n");

    // Build.
    world.ok(&["build", "-t", "toured", lab.path("ctx").to_str().unwrap()]);
    // List intermediate images: one for each step.
    let all = world.ok(&["images", "-aq"]);
    let named = world.ok(&["images", "-q"]);
    assert!(all.lines().count() > named.lines().count(), "{all}\n--\n{named}");
    // Inspect RootFS.Layers.
    let image = world.inspect("toured");
    let layers = strings(&image["RootFS"]["Layers"]);
    assert_eq!(layers.len(), 3, "base, COPY, RUN");

    // Run a container.
    let mounts = mounts_of(&store);
    let id = world.ok(&["run", "-d", "--name", "guide", "toured"]);
    assert_eq!(mounts_of(&store), mounts, "nothing is mounted where others see it");

    // Each layer is in the layer db by its chain id; its cache-id leads to the unpacked directory.
    let holds = ["bin/busybox", "first", "second"];
    let mut unpacked: Vec<PathBuf> = Vec::new();
    for (at, chain) in chain_ids(&layers).iter().enumerate() {
        let entry = store.join("layerdb/sha256").join(chain.strip_prefix("sha256:").unwrap());
        assert_eq!(read(entry.join("diff")), layers[at]);
        match at {
            0 => assert!(!entry.join("parent").exists()),
            _ => assert_eq!(read(entry.join("parent")), chain_ids(&layers)[at - 1]),
        }
        let cache = store.join("overlay").join(read(entry.join("cache-id")));
        assert!(cache.join("diff").join(holds[at]).exists(), "{}", cache.display());
        let link = store.join("l").join(read(cache.join("link")));
        assert_eq!(fs::canonicalize(link).unwrap(), fs::canonicalize(cache.join("diff")).unwrap());
        unpacked.push(cache.join("diff"));
    }

    // LowerDir, UpperDir, MergedDir, WorkDir in inspect.
    let shown = world.inspect("guide");
    let data = |key: &str| shown["GraphDriver"]["Data"][key].as_str().unwrap().to_owned();
    let (upper, merged, work) = (data("UpperDir"), PathBuf::from(data("MergedDir")), data("WorkDir"));
    let lower: Vec<PathBuf> = data("LowerDir").split(':').map(PathBuf::from).collect();
    let mount_id = read(store.join("layerdb/mounts").join(&id).join("mount-id"));
    let init_id = read(store.join("layerdb/mounts").join(&id).join("init-id"));
    assert_eq!(read(store.join("layerdb/mounts").join(&id).join("parent")), chain_ids(&layers)[2]);
    let (own, init) = (store.join("overlay").join(&mount_id), store.join("overlay").join(&init_id));
    assert_eq!(init_id, format!("{mount_id}-init"));
    assert_eq!((Path::new(&upper), Path::new(&work)), (&*own.join("diff"), &*own.join("work")));
    let expected: Vec<PathBuf> = [init.join("diff")].into_iter().chain(unpacked.into_iter().rev()).collect();
    assert_eq!(lower, expected, "the -init layer, then the image's, topmost first");
    assert!(init.join("diff/etc/hosts").exists() && init.join("diff/etc/resolv.conf").exists());

    // A file written in the container appears in upper, and nothing else does.
    world.ok(&["exec", "guide", "sh", "-c", "echo written > /dir/written; rm /first"]);
    assert_eq!(read(Path::new(&upper).join("dir/written")), "written\n");
    let in_upper: Vec<String> = children(Path::new(&upper))
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(in_upper, ["dir", "first"], "mount points do not dirty it; a removed file is a whiteout");
    // merged shows all of it.
    assert_eq!(read(merged.join("dir/written")), "written\n");
    assert_eq!(read(merged.join("second")), "second\n");
    assert!(!merged.join("first").exists());
    assert_eq!(world.ok(&["ps", "--format", "{{.Names}} {{.Image}} {{.State}}"]), "guide toured running");

    // stop removes merged; the rest stays, to be started again.
    world.ok(&["stop", "-t", "0", "guide"]);
    assert!(fs::symlink_metadata(&merged).is_err());
    assert_eq!(read(Path::new(&upper).join("dir/written")), "written\n");
    world.ok(&["start", "guide"]);
    assert_eq!(read(merged.join("dir/written")), "written\n");
    world.ok(&["stop", "-t", "0", "guide"]);

    // gc keeps what a container needs.
    world.ok(&["gc", "--all"]);
    assert_eq!(world.ok(&["start", "guide"]), "guide");
    world.ok(&["stop", "-t", "0", "guide"]);

    // rm removes the container's layer and its -init layer; everything else stays.
    let before = world.traces();
    world.ok(&["rm", "guide"]);
    let short = |id: &str| lith::store::Store::short_link(id);
    let gone: Vec<PathBuf> = before.iter().filter(|path| !world.traces().contains(path)).cloned().collect();
    let belongs = |path: &PathBuf| {
        path.starts_with(&own)
            || path.starts_with(&init)
            || path.starts_with(store.join("containers").join(&id))
            || path.starts_with(store.join("layerdb/mounts").join(&id))
            || *path == store.join("container-names/guide")
            || *path == store.join("l").join(short(&mount_id))
            || *path == store.join("l").join(short(&init_id))
    };
    assert!(gone.iter().all(belongs), "{:?}", gone.iter().filter(|path| !belongs(path)).collect::<Vec<_>>());
    for path in [&own, &init, &store.join("containers").join(&id), &store.join("layerdb/mounts").join(&id)] {
        assert!(!path.exists(), "{} is left", path.display());
    }
    assert!(!store.join("l").join(short(&mount_id)).is_symlink());
    assert_eq!(strings(&world.inspect("toured")["RootFS"]["Layers"]), layers);
    assert_eq!(mounts_of(&store), mounts);
}

/// What differs from run to run and from machine to machine: ids, numbers, times, sizes, and how wide columns are.
fn without_chance(page: &str) -> Vec<String> {
    let rules = [
        (r"\b(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +[0-9]+ [0-9:]+", "DATE"),
        (r"Less than a second|[0-9]+ seconds?", "TIME"),
        (r"[0-9a-f]{12,}", "HEX"),
        (r"[0-9.]+ ?[kMGT]?i?B\b", "SIZE"),
        (r"[0-9]+", "N"),
        (r" +", " "),
    ];
    let rules = rules.map(|(from, to)| (regex_lite::Regex::new(from).unwrap(), to));
    let plain = |line: &str| {
        rules.iter().fold(line.to_owned(), |line, (from, to)| from.replace_all(&line, *to).into_owned())
    };
    page.lines().map(plain).collect()
}

/// `examples/tour.sh` ends at the first command that does not work; what it prints is the page.
#[test]
fn the_page_is_what_its_commands_print() {
    if kernel_lab().is_none() {
        return;
    }
    if !has("unshare") {
        return skip("needs unshare (package util-linux)").unwrap_or_default();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--"]).arg(root.join("examples/tour.sh"));
    command.env("LITH", env!("CARGO_BIN_EXE_lith")).env("IN_TOUR", "1");
    let ran = Ran::of(command.output().unwrap());
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    let page = root.join("examples/tour.md");
    if bless() {
        fs::write(&page, &ran.out).unwrap();
    }
    let (printed, written) = (without_chance(&ran.out), without_chance(&read(&page)));
    for (at, (printed, written)) in printed.iter().zip(&written).enumerate() {
        assert_eq!(
            printed,
            written,
            "line {} of examples/tour.md; make it again with examples/tour.sh",
            at + 1
        );
    }
    assert_eq!(printed.len(), written.len());
    assert!(printed.iter().filter(|line| line.starts_with("$ ")).count() > 40, "the tour has commands");
}
