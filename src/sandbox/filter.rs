//! The seccomp filter: which system calls a step may not make, on every ABI its kernel offers.
//!
//! Owns: the encoding of the policy as classic BPF. Pure; loading is `sys::seccomp`.

use crate::sys::seccomp::Instruction;

use super::policy::{Call, ENOSYS, RULES, When};

/// `AUDIT_ARCH_*` of linux/audit.h.
const AUDIT_X86_64: u32 = 0xC000_003E;
const AUDIT_I386: u32 = 0x4000_0003;
const AUDIT_AARCH64: u32 = 0xC000_00B7;
const AUDIT_ARM: u32 = 0x4000_0028;

/// Set in the number of a system call of the x32 ABI, whose audit architecture is that of x86-64.
const X32_BIT: u32 = 0x4000_0000;

/// The filter for the architecture this program runs on.
pub fn program() -> Vec<Instruction> {
    let mut code = Code::default();
    for abi in &ABIS {
        code.abi(abi);
    }
    // An ABI without a table is refused whole: better no foreign program than one without rules.
    code.push(RETURN, refuse(ENOSYS));
    code.0
}

/// A call of the native ABI that is handed over to a supervisor.
#[derive(Debug, Clone, Copy)]
pub struct Handed {
    number: u32,
    when: Asked,
}

/// Which of the calls of a number.
#[derive(Debug, Clone, Copy)]
pub enum Asked {
    /// As a rule of the policy says.
    When(When),
    /// With any of these (argument, value) otherwise.
    Unless(&'static [(u32, u32)]),
    /// If all of these hold.
    All(&'static [When]),
}

impl Handed {
    /// `None` where the number is none.
    pub fn new(number: libc::c_long, when: Asked) -> Option<Self> {
        u32::try_from(number).ok().map(|number| Self { number, when })
    }

    pub fn always(number: libc::c_long) -> Option<Self> {
        Self::new(number, Asked::When(When::Always))
    }
}

/// A place in a program's memory from which a call is not handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its number.
    pub call: libc::c_long,
    /// The address behind the instruction that makes it.
    pub behind: u64,
}

/// A second filter, that hands calls over, but for those that come from some places.
pub fn hand_over(calls: &[Handed], but: &[Place]) -> Vec<Instruction> {
    let native = match std::env::consts::ARCH {
        "x86_64" => AUDIT_X86_64,
        "aarch64" => AUDIT_AARCH64,
        // Hands nothing over.
        _ => 0,
    };
    let mut code = Code::default();
    code.push(LOAD, ARCHITECTURE);
    code.0.push(Instruction { code: JUMP_EQUAL, jump_true: 1, jump_false: 0, value: native });
    code.push(RETURN, ALLOW);
    code.push(LOAD, NUMBER);
    for place in but {
        code.but_from(*place);
    }
    for Handed { number, when } in calls {
        match when {
            Asked::When(when) => code.rule(*number, *when, HAND_OVER),
            Asked::Unless(values) => code.unless(*number, values),
            Asked::All(conditions) => code.all(*number, conditions),
        }
    }
    code.push(RETURN, ALLOW);
    code.0
}

/// One way to make system calls.
struct Abi {
    audit: u32,
    number: fn(&Call) -> Option<u32>,
    x32: bool,
}

/// A kernel runs only the ABIs of its own family, so the filter holds all four and one fits.
const ABIS: [Abi; 4] = [
    Abi { audit: AUDIT_X86_64, number: |call| call.x86_64, x32: true },
    Abi { audit: AUDIT_I386, number: |call| call.i386, x32: false },
    Abi { audit: AUDIT_AARCH64, number: |call| call.aarch64, x32: false },
    Abi { audit: AUDIT_ARM, number: |call| call.arm, x32: false },
];

const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER_EQUAL: u16 = 0x35;
const JUMP_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const INSTRUCTION: u32 = 8;
const ALLOW: u32 = 0x7FFF_0000;
const HAND_OVER: u32 = 0x7FC0_0000;

/// The low half of an argument.
const fn argument(index: u32) -> u32 {
    16 + 8 * index + if cfg!(target_endian = "big") { 4 } else { 0 }
}

const fn refuse(errno: u16) -> u32 {
    0x0005_0000 | errno as u32
}

#[derive(Default)]
struct Code(Vec<Instruction>);

impl Code {
    fn push(&mut self, code: u16, value: u32) {
        self.0.push(Instruction { code, jump_true: 0, jump_false: 0, value });
    }

