//! Odd layers that are legal and occur in the wild: strictness must not cost them.

use lith::digest::ContentDigest;
use lith::layer::{Eof, Fault, Limits, Node, Purpose, index_for};
use lith::path::ImagePath;

use super::raw::{Entry, accepted, dir, entry, file, hardlink, long, pax, read, symlink, tar};

fn path(text: &str) -> ImagePath {
    ImagePath::parse(text.as_bytes()).unwrap()
}

fn shown(entries: &[Entry]) -> Vec<String> {
    accepted(entries).toc.entries().iter().map(|e| e.path.to_string()).collect()
}

macro_rules! legal {
    ($($name:ident: $entries:expr => $paths:expr;)*) => {
        $(#[test]
        fn $name() {
            assert_eq!(shown(&$entries), $paths);
        })*
    };
}

legal! {
    legal_empty_layer: [] => [""; 0];
    legal_dot_slash_names: [dir("./"), dir("./etc/"), file("./etc/passwd", "x")] => ["/", "/etc", "/etc/passwd"];
    legal_parents_left_out: [file("usr/local/bin/tool", "x")] => ["/usr/local/bin/tool"];
    legal_children_before_parents: [file("a/b", ""), dir("a")] => ["/a", "/a/b"];
    legal_any_order: [file("z", ""), file("a", ""), file("m", "")] => ["/a", "/m", "/z"];
    legal_directory_twice: [dir("a"), file("a/x", ""), dir("a/")] => ["/a", "/a/x"];
    legal_directory_without_slash: [dir("a")] => ["/a"];
    legal_old_file_type: [entry("f", 0).with_body("x")] => ["/f"];
    legal_old_directory_by_slash: [entry("d/", 0)] => ["/d"];
    legal_gnu_long_name: [long(b'L', format!("d/{}", "x".repeat(200))), file("d/xx", "").gnu()] => [format!("/d/{}", "x".repeat(200))];
    legal_gnu_long_name_and_link: [long(b'K', "y".repeat(150)), long(b'L', "x".repeat(150)), symlink("x", "y").gnu()] => [format!("/{}", "x".repeat(150))];
    legal_gnu_magic: [file("f", "x").gnu()] => ["/f"];
    legal_gnu_times_are_no_prefix: [file("f", "x").gnu().field(345, 12, "14524770400").field(357, 12, "14524770400")] => ["/f"];
    legal_ustar_prefix: [file("name", "x").field(345, 155, "some/long/prefix")] => ["/some/long/prefix/name"];
    legal_name_fills_its_field: [file("n".repeat(100), "")] => [format!("/{}", "n".repeat(100))];
    legal_pax_path: [pax(&[(b"path", "d/\u{e9}".as_bytes())]), file("d", "")] => ["/d/\u{e9}"];
    legal_pax_vendor_records: [pax(&[(b"APK-TOOLS.checksum.SHA1", b"x"), (b"LIBARCHIVE.creationtime", b"1"), (b"RHT.security.selinux", b"s"), (b"SCHILY.dev", b"1")]), file("f", "")] => ["/f"];
    legal_pax_times_nobody_needs: [pax(&[(b"atime", b"1.5"), (b"ctime", b"2.5"), (b"uname", b"me"), (b"comment", b"hi")]), file("f", "")] => ["/f"];
    legal_global_comment: [entry("pax_global_header", b'g').with_body("52 comment=0123456789abcdef0123456789abcdef01234567\n"), file("f", "")] => ["/f"];
    legal_spaces_in_numbers: [file("f", "").field(100, 8, "   644 ").field(108, 8, "     0 ").field(124, 12, "          0 ")] => ["/f"];
    legal_unterminated_numbers: [file("f", "").field(136, 12, "014524770400")] => ["/f"];
    legal_empty_owner_fields: [file("f", "").field(108, 8, "").field(116, 8, "")] => ["/f"];
    legal_mode_with_file_type: [file("f", "").field(100, 8, "0100644")] => ["/f"];
    legal_setuid: [file("su", "").field(100, 8, "0004755")] => ["/su"];
    legal_fifo: [entry("p", b'6')] => ["/p"];
    legal_devices: [entry("null", b'3').device(1, 3), entry("sda", b'4').device(8, 0)] => ["/null", "/sda"];
    legal_absolute_hard_link: [file("a", "x"), hardlink("b", "/a")] => ["/a", "/b"];
    legal_dangling_and_outward_symlinks: [symlink("a", "/nowhere"), symlink("b", "../../../x")] => ["/a", "/b"];
    legal_whiteouts: [file("a/.wh.gone", ""), file("b/.wh..wh..opq", "")] => ["/a/gone", "/b"];
    legal_whiteout_as_hard_link: [file(".wh..wh.aufs", ""), hardlink(".wh.x", ".wh..wh.aufs")] => ["/x"];
    legal_opaque_root: [file(".wh..wh..opq", "")] => ["/"];
    legal_names_like_whiteouts: [file(".whatever", ""), file("a.wh.b", ""), file(".wh", "")] => ["/.wh", "/.whatever", "/a.wh.b"];
    legal_case_and_normal_forms: [file("A", ""), file("a", ""), file("e\u{301}", ""), file("\u{e9}", "")] => ["/A", "/a", "/e\u{301}", "/\u{e9}"];
}

