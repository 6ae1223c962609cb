//! Rotary position embedding: pairs of a head's elements turned by an angle that grows with the position.
//!
//! Shapes    table: cos and sin [T, P / 2] for the positions of the step · heads: P consecutive elements each
//! Layouts   interleaved pairs `(x[2i], x[2i+1])` (DeepSeek, GGUF Llama) or halves `(x[i], x[i + P/2])` (Qwen2)
//! Numerics  angles in f64, rounded to f32 once as cos and sin; the rotation in f32
//! Source    Su et al. 2021, equation 34

use crate::act::Act;

/// Which elements of a head form a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeLayout {
    /// `(x[2i], x[2i + 1])`.
    Interleaved,
    /// `(x[i], x[i + P / 2])`.
    Halves,
}

/// Cosines and sines for the positions of one step, shared by all its layers.
#[derive(Clone)]
pub struct RopeTable {
    half: usize,
    cos_sin: Vec<(f32, f32)>,
}

impl RopeTable {
    /// A table for `positions`, with `frequencies[i]` the angle of pair `i` per position in radians, and `magnitude`
    /// what turned elements are multiplied with (1 for a pure rotation).
    #[must_use]
    pub fn new(positions: &[u32], frequencies: &[f64], magnitude: f64) -> Self {
        let cos_sin = positions
            .iter()
            .flat_map(|&position| {
                frequencies.iter().map(move |frequency| {
                    let (sin, cos) = (f64::from(position) * frequency).sin_cos();
                    ((cos * magnitude) as f32, (sin * magnitude) as f32)
                })
            })
            .collect();
        Self { half: frequencies.len(), cos_sin }
    }

    /// The table that turns back what this one turns.
    #[must_use]
    pub fn reversed(&self) -> Self {
        Self { half: self.half, cos_sin: self.cos_sin.iter().map(|&(cos, sin)| (cos, -sin)).collect() }
    }

    /// Turns the `2 * frequencies` elements that start at `offset` of every `stride` elements of row `row` of `x`.
    fn turn(&self, x: &mut Act, row: usize, stride: usize, offset: usize, layout: RopeLayout) {
        let angles = &self.cos_sin[row * self.half..][..self.half];
        for head in x.row_mut(row).chunks_exact_mut(stride) {
            let head = &mut head[offset..][..2 * self.half];
            for (i, &(cos, sin)) in angles.iter().enumerate() {
                let (a, b) = match layout {
                    RopeLayout::Interleaved => (2 * i, 2 * i + 1),
                    RopeLayout::Halves => (i, i + self.half),
                };
                let (x0, x1) = (head[a], head[b]);
                head[a] = x0 * cos - x1 * sin;
                head[b] = x0 * sin + x1 * cos;
            }
        }
    }
}

/// Turns the rope part of every head of every row: each row is a run of heads of `head_dim` elements, whose
/// elements from `offset` on are turned.
///
/// # Panics
/// If the rows are not those of the table or not whole heads.
pub fn rope(x: &mut Act, table: &RopeTable, head_dim: usize, offset: usize, layout: RopeLayout) {
    assert_eq!(x.rows() * table.half, table.cos_sin.len(), "one row for each position of the table");
    assert!(
        x.cols().is_multiple_of(head_dim) && offset + 2 * table.half <= head_dim,
        "whole heads of {head_dim}"
    );
    for row in 0..x.rows() {
        table.turn(x, row, head_dim, offset, layout);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_testkit::seeded;

    #[test]
    fn scores_depend_on_the_distance_alone_and_layouts_agree_up_to_order() {
        let frequencies = [1.0, 0.1, 0.01, 0.001];
        let score = |layout, p: u32, q: u32| {
            let values = seeded::normal_f32(1, 16);
            let mut x = Act::from_vec(2, 8, values);
            rope(&mut x, &RopeTable::new(&[p, q], &frequencies, 1.0), 8, 0, layout);
            x.row(0).iter().zip(x.row(1)).map(|(a, b)| a * b).sum::<f32>()
        };
        for layout in [RopeLayout::Interleaved, RopeLayout::Halves] {
            assert!((score(layout, 3, 10) - score(layout, 103, 110)).abs() < 1e-4);
            assert!((score(layout, 3, 10) - score(layout, 3, 12)).abs() > 1e-3);
        }
        // One head in each layout, its elements permuted alike, is the same rotation.
        let values = seeded::normal_f32(2, 8);
        let table = RopeTable::new(&[7], &frequencies, 1.0);
        let mut interleaved = Act::from_vec(1, 8, values.clone());
        let mut halves = Act::from_vec(1, 8, [0, 2, 4, 6, 1, 3, 5, 7].map(|i| values[i]).to_vec());
        rope(&mut interleaved, &table, 8, 0, RopeLayout::Interleaved);
        rope(&mut halves, &table, 8, 0, RopeLayout::Halves);
        assert_eq!([0, 2, 4, 6, 1, 3, 5, 7].map(|i| interleaved.row(0)[i]), halves.row(0));
    }

    #[test]
    fn a_reversed_table_turns_back() {
        let values = seeded::normal_f32(3, 24);
        let table = RopeTable::new(&[5, 70_000], &[1.0, 0.3], 1.0);
        let mut x = Act::from_vec(2, 12, values.clone());
        rope(&mut x, &table, 6, 2, RopeLayout::Interleaved);
        assert!(x.row(1)[2..6].iter().zip(&values[14..]).any(|(a, b)| (a - b).abs() > 0.1), "it was turned");
        rope(&mut x, &table.reversed(), 6, 2, RopeLayout::Interleaved);
        assert!(x.as_slice().iter().zip(&values).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn the_part_before_the_offset_stays() {
        let mut x = Act::from_vec(1, 12, vec![1.0; 12]);
        rope(
            &mut x,
            &RopeTable::new(&[1], &[std::f64::consts::FRAC_PI_2], 1.0),
            6,
            4,
            RopeLayout::Interleaved,
        );
        for head in x.row(0).chunks(6) {
            assert_eq!(head[..4], [1.0; 4]);
            assert!((head[4] + 1.0).abs() < 1e-6 && (head[5] - 1.0).abs() < 1e-6, "a quarter turn of (1, 1)");
        }
    }
}
