//! How long the parts of a step's work take. For people alone: no build decides anything by it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::report::{Event, StepInfo, Ui};
use crate::action::LayerRef;
use crate::digest::ActionKey;
use crate::exec::run::Part;
use crate::plan::Phase;
use crate::store::builds::Spent;

/// The work of one thread on one node.
pub(super) struct Meter<'a> {
    pub ui: &'a dyn Ui,
    pub info: &'a StepInfo,
    phase: Phase,
    began: Duration,
    /// What is done now, and since when.
    now: Option<(Part, Duration)>,
    parts: BTreeMap<Part, Duration>,
    /// Of the step's earlier node.
    before: Spent,
    /// Litter that is not in its layer.
    pub dropped: Vec<String>,
}

/// What is known when a node was left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    pub key: ActionKey,
    pub layer: Option<LayerRef>,
}

impl<'a> Meter<'a> {
    pub fn start(ui: &'a dyn Ui, info: &'a StepInfo, phase: Phase) -> Self {
        ui.event(Event::Taken { step: info, phase });
        let (parts, before) = (BTreeMap::new(), Spent::default());
        Self { ui, info, phase, began: ui.clock(), now: None, parts, before, dropped: Vec::new() }
    }

    /// Another part begins.
    pub fn part(&mut self, part: Part) {
        let clock = self.ui.clock();
        self.close(clock);
        self.now = Some((part, clock));
        self.ui.event(Event::Part { step: self.info, part });
    }

    fn close(&mut self, clock: Duration) {
        if let Some((part, since)) = self.now.take() {
            *self.parts.entry(part).or_default() += clock.saturating_sub(since);
        }
    }

    /// Counts what was spent on the step before.
    pub fn add(&mut self, before: &Spent) {
        self.before = before.clone();
    }

    /// All that was spent on the step so far.
    pub fn spent(&self) -> Spent {
        let clock = self.ui.clock();
        let mut spent = self.before.clone();
        spent.total += micros(clock.saturating_sub(self.began));
        let open = self.now.map(|(part, since)| (part, clock.saturating_sub(since)));
        for (part, time) in self.parts.iter().map(|(part, time)| (*part, *time)).chain(open) {
            *spent.parts.entry(part.name().to_owned()).or_default() += micros(time);
        }
        spent
    }

    /// The node is left.
    pub fn leave(self, left: Option<Left>) {
        let (key, layer) = (left.map(|left| left.key), left.and_then(|left| left.layer));
        self.ui.event(Event::Left { step: self.info, phase: self.phase, key, layer });
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Span;
    use crate::plan::StepId;
    use std::sync::Mutex;

    /// A clock that goes on by a second each time it is read.
    #[derive(Default)]
    struct Ticks(Mutex<u64>);

    impl Ui for Ticks {
        fn event(&self, _: Event<'_>) {}

        fn clock(&self) -> Duration {
            let mut ticks = self.0.lock().unwrap();
            *ticks += 1;
            Duration::from_secs(*ticks)
        }
    }

    #[test]
    fn parts_that_come_again_are_added_and_both_nodes_count() {
        let ticks = Ticks::default();
        let id = StepId { stage: 0, step: 0 };
        let info = StepInfo {
            id,
            name: "a/1".into(),
            text: String::new(),
            line: 1,
            span: Span::default(),
            effects: vec![],
        };
        let mut meter = Meter::start(&ticks, &info, Phase::Settle);
        let before = Spent { total: 7, parts: [("hash".to_owned(), 7)].into() };
        meter.add(&before);
        for part in [Part::Lookup, Part::Run, Part::Lookup] {
            meter.part(part);
        }
        let spent = meter.spent();
        assert_eq!(spent.total, 4_000_007);
        let parts: Vec<_> = spent.parts.iter().map(|(name, time)| (name.as_str(), *time)).collect();
        assert_eq!(parts, [("hash", 7), ("lookup", 2_000_000), ("run", 1_000_000)]);
    }
}
