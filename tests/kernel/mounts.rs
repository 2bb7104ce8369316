//! `RUN --mount` on the real kernel: what a step sees, what stays of it, and what makes it run again.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Built, Lab, Ran, children, kernel_lab};

fn lab() -> Option<Lab> {
    let lab = kernel_lab()?;
    lab.base("store", "alpine");
    Some(lab)
}

fn file(lab: &Lab, body: &str) {
    lab.write("ctx/Dockerfile", format!("FROM alpine\n{body}"));
}

/// Builds and gives the file system of the result.
#[track_caller]
fn tree(lab: &Lab, more: &[&str]) -> Built {
    let _ = fs::remove_dir_all(lab.path("out"));
    let out = format!("type=local,dest={}", lab.path("out").display());
    lab.build("store", "ctx", &[&["-o", &out], more].concat())
}

#[track_caller]
fn read(lab: &Lab, path: &str) -> String {
    fs::read_to_string(lab.path("out").join(path)).unwrap()
}

fn refused(lab: &Lab, more: &[&str]) -> Ran {
    let context = lab.path("ctx");
    let ran = lab.run("store", &[&["build"], more, &[context.to_str().unwrap()]].concat());
    assert_ne!(ran.code, 0, "{}", ran.err);
    ran
}

#[test]
fn files_of_the_context_are_seen_and_leave_nothing() {
    let Some(lab) = lab() else { return };
    lab.write("ctx/src/main.c", "main\n");
    lab.write("ctx/src/deep/x", "x\n");
    lab.write("ctx/.dockerignore", "src/secret\n");
    lab.write("ctx/src/secret", "never\n");
    file(
        &lab,
        "WORKDIR /work\nRUN --mount=source=src,target=in --mount=source=src/main.c,target=/etc/main.c \
         find in | sort > /seen; cat /etc/main.c >> /seen; stat -c '%u:%g %Y %a' in/main.c >> /seen; \
         touch in/x 2>> /seen || echo read-only >> /seen\n",
    );
    tree(&lab, &["--epoch=1000000000"]);
    let seen = read(&lab, "seen");
    assert_eq!(
        seen,
        "in\nin/deep\nin/deep/x\nin/main.c\nmain\n0:0 1000000000 644\ntouch: in/x: Read-only file system\nread-only\n"
    );
    let names = |dir: &str| -> Vec<String> {
        let found = children(&lab.path("out").join(dir));
        found.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    };
    assert!(names("work").is_empty(), "the mount point is no part of the layer");
    assert_eq!(names("etc"), ["group", "passwd"]);
}

#[test]
fn what_is_bound_decides_whether_a_step_runs_again() {
    let Some(lab) = lab() else { return };
    lab.write("ctx/used/a", "a");
    lab.write("ctx/unused", "u");
    file(&lab, "RUN --mount=source=used,target=/in cat /in/a > /copy\n");
    let step = "RUN --mount=source=used,target=/in cat /in/a > /copy";
    tree(&lab, &[]);
    lab.write("ctx/unused", "changed");
    assert_eq!(lab.build("store", "ctx", &[]).status(step), "hit");
    lab.write("ctx/used/a", "changed");
    let again = tree(&lab, &[]);
    assert_eq!(again.status(step), "built");
    assert!(again.why(step).contains("what is mounted at /in changed"), "{}", again.why(step));
    assert_eq!(read(&lab, "copy"), "changed");
    // Where it stands does not matter, only what it is.
    fs::rename(lab.path("ctx/used"), lab.path("ctx/moved")).unwrap();
    file(&lab, "RUN --mount=source=moved,target=/in cat /in/a > /copy\n");
    let moved = lab.build("store", "ctx", &[]);
    assert_eq!(moved.with_status("hit").len(), 1);
}

