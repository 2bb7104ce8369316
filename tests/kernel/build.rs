//! Whole builds through the command line: what a cache must do and what must never show.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::support::{Built, Lab, Ran, kernel_lab, skip};

const SEED: &str = "FROM alpine:latest\nRUN echo first\nCOPY ./second.txt .\nADD ./third.txt .\nCMD [\"echo\", \"fourth\"]\n";

fn seed(lab: &Lab, context: &str) {
    lab.write(&format!("{context}/Dockerfile"), SEED);
    lab.write(&format!("{context}/second.txt"), "second\n");
    lab.write(&format!("{context}/third.txt"), "third\n");
}

#[test]
fn the_seed_builds_and_an_unchanged_rebuild_does_nothing() {
    let Some(lab) = kernel_lab() else { return };
    lab.base("store", "alpine");
    seed(&lab, "ctx");
    let first = lab.build("store", "ctx", &["-t", "seed"]);
    assert_eq!(first.with_status("built").len(), 3);
    let second = lab.build("store", "ctx", &["-t", "seed"]);
    assert_eq!(second.with_status("hit").len(), 3);
    assert_eq!(first.manifest(), second.manifest());
    assert_eq!(lab.ok("store", &["log", "stage0/1"]).out, "first\n");
    let listed = lab.ok("store", &["images"]).out;
    assert!(listed.contains("seed") && listed.contains("alpine"), "{listed}");
    let inspected: serde_json::Value =
        serde_json::from_str(&lab.ok("store", &["image", "inspect", "seed"]).out).unwrap();
    assert_eq!(inspected[0]["RootFS"]["Layers"].as_array().unwrap().len(), 4);
    assert_eq!(inspected[0]["Config"]["Cmd"], serde_json::json!(["echo", "fourth"]));
    let upper = inspected[0]["GraphDriver"]["Data"]["UpperDir"].as_str().unwrap();
    assert!(upper.starts_with(lab.path("store/overlay").to_str().unwrap()), "{upper}");
    let all = lab.ok("store", &["images", "-a"]).out;
    assert_eq!(
        all.lines().filter(|l| l.starts_with("<none>")).count(),
        3,
        "one for each step below the last\n{all}"
    );
}

/// Every system call of a rebuild that opens something of the context or starts a process.
#[test]
fn an_unchanged_rebuild_reads_no_file_and_starts_no_process() {
    let Some(lab) = kernel_lab() else { return };
    if !crate::support::has("strace") {
        return skip("needs strace").unwrap_or(());
    }
    lab.base("store", "alpine");
    seed(&lab, "ctx");
    lab.build("store", "ctx", &["-t", "seed"]);
    // Files just written are not trusted by the index until their time stamps are surely old.
    settle(&lab, "ctx");
    lab.build("store", "ctx", &["-t", "seed"]);
    let trace = lab.path("trace");
    let status = Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-e",
            "trace=open,openat,openat2,execve,read,pread64,fork,vfork,clone,clone3",
            "-o",
        ])
        .arg(&trace)
        .arg(env!("CARGO_BIN_EXE_lith"))
        .arg("--root")
        .arg(lab.path("store"))
        .args(["build", "-q", "-t", "seed"])
        .arg(lab.path("ctx"))
        .status()
        .unwrap();
    assert!(status.success());
    let text = fs::read_to_string(trace).unwrap();
    let opens = text.lines().filter(|l| l.contains(" open"));
    let opened: Vec<&str> = opens.filter(|l| l.contains("second.txt") || l.contains("third.txt")).collect();
    assert!(opened.is_empty(), "{opened:#?}");
    let started = text.lines().filter(|l| l.contains("execve(") && !l.contains("lith")).count();
    assert_eq!(started, 0, "{text}");
    // A call that another thread's interrupts is shown in two lines; only the first has its flags.
    let makes_process = |line: &&str| {
        let clones = line.contains("clone(") || line.contains("clone3(");
        line.contains("fork(") || clones && !line.contains("CLONE_THREAD")
    };
    let forks = text.lines().filter(makes_process);
    assert_eq!(forks.count(), 0, "{text}");
}

