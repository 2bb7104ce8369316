//! Paths inside an image: bytes, relative to its root, already validated.
//!
//! Owns: the one place where `..`, `.` and empty components are dealt with. Never touches a file system.

use std::cmp::Ordering;
use std::fmt;

/// The longest path lith stores, in bytes: Linux' PATH_MAX with its terminating zero.
pub const MAX_PATH: usize = 4096;
/// The longest single name, in bytes: NAME_MAX.
pub const MAX_NAME: usize = 255;

/// Why bytes are not a path of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("path {0} leads out of the root with '..'")]
    Escapes(String),
    #[error("path {0} holds a zero byte")]
    Nul(String),
    #[error("path {0} is longer than 4095 bytes")]
    TooLong(String),
    #[error("name {0} is longer than 255 bytes")]
    NameTooLong(String),
}

/// A path below an image's root. Empty means the root itself. No leading or trailing slash, no `.`, no `..`, no
/// empty component, no zero byte, each name at most 255 bytes.
///
/// The order is that of a layer: by name within each directory, depth first, so `a/b` comes before `a.d`.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct ImagePath(Vec<u8>);

impl ImagePath {
    /// The root directory.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// Parses what a layer or an archive names: leading slashes, `.` and doubled slashes are dropped; any `..` is
    /// an error, whether or not it would leave the root.
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        Self::build(bytes, false)
    }

    /// Parses what a person wrote, as `filepath.Join("/", p)` does in Go: `..` is resolved by text and stops at
    /// the root.
    pub fn clamped(bytes: &[u8]) -> Result<Self, PathError> {
        Self::build(bytes, true)
    }

    fn build(bytes: &[u8], clamp: bool) -> Result<Self, PathError> {
        let shown = || crate::diag::escape(&bytes[..bytes.len().min(200)]);
        if bytes.contains(&0) {
            return Err(PathError::Nul(shown()));
        }
        let mut out: Vec<u8> = Vec::with_capacity(bytes.len());
        for name in bytes.split(|b| *b == b'/') {
            match name {
                b"" | b"." => {}
                b".." if clamp => {
                    let cut = out.iter().rposition(|b| *b == b'/').unwrap_or(0);
                    out.truncate(cut);
                }
                b".." => return Err(PathError::Escapes(shown())),
                name if name.len() > MAX_NAME => return Err(PathError::NameTooLong(shown())),
                name => {
                    if !out.is_empty() {
                        out.push(b'/');
                    }
                    out.extend_from_slice(name);
                }
            }
        }
        if out.len() >= MAX_PATH {
            return Err(PathError::TooLong(shown()));
        }
        Ok(Self(out))
    }

    /// Joins further text, cleaned as [`ImagePath::clamped`] does; an absolute `more` replaces this path.
    pub fn join_clamped(&self, more: &[u8]) -> Result<Self, PathError> {
        if more.first() == Some(&b'/') {
            return Self::clamped(more);
        }
        let mut whole = self.0.clone();
        whole.push(b'/');
        whole.extend_from_slice(more);
        Self::clamped(&whole)
    }

    /// This directory's child of the given name. The name comes from a directory listing or another path.
    ///
    /// # Panics
    /// If `name` is empty, `.`, `..`, or holds a slash or a zero byte: a bug of the caller.
    pub fn child(&self, name: &[u8]) -> Self {
        assert!(is_name(name), "a single valid name, not {}", crate::diag::escape(name));
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.len());
        bytes.extend_from_slice(&self.0);
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        Self(bytes)
    }

    /// This path with another whole path below it.
    pub fn join(&self, below: &ImagePath) -> Self {
        match (self.is_root(), below.is_root()) {
            (true, _) => below.clone(),
            (_, true) => self.clone(),
            (false, false) => {
                let mut bytes = self.0.clone();
                bytes.push(b'/');
                bytes.extend_from_slice(&below.0);
                Self(bytes)
            }
        }
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes, without a leading slash; empty for the root.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// For the `*at` calls relative to the root's descriptor: `.` for the root.
    pub fn as_os_str(&self) -> &std::ffi::OsStr {
        use std::os::unix::ffi::OsStrExt as _;
        std::ffi::OsStr::from_bytes(if self.0.is_empty() { b"." } else { &self.0 })
    }

    /// The last name; empty for the root.
    pub fn name(&self) -> &[u8] {
        match self.0.iter().rposition(|b| *b == b'/') {
            Some(at) => &self.0[at + 1..],
            None => &self.0,
        }
    }

    /// The directory that holds this path; `None` for the root.
    pub fn parent(&self) -> Option<ImagePath> {
        if self.is_root() {
            return None;
        }
        let cut = self.0.iter().rposition(|b| *b == b'/').unwrap_or(0);
        Some(Self(self.0[..cut].to_vec()))
    }

    /// Every directory above this path, from the first below the root down to its parent. The root is left out.
    pub fn ancestors(&self) -> impl Iterator<Item = ImagePath> + '_ {
        self.0.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| Self(self.0[..at].to_vec()))
    }

    /// The names from the root down.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/').filter(|name| !name.is_empty())
    }

    /// What is left below `above`; `None` if this path is not `above` or below it.
    pub fn strip_prefix(&self, above: &ImagePath) -> Option<ImagePath> {
        if above.is_root() {
            return Some(self.clone());
        }
        let rest = self.0.strip_prefix(above.0.as_slice())?;
        match rest.first() {
            None => Some(Self::root()),
            Some(b'/') => Some(Self(rest[1..].to_vec())),
            Some(_) => None,
        }
    }

    /// Follows symlinks inside the root, the last name too. `read_link` gives the target of a path that is a symlink
    /// and `None` for anything else; `..` of a target stops at the root. What does not exist is kept as it is
    /// written. `None` if the way leads through more than 40 links, or to a name or path that cannot be.
    ///
    /// # Errors
    /// Those of `read_link`.
    pub fn follow<E>(
        &self,
        mut read_link: impl FnMut(&ImagePath) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Option<ImagePath>, E> {
        const MAX_LINKS: usize = 40;
        let mut done = Self::root();
        // Names still to go, the next one at the end.
        let mut ahead: Vec<Vec<u8>> = self.names().map(<[u8]>::to_vec).rev().collect();
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            if name == b".." {
                done = done.parent().unwrap_or_default();
                continue;
            }
            if !is_name(&name) || done.0.len() + 1 + name.len() >= MAX_PATH {
                return Ok(None);
            }
            let next = done.child(&name);
            let Some(target) = read_link(&next)? else {
                done = next;
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return Ok(None);
            }
            if target.first() == Some(&b'/') {
                done = Self::root();
            }
            let names = target.split(|b| *b == b'/').filter(|name| !matches!(*name, b"" | b"."));
            ahead.extend(names.map(<[u8]>::to_vec).rev());
        }
        Ok(Some(done))
    }

    /// With a leading slash, for a config or a process. Not escaped.
    pub fn absolute(&self) -> Vec<u8> {
        let mut bytes = vec![b'/'];
        bytes.extend_from_slice(&self.0);
        bytes
    }
}

