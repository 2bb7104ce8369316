//! Packages that a lock pins, from an archive that a test makes.

use std::collections::BTreeMap;

use lith::debian::{Asking, DebianError};
use lith::diag::Source;
use lith::digest::BlobDigest;
use lith::engine::pins::{Pins, Unused, completed, lock};
use lith::engine::preview::preview;
use lith::engine::provenance::Detail;
use lith::engine::vendor::vendor;
use lith::engine::{self, BuildError, Options, prepare};
use lith::fetch::{Fetching, Vendored};
use lith::frontend::Language;
use lith::lock::{Lock, PackagePin};
use lith::store::{Store, Unpacking};

use crate::support::archive::{Deb, Mirror, deb};
use crate::support::packages::{Ends, options};
use crate::support::{Lab, children};

/// An archive, and a build that stands on some of its packages.
struct World {
    lab: Lab,
    mirror: Mirror,
    options: Options,
}

fn world(debs: &[Deb], names: &str) -> Option<World> {
    let lab = Lab::new();
    let mirror = Mirror::new(&lab)?;
    mirror.publish(debs, "");
    let options = Options { language: Language::Kdl, ..options(mirror.machine.clone()) };
    let mut world = World { lab, mirror, options };
    world.ask(names);
    Some(world)
}

fn three() -> [Deb; 3] {
    [
        deb("a", "1", "Depends: lib (>= 1)\n", &[("usr/bin/a", "a")]),
        deb("b", "1", "Depends: lib\n", &[("bin/b", "b")]),
        deb("lib", "1.5", "", &[("usr/lib/lib", "lib")]),
    ]
}

impl World {
    /// Makes the build file ask for these packages.
    fn ask(&mut self, names: &str) {
        let base = format!("base debian=\"sid\" {{ mirror \"{}\"; packages {names} }}", self.mirror.url());
        self.options.dockerfile =
            Source { name: "image.kdl".into(), text: format!("image \"x\" {{ {base} }}\n") };
    }

    fn store(&self, name: &str) -> Store {
        Store::open(&self.lab.path(name), Unpacking::Never).unwrap()
    }

    /// The manifest, and how each step ended.
    fn build(&self, store: &str) -> Result<(BlobDigest, Ends), BuildError> {
        let ends = Ends::default();
        let built = engine::build(&self.store(store), &self.options, &ends)?;
        Ok((built.targets[0].images[0].manifest, ends))
    }

    /// Pins what is missing, keeping what is pinned but for some names.
    fn lock(&mut self, renewed: &[&str]) {
        let file = "lith.lock".to_owned();
        let mut kept = self.options.pins.lock.clone();
        renewed.iter().for_each(|name| kept.forget(name));
        self.options.pins = Pins { lock: kept, file: file.clone(), locked: false };
        let written = lock(&self.store("store"), &self.options, Unused::Keep).unwrap();
        // As the next build will read it.
        let read = Lock::parse(&written.text()).unwrap();
        assert_eq!(read, written);
        self.options.pins = Pins { lock: read, file, locked: true };
    }

    /// The pinned versions by name.
    fn versions(&self) -> BTreeMap<&str, &str> {
        let pins = self.options.pins.lock.packages.iter();
        pins.map(|(name, pin)| (name.name.as_str(), pin.version.as_str())).collect()
    }

    fn pin(&mut self, name: &str) -> &mut PackagePin {
        let mut pins = self.options.pins.lock.packages.iter_mut();
        pins.find(|(key, _)| key.name == name).unwrap().1
    }

    /// What goes wrong with the packages of a build.
    #[track_caller]
    fn refused(&self, store: &str) -> DebianError {
        match self.build(store) {
            Err(BuildError::Packages { source, .. }) => *source,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("it was built"),
        }
    }
}

