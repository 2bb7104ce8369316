//! The cases of `tests/data/dockerignore` through docker's BuildKit: what its `COPY . /` takes is what is written down.

use std::collections::BTreeSet;
use std::fs::File;

use lith::path::ImagePath;

use crate::peers::tools::{Docker, lab_with};
use crate::support::Lab;
use crate::support::dockerignore::{Case, cases};

/// Every so many cases are built: a build takes a fifth of a second.
const STEP: usize = 2;

#[test]
fn buildkit_takes_what_the_cases_say() {
    let Some(lab) = lab_with(&["dockerd", "runc"]) else { return };
    let docker = Docker::start(&lab);
    lab.write("Dockerfile", "FROM scratch\nCOPY . /\n");
    let same = cases().into_iter().filter(|case| case.differs.is_none());
    let built: Vec<Case> = same.step_by(STEP).collect();
    assert!(built.len() >= 100, "only {} cases", built.len());
    let wrong: Vec<String> = built.iter().filter_map(|case| run(&lab, &docker, case).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Builds one case into an archive of its files.
fn run(lab: &Lab, docker: &Docker<'_>, case: &Case) -> Result<(), String> {
    let (context, archive) = (lab.path("cases").join(&case.name), lab.path("out.tar"));
    case.plant(&context);
    std::fs::write(context.join(".dockerignore"), &case.rules).unwrap();
    let output = format!("type=tar,dest={}", archive.display());
    let file = lab.path("Dockerfile");
    let ran = docker
        .try_build(true, &["-q", "-f", file.to_str().unwrap(), "-o", &output, context.to_str().unwrap()]);
    match (ran.code, &case.error) {
        (0, None) => case.check(&names(&archive)),
        (0, Some(error)) => Err(format!("{}: docker takes it; lith says {error}", case.name)),
        (_, Some(_)) => Ok(()),
        (_, None) => Err(format!("{}: {}", case.name, ran.err)),
    }
}

/// The paths of an archive, the rules themselves left out.
fn names(archive: &std::path::Path) -> BTreeSet<ImagePath> {
    let mut archive = tar::Archive::new(File::open(archive).unwrap());
    let names = archive.entries().unwrap().map(|entry| {
        let name = entry.unwrap().path_bytes().into_owned();
        ImagePath::parse(name.strip_suffix(b"/").unwrap_or(&name)).unwrap()
    });
    names.filter(|name| !name.is_root() && name.as_bytes() != b".dockerignore").collect()
}
