//! Names of git repositories: `URL[#ref[:subdir]]`, `URL##ref=…,subdir=…`, `URL?ref=…&subdir=…`, `user@host:path`.

use std::fmt;

use super::{RemoteError, parse_url, percent_decoded, scheme, shown};
use crate::csv;
use crate::diag::escape;
use crate::path::ImagePath;

/// The fewest digits that name a commit.
const FEWEST: usize = 7;

/// A commit, or one that a name stands for, of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitRepo {
    /// What git is given: no password, query or fragment. `ssh` keeps its user.
    pub url: String,
    pub credentials: Option<Credentials>,
    /// Branch, tag, `refs/…` or commit; the default branch if there is none.
    pub reference: Option<String>,
    /// Whose files are taken; the root for all.
    pub subdir: ImagePath,
    /// What the commit's name must begin with: 7 to 64 lower-case hex digits.
    pub checksum: Option<String>,
    /// Whether `.git` comes along; `None` if the text does not say.
    pub keep_git_dir: Option<bool>,
    pub submodules: bool,
}

/// User and password of a URL, decoded. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub user: String,
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// What the query and the fragment of a URL say.
#[derive(Debug, Default)]
struct Said {
    reference: Option<String>,
    subdir: Option<String>,
    checksum: Option<String>,
    keep_git_dir: Option<bool>,
    submodules: Option<bool>,
}

impl GitRepo {
    /// Parses a URL with a scheme.
    pub(super) fn parse(text: &str) -> Result<Self, RemoteError> {
        let url = parse_url(text)?;
        let mut said = Said::default();
        said.fragment(url.fragment().unwrap_or_default(), text)?;
        said.query(url.query().unwrap_or_default(), text)?;
        let mut bare = url.clone();
        bare.set_query(None);
        bare.set_fragment(None);
        // A password cannot be given to ssh, and would show in its arguments.
        let _ = bare.set_password(None);
        let mut credentials = None;
        if url.scheme() != "ssh" {
            let _ = bare.set_username("");
            let given = !url.username().is_empty() || url.password().is_some();
            credentials = given.then(|| Credentials {
                user: decoded(url.username()),
                password: decoded(url.password().unwrap_or_default()),
            });
        }
        said.repo(bare.into(), credentials, text)
    }

    /// A repository that another one names as a submodule, at a commit.
    pub fn submodule(&self, url: &str, commit: &str) -> Result<Self, RemoteError> {
        let url = if url.starts_with("./") || url.starts_with("../") {
            relative(&self.url, url).ok_or_else(|| RemoteError::Malformed(shown(url)))?
        } else {
            url.to_owned()
        };
        let repo = match scheme(&url) {
            Some("http" | "https" | "git" | "ssh") => Self::parse(&url)?,
            Some(scheme) => {
                return Err(RemoteError::Scheme { url: shown(&url), scheme: escape(scheme.as_bytes()) });
            }
            None => scp(&url)?.ok_or_else(|| RemoteError::Malformed(shown(&url)))?,
        };
        let origin = |url: &str| parse_url(url).ok().map(|url| url[..url::Position::BeforePath].to_owned());
        let same = origin(&self.url).is_some() && origin(&self.url) == origin(&repo.url);
        let credentials = repo.credentials.clone().or_else(|| self.credentials.clone().filter(|_| same));
        Ok(Self {
            credentials,
            reference: Some(commit.to_owned()),
            subdir: ImagePath::root(),
            checksum: None,
            keep_git_dir: None,
            submodules: true,
            ..repo
        })
    }

    /// Demands a commit by its digits, or its first ones.
    pub fn with_checksum(self, text: &str) -> Result<Self, RemoteError> {
        let checksum = commit_prefix(text)?;
        Ok(Self { checksum: Some(checksum), ..self })
    }

    /// The commit, if the text says it whole.
    pub fn commit(&self) -> Option<&str> {
        let whole = |text: &&str| is_commit(text);
        self.checksum.as_deref().filter(whole).or_else(|| self.reference.as_deref().filter(whole))
    }

