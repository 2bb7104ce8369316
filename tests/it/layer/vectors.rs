//! The bytes of containerd's archive writer, as BuildKit wrote them for one Dockerfile
//! (spec/layer.md has the Dockerfile and the diff ids).

use lith::digest::ContentDigest;
use lith::layer::{LayerWriter, Meta, Mtime, Node, WriteError, Written};
use lith::path::ImagePath;

const EPOCH: i64 = 1_700_000_000;

fn path(text: &str) -> ImagePath {
    ImagePath::parse(text.as_bytes()).unwrap()
}

fn meta(mode: u16, owner: u32) -> Meta {
    Meta { mode, uid: owner, gid: owner, mtime: Mtime { secs: EPOCH, nanos: 0 }, xattrs: vec![] }
}

struct Layer(LayerWriter<Vec<u8>>);

impl Layer {
    fn new() -> Self {
        Self(LayerWriter::new(Vec::new()))
    }

    fn node(mut self, at: &str, mode: u16, node: Node) -> Self {
        self.0.node(&path(at), &meta(mode, 0), &node).unwrap();
        self
    }

    fn dir(self, at: &str) -> Self {
        self.node(at, 0o755, Node::Dir)
    }

    fn file(mut self, at: &str, mode: u16, text: &str) -> Self {
        let content = self.0.stream(&path(at), &meta(mode, 0), text.len() as u64, &mut text.as_bytes());
        assert_eq!(content.unwrap(), ContentDigest::of(text.as_bytes()));
        self
    }

    fn link(self, at: &str, target: &str) -> Self {
        self.node(at, 0o777, Node::Symlink(target.into()))
    }

    fn equals(self, name: &str, diff_id: &str) -> Written {
        let (bytes, written) = self.0.finish().unwrap();
        let file = format!("{}/tests/data/layers/vectors/{name}.tar", env!("CARGO_MANIFEST_DIR"));
        let wanted = std::fs::read(file).unwrap();
        let differs = bytes.iter().zip(&wanted).position(|(a, b)| a != b);
        assert!(bytes == wanted, "{name}: {} bytes of {}, first at {differs:?}", bytes.len(), wanted.len());
        assert_eq!(written.diff_id.hex(), diff_id);
        assert_eq!(written.size, wanted.len() as u64);
        written
    }
}

#[test]
fn run_nothing() {
    Layer::new().equals("1-run-nothing", "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef");
}

#[test]
fn copy_file() {
    Layer::new()
        .file("second.txt", 0o644, "second\n")
        .equals("2-copy-file", "fd4f1d6b352412b189d11ca5e4627cdfcfaf4b14fecf8a325ceb184405dfcbcc");
}

#[test]
fn add_file() {
    Layer::new()
        .file("third.txt", 0o644, "third\n")
        .equals("3-add-file", "258e27e2c3e7bb9c9f7a5d9478cf1fec9fdaa29e7c603a926b01e661c2067ef6");
}

#[test]
fn copy_tree() {
    let written = Layer::new()
        .dir("opt")
        .dir("opt/tree")
        .file("opt/tree/a-b", 0o755, "2\n")
        .dir("opt/tree/sub")
        .file("opt/tree/sub/f", 0o644, "1\n")
        .link("opt/tree/sub/link", "../a-b")
        .equals("4-copy-tree", "75276a715f646bc27303ca610317e71849268fdbc8153723dff85bb01ff3dd99");
    let node = &written.toc.get(&path("opt/tree/sub/f")).unwrap().node;
    assert_eq!(*node, Node::File { size: 2, content: ContentDigest::of(b"1\n"), offset: 0xc00 });
}

#[test]
fn copy_chown_chmod() {
    let mut writer = LayerWriter::new(Vec::new());
    let owned = meta(0o600, 65534);
    writer.node(&path("deep"), &owned, &Node::Dir).unwrap();
    writer.node(&path("deep/er"), &owned, &Node::Dir).unwrap();
    writer.bytes(&path("deep/er/x"), &owned, b"second\n", ContentDigest::of(b"second\n")).unwrap();
    Layer(writer)
        .equals("5-copy-chown-chmod", "9624778474599d3f225b8163a09579c3a44c619ef882758d5c55cf5b18f49b0d");
}

#[test]
fn run_links() {
    Layer::new()
        .dir("a")
        .dir("a/b")
        .file("a/b/c", 0o4755, "x\n")
        .node("a/b/d", 0o4755, Node::Hardlink(path("a/b/c")))
        .link("a/b/e", "c")
        .node("a/p", 0o644, Node::Fifo)
        .dir("a.d")
        .file("a.d/z", 0o644, "y\n")
        .equals("6-run-links", "1add2be40c8ec974c174e20467f7b3b3d90ce90b9f889bf84c35e2e704ba5926");
}

