//! What hermetic steps are told of the world (spec/world.md), on the real kernel.

use std::collections::BTreeMap;

use lith::capabilities::Capabilities;
use lith::mount::OverlayMarks;
use lith::sandbox::Launcher;
use lith::sandbox::spec::{Layout, Listing, Spec, Status, World as Told};

use super::sandbox::{World, long_sleep, processes_with, run, told, world};

/// Runs a script in a world and gives what it printed; it must end well.
pub fn says(place: &World, told: &Told, script: &str) -> String {
    let mut spec = place.shell(script);
    spec.process.world = Some(told.clone());
    let (ended, text) = run(&spec);
    let ended = ended.unwrap();
    assert_eq!(ended.status, Status::Exited(0), "{script}: {}{}", text.out, text.err);
    assert_eq!(text.err, "", "{script}");
    text.out
}

pub fn seeded() -> Told {
    Told { seed: Some([7; 32]), ..told() }
}

/// A place with all of busybox's commands in it.
fn full() -> Option<World> {
    world().map(filled)
}

fn filled(place: World) -> World {
    let list = std::process::Command::new("/bin/busybox").arg("--list").output().unwrap();
    for name in String::from_utf8(list.stdout).unwrap().lines() {
        let _ = std::os::unix::fs::symlink("busybox", place.path("base/bin").join(name));
    }
    place
}

#[test]
fn the_clock_stands_whoever_reads_it() {
    let Some(place) = full() else { return };
    // Through the kernel's code in its memory, and after waiting.
    let script = "date -u +%s; sleep 0.05; date -u +%s; sh -c 'date -u +%s'";
    assert_eq!(says(&place, &told(), script), "1700000000\n1700000000\n1700000000\n");
    assert_eq!(says(&place, &Told { clock: 0, ..told() }, "date -u +%s"), "0\n");
}

#[test]
fn a_program_that_asks_the_kernel_itself_is_told_the_same() {
    let Some(place) = full() else { return };
    install_clocks(&place);
    let printed = says(&place, &told(), "clocks");
    let lines: BTreeMap<&str, &str> = printed.lines().filter_map(|line| line.split_once(' ')).collect();
    for name in ["clock_gettime", "vdso_clock_gettime", "coarse", "vdso_coarse", "tai"] {
        assert_eq!(lines[name], "1700000000.999000000", "{printed}");
    }
    assert_eq!(lines["gettimeofday"], "1700000000.999000", "{printed}");
    assert_eq!(lines["vdso_gettimeofday"], "1700000000.999000", "{printed}");
    assert_eq!(lines["time"], "1700000000", "{printed}");
    assert_eq!(lines["vdso_time"], "1700000000", "{printed}");
    // Waiting works: the monotonic clock goes on, and so do waits until a moment of the clock that stands.
    for name in ["monotonic", "sleep_until", "futex_until", "cond_woken"] {
        assert_eq!(lines[name], "ok", "{printed}");
    }
}

/// Puts the program into a place that reads the clock in every way.
fn install_clocks(place: &World) {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/world/clocks.c");
    let built = std::process::Command::new("cc")
        .args(["-static", "-pthread", "-O1", "-o"])
        .args([&place.path("base/bin/clocks"), std::path::Path::new(source)])
        .status();
    assert!(built.unwrap().success());
}

#[test]
fn a_clock_that_ticks_is_later_at_each_reading_of_a_program() {
    let Some(place) = full() else { return };
    install_clocks(&place);
    let ticking = Told { ticks: true, ..told() };
    let printed = says(&place, &ticking, "clocks");
    let of = |name: &str| printed.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
    assert_eq!(of("vdso_clock_gettime "), "1700000000.999000000");
    assert_eq!(of("vdso_coarse "), "1700000000.999000001");
    assert_eq!(of("tai "), "1700000000.999000002");
    // Each program begins anew.
    assert_eq!(says(&place, &ticking, "date +%s; date +%s"), "1700000000\n1700000000\n");
}