/// Whether bytes are one valid name of a directory entry.
pub fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..")
        && name.len() <= MAX_NAME
        && !name.iter().any(|b| matches!(b, b'/' | 0))
}

/// Orders paths as a layer does: by name within each directory, a directory before what it holds.
pub fn layer_order(a: &[u8], b: &[u8]) -> Ordering {
    match a.iter().zip(b).position(|(x, y)| x != y) {
        None => a.len().cmp(&b.len()),
        Some(at) => {
            let rank = |byte: u8| if byte == b'/' { 0 } else { byte };
            rank(a[at]).cmp(&rank(b[at]))
        }
    }
}

impl serde::Serialize for ImagePath {
    /// As text with a leading slash; what is not UTF-8 as `hex:` and the bytes.
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => s.collect_str(&format_args!("/{text}")),
            Err(_) => s.collect_str(&format_args!("hex:{}", crate::digest::hex(&self.0))),
        }
    }
}

impl<'de> serde::Deserialize<'de> for ImagePath {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let text = String::deserialize(d)?;
        let bytes = match text.strip_prefix("hex:") {
            None => text.into_bytes(),
            Some(digits) => (0..digits.len())
                .step_by(2)
                .map(|at| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
                .collect::<Option<Vec<u8>>>()
                .ok_or_else(|| D::Error::custom("bad hex in a path"))?,
        };
        Self::parse(&bytes).map_err(D::Error::custom)
    }
}

impl Ord for ImagePath {
    fn cmp(&self, other: &Self) -> Ordering {
        layer_order(&self.0, &other.0)
    }
}

