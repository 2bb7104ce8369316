//! SPDX 2.3.

use serde_json::{Value, json};

use super::{Contents, Package};

/// What is not known.
const UNKNOWN: &str = "NOASSERTION";

pub(super) fn document(contents: &Contents) -> Value {
    let numbered = || contents.packages.iter().enumerate().map(|(at, package)| (id(at), package));
    let packages = std::iter::once(image(contents))
        .chain(numbered().map(|(id, package)| library(contents, &id, package)));
    let contained = numbered().map(|(id, _)| relation("SPDXRef-image", "CONTAINS", &id));
    let relations =
        std::iter::once(relation("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-image")).chain(contained);
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": contents.image.to_string(),
        "documentNamespace": format!("https://spdx.org/spdxdocs/lith-{}", contents.image.hex()),
        "creationInfo": {
            "created": contents.epoch.rfc3339(),
            "creators": [concat!("Tool: lith-", env!("CARGO_PKG_VERSION"))],
        },
        "packages": packages.collect::<Vec<_>>(),
        "relationships": relations.collect::<Vec<_>>(),
    })
}

fn id(at: usize) -> String {
    format!("SPDXRef-package-{}", at + 1)
}

fn image(contents: &Contents) -> Value {
    json!({
        "SPDXID": "SPDXRef-image",
        "name": "image",
        "versionInfo": contents.image.to_string(),
        "downloadLocation": UNKNOWN,
        "filesAnalyzed": false,
        "primaryPackagePurpose": "CONTAINER",
    })
}

fn library(contents: &Contents, id: &str, package: &Package) -> Value {
    let mut value = json!({
        "SPDXID": id,
        "name": package.name,
        "versionInfo": package.version,
        "downloadLocation": UNKNOWN,
        "filesAnalyzed": false,
        "licenseConcluded": UNKNOWN,
        "licenseDeclared": UNKNOWN,
        "copyrightText": UNKNOWN,
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": contents.url(package),
        }],
    });
    if let Some((name, version)) = &package.source {
        value["sourceInfo"] = format!("built from {name} {version}").into();
    }
    value
}

fn relation(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}
