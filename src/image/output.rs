//! `--output`: what to write and where, in buildx' comma-separated form. Pure.

use std::path::PathBuf;
use std::str::FromStr;

use crate::csv;
use crate::diag::suggest;
use crate::oci::media::Packing;
use crate::oci::{Reference, ReferenceError};

/// One output of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputSpec {
    pub kind: OutputKind,
    /// Names to write beside those that the image already has.
    pub names: Vec<Reference>,
    /// Which of several targets is meant; as written.
    pub target: Option<String>,
}

/// The form of an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputKind {
    /// An OCI image layout in a tar.
    OciArchive { dest: Dest, layers: Layers },
    /// An OCI image layout in a directory.
    OciLayout { dest: PathBuf, layers: Layers },
    /// What `docker save` writes.
    DockerArchive { dest: Dest },
    /// The image's file system in one tar.
    RootFsTar { dest: Dest },
    /// The image's file system in a directory.
    Local { dest: PathBuf },
}

/// Where a stream goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dest {
    Stdout,
    File(PathBuf),
}

/// How layers are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layers {
    pub packing: Packing,
    pub existing: Existing,
}

/// What happens to a layer that already is a compressed blob, such as a base's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It goes out as it is, by its digest.
    Keep,
    /// It is packed anew if its packing differs (`force-compression=true`).
    Repack,
}

/// Why a text is not an output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    #[error("output {0:?} has an unclosed quote")]
    Quote(String),
    #[error("output {0:?} has no type; expected type=oci, docker, tar or local")]
    NoType(String),
    #[error("output type {0:?} is not supported; expected oci, docker, tar or local")]
    Type(String),
    #[error("output {0:?} is not of the form key=value")]
    NotAPair(String),
    #[error("output option {option:?} does not apply to type={kind}{}", hint(.similar))]
    Option { option: String, kind: &'static str, similar: Option<&'static str> },
    #[error("output option {0:?} is given twice")]
    Twice(String),
    #[error("output option {option}={value:?} is invalid; expected {expected}")]
    Value { option: &'static str, value: String, expected: &'static str },
    #[error("output type={0} needs dest=PATH{or_stdout}", or_stdout = if *.1 { " or dest=- for standard output" } else { "" })]
    NoDest(&'static str, bool),
    #[error("output type={0} writes a directory and cannot go to standard output")]
    DirectoryToStdout(&'static str),
    #[error("output option name: {0}")]
    Name(#[from] ReferenceError),
}

fn hint(similar: &Option<&'static str>) -> String {
    similar.map(|s| format!("; did you mean {s}?")).unwrap_or_default()
}

impl FromStr for OutputSpec {
    type Err = OutputError;

    /// Parses `type=oci,dest=out.tar,name="a,b"`; a text without `=` is the destination of `type=local`, and `-`
    /// alone that of `type=tar`, as in buildx.
    fn from_str(text: &str) -> Result<Self, OutputError> {
        let fields = csv::record(text).ok_or_else(|| OutputError::Quote(text.to_owned()))?;
        let fields: Vec<String> = fields.into_iter().map(|field| field.text).collect();
        if let [lone] = &fields[..]
            && !lone.contains('=')
            && !lone.is_empty()
        {
            let kind = match lone.as_str() {
                "-" => OutputKind::RootFsTar { dest: Dest::Stdout },
                path => OutputKind::Local { dest: path.into() },
            };
            return Ok(Self { kind, names: Vec::new(), target: None });
        }
        Options::collect(text, &fields)?.finish()
    }
}

/// The form that `type=` names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Oci,
    Docker,
    Tar,
    Local,
}

impl Kind {
    fn parse(text: &str) -> Result<Self, OutputError> {
        match text {
            "oci" => Ok(Self::Oci),
            "docker" => Ok(Self::Docker),
            "tar" => Ok(Self::Tar),
            "local" => Ok(Self::Local),
            other => Err(OutputError::Type(other.to_owned())),
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Oci => "oci",
            Self::Docker => "docker",
            Self::Tar => "tar",
            Self::Local => "local",
        }
    }

    const fn options(self) -> &'static [&'static str] {
        match self {
            Self::Oci => &[
                "dest",
                "target",
                "tar",
                "compression",
                "force-compression",
                "name",
                "oci-mediatypes",
                "rewrite-timestamp",
            ],
            Self::Docker => &["dest", "target", "name", "rewrite-timestamp"],
            Self::Tar | Self::Local => &["dest", "target"],
        }
    }
}