#[test]
fn files_written_in_a_step_are_of_its_second_and_keep_their_order() {
    let Some(place) = full() else { return };
    let script = r#"touch /old; sleep 0.02; touch /new; mkdir /d; ln -s x /l; sleep 0.02; touch /d/in
        stat -c '%Y %n' /old /new /d /l /d/in
        at() { stat -c %y $1; }
        expr "$(at /old)" \< "$(at /new)" \& "$(at /new)" \< "$(at /d/in)"
        touch -d @1234567890 /set; stat -c '%Y' /set
        cd /; tar -cf - old d | tar -tvf - | grep -c '2023-11-14 22:13:20'"#;
    let expected = "1700000000 /old\n1700000000 /new\n1700000000 /d\n1700000000 /l\n1700000000 /d/in\n\
                    1\n1234567890\n3\n";
    assert_eq!(says(&place, &told(), script), expected);
    // What was there before keeps its time.
    let before = says(&place, &told(), "stat -c %Y /bin/busybox");
    assert_ne!(before, "1700000000\n");
}

/// Puts a program into a place, with the C library that it takes at its start.
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
fn install_files(place: &World) {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/world/files.c");
    let program = place.path("base/bin/files");
    let built = std::process::Command::new("cc")
        .args(["-O1", "-o"])
        .args([&program, std::path::Path::new(source)])
        .status();
    assert!(built.unwrap().success());
    let needed = std::process::Command::new("ldd").arg(&program).output().unwrap();
    let needed = String::from_utf8(needed.stdout).unwrap();
    for library in needed.split_ascii_whitespace().filter(|word| word.starts_with('/')) {
        let target = place.path("base").join(&library[1..]);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(library, target).unwrap();
    }
}

/// Without being heard, of whatever second they are; a program that is heard is told the same.
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
#[test]
fn a_program_with_a_c_library_is_told_true_times_and_waits_for_few() {
    let Some(place) = full() else { return };
    install_files(&place);
    let modified = 1_600_000_000;
    let then = std::time::UNIX_EPOCH + std::time::Duration::from_secs(modified);
    let old = std::fs::File::options().write(true).open(place.path("base/bin/files")).unwrap();
    old.set_times(std::fs::FileTimes::new().set_accessed(then).set_modified(then)).unwrap();
    let length = old.metadata().unwrap().len();
    drop(old);
    let each = |told: &str| {
        ["stat", "lstat", "fstat", "fstatat", "empty"].map(|how| format!("{how}: {told}\n")).concat()
    };
    let missing = "No such file or directory";
    let expected = [
        each(&format!("{modified} {length}")),
        each("1700000000 4"),
        each(missing)
            .replace(&format!("fstat: {missing}"), "fstat: Bad file descriptor")
            .replace(&format!("empty: {missing}"), "empty: Bad file descriptor"),
        "/bin/files: at once\n/new: at once\n".to_owned(),
    ];
    for layout in [Layout::Fixed, Layout::Random] {
        let told = Told { layout, ..told() };
        assert_eq!(says(&place, &told, "/bin/files /bin/files /new"), expected.concat(), "{layout:?}");
    }
    let each = "echo > /f; /bin/files written /f; stat -c %y /f; /bin/files written /f";
    let said = says(&place, &told(), &format!("i=0; while [ $i -lt 20 ]; do {each}; i=$((i+1)); done"));
    let nanos: Vec<u32> =
        said.lines().map(|line| line.split('.').nth(1).unwrap()[..9].parse().unwrap()).collect();
    for told in nanos.chunks(3) {
        assert_eq!(told, [told[0]; 3], "{said}");
    }
    assert!(nanos.is_sorted() && nanos[0] < nanos[59], "{said}");
}

