//! Code for x86-64: asks for what a file is, and makes of the answer what is told
//! (spec/world.md, "Programs that ask unheard").
//!
//! It may change what a system call changes: rax, rcx, r11 and the flags.

use super::super::clock::{Clock, LAST_OF_FILES, NANOSECONDS, TICK};
use super::super::instructions::{distance, four};
use super::{Call, Code, TOLD_DEVICE, UNHEARD};

/// The one for `fstat` and that for `fstatat` tell in common; that of `statx` has an answer of another shape.
pub(in super::super) fn code(clock: &Clock, root: u64) -> Code {
    let mut code = Code { bytes: stamp(clock), entries: Vec::new() };
    let path = asked(Call::Path, &PATH, 0);
    code.add(Some(Call::Descriptor), asked(Call::Descriptor, &DESCRIPTOR, path.len()));
    code.add(Some(Call::Path), path);
    code.add(None, told(&STAT, root, code.bytes.len()));
    code.add(Some(Call::Extended), asked(Call::Extended, &EXTENDED, 0));
    code.add(None, told(&STATX, root, code.bytes.len()));
    code
}

impl Code {
    fn add(&mut self, call: Option<Call>, part: Vec<u8>) {
        self.entries.extend(call.map(|call| (call, self.bytes.len() as u64)));
        self.bytes.extend(part);
    }
}

/// Where a call has an argument that it has no use for, and where it has that of its answer.
struct Arguments {
    save: &'static [u8],
    set: &'static [u8],
    restore: &'static [u8],
    answer: [u8; 3],
}

const DESCRIPTOR: Arguments = Arguments {
    save: &[0x52],              // push rdx
    set: &[0x48, 0xC7, 0xC2],   // mov rdx, …
    restore: &[0x5A],           // pop rdx
    answer: [0x49, 0x89, 0xF3], // mov r11, rsi
};
const PATH: Arguments = Arguments {
    save: &[0x41, 0x50],        // push r8
    set: &[0x49, 0xC7, 0xC0],   // mov r8, …
    restore: &[0x41, 0x58],     // pop r8
    answer: [0x49, 0x89, 0xD3], // mov r11, rdx
};
const EXTENDED: Arguments = Arguments {
    save: &[0x41, 0x51], // push r9
    // A time of birth alone would come without the others: or r10d, STATX_MTIME; mov r9, …
    set: &[0x41, 0x83, 0xCA, 0x40, 0x49, 0xC7, 0xC1],
    restore: &[0x41, 0x59],     // pop r9
    answer: [0x4D, 0x89, 0xC3], // mov r11, r8
};

/// Where in an answer its fields are. A time is the second, and behind it the nanosecond.
struct Shape {
    /// Loads the kind of a file into ecx.
    mode: &'static [u8],
    /// Of the inode.
    number: u8,
    size: u8,
    blocks: u8,
    read: u8,
    written: u8,
    changed: u8,
    /// With the bit that says that it is known.
    born: Option<(u8, u32)>,
    device: u8,
    /// The two halves of a device's number are four bytes each.
    wide_device: bool,
}

/// Where both answers have the number of links.
const LINKS: u8 = 16;

/// `struct stat` (asm/stat.h).
const STAT: Shape = Shape {
    mode: &[0x41, 0x8B, 0x4B, 24], // mov ecx, [r11 + 24]
    number: 8,
    size: 48,
    blocks: 64,
    read: 72,
    written: 88,
    changed: 104,
    born: None,
    device: 0,
    wide_device: false,
};

/// `struct statx` (linux/stat.h).
const STATX: Shape = Shape {
    mode: &[0x41, 0x0F, 0xB7, 0x4B, 28], // movzx ecx, word [r11 + 28]
    number: 32,
    size: 40,
    blocks: 48,
    read: 64,
    written: 112,
    changed: 96,
    born: Some((80, 0x800)),
    device: 136,
    wide_device: true,
};

