//! Hermetic builds leave known litter out of layers, and nothing else.

use serde_json::Value;

use crate::packages::bookworm;
use crate::support::{Built, Lab, kernel_lab};

/// What a step leaves, each time with other bytes.
const LEAVE: &str = "RUN mkdir -p /var/log/apt /var/log/app /var/cache/apt /root/.cache/pip/http/a /run /var/lib/apt/lists/partial && \
    head -c 99 /dev/urandom | tee /var/log/dpkg.log /var/log/apt/history.log /var/cache/apt/pkgcache.bin /root/.wget-hsts \
    /root/.cache/pip/http/a/b /etc/machine-id /run/x.pid > /var/lib/apt/lists/partial/x; \
    echo kept | tee /var/log/app/log /var/log/other.log > /etc/kept";

fn printed(built: &Built) -> String {
    let outputs = built.events.iter().filter(|event| event["event"] == "output");
    outputs.map(|event| event["data"].as_str().unwrap_or_default()).collect()
}

fn notes(built: &Built) -> Vec<String> {
    let notes = built.events.iter().filter(|e| e["event"] == "note" && e["step"] != Value::Null);
    notes.map(|e| e["message"].as_str().unwrap().to_owned()).collect()
}

fn lab(file: &str) -> Option<Lab> {
    let lab = kernel_lab()?;
    lab.base("store", "alpine");
    lab.write("ctx/Dockerfile", file);
    Some(lab)
}

#[test]
fn what_is_known_litter_is_in_no_layer() {
    let list = "RUN find /var /root /run /etc/machine-id -type f | sort; wc -c < /etc/machine-id; ls -d /root/.cache/*";
    let Some(lab) = lab(&format!("FROM alpine\n{LEAVE}\n{list} || true\n")) else { return };
    let first = lab.build("store", "ctx", &["--hermetic", "-t", "app"]);
    // Nothing was installed, so lists of packages are for the next step.
    assert_eq!(
        printed(&first),
        "/etc/machine-id\n/var/lib/apt/lists/partial/x\n/var/log/app/log\n/var/log/other.log\n0\n/root/.cache/pip\n"
    );
    assert_eq!(notes(&first), ["dropped 7 files, 693B, of known litter"]);
    let why = lab.ok("store", &["why", "--fields", "stage0/1"]).out;
    assert!(why.contains("dropped /root/.cache/pip/http/a/b\n") && why.contains("run.litter = 2"), "{why}");
    // The directory itself became the unpacked layer: it has to be what the layer says.
    lab.ok("store", &["store", "verify"]);

    let kept = lab.build("store", "ctx", &["--hermetic", "--keep-litter"]);
    assert!(printed(&kept).contains("/root/.wget-hsts") && notes(&kept).is_empty());
    assert!(kept.with_status("hit").is_empty(), "another key");
    let plain = lab.build("store", "ctx", &[]);
    assert!(printed(&plain).contains("/root/.wget-hsts"), "only hermetic builds leave it out");
}

#[test]
fn litter_of_the_layers_below_stays_as_it_is_there() {
    let file = "FROM alpine\nRUN mkdir -p /var/log /var/lib/dpkg && echo below | tee /var/log/dpkg.log /var/log/lastlog /etc/machine-id > /var/log/faillog\n";
    let Some(lab) = lab(file) else { return };
    lab.build("store", "ctx", &["-t", "below"]);
    lab.write(
        "ctx/Dockerfile",
        "FROM below\nRUN echo more >> /var/log/dpkg.log; echo x > /etc/machine-id; touch /var/log/lastlog; rm /var/log/faillog\n\
         RUN cat /var/log/dpkg.log /etc/machine-id /var/log/lastlog; ls /var/log\n\
         RUN rm -r /var/log && mkdir /var/log && echo again > /var/log/dpkg.log\nRUN cat /var/log/dpkg.log; ls /var/log\n",
    );
    let built = lab.build("store", "ctx", &["--hermetic"]);
    assert_eq!(
        printed(&built),
        "below\nbelow\nbelow\ndpkg.log\nlastlog\nbelow\ndpkg.log\n",
        "what a step deletes is deleted, what it wrote to is as before"
    );
    lab.ok("store", &["store", "verify"]);
}

#[test]
fn packages_are_whole_and_their_steps_reproducible() {
    let (Some(lab), Some(_)) = (kernel_lab(), bookworm()) else { return };
    let root = "image \"rootfs\" { base debian=\"bookworm\" { packages \"apt\" \"fontconfig-config\" \"man-db\"; configure } }\n";
    lab.write("debian/image.kdl", root);
    lab.build("store", "debian", &["-t", "rootfs", "--epoch", "1700000000"]);
    // A package that owns what rules are about, and whose scripts leave more of it.
    let file = "FROM rootfs\n\
        RUN mkdir -p /p/DEBIAN /p/var/log/apt /p/usr/share/p && echo owned > /p/var/log/apt/owned.log && echo p > /p/usr/share/p/p && \
        printf 'Package: p\\nVersion: 1\\nArchitecture: all\\nMaintainer: p <p@p>\\nDescription: p\\n' > /p/DEBIAN/control && \
        (cd /p && md5sum var/log/apt/owned.log usr/share/p/p > DEBIAN/md5sums) && dpkg-deb -b /p /p.deb && rm -r /p\n\
        RUN apt-get update && apt-get install -y /p.deb && ldconfig && useradd -m me && date +%N > /home/me/.bash_history\n\
        RUN dpkg --verify; dpkg --audit; ls /var/log/apt /var/log/dpkg.log /var/cache/apt/*.bin /var/cache/ldconfig/* /var/lib/dpkg/*-old \
        /home/me/.bash_history /etc/passwd- 2>/dev/null; dpkg -s p | head -n 2; apt-get check\n";
    lab.write("ctx/Dockerfile", file);
    let built = lab.build("store", "ctx", &["--hermetic", "--epoch", "1700000000"]);
    let shown = printed(&built);
    let install = built
        .events
        .iter()
        .rposition(|e| e["event"] == "ended" && e["text"].as_str().unwrap().contains("useradd"));
    let after: String = built.events[install.unwrap()..]
        .iter()
        .filter(|e| e["event"] == "output" && e["stream"] == "stdout")
        .map(|e| e["data"].as_str().unwrap())
        .collect();
    assert!(
        after.starts_with("/var/log/apt:\nowned.log\nPackage: p\nStatus: install ok installed\n"),
        "{after}\n{shown}"
    );
    // The last step asks apt, which makes its caches again.
    assert_eq!(notes(&built).len(), 2, "{:?}", notes(&built));
    lab.ok("store", &["store", "verify"]);
    let again = lab.build("store", "ctx", &["--hermetic", "--epoch", "1700000000", "--no-cache"]);
    let layers = |built: &Built| -> Value {
        let out = lab.ok("store", &["image", "inspect", &built.image()]).out;
        serde_json::from_str::<Value>(&out).unwrap()[0]["RootFS"]["Layers"].clone()
    };
    assert_eq!(layers(&again), layers(&built));
    assert_eq!(again.manifest(), built.manifest());
}
