//! Paragraphs of fields, as control files, indices and sources have them (deb822(5)).

/// The fields of one paragraph in order. Borrows from the text it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paragraph<'a> {
    fields: Vec<(&'a str, &'a str)>,
}

/// Why a text is no list of paragraphs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    #[error("line {line} is neither a field nor the continuation of one")]
    Line { line: usize },
    #[error("the field {name} is there twice in one paragraph")]
    Twice { name: String },
}

impl<'a> Paragraph<'a> {
    /// The value of a field, names compared without case; lines after the first begin with a blank, as written.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// Name and value of all fields in order.
    pub fn fields(&self) -> &[(&'a str, &'a str)] {
        &self.fields
    }

    /// Reads one paragraph; `first` is the number of its first line, from 1.
    fn read(text: &'a str, first: usize) -> Result<Self, ControlError> {
        let mut fields: Vec<(&'a str, &'a str)> = Vec::new();
        let mut start = 0;
        let mut number = first;
        while start < text.len() {
            let end = value_end(text, start);
            let field = &text[start..end];
            start = end;
            if !field.starts_with('#') {
                let (name, value) = field.split_once(':').ok_or(ControlError::Line { line: number })?;
                if name.is_empty() || name.contains(char::is_whitespace) {
                    return Err(ControlError::Line { line: number });
                }
                fields.push((name, value.trim()));
            }
            number += field.matches('\n').count().max(1);
        }
        for (at, (name, _)) in fields.iter().enumerate() {
            if fields[..at].iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                return Err(ControlError::Twice { name: (*name).to_owned() });
            }
        }
        Ok(Self { fields })
    }
}

/// Where a field that starts at a line's beginning ends: behind its last continuation line. A comment is one line.
fn value_end(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    let mut at = start;
    while let Some(newline) = text[at..].find('\n') {
        at += newline + 1;
        let goes_on = matches!(bytes.get(at), Some(b' ' | b'\t'));
        if !goes_on || bytes[start] == b'#' {
            return at;
        }
    }
    text.len()
}

/// All paragraphs of a text.
pub fn paragraphs(text: &str) -> Result<Vec<Paragraph<'_>>, ControlError> {
    let mut found = Vec::new();
    let (mut start, mut first) = (None, 1);
    let (mut at, mut number) = (0, 1);
    for line in text.split_inclusive('\n') {
        match (line.trim().is_empty(), start) {
            (true, Some(from)) => {
                found.push(Paragraph::read(&text[from..at], first)?);
                start = None;
            }
            (false, None) => (start, first) = (Some(at), number),
            (true, None) | (false, Some(_)) => {}
        }
        at += line.len();
        number += 1;
    }
    if let Some(from) = start {
        found.push(Paragraph::read(&text[from..], first)?);
    }
    found.retain(|paragraph| !paragraph.fields.is_empty());
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_continuations() {
        let text = "# why\nA: 1\nB:\n two\n three\n\n\n# alone\n\nC : no";
        assert_eq!(paragraphs(text), Err(ControlError::Line { line: 10 }));
        let found = paragraphs("# why\nA: 1\nB:\n two\n# between\n\n \nc: 3").unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].get("a"), Some("1"));
        assert_eq!(found[0].get("B"), Some("two"));
        assert_eq!(found[1].fields(), [("c", "3")]);
    }

    #[test]
    fn what_is_no_paragraph() {
        assert_eq!(paragraphs("A: 1\n\n x"), Err(ControlError::Line { line: 3 }));
        assert_eq!(paragraphs("A: 1\na: 2"), Err(ControlError::Twice { name: "a".into() }));
        assert_eq!(paragraphs("word"), Err(ControlError::Line { line: 1 }));
    }
}
