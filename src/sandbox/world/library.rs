//! What files are, as functions of the C library are told that nobody need hear
//! (spec/world.md, "Programs that ask unheard").
//!
//! Programs ask for times at every turn, a compiler for those of hundreds of files. So where functions of the C library ask
//! the kernel, a program is led to code that asks unheard, and makes of the answer what everybody is told. What is not found
//! as expected stays as it is: each of its calls is heard then.

#[cfg_attr(target_arch = "x86_64", path = "library/x86_64.rs")]
#[cfg_attr(not(target_arch = "x86_64"), path = "library/other.rs")]
mod code;

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use rustix::fs::OFlags;

use crate::sys::elf;
use crate::sys::seccomp::Notification;

use super::super::supervisor::Calls;
use super::clock::Clock;
use super::entropy::auxiliary_value;

/// What a call that init need not hear has for an argument that the kernel does not look at: behind those of fstat(2), of
/// newfstatat(2), and of statx(2).
pub(super) const UNHEARD: u32 = 0x6C69_7468;
pub(super) const FSTAT: &[(u32, u32)] = &[(2, UNHEARD)];
pub(super) const FSTATAT: &[(u32, u32)] = &[(4, UNHEARD)];
pub(super) const STATX: &[(u32, u32)] = &[(5, UNHEARD)];

/// The number that the device of a step's root is told to have: 120:0, which nobody is given (devices.txt of Linux).
#[cfg_attr(
    not(target_arch = "x86_64"),
    expect(dead_code, reason = "each call has the kernel's answer there")
)]
const TOLD_DEVICE: u64 = 120 << 8;

/// Where a program and its loader are, by its auxiliary vector (getauxval(3)): the same layout has the same libraries.
const AT_PHDR: u64 = 3;
const AT_BASE: u64 = 7;
const AT_ENTRY: u64 = 9;

/// Programs whose libraries are remembered.
const REMEMBERED: usize = 1024;
/// The largest library that is looked into.
const LARGEST: u64 = 16 << 20;

/// Functions of the GNU C library that ask; all others of it end up in these since version 2.33.
const FUNCTIONS: [(&str, Call); 3] =
    [("fstat", Call::Descriptor), ("fstatat", Call::Path), ("statx", Call::Extended)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Descriptor,
    Path,
    Extended,
}

impl Call {
    pub(super) const fn number(self) -> libc::c_long {
        match self {
            Self::Descriptor => libc::SYS_fstat,
            Self::Path => libc::SYS_newfstatat,
            Self::Extended => libc::SYS_statx,
        }
    }

    /// The two instructions of x86-64 by which it is made: mov eax, number; syscall.
    pub(super) const fn code(self) -> [u8; 7] {
        match self {
            Self::Descriptor => [0xB8, 0x05, 0, 0, 0, 0x0F, 0x05],
            Self::Path => [0xB8, 0x06, 0x01, 0, 0, 0x0F, 0x05],
            Self::Extended => [0xB8, 0x4C, 0x01, 0, 0, 0x0F, 0x05],
        }
    }
}

/// Code that takes the place of calls, wherever it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Code {
    pub bytes: Vec<u8>,
    /// Where in it that for a call begins, in bytes.
    entries: Vec<(Call, u64)>,
}

impl Code {
    /// `root` is the device of the step's root.
    pub(super) fn new(clock: &Clock, root: u64) -> Self {
        code::code(clock, root)
    }

    fn entry(&self, call: Call) -> Option<u64> {
        self.entries.iter().find(|(known, _)| *known == call).map(|(_, at)| *at)
    }
}

/// Where in memory a library asks.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Places(Vec<Part>);

/// A part of a library in which it asks, and what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    start: u64,
    bytes: Vec<u8>,
    /// From `start`.
    calls: Vec<(usize, Call)>,
}

/// Where programs are led from, by where they are loaded.
pub(super) struct Libraries {
    code: Code,
    known: HashMap<[u64; 3], Option<Places>>,
}

impl Libraries {
    pub(super) fn new(code: Code) -> Self {
        Self { code, known: HashMap::new() }
    }

    /// What programs are led to.
    pub(super) fn code(&self) -> &[u8] {
        &self.code.bytes
    }

    /// Leads a program that begins to [`Self::code`], which is at this address of it.
    pub(super) fn lead(
        &mut self,
        calls: &Calls,
        call: Notification,
        auxiliary: &[u8],
        memory: &File,
        address: u64,
    ) -> Option<()> {
        let loader = auxiliary_value(auxiliary, AT_BASE).unwrap_or_default();
        let program = [auxiliary_value(auxiliary, AT_PHDR)?, auxiliary_value(auxiliary, AT_ENTRY)?, loader];
        match self.known.get(&program) {
            Some(None) => return None,
            Some(Some(places)) if places.lead(memory, &self.code, address).is_some() => return Some(()),
            Some(Some(_)) | None => {}
        }
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        let places = find(calls, &maps(calls, call)?, call);
        self.known.entry(program).insert_entry(places).get().as_ref()?.lead(memory, &self.code, address)
    }
}

impl Places {
    /// `None` if something else is there, in whatever part: then all of it stays as it is.
    fn lead(&self, memory: &File, code: &Code, address: u64) -> Option<()> {
        let changed: Option<Vec<Vec<u8>>> =
            self.0.iter().map(|part| part.changed(memory, code, address)).collect();
        for (part, bytes) in self.0.iter().zip(changed?) {
            memory.write_all_at(&bytes, part.start).ok()?;
        }
        Some(())
    }
}

