//! Layers that must be refused, or contained, by the reader. Numbered by the classes of the threat catalogue.

use lith::layer::{Eof, Fault, Limits, Node, Tree, index};
use lith::path::ImagePath;

use super::raw::{
    Entry, accepted, dir, entry, file, hardlink, long, open_tar, pax, pax_raw, read, refused, refused_bytes,
    symlink, tar,
};

fn path(text: &str) -> ImagePath {
    ImagePath::parse(text.as_bytes()).unwrap()
}

#[test]
fn l01_dotdot() {
    for name in ["../x", "a/../../x", "a/..", "..", "/../x", "./../x", "a/b/../c"] {
        assert!(matches!(refused(&[file(name, "")], name), Fault::Path(_)), "{name}");
        assert!(matches!(refused(&[dir(name)], name), Fault::Path(_)), "{name}");
        assert!(matches!(
            refused(&[pax(&[(b"path", name.as_bytes())]), file("y", "")], name),
            Fault::Path(_)
        ));
        assert!(matches!(refused(&[long(b'L', name), file("y", "").gnu()], name), Fault::Path(_)));
    }
    assert!(matches!(refused(&[file("../.wh.x", "")], ".wh.x"), Fault::Path(_)));
    assert!(matches!(refused(&[file("a/../.wh..wh..opq", "")], "opq"), Fault::Path(_)));
}

#[test]
fn l02_absolute_names_lie_in_the_root() {
    let toc = accepted(&[file("/abs", "x"), file("//abs//two", "y").field(0, 100, "//abz//two")]).toc;
    let names: Vec<_> = toc.entries().iter().map(|e| e.path.to_string()).collect();
    assert_eq!(names, ["/abs", "/abz/two"]);
}

#[test]
fn l03_below_a_symlink() {
    let bad = [symlink("d", "/etc"), file("d/x", "")];
    assert!(matches!(refused(&bad, "d/x"), Fault::BelowNonDirectory(_)));
    let bad = [file("d/x", ""), symlink("d", "/etc")];
    assert!(matches!(refused(&bad, "d/x"), Fault::BelowNonDirectory(_)));
}

#[test]
fn l04_directory_then_symlink() {
    let bad = [dir("d"), symlink("d", "/etc"), file("d/y", "")];
    assert!(matches!(refused(&bad, "d"), Fault::Duplicate));
}

#[test]
fn l05_chain_of_links() {
    let bad = [symlink("l1", ".."), symlink("l2", "l1/.."), symlink("l3", "l2/../.."), file("l3/x", "")];
    assert!(matches!(refused(&bad, "l3/x"), Fault::BelowNonDirectory(_)));
}

#[test]
fn l06_symlink_loop() {
    let loops = [symlink("a", "b"), symlink("b", "a")];
    let tree = Tree::new(vec![std::sync::Arc::new(accepted(&loops).toc)]);
    assert!(tree.resolve(&path("a/x"), lith::layer::FollowLast::Follow).is_err());
    let [a, b] = loops;
    assert!(matches!(refused(&[a, b, file("a/x", "")], "a/x"), Fault::BelowNonDirectory(_)));
}

#[test]
fn l07_root_as_something_else() {
    for name in [".", "./", "/", "././/"] {
        assert!(
            matches!(refused(&[symlink(name, "/etc")], name), Fault::Root | Fault::TrailingSlash),
            "{name}"
        );
        assert!(matches!(refused(&[file(name, "")], name), Fault::Root | Fault::TrailingSlash), "{name}");
    }
    assert!(matches!(refused(&[symlink("a/..", "/etc")], "a/.."), Fault::Path(_)));
    assert!(matches!(refused(&[hardlink(".", "x")], "."), Fault::Root));
    assert!(matches!(refused(&[entry("/", 0).with_body("x")], "/"), Fault::Body(1)));
}

#[test]
fn l08_hard_link_outside() {
    for target in ["../x", "a/../../etc/passwd"] {
        assert!(matches!(refused(&[hardlink("h", target)], "h"), Fault::LinkPath(_)), "{target}");
    }
    for target in ["/etc/passwd", "etc/passwd"] {
        assert!(matches!(refused(&[hardlink("h", target)], "h"), Fault::LinkTarget(_)), "{target}");
    }
    assert!(matches!(refused(&[hardlink("h", "")], "h"), Fault::LinkTarget(_)));
    let bad = [pax(&[(b"linkpath", b"../x")]), hardlink("h", "h0")];
    assert!(matches!(refused(&bad, "h"), Fault::LinkPath(_)));
}

