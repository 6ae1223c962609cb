//! Attention over keys and values that live in blocks: grouped-query, and multi-head latent as its special case.
//!
//! ```text
//! for each token t and head h:   s_j = scale * q . k_j   for every position j <= position(t)
//!                                out = sum_j softmax(s)_j v_j
//! ```
//! The positions are taken in splits of [`SPLIT`] from 0 on. After each split the running maximum, the running sum
//! of exponentials and the output are brought to the new maximum (online softmax), so no row of scores longer than
//! a split is kept. Splits begin at fixed positions, so a token's result is the same in any chunk of a prefill.
//!
//! A work item is some consecutive tokens with some heads that share keys: its queries meet a split of keys and
//! values together (`tiled`), so these are read once for all of them.
//!
//! Shapes    q [T, H * K] · keys and values: rows of blocks, one for each position · out [T, H * V]
//! Heads     H query heads share G key-value heads, H / G consecutive ones each. MLA in its absorbed form has one
//!           key-value head whose value is the first V elements of its key.
//! Numerics  f32; a score is summed over the elements in order, the output over positions in order, whatever the item
//! Source    Milakov and Gimelshein 2018, "Online normalizer calculation for softmax", algorithm 3
//!
//! Attention that is sparse, or that sees rows of several kinds, takes a list of rows for each token instead of positions:
//! see `listed`. Which rows are worth listing is found by `index`.

pub mod index;
pub mod listed;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod tiled;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::Range;

use shoal_base::BlockId;

use crate::act::Act;
use crate::isa::Isa;
use crate::pool::{Pool, Stripe, Striped};
use crate::work::Work;

/// Positions between two updates of the running maximum.
const SPLIT: usize = 64;

/// Queries of an item at most: what their scores and outputs take stays in a core's own cache.
const QUERIES_MAX: usize = 48;

/// Rows that live in blocks: row `p` of a sequence is row `p % block_len` of its block `p / block_len`.
#[derive(Clone, Copy)]
pub struct BlockRows<'a> {
    /// All blocks, `[blocks, block_len, width]`; a later start of the slice shifts the columns of every row.
    pub data: &'a [f32],
    /// Rows in a block.
    pub block_len: usize,
    /// Elements in a row.
    pub width: usize,
}

impl<'a> BlockRows<'a> {
    /// The rows of activations, each at the place of its number.
    #[must_use]
    pub fn of(act: &'a Act) -> Self {
        Self { data: act.as_slice(), block_len: act.rows().max(1), width: act.cols() }
    }

    /// The place of row `position` of a sequence with the block table `blocks` among all rows.
    #[must_use]
    #[inline(always)]
    pub fn place(&self, blocks: &[BlockId], position: usize) -> u32 {
        (blocks[position / self.block_len].idx() * self.block_len + position % self.block_len) as u32
    }

    /// What is stored from the row at `place` on.
    #[inline(always)]
    pub(crate) fn at(&self, place: u32) -> &'a [f32] {
        &self.data[place as usize * self.width..]
    }

    /// What is stored from the row of position `position` on, in a sequence with the block table `blocks`.
    #[inline(always)]
    fn row(&self, blocks: &[BlockId], position: usize) -> &'a [f32] {
        self.at(self.place(blocks, position))
    }

    /// The columns `columns` of the rows of the first `len` positions, copied.
    #[must_use]
    pub fn gather(&self, blocks: &[BlockId], len: usize, columns: Range<usize>) -> Act {
        let mut out = Act::zeros(len, columns.len());
        for position in 0..len {
            out.row_mut(position).copy_from_slice(&self.row(blocks, position)[columns.clone()]);
        }
        out
    }
}

/// Consecutive tokens of one sequence within the step.
#[derive(Clone, Debug)]
pub struct AttendSpan<'a> {
    /// Their rows in the activations.
    pub rows: Range<usize>,
    /// The position of the first.
    pub first_pos: usize,
    /// Where the sequence's keys and values are; it covers the position of the last.
    pub blocks: &'a [BlockId],
}

/// Heads, widths and the scale.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape {
    /// Query heads (H).
    pub heads: usize,
    /// Key-value heads (G), a divisor of H.
    pub kv_heads: usize,
    /// Elements of a query or key (K).
    pub key_dim: usize,
    /// Elements of a value (V).
    pub value_dim: usize,
    /// What scores are multiplied with.
    pub scale: f32,
}

