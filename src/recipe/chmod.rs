//! `--chmod`: a mode in octal, or a change of modes as chmod(1) has it.

/// What happens to the mode of everything copied but symlinks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chmod {
    /// 0 to 0o7777. Directories made on the way get it too.
    Octal(u16),
    /// Applied to each entry's own mode.
    Symbolic(Symbolic),
}

/// `u+x,go-w` and the like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbolic {
    text: String,
    changes: Vec<Change>,
}

/// Why a text is no `--chmod`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChmodError {
    #[error("an octal mode is from 0 to 07777")]
    Octal,
    #[error(
        "write an octal mode such as 755, or changes such as u+x,go-w: who (u, g, o, a), then +, - or =, then r, w, x, X, s, t"
    )]
    Symbolic,
}

/// One operator of one clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    who: Who,
    act: Act,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Who {
    user: bool,
    group: bool,
    other: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Add,
    Remove,
    Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Permissions {
        /// `r`, `w` and `x` as the last three bits.
        rwx: u16,
        /// `X`: execute, for directories and what somebody may execute already.
        conditional: bool,
        set_id: bool,
        sticky: bool,
    },
    /// What the user, the group or others have: the number of bits to shift.
    Copy(u16),
}

const SET_USER: u16 = 0o4000;
const SET_GROUP: u16 = 0o2000;
const STICKY: u16 = 0o1000;

impl std::str::FromStr for Chmod {
    type Err = ChmodError;

    fn from_str(text: &str) -> Result<Self, ChmodError> {
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            let mode = u16::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o7777);
            return mode.map(Self::Octal).ok_or(ChmodError::Octal);
        }
        let clauses: Option<Vec<Vec<Change>>> = text.split(',').map(clause).collect();
        let changes = clauses.ok_or(ChmodError::Symbolic)?.concat();
        Ok(Self::Symbolic(Symbolic { text: text.to_owned(), changes }))
    }
}

impl std::fmt::Display for Chmod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Octal(mode) => write!(f, "{mode:04o}"),
            Self::Symbolic(symbolic) => f.write_str(&symbolic.text),
        }
    }
}

impl Chmod {
    /// The mode of an entry that had `mode`.
    pub fn apply(&self, mode: u16, is_dir: bool) -> u16 {
        match self {
            Self::Octal(mode) => *mode,
            Self::Symbolic(symbolic) => {
                symbolic.changes.iter().fold(mode, |mode, change| change.apply(mode, is_dir))
            }
        }
    }

    /// The mode of a directory that is made on the way.
    pub fn of_new_dir(&self) -> u16 {
        match self {
            Self::Octal(mode) => *mode,
            Self::Symbolic(_) => 0o755,
        }
    }
}

/// `ugo+rwx-w`: who, then one or more operators.
fn clause(text: &str) -> Option<Vec<Change>> {
    let start = text.find(['+', '-', '='])?;
    let mut who = Who::default();
    for c in text[..start].chars() {
        match c {
            'u' => who.user = true,
            'g' => who.group = true,
            'o' => who.other = true,
            'a' => who = Who { user: true, group: true, other: true },
            _ => return None,
        }
    }
    if start == 0 {
        who = Who { user: true, group: true, other: true };
    }
    let mut changes = Vec::new();
    let mut rest = &text[start..];
    while let Some(operator) = rest.chars().next() {
        let act = match operator {
            '+' => Act::Add,
            '-' => Act::Remove,
            _ => Act::Set,
        };
        rest = &rest[1..];
        let end = rest.find(['+', '-', '=']).unwrap_or(rest.len());
        changes.push(Change { who, act, what: what(&rest[..end])? });
        rest = &rest[end..];
    }
    Some(changes)
}

fn what(text: &str) -> Option<What> {
    match text {
        "u" => return Some(What::Copy(6)),
        "g" => return Some(What::Copy(3)),
        "o" => return Some(What::Copy(0)),
        _ => {}
    }
    let (mut rwx, mut conditional, mut set_id, mut sticky) = (0, false, false, false);
    for c in text.chars() {
        match c {
            'r' => rwx |= 4,
            'w' => rwx |= 2,
            'x' => rwx |= 1,
            'X' => conditional = true,
            's' => set_id = true,
            't' => sticky = true,
            _ => return None,
        }
    }
    Some(What::Permissions { rwx, conditional, set_id, sticky })
}

impl Change {
    fn apply(self, mode: u16, is_dir: bool) -> u16 {
        let (rwx, special) = match self.what {
            What::Copy(shift) => (mode >> shift & 7, 0),
            What::Permissions { rwx, conditional, set_id, sticky } => {
                let execute = u16::from(conditional && (is_dir || mode & 0o111 != 0));
                let user = if set_id && self.who.user { SET_USER } else { 0 };
                let group = if set_id && self.who.group { SET_GROUP } else { 0 };
                (rwx | execute, user | group | if sticky { STICKY } else { 0 })
            }
        };
        let bit = |yes: bool, shift: u16| if yes { rwx << shift } else { 0 };
        let bits = special | bit(self.who.user, 6) | bit(self.who.group, 3) | bit(self.who.other, 0);
        match self.act {
            Act::Add => mode | bits,
            Act::Remove => mode & !bits,
            Act::Set => mode & !self.who.all() | bits,
        }
    }
}

impl Who {
    /// Every bit that `=` decides.
    fn all(self) -> u16 {
        let bits = |yes: bool, bits: u16| if yes { bits } else { 0 };
        let sticky = bits(self.user && self.group && self.other, STICKY);
        bits(self.user, SET_USER | 0o700)
            | bits(self.group, SET_GROUP | 0o070)
            | bits(self.other, 0o007)
            | sticky
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_change_as_chmod_changes_them() {
        for (text, file, dir) in [
            ("755", 0o755, 0o755),
            ("0", 0, 0),
            ("7777", 0o7777, 0o7777),
            ("u+x", 0o744, 0o755),
            ("+x", 0o755, 0o755),
            ("a-r", 0o200, 0o311),
            ("go=", 0o600, 0o700),
            ("a=rX", 0o444, 0o555),
            ("u=rwX,go=rX", 0o644, 0o755),
            ("g=u", 0o664, 0o775),
            ("o=g,g=", 0o604, 0o705),
            ("u+x-w", 0o544, 0o555),
            ("ug+s,+t", 0o7644, 0o7755),
            ("u=rwx,g+w,o-r", 0o760, 0o771),
            ("u+X", 0o644, 0o755),
        ] {
            let chmod: Chmod = text.parse().unwrap();
            assert_eq!((chmod.apply(0o644, false), chmod.apply(0o755, true)), (file, dir), "{text}");
        }
    }

    #[test]
    fn what_is_no_mode() {
        for text in ["8", "77777", "0x1", "9z", "-1"] {
            assert!(text.parse::<Chmod>().is_err() || text == "-1", "{text}");
        }
        for text in ["", "u", "x", "u+q", "z+x", "u+x,", ",u+x", "+ug", "u x", "rwx"] {
            assert_eq!(text.parse::<Chmod>(), Err(ChmodError::Symbolic), "{text}");
        }
    }
}
