//! Root file systems from the packages of an archive that a test makes.

use std::cmp::Ordering;
use std::io::Write as _;
use std::process::Command;

use lith::debian::version::Version;
use lith::digest::DiffId;
use lith::engine::preview::Status;
use lith::layer::{Codec, Compressor, Node};
use lith::recipe::PackageSet;
use lith::store::{Store, Unpacking};

use crate::support::archive::{Deb, Mirror, deb, tar_of};
use crate::support::packages::{Ends, options, set};
use crate::support::watch::Notes;
use crate::support::{Lab, has, skip};

struct World {
    lab: Lab,
    mirror: Mirror,
}

fn world() -> Option<World> {
    let lab = Lab::new();
    let mirror = Mirror::new(&lab)?;
    Some(World { lab, mirror })
}

impl World {
    fn set(&self, names: &[&str]) -> PackageSet {
        PackageSet { mirror: Some(self.mirror.url()), ..set("sid", names) }
    }

    fn build(&self, store: &str, names: &[&str]) -> Result<Ends, String> {
        let options = options(self.mirror.machine.clone());
        let built = self.lab.packages(store, &self.set(names), &options);
        built.map(|(_, ends)| ends).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn fails(&self, store: &str, names: &[&str], reason: &str) {
        match self.build(store, names) {
            Ok(_) => panic!("it was built, where {reason:?} was expected"),
            Err(error) => assert!(error.contains(reason), "{error}\nexpected: {reason}"),
        }
    }

    /// The paths of each layer, bottom first; links with their targets.
    fn layers(&self, store: &str) -> Vec<Vec<String>> {
        let diffs = self.lab.diff_ids(store);
        let store = Store::open(&self.lab.path(store), Unpacking::Never).unwrap();
        let shown = |diff: &String| {
            let toc = store.toc(diff.parse::<DiffId>().unwrap()).unwrap();
            let entries = toc.entries().iter().map(|entry| match &entry.node {
                Node::Symlink(to) => format!("{} -> {}", entry.path, String::from_utf8_lossy(to)),
                _ => entry.path.to_string(),
            });
            entries.filter(|path| !path.starts_with("/var")).collect()
        };
        diffs.iter().map(shown).collect()
    }

    /// The text of a file in the image of a store.
    fn read(&self, store: &str, path: &str) -> String {
        let out = self.lab.path("out");
        let dest = format!("type=local,dest={}", out.display());
        self.lab.write("context/Dockerfile", "FROM rootfs\n");
        self.lab.build(store, "context", &["--output", &dest]);
        std::fs::read_to_string(out.join(path)).unwrap()
    }
}

fn three() -> [Deb; 3] {
    [
        deb("a", "1", "Depends: lib (>= 1)\n", &[("usr/bin/a", "a")]),
        deb("b", "1", "Depends: lib\n", &[("bin/b", "b"), ("lib64/ld", "ld")]),
        deb("lib", "1.5", "", &[("usr/lib/lib", "lib"), ("etc/lib.conf", "c")]),
    ]
}

#[test]
fn each_group_is_a_layer() {
    let Some(world) = world() else { return };
    world.mirror.publish(&three(), "");
    let ends = world.build("store", &["a", "b"]).unwrap();
    assert_eq!(
        ends.with("built"),
        ["PACKAGES sid (database)", "PACKAGES sid a", "PACKAGES sid b", "PACKAGES sid lib"]
    );
    let layers = world.layers("store");
    let first = [
        "/bin -> usr/bin",
        "/etc",
        "/etc/lib.conf",
        "/lib -> usr/lib",
        "/sbin -> usr/sbin",
        "/usr",
        "/usr/bin",
        "/usr/lib",
        "/usr/lib/lib",
        "/usr/sbin",
    ];
    assert_eq!(layers[0], first);
    assert_eq!(layers[1], ["/usr", "/usr/bin", "/usr/bin/a"]);
    assert_eq!(
        layers[2],
        ["/lib64 -> usr/lib64", "/usr", "/usr/bin", "/usr/bin/b", "/usr/lib64", "/usr/lib64/ld"]
    );
    assert_eq!(layers[3].len(), 0, "the database is below /var");
    let history = world.lab.ok("store", &["history", "rootfs"]).out;
    assert!(history.contains("PACKAGES sid a") && history.contains("PACKAGES sid (database)"), "{history}");
    let status = world.read("store", "var/lib/dpkg/status");
    assert!(status.starts_with("Package: a\nStatus: install ok installed\nVersion: 1\n"), "{status}");
    assert_eq!(status.matches("Package: ").count(), 3);
    assert_eq!(world.read("store", "var/lib/dpkg/info/b.list"), "/.\n/bin\n/bin/b\n/lib64\n/lib64/ld\n");
}

#[test]
fn a_second_build_is_all_hits_without_a_network() {
    let Some(world) = world() else { return };
    world.mirror.publish(&three(), "");
    let options = options(world.mirror.machine.clone());
    let plan = |store: &str| world.lab.planned(store, &world.set(&["a"]), &options);
    assert!(plan("store")[0].steps.is_empty(), "nobody knows which packages these are");
    assert!(plan("store")[0].base.starts_with("PACKAGES sid a"));
    assert_eq!(world.mirror.asked(""), 0, "a plan asks no server");
    world.build("store", &["a"]).unwrap();
    let diffs = world.lab.diff_ids("store");
    assert!(
        plan("store")[0].steps.iter().all(|step| step.status == Status::Hit && step.pinned == Some(true))
    );
    world.mirror.vanish();
    let ends = world.build("store", &["a"]).unwrap();
    assert_eq!((ends.with("hit").len(), ends.with("built").len()), (2, 0));
    world.fails("store", &["b"], "/debian/pool/b_1.deb");
    world.mirror.publish(&three(), "");
    world.build("other", &["a"]).unwrap();
    assert_eq!(world.lab.diff_ids("other"), diffs, "another store makes the same");
}

#[test]
fn a_new_version_rebuilds_its_group_alone() {
    let Some(world) = world() else { return };
    let mut debs = three();
    world.mirror.publish(&debs, "");
    world.build("store", &["a", "b"]).unwrap();
    debs[0].version = "2".into();
    debs[0].files[0].1 = "other".into();
    world.mirror.publish(&debs, "");
    let ends = world.build("store", &["a", "b"]).unwrap();
    assert_eq!(ends.with("hit"), ["PACKAGES sid b", "PACKAGES sid lib"]);
    debs[2].version = "1.6".into();
    debs[2].files[0].1 = "other".into();
    world.mirror.publish(&debs, "");
    let ends = world.build("store", &["a", "b"]).unwrap();
    assert_eq!(ends.with("hit"), ["PACKAGES sid a", "PACKAGES sid b"], "what stands on it is as it was");
}

#[test]
fn who_signed_and_when_is_checked() {
    let Some(world) = world() else { return };
    let stranger = world.mirror.key("stranger");
    world.mirror.publish_by(&stranger, &three(), "");
    world.fails("store", &["a"], "the signature is not good");
    world.mirror.publish(&three(), "");
    let signed = String::from_utf8(world.mirror.get("dists/sid/InRelease")).unwrap();
    world.mirror.put("dists/sid/InRelease", signed.replace("sid", "sie").into_bytes());
    world.fails("store", &["a"], "the signature is not good");
    // What stands around the signed text is not read.
    let around = format!("Suite: sid\nValid-Until: never\n\n{signed}\nSHA256:\n");
    world.mirror.put("dists/sid/InRelease", around.into_bytes());
    world.build("around", &["a"]).unwrap();
    world.mirror.publish(&three(), "Valid-Until: Tue, 14 Nov 2023 22:13:19 UTC\n");
    world.fails("store", &["a"], "was valid until Tue, 14 Nov 2023 22:13:19 UTC");
    world.mirror.publish(&three(), "Valid-Until: Tue, 14 Nov 2023 22:13:20 UTC\n");
    world.build("store", &["a"]).unwrap();
    let signed = world.mirror.get("dists/sid/InRelease");
    world.mirror.put("dists/trixie/InRelease", signed);
    let other = PackageSet { suite: "trixie".into(), ..world.set(&["a"]) };
    let error = world.lab.packages("store", &other, &options(world.mirror.machine.clone())).err().unwrap();
    assert!(error.to_string().contains("is of suite unstable (sid), not trixie"), "{error}");
}

#[test]
fn bytes_are_those_that_were_signed_for() {
    let Some(world) = world() else { return };
    world.mirror.publish(&three(), "");
    let lib = world.mirror.get("pool/lib_1.5.deb");
    let mut rotten = lib.clone();
    rotten[200] ^= 1;
    world.mirror.put("pool/lib_1.5.deb", rotten);
    world.fails("store", &["lib"], "as it is pinned");
    world.mirror.put("pool/lib_1.5.deb", lib[..lib.len() - 100].to_vec());
    world.fails("store", &["lib"], "as it is pinned");
    world.mirror.put("pool/lib_1.5.deb", [&lib[..], &[0; 9999]].concat());
    world.fails("store", &["lib"], "is larger than the limit");
    world.mirror.put("pool/lib_1.5.deb", lib);
    world.build("store", &["lib"]).unwrap();
    let path = |end: &str| format!("dists/sid/main/binary-{}/{end}", host());
    let index = world.mirror.get(&path("Packages"));
    world.mirror.put(&path("Packages"), index.to_ascii_uppercase());
    world.fails("other", &["lib"], "as it is pinned");
}

fn host() -> &'static str {
    if lith::platform::Platform::host().architecture == "arm64" { "arm64" } else { "amd64" }
}

