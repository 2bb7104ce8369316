//! Projects of Python: the files as they are, with what pip brings, on python3.

use super::project::{InitError, Project, texts, within};
use super::text::{Text, args, quoted};
use super::{CERTIFICATES, Draft, FETCHING, FILES, Kind, image_name, is_newer, too_old};

/// The Python of the suite.
const HAS: (u32, u32) = (3, 11);
/// What is started if nothing else says.
const MAINS: [&str; 6] = ["main.py", "app.py", "server.py", "run.py", "src/main.py", "src/app.py"];

/// What pip is to install.
enum Needs {
    Nothing,
    /// The lines of requirements.txt.
    File,
    /// Of pyproject.toml.
    Names(Vec<String>),
}

pub fn draft(project: &Project) -> Result<Draft, InitError> {
    if !Kind::Python.marks().iter().any(|mark| project.has(mark)) {
        return Err(project.missing(Kind::Python.marks()));
    }
    let manifest = project.toml("pyproject.toml")?;
    let mut notes = Vec::new();
    let field = |name: &str| within(&manifest, &["project", name]).and_then(toml::Value::as_str);
    let title = field("name").map_or_else(|| project.name(), str::to_owned);
    let name = image_name(&title);
    if let Some(version) = field("requires-python").filter(|version| is_newer(version, HAS)) {
        notes.push(too_old("pyproject.toml", "Python", version, HAS));
    }
    if within(&manifest, &["tool", "poetry", "dependencies"]).is_some() {
        notes.push(
            "what poetry installs is not read: `poetry export -o requirements.txt` writes it down".to_owned(),
        );
    }
    let needs = needs(project, &manifest)?;
    let mut text = Text::new(&format!("{title}, run by Python."), &name);
    let brings = !matches!(needs, Needs::Nothing);
    if brings {
        packages_stage(project, &needs, &mut text);
        text.gap();
    }
    text.open(&format!("image {}", quoted(&name)));
    text.base(&["python3", FILES]);
    text.workdir("/app");
    if brings {
        text.line("copy \"/packages\" from=\"packages\" to=\"/packages\"");
    }
    text.copy_all();
    let path: Vec<&str> =
        [project.has_dir("src").then_some("/app/src"), Some("/app"), brings.then_some("/packages")]
            .into_iter()
            .flatten()
            .collect();
    let path = path.join(":");
    let env = [("PYTHONPATH", path.as_str()), ("PYTHONUNBUFFERED", "1"), ("PYTHONDONTWRITEBYTECODE", "1")];
    text.config(&name, &entrypoint(project, &manifest, &title, &mut notes), &env);
    text.close();
    Ok(Draft { name, text: text.finish(), notes })
}

fn needs(project: &Project, manifest: &toml::Table) -> Result<Needs, InitError> {
    let lines = project.read("requirements.txt")?.unwrap_or_default();
    let says = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    if lines.lines().any(says) {
        return Ok(Needs::File);
    }
    let names = texts(within(manifest, &["project", "dependencies"]));
    Ok(if names.is_empty() { Needs::Nothing } else { Needs::Names(names) })
}

/// What pip installs, in a directory of its own.
fn packages_stage(project: &Project, needs: &Needs, text: &mut Text) {
    let wheels =
        project.files("vendor").iter().any(|file| file.ends_with(".whl") || file.ends_with(".tar.gz"));
    text.open("stage \"packages\"");
    text.base(&[&["python3-pip", FILES][..], if wheels { &[] } else { &FETCHING }].concat());
    if matches!(needs, Needs::File) {
        text.workdir("/src");
        text.copy(&["requirements.txt"]);
    }
    let mut wanted = vec!["pip", "install", "--no-compile", "--target=/packages"];
    match needs {
        Needs::Nothing => {}
        Needs::File => wanted.extend(["--requirement", "requirements.txt"]),
        Needs::Names(names) => wanted.extend(names.iter().map(String::as_str)),
    }
    if wheels {
        text.say("No network: `pip download -d vendor` has put everything into the project.");
        wanted.extend(["--no-index", "--find-links=/vendor"]);
        text.open(&format!("run {}", args(&wanted)));
        text.line("mount \"bind\" at=\"/vendor\" source=\"vendor\"");
    } else {
        text.say("The one step with a network. `pip-compile --generate-hashes` pins what it brings;");
        text.say("`pip download -d vendor -r requirements.txt` makes it need none.");
        let command = wanted.iter().map(|word| shell_word(word)).collect::<Vec<_>>().join(" ");
        text.open_fetch(&[CERTIFICATES, &command]);
        text.line("env PIP_CERT=\"/tmp/ca.crt\"");
        text.cache("/root/.cache/pip", "pip");
    }
    text.close();
    text.close();
}

/// A word that a shell takes as it is.
fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// What the image runs: a script of pyproject.toml, else a file of a usual name, else a package with `__main__`.
fn entrypoint(
    project: &Project,
    manifest: &toml::Table,
    title: &str,
    notes: &mut Vec<String>,
) -> Vec<String> {
    let python = |more: &[&str]| ["python3"].iter().chain(more).map(|word| (*word).to_owned()).collect();
    let scripts = within(manifest, &["project", "scripts"]).and_then(toml::Value::as_table);
    let mut scripts: Vec<(&str, &str)> = scripts
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
        .collect();
    scripts.sort_by_key(|(name, _)| *name != title);
    if let Some((module, function)) = scripts.first().and_then(|(_, target)| target.split_once(':')) {
        let first = function.split('.').next().unwrap_or(function);
        return python(&["-c", &format!("import sys; from {module} import {first}; sys.exit({function}())")]);
    }
    if let Some(file) = MAINS.iter().find(|file| project.has(file)) {
        return python(&[*file]);
    }
    if project.has("manage.py") {
        return python(&["manage.py", "runserver", "--noreload", "0.0.0.0:8000"]);
    }
    for base in ["src", "."] {
        if let Some(package) =
            project.dirs(base).iter().find(|dir| project.has(&format!("{base}/{dir}/__main__.py")))
        {
            return python(&["-m", package]);
        }
    }
    notes.push("nothing says what is run: put it into entrypoint in image.kdl".to_owned());
    python(&["-m", &title.replace('-', "_")])
}
