//! How long a release is believed: until the time it says itself, as far as the machine's owner wants that checked
//! (sources.list(5), apt.conf(5)).

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::control::Paragraph;
use super::release::{Release, SEARCH};
use crate::epoch::Epoch;

/// What somebody says of a release's time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validity {
    /// Whether it must not be over.
    pub check: Option<bool>,
    /// Seconds after its date that it is valid at least, and at most.
    pub least: Option<i64>,
    pub most: Option<i64>,
}

impl Validity {
    /// As the options of a source say.
    pub fn of_options<'a>(option: impl Fn(&str) -> Option<&'a str>) -> Self {
        let seconds = |name| option(name).and_then(|text: &str| text.trim().parse().ok());
        Self {
            check: option("check-valid-until").and_then(truth),
            least: seconds("valid-until-min"),
            most: seconds("valid-until-max"),
        }
    }

    /// As the fields of a source say.
    pub fn of_fields(paragraph: &Paragraph<'_>) -> Self {
        Self::of_options(|name| paragraph.get(name))
    }

    /// As apt's configuration in a directory says of releases with a label; nothing where there is no apt. `place` is a
    /// directory of our own.
    pub fn of_machine(apt: &Path, label: &str, place: &Path) -> Self {
        // What this names is read before all others, and says where they are.
        let (file, text) = ("apt.conf", format!("Dir::Etc \"{}\";\n", apt.display()));
        if fs::write(place.join(file), text).is_err() {
            return Self::default();
        }
        let mut command = Command::new("apt-config");
        command.env_clear().env("PATH", SEARCH).env("LC_ALL", "C").env("APT_CONFIG", file);
        command.current_dir(place).process_group(0).stdin(Stdio::null()).arg("dump");
        let dumped = command.output().ok().filter(|ran| ran.status.success());
        dumped.map_or_else(Self::default, |ran| Self::of_dump(&String::from_utf8_lossy(&ran.stdout), label))
    }

    fn of_dump(text: &str, label: &str) -> Self {
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" \""))?;
            line.strip_suffix("\";")
        };
        let seconds = |name: &str| {
            let own = value(&format!("{name}::{label}")).filter(|_| !label.is_empty());
            own.or_else(|| value(name)).and_then(|text| text.parse().ok())
        };
        Self {
            check: value("Acquire::Check-Valid-Until").and_then(truth),
            least: seconds("Acquire::Min-ValidTime"),
            most: seconds("Acquire::Max-ValidTime"),
        }
    }

    /// This, and where it says nothing what another says.
    pub fn or(&self, other: &Self) -> Self {
        Self {
            check: self.check.or(other.check),
            least: self.least.or(other.least),
            most: self.most.or(other.most),
        }
    }

    /// Whether a release is over at `now`, in seconds since 1970. What says a time that cannot be read is over.
    pub fn is_over(&self, release: &Release, now: i64) -> bool {
        let date = release.date.as_deref().and_then(seconds);
        let own = release.valid_until.as_deref().map(|until| seconds(until).unwrap_or(i64::MIN));
        let after = |time: Option<i64>| Some(date?.saturating_add(time.filter(|time| *time > 0)?));
        let until = match (own, after(self.least)) {
            (Some(own), Some(least)) if own > i64::MIN => Some(own.max(least)),
            (own, _) => own,
        };
        let until = [until, after(self.most)].into_iter().flatten().min();
        until.is_some_and(|until| until < now)
    }
}

/// Seconds since 1970 of a date as releases write it.
fn seconds(date: &str) -> Option<i64> {
    Epoch::from_http_date(&date.replace("UTC", "GMT")).map(|time| time.seconds())
}

/// What apt takes for yes and no.
fn truth(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "yes" | "true" | "with" | "on" | "enable" | "1" => Some(true),
        "no" | "false" | "without" | "off" | "disable" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2023-11-14, and the second after which what follows is over.
    const DATE: &str = "Tue, 14 Nov 2023 22:13:20 UTC";
    const MOMENT: i64 = 1_700_000_000;

    fn release(fields: &str) -> Release {
        Release::parse(&format!("Suite: x\n{fields}SHA256:\n")).unwrap()
    }

    #[test]
    fn a_release_has_its_time() {
        let nothing = Validity::default();
        let until = release(&format!("Valid-Until: {DATE}\n"));
        assert!(!nothing.is_over(&until, MOMENT));
        assert!(nothing.is_over(&until, MOMENT + 1));
        assert!(nothing.is_over(&release("Valid-Until: some day\n"), 0));
        assert!(!nothing.is_over(&release(""), i64::MAX));
    }

    #[test]
    fn the_time_has_bounds() {
        let validity = |least, most| Validity { check: None, least, most };
        let both = release(&format!("Date: {DATE}\nValid-Until: Tue, 14 Nov 2023 22:13:30 UTC\n"));
        let over = |least, most, after| validity(least, most).is_over(&both, MOMENT + after);
        assert!(!over(None, None, 10) && over(None, None, 11));
        assert!(!over(Some(20), None, 20) && over(Some(20), None, 21), "longer");
        assert!(!over(Some(5), None, 10) && over(Some(5), None, 11), "not shorter");
        assert!(!over(None, Some(5), 5) && over(None, Some(5), 6), "shorter");
        assert!(over(None, Some(20), 11), "not longer");
        // With a date alone, what the owner says is all there is.
        let date = release(&format!("Date: {DATE}\n"));
        assert!(validity(None, Some(5)).is_over(&date, MOMENT + 6));
        assert!(!validity(Some(5), None).is_over(&date, MOMENT + 6));
        assert!(validity(Some(1 << 40), None).is_over(&release("Valid-Until: some day\n"), 0));
    }

    #[test]
    fn what_apt_says() {
        let dump = "Acquire \"\";\nAcquire::Check-Valid-Until \"false\";\nAcquire::Min-ValidTime \"7\";\nAcquire::Min-ValidTime::Debian \"9\";\n";
        let read = |label| Validity::of_dump(dump, label);
        assert_eq!(read("Debian"), Validity { check: Some(false), least: Some(9), most: None });
        assert_eq!(read("").least, Some(7));
        assert_eq!(Validity::of_dump("", "Debian"), Validity::default());
        let own = Validity { check: Some(true), ..Validity::default() };
        assert_eq!(own.or(&read("Debian")), Validity { check: Some(true), least: Some(9), most: None });
    }
}
