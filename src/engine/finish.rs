//! Layers become images: one for every step, as docker keeps them, and the target's with its names.

use super::progress::Steps;
use super::{BuildError, Prepared};
use crate::diag::Diagnostic;
use crate::digest::{BlobDigest, DiffId, ImageId};
use crate::image::{Assembled, Assembly, Base, assemble, store_image};
use crate::oci::{History, ImageConfig, RunConfig};
use crate::plan::StepId;
use crate::recipe::{self, Op};
use crate::store::ImageRecord;
use crate::store::builds::{BuildRecord, StepRecord};
use crate::sys::file::Durability;

/// What a build made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    pub image: ImageId,
    pub manifest: BlobDigest,
    /// Layers of the image, base included.
    pub layers: usize,
    /// Bytes of all layers, as the manifest has them.
    pub size: u64,
    pub hits: usize,
    pub built: usize,
    pub names: Vec<String>,
    /// Problems of the file that stopped nothing.
    pub warnings: Vec<Diagnostic>,
}

/// One stage on the way to images: what all steps so far amount to.
#[derive(Debug, Clone, Default)]
struct Lineage {
    base: Option<Base>,
    layers: Vec<(DiffId, u64)>,
    history: Vec<History>,
}

/// Stores the images of all wanted stages; names the target's.
pub fn finish(prepared: &Prepared<'_>, steps: &Steps) -> Result<Built, BuildError> {
    let mut ends: Vec<Option<Lineage>> = vec![None; prepared.recipe.stages.len()];
    let mut images: Vec<(StepId, ImageId)> = Vec::new();
    let mut result = None;
    for (at, stage) in prepared.recipe.stages.iter().enumerate().filter(|(at, _)| prepared.plan.wanted[*at]) {
        let mut lineage = match &stage.base {
            recipe::Base::Scratch => Lineage::default(),
            recipe::Base::Image(name) => {
                Lineage { base: Some(prepared.images[name].base.clone()), ..Lineage::default() }
            }
            recipe::Base::Stage(earlier) => ends[*earlier].clone().expect("stages refer to earlier ones"),
        };
        let mut parent = None;
        let steps_of = stage.steps.iter().enumerate();
        for (number, step) in steps_of {
            let id = StepId { stage: at, step: number };
            lineage.history.push(step.history.clone());
            if !matches!(step.op, Op::Config) {
                let layer = steps.done[&id].record.layer;
                lineage.layers.push((layer.diff_id, layer.size));
            }
            if number + 1 == stage.steps.len() {
                break;
            }
            let image = lineage.assemble(prepared, &config_with(&stage.config, &step.config))?;
            parent = Some(intermediate(prepared, &image, parent)?);
            images.push((id, image.id));
        }
        let image = lineage.assemble(prepared, &stage.config)?;
        images.extend(stage.steps.len().checked_sub(1).map(|step| (StepId { stage: at, step }, image.id)));
        if at == prepared.recipe.target {
            store_target(prepared, &image, parent)?;
            result = Some(image);
        } else {
            intermediate(prepared, &image, parent)?;
        }
        ends[at] = Some(lineage);
    }
    let image = result.expect("the target is wanted");
    remember(prepared, steps, &images, image.id)?;
    Ok(summary(prepared, steps, &image))
}

impl Lineage {
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

fn config_with(stage: &ImageConfig, config: &RunConfig) -> ImageConfig {
    ImageConfig { config: config.clone(), ..stage.clone() }
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

fn store_target(
    prepared: &Prepared<'_>,
    image: &Assembled,
    parent: Option<ImageId>,
) -> Result<(), BuildError> {
    let store = prepared.store;
    store_image(store, image, parent)?;
    for name in &prepared.options.names {
        store.set_ref(&name.to_string(), image.digest, image.id)?;
    }
    Ok(())
}

fn remember(
    prepared: &Prepared<'_>,
    steps: &Steps,
    images: &[(StepId, ImageId)],
    image: ImageId,
) -> Result<(), BuildError> {
    let records = steps.done.iter().map(|(id, done)| StepRecord {
        name: done.info.name.clone(),
        text: done.info.text.clone(),
        line: done.info.line,
        key: done.record.key,
        fields: done.fields.clone(),
        observations: done.record.observations.clone(),
        layer: done.record.layer,
        image: images.iter().find(|(of, _)| of == id).map(|(_, image)| *image),
        why: done.why.clone(),
    });
    let build = BuildRecord { place: prepared.place(), image, steps: records.collect() };
    Ok(prepared.store.put_build(&build)?)
}

fn summary(prepared: &Prepared<'_>, steps: &Steps, image: &Assembled) -> Built {
    let hits = steps.done.values().filter(|done| done.hit).count();
    Built {
        image: image.id,
        manifest: image.digest,
        layers: image.manifest.layers.len(),
        size: image.manifest.layers.iter().map(|layer| layer.size).sum(),
        hits,
        built: steps.done.len() - hits,
        names: prepared.options.names.iter().map(|name| name.familiar()).collect(),
        warnings: prepared.warnings.clone(),
    }
}
