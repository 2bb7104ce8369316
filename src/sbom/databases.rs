//! What package managers write down of what is installed.

use super::{Kind, Package};

/// The most packages that are listed.
const MOST: usize = 100_000;

/// Why a database cannot be listed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SbomError {
    #[error("it lists more than {MOST} packages")]
    TooMany,
    #[error("package {name} has no {field}")]
    Missing { name: String, field: &'static str },
}

/// What an image says it is, in `os-release`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Distribution {
    pub id: Option<String>,
    pub version: Option<String>,
}

impl Distribution {
    /// Reads os-release(5); quotes are taken off, nothing is expanded.
    pub fn parse(text: &str) -> Self {
        let find = |wanted: &str| {
            let mut lines = text.lines().filter_map(|line| line.trim().split_once('='));
            let (_, value) = lines.rfind(|(name, _)| *name == wanted)?;
            let value = value.trim().trim_matches(['"', '\'']);
            (!value.is_empty()).then(|| value.to_owned())
        };
        Self { id: find("ID"), version: find("VERSION_ID") }
    }
}

/// Packages of a dpkg status file.
pub fn dpkg(status: &[u8]) -> Result<Vec<Package>, SbomError> {
    let mut packages = Vec::new();
    for stanza in stanzas(&String::from_utf8_lossy(status), ": ") {
        let find = |wanted: &str| stanza.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
        let Some(name) = find("Package") else { continue };
        let absent = ["not-installed", "config-files"];
        if find("Status").is_some_and(|status| absent.iter().any(|word| status.ends_with(word))) {
            continue;
        }
        let missing = |field| SbomError::Missing { name: crate::diag::escape(name.as_bytes()), field };
        let version = find("Version").ok_or_else(|| missing("Version"))?;
        let source = find("Source").map(|source| match source.split_once(" (") {
            Some((name, version)) => (name.to_owned(), version.trim_end_matches(')').to_owned()),
            None => (source.to_owned(), version.to_owned()),
        });
        packages.push(Package {
            kind: Kind::Deb,
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: find("Architecture").ok_or_else(|| missing("Architecture"))?.to_owned(),
            source,
        });
        if packages.len() > MOST {
            return Err(SbomError::TooMany);
        }
    }
    Ok(packages)
}

/// Packages of apk's list of what is installed.
pub fn apk(installed: &[u8]) -> Result<Vec<Package>, SbomError> {
    let mut packages = Vec::new();
    for stanza in stanzas(&String::from_utf8_lossy(installed), ":") {
        let find = |wanted: &str| stanza.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
        let Some(name) = find("P") else { continue };
        let missing = |field| SbomError::Missing { name: crate::diag::escape(name.as_bytes()), field };
        let version = find("V").ok_or_else(|| missing("V: (version)"))?;
        packages.push(Package {
            kind: Kind::Apk,
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: find("A").ok_or_else(|| missing("A: (architecture)"))?.to_owned(),
            source: find("o").filter(|origin| *origin != name).map(|origin| (origin.into(), version.into())),
        });
        if packages.len() > MOST {
            return Err(SbomError::TooMany);
        }
    }
    Ok(packages)
}

/// Fields of stanzas that empty lines part; lines that continue a field are left out.
fn stanzas<'a>(text: &'a str, mark: &'a str) -> impl Iterator<Item = Vec<(&'a str, &'a str)>> {
    text.split("\n\n").map(move |stanza| {
        let lines = stanza.lines().filter(|line| !line.starts_with([' ', '\t']));
        lines.filter_map(|line| line.split_once(mark)).map(|(name, value)| (name, value.trim())).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lacks_a_field_is_named() {
        let missing = |name: &str, field| Err(SbomError::Missing { name: name.into(), field });
        assert_eq!(dpkg(b"Package: a\nArchitecture: all\n"), missing("a", "Version"));
        assert_eq!(dpkg(b"Package: a\nVersion: 1\n"), missing("a", "Architecture"));
        assert_eq!(apk(b"P:a\nA:x\n"), missing("a", "V: (version)"));
        assert_eq!(dpkg(b"\n\n\nno stanza\n"), Ok(vec![]));
    }

    #[test]
    fn an_image_need_not_say_what_it_is() {
        assert_eq!(Distribution::parse("garbage\nID=\n"), Distribution::default());
        let quoted = Distribution::parse("ID='alpine'\nVERSION_ID=\"3.22\"\nID_LIKE=x\n");
        assert_eq!(quoted, Distribution { id: Some("alpine".into()), version: Some("3.22".into()) });
    }
}
