//! What the writer wrote, the reader reads, and every other program does.

use lith::digest::ContentDigest;
use lith::layer::{
    LayerWriter, Limits, Member, MemberKind, Meta, Mtime, Node, ReadError, archive_entries, index,
};
use lith::path::ImagePath;
use proptest::prelude::*;

fn paths() -> impl Strategy<Value = Vec<ImagePath>> {
    let name = prop_oneof![
        4 => "[a-c.]{1,3}",
        1 => "[a-z]{90,110}",
        1 => "[é-ü]{1,60}",
        1 => "[ \\\\\n\"']{1,4}",
    ];
    let path = prop::collection::vec(name, 1..5)
        .prop_filter_map("dots", |names| ImagePath::parse(names.join("/").as_bytes()).ok())
        .prop_filter("the root", |path| !path.is_root());
    prop::collection::btree_set(path, 0..12).prop_map(|set| set.into_iter().collect())
}

fn meta() -> impl Strategy<Value = Meta> {
    let id = prop_oneof![0..3u32, Just(2_097_151), Just(2_097_152), Just(u32::MAX - 1)];
    let secs =
        prop_oneof![Just(0), Just(-1), Just(1_700_000_000), Just(1 << 33), -5_000_000_000..5_000_000_000i64];
    let value = prop::collection::vec(any::<u8>(), 0..300);
    let xattrs = prop::collection::btree_map("user\\.[a-z]{1,3}", value, 0..3);
    (0..=0o7777u16, id.clone(), id, secs, prop_oneof![4 => Just(0), 1 => 0..1_000_000_000u32], xattrs)
        .prop_map(|(mode, uid, gid, secs, nanos, xattrs)| Meta {
            mode,
            uid,
            gid,
            mtime: Mtime { secs, nanos },
            xattrs: xattrs.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect(),
        })
}

#[derive(Debug, Clone)]
enum Made {
    Bytes(Vec<u8>),
    Streamed(Vec<u8>),
    LinkToFirst,
    Plain(Node),
}

fn made() -> impl Strategy<Value = Made> {
    let bytes = prop::collection::vec(any::<u8>(), 0..1500);
    prop_oneof![
        bytes.clone().prop_map(Made::Bytes),
        bytes.prop_map(Made::Streamed),
        Just(Made::LinkToFirst),
        Just(Made::Plain(Node::Dir)),
        "[a-zé/.]{1,150}".prop_map(|target| Made::Plain(Node::Symlink(target.into_bytes()))),
        (1..2_097_152u32, 0..2_097_152u32)
            .prop_map(|(major, minor)| Made::Plain(Node::Char { major, minor })),
        (0..9u32, 0..9u32).prop_map(|(major, minor)| Made::Plain(Node::Block { major, minor })),
        Just(Made::Plain(Node::Fifo)),
        Just(Made::Plain(Node::Whiteout)),
    ]
}

/// Writes what is possible of the wishes; the writer refuses the rest.
fn write(wishes: &[(ImagePath, Meta, Made)]) -> (Vec<u8>, lith::layer::Written) {
    let mut writer = LayerWriter::new(Vec::new());
    let mut first: Option<(ImagePath, Meta)> = None;
    let mut above: Option<ImagePath> = None;
    for (path, meta, made) in wishes {
        if above.as_ref().is_some_and(|above| path.strip_prefix(above).is_some()) {
            continue;
        }
        match (made, &first) {
            (Made::Bytes(bytes), _) => writer.bytes(path, meta, bytes, ContentDigest::of(bytes)).unwrap(),
            (Made::Streamed(bytes), _) => {
                writer.stream(path, meta, bytes.len() as u64, &mut &bytes[..]).map(drop).unwrap();
            }
            (Made::LinkToFirst, Some((target, meta))) => {
                writer.node(path, meta, &Node::Hardlink(target.clone())).unwrap();
            }
            (Made::LinkToFirst, None) => continue,
            (Made::Plain(node), _) => writer.node(path, meta, node).unwrap(),
        }
        if first.is_none() && matches!(made, Made::Bytes(_) | Made::Streamed(_)) {
            first = Some((path.clone(), meta.clone()));
        }
        above = (!matches!(made, Made::Plain(Node::Dir))).then(|| path.clone());
    }
    writer.finish().unwrap()
}

proptest! {
    #[test]
    fn reading_what_was_written_is_identity(
        paths in paths(), metas in prop::collection::vec(meta(), 12), mades in prop::collection::vec(made(), 12)
    ) {
        let wishes: Vec<_> = paths.into_iter().zip(metas).zip(mades).map(|((p, m), n)| (p, m, n)).collect();
        let (bytes, written) = write(&wishes);
        let indexed = index(&bytes[..], &Limits::default()).unwrap();
        prop_assert_eq!(indexed.diff_id, written.diff_id);
        prop_assert_eq!(indexed.size, written.size);
        prop_assert_eq!(&indexed.toc, &written.toc);
        prop_assert_eq!(indexed.diff_id, lith::digest::BlobDigest::of(&bytes).into());
        for entry in written.toc.entries() {
            if let Node::File { size, content, offset } = entry.node {
                let from = usize::try_from(offset).unwrap();
                let body = &bytes[from..from + usize::try_from(size).unwrap()];
                prop_assert_eq!(content, ContentDigest::of(body));
            }
        }
    }

    #[test]
    fn damaged_tars_never_panic(
        paths in paths(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()
    ) {
        let wishes: Vec<_> = paths.into_iter().map(|p| (p, Meta::default(), Made::Bytes(vec![7; 600]))).collect();
        let (mut bytes, _) = write(&wishes);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = index(&bytes[..], &Limits::default());
        let _ = index(&bytes[..cut.index(bytes.len())], &Limits::default());
    }
}

#[test]
fn large_layers_hash_on_a_thread_and_mean_the_same() {
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let mut writer = LayerWriter::new(Vec::new());
    let path = |n: usize| ImagePath::parse(format!("f{n:03}").as_bytes()).unwrap();
    for n in 0..200 {
        let part = &body[..n * 15_000];
        writer.stream(&path(n), &Meta::default(), part.len() as u64, &mut &part[..]).unwrap();
    }
    let (bytes, written) = writer.finish().unwrap();
    assert_eq!(written.diff_id, lith::digest::BlobDigest::of(&bytes).into());
    let indexed = index(&bytes[..], &Limits::default()).unwrap();
    assert_eq!((indexed.diff_id, indexed.toc), (written.diff_id, written.toc));
}

#[test]
fn archives_are_visited_with_their_bytes() {
    use super::raw::{dir, file, hardlink, tar};
    let bytes = tar(&[dir("d"), file("d/.wh.x", "one"), file("d/y", [b'z'; 2000]), hardlink("l", "../x")]);
    let mut seen = Vec::new();
    let result: Result<Vec<String>, ReadError> =
        archive_entries(&bytes[..], &Limits::default(), |member: &Member, body| {
            let mut text = String::new();
            if member.path.name() != b"y" {
                body.read_to_string(&mut text).unwrap();
            }
            seen.push((member.path.to_string(), member.kind.clone(), text));
            Ok(())
        });
    assert!(matches!(result.unwrap_err().what, lith::layer::Fault::LinkPath(_)));
    assert_eq!(
        seen,
        [
            ("/d".to_owned(), MemberKind::Dir, String::new()),
            ("/d/.wh.x".to_owned(), MemberKind::File(3), "one".to_owned()),
            ("/d/y".to_owned(), MemberKind::File(2000), String::new()),
        ]
    );
}