/// Asks unheard, and goes on at what is `gap` bytes behind it, with the answer at r11, if there is one.
fn asked(call: Call, arguments: &Arguments, gap: usize) -> Vec<u8> {
    let mut code = [
        arguments.save,
        arguments.set, // mov argument, UNHEARD
        &UNHEARD.to_le_bytes(),
        &call.code(),
        arguments.restore,
        &[0x85, 0xC0],     // test eax, eax
        &[0x74, 0x01],     // jz there
        &[0xC3],           // ret
        &arguments.answer, // there: mov r11, answer
    ]
    .concat();
    if gap > 0 {
        code.extend([0xEB, distance(gap)]); // jmp told
    }
    code
}

/// Makes a time of the run, at r11, what it is told to be (`Clock::of_file`).
fn stamp(clock: &Clock) -> Vec<u8> {
    let tell = [
        &[0x52][..],   // push rdx
        &[0x31, 0xD2], // xor edx, edx
        &[0xB9],       // mov ecx, TICK
        &four(TICK),
        &[0x48, 0xF7, 0xF1], // div rcx
        &[0x5A],             // pop rdx
        &[0x48, 0xFF, 0xC0], // inc rax
        &[0xB9],             // mov ecx, LAST_OF_FILES
        &four(LAST_OF_FILES),
        &[0x48, 0x39, 0xC8],       // cmp rax, rcx
        &[0x48, 0x0F, 0x47, 0xC1], // cmova rax, rcx
        &[0x49, 0x89, 0x43, 0x08], // mov [r11 + 8], rax
        &[0x48, 0xB9],             // mov rcx, second
        &clock.second().to_le_bytes(),
        &[0x49, 0x89, 0x0B], // mov [r11], rcx
    ]
    .concat();
    let since = [
        &[0x48, 0xB9][..], // mov rcx, start
        &clock.start().to_le_bytes(),
        &[0x48, 0x29, 0xC8],           // sub rax, rcx
        &[0x7C, distance(tell.len())], // jl done: it was there before
    ]
    .concat();
    let nanoseconds = [
        &[0x41, 0x8B, 0x4B, 0x08][..],               // mov ecx, [r11 + 8]
        &[0x48, 0x01, 0xC8],                         // add rax, rcx
        &[0x70, distance(since.len() + tell.len())], // jo done
    ]
    .concat();
    let rest = nanoseconds.len() + since.len() + tell.len();
    let converted = [
        &[0x48, 0x69, 0xC0][..], // imul rax, rax, NANOSECONDS
        &four(NANOSECONDS),
        &[0x70, distance(rest)], // jo done: nobody stamped it
    ]
    .concat();
    let told = [
        &[0x48, 0xB9][..], // mov rcx, second
        &clock.second().to_le_bytes(),
        &[0x48, 0x39, 0xC8],                       // cmp rax, rcx
        &[0x74, distance(converted.len() + rest)], // je done: it is told already
    ]
    .concat();
    [
        &[0x49, 0x8B, 0x03][..], // mov rax, [r11]
        if clock.is_ahead() { &told } else { &[] },
        &converted,
        &nanoseconds,
        &since,
        &tell,
        &[0xC3], // done: ret
    ]
    .concat()
}

