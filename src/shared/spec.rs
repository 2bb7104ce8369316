//! `--cache-from` and `--cache-to`, in buildx' comma-separated form. Pure.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::csv;
use crate::diag::suggest;
use crate::oci::media::Packing;
use crate::oci::{Reference, ReferenceError};

/// What kind of place, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// An OCI layout in a directory.
    Layout(PathBuf),
    /// A repository of a registry.
    Registry {
        name: Reference,
        /// It is asked in the clear.
        insecure: bool,
    },
}

/// One `--cache-from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    pub form: Form,
    /// Layers are brought when something reads them, not when a record is used.
    pub is_lazy: bool,
}

/// One `--cache-to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct To {
    pub form: Form,
    pub mode: Mode,
    /// How layers are packed there.
    pub packing: Packing,
    /// That nothing could be written is a warning.
    pub ignore_error: bool,
    /// The private key that signs what is written.
    pub sign: Option<PathBuf>,
}

/// Which steps are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Those whose layers are in an image of a target.
    #[default]
    Min,
    Max,
}

/// Why a text names no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    #[error("{0:?} has an open quote")]
    Quote(String),
    #[error("{0:?} is not of the form KEY=VALUE")]
    NotAPair(String),
    #[error("{0:?} does not say type=registry, type=oci-layout or type=local")]
    NoType(String),
    #[error("type={0} is no kind of cache that lith has; there are registry, oci-layout and local")]
    Type(String),
    #[error("{key} is no option here{}", .similar.as_ref().map_or_else(|| format!("; there are {}", .known.join(", ")), |similar| format!("; did you mean {similar}?")))]
    Option { key: String, similar: Option<String>, known: &'static [&'static str] },
    #[error("{0} is given twice")]
    Twice(String),
    #[error("{text:?} does not say {key}={}", match *.key { "ref" => "NAME", "sign" => "FILE", _ => "DIR" })]
    Missing { text: String, key: &'static str },
    #[error("{0} says nothing of a cache of this type")]
    Misplaced(String),
    #[error("ref: {0}")]
    Reference(#[from] ReferenceError),
    #[error("ref={0}: tags are the records' own; name the repository alone")]
    Tagged(String),
    #[error("mode={0} is neither min nor max")]
    Mode(String),
    #[error("compression={0} is none of gzip, zstd and uncompressed")]
    Compression(String),
    #[error("{key}={value} is neither true nor false")]
    Flag { key: &'static str, value: String },
}

impl FromStr for From {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let fields = Fields::read(text, &["type", "src", "ref", "registry.insecure", "lazy"])?;
        Ok(Self { form: fields.form("src")?, is_lazy: fields.flag("lazy", true)? })
    }
}

impl FromStr for To {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let known =
            &["type", "dest", "ref", "registry.insecure", "mode", "compression", "ignore-error", "sign"];
        let fields = Fields::read(text, known)?;
        let mode = match fields.get("mode") {
            None | Some("min") => Mode::Min,
            Some("max") => Mode::Max,
            Some(other) => return Err(SpecError::Mode(other.to_owned())),
        };
        let packing = match fields.get("compression") {
            None | Some("gzip") => Packing::Gzip,
            Some("zstd") => Packing::Zstd,
            Some("uncompressed") => Packing::Plain,
            Some(other) => return Err(SpecError::Compression(other.to_owned())),
        };
        let ignore_error = fields.flag("ignore-error", false)?;
        let sign = fields.get("sign").map(|_| fields.needed("sign")).transpose()?.map(PathBuf::from);
        Ok(Self { form: fields.form("dest")?, mode, packing, ignore_error, sign })
    }
}

impl fmt::Display for Form {
    /// As `--cache-from` reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout(dir) => {
                write!(f, "type=oci-layout,{}", csv::field(&format!("src={}", dir.display())))
            }
            Self::Registry { name, insecure } => {
                write!(f, "type=registry,ref={}", name.familiar_name())?;
                if *insecure { f.write_str(",registry.insecure=true") } else { Ok(()) }
            }
        }
    }
}

/// The pairs of one option, each key once.
struct Fields<'a> {
    text: &'a str,
    pairs: Vec<(String, String)>,
}