/// What attention has to do: each query with the keys and values of its own position and those before.
pub(crate) fn work_of(spans: &[AttendSpan<'_>], shape: AttentionShape) -> Work {
    let pairs: usize =
        spans.iter().map(|span| (0..span.rows.len()).map(|i| span.first_pos + i + 1).sum::<usize>()).sum();
    let float_macs = pairs * shape.heads * (shape.key_dim + shape.value_dim);
    Work { float_macs: float_macs as u64, ..Work::default() }
}

/// Computes attention for all tokens of all spans.
///
/// # Panics
/// If shapes and spans do not fit.
#[must_use]
pub fn attention(
    isa: Isa,
    pool: &Pool,
    q: &Act,
    keys: BlockRows<'_>,
    values: BlockRows<'_>,
    spans: &[AttendSpan<'_>],
    shape: AttentionShape,
) -> Act {
    let AttentionShape { heads, kv_heads, key_dim, value_dim, .. } = shape;
    assert_eq!(q.cols(), heads * key_dim, "queries of all heads");
    assert!(heads.is_multiple_of(kv_heads) && keys.width >= kv_heads * key_dim, "keys of all heads");
    let mut out = Act::zeros(q.rows(), heads * value_dim);
    let group = heads / kv_heads;
    let heads_per_item = heads_per_item(shape, q.rows(), pool.thread_count());
    let runs = token_runs(spans, (QUERIES_MAX / heads_per_item).max(1));
    let mut rest = out.as_mut_slice();
    let mut parts = Vec::with_capacity(runs.len());
    for (_, rows) in &runs {
        let (part, behind) = rest.split_at_mut(rows.len() * heads * value_dim);
        parts.push(Striped::new(part, heads * value_dim, heads_per_item * value_dim));
        rest = behind;
    }
    pool.for_each_stripe_of(&mut parts, |run, first_column, out| {
        let (span, rows) = &runs[run];
        let first_head = first_column / value_dim;
        let kv_head = first_head / group;
        let mut item = Queries {
            seen: Seen::Positions { keys, values, blocks: span.blocks, kv_head },
            shape,
            q: Vec::with_capacity(rows.len() * heads_per_item),
            sinks: &[],
        };
        for row in rows.clone() {
            let position_count = span.first_pos + (row - span.rows.start) + 1;
            let own = &q.row(row)[first_head * key_dim..][..heads_per_item * key_dim];
            item.q.extend(own.chunks_exact(key_dim).map(|q| (q, position_count)));
        }
        attend(isa, &item, heads_per_item, out);
    });
    out
}

/// The rows of the spans in runs of at most `len` tokens.
fn token_runs<'s, 'a>(spans: &'s [AttendSpan<'a>], len: usize) -> Vec<(&'s AttendSpan<'a>, Range<usize>)> {
    let run = |span: &'s AttendSpan<'a>, first: usize| (span, first..span.rows.end.min(first + len));
    spans.iter().flat_map(|span| span.rows.clone().step_by(len).map(move |first| run(span, first))).collect()
}

/// The most heads of one key-value head that leave every thread a few items.
fn heads_per_item(shape: AttentionShape, tokens: usize, thread_count: usize) -> usize {
    let group = shape.heads / shape.kv_heads;
    let most = (shape.heads * tokens / (thread_count * 2)).clamp(1, 8);
    (1..=group.min(most)).rev().find(|n| group.is_multiple_of(*n)).unwrap_or(1)
}

/// The queries of one item: heads of consecutive tokens that share a key-value head.
pub(crate) struct Queries<'a> {
    seen: Seen<'a>,
    shape: AttentionShape,
    /// Token by token, head by head, each with the number of positions it sees; later tokens see more.
    q: Vec<(&'a [f32], usize)>,
    /// For each query the score of a sink, which takes part in the softmax and has no value; empty for none.
    sinks: &'a [f32],
}

/// Where the keys and values of an item are.
pub(crate) enum Seen<'a> {
    /// Those of all positions from 0 on.
    Positions { keys: BlockRows<'a>, values: BlockRows<'a>, blocks: &'a [BlockId], kv_head: usize },
    /// These rows: each is a key and begins with its value.
    Listed(&'a [&'a [f32]]),
}

impl<'a> Queries<'a> {
    /// How many positions the last token sees.
    #[inline(always)]
    fn position_count(&self) -> usize {
        self.q.last().map_or(0, |(_, count)| *count)
    }

    /// What the softmax of query `i` has seen before the first position: its maximum and its sum.
    #[inline(always)]
    fn start(&self, i: usize) -> (f32, f32) {
        self.sinks.get(i).map_or((f32::NEG_INFINITY, 0.0), |&sink| (sink, 1.0))
    }

