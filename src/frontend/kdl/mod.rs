//! The KDL language (`spec/kdl-grammar.md`): text to [`crate::recipe::Recipe`].
//!
//! [`parse`] reads the text and its imports and reports what is no KDL; [`KdlFile::images`] reports everything else that
//! is wrong whatever the base images are, and says which of them are needed; [`KdlFile::lower`] gives the recipe. Each
//! is a pure function, goes on after a mistake, and panics on no text.

mod blocks;
mod chars;
mod imports;
mod lower;
mod params;
mod printer;
mod strings;
mod syntax;
mod taking;
mod tree;
mod words;
mod write;

use crate::diag::{Diagnostic, Source, Span};
use crate::recipe::Recipe;

use super::bases::{Bases, Configs, ImageUse};
use super::options::Options;
use super::problems::Problems;
use super::source::MAX_FILE;
use blocks::Blocks;
use imports::Files;
pub use imports::{Imports, gather};
use lower::Lowered;
use params::Params;
pub use printer::quoted;
use taking::unknown;
pub use tree::{Arg, Node, Prop, Text, Value};
use words::Words;
pub use write::write;

/// What may stand in no other node.
pub const TOP: [&str; 4] = ["image", "import", "param", "stage"];

/// A file with its imports, read and not yet understood.
#[derive(Debug)]
pub struct KdlFile {
    files: Files,
    nodes: Vec<Node>,
}

/// What a text says as KDL, whatever its nodes mean: their names, and places counted from its first byte. An `import`
/// stays as it is. An error is a text that is no KDL.
pub fn nodes(text: &str) -> Result<Vec<Node>, Vec<Diagnostic>> {
    let mut problems = Problems::default();
    let nodes = syntax::read(text, 0, &mut problems);
    if problems.errors() == 0 { Ok(nodes) } else { Err(problems.finish()) }
}

/// Reads a file. The result is of use only if none of the diagnostics is an error.
pub fn parse(source: &Source, imports: &Imports) -> (KdlFile, Vec<Diagnostic>) {
    let mut problems = Problems::default();
    let too_long = source.text.len() > MAX_FILE;
    if too_long {
        let message = format!("the file is {} bytes long; the most is {MAX_FILE}", source.text.len());
        problems.error(Span::default(), message);
    }
    let empty = Source { name: source.name.clone(), text: String::new() };
    let (files, nodes) = Files::read(if too_long { &empty } else { source }, imports, &mut problems);
    let found = files.show(problems.finish());
    (KdlFile { files, nodes }, found)
}

impl KdlFile {
    /// Names of all images and stages, in the order of the file.
    pub fn names(&self) -> Vec<String> {
        let blocks = Blocks::find(&self.nodes, &mut Problems::default());
        blocks.names().map(str::to_owned).collect()
    }

    /// The images that the wanted blocks need. `bases` has the configs that are known so far.
    pub fn images(&self, options: &Options, bases: &Configs) -> Result<Vec<ImageUse>, Vec<Diagnostic>> {
        let mut problems = Problems::default();
        let lowered = self.work_out(options, Bases::so_far(bases), &mut problems);
        match problems.errors() {
            0 => Ok(lower::distinct(lowered.images)),
            _ => Err(self.files.show(problems.finish())),
        }
    }

    /// The recipe of the targets and what they need. `bases` has the config of every image that [`KdlFile::images`]
    /// lists with `as_base`. Warnings come with a recipe; an error anywhere means there is none.
    pub fn lower(
        &self,
        options: &Options,
        bases: &Configs,
    ) -> Result<(Recipe, Vec<Diagnostic>), Vec<Diagnostic>> {
        let mut problems = Problems::default();
        let lowered = self.work_out(options, Bases::complete(bases), &mut problems);
        let errors = problems.errors();
        let found = self.files.show(problems.finish());
        if errors == 0 { Ok((lowered.recipe, found)) } else { Err(found) }
    }

    fn work_out(&self, options: &Options, bases: Bases, problems: &mut Problems) -> Lowered {
        let blocks = Blocks::find(&self.nodes, problems);
        let mut words = Words::new(Params::automatic(options), problems);
        for node in &self.nodes {
            match node.name.text.as_str() {
                "param" => params::declare(node, options, &mut words),
                "image" | "stage" => {}
                _ => {
                    let message =
                        format!("{} is nothing that a file is made of", super::shown::shown(&node.name.text));
                    unknown(&node.name, message, &TOP, &mut words);
                }
            }
        }
        params::unused(options, &mut words);
        lower::lower(&self.files, &blocks, options, bases, &mut words)
    }
}
