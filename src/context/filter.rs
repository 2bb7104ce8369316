//! Which entries of a source a COPY takes: those that one pattern names (`--parents`), less those that others leave
//! out (`--exclude`). Both match as `.dockerignore` does. Pure.

use super::ignore::{Ignore, IgnoreError, ParentMatch};
use crate::path::ImagePath;

/// The patterns of one source.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Takes what matches and all below it; everything if there is none.
    include: Option<Ignore>,
    exclude: Ignore,
}

/// What is known of an entry on the way down.
struct Above {
    path: ImagePath,
    include: ParentMatch,
    exclude: ParentMatch,
}

impl Filter {
    /// Leaves out what matches one of the patterns.
    pub fn excluding(patterns: &[String]) -> Result<Self, IgnoreError> {
        Ok(Self { include: None, exclude: Ignore::patterns(patterns)? })
    }

    /// Takes only what a pattern names.
    pub fn taking(self, pattern: &ImagePath) -> Result<Self, IgnoreError> {
        if pattern.is_root() {
            return Ok(self);
        }
        let mut text = String::from_utf8_lossy(pattern.as_bytes()).into_owned();
        // A name that begins so means itself here.
        if text.starts_with('!') {
            text.insert(0, '\\');
        }
        Ok(Self { include: Some(Ignore::patterns(&[text])?), ..self })
    }

    /// Whether a file that is a source itself is left out: it goes by its name.
    pub fn drops(&self, name: &[u8]) -> bool {
        !name.is_empty() && self.exclude.is_ignored(&ImagePath::root().child(name))
    }

    /// The entries that stay, of those below a directory in layer order. A directory stays if it is taken itself, or for
    /// what it holds.
    pub fn select<T>(
        &self,
        entries: Vec<T>,
        path: impl Fn(&T) -> &ImagePath,
        is_dir: impl Fn(&T) -> bool,
    ) -> Vec<T> {
        if self.include.is_none() && self.exclude.is_empty() {
            return entries;
        }
        let mut keep = vec![false; entries.len()];
        let mut way: Vec<(Above, usize)> = Vec::new();
        for (at, entry) in entries.iter().enumerate() {
            let path = path(entry);
            while way.last().is_some_and(|(above, _)| path.strip_prefix(&above.path).is_none()) {
                way.pop();
            }
            let root = ParentMatch::root();
            let (include, exclude) =
                way.last().map_or((&root, &root), |(above, _)| (&above.include, &above.exclude));
            let (taken, include) = match &self.include {
                Some(patterns) => patterns.enter(include, path),
                None => (true, ParentMatch::root()),
            };
            let (dropped, exclude) = self.exclude.enter(exclude, path);
            keep[at] = taken && !dropped;
            if keep[at] {
                way.iter().for_each(|(_, above)| keep[*above] = true);
            }
            if is_dir(entry) {
                way.push((Above { path: path.clone(), include, exclude }, at));
            }
        }
        entries.into_iter().zip(keep).filter_map(|(entry, keep)| keep.then_some(entry)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names that end in a slash are directories.
    fn select(filter: &Filter, names: &[&'static str]) -> Vec<&'static str> {
        let entries: Vec<(ImagePath, &'static str)> =
            names.iter().map(|name| (ImagePath::clamped(name.as_bytes()).unwrap(), *name)).collect();
        let kept = filter.select(entries, |entry| &entry.0, |entry| entry.1.ends_with('/'));
        kept.into_iter().map(|entry| entry.1).collect()
    }

    const TREE: [&str; 8] = ["a/", "a/b/", "a/b/x.c", "a/b/x.h", "a/y.c", "c/", "c/empty/", "z.c"];

    fn excluding(patterns: &[&str]) -> Filter {
        Filter::excluding(&patterns.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn taking(pattern: &str) -> Filter {
        Filter::default().taking(&ImagePath::parse(pattern.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn what_is_left_out() {
        assert_eq!(select(&excluding(&[]), &TREE), TREE);
        assert_eq!(select(&excluding(&["*.c"]), &TREE), TREE[..7]);
        assert_eq!(select(&excluding(&["**/*.c"]), &TREE), ["a/", "a/b/", "a/b/x.h", "c/", "c/empty/"]);
        assert_eq!(
            select(&excluding(&["a", "!a/b/x.h"]), &TREE),
            ["a/", "a/b/", "a/b/x.h", "c/", "c/empty/", "z.c"]
        );
        assert!(excluding(&["*.txt"]).drops(b"a.txt") && !excluding(&["*.txt"]).drops(b"a.md"));
    }

    #[test]
    fn what_is_taken() {
        assert_eq!(select(&taking("a/b/x.c"), &TREE), ["a/", "a/b/", "a/b/x.c"]);
        assert_eq!(select(&taking("a"), &TREE), TREE[..5]);
        assert_eq!(select(&taking("**/*.c"), &TREE), ["a/", "a/b/", "a/b/x.c", "a/y.c", "z.c"]);
        assert_eq!(select(&taking("*/*.c"), &TREE), ["a/", "a/y.c"]);
        assert_eq!(select(&taking("nothing"), &TREE), [""; 0]);
        let both = excluding(&["**/b"]).taking(&ImagePath::parse(b"a").unwrap()).unwrap();
        assert_eq!(select(&both, &TREE), ["a/", "a/y.c"]);
    }
}
