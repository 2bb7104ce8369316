//! Why two images differ: the first step whose layer does, and which of its inputs (spec/diff.md, "Cause").

use std::collections::{BTreeMap, BTreeSet};

use super::align::aligned;
use super::content::Worlds;
use super::content::suspects::Class;
use super::options::Options;
use super::origin::{Made, Origin};
use super::report::{Cause, Changed, Entry, EntryChange, Images, NodeKind, Reason, Report, Step};
use crate::plan::explain;
use crate::store::Store;

/// The most files of a step's layer that are looked into for a cause.
const LOOKED_INTO: usize = 100;
/// The most names in one line.
const NAMED: usize = 3;

/// Why, if the two records say.
pub(super) fn cause(
    [a, b]: [&Origin; 2],
    images: &Images,
    records: Option<&Store>,
    worlds: &Worlds,
    options: &Options,
) -> Option<Cause> {
    if let Some((one, other)) =
        a.platform.as_ref().zip(b.platform.as_ref()).filter(|(one, other)| one != other)
    {
        let changed = changed("platform", Some(one), Some(other));
        return Some(Cause {
            line: format!("because they were built for other platforms: {one} and {other}"),
            reason: Reason::Platform,
            step: None,
            changed: vec![changed],
        });
    }
    let case = Case { a, b, images, records, worlds, options };
    case.base().or_else(|| case.step()).or_else(|| case.epoch(None)).or_else(|| case.metadata())
}

struct Case<'a> {
    a: &'a Origin,
    b: &'a Origin,
    images: &'a Images,
    records: Option<&'a Store>,
    worlds: &'a Worlds,
    options: &'a Options,
}

