//! A drawing as data (spec/graph.md, "JSON").

use serde_json::{Value, json as value};

use super::{Drawing, Step};

/// One JSON object.
pub fn json(drawing: &Drawing) -> String {
    let critical = drawing.is_critical();
    let name = |step: &usize| drawing.steps[*step].name.clone();
    let step = |at: usize| {
        let Step { stage: _, name: own, text, line, status, key, needs, micros, parts, size, why } =
            &drawing.steps[at];
        value!({
            "name": own, "text": text, "line": line, "status": status.name(), "key": key,
            "needs": needs.iter().map(name).collect::<Vec<_>>(), "micros": micros, "parts": parts,
            "size": size, "why": why, "critical": critical[at],
        })
    };
    let stages: Vec<Value> = drawing
        .stages
        .iter()
        .map(|stage| {
            value!({
                "name": stage.name, "base": stage.base, "target": stage.target,
                "steps": stage.steps.clone().map(step).collect::<Vec<_>>(),
            })
        })
        .collect();
    let all = value!({
        "file": drawing.title, "stages": stages,
        "critical": {
            "micros": drawing.critical_micros(),
            "steps": drawing.critical.iter().map(name).collect::<Vec<_>>(),
        },
    });
    serde_json::to_string_pretty(&all).expect("plain values serialise") + "\n"
}
