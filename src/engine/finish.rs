//! Layers become images: one for every step, as docker keeps them, and the target's with its names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::naming::{name, names_of};
use super::progress::Steps;
use super::provenance::provenance;
use super::{BuildError, Prepared, sbom};
use crate::action::BoundOp;
use crate::diag::Diagnostic;
use crate::digest::{BlobDigest, DiffId, ImageId};
use crate::exec::Executor;
use crate::exec::mounts::Silent;
use crate::exec::observe::Rootfs;
use crate::exec::run::HOSTNAME;
use crate::image::{Assembled, Assembly, Base, assemble, attested, store_image};
use crate::oci::attest::Attestation;
use crate::oci::media::MediaType;
use crate::oci::{Descriptor, History, ImageConfig, Reference};
use crate::plan::{self, StepId};
use crate::platform::Platform;
use crate::recipe::{self, Op};
use crate::store::builds::{BaseRecord, BuildRecord, StepRecord};
use crate::store::{ImageRecord, LayerRef, StoreError};
use crate::sys::file::Durability;

/// What a build made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// One for each target, in the order asked for.
    pub targets: Vec<BuiltTarget>,
    pub hits: usize,
    pub built: usize,
    /// Problems of the file that stopped nothing.
    pub warnings: Vec<Diagnostic>,
}

/// What a target came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltTarget {
    /// The stage's name or number.
    pub stage: String,
    pub names: Vec<Reference>,
    /// One for each platform, in the order asked for.
    pub images: Vec<BuiltImage>,
    /// The index of several.
    pub index: Option<BlobDigest>,
}

/// The image of a target for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltImage {
    pub platform: Platform,
    pub image: ImageId,
    pub manifest: BlobDigest,
    /// Layers of the image, base included.
    pub layers: usize,
    /// Bytes of all layers, as the manifest has them.
    pub size: u64,
    /// What is said of it.
    pub attestations: Vec<Attestation>,
}

impl BuiltTarget {
    /// Its names as people write them.
    pub fn familiar_names(&self) -> Vec<String> {
        self.names.iter().map(Reference::familiar).collect()
    }

    /// What its names point to: the manifest, or the index of several.
    pub fn digest(&self) -> BlobDigest {
        self.index.unwrap_or(self.images[0].manifest)
    }

    /// What it is called without a name: the image's id, or the digest of the index.
    pub fn id(&self) -> String {
        self.index.map_or_else(|| self.images[0].image.to_string(), |index| index.to_string())
    }
}

/// One stage on the way to images: what all steps so far amount to.
#[derive(Debug, Clone, Default)]
struct Lineage {
    base: Option<Base>,
    /// The base's layers.
    below: Arc<Rootfs>,
    layers: Vec<(DiffId, u64)>,
    history: Vec<History>,
}

