//! How long a Dockerfile takes from text to plan, beside reading the file.
//!
//! `cargo bench --bench frontend`. The file is made here: 60 stages in 1,000 lines, of the shapes that large projects
//! have (stages chosen by an argument, cache mounts, continued commands with comments in them, heredocs, files copied
//! from several stages). Each row is the fastest of many runs in one process; the floor reads the file from the page
//! cache. Nothing is asserted: machines differ, ratios are for reading.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and fails where it cannot measure"
)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use lith::diag::Source;
use lith::frontend::dockerfile::{self, Configs, Dockerfile, NamedContexts, Options};
use lith::oci::ImageConfig;
use lith::plan::Plan;
use lith::recipe::Recipe;

const STAGES: usize = 60;
const LINES: usize = 1_000;
const RUNS: usize = 200;

/// A file of [`LINES`] lines whose last stage needs all the other ones.
fn text() -> String {
    let mut text =
        "# syntax=docker/dockerfile:1\nARG GO=1.22\nARG DISTRO=bookworm\nARG CROSS=false\n".to_owned();
    for stage in 0..STAGES - 1 {
        append_stage(&mut text, stage);
    }
    text.push_str("FROM stage-0-${CROSS} AS release\n");
    for stage in 1..STAGES - 1 {
        let _ = writeln!(text, "COPY --from=stage-{stage}-false /out/bin /usr/local/bin/");
    }
    text.push_str("ENV PATH=/usr/local/tools:$PATH\nEXPOSE 80 443/tcp\nHEALTHCHECK CMD test -e /run/ok\n");
    while text.lines().count() < LINES - 1 {
        text.push_str("# what comes last\n");
    }
    text.push_str("ENTRYPOINT [\"serve\", \"--all\"]\n");
    text
}

fn append_stage(text: &mut String, stage: usize) {
    let base = match stage % 3 {
        0 => "golang:${GO}-${DISTRO}".to_owned(),
        _ => format!("stage-{}-${{CROSS}}", stage - 1),
    };
    let _ = write!(
        text,
        "\n# builds tool {stage}\nFROM {base} AS stage-{stage}-false\nARG VERSION=1.{stage}\n\
         ENV TOOL_{stage}=${{VERSION:-none}} FLAGS=\"-s -w $VERSION\"\nWORKDIR /src/tool-{stage}\n\
         COPY --chown=1000:1000 go.mod go.sum ./\n"
    );
    match stage % 2 {
        0 => text.push_str(
            "RUN --mount=type=cache,target=/root/.cache \\\n    --mount=type=cache,target=/go/pkg/mod,sharing=locked \\\n\
             \x20   set -eux; \\\n    # only what is needed\n    make -j \"$(nproc)\" VERSION=$VERSION; \\\n\
             \x20   install -D tool /out/bin/tool\nLABEL tool.version=\"$VERSION\"\n",
        ),
        _ => text.push_str(
            "RUN <<EOF\nset -eu\nmake VERSION=$VERSION\ninstall -D tool /out/bin/tool\nEOF\n\
             COPY <<-END /etc/tool.conf\n\tversion $VERSION\nEND\n",
        ),
    }
}

fn options() -> Options {
    Options {
        build_args: vec![("GO".into(), "1.23".into())],
        labels: Vec::new(),
        targets: Vec::new(),
        platform: "linux/amd64".parse().unwrap(),
        build_platform: "linux/amd64".parse().unwrap(),
        insecure: false,
        named_contexts: NamedContexts::default(),
    }
}

fn parse(source: &Source) -> Dockerfile {
    let (file, found) = dockerfile::parse(source);
    assert!(found.is_empty(), "{found:?}");
    file
}

/// The recipe, with empty configs for the base images.
fn lower(file: &Dockerfile, options: &Options) -> Recipe {
    let mut bases = Configs::new();
    for image in file.images(options, &bases).unwrap() {
        let config = ImageConfig::scratch(&image.platform);
        bases.insert((image.reference, image.platform), config);
    }
    file.images(options, &bases).unwrap();
    file.lower(options, &bases).unwrap().0
}

/// The fastest of many runs: the work is pure, so whatever takes longer was something else on the machine.
fn fastest<T>(mut work: impl FnMut() -> T) -> Duration {
    let times = (0..RUNS).map(|_| {
        let began = Instant::now();
        black_box(work());
        began.elapsed()
    });
    times.min().unwrap()
}

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("Dockerfile");
    std::fs::write(&path, text()).unwrap();
    let read = || dockerfile::source_from_bytes("Dockerfile", std::fs::read(&path).unwrap()).unwrap();
    let (source, options) = (read(), options());
    let file = parse(&source);
    let recipe = lower(&file, &options);
    println!(
        "{} lines, {} bytes, {} stages needed, {} steps",
        source.text.lines().count(),
        source.text.len(),
        recipe.stages.len(),
        recipe.stages.iter().map(|stage| stage.steps.len()).sum::<usize>()
    );
    let floor = fastest(|| std::fs::read(&path).unwrap());
    let row = |what: &str, took: Duration| {
        println!(
            "  {what:<28} {:>9.3} ms {:>8.1} × floor",
            took.as_secs_f64() * 1e3,
            took.as_secs_f64() / floor.as_secs_f64()
        );
    };
    row("read the file (floor)", floor);
    row("parse", fastest(|| parse(&source)));
    row("lower", fastest(|| lower(&file, &options)));
    row("plan", fastest(|| Plan::new(&recipe)));
    row("all of it", fastest(|| Plan::new(&lower(&parse(&read()), &options))));
}
