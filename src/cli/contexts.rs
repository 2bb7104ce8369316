//! Where a build comes from: its context, its Dockerfile, its named contexts.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use clap::Args;

use super::CliError;
use super::build::pairs;
use super::files::{Files, NAMES, Text, imports, stdin};
use crate::diag::Source;
use crate::engine::contexts::{self, Came, ContextSource, NamedContext, Packed};
use crate::engine::pins::Pins;
use crate::exec::ExecError;
use crate::exec::files::spool;
use crate::fetch::{Access, FetchOptions};
use crate::frontend::kdl::Imports;
use crate::frontend::{ContextKind, Language, NamedContexts, source_from_bytes};
use crate::path::ImagePath;
use crate::remote::Remote;
use crate::store::Store;
use crate::sys::file::open_regular;

/// The largest context that is read from standard input.
const LARGEST: u64 = 64 << 30;

/// Options about contexts.
#[derive(Debug, Args)]
pub struct ContextArgs {
    #[command(flatten)]
    pub files: Files,
    /// Another source for FROM and --from: a directory, a git or http URL, an image, oci-layout:PATH, docker-archive:FILE
    /// or rootfs:FILE; NAME::OS/ARCH for one platform alone
    #[arg(long, value_name = "NAME=SOURCE")]
    build_context: Vec<String>,
}

/// Where things are fetched from, and into.
pub struct Reach<'a> {
    pub store: &'a Store,
    pub fetch: &'a FetchOptions,
    pub access: Access<'a>,
}

/// What the options came to.
pub struct Origin {
    pub context: ContextSource,
    pub dockerfile: Source,
    pub language: Language,
    pub imports: Imports,
}

impl ContextArgs {
    /// Reads the Dockerfile, and the whole context if it comes as one.
    pub fn read(&self, reach: Reach<'_>) -> Result<Origin, CliError> {
        if self.files.context.as_os_str() == "-" {
            return self.on_stdin(reach.store);
        }
        if self.files.context.is_dir() {
            let text = self.files.read()?;
            let context = ContextSource::Directory { path: self.files.context.clone(), ignore: text.ignore };
            let Text { dockerfile, language, imports, .. } = text;
            return Ok(Origin { context, dockerfile, language, imports });
        }
        let text = self.files.context.to_string_lossy();
        let store = reach.store;
        match Remote::parse_context(&text).map_err(|error| CliError::Usage(error.to_string()))? {
            Some(Remote::Git(repo)) => self
                .inside(store, contexts::commit(store, reach.fetch, reach.access, &repo, &Pins::default())?),
            Some(Remote::File(url)) => match contexts::behind(store, reach.fetch, &url, &Pins::default())? {
                Came::Tree(packed) => self.inside(store, packed),
                Came::File(bytes) => self.alone(bytes, Remote::File(url).shown()),
            },
            None => self.in_file(store, &text),
        }
    }

    /// Named contexts, by the names the language knows them by.
    pub fn named(&self) -> Result<(NamedContexts, BTreeMap<String, NamedContext>), CliError> {
        let (mut names, mut all) = (NamedContexts::default(), BTreeMap::new());
        for (name, value) in pairs(&self.build_context, "--build-context", |_| None)? {
            let context = named(&value)?;
            let kind = match &context {
                NamedContext::Image(_) => ContextKind::Image,
                NamedContext::Directory(_) | NamedContext::Remote(_) => ContextKind::Files,
            };
            all.insert(names.insert(&name, kind), context);
        }
        Ok((names, all))
    }

    fn on_stdin(&self, store: &Store) -> Result<Origin, CliError> {
        if self.files.file_is_stdin() {
            return Err(CliError::Usage(
                "the context and the build file cannot both be standard input".into(),
            ));
        }
        let file = spool(store, &mut io::stdin().lock(), LARGEST).map_err(engine)?;
        let copy = file.try_clone().map_err(CliError::io("read standard input"))?;
        match contexts::archive(store, "-", copy)? {
            Some(packed) => self.inside(store, packed),
            None if self.files.file.is_some() => Err(CliError::Usage(
                "standard input is no tar, so it can only be a build file; then -f must not name another"
                    .into(),
            )),
            None => {
                let bytes = contexts::whole(&file).map_err(CliError::io("read standard input"))?;
                self.alone(bytes, "-".to_owned())
            }
        }
    }

