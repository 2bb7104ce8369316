//! Attacks on the sandbox, from inside, on the real kernel: as a RUN step and as a process of the launcher. Names begin
//! with the row of the project's list of threats; spec/threats.md says which test holds which row.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lith::capabilities::Capabilities;
use lith::mount::{Overlay, OverlayMarks, Writable};
use lith::sandbox::spec;
use lith::sandbox::spec::{Access, First, Ids, Mount, Mounted, Net, Process, SHM_SIZE, Spec, Status};
use lith::sandbox::{Launcher, Output, SandboxError, SetupError, Stream};

use crate::sandbox::processes_with;
use crate::support::{Lab, Ran, bless, has, kernel_lab, skip};

/// A place with a root file system in which perl makes raw system calls, and the same as an image.
struct World {
    lab: Lab,
}

#[derive(Default)]
struct Text(String);

impl Output for Text {
    fn chunk(&mut self, _: Stream, bytes: &[u8]) {
        self.0.push_str(&String::from_utf8_lossy(bytes));
    }
}

/// Copies a program with the libraries it needs.
fn install(root: &Path, program: &str) {
    let list = Command::new("ldd").arg(program).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let paths = list.split_whitespace().filter(|word| word.starts_with('/'));
    for path in paths.chain([program]) {
        let to = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let done = Command::new("install").arg("-m755").arg(path).arg(&to).status();
        assert!(done.unwrap().success(), "{path}");
    }
}

impl World {
    fn new() -> Option<Self> {
        let lab = kernel_lab()?;
        if !has("perl") || std::env::consts::ARCH != "x86_64" {
            return skip("needs perl on x86-64");
        }
        let root = lab.path("root");
        for dir in ["bin", "etc", "tmp", "dev", "proc", "sys", "upper", "work"] {
            let at = if matches!(dir, "upper" | "work") { lab.path(dir) } else { root.join(dir) };
            fs::create_dir_all(at).unwrap();
        }
        install(&root, "/bin/busybox");
        install(&root, "/usr/bin/perl");
        lab.write("root/etc/passwd", "root:x:0:0::/:/bin/sh\n");
        lab.write("root/etc/lower", "lower\n");
        let applets =
            Command::new("chroot").arg(&root).args(["/bin/busybox", "--install", "-s", "/bin"]).status();
        assert!(applets.unwrap().success());
        let tar = lab.path("root.tar");
        let packed = Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&tar).arg(".").status();
        assert!(packed.unwrap().success());
        lab.ok("store", &["import", tar.to_str().unwrap(), "attacker"]);
        Some(Self { lab })
    }

    fn spec(&self, script: &str) -> Spec {
        Spec {
            root: Overlay {
                lowers: vec![self.lab.path("root")],
                writable: Some(Writable { upper: self.lab.path("upper"), work: self.lab.path("work") }),
                marks: OverlayMarks::Trusted,
            },
            root_access: Access::ReadWrite,
            mount_points: None,
            process: Process {
                argv: ["sh", "-c", script].map(str::to_owned).into(),
                env: vec!["PATH=/bin:/usr/bin".into()],
                cwd: "/".into(),
                user: Ids::default(),
                capabilities: Capabilities::default(),
                ulimits: vec![],
                insecure: false,
                world: Some(crate::sandbox::told()),
                stdio: spec::Stdio::Captured,
                work: spec::Work::Execute,
            },
            first: First::Init,
            hostname: "box".into(),
            network: Net::None,
            files: vec![],
            mounts: vec![],
            shm_size: SHM_SIZE,
        }
    }

    /// A step of this script, with options of RUN and of the build.
    fn step(&self, options: &str, script: &str, more: &[&str]) -> Ran {
        let file = format!("FROM attacker\nENV PATH=/bin:/usr/bin\nRUN {options} <<'EOF'\n{script}\nEOF\n");
        self.lab.write("ctx/Dockerfile", file);
        let context = self.lab.path("ctx");
        let args = [&["build", "--no-cache"][..], more, &[context.to_str().unwrap()]].concat();
        self.lab.run("store", &args)
    }

    /// What a script says, which must be the same from a step and from a process of the launcher.
    #[track_caller]
    fn says(&self, script: &str) -> String {
        let mut text = Text::default();
        let ended = launcher().run(&self.spec(script), &mut text).unwrap();
        assert_eq!(ended.status, Status::Exited(0), "{}", text.0);
        let out = self.lab.path("out");
        let _ = fs::remove_dir_all(&out);
        let dest = format!("type=local,dest={}", out.display());
        let ran = self.step("", &format!("exec > /said 2>&1\n{script}"), &["-o", &dest]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert_eq!(fs::read_to_string(out.join("said")).unwrap(), text.0, "a step, and a process alone");
        text.0
    }
}

