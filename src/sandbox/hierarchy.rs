//! Where this machine has a cgroup controller: read from the process' own mount table and membership.

use std::fs;
use std::path::{Path, PathBuf};

/// The kinds of hierarchies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// One for all controllers (version 2).
    Unified,
    /// One for each, or for a few (version 1).
    Single,
}

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hierarchy {
    pub version: Version,
    pub mount: PathBuf,
    /// The directory of the cgroup that the process is in; the mount's top if that does not show in it.
    pub own: PathBuf,
}

/// The hierarchy that has a controller.
pub(super) fn find(controller: &str) -> Option<Hierarchy> {
    find_for("self", controller)
}

/// The same, with the cgroup of another process.
pub(super) fn find_of(process: i32, controller: &str) -> Option<Hierarchy> {
    find_for(&process.to_string(), controller)
}

fn find_for(process: &str, controller: &str) -> Option<Hierarchy> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let membership = fs::read_to_string(format!("/proc/{process}/cgroup")).ok()?;
    let offers = |mount: &Path| fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
    find_in(&mounts, &membership, controller, &offers)
}

/// `offers` says which controllers a unified hierarchy has.
fn find_in(
    mounts: &str,
    membership: &str,
    controller: &str,
    offers: &dyn Fn(&Path) -> String,
) -> Option<Hierarchy> {
    mounts.lines().find_map(|line| {
        // "31 23 0:28 root mount-point options [tags] - type source super-options" (proc_pid_mountinfo(5)).
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, mount) = (left.next()?, PathBuf::from(left.next()?));
        let mut right = right.split(' ');
        let (kind, options) = (right.next()?, right.nth(1)?);
        let version = match kind {
            "cgroup" if options.split(',').any(|name| name == controller) => Version::Single,
            "cgroup2" if offers(&mount).split_whitespace().any(|name| name == controller) => Version::Unified,
            _ => return None,
        };
        let own = own(membership, version, controller)
            .and_then(|path| Path::new(path).strip_prefix(root).ok())
            .map_or_else(|| mount.clone(), |below| mount.join(below));
        Some(Hierarchy { version, mount, own })
    })
}

/// The path of this process' cgroup, from the hierarchy's root (cgroups(7)).
fn own<'a>(membership: &'a str, version: Version, controller: &str) -> Option<&'a str> {
    membership.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (names, path) = (fields.next()?, fields.next()?);
        let ours = match version {
            Version::Unified => names.is_empty(),
            Version::Single => names.split(',').any(|name| name == controller),
        };
        ours.then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "\
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /box /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const OLD_OWN: &str = "8:cpu,cpuacct:/a/b\n4:memory:/box/c\n0::/\n";

    fn find(mounts: &str, own: &str, controller: &str, offers: &str) -> Option<(Version, String, String)> {
        let found = find_in(mounts, own, controller, &|_| offers.to_owned())?;
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        Some((found.version, text(found.mount), text(found.own)))
    }

    #[test]
    fn a_controller_is_found_where_it_is() {
        let at = |version, mount: &str, own: &str| Some((version, mount.to_owned(), own.to_owned()));
        assert_eq!(
            find(OLD, OLD_OWN, "cpu", ""),
            at(Version::Single, "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct/a/b")
        );
        // A container's mount begins at its own cgroup.
        assert_eq!(
            find(OLD, OLD_OWN, "memory", ""),
            at(Version::Single, "/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/c")
        );
        assert_eq!(
            find(OLD, "4:memory:/elsewhere\n", "memory", ""),
            at(Version::Single, "/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory")
        );
        assert_eq!(find(OLD, OLD_OWN, "pids", "io hugetlb"), None);
        let unified = "28 23 0:25 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(
            find(unified, "0::/user.slice/x.scope\n", "pids", "cpu memory pids"),
            at(Version::Unified, "/sys/fs/cgroup", "/sys/fs/cgroup/user.slice/x.scope")
        );
    }
}
