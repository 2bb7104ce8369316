//! A drawing for graphviz: a cluster a stage.

use std::fmt::Write as _;

use super::{Drawing, Status, line, took};
use crate::size::human;

/// The text of a `digraph`.
pub fn dot(drawing: &Drawing) -> String {
    let critical = drawing.is_critical();
    let mut text = String::from(
        "digraph build {\n  rankdir=LR;\n  node [shape=box, fontname=monospace, style=filled];\n",
    );
    for (number, stage) in drawing.stages.iter().enumerate() {
        let _ = writeln!(text, "  subgraph cluster_{number} {{");
        let _ = writeln!(
            text,
            "    label={};",
            quoted(&format!("{} from {}", line(&stage.name), line(&stage.base)))
        );
        for at in stage.steps.clone().filter(|at| drawing.steps[*at].status != Status::Config) {
            let step = &drawing.steps[at];
            let color = match step.status {
                Status::Hit => "palegreen",
                Status::Miss => "lightsalmon",
                Status::Unknown | Status::Config => "lightgrey",
            };
            let mut label = format!("{}\n{}", line(&step.text), step.status.name());
            if let Some(micros) = step.micros {
                let _ = write!(label, "  {}", took(micros));
            }
            if let Some(size) = step.size {
                let _ = write!(label, "  {}", human(size));
            }
            let pen = if critical[at] { ", penwidth=3" } else { "" };
            let _ = writeln!(text, "    n{at} [label={}, fillcolor={color}{pen}];", quoted(&label));
        }
        text.push_str("  }\n");
    }
    for (to, step) in drawing.steps.iter().enumerate().filter(|(_, step)| step.status != Status::Config) {
        for from in &step.needs {
            let pen = if critical[to] && critical[*from] { " [penwidth=3]" } else { "" };
            let _ = writeln!(text, "  n{from} -> n{to}{pen};");
        }
    }
    text.push_str("}\n");
    text
}

/// A string of graphviz: in it a backslash begins an escape.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::super::tests::hostile;

    #[test]
    fn a_label_ends_where_it_should() {
        let mut drawing = hostile();
        drawing.steps[1].text = "RUN echo \"a\\\" \\N".into();
        let text = super::dot(&drawing);
        assert!(text.contains(r#"n1 [label="RUN echo \"a\\\\\" \\\\N\n"#), "{text}");
    }
}
