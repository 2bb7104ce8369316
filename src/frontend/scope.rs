//! What a stage has gathered so far: its config, its variables, its arguments.

use crate::oci::{ImageConfig, RunConfig};

use super::env::{self, Env, MAX_ENV};

/// Search path of an image that sets none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The shell of an image that sets none.
const DEFAULT_SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// What a small text costs beside its bytes.
const OVERHEAD: usize = 64;

/// State between two instructions of one stage.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The image's config so far; history and rootfs are those of the base.
    pub image: ImageConfig,
    /// What words and processes see: config Env, and ARGs over it.
    pub env: Env,
    /// Where each name stands in the config's Env, and how many bytes that holds.
    places: std::collections::HashMap<String, usize>,
    env_bytes: usize,
    /// Declared ARGs in order; `None` if an ARG has no value. A name may occur several times.
    args: Vec<(String, Option<String>)>,
    /// Whether CMD was set in this stage, so that ENTRYPOINT keeps it.
    cmd_set: bool,
}

impl Scope {
    /// On a base image, whose config loses what is not of the run: creation date, and fields that neither the
    /// image-spec nor docker's image format know.
    pub fn on_image(base: &ImageConfig) -> Self {
        let mut image = base.clone();
        image.created = None;
        image.other.retain(|name, _| matches!(name.as_str(), "os.version" | "os.features"));
        image.config.other.clear();
        Self::start(image, Env::default(), Vec::new())
    }

    /// On scratch.
    pub fn on_scratch(image: ImageConfig) -> Self {
        let mut image = image;
        image.config.working_dir = "/".to_owned();
        Self::start(image, Env::default(), Vec::new())
    }

    /// On another stage: its ARGs stay, but ENV speaks last again.
    pub fn on_stage(base: &Scope) -> Self {
        Self::start(base.image.clone(), base.env.clone(), base.args.clone())
    }

    fn start(mut image: ImageConfig, mut env: Env, args: Vec<(String, Option<String>)>) -> Self {
        let config = &mut image.config;
        // They have run, as the first instructions of the stage.
        config.on_build.clear();
        if !config.env.iter().any(|variable| env::split(variable).0 == "PATH") {
            config.env.push(format!("PATH={DEFAULT_PATH}"));
        }
        let mut places = std::collections::HashMap::new();
        for (place, variable) in config.env.iter().enumerate() {
            let (name, value) = env::split(variable);
            env.set(name, value.to_owned());
            places.entry(name.to_owned()).or_insert(place);
        }
        let env_bytes = config.env.iter().map(String::len).sum();
        if !config.working_dir.is_empty() {
            config.working_dir = clean("/", &config.working_dir);
        }
        Self { image, env, places, env_bytes, args, cmd_set: false }
    }

    /// The run config so far.
    pub fn config(&mut self) -> &mut RunConfig {
        &mut self.image.config
    }

    /// ENV: into the config and into what follows. False if the config would hold too much.
    pub fn set_env(&mut self, name: &str, value: &str) -> bool {
        let variable = format!("{name}={value}");
        let list = &mut self.image.config.env;
        self.env_bytes += variable.len();
        match self.places.get(name) {
            Some(place) => {
                self.env_bytes -= list[*place].len();
                list[*place] = variable;
            }
            None => {
                self.places.insert(name.to_owned(), list.len());
                list.push(variable);
            }
        }
        self.env.set(name, value.to_owned());
        self.env_bytes <= MAX_ENV
    }

    /// ARG: into what follows, not into the config.
    pub fn set_arg(&mut self, name: &str, value: Option<String>) {
        if let Some(value) = &value {
            self.env.set(name, value.clone());
        }
        self.args.push((name.to_owned(), value));
    }

    /// The ARGs as RUN's history shows them: each once, with the value now in force, empty if there is none.
    pub fn declared(&self) -> Vec<(String, String)> {
        let mut out = indexmap::IndexMap::new();
        for (name, value) in &self.args {
            let now = self.env.get(name).or(value.as_deref()).unwrap_or_default();
            out.insert(name.clone(), now.to_owned());
        }
        out.into_iter().collect()
    }

    /// The environment of a process: the names of the config in its order, then the other ARGs.
    pub fn process_env(&self) -> Vec<(String, String)> {
        let mut out = indexmap::IndexMap::new();
        for variable in &self.image.config.env {
            let (name, value) = env::split(variable);
            out.entry(name.to_owned()).or_insert_with(|| self.env.get(name).unwrap_or(value).to_owned());
        }
        for (name, value) in self.env.iter() {
            out.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
        out.into_iter().collect()
    }

    /// CMD: what an entry point gets, or what runs if there is none.
    pub fn set_cmd(&mut self, argv: Vec<String>) {
        self.cmd_set = true;
        self.image.config.cmd = Some(argv).filter(|argv| !argv.is_empty());
        self.image.config.args_escaped = true;
    }

    /// ENTRYPOINT: a CMD that came from the base belongs to the base's entry point, not to this one.
    pub fn set_entrypoint(&mut self, argv: Vec<String>) {
        self.image.config.entrypoint = Some(argv).filter(|argv| !argv.is_empty());
        if !self.cmd_set {
            self.image.config.cmd = None;
        }
    }

    /// The argument vector that runs a text in the stage's shell.
    pub fn shell(&self, text: String) -> Vec<String> {
        let own = self.image.config.shell.clone().filter(|shell| !shell.is_empty());
        let mut argv = own.unwrap_or_else(|| DEFAULT_SHELL.map(str::to_owned).to_vec());
        argv.push(text);
        argv
    }

    /// The working directory, absolute.
    pub fn cwd(&self) -> String {
        match self.image.config.working_dir.as_str() {
            "" => "/".to_owned(),
            dir => dir.to_owned(),
        }
    }

    /// How many bytes a stage on top of this one copies, about.
    pub fn weight_of_stage(&self) -> usize {
        let env: usize = self.env.iter().map(|(name, value)| name.len() + value.len() + OVERHEAD).sum();
        let values = self.args.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, String::len));
        let args: usize = values.map(|size| size + OVERHEAD).sum();
        2 * self.weight() + env + args + self.image.history.len() * OVERHEAD
    }

    /// How many bytes the config takes, about: what a step's copy of it costs.
    pub fn weight(&self) -> usize {
        let config = &self.image.config;
        let env: usize = config.env.iter().map(|text| text.len() + OVERHEAD).sum();
        let labels: usize = config.labels.iter().map(|(k, v)| k.len() + v.len() + OVERHEAD).sum();
        let ports = config.exposed_ports.len() * OVERHEAD;
        let volumes: usize = config.volumes.keys().map(|text| text.len() + OVERHEAD).sum();
        let lists = [&config.cmd, &config.entrypoint, &config.shell];
        let lists: usize = lists.into_iter().flatten().flatten().map(|text| text.len() + OVERHEAD).sum();
        env + labels + ports + volumes + lists + OVERHEAD
    }
}

/// Joins a path below an absolute directory and cleans it by text, as Go's `path.Join` does.
pub fn clean(dir: &str, path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{dir}/{path}") };
    let mut names: Vec<&str> = Vec::new();
    for name in whole.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    format!("/{}", names.join("/"))
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn paths_are_cleaned_by_text() {
        for (dir, path, wanted) in [
            ("/", "", "/"),
            ("/a", "", "/a"),
            ("/a", "b/../c/.", "/a/c"),
            ("/a", "../../..", "/"),
            ("/a", "/x//y/", "/x/y"),
        ] {
            assert_eq!(clean(dir, path), wanted, "{dir} {path}");
        }
    }
}
