//! The Dockerfile frontend on files: each case is a directory of `tests/data/dockerfile` with a `Dockerfile` and
//! either `recipe.txt` (warnings and the recipe) or `errors.txt` (the diagnostics as people read them).
//!
//! A case's file may say how it is built, in comments at its head: `#: arg K=V`, `#: target S`, `#: label K=V`,
//! `#: context NAME`, `#: allow security.insecure`. Base images are `base` (see [`base`]) and, for any other reference, an empty config.
//! `LITH_BLESS=1` writes the expectations anew.

#![expect(clippy::unwrap_used, reason = "a test: a panic is its failure")]

mod corpus;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use lith::diag::{Diagnostic, Severity, Source};
use lith::frontend::dockerfile::{self, Configs, ContextKind, NamedContexts, Options};
use lith::oci::{History, ImageConfig, RunConfig};
use lith::path::ImagePath;
use lith::platform::Platform;
use lith::recipe::chmod::Chmod;
use lith::recipe::mount::{Mount, NodeOwner};
use lith::recipe::{Base, Copy, CopySource, FilesFrom, Link, Op, Recipe, Run, Security, Stage};

use crate::support::{data, golden};

pub fn options() -> Options {
    let platform = |text: &str| text.parse::<Platform>().unwrap();
    Options {
        build_args: Vec::new(),
        labels: Vec::new(),
        targets: Vec::new(),
        platform: platform("linux/arm64"),
        build_platform: platform("linux/amd64"),
        insecure: false,
        named_contexts: NamedContexts::default(),
    }
}

/// The options that a case's head asks for.
pub fn case_options(text: &str) -> Options {
    let mut options = options();
    let pair = |text: &str| {
        let (name, value) = text.split_once('=').expect("K=V in the head of a case");
        (name.to_owned(), value.to_owned())
    };
    for line in text.lines().filter_map(|line| line.strip_prefix("#: ")) {
        let (key, value) = line.split_once(' ').expect("a key and a value in the head of a case");
        match key {
            "arg" => options.build_args.push(pair(value)),
            "label" => options.labels.push(pair(value)),
            "allow" => options.insecure = value == "security.insecure",
            "target" => options.targets.push(value.to_owned()),
            "context" => {
                options.named_contexts.insert(value, ContextKind::Files);
            }
            "image-context" => {
                options.named_contexts.insert(value, ContextKind::Image);
            }
            other => panic!("unknown key {other} in the head of a case"),
        }
    }
    options
}

/// The config of the image `base`: something of everything.
fn base() -> ImageConfig {
    let text = r#"{
        "architecture": "arm64", "os": "linux", "created": "2020-01-01T00:00:00Z", "author": "someone",
        "container": "gone", "docker_version": "gone",
        "config": {
            "Hostname": "gone", "User": "nobody", "WorkingDir": "/srv", "Env": ["PATH=/bin", "LANG=C", "BARE"],
            "Cmd": ["serve"], "Labels": {"a": "base"}, "ExposedPorts": {"1/tcp": {}}, "Volumes": {"/data": {}}
        },
        "history": [{"created_by": "base layer"}],
        "rootfs": {"type": "layers", "diff_ids": []}
    }"#;
    serde_json::from_str(text).unwrap()
}

pub fn config_of(reference: &str, platform: &Platform) -> ImageConfig {
    match reference {
        "base" => base(),
        "base-with-triggers" => {
            let mut config = base();
            config.config.on_build = vec![
                "ARG WHO=trigger".into(),
                "COPY --from=other:1 /x /y".into(),
                "RUN <<EOF\necho $WHO\nEOF".into(),
                "ENV FROM=$WHO".into(),
            ];
            config
        }
        "base-with-bad-triggers" => {
            let mut config = base();
            config.config.on_build = vec![
                "FROM x".into(),
                "RNU x".into(),
                "COPY a".into(),
                "RUN a\nRUN b".into(),
                "ENV a=${".into(),
            ];
            config
        }
        _ => ImageConfig::scratch(platform),
    }
}

