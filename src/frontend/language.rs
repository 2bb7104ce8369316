//! The languages of build files, and what all of them can be asked.

use crate::diag::{Diagnostic, Source};
use crate::recipe::Recipe;

use super::bases::{Configs, ImageUse};
use super::dockerfile::{self, Dockerfile};
use super::kdl::{self, Imports, KdlFile};
use super::options::Options;

/// What a build file is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Dockerfile,
    Kdl,
}

impl Language {
    /// By the file's name: KDL if it ends in `.kdl`.
    pub fn of(name: &str) -> Self {
        if name.ends_with(".kdl") { Self::Kdl } else { Self::Dockerfile }
    }

    /// Of a file without a name, by how it begins. No Dockerfile begins as KDL does: none of these words is an
    /// instruction, and its comments begin with `#`.
    pub fn of_text(text: &str) -> Self {
        let text = text.trim_start_matches('\u{feff}').trim_start();
        let word = text.split(|c: char| c.is_whitespace() || c == '{').next().unwrap_or_default();
        let comment = ["//", "/*", "/-"].iter().any(|mark| text.starts_with(mark));
        if comment || kdl::TOP.contains(&word) { Self::Kdl } else { Self::Dockerfile }
    }
}

/// A build file that was read.
#[derive(Debug)]
pub enum BuildFile {
    Dockerfile(Dockerfile),
    Kdl(KdlFile),
}

impl BuildFile {
    /// Reads a file. The result is complete only if none of the diagnostics is an error.
    pub fn parse(source: &Source, language: Language, imports: &Imports) -> (Self, Vec<Diagnostic>) {
        match language {
            Language::Dockerfile => {
                let (file, found) = dockerfile::parse(source);
                (Self::Dockerfile(file), found)
            }
            Language::Kdl => {
                let (file, found) = kdl::parse(source, imports);
                (Self::Kdl(file), found)
            }
        }
    }

    /// Names of stages, in the order of the file.
    pub fn stage_names(&self) -> Vec<String> {
        match self {
            Self::Dockerfile(file) => file.stage_names().map(str::to_owned).collect(),
            Self::Kdl(file) => file.names(),
        }
    }

    /// What names every stage as a target.
    pub fn all_targets(&self) -> Vec<String> {
        match self {
            Self::Dockerfile(file) => (0..file.targets().len()).map(|number| number.to_string()).collect(),
            Self::Kdl(file) => file.names(),
        }
    }

    /// The images that the wanted stages need. `bases` has the configs that are known so far; more may show that more
    /// images are needed.
    pub fn images(&self, options: &Options, bases: &Configs) -> Result<Vec<ImageUse>, Vec<Diagnostic>> {
        match self {
            Self::Dockerfile(file) => file.images(options, bases),
            Self::Kdl(file) => file.images(options, bases),
        }
    }

    /// The recipe, with warnings. `bases` has the config of every image that stages stand on.
    pub fn lower(
        &self,
        options: &Options,
        bases: &Configs,
    ) -> Result<(Recipe, Vec<Diagnostic>), Vec<Diagnostic>> {
        match self {
            Self::Dockerfile(file) => file.lower(options, bases),
            Self::Kdl(file) => file.lower(options, bases),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_name() {
        for kdl in [
            "image \"x\" {",
            "\u{feff}\n\r\n  stage \"x\"{",
            "param \"p\"",
            "import \"a.kdl\"",
            "// of a file",
            "/* of a file */ image",
            "/-image \"x\"",
            "image{",
        ] {
            assert_eq!(Language::of_text(kdl), Language::Kdl, "{kdl}");
        }
        for dockerfile in
            ["", "\n", "FROM x", "from x", "# syntax=x\nFROM x", "\\\nFROM x", "ARG A", "imaged", "IMAGE x"]
        {
            assert_eq!(Language::of_text(dockerfile), Language::Dockerfile, "{dockerfile}");
        }
    }
}
