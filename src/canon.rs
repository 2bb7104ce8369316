//! Framed, versioned encoding of whatever gets hashed, with two sinks: one hashes, one prints.
//!
//! Owns: the frame (spec/step-hash.md, "Frame"). Every value is preceded by its name and both by their lengths, so
//! two different sequences of fields never encode to the same bytes. Never decides which fields exist.

use crate::diag::escape;
use crate::digest::ContentDigest;

/// Where the fields of an identity go.
pub trait Sink {
    /// One named value.
    fn field(&mut self, name: &'static str, value: &[u8]);

    /// Opens a group; everything until [`Sink::close`] belongs to it.
    fn open(&mut self, name: &'static str);

    /// Closes the innermost group.
    fn close(&mut self);

    /// One named text.
    fn text(&mut self, name: &'static str, value: &str) {
        self.field(name, value.as_bytes());
    }

    /// One named number, as decimal digits.
    fn number(&mut self, name: &'static str, value: u64) {
        self.field(name, value.to_string().as_bytes());
    }

    /// One named digest: hashed as its 32 bytes, shown as `blake3:` and 64 digits.
    fn content(&mut self, name: &'static str, digest: &ContentDigest) {
        self.field(name, digest.as_bytes());
    }

    /// A value that may be absent: absence differs from the empty value because nothing is written.
    fn maybe(&mut self, name: &'static str, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.field(name, value);
        }
    }
}

/// Hashes the frame with BLAKE3.
pub struct Hasher(blake3::Hasher);

impl Hasher {
    /// Starts an identity of the given kind and format version, for example `("action", 1)`.
    pub fn new(kind: &'static str, version: u32) -> Self {
        let mut hasher = Self(blake3::Hasher::new());
        hasher.frame(b'V', kind.as_bytes(), &version.to_le_bytes());
        hasher
    }

    fn frame(&mut self, tag: u8, name: &[u8], value: &[u8]) {
        self.0.update(&[tag]);
        self.0.update(&(name.len() as u64).to_le_bytes());
        self.0.update(&(value.len() as u64).to_le_bytes());
        self.0.update(name);
        self.0.update(value);
    }

    /// The 32 bytes of the identity.
    pub fn finish(self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

impl Sink for Hasher {
    fn field(&mut self, name: &'static str, value: &[u8]) {
        self.frame(b'F', name.as_bytes(), value);
    }

    fn open(&mut self, name: &'static str) {
        self.frame(b'O', name.as_bytes(), b"");
    }

    fn close(&mut self) {
        self.frame(b'C', b"", b"");
    }
}

/// Prints the same fields, one a line, `group.name=value`, for people and for `lith why`.
#[derive(Default)]
pub struct Printer {
    prefix: Vec<&'static str>,
    lines: Vec<(String, String)>,
}

impl Printer {
    /// The fields in order: dotted name and escaped value. A name may occur several times.
    pub fn finish(self) -> Vec<(String, String)> {
        self.lines
    }

    fn line(&mut self, name: &'static str, value: String) {
        let mut path = self.prefix.join(".");
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(name);
        self.lines.push((path, value));
    }
}

impl Sink for Printer {
    fn field(&mut self, name: &'static str, value: &[u8]) {
        self.line(name, escape(value));
    }

    fn content(&mut self, name: &'static str, digest: &ContentDigest) {
        self.line(name, digest.to_string());
    }

    fn open(&mut self, name: &'static str) {
        self.prefix.push(name);
    }

    fn close(&mut self) {
        self.prefix.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone, PartialEq)]
    enum Part {
        Field(usize, Vec<u8>),
        Group(usize, Vec<Part>),
    }

    const NAMES: [&str; 4] = ["", "a", "ab", "b"];

    fn write(parts: &[Part], sink: &mut dyn Sink) {
        for part in parts {
            match part {
                Part::Field(name, value) => sink.field(NAMES[*name], value),
                Part::Group(name, inner) => {
                    sink.open(NAMES[*name]);
                    write(inner, sink);
                    sink.close();
                }
            }
        }
    }

    fn hash(parts: &[Part]) -> [u8; 32] {
        let mut hasher = Hasher::new("test", 1);
        write(parts, &mut hasher);
        hasher.finish()
    }

    fn parts() -> impl Strategy<Value = Vec<Part>> {
        let field = (0..4usize, prop::collection::vec(prop::sample::select(b"aFb".to_vec()), 0..3))
            .prop_map(|(n, v)| Part::Field(n, v));
        let tree = field.prop_recursive(2, 6, 3, |inner| {
            (0..4usize, prop::collection::vec(inner, 0..3)).prop_map(|(n, p)| Part::Group(n, p))
        });
        prop::collection::vec(tree, 0..4)
    }

    proptest! {
        #[test]
        fn different_fields_hash_differently(a in parts(), b in parts()) {
            prop_assert_eq!(a == b, hash(&a) == hash(&b));
        }
    }

    #[test]
    fn pinned_vector() {
        // spec/step-hash.md, "Frame": a change of this value is a change of format and needs a new version.
        let mut hasher = Hasher::new("test", 1);
        hasher.text("argv", "echo");
        assert_eq!(crate::digest::hex(&hasher.finish()), PINNED);
    }

    const PINNED: &str = "fe0b9a58406f4f638b948f42b4ad5854068f4327a3f13e38e72744a57bcfadeb";
}
