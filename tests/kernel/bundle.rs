//! Bundles, started by other runtimes: what runs in them is what would run in the sandbox.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lith::capabilities::Capabilities;
use lith::exec::process::{self, Overrides};
use lith::image::StoredImage;
use lith::mount::{Overlay, OverlayMarks};
use lith::sandbox::spec::{Access, First, Net, Process, SHM_SIZE, Spec, Status};
use lith::sandbox::{Launcher, Output, Stream};
use lith::store::{Store, Unpacking};
use serde_json::Value;

use crate::peers::tree::Tree;
use crate::rootless::{Ids, User};
use crate::support::{Lab, Ran, base_tar, has, kernel_lab, skip};

/// The runtimes as Debian has them.
const RUNTIMES: [&str; 2] = ["crun", "runc"];

/// What a process sees, one fact a line, whoever started it.
const LOOK: &str = "id -u; id -g; id -G; env | grep -v ^SHLVL | sort; pwd; hostname; umask; ulimit -c; ulimit -n; \
    grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; \
    for at in /proc /dev /dev/pts /dev/shm /dev/mqueue /sys; do \
        grep \" $at \" /proc/self/mounts | cut -d' ' -f2,3 | tail -1; done; \
    ls -A /proc/acpi /sys/firmware /dev/shm /dev/mqueue; wc -c </proc/keys; wc -c </proc/timer_list; \
    for node in null zero full random urandom tty; do ls -l /dev/$node | cut -c1-10; done; \
    (echo 1 >/proc/sysrq-trigger) 2>/dev/null || echo sysrq; \
    (echo x >/proc/sys/kernel/domainname) 2>/dev/null || echo sys; \
    (touch /sys/x) 2>/dev/null || echo sysfs; \
    (touch /written) 2>/dev/null && echo written; mount -t tmpfs none /opt 2>/dev/null || echo mount; \
    unshare -U true 2>/dev/null || echo unshare; unshare -n true 2>/dev/null || echo net; \
    mknod /tmp/disk b 254 0 2>/dev/null; cat /tmp/disk >/dev/null 2>&1 || echo disk; \
    exit 7";

/// A laboratory with an image `app` of several layers; `None` if a runtime is missing.
fn lab_with_app() -> Option<Lab> {
    let lab = kernel_lab()?;
    for program in RUNTIMES.iter().chain(&["umoci", "tar", "setcap"]) {
        if !has(program) {
            return skip(&format!("needs {program} (package {program})"));
        }
    }
    base_tar(&lab.path(""), None);
    lab.ok("s", &["import", "base.tar", "base"]);
    app(&lab, "ctx");
    lab.build("s", "ctx", &["-t", "app"]);
    Some(lab)
}

/// A context whose image removes, replaces and adds files, and has all that a config can say of a process.
fn app(lab: &Lab, context: &str) {
    lab.write(&format!("{context}/look"), LOOK);
    lab.write(
        &format!("{context}/Dockerfile"),
        "FROM base\n\
         RUN rm opt/old/a && rm -r opt/old/deep && echo new > opt/keep/new && ln opt/keep/k opt/keep/l && mkdir -m 700 own\n\
         COPY --chown=app:grp look /look\n\
         ENV A=\"b c\" LANG=C\n\
         LABEL what=test run.oci.hooks.stdout=/x\n\
         EXPOSE 80\n\
         STOPSIGNAL SIGINT\n\
         WORKDIR /opt/keep\n\
         USER app\n\
         ENTRYPOINT [\"sh\"]\n\
         CMD [\"/look\"]\n",
    );
}

/// Runs a bundle. crun takes no cgroup hierarchies of both versions at once, so in a mount namespace of its own the newer
/// one is taken off.
fn run(lab: &Lab, runtime: &str, bundle: &str) -> Ran {
    let state = lab.path(&format!("state-{runtime}"));
    let id = format!("lith-test-{}-{}", std::process::id(), bundle.replace('/', "-"));
    let script = "umount /sys/fs/cgroup/unified 2>/dev/null; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "sh", "-c", script, "sh", runtime, "--root"]).arg(state);
    command.args(["run", "-b", bundle, &id]).current_dir(lab.path("")).stdin(Stdio::null());
    Ran::of(command.output().unwrap())
}

#[derive(Default)]
struct Text(String);

impl Output for Text {
    fn chunk(&mut self, stream: Stream, bytes: &[u8]) {
        assert_eq!(stream, Stream::Stdout, "{}", String::from_utf8_lossy(bytes));
        self.0.push_str(&String::from_utf8_lossy(bytes));
    }
}

