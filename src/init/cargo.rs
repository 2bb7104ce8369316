//! Projects of Cargo: one program of the package or workspace, on the C library alone.

use super::project::{InitError, Project, texts, within};
use super::text::{Text, args, quoted};
use super::{CERTIFICATES, Draft, FETCHING, FILES, Kind, image_name, is_newer, too_old};

/// The Rust of the suite.
const HAS: (u32, u32) = (1, 63);
/// The newest edition and the newest `Cargo.lock` that it reads.
const EDITION: &str = "2021";
const LOCK: i64 = 3;

/// What is built.
struct Program {
    /// The directory of its package: `.`, `crates/x`.
    dir: String,
    name: String,
}

/// Where the crates come from that are not of the project.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Crates {
    /// There are none.
    None,
    /// `cargo vendor` put them into the project, which says so.
    Here,
    Elsewhere,
}

pub fn draft(project: &Project) -> Result<Draft, InitError> {
    if !project.has("Cargo.toml") {
        return Err(project.missing(Kind::Cargo.marks()));
    }
    let root = project.toml("Cargo.toml")?;
    let mut notes = Vec::new();
    let packages = packages(project, &root)?;
    let program = program(project, &packages, &mut notes);
    notes.extend(packages.iter().find_map(|(_, manifest)| age(manifest, &root)));
    let lock = project.toml("Cargo.lock")?;
    if lock.get("version").and_then(toml::Value::as_integer).is_some_and(|version| version > LOCK) {
        notes.push(too_old("Cargo.lock", "a Rust of", "1.78", HAS));
    }
    if !project.has("Cargo.lock") {
        notes.push(
            "there is no Cargo.lock: `cargo generate-lockfile` writes down which crates are built".to_owned(),
        );
    }
    let crates = crates(project, &lock, &packages, &root)?;
    let name = image_name(&program.name);
    let mut text = Text::new(&format!("{}, built by Cargo, on the C library.", program.name), &name);
    if crates == Crates::Elsewhere {
        crates_stage(project.has("Cargo.lock"), &mut text);
        text.gap();
    }
    build_stage(&program, crates, project.has("Cargo.lock"), &mut text);
    text.gap();
    image(&name, &program, &mut text);
    Ok(Draft { name, text: text.finish(), notes })
}

/// Everything that the lock names, put into one directory.
fn crates_stage(locked: bool, text: &mut Text) {
    text.say(
        "The crates of Cargo.lock. `cargo vendor` in the project, with what it prints in .cargo/config.toml,",
    );
    text.say("pins their bytes as well; then nothing needs this stage or a network.");
    text.open("stage \"crates\"");
    text.base(&[&["cargo", FILES][..], &FETCHING].concat());
    text.line("env CARGO_HOME=\"/cargo\" CARGO_HTTP_CAINFO=\"/tmp/ca.crt\"");
    let locked = if locked { "--locked " } else { "" };
    let vendor = format!("cargo vendor {locked}--manifest-path /src/Cargo.toml /vendor >/config.toml");
    // Without crates there is no directory.
    text.open_fetch(&[CERTIFICATES, "mkdir /vendor", &vendor]);
    let writable = if locked.is_empty() { " writable=#true" } else { "" };
    text.line(&format!("mount \"bind\" at=\"/src\"{writable}"));
    text.cache("/cargo", "cargo-home");
    text.close();
    text.close();
}

fn build_stage(program: &Program, crates: Crates, locked: bool, text: &mut Text) {
    text.open("stage \"build\"");
    text.base(&["cargo", FILES]);
    text.say("cc is a link that a script of a package makes, and none has run.");
    text.line("env CARGO_HOME=\"/cargo\" CARGO_TARGET_DIR=\"/target\" RUSTFLAGS=\"-C linker=gcc\"");
    text.workdir("/src");
    if crates == Crates::Elsewhere {
        text.line("copy \"/vendor\" from=\"crates\" to=\"/vendor\"");
        text.line("copy \"/config.toml\" from=\"crates\" to=\"/cargo/config.toml\"");
    }
    text.copy_all();
    text.say("No network here: what a run does is in this file and in the project.");
    let path = format!("--path={}", program.dir);
    let bin = format!("--bin={}", program.name);
    let mut argv = vec!["cargo", "install", &path, &bin, "--root=/out", "--no-track", "--offline"];
    argv.extend(locked.then_some("--locked"));
    text.open(&format!("run {}", args(&argv)));
    text.say("What was compiled stays on this machine, for the next build.");
    text.cache("/target", &format!("{}-target", program.name));
    text.close();
    text.close();
}

fn image(name: &str, program: &Program, text: &mut Text) {
    text.open(&format!("image {}", quoted(name)));
    text.say("Libraries that crates link to are packages of their own: libssl3, libsqlite3-0.");
    text.base(&["libc6", "libgcc-s1", FILES]);
    let path = format!("/usr/bin/{}", program.name);
    text.line(&format!(
        "copy {} from=\"build\" to={}",
        quoted(&format!("/out/bin/{}", program.name)),
        quoted(&path)
    ));
    text.config(name, &[path], &[]);
    text.close();
}