#[test]
fn a_lock_has_a_line_for_each_package() {
    let Some(mut world) = world(&three(), "\"a\"") else { return };
    let (first, _) = world.build("store").unwrap();
    world.options.pins.locked = true;
    match world.build("store").err().unwrap() {
        BuildError::File(found) => assert!(found[0].message.contains("packages of "), "{found:?}"),
        other => panic!("{other}"),
    }
    world.options.pins.locked = false;
    world.lock(&[]);
    let text = world.options.pins.lock.text();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("package ")).collect();
    assert_eq!(lines.len(), 2, "{text}");
    let url = format!("{}/pool/lib_1.5.deb", world.mirror.url());
    for part in ["package \"lib\" ", " version=\"1.5\" ", " index=\"sid/main\" ", &format!(" url=\"{url}\"")]
    {
        assert!(lines[1].contains(part), "{part}: {}", lines[1]);
    }

    // The archive goes on, and the pins do not.
    let mut newer = three();
    newer[2] = deb("lib", "1.6", "", &[("usr/lib/lib", "newer")]);
    world.mirror.publish(&newer, "");
    let asked = world.mirror.asked("/InRelease");
    for store in ["store", "other"] {
        assert_eq!(world.build(store).unwrap().0, first);
    }
    assert_eq!(world.mirror.asked("/InRelease"), asked, "no list is needed where everything is pinned");
    world.options.pins = Pins::default();
    assert_ne!(world.build("store").unwrap().0, first);
}

#[test]
fn another_pin_rebuilds_its_layer_and_the_database() {
    let debs = three();
    let Some(mut world) = world(&debs, "\"a\" \"b\"") else { return };
    world.lock(&[]);
    world.build("store").unwrap();
    let mut newer = debs;
    newer[0] = deb("a", "2", "Depends: lib\n", &[("usr/bin/a", "newer")]);
    newer[1] = deb("b", "2", "Depends: lib\n", &[("bin/b", "newer")]);
    world.mirror.publish(&newer, "");
    world.lock(&["a"]);
    assert_eq!(world.versions(), BTreeMap::from([("a", "2"), ("b", "1"), ("lib", "1.5")]));
    let (_, ends) = world.build("store").unwrap();
    assert_eq!(ends.with("hit"), ["PACKAGES sid b", "PACKAGES sid lib"]);
    assert_eq!(ends.with("built"), ["PACKAGES sid (database)", "PACKAGES sid a"]);
    world.lock(&["sid"]);
    assert_eq!(world.versions()["b"], "1", "that is not the whole name of the place");
    let place = format!("{} sid", world.mirror.url());
    world.lock(&[&place]);
    assert_eq!(world.versions()["b"], "2");
}

#[test]
fn what_is_pinned_stays_unless_something_new_needs_another() {
    let Some(mut world) = world(&three(), "\"a\"") else { return };
    world.lock(&[]);
    let mut newer: Vec<Deb> = three().into();
    newer[2] = deb("lib", "1.6", "", &[("usr/lib/lib", "newer")]);
    newer.push(deb("c", "1", "Depends: lib (>= 1.6)\n", &[("usr/bin/c", "c")]));
    world.mirror.publish(&newer, "");

    world.ask("\"a\" \"b\"");
    let error = world.refused("store").to_string();
    assert!(error.starts_with("lith.lock does not pin all of it") && error.contains(" b"), "{error}");
    world.lock(&[]);
    assert_eq!(world.versions(), BTreeMap::from([("a", "1"), ("b", "1"), ("lib", "1.5")]));
    world.build("store").unwrap();

    world.ask("\"a\" \"c\"");
    world.lock(&[]);
    let now = BTreeMap::from([("a", "1"), ("c", "1"), ("lib", "1.6")]);
    assert_eq!(world.versions(), now, "b is needed by nothing any more");
    world.build("store").unwrap();
}

