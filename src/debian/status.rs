//! dpkg's database of packages that were unpacked (spec/packages.md, "Database").

use std::collections::BTreeMap;

use super::deb::{Control, DebError};
use crate::path::ImagePath;

/// Where dpkg keeps what it knows.
pub const ADMIN: &str = "var/lib/dpkg";

/// Directories that a system with merged `/usr` has as links, and what of their names every system has.
const MERGED: [&str; 7] = ["bin", "lib", "lib32", "lib64", "libo32", "libx32", "sbin"];
/// Those that are made whatever packages hold.
pub const ALWAYS_MERGED: [&str; 3] = ["bin", "lib", "sbin"];

/// Scripts that would have changed the system if they had run.
const SCRIPTS: [&str; 2] = ["preinst", "postinst"];

/// Which of the links to `/usr` a path leads through, and the path below `/usr`.
pub fn merged(path: &ImagePath) -> Option<(&'static str, ImagePath)> {
    let first = path.names().next()?;
    let link = MERGED.into_iter().find(|name| name.as_bytes() == first)?;
    Some((link, ImagePath::root().child(b"usr").join(path)))
}

/// Whether dpkg would have something to do for the package: only then is it not installed yet.
pub fn is_unpacked_only(control: &Control) -> bool {
    SCRIPTS.iter().any(|script| control.files.contains_key(*script))
}

/// What a file of dpkg's `info` directory is called.
pub fn info_name(control: &Control, kind: &str) -> Result<String, DebError> {
    let fields = control.paragraph()?;
    let name = fields.get("Package").unwrap_or_default();
    Ok(match (fields.get("Multi-Arch"), fields.get("Architecture")) {
        (Some("same"), Some(architecture)) => format!("{name}:{architecture}.{kind}"),
        _ => format!("{name}.{kind}"),
    })
}

/// The list of a package's files: as the package spells them, the root first.
pub fn list<'a>(paths: impl Iterator<Item = &'a ImagePath>) -> Vec<u8> {
    let mut text = b"/.\n".to_vec();
    for path in paths.filter(|path| !path.is_root()) {
        text.extend(path.absolute());
        text.push(b'\n');
    }
    text
}

/// The configuration files of a package that are there when it is unpacked.
pub fn conffiles(control: &Control) -> Vec<String> {
    let text = control.text("conffiles");
    let lines = text.lines().map(str::trim).filter(|line| line.starts_with('/'));
    lines.map(str::to_owned).collect()
}

/// The package's paragraph of `status`. `conffiles`: path and MD5 in hex.
pub fn paragraph(control: &Control, conffiles: &[(String, String)]) -> Result<String, DebError> {
    let fields = control.paragraph()?;
    let state = if is_unpacked_only(control) { "unpacked" } else { "installed" };
    let mut text = String::new();
    for (at, (name, value)) in fields.fields().iter().enumerate() {
        let gap = if value.starts_with('\n') { "" } else { " " };
        text.push_str(&format!("{name}:{gap}{value}\n"));
        if at == 0 {
            text.push_str(&format!("Status: install ok {state}\n"));
        }
    }
    if !conffiles.is_empty() {
        text.push_str("Conffiles:\n");
        conffiles.iter().for_each(|(path, md5)| text.push_str(&format!(" {path} {md5}\n")));
    }
    text.push('\n');
    Ok(text)
}

/// The files that say which package waits for which trigger, by name, as dpkg writes them when it unpacks.
pub fn triggers(packages: &[Control]) -> Result<BTreeMap<String, String>, DebError> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for control in packages {
        let name = info_name(control, "")?;
        let name = name.trim_end_matches('.');
        for line in control.text("triggers").lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let (Some(kind), Some(trigger)) = (words.next(), words.next()) else { continue };
            let noawait = if kind == "interest-noawait" { "/noawait" } else { "" };
            if !kind.starts_with("interest") {
                continue;
            }
            if trigger.starts_with('/') {
                let line = format!("{trigger} {name}{noawait}\n");
                files.entry("File".to_owned()).or_default().push_str(&line);
            } else if super::relation::is_name(trigger) {
                files.entry(trigger.to_owned()).or_default().push_str(&format!("{name}{noawait}\n"));
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(fields: &str, files: &[(&str, &str)]) -> Control {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), (0o644, text.as_bytes().to_vec())));
        Control { fields: fields.to_owned(), files: files.collect() }
    }

    #[test]
    fn a_paragraph_is_the_packages_own_with_its_state() {
        let fields = "Package: a\nVersion: 1\nArchitecture: amd64\nMulti-Arch: same\nDescription: short\n long\n .\n more\n";
        let plain = control(fields, &[]);
        let text = paragraph(&plain, &[("/etc/a".into(), "00".into())]).unwrap();
        let expected = "Package: a\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\nMulti-Arch: same\nDescription: short\n long\n .\n more\nConffiles:\n /etc/a 00\n\n";
        assert_eq!(text, expected);
        assert_eq!(info_name(&plain, "list").unwrap(), "a:amd64.list");
        let scripted = control(fields, &[("postinst", "")]);
        assert!(paragraph(&scripted, &[]).unwrap().contains("Status: install ok unpacked\n"));
    }

    #[test]
    fn triggers_are_listed_by_name() {
        let a = control(
            "Package: a\n",
            &[("triggers", "interest-noawait /usr/lib\ninterest x # why\nactivate y\n")],
        );
        let b = control("Package: b\n", &[("triggers", "interest-await x\n")]);
        let files = triggers(&[a, b]).unwrap();
        assert_eq!(files["File"], "/usr/lib a/noawait\n");
        assert_eq!(files["x"], "a\nb\n");
        assert_eq!(files.len(), 2);
    }

    #[test]
    fn merged_directories() {
        let path = |text: &str| ImagePath::parse(text.as_bytes()).unwrap();
        assert_eq!(merged(&path("bin/sh")), Some(("bin", path("usr/bin/sh"))));
        assert_eq!(merged(&path("lib64")), Some(("lib64", path("usr/lib64"))));
        assert_eq!(merged(&path("library/x")), None);
        assert_eq!(merged(&ImagePath::root()), None);
    }
}
