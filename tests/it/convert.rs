//! Which file is built, in which language; `lith convert`.

use crate::support::{Lab, Ran};

const KDL: &str = "image \"from-kdl\" {\n    base \"scratch\"\n    copy \"a\" to=\"/b\"\n}\n";

fn lab() -> Lab {
    let lab = Lab::new();
    lab.write("ctx/a", "a");
    lab
}

#[track_caller]
fn refused(ran: &Ran, text: &str) {
    assert_eq!(ran.code, 2, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains(text), "{}", ran.err);
}

#[test]
fn a_dockerfile_goes_before_a_kdl_file() {
    let lab = lab();
    lab.write("ctx/image.kdl", KDL);
    assert!(lab.ok("store", &["plan", "ctx"]).out.starts_with("from-kdl from scratch"));
    lab.write("ctx/Dockerfile", "FROM scratch AS from-dockerfile\nCOPY a b\n");
    assert!(lab.ok("store", &["plan", "ctx"]).out.starts_with("from-dockerfile from scratch"));
    assert!(
        lab.ok("store", &["plan", "-f", "ctx/image.kdl", "ctx"]).out.starts_with("from-kdl from scratch")
    );
}

#[test]
fn a_tar_may_hold_a_kdl_file_and_what_it_imports() {
    let lab = lab();
    lab.write("ctx/build/image.kdl", format!("import \"lib/p.kdl\"\n{KDL}"));
    lab.write("ctx/build/lib/p.kdl", "param \"p\" default=\"x\"\n");
    let tar = lab.path("ctx.tar");
    let mut pack = std::process::Command::new("tar");
    pack.args(["-C", "ctx", "-cf"]).arg(&tar).arg(".").current_dir(lab.path(""));
    assert!(pack.status().unwrap().success());
    let ran = lab.ok("store", &["plan", "-f", "build/image.kdl", "ctx.tar"]);
    assert!(ran.out.starts_with("from-kdl from scratch"), "{}", ran.out);
}

#[test]
fn an_import_does_not_lead_out_of_its_directory() {
    let lab = lab();
    lab.write("secret.kdl", "param \"p\"\n");
    lab.write("ctx/image.kdl", format!("import \"link.kdl\"\nimport \"dir\"\n{KDL}"));
    std::os::unix::fs::symlink("../secret.kdl", lab.path("ctx/link.kdl")).unwrap();
    std::fs::create_dir(lab.path("ctx/dir")).unwrap();
    let ran = lab.run("store", &["plan", "ctx"]);
    refused(&ran, "image.kdl:1:1: error: import link.kdl: it leads out of the directory of the first file");
    refused(&ran, "image.kdl:2:1: error: import dir: ");
}

#[test]
fn the_linter_refuses_kdl_and_packages_are_planned() {
    let lab = lab();
    lab.write("ctx/image.kdl", KDL);
    refused(
        &lab.run("store", &["lint", "ctx"]),
        "ctx/image.kdl is KDL; the linter and --call know Dockerfiles alone",
    );
    refused(&lab.run("store", &["build", "--call", "targets", "ctx"]), "is KDL");
    refused(&lab.run("store", &["convert", "ctx"]), "ctx/image.kdl is KDL already");
    lab.write("ctx/image.kdl", "image \"x\" {\n    base debian=\"bookworm\" { packages \"hello\" }\n}\n");
    let ran = lab.ok("store", &["plan", "ctx"]);
    assert!(ran.out.contains("x from PACKAGES bookworm hello"), "{}", ran.out);
    lab.write("ctx/image.kdl", "image \"x\" {\n    base debian=\"no-such\" { packages \"hello\" }\n}\n");
    let ran = lab.run("store", &["build", "ctx"]);
    assert!(ran.code != 0 && ran.err.contains("ctx/image.kdl:2: packages of no-such: "), "{}", ran.err);
    lab.write("ctx/image.kdl", "image \"x\" {\n    base \"nowhere\"\n}\n");
    refused(
        &lab.run("store", &["plan", "ctx"]),
        "ctx/image.kdl:2: base image nowhere: image nowhere:latest is not in the store",
    );
}

