//! Parts of x86-64 instructions that all code for programs is made of.

/// How far a short jump goes, from its own end.
///
/// # Panics
///
/// Where it is longer than such a jump can be: all of the code is shorter.
pub(super) fn distance(bytes: usize) -> u8 {
    u8::try_from(bytes).ok().filter(|distance| *distance < 0x80).expect("all of the code is shorter")
}

/// A constant as an instruction has it.
///
/// # Panics
///
/// For one of two thousand million or more: those of the world are below.
pub(super) fn four(number: i64) -> [u8; 4] {
    i32::try_from(number).expect("constants below two thousand million").to_le_bytes()
}

/// Where the short jump at a place leads.
#[cfg(test)]
pub(super) fn led(code: &[u8], at: usize) -> &[u8] {
    &code[at + 2 + usize::from(code[at + 1])..]
}
