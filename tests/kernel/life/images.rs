//! Images that containers are made of.

use super::World;
use crate::rootless::Ids;

#[test]
fn an_image_in_use_stays_and_without_its_name_the_container_still_runs() {
    for world in [World::root(), World::user("inuse", Ids::Range)] {
        let Some(world) = world else { continue };
        let lab = world.lab();
        lab.write("ctx/Dockerfile", "FROM base\nRUN echo made > /made\nVOLUME /etc\n");
        world.ok(&["build", "-q", "-t", "one", "-t", "two", lab.path("ctx").to_str().unwrap()]);
        world.ok(&["create", "--name", "user", "one", "cat", "/made"]);
        // One of two names is only a name.
        assert_eq!(world.ok(&["rmi", "one"]), "Untagged: one:latest");
        let refused = world.run(&["rmi", "two"]);
        assert_eq!(refused.code, 1, "{}", refused.err);
        for part in ["two", "container user", "--force"] {
            assert!(refused.err.contains(part), "{part} is not in {}", refused.err);
        }
        let id = world.inspect("user")["Image"].as_str().unwrap().to_owned();
        assert_eq!(world.run(&["rmi", &id]).code, 1);
        assert!(world.ok(&["images", "--format", "json"]).contains("\"two\""), "a refusal removes nothing");
        // By force the names go; what the container needs does not.
        let removed = world.ok(&["rmi", "--force", "two", "base"]);
        assert!(
            removed.contains("Untagged: two:latest") && removed.contains("Untagged: base:latest"),
            "{removed}"
        );
        world.ok(&["gc", "--all"]);
        assert_eq!(world.ok(&["start", "-a", "user"]), "made");
        world.ok(&["gc", "--all"]);
        assert_eq!(world.ok(&["start", "-a", "user"]), "made");
        world.ok(&["rm", "-v", "user"]);
        world.ok(&["gc", "--all"]);
        assert_eq!(world.ok(&["images", "-aq"]), "");
        let left = crate::support::children(&world.store().join("overlay"));
        assert!(left.iter().all(|path| !path.is_dir()), "{left:?}");
    }
}
