//! Media types of image-spec 1.1 and of docker's schema 2.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Whose names a document uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    Oci,
    Docker,
}

macro_rules! media_types {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What a blob claims to be. Types that lith does not know are kept as they came.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub enum MediaType {
            $($(#[$doc])* $name,)*
            /// Anything else.
            Unknown(String),
        }

        impl MediaType {
            /// The text of a manifest or a header.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Unknown(text) => text,
                }
            }
        }

        impl From<&str> for MediaType {
            fn from(text: &str) -> Self {
                match text {
                    $($text => Self::$name,)*
                    other => Self::Unknown(other.to_owned()),
                }
            }
        }
    };
}

media_types! {
    OciIndex = "application/vnd.oci.image.index.v1+json",
    OciManifest = "application/vnd.oci.image.manifest.v1+json",
    OciConfig = "application/vnd.oci.image.config.v1+json",
    /// The config of an artifact: the two bytes `{}`.
    OciEmpty = "application/vnd.oci.empty.v1+json",
    OciLayer = "application/vnd.oci.image.layer.v1.tar",
    OciLayerGzip = "application/vnd.oci.image.layer.v1.tar+gzip",
    OciLayerZstd = "application/vnd.oci.image.layer.v1.tar+zstd",
    OciForeignLayer = "application/vnd.oci.image.layer.nondistributable.v1.tar",
    OciForeignLayerGzip = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    OciForeignLayerZstd = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    DockerList = "application/vnd.docker.distribution.manifest.list.v2+json",
    DockerManifest = "application/vnd.docker.distribution.manifest.v2+json",
    DockerConfig = "application/vnd.docker.container.image.v1+json",
    DockerLayer = "application/vnd.docker.image.rootfs.diff.tar",
    DockerLayerGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip",
    DockerLayerZstd = "application/vnd.docker.image.rootfs.diff.tar.zstd",
    DockerForeignLayerGzip = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    /// docker's schema 1, unsigned: refused.
    DockerSchema1 = "application/vnd.docker.distribution.manifest.v1+json",
    /// docker's schema 1, signed: refused.
    DockerSchema1Signed = "application/vnd.docker.distribution.manifest.v1+prettyjws",
}

/// How a layer's blob is packed, as its media type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl MediaType {
    /// For a layer type its packing, else `None`.
    pub fn layer_packing(&self) -> Option<Packing> {
        match self {
            Self::OciLayer | Self::OciForeignLayer | Self::DockerLayer => Some(Packing::Plain),
            Self::OciLayerGzip
            | Self::OciForeignLayerGzip
            | Self::DockerLayerGzip
            | Self::DockerForeignLayerGzip => Some(Packing::Gzip),
            Self::OciLayerZstd | Self::OciForeignLayerZstd | Self::DockerLayerZstd => Some(Packing::Zstd),
            Self::OciIndex
            | Self::OciManifest
            | Self::OciConfig
            | Self::OciEmpty
            | Self::DockerList
            | Self::DockerManifest
            | Self::DockerConfig
            | Self::DockerSchema1
            | Self::DockerSchema1Signed
            | Self::Unknown(_) => None,
        }
    }

    /// The type of a layer so packed.
    pub fn layer(flavor: Flavor, packing: Packing) -> Self {
        match (flavor, packing) {
            (Flavor::Oci, Packing::Plain) => Self::OciLayer,
            (Flavor::Oci, Packing::Gzip) => Self::OciLayerGzip,
            (Flavor::Oci, Packing::Zstd) => Self::OciLayerZstd,
            (Flavor::Docker, Packing::Plain) => Self::DockerLayer,
            (Flavor::Docker, Packing::Gzip) => Self::DockerLayerGzip,
            (Flavor::Docker, Packing::Zstd) => Self::DockerLayerZstd,
        }
    }

    /// OCI's name of the same bytes; a type without one stays.
    pub fn to_oci(&self) -> Self {
        match self {
            Self::DockerList => Self::OciIndex,
            Self::DockerManifest => Self::OciManifest,
            Self::DockerConfig => Self::OciConfig,
            Self::DockerLayer => Self::OciLayer,
            Self::DockerLayerGzip => Self::OciLayerGzip,
            Self::DockerLayerZstd => Self::OciLayerZstd,
            Self::DockerForeignLayerGzip => Self::OciForeignLayerGzip,
            Self::OciIndex
            | Self::OciManifest
            | Self::OciConfig
            | Self::OciEmpty
            | Self::OciLayer
            | Self::OciLayerGzip
            | Self::OciLayerZstd
            | Self::OciForeignLayer
            | Self::OciForeignLayerGzip
            | Self::OciForeignLayerZstd
            | Self::DockerSchema1
            | Self::DockerSchema1Signed
            | Self::Unknown(_) => self.clone(),
        }
    }

    /// Whether the blob is an image manifest.
    pub fn is_manifest(&self) -> bool {
        matches!(self, Self::OciManifest | Self::DockerManifest)
    }

    /// Whether the blob is an index of manifests.
    pub fn is_index(&self) -> bool {
        matches!(self, Self::OciIndex | Self::DockerList)
    }

    /// Whether the blob is an image's config.
    pub fn is_config(&self) -> bool {
        matches!(self, Self::OciConfig | Self::DockerConfig)
    }

    /// Whether the blob is a layer that registries do not hold: only its descriptor's URLs say where it is.
    pub fn is_foreign(&self) -> bool {
        matches!(
            self,
            Self::OciForeignLayer
                | Self::OciForeignLayerGzip
                | Self::OciForeignLayerZstd
                | Self::DockerForeignLayerGzip
        )
    }

    /// Whether the blob is docker's schema 1, which lith does not read.
    pub fn is_schema1(&self) -> bool {
        matches!(self, Self::DockerSchema1 | Self::DockerSchema1Signed)
    }
}

impl fmt::Display for MediaType {
    /// Safe on a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.as_str().chars().take(200).collect();
        f.write_str(&crate::diag::escape(shown.as_bytes()))
    }
}

impl Serialize for MediaType {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for MediaType {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self::from(String::deserialize(d)?.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_survive() {
        for text in [
            "application/vnd.oci.image.layer.v1.tar+zstd",
            "application/vnd.docker.distribution.manifest.v2+json",
            "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
        ] {
            assert_eq!(MediaType::from(text).as_str(), text);
        }
        assert_eq!(
            MediaType::from("application/vnd.oci.image.layer.v1.tar+gzip+encrypted").layer_packing(),
            None
        );
    }

    #[test]
    fn layers_keep_their_packing() {
        for flavor in [Flavor::Oci, Flavor::Docker] {
            for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
                assert_eq!(MediaType::layer(flavor, packing).layer_packing(), Some(packing));
            }
        }
    }
}
