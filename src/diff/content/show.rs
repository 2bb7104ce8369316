//! A difference as text for people: one line, what differs below it, then why it may.

use std::fmt::Write as _;

use super::{Body, Change, Difference, Excerpt, Field, Hunk, Part, Side, Suspect};

/// Bytes of a row of hex.
const ROW: usize = 16;

impl Difference {
    /// The difference as lines, each behind `indent`.
    pub fn to_text(&self, indent: &str) -> String {
        let mut out = String::new();
        let mut show = Show { out: &mut out, most: usize::MAX };
        show.difference(self, indent);
        show.suspects(&self.suspects, indent);
        out
    }

    /// The same with at most so many lines of what differs, and without causes.
    pub fn to_short_text(&self, indent: &str, most: usize) -> String {
        let mut out = String::new();
        Show { out: &mut out, most }.difference(self, indent);
        let total = out.lines().count();
        if total > most {
            let kept: Vec<&str> = out.lines().take(most).collect();
            return format!("{}\n{indent}… {} lines more\n", kept.join("\n"), total - most);
        }
        out
    }
}

struct Show<'a> {
    out: &'a mut String,
    most: usize,
}

impl Show<'_> {
    fn line(&mut self, indent: &str, text: &str) {
        let _ = writeln!(self.out, "{indent}{text}");
    }

    fn is_full(&self) -> bool {
        self.most < usize::MAX && self.out.lines().count() > self.most
    }

    fn difference(&mut self, difference: &Difference, indent: &str) {
        self.line(indent, &format!("{}: {}", difference.format, difference.summary));
        let deeper = format!("{indent}  ");
        match &difference.body {
            Body::Text { hunks } => hunks.iter().for_each(|hunk| self.hunk(hunk, &deeper)),
            Body::Hex { a, b } => {
                self.hex("-", a, &deeper);
                self.hex("+", b, &deeper);
            }
            Body::Parts { parts } => {
                for part in parts {
                    if self.is_full() {
                        // One line more than is kept says that there is more.
                        self.line(&deeper, "…");
                        break;
                    }
                    self.part(part, &deeper);
                }
            }
            Body::Fields { fields } => fields.iter().for_each(|field| self.field(field, &deeper)),
        }
        for note in &difference.notes {
            self.line(&deeper, &format!("({note})"));
        }
    }

    fn hunk(&mut self, hunk: &Hunk, indent: &str) {
        let count = |side: Side| hunk.lines.iter().filter(|line| line.side == side).count();
        let both = count(Side::Both);
        let head =
            format!("@@ -{},{} +{},{} @@", hunk.a, both + count(Side::A), hunk.b, both + count(Side::B));
        self.line(indent, &head);
        for line in &hunk.lines {
            let mark = match line.side {
                Side::Both => ' ',
                Side::A => '-',
                Side::B => '+',
            };
            self.line(indent, &format!("{mark}{}", line.text));
        }
    }

    fn hex(&mut self, mark: &str, excerpt: &Excerpt, indent: &str) {
        let bytes = excerpt.bytes();
        for (row, chunk) in bytes.chunks(ROW).enumerate() {
            let digits: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
            let shown = |byte: &u8| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' };
            let text: String = chunk.iter().map(shown).collect();
            let offset = excerpt.offset + (row * ROW) as u64;
            self.line(indent, &format!("{mark}{offset:08x}  {:47}  {text}", digits.join(" ")));
        }
    }

    fn part(&mut self, part: &Part, indent: &str) {
        let mark = match part.change {
            Change::Removed => "- ",
            Change::Added => "+ ",
            Change::Changed => "",
        };
        self.line(indent, &format!("{mark}{}", part.name));
        let deeper = format!("{indent}  ");
        part.fields.iter().for_each(|field| self.field(field, &deeper));
        if let Some(difference) = &part.difference {
            self.difference(difference, &deeper);
        }
    }

    fn field(&mut self, field: &Field, indent: &str) {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
        self.line(indent, &format!("{}: {} | {}", field.name, text(&field.a), text(&field.b)));
    }

    fn suspects(&mut self, suspects: &[Suspect], indent: &str) {
        for Suspect { class, count, example, fix } in suspects {
            self.line(indent, &format!("{} ×{count}: {example}", class.name()));
            self.line(indent, &format!("  {fix}"));
        }
    }
}

impl Excerpt {
    /// The bytes that the hex stands for.
    pub fn bytes(&self) -> Vec<u8> {
        let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0);
        let pairs = self.hex.as_bytes().chunks_exact(2);
        pairs.map(|pair| u8::try_from(digit(pair[0]) * 16 + digit(pair[1])).unwrap_or(0)).collect()
    }
}
