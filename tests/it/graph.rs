//! The plan as a page, in a browser where there is one: that it is drawn, searched and walked through, of any size.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use lith::graph::{Drawing, Stage, Status, Step, html};

use crate::html::browser::Browser;

/// Stages of so many steps, each but the first with something of one before it; a last one takes from them all.
fn drawing(stages: usize, each: usize) -> Drawing {
    let mut drawn = Vec::new();
    let mut steps: Vec<Step> = Vec::new();
    for stage in 0..=stages {
        let first = steps.len();
        let count = if stage == stages { stages } else { each };
        for number in 0..count {
            let mut needs: Vec<usize> = (number > 0).then(|| steps.len() - 1).into_iter().collect();
            if stage == stages {
                needs.push((number + 1) * each - 1);
            } else if number == 0 && stage > 0 {
                needs.push(((stage * 7 + 3) % stage + 1) * each - 1);
            }
            steps.push(Step {
                stage,
                name: format!("s{stage}/{}", number + 1),
                text: format!("RUN make part-{stage}-{number}"),
                line: steps.len() + 1,
                status: [Status::Hit, Status::Hit, Status::Miss, Status::Unknown, Status::Config][number % 5],
                key: None,
                needs,
                micros: Some(((stage * 37 + number * 101) % 9000) as u64 * 1000 + 1000),
                parts: BTreeMap::new(),
                size: Some(4096),
                why: String::new(),
            });
        }
        drawn.push(Stage {
            name: format!("s{stage}"),
            base: "scratch".into(),
            from: None,
            target: stage == stages,
            steps: first..steps.len(),
        });
    }
    Drawing::new("Dockerfile".into(), drawn, steps)
}

fn written(dir: &Path, drawing: &Drawing) -> String {
    let path = dir.join("plan.html");
    std::fs::write(&path, html(drawing)).unwrap();
    format!("file://{}", path.display())
}

/// How many points of the picture have the colour that a name stands for.
fn points(browser: &mut Browser, name: &str) -> u64 {
    let count = browser.value(&format!(
        "(() => {{
            const plan = document.getElementById('plan');
            // A copy, which may be read often without a word from the browser.
            const canvas = Object.assign(document.createElement('canvas'), {{ width: plan.width, height: plan.height }});
            const pen = canvas.getContext('2d', {{ willReadFrequently: true }});
            pen.drawImage(plan, 0, 0);
            const style = getComputedStyle(document.documentElement).getPropertyValue('--{name}').trim();
            const wanted = [1, 3, 5].map((at) => parseInt(style.slice(at, at + 2), 16));
            const {{ data }} = pen.getImageData(0, 0, canvas.width, canvas.height);
            let count = 0;
            for (let at = 0; at < data.length; at += 4) {{
                if (wanted.every((value, i) => Math.abs(data[at + i] - value) < 3)) count++;
            }}
            return count;
        }})()"
    ));
    count.as_u64().unwrap()
}

/// Which colours are seen at all.
fn seen(browser: &mut Browser) -> Vec<(&'static str, u64)> {
    ["hit", "miss", "unknown", "hot"].map(|name| (name, points(browser, name))).to_vec()
}

#[test]
fn a_browser_shows_searches_and_walks_a_plan() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut browser) = Browser::start(dir.path()) else { return };
    let page = written(dir.path(), &drawing(90, 10));
    browser.open(&page);
    // From afar every state is seen, and where the longest chain goes.
    let colours = seen(&mut browser);
    assert!(colours.iter().all(|(_, points)| *points > 500), "{colours:?}");
    assert_eq!(browser.text("header p").split(':').next(), Some("91 stages, 792 steps that make layers"));
    browser.keys(&["/"]);
    browser.keys(&["p", "a", "r", "t", "-", "7", "-"]);
    browser.until("document.getElementById('found').textContent", "10 found");
    browser.keys(&["Enter", "Enter"]);
    assert_eq!(browser.text("#found"), "2 of 10");
    assert_eq!(browser.text("#side h2"), "s7/2");
    assert_eq!(browser.text("#side pre"), "RUN make part-7-1");
    // Out of the search the arrows go from step to step, and along what needs what.
    browser.keys(&["Escape", "ArrowDown"]);
    assert_eq!(browser.text("#side h2"), "s7/3");
    browser.keys(&["ArrowLeft", "ArrowLeft", "ArrowLeft"]);
    assert_ne!(browser.text("#side h2").split('/').next(), Some("s7"), "what the stage stands on");
    browser.keys(&["ArrowRight"]);
    assert!(browser.text("#side").contains("needed by"));
    browser.keys(&["c"]);
    assert!(browser.text("#side").contains("longest chainyes"), "{}", browser.text("#side"));
    // What is chosen stands in the middle; what the pointer is on says what it is.
    let middle = |side: &str, size: &str| {
        format!(
            "(box => Math.round(box.{side} + box.{size} / 2))(document.getElementById('plan').getBoundingClientRect())"
        )
    };
    let [x, y] = [("left", "width"), ("top", "height")]
        .map(|(side, size)| browser.value(&middle(side, size)).as_u64().unwrap());
    browser.hover(x, y);
    let said = browser.value("document.getElementById('plan').title");
    let step = browser.text("#side h2");
    assert!(said.as_str().unwrap().starts_with(&format!("{step}  RUN make part-")), "{said}: {step}");
    browser.keys(&["t"]);
    assert_eq!(browser.text("#side h2"), "takes longest");
    assert_eq!(browser.value("document.querySelectorAll('#side li').length"), 200);
    browser.keys(&["Escape", "0"]);
    assert_eq!(browser.value("document.getElementById('side').hidden"), true);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// Each way to have fifty thousand steps. The bounds are far above what is usual, so that a busy machine does not fail.
#[test]
fn a_browser_does_not_freeze_at_a_plan_of_fifty_thousand() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut browser) = Browser::start(dir.path()) else { return };
    for (stages, each) in [(1_000, 49), (1, 50_000)] {
        let page = written(dir.path(), &drawing(stages, each));
        let started = Instant::now();
        browser.open(&page);
        let colours = seen(&mut browser);
        let shown = started.elapsed();
        assert!(colours.iter().all(|(_, points)| *points > 100), "{stages}: {colours:?}");
        browser.keys(&["/", "-", "4", "8"]);
        browser.until("/[1-9]/.test(document.getElementById('found').textContent) ? 'found' : ''", "found");
        browser.keys(&["Enter", "Escape"]);
        let started = Instant::now();
        browser.keys(&["c"; 20]);
        browser.keys(&["+", "-", "0", "t"]);
        assert!(browser.text("#side h2").starts_with("takes longest"));
        let walked = started.elapsed();
        eprintln!("{stages} stages of {each}: shown after {shown:?}, 24 keys in {walked:?}");
        assert!(shown < Duration::from_secs(60) && walked < Duration::from_secs(60), "{shown:?} {walked:?}");
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
