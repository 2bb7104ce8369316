//! One process in a root file system of its own, on the real kernel.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use lith::capabilities::Capabilities;
use lith::mount::{Overlay, OverlayMarks, Writable};
use lith::sandbox::spec::{
    Access, Ended, File, First, Ids, Net, Process, SHM_SIZE, Spec, Status, Stdio, Stub, Work,
};
use lith::sandbox::{Launcher, Output, SandboxError, SetupError, Stream};
use tempfile::TempDir;

/// What hermetic steps are told.
pub fn told() -> lith::sandbox::spec::World {
    lith::sandbox::spec::World {
        clock: 1_700_000_000,
        uptime: 100,
        ticks: false,
        seed: None,
        processors: 4,
        listing: lith::sandbox::spec::Listing::Sorted,
        layout: lith::sandbox::spec::Layout::Fixed,
        umask: 0o022,
        last_process: 0,
    }
}

/// A layer with busybox, and a place for writes.
pub struct World {
    pub dir: TempDir,
    marks: OverlayMarks,
}

#[derive(Default, Debug)]
pub struct Text {
    pub out: String,
    pub err: String,
}

impl Output for Text {
    fn chunk(&mut self, stream: Stream, bytes: &[u8]) {
        let to = match stream {
            Stream::Stdout => &mut self.out,
            Stream::Stderr => &mut self.err,
        };
        to.push_str(&String::from_utf8_lossy(bytes));
    }
}

/// The world, or `None` with a word on why the kernel or the machine does not allow the test.
pub fn world() -> Option<World> {
    if !rustix::process::geteuid().is_root() {
        return skip("needs root");
    }
    if !Path::new("/bin/busybox").exists() {
        return skip("needs /bin/busybox (package busybox-static)");
    }
    Some(World::new(OverlayMarks::Trusted))
}

pub fn skip<T>(why: &str) -> Option<T> {
    #[allow(clippy::disallowed_methods, reason = "the switch by which CI makes a skip a failure")]
    let required = std::env::var_os("LITH_REQUIRE_KERNEL").is_some_and(|v| v == "1");
    assert!(!required, "{why}");
    eprintln!("SKIP: {why}");
    None
}

/// Copies a program in another process: what this one writes may be held open by a fork of another thread, and
/// could not be executed meanwhile.
pub fn install(from: &Path, to: &Path) {
    let done = std::process::Command::new("install").arg("-m755").args([from, to]).status();
    assert!(done.unwrap().success());
}

impl World {
    pub fn new(marks: OverlayMarks) -> Self {
        Self::new_in(&std::env::temp_dir(), marks)
    }

    /// In a directory, and so on its file system.
    pub fn new_in(dir: &Path, marks: OverlayMarks) -> Self {
        let world = Self { dir: TempDir::new_in(dir).unwrap(), marks };
        for dir in ["base/bin", "base/etc", "base/tmp", "upper", "work"] {
            fs::create_dir_all(world.path(dir)).unwrap();
        }
        install(Path::new("/bin/busybox"), &world.path("base/bin/busybox"));
        for name in
            ["sh", "id", "cat", "ls", "true", "sleep", "mount", "setsid", "touch", "mknod", "hostname"]
        {
            symlink("busybox", world.path("base/bin").join(name)).unwrap();
        }
        world
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    pub fn spec(&self, argv: &[&str]) -> Spec {
        Spec {
            root: Overlay {
                lowers: vec![self.path("base")],
                writable: Some(Writable { upper: self.path("upper"), work: self.path("work") }),
                marks: self.marks,
            },
            root_access: Access::ReadWrite,
            mount_points: None,
            process: Process {
                argv: argv.iter().map(|a| (*a).to_owned()).collect(),
                env: vec!["PATH=/bin".into(), "A=b".into()],
                cwd: "/".into(),
                user: Ids::default(),
                capabilities: Capabilities::default(),
                ulimits: vec![],
                insecure: false,
                world: Some(told()),
                stdio: Stdio::Captured,
                work: Work::Execute,
            },
            first: First::Init,
            hostname: "box".into(),
            network: Net::None,
            files: Vec::new(),
            mounts: vec![],
            shm_size: SHM_SIZE,
        }
    }

    pub fn shell(&self, script: &str) -> Spec {
        self.spec(&["sh", "-c", script])
    }
}

pub fn run(spec: &Spec) -> (Result<Ended, SandboxError>, Text) {
    let mut text = Text::default();
    let ended = Launcher::default().helper(env!("CARGO_BIN_EXE_lith")).run(spec, &mut text);
    (ended, text)
}

/// Runs what must go well; its standard output.
#[track_caller]
pub fn out(spec: &Spec) -> String {
    let (ended, text) = run(spec);
    let ended = ended.unwrap_or_else(|e| panic!("{e}: {e:?}"));
    assert_eq!(ended.status, Status::Exited(0), "{text:?}");
    text.out
}

#[track_caller]
pub fn status(spec: &Spec) -> (Status, Text) {
    let (ended, text) = run(spec);
    (ended.unwrap_or_else(|e| panic!("{e}: {e:?}")).status, text)
}

/// A read-only look at the host's own root: for tests that need more programs than busybox has.
pub fn host_view(world: &World, argv: &[&str]) -> Spec {
    let mut spec = world.spec(argv);
    spec.root = Overlay { lowers: vec!["/".into()], writable: None, marks: OverlayMarks::Trusted };
    spec.process.env = vec!["PATH=/usr/bin:/bin".into()];
    spec
}

/// Processes of the host with this text among their arguments.
pub fn processes_with(text: &str) -> Vec<i32> {
    let dir = rustix::fs::Dir::read_from(fs::File::open("/proc").unwrap()).unwrap();
    let pids = dir.filter_map(|entry| entry.ok()?.file_name().to_str().ok()?.parse::<i32>().ok());
    let shows = |pid: &i32| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).split('\0').any(|arg| arg == text))
    };
    pids.filter(shows).collect()
}

