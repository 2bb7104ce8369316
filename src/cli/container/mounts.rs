//! `--volume`, `--mount`, `--tmpfs`: what is mounted in a container.

use std::path::{Component, Path, PathBuf};

use clap::Args;

use crate::cli::CliError;
use crate::container::{MountPoint, MountSource, volumes};
use crate::{csv, size};

/// Options about mounts.
#[derive(Debug, Args)]
pub struct MountFlags {
    /// A directory of the host, or a volume, at a path of the container
    #[arg(short, long, value_name = "[SOURCE:]PATH[:ro]")]
    volume: Vec<String>,
    /// The same in words: type=bind|volume|tmpfs,source=…,target=…[,readonly]
    #[arg(long, value_name = "KEY=VALUE,…")]
    mount: Vec<String>,
    /// Memory at a path of the container
    #[arg(long, value_name = "PATH[:size=…]")]
    tmpfs: Vec<String>,
}

impl MountFlags {
    /// All of them, in the order of docker: volumes, mounts, memory.
    pub fn read(&self) -> Result<Vec<MountPoint>, CliError> {
        let volumes = self.volume.iter().map(|text| volume(text));
        let mounts = self.mount.iter().map(|text| mount(text));
        let memory = self.tmpfs.iter().map(|text| tmpfs(text));
        let all = volumes.chain(mounts).chain(memory).collect::<Result<Vec<MountPoint>, CliError>>()?;
        for (at, point) in all.iter().enumerate() {
            if all[..at].iter().any(|other| other.target == point.target) {
                let target = point.target.display();
                return Err(CliError::Usage(format!("{target} is a mount point twice; name each once")));
            }
        }
        Ok(all)
    }
}

fn volume(text: &str) -> Result<MountPoint, CliError> {
    let wrong = |reason: String| CliError::Usage(format!("--volume {text}: {reason}"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => (None, *target, ""),
        [source, target] => (Some(*source), *target, ""),
        [source, target, options] => (Some(*source), *target, *options),
        _ => return Err(wrong("expected [SOURCE:]PATH[:ro]".into())),
    };
    let mut read_only = false;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            "rw" => {}
            // Labels of SELinux, which has none here.
            "z" | "Z" => {}
            other => return Err(wrong(format!("{other} is no option; expected ro or rw"))),
        }
    }
    let source = match source {
        None => MountSource::Volume { name: String::new(), anonymous: true },
        Some("") => return Err(wrong("the source is empty".into())),
        Some(path) if path.starts_with(['/', '.']) => bind(path).map_err(wrong)?,
        Some(name) => named(name)?,
    };
    Ok(MountPoint { target: checked(target).map_err(wrong)?, read_only, source })
}

fn mount(text: &str) -> Result<MountPoint, CliError> {
    let wrong = |reason: String| CliError::Usage(format!("--mount {text}: {reason}"));
    let fields = csv::record(text).ok_or_else(|| wrong("a quote is not closed".into()))?;
    let (mut kind, mut source, mut target, mut read_only, mut bytes) =
        ("volume".to_owned(), None, None, false, None);
    for field in &fields {
        let text: &str = &field.text;
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        match key {
            "type" => kind = value.to_owned(),
            "source" | "src" => source = Some(value.to_owned()),
            "target" | "dst" | "destination" => target = Some(value.to_owned()),
            "readonly" | "ro" => {
                read_only = match value {
                    "" | "true" | "1" => true,
                    "false" | "0" => false,
                    other => return Err(wrong(format!("readonly is true or false, not {other}"))),
                }
            }
            "tmpfs-size" => {
                let parsed = size::bytes(value).filter(|size| *size > 0);
                bytes = Some(parsed.ok_or_else(|| wrong(format!("{value} is no size, as 64m or 1.5g")))?);
            }
            other => {
                return Err(wrong(format!(
                    "{other} is no key; expected type, source, target, readonly or tmpfs-size"
                )));
            }
        }
    }
    let target = target.ok_or_else(|| wrong("the target is missing".into()))?;
    let source = match (kind.as_str(), source) {
        ("bind", Some(path)) => bind(&path).map_err(wrong)?,
        ("bind", None) => return Err(wrong("a bind needs a source".into())),
        ("volume", None) => MountSource::Volume { name: String::new(), anonymous: true },
        ("volume", Some(name)) => named(&name)?,
        ("tmpfs", None) => MountSource::Tmpfs { size: bytes },
        ("tmpfs", Some(_)) => return Err(wrong("memory has no source".into())),
        (other, _) => return Err(wrong(format!("{other} is no type; expected bind, volume or tmpfs"))),
    };
    if bytes.is_some() && !matches!(source, MountSource::Tmpfs { .. }) {
        return Err(wrong("tmpfs-size is for type=tmpfs".into()));
    }
    Ok(MountPoint { target: checked(&target).map_err(wrong)?, read_only, source })
}