/// Lets the time stamps of a context become old enough to be trusted.
fn settle(lab: &Lab, context: &str) {
    let newest = fs::metadata(lab.path(context).join("third.txt")).unwrap().modified().unwrap();
    while newest.elapsed().unwrap() < std::time::Duration::from_millis(120) {
        std::thread::yield_now();
    }
}

#[test]
fn one_changed_file_reruns_its_copy_and_what_stands_on_it() {
    let Some(lab) = kernel_lab() else { return };
    lab.base("store", "alpine");
    lab.write("ctx/Dockerfile", "FROM alpine\nCOPY a /a\nCOPY b /b\nRUN cat /a > /c\nCOPY d /d\n");
    for name in ["a", "b", "d"] {
        lab.write(&format!("ctx/{name}"), name);
    }
    lab.build("store", "ctx", &[]);
    lab.write("ctx/a", "changed");
    let again = lab.build("store", "ctx", &[]);
    assert_eq!(again.with_status("built"), ["COPY a /a", "RUN cat /a > /c"]);
    assert!(again.why("COPY a /a").contains("/a changed"), "{}", again.why("COPY a /a"));
    assert!(again.why("RUN cat /a > /c").contains("`COPY a /a`"), "{}", again.why("RUN cat /a > /c"));
    lab.write("ctx/d", "changed");
    let again = lab.build("store", "ctx", &[]);
    assert_eq!(again.with_status("built"), ["COPY d /d"]);
}

#[test]
fn early_cutoff_below_a_run_that_gives_the_same_bytes() {
    let Some(lab) = kernel_lab() else { return };
    lab.base("store", "alpine");
    lab.write("ctx/Dockerfile", "FROM alpine\nRUN echo one > /x\nRUN cat /x > /y\nRUN cat /y > /z\n");
    let first = lab.build("store", "ctx", &[]);
    lab.write("ctx/Dockerfile", "FROM alpine\nRUN printf 'one\\n' > /x\nRUN cat /x > /y\nRUN cat /y > /z\n");
    let second = lab.build("store", "ctx", &[]);
    assert_eq!(second.with_status("built"), ["RUN printf 'one\\n' > /x"]);
    assert!(second.why("RUN printf 'one\\n' > /x").contains("argv was"));
    let layers = |built: &Built| -> serde_json::Value {
        let out = lab.ok("store", &["image", "inspect", &built.image()]).out;
        serde_json::from_str::<serde_json::Value>(&out).unwrap()[0]["RootFS"]["Layers"].clone()
    };
    assert_eq!(layers(&first), layers(&second));
}

#[test]
fn a_copy_is_made_while_the_run_above_it_runs() {
    let Some(lab) = kernel_lab() else { return };
    lab.base("store", "alpine");
    lab.write("ctx/Dockerfile", "FROM alpine\nRUN sleep 2\nCOPY big /big\n");
    lab.write("ctx/big", vec![7; 3 << 20]);
    let built = lab.build("store", "ctx", &["--jobs", "2"]);
    let (start, end) = (built.time("started", "COPY big /big"), built.time("ended", "RUN sleep 2"));
    assert!(start < end, "the COPY started at {start}, the RUN ended at {end}");
    // It was not made again on the real parent: what is left after the RUN is a look at what it observed.
    let started = |e: &&serde_json::Value| e["event"] == "started" && e["text"] == "COPY big /big";
    assert_eq!(built.events.iter().filter(started).count(), 1);
}

