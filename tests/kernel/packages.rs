//! Root file systems from the packages of the machine's own archive, run.

use std::path::Path;

use lith::debian::Machine;
use lith::engine::Options;

use crate::support::packages::{options, set};
use crate::support::{Lab, kernel_lab, skip};

/// Options for this machine, if its sources have bookworm. The clock stands where every release is valid.
fn bookworm() -> Option<Options> {
    let options = options(Machine::new(0));
    let sources = options.machine.sources(&set("bookworm", &[]), "amd64");
    let found = sources.is_ok() && Path::new("/usr/bin/gpgv").exists();
    if found { Some(options) } else { skip("needs apt sources of bookworm, and gpgv") }
}

/// Runs a command in the image `rootfs` of a store; gives what it printed.
#[track_caller]
fn run(lab: &Lab, store: &str, command: &[&str]) -> String {
    let command = serde_json::to_string(command).unwrap();
    lab.write("context/Dockerfile", format!("FROM rootfs\nRUN {command}\n"));
    let built = lab.build(store, "context", &["--no-cache"]);
    let outputs = built.events.iter().filter(|event| event["event"] == "output");
    outputs.map(|event| event["data"].as_str().unwrap_or_default()).collect()
}

#[test]
fn a_root_of_one_package_runs() {
    let (Some(lab), Some(options)) = (kernel_lab(), bookworm()) else { return };
    let wanted = set("bookworm", &["busybox-static"]);
    lab.packages("store", &wanted, &options).unwrap();
    let listed = run(&lab, "store", &["/bin/busybox", "ls", "-l", "/"]);
    assert!(listed.contains("bin -> usr/bin"), "{listed}");
}