/// Stores the images of all wanted stages; names the targets'.
pub fn finish(prepared: &Prepared<'_>, steps: &Steps) -> Result<Built, BuildError> {
    let mut ends: Vec<Option<Lineage>> = vec![None; prepared.recipe.stages.len()];
    let mut images: BTreeMap<StepId, ImageId> = BTreeMap::new();
    let mut made: BTreeMap<usize, Assembled> = BTreeMap::new();
    for (at, stage) in prepared.recipe.stages.iter().enumerate().filter(|(at, _)| prepared.plan.wanted[*at]) {
        let mut lineage = match &stage.base {
            // Packages are steps by now.
            recipe::Base::Scratch | recipe::Base::Packages(_) => Lineage::default(),
            recipe::Base::Image(name) => Lineage {
                base: Some(prepared.image(name, &stage.platform).base.clone()),
                below: prepared.image(name, &stage.platform).rootfs.clone(),
                ..Lineage::default()
            },
            recipe::Base::Stage(earlier) => ends[*earlier].clone().expect("stages refer to earlier ones"),
        };
        let mut parent = None;
        let mut together = None;
        let steps_of = stage.steps.iter().enumerate();
        for (number, step) in steps_of {
            let id = StepId { stage: at, step: number };
            let group = stage.layers.iter().find(|group| group.steps.contains(&number));
            if group.is_some_and(|group| group.steps.start == number) {
                together = Some(lineage.mark());
            }
            lineage.history.push(step.history.clone());
            if !matches!(step.op, Op::Config) {
                let layer = steps.done[&id].record.layer;
                lineage.layers.push((layer.diff_id, layer.size));
            }
            if group.is_some_and(|group| number + 1 < group.steps.end) {
                // What it made is in no image but together with the rest.
                continue;
            }
            if let Some(mark) = together.take() {
                lineage.merge(prepared, at, mark)?;
            }
            if number + 1 == stage.steps.len() {
                break;
            }
            let config = ImageConfig { config: step.config.clone(), ..stage.config.clone() };
            let image = lineage.assemble(prepared, &config)?;
            parent = Some(intermediate(prepared, &image, parent)?);
            images.insert(id, image.id);
        }
        let target = prepared.recipe.targets.iter().position(|target| *target == at);
        let image = lineage.assemble(prepared, &stage.config)?;
        images.extend(stage.steps.len().checked_sub(1).map(|step| (StepId { stage: at, step }, image.id)));
        match target {
            Some(target) => {
                let image = image.annotated(&prepared.options.annotations);
                store_image(prepared.store, &image, parent)?;
                made.insert(target, image);
            }
            None => {
                intermediate(prepared, &image, parent)?;
            }
        }
        ends[at] = Some(lineage);
    }
    let made: Vec<Assembled> = made.into_values().collect();
    let indexes = name(prepared, &made)?;
    remember(prepared, steps, &images, &made)?;
    let attestations = (0..made.len())
        .map(|target| attestations(prepared, steps, target, &made[target]))
        .collect::<Result<Vec<_>, _>>()?;
    for (image, said) in made.iter().zip(&attestations) {
        let manifest = Descriptor::of(MediaType::OciManifest, &image.manifest_bytes);
        attested::keep(prepared.store, &manifest, said)?;
    }
    Ok(summary(prepared, steps, &made, &indexes, attestations))
}

/// Where steps that make one layer begin: how many layers and lines of history are before them.
#[derive(Debug, Clone, Copy)]
struct Mark {
    layers: usize,
    history: usize,
}

impl Lineage {
    fn mark(&self) -> Mark {
        Mark { layers: self.layers.len(), history: self.history.len() }
    }

    /// Makes one layer of all that came since a mark; the last line that has a layer keeps it.
    fn merge(&mut self, prepared: &Prepared<'_>, stage: usize, since: Mark) -> Result<(), BuildError> {
        if self.layers.len() - since.layers < 2 {
            return Ok(());
        }
        let as_ref = |(diff_id, size): (DiffId, u64)| LayerRef { diff_id, size };
        let own: Vec<LayerRef> = self.layers.split_off(since.layers).into_iter().map(as_ref).collect();
        let layers = self.layers.iter().copied().map(as_ref);
        let parent: Rootfs = self.below.iter().copied().chain(layers).collect();
        let platform = &prepared.recipe.stages[stage].platform;
        let mut job = prepared.inputs().job(BoundOp::Merge(own), platform);
        job.fresh = prepared.is_fresh(stage);
        let executor = Executor::new(prepared.store, &prepared.rules);
        let layer = executor.perform(&job, &parent, &mut Silent)?.record.layer;
        self.layers.push((layer.diff_id, layer.size));
        let mut lines = self.history[since.history..].iter_mut().rev().filter(|line| !line.empty_layer);
        lines.next();
        lines.for_each(|line| line.empty_layer = true);
        Ok(())
    }

    fn assemble(&self, prepared: &Prepared<'_>, config: &ImageConfig) -> Result<Assembled, BuildError> {
        Ok(assemble(&Assembly {
            base: self.base.as_ref(),
            config,
            layers: &self.layers,
            history: &self.history,
            epoch: prepared.options.epoch,
        })?)
    }
}

/// An image without a manifest: it can be listed, inspected and be the parent of another.
fn intermediate(
    prepared: &Prepared<'_>,
    image: &Assembled,
    parent: Option<ImageId>,
) -> Result<ImageId, BuildError> {
    // Both write only what is missing or damaged.
    prepared.store.put_blob(&image.config_bytes, Durability::Cached)?;
    prepared.store.put_image(&ImageRecord { id: image.id, manifest: None, parent })?;
    Ok(image.id)
}

