//! What every frontend lowers to: stages of fully expanded steps. Plain data, no I/O.
//!
//! A recipe is complete: nothing in it needs the text it came from, the environment or a base image to be
//! understood. `Origin` says where a step came from, for messages only; it enters no identity.

pub mod chmod;
mod effect;
mod merge;
pub mod mount;
mod packages;

use crate::diag::Span;
use crate::digest::BlobDigest;
use crate::oci::{History, ImageConfig};
use crate::path::ImagePath;
use crate::platform::Platform;
use crate::remote::GitRepo;
use chmod::Chmod;
pub use effect::{Because, Effect, Label, Told};
pub use merge::{Merged, MergedFrom};
use mount::Mount;
pub use packages::{PackageLayer, PackageSet, Pin};

/// All stages of a file in order, and those that are wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    pub stages: Vec<Stage>,
    /// Indices into `stages`, in the order asked for: at least one, none twice.
    pub targets: Vec<usize>,
}

/// One `FROM` and what follows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Lower-case name, if it has one.
    pub name: Option<String>,
    pub base: Base,
    pub platform: Platform,
    pub steps: Vec<Step>,
    /// Steps that make one layer of the image together, in order; none overlap and none is empty.
    pub layers: Vec<LayerGroup>,
    /// The config after the last step. `rootfs.diff_ids` and `created` are filled when layers are known.
    pub config: ImageConfig,
    pub origin: Origin,
}

impl Stage {
    /// The images that it stands on or takes files from, as the file has them.
    pub fn images(&self) -> impl Iterator<Item = &str> {
        let base = match &self.base {
            Base::Image(reference) => Some(reference),
            Base::Scratch | Base::Stage(_) | Base::Packages(_) => None,
        };
        let inputs = self.steps.iter().flat_map(|step| step.op.inputs()).filter_map(FilesFrom::image);
        base.into_iter().chain(inputs).map(String::as_str)
    }

    /// Gives the stages that it stands on and takes files from other numbers.
    pub fn renumber(&mut self, to: impl Fn(usize) -> usize) {
        if let Base::Stage(stage) = &mut self.base {
            *stage = to(*stage);
        }
        for from in self.steps.iter_mut().flat_map(|step| step.op.inputs_mut()) {
            if let FilesFrom::Stage(stage) = from {
                *stage = to(*stage);
            }
        }
    }

    /// The stages that it stands on and takes files from.
    pub fn needs(&self) -> impl Iterator<Item = usize> {
        let base = match self.base {
            Base::Stage(stage) => Some(stage),
            Base::Scratch | Base::Image(_) | Base::Packages(_) => None,
        };
        base.into_iter().chain(self.steps.iter().flat_map(|step| step.op.stages()))
    }
}

/// Steps whose layers are one layer of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerGroup {
    /// For people.
    pub name: String,
    /// Indices into the stage's steps.
    pub steps: std::ops::Range<usize>,
}

/// What a stage stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    Scratch,
    /// An earlier stage of the same recipe.
    Stage(usize),
    /// An image, by the reference as written (after expansion).
    Image(String),
    /// Packages of a distribution.
    Packages(PackageSet),
}

/// Where a step was written, for messages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// From 1.
    pub line: usize,
    pub span: Span,
    /// The instruction as written, continuation lines joined, on one line: `COPY ./second.txt .`.
    pub text: String,
}

/// One instruction after expansion.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub op: Op,
    pub origin: Origin,
    /// `created` is filled in by whoever knows the epoch; `empty_layer` is set by the frontend.
    pub history: History,
    /// The run config after this step, for the intermediate image.
    pub config: crate::oci::RunConfig,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Changes the config alone; makes no layer.
    Config,
    /// Makes sure of a directory (WORKDIR), owned by `user`, mode 0755.
    MakeDir {
        path: ImagePath,
        user: String,
    },
    Copy(Copy),
    Run(Run),
    /// A layer of packages. No frontend makes it: it is what binding makes of a base of packages.
    Packages(PackageLayer),
}

impl Op {
    /// Whose files it takes, each as often as it is named.
    pub fn inputs(&self) -> Vec<&FilesFrom> {
        match self {
            Self::Config | Self::MakeDir { .. } | Self::Packages(_) => Vec::new(),
            Self::Copy(copy) => vec![&copy.from],
            Self::Run(run) => run.mounts.iter().filter_map(Mount::from).collect(),
        }
    }

    fn inputs_mut(&mut self) -> Vec<&mut FilesFrom> {
        match self {
            Self::Config | Self::MakeDir { .. } | Self::Packages(_) => Vec::new(),
            Self::Copy(copy) => vec![&mut copy.from],
            Self::Run(run) => run.mounts.iter_mut().filter_map(Mount::input_mut).collect(),
        }
    }

