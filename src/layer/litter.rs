//! What distributions leave behind where they install something, and nobody wants in an image (spec/litter.md).
//!
//! Owns the rules and what they mean for a path. [`crate::action::LITTER_VERSION`] stands for them in keys.

use crate::path::ImagePath;

/// What becomes of a file that a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// It is not in the layer.
    Drop,
    /// It is there without its bytes: what reads it knows that it is to be filled.
    Empty,
}

/// When a rule holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Always,
    /// In a step that changed one of the files that say what is installed: another one may be there to fetch what the next
    /// installs from.
    Installed(&'static [&'static str]),
}

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Names between slashes, of which `*` stands for any part of one, `**` for any number of them, and a `~` at the
    /// beginning for root's home and those below `/home`.
    pub pattern: &'static str,
    pub act: Act,
    pub when: When,
}

const DPKG: When = When::Installed(&["var/lib/dpkg/status"]);
const RPM: When = When::Installed(&[
    "var/lib/rpm/rpmdb.sqlite",
    "usr/lib/sysimage/rpm/rpmdb.sqlite",
    "var/lib/rpm/Packages",
    "usr/lib/sysimage/rpm/Packages.db",
]);
const APK: When = When::Installed(&["lib/apk/db/installed", "usr/lib/apk/db/installed"]);

const fn drop(pattern: &'static str) -> Rule {
    Rule { pattern, act: Act::Drop, when: When::Always }
}

const fn drop_if(pattern: &'static str, when: When) -> Rule {
    Rule { pattern, act: Act::Drop, when }
}

/// All rules. A change here is a new [`crate::action::LITTER_VERSION`], and of spec/litter.md.
pub const RULES: &[Rule] = &[
    // dpkg, apt
    drop("var/log/apt/*"),
    drop("var/log/dpkg.log*"),
    drop("var/log/alternatives.log*"),
    drop("var/log/bootstrap.log"),
    drop("var/log/fontconfig.log"),
    drop("var/cache/apt/pkgcache.bin"),
    drop("var/cache/apt/srcpkgcache.bin"),
    drop("var/cache/apt/archives/lock"),
    drop_if("var/cache/apt/archives/*.deb", DPKG),
    drop_if("var/cache/apt/archives/partial/*", DPKG),
    drop_if("var/lib/apt/lists/**", DPKG),
    drop("var/lib/apt/daily_lock"),
    drop("var/lib/dpkg/lock"),
    drop("var/lib/dpkg/lock-frontend"),
    drop("var/lib/dpkg/triggers/Lock"),
    drop("var/lib/dpkg/*-old"),
    drop("var/cache/debconf/*-old"),
    // What shadow and friends keep of the file before the last change.
    drop("etc/passwd-"),
    drop("etc/group-"),
    drop("etc/shadow-"),
    drop("etc/gshadow-"),
    drop("etc/subuid-"),
    drop("etc/subgid-"),
    drop("etc/.pwd.lock"),
    drop("var/log/lastlog"),
    drop("var/log/faillog"),
    // rpm, dnf, yum, zypper
    drop("var/log/dnf*.log*"),
    drop("var/log/hawkey.log*"),
    drop("var/log/yum.log*"),
    drop("var/log/tdnf.log*"),
    drop("var/log/zypper.log*"),
    drop("var/log/zypp/**"),
    drop("var/lib/dnf/history.sqlite*"),
    drop("var/lib/rpm/.rpm.lock"),
    drop("usr/lib/sysimage/rpm/.rpm.lock"),
    drop("var/lib/rpm/__db.*"),
    drop_if("var/cache/dnf/**", RPM),
    drop_if("var/cache/libdnf5/**", RPM),
    drop_if("var/cache/yum/**", RPM),
    drop_if("var/cache/tdnf/**", RPM),
    drop_if("var/cache/zypp/**", RPM),
    // apk, pacman
    drop("var/log/apk.log*"),
    drop("lib/apk/db/lock"),
    drop("usr/lib/apk/db/lock"),
    drop_if("var/cache/apk/**", APK),
    drop("var/log/pacman.log*"),
    // Indexes that name inodes and times.
    drop("**/var/cache/ldconfig/aux-cache"),
    drop("var/cache/man/**/index.db"),
    // What makes one machine differ from all others.
    Rule { pattern: "etc/machine-id", act: Act::Empty, when: When::Always },
    drop("var/lib/dbus/machine-id"),
    drop("var/lib/systemd/random-seed"),
    drop("var/log/journal/**"),
    // pip, npm, yarn
    drop("~/.cache/pip/**"),
    drop("~/.npm/_logs/**"),
    drop("~/.npm/_cacache/**"),
    drop("~/.npm/_update-notifier-last-checked"),
    drop("~/.cache/yarn/**"),
    drop("usr/local/share/.cache/yarn/**"),
    // What shells and tools remember of who used them.
    drop("~/.bash_history"),
    drop("~/.ash_history"),
    drop("~/.zsh_history"),
    drop("~/.python_history"),
    drop("~/.node_repl_history"),
    drop("~/.sqlite_history"),
    drop("~/.mysql_history"),
    drop("~/.psql_history"),
    drop("~/.lesshst"),
    drop("~/.viminfo"),
    drop("~/.wget-hsts"),
    drop("~/.rnd"),
    drop("~/.gnupg/random_seed"),
    // Crashes, and processes that are no more.
    drop("core"),
    drop("var/crash/**"),
    drop("var/lib/systemd/coredump/**"),
    drop("run/**/*.pid"),
    drop("var/run/**/*.pid"),
];

