//! Code for x86-64 (Intel's and AMD's manuals; the System V ABI says which registers are free).

use super::super::clock::{NANOSECOND, TICKS};
use super::super::instructions::{distance, four};
use super::{Function, Own};

pub(super) fn functions(second: i64, own: Option<Own>) -> Vec<Function> {
    vec![
        Function::of_clock("__vdso_clock_gettime", clock_gettime(second, own)),
        Function::of_clock("__vdso_gettimeofday", gettimeofday(second)),
        Function::of_clock("__vdso_time", time(second)),
        Function::of_randomness("__vdso_getrandom", getrandom()),
    ]
}

/// The clock in edi, where to in rsi.
fn clock_gettime(second: i64, own: Option<Own>) -> Vec<u8> {
    let stands = standing(second, own.filter(|own| own.ticks).map(|own| own.word));
    let goes = own.and_then(|own| Some(durations(own, own.first?)));
    let kernel = [
        &[0xB8, 0xE4, 0, 0, 0][..], // mov eax, clock_gettime
        &[0x0F, 0x05],              // syscall
    ]
    .concat();
    let asked = match &goes {
        None => [&kernel[..], &[0xC3]].concat(), // ret
        Some(_) => [&kernel[..], &[0xEB], &[distance(stands.len())]].concat(), // jmp goes
    };
    // Each comparison and its jump take five bytes.
    let to_standing = |comparisons: usize| distance(comparisons * 5 + asked.len());
    [
        &[0x83, 0xFF, 0x00][..], // cmp edi, CLOCK_REALTIME
        &[0x74, to_standing(2)], // je stands
        &[0x83, 0xFF, 0x05],     // cmp edi, CLOCK_REALTIME_COARSE
        &[0x74, to_standing(1)], // je stands
        &[0x83, 0xFF, 0x0B],     // cmp edi, CLOCK_TAI
        &[0x74, to_standing(0)], // je stands
        &asked,
        &stands,
        goes.as_deref().unwrap_or_default(),
    ]
    .concat()
}

/// Says the time that never changes, or one that the four bytes at `counter` are later.
fn standing(second: i64, counter: Option<u64>) -> Vec<u8> {
    let nanosecond = four(NANOSECOND);
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
            &four(TICKS),
            &[0x39, 0xC2],       // cmp edx, eax
            &[0x0F, 0x47, 0xD0], // cmova edx, eax
            &[0x81, 0xC2],       // add edx, nanosecond
            &nanosecond,
            &[0x48, 0x89, 0x56, 0x08], // mov [rsi + 8], rdx
        ]
        .concat(),
    };
    [
        &[0x48, 0xB8][..], // mov rax, second
        &second.to_le_bytes(),
        &[0x48, 0x89, 0x06], // mov [rsi], rax
        &nanoseconds,
        &[0x31, 0xC0], // xor eax, eax
        &[0xC3],       // ret
    ]
    .concat()
}

/// Makes what the kernel said of a clock of durations the reading of a program (spec/world.md, "Durations"). What it said is
/// at rsi, and eax is zero if it said anything.
fn durations(own: Own, first: u32) -> Vec<u8> {
    let tell = [
        &[0x48, 0x89, 0x06][..],   // tell: mov [rsi], rax
        &[0x48, 0x89, 0x4E, 0x08], // mov [rsi + 8], rcx
        &[0x31, 0xC0],             // there: xor eax, eax
        &[0xC3],                   // end: ret
    ]
    .concat();
    let known = [
        &[0x48, 0x8B, 0x0E][..],         // mov rcx, [rsi]
        &[0x8D, 0x51, 0x01],             // lea edx, [rcx + 1]
        &[0x31, 0xC0],                   // xor eax, eax
        &[0xF0, 0x41, 0x0F, 0xB1, 0x10], // lock cmpxchg [r8], edx
        &[0x0F, 0x44, 0xC2],             // cmove eax, edx: it is the first reading
        &[0x48, 0x29, 0xC1],             // sub rcx, rax: seconds behind the first reading's
        &[0x48, 0x8D, 0x51, 0x02],       // lea rdx, [rcx + 2]
        &[0x48, 0x83, 0xFA, 0x02],       // cmp rdx, 2
        &[0x77, 0x17],                   // ja there: the clock is, or the word is another's
        &[0x48, 0x85, 0xC9],             // test rcx, rcx
        &[0xB9],                         // mov ecx, first
        &first.to_le_bytes(),
        &[0x75, 0x06],             // jne tell
        &[0x48, 0x3B, 0x4E, 0x08], // cmp rcx, [rsi + 8]
        &[0x7C, 0x07],             // jl there
    ]
    .concat();
    [
        &[0x49, 0xB8][..], // mov r8, the word's last four bytes
        &(own.word + 4).to_le_bytes(),
        &[0x83, 0xFF, 0x01],                             // cmp edi, CLOCK_MONOTONIC
        &[0x74, 0x06],                                   // je known
        &[0x83, 0xFF, 0x07],                             // cmp edi, CLOCK_BOOTTIME
        &[0x74, 0x01],                                   // je known
        &[0xC3],                                         // ret
        &[0x85, 0xC0],                                   // known: test eax, eax
        &[0x75, distance(known.len() + tell.len() - 1)], // jne end
        &known,
        &tell,
    ]
    .concat()
}

