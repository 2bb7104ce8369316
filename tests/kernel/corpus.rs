//! Steps that are not deterministic by themselves, built twice (`tests/data/corpus`). `cargo bench --bench corpus` does this
//! with all of Debian.

use tempfile::TempDir;

use crate::support::corpus::{Machine, Mode, Snippet, snippets};
use crate::support::{kernel_lab, skip};

#[test]
fn what_busybox_makes_is_the_same_on_two_machines_if_it_is_to_be() {
    let Some(lab) = kernel_lab() else { return };
    let Ok(memory) = TempDir::new_in("/dev/shm") else { return skip("needs /dev/shm").unwrap_or(()) };
    let other = memory.path().join("store");
    let other = other.to_str().unwrap();
    lab.base("store", "base");
    lab.base(other, "base");
    let machines = [
        Machine { lab: &lab, store: "store", other: false },
        Machine { lab: &lab, store: other, other: true },
    ];
    let all = snippets("busybox.sh");
    // One machine after the other, so that every snippet is built at two times of day.
    let differ = |mode| -> Vec<&str> {
        let layers = machines.each_ref().map(|machine| {
            let layer = |snippet: &Snippet| {
                let layer = machine.layer("base", &snippet.name, &snippet.script, mode);
                layer.unwrap_or_else(|text| panic!("{}: {text}", snippet.name))
            };
            let layers: Vec<String> = all.iter().map(layer).collect();
            std::thread::sleep(std::time::Duration::from_secs(1));
            layers
        });
        let pairs = all.iter().zip(layers[0].iter().zip(&layers[1]));
        pairs.filter(|(_, (one, other))| one != other).map(|(snippet, _)| snippet.name.as_str()).collect()
    };
    let wrong = differ(Mode::Deterministic);
    assert!(wrong.is_empty(), "differ though deterministic: {wrong:?}");
    // All but those that one machine cannot show: its kernel, its start.
    let differ = differ(Mode::Plain).len();
    assert!(differ >= 8, "only {differ} differ in plain steps: the corpus tests nothing");
}
