//! What a step's processes may use of the machine, and the hosts they know: values, and how people write them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Everything that a build's options say of its steps' processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessLimits {
    pub group: GroupLimits,
    /// One for a resource, by resource.
    pub ulimits: Vec<Ulimit>,
    /// Bytes of `/dev/shm`, if not the usual 64 MiB.
    pub shm_size: Option<u64>,
    /// In the order given.
    pub hosts: Vec<Host>,
}

/// Limits that hold for all processes of one step together. What is not said is not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupLimits {
    /// Bytes.
    pub memory: Option<u64>,
    /// Memory and swap together.
    pub memory_swap: Option<Amount>,
    pub processes: Option<u64>,
    pub cpu: CpuLimits,
    /// The cgroup below which each step gets its own, from the root of the hierarchy.
    pub parent: Option<String>,
}

/// Limits of processor time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuLimits {
    pub time: Option<CpuTime>,
    /// Weight against others, 1024 being usual: 2 to 262144.
    pub shares: Option<u64>,
    /// Which processors, as `0-3,5`.
    pub set: Option<String>,
}

/// So much time in each period, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuTime {
    pub quota: u64,
    pub period: u64,
}

/// How much of something there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Amount {
    AtMost(u64),
    Unlimited,
}

/// A limit that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reached {
    Memory,
    Processes,
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "out of memory: the kernel killed a process at the limit of --memory",
            Self::Processes => "the limit of --pids-limit was reached",
        })
    }
}

/// A limit of each process (setrlimit(2)); `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    pub resource: Resource,
    pub soft: Option<u64>,
    pub hard: Option<u64>,
}

/// What a [`Ulimit`] is of. Core files are missing: a step leaves none, they could hold secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    Cpu,
    Data,
    Fsize,
    Locks,
    Memlock,
    Msgqueue,
    Nice,
    Nofile,
    Nproc,
    Rss,
    Rtprio,
    Rttime,
    Sigpending,
    Stack,
}

/// In the order of their names.
const RESOURCES: [(&str, Resource); 14] = [
    ("cpu", Resource::Cpu),
    ("data", Resource::Data),
    ("fsize", Resource::Fsize),
    ("locks", Resource::Locks),
    ("memlock", Resource::Memlock),
    ("msgqueue", Resource::Msgqueue),
    ("nice", Resource::Nice),
    ("nofile", Resource::Nofile),
    ("nproc", Resource::Nproc),
    ("rss", Resource::Rss),
    ("rtprio", Resource::Rtprio),
    ("rttime", Resource::Rttime),
    ("sigpending", Resource::Sigpending),
    ("stack", Resource::Stack),
];

/// Why a text is no ulimit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UlimitError {
    #[error("expected NAME=SOFT[:HARD], each a number or unlimited")]
    Form,
    #[error("steps leave no core files, so there is nothing to limit")]
    Core,
    #[error("{name} is no resource; there are {}", RESOURCES.map(|(name, _)| name).join(", "))]
    Resource { name: String },
    #[error("the soft limit is above the hard one")]
    Order,
}

impl FromStr for Ulimit {
    type Err = UlimitError;

    fn from_str(text: &str) -> Result<Self, UlimitError> {
        let (name, values) = text.split_once('=').ok_or(UlimitError::Form)?;
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        let (soft, hard) = (ulimit_value(soft)?, ulimit_value(hard)?);
        if name == "core" {
            return Err(UlimitError::Core);
        }
        let known = RESOURCES.iter().find(|(known, _)| *known == name);
        let (_, resource) = known.ok_or_else(|| UlimitError::Resource { name: name.to_owned() })?;
        if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
            return Err(UlimitError::Order);
        }
        Ok(Self { resource: *resource, soft, hard })
    }
}

fn ulimit_value(text: &str) -> Result<Option<u64>, UlimitError> {
    match text {
        "-1" | "unlimited" => Ok(None),
        // The kernel's own word for no limit.
        number => match number.parse() {
            Ok(u64::MAX) => Ok(None),
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(UlimitError::Form),
        },
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = RESOURCES.iter().find(|(_, known)| known == self).expect("the table has all");
        f.write_str(name)
    }
}

/// As it is written, both limits always named: `nofile=1024:unlimited`.
impl fmt::Display for Ulimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |value: Option<u64>| value.map_or_else(|| "unlimited".to_owned(), |n| n.to_string());
        write!(f, "{}={}:{}", self.resource, value(self.soft), value(self.hard))
    }
}

/// A name that steps can look up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    pub name: String,
    pub address: IpAddr,
}

/// The machine itself: steps that have a network have its own.
const GATEWAY: &str = "host-gateway";

impl FromStr for Host {
    type Err = &'static str;

    /// `NAME:ADDRESS` or `NAME=ADDRESS`; an IPv6 address may stand in brackets.
    fn from_str(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "expected NAME:ADDRESS, where ADDRESS is an IP address or host-gateway";
        let (name, address) = text.split_once('=').or_else(|| text.split_once(':')).ok_or(FORM)?;
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
        let address = match bare {
            GATEWAY => IpAddr::V4(Ipv4Addr::LOCALHOST),
            bare => bare.parse().map_err(|_| FORM)?,
        };
        let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || !name.bytes().all(named) {
            return Err("a host name has letters, digits, -, _ and . only");
        }
        Ok(Self { name: name.to_owned(), address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulimits() {
        for (text, wanted) in [
            ("nofile=1024", "nofile=1024:1024"),
            ("nofile=1024:2048", "nofile=1024:2048"),
            ("stack=8192:-1", "stack=8192:unlimited"),
            ("nproc=unlimited", "nproc=unlimited:unlimited"),
            ("memlock=18446744073709551615", "memlock=unlimited:unlimited"),
        ] {
            assert_eq!(text.parse::<Ulimit>().unwrap().to_string(), wanted);
        }
        for (text, wanted) in [
            ("nofile", UlimitError::Form),
            ("nofile=", UlimitError::Form),
            ("nofile=1:2:3", UlimitError::Form),
            ("nofile=-2", UlimitError::Form),
            ("core=0", UlimitError::Core),
            ("files=1", UlimitError::Resource { name: "files".into() }),
            ("nofile=2:1", UlimitError::Order),
            ("nofile=-1:1", UlimitError::Order),
        ] {
            assert_eq!(text.parse::<Ulimit>().unwrap_err(), wanted, "{text}");
        }
    }

    #[test]
    fn hosts() {
        for (text, name, address) in [
            ("mirror:10.0.0.1", "mirror", "10.0.0.1"),
            ("mirror=10.0.0.1", "mirror", "10.0.0.1"),
            ("six:2001:db8::1", "six", "2001:db8::1"),
            ("six=[2001:db8::1]", "six", "2001:db8::1"),
            ("here:host-gateway", "here", "127.0.0.1"),
        ] {
            let host: Host = text.parse().unwrap();
            assert_eq!((host.name.as_str(), host.address.to_string().as_str()), (name, address));
        }
        for text in ["mirror", "mirror:", "mirror:here", ":10.0.0.1", "a b:10.0.0.1", "a\nb:10.0.0.1"] {
            assert!(text.parse::<Host>().is_err(), "{text}");
        }
    }
}
