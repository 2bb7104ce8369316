//! Becomes root of a user namespace, for whoever is not root.
//!
//! The process moves itself: it keeps its id, terminal, descriptors, signals and parent, and there is nothing to
//! forward. Only the writing of id maps needs a second process that stays outside (newuidmap(1)).

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};

use rustix::process::{getegid, geteuid, getpid};
use rustix::thread::UnshareFlags;

use crate::sys;

/// `argv[0]` of the process that writes the id maps.
pub(super) const MAPPER: &str = "lith-userns-map";

/// How this process stands to user and group ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Real root, or root of a namespace that somebody else made.
    Root,
    /// Root of a namespace with ids 0 to `range - 1`.
    Mapped { range: u32 },
    /// Root of a namespace that has no other id.
    SingleId,
    /// Neither root nor able to become it: why, and what to do.
    Unavailable(String),
}

/// Makes this process root of a new user and mount namespace, unless it is root already. To be called once, at the
/// start of a command that needs a file system, while the process has a single thread.
pub fn enter() -> Entry {
    if geteuid().is_root() {
        return Entry::Root;
    }
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    if !sys::exec::single_threaded() {
        return Entry::Unavailable("a process with threads cannot enter a user namespace".into());
    }
    let mapper = Maps::of_user(uid, gid).and_then(|maps| Some((Mapper::start(&maps).ok()?, maps.range())));
    if let Err(errno) = sys::ns::unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS) {
        return Entry::Unavailable(forbidden(errno));
    }
    let Some((mapper, range)) = mapper else { return single(uid, gid) };
    match mapper.finish() {
        Outcome::Done => Entry::Mapped { range },
        Outcome::Half(why) => Entry::Unavailable(why),
        // So the map that needs nobody's help still can be written.
        Outcome::Nothing => single(uid, gid),
    }
}

/// The ids of this process' user namespace, as its parent sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMaps {
    pub users: Vec<IdMap>,
    pub groups: Vec<IdMap>,
}

/// A line of user_namespaces(7)' `uid_map`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMap {
    pub inside: u32,
    pub outside: u32,
    pub count: u32,
}

impl IdMaps {
    /// Reads those of this process.
    pub fn own() -> std::io::Result<Self> {
        let read = |path: &str| {
            let text = std::fs::read_to_string(path)?;
            id_maps(&text).ok_or_else(|| std::io::Error::other(format!("{path} is no map of ids: {text:?}")))
        };
        Ok(Self { users: read("/proc/self/uid_map")?, groups: read("/proc/self/gid_map")? })
    }

    /// Whether there is but one user or one group.
    pub fn is_single(&self) -> bool {
        let single = |maps: &[IdMap]| matches!(maps, [only] if only.count == 1);
        single(&self.users) || single(&self.groups)
    }
}

impl IdMap {
    /// Whether it maps an id inside.
    pub fn has(&self, id: u32) -> bool {
        id.checked_sub(self.inside).is_some_and(|offset| offset < self.count)
    }
}

fn id_maps(text: &str) -> Option<Vec<IdMap>> {
    let line = |line: &str| {
        let mut fields = line.split_ascii_whitespace().map(|field| field.parse::<u32>().ok());
        Some(IdMap { inside: fields.next()??, outside: fields.next()??, count: fields.next()?? })
    };
    text.lines().map(line).collect()
}

