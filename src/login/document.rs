//! What one file of logins says, docker's `config.json` or podman's `auth.json`, and the same with a change.
//!
//! Values that say nothing of logins are kept as they are written.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::scope::{Scope, key_of};
use super::{Login, LoginError, Secret};
use crate::oci::json::{self, JsonError, MAX_DOCUMENT};

/// Padding is optional: people write these by hand.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// As docker tells helpers that a secret is an identity token.
pub const TOKEN_USER: &str = "<token>";

/// Who keeps the logins of a registry.
#[derive(Debug, PartialEq, Eq)]
pub enum Keeper<'a> {
    /// A helper, by its name.
    Helper(&'a str),
    /// The file itself.
    File,
}

/// A file's content. Shown to nobody.
pub struct Document {
    /// What messages call it.
    file: String,
    known: Known,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Known {
    auths: Option<BTreeMap<String, Option<Entry>>>,
    #[serde(rename = "credHelpers")]
    helpers: Option<BTreeMap<String, String>>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

impl Document {
    /// Reads a file's bytes; an empty one says nothing.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, LoginError> {
        let file = file.to_owned();
        let known = match is_blank(bytes) {
            true => Known::default(),
            false => checked(&file, bytes)?,
        };
        Ok(Self { file, known })
    }

    /// What messages call it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Who is asked for a registry's login: the helper of that registry, else the one for all, else the file.
    pub fn keeper(&self, registry: &str) -> Keeper<'_> {
        let helpers = self.known.helpers.iter().flatten();
        let own = in_order(helpers, registry, None).map(|(_, name)| name.as_str()).next();
        let helper = own.or(self.known.store.as_deref()).filter(|name| !name.is_empty());
        helper.map_or(Keeper::File, Keeper::Helper)
    }

    /// Whether it names a helper for this registry alone, or has an entry for it.
    pub fn mentions(&self, registry: &str) -> bool {
        let helpers = self.known.helpers.iter().flatten();
        self.has_entry(registry) || in_order(helpers, registry, None).next().is_some()
    }

    /// Whether it has an entry for the whole of a registry, be it empty.
    pub fn has_entry(&self, registry: &str) -> bool {
        in_order(self.known.auths.iter().flatten(), registry, None).next().is_some()
    }

    /// The login that the file itself holds.
    pub fn login(&self, registry: &str, repository: Option<&str>) -> Result<Option<Login>, LoginError> {
        for (key, entry) in in_order(self.known.auths.iter().flatten(), registry, repository) {
            let Some(entry) = entry else { continue };
            let broken = |reason| LoginError::Broken {
                file: self.file.clone(),
                key: crate::diag::escape(key.as_bytes()),
                reason,
            };
            if let Some(login) = entry.login().map_err(broken)? {
                return Ok(Some(login));
            }
        }
        Ok(None)
    }

    /// The registries that it has logins for, or helpers.
    pub fn registries(&self) -> impl Iterator<Item = &str> {
        let auths = self.known.auths.iter().flatten().map(|(key, _)| key);
        let helpers = self.known.helpers.iter().flatten().map(|(key, _)| key);
        auths.chain(helpers).filter_map(|key| Scope::of(key)).map(|scope| scope.registry)
    }
}

/// What has keys that cover a repository: longer paths first, then the registry's own key, then by the key.
fn in_order<'a, V: 'a>(
    all: impl Iterator<Item = (&'a String, &'a V)>,
    registry: &str,
    repository: Option<&str>,
) -> impl Iterator<Item = (&'a String, &'a V)> {
    let of = |key: &'a String| Scope::of(key).filter(|scope| scope.covers(registry, repository));
    let mut found: Vec<_> = all.filter_map(|(key, value)| Some((of(key)?.path.len(), key, value))).collect();
    found.sort_by_key(|(length, key, _)| (usize::MAX - length, *key != key_of(registry), *key != registry));
    found.into_iter().map(|(_, key, value)| (key, value))
}

impl Entry {
    /// `None` if it holds none, as where a helper keeps it.
    fn login(&self) -> Result<Option<Login>, &'static str> {
        if let Some(token) = self.identitytoken.as_ref().filter(|token| !token.is_empty()) {
            return Ok(Some(Login::IdentityToken(Secret::new(token))));
        }
        let (user, password) = match self.auth.as_deref().filter(|auth| !auth.is_empty()) {
            Some(auth) => decoded(auth)?,
            None => {
                let text = |field: &Option<String>| field.clone().unwrap_or_default();
                (text(&self.username), text(&self.password))
            }
        };
        let is_whole = !user.is_empty() && !password.is_empty();
        Ok(is_whole.then(|| Login::Password { user, password: Secret::new(password) }))
    }
}

/// User and password of an `auth`.
fn decoded(auth: &str) -> Result<(String, String), &'static str> {
    let packed: String = auth.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let bytes = BASE64.decode(packed).map_err(|_| "auth is not base64")?;
    let text = String::from_utf8(bytes).map_err(|_| "auth is not the base64 of a text")?;
    let (user, password) = text.split_once(':').ok_or("auth is not the base64 of USER:PASSWORD")?;
    // As docker reads it.
    Ok((user.to_owned(), password.trim_matches('\0').to_owned()))
}