/// Everything a file comes to: the recipe with its warnings, or the errors.
pub fn build(source: &Source, options: &Options) -> Result<(Recipe, Vec<Diagnostic>), Vec<Diagnostic>> {
    let (file, mut found) = dockerfile::parse(source);
    if found.iter().any(|d| d.severity == Severity::Error) {
        return Err(found);
    }
    let mut bases = Configs::new();
    loop {
        let known = bases.len();
        for image in file.images(options, &bases)?.iter().filter(|image| image.as_base) {
            bases
                .entry((image.reference.clone(), image.platform.clone()))
                .or_insert_with(|| config_of(&image.reference, &image.platform));
        }
        if bases.len() == known {
            break;
        }
    }
    let (recipe, warnings) = file.lower(options, &bases)?;
    found.extend(warnings);
    Ok((recipe, found))
}

fn source(text: &str) -> Source {
    Source { name: "Dockerfile".into(), text: text.into() }
}

pub fn render(source: &Source, found: &[Diagnostic]) -> String {
    found.iter().map(|d| source.render(d)).collect()
}

// A small stable dump of a recipe: one fact a line, defaults left out.

pub fn dump(recipe: &Recipe) -> String {
    let mut out = String::new();
    for (index, stage) in recipe.stages.iter().enumerate() {
        let mark = if recipe.targets.contains(&index) { " (target)" } else { "" };
        dump_stage(&mut out, index, stage, mark);
    }
    out
}

fn dump_stage(out: &mut String, index: usize, stage: &Stage, mark: &str) {
    let name = stage.name.as_deref().unwrap_or("-");
    let base = match &stage.base {
        Base::Scratch => "scratch".to_owned(),
        Base::Stage(base) => format!("stage {base}"),
        Base::Image(reference) => format!("image {reference}"),
        Base::Packages(set) => format!("{set:?}"),
    };
    let _ = writeln!(out, "stage {index} {name} from {base} for {}{mark}", stage.platform);
    let mut last = None;
    for (at, step) in stage.steps.iter().enumerate() {
        for layer in stage.layers.iter().filter(|layer| layer.steps.start == at) {
            let _ = writeln!(out, "  layer {:?} of {} steps", layer.name, layer.steps.len());
        }
        let _ =
            writeln!(out, "  line {}: {}", step.origin.line, lith::diag::escape(step.origin.text.as_bytes()));
        match &step.op {
            Op::Config => {}
            Op::MakeDir { path, user } => {
                let _ = writeln!(out, "    mkdir {} user={user:?}", shown(&path.absolute()));
            }
            Op::Copy(copy) => dump_copy(out, copy),
            Op::Run(run) => dump_run(out, run),
            Op::Packages(_) => unreachable!("no frontend makes it"),
        }
        dump_history(out, &step.history);
        last = Some(&step.config);
    }
    if let Some(last) = last.filter(|_| mark.is_empty()) {
        let own = RunConfig { on_build: last.on_build.clone(), ..stage.config.config.clone() };
        assert_eq!(*last, own, "the stage's config is that of its last step, and what it leaves behind");
    }
    dump_config(out, &stage.config);
}

fn shown(bytes: &[u8]) -> String {
    lith::diag::escape(bytes)
}

fn dump_history(out: &mut String, history: &History) {
    assert_eq!(history.comment.as_deref(), Some("buildkit.dockerfile.v0"));
    assert_eq!((&history.created, &history.author), (&None, &None));
    let empty = if history.empty_layer { " (empty layer)" } else { "" };
    let _ = writeln!(out, "    history {:?}{empty}", history.created_by.as_deref().unwrap());
}

