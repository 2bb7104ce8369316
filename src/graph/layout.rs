//! Where the stages of a drawing stand: in layers from left to right, each after those it needs.
//!
//! A stage is a card with a row for each step. What would be too long for a screen is broken as text is: the steps of a
//! stage into columns, the stages of a layer into columns, the layers into bands below each other.

use super::Drawing;

/// Heights and widths, in pixels.
pub(super) const ROW: f64 = 20.0;
pub(super) const HEAD: f64 = 26.0;
pub(super) const COLUMN: f64 = 280.0;
const GAP: f64 = 18.0;
/// Between layers: room for what leads from one to the next.
const AISLE: f64 = 90.0;
const BAND: f64 = 60.0;
/// Steps of a stage that stand in one column.
const ROWS: usize = 24;
/// The height from which a layer is broken into columns.
const TALL: f64 = 1400.0;
/// Width to height that is aimed at.
const ASPECT: f64 = 1.6;
/// Up to this width layers stand side by side, so that everything reads from left to right.
const WIDE: f64 = 3600.0;
/// Of how many bands each number is tried.
const BANDS: usize = 200;

/// Where a card stands.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Card {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
    /// Rows of each of its columns.
    pub rows: usize,
}

/// Where all cards stand.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layout {
    pub cards: Vec<Card>,
    pub width: f64,
    pub height: f64,
}

impl Card {
    /// A card of so many rows.
    fn of(rows: usize) -> Self {
        let columns = match rows {
            0..=ROWS => 1,
            _ => ceil((as_f64(rows) * ROW / COLUMN).sqrt()),
        };
        let rows = rows.div_ceil(columns).max(1);
        let (width, height) = (as_f64(columns) * COLUMN, HEAD + as_f64(rows) * ROW + 6.0);
        Self { x: 0.0, y: 0.0, width, height, rows }
    }

    /// The upper left corner of a row.
    pub fn row(&self, number: usize) -> (f64, f64) {
        let (column, row) = (number / self.rows, number % self.rows);
        (self.x + as_f64(column) * COLUMN, self.y + HEAD + as_f64(row) * ROW)
    }
}

/// Places cards of so many rows; `needs` are the cards that each one needs, all before it.
pub(super) fn place(rows: &[usize], needs: &[Vec<usize>]) -> Layout {
    let mut cards: Vec<Card> = rows.iter().map(|rows| Card::of(*rows)).collect();
    let mut blocks: Vec<Block> = layers(needs).into_iter().map(|layer| Block::of(layer, &cards)).collect();
    order(&mut blocks, &mut cards, needs);
    let bands = bands(&blocks);
    let (mut width, mut y) = (0.0_f64, 0.0);
    for band in bands {
        let (mut x, mut height) = (0.0, 0.0_f64);
        for block in &blocks[band] {
            for card in &block.cards {
                cards[*card].x += x;
                cards[*card].y += y;
            }
            x += block.width + AISLE;
            height = height.max(block.height);
        }
        width = width.max(x - AISLE);
        y += height + BAND;
    }
    Layout { cards, width, height: (y - BAND).max(0.0) }
}

/// The layer of each card: one behind the last that it needs.
fn layers(needs: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut layers: Vec<Vec<usize>> = Vec::new();
    let mut layer_of: Vec<usize> = Vec::with_capacity(needs.len());
    for (card, needs) in needs.iter().enumerate() {
        let layer = needs.iter().map(|need| layer_of[*need] + 1).max().unwrap_or(0);
        layer_of.push(layer);
        if layers.len() <= layer {
            layers.resize(layer + 1, Vec::new());
        }
        layers[layer].push(card);
    }
    layers
}

/// The cards of a layer and the room that they take.
struct Block {
    cards: Vec<usize>,
    columns: usize,
    width: f64,
    height: f64,
}

impl Block {
    fn of(layer: Vec<usize>, cards: &[Card]) -> Self {
        let height: f64 = layer.iter().map(|card| cards[*card].height + GAP).sum();
        let widest = layer.iter().map(|card| cards[*card].width).fold(0.0, f64::max) + GAP;
        let columns = if height > TALL { ceil((height / (widest * ASPECT)).sqrt()) } else { 1 };
        Self { cards: layer, columns: columns.max(1), width: 0.0, height }
    }

    /// Puts its cards into its columns, one after the other.
    fn stack(&mut self, cards: &mut [Card]) {
        let limit = self.height / as_f64(self.columns);
        let (mut x, mut y, mut widest, mut tallest) = (0.0, 0.0, 0.0_f64, 0.0_f64);
        for card in &self.cards {
            if y >= limit {
                (x, y, widest) = (x + widest + GAP, 0.0, 0.0);
            }
            let card = &mut cards[*card];
            (card.x, card.y) = (x, y);
            y += card.height + GAP;
            widest = widest.max(card.width);
            tallest = tallest.max(y - GAP);
        }
        (self.width, self.height) = (x + widest, tallest);
    }
}

