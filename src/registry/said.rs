//! Bodies of answers: read up to a limit, and what of a refusal is shown.

use std::io::{self, Read as _};
use std::time::Duration;

use serde::Deserialize;
use ureq::Body;
use ureq::http::Response;

use crate::diag::escape;
use crate::fetch::client::header;
use crate::fetch::pace::Paced;
use crate::oci::json;

/// The most that is read of an error or a token.
pub const MOST: u64 = 1 << 20;

/// How much of a message is shown.
const SHOWN: usize = 300;

/// The errors of distribution-spec, "Error Codes".
#[derive(Deserialize)]
struct Errors {
    errors: Vec<One>,
}

#[derive(Deserialize)]
struct One {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

/// A body of at most `limit` bytes; `None` if it is larger.
pub fn read(response: Response<Body>, limit: u64, patience: Duration) -> io::Result<Option<Vec<u8>>> {
    let body = response.into_body().into_with_config().limit(u64::MAX).reader();
    let mut bytes = Vec::new();
    Paced::new(body, patience).take(limit + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

/// What a server says of why it refuses, to be put behind that it does. `secrets` are left out, should it repeat them.
pub fn reason(response: Response<Body>, patience: Duration, secrets: &[String]) -> String {
    let kind = header(&response, ureq::http::header::CONTENT_TYPE).unwrap_or_default().to_owned();
    let bytes = match read(response, MOST, patience) {
        Ok(Some(bytes)) if bytes.is_empty() => return String::new(),
        Ok(Some(bytes)) => bytes,
        Ok(None) => return format!(", with a message of more than {MOST} bytes"),
        Err(_) => return String::new(),
    };
    match json::parse::<Errors>(&bytes, bytes.len()) {
        Ok(Errors { errors }) if !errors.is_empty() => format!(": {}", texts(&errors, secrets)),
        Ok(_) => String::new(),
        // A portal or a proxy: what it says is a page for people.
        Err(_) if kind.starts_with("text/html") => ", with a web page: that is no registry".to_owned(),
        Err(_) => format!(": {}", shown(&String::from_utf8_lossy(&bytes), secrets)),
    }
}

fn texts(errors: &[One], secrets: &[String]) -> String {
    let text = |one: &One| match (&one.code, &one.message) {
        (Some(code), Some(message)) if !message.is_empty() => format!("{code}: {message}"),
        (Some(text), _) | (None, Some(text)) => text.clone(),
        (None, None) => "no reason".to_owned(),
    };
    shown(&errors.iter().take(3).map(text).collect::<Vec<_>>().join("; "), secrets)
}

/// A stranger's text on one line, short, without what is secret in it.
pub fn shown(text: &str, secrets: &[String]) -> String {
    let mut text = crate::remote::redact(text);
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret.as_str(), "…");
    }
    let text = text.trim();
    let mut short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    escape(short.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(kind: &str, body: &str) -> String {
        let body = Body::builder().data(body.to_owned());
        let response = Response::builder().header("content-type", kind).body(body).unwrap();
        reason(response, Duration::from_secs(1), &["hunter2".to_owned()])
    }

    #[test]
    fn what_servers_say() {
        let errors = r#"{"errors":[{"code":"DENIED","message":"no","detail":{}},{"code":"UNKNOWN"}]}"#;
        assert_eq!(said("application/json", errors), ": DENIED: no; UNKNOWN");
        assert_eq!(said("application/json", r#"{"errors":[{}]}"#), ": no reason");
        assert_eq!(said("application/json", ""), "");
        assert_eq!(said("text/plain", " slow\n\x1b[2Jdown"), ": slow\\n\\u{1b}[2Jdown");
        assert_eq!(said("text/html; charset=x", "<html>"), ", with a web page: that is no registry");
        assert_eq!(said("text/plain", &"x".repeat(301)), format!(": {}…", "x".repeat(300)));
        assert_eq!(
            said("text/plain", &"x".repeat((1 << 20) + 1)),
            ", with a message of more than 1048576 bytes"
        );
    }

    /// R22: a server that repeats what it was sent does not make it public.
    #[test]
    fn r22_what_servers_repeat_is_left_out() {
        let errors = r#"{"errors":[{"code":"X","message":"bad hunter2 at https://u:p@h/"}]}"#;
        assert_eq!(said("application/json", errors), ": X: bad … at https://h/");
        assert_eq!(said("text/plain", "hunter2!"), ": …!");
    }
}
