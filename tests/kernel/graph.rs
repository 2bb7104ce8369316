//! `lith graph` and `lith build --trace`: what is drawn and written is what was done.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Lab, kernel_lab};

const FILE: &str = "FROM alpine AS tools\nRUN sleep 0.3; echo tool > /tool\nFROM alpine AS quick\nRUN echo quick > /quick\n\
    FROM alpine\nENV A=b\nCOPY --from=tools /tool /\nCOPY --from=quick /quick /\n\
    RUN echo \"</script><script>alert(1)</script>\" > /x\n";

fn lab() -> Option<Lab> {
    let lab = kernel_lab()?;
    lab.base("store", "alpine");
    lab.write("ctx/Dockerfile", FILE);
    Some(lab)
}

fn trace(lab: &Lab) -> Vec<Value> {
    serde_json::from_slice(&fs::read(lab.path("trace.json")).unwrap()).unwrap()
}

/// Events that have a length, of one category.
fn spans<'a>(events: &'a [Value], category: &str) -> Vec<&'a Value> {
    events.iter().filter(|e| e["ph"] == "X" && e["cat"] == category).collect()
}

fn named<'a>(spans: &[&'a Value], name: &str) -> &'a Value {
    spans.iter().find(|span| span["name"] == name).unwrap_or_else(|| panic!("no {name} in {spans:#?}"))
}

/// Holds a trace against the format that viewers read ("Trace Event Format", the JSON array form): what each phase has to
/// have, names for its lines, and spans of a line that lie in each other or apart.
fn assert_format(events: &[Value]) {
    let mut named = std::collections::BTreeSet::new();
    let mut spans: std::collections::BTreeMap<u64, Vec<(u64, u64)>> = std::collections::BTreeMap::new();
    for event in events {
        let has = |field: &str, fits: fn(&Value) -> bool| assert!(fits(&event[field]), "{field} of {event}");
        has("name", |name| name.as_str().is_some_and(|name| !name.is_empty()));
        has("pid", |pid| *pid == 1);
        let mut wanted = vec!["name", "ph", "pid", "tid"];
        match event["ph"].as_str() {
            Some("M") => {
                wanted.push("args");
                has("args", |args| args["name"].is_string());
                match event["name"].as_str() {
                    Some("process_name") => assert!(event["tid"].is_null(), "{event}"),
                    Some("thread_name") => {
                        assert!(named.insert(event["tid"].as_u64().unwrap()), "{event} twice")
                    }
                    _ => panic!("{event} names nothing"),
                }
            }
            Some("X") => {
                wanted.extend(["cat", "ts", "dur", "args"]);
                has("cat", Value::is_string);
                has("args", Value::is_object);
                spans.entry(event["tid"].as_u64().unwrap()).or_default().push(range(event));
            }
            Some("i") => {
                wanted.extend(["cat", "ts", "s"]);
                has("cat", Value::is_string);
                has("ts", Value::is_u64);
                has("s", |scope| matches!(scope.as_str(), Some("g" | "p" | "t")));
            }
            _ => panic!("no phase that is written: {event}"),
        }
        let unknown = event.as_object().unwrap().keys().find(|key| !wanted.contains(&key.as_str()));
        assert_eq!(unknown, None, "{event}");
        let line = event["tid"].as_u64();
        assert!(line.is_none_or(|line| named.contains(&line)), "the line has its name first: {event}");
    }
    for (line, mut spans) in spans {
        spans.sort_by_key(|(begin, end)| (*begin, std::cmp::Reverse(*end)));
        let mut open: Vec<(u64, u64)> = Vec::new();
        for span in spans {
            while open.last().is_some_and(|last| last.1 <= span.0) {
                open.pop();
            }
            assert!(open.last().is_none_or(|last| span.1 <= last.1), "line {line}: {span:?} across {open:?}");
            open.push(span);
        }
    }
}

