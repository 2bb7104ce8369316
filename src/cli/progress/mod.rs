//! How a build is shown: one view a mode, all fed by the engine's events.

mod fetches;
mod json;
mod log;
mod plain;
mod quiet;
mod tty;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::build::render;
use super::out;
use crate::diag::Source;
use crate::engine::BuildError;
use crate::engine::finish::{Built, BuiltTarget};
use crate::engine::report::Ui;
use crate::fetch::watch::{Act, Watch};

/// `--progress`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// tty on a terminal, else plain
    #[default]
    Auto,
    /// Running steps redrawn in place
    Tty,
    /// Every line of every step
    Plain,
    /// One JSON object a line
    Json,
    /// The image id alone
    Quiet,
}

/// A view of a build, from the time when its build file is not even read.
pub trait Show: Ui + Watch {
    /// What the build file says.
    fn reads(&self, file: &Source);
    /// The build is over.
    fn built(&self, built: &Built);
    /// The build failed: what its last lines were. The error itself is printed by the caller.
    fn failed(&self, error: &BuildError);
}

/// Starts a view.
pub fn start(mode: Mode, start: Instant) -> Arc<dyn Show> {
    match mode {
        Mode::Auto if out::is_terminal() => Arc::new(tty::Tty::new(start)),
        Mode::Tty => Arc::new(tty::Tty::new(start)),
        Mode::Auto | Mode::Plain => Arc::new(plain::Plain::new(start)),
        Mode::Json => Arc::new(json::Json::new(start)),
        Mode::Quiet => Arc::new(quiet::Quiet::new(start)),
    }
}

/// A view for what fetches and does not build: on a terminal alone it shows more than warnings.
pub fn of_fetching() -> Arc<dyn Show> {
    start(if out::is_terminal() { Mode::Tty } else { Mode::Quiet }, Instant::now())
}

/// What is being done, and what was.
fn verb(act: Act, is_over: bool) -> &'static str {
    match (act, is_over) {
        (Act::Fetch, false) => "fetching",
        (Act::Fetch, true) => "fetched",
        (Act::Choose, false) => "choosing",
        (Act::Choose, true) => "chose",
        (Act::Push, false) => "pushing",
        (Act::Push, true) => "pushed",
    }
}

/// `0.42s`, `12.3s`, `2m05s`.
fn took(duration: Duration) -> String {
    let secs = duration.as_secs();
    match secs {
        0..10 => format!("{:.2}s", duration.as_secs_f64()),
        10..60 => format!("{:.1}s", duration.as_secs_f64()),
        _ => format!("{}m{:02}s", secs / 60, secs % 60),
    }
}

/// The closing lines of a build.
fn summary(built: &Built, total: Duration) -> String {
    let mut text = String::new();
    for target in &built.targets {
        if built.targets.len() > 1 {
            text.push_str(&format!("target   {}\n", target.stage));
        }
        for image in &target.images {
            if target.index.is_some() {
                text.push_str(&format!("platform {}\n", image.platform));
            }
            text.push_str(&format!("image    {}\nmanifest {}\n", image.image, image.manifest));
        }
        if let Some(index) = target.index {
            text.push_str(&format!("index    {index}\n"));
        }
        for name in target.familiar_names() {
            text.push_str(&format!("name     {name}\n"));
        }
    }
    let layers = match built.targets.as_slice() {
        [BuiltTarget { images, index: None, .. }] => {
            format!("{} layers, {}; ", images[0].layers, out::size(images[0].size))
        }
        _ => String::new(),
    };
    text.push_str(&format!(
        "{layers}{} steps: {} hits, {} built; {}\n",
        built.hits + built.built,
        built.hits,
        built.built,
        took(total)
    ));
    text
}
