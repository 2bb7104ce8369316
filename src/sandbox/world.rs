//! A world that is the same wherever a program runs (spec/world.md): which calls are answered, and how.
//!
//! Owns: the table of calls. Whatever cannot be answered is left to the kernel: a program then sees what is so, and never
//! an error that it would not have met.

mod callers;
mod clock;
mod draws;
mod entropy;
#[cfg(target_arch = "x86_64")]
mod instructions;
mod library;
mod listing;
mod loader;
mod machine;
mod memory;
mod programs;
mod space;
mod stack;
mod times;
mod vdso;
mod waits;

use std::os::fd::BorrowedFd;

use indexmap::IndexSet;
use rustix::event::Timespec;

use crate::sys::seccomp::{Answer, Notification};

use super::filter::{Asked, Handed};
use super::policy::When;
use super::spec::{Seen, World};
use super::supervisor::{Calls, Refusal, Verdict};

pub(super) use clock::Begun;
pub(super) use entropy::{Pool, open_pool};
pub(super) use loader::places as unheard_places;
pub(super) use machine::{proc_files, sys_files};

/// Most programs that are named for having drawn randomness. Of a key somebody wants to know whose it is, and packages
/// make theirs after many others drew.
const NAMED: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Time(clock::Ask),
    Wait(waits::Ask),
    FileTime(times::Ask),
    List,
    Machine(machine::Ask),
    Space(space::Ask),
    Begin,
    Root,
}

/// The clocks that stand: of the day, the same read cheaply, and that without leap seconds.
const REALTIME: &[u32] = &[0, 5, 11];
const FUTEX_CLOCK_REALTIME: u32 = 256;
const TIMER_ABSTIME: u32 = 1;
/// What the C library's allocator asks in every process: eight bytes, without waiting.
const ALLOCATOR: &[(u32, u32)] = &[(2, libc::GRND_NONBLOCK), (1, 8)];

const ALWAYS: Asked = Asked::When(When::Always);
/// With CLONE_NEWNS among the flags.
const OWN_MOUNTS: Asked = Asked::When(When::AnyBit { argument: 0, bits: 0x2_0000 });

const CALLS: &[(libc::c_long, Asked, Kind)] = &[
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_stat, ALWAYS, Kind::FileTime(times::Ask::Path { follow: true })),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_lstat, ALWAYS, Kind::FileTime(times::Ask::Path { follow: false })),
    (libc::SYS_fstat, Asked::Unless(library::FSTAT), Kind::FileTime(times::Ask::Descriptor)),
    (libc::SYS_newfstatat, Asked::Unless(library::FSTATAT), Kind::FileTime(times::Ask::At { flags: 3 })),
    (libc::SYS_statx, Asked::Unless(library::STATX), Kind::FileTime(times::Ask::At { flags: 2 })),
    (libc::SYS_getdents64, ALWAYS, Kind::List),
    (programs::BEGINS.0, programs::BEGINS.1, Kind::Begin),
    (libc::SYS_chroot, ALWAYS, Kind::Root),
    (libc::SYS_pivot_root, ALWAYS, Kind::Root),
    (libc::SYS_unshare, OWN_MOUNTS, Kind::Root),
    (libc::SYS_clone, OWN_MOUNTS, Kind::Root),
    (libc::SYS_setns, ALWAYS, Kind::Root),
    (
        libc::SYS_clock_gettime,
        Asked::When(When::Equal { argument: 0, values: REALTIME }),
        Kind::Time(clock::Ask::Clock),
    ),
    (libc::SYS_gettimeofday, ALWAYS, Kind::Time(clock::Ask::Day)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_time, ALWAYS, Kind::Time(clock::Ask::Seconds)),
    (
        libc::SYS_clock_nanosleep,
        Asked::All(&[
            When::Equal { argument: 0, values: REALTIME },
            When::AnyBit { argument: 1, bits: TIMER_ABSTIME },
        ]),
        Kind::Wait(waits::Ask::Sleep),
    ),
    (
        libc::SYS_futex,
        Asked::When(When::AnyBit { argument: 1, bits: FUTEX_CLOCK_REALTIME }),
        Kind::Wait(waits::Ask::Futex),
    ),
    (libc::SYS_uname, ALWAYS, Kind::Machine(machine::Ask::Name)),
    (libc::SYS_sysinfo, ALWAYS, Kind::Machine(machine::Ask::Load)),
    (libc::SYS_sched_getaffinity, ALWAYS, Kind::Machine(machine::Ask::Processors)),
    (libc::SYS_statfs, ALWAYS, Kind::Space(space::Ask::Path)),
    (libc::SYS_fstatfs, ALWAYS, Kind::Space(space::Ask::Descriptor)),
];

