//! Programs at the moment they begin (spec/world.md, "Programs").
//!
//! Before a program does anything of its own it tells the kernel where its threads' data are. It waits then, with all of
//! its memory in place and nothing of it used, and gets its clock and its randomness. Nobody is traced for that.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use rustix::fs::OFlags;
use rustix::process::Pid;

use crate::sys;
use crate::sys::seccomp::Notification;

use super::super::filter::Asked;
use super::super::policy::When;
use super::super::supervisor::{Calls, number};
use super::clock::Clock;
use super::entropy::{Streams, auxiliary_value, place_of_tag};
use super::library::{self, Libraries};
use super::stack::{AT_SYSINFO_EHDR, Stack};
use super::vdso::{self, Patch};

/// The call by which a program is known to begin. C libraries, and languages without one, make it first of all.
#[cfg(target_arch = "x86_64")]
pub(super) const BEGINS: (libc::c_long, Asked) = {
    /// `ARCH_SET_FS` (asm/prctl.h).
    const SET_FS: &[u32] = &[0x1002];
    (libc::SYS_arch_prctl, Asked::When(When::Equal { argument: 0, values: SET_FS }))
};
#[cfg(not(target_arch = "x86_64"))]
pub(super) const BEGINS: (libc::c_long, Asked) = (libc::SYS_set_tid_address, Asked::When(When::Always));

/// Where its name is.
const AT_EXECFN: u64 = 31;

pub(super) struct Programs {
    clock: Clock,
    libraries: Libraries,
    seeded: bool,
    /// Whether each program counts its readings of the clock.
    ticks: bool,
    /// What is written to every program, if none counts.
    patch: Option<Patch>,
}

/// A program's clock could not be changed: it sees the real one.
pub(super) struct Unchanged;

impl Programs {
    pub(super) fn new(clock: &Clock, seeded: bool, ticks: bool) -> Self {
        let patch = patch(clock, seeded, None);
        Self { clock: *clock, libraries: Libraries::default(), seeded, ticks, patch }
    }

    /// Gives a program its clock and its randomness, if it has just begun.
    pub(super) fn begin(
        &mut self,
        calls: &Calls,
        call: Notification,
        random: Option<&mut Streams>,
    ) -> Result<(), Unchanged> {
        let Ok(process) = number(call) else { return Ok(()) };
        let stack = Stack::of(process);
        let auxiliary = match &stack {
            Some(stack) => stack.auxiliary.clone(),
            None => calls.processes.read_short(&format!("{}/auxv", call.pid)).map_err(|_| Unchanged)?,
        };
        if let Some(base) = auxiliary_value(&auxiliary, AT_SYSINFO_EHDR) {
            let counter = if self.ticks { counter(process, &auxiliary) } else { None };
            let own = counter.and_then(|counter| patch(&self.clock, self.seeded, Some(counter)));
            if let Some(patch) = own.as_ref().or(self.patch.as_ref()) {
                let memory = calls.processes.open_at(&format!("{}/mem", call.pid), OFlags::RDWR);
                let memory = File::from(memory.map_err(|_| Unchanged)?);
                let mut found = vec![0; patch.code.len()];
                memory.read_exact_at(&mut found, base + patch.offset).map_err(|_| Unchanged)?;
                if found == patch.code {
                    // It, or the one that forked it, began before.
                    return Ok(());
                }
                // As a debugger sets a breakpoint: the process gets a page of its own.
                memory.write_all_at(&patch.code, base + patch.offset).map_err(|_| Unchanged)?;
                if let Some(code) = patch.guest {
                    let _ = self.libraries.lead(calls, call, &auxiliary, &memory, base + code);
                }
            }
        }
        if let (Some(random), Some(place)) = (random, place_of_tag(&auxiliary)) {
            let arguments = stack.map(|stack| stack.arguments);
            random.begin(process, place, &description(calls, call, arguments));
        }
        Ok(())
    }
}

fn patch(clock: &Clock, seeded: bool, counter: Option<u64>) -> Option<Patch> {
    vdso::patch(sys::memory::vdso()?, clock.second(), seeded, counter, &library::code(clock.start()))
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
fn description(calls: &Calls, call: Notification, arguments: Option<Vec<u8>>) -> Vec<u8> {
    let pid = call.pid;
    let read = || calls.processes.read(&format!("{pid}/cmdline")).unwrap_or_default();
    let arguments = lasting(&arguments.unwrap_or_else(read));
    let directory = rustix::fs::readlinkat(&calls.processes, format!("{pid}/cwd"), Vec::new());
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
