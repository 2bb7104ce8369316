//! What the kernel has put on the stack of a program that begins: its arguments, its environment, and the auxiliary vector
//! (getauxval(3)). Where layouts are fixed it ends where every stack ends, and is had by one call instead of by files of
//! `/proc` that are made for each program anew.

use rustix::process::Pid;

use crate::sys;
use crate::sys::seccomp::Notification;

use super::super::supervisor::{Calls, number};
use super::entropy::auxiliary_value;

/// Where the kernel says its code is: the first of the vector, where there is such code.
pub(super) const AT_SYSINFO_EHDR: u64 = 33;

/// Where the program's name is.
const AT_EXECFN: u64 = 31;

/// Where stacks end, unless addresses are random.
#[cfg(target_arch = "x86_64")]
const TOP: u64 = 0x7FFF_FFFF_F000;
#[cfg(not(target_arch = "x86_64"))]
const TOP: u64 = 1 << 48;
/// As much as most programs get.
const SIZE: usize = 12 << 10;
const WORD: usize = 8;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stack {
    /// Kinds and values, of eight bytes each.
    pub auxiliary: Vec<u8>,
    /// Each with a zero byte behind it, as in `/proc/PID/cmdline`.
    pub arguments: Vec<u8>,
    /// Where the eight bytes are that end it: zeroes that nobody uses.
    pub unused: Option<u64>,
}

impl Stack {
    /// From `/proc`, whatever it is like.
    pub(super) fn read(calls: &Calls, call: Notification) -> rustix::io::Result<Self> {
        let auxiliary = calls.processes.read_short(&format!("{}/auxv", call.pid))?;
        let arguments = calls.processes.read(&format!("{}/cmdline", call.pid))?;
        let unused = unused_word(number(call)?, &auxiliary);
        Ok(Self { auxiliary, arguments, unused })
    }

    /// By one look; `None` if it is larger, or elsewhere.
    pub(super) fn of(process: Pid) -> Option<Self> {
        let mut bytes = vec![0; SIZE];
        let count = sys::memory::read(process, TOP - SIZE as u64, &mut bytes).ok()?;
        if count == SIZE { parse(&bytes, TOP) } else { None }
    }
}

/// `bytes` lie below `top`.
fn parse(bytes: &[u8], top: u64) -> Option<Stack> {
    let (start, end) = vector(bytes)?;
    let word = |at: usize| word(bytes, at);
    let before = |at: usize| at.checked_sub(WORD);
    // Pointers to what is in the environment, and a zero, lie before the vector.
    let mut at = before(start).filter(|at| word(*at) == Some(0))?;
    loop {
        at = before(at)?;
        if word(at)? == 0 {
            break;
        }
    }
    // Before that zero are those to arguments, and before them is their number.
    let mut arguments = Vec::new();
    for count in 0_u64.. {
        at = before(at)?;
        let pointer = word(at)?;
        if pointer == count {
            break;
        }
        let base = top - bytes.len() as u64;
        let text = bytes.get(usize::try_from(pointer.checked_sub(base)?).ok()?..)?;
        let length = text.iter().position(|byte| *byte == 0)?;
        arguments.push(&text[..=length]);
    }
    arguments.reverse();
    let unused = bytes.ends_with(&[0; WORD]).then_some(top - WORD as u64);
    Some(Stack { auxiliary: bytes[start..end].to_vec(), arguments: arguments.concat(), unused })
}

/// Where the auxiliary vector begins and ends.
fn vector(bytes: &[u8]) -> Option<(usize, usize)> {
    /// There are fewer kinds, and fewer entries.
    const KINDS: u64 = 64;
    let is_start = |at: &usize| {
        word(bytes, *at) == Some(AT_SYSINFO_EHDR)
            && word(bytes, at + WORD).is_some_and(|place| place != 0 && place % 4096 == 0)
    };
    (0..bytes.len()).step_by(WORD).filter(is_start).find_map(|start| {
        let kinds = (start..bytes.len()).step_by(2 * WORD).map(|at| (at, word(bytes, at)));
        let mut kinds = kinds.take_while(|(_, kind)| kind.is_some_and(|kind| kind < KINDS));
        kinds.find(|(_, kind)| *kind == Some(0)).map(|(at, _)| (start, at))
    })
}

