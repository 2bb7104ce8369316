//! Nothing but the image id (of several platforms the index' digest) and warnings; a failed step's last lines.

use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::log::Log;
use super::{Show, out};
use crate::diag::Source;
use crate::engine::BuildError;
use crate::engine::finish::Built;
use crate::engine::report::{Event, Ui};
use crate::fetch::watch::{Act, Amount, TaskEnd, TaskId, Watch};

/// The quiet view.
pub struct Quiet {
    file: OnceLock<Source>,
    start: Instant,
    log: Mutex<Log>,
}

impl Quiet {
    pub fn new(start: Instant) -> Self {
        Self { file: OnceLock::new(), start, log: Mutex::default() }
    }
}

impl Watch for Quiet {
    fn begun(&self, _: TaskId, _: Act, _: &str) {}

    fn moved(&self, _: TaskId, _: &Amount) {}

    fn ended(&self, _: TaskId, _: TaskEnd) {}

    fn warned(&self, text: &str) {
        out::err(&format!("warning: {text}\n"));
    }
}

impl Ui for Quiet {
    fn event(&self, event: Event<'_>) {
        self.log.lock().expect("no panic while held").take(&event);
    }

    fn clock(&self) -> Duration {
        self.start.elapsed()
    }
}

impl Show for Quiet {
    fn reads(&self, file: &Source) {
        self.file.get_or_init(|| file.clone());
    }

    fn built(&self, built: &Built) {
        for target in &built.targets {
            out::print(&format!("{}\n", target.id()));
        }
    }

    fn failed(&self, error: &BuildError) {
        let log = self.log.lock().expect("no panic while held");
        let file = self.file.get();
        out::err(&file.map(|file| log.failure(error, file)).unwrap_or_default());
    }
}
