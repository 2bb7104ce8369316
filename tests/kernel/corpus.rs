//! Steps that are not deterministic by themselves, built twice (`tests/data/corpus`). `cargo bench --bench corpus` does this
//! with all of Debian.

use tempfile::TempDir;

use crate::support::corpus::{Machine, Mode, snippets};
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
    let mut wrong = Vec::new();
    let mut differ = 0;
    for snippet in snippets("busybox.sh") {
        let twice = |mode| {
            let layer = |machine: &Machine<'_>| machine.layer("base", &snippet.name, &snippet.script, mode);
            machines
                .each_ref()
                .map(|machine| layer(machine).unwrap_or_else(|text| panic!("{}: {text}", snippet.name)))
        };
        let [one, other] = twice(Mode::Deterministic);
        if one != other {
            wrong.push(snippet.name.clone());
        }
        let [one, other] = twice(Mode::Plain);
        differ += usize::from(one != other);
    }
    assert!(wrong.is_empty(), "differ though deterministic: {wrong:?}");
    // Those that draw randomness or see the host's name; others only if a second passes, or on another kernel.
    assert!(differ >= 5, "only {differ} differ in plain steps: the corpus tests nothing");
}
