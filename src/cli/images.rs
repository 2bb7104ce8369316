//! `lith images`.

use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::session::{self, Need};
use super::{CliError, find, out};
use crate::image::index::of_host;
use crate::oci::Reference;
use crate::store::{ImageRecord, IndexRecord, Store};

/// Arguments of `lith images`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "the flags of a command line")]
#[command(after_help = "Examples:\n  lith images\n  lith images -a --format json")]
pub struct Images {
    /// Only images whose repository is NAME
    name: Option<String>,
    /// Also intermediate images: one for every step
    #[arg(short, long)]
    all: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// Full ids
    #[arg(long)]
    no_trunc: bool,
    /// Show manifest digests
    #[arg(long)]
    digests: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// How a listing is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    #[default]
    Table,
    /// One object a line, fields as docker names them
    Json,
}

/// One line of the listing, in docker's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    repository: String,
    tag: String,
    #[serde(rename = "ID")]
    id: String,
    digest: String,
    /// RFC 3339 from the config: the epoch of the build, not a wall clock.
    created_at: String,
    size: String,
    /// Of an image for several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    platforms: Vec<String>,
}

impl Images {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let store = session::open(root, Need::Store)?.store;
        let rows = self.rows(&store)?;
        if self.quiet {
            let mut ids: Vec<String> = rows.into_iter().map(|row| row.id + "\n").collect();
            ids.dedup();
            out::print(&ids.concat());
            return Ok(());
        }
        match self.format {
            Format::Json => {
                let lines =
                    rows.iter().map(|row| serde_json::to_string(row).expect("plain rows serialise") + "\n");
                out::print(&lines.collect::<String>());
            }
            Format::Table => out::print(&self.table(&rows)),
        }
        Ok(())
    }

    fn rows(&self, store: &Store) -> Result<Vec<Row>, CliError> {
        let refs = store.refs()?;
        let indexes = store.indexes()?;
        let mut rows = Vec::new();
        for named in &refs {
            let Some(record) = store.image(&named.image) else { continue };
            let reference: Option<Reference> = named.name.parse().ok();
            let repository = reference.as_ref().map_or_else(|| named.name.clone(), Reference::familiar_name);
            let tag = reference.as_ref().and_then(|r| r.tag()).unwrap_or("<none>").to_owned();
            let index = indexes.iter().find(|index| Some(index.digest) == named.index);
            rows.push(self.row(store, &record, index, (repository, tag))?);
        }
        let none = || ("<none>".to_owned(), "<none>".to_owned());
        for index in &indexes {
            let is_named = refs.iter().any(|named| named.index == Some(index.digest));
            let record = store.image(&of_host(index).image).filter(|_| !is_named);
            if let Some(record) = record {
                rows.push(self.row(store, &record, Some(index), none())?);
            }
        }
        for record in store.images()? {
            let is_named = refs.iter().any(|named| named.image == record.id);
            let is_part = indexes.iter().any(|index| index.has(&record.id));
            if self.all && !is_named || !is_named && !is_part && record.manifest.is_some() {
                rows.push(self.row(store, &record, None, none())?);
            }
        }
        if let Some(name) = &self.name {
            let wanted: Option<Reference> = name.parse().ok();
            let repository = wanted.as_ref().map_or_else(|| name.clone(), Reference::familiar_name);
            let tag = name.rsplit('/').next().and_then(|last| last.split_once(':')).map(|(_, tag)| tag);
            rows.retain(|row| row.repository == repository && tag.is_none_or(|tag| row.tag == tag));
        }
        Ok(rows)
    }

    fn row(
        &self,
        store: &Store,
        record: &ImageRecord,
        index: Option<&IndexRecord>,
        (repository, tag): (String, String),
    ) -> Result<Row, CliError> {
        let config = find::config(store, &record.id)?;
        let id = match (index, self.no_trunc) {
            (Some(index), true) => index.digest.to_string(),
            (Some(index), false) => find::short(&index.digest),
            (None, true) => record.id.to_string(),
            (None, false) => record.id.short(),
        };
        let digest = index.map(|index| index.digest).or(record.manifest);
        Ok(Row {
            repository,
            tag,
            id,
            digest: digest.map_or_else(|| "<none>".into(), |digest| digest.to_string()),
            platforms: index
                .into_iter()
                .flat_map(|index| &index.images)
                .map(|one| one.platform.to_string())
                .collect(),
            created_at: config.created.clone().unwrap_or_else(|| "N/A".into()),
            size: out::size(find::layer_sizes(store, &config).iter().sum()),
        })
    }

    fn table(&self, rows: &[Row]) -> String {
        let mut head = vec!["REPOSITORY", "TAG"];
        if self.digests {
            head.push("DIGEST");
        }
        head.extend(["IMAGE ID", "CREATED", "SIZE"]);
        let mut table = vec![head.into_iter().map(str::to_owned).collect::<Vec<_>>()];
        for row in rows {
            let mut cells = vec![row.repository.clone(), row.tag.clone()];
            if self.digests {
                cells.push(row.digest.clone());
            }
            cells.extend([row.id.clone(), row.created_at.clone(), row.size.clone()]);
            table.push(cells);
        }
        out::table(&table)
    }
}
