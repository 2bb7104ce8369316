//! Projects of node: the files as they are, with their modules, on nodejs.

use serde_json::Value;

use super::project::{InitError, Project};
use super::text::{Text, args, quoted};
use super::{CERTIFICATES, Draft, FETCHING, FILES, Kind, image_name, is_newer, too_old};

/// The node of the suite.
const HAS: (u32, u32) = (18, 20);
/// What is started if `package.json` does not say.
const MAINS: [&str; 6] = ["server.js", "index.js", "app.js", "main.js", "src/index.js", "src/server.js"];

/// What brings the modules.
struct Manager {
    lock: &'static str,
    package: &'static str,
    install: &'static str,
    /// `id` and place of what it keeps.
    cache: (&'static str, &'static str),
}

/// By their lock files; npm if there is none.
const MANAGERS: [Manager; 4] = [
    Manager { lock: "package-lock.json", package: "npm", install: "npm ci", cache: ("npm", "/root/.npm") },
    Manager { lock: "npm-shrinkwrap.json", package: "npm", install: "npm ci", cache: ("npm", "/root/.npm") },
    Manager {
        lock: "yarn.lock",
        package: "yarnpkg",
        install: "yarnpkg install --frozen-lockfile",
        cache: ("yarn", "/root/.cache/yarn"),
    },
    // Debian has none of its own.
    Manager {
        lock: "pnpm-lock.yaml",
        package: "npm",
        install: "npx --yes pnpm@9 install --frozen-lockfile",
        cache: ("npm", "/root/.npm"),
    },
];
const UNLOCKED: Manager =
    Manager { lock: "", package: "npm", install: "npm install", cache: ("npm", "/root/.npm") };

pub fn draft(project: &Project) -> Result<Draft, InitError> {
    if !project.has("package.json") {
        return Err(project.missing(Kind::Node.marks()));
    }
    let manifest = project.json("package.json")?;
    let mut notes = Vec::new();
    let title = manifest["name"].as_str().map_or_else(|| project.name(), str::to_owned);
    let name = image_name(&title);
    let engine = manifest["engines"]["node"].as_str().unwrap_or_default();
    if is_newer(engine, HAS) {
        notes.push(too_old("package.json", "node", engine, HAS));
    }
    let (entrypoint, shell) = entrypoint(project, &manifest, &mut notes);
    let builds = manifest["scripts"]["build"].is_string();
    let vendored = has_own_modules(project);
    let fetches = !vendored && depends(&manifest, builds);
    let mut text = Text::new(&format!("{title}, run by node."), &name);
    let staged = fetches || builds;
    if staged {
        build_stage(project, fetches, builds, &mut text, &mut notes);
        text.gap();
    }
    text.open(&format!("image {}", quoted(&name)));
    let mut packages = vec!["nodejs", FILES];
    packages.extend(shell.then_some("dash"));
    text.base(&packages);
    text.workdir("/app");
    if staged {
        text.line("copy \"/app\" from=\"build\" to=\"./\"");
    } else {
        if vendored {
            text.say("node_modules comes along: nothing is fetched.");
        }
        text.copy_all();
    }
    let path = "/app/node_modules/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let env = [("NODE_ENV", "production"), ("PATH", path)];
    text.config(&name, &entrypoint, if shell { &env } else { &env[..1] });
    text.close();
    Ok(Draft { name, text: text.finish(), notes })
}

/// Whether the modules are in the project.
pub fn has_own_modules(project: &Project) -> bool {
    project.has_dir("node_modules")
}

fn depends(manifest: &Value, builds: bool) -> bool {
    let some = |name: &str| manifest[name].as_object().is_some_and(|modules| !modules.is_empty());
    some("dependencies") || some("optionalDependencies") || builds && some("devDependencies")
}

fn build_stage(project: &Project, fetches: bool, builds: bool, text: &mut Text, notes: &mut Vec<String>) {
    let found = MANAGERS.iter().find(|manager| project.has(manager.lock));
    let manager = found.unwrap_or(&UNLOCKED);
    text.open("stage \"build\"");
    let mut packages = vec!["nodejs", manager.package, FILES];
    packages.extend(FETCHING);
    text.base(&packages);
    text.workdir("/app");
    if fetches {
        fetch(project, manager, found.is_some(), text, notes);
    }
    text.copy_all();
    if builds {
        text.say("No network here: what a run does is in this file and in the project.");
        let script =
            if manager.package == "yarnpkg" { ["yarnpkg", "run", "build"] } else { ["npm", "run", "build"] };
        text.line(&format!("run {}", args(&script)));
    }
    text.close();
}

fn fetch(project: &Project, manager: &Manager, locked: bool, text: &mut Text, notes: &mut Vec<String>) {
    let more = [".npmrc", ".yarnrc", "pnpm-workspace.yaml"].into_iter().filter(|file| project.has(file));
    let lock = Some(manager.lock).filter(|_| locked);
    text.copy(&["package.json"].into_iter().chain(lock).chain(more).collect::<Vec<_>>());
    if locked {
        text.say(&format!(
            "The one step with a network. {} pins what it brings, by its digests.",
            manager.lock
        ));
    } else {
        text.say("The one step with a network. What it brings is pinned by a package-lock.json: run `npm install`.");
        notes.push("no lock file was found: what is installed changes with the day".to_owned());
    }
    text.open_fetch(&[CERTIFICATES, manager.install]);
    text.say("No script of a package has run, so there is no bundle of certificates but this.");
    text.line("env NODE_EXTRA_CA_CERTS=\"/tmp/ca.crt\"");
    let (id, at) = manager.cache;
    text.cache(at, id);
    text.close();
}

/// What the image runs, and whether that needs a shell: `scripts.start`, else `main`, else a file of a usual name.
fn entrypoint(project: &Project, manifest: &Value, notes: &mut Vec<String>) -> (Vec<String>, bool) {
    if let Some(start) = manifest["scripts"]["start"].as_str() {
        let words: Vec<&str> = start.split_whitespace().collect();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@,+".contains(c);
        let is_node = words.first() == Some(&"node") && words.iter().all(|word| word.chars().all(plain));
        return match is_node {
            true => (words.into_iter().map(str::to_owned).collect(), false),
            false => (vec!["sh".to_owned(), "-c".to_owned(), format!("exec {start}")], true),
        };
    }
    let main = manifest["main"].as_str().map(str::to_owned);
    let usual = || MAINS.iter().find(|file| project.has(file)).map(|file| (*file).to_owned());
    let main = main.or_else(usual).unwrap_or_else(|| {
        notes
            .push("package.json has neither scripts.start nor main: say in image.kdl what is run".to_owned());
        "index.js".to_owned()
    });
    (vec!["node".to_owned(), main], false)
}
