//! Sources of COPY that the rules leave nothing of.

use crate::path::ImagePath;

use super::Ignore;

impl Ignore {
    /// Whether the rules leave out everything that a source of COPY could mean, as far as they alone can tell: a
    /// directory is left out only if nothing below it is taken back, a pattern if it is left out as it is written.
    pub fn leaves_out(&self, source: &ImagePath) -> bool {
        if self.is_empty() {
            return false;
        }
        if source.is_root() {
            // Whatever its name is, an entry of the root is left out.
            let any = [b"\x01".as_slice(), b"\x01\x02\x01"].map(|name| ImagePath::root().child(name));
            return any.iter().all(|entry| self.is_ignored(entry)) && !self.may_reinclude_below(source);
        }
        self.is_ignored(source) && !self.may_reinclude_below(&fixed(source))
    }
}

/// The directories of a path before its first wildcard; all of it if it has none.
fn fixed(path: &ImagePath) -> ImagePath {
    let plain = path.names().take_while(|name| !name.iter().any(|b| b"*?[\\".contains(b)));
    plain.fold(ImagePath::root(), |above, name| above.child(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources() {
        for (rules, source, left_out) in [
            ("", "a", false),
            ("a", "a", true),
            ("a", "b", false),
            ("a", "a/x", true),
            // Nothing else is taken back.
            ("sub\n!sub/b.txt", "sub/a.txt", true),
            ("sub\n!other.txt", "sub/a.txt", true),
            ("!sub/b.txt\nsub", "sub/a.txt", true),
            // Something is.
            ("sub\n!sub/a.txt", "sub", false),
            ("sub\n!sub/a.txt", "sub/a.txt", false),
            ("sub\n!sub/a.txt", "sub/*.txt", false),
            ("sub\n!sub/a.txt", "", false),
            ("su.b\n!su\\.b/keep.txt", "su.b", false),
            ("**\n!Dockerfile", "Dockerfile", false),
            ("**\n!Dockerfile", "", false),
            // The root is left out by a rule for every name.
            (".*", "", false),
            ("?", "", false),
            ("*", "", true),
            ("**", "", true),
            ("**/*", "", true),
            ("*.txt", "*.txt", true),
            ("a.txt", "*.txt", false),
        ] {
            let ignore = Ignore::parse(rules.as_bytes()).unwrap();
            let path = ImagePath::parse(source.as_bytes()).unwrap();
            assert_eq!(ignore.leaves_out(&path), left_out, "{rules:?} {source}");
        }
    }
}