/// What the process of an image prints in lith's own sandbox.
fn sandboxed(lab: &Lab, image: &str, user: Option<&str>) -> String {
    let inspected = lab.ok("s", &["image", "inspect", image]).out;
    let digests = serde_json::from_str::<Value>(&inspected).unwrap()[0]["RepoDigests"].clone();
    let digest = digests[0].as_str().unwrap().split_once('@').unwrap().1.parse().unwrap();
    let store = Store::open(&lab.path("s"), Unpacking::Root).unwrap();
    let image = StoredImage::open(&store, digest).unwrap();
    let overrides = Overrides { user: user.map(str::to_owned), ..Overrides::default() };
    let resolved = process::resolve(&store, &image.config, &overrides).unwrap();
    let lowers = store.lowers(&process::rootfs(&store, &image.config).unwrap()).unwrap();
    let scratch = store.scratch().unwrap();
    let spec = Spec {
        root: Overlay { lowers, writable: Some(scratch.writable()), marks: OverlayMarks::Trusted },
        root_access: Access::ReadWrite,
        mount_points: None,
        process: Process {
            argv: resolved.argv,
            env: resolved.env,
            cwd: resolved.cwd,
            user: resolved.user,
            capabilities: Capabilities::default(),
            ulimits: vec!["nofile=100:200".parse().unwrap()],
            insecure: false,
            world: None,
            stdio: lith::sandbox::spec::Stdio::Output,
            work: lith::sandbox::spec::Work::Execute,
        },
        first: First::Process,
        hostname: "lith".into(),
        network: Net::Host,
        files: vec![],
        mounts: vec![],
        shm_size: SHM_SIZE,
    };
    let mut text = Text::default();
    let ended = Launcher::default().helper(env!("CARGO_BIN_EXE_lith")).run(&spec, &mut text).unwrap();
    assert_eq!(ended.status, Status::Exited(7), "{}", text.0);
    text.0
}

#[test]
fn runtimes_run_it_as_the_sandbox_would() {
    let Some(lab) = lab_with_app() else { return };
    for (user, dir) in [(None, "b-app"), (Some("0"), "b-root"), (Some("app:2001"), "b-group")] {
        let expected = sandboxed(&lab, "app", user);
        assert!(expected.contains("/opt/keep\nlith\n") && expected.contains("A=b c\n"), "{expected}");
        for runtime in RUNTIMES {
            let dir = format!("{dir}-{runtime}");
            let mut args = vec!["bundle", "--ulimit", "nofile=100:200"];
            args.extend(user.iter().flat_map(|user| ["-u", user]));
            args.extend(["app", &dir]);
            let bundled = lab.ok("s", &args);
            assert!(bundled.err.contains("left out: run.oci.hooks.stdout\n"), "{}", bundled.err);
            let ran = run(&lab, runtime, &dir);
            assert_eq!(
                (ran.code, ran.out.as_str()),
                (7, expected.as_str()),
                "{runtime} {user:?}: {}",
                ran.err
            );
        }
    }
}

/// A container of `lith run`, too: what is in there is the same, and so is the exit code.
#[test]
fn runtimes_print_what_lith_run_prints() {
    let Some(lab) = lab_with_app() else { return };
    // What `run` sets besides: the name of the host, as a variable.
    let named = ["--hostname", "kiln", "-e", "HOSTNAME=kiln", "--ulimit", "nofile=100:200"];
    for user in ["app", "0"] {
        let flags = [&named[..], &["-u", user]].concat();
        let ours = lab.run("s", &[&["run", "--rm"], &flags[..], &["app"]].concat());
        assert!(ours.code == 7 && ours.out.contains("kiln\n") && ours.out.contains("A=b c\n"), "{ours:?}");
        for runtime in RUNTIMES {
            let dir = format!("run-{runtime}-{user}");
            lab.ok("s", &[&["bundle"], &flags[..], &["app", &dir]].concat());
            let theirs = run(&lab, runtime, &dir);
            assert_eq!(
                (theirs.code, &theirs.out),
                (ours.code, &ours.out),
                "{runtime} as {user}: {}",
                theirs.err
            );
        }
    }
}

