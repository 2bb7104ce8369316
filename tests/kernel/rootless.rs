//! Plain users: with a range of ids, without one, and where user namespaces are forbidden. The images are those that
//! root builds.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Built, Lab, Ran, has, kernel_lab, skip};
use crate::{packages, secrets, vectors};

/// Whether a user is granted subordinate ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    Range,
    Single,
}

/// A system user that vanishes with its test, and a laboratory in which it has a directory of its own.
pub struct User {
    name: String,
    uid: u32,
    gid: u32,
    pub ids: Ids,
    pub lab: Lab,
}

impl Drop for User {
    fn drop(&mut self) {
        // A second panic would hide the first.
        if !std::thread::panicking() {
            change_users("userdel", &[&self.name]);
        }
    }
}

/// Runs a program that changes the user database; it is locked by one at a time, and a user's last process may still be
/// on its way out.
fn change_users(program: &str, args: &[&str]) {
    let began = Instant::now();
    loop {
        let output = Command::new(program).args(args).output().unwrap();
        if output.status.success() {
            return;
        }
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let passing = text.contains("lock") || text.contains("currently used");
        assert!(passing && began.elapsed() < Duration::from_secs(30), "{program} {args:?}: {text}");
        std::thread::yield_now();
    }
}

fn id(flag: &str, name: &str) -> u32 {
    let output = Command::new("id").args([flag, name]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

impl User {
    /// Makes a user, if this machine lets us. `tag` makes the name its own.
    pub fn new(tag: &str, ids: Ids) -> Option<Self> {
        let lab = kernel_lab()?;
        for program in ["useradd", "setpriv", "newuidmap"] {
            if !has(program) {
                return skip(&format!("needs {program} (packages passwd, util-linux, uidmap)"));
            }
        }
        let name = format!("lith{tag}{}", std::process::id());
        change_users("useradd", &["--system", "--no-create-home", "--user-group", &name]);
        if ids == Ids::Range {
            change_users(
                "usermod",
                &["--add-subuids", "700000-765535", "--add-subgids", "700000-765535", &name],
            );
        }
        let user = Self { uid: id("-u", &name), gid: id("-g", &name), ids, name, lab };
        fs::copy(env!("CARGO_BIN_EXE_lith"), user.lab.path("lith")).unwrap();
        fs::create_dir(user.lab.path("home")).unwrap();
        chown(user.lab.path("home"), Some(user.uid), Some(user.gid)).unwrap();
        Some(user)
    }

    /// The arguments of setpriv(1) that become this user.
    pub fn privileges(&self) -> Vec<String> {
        let (uid, gid) = (self.uid.to_string(), self.gid.to_string());
        ["--reuid", &uid, "--regid", &gid, "--clear-groups"].map(str::to_owned).into()
    }

    /// The program, as this user, with a store of its own.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command.args(self.privileges()).arg(self.lab.path("lith"));
        command.arg("--root").arg(self.store()).args(args).current_dir(self.lab.path("home"));
        command.env("HOME", self.lab.path("home"));
        command
    }

    /// Makes a file this user's.
    pub fn give(&self, path: &Path) {
        chown(path, Some(self.uid), Some(self.gid)).unwrap();
    }

    pub fn store(&self) -> PathBuf {
        self.lab.path("home/store")
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{args:?}\n{}\n{}", ran.out, ran.err);
        ran
    }

    #[track_caller]
    pub fn base(&self, name: &str) {
        let tar = self.lab.path("base.tar");
        fs::write(&tar, crate::support::busybox_tar()).unwrap();
        self.ok(&["import", tar.to_str().unwrap(), name]);
    }

    #[track_caller]
    pub fn build(&self, context: &str, more: &[&str]) -> Built {
        let context = self.lab.path(context);
        let mut args = vec!["build", "--progress=json"];
        args.extend(more);
        args.push(context.to_str().unwrap());
        Built::of(&self.ok(&args).out)
    }

    #[track_caller]
    fn own_layers(&self, built: &Built) -> Vec<String> {
        let out = self.ok(&["image", "inspect", &built.image()]).out;
        let layers = serde_json::from_str::<serde_json::Value>(&out).unwrap()[0]["RootFS"]["Layers"].clone();
        layers.as_array().unwrap()[1..].iter().map(|l| l.as_str().unwrap().to_owned()).collect()
    }
}

const STAGES: &str = "FROM alpine AS one\n\
    COPY --chown=nobody:nogroup src /src\n\
    RUN cat /src/a > /made && mkdir -p /d/e && ln /made /d/e/hard && ln -s e /d/link\n\
    FROM alpine\n\
    COPY --from=one --chown=7:8 /d /d\n\
    COPY --from=one /src /src\n\
    WORKDIR /w/x\n\
    RUN cat /src/a /d/e/hard > sum && chmod 4755 sum && rm -r /d/e\n";

fn stages(lab: &Lab, dockerfile: &str) {
    lab.write("ctx/Dockerfile", dockerfile);
    lab.write("ctx/src/a", "a");
    lab.write("ctx/src/sub/b", "b");
}

#[test]
fn buildkits_layers_come_out_for_a_user_with_a_range() {
    let Some(user) = User::new("r", Ids::Range) else { return };
    user.base("busybox-base");
    vectors::context(&user.lab, "ctx");
    for cache in ["cold", "warm"] {
        let built = user.build("ctx", &["--epoch", "1700000000"]);
        assert_eq!(built.with_status("hit").len(), if cache == "cold" { 0 } else { 8 }, "{cache}");
        assert_eq!(user.own_layers(&built), vectors::DIFF_IDS, "{cache}");
    }
    user.ok(&["store", "verify"]);
}

#[test]
fn buildkits_layers_come_out_for_a_user_without_a_range() {
    let Some(user) = User::new("s", Ids::Single) else { return };
    user.base("busybox-base");
    vectors::context(&user.lab, "ctx");
    for cache in ["cold", "warm"] {
        let built = user.build("ctx", &["--epoch", "1700000000"]);
        assert_eq!(user.own_layers(&built), vectors::DIFF_IDS, "{cache}");
    }
}

#[test]
fn users_build_the_image_that_root_builds() {
    let Some(user) = User::new("m", Ids::Range) else { return };
    stages(&user.lab, STAGES);
    user.lab.base("root", "alpine");
    let expected = user.lab.build("root", "ctx", &[]).manifest();
    user.base("alpine");
    assert_eq!(user.build("ctx", &[]).manifest(), expected);
    assert_eq!(user.build("ctx", &[]).with_status("built"), [""; 0]);
    // Under another umask, from nothing.
    user.ok(&["gc", "-a"]);
    let script = "umask 077; exec \"$0\" \"$@\"";
    let context = user.lab.path("ctx");
    let mut command = Command::new("setpriv");
    command.args(user.privileges()).args(["sh", "-c", script]).arg(user.lab.path("lith"));
    command.arg("--root").arg(user.store()).args(["build", "--no-cache", "--progress=json"]).arg(context);
    let ran = Ran::of(command.output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(Built::of(&ran.out).manifest(), expected);
}

#[test]
fn users_configure_packages_to_the_bytes_of_root() {
    let (Some(user), Some(_)) = (User::new("p", Ids::Range), packages::bookworm()) else { return };
    user.lab.write("debian/image.kdl", packages::CONFIGURED);
    let expected = user.lab.build("root", "debian", &[]).manifest();
    user.ok(&["store", "verify"]);
    packages::take_downloads(&user.lab.path("root"), &user.store());
    let mut give = Command::new("chown");
    give.args(["-R", &format!("{}:{}", user.uid, user.gid)]).arg(user.store());
    assert!(give.status().unwrap().success());
    assert_eq!(user.build("debian", &[]).manifest(), expected);
}

/// Mounts of every kind, over what is there and what is not.
const MOUNTS: &str = "FROM alpine AS one\n\
    RUN mkdir /out && echo one > /out/f && chown 5:6 /out/f\n\
    FROM alpine\n\
    RUN --mount=target=/ctx --mount=from=one,source=/out,target=/o,rw --mount=type=tmpfs,target=/t \
    --mount=type=cache,target=/root/.cache,uid=3 --mount=source=src/a,target=/etc/in/file \
    cat /ctx/src/a /o/f /etc/in/file > /made && echo x > /o/f && touch /t/x /root/.cache/x && ! touch /ctx/x\n\
    RUN --mount=type=cache,target=/root/.cache,uid=3 ls /root/.cache > /listed\n\
    RUN --security=insecure test -w /proc/sys/kernel/domainname; echo > /insecure\n";

#[test]
fn mounts_are_the_same_for_users_with_and_without_a_range() {
    for (tag, ids) in [("x", Ids::Range), ("y", Ids::Single)] {
        let Some(user) = User::new(tag, ids) else { return };
        stages(&user.lab, MOUNTS);
        let allow = ["--allow", "security.insecure"];
        user.lab.base("root", "alpine");
        let expected = user.lab.build("root", "ctx", &allow).manifest();
        user.base("alpine");
        assert_eq!(user.build("ctx", &allow).manifest(), expected, "{tag}");
        user.ok(&["cache", "export", "/root/.cache", "cache.tar"]);
        user.ok(&["gc", "--caches"]);
        assert_eq!(user.ok(&["cache", "ls"]).out.lines().count(), 1);
    }
}

/// As root's: whether the step succeeds or fails, and whatever it prints.
#[test]
fn secrets_of_users_are_found_nowhere() {
    for (tag, ids) in [("k", Ids::Range), ("l", Ids::Single)] {
        let Some(user) = User::new(tag, ids) else { return };
        user.base("alpine");
        user.lab.write("token", secrets::CANARY);
        let (context, secret) =
            (user.lab.path("ctx"), format!("id=token,src={}", user.lab.path("token").display()));
        for (end, code) in [("true", 0), ("exit 7", 1)] {
            stages(&user.lab, &format!("FROM alpine\n{}; {end}\n", secrets::USES));
            let ran = user.run(&["build", "--secret", &secret, context.to_str().unwrap()]);
            assert_eq!(ran.code, code, "{tag}: {}", ran.err);
            assert!(ran.err.contains("*****"), "{tag}: it was printed: {}", ran.err);
            secrets::clean("standard output", ran.out.as_bytes());
            secrets::clean("standard error", ran.err.as_bytes());
            let log = user.run(&["log", "stage0/1"]);
            secrets::clean("log", format!("{}{}", log.out, log.err).as_bytes());
            secrets::store_is_clean(&user.store());
        }
    }
}

#[test]
fn a_user_without_a_range_records_owners() {
    let Some(user) = User::new("o", Ids::Single) else { return };
    stages(&user.lab, STAGES);
    user.lab.base("root", "alpine");
    let expected = user.lab.build("root", "ctx", &[]).manifest();
    user.base("alpine");
    assert_eq!(user.build("ctx", &[]).manifest(), expected);
    // Owners that a single id cannot give are noted, survive the next step, and are in the layer.
    stages(
        &user.lab,
        "FROM alpine\nRUN touch /x /y && mkdir /d && chown 12:34 /x /y /d\nRUN chown 0:0 /y && chmod 600 /x && touch /d/in\n",
    );
    let expected = user.lab.build("root", "ctx", &[]).manifest();
    assert_eq!(user.build("ctx", &[]).manifest(), expected);
    // What cannot be done says so.
    let context = user.lab.path("ctx");
    stages(&user.lab, "FROM alpine\nUSER nobody\nRUN true\n");
    let ran = user.run(&["build", context.to_str().unwrap()]);
    assert!(matches!(ran.code, 1 | 3), "{} {}", ran.code, ran.err);
    assert!(ran.err.contains("subuid"), "what is missing is named: {}", ran.err);
}

#[test]
fn gc_removes_files_of_subordinate_ids() {
    let Some(user) = User::new("g", Ids::Range) else { return };
    user.base("alpine");
    user.lab.write(
        "ctx/Dockerfile",
        "FROM alpine\nRUN mkdir -m 700 /a && touch /a/f && chown -R 1000:1000 /a && mkdir -m 0 /b && chown 5 /b\nRUN rm -r /a\n",
    );
    user.build("ctx", &[]);
    let owner_of_anything = |uid: u32| {
        let found = Command::new("find").arg(user.store()).args(["-uid", &uid.to_string()]).output().unwrap();
        !found.stdout.is_empty()
    };
    assert!(owner_of_anything(700_000 + 999), "owners are on disk");
    user.ok(&["gc", "-a"]);
    assert!(!owner_of_anything(700_000 + 999));
    for dir in ["overlay", "tmp", "l"] {
        let left = lith::sys::dir::list_path(&user.store().join(dir)).unwrap();
        let unpacked: Vec<_> = left.iter().filter(|e| e.name != b"mapping").collect();
        // The base has a name, so it stays.
        assert!(unpacked.len() <= 1, "{dir}: {unpacked:?}");
    }
    assert_eq!(fs::metadata(user.store()).unwrap().mode() & 0o777, 0o700);
    user.build("ctx", &[]);
}

/// Runs the program as the user in a user namespace in which nobody can make another one.
fn forbidden(user: &User, args: &[&str]) -> Ran {
    // The second shell is started after the ids are mapped: only then is it root.
    let script =
        "read x; exec sh -c 'echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv \"$@\"' \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["--user", "sh", "-c", script, "sh", "sh"])
        .args(user.privileges())
        .arg(user.lab.path("lith"));
    command.arg("--root").arg(user.store()).args(args).current_dir(user.lab.path("home"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let own = fs::read_link("/proc/self/ns/user").unwrap();
    let proc = PathBuf::from(format!("/proc/{}", child.id()));
    let began = Instant::now();
    while fs::read_link(proc.join("ns/user")).is_ok_and(|ns| ns == own) {
        assert!(began.elapsed().as_secs() < 10, "unshare --user does not work");
        std::thread::yield_now();
    }
    for map in ["uid_map", "gid_map"] {
        fs::write(proc.join(map), "0 0 800000\n").unwrap();
    }
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    Ran::of(child.wait_with_output().unwrap())
}

#[test]
fn without_user_namespaces_copies_build_and_runs_say_what_is_missing() {
    let Some(user) = User::new("f", Ids::Range) else { return };
    stages(
        &user.lab,
        "FROM alpine AS one\nCOPY --chown=nobody src /src\nFROM alpine\nCOPY --from=one /src /src\nWORKDIR /w\n",
    );
    user.lab.base("root", "alpine");
    let expected = user.lab.build("root", "ctx", &[]).manifest();
    user.base("alpine");
    let context = user.lab.path("ctx");
    let ran = forbidden(&user, &["build", "--progress=json", context.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert_eq!(Built::of(&ran.out).manifest(), expected);
    user.lab.write("ctx/Dockerfile", "FROM alpine\nRUN true\n");
    let ran = forbidden(&user, &["build", context.to_str().unwrap()]);
    assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("user namespace") && ran.err.contains("max_user_namespaces"), "{}", ran.err);
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
}

/// A cgroup takes rights that most users do not have; limits of single processes do not.
#[test]
fn limits_of_users() {
    for (tag, ids) in [("lr", Ids::Range), ("ls", Ids::Single)] {
        let Some(user) = User::new(tag, ids) else { return };
        user.base("alpine");
        user.lab.write(
            "ctx/Dockerfile",
            "FROM alpine\nRUN ulimit -n > /n; df -k /dev/shm | grep -c ' 8192 ' >> /n\n",
        );
        let (context, out) = (user.lab.path("ctx"), user.lab.path("home/out"));
        let context = context.to_str().unwrap();
        let ran = user.run(&["build", "--memory=64m", context]);
        assert_eq!(ran.code, 3, "{}", ran.err);
        assert!(ran.err.contains("--memory needs a") && ran.err.contains("cgroup"), "{}", ran.err);
        let dest = format!("type=local,dest={}", out.display());
        user.ok(&["build", "--ulimit=nofile=64", "--shm-size=8m", "-o", &dest, context]);
        assert_eq!(fs::read_to_string(out.join("n")).unwrap(), "64\n1\n");
    }
}
