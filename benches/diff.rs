//! What it takes to say that two large images differ in one file, beside diffoscope in the same run.
//!
//! `cargo bench --bench diff [-- MEGABYTES FILES]`: two images of that many bytes (1200) and files (50000) that differ in one
//! of them, as OCI layouts of one layer packed with gzip, as layouts of twelve, in a store, and as two bare tars. diffoscope
//! gets the tars, which is all it knows of images; `--peer-megabytes N` gives it a smaller pair, and lith one more row with
//! that. It is ended after `--peer-minutes N` (20), and what it took is then a bound. diffoci has no row: it is made of
//! modules of Go, which come from none of the registries that the project installs from.
//!
//! Each row is one run: seconds, those of processors, which a busy machine changes less, and the most memory that the
//! process held. Files are in the page cache. Nothing is asserted but that each program that ends says that they differ.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and fails where it cannot measure"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lith::digest::{BlobDigest, ContentDigest};
use lith::layer::compress::{Codec, Compressor};
use lith::layer::{LayerWriter, Meta, Mtime, Node};
use lith::path::ImagePath;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use support::{Lab, has};

/// How large the images are.
#[derive(Clone, Copy)]
struct Size {
    bytes: u64,
    files: usize,
}

/// Files in a directory.
const PER_DIRECTORY: usize = 250;

/// Minutes after which a peer is ended.
const PATIENCE: usize = 20;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let number = |text: &str| text.parse::<usize>().unwrap();
    let option = |name: &str| args.iter().position(|arg| arg == name).map(|at| number(&args[at + 1]));
    let peer = option("--peer-megabytes");
    let patience = Duration::from_secs(60 * option("--peer-minutes").unwrap_or(PATIENCE) as u64);
    let mut plain = args.iter().take_while(|arg| !arg.starts_with("--")).map(|arg| number(arg));
    let megabytes = plain.next().unwrap_or(1200);
    let whole = Size { bytes: (megabytes as u64) << 20, files: plain.next().unwrap_or(50_000) };
    let lab = Lab::new();
    println!("{} MB in {} files, one of which differs", megabytes, whole.files);
    let tars = pair(&lab, "whole", whole);
    let ours = row(&lab, "lith, two tars", &lith(&lab, &[&place("tar", &tars.0), &place("tar", &tars.1)]));
    layouts(&lab, &tars);
    println!("diffoci is not installed: no row");
    if !has("diffoscope") {
        println!("diffoscope is not installed: no row");
        return;
    }
    let (given, ours) = match peer {
        None => (tars, ours),
        Some(megabytes) => {
            let files = whole.files * megabytes / usize::try_from(whole.bytes >> 20).unwrap();
            let small = pair(&lab, "small", Size { bytes: (megabytes as u64) << 20, files });
            println!("{megabytes} MB in {files} files");
            let tars = [place("tar", &small.0), place("tar", &small.1)];
            let ours = row(&lab, "lith, two tars", &lith(&lab, &[&tars[0], &tars[1]]));
            (small, ours)
        }
    };
    diffoscope(&lab, &given, ours, patience);
}

