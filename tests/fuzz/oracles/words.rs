//! One word, put where the language takes words: the lexer, its modifiers, and whatever reads what they make.
//!
//! The first byte chooses the place, the second the escape character, the rest are lines: the values of `A` and `B`,
//! and the word.

use lith::diag::Source;
use lith::recipe::Recipe;

use super::dockerfile::{check_text, plain_options};

/// Instructions that take a word.
const PLACES: [&str; 26] = [
    "ENV x=@",
    "ENV x=\"@\"",
    "ENV x='@'",
    "ENV x @",
    "ENV @",
    "LABEL @",
    "ARG x=@",
    "WORKDIR @",
    "USER @",
    "EXPOSE @",
    "VOLUME @",
    "STOPSIGNAL @",
    "COPY @ /x",
    "COPY x @",
    "COPY --chown=@ x y",
    "COPY --chmod=@ x y",
    "COPY --exclude=@ x y",
    "COPY --from=@ x y",
    "ADD @ /x/",
    "HEALTHCHECK --interval=@ --retries=2 CMD x",
    "HEALTHCHECK --timeout=1s --retries=@ CMD x",
    "RUN --mount=@ x",
    "SHELL @",
    "CMD @",
    "RUN @",
    "COPY <<E @\n$A@\nE",
];

/// Checks one word at one place.
pub fn check(bytes: &[u8]) {
    let [place, escape, rest @ ..] = bytes else { return };
    let Ok(rest) = std::str::from_utf8(rest) else { return };
    let mut lines = rest.splitn(3, '\n');
    let (Some(a), Some(b), Some(word)) = (lines.next(), lines.next(), lines.next()) else { return };
    if word.contains('\0') {
        return;
    }
    let directive = if *escape == b'`' { "# escape=`\n" } else { "" };
    let line = PLACES[usize::from(*place) % PLACES.len()].replace('@', word);
    let text =
        format!("{directive}FROM scratch AS s\nARG A\nARG B=b\nENV C=c\nFROM s\nARG A\nARG B\n{line}\n");
    let source = Source { name: "Dockerfile".into(), text };
    let mut options = plain_options();
    options.build_args = vec![("A".into(), a.into()), ("B".into(), b.into())];
    let recipe = check_text(&source, &options, &[]);
    if line.starts_with("ENV x=\"") && is_plain(word) {
        let recipe = recipe.unwrap_or_else(|| panic!("a plain word has no error: {word:?}"));
        assert_eq!(env(&recipe, "x"), Some(word));
    }
}

/// Whether a word means itself between double quotes.
fn is_plain(word: &str) -> bool {
    !word.contains(['$', '\\', '`', '"', '\'', '\n', '\r', '<'])
}

fn env<'a>(recipe: &'a Recipe, name: &str) -> Option<&'a str> {
    let config = &recipe.stages[recipe.targets[0]].config.config;
    config.env.iter().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}