#[test]
fn a_package_is_what_the_index_says() {
    let Some(world) = world() else { return };
    let scripts = vec![("control".to_owned(), "Package: other\nVersion: 1\nArchitecture: all\n".to_owned())];
    world.mirror.publish(&[Deb { scripts, ..deb("odd", "1", "", &[]) }], "");
    world.fails("store", &["odd"], "its control file says Package: \"other\", not \"odd\"");
}

#[test]
fn a_package_may_be_packed() {
    let Some(world) = world() else { return };
    let packed = |name: &str, codec: Codec| {
        let mut compressor = Compressor::new(codec, Vec::new()).unwrap();
        compressor.write_all(&tar_of(&[(format!("usr/{name}"), name.to_owned())])).unwrap();
        Deb { data: Some(compressor.finish().unwrap()), ..deb(name, "1", "", &[]) }
    };
    world.mirror.publish(&[packed("gzip", Codec::Gzip), packed("zstd", Codec::Zstd)], "");
    world.build("store", &["gzip", "zstd"]).unwrap();
    assert_eq!(
        (world.read("store", "usr/gzip"), world.read("store", "usr/zstd")),
        ("gzip".into(), "zstd".into())
    );
}

#[test]
fn hostile_packages_are_refused() {
    let Some(world) = world() else { return };
    let odd = |name: &str, data: Vec<u8>| Deb { data: Some(data), ..deb(name, "1", "", &[]) };
    let escaping = raw_tar(b"../../etc/passwd");
    let whiteout = raw_tar(b"usr/.wh.bin");
    world.mirror.publish(
        &[odd("escape", escaping), odd("whiteout", whiteout), odd("noise", b"no tar at all".to_vec())],
        "",
    );
    world.fails("store", &["escape"], "package escape 1");
    world.fails("store", &["whiteout"], "a name that means a deletion");
    world.fails("store", &["noise"], "package noise 1");
}

