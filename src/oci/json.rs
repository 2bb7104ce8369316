//! Strict JSON in, stable JSON out.
//!
//! Owns: the one way lith reads a stranger's JSON. Two readers must never see two different documents in the same
//! bytes, so whatever RFC 8259 leaves open is refused: duplicate keys, a byte order mark, a second document.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize as _, Deserializer, Serialize};

/// The largest manifest, config or index that is read, in bytes.
pub const MAX_DOCUMENT: usize = 4 << 20;

/// The deepest nesting of arrays and objects that is read.
pub const MAX_DEPTH: usize = 64;

/// Why bytes are not JSON that lith reads.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    #[error("JSON of {size} bytes is larger than the limit of {limit}")]
    TooLarge { size: usize, limit: usize },
    #[error("JSON begins with a byte order mark")]
    ByteOrderMark,
    #[error("JSON is invalid: {0}")]
    Invalid(serde_json::Error),
}

/// Parses one document of at most `limit` bytes and at most [`MAX_DEPTH`] levels; keys are unique in every object
/// and match exactly, case included.
pub fn parse<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, JsonError> {
    check(bytes, limit)?;
    serde_json::from_slice(bytes).map_err(JsonError::Invalid)
}

/// Checks what [`parse`] checks, for a caller that then looks at the document in several ways.
pub fn check(bytes: &[u8], limit: usize) -> Result<(), JsonError> {
    if bytes.len() > limit {
        return Err(JsonError::TooLarge { size: bytes.len(), limit });
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(JsonError::ByteOrderMark);
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    Strict { depth: 0 }.deserialize(&mut reader).map_err(JsonError::Invalid)?;
    reader.end().map_err(JsonError::Invalid)
}

/// Compact JSON as Go's encoder writes it: `<`, `>`, `&` and the two Unicode line ends escaped. So a config of the
/// same content has the same digest here and in other builders.
///
/// # Panics
/// If `value` has a map whose keys are not texts: a bug of the caller.
pub fn to_bytes<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let plain = serde_json::to_string(value).expect("wire types have text keys only");
    if !plain.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return plain.into_bytes();
    }
    // Outside of texts JSON has none of these characters.
    let mut escaped = String::with_capacity(plain.len() + 64);
    for c in plain.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => escaped.push(c),
        }
    }
    escaped.into_bytes()
}

/// Walks a document without keeping it.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth = self.depth + 1;
        if depth > MAX_DEPTH {
            Err(E::custom(format_args!("nested deeper than {MAX_DEPTH} levels")))
        } else {
            Ok(Self { depth })
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while items.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut seen = BTreeSet::new();
        while let Some(key) = members.next_key::<String>()? {
            members.next_value_seed(inner)?;
            if seen.contains(&key) {
                let shown: String = key.chars().take(100).collect();
                let shown = crate::diag::escape(shown.as_bytes());
                return Err(A::Error::custom(format_args!("duplicate key \"{shown}\"")));
            }
            seen.insert(key);
        }
        Ok(())
    }
}

/// The first key of `keys` that equals one of `fields` but for its case: readers that ignore case, as Go's, would
/// take it for that field.
pub(super) fn case_variant<'a>(
    keys: impl IntoIterator<Item = &'a String>,
    fields: &[&str],
) -> Option<&'a String> {
    keys.into_iter().find(|key| fields.iter().any(|field| *key != field && key.eq_ignore_ascii_case(field)))
}

/// `null` stands for the default, as Go's encoder writes an empty slice or map.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: serde::Deserialize<'de> + Default>(
    d: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn refused(text: &str) -> String {
        parse::<Value>(text.as_bytes(), 1 << 20).unwrap_err().to_string()
    }

    #[test]
    fn m08_two_readings_are_refused() {
        assert!(refused(r#"{"a":1,"a":2}"#).contains("duplicate key \"a\""));
        assert!(refused(r#"{"x":[{"a":1,"a":1}]}"#).contains("duplicate key"));
        assert!(refused(r#"{"a":1,"\u0061":2}"#).contains("duplicate key"));
        assert!(refused("\u{feff}{}").contains("byte order mark"));
        for bad in ["{}{}", "{} x", "{}\0", "\0{}", r#""\ud800""#, "", "{", "[1,]", "'a'", "NaN", "\"\u{1}\""]
        {
            assert!(parse::<Value>(bad.as_bytes(), 100).is_err(), "{bad:?}");
        }
        assert!(parse::<Value>(b"\"\xff\"", 100).is_err());
        assert!(parse::<Value>(b" {\"a\":1}\n", 100).is_ok());
    }

    #[test]
    fn m09_size_is_checked_before_parsing() {
        let error = parse::<Value>(b"[1,2,3]", 6).unwrap_err();
        assert!(matches!(error, JsonError::TooLarge { size: 7, limit: 6 }));
    }

    #[test]
    fn m10_depth_is_bounded() {
        let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(parse::<Value>(nested(64).as_bytes(), 1 << 20).is_ok());
        assert!(refused(&nested(65)).contains("deeper than 64"));
        assert!(refused(&"[".repeat(200_000)).contains("deeper than 64"));
        assert!(refused(&"{\"a\":".repeat(200_000)).contains("deeper than 64"));
    }

    #[test]
    fn escapes_as_go_does() {
        assert_eq!(to_bytes("a<b>&\u{2028}\u{2029}\"\n"), br#""a\u003cb\u003e\u0026\u2028\u2029\"\n""#);
    }

    proptest! {
        #[test]
        fn texts_survive(text in any::<String>()) {
            prop_assert_eq!(parse::<String>(&to_bytes(&text), 1 << 20).unwrap(), text);
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(prop::sample::select(b"[]{},:\"\\u0a1e-. \xff".to_vec()), 0..60)) {
            let _ = parse::<Value>(&bytes, 1 << 20);
        }
    }
}
