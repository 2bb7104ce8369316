//! Annotations of a bundle: the image-spec's `conversion.md`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::oci::ImageConfig;

/// Labels with these beginnings are orders to crun, and to systemd by way of a runtime. An image gives none.
const ORDERS: [&str; 2] = ["run.oci.", "org.systemd.property."];

/// What the config of an image says as annotations, and the labels that are left out. A label wins over what is
/// implied.
pub(super) fn of(config: &ImageConfig) -> (BTreeMap<String, String>, Vec<String>) {
    let mut all = BTreeMap::new();
    let mut imply = |name: &str, value: &str| {
        if !value.is_empty() {
            all.insert(format!("org.opencontainers.image.{name}"), value.to_owned());
        }
    };
    imply("os", &config.os);
    imply("architecture", &config.architecture);
    imply("variant", config.variant.as_deref().unwrap_or_default());
    imply("author", config.author.as_deref().unwrap_or_default());
    imply("created", config.created.as_deref().unwrap_or_default());
    imply("stopSignal", &config.config.stop_signal);
    let ports: Vec<&str> = config.config.exposed_ports.keys().map(String::as_str).collect();
    imply("exposedPorts", &ports.join(","));
    for field in ["os.version", "os.features"] {
        imply(field, &words(config.other.get(field)));
    }
    let mut orders = Vec::new();
    for (name, value) in &config.config.labels {
        if name.is_empty() || ORDERS.iter().any(|order| name.starts_with(order)) {
            orders.push(name.clone());
        } else {
            all.insert(name.clone(), value.clone());
        }
    }
    (all, orders)
}

/// A string, or the strings of a list with commas between.
fn words(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_conversion_of_the_image_spec() {
        let text = r#"{
            "architecture": "arm64", "os": "linux", "variant": "v8", "author": "Ann", "created": "1970-01-01T00:00:01Z",
            "os.version": "6", "os.features": ["a", "b"], "rootfs": {"type": "layers", "diff_ids": []},
            "config": {
                "StopSignal": "SIGTERM", "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
                "Labels": {"x": "y", "org.opencontainers.image.author": "Bob", "run.oci.hooks.stdout": "/x",
                           "org.systemd.property.Slice": "'x'", "": "z"}
            }
        }"#;
        let (all, orders) = of(&ImageConfig::parse(text.as_bytes()).unwrap());
        let lines: Vec<String> = all.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            lines,
            [
                "org.opencontainers.image.architecture=arm64",
                "org.opencontainers.image.author=Bob",
                "org.opencontainers.image.created=1970-01-01T00:00:01Z",
                "org.opencontainers.image.exposedPorts=53/udp,80/tcp",
                "org.opencontainers.image.os=linux",
                "org.opencontainers.image.os.features=a,b",
                "org.opencontainers.image.os.version=6",
                "org.opencontainers.image.stopSignal=SIGTERM",
                "org.opencontainers.image.variant=v8",
                "x=y",
            ]
        );
        assert_eq!(orders, ["", "org.systemd.property.Slice", "run.oci.hooks.stdout"]);
    }
}
