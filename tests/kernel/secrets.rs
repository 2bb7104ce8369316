//! Secrets: a value that steps may use is found nowhere else, whatever happens.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sha2::{Digest as _, Sha256};

use crate::support::{Lab, Ran, kernel_lab, skip};

/// Long and odd enough to be found by chance nowhere.
pub const CANARY: &str = "canary-7Qx!zWv0-of-the-mine";

fn lab() -> Option<Lab> {
    let lab = kernel_lab()?;
    lab.base("store", "alpine");
    lab.write("token", CANARY);
    Some(lab)
}

fn file(lab: &Lab, body: &str) {
    lab.write("ctx/Dockerfile", format!("FROM alpine\n{body}\n"));
}

fn build(lab: &Lab, more: &[&str]) -> Ran {
    let (context, secret) = (lab.path("ctx"), format!("id=token,src={}", lab.path("token").display()));
    let mut command = lab.command("store", &["build", "--progress=json", "--secret", &secret]);
    command.args(more).arg(context);
    Ran::of(command.output().unwrap())
}

/// Every form in which the value could lie around.
fn forms() -> Vec<(&'static str, Vec<u8>)> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes();
    let with_line = format!("{CANARY}\n");
    let mut forms = vec![
        ("raw", CANARY.as_bytes().to_vec()),
        ("reversed", CANARY.bytes().rev().collect()),
        ("hex", hex(CANARY.as_bytes())),
        ("base64", b"Y2FuYXJ5LTdReCF6V3YwLW9mLXRoZS1taW5l".to_vec()),
    ];
    for text in [CANARY, &with_line] {
        let sha = Sha256::digest(text.as_bytes());
        forms.push(("sha256", hex(&sha)));
        forms.push(("sha256 raw", sha.to_vec()));
        forms.push(("blake3", blake3::hash(text.as_bytes()).to_hex().as_bytes().to_vec()));
        forms.push(("blake3 raw", blake3::hash(text.as_bytes()).as_bytes().to_vec()));
    }
    forms
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[track_caller]
pub fn clean(what: &str, bytes: &[u8]) {
    for (form, needle) in forms() {
        assert!(
            !holds(bytes, &needle),
            "{what} holds the {form} secret:\n{}",
            String::from_utf8_lossy(bytes)
        );
    }
}

/// No file of the store, by name or by content, holds the value in any form.
#[track_caller]
pub fn store_is_clean(dir: &Path) {
    #[expect(clippy::disallowed_methods, reason = "a test looks everywhere; order does not matter")]
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        clean("a name", path.as_os_str().as_encoded_bytes());
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            store_is_clean(&path);
        } else if meta.is_file() {
            clean(&path.display().to_string(), &fs::read(&path).unwrap());
        }
    }
}

#[track_caller]
fn everything_is_clean(lab: &Lab, ran: &Ran) {
    clean("standard output", ran.out.as_bytes());
    clean("standard error", ran.err.as_bytes());
    store_is_clean(&lab.path("store"));
    let context = lab.path("ctx");
    for args in [
        &["plan", context.to_str().unwrap()][..],
        &["plan", "--format=json", context.to_str().unwrap()],
        &["why", "--fields", "stage0/1"],
        &["log", "stage0/1"],
        &["images", "-a"],
    ] {
        let ran = lab.run("store", args);
        clean(&args.join(" "), format!("{}{}", ran.out, ran.err).as_bytes());
    }
}

/// Uses the value in every way a step can, and prints it in every way that is masked.
pub const USES: &str = "RUN --mount=type=secret,id=token,mode=0444 --mount=type=secret,id=token,env=TOKEN --mount=type=secret,id=token,target=/etc/app/token \
    set -e; test \"$(cat /run/secrets/token)\" = \"$TOKEN\"; test \"$(cat /etc/app/token)\" = \"$TOKEN\"; \
    stat -c '%a %u:%g' /run/secrets/token > /modes; stat -c '%a %u:%g' /etc/app/token >> /modes; \
    echo \"$TOKEN\"; echo \"$TOKEN\" >&2; printf %s \"$TOKEN\" | base64; printf %s \"$TOKEN\" | od -An -tx1 | tr -d ' \\n'; echo; env; cat /proc/self/environ | tr '\\0' '\\n'; \
    for i in 1 2 3 4 5 6 7 8 9; do printf %s \"${TOKEN%mine}\"; printf mine; done; cp -r /run /copy-of-run || true; rm -rf /copy-of-run";