/// The manifests of the root and of the workspace's members, by directory.
fn packages(project: &Project, root: &toml::Table) -> Result<Vec<(String, toml::Table)>, InitError> {
    let mut dirs = vec![".".to_owned()];
    for member in texts(within(root, &["workspace", "members"])) {
        match member.split_once('*') {
            None => dirs.push(member.trim_end_matches('/').to_owned()),
            // A pattern of one level is what workspaces have.
            Some((before, rest)) => {
                let base = before.rsplit_once('/').map_or(".", |(base, _)| base);
                let prefix = before.rsplit('/').next().unwrap_or_default();
                let found = project.dirs(base).into_iter().filter(|name| name.starts_with(prefix));
                dirs.extend(found.map(|name| format!("{base}/{name}{rest}")));
            }
        }
    }
    let excluded = texts(within(root, &["workspace", "exclude"]));
    let mut packages = Vec::new();
    for dir in dirs {
        if !excluded.contains(&dir) && project.has(&format!("{dir}/Cargo.toml")) {
            packages.push((dir.clone(), project.toml(&format!("{dir}/Cargo.toml"))?));
        }
    }
    Ok(packages)
}

/// The program of the first package that has one.
fn program(project: &Project, packages: &[(String, toml::Table)], notes: &mut Vec<String>) -> Program {
    let all: Vec<Program> =
        packages.iter().filter_map(|(dir, manifest)| program_of(project, dir, manifest)).collect();
    let names: Vec<&str> = all.iter().map(|program| program.name.as_str()).collect();
    if let [first, _, ..] = names.as_slice() {
        notes.push(format!("of the programs of the workspace ({}) the image has {first}", names.join(", ")));
    }
    all.into_iter().next().unwrap_or_else(|| {
        notes.push("no package has a program: say in image.kdl what is built".to_owned());
        Program { dir: ".".to_owned(), name: image_name(&project.name()) }
    })
}

/// `default-run`, else `src/main.rs`, else the first `[[bin]]`, else the first of `src/bin`.
fn program_of(project: &Project, dir: &str, manifest: &toml::Table) -> Option<Program> {
    let package = within(manifest, &["package", "name"])?.as_str()?;
    let bins = manifest.get("bin").and_then(toml::Value::as_array);
    let named = |bin: &toml::Value| bin.get("name").and_then(toml::Value::as_str).map(str::to_owned);
    let named: Vec<String> = bins.into_iter().flatten().filter_map(named).collect();
    let default = within(manifest, &["package", "default-run"]).and_then(toml::Value::as_str);
    let main = project.has(&format!("{dir}/src/main.rs")).then_some(package);
    // A [[bin]] of another name may be what src/main.rs is.
    let main = main.filter(|_| named.is_empty() || named.iter().any(|name| name == package));
    let more = project
        .files(&format!("{dir}/src/bin"))
        .into_iter()
        .filter_map(|file| file.strip_suffix(".rs").map(str::to_owned));
    let name = default.or(main).map(str::to_owned);
    let name = name.or_else(|| named.into_iter().next()).or_else(|| more.into_iter().next())?;
    Some(Program { dir: dir.to_owned(), name })
}

/// What a package asks of the compiler that the suite does not have.
fn age(manifest: &toml::Table, root: &toml::Table) -> Option<String> {
    let field = |name: &str| {
        let own = within(manifest, &["package", name]);
        let inherited = || within(root, &["workspace", "package", name]).and_then(toml::Value::as_str);
        own.and_then(|own| own.as_str().or_else(inherited))
    };
    if let Some(version) = field("rust-version").filter(|version| is_newer(version, HAS)) {
        return Some(too_old("Cargo.toml", "Rust", version, HAS));
    }
    let edition = field("edition").filter(|edition| *edition > EDITION)?;
    Some(too_old("Cargo.toml", "the edition", edition, HAS))
}

fn crates(
    project: &Project,
    lock: &toml::Table,
    packages: &[(String, toml::Table)],
    root: &toml::Table,
) -> Result<Crates, InitError> {
    let locked = lock.get("package").and_then(toml::Value::as_array);
    let any = match locked {
        Some(locked) => locked.iter().any(|package| package.get("source").is_some()),
        None => packages.iter().map(|(_, manifest)| manifest).chain([root]).any(depends),
    };
    if !any {
        return Ok(Crates::None);
    }
    for file in [".cargo/config.toml", ".cargo/config"] {
        if project.read(file)?.is_some_and(|text| text.contains("replace-with")) {
            return Ok(Crates::Here);
        }
    }
    Ok(Crates::Elsewhere)
}

/// Whether a manifest names crates that are no directories.
fn depends(manifest: &toml::Table) -> bool {
    let tables = [
        &["dependencies"][..],
        &["dev-dependencies"],
        &["build-dependencies"],
        &["workspace", "dependencies"],
    ];
    let mut dependencies = tables.iter().filter_map(|path| within(manifest, path)?.as_table());
    let elsewhere = |value: &toml::Value| value.get("path").is_none() && value.get("workspace").is_none();
    manifest.contains_key("target") || dependencies.any(|table| table.values().any(elsewhere))
}
