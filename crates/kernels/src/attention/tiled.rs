//! A split of keys and values with all queries of an item, in registers.
//!
//! ```text
//! keys turned       kt      [K][SPLIT]     so that an element of a register is a position
//! scores            [Q][SPLIT]             sum over d of q[d] * kt[d]
//! weights           [Q][SPLIT]             exp(score - max), zero past the query's position
//! outputs           [Q][V]                 sum over positions of weight * value
//! ```
//! Both products run over tiles of `Q` queries and `R` registers, each element's sum in order.

use std::cell::RefCell;

use super::{Queries, SPLIT};
use crate::lanes::{Vector, by_column};
use crate::lines::Lines;
use crate::math::{LANES, exp, sum_lanes};
use crate::pool::Stripe;

/// Memory for one item, kept by each thread from call to call.
#[derive(Default)]
pub(super) struct Scratch {
    turned: Lines<f32>,
    scores: Lines<f32>,
    outputs: Lines<f32>,
    states: Vec<State>,
}

/// Room for `rows` rows of a number for each position of a split.
fn split_rows(lines: &mut Lines<f32>, rows: usize) -> &mut [[f32; SPLIT]] {
    lines.get::<LANES>(rows * SPLIT / LANES).as_flattened_mut().as_chunks_mut().0
}

/// Running maximum and sum of exponentials of a query.
#[derive(Clone, Copy)]
struct State {
    max: f32,
    sum: f32,
}

/// Runs `work` with this thread's scratch memory.
pub(super) fn with_scratch<R>(work: impl FnOnce(&mut Scratch) -> R) -> R {
    thread_local! {
        static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
    }
    SCRATCH.with_borrow_mut(work)
}

/// Attention of one item.
#[inline(always)]
pub(super) fn attend<V: Vector, const Q: usize, const R: usize>(
    v: V,
    item: &Queries<'_>,
    heads: usize,
    scratch: &mut Scratch,
    out: &mut Stripe<'_, f32>,
) {
    let (key_dim, value_dim) = (item.shape.key_dim, item.shape.value_dim);
    let count = item.q.len();
    let Scratch { turned, scores, outputs, states } = scratch;
    let turned = split_rows(turned, key_dim);
    let scores = split_rows(scores, count);
    let outputs = outputs.get::<LANES>((count * value_dim).div_ceil(LANES)).as_flattened_mut();
    let outputs = &mut outputs[..count * value_dim];
    outputs.fill(0.0);
    states.clear();
    states.extend((0..count).map(|i| {
        let (max, sum) = item.start(i);
        State { max, sum }
    }));
    let position_count = item.position_count();
    for start in (0..position_count).step_by(SPLIT) {
        let len = SPLIT.min(position_count - start);
        let mut keys: [&[f32]; SPLIT] = [item.key(start); SPLIT];
        let mut values: [&[f32]; SPLIT] = [item.value(start); SPLIT];
        for s in 1..len {
            keys[s] = item.key(start + s);
            values[s] = item.value(start + s);
        }
        turn(v, &keys, turned);
        score_all::<V, Q, R>(v, item, turned, scores);
        for (i, &(_, seen)) in item.q.iter().enumerate() {
            let seen = seen.saturating_sub(start).min(len);
            let factor = weigh(&mut scores[i], seen, item.shape.scale, &mut states[i]);
            for x in &mut outputs[i * value_dim..][..value_dim] {
                *x *= factor;
            }
        }
        add_all::<V, Q, R>(v, scores, &values[..len], outputs);
    }
    for i in 0..count {
        let row = &mut out.row_mut(i / heads)[i % heads * value_dim..][..value_dim];
        for (out, x) in row.iter_mut().zip(&outputs[i * value_dim..][..value_dim]) {
            *out = x / states[i].sum;
        }
    }
}