#[test]
fn legal_link_to_link() {
    let toc = accepted(&[file("a", "x"), hardlink("b", "a"), hardlink("c", "b")]).toc;
    assert_eq!(toc.get(&path("c")).unwrap().node, Node::Hardlink(path("a")));
}

#[test]
fn legal_link_with_other_metadata_shares_that_of_the_file() {
    let toc = accepted(&[file("a", "x"), hardlink("b", "a").field(100, 8, "0000777")]).toc;
    assert_eq!(toc.get(&path("b")).unwrap().meta.mode, 0o644);
}

#[test]
fn legal_last_directory_wins() {
    let toc = accepted(&[dir("a").field(100, 8, "0000700"), dir("a").field(100, 8, "0000755")]).toc;
    assert_eq!(toc.get(&path("a")).unwrap().meta.mode, 0o755);
}

#[test]
fn legal_large_owner_in_binary_and_pax() {
    let binary = file("f", "").gnu().field(108, 8, b"\x80\0\0\0\xff\xff\xff\xfe");
    assert_eq!(accepted(&[binary]).toc.entries()[0].meta.uid, 4_294_967_294);
    let text = [pax(&[(b"uid", b"4294967294")]), file("f", "").field(108, 8, "")];
    assert_eq!(accepted(&text).toc.entries()[0].meta.uid, 4_294_967_294);
}

#[test]
fn legal_capabilities_and_user_xattrs() {
    let xattrs =
        [(&b"SCHILY.xattr.user.b"[..], &b"2"[..]), (b"SCHILY.xattr.security.capability", b"\x01\0\n\0")];
    let toc = accepted(&[pax(&xattrs), file("f", "")]).toc;
    let kept = &toc.entries()[0].meta.xattrs;
    assert_eq!(kept[0], (b"security.capability".to_vec(), b"\x01\0\n\0".to_vec()));
    assert_eq!(kept[1], (b"user.b".to_vec(), b"2".to_vec()));
}

#[test]
fn legal_padding_to_ten_kibibytes() {
    let mut bytes = tar(&[file("f", "x")]);
    bytes.resize(10240, 0);
    let indexed = read(&bytes).unwrap();
    assert_eq!((indexed.eof, indexed.size, indexed.warnings.len()), (Eof::Marked, 10240, 0));
}

#[test]
fn legal_body_of_whole_blocks_and_many_buffers() {
    let body: Vec<u8> = (0..700_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let toc = accepted(&[file("a", &body), file("b", &body[..1024])]).toc;
    let Node::File { size, content, offset } = toc.get(&path("a")).unwrap().node else { panic!("a file") };
    assert_eq!((size, content, offset), (700_000, lith::digest::ContentDigest::of(&body), 512));
}

#[test]
fn an_archive_may_be_older_than_posix_and_may_have_been_appended_to() {
    let v7 = |entry: Entry| entry.field(257, 8, [0; 8]);
    let bytes = tar(&[
        v7(dir("d/")),
        v7(file("d/a", "old")),
        symlink("s", "d"),
        file("f", "file"),
        v7(file("d/a", "new")),
        dir("s"),
        file("s/in", ""),
        symlink("f", "d/a"),
    ]);
    let read = |purpose| index_for(&bytes[..], &Limits::default(), purpose);
    assert!(matches!(read(Purpose::Layer).unwrap_err().what, Fault::Magic));
    let toc = read(Purpose::Archive).unwrap().toc;
    let found: Vec<_> = toc.entries().iter().map(|entry| (entry.path.to_string(), &entry.node)).collect();
    let new = ContentDigest::of(b"new");
    assert!(
        matches!(
            &found[..],
            [
                (_, Node::Dir),
                (a, Node::File { content, .. }),
                (f, Node::Symlink(_)),
                (s, Node::Dir),
                (_, Node::File { .. })
            ] if content == &new && [a, f, s] == ["/d/a", "/f", "/s"]
        ),
        "{found:?}"
    );
    // What then lies below a symlink is refused as ever.
    let bad = tar(&[dir("d"), file("d/x", ""), symlink("d", "/etc")]);
    let error = index_for(&bad[..], &Limits::default(), Purpose::Archive).unwrap_err();
    assert!(matches!(error.what, Fault::BelowNonDirectory(_)), "{error}");
}
