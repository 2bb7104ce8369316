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

/// One thing done to a mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Set(u16),
    Clear(u16),
    /// `X`: sets these bits of directories, and of what somebody may execute before anything is changed.
    SetIfExecutable(u16),
    /// What the user, the group or others have by now, `shift` bits up, goes to the classes in `who`.
    Copy {
        shift: u16,
        act: Act,
        who: u16,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Add,
    Remove,
    Set,
}

const USER: u16 = 0o4700;
const GROUP: u16 = 0o2070;
const OTHER: u16 = 0o0007;
const ALL: u16 = USER | GROUP | OTHER;
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
                let executable = is_dir || mode & 0o111 != 0;
                symbolic.changes.iter().fold(mode, |mode, change| change.apply(mode, executable))
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

/// `ug+rw-x`: who, then one or more operators.
fn clause(text: &str) -> Option<Vec<Change>> {
    let start = text.find(['+', '-', '='])?;
    let mut who = if start == 0 { ALL } else { 0 };
    for c in text[..start].chars() {
        who |= match c {
            'u' => USER,
            'g' => GROUP,
            'o' => OTHER,
            'a' => ALL,
            _ => return None,
        };
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
        Operation::new(who, act, &mut changes).read(&rest[..end])?;
        rest = &rest[end..];
    }
    Some(changes)
}

/// One operator while what follows it is read.
struct Operation<'a> {
    who: u16,
    act: Act,
    /// What `=` still has to take away happens with the first bits it gives.
    cleared: bool,
    bits: u16,
    conditional: bool,
    changes: &'a mut Vec<Change>,
}

impl<'a> Operation<'a> {
    fn new(who: u16, act: Act, changes: &'a mut Vec<Change>) -> Self {
        Self { who, act, cleared: act != Act::Set, bits: 0, conditional: false, changes }
    }

    fn read(mut self, what: &str) -> Option<()> {
        // Others have no set-id bit, and the sticky bit is not theirs.
        let special = self.who & !OTHER != 0;
        for c in what.chars() {
            match c {
                'r' => self.bits |= 0o444,
                'w' => self.bits |= 0o222,
                'x' => self.bits |= 0o111,
                'X' => self.conditional = self.act != Act::Remove,
                's' if special => self.bits |= 0o6000,
                't' if special => {
                    self.bits |= STICKY;
                    self.who |= STICKY;
                }
                's' | 't' => {}
                'u' => self.copy(6),
                'g' => self.copy(3),
                'o' => self.copy(0),
                _ => return None,
            }
        }
        self.flush();
        Some(())
    }

    fn copy(&mut self, shift: u16) {
        self.cleared = true;
        self.flush();
        self.changes.push(Change::Copy { shift, act: self.act, who: self.who });
    }

    /// Writes down the bits gathered so far.
    fn flush(&mut self) {
        let bits = self.who & std::mem::take(&mut self.bits);
        match self.act {
            Act::Add => self.changes.push(Change::Set(bits)),
            Act::Remove => self.changes.push(Change::Clear(bits)),
            Act::Set if bits == 0 && self.cleared => {}
            Act::Set => self.changes.extend([Change::Clear(self.who), Change::Set(bits)]),
        }
        self.cleared = true;
        if std::mem::take(&mut self.conditional) {
            self.changes.push(Change::SetIfExecutable(self.who & 0o111));
        }
    }
}

impl Change {
    /// `executable`: whether `X` counts.
    fn apply(self, mode: u16, executable: bool) -> u16 {
        match self {
            Self::Set(bits) => mode | bits,
            Self::Clear(bits) => mode & !bits,
            Self::SetIfExecutable(bits) => mode | if executable { bits } else { 0 },
            Self::Copy { shift, act, who } => {
                let spread = |rwx: u16| who & (rwx << 6 | rwx << 3 | rwx);
                let bits = spread(mode >> shift & 7);
                match act {
                    Act::Add => mode | bits,
                    Act::Remove => mode & !bits,
                    Act::Set => mode & !spread(7) | bits,
                }
            }
        }
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

    /// Rows of file modes: a change, a mode, what becomes of it.
    const FILES: &[(&str, u16, u16)] = &[
        // Nothing said, nothing done; `=` alone takes all but the sticky bit.
        ("+", 0o421, 0o421),
        ("-", 0o421, 0o421),
        ("=", 0o7777, 0o1000),
        ("u=", 0o7777, 0o3077),
        ("go=", 0o7777, 0o5700),
        // Nobody named is everybody, whatever the umask.
        ("+w", 0, 0o222),
        ("=rw", 0o777, 0o666),
        ("+xt", 0, 0o1111),
        // Set-id bits go by class; others have none, and the sticky bit is not theirs.
        ("+s", 0, 0o6000),
        ("a-s", 0o6777, 0o777),
        ("u+s", 0, 0o4000),
        ("g+s", 0, 0o2000),
        ("o+s", 0, 0),
        ("o+t", 0, 0),
        ("u+t", 0, 0o1000),
        ("-t", 0o1421, 0o421),
        ("a=rx", 0o1777, 0o1555),
        ("a=rxt", 0o777, 0o1555),
        // `X` looks at the mode as it was, and is never taken away.
        ("u+X", 0, 0),
        ("u+X", 0o001, 0o101),
        ("+X", 0o010, 0o111),
        ("-X", 0o777, 0o777),
        ("a-x,a+X", 0o700, 0o711),
        ("a=r,u+wX", 0o711, 0o744),
        ("=rw,+X", 0o766, 0o777),
        // Copies see what was done before them.
        ("u=g", 0o742, 0o442),
        ("u=g-w", 0o772, 0o572),
        ("u+go", 0o021, 0o321),
        ("-u", 0o111, 0),
        ("-Xu", 0o111, 0),
        ("go=u-w", 0o770, 0o755),
        ("u=rwx,go=u-w", 0, 0o755),
        ("u=go", 0o042, 0o242),
        ("u=rg", 0o020, 0o220),
        ("u=gr", 0o020, 0o420),
        ("a=r,ug=rw,u+x", 0o777, 0o764),
        ("o+r,g+w,a+t,g-s,u+og", 0o2100, 0o1724),
    ];

    #[test]
    fn files_change_as_the_table_says() {
        for (text, before, after) in FILES {
            let chmod: Chmod = text.parse().unwrap();
            assert_eq!(chmod.apply(*before, false), *after, "{text} on {before:o}");
        }
    }

    #[test]
    fn what_is_no_mode() {
        for text in ["8", "77777", "10000", "0x1", "9z", "0o755", "7 5"] {
            assert_eq!(text.parse::<Chmod>(), Err(ChmodError::Octal), "{text}");
        }
        for text in ["", "u", "x", "u+q", "z+x", "u+x,", ",u+x", ",", "u x", "rwx", "-1", "u+x ", "U+x"] {
            assert_eq!(text.parse::<Chmod>(), Err(ChmodError::Symbolic), "{text}");
        }
    }
}
