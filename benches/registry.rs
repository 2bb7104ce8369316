//! A large image pulled from a registry and pushed to it, beside a floor and other clients in the same run.
//!
//! `cargo bench --bench registry [-- pull|push]`, as root. The image is made of files of this machine's `/usr`: 20 layers,
//! 1 GiB together; `LITH_BENCH_MIB`, `LITH_BENCH_LAYERS` and `LITH_BENCH_ROUNDS` say otherwise, `LITH_BENCH_CODECS` which of gzip
//! and zstd. Rows are taken in turn, each from an empty store, what the one before wrote synced; medians of seconds from
//! the command to its end, processor seconds of all its processes beside. Nothing is asserted.
//!
//! A floor does with standard tools what has to be done, two blobs at once. Of a copy: curl, sha256 of the blob. Of a pull:
//! curl, sha256 of the blob, unpacking, sha256 of the tar, and both kept, as `lith pull` keeps them, or the tar's files made, as others do at once and lith does when a
//! container is made. Of a push: sha256 of the blob, curl. A floor syncs nothing; lith syncs what it names.
//! Needs Debian's `docker-registry`, `skopeo`, `curl` and `time`; `podman` adds rows.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and fails where it cannot measure"
)]

#[path = "../tests/support/mod.rs"]
mod support;

#[path = "registry/image.rs"]
mod image;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use image::Image;
use support::peer::{Make, Peer};
use support::{Lab, children, has};

/// One row: what is run, and what it took each time, seconds and processor seconds.
struct Row {
    name: &'static str,
    script: String,
    /// Whether the rows after it are held against it.
    is_floor: bool,
    took: Vec<(f64, f64)>,
}

impl Row {
    fn new(name: &'static str, script: String) -> Self {
        Self { name, script, is_floor: false, took: vec![] }
    }

    fn floor(name: &'static str, script: String) -> Self {
        Self { is_floor: true, ..Self::new(name, script) }
    }

    fn run(&mut self, lab: &Lab) {
        let report = lab.path("time");
        let mut command = Command::new("/usr/bin/time");
        command.args(["-q", "-f", "%U %S", "-o"]).arg(&report).args([
            "bash",
            "-euo",
            "pipefail",
            "-c",
            &self.script,
        ]);
        command.current_dir(lab.path("work")).stdin(Stdio::null()).stdout(Stdio::null());
        let began = Instant::now();
        let output = command.output().unwrap();
        let seconds = began.elapsed().as_secs_f64();
        assert!(output.status.success(), "{}: {}", self.name, String::from_utf8_lossy(&output.stderr));
        let text = fs::read_to_string(report).unwrap();
        let cpu = text.split_whitespace().map(|part| part.parse::<f64>().unwrap()).sum();
        self.took.push((seconds, cpu));
    }

    fn median(&self) -> (f64, f64) {
        let mut sorted = self.took.clone();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        sorted[sorted.len() / 2]
    }
}

/// Runs rows in turn, `before` each of them untimed.
fn measure(lab: &Lab, title: &str, mut rows: Vec<Row>, rounds: usize, before: &mut dyn FnMut()) {
    for _ in 0..rounds {
        for row in &mut rows {
            before();
            row.run(lab);
        }
    }
    println!("\n{title}; median of {rounds}");
    let mut floor = f64::NAN;
    for row in rows {
        let (seconds, cpu) = row.median();
        if row.is_floor {
            floor = seconds;
        }
        let ratio =
            if row.is_floor { "floor".to_owned() } else { format!("{:.2} × floor", seconds / floor) };
        println!("  {:<44} {seconds:>8.2} s {ratio:>14} {cpu:>8.2} s of processors", row.name);
    }
}

