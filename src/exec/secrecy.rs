//! Keys and passwords in what a step wrote (spec/world.md, "Keys").
//!
//! Whoever gets an image gets them too, which is worth a warning. In a step whose randomness follows from a seed they are
//! known to everybody who can build it, which is an error.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use rayon::prelude::*;

use crate::layer::{Node, Toc, TocEntry};
use crate::path::ImagePath;
use crate::sandbox::spec::Seen;

/// A key stands at the beginning of its file, within so many bytes.
const LOOKED_AT: u64 = 4096;
/// No key is shorter, and no file with a key and little else is longer.
const SIZES: std::ops::RangeInclusive<u64> = 60..=1 << 20;
/// How PEM begins (RFC 7468), and OpenSSH after it.
const BEGIN: &[u8] = b"-----BEGIN ";
const PRIVATE: &[u8] = b"PRIVATE KEY-----";
/// How a line begins that is a key of age, and the first one of PuTTY's files.
const LINES: [&[u8]; 2] = [b"AGE-SECRET-KEY-", b"PuTTY-User-Key-File-"];
pub const SHADOW: &[u8] = b"etc/shadow";

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub path: ImagePath,
    pub what: &'static str,
}

/// Looks through the new files of a layer, which lie in a directory. Files that a package brought are whose they are.
pub fn find(layer: &Toc, directory: &Path, shadow_below: &[u8]) -> Vec<Found> {
    let is_candidate = |entry: &&TocEntry| {
        let size = match entry.node {
            Node::File { size, .. } => size,
            _ => return false,
        };
        SIZES.contains(&size) || entry.path.as_bytes() == SHADOW
    };
    let candidates: Vec<&TocEntry> = layer.entries().iter().filter(is_candidate).collect();
    let found: Vec<Found> = candidates
        .par_iter()
        .filter_map(|entry| {
            let what = look(&entry.path, directory, shadow_below)?;
            Some(Found { path: entry.path.clone(), what })
        })
        .collect();
    if found.is_empty() {
        return found;
    }
    let packaged = packaged(layer, directory);
    found.into_iter().filter(|found| !packaged.contains(found.path.as_bytes())).collect()
}

fn look(path: &ImagePath, directory: &Path, shadow_below: &[u8]) -> Option<&'static str> {
    let file = directory.join(path.as_os_str());
    if path.as_bytes() == SHADOW {
        return has_new_password(&fs::read(file).ok()?, shadow_below).then_some("the hash of a password");
    }
    let mut bytes = Vec::new();
    File::open(file).ok()?.take(LOOKED_AT).read_to_end(&mut bytes).ok()?;
    is_private_key(&bytes).then_some("a private key")
}

fn is_private_key(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    lines.any(|line| LINES.iter().any(|begin| line.starts_with(begin))) || is_private_pem(bytes)
}

fn is_private_pem(bytes: &[u8]) -> bool {
    let begins = bytes.windows(BEGIN.len()).enumerate().filter(|(_, window)| *window == BEGIN);
    begins.map(|(at, _)| &bytes[at + BEGIN.len()..]).any(|rest| {
        // RSA, EC, DSA, OPENSSH, ENCRYPTED or nothing at all stands between.
        let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        line.trim_ascii_end().ends_with(PRIVATE)
    })
}

/// Whether an account has a password that it did not have below (shadow(5)).
fn has_new_password(shadow: &[u8], below: &[u8]) -> bool {
    let hashes = |text: &[u8]| -> HashSet<Vec<u8>> {
        let lines = text.split(|byte| *byte == b'\n');
        let hash = |line: &[u8]| line.split(|byte| *byte == b':').nth(1).map(<[u8]>::to_vec);
        lines.filter_map(hash).filter(|hash| hash.starts_with(b"$")).collect()
    };
    let known = hashes(below);
    hashes(shadow).iter().any(|hash| !known.contains(hash))
}