/// A number of seconds nobody else sleeps.
pub fn long_sleep(kind: u32) -> String {
    format!("{}{:07}", 10 + kind, std::process::id())
}

#[test]
fn ends_as_the_process_does() {
    let Some(world) = world() else { return };
    assert_eq!(status(&world.shell("exit 7")).0, Status::Exited(7));
    assert_eq!(status(&world.shell("kill -TERM $$")).0, Status::Signaled(15));
    // Rust ignores SIGPIPE, and an ignored signal would stay so.
    assert_eq!(status(&world.shell("kill -PIPE $$; exit 3")).0, Status::Signaled(13));
}

#[test]
fn captures_both_streams_whole() {
    let Some(world) = world() else { return };
    let (status, text) = status(&world.shell("echo out; echo err >&2; busybox seq 1 50000; cat"));
    assert_eq!(status, Status::Exited(0));
    assert_eq!(text.err, "err\n");
    let lines: Vec<_> = text.out.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[50000]), (50001, "out", "50000"));
}

#[test]
fn says_like_a_shell_what_cannot_be_executed() {
    let Some(world) = world() else { return };
    let (missing, text) = status(&world.spec(&["nope"]));
    assert_eq!((missing, text.err.as_str()), (Status::Exited(127), "lith: nope: not found\n"));
    fs::write(world.path("base/bin/data"), "data").unwrap();
    let (denied, text) = status(&world.spec(&["data"]));
    assert_eq!(denied, Status::Exited(126));
    assert!(text.err.starts_with("lith: data: Permission denied"), "{}", text.err);
    assert_eq!(status(&world.spec(&["/bin"])).0, Status::Exited(126));
    fs::write(world.path("script"), "#!/no/such/shell\n").unwrap();
    install(&world.path("script"), &world.path("base/bin/script"));
    let (lost, text) = status(&world.spec(&["script"]));
    assert_eq!(lost, Status::Exited(127));
    assert_eq!(text.err, "lith: script: its interpreter or loader was not found\n");
}

#[test]
fn sees_only_what_it_is_given() {
    let Some(world) = world() else { return };
    assert_eq!(out(&world.spec(&["busybox", "env"])), "PATH=/bin\nA=b\n");
    // The fourth is the listing's own.
    assert_eq!(out(&world.shell("ls /proc/self/fd")), "0\n1\n2\n3\n");
    assert_eq!(out(&world.shell("busybox readlink /proc/self/fd/0")), "/dev/null\n");
    assert_eq!(
        out(&world.shell("echo $$; cat /proc/1/comm; hostname; umask; ulimit -c")),
        "2\nlith-init\nbox\n0022\n0\n"
    );
    assert_eq!(out(&world.shell("ls /proc > /p; busybox grep -c '^[0-9]' /p")), "3\n", "init, sh, ls");
    assert_eq!(out(&world.shell("cat /proc/self/personality")), "00040000\n");
    assert_eq!(out(&world.shell("cat /proc/1/environ /proc/1/maps | busybox wc -c")), "0\n");
}