impl Part {
    /// The part as it is to be. `None` if it is not as it was found.
    fn changed(&self, memory: &File, code: &Code, address: u64) -> Option<Vec<u8>> {
        let mut bytes = vec![0; self.bytes.len()];
        memory.read_exact_at(&mut bytes, self.start).ok()?;
        if bytes != self.bytes {
            return None;
        }
        for (at, call) in &self.calls {
            let target = address + code.entry(*call)?;
            let next = self.start + *at as u64 + 5;
            let distance = i32::try_from(target.cast_signed() - next.cast_signed()).ok()?;
            let place = bytes.get_mut(*at..*at + 7)?;
            place[0] = 0xE8; // call target
            place[1..5].copy_from_slice(&distance.to_le_bytes());
            place[5..].copy_from_slice(&[0x66, 0x90]); // two bytes of nothing
        }
        Some(bytes)
    }
}

/// What is mapped into a program; `None` if it is gone.
fn maps(calls: &Calls, call: Notification) -> Option<String> {
    let maps = calls.processes.read(&format!("{}/maps", call.pid)).ok()?;
    String::from_utf8(maps).ok().filter(|maps| !maps.is_empty())
}

/// Looks for the C library of a program among what is mapped.
fn find(calls: &Calls, maps: &str, call: Notification) -> Option<Places> {
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
    /// Those that are so near to each other, in bytes, are read and written at once.
    const NEAR: u64 = 1024;
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
    // Before 2.33 others ask as well: better all of them are heard than some told otherwise.
    sites.iter().find(|(_, call)| *call == Call::Path)?;
    sites.sort_by_key(|(at, _)| *at);
    let parts = sites.chunk_by(|(one, _), (next, _)| next - one < NEAR).map(|sites| {
        let (first, end) = (sites.first()?.0, sites.last()?.0 + 7);
        let bytes = object.get(usize::try_from(first).ok()?..usize::try_from(end).ok()?)?.to_vec();
        let calls = sites.iter().map(|(at, call)| Some((usize::try_from(at - first).ok()?, *call)));
        Some(Part { start: base.checked_add(first)?, bytes, calls: calls.collect::<Option<_>>()? })
    });
    let parts: Vec<Part> = parts.collect::<Option<_>>()?;
    Some(Places(parts))
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

    /// This machine's own, where it has one: the place of a call is an instruction of it.
    #[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
    #[test]
    fn the_machines_own_library_asks_in_known_places() {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let (_, path) = maps.lines().find_map(c_library).unwrap();
        let object = std::fs::read(path).unwrap();
        let Places(parts) = places(&object, 1 << 32).unwrap();
        for call in [Call::Path, Call::Extended] {
            assert!(parts.iter().flat_map(|part| &part.calls).any(|(_, known)| *known == call), "{call:?}");
        }
        for part in &parts {
            for (at, call) in &part.calls {
                assert_eq!(part.bytes[*at..*at + 7], call.code());
            }
        }
        assert_eq!(super::places(&object[..4096], 0), None);
        assert_eq!(super::places(b"no object", 0), None);
    }

    #[test]
    fn what_is_not_as_expected_stays_as_it_is() {
        let file = tempfile::tempfile().unwrap();
        let bytes = [&[0x90][..], &Call::Path.code(), &[0xC3], &Call::Descriptor.code()].concat();
        let calls = vec![(1, Call::Path), (9, Call::Descriptor)];
        let far = Part { start: 100, bytes: vec![0xC3], calls: Vec::new() };
        let places = Places(vec![Part { start: 0, bytes: bytes.clone(), calls }, far]);
        let code = Code { bytes: Vec::new(), entries: vec![(Call::Descriptor, 0), (Call::Path, 51)] };
        let read = || {
            let mut found = vec![0; bytes.len()];
            file.read_exact_at(&mut found, 0).unwrap();
            found
        };
        file.write_all_at(&bytes[1..], 0).unwrap();
        file.write_all_at(&[1], bytes.len() as u64 - 1).unwrap();
        let before = read();
        assert_eq!(places.lead(&file, &code, 100), None);
        assert_eq!(read(), before);
        file.write_all_at(&bytes, 0).unwrap();
        // The other part is not as expected.
        assert_eq!(places.lead(&file, &code, 100), None);
        assert_eq!(read(), bytes);
        file.write_all_at(&[0xC3], 100).unwrap();
        // Too far for a call.
        assert_eq!(places.lead(&file, &code, 1 << 40), None);
        assert_eq!(read(), bytes);
        assert_eq!(places.lead(&file, &code, 100), Some(()));
        let target = |at: usize| {
            let distance = i32::from_le_bytes(read()[at + 1..at + 5].try_into().unwrap());
            i64::try_from(at).unwrap() + 5 + i64::from(distance)
        };
        assert_eq!((read()[0], read()[1], read()[8], read()[9]), (0x90, 0xE8, 0xC3, 0xE8));
        assert_eq!((target(1), target(9)), (151, 100));
        // Led once, it is not led again.
        assert_eq!(places.lead(&file, &code, 100), None);
    }
}