    /// Returns `verdict` if the test holds, else goes on.
    fn when(&mut self, test: u16, value: u32, verdict: u32) {
        self.0.push(Instruction { code: test, jump_true: 0, jump_false: 1, value });
        self.push(RETURN, verdict);
    }

    /// The rules of one ABI; control goes on behind them if the call is of another.
    fn abi(&mut self, abi: &Abi) {
        self.push(LOAD, ARCHITECTURE);
        self.0.push(Instruction { code: JUMP_EQUAL, jump_true: 1, jump_false: 0, value: abi.audit });
        let skip = self.0.len();
        self.push(JUMP, 0);
        self.rules(abi);
        self.push(RETURN, ALLOW);
        let distance = self.0.len() - skip - 1;
        self.0[skip].value = u32::try_from(distance).expect("a filter is a few hundred instructions");
    }

    fn rules(&mut self, abi: &Abi) {
        self.push(LOAD, NUMBER);
        if abi.x32 {
            self.when(JUMP_GREATER_EQUAL, X32_BIT, refuse(ENOSYS));
        }
        for rule in &RULES {
            for number in rule.calls.iter().filter_map(abi.number) {
                self.rule(number, rule.when, refuse(rule.errno));
            }
        }
    }

    /// One rule for one call. The number of the call is loaded before and after.
    fn rule(&mut self, number: u32, when: When, verdict: u32) {
        match when {
            When::Always => self.when(JUMP_EQUAL, number, verdict),
            When::Equal { argument, values } => self.argument(number, argument, JUMP_EQUAL, values, verdict),
            When::AnyBit { argument, bits } => {
                self.argument(number, argument, JUMP_ANY_BIT, &[bits], verdict)
            }
        }
    }

    /// Hands a call over unless all arguments have these values.
    fn unless(&mut self, number: u32, values: &[(u32, u32)]) {
        let length = u8::try_from(3 * values.len() + 1).expect("a few tests");
        self.0.push(Instruction { code: JUMP_EQUAL, jump_true: 0, jump_false: length, value: number });
        for (index, value) in values {
            self.push(LOAD, argument(*index));
            self.0.push(Instruction { code: JUMP_EQUAL, jump_true: 1, jump_false: 0, value: *value });
            self.push(RETURN, HAND_OVER);
        }
        self.push(RETURN, ALLOW);
    }

    /// Hands a call over if every condition holds, and allows it otherwise.
    fn all(&mut self, number: u32, conditions: &[When]) {
        let tests = conditions.iter().map(|when| match when {
            When::Always => (vec![], 0, JUMP_EQUAL),
            When::Equal { argument, values } => (values.to_vec(), *argument, JUMP_EQUAL),
            When::AnyBit { argument, bits } => (vec![*bits], *argument, JUMP_ANY_BIT),
        });
        let mut body = Code::default();
        for (values, index, test) in tests.filter(|(values, ..)| !values.is_empty()) {
            body.push(LOAD, argument(index));
            let count = u8::try_from(values.len()).expect("a few values");
            for (at, value) in (1..=count).zip(&values) {
                // To behind the return that follows the last of them.
                body.0.push(Instruction {
                    code: test,
                    jump_true: count - at + 1,
                    jump_false: 0,
                    value: *value,
                });
            }
            body.push(RETURN, ALLOW);
        }
        body.push(RETURN, HAND_OVER);
        let length = u8::try_from(body.0.len()).expect("a few tests");
        self.0.push(Instruction { code: JUMP_EQUAL, jump_true: 0, jump_false: length, value: number });
        self.0.extend(body.0);
    }