#[test]
fn nothing_of_the_host_stays_mounted() {
    let Some(world) = world() else { return };
    let mounts = out(&world.spec(&["cat", "/proc/mounts"]));
    let places: Vec<&str> = mounts.lines().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(places[0], "/");
    assert_eq!(places.iter().filter(|place| **place == "/").count(), 1, "{mounts}");
    let expected = |place: &&str| ["/dev", "/proc", "/sys"].iter().any(|top| place.starts_with(top));
    assert!(places[1..].iter().all(expected), "{mounts}");
    let shown = world.dir.path().to_str().unwrap();
    assert!(!mounts.contains(shown), "{mounts}");
    assert_eq!(out(&world.shell("cd /; cd ../..; ls")), "bin\ndev\netc\nproc\nsys\ntmp\n");
}

#[test]
fn network_is_loopback_or_the_hosts() {
    let Some(world) = world() else { return };
    assert_eq!(out(&world.shell("ls /sys/class/net; cat /sys/class/net/lo/flags")), "lo\n0x9\n");
    let mut spec = world.spec(&["busybox", "readlink", "/proc/self/ns/net"]);
    let host = fs::read_link("/proc/self/ns/net").unwrap();
    let shown = |spec: &Spec| PathBuf::from(out(spec).trim_end());
    assert_ne!(shown(&spec), host);
    spec.network = Net::Host;
    assert_eq!(shown(&spec), host);
}

#[test]
fn kernel_files_are_masked_or_read_only() {
    let Some(world) = world() else { return };
    assert_eq!(
        out(&world.shell("cat /proc/keys /proc/timer_list; ls /sys/firmware /proc/acpi; ls /sys/fs/cgroup")),
        "/proc/acpi:\n\n/sys/firmware:\n"
    );
    for write in [
        "echo b > /proc/sysrq-trigger",
        "echo x > /proc/sys/kernel/core_pattern",
        "echo 1 > /proc/irq/default_smp_affinity",
        "touch /sys/x",
        "busybox mkdir /sys/fs/cgroup/x",
        "mount -t tmpfs none /tmp",
        "mount -o remount,rw /sys",
        "busybox umount /proc/keys",
    ] {
        let (status, text) = status(&world.shell(&format!("{write} && echo done")));
        assert_ne!((status, text.out.as_str()), (Status::Exited(0), "done\n"), "{write}");
    }
}

#[test]
fn devices_are_those_of_dev_and_no_others() {
    let Some(world) = world() else { return };
    assert_eq!(
        out(&world.spec(&["ls", "/dev"])),
        "core\nfd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n"
    );
    assert_eq!(
        out(&world.shell("echo x > /dev/null; busybox head -c 2 /dev/zero | busybox od -An -tx1")),
        " 00 00\n"
    );
    // Nodes can be made, as a package's install script may do, but lead nowhere.
    let script = "mknod /x c 1 3 && mknod /dev/x c 1 3 && mknod /dev/shm/x c 1 3 && mknod /tmp/x c 1 3; \
        for x in /x /dev/x /dev/shm/x /tmp/x; do ls $x > /dev/null && (echo > $x) 2>/dev/null || echo no; done";
    assert_eq!(out(&world.shell(script)), "no\nno\nno\nno\n");
}

#[test]
fn capabilities_are_dockers() {
    let Some(world) = world() else { return };
    let mut spec = world.shell("busybox grep -E '^(Cap|NoNew|Seccomp:|Groups)' /proc/self/status");
    let shown = |spec: &Spec| out(spec).replace([' ', '\t'], "");
    assert_eq!(
        shown(&spec),
        "Groups:\nCapInh:0000000000000000\nCapPrm:00000000a80425fb\nCapEff:00000000a80425fb\n\
        CapBnd:00000000a80425fb\nCapAmb:0000000000000000\nNoNewPrivs:0\nSeccomp:2\n"
    );
    spec.process.user = Ids { uid: 1000, gid: 1001, groups: vec![7, 1001] };
    assert_eq!(
        shown(&spec),
        "Groups:71001\nCapInh:0000000000000000\nCapPrm:0000000000000000\nCapEff:0000000000000000\n\
        CapBnd:00000000a80425fb\nCapAmb:0000000000000000\nNoNewPrivs:0\nSeccomp:2\n"
    );
}

#[test]
fn another_user_has_its_streams() {
    let Some(world) = world() else { return };
    let mut spec =
        world.shell("id -u; id -g; echo via > /dev/stdout; echo e > /dev/stderr; touch /x || echo no");
    spec.process.user = Ids { uid: 1000, gid: 1001, groups: vec![] };
    let (ended, text) = status(&spec);
    assert_eq!((ended, text.out.as_str()), (Status::Exited(0), "1000\n1001\nvia\nno\n"));
}

