//! Times of files that nobody need be asked about (spec/world.md, "Files").
//!
//! Most files that programs look at are older than the step, and have the times that they have. So where functions of the
//! C library ask the kernel, a program is led to code that asks unheard first, and once more so that init hears it only if
//! the answer is a stamp of this run. What is not found as expected stays as it is: each of its calls is heard then.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use rustix::fs::OFlags;

use crate::sys::elf;
use crate::sys::seccomp::Notification;

use super::super::supervisor::Calls;
use super::entropy::auxiliary_value;

/// What a call that init need not hear has for an argument that the kernel does not look at: behind those of fstat(2), and
/// of newfstatat(2).
pub(super) const UNHEARD: u32 = 0x6C69_7468;
pub(super) const FSTAT: &[(u32, u32)] = &[(2, UNHEARD)];
pub(super) const FSTATAT: &[(u32, u32)] = &[(4, UNHEARD)];

/// Where a program is loaded, by its auxiliary vector (getauxval(3)): the same layout has the same libraries.
const AT_PHDR: u64 = 3;
const AT_ENTRY: u64 = 9;

/// Programs whose libraries are remembered.
const REMEMBERED: usize = 1024;
/// The largest library that is looked into.
const LARGEST: u64 = 16 << 20;

/// Functions of the GNU C library that ask for times; all others of it end up in these since version 2.33.
const FUNCTIONS: [(&str, Call); 2] = [("fstat", Call::Descriptor), ("fstatat", Call::Path)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Descriptor,
    Path,
}

impl Call {
    pub(super) const fn number(self) -> libc::c_long {
        match self {
            Self::Descriptor => libc::SYS_fstat,
            Self::Path => libc::SYS_newfstatat,
        }
    }

    /// The two instructions of x86-64 by which it is made: mov eax, number; syscall.
    pub(super) const fn code(self) -> [u8; 7] {
        match self {
            Self::Descriptor => [0xB8, 0x05, 0, 0, 0, 0x0F, 0x05],
            Self::Path => [0xB8, 0x06, 0x01, 0, 0, 0x0F, 0x05],
        }
    }
}

/// The code that asks twice, one for each call.
#[cfg(target_arch = "x86_64")]
pub(super) fn code(start: i64) -> Vec<u8> {
    let unheard = UNHEARD.to_le_bytes();
    let start = start.to_le_bytes();
    let twice = |call: Call, save: &[u8], set: &[u8], restore: &[u8], written: &[u8], read: &[u8]| {
        [
            save, // push the register of an argument that is none
            set,  // mov that, UNHEARD
            &unheard,
            &call.code(),
            restore,       // pop that
            &[0x85, 0xC0], // test eax, eax
            &[0x75, 0x16], // jnz done
            &[0x48, 0xB9], // mov rcx, start
            &start,
            written,       // cmp [st_mtime], rcx
            &[0x7D, 0x07], // jge again
            read,          // cmp [st_atime], rcx
            &[0x7D, 0x01], // jge again
            &[0xC3],       // done: ret
            &call.code(),  // again:
            &[0xC3],       // ret
        ]
        .concat()
    };
    let descriptor = twice(
        Call::Descriptor,
        &[0x52],                   // push rdx
        &[0x48, 0xC7, 0xC2],       // mov rdx, …
        &[0x5A],                   // pop rdx
        &[0x48, 0x39, 0x4E, 0x58], // cmp [rsi + 88], rcx
        &[0x48, 0x39, 0x4E, 0x48], // cmp [rsi + 72], rcx
    );
    let path = twice(
        Call::Path,
        &[0x41, 0x50],             // push r8
        &[0x49, 0xC7, 0xC0],       // mov r8, …
        &[0x41, 0x58],             // pop r8
        &[0x48, 0x39, 0x4A, 0x58], // cmp [rdx + 88], rcx
        &[0x48, 0x39, 0x4A, 0x48], // cmp [rdx + 72], rcx
    );
    [descriptor, path].concat()
}

/// Each call is heard there.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn code(_: i64) -> Vec<u8> {
    Vec::new()
}

/// Where in [`code`] that for paths begins.
const PATH_CODE: u64 = 51;

/// Where in memory a library asks, and what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Places {
    start: u64,
    bytes: Vec<u8>,
    /// From `start`.
    calls: Vec<(usize, Call)>,
}

