//! Errors as people see them, and the exit codes they end in.

use std::process::ExitCode;

use super::build::render;
use super::out;
use crate::container::ContainerError;
use crate::debian::DebianError;
use crate::diag::{Diagnostic, Source, chain};
use crate::engine::BuildError;
use crate::exec::ExecError;
use crate::image::CopyError;
use crate::image::statements::StatementError;
use crate::login::LoginError;
use crate::recipe::{Because, Effect, Label};
use crate::registry::RegistryError;
use crate::store::StoreError;

/// What ends a verb.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Environment(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Load(#[from] crate::image::LoadError),
    #[error(transparent)]
    Import(#[from] crate::image::ImportError),
    #[error(transparent)]
    Export(#[from] crate::image::ExportError),
    #[error(transparent)]
    Copy(Box<CopyError>),
    #[error(transparent)]
    Statement(Box<StatementError>),
    #[error(transparent)]
    Stored(#[from] crate::image::StoredError),
    #[error("{} has errors", .file.name)]
    File { file: Box<Source>, diagnostics: Vec<Diagnostic> },
    #[error("{}: check=error=true, and these rules are broken: {}", .file.name, .rules.join(", "))]
    Checks { file: Box<Source>, found: Vec<Diagnostic>, rules: Vec<&'static str> },
    #[error(transparent)]
    Build(Box<BuildError>),
    #[error(transparent)]
    Diff(Box<crate::diff::DiffError>),
    #[error(transparent)]
    Bundle(Box<crate::bundle::BundleError>),
    #[error("{act}: {source}")]
    Io { act: String, source: std::io::Error },
    #[error(transparent)]
    Login(#[from] LoginError),
    #[error(transparent)]
    Registry(Box<RegistryError>),
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// The program of a container was not started.
    #[error("{0}")]
    Run(Box<CliError>),
    /// A program ended, and this one with it.
    #[error("exit code {0}")]
    Exit(u8),
    /// A verification has said what.
    #[error("store {} is damaged", .root.display())]
    Damaged { root: std::path::PathBuf, repairable: bool },
    #[error("unpacked layers of {image} were changed, so nothing of it is run")]
    Tampered { image: String },
    /// The verb did its work and found something wrong; it has said what.
    #[error("{0}")]
    Failed(String),
}

impl From<RegistryError> for CliError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(Box::new(error))
    }
}

impl From<CopyError> for CliError {
    fn from(error: CopyError) -> Self {
        Self::Copy(Box::new(error))
    }
}

impl From<StatementError> for CliError {
    fn from(error: StatementError) -> Self {
        match error {
            StatementError::Copy(error) => error.into(),
            other => Self::Statement(Box::new(other)),
        }
    }
}

impl From<crate::diff::DiffError> for CliError {
    fn from(error: crate::diff::DiffError) -> Self {
        Self::Diff(Box::new(error))
    }
}

impl From<BuildError> for CliError {
    fn from(error: BuildError) -> Self {
        Self::Build(Box::new(error))
    }
}

impl CliError {
    /// A build's error; problems of the file are shown with it.
    pub fn of_build(error: BuildError, file: &Source) -> Self {
        let file = Box::new(file.clone());
        match error {
            BuildError::File(diagnostics) => Self::File { file, diagnostics },
            BuildError::Checks { found, rules } => Self::Checks { file, found, rules },
            other => Self::Build(Box::new(other)),
        }
    }

    /// What kept a program of a container from being started.
    pub fn of_run(self) -> Self {
        match self {
            Self::Exit(code) => Self::Exit(code),
            other => Self::Run(Box::new(other)),
        }
    }

    /// An input or output error with what was being done.
    pub fn io(act: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let act = act.into();
        move |source| Self::Io { act, source }
    }
}

/// Prints an error with its next step; its exit code.
pub fn report(error: &CliError) -> ExitCode {
    show(error);
    ExitCode::from(code(error))
}

/// Prints an error with its next step.
pub fn show(error: &CliError) {
    if let CliError::Exit(_) = error {
        return;
    }
    if let CliError::File { file, diagnostics: found } | CliError::Checks { file, found, .. } = error {
        out::err(&render(file, found));
    }
    let paint = out::paint();
    out::err(&format!("{} {}\n", paint.wrap("1;31", "error:"), chain(error)));
    if let Some(hint) = hint(error) {
        out::err(&format!("{} help: {hint}\n", paint.wrap("1;34", "  =")));
    }
}

fn code(error: &CliError) -> u8 {
    match error {
        CliError::Usage(_)
        | CliError::Diff(_)
        | CliError::File { .. }
        | CliError::Load(_)
        | CliError::Import(_) => 2,
        CliError::Environment(_) => 3,
        CliError::Store(error) => store_code(error),
        CliError::Io { .. }
        | CliError::Bundle(_)
        | CliError::Failed(_)
        | CliError::Damaged { .. }
        | CliError::Tampered { .. }
        | CliError::Checks { .. }
        | CliError::Export(_)
        | CliError::Statement(_)
        | CliError::Stored(_) => 1,
        CliError::Build(error) => build_code(error),
        CliError::Login(error) => login_code(error),
        CliError::Registry(error) => registry_code(error),
        CliError::Copy(error) => copy_code(error),
        CliError::Container(error) => container_code(error),
        CliError::Run(error) => match error.as_ref() {
            CliError::Container(ContainerError::Failed { code, .. }) => *code,
            _ => NOT_STARTED,
        },
        CliError::Exit(code) => *code,
    }
}

/// docker's, for what is wrong before the program is executed.
const NOT_STARTED: u8 = 125;

fn container_code(error: &ContainerError) -> u8 {
    match error {
        ContainerError::Failed { code, .. } => *code,
        ContainerError::BadName { .. } | ContainerError::BadVolumeName { .. } | ContainerError::Signal(_) => {
            2
        }
        ContainerError::Store(error) => store_code(error),
        ContainerError::Exec(error) => exec_code(error),
        _ => 1,
    }
}

fn login_code(error: &LoginError) -> u8 {
    match error {
        LoginError::Named(_)
        | LoginError::Json { .. }
        | LoginError::NotJson { .. }
        | LoginError::Broken { .. }
        | LoginError::HelperName { .. }
        | LoginError::Given { .. } => 2,
        LoginError::NoHelper { .. } | LoginError::NoFile => 3,
        LoginError::Read { .. } | LoginError::Helper { .. } | LoginError::Write { .. } => 1,
    }
}

fn registry_code(error: &RegistryError) -> u8 {
    match error {
        RegistryError::Endpoint { .. } | RegistryError::Proxy { .. } | RegistryError::Missing { .. } => 2,
        RegistryError::Login { source, .. } => login_code(source),
        RegistryError::Store(error) => store_code(error),
        _ => 1,
    }
}

fn copy_code(error: &CopyError) -> u8 {
    match error {
        CopyError::Store(error) => store_code(error),
        CopyError::Choice { .. } | CopyError::SeveralImages(_) | CopyError::NotAnImage(_) => 2,
        _ => 1,
    }
}

fn store_code(error: &StoreError) -> u8 {
    match error {
        StoreError::Version { .. }
        | StoreError::Owner { .. }
        | StoreError::NotADirectory { .. }
        | StoreError::Foreign { .. }
        | StoreError::Mapping { .. } => 3,
        StoreError::MissingImage(_) | StoreError::Ambiguous(..) => 2,
        StoreError::Io(_)
        | StoreError::MissingBlob(_)
        | StoreError::CorruptBlob { .. }
        | StoreError::TooLarge { .. }
        | StoreError::MissingToc(_)
        | StoreError::CorruptToc { .. }
        | StoreError::Promise { .. }
        | StoreError::Broken { .. }
        | StoreError::Unpack { .. } => 1,
    }
}

fn build_code(error: &BuildError) -> u8 {
    match error {
        BuildError::File(_)
        | BuildError::Base { .. }
        | BuildError::NoStage { .. }
        | BuildError::NoStep { .. }
        | BuildError::Ignore { .. }
        | BuildError::IgnoreFile { .. }
        | BuildError::NotATree { .. }
        | BuildError::Context(_) => 2,
        BuildError::Packages { source, .. } => packages_code(source),
        BuildError::Foreign(_) => 3,
        BuildError::Step { source, .. } => exec_code(source),
        BuildError::Exec(source) => exec_code(source),
        BuildError::Store(error) => store_code(error),
        BuildError::Assemble(_)
        | BuildError::NotReproducible { .. }
        | BuildError::Checks { .. }
        | BuildError::Sbom { .. }
        | BuildError::CacheTo(_) => 1,
    }
}

fn packages_code(error: &DebianError) -> u8 {
    match error {
        DebianError::NoGpgv | DebianError::NoKeyring { .. } => 3,
        DebianError::Store(error) => store_code(error),
        DebianError::Pinned { source, .. } => packages_code(source),
        DebianError::SourceFile { .. }
        | DebianError::NoSource { .. }
        | DebianError::Moment { .. }
        | DebianError::Platform { .. }
        | DebianError::BadPin { .. }
        | DebianError::NotPinned { .. }
        | DebianError::Solve(_) => 2,
        DebianError::Fetch(_)
        | DebianError::File { .. }
        | DebianError::Read { .. }
        | DebianError::Signature { .. }
        | DebianError::Expired { .. }
        | DebianError::Suite { .. }
        | DebianError::Release { .. }
        | DebianError::NoIndex { .. }
        | DebianError::Index { .. }
        | DebianError::BadIndex { .. }
        | DebianError::Deb { .. } => 1,
    }
}

fn exec_code(error: &ExecError) -> u8 {
    match error {
        ExecError::NoSandbox { .. } | ExecError::Foreign { .. } | ExecError::Sandbox(_) => 3,
        ExecError::Store(error) => store_code(error),
        ExecError::Packages(error) => packages_code(error),
        _ => 1,
    }
}

/// What helps where programs of another processor cannot run.
const EMULATOR: &str = "install an emulator (on Debian: qemu-user-static), or run the step for this machine's platform: \
                        FROM --platform=$BUILDPLATFORM";

/// What shuts out the effect that a label names.
fn ways_to_reproduce(label: &Label) -> &'static str {
    match label {
        Label::Conditional(Because { effect: Effect::Entropy, .. }) => {
            "--deterministic lets randomness follow from a seed; keys and passwords are no longer secret then"
        }
        Label::Impure(Because { effect: Effect::Insecure, .. }) => {
            "no world can be kept from RUN --security=insecure"
        }
        Label::Impure(_) | Label::Conditional(_) => {
            "--hermetic shuts it out: no network, a clock that stands, one kind of machine, empty caches"
        }
        Label::Reproducible => "nothing is to be done",
    }
}

fn hint(error: &CliError) -> Option<String> {
    match error {
        CliError::Run(error) => hint(error),
        CliError::Tampered { image } => {
            Some(format!("make them again from their tars: lith store verify --repair {image}"))
        }
        CliError::Container(ContainerError::Unknown(_)) => Some("`lith ps -a` lists what is there".into()),
        CliError::Container(ContainerError::Damaged { id, .. }) => {
            Some(format!("remove it: lith rm -f {}", id.short()))
        }
        CliError::Container(ContainerError::NameTaken { name, .. }) => {
            Some(format!("choose another --name, or remove the other one: lith rm {name}"))
        }
        CliError::Container(ContainerError::Running { name }) => {
            Some(format!("stop it first: lith stop {name}"))
        }
        CliError::Container(ContainerError::Unreadable { name, source }) if source.is_unsteady() => {
            Some(format!("its programs write to it all the time; stop it first: lith stop {name}"))
        }
        CliError::Container(ContainerError::UnknownVolume(_)) => {
            Some("`lith volume ls` lists what is there".into())
        }
        CliError::Container(ContainerError::VolumeInUse { by, .. }) => {
            Some(format!("remove the container first: lith rm {}", by.short()))
        }
        CliError::Container(ContainerError::NotRunning { name }) => Some(format!("start it: lith start {name}")),
        CliError::Login(LoginError::NoHelper { name, .. }) => {
            Some(format!("install docker-credential-{name}, or take it out of credsStore and credHelpers there"))
        }
        CliError::Registry(error) => match error.as_ref() {
            RegistryError::Untrusted(untrusted) if untrusted.faults.is_empty() => {
                Some("who pushes it signs it: lith push --sign KEYFILE, or cosign sign --key KEYFILE".into())
            }
            _ => None,
        },
        CliError::Login(LoginError::Broken { .. }) => Some("write it anew: lith login".into()),
        CliError::Store(StoreError::Mapping { .. }) => Some(
            "unpacked layers belong to one user mapping; use another --root, or run as the user that made this store"
                .into(),
        ),
        CliError::Store(StoreError::Version { .. }) => {
            Some("use another --root, or the lith version that made this store".into())
        }
        CliError::Damaged { repairable: true, .. } => {
            Some("`lith store verify --repair` makes again what can be made again".into())
        }
        CliError::Store(StoreError::MissingImage(_)) => Some("`lith images -a` lists what is there".into()),
        CliError::Build(error) => match error.as_ref() {
            BuildError::Step { source, .. } if matches!(**source, ExecError::Failed { .. }) => {
                Some("`lith build --debug` opens a shell where the step failed".into())
            }
            BuildError::Step { source, .. } if matches!(**source, ExecError::Foreign { .. }) => {
                Some(EMULATOR.into())
            }
            BuildError::Foreign(_) => Some(EMULATOR.into()),
            BuildError::NotReproducible { label, .. } => Some(ways_to_reproduce(label).into()),
            _ => None,
        },
        _ => None,
    }
}
