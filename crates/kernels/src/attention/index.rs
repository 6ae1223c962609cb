//! The lightning indexer: which rows of a long context are worth attending to.
//!
//! ```text
//! I(t, s) = sum_h w_t,h * ReLU(q_t,h . k_s)          for every row s that token t may see
//! chosen(t) = the k rows with the largest I(t, .), ties by the lower s, in ascending order
//! ```
//! A token that may see no more than k rows takes them all and scores none.
//!
//! Shapes    q [T, H * K] · w [T, H] · keys: rows of blocks · out: row numbers of each token's sequence
//! Numerics  f32: a product is summed over the elements in order, a score over the heads in order
//! Source    DeepSeek-V3.2 (DSA), equation 1; DeepSeek-V4 (arXiv 2606.19348), section 2.3

use std::cmp::Ordering;
use std::ops::Range;

use shoal_base::BlockId;

use super::{AttentionShape, BlockRows, Queries, SPLIT, Seen, scalar};
use crate::act::Act;
use crate::isa::Isa;
use crate::pool::{Pool, Striped};
use crate::work::Work;

/// Memory for scores: as many tokens at a time as fit.
pub const SCORE_BYTES_MAX: usize = 16 << 20;

/// Rows that an item of work scores.
const ITEM_LEN: usize = 16 * SPLIT;

/// Tokens of one sequence within the step, and how many rows each of them may choose from.
#[derive(Clone, Debug)]
pub struct IndexSpan<'a> {
    /// Their rows in the activations.
    pub rows: Range<usize>,
    /// For each of them how many rows of the sequence, from the first on, it may see.
    pub visible: Vec<usize>,
    /// Where the sequence's keys are.
    pub blocks: &'a [BlockId],
}

/// What scoring has to do.
pub(crate) fn work_of(spans: &[IndexSpan<'_>], top_k: usize, q_cols: usize) -> Work {
    let scored =
        |span: &IndexSpan<'_>| span.visible.iter().filter(|&&visible| visible > top_k).sum::<usize>();
    let pairs: usize = spans.iter().map(scored).sum();
    Work { float_macs: (pairs * q_cols) as u64, ..Work::default() }
}

/// The chosen rows of every token of the spans, in the order of the spans.
///
/// # Panics
/// If shapes and spans do not fit.
#[must_use]
pub fn index_select(
    isa: Isa,
    pool: &Pool,
    q: &Act,
    weights: &Act,
    keys: BlockRows<'_>,
    spans: &[IndexSpan<'_>],
    top_k: usize,
) -> Vec<Vec<u32>> {
    assert!(
        q.rows() == weights.rows() && q.cols().is_multiple_of(weights.cols().max(1)),
        "weights of all heads"
    );
    let mut chosen = Vec::new();
    for span in spans {
        let longest = span.visible.iter().copied().max().unwrap_or(0);
        let at_a_time = (SCORE_BYTES_MAX / (longest.max(1) * size_of::<f32>())).max(1);
        for (group, visible) in span.visible.chunks(at_a_time).enumerate() {
            let first = span.rows.start + group * at_a_time;
            let tokens = Tokens { q, weights, keys, blocks: span.blocks, rows: first..first + visible.len() };
            chosen.extend(tokens.choose(isa, pool, visible, top_k));
        }
    }
    chosen
}

/// Some tokens of one sequence.
struct Tokens<'a> {
    q: &'a Act,
    weights: &'a Act,
    keys: BlockRows<'a>,
    blocks: &'a [BlockId],
    rows: Range<usize>,
}

impl Tokens<'_> {
    fn choose(&self, isa: Isa, pool: &Pool, visible: &[usize], top_k: usize) -> Vec<Vec<u32>> {
        let longest = visible.iter().copied().filter(|&count| count > top_k).max().unwrap_or(0);
        let mut scores = Act::zeros(visible.len(), longest);
        let row = |row| Striped::new(row, longest.max(1), ITEM_LEN);
        let mut parts: Vec<_> = scores.as_mut_slice().chunks_exact_mut(longest.max(1)).map(row).collect();
        pool.for_each_stripe_of(&mut parts, |token, first, out| {
            let len = out.width().min(visible[token].saturating_sub(first));
            if visible[token] > top_k && len > 0 {
                self.score(isa, token, first, &mut out.row_mut(0)[..len]);
            }
        });
        let mut chosen: Vec<Vec<u32>> = vec![Vec::new(); visible.len()];
        pool.for_each_chunk(&mut chosen, 1, |token, chosen| {
            let count = visible[token];
            chosen[0] = if count > top_k {
                best(&scores.row(token)[..count], top_k)
            } else {
                (0..count as u32).collect()
            };
        });
        chosen
    }

    fn score(&self, isa: Isa, token: usize, first: usize, out: &mut [f32]) {
        let (q, weights) = (self.q.row(self.rows.start + token), self.weights.row(self.rows.start + token));
        let key_dim = q.len() / weights.len();
        let shape = AttentionShape { heads: weights.len(), kv_heads: 1, key_dim, value_dim: 0, scale: 1.0 };
        let item = Queries {
            seen: Seen::Positions { keys: self.keys, values: self.keys, blocks: self.blocks, kv_head: 0 },
            shape,
            q: q.chunks_exact(key_dim).map(|q| (q, first + out.len())).collect(),
            sinks: &[],
        };
        match isa {
            Isa::Scalar => scalar::index_scores(&item, weights, first, out),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(proof) => super::x86::avx2_index(proof, &item, weights, first, out),
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni(proof) => super::x86::avx_vnni_index(proof, &item, weights, first, out),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(proof) => super::x86::avx512_index(proof, &item, weights, first, out),
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2(_) | Isa::AvxVnni(_) | Isa::Avx512(_) => {
                unreachable!("no proof of these exists on this machine")
            }
        }
    }
}

