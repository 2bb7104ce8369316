//! `--secret` and `--ssh`: what steps may use without it showing anywhere.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;

use clap::Args;

use super::session::variable;
use super::{CliError, out};
use crate::csv;
use crate::exec::mask::SHORTEST;
use crate::exec::secrets::Secrets;

/// The largest secret, as in BuildKit.
const LARGEST: u64 = 500 << 10;

/// Options about secrets.
#[derive(Debug, Args)]
pub struct SecretArgs {
    /// A value for RUN --mount=type=secret: id=ID[,src=FILE|env=NAME][,key=TEXT]; without a source it is the variable or
    /// the file ID. A change of TEXT reruns the steps that use it; a change of the value alone does not
    #[arg(long, value_name = "SPEC")]
    secret: Vec<String>,
    /// An agent for RUN --mount=type=ssh: default, or ID[=SOCKET] [default socket: $SSH_AUTH_SOCK]
    #[arg(long, value_name = "ID[=SOCKET]")]
    ssh: Vec<String>,
}

impl SecretArgs {
    /// Reads everything, once, before any step runs.
    pub fn read(&self) -> Result<Secrets, CliError> {
        let mut secrets = Secrets::default();
        for text in &self.secret {
            let spec = Spec::parse(text)?;
            let value = spec.read()?;
            if value.trim_ascii().len() < SHORTEST {
                out::err(&format!(
                    "warning: secret {} is too short to be masked in the output of steps\n",
                    spec.id
                ));
            }
            secrets.add(spec.id, value, spec.key);
        }
        for text in &self.ssh {
            let (id, socket) = agent(text)?;
            secrets.add_agent(id, socket);
        }
        Ok(secrets)
    }
}

/// One `--secret`.
struct Spec {
    id: String,
    source: Source,
    key: Option<String>,
}

enum Source {
    File(PathBuf),
    Variable(String),
    /// The variable of that name, else the file.
    Id,
}

impl Spec {
    fn parse(text: &str) -> Result<Self, CliError> {
        // The text may hold anything but the value, so it may be shown.
        let fail = |message: String| CliError::Usage(format!("--secret {text}: {message}"));
        let fields = csv::record(text).ok_or_else(|| fail("a quote is not closed".into()))?;
        let (mut id, mut file, mut variable, mut kind, mut key) = (None, None, None, None, None);
        for field in fields {
            let (name, value) = field
                .text
                .split_once('=')
                .ok_or_else(|| fail(format!("{} is not of the form key=value", field.text)))?;
            let place = match name.to_ascii_lowercase().as_str() {
                "id" => &mut id,
                "src" | "source" => &mut file,
                "env" => &mut variable,
                "type" => &mut kind,
                "key" => &mut key,
                other => return Err(fail(format!("unexpected key {other}; use id, src, env, type or key"))),
            };
            *place = Some(value.to_owned());
        }
        let id = id.filter(|id| !id.is_empty()).ok_or_else(|| fail("id=ID is missing".into()))?;
        let source = match (kind.as_deref(), file, variable) {
            (_, Some(_), Some(_)) => return Err(fail("src and env exclude each other".into())),
            (None | Some("file"), Some(file), None) => Source::File(file.into()),
            (Some("env"), Some(name), None) | (None | Some("env"), None, Some(name)) => {
                Source::Variable(name)
            }
            (Some("env"), None, None) => Source::Variable(id.clone()),
            (Some("file"), None, None) => Source::File(id.clone().into()),
            (None, None, None) => Source::Id,
            (Some("file"), None, Some(_)) => return Err(fail("type=file has no env".into())),
            (Some(other), _, _) => return Err(fail(format!("type {other} is not file or env"))),
        };
        Ok(Self { id, source, key })
    }

    fn read(&self) -> Result<Vec<u8>, CliError> {
        match &self.source {
            Source::Variable(name) => variable(name).map(String::into_bytes).ok_or_else(|| {
                CliError::Usage(format!("--secret {}: the environment has no variable {name}", self.id))
            }),
            Source::File(path) => self.read_file(path),
            Source::Id => match variable(&self.id) {
                Some(value) => Ok(value.into_bytes()),
                None => self.read_file(&PathBuf::from(&self.id)),
            },
        }
    }

    fn read_file(&self, path: &PathBuf) -> Result<Vec<u8>, CliError> {
        let fail = |why: String| CliError::Usage(format!("--secret {}: {}: {why}", self.id, path.display()));
        let file = File::open(path).map_err(|error| fail(error.to_string()))?;
        let mut value = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut value).map_err(|error| fail(error.to_string()))?;
        if value.len() as u64 > LARGEST {
            return Err(fail(format!("it is larger than the limit of {LARGEST} bytes")));
        }
        Ok(value)
    }
}

/// `ID[=SOCKET]`.
fn agent(text: &str) -> Result<(String, PathBuf), CliError> {
    let fail = |message: String| CliError::Usage(format!("--ssh {text}: {message}"));
    let (id, socket) = match text.split_once('=') {
        Some((id, socket)) => (id, PathBuf::from(socket)),
        None => match variable("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty()) {
            Some(socket) => (text, PathBuf::from(socket)),
            None => return Err(fail("SSH_AUTH_SOCK names no agent; start one, or write ID=SOCKET".into())),
        },
    };
    if id.is_empty() {
        return Err(fail("the id is empty".into()));
    }
    let meta = std::fs::metadata(&socket).map_err(|error| fail(format!("{}: {error}", socket.display())))?;
    if !meta.file_type().is_socket() {
        return Err(fail(format!(
            "{} is no socket; add the key to an agent (ssh-add) and name the agent's socket",
            socket.display()
        )));
    }
    Ok((id.to_owned(), socket))
}