/// Where programs are led from, by where they are loaded.
#[derive(Default)]
pub(super) struct Libraries(HashMap<(u64, u64), Option<Places>>);

impl Libraries {
    /// Leads a program that begins to [`code`], which is at this address of it.
    pub(super) fn lead(
        &mut self,
        calls: &Calls,
        call: Notification,
        auxiliary: &[u8],
        memory: &File,
        code: u64,
    ) -> Option<()> {
        let program = (auxiliary_value(auxiliary, AT_PHDR)?, auxiliary_value(auxiliary, AT_ENTRY)?);
        match self.0.get(&program) {
            Some(None) => return None,
            Some(Some(places)) if places.lead(memory, code).is_some() => return Some(()),
            Some(Some(_)) | None => {}
        }
        if self.0.len() >= REMEMBERED {
            self.0.clear();
        }
        let places = find(calls, call);
        self.0.entry(program).insert_entry(places).get().as_ref()?.lead(memory, code)
    }
}

impl Places {
    /// `None` if something else is there.
    fn lead(&self, memory: &File, code: u64) -> Option<()> {
        let mut bytes = vec![0; self.bytes.len()];
        memory.read_exact_at(&mut bytes, self.start).ok()?;
        if bytes != self.bytes {
            return None;
        }
        for (at, call) in &self.calls {
            let target = match call {
                Call::Descriptor => code,
                Call::Path => code + PATH_CODE,
            };
            let next = self.start + *at as u64 + 5;
            let distance = i32::try_from(target.cast_signed() - next.cast_signed()).ok()?;
            let place = bytes.get_mut(*at..*at + 7)?;
            place[0] = 0xE8; // call target
            place[1..5].copy_from_slice(&distance.to_le_bytes());
            place[5..].copy_from_slice(&[0x66, 0x90]); // two bytes of nothing
        }
        memory.write_all_at(&bytes, self.start).ok()
    }
}

/// Looks for the C library of a program among what is mapped.
fn find(calls: &Calls, call: Notification) -> Option<Places> {
    let maps = calls.processes.read(&format!("{}/maps", call.pid)).ok()?;
    let maps = String::from_utf8(maps).ok()?;
    let (base, path) = maps.lines().find_map(c_library)?;
    let place = format!("{}/root{path}", call.pid);
    let file = File::from(calls.processes.open_at(&place, OFlags::RDONLY | OFlags::NONBLOCK).ok()?);
    let size = file.metadata().ok().filter(|data| data.is_file() && data.len() <= LARGEST)?.len();
    let mut object = vec![0; usize::try_from(size).ok()?];
    file.read_exact_at(&mut object, 0).ok()?;
    places(&object, base)
}

/// Where a library begins, if a line of `/proc/PID/maps` is that of the GNU C library's first part.
fn c_library(line: &str) -> Option<(u64, &str)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, offset, path) = (fields.next()?, fields.nth(1)?, fields.nth(2)?);
    let name = path.rsplit('/').next()?;
    let is_first = offset.bytes().all(|byte| byte == b'0');
    if !is_first || !(name == "libc.so.6" || name.starts_with("libc-2.")) || !path.starts_with('/') {
        return None;
    }
    let start = range.split('-').next()?;
    Some((u64::from_str_radix(start, 16).ok()?, path))
}

