//! What a server asks for in `WWW-Authenticate` (RFC 9110, section 11): any number of challenges in any number of
//! headers, each with parameters or one token.

use std::collections::BTreeMap;

/// One challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// In lower case.
    pub scheme: String,
    /// Names in lower case; of a name given twice the first counts.
    pub params: BTreeMap<String, String>,
}

impl Challenge {
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(String::as_str)
    }
}

/// The challenges of one header; what is not understood ends it, and what came before stands.
pub fn parse(text: &str) -> Vec<Challenge> {
    let mut rest = Rest(text);
    let mut found: Vec<Challenge> = Vec::new();
    loop {
        rest.skip(|c| c == ',' || is_blank(c));
        let Some(word) = rest.token() else { return found };
        rest.skip(is_blank);
        // A word and a sign is a parameter of the last challenge, a word alone begins the next one.
        if rest.take('=') {
            rest.skip(is_blank);
            let (Some(value), Some(last)) = (rest.value(), found.last_mut()) else { return found };
            last.params.entry(word.to_ascii_lowercase()).or_insert(value);
            continue;
        }
        found.push(Challenge { scheme: word.to_ascii_lowercase(), params: BTreeMap::new() });
        rest.token68();
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

/// What of a header is still to be read.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn skip(&mut self, is_skipped: impl Fn(char) -> bool) {
        self.0 = self.0.trim_start_matches(is_skipped);
    }

    fn take(&mut self, c: char) -> bool {
        let rest = self.0.strip_prefix(c);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn token(&mut self) -> Option<&'a str> {
        let end = self.0.find(|c| !is_token(c)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }

    fn value(&mut self) -> Option<String> {
        if !self.take('"') {
            return self.token().map(str::to_owned);
        }
        let mut value = String::new();
        let mut chars = self.0.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.0 = &self.0[at + 1..];
                    return Some(value);
                }
                '\\' => value.push(chars.next()?.1),
                c => value.push(c),
            }
        }
        None
    }

    /// Skips the one token that may stand instead of parameters: base64 with its padding, up to a comma or the end.
    fn token68(&mut self) {
        let end = self.0.find([',', ' ', '\t']).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        let bare = word.trim_end_matches('=');
        let is_token68 = !bare.is_empty() && bare.chars().all(|c| is_token(c) || c == '/');
        let is_followed = rest.trim_start_matches(is_blank);
        if is_token68 && (is_followed.is_empty() || is_followed.starts_with(',')) && !is_parameter(word) {
            self.0 = rest;
        }
    }
}

/// Whether a sign stands within a word and not only at its end.
fn is_parameter(word: &str) -> bool {
    word.trim_end_matches('=').contains('=')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> String {
        let shown = |c: &Challenge| {
            let params: Vec<String> =
                c.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{}({})", c.scheme, params.join(";"))
        };
        parse(text).iter().map(shown).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn challenges() {
        for (text, expected) in [
            ("Basic", "basic()"),
            ("Basic realm=\"a, b\"", "basic(realm=a, b)"),
            (
                "Bearer realm=\"https://a/token\",service=\"s\",scope=\"repository:a/b:pull,push\"",
                "bearer(realm=https://a/token;scope=repository:a/b:pull,push;service=s)",
            ),
            ("Bearer realm=\"a\", Basic realm=\"b\"", "bearer(realm=a) basic(realm=b)"),
            ("Negotiate, Basic realm=x", "negotiate() basic(realm=x)"),
            ("Negotiate aGk=, Bearer realm=\"a\"", "negotiate() bearer(realm=a)"),
            ("NTLM aGk/+==", "ntlm()"),
            ("bearer Realm = \"q\\\"\\\\x\" , service=s", "bearer(realm=q\"\\x;service=s)"),
            (",, Basic realm=a,", "basic(realm=a)"),
            ("Bearer realm=\"a\",realm=\"b\"", "bearer(realm=a)"),
            ("Bearer realm=\"open", "bearer()"),
            ("realm=\"a\"", ""),
            ("", ""),
            ("\"\"", ""),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in any::<String>()) {
            parse(&text);
        }

        #[test]
        fn quoted_values_come_back(value in "[ -~]{0,20}") {
            let quoted: String = value.chars().flat_map(|c| match c {
                '"' | '\\' => vec!['\\', c],
                c => vec![c],
            }).collect();
            let parsed = parse(&format!("Basic a=\"{quoted}\", Bearer b=c"));
            prop_assert_eq!(parsed.len(), 2);
            prop_assert_eq!(parsed[0].param("a"), Some(value.as_str()));
        }
    }
}