#[test]
fn dangerous_system_calls_are_refused() {
    let Some(world) = world() else { return };
    if !Path::new("/usr/bin/perl").exists() || std::env::consts::ARCH != "x86_64" {
        return skip("needs perl on x86-64").unwrap_or_default();
    }
    let probe = |what: &str| format!("$! = 0; {what}; printf \"%d\\n\", $!;");
    let script = [
        "socket(S, 38, 5, 0)",                 // AF_ALG
        "socket(S, 40, 1, 0)",                 // AF_VSOCK
        "syscall(41, 38 + 2**32, 5, 0)",       // the high half does not hide it
        "syscall(250, 0, -3, 0)",              // keyctl
        "syscall(425, 1, 0)",                  // io_uring_setup
        "syscall(272, 0x10000000)",            // unshare(CLONE_NEWUSER)
        "syscall(56, 0x10000011, 0, 0, 0, 0)", // clone(CLONE_NEWUSER)
        "syscall(323, 0)",                     // userfaultfd
        "syscall(430, 0, 0)",                  // fsopen
        "$a = 'x'; ioctl(STDIN, 0x5412, $a)",  // TIOCSTI
        "syscall(435, 0, 0)",                  // clone3: ENOSYS
        "syscall(0x40000000 | 39)",            // x32 getpid: ENOSYS
        "syscall(41, 2, 1, 0)",
    ];
    let script: String = script.iter().map(|what| probe(what)).collect();
    let answers = out(&host_view(&world, &["perl", "-e", &script]));
    assert_eq!(answers.replace('\n', " "), "1 1 1 1 1 1 1 1 1 1 38 38 0 ");
}

/// A program of the i386 ABI: the system call with the given number and first arguments, its negated result as status.
fn i386_program(number: u8, high: u8, arguments: [u8; 2]) -> Vec<u8> {
    let [a, b] = arguments;
    let code = [
        0xb8, number, high, 0, 0, 0xbb, a, 0, 0, 0, 0xb9, b, 0, 0, 0, 0x31, 0xd2, 0xcd,
        0x80, // the call
        0xf7, 0xd8, 0x89, 0xc3, 0xb8, 1, 0, 0, 0, 0xcd, 0x80, // exit(-result)
    ];
    let word = |n: u32| n.to_le_bytes();
    let mut elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x03\0".to_vec();
    for n in
        [1, 0x0804_8054, 52, 0, 0, 0x0020_0034, 1, 0, 1, 0, 0x0804_8000, 0x0804_8000, 0x74, 0x74, 5, 0x1000]
    {
        elf.extend(word(n));
    }
    elf.extend(code);
    elf.resize(0x74, 0);
    elf
}

#[test]
fn the_32_bit_abi_has_the_same_rules() {
    let Some(world) = world() else { return };
    let run = |number: u8, high: u8, arguments: [u8; 2]| {
        fs::write(world.path("old"), i386_program(number, high, arguments)).unwrap();
        install(&world.path("old"), &world.path("base/bin/old"));
        status(&world.spec(&["old"])).0
    };
    if std::env::consts::ARCH != "x86_64" || run(20, 0, [0, 0]) == Status::Exited(126) {
        return skip("the kernel runs no i386 programs").unwrap_or_default();
    }
    assert_eq!(run(0x67, 1, [38, 5]), Status::Exited(1), "socket(AF_ALG)");
    assert_eq!(run(0x67, 1, [2, 1]), Status::Exited(256 - 3), "socket(AF_INET) is descriptor 3");
    assert_eq!(run(0x66, 0, [1, 0]), Status::Exited(38), "socketcall(SYS_SOCKET)");
    assert_eq!(run(0x20, 1, [0, 0]), Status::Exited(1), "keyctl");
}

#[test]
fn a_daemon_left_behind_is_killed() {
    let Some(world) = world() else { return };
    let seconds = long_sleep(1);
    // It holds the output pipes open, in a session of its own, ignoring polite signals.
    let script = format!(
        "(trap '' TERM HUP; setsid sleep {seconds}) & setsid sh -c 'sleep {seconds} & sleep {seconds}' & echo up"
    );
    assert_eq!(out(&world.shell(&script)), "up\n");
    assert!(processes_with(&seconds).is_empty());
}

#[test]
fn orphans_are_reaped() {
    let Some(world) = world() else { return };
    // Init, sh and ls are left once the orphans are gone.
    let script = "for i in $(busybox seq 20); do sh -c 'true &'; done; \
        for i in $(busybox seq 1000); do ls /proc > /p; n=$(busybox grep -c '^[0-9]' /p); [ $n = 3 ] && break; done; echo $n";
    assert_eq!(out(&world.shell(script)), "3\n");
}

