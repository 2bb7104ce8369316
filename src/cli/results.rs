//! What becomes of the images of a build: names, annotations, outputs, files about them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::trace::Trace;
use super::{CliError, names};
use crate::diag::suggest;
use crate::engine::finish::{Built, BuiltImage, BuiltTarget};
use crate::engine::provenance::Detail;
use crate::engine::{Name, Options};
use crate::image::{
    Exported, OutputKind, OutputSpec, PlatformImage, StoredImage, Told, export, export_index,
};
use crate::platform::Platform;
use crate::sbom::Form;
use crate::store::Store;

/// Options of `lith build` about its results.
#[derive(Debug, Args)]
pub struct Results {
    /// A name for the image; STAGE=NAME where several targets are built
    #[arg(short, long, value_name = "[STAGE=]NAME[:TAG]")]
    tag: Vec<String>,
    /// An annotation for the image's manifest, or for the index of several platforms
    #[arg(long, value_name = "[manifest|index:]NAME=VALUE")]
    annotation: Vec<String>,
    /// Also write the image: type=oci|docker|tar|local,dest=PATH[,compression=…]; target=STAGE where several are built
    #[arg(short, long, value_name = "SPEC")]
    output: Vec<OutputSpec>,
    /// Say with the image, and in OCI outputs, what it was made of; max tells arguments and steps too
    #[arg(
        long,
        value_name = "min|max",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "min"
    )]
    provenance: Option<String>,
    /// Say with the image, and in OCI outputs, which packages of a distribution the image holds
    #[arg(
        long,
        value_name = "spdx|cyclonedx",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "spdx"
    )]
    sbom: Option<String>,
    /// Write the image id to a file, or the digest of an index; one a line where several targets are built
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Write what was built to a file, as JSON
    #[arg(long, value_name = "FILE")]
    metadata_file: Option<PathBuf>,
}

impl Results {
    /// The names that were given, each with the target it is for.
    pub fn names(&self, targets: &[String]) -> Result<Vec<Name>, CliError> {
        let one = |text: &String| {
            let (stage, name) = match text.split_once('=') {
                Some((stage, name)) => (Some(stage), name),
                None => (None, text.as_str()),
            };
            let target = choose("--tag", text, stage, targets)?;
            Ok(Name { target, name: names::parse(name)? })
        };
        self.tag.iter().map(one).collect()
    }

    /// Whether provenance is wanted, in buildx' words.
    pub fn provenance(&self) -> Result<Option<Detail>, CliError> {
        match self.provenance.as_deref() {
            None | Some("false") => Ok(None),
            Some("true" | "min" | "mode=min") => Ok(Some(Detail::Min)),
            Some("max" | "mode=max") => Ok(Some(Detail::Max)),
            Some(other) => Err(CliError::Usage(format!("--provenance={other}: expected min, max or false"))),
        }
    }

    /// Whether a bill of materials is wanted.
    pub fn sbom(&self) -> Result<Option<Form>, CliError> {
        match self.sbom.as_deref() {
            None | Some("false") => Ok(None),
            Some("true" | "spdx") => Ok(Some(Form::Spdx)),
            Some("cyclonedx") => Ok(Some(Form::CycloneDx)),
            Some(other) => Err(CliError::Usage(format!("--sbom={other}: expected spdx, cyclonedx or false"))),
        }
    }

    /// Whether images are written to files.
    pub fn has_outputs(&self) -> bool {
        !self.output.is_empty()
    }

    /// Finds out what is wrong with the outputs before anything is built.
    pub fn check_outputs(&self, targets: &[String], platforms: &[Platform]) -> Result<(), CliError> {
        let of_one = |spec: &&OutputSpec| matches!(spec.kind, OutputKind::DockerArchive { .. });
        if platforms.len() > 1 && self.output.iter().any(|spec| of_one(&spec)) {
            let all: Vec<String> = platforms.iter().map(Platform::to_string).collect();
            return Err(CliError::Usage(format!(
                "--output type=docker: a docker archive holds an image for one platform, and this build is for {}; \
                 write type=oci, or build for one --platform",
                all.join(", ")
            )));
        }
        self.provenance()?;
        self.sbom()?;
        self.output
            .iter()
            .try_for_each(|spec| choose("--output", "", spec.target.as_deref(), targets).map(drop))
    }

    /// Annotations by name.
    pub fn annotations(&self, platforms: &[Platform]) -> Result<Annotations, CliError> {
        let mut all = Annotations::default();
        for text in &self.annotation {
            let (place, name, value) = annotation(text, platforms.len() > 1)?;
            match place {
                Place::Manifest => all.manifest.insert(name, value),
                Place::Index => all.index.insert(name, value),
            };
        }
        Ok(all)
    }

