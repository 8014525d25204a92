//! Which rows of a batch go to which experts of a block, and the rows in the order of their experts.

use std::ops::Range;

use crate::config::Experts;
use host_kernels::product::PackedRows;
use host_kernels::route::{self, Choice};

/// Where rows go. A pick is a row's expert of a rank: number row * per_token + rank.
#[derive(Default)]
pub(super) struct Routes {
    /// Of all experts [rows, experts].
    pub probabilities: Vec<f32>,
    /// The expert of every pick.
    pub chosen: Vec<u32>,
    /// What its output is weighted with.
    pub weights: Vec<f32>,
}

impl Routes {
    /// Makes room for the rows of a batch.
    pub fn fit(&mut self, experts: &Experts, rows: usize) {
        self.probabilities.resize(rows * experts.count, 0.0);
        self.weights.resize(rows * experts.per_token, 0.0);
        self.chosen.resize(rows * experts.per_token, 0);
    }

    /// As for a block without experts.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Values it holds.
    pub fn values(&self) -> usize {
        let Self { probabilities, chosen, weights } = self;
        probabilities.len() + chosen.len() + weights.len()
    }

    /// Of one row.
    pub fn choice(&self, row: usize, experts: &Experts) -> Choice<'_> {
        let picks = row * experts.per_token..(row + 1) * experts.per_token;
        Choice {
            probabilities: &self.probabilities[row * experts.count..(row + 1) * experts.count],
            chosen: &self.chosen[picks.clone()],
            weights: &self.weights[picks],
        }
    }
}

/// All picks in the order of their experts, those of one expert in the order of the rows. A pick has a place in it.
pub(super) struct Order {
    per_token: usize,
    /// By place.
    pub picks: Vec<u32>,
    /// By pick.
    pub places: Vec<u32>,
    /// Experts that have rows.
    pub spans: Vec<Span>,
    /// Their rows as they are packed: every expert begins a panel.
    pub panels: Vec<Panel>,
}

/// The rows of an expert.
pub(super) struct Span {
    pub expert: usize,
    pub places: Range<usize>,
    /// Its first panel.
    panel: usize,
}

impl Span {
    /// Where its rows are packed.
    pub fn packed(&self) -> PackedRows {
        PackedRows { panel: self.panel, count: self.places.len() }
    }
}

/// Rows that are packed together.
pub(super) struct Panel {
    pub places: Range<usize>,
}

impl Order {
    /// Rows of a panel.
    pub const PANEL: usize = PackedRows::PANEL;

    /// A stable sort by expert.
    pub fn new(chosen: &[u32], experts: &Experts) -> Self {
        let mut next = vec![0usize; experts.count + 1];
        for expert in chosen {
            next[*expert as usize + 1] += 1;
        }
        for expert in 0..experts.count {
            next[expert + 1] += next[expert];
        }
        let (mut spans, mut panels) = (Vec::new(), Vec::new());
        for (expert, bounds) in next.windows(2).enumerate().filter(|(_, it)| it[0] < it[1]) {
            let places = bounds[0]..bounds[1];
            spans.push(Span { expert, places: places.clone(), panel: panels.len() });
            panels.extend(
                places
                    .clone()
                    .step_by(Self::PANEL)
                    .map(|first| Panel { places: first..places.end.min(first + Self::PANEL) }),
            );
        }
        let (mut picks, mut places) = (vec![0; chosen.len()], vec![0; chosen.len()]);
        for (pick, expert) in chosen.iter().enumerate() {
            let place = &mut next[*expert as usize];
            picks[*place] = pick as u32;
            places[pick] = *place as u32;
            *place += 1;
        }
        Self { per_token: experts.per_token, picks, places, spans, panels }
    }

    /// Rows that are packed, with those that fill up panels.
    pub fn rows(&self) -> usize {
        self.panels.len() * Self::PANEL
    }

    /// The rows of `x` [rows, width] at some places.
    pub fn gather(&self, x: &[f32], width: usize, places: Range<usize>) -> Vec<f32> {
        let mut rows = Vec::with_capacity(places.len() * width);
        for pick in &self.picks[places] {
            let row = *pick as usize / self.per_token;
            rows.extend_from_slice(&x[row * width..(row + 1) * width]);
        }
        rows
    }

    /// Adds what lies at the places of a row's picks [places, width], by rank, each with its weight.
    pub fn add(
        &self,
        values: &[f32],
        width: usize,
        picks: Range<usize>,
        weight: impl Fn(usize) -> f32,
        out: &mut [f32],
    ) {
        for pick in picks {
            let place = self.places[pick] as usize;
            route::add_scaled(out, &values[place * width..(place + 1) * width], weight(pick));
        }
    }

    /// A buffer [places, width] cut into the rows of every expert.
    pub fn cut<'v>(&self, values: &'v mut [f32], width: usize) -> Vec<&'v mut [f32]> {
        cut(values, width, self.spans.iter().map(|span| span.places.len()))
    }

    /// A buffer [places, width] cut into the rows of every panel.
    pub fn cut_panels<'v>(&self, values: &'v mut [f32], width: usize) -> Vec<&'v mut [f32]> {
        cut(values, width, self.panels.iter().map(|panel| panel.places.len()))
    }
}

fn cut(mut values: &mut [f32], width: usize, rows: impl Iterator<Item = usize>) -> Vec<&mut [f32]> {
    rows.map(|rows| values.split_off_mut(..rows * width).unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_are_sorted_by_expert_and_panels_hold_one_expert() {
        let experts =
            Experts { count: 4, per_token: 2, intermediate_size: 3, normalize: true, layers: None };
        let mut chosen = vec![3, 1, 1, 0, 3, 0];
        chosen.extend([3, 0].repeat(8));
        let order = Order::new(&chosen, &experts);
        let of = |pick: &u32| chosen[*pick as usize];
        assert!(order.picks.is_sorted_by_key(|pick| (of(pick), *pick)));
        for (pick, place) in order.places.iter().enumerate() {
            assert_eq!(order.picks[*place as usize] as usize, pick);
        }
        let spans: Vec<_> = order.spans.iter().map(|it| (it.expert, it.places.clone())).collect();
        assert_eq!(spans, [(0, 0..10), (1, 10..12), (3, 12..22)]);
        let panels: Vec<_> = order.panels.iter().map(|it| it.places.clone()).collect();
        assert_eq!(panels, [0..8, 8..10, 10..12, 12..20, 20..22]);
        let first: Vec<_> = order.spans.iter().map(|span| span.packed().panel).collect();
        assert_eq!(first, [0, 2, 3]);
        assert_eq!(order.rows(), 40);
        let x: Vec<f32> = (0..11).map(|row| row as f32).collect();
        assert_eq!(order.gather(&x, 1, 10..12), [0.0, 1.0]);
        let mut values: Vec<f32> = (0..22).map(|place| place as f32).collect();
        assert_eq!(order.cut(&mut values, 1)[1], [10.0, 11.0]);
        let mut sum = [0.5];
        order.add(&values, 1, 0..2, |pick| pick as f32 + 1.0, &mut sum);
        assert_eq!(sum, [0.5 + 12.0 + 2.0 * 10.0]);
    }
}
