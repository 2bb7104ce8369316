//! What `lith init` writes builds, and what was built runs: a tiny project of each kind, on Debian's packages. Those that
//! bring a compiler take a minute each and are run by hand: `cargo test --test kernel init:: -- --ignored`.

use std::path::Path;
use std::process::Command;

use crate::support::{Lab, kernel_lab, skip};

/// A lab with a project of the data and the image that is built from it.
fn built(case: &str) -> Option<Lab> {
    let lab = kernel_lab()?;
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/init").join(case);
    let mut copy = Command::new("cp");
    copy.arg("-r").arg(data).arg(lab.path(case));
    assert!(copy.status().unwrap().success());
    lab.ok("store", &["init", "--force", case]);
    let ran = lab.run("store", &["build", "-t", "hello", "-o", "type=local,dest=root", case]);
    if ran.code != 0 && ran.err.contains("packages of bookworm: ") {
        return skip(&format!("needs an archive of Debian's packages: {}", ran.err));
    }
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    Some(lab)
}

/// What a program prints that runs as 1000:1000 in the image's files.
fn run(lab: &Lab, argv: &[&str]) -> String {
    let root = lab.path("root");
    let mut chroot = Command::new("/usr/sbin/chroot");
    chroot.arg("--userspec=1000:1000").arg(root).args(argv).env_clear();
    let output = chroot.output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_project_of_python() {
    let Some(lab) = built("python") else { return };
    assert_eq!(run(&lab, &["/usr/bin/python3", "/app/main.py"]), "hello from python\n");
    // What the config says is what was looked at here.
    let shown = lab.ok("store", &["image", "inspect", "hello"]).out;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown[0]["Config"]["User"], "1000:1000");
    assert_eq!(shown[0]["Config"]["Entrypoint"], serde_json::json!(["python3", "main.py"]));
}

#[test]
fn a_project_of_node() {
    let Some(lab) = built("node") else { return };
    assert_eq!(run(&lab, &["/usr/bin/node", "/app/server.js"]), "hello from node\n");
}

#[test]
#[ignore = "needs a minute: brings a compiler"]
fn a_project_of_go() {
    let Some(lab) = built("go") else { return };
    assert_eq!(run(&lab, &["/usr/bin/hello"]), "hello from go\n");
}

#[test]
#[ignore = "needs a minute: brings a compiler"]
fn a_project_of_cargo() {
    let Some(lab) = built("cargo") else { return };
    assert_eq!(run(&lab, &["/usr/bin/hello"]), "hello from cargo\n");
}

#[test]
fn a_directory_of_no_kind() {
    let Some(lab) = built("unknown") else { return };
    assert!(run(&lab, &["/bin/busybox", "ls", "/app"]).contains("notes.txt"));
}
