//! Planned entries to a layer, in one streaming pass: small files are read ahead in parallel while earlier ones are
//! written, large ones stream through.

use std::io::Read as _;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use rayon::prelude::*;

use super::ExecError;
use super::copy::Planned;
use super::source::{Body, Entry, SourceNode};
use crate::context::ContextError;
use crate::digest::ContentDigest;
use crate::layer::Node;
use crate::layer::write::{LayerWriter, Written};
use crate::path::ImagePath;
use crate::store::Store;
use crate::store::blobs::LayerSink;
use crate::sys::file::Section;

/// Files up to this size are read whole, ahead of the writer.
const SMALL: u64 = 1 << 20;
/// How much is read ahead at a time, in bytes and in entries.
const BATCH_BYTES: u64 = 8 << 20;
const BATCH_ENTRIES: usize = 1024;

/// Writes a layer. Every file's bytes are checked against the digest they were planned with.
pub fn pack(store: &Store, planned: &Planned) -> Result<(LayerSink, Written), ExecError> {
    let mut writer = LayerWriter::new(store.layer_sink()?);
    open_layers(store, planned)?;
    let batches = batches(planned);
    let mut ahead = batches.first().map(|range| read_ahead(store, &planned[range.clone()])).transpose()?;
    for (at, range) in batches.iter().enumerate() {
        let bodies = ahead.take().expect("read with the batch before");
        let next = batches.get(at + 1);
        let (written, read) = rayon::join(
            || write_batch(store, &mut writer, &planned[range.clone()], &bodies),
            || next.map(|range| read_ahead(store, &planned[range.clone()])).transpose(),
        );
        written?;
        ahead = read?;
    }
    Ok(writer.finish()?)
}

/// Layers that are elsewhere are brought before several threads read from them.
fn open_layers(store: &Store, planned: &Planned) -> Result<(), ExecError> {
    for (_, entry) in planned {
        if let SourceNode::File { body: Body::Layer { tar, .. }, .. } = &entry.node {
            tar.open(store)?;
        }
    }
    Ok(())
}

fn batches(planned: &Planned) -> Vec<Range<usize>> {
    let mut batches = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, (_, entry)) in planned.iter().enumerate() {
        bytes += small_size(entry).unwrap_or(0);
        if bytes >= BATCH_BYTES || at + 1 - start >= BATCH_ENTRIES {
            batches.push(start..at + 1);
            (start, bytes) = (at + 1, 0);
        }
    }
    if start < planned.len() {
        batches.push(start..planned.len());
    }
    batches
}

/// The size of a file that is read ahead.
fn small_size(entry: &Entry) -> Option<u64> {
    match entry.node {
        SourceNode::File { size, .. } if size <= SMALL => Some(size),
        SourceNode::File { .. } | SourceNode::Dir | SourceNode::Hardlink(_) | SourceNode::Other(_) => None,
    }
}

fn read_ahead(store: &Store, batch: &[(ImagePath, Entry)]) -> Result<Vec<Option<Vec<u8>>>, ExecError> {
    batch.par_iter().with_min_len(16).map(|(path, entry)| read_small(store, path, entry)).collect()
}

fn read_small(store: &Store, path: &ImagePath, entry: &Entry) -> Result<Option<Vec<u8>>, ExecError> {
    let (Some(size), SourceNode::File { content, body, .. }) = (small_size(entry), &entry.node) else {
        return Ok(None);
    };
    let mut bytes = vec![0; usize::try_from(size).expect("at most 1 MiB")];
    match body {
        Body::Bytes(whole) => bytes.copy_from_slice(whole),
        Body::Tar { tar, offset } => tar
            .read_exact_at(&mut bytes, *offset)
            .map_err(|source| ExecError::ReadLayer { path: path.clone(), source })?,
        Body::Layer { tar, offset } => tar
            .open(store)?
            .read_exact_at(&mut bytes, *offset)
            .map_err(|source| ExecError::ReadLayer { path: path.clone(), source })?,
        Body::Blob(file) => file
            .read_exact_at(&mut bytes, 0)
            .map_err(|source| ExecError::ReadLayer { path: path.clone(), source })?,
        Body::Context { context, path, stamp } => {
            let mut file = context.open_file(path, stamp)?;
            file.read_exact(&mut bytes).map_err(|_| ContextError::Changed(path.clone()))?;
        }
    }
    check(path, body, ContentDigest::of(&bytes), *content)?;
    Ok(Some(bytes))
}

/// A file that hashes differently from when it was planned would make the key a lie.
fn check(
    path: &ImagePath,
    body: &Body,
    actual: ContentDigest,
    planned: ContentDigest,
) -> Result<(), ExecError> {
    if actual == planned {
        return Ok(());
    }
    Err(match body {
        Body::Context { path, .. } => ContextError::Changed(path.clone()).into(),
        Body::Tar { .. } | Body::Layer { .. } | Body::Bytes(_) | Body::Blob(_) => {
            ExecError::Damaged { path: path.clone() }
        }
    })
}

fn write_batch(
    store: &Store,
    writer: &mut LayerWriter<LayerSink>,
    batch: &[(ImagePath, Entry)],
    bodies: &[Option<Vec<u8>>],
) -> Result<(), ExecError> {
    for ((path, entry), bytes) in batch.iter().zip(bodies) {
        match (&entry.node, bytes) {
            (SourceNode::File { content, .. }, Some(bytes)) => {
                writer.bytes(path, &entry.meta, bytes, *content)?
            }
            (SourceNode::File { size, content, body }, None) => {
                let actual = stream(store, writer, path, entry, (*size, body))?;
                check(path, body, actual, *content)?;
            }
            (SourceNode::Dir, _) => writer.node(path, &entry.meta, &Node::Dir)?,
            (SourceNode::Hardlink(to), _) => writer.node(path, &entry.meta, &Node::Hardlink(to.clone()))?,
            (SourceNode::Other(node), _) => writer.node(path, &entry.meta, node)?,
        }
    }
    Ok(())
}

fn stream(
    store: &Store,
    writer: &mut LayerWriter<LayerSink>,
    path: &ImagePath,
    entry: &Entry,
    (size, body): (u64, &Body),
) -> Result<ContentDigest, ExecError> {
    Ok(match body {
        Body::Bytes(bytes) => writer.stream(path, &entry.meta, size, &mut &bytes[..])?,
        Body::Tar { tar, offset } => {
            let mut reader = Section { file: tar.as_ref(), at: *offset, left: size };
            writer.stream(path, &entry.meta, size, &mut reader)?
        }
        Body::Layer { tar, offset } => {
            let mut reader = Section { file: tar.open(store)?, at: *offset, left: size };
            writer.stream(path, &entry.meta, size, &mut reader)?
        }
        Body::Blob(file) => {
            let mut reader = Section { file: file.as_ref(), at: 0, left: size };
            writer.stream(path, &entry.meta, size, &mut reader)?
        }
        Body::Context { context, path: source, stamp } => {
            let mut file = context.open_file(source, stamp)?;
            writer.stream(path, &entry.meta, size, &mut file)?
        }
    })
}