    /// The last name of the path, without `.git`.
    pub fn short_name(&self) -> &str {
        let path = self.url.trim_end_matches('/');
        let name = path.rsplit(['/', ':']).next().unwrap_or_default();
        name.strip_suffix(".git").unwrap_or(name)
    }

    /// For people, without credentials.
    pub fn shown(&self) -> String {
        let reference = self.reference.as_deref().unwrap_or_default();
        let url = escape(self.url.as_bytes());
        let reference = escape(reference.as_bytes());
        match (reference.as_str(), self.subdir.is_root()) {
            ("", true) => url,
            (reference, true) => format!("{url}#{reference}"),
            (reference, false) => format!("{url}#{reference}:{}", escape(self.subdir.as_bytes())),
        }
    }
}

impl Said {
    fn fragment(&mut self, text: &str, whole: &str) -> Result<(), RemoteError> {
        if let Some(fields) = text.strip_prefix('#') {
            return self.fields(fields, whole);
        }
        let (reference, subdir) = text.split_once(':').unwrap_or((text, ""));
        self.reference = Some(decoded(reference)).filter(|text| !text.is_empty());
        self.subdir = Some(decoded(subdir)).filter(|text| !text.is_empty());
        Ok(())
    }

    /// `##ref=…,commit=…,subdir=…`
    fn fields(&mut self, text: &str, whole: &str) -> Result<(), RemoteError> {
        let fail = |message: String| RemoteError::Query { url: shown(whole), message };
        for field in csv::record(text).ok_or_else(|| fail("a quote is not closed".into()))? {
            let Some((key, value)) = field.text.split_once('=') else {
                return Err(fail(format!("field {:?} is not of the form key=value", field.text)));
            };
            match key.to_ascii_lowercase().as_str() {
                "ref" => self.reference = Some(value.to_owned()),
                "commit" => self.checksum = Some(value.to_owned()),
                "subdir" => self.subdir = Some(value.to_owned()),
                _ => return Err(fail(format!("unknown field {key:?}; known are ref, commit, subdir"))),
            }
        }
        Ok(())
    }

    fn query(&mut self, text: &str, whole: &str) -> Result<(), RemoteError> {
        let fail = |message: String| RemoteError::Query { url: shown(whole), message };
        let mut seen = std::collections::BTreeSet::new();
        let (mut tag, mut branch) = (None, None);
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (decoded(key), decoded(value));
            if !seen.insert(key.clone()) {
                return Err(fail(format!("query {key:?} has multiple values")));
            }
            let needed = || match value.as_str() {
                "" => Err(fail(format!("query {key:?} has no value"))),
                value => Ok(value.to_owned()),
            };
            match key.as_str() {
                "ref" => agree(&mut self.reference, needed()?, "ref", &fail)?,
                "subdir" => agree(&mut self.subdir, needed()?, "subdir", &fail)?,
                "tag" => tag = Some(qualified("refs/tags/", &needed()?)),
                "branch" => branch = Some(qualified("refs/heads/", &needed()?)),
                "checksum" | "commit" => agree(&mut self.checksum, needed()?, "checksum", &fail)?,
                "keep-git-dir" => self.keep_git_dir = Some(boolean(&key, &value, &fail)?),
                "submodules" => self.submodules = Some(boolean(&key, &value, &fail)?),
                // How it is fetched and dated is not the text's to say here: the commit is fetched, times are the epoch.
                "fetch-by-commit" => drop(boolean(&key, &value, &fail)?),
                "mtime" if matches!(value.as_str(), "checkout" | "commit") => {}
                "mtime" => return Err(fail(format!("mtime {value:?} is neither checkout nor commit"))),
                _ => return Err(fail(format!("unexpected query {key:?}"))),
            }
        }
        if tag.is_some() && branch.is_some() {
            return Err(fail("branch conflicts with tag".into()));
        }
        if let Some(named) = tag.or(branch) {
            agree(&mut self.reference, named, "ref", &fail)?;
        }
        Ok(())
    }

    fn repo(
        self,
        url: String,
        credentials: Option<Credentials>,
        whole: &str,
    ) -> Result<GitRepo, RemoteError> {
        let reference = self.reference.or_else(|| self.checksum.clone());
        if let Some(reference) = reference.as_deref().filter(|text| !is_reference(text)) {
            return Err(RemoteError::Reference {
                url: shown(whole),
                reference: reference.chars().take(80).collect(),
            });
        }
        let subdir = self.subdir.unwrap_or_default();
        let subdir = ImagePath::parse(subdir.as_bytes())
            .map_err(|_| RemoteError::Subdir { url: shown(whole), subdir: escape(subdir.as_bytes()) })?;
        Ok(GitRepo {
            url,
            credentials,
            reference,
            subdir,
            checksum: self.checksum.as_deref().map(commit_prefix).transpose()?,
            keep_git_dir: self.keep_git_dir,
            submodules: self.submodules.unwrap_or(true),
        })
    }
}