/// Index scores of one token, whose heads are the item's queries, with positions `first..first + out.len()`: see `index`.
#[inline(always)]
pub(super) fn index_scores<V: Vector, const Q: usize, const R: usize>(
    v: V,
    item: &Queries<'_>,
    weights: &[f32],
    first: usize,
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    let Scratch { turned, scores, .. } = scratch;
    let turned = split_rows(turned, item.shape.key_dim);
    let scores = split_rows(scores, item.q.len());
    for (split, out) in out.chunks_mut(SPLIT).enumerate() {
        let start = first + split * SPLIT;
        let mut keys: [&[f32]; SPLIT] = [item.key(start); SPLIT];
        for s in 1..out.len() {
            keys[s] = item.key(start + s);
        }
        turn(v, &keys, turned);
        score_all::<V, Q, R>(v, item, turned, scores);
        let mut sums = [0.0; SPLIT];
        for (scores, &weight) in scores.iter().zip(weights) {
            for s in 0..SPLIT {
                sums[s] = weight.mul_add(scores[s].max(0.0), sums[s]);
            }
        }
        out.copy_from_slice(&sums[..out.len()]);
    }
}

/// Turns the keys of a split: `turned` is `[K][SPLIT]`.
#[inline(always)]
fn turn<V: Vector>(v: V, keys: &[&[f32]; SPLIT], turned: &mut [[f32; SPLIT]]) {
    let dim = keys[0].len();
    for first in (0..SPLIT).step_by(V::ROWS) {
        for d in (0..dim / 8 * 8).step_by(8) {
            let mut rows = [v.zero(); 8];
            for i in 0..8 {
                let [a, b] = V::pair(i);
                rows[i] = v.rows_8_floats([eight(keys[first + a], d), eight(keys[first + b], d)]);
            }
            let columns = by_column(v, rows);
            for k in 0..8 {
                v.store_floats(&mut turned[d + k][first..], v.as_floats(columns[k]));
            }
        }
        for d in dim / 8 * 8..dim {
            for s in first..first + V::ROWS {
                turned[d][s] = keys[s][d];
            }
        }
    }
}

#[inline(always)]
fn eight(key: &[f32], at: usize) -> &[f32; 8] {
    key[at..].first_chunk().expect("whole eights")
}

/// Scores of all queries with all positions of a split, not scaled yet.
#[inline(always)]
fn score_all<V: Vector, const Q: usize, const R: usize>(
    v: V,
    item: &Queries<'_>,
    turned: &[[f32; SPLIT]],
    scores: &mut [[f32; SPLIT]],
) {
    for first in (0..SPLIT).step_by(R * V::ROWS) {
        let mut i = 0;
        while let (Some(q), Some(scores)) =
            (item.q[i..].first_chunk::<Q>(), scores[i..].first_chunk_mut::<Q>())
        {
            score::<V, Q, R>(v, q, turned, first, scores);
            i += Q;
        }
        while let (Some(q), Some(scores)) =
            (item.q[i..].first_chunk::<1>(), scores[i..].first_chunk_mut::<1>())
        {
            score::<V, 1, R>(v, q, turned, first, scores);
            i += 1;
        }
    }
}

#[inline(always)]
fn score<V: Vector, const Q: usize, const R: usize>(
    v: V,
    queries: &[(&[f32], usize); Q],
    turned: &[[f32; SPLIT]],
    first: usize,
    scores: &mut [[f32; SPLIT]; Q],
) {
    let dim = queries[0].0.len();
    let mut q: [&[f32]; Q] = [&[]; Q];
    for i in 0..Q {
        q[i] = &queries[i].0[..dim];
    }
    let mut sums = [[v.splat_f(0.0); R]; Q];
    for (d, keys) in turned[..dim].iter().enumerate() {
        let mut k = [v.splat_f(0.0); R];
        for r in 0..R {
            k[r] = v.load_floats(&keys[first + r * V::ROWS..][..V::ROWS]);
        }
        for i in 0..Q {
            let q = v.splat_f(q[i][d]);
            for r in 0..R {
                sums[i][r] = v.fma(q, k[r], sums[i][r]);
            }
        }
    }
    for i in 0..Q {
        for r in 0..R {
            v.store_floats(&mut scores[i][first + r * V::ROWS..][..V::ROWS], sums[i][r]);
        }
    }
}