/// The rules that hold for one step.
#[derive(Debug, Clone, Default)]
pub struct Litter {
    rules: Vec<(Vec<&'static str>, Act)>,
}

impl Litter {
    /// The rules, where `is_changed` says whether the step changed a file.
    pub fn new(mut is_changed: impl FnMut(&ImagePath) -> bool) -> Self {
        let mut holds = |when: When| match when {
            When::Always => true,
            When::Installed(files) => files.iter().any(|file| {
                is_changed(&ImagePath::parse(file.as_bytes()).expect("the rules name paths of images"))
            }),
        };
        let mut rules = Vec::new();
        for rule in RULES.iter().filter(|rule| holds(rule.when)) {
            for home in homes(rule.pattern) {
                rules.push((home, rule.act));
            }
        }
        Self { rules }
    }

    /// What becomes of a path.
    pub fn act(&self, path: &ImagePath) -> Option<Act> {
        let names: Vec<&[u8]> = path.names().collect();
        self.rules.iter().find(|(pattern, _)| is_path(pattern, &names)).map(|(_, act)| *act)
    }
}

/// A pattern's names; of one that begins at home, once for each kind of home.
fn homes(pattern: &'static str) -> Vec<Vec<&'static str>> {
    match pattern.strip_prefix("~/") {
        None => vec![pattern.split('/').collect()],
        Some(rest) => [["root"].as_slice(), &["home", "*"]]
            .iter()
            .map(|home| home.iter().copied().chain(rest.split('/')).collect())
            .collect(),
    }
}

fn is_path(pattern: &[&str], names: &[&[u8]]) -> bool {
    match (pattern.split_first(), names.split_first()) {
        (None, None) => true,
        // At the end at least one name, so that the directory itself is none.
        (Some((&"**", [])), names) => names.is_some(),
        (Some((&"**", rest)), _) => (0..=names.len()).any(|skipped| is_path(rest, &names[skipped..])),
        (Some((first, rest)), Some((name, others))) => {
            is_name(first.as_bytes(), name) && is_path(rest, others)
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

fn is_name(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|skipped| is_name(rest, &name[skipped..])),
        Some((first, rest)) => {
            name.split_first().is_some_and(|(byte, name)| byte == first && is_name(rest, name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::LITTER_VERSION;
    use crate::digest::BlobDigest;

    fn act(litter: &Litter, path: &str) -> Option<Act> {
        litter.act(&ImagePath::parse(path.as_bytes()).unwrap())
    }

    #[test]
    fn pinned_vector() {
        // spec/litter.md: another list is another version.
        let all: String =
            RULES.iter().map(|rule| format!("{} {:?} {:?}\n", rule.pattern, rule.act, rule.when)).collect();
        assert_eq!((LITTER_VERSION, BlobDigest::of(all.as_bytes()).to_string().as_str()), (2, PINNED));
    }

    const PINNED: &str = "sha256:440cf07757bb0f59d2911aff5ecfb83216c203c6fdbe88fecb48f570babccca7";

    #[test]
    fn the_page_lists_every_rule() {
        let page = include_str!("../../spec/litter.md");
        for rule in RULES {
            assert!(page.contains(&format!("`{}`", rule.pattern)), "spec/litter.md lacks {}", rule.pattern);
        }
    }

    #[test]
    fn rules_are_about_what_they_say_and_nothing_else() {
        let litter = Litter::new(|_| true);
        for path in [
            "var/log/apt/history.log",
            "var/log/dpkg.log",
            "var/log/dpkg.log.1",
            "var/cache/apt/archives/a_1_all.deb",
            "var/lib/apt/lists/x_Packages",
            "var/lib/apt/lists/partial/y",
            "root/.cache/pip/http/a/b",
            "home/me/.wget-hsts",
            "run/nginx.pid",
            "run/a/b/c.pid",
            "var/cache/man/index.db",
            "var/cache/man/de/index.db",
            "var/cache/ldconfig/aux-cache",
            "root/system/var/cache/ldconfig/aux-cache",
        ] {
            assert_eq!(act(&litter, path), Some(Act::Drop), "{path}");
        }
        assert_eq!(act(&litter, "etc/machine-id"), Some(Act::Empty));
        for path in [
            "var/log/apt",
            "var/lib/apt/lists",
            "var/log/nginx/access.log",
            "var/cache/apt",
            "srv/var/log/dpkg.log",
            "home/.wget-hsts",
            "root/.cache/pip",
            "var/lib/dpkg/status",
            "etc/passwd",
            "usr/bin/core",
            "a.pid",
            "var/cache/man/de/other",
            "var/lib/rpm/rpmdb.sqlite",
        ] {
            assert_eq!(act(&litter, path), None, "{path}");
        }
    }

    #[test]
    fn what_the_next_step_installs_from_stays_where_nothing_was_installed() {
        let update = Litter::new(|_| false);
        assert_eq!(act(&update, "var/lib/apt/lists/x_Packages"), None);
        assert_eq!(act(&update, "var/cache/apt/pkgcache.bin"), Some(Act::Drop));
        let apk = Litter::new(|path| path.as_bytes() == b"lib/apk/db/installed");
        assert_eq!(act(&apk, "var/cache/apk/x.apk"), Some(Act::Drop));
        assert_eq!(act(&apk, "var/lib/apt/lists/x_Packages"), None);
    }
}