/// The places of the `k` largest scores, ascending.
fn best(scores: &[f32], k: usize) -> Vec<u32> {
    let better =
        |a: &u32, b: &u32| -> Ordering { scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b)) };
    let mut places: Vec<u32> = (0..scores.len() as u32).collect();
    if k > 0 && k < places.len() {
        places.select_nth_unstable_by(k - 1, better);
    }
    places.truncate(k);
    places.sort_unstable();
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use shoal_testkit::seeded;

    #[test]
    fn the_best_are_found_and_ties_go_to_the_earlier() {
        assert_eq!(best(&[0.0, 3.0, 1.0, 3.0, 3.0], 2), [1, 3]);
        assert_eq!(best(&[0.0, -0.0, 1.0], 2), [0, 2]);
        assert_eq!(best(&[1.0, 2.0], 0), [0u32; 0]);
        assert_eq!(best(&[f32::NAN, 2.0, 1.0], 3), [0, 1, 2]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn no_row_that_is_left_out_is_better_than_a_chosen_one(
            len in 1..300usize, tokens in 1..5usize, heads in 1..9usize, dim in 1..24usize, top_k in 1..40usize,
            seed in any::<u64>(),
        ) {
            let block_len = 16;
            let blocks: Vec<BlockId> = (0..len.div_ceil(block_len) as u32).rev().map(BlockId).collect();
            let data = seeded::normal_f32(seed, blocks.len() * block_len * (dim + 2));
            // The index key stands behind something else in its row.
            let keys = BlockRows { data: &data[2..], block_len, width: dim + 2 };
            let q = Act::from_vec(tokens, heads * dim, seeded::normal_f32(seed ^ 1, tokens * heads * dim));
            let weights = Act::from_vec(tokens, heads, seeded::normal_f32(seed ^ 2, tokens * heads));
            let visible: Vec<usize> = (0..tokens).map(|t| (len + t).saturating_sub(tokens).max(1)).collect();
            let score = |t: usize, s: usize| -> f64 {
                let dot = |h: usize| (0..dim)
                    .map(|d| f64::from(q.row(t)[h * dim + d]) * f64::from(keys.row(&blocks, s)[d])).sum::<f64>();
                (0..heads).map(|h| f64::from(weights.row(t)[h]) * dot(h).max(0.0)).sum()
            };
            for isa in Isa::available() {
                let span = IndexSpan { rows: 0..tokens, visible: visible.clone(), blocks: &blocks };
                let chosen = index_select(isa, &Pool::new(2), &q, &weights, keys, &[span], top_k);
                prop_assert_eq!(chosen.len(), tokens);
                for (t, chosen) in chosen.iter().enumerate() {
                    prop_assert_eq!(chosen.len(), top_k.min(visible[t]));
                    prop_assert!(chosen.is_sorted_by(|a, b| a < b), "each once, in order");
                    let worst = chosen.iter().map(|&s| score(t, s as usize)).fold(f64::INFINITY, f64::min);
                    for s in (0..visible[t]).filter(|&s| !chosen.contains(&(s as u32))) {
                        prop_assert!(score(t, s) <= worst + 1e-4, "{isa} token {t}: row {s} is better");
                    }
                }
                let last = IndexSpan { rows: tokens - 1..tokens, visible: vec![visible[tokens - 1]], blocks: &blocks };
                let alone = index_select(isa, &Pool::new(1), &q, &weights, keys, &[last], top_k);
                prop_assert_eq!(&alone[0], &chosen[tokens - 1], "a token alone");
            }
        }
    }
}