#[test]
fn a_secret_that_is_used_and_printed_is_found_nowhere() {
    let Some(lab) = lab() else { return };
    file(&lab, USES);
    let out = format!("type=local,dest={}", lab.path("out").display());
    let ran = build(&lab, &["-t", "app", "-o", &out]);
    assert_eq!(ran.code, 0, "{}", ran.out.replace("\\n", "\n"));
    assert!(ran.out.contains("*****"), "{}", ran.out);
    assert_eq!(fs::read_to_string(lab.path("out/modes")).unwrap(), "444 0:0\n400 0:0\n");
    assert!(!lab.path("out/run").exists() && !lab.path("out/etc/app").exists(), "no mount point stays");
    store_is_clean(&lab.path("out"));
    everything_is_clean(&lab, &ran);
    let ran = lab.ok("store", &["history", "--format=json", "app"]);
    clean("history", ran.out.as_bytes());
}

#[test]
fn a_step_that_fails_shows_nothing_of_it() {
    let Some(lab) = lab() else { return };
    file(&lab, &format!("{USES}; exit 7"));
    let ran = build(&lab, &[]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("exit code 7"), "{}", ran.err);
    everything_is_clean(&lab, &ran);
}

/// Starts a build whose step holds on until it is told to go on, and waits until it runs.
fn waiting(lab: &Lab, body: &str) -> Child {
    file(lab, body);
    let secret = format!("id=token,src={}", lab.path("token").display());
    let context = lab.path("ctx");
    let mut command = lab.command(
        "store",
        &["build", "--progress=plain", "--jobs=2", "--secret", &secret, context.to_str().unwrap()],
    );
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("ready")), "the step never ran");
    // Whoever reads no more must not stop the build.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

#[test]
fn a_kill_leaves_nothing_of_it() {
    let Some(lab) = lab() else { return };
    let mut child = waiting(
        &lab,
        "RUN --mount=type=secret,id=token --mount=type=secret,id=token,env=TOKEN echo ready; cat /run/secrets/token; sleep 1000",
    );
    child.kill().unwrap();
    child.wait().unwrap();
    let none = Ran { code: 0, out: String::new(), err: String::new() };
    everything_is_clean(&lab, &none);
}

