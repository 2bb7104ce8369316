//! How large file systems are told to be (spec/world.md, "Space"), and which the kernel makes up.
//!
//! What the kernel says of one is true but for its size, what of it is free, and its number.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, StatFs, fstatfs};
use rustix::io::Errno;

use crate::sys;
use crate::sys::seccomp::{Answer, Notification};

use super::super::supervisor::{Calls, Refusal, number};

/// Bytes of every file system that has files on a disk, and those that are free. In KiB they fit into 31 bits.
const TOTAL: u64 = 1 << 40;
const FREE: u64 = TOTAL / 4 * 3;
/// Files that one may have, and those that may still be made.
const FILES: u64 = 1 << 26;
const FREE_FILES: u64 = FILES / 4 * 3;
/// Of one in memory that nobody gave a size: half of what the machine is told to have.
const IN_MEMORY: u64 = 4 << 30;

const TMPFS: u64 = 0x0102_1994;
/// Those that show the kernel itself to one sandbox: proc, devpts (linux/magic.h).
const OWN: [u64; 2] = [0x9FA0, 0x1CD1];
/// Those that show it to the whole machine: sysfs, cgroup, cgroup2, debugfs, tracefs, securityfs, configfs.
const SHARED: [u64; 7] =
    [0x6265_6572, 0x0027_E0EB, 0x6367_7270, 0x6462_6720, 0x7472_6163, 0x7363_6673, 0x6265_6570];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// statfs(*path, *into)
    Path,
    /// fstatfs(file, *into)
    Descriptor,
}

/// Whether a file is one that the kernel makes up.
pub(super) fn is_of_the_kernel(file: impl AsFd) -> bool {
    is_on(file, |kind| OWN.contains(&kind) || SHARED.contains(&kind))
}

/// Whether a file is one that the kernel makes up for the whole machine.
pub(super) fn is_shared(file: impl AsFd) -> bool {
    is_on(file, |kind| SHARED.contains(&kind))
}

fn is_on(file: impl AsFd, wanted: impl FnOnce(u64) -> bool) -> bool {
    fstatfs(file).is_ok_and(|said| wanted(said.f_type.cast_unsigned()))
}

pub(super) fn answer(calls: &Calls, call: Notification, ask: Ask) -> Result<Answer, Refusal> {
    let [what, into, ..] = call.arguments;
    let file = match ask {
        Ask::Path => {
            let here = u64::from(libc::AT_FDCWD.cast_unsigned());
            calls.named_at(call, here, what, AtFlags::empty())?
        }
        Ask::Descriptor => calls.descriptor(call, what)?,
    };
    let told = Said::by_the_kernel(&fstatfs(&file)?).told(unasked_tmpfs());
    sys::memory::write(number(call)?, into, &told.bytes()).map_err(|_| Errno::FAULT)?;
    Ok(Answer::Done)
}

/// Bytes of a file system in memory that nobody gave a size (shmem_default_max_blocks).
fn unasked_tmpfs() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram * u64::from(info.mem_unit) / 2
}

/// `struct statfs`, without what is always zero here: its number, and what it keeps for later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Said {
    kind: u64,
    block: u64,
    blocks: u64,
    free: u64,
    available: u64,
    files: u64,
    free_files: u64,
    longest_name: u64,
    /// Blocks are counted in these.
    fragment: u64,
    flags: u64,
}

impl Said {
    fn by_the_kernel(said: &StatFs) -> Self {
        Self {
            kind: said.f_type.cast_unsigned(),
            block: said.f_bsize.cast_unsigned(),
            blocks: said.f_blocks,
            free: said.f_bfree,
            available: said.f_bavail,
            files: said.f_files,
            free_files: said.f_ffree,
            longest_name: said.f_namelen.cast_unsigned(),
            fragment: said.f_frsize.cast_unsigned(),
            flags: said.f_flags.cast_unsigned(),
        }
    }

    /// The same wherever it is. One of the kernel has no blocks. One in memory says what is so of its blocks, if it was given
    /// its size: that is small, and part of the step.
    fn told(self, unasked: u64) -> Self {
        if self.blocks == 0 {
            return self;
        }
        let unit = if self.fragment == 0 { self.block } else { self.fragment }.max(1);
        let files = Self { files: FILES, free_files: FREE_FILES, ..self };
        let size = self.blocks.saturating_mul(unit);
        match self.kind {
            // To a page: whether that half was rounded is the kernel's business.
            TMPFS if size.abs_diff(unasked) <= unit => {
                let used = self.blocks - self.free.min(self.blocks);
                let blocks = IN_MEMORY / unit;
                let free = blocks.saturating_sub(used);
                Self { blocks, free, available: free, ..files }
            }
            TMPFS => files,
            _ => {
                let free = FREE / unit;
                Self { blocks: TOTAL / unit, free, available: free, ..files }
            }
        }
    }

    /// As the kernel lays it out where a word has 64 bits.
    fn bytes(self) -> Vec<u8> {
        let number = 0;
        let words = [
            self.kind,
            self.block,
            self.blocks,
            self.free,
            self.available,
            self.files,
            self.free_files,
            number,
            self.longest_name,
            self.fragment,
            self.flags,
            0,
            0,
            0,
            0,
        ];
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: Said = Said {
        kind: 0xEF53,
        block: 4096,
        blocks: 1000,
        free: 10,
        available: 5,
        files: 77,
        free_files: 7,
        longest_name: 255,
        fragment: 4096,
        flags: 0x1020,
    };

    #[test]
    fn a_disk_is_large_and_mostly_free() {
        let told = DISK.told(1 << 33);
        assert_eq!(told.blocks * 4096, TOTAL);
        assert_eq!((told.free, told.available), (FREE / 4096, FREE / 4096));
        assert_eq!((told.kind, told.block, told.longest_name, told.flags), (0xEF53, 4096, 255, 0x1020));
        assert_eq!(Said { fragment: 512, ..DISK }.told(0).blocks * 512, TOTAL);
        // Another disk, with as large blocks.
        let other = Said { blocks: 9, free: 9, available: 9, files: 9, free_files: 9, ..DISK };
        assert_eq!(other.told(1 << 33), told);
    }

    #[test]
    fn what_is_in_memory_has_the_size_that_it_was_given() {
        let memory = Said { kind: TMPFS, ..DISK };
        let told = memory.told(1 << 33);
        assert_eq!((told.blocks, told.free, told.available), (1000, 10, 5));
        assert_eq!((told.files, told.free_files), (FILES, FREE_FILES));
        // 2,000 blocks of half the machine's memory are used.
        let half = |blocks: u64| Said { blocks, free: blocks - 2000, available: blocks - 2000, ..memory };
        let told = half(1 << 20).told(1 << 32);
        assert_eq!((told.blocks, told.free), (1 << 20, (1 << 20) - 2000));
        assert_eq!(half(1 << 22).told((1 << 34) + 4096), told);
    }

    #[test]
    fn what_is_the_kernels_is_as_it_is() {
        let kernel = Said { kind: 0x9FA0, blocks: 0, free: 0, available: 0, files: 0, free_files: 0, ..DISK };
        assert_eq!(kernel.told(0), kernel);
        assert_eq!(kernel.bytes().len(), 120);
        assert_eq!(kernel.bytes()[..8], 0x9FA0_u64.to_ne_bytes());
    }
}