/// `user@host:path[?query][#fragment]`; `None` if the text is of another form.
pub(super) fn scp(text: &str) -> Result<Option<GitRepo>, RemoteError> {
    let Some((user, rest)) = text.split_once('@') else { return Ok(None) };
    let Some((host, rest)) = rest.split_once(':') else { return Ok(None) };
    let user_like = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let host_like = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    if user.is_empty() || host.is_empty() || !user.chars().all(user_like) || !host.chars().all(host_like) {
        return Ok(None);
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if [user, host, path].iter().any(|part| part.starts_with('-')) {
        return Err(RemoteError::Option(shown(text)));
    }
    if path.is_empty() || path.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(RemoteError::Malformed(shown(text)));
    }
    let mut said = Said::default();
    said.fragment(fragment, text)?;
    said.query(query, text)?;
    said.repo(format!("{user}@{host}:{path}"), None, text).map(Some)
}

fn decoded(text: &str) -> String {
    String::from_utf8(percent_decoded(text)).unwrap_or_else(|_| text.to_owned())
}

fn qualified(prefix: &str, name: &str) -> String {
    if name.starts_with(prefix) { name.to_owned() } else { format!("{prefix}{name}") }
}

fn agree(
    place: &mut Option<String>,
    value: String,
    what: &str,
    fail: &impl Fn(String) -> RemoteError,
) -> Result<(), RemoteError> {
    match place {
        Some(known) if *known != value => Err(fail(format!("{what} conflicts: {known:?} vs {value:?}"))),
        _ => {
            *place = Some(value);
            Ok(())
        }
    }
}

fn boolean(key: &str, value: &str, fail: &impl Fn(String) -> RemoteError) -> Result<bool, RemoteError> {
    match value {
        "" | "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
        _ => Err(fail(format!("invalid {key} value: {value:?}"))),
    }
}

fn commit_prefix(text: &str) -> Result<String, RemoteError> {
    let fits = (FEWEST..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    if fits { Ok(text.to_ascii_lowercase()) } else { Err(RemoteError::Commit(escape(text.as_bytes()))) }
}

/// Whether a text is the whole name of a commit.
pub fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
}

/// As git's `check-ref-format`, and no option.
fn is_reference(text: &str) -> bool {
    let odd = |c: char| {
        c.is_control() || c.is_whitespace() || matches!(c, '~' | '^' | ':' | '?' | '*' | '[' | '\\')
    };
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    text.len() <= 1024
        && !text.starts_with('-')
        && !text.ends_with('.')
        && !text.contains("..")
        && !text.contains("@{")
        && text != "@"
        && !text.contains(odd)
        && text.split('/').all(part)
}

