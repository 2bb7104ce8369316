//! Volumes: what they begin with, who uses them, when they go.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::World;
use super::terminal::{Screen, script, worlds as worlds_with_terminals};
use crate::rootless::Ids;
use crate::support::{base_tar, children, has, skip};

#[track_caller]
fn refused(world: &World, args: &[&str], code: i32, parts: &[&str]) {
    let ran = world.run(args);
    assert_eq!(ran.code, code, "{args:?}\n{}\n{}", ran.out, ran.err);
    for part in parts {
        assert!(ran.err.contains(part), "{part:?} is not in {}", ran.err);
    }
}

fn data(world: &World, name: &str) -> PathBuf {
    world.store().join("volumes").join(name).join("_data")
}

/// Everything below a directory, and itself, as a person could see it.
fn snapshot(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut inodes = BTreeMap::new();
    let mut found = BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(path) = todo.pop() {
        let own = path.strip_prefix(dir).unwrap().to_owned();
        let meta = fs::symlink_metadata(&path).unwrap();
        let kind = meta.file_type();
        let what = if kind.is_dir() {
            todo.extend(children(&path));
            "dir".into()
        } else if kind.is_symlink() {
            format!("-> {}", fs::read_link(&path).unwrap().display())
        } else if kind.is_file() {
            let hash = blake3::hash(&fs::read(&path).unwrap());
            // The first name in this order stands for all.
            inodes.entry(meta.ino()).or_insert_with(Vec::new).push(own.clone());
            format!("{} {hash}", meta.len())
        } else {
            format!("fifo {} rdev {}", kind.is_fifo(), meta.rdev())
        };
        let xattrs = match kind.is_dir() || kind.is_file() {
            true => lith::sys::xattr::read(File::open(&path).unwrap(), |name| {
                name != lith::mount::OWNER_XATTR.as_bytes() && !name.starts_with(b"user.overlay.")
            })
            .unwrap(),
            false => vec![],
        };
        let (mode, owner) = (meta.mode(), (meta.uid(), meta.gid()));
        let time = (meta.mtime(), meta.mtime_nsec());
        found.insert(own, format!("{what} {mode:o} {owner:?} {time:?} {xattrs:?}"));
    }
    for names in inodes.into_values() {
        let mut names: Vec<String> = names.iter().map(|name| name.display().to_string()).collect();
        names.sort();
        for name in &names {
            found.get_mut(Path::new(name)).unwrap().push_str(&format!(" {names:?}"));
        }
    }
    found
}

/// Worlds with an image `full` that has owners, links, devices and a capability, in several layers.
fn full_worlds(tag: &str) -> Vec<World> {
    if !has("setcap") {
        return skip::<Vec<World>>("needs setcap (package libcap2-bin)").unwrap_or_default();
    }
    let worlds = [
        World::root(),
        World::user(&format!("{tag}r"), Ids::Range),
        World::user(&format!("{tag}s"), Ids::Single),
    ];
    let worlds: Vec<World> = worlds.into_iter().flatten().collect();
    for world in &worlds {
        let lab = world.lab();
        fs::create_dir(lab.path("tar")).unwrap();
        base_tar(&lab.path("tar"), None);
        world.ok(&["import", lab.path("tar/base.tar").to_str().unwrap(), "plain"]);
        lab.write(
            "ctx/Dockerfile",
            "FROM plain\nRUN rm /opt/old/deep/b && echo c > /opt/old/deep/c && ln /opt/old/deep/c /opt/c && chmod 1711 /opt\n\
             RUN ln -s /opt/keep /chain && ln -s ../chain /opt/way\nVOLUME /opt/keep\n",
        );
        world.ok(&["build", "-q", "-t", "full", lab.path("ctx").to_str().unwrap()]);
    }
    worlds
}

