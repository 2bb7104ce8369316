//! The report as one page that needs nothing else: a tree to search, contents side by side (spec/diff.md, "HTML").
//!
//! Owns: the page with its style and script. What images hold goes in as data alone: the script puts it on the page as
//! text, and the page's policy runs no other script and loads nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::report::Report;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The whole page.
pub fn render(report: &Report) -> String {
    let json = serde_json::to_string(report).expect("plain data serialises");
    let title = escape(&format!("{} → {}", report.a.name, report.b.name));
    let parts = [
        ("@SCRIPT_HASH@", hash(SCRIPT)),
        ("@STYLE_HASH@", hash(STYLE)),
        ("@STYLE@", STYLE.to_owned()),
        ("@TITLE@", title),
        ("@REPORT@", inert(&json)),
        ("@SCRIPT@", SCRIPT.to_owned()),
    ];
    fill(PAGE, &parts)
}

/// Puts values in place of their names, each of which the page has written out: what a value holds is not looked at.
fn fill(page: &str, parts: &[(&str, String)]) -> String {
    let mut out =
        String::with_capacity(page.len() + parts.iter().map(|(_, value)| value.len()).sum::<usize>());
    let mut rest = page;
    loop {
        let places = parts.iter().filter_map(|(name, value)| Some((rest.find(name)?, name, value)));
        let Some((at, name, value)) = places.min_by_key(|(at, ..)| *at) else { break };
        out.push_str(&rest[..at]);
        out.push_str(value);
        rest = &rest[at + name.len()..];
    }
    out.push_str(rest);
    out
}

/// What the policy calls a script or style by.
fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

/// JSON that no parser of HTML sees anything in: these characters stand in strings alone, where they may be escaped.
fn inert(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            c => out.push(c),
        }
    }
    out
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