#[test]
fn a_copy_guessed_wrong_is_made_again_on_the_real_parent() {
    let Some(lab) = kernel_lab() else { return };
    lab.base("store", "alpine");
    lab.write("ctx/Dockerfile", "FROM alpine\nRUN mkdir -m 700 /opt && mkdir /real && ln -s real /link\nCOPY a /opt/a\nCOPY a /link/a\nRUN stat -c %a /opt > /mode; ls /real > /names\n");
    lab.write("ctx/a", "a");
    lab.build("store", "ctx", &["-o", &format!("type=local,dest={}", lab.path("out").display())]);
    assert_eq!(fs::read_to_string(lab.path("out/mode")).unwrap(), "700\n");
    assert_eq!(fs::read_to_string(lab.path("out/names")).unwrap(), "a\n");
    assert_eq!(fs::metadata(lab.path("out/opt")).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn the_same_image_from_everywhere() {
    let Some(lab) = kernel_lab() else { return };
    let dockerfile = "FROM alpine AS one\nRUN mkdir -p /d/e && echo 1 > /d/e/f && ln /d/e/f /d/g && chmod 600 /d/g\nCOPY --chown=nobody:nogroup . /src\n\
        FROM alpine\nCOPY --from=one /d /d\nCOPY --from=one /src/sub /src\nRUN rm -r /d/e && touch /new\nWORKDIR /w/d\n";
    for context in ["ctx", "elsewhere/deep/ctx"] {
        lab.write(&format!("{context}/Dockerfile"), dockerfile);
        for at in 0..20 {
            lab.write(&format!("{context}/sub/file{at}"), format!("{at}"));
        }
    }
    let mut digests = Vec::new();
    let mut note = |what: &str, built: Built| digests.push((built.manifest(), what.to_owned()));
    lab.base("one", "alpine");
    lab.base("two", "alpine");
    note("one job", lab.build("one", "ctx", &["--jobs", "1"]));
    note("eight jobs, other store", lab.build("two", "ctx", &["--jobs", "8"]));
    note("other directory", lab.build("one", "elsewhere/deep/ctx", &["--no-cache"]));
    let old = fs::File::options().write(true).open(lab.path("ctx/sub/file3")).unwrap();
    old.set_modified(std::time::UNIX_EPOCH).unwrap();
    note("touched", lab.build("two", "ctx", &["--no-cache"]));
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(lab.path(""));
        Built::of(&Ran::of(command.output().unwrap()).out)
    };
    let lith = env!("CARGO_BIN_EXE_lith");
    note("umask", shell(&format!("umask 077; exec {lith} --root one build --no-cache --progress=json ctx")));
    let locale = "TZ=Asia/Tokyo LC_ALL=tr_TR.UTF-8 HOME=/nowhere USER=x";
    note("locale", shell(&format!("{locale} exec {lith} --root two build --no-cache --progress=json ctx")));
    let tmpfs = "unshare -m sh -c 'mount -t tmpfs none /mnt && cp -r ctx /mnt/ctx && exec \"$0\" \"$@\"'";
    note("tmpfs", shell(&format!("{tmpfs} {lith} --root one build --no-cache --progress=json /mnt/ctx")));
    for (digest, what) in &digests {
        assert_eq!(*digest, digests[0].0, "{what}: {digests:#?}");
    }
}

#[test]
fn two_builds_at_once_do_the_work_once() {
    let Some(lab) = kernel_lab() else { return };
    lab.base("store", "alpine");
    lab.write("ctx/Dockerfile", "FROM alpine\nRUN sleep 1; echo x > /x\nCOPY a /a\nRUN cat /x /a > /y\n");
    lab.write("ctx/a", "a");
    let context = lab.path("ctx");
    let args = ["build", "--progress=json", context.to_str().unwrap()];
    let spawn = || lab.command("store", &args).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let children = [spawn(), spawn(), spawn()];
    let builds: Vec<Built> = children
        .map(|child| Ran::of(child.wait_with_output().unwrap()))
        .into_iter()
        .map(|ran| {
            assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
            Built::of(&ran.out)
        })
        .collect();
    for step in ["RUN sleep 1; echo x > /x", "RUN cat /x /a > /y"] {
        let built = builds.iter().filter(|b| b.status(step) == "built").count();
        assert_eq!(built, 1, "{step}");
    }
    assert!(builds.iter().all(|b| b.manifest() == builds[0].manifest()));
}

#[test]
fn a_failed_step_says_where_and_shows_its_output() {
    let Some(lab) = kernel_lab() else { return };
    lab.base("store", "alpine");
    lab.write("ctx/Dockerfile", "FROM alpine\n\nRUN echo about to fail; exit 7\n");
    let context = lab.path("ctx");
    let ran = lab.run("store", &["build", "--progress=plain", context.to_str().unwrap()]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("Dockerfile:3:"), "{}", ran.err);
    assert!(ran.err.contains("  | about to fail"), "{}", ran.err);
    assert!(ran.err.contains("exit code 7"), "{}", ran.err);
    assert!(ran.err.contains("--debug"), "{}", ran.err);
    let left = lith::sys::dir::list_path(&lab.path("store/tmp")).unwrap().len();
    assert_eq!(left, 0, "a failed step leaves nothing behind");
}

#[test]
fn a_failed_step_is_shown_with_its_lines_and_its_last_output_in_every_view() {
    let Some(lab) = kernel_lab() else { return };
    lab.base("store", "alpine");
    lab.write("ctx/Dockerfile", "FROM alpine\nRUN seq 100 && \\\n\tprintf rest && \\\n    exit 7\n");
    for view in ["--progress=plain", "--progress=tty", "--quiet"] {
        let ran = lab.run("store", &["build", view, "ctx"]);
        assert_eq!(ran.code, 1);
        let shown = ran.err.split("\n\n").last().unwrap().trim_start();
        let lines: String = (82..=100).map(|number| format!("  | {number}\n")).collect();
        let expected = format!(
            "ctx/Dockerfile:2:1: error: step stage0/1 failed
    2 | / RUN seq 100 && \\
    3 | |     printf rest && \\
    4 | |     exit 7
      | |__________^
its output ended in:
{lines}  | rest
error: step stage0/1 (line 2)"
        );
        assert!(shown.starts_with(&expected), "{view}\n{}\n-- expected\n{expected}", ran.err);
    }
    lab.write("ctx/Dockerfile", "FROM alpine\nRUN exit 7\n");
    let ran = lab.run("store", &["build", "ctx"]);
    assert!(ran.err.contains("it printed nothing"), "{}", ran.err);
}

#[test]
fn a_hundred_and_thirty_layers_mount_and_run() {
    let Some(lab) = kernel_lab() else { return };
    lab.base("store", "alpine");
    let mut text = String::from("FROM alpine AS a\n");
    for at in 0..65 {
        text.push_str(&format!("COPY f /many/f{at}\n"));
    }
    text.push_str("FROM a\n");
    for at in 65..128 {
        text.push_str(&format!("COPY f /many/f{at}\n"));
    }
    text.push_str("RUN rm /many/f0 && mv /many /moved && ls /moved | wc -l > /count\n");
    lab.write("ctx/Dockerfile", text);
    lab.write("ctx/f", "f");
    let built = lab.build("store", "ctx", &["-o", &format!("type=local,dest={}", lab.path("out").display())]);
    assert_eq!(fs::read_to_string(lab.path("out/count")).unwrap().trim(), "127");
    assert!(!lab.path("out/many").exists());
    let out = lab.ok("store", &["image", "inspect", &built.image()]).out;
    let layers = serde_json::from_str::<serde_json::Value>(&out).unwrap()[0]["RootFS"]["Layers"].clone();
    assert_eq!(layers.as_array().unwrap().len(), 130);
}

#[test]
fn what_runs_do_to_files_round_trips() {
    let Some(lab) = kernel_lab() else { return };
    lab.base("store", "alpine");
    lab.write(
        "ctx/Dockerfile",
        "FROM alpine\n\
        RUN mkdir -p /d/sub /e /g && echo 1 > /d/sub/f && echo 2 > /e/x && echo 3 > /file && ln /file /hard && ln -s file /soft && mkfifo /g/p\n\
        RUN rm /bin/vi && rm -r /d && echo file > /d\n\
        RUN rm /file && mkdir /file && echo in > /file/in && mv /e /renamed\n\
        RUN rm -rf /g && mkdir /g && touch /g/new\n\
        RUN { ls /bin/vi; cat /d /hard /file/in /renamed/x; ls /g /e; readlink /soft; } > /seen 2>&1; true\n",
    );
    let dest = lab.path("out");
    lab.build("store", "ctx", &["-o", &format!("type=local,dest={}", dest.display())]);
    let seen = fs::read_to_string(dest.join("seen")).unwrap();
    assert!(seen.contains("/bin/vi: No such file") && seen.contains("/e: No such file"), "{seen}");
    assert!(
        seen.contains("file\n3\nin\n2\n") && seen.contains("/g:\nnew") && seen.ends_with("file\n"),
        "{seen}"
    );
    assert_eq!(fs::read_to_string(dest.join("d")).unwrap(), "file\n");
    assert_eq!(fs::read_to_string(dest.join("file/in")).unwrap(), "in\n");
    assert!(!dest.join("bin/vi").exists() && !dest.join("e").exists() && !dest.join("g/p").exists());
    // The same tree from an extraction of the layers instead of the captured directories.
    lab.base("fresh", "alpine");
    let archive = lab.path("image.tar");
    lab.build("store", "ctx", &["-t", "round", "-o", &format!("type=oci,dest={}", archive.display())]);
    lab.ok("fresh", &["load", archive.to_str().unwrap()]);
    lab.write("again/Dockerfile", "FROM round\nRUN { cat /d /hard /file/in /renamed/x; ls /g; } > /seen2\n");
    let dest = lab.path("out2");
    lab.build("fresh", "again", &["-o", &format!("type=local,dest={}", dest.display())]);
    assert_eq!(fs::read_to_string(dest.join("seen2")).unwrap(), "file\n3\nin\n2\nnew\n");
}

/// Kills builds at fifty moments spread over the time one takes; the store must stay good.
#[test]
fn a_kill_at_any_moment_leaves_a_store_that_works() {
    let Some(lab) = kernel_lab() else { return };
    lab.write(
        "ctx/Dockerfile",
        "FROM alpine\nCOPY data /data\nRUN cat /data/* > /all && mkdir -p /t/u && cp /all /t/u/x && rm /data/f1\nRUN rm -r /t && echo done > /done\n",
    );
    for at in 0..40 {
        lab.write(&format!("ctx/data/f{at}"), vec![at; 20_000]);
    }
    lab.base("calm", "alpine");
    let began = std::time::Instant::now();
    let expected = lab.build("calm", "ctx", &["-t", "x"]).manifest();
    let whole = began.elapsed();
    lab.base("store", "alpine");
    let context = lab.path("ctx");
    // A fixed sequence that covers the whole time evenly, in an order that is not monotonic.
    for round in 0u32..50 {
        let args = ["build", "--no-cache", "-q", "-t", "x", context.to_str().unwrap()];
        let mut child = lab.command("store", &args).stdout(std::process::Stdio::null()).spawn().unwrap();
        let moment = whole * (round * 19 % 50) / 50;
        let started = std::time::Instant::now();
        while started.elapsed() < moment && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let _ = child.kill();
        child.wait().unwrap();
        if round % 10 == 9 {
            lab.ok("store", &["gc"]);
            lab.ok("store", &["store", "verify"]);
        }
    }
    lab.ok("store", &["gc"]);
    lab.ok("store", &["store", "verify"]);
    assert_eq!(lab.build("store", "ctx", &["-t", "x"]).manifest(), expected);
    assert_eq!(lith::sys::dir::list_path(&lab.path("store/tmp")).unwrap().len(), 0);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(lab.path("").to_str().unwrap()), "{mounts}");
}