#[test]
fn a_new_volume_has_what_the_image_has_there() {
    for world in full_worlds("seed") {
        // What a program of the image sees, without any volume but the image's own.
        world.ok(&["run", "-d", "--name", "see", "-v", "kept:/opt/keep", "full", "sleep", "1000"]);
        let merged =
            PathBuf::from(world.inspect("see")["GraphDriver"]["Data"]["MergedDir"].as_str().unwrap());
        let lower = |path: &str| {
            let dirs = world.inspect("see")["GraphDriver"]["Data"]["LowerDir"].as_str().unwrap().to_owned();
            let found = dirs.split(':').map(|dir| Path::new(dir).join(path)).rfind(|path| path.exists());
            found.unwrap()
        };
        for (volume, target, seen) in
            [("v-bin", "/bin", "bin"), ("v-etc", "/etc", "etc"), ("v-tmp", "/tmp", "tmp")]
        {
            world.ok(&["create", "-v", &format!("{volume}:{target}"), "full", "true"]);
            assert_eq!(snapshot(&data(&world, volume)), snapshot(&lower(seen)), "{target}");
        }
        // Of several layers, with hard links, a FIFO, a device where it may be one.
        world.ok(&["create", "-v", "v-opt:/opt", "-v", "other:/opt/keep", "full", "true"]);
        let (mut own, mut wanted) = (snapshot(&data(&world, "v-opt")), snapshot(&merged.join("opt")));
        for tree in [&mut own, &mut wanted] {
            // Below it, the other volume is mounted in the container.
            tree.retain(|path, _| !path.starts_with("keep"));
        }
        assert_eq!(own, wanted);
        assert!(own[Path::new("old/a")].contains("old/hard") && own[Path::new("c")].contains("old/deep/c"));
        assert!(own.contains_key(Path::new("fifo")) && !own.contains_key(Path::new("old/deep/b")));
        // The image's own volume, and one at the end of a chain of links: mode and owner are the directory's.
        for volume in ["kept", "other"] {
            assert_eq!(snapshot(&data(&world, volume)), snapshot(&lower("opt/keep")), "{volume}");
        }
        world.ok(&["create", "-v", "linked:/opt/way", "full", "true"]);
        assert_eq!(snapshot(&data(&world, "linked")), snapshot(&lower("opt/keep")));
        let mode = fs::metadata(data(&world, "linked")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o2750);
        let anonymous = world.ok(&["create", "full", "true"]);
        let mounts = world.inspect(&anonymous)["Mounts"].clone();
        assert_eq!(snapshot(Path::new(mounts[0]["Source"].as_str().unwrap())), snapshot(&lower("opt/keep")));
        // A program sees it, and owners where there are any.
        let seen =
            world.ok(&["run", "--rm", "-v", "kept:/k:ro", "plain", "stat", "-c", "%a %F", "/k", "/k/k"]);
        assert_eq!(seen, "2750 directory\n644 regular file");
        if !matches!(&world, World::User(user) if user.ids == Ids::Single) {
            let owner = world.ok(&["run", "--rm", "-v", "kept:/k", "plain", "stat", "-c", "%u:%g", "/k"]);
            assert_eq!(owner, "5:6");
        }
    }
}

#[test]
fn a_volume_that_has_something_and_a_bind_are_left_alone() {
    for world in full_worlds("left") {
        world.ok(&["run", "--rm", "-v", "used:/x", "plain", "sh", "-c", "echo mine > /x/a; chmod 700 /x"]);
        let before = snapshot(&data(&world, "used"));
        world.ok(&["create", "-v", "used:/opt", "full", "true"]);
        assert_eq!(snapshot(&data(&world, "used")), before);
        let bound = world.store().parent().unwrap().join("bound");
        fs::create_dir(&bound).unwrap();
        world.ok(&["create", "-v", &format!("{}:/opt", bound.display()), "full", "true"]);
        assert!(children(&bound).is_empty());
        // What is no directory cannot become one, and nothing stays of the attempt.
        refused(
            &world,
            &["create", "-v", "odd:/etc/passwd", "full", "true"],
            1,
            &["odd", "/etc/passwd", "no directory"],
        );
        assert_eq!(world.ok(&["volume", "ls", "-q", "--filter", "name=odd"]), "");
        // A place that the image has not: empty, and root's.
        world.ok(&[
            "run",
            "--rm",
            "-v",
            "new:/not/there",
            "full",
            "sh",
            "-c",
            "[ -z \"$(ls -A /not/there)\" ]",
        ]);
    }
}

#[test]
fn a_volume_that_a_container_has_mounted_is_filled_where_it_is() {
    for world in full_worlds("mid") {
        world.ok(&["run", "-d", "--name", "first", "-v", "shared:/mnt", "plain", "sleep", "1000"]);
        world.ok(&["create", "-v", "shared:/opt/old", "full", "true"]);
        let seen = world.ok(&["exec", "first", "sh", "-c", "cd /mnt && cat a hard soft deep/c"]);
        assert_eq!(seen, "a\na\na\nc");
        let home = world.store().join("volumes/shared");
        assert_eq!(children(&home), [home.join("_data"), home.join("meta.json")]);
        // What a kill left on its way is there for the next; what the container has made since stays.
        world.ok(&[
            "exec",
            "first",
            "sh",
            "-c",
            "mkdir /mnt/d; echo own > /mnt/d/x; mv /mnt/d /mnt/_seed; rm /mnt/a",
        ]);
        fs::rename(home.join("_data/_seed"), home.join("_seed")).unwrap();
        world.ok(&["create", "-v", "shared:/opt", "full", "true"]);
        assert_eq!(world.ok(&["exec", "first", "cat", "/mnt/x"]), "own");
        assert_eq!(world.run(&["exec", "first", "cat", "/mnt/a"]).code, 1);
        assert!(!home.join("_seed").exists());
    }
}

