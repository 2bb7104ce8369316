//! What is mounted where: `/proc/PID/mountinfo` (proc(5)).

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is, seen from this process' root.
    pub point: PathBuf,
    /// `overlay`, `ext4`.
    pub kind: String,
    /// What was given as the source, if that is text.
    pub source: String,
}

/// The mounts of this process' namespace, in the order they were made; of several at one place the last is seen.
pub fn own() -> io::Result<Vec<Mount>> {
    let path = Path::new("/proc/self/mountinfo");
    let bytes = std::fs::read(path).map_err(|e| super::file::context(e, "read", path))?;
    Ok(parse(&bytes))
}

/// All that is known of mounts as one text, for who looks for a name in it: those of this process' namespace, and those of
/// the machine's first process where they can be read.
pub fn all_text() -> io::Result<String> {
    let path = Path::new("/proc/self/mountinfo");
    let mut bytes = std::fs::read(path).map_err(|e| super::file::context(e, "read", path))?;
    bytes.extend(std::fs::read("/proc/1/mountinfo").unwrap_or_default());
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn parse(bytes: &[u8]) -> Vec<Mount> {
    bytes.split(|byte| *byte == b'\n').filter_map(line).collect()
}

/// `36 35 98:0 /root /point options optional… - kind source options`.
fn line(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let dash = fields.iter().position(|field| *field == b"-")?;
    let text = |at: usize| Some(String::from_utf8_lossy(&unescaped(fields.get(at)?)).into_owned());
    let point = PathBuf::from(OsString::from_vec(unescaped(fields.get(4)?)));
    Some(Mount { point, kind: text(dash + 1)?, source: text(dash + 2)? })
}

/// Space, tab, newline and backslash are written as three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        let digits = after.get(..3).filter(|digits| *first == b'\\' && is_octal(digits));
        match digits {
            Some(digits) => {
                bytes.push(digits.iter().fold(0_u8, |value, digit| (value << 3) | (digit - b'0')));
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

fn is_octal(digits: &[u8]) -> bool {
    digits[0] < b'4' && digits.iter().all(|digit| (b'0'..b'8').contains(digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_the_kernel_writes_them() {
        let text = b"36 35 98:0 /mnt1 /a\\040b\\134c rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue\n\
            40 36 0:50 / /x ro - overlay lith:ab ro,lowerdir=/l/A:/l/B\n\
            not a line\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].point, Path::new("/a b\\c"));
        assert_eq!((mounts[0].kind.as_str(), mounts[0].source.as_str()), ("ext3", "/dev/root"));
        assert_eq!((mounts[1].kind.as_str(), mounts[1].source.as_str()), ("overlay", "lith:ab"));
    }

    #[test]
    fn the_root_is_mounted() {
        assert!(own().unwrap().iter().any(|mount| mount.point == Path::new("/")));
    }
}
