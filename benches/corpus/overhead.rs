//! What a hermetic and a deterministic step cost, against a plain one: seconds of the step, files captured and all.
//!
//! The rounds of the three modes alternate, each round begins with another, so that a machine that grows slower is so for
//! all of them.

use std::fs;
use std::process::Command;

use crate::support::Built;
use crate::support::corpus::{Machine, Mode};
use crate::{Pair, data};

const ROUNDS: usize = 5;
/// A project of Debian with a configure script, and more than a hundred C files.
const SOURCE: &str = "xz-utils";

/// A step and what it is.
struct Work {
    what: &'static str,
    target: Option<f64>,
    /// As the build file has it.
    text: &'static str,
}

const WORKS: [Work; 4] = [
    Work {
        what: "configure: thousands of short programs",
        target: None,
        text: "RUN cd /src && ./configure -q --disable-nls > /dev/null",
    },
    Work {
        what: "compile xz-utils, make -j2",
        target: Some(1.10),
        text: "RUN cd /src && make -s -j2 > /dev/null",
    },
    Work {
        what: "10,000 × /bin/true from sh",
        target: Some(1.25),
        text: "RUN i=0; while [ $i -lt 10000 ]; do /bin/true; i=$((i+1)); done",
    },
    Work {
        what: "find / -type f, and its times",
        target: None,
        text: "RUN find / -xdev -printf '%T@ %p\\n' > /dev/null",
    },
];

pub fn print(pair: &Pair) {
    pair.base(&data("base.kdl"), "corpus");
    let files = source(pair);
    let lines: String = WORKS.iter().map(|work| format!("{}\n", work.text)).collect();
    pair.lab.write("project/Dockerfile", format!("FROM corpus\nCOPY src /src\n{lines}"));
    println!(
        "\n{SOURCE}: {files} C files; {} processors; median of {ROUNDS}",
        std::thread::available_parallelism().unwrap()
    );
    let mut times = WORKS.map(|_| [const { Vec::new() }; 3]);
    for round in 0..ROUNDS {
        for turn in 0..Mode::ALL.len() {
            let at = (round + turn) % Mode::ALL.len();
            let built = pair.with(|[machine, _]| build(machine, Mode::ALL[at]));
            for (work, times) in WORKS.iter().zip(&mut times) {
                times[at].push(built.time("ended", work.text) - built.time("started", work.text));
            }
        }
    }
    for (work, times) in WORKS.iter().zip(&mut times) {
        let [plain, hermetic, deterministic] = times.each_mut().map(|times| median(times));
        let target = work.target.map_or_else(String::new, |target| format!("   target {target:.2}×"));
        println!(
            "  {:<40} plain {plain:>7.2} s   hermetic {:>5.2}×   deterministic {:>5.2}×{target}",
            work.what,
            hermetic / plain,
            deterministic / plain
        );
    }
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn build(machine: &Machine<'_>, mode: Mode) -> Built {
    let context = machine.lab.path("project");
    let args =
        [&["build", "--no-cache", "-j1", "--progress=json"], mode.options(), &[context.to_str().unwrap()]];
    let output = machine.command(&args.concat()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Built::of(&String::from_utf8_lossy(&output.stdout))
}

/// Fetches the sources from where the machine gets its packages; gives how many C files they have.
fn source(pair: &Pair) -> usize {
    let dir = pair.lab.path("project");
    fs::create_dir_all(&dir).unwrap();
    let script = "set -e; mkdir -p apt/lists/partial apt/parts
        sed 's/^Types: deb$/Types: deb-src/' /etc/apt/sources.list.d/*.sources > apt/parts/own.sources
        apt=\"apt-get -q -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts=$PWD/apt/parts \
            -o Dir::State::Lists=$PWD/apt/lists -o APT::Sandbox::User=root\"
        $apt update >&2; $apt source --download-only $0 >&2
        mkdir src; tar -xf $0*.orig.tar.* --strip-components=1 -C src
        rm -r apt $0*; find src -name '*.c' | wc -l";
    let output = Command::new("sh").args(["-c", script, SOURCE]).current_dir(&dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
}
