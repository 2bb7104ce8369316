//! From bytes to a text that the parser takes: size, UTF-8 and zero bytes are checked here and nowhere else.

use crate::diag::{Source, escape};

/// The largest build file, in bytes.
pub const MAX_FILE: usize = 16 << 20;
/// The longest physical line, in bytes without its line feed.
pub const MAX_LINE: usize = 65_535;

/// Why bytes are not the text of a build file. Lines and columns count from 1; columns count bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    #[error("{name}:{line}:{column}: invalid UTF-8 near \"{excerpt}\"; a build file is UTF-8 text")]
    Utf8 { name: String, line: usize, column: usize, excerpt: String },
    #[error("{name}:{line}:{column}: zero byte near \"{excerpt}\"; a build file is UTF-8 text")]
    Nul { name: String, line: usize, column: usize, excerpt: String },
    #[error("{name}: the file is {size} bytes long; the most a build file may have is {MAX_FILE}")]
    TooLarge { name: String, size: usize },
}

/// Makes a text of a file's bytes. `name` is what messages call the file.
pub fn source_from_bytes(name: &str, bytes: Vec<u8>) -> Result<Source, SourceError> {
    let shown = escape(name.as_bytes());
    if bytes.len() > MAX_FILE {
        return Err(SourceError::TooLarge { name: shown, size: bytes.len() });
    }
    if let Some(at) = bytes.iter().position(|b| *b == 0) {
        let (line, column, excerpt) = place(&bytes, at);
        return Err(SourceError::Nul { name: shown, line, column, excerpt });
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source { name: name.to_owned(), text }),
        Err(error) => {
            let (line, column, excerpt) = place(error.as_bytes(), error.utf8_error().valid_up_to());
            Err(SourceError::Utf8 { name: shown, line, column, excerpt })
        }
    }
}

/// Line, column and the escaped bytes around an offset, of its own line only.
fn place(bytes: &[u8], at: usize) -> (usize, usize, String) {
    let start = bytes[..at].iter().rposition(|b| *b == b'\n').map_or(0, |newline| newline + 1);
    let line = bytes[..start].iter().filter(|b| **b == b'\n').count() + 1;
    let end = bytes[at..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |newline| at + newline);
    let excerpt = &bytes[start.max(at.saturating_sub(20))..end.min(at + 20)];
    (line, at - start + 1, escape(excerpt))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_where_bytes_are_no_text() {
        let error = source_from_bytes("D", b"FROM a\nRUN x\xff\x1b y\n".to_vec()).unwrap_err().to_string();
        assert!(error.starts_with("D:2:6: invalid UTF-8 near \"RUN x\\xff\\u{1b} y\""), "{error}");
        let error = source_from_bytes("D", b"\0".to_vec()).unwrap_err().to_string();
        assert!(error.starts_with("D:1:1: zero byte near \"\\u{0}\""), "{error}");
    }

    #[test]
    fn refuses_what_is_too_large() {
        assert!(source_from_bytes("D", vec![b' '; MAX_FILE]).is_ok());
        assert!(source_from_bytes("D", vec![b' '; MAX_FILE + 1]).is_err());
    }
}