/// A tar of one empty file, whatever its name.
fn raw_tar(name: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_mode(0o644);
    header.set_size(0);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    [header.as_bytes().as_slice(), &[0; 1024]].concat()
}

#[test]
fn a_file_is_of_one_package() {
    let Some(world) = world() else { return };
    let file = [("usr/bin/x", "")];
    let with = |name: &str, more: &str, text: &str| deb(name, "1", more, &[(file[0].0, text)]);
    world.mirror.publish(
        &[
            with("a", "Depends: z\n", "a"),
            with("b", "", "b"),
            with("heir", "Replaces: b (<< 2), z\n", "heir"),
            with("z", "", "z"),
            deb("alias", "1", "", &[("bin/x", "->/usr/bin/x"), ("usr/bin/x", "alias")]),
            deb("dir", "1", "", &[("usr/bin/x/", ""), ("usr/bin/x/y", "")]),
        ],
        "",
    );
    world.fails("store", &["a"], "/usr/bin/x is in two packages, a and z");
    world.fails("store", &["b", "z"], "/usr/bin/x is in two packages, b and z");
    world.build("store", &["heir", "b"]).unwrap();
    assert_eq!(world.read("store", "usr/bin/x"), "heir", "in a layer below");
    world.build("store", &["b", "heir"]).unwrap();
    assert_eq!(world.read("store", "usr/bin/x"), "heir", "in a layer above");
    world.build("store", &["alias"]).unwrap();
    assert_eq!(world.read("store", "usr/bin/x"), "alias");
    world.fails("store", &["b", "dir"], "/usr/bin/x");
}