impl Case<'_> {
    /// A base that is another image now. What stands on it differs for that alone.
    fn base(&self) -> Option<Cause> {
        let moved: Vec<Changed> = self
            .a
            .bases
            .iter()
            .filter_map(|(name, one)| {
                let other = self.b.bases.get(name)?;
                (one != other).then(|| changed(name, Some(one), Some(other)))
            })
            .collect();
        let first = moved.first()?;
        let (one, other) = (short(first.a.as_deref()), short(first.b.as_deref()));
        let mut line = format!("because base `{}` moved from {one} to {other}", first.name);
        if moved.len() > 1 {
            line.push_str(&format!(", and {} more", moved.len() - 1));
        }
        Some(Cause { line, reason: Reason::Base, step: None, changed: moved })
    }

    /// The first step that is not the same, or made another layer.
    fn step(&self) -> Option<Cause> {
        let same = |step: &Made| (stage(&step.name).to_owned(), step.text.clone());
        let keys = |origin: &Origin| origin.steps.iter().map(same).collect::<Vec<_>>();
        for (one, other) in aligned(&keys(self.a), &keys(self.b)) {
            let (one, other) = (one.map(|at| &self.a.steps[at]), other.map(|at| &self.b.steps[at]));
            match (one, other) {
                (Some(one), Some(other)) if one.text != other.text => {
                    return Some(self.instruction(Some(one), Some(other)));
                }
                (Some(one), Some(other)) if one.layer == other.layer => {}
                (Some(one), Some(other)) => return Some(self.layer(one, other)),
                (one, other) => return Some(self.instruction(one, other)),
            }
        }
        None
    }

    fn instruction(&self, one: Option<&Made>, other: Option<&Made>) -> Cause {
        let text = |step: Option<&Made>| step.map(|step| step.text.clone());
        let what = match (one, other) {
            (Some(one), Some(other)) => format!("because `{}` became `{}`", one.text, other.text),
            (Some(one), None) => format!("because `{}` is gone", one.text),
            (None, Some(other)) => format!("because `{}` is new", other.text),
            (None, None) => String::new(),
        };
        let (step, origin) = match other {
            Some(other) => (other, self.b),
            None => (one.expect("one of both"), self.a),
        };
        let step = told(step, origin);
        Cause {
            line: format!("the build files differ first at {}: {what}", place(&step)),
            reason: Reason::Instruction,
            changed: vec![Changed { name: "instruction".into(), a: text(one), b: text(other) }],
            step: Some(step),
        }
    }

    /// The same instruction that made other layers: which input was another one?
    fn layer(&self, one: &Made, other: &Made) -> Cause {
        let step = told(other, self.b);
        let begin = format!("layers differ first at {}", place(&step));
        let cause = |reason, why: String, changed| Cause {
            line: format!("{begin}: {why}"),
            reason,
            step: Some(step.clone()),
            changed,
        };
        if let Some(files) = self.context_files(one, other) {
            let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
            let names = listed(&names, |name| format!("`{name}`"));
            let noun = if files.len() == 1 { "context file" } else { "context files" };
            return cause(Reason::ContextFile, format!("because {noun} {names} changed"), files);
        }
        if let Some(args) = self.arguments(one, other) {
            let shown =
                |value: &Option<String>| value.as_ref().map_or("not given".into(), |v| format!("{v:?}"));
            let why = args.iter().map(|arg| {
                format!("because build argument {} was {}, is {}", arg.name, shown(&arg.a), shown(&arg.b))
            });
            return cause(Reason::Argument, why.collect::<Vec<_>>().join("; "), args);
        }
        if let Some(epoch) = self.epoch(Some(step.clone())).filter(|_| only_epoch(one, other)) {
            return epoch;
        }
        if let Some(what) = explain::changed(&one.fields, &other.fields) {
            return cause(Reason::Input, format!("because its {}", what.text), Vec::new());
        }
        if one.key != other.key {
            return cause(Reason::Input, "because its inputs differ".into(), Vec::new());
        }
        if one.observations != other.observations {
            return cause(
                Reason::Below,
                "because what it saw in the image below it differs".into(),
                Vec::new(),
            );
        }
        let what = self.variation(one, other);
        let why = format!("its inputs are equal: the step is not deterministic: {what}");
        cause(Reason::NotDeterministic, why, Vec::new())
    }

    /// Sources of a COPY that are not the same. Of a directory the files in it, as far as the layers tell.
    fn context_files(&self, one: &Made, other: &Made) -> Option<Vec<Changed>> {
        if one.text.to_uppercase().contains("--FROM=") {
            return None;
        }
        let (was, is) = (self.sources(one, self.a), self.sources(other, self.b));
        let names: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
        let mut files = Vec::new();
        for name in names.into_iter().filter(|name| was.get(*name) != is.get(*name)) {
            let within = self.within(name, one, other);
            match within.is_empty() {
                true => files.push(changed(name, was.get(name), is.get(name))),
                false => files.extend(within),
            }
        }
        (!files.is_empty()).then_some(files)
    }

    fn sources(&self, step: &Made, origin: &Origin) -> BTreeMap<String, String> {
        if !step.fields.is_empty() {
            let of = |wanted: &'static str| step.fields.iter().filter(move |(name, _)| name == wanted);
            let pairs = of("copy.source.name").zip(of("copy.source.content"));
            return pairs.map(|((_, name), (_, content))| (name.clone(), content.clone())).collect();
        }
        // Provenance lists all files of the build; those that this instruction names are its own.
        let words: Vec<&str> =
            step.text.split_whitespace().map(|word| word.trim_start_matches("./")).collect();
        let own = origin.files.iter().filter(|(name, _)| words.contains(&name.as_str()));
        own.map(|(name, digest)| (name.clone(), digest.clone())).collect()
    }

    /// The files of a source that is a directory: the layers have them below the destination.
    fn within(&self, source: &str, one: &Made, other: &Made) -> Vec<Changed> {
        let dest = one.fields.iter().find(|(name, _)| name == "copy.dest").map(|(_, dest)| dest.as_str());
        let (Some(report), Some(dest)) = (self.layers(one, other, 0), dest) else { return Vec::new() };
        let entries: Vec<&Entry> = report.images.iter().flat_map(|images| &images.entries).collect();
        let mut files = Vec::new();
        for entry in entries {
            let node = entry.b.as_ref().or(entry.a.as_ref());
            if node.is_some_and(|node| node.kind == NodeKind::Directory) {
                continue;
            }
            let below = entry.path.strip_prefix(dest.trim_end_matches('/'));
            let Some(rest) = below.and_then(|rest| rest.strip_prefix('/')) else { continue };
            // A file is copied under its own name, which is no part of what a directory holds.
            if rest == source || rest == source.rsplit('/').next().unwrap_or(source) {
                continue;
            }
            let name = match source.trim_matches(['/', '.']) {
                "" => rest.to_owned(),
                dir => format!("{dir}/{rest}"),
            };
            let content =
                |node: &Option<super::report::Node>| node.as_ref().and_then(|node| node.content.clone());
            files.push(Changed { name, a: content(&entry.a), b: content(&entry.b) });
        }
        files
    }

    /// Build arguments that differ and that the step's environment has.
    fn arguments(&self, one: &Made, other: &Made) -> Option<Vec<Changed>> {
        let names: BTreeSet<&String> = self.a.args.keys().chain(self.b.args.keys()).collect();
        let (was, is) = (environment(one), environment(other));
        let differing = names.into_iter().filter(|name| self.a.args.get(*name) != self.b.args.get(*name));
        let args: Vec<Changed> = differing
            .filter(|name| one.fields.is_empty() || was.get(name.as_str()) != is.get(name.as_str()))
            .map(|name| changed(name, self.a.args.get(name), self.b.args.get(name)))
            .collect();
        // Without fields nobody knows whether the step took them; with the same key it did not.
        (!args.is_empty() && one.key != other.key).then_some(args)
    }

    fn epoch(&self, step: Option<Step>) -> Option<Cause> {
        let (one, other) = self.a.epoch.zip(self.b.epoch).filter(|(one, other)| one != other)?;
        let begin = match &step {
            Some(step) => format!("layers differ first at {}: because", place(step)),
            None => "because".to_owned(),
        };
        let changed = changed("epoch", Some(&one.to_string()), Some(&other.to_string()));
        let line = format!("{begin} the epoch was {one}, is {other}");
        Some(Cause { line, reason: Reason::Epoch, step, changed: vec![changed] })
    }

    /// The steps are the same and made the same layers.
    fn metadata(&self) -> Option<Cause> {
        let steps_known = !self.a.steps.is_empty() && !self.b.steps.is_empty();
        let names: Vec<&str> = self.images.fields.iter().map(|field| field.name.as_str()).collect();
        if !steps_known || names.is_empty() {
            return None;
        }
        let line =
            format!("every step made the same layer; what differs is {}", listed(&names, str::to_owned));
        Some(Cause { line, reason: Reason::Metadata, step: None, changed: Vec::new() })
    }

    /// What the layers of a step hold that is not the same, in words: what it looks like first.
    fn variation(&self, one: &Made, other: &Made) -> String {
        let own = self.layers(one, other, LOOKED_INTO);
        let entries: Vec<&Entry> = match &own {
            Some(report) => report.images.iter().flat_map(|images| &images.entries).collect(),
            None => self.images.entries.iter().filter(|entry| self.is_of(entry, one, other)).collect(),
        };
        let mut classes: BTreeMap<Class, u64> = BTreeMap::new();
        for entry in &entries {
            let suspects = entry.content.iter().flat_map(|difference| &difference.suspects);
            let of_file: BTreeSet<Class> = suspects.map(|suspect| suspect.class).collect();
            of_file.into_iter().for_each(|class| *classes.entry(class).or_default() += 1);
        }
        let mut classes: Vec<(Class, u64)> = classes.into_iter().collect();
        classes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let said = classes.iter().take(NAMED).enumerate().map(|(at, (class, count))| {
            let files = if *count == 1 { "file embeds" } else { "files embed" };
            let files = if at == 0 { format!(" {files}") } else { String::new() };
            format!("{count}{files} {}", class.noun())
        });
        let said: Vec<String> = said.collect();
        let paths: Vec<&str> = entries
            .iter()
            .filter(|entry| entry.change != EntryChange::Changed || !entry.fields.is_empty())
            .filter(|entry| {
                entry.b.as_ref().or(entry.a.as_ref()).is_none_or(|n| n.kind != NodeKind::Directory)
            })
            .map(|entry| entry.path.as_str())
            .collect();
        match (said.is_empty(), paths.is_empty()) {
            (true, true) => "its layer has the same entries in other bytes".to_owned(),
            (true, false) => {
                let verb = if paths.len() == 1 { "differs" } else { "differ" };
                format!("{} {verb}", listed(&paths, str::to_owned))
            }
            (false, _) => format!("{} ({})", said.join(", "), listed(&paths, str::to_owned)),
        }
    }

    /// The layers of a step compared by themselves, if both are in the store.
    fn layers(&self, one: &Made, other: &Made, contents: usize) -> Option<Report> {
        let (store, one, other) = (self.records?, one.layer?, other.layer?);
        if !store.has_toc(one) || !store.has_toc(other) {
            return None;
        }
        let options = Options { contents, only: None, ..self.options.clone() };
        super::compare_layers(store, [one, other], self.worlds, &options).ok()
    }

    /// Whether an entry comes from the layers of a step.
    fn is_of(&self, entry: &Entry, one: &Made, other: &Made) -> bool {
        let numbers = |step: &Made| -> Vec<usize> {
            let diff = step.layer.map(|layer| layer.to_string());
            let rows = self.images.layers.iter().flat_map(|row| row.a.iter().chain(&row.b));
            rows.filter(|layer| layer.diff_id == diff).map(|layer| layer.number).collect()
        };
        let (a, b) = (numbers(one), numbers(other));
        entry.a.as_ref().is_some_and(|node| a.contains(&node.layer))
            || entry.b.as_ref().is_some_and(|node| b.contains(&node.layer))
    }
}