#[test]
fn a_stage_is_bound_and_cut_off_early() {
    let Some(lab) = lab() else { return };
    let text = |noise: &str| {
        format!(
            "FROM alpine AS tools\nRUN echo {noise} > /dev/null; mkdir -p /opt/bin; echo tool > /opt/bin/t; \
             ln -s bin /opt/link; chown 7:8 /opt/bin/t\nFROM alpine\n\
             RUN --mount=from=tools,source=/opt/link,target=/t --mount=from=tools,target=/all \
             cat /t/t /all/opt/bin/t > /seen; stat -c %u:%g /t/t >> /seen; ls /t >> /seen\n\
             RUN --mount=from=scratch,target=/empty ls -a /empty >> /seen\n"
        )
    };
    lab.write("ctx/Dockerfile", text("one"));
    tree(&lab, &[]);
    assert_eq!(read(&lab, "seen"), "tool\ntool\n7:8\nt\n.\n..\n");
    lab.write("ctx/Dockerfile", text("two"));
    let again = lab.build("store", "ctx", &[]);
    assert_eq!(
        again.with_status("hit").len(),
        2,
        "the stage ran again and came out the same: {:?}",
        again.events
    );
    let plan = lab.ok("store", &["plan", "--format=json", lab.path("ctx").to_str().unwrap()]).out;
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan[1]["steps"][0]["needs"], serde_json::json!(["tools", "tools"]));
}

#[test]
fn writes_to_a_bind_are_thrown_away() {
    let Some(lab) = lab() else { return };
    lab.write("ctx/src/a", "a");
    file(
        &lab,
        "RUN --mount=source=src,target=/in,rw echo b > /in/a; rm -f /in/gone; echo n > /in/new; cat /in/a /in/new > /seen\n\
         RUN --mount=source=src,target=/in cat /in/a > /after; ls /in >> /after\n",
    );
    tree(&lab, &[]);
    assert_eq!(read(&lab, "seen"), "b\nn\n");
    assert_eq!(read(&lab, "after"), "aa\n");
    assert_eq!(fs::read_to_string(lab.path("ctx/src/a")).unwrap(), "a");
    assert!(!lab.path("out/in").exists());
}

#[test]
fn mounts_lie_in_each_other_and_hide_nothing_from_the_layer() {
    let Some(lab) = lab() else { return };
    lab.write("ctx/src/inner/.keep", "");
    file(
        &lab,
        "RUN mkdir -p /d/sub && echo below > /d/sub/file && touch -d @5 /d/sub /d\n\
         RUN --mount=type=tmpfs,target=/d/sub --mount=type=tmpfs,target=/a/b/c,size=1m --mount=source=src,target=/m \
         --mount=type=tmpfs,target=/m/inner \
         echo x > /d/sub/lost; echo x > /a/b/c/lost; echo x > /m/inner/lost; ls /d/sub /m /m/inner > /seen; \
         grep ' /a/b/c ' /proc/mounts | grep -o size=1024k >> /seen; echo kept > /a/kept\n",
    );
    tree(&lab, &["--epoch=1000000000"]);
    assert_eq!(read(&lab, "seen"), "/d/sub:\nlost\n\n/m:\ninner\n\n/m/inner:\nlost\nsize=1024k\n");
    assert_eq!(read(&lab, "d/sub/file"), "below\n");
    let time = |path: &str| fs::metadata(lab.path("out").join(path)).unwrap().mtime();
    assert_eq!((time("d"), time("d/sub")), (5, 5));
    assert!(!lab.path("out/a/b").exists() && !lab.path("out/m").exists());
    assert_eq!(read(&lab, "a/kept"), "kept\n");
}

#[test]
fn links_in_the_image_lead_mounts_nowhere_else() {
    let Some(lab) = lab() else { return };
    lab.write("ctx/f", "bound\n");
    file(
        &lab,
        "RUN ln -s / /up && ln -s ../../../../../../etc /rel && mkdir /real\n\
         RUN --mount=source=f,target=/up/real/f --mount=source=f,target=/rel/f cat /real/f /etc/f > /seen\n",
    );
    tree(&lab, &[]);
    assert_eq!(read(&lab, "seen"), "bound\nbound\n");
    assert!(!std::path::Path::new("/etc/f").exists() && !lab.path("out/etc/f").exists());
}

