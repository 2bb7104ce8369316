//! PEM (RFC 7468), strictly: one block and nothing else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::KeyError;

/// The largest file of a key, in bytes.
const LONGEST: usize = 64 << 10;
const COLUMNS: usize = 64;

/// What a file holds.
pub struct Block {
    /// `PUBLIC KEY`.
    pub label: String,
    pub bytes: Vec<u8>,
}

impl Block {
    /// Reads a file's bytes.
    pub fn parse(text: &[u8]) -> Result<Self, KeyError> {
        let no_pem = KeyError::Pem;
        if text.len() > LONGEST {
            return Err(no_pem("it is longer than any key"));
        }
        let text = std::str::from_utf8(text).map_err(|_| no_pem("it is no text"))?;
        let mut lines = text.lines().map(str::trim_end).skip_while(|line| line.is_empty());
        let first = lines.next().ok_or(no_pem("it is empty"))?;
        let label = first.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----"));
        let label = label.ok_or(no_pem("it does not begin with -----BEGIN"))?;
        let end = format!("-----END {label}-----");
        let mut body = String::new();
        loop {
            match lines.next() {
                Some(line) if line == end => break,
                Some(line) => body.push_str(line),
                None => return Err(no_pem("it does not end with the -----END of its beginning")),
            }
        }
        if lines.any(|line| !line.is_empty()) {
            return Err(no_pem("it holds more than one key"));
        }
        let bytes = STANDARD.decode(body).map_err(|_| no_pem("what it holds is not base64"))?;
        Ok(Self { label: label.to_owned(), bytes })
    }

    /// The file, as openssl writes it.
    pub fn write(&self) -> String {
        let body = STANDARD.encode(&self.bytes);
        let lines: String = body
            .as_bytes()
            .chunks(COLUMNS)
            .map(|line| std::str::from_utf8(line).expect("base64 is ASCII").to_owned() + "\n")
            .collect();
        format!("-----BEGIN {0}-----\n{lines}-----END {0}-----\n", self.label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_block_and_nothing_else() {
        let text = "\n-----BEGIN X Y-----\r\nAAEC\nAwQ=\n-----END X Y-----\n\n";
        let block = Block::parse(text.as_bytes()).unwrap();
        assert_eq!((block.label.as_str(), block.bytes.as_slice()), ("X Y", &[0, 1, 2, 3, 4][..]));
        assert_eq!(block.write(), "-----BEGIN X Y-----\nAAECAwQ=\n-----END X Y-----\n");
        let once = block.write();
        for (bad, reason) in [
            (String::new(), "empty"),
            ("AAEC".into(), "does not begin"),
            (format!("x\n{once}"), "does not begin"),
            (format!("{once}{once}"), "more than one"),
            (once.replace("END X Y", "END X"), "does not end"),
            (once.replace("AwQ=", "AwQ"), "not base64"),
            (once.replace("AwQ=", "Aw Q="), "not base64"),
            (once.replace("AAEC", "Proc-Type: 4,ENCRYPTED\n\nAAEC"), "not base64"),
            ("x".repeat(LONGEST + 1), "longer"),
        ] {
            let error = Block::parse(bad.as_bytes()).err().unwrap().to_string();
            assert!(error.contains(reason), "{bad:?}: {error}");
        }
        assert!(Block::parse(b"\xff").is_err());
    }
}