/// Where in a library, loaded there, its functions ask.
fn places(object: &[u8], base: u64) -> Option<Places> {
    /// They are neighbours; two pages of a program's own at most are changed.
    const NEAR: u64 = 4096;
    let mut sites: Vec<(u64, Call)> = FUNCTIONS
        .iter()
        .filter_map(|(name, call)| {
            let function = elf::function(object, name)?;
            let start = usize::try_from(function.offset).ok()?;
            let code = object.get(start..start + usize::try_from(function.size).ok()?)?;
            let mut found = code.windows(7).enumerate().filter(|(_, bytes)| *bytes == call.code());
            match (found.next(), found.next()) {
                (Some((at, _)), None) => Some((function.offset + at as u64, *call)),
                _ => None,
            }
        })
        .collect();
    sites.sort_by_key(|(at, _)| *at);
    let first = sites.first()?.0;
    sites.retain(|(at, _)| *at - first < NEAR);
    let end = sites.last()?.0 + 7;
    let bytes = object.get(usize::try_from(first).ok()?..usize::try_from(end).ok()?)?.to_vec();
    let calls = sites.iter().map(|(at, call)| Some((usize::try_from(at - first).ok()?, *call)));
    Some(Places { start: base.checked_add(first)?, bytes, calls: calls.collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_part_of_the_c_library_is_known() {
        let line =
            "7ffff7d9b000-7ffff7dc3000 r--p 00000000 fe:00 1234    /usr/lib/x86_64-linux-gnu/libc.so.6";
        let path = "/usr/lib/x86_64-linux-gnu/libc.so.6";
        assert_eq!(c_library(line), Some((0x7FFF_F7D9_B000, path)));
        assert_eq!(c_library(&line.replace("00000000 fe", "00028000 fe")), None);
        assert_eq!(c_library(&line.replace("libc.so.6", "libcrypt.so.1")), None);
        assert_eq!(c_library(&line.replace("/usr/lib", "usr/lib")), None);
        assert_eq!(c_library("7ffff7dc3000-7ffff7dc4000 rw-p 00000000 00:00 0 "), None);
    }

    /// Jumps lead to the beginning of an instruction, and the second code is where it is said to be.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn branches_lead_where_they_say() {
        let both = code(7);
        let (descriptor, path) = both.split_at(usize::try_from(PATH_CODE).unwrap());
        for (code, call) in [(descriptor, Call::Descriptor), (path, Call::Path)] {
            let at = |bytes: &[u8]| code.windows(bytes.len()).position(|found| found == bytes).unwrap();
            let test = at(&[0x85, 0xC0]);
            assert_eq!(code[test + 2], 0x75);
            let done = test + 4 + usize::from(code[test + 3]);
            assert_eq!(code[done], 0xC3);
            assert_eq!(code[done + 1..], [&call.code()[..], &[0xC3]].concat());
            let jumps: Vec<usize> = (0..done).filter(|at| code[*at] == 0x7D).collect();
            assert_eq!(jumps.len(), 2);
            for jump in jumps {
                assert_eq!(jump + 2 + usize::from(code[jump + 1]), done + 1);
            }
            assert!(code.windows(8).any(|bytes| bytes == 7_u64.to_le_bytes()));
        }
    }

    /// This machine's own, where it has one: the place of a call is an instruction of it.
    #[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
    #[test]
    fn the_machines_own_library_asks_in_two_places() {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let (_, path) = maps.lines().find_map(c_library).unwrap();
        let object = std::fs::read(path).unwrap();
        let places = places(&object, 1 << 32).unwrap();
        assert!(places.calls.iter().any(|(_, call)| *call == Call::Path));
        for (at, call) in &places.calls {
            assert_eq!(places.bytes[*at..*at + 7], call.code());
        }
        assert_eq!(super::places(&object[..4096], 0), None);
        assert_eq!(super::places(b"no object", 0), None);
    }

    #[test]
    fn what_is_not_as_expected_stays_as_it_is() {
        let file = tempfile::tempfile().unwrap();
        let bytes = [&[0x90][..], &Call::Path.code(), &[0xC3], &Call::Descriptor.code()].concat();
        let calls = vec![(1, Call::Path), (9, Call::Descriptor)];
        let places = Places { start: 0, bytes: bytes.clone(), calls };
        let read = || {
            let mut found = vec![0; bytes.len()];
            file.read_exact_at(&mut found, 0).unwrap();
            found
        };
        file.write_all_at(&bytes[1..], 0).unwrap();
        file.write_all_at(&[1], bytes.len() as u64 - 1).unwrap();
        let before = read();
        assert_eq!(places.lead(&file, 100), None);
        assert_eq!(read(), before);
        file.write_all_at(&bytes, 0).unwrap();
        // Too far for a call.
        assert_eq!(places.lead(&file, 1 << 40), None);
        assert_eq!(read(), bytes);
        assert_eq!(places.lead(&file, 100), Some(()));
        let target = |at: usize| {
            let distance = i32::from_le_bytes(read()[at + 1..at + 5].try_into().unwrap());
            i64::try_from(at).unwrap() + 5 + i64::from(distance)
        };
        assert_eq!((read()[0], read()[1], read()[8], read()[9]), (0x90, 0xE8, 0xC3, 0xE8));
        assert_eq!((target(1), target(9)), (100 + i64::try_from(PATH_CODE).unwrap(), 100));
        // Led once, it is not led again.
        assert_eq!(places.lead(&file, 100), None);
    }
}