#[test]
fn flags_reach_the_process() {
    let Some(lab) = lab_with_app() else { return };
    let script = "id; echo $A-$B-$HOME-$LANG; pwd; hostname; grep CapBnd /proc/self/status; ulimit -n; \
        touch /x 2>/dev/null || echo read-only; ls /sys/class/net; echo $0 $1";
    for runtime in RUNTIMES {
        let dir = format!("b-{runtime}");
        let flags = "-e A --env B=x=y -e LANG -w /tmp -u 3:grp --cap-drop all --cap-add net_admin --network none \
            --read-only --hostname box --ulimit nofile=64 --entrypoint /bin/sh app";
        let mut args = vec!["bundle"];
        args.extend(flags.split_ascii_whitespace());
        args.extend([&dir, "-c", script, "zero", "-x"]);
        let mut command = lab.command("s", &args);
        let bundled = Ran::of(command.env_remove("A").env("LANG", "there").output().unwrap());
        assert_eq!(bundled.code, 0, "{}", bundled.err);
        let ran = run(&lab, runtime, &dir);
        let expected = "uid=3 gid=2001(grp)\n-x=y-/-there\n/tmp\nbox\nCapBnd:\t0000000000001000\n64\nread-only\nlo\nzero -x\n";
        assert_eq!((ran.code, ran.out.as_str()), (0, expected), "{runtime}: {}", ran.err);
    }
}

/// Modes, owners, times, extended attributes, links and devices are those that umoci makes of the same image.
#[test]
fn the_root_is_the_image_as_umoci_unpacks_it() {
    let Some(lab) = lab_with_app() else { return };
    lab.ok("s", &["bundle", "app", "ours"]);
    lab.build("s", "ctx", &["-o", "type=oci,tar=false,dest=app.oci", "-t", "app"]);
    let mut umoci = Command::new("umoci");
    umoci.args(["unpack", "--image", "app.oci:latest", "theirs"]).current_dir(lab.path(""));
    assert!(umoci.output().unwrap().status.success());
    let [ours, theirs] = ["ours", "theirs"].map(|dir| Tree::read(&lab.path(dir).join("rootfs"), &[]));
    assert_eq!(ours.differences(&theirs), Vec::<String>::new());
    let times = |tree: &Tree| -> BTreeMap<PathBuf, i64> {
        tree.0.iter().map(|(path, node)| (path.clone(), node.mtime)).collect()
    };
    assert_eq!(times(&ours), times(&theirs));
    let of = |path: &str| &ours.0[Path::new(path)];
    assert_eq!(of("opt/null").what, "char 1:3");
    assert_eq!(of("look").owner, (1000, 2001));
    assert_eq!(of("opt/keep").mode, 0o2750);
    assert_eq!(of("opt/keep/k").names, [Path::new("opt/keep/k"), Path::new("opt/keep/l")]);
    assert!(of("bin/capable").xattrs.contains_key("security.capability"));
    assert!(!ours.0.contains_key(Path::new("opt/old/a")) && ours.0.contains_key(Path::new("opt/old/hard")));
    // The annotations that umoci makes are among ours: those of the image-spec.
    let json = |dir: &str| -> Value {
        serde_json::from_slice(&fs::read(lab.path(dir).join("config.json")).unwrap()).unwrap()
    };
    let (ours, theirs) = (json("ours"), json("theirs"));
    assert_eq!(ours["annotations"]["what"], "test");
    for (name, value) in theirs["annotations"].as_object().unwrap() {
        // umoci takes no account of the rule on labels, and writes empty values.
        if !name.starts_with("run.oci.") && value != "" {
            assert_eq!(&ours["annotations"][name], value, "{name}");
        }
    }
    assert_eq!(ours["process"]["user"]["uid"], theirs["process"]["user"]["uid"]);
    assert_eq!(ours["process"]["args"], theirs["process"]["args"]);
}