/// An image with a directory that takes a while to copy, and a volume `whole` that has it.
fn many(world: &World) {
    let lab = world.lab();
    lab.write(
        "ctx/Dockerfile",
        "FROM base\nRUN mkdir /many && cd /many && for n in $(seq 400); do echo $n > $n; done\n",
    );
    world.ok(&["build", "-q", "-t", "many", lab.path("ctx").to_str().unwrap()]);
    world.ok(&["run", "--rm", "-v", "whole:/many", "many", "true"]);
}

#[test]
fn a_killed_filling_leaves_a_volume_empty_or_whole() {
    let Some(world) = World::root() else { return };
    many(&world);
    let whole = snapshot(&data(&world, "whole"));
    assert_eq!(whole.len(), 401);
    let mut kinds = BTreeMap::new();
    for round in 0..40_u64 {
        let args = ["create", "--name", "victim", "-v", "killed:/many", "many", "true"];
        let mut command = world.command(&args);
        let mut caller =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(round * 2_500));
        caller.kill().unwrap();
        caller.wait().unwrap();
        let there = data(&world, "killed");
        let kind = match there.exists() {
            false => "none",
            true if children(&there).is_empty() => "empty",
            true => {
                assert_eq!(snapshot(&there), whole, "round {round}");
                "whole"
            }
        };
        *kinds.entry(kind).or_insert(0) += 1;
        world.ok(&["rm", "-f", "victim"]);
        world.ok(&["create", "--name", "next", "-v", "killed:/many", "many", "true"]);
        assert_eq!(snapshot(&there), whole, "round {round}: the next container has all of it");
        world.ok(&["rm", "next"]);
        world.ok(&["volume", "rm", "killed"]);
    }
    assert!(kinds.contains_key("none") || kinds.contains_key("empty"), "kills came too late: {kinds:?}");
    world.ok(&["gc"]);
    assert!(children(&world.store().join("tmp")).is_empty());
}

#[test]
fn who_makes_a_container_and_who_prunes_do_not_meet() {
    let Some(world) = World::root() else { return };
    many(&world);
    let whole = snapshot(&data(&world, "whole"));
    let done = AtomicBool::new(false);
    let removed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let pruner = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let pruned = world.ok(&["volume", "prune", "-af"]).contains("contested");
                let removing = world.run(&["volume", "rm", "contested"]).code == 0;
                removed.fetch_add(usize::from(pruned) + usize::from(removing), Ordering::Relaxed);
            }
        });
        let makers: Vec<_> = (0..2)
            .map(|maker| {
                let (world, whole, removed) = (&world, &whole, &removed);
                scope.spawn(move || {
                    // Until it was gone in between, too: when that is the case, the machine says.
                    for round in 0.. {
                        if round >= 12 && removed.load(Ordering::Relaxed) > 0 {
                            break;
                        }
                        assert!(round < 500, "nothing was ever removed in between");
                        let name = format!("maker{maker}");
                        world.ok(&["create", "--name", &name, "-v", "contested:/many", "many", "true"]);
                        // In use from now on.
                        assert_eq!(snapshot(&data(world, "contested")), *whole);
                        world.ok(&["rm", &name]);
                    }
                })
            })
            .collect();
        // All of them first: who panics here must not leave the pruner to go on for ever.
        let made: Vec<_> = makers.into_iter().map(|maker| maker.join()).collect();
        done.store(true, Ordering::Relaxed);
        made.into_iter().for_each(|maker| maker.unwrap());
        pruner.join().unwrap();
    });
}

