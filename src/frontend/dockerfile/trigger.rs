//! ONBUILD: text that an image or a stage keeps, read as the first instructions of whatever stands on it.

use crate::diag::{Diagnostic, Span};
use crate::recipe::Origin;

use super::ast::{Instruction, Kind};
use super::instructions::{self, Parsed};
use super::lines::{self, Line};
use super::problems::Problems;
use super::{shown, words};

/// Of every trigger.
const ESCAPE: char = '\\';

/// Where messages about a trigger point: the ONBUILD of the file, or the FROM whose image has it.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// From 1.
    pub line: usize,
    pub span: Span,
}

/// The text of a trigger as an ONBUILD line has it: what follows the word, and the bodies of its here-documents.
pub fn text(line: &Line) -> String {
    let parts = words::split_line(&line.text);
    let mut text = line.text[parts.name.at.end..].trim_start().to_owned();
    for document in &line.heredocs {
        text.extend(["\n", &document.body, &document.name]);
    }
    text
}

/// Why an instruction cannot be a trigger.
pub fn forbidden(text: &str) -> Option<String> {
    match words::split_line(text).name.text.to_ascii_uppercase().as_str() {
        "" => Some("ONBUILD requires at least one argument".to_owned()),
        "ONBUILD" => Some("chaining ONBUILD via ONBUILD ONBUILD isn't allowed".to_owned()),
        name @ ("FROM" | "MAINTAINER") => Some(format!("{name} isn't allowed as an ONBUILD trigger")),
        _ => None,
    }
}

/// Reads a trigger. Its escape character is `\` whatever the file says, as in BuildKit. `None` if it cannot be read;
/// then at least one error was reported.
pub fn parse(text: &str, place: Place, problems: &mut Problems) -> Option<Instruction> {
    let mut own = Problems::default();
    let parsed = match forbidden(text) {
        Some(message) => {
            own.error(place.span, message);
            None
        }
        None => read(text, place, &mut own),
    };
    for diagnostic in own.finish() {
        let message = format!("{}{}", prefix(text), diagnostic.message);
        problems.push(Diagnostic { span: place.span, message, ..diagnostic });
    }
    parsed
}

/// What goes before a message about a trigger.
pub fn prefix(text: &str) -> String {
    format!("in trigger {}: ", shown(text))
}

fn read(text: &str, place: Place, problems: &mut Problems) -> Option<Instruction> {
    let mut lines = lines::read_instructions(text, problems);
    let (Some(mut line), true) = (lines.pop(), lines.is_empty()) else {
        problems.error(place.span, "it is not one instruction");
        return None;
    };
    line.pin(place.line, place.span);
    let Some(Parsed::Instruction(instruction)) = instructions::parse(&line, ESCAPE, problems) else {
        return None;
    };
    let origin = Origin { text: format!("ONBUILD {}", instruction.origin.text), ..instruction.origin };
    Some(Instruction { origin, trigger: Some(text.to_owned()), ..instruction })
}

impl Instruction {
    /// The trigger that this instruction leaves behind, if it is an ONBUILD.
    pub fn leaves(&self) -> Option<&str> {
        match &self.kind {
            Kind::OnBuild(text) => Some(text),
            _ => None,
        }
    }
}