#[test]
fn what_does_not_fit_is_said_before_anything_is_fetched() {
    let Some(world) = world() else { return };
    world
        .mirror
        .publish(&[deb("a", "1", "Depends: b\n", &[]), deb("b", "1", "Depends: gone (>= 2)\n", &[])], "");
    world.fails("store", &["a"], "b needs gone (>= 2), which no package of the archive is");
    world.fails("store", &["aa"], "the archive has no package aa");
    assert_eq!(world.mirror.asked(".deb"), 0);
    let options = options(world.mirror.machine.clone());
    let own = set("sid", &["a"]);
    let error = world.lab.packages("store", &own, &options).err().unwrap().to_string();
    assert!(error.contains("has no source for suite sid with components main"), "{error}");
}

#[test]
fn versions_compare_as_dpkg_compares_them() {
    if !has("dpkg") {
        skip::<()>("needs dpkg");
        return;
    }
    let signs = ["0", "1", "9", "10", "a", "Z", "~", "+", ".", "-", "rc", "deb12u1"];
    let mut seed = 7_u64;
    let mut next = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    let mut text = || -> String {
        let epoch = ["", "", "0:", "1:"][next(4)];
        let tail: String = (0..next(6)).map(|_| signs[next(signs.len())]).collect();
        format!("{epoch}{}{tail}", next(3))
    };
    let mut compared = 0;
    while compared < 400 {
        let (a, b) = (text(), text());
        let (Ok(own), Ok(other)) = (a.parse::<Version>(), b.parse::<Version>()) else { continue };
        compared += 1;
        let operator = match own.cmp(&other) {
            Ordering::Less => "lt",
            Ordering::Equal => "eq",
            Ordering::Greater => "gt",
        };
        let ran = Command::new("dpkg").args(["--compare-versions", &a, operator, &b]).status().unwrap();
        assert!(ran.success(), "{a} {operator} {b}");
    }
}

#[test]
fn the_machines_own_sources() {
    let Some(world) = world() else { return };
    std::fs::remove_file(world.lab.path("apt/trusted.gpg.d/test.gpg")).unwrap();
    world.mirror.publish(&three(), "");
    let build = |signed: &str| {
        let url = world.mirror.url();
        let text = format!("Types: deb\nURIs: {url}\nSuites: sid\nComponents: main contrib\n{signed}");
        world.lab.write("apt/sources.list.d/test.sources", text);
        let options = options(world.mirror.machine.clone());
        let built = world.lab.packages("store", &set("sid", &["a"]), &options);
        built.map(drop).map_err(|error| error.to_string())
    };
    let unsigned = build("").unwrap_err();
    assert!(unsigned.contains("there is no keyring to check that"), "{unsigned}");
    let block = world.mirror.armored();
    let lines: Vec<String> =
        block.lines().map(|line| format!(" {}", if line.is_empty() { "." } else { line })).collect();
    build(&format!("Signed-By:\n{}\n", lines.join("\n"))).unwrap();
    let keyring = world.lab.write("apt/keyrings/test.asc", block);
    build(&format!("Signed-By: {}\n", keyring.display())).unwrap();
}