/// All bytes of a directory with all that a tar says of files.
fn archived(dir: &Path) -> Vec<u8> {
    let mut tar = Command::new("tar");
    tar.args(["--xattrs", "--xattrs-include=*", "--numeric-owner", "--format=pax", "--sort=name"]);
    tar.args(["--pax-option=delete=atime,delete=ctime", "-cf", "-", "-C"]).arg(dir).arg(".");
    let output = tar.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn a_bundle_is_the_same_everywhere() {
    let Some(lab) = lab_with_app() else { return };
    lab.ok("s", &["bundle", "app", "one"]);
    // Another store, another umask, a directory that was there.
    lab.ok("other", &["import", "base.tar", "base"]);
    lab.build("other", "ctx", &["-t", "app"]);
    fs::create_dir(lab.path("two")).unwrap();
    let command = lab.command("other", &["bundle", "app", "two/"]);
    let mut with_umask = Command::new("sh");
    with_umask
        .args(["-c", "umask 077; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    assert!(with_umask.current_dir(lab.path("")).status().unwrap().success());
    assert!(archived(&lab.path("one")) == archived(&lab.path("two")));
    let text = fs::read_to_string(lab.path("one/config.json")).unwrap();
    let sorted: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string_pretty(&sorted).unwrap() + "\n", text);
    assert_eq!(fs::metadata(lab.path("one")).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn what_cannot_be_is_refused() {
    let Some(lab) = lab_with_app() else { return };
    lab.write("full/x", "");
    lab.write("file", "");
    lab.write("other/Dockerfile", "FROM scratch\nCOPY x /x\n");
    lab.write("other/x", "");
    let foreign = if cfg!(target_arch = "aarch64") { "linux/s390x" } else { "linux/arm64" };
    lab.build("s", "other", &["--platform", foreign, "-t", "foreign"]);
    lab.build("s", "other", &["-t", "bare"]);
    for (args, said) in [
        (vec!["app", "full"], "full is not empty; name a directory that is new or empty"),
        (vec!["app", "file"], "file is not a directory; name one that is new or empty"),
        (vec!["app", "no/b"], "no is not there, so no/b cannot be made in it; make it first"),
        (vec!["bare", "b"], "the image names no command; give one behind it"),
        (vec!["nothing", "b"], "image nothing is not in the store"),
        (vec!["foreign", "b", "/x"], "; for a bundle all the same pass --platform linux/"),
        (vec!["--platform", "linux/ppc64le", "app", "b"], "not for linux/ppc64le"),
        (vec!["-u", "nobody-here", "app", "b"], "\"nobody-here\" is not in the image's /etc/passwd"),
        (vec!["-w", "x", "app", "b"], "\"x\" is no absolute path"),
        (vec!["--cap-add", "x", "app", "b"], "--cap-add x: there is no capability x"),
        (vec!["-e", "=x", "app", "b"], "--env =x: expected NAME=VALUE or NAME"),
        (vec!["--hostname", "", "app", "b"], "\"\" is no host name"),
        (vec!["--ulimit", "nofile", "app", "b"], "--ulimit nofile: expected NAME=SOFT[:HARD]"),
    ] {
        let ran = lab.run("s", &[&["bundle"], &args[..]].concat());
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.err);
        assert!(ran.err.contains(said), "{args:?}: {}", ran.err);
        assert!(!lab.path("b").exists() && !lab.path(".b.lith-bundle").exists(), "{args:?}");
    }
    assert!(lab.path("full/x").exists());
    // What others put at the hidden place is not written to and not removed.
    let hidden = lab.path(".b.lith-bundle");
    let refused = |what: &str| {
        let ran = lab.run("s", &["bundle", "app", "b"]);
        assert_eq!(ran.code, 2, "{what}: {}", ran.err);
        assert!(ran.err.contains(".b.lith-bundle is in the way, and not what"), "{what}: {}", ran.err);
        assert!(!lab.path("b").exists() && lab.path("full/x").exists(), "{what}");
    };
    symlink(lab.path("full"), &hidden).unwrap();
    refused("a symlink");
    fs::remove_file(&hidden).unwrap();
    fs::create_dir(&hidden).unwrap();
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o755)).unwrap();
    refused("a directory that others enter");
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o700)).unwrap();
    chown(&hidden, Some(12345), None).unwrap();
    refused("a directory of somebody else");
    fs::remove_dir(&hidden).unwrap();
    lab.ok("s", &["bundle", "--platform", foreign, "foreign", "b", "/x"]);
    assert!(lab.path("b/rootfs/x").exists());
}