#[test]
fn l09_hard_link_to_a_symlink_is_a_symlink() {
    let toc = accepted(&[symlink("s", "/etc/shadow"), hardlink("h", "s").field(100, 8, "0004777")]).toc;
    assert_eq!(toc.get(&path("h")).unwrap().node, Node::Symlink(b"/etc/shadow".to_vec()));
    assert_eq!(toc.get(&path("h")).unwrap().meta, toc.get(&path("s")).unwrap().meta);
}

#[test]
fn l10_link_then_file_of_the_same_name() {
    assert!(matches!(refused(&[file("t", ""), hardlink("l", "t"), file("l", "x")], "l"), Fault::Duplicate));
    assert!(matches!(refused(&[symlink("l", "t"), file("l", "x")], "l"), Fault::Duplicate));
}

#[test]
fn l11_symlink_then_directory() {
    assert!(matches!(
        refused(&[symlink("d", "/etc"), dir("d/").field(100, 8, "0000777")], "d"),
        Fault::Duplicate
    ));
}

#[test]
fn l12_hard_link_to_a_lower_layer() {
    assert!(matches!(refused(&[hardlink("h", "only/below")], "h"), Fault::LinkTarget(_)));
    assert!(matches!(refused(&[hardlink("h", "later"), file("later", "")], "h"), Fault::LinkTarget(_)));
}

#[test]
fn l13_hard_link_to_a_directory_or_itself() {
    assert!(matches!(refused(&[dir("d"), hardlink("h", "d")], "h"), Fault::LinkTarget(_)));
    assert!(matches!(refused(&[hardlink("h", "h")], "h"), Fault::LinkTarget(_)));
    assert!(matches!(refused(&[hardlink("h", "/")], "h"), Fault::LinkTarget(_)));
    assert!(matches!(refused(&[hardlink("a", "b"), hardlink("b", "a")], "a"), Fault::LinkTarget(_)));
    assert!(matches!(refused(&[entry("p", b'6'), hardlink("h", "p")], "h"), Fault::LinkTarget(_)));
}

#[test]
fn l14_whiteout_of_nothing() {
    assert!(matches!(refused(&[file(".wh.", "")], ".wh."), Fault::Whiteout));
    assert!(matches!(refused(&[file("a/.wh.", "")], "a/.wh."), Fault::Whiteout));
}

#[test]
fn l15_whiteout_of_dots() {
    assert!(matches!(refused(&[file("a/.wh..", "")], ".wh.."), Fault::Whiteout));
    assert!(matches!(refused(&[file("a/.wh...", "")], ".wh..."), Fault::Whiteout));
    assert!(matches!(refused(&[dir("a/.wh.x")], ".wh.x"), Fault::Whiteout));
    assert!(matches!(refused(&[symlink("a/.wh.x", "y")], ".wh.x"), Fault::Whiteout));
    assert!(matches!(refused(&[file("a/.wh.x", "bytes")], ".wh.x"), Fault::Whiteout));
    assert!(matches!(refused(&[file(".wh.x/y", "")], ".wh.x/y"), Fault::Whiteout));
}

#[test]
fn l17_whiteout_through_a_symlink() {
    assert!(matches!(
        refused(&[symlink("link", "/"), file("link/.wh.x", "")], "link/x"),
        Fault::BelowNonDirectory(_)
    ));
}

#[test]
fn l18_whiteout_beside_the_same_name() {
    for order in [[file("x", "new"), file(".wh.x", "")], [file(".wh.x", ""), file("x", "new")]] {
        let toc = accepted(&order).toc;
        assert_eq!(toc.entries().len(), 1);
        assert!(matches!(toc.get(&path("x")).unwrap().node, Node::File { size: 3, .. }));
    }
    for order in [[dir("d"), file(".wh.d", "")], [file(".wh.d", ""), dir("d")]] {
        let toc = accepted(&order).toc;
        assert_eq!(toc.get(&path("d")).unwrap().node, Node::Dir);
        assert!(toc.is_opaque(&path("d")), "what the lower directory held is hidden");
    }
    let toc = accepted(&[file(".wh.d", ""), file("d/x", "")]).toc;
    assert!(toc.is_opaque(&path("d")));
}

