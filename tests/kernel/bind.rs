//! RUN --mount: what a step finds, what it can write, what of it is in the layer, and when it is a hit.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::support::{Built, Lab, kernel_lab};

/// A lab with a base and a context.
fn lab(dockerfile: &str) -> Option<Lab> {
    let lab = kernel_lab()?;
    lab.base("store", "base");
    lab.write("ctx/Dockerfile", dockerfile);
    Some(lab)
}

/// All that a step printed, by its line of the file.
#[track_caller]
fn printed(built: &Built, line: u64) -> String {
    let ended = built.events.iter().find(|e| e["event"] == "ended" && e["line"] == line).expect("a step");
    let of_step = built.events.iter().filter(|e| e["event"] == "output" && e["step"] == ended["step"]);
    of_step.map(|e| e["data"].as_str().unwrap()).collect()
}

/// The diff ids of an image without its base.
#[track_caller]
fn layers(lab: &Lab, built: &Built) -> Vec<String> {
    let out = lab.ok("store", &["image", "inspect", &built.image()]).out;
    let all: serde_json::Value = serde_json::from_str(&out).unwrap();
    let layers = all[0]["RootFS"]["Layers"].as_array().unwrap();
    layers[1..].iter().map(|layer| layer.as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn fails(lab: &Lab, dockerfile: &str, says: &[&str]) {
    lab.write("ctx/Dockerfile", dockerfile);
    let ran = lab.run("store", &["build", "--progress=plain", lab.path("ctx").to_str().unwrap()]);
    assert_ne!(ran.code, 0, "{}", ran.out);
    for text in says {
        assert!(ran.err.contains(text), "{text:?} is not in {}", ran.err);
    }
}

#[test]
fn a_context_is_mounted_as_a_copy_would_be() {
    let text = "FROM base\n\
        RUN --mount=target=/ctx cd /ctx && find . | sort && stat -c '%n %a %u:%g %Y' . bin bin/tool && \
        readlink link && cat link && ! touch new\n\
        RUN --mount=source=bin/tool,target=/usr/bin/tool,ro --mount=source=link,target=/etc/in/l tool && cat /etc/in/l\n";
    let Some(lab) = lab(text) else { return };
    lab.write("ctx/.dockerignore", "*.log\n");
    lab.write("ctx/a.log", "ignored");
    lab.write("ctx/bin/tool", "#!/bin/sh\necho I run\n");
    lab.write("ctx/data", "data\n");
    symlink("data", lab.path("ctx/link")).unwrap();
    fs::set_permissions(lab.path("ctx/bin"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::set_permissions(lab.path("ctx/bin/tool"), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::chown(lab.path("ctx/bin/tool"), Some(12), Some(34)).unwrap();
    let built = lab.build("store", "ctx", &["--epoch", "1000"]);
    let shown = printed(&built, 2);
    assert_eq!(
        shown,
        ".\n./.dockerignore\n./Dockerfile\n./bin\n./bin/tool\n./data\n./link\n\
         . 755 0:0 1000\nbin 750 0:0 1000\nbin/tool 755 0:0 1000\ndata\ndata\n\
         touch: new: Read-only file system\n"
    );
    assert_eq!(printed(&built, 3), "I run\ndata\n");
}

/// Not even the mount points of a root file system are in it.
#[test]
fn a_whole_stage_and_a_closed_directory_are_mounted_as_they_are() {
    let text = "FROM scratch AS files\n\
        COPY private /private\n\
        FROM base\n\
        RUN --mount=from=files,target=/x --mount=source=private,target=/y ls -A /x && stat -c %a /y\n";
    let Some(lab) = lab(text) else { return };
    lab.write("ctx/private/f", "f");
    fs::set_permissions(lab.path("ctx/private"), fs::Permissions::from_mode(0o750)).unwrap();
    assert_eq!(printed(&lab.build("store", "ctx", &[]), 4), "private\n750\n");
}

#[test]
fn stages_images_and_named_contexts_are_mounted() {
    let text = "FROM base AS one\n\
        RUN mkdir -p /out/deep && echo one > /out/deep/f && chown -R 5:6 /out && ln -s out /link\n\
        FROM base\n\
        RUN --mount=from=one,source=link/deep,target=/x --mount=from=base,source=/etc/passwd,target=/p \
        --mount=from=more,target=/more stat -c '%u:%g' /x/f && cat /x/f /more/m && grep -c root /p\n";
    let Some(lab) = lab(text) else { return };
    lab.write("other/m", "more\n");
    let more = format!("more={}", lab.path("other").display());
    let built = lab.build("store", "ctx", &["--build-context", &more]);
    assert_eq!(printed(&built, 4), "5:6\none\nmore\n1\n");
}

#[test]
fn what_is_written_to_a_bind_mount_is_thrown_away() {
    let text = "FROM base AS one\n\
        RUN mkdir /out && echo old > /out/f\n\
        FROM base\n\
        RUN --mount=from=one,source=/out,target=/o,rw --mount=target=/ctx,rw echo new > /o/f && rm /ctx/c && cat /o/f\n\
        RUN --mount=from=one,source=/out,target=/o --mount=target=/ctx cat /o/f /ctx/c\n";
    let Some(lab) = lab(text) else { return };
    lab.write("ctx/c", "c\n");
    let built = lab.build("store", "ctx", &[]);
    assert_eq!(printed(&built, 4), "new\n");
    assert_eq!(printed(&built, 5), "old\nc\n");
    assert_eq!(fs::read_to_string(lab.path("ctx/c")).unwrap(), "c\n");
    lab.ok("store", &["store", "verify"]);
}

#[test]
fn mounts_leave_nothing_in_the_layer() {
    let text = "FROM base\nRUN echo x > /result\n";
    let Some(lab) = lab(text) else { return };
    lab.write("ctx/file", "f");
    let plain = layers(&lab, &lab.build("store", "ctx", &[]));
    // Over what is there and what is not, directories and files, deep and nested, and over each other.
    let mounts = "--mount=target=/new/deep/er --mount=source=file,target=/etc/in/a/file \
        --mount=type=cache,target=/root/.cache/x --mount=type=tmpfs,target=/etc --mount=target=/tmp/m \
        --mount=source=file,target=/bin/busybox-not --mount=type=tmpfs,target=/root/.cache/x/in \
        --mount=target=/dev/mine --mount=type=cache,target=/tmp,rw";
    lab.write("ctx/Dockerfile", format!("FROM base\nRUN {mounts} echo x > /result\n"));
    let mounted = layers(&lab, &lab.build("store", "ctx", &[]));
    assert_eq!(mounted, plain);
    // What the step makes below them is its own.
    let text = "FROM base\nRUN --mount=type=tmpfs,target=/a/b/c touch /a/b/c/lost /a/kept\n";
    lab.write("ctx/Dockerfile", text);
    let mounted = layers(&lab, &lab.build("store", "ctx", &[]));
    lab.write("ctx/Dockerfile", "FROM base\nRUN mkdir /a && touch /a/kept\n");
    assert_eq!(mounted, layers(&lab, &lab.build("store", "ctx", &[])));
    lab.write("ctx/Dockerfile", "FROM base\nRUN --mount=type=tmpfs,target=/etc true\nRUN cat /etc/passwd\n");
    assert!(printed(&lab.build("store", "ctx", &[]), 3).contains("root"), "what was covered is there again");
}

/// S4: what a step puts in the place of a mount point's parent is not followed when mount points are cleared away.
#[test]
fn a_swapped_parent_of_a_mount_point_leads_nowhere() {
    let Some(lab) = lab("") else { return };
    lab.write("outside/b/keep", "k");
    let outside = lab.path("outside");
    let swap = format!("mv /a /z && ln -s {} /a", outside.display());
    lab.write("ctx/Dockerfile", format!("FROM base\nRUN --mount=type=tmpfs,target=/a/b/c {swap}\n"));
    let built = lab.build("store", "ctx", &[]);
    assert_eq!(fs::read_to_string(outside.join("b/keep")).unwrap(), "k");
    assert_eq!(lith::sys::dir::list_path(&outside.join("b")).unwrap().len(), 1);
    // What was moved was moved by the step.
    lab.write("ctx/Dockerfile", format!("FROM base\nRUN mkdir -p /a/b/c && {swap}\n"));
    assert_eq!(layers(&lab, &built), layers(&lab, &lab.build("store", "ctx", &[])));
}

#[test]
fn targets_are_resolved_in_the_image() {
    let text = "FROM base\n\
        RUN mkdir -p /real && ln -s /real /abs && ln -s ../../../../real /up && ln -s /run /var-run && ln -s / /root-link\n\
        WORKDIR /w\n\
        RUN --mount=target=/abs/x --mount=target=/up/y --mount=target=rel --mount=target=/var-run/z \
        ls /real /w /run; ls /real/x\n";
    let Some(lab) = lab(text) else { return };
    let built = lab.build("store", "ctx", &[]);
    assert_eq!(printed(&built, 4), "/real:\nx\ny\n\n/run:\nz\n\n/w:\nrel\nDockerfile\n");
    assert!(fs::symlink_metadata("/real").is_err(), "nothing is made outside");
    let base = "FROM base\nRUN ln -s / /r && ln -s /proc /p && touch /f\n";
    fails(
        &lab,
        &format!("{base}RUN --mount=target=/r true\n"),
        &["nothing can be mounted at /r", "the root itself", "stage0/2"],
    );
    fails(&lab, &format!("{base}RUN --mount=target=/p/self true\n"), &["file system of the kernel's"]);
    fails(&lab, &format!("{base}RUN --mount=target=/f true\n"), &["a directory cannot be mounted on a file"]);
    fails(
        &lab,
        &format!("{base}RUN --mount=source=Dockerfile,target=/etc true\n"),
        &["a file cannot be mounted"],
    );
    fails(&lab, &format!("{base}RUN --mount=target=/f/x true\n"), &["nothing can be mounted at /f/x"]);
}

#[test]
fn sources_that_are_not_there_are_named() {
    let Some(lab) = lab("") else { return };
    lab.write("ctx/.dockerignore", "hidden\n");
    lab.write("ctx/hidden", "x");
    fails(
        &lab,
        "FROM base\nRUN --mount=source=no/such,target=/x true\n",
        &["no/such is not in the build context"],
    );
    fails(
        &lab,
        "FROM base\nRUN --mount=source=hidden,target=/x true\n",
        &["hidden is left out", ".dockerignore"],
    );
    fails(&lab, "FROM base\nRUN --mount=source=*,target=/x true\n", &["* is not in the build context"]);
    fails(
        &lab,
        "FROM base\nRUN --mount=from=base,source=/none,target=/x true\n",
        &["none is not in the image"],
    );
}

#[test]
fn memory_has_the_size_that_is_asked_for() {
    let text = "FROM base\n\
        RUN --mount=type=tmpfs,target=/t,size=64k --mount=type=tmpfs,target=/ro,ro \
        ! dd if=/dev/zero of=/t/x bs=1k count=100 2>/dev/null; stat -c '%s %a' /t/x; stat -c %a /t; ! touch /ro/x\n";
    let Some(lab) = lab(text) else { return };
    let shown = printed(&lab.build("store", "ctx", &[]), 2);
    assert_eq!(shown, "65536 644\n1777\ntouch: /ro/x: Read-only file system\n");
}

#[test]
fn only_a_change_of_what_is_mounted_reruns_a_step() {
    let step = "RUN --mount=source=in,target=/in cat /in/a > /out";
    let Some(lab) = lab(&format!("FROM base\n{step}\n")) else { return };
    lab.write("ctx/in/a", "1");
    lab.write("ctx/beside", "1");
    lab.build("store", "ctx", &[]);
    lab.write("ctx/beside", "2");
    assert_eq!(lab.build("store", "ctx", &[]).status(step), "hit");
    lab.write("ctx/in/a", "2");
    let again = lab.build("store", "ctx", &[]);
    assert_eq!(again.why(step), "what is mounted at /in changed");
    // The same content from elsewhere, under another name.
    lab.write("ctx/moved/a", "2");
    lab.write("ctx/Dockerfile", "FROM base\nRUN --mount=source=moved,target=/in cat /in/a > /out\n");
    assert_eq!(lab.build("store", "ctx", &[]).with_status("built"), [""; 0]);
    fs::set_permissions(lab.path("ctx/moved/a"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(lab.build("store", "ctx", &[]).with_status("built").len(), 1, "modes can be seen");
}

#[test]
fn a_stage_that_comes_out_the_same_reruns_nothing_that_mounts_it() {
    let step = "RUN --mount=from=one,source=/made,target=/in cat /in > /out";
    let text = |first: &str| format!("FROM base AS one\nRUN {first}\nFROM base\n{step}\n");
    let Some(lab) = lab(&text("echo 1 > /made")) else { return };
    lab.build("store", "ctx", &[]);
    lab.write("ctx/Dockerfile", text("echo 1 > /made && echo beside > /beside"));
    assert_eq!(lab.build("store", "ctx", &[]).status(step), "hit");
    lab.write("ctx/Dockerfile", text("echo 2 > /made"));
    let plan = lab.ok("store", &["plan", lab.path("ctx").to_str().unwrap()]).out;
    assert!(plan.contains("unknown") && plan.contains("needs one"), "{plan}");
    assert_eq!(lab.build("store", "ctx", &[]).why(step), "what is mounted at /in changed");
}

#[test]
fn insecure_steps_need_to_be_allowed_and_then_may_do_what_root_may() {
    let step = "RUN --security=insecure grep -c . /proc/kcore >/dev/null 2>&1; grep CapEff /proc/self/status; \
        mount -t tmpfs none /mnt && umount /mnt && echo mounted; test -b /dev/loop0 && echo loop; \
        test -w /proc/sys/kernel/hostname && echo writable; echo x > /result";
    let Some(lab) = lab(&format!("FROM base\nRUN mkdir /mnt\n{step}\n")) else { return };
    let context = lab.path("ctx");
    let ran = lab.run("store", &["build", context.to_str().unwrap()]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("Dockerfile:3:") && ran.err.contains("--allow security.insecure"),
        "{}",
        ran.err
    );
    let built = lab.build("store", "ctx", &["--allow", "security.insecure"]);
    let shown = printed(&built, 3);
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find(|line| line.starts_with("CapEff")).unwrap();
    assert!(shown.contains(own), "{shown} {own}");
    for line in ["mounted", "loop", "writable"] {
        assert!(shown.lines().any(|l| l == line), "{line} is not in {shown}");
    }
    assert_eq!(
        built.ended(step)["effects"],
        serde_json::json!(["network", "clock", "entropy", "machine", "insecure"])
    );
    assert_eq!(lab.build("store", "ctx", &["--allow", "security.insecure"]).status(step), "hit");
}
