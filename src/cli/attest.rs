//! `lith attest`: what is said of images.

use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::json;

use super::images::Format;
use super::places::{Access, FORMS, Place};
use super::pull::view;
use super::{CliError, out};
use crate::digest::BlobDigest;
use crate::fetch::Watcher;
use crate::image::gather::descend;
use crate::image::statements::{Said, Statements, statement, statements};
use crate::image::{BlobSource, CopyError};
use crate::oci::Descriptor;
use crate::platform::Platform;

/// What is done about statements.
#[derive(Debug, Subcommand)]
pub enum AttestVerb {
    /// List what is said of an image
    Ls(Ls),
    /// Print a statement, after a look at what it is about
    Show(Show),
}

impl AttestVerb {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        match self {
            Self::Ls(verb) => verb.run(root),
            Self::Show(verb) => verb.run(root),
        }
    }
}

/// Where an image is whose statements are asked for.
#[derive(Debug, Args)]
struct At {
    /// An image and where it is
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Of an image for several platforms, the one for this
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Speak to the registry in the clear: anybody on the way can read and change what is sent
    #[arg(long)]
    plain_http: bool,
}

/// Arguments of `lith attest ls`.
#[derive(Debug, Args)]
#[command(after_help = format!("Examples:\n  lith attest ls app\n  lith attest ls docker://registry.example.com/app:1\n\n{FORMS}"))]
pub struct Ls {
    #[command(flatten)]
    at: At,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Arguments of `lith attest show`.
#[derive(Debug, Args)]
#[command(after_help = format!(
    "Examples:\n  lith attest show app --type provenance\n  lith attest show docker://alpine --type sbom --platform linux/arm64\n\n{FORMS}"
))]
pub struct Show {
    #[command(flatten)]
    at: At,
    /// Of which kind [default: the only one]
    #[arg(long = "type", value_name = "provenance|sbom|URI")]
    kind: Option<String>,
    /// Which, by its digest or the beginning of it
    #[arg(long)]
    digest: Option<String>,
}

impl At {
    fn read<T>(
        &self,
        root: Option<&Path>,
        act: impl FnOnce(&dyn BlobSource, &Descriptor, Statements) -> Result<T, CliError>,
    ) -> Result<T, CliError> {
        let place = Place::parse(&self.image)?;
        let access = Access { root, plain_http: self.plain_http, watch: Watcher::new(view(true)) };
        access.read(&place, |source, top| {
            let found = statements(source, &top)?;
            for warning in &found.warnings {
                out::err(&format!("warning: {}: {warning}\n", self.image));
            }
            act(source, &top, found)
        })
    }

    /// The statements about the image for a platform.
    fn of_platform(
        &self,
        source: &dyn BlobSource,
        top: &Descriptor,
        all: Vec<Said>,
        wanted: &Platform,
    ) -> Result<Vec<Said>, CliError> {
        let image = match descend(source, top, wanted) {
            Ok(image) => image.digest,
            Err(CopyError::Choice { source, .. }) => {
                return Err(CliError::Usage(format!("{}: {source}", self.image)));
            }
            Err(error) => return Err(error.into()),
        };
        Ok(all.into_iter().filter(|said| said.subject == image).collect())
    }
}

impl Ls {
    fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let all = self.at.read(root, |source, top, found| match &self.at.platform {
            None => Ok(found.all),
            Some(platform) => self.at.of_platform(source, top, found.all, platform),
        })?;
        match self.format {
            Format::Table => out::print(&table(&all)),
            Format::Json => all.iter().for_each(|said| out::print(&format!("{}\n", line(said)))),
        }
        Ok(())
    }
}

fn table(all: &[Said]) -> String {
    let head = ["PLATFORM", "TYPE", "DIGEST", "SIZE"].map(str::to_owned).to_vec();
    let row = |said: &Said| {
        vec![
            said.platform.as_ref().map_or_else(|| "-".into(), Platform::to_string),
            shown(said),
            said.statement.digest.to_string(),
            out::size(said.statement.size),
        ]
    };
    out::table(&std::iter::once(head).chain(all.iter().map(row)).collect::<Vec<_>>())
}

fn line(said: &Said) -> serde_json::Value {
    json!({
        "platform": said.platform, "type": said.predicate_type, "digest": said.statement.digest,
        "size": said.statement.size, "subject": said.subject,
    })
}

/// What kind a statement is said to be, safe on a terminal.
fn shown(said: &Said) -> String {
    crate::diag::escape(said.predicate_type.as_bytes())
}

impl Show {
    fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let bytes = self.at.read(root, |source, top, found| {
            let several = found.all.iter().any(|said| said.subject != found.all[0].subject);
            let all = match &self.at.platform {
                Some(platform) => self.at.of_platform(source, top, found.all, platform)?,
                None if several => self.at.of_platform(source, top, found.all, &Platform::host())?,
                None => found.all,
            };
            let said = self.choose(all)?;
            Ok(statement(source, &said)?)
        })?;
        out::bytes(&bytes);
        Ok(())
    }

    fn choose(&self, all: Vec<Said>) -> Result<Said, CliError> {
        let image = &self.at.image;
        if all.is_empty() {
            return Err(CliError::Usage(format!("{image}: nothing is said of it")));
        }
        let list = |said: &[Said]| {
            let one = |said: &Said| format!("{} {}", shown(said), said.statement.digest);
            said.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        let wanted: Vec<Said> = all.iter().filter(|said| self.is_wanted(said)).cloned().collect();
        match &wanted[..] {
            [one] => Ok(one.clone()),
            [] => Err(CliError::Usage(format!(
                "{image}: nothing of that kind is said of it; there is {}",
                list(&all)
            ))),
            several => Err(CliError::Usage(format!(
                "{image}: there are several: {}; choose one with --type or --digest",
                list(several)
            ))),
        }
    }

    fn is_wanted(&self, said: &Said) -> bool {
        let kind = match self.kind.as_deref() {
            None => true,
            Some("provenance") => said.predicate_type.starts_with("https://slsa.dev/provenance/"),
            Some("sbom") => ["https://spdx.dev/Document", "https://cyclonedx.org/bom"]
                .iter()
                .any(|known| said.predicate_type.starts_with(known)),
            Some(uri) => said.predicate_type == uri,
        };
        let digest = |wanted: &String| {
            let digits = wanted.strip_prefix("sha256:").unwrap_or(wanted);
            !digits.is_empty() && BlobDigest::hex(&said.statement.digest).starts_with(digits)
        };
        kind && self.digest.as_ref().is_none_or(digest)
    }
}
