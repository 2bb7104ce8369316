//! Builds of root file systems from packages, by recipes made by hand.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lith::debian::{Asking, Machine};
use lith::engine::contexts::{ContextSource, Packed};
use lith::engine::finish::Built;
use lith::engine::preview::{StageLines, preview};
use lith::engine::report::{End, Event, Ui};
use lith::engine::{BuildError, Fresh, Lowered, Name, Options, build_prepared, prepare_recipe};
use lith::epoch::Epoch;
use lith::exec::secrets::Secrets;
use lith::fetch::FetchOptions;
use lith::frontend::dockerfile;
use lith::limits::ProcessLimits;
use lith::oci::ImageConfig;
use lith::platform::Platform;
use lith::recipe::{Base, Network, Origin, PackageSet, Recipe, Stage};
use lith::store::{Store, Unpacking};

use super::Lab;

/// A set of packages of a suite.
pub fn set(suite: &str, names: &[&str]) -> PackageSet {
    PackageSet {
        suite: suite.to_owned(),
        components: vec![],
        mirror: None,
        snapshot: None,
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        layers: vec![],
        essential: false,
        configure: false,
    }
}

/// What a build said: how each step ended.
#[derive(Default)]
pub struct Ends(Mutex<BTreeMap<String, String>>);

impl Ui for Ends {
    fn event(&self, event: Event<'_>) {
        if let Event::Ended { step, end } = event {
            let end = match end {
                End::Hit => "hit".to_owned(),
                End::Built { .. } => "built".to_owned(),
                End::Failed { error } => error,
            };
            self.0.lock().unwrap().insert(step.text.clone(), end);
        }
    }

    fn clock(&self) -> Duration {
        Duration::ZERO
    }
}

impl Ends {
    /// The texts of the steps that ended like this.
    pub fn with(&self, end: &str) -> Vec<String> {
        let ends = self.0.lock().unwrap();
        ends.iter().filter(|(_, own)| *own == end).map(|(text, _)| text.clone()).collect()
    }
}

/// A recipe of one stage that is nothing but packages.
pub fn recipe(set: &PackageSet) -> Recipe {
    let platform = Platform::host();
    let config = ImageConfig::scratch(&platform);
    let origin = Origin { line: 1, text: "packages".into(), ..Origin::default() };
    let base = Base::Packages(set.clone());
    let stage = Stage { name: None, base, platform, steps: vec![], layers: vec![], config, origin };
    Recipe { stages: vec![stage], targets: vec![0] }
}

/// Options of a build on this machine, or on what a test says is one.
pub fn options(machine: Machine) -> Options {
    let platform = Platform::host();
    Options {
        context: ContextSource::Packed(Packed::default()),
        dockerfile: lith::diag::Source { name: "packages".into(), text: "".into() },
        language: lith::frontend::Language::Dockerfile,
        frontend: dockerfile::Options {
            build_args: vec![],
            labels: vec![],
            targets: vec![],
            platform: platform.clone(),
            build_platform: platform.clone(),
            insecure: false,
            named_contexts: Default::default(),
        },
        contexts: BTreeMap::new(),
        platforms: vec![platform],
        names: vec![Name { target: 0, name: "rootfs".parse().unwrap() }],
        annotations: BTreeMap::new(),
        index_annotations: BTreeMap::new(),
        epoch: Epoch::from_seconds(1_700_000_000).unwrap(),
        told: lith::recipe::Told::default(),
        reproducible: false,
        network: Network::Default,
        jobs: NonZeroUsize::new(2).unwrap(),
        fresh: Fresh::None,
        debug: false,
        resolv_conf: vec![],
        secrets: Arc::new(Secrets::default()),
        limits: ProcessLimits::default(),
        fetch: FetchOptions { retries: 0, ..FetchOptions::default() },
        machine,
        imports: Default::default(),
        pins: Default::default(),
        provenance: None,
        sbom: None,
        context_modes: lith::exec::source::Modes::AsTheyAre,
        litter: lith::recipe::Litter::Kept,
        no_sandbox: None,
        cache_from: Arc::default(),
        pulls: Default::default(),
        reads_layers: false,
        cache_to: vec![],
    }
}

impl Lab {
    /// A store of this lab, for one build.
    fn open(&self, store: &str) -> Store {
        Store::open(&self.path(store), Unpacking::Never).unwrap()
    }

    /// Builds a set of packages as the image `rootfs`.
    pub fn packages(
        &self,
        store: &str,
        set: &PackageSet,
        options: &Options,
    ) -> Result<(Built, Ends), BuildError> {
        let store = self.open(store);
        let lowered = Lowered::of(recipe(set), BTreeMap::new());
        let prepared = prepare_recipe(&store, options, lowered, Asking::Allowed)?;
        let ends = Ends::default();
        Ok((build_prepared(prepared, &ends)?, ends))
    }

    /// What `lith plan` would show of it.
    pub fn planned(&self, store: &str, set: &PackageSet, options: &Options) -> Vec<StageLines> {
        let store = self.open(store);
        let lowered = Lowered::of(recipe(set), BTreeMap::new());
        preview(&prepare_recipe(&store, options, lowered, Asking::Never).unwrap()).unwrap()
    }

    /// The diff ids of an image of a store.
    pub fn diff_ids(&self, store: &str) -> Vec<String> {
        let inspected = self.ok(store, &["image", "inspect", "rootfs"]).out;
        let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
        let layers = inspected[0]["RootFS"]["Layers"].as_array().unwrap_or_else(|| panic!("{inspected}"));
        layers.iter().map(|layer| layer.as_str().unwrap().to_owned()).collect()
    }
}