/// An empty directory to work in, with nothing left to write of what was done before. What was there is cut to nothing and
/// not removed: for minutes ext4 looks again at every inode that was just freed, and the next row would pay for that.
fn clear(lab: &Lab) {
    let work = lab.path("work");
    if work.exists() {
        let gone = lab.path(&format!("gone-{}", children(&lab.path("")).len()));
        fs::rename(&work, &gone).unwrap();
        unmount(&gone);
        let cut = "find \"$1\" -xdev -type f -size +0 -exec truncate -s 0 {} +";
        assert!(Command::new("sh").args(["-c", cut, "sh"]).arg(&gone).status().unwrap().success());
    }
    fs::create_dir_all(&work).unwrap();
    rustix::fs::sync();
}

/// Ends what podman and skopeo leave mounted below a directory, which could not be removed otherwise.
fn unmount(dir: &Path) {
    let all = "grep -o \" $1/[^ ]*\" /proc/self/mounts | tac | xargs -r -n 1 umount";
    assert!(Command::new("sh").args(["-c", all, "sh"]).arg(dir).status().unwrap().success());
}

/// Goes on in a mount namespace of its own: what peers mount stays in it.
fn take_own_mounts() {
    use std::os::unix::process::CommandExt as _;
    const INNER: &str = "--own-mounts";
    if std::env::args().any(|arg| arg == INNER) {
        return;
    }
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private"]).arg(std::env::current_exe().unwrap());
    command.args(std::env::args_os().skip(1)).arg(INNER);
    panic!("unshare: {}", command.exec());
}

const PODMAN: &str = "podman --root $PWD/r --runroot $PWD/rr --storage-driver overlay";

fn pulls(lab: &Lab, image: &Image, peer: &Peer) -> Vec<Row> {
    let (lith, host, unpack) = (env!("CARGO_BIN_EXE_lith"), &peer.host, image.codec.unpacker());
    let fetch = |end: &str| {
        format!(
            "printf '%s\\n' {} | xargs -P 2 -I DIGEST bash -euo pipefail -c 'mkdir DIGEST; curl -sSf http://{host}/v2/bench/app/blobs/DIGEST | \
             tee DIGEST/blob >(sha256sum > DIGEST/digest) | {unpack} | tee >(sha256sum > DIGEST/id) | {end}'",
            image.digests.join(" ")
        )
    };
    let keep = format!(
        "printf '%s\\n' {} | xargs -P 2 -I DIGEST bash -euo pipefail -c 'mkdir DIGEST; curl -sSf http://{host}/v2/bench/app/blobs/DIGEST | \
         tee DIGEST/blob | sha256sum > DIGEST/digest'",
        image.digests.join(" ")
    );
    let name = format!("{host}/bench/app:1");
    let pull = format!("{lith} --root $PWD/store pull -q --plain-http {name}");
    let mut rows = vec![
        Row::floor("curl, sha256, tar kept", fetch("cat > DIGEST/tar")),
        Row::new("lith pull", pull.clone()),
        Row::floor("curl, sha256, nothing unpacked", keep),
        Row::new(
            "lith image copy to a layout",
            format!("{lith} --root $PWD/store image copy -q --src-plain-http docker://{name} oci:$PWD/ours"),
        ),
        Row::new(
            "skopeo copy to a layout",
            format!("skopeo copy -q --src-tls-verify=false docker://{name} oci:$PWD/theirs"),
        ),
        Row::floor("curl, sha256, files made", fetch("tar -x -C DIGEST")),
        Row::new(
            "lith pull and mount",
            format!("{pull}; {lith} --root $PWD/store mount {name}; {lith} --root $PWD/store umount {name}"),
        ),
    ];
    if has("podman") {
        let storage = format!("containers-storage:[overlay@$PWD/r+$PWD/rr]{name}");
        rows.push(Row::new(
            "skopeo copy to podman's storage",
            format!("skopeo copy -q --src-tls-verify=false docker://{name} {storage}"),
        ));
        rows.push(Row::new("podman pull", format!("{PODMAN} pull -q --tls-verify=false {name}")));
    }
    clear(lab);
    rows
}