/// An object as it is written, each value with its own text.
type Written<'a> = IndexMap<String, &'a RawValue>;

/// The text of a file with the login of a registry replaced: by `entry`, or by none. Other entries and other keys keep
/// their text and order.
pub fn with_entry(
    file: &str,
    before: &[u8],
    registry: &str,
    entry: Option<&str>,
) -> Result<Vec<u8>, LoginError> {
    let before = if is_blank(before) { b"{}" } else { before };
    checked::<Known>(file, before)?;
    let all: Written = checked(file, before)?;
    let auths = all.get("auths").filter(|auths| auths.get() != "null");
    let mut entries: Written =
        auths.map_or(Ok(Written::new()), |auths| checked(file, auths.get().as_bytes()))?;
    let is_its = |key: &str| Scope::of(key).is_some_and(|scope| scope == Scope { registry, path: "" });
    let at = entries.keys().position(|key| is_its(key));
    entries.retain(|key, _| !is_its(key));
    let entry = entry.map(|entry| serde_json::from_str::<Box<RawValue>>(entry).expect("it was just made"));
    if let Some(entry) = &entry {
        entries.shift_insert(at.unwrap_or(entries.len()), key_of(registry).to_owned(), entry);
    }
    let entries = object(&entries, 2);
    let entries = serde_json::from_str::<Box<RawValue>>(&entries).expect("it was just made");
    let mut all = all.clone();
    all.insert("auths".to_owned(), &entries);
    Ok((object(&all, 1) + "\n").into_bytes())
}

/// An object with tabs before its keys, as docker writes it.
fn object(members: &Written, depth: usize) -> String {
    if members.is_empty() {
        return "{}".to_owned();
    }
    let tabs = "\t".repeat(depth);
    let lines: Vec<String> = members
        .iter()
        .map(|(key, value)| format!("{tabs}{}: {}", serde_json::Value::from(key.as_str()), value.get()))
        .collect();
    format!("{{\n{}\n{}}}", lines.join(",\n"), "\t".repeat(depth - 1))
}

/// The entry of a login: what docker and podman both read.
pub fn entry(login: &Login) -> String {
    let (user, password, token) = match login {
        Login::Password { user, password } => (user.as_str(), password.reveal(), None),
        Login::IdentityToken(token) => (TOKEN_USER, "", Some(token.reveal())),
    };
    let auth = BASE64.encode(format!("{user}:{password}"));
    let token = token.map(|token| format!(",\n\t\t\t\"identitytoken\": {}", serde_json::Value::from(token)));
    format!("{{\n\t\t\t\"auth\": \"{auth}\"{}\n\t\t}}", token.unwrap_or_default())
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.trim_ascii().is_empty()
}

