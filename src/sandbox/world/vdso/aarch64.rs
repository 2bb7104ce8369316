//! Code for aarch64 (Arm's manual of the architecture; its procedure call standard says which registers are free).

use super::super::clock::NANOSECOND;
use super::{Function, Own};

pub(super) fn functions(second: i64, own: Option<Own>) -> Vec<Function> {
    vec![
        Function::of_clock("__kernel_clock_gettime", clock_gettime(second, own)),
        Function::of_clock("__kernel_gettimeofday", gettimeofday(second)),
        // The C library asks the kernel then.
        Function::of_randomness(
            "__kernel_getrandom",
            code(
                &[
                    0x9280_04A0, // mov x0, -ENOSYS
                    0xD65F_03C0, // ret
                ],
                &[],
            ),
        ),
    ]
}

/// The clock in w0, where to in x1.
fn clock_gettime(second: i64, own: Option<Own>) -> Vec<u8> {
    match own.and_then(|own| Some((own, own.first?))) {
        None => code(&STANDING, &[second, NANOSECOND]),
        Some((own, first)) => {
            code(&GOING, &[second, NANOSECOND, (own.word + 4).cast_signed(), i64::from(first)])
        }
    }
}

/// Knows the clocks that stand, and asks the kernel for the others. Its numbers: second, nanosecond.
const STANDING: [u32; 14] = [
    0x7100_001F, // cmp w0, CLOCK_REALTIME
    0x5400_0100, // b.eq stands
    0x7100_141F, // cmp w0, CLOCK_REALTIME_COARSE
    0x5400_00C0, // b.eq stands
    0x7100_2C1F, // cmp w0, CLOCK_TAI
    0x5400_0080, // b.eq stands
    0xD280_0E28, // mov x8, clock_gettime
    0xD400_0001, // svc 0
    0xD65F_03C0, // ret
    0x5800_00A2, // stands: ldr x2, second
    0x5800_00C3, // ldr x3, nanosecond
    0xA900_0C22, // stp x2, x3, [x1]
    0xD280_0000, // mov x0, 0
    0xD65F_03C0, // ret
];

/// As that, and makes what the kernel said of a clock of durations the reading of a program (spec/world.md, "Durations"). Its
/// numbers: second, nanosecond, the word's last four bytes, the first reading's nanosecond.
const GOING: [u32; 38] = [
    0x7100_001F, // cmp w0, CLOCK_REALTIME
    0x5400_0400, // b.eq stands
    0x7100_141F, // cmp w0, CLOCK_REALTIME_COARSE
    0x5400_03C0, // b.eq stands
    0x7100_2C1F, // cmp w0, CLOCK_TAI
    0x5400_0380, // b.eq stands
    0x2A00_03E9, // mov w9, w0
    0xD280_0E28, // mov x8, clock_gettime
    0xD400_0001, // svc 0
    0xB500_02E0, // cbnz x0, end
    0x5800_040A, // ldr x10, the word's last four bytes
    0x7100_053F, // cmp w9, CLOCK_MONOTONIC
    0x5400_0060, // b.eq known
    0x7100_1D3F, // cmp w9, CLOCK_BOOTTIME
    0x5400_0241, // b.ne end
    0xF940_0022, // known: ldr x2, [x1]
    0x1100_0444, // add w4, w2, 1
    0x885F_FD43, // try: ldaxr w3, [x10]
    0x3500_0083, // cbnz w3, later
    0x8805_FD44, // stlxr w5, w4, [x10]
    0x35FF_FFA5, // cbnz w5, try
    0x2A04_03E3, // mov w3, w4: it is the first reading
    0xCB03_0042, // later: sub x2, x2, x3: seconds behind the first reading's
    0x9100_0844, // add x4, x2, 2
    0xF100_089F, // cmp x4, 2
    0x5400_00E8, // b.hi end: the clock is there, or the word is another's
    0x5800_0246, // ldr x6, first
    0xB500_0082, // cbnz x2, tell
    0xF940_0427, // ldr x7, [x1, 8]
    0xEB07_00DF, // cmp x6, x7
    0x5400_004B, // b.lt end
    0xA900_1823, // tell: stp x3, x6, [x1]
    0xD65F_03C0, // end: ret
    0x5800_00A2, // stands: ldr x2, second
    0x5800_00C3, // ldr x3, nanosecond
    0xA900_0C22, // stp x2, x3, [x1]
    0xD280_0000, // mov x0, 0
    0xD65F_03C0, // ret
];

/// Where to in x0, and the zone in x1.
fn gettimeofday(second: i64) -> Vec<u8> {
    code(
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
        &[second, NANOSECOND / 1000],
    )
}

/// Instructions, and behind them the numbers that they load.
fn code(words: &[u32], numbers: &[i64]) -> Vec<u8> {
    let words = words.iter().flat_map(|word| word.to_le_bytes());
    words.chain(numbers.iter().flat_map(|number| number.to_le_bytes())).collect()
}
