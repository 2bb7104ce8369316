//! The verbs and what they share.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use super::CliError;
use super::container::{
    attach, commit, cp, exec, inspect as inspect_any, logs, ps, rm, run, start, stats, stop, top, volume,
    wait,
};
use super::{
    attest, build, bundle, caches, check, convert, copy, diff, digest, gc, graph, history, images, import,
    init, inspect, lint, lock, log, login, mount, names, plan, pull, push, save, signatures, vendor, verify,
    why,
};

/// Compiles a Dockerfile or a KDL file into an OCI image the way Nix compiles a derivation.
#[derive(Debug, Parser)]
#[command(name = "lith", version, propagate_version = true, infer_subcommands = false)]
pub struct Args {
    /// The store's directory [default: $LITH_ROOT, else /var/lib/lith for root, $XDG_DATA_HOME/lith for others]
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write a first image.kdl for a project
    Init(init::Init),
    /// Build an image from a Dockerfile or a KDL file
    Build(build::Build),
    /// Say what is odd about a Dockerfile, without building it
    Lint(lint::Lint),
    /// Write down what names stand for now: tags, branches, URLs
    Lock(lock::LockFile),
    /// Put everything that a build takes from elsewhere into a directory
    Vendor(vendor::Vendor),
    /// Show the steps of a build with their keys, and which would be hits
    Plan(plan::Plan),
    /// Do every step of a build once more in another world, and name those that come out differently
    Check(check::Check),
    /// Draw the steps of a build: what waits for what, what would be hits, what takes long
    Graph(graph::Graph),
    /// Write KDL that comes to the same image as a Dockerfile
    Convert(convert::Convert),
    /// Say which input made a step or an image differ from the build before
    Why(why::Why),
    /// Print what a step's process printed when it last ran
    Log(log::Log),
    /// Run a program in a new container
    Run(run::Run),
    /// Make a container without starting it
    Create(run::Create),
    /// Start containers that do not run
    Start(start::Start),
    /// Ask containers to end, and end those that do not
    Stop(stop::Stop),
    /// Send containers a signal
    Kill(stop::Kill),
    /// Stop containers and start them again
    Restart(start::Restart),
    /// List containers
    Ps(ps::Ps),
    /// Run one more program in a running container
    Exec(exec::Exec),
    /// Go on with a running container's terminal or streams
    Attach(attach::Attach),
    /// Copy files into or out of a container, running or not
    Cp(cp::Cp),
    /// Compare two images or trees and say why they differ; of one container list what its programs changed
    Diff(diff::Diff),
    /// Make an image of a container
    Commit(commit::Commit),
    /// Show what containers wrote
    Logs(logs::Logs),
    /// Print everything known of containers or images, as docker does
    Inspect(inspect_any::Inspect),
    /// List the processes of a container
    Top(top::Top),
    /// Show what containers use: CPU, memory, processes
    Stats(stats::Stats),
    /// Wait for containers to end and print their exit codes
    Wait(wait::Wait),
    /// Remove containers
    Rm(rm::Rm),
    /// Work on volumes
    #[command(subcommand)]
    Volume(volume::VolumeVerb),
    /// List images
    Images(images::Images),
    /// Work on images
    #[command(subcommand)]
    Image(ImageVerb),
    /// Look at what is said of images: provenance, bills of materials
    #[command(subcommand)]
    Attest(attest::AttestVerb),
    /// Show how an image came to be, newest line first
    History(history::History),
    /// Give an image another name
    Tag(names::Tag),
    /// Remove names, and images that lose their last one
    Rmi(names::Rmi),
    /// Bring images from an OCI layout or a docker archive into the store
    Load(import::Load),
    /// Make a one-layer image of a root file system's tarball
    Import(import::Import),
    /// Write images to an archive
    Save(save::Save),
    /// Bring images from registries into the store
    Pull(pull::Pull),
    /// Give an image to a registry
    Push(push::Push),
    /// Say whether an image in a registry is signed, and with which key
    Verify(signatures::Verify),
    /// Keep a login for a registry
    Login(login::Login),
    /// Forget the login for a registry
    Logout(login::Logout),
    /// Write an image as a directory that crun or runc starts
    Bundle(bundle::Bundle),
    /// Mount an image to look at its files, or list what is mounted
    Mount(mount::Mount),
    /// Take off a mounted image
    #[command(visible_alias = "unmount")]
    Umount(mount::Umount),
    /// Work on what cache mounts keep
    #[command(subcommand)]
    Cache(caches::CacheVerb),
    /// Remove what nothing needs
    Gc(gc::Gc),
    /// Look after the store
    #[command(subcommand)]
    Store(StoreVerb),
}

