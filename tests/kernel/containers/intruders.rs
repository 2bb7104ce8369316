//! Attacks from inside a sandbox on who enters it, and on who watches it. Names begin with the row of spec/threats.md.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use lith::capabilities::Capabilities;
use lith::sandbox::spec::{Access, First, Ids, Mount, Mounted, Net, Process, Size, Spec, Status, Stdio};
use lith::sandbox::{Launcher, SandboxError, SetupError};

use super::{Live, also};
use crate::sandbox::{World, host_view, install, skip, world};

/// A world whose root is the host's, read-only, with perl to make raw system calls; `/tmp` is memory.
fn perl_world() -> Option<World> {
    let world = world()?;
    if !std::path::Path::new("/usr/bin/perl").exists() || std::env::consts::ARCH != "x86_64" {
        return skip("needs perl on x86-64");
    }
    Some(world)
}

fn intruder(world: &World, script: &str, more: &str) -> Spec {
    let mut spec = host_view(world, &["perl", "-e", script]);
    let what = Mounted::Tmpfs { size: None, access: Access::ReadWrite };
    spec.mounts = vec![Mount { target: "/tmp".into(), what }];
    spec.process.stdio = Stdio::Piped;
    spec.first = First::Process;
    if !more.is_empty() {
        spec.process.capabilities = Capabilities::default().with(more.parse().unwrap());
    }
    spec
}

