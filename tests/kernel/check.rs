//! `lith check`, labels of images, and keys in what steps write (spec/check.md, spec/world.md), on the real kernel.

use serde_json::{Value, json};

use crate::support::{Lab, Ran, kernel_lab};

fn lab() -> Option<Lab> {
    let lab = kernel_lab()?;
    lab.base("store", "base");
    Some(lab)
}

fn check(lab: &Lab, steps: &str, more: &[&str]) -> Ran {
    lab.write("ctx/Dockerfile", format!("FROM base\n{steps}"));
    let context = lab.path("ctx");
    lab.run("store", &[&["check", "-q"], more, &[context.to_str().unwrap()]].concat())
}

/// What a check says of each step: verdict and reasons.
fn found(lab: &Lab, steps: &str, more: &[&str]) -> Vec<(String, Value, Value)> {
    let ran = check(lab, steps, &[&["--format=json"], more].concat());
    let report: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{}{}", ran.out, ran.err));
    assert_eq!(report["version"], 1);
    assert_eq!(ran.code, i32::from(report["reproducible"] == false), "{}", ran.err);
    let steps = report["steps"].as_array().unwrap();
    let verdict = |step: &Value| step["verdict"].as_str().unwrap().to_owned();
    steps.iter().map(|step| (verdict(step), step["because"].clone(), step["by-itself"].clone())).collect()
}

/// Nine innocent steps and one that writes the time.
const GUILTY: &str = "RUN mkdir /app\n\
    RUN echo one > /app/one\n\
    COPY Dockerfile /app/\n\
    WORKDIR /app\n\
    RUN echo three > three && touch -d @5 three\n\
    RUN printf 'version 1\\nbuilt at %s\\n' \"$(date +%s)\" > /app/build-info\n\
    RUN ls /app > /listing\n\
    RUN cat build-info | wc -l > /count\n\
    RUN ln -s one two\n\
    RUN rm /app/one\n";

