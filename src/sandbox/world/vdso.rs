//! The kernel's own functions in a program's memory (vdso(7)), for a clock that stands (spec/world.md, "Programs").
//!
//! They read the real clock without a system call, so nobody is asked. Machine code of ours takes their place: it knows
//! the time, which never changes, and asks the kernel for all other clocks. Pure.

use crate::sys::elf;

use super::clock::{NANOSECOND, TICKS};

/// Code that takes the place of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Patch {
    /// From the start of the object, in bytes.
    pub offset: u64,
    pub code: Vec<u8>,
    /// Where what came along is, from the start of the object, if there was room for it.
    pub guest: Option<u64>,
}

/// What is to be written over an object, in one piece: what lies between its functions is written as it is.
///
/// `counter` is the address of a word of the program that counts its readings of the clock, if each is to be later.
/// `guest` is code that only needs a place.
pub(super) fn patch(
    object: &[u8],
    second: i64,
    seeded: bool,
    counter: Option<u64>,
    guest: &[u8],
) -> Option<Patch> {
    let patches = patches(object, second, seeded, counter, guest);
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
fn patches(object: &[u8], second: i64, seeded: bool, counter: Option<u64>, mut guest: &[u8]) -> Vec<Patch> {
    let functions = functions(second, counter).into_iter().filter(|(_, random, _)| seeded || !random);
    functions
        .filter_map(|(name, _, mut code)| {
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

/// Name, whether it is for seeded randomness alone, code.
#[cfg(target_arch = "x86_64")]
fn functions(second: i64, counter: Option<u64>) -> Vec<(&'static str, bool, Vec<u8>)> {
    let second = second.to_le_bytes();
    let nanosecond = i32::try_from(NANOSECOND).expect("below two thousand million").to_le_bytes();
    let ticks = i32::try_from(TICKS).expect("below a million").to_le_bytes();
    let microsecond = i32::try_from(NANOSECOND / 1000).expect("less than that").to_le_bytes();
    let others = [
        &[0x83, 0xFF, 0x00][..], // cmp edi, CLOCK_REALTIME
        &[0x74, 0x12],           // je standing
        &[0x83, 0xFF, 0x05],     // cmp edi, CLOCK_REALTIME_COARSE
        &[0x74, 0x0D],           // je standing
        &[0x83, 0xFF, 0x0B],     // cmp edi, CLOCK_TAI
        &[0x74, 0x08],           // je standing
        &[0xB8, 0xE4, 0, 0, 0],  // mov eax, clock_gettime
        &[0x0F, 0x05],           // syscall
        &[0xC3],                 // ret
        &[0x48, 0xB8],           // standing: mov rax, second
        &second,
        &[0x48, 0x89, 0x06], // mov [rsi], rax
    ]
    .concat();
    let nanoseconds = match counter {
        None => [
            &[0x48, 0xC7, 0x46, 0x08][..], // mov qword [rsi + 8], nanosecond
            &nanosecond,
        ]
        .concat(),
        Some(counter) => [
            &[0x48, 0xB9][..], // mov rcx, counter
            &counter.to_le_bytes(),
            &[0xBA, 1, 0, 0, 0],       // mov edx, 1
            &[0xF0, 0x0F, 0xC1, 0x11], // lock xadd [rcx], edx
            &[0xB8],                   // mov eax, ticks
            &ticks,
            &[0x39, 0xC2],       // cmp edx, eax
            &[0x0F, 0x47, 0xD0], // cmova edx, eax
            &[0x81, 0xC2],       // add edx, nanosecond
            &nanosecond,
            &[0x48, 0x89, 0x56, 0x08], // mov [rsi + 8], rdx
        ]
        .concat(),
    };
    let clock_gettime = [
        &others[..],
        &nanoseconds,
        &[0x31, 0xC0], // xor eax, eax
        &[0xC3],       // ret
    ]
    .concat();
    let gettimeofday = [
        &[0x48, 0x85, 0xFF][..], // test rdi, rdi
        &[0x74, 0x15],           // jz zone
        &[0x48, 0xB8],           // mov rax, second
        &second,
        &[0x48, 0x89, 0x07],       // mov [rdi], rax
        &[0x48, 0xC7, 0x47, 0x08], // mov qword [rdi + 8], microsecond
        &microsecond,
        &[0x48, 0x85, 0xF6],             // zone: test rsi, rsi
        &[0x74, 0x07],                   // jz done
        &[0x48, 0xC7, 0x06, 0, 0, 0, 0], // mov qword [rsi], 0
        &[0x31, 0xC0],                   // done: xor eax, eax
        &[0xC3],                         // ret
    ]
    .concat();
    let time = [
        &[0x48, 0xB8][..], // mov rax, second
        &second,
        &[0x48, 0x85, 0xFF], // test rdi, rdi
        &[0x74, 0x03],       // jz done
        &[0x48, 0x89, 0x07], // mov [rdi], rax
        &[0xC3],             // done: ret
    ]
    .concat();
    let getrandom = [
        &[0x49, 0x83, 0xF8, 0xFF][..], // cmp r8, -1: asks how large a state is
        &[0x74, 0x08],                 // je none
        &[0xB8, 0x3E, 0x01, 0, 0],     // mov eax, getrandom
        &[0x0F, 0x05],                 // syscall
        &[0xC3],                       // ret
        &[0x48, 0xC7, 0xC0, 0xDA, 0xFF, 0xFF, 0xFF], // none: mov rax, -ENOSYS
        &[0xC3],                       // ret
    ]
    .concat();
    vec![
        ("__vdso_clock_gettime", false, clock_gettime),
        ("__vdso_gettimeofday", false, gettimeofday),
        ("__vdso_time", false, time),
        ("__vdso_getrandom", true, getrandom),
    ]
}

/// Name, whether it is for seeded randomness alone, code.
#[cfg(target_arch = "aarch64")]
fn functions(second: i64, _: Option<u64>) -> Vec<(&'static str, bool, Vec<u8>)> {
    let code = |words: &[u32], numbers: [i64; 2]| -> Vec<u8> {
        let words = words.iter().flat_map(|word| word.to_le_bytes());
        words.chain(numbers.iter().flat_map(|number| number.to_le_bytes())).collect()
    };
    let clock_gettime = code(
        &[
            0x7100_001F, // cmp w0, CLOCK_REALTIME
            0x5400_0100, // b.eq standing
            0x7100_141F, // cmp w0, CLOCK_REALTIME_COARSE
            0x5400_00C0, // b.eq standing
            0x7100_2C1F, // cmp w0, CLOCK_TAI
            0x5400_0080, // b.eq standing
            0xD280_0E28, // mov x8, clock_gettime
            0xD400_0001, // svc 0
            0xD65F_03C0, // ret
            0x5800_00A2, // standing: ldr x2, second
            0x5800_00C3, // ldr x3, nanosecond
            0xA900_0C22, // stp x2, x3, [x1]
            0xD280_0000, // mov x0, 0
            0xD65F_03C0, // ret
        ],
        [second, NANOSECOND],
    );
    let gettimeofday = code(
        &[
            0xB400_0080, // cbz x0, zone
            0x5800_00E2, // ldr x2, second
            0x5800_0103, // ldr x3, microsecond
            0xA900_0C02, // stp x2, x3, [x0]
            0xB400_0041, // zone: cbz x1, done
            0xF900_003F, // str xzr, [x1]
            0xD280_0000, // done: mov x0, 0
            0xD65F_03C0, // ret
        ],
        [second, NANOSECOND / 1000],
    );
    vec![
        ("__kernel_clock_gettime", false, clock_gettime),
        ("__kernel_gettimeofday", false, gettimeofday),
        (
            "__kernel_getrandom",
            true,
            // mov x0, -ENOSYS: the C library asks the kernel then.
            code(&[0x9280_04A0, 0xD65F_03C0], [0, 0]),
        ),
    ]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn functions(_: i64, _: Option<u64>) -> Vec<(&'static str, bool, Vec<u8>)> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_code_has_room_for_all_of_it() {
        let Some(object) = crate::sys::memory::vdso() else { return };
        let names = |seeded| patches(object, 1, seeded, Some(2), &[]).len();
        assert!(names(false) >= 2);
        // Kernels since 6.11 draw randomness there, too.
        let draws = elf::function(object, "__vdso_getrandom").is_some();
        assert_eq!(names(true), names(false) + usize::from(draws));
        assert_eq!(patches(b"no object", 1, true, None, &[]), []);
        let with = patch(object, 1, true, None, &[1; 100]).unwrap();
        let at = usize::try_from(with.guest.unwrap() - with.offset).unwrap();
        assert_eq!(with.code[at..at + 100], [1; 100]);
        // No function has room for that; it costs nothing else.
        let without = patch(object, 1, true, None, &[1; 1 << 16]);
        assert_eq!(without, patch(object, 1, true, None, &[]));
        assert_eq!(without.unwrap().guest, None);
    }

    /// Jumps lead to the beginning of an instruction: each branch of the code is as long as its distance says.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn branches_lead_where_they_say() {
        let of = |name: &str| functions(7, None).into_iter().find(|(known, ..)| *known == name).unwrap().2;
        let clock = of("__vdso_clock_gettime");
        for at in [3, 8, 13] {
            assert_eq!(clock[at], 0x74);
            assert_eq!(clock[at + 2 + usize::from(clock[at + 1])..][..2], [0x48, 0xB8]);
        }
        let day = of("__vdso_gettimeofday");
        assert_eq!(day[5 + usize::from(day[4])..][..3], [0x48, 0x85, 0xF6]);
        let zone = 5 + usize::from(day[4]) + 3;
        assert_eq!(day[zone + 2 + usize::from(day[zone + 1])..], [0x31, 0xC0, 0xC3]);
        let random = of("__vdso_getrandom");
        assert_eq!(random[6 + usize::from(random[5])..][..3], [0x48, 0xC7, 0xC0]);
    }
}
