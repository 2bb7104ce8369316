//! Which system calls a process may not make (spec/sandbox.md).
//!
//! Owns: the one table of rules. The sandbox' own filter is made of it, and so is what other runtimes are told
//! (spec/bundle.md), so the two cannot differ. Pure.

use super::calls::{CLONE, CLONE3, IOCTL, REFUSED, SOCKET, SOCKETCALL, SOCKETPAIR};

pub use super::calls::Call;

/// `EPERM`: it is forbidden.
pub const EPERM: u16 = 1;
/// `ENOSYS`: there is no such call, so a C library tries another.
pub const ENOSYS: u16 = 38;

/// Flags of clone(2) that make a namespace: cgroup, mount, uts, ipc, user, pid, net.
pub(super) const CLONE_NAMESPACES: u32 = 0x7E02_0000;
pub(super) const AF_VSOCK: u32 = 40;
pub(super) const AF_ALG: u32 = 38;
pub(super) const TIOCSTI: u32 = 0x5412;
pub(super) const TIOCLINUX: u32 = 0x541C;
/// The call `socket` of socketcall(2).
pub(super) const SYS_SOCKET: u32 = 1;

/// Calls that are refused alike; all that no rule names are allowed.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    pub calls: &'static [Call],
    pub when: When,
    /// What the process gets.
    pub errno: u16,
}

/// When a call is refused. Of an argument the low 32 bits count: the kernel looks at no more of a family, a request or
/// clone's flags, so the high half must not decide.
#[derive(Debug, Clone, Copy)]
pub enum When {
    Always,
    /// The argument of this index has one of the values.
    Equal {
        argument: u32,
        values: &'static [u32],
    },
    /// It has any of the bits.
    AnyBit {
        argument: u32,
        bits: u32,
    },
}

/// At most one rule names a call.
pub const RULES: [Rule; 6] = [
    Rule { calls: REFUSED, when: When::Always, errno: EPERM },
    Rule { calls: &[CLONE3], when: When::Always, errno: ENOSYS },
    Rule {
        calls: &[SOCKET, SOCKETPAIR],
        when: When::Equal { argument: 0, values: &[AF_ALG, AF_VSOCK] },
        errno: EPERM,
    },
    Rule { calls: &[IOCTL], when: When::Equal { argument: 1, values: &[TIOCSTI, TIOCLINUX] }, errno: EPERM },
    Rule { calls: &[CLONE], when: When::AnyBit { argument: 0, bits: CLONE_NAMESPACES }, errno: EPERM },
    // The family lies in memory here, so no socket at all: C libraries of this decade use `socket`.
    Rule { calls: &[SOCKETCALL], when: When::Equal { argument: 0, values: &[SYS_SOCKET] }, errno: ENOSYS },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_call_has_two_rules() {
        let mut seen = BTreeSet::new();
        for call in RULES.iter().flat_map(|rule| rule.calls) {
            assert!(seen.insert(call.name), "{}", call.name);
        }
        assert_eq!(seen.len(), REFUSED.len() + 6);
    }
}