/// One record for each target and platform, of the steps that it needs: as if it had been built alone.
fn remember(
    prepared: &Prepared<'_>,
    steps: &Steps,
    images: &BTreeMap<StepId, ImageId>,
    made: &[Assembled],
) -> Result<(), BuildError> {
    for (target, image) in made.iter().enumerate() {
        let needed = plan::needed(&prepared.recipe, &[prepared.recipe.targets[target]]);
        let records = steps.done.iter().filter(|(id, _)| needed[id.stage]).map(|(id, done)| StepRecord {
            name: prepared.plain_step(*id),
            platform: prepared.called[id.stage].platform.clone(),
            text: done.info.text.clone(),
            line: done.info.line,
            key: done.record.key,
            fields: done.fields.clone(),
            observations: done.record.observations.clone(),
            layer: done.record.layer,
            image: images.get(id).copied(),
            why: done.why.clone(),
            cause: done.cause.clone(),
            effects: done.info.effects.clone(),
            spent: done.spent.clone(),
            dropped: done.dropped.clone(),
        });
        let options = prepared.options;
        prepared.store.put_build(&BuildRecord {
            place: prepared.place(target),
            image: image.id,
            file: options.dockerfile.name.clone(),
            platform: prepared.platform(target).clone(),
            epoch: options.epoch.seconds(),
            host_name: Some(HOSTNAME.to_owned()),
            args: options.frontend.build_args.iter().cloned().collect(),
            bases: bases(prepared, &needed),
            steps: records.collect(),
        })?;
    }
    Ok(())
}

/// The images that stages stand on or take files from.
fn bases(prepared: &Prepared<'_>, needed: &[bool]) -> BTreeSet<BaseRecord> {
    let mut all = BTreeSet::new();
    for (stage, _) in prepared.recipe.stages.iter().zip(needed).filter(|(_, needed)| **needed) {
        for name in stage.images() {
            let manifest = prepared.image(name, &stage.platform).manifest;
            all.insert(BaseRecord { name: name.to_owned(), platform: stage.platform.clone(), manifest });
        }
    }
    all
}

/// What is to be said of the image of a target.
fn attestations(
    prepared: &Prepared<'_>,
    steps: &Steps,
    target: usize,
    image: &Assembled,
) -> Result<Vec<Attestation>, BuildError> {
    let mut all = Vec::new();
    if let Some(detail) = prepared.options.provenance {
        all.push(provenance(prepared, steps, target, detail)?);
    }
    if let Some(form) = prepared.options.sbom {
        let layers = &image.config.rootfs.diff_ids;
        let rootfs = layers
            .iter()
            .map(|diff_id| Ok(LayerRef { diff_id: *diff_id, size: prepared.store.layer_size(*diff_id)? }))
            .collect::<Result<Rootfs, StoreError>>()?;
        let contents = sbom::contents(prepared.store, &rootfs, image.id, prepared.options.epoch)?;
        all.push(contents.attestation(form));
    }
    Ok(all)
}

fn summary(
    prepared: &Prepared<'_>,
    steps: &Steps,
    made: &[Assembled],
    indexes: &[Option<BlobDigest>],
    attestations: Vec<Vec<Attestation>>,
) -> Built {
    let hits = steps.done.values().filter(|done| done.hit).count();
    let images = made.iter().zip(attestations).enumerate().map(|(at, (image, attestations))| BuiltImage {
        platform: prepared.platform(at).clone(),
        image: image.id,
        manifest: image.digest,
        layers: image.manifest.layers.len(),
        size: image.manifest.layers.iter().map(|layer| layer.size).sum(),
        attestations,
    });
    let images: Vec<BuiltImage> = images.collect();
    let targets = indexes.iter().enumerate().map(|(target, index)| BuiltTarget {
        stage: prepared.plain_name(prepared.recipe.targets[target]).to_owned(),
        names: names_of(prepared, target).cloned().collect(),
        images: images.iter().skip(target).step_by(indexes.len()).cloned().collect(),
        index: *index,
    });
    Built {
        targets: targets.collect(),
        hits,
        built: steps.done.len() - hits,
        warnings: prepared.warnings.clone(),
    }
}