    /// Writes everything that was asked for.
    pub fn write(
        &self,
        store: &Store,
        built: &Built,
        options: &Options,
        targets: &[String],
        trace: &Trace,
    ) -> Result<(), CliError> {
        let mut digests: Vec<String> = built.targets.iter().map(|one| one.digest().to_string()).collect();
        for spec in self.output.iter().rev() {
            let target = choose("--output", "", spec.target.as_deref(), targets)?;
            let target_of = &built.targets[target];
            let written = trace.during("export", || {
                write_output(store, target_of, &options.index_annotations, spec, &|telling| {
                    trace.packing(telling)
                })
            })?;
            if let Some(descriptor) = written.manifest {
                digests[target] = descriptor.digest.to_string();
            }
        }
        if let Some(path) = &self.iidfile {
            let ids: Vec<String> = built.targets.iter().map(BuiltTarget::id).collect();
            save(path, &ids.join("\n"))?;
        }
        if let Some(path) = &self.metadata_file {
            let text = serde_json::to_string_pretty(&metadata(built, &digests)).expect("values serialise");
            save(path, &(text + "\n"))?;
        }
        Ok(())
    }
}

/// Annotations by what they are put into.
#[derive(Debug, Default)]
pub struct Annotations {
    /// Every manifest.
    pub manifest: BTreeMap<String, String>,
    pub index: BTreeMap<String, String>,
}

/// Writes one output of one target.
fn write_output(
    store: &Store,
    target: &BuiltTarget,
    index_annotations: &BTreeMap<String, String>,
    spec: &OutputSpec,
    told: Told<'_>,
) -> Result<Exported, CliError> {
    let open = |image: &BuiltImage| StoredImage::open(store, image.manifest);
    if target.index.is_none() {
        let image = &target.images[0];
        let attestations = &image.attestations;
        let (image, stdout) = (open(image)?, &mut io::stdout());
        return Ok(export(store, &image, &target.names, spec, attestations, told, stdout)?);
    }
    let one = |image: &BuiltImage| -> Result<PlatformImage, CliError> {
        let attestations = image.attestations.clone();
        Ok(PlatformImage { platform: image.platform.clone(), image: open(image)?, attestations })
    };
    let images = target.images.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    let stdout = &mut io::stdout();
    Ok(export_index(store, &images, index_annotations, &target.names, spec, told, stdout)?)
}

/// The target that a name or an output is for.
fn choose(flag: &str, text: &str, stage: Option<&str>, targets: &[String]) -> Result<usize, CliError> {
    let fail = |message: String| Err(CliError::Usage(message));
    match stage {
        None if targets.len() < 2 => Ok(0),
        None if flag == "--tag" => {
            fail(format!("--tag {text}: several targets are built; write --tag {}={text}", targets[0]))
        }
        None => fail(format!("{flag}: several targets are built; add target={} to it", targets[0])),
        Some(stage) => match targets.iter().position(|target| target.eq_ignore_ascii_case(stage)) {
            Some(target) => Ok(target),
            None => {
                let similar = suggest(stage, targets.iter().map(String::as_str));
                let hint = similar.map_or_else(
                    || format!("; name it with --target {stage}"),
                    |similar| format!("; did you mean {similar}?"),
                );
                fail(format!("{flag}: {stage} is not one of the targets{hint}"))
            }
        },
    }
}

/// What an annotation is put into.
enum Place {
    Manifest,
    Index,
}

/// `[TYPE:]NAME=VALUE`, the type as in buildx.
fn annotation(text: &str, has_index: bool) -> Result<(Place, String, String), CliError> {
    let fail = |message: &str| Err(CliError::Usage(format!("--annotation {text}: {message}")));
    let Some((name, value)) = text.split_once('=') else { return fail("expected NAME=VALUE") };
    let (place, name) = match name.split_once(':') {
        None => (Place::Manifest, name),
        Some(("manifest", name)) => (Place::Manifest, name),
        Some(("index", name)) if has_index => (Place::Index, name),
        Some(("index", _)) => {
            return fail("an image for one platform has no index; only its manifest can be annotated");
        }
        Some(("index-descriptor" | "manifest-descriptor", _)) => {
            return fail("descriptors get no annotations; manifest: and index: can be annotated");
        }
        Some(_) => return fail("the part before the colon is not manifest or index"),
    };
    if name.is_empty() {
        return fail("the name is empty");
    }
    Ok((place, name.to_owned(), value.to_owned()))
}

fn save(path: &PathBuf, text: &str) -> Result<(), CliError> {
    fs::write(path, text).map_err(CliError::io(format!("write {}", path.display())))
}

/// One object for one target; an object by stage for several.
fn metadata(built: &Built, digests: &[String]) -> Value {
    let one = |target: &BuiltTarget, digest: &String| {
        let mut value = json!({
            "containerimage.digest": digest,
            "image.name": target.familiar_names().join(","),
            "lith.hits": built.hits,
            "lith.built": built.built,
        });
        match target.index {
            None => value["containerimage.config.digest"] = json!(target.images[0].image),
            Some(_) => value["lith.platforms"] = json!(platforms(target)),
        }
        value
    };
    match (built.targets.as_slice(), digests) {
        ([target], [digest]) => one(target, digest),
        (targets, digests) => targets
            .iter()
            .zip(digests)
            .map(|(target, digest)| (target.stage.clone(), one(target, digest)))
            .collect(),
    }
}

/// The images of an index, one for each platform.
pub fn platforms(target: &BuiltTarget) -> Vec<Value> {
    let one = |image: &BuiltImage| {
        json!({
            "platform": image.platform, "image": image.image, "manifest": image.manifest,
            "layers": image.layers, "size": image.size,
        })
    };
    target.images.iter().map(one).collect()
}