/// Where to in rdi, and the zone in rsi.
fn gettimeofday(second: i64) -> Vec<u8> {
    [
        &[0x48, 0x85, 0xFF][..], // test rdi, rdi
        &[0x74, 0x15],           // jz zone
        &[0x48, 0xB8],           // mov rax, second
        &second.to_le_bytes(),
        &[0x48, 0x89, 0x07],       // mov [rdi], rax
        &[0x48, 0xC7, 0x47, 0x08], // mov qword [rdi + 8], microsecond
        &four(NANOSECOND / 1000),
        &[0x48, 0x85, 0xF6],             // zone: test rsi, rsi
        &[0x74, 0x07],                   // jz done
        &[0x48, 0xC7, 0x06, 0, 0, 0, 0], // mov qword [rsi], 0
        &[0x31, 0xC0],                   // done: xor eax, eax
        &[0xC3],                         // ret
    ]
    .concat()
}

/// Where to in rdi, if anywhere.
fn time(second: i64) -> Vec<u8> {
    [
        &[0x48, 0xB8][..], // mov rax, second
        &second.to_le_bytes(),
        &[0x48, 0x85, 0xFF], // test rdi, rdi
        &[0x74, 0x03],       // jz done
        &[0x48, 0x89, 0x07], // mov [rdi], rax
        &[0xC3],             // done: ret
    ]
    .concat()
}

/// How large a state is in r8.
fn getrandom() -> Vec<u8> {
    [
        &[0x49, 0x83, 0xF8, 0xFF][..], // cmp r8, -1: asks how large a state is
        &[0x74, 0x08],                 // je none
        &[0xB8, 0x3E, 0x01, 0, 0],     // mov eax, getrandom
        &[0x0F, 0x05],                 // syscall
        &[0xC3],                       // ret
        &[0x48, 0xC7, 0xC0, 0xDA, 0xFF, 0xFF, 0xFF], // none: mov rax, -ENOSYS
        &[0xC3],                       // ret
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::super::super::instructions::led;
    use super::super::FIRST;
    use super::*;

    /// Jumps lead to the beginning of an instruction: each branch of the code is as long as its distance says.
    #[test]
    fn branches_lead_where_they_say() {
        let own = |ticks| Own { word: 0x7FFF_FFFF_FFF8, ticks, first: Some(FIRST.end - 1) };
        for own in [None, Some(own(false)), Some(own(true)), Some(Own { first: None, ..own(true) })] {
            let clock = clock_gettime(7, own);
            for at in [3, 8, 13] {
                assert_eq!(clock[at], 0x74);
                assert_eq!(led(&clock, at)[..2], [0x48, 0xB8]);
            }
            match own.and_then(|own| own.first) {
                None => assert_eq!(clock[22], 0xC3),
                Some(_) => assert_eq!((clock[22], &led(&clock, 22)[..2]), (0xEB, &[0x49, 0xB8][..])),
            }
        }
        let code = durations(own(false), FIRST.end - 1);
        let known = led(&code, 13);
        assert_eq!(known[..2], [0x85, 0xC0]);
        assert_eq!(led(&code, 18), known);
        assert_eq!(led(known, 2), [0xC3], "the kernel said nothing");
        let there = [0x31, 0xC0, 0xC3];
        assert_eq!(led(known, 31), there, "the second is later");
        assert_eq!(led(known, 41)[..3], [0x48, 0x89, 0x06], "the second is earlier");
        assert_eq!(led(known, 47), there, "the nanosecond is later");
        let day = gettimeofday(7);
        let zone = led(&day, 3);
        assert_eq!(zone[..3], [0x48, 0x85, 0xF6]);
        assert_eq!(led(zone, 3), [0x31, 0xC0, 0xC3]);
        assert_eq!(led(&getrandom(), 4)[..3], [0x48, 0xC7, 0xC0]);
    }
}
