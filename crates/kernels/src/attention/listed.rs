//! Attention over a list of rows for each token, which all its heads share: sparse attention, and attention over rows of
//! several kinds in one softmax.
//!
//! ```text
//! for each token t and head h:   s_j = scale * q . row_j            for every row of the token's list
//!                                out = sum_j p_j row_j[..V]         p = softmax(s | sink_h)
//! ```
//! A row is a key and begins with its value, as in the absorbed form of MLA. The sink is a score that takes its share of the
//! softmax and adds nothing. A list is cut into splits of 64 from its beginning on, so a token's result depends on its list
//! alone. One item of work is one token with as many heads as give every thread some: they read each row once.
//!
//! Source    DeepSeek-V3.2 (DSA) and DeepSeek-V4 (arXiv 2606.19348), section 2.3; sinks: Xiao et al. 2023

use super::{AttentionShape, BlockRows, Queries, Seen, attend};
use crate::act::Act;
use crate::isa::Isa;
use crate::pool::{Pool, Stripe, Striped};
use crate::work::Work;

/// Heads of an item at most.
const HEADS_MAX: usize = 64;

/// A row: which of the sources it is in, and its place there (see [`BlockRows::place`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedRow {
    /// Index of the source.
    pub source: u32,
    /// Place in the source.
    pub place: u32,
}

/// For each token of a step the rows that it sees, in the order in which they are summed.
pub type RowLists = Vec<Vec<ListedRow>>;

/// What attention over `lists` has to do.
pub(crate) fn work_of(lists: &RowLists, shape: AttentionShape) -> Work {
    let pairs: usize = lists.iter().map(Vec::len).sum();
    let float_macs = pairs * shape.heads * (shape.key_dim + shape.value_dim);
    Work { float_macs: float_macs as u64, ..Work::default() }
}

/// Attention of `q` `[T, H * K]` over `lists`: `[T, H * V]`. `sinks` has one score for each head, or none.
///
/// # Panics
/// If shapes do not fit.
#[must_use]
pub fn listed_attention(
    isa: Isa,
    pool: &Pool,
    q: &Act,
    sources: &[BlockRows<'_>],
    lists: &RowLists,
    shape: AttentionShape,
    sinks: &[f32],
) -> Act {
    let AttentionShape { heads, kv_heads, key_dim, value_dim, .. } = shape;
    assert_eq!(
        (q.rows(), q.cols()),
        (lists.len(), heads * key_dim),
        "queries of all heads, a list for each token"
    );
    assert!(
        kv_heads == 1 && value_dim <= key_dim,
        "rows that all heads share, which begin with their values"
    );
    assert!(sinks.is_empty() || sinks.len() == heads, "a sink for each head");
    let mut out = Act::zeros(q.rows(), heads * value_dim);
    let heads_per_item = heads_per_item(heads, q.rows(), pool.thread_count());
    let token = |row| Striped::new(row, heads * value_dim, heads_per_item * value_dim);
    let mut parts: Vec<_> = out.as_mut_slice().chunks_exact_mut(heads * value_dim).map(token).collect();
    pool.for_each_stripe_of(&mut parts, |token, first_column, out: &mut Stripe<'_, f32>| {
        let first_head = first_column / value_dim;
        let rows: Vec<&[f32]> =
            lists[token].iter().map(|row| sources[row.source as usize].at(row.place)).collect();
        let own = &q.row(token)[first_head * key_dim..][..heads_per_item * key_dim];
        let item = Queries {
            seen: Seen::Listed(&rows),
            shape,
            q: own.chunks_exact(key_dim).map(|q| (q, rows.len())).collect(),
            sinks: if sinks.is_empty() { sinks } else { &sinks[first_head..][..heads_per_item] },
        };
        attend(isa, &item, heads_per_item, out);
    });
    out
}

/// The most heads, a divisor of all, that leave every thread an item.
fn heads_per_item(heads: usize, tokens: usize, thread_count: usize) -> usize {
    let most = (heads * tokens / thread_count).clamp(1, HEADS_MAX.min(heads));
    (1..=most).rev().find(|n| heads.is_multiple_of(*n)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use shoal_base::BlockId;
    use shoal_testkit::seeded;

    /// The definition in f64.
    fn oracle(q: &[f32], rows: &[&[f32]], shape: AttentionShape, sink: Option<f32>) -> Vec<f64> {
        let dot = |k: &[f32]| q.iter().zip(k).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let scores: Vec<f64> = rows.iter().map(|row| dot(row) * f64::from(shape.scale)).collect();
        let sink = sink.map_or(f64::NEG_INFINITY, f64::from);
        let max = scores.iter().fold(sink, |a, &b| a.max(b));
        let weights: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
        let sum = weights.iter().sum::<f64>() + (sink - max).exp();
        let value =
            |i: usize| weights.iter().zip(rows).map(|(w, row)| w * f64::from(row[i])).sum::<f64>() / sum;
        (0..shape.value_dim).map(value).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn every_variant_is_the_definition_and_company_does_not_matter(
            lens in prop::collection::vec(1..150usize, 1..4), heads in 1..9usize, key_dim in 1..40usize,
            has_sinks in any::<bool>(), seed in any::<u64>(),
        ) {
            let shape = AttentionShape { heads, kv_heads: 1, key_dim, value_dim: key_dim.div_ceil(2), scale: 0.7 };
            let (a, b) = (seeded::normal_f32(seed, 200 * key_dim), seeded::normal_f32(seed ^ 1, 20 * (key_dim + 3)));
            let sources = [
                BlockRows { data: &a, block_len: 50, width: key_dim },
                BlockRows { data: &b, block_len: 5, width: key_dim + 3 },
            ];
            let sinks = if has_sinks { seeded::normal_f32(seed ^ 2, heads) } else { Vec::new() };
            let row = |i: usize| if i % 3 == 2 {
                ListedRow { source: 1, place: sources[1].place(&[BlockId(3), BlockId(0), BlockId(2), BlockId(1)], i % 20) }
            } else {
                ListedRow { source: 0, place: (i * 7 % 200) as u32 }
            };
            let lists: RowLists = lens.iter().map(|&len| (0..len).map(row).collect()).collect();
            let q = Act::from_vec(lens.len(), heads * key_dim, seeded::normal_f32(seed ^ 3, lens.len() * heads * key_dim));
            for isa in Isa::available() {
                let out = listed_attention(isa, &Pool::new(2), &q, &sources, &lists, shape, &sinks);
                for (t, list) in lists.iter().enumerate() {
                    let alone = vec![list.clone()];
                    let one = listed_attention(isa, &Pool::new(1), &q.select_rows(&[t]), &sources, &alone, shape, &sinks);
                    prop_assert_eq!(one.row(0), out.row(t), "a token alone");
                    let rows: Vec<&[f32]> =
                        list.iter().map(|row| &sources[row.source as usize].at(row.place)[..key_dim]).collect();
                    for head in 0..heads {
                        let q = &q.row(t)[head * key_dim..][..key_dim];
                        let want = oracle(q, &rows, shape, sinks.get(head).copied());
                        for (got, want) in out.row(t)[head * shape.value_dim..].iter().zip(want) {
                            prop_assert!((f64::from(*got) - want).abs() < 2e-5, "{isa} {got} {want}");
                        }
                    }
                }
            }
        }
    }
}
