//! One record of comma-separated fields, as options such as `--mount` and `--output` take them.

use std::ops::Range;

/// One field without its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub text: String,
    /// Where it stands in the record, quotes included.
    pub at: Range<usize>,
}

/// Splits as Go's csv reader does: a field in double quotes may hold commas, and a doubled quote stands for one. A
/// quote may also follow a field's `=`. `None` if a quote is not closed.
pub fn record(text: &str) -> Option<Vec<Field>> {
    let mut fields = vec![Field { text: String::new(), at: 0..0 }];
    let mut quoted = false;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let field = fields.last_mut()?;
        field.at.end = at + c.len_utf8();
        match c {
            '"' if quoted && chars.peek().is_some_and(|(_, next)| *next == '"') => {
                chars.next();
                field.at.end += 1;
                field.text.push('"');
            }
            '"' if quoted || field.text.is_empty() || field.text.ends_with('=') => quoted = !quoted,
            ',' if !quoted => {
                field.at.end = at;
                fields.push(Field { text: String::new(), at: at + 1..at + 1 });
            }
            c => field.text.push(c),
        }
    }
    (!quoted).then_some(fields)
}

/// One field as [`record`] reads it back.
pub fn field(text: &str) -> String {
    match text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<(String, &str)> {
        let fields = record(text).unwrap();
        fields.into_iter().map(|field| (field.text, &text[field.at])).collect()
    }

    #[test]
    fn fields_and_their_places() {
        assert_eq!(split(""), [(String::new(), "")]);
        assert_eq!(split("a=b,ro"), [("a=b".into(), "a=b"), ("ro".into(), "ro")]);
        assert_eq!(split("a,,b"), [("a".into(), "a"), (String::new(), ""), ("b".into(), "b")]);
        let fields = split(r##""a,b",c="d,""e""""##);
        assert_eq!(fields, [("a,b".into(), r##""a,b""##), (r#"c=d,"e""#.into(), r##"c="d,""e""""##)]);
        assert_eq!(record("a,\"b"), None);
    }
}
