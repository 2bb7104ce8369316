//! A registry on loopback that keeps to the distribution specification, and a hook by which a test makes it not to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use lith::digest::BlobDigest;
use serde_json::{Value, json};
use url::Url;

use super::server::{Exchange, Reply, Request, Server, reply};

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Who may come in.
#[derive(Clone)]
pub enum Door {
    Open,
    Basic {
        user: &'static str,
        password: &'static str,
    },
    /// With a token for the scopes of what is asked. The realm is this server's own, unless it is said.
    Bearer {
        realm: Option<String>,
        login: Option<(&'static str, &'static str)>,
        life: u64,
    },
}

/// What this registry can do.
#[derive(Clone)]
pub struct Manners {
    pub door: Door,
    pub referrers: bool,
    pub mounts: bool,
    pub deletes: bool,
    pub least_chunk: Option<usize>,
    /// Tags of a page.
    pub page: usize,
}

impl Default for Manners {
    fn default() -> Self {
        let (referrers, mounts, deletes) = (true, true, true);
        Self { door: Door::Open, referrers, mounts, deletes, least_chunk: None, page: 1000 }
    }
}

/// What it has.
#[derive(Default)]
pub struct Content {
    /// By repository and digest.
    pub blobs: BTreeMap<(String, String), Vec<u8>>,
    pub manifests: BTreeMap<(String, String), (String, Vec<u8>)>,
    pub tags: BTreeMap<(String, String), String>,
    uploads: BTreeMap<String, Vec<u8>>,
    /// Tokens by their scopes.
    tokens: BTreeMap<String, BTreeSet<String>>,
    count: usize,
}

