//! The memory that every machine is told to have (spec/world.md, "Machine").
//!
//! Programs take it to see how much they may use: it is what a machine of today has, and most of it is free.

use crate::sys::memory::{Quiet, sysinfo};

/// All sizes are in KiB, as `/proc/meminfo` has them.
const TOTAL: u64 = 8 << 20;
const FREE: u64 = 6 << 20;
const BUFFERS: u64 = 128 << 10;
const CACHED: u64 = 1 << 20;
const SHARED: u64 = 1 << 10;
const SLAB: u64 = 128 << 10;
/// Of slab and cache what can be had back at once.
const RECLAIMABLE: u64 = 96 << 10;
const ANONYMOUS: u64 = 256 << 10;

/// No areas.
pub(super) const SWAPS: &str = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";

/// What sysinfo(2) gives.
pub(super) fn load(uptime: i64) -> Vec<u8> {
    sysinfo(Quiet {
        uptime,
        total: TOTAL << 10,
        free: FREE << 10,
        shared: SHARED << 10,
        buffers: BUFFERS << 10,
    })
}

/// `/proc/meminfo`: the lines that a kernel of [`super::machine`]'s release has whatever it was built with.
pub(super) fn meminfo() -> String {
    let anonymous = ANONYMOUS + SHARED;
    let file = BUFFERS + CACHED - SHARED;
    let sizes = [
        ("MemTotal", TOTAL),
        ("MemFree", FREE),
        ("MemAvailable", FREE + file + RECLAIMABLE),
        ("Buffers", BUFFERS),
        ("Cached", CACHED),
        ("SwapCached", 0),
        ("Active", file / 2),
        ("Inactive", anonymous + file / 2),
        ("Active(anon)", 0),
        ("Inactive(anon)", anonymous),
        ("Active(file)", file / 2),
        ("Inactive(file)", file / 2),
        ("Unevictable", 0),
        ("Mlocked", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("AnonPages", ANONYMOUS),
        ("Mapped", CACHED / 8),
        ("Shmem", SHARED),
        ("KReclaimable", RECLAIMABLE),
        ("Slab", SLAB),
        ("SReclaimable", RECLAIMABLE),
        ("SUnreclaim", SLAB - RECLAIMABLE),
        ("KernelStack", 4 << 10),
        ("PageTables", 8 << 10),
        ("SecPageTables", 0),
        ("NFS_Unstable", 0),
        ("Bounce", 0),
        ("WritebackTmp", 0),
        ("CommitLimit", TOTAL / 2),
        ("Committed_AS", 2 * ANONYMOUS),
        ("VmallocTotal", 34_359_738_367),
        ("VmallocUsed", 32 << 10),
        ("VmallocChunk", 0),
        ("Percpu", 4 << 10),
    ];
    // As the kernel: numbers end in one column, unless they are longer.
    sizes.into_iter().map(|(name, size)| format!("{:<16}{size:>8} kB\n", format!("{name}:"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_no_more_than_the_whole() {
        const { assert!(FREE + BUFFERS + CACHED + SLAB + ANONYMOUS < TOTAL) };
        let text = meminfo();
        let of = |name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.strip_suffix(" kB").unwrap().trim().parse().unwrap()
        };
        assert!(of("MemFree:") < of("MemAvailable:") && of("MemAvailable:") < of("MemTotal:"));
        let lists = ["Active(anon):", "Inactive(anon):", "Active(file):", "Inactive(file):"].map(of);
        assert_eq!(lists.iter().sum::<u64>(), of("Active:") + of("Inactive:"));
        assert!(text.starts_with("MemTotal:        8388608 kB\nMemFree:         6291456 kB\n"), "{text}");
        assert!(text.contains("\nVmallocTotal:   34359738367 kB\n"), "{text}");
    }
}
