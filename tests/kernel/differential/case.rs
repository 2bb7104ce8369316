//! A case: a directory of `tests/data/differential` with a `Dockerfile` and what its context holds.
//!
//! `context.sh`, if there is one, runs in the context and makes what a checkout cannot hold: links, modes, empty
//! directories, archives. All other files are the context's own. Comments in the Dockerfile say how it is built:
//! `#: arg K=V`, `#: label K=V`, `#: target S`, and `#: error TEXT` where lith refuses with this text.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Lab, base_tar, children, shell};

#[derive(Debug)]
pub struct Case {
    pub name: String,
    /// Options that every builder takes.
    pub options: Vec<String>,
    /// What lith's error says, if it has to refuse.
    pub error: Option<String>,
    /// The context, made for this run.
    pub context: PathBuf,
}

/// Where the cases and the list of known differences are.
pub fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/differential")
}

/// The images that cases stand on, in lith's store: `base`, a root file system without a config, and what
/// `configured.Dockerfile` and `triggers.Dockerfile` make of it. Gives their names.
pub fn bases(lab: &Lab) -> [&'static str; 3] {
    let names = ["base", "configured", "triggers"];
    base_tar(&lab.path(""), Some(&data().join("base.sh")));
    lab.ok("store", &["import", "base.tar", "base"]);
    for name in names {
        let dockerfile = data().join(format!("{name}.Dockerfile"));
        if dockerfile.exists() {
            lab.ok("store", &["build", "-t", name, "-f", dockerfile.to_str().unwrap(), "."]);
        }
    }
    names
}

/// All cases by name, their contexts made in the lab.
pub fn all(lab: &Lab) -> Vec<Case> {
    let dirs = children(&data()).into_iter().filter(|path| path.join("Dockerfile").exists());
    dirs.map(|dir| Case::prepare(lab, &dir)).collect()
}

impl Case {
    fn prepare(lab: &Lab, dir: &Path) -> Self {
        let name = dir.file_name().unwrap().to_str().unwrap().to_owned();
        let context = lab.path("cases").join(&name);
        fs::create_dir_all(&context).unwrap();
        for file in children(dir).iter().filter(|path| path.file_name().unwrap() != "context.sh") {
            let to = context.join(file.file_name().unwrap());
            let copied = Command::new("cp").args(["-r", "--no-preserve=mode"]).arg(file).arg(to).status();
            assert!(copied.unwrap().success(), "{}", file.display());
        }
        let script = dir.join("context.sh");
        if script.exists() {
            shell(&script, &context);
        }
        let mut case = Self { name, options: Vec::new(), error: None, context };
        // Some Dockerfiles are not UTF-8 on purpose.
        case.read_options(&String::from_utf8_lossy(&fs::read(dir.join("Dockerfile")).unwrap()));
        case
    }

    fn read_options(&mut self, dockerfile: &str) {
        for line in dockerfile.lines().filter_map(|line| line.strip_prefix("#: ")) {
            let (key, value) = line.split_once(' ').expect("a key and a value behind #:");
            let option = match key {
                "error" => {
                    self.error = Some(value.to_owned());
                    continue;
                }
                "arg" => "--build-arg",
                "label" => "--label",
                "target" => "--target",
                other => panic!("{}: unknown key {other} behind #:", self.name),
            };
            self.options.extend([option.to_owned(), value.to_owned()]);
        }
    }
}
