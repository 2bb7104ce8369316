//! Whose word counts of what other machines did: `--cache-to …,sign=` and `--cache-trust`.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lith::digest::BlobDigest;
use serde_json::{Value, json};

use crate::registries::{Kind, Server};
use crate::support::{Built, Lab, Ran, kernel_lab};

const DOCKERFILE: &str = "FROM alpine\nRUN echo one > /one\nCOPY a /a\nRUN cat /a /one > /two\n";
const STEPS: usize = 3;

/// A key as openssl makes it: `NAME.key` and `NAME.pub`.
pub fn openssl_key(lab: &Lab, name: &str, kind: &str) {
    let run = |arguments: &str| {
        let arguments = arguments.split(' ').filter(|word| !word.is_empty());
        let ran = Command::new("openssl").args(arguments).current_dir(lab.path(".")).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    };
    let options = match kind {
        "ed25519" => "-algorithm ed25519",
        _ => "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
    };
    run(&format!("genpkey {options} -out {name}.key"));
    run(&format!("pkey -in {name}.key -pubout -out {name}.pub"));
}

fn keys(lab: &Lab) {
    openssl_key(lab, "ci", "p256");
    openssl_key(lab, "pr", "ed25519");
}

fn context(lab: &Lab, store: &str) -> String {
    let dir = format!("{store}-ctx");
    lab.write(&format!("{dir}/Dockerfile"), DOCKERFILE);
    lab.write(&format!("{dir}/a"), "some text\n");
    lab.base(store, "alpine");
    dir
}

/// A build by a machine of its own.
#[track_caller]
fn machine(lab: &Lab, name: &str, more: &[&str]) -> Built {
    let context = context(lab, name);
    lab.build(name, &context, more)
}

fn said(built: &Built) -> Vec<String> {
    let is_said = |event: &&Value| event["event"] == "warning" || event["event"] == "note";
    let text =
        |event: &Value| event["message"].as_str().or(event["text"].as_str()).unwrap_or_default().to_owned();
    built.events.iter().filter(is_said).map(text).collect()
}

fn hits(built: &Built) -> (usize, usize) {
    (built.with_status("hit").len(), built.with_status("built").len())
}

/// A layout that somebody changes.
struct Cache(PathBuf);

impl Cache {
    fn copy(&self, to: &Path) -> Self {
        let copied = Command::new("cp").arg("-a").arg(&self.0).arg(to).status().unwrap();
        assert!(copied.success());
        Self(to.to_owned())
    }

    fn index(&self) -> Value {
        serde_json::from_slice(&fs::read(self.0.join("index.json")).unwrap()).unwrap()
    }

    fn blob(&self, digest: &Value) -> PathBuf {
        self.0.join("blobs/sha256").join(digest.as_str().unwrap().split_once(':').unwrap().1)
    }

    fn put(&self, bytes: &[u8]) -> Value {
        let digest = BlobDigest::of(bytes);
        let path = self.0.join("blobs/sha256").join(digest.hex());
        let _ = fs::remove_file(&path);
        fs::write(path, bytes).unwrap();
        digest.to_string().into()
    }

    /// The manifest of an entry, and the records in it.
    fn entry(&self, at: usize) -> (Value, Value) {
        let bytes = fs::read(self.blob(&self.index()["manifests"][at]["digest"])).unwrap();
        let manifest: Value = serde_json::from_slice(&bytes).unwrap();
        let data = STANDARD.decode(manifest["config"]["data"].as_str().unwrap()).unwrap();
        (manifest, serde_json::from_slice(&data).unwrap())
    }

