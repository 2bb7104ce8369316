//! Paths, patterns and owners of copies and mounts, as every language has them.

use crate::context::Filter;
use crate::context::ignore::IgnoreError;
use crate::context::pattern::{Pattern, PatternError, is_wild};
use crate::path::{ImagePath, PathError};
use crate::recipe::CopySource;

use super::scope::clean;
use super::shown::shown;

/// Of a file that is to come from scratch.
pub const NO_FILES: &str = "scratch is empty: nothing but / can be taken from it";

/// What is wrong with a text.
#[derive(Debug)]
pub struct Fault {
    pub message: String,
    pub help: Option<String>,
}

impl From<PathError> for Fault {
    fn from(error: PathError) -> Self {
        Self { message: error.to_string(), help: None }
    }
}

/// A source each of whose names may be a pattern.
pub fn source_path(text: &str) -> Result<ImagePath, Fault> {
    let path = ImagePath::clamped(text.as_bytes())?;
    for name in path.names().filter(|name| is_wild(name)) {
        if let Err(error) = Pattern::parse(name) {
            let message = format!("pattern {} is malformed: {error}", shown(text));
            let help = match error {
                PatternError::Class => {
                    Some("a plain '[' is written [[]; a list of paths is JSON: [\"a\", \"b\"]".to_owned())
                }
                PatternError::Backslash => None,
            };
            return Err(Fault { message, help });
        }
    }
    Ok(path)
}

/// A source of a copy that keeps directories: `base/./pattern`, or a pattern below the root.
pub fn source_below(text: &str) -> Result<CopySource, Fault> {
    let (base, pattern) = text.split_once("/./").unwrap_or(("/", text));
    let (base, pattern) = (source_path(base)?, ImagePath::clamped(pattern.as_bytes())?);
    matcher(Filter::default().taking(&pattern), text)?;
    Ok(CopySource::Below { base, pattern })
}

/// Whether a text is a pattern of what a copy leaves out.
pub fn exclusion(text: &str) -> Result<(), Fault> {
    matcher(Filter::excluding(&[text.to_owned()]), text)
}

/// Reports what is no pattern as a `.dockerignore` has them.
fn matcher(filter: Result<Filter, IgnoreError>, text: &str) -> Result<(), Fault> {
    let problem = match filter {
        Ok(_) => return Ok(()),
        Err(IgnoreError::Malformed { problem, .. }) => problem,
        Err(IgnoreError::LoneExclamation { .. }) => "nothing follows '!'",
        Err(IgnoreError::TooLong { .. }) => "it is too long",
    };
    Err(Fault { message: format!("pattern {} is malformed: {problem}", shown(text)), help: None })
}

/// The part of an owner that no number says, of a linked copy: there is no passwd file where it could be looked up.
pub fn owner_by_name(owner: &str) -> Option<&str> {
    let known = |part: &str| part == "root" || part.bytes().all(|byte| byte.is_ascii_digit());
    owner.split(':').find(|part| !known(part))
}

/// Whether a destination as written must be a directory.
pub fn is_directory(dest: &str) -> bool {
    matches!(dest, "" | ".") || dest.ends_with('/') || dest.ends_with("/.")
}

/// Whether a source asks for more than a root directory; a pattern may match nothing.
pub fn names_a_file(source: &CopySource) -> bool {
    let path = match source {
        CopySource::Path(path) => path,
        CopySource::Below { base, .. } => base,
        CopySource::Url { .. } | CopySource::Git(_) => return false,
    };
    !path.is_root() && !path.names().any(is_wild)
}

/// A mount point; a relative one is below `cwd`.
pub fn mount_target(cwd: &str, target: &str) -> Result<ImagePath, Fault> {
    let path = ImagePath::clamped(clean(cwd, target).as_bytes())?;
    let refused = match path.as_bytes() {
        b"" => "nothing can be mounted over the root",
        b"dev" => "it belongs to the sandbox",
        _ if matches!(path.names().next(), Some(b"proc" | b"sys")) => "it belongs to the sandbox",
        _ => return Ok(path),
    };
    Err(Fault { message: format!("invalid mount target {}: {refused}", shown(target)), help: None })
}

/// The last name of a path as written.
pub fn base_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}
