//! The step that runs the maintainer scripts of a base of packages (spec/packages.md, "Configuring"): a process like
//! that of any RUN, whose program is lith's own.

use crate::epoch::Epoch;
use crate::recipe::{Litter, Network, Run, Security, Told};

const PROGRAM: &str = "/dev/pipes/configure";
/// Files that are there while the step runs, over those of packages. Nothing is started: no service belongs in a build.
const FILES: [(&str, &str); 3] = [
    (PROGRAM, include_str!("configure.pl")),
    ("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n"),
    ("/usr/sbin/start-stop-daemon", "#!/bin/sh\nexit 0\n"),
];
/// What scripts see. The last ones keep what differs from run to run out of files.
const ENV: [(&str, &str); 9] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
    ("LC_ALL", "C.UTF-8"),
    ("TZ", "UTC"),
    ("PERL_HASH_SEED", "0"),
    ("PYTHONHASHSEED", "0"),
    ("PYTHONDONTWRITEBYTECODE", "1"),
];

/// The process that configures everything.
pub(super) fn run(epoch: Epoch) -> Run {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let seconds = ("SOURCE_DATE_EPOCH".to_owned(), epoch.seconds().to_string());
    Run {
        argv: vec!["/usr/bin/perl".to_owned(), PROGRAM.to_owned()],
        env: ENV.iter().map(owned).chain([seconds]).collect(),
        proxy_env: Vec::new(),
        cwd: "/".to_owned(),
        user: String::new(),
        network: Network::None,
        security: Security::Sandbox,
        told: Told { hermetic: true, seeded: false },
        // It clears up after itself, hermetic or not.
        litter: Litter::Kept,
        mounts: Vec::new(),
        scripts: FILES.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::BlobDigest;

    /// A change of any of these bytes runs every such step anew; spec/packages.md says what they do.
    const PINNED: &str = "sha256:57bcb9c7a942d89ee3f4b7f0c68ec5268acb8798262b067c2772c3c1a8fdf474";

    #[test]
    fn pinned_vector() {
        let run = run(Epoch::from_seconds(1_700_000_000).unwrap());
        let env = run.env.iter().map(|(name, value)| format!("{name}={value}").into_bytes());
        let argv = run.argv.iter().map(|arg| arg.clone().into_bytes());
        let files = run.scripts.iter().flat_map(|(path, text)| [path.clone().into_bytes(), text.clone()]);
        let all: Vec<Vec<u8>> = argv.chain(env).chain(files).collect();
        assert_eq!(BlobDigest::of(&all.join(&0)).to_string(), PINNED);
    }
}