fn dump_copy(out: &mut String, copy: &Copy) {
    let from = files_from(&copy.from);
    let sources: Vec<String> = copy
        .sources
        .iter()
        .map(|source| match source {
            CopySource::Path(path) => shown(&path.absolute()),
            CopySource::Git(repo) => {
                let mut text = format!("git {}", repo.shown());
                if let Some(checksum) = &repo.checksum {
                    text.push_str(&format!(" pinned to {checksum}"));
                }
                if repo.keep_git_dir == Some(true) {
                    text.push_str(" with .git");
                }
                if !repo.submodules {
                    text.push_str(" without submodules");
                }
                text
            }
            CopySource::Url { url, checksum } => match checksum {
                Some(checksum) => format!("{url} pinned to {checksum}"),
                None => url.clone(),
            },
            CopySource::Below { base, pattern } => {
                format!("{} below {}", shown(pattern.as_bytes()), shown(&base.absolute()))
            }
        })
        .collect();
    let dir = if copy.dest_is_dir { " (directory)" } else { "" };
    let _ = writeln!(
        out,
        "    copy {:?} {sources:?} from {from} to {}{dir}",
        copy.unpack,
        shown(&copy.dest.absolute())
    );
    for (name, bytes) in &copy.inline {
        let _ = writeln!(out, "    inline {name:?} {:?}", String::from_utf8_lossy(bytes));
    }
    if copy.chown.is_some() || copy.chmod.is_some() {
        let _ = writeln!(
            out,
            "    chown={:?} chmod={:?}",
            copy.chown,
            copy.chmod.as_ref().map(|chmod| match chmod {
                Chmod::Octal(mode) => format!("{mode:o}"),
                Chmod::Symbolic(_) => chmod.to_string(),
            })
        );
    }
    if !copy.exclude.is_empty() {
        let _ = writeln!(out, "    exclude={:?}", copy.exclude);
    }
    if copy.link == Link::Yes {
        let _ = writeln!(out, "    link");
    }
}

fn dump_run(out: &mut String, run: &Run) {
    let env: Vec<String> = run.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let _ = writeln!(out, "    run {:?}", run.argv);
    let _ = writeln!(out, "    in {} user={:?} network={:?} env={env:?}", run.cwd, run.user, run.network);
    if run.security == Security::Insecure {
        let _ = writeln!(out, "    insecure");
    }
    for mount in &run.mounts {
        dump_mount(out, mount);
    }
    if !run.proxy_env.is_empty() {
        let _ = writeln!(out, "    proxies {:?}", run.proxy_env);
    }
    for (path, bytes) in &run.scripts {
        let _ = writeln!(out, "    script {path} {:?}", String::from_utf8_lossy(bytes));
    }
}

fn dump_mount(out: &mut String, mount: &Mount) {
    let from = |from: &FilesFrom| files_from(from);
    let path = |path: &ImagePath| shown(&path.absolute());
    let owner = |owner: &NodeOwner| format!("{:04o} {}:{}", owner.mode, owner.uid, owner.gid);
    let text = match mount {
        Mount::Bind(bind) => format!(
            "bind {} from {} at {} {:?}",
            path(&bind.source),
            from(&bind.from),
            path(&bind.target),
            bind.access
        ),
        Mount::Cache(cache) => format!(
            "cache {:?} at {} {} {:?} mode={:?} uid={:?} gid={:?} seeded with {} of {}",
            cache.id,
            path(&cache.target),
            cache.sharing.text(),
            cache.access,
            cache.mode.map(|mode| format!("{mode:04o}")),
            cache.uid,
            cache.gid,
            path(&cache.source),
            cache.seed.as_ref().map_or_else(|| "nothing".to_owned(), from)
        ),
        Mount::Tmpfs(tmpfs) => {
            format!("tmpfs at {} size={:?} {:?}", path(&tmpfs.target), tmpfs.size, tmpfs.access)
        }
        Mount::Secret(secret) => format!(
            "secret {:?} file={:?} env={:?} required={} {}",
            secret.id,
            secret.file.as_ref().map(path),
            secret.env,
            secret.required,
            owner(&secret.owner)
        ),
        Mount::Ssh(ssh) => {
            format!(
                "ssh {:?} at {} required={} {}",
                ssh.id,
                path(&ssh.target),
                ssh.required,
                owner(&ssh.owner)
            )
        }
    };
    let _ = writeln!(out, "    mount {text}");
}

fn files_from(from: &FilesFrom) -> String {
    match from {
        FilesFrom::Context => "context".to_owned(),
        FilesFrom::NamedContext(name) => format!("named context {name}"),
        FilesFrom::Stage(index) => format!("stage {index}"),
        FilesFrom::Image(reference) => format!("image {reference}"),
        FilesFrom::Scratch => "scratch".to_owned(),
    }
}

fn dump_config(out: &mut String, image: &ImageConfig) {
    assert_eq!(image.created, None);
    let RunConfig { other, .. } = &image.config;
    assert!(other.is_empty() && image.other.is_empty(), "unknown fields are dropped");
    let history: Vec<&str> = image.history.iter().filter_map(|h| h.created_by.as_deref()).collect();
    let _ = writeln!(out, "  config {}", serde_json::to_string(&image.config).unwrap());
    if let Some(author) = &image.author {
        let _ = writeln!(out, "  author {author}");
    }
    if !history.is_empty() {
        let _ = writeln!(out, "  base history {history:?}");
    }
}

