//! The short texts of the command line and of FROM: platforms, references, image paths.

use std::fmt::Display;
use std::str::FromStr;

use lith::oci::Reference;
use lith::path::ImagePath;
use lith::platform::Platform;

/// Checks one text as each of them.
pub fn check(bytes: &[u8]) {
    if let Ok(path) = ImagePath::parse(bytes) {
        assert_eq!(ImagePath::parse(&path.absolute()).as_ref(), Ok(&path));
        assert_eq!(ImagePath::clamped(bytes).as_ref(), Ok(&path));
        let joined = path.names().fold(ImagePath::root(), |path, name| path.child(name));
        assert_eq!(joined, path);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    round::<Platform>(text);
    round::<Reference>(text);
}

/// What is read and written is read as the same, and written as the same.
fn round<T: FromStr<Err: Display> + Display + PartialEq>(text: &str) {
    match text.parse::<T>() {
        Ok(value) => {
            let written = value.to_string();
            let again =
                written.parse::<T>().unwrap_or_else(|error| panic!("{written:?} of {text:?}: {error}"));
            assert!(again == value && again.to_string() == written, "{written:?} of {text:?}");
        }
        Err(error) => assert!(super::is_printable(&error.to_string()), "{error}"),
    }
}