impl<'a> Fields<'a> {
    fn read(text: &'a str, known: &'static [&'static str]) -> Result<Self, SpecError> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for field in csv::record(text).ok_or_else(|| SpecError::Quote(text.to_owned()))? {
            let pair = field.text.split_once('=').ok_or_else(|| SpecError::NotAPair(field.text.clone()))?;
            let (key, value) = (pair.0.trim().to_ascii_lowercase(), pair.1.to_owned());
            if !known.contains(&key.as_str()) {
                let similar = suggest(&key, known.iter().copied()).map(str::to_owned);
                return Err(SpecError::Option { key, similar, known });
            }
            if pairs.iter().any(|(there, _)| *there == key) {
                return Err(SpecError::Twice(key));
            }
            pairs.push((key, value));
        }
        Ok(Self { text, pairs })
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(there, _)| there == key).map(|(_, value)| value.as_str())
    }

    fn flag(&self, key: &'static str, otherwise: bool) -> Result<bool, SpecError> {
        match self.get(key) {
            None => Ok(otherwise),
            Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(value) => Err(SpecError::Flag { key, value: value.to_owned() }),
        }
    }

    fn form(&self, place: &'static str) -> Result<Form, SpecError> {
        match self.get("type").ok_or_else(|| SpecError::NoType(self.text.to_owned()))? {
            "oci-layout" | "local" => {
                self.only_other_than(&["ref", "registry.insecure"])?;
                Ok(Form::Layout(self.needed(place)?.into()))
            }
            "registry" => {
                self.only_other_than(&[place])?;
                let text = self.needed("ref")?;
                let name: Reference = text.parse()?;
                // The reference itself has a tag where none was said.
                if name.digest().is_some() || text.rsplit('/').next().is_some_and(|last| last.contains(':')) {
                    return Err(SpecError::Tagged(text.to_owned()));
                }
                Ok(Form::Registry { name, insecure: self.flag("registry.insecure", false)? })
            }
            other => Err(SpecError::Type(other.to_owned())),
        }
    }

    fn needed(&self, key: &'static str) -> Result<&str, SpecError> {
        let missing = || SpecError::Missing { text: self.text.to_owned(), key };
        self.get(key).filter(|value| !value.is_empty()).ok_or_else(missing)
    }

    fn only_other_than(&self, keys: &[&str]) -> Result<(), SpecError> {
        match keys.iter().find(|key| self.get(key).is_some()) {
            None => Ok(()),
            Some(key) => Err(SpecError::Misplaced((*key).to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        let layout = Form::Layout("a,b".into());
        let from = |form: &Form, is_lazy| Ok(From { form: form.clone(), is_lazy });
        assert_eq!("type=local,\"src=a,b\"".parse(), from(&layout, true));
        let to = To {
            form: layout.clone(),
            mode: Mode::Max,
            packing: Packing::Zstd,
            ignore_error: true,
            sign: None,
        };
        let text = "type=oci-layout,dest=\"a,b\",mode=max,compression=zstd,ignore-error=true";
        assert_eq!(text.parse(), Ok(to));
        let remote = |insecure| Form::Registry { name: "a.example/cache".parse().unwrap(), insecure };
        assert_eq!("type=registry,ref=a.example/cache,lazy=false".parse(), from(&remote(false), false));
        for form in [layout, remote(true), remote(false), Form::Layout("/a b/\"c\"".into())] {
            assert_eq!(form.to_string().parse(), from(&form, true), "{form}");
        }
        let to: To = "type=registry,ref=a.example/cache,registry.insecure=true,mode=max".parse().unwrap();
        assert_eq!((to.form, to.mode), (remote(true), Mode::Max));
        let to: To = "type=local,dest=x".parse().unwrap();
        assert_eq!((to.mode, to.packing, to.ignore_error), (Mode::Min, Packing::Gzip, false));
        let to: To = "type=local,dest=x,\"sign=a,b.key\"".parse().unwrap();
        assert_eq!(to.sign, Some("a,b.key".into()));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let from = |text: &str| text.parse::<From>().unwrap_err().to_string();
        let to = |text: &str| text.parse::<To>().unwrap_err().to_string();
        assert_eq!(from("DIR"), "\"DIR\" is not of the form KEY=VALUE");
        assert_eq!(from("src=x"), "\"src=x\" does not say type=registry, type=oci-layout or type=local");
        assert_eq!(from("type=registry,src=x"), "src says nothing of a cache of this type");
        assert_eq!(from("type=local,src=x,ref=y"), "ref says nothing of a cache of this type");
        assert_eq!(from("type=registry"), "\"type=registry\" does not say ref=NAME");
        assert!(from("type=registry,ref=a.example:5000/c:tag").contains("name the repository alone"));
        assert!("type=registry,ref=a.example:5000/c".parse::<From>().is_ok());
        assert!(from("type=gha,src=x").contains("type=gha is no kind of cache"));
        assert_eq!(from("type=local,srd=x"), "srd is no option here; did you mean src?");
        assert_eq!(from("type=local"), "\"type=local\" does not say src=DIR");
        assert_eq!(from("type=local,src=a,src=b"), "src is given twice");
        assert_eq!(to("type=local,dest=a,mode=all"), "mode=all is neither min nor max");
        assert_eq!(to("type=local,dest=a,ignore-error=1"), "ignore-error=1 is neither true nor false");
        assert!(to("type=local,\"dest=a").contains("open quote"));
        assert_eq!(
            to("type=local,dest=a,compression=xz"),
            "compression=xz is none of gzip, zstd and uncompressed"
        );
        assert_eq!(from("type=local,src=a,lazy=no"), "lazy=no is neither true nor false");
        assert_eq!(to("type=local,dest=a,sign="), "\"type=local,dest=a,sign=\" does not say sign=FILE");
        assert!(from("type=local,src=a,sign=b").starts_with("sign is no option here"));
    }
}
