//! The cases of `tests/data/dockerignore`; its README has the format.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::path::Path;

use lith::path::ImagePath;

/// One `.dockerignore`, a tree, and what is left of it.
#[derive(Debug, Default)]
pub struct Case {
    /// `theme/name`.
    pub name: String,
    pub rules: Vec<u8>,
    /// Paths that are kept; directories that were written down end with a slash.
    pub kept: Vec<Vec<u8>>,
    /// Paths that are left out, likewise.
    pub left_out: Vec<Vec<u8>>,
    /// Part of the message, where the rules are malformed.
    pub error: Option<String>,
    /// How docker differs.
    pub differs: Option<String>,
}

/// All cases, by theme.
pub fn cases() -> Vec<Case> {
    let mut files = super::data("tests/data/dockerignore");
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    let cases: Vec<Case> = files.iter().flat_map(|file| theme(file)).collect();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "a name is given twice");
    cases
}

fn theme(file: &Path) -> Vec<Case> {
    let theme = file.file_stem().unwrap().to_str().unwrap();
    let text = fs::read_to_string(file).unwrap();
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("=== ") {
            cases.push(Case { name: format!("{theme}/{name}"), ..Case::default() });
            continue;
        }
        let case = cases.last_mut().expect("a case begins with ===");
        match line.split_at_checked(2) {
            _ if line.is_empty() || line.starts_with("# ") => {}
            _ if line.starts_with('|') => {
                case.rules.extend(bytes(&line[1..]));
                case.rules.push(b'\n');
            }
            Some(("\\|", rest)) => case.rules.extend(bytes(rest)),
            Some(("+ ", path)) => case.kept.push(bytes(path)),
            Some(("- ", path)) => case.left_out.push(bytes(path)),
            Some(("! ", message)) => case.error = Some(message.to_owned()),
            Some(("~ ", how)) => case.differs = Some(how.to_owned()),
            _ => panic!("{}: {line:?} is no line of a case", case.name),
        }
    }
    cases
}

/// Resolves `␠`, `␉`, `␍` and `⟨ff⟩`.
fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut parts = text.split('⟨');
    let plain = |out: &mut Vec<u8>, text: &str| {
        out.extend(text.replace('␠', " ").replace('␉', "\t").replace('␍', "\r").into_bytes());
    };
    plain(&mut out, parts.next().unwrap());
    for part in parts {
        let (hex, rest) = part.split_once('⟩').expect("⟩ behind ⟨");
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        out.extend((0..hex.len()).step_by(2).map(byte));
        plain(&mut out, rest);
    }
    out
}

impl Case {
    /// Makes the tree below a directory: empty files and directories.
    pub fn plant(&self, dir: &Path) {
        fs::create_dir_all(dir).unwrap();
        for path in self.kept.iter().chain(&self.left_out) {
            let place = dir.join(image_path(path).as_os_str());
            let planted = if path.ends_with(b"/") {
                fs::create_dir_all(&place)
            } else {
                fs::create_dir_all(place.parent().unwrap()).and_then(|()| fs::write(&place, ""))
            };
            planted.unwrap_or_else(|error| panic!("{}: {}: {error}", self.name, place.display()));
        }
    }

    /// Holds what was found (files and directories, all of them) against what is written down.
    pub fn check(&self, found: &BTreeSet<ImagePath>) -> Result<(), String> {
        let wrong = |what: &str, path: &dyn Debug| {
            let rules = String::from_utf8_lossy(&self.rules);
            Err(format!("{}: {path:?} {what}\n{}", self.name, lith::diag::escape(rules.as_bytes())))
        };
        for path in &self.kept {
            if !found.contains(&image_path(path)) {
                return wrong("should be kept", &lith::diag::escape(path));
            }
        }
        for path in &self.left_out {
            if found.contains(&image_path(path)) {
                return wrong("should be left out", &lith::diag::escape(path));
            }
        }
        let known = |path: &ImagePath| {
            let all = self.kept.iter().chain(&self.left_out);
            all.map(|path| image_path(path)).any(|known| known.strip_prefix(path).is_some())
        };
        match found.iter().find(|path| !known(path)) {
            Some(path) => wrong("was never there", path),
            None => Ok(()),
        }
    }
}

fn image_path(path: &[u8]) -> ImagePath {
    ImagePath::parse(path.strip_suffix(b"/").unwrap_or(path)).unwrap()
}