#[test]
fn a_mount_without_a_place_or_a_source_is_an_error_that_says_so() {
    let Some(lab) = lab() else { return };
    lab.write("ctx/f", "f");
    file(&lab, "RUN --mount=source=none,target=/x true\n");
    let ran = refused(&lab, &[]);
    assert!(
        ran.err.contains("Dockerfile:2") && ran.err.contains("/none is not in the build context"),
        "{}",
        ran.err
    );
    file(&lab, "RUN --mount=source=f,target=/etc/passwd/x true\n");
    let ran = refused(&lab, &[]);
    assert!(ran.err.contains("nothing can be mounted at /etc/passwd/x"), "{}", ran.err);
    file(&lab, "RUN --mount=source=f,target=/etc true\n");
    let ran = refused(&lab, &[]);
    assert!(ran.err.contains("nothing can be mounted at /etc"), "{}", ran.err);
}

#[test]
fn a_cache_lives_on_outside_all_images() {
    let Some(lab) = lab() else { return };
    let count = |n: u32| {
        format!(
            "RUN --mount=type=cache,id=count,target=/c,mode=0700,uid=3 echo {n} >> /c/log; cp /c/log /seen; stat -c '%a %u' /c >> /seen\n"
        )
    };
    for n in 1..=2 {
        file(&lab, &count(n));
        tree(&lab, &[]);
    }
    assert_eq!(read(&lab, "seen"), "1\n2\n700 3\n");
    assert!(!lab.path("out/c").exists());
    // Another name, another namespace, hermetic: each begins empty.
    file(&lab, "RUN --mount=type=cache,id=other,target=/c ls /c > /seen\n");
    tree(&lab, &[]);
    assert_eq!(read(&lab, "seen"), "");
    file(&lab, &count(3));
    tree(&lab, &["--build-arg=BUILDKIT_CACHE_MOUNT_NS=mine", "--no-cache"]);
    assert_eq!(read(&lab, "seen"), "3\n700 3\n");
    tree(&lab, &["--hermetic"]);
    assert_eq!(read(&lab, "seen"), "3\n700 3\n");

    let listed = lab.ok("store", &["cache", "ls", "--format=json"]).out;
    let names: Vec<String> = listed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["count", "mine/count", "other"]);
    let tar = lab.path("cache.tar");
    lab.ok("store", &["cache", "export", "count", tar.to_str().unwrap()]);
    lab.ok("store", &["cache", "rm", "count", "other"]);
    let ran = lab.run("store", &["cache", "rm", "mine/cuont"]);
    assert!(ran.code == 2 && ran.err.contains("did you mean mine/count?"), "{}", ran.err);
    lab.ok("store", &["cache", "import", "count", tar.to_str().unwrap()]);
    file(&lab, &count(4));
    tree(&lab, &[]);
    assert_eq!(read(&lab, "seen"), "1\n2\n4\n700 3\n");
    lab.ok("store", &["gc", "--all"]);
    assert_eq!(lab.ok("store", &["cache", "ls"]).out.lines().count(), 3, "gc leaves caches alone");
    lab.ok("store", &["cache", "rm", "--all"]);
    assert_eq!(lab.ok("store", &["cache", "ls"]).out.lines().count(), 1);
}

#[test]
fn a_cache_begins_with_its_seed() {
    let Some(lab) = lab() else { return };
    lab.write(
        "ctx/Dockerfile",
        "FROM alpine AS seed\nRUN mkdir -p /s/d && echo seeded > /s/d/f && chown 5:6 /s/d/f\nFROM alpine\n\
         RUN --mount=type=cache,target=/c,from=seed,source=/s cat /c/d/f > /seen; stat -c %u:%g /c/d/f >> /seen; echo more >> /c/d/f\n\
         RUN --mount=type=cache,target=/c,from=seed,source=/s cat /c/d/f > /again\n",
    );
    tree(&lab, &[]);
    assert_eq!(read(&lab, "seen"), "seeded\n5:6\n");
    assert_eq!(read(&lab, "again"), "seeded\nmore\n");
}