#[derive(Debug, Subcommand)]
enum ImageVerb {
    /// Print everything known of images, as docker does
    Inspect(inspect::Inspect),
    /// Copy an image from one place to another: the store, a registry, a layout, an archive
    Copy(copy::Copy),
    /// Print the digest of an image, wherever it is
    Digest(digest::Digest),
    /// List images
    Ls(images::Images),
    /// Show how an image came to be
    History(history::History),
    /// Remove names and images
    Rm(names::Rmi),
}

#[derive(Debug, Subcommand)]
enum StoreVerb {
    /// Hash every blob and unpacked layer again and name what is damaged
    Verify(verify::Verify),
}

impl Args {
    /// Does what the arguments ask for.
    pub fn run(self) -> Result<(), CliError> {
        let root = self.root.as_deref();
        match self.verb {
            Verb::Init(verb) => verb.run(),
            Verb::Build(verb) => verb.run(root),
            Verb::Lint(verb) => verb.run(root),
            Verb::Lock(verb) => verb.run(root),
            Verb::Vendor(verb) => verb.run(root),
            Verb::Plan(verb) => verb.run(root),
            Verb::Check(verb) => verb.run(root),
            Verb::Graph(verb) => verb.run(root),
            Verb::Convert(verb) => verb.run(root),
            Verb::Why(verb) => verb.run(root),
            Verb::Log(verb) => verb.run(root),
            Verb::Run(verb) => verb.run(root),
            Verb::Create(verb) => verb.run(root),
            Verb::Start(verb) => verb.run(root),
            Verb::Stop(verb) => verb.run(root),
            Verb::Kill(verb) => verb.run(root),
            Verb::Restart(verb) => verb.run(root),
            Verb::Ps(verb) => verb.run(root),
            Verb::Exec(verb) => verb.run(root),
            Verb::Attach(verb) => verb.run(root),
            Verb::Cp(verb) => verb.run(root),
            Verb::Diff(verb) => verb.run(root),
            Verb::Commit(verb) => verb.run(root),
            Verb::Logs(verb) => verb.run(root),
            Verb::Inspect(verb) => verb.run(root),
            Verb::Top(verb) => verb.run(root),
            Verb::Stats(verb) => verb.run(root),
            Verb::Wait(verb) => verb.run(root),
            Verb::Rm(verb) => verb.run(root),
            Verb::Volume(verb) => verb.run(root),
            Verb::Images(verb) | Verb::Image(ImageVerb::Ls(verb)) => verb.run(root),
            Verb::Image(ImageVerb::Inspect(verb)) => verb.run(root),
            Verb::Image(ImageVerb::Copy(verb)) => verb.run(root),
            Verb::Image(ImageVerb::Digest(verb)) => verb.run(root),
            Verb::Attest(verb) => verb.run(root),
            Verb::History(verb) | Verb::Image(ImageVerb::History(verb)) => verb.run(root),
            Verb::Tag(verb) => verb.run(root),
            Verb::Rmi(verb) | Verb::Image(ImageVerb::Rm(verb)) => verb.run(root),
            Verb::Load(verb) => verb.run(root),
            Verb::Import(verb) => verb.run(root),
            Verb::Save(verb) => verb.run(root),
            Verb::Pull(verb) => verb.run(root),
            Verb::Push(verb) => verb.run(root),
            Verb::Verify(verb) => verb.run(),
            Verb::Login(verb) => verb.run(),
            Verb::Logout(verb) => verb.run(),
            Verb::Bundle(verb) => verb.run(root),
            Verb::Mount(verb) => verb.run(root),
            Verb::Umount(verb) => verb.run(root),
            Verb::Cache(verb) => verb.run(root),
            Verb::Gc(verb) => verb.run(root),
            Verb::Store(StoreVerb::Verify(verb)) => verb.run(root),
        }
    }
}

/// How a wrong command line ends: docker's 125 for what runs a program, whose own codes begin at 0; else 2.
pub fn usage_code() -> u8 {
    let mut words = std::env::args().skip(1);
    let verb = loop {
        match words.next().as_deref() {
            Some("--root") => drop(words.next()),
            Some(flag) if flag.starts_with('-') => {}
            other => break other.map(str::to_owned),
        }
    };
    if matches!(verb.as_deref(), Some("run" | "exec")) { 125 } else { 2 }
}
