//! Where the environment says that the file about registries is.

use std::path::{Path, PathBuf};

use super::CliError;
use super::session::variable;
use crate::diag::Source;
use crate::registries::{MAX_FILE, Registries};
use crate::sys::file::read_regular;

/// What the user, else the machine, says of registries; nothing where there is no file.
pub fn registries() -> Result<Registries, CliError> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(named) = set("LITH_REGISTRIES") {
        return read(&named)?.ok_or_else(|| {
            CliError::Usage(format!(
                "{}: LITH_REGISTRIES names this file, and it is not there",
                named.display()
            ))
        });
    }
    let absolute = |name| set(name).filter(|dir| dir.is_absolute());
    let config = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
    let places = [config, Some("/etc".into())];
    first(places.into_iter().flatten().map(|dir| dir.join("lith/registries.kdl")))
}

/// The first file that is there stands for itself: nothing is put together of several.
fn first(places: impl Iterator<Item = PathBuf>) -> Result<Registries, CliError> {
    for path in places {
        if let Some(registries) = read(&path)? {
            return Ok(registries);
        }
    }
    Ok(Registries::default())
}

fn read(path: &Path) -> Result<Option<Registries>, CliError> {
    let fail = |why: String| CliError::Usage(format!("read {}: {why}", path.display()));
    let bytes = match read_regular(path, MAX_FILE) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(error.to_string())),
    };
    let text = String::from_utf8(bytes).map_err(|_| fail("it is no UTF-8 text".into()))?;
    let source = Source { name: path.display().to_string(), text };
    let directory = std::path::absolute(path).map_err(|error| fail(error.to_string()))?;
    let directory = directory.parent().unwrap_or(Path::new("/"));
    match Registries::parse(&source, directory) {
        Ok(registries) => Ok(Some(registries)),
        Err(diagnostics) => Err(CliError::File { file: Box::new(source), diagnostics }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registries::Transport;

    #[test]
    fn the_first_file_that_is_there_holds() {
        let dir = tempfile::tempdir().unwrap();
        let [own, machine] = ["own.kdl", "machine.kdl"].map(|name| dir.path().join(name));
        let found = || first([own.clone(), machine.clone()].into_iter());
        assert_eq!(found().unwrap(), Registries::default());
        std::fs::write(&machine, "registry \"a.example\" { insecure; ca \"x.pem\"; }").unwrap();
        let machines = found().unwrap();
        assert_eq!(machines.of("a.example").transport, Transport::HttpAllowed);
        assert_eq!(machines.of("a.example").ca.as_deref(), Some(dir.path().join("x.pem").as_path()));
        std::fs::write(&own, "").unwrap();
        assert_eq!(found().unwrap(), Registries::default(), "nothing of the other file is added");
        std::fs::write(&own, "registry").unwrap();
        assert!(matches!(found(), Err(CliError::File { diagnostics, .. }) if diagnostics.len() == 1));
        std::fs::write(&own, b"\xff").unwrap();
        assert!(found().unwrap_err().to_string().contains("no UTF-8 text"));
    }
}
