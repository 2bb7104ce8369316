//! Names of users and groups, looked up in the image's own `/etc/passwd` and `/etc/group`.

use super::ExecError;
use super::observe::Observer;
use crate::path::ImagePath;
use crate::sandbox::spec::Ids;

/// The numeric owner of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

/// One line of passwd: name, uid, gid. One of group: name, gid, members.
struct Names {
    passwd: Option<String>,
    group: Option<String>,
}

impl Names {
    fn read(parent: &Observer<'_>) -> Result<Self, ExecError> {
        Ok(Self { passwd: text(parent, b"etc/passwd")?, group: text(parent, b"etc/group")? })
    }

    /// `root` is 0 even where no file names it, as BuildKit has it: an image from scratch needs no passwd for it.
    fn user(&self, name: &str) -> Option<Owner> {
        let listed = lines(&self.passwd).find(|f| f.first() == Some(&name));
        match listed {
            Some(fields) => owner(&fields),
            None => (name == "root").then(Owner::default),
        }
    }

    fn user_by_id(&self, uid: u32) -> Option<(&str, Owner)> {
        lines(&self.passwd).find_map(|f| owner(&f).filter(|o| o.uid == uid).map(|o| (f[0], o)))
    }

    fn group(&self, name: &str) -> Option<u32> {
        match lines(&self.group).find(|f| f.first() == Some(&name)) {
            Some(fields) => id(fields.get(2)?),
            None => (name == "root").then_some(0),
        }
    }

    /// The groups a user is listed in, sorted.
    fn memberships(&self, user: &str) -> Vec<u32> {
        let mut gids: Vec<u32> = lines(&self.group)
            .filter(|f| f.get(3).is_some_and(|members| members.split(',').any(|m| m == user)))
            .filter_map(|f| id(f[2]))
            .collect();
        gids.sort_unstable();
        gids.dedup();
        gids
    }
}

pub(super) fn text(parent: &Observer<'_>, path: &[u8]) -> Result<Option<String>, ExecError> {
    let path = ImagePath::parse(path).expect("a literal path");
    Ok(parent.small_file(&path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

fn lines(text: &Option<String>) -> impl Iterator<Item = Vec<&str>> {
    text.as_deref().unwrap_or("").lines().map(|line| line.split(':').collect())
}

fn owner(fields: &[&str]) -> Option<Owner> {
    Some(Owner { uid: id(fields.get(2)?)?, gid: id(fields.get(3)?)? })
}

/// An id of a file: decimal digits, below 2^31. 2^32-1 would mean "do not change" to the kernel, and so root.
fn id(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id <= i32::MAX.unsigned_abs())
}

/// A number as docker takes it: decimal, below 2^31; `None` if the text is no number at all.
fn number(text: &str, whole: &str) -> Result<Option<u32>, ExecError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b'+') {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(id) if id <= i32::MAX.unsigned_abs() && text.bytes().all(|b| b.is_ascii_digit()) => Ok(Some(id)),
        Ok(_) | Err(_) => Err(ExecError::BadId { text: whole.to_owned() }),
    }
}

/// `--chown=user[:group]`: a number without a group is both; a name needs an entry in passwd and brings its group.
pub fn chown(text: &str, parent: &Observer<'_>) -> Result<Owner, ExecError> {
    let (user, group) = split(text);
    let names = Names::read_if_named(&[Some(user), group], text, parent)?;
    let unknown = |name: &str, file| ExecError::UnknownName { name: name.to_owned(), file };
    let owner = match number(user, text)? {
        Some(uid) => Owner { uid, gid: uid },
        None => names.user(user).ok_or_else(|| unknown(user, "/etc/passwd"))?,
    };
    let gid = match group {
        None => owner.gid,
        Some(group) => match number(group, text)? {
            Some(gid) => gid,
            None => names.group(group).ok_or_else(|| unknown(group, "/etc/group"))?,
        },
    };
    Ok(Owner { uid: owner.uid, gid })
}

/// `USER user[:group]` as a process' identity: supplementary groups come from the group file.
pub fn process(text: &str, parent: &Observer<'_>) -> Result<Ids, ExecError> {
    if text.is_empty() {
        return Ok(Ids::default());
    }
    let (user, group) = split(text);
    if user.is_empty() || text.ends_with(':') {
        return Err(ExecError::BadUser { text: text.to_owned() });
    }
    let names = Names::read(parent)?;
    let unknown = |name: &str, file| ExecError::UnknownName { name: name.to_owned(), file };
    let (owner, name) = match number(user, text)? {
        Some(uid) => match names.user_by_id(uid) {
            Some((name, owner)) => (owner, Some(name)),
            None => (Owner { uid, gid: 0 }, None),
        },
        None => (names.user(user).ok_or_else(|| unknown(user, "/etc/passwd"))?, Some(user)),
    };
    match group {
        Some(group) => {
            let gid = match number(group, text)? {
                Some(gid) => gid,
                None => names.group(group).ok_or_else(|| unknown(group, "/etc/group"))?,
            };
            Ok(Ids { uid: owner.uid, gid, groups: vec![] })
        }
        None => {
            let groups = name.map(|name| names.memberships(name)).unwrap_or_default();
            Ok(Ids { uid: owner.uid, gid: owner.gid, groups })
        }
    }
}

/// The home directory of a user as the image's passwd has it, else `/`.
pub fn home(uid: u32, parent: &Observer<'_>) -> Result<String, ExecError> {
    let passwd = text(parent, b"etc/passwd")?;
    let home =
        lines(&passwd).find(|f| owner(f).is_some_and(|o| o.uid == uid)).and_then(|f| f.get(5).copied());
    Ok(home.filter(|home| !home.is_empty()).unwrap_or("/").to_owned())
}

impl Names {
    /// Reads the files only if a part is a name: a numeric owner must not depend on them.
    fn read_if_named(parts: &[Option<&str>], whole: &str, parent: &Observer<'_>) -> Result<Self, ExecError> {
        for part in parts.iter().flatten() {
            if number(part, whole)?.is_none() {
                return Self::read(parent);
            }
        }
        Ok(Self { passwd: None, group: None })
    }
}

fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once(':') {
        Some((user, group)) if !group.is_empty() => (user, Some(group)),
        Some((user, _)) => (user, None),
        None => (text, None),
    }
}