/// Turns the scores of one query into weights and brings its state to the new maximum; what earlier outputs are to be
/// multiplied with is returned.
#[inline(always)]
fn weigh(scores: &mut [f32; SPLIT], seen: usize, scale: f32, state: &mut State) -> f32 {
    if seen == 0 {
        scores.fill(0.0);
        return 1.0;
    }
    for x in scores.iter_mut() {
        *x *= scale;
    }
    scores[seen..].fill(f32::NEG_INFINITY);
    let mut largest = [f32::NEG_INFINITY; LANES];
    for part in scores.as_chunks::<LANES>().0 {
        for i in 0..LANES {
            largest[i] = if part[i] > largest[i] { part[i] } else { largest[i] };
        }
    }
    let mut max = state.max;
    for x in largest {
        max = max.max(x);
    }
    let factor = exp::<true>(state.max - max);
    for x in scores.iter_mut() {
        *x = exp::<true>(*x - max);
    }
    scores[seen..].fill(0.0); // `exp` is clamped below and never quite zero
    let mut lanes = [0.0; LANES];
    for part in scores.as_chunks::<LANES>().0 {
        for i in 0..LANES {
            lanes[i] += part[i];
        }
    }
    *state = State { max, sum: state.sum.mul_add(factor, sum_lanes(lanes)) };
    factor
}

/// Adds the weighted values of a split to the outputs of all queries.
#[inline(always)]
fn add_all<V: Vector, const Q: usize, const R: usize>(
    v: V,
    weights: &[[f32; SPLIT]],
    values: &[&[f32]],
    outputs: &mut [f32],
) {
    let dim = values[0].len();
    let mut first = 0;
    while first + R * V::ROWS <= dim {
        add_columns::<V, Q, R>(v, weights, values, first, outputs);
        first += R * V::ROWS;
    }
    while first + V::ROWS <= dim {
        add_columns::<V, Q, 1>(v, weights, values, first, outputs);
        first += V::ROWS;
    }
    for (i, weights) in weights.iter().enumerate() {
        for d in first..dim {
            let out = &mut outputs[i * dim + d];
            for (s, value) in values.iter().enumerate() {
                *out = weights[s].mul_add(value[d], *out);
            }
        }
    }
}

/// The same for `R` registers of columns from column `first` on.
#[inline(always)]
fn add_columns<V: Vector, const Q: usize, const R: usize>(
    v: V,
    weights: &[[f32; SPLIT]],
    values: &[&[f32]],
    first: usize,
    outputs: &mut [f32],
) {
    let dim = values[0].len();
    let mut i = 0;
    while let Some(weights) = weights[i..].first_chunk::<Q>() {
        add::<V, Q, R>(v, weights, values, first, &mut outputs[i * dim..]);
        i += Q;
    }
    while let Some(weights) = weights[i..].first_chunk::<1>() {
        add::<V, 1, R>(v, weights, values, first, &mut outputs[i * dim..]);
        i += 1;
    }
}

#[inline(always)]
fn add<V: Vector, const Q: usize, const R: usize>(
    v: V,
    weights: &[[f32; SPLIT]; Q],
    values: &[&[f32]],
    first: usize,
    outputs: &mut [f32],
) {
    let dim = values[0].len();
    let mut sums = [[v.splat_f(0.0); R]; Q];
    for i in 0..Q {
        for r in 0..R {
            sums[i][r] = v.load_floats(&outputs[i * dim + first + r * V::ROWS..][..V::ROWS]);
        }
    }
    for (s, value) in values.iter().enumerate().take(SPLIT) {
        let mut x = [v.splat_f(0.0); R];
        for r in 0..R {
            x[r] = v.load_floats(&value[first + r * V::ROWS..][..V::ROWS]);
        }
        for i in 0..Q {
            let weight = v.splat_f(weights[i][s]);
            for r in 0..R {
                sums[i][r] = v.fma(weight, x[r], sums[i][r]);
            }
        }
    }
    for i in 0..Q {
        for r in 0..R {
            v.store_floats(&mut outputs[i * dim + first + r * V::ROWS..][..V::ROWS], sums[i][r]);
        }
    }
}