/// The eight zero bytes that end a stack, behind the name of its program.
fn unused_word(process: Pid, auxiliary: &[u8]) -> Option<u64> {
    const LONGEST: usize = 4096;
    let name = auxiliary_value(auxiliary, AT_EXECFN)?;
    let mut bytes = vec![0; LONGEST];
    let count = sys::memory::read(process, name, &mut bytes).ok()?;
    let end = bytes[..count].iter().position(|byte| *byte == 0)?;
    let word = bytes.get(end + 1..end + 9).filter(|_| end + 9 <= count)?;
    (word == [0; 8]).then_some(name + end as u64 + 1)
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at.checked_add(WORD)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: u64 = 0x10_0000;

    /// As the kernel lays it out; `shift` words more are below.
    fn laid_out(arguments: &[&str], environment: &[&str], shift: usize) -> Vec<u8> {
        let strings: String =
            arguments.iter().chain(environment).map(|text| format!("{text}\0")).collect::<String>()
                + "/bin/x\0";
        let mut place = TOP - WORD as u64 - strings.len() as u64;
        let mut pointers = Vec::new();
        for text in arguments.iter().chain(environment) {
            pointers.push(place);
            place += text.len() as u64 + 1;
        }
        let (of_arguments, of_environment) = pointers.split_at(arguments.len());
        let mut words = vec![7; shift];
        words.push(arguments.len() as u64);
        words.extend(of_arguments);
        words.push(0);
        words.extend(of_environment);
        words.push(0);
        let vector = [AT_SYSINFO_EHDR, 0x7000, 51, 1, 25, 99, 0, 0];
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        bytes.extend(vector.iter().flat_map(|word| word.to_ne_bytes()));
        let end = strings.len() + WORD;
        bytes.resize((bytes.len() + end).next_multiple_of(WORD) - end, 0);
        bytes.extend(strings.as_bytes());
        bytes.extend([0; WORD]);
        bytes
    }

    #[test]
    fn what_the_kernel_laid_out_is_found() {
        for shift in [0, 1, 40] {
            let stack =
                parse(&laid_out(&["cc", "-c", "", "a.c"], &["A=b", "PATH=/bin"], shift), TOP).unwrap();
            assert_eq!(stack.arguments, b"cc\0-c\0\0a.c\0");
            assert_eq!(stack.unused, Some(TOP - 8));
            let words: Vec<u64> = (0..6).map(|at| word(&stack.auxiliary, at * WORD).unwrap()).collect();
            assert_eq!((words, stack.auxiliary.len()), (vec![AT_SYSINFO_EHDR, 0x7000, 51, 1, 25, 99], 48));
        }
        assert_eq!(parse(&laid_out(&[], &[], 0), TOP).unwrap().arguments, b"");
    }

    #[test]
    fn what_is_cut_or_something_else_is_not() {
        let whole = laid_out(&["cc", "-c"], &["A=b"], 0);
        for cut in (16..whole.len()).step_by(16) {
            assert_eq!(parse(&whole[cut..], TOP).map(|stack| stack.arguments), None, "{cut}");
        }
        for bytes in [vec![], vec![0; 4096], vec![33; 4096]] {
            assert_eq!(parse(&bytes, TOP), None);
        }
    }

    /// That of a real program agrees with what the kernel says of it.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_real_one_agrees_with_proc() {
        use std::fs::{read, read_link};
        use std::process::Command;
        use std::time::Duration;

        let mut program = Command::new("setarch").args(["-R", "sleep", "1000"]).env_clear().spawn().unwrap();
        let place = format!("/proc/{}", program.id());
        let process = Pid::from_raw(i32::try_from(program.id()).unwrap()).unwrap();
        // Its name is told before its stack is there.
        let is_there = || {
            let name = read_link(format!("{place}/exe")).unwrap_or_default();
            (name.ends_with("sleep") || name.ends_with("coreutils")) && Stack::of(process).is_some()
        };
        let waited = (0..4000).find(|_| {
            is_there() || {
                std::thread::sleep(Duration::from_millis(5));
                false
            }
        });
        assert!(waited.is_some());
        let stack = Stack::of(process);
        let (vector, arguments) =
            (read(format!("{place}/auxv")).unwrap(), read(format!("{place}/cmdline")).unwrap());
        program.kill().unwrap();
        program.wait().unwrap();
        let stack = stack.unwrap();
        assert_eq!(stack.arguments, arguments);
        assert!(vector.starts_with(&stack.auxiliary));
        assert!(vector[stack.auxiliary.len()..].iter().all(|byte| *byte == 0));
    }
}
