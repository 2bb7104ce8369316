//! CycloneDX 1.5.

use serde_json::{Value, json};

use super::{Contents, Package};

pub(super) fn document(contents: &Contents) -> Value {
    let components = contents.packages.iter().map(|package| component(contents, package));
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": contents.epoch.rfc3339(),
            "tools": { "components": [{
                "type": "application", "name": "lith", "version": env!("CARGO_PKG_VERSION"),
            }] },
            "component": {
                "type": "container",
                "bom-ref": contents.image.to_string(),
                "name": "image",
                "version": contents.image.to_string(),
            },
        },
        "components": components.collect::<Vec<_>>(),
    })
}

fn component(contents: &Contents, package: &Package) -> Value {
    let url = contents.url(package);
    let mut value = json!({
        "type": "library",
        "bom-ref": url,
        "name": package.name,
        "version": package.version,
        "purl": url,
    });
    if let Some((name, version)) = &package.source {
        value["properties"] = json!([{ "name": "lith:source", "value": format!("{name} {version}") }]);
    }
    value
}