impl PartialOrd for ImagePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for ImagePath {
    /// With a leading slash, unprintable bytes escaped: safe on a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", crate::diag::escape(&self.0))
    }
}

impl fmt::Debug for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImagePath({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> ImagePath {
        ImagePath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn parse_cleans_and_refuses() {
        assert_eq!(path("/a//./b/").as_bytes(), b"a/b");
        assert!(path("./").is_root());
        for bad in ["../x", "a/../../x", "a/..", ".."] {
            assert!(matches!(ImagePath::parse(bad.as_bytes()), Err(PathError::Escapes(_))), "{bad}");
        }
        assert!(matches!(ImagePath::parse(b"a\0b"), Err(PathError::Nul(_))));
        assert!(matches!(ImagePath::parse(&[b'x'; 256]), Err(PathError::NameTooLong(_))));
        assert!(matches!(ImagePath::parse(&b"abc/".repeat(1025)), Err(PathError::TooLong(_))));
    }

    #[test]
    fn clamped_stops_at_the_root() {
        let clamped = |t: &str| ImagePath::clamped(t.as_bytes()).unwrap();
        assert_eq!(clamped("/../x").as_bytes(), b"x");
        assert_eq!(clamped("a/../../x/./y/..").as_bytes(), b"x");
        assert_eq!(path("w/d").join_clamped(b"../x").unwrap().as_bytes(), b"w/x");
        assert_eq!(path("w/d").join_clamped(b"/x").unwrap().as_bytes(), b"x");
    }

    #[test]
    fn order_is_that_of_a_layer() {
        let mut paths: Vec<_> = ["a.d", "a/b/c", "a", "a/b", "a.d/z", "a-"].iter().map(|t| path(t)).collect();
        paths.sort();
        let shown: Vec<_> = paths.iter().map(|p| p.to_string()).collect();
        assert_eq!(shown, ["/a", "/a/b", "/a/b/c", "/a-", "/a.d", "/a.d/z"]);
    }

    #[test]
    fn family() {
        let p = path("a/b/c");
        assert_eq!(p.name(), b"c");
        assert_eq!(p.parent(), Some(path("a/b")));
        assert_eq!(path("a").parent(), Some(ImagePath::root()));
        assert_eq!(p.ancestors().collect::<Vec<_>>(), [path("a"), path("a/b")]);
        assert_eq!(p.strip_prefix(&path("a")), Some(path("b/c")));
        assert_eq!(path("ab").strip_prefix(&path("a")), None);
    }

    #[test]
    fn links_are_followed_inside_the_root() {
        let long = "n".repeat(300);
        let links =
            [("a", "../../b"), ("b", "/c/d"), ("c/d", "../e/./f"), ("loop", "loop"), ("long", long.as_str())];
        let follow = |text: &str| {
            let read = |p: &ImagePath| {
                let found = links.iter().find(|(name, _)| name.as_bytes() == p.as_bytes());
                Ok::<_, ()>(found.map(|(_, target)| target.as_bytes().to_vec()))
            };
            path(text).follow(read).unwrap()
        };
        assert_eq!(follow("a/x"), Some(path("e/f/x")));
        assert_eq!(follow("nothing/here"), Some(path("nothing/here")));
        assert_eq!(follow("loop/x"), None);
        assert_eq!(follow("long"), None, "a name that cannot be is no reason to panic");
    }

    proptest! {
        #[test]
        fn order_equals_that_of_the_names(a in "[a./-]{0,8}", b in "[a./-]{0,8}") {
            let (Ok(a), Ok(b)) = (ImagePath::parse(a.as_bytes()), ImagePath::parse(b.as_bytes())) else { return Ok(()) };
            prop_assert_eq!(a.cmp(&b), a.names().cmp(b.names()));
        }

        #[test]
        fn json_round_trip(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let Ok(path) = ImagePath::parse(&bytes) else { return Ok(()) };
            let json = serde_json::to_string(&path).unwrap();
            prop_assert_eq!(serde_json::from_str::<ImagePath>(&json).unwrap(), path);
        }

        #[test]
        fn clamped_never_fails_on_dots(text in "[ab./]{0,40}") {
            let p = ImagePath::clamped(text.as_bytes()).unwrap();
            prop_assert_eq!(ImagePath::parse(p.as_bytes()).unwrap(), p);
        }
    }
}
