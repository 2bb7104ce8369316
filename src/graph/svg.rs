//! A drawing as SVG: no script, nothing from elsewhere, light and dark.
//!
//! Of a plan with more steps than anybody reads in a picture the cards say what their stages come to; with more stages
//! than that, layers of stages are put together.

use std::fmt::Write as _;

use super::layout::{COLUMN, Card, HEAD, Layout, ROW, as_f64, place, stage_needs};
use super::{Drawing, Status, line, took};
use crate::size::human;

/// Steps that have a row of their own at most; cards at most.
const MOST_STEPS: usize = 1_500;
const MOST_CARDS: usize = 1_500;
/// Characters of a row's and a head's text.
const ROW_TEXT: usize = 28;
const HEAD_TEXT: usize = 34;
const MARGIN: f64 = 20.0;
/// The width of a letter at most.
const LETTER: f64 = 7.4;
const TITLE: f64 = 44.0;

const STYLE: &str = "
.all{--bg:#fff;--fg:#1c2330;--dim:#667085;--card:#f7f8fa;--line:#d0d5dd;--hit:#1f9d63;--miss:#d9622b;--unknown:#98a2b3;--config:#d0d5dd;--hot:#c4145a}
@media(prefers-color-scheme:dark){.all{--bg:#12151b;--fg:#e6e9ef;--dim:#98a2b3;--card:#1b2029;--line:#39414f;--hit:#3fcf8e;--miss:#ff8a50;--unknown:#667085;--config:#39414f;--hot:#ff5c9a}}
text{font:12px ui-monospace,'DejaVu Sans Mono',monospace;fill:var(--fg)}.h{font-weight:600}.d{fill:var(--dim)}.t{font-size:15px}
.bg{fill:var(--bg)}.c{fill:var(--card);stroke:var(--line)}.g{stroke:var(--fg);stroke-width:1.5}
.e{fill:none;stroke:var(--line);stroke-width:1.2}.x{stroke:var(--hot);stroke-width:2}
.hit{fill:var(--hit)}.miss{fill:var(--miss)}.unknown{fill:var(--unknown)}.config{fill:var(--config)}.hot{fill:var(--hot)}
";

/// The picture.
pub fn svg(drawing: &Drawing) -> String {
    let groups = Groups::of(drawing);
    let layout = place(&groups.rows(drawing), &groups.needs);
    let mut text = head(drawing, &layout);
    edges(&mut text, drawing, &groups, &layout);
    for (group, card) in layout.cards.iter().enumerate() {
        groups.card(&mut text, drawing, group, card);
    }
    text.push_str("</g></g></svg>\n");
    text
}

fn head(drawing: &Drawing, layout: &Layout) -> String {
    let (width, height) = (layout.width.max(900.0) + 2.0 * MARGIN, layout.height + TITLE + 2.0 * MARGIN);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\"><title>{}</title><style>{STYLE}</style>\
         <g class=\"all\"><rect class=\"bg\" width=\"{width:.0}\" height=\"{height:.0}\"/>\n",
        xml(&drawing.title)
    );
    let _ = writeln!(
        text,
        "<text class=\"h t\" x=\"{MARGIN}\" y=\"30\">{}</text>",
        xml(&cut(&line(&drawing.title), 60))
    );
    let _ = writeln!(text, "<text class=\"d\" x=\"{MARGIN}\" y=\"50\">{}</text>", xml(&summary(drawing)));
    text.push_str(&legend(width));
    let _ = writeln!(text, "<g transform=\"translate({MARGIN} {})\">", TITLE + MARGIN);
    text.push_str(
        "<defs><marker id=\"a\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"6\" markerHeight=\"6\" \
         orient=\"auto\"><path class=\"unknown\" d=\"M0 0L8 4L0 8z\"/></marker></defs>\n",
    );
    text
}

/// What the colours say, at the right of the title.
fn legend(width: f64) -> String {
    const NAMES: [(&str, &str); 5] = [
        ("hit", "hit"),
        ("miss", "miss"),
        ("unknown", "not known"),
        ("config", "config"),
        ("hot", "longest chain"),
    ];
    let mut text = String::new();
    let mut x = width - MARGIN;
    for (class, name) in NAMES.into_iter().rev() {
        let _ = write!(text, "<text class=\"d\" x=\"{x:.0}\" y=\"30\" text-anchor=\"end\">{name}</text>");
        x -= as_f64(name.len()) * LETTER + 14.0;
        let _ = writeln!(
            text,
            "<rect class=\"{class}\" x=\"{x:.0}\" y=\"20\" width=\"9\" height=\"11\" rx=\"1\"/>"
        );
        x -= 12.0;
    }
    text
}

/// What a plan comes to, in one line.
pub(super) fn summary(drawing: &Drawing) -> String {
    let count = |status| drawing.steps.iter().filter(|step| step.status == status).count();
    let layers = drawing.steps.len() - count(Status::Config);
    let mut text = format!(
        "{}, {}: {}, {}, {} not known before",
        counted(drawing.stages.len(), "stage", "stages"),
        counted(layers, "step that makes a layer", "steps that make layers"),
        counted(count(Status::Hit), "hit", "hits"),
        counted(count(Status::Miss), "miss", "misses"),
        count(Status::Unknown)
    );
    if !drawing.critical.is_empty() {
        let _ = write!(
            text,
            "; the longest chain is {}, {}",
            counted(drawing.critical.len(), "step", "steps"),
            took(drawing.critical_micros())
        );
    }
    text
}

fn counted(count: usize, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

/// Which stages share a card.
struct Groups {
    of_stage: Vec<usize>,
    needs: Vec<Vec<usize>>,
    stages: Vec<Vec<usize>>,
    is_folded: bool,
}

impl Groups {
    fn of(drawing: &Drawing) -> Self {
        let of_stages = stage_needs(drawing);
        let is_folded = drawing.steps.len() > MOST_STEPS;
        let of_stage = match drawing.stages.len() {
            0..=MOST_CARDS => (0..drawing.stages.len()).collect(),
            _ => by_depth(&of_stages),
        };
        let count = of_stage.iter().max().map_or(0, |most| most + 1);
        let (mut needs, mut stages) = (vec![Vec::new(); count], vec![Vec::new(); count]);
        for (stage, group) in of_stage.iter().enumerate() {
            stages[*group].push(stage);
            let outside = of_stages[stage].iter().map(|need| of_stage[*need]).filter(|need| need != group);
            needs[*group].extend(outside);
        }
        for needs in &mut needs {
            needs.sort_unstable();
            needs.dedup();
        }
        Self { of_stage, needs, stages, is_folded }
    }

    fn rows(&self, drawing: &Drawing) -> Vec<usize> {
        let rows = |stages: &Vec<usize>| match self.is_folded {
            true => 2,
            false => stages.iter().map(|stage| drawing.stages[*stage].steps.len()).sum(),
        };
        self.stages.iter().map(rows).collect()
    }

    /// Where a step is on its card.
    fn row(&self, drawing: &Drawing, step: usize) -> usize {
        match self.is_folded {
            true => 0,
            false => step - drawing.stages[drawing.steps[step].stage].steps.start,
        }
    }

    fn card(&self, text: &mut String, drawing: &Drawing, group: usize, card: &Card) {
        let stages = &self.stages[group];
        let first = &drawing.stages[stages[0]];
        let target = stages.iter().any(|stage| drawing.stages[*stage].target);
        let title = match stages.len() {
            1 => format!("{} from {}", line(&first.name), line(&first.base)),
            many => format!("{many} stages: {} …", line(&first.name)),
        };
        let _ = writeln!(
            text,
            "<rect class=\"c{}\" x=\"{:.0}\" y=\"{:.0}\" width=\"{:.0}\" height=\"{:.0}\" rx=\"6\"/>\
             <text class=\"h\" x=\"{:.0}\" y=\"{:.0}\">{}<title>{}</title></text>",
            if target { " g" } else { "" },
            card.x,
            card.y,
            card.width,
            card.height,
            card.x + 10.0,
            card.y + 18.0,
            xml(&cut(&title, HEAD_TEXT)),
            xml(&title)
        );
        let steps = stages.iter().flat_map(|stage| drawing.stages[*stage].steps.clone());
        if self.is_folded {
            return folded(text, drawing, steps, card);
        }
        let critical = drawing.is_critical();
        for step in steps {
            let (x, y) = card.row(self.row(drawing, step));
            row(text, drawing, step, critical[step], x, y);
        }
    }
}

/// Stages of a layer, or of several, together: at most so many cards.
fn by_depth(needs: &[Vec<usize>]) -> Vec<usize> {
    let mut depth: Vec<usize> = Vec::with_capacity(needs.len());
    for needs in needs {
        depth.push(needs.iter().map(|need| depth[*need] + 1).max().unwrap_or(0));
    }
    let deepest = depth.iter().max().map_or(1, |most| most + 1);
    let group = |depth: usize| depth * deepest.min(MOST_CARDS) / deepest;
    depth.into_iter().map(group).collect()
}

fn row(text: &mut String, drawing: &Drawing, at: usize, is_critical: bool, x: f64, y: f64) {
    let step = &drawing.steps[at];
    let shown = line(&step.text);
    let mut said = format!("{} line {}: {shown}\n{}", line(&step.name), step.line, step.status.name());
    let mut right = String::new();
    if let Some(micros) = step.micros {
        right = took(micros);
        let _ = write!(said, "\ntook {right}");
    }
    if let Some(size) = step.size {
        let _ = write!(said, "\nlayer {}", human(size));
    }
    let hot = if is_critical { " hot" } else { " d" };
    let class = if step.status == Status::Config { " class=\"d\"" } else { "" };
    let _ = writeln!(
        text,
        "<g><title>{}</title><rect class=\"{}\" x=\"{:.0}\" y=\"{:.0}\" width=\"5\" height=\"14\" rx=\"1\"/>\
         <text{class} x=\"{:.0}\" y=\"{:.0}\">{}</text>\
         <text class=\"{}\" x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{right}</text></g>",
        xml(&said),
        step.status.name(),
        x + 10.0,
        y + 3.0,
        x + 20.0,
        y + 14.0,
        xml(&cut(&shown, ROW_TEXT)),
        hot.trim_start(),
        x + COLUMN - 8.0,
        y + 14.0,
    );
}

/// What the steps of a card come to, with a bar of how many are what.
fn folded(text: &mut String, drawing: &Drawing, steps: impl Iterator<Item = usize> + Clone, card: &Card) {
    let count = |status| steps.clone().filter(|step| drawing.steps[*step].status == status).count();
    let counts = [Status::Hit, Status::Miss, Status::Unknown].map(|status| (status, count(status)));
    let total: usize = counts.iter().map(|(_, count)| count).sum();
    let micros: u64 = steps.clone().filter_map(|step| drawing.steps[step].micros).sum();
    let size: u64 = steps.clone().filter_map(|step| drawing.steps[step].size).sum();
    let kinds = counts.iter().filter(|(_, count)| *count > 0).count();
    let mut x = card.x + 10.0;
    for (status, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        // One of very many is still to be seen.
        let width = 2.0 + (COLUMN - 20.0 - 2.0 * as_f64(kinds)) * as_f64(count) / as_f64(total);
        let y = card.y + HEAD + 4.0;
        let name = status.name();
        let _ = writeln!(
            text,
            "<rect class=\"{name}\" x=\"{x:.1}\" y=\"{y:.0}\" width=\"{width:.1}\" height=\"8\"/>"
        );
        x += width;
    }
    let mut said = counted(total, "step", "steps");
    if micros > 0 {
        let _ = write!(said, ", {}", took(micros));
    }
    if size > 0 {
        let _ = write!(said, ", {}", human(size));
    }
    let y = card.y + HEAD + ROW + 12.0;
    let _ = writeln!(text, "<text class=\"d\" x=\"{:.0}\" y=\"{y:.0}\">{}</text>", card.x + 10.0, xml(&said));
}

/// Lines between cards, those of the longest chain last, on top.
fn edges(text: &mut String, drawing: &Drawing, groups: &Groups, layout: &Layout) {
    let critical = drawing.is_critical();
    let mut lines = std::collections::BTreeSet::new();
    for (from, to) in drawing.across() {
        let [a, b] = [from, to].map(|step| groups.of_stage[drawing.steps[step].stage]);
        if a != b {
            let hot = critical[from] && critical[to];
            lines.insert((hot, a, groups.row(drawing, from), b, groups.row(drawing, to)));
        }
    }
    for (to, stage) in drawing.stages.iter().enumerate() {
        // A stage without steps of its own.
        if let Some(from) = stage.from.filter(|_| stage.steps.is_empty()) {
            let [a, b] = [from, to].map(|stage| groups.of_stage[stage]);
            if a != b {
                lines.insert((false, a, 0, b, 0));
            }
        }
    }
    for (hot, from, from_row, to, to_row) in lines {
        let (from, to) = (&layout.cards[from], &layout.cards[to]);
        let (x1, y1) = from.row(from_row);
        let (x2, y2) = to.row(to_row);
        let (x1, y1, y2) = (x1 + COLUMN.min(from.width), y1 + ROW / 2.0, y2 + ROW / 2.0);
        let bend = ((x2 - x1) / 2.0).abs().clamp(30.0, 120.0);
        let class = if hot { "e x" } else { "e" };
        let _ = writeln!(
            text,
            "<path class=\"{class}\" marker-end=\"url(#a)\" d=\"M{x1:.0} {y1:.0}C{:.0} {y1:.0} {:.0} {y2:.0} {x2:.0} {y2:.0}\"/>",
            x1 + bend,
            x2 - bend
        );
    }
}

/// The beginning of a text that is too long.
fn cut(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest - 1).chain(['…']).collect()
}

/// Text as XML has it; what XML cannot have is replaced.
pub(super) fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(char),
            '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::drawing;
    use super::*;

    #[test]
    fn a_picture_stays_small_whatever_the_plan() {
        let rows = svg(&drawing(10, 5));
        assert_eq!(rows.matches("<g><title>").count(), 50);
        for (stages, each) in [(1_000, 50), (50_000, 1), (1, 50_000)] {
            let picture = svg(&drawing(stages, each));
            assert!(picture.len() < 3 << 20, "{stages} × {each}: {} bytes", picture.len());
            assert!(picture.matches("class=\"h\"").count() <= MOST_CARDS);
        }
    }

    /// Whether every element that is opened is closed, in order, and nothing else looks like one.
    fn is_well_formed(picture: &str) -> bool {
        let mut open = Vec::new();
        for tag in picture.split('<').skip(1) {
            let Some((inside, text)) = tag.split_once('>') else { return false };
            if text.contains('>') || inside.matches('"').count() % 2 == 1 {
                return false;
            }
            let name = inside.split(' ').next().unwrap_or_default();
            match name.strip_prefix('/') {
                Some(name) if open.pop() != Some(name) => return false,
                Some(_) => {}
                None if inside.ends_with('/') => {}
                None => open.push(name),
            }
        }
        open.is_empty()
    }

    #[test]
    fn a_picture_is_xml_whatever_the_text() {
        for drawing in [drawing(1, 1), drawing(9, 4), drawing(300, 20), super::super::tests::hostile()] {
            assert!(is_well_formed(&svg(&drawing)));
        }
        assert!(!is_well_formed("<svg><g></svg>") && !is_well_formed("<svg><a b=\"<\"/></svg>"));
    }

    #[test]
    fn what_is_one_is_called_one_and_what_is_not_known_is_not_said() {
        let mut one = drawing(1, 1);
        assert!(
            summary(&one).starts_with("1 stage, 1 step that makes a layer: 1 hit, 0 misses, 0 not known")
        );
        assert!(
            summary(&drawing(2, 3))
                .starts_with("2 stages, 6 steps that make layers: 2 hits, 2 misses, 2 not")
        );
        one = drawing(1, 2_000);
        for (at, step) in one.steps.iter_mut().enumerate() {
            (step.micros, step.size) = (None, None);
            step.status = if at == 7 { Status::Miss } else { Status::Hit };
        }
        one.critical.clear();
        let picture = svg(&one);
        assert!(picture.contains(">2000 steps</text>") && !picture.contains("0.0ms"), "{picture}");
        // One of two thousand has a part of the bar all the same.
        let bar = picture.split("<rect class=\"miss\"").nth(2).unwrap();
        let width: f64 = bar.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
        assert!((2.0..3.0).contains(&width), "{width}");
    }

    #[test]
    fn the_longest_chain_is_marked() {
        let drawing = drawing(6, 3);
        let critical = drawing.is_critical();
        let crossing = drawing.across().filter(|(from, to)| critical[*from] && critical[*to]).count();
        let picture = svg(&drawing);
        assert_eq!(picture.matches("class=\"e x\"").count(), crossing);
        assert_eq!(picture.matches("class=\"hot\"").count(), drawing.critical.len() + 1, "and the legend");
    }
}