#[test]
fn mount_points_made_are_reported_and_leave_no_trace_of_time() {
    let Some(world) = world() else { return };
    let long_ago = rustix::fs::Timestamps {
        last_access: rustix::time::Timespec { tv_sec: 5, tv_nsec: 6 },
        last_modification: rustix::time::Timespec { tv_sec: 7, tv_nsec: 8 },
    };
    for dir in ["base/etc", "upper"] {
        let fd = fs::File::open(world.path(dir)).unwrap();
        rustix::fs::futimens(fd, &long_ago).unwrap();
    }
    let mut spec = world.spec(&["busybox", "stat", "-c", "%Y", "/", "/etc"]);
    spec.files = vec![
        File { path: "/etc/hosts".into(), bytes: b"127.0.0.1 localhost\n".to_vec(), mode: 0o644 },
        File { path: "/run/secrets/key".into(), bytes: b"s".to_vec(), mode: 0o400 },
    ];
    let (ended, text) = run(&spec);
    assert_eq!(text.out, "7\n7\n", "{ended:?}");
    let stubs = ended.unwrap().stubs;
    let shown: Vec<(&str, bool)> = stubs.iter().map(|s| (s.path.to_str().unwrap(), s.directory)).collect();
    assert_eq!(
        shown,
        [
            ("proc", true),
            ("sys", true),
            ("dev", true),
            ("etc/hosts", false),
            ("run", true),
            ("run/secrets", true),
            ("run/secrets/key", false),
        ]
    );
    for Stub { path, inode, directory } in &stubs {
        let found = fs::symlink_metadata(world.path("upper").join(path)).unwrap();
        assert_eq!((found.ino(), found.is_dir()), (*inode, *directory), "{}", path.display());
        assert!(found.is_dir() || found.len() == 0);
    }
    // Nothing is made a second time.
    let (ended, _) = run(&spec);
    assert_eq!(ended.unwrap().stubs, []);
}

#[test]
fn files_are_there_for_the_run_only() {
    let Some(world) = world() else { return };
    fs::create_dir(world.path("base/run")).unwrap();
    symlink("../run/resolv.conf", world.path("base/etc/resolv.conf")).unwrap();
    fs::write(world.path("base/etc/hosts"), "image's").unwrap();
    let mut spec = world.shell("cat /run/resolv.conf /etc/hosts; echo mine > /etc/hosts; cat /etc/hosts; busybox stat -c %a /etc/hosts");
    spec.files = vec![
        File { path: "/etc/resolv.conf".into(), bytes: b"nameserver\n".to_vec(), mode: 0o644 },
        File { path: "/etc/hosts".into(), bytes: b"run's\n".to_vec(), mode: 0o600 },
    ];
    assert_eq!(out(&spec), "nameserver\nrun's\nmine\n600\n");
    spec.files.clear();
    assert_eq!(out(&world.shell("cat /etc/hosts")), "image's");
    assert!(!world.path("upper/etc/hosts").exists());
}