/// A process that is stopped in the middle keeps others from its place; once it is killed nothing of it is seen, and
/// the next one clears up.
#[test]
fn a_kill_leaves_no_half_bundle() {
    let Some(lab) = kernel_lab() else { return };
    for number in 0..3000 {
        lab.write(&format!("many/d{}/{number}", number % 50), format!("{number}").repeat(500));
    }
    lab.write("many/Dockerfile", "FROM scratch\nCOPY d* /\nCMD [\"/x\"]\n");
    lab.build("s", "many", &["-t", "many"]);
    let (place, hidden) = (lab.path("b"), lab.path(".b.lith-bundle"));
    let signal = |pid: u32, name: &str| {
        let sent = Command::new("kill").args([name, &pid.to_string()]).status().unwrap();
        assert!(sent.success());
    };
    let mut halves = 0;
    for _ in 0..20 {
        let mut child = lab.command("s", &["bundle", "many", "b"]).spawn().unwrap();
        while !hidden.join("rootfs").exists() && !place.exists() {
            std::thread::yield_now();
        }
        signal(child.id(), "-STOP");
        if !place.exists() {
            halves += 1;
            let ran = lab.run("s", &["bundle", "many", "b"]);
            assert_eq!((ran.code, ran.err.as_str()), (1, "error: another lith is writing b\n"));
        }
        signal(child.id(), "-KILL");
        child.wait().unwrap();
        if halves > 0 {
            break;
        }
        fs::remove_dir_all(&place).unwrap();
    }
    assert_eq!(halves, 1);
    assert!(!place.exists() && hidden.exists());
    lab.ok("s", &["bundle", "many", "b"]);
    assert!(!hidden.exists());
    let all = Tree::read(&lab.path("b/rootfs"), &[]);
    assert_eq!(all.0.values().filter(|node| node.what.starts_with("file")).count(), 3000);
}

/// A user who is not root, with ids of its own to give away: the files are theirs, and crun runs it.
#[test]
fn a_plain_user_makes_and_runs_one() {
    let Some(user) = User::new("bundle", Ids::Range) else { return };
    if !has("crun") {
        return skip("needs crun (package crun)").unwrap_or_default();
    }
    let lab = &user.lab;
    base_tar(&lab.path(""), None);
    user.ok(&["import", lab.path("base.tar").to_str().unwrap(), "base"]);
    app(lab, "ctx");
    user.build("ctx", &["-t", "app"]);
    for (network, dir) in [("host", "b-host"), ("none", "b-none")] {
        let bundled = user.ok(&["bundle", "--network", network, "--ulimit", "nofile=100:200", "app", dir]);
        assert!(
            bundled.err.contains("device nodes are left out, only root can make them: /opt/null\n"),
            "{}",
            bundled.err
        );
        let look = fs::metadata(lab.path("home").join(dir).join("rootfs/look")).unwrap();
        assert_eq!((look.uid(), look.gid()), (700_999, 702_000));
        let script = "umount /sys/fs/cgroup/unified 2>/dev/null; exec setpriv \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-c", script, "sh"]).args(user.privileges());
        command.args(["crun", "--root", "state", "run", "-b", dir, dir]).current_dir(lab.path("home"));
        command.env("HOME", lab.path("home")).env("XDG_RUNTIME_DIR", lab.path("home")).stdin(Stdio::null());
        let ran = Ran::of(command.output().unwrap());
        assert_eq!(ran.code, 7, "{}\n{}", ran.out, ran.err);
        for said in [
            "1000\n2000\n2000 2001\n",
            "A=b c\n",
            "HOME=/\n",
            "/opt/keep\nlith\n",
            "0\n100\n",
            "CapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb\n",
            "Seccomp:\t2\n",
            "/proc proc\n",
            "/sys sysfs\n",
            "sysrq\nsys\nsysfs\n",
            "mount\nunshare\nnet\ndisk\n",
        ] {
            assert!(ran.out.contains(said), "{said:?} in {}", ran.out);
        }
    }
}

/// Without other ids all files are the user's, and only its own process can run.
#[test]
fn a_plain_user_without_ids_gets_roots_files() {
    let Some(user) = User::new("single", Ids::Single) else { return };
    let lab = &user.lab;
    base_tar(&lab.path(""), None);
    user.ok(&["import", lab.path("base.tar").to_str().unwrap(), "base"]);
    let refused = user.run(&["bundle", "-u", "app", "base", "b", "/bin/id"]);
    assert_eq!(refused.code, 3, "{}", refused.err);
    assert!(
        refused.err.contains("user 1000 cannot be had in a user namespace with one id"),
        "{}",
        refused.err
    );
    let bundled = user.ok(&["bundle", "base", "b", "sh", "-c", "id; ls -ld /opt/keep"]);
    assert!(bundled.err.contains("3 files of other owners are root's"), "{}", bundled.err);
    let keep = fs::metadata(lab.path("home/b/rootfs/opt/keep")).unwrap();
    assert_eq!(keep.permissions().mode() & 0o7777, 0o2750);
    let text = fs::read_to_string(lab.path("home/b/config.json")).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(config["linux"]["uidMappings"][0]["size"], 1);
    assert_eq!(config["linux"]["uidMappings"][0]["hostID"], keep.uid());
    assert!(config["linux"].get("resources").is_none());
}
