//! Bases that a build pulls, and layers that stay where they are until something reads them.

use std::fs;

use crate::registries::{Kind, Server};
use crate::shared::{DOCKERFILE, STEPS, layers_here};
use crate::support::{Built, Lab, Ran, kernel_lab};

/// A lab with a registry that is asked in the clear and has a base of two layers.
struct Site {
    lab: Lab,
    server: Server,
    base: String,
}

impl Site {
    fn new() -> Option<Self> {
        let lab = kernel_lab()?;
        let server = Server::start(&lab, "registry", &Kind::default())?;
        let base = server.name("base/os:1");
        let host = base.split('/').next().unwrap().to_owned();
        lab.write("registries.kdl", format!("registry \"{host}\" {{ insecure; }}\n"));
        let site = Self { lab, server, base };
        site.push_base("one");
        site.lab.write("ctx/Dockerfile", DOCKERFILE.replace("FROM alpine", &format!("FROM {}", site.base)));
        site.lab.write("ctx/a", "some text\n");
        Some(site)
    }

    /// Puts another base under its name.
    fn push_base(&self, mark: &str) -> String {
        self.lab.base("maker", "plain");
        self.lab.write("base-ctx/Dockerfile", format!("FROM plain\nRUN echo {mark} > /mark\n"));
        self.lab.build("maker", "base-ctx", &["-t", "base"]);
        let pushed = self.ok("maker", &["push", "base", &self.base]).out;
        self.server.asked();
        pushed.trim().rsplit_once('@').unwrap().1.to_owned()
    }

    fn run(&self, store: &str, args: &[&str]) -> Ran {
        let said = self.lab.path("registries.kdl");
        Ran::of(self.lab.command(store, args).env("LITH_REGISTRIES", said).output().unwrap())
    }

    #[track_caller]
    fn ok(&self, store: &str, args: &[&str]) -> Ran {
        let ran = self.run(store, args);
        assert_eq!(ran.code, 0, "lith {args:?}\n{}\n{}", ran.out, ran.err);
        ran
    }

    #[track_caller]
    fn build(&self, store: &str, more: &[&str]) -> Built {
        let context = self.lab.path("ctx");
        let args = [&["build", "--progress=json"], more, &[context.to_str().unwrap()]].concat();
        Built::of(&self.ok(store, &args).out)
    }

    fn refused(&self, store: &str, more: &[&str], says: &str) {
        let ran = self.run(store, &[&["build", "-q"], more, &["ctx"]].concat());
        assert_ne!(ran.code, 0, "{more:?}");
        assert!(ran.err.contains(says), "{more:?}: {says:?} in {}", ran.err);
    }
}

/// Requests of a kind, by what their paths hold.
fn count(asked: &[String], method: &str, part: &str) -> usize {
    asked.iter().filter(|line| line.starts_with(method) && line.contains(part)).count()
}

#[test]
fn a_base_that_is_not_in_the_store_is_pulled_once() {
    let Some(site) = Site::new() else { return };
    let first = site.build("a", &[]);
    assert_eq!(first.with_status("built").len(), STEPS);
    assert_eq!(layers_here(&site.lab, "a", &first.image()), (7, 7), "what was built here is whole here");
    site.ok("a", &["store", "verify"]);
    let asked = site.server.asked();
    assert_eq!((count(&asked, "GET", "/manifests/"), count(&asked, "GET", "/blobs/")), (1, 3), "{asked:#?}");
    // It is known now, also after a sweep.
    site.ok("a", &["gc"]);
    assert_eq!(site.build("a", &[]).with_status("hit").len(), STEPS);
    assert_eq!(site.server.asked(), Vec::<String>::new());
    assert_eq!(site.ok("a", &["run", "--rm", &first.image(), "cat", "/mark"]).out, "one\n");
    // Whoever has pulled it by hand builds the same.
    site.ok("b", &["pull", &site.base]);
    assert_eq!(site.build("b", &["--offline"]).manifest(), first.manifest());
}