    /// Puts an entry in the place of another, all digests as they have to be: whoever writes there can do that.
    fn replace(&self, at: usize, mut manifest: Value, records: &Value) {
        let data = serde_json::to_vec(records).unwrap();
        manifest["config"]["digest"] = self.put(&data);
        manifest["config"]["size"] = data.len().into();
        manifest["config"]["data"] = STANDARD.encode(&data).into();
        let bytes = serde_json::to_vec(&manifest).unwrap();
        let mut index = self.index();
        index["manifests"][at]["digest"] = self.put(&bytes);
        index["manifests"][at]["size"] = bytes.len().into();
        fs::write(self.0.join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
    }

    fn change(&self, at: usize, change: impl Fn(&mut Value, &mut Value)) {
        let (mut manifest, mut records) = self.entry(at);
        change(&mut manifest, &mut records);
        self.replace(at, manifest, &records);
    }

    fn signatures(&self, at: usize) -> Vec<Value> {
        self.entry(at).1["records"][0]["signatures"].as_array().cloned().unwrap_or_default()
    }

    fn len(&self) -> usize {
        self.index()["manifests"].as_array().unwrap().len()
    }
}

const TO: &str = "type=local,dest=cache,mode=max";
const FROM: [&str; 2] = ["--cache-from", "type=local,src=cache"];

fn to(key: &str) -> String {
    format!("{TO},sign={key}")
}

/// C3, C4: who may write a place does not decide what those take who trust a key.
#[test]
fn c03_c04_only_what_a_trusted_key_signed_is_used() {
    let Some(lab) = kernel_lab() else { return };
    keys(&lab);
    let first = machine(&lab, "a", &["--cache-to", &to("pr.key")]);
    let trusting = |key: &'static str| [FROM[0], FROM[1], "--cache-trust", key];
    let theirs = machine(&lab, "b", &trusting("pr.pub"));
    assert_eq!((hits(&theirs), said(&theirs)), ((STEPS, 0), vec![]));
    let others = machine(&lab, "c", &trusting("ci.pub"));
    assert_eq!(hits(&others), (0, STEPS));
    // One warning names place, action, reason and key; the rest is counted.
    let told = said(&others);
    assert_eq!(told.len(), 2, "{told:#?}");
    for part in ["cache: the record of action ", "is not used: it is signed with sha256:", "not trusted"] {
        assert!(told[0].contains(part), "{part:?} in {told:#?}");
    }
    assert!(told[1].contains(&format!("{} more records are not used", STEPS - 1)), "{told:#?}");
    // Either key is enough, and without one anything goes.
    let both = [&trusting("ci.pub")[..], &["--cache-trust", "pr.pub"]].concat();
    assert_eq!(hits(&machine(&lab, "d", &both)), (STEPS, 0));
    assert_eq!(hits(&machine(&lab, "e", &FROM)), (STEPS, 0));
    // Nothing of keys and times is in an image.
    let plain = machine(&lab, "f", &[]);
    assert!([&first, &theirs, &others].iter().all(|built| built.manifest() == plain.manifest()));
    // What nobody signed.
    machine(&lab, "g", &["--cache-to", "type=local,dest=open,mode=max"]);
    let built = machine(&lab, "h", &["--cache-from", "type=local,src=open", "--cache-trust", "pr.pub"]);
    assert_eq!((hits(&built), built.manifest()), ((0, STEPS), plain.manifest()));
    assert!(said(&built)[0].ends_with("nobody signed it"), "{:#?}", said(&built));
    // Keys that are none are said before anything is built.
    for (more, says) in [
        (&["--cache-trust", "none.pub"][..], "--cache-trust: key none.pub: No such file"),
        (&["--cache-trust", "ci.key"], "this is a PRIVATE KEY; expected a PUBLIC KEY"),
        (&["--cache-trust", "ci.pub,since=x"], "since=x is neither a date"),
        (&["--cache-to", "type=local,dest=cache,sign=ci.pub"], "expected a PRIVATE KEY"),
    ] {
        let ran = lab.run("f", &[&["build", "-q"], more, &["f-ctx"]].concat());
        assert!(ran.code == 2 && ran.err.contains(says), "{says:?}: {} {}", ran.code, ran.err);
    }
}

/// Whoever signs vouches for own work alone, beside others.
#[test]
fn signers_share_a_place_and_leave_each_others_signatures_alone() {
    let Some(lab) = kernel_lab() else { return };
    keys(&lab);
    machine(&lab, "a", &["--cache-to", &to("ci.key")]);
    let cache = Cache(lab.path("cache"));
    assert_eq!(cache.len(), STEPS);
    let before: Vec<_> = (0..STEPS).map(|at| cache.signatures(at)).collect();
    assert!(before.iter().all(|signatures| signatures.len() == 1));
    // The same again writes nothing, though a new signature would be another.
    let index = fs::read(lab.path("cache/index.json")).unwrap();
    let again = lab.build("a", "a-ctx", &["--cache-to", &to("ci.key")]);
    assert_eq!((fs::read(lab.path("cache/index.json")).unwrap(), said(&again)), (index, vec![]));
    machine(&lab, "b", &["--cache-to", &to("pr.key")]);
    machine(&lab, "c", &["--cache-to", TO]);
    assert_eq!(cache.len(), STEPS);
    for trusted in ["ci.pub", "pr.pub"] {
        let built = machine(&lab, &format!("by-{trusted}"), &[FROM[0], FROM[1], "--cache-trust", trusted]);
        assert_eq!((hits(&built), said(&built)), ((STEPS, 0), vec![]), "{trusted}");
    }
    let after: Vec<Value> = (0..STEPS).flat_map(|at| cache.signatures(at)).collect();
    assert_eq!(after.len(), 2 * STEPS);
    assert!(before.iter().flatten().all(|signature| after.contains(signature)), "byte for byte");
}

#[test]
fn what_was_brought_is_nobodys_own_work() {
    let Some(lab) = kernel_lab() else { return };
    keys(&lab);
    machine(&lab, "a", &["--cache-to", TO]);
    // It came from somewhere, unsigned: writing it elsewhere does not make it ours.
    let built = machine(
        &lab,
        "b",
        &[&FROM[..], &["--cache-to", "type=local,dest=own,mode=max,sign=ci.key"]].concat(),
    );
    assert_eq!(hits(&built), (STEPS, 0));
    let own = Cache(lab.path("own"));
    assert!((0..own.len()).all(|at| own.signatures(at).is_empty()) && own.len() == STEPS);
    // And it is in the store now, which does not make it trusted.
    assert_eq!(hits(&lab.build("b", "b-ctx", &[])), (STEPS, 0));
    let distrusting = lab.build("b", "b-ctx", &["--cache-trust", "ci.pub"]);
    assert_eq!((hits(&distrusting), distrusting.manifest()), ((0, STEPS), built.manifest()));
    let told = said(&distrusting);
    assert!(told.len() == 1 && told[0].starts_with("the store: the record of action "), "{told:#?}");
    // Now it is own work, and is signed.
    lab.build(
        "b",
        "b-ctx",
        &["--cache-trust", "ci.pub", "--cache-to", "type=local,dest=own,mode=max,sign=ci.key"],
    );
    assert!((0..STEPS).all(|at| own.signatures(at).len() == 1));
    // What a trusted key signed is taken by its word, also later, and from the store by no other's.
    let trusting = ["--cache-from", "type=local,src=own", "--cache-trust", "ci.pub"];
    assert_eq!(hits(&machine(&lab, "c", &trusting)), (STEPS, 0));
    assert_eq!(hits(&lab.build("c", "c-ctx", &["--cache-trust", "ci.pub"])), (STEPS, 0));
    assert_eq!(hits(&lab.build("c", "c-ctx", &["--cache-trust", "pr.pub"])), (0, STEPS));
}

/// C3, C5, C6, C7: every harm that somebody may do who may write to a place, but for the key.
#[test]
fn c03_c05_c06_c07_a_poisoned_record_is_never_used_and_is_reported() {
    let Some(lab) = kernel_lab() else { return };
    keys(&lab);
    let first = machine(&lab, "a", &["--cache-to", &to("ci.key")]);
    let cache = Cache(lab.path("cache"));
    // The same work by somebody else, for what is signed with the wrong key.
    machine(&lab, "p", &["--cache-to", "type=local,dest=theirs,mode=max,sign=pr.key"]);
    let foreign = Cache(lab.path("theirs"));
    let harm = |name: &str, since: &str, harm: &dyn Fn(&Cache), says: &str| {
        let copy = cache.copy(&lab.path(&format!("cache-{name}")));
        harm(&copy);
        let from = format!("type=local,src=cache-{name}");
        let trusted = format!("ci.pub{since}");
        let built = machine(&lab, name, &["--cache-from", &from, "--cache-trust", &trusted]);
        assert_eq!(built.manifest(), first.manifest(), "{name}");
        assert_eq!(hits(&built), (0, STEPS), "{name}");
        let told = said(&built);
        let is_it = |text: &&String| text.starts_with(&format!("cache-{name}: ")) && text.contains(says);
        assert!(told.iter().any(|text| is_it(&text)), "{name}: {says:?} in {told:#?}");
        assert!(told.len() <= 4, "{name}: {told:#?}");
        lab.ok(name, &["store", "verify"]);
        // Nothing but the signature would have kept it from being used.
        if !["replayed", "retagged", "short", "layerless"].contains(&name) {
            let store = format!("{name}-open");
            let context = context(&lab, &store);
            let ran = lab.run(&store, &["build", "--progress=json", "--cache-from", &from, &context]);
            let used = Built::of(&ran.out).with_status("hit").len();
            // A layer of something else leaves nothing that the steps above it could stand on.
            let least = if name == "layer" { 1 } else { STEPS };
            assert!(used >= least, "{name}: {}", ran.out);
        }
    };
    let each = |cache: &Cache, change: &dyn Fn(usize, &mut Value, &mut Value)| {
        (0..cache.len()).for_each(|at| cache.change(at, |manifest, records| change(at, manifest, records)));
    };
    const CHANGED: &str = "the record was changed, or it is another's";
    let others = |at: usize| cache.entry((at + 1) % STEPS);

    harm(
        "unsigned",
        "",
        &|cache| {
            each(cache, &|_, _, records| {
                records["records"][0].as_object_mut().unwrap().remove("signatures");
            })
        },
        "nobody signed it",
    );
    harm(
        "foreign",
        "",
        &|cache| {
            each(cache, &|_, _, records| {
                let same =
                    (0..STEPS).map(|at| foreign.entry(at).1).find(|theirs| theirs["key"] == records["key"]);
                records["records"] = same.unwrap()["records"].clone();
            })
        },
        "which is not trusted",
    );
    // Another layer for the action, whole and valid, which would be used without a signature.
    harm(
        "layer",
        "",
        &|cache| {
            each(cache, &|at, manifest, records| {
                let (theirs, other) = others(at);
                manifest["layers"] = theirs["layers"].clone();
                records["records"][0]["layer"] = other["records"][0]["layer"].clone();
            })
        },
        CHANGED,
    );
    // Other bytes of the same layer.
    harm(
        "repacked",
        "",
        &|cache| {
            each(cache, &|_, manifest, _| {
                let layer = &mut manifest["layers"][0];
                let packed = fs::read(cache.blob(&layer["digest"])).unwrap();
                let mut plain = Vec::new();
                flate2::read::MultiGzDecoder::new(&packed[..]).read_to_end(&mut plain).unwrap();
                let mut again = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
                again.write_all(&plain).unwrap();
                let again = again.finish().unwrap();
                assert_ne!(packed, again);
                (layer["digest"], layer["size"]) = (cache.put(&again), again.len().into());
            })
        },
        CHANGED,
    );
    // A record, signature and all, under the key of another action.
    harm(
        "replayed",
        "",
        &|cache| {
            each(cache, &|at, manifest, records| {
                let (theirs, other) = others(at);
                manifest["layers"] = theirs["layers"].clone();
                records["records"] = other["records"].clone();
            })
        },
        CHANGED,
    );
    // A whole entry at another's tag.
    harm(
        "retagged",
        "",
        &|cache| {
            let mut index = cache.index();
            let tags: Vec<Value> =
                (0..STEPS).map(|at| index["manifests"][at]["annotations"].clone()).collect();
            (0..STEPS).for_each(|at| index["manifests"][at]["annotations"] = tags[(at + 1) % STEPS].clone());
            fs::write(cache.0.join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
        },
        "it is of the action",
    );
    harm(
        "moved",
        "",
        &|cache| {
            each(cache, &|at, _, records| {
                records["records"][0]["signatures"] = others(at).1["records"][0]["signatures"].clone();
            })
        },
        CHANGED,
    );
    harm(
        "elsewhere",
        "",
        &|cache| {
            each(cache, &|_, _, records| {
                records["records"][0]["observations"] = json!([]);
            })
        },
        CHANGED,
    );
    harm(
        "later",
        ",since=2999-01-01",
        &|cache| {
            each(cache, &|_, _, records| {
                records["records"][0]["signatures"][0]["time"] = 32_503_680_000_u64.into();
            })
        },
        CHANGED,
    );
    // Nothing is wrong with it but that it is old.
    harm("old", ",since=2999-01-01", &|_| {}, "before 2999-01-01T00:00:00Z");
    harm(
        "torn",
        "",
        &|cache| {
            each(cache, &|_, _, records| {
                let text = &mut records["records"][0]["signatures"][0]["text"];
                *text = text.as_str().unwrap()[..60].into();
            })
        },
        "its signature is not of the form expected",
    );
    harm(
        "claimed",
        "",
        &|cache| {
            each(cache, &|_, _, records| {
                let same =
                    (0..STEPS).map(|at| foreign.entry(at).1).find(|theirs| theirs["key"] == records["key"]);
                let id = |text: &Value| text.as_str().unwrap().lines().nth(1).unwrap().to_owned();
                let signature = &mut records["records"][0]["signatures"][0];
                let theirs = &same.unwrap()["records"][0]["signatures"][0];
                let forged =
                    theirs["text"].as_str().unwrap().replace(&id(&theirs["text"]), &id(&signature["text"]));
                (signature["text"], signature["time"]) = (forged.into(), theirs["time"].clone());
            })
        },
        CHANGED,
    );
    // Bytes that are missing at the end, of records and of entries.
    harm(
        "short",
        "",
        &|cache| {
            (0..STEPS).for_each(|at| {
                let (mut manifest, _) = cache.entry(at);
                let data = STANDARD.decode(manifest["config"]["data"].as_str().unwrap()).unwrap();
                manifest["config"]["data"] = STANDARD.encode(&data[..data.len() / 2]).into();
                let bytes = serde_json::to_vec(&manifest).unwrap();
                let mut index = cache.index();
                index["manifests"][at]["digest"] = cache.put(&bytes);
                index["manifests"][at]["size"] = bytes.len().into();
                fs::write(cache.0.join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
            })
        },
        "its records are not in it",
    );
    harm(
        "layerless",
        "",
        &|cache| {
            each(cache, &|_, manifest, _| {
                let path = cache.blob(&manifest["layers"][0]["digest"]);
                let bytes = fs::read(&path).unwrap();
                fs::remove_file(&path).unwrap();
                fs::write(&path, &bytes[..20]).unwrap();
            })
        },
        "bytes is not there",
    );
}

/// C4: what others put before it takes nothing from what counts.
#[test]
fn c04_a_bad_record_before_a_good_one_is_passed_over() {
    let Some(lab) = kernel_lab() else { return };
    keys(&lab);
    let first = machine(&lab, "a", &["--cache-to", &to("ci.key")]);
    let cache = Cache(lab.path("cache"));
    for at in 0..STEPS {
        let (theirs, other) = cache.entry((at + 1) % STEPS);
        cache.change(at, |manifest, records| {
            let mut bad = records["records"][0].clone();
            bad["layer"] = other["records"][0]["layer"].clone();
            bad["blob"] = 1.into();
            manifest["layers"].as_array_mut().unwrap().push(theirs["layers"][0].clone());
            let mut unsigned = bad.clone();
            unsigned.as_object_mut().unwrap().remove("signatures");
            let good = records["records"][0].clone();
            records["records"] = json!([unsigned, bad, good]);
        });
    }
    // What another writes there leaves the good one, too.
    let trusting = [FROM[0], FROM[1], "--cache-trust", "ci.pub"];
    let built = machine(&lab, "b", &trusting);
    assert_eq!((hits(&built), built.manifest()), ((STEPS, 0), first.manifest()));
    let told = said(&built);
    assert!(told.iter().any(|text| text.contains("the record was changed")), "{told:#?}");
    assert!(told.iter().any(|text| text.contains("nobody signed it")), "{told:#?}");
    machine(&lab, "p", &["--cache-to", &to("pr.key")]);
    let built = machine(&lab, "c", &trusting);
    assert_eq!((hits(&built), built.manifest()), ((STEPS, 0), first.manifest()));
}

/// C6: who still does the work says so again, and only then.
#[test]
fn c06_own_work_is_signed_anew_when_its_signature_is_too_old() {
    let Some(lab) = kernel_lab() else { return };
    keys(&lab);
    machine(&lab, "a", &["--cache-to", &to("ci.key")]);
    let cache = Cache(lab.path("cache"));
    let time = |at: usize| cache.signatures(at)[0]["time"].as_i64().unwrap();
    let since = (0..STEPS).map(time).max().unwrap() + 1;
    let trusted = format!("ci.pub,since={since}");
    let before = machine(&lab, "b", &[FROM[0], FROM[1], "--cache-trust", &trusted]);
    assert_eq!(hits(&before), (0, STEPS));
    #[expect(clippy::disallowed_methods, reason = "the test waits for the second after a signature")]
    while std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
        < since.unsigned_abs()
    {
        std::thread::yield_now();
    }
    lab.build("a", "a-ctx", &["--cache-to", &to("ci.key")]);
    assert!((0..STEPS).all(|at| time(at) < since), "nothing asked for newer ones");
    lab.build("a", "a-ctx", &["--cache-to", &to("ci.key"), "--cache-trust", &trusted]);
    assert!((0..STEPS).all(|at| time(at) >= since && cache.signatures(at).len() == 1));
    let after = machine(&lab, "c", &[FROM[0], FROM[1], "--cache-trust", &trusted]);
    assert_eq!((hits(&after), after.manifest()), ((STEPS, 0), before.manifest()));
}

#[test]
fn sealed_keys_sign_with_their_passphrase() {
    let Some(lab) = kernel_lab() else { return };
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sign");
    let key = data.join("p256.sealed.key").display().to_string();
    let public = data.join("p256.pub").display().to_string();
    let context = context(&lab, "a");
    let build = |variables: &[(&str, &str)]| {
        let to = to(&key);
        let mut command = lab.command("a", &["build", "-q", "--cache-to", &to, &context]);
        command
            .env_remove("LITH_KEY_PASSWORD")
            .env_remove("COSIGN_PASSWORD")
            .stdin(std::process::Stdio::null());
        Ran::of(command.envs(variables.iter().copied()).output().unwrap())
    };
    let ran = build(&[]);
    assert!(ran.code == 2 && ran.err.contains("say it in LITH_KEY_PASSWORD"), "{}", ran.err);
    let ran = build(&[("COSIGN_PASSWORD", "hunter2")]);
    assert!(ran.code == 2 && ran.err.contains("the passphrase is not that"), "{}", ran.err);
    assert!(!ran.err.contains("hunter2") && !lab.path("cache").exists());
    let ran = build(&[("COSIGN_PASSWORD", "hunter2"), ("LITH_KEY_PASSWORD", "hello")]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(hits(&machine(&lab, "b", &[FROM[0], FROM[1], "--cache-trust", &public])), (STEPS, 0));
}

#[test]
fn a_registry_keeps_signatures() {
    let Some(lab) = kernel_lab() else { return };
    let Some(server) = Server::start(&lab, "registry", &Kind::default()) else { return };
    keys(&lab);
    let place = format!("type=registry,ref={},registry.insecure=true", server.name("team/cache"));
    for (name, key) in [("a", "ci.key"), ("b", "pr.key")] {
        machine(&lab, name, &["--cache-to", &format!("{place},mode=max,sign={key}")]);
    }
    server.asked();
    lab.build("a", "a-ctx", &["--cache-to", &format!("{place},mode=max,sign=ci.key")]);
    let asked = server.asked();
    assert!(asked.iter().all(|line| !line.starts_with("PUT") && !line.starts_with("POST")), "{asked:#?}");
    for trusted in ["ci.pub", "pr.pub"] {
        let built =
            machine(&lab, &format!("by-{trusted}"), &["--cache-from", &place, "--cache-trust", trusted]);
        assert_eq!((hits(&built), said(&built)), ((STEPS, 0), vec![]), "{trusted}");
    }
}