/// Whatever file system holds them, and whenever they were changed.
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
#[test]
fn files_are_told_to_be_the_same_on_every_machine() {
    if world().is_none() {
        return;
    }
    let of = |name: &str, links: u64, size: u64, blocks: u64| {
        let old = format!(
            "{name}: device 120:0 links {links} size {size} blocks {blocks} changed 1700000000.000000000"
        );
        format!("{old}\n{old}\n{old} born 1700000000.000000000 known 1 alone 1700000000\n")
    };
    let expected = [
        of("/d", 1, 4096, 8),
        of("/d/text", 1, 5, 8),
        of("/long", 2, 48_888, 96),
        of("/empty", 1, 0, 0),
        of("/holes", 1, 1 << 20, 0),
        of("/link", 1, 5, 0),
    ];
    for dir in [std::env::temp_dir(), "/dev/shm".into()] {
        let place = filled(World::new_in(&dir, OverlayMarks::Trusted));
        install_files(&place);
        let script = "mkdir /d; touch /d/a /d/b; echo text > /d/text; seq 9999 > /long; : > /empty
            truncate -s 1M /holes; ln /long /other; ln -s /long /link; mkdir /d/e; /bin/files are /d /d/text /long /empty /holes /link /tmp";
        let said = says(&place, &told(), script);
        // What the kernel makes up counts its threads by links, and those are of the program.
        let own = says(&place, &told(), "/bin/files are /proc/self/task /proc");
        let links: Vec<&str> = own.lines().map(|line| line.split(' ').nth(4).unwrap()).collect();
        assert_eq!(links, ["3", "3", "3", "1", "1", "1"], "{own}");
        let (new, old) = said.split_once("/tmp: ").unwrap();
        assert_eq!(new, expected.concat(), "{dir:?}");
        assert!(old.starts_with("device 120:0 links 1 size 4096 blocks 8 changed "), "{old}");
    }
}

/// Where its places are known: with addresses at random each of its questions is heard.
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
#[test]
fn the_loader_of_a_program_waits_for_nobody() {
    let Some(place) = full() else { return };
    install_files(&place);
    // Whatever else is waited for, such as a disk, is not so each time.
    let script = "i=0; while [ $i -lt 20 ]; do /bin/files begun; i=$((i+1)); done";
    let least = |layout: Layout| -> u64 {
        let printed = says(&place, &Told { layout, ..told() }, script);
        printed.lines().map(|line| line.parse().unwrap()).min().unwrap()
    };
    let (fixed, random) = (least(Layout::Fixed), least(Layout::Random));
    assert!(fixed < random, "{fixed} and {random}");
}

#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
#[test]
fn a_program_that_another_traces_is_told_the_same() {
    let Some(place) = full() else { return };
    install_files(&place);
    assert_eq!(says(&place, &told(), "/bin/files trace /bin/date -u +%s"), "1700000000\n");
    let draws = "/bin/files trace /bin/mktemp -u";
    assert_eq!(says(&place, &seeded(), draws), says(&place, &seeded(), draws));
}

#[test]
fn files_below_another_root_are_of_its_second_too() {
    let Some(place) = full() else { return };
    let script =
        "mkdir -p /sub/bin; cp /bin/busybox /sub/bin/; cp /bin/busybox /sub/bin/stat; echo > /sub/new
        ln -s /new /sub/link; chroot /sub /bin/stat -L -c '%Y %n' /new /link";
    assert_eq!(says(&place, &told(), script), "1700000000 /new\n1700000000 /link\n");
}

/// A step with all powers may write there; whoever looks does not.
#[test]
fn files_of_the_kernel_keep_their_times() {
    let Some(place) = full() else { return };
    let mut spec = place.shell("touch /sys/fs && stat -c %Y /sys/fs");
    spec.process.world = Some(told());
    spec.process.insecure = true;
    spec.process.capabilities = Capabilities::ALL;
    let (ended, text) = run(&spec);
    assert_eq!(ended.unwrap().status, Status::Exited(0), "{}{}", text.out, text.err);
    let modified = std::fs::metadata("/sys/fs").unwrap().modified().unwrap();
    let modified = modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(text.out, format!("{modified}\n"));
    assert_ne!(modified, 1_700_000_000);
}

/// What the sandbox itself makes and mounts, too.
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
#[test]
fn nothing_that_was_made_for_a_program_is_from_its_future() {
    let Some(place) = full() else { return };
    install_files(&place);
    let script =
        "for f in /proc /proc/self /dev /dev/null /dev/shm; do /bin/files written $f; stat -c %Y.%y $f; done";
    let said = says(&place, &told(), script);
    assert!(said.lines().all(|line| line.starts_with("1700000000.")), "{said}");
}