#[test]
fn names_are_asked_again_when_that_is_wanted_and_never_offline() {
    let Some(site) = Site::new() else { return };
    site.refused("a", &["--offline"], "is not in the store");
    site.refused("a", &["--pull=never"], "is not in the store");
    site.refused("a", &["--hermetic"], "a hermetic build pulls only what is known beforehand");
    assert_eq!(site.server.asked(), Vec::<String>::new());
    let first = site.build("a", &[]);
    site.push_base("two");
    assert_eq!(site.build("a", &[]).manifest(), first.manifest());
    let second = site.build("a", &["--pull"]);
    assert_ne!(second.manifest(), first.manifest());
    assert_eq!(site.ok("a", &["run", "--rm", &second.image(), "cat", "/mark"]).out, "two\n");
    assert_eq!(site.build("a", &[]).manifest(), second.manifest(), "it is what the name is now");
    // What is not there, and who is not.
    site.lab.write("ctx/Dockerfile", format!("FROM {}\n", site.server.name("base/os:9")));
    site.refused("a", &[], "cannot be pulled");
    site.lab.write("ctx/Dockerfile", "FROM buildr\n");
    site.lab.base("a", "builder");
    site.refused("a", &["--pull=never"], "did you mean builder:latest?");
}

#[test]
fn a_lock_says_which_base_is_pulled() {
    let Some(site) = Site::new() else { return };
    let context = site.lab.path("ctx");
    let context = context.to_str().unwrap();
    site.ok("a", &["lock", context]);
    let lock = fs::read_to_string(site.lab.path("ctx/lith.lock")).unwrap();
    assert!(lock.contains("base/os:1"), "{lock}");
    let first = site.build("b", &["--locked", "--hermetic"]);
    site.push_base("two");
    // Another machine, after the name has moved on.
    assert_eq!(site.build("c", &["--locked", "--hermetic"]).manifest(), first.manifest());
    let asked = site.server.asked();
    assert_eq!(count(&asked, "GET", "/manifests/sha256:"), count(&asked, "GET", "/manifests/"), "{asked:#?}");
    site.ok("a", &["lock", "--update", context]);
    assert_ne!(fs::read_to_string(site.lab.path("ctx/lith.lock")).unwrap(), lock);
    let moved = site.build("c", &["--locked"]);
    assert_eq!(site.ok("c", &["run", "--rm", &moved.image(), "cat", "/mark"]).out, "two\n");
    let Site { lab, server, base } = site;
    drop(server);
    let ran = lab.run("d", &["build", "-q", "--locked", context]);
    assert_eq!(ran.code, 2);
    for part in ["lith.lock", "cannot be pulled", &format!("--update={base}")] {
        assert!(ran.err.contains(part), "{part:?} in {}", ran.err);
    }
}

#[test]
fn an_index_gives_each_platform_its_base() {
    let Some(site) = Site::new() else { return };
    site.lab.write("multi/Dockerfile", "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /arch\n");
    site.lab.write("multi/amd64", "amd64\n");
    site.lab.write("multi/arm64", "arm64\n");
    let platforms = ["--platform", "linux/amd64,linux/arm64"];
    site.lab.build("maker", "multi", &[&platforms[..], &["-t", "multi"]].concat());
    let name = site.server.name("base/multi:1");
    site.ok("maker", &["push", "multi", &name]);
    site.lab.write("ctx/Dockerfile", format!("FROM {name}\nCOPY a /a\n"));
    let context = site.lab.path("ctx");
    let build = |store: &str, more: &[&str]| {
        let args = [&["build", "-q", "-t", "made"], more, &[context.to_str().unwrap()]].concat();
        site.ok(store, &args).out
    };
    let both = build("a", &platforms);
    site.server.asked();
    assert_eq!(build("a", &platforms), both);
    assert_eq!(site.server.asked(), Vec::<String>::new());
    let arch = |platform: &str| {
        let dest = site.lab.path(&format!("out-{platform}"));
        let spec = format!("type=local,dest={}", dest.display());
        build("a", &["--platform", platform, "-o", &spec]);
        fs::read_to_string(dest.join("arch")).unwrap()
    };
    assert_eq!((arch("linux/arm64"), arch("linux/amd64")), ("arm64\n".into(), "amd64\n".into()));
}

