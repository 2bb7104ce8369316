//! The grammar of here-documents: `<<NAME`, `<<-NAME`, `3<<"NAME"`.

use crate::diag::Span;

use super::ast::Heredoc;
use super::expand::Lexer;

/// The documents a line announces, in order, bodies still empty. A line that does not lex announces none: it is
/// the shell's business.
pub fn announced(line: &str) -> Vec<Heredoc> {
    if !line.contains("<<") {
        return Vec::new();
    }
    let words = Lexer::raw().raw_words(line).unwrap_or_default();
    words.iter().filter_map(|word| parse(word)).collect()
}

/// One word as a here-document; `None` if it is something else.
pub fn parse(word: &str) -> Option<Heredoc> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (rest, chomp) = match rest.strip_prefix('-') {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let rest = rest.trim_start();
    if rest.is_empty() || rest.contains('<') {
        return None;
    }
    let [name] = <[String; 1]>::try_from(Lexer::unquoting().raw_words(rest).ok()?).ok()?;
    let [raw] = <[String; 1]>::try_from(Lexer::raw().raw_words(rest).ok()?).ok()?;
    let expand = name == raw;
    Some(Heredoc { name, expand, chomp, body: String::new(), span: Span::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters() {
        let of = |word: &str| parse(word).map(|d| (d.name, d.expand, d.chomp));
        assert_eq!(of("<<EOF"), Some(("EOF".into(), true, false)));
        assert_eq!(of("3<<-EOF"), Some(("EOF".into(), true, true)));
        assert_eq!(of("<<\"EOF\""), Some(("EOF".into(), false, false)));
        assert_eq!(of("<<'E'OF"), Some(("EOF".into(), false, false)));
        assert_eq!(of("<<\\EOF"), Some(("EOF".into(), false, false)));
        assert_eq!(of("<<EOF bash"), None);
        assert_eq!(of("<<"), None);
        assert_eq!(of("<<<EOF"), None);
        assert_eq!(of("x<<EOF"), None);
    }

    #[test]
    fn a_line_may_announce_several() {
        let names = |line: &str| announced(line).into_iter().map(|d| d.name).collect::<Vec<_>>();
        assert_eq!(names("RUN cat <<A <<B | sh"), ["A", "B"]);
        assert_eq!(names("RUN echo '<<A'"), Vec::<String>::new());
        assert_eq!(names("RUN echo it's <<A"), Vec::<String>::new());
        assert_eq!(names("RUN echo \\<<A"), Vec::<String>::new());
    }
}