fn launcher() -> Launcher {
    Launcher::default().helper(env!("CARGO_BIN_EXE_lith"))
}

/// Perl that passes `$fd` over the Unix socket at `$at`.
const PASS: &str = r#"
sub pass { my ($at, $fd) = @_;
  socket(my $s, 1, 1, 0) or die "socket $!"; connect($s, pack("S a*", 1, $at)) or die "connect $!";
  my $byte = "x"; my $part = pack("P Q", $byte, 1);
  my $rights = pack("Q l l l x4", 20, 1, 1, $fd);
  my $message = pack("Q Q P Q P Q Q", 0, 0, $part, 1, $rights, 24, 0);
  syscall(46, fileno($s), $message, 0) == 1 or die "sendmsg $!"; }
"#;

fn perl(script: &str) -> String {
    format!("cat > /tmp/a.pl <<'PERL'\n$| = 1;\n{script}\nPERL\nperl /tmp/a.pl")
}

/// Takes the descriptor that a process in a sandbox passes.
fn take(listener: &UnixListener) -> Option<fs::File> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let (stream, _) = listener.accept().unwrap();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(&stream, &mut [std::io::IoSliceMut::new(&mut byte)], &mut control, RecvFlags::empty()).unwrap();
    control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut list) => list.next().map(fs::File::from),
        _ => None,
    })
}

/// Runs a script with a directory that it shares with this process, which takes one descriptor from it.
fn passing(world: &World, script: &str) -> (Result<Status, SandboxError>, fs::File, String) {
    let shared = world.lab.path("shared");
    let _ = fs::remove_dir_all(&shared);
    fs::create_dir(&shared).unwrap();
    let listener = UnixListener::bind(shared.join("s")).unwrap();
    let taker = std::thread::spawn(move || take(&listener).unwrap());
    let mut spec = world.spec(&perl(&format!("{PASS}{script}")));
    let what = Mounted::Directory { path: shared, access: Access::ReadWrite };
    spec.mounts.push(Mount { target: "/shared".into(), what });
    let mut text = Text::default();
    let ended = launcher().run(&spec, &mut text).map(|ended| ended.status);
    (ended, taker.join().unwrap(), text.0)
}