/// The second half of what a shared cache is for: nothing is moved that nothing reads.
#[test]
fn a_build_of_hits_with_an_empty_store_moves_no_layer_and_neither_does_its_push() {
    let Some(site) = Site::new() else { return };
    let cache = format!("type=registry,ref={}", site.server.name("team/cache"));
    let first = site.build("a", &["-t", "app", "--cache-to", &format!("{cache},mode=max")]);
    let pushed = site.ok("a", &["push", "app", &site.server.name("team/app:1")]).out;
    site.server.asked();
    let second = site.build("b", &["-t", "app", "--cache-from", &cache]);
    assert_eq!((second.with_status("hit").len(), second.manifest()), (STEPS, first.manifest()));
    assert_eq!(layers_here(&site.lab, "b", &second.image()), (0, 7));
    let asked = site.server.asked();
    // The base's manifest and config; a record for each step; the tables of what a COPY takes from.
    assert_eq!(count(&asked, "GET", "/team/cache/manifests/lith-"), STEPS, "{asked:#?}");
    assert_eq!(count(&asked, "GET", "/base/os/manifests/"), 1, "{asked:#?}");
    assert_eq!(count(&asked, "GET", "/base/os/blobs/"), 1, "the config: {asked:#?}");
    assert_eq!(count(&asked, "GET", "/team/cache/blobs/"), 3, "{asked:#?}");
    site.ok("b", &["store", "verify"]);
    site.ok("b", &["gc"]);
    // Under the same name all is there; under another it is mounted.
    let again = site.ok("b", &["push", "app", &site.server.name("team/app:2")]).out;
    let other = site.ok("b", &["push", "app", &site.server.name("other/app:1")]).out;
    for out in [again, other] {
        assert_eq!(out.trim().rsplit_once('@').unwrap().1, pushed.trim().rsplit_once('@').unwrap().1);
    }
    let asked = site.server.asked();
    assert_eq!(count(&asked, "GET", "/blobs/"), 0, "{asked:#?}");
    let layers = count(&asked, "POST", "?");
    assert_eq!(layers, 7, "mounted: {asked:#?}");
    assert_eq!(layers_here(&site.lab, "b", &second.image()), (0, 7));
    // Who wants to run it has it.
    assert_eq!(site.ok("b", &["run", "--rm", "app", "cat", "/w/b"]).out, "some text\n");
    site.ok("b", &["store", "verify"]);
    site.ok("c", &["pull", &site.server.name("other/app:1")]);
}

