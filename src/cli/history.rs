//! `lith history`.

use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::images::Format;
use super::session::{self, Need};
use super::{CliError, find, out};
use crate::diag::escape;
use crate::digest::ImageId;
use crate::platform::Platform;
use crate::store::Store;

/// Arguments of `lith history`.
#[derive(Debug, Args)]
pub struct History {
    /// A name, an id or a digest
    image: String,
    /// Of an image for several platforms, the one for this [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Full ids and commands
    #[arg(long)]
    no_trunc: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(rename = "ID")]
    id: String,
    created_at: String,
    created_by: String,
    size: String,
    comment: String,
}

impl History {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let store = session::open(root, Need::Store)?.store;
        let rows = self.rows(&store)?;
        match self.format {
            Format::Json => {
                let lines =
                    rows.iter().map(|row| serde_json::to_string(row).expect("plain rows serialise") + "\n");
                out::print(&lines.collect::<String>());
            }
            Format::Table => {
                let head = ["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"].map(str::to_owned).to_vec();
                let cells =
                    rows.into_iter().map(|r| vec![r.id, r.created_at, r.created_by, r.size, r.comment]);
                out::print(&out::table(&[head].into_iter().chain(cells).collect::<Vec<_>>()));
            }
        }
        Ok(())
    }

    fn rows(&self, store: &Store) -> Result<Vec<Row>, CliError> {
        let record = find::image_for(store, &self.image, self.platform.as_ref())?;
        let config = find::config(store, &record.id)?;
        let mut ids = lineage(store, record.id).into_iter();
        let mut sizes = find::layer_sizes(store, &config).into_iter().rev();
        let rows = config.history.iter().rev().map(|line| {
            let size = if line.empty_layer { 0 } else { sizes.next().unwrap_or(0) };
            let id = ids.next();
            let by = escape(line.created_by.as_deref().unwrap_or("").as_bytes());
            Row {
                id: id.map_or_else(|| "<missing>".into(), |id| self.id(id)),
                created_at: line.created.clone().unwrap_or_default(),
                created_by: if self.no_trunc { by } else { shorten(&by) },
                size: out::size(size),
                comment: line.comment.clone().unwrap_or_default(),
            }
        });
        Ok(rows.collect())
    }

    fn id(&self, id: ImageId) -> String {
        if self.no_trunc { id.to_string() } else { id.short() }
    }
}

/// An image and those it was built on, newest first, as far as they are known.
fn lineage(store: &Store, newest: ImageId) -> Vec<ImageId> {
    let mut ids = vec![newest];
    while let Some(parent) = ids.last().and_then(|id| store.image(id)).and_then(|record| record.parent) {
        if ids.contains(&parent) {
            break;
        }
        ids.push(parent);
    }
    ids
}

fn shorten(text: &str) -> String {
    const LONGEST: usize = 45;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}
