//! Where a machine takes its packages from: `sources.list` and `*.sources` (sources.list(5)).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::DebianError;
use super::control::{Paragraph, paragraphs};
use super::validity::Validity;
use crate::recipe::PackageSet;

/// What lith reads of the machine it runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// apt's configuration.
    pub apt: PathBuf,
    /// Where distributions keep the keys of their archives.
    pub keyrings: PathBuf,
    /// Seconds since 1970 by the machine's clock.
    pub now: i64,
}

/// One suite of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Without a slash at the end.
    pub uri: String,
    pub suite: String,
    /// At least one, none twice.
    pub components: Vec<String>,
    pub keys: Keys,
    pub validity: Validity,
}

/// Whose signature counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// Any that the machine trusts for every archive.
    Machine,
    Files(Vec<PathBuf>),
    /// A key block that stands in the source itself.
    Inline(String),
}

/// The component that is taken if none is named.
const MAIN: &str = "main";

impl Machine {
    /// A machine as distributions lay it out.
    pub fn new(now: i64) -> Self {
        Self { apt: "/etc/apt".into(), keyrings: "/usr/share/keyrings".into(), now }
    }

    /// The sources of a set, in the order in which they are asked: the mirror's, else the machine's own for the suite,
    /// its updates and its security updates.
    pub fn sources(&self, set: &PackageSet, architecture: &str) -> Result<Vec<Source>, DebianError> {
        let mut sources = match &set.mirror {
            Some(mirror) => vec![Source {
                uri: mirror.trim_end_matches('/').to_owned(),
                suite: set.suite.clone(),
                components: vec![],
                keys: Keys::Machine,
                validity: Validity::default(),
            }],
            None => self.own(&set.suite, architecture)?,
        };
        let wanted = components(set);
        for source in &mut sources {
            match set.mirror {
                Some(_) => source.components.clone_from(&wanted),
                None => source.components.retain(|own| wanted.contains(own)),
            }
            if let Some(moment) = &set.snapshot {
                source.uri = at_moment(&source.uri, moment);
            }
        }
        sources.retain(|source| !source.components.is_empty());
        if sources.is_empty() {
            let place = self.apt.clone();
            return Err(DebianError::NoSource { suite: set.suite.clone(), components: wanted, place });
        }
        Ok(sources)
    }

    fn own(&self, suite: &str, architecture: &str) -> Result<Vec<Source>, DebianError> {
        let suites = [
            suite.to_owned(),
            format!("{suite}-updates"),
            format!("{suite}-security"),
            format!("{suite}/updates"),
        ];
        let mut sources: Vec<Source> = Vec::new();
        for path in self.source_files()? {
            let text = fs::read_to_string(&path)
                .map_err(|source| DebianError::Read { path: path.clone(), source })?;
            let found = match path.extension().is_some_and(|extension| extension == "sources") {
                true => deb822(&text, architecture, &path)?,
                false => one_line(&text, architecture, &path)?,
            };
            for source in found.into_iter().filter(|source| suites.contains(&source.suite)) {
                let same = |known: &&mut Source| known.uri == source.uri && known.suite == source.suite;
                match sources.iter_mut().find(same) {
                    Some(known) => {
                        known.components.extend(source.components);
                        dedup(&mut known.components);
                        known.validity = known.validity.or(&source.validity);
                    }
                    None => sources.push(source),
                }
            }
        }
        Ok(sources)
    }

    /// `sources.list`, then what is in `sources.list.d`, by name.
    fn source_files(&self) -> Result<Vec<PathBuf>, DebianError> {
        let main = self.apt.join("sources.list");
        let dir = self.apt.join("sources.list.d");
        let is_source = |path: &PathBuf| {
            path.extension().is_some_and(|extension| extension == "list" || extension == "sources")
        };
        let more = listed(&dir)?.into_iter().filter(is_source);
        Ok(main.exists().then_some(main).into_iter().chain(more).collect())
    }

    /// Keyrings for archives whose source names none: the machine's for all archives, and those of distributions.
    pub fn trusted(&self) -> Result<Vec<PathBuf>, DebianError> {
        let is_keyring = |path: &PathBuf| {
            path.extension().is_some_and(|extension| extension == "gpg" || extension == "asc")
        };
        let mut trusted: Vec<PathBuf> =
            listed(&self.apt.join("trusted.gpg.d"))?.into_iter().filter(is_keyring).collect();
        let of_distributions = DISTRIBUTIONS.iter().map(|name| self.keyrings.join(name));
        trusted.extend(of_distributions.filter(|path| path.exists()));
        Ok(trusted)
    }
}