/// Makes what the kernel said, at r11, what is told. It is `at` bytes behind [`stamp`].
fn told(shape: &Shape, root: u64, at: usize) -> Vec<u8> {
    let device = device(shape, root);
    let blocks = [0x49, 0x89, 0x4B, shape.blocks]; // blocks: mov [blocks], rcx
    let whole = [
        &[0x48, 0x8D, 0x88, 0xFF, 0x0F, 0, 0][..], // lea rcx, [rax + 4095]
        &[0x48, 0xC1, 0xE9, 0x0C],                 // shr rcx, 12
        &[0x48, 0xC1, 0xE1, 0x03],                 // shl rcx, 3
    ]
    .concat();
    let regular = [
        &[0x49, 0x8B, 0x4B, shape.blocks][..], // regular: mov rcx, [blocks]
        &[0x48, 0xC1, 0xE1, 0x09],             // shl rcx, 9
        &[0x48, 0x39, 0xC1],                   // cmp rcx, rax
        &[0x7C, distance(whole.len() + blocks.len())], // jl device: it has holes
        &whole,
    ]
    .concat();
    let directory = [
        &[0x48, 0x85, 0xC0][..],                        // test rax, rax
        &[0x75, 0x07],                                  // jnz link
        &[0x49, 0x83, 0x7B, shape.number, 1],           // cmp qword [number], 1
        &[0x75, 0x08],                                  // jne linked: the kernel's own say something by it
        &[0x41, 0xC7, 0x43, LINKS, 1, 0, 0, 0],         // link: mov dword [links], 1
        &[0x49, 0xC7, 0x43, shape.size, 0, 0x10, 0, 0], // linked: mov qword [size], 4096
        &[0xB1, 0x08],                                  // mov cl, 8
        &[0xEB, distance(regular.len())],               // jmp blocks
    ]
    .concat();
    let other = [
        &[0x81, 0xF9, 0, 0x40, 0, 0][..],                   // cmp ecx, S_IFDIR
        &[0xB9, 0, 0, 0, 0],                                // mov ecx, 0
        &[0x75, distance(directory.len() + regular.len())], // jne blocks
        &directory,
    ]
    .concat();
    [
        &stamps(shape, at)[..],
        &times(shape),
        shape.mode,
        &[0x81, 0xE1, 0, 0xF0, 0, 0],    // and ecx, S_IFMT
        &[0x49, 0x8B, 0x43, shape.size], // mov rax, [size]
        &[0x81, 0xF9, 0, 0x80, 0, 0],    // cmp ecx, S_IFREG
        &[0x74, distance(other.len())],  // je regular
        &other,
        &regular,
        &blocks,
        &device,
        &[0x31, 0xC0], // xor eax, eax
        &[0xC3],       // ret
    ]
    .concat()
}

/// Has both times of a file stamped.
fn stamps(shape: &Shape, at: usize) -> Vec<u8> {
    let forward = |bytes: u8| [0x49, 0x83, 0xC3, bytes]; // add r11, bytes
    let mut code = Vec::new();
    for distance in [shape.read, shape.written - shape.read] {
        code.extend(forward(distance));
        let behind = i32::try_from(at + code.len() + 5).expect("all of the code is shorter");
        code.push(0xE8); // call stamp
        code.extend((-behind).to_le_bytes());
    }
    code.extend(forward(shape.written.wrapping_neg()));
    code
}

/// A file was changed, and made, in the second in which it was written.
fn times(shape: &Shape) -> Vec<u8> {
    let set = |at: u8| [0x49, 0x89, 0x4B, at]; // mov [at], rcx
    let both = |behind: u8| {
        let born = shape.born.map(|(born, _)| set(born + behind));
        [&set(shape.changed + behind)[..], born.as_ref().map_or(&[], |born| &born[..])].concat()
    };
    let is_known = shape.born.map(|(_, bit)| {
        [&[0x41, 0x81, 0x0B][..], &bit.to_le_bytes()].concat() // or dword [r11], bit
    });
    [
        &[0x49, 0x8B, 0x4B, shape.written][..], // mov rcx, [written]
        &both(0),
        &[0x31, 0xC9], // xor ecx, ecx
        &both(8),
        &is_known.unwrap_or_default(),
    ]
    .concat()
}