/// Reads JSON strictly. What is wrong is said by its place alone: the text there may be a password.
fn checked<'a, T: Deserialize<'a>>(file: &str, bytes: &'a [u8]) -> Result<T, LoginError> {
    let placed = |error: &serde_json::Error, reason: String| LoginError::Json {
        file: file.to_owned(),
        line: error.line(),
        column: error.column(),
        reason,
    };
    json::check(bytes, MAX_DOCUMENT).map_err(|error| match error {
        JsonError::Invalid(error) => {
            let text = error.to_string();
            let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
            placed(&error, reason.to_owned())
        }
        other => LoginError::NotJson { file: file.to_owned(), reason: other.to_string() },
    })?;
    let kinds = "expected an object of logins as docker and podman write it".to_owned();
    serde_json::from_slice(bytes).map_err(|error| placed(&error, kinds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Document {
        Document::parse("c.json", text.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
    }

    fn shown(login: Option<Login>) -> String {
        match login {
            Some(Login::Password { user, password }) => format!("{user}:{}", password.reveal()),
            Some(Login::IdentityToken(token)) => format!("token {}", token.reveal()),
            None => "-".into(),
        }
    }

    fn found(text: &str, registry: &str, repository: Option<&str>) -> String {
        shown(parse(text).login(registry, repository).unwrap())
    }

    #[test]
    fn forms_of_an_entry() {
        let of = |entry: &str| found(&format!("{{\"auths\":{{\"a.b\":{entry}}}}}"), "a.b", None);
        assert_eq!(of(r#"{"auth":"bWU6czpl"}"#), "me:s:e");
        assert_eq!(of(r#"{"auth":"bWU6c2VjcmV0"}"#), "me:secret");
        assert_eq!(of(r#"{"auth":"bWU6c2VjcmV0\n","email":"x"}"#), "me:secret");
        assert_eq!(of(r#"{"auth":"bWU6czEyAA=="}"#), "me:s12", "zero bytes that docker once wrote");
        assert_eq!(of(r#"{"auth":"bWU6czEy"}"#), "me:s12");
        assert_eq!(of(r#"{"username":"me","password":"p"}"#), "me:p");
        assert_eq!(of(r#"{"auth":"bWU6","identitytoken":"t"}"#), "token t");
        for nothing in ["{}", "null", r#"{"auth":""}"#, r#"{"auth":"bWU6"}"#, r#"{"username":"me"}"#] {
            assert_eq!(of(nothing), "-", "{nothing}");
        }
    }

    #[test]
    fn an_empty_file_says_nothing() {
        for text in ["", " \n", "{}", r#"{"auths":null,"credHelpers":null,"credsStore":null}"#] {
            assert_eq!(found(text, "a.b", None), "-");
            assert_eq!(parse(text).keeper("a.b"), Keeper::File);
        }
    }

    #[test]
    fn the_longest_path_wins_and_empty_entries_do_not_count() {
        let entry = |user: &str| format!("{{\"username\":\"{user}\",\"password\":\"p\"}}");
        let text = format!(
            r#"{{"auths":{{"q.io":{},"q.io/team":{},"q.io/team/app":{{}},"docker.io":{},"https://index.docker.io/v1/":{}}}}}"#,
            entry("all"),
            entry("team"),
            entry("podman"),
            entry("docker")
        );
        assert_eq!(found(&text, "q.io", Some("team/app")), "team:p");
        assert_eq!(found(&text, "q.io", Some("team")), "team:p");
        assert_eq!(found(&text, "q.io", Some("teams")), "all:p");
        assert_eq!(found(&text, "q.io", None), "all:p");
        assert_eq!(found(&text, "docker.io", Some("library/a")), "docker:p");
        assert_eq!(found(&text, "q.io:443", Some("team")), "-");
    }

    #[test]
    fn who_keeps_logins() {
        let text = r#"{"credsStore":"all","credHelpers":{"a.b":"own","https://index.docker.io/v1/":"hub","c.d":""}}"#;
        let document = parse(text);
        assert_eq!(document.keeper("a.b"), Keeper::Helper("own"));
        assert_eq!(document.keeper("docker.io"), Keeper::Helper("hub"));
        assert_eq!(document.keeper("c.d"), Keeper::File, "docker takes no name for the file");
        assert_eq!(document.keeper("e.f"), Keeper::Helper("all"));
    }

    #[test]
    fn what_is_wrong_is_placed_and_not_shown() {
        let said = |text: &str| match Document::parse("c.json", text.as_bytes()) {
            Ok(document) => document.login("a.b", None).err().unwrap().to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(said("{\n  \"auths\": {,}\n}"), "c.json:2:13: key must be a string");
        let typed = said("{\"auths\":{\n\"a.b\":\"hunter2\"}}");
        assert_eq!(typed, "c.json:2:15: expected an object of logins as docker and podman write it");
        assert!(said(r#"{"auths":{},"auths":{}}"#).contains("duplicate key"));
        for (auth, reason) in [("!", "not base64"), ("bWU=", "USER:PASSWORD"), ("/w==", "of a text")] {
            let text = said(&format!("{{\"auths\":{{\"a.b\":{{\"auth\":\"{auth}\"}}}}}}"));
            assert!(
                text.starts_with("c.json: the login for a.b is broken: ") && text.contains(reason),
                "{text}"
            );
        }
    }

    fn changed(before: &str, registry: &str, login: Option<&Login>) -> String {
        let entry = login.map(entry);
        let after = with_entry("c.json", before.as_bytes(), registry, entry.as_deref()).unwrap();
        String::from_utf8(after).unwrap()
    }

    #[test]
    fn other_keys_stay_as_they_were() {
        let me = Login::Password { user: "me".into(), password: Secret::new("p") };
        let before = "{ \"z\": [1, 2.50,  {}], \"auths\": {\"https://a.b/v1/\": {\"auth\": \"x\"}, \"c.d\":  {\"auth\":\"y\"}},\n \"é\\u00e9\": 1e2}";
        let expected = "{\n\t\"z\": [1, 2.50,  {}],\n\t\"auths\": {\n\t\t\"a.b\": {\n\t\t\t\"auth\": \"bWU6cA==\"\n\t\t},\n\t\t\"c.d\": {\"auth\":\"y\"}\n\t},\n\t\"éé\": 1e2\n}\n";
        assert_eq!(changed(before, "a.b", Some(&me)), expected);
        assert_eq!(changed(expected, "a.b", Some(&me)), expected, "the same again");
        let gone = "{\n\t\"z\": [1, 2.50,  {}],\n\t\"auths\": {\n\t\t\"c.d\": {\"auth\":\"y\"}\n\t},\n\t\"éé\": 1e2\n}\n";
        assert_eq!(changed(expected, "a.b", None), gone);
        assert_eq!(changed("", "a.b", None), "{\n\t\"auths\": {}\n}\n");
    }

    #[test]
    fn what_is_written_is_read() {
        let token = Login::IdentityToken(Secret::new("t\"\\"));
        let me = Login::Password { user: "me".into(), password: Secret::new("a:é\u{0}b") };
        for (login, registry) in [(token, "docker.io"), (me, "a.b:5000")] {
            let text = changed("", registry, Some(&login));
            assert_eq!(parse(&text).login(registry, None).unwrap(), Some(login));
            assert!(text.contains(key_of(registry)));
        }
    }
}