    fn in_file(&self, store: &Store, shown: &str) -> Result<Origin, CliError> {
        let no_context = |why: &str| {
            CliError::Usage(format!(
                "{shown} {why}; the last argument is the build context: a directory, a tar, a URL or -"
            ))
        };
        let file = match open_regular(&self.files.context) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(no_context("is not a directory"));
            }
            Err(error) => return Err(CliError::Usage(format!("read {shown}: {error}"))),
        };
        match contexts::archive(store, shown, file)? {
            Some(packed) => self.inside(store, packed),
            None => Err(no_context("is neither a directory nor a tar")),
        }
    }

    /// A build file that came without a context.
    fn alone(&self, bytes: Vec<u8>, shown: String) -> Result<Origin, CliError> {
        if self.files.file.is_some() {
            return Err(CliError::Usage(format!("{shown} is a build file, so -f must not name another")));
        }
        let (dockerfile, language) = self.files.nameless(bytes)?;
        let nothing = || Err("the build file came alone, without files beside it".to_owned());
        let imports = imports(&dockerfile, language, |_| nothing());
        let context = ContextSource::Packed(Packed { shown, ..Packed::default() });
        Ok(Origin { context, dockerfile, language, imports })
    }

    /// The build file of a context that came as one.
    fn inside(&self, store: &Store, packed: Packed) -> Result<Origin, CliError> {
        let (dockerfile, language) = match &self.files.file {
            Some(_) if self.files.file_is_stdin() => self.files.nameless(stdin()?)?,
            Some(name) => self.file_inside(store, &packed, &[&name.to_string_lossy()])?,
            None => self.file_inside(store, &packed, &NAMES)?,
        };
        let own = ImagePath::clamped(dockerfile.name.as_bytes()).unwrap_or_default();
        let directory = own.parent().unwrap_or_default();
        let imports = imports(&dockerfile, language, |path| {
            let read = contexts::read(store, &packed, &directory.join(path));
            read.map_err(|error| error.to_string())?.ok_or_else(|| "the context has no such file".to_owned())
        });
        Ok(Origin { context: ContextSource::Packed(packed), dockerfile, language, imports })
    }

    /// The first of some names that the context has.
    fn file_inside(
        &self,
        store: &Store,
        packed: &Packed,
        names: &[&str],
    ) -> Result<(Source, Language), CliError> {
        for name in names {
            let path = ImagePath::clamped(name.as_bytes())
                .map_err(|error| CliError::Usage(format!("-f {name}: {error}")))?;
            if let Some(bytes) = contexts::read(store, packed, &path)? {
                return Ok((source(name, bytes)?, self.files.language(name)));
            }
        }
        let shown = &packed.shown;
        Err(CliError::Usage(format!(
            "there is no {} in the context {shown}; say where it is in there with -f FILE",
            names[0]
        )))
    }
}

/// One named context: what exists as a directory is one, then what is a URL, then an image.
fn named(value: &str) -> Result<NamedContext, CliError> {
    if Path::new(value).is_dir() {
        return Ok(NamedContext::Directory(value.into()));
    }
    let image = ["docker-image:", "oci-layout:", "docker-archive:", "rootfs:"];
    if image.iter().any(|scheme| value.starts_with(scheme)) {
        return Ok(NamedContext::Image(value.to_owned()));
    }
    let remote =
        Remote::parse_context(value).map_err(|error| CliError::Usage(format!("--build-context: {error}")))?;
    Ok(remote.map_or_else(|| NamedContext::Image(value.to_owned()), NamedContext::Remote))
}

fn engine(error: ExecError) -> CliError {
    crate::engine::BuildError::from(error).into()
}

fn source(name: &str, bytes: Vec<u8>) -> Result<Source, CliError> {
    source_from_bytes(name, bytes).map_err(|error| CliError::Usage(error.to_string()))
}