/// Whether nothing of a step's key differs but the epoch.
fn only_epoch(one: &Made, other: &Made) -> bool {
    let rest = |step: &Made| -> Vec<(String, String)> {
        step.fields.iter().filter(|(name, _)| name != "epoch").cloned().collect()
    };
    rest(one) == rest(other)
}

fn environment(step: &Made) -> BTreeMap<&str, &str> {
    let of = |wanted: &'static str| step.fields.iter().filter(move |(name, _)| name == wanted);
    let pairs = of("run.env.name").zip(of("run.env.value"));
    pairs.map(|((_, name), (_, value))| (name.as_str(), value.as_str())).collect()
}

/// The stage of a step by its name.
fn stage(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(stage, _)| stage)
}

fn told(step: &Made, origin: &Origin) -> Step {
    Step { name: step.name.clone(), text: step.text.clone(), file: origin.file.clone(), line: step.line }
}

/// A step in words: "step build/3 `RUN make` (Dockerfile:12)".
fn place(step: &Step) -> String {
    const LONGEST: usize = 80;
    let mut text: String = step.text.chars().take(LONGEST).collect();
    if text.len() < step.text.len() {
        text.push('…');
    }
    let file = step.file.as_deref().unwrap_or("line");
    let file = file.rsplit('/').next().unwrap_or(file);
    format!("step {} `{text}` ({file}:{})", step.name, step.line)
}

fn changed(name: &str, a: Option<&String>, b: Option<&String>) -> Changed {
    Changed { name: name.to_owned(), a: a.cloned(), b: b.cloned() }
}

/// The first names, and how many more there are.
fn listed(names: &[&str], shown: impl Fn(&str) -> String) -> String {
    let mut text = names.iter().take(NAMED).map(|name| shown(name)).collect::<Vec<_>>().join(", ");
    if names.len() > NAMED {
        text.push_str(&format!(" and {} more", names.len() - NAMED));
    }
    text
}

fn short(digest: Option<&str>) -> String {
    let digest = digest.unwrap_or("nothing");
    digest.get(..19).unwrap_or(digest).to_owned()
}