fn tmpfs(text: &str) -> Result<MountPoint, CliError> {
    let wrong = |reason: String| CliError::Usage(format!("--tmpfs {text}: {reason}"));
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let (mut read_only, mut bytes) = (false, None);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            None if option == "ro" => read_only = true,
            None if option == "rw" => {}
            Some(("size", value)) => {
                let parsed = size::bytes(value).filter(|size| *size > 0);
                bytes = Some(parsed.ok_or_else(|| wrong(format!("{value} is no size, as 64m or 1.5g")))?);
            }
            _ => return Err(wrong(format!("{option} is no option; expected size=…, ro or rw"))),
        }
    }
    let target = checked(target).map_err(wrong)?;
    Ok(MountPoint { target, read_only, source: MountSource::Tmpfs { size: bytes } })
}

fn named(name: &str) -> Result<MountSource, CliError> {
    volumes::check_name(name)?;
    Ok(MountSource::Volume { name: name.to_owned(), anonymous: false })
}

/// A path of the host, which must be there: a typing error is not to become an empty directory.
fn bind(path: &str) -> Result<MountSource, String> {
    let absolute = std::path::absolute(path).map_err(|error| format!("{path}: {error}"))?;
    match std::fs::metadata(&absolute) {
        Ok(_) => Ok(MountSource::Bind(absolute)),
        Err(error) => Err(format!("the host has no {}: {error}; make it first", absolute.display())),
    }
}

/// A path of the container, without detours.
fn checked(target: &str) -> Result<PathBuf, String> {
    let path = Path::new(target);
    if !path.is_absolute() {
        return Err(format!("{target} is no absolute path of the container"));
    }
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => return Err(format!("{target} holds ..; name the path without it")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    if clean == Path::new("/") {
        return Err("nothing can be mounted over the whole root file system".into());
    }
    Ok(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_understood_as_docker_does() {
        let of = |text: &str| volume(text).map(|point| (point.source, point.target, point.read_only));
        let path = |text: &str| PathBuf::from(text);
        let own = MountSource::Volume { name: String::new(), anonymous: true };
        let data = MountSource::Volume { name: "data".into(), anonymous: false };
        assert_eq!(of("/data").unwrap(), (own, path("/data"), false));
        assert_eq!(of("data:/srv//x/").unwrap(), (data.clone(), path("/srv/x"), false));
        assert_eq!(of("data:/srv:ro").unwrap(), (data, path("/srv"), true));
        assert_eq!(of("/etc:/e:rw,z").unwrap(), (MountSource::Bind(path("/etc")), path("/e"), false));
        for bad in [
            "",
            "x",
            "a:b",
            ":/x",
            "/nope-at-all:/x",
            "data:/",
            "data:/x:qq",
            "a:/b:ro:x",
            "d:/a/../b",
            "-x:/y",
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn mounts_in_words() {
        let of = |text: &str| mount(text).map(|point| (point.source, point.read_only));
        assert_eq!(of("type=bind,src=/etc,dst=/e,ro").unwrap(), (MountSource::Bind("/etc".into()), true));
        assert_eq!(
            of("type=tmpfs,target=/t,tmpfs-size=1m").unwrap(),
            (MountSource::Tmpfs { size: Some(1 << 20) }, false)
        );
        assert_eq!(of("target=/v").unwrap().0, MountSource::Volume { name: String::new(), anonymous: true });
        for bad in [
            "type=bind,dst=/x",
            "type=tmpfs,source=a,target=/x",
            "target=/x,colour=red",
            "type=nfs,target=/x",
            "source=a",
            "target=/x,tmpfs-size=1m",
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
        assert_eq!(tmpfs("/run:size=64k,ro").unwrap().source, MountSource::Tmpfs { size: Some(65536) });
        assert!(tmpfs("/run:mode=1777").is_err());
    }
}