#[test]
fn a_build_completes_a_lock() {
    let Some(mut world) = world(&three(), "\"a\"") else { return };
    let store = world.store("store");
    let complete = |world: &World| {
        let lowered = engine::lower(&store, &world.options).unwrap();
        completed(&store, &world.options, &lowered).unwrap()
    };
    world.options.pins.lock = complete(&world).unwrap();
    assert_eq!(world.versions(), BTreeMap::from([("a", "1"), ("lib", "1.5")]));
    assert_eq!(complete(&world), None);
    world.ask("\"lib\"");
    assert_eq!(complete(&world), None, "another build may need the rest");
    world.ask("\"b\"");
    world.options.pins.lock = complete(&world).unwrap();
    assert_eq!(world.versions().len(), 3);
}

#[test]
fn a_hand_in_a_lock_is_found_out() {
    let Some(mut world) = world(&three(), "\"a\"") else { return };
    world.lock(&[]);
    let good = world.options.pins.clone();
    world.pin("lib").sha256 = BlobDigest::of(b"another");
    let error = world.refused("one").to_string();
    for part in ["package lib 1.5: ", "/pool/lib_1.5.deb is ", "lith.lock pins it", "lith lock --update"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    world.options.pins = good.clone();
    world.pin("lib").version = "1.4".into();
    let error = world.refused("one").to_string();
    assert!(error.contains("package lib 1.4: its control file says Version: \"1.5\""), "{error}");
    world.options.pins = good.clone();
    world.pin("lib").url = format!("{}/pool/gone.deb", world.mirror.url());
    let error = world.refused("two").to_string();
    assert!(error.contains("package lib 1.5: ") && error.contains("404"), "{error}");
    world.options.pins = good;
    world.options.pins.lock.packages.retain(|name, _| name.name != "lib");
    let error = world.refused("one").to_string();
    assert!(error.contains("does not pin all of it: ") && error.contains("a needs lib (>= 1)"), "{error}");
}

#[test]
fn a_vendored_directory_has_what_is_pinned() {
    let Some(mut world) = world(&three(), "\"a\"") else { return };
    let is_hermetic = |world: &World| {
        let options = Options { provenance: Some(Detail::Min), ..world.options.clone() };
        let built = engine::build(&world.store("store"), &options, &Ends::default()).unwrap();
        let predicate = &built.targets[0].images[0].attestations[0].predicate;
        predicate["buildDefinition"]["internalParameters"]["hermetic"].as_bool().unwrap()
    };
    assert!(!is_hermetic(&world), "the archive may list other packages tomorrow");
    world.lock(&[]);
    assert!(is_hermetic(&world));
    let (first, _) = world.build("store").unwrap();
    let dir = world.lab.path("vendored");
    let counts = vendor(&world.store("store"), &world.options, &dir).unwrap();
    assert_eq!(counts.files, 2, "a and lib");
    world.mirror.vanish();
    world.options.fetch.vendored = Some(Vendored::open(&dir).unwrap());
    world.options.fetch.fetching = Fetching::Offline;
    assert_eq!(world.build("fresh").unwrap().0, first);
    for file in children(&dir.join("files")) {
        let bytes = std::fs::read(&file).unwrap();
        let mut damaged = bytes.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        std::fs::write(&file, damaged).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        let error = world.refused(&format!("hurt-{name}")).to_string();
        assert!(error.contains(name) && error.contains("is damaged"), "{error}");
        std::fs::write(&file, bytes).unwrap();
    }
}

#[test]
fn a_plan_asks_nobody() {
    let Some(mut world) = world(&three(), "\"a\"") else { return };
    world.lock(&[]);
    world.mirror.vanish();
    let statuses = |store: &str| {
        let store = world.store(store);
        let prepared = prepare(&store, &world.options, Asking::Never).unwrap();
        let stages = preview(&prepared).unwrap();
        stages.iter().map(|stage| stage.steps.len()).sum::<usize>()
    };
    assert_eq!(statuses("store"), 2, "one layer of files, one of the database");
    assert_eq!(statuses("other"), 0, "what is in packages that are not here is not known");
}
