//! What holds of any two stacks of layers.

use lith::diff::{Kind, Options};
use proptest::prelude::*;

use super::build::{Given, Image, compared};
use super::goldens::assert_mirrored;

/// Lines of a layer: few names, so that layers meet.
fn lines() -> impl Strategy<Value = String> {
    let path = prop_oneof![Just("a"), Just("b"), Just("d/a"), Just("d/b"), Just("d/e/a")];
    let kind = prop_oneof![Just("file"), Just("link"), Just("gone"), Just("fifo")];
    let entry = (path, kind, 0..3u8, prop_oneof![Just("mode=644"), Just("mode=600"), Just("mtime=7")]);
    prop::collection::btree_map("[abc]", entry, 0..4).prop_map(|entries| {
        let mut seen = std::collections::BTreeSet::new();
        let mut lines = String::new();
        for (path, kind, value, option) in entries.into_values() {
            if !seen.insert(path) {
                continue;
            }
            match kind {
                "file" | "link" => lines.push_str(&format!("{kind} {path} {value} {option}\n")),
                _ => lines.push_str(&format!("{kind} {path}\n")),
            }
        }
        lines
    })
}

fn image() -> impl Strategy<Value = Given> {
    prop::collection::vec(lines(), 0..5).prop_map(|layers| {
        let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
        Given::Image(Image::of(&layers))
    })
}

/// What a stack comes to, told by the tree that unpacking would make.
fn flat(report: &lith::diff::Report) -> Vec<(String, String)> {
    let images = report.images.iter().flat_map(|images| &images.entries);
    images
        .filter(|entry| entry.hidden_in.is_none())
        .map(|entry| (entry.path.clone(), format!("{:?}", entry.change)))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn an_image_is_like_itself(a in image()) {
        let report = compared(&a, &a, &Options::default());
        prop_assert!(!report.differs);
        prop_assert!(report.images.is_empty());
    }

    #[test]
    fn what_is_told_is_mirrored(a in image(), b in image()) {
        let there = compared(&a, &b, &Options::default());
        let back = compared(&b, &a, &Options::default());
        prop_assert_eq!(there.differs, back.differs);
        for (one, other) in there.images.iter().zip(&back.images) {
            prop_assert_eq!(one.fields.len(), other.fields.len());
            let visible = |images: &lith::diff::report::Images| {
                images.entries.iter().filter(|entry| entry.hidden_in.is_none()).count()
            };
            prop_assert_eq!(visible(one), visible(other));
        }
        if there.images.iter().all(|images| images.layers.iter().all(|row| row.a.len() == row.b.len())) {
            let visible = flat(&there);
            prop_assert_eq!(visible.len(), flat(&back).len());
        }
    }

    /// One layer each: nothing of it is a question of which layers belong together.
    #[test]
    fn all_of_it_is_mirrored_for_single_layers(a in lines(), b in lines()) {
        let (a, b) = (Given::Image(Image::of(&[&a])), Given::Image(Image::of(&[&b])));
        let there = compared(&a, &b, &Options::default());
        assert_mirrored(&there, &compared(&b, &a, &Options::default()), "single");
    }

    /// Images differ in documents unless they are the same; whoever ignores all of those sees what the merged trees do.
    #[test]
    fn documents_say_when_images_differ(a in image(), b in image()) {
        let exact = compared(&a, &b, &Options::default());
        let same = matches!((&a, &b), (Given::Image(one), Given::Image(other))
            if one.layers == other.layers && one.config == other.config);
        prop_assert_eq!(exact.differs, !same);
        let options = Options { ignore: Kind::semantic(), ..Options::default() };
        let merged = compared(&a, &b, &options);
        let seen = flat(&exact).into_iter().collect::<std::collections::BTreeSet<_>>();
        for entry in flat(&merged) {
            prop_assert!(seen.contains(&entry), "{:?}", entry);
        }
    }

    /// What is below a common bottom is left unread where that makes no difference: the same is told as if all was read.
    #[test]
    fn what_is_not_read_changes_nothing(below in lines(), a in lines(), b in lines()) {
        let stack = |top: &str| Given::Image(Image::of(&[&below, top]));
        let report = compared(&stack(&a), &stack(&b), &Options::default());
        // Another packing of the bottom layer is nothing that hides or shows a path; another layer is read.
        let stack = |top: &str, note: &str| {
            Given::Image(Image::of(&[&format!("{below}file zz/{note} 1\n"), top]))
        };
        let read = compared(&stack(&a, "one"), &stack(&b, "other"), &Options::default());
        let rest: Vec<_> = flat(&read).into_iter().filter(|(path, _)| !path.starts_with("/zz")).collect();
        prop_assert_eq!(flat(&report), rest);
    }
}