/// The peer on the same pair, and how it compares.
fn diffoscope(lab: &Lab, tars: &(PathBuf, PathBuf), ours: Row, patience: Duration) {
    let command = ["diffoscope".into(), shown(&tars.0), shown(&tars.1)];
    let peer = run(lab, &command, Some(patience));
    peer.print("diffoscope, two tars");
    let (time, memory) = (peer.seconds / ours.seconds, peer.megabytes / ours.megabytes);
    let processors = peer.processors / ours.processors;
    match peer.code {
        Some(code) => {
            assert_eq!(code, 1, "diffoscope: they differ, and that is to be said");
            println!(
                "diffoscope takes {time:.1} times the time, {processors:.1} times that of processors, and \
                 {memory:.1} times the memory"
            );
        }
        None => println!(
            "diffoscope was ended without a result: it takes more than {time:.0} times the time, \
             {processors:.0} times that of processors, and {memory:.1} times the memory"
        ),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn place(form: &str, path: &Path) -> String {
    format!("{form}:{}", path.display())
}

fn lith(lab: &Lab, sides: &[&str]) -> Vec<String> {
    let root = shown(&lab.path("store"));
    let program = env!("CARGO_BIN_EXE_lith");
    [program, "--root", &root, "diff"].iter().chain(sides).map(|&word| word.to_owned()).collect()
}

/// The two tars: the second has another line in the middle of one file.
fn pair(lab: &Lab, name: &str, size: Size) -> (PathBuf, PathBuf) {
    let path = |side: &str| lab.path(&format!("{name}-{side}.tar"));
    for side in ["a", "b"] {
        let all = 0..size.files;
        let mut writer = LayerWriter::new(BufWriter::new(File::create(path(side)).unwrap()));
        write_files(&mut writer, size, all, side == "b");
        writer.finish().unwrap().0.flush().unwrap();
    }
    (path("a"), path("b"))
}

/// Writes some of the files, each below its directory.
fn write_files<W: Write + Send>(
    writer: &mut LayerWriter<W>,
    size: Size,
    files: std::ops::Range<usize>,
    changed: bool,
) {
    let each = usize::try_from(size.bytes).unwrap() / size.files;
    let meta = |mode| Meta { mode, mtime: Mtime { secs: 1_600_000_000, nanos: 0 }, ..Meta::default() };
    for at in files {
        let dir = ImagePath::parse(format!("d{:05}", at / PER_DIRECTORY).as_bytes()).unwrap();
        if at % PER_DIRECTORY == 0 {
            writer.node(&dir, &meta(0o755), &Node::Dir).unwrap();
        }
        let mut text = text(at as u64, each);
        if changed && at == size.files / 2 {
            let middle = text.len() / 2;
            text[middle..middle + 8].copy_from_slice(b"CHANGED\n");
        }
        let path = dir.child(format!("f{at:06}").as_bytes());
        writer.bytes(&path, &meta(0o644), &text, ContentDigest::of(&text)).unwrap();
    }
}

/// Lines of hex digits that no other file has: they pack to half their size, as programs do.
fn text(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 64);
    while bytes.len() < len {
        for _ in 0..4 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            write!(bytes, "{state:016x}").unwrap();
        }
        bytes.push(b'\n');
    }
    bytes.truncate(len);
    bytes
}

/// The same files as images: of one layer, in a store, and of twelve layers of which one differs. What a row does not need
/// any more is removed, as all of it at once is ten gigabytes.
fn layouts(lab: &Lab, tars: &(PathBuf, PathBuf)) {
    let sides = [("a", &tars.0), ("b", &tars.1)];
    let one = sides.map(|(side, tar)| layout(lab, &format!("one-{side}"), std::slice::from_ref(tar)));
    row(lab, "lith, OCI layouts of one layer", &lith(lab, &[&one[0], &one[1]]));
    for (place, name) in one.iter().zip(["one-a", "one-b"]) {
        lab.ok("store", &["image", "copy", place, &format!("store:{name}")]);
        fs::remove_dir_all(lab.path(name)).unwrap();
    }
    row(lab, "lith, a store", &lith(lab, &["one-a", "one-b"]));
    fs::remove_dir_all(lab.path("store")).unwrap();
    let parts = sides.map(|(side, tar)| {
        let parts = split(lab, side, tar);
        let place = layout(lab, &format!("parts-{side}"), &parts);
        parts.iter().for_each(|part| fs::remove_file(part).unwrap());
        place
    });
    row(lab, "lith, OCI layouts of twelve layers", &lith(lab, &[&parts[0], &parts[1]]));
}

/// The directories of a tar dealt out to twelve.
fn split(lab: &Lab, side: &str, tar: &Path) -> Vec<PathBuf> {
    const PARTS: usize = 12;
    let mut archive = tar::Archive::new(File::open(tar).unwrap());
    let path = |part: usize| lab.path(&format!("part-{side}-{part}.tar"));
    let mut parts: Vec<_> =
        (0..PARTS).map(|part| tar::Builder::new(BufWriter::new(File::create(path(part)).unwrap()))).collect();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().into_owned();
        let number: usize = name.to_str().unwrap()[1..6].parse().unwrap();
        let header = entry.header().clone();
        parts[number % PARTS].append(&header, &mut entry).unwrap();
    }
    parts.into_iter().for_each(|part| part.into_inner().unwrap().flush().unwrap());
    (0..PARTS).map(path).collect()
}