/// A submodule's `../x` beside the URL of the repository that holds it, as git resolves it.
fn relative(base: &str, text: &str) -> Option<String> {
    let mut base = base.trim_end_matches('/').to_owned();
    let mut rest = text;
    loop {
        if let Some(tail) = rest.strip_prefix("./") {
            rest = tail;
        } else if let Some(tail) = rest.strip_prefix("../") {
            let from = base.find("://").map_or(0, |at| at + 3);
            let cut = base[from..].rfind(['/', ':'])? + from;
            base.truncate(cut + usize::from(base.as_bytes()[cut] == b':'));
            rest = tail;
        } else {
            break;
        }
    }
    let slash = if base.ends_with(':') { "" } else { "/" };
    Some(format!("{base}{slash}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::super::Remote;
    use super::*;

    fn repo(text: &str) -> GitRepo {
        match Remote::parse(text) {
            Ok(Some(Remote::Git(repo))) => *repo,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn every_form_names_the_same() {
        for text in [
            "https://h/a/b.git#v1:sub/dir",
            "https://h/a/b.git##ref=v1,subdir=sub/dir",
            "https://h/a/b.git?ref=v1&subdir=sub%2Fdir",
            "https://h/a/b.git?ref=v1#:sub/dir",
        ] {
            let repo = repo(text);
            assert_eq!(repo.url, "https://h/a/b.git", "{text}");
            assert_eq!(repo.reference.as_deref(), Some("v1"), "{text}");
            assert_eq!(repo.subdir.as_bytes(), b"sub/dir", "{text}");
            assert_eq!(repo.short_name(), "b");
        }
        let scp = repo("git@h:a/b.git#v1:sub/dir");
        assert_eq!((scp.url.as_str(), scp.short_name()), ("git@h:a/b.git", "b"));
        assert_eq!(repo("https://h/b.git?tag=v1").reference.as_deref(), Some("refs/tags/v1"));
        assert_eq!(repo("https://h/b.git?branch=main").reference.as_deref(), Some("refs/heads/main"));
        let kept = repo("https://h/b.git?keep-git-dir&submodules=false&mtime=commit");
        assert_eq!((kept.keep_git_dir, kept.submodules), (Some(true), false));
        let pinned = repo("https://h/b.git?commit=0123456789012345678901234567890123456789");
        assert_eq!(pinned.commit(), Some("0123456789012345678901234567890123456789"));
        assert_eq!(repo("https://u:p@h/b.git").url, "https://h/b.git");
        assert_eq!(repo("ssh://git:p@h/b.git").url, "ssh://git@h/b.git");
    }

    /// D22: hostile refs, subdirectories and hosts.
    #[test]
    fn hostile_names_are_refused() {
        for text in [
            "https://h/b.git#--upload-pack=touch",
            "https://h/b.git#-x",
            "https://h/b.git#a..b",
            "https://h/b.git#a b",
            "https://h/b.git#a%0ab",
            "https://h/b.git#x:../up",
            "https://h/b.git#x:a/../../up",
            "https://h/b.git?subdir=../up",
            "https://h/b.git?subdir=%2e%2e/up",
            "https://h/b.git?ref=a&ref=b",
            "https://h/b.git?ref=a#b",
            "https://h/b.git?ref=",
            "https://h/b.git?tag=a&branch=b",
            "https://h/b.git?unknown=1",
            "https://h/b.git?checksum=xyz",
            "https://h/b.git?keep-git-dir=maybe",
            "https://h/b.git##bad",
            "ssh://-oProxyCommand=x/b.git",
            "ssh://h/b.git#a@{1}",
            "git@h:-x",
        ] {
            assert!(Remote::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn submodules_are_resolved_beside_their_holder() {
        let commit = "0123456789012345678901234567890123456789";
        let holder = repo("https://u:p@h/a/b.git");
        for (url, wanted) in [
            ("../c.git", "https://h/a/c.git"),
            ("./c.git", "https://h/a/b.git/c.git"),
            ("../../d/c", "https://h/d/c"),
            ("https://other/c", "https://other/c"),
        ] {
            let sub = holder.submodule(url, commit).unwrap();
            assert_eq!(sub.url, wanted);
            assert_eq!(sub.commit(), Some(commit));
            assert_eq!(
                sub.credentials.is_some(),
                wanted.contains("//h/"),
                "credentials stay on their host: {url}"
            );
        }
        assert_eq!(repo("git@h:a/b.git").submodule("../c.git", commit).unwrap().url, "git@h:a/c.git");
        for url in ["ext::sh -c x", "file:///etc", "/etc", "--upload-pack=x", "-x@h:y", "../../../../../etc"]
        {
            let result = holder.submodule(url, commit);
            assert!(result.is_err(), "{url}: {result:?}");
        }
    }
}
