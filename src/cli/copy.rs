//! `lith image copy`.

use std::path::Path;

use clap::Args;

use super::places::{Access, FORMS, Place};
use super::pull::view;
use super::session::{self, Need};
use super::{CliError, out};
use crate::fetch::Watcher;
use crate::image::copy::{to_docker_archive, to_layout, to_layout_archive, to_store};
use crate::image::index::of_host;
use crate::image::{BlobSource, Extent, Gathered, gather};
use crate::oci::Reference;
use crate::platform::Platform;
use crate::registry;

/// Arguments of `lith image copy`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "the flags of a command line")]
#[command(after_help = format!(
    "Examples:\n  \
    lith image copy docker://docker.io/library/alpine:3 docker://registry.example.com/alpine:3\n  \
    lith image copy app docker://registry.example.com/team/app:1\n  \
    lith image copy --platform linux/arm64 docker://alpine oci:layout:alpine\n  \
    lith image copy oci-archive:app.tar store:app\n\n\
    {FORMS}\n\n\
    All that the name stands for is copied, an index with all of its images, and every digest stays what it is. A docker \
    archive has no place for packed layers, manifests and statements: it gets the image for one platform.\n\
    Prints the digest of what the name stands for at the destination; of a docker archive the image's id."
))]
pub struct Copy {
    /// An image and where it is
    #[arg(value_name = "FROM")]
    from: String,
    /// Where it is to be
    #[arg(value_name = "TO")]
    to: String,
    /// Of an image for several platforms, only the one for this [default: all]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Leave behind what is said of it: statements, signatures and whatever else names it as its subject
    #[arg(long)]
    no_referrers: bool,
    /// Speak to the registry that is copied from in the clear
    #[arg(long)]
    src_plain_http: bool,
    /// Speak to the registry that is copied to in the clear
    #[arg(long)]
    dest_plain_http: bool,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

impl Copy {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let (from, to) = (Place::parse(&self.from)?, Place::parse(&self.to)?);
        let to = Destination::of(to)?;
        let watch = Watcher::new(view(self.quiet));
        let source = Access { root, plain_http: self.src_plain_http, watch: watch.clone() };
        let dest = Access { root, plain_http: self.dest_plain_http, watch };
        // As with `lith save`, since an archive of several is none.
        let host = matches!(to, Destination::DockerArchive { .. }).then(Platform::host);
        let platform = self.platform.as_ref().or(host.as_ref());
        let extent = Extent { platform, referrers: !self.no_referrers };
        let copied = source.read(&from, |source, top| {
            let gathered = gather(source, &top, extent)?;
            self.warn(&gathered.warnings);
            self.write(&dest, &from, &to, source, &gathered)
        })?;
        out::print(&format!("{copied}\n"));
        Ok(())
    }

    fn warn(&self, warnings: &[String]) {
        warnings.iter().for_each(|warning| out::err(&format!("warning: {}: {warning}\n", self.from)));
    }

    /// What the copy is known by.
    fn write(
        &self,
        access: &Access<'_>,
        from: &Place,
        to: &Destination,
        source: &dyn BlobSource,
        gathered: &Gathered,
    ) -> Result<String, CliError> {
        match to {
            Destination::Store(name) => self.write_store(access, name, source, gathered)?,
            Destination::Registry(name) => {
                let client = access.client(name)?;
                let top = gathered.top().digest;
                if let Some(wanted) = name.digest().filter(|wanted| *wanted != top) {
                    let message = format!("{}: it is {top}, so it cannot be called {wanted}", self.to);
                    return Err(CliError::Usage(message));
                }
                let tag = if name.digest().is_some() { None } else { Some(name.tag().unwrap_or("latest")) };
                let repository = client.repository(name)?;
                let near = from.registry().filter(|from| {
                    from.registry() == name.registry() && from.repository() != name.repository()
                });
                registry::copy(source, &repository, gathered, tag, near.map(Reference::repository))?;
            }
            Destination::Layout { dir, name } => to_layout(source, gathered, name.as_deref(), dir)?,
            Destination::LayoutArchive { file, name } => {
                to_layout_archive(source, gathered, name.as_deref(), file)?;
            }
            Destination::DockerArchive { file, name } => {
                return Ok(to_docker_archive(source, gathered, name.as_ref(), file)?.to_string());
            }
        }
        Ok(gathered.top().digest.to_string())
    }

    fn write_store(
        &self,
        access: &Access<'_>,
        name: &Reference,
        source: &dyn BlobSource,
        gathered: &Gathered,
    ) -> Result<(), CliError> {
        let store = session::open(access.root, Need::Store)?.store;
        let taken = to_store(&store, source, gathered)?;
        self.warn(&taken.warnings);
        self.warn(&taken.image.warnings);
        match &taken.index {
            Some(index) => store.set_index_ref(&name.to_string(), index, of_host(index))?,
            None => store.set_ref(&name.to_string(), taken.image.digest, taken.image.id)?,
        }
        Ok(())
    }
}

/// A place that is written to, its name checked before anything is read.
enum Destination {
    Store(Reference),
    Registry(Box<Reference>),
    Layout { dir: std::path::PathBuf, name: Option<String> },
    LayoutArchive { file: std::path::PathBuf, name: Option<String> },
    DockerArchive { file: std::path::PathBuf, name: Option<Reference> },
}

impl Destination {
    fn of(place: Place) -> Result<Self, CliError> {
        // What a layout calls an image follows its own grammar, which a name and a tag both fit.
        let check = |name: &Option<String>| match name {
            Some(name) if name.contains(['/', ':', '@']) => Place::new_name(name).map(drop),
            Some(tag) => Place::new_name(&format!("x:{tag}")).map(drop),
            None => Ok(()),
        };
        Ok(match place {
            Place::Store(text) => Self::Store(Place::new_name(&text)?),
            Place::Registry(name) => Self::Registry(name),
            Place::Layout { dir, name } => {
                check(&name)?;
                Self::Layout { dir, name }
            }
            Place::LayoutArchive { file, name } => {
                check(&name)?;
                Self::LayoutArchive { file, name }
            }
            Place::DockerArchive { file, name } => {
                let name = name.as_deref().map(Place::new_name).transpose()?;
                Self::DockerArchive { file, name }
            }
        })
    }
}
