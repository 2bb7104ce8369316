//! A plan as a picture: its model, where everything stands, and the forms it is written in. Pure.
//!
//! Text of a build file is hostile here: whatever it says, a page or a picture shows it and nothing more.

mod critical;
mod dot;
mod html;
mod json;
mod layout;
mod svg;

use std::collections::BTreeMap;
use std::ops::Range;

pub use dot::dot;
pub use html::html;
pub use json::json;
pub use svg::svg;

/// What is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawing {
    /// The build file.
    pub title: String,
    /// Each after those it refers to.
    pub stages: Vec<Stage>,
    /// Of all stages, each after those it needs.
    pub steps: Vec<Step>,
    /// The chain of steps that takes longest, first to last; empty if no time is known.
    pub critical: Vec<usize>,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    pub name: String,
    /// What it stands on, as written.
    pub base: String,
    /// The stage that this is.
    pub from: Option<usize>,
    pub target: bool,
    pub steps: Range<usize>,
}

/// What the cache says of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Hit,
    Miss,
    /// It depends on what is not known.
    Unknown,
    /// It makes no layer.
    Config,
}

impl Status {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Unknown => "unknown",
            Self::Config => "config",
        }
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub stage: usize,
    pub name: String,
    pub text: String,
    pub line: usize,
    pub status: Status,
    pub key: Option<String>,
    pub needs: Vec<usize>,
    /// How long it took when it was last done, in microseconds.
    pub micros: Option<u64>,
    pub parts: BTreeMap<String, u64>,
    /// Bytes of its layer.
    pub size: Option<u64>,
    /// Why the last build did it; empty if that had a hit.
    pub why: String,
}

impl Drawing {
    /// A drawing of steps whose needs all come before them.
    pub fn new(title: String, stages: Vec<Stage>, steps: Vec<Step>) -> Self {
        let critical = critical::path(&steps);
        Self { title, stages, steps, critical }
    }

    /// What the longest chain takes, in microseconds.
    pub fn critical_micros(&self) -> u64 {
        self.critical.iter().filter_map(|step| self.steps[*step].micros).sum()
    }

    /// For each step whether it is of the longest chain.
    fn is_critical(&self) -> Vec<bool> {
        let mut all = vec![false; self.steps.len()];
        self.critical.iter().for_each(|step| all[*step] = true);
        all
    }

    /// Pairs of steps of different stages: what is needed, and what needs it.
    fn across(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.steps.iter().enumerate().flat_map(move |(to, step)| {
            step.needs
                .iter()
                .filter(move |from| self.steps[**from].stage != step.stage)
                .map(move |from| (*from, to))
        })
    }
}

/// `0.42s`, `12.3s`, `2m05s`.
fn took(micros: u64) -> String {
    let secs = micros / 1_000_000;
    match secs {
        0 => format!("{:.1}ms", micros as f64 / 1e3),
        1..60 => format!("{:.1}s", micros as f64 / 1e6),
        _ => format!("{}m{:02}s", secs / 60, secs % 60),
    }
}

/// One line of a text, control characters shown.
fn line(text: &str) -> String {
    crate::diag::escape(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stages of so many steps each; every stage but the first copies from one before it, every third stands on it.
    pub(super) fn drawing(stages: usize, each: usize) -> Drawing {
        let mut drawn = Vec::new();
        let mut steps: Vec<Step> = Vec::new();
        for stage in 0..stages {
            let first = steps.len();
            let earlier = (stage > 0).then(|| (stage * 7 + 3) % stage);
            let from = earlier.filter(|_| stage % 3 == 0);
            for number in 0..each {
                let mut needs: Vec<usize> = (number > 0).then(|| steps.len() - 1).into_iter().collect();
                if number == 0
                    && let Some(earlier) = earlier
                {
                    needs.push((earlier + 1) * each - 1);
                }
                steps.push(Step {
                    stage,
                    name: format!("s{stage}/{}", number + 1),
                    text: format!("RUN step {number} of {stage} && make -j4 all"),
                    line: steps.len() + 1,
                    status: [Status::Hit, Status::Miss, Status::Unknown][(stage + number) % 3],
                    key: Some(format!("{stage:06x}{number:06x}")),
                    needs,
                    micros: Some(((stage * 37 + number * 101) % 9000) as u64 * 1000),
                    parts: BTreeMap::new(),
                    size: Some(((stage * 91 + number * 13) % 5000) as u64 * 4096),
                    why: String::new(),
                });
            }
            drawn.push(Stage {
                name: format!("s{stage}"),
                base: from.map_or_else(|| "debian".into(), |from| format!("s{from}")),
                from,
                target: stage + 1 == stages,
                steps: first..steps.len(),
            });
        }
        Drawing::new("Dockerfile".into(), drawn, steps)
    }

    pub(super) fn hostile() -> Drawing {
        let mut drawing = drawing(2, 2);
        let text = "RUN echo '</script><script>alert(1)</script>' \"]]> <!-- & \u{1b}[31m \u{202e}\u{ffff}";
        drawing.title = format!("</title>{text}");
        drawing.steps[1].text = text.into();
        drawing.steps[1].why = text.into();
        drawing.stages[0].name = "\"><img src=x onerror=alert(1)>".into();
        drawing
    }

    #[test]
    fn times_are_short() {
        assert_eq!(
            [1_500, 420_000, 1_000_000, 59_940_000, 125_000_000].map(took),
            ["1.5ms", "420.0ms", "1.0s", "59.9s", "2m05s"]
        );
    }

    #[test]
    fn nothing_a_file_says_leaves_its_place() {
        let drawing = hostile();
        let page = html(&drawing);
        assert_eq!(page.matches("</script").count(), 2, "the page's own two");
        assert_eq!(page.matches("<script").count(), 2);
        assert!(!page.contains("<img") && !page.contains("alert(1)</"), "{page}");
        let picture = svg(&drawing);
        assert!(!picture.contains("<script") && !picture.contains("<img") && !picture.contains('\u{1b}'));
        assert!(!picture.contains('\u{ffff}'), "no XML has it");
        assert!(picture.contains("&lt;/script&gt;"), "it is shown all the same");
    }
}
