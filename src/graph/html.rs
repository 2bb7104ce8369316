//! A drawing as one page that needs nothing else: the data, and a program that draws what is in view.
//!
//! The page may load nothing and send nothing (its own content security policy); text reaches it as JSON in which no
//! `<` is left, and the screen as text alone.

use serde_json::json;

use super::layout::{COLUMN, HEAD, ROW, place, stage_needs};
use super::svg::{summary, xml};
use super::{Drawing, line};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const PROGRAM: &str = include_str!("page.js");

/// The page.
pub fn html(drawing: &Drawing) -> String {
    let data = data(drawing).replace('<', "\\u003c");
    let mut page = String::with_capacity(data.len() + PAGE.len() + PROGRAM.len() + STYLE.len());
    // One pass: what is put in is not looked through for places.
    let mut rest = PAGE;
    while let Some((before, after)) = rest.split_once("{{") {
        let (place, after) = after.split_once("}}").expect("the page's own places are closed");
        page.push_str(before);
        match place {
            "title" => page.push_str(&xml(&line(&drawing.title))),
            "summary" => page.push_str(&xml(&summary(drawing))),
            "style" => page.push_str(STYLE),
            "data" => page.push_str(&data),
            "program" => page.push_str(PROGRAM),
            other => unreachable!("the page has no place {other}"),
        }
        rest = after;
    }
    page.push_str(rest);
    page
}

/// What `page.js` reads: arrays instead of objects, since there may be 50,000 of them.
fn data(drawing: &Drawing) -> String {
    let rows: Vec<usize> = drawing.stages.iter().map(|stage| stage.steps.len()).collect();
    let layout = place(&rows, &stage_needs(drawing));
    let stages: Vec<_> = drawing
        .stages
        .iter()
        .zip(&layout.cards)
        .map(|(stage, card)| {
            json!([
                line(&stage.name),
                line(&stage.base),
                stage.from,
                u8::from(stage.target),
                stage.steps.start,
                stage.steps.len(),
                card.x.round(),
                card.y.round(),
                card.width.round(),
                card.height.round(),
                card.rows,
            ])
        })
        .collect();
    let critical = drawing.is_critical();
    let steps: Vec<_> = drawing
        .steps
        .iter()
        .enumerate()
        .map(|(at, step)| {
            json!([
                line(&step.text),
                step.status.name(),
                step.stage,
                step.needs,
                step.micros,
                step.size,
                u8::from(critical[at]),
                step.line,
                step.key,
                line(&step.why),
                step.parts,
            ])
        })
        .collect();
    json!({
        "row": ROW, "head": HEAD, "column": COLUMN, "width": layout.width, "height": layout.height,
        "stages": stages, "steps": steps,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{drawing, hostile};

    #[test]
    fn what_the_page_reads_is_json_that_says_the_same() {
        let page = super::html(&hostile());
        let data =
            page.split_once("type=\"application/json\">").unwrap().1.split_once("</script>").unwrap().0;
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        assert!(data["steps"][1][0].as_str().unwrap().contains("</script><script>alert(1)"));
        assert_eq!(data["stages"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn a_page_loads_nothing_and_is_the_same_each_time() {
        let page = super::html(&drawing(5, 5));
        assert!(page.contains("default-src 'none'"));
        assert!(!page.contains("http://") && !page.contains("https://"));
        assert_eq!(page, super::html(&drawing(5, 5)));
    }
}
