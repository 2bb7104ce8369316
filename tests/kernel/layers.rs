//! `layer` blocks: what several steps make is one layer of the image, as if one step had made it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{Built, Lab, kernel_lab};

/// What two steps do, so that the second undoes and replaces some of what the first and the base have.
const FIRST: &str = "mkdir -p /d/keep /gone /swap; echo 1 >/d/a; ln /d/a /d/b; echo x >/gone/x; echo x >/swap/x; \
     ln -s /d/a /link; mkfifo /pipe; echo new >/etc/motd; rm /etc/group; mkdir -p /old/sub; echo y >/old/sub/y; \
     echo z >/plain; chmod 4755 /d/a";
const SECOND: &str = "rm -r /gone /pipe; rm -r /swap; echo file >/swap; rm /plain; mkdir /plain; echo in >/plain/in; \
     echo k >/d/keep/c; ln /d/keep/c /d/keep/d; rm -r /old; mkdir /old; echo fresh >/old/fresh; rm -r /bin/vi; chmod 700 /root; \
     echo root:x:0: >/etc/group; chown 5:6 /d/keep";

fn lab() -> Option<Lab> {
    let lab = kernel_lab()?;
    lab.base("store", "base");
    lab.write("ctx/one.txt", "1");
    lab.write("ctx/two.txt", "2");
    Some(lab)
}

fn image(lab: &Lab, name: &str, steps: &str, more: &[&str]) -> Built {
    let text = format!("image \"x\" {{\n    base \"base\"\n{steps}\n}}\n");
    lab.write("ctx/image.kdl", text);
    lab.build("store", "ctx", &[&["-f", "ctx/image.kdl", "-t", name], more].concat())
}

fn inspected(lab: &Lab, name: &str) -> Value {
    let shown: Value = serde_json::from_str(&lab.ok("store", &["image", "inspect", name]).out).unwrap();
    shown[0].clone()
}

fn diff_ids(lab: &Lab, name: &str) -> Vec<String> {
    let shown = inspected(lab, name);
    let layers = shown["RootFS"]["Layers"].as_array().unwrap();
    layers.iter().map(|layer| layer.as_str().unwrap().to_owned()).collect()
}

/// What a process sees that stands on an image, through the overlay of its layers.
fn seen(lab: &Lab, name: &str) -> BTreeSet<String> {
    // What the sandbox mounts was made just now.
    let look = "cd /; find . -xdev ! -path './proc*' ! -path './sys*' ! -path './dev*' -exec stat -c '%n %F %a %u:%g %Y %h %s' {} +; \
        find . -xdev -type f ! -path './proc/*' ! -path './sys/*' ! -path './dev/*' -exec md5sum {} +; readlink /link";
    lab.write(
        "look/image.kdl",
        format!("image \"look\" {{ base \"{name}\"; run #\"\"\"\n{look}\n\"\"\"# }}\n"),
    );
    let built = lab.build("store", "look", &["-f", "look/image.kdl", "--no-cache"]);
    let output = built.events.iter().filter(|event| event["event"] == "output");
    let text: String = output.map(|event| event["data"].as_str().unwrap()).collect();
    assert!(text.contains("./d/a regular file 4755"), "{text}");
    // The root of an overlay is no file of the image, and how many links it gives a directory is its own affair.
    let line = |line: &str| match line.split_once(" directory ") {
        Some((name, rest)) => {
            format!("{name} directory {}", rest.split(' ').take(3).collect::<Vec<_>>().join(" "))
        }
        None => line.to_owned(),
    };
    text.lines().filter(|line| !line.starts_with(". ")).map(line).collect()
}

#[track_caller]
fn same(one: &BTreeSet<String>, other: &BTreeSet<String>) {
    let differ: Vec<&String> = one.symmetric_difference(other).collect();
    assert!(differ.is_empty(), "{differ:#?}");
}

fn run(script: &str) -> String {
    format!("run #\"\"\"\n    {script}\n    \"\"\"#\n")
}

#[test]
fn steps_of_a_layer_are_what_one_step_would_be() {
    let Some(lab) = lab() else { return };
    let (first, second) = (run(FIRST), run(SECOND));
    image(&lab, "apart", &format!("{first}{second}"), &[]);
    image(&lab, "together", &format!("layer \"l\" {{\n{first}{second}}}"), &[]);
    image(&lab, "one", &run(&format!("{FIRST}; {SECOND}")), &[]);
    assert_eq!(diff_ids(&lab, "apart").len(), 3);
    assert_eq!(diff_ids(&lab, "together").len(), 2);
    assert_eq!(diff_ids(&lab, "together"), diff_ids(&lab, "one"));
    same(&seen(&lab, "together"), &seen(&lab, "apart"));
    lab.ok("store", &["store", "verify"]);
}

#[test]
fn copies_of_a_layer() {
    let Some(lab) = lab() else { return };
    let copies = "copy \"one.txt\" to=\"/d/a\" mode=\"4755\"\nworkdir \"/d\"\ncopy \"two.txt\" to=\"b\"\n";
    let link = "run \"ln -s /d/a /link\"\n";
    image(&lab, "apart", &format!("{copies}{link}"), &[]);
    let steps = format!("layer \"l\" {{\n{copies}}}\n{link}");
    image(&lab, "together", &steps, &[]);
    assert_eq!(diff_ids(&lab, "together").len(), diff_ids(&lab, "apart").len() - 2);
    same(&seen(&lab, "together"), &seen(&lab, "apart"));
}

#[test]
fn steps_of_a_layer_are_steps() {
    let Some(lab) = lab() else { return };
    let steps = |second: &str| {
        format!(
            "layer \"l\" {{\nrun \"echo 1 >/a\"\nenv A=\"1\"\nrun \"{second}\"\nuser \"7\"\n}}\nrun \"cat /a /b\""
        )
    };
    let built = image(&lab, "x", &steps("echo 2 >/b"), &[]);
    let again = image(&lab, "x", &steps("echo 2 >/b"), &[]);
    assert_eq!(again.with_status("built"), Vec::<String>::new());
    assert_eq!(again.manifest(), built.manifest());
    let other = image(&lab, "y", &steps("echo 3 >/b"), &[]);
    assert_eq!(other.status("run \"echo 1 >/a\""), "hit");
    assert_ne!(other.manifest(), built.manifest());
    let fresh = image(&lab, "x", &steps("echo 2 >/b"), &["--no-cache"]);
    assert_eq!(fresh.manifest(), built.manifest(), "it is made of the same bytes again");

    // All lines are there; the last step that made a layer has it.
    let history = lab.ok("store", &["history", "--format", "json", "x"]).out;
    let lines: Vec<Value> = history.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sizes: Vec<bool> = lines.iter().map(|line| line["Size"] != "0B").collect();
    assert_eq!(lines.len(), 6, "{history}");
    // Newest first: the last run, user, the run with the layer, env, the first run, the base.
    assert_eq!(sizes[1..], [false, true, false, false, true], "{history}");
}

#[test]
fn a_layer_of_one_step_is_that_step() {
    let Some(lab) = lab() else { return };
    // It writes what is there already, which a merge would leave out.
    let copy = "copy \"one.txt\" to=\"/d/a\"\n";
    let twice = format!("{copy}layer \"l\" {{\n{copy}env A=\"1\"\n}}");
    image(&lab, "together", &twice, &[]);
    image(&lab, "apart", &format!("{copy}{copy}env A=\"1\"\n"), &[]);
    assert_eq!(inspected(&lab, "together")["Id"], inspected(&lab, "apart")["Id"]);
}