/// Keyrings that vouch for whole distributions. Others in their directory are for one archive each.
const DISTRIBUTIONS: [&str; 4] = [
    "debian-archive-keyring.gpg",
    "debian-archive-keyring.pgp",
    "ubuntu-archive-keyring.gpg",
    "ubuntu-archive-keyring.pgp",
];

/// The components that a set wants.
fn components(set: &PackageSet) -> Vec<String> {
    let mut wanted = set.components.clone();
    if wanted.is_empty() {
        wanted.push(MAIN.to_owned());
    }
    dedup(&mut wanted);
    wanted
}

fn dedup(names: &mut Vec<String>) {
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
}

/// An archive's URL as of a moment: the moment follows it, or takes the place of another.
fn at_moment(uri: &str, moment: &str) -> String {
    let (rest, last) = uri.rsplit_once('/').unwrap_or((uri, ""));
    if is_moment(last) { format!("{rest}/{moment}") } else { format!("{uri}/{moment}") }
}

/// `20261101T000000Z`.
pub fn is_moment(text: &str) -> bool {
    let shape = |(at, byte): (usize, u8)| match at {
        8 => byte == b'T',
        15 => byte == b'Z',
        _ => byte.is_ascii_digit(),
    };
    text.len() == 16 && text.bytes().enumerate().all(shape)
}