#[test]
fn run_whiteouts() {
    Layer::new()
        .dir("a")
        .node("a/b", 0o755, Node::Whiteout)
        .dir("a/moved")
        .file("a/moved/c", 0o4755, "x\n")
        .link("a/moved/e", "c")
        .dir("a.d")
        .file("a.d/new", 0o644, "n\n")
        .node("a.d/z", 0, Node::Whiteout)
        .equals("7-run-whiteouts", "575e66dd80aa33dd01d25c2af068cf049591543ef9aa58924169ede40e580a9b");
}

#[test]
fn workdir() {
    Layer::new()
        .dir("w")
        .dir("w/d")
        .equals("8-workdir", "9f4df7588aa595963baf002ef52eaca16387eb730580b3c712023cdb68c3e137");
}

#[test]
fn order_and_shape_are_enforced() {
    let m = meta(0o644, 0);
    let start = || {
        let mut writer = LayerWriter::new(Vec::new());
        writer.node(&path("b"), &m, &Node::Fifo).unwrap();
        writer
    };
    let fails = |at: &str, node: Node| start().node(&path(at), &m, &node).unwrap_err();
    assert!(matches!(fails("a", Node::Dir), WriteError::Order { .. }));
    assert!(matches!(fails("b", Node::Dir), WriteError::Duplicate { .. }));
    assert!(matches!(fails("b/c", Node::Dir), WriteError::BelowNonDirectory { .. }));
    assert!(matches!(fails("c/.wh.x", Node::Dir), WriteError::WhiteoutName { .. }));
    assert!(matches!(fails("c", Node::Opaque), WriteError::Opaque { .. }));
    assert!(matches!(fails("c", Node::Hardlink(path("b"))), WriteError::LinkTarget { .. }));
    assert!(matches!(fails("c", Node::Symlink(vec![])), WriteError::SymlinkTarget { .. }));
    assert!(matches!(fails("c", Node::Char { major: 1 << 21, minor: 0 }), WriteError::Header { .. }));
    assert!(matches!(fails("", Node::Dir), WriteError::Root));
    let bytes = Node::File { size: 0, content: ContentDigest::of(b""), offset: 0 };
    assert!(matches!(fails("c", bytes), WriteError::NoBytes { .. }));
}

#[test]
fn a_file_that_changes_while_it_is_read_is_an_error() {
    for (size, bytes) in [(4, "abc"), (2, "abc"), (0, "a")] {
        let mut writer = LayerWriter::new(Vec::new());
        let result = writer.stream(&path("f"), &meta(0o644, 0), size, &mut bytes.as_bytes());
        assert!(matches!(result, Err(WriteError::Length { .. })), "{size} {bytes}");
    }
}

/// Where ustar does not suffice, what Go's archive/tar writes: worked out by hand from its writer.
#[test]
fn pax_headers_are_those_of_go() {
    let long = format!("{}/{}", "d".repeat(60), "f".repeat(60));
    let bytes = Layer::new().node(&long, 0o644, Node::Fifo).0.finish().unwrap().0;
    assert_eq!(bytes.len(), 512 + 1024, "a name that splits needs no extended header");
    assert_eq!(&bytes[..61], [&[b'f'; 60][..], &[0]].concat());
    assert_eq!(&bytes[345..406], [&[b'd'; 60][..], &[0]].concat());

    let mut big = meta(0o644, 2_097_152);
    big.mtime.secs = -3;
    big.xattrs = vec![(b"security.capability".to_vec(), b"\x01\0".to_vec())];
    let mut writer = LayerWriter::new(Vec::new());
    writer.node(&path(&format!("é{long}")), &big, &Node::Fifo).unwrap();
    let bytes = writer.finish().unwrap().0;
    let records: &[u8] = b"39 SCHILY.xattr.security.capability=\x01\0\n15 gid=2097152\n12 mtime=-3\n";
    let path_record = format!("133 path=é{long}\n15 uid=2097152\n");
    let body = [records, path_record.as_bytes()].concat();
    let name = format!("{}/PaxHeaders.0/{}", "d".repeat(60), "f".repeat(60));
    assert_eq!(&bytes[..100], &name.as_bytes()[..100]);
    assert_eq!(&bytes[100..124], b"0000000\x000000000\x000000000\0");
    assert_eq!(&bytes[124..136], format!("{:011o}\0", body.len()).as_bytes());
    assert_eq!(bytes[156], b'x');
    assert_eq!(&bytes[329..345], &[0; 16], "an extended header has no device fields");
    assert_eq!(&bytes[512..512 + body.len()], body);
    let main = &bytes[1024..1536];
    assert_eq!(&main[..100], format!("{}/{}", "d".repeat(60), "f".repeat(39)).as_bytes());
    assert_eq!(&main[108..124], b"0000000\x000000000\0", "what does not fit is zero");
    assert_eq!(&main[136..148], b"00000000000\0");
    assert_eq!(main[156], b'6');
    assert_eq!(&main[345..500], &[0; 155], "no prefix beside a path record");
}