/// The root's file system is told to be another.
fn device(shape: &Shape, root: u64) -> Vec<u8> {
    let number = |device: u64| match shape.wide_device {
        false => device,
        true => u64::from(libc::major(device)) | u64::from(libc::minor(device)) << 32,
    };
    let at = |operation: u8| [&[0x49, operation, 0x8B][..], &[shape.device, 0, 0, 0]].concat();
    let tell = [
        &[0x48, 0xB9][..], // mov rcx, told
        &number(TOLD_DEVICE).to_le_bytes(),
        &at(0x89), // mov [device], rcx
    ]
    .concat();
    [
        &[0x48, 0xB9][..], // mov rcx, root
        &number(root).to_le_bytes(),
        &at(0x39),                     // cmp [device], rcx
        &[0x75, distance(tell.len())], // jne done
        &tell,
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::super::super::clock::Begun;
    use super::super::super::instructions::led;
    use super::*;

    fn place_of(code: &[u8], bytes: &[u8]) -> usize {
        code.windows(bytes.len()).position(|found| found == bytes).unwrap()
    }

    /// Jumps lead to the beginning of an instruction, and each entry is where it is said to be.
    #[test]
    fn branches_lead_where_they_say() {
        let whole = code(&Clock::new(7, Begun::now()), 9);
        let calls = [
            (Call::Descriptor, &DESCRIPTOR, &STAT),
            (Call::Path, &PATH, &STAT),
            (Call::Extended, &EXTENDED, &STATX),
        ];
        assert_eq!(whole.entries.len(), calls.len());
        for ((entry, at), (call, arguments, shape)) in whole.entries.iter().zip(calls) {
            assert_eq!(*entry, call);
            let at = usize::try_from(*at).unwrap();
            let asked = &whole.bytes[at..];
            assert!(asked.starts_with(arguments.save));
            let there = place_of(asked, &[0x74, 0x01, 0xC3]);
            assert!(led(asked, there).starts_with(&arguments.answer));
            let begin = [0x49, 0x83, 0xC3, shape.read, 0xE8];
            let next = &asked[there + 6..];
            let told = if next.starts_with(&begin) { next } else { led(next, 0) };
            assert!(told.starts_with(&begin), "{call:?}");
            let here = whole.bytes.len() - told.len();
            for call in [4, 13] {
                let distance = i32::from_le_bytes(told[call + 1..call + 5].try_into().unwrap());
                assert_eq!(i64::try_from(here + call + 5).unwrap(), -i64::from(distance));
            }

            let regular = place_of(told, &[0x81, 0xF9, 0, 0x80, 0, 0]) + 6;
            assert!(led(told, regular).starts_with(&[0x49, 0x8B, 0x4B, shape.blocks]));
            let blocks: &[u8] = &[0x49, 0x89, 0x4B, shape.blocks];
            let other = place_of(told, &[0xB9, 0, 0, 0, 0]) + 5;
            assert!(led(told, other).starts_with(blocks));
            let directory = place_of(told, &[0xB1, 0x08]) + 2;
            assert!(led(told, directory).starts_with(blocks));
            let links = place_of(told, &[0x48, 0x85, 0xC0]) + 3;
            let link: &[u8] = &[0x41, 0xC7, 0x43, LINKS, 1, 0, 0, 0];
            assert!(led(told, links).starts_with(link));
            assert!(led(told, links + 7).starts_with(&[0x49, 0xC7, 0x43, shape.size]));
            let holes = place_of(told, &[0x48, 0x39, 0xC1]) + 3;
            assert!(led(told, holes).starts_with(&[0x48, 0xB9]));
            let device = place_of(told, &[0x49, 0x39, 0x8B]) + 7;
            assert!(led(told, device).starts_with(&[0x31, 0xC0, 0xC3]));
        }
        let clock = |second| Clock::new(second, Begun::now());
        for (clock, before) in [(clock(0), 0), (clock(i64::MAX / NANOSECONDS), 15)] {
            let stamp = stamp(&clock);
            for at in [10, 19, 34].map(|at| at + before).into_iter().chain((before > 0).then_some(16)) {
                assert!([0x70, 0x7C, 0x74].contains(&stamp[at]));
                assert_eq!(led(&stamp, at), [0xC3]);
            }
        }
    }
}