/// The mapper's `main`: waits until the parent has moved, then maps its ids from outside.
pub(super) fn mapper_main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut go = [0];
    if std::io::stdin().read_exact(&mut go).is_err() {
        return ExitCode::FAILURE;
    }
    let Some(split) = arguments.iter().position(|a| a == "--") else { return ExitCode::FAILURE };
    let map = |program: &str, list: &[String]| {
        let done = Command::new(program).args(list).stdin(Stdio::null()).stdout(Stdio::null()).status();
        done.is_ok_and(|status| status.success())
    };
    // Answers by exit code: 1 nothing was written, 2 only the user map.
    if !map("newuidmap", &arguments[..split]) {
        return ExitCode::from(1);
    }
    // The group map comes with the same process id.
    let group: Vec<String> = arguments[..1].iter().chain(&arguments[split + 1..]).cloned().collect();
    if map("newgidmap", &group) { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

/// Ranges of ids granted to a user: first id outside, and how many.
type Ranges = Vec<(u32, u32)>;

struct Maps {
    uid: u32,
    gid: u32,
    uids: Ranges,
    gids: Ranges,
}

impl Maps {
    /// What /etc/subuid and /etc/subgid grant; `None` if either grants nothing.
    fn of_user(uid: u32, gid: u32) -> Option<Self> {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let name = user_name(&read("/etc/passwd"), uid);
        let uids = granted(&read("/etc/subuid"), name.as_deref(), uid);
        let gids = granted(&read("/etc/subgid"), name.as_deref(), uid);
        let uids: Ranges = uids.into_iter().filter(|range| harmless(*range, uid)).collect();
        let gids: Ranges = gids.into_iter().filter(|range| harmless(*range, gid)).collect();
        (!uids.is_empty() && !gids.is_empty()).then_some(Self { uid, gid, uids, gids })
    }

    /// How many ids there are, of users or of groups, whichever are fewer.
    fn range(&self) -> u32 {
        let count = |ranges: &Ranges| ranges.iter().fold(1_u32, |sum, (_, n)| sum.saturating_add(*n));
        count(&self.uids).min(count(&self.gids))
    }

    /// Arguments of newuidmap(1) or newgidmap(1) after the process id.
    fn arguments(own: u32, ranges: &Ranges) -> Vec<String> {
        let mut list = vec!["0".to_owned(), own.to_string(), "1".to_owned()];
        let mut inside = 1_u32;
        for (first, count) in ranges {
            list.extend([inside, *first, *count].map(|n| n.to_string()));
            inside = inside.saturating_add(*count);
        }
        list
    }
}

/// A range that would make root, or the user once more, of an id inside is not used, whoever granted it.
fn harmless((first, count): (u32, u32), own: u32) -> bool {
    let Some(end) = first.checked_add(count) else { return false };
    first > 0 && count > 0 && !(first..end).contains(&own)
}

/// The name of a user in passwd(5). Users of a directory service are found in subuid(5) by number.
fn user_name(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number = fields.nth(1)?;
        (number.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// The ranges of subuid(5) for a user, by name or by number.
fn granted(table: &str, name: Option<&str>, uid: u32) -> Ranges {
    let number = uid.to_string();
    let of_user = |line: &&str| {
        let owner = line.split(':').next();
        owner == Some(&number) || (name.is_some() && owner == name)
    };
    let range = |line: &str| {
        let mut fields = line.split(':').skip(1);
        Some((fields.next()?.trim().parse().ok()?, fields.next()?.trim().parse().ok()?))
    };
    table.lines().filter(of_user).filter_map(range).collect()
}

/// The process outside, waiting for the word to map.
struct Mapper(std::process::Child);

enum Outcome {
    Done,
    Nothing,
    /// A user map without a group map: this namespace is of no use.
    Half(String),
}

impl Mapper {
    fn start(maps: &Maps) -> std::io::Result<Self> {
        let child = Command::new("/proc/self/exe")
            .arg0(MAPPER)
            .arg(getpid().as_raw_pid().to_string())
            .args(Maps::arguments(maps.uid, &maps.uids))
            .arg("--")
            .args(Maps::arguments(maps.gid, &maps.gids))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }

    fn finish(mut self) -> Outcome {
        if let Some(mut go) = self.0.stdin.take() {
            // If it is gone, its exit code says so.
            let _ = go.write_all(&[1]);
        }
        match self.0.wait().ok().and_then(|status| status.code()) {
            Some(0) => Outcome::Done,
            Some(2) => Outcome::Half(
                "newuidmap mapped the user ids but newgidmap refused the group ids: check that /etc/subgid \
                 grants this user a range and that newgidmap is setuid root or has cap_setgid"
                    .into(),
            ),
            Some(_) | None => Outcome::Nothing,
        }
    }
}

/// Maps only the user itself, which takes no privilege once the right to set groups is given up.
fn single(uid: u32, gid: u32) -> Entry {
    let maps = [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {uid} 1\n")),
        ("/proc/self/gid_map", format!("0 {gid} 1\n")),
    ];
    for (path, text) in maps {
        if let Err(error) = std::fs::write(path, text) {
            return Entry::Unavailable(format!("cannot write {path}: {error}. {NEXT_STEP}"));
        }
    }
    Entry::SingleId
}

const NEXT_STEP: &str = "Allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, \
    user.max_user_namespaces above 0, kernel.apparmor_restrict_unprivileged_userns=0 or an AppArmor profile \
    with `userns`), or run as root";

fn forbidden(errno: rustix::io::Errno) -> String {
    format!(
        "the kernel does not let this user make a user namespace: {}. {NEXT_STEP}",
        std::io::Error::from(errno)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let table = "root:1:5\nann:100000:65536\n1000:300000:10\nannabel:1:1\nann:bad:1\n";
        assert_eq!(granted(table, Some("ann"), 1000), [(100_000, 65536), (300_000, 10)]);
        assert_eq!(granted(table, None, 1000), [(300_000, 10)]);
        assert_eq!(user_name("root:x:0:0::/:/bin/sh\nann:x:1000:1000::/:\n", 1000).unwrap(), "ann");
    }

    #[test]
    fn ranges_over_host_ids_are_not_used() {
        assert!(harmless((100_000, 65536), 1000));
        assert!(!harmless((0, 65536), 100_000));
        assert!(!harmless((500, 1000), 1000));
        assert!(!harmless((u32::MAX, 2), 1000));
        assert!(!harmless((5, 0), 1000));
    }

    #[test]
    fn maps_are_read_as_the_kernel_writes_them() {
        let maps = id_maps("         0       1000          1\n         1     100000      65536\n").unwrap();
        assert_eq!(maps[1], IdMap { inside: 1, outside: 100_000, count: 65536 });
        assert!(maps[0].has(0) && !maps[0].has(1) && maps[1].has(65536) && !maps[1].has(65537));
        assert_eq!(id_maps("0 1\n"), None);
        assert_eq!(id_maps("0 1 x\n"), None);
    }

    #[test]
    fn the_user_is_root_and_the_ranges_follow() {
        let shown = Maps::arguments(1000, &vec![(100_000, 10), (200_000, 5)]).join(" ");
        assert_eq!(shown, "0 1000 1 1 100000 10 11 200000 5");
    }
}
