//! Many small Dockerfiles, built by lith, by docker's two builders and by buildah: trees and configs are equal, but for
//! what `tests/data/differential/known.txt` lists. A difference that is not listed fails, and so does a listed one that
//! is gone. `LITH_CASES=PREFIX` builds only the cases whose name begins so.

mod builder;
pub mod case;
mod image;
mod known;
mod tree;

use std::fmt::Write as _;

use builder::{Built, Peer};
use case::Case;
use known::{Known, Line};

use crate::peers::tools::{Docker, Unmount, buildah, lab_with};
use crate::support::Lab;

const PROGRAMS: [&str; 8] = ["buildah", "dockerd", "runc", "setcap", "setfattr", "xz", "bzip2", "zstd"];

/// The images that cases stand on, in every builder's store from the same bytes.
fn bases(lab: &Lab, docker: &Docker<'_>) {
    for name in case::bases(lab) {
        let tar = format!("{name}-image.tar");
        lab.ok("store", &["save", "-o", &tar, name]);
        docker.ok(&["load", "-i", &tar]);
        buildah(lab, &["pull", &format!("docker-archive:{tar}")]);
    }
}

/// Compares one case; gives what is not on the list.
fn compare(case: &Case, built: &Built, known: &mut Known) -> Vec<(Line, String)> {
    let mut unknown = Vec::new();
    let line = |peer: Peer, field: &str| Line { case: case.name.clone(), peer, field: field.to_owned() };
    for (peer, outcome) in &built.peers {
        match (&built.lith, outcome) {
            (Ok(ours), Ok(theirs)) => {
                for difference in ours.differences(theirs) {
                    let line = line(*peer, &difference.field);
                    if !known.meets(&line) {
                        unknown.push((line, difference.values));
                    }
                }
            }
            (Ok(_), Err(message)) => {
                if !known.meets_failure(&case.name, *peer, message) {
                    unknown.push((line(*peer, "fails"), last_lines(message)));
                }
            }
            (Err(_), Ok(_)) => {
                let line = line(*peer, "builds");
                if !known.meets(&line) {
                    unknown.push((line, String::new()));
                }
            }
            (Err(_), Err(_)) => {}
        }
    }
    unknown
}

/// The end of what a builder said.
fn last_lines(message: &str) -> String {
    let lines: Vec<&str> = message.trim_end().lines().collect();
    lines[lines.len().saturating_sub(4)..].join("\n    #   ")
}

/// Whether lith itself did what the case says.
fn as_expected(case: &Case, built: &Built) -> Result<(), String> {
    match (&case.error, &built.lith) {
        (None, Ok(_)) => Ok(()),
        (Some(text), Err(message)) if message.contains(text) => Ok(()),
        (Some(text), Ok(_)) => {
            Err(format!("{}: lith built it; expected an error with {text:?}\n", case.name))
        }
        (_, Err(message)) => Err(format!("{}: {message}\n", case.name)),
    }
}

#[test]
fn trees_and_configs_are_those_of_docker_and_buildah() {
    let Some(lab) = lab_with(&PROGRAMS) else { return };
    let _unmount = Unmount(&lab);
    let docker = Docker::start(&lab);
    bases(&lab, &docker);
    #[expect(clippy::disallowed_methods, reason = "a switch for whoever works on one case")]
    let prefix = std::env::var("LITH_CASES").unwrap_or_default();
    let mut cases = case::all(&lab);
    cases.retain(|case| case.name.starts_with(&prefix));
    let all = builder::build_all(&lab, &docker, &cases);

    let (mut known, mut problems, mut unknown) = (Known::read(), String::new(), Vec::new());
    for (case, built) in cases.iter().zip(&all) {
        problems.extend(as_expected(case, built).err());
        unknown.extend(compare(case, built, &mut known));
    }
    if !unknown.is_empty() {
        let _ = write!(problems, "not in known.txt:\n{}", known::listed(unknown));
    }
    let gone = known.rest().into_iter().filter(|line| line.case.starts_with(&prefix));
    let gone = known::listed(gone.map(|line| (line, String::new())));
    if !gone.is_empty() {
        let _ = write!(problems, "in known.txt, but no longer so:\n{gone}");
    }
    assert!(problems.is_empty(), "{problems}");
}

/// Every reason of the list is explained.
#[test]
fn reasons_are_explained() {
    let spec = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("spec/dockerfile.md");
    let spec = std::fs::read_to_string(spec).unwrap();
    for reason in Known::read().reasons {
        assert!(spec.contains(&format!("`{reason}`")), "spec/dockerfile.md does not explain {reason}");
    }
}