/// Two builds at once: each writes its name at the beginning and at the end.
#[test]
fn a_locked_cache_is_used_by_one_build_at_a_time() {
    let Some(lab) = lab() else { return };
    let start = |name: &str| {
        lab.write(
            &format!("{name}/Dockerfile"),
            format!(
                "FROM alpine\nRUN --mount=type=cache,id=x,target=/c,sharing=locked \
                 for i in $(seq 50); do echo {name} >> /c/log; cat /c/log > /dev/null; done\n"
            ),
        );
        let context = lab.path(name);
        let mut command = lab.command("store", &["build", "--progress=json", context.to_str().unwrap()]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let builds = [start("one"), start("two"), start("three")];
    for build in builds {
        let ran = Ran::of(build.wait_with_output().unwrap());
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
    file(&lab, "RUN --mount=type=cache,id=x,target=/c uniq -c /c/log | awk '{print $1}' > /seen\n");
    tree(&lab, &[]);
    assert_eq!(read(&lab, "seen"), "50\n50\n50\n");
}

#[test]
fn caches_of_one_build_are_shared_or_private_as_asked() {
    let Some(lab) = lab() else { return };
    // Each step waits for the other through the shared cache; in a private one it is alone.
    let stage = |name: &str, other: &str| {
        format!(
            "FROM alpine AS {name}\nRUN --mount=type=cache,id=s,target=/s --mount=type=cache,id=p,target=/p,sharing=private \
             touch /s/{name} /p/{name}; while [ ! -e /s/{other} ]; do :; done; ls /p > /{name}\n"
        )
    };
    let end = "FROM scratch\nCOPY --from=a /a /a\nCOPY --from=b /b /b\n";
    lab.write("ctx/Dockerfile", format!("{}{}{end}", stage("a", "b"), stage("b", "a")));
    tree(&lab, &["--jobs=2"]);
    assert_eq!((read(&lab, "a"), read(&lab, "b")), ("a\n".to_owned(), "b\n".to_owned()));
}

#[test]
fn a_cache_in_use_is_not_removed_and_survives_a_kill() {
    let Some(lab) = lab() else { return };
    file(&lab, "RUN --mount=type=cache,id=k,target=/c echo kept > /c/f && echo ready && sleep 1000\n");
    let context = lab.path("ctx");
    let mut build = lab
        .command("store", &["build", "--progress=plain", context.to_str().unwrap()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = std::io::BufReader::new(build.stderr.take().unwrap());
    let mut line = String::new();
    while !line.ends_with("ready\n") {
        line.clear();
        assert_ne!(std::io::BufRead::read_line(&mut said, &mut line).unwrap(), 0, "it ended early");
    }
    let ran = lab.run("store", &["cache", "rm", "k"]);
    assert!(ran.code == 1 && ran.err.contains("in use by a running build"), "{}", ran.err);
    build.kill().unwrap();
    build.wait().unwrap();
    file(&lab, "RUN --mount=type=cache,id=k,target=/c cat /c/f > /seen\n");
    tree(&lab, &[]);
    assert_eq!(read(&lab, "seen"), "kept\n");
}

#[test]
fn powers_are_given_only_when_allowed() {
    let Some(lab) = lab() else { return };
    file(
        &lab,
        "RUN --security=insecure mount -t tmpfs x /root && grep CapEff /proc/self/status > /seen && \
         grep Seccomp: /proc/self/status >> /seen\n",
    );
    let ran = refused(&lab, &[]);
    assert!(ran.code == 2 && ran.err.contains("--allow security.insecure"), "{}", ran.err);
    tree(&lab, &["--allow=security.insecure"]);
    let seen = read(&lab, "seen");
    assert!(seen.contains("Seccomp:\t0"), "{seen}");
    let capabilities = u64::from_str_radix(seen.split_whitespace().nth(1).unwrap(), 16).unwrap();
    assert_ne!(capabilities & 1 << 21, 0, "CAP_SYS_ADMIN: {seen}");
}
