//! Which manifest of an index is meant. Pure.

use crate::oci::Descriptor;
use crate::oci::media::MediaType;
use crate::platform::Platform;

/// Why no manifest was chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    #[error("there is no image for {wanted}; available: {available}")]
    NoPlatform { wanted: String, available: String },
    #[error("there is no image at all")]
    Empty,
}

/// The manifest or inner index for `wanted`: an exact match, else the best one that the same processor runs
/// (`arm/v6` for `arm/v7`); of two equal ones the first. A lone candidate without a platform is taken. Attestations
/// and other artifacts are never candidates.
pub fn choose<'a>(candidates: &'a [Descriptor], wanted: &Platform) -> Result<&'a Descriptor, ChoiceError> {
    let images: Vec<&Descriptor> = candidates.iter().filter(|d| is_image(d)).collect();
    if let [lone] = images[..]
        && lone.platform.is_none()
    {
        return Ok(lone);
    }
    let has = |descriptor: &&&Descriptor, platform: &Platform| {
        descriptor.platform.as_ref().and_then(|p| p.normal()).as_ref() == Some(platform)
    };
    compatible(wanted)
        .iter()
        .find_map(|platform| images.iter().find(|d| has(d, platform)))
        // An inner index without a platform of its own may hold whatever its manifests are for.
        .or_else(|| images.iter().find(|d| d.media_type.is_index() && d.platform.is_none()))
        .copied()
        .ok_or_else(|| no_match(&images, wanted))
}

/// Whether it can be an image, or an index of some.
pub(super) fn is_image(descriptor: &Descriptor) -> bool {
    let is_known = descriptor.media_type.is_manifest() || descriptor.media_type.is_index();
    let is_unknown_platform =
        descriptor.platform.as_ref().is_some_and(|p| p.os == "unknown" || p.architecture == "unknown");
    let is_artifact = descriptor.artifact_type.as_deref().is_some_and(|t| !MediaType::from(t).is_config());
    is_known && !is_unknown_platform && !is_artifact
}

/// The platform itself, then what it also runs, best first.
fn compatible(wanted: &Platform) -> Vec<Platform> {
    let level = |v: &String| v.strip_prefix('v').and_then(|n| n.parse::<u8>().ok());
    let below = |from: u8, last: u8| (last..from).rev().map(|n| Some(format!("v{n}")));
    let with = |variant| Platform { variant, ..wanted.clone() };
    let lower: Vec<Option<String>> =
        match (wanted.architecture.as_str(), wanted.variant.as_ref().and_then(level)) {
            ("arm", Some(n)) => below(n.min(9), 5).collect(),
            ("amd64", Some(n)) => below(n.min(9), 2).chain([None]).collect(),
            (_, _) => Vec::new(),
        };
    [wanted.clone()].into_iter().chain(lower.into_iter().map(with)).collect()
}

fn no_match(images: &[&Descriptor], wanted: &Platform) -> ChoiceError {
    if images.is_empty() {
        return ChoiceError::Empty;
    }
    let names: Vec<String> = images
        .iter()
        .map(|d| match d.platform.as_ref().and_then(|p| p.normal()) {
            Some(platform) => platform.to_string(),
            None => "one without a platform".into(),
        })
        .collect();
    ChoiceError::NoPlatform { wanted: wanted.to_string(), available: names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::BlobDigest;
    use crate::oci::DescriptorPlatform;

    fn of(name: &str, platform: Option<&str>) -> Descriptor {
        let mut descriptor = Descriptor::new(MediaType::OciManifest, BlobDigest::of(name.as_bytes()), 1);
        descriptor.platform = platform.map(|text| {
            let parts: Vec<&str> = text.split('/').collect();
            DescriptorPlatform {
                os: parts[0].into(),
                architecture: parts[1].into(),
                variant: parts.get(2).map(|v| (*v).into()),
                other: Default::default(),
            }
        });
        descriptor
    }

    fn chosen(candidates: &[Descriptor], wanted: &str) -> Option<usize> {
        let found = choose(candidates, &wanted.parse().unwrap()).ok()?;
        candidates.iter().position(|d| d == found)
    }

    #[test]
    fn m12_the_choice_is_deterministic() {
        let arms =
            [of("a", Some("linux/arm/v5")), of("b", Some("linux/arm/v6")), of("c", Some("linux/arm64/v8"))];
        assert_eq!(chosen(&arms, "linux/arm/v7"), Some(1));
        assert_eq!(chosen(&arms, "linux/arm/v6"), Some(1));
        assert_eq!(chosen(&arms, "linux/arm64"), Some(2));
        assert_eq!(chosen(&arms, "linux/amd64"), None);
        let twice = [of("a", Some("linux/amd64")), of("b", Some("linux/amd64"))];
        assert_eq!(chosen(&twice, "linux/amd64"), Some(0));
        let levels = [of("a", Some("linux/amd64/v3")), of("b", Some("linux/amd64"))];
        assert_eq!(chosen(&levels, "linux/amd64"), Some(1));
        assert_eq!(chosen(&levels, "linux/amd64/v2"), Some(1));
        assert_eq!(chosen(&levels, "linux/amd64/v4"), Some(0));
        assert_eq!(chosen(&[of("a", Some("linux/arm/v6"))], "linux/arm/v5"), None);
    }

    #[test]
    fn m12_none_names_what_there_is() {
        let some = [of("a", Some("linux/arm64")), of("b", None)];
        let error = choose(&some, &"linux/amd64".parse().unwrap()).unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no image for linux/amd64; available: linux/arm64, one without a platform"
        );
    }

    #[test]
    fn m21_attestations_are_no_candidates() {
        let mut artifact = of("x", None);
        artifact.artifact_type = Some("application/vnd.example".into());
        let some = [of("a", Some("unknown/unknown")), artifact, of("b", None)];
        assert_eq!(chosen(&some, "linux/amd64"), Some(2));
        assert!(matches!(choose(&some[..2], &"linux/amd64".parse().unwrap()), Err(ChoiceError::Empty)));
    }
}