#[test]
fn listing_making_and_removing_are_dockers() {
    for world in [World::root(), World::user("vols", Ids::Range)] {
        let Some(world) = world else { continue };
        assert_eq!(world.ok(&["volume", "ls"]), "DRIVER  VOLUME NAME");
        assert_eq!(world.ok(&["volume", "create", "--label", "a=b", "--label", "c", "site"]), "site");
        assert_eq!(world.ok(&["volume", "create", "site"]), "site", "it is there already");
        let random = world.ok(&["volume", "create"]);
        assert!(random.len() == 64 && random.bytes().all(|b| b.is_ascii_hexdigit()), "{random}");
        world.ok(&["create", "--name", "user", "-v", "used:/x", "base", "true"]);
        let lines = [random.clone(), "site".into(), "used".into()];
        assert_eq!(world.ok(&["volume", "ls", "-q"]).lines().collect::<Vec<_>>(), lines);
        let of = |filter: &str| world.ok(&["volume", "ls", "-q", "--filter", filter]).replace('\n', " ");
        assert_eq!(of("dangling=true"), format!("{random} site"));
        assert_eq!((of("dangling=false"), of("name=sit")), ("used".into(), "site".into()));
        assert_eq!(
            (of("label=a=b"), of("label=c"), of("label=a=x")),
            ("site".into(), "site".into(), String::new())
        );
        refused(&world, &["volume", "ls", "--filter", "colour=red"], 2, &["colour=red", "dangling"]);
        let mountpoint = data(&world, "site").display().to_string();
        let shown = world.ok(&[
            "volume",
            "ls",
            "--filter",
            "name=site",
            "--format",
            "{{.Name}} {{.Mountpoint}} {{.Labels}}",
        ]);
        assert_eq!(shown, format!("site {mountpoint} a=b,c="));
        let json: serde_json::Value =
            serde_json::from_str(&world.ok(&["volume", "inspect", "site"])).unwrap();
        assert_eq!((&json[0]["Name"], &json[0]["Labels"]["a"]), (&"site".into(), &"b".into()));
        assert_eq!(json[0]["Mountpoint"], mountpoint);
        assert!(json[0]["CreatedAt"].as_str().unwrap().ends_with('Z'));
        refused(&world, &["volume", "inspect", "nope"], 1, &["no such volume: nope", "lith volume ls"]);
        refused(&world, &["volume", "create", "a/b"], 2, &["a/b", "letters"]);
        let id = world.inspect("user")["Id"].as_str().unwrap().to_owned();
        refused(
            &world,
            &["volume", "rm", "nope", "used", "site"],
            1,
            &["nope", "used is in use", &id[..12], "lith rm"],
        );
        assert_eq!(of("name=site"), "", "what failed does not keep it from the others");
        refused(&world, &["volume", "rm", "-f", "used"], 1, &["in use"]);
        world.ok(&["volume", "rm", "-f", "nope"]);
        world.ok(&["rm", "user"]);
        assert_eq!(world.ok(&["volume", "rm", "used"]), "used");
        assert!(!data(&world, "used").exists());
    }
}

#[test]
fn prune_removes_what_nobody_uses_and_says_how_much() {
    for world in [World::root(), World::user("prune", Ids::Range)] {
        let Some(world) = world else { continue };
        let fill =
            "head -c 2000000 /dev/zero > /x/a; ln /x/a /x/b; chown nobody /x/a; mkdir /x/d; chmod 0 /x/d";
        world.ok(&["run", "--name", "gone", "-v", "/x", "base", "sh", "-c", fill]);
        let anonymous = world.ok(&["volume", "ls", "-q"]);
        world.ok(&["run", "--rm", "-v", "named:/x", "base", "sh", "-c", "echo 1234567 > /x/a"]);
        world.ok(&["create", "--name", "user", "-v", "/y", "base", "true"]);
        refused(&world, &["volume", "prune"], 2, &["terminal", "--force"]);
        assert_eq!(world.ok(&["volume", "prune", "-f"]), "Total reclaimed space: 0B", "all are used");
        world.ok(&["rm", "gone"]);
        let pruned = world.ok(&["volume", "prune", "-f"]);
        assert_eq!(pruned, format!("Deleted Volumes:\n{anonymous}\n\nTotal reclaimed space: 2.00MB"));
        assert_eq!(world.ok(&["volume", "ls", "-q", "--filter", "name=named"]), "named");
        assert_eq!(
            world.ok(&["volume", "prune", "-a", "-f", "--filter", "label=x"]),
            "Total reclaimed space: 0B"
        );
        let pruned = world.ok(&["volume", "prune", "--all", "--force"]);
        assert_eq!(pruned, "Deleted Volumes:\nnamed\n\nTotal reclaimed space: 8B");
        assert_eq!(world.ok(&["volume", "ls", "-q"]).lines().count(), 1, "that of the container stays");
        world.ok(&["rm", "-v", "user"]);
        assert_eq!(world.ok(&["volume", "ls", "-q"]), "", "rm -v takes it along");
    }
}

#[test]
fn prune_asks_at_a_terminal() {
    for world in worlds_with_terminals("ask") {
        for (key, left) in [("n", 1), ("Enter", 1), ("y", 0)] {
            world.ok(&["volume", "create"]);
            let screen = Screen::new(&world, &script(&world, &["volume", "prune"]));
            screen.wait_for("continue? [y/N]");
            screen.keys(&[key]);
            if key != "Enter" {
                screen.keys(&["Enter"]);
            }
            screen.wait_for("code=0");
            let list = world.ok(&["volume", "ls", "-q"]);
            assert_eq!(list.lines().count(), left, "{key}: {list}");
            world.ok(&["volume", "prune", "-f"]);
        }
    }
}
