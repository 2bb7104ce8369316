//! One checkout on two machines: whose it is, when and where it was made, and under which umask, costs no hit.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use crate::support::{Built, Lab, kernel_lab};

const FILE: &str = "FROM alpine\nCOPY . /src/\nCOPY --chmod=0640 a /chosen\nRUN stat -c '%a %u:%g %n' /src/* /src/d/* /chosen\n";

/// Writes the same files; what a checkout does not say is as it is there.
fn checkout(lab: &Lab, name: &str, umask: u32, owner: u32, time: i64) {
    lab.write(&format!("{name}/Dockerfile"), FILE);
    lab.write(&format!("{name}/image.kdl"), "image \"app\" { base \"alpine\"; copy \".\" to=\"/src/\" }");
    for (file, mode) in
        [("a", 0o666), ("run", 0o777), ("d/b", 0o666), ("Dockerfile", 0o666), ("image.kdl", 0o666)]
    {
        let path = lab.path(&format!("{name}/{file}"));
        if !path.exists() {
            lab.write(&format!("{name}/{file}"), file);
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(mode & !umask)).unwrap();
        chown(&path, Some(owner), Some(owner)).unwrap();
        let file = fs::File::options().append(true).open(&path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(time.unsigned_abs()))
            .unwrap();
    }
    for dir in [String::new(), "/d".into()] {
        let path = lab.path(&format!("{name}{dir}"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777 & !umask)).unwrap();
        chown(&path, Some(owner), Some(owner)).unwrap();
    }
}

fn printed(built: &Built) -> String {
    let outputs = built.events.iter().filter(|event| event["event"] == "output");
    outputs.map(|event| event["data"].as_str().unwrap_or_default()).collect()
}

fn two() -> Option<Lab> {
    let lab = kernel_lab()?;
    lab.base("store", "alpine");
    checkout(&lab, "here", 0o022, 0, 1_000_000_000);
    checkout(&lab, "some/where/else", 0o077, 1234, 1_700_000_000);
    assert_ne!(
        fs::metadata(lab.path("here/a")).unwrap().permissions(),
        fs::metadata(lab.path("some/where/else/a")).unwrap().permissions()
    );
    Some(lab)
}

#[test]
fn the_same_checkout_is_all_hits_and_the_same_image() {
    let Some(lab) = two() else { return };
    for flags in [["--hermetic"].as_slice(), &["--context-modes=git"]] {
        let here = lab.build("store", "here", flags);
        assert_eq!(here.with_status("built").len(), 3, "{flags:?}");
        let there = lab.build("store", "some/where/else", flags);
        assert_eq!(there.with_status("hit").len(), 3, "{flags:?}: {:?}", there.with_status("built"));
        assert_eq!(here.manifest(), there.manifest());
        let shown = printed(&here);
        for line in
            ["644 0:0 /src/a", "755 0:0 /src/run", "755 0:0 /src/d", "644 0:0 /src/d/b", "640 0:0 /chosen"]
        {
            assert!(shown.contains(line), "{line}: {shown}");
        }
        lab.ok("store", &["gc", "--all"]);
        lab.base("store", "alpine");
        fs::remove_dir_all(lab.path("store/actions")).unwrap();
        fs::create_dir(lab.path("store/actions")).unwrap();
    }
}

#[test]
fn modes_are_kept_where_they_are_to_be() {
    let Some(lab) = two() else { return };
    let here = lab.build("store", "here", &[]);
    let there = lab.build("store", "some/where/else", &[]);
    assert_ne!(here.manifest(), there.manifest(), "without a word modes are docker's: those on disk");
    assert!(printed(&there).contains("600 0:0 /src/a") && printed(&there).contains("640 0:0 /chosen"));
    // What its owner may not execute git does not call a program.
    fs::set_permissions(lab.path("here/run"), fs::Permissions::from_mode(0o654)).unwrap();
    assert!(printed(&lab.build("store", "here", &["--hermetic"])).contains("644 0:0 /src/run"));
}

#[test]
fn a_kdl_file_takes_modes_as_git_has_them() {
    let Some(lab) = two() else { return };
    let kdl = |context: &str, more: &[&str]| {
        let file = lab.path(context).join("image.kdl");
        let args = [&["-f", Path::new(&file).to_str().unwrap()], more].concat();
        lab.build("store", context, &args).manifest()
    };
    assert_eq!(kdl("here", &[]), kdl("some/where/else", &[]));
    assert_ne!(kdl("here", &["--context-modes=kept"]), kdl("some/where/else", &["--context-modes=kept"]));
}
