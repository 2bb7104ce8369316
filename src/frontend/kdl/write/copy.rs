//! Steps that bring files.

use crate::path::ImagePath;
use crate::recipe::{Copy, CopySource, FilesFrom, Link, Unpack};
use crate::remote::Remote;

use super::super::printer::Out;
use super::Writer;

impl Writer<'_> {
    pub(super) fn copy(&self, copy: &Copy) -> Option<Out> {
        Some(match (copy.sources.as_slice(), copy.inline.as_slice()) {
            ([], [(name, bytes)]) if is_file(copy, name) => {
                let content = String::from_utf8_lossy(bytes);
                meta(Out::new("file").arg(destination(copy)).prop("content", content), copy)
            }
            ([source], []) if is_remote(source) && copy.unpack != Unpack::Archives => {
                let node = Out::new("fetch").arg(text(source, copy)).prop("to", destination(copy));
                let node = node.flag("unpack", copy.unpack == Unpack::All);
                excluded(meta(pinned(node, source), copy), copy)
            }
            (sources, _) if copy.unpack != Unpack::Never || sources.iter().any(is_remote) => {
                let node = placed(taken(Out::new("add"), copy), copy);
                let node = match copy.unpack {
                    Unpack::Archives => node,
                    Unpack::All => node.word("unpack=#true"),
                    Unpack::Never => node.word("unpack=#false"),
                };
                let node = if let [source] = sources { pinned(node, source) } else { node };
                inline(excluded(meta(node, copy), copy), copy)
            }
            _ => {
                let node = placed(self.from(taken(Out::new("copy"), copy), &copy.from), copy);
                inline(excluded(meta(node, copy), copy), copy)
            }
        })
    }
}

/// Whether it is what `file` makes.
fn is_file(copy: &Copy, name: &str) -> bool {
    !copy.dest_is_dir
        && copy.dest.name() == name.as_bytes()
        && copy.unpack == Unpack::Never
        && copy.from == FilesFrom::Context
        && copy.exclude.is_empty()
}

fn is_remote(source: &CopySource) -> bool {
    matches!(source, CopySource::Url { .. } | CopySource::Git(_))
}

fn taken(node: Out, copy: &Copy) -> Out {
    node.args(copy.sources.iter().map(|source| text(source, copy)))
}

fn placed(node: Out, copy: &Copy) -> Out {
    let parents = copy.sources.iter().any(|source| matches!(source, CopySource::Below { .. }));
    node.prop("to", destination(copy)).flag("parents", parents)
}

fn meta(node: Out, copy: &Copy) -> Out {
    node.maybe("owner", copy.chown.clone())
        .maybe("mode", copy.chmod.as_ref().map(ToString::to_string))
        .flag("link", copy.link == Link::Yes)
}

fn excluded(node: Out, copy: &Copy) -> Out {
    if copy.exclude.is_empty() { node } else { node.child(Out::new("exclude").args(&copy.exclude)) }
}

fn inline(node: Out, copy: &Copy) -> Out {
    let files = copy.inline.iter();
    node.children(files.map(|(name, bytes)| Out::new("inline").arg(name).arg(String::from_utf8_lossy(bytes))))
}

/// What a step's one source must be.
fn pinned(node: Out, source: &CopySource) -> Out {
    match source {
        CopySource::Url { checksum: Some(checksum), .. } => {
            let text = checksum.to_string();
            node.prop("sha256", text.strip_prefix("sha256:").unwrap_or(&text))
        }
        CopySource::Git(repo) if repo.reference.is_none() => node.maybe("commit", repo.checksum.clone()),
        CopySource::Path(_) | CopySource::Below { .. } | CopySource::Url { .. } | CopySource::Git(_) => node,
    }
}

/// The destination as it would be written: whether it is a directory shows in how it ends.
fn destination(copy: &Copy) -> String {
    let path = lossy(&copy.dest);
    match (copy.dest.is_root(), copy.dest_is_dir) {
        (true, true) => "/".to_owned(),
        (true, false) => "/x/..".to_owned(),
        (false, true) => format!("/{path}/"),
        (false, false) => format!("/{path}"),
    }
}

fn text(source: &CopySource, copy: &Copy) -> String {
    match source {
        CopySource::Path(path) => local(path, &copy.from),
        CopySource::Below { base, pattern } if base.is_root() => local(pattern, &copy.from),
        CopySource::Below { base, pattern } => format!("/{}/./{}", lossy(base), lossy(pattern)),
        CopySource::Url { url, .. } => url.clone(),
        CopySource::Git(repo) => repo.text(),
    }
}

/// A path of the context is relative, any other is not; nor is one that would be taken for something remote.
fn local(path: &ImagePath, from: &FilesFrom) -> String {
    let text = lossy(path);
    match (from, text.as_str()) {
        (FilesFrom::Context | FilesFrom::NamedContext(_), "") => ".".to_owned(),
        (FilesFrom::Context | FilesFrom::NamedContext(_), text) if Remote::parse(text) == Ok(None) => {
            text.to_owned()
        }
        (_, text) => format!("/{text}"),
    }
}

fn lossy(path: &ImagePath) -> String {
    String::from_utf8_lossy(path.as_bytes()).into_owned()
}