#[test]
fn cases_come_out_as_written_down() {
    let mut wrong = String::new();
    let cases = data("tests/data/dockerfile");
    assert!(cases.len() >= 60, "only {} cases", cases.len());
    for case in &cases {
        let text = std::fs::read_to_string(case.join("Dockerfile")).unwrap();
        let (recipe, errors) = (case.join("recipe.txt"), case.join("errors.txt"));
        let source = source(&text);
        let (path, other, actual) = match build(&source, &case_options(&text)) {
            Ok((made, warnings)) => (recipe, errors, render(&source, &warnings) + &dump(&made)),
            Err(found) => (errors, recipe, render(&source, &found)),
        };
        golden(&path, &other, &actual, &mut wrong);
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn images_are_listed_with_their_use() {
    let text = "ARG V=1\nFROM a:$V AS one\nFROM never\nFROM b AS two\nCOPY --from=one x y\nCOPY --from=c x y\n\
                COPY --from=c x y\nCOPY --from=a:1 x y\nFROM two\n";
    let source = source(text);
    let (file, found) = dockerfile::parse(&source);
    assert_eq!(found, []);
    let images = file.images(&options(), &BTreeMap::new()).unwrap();
    let shown: Vec<(&str, &str, bool)> = images
        .iter()
        .map(|image| (image.reference.as_str(), &text[image.span.range()], image.as_base))
        .collect();
    assert_eq!(
        shown,
        [("a:1", "a:$V", true), ("b", "b", true), ("c", "--from=c", false), ("a:1", "--from=a:1", false)]
    );
}

#[test]
fn a_missing_base_config_is_an_error_and_no_panic() {
    let source = source("FROM a\n");
    let (file, _) = dockerfile::parse(&source);
    let found = file.lower(&options(), &BTreeMap::new()).unwrap_err();
    assert!(found[0].message.contains("config of base image 'a' is not known"), "{found:?}");
}

// Hostile files: what is bounded is the work, so these end, and end with an answer.

#[test]
fn hundreds_of_thousands_of_continuations() {
    let text = format!("FROM scratch\nRUN true{}\nCMD [\"x\"]\n", " \\\n  && true".repeat(300_000));
    let (recipe, found) = build(&source(&text), &options()).unwrap();
    assert_eq!(found, []);
    let Op::Run(run) = &recipe.stages[0].steps[0].op else { panic!("RUN is a run") };
    assert_eq!(run.argv[2].matches("true").count(), 300_001);
    assert_eq!(recipe.stages[0].steps[1].origin.line, 300_003);
}

#[test]
fn nesting_without_end() {
    let nested = format!("{}x{}", "${a:-".repeat(5_000), "}".repeat(5_000));
    let found = build(&source(&format!("FROM scratch\nENV x={nested}\n")), &options()).unwrap_err();
    assert_eq!(found[0].message, "more than 100 nested ${");
}

#[test]
fn doubling_through_all_instructions() {
    // Each value is within its limit; all of them together are not.
    let mut text = "FROM scratch\nARG a=0123456789abcdef\n".to_owned();
    text.push_str(&"ARG a=$a$a\n".repeat(15));
    text.push_str(&"RUN x\nLABEL a=$a\nENV b=$a\n".repeat(2_000));
    let found = build(&source(&text), &options()).unwrap_err();
    assert!(found.iter().any(|d| d.message.contains("makes more than 268435456 bytes")), "{found:?}");
}

#[test]
fn an_environment_beyond_its_limit() {
    let mut text = format!("FROM scratch\nARG a={}\n", "x".repeat(60_000));
    text.push_str("ARG a=$a$a$a$a$a$a$a$a$a$a$a$a$a$a$a$a$a\n");
    (0..9).for_each(|index| writeln!(text, "ENV v{index}=$a").unwrap());
    let found = build(&source(&text), &options()).unwrap_err();
    assert_eq!(found[0].message, "the environment of the image grows beyond 8388608 bytes");
    assert_eq!(&text[found[0].span.range()], "ENV v8=$a");
}

#[test]
fn ten_thousand_stages() {
    let mut text = "FROM scratch AS s0\n".to_owned();
    (1..10_000).for_each(|n| writeln!(text, "FROM s{} AS s{n}\nCOPY --from=s{} a b", n - 1, n / 2).unwrap());
    let (recipe, found) = build(&source(&text), &options()).unwrap();
    assert_eq!(found, []);
    assert_eq!(recipe.stages.len(), 10_000);
}

#[test]
fn a_long_cycle_is_named() {
    let mut text = String::new();
    (0..1_000)
        .for_each(|n| writeln!(text, "FROM scratch AS s{n}\nCOPY --from=s{} a b", (n + 1) % 1_000).unwrap());
    let found = build(&source(&text), &options()).unwrap_err();
    assert!(found[0].message.ends_with(" s9 -> s10 -> (989 more) -> s0"), "{found:?}");
}

#[test]
fn an_unterminated_heredoc_of_many_lines() {
    let text = format!("FROM scratch\nRUN <<EOF\n{}", "echo\n".repeat(500_000));
    let found = build(&source(&text), &options()).unwrap_err();
    assert_eq!(found[0].message, "unterminated heredoc: no line 'EOF' follows");
}

#[test]
fn problems_beyond_counting_are_counted() {
    let (_, found) = dockerfile::parse(&source(&"WRONG\n".repeat(100_000)));
    assert_eq!(found.len(), 201);
    assert_eq!(found[200].message, "99800 more problems are not shown");
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    /// Pieces that files are made of, and some that they are not.
    const PIECES: [&str; 72] = [
        "FROM ",
        "scratch",
        " AS ",
        "a",
        "RUN ",
        "COPY ",
        "ADD ",
        "ENV ",
        "ARG ",
        "LABEL ",
        "CMD ",
        "ENTRYPOINT ",
        "SHELL ",
        "USER ",
        "WORKDIR ",
        "EXPOSE ",
        "VOLUME ",
        "HEALTHCHECK ",
        "STOPSIGNAL ",
        "ONBUILD ",
        "MAINTAINER ",
        "--from=",
        "--chown=",
        "--chmod=",
        "--platform=",
        "--network=",
        "--mount=",
        "--interval=",
        "--",
        "NONE",
        "\n",
        "\n",
        "\n",
        "\r\n",
        "\\\n",
        "`\n",
        "\\",
        "`",
        "\"",
        "'",
        "$",
        "${",
        "}",
        ":-",
        ":?",
        "#",
        "##",
        "%",
        "//",
        "/",
        "*",
        "?",
        "[",
        "]",
        "[\"a\", \"b\"]",
        "<<EOF",
        "<<-'E'",
        "EOF\n",
        "\tE\n",
        "=",
        "a=b",
        " ",
        "\t",
        "# escape=`\n",
        "# syntax=x\n",
        "\u{feff}",
        "é",
        "\u{202e}",
        "1",
        "80-90/udp",
        "a@b:c",
        "..",
    ];

    fn text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            9 => prop::sample::select(PIECES.to_vec()).prop_map(str::to_owned),
            1 => any::<char>().prop_filter("no zero byte", |c| *c != '\0').prop_map(String::from),
        ];
        let body = prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat());
        (any::<bool>(), body)
            .prop_map(|(from, body)| if from { format!("FROM scratch\n{body}") } else { body })
    }

    fn check(source: &Source, found: &[Diagnostic]) {
        for diagnostic in found {
            let span = diagnostic.span;
            assert!(source.text.get(span.range()).is_some(), "{diagnostic:?} lies within {:?}", source.text);
            assert!(!diagnostic.message.chars().any(char::is_control), "{diagnostic:?} is safe to print");
        }
        render(source, found);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_makes_it_panic(text in text()) {
            let source = source(&text);
            let (file, found) = dockerfile::parse(&source);
            check(&source, &found);
            // Whatever was wrong, going on must be safe.
            for found in [file.images(&options(), &BTreeMap::new()).err(), file.lower(&options(), &BTreeMap::new()).err()] {
                check(&source, &found.unwrap_or_default());
            }
        }

        #[test]
        fn lowering_is_a_function(text in text()) {
            let source = source(&text);
            prop_assert_eq!(build(&source, &options()), build(&source, &options()));
        }
    }
}
