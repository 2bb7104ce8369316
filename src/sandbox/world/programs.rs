//! Programs at the moment they begin (spec/world.md, "Programs").
//!
//! Whoever calls execve(2) is attached to before the kernel goes on, stops when the new program is loaded and has not run
//! yet, gets its clock and its randomness, and is let go. Nothing is traced before or after that: programs may trace each
//! other. One that another traces already cannot be attached to, and keeps the clock that is so.

use std::collections::HashSet;
use std::os::unix::fs::FileExt as _;

use rustix::fs::OFlags;
use rustix::process::Pid;

use crate::sys;
use crate::sys::seccomp::Notification;
use crate::sys::trace;

use super::super::supervisor::{Calls, let_go, number};
use super::clock::Clock;
use super::entropy::{Streams, auxiliary_value, place_of_tag};
use super::vdso::{self, Patch};

/// Where the kernel says its code is (getauxval(3)).
const AT_SYSINFO_EHDR: u64 = 33;
/// Where its name is.
const AT_EXECFN: u64 = 31;

pub(super) struct Programs {
    clock: Clock,
    seeded: bool,
    /// Whether each program counts its readings of the clock.
    ticks: bool,
    /// What is written to every program, if none counts.
    patch: Option<Patch>,
    /// Threads that were attached to.
    attached: HashSet<Pid>,
}

/// Another one traces the program.
pub(super) struct Traced;

impl Programs {
    pub(super) fn new(clock: &Clock, seeded: bool, ticks: bool) -> Self {
        Self { clock: *clock, seeded, ticks, patch: patch(clock, seeded, None), attached: HashSet::new() }
    }

    /// A thread is about to execute a program.
    pub(super) fn will_execute(&mut self, call: Notification) -> Result<(), Traced> {
        let Ok(thread) = number(call) else { return Ok(()) };
        // An execution that failed before leaves the thread attached to.
        if self.attached.contains(&thread) {
            return Ok(());
        }
        trace::seize(thread).map_err(|_| Traced)?;
        self.attached.insert(thread);
        Ok(())
    }

    /// A thread that was attached to stopped. It is let go, whatever for: a signal that it got instead of a program is
    /// delivered, and the next time it executes one is another time.
    pub(super) fn stopped(&mut self, calls: &Calls, thread: Pid, status: i32, random: Option<&mut Streams>) {
        let known = self.attached.remove(&thread);
        if trace::stop(status).0 == trace::EXECUTED {
            // Another thread than the first has become the process.
            if !known && let Ok(Some(former)) = trace::former_number(thread) {
                self.attached.remove(&former);
            }
            self.begin(calls, thread, random);
        }
        let_go(thread, status);
    }

    pub(super) fn ended(&mut self, process: Pid) {
        self.attached.remove(&process);
    }

    /// Gives a program its clock and its randomness. One of another ABI has words of another size there, and nothing is
    /// found.
    fn begin(&self, calls: &Calls, process: Pid, random: Option<&mut Streams>) {
        let pid = process.as_raw_pid();
        let Ok(auxiliary) = calls.processes.read_short(&format!("{pid}/auxv")) else { return };
        if let Some(base) = auxiliary_value(&auxiliary, AT_SYSINFO_EHDR) {
            let memory = calls.processes.open_at(&format!("{pid}/mem"), OFlags::RDWR);
            let counter = if self.ticks { counter(process, &auxiliary) } else { None };
            let own = counter.and_then(|counter| patch(&self.clock, self.seeded, Some(counter)));
            let patch = own.as_ref().or(self.patch.as_ref());
            if let (Ok(memory), Some(Patch { offset, code })) = (memory.map(std::fs::File::from), patch) {
                // As a debugger sets a breakpoint: the process gets a page of its own.
                let _ = memory.write_all_at(code, base + offset);
            }
        }
        if let (Some(random), Some(place)) = (random, place_of_tag(&auxiliary)) {
            let _ = sys::memory::write(process, place, &random.begin(&description(calls, pid)));
        }
    }
}

fn patch(clock: &Clock, seeded: bool, counter: Option<u64>) -> Option<Patch> {
    vdso::patch(sys::memory::vdso()?, clock.second(), seeded, counter)
}

/// A word that a program may write to and that nobody uses: the eight zero bytes that end its stack, behind its own name.
fn counter(process: Pid, auxiliary: &[u8]) -> Option<u64> {
    const LONGEST: usize = 4096;
    let name = auxiliary_value(auxiliary, AT_EXECFN)?;
    let mut bytes = vec![0; LONGEST];
    let count = sys::memory::read(process, name, &mut bytes).ok()?;
    let end = bytes[..count].iter().position(|byte| *byte == 0)?;
    let word = bytes.get(end + 1..end + 9).filter(|_| end + 9 <= count)?;
    (word == [0; 8]).then_some(name + end as u64 + 1)
}

/// What a program is: its arguments, and where it runs.
fn description(calls: &Calls, pid: i32) -> Vec<u8> {
    let arguments = lasting(&calls.processes.read(&format!("{pid}/cmdline")).unwrap_or_default());
    let directory = calls.processes.open_at(&format!("{pid}/cwd"), OFlags::PATH | OFlags::NOFOLLOW);
    let directory = directory.and_then(|link| rustix::fs::readlinkat(link, c"", Vec::new()));
    let directory = directory.map(std::ffi::CString::into_bytes).unwrap_or_default();
    [directory, arguments].join(&0)
}

/// Arguments without those that name something in a directory for temporary files. mkstemp(3) of the GNU C library before
/// 2.37 draws such names from the clock of durations, which runs; a key that is made with one beside must not follow from it.
fn lasting(arguments: &[u8]) -> Vec<u8> {
    let is_temporary = |argument: &[u8]| argument.windows(5).any(|part| part == b"/tmp/");
    let lasting: Vec<&[u8]> =
        arguments.split(|byte| *byte == 0).filter(|argument| !is_temporary(argument)).collect();
    lasting.join(&0)
}

/// The command of the process that makes a call, its arguments joined, for people.
pub(super) fn command(calls: &Calls, call: Notification) -> Option<String> {
    const SHOWN: usize = 120;
    let arguments = calls.processes.read(&format!("{}/cmdline", call.pid)).ok()?;
    let words: Vec<String> =
        arguments.split(|byte| *byte == 0).filter(|word| !word.is_empty()).map(crate::diag::escape).collect();
    let text: String = words.join(" ").chars().take(SHOWN).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::lasting;

    #[test]
    fn temporary_names_do_not_describe_a_program() {
        let of = |text: &[u8]| String::from_utf8(lasting(text)).unwrap();
        let one = of(b"openssl\0req\0-config\0/tmp/tmp.4fXq\0-keyout\0/key\0");
        assert_eq!(one, of(b"openssl\0req\0-config\0/var/tmp/x\0-keyout\0/key\0"));
        assert_eq!(one, "openssl\0req\0-config\0-keyout\0/key\0");
        assert_ne!(of(b"cc\0a.c\0"), of(b"cc\0b.c\0"));
    }
}
