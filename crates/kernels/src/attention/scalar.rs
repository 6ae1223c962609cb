//! The reference: query by query, split by split.

use super::{Queries, SPLIT};
use crate::math::exp;
use crate::pool::Stripe;

pub(super) fn attend(item: &Queries<'_>, heads: usize, out: &mut Stripe<'_, f32>) {
    let dim = item.shape.value_dim;
    for i in 0..item.q.len() {
        query(item, i, &mut out.row_mut(i / heads)[i % heads * dim..][..dim]);
    }
}

fn query(item: &Queries<'_>, i: usize, out: &mut [f32]) {
    let (q, position_count) = item.q[i];
    let (mut max, mut sum) = item.start(i);
    out.fill(0.0);
    for start in (0..position_count).step_by(SPLIT) {
        let positions = start..position_count.min(start + SPLIT);
        let dot = |key: &[f32]| q.iter().zip(key).fold(0.0, |sum, (q, k)| sum + q * k);
        let scores: Vec<f32> = positions.clone().map(|p| dot(item.key(p)) * item.shape.scale).collect();
        let new_max = scores.iter().fold(max, |a, &b| a.max(b));
        let factor = exp::<false>(max - new_max);
        sum *= factor;
        out.iter_mut().for_each(|x| *x *= factor);
        for (position, score) in positions.zip(scores) {
            let weight = exp::<false>(score - new_max);
            sum += weight;
            out.iter_mut().zip(item.value(position)).for_each(|(x, v)| *x += weight * v);
        }
        max = new_max;
    }
    out.iter_mut().for_each(|x| *x /= sum);
}

/// Index scores of one token with positions `first..first + out.len()`: see `index`.
pub(super) fn index_scores(item: &Queries<'_>, weights: &[f32], first: usize, out: &mut [f32]) {
    for (p, out) in out.iter_mut().enumerate() {
        let key = item.key(first + p);
        let score = |(q, _): &(&[f32], usize)| q.iter().zip(key).fold(0.0, |sum, (q, k)| sum + q * k);
        *out = item.q.iter().zip(weights).fold(0.0, |sum, (q, w)| sum + w * score(q).max(0.0));
    }
}
