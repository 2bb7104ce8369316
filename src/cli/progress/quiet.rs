//! Nothing but the image id; a failed step's last lines.

use std::sync::Mutex;

use super::log::Log;
use super::{Show, out};
use crate::diag::Source;
use crate::engine::BuildError;
use crate::engine::finish::Built;
use crate::engine::report::{Event, Ui};

/// The quiet view.
pub struct Quiet {
    file: Source,
    log: Mutex<Log>,
}

impl Quiet {
    pub fn new(file: Source) -> Self {
        Self { file, log: Mutex::default() }
    }
}

impl Ui for Quiet {
    fn event(&self, event: Event<'_>) {
        self.log.lock().expect("no panic while held").take(&event);
    }
}

impl Show for Quiet {
    fn built(&self, built: &Built) {
        for image in &built.images {
            out::print(&format!("{}\n", image.image));
        }
    }

    fn failed(&self, error: &BuildError) {
        let log = self.log.lock().expect("no panic while held");
        out::err(&log.failure(error, &self.file));
    }
}
