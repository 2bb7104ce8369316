//! KDL that is written from Dockerfiles: its images are theirs, digest by digest. And what only KDL can say.

use std::fmt::Write as _;
use std::fs;

use crate::differential::case::{self, Case};
use crate::support::{Built, Lab, has, kernel_lab, skip};

/// Builds with these arguments; gives the manifest's digest.
fn manifest(lab: &Lab, args: &[&str]) -> Result<String, String> {
    let ran = lab.run("store", &[&["build", "--progress=json"], args].concat());
    if ran.code == 0 { Ok(Built::of(&ran.out).manifest()) } else { Err(ran.err) }
}

/// The digests of a case's image and of its conversion's.
fn both(lab: &Lab, case: &Case) -> Result<(String, String), String> {
    let context = case.context.to_str().unwrap();
    let options: Vec<&str> = case.options.iter().map(String::as_str).collect();
    let without = |flag: &str| -> Vec<&str> {
        let pairs = options.chunks(2).filter(|pair| pair[0] != flag);
        pairs.flatten().copied().collect()
    };
    let dockerfile = manifest(lab, &[options.as_slice(), &[context]].concat())?;
    let converted = lab.run("store", &[&["convert"], without("--label").as_slice(), &[context]].concat());
    if converted.code != 0 {
        return Err(converted.err);
    }
    let file = lab.write(&format!("converted/{}.kdl", case.name), &converted.out);
    let rules = case.context.join("Dockerfile.dockerignore");
    if rules.exists() {
        fs::copy(rules, format!("{}.dockerignore", file.display())).unwrap();
    }
    let labels: Vec<&str> =
        options.chunks(2).filter(|pair| pair[0] == "--label").flatten().copied().collect();
    // A Dockerfile's context keeps its modes.
    let args = [labels.as_slice(), &["--context-modes=kept", "-f", file.to_str().unwrap(), context]].concat();
    let kdl = manifest(lab, &args).map_err(|error| format!("{}\n{error}", converted.out))?;
    Ok((dockerfile, kdl))
}

#[test]
fn conversions_have_the_manifests_of_their_dockerfiles() {
    let Some(lab) = kernel_lab() else { return };
    for program in ["setcap", "setfattr", "xz", "bzip2", "zstd"] {
        if !has(program) {
            let _ = skip::<()>(&format!("needs {program}"));
            return;
        }
    }
    case::bases(&lab);
    let cases = case::all(&lab);
    let (mut count, mut wrong) = (0, String::new());
    for case in cases.iter().filter(|case| case.error.is_none()) {
        match both(&lab, case) {
            Ok((dockerfile, kdl)) if dockerfile == kdl => count += 1,
            Ok((dockerfile, kdl)) => drop(writeln!(wrong, "{}: {dockerfile} is not {kdl}", case.name)),
            Err(error) => drop(writeln!(wrong, "{}: {error}", case.name)),
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count > 100, "only {count} cases");
}

#[test]
fn a_run_has_no_network_unless_it_says_so() {
    let Some(lab) = kernel_lab() else { return };
    lab.base("store", "alpine");
    let run = |more: &str| {
        format!("image \"x\" {{\n base \"alpine\"\n run \"ls /sys/class/net | wc -w > /count\"{more}\n}}\n")
    };
    lab.write("closed/image.kdl", run(""));
    lab.write("open/image.kdl", run(" network=#true"));
    let closed = lab.build("store", "closed", &[]).manifest();
    assert_eq!(
        lab.build("store", "open", &["--network", "none"]).manifest(),
        closed,
        "the build's options decide"
    );
    let plan = lab.ok("store", &["plan", "--format", "json", lab.path("open").to_str().unwrap()]).out;
    assert!(plan.contains("\"miss\""), "with the host's network it is another step: {plan}");
}

#[test]
fn a_script_stops_where_it_fails() {
    let Some(lab) = kernel_lab() else { return };
    lab.base("store", "alpine");
    lab.write(
        "c/image.kdl",
        "image \"x\" {\n base \"alpine\"\n run \"\"\"\n  false\n  touch /never\n  \"\"\"\n}\n",
    );
    let ran = lab.run("store", &["build", lab.path("c").to_str().unwrap()]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    lab.write("d/image.kdl", "image \"x\" {\n base \"alpine\"\n run \"echo $nowhere\"\n}\n");
    let ran = lab.run("store", &["build", lab.path("d").to_str().unwrap()]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
}

#[test]
fn parameters_imports_and_several_images() {
    let Some(lab) = kernel_lab() else { return };
    lab.base("store", "alpine");
    lab.write(
        "c/lib/common.kdl",
        "param \"word\" default=\"hello\"\nstage \"made\" {\n base \"alpine\"\n run \"echo ${word} > /word\"\n}\n",
    );
    lab.write(
        "c/image.kdl",
        "import \"lib/common.kdl\"\nimage \"one\" {\n base \"scratch\"\n copy \"/word\" from=\"made\" to=\"/one\"\n}\n\
         image \"two\" {\n base \"scratch\"\n copy \"/word\" from=\"made\" to=\"/two\"\n}\n",
    );
    let out = lab.path("out");
    let dest = |name: &str| format!("type=local,target={name},dest={}", out.join(name).display());
    lab.ok(
        "store",
        &[
            "build",
            "--target",
            "one,two",
            "--build-arg",
            "word=bye",
            "-o",
            &dest("one"),
            "-o",
            &dest("two"),
            lab.path("c").to_str().unwrap(),
        ],
    );
    for name in ["one", "two"] {
        assert_eq!(fs::read_to_string(out.join(name).join(name)).unwrap(), "bye\n");
    }
}