/// An OCI layout of layers packed with gzip.
fn layout(lab: &Lab, name: &str, tars: &[PathBuf]) -> String {
    let dir = lab.path(name);
    fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
    let put = |bytes: &[u8], media_type: &str| -> Value {
        let digest = BlobDigest::of(bytes);
        fs::write(dir.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    };
    let (mut layers, mut diffs) = (Vec::new(), Vec::new());
    for tar in tars {
        let plain = fs::read(tar).unwrap();
        diffs.push(BlobDigest::of(&plain));
        let mut packer = Compressor::new(Codec::Gzip, Vec::new()).unwrap();
        packer.write_all(&plain).unwrap();
        layers.push(put(&packer.finish().unwrap(), "application/vnd.oci.image.layer.v1.tar+gzip"));
    }
    let config =
        json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diffs}});
    let config = put(config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json");
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
    let manifest = put(manifest.to_string().as_bytes(), "application/vnd.oci.image.manifest.v1+json");
    fs::write(dir.join("index.json"), json!({"schemaVersion": 2, "manifests": [manifest]}).to_string())
        .unwrap();
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    place("oci", &dir)
}

/// What one run took.
#[derive(Clone, Copy)]
struct Row {
    seconds: f64,
    /// Of all its processors together.
    processors: f64,
    megabytes: f64,
    /// None of a run that was ended.
    code: Option<i32>,
}

impl Row {
    fn print(&self, name: &str) {
        let Self { seconds, processors, megabytes, code } = self;
        let ended = if code.is_none() { ", ended" } else { "" };
        println!("{name:40} {seconds:8.2} s {processors:8.2} s of processors {megabytes:6.0} MB{ended}");
    }
}

/// One run of lith, which says that they differ.
fn row(lab: &Lab, name: &str, command: &[String]) -> Row {
    let row = run(lab, command, None);
    row.print(name);
    assert_eq!(row.code, Some(1), "{name}: they differ, and that is to be said");
    row
}

/// Runs a program to its end, or for as long as there is patience: then it goes with all that it started.
fn run(lab: &Lab, command: &[String], patience: Option<Duration>) -> Row {
    let scratch = lab.path("scratch");
    fs::create_dir_all(&scratch).unwrap();
    let began = Instant::now();
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .env("TMPDIR", &scratch)
        .stdin(Stdio::null())
        .stdout(File::create(lab.path("out")).unwrap())
        .process_group(0)
        .spawn()
        .unwrap();
    let proc = PathBuf::from(format!("/proc/{}", child.id()));
    let (mut megabytes, mut processors) = (0.0f64, 0.0f64);
    let status = loop {
        // One that is over but not waited for still says what it used.
        processors = processors.max(used(&proc.join("stat")));
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        megabytes = megabytes.max(held(&proc.join("status")));
        if patience.is_some_and(|patience| began.elapsed() > patience) {
            end(&mut child);
            break None;
        }
        sleep(Duration::from_millis(5));
    };
    let seconds = began.elapsed().as_secs_f64();
    fs::remove_dir_all(scratch).unwrap();
    let code = status.map(|status: ExitStatus| status.code().expect("nobody else ends it"));
    Row { seconds, processors, megabytes, code }
}

fn end(child: &mut Child) {
    kill_process_group(Pid::from_child(child), Signal::KILL).unwrap();
    child.wait().unwrap();
}

/// The most that a process held so far, in megabytes: `VmHWM` of proc(5).
fn held(status: &Path) -> f64 {
    let text = fs::read_to_string(status).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) / 1024.0
}

/// Seconds of processors that a process and those that it waited for used so far: fields 14 to 17 of proc_pid_stat(5), in
/// hundredths.
fn used(stat: &Path) -> f64 {
    let text = fs::read_to_string(stat).unwrap_or_default();
    let Some((_, fields)) = text.rsplit_once(") ") else { return 0.0 };
    let ticks = fields.split(' ').skip(11).take(4).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}