#[test]
fn files_on_mounts_of_a_program_s_own_are_of_its_second_too() {
    let Some(place) = full() else { return };
    let inside = "mount -t tmpfs none /tmp && echo > /tmp/new && stat -c '%Y %n' /tmp/new";
    let mut spec = place.shell(&format!("mkdir -p /tmp; unshare -m sh -c \"{inside}\""));
    spec.process.world = Some(told());
    spec.process.insecure = true;
    spec.process.capabilities = Capabilities::ALL;
    let (ended, text) = run(&spec);
    assert_eq!(ended.unwrap().status, Status::Exited(0), "{}", text.err);
    assert_eq!(text.out, "1700000000 /tmp/new\n");
}

#[test]
fn directories_are_listed_in_one_order() {
    let Some(place) = full() else { return };
    let make = "mkdir /d; for i in 5 3 9 1 7; do echo $i > /d/$i; done; find /d | tr '\\n' ' '";
    let sorted = "/d /d/1 /d/3 /d/5 /d/7 /d/9 ";
    assert_eq!(says(&place, &told(), make), sorted);
    let other =
        says(&place, &Told { listing: Listing::Shuffled(3), ..told() }, &make.replace("mkdir", "mkdir -p"));
    assert_ne!(other, sorted);
    // Everything is found and removed, also from directories larger than one answer.
    let many =
        "mkdir /m; i=0; while [ $i -lt 3000 ]; do : > /m/a-rather-long-name-of-a-file-$i; i=$((i+1)); done
        ls /m | wc -l; find /m -type f | sort | uniq | wc -l; rm -r /m; ls / | grep -c '^m$' || true";
    for listing in [Listing::Sorted, Listing::Shuffled(9)] {
        assert_eq!(says(&place, &Told { listing, ..told() }, many), "3000\n3000\n0\n");
    }
}

#[test]
fn randomness_follows_from_the_seed_alone() {
    let Some(place) = full() else { return };
    let script = "mktemp -u; head -c 8 /dev/urandom | md5sum; head -c 8 /dev/random | md5sum
        cat /proc/sys/kernel/random/uuid";
    let one = says(&place, &seeded(), script);
    assert_eq!(says(&place, &seeded(), script), one);
    assert_ne!(says(&place, &Told { seed: Some([8; 32]), ..told() }, script), one);
    assert_ne!(says(&place, &told(), script), says(&place, &told(), script), "not seeded");
    // Two that draw one after the other draw different bytes.
    let two = says(
        &place,
        &seeded(),
        "mktemp -u; mktemp -u; head -c 8 /dev/urandom | md5sum; head -c 8 /dev/urandom | md5sum",
    );
    let lines: Vec<&str> = two.lines().collect();
    assert_ne!(lines[0], lines[1]);
    assert_ne!(lines[2], lines[3]);
    // As much as is asked for.
    assert_eq!(says(&place, &seeded(), "head -c 3000000 /dev/urandom | wc -c"), "3000000\n");
}

#[test]
fn what_runs_at_once_draws_nothing_from_each_other() {
    let Some(place) = full() else { return };
    // By what they are asked for, and, where that is the same, by where they print to.
    for name in ["$i.XXXXXX", "XXXXXX"] {
        let script = format!(
            "for i in 1 2 3 4 5 6 7 8; do /bin/mktemp -u /etc/{name} > /$i & done; wait; cat /1 /2 /3 /4 /5 /6 /7 /8"
        );
        let one = says(&place, &seeded(), &script);
        for _ in 0..8 {
            assert_eq!(says(&place, &seeded(), &script), one);
        }
    }
}