/// Whether a list that is past its date is taken is for the owner of the machine to say.
#[test]
fn an_expired_list_is_taken_where_the_owner_wants_that() {
    if !has("apt-config") {
        return skip("needs apt").unwrap_or_default();
    }
    let Some(world) = world() else { return };
    let date = "Tue, 14 Nov 2023 22:13:19 UTC";
    world.mirror.publish(&three(), &format!("Label: Ours\nDate: {date}\nValid-Until: {date}\n"));
    let url = world.mirror.url();
    let build = |store: &str, set: &PackageSet| {
        let mut options = options(world.mirror.machine.clone());
        let notes = Notes::watching(&mut options.fetch);
        let built = world.lab.packages(store, set, &options).map(drop);
        let warned: Vec<String> = notes
            .all()
            .into_iter()
            .filter_map(|note| note.strip_prefix("warning: ").map(str::to_owned))
            .collect();
        built.map(|()| warned).map_err(|error| error.to_string())
    };
    let from_mirror = world.set(&["a"]);
    let refused = build("store", &from_mirror).unwrap_err();
    let expected = format!("{url}/dists/sid/InRelease was valid until {date}");
    assert!(refused.contains(&expected), "{refused}");
    assert_eq!(world.lab.ok("store", &["images", "-a", "-q"]).out, "", "nothing came of it");

    // apt's configuration counts for every source, also for one that the build file names.
    let conf = |text: &str| world.lab.write("apt/apt.conf", text);
    conf("Acquire::Check-Valid-Until \"false\";\n");
    let warned = build("conf", &from_mirror).unwrap();
    assert_eq!(warned, [format!("{expected}; apt's configuration says not to check that")]);
    conf("Acquire::Min-ValidTime::Other \"3600\";\n");
    assert!(build("store", &from_mirror).is_err());
    conf("Acquire::Min-ValidTime::Ours \"3600\";\n");
    assert_eq!(build("longer", &from_mirror).unwrap(), Vec::<String>::new(), "it is valid for an hour more");

    // A source of the machine says it for itself.
    let block = world.mirror.armored();
    let keyring = world.lab.write("apt/keyrings/test.asc", block);
    let source = |more: &str| {
        let text = format!(
            "Types: deb\nURIs: {url}\nSuites: sid\nComponents: main\nSigned-By: {}\n{more}",
            keyring.display()
        );
        world.lab.write("apt/sources.list.d/test.sources", text);
    };
    conf("");
    source("Check-Valid-Until: no\n");
    let own = set("sid", &["a"]);
    assert_eq!(build("own", &own).unwrap(), [format!("{expected}; its source says not to check that")]);
    conf("Acquire::Check-Valid-Until \"false\";\n");
    source("Check-Valid-Until: yes\n");
    assert!(build("store", &own).unwrap_err().contains(&expected));
    source("Check-Valid-Until: yes\nValid-Until-Min: 60\n");
    assert_eq!(build("least", &own).unwrap(), Vec::<String>::new());
}

/// A set of packages is one task; what is chosen meanwhile is told too.
#[test]
fn what_comes_of_a_set_is_told_as_one() {
    let Some(world) = world() else { return };
    world.mirror.publish(&three(), "");
    let mut options = options(world.mirror.machine.clone());
    let notes = Notes::watching(&mut options.fetch);
    world.lab.packages("store", &world.set(&["a"]), &options).map_err(|error| error.to_string()).unwrap();
    let told = notes.all();
    let has = |wanted: &str| told.iter().any(|line| line.contains(wanted));
    let expected = ["Fetch 2 packages", " 2 of 2", "Choose packages of sid", "/dists/sid/InRelease"];
    assert!(expected.iter().all(|wanted| has(wanted)), "{told:?}");
    assert!(!has("/pool/"), "each package alone is no news: {told:?}");
    let whole = told.iter().rfind(|line| line.contains("2 of 2")).unwrap();
    let (came, total) = whole.split(' ').next().unwrap().split_once('/').unwrap();
    assert_eq!(came, total);
}

#[test]
fn a_snapshot_does_not_change() {
    let Some(world) = world() else { return };
    world.mirror.publish(&three(), "Valid-Until: Tue, 14 Nov 2000 22:13:19 UTC\n");
    let moment = "20001101T000000Z";
    let index = format!("dists/sid/main/binary-{}/Packages", host());
    for path in ["dists/sid/InRelease", &index, "pool/a_1.deb", "pool/lib_1.5.deb"] {
        world.mirror.put(&format!("{moment}/{path}"), world.mirror.get(path));
    }
    world.fails("store", &["a"], "was valid until");
    let snapshot = PackageSet { snapshot: Some(moment.into()), ..world.set(&["a"]) };
    let options = options(world.mirror.machine.clone());
    for _ in 0..2 {
        world.lab.packages("store", &snapshot, &options).map_err(|error| error.to_string()).unwrap();
    }
    assert_eq!(world.mirror.asked(&format!("{moment}/dists/sid/InRelease")), 1);
}
