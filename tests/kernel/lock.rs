//! A build from a lock and a vendored directory, where there is no network at all.

use std::process::Command;

use crate::support::server::{Server, reply};
use crate::support::{Ran, has, kernel_lab, skip};

#[test]
fn without_any_network_a_vendored_build_comes_out_the_same() {
    let Some(lab) = kernel_lab() else { return };
    if !has("unshare") {
        return skip("needs unshare (package util-linux)").unwrap_or_default();
    }
    lab.base("store", "base");
    let server = Server::start(|_, _| reply("200 OK", &[], b"from afar\n"));
    lab.write(
        "ctx/Dockerfile",
        format!(
            "FROM base AS made\nADD {} /f\nRUN cp /f /g && ls /sys/class/net > /net\nFROM base\nCOPY --from=made /g /net /\n",
            server.url("/f")
        ),
    );
    lab.ok("store", &["lock", "ctx"]);
    lab.ok("store", &["vendor", "vendored", "ctx"]);
    let more = ["build", "-q", "--hermetic", "--locked"];
    let expected = lab.ok("store", &[&more[..], &["ctx"]].concat()).out;
    let lith = lab.command("fresh", &more);
    let mut alone = Command::new("unshare");
    alone.args(["--net", "--"]).arg(lith.get_program()).args(lith.get_args());
    alone.args(["--offline", "--vendored", "vendored", "ctx"]).current_dir(lab.path(""));
    for (name, value) in lith.get_envs() {
        match value {
            Some(value) => alone.env(name, value),
            None => alone.env_remove(name),
        };
    }
    let ran = Ran::of(alone.output().unwrap());
    assert_eq!((ran.code, ran.out), (0, expected), "{}", ran.err);
    assert_eq!(server.seen().len(), 1, "it was fetched once, for the lock");
}