fn range(span: &Value) -> (u64, u64) {
    let begin = span["ts"].as_u64().unwrap();
    (begin, begin + span["dur"].as_u64().unwrap())
}

#[test]
fn a_trace_has_every_step_and_its_parts() {
    let Some(lab) = lab() else { return };
    let path = lab.path("trace.json");
    let out = format!("type=oci,dest={},compression=gzip", lab.path("out.tar").display());
    let more = ["--trace", path.to_str().unwrap(), "-o", out.as_str()];
    let built = lab.build("store", "ctx", &more);
    let events = trace(&lab);
    assert_format(&events);
    let (steps, parts, whole) = (spans(&events, "step"), spans(&events, "part"), spans(&events, "build"));
    let order = ["planning", "steps", "export"].map(|name| range(named(&whole, name)));
    assert!(order[0].1 <= order[1].0 && order[1].1 <= order[2].0, "{order:?}");
    assert!(
        whole.iter().any(|span| span["name"] == "compress" && span["args"]["size"].as_u64().unwrap() > 0)
    );

    let ended: Vec<&Value> = built.events.iter().filter(|e| e["event"] == "ended").collect();
    assert_eq!(ended.len(), 5);
    for event in &ended {
        let span = named(&steps, event["step"].as_str().unwrap());
        assert_eq!(span["args"]["status"], "built");
        assert_eq!(span["args"]["why"], event["why"]);
        assert_eq!(span["args"]["text"], event["text"]);
        assert!(span["args"]["key"].as_str().unwrap().starts_with("blake3:"), "{span}");
        assert!(span["args"]["size"].as_u64().unwrap() > 0);
    }
    for part in &parts {
        let (begin, end) = range(part);
        let holds = |step: &&&Value| {
            let (first, last) = range(step);
            step["tid"] == part["tid"] && first <= begin && end <= last
        };
        assert_eq!(steps.iter().filter(holds).count(), 1, "{part} is part of one step of its thread");
    }
    let slow = range(named(&steps, "tools/1"));
    let run = parts.iter().filter(|part| part["name"] == "run").map(|part| range(part));
    let run = run.max_by_key(|(begin, end)| end - begin).unwrap();
    assert!(
        run.1 - run.0 >= 300_000 && slow.0 < run.0 && run.1 <= slow.1,
        "the program slept: {run:?} {slow:?}"
    );
    let copied = named(&steps, "stage2/2 (ahead)");
    assert_eq!(copied["args"]["status"], "prepared");
    let names: Vec<&str> = events.iter().filter_map(|e| e["args"]["name"].as_str()).collect();
    assert!(names.contains(&"worker 1") && names.contains(&"lith"), "{names:?}");

    lab.build("store", "ctx", &more[..2]);
    let again = trace(&lab);
    assert_format(&again);
    let again = spans(&again, "step");
    assert!(again.iter().all(|span| span["args"]["status"] != "built"), "{again:#?}");
    assert_eq!(named(&again, "tools/1")["args"]["status"], "hit");
}

