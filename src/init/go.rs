//! Projects of Go: one program, linked statically, on an empty root.

use super::project::{InitError, Project};
use super::text::{Text, args, quoted};
use super::{Draft, FETCHING, FILES, Kind, image_name, is_newer, too_old};

/// The Go of the suite.
const HAS: (u32, u32) = (1, 19);

/// What is built.
struct Program {
    /// The package's directory: `.`, `./cmd/x`.
    package: String,
    /// What the program is called.
    name: String,
}

pub fn draft(project: &Project) -> Result<Draft, InitError> {
    let module = project.read("go.mod")?.unwrap_or_default();
    if module.is_empty() && !project.has("go.work") {
        return Err(project.missing(Kind::Go.marks()));
    }
    let mut notes = Vec::new();
    let program = program(project, &module, &mut notes)?;
    if let Some(version) = directive(&module, "go").filter(|version| is_newer(version, HAS)) {
        notes.push(too_old("go.mod", "Go", version, HAS));
    }
    let name = image_name(&program.name);
    let fetches = needs_modules(project, &module);
    let mut text = Text::new(&format!("{}, built by Go, on nothing else.", program.name), &name);
    build_stage(project, &program, fetches, &mut text);
    text.gap();
    text.open(&format!("image {}", quoted(&name)));
    text.say("Nothing but the program: no shell, no certificates.");
    text.line("base \"scratch\"");
    let path = format!("/usr/bin/{}", program.name);
    text.line(&format!(
        "copy {} from=\"build\" to={}",
        quoted(&format!("/out/{}", program.name)),
        quoted(&path)
    ));
    text.config(&name, &[path], &[]);
    text.close();
    Ok(Draft { name, text: text.finish(), notes })
}

fn build_stage(project: &Project, program: &Program, fetches: bool, text: &mut Text) {
    text.open("stage \"build\"");
    let mut packages = vec!["golang-go", FILES];
    packages.extend(FETCHING.first().filter(|_| fetches));
    text.base(&packages);
    text.say("Without C the program needs no library of the image.");
    text.line("env CGO_ENABLED=\"0\" GOFLAGS=\"-trimpath -buildvcs=false\" GOCACHE=\"/cache/build\" GOMODCACHE=\"/modules\"");
    text.workdir("/src");
    let own = ["go.mod", "go.sum"].into_iter().filter(|file| project.has(file)).collect::<Vec<_>>();
    match (fetches, project.has("go.work")) {
        (false, _) => text.copy_all(),
        (true, true) => {
            text.copy_all();
            fetch(text);
        }
        (true, false) => {
            text.copy(&own);
            fetch(text);
            text.copy_all();
        }
    }
    text.say("No network here: what a run does is in this file and in the project.");
    let out = format!("/out/{}", program.name);
    text.open(&format!("run {}", args(&["go", "build", "-o", &out, &program.package])));
    text.cache("/cache/build", "go-build");
    text.close();
    text.close();
}

fn fetch(text: &mut Text) {
    text.say("The one step with a network. go.sum pins what it brings; after `go mod vendor` it can go.");
    text.open("run \"go\" \"mod\" \"download\" network=#true");
    text.say("No script of a package has run, so there is no bundle of certificates.");
    text.line("env SSL_CERT_DIR=\"/usr/share/ca-certificates/mozilla\"");
    text.close();
}

/// Whether there is anything to download: modules that are needed, and not here.
fn needs_modules(project: &Project, module: &str) -> bool {
    let requires = module.lines().any(|line| line.trim_start().starts_with("require"));
    let all_here = project.has("vendor/modules.txt");
    (requires || project.has("go.work.sum")) && !all_here
}

/// The value of a line `word value` of a go.mod.
fn directive<'a>(module: &'a str, word: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.trim().strip_prefix(word)?.strip_prefix([' ', '\t']);
    let line = module.lines().find_map(value)?;
    line.split("//").next().map(|value| value.trim().trim_matches('"'))
}

/// The program of the module's root, else of `cmd`: that of the module's name, else the first.
fn program(project: &Project, module: &str, notes: &mut Vec<String>) -> Result<Program, InitError> {
    let path = directive(module, "module").unwrap_or_default();
    let mut parts = path.rsplit('/');
    let last = parts.next().unwrap_or_default();
    let is_version =
        last.strip_prefix('v').is_some_and(|v| !v.is_empty() && v.bytes().all(|b| b.is_ascii_digit()));
    let last = if is_version { parts.next().unwrap_or(last) } else { last };
    let name = if last.is_empty() { project.name() } else { last.to_owned() };
    if has_main(project, ".")? {
        return Ok(Program { package: ".".to_owned(), name });
    }
    let mut commands = Vec::new();
    for dir in project.dirs("cmd") {
        if has_main(project, &format!("cmd/{dir}"))? {
            commands.push(dir);
        }
    }
    let Some(chosen) = commands.iter().find(|command| **command == name).or_else(|| commands.first()) else {
        notes.push(
            "no package main was found here or in cmd: say in image.kdl which package is built".to_owned(),
        );
        return Ok(Program { package: ".".to_owned(), name });
    };
    if commands.len() > 1 {
        notes.push(format!("of the programs in cmd ({}) the image has {chosen}", commands.join(", ")));
    }
    Ok(Program { package: format!("./cmd/{chosen}"), name: chosen.clone() })
}

/// Whether a directory's files are of a package main, tests left out.
fn has_main(project: &Project, dir: &str) -> Result<bool, InitError> {
    for file in project.files(dir) {
        if !file.ends_with(".go") || file.ends_with("_test.go") {
            continue;
        }
        let source = project.read(&format!("{dir}/{file}"))?.unwrap_or_default();
        if source
            .lines()
            .any(|line| line.split("//").next().is_some_and(|code| code.trim() == "package main"))
        {
            return Ok(true);
        }
    }
    Ok(false)
}