#[test]
fn names_of_one_file_stay_together_in_any_order() {
    let Some(lab) = kernel_lab() else { return };
    lab.base("store", "alpine");
    let make = "mkdir ctx d && echo x > d/b && ln d/b d/a && ln d/b d/c && tar --sort=none -cf ctx/links.tar d/b d/a d/c";
    assert!(Command::new("sh").args(["-c", make]).current_dir(lab.path("")).status().unwrap().success());
    lab.write(
        "ctx/Dockerfile",
        "FROM alpine AS a\n\
        ADD links.tar /added/\n\
        RUN mkdir /x && : > /x/1 && ln /x/1 /x/2\n\
        FROM alpine\n\
        COPY --from=a /x /x\n\
        COPY --from=a /added /added\n\
        RUN stat -c '%h %n' /x/1 /added/d/a > /seen && cat /added/d/a /added/d/c >> /seen\n",
    );
    let dest = lab.path("out");
    lab.build("store", "ctx", &["-o", &format!("type=local,dest={}", dest.display())]);
    assert_eq!(fs::read_to_string(dest.join("seen")).unwrap(), "2 /x/1\n3 /added/d/a\nx\nx\n");
}

#[test]
fn an_image_from_scratch_needs_no_files_to_run() {
    let Some(lab) = kernel_lab() else { return };
    fs::create_dir(lab.path("ctx")).unwrap();
    fs::copy(crate::support::busybox_path().unwrap(), lab.path("ctx/sh")).unwrap();
    lab.write(
        "ctx/Dockerfile",
        "FROM scratch\nCOPY sh /bin/sh\nUSER 1000:1000\nWORKDIR /work\nRUN echo mine > f\nUSER root:root\n\
        RUN echo x > /etc/y || echo no etc > /none\n",
    );
    let dest = lab.path("out");
    lab.build("store", "ctx", &["-o", &format!("type=local,dest={}", dest.display())]);
    let mut names: Vec<String> = Vec::new();
    for entry in lith::sys::dir::list_path(&dest).unwrap() {
        names.push(String::from_utf8(entry.name).unwrap());
    }
    // The sandbox mounts /etc/hosts and its like, so /etc was there during the run; what it wrote is kept, what the
    // sandbox put there is not.
    assert_eq!(names, ["bin", "etc", "work"]);
    assert_eq!(fs::read_to_string(dest.join("etc/y")).unwrap(), "x\n");
    let etc = lith::sys::dir::list_path(&dest.join("etc")).unwrap();
    assert_eq!(etc.len(), 1, "{etc:?}");
}