#[test]
fn what_was_promised_and_is_gone_is_made_here_or_said() {
    let Some(site) = Site::new() else { return };
    let from = ["--cache-from", "type=local,src=cache"];
    let first = site.build("a", &["--cache-to", "type=local,dest=cache,mode=max"]);
    let second = site.build("b", &from);
    assert_eq!(second.manifest(), first.manifest());
    fs::rename(site.lab.path("cache"), site.lab.path("gone")).unwrap();
    // Somebody who wants the files, and cannot make them.
    let ran = site.run("b", &["save", &second.image(), "-o", "out.tar"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("/cache") && ran.err.contains("cannot be had"), "{}", ran.err);
    // It is not a thing of the place for good.
    fs::rename(site.lab.path("gone"), site.lab.path("cache")).unwrap();
    site.ok("b", &["save", &second.image(), "-o", "out.tar"]);
    // A build makes it itself.
    site.build("c", &from);
    fs::remove_dir_all(site.lab.path("cache")).unwrap();
    let ran = site.ok("c", &["build", "--progress=json", "-o", "type=tar,dest=c.tar", "ctx"]);
    let made = Built::of(&ran.out);
    assert_eq!(made.manifest(), first.manifest());
    assert!(ran.out.contains("it is made here"), "{}", ran.out);
    site.ok("c", &["store", "verify"]);
}

#[test]
fn layers_that_are_not_packed_are_promised_as_well() {
    let Some(site) = Site::new() else { return };
    site.ok("maker", &["push", "--force-compression", "--compression", "uncompressed", "base", &site.base]);
    let place = "type=local,dest=cache,mode=max,compression=uncompressed";
    let first = site.build("a", &["--cache-to", place]);
    let second = site.build("b", &["--cache-from", "type=local,src=cache"]);
    assert_eq!(second.manifest(), first.manifest());
    assert_eq!(
        (second.with_status("hit").len(), layers_here(&site.lab, "b", &second.image())),
        (STEPS, (0, 7))
    );
    assert_eq!(site.ok("b", &["run", "--rm", &second.image(), "cat", "/w/b"]).out, "some text\n");
    site.ok("b", &["store", "verify"]);
}

#[test]
fn a_place_that_is_away_for_a_while_costs_no_promise() {
    let Some(site) = Site::new() else { return };
    let cache = format!("type=registry,ref={}", site.server.name("team/cache"));
    let first = site.build("a", &["--cache-to", &format!("{cache},mode=max")]);
    let from = ["--cache-from", cache.as_str()];
    site.build("b", &from);
    site.server.asked();
    // Offline nothing is brought: what an action made is made here, what an image has cannot be.
    let offline = site.lab.run("b", &["build", "-q", "--offline", "-o", "type=tar,dest=b.tar", "ctx"]);
    assert_eq!(offline.code, 1, "{}", offline.err);
    assert!(offline.err.contains("no other machine is asked now"), "{}", offline.err);
    // A plan asks nobody, and says of no step what it would take a table to know.
    let plan = site.ok("b", &["plan", "--format=json", "ctx"]);
    let plan: serde_json::Value = serde_json::from_str(&plan.out).unwrap();
    let steps = plan.as_array().unwrap().iter().flat_map(|stage| stage["steps"].as_array().unwrap());
    let of = |text: &str| {
        let step = steps.clone().find(|step| step["text"].as_str().unwrap().starts_with(text));
        step.unwrap()["status"].as_str().unwrap().to_owned()
    };
    assert_eq!((of("RUN head"), of("COPY a")), ("hit".into(), "unknown".into()));
    assert_eq!(site.server.asked(), Vec::<String>::new());
    // All of it is there as before.
    let ran = site.ok("b", &["run", "--rm", &first.image(), "cat", "/w/b", "/mark"]);
    assert_eq!(ran.out, "some text\none\n");
    site.ok("b", &["store", "verify"]);
    // A digest of an index or of an image is found again without asking.
    site.lab.write("ctx/Dockerfile", format!("FROM {}\nCOPY a /b\n", site.base));
    site.build("c", &[]);
    site.server.asked();
    site.build("c", &["--offline"]);
    assert_eq!(site.server.asked(), Vec::<String>::new());
}

#[test]
fn what_cannot_be_had_is_not_written_elsewhere_and_spoils_no_build() {
    let Some(site) = Site::new() else { return };
    let first = site.build("a", &["--cache-to", "type=local,dest=cache,mode=max"]);
    let from = ["--cache-from", "type=local,src=cache"];
    site.build("b", &from);
    fs::remove_dir_all(site.lab.path("cache")).unwrap();
    let lazily = [
        "build",
        "--cache-from",
        "type=local,src=none",
        "--cache-to",
        "type=local,dest=other,mode=max",
        "ctx",
    ];
    let ran = site.ok("b", &lazily);
    assert!(ran.err.contains("not all is written"), "{}", ran.err);
    assert_eq!(site.build("b", &[]).manifest(), first.manifest());
}
