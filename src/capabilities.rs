//! Capabilities (capabilities(7)): a set of them, and how people write one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A set; bit `n` is capability number `n` of linux/capability.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Capabilities(u64);

/// By number.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What docker gives a container.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

impl Default for Capabilities {
    /// docker's default set.
    fn default() -> Self {
        DEFAULT.iter().fold(Self(0), |set, name| set.with(name.parse().expect("a name of the table")))
    }
}

/// A text that names no capability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no capability {0}; expected a name of capabilities(7) as NET_ADMIN, or ALL")]
pub struct UnknownCapability(String);

impl Capabilities {
    /// All that this program knows.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);
    /// None.
    pub const NONE: Self = Self(0);

    /// As the kernel has them.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Both together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is left without those.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// This set with some added and others dropped, as docker does it: of all that were added those are left that were
    /// not dropped, else what is added by name wins.
    #[must_use]
    pub fn changed(self, added: Self, dropped: Self) -> Self {
        if added == Self::ALL { added.without(dropped) } else { self.without(dropped).with(added) }
    }

    /// Names as the OCI runtime specification has them, by number: `CAP_CHOWN`.
    pub fn names(self) -> Vec<String> {
        let set = NAMES.iter().enumerate().filter(|(number, _)| self.0 & (1 << number) != 0);
        set.map(|(_, name)| format!("CAP_{name}")).collect()
    }
}

impl FromStr for Capabilities {
    type Err = UnknownCapability;

    /// `NET_ADMIN`, `CAP_NET_ADMIN`, `all`; in any case.
    fn from_str(text: &str) -> Result<Self, UnknownCapability> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if name == "ALL" {
            return Ok(Self::ALL);
        }
        let number = NAMES.iter().position(|known| *known == name);
        number.map(|number| Self(1 << number)).ok_or_else(|| UnknownCapability(text.to_owned()))
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_the_kernels() {
        use rustix::thread::CapabilitySet;
        let one = |text: &str| text.parse::<Capabilities>().unwrap().bits();
        assert_eq!(one("CAP_SYS_ADMIN"), CapabilitySet::SYS_ADMIN.bits());
        assert_eq!(one("setfcap"), CapabilitySet::SETFCAP.bits());
        assert_eq!(one("CHECKPOINT_RESTORE"), CapabilitySet::CHECKPOINT_RESTORE.bits());
        assert_eq!(one("all").count_ones(), 41);
        assert!("CAP_".parse::<Capabilities>().is_err());
    }

    #[test]
    fn changes_are_made_as_docker_makes_them() {
        let one = |text: &str| text.parse::<Capabilities>().unwrap();
        let usual = Capabilities::default();
        assert_eq!(
            usual.changed(one("SYS_TIME"), one("KILL")),
            usual.without(one("KILL")).with(one("SYS_TIME"))
        );
        assert_eq!(usual.changed(one("KILL"), one("ALL")), one("KILL"));
        assert_eq!(usual.changed(one("KILL"), one("KILL")), usual);
        assert_eq!(usual.changed(one("ALL"), one("KILL")), Capabilities::ALL.without(one("KILL")));
        assert_eq!(usual.changed(one("ALL"), one("ALL")), Capabilities::NONE);
    }

    #[test]
    fn dockers_set_has_fourteen() {
        let set = Capabilities::default();
        assert_eq!(set.bits().count_ones(), 14);
        assert!(set.names().contains(&"CAP_NET_RAW".to_owned()));
        assert!(!set.without("ALL".parse().unwrap()).names().contains(&"CAP_KILL".to_owned()));
    }
}