#[test]
fn a_here_document_with_an_interpreter_is_executed() {
    let Some(lab) = kernel_lab() else { return };
    lab.base("store", "alpine");
    let text = "FROM alpine\nRUN <<one\n#!/bin/awk -f\nBEGIN { print \"out of awk\" > \"/made\" }\none\nRUN grep awk /made\n";
    lab.write("ctx/Dockerfile", text);
    lab.build("store", "ctx", &[]);
    lab.write(
        "kdl/image.kdl",
        "image \"x\" { base \"alpine\"; run \"/dev/pipes/s\" { script \"s\" \"#!/bin/sh\\ntrue\" } }\n",
    );
    lab.build("store", "kdl", &[]);
}

#[test]
fn triggers_of_an_image_run_first_and_once() {
    let Some(lab) = kernel_lab() else { return };
    lab.base("store", "alpine");
    lab.write(
        "parent/Dockerfile",
        "FROM alpine AS tools\nRUN echo tool > /tool\nFROM alpine\nONBUILD COPY . /src\nONBUILD RUN <<EOF\ncp /src/file /made\necho then >> /made\nEOF\n\
         ONBUILD COPY --from=alpine /etc/passwd /copied\n",
    );
    let parent = lab.build("store", "parent", &["-t", "parent"]);
    assert_eq!(parent.with_status("built").len(), 0, "a trigger does nothing where it is written");
    lab.write("child/Dockerfile", "FROM parent\nRUN cat /made > /seen\n");
    lab.write("child/file", "of the child\n");
    let out = lab.path("out");
    let child = lab.build("store", "child", &["-t", "child", "-o", out.to_str().unwrap()]);
    assert_eq!(child.with_status("built").len(), 4);
    assert_eq!(fs::read_to_string(out.join("seen")).unwrap(), "of the child\nthen\n");
    assert!(out.join("copied").exists());
    lab.write("grandchild/Dockerfile", "FROM child\nRUN true\n");
    assert_eq!(lab.build("store", "grandchild", &[]).with_status("built"), ["RUN true"]);
    lab.write("bad/Dockerfile", "FROM alpine\nONBUILD RUN false\n");
    lab.build("store", "bad", &["-t", "bad"]);
    lab.write("last/Dockerfile", "FROM bad\nRUN true\n");
    let ran = lab.run("store", &["build", lab.path("last").to_str().unwrap()]);
    assert!(
        ran.code == 1 && ran.err.contains("last/Dockerfile:1") && ran.err.contains("ONBUILD RUN false"),
        "{}",
        ran.err
    );
}
