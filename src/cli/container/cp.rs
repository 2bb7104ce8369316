//! `lith cp`.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufWriter, IsTerminal as _, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::containers;
use super::run::resolv_conf;
use crate::cli::session::Need;
use crate::cli::{CliError, out};
use crate::container::{ContainerError, copy_in, copy_out, find};
use crate::layer::Decompressor;
use crate::layer::read::Limits;
use crate::transfer::{self, Form, Incoming, Outgoing, Owners, Place, TransferError};

/// Arguments of `lith cp`.
#[derive(Debug, Args)]
#[command(
    after_help = "One of the two is CONTAINER:PATH, the other a path here, or - for a tar on a standard stream.
A directory goes into one that is there; with /. behind it only what it holds does.

Examples:
  lith cp web:/etc/nginx .
  lith cp conf/. web:/etc/app
  lith cp web:/var/log - | tar t"
)]
pub struct Cp {
    /// Keep owners, by number
    #[arg(short, long)]
    archive: bool,
    /// Copy what a symlink leads to, if the source is one
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// As it is anyway
    #[arg(short, long, hide = true)]
    quiet: bool,
    #[arg(value_name = "[CONTAINER:]SOURCE")]
    source: OsString,
    #[arg(value_name = "[CONTAINER:]DESTINATION")]
    destination: OsString,
}

/// One side of a copy.
enum Side {
    Stream,
    Here(PathBuf),
    Container { name: String, path: PathBuf },
}

impl Side {
    /// As docker reads it: what is absolute or begins with a dot is a path here.
    fn of(text: &OsStr) -> Self {
        let bytes = text.as_bytes();
        let here = || Self::Here(text.into());
        match bytes {
            b"-" => return Self::Stream,
            [b'/' | b'.', ..] => return here(),
            _ => {}
        }
        let Some(colon) = bytes.iter().position(|byte| *byte == b':') else { return here() };
        let name = String::from_utf8_lossy(&bytes[..colon]).into_owned();
        Self::Container { name, path: OsStr::from_bytes(&bytes[colon + 1..]).into() }
    }
}

impl Cp {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let (source, destination) = (Side::of(&self.source), Side::of(&self.destination));
        let left_out = match (source, destination) {
            (Side::Container { name, path }, to @ (Side::Here(_) | Side::Stream)) => {
                self.from_container(root, &name, path, to)?
            }
            (from @ (Side::Here(_) | Side::Stream), Side::Container { name, path }) => {
                self.to_container(root, &name, path, &from)?
            }
            (Side::Container { .. }, Side::Container { .. }) => {
                return Err(CliError::Usage(
                    "files cannot go from one container to another at once; go by -: lith cp A:PATH - | lith cp - B:DIR"
                        .into(),
                ));
            }
            (Side::Here(_) | Side::Stream, Side::Here(_) | Side::Stream) => {
                return Err(CliError::Usage("neither side is a container; expected CONTAINER:PATH".into()));
            }
        };
        for line in left_out {
            out::err(&format!("warning: {line}\n"));
        }
        Ok(())
    }

    fn owners(&self) -> Owners {
        if self.archive { Owners::Kept } else { Owners::Receiver }
    }

    fn from_container(
        &self,
        root: Option<&Path>,
        name: &str,
        path: PathBuf,
        to: Side,
    ) -> Result<Vec<String>, CliError> {
        let to = match to {
            Side::Stream if io::stdout().is_terminal() => {
                return Err(CliError::Usage(
                    "a tar is nothing for a terminal; lead it into a file or a pipe".into(),
                ));
            }
            Side::Here(path) => Some(path),
            Side::Stream | Side::Container { .. } => None,
        };
        let (session, all) = containers(root, Need::FileSystems)?;
        let container = find(&all, name)?;
        session.check()?;
        let what = Outgoing { path: given(path), follow: self.follow_link };
        let mut left_out = Vec::new();
        let owners = self.owners();
        let more = copy_out(&session.store, &container, what, resolv_conf(), |from| match to {
            Some(path) => {
                let what = Incoming { path: given(path), form: Form::Tree, owners };
                transfer::receive(Place::Caller, &what, from, &mut |line| left_out.push(line))
            }
            None => {
                let mut to = io::stdout().lock();
                io::copy(from, &mut to).and_then(|_| to.flush()).map_err(TransferError::Stream)
            }
        })?;
        left_out.extend(more);
        Ok(left_out)
    }

    fn to_container(
        &self,
        root: Option<&Path>,
        name: &str,
        path: PathBuf,
        from: &Side,
    ) -> Result<Vec<String>, CliError> {
        let (session, all) = containers(root, Need::FileSystems)?;
        let container = find(&all, name)?;
        session.check()?;
        let form = match from {
            Side::Stream => Form::Archive,
            Side::Here(_) | Side::Container { .. } => Form::Tree,
        };
        let what = Incoming { path: given(path), form, owners: self.owners() };
        let mut left_out = Vec::new();
        let more = copy_in(&session.store, &container, what, resolv_conf(), |to| match from {
            Side::Here(path) => {
                let what = Outgoing { path: given(path.clone()), follow: self.follow_link };
                let to = BufWriter::with_capacity(64 << 10, to);
                transfer::send(Place::Caller, &what, to, &mut |line| left_out.push(line))
            }
            Side::Stream | Side::Container { .. } => {
                let plain = Decompressor::new(io::stdin(), Limits::default().unpacking());
                let mut plain = plain.map_err(TransferError::Archive)?;
                io::copy(&mut plain.by_ref(), to).map(drop).map_err(TransferError::Stream)
            }
        })
        .map_err(|error| match error {
            ContainerError::Transfer(TransferError::Missing { path }) => {
                CliError::Usage(format!("{path} is not there"))
            }
            other => other.into(),
        })?;
        left_out.extend(more);
        Ok(left_out)
    }
}

/// An empty path is where one is.
fn given(path: PathBuf) -> PathBuf {
    if path.as_os_str().is_empty() { ".".into() } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_told_as_docker_does() {
        let container = |text: &str| match Side::of(text.as_ref()) {
            Side::Container { name, path } => Some((name, path.to_str().unwrap().to_owned())),
            Side::Here(_) | Side::Stream => None,
        };
        let pair = |name: &str, path: &str| Some((name.to_owned(), path.to_owned()));
        assert_eq!(container("web:/etc"), pair("web", "/etc"));
        assert_eq!(container("web:a:b"), pair("web", "a:b"));
        assert_eq!(container("web:"), pair("web", ""));
        for here in ["/a:b", "./a:b", "../a:b", "a", "-", "."] {
            assert_eq!(container(here), None, "{here}");
        }
        assert!(matches!(Side::of("-".as_ref()), Side::Stream));
    }
}
