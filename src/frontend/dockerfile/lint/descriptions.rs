//! Comments that describe a stage or an argument: `# name what it is` directly above it.

use crate::recipe::Origin;

use super::super::ast::{ArgDecl, Dockerfile};
use super::Linter;
use super::checks;
use super::rules::INVALID_DEFINITION_DESCRIPTION;

/// What the comments above a line say of a name.
pub fn description<'a>(file: &'a Dockerfile, line: usize, name: &str) -> Option<&'a str> {
    let comments = file.comments.get(&line)?;
    comments.iter().find_map(|comment| Some(comment.text.strip_prefix(name)?.strip_prefix(' ')?.trim()))
}

impl Linter<'_> {
    /// The comment above a FROM with a name, and, once, those of the ARGs before the first FROM.
    pub(super) fn describe_from(&mut self, index: usize) {
        if index == 0 {
            for arg in &self.file.globals {
                self.describe_arg(&arg.decls, &arg.origin);
            }
        }
        let stage = &self.file.stages[index];
        if let Some(name) = &stage.name {
            self.describes("FROM", &[&name.text], &stage.origin);
        }
    }

    pub(super) fn describe_arg(&mut self, decls: &[ArgDecl], origin: &Origin) {
        let names: Vec<&str> = decls.iter().map(|decl| decl.name.as_str()).collect();
        self.describes("ARG", &names, origin);
    }

    fn describes(&mut self, instruction: &str, names: &[&str], origin: &Origin) {
        let above = self.file.comments.get(&origin.line).map_or(&[][..], Vec::as_slice);
        let Some(last) = above.iter().rfind(|word| checks::of_comment(&word.text).is_none()) else { return };
        let first = last.text.split(' ').next().unwrap_or_default();
        if names.contains(&first) {
            return;
        }
        let name =
            if let [name] = names { super::super::shown(name).replace('\'', "") } else { "NAME".into() };
        let message = format!("the comment above this {instruction} does not begin with its name");
        let help = format!("write `# {name} what it is`, or put an empty line between the two");
        self.report.warn(&INVALID_DEFINITION_DESCRIPTION, origin.line, last.span, message, help);
    }
}