#[test]
fn the_machine_is_another() {
    let Some(place) = full() else { return };
    let script = "uname -r; uname -v; nproc; cat /proc/uptime /proc/sys/kernel/osrelease
        cat /sys/devices/system/cpu/online; grep -c ^processor /proc/cpuinfo; cat /proc/sys/kernel/random/boot_id
        uptime | grep -c 'up 1 min'; umask; free | grep Mem; grep -E '^(MemTotal|SwapTotal)' /proc/meminfo; cat /proc/swaps
        df -k / | tail -n 1; df -i / | tail -n 1; stat -f -c '%T %i %s %b %f %c' /; stat -f -c '%i %b' /proc
        df -k /dev/shm | tail -n 1; df -k /sys/fs/cgroup | tail -n 1; stat -f /nowhere 2> /dev/null || echo none";
    let expected = "6.6.0\n#1 SMP PREEMPT_DYNAMIC\n4\n100.00 100.00\n6.6.0\n0-3\n4\n\
                    00000000-0000-4000-8000-000000000000\n1\n0022\n\
                    Mem:        8388608      819200     6291456        1024     1277952     7568384\n\
                    MemTotal:        8388608 kB\nSwapTotal:             0 kB\n\
                    Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n\
                    overlay              1073741824 268435456 805306368  25% /\n\
                    overlay               67108864  16777216  50331648  25% /\n\
                    UNKNOWN 0 4096 268435456 201326592 67108864\n0 0\n\
                    tmpfs                    65536         0     65536   0% /dev/shm\n\
                    tmpfs                  4194304         0   4194304   0% /sys/fs/cgroup\nnone\n";
    assert_eq!(says(&place, &told(), script), expected);
    let other = Told { processors: 1, umask: 0o027, last_process: 500, ..told() };
    let printed =
        says(&place, &other, "nproc; cat /sys/devices/system/cpu/online; umask; [ $$ -gt 500 ] && echo high");
    assert_eq!(printed, "1\n0\n0027\nhigh\n");
}

#[test]
fn memory_lies_where_it_is_told_to() {
    let Some(place) = full() else { return };
    let script = "cat /proc/self/maps | grep -E 'stack|vdso' | cut -d- -f1";
    assert_eq!(says(&place, &told(), script), says(&place, &told(), script));
    let random = Told { layout: Layout::Random, ..told() };
    assert_ne!(says(&place, &random, script), says(&place, &random, script));
}

#[test]
fn what_was_seen_is_told() {
    let Some(place) = full() else { return };
    let seen = |told: &Told, script: &str| {
        let mut spec: Spec = place.shell(script);
        spec.process.world = Some(told.clone());
        run(&spec).0.unwrap().seen
    };
    let quiet = seen(&told(), "echo hello; ls / > /dev/null; date > /dev/null; /bin/mktemp -u > /dev/null");
    assert_eq!((quiet.entropy, quiet.clock), (vec![], None));
    let drawn = seen(&told(), "head -c 1 /dev/urandom > /dev/null");
    assert_eq!(drawn.entropy, ["/dev/urandom"]);
}

/// Whoever makes a key is named, however many drew before.
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
#[test]
fn each_command_that_draws_is_named() {
    let Some(place) = full() else { return };
    install_files(&place);
    let mut spec =
        place.shell("for i in $(seq 30) 7; do /bin/files draw $i; done; /bin/files draw first draw then");
    spec.process.world = Some(seeded());
    let mut expected: Vec<String> = (1..=30).map(|word| format!("/bin/files draw {word}")).collect();
    expected.extend(["first draw then", "then"].map(|words| format!("/bin/files draw {words}")));
    assert_eq!(run(&spec).0.unwrap().seen.entropy, expected);
}

/// Programs find ways to end, fail and signal before they have begun.
#[test]
fn programs_that_fail_to_execute_are_killed_or_stop_go_their_way() {
    let Some(place) = full() else { return };
    let script = "exec 2>/dev/null; /no/such; echo $?; : > /empty; chmod 755 /empty; /empty; echo $?
        (exec /no/such); echo $?
        sleep 100 & kill -STOP $!; kill -CONT $!; kill -TERM $!; wait $!; echo $?
        i=0; while [ $i -lt 50 ]; do (sleep 100 & kill -9 $!; wait $!); i=$((i+1)); done; echo done";
    assert_eq!(says(&place, &told(), script), "127\n0\n127\n143\ndone\n");
}

#[test]
fn a_caller_that_is_gone_takes_everything_along() {
    let Some(place) = full() else { return };
    let mark = long_sleep(90);
    let script = format!("(while :; do /bin/date > /dev/null; done) & setsid sleep {mark} & sleep {mark}");
    let mut spec = place.shell(&script);
    spec.process.world = Some(seeded());
    let mut running = Launcher::default().helper(env!("CARGO_BIN_EXE_lith")).spawn(&spec).unwrap();
    while processes_with(&mark).len() < 2 {
        std::thread::yield_now();
    }
    running.kill();
    running.wait().unwrap();
    assert!(processes_with(&mark).is_empty());
}
