//! A build whose records are written for other machines while it goes on.

use std::sync::mpsc::{Sender, channel};
use std::thread::scope;

use super::progress::{self, Steps};
use super::report::{Event, Ui};
use super::{BuildError, Prepared};
use crate::diag;
use crate::recipe::{Base, Recipe};
use crate::shared::{Mode, Offer, PlaceError, To, Writer, Written};
use crate::size::human;

/// Where offers go, and which.
struct Outlet {
    mode: Mode,
    sender: Sender<Offer>,
}

/// Runs the plan. What could not be written does not spoil what was built, so it is told apart.
pub fn run(prepared: &Prepared<'_>, ui: &dyn Ui) -> (Result<Steps, BuildError>, Result<(), BuildError>) {
    let sinks = &prepared.options.cache_to;
    let in_images = in_images(&prepared.recipe);
    scope(|scope| {
        let mut outlets = Vec::new();
        let mut writers = Vec::new();
        for sink in sinks {
            let (sender, offers) = channel();
            outlets.push(Outlet { mode: sink.to.mode, sender });
            writers.push(scope.spawn(move || match &sink.place {
                Ok(place) => {
                    let writer = Writer::new(prepared.store, place.clone(), sink.to.packing);
                    writer.signing(sink.signing.clone()).write(&offers)
                }
                Err(reason) => Err(reason.clone().into()),
            }));
        }
        let done = until_kept(prepared, ui, &|stage, offer| {
            for outlet in outlets.iter().filter(|outlet| outlet.mode == Mode::Max || in_images[stage]) {
                // A writer that failed says so at the end.
                let _ = outlet.sender.send(offer.clone());
            }
        });
        drop(outlets);
        for text in prepared.options.cache_from.not_counted() {
            ui.event(Event::Note(&format!("warning: {text}")));
        }
        let mut written = Ok(());
        for (sink, writer) in sinks.iter().zip(writers) {
            let result = writer.join().unwrap_or_else(|_| Err("the writer ended".into()));
            written = written.and(tell(&sink.to, result, ui));
        }
        (done, written)
    })
}

/// Runs the plan. A layer that an action made elsewhere, that was promised and is not to be had, is made here: its record is
/// none for this process, and the plan is run again, in which all that was done is a hit.
fn until_kept(
    prepared: &Prepared<'_>,
    ui: &dyn Ui,
    offer: &(dyn Fn(usize, Offer) + Sync),
) -> Result<Steps, BuildError> {
    loop {
        prepared.store.unkept_promises();
        let done = progress::run(prepared, ui, offer).and_then(|steps| {
            bring_read(prepared, &steps)?;
            Ok(steps)
        });
        let error = match done {
            Err(error) if error.is_unkept() => error,
            done => return done,
        };
        // Each is done without once, so this comes to an end.
        let mut of_actions = prepared.store.unkept_promises();
        of_actions.retain(|promise| !promise.is_of_image);
        if of_actions.is_empty() {
            return Err(error);
        }
        of_actions.iter().for_each(|promise| prepared.store.do_without(promise));
        ui.event(Event::Note(&format!("warning: {}; it is made here", diag::chain(&error))));
    }
}

/// Brings the layers that are read after all steps are done: whatever is wrong with one is found while it can be made here.
fn bring_read(prepared: &Prepared<'_>, steps: &Steps) -> Result<(), BuildError> {
    let recipe = &prepared.recipe;
    let merges = |stage: &usize| !recipe.stages[*stage].layers.is_empty();
    let is_all = prepared.options.reads_layers || prepared.options.sbom.is_some();
    let wanted = (0..recipe.stages.len()).filter(|stage| prepared.plan.wanted[*stage]);
    for stage in wanted.filter(|stage| is_all && recipe.targets.contains(stage) || merges(stage)) {
        let rootfs = steps.end(prepared, stage).expect("all steps are done");
        prepared.store.bring_all(&rootfs)?;
    }
    Ok(())
}

fn tell(to: &To, result: Result<Written, PlaceError>, ui: &dyn Ui) -> Result<(), BuildError> {
    match result {
        Ok(Written { entries, layers, bytes, left }) => {
            if let Some(left) = left {
                ui.event(Event::Note(&format!("warning: --cache-to: not all is written: {left}")));
            }
            if (entries, layers) != (0, 0) {
                let written = format!("{entries} records and {layers} layers ({}) written", human(bytes));
                ui.event(Event::Note(&format!("--cache-to: {written}")));
            }
            Ok(())
        }
        Err(error) if to.ignore_error => {
            ui.event(Event::Note(&format!("warning: --cache-to: {error}")));
            Ok(())
        }
        Err(error) => Err(BuildError::CacheTo(error.to_string())),
    }
}

/// For each stage, whether layers of it are in the image of a target.
fn in_images(recipe: &Recipe) -> Vec<bool> {
    let mut found = vec![false; recipe.stages.len()];
    for target in &recipe.targets {
        let mut stage = Some(*target);
        while let Some(at) = stage {
            found[at] = true;
            stage = match recipe.stages[at].base {
                Base::Stage(earlier) => Some(earlier),
                Base::Scratch | Base::Image(_) | Base::Packages(_) => None,
            };
        }
    }
    found
}