#[test]
fn s13_a_file_passed_out_changes_no_finished_result() {
    let Some(world) = World::new() else { return };
    // Open for writing: the result is refused.
    let (ended, mut file, text) =
        passing(&world, r#"open(my $f, ">", "/out"); pass("/shared/s", fileno($f)); print "sent";"#);
    assert!(matches!(ended, Err(SandboxError::Setup(SetupError::Held))), "{ended:?} {text}");
    file.write_all(b"late").unwrap();
    drop(file);
    // Open for reading, or as a path only: nobody can make more of it.
    for open in [
        r#"open(my $g, ">", "/out"); close $g; open(my $f, "<", "/out"); pass("/shared/s", fileno($f));"#,
        r#"$p = "/out"; $fd = syscall(2, $p, 0x200000, 0); pass("/shared/s", $fd);"#,
    ] {
        let (ended, file, text) = passing(&world, open);
        assert_eq!(ended.unwrap(), Status::Exited(0), "{text}");
        let again = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        let refused = fs::File::options().write(true).open(again).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    }
    // On its way in a socket that only its own end holds: the kernel finds that garbage a little later.
    let cycle = r#"socketpair(my $a, my $b, 1, 1, 0); open(my $f, ">", "/out");
        for my $fd (fileno($a), fileno($b), fileno($f)) {
          my $byte = "x"; my $part = pack("P Q", $byte, 1); my $rights = pack("Q l l l x4", 20, 1, 1, $fd);
          my $message = pack("Q Q P Q P Q Q", 0, 0, $part, 1, $rights, 24, 0);
          syscall(46, fileno($a), $message, 0) == 1 or die "sendmsg $!"; } print "sent";"#;
    let mut text = Text::default();
    let ended = launcher().run(&world.spec(&perl(cycle)), &mut text).unwrap();
    assert_eq!((ended.status, text.0.as_str()), (Status::Exited(0), "sent"));
}

#[test]
fn s13_a_step_whose_files_are_held_is_no_step_done() {
    let Some(world) = World::new() else { return };
    let ran = world.step("--mount=type=cache,target=/c", "true", &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let listed =
        Command::new("find").arg(world.lab.path("store")).args(["-path", "*cache*", "-type", "d"]).output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    let deepest = listed.lines().max_by_key(|line| line.matches('/').count()).unwrap();
    // Too long for an address of a socket.
    let near = world.lab.path("near");
    std::os::unix::fs::symlink(deepest, &near).unwrap();
    let listener = UnixListener::bind(near.join("s")).unwrap();
    let taker = std::thread::spawn(move || take(&listener).unwrap());
    let script = perl(&format!(r#"{PASS} open(my $f, ">", "/out"); pass("/c/s", fileno($f));"#));
    let ran = world.step("--mount=type=cache,target=/c", &script, &[]);
    let file = taker.join().unwrap();
    assert_ne!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("still open for writing") && ran.err.contains("Dockerfile"), "{}", ran.err);
    drop(file);
    world.lab.ok("store", &["store", "verify"]);
}

/// An abstract socket of the host. False if the kernel has no scopes to keep a process from it.
fn abstract_socket(name: &str) -> UnixListener {
    use std::os::linux::net::SocketAddrExt as _;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    assert!(UnixStream::connect_addr(&address).is_ok(), "it answers the host");
    listener
}

#[test]
fn s12_abstract_sockets_of_the_host_are_out_of_reach() {
    let Some(world) = World::new() else { return };
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let version: Vec<u32> = release.split('.').take(2).map(|part| part.parse().unwrap()).collect();
    if version < vec![6, 12] {
        return skip("needs Landlock scopes (Linux 6.12)").unwrap_or_default();
    }
    let name = format!("lith-test-{}", std::process::id());
    let _listener = abstract_socket(&name);
    let script = perl(&format!(
        r#"sub name {{ pack("S x a*", 1, $_[0]) }}
        socket(my $s, 1, 1, 0); print connect($s, name("{name}")) ? "reached" : 0 + $!, "\n";
        socket(my $l, 1, 1, 0); bind($l, name("{name}-own")) or die; listen($l, 1);
        if (!fork) {{ socket(my $c, 1, 1, 0); print connect($c, name("{name}-own")) ? "own\n" : "$!\n"; exit }} wait;
        my $pid = fork; if (!$pid) {{ sleep 1000 }} kill("TERM", $pid); wait; print $?, "\n";
        mkdir "/d1"; mkdir "/d2"; open(F, ">", "/d1/f"); print rename("/d1/f", "/d2/g") ? "moved\n" : "$!\n";"#
    ));
    let mut spec = world.spec(&script);
    for (network, first) in [(Net::None, "111"), (Net::Host, "1")] {
        spec.network = network;
        let mut text = Text::default();
        launcher().run(&spec, &mut text).unwrap();
        assert_eq!(text.0, format!("{first}\nown\n15\nmoved\n"), "{network:?}");
    }
    let dest = format!("type=local,dest={}", world.lab.path("out").display());
    let options = ["--allow", "network.host", "-o", &dest];
    let ran = world.step("--network=host", &format!("exec > /said\n{script}"), &options);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(fs::read_to_string(world.lab.path("out/said")).unwrap(), "1\nown\n15\nmoved\n");
}

#[test]
fn s01_s18_s26_descriptors_identity_and_other_processes() {
    let Some(world) = World::new() else { return };
    let probe = perl(
        r#"sub says { my ($what, $got) = @_; printf "%s %s\n", $what, $got < 0 ? 0 + $! : "done" }
        print "fds ", join(" ", grep { -e "/proc/self/fd/$_" } 0..99), "\n";
        says("ptrace init", syscall(101, 16, 1, 0, 0));
        my $fd = syscall(434, 1, 0); print "pidfd of init ", $fd < 0 ? "no" : "yes", "\n";
        says("take its descriptor", syscall(438, $fd, 0, 0));
        my $b = "x" x 8; my $local = pack("P Q", $b, 8); my $remote = pack("Q Q", 4096, 8);
        says("read its memory", syscall(310, 1, $local, 1, $remote, 1, 0));
        print "its root ", (readlink("/proc/1/root") // 0 + $!), "\n";
        print "its program ", (readlink("/proc/1/exe") // 0 + $!), "\n";
        print "its memory ", (open(M, "+<", "/proc/1/mem") ? "open" : 0 + $!), "\n";
        my $t = "x"; print "push a key ", (ioctl(STDIN, 0x5412, $t) ? "done" : 0 + $!), "\n";
        open(S, "<", "/proc/self/status"); /^(Cap|NoNew|Seccomp:|Groups)/ and do { s/\s+/ /g; s/ $//; print "$_\n" } while <S>;"#,
    );
    let says = world.says(&probe);
    golden("process.txt", &says);
}

#[test]
fn s06_s09_s10_mounts_and_what_is_hidden() {
    let Some(world) = World::new() else { return };
    // A mask is there only where the kernel has what it hides.
    let masked =
        "acpi asound interrupts kcore keys kpagecount latency_stats sched_debug scsi timer_list timer_stats";
    let script = format!(
        "while read -r _ at kind flags _; do case $at in /etc/*|/proc/*|/sys/firmware|/sys/devices/*) ;; \
           /dev/shm|/dev/mqueue|/dev/pts|/dev|/proc|/sys|/sys/fs/cgroup|/dev/*) echo \"$at $kind ${{flags%%,*}} \
           $(for f in nosuid nodev noexec; do case ,$flags, in *,$f,*) echo $f;; esac; done | tr '\\n' ' ')\";; esac; \
         done < /proc/mounts; \
         for f in {masked}; do echo \"/proc/$f $(ls -A /proc/$f 2>/dev/null | grep -v \"^/proc/$f\" | wc -l) $(cat /proc/$f 2>/dev/null | wc -c)\"; done; \
         for f in bus fs irq sys sysrq-trigger; do test -e /proc/$f || echo /proc/$f ro; grep \" /proc/$f \" /proc/mounts | cut -d' ' -f2,4 | cut -d, -f1; done; \
         ls /dev; ls -A /sys/firmware /sys/fs/cgroup; \
         for f in /proc/sysrq-trigger /proc/sys/kernel/core_pattern /sys/kernel/uevent_helper /sys/fs/cgroup/release_agent /sys/fs/cgroup/cgroup.procs; do \
         (echo x > $f) 2>/dev/null && echo \"$f written\"; done; true"
    );
    golden("files.txt", &world.says(&script));
}

/// Holds what came out against the file that says so.
#[track_caller]
fn golden(name: &str, actual: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/sandbox").join(name);
    if bless() {
        fs::write(&path, actual).unwrap();
    }
    assert_eq!(actual, fs::read_to_string(&path).unwrap_or_default(), "{}", path.display());
}

#[test]
fn s11_system_calls_are_refused_on_every_abi() {
    let Some(world) = World::new() else { return };
    let calls = [
        ("socket(AF_ALG)", "41, 38, 5, 0"),
        ("socketpair(AF_ALG)", "53, 38, 5, 0, 0"),
        ("socket(AF_VSOCK)", "41, 40, 1, 0"),
        ("keyctl", "250, 0, -3, 0"),
        ("bpf", "321, 0, 0, 0"),
        ("io_uring_setup", "425, 1, 0"),
        ("userfaultfd", "323, 0"),
        ("perf_event_open", "298, 0, 0, 0, 0, 0"),
        ("unshare(NEWUSER)", "272, 0x10000000"),
        ("unshare(NEWNS)", "272, 0x20000"),
        ("setns", "308, 0, 0"),
        ("clone3", "435, 0, 0"),
        ("x32 getpid", "0x40000027"),
        ("x32 socket(AF_ALG)", "0x40000029, 38, 5, 0"),
    ];
    let script: String = calls
        .iter()
        .map(|(name, call)| format!("$! = 0; syscall({call}); print \"{name} \", 0 + $!, \"\\n\";\n"))
        .collect();
    let refused = |name: &str| name == "clone3" || name.starts_with("x32");
    let expected: String =
        calls.iter().map(|(name, _)| format!("{name} {}\n", if refused(name) { 38 } else { 1 })).collect();
    assert_eq!(world.says(&perl(&script)), expected);
}

/// Content and times of every file below.
fn state(root: &Path) -> Vec<(PathBuf, i64, i64, i64, u64, u32)> {
    let list = Command::new("find").arg(root).arg("-print0").output().unwrap().stdout;
    let list = String::from_utf8(list).unwrap();
    let mut state: Vec<_> = list
        .split('\0')
        .filter(|path| !path.is_empty())
        .map(|path| {
            let meta = fs::symlink_metadata(path).unwrap();
            (PathBuf::from(path), meta.mtime(), meta.ctime(), meta.ctime_nsec(), meta.size(), meta.mode())
        })
        .collect();
    state.sort();
    state
}

#[test]
fn s30_no_step_changes_a_lower_layer() {
    let Some(world) = World::new() else { return };
    // By descriptors from before and after the copy up, by links, attributes, maps, pipes, and by handle.
    let script = perl(
        r#"my $p = "/etc/lower"; open(my $old, "<", $p);
        my $w; open($w, "+<", "/proc/self/fd/" . fileno($old)) and print {$w} "one";
        syscall(77, fileno($old), 0); truncate($p, 3); chmod 0777, $p; chown 5, 6, $p; utime 1, 2, $p;
        link($p, "/hard"); my $h; open($h, ">>", "/hard") and print {$h} "two"; rename($p, "/etc/moved"); unlink("/etc/moved");
        my ($e, $name, $value) = ("/etc/passwd", "user.x", "y"); syscall(188, $e, $name, $value, 1, 0);
        my $flags = pack("l", 0x10); ioctl($old, 0x40086602, $flags);
        pipe(my $r, my $t); my $at = pack("q", 1); syscall(275, fileno($old), $at, fileno($t), 0, 1, 0); syswrite($t, "X");
        my $q = "/etc/passwd"; open(my $x, "<", $q);
        my $map = syscall(9, 0, 4096, 3, 1, fileno($x), 0); print $map == -1 ? "no shared map\n" : "map\n";
        my $handle = pack("L l x128", 128, 0); my $id = pack("l", 0);
        print syscall(304, -100, $handle, 2) < 0 ? "no handle\n" : "handle\n";
        syscall(285, fileno($x), 3, 0, 1); syscall(16, fileno($x), 0x40049409, fileno($old));"#,
    );
    let root = world.lab.path("root");
    let before = state(&root);
    let mut text = Text::default();
    let ended = launcher().run(&world.spec(&script), &mut text).unwrap();
    assert_eq!((ended.status, text.0.as_str()), (Status::Exited(0), "no shared map\nno handle\n"));
    assert_eq!(state(&root), before);
    assert_eq!(fs::read_to_string(root.join("etc/lower")).unwrap(), "lower\n");
    let ran = world.step("", &script, &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    world.lab.ok("store", &["store", "verify"]);
    // Whoever has the rights of the store can; then that is found.
    let found = Command::new("find")
        .arg(world.lab.path("store"))
        .args(["-path", "*/etc/lower", "-type", "f"])
        .output();
    let found = String::from_utf8(found.unwrap().stdout).unwrap();
    fs::write(found.lines().next().unwrap(), "upper\n").unwrap();
    let ran = world.lab.run("store", &["store", "verify"]);
    assert!(
        ran.code != 0 && format!("{}{}", ran.out, ran.err).contains("etc/lower"),
        "{} {}",
        ran.out,
        ran.err
    );
}

#[test]
fn s14_nothing_that_a_step_starts_outlives_it() {
    let Some(world) = World::new() else { return };
    // Adopted by a subreaper of its own, in a session of its own, deaf to signals, its parents gone.
    let mark = format!("5{:07}", std::process::id());
    let script = perl(&format!(
        r#"syscall(157, 36, 1, 0, 0, 0); $SIG{{$_}} = "IGNORE" for qw(TERM HUP INT PIPE);
        if (!fork) {{ syscall(112); if (!fork) {{ syscall(112); exec("sleep", "{mark}") }} exit }} wait; print "left";"#
    ));
    assert_eq!(world.says(&script), "left");
    assert_eq!(processes_with(&mark), [0_i32; 0]);
}

#[test]
fn s16_a_signal_to_the_builder_ends_the_step() {
    use std::io::{BufRead as _, BufReader};
    let Some(world) = World::new() else { return };
    for (number, signal) in ["INT", "TERM", "HUP", "KILL"].into_iter().enumerate() {
        let mark = format!("{}{:07}", 6 + number, std::process::id());
        let script = format!(
            "(trap '' INT TERM HUP; setsid sleep {mark}) & setsid sleep {mark} & echo ready; sleep {mark}"
        );
        world.lab.write("ctx/Dockerfile", format!("FROM attacker\nENV PATH=/bin\nRUN {script}\n"));
        let context = world.lab.path("ctx");
        let args = ["build", "--no-cache", "--progress=plain", context.to_str().unwrap()];
        let mut child = world.lab.command("store", &args);
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().ends_with("ready")), "the step never ran");
        while processes_with(&mark).len() < 3 {
            std::thread::yield_now();
        }
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status();
        assert!(sent.unwrap().success());
        assert!(!child.wait().unwrap().success());
        // The streams of the step are closed by its last process: there is nothing left to wait for but the kernel's own work.
        let began = std::time::Instant::now();
        while !processes_with(&mark).is_empty() {
            assert!(began.elapsed().as_secs() < 20, "SIG{signal} left a process");
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(world.lab.path("").to_str().unwrap()), "{mounts}");
    }
    world.lab.ok("store", &["gc"]);
    world.lab.ok("store", &["store", "verify"]);
}

#[test]
fn s28_no_program_of_an_image_runs_on_the_host() {
    let Some(world) = World::new() else { return };
    if !has("strace") {
        return skip("needs strace").unwrap_or_default();
    }
    let inner = world.lab.path("inner.tar.gz");
    let etc = world.lab.path("root");
    let packed = Command::new("tar").arg("-C").arg(etc).arg("-czf").arg(&inner).arg("etc").status();
    assert!(packed.unwrap().success());
    world.lab.write("ctx/inner.tar.gz", fs::read(inner).unwrap());
    for name in ["tar", "gzip", "xz", "zstd", "sh", "git"] {
        world.lab.write(&format!("ctx/bin/{name}"), "#!/bin/sh\ntouch /hit\n");
    }
    world.lab.write(
        "ctx/Dockerfile",
        "FROM attacker\nCOPY --chmod=755 bin /bin\nCOPY --chmod=755 bin /usr/bin\nENV PATH=/bin:/usr/bin\n\
        ADD --chown=root inner.tar.gz /in\nWORKDIR /w\n",
    );
    let context = world.lab.path("ctx");
    let dest = format!("type=oci,dest={}", world.lab.path("made.tar").display());
    let traced = world.lab.path("trace");
    let built = world.lab.command("store", &["build", "-o", &dest, context.to_str().unwrap()]);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "trace=execve,execveat", "-o"]).arg(&traced);
    strace.arg(built.get_program()).args(built.get_args());
    let ran = Ran::of(strace.output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let trace = fs::read_to_string(traced).unwrap();
    assert_eq!(trace.lines().filter(|line| line.contains("exec")).count(), 1, "{trace}");
}
