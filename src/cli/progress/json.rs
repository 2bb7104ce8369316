//! One JSON object a line on standard output (spec/cli.md, "Progress events"). `time` is seconds since the start.

use std::time::Instant;

use serde_json::{Value, json};

use super::{Show, out};
use crate::diag::Source;
use crate::engine::BuildError;
use crate::engine::finish::Built;
use crate::engine::report::{End, Event, StepInfo, Ui};
use crate::sandbox::Stream;

/// The JSON view.
pub struct Json {
    file: Source,
    start: Instant,
}

impl Json {
    pub fn new(file: Source, start: Instant) -> Self {
        Self { file, start }
    }

    fn line(&self, mut value: Value) {
        value["time"] = json!(self.start.elapsed().as_secs_f64());
        out::print(&format!("{value}\n"));
    }
}

fn about(event: &str, step: &StepInfo) -> Value {
    let mut value = json!({ "event": event, "step": step.name, "text": step.text, "line": step.line });
    if !step.effects.is_empty() {
        value["effects"] = json!(step.effects);
    }
    value
}

impl Ui for Json {
    fn event(&self, event: Event<'_>) {
        self.line(match event {
            Event::Odd(found) => {
                let text: String = found.iter().map(|d| self.file.render(d)).collect();
                json!({ "event": "diagnostics", "text": text })
            }
            Event::Note(text) => json!({ "event": "note", "message": text }),
            Event::Planned { steps } => json!({ "event": "planned", "steps": steps }),
            Event::Started(step) => about("started", step),
            Event::Shell(step) => about("shell", step),
            Event::Output { step, stream, bytes } => {
                let stream = match stream {
                    Stream::Stdout => "stdout",
                    Stream::Stderr => "stderr",
                };
                json!({
                    "event": "output", "step": step.name, "stream": stream,
                    "data": String::from_utf8_lossy(bytes),
                })
            }
            Event::Warning { step, text } => {
                json!({ "event": "warning", "step": step.name, "message": text })
            }
            Event::Ended { step, end } => {
                let mut value = about("ended", step);
                match end {
                    End::Hit => value["status"] = "hit".into(),
                    End::Built { why } => {
                        value["status"] = "built".into();
                        value["why"] = why.into();
                    }
                    End::Failed { error } => {
                        value["status"] = "failed".into();
                        value["error"] = error.into();
                    }
                }
                value
            }
        });
    }
}

impl Show for Json {
    fn built(&self, built: &Built) {
        for image in &built.images {
            self.line(json!({
                "event": "built", "stage": image.stage, "image": image.image, "manifest": image.manifest,
                "names": image.familiar_names(), "layers": image.layers, "size": image.size,
                "hits": built.hits, "built": built.built,
            }));
        }
    }

    fn failed(&self, error: &BuildError) {
        self.line(json!({ "event": "failed", "error": error.to_string() }));
    }
}