/// The pairs as they came, each key once.
struct Options {
    kind: Kind,
    pairs: Vec<(&'static str, String)>,
}

impl Options {
    fn collect(text: &str, fields: &[String]) -> Result<Self, OutputError> {
        let mut pairs = Vec::new();
        for field in fields {
            let (key, value) = field.split_once('=').ok_or_else(|| OutputError::NotAPair(field.clone()))?;
            pairs.push((key.trim().to_ascii_lowercase(), value));
        }
        let kind = pairs.iter().find(|(key, _)| key == "type").map(|(_, value)| Kind::parse(value));
        let kind = kind.ok_or_else(|| OutputError::NoType(text.to_owned()))??;
        let mut options = Self { kind, pairs: Vec::new() };
        let mut types = 0;
        for (key, value) in pairs {
            if key == "type" {
                types += 1;
                if types > 1 {
                    return Err(OutputError::Twice(key));
                }
            } else {
                options.add(&key, value)?;
            }
        }
        Ok(options)
    }

    fn add(&mut self, key: &str, value: &str) -> Result<(), OutputError> {
        let known = self.kind.options();
        let Some(option) = known.iter().find(|option| **option == key) else {
            let similar = suggest(key, known.iter().copied())
                .and_then(|s| known.iter().find(|option| **option == s).copied());
            return Err(OutputError::Option { option: key.to_owned(), kind: self.kind.text(), similar });
        };
        if self.get(option).is_some() {
            return Err(OutputError::Twice(key.to_owned()));
        }
        self.pairs.push((option, value.to_owned()));
        Ok(())
    }

    fn get(&self, option: &str) -> Option<&str> {
        self.pairs.iter().find(|(key, _)| *key == option).map(|(_, value)| value.as_str())
    }

    fn boolean(&self, option: &'static str) -> Result<Option<bool>, OutputError> {
        match self.get(option) {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(value) => {
                Err(OutputError::Value { option, value: value.to_owned(), expected: "true or false" })
            }
        }
    }

    /// What lith always does may be asked for, but not turned off.
    fn always(&self, option: &'static str) -> Result<(), OutputError> {
        match self.boolean(option)? {
            None | Some(true) => Ok(()),
            Some(false) => Err(OutputError::Value {
                option,
                value: "false".into(),
                expected: "true, which it always is",
            }),
        }
    }

    fn finish(self) -> Result<OutputSpec, OutputError> {
        self.always("rewrite-timestamp")?;
        self.always("oci-mediatypes")?;
        let kind = match self.kind {
            Kind::Oci if self.boolean("tar")? == Some(false) => {
                OutputKind::OciLayout { dest: self.directory()?, layers: self.layers()? }
            }
            Kind::Oci => OutputKind::OciArchive { dest: self.stream()?, layers: self.layers()? },
            Kind::Docker => OutputKind::DockerArchive { dest: self.stream()? },
            Kind::Tar => OutputKind::RootFsTar { dest: self.stream()? },
            Kind::Local => OutputKind::Local { dest: self.directory()? },
        };
        let names = self.get("name").unwrap_or_default().split(',').filter(|name| !name.is_empty());
        let names = names.map(str::parse).collect::<Result<_, _>>()?;
        Ok(OutputSpec { kind, names, target: self.get("target").map(str::to_owned) })
    }

    fn stream(&self) -> Result<Dest, OutputError> {
        match self.get("dest") {
            None | Some("") => Err(OutputError::NoDest(self.kind.text(), true)),
            Some("-") => Ok(Dest::Stdout),
            Some(path) => Ok(Dest::File(path.into())),
        }
    }

