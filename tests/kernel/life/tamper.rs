//! A file dropped into an unpacked layer: docker runs it in every later container; lith names it, refuses, and mends it.

use std::fs;

use super::World;
use crate::rootless::Ids;

#[test]
fn what_is_dropped_into_a_layer_is_named_refused_and_taken_out() {
    for world in [World::root(), World::user("tamper", Ids::Range)] {
        let Some(world) = world else { continue };
        world.ok(&["create", "--name", "keeps", "base", "cat", "/etc/evil"]);
        assert_eq!(world.ok(&["run", "--rm", "--verify", "base", "echo", "well"]), "well");
        let lower = world.inspect("keeps")["GraphDriver"]["Data"]["LowerDir"].as_str().unwrap().to_owned();
        let layer = lower.rsplit(':').next().unwrap();
        let diff = world.inspect("base")["RootFS"]["Layers"][0].as_str().unwrap().to_owned();
        fs::write(format!("{layer}/etc/evil"), "evil\n").unwrap();
        // The same number of bytes, and the time of before.
        let passwd = format!("{layer}/etc/passwd");
        let before = fs::metadata(&passwd).unwrap().modified().unwrap();
        fs::write(&passwd, fs::read_to_string(&passwd).unwrap().replace("root:x:0:0", "toor:x:0:0")).unwrap();
        fs::File::open(&passwd).unwrap().set_modified(before).unwrap();

        // docker would show it.
        assert_eq!(world.ok(&["run", "--rm", "base", "cat", "/etc/evil"]), "evil");
        // Verifying names the layer and the files.
        let named = world.run(&["store", "verify"]);
        assert_eq!(named.code, 1, "{}", named.out);
        for part in [diff.as_str(), "etc/evil", "added", "etc/passwd", "changed"] {
            assert!(named.out.contains(part), "{part} is not in {}", named.out);
        }
        // Running is refused, with docker's code and a next step.
        let refused = world.run(&["run", "--rm", "--verify", "base", "echo", "ran"]);
        assert_eq!((refused.code, refused.out.as_str()), (125, ""), "{}", refused.err);
        for part in ["etc/evil", "etc/passwd", "store verify --repair base"] {
            assert!(refused.err.contains(part), "{part} is not in {}", refused.err);
        }
        // Repairing restores it.
        world.ok(&["store", "verify", "--repair"]);
        world.ok(&["store", "verify"]);
        assert_eq!(
            world.ok(&["run", "--rm", "--verify", "base", "head", "-n1", "/etc/passwd"]),
            "root:x:0:0:root:/root:/bin/sh"
        );
        // A container that was made before sees the layer as it should be.
        let gone = world.run(&["start", "-a", "keeps"]);
        assert!(gone.code == 1 && gone.err.contains("No such file"), "{gone:?}");
    }
}