    /// Allows a call from a place; asks for its number first, so that the kernel need not look at other calls.
    fn but_from(&mut self, place: Place) {
        let Ok(number) = u32::try_from(place.call) else { return };
        let halves = [(0, place.behind & 0xFFFF_FFFF), (4, place.behind >> 32)];
        let [low, high] = halves.map(|(at, half)| {
            // The same order of halves as in arguments.
            let at = if cfg!(target_endian = "big") { 4 - at } else { at };
            (INSTRUCTION + at, u32::try_from(half).expect("half of the bits"))
        });
        let test =
            |value: u32, skip: u8| Instruction { code: JUMP_EQUAL, jump_true: 0, jump_false: skip, value };
        self.0.push(test(number, 6));
        self.push(LOAD, low.0);
        self.0.push(test(low.1, 3));
        self.push(LOAD, high.0);
        self.0.push(test(high.1, 1));
        self.push(RETURN, ALLOW);
        self.push(LOAD, NUMBER);
    }

    /// Refuses a call if one of its arguments passes one of the tests, and allows it otherwise.
    fn argument(&mut self, number: u32, index: u32, test: u16, values: &[u32], verdict: u32) {
        let length = u8::try_from(2 * values.len() + 2).expect("a few tests");
        self.0.push(Instruction { code: JUMP_EQUAL, jump_true: 0, jump_false: length, value: number });
        self.push(LOAD, argument(index));
        for value in values {
            self.when(test, *value, verdict);
        }
        self.push(RETURN, ALLOW);
    }
}

#[cfg(test)]
mod tests {
    use super::super::policy::{AF_ALG, AF_VSOCK, CLONE_NAMESPACES, EPERM, SYS_SOCKET, TIOCLINUX, TIOCSTI};
    use super::*;

    /// What the kernel would do with a call: seccomp's verdict.
    fn verdict(audit: u32, number: u32, arguments: [u32; 2]) -> u32 {
        let data = |offset: u32| match offset {
            NUMBER => number,
            ARCHITECTURE => audit,
            o if o == argument(0) => arguments[0],
            o if o == argument(1) => arguments[1],
            o => panic!("load from {o}"),
        };
        run(&program(), data)
    }

    /// What a program returns for a call of these words.
    fn run(program: &[Instruction], data: impl Fn(u32) -> u32) -> u32 {
        let (mut at, mut register) = (0_usize, 0);
        loop {
            let Instruction { code, jump_true, jump_false, value } = program[at];
            at += 1;
            let holds = match code {
                LOAD => {
                    register = data(value);
                    continue;
                }
                RETURN => return value,
                JUMP => {
                    at += value as usize;
                    continue;
                }
                JUMP_EQUAL => register == value,
                JUMP_GREATER_EQUAL => register >= value,
                JUMP_ANY_BIT => register & value != 0,
                other => panic!("instruction {other:#x}"),
            };
            at += usize::from(if holds { jump_true } else { jump_false });
        }
    }

    const NO: u32 = refuse(EPERM);

    #[test]
    fn refuses_alike_on_every_abi() {
        for (audit, [socket, keyctl, ioctl, clone, write]) in [
            (AUDIT_X86_64, [41, 250, 16, 56, 1]),
            (AUDIT_I386, [359, 288, 54, 120, 4]),
            (AUDIT_AARCH64, [198, 219, 29, 220, 64]),
            (AUDIT_ARM, [281, 311, 54, 120, 4]),
        ] {
            assert_eq!(verdict(audit, socket, [AF_ALG, 5]), NO);
            assert_eq!(verdict(audit, socket, [AF_VSOCK, 1]), NO);
            assert_eq!(verdict(audit, socket, [2, 1]), ALLOW);
            assert_eq!(verdict(audit, keyctl, [0, 0]), NO);
            assert_eq!(verdict(audit, ioctl, [0, TIOCSTI]), NO);
            assert_eq!(verdict(audit, ioctl, [TIOCSTI, 0x5401]), ALLOW);
            assert_eq!(verdict(audit, clone, [0x1000_0011, 0]), NO);
            assert_eq!(verdict(audit, clone, [0x11, 0]), ALLOW);
            assert_eq!(verdict(audit, 435, [0, 0]), refuse(ENOSYS));
            assert_eq!(verdict(audit, 425, [0, 0]), NO);
            assert_eq!(verdict(audit, write, [1, 0]), ALLOW);
        }
    }