/// Looks at every process but itself for as long as its input is open, and says what it should not see. A process that
/// has not become its program yet is called by the number of the descriptor that it was executed by.
const WATCH: &str = r#"
    $| = 1; print "up\n"; my ($seen, %found) = (0); my @own = (stat "/")[0, 1];
    my $bits = sub { my ($n, $which) = @_; open(my $s, "<", "/proc/$n/status") or return; local $/; <$s> =~ /^$which:\s*(\w+)/m; hex($1 // 0) };
    my $mine = $bits->($$, "CapPrm");
    fcntl(STDIN, 4, 2048);
    until (defined(my $end = sysread(STDIN, my $byte, 1))) {
      1 while waitpid(-1, 1) > 0; # who was traced ends for its parent only once it has ended for its tracer
      opendir(my $dir, "/proc"); for my $n (grep { /^\d+$/ && $_ != $$ } readdir $dir) {
        open(my $c, "<", "/proc/$n/comm") or next; my $name = <$c> // next; next unless $name =~ /^\d+$|^lith/;
        $seen++;
        my $more = ($bits->($n, "CapPrm") // 0) & ~$mine & ~32; $found{"powers"}++ if $more;
        # What became its program meanwhile may be looked into.
        my $early = sub { my $exe = readlink("/proc/$n/exe"); defined $exe && $exe !~ m{/(true|sleep)$} };
        my $note = sub { my ($what, $held) = @_; $found{$what}++ if $held && $early->() };
        $note->("exe", $ENV{PLAIN});
        for my $link (qw(root cwd)) { my @there = stat("/proc/$n/$link"); next unless @there;
          $note->($link, $ENV{PLAIN} || $there[0] != $own[0] || $there[1] != $own[1]); }
        if (opendir(my $fds, "/proc/$n/fd")) { for my $fd (grep { /\d/ } readdir $fds) {
          my $to = readlink("/proc/$n/fd/$fd") // next; $note->("fds", $ENV{PLAIN});
          $note->("fd $to", -d "/proc/$n/fd/$fd" || -f _); } }
        $note->("memory", $ENV{PLAIN}) if open(my $m, "+<", "/proc/$n/mem");
        if ($ENV{PLAIN} && syscall(101, 0x4206, $n, 0, 0) == 0) { $note->("traced", 1); syscall(101, 17, $n, 0, 0); }
      } }
    print "saw ", $seen > 0 ? "them" : "nobody", join("", map { ", $_" } sort keys %found), "\n";"#;

fn watching(world: &World, more: &str) -> (Spec, Live) {
    let mut spec = intruder(world, WATCH, more);
    spec.process.env.push(format!("PLAIN={}", u8::from(more.is_empty())));
    let mut live = Live::spawn(&spec);
    live.says("up\n");
    (spec, live)
}

#[test]
fn s26_who_enters_cannot_be_looked_into() {
    let Some(world) = perl_world() else { return };
    // Docker's powers; and that of tracing, with which a process of the same user namespace is open to it.
    for more in ["", "SYS_PTRACE"] {
        let (spec, mut live) = watching(&world, more);
        for round in 0..45 {
            let stdio = match round % 3 {
                0 => Stdio::Output,
                1 => Stdio::Piped,
                _ => Stdio::Terminal(Size { rows: 1, columns: 1 }),
            };
            let mut entered = live.enter(&also(&spec, &["/bin/true"], stdio));
            assert_eq!(entered.status(), Status::Exited(0));
        }
        live.running.stdin = None;
        assert_eq!(live.output(), "up\nsaw them\n", "{more}");
    }
}

#[test]
fn s26_init_has_no_more_than_the_program() {
    let Some(world) = perl_world() else { return };
    for more in ["", "SYS_PTRACE"] {
        let mut spec = intruder(&world, WATCH, more);
        spec.first = First::Init;
        // One that answers for a world keeps what that takes (spec/sandbox.md).
        spec.process.world = None;
        spec.process.env.push(format!("PLAIN={}", u8::from(more.is_empty())));
        let mut live = Live::spawn(&spec);
        live.says("up\n");
        // It is as init is when it waits for the program.
        live.until(|live| live.started);
        let mut entered = live.enter(&also(&spec, &["/bin/sleep", "0.2"], Stdio::Output));
        assert_eq!(entered.status(), Status::Exited(0));
        live.running.stdin = None;
        let said = live.output();
        assert_eq!(said, "up\nsaw them\n", "{more}");
    }
    // Nor can it do what the filter forbids, for who traces it: the filter is its own, too.
    let status = r#"open(S, "<", "/proc/1/status"); /^Seccomp:\s*(\d)/ and print "$1\n" while <S>;"#;
    let mut spec = intruder(&world, &format!("<STDIN>; {status}"), "SYS_PTRACE");
    spec.first = First::Init;
    let mut live = Live::spawn(&spec);
    live.until(|live| live.started);
    live.keys(b"\n");
    assert_eq!(live.output(), "2\n");
}

/// A descriptor of the host's root that every process started meanwhile inherits.
fn leaked() -> std::os::fd::OwnedFd {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    openat(CWD, c"/", OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap()
}

#[test]
fn s01_descriptors_of_the_host_are_no_working_directory() {
    let Some(world) = perl_world() else { return };
    let leak = leaked();
    let mut spec = world.spec(&["cat"]);
    spec.process.stdio = Stdio::Piped;
    spec.first = First::Process;
    let mut live = Live::spawn(&spec);
    live.until(|live| live.started);
    let mut outside = 0;
    for number in 0..leak.as_raw_fd() + 8 {
        for dir in ["/proc/self/fd", "/dev/fd", "/proc/thread-self/fd", "/proc/1/fd"] {
            let mut process = also(&spec, &["ls"], Stdio::Output);
            process.cwd = format!("{dir}/{number}");
            let first = Spec { process: process.clone(), ..spec.clone() };
            for end in [live.enter(&process).result(), Live::spawn(&own_upper(&world, first)).result()] {
                match end {
                    Err(SandboxError::Setup(SetupError::CwdOutside { .. })) => outside += 1,
                    Err(SandboxError::Setup(SetupError::Cwd { .. })) => {}
                    other => panic!("{}: {other:?}", process.cwd),
                }
            }
        }
    }
    // It was there to be used.
    assert!(outside > 0);
    let mut entered = live.enter(&also(&spec, &["ls", "/proc/self/fd"], Stdio::Output));
    assert_eq!(entered.output(), "0\n1\n2\n3\n");
    drop(leak);
}

/// The same without a place for writes, so that it can run beside another.
fn own_upper(_: &World, mut spec: Spec) -> Spec {
    spec.root.writable = None;
    spec
}

#[test]
fn s02_the_helper_cannot_be_overwritten_through_who_enters() {
    let Some(world) = perl_world() else { return };
    let helper = world.path("helper");
    install(std::path::Path::new(env!("CARGO_BIN_EXE_lith")), &helper);
    let before = fs::read(&helper).unwrap();
    // Holds on to every program it sees that is not its own, and writes to it once nobody runs it.
    let script = r#"$| = 1; print "up\n"; my (%held, %said); fcntl(STDIN, 4, 2048); my @own = (stat "/proc/self/exe")[0, 1];
        until (defined(sysread(STDIN, my $byte, 1))) {
          opendir(my $dir, "/proc"); for my $n (grep { /^\d+$/ && $_ != $$ } readdir $dir) {
            my $p = "/proc/$n/exe"; my $fd = syscall(2, $p, 0x200000, 0); next if $fd < 0;
            my @it = stat("/proc/self/fd/$fd"); if (!@it || $held{$it[1]} || $it[1] == $own[1] || readlink("/proc/self/fd/$fd") =~ /perl|true/) { syscall(3, $fd); next } $held{$it[1]} = $fd; }
          for my $fd (values %held) { open(my $w, "+<", "/proc/self/fd/$fd") and do { $said{"opened"}++; print {$w} 'evil' } or $! == 26 or $said{0 + $!}++ or print "refused\n"; } }
        print "held ", scalar(keys %held) > 0 ? "some" : "none", join("", map { ", $_" } sort keys %said), "\n";"#;
    let mut spec = intruder(&world, script, "SYS_PTRACE");
    spec.process.capabilities = spec.process.capabilities.with("DAC_READ_SEARCH".parse().unwrap());
    let run = Launcher::default().helper(&helper);
    // The sandbox itself has another helper: a file that runs cannot be written by anybody.
    let mut live = Live::spawn(&spec);
    live.says("up\n");
    let evil = "printf '#!/proc/self/exe\\n' > /tmp/evil; chmod 755 /tmp/evil";
    assert_eq!(live.enter(&also(&spec, &["sh", "-c", evil], Stdio::Output)).status(), Status::Exited(0));
    for round in 0..30 {
        let argv: &[&str] = match round % 3 {
            0 => &["/tmp/evil"],
            1 => &["/proc/self/exe", "--version"],
            _ => &["/bin/true"],
        };
        live.until(|live| live.started);
        let init = std::os::fd::AsFd::as_fd(&live.init.as_ref().unwrap().1);
        let _ = Live::of(run.enter(init, &also(&spec, argv, Stdio::Output)).unwrap()).result();
    }
    live.says("refused\n");
    live.running.stdin = None;
    // EROFS, and nothing but that.
    assert_eq!(live.output(), "up\nrefused\nheld some, 30\n");
    assert!(fs::read(&helper).unwrap() == before, "the helper was changed");
}

/// A sandbox whose `/dev` a process inside has made to its liking.
fn own_dev(world: &World, script: &str) -> (Spec, Live) {
    let mut spec = world.shell(&format!("{script}; echo up; busybox cat"));
    let what = Mounted::Tmpfs { size: None, access: Access::ReadWrite };
    spec.mounts = vec![Mount { target: "/dev".into(), what }];
    spec.process.stdio = Stdio::Piped;
    let mut live = Live::spawn(&spec);
    live.says("up\n");
    (spec, live)
}

#[test]
fn s06_what_answers_for_devices_is_not_believed() {
    let Some(world) = world() else { return };
    fs::write(world.path("base/secret"), "secret").unwrap();
    fs::set_permissions(world.path("base/secret"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    for trick in [
        "busybox mkfifo /dev/null",
        "busybox ln -s /secret /dev/null",
        "busybox ln /dev/no /dev/null; echo secret > /dev/null; busybox chmod 600 /dev/null",
        "busybox mkdir /dev/null",
        "busybox ln -s /proc/1/fd/0 /dev/null",
        "busybox ln -s /tmp /dev2; true",
    ] {
        let (spec, mut live) = own_dev(&world, trick);
        let mut reader: Process = also(&spec, &["cat"], Stdio::Output);
        reader.user = Ids { uid: 1000, gid: 1000, groups: vec![] };
        assert_eq!(live.enter(&reader).output(), "", "{trick}");
    }
    let terminal = Stdio::Terminal(Size { rows: 1, columns: 1 });
    for trick in [
        "busybox mkdir /dev/pts; busybox mkfifo /dev/pts/ptmx",
        "busybox mkdir /dev/pts; echo > /dev/pts/ptmx",
        "busybox mkdir /dev/pts; mknod /dev/pts/ptmx c 5 2",
        "busybox mkdir /dev/pts; busybox ln -s /proc/1/fd/0 /dev/pts/ptmx",
        "busybox ln -s /tmp /dev/pts; busybox mkfifo /tmp/ptmx",
        "true",
    ] {
        let (spec, mut live) = own_dev(&world, trick);
        let end = live.enter(&also(&spec, &["true"], terminal)).result();
        assert!(
            matches!(&end, Err(SandboxError::Setup(SetupError::Refused { object, .. })) if object == "/dev/pts/ptmx"),
            "{trick}: {end:?}"
        );
    }
}

#[test]
fn s12_who_enters_reaches_no_abstract_socket_of_the_host() {
    let Some(world) = perl_world() else { return };
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let version: Vec<u32> = release.split('.').take(2).map(|part| part.parse().unwrap()).collect();
    if version < vec![6, 12] {
        return skip("needs Landlock scopes (Linux 6.12)").unwrap_or_default();
    }
    let name = format!("lith-entered-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let script = format!(
        r#"socket(my $s, 1, 1, 0); print connect($s, pack("S x a*", 1, "{name}")) ? "reached" : 0 + $!, "\n";"#
    );
    for (network, expected) in [(Net::Host, "1\n"), (Net::None, "111\n")] {
        let mut spec = intruder(&world, "<STDIN>", "");
        spec.network = network;
        let mut live = Live::spawn(&spec);
        live.until(|live| live.started);
        let mut entered = live.enter(&also(&spec, &["perl", "-e", &script], Stdio::Output));
        assert_eq!(entered.output(), expected, "{network:?}");
        // In a network of its own it reaches those of the sandbox.
        let serve = format!(
            r#"socket(my $l, 1, 1, 0); bind($l, pack("S x a*", 1, "{name}-own")) or die; listen($l, 1); $| = 1; print "up\n"; sleep 100000"#
        );
        let mut server = live.enter(&also(&spec, &["perl", "-e", &serve], Stdio::Output));
        server.says("up\n");
        let script = script.replace(&name, &format!("{name}-own"));
        let mut client = live.enter(&also(&spec, &["perl", "-e", &script], Stdio::Output));
        assert_eq!(client.output(), if network == Net::Host { "1\n" } else { "reached\n" });
    }
}

#[test]
fn s11_who_enters_has_the_filter() {
    let Some(world) = perl_world() else { return };
    let spec = intruder(&world, "<STDIN>", "ALL");
    let mut live = Live::spawn(&spec);
    let script = r#"for my $call ([165, 0, 0, 0, 0, 0], [272, 0x10000000], [308, 0, 0], [41, 38, 5, 0], [250, 0, -3, 0]) {
        $! = 0; syscall($call->[0], @{$call}[1 .. $#$call]); print 0 + $!, "\n"; }
        open(S, "<", "/proc/self/status"); /^Seccomp:\s*(\d)/ and print "$1\n" while <S>;"#;
    let mut entered = live.enter(&also(&spec, &["perl", "-e", script], Stdio::Output));
    assert_eq!(entered.output(), "1\n1\n1\n1\n1\n2\n");
    // A keyring of its own: what the caller has in its session is out of sight, and so are the masks of /proc.
    let mut entered = live.enter(&also(&spec, &["cat", "/proc/keys"], Stdio::Output));
    assert_eq!(entered.output(), "");
}