#[test]
fn a_link_to_the_host_leads_into_the_root() {
    let Some(world) = world() else { return };
    let outside = world.path("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, world.path("base/etc/hosts")).unwrap();
    symlink("../../../../../..", world.path("base/up")).unwrap();
    let mut spec = world.shell("cat /etc/hosts /up/file");
    let file = |path: &str| File { path: path.into(), bytes: b"x\n".to_vec(), mode: 0o644 };
    spec.files = vec![file("/etc/hosts"), file("/up/file")];
    assert_eq!(out(&spec), "x\nx\n");
    assert_eq!(rustix::fs::Dir::read_from(fs::File::open(outside).unwrap()).unwrap().count(), 2);
}

#[test]
fn links_where_kernel_file_systems_go_are_refused() {
    for name in ["proc", "dev", "sys"] {
        let Some(world) = world() else { return };
        symlink("tmp", world.path("base").join(name)).unwrap();
        let (ended, _) = run(&world.spec(&["true"]));
        let refused = ended.unwrap_err();
        let SandboxError::Setup(SetupError::MountPoint { path, .. }) = &refused else {
            panic!("{refused:?}")
        };
        assert_eq!(*path, format!("/{name}"));
    }
    let Some(world) = world() else { return };
    fs::write(world.path("base/dev"), "").unwrap();
    let refused = run(&world.spec(&["true"])).0.unwrap_err();
    assert!(refused.to_string().starts_with("/dev in the root file system is not a directory"), "{refused}");
}

#[test]
fn hundreds_of_layers_and_odd_paths() {
    let Some(world) = world() else { return };
    let mut spec = world.spec(&["cat", "/which", "/l/7"]);
    // A path that no mount option could hold.
    let deep = world.path(&format!("{}/a:b,c\\d", "long".repeat(50)));
    for index in 0..250 {
        let layer = deep.join(index.to_string());
        fs::create_dir_all(layer.join("l")).unwrap();
        fs::write(layer.join("l").join(index.to_string()), format!("{index}\n")).unwrap();
        fs::write(layer.join("which"), format!("{index}\n")).unwrap();
        spec.root.lowers.push(layer);
    }
    assert_eq!(out(&spec), "249\n7\n");
}

#[test]
fn read_only_and_empty_roots() {
    let Some(world) = world() else { return };
    let mut spec = world.shell("ls /; touch /x || echo no");
    spec.root.writable = None;
    assert_eq!(out(&spec), "bin\ndev\netc\nproc\nsys\ntmp\nno\n");
    for name in ["dev", "proc", "sys"] {
        fs::create_dir(world.path("base").join(name)).unwrap();
    }
    assert_eq!(out(&spec), "bin\ndev\netc\nproc\nsys\ntmp\nno\n");
    spec.root.lowers.clear();
    assert_eq!(status(&spec).0, Status::Exited(127));
    let mut spec = world.shell("true");
    spec.root.lowers.clear();
    assert_eq!(status(&spec).0, Status::Exited(127));
}

#[test]
fn working_directory() {
    let Some(world) = world() else { return };
    let mut spec = world.spec(&["busybox", "pwd"]);
    spec.process.cwd = "/etc".into();
    assert_eq!(out(&spec), "/etc\n");
    for (cwd, part) in [
        ("/nope", "No such file"),
        ("/bin/busybox", "Not a directory"),
        ("/proc/self/fd/0", "Not a directory"),
        ("/proc/self/fd/7", "No such file"),
    ] {
        spec.process.cwd = cwd.into();
        let refused = run(&spec).0.unwrap_err();
        let SandboxError::Setup(SetupError::Cwd { path, errno }) = &refused else { panic!("{refused:?}") };
        assert!(path == cwd && errno.to_string().contains(part), "{refused}");
    }
}

#[test]
fn a_missing_layer_is_named() {
    let Some(world) = world() else { return };
    let mut spec = world.spec(&["true"]);
    spec.root.lowers.push(world.path("gone"));
    let refused = run(&spec).0.unwrap_err().to_string();
    assert!(refused.contains("gone") && refused.contains("No such file"), "{refused}");
}

#[test]
fn the_upper_directory_holds_plain_changes() {
    let Some(world) = world() else { return };
    fs::write(world.path("base/etc/old"), "old").unwrap();
    fs::create_dir(world.path("base/etc/dir")).unwrap();
    out(&world.shell("busybox rm /etc/old; busybox mv /etc/dir /etc/moved; echo new > /etc/new"));
    let upper = |name: &str| fs::symlink_metadata(world.path("upper/etc").join(name)).unwrap();
    assert_eq!((upper("old").mode() & 0o170_000, upper("old").rdev()), (0o020_000, 0));
    assert!(upper("moved").is_dir());
    assert_eq!(upper("new").mode() & 0o777, 0o644);
    // The same directories serve again.
    assert_eq!(out(&world.shell("cat /etc/new; ls /etc")), "new\nmoved\nnew\n");
}

#[test]
fn many_at_once() {
    let Some(world) = world() else { return };
    let world = &world;
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..8)
            .map(|n: u32| {
                scope.spawn(move || {
                    let mut spec = world.shell(&format!("echo {n} > /tmp/n; cat /tmp/n; ls /proc/self/fd"));
                    let (upper, work) = (world.path(&format!("u{n}")), world.path(&format!("w{n}")));
                    fs::create_dir(&upper).unwrap();
                    fs::create_dir(&work).unwrap();
                    spec.root.writable = Some(Writable { upper, work });
                    assert_eq!(out(&spec), format!("{n}\n0\n1\n2\n3\n"));
                })
            })
            .collect();
        runs.into_iter().for_each(|run| run.join().unwrap());
    });
}

/// The example program, made reachable for any user.
pub fn example(world: &World) -> Option<PathBuf> {
    let built = std::env::current_exe().unwrap().parent().unwrap().join("../examples/sandbox");
    if !built.exists() {
        return skip("needs `cargo build --examples`");
    }
    let copy = world.path("sandbox");
    install(&built, &copy);
    fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    Some(copy)
}

