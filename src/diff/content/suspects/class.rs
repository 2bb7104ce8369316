//! The classes of causes, and what is usually done about each.

use serde::{Deserialize, Serialize};

/// A usual cause of files that differ (spec/diff.md, "Classes").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// A date or a number of seconds of when it was built.
    Timestamp,
    /// The time of a file, kept in another one.
    FileTime,
    /// Where it was built.
    BuildPath,
    /// On which machine it was built.
    HostName,
    /// A private key or a certificate made on the spot.
    Key,
    /// Other random values: identifiers, salts, names of temporary files.
    Random,
    /// The same things in another order.
    Ordering,
    /// The same lines, those of several writers mixed otherwise.
    Parallelism,
    /// Who owns a file, or who built it.
    Owner,
    /// How the language of the builder sorts or writes.
    Locale,
    /// The number of a process.
    Pid,
    /// How many processors there were.
    CpuCount,
    /// Which processor it was.
    CpuFeature,
    /// Which kernel it was.
    Kernel,
    /// Numbers of inodes and devices.
    Inode,
    /// Where something lay in memory.
    Address,
    /// A digest of something else that differs.
    Digest,
    /// The same content, compressed by other means.
    Compression,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 18] = [
        Self::Timestamp,
        Self::FileTime,
        Self::BuildPath,
        Self::HostName,
        Self::Key,
        Self::Random,
        Self::Ordering,
        Self::Parallelism,
        Self::Owner,
        Self::Locale,
        Self::Pid,
        Self::CpuCount,
        Self::CpuFeature,
        Self::Kernel,
        Self::Inode,
        Self::Address,
        Self::Digest,
        Self::Compression,
    ];

    /// As reports write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timestamp => "timestamp",
            Self::FileTime => "file-time",
            Self::BuildPath => "build-path",
            Self::HostName => "host-name",
            Self::Key => "key",
            Self::Random => "random",
            Self::Ordering => "ordering",
            Self::Parallelism => "parallelism",
            Self::Owner => "owner",
            Self::Locale => "locale",
            Self::Pid => "pid",
            Self::CpuCount => "cpu-count",
            Self::CpuFeature => "cpu-feature",
            Self::Kernel => "kernel",
            Self::Inode => "inode",
            Self::Address => "address",
            Self::Digest => "digest",
            Self::Compression => "compression",
        }
    }

    /// What the file holds, after "it embeds" or the like.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Timestamp => "a timestamp",
            Self::FileTime => "the time of a file",
            Self::BuildPath => "a build path",
            Self::HostName => "a host name",
            Self::Key => "a key made on the spot",
            Self::Random => "a random value",
            Self::Ordering => "another order",
            Self::Parallelism => "output of parallel jobs",
            Self::Owner => "an owner",
            Self::Locale => "words or order of a locale",
            Self::Pid => "a process number",
            Self::CpuCount => "the number of processors",
            Self::CpuFeature => "the kind of processor",
            Self::Kernel => "a kernel release",
            Self::Inode => "inode or device numbers",
            Self::Address => "a memory address",
            Self::Digest => "a digest of what differs elsewhere",
            Self::Compression => "other compression",
        }
    }

    /// What is usually done about it, in one line.
    pub const fn fix(self) -> &'static str {
        match self {
            Self::Timestamp => "let the tool take the time from SOURCE_DATE_EPOCH, or leave the date out",
            Self::FileTime => {
                "give files a fixed time before they are packed (find … -exec touch -hd @$SOURCE_DATE_EPOCH {} +), or tell the packer to (tar --mtime, zip -X, gzip -n, ar D)"
            }
            Self::BuildPath => {
                "build in a directory of a fixed name, or map it (-ffile-prefix-map=$PWD=., go build -trimpath, --remap-path-prefix)"
            }
            Self::HostName => "do not write the host name; set it for the step if a tool insists",
            Self::Key => {
                "do not make keys in a build: whoever has the image has the key; make it at the first start"
            }
            Self::Random => {
                "derive the value from the inputs, or give a fixed seed (PYTHONHASHSEED=0, -frandom-seed); what must be secret is made at the first start"
            }
            Self::Ordering => "sort before writing (find … | LC_ALL=C sort, tar --sort=name); fix hash seeds",
            Self::Parallelism => {
                "do not keep logs of parallel jobs, or write them one after the other (make -O, -j1)"
            }
            Self::Owner => {
                "give numbers to owners (tar --owner=0 --group=0 --numeric-owner), create users with fixed ids"
            }
            Self::Locale => "set LC_ALL=C.UTF-8 for the step",
            Self::Pid => "do not write process numbers; use fixed names for temporary files",
            Self::CpuCount => "give the number of jobs, do not take it from nproc",
            Self::CpuFeature => {
                "name the target (-march=x86-64-v2), never -march=native; build for a baseline"
            }
            Self::Kernel => "do not write uname -r; name the kernel that is meant",
            Self::Inode => {
                "leave such caches out (rm -f /var/cache/ldconfig/aux-cache): they are made again when needed"
            }
            Self::Address => {
                "do not write addresses or order by them; without address space randomisation they are stable"
            }
            Self::Digest => "nothing: it follows when what it is a digest of is the same",
            Self::Compression => "compress with the same version, level and number of threads",
        }
    }
}