fn pushes(lab: &Lab, image: &Image) -> Vec<Row> {
    let (lith, layout) = (env!("CARGO_BIN_EXE_lith"), image.layout.display());
    let path = |name: &str| lab.path(name).display().to_string();
    let store = path(&format!("pushed-{}", image.codec.name()));
    lab.ok(&format!("pushed-{}", image.codec.name()), &["load", &layout.to_string()]);
    let send = format!(
        "printf '%s\\n' {} | xargs -P 2 -I DIGEST bash -euo pipefail -c 'blob={layout}/blobs/sha256/DIGEST; sha256sum $blob; \
         at=$(curl -sSf -o /dev/null -X POST -w \"%header{{location}}\" http://$HOST/v2/bench/app/blobs/uploads/); \
         curl -sSf -T $blob -H Content-Type:application/octet-stream \"$at&digest=sha256:DIGEST\"'",
        image.digests.iter().map(|digest| digest.trim_start_matches("sha256:")).collect::<Vec<_>>().join(" ")
    );
    let with_host = |script: String| format!("HOST=$(cat ../host); export HOST; {script}");
    let name = "$HOST/bench/app:1";
    let mut rows = vec![
        Row::floor("sha256, curl", with_host(send)),
        Row::new(
            "lith push",
            with_host(format!("{lith} --root {store} push -q --plain-http bench:1 {name}")),
        ),
        Row::new(
            "skopeo copy of a layout",
            with_host(format!("skopeo copy -q --dest-tls-verify=false oci:{layout}:bench:1 docker://{name}")),
        ),
    ];
    if has("podman") {
        let root = path("podman");
        let storage = format!("containers-storage:[overlay@{root}/r+{root}/rr]localhost/bench:1");
        let loaded = Command::new("skopeo")
            .args(["copy", "-q", &format!("oci:{layout}:bench:1"), &storage])
            .output()
            .unwrap();
        assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
        let podman = format!("podman --root {root}/r --runroot {root}/rr --storage-driver overlay");
        rows.push(Row::new(
            "podman push",
            with_host(format!("{podman} push -q --tls-verify=false localhost/bench:1 {name}")),
        ));
    }
    rows
}

#[expect(clippy::disallowed_methods, reason = "asks the person at the keyboard")]
fn asked(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn number(name: &str, usual: usize) -> usize {
    asked(name).map_or(usual, |text| text.parse().expect("a number"))
}

fn main() {
    take_own_mounts();
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let (mib, layers) = (number("LITH_BENCH_MIB", 1024), number("LITH_BENCH_LAYERS", 20));
    let rounds = number("LITH_BENCH_ROUNDS", 3);
    // Removed when all is done, not between.
    let mut labs = Vec::new();
    let codecs = asked("LITH_BENCH_CODECS").unwrap_or_else(|| "gzip,zstd".into());
    for codec in codecs.split(',').map(|name| name.parse().expect("gzip or zstd")) {
        let lab = Lab::new();
        let image = Image::make(&lab, codec, mib, layers);
        let what = format!(
            "{layers} layers, {} MiB, {} MiB as {}",
            image.unpacked >> 20,
            image.packed >> 20,
            codec.name()
        );
        clear(&lab);
        if filter.is_empty() || filter == "pull" {
            let Some(peer) = Peer::start(Make::Distribution, &lab.path("served")) else { return };
            image.serve(&peer);
            let rows = pulls(&lab, &image, &peer);
            measure(&lab, &format!("pull: {what}"), rows, rounds, &mut || clear(&lab));
        }
        if filter.is_empty() || filter == "push" {
            let rows = pushes(&lab, &image);
            let mut peer = None;
            measure(&lab, &format!("push: {what}"), rows, rounds, &mut || {
                peer = None;
                clear(&lab);
                // It goes with the directory that the row works in.
                let started = Peer::start(Make::Distribution, &lab.path("work/taken")).unwrap();
                fs::write(lab.path("host"), &started.host).unwrap();
                peer = Some(started);
            });
        }
        labs.push(lab);
    }
    labs.iter().for_each(|lab| unmount(&lab.path("")));
}