    fn directory(&self) -> Result<PathBuf, OutputError> {
        match self.get("dest") {
            None | Some("") => Err(OutputError::NoDest(self.kind.text(), false)),
            Some("-") => Err(OutputError::DirectoryToStdout(self.kind.text())),
            Some(path) => Ok(path.into()),
        }
    }

    fn layers(&self) -> Result<Layers, OutputError> {
        let packing = match self.get("compression") {
            None | Some("gzip") => Packing::Gzip,
            Some("zstd") => Packing::Zstd,
            Some("none" | "uncompressed") => Packing::Plain,
            Some(value) => {
                return Err(OutputError::Value {
                    option: "compression",
                    value: value.to_owned(),
                    expected: "none, gzip or zstd",
                });
            }
        };
        let existing = match self.boolean("force-compression")? {
            Some(true) => Existing::Repack,
            Some(false) | None => Existing::Keep,
        };
        Ok(Layers { packing, existing })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<OutputSpec, OutputError> {
        text.parse()
    }

    fn message(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn kinds() {
        let gzip = Layers { packing: Packing::Gzip, existing: Existing::Keep };
        let spec = parse(r#"type=oci,dest=a.tar,"name=x,y:1""#).unwrap();
        assert_eq!(spec.kind, OutputKind::OciArchive { dest: Dest::File("a.tar".into()), layers: gzip });
        let names: Vec<String> = spec.names.iter().map(Reference::familiar).collect();
        assert_eq!(names, ["x:latest", "y:1"]);
        let spec = parse("type=oci,tar=false,dest=d,compression=zstd,force-compression=true").unwrap();
        let zstd = Layers { packing: Packing::Zstd, existing: Existing::Repack };
        assert_eq!(spec.kind, OutputKind::OciLayout { dest: "d".into(), layers: zstd });
        assert_eq!(
            parse("type=docker,dest=-").unwrap().kind,
            OutputKind::DockerArchive { dest: Dest::Stdout }
        );
        assert_eq!(parse("dest=-,type=tar").unwrap().kind, OutputKind::RootFsTar { dest: Dest::Stdout });
        assert_eq!(parse("-").unwrap().kind, OutputKind::RootFsTar { dest: Dest::Stdout });
        assert_eq!(parse("out/dir").unwrap().kind, OutputKind::Local { dest: "out/dir".into() });
        let quoted = parse("type=local,\"dest=a").unwrap_err();
        assert!(matches!(quoted, OutputError::Quote(_)));
        assert_eq!(
            parse(r#"type=local,"dest=a,""b""""#).unwrap().kind,
            OutputKind::Local { dest: "a,\"b\"".into() }
        );
    }

    #[test]
    fn messages_say_what_was_expected() {
        assert_eq!(
            message("type=image,dest=x"),
            "output type \"image\" is not supported; expected oci, docker, tar or local"
        );
        assert_eq!(
            message("dest=x"),
            "output \"dest=x\" has no type; expected type=oci, docker, tar or local"
        );
        assert_eq!(message("type=oci"), "output type=oci needs dest=PATH or dest=- for standard output");
        assert_eq!(message("type=local"), "output type=local needs dest=PATH");
        assert_eq!(
            message("type=oci,dest=x,compresion=gzip"),
            "output option \"compresion\" does not apply to type=oci; did you mean compression?"
        );
        assert_eq!(
            message("type=oci,dest=x,compression=lz4"),
            "output option compression=\"lz4\" is invalid; expected none, gzip or zstd"
        );
        for bad in [
            "",
            ",",
            "type=oci,dest=x,dest=y",
            "type=oci,type=tar,dest=x",
            "type=tar,dest=x,compression=gzip",
            "type=local,dest=-",
            "type=oci,tar=false,dest=-",
            "type=oci,dest=x,tar=maybe",
            "type=oci,dest",
            "type=oci,dest=x,name=../../x",
            "type=oci,dest=x,oci-mediatypes=false",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in any::<String>()) {
            let _ = parse(&text);
        }
    }
}
