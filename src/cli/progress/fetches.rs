//! What is being fetched right now, as every view shows it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::out;
use crate::fetch::watch::{Act, Amount, TaskId};

/// All tasks that go on.
#[derive(Debug, Default)]
pub struct Fetches {
    tasks: BTreeMap<TaskId, Fetch>,
}

/// One of them.
#[derive(Debug)]
pub struct Fetch {
    pub act: Act,
    /// Without control characters.
    pub what: String,
    pub amount: Amount,
    pub began: Instant,
    /// When it was last told.
    told: Option<Instant>,
    /// Whether anything came: of what a server says is still the same, nothing does.
    moved: bool,
}

impl Fetches {
    pub fn begun(&mut self, task: TaskId, act: Act, what: &str) {
        let what = crate::diag::escape(what.as_bytes());
        let began = Instant::now();
        let fetch = Fetch { act, what, amount: Amount::default(), began, told: None, moved: false };
        self.tasks.insert(task, fetch);
    }

    /// Takes news in; gives the task if it is to be told: nothing before it is `old`, then once in a `pause`.
    pub fn moved(
        &mut self,
        task: TaskId,
        amount: &Amount,
        (old, pause): (Duration, Duration),
    ) -> Option<&Fetch> {
        let fetch = self.tasks.get_mut(&task)?;
        fetch.amount = *amount;
        fetch.moved = true;
        let is_time = match fetch.told {
            Some(told) => told.elapsed() >= pause,
            None => fetch.began.elapsed() >= old,
        };
        if !is_time {
            return None;
        }
        fetch.told = Some(Instant::now());
        Some(fetch)
    }

    /// Gives the task back, if anything came.
    pub fn ended(&mut self, task: TaskId) -> Option<Fetch> {
        self.tasks.remove(&task).filter(|fetch| fetch.moved)
    }

    /// Those that go on for longer than a blink, the oldest first.
    pub fn shown(&self, blink: Duration) -> impl Iterator<Item = &Fetch> {
        self.tasks.values().filter(move |fetch| fetch.began.elapsed() >= blink)
    }
}

/// `12.3MB / 45.6MB`, `3 of 12, 1.2MB / 4.5MB`, `45 of 100 objects, 1.2MB`; empty if nothing is known yet.
pub fn amount(amount: &Amount) -> String {
    let bytes = match amount.total {
        Some(total) => format!("{} / {}", out::size(amount.bytes), out::size(total)),
        None if amount.bytes > 0 => out::size(amount.bytes),
        None => String::new(),
    };
    match amount.pieces {
        None => bytes,
        Some(pieces) => {
            let unit = pieces.unit.map(|unit| format!(" {unit}")).unwrap_or_default();
            let count = format!("{} of {}{unit}", pieces.done, pieces.total);
            if bytes.is_empty() { count } else { format!("{count}, {bytes}") }
        }
    }
}

/// Two texts with two spaces between, in a line of `width` columns at most; of the first the middle goes if there is no
/// room, since its end tells it from others and the second is what changes.
pub fn line(head: &str, tail: &str, width: usize) -> String {
    let room = width.saturating_sub(tail.chars().count() + 2);
    let count = head.chars().count();
    let head = if count <= room {
        head.to_owned()
    } else if room < 20 {
        head.chars().take(room.saturating_sub(1)).chain(['…']).collect()
    } else {
        let after = (room - 1) / 2;
        let before = room - 1 - after;
        let end = head.chars().skip(count - after);
        head.chars().take(before).chain(['…']).chain(end).collect()
    };
    if tail.is_empty() { head } else { format!("{head}  {tail}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::watch::Pieces;

    #[test]
    fn amounts() {
        let bytes = |bytes, total| Amount { bytes, total, pieces: None };
        assert_eq!(amount(&bytes(12_300_000, Some(45_600_000))), "12.3MB / 45.6MB");
        assert_eq!(amount(&bytes(12_300_000, None)), "12.3MB");
        assert_eq!(amount(&Amount::default()), "");
        let pieces = |unit| Some(Pieces { done: 3, total: 12, unit });
        let set = Amount { pieces: pieces(None), ..bytes(0, Some(4_500_000)) };
        assert_eq!(amount(&set), "3 of 12, 0B / 4.50MB");
        let git = Amount { pieces: pieces(Some("objects")), ..Amount::default() };
        assert_eq!(amount(&git), "3 of 12 objects");
    }

    #[test]
    fn the_amount_stays_and_the_name_gives_way() {
        let name = "fetching https://mirror.invalid/debian/pool/main/x/some-package_1.0_amd64.deb";
        let text = line(name, "12.3MB / 45.6MB", 60);
        assert_eq!(
            text,
            "fetching https://mirr…some-package_1.0_amd64.deb  12.3MB / 45.6MB"
                .replace("some-package_1.0_amd64.deb", "package_1.0_amd64.deb")
        );
        assert_eq!(text.chars().count(), 60);
        assert_eq!(line("short", "1B", 60), "short  1B");
        assert_eq!(line("short", "", 60), "short");
        assert!(line(name, "12.3MB / 45.6MB", 10).chars().count() < 30);
    }

    #[test]
    fn news_are_told_now_and_then() {
        let ids: Vec<TaskId> = (0..2).map(TaskId::of_test).collect();
        let mut fetches = Fetches::default();
        fetches.begun(ids[0], Act::Fetch, "a\x1b[2J");
        let (never, soon) = (Duration::from_secs(3600), Duration::ZERO);
        let amount = Amount { bytes: 1, ..Amount::default() };
        assert!(fetches.moved(ids[0], &amount, (never, soon)).is_none());
        assert!(!fetches.moved(ids[0], &amount, (soon, never)).unwrap().what.contains('\x1b'));
        assert!(fetches.moved(ids[0], &amount, (soon, never)).is_none());
        assert!(fetches.moved(ids[0], &amount, (soon, soon)).is_some());
        assert_eq!(fetches.shown(never).count(), 0);
        assert_eq!(fetches.shown(soon).count(), 1);
        assert!(fetches.ended(ids[0]).is_some());
        fetches.begun(ids[1], Act::Fetch, "b");
        assert!(fetches.ended(ids[1]).is_none(), "nothing came");
    }
}