/// The calls that a world wants to hear of.
pub(super) fn handed(world: &World) -> Vec<Handed> {
    let random = if world.seed.is_some() { ALWAYS } else { Asked::Unless(ALLOCATOR) };
    let calls = CALLS.iter().map(|(number, when, _)| (*number, *when));
    calls
        .chain([(libc::SYS_getrandom, random)])
        .filter_map(|(number, when)| Handed::new(number, when))
        .collect()
}

/// Answers the calls of one program and all that it starts.
pub(super) struct Answers {
    clock: clock::Clock,
    machine: machine::Machine,
    callers: callers::Callers,
    times: times::Times,
    listings: listing::Listings,
    programs: programs::Programs,
    random: Option<entropy::Streams>,
    waits: waits::Waits,
    draws: draws::Draws,
    /// Commands that drew randomness, and the process that did last.
    drew: IndexSet<String>,
    drew_last: Option<u32>,
    seen: Seen,
}

impl Answers {
    /// What was written since `begun` is of the run. `pool` is where programs read seeded bytes from.
    pub(super) fn new(world: &World, begun: Begun, pool: Option<Pool>, own_devices: bool) -> Self {
        let clock = clock::Clock::new(world.clock, begun);
        Self {
            programs: programs::Programs::new(&clock, world.seed.is_some(), world.ticks),
            clock,
            machine: machine::Machine::of(world),
            callers: callers::Callers::default(),
            times: times::Times::new(clock),
            listings: listing::Listings::new(world.listing),
            random: world.seed.map(|seed| entropy::Streams::new(seed, pool)),
            waits: waits::Waits::default(),
            draws: draws::Draws::watch(own_devices && world.seed.is_none()),
            drew: IndexSet::new(),
            drew_last: None,
            seen: Seen::default(),
        }
    }

    pub(super) fn answer(&mut self, calls: &Calls, call: Notification) -> Verdict {
        let number = libc::c_long::from(call.number);
        let known = CALLS.iter().find(|(known, ..)| *known == number).map(|(.., kind)| *kind);
        let answered = match known {
            Some(Kind::Time(ask)) => self.clock.answer(ask, call),
            Some(Kind::FileTime(ask)) => {
                self.times.make_true(calls, &mut self.callers, call, ask);
                Ok(Answer::Kernel)
            }
            Some(Kind::Wait(ask)) => match self.waits.hold(calls, call, ask, &self.clock) {
                Ok(None) => return Verdict::Held,
                Ok(Some(answer)) => Ok(answer),
                Err(refusal) => Err(refusal),
            },
            Some(Kind::List) => self.listings.answer(calls, &mut self.callers, call),
            Some(Kind::Machine(ask)) => self.machine.answer(ask, call),
            Some(Kind::Space(ask)) => space::answer(calls, call, ask),
            Some(Kind::Begin) => {
                // Another command from now on.
                self.drew_last = self.drew_last.filter(|pid| *pid != call.pid);
                let begun = self.programs.begin(calls, call, self.random.as_mut());
                // One that was killed meanwhile sees no clock.
                if begun.is_err() && self.seen.clock.is_none() && calls.waits(call) {
                    self.seen.clock = Some(programs::command(calls, call).unwrap_or_default());
                }
                Ok(Answer::Kernel)
            }
            Some(Kind::Root) => {
                self.times.roots_differ();
                Ok(Answer::Kernel)
            }
            None if number == libc::SYS_getrandom => self.random(calls, call),
            None => Err(Refusal::NotOurs),
        };
        Verdict::Now(match answered {
            Ok(answer) => answer,
            Err(Refusal::Errno(errno)) => Answer::Failed(errno),
            Err(Refusal::NotOurs) => Answer::Kernel,
        })
    }

    fn random(&mut self, calls: &Calls, call: Notification) -> Result<Answer, Refusal> {
        let for_itself = ALLOCATOR.iter().all(|(at, value)| {
            call.arguments.get(*at as usize).is_some_and(|argument| *argument == u64::from(*value))
        });
        if !for_itself && self.drew.len() < NAMED && self.drew_last.replace(call.pid) != Some(call.pid) {
            self.drew.extend(programs::command(calls, call));
        }
        match &mut self.random {
            Some(streams) => streams.answer(calls, call),
            None => Ok(Answer::Kernel),
        }
    }

    pub(super) fn pause(&self) -> Option<Timespec> {
        self.waits.pause()
    }

    pub(super) fn answer_held(&mut self, calls: &Calls) {
        self.waits.answer(calls);
    }

    pub(super) fn pool(&self) -> Option<BorrowedFd<'_>> {
        self.random.as_ref()?.pool()
    }

    pub(super) fn fill_pool(&mut self) {
        if let Some(random) = &mut self.random {
            random.fill();
        }
    }

    pub(super) fn seen(&self) -> Seen {
        let mut seen = self.seen.clone();
        seen.entropy.extend(self.drew.iter().cloned());
        if self.draws.happened() {
            seen.entropy.push("/dev/urandom".to_owned());
        }
        seen
    }
}