    #[test]
    fn what_comes_from_some_places_is_not_handed_over() {
        let native = if cfg!(target_arch = "aarch64") { AUDIT_AARCH64 } else { AUDIT_X86_64 };
        let places = [0x7FFF_F7FE_9C97, 0x7FFF_F7FE_9CBA].map(|behind| Place { call: 5, behind });
        let calls = [5, 6].map(|number| Handed::always(number).unwrap());
        let filter = hand_over(&calls, &places);
        let of = |number: u32, from: u64| {
            run(&filter, |offset| match offset {
                NUMBER => number,
                ARCHITECTURE => native,
                INSTRUCTION => u32::try_from(from & 0xFFFF_FFFF).unwrap(),
                o if o == INSTRUCTION + 4 => u32::try_from(from >> 32).unwrap(),
                o => panic!("load from {o}"),
            })
        };
        for place in &places {
            assert_eq!(of(5, place.behind), ALLOW);
            assert_eq!(of(6, place.behind), HAND_OVER, "another call");
            for other in [place.behind - 1, place.behind ^ 1 << 40] {
                assert_eq!(of(5, other), HAND_OVER);
            }
        }
        assert_eq!(of(7, 0), ALLOW);
        // Other calls are let go by their number alone, which the kernel remembers.
        let by_number = run(&filter, |offset| match offset {
            NUMBER => 7,
            ARCHITECTURE => native,
            o => panic!("load from {o}"),
        });
        assert_eq!(by_number, ALLOW);
    }

    #[test]
    fn refuses_abis_without_a_table() {
        assert_eq!(verdict(AUDIT_X86_64, X32_BIT | 1, [0, 0]), refuse(ENOSYS));
        assert_eq!(verdict(AUDIT_X86_64, u32::MAX, [0, 0]), refuse(ENOSYS));
        assert_eq!(verdict(0xC000_00F3, 64, [0, 0]), refuse(ENOSYS));
        assert_eq!(verdict(AUDIT_I386, 102, [SYS_SOCKET, 0]), refuse(ENOSYS));
        assert_eq!(verdict(AUDIT_I386, 102, [3, 0]), ALLOW);
    }

    /// Whoever changes what a step may call changes the file on purpose: `LITH_BLESS=1` writes it anew. It holds a line
    /// for each call of each ABI, and one for numbers that no kernel uses yet.
    #[test]
    fn the_surface_is_as_written_down() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/sandbox/syscalls.txt");
        let expected = std::fs::read_to_string(path).unwrap();
        let actual: String = expected.lines().map(surface).collect();
        #[expect(clippy::disallowed_methods, reason = "asks the person at the keyboard, not the build")]
        if std::env::var_os("LITH_BLESS").is_some() {
            std::fs::write(path, &actual).unwrap();
            return;
        }
        for (actual, expected) in actual.lines().zip(expected.lines()) {
            assert_eq!(actual, expected);
        }
        // Nothing that the filter names is left out.
        for (abi, name) in ABIS.iter().zip(["x86_64", "i386", "aarch64", "arm"]) {
            let calls = RULES.iter().flat_map(|rule| rule.calls);
            for number in calls.filter_map(abi.number) {
                assert!(expected.contains(&format!("\n{name} {number} ")), "{name} {number}");
            }
        }
    }

    /// The line of one call, with all answers that some argument gets.
    fn surface(line: &str) -> String {
        let fields: Vec<&str> = line.split(' ').collect();
        let audit = match fields[0] {
            "x86_64" | "x32" => AUDIT_X86_64,
            "i386" => AUDIT_I386,
            "aarch64" => AUDIT_AARCH64,
            "arm" => AUDIT_ARM,
            other => panic!("no ABI {other}"),
        };
        let number: u32 = fields[1].parse().unwrap();
        let number = if fields[0] == "x32" { number | X32_BIT } else { number };
        let values = [0, SYS_SOCKET, AF_ALG, AF_VSOCK, TIOCSTI, TIOCLINUX, CLONE_NAMESPACES];
        let mut answers: Vec<&str> = Vec::new();
        for first in values {
            for second in values {
                let answer = match verdict(audit, number, [first, second]) {
                    ALLOW => "allow",
                    NO => "EPERM",
                    other if other == refuse(ENOSYS) => "ENOSYS",
                    other => panic!("verdict {other:#x}"),
                };
                if !answers.contains(&answer) {
                    answers.push(answer);
                }
            }
        }
        format!("{} {} {} {}\n", fields[0], fields[1], fields[2], answers.join("|"))
    }

    #[test]
    fn fits_the_kernel() {
        assert!(program().len() < 4096);
    }
}