/// A child that is killed with SIGKILL at the end, also of a test that fails.
pub struct Killed(pub std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is(pid: i32, child: &std::process::Child) -> bool {
    u32::try_from(pid) == Ok(child.id())
}

#[test]
fn nothing_survives_the_death_of_the_caller() {
    use std::io::{BufRead as _, BufReader};
    let Some(world) = world() else { return };
    let Some(example) = example(&world) else { return };
    // Both shells carry the mark from their start, so both are there once the inner one speaks.
    let mark = long_sleep(2);
    let script = format!("setsid sh -c 'echo up; sleep 100000; true' {mark} & wait");
    let mut caller = std::process::Command::new(example)
        .arg(world.path("base"))
        .arg("--writable")
        .arg(world.path("upper"))
        .arg(world.path("work"))
        .args(["sh", "-c", &script, &mark])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .map(Killed)
        .unwrap();
    let mut line = String::new();
    BufReader::new(caller.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    let pids: Vec<i32> = processes_with(&mark).into_iter().filter(|pid| !is(*pid, &caller.0)).collect();
    assert!(pids.len() >= 2, "{pids:?}");
    let handles: Vec<_> = pids
        .iter()
        .map(|pid| {
            let pid = rustix::process::Pid::from_raw(*pid).unwrap();
            rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap()
        })
        .collect();
    drop(caller);
    for handle in &handles {
        let mut list = [rustix::event::PollFd::new(handle, rustix::event::PollFlags::IN)];
        let limit = rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 };
        assert_eq!(rustix::event::poll(&mut list, Some(&limit)), Ok(1), "a process is still there");
    }
    assert!(processes_with(&mark).is_empty());
    // No mount holds the directories either.
    assert_eq!(out(&world.spec(&["busybox", "echo", "again"])), "again\n");
}

#[test]
fn a_terminal_is_handed_on_and_given_back() {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::process::Stdio;
    let Some(world) = world() else { return };
    let Some(example) = example(&world) else { return };
    let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
    let master = rustix::pty::openpt(flags).unwrap();
    rustix::pty::grantpt(&master).unwrap();
    rustix::pty::unlockpt(&master).unwrap();
    let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
    let slave = fs::File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    // Afterwards the caller reads from the terminal again, which only its foreground group may.
    let inside = "[ -t 0 ] && [ -t 2 ] && echo tty; read x; echo got $x; busybox cat";
    let outside = format!(
        "{} --terminal {} sh -c '{inside}'; echo status $?; read y; echo back $y",
        example.display(),
        world.path("base").display()
    );
    let mut caller = std::process::Command::new("setsid")
        .args(["--ctty", "--wait", "sh", "-m", "-c", &outside])
        .stdin(Stdio::from(slave.try_clone().unwrap()))
        .stdout(Stdio::from(slave.try_clone().unwrap()))
        .stderr(Stdio::from(slave))
        .spawn()
        .map(Killed)
        .unwrap();
    let mut keys = fs::File::from(master.try_clone().unwrap());
    let mut screen = BufReader::new(fs::File::from(master));
    let mut until = |wanted: &str| {
        let mut line = String::new();
        while !line.contains(wanted) {
            line.clear();
            assert_ne!(screen.read_line(&mut line).unwrap(), 0, "no {wanted}");
        }
    };
    until("tty\r\n");
    keys.write_all(b"hello\n").unwrap();
    until("got hello\r\n");
    keys.write_all(b"\x03").unwrap();
    until("status 130\r\n");
    keys.write_all(b"again\n").unwrap();
    until("back again\r\n");
    assert!(caller.0.wait().unwrap().success());
}

/// Held while accounts are changed: the tools give up on each other's locks.
fn account_lock() -> fs::File {
    let path = std::env::temp_dir().join("lith-test-accounts.lock");
    let file = fs::File::options().create(true).truncate(false).write(true).open(path).unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    file
}

/// A user of the host for the time of a test.
pub struct User(String);

impl User {
    /// With ranges of subordinate ids or without.
    pub fn make(kind: &str, ranges: bool) -> Option<Self> {
        let user = Self(format!("lith-{kind}-{}", std::process::id()));
        let _one_at_a_time = account_lock();
        let call = |program: &str, arguments: &[&str]| {
            std::process::Command::new(program)
                .args(arguments)
                .arg(&user.0)
                .status()
                .is_ok_and(|s| s.success())
        };
        if !call("useradd", &["--system", "--no-create-home", "--shell", "/bin/sh"]) {
            return skip("cannot make a user");
        }
        let added = !ranges
            || call("usermod", &["--add-subuids", "3000000-3065535", "--add-subgids", "3000000-3065535"]);
        // The lock goes before the user, whose end takes it again.
        if added { Some(user) } else { skip("cannot grant a user subordinate ids") }
    }

    pub fn id(&self, which: &str) -> u32 {
        let output = std::process::Command::new("id").arg(which).arg(&self.0).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _one_at_a_time = account_lock();
        let _ = std::process::Command::new("userdel").arg(&self.0).status();
    }
}

/// Runs a script in a sandbox as another user of the host; standard output and error.
pub fn as_user(user: &User, world: &World, script: &str) -> Option<(String, String)> {
    let example = example(world)?;
    let (uid, gid) = (user.id("-u"), user.id("-g"));
    let given = std::process::Command::new("chown")
        .args(["-Rh", &format!("{uid}:{gid}")])
        .args(["base", "upper", "work"].map(|dir| world.path(dir)))
        .status()
        .unwrap();
    assert!(given.success());
    let output = std::process::Command::new("setpriv")
        .arg(format!("--reuid={uid}"))
        .arg(format!("--regid={gid}"))
        .arg("--clear-groups")
        .arg(example)
        .arg(world.path("base"))
        .arg("--writable")
        .arg(world.path("upper"))
        .arg(world.path("work"))
        .args(["sh", "-c", script])
        .output()
        .unwrap();
    Some((String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap()))
}

const ROOTLESS: &str = "id -u; echo x > /file; cat /file; busybox rm /bin/true; ls -d /bin/true 2>&1; ls /sys/class/net; \
    echo > /dev/null; cat /proc/mounts | busybox head -1 | busybox grep -c userxattr";
const ROOTLESS_SAYS: &str = "0\nx\nls: /bin/true: No such file or directory\nlo\n1\n";

#[test]
fn a_user_with_ranges_is_root_over_many_ids() {
    let Some(world) = world() else { return };
    let Some(user) = User::make("m", true) else { return };
    let script = format!("{ROOTLESS}; busybox chown 33:44 /file; busybox stat -c %u:%g /file");
    let Some((out, err)) = as_user(&user, &world, &script) else { return };
    assert_eq!((out, err), (format!("{ROOTLESS_SAYS}33:44\n"), "Mapped { range: 65537 }\n".into()));
    let made = fs::metadata(world.path("upper/file")).unwrap();
    assert_eq!((made.uid(), made.gid()), (3_000_032, 3_000_043));
}

#[test]
fn a_user_without_ranges_is_root_over_itself() {
    let Some(world) = world() else { return };
    let Some(user) = User::make("s", false) else { return };
    let Some((out, err)) = as_user(&user, &world, ROOTLESS) else { return };
    assert_eq!((out.as_str(), err.as_str()), (ROOTLESS_SAYS, "SingleId\n"));
    assert_eq!(fs::metadata(world.path("upper/file")).unwrap().uid(), user.id("-u"));
}

#[test]
fn owners_that_cannot_be_are_noted() {
    let Some(world) = world() else { return };
    let Some(user) = User::make("o", false) else { return };
    let script = "set -e; cd /tmp; echo x > a; busybox chmod 4755 a; busybox mkdir d; busybox chown 33:44 a; busybox chown 5:6 ./d; \
        busybox chown 7:7 d/../a; busybox stat -c %a a; \
        busybox ln -s /tmp/a l; busybox chown 9:8 /tmp/l; busybox chown -h 10 l; \
        echo y > b; busybox chown 1:1 b; busybox chown 0:0 b; busybox chown 1 nope || echo none; \
        busybox tar -x -f /bundle.tar; busybox setuidgid 5 true || true";
    // What an unpacking program does: fchownat or lchown for each member.
    let tar = world.path("base/bundle.tar");
    let made = std::process::Command::new("tar")
        .args(["--owner=11", "--group=12", "--numeric-owner", "-C"])
        .arg(world.path("base"))
        .arg("-cf")
        .arg(&tar)
        .arg("bin/busybox")
        .status();
    assert!(made.unwrap().success());
    let Some((out, err)) = as_user(&user, &world, script) else { return };
    assert!(err.starts_with("SingleId\n"), "{err}");
    assert_eq!(out, "755\nnone\n", "{err}");
    let note = |name: &str| {
        let mut bytes = [0; 64];
        let path = world.path("upper/tmp").join(name);
        let length = rustix::fs::lgetxattr(path, lith::sandbox::OWNER_XATTR, &mut bytes).ok()?;
        Some(String::from_utf8(bytes[..length].to_vec()).unwrap())
    };
    assert_eq!(note("a").as_deref(), Some("9:8"));
    assert_eq!(note("d").as_deref(), Some("5:6"));
    assert_eq!(note("b"), None);
    assert_eq!(note("l"), None);
    assert_eq!(note("bin/busybox").as_deref(), Some("11:12"));
}
