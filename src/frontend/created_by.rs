//! The texts that steps leave in an image's history, as BuildKit writes them: Go's `%q` and `%v`.

use std::fmt::Write as _;

use crate::oci::{Healthcheck, History};

use super::duration;

/// One line of history; `created` is for whoever knows the epoch.
pub fn history(created_by: String, empty_layer: bool) -> History {
    History {
        created: None,
        created_by: Some(created_by),
        author: None,
        comment: Some("buildkit.dockerfile.v0".to_owned()),
        empty_layer,
    }
}

/// `RUN` with the arguments it saw: `|2 A=1 B=2 /bin/sh -c make # buildkit`.
pub fn run(argv: &[String], args: &[(String, String)]) -> String {
    let mut out = "RUN ".to_owned();
    if !args.is_empty() {
        let _ = write!(out, "|{} ", args.len());
    }
    for (name, value) in args {
        let _ = write!(out, "{name}={value} ");
    }
    out.push_str(&argv.join(" "));
    out.push_str(" # buildkit");
    out
}

/// A list as Go's `%v` shows it: `[a b]`.
pub fn list(items: &[String]) -> String {
    format!("[{}]", items.join(" "))
}

/// A list as Go's `%q` shows it: `["a" "b"]`.
pub fn quoted_list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| quote(item)).collect();
    format!("[{}]", items.join(" "))
}

/// A health check as Go's `%+v` shows the struct.
pub fn healthcheck(check: &Healthcheck) -> String {
    format!(
        "HEALTHCHECK {{Test:{} Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
        list(&check.test),
        duration::format(check.interval),
        duration::format(check.timeout),
        duration::format(check.start_period),
        duration::format(check.start_interval),
        check.retries
    )
}

/// Go's `%q` of a text.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\0'..='\u{1f}' | '\u{7f}' => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c if is_print(c) => out.push(c),
            c if u32::from(c) < 0x1_0000 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => {
                let _ = write!(out, "\\U{:08x}", u32::from(c));
            }
        }
    }
    out.push('"');
    out
}

/// Go's `unicode.IsPrint`: no control, format, private or separator characters but the ASCII space.
fn is_print(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{a0}' | '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{1680}'
            | '\u{180e}' | '\u{2000}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}'
            | '\u{3000}' | '\u{e000}'..='\u{f8ff}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}'..='\u{ffff}'
            | '\u{e0000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_quotes() {
        assert_eq!(quote("a\"b\\\n\u{1b}é\u{202e}\u{1f600}"), "\"a\\\"b\\\\\\n\\x1bé\\u202e\u{1f600}\"");
        assert_eq!(quoted_list(&["/bin/true".into(), "x y".into()]), "[\"/bin/true\" \"x y\"]");
        assert_eq!(quoted_list(&[]), "[]");
    }
}
