//! What can go wrong with a registry. No message holds credentials; what a server says is shown escaped and short.

use crate::digest::BlobDigest;
use crate::fetch::client::REDIRECTS;
use crate::image::{ExportError, IngestError};
use crate::login::LoginError;
use crate::oci::media::MediaType;
use crate::oci::{DocumentError, ReferenceError};
use crate::sign::{KeyError, Untrusted};
use crate::store::StoreError;

/// Why something could not be had from a registry, or given to it. `what`: the image, blob or list, by its full name.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("{host:?} is not a host for registry {registry}; expected HOST or HOST:PORT")]
    Endpoint { registry: String, host: String },
    #[error("{proxy} is not a proxy; expected http://HOST:PORT")]
    Proxy { proxy: String },
    #[error("{what}: {host} cannot be reached: {reason}")]
    Unreachable { what: String, host: String, reason: String },
    #[error(
        "{what}: {host} does not seem to speak TLS ({reason}); if it is meant to be asked over plain http, say in the \
         configuration that this registry is insecure (spec/registry.md, \"Endpoints\")"
    )]
    NotTls { what: String, host: String, reason: String },
    #[error("{what}: {host} answered {status}{said}")]
    Status { what: String, host: String, status: u16, said: String },
    #[error("{what} is not there: {host} answered 404{said}")]
    Missing { what: String, host: String, said: String },
    #[error("{what}: {host} wants to know who asks{said}; run `lith login {registry}`")]
    Anonymous { what: String, host: String, registry: String, said: String },
    #[error(
        "{what}: {host} does not allow this to the login that is known{said}; if it is another's or has changed, run \
         `lith login {registry}`"
    )]
    Denied { what: String, host: String, registry: String, said: String },
    #[error(
        "{what}: {host} sends who asks to {realm}, which is not encrypted; no credentials and no token go that way"
    )]
    Realm { what: String, host: String, realm: String },
    #[error("{what}: {host} asks for proof of a kind that lith has none of: {reason}")]
    Challenge { what: String, host: String, reason: String },
    #[error("{what}: the token server {server} gave no token: {reason}")]
    Token { what: String, server: String, reason: String },
    #[error("{what}: {from} redirects to {to}, which is not encrypted")]
    Downgrade { what: String, from: String, to: String },
    #[error("{what}: {host} redirects {reason}")]
    Redirect { what: String, host: String, reason: String },
    #[error("{what}: {host} redirects more than {REDIRECTS} times")]
    Redirects { what: String, host: String },
    #[error("{what}: {host}: {reason}")]
    Broken { what: String, host: String, reason: String },
    #[error("{what} from {host} is larger than the limit of {limit} bytes")]
    TooLarge { what: String, host: String, limit: u64 },
    #[error("{what} from {host} has {actual} bytes; its descriptor says {expected}")]
    Size { what: String, host: String, expected: u64, actual: String },
    #[error("{what} from {host} is {actual}, not what it is called")]
    Digest { what: String, host: String, actual: BlobDigest },
    #[error("{what}: {source}")]
    Document { what: String, source: DocumentError },
    #[error("{what} from {host} is {media_type}, which is neither a manifest nor an index")]
    MediaType { what: String, host: String, media_type: MediaType },
    #[error(
        "{what} is of type {media_type}: registries do not hold it, and from where its descriptor says lith takes nothing"
    )]
    Foreign { what: String, media_type: MediaType },
    #[error(
        "{what}: {host} wants it uploaded to {to}, which is another server; lith sends it to nobody but {host}"
    )]
    UploadElsewhere { what: String, host: String, to: String },
    #[error("{what}: the upload to {host} failed: {reason}")]
    Upload { what: String, host: String, reason: String },
    #[error(
        "{what}: {host} said that it took it, as {told}, and does not have it: what it keeps is something else; \
         push again, and if that does not help, the registry is at fault"
    )]
    NotKept { what: String, host: String, told: String },
    #[error(
        "{what}: {host} does not allow anything to be deleted{said}; that is a setting of the registry \
         (REGISTRY_STORAGE_DELETE_ENABLED=true for docker's)"
    )]
    NoDeletes { what: String, host: String, said: String },
    #[error("{what}: {host} sent a list that {reason}")]
    Pages { what: String, host: String, reason: String },
    #[error("{what}: {source}")]
    Name { what: String, source: ReferenceError },
    #[error("{what}: {source}")]
    Ingest { what: String, source: Box<IngestError> },
    #[error("{what}: {source}")]
    Login { what: String, source: Box<LoginError> },
    #[error("{what} cannot be read where it comes from: {source}")]
    Source { what: String, source: std::io::Error },
    #[error("{what}: {source}")]
    Pack { what: String, source: Box<ExportError> },
    #[error("{what} is not signed: {source}")]
    Sign { what: String, source: KeyError },
    #[error(transparent)]
    Untrusted(#[from] Box<Untrusted>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RegistryError {
    /// Whether a server says that it has no repository of that name (distribution-spec, "Error Codes").
    pub fn is_of_no_repository(&self) -> bool {
        matches!(self, Self::Missing { said, .. } if said.contains("NAME_UNKNOWN"))
    }

    /// Whether a server says that there is no such thing.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }
}