    #[inline(always)]
    fn key(&self, position: usize) -> &'a [f32] {
        let dim = self.shape.key_dim;
        match &self.seen {
            Seen::Positions { keys, blocks, kv_head, .. } => {
                &keys.row(blocks, position)[kv_head * dim..][..dim]
            }
            Seen::Listed(rows) => &rows[position][..dim],
        }
    }

    #[inline(always)]
    fn value(&self, position: usize) -> &'a [f32] {
        let dim = self.shape.value_dim;
        match &self.seen {
            Seen::Positions { values, blocks, kv_head, .. } => {
                &values.row(blocks, position)[kv_head * dim..][..dim]
            }
            Seen::Listed(rows) => &rows[position][..dim],
        }
    }
}

/// Attention of one item: row `i / heads` of `out` takes query `i`.
fn attend(isa: Isa, item: &Queries<'_>, heads: usize, out: &mut Stripe<'_, f32>) {
    match isa {
        Isa::Scalar => scalar::attend(item, heads, out),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2(proof) => x86::avx2(proof, item, heads, out),
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnni(proof) => x86::avx_vnni(proof, item, heads, out),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512(proof) => x86::avx512(proof, item, heads, out),
        #[cfg(not(target_arch = "x86_64"))]
        Isa::Avx2(_) | Isa::AvxVnni(_) | Isa::Avx512(_) => {
            unreachable!("no proof of these exists on this machine")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use shoal_testkit::seeded;

    /// Softmax attention in f64, straight from the definition.
    fn oracle(q: &[f32], keys: &[Vec<f32>], values: &[Vec<f32>], scale: f32) -> Vec<f64> {
        let dot = |k: &[f32]| q.iter().zip(k).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let scores: Vec<f64> = keys.iter().map(|k| dot(k) * f64::from(scale)).collect();
        let max = scores.iter().fold(f64::MIN, |a, &b| a.max(b));
        let weights: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
        let sum: f64 = weights.iter().sum();
        (0..values[0].len())
            .map(|i| weights.iter().zip(values).map(|(w, v)| w * f64::from(v[i])).sum::<f64>() / sum)
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn every_variant_is_the_definition_and_chunks_do_not_matter(
            len in 1..200usize, kv_heads in 1..3usize, group in 1..4usize, key_dim in 1..40usize, seed in any::<u64>(),
        ) {
            let (value_dim, block_len) = (key_dim.div_ceil(2), 32);
            let shape = AttentionShape { heads: kv_heads * group, kv_heads, key_dim, value_dim, scale: 0.7 };
            let (k_width, v_width) = (kv_heads * key_dim, kv_heads * value_dim);
            // Blocks in reverse, so that a wrong table shows.
            let blocks: Vec<BlockId> = (0..len.div_ceil(block_len) as u32).rev().map(BlockId).collect();
            let k = seeded::normal_f32(seed, blocks.len() * block_len * k_width);
            let v = seeded::normal_f32(seed ^ 1, blocks.len() * block_len * v_width);
            let q = Act::from_vec(len, shape.heads * key_dim, seeded::normal_f32(seed ^ 2, len * shape.heads * key_dim));
            let keys = BlockRows { data: &k, block_len, width: k_width };
            let values = BlockRows { data: &v, block_len, width: v_width };
            let whole = [AttendSpan { rows: 0..len, first_pos: 0, blocks: &blocks }];
            for isa in Isa::available() {
                let out = attention(isa, &Pool::new(2), &q, keys, values, &whole, shape);
                let last = q.select_rows(&[len - 1]);
                let span = [AttendSpan { rows: 0..1, first_pos: len - 1, blocks: &blocks }];
                let alone = attention(isa, &Pool::new(1), &last, keys, values, &span, shape);
                prop_assert_eq!(alone.row(0), out.row(len - 1), "the last token alone");
                for token in [0, len / 2, len - 1] {
                    for head in 0..shape.heads {
                        let cut = |rows: BlockRows<'_>, dim: usize| -> Vec<Vec<f32>> {
                            (0..=token).map(|p| rows.row(&blocks, p)[head / group * dim..][..dim].to_vec()).collect()
                        };
                        let q = &q.row(token)[head * key_dim..][..key_dim];
                        let want = oracle(q, &cut(keys, key_dim), &cut(values, value_dim), shape.scale);
                        for (got, want) in out.row(token)[head * value_dim..].iter().zip(want) {
                            prop_assert!((f64::from(*got) - want).abs() < 2e-5, "{isa} {got} {want}");
                        }
                    }
                }
            }
        }
    }
}
