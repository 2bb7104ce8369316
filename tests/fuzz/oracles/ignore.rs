//! A `.dockerignore` and paths: zero bytes stand between them.

use lith::context::ignore::{Ignore, ParentMatch};
use lith::path::ImagePath;

use super::glob::Rules;

/// Reads the file, and asks it about the paths.
pub fn check(bytes: &[u8]) {
    let mut parts = bytes.split(|byte| *byte == 0);
    let text = parts.next().expect("split gives one part at least");
    let paths: Vec<ImagePath> = parts.filter_map(|path| ImagePath::parse(path).ok()).collect();
    match Ignore::parse(text) {
        Ok(ignore) => paths.iter().for_each(|path| check_path(text, &ignore, path)),
        Err(error) => {
            let message = error.to_string();
            assert!(super::is_printable(&message), "{message:?}");
            let line = message.strip_prefix("line ").and_then(|rest| rest.split([':', ' ']).next());
            let line: usize = line.and_then(|line| line.parse().ok()).expect("an error names its line");
            assert!((1..=text.split(|byte| *byte == b'\n').count()).contains(&line), "{message}");
        }
    }
}

/// What must hold for a file that was read and a path.
pub fn check_path(text: &[u8], ignore: &Ignore, path: &ImagePath) {
    let ignored = ignore.is_ignored(path);
    if path.is_root() {
        assert!(!ignored, "the root is the context");
        return;
    }
    let whole = || format!("{path} by {:?}", String::from_utf8_lossy(text));
    if let (Ok(text), Ok(name)) = (std::str::from_utf8(text), std::str::from_utf8(path.as_bytes())) {
        assert_eq!(ignored, Rules::new(text).leaves_out(name), "{}", whole());
    }
    // A walker that looks only where it must gets here if the path is kept.
    let mut parent = ParentMatch::root();
    for dir in path.ancestors() {
        let (out, matched) = ignore.enter(&parent, &dir);
        assert!(ignored || !out || ignore.may_reinclude_below(&dir), "{dir} is not looked into: {}", whole());
        parent = matched;
    }
    assert_eq!(ignore.enter(&parent, path).0, ignored, "{}", whole());
}