#[test]
fn l19_opaque_mark_last() {
    let toc = accepted(&[dir("d"), file("d/x", ""), file("d/.wh..wh..opq", "")]).toc;
    assert!(toc.is_opaque(&path("d")));
    assert!(toc.get(&path("d/x")).is_some());
}

#[test]
fn l20_whiteout_of_an_unknown_name_keeps_the_digest() {
    let bytes = tar(&[file("no/.wh.such", "")]);
    let indexed = read(&bytes).unwrap();
    assert_eq!(indexed.toc.get(&path("no/such")).unwrap().node, Node::Whiteout);
    assert_eq!(indexed.diff_id, lith::digest::BlobDigest::of(&bytes).into());
}

#[test]
fn l21_aufs_leftovers_are_ignored() {
    let toc = accepted(&[
        file(".wh..wh.aufs", ""),
        dir(".wh..wh.plnk"),
        file(".wh..wh.plnk/12.34", "bytes"),
        dir("a/.wh..wh.orph/"),
        file("kept", ""),
    ]);
    assert_eq!(toc.toc.entries().len(), 1);
}

#[test]
fn l23_overlay_xattrs() {
    for name in ["opaque", "redirect", "metacopy", "whiteout", "origin"] {
        for space in ["trusted", "user"] {
            let key = format!("SCHILY.xattr.{space}.overlay.{name}");
            let indexed = accepted(&[pax(&[(key.as_bytes(), b"y")]), dir("d")]);
            assert_eq!(indexed.toc.get(&path("d")).unwrap().meta.xattrs, []);
            assert!(
                indexed.warnings[0].contains(&format!("{space}.overlay.{name}")),
                "{:?}",
                indexed.warnings
            );
        }
    }
    let indexed = accepted(&[pax(&[(b"SCHILY.xattr.security.selinux", b"x")]), dir("d")]);
    assert_eq!(indexed.toc.get(&path("d")).unwrap().meta.xattrs, []);
    let long = [&b"SCHILY.xattr.user."[..], &[b'x'; 300]].concat();
    assert!(matches!(refused(&[pax(&[(&long, b"")]), dir("d")], ""), Fault::Xattr(_)));
    assert!(matches!(refused(&[pax(&[(b"SCHILY.xattr.", b"")]), dir("d")], ""), Fault::Xattr(_)));
    assert!(matches!(
        refused(&[pax(&[(b"SCHILY.xattr.user.x", &[0; 65537])]), dir("d")], ""),
        Fault::Xattr(_)
    ));
}

#[test]
fn l24_device_that_is_a_whiteout() {
    assert!(matches!(refused(&[entry("dev/x", b'3').device(0, 0)], "dev/x"), Fault::WhiteoutDevice));
    assert!(matches!(refused(&[entry("dev/x", b'3')], "dev/x"), Fault::WhiteoutDevice));
}

#[test]
fn l27_owners_that_do_not_fit() {
    for id in [
        "4294967296",
        "4294967295",
        "-1",
        "9223372036854775808",
        "9223372036854775807",
        "0x0",
        "+0",
        "",
        "1 ",
    ] {
        for key in [&b"uid"[..], b"gid"] {
            let fault = refused(&[pax(&[(key, id.as_bytes())]), file("f", "")], "");
            assert!(matches!(fault, Fault::Range { .. } | Fault::Number { .. }), "{id}");
        }
    }
    for binary in
        [&b"\xff\xff\xff\xff\xff\xff\xff\xff"[..], b"\x80\0\0\0\xff\xff\xff\xff", b"\x80\0\0\x01\0\0\0\0"]
    {
        assert!(matches!(refused(&[file("f", "").field(108, 8, binary)], "f"), Fault::Range { .. }));
        assert!(matches!(refused(&[file("f", "").field(116, 8, binary)], "f"), Fault::Range { .. }));
    }
}

