//! Programs at the moment they begin (spec/world.md, "Programs").
//!
//! Before a program does anything of its own it tells the kernel where its threads' data are. It waits then, with all of
//! its memory in place and nothing of it used, and gets its clock and its randomness. Nobody is traced for that.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use rustix::fs::OFlags;

use crate::sys;
use crate::sys::seccomp::Notification;

use super::super::filter::Asked;
use super::super::policy::When;
use super::super::supervisor::{Calls, number};
use super::clock::Clock;
use super::entropy::{Streams, Tag, auxiliary_value, number_from, place_of_tag};
use super::library::{self, Libraries};
use super::stack::{AT_SYSINFO_EHDR, Stack};
use super::vdso::{self, FIRST, Own, Patch};

/// The call by which a program is known to begin. C libraries, and languages without one, make it first of all.
#[cfg(target_arch = "x86_64")]
pub(super) const BEGINS: (libc::c_long, Asked) = {
    /// `ARCH_SET_FS` (asm/prctl.h).
    const SET_FS: &[u32] = &[0x1002];
    (libc::SYS_arch_prctl, Asked::When(When::Equal { argument: 0, values: SET_FS }))
};
#[cfg(not(target_arch = "x86_64"))]
pub(super) const BEGINS: (libc::c_long, Asked) = (libc::SYS_set_tid_address, Asked::When(When::Always));

pub(super) struct Programs {
    clock: Clock,
    libraries: Libraries,
    seeded: bool,
    /// Whether each program counts its readings of the clock.
    ticks: bool,
    /// What is written to a program that has nothing of its own.
    patch: Option<Patch>,
}

/// A program's clock could not be changed: it sees the real one.
pub(super) struct Unchanged;

impl Programs {
    pub(super) fn new(clock: &Clock, seeded: bool, ticks: bool) -> Self {
        let libraries = Libraries::new(library::Code::new(clock, root_device()));
        let patch = patch(clock, seeded, None, libraries.code());
        Self { clock: *clock, libraries, seeded, ticks, patch }
    }

    /// Gives a program its clock and its randomness, if it has just begun.
    pub(super) fn begin(
        &mut self,
        calls: &Calls,
        call: Notification,
        random: Option<&mut Streams>,
    ) -> Result<(), Unchanged> {
        let Ok(process) = number(call) else { return Ok(()) };
        let stack = match Stack::of(process) {
            Some(stack) => stack,
            None => Stack::read(calls, call).map_err(|_| Unchanged)?,
        };
        let code = Code::open(calls, call, &stack, self.patch.as_ref())?;
        if code.as_ref().is_some_and(|code| code.is_changed) {
            // It, or the one that forked it, began before.
            return Ok(());
        }
        let tag = random
            .zip(place_of_tag(&stack.auxiliary))
            .map(|(random, place)| random.begin(process, place, &description(calls, call, &stack.arguments)));
        let Some(Code { memory, base, .. }) = code else { return Ok(()) };
        let own = self.own(&stack, tag);
        let own = own.and_then(|own| patch(&self.clock, self.seeded, Some(own), self.libraries.code()));
        let Some(patch) = own.as_ref().or(self.patch.as_ref()) else { return Ok(()) };
        // As a debugger sets a breakpoint: the process gets a page of its own.
        memory.write_all_at(&patch.code, base + patch.offset).map_err(|_| Unchanged)?;
        if let Some(guest) = patch.guest {
            let _ = self.libraries.lead(calls, call, &stack.auxiliary, &memory, base + guest);
        }
        Ok(())
    }

    /// What a program has for itself, if it needs anything and there is a place for it.
    fn own(&self, stack: &Stack, tag: Option<Tag>) -> Option<Own> {
        let first = tag.map(|tag| FIRST.start + number_from(&tag) % (FIRST.end - FIRST.start));
        if !self.ticks && first.is_none() {
            return None;
        }
        Some(Own { word: stack.unused?, ticks: self.ticks, first })
    }
}

/// The kernel's code in the memory of a program.
struct Code {
    memory: File,
    base: u64,
    is_changed: bool,
}

impl Code {
    /// `None` if there is none of it, or nothing is to be changed in it.
    fn open(
        calls: &Calls,
        call: Notification,
        stack: &Stack,
        patch: Option<&Patch>,
    ) -> Result<Option<Self>, Unchanged> {
        let base = auxiliary_value(&stack.auxiliary, AT_SYSINFO_EHDR);
        let Some((base, patch)) = base.zip(patch) else { return Ok(None) };
        let memory = calls.processes.open_at(&format!("{}/mem", call.pid), OFlags::RDWR);
        let memory = File::from(memory.map_err(|_| Unchanged)?);
        let mut found = [0; vdso::ALIKE];
        memory.read_exact_at(&mut found, base + patch.offset).map_err(|_| Unchanged)?;
        let is_changed = patch.code.starts_with(&found);
        Ok(Some(Self { memory, base, is_changed }))
    }
}

fn patch(clock: &Clock, seeded: bool, own: Option<Own>, guest: &[u8]) -> Option<Patch> {
    vdso::patch(sys::memory::vdso()?, clock.second(), seeded, own, guest)
}

/// The device of the root of this process, which is the step's.
fn root_device() -> u64 {
    rustix::fs::stat("/").map_or(0, |root| root.st_dev)
}

/// What a program is: where it runs, which file it prints to, and its arguments.
fn description(calls: &Calls, call: Notification, arguments: &[u8]) -> Vec<u8> {
    let link = |name: &str| {
        let target = rustix::fs::readlinkat(&calls.processes, format!("{}/{name}", call.pid), Vec::new());
        target.map(std::ffi::CString::into_bytes).unwrap_or_default()
    };
    let is_file = |target: &Vec<u8>| target.starts_with(b"/");
    // Pipes and sockets are called by numbers that are new each time.
    let output = Some(link("fd/1")).filter(is_file).unwrap_or_default();
    [link("cwd"), lasting(&output), lasting(arguments)].join(&0)
}

/// Words without those that name something in a directory for temporary files. mkstemp(3) of the GNU C library before
/// 2.37 draws such names from the clock of durations, which runs, unless it is a program's first reading of it; a key that is
/// made with one beside must not follow from it.
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
