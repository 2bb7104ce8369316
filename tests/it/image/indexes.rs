//! Indexes whose images are all taken in: the index as it came, and nothing of one that is refused.

use super::hostile::{INDEX, Layout, MANIFEST, describe};
use super::*;

/// A layout whose index has an index of these descriptors.
fn nested(mut layout: Layout, manifests: &[Value]) -> (Layout, String) {
    let bytes =
        serde_json::to_vec(&json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }))
            .unwrap();
    layout.blob(&bytes);
    let top = describe(INDEX, &bytes);
    let digest = top["digest"].as_str().unwrap().to_owned();
    (layout.with_index(&json!({ "schemaVersion": 2, "manifests": [top] })), digest)
}

/// One image for an architecture in a layout: the layout, and the descriptor of its manifest.
fn with_image(mut layout: Layout, architecture: &str) -> (Layout, Value) {
    layout.config["architecture"] = architecture.into();
    layout.manifest["config"] = Value::Null;
    let layout = layout.seal();
    let manifest = serde_json::to_vec(&layout.manifest).unwrap();
    let mut descriptor = describe(MANIFEST, &manifest);
    descriptor["platform"] = json!({ "os": "linux", "architecture": architecture });
    (layout, descriptor)
}

fn load(layout: &Layout, store: &Store) -> Result<Vec<Loaded>, LoadError> {
    load_stream(store, "layout", &layout.tar()[..], &LoadOptions { platforms: Platforms::All, name: None })
}

fn platforms(loaded: &Loaded) -> Vec<String> {
    let index = loaded.index.as_ref().unwrap();
    index.images.iter().map(|one| one.platform.to_string()).collect()
}

#[test]
fn an_index_keeps_its_digest_and_its_order() {
    let (layout, arm) = with_image(Layout::new(), "arm64");
    let (layout, amd) = with_image(layout, "amd64");
    let mut attestation = amd.clone();
    attestation["digest"] = BlobDigest::of(b"not here").to_string().into();
    attestation["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
    // The same image again, under another name too, is no other.
    let (layout, digest) = nested(layout, &[arm.clone(), amd.clone(), attestation, arm, amd]);
    let (_a, store) = new_store();
    let loaded = load(&layout, &store).unwrap();
    assert_eq!(loaded.len(), 1);
    assert_eq!(loaded[0].index.as_ref().unwrap().digest.to_string(), digest);
    assert_eq!(platforms(&loaded[0]), ["linux/arm64", "linux/amd64"]);
    assert_eq!(store.indexes().unwrap(), [loaded[0].index.clone().unwrap()]);
    assert_eq!(store.images().unwrap().len(), 2);
    assert!(store.verify(lith::store::verify::Extent::Store).unwrap().findings.is_empty());
}

#[test]
fn manifests_side_by_side_become_an_index() {
    let (layout, arm) = with_image(Layout::new(), "arm64");
    let (layout, amd) = with_image(layout, "amd64");
    let layout = layout.with_index(&json!({ "schemaVersion": 2, "manifests": [arm, amd] }));
    let (_a, store) = new_store();
    let loaded = load(&layout, &store).unwrap();
    assert_eq!(platforms(&loaded[0]), ["linux/arm64", "linux/amd64"]);
    assert!(store.has_blob(&loaded[0].index.as_ref().unwrap().digest));
    // One alone is an image.
    let (layout, _) = with_image(Layout::new(), "amd64");
    let loaded = load(&layout, &new_store().1).unwrap();
    assert_eq!(loaded[0].index, None);
}

#[test]
fn nothing_of_an_index_that_is_refused_is_visible() {
    let (layout, good) = with_image(Layout::new(), "arm64");
    let (layout, liar) = with_image(layout, "amd64");
    let refused = |(layout, _): (Layout, String), naming: &str| {
        let (_a, store) = new_store();
        let error = load(&layout, &store).unwrap_err().to_string();
        assert!(error.contains(naming), "{error:?} names {naming:?}");
        assert!(store.images().unwrap().is_empty() && store.indexes().unwrap().is_empty(), "{naming}");
    };
    let mut other = liar.clone();
    other["platform"]["architecture"] = "s390x".into();
    refused(nested(layout.clone(), &[good.clone(), other]), "its index says linux/s390x");
    let mut gone = liar;
    gone["digest"] = BlobDigest::of(b"not here").to_string().into();
    refused(nested(layout.clone(), &[good.clone(), gone]), "blob");
    let inner =
        serde_json::to_vec(&json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [good] })).unwrap();
    let mut layout = layout;
    layout.blob(&inner);
    refused(nested(layout.clone(), &[good, describe(INDEX, &inner)]), "load one of its platforms");
    refused(nested(layout, &[]), "there is no image at all");
}
