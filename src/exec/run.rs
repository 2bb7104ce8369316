//! RUN: the parent mounted, the process run, what it wrote captured.

use std::fmt;
use std::path::{Path, PathBuf};

use super::mask::{Masked, Needles};
use super::mounts::Mounts;
use super::observe::{Observer, Rootfs};
use super::secrecy::{self, Found};
use super::variation::{Axis, OTHER_HOST, Variation};
use super::{ExecError, Executor, Job, users};
use crate::action::{BoundNetwork, BoundRun};
use crate::capabilities::Capabilities;
use crate::layer::Toc;
use crate::layer::capture::{CaptureOptions, Dropped, capture};
use crate::layer::write::LayerWriter;
use crate::limits::Reached;
use crate::mount::Overlay;
use crate::path::ImagePath;
use crate::platform::Platform;
use crate::recipe::mount::Mount;
use crate::recipe::{Effect, Security};
use crate::sandbox::emulation::{self, Support};
use crate::sandbox::spec::{
    Access, Ended, File, First, Ids, Net, Process, SHM_SIZE, Seen, Spec, Status, Stdio, Work,
};
use crate::sandbox::{Launcher, Output, Stream};
use crate::store::snapshots::EMPTY_LAYER;
use crate::store::{LayerRef, Scratch, StoreError};

/// Where a process' output and a step's notes go.
pub trait Sink: Send {
    /// It was no hit; work begins.
    fn started(&mut self);
    fn chunk(&mut self, stream: Stream, bytes: &[u8]);
    fn warning(&mut self, text: &str);
    /// Litter was left out of the layer.
    fn dropped(&mut self, dropped: &Dropped);
    /// A shell is about to get the terminal.
    fn shell(&mut self);
    /// What is done from now on.
    fn part(&mut self, part: Part);
}

/// What the work on a step is made of, in the order it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The files it takes in are read.
    Hash,
    /// The cache is asked.
    Lookup,
    /// Another process works on the same.
    Wait,
    /// What is elsewhere is brought here.
    Bring,
    /// The layers below are unpacked.
    Unpack,
    /// The sandbox is made, up to the moment when the program is executed.
    Mount,
    Run,
    /// What the program wrote is made a layer.
    Capture,
    /// What is copied or unpacked is made a layer.
    Pack,
    /// It is written down.
    Record,
}

impl Part {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::Lookup => "lookup",
            Self::Wait => "wait",
            Self::Bring => "bring",
            Self::Unpack => "unpack",
            Self::Mount => "mount",
            Self::Run => "run",
            Self::Capture => "capture",
            Self::Pack => "pack",
            Self::Record => "record",
        }
    }
}

/// How a process failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    Exit(i32),
    Signal(i32),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
        }
    }
}

/// What the limits of a step have to do with its end.
pub(super) fn because(reached: &[Reached]) -> String {
    reached.iter().map(|limit| format!("; {limit}")).collect()
}

/// The host name of every step: BuildKit's, so that what a step derives from it comes out the same there.
pub const HOSTNAME: &str = "buildkitsandbox";
/// What a process finds in `/etc/hosts`.
const HOSTS: &str = "127.0.0.1\tlocalhost buildkitsandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n";

/// How a process ends whose program is not one for this machine, as shells have it.
const CANNOT_EXECUTE: i32 = 126;

/// Output on its way to the sink, secrets taken out.
struct Relay<'a> {
    sink: &'a mut dyn Sink,
    needles: Needles,
    stdout: Masked,
    stderr: Masked,
}

impl<'a> Relay<'a> {
    fn new(sink: &'a mut dyn Sink, needles: Needles) -> Self {
        Self { sink, needles, stdout: Masked::default(), stderr: Masked::default() }
    }

    /// What was held back.
    fn finish(mut self) {
        for (stream, masked) in [(Stream::Stdout, &mut self.stdout), (Stream::Stderr, &mut self.stderr)] {
            let rest = masked.finish(&self.needles);
            if !rest.is_empty() {
                self.sink.chunk(stream, &rest);
            }
        }
    }
}

