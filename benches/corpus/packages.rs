//! Debian's packages installed in deterministic steps on two machines: the layers are to be the same to the byte.
//!
//! debootstrap makes device nodes and mounts, so its step has all powers.
//! The `.deb`s lie in the context, as pinned ones would: what apt chooses for the base from the lists of this machine. Needs
//! `dpkg-dev` for the index of the archive that debootstrap installs from.

use std::fs;
use std::process::Command;

use crate::support::corpus::Mode;
use crate::table::differing;
use crate::{Pair, data};

/// Twenty, of which many make caches, users, machine ids and logs when they are installed. None makes a private key, which is
/// an error in a step whose randomness everybody knows.
const TWENTY: &str = "openssh-client ifupdown dbus ca-certificates fontconfig cron logrotate rsyslog python3 man-db \
    locales nginx-light exim4-daemon-light git tzdata sudo adduser bash-completion shared-mime-info update-inetd";

/// With all that Debian calls essential or required, and what debootstrap is told to add.
const ARCHIVE: &str = "set -e; cd \"$0\"; pool=\"$PWD/archive/pool\"; mkdir -p $pool/partial; : > empty
    names=$(apt-cache dumpavail | awk '/^Package: /{p=$2} /^Essential: yes|^Priority: required/{print p}' | sort -u)
    apt-get -q -y --no-install-recommends --download-only -o Debug::NoLocking=1 -o APT::Sandbox::User=root \
        -o Dir::State::status=\"$PWD/empty\" -o Dir::Cache::archives=$pool install $names apt usr-is-merged >&2
    rm -rf $pool/partial $pool/lock; cd archive; at=dists/bookworm/main/binary-$(dpkg --print-architecture); mkdir -p $at
    dpkg-scanpackages -m pool > $at/Packages 2> /dev/null
    printf 'Suite: stable\\nCodename: bookworm\\nComponents: main\\nArchitectures: %s\\nSHA256:\\n %s %s %s\\n' \
        $(dpkg --print-architecture) $(sha256sum < $at/Packages | cut -d' ' -f1) $(stat -c %s $at/Packages) \
        main/binary-$(dpkg --print-architecture)/Packages > dists/bookworm/Release";

const DEBS: &str = "set -e; cd \"$0\"; mkdir -p debs/partial
    apt-get -q -y --no-install-recommends --download-only -o Debug::NoLocking=1 -o APT::Sandbox::User=root \
        -o Dir::State::status=\"$PWD/status\" -o Dir::Cache::archives=\"$PWD/debs\" install $1 >&2
    rm -rf debs/partial debs/lock";

pub fn print(pair: &Pair) {
    pair.base(&data("small.kdl"), "small");
    let status = pair.lab.ok("store", &["run", "--rm", "small", "cat", "/var/lib/dpkg/status"]).out;
    pair.lab.write("install/status", status);
    script(DEBS, pair.lab.path("install").to_str().unwrap(), TWENTY);
    fs::remove_file(pair.lab.path("install/status")).unwrap();
    pair.lab.write(
        "install/Dockerfile",
        format!(
            "FROM small\nRUN --mount=type=bind,source=debs,target=/debs \
             DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends /debs/*.deb\n\
             # {TWENTY}\n"
        ),
    );
    fs::create_dir_all(pair.lab.path("strap")).unwrap();
    script(ARCHIVE, pair.lab.path("strap").to_str().unwrap(), "");
    pair.lab.write(
        "strap/Dockerfile",
        "FROM small\nRUN --security=insecure --mount=type=bind,source=archive,target=/archive \
         debootstrap --no-check-gpg --variant=minbase bookworm /root/system file:///archive || \
         { tail -n 20 /root/system/debootstrap/debootstrap.log; exit 1; }\n",
    );
    for (what, context) in [("apt-get install of 20 packages", "install"), ("debootstrap", "strap")] {
        for mode in Mode::ALL {
            let layers = pair.with(|machines| machines.map(|machine| machine.built(context, mode)));
            match layers {
                [Ok(one), Ok(other)] if one == other => println!("  {what}, {mode:?}: the same, {one}"),
                [Ok(one), Ok(other)] => {
                    let seen = pair.with(|machines| differing(machines, &[one, other]));
                    println!("  {what}, {mode:?}: differs in\n{seen}");
                }
                [Err(text), _] | [_, Err(text)] => println!("  {what}, {mode:?}: fails\n{text}"),
            }
        }
    }
}

fn script(text: &str, dir: &str, word: &str) {
    let output = Command::new("sh").args(["-c", text, dir, word]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
