//! What the language sees of the command line: shared by everything that reads a Dockerfile.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Args;
use indexmap::IndexSet;

use super::CliError;
use super::build::pairs;
use super::contexts::{ContextArgs, Origin, Reach};
use super::files::Text;
use super::session::{self, Need, variable};
use crate::engine::contexts::{ContextSource, NamedContext};
use crate::fetch::{Access, FetchOptions};
use crate::frontend::{self, Language};
use crate::platform::Platform;

/// Where the Dockerfile is, and how it is read.
#[derive(Debug, Args)]
pub struct LanguageArgs {
    #[command(flatten)]
    pub contexts: ContextArgs,
    /// Build only up to this stage; several stages are built at once
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    pub target: Vec<String>,
    /// A value for an ARG; without =VALUE it comes from the environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// What is built for [default: this machine]; several make an image for each, and an index of them
    #[arg(long, value_name = "OS/ARCH", value_delimiter = ',')]
    platform: Vec<Platform>,
}

impl LanguageArgs {
    /// What is built for, each once.
    pub fn platforms(&self) -> Vec<Platform> {
        let given: IndexSet<Platform> = self.platform.iter().cloned().collect();
        if given.is_empty() { vec![Platform::host()] } else { given.into_iter().collect() }
    }

    /// The language's options without labels and allowances, and the named contexts.
    pub fn options(&self) -> Result<(frontend::Options, BTreeMap<String, NamedContext>), CliError> {
        let (named_contexts, contexts) = self.contexts.named()?;
        let options = frontend::Options {
            build_args: pairs(&self.build_arg, "--build-arg", variable)?,
            labels: Vec::new(),
            targets: self.target.clone(),
            platform: self.platform.first().cloned().unwrap_or_else(Platform::host),
            build_platform: Platform::host(),
            insecure: false,
            named_contexts,
        };
        Ok((options, contexts))
    }

    /// The Dockerfile and its ignore file, for what is asked of Dockerfiles alone. There is a store only for what comes
    /// from elsewhere.
    pub fn text(
        &self,
        root: Option<&Path>,
        access: Access<'_>,
        fetch: &FetchOptions,
    ) -> Result<Text, CliError> {
        let text = self.any_text(root, access, fetch)?;
        if text.language == Language::Kdl {
            return Err(CliError::Usage(format!(
                "{} is KDL; the linter and --call know Dockerfiles alone",
                text.dockerfile.name
            )));
        }
        Ok(text)
    }

    fn any_text(
        &self,
        root: Option<&Path>,
        access: Access<'_>,
        fetch: &FetchOptions,
    ) -> Result<Text, CliError> {
        if self.contexts.files.context.is_dir() {
            return self.contexts.files.read();
        }
        let store = session::open(root, Need::Store)?.store;
        let reach = Reach { store: &store, fetch, access };
        let Origin { context, dockerfile, language, imports } = self.contexts.read(reach)?;
        let ignore = match context {
            ContextSource::Directory { ignore, .. } => ignore,
            ContextSource::Packed(_) => Default::default(),
        };
        Ok(Text { dockerfile, language, imports, ignore })
    }
}
