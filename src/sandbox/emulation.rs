//! Whether processes of another processor can run here: by the kernel itself, or through an interpreter that binfmt_misc
//! knows.

use std::fs;
use std::path::Path;

use crate::platform::Platform;

/// Where the kernel lists the interpreters for foreign programs.
pub const BINFMT: &str = "/proc/sys/fs/binfmt_misc";

/// What a machine can do for a platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Support {
    /// The processor runs it.
    Native,
    /// An interpreter does, by the name it is registered under.
    Emulated(String),
    /// There is an interpreter, but it would be looked for inside the image (registered without the flag F).
    NotFixed(String),
    /// Nothing does.
    None,
    /// The list of interpreters is not mounted, so it takes a try.
    Unknown,
}

/// What `host` can do for programs of `platform`; `binfmt` is [`BINFMT`].
pub fn support(platform: &Platform, host: &Platform, binfmt: &Path) -> Support {
    if is_native(platform, host) {
        return Support::Native;
    }
    let Some(header) = header(platform).filter(|_| platform.os == host.os) else { return Support::None };
    if !binfmt.join("status").exists() {
        return Support::Unknown;
    }
    let Ok(entries) = crate::sys::dir::list_path(binfmt) else { return Support::Unknown };
    let mut found = Support::None;
    for entry in entries {
        let name = String::from_utf8_lossy(&entry.name).into_owned();
        let Ok(text) = fs::read_to_string(binfmt.join(&name)) else { continue };
        match Handler::parse(&text) {
            Some(handler) if handler.takes(&header) && handler.fixed => return Support::Emulated(name),
            Some(handler) if handler.takes(&header) => found = Support::NotFixed(name),
            Some(_) | None => {}
        }
    }
    found
}

/// Whether the kernel starts such programs without help. Older and smaller sisters of a processor count: whether it
/// still has their instruction set shows when they start.
fn is_native(platform: &Platform, host: &Platform) -> bool {
    let sisters: &[(&str, &str)] =
        &[("amd64", "386"), ("arm64", "arm"), ("mips64le", "mipsle"), ("s390x", "s390")];
    let (own, wanted) = (host.architecture.as_str(), platform.architecture.as_str());
    platform.os == host.os && (own == wanted || sisters.contains(&(own, wanted)))
}

/// The first bytes of a program for the platform, as far as they tell it from others.
fn header(platform: &Platform) -> Option<[u8; 20]> {
    // Class (1: 32 bits, 2: 64 bits), byte order (1: little, 2: big) and machine, as elf(5) numbers them.
    let (class, order, machine): (u8, u8, u16) = match platform.architecture.as_str() {
        "amd64" => (2, 1, 62),
        "386" => (1, 1, 3),
        "arm64" => (2, 1, 183),
        "arm" => (1, 1, 40),
        "riscv64" => (2, 1, 243),
        "ppc64le" => (2, 1, 21),
        "s390x" => (2, 2, 22),
        "loong64" => (2, 1, 258),
        "mips64le" => (2, 1, 8),
        "mipsle" => (1, 1, 8),
        _ => return None,
    };
    let mut header = [0; 20];
    header[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, order, 1]);
    let (kind, machine) = match order {
        1 => (2_u16.to_le_bytes(), machine.to_le_bytes()),
        _ => (2_u16.to_be_bytes(), machine.to_be_bytes()),
    };
    header[16..18].copy_from_slice(&kind);
    header[18..20].copy_from_slice(&machine);
    Some(header)
}

/// One registered interpreter.
struct Handler {
    offset: usize,
    magic: Vec<u8>,
    mask: Vec<u8>,
    /// The interpreter was opened when it was registered (flag F), so that no root file system needs to hold it.
    fixed: bool,
}

impl Handler {
    /// Reads the kernel's description; `None` if it is disabled or goes by file names.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != "enabled" {
            return None;
        }
        let (mut offset, mut magic, mut mask, mut fixed) = (0, None, None, false);
        for line in lines {
            match line.split_once(' ') {
                Some(("offset", value)) => offset = value.trim().parse().ok()?,
                Some(("magic", value)) => magic = Some(bytes(value)?),
                Some(("mask", value)) => mask = Some(bytes(value)?),
                Some(("flags:", value)) => fixed = value.contains('F'),
                Some(_) | None => {}
            }
        }
        let magic = magic?;
        let mask = mask.unwrap_or_else(|| vec![0xff; magic.len()]);
        Some(Self { offset, magic, mask, fixed })
    }

    fn takes(&self, header: &[u8]) -> bool {
        let Some(seen) = header.get(self.offset..).and_then(|rest| rest.get(..self.magic.len())) else {
            return false;
        };
        let masked = self.mask.iter().chain(std::iter::repeat(&0xff));
        seen.iter().zip(&self.magic).zip(masked).all(|((seen, magic), mask)| seen & mask == magic & mask)
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let hex = hex.trim().as_bytes();
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = hex.chunks(2).map(|pair| Some(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?));
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARM64: &str = "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: POCF\noffset 0\n\
        magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";

    fn of(text: &str) -> Platform {
        text.parse().unwrap()
    }

    fn with(files: &[(&str, &str)], platform: &str) -> Support {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        support(&of(platform), &of("linux/amd64"), dir.path())
    }

    #[test]
    fn what_the_kernel_lists_decides() {
        let status = ("status", "enabled\n");
        fn arm(text: &str) -> [(&str, &str); 2] {
            [("status", "enabled\n"), ("qemu-aarch64", text)]
        }
        assert_eq!(with(&[status], "linux/amd64"), Support::Native);
        assert_eq!(with(&[], "linux/386"), Support::Native);
        assert_eq!(with(&[], "linux/arm64"), Support::Unknown);
        assert_eq!(with(&[status], "linux/arm64"), Support::None);
        assert_eq!(with(&arm(ARM64), "linux/arm64"), Support::Emulated("qemu-aarch64".into()));
        assert_eq!(with(&arm(ARM64), "linux/arm/v7"), Support::None);
        assert_eq!(with(&arm(ARM64), "linux/riscv64"), Support::None);
        let open = ARM64.replace("POCF", "OC");
        assert_eq!(with(&arm(&open), "linux/arm64"), Support::NotFixed("qemu-aarch64".into()));
        let off = ARM64.replace("enabled", "disabled");
        assert_eq!(with(&arm(&off), "linux/arm64"), Support::None);
        assert_eq!(
            with(&arm("enabled\ninterpreter /x\nflags: F\nextension .exe\n"), "linux/arm64"),
            Support::None
        );
        assert_eq!(with(&arm("enabled\nflags: F\noffset 0\nmagic 7f4\n"), "linux/arm64"), Support::None);
        assert_eq!(with(&arm(ARM64), "windows/amd64"), Support::None);
        assert_eq!(with(&arm(ARM64), "linux/pdp11"), Support::None);
    }
}
