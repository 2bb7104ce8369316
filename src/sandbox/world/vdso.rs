//! The kernel's own functions in a program's memory (vdso(7)), for clocks of another world (spec/world.md, "Programs").
//!
//! They read the real clock without a system call, so nobody is asked. Machine code of ours takes their place: it knows the
//! time of the clocks that stand, and asks the kernel for all others. Pure.

#[cfg_attr(target_arch = "x86_64", path = "vdso/x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "vdso/aarch64.rs")]
#[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), path = "vdso/other.rs")]
mod code;

use std::ops::Range;

use crate::sys::elf;

/// Code that takes the place of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Patch {
    /// From the start of the object, in bytes.
    pub offset: u64,
    /// The first [`ALIKE`] bytes are the same whatever a program has for itself, and none of the kernel's.
    pub code: Vec<u8>,
    /// Where what came along is, from the start of the object, if there was room for it.
    pub guest: Option<u64>,
}

pub(super) const ALIKE: usize = 4;

/// What one program has for itself, besides the time of the clocks that stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Own {
    /// Eight bytes of its memory, zero when it begins, that nobody else uses. The first four count its readings of the
    /// clock that stands, where it ticks; the last four hold the second that the first reading of a clock of durations gave.
    /// CLOCK_MONOTONIC and CLOCK_BOOTTIME have it in common: they begin together.
    pub word: u64,
    /// Whether each reading of the clock that stands is a nanosecond later.
    pub ticks: bool,
    /// The nanosecond that the first reading of a clock of durations gives, of [`FIRST`].
    pub first: Option<u32>,
}

/// Nanoseconds of first readings of a clock of durations. Two programs seldom have the same one. A clock stands at it for an
/// eighth of a second at least, so that programs that are done by then read nothing else; and it is not much more than a
/// second ahead.
pub(super) const FIRST: Range<u32> = (1 << 27)..(1 << 27) + (1 << 26);

/// What is to be written over an object, in one piece: what lies between its functions is written as it is.
/// `guest` is code that only needs a place.
pub(super) fn patch(
    object: &[u8],
    second: i64,
    seeded: bool,
    own: Option<Own>,
    guest: &[u8],
) -> Option<Patch> {
    let patches = patches(object, second, seeded, own, guest);
    let start = patches.iter().map(|patch| patch.offset).min()?;
    let end = patches.iter().map(|patch| patch.offset + patch.code.len() as u64).max()?;
    let place = |offset: u64| usize::try_from(offset).ok();
    let mut code = object.get(place(start)?..place(end)?)?.to_vec();
    for patch in &patches {
        let at = place(patch.offset - start)?;
        code[at..at + patch.code.len()].copy_from_slice(&patch.code);
    }
    let guest = patches.iter().find_map(|patch| patch.guest);
    Some(Patch { offset: start, code, guest })
}

/// One for each function. A function that is not there, or whose code is too short, is left: no kernel has such a one.
fn patches(object: &[u8], second: i64, seeded: bool, own: Option<Own>, mut guest: &[u8]) -> Vec<Patch> {
    let functions = code::functions(second, own).into_iter().filter(|function| seeded || !function.random);
    functions
        .filter_map(|Function { name, mut code, .. }| {
            let function = elf::function(object, name)?;
            let fits = |length: usize| length as u64 <= function.size;
            let at = (!guest.is_empty() && fits(code.len() + guest.len())).then_some(code.len());
            if at.is_some() {
                code.extend(std::mem::take(&mut guest));
            }
            let guest = at.map(|at| function.offset + at as u64);
            fits(code.len()).then_some(Patch { offset: function.offset, code, guest })
        })
        .collect()
}

/// What takes the place of a function.
struct Function {
    name: &'static str,
    /// Whether it is for seeded randomness alone.
    random: bool,
    code: Vec<u8>,
}

impl Function {
    fn of_clock(name: &'static str, code: Vec<u8>) -> Self {
        Self { name, random: false, code }
    }

    fn of_randomness(name: &'static str, code: Vec<u8>) -> Self {
        Self { name, random: true, code }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_code_has_room_for_all_of_it() {
        let Some(object) = crate::sys::memory::vdso() else { return };
        for ticks in [false, true] {
            let own = Own { word: 2, ticks, first: Some(FIRST.end - 1) };
            let names = |seeded| patches(object, 1, seeded, Some(own), &[]).len();
            assert!(names(false) >= 2);
            // Kernels since 6.11 draw randomness there, too.
            let draws = elf::function(object, "__vdso_getrandom").is_some();
            assert_eq!(names(true), names(false) + usize::from(draws));
        }
        assert_eq!(patches(b"no object", 1, true, None, &[]), []);
        let with = patch(object, 1, true, None, &[1; 100]).unwrap();
        let at = usize::try_from(with.guest.unwrap() - with.offset).unwrap();
        assert_eq!(with.code[at..at + 100], [1; 100]);
        // No function has room for that; it costs nothing else.
        let without = patch(object, 1, true, None, &[1; 1 << 16]);
        assert_eq!(without, patch(object, 1, true, None, &[]));
        assert_eq!(without.unwrap().guest, None);
    }

    #[test]
    fn a_program_that_began_is_known_by_its_first_bytes() {
        let Some(object) = crate::sys::memory::vdso() else { return };
        let own = Own { word: 0x7FFF_FFFF_EFF8, ticks: true, first: Some(FIRST.start) };
        let all = [None, Some(own), Some(Own { ticks: false, ..own }), Some(Own { first: None, ..own })];
        let patches = all.map(|own| patch(object, 1, own.is_some(), own, &[]).unwrap());
        let at = usize::try_from(patches[0].offset).unwrap();
        for patch in &patches {
            assert_eq!((patch.offset, &patch.code[..ALIKE]), (patches[0].offset, &patches[0].code[..ALIKE]));
            assert_ne!(patch.code[..ALIKE], object[at..at + ALIKE]);
        }
    }
}
