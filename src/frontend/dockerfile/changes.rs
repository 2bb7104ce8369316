//! Instructions on their own, which change an image's config: `commit --change`.

use super::{Configs, NamedContexts, Options, parse};
use crate::diag::{Diagnostic, Severity, Source};
use crate::oci::ImageConfig;
use crate::platform::Platform;
use crate::recipe::Op;

/// What may be said: what makes no layer, and not what steers a build.
const ALLOWED: [&str; 12] = [
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "ONBUILD",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];
/// What the instructions stand on.
const IMAGE: &str = "image";

/// An image's config after some instructions, each on its own as a line of a Dockerfile has it.
///
/// # Errors
/// Every problem of them, and the text that the places in it mean.
pub fn apply_changes(
    changes: &[String],
    config: &ImageConfig,
) -> Result<ImageConfig, (Source, Vec<Diagnostic>)> {
    let text = format!("FROM {IMAGE}\n{}\n", changes.join("\n"));
    let source = Source { name: "--change".into(), text };
    match lower(&source, config) {
        Ok(changed) => Ok(changed),
        Err(found) => Err((source, found)),
    }
}

fn lower(source: &Source, config: &ImageConfig) -> Result<ImageConfig, Vec<Diagnostic>> {
    let (file, found) = parse(source);
    if found.iter().any(|one| one.severity == Severity::Error) {
        return Err(found);
    }
    let platform = config.platform().unwrap_or_else(Platform::host);
    let options = Options {
        build_args: vec![],
        labels: vec![],
        targets: vec![],
        build_platform: platform.clone(),
        platform: platform.clone(),
        insecure: false,
        named_contexts: NamedContexts::default(),
    };
    // The image's own triggers are for those who build on it.
    let mut base = config.clone();
    let triggers = std::mem::take(&mut base.config.on_build);
    let configs = Configs::from([((IMAGE.to_owned(), platform), base)]);
    let (recipe, _) = file.lower(&options, &configs)?;
    let stage = &recipe.stages[recipe.targets[0]];
    let refused = recipe.stages.iter().flat_map(|stage| &stage.steps).filter(|step| {
        let word = step.origin.text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        !ALLOWED.contains(&word.as_str()) || !matches!(step.op, Op::Config | Op::MakeDir { .. })
    });
    let mut refused: Vec<Diagnostic> = refused
        .map(|step| {
            let message = format!("{:?} cannot be done to an image that is there", step.origin.text);
            Diagnostic::error(step.origin.span, message)
        })
        .collect();
    if let Some(second) = recipe.stages.get(1) {
        refused.push(Diagnostic::error(second.origin.span, "FROM begins another image"));
    }
    if !refused.is_empty() {
        return Err(refused);
    }
    let mut changed = stage.config.clone();
    changed.config.on_build.splice(0..0, triggers);
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(changes: &[&str], config: &ImageConfig) -> Result<ImageConfig, Vec<String>> {
        let changes: Vec<String> = changes.iter().map(|text| (*text).to_owned()).collect();
        let messages = |found: Vec<Diagnostic>| found.into_iter().map(|one| one.message).collect();
        apply_changes(&changes, config).map_err(|(_, found)| messages(found))
    }

    fn image() -> ImageConfig {
        let mut config = ImageConfig::scratch(&Platform::host());
        config.config.env = vec!["A=1".into()];
        config.config.working_dir = "/srv".into();
        config.config.on_build = vec!["RUN never".into()];
        config
    }

    #[test]
    fn each_is_a_line_of_a_dockerfile() {
        let changes = [
            "CMD [\"/bin/x\", \"y\"]",
            "entrypoint run it",
            "ENV B=$A C=\"a b\"",
            "EXPOSE 80/udp",
            "LABEL k=v",
            "USER 7:8",
            "VOLUME /data",
            "WORKDIR sub",
            "STOPSIGNAL INT",
            "HEALTHCHECK NONE",
            "ONBUILD RUN later",
        ];
        let run = apply(&changes, &image()).unwrap().config;
        assert_eq!(run.entrypoint.unwrap(), ["/bin/sh", "-c", "run it"]);
        assert_eq!(run.env, ["A=1", "B=1", "C=a b"]);
        assert_eq!(run.exposed_ports.keys().collect::<Vec<_>>(), ["80/udp"]);
        assert_eq!(run.labels["k"], "v");
        assert_eq!((run.user.as_str(), run.working_dir.as_str()), ("7:8", "/srv/sub"));
        assert_eq!(run.volumes.keys().collect::<Vec<_>>(), ["/data"]);
        assert_eq!((run.stop_signal.as_str(), run.healthcheck.unwrap().test), ("INT", vec!["NONE".into()]));
        assert_eq!(run.on_build, ["RUN never", "RUN later"]);
        assert_eq!(apply(&["CMD [\"/bin/x\"]"], &image()).unwrap().config.cmd.unwrap(), ["/bin/x"]);
        assert_eq!(apply(&[], &image()).unwrap(), image());
    }

    #[test]
    fn what_is_no_change_of_a_config_is_refused() {
        for bad in ["RUN x", "COPY a b", "FROM scratch", "ENV A=1\nRUN x", "MAINTAINER me", "nonsense", "ENV"]
        {
            let found = apply(&[bad], &image()).unwrap_err();
            assert!(!found.is_empty(), "{bad}");
        }
    }
}