#[test]
fn a_build_that_fails_or_is_killed_leaves_a_trace_that_can_be_read() {
    let Some(lab) = lab() else { return };
    let path = lab.path("trace.json");
    lab.write("bad/Dockerfile", "FROM alpine\nRUN exit 3\n");
    let (bad, slow) = (lab.path("bad"), lab.path("slow"));
    let ran = lab.run("store", &["build", "--trace", path.to_str().unwrap(), bad.to_str().unwrap()]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    let events = trace(&lab);
    assert_format(&events);
    let step = named(&spans(&events, "step"), "stage0/1").clone();
    assert_eq!(step["args"]["status"], "failed");
    assert!(step["args"]["error"].as_str().unwrap().contains("exit code 3"), "{step}");

    lab.write("slow/Dockerfile", "FROM alpine\nRUN sleep 1000\n");
    let path = lab.path("killed.json");
    let args = ["build", "--trace", path.to_str().unwrap(), slow.to_str().unwrap()];
    let mut child = lab.command("store", &args).stderr(std::process::Stdio::null()).spawn().unwrap();
    let since = Instant::now();
    let text = loop {
        let text = fs::read_to_string(&path).unwrap_or_default();
        if text.contains("\"mount\"") {
            break text;
        }
        assert!(since.elapsed() < Duration::from_secs(60), "{text}");
        std::thread::yield_now();
    };
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!text.trim_end().ends_with(']'), "it was not over");
    let events: Vec<Value> = serde_json::from_str(&(fs::read_to_string(&path).unwrap() + "]"))
        .expect("all but the bracket is there");
    assert_format(&events);
    assert!(events.iter().any(|e| e["name"] == "stage0/1 begins"), "what it was at");
    assert!(spans(&events, "step").is_empty());
    assert_eq!(spans(&events, "build").len(), 1, "it was planned");
}

#[test]
fn a_graph_knows_what_the_last_build_knew() {
    let Some(lab) = lab() else { return };
    let context = lab.path("ctx");
    let graph = |format: &str| lab.ok("store", &["graph", "--format", format, context.to_str().unwrap()]).out;
    let json = || serde_json::from_str::<Value>(&graph("json")).unwrap();
    let before = json();
    assert_eq!(before["critical"]["steps"], serde_json::json!([]), "no time is known");
    assert_eq!(before["stages"][0]["steps"][0]["status"], "miss");

    lab.build("store", "ctx", &[]);
    let after = json();
    let steps =
        || after["stages"].as_array().unwrap().iter().flat_map(|stage| stage["steps"].as_array().unwrap());
    let step = |name: &str| steps().find(|step| step["name"] == name).unwrap();
    assert_eq!(step("stage2/1")["status"], "config");
    for name in ["tools/1", "quick/1", "stage2/2", "stage2/3", "stage2/4"] {
        assert_eq!(step(name)["status"], "hit");
        assert!(step(name)["micros"].as_u64().unwrap() > 0 && step(name)["size"].as_u64().unwrap() > 0);
    }
    assert!(step("tools/1")["micros"].as_u64().unwrap() >= 300_000);
    assert!(step("tools/1")["parts"]["run"].as_u64().unwrap() >= 300_000);
    assert_eq!(step("stage2/3")["needs"], serde_json::json!(["quick/1", "stage2/2"]));
    assert_eq!(
        after["critical"]["steps"],
        serde_json::json!(["tools/1", "stage2/2", "stage2/3", "stage2/4"])
    );

    // A build of hits alone forgets nothing of it.
    lab.build("store", "ctx", &[]);
    let hits = json();
    assert_eq!(hits["critical"], after["critical"]);
    assert_eq!(hits["stages"][0]["steps"][0]["parts"], after["stages"][0]["steps"][0]["parts"]);

    let (page, picture) = (graph("html"), graph("svg"));
    for text in [&page, &picture] {
        assert!(!text.contains("<script>alert") && text.contains("alert(1)"), "shown, and nothing more");
    }
    assert!(graph("dot").starts_with("digraph"));
}

#[test]
fn the_name_of_the_output_says_what_is_written() {
    let Some(lab) = lab() else { return };
    let context = lab.path("ctx");
    for (name, begin) in
        [("a.svg", "<svg"), ("a.html", "<!doctype html>"), ("a.dot", "digraph"), ("a.json", "{")]
    {
        let path = lab.path(name);
        lab.ok("store", &["graph", "-o", path.to_str().unwrap(), context.to_str().unwrap()]);
        assert!(fs::read_to_string(path).unwrap().starts_with(begin), "{name}");
    }
    let ran = lab.run("store", &["graph", "-o", "a.png", context.to_str().unwrap()]);
    assert!(ran.code == 2 && ran.err.contains("end it in .svg"), "{}", ran.err);
}