fn listed(dir: &Path) -> Result<Vec<PathBuf>, DebianError> {
    match crate::sys::dir::list_path(dir) {
        Ok(entries) => {
            use std::os::unix::ffi::OsStrExt as _;
            let name = |name: &[u8]| dir.join(std::ffi::OsStr::from_bytes(name));
            Ok(entries.iter().map(|entry| name(&entry.name)).collect())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(DebianError::Read { path: dir.to_owned(), source }),
    }
}

/// The sources of a `*.sources` file.
fn deb822(text: &str, architecture: &str, path: &Path) -> Result<Vec<Source>, DebianError> {
    let bad = |reason: String| DebianError::SourceFile { path: path.to_owned(), reason };
    let mut sources = Vec::new();
    for paragraph in paragraphs(text).map_err(|error| bad(error.to_string()))? {
        let words = |name: &str| -> Vec<String> {
            paragraph.get(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
        };
        let is_off = matches!(paragraph.get("Enabled"), Some("no" | "false" | "without" | "off" | "disable"));
        let architectures = words("Architectures");
        let other = !architectures.is_empty() && !architectures.iter().any(|own| own == architecture);
        if is_off || other || !words("Types").iter().any(|kind| kind == "deb") {
            continue;
        }
        let keys = keys(&paragraph).map_err(bad)?;
        let validity = Validity::of_fields(&paragraph);
        for uri in words("URIs") {
            for suite in words("Suites") {
                let source = source(&uri, &suite, words("Components"), keys.clone());
                sources.push(Source { validity: validity.clone(), ..source });
            }
        }
    }
    Ok(sources)
}

fn source(uri: &str, suite: &str, components: Vec<String>, keys: Keys) -> Source {
    Source {
        uri: uri.trim_end_matches('/').to_owned(),
        suite: suite.to_owned(),
        components,
        keys,
        validity: Validity::default(),
    }
}

/// `Signed-By` of a paragraph: files, or a key block whose empty lines are dots.
fn keys(paragraph: &Paragraph<'_>) -> Result<Keys, String> {
    let Some(value) = paragraph.get("Signed-By") else { return Ok(Keys::Machine) };
    if value.starts_with("-----BEGIN PGP") {
        let lines = value.lines().map(str::trim).map(|line| if line == "." { "" } else { line });
        return Ok(Keys::Inline(lines.collect::<Vec<_>>().join("\n")));
    }
    files(value)
}

/// Keyrings by their paths; what is no path is the fingerprint of a key.
fn files(value: &str) -> Result<Keys, String> {
    let words = || value.split([',', ' ', '\t', '\n']).filter(|word| !word.is_empty());
    match words().find(|word| !word.starts_with('/')) {
        Some(word) => Err(format!("Signed-By names the key {word}; name a file that holds it instead")),
        None => Ok(Keys::Files(words().map(PathBuf::from).collect())),
    }
}

/// The sources of a `*.list` file: `deb [options] uri suite component…`.
fn one_line(text: &str, architecture: &str, path: &Path) -> Result<Vec<Source>, DebianError> {
    let mut sources = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some(rest) = line.strip_prefix("deb").filter(|rest| rest.starts_with([' ', '\t'])) else {
            continue;
        };
        let bad = |reason: String| DebianError::SourceFile { path: path.to_owned(), reason };
        let rest = rest.trim_start();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(inner) => {
                inner.split_once(']').ok_or_else(|| bad(format!("no ] ends the options of {line:?}")))?
            }
            None => ("", rest),
        };
        let option = |name: &str| {
            let mut pairs = options.split_whitespace().filter_map(|option| option.split_once('='));
            pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
        };
        if option("arch").is_some_and(|own| !own.split(',').any(|own| own == architecture)) {
            continue;
        }
        let keys = option("signed-by").map_or(Ok(Keys::Machine), files).map_err(bad)?;
        let mut words = rest.split_whitespace();
        if let (Some(uri), Some(suite)) = (words.next(), words.next()) {
            let source = source(uri, suite, words.map(str::to_owned).collect(), keys);
            sources.push(Source { validity: Validity::of_options(option), ..source });
        }
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(mirror: Option<&str>, snapshot: Option<&str>) -> PackageSet {
        PackageSet {
            suite: "bookworm".into(),
            components: vec![],
            mirror: mirror.map(str::to_owned),
            snapshot: snapshot.map(str::to_owned),
            names: vec![],
            layers: vec![],
            essential: false,
            configure: false,
        }
    }

    #[test]
    fn both_forms() {
        let text = "Types: deb deb-src\nURIs: http://a.invalid/debian/\nSuites: bookworm trixie\nComponents: main contrib\nSigned-By: /k.gpg\nCheck-Valid-Until: no\nValid-Until-Max: 60\n\nTypes: deb\nEnabled: no\nURIs: http://b.invalid\nSuites: x\nComponents: main\n";
        let found = deb822(text, "amd64", Path::new("x")).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].uri, "http://a.invalid/debian");
        assert_eq!(found[1].suite, "trixie");
        assert_eq!(found[0].keys, Keys::Files(vec!["/k.gpg".into()]));
        assert_eq!(found[1].validity, Validity { check: Some(false), least: None, most: Some(60) });
        let text = "# deb x y z\ndeb-src http://a.invalid s main\ndeb [arch=arm64] http://a.invalid s main\ndeb [ signed-by=/k.asc arch=amd64,arm64 check-valid-until=no valid-until-min=5 ] http://a.invalid s main contrib # why\n";
        let found = one_line(text, "amd64", Path::new("x")).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].components, ["main", "contrib"]);
        assert_eq!(found[0].keys, Keys::Files(vec!["/k.asc".into()]));
        assert_eq!(found[0].validity, Validity { check: Some(false), least: Some(5), most: None });
        assert!(one_line("deb [signed-by=ABCD] http://a.invalid s main", "amd64", Path::new("x")).is_err());
    }

    #[test]
    fn keys_in_the_source() {
        let text = "Types: deb\nURIs: u\nSuites: s\nComponents: c\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n -----END PGP PUBLIC KEY BLOCK-----\n";
        let found = deb822(text, "amd64", Path::new("x")).unwrap();
        let Keys::Inline(block) = &found[0].keys else { panic!("{found:?}") };
        assert_eq!(block.lines().nth(1), Some(""));
    }

    #[test]
    fn a_mirror_and_a_moment() {
        let machine = Machine { apt: "/nonexistent".into(), keyrings: "/nonexistent".into(), now: 0 };
        let uri = |mirror, snapshot| machine.sources(&set(mirror, snapshot), "amd64").unwrap()[0].uri.clone();
        let moment = "20261101T000000Z";
        assert_eq!(uri(Some("http://m.invalid/debian/"), None), "http://m.invalid/debian");
        assert_eq!(
            uri(Some("http://m.invalid/debian"), Some(moment)),
            format!("http://m.invalid/debian/{moment}")
        );
        let other = "http://m.invalid/debian/20200101T000000Z";
        assert_eq!(uri(Some(other), Some(moment)), format!("http://m.invalid/debian/{moment}"));
        assert!(matches!(machine.sources(&set(None, None), "amd64"), Err(DebianError::NoSource { .. })));
        assert!(!is_moment("20261101"));
    }
}