/// What other processes of the machine, and a step beside, can see while a step has the value.
#[test]
fn no_other_process_sees_it() {
    let Some(lab) = lab() else { return };
    let mut child = waiting(
        &lab,
        "RUN --mount=type=secret,id=token --mount=type=secret,id=token,env=TOKEN --mount=type=cache,id=c,target=/c \
         echo ready; while [ ! -e /c/go ]; do :; done",
    );
    // The step's own shell has the variable; nobody above it has, and no command line.
    let mut seen = 0;
    #[expect(clippy::disallowed_methods, reason = "a test looks at all processes; order does not matter")]
    for entry in fs::read_dir("/proc").unwrap() {
        let dir = entry.unwrap().path();
        let read = |name: &str| fs::read(dir.join(name)).unwrap_or_default();
        clean("a command line", &read("cmdline"));
        if holds(&read("environ"), CANARY.as_bytes()) {
            seen += 1;
            let name = String::from_utf8_lossy(&read("comm")).trim().to_owned();
            assert!(!name.starts_with("lith"), "the environment of {name}");
        }
    }
    assert_eq!(seen, 1, "the step's shell, and nothing else");
    // A step beside it, in a build of its own: other processes have no number there.
    lab.write(
        "beside/Dockerfile",
        "FROM alpine\nRUN --mount=type=cache,id=c,target=/c cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline /proc/*/root/run/secrets/* \
         > /seen 2>&1; ls /run > /run-seen 2>&1; touch /c/go\n",
    );
    let out = format!("type=local,dest={}", lab.path("out").display());
    lab.build("store", "beside", &["-o", &out]);
    clean("what the other step saw", &fs::read(lab.path("out/seen")).unwrap());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_value_enters_no_key_and_a_version_does() {
    let Some(lab) = lab() else { return };
    let step = "RUN --mount=type=secret,id=token wc -c < /run/secrets/token > /n";
    file(&lab, step);
    let with = |spec: &str| {
        let context = lab.path("ctx");
        let ran = Ran::of(
            lab.command("store", &["build", "--progress=json", "--secret", spec])
                .arg(context)
                .output()
                .unwrap(),
        );
        assert_eq!(ran.code, 0, "{}", ran.err);
        crate::support::Built::of(&ran.out).status(step).to_owned()
    };
    let source = lab.path("token").display().to_string();
    assert_eq!(with(&format!("id=token,src={source}")), "built");
    lab.write("token", "another value");
    assert_eq!(with(&format!("id=token,src={source}")), "hit");
    assert_eq!(with(&format!("id=token,src={source},key=v2")), "built");
    assert_eq!(with(&format!("id=token,src={source},key=v2")), "hit");
    assert_eq!(with(&format!("id=token,src={source},key=v3")), "built");
}

#[test]
fn what_is_missing_is_empty_or_an_error() {
    let Some(lab) = lab() else { return };
    file(
        &lab,
        "RUN --mount=type=secret,id=none --mount=type=secret,id=none,env=N test ! -e /run/secrets/none && test \"${N+set}\" = set && test -z \"$N\"",
    );
    let ran = build(&lab, &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    for (mount, wanted) in [
        ("type=secret,id=none,required", "secret none was not given"),
        ("type=ssh,id=nobody,required", "ssh agent nobody was not given"),
    ] {
        file(&lab, &format!("RUN --mount={mount} true"));
        let ran = build(&lab, &[]);
        assert!(
            ran.code == 2 && ran.err.contains(wanted) && ran.err.contains("Dockerfile:2:"),
            "{}",
            ran.err
        );
    }
    for (spec, wanted) in [
        ("src=x", "id=ID is missing"),
        ("id=a,src=/nowhere/at/all", "/nowhere/at/all"),
        ("id=a,env=NOT_SET_AT_ALL", "no variable NOT_SET_AT_ALL"),
        ("id=a,src=x,env=Y", "exclude each other"),
        ("id=a,type=tape", "type tape is not file or env"),
        ("id=a,colour=red", "unexpected key colour"),
        ("id=a,src", "not of the form key=value"),
    ] {
        let ran = build(&lab, &["--secret", spec]);
        assert!(ran.code == 2 && ran.err.contains(wanted), "{spec}: {}", ran.err);
    }
    let large = lab.write("large", vec![b'x'; 600 << 10]);
    let ran = build(&lab, &["--secret", &format!("id=a,src={}", large.display())]);
    assert!(ran.code == 2 && ran.err.contains("larger than the limit"), "{}", ran.err);
}

#[test]
fn variables_of_the_builder_reach_no_step() {
    let Some(lab) = lab() else { return };
    file(&lab, "RUN env > /env; ls /run/secrets /run/buildkit >> /env 2>&1 || true");
    let (context, out) = (lab.path("ctx"), format!("type=local,dest={}", lab.path("out").display()));
    let mut command = lab.command("store", &["build", "-o", &out]);
    command
        .arg(context)
        .env("SECRET_OF_THE_BUILDER", CANARY)
        .env("HTTPS_PROXY", format!("http://{CANARY}.invalid"));
    assert!(command.output().unwrap().status.success());
    clean("the environment of a step", &fs::read(lab.path("out/env")).unwrap());
}

/// Says hello to the socket that ssh would ask, and prints the answer.
const CLIENT: &str = r#"
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
int main(void) {
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    strncpy(to.sun_path, getenv("SSH_AUTH_SOCK"), sizeof to.sun_path - 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    char answer[16];
    if (connect(fd, (void *)&to, sizeof to) || write(fd, "hello", 5) != 5) return 1;
    ssize_t got = read(fd, answer, sizeof answer);
    return got <= 0 || write(1, answer, got) != got;
}
"#;

/// A stand-in for an agent: answers each hello.
#[test]
fn an_agent_is_asked_through_a_socket_of_the_steps_own() {
    let Some(lab) = lab() else { return };
    let client = lab.write("client.c", CLIENT);
    let made = Command::new("cc").args(["-static", "-o"]).arg(lab.path("client")).arg(client).status();
    if !made.is_ok_and(|status| status.success()) {
        return skip("needs a C compiler and static libraries").unwrap_or(());
    }
    lab.write("ctx/.keep", "");
    fs::copy(lab.path("client"), lab.path("ctx/client")).unwrap();
    let socket = lab.path("agent.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut question = [0; 5];
            stream.read_exact(&mut question).unwrap();
            std::io::Write::write_all(&mut stream, b"answer").unwrap();
        }
    });
    file(
        &lab,
        "RUN --mount=type=ssh,uid=65534,mode=0600 --mount=source=client,target=/client stat -c '%a %u' $SSH_AUTH_SOCK > /seen; echo $SSH_AUTH_SOCK >> /seen; grep -c agent.sock /proc/mounts >> /seen || true; \
         /client >> /seen\nRUN ls /run > /after 2>&1; echo \"${SSH_AUTH_SOCK-unset}\" >> /after",
    );
    let out = format!("type=local,dest={}", lab.path("out").display());
    let ran = build(&lab, &["--ssh", &format!("default={}", socket.display()), "-o", &out]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let seen = fs::read_to_string(lab.path("out/seen")).unwrap();
    assert_eq!(seen, "600 65534\n/run/buildkit/ssh_agent.0\n0\nanswer");
    assert!(fs::read_to_string(lab.path("out/after")).unwrap().ends_with("unset\n"));
    let ran = build(&lab, &["--ssh", &format!("default={}", lab.path("token").display())]);
    assert!(ran.code == 2 && ran.err.contains("is no socket"), "{}", ran.err);
}