impl Output for Relay<'_> {
    fn executed(&mut self) {
        self.sink.part(Part::Run);
    }

    fn chunk(&mut self, stream: Stream, bytes: &[u8]) {
        if self.needles.is_empty() {
            return self.sink.chunk(stream, bytes);
        }
        let masked = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let shown = masked.push(&self.needles, bytes);
        if !shown.is_empty() {
            self.sink.chunk(stream, &shown);
        }
    }
}

impl Executor<'_> {
    /// Runs a step's process and makes its layer.
    pub(super) fn run(
        &self,
        job: &Job,
        run: &BoundRun,
        parent: &Rootfs,
        output: &mut dyn Sink,
    ) -> Result<(LayerRef, Vec<Effect>), ExecError> {
        output.part(Part::Bring);
        self.store.bring_all(parent)?;
        output.part(Part::Unpack);
        let scratch = self.scratch()?;
        let mounts = self.mounts(job, run, output)?;
        let spec = self.spec(job, run, parent, &scratch, &mounts)?;
        output.part(Part::Mount);
        let mut relay = Relay::new(output, self.needles(run));
        let launcher = Launcher::default().limits(self.rules.limits.group.clone());
        let ended = self.with_processors(|| launcher.run(&spec, &mut relay));
        relay.finish();
        let ended = ended?;
        drop(mounts);
        let failure = match ended.status {
            Status::Exited(0) => None,
            Status::Exited(code) => Some(Failure::Exit(code)),
            Status::Signaled(signal) => Some(Failure::Signal(signal)),
        };
        if let Some(failure) = failure {
            if self.rules.debug {
                output.shell();
                let argv = vec!["/bin/sh".to_owned()];
                let mounts = self.mounts(job, run, output)?;
                let process = Process { argv, stdio: Stdio::Caller, ..spec.process };
                let spec = Spec { process, mounts: mounts.mounts.clone(), ..spec };
                launcher.run(&spec, &mut Relay::new(output, Needles::default()))?;
            }
            return Err(failed(job, run, failure, ended.reached));
        }
        output.part(Part::Capture);
        let layer = self.capture(job, run, parent, scratch, &ended, output)?;
        Ok((layer, effects(run, &ended.seen)))
    }

    fn host_name(&self) -> &'static str {
        match &self.variation {
            Some(variation) if variation.is(Axis::HostName) => OTHER_HOST,
            Some(_) | None => HOSTNAME,
        }
    }

    fn scratch(&self) -> Result<Scratch, StoreError> {
        match self
            .variation
            .as_ref()
            .and_then(|variation| variation.storage.as_ref().filter(|_| variation.is(Axis::Storage)))
        {
            Some(place) => self.store.scratch_at(place),
            None => self.store.scratch(),
        }
    }

    /// Does something with all processors, or with one.
    fn with_processors<T>(&self, act: impl FnOnce() -> T) -> T {
        match &self.variation {
            Some(variation) if variation.is(Axis::Parallelism) => crate::sys::several::on_one_processor(act),
            Some(_) | None => act(),
        }
    }

    /// What must not show in the output of a step.
    fn needles(&self, run: &BoundRun) -> Needles {
        self.rules.secrets.needles(run.mounts.iter().filter_map(|bound| match &bound.mount {
            Mount::Secret(secret) => Some(secret.id.as_str()),
            Mount::Bind(_) | Mount::Cache(_) | Mount::Tmpfs(_) | Mount::Ssh(_) => None,
        }))
    }

    /// Everything the sandbox needs to know. Layers that are not unpacked yet are unpacked, in parallel.
    fn spec(
        &self,
        job: &Job,
        run: &BoundRun,
        parent: &Rootfs,
        scratch: &Scratch,
        mounts: &Mounts,
    ) -> Result<Spec, ExecError> {
        if let Some(reason) = &self.rules.no_sandbox {
            return Err(ExecError::NoSandbox { reason: reason.clone() });
        }
        check_platform(&job.action.platform)?;
        let observer = self.observer(parent)?;
        let user = users::process(&run.user, &observer)?;
        Ok(Spec {
            root: Overlay {
                lowers: self.lowers(parent)?,
                writable: Some(scratch.writable()),
                marks: self.store.unpacking().marks(),
            },
            root_access: Access::ReadWrite,
            mount_points: None,
            process: Process {
                argv: run.argv.clone(),
                env: self.env(job, run, &user, &observer, mounts)?,
                cwd: run.cwd.clone(),
                user,
                capabilities: Capabilities::default(),
                ulimits: run.ulimits.clone(),
                insecure: run.security == Security::Insecure,
                world: self.world(job, run, parent)?,
                stdio: Stdio::Captured,
                work: Work::Execute,
            },
            first: First::Init,
            hostname: self.host_name().to_owned(),
            network: match run.network {
                BoundNetwork::None => Net::None,
                BoundNetwork::Host => Net::Host,
            },
            files: self.files(job, run),
            mounts: mounts.mounts.clone(),
            shm_size: run.shm_size.unwrap_or(SHM_SIZE),
        })
    }

    /// The unpacked directories of all layers that hold anything, bottom first.
    pub(super) fn lowers(&self, parent: &Rootfs) -> Result<Vec<PathBuf>, ExecError> {
        Ok(self.store.lowers(parent)?)
    }

    fn env(
        &self,
        job: &Job,
        run: &BoundRun,
        user: &Ids,
        parent: &Observer<'_>,
        mounts: &Mounts,
    ) -> Result<Vec<String>, ExecError> {
        let secret = |wanted: &str| mounts.env.iter().any(|(name, _)| name == wanted);
        let plain = run.env.iter().filter(|(name, _)| !secret(name));
        let mut env: Vec<String> =
            plain.chain(&mounts.env).map(|(name, value)| format!("{name}={value}")).collect();
        let has = |wanted: &str| run.env.iter().any(|(name, _)| name == wanted);
        if !has("HOME") {
            env.push(format!("HOME={}", users::home(user.uid, parent)?));
        }
        let varied = self.variation.as_ref().map(Variation::environment).unwrap_or_default();
        let own = varied.iter().filter(|(name, _)| !has(name));
        env.extend(own.map(|(name, value)| format!("{name}={value}")));
        env.extend(
            job.hidden_env
                .iter()
                .filter(|(name, _)| !has(name))
                .map(|(name, value)| format!("{name}={value}")),
        );
        Ok(env)
    }

    fn files(&self, job: &Job, run: &BoundRun) -> Vec<File> {
        let resolv = match run.network {
            BoundNetwork::None => Vec::new(),
            BoundNetwork::Host => self.rules.resolv_conf.clone(),
        };
        let file = |path: &str, bytes: Vec<u8>, mode| File { path: path.into(), bytes, mode };
        let mut files =
            vec![file("/etc/hosts", self.hosts().into(), 0o644), file("/etc/resolv.conf", resolv, 0o644)];
        files.extend(job.scripts.iter().map(|(path, bytes)| file(path, bytes.clone(), 0o755)));
        files
    }

    /// `/etc/hosts`.
    fn hosts(&self) -> String {
        let given = self.rules.limits.hosts.iter();
        HOSTS.to_owned() + &given.map(|host| format!("{}\t{}\n", host.address, host.name)).collect::<String>()
    }

    /// Says which keys and passwords a step wrote; those of a step whose randomness is known are an error.
    fn check_keys(
        &self,
        layer: &Toc,
        upper: &Path,
        parent: &Rootfs,
        seeded: Option<&Seen>,
        output: &mut dyn Sink,
    ) -> Result<(), ExecError> {
        let observer = self.observer(parent)?;
        let shadow = users::text(&observer, secrecy::SHADOW)?.unwrap_or_default();
        for Found { path, what } in secrecy::find(layer, upper, shadow.as_bytes()) {
            match seeded {
                Some(seen) => {
                    return Err(ExecError::SeededKey { makers: secrecy::makers(&path, seen), path, what });
                }
                None => output.warning(&format!("{path} is {what}: whoever has the image has it")),
            }
        }
        Ok(())
    }

    fn capture(
        &self,
        job: &Job,
        run: &BoundRun,
        parent: &Rootfs,
        scratch: Scratch,
        ended: &Ended,
        output: &mut dyn Sink,
    ) -> Result<LayerRef, ExecError> {
        use std::os::unix::ffi::OsStrExt as _;
        let lower = self.trees.of(self.store, parent)?;
        let stubs: Vec<(ImagePath, u64)> = ended
            .stubs
            .iter()
            .map(|stub| {
                let path = ImagePath::parse(stub.path.as_os_str().as_bytes()).expect("the sandbox made it");
                (path, stub.inode)
            })
            .collect();
        let options = CaptureOptions {
            epoch: job.action.epoch,
            marks: self.store.unpacking().marks(),
            stubs: &stubs,
            owners: self.store.unpacking().owners(),
            litter: run.litter,
        };
        let mut writer = LayerWriter::new(self.store.layer_sink()?);
        let upper = scratch.writable().upper;
        let captured = capture(&upper, &lower, &options, &mut writer)?;
        for text in &captured.warnings {
            output.warning(text);
        }
        if !captured.dropped.paths.is_empty() {
            output.dropped(&captured.dropped);
        }
        let (sink, written) = writer.finish()?;
        self.check_keys(&written.toc, &upper, parent, run.seeded.then_some(&ended.seen), output)?;
        self.store.commit_layer(sink, &written)?;
        let layer = LayerRef { diff_id: written.diff_id, size: written.size };
        // One more time is for comparison alone, and may lie on another file system.
        if layer.size > EMPTY_LAYER && self.variation.is_none() {
            self.store.adopt(layer.diff_id, scratch)?;
        }
        Ok(layer)
    }
}