#[test]
fn l28_sizes_that_lie() {
    let sized = |size: &[u8]| file("f", "").field(124, 12, size);
    let minus = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe\0";
    assert!(matches!(refused(&[sized(minus)], "f"), Fault::Range { .. }));
    assert!(matches!(refused(&[sized(b"-0000000512")], "f"), Fault::Number { .. }));
    assert!(matches!(refused(&[sized(b"00000003000")], "f"), Fault::Truncated));
    assert!(matches!(refused(&[sized(b"77777777777")], "f"), Fault::Truncated));
    assert!(matches!(
        refused(&[sized(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff")], "f"),
        Fault::TooLarge(_) | Fault::Truncated
    ));
    assert!(matches!(
        refused(&[sized(b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff")], "f"),
        Fault::Range { .. }
    ));
    for size in ["9223372036854775807", "1125899906842624"] {
        let fault = refused(&[pax(&[(b"size", size.as_bytes())]), file("f", "")], "f");
        assert!(matches!(fault, Fault::TooLarge(_) | Fault::Truncated), "{fault}");
    }
    for size in ["-1", "1e3", "18446744073709551616", ""] {
        assert!(matches!(
            refused(&[pax(&[(b"size", size.as_bytes())]), file("f", "")], ""),
            Fault::Number { .. }
        ));
    }
    let limits = Limits { max_size: 4096, ..Limits::default() };
    let error = index(&tar(&[file("f", [0; 5000])])[..], &limits).unwrap_err();
    assert!(matches!(error.what, Fault::TooLarge(4096)) && error.entry.as_deref() == Some("f"), "{error}");
}

#[test]
fn l29_sparse_files() {
    let old = entry("f", b'S').gnu().field(483, 12, b"\x80\0\0\0\x10\0\0\0\0\0\0\0");
    assert!(matches!(refused(&[old], "f"), Fault::Sparse));
    for key in
        ["GNU.sparse.map", "GNU.sparse.size", "GNU.sparse.major", "GNU.sparse.realsize", "SCHILY.realsize"]
    {
        assert!(matches!(refused(&[pax(&[(key.as_bytes(), b"0,1,1,1")]), file("f", "")], ""), Fault::Sparse));
    }
}

#[test]
fn l30_pax_size_wins() {
    let inner = tar(&[file("smuggled", "x")]);
    let size = inner.len().to_string();
    let outer = file("outer", "").smuggling(&inner);
    let toc = accepted(&[pax(&[(b"size", size.as_bytes())]), outer]).toc;
    assert_eq!(toc.entries().len(), 1);
    assert!(
        matches!(toc.get(&path("outer")).unwrap().node, Node::File { size, .. } if size == inner.len() as u64)
    );
}

#[test]
fn l31_mixed_extensions() {
    let x = || pax(&[(b"path", b"x")]);
    let l = || long(b'L', "l");
    let k = || long(b'K', "k");
    for mixed in
        [vec![x(), l()], vec![l(), x()], vec![x(), x()], vec![l(), l()], vec![k(), k()], vec![k(), x()]]
    {
        let mut entries = mixed;
        entries.push(file("f", ""));
        assert!(matches!(refused(&entries, ""), Fault::Mixed));
    }
    let g = entry("g", b'g').with_body("14 comment=ab\n");
    assert!(matches!(refused(&[x(), g, file("f", "")], ""), Fault::Mixed));
}

#[test]
fn l32_bodies_of_what_has_none() {
    for kind in b"123456" {
        let body = tar(&[file("smuggled", "x")]);
        let bad = entry("e", *kind).with_body(body).field(157, 100, "t").device(1, 1);
        assert!(matches!(refused(&[bad], "e"), Fault::Body(_)), "{}", char::from(*kind));
    }
}

#[test]
fn l33_pax_records() {
    let bad: [&[u8]; 15] = [
        b"99 path=a\n",
        b"9 path=a",
        b"8 path=a\n",
        b"x path=a\n",
        b" path=a\n",
        b"09 path=a\n",
        b"-9 path=a\n",
        b"7 path\n",
        b"5 =a\n",
        b"8 path=\n",
        b"10 path=\0\n",
        b"12 linkpath=",
        b"4 \n\n",
        b"18446744073709551625 path=a\n",
        b"9 path=a\n\0\0\0",
    ];
    for body in bad {
        let fault = refused(&[pax_raw(body), file("f", "")], "");
        assert!(matches!(fault, Fault::Record(_)), "{body:?}: {fault}");
    }
    let twice = [pax(&[(b"path", b"a"), (b"path", b"b")]), file("f", "")];
    assert!(matches!(refused(&twice, ""), Fault::RecordTwice(_)));
    let huge = pax_raw("").field(124, 12, b"\x80\0\0\0\0\0\x01\0\0\0\0\0");
    assert!(matches!(refused(&[huge], ""), Fault::ExtendedTooLong(_)));
    let many = pax_raw("6 a=b\n".repeat(1_000_000));
    assert!(matches!(refused(&[many, file("f", "")], ""), Fault::ExtendedTooLong(_)));
    let long_name = long(b'L', "x".repeat(2 << 20));
    assert!(matches!(refused(&[long_name, file("f", "").gnu()], ""), Fault::ExtendedTooLong(_)));
    let inner = entry("././@LongLink", b'L').gnu().with_body("a\0b\0");
    assert!(matches!(refused(&[inner, file("f", "").gnu()], ""), Fault::LongName));
    let empty = entry("././@LongLink", b'L').gnu().with_body("\0");
    assert!(matches!(refused(&[empty, file("f", "").gnu()], ""), Fault::LongName));
}

#[test]
fn l34_global_headers() {
    for record in
        ["9 path=a\n", "9 size=1\n", "8 uid=0\n", "26 SCHILY.xattr.user.a=bc\n", "18 GNU.sparse.x=1\n"]
    {
        let bad = [entry("g", b'g').with_body(record), file("f", "")];
        assert!(matches!(refused(&bad, ""), Fault::Global(_) | Fault::Record(_)), "{record}");
    }
}

#[test]
fn l35_checksums_and_magics() {
    let good = tar(&[file("f", "")]);
    for at in [0, 100, 124, 156, 345, 511] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(matches!(refused_bytes(&bad, ""), Fault::Checksum), "{at}");
    }
    let mut signed = file("\u{e9}", "").bytes();
    let sum: i64 = signed[..512]
        .iter()
        .enumerate()
        .map(|(at, b)| if (148..156).contains(&at) { 32 } else { i64::from(b.cast_signed()) })
        .sum();
    signed[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert!(matches!(refused_bytes(&signed, ""), Fault::Checksum));
    for magic in
        [&b"\0\0\0\0\0\0\0\0"[..], b"ustar\0\0\0", b"ustar\x0001", b"ustar 00", b"Ustar\x0000", b"ustar  x"]
    {
        assert!(matches!(refused(&[file("f", "").field(257, 8, magic)], ""), Fault::Magic), "{magic:?}");
    }
    assert!(matches!(refused(&[file("f", "").field(508, 4, "tar\0")], ""), Fault::Magic));
}

#[test]
fn l36_ends() {
    assert!(matches!(refused_bytes(&open_tar(&[pax(&[(b"path", b"a")])]), ""), Fault::Dangling));
    assert!(matches!(refused(&[long(b'L', "a")], ""), Fault::Dangling));
    let whole = open_tar(&[file("f", [1; 600])]);
    for cut in [1, 511, 513, 1024, 1535] {
        assert!(matches!(read(&whole[..cut]).unwrap_err().what, Fault::Truncated), "{cut}");
    }
    assert!(matches!(refused_bytes(&whole[..1000], "f"), Fault::Truncated));
    assert_eq!(read(&whole).unwrap().eof, Eof::Missing);
    assert_eq!(read(&[&whole[..], &[0; 512]].concat()).unwrap().eof, Eof::Missing);
    assert_eq!(read(&[&whole[..], &[0; 1024]].concat()).unwrap().eof, Eof::Marked);
    let lone = [&whole[..], &[0; 512], &tar(&[file("g", "")])[..]].concat();
    assert!(matches!(refused_bytes(&lone, ""), Fault::LoneZeroBlock));
}

#[test]
fn l37_second_archive_after_the_end() {
    let both = [tar(&[file("f", "")]), tar(&[file("g", "")])].concat();
    let indexed = read(&both).unwrap();
    assert_eq!(indexed.toc.entries().len(), 1);
    assert_eq!(
        (indexed.size, indexed.diff_id),
        (both.len() as u64, lith::digest::BlobDigest::of(&both).into())
    );
    assert!(indexed.warnings[0].contains("behind the end"));
}

#[test]
fn l38_duplicates() {
    for other in ["dup", "./dup", "/dup", "dup//", ".//dup"] {
        let second = if other.ends_with('/') { dir(other) } else { file(other, "2") };
        assert!(matches!(refused(&[file("dup", "1"), second], "dup"), Fault::Duplicate), "{other}");
    }
    assert!(matches!(refused(&[file("dup", "1"), file("dup", "1")], "dup"), Fault::Duplicate));
}

#[test]
fn l39_odd_names_are_kept_byte_by_byte_and_shown_escaped() {
    for name in
        [&b"\xff\xfe"[..], b"a\nb", b"a\x1b[31m", b" lead", b"trail ", b"back\\slash", b"\xe2\x80\xae"]
    {
        let toc = accepted(&[pax(&[(b"path", name)]), file("f", "")]).toc;
        assert_eq!(toc.entries()[0].path.as_bytes(), name);
        let error =
            read(&tar(&[pax(&[(b"path", name)]), file("f", ""), pax(&[(b"path", name)]), file("f", "")]))
                .unwrap_err();
        assert!(!error.to_string().contains(['\n', '\x1b', '\u{202e}']), "{error}");
    }
}

#[test]
fn l40_long_names() {
    let named = |name: &[u8]| [pax(&[(b"path", name)]), file("f", "")];
    assert!(matches!(refused(&named(&[b'x'; 256]), "xxx"), Fault::Path(_)));
    assert!(matches!(
        refused(&named("dir/".repeat(3000).trim_end_matches('/').as_bytes()), "dir"),
        Fault::Path(_)
    ));
    accepted(&named("d/".repeat(2000).trim_end_matches('/').as_bytes()));
    let link = |len: usize| [pax(&[(b"linkpath", &vec![b'l'; len])]), symlink("s", "x")];
    assert!(matches!(refused(&link(8192), "s"), Fault::SymlinkTarget));
    accepted(&link(4095));
    assert!(matches!(refused(&[symlink("s", "")], "s"), Fault::SymlinkTarget));
    assert!(matches!(refused(&[file("", "")], ""), Fault::NoName));
}

#[test]
fn l41_times() {
    let at = |time: &str| [pax(&[(b"mtime", time.as_bytes())]), file("f", "")];
    for bad in ["1e30", "nan", "inf", "", "-", "1.2.3", "0x10", "1,5", "99999999999999999999"] {
        assert!(matches!(refused(&at(bad), ""), Fault::Number { .. }), "{bad}");
    }
    for (text, secs, nanos) in
        [("-1", -1, 0), ("-1.25", -2, 750_000_000), ("1700000000.000000001", 1_700_000_000, 1)]
    {
        let mtime = accepted(&at(text)).toc.entries()[0].meta.mtime;
        assert_eq!((mtime.secs, mtime.nanos), (secs, nanos), "{text}");
    }
    let old = file("f", "").field(136, 12, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe");
    assert_eq!(accepted(&[old]).toc.entries()[0].meta.mtime.secs, -2);
}

#[test]
fn l42_counts_are_bounded() {
    let entries: Vec<Entry> = (0..20).map(|n| file(format!("f{n:02}"), "")).collect();
    let limits = Limits { max_entries: 10, ..Limits::default() };
    let error = index(&tar(&entries)[..], &limits).unwrap_err();
    assert!(matches!(error.what, Fault::TooManyEntries(10)) && error.entry.as_deref() == Some("f10"));
    let limits = Limits { max_metadata: 100_000, ..Limits::default() };
    let fat: Vec<Entry> = (0..3)
        .flat_map(|n| [pax(&[(b"SCHILY.xattr.user.x", &[7; 50_000])]), file(format!("f{n}"), "")])
        .collect();
    assert!(matches!(index(&tar(&fat)[..], &limits).unwrap_err().what, Fault::TooMuchMetadata(100_000)));
}

#[test]
fn l49_not_a_tar() {
    assert!(matches!(refused_bytes(b"", ""), Fault::Empty));
    assert!(matches!(refused_bytes(b"hello", ""), Fault::Truncated));
    assert!(matches!(refused_bytes(&[b'x'; 4096], ""), Fault::Checksum));
    assert!(matches!(
        refused_bytes(b"\x1f\x8b\x08\0\0\0\0\0\0\xff".repeat(100).as_slice(), ""),
        Fault::Checksum
    ));
    assert!(matches!(refused(&[entry("f", b'7')], "f"), Fault::Type(b'7')));
    assert!(matches!(refused(&[entry("f", b'A')], "f"), Fault::Type(b'A')));
    assert!(matches!(refused(&[file("f/", "x")], "f/"), Fault::TrailingSlash));
    assert!(matches!(refused(&[file("f", "").field(100, 8, "rw-r--r-")], "f"), Fault::Number { .. }));
    assert!(matches!(refused(&[file("f", "").field(100, 8, "7777777")], "f"), Fault::Range { .. }));
}