/// Puts each card of a layer near those that it needs, so that fewer lines cross.
fn order(blocks: &mut [Block], cards: &mut [Card], needs: &[Vec<usize>]) {
    for block in blocks {
        let mean = |card: usize| {
            let needs = &needs[card];
            let sum: f64 = needs.iter().map(|need| cards[*need].y).sum();
            if needs.is_empty() { 0.0 } else { sum / as_f64(needs.len()) }
        };
        let mut placed: Vec<(f64, usize)> = block.cards.iter().map(|card| (mean(*card), *card)).collect();
        placed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        block.cards = placed.into_iter().map(|(_, card)| card).collect();
        block.stack(cards);
    }
}

/// The layers that stand beside each other: as many bands as make the whole most like a screen.
fn bands(blocks: &[Block]) -> Vec<std::ops::Range<usize>> {
    let total: f64 = blocks.iter().map(|block| block.width + AISLE).sum();
    if total <= WIDE {
        return std::iter::once(0..blocks.len()).collect();
    }
    let broken = |count: usize| {
        let limit = total / as_f64(count);
        let mut bands = Vec::new();
        let (mut start, mut x) = (0, 0.0);
        for (at, block) in blocks.iter().enumerate() {
            if x > 0.0 && x + block.width > limit * 1.02 {
                bands.push(start..at);
                (start, x) = (at, 0.0);
            }
            x += block.width + AISLE;
        }
        bands.push(start..blocks.len());
        bands
    };
    let off = |bands: &Vec<std::ops::Range<usize>>| {
        let width = bands.iter().map(|band| blocks[band.clone()].iter().map(|b| b.width + AISLE).sum());
        let height = |band: &std::ops::Range<usize>| {
            blocks[band.clone()].iter().map(|block| block.height).fold(0.0, f64::max) + BAND
        };
        let aspect = width.fold(0.0, f64::max) / bands.iter().map(height).sum::<f64>().max(1.0);
        (aspect / ASPECT).ln().abs()
    };
    let tried = (1..=blocks.len().clamp(1, BANDS)).map(broken);
    tried.min_by(|a, b| off(a).total_cmp(&off(b))).unwrap_or_default()
}

/// The cards that each stage needs.
pub(super) fn stage_needs(drawing: &Drawing) -> Vec<Vec<usize>> {
    let mut needs: Vec<Vec<usize>> =
        drawing.stages.iter().map(|stage| stage.from.into_iter().collect()).collect();
    for (from, to) in drawing.across() {
        needs[drawing.steps[to].stage].push(drawing.steps[from].stage);
    }
    for needs in &mut needs {
        needs.sort_unstable();
        needs.dedup();
    }
    needs
}

#[expect(clippy::cast_possible_truncation, reason = "a count of what fits into memory")]
fn ceil(number: f64) -> usize {
    number.ceil().max(1.0) as usize
}

pub(super) fn as_f64(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::super::tests::drawing;
    use super::*;

    fn laid_out(stages: usize, each: usize) -> (Layout, Vec<Vec<usize>>) {
        let drawing = drawing(stages, each);
        let needs = stage_needs(&drawing);
        let rows: Vec<usize> = drawing.stages.iter().map(|stage| stage.steps.len()).collect();
        (place(&rows, &needs), needs)
    }

    #[test]
    fn cards_do_not_cover_each_other() {
        for (stages, each) in [(1, 1), (3, 4), (40, 25), (200, 3), (1, 5_000)] {
            let (layout, _) = laid_out(stages, each);
            for (at, a) in layout.cards.iter().enumerate() {
                assert!(a.x >= 0.0 && a.y >= 0.0);
                assert!(a.x + a.width <= layout.width + 0.1 && a.y + a.height <= layout.height + 0.1);
                for b in &layout.cards[at + 1..] {
                    let apart = a.x + a.width <= b.x
                        || b.x + b.width <= a.x
                        || a.y + a.height <= b.y
                        || b.y + b.height <= a.y;
                    assert!(apart, "{a:?} {b:?} of {stages} stages");
                }
            }
        }
    }

    #[test]
    fn a_plan_of_any_size_is_shaped_like_a_screen() {
        for (stages, each) in [(100, 10), (1_000, 50), (1, 10_000), (50_000, 1)] {
            let (layout, _) = laid_out(stages, each);
            let aspect = layout.width / layout.height;
            assert!((0.5..5.0).contains(&aspect), "{stages} stages of {each}: {aspect}");
        }
        // A chain, each stage on the one before.
        let needs: Vec<Vec<usize>> =
            (0..5_000_usize).map(|at| at.checked_sub(1).into_iter().collect()).collect();
        let layout = place(&vec![2; 5_000], &needs);
        let aspect = layout.width / layout.height;
        assert!((0.5..5.0).contains(&aspect), "a chain: {aspect}");
    }

    #[test]
    fn a_small_plan_reads_from_left_to_right() {
        let (layout, needs) = laid_out(4, 3);
        for (card, needs) in needs.iter().enumerate() {
            for need in needs {
                assert!(layout.cards[*need].x < layout.cards[card].x, "{need} before {card}");
            }
        }
    }

    #[test]
    fn rows_go_down_and_then_to_the_next_column() {
        let card = Card::of(100);
        assert!(card.rows < 100);
        let (first, next) = (card.row(0), card.row(card.rows));
        assert_eq!((first.1, next.0 - first.0), (next.1, COLUMN));
        assert_eq!(card.row(1).1 - first.1, ROW);
    }
}