/// What was seen to have a part in a hermetic step.
fn effects(run: &BoundRun, seen: &Seen) -> Vec<Effect> {
    let drew = !run.seeded && !seen.entropy.is_empty();
    let effects = [(Effect::Entropy, drew), (Effect::Clock, seen.clock.is_some())];
    effects.into_iter().filter_map(|(effect, has)| has.then_some(effect)).collect()
}

/// Whether this machine runs programs of a platform, if that can be known without a try.
///
/// # Errors
/// [`ExecError::Foreign`]
pub fn check_platform(platform: &Platform) -> Result<(), ExecError> {
    let reason = match support(platform) {
        Support::Native | Support::Emulated(_) | Support::Unknown => return Ok(()),
        Support::None => "no interpreter for them is registered with binfmt_misc".to_owned(),
        Support::NotFixed(name) => {
            format!(
                "the interpreter {name} is registered without the flag F, so the image would have to hold it"
            )
        }
    };
    Err(foreign(platform, reason))
}

fn support(platform: &Platform) -> Support {
    emulation::support(platform, &Platform::host(), Path::new(emulation::BINFMT))
}

fn foreign(platform: &Platform, reason: String) -> ExecError {
    ExecError::Foreign { platform: Box::new(platform.clone()), host: Box::new(Platform::host()), reason }
}

fn failed(job: &Job, run: &BoundRun, status: Failure, reached: Vec<Reached>) -> ExecError {
    let platform = &job.action.platform;
    if status == Failure::Exit(CANNOT_EXECUTE) && support(platform) == Support::Unknown {
        return foreign(
            platform,
            "it takes an interpreter, and no binfmt_misc is mounted that would list one".into(),
        );
    }
    ExecError::Failed { command: shown(&run.argv), status, reached }
}

/// A command as people read it.
fn shown(argv: &[String]) -> String {
    let words: Vec<String> = argv.iter().map(|arg| crate::diag::escape(arg.as_bytes())).collect();
    format!("process {:?}", words.join(" "))
}
