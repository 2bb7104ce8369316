//! `config.json`: what the sandbox would do, in the words of the runtime-spec 1.0.2.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Options, seccomp};
use crate::exec::process::ImageProcess;
use crate::limits::Ulimit;
use crate::sandbox::kernel;
use crate::sandbox::spec::{Net, SHM_SIZE};
use crate::sandbox::userns::{IdMap, IdMaps};

/// The version whose fields are used.
const OCI_VERSION: &str = "1.0.2";
/// The group of terminals (tty) by custom.
const TTY: u32 = 5;

/// The text of the file: keys sorted, two spaces, a newline at the end.
pub(super) fn text(annotations: &BTreeMap<String, String>, options: &Options) -> String {
    let config = json!({
        "annotations": annotations,
        "hostname": options.hostname,
        "linux": linux(options),
        "mounts": mounts(options),
        "ociVersion": OCI_VERSION,
        "process": process(options),
        "root": { "path": "rootfs", "readonly": options.read_only },
    });
    serde_json::to_string_pretty(&config).expect("values serialise") + "\n"
}

fn process(options: &Options) -> Value {
    let ImageProcess { argv, env, cwd, user } = &options.process;
    // Where setgroups(2) is denied there are none.
    let groups = if options.ids.as_ref().is_some_and(IdMaps::is_single) { &[] } else { &user.groups[..] };
    let set = options.capabilities.names();
    // As execve(2) has it: only user 0 begins with capabilities, others could gain them.
    let begins = if user.uid == 0 { set.clone() } else { Vec::new() };
    json!({
        "args": argv,
        "capabilities": {
            "ambient": [], "bounding": set, "effective": begins, "inheritable": [], "permitted": begins,
        },
        "cwd": cwd,
        "env": env,
        "noNewPrivileges": false,
        "rlimits": rlimits(&options.ulimits),
        "terminal": false,
        "user": { "additionalGids": groups, "gid": user.gid, "uid": user.uid, "umask": 0o022 },
    })
}

/// Core files are off, as in the sandbox.
fn rlimits(ulimits: &[Ulimit]) -> Vec<Value> {
    let limit = |name: &str, soft: Option<u64>, hard: Option<u64>| {
        let name = format!("RLIMIT_{}", name.to_uppercase());
        json!({ "type": name, "soft": soft.unwrap_or(u64::MAX), "hard": hard.unwrap_or(u64::MAX) })
    };
    let given = ulimits.iter().map(|one| limit(&one.resource.to_string(), one.soft, one.hard));
    [limit("core", Some(0), Some(0))].into_iter().chain(given).collect()
}

fn linux(options: &Options) -> Value {
    let mut linux = json!({
        "maskedPaths": kernel::masked(),
        "namespaces": namespaces(options),
        "readonlyPaths": kernel::read_only(),
        "seccomp": seccomp::section(),
    });
    match &options.ids {
        // The root is not nodev, as the sandbox' is, so a cgroup has to keep the process from devices that it makes.
        None => linux["resources"] = json!({ "devices": [{ "access": "rwm", "allow": false }] }),
        Some(ids) => {
            linux["uidMappings"] = mappings(&ids.users);
            linux["gidMappings"] = mappings(&ids.groups);
        }
    }
    linux
}

fn namespaces(options: &Options) -> Vec<Value> {
    let network = (options.network == Net::None).then_some("network");
    let user = options.ids.is_some().then_some("user");
    let all = ["cgroup", "ipc", "mount"].into_iter().chain(network).chain(["pid"]).chain(user).chain(["uts"]);
    all.map(|kind| json!({ "type": kind })).collect()
}

fn mappings(maps: &[IdMap]) -> Value {
    let one = |map: &IdMap| json!({ "containerID": map.inside, "hostID": map.outside, "size": map.count });
    maps.iter().map(one).collect()
}

fn mounts(options: &Options) -> Vec<Value> {
    let mount = |destination: &str, kind: &str, source: &str, flags: &[&str]| json!({ "destination": destination, "type": kind, "source": source, "options": flags });
    let shm = format!("size={SHM_SIZE}");
    let mut pts = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    if options.ids.as_ref().is_none_or(|ids| ids.groups.iter().any(|map| map.has(TTY))) {
        pts.push("gid=5");
    }
    let locked = ["nosuid", "noexec", "nodev"];
    let read_only = ["nosuid", "noexec", "nodev", "ro"];
    let mut all = vec![
        mount("/proc", "proc", "proc", &locked),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "noexec", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", "devpts", &pts),
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", &shm]),
        mount("/dev/mqueue", "mqueue", "mqueue", &locked),
    ];
    if options.ids.is_some() && options.network == Net::Host {
        // Only who owns the network namespace can mount a sysfs of it. The host's cgroups are below that, and covered.
        all.push(mount("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"]));
        all.push(mount("/sys/fs/cgroup", "tmpfs", "tmpfs", &["nosuid", "noexec", "nodev", "ro", "mode=755"]));
    } else {
        all.push(mount("/sys", "sysfs", "sysfs", &read_only));
        all.push(mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", "ro"],
        ));
    }
    if options.network == Net::Host {
        let bind = ["rbind", "nosuid", "noexec", "nodev", "ro"];
        all.push(mount("/etc/resolv.conf", "none", "/etc/resolv.conf", &bind));
    }
    all
}