/// Does something else than the registry would; true if it did.
type Fault = dyn Fn(&mut Exchange<'_>, &Fake) -> bool + Send + Sync;

/// What answers.
pub struct Fake {
    pub content: Mutex<Content>,
    manners: Manners,
    fault: Box<Fault>,
}

/// A running registry.
pub struct FakeRegistry {
    pub server: Server,
    pub fake: Arc<Fake>,
}

impl FakeRegistry {
    pub fn start(manners: Manners) -> Self {
        Self::faulty(manners, |_, _| false)
    }

    pub fn faulty(
        manners: Manners,
        fault: impl Fn(&mut Exchange<'_>, &Fake) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::over(None, manners, fault)
    }

    pub fn over(
        tls: Option<Arc<rustls::ServerConfig>>,
        manners: Manners,
        fault: impl Fn(&mut Exchange<'_>, &Fake) -> bool + Send + Sync + 'static,
    ) -> Self {
        let fake = Arc::new(Fake { content: Mutex::default(), manners, fault: Box::new(fault) });
        let answering = fake.clone();
        let server = Server::start_parallel(tls, move |exchange| {
            if !(answering.fault)(exchange, &answering) {
                answering.answer(exchange);
            }
        });
        Self { server, fake }
    }

    /// As it stands in the name of an image.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.server.port)
    }

    /// Requests so far: method and path, without their queries.
    pub fn asked(&self) -> Vec<String> {
        let line = |request: &Request| format!("{} {}", request.method, path(request));
        self.server.seen().iter().map(line).collect()
    }

    pub fn count(&self, method: &str, part: &str) -> usize {
        self.server.seen().iter().filter(|r| r.method == method && r.path.contains(part)).count()
    }

    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> BlobDigest {
        let digest = BlobDigest::of(bytes);
        let key = (repository.to_owned(), digest.to_string());
        self.fake.content.lock().unwrap().blobs.insert(key, bytes.to_vec());
        digest
    }

    pub fn put_manifest(&self, repository: &str, tag: Option<&str>, kind: &str, bytes: &[u8]) -> BlobDigest {
        let digest = BlobDigest::of(bytes);
        let mut content = self.fake.content.lock().unwrap();
        content
            .manifests
            .insert((repository.to_owned(), digest.to_string()), (kind.to_owned(), bytes.to_vec()));
        if let Some(tag) = tag {
            content.tags.insert((repository.to_owned(), tag.to_owned()), digest.to_string());
        }
        digest
    }

    /// What a tag stands for.
    pub fn tag(&self, repository: &str, tag: &str) -> Option<String> {
        let content = self.fake.content.lock().unwrap();
        content.tags.get(&(repository.to_owned(), tag.to_owned())).cloned()
    }

    pub fn has_blob(&self, repository: &str, digest: BlobDigest) -> bool {
        let content = self.fake.content.lock().unwrap();
        content.blobs.contains_key(&(repository.to_owned(), digest.to_string()))
    }
}

fn path(request: &Request) -> &str {
    request.path.split('?').next().unwrap()
}

/// One value of a request's query.
pub fn query(request: &Request, name: &str) -> Option<String> {
    let url = Url::parse(&format!("http://h{}", request.path)).unwrap();
    url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

fn error(status: &str, code: &str) -> Reply {
    let body = json!({ "errors": [{ "code": code, "message": format!("it is {code}") }] }).to_string();
    reply(status, &[("Content-Type", "application/json")], body.as_bytes())
}

impl Fake {
    /// Answers as the specification says.
    pub fn answer(&self, exchange: &mut Exchange<'_>) {
        let request = exchange.request.clone();
        if path(&request) == "/token" {
            exchange.read_body();
            let answer = self.token(&exchange.request);
            return exchange.write(&answer);
        }
        // Who may not come in is told so before anything of a body is taken.
        if let Some(refusal) = self.refusal(&request) {
            return exchange.write(&refusal);
        }
        if !exchange.read_body() {
            return;
        }
        let answer = self.reply(&exchange.request.clone());
        let answer = match (request.method.as_str(), answer.windows(4).position(|end| end == b"\r\n\r\n")) {
            ("HEAD", Some(end)) => answer[..end + 4].to_vec(),
            _ => answer,
        };
        exchange.write(&answer);
    }

    /// Lets no token that was given count any more.
    pub fn revoke(&self) {
        self.content.lock().unwrap().tokens.clear();
    }

    /// Takes so many bytes of an upload's body, keeps them, and says nothing.
    pub fn take_part(&self, exchange: &mut Exchange<'_>, length: usize) {
        exchange.read_part(length);
        let request = &exchange.request;
        let id = path(request).rsplit('/').next().unwrap().to_owned();
        self.content.lock().unwrap().uploads.get_mut(&id).unwrap().extend(&request.body);
    }

    pub fn has_uploads(&self) -> bool {
        !self.content.lock().unwrap().uploads.is_empty()
    }

    /// Forgets all uploads that are not done.
    pub fn forget_uploads(&self) {
        self.content.lock().unwrap().uploads.clear();
    }

    /// Changes the first byte of all uploads that are not done.
    pub fn spoil_uploads(&self) {
        self.content
            .lock()
            .unwrap()
            .uploads
            .values_mut()
            .flat_map(|bytes| bytes.first_mut())
            .for_each(|b| *b ^= 1);
    }

    fn token(&self, request: &Request) -> Reply {
        let Door::Bearer { login, life, .. } = &self.manners.door else { return error("404", "NO_REALM") };
        let form = Url::parse(&format!("http://h/?{}", String::from_utf8_lossy(&request.body))).unwrap();
        let said = |name: &str| {
            let pairs: BTreeMap<String, String> = form.query_pairs().into_owned().collect();
            pairs.get(name).cloned()
        };
        let is_known = match (login, request.method.as_str()) {
            (None, _) => true,
            (Some((user, password)), "GET") => {
                request.header("authorization") == Some(&basic(user, password))
            }
            (Some((_, secret)), _) => {
                said("grant_type").as_deref() == Some("refresh_token")
                    && said("refresh_token").as_deref() == Some(*secret)
            }
        };
        if !is_known {
            return error("401 Unauthorized", "UNAUTHORIZED");
        }
        let url = Url::parse(&format!("http://h{}", request.path)).unwrap();
        let mut scopes: Vec<String> = url
            .query_pairs()
            .filter(|(name, _)| name == "scope")
            .map(|(_, scope)| scope.into_owned())
            .collect();
        scopes.extend(said("scope").iter().flat_map(|scopes| scopes.split(' ').map(str::to_owned)));
        let mut content = self.content.lock().unwrap();
        content.count += 1;
        let token = format!("token-{}", content.count);
        content.tokens.insert(token.clone(), scopes.into_iter().collect());
        let body = json!({ "token": token, "expires_in": life }).to_string();
        reply("200 OK", &[], body.as_bytes())
    }

    fn refusal(&self, request: &Request) -> Option<Reply> {
        let sent = request.header("authorization").unwrap_or_default();
        let challenge = match &self.manners.door {
            Door::Open => return None,
            Door::Basic { user, password } if sent == basic(user, password) => return None,
            Door::Basic { .. } => "Basic realm=\"fake, that is\"".to_owned(),
            Door::Bearer { realm, .. } => {
                let content = self.content.lock().unwrap();
                let scopes = sent.strip_prefix("Bearer ").and_then(|token| content.tokens.get(token));
                if scopes.is_some_and(|scopes| self.allows(scopes, request)) {
                    return None;
                }
                let own = format!("http://{}/token", request.header("host").unwrap_or_default());
                let realm = realm.clone().unwrap_or(own);
                format!("Bearer realm=\"{realm}\",service=\"fake\",scope=\"whatever\"")
            }
        };
        let body = json!({ "errors": [{ "code": "UNAUTHORIZED", "message": "who?" }] }).to_string();
        Some(reply("401 Unauthorized", &[("WWW-Authenticate", &challenge)], body.as_bytes()))
    }

    fn allows(&self, scopes: &BTreeSet<String>, request: &Request) -> bool {
        let repository = repository(path(request));
        let action = match request.method.as_str() {
            "GET" | "HEAD" => "pull",
            "DELETE" => "delete",
            _ => "push",
        };
        let may = |repository: &str, action: &str| {
            scopes.iter().any(|scope| {
                let actions = scope.strip_prefix(&format!("repository:{repository}:"));
                actions.is_some_and(|actions| actions.split(',').any(|known| known == action))
            })
        };
        may(&repository, action) && query(request, "from").is_none_or(|from| may(&from, "pull"))
    }

    /// The answer to a request that may be made.
    fn reply(&self, request: &Request) -> Reply {
        let path = path(request).to_owned();
        let Some(rest) = path.strip_prefix("/v2/") else { return error("404 Not Found", "UNSUPPORTED") };
        let repository = repository(&path);
        let object = rest.strip_prefix(&format!("{repository}/")).unwrap_or_default();
        let parts: Vec<&str> = object.split('/').collect();
        let mut content = self.content.lock().unwrap();
        match (request.method.as_str(), parts.as_slice()) {
            ("GET" | "HEAD", ["manifests", name]) => get_manifest(&content, &repository, name),
            ("PUT", ["manifests", name]) => self.put(&mut content, &repository, name, request),
            ("DELETE", ["manifests", digest]) => self.delete(&mut content, &repository, digest),
            ("GET" | "HEAD", ["blobs", digest]) => self.get_blob(&content, &repository, digest, request),
            ("POST", ["blobs", "uploads", ""]) => self.begin(&mut content, &repository, request),
            ("GET", ["blobs", "uploads", id]) => progress(&content, "204 No Content", &repository, id),
            ("PATCH" | "PUT", ["blobs", "uploads", id]) => receive(&mut content, &repository, id, request),
            ("GET", ["tags", "list"]) => self.tags(&content, &repository, request),
            ("GET", ["referrers", subject]) if self.manners.referrers => {
                referrers(&content, &repository, subject)
            }
            _ => error("404 Not Found", "UNSUPPORTED"),
        }
    }

    fn put(&self, content: &mut Content, repository: &str, name: &str, request: &Request) -> Reply {
        let document: Value = serde_json::from_slice(&request.body).unwrap();
        let digests = |list: &str| -> Vec<String> {
            let of = document[list].as_array().cloned().unwrap_or_default();
            of.iter().map(|entry| entry["digest"].as_str().unwrap().to_owned()).collect()
        };
        let has_blob = |digest: &String| content.blobs.contains_key(&(repository.to_owned(), digest.clone()));
        let has = |digest: &String| content.manifests.contains_key(&(repository.to_owned(), digest.clone()));
        let config = document["config"]["digest"].as_str().map(str::to_owned);
        if !digests("layers").iter().chain(&config).all(has_blob) || !digests("manifests").iter().all(has) {
            return error("404 Not Found", "MANIFEST_BLOB_UNKNOWN");
        }
        let digest = BlobDigest::of(&request.body).to_string();
        if name.starts_with("sha256:") && name != digest {
            return error("400 Bad Request", "DIGEST_INVALID");
        }
        let kind = request.header("content-type").unwrap().to_owned();
        content.manifests.insert((repository.to_owned(), digest.clone()), (kind, request.body.clone()));
        if !name.starts_with("sha256:") {
            content.tags.insert((repository.to_owned(), name.to_owned()), digest.clone());
        }
        let mut headers = vec![("Docker-Content-Digest", digest.as_str())];
        let subject = document["subject"]["digest"].as_str();
        headers.extend(subject.filter(|_| self.manners.referrers).map(|subject| ("OCI-Subject", subject)));
        reply("201 Created", &headers, b"")
    }

    fn delete(&self, content: &mut Content, repository: &str, digest: &str) -> Reply {
        if !self.manners.deletes {
            return error("405 Method Not Allowed", "UNSUPPORTED");
        }
        let key = (repository.to_owned(), digest.to_owned());
        if content.manifests.remove(&key).is_none() {
            return error("404 Not Found", "MANIFEST_UNKNOWN");
        }
        content.tags.retain(|_, tagged| tagged != digest);
        reply("202 Accepted", &[], b"")
    }

    fn get_blob(&self, content: &Content, repository: &str, digest: &str, request: &Request) -> Reply {
        let Some(bytes) = content.blobs.get(&(repository.to_owned(), digest.to_owned())) else {
            return error("404 Not Found", "BLOB_UNKNOWN");
        };
        match request.header("range") {
            None => reply("200 OK", &[("Docker-Content-Digest", digest)], bytes),
            Some(range) => {
                let first: usize = range["bytes=".len()..].trim_end_matches('-').parse().unwrap();
                if first >= bytes.len() {
                    return error("416 Range Not Satisfiable", "RANGE_INVALID");
                }
                let range = format!("bytes {first}-{}/{}", bytes.len() - 1, bytes.len());
                reply("206 Partial Content", &[("Content-Range", &range)], &bytes[first..])
            }
        }
    }

    fn begin(&self, content: &mut Content, repository: &str, request: &Request) -> Reply {
        if let (true, Some(digest), Some(from)) =
            (self.manners.mounts, query(request, "mount"), query(request, "from"))
            && let Some(bytes) = content.blobs.get(&(from, digest.clone())).cloned()
        {
            content.blobs.insert((repository.to_owned(), digest.clone()), bytes);
            return reply("201 Created", &[("Docker-Content-Digest", &digest)], b"");
        }
        content.count += 1;
        let id = format!("upload-{}", content.count);
        content.uploads.insert(id.clone(), Vec::new());
        let location = format!("/v2/{repository}/blobs/uploads/{id}?state=0");
        let least = self.manners.least_chunk.map(|least| least.to_string());
        let mut headers = vec![("Location", location.as_str()), ("Range", "0-0")];
        headers.extend(least.iter().map(|least| ("OCI-Chunk-Min-Length", least.as_str())));
        reply("202 Accepted", &headers, b"")
    }

    fn tags(&self, content: &Content, repository: &str, request: &Request) -> Reply {
        let last = query(request, "last").unwrap_or_default();
        let asked: usize = query(request, "n").map_or(usize::MAX, |n| n.parse().unwrap());
        let size = self.manners.page.min(asked);
        let all = content.tags.keys().filter(|(known, _)| known == repository).map(|(_, tag)| tag.clone());
        let rest: Vec<String> = all.filter(|tag| *tag > last).collect();
        let page = &rest[..rest.len().min(size)];
        let body = json!({ "name": repository, "tags": page }).to_string();
        let link = page.last().filter(|_| rest.len() > size);
        let link =
            link.map(|last| format!("</v2/{repository}/tags/list?n={size}&last={last}>; rel=\"next\""));
        let headers: Vec<(&str, &str)> = link.iter().map(|link| ("Link", link.as_str())).collect();
        reply("200 OK", &headers, body.as_bytes())
    }
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {encoded}")
}

/// `a/b` of `/v2/a/b/manifests/x`.
fn repository(path: &str) -> String {
    let rest = path.strip_prefix("/v2/").unwrap_or_default();
    let end =
        ["/manifests/", "/blobs/", "/tags/", "/referrers/"].iter().filter_map(|part| rest.find(part)).min();
    rest[..end.unwrap_or(0)].to_owned()
}

fn get_manifest(content: &Content, repository: &str, name: &str) -> Reply {
    let key = |name: &str| (repository.to_owned(), name.to_owned());
    let digest = content.tags.get(&key(name)).cloned().unwrap_or_else(|| name.to_owned());
    match content.manifests.get(&key(&digest)) {
        None => error("404 Not Found", "MANIFEST_UNKNOWN"),
        Some((kind, bytes)) => {
            reply("200 OK", &[("Content-Type", kind), ("Docker-Content-Digest", &digest)], bytes)
        }
    }
}

fn progress(content: &Content, status: &str, repository: &str, id: &str) -> Reply {
    let Some(bytes) = content.uploads.get(id) else { return error("404 Not Found", "BLOB_UPLOAD_UNKNOWN") };
    let range = format!("0-{}", bytes.len().saturating_sub(1));
    let location = format!("/v2/{repository}/blobs/uploads/{id}?state={}", bytes.len());
    reply(status, &[("Location", &location), ("Range", &range)], b"")
}

fn receive(content: &mut Content, repository: &str, id: &str, request: &Request) -> Reply {
    let Some(bytes) = content.uploads.get(id) else { return error("404 Not Found", "BLOB_UPLOAD_UNKNOWN") };
    // A location is good for the state that it was given for.
    if query(request, "state") != Some(bytes.len().to_string()) {
        return error("400 Bad Request", "BLOB_UPLOAD_INVALID");
    }
    if let Some(range) = request.header("content-range") {
        let (first, last) = range.split_once('-').unwrap();
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        if first != bytes.len() || last + 1 - first != request.body.len() {
            return progress(content, "416 Range Not Satisfiable", repository, id);
        }
    }
    let bytes = content.uploads.get_mut(id).unwrap();
    bytes.extend(&request.body);
    if request.method == "PATCH" {
        return progress(content, "202 Accepted", repository, id);
    }
    let bytes = content.uploads.remove(id).unwrap();
    let digest = query(request, "digest").unwrap();
    if BlobDigest::of(&bytes).to_string() != digest {
        return error("400 Bad Request", "DIGEST_INVALID");
    }
    content.blobs.insert((repository.to_owned(), digest.clone()), bytes);
    reply("201 Created", &[("Docker-Content-Digest", &digest)], b"")
}

fn referrers(content: &Content, repository: &str, subject: &str) -> Reply {
    let about = |((known, digest), (kind, bytes)): (&(String, String), &(String, Vec<u8>))| {
        let document: Value = serde_json::from_slice(bytes).unwrap();
        let is_about = known == repository && document["subject"]["digest"] == subject;
        is_about.then(|| {
            json!({
                "mediaType": kind, "digest": digest, "size": bytes.len(),
                "artifactType": document["artifactType"],
            })
        })
    };
    let manifests: Vec<Value> = content.manifests.iter().filter_map(about).collect();
    let body = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }).to_string();
    reply("200 OK", &[("Content-Type", INDEX)], body.as_bytes())
}
