//! What a program is told of the machine: kernel, processors, load, memory (spec/world.md, "Machine").

use rustix::io::Errno;

use crate::sys;
use crate::sys::seccomp::{Answer, Notification};

use super::super::spec::World;
use super::super::supervisor::{Refusal, number};
use super::memory;

/// The kernel that programs find themselves on: younger than any that a C library in use asks for.
const RELEASE: &str = "6.6.0";
const VERSION: &str = "#1 SMP PREEMPT_DYNAMIC";

/// Bytes of a field of `struct utsname`.
const FIELD: usize = 65;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// uname(*name)
    Name,
    /// sysinfo(*info)
    Load,
    /// sched_getaffinity(process, length, *mask)
    Processors,
}

/// The machine, as far as calls say what it is.
pub(super) struct Machine {
    processors: u32,
    uptime: i64,
}

impl Machine {
    pub(super) fn of(world: &World) -> Self {
        Self { processors: world.processors, uptime: world.uptime }
    }

    pub(super) fn answer(&self, ask: Ask, call: Notification) -> Result<Answer, Refusal> {
        let process = number(call)?;
        let [first, length, third, ..] = call.arguments;
        let write = |address: u64, bytes: &[u8]| {
            sys::memory::write(process, address, bytes).map_err(|_| Errno::FAULT)
        };
        match ask {
            Ask::Name => write(first, &name())?,
            Ask::Load => write(first, &memory::load(self.uptime))?,
            Ask::Processors => {
                // As the kernel: whole words, enough for all processors.
                if length < 8 || length % 8 != 0 {
                    return Err(Errno::INVAL.into());
                }
                write(third, &mask(self.processors).to_ne_bytes())?;
                return Ok(Answer::Value(8));
            }
        }
        Ok(Answer::Done)
    }
}

/// `struct utsname`.
fn name() -> Vec<u8> {
    let own = rustix::system::uname();
    let fields = [
        own.sysname().to_bytes(),
        own.nodename().to_bytes(),
        RELEASE.as_bytes(),
        VERSION.as_bytes(),
        own.machine().to_bytes(),
        own.domainname().to_bytes(),
    ];
    let mut bytes = vec![0; fields.len() * FIELD];
    for (place, field) in bytes.chunks_exact_mut(FIELD).zip(fields) {
        place[..field.len()].copy_from_slice(field);
    }
    bytes
}

fn mask(processors: u32) -> u64 {
    1_u64.checked_shl(processors).map_or(u64::MAX, |above| above - 1)
}

/// Files of `/proc` that say more of the machine, by path in there.
pub(in crate::sandbox) fn proc_files(world: &World) -> Vec<(&'static str, String)> {
    let World { processors, clock, uptime, .. } = world;
    let each = |line: &dyn Fn(u32) -> String| (0..*processors).map(line).collect::<String>();
    let files = vec![
        ("uptime", format!("{uptime}.00 {uptime}.00\n")),
        ("loadavg", "0.00 0.00 0.00 1/1 1\n".into()),
        ("version", format!("Linux version {RELEASE} {VERSION}\n")),
        ("cmdline", "\n".into()),
        ("cpuinfo", each(&processor)),
        ("stat", {
            let zeros = "0 0 0 0 0 0 0 0 0 0";
            let cpus = each(&|index| format!("cpu{index} {zeros}\n"));
            format!("cpu  {zeros}\n{cpus}intr 0\nctxt 0\nbtime {}\nprocesses 1\n", clock - uptime)
        }),
        ("meminfo", memory::meminfo()),
        ("swaps", memory::SWAPS.into()),
        ("sys/kernel/osrelease", format!("{RELEASE}\n")),
        ("sys/kernel/version", format!("{VERSION}\n")),
        ("sys/kernel/random/boot_id", uuid([0; 16])),
    ];
    // The kernel makes another at each reading; here there is one for each step.
    let drawn = world.seed.map(|seed| ("sys/kernel/random/uuid", uuid(super::entropy::number_of(&seed))));
    files.into_iter().chain(drawn).collect()
}

/// A random UUID (RFC 9562, version 4) of these bits.
fn uuid(bytes: [u8; 16]) -> String {
    let bits = u128::from_be_bytes(bytes) & !(0xF000 << 64) & !(0xC000 << 48) | 0x4000 << 64 | 0x8000 << 48;
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}\n", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Files of `/sys` that list processors.
pub(in crate::sandbox) fn sys_files(processors: u32) -> Vec<(&'static str, String)> {
    let all = match processors {
        0 | 1 => "0\n".to_owned(),
        more => format!("0-{}\n", more - 1),
    };
    ["online", "possible", "present"]
        .map(|name| match name {
            "online" => ("devices/system/cpu/online", all.clone()),
            "possible" => ("devices/system/cpu/possible", all.clone()),
            _ => ("devices/system/cpu/present", all.clone()),
        })
        .into()
}

/// One processor as `/proc/cpuinfo` has it: no more than every one of its architecture can do.
fn processor(index: u32) -> String {
    if cfg!(target_arch = "x86_64") {
        format!(
            "processor\t: {index}\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 0\n\
             model name\t: x86-64\nphysical id\t: 0\nsiblings\t: 1\ncore id\t\t: {index}\ncpu cores\t: 1\n\
             fpu\t\t: yes\nflags\t\t: fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 \
             clflush mmx fxsr sse sse2 syscall nx lm rep_good nopl cpuid\nclflush size\t: 64\n\
             cache_alignment\t: 64\naddress sizes\t: 46 bits physical, 48 bits virtual\n\n"
        )
    } else {
        format!("processor\t: {index}\nFeatures\t: fp asimd\nCPU architecture: 8\n\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_bits() {
        assert_eq!([0, 1, 4, 64, 99].map(mask), [0, 1, 15, u64::MAX, u64::MAX]);
        assert_eq!(sys_files(1)[0].1, "0\n");
        assert_eq!(sys_files(4)[0], ("devices/system/cpu/online", "0-3\n".to_owned()));
        let world = World {
            clock: 0,
            uptime: 100,
            ticks: false,
            seed: None,
            processors: 4,
            listing: crate::sandbox::spec::Listing::Sorted,
            layout: crate::sandbox::spec::Layout::Fixed,
            umask: 0,
            last_process: 0,
        };
        assert_eq!(proc_files(&world)[4].1.matches("processor\t").count(), 4);
        let seeded = World { seed: Some([1; 32]), ..world.clone() };
        assert_eq!(proc_files(&seeded).len(), proc_files(&world).len() + 1);
    }

    #[test]
    fn uuids_say_what_they_are() {
        assert_eq!(uuid([0; 16]), "00000000-0000-4000-8000-000000000000\n");
        assert_eq!(uuid([0xFF; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff\n");
    }
}