#[test]
fn one_guilty_step_of_ten_is_named_with_file_bytes_reason_and_class() {
    let Some(lab) = lab() else { return };
    let ran = check(&lab, GUILTY, &[]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    let context = lab.path("ctx/Dockerfile");
    for text in [
        &format!("stage0/6 {}:7  RUN printf", context.display()),
        "varies with: clock\n",
        // The digits that changed.
        "/app/build-info: bytes 2",
        "..29, timestamp\n",
        "SOURCE_DATE_EPOCH",
        "not reproducible: 9 of 10 steps came out the same once more\n",
    ] {
        assert!(ran.out.contains(text), "{text:?} is not in\n{}", ran.out);
    }
    assert_eq!(ran.out.matches("varies").count(), 1, "{}", ran.out);
    // And the same for machines.
    let steps = found(&lab, GUILTY, &[]);
    assert_eq!(steps.len(), 10);
    for (at, (verdict, because, by_itself)) in steps.into_iter().enumerate() {
        match at {
            5 => {
                assert_eq!((verdict.as_str(), because, by_itself), ("varies", json!(["clock"]), json!(false)))
            }
            _ => assert_eq!((verdict.as_str(), because), ("same", Value::Null)),
        }
    }
    // In a world where the clock stands nothing is left.
    let ran = check(&lab, GUILTY, &["--hermetic"]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (0, "reproducible: 10 of 10 steps came out the same once more\n")
    );
}

#[test]
fn each_difference_is_told_from_the_others() {
    let Some(lab) = lab() else { return };
    for (run, because) in [
        ("date +%s > /x", "clock"),
        ("cat /proc/sys/kernel/random/boot_id > /dev/null; head -c 4 /dev/urandom > /x", "randomness"),
        ("hostname > /x", "host-name"),
        ("date +%Z > /x", "time-zone"),
        ("echo ${LANG:-none} > /x", "locale"),
        ("nproc > /x", "processors"),
        ("mkdir /d; touch /d/a /d/b /d/c /d/d /d/e; find /d > /x", "listing"),
        ("echo $$ > /x", "processes"),
        ("grep stack /proc/self/maps | cut -d- -f1 > /x", "layout"),
    ] {
        let steps = found(&lab, &format!("RUN {run}\n"), &[]);
        assert_eq!(steps, [("varies".to_owned(), json!([because]), json!(false))], "{run}");
    }
    // The names of both machines are known: nothing else says what the word is.
    let ran = check(&lab, "RUN echo on $(hostname) again > /x\n", &["--vary", "host-name"]);
    let line = ran.out.lines().find(|line| line.trim_start().starts_with("/x: bytes 3.."));
    assert!(line.is_some_and(|line| line.ends_with(", host-name")), "{}", ran.out);
    // The umask is lith's own, and differs only on request.
    assert_eq!(found(&lab, "RUN touch /x\n", &[])[0].0, "same");
    let steps = found(&lab, "RUN touch /x\n", &["--vary", "umask,clock"]);
    assert_eq!(steps[0], ("varies".to_owned(), json!(["umask"]), json!(false)));
}

#[test]
fn what_no_world_holds_and_what_does_not_work_are_told_as_that() {
    let Some(lab) = lab() else { return };
    let itself =
        found(&lab, "RUN cat /proc/uptime > /dev/null; awk '{print $1}' /proc/self/schedstat > /x\n", &[]);
    assert_eq!((itself[0].0.as_str(), &itself[0].2), ("varies", &json!(true)));
    let ran = check(&lab, "RUN [ $(hostname) = buildkitsandbox ]\n", &[]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("fails with other host name: process"), "{}", ran.out);
    // What cannot be built cannot be checked; nor what is not there.
    let ran = check(&lab, "RUN false\n", &[]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    let ran = check(&lab, "RUN true\n", &["--step", "stage0/7"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("has no step stage0/7 that makes a layer; did you mean stage0/1?"),
        "{}",
        ran.err
    );
    let one = found(&lab, GUILTY, &["--step", "stage0/2", "--step", "stage0/6"]);
    assert_eq!(one.iter().map(|step| step.0.as_str()).collect::<Vec<_>>(), ["same", "varies"]);
}

fn label(lab: &Lab, run: &str, more: &[&str]) -> Value {
    lab.write("ctx/Dockerfile", format!("FROM base\nRUN true\nRUN {run}\n"));
    lab.build("store", "ctx", &[&["-t", "labelled"], more].concat());
    let shown = lab.ok("store", &["image", "inspect", "labelled"]).out;
    serde_json::from_str::<Value>(&shown).unwrap()[0]["Reproducibility"].clone()
}

#[test]
fn images_are_labelled_by_what_their_steps_do() {
    let Some(lab) = lab() else { return };
    assert_eq!(label(&lab, "date > /x", &["--hermetic"]), json!({ "verdict": "reproducible" }));
    let impure = label(&lab, "date > /x", &["--network=none"]);
    assert_eq!(impure, json!({ "verdict": "impure", "effect": "clock", "step": "stage0/1", "line": 2 }));
    // Seen when it was done, and known again at a hit.
    let draws = "head -c 4 /dev/urandom > /x";
    for _ in 0..2 {
        let conditional = label(&lab, draws, &["--hermetic"]);
        assert_eq!(conditional["verdict"], "conditional", "{conditional}");
        assert_eq!((&conditional["effect"], &conditional["line"]), (&json!("entropy"), &json!(3)));
    }
    assert_eq!(label(&lab, draws, &["--deterministic"]), json!({ "verdict": "reproducible" }));
}

#[test]
fn a_build_that_is_to_be_reproducible_fails_if_it_is_not() {
    let Some(lab) = lab() else { return };
    let context = lab.path("ctx");
    let build = |run: &str, more: &[&str]| {
        lab.write("ctx/Dockerfile", format!("FROM base\nRUN {run}\n"));
        let args = ["build", "-q", "--require", "reproducible", "-t", "wanted"];
        lab.run("store", &[&args, more, &[context.to_str().unwrap()]].concat())
    };
    let ran = build("echo ran; touch /x", &[]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("impure because of line 2: step stage0/1 can reach the network"), "{}", ran.err);
    assert!(ran.err.contains("--hermetic shuts it out"), "{}", ran.err);
    assert!(!ran.err.contains("ran\n"), "nothing ran: {}", ran.err);
    let ran = build("head -c 4 /dev/urandom > /x", &["--hermetic"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains("conditional on entropy: step stage0/1, line 2, draws randomness"),
        "{}",
        ran.err
    );
    assert_ne!(lab.run("store", &["image", "inspect", "wanted"]).code, 0, "it has no name");
    assert_eq!(build("head -c 4 /dev/urandom > /x", &["--deterministic"]).code, 0);
    assert_eq!(build("date > /x", &["--hermetic"]).code, 0);
}

const KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";

#[test]
fn keys_and_passwords_are_an_error_where_everybody_can_make_them_and_else_a_warning() {
    let Some(lab) = lab() else { return };
    let context = lab.path("ctx");
    let build = |run: &str, more: &[&str]| {
        lab.write("ctx/Dockerfile", format!("FROM base\nRUN {run}\n"));
        lab.run("store", &[&["build", "--progress=plain"], more, &[context.to_str().unwrap()]].concat())
    };
    let key = format!("mkdir /k && (echo '{KEY}'; head -c 60 /dev/urandom | base64) > /k/host_key");
    let ran = build(&key, &["--deterministic"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("k/host_key is a private key, written by the step"), "{}", ran.err);
    let ran = build(&key, &["--hermetic"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("k/host_key is a private key: whoever has the image has it"), "{}", ran.err);
    let password = "mkdir -p /etc && echo 'a:$y$j9T$salt$hash:1::::::' >> /etc/shadow";
    let ran = build(password, &["--deterministic"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("etc/shadow is the hash of a password"), "{}", ran.err);
    // A public key, and what only touches a file that was there, are neither.
    let ran = build(
        "echo '-----BEGIN PUBLIC KEY-----' > /pub; echo 1234567890123456789012345678901234567890 >> /pub",
        &["--deterministic"],
    );
    assert_eq!((ran.code, ran.err.contains("private")), (0, false), "{}", ran.err);
}