/// Files that packages brought which a step installed, as dpkg notes them (`MD5  path` a line).
fn packaged(layer: &Toc, directory: &Path) -> HashSet<Vec<u8>> {
    let lists = layer.entries().iter().filter(|entry| {
        let path = entry.path.as_bytes();
        path.starts_with(b"var/lib/dpkg/info/") && path.ends_with(b".md5sums")
    });
    let texts = lists.filter_map(|entry| fs::read(directory.join(entry.path.as_os_str())).ok());
    let mut paths = HashSet::new();
    for text in texts {
        let lines = text.split(|byte| *byte == b'\n');
        paths.extend(lines.filter_map(|line| line.get(34..)).map(<[u8]>::to_vec));
    }
    paths
}

/// Who may have made a file, by what was seen of the processes that drew randomness: the one that names it, or else all.
pub fn makers(path: &ImagePath, seen: &Seen) -> String {
    const SHOWN: usize = 3;
    let name = path.name();
    let names =
        |command: &&String| command.as_bytes().windows(name.len().max(1)).any(|window| window == name);
    let quoted = |command: &String| format!("`{command}`");
    match (seen.entropy.iter().find(names), seen.entropy.as_slice()) {
        (Some(command), _) | (None, [command]) => quoted(command),
        (None, []) => "the step".to_owned(),
        (None, all) => {
            let shown: Vec<String> = all.iter().take(SHOWN).map(quoted).collect();
            let others = all.len() - shown.len();
            let more =
                if others > 0 { format!(" and {others} others that drew randomness") } else { String::new() };
            format!("one of {}{more}", shown.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_keys_are_told_from_public_ones_and_from_talk_of_them() {
        for key in [
            "-----BEGIN PRIVATE KEY-----\nMC4C",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl",
            "Bag Attributes\n-----BEGIN RSA PRIVATE KEY-----\r\nx",
            "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n-----BEGIN EC PRIVATE KEY-----\nx",
            "# created: 2026-01-01T00:00:00Z\n# public key: age1x\nAGE-SECRET-KEY-1Q\n",
            "AGE-SECRET-KEY-PQ-1Q\n",
            "PuTTY-User-Key-File-3: ssh-ed25519\n",
        ] {
            assert!(is_private_key(key.as_bytes()), "{key}");
        }
        for other in [
            "",
            "-----BEGIN PUBLIC KEY-----\nMC4C",
            "-----BEGIN CERTIFICATE-----\nPRIVATE KEY-----\n",
            "a PRIVATE KEY-----",
            "-----BEGIN ",
            "an AGE-SECRET-KEY-1Q",
        ] {
            assert!(!is_private_key(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_password_is_new_if_it_was_not_there_below() {
        let below = b"root:*:1:\na:$y$j9T$old:1:\n";
        assert!(!has_new_password(b"a:$y$j9T$old:2:\nroot:!:1:\nb:!:3:\n", below));
        assert!(has_new_password(b"a:$y$j9T$new:2:\n", below));
        assert!(has_new_password(b"a:$y$j9T$old:2:\n", b""));
    }

    #[test]
    fn who_made_a_file_is_who_names_it() {
        let seen = |commands: &[&str]| Seen {
            entropy: commands.iter().map(|command| (*command).to_owned()).collect(),
            ..Seen::default()
        };
        let path = ImagePath::parse(b"etc/ssh/host_key").unwrap();
        assert_eq!(
            makers(&path, &seen(&["mktemp x", "ssh-keygen -f /etc/ssh/host_key"])),
            "`ssh-keygen -f /etc/ssh/host_key`"
        );
        assert_eq!(makers(&path, &seen(&["a", "b"])), "one of `a`, `b`");
        assert_eq!(makers(&path, &seen(&["chpasswd"])), "`chpasswd`");
        let many = makers(&path, &seen(&["a", "b", "c", "d", "e"]));
        assert_eq!(many, "one of `a`, `b`, `c` and 2 others that drew randomness");
        assert_eq!(makers(&path, &seen(&[])), "the step");
    }
}