    /// The stages whose files it takes.
    pub fn stages(&self) -> impl Iterator<Item = usize> {
        self.inputs().into_iter().filter_map(FilesFrom::stage)
    }
}

/// A process in the image's file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The whole argument vector, shell included.
    pub argv: Vec<String>,
    /// `NAME`, `value` in order, names unique: config Env, then ARGs.
    pub env: Vec<(String, String)>,
    /// Proxy variables from the build arguments, `NAME`, `value`, none of them named in `env`. The process sees
    /// them; they enter neither keys nor history.
    pub proxy_env: Vec<(String, String)>,
    /// Absolute; `/` if none was set.
    pub cwd: String,
    /// As USER has it; empty for root.
    pub user: String,
    pub network: Network,
    pub security: Security,
    /// What it is told of the world, besides what the build's options say.
    pub told: Told,
    /// What becomes of known litter in its layer if the build is hermetic; else it stays.
    pub litter: Litter,
    pub mounts: Vec<Mount>,
    /// Files visible only while the step runs (`#!` heredocs): absolute path below `/dev/pipes`, bytes; mode 0755.
    pub scripts: Vec<(String, Vec<u8>)>,
}

/// What becomes of what distributions leave behind (spec/litter.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Litter {
    Dropped,
    Kept,
}

/// How much of the machine a process can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    Sandbox,
    /// All capabilities, all system calls.
    Insecure,
}

/// The network a process sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// What the build's options say.
    Default,
    /// Loopback only.
    None,
    /// The host's.
    Host,
}

/// COPY or ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    pub from: FilesFrom,
    pub sources: Vec<CopySource>,
    /// Files given in the text itself (heredocs): name, bytes; mode 0644.
    pub inline: Vec<(String, Vec<u8>)>,
    /// Absolute and cleaned.
    pub dest: ImagePath,
    /// Whether the destination was written with a trailing slash, or as `.`, and so must be a directory.
    pub dest_is_dir: bool,
    /// `user[:group]`, names or numbers.
    pub chown: Option<String>,
    pub chmod: Option<Chmod>,
    pub unpack: Unpack,
    /// Patterns of what is left out, as in a `.dockerignore`, relative to each source.
    pub exclude: Vec<String>,
    pub link: Link,
}

/// One source of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopySource {
    /// Cleaned and rooted, possibly with wildcards (Go's `filepath.Match`) in any component.
    Path(ImagePath),
    /// A file of another machine; `sha256` if it is pinned.
    Url { url: String, checksum: Option<BlobDigest> },
    /// The files of a repository.
    Git(Box<GitRepo>),
    /// `--parents`: what `pattern` names below `base`, with the directories between them.
    Below { base: ImagePath, pattern: ImagePath },
}

/// Whether a copy looks at what it stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Its destination is looked up in the file system below: links are followed, directories keep their metadata.
    No,
    /// `--link`: the layer is made as on an empty file system, and is the same on any.
    Yes,
}

impl Copy {
    /// Everything that a named context holds, to the root: how a stage on its files begins.
    pub fn whole_context(name: String) -> Self {
        Self {
            from: FilesFrom::NamedContext(name),
            sources: vec![CopySource::Path(ImagePath::root())],
            inline: Vec::new(),
            dest: ImagePath::root(),
            dest_is_dir: true,
            chown: None,
            chmod: None,
            unpack: Unpack::Never,
            exclude: Vec::new(),
            link: Link::No,
        }
    }
}

/// Whose files are copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilesFrom {
    Context,
    /// A named build context that is a local directory.
    NamedContext(String),
    Stage(usize),
    Image(String),
    /// An empty root.
    Scratch,
}

impl FilesFrom {
    /// The image's reference, if it is one.
    pub fn image(&self) -> Option<&String> {
        match self {
            Self::Image(reference) => Some(reference),
            Self::Context | Self::NamedContext(_) | Self::Stage(_) | Self::Scratch => None,
        }
    }

    /// The stage, if it is one.
    pub fn stage(&self) -> Option<usize> {
        match self {
            Self::Stage(stage) => Some(*stage),
            Self::Context | Self::NamedContext(_) | Self::Image(_) | Self::Scratch => None,
        }
    }
}

/// Whether archives are unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpack {
    /// COPY.
    Never,
    /// ADD: regular files that are tar archives, compressed or not; what was fetched stays as it is.
    Archives,
    /// `ADD --unpack`: also what was fetched.
    All,
}
