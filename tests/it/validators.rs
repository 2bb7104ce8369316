//! Bills of materials and provenance, held against programs of those who wrote the formats.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::provenance::Layout;
use crate::support::git::Repos;
use crate::support::server::reply;
use crate::support::{Lab, skip};

/// The Python that has the validators, as `scripts/packages.sh` installs them.
fn python() -> Option<&'static Path> {
    let python = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/target/validators/bin/python"));
    if python.exists() {
        Some(python)
    } else {
        skip("needs the validators: . scripts/packages.sh && install_validators")
    }
}

/// Documents by the names of their files, each with its kind.
struct Documents<'a> {
    lab: &'a Lab,
    all: Vec<(&'static str, String)>,
}

impl Documents<'_> {
    fn add(&mut self, kind: &'static str, name: &str, document: &Value) {
        let ending = if kind == "spdx" { "spdx.json" } else { "json" };
        let path = self.lab.write(&format!("documents/{name}.{ending}"), document.to_string());
        self.all.push((kind, path.display().to_string()));
    }

    /// What the validators say: one line for each thing that is wrong, the file's name in front.
    fn judged(&self, python: &Path) -> (bool, String) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/validators/validate.py");
        let mut command = Command::new(python);
        command.arg("-I").arg(script).args(self.all.iter().flat_map(|(kind, path)| [*kind, path.as_str()]));
        let ran = command.output().unwrap();
        assert!(ran.stderr.is_empty() || !ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let said = [ran.stdout, ran.stderr].concat();
        (ran.status.success(), String::from_utf8_lossy(&said).into_owned())
    }
}

/// An image with packages of two distributions, files of its own, a file by URL and a repository.
fn statements(lab: &Lab) -> Vec<(&'static str, String, Value)> {
    let repos = Repos::new();
    repos.init("app");
    repos.write("app/a.txt", "a", 0o644);
    repos.commit("app");
    let server = repos.serve(|request| (request.path == "/f").then(|| reply("200 OK", &[], b"f")));
    lab.base("store", "base");
    let status = "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nSource: glibc\nVersion: 2.36-9+deb12u1\n\n\
                  Package: libstdc++6\nStatus: install ok unpacked\nArchitecture: amd64\nSource: gcc-12 (12.2.0-14)\nVersion: 1:12.2~0-14\n";
    lab.write("ctx/root/var/lib/dpkg/status", status);
    lab.write("ctx/root/lib/apk/db/installed", "P:musl\nV:1.2.4-r2\nA:x86_64\no:musl\n");
    lab.write("ctx/root/usr/lib/os-release", "ID=debian\nVERSION_ID=\"12\"\n");
    let (url, repo) = (server.url("/f"), server.url("/app.git"));
    lab.write(
        "ctx/Dockerfile",
        format!("FROM base AS tools\nFROM scratch\nCOPY root /\nCOPY --from=tools / /tools\nADD {url} /f\nADD {repo}#main /app\n"),
    );
    let more = ["--label", "a=b", "--build-arg", "A=1", "--epoch=86400"];
    let mut all = Vec::new();
    for (flag, kind) in [
        ("--sbom=spdx", "spdx"),
        ("--sbom=cyclonedx", "cyclonedx"),
        ("--provenance=min", "provenance"),
        ("--provenance=max", "provenance"),
    ] {
        let said = Layout::of(lab, "store", &[&more[..], &[flag]].concat()).statements();
        let statement = said.into_iter().next().unwrap();
        let document = if kind == "provenance" { statement } else { statement["predicate"].clone() };
        all.push((kind, flag.trim_start_matches('-').replace('=', "-"), document));
    }
    all
}

#[test]
fn others_find_nothing_wrong_and_would() {
    let Some(python) = python() else { return };
    let lab = Lab::new();
    let statements = statements(&lab);
    let mut sound = Documents { lab: &lab, all: vec![] };
    for (kind, name, document) in &statements {
        sound.add(kind, name, document);
    }
    assert_eq!(sound.judged(python), (true, String::new()));

    // Each of them broken in each of these ways, all at once; every one has to be told.
    let breaks: [(&str, &str, &str, Value); 12] = [
        ("spdx", "version", "/spdxVersion", json!("SPDX-9.9")),
        ("spdx", "id", "/packages/1/SPDXID", json!("SPDXRef-package 1")),
        ("spdx", "relation", "/relationships/1/relatedSpdxElement", json!("SPDXRef-nobody")),
        ("spdx", "time", "/creationInfo/created", json!("yesterday")),
        ("spdx", "locator", "/packages/1/externalRefs/0/referenceLocator", json!("no url")),
        ("cyclonedx", "kind", "/components/0/type", json!("nonsense")),
        ("cyclonedx", "field", "/components/0/nonsense", json!(1)),
        ("cyclonedx", "time", "/metadata/timestamp", json!("yesterday")),
        ("provenance", "type", "/_type", json!("https://in-toto.io/Statement/v9")),
        ("provenance", "subject", "/subject", json!([])),
        ("provenance", "field", "/predicate/buildDefinition/nonsense", json!(1)),
        ("provenance", "builder", "/predicate/runDetails/builder/id", json!("")),
    ];
    let mut broken = Documents { lab: &lab, all: vec![] };
    for (kind, name, pointer, value) in &breaks {
        for (number, (_, _, document)) in statements.iter().filter(|(own, _, _)| own == kind).enumerate() {
            let mut document = document.clone();
            let (holder, field) = pointer.rsplit_once('/').unwrap();
            let holder = document.pointer_mut(holder).unwrap_or_else(|| panic!("no {pointer} in {name}"));
            holder.as_object_mut().unwrap().insert((*field).to_owned(), value.clone());
            broken.add(kind, &format!("{kind}-{name}-{number}"), &document);
        }
    }
    let (passed, said) = broken.judged(python);
    assert!(!passed);
    for (_, path) in &broken.all {
        assert!(said.contains(&format!("{path}: ")), "{path} passes: {said}");
    }
}