#[test]
fn a_file_without_a_name_says_its_language_itself() {
    let lab = lab();
    lab.write("ctx/lib/p.kdl", "param \"p\" default=\"x\"\n");
    let plan = |args: &[&str], input: &str| lab.fed("store", &[&["plan"], args].concat(), input.as_bytes());
    let kdl = format!("// first\nimport \"lib/p.kdl\"\n{KDL}");
    // What it imports is in the context.
    let ran = plan(&["-f", "-", "ctx"], &kdl);
    assert!(ran.out.starts_with("from-kdl from scratch"), "{}", ran.err);
    let ran = plan(&["-f", "-", "ctx"], "FROM scratch AS image\nCOPY a b\n");
    assert!(ran.out.starts_with("image from scratch"), "{}", ran.err);
    // One that comes alone has nothing beside it.
    assert!(plan(&["-"], "image \"alone\" { base \"scratch\" }").out.starts_with("alone from scratch"));
    refused(&plan(&["-"], &kdl), "image.kdl:2:1: error: import lib/p.kdl: the build file came alone");

    refused(&plan(&["-f", "-", "ctx"], "image \"x\" {"), "image.kdl:1:");
    refused(&plan(&["-f", "-", "ctx"], "RUN x"), "Dockerfile:1:");
    refused(
        &plan(&["-f", "-", "--file-format=kdl", "ctx"], "RUN x"),
        "image.kdl:1:1: error: 'RUN' is nothing",
    );
    refused(&plan(&["-f", "-", "--file-format=dockerfile", "ctx"], "image x"), "Dockerfile:1:1: error: ");
    refused(&lab.fed("store", &["lint", "-"], KDL.as_bytes()), "image.kdl is KDL; the linter");
    refused(&lab.fed("store", &["convert", "-f", "-", "ctx"], KDL.as_bytes()), "image.kdl is KDL already");
}

#[test]
fn an_option_says_more_than_the_name() {
    let lab = lab();
    lab.write("ctx/build.txt", KDL);
    lab.write("ctx/odd.kdl", "FROM scratch AS odd\nCOPY a b\n");
    let plan = |format: &str, file: &str| lab.run("store", &["plan", format, "-f", file, "ctx"]);
    assert!(plan("--file-format=kdl", "ctx/build.txt").out.starts_with("from-kdl from scratch"));
    assert!(plan("--file-format=dockerfile", "ctx/odd.kdl").out.starts_with("odd from scratch"));
    refused(&plan("--file-format=dockerfile", "ctx/build.txt"), "ctx/build.txt:1:1: error: ");
    let ran = lab.run("store", &["plan", "-f", "ctx/build.txt", "ctx"]);
    refused(&ran, "ctx/build.txt:1:1: error: ");
}

#[test]
fn a_dockerfile_is_written_as_kdl() {
    let lab = lab();
    lab.write(
        "ctx/Dockerfile",
        "ARG V=1\nFROM scratch AS made\nARG V\nCOPY --chmod=755 a /b\nRUN --mount=type=cache,target=/c <<E\nset -e\nmake \"$V\" ${V}\nE\n\
         FROM scratch\nCOPY --from=made /b /c/\nENV A=1 B=\"x y\"\nCMD [\"b\"]\nONBUILD RUN x\n",
    );
    let ran = lab.ok("store", &["convert", "ctx"]);
    let wanted = r#"stage "made" {
    base "scratch"
    history "ARG V=1"
    copy "a" to="/b" mode="0755" {
        history "COPY --chmod=755 a /b # buildkit"
    }
    run "/bin/sh" "-c" """
        set -e
        make \"$V\" $${V}

        """ network=#true {
        mount "cache" at="/c"
        env V="1"
    }
}

image "stage1" {
    base "scratch"
    copy "/b" from="made" to="/c/"
    env A="1" B="x y"
    cmd "b"
    onbuild "RUN x"
}
"#;
    assert_eq!(ran.out, wanted);
}
