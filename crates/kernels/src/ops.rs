//! The verbs a model is written in. This list is what a second backend would implement.
//!
//! A [`Cpu`] is an instruction set, a pool of threads and a count of the work done. Its verbs take
//! activations and weight handles and return activations; a model never sees a slice of numbers.

use std::sync::Arc;

use shoal_base::TokenId;

use crate::act::Act;
use crate::attention::index::{self, IndexSpan, index_select};
use crate::attention::listed::{self, RowLists, listed_attention};
use crate::attention::{AttendSpan, AttentionShape, BlockRows, attention, work_of};
use crate::elementwise::{layer_norm_row, rms_norm_row, swiglu_slice};
use crate::expert_sum::ExpertSum;
use crate::isa::Isa;
use crate::matmul::{self, Input, Matrix, Product};
use crate::pool::Pool;
use crate::profile::{Profile, Profiler, Timer};
use crate::rope::{RopeLayout, RopeTable, rope};
use crate::route::{RouterSpec, Routing, route, route_to};
use crate::work::Work;

/// Elements below which an operation is not worth handing to other threads.
const PARALLEL_MIN: usize = 1 << 14;

/// The three matrices of one SwiGLU feed-forward network: `down(silu(gate x) * up x)`.
///
/// With a limit `gate x` is at most that much and `up x` at most as far from 0.
#[derive(Clone, Debug)]
pub struct FeedForward {
    /// `[F, D]`.
    pub gate: Matrix,
    /// `[F, D]`.
    pub up: Matrix,
    /// `[D, F]`.
    pub down: Matrix,
    /// The limit; infinite for none.
    pub swiglu_limit: f32,
}

/// The CPU as a backend: a handle, which several sections of a model may hold.
pub struct Cpu {
    isa: Isa,
    pool: Arc<Pool>,
    profiler: Arc<Profiler>,
    section: &'static str,
}

impl Cpu {
    /// A backend on `isa` with the threads of `pool`.
    #[must_use]
    pub fn new(isa: Isa, pool: Arc<Pool>) -> Self {
        Self { isa, pool, profiler: Arc::default(), section: "model" }
    }

    /// The same backend for the part of a model called `section`: what a profile puts its verbs under.
    #[must_use]
    pub fn in_section(&self, section: &'static str) -> Self {
        Self { isa: self.isa, pool: Arc::clone(&self.pool), profiler: Arc::clone(&self.profiler), section }
    }

    /// The instruction set.
    #[must_use]
    pub const fn isa(&self) -> Isa {
        self.isa
    }

    /// The threads.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// What verbs have done since the start, in all sections.
    #[must_use]
    pub fn work(&self) -> Work {
        self.profiler.work.total()
    }

    /// Runs `run` and tells where its time went. The verbs of all sections are timed, so nobody else should call them.
    ///
    /// # Panics
    /// If a profile is being taken already.
    pub fn profile<R>(&self, run: impl FnOnce() -> R) -> (R, Profile) {
        self.profiler.profile(run)
    }

    /// Times the verb `operation` until the result is dropped, if a profile is being taken.
    pub(crate) fn time(&self, operation: &'static str) -> Timer<'_> {
        self.profiler.time(self.section, operation)
    }

    fn products(&self, input: &Input<'_>, products: &[Product<'_>]) -> Vec<Act> {
        self.profiler.work.add(products.iter().map(|product| product.work(input)).sum());
        matmul::run(self.isa, &self.pool, input, products)
    }

    pub(crate) fn products_into(&self, input: &Input<'_>, products: &[Product<'_>], outs: Vec<&mut [f32]>) {
        self.profiler.work.add(products.iter().map(|product| product.work(input)).sum());
        matmul::run_into(self.isa, &self.pool, input, products, outs);
    }

    /// `H` products of `[T, N]` side by side: `[T, H * N]`.
    fn side_by_side(&self, tokens: usize, input: &Input<'_>, products: &[Product<'_>]) -> Act {
        self.profiler.work.add(products.iter().map(|product| product.work(input)).sum());
        let width = products.first().map_or(1, |product| products.len() * product.w.rows());
        let mut out = Act::zeros(tokens, width);
        matmul::run_side_by_side(self.isa, &self.pool, input, products, out.as_mut_slice());
        out
    }

    /// Rows of the embedding table for `tokens`: `[T, D]`.
    ///
    /// # Panics
    /// If a token is not in the table.
    #[must_use]
    pub fn embed(&self, table: &Matrix, tokens: &[TokenId]) -> Act {
        let _time = self.time("embed");
        let mut x = Act::zeros(tokens.len(), table.cols());
        for (row, token) in tokens.iter().enumerate() {
            table.decode_row(token.idx(), x.row_mut(row));
        }
        x
    }

    /// `x W^T`: `[T, K]` and `[N, K]` to `[T, N]`.
    #[must_use]
    pub fn matmul(&self, x: &Act, w: &Matrix) -> Act {
        let [y] = self.matmuls(x, [w]);
        y
    }

    /// Several products of the same activations, as one list of work.
    #[must_use]
    pub fn matmuls<const N: usize>(&self, x: &Act, weights: [&Matrix; N]) -> [Act; N] {
        let _time = self.time("matmul");
        let products = weights.map(|w| Product { w, x_rows: None });
        self.products(&Input::new(x), &products).try_into().expect("one result for each product")
    }

    /// One matrix for each head: `[T, H * K]` and H times `[N, K]` to `[T, H * N]`.
    #[must_use]
    pub fn heads_matmul(&self, x: Act, heads: &[Matrix]) -> Act {
        let _time = self.time("heads_matmul");
        let (head_count, tokens) = (heads.len(), x.rows());
        let x = x.reshaped(heads[0].cols());
        let rows: Vec<Vec<u32>> =
            (0..head_count).map(|h| (0..tokens).map(|t| (t * head_count + h) as u32).collect()).collect();
        let products: Vec<_> =
            heads.iter().zip(&rows).map(|(w, rows)| Product { w, x_rows: Some(rows) }).collect();
        self.side_by_side(tokens, &Input::new(&x), &products)
    }

    /// The same activations through one matrix for each head: `[T, K]` and H times `[N, K]` to `[T, H * N]`.
    #[must_use]
    pub fn shared_heads_matmul(&self, x: &Act, heads: &[Matrix]) -> Act {
        let _time = self.time("shared_heads_matmul");
        let products: Vec<_> = heads.iter().map(|w| Product { w, x_rows: None }).collect();
        self.side_by_side(x.rows(), &Input::new(x), &products)
    }

    /// `x / sqrt(mean(x^2) + eps) * weight` for every run of `weight.len()` elements of every row.
    #[must_use]
    pub fn rms_norm(&self, x: &Act, weight: &[f32], eps: f32) -> Act {
        let _time = self.time("rms_norm");
        let width = weight.len();
        assert!(x.cols().is_multiple_of(width), "rows are runs of {width}");
        let mut out = Act::zeros(x.rows(), x.cols());
        let normalize = |first: usize, out: &mut [f32]| {
            for (x, out) in x.as_slice()[first..].chunks_exact(width).zip(out.chunks_exact_mut(width)) {
                rms_norm_row(self.isa, x, weight, eps, out);
            }
        };
        self.in_parts(out.as_mut_slice(), width, normalize);
        out
    }

    /// `(x - mean) / sqrt(variance + eps) * weight + bias` for every row.
    #[must_use]
    pub fn layer_norm(&self, x: &Act, weight: &[f32], bias: &[f32], eps: f32) -> Act {
        let _time = self.time("layer_norm");
        let mut out = Act::zeros(x.rows(), x.cols());
        for row in 0..x.rows() {
            layer_norm_row(x.row(row), weight, bias, eps, out.row_mut(row));
        }
        out
    }

    /// Calls `run(first_element, part)` on parts of `data` that are whole runs of `unit` elements.
    pub(crate) fn in_parts(&self, data: &mut [f32], unit: usize, run: impl Fn(usize, &mut [f32]) + Sync) {
        if data.len() < PARALLEL_MIN {
            return run(0, data);
        }
        let part_len = unit * (PARALLEL_MIN / 2).div_ceil(unit);
        self.pool.for_each_chunk(data, part_len, |part, data| run(part * part_len, data));
    }

    /// `x += y`.
    pub fn add(&self, x: &mut Act, y: &Act) {
        let _time = self.time("add");
        assert_eq!((x.rows(), x.cols()), (y.rows(), y.cols()), "two activations of one shape");
        self.in_parts(x.as_mut_slice(), 16, |first, x| {
            let y = &y.as_slice()[first..][..x.len()];
            x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
        });
    }

    /// `x += bias` for every row.
    pub fn add_bias(&self, x: &mut Act, bias: &[f32]) {
        let _time = self.time("add_bias");
        assert_eq!(x.cols(), bias.len(), "one bias for each column");
        for row in 0..x.rows() {
            x.row_mut(row).iter_mut().zip(bias).for_each(|(x, bias)| *x += bias);
        }
    }

    /// `x += table[rows]`: to each row of `x` one row of a table.
    pub fn add_rows(&self, x: &mut Act, table: &Act, rows: impl Iterator<Item = usize>) {
        let _time = self.time("add_rows");
        assert_eq!(x.cols(), table.cols(), "rows of one width");
        for (i, row) in rows.enumerate() {
            x.row_mut(i).iter_mut().zip(table.row(row)).for_each(|(x, y)| *x += y);
        }
    }

    /// Rotary embedding of every head of every row; see [`rope`].
    pub fn rope(&self, x: &mut Act, table: &RopeTable, head_dim: usize, offset: usize, layout: RopeLayout) {
        let _time = self.time("rope");
        rope(x, table, head_dim, offset, layout);
    }

    /// Attention over blocks; see [`attention`].
    #[must_use]
    pub fn attention(
        &self,
        q: &Act,
        keys: BlockRows<'_>,
        values: BlockRows<'_>,
        spans: &[AttendSpan<'_>],
        shape: AttentionShape,
    ) -> Act {
        let _time = self.time("attention");
        self.profiler.work.add(work_of(spans, shape));
        attention(self.isa, &self.pool, q, keys, values, spans, shape)
    }

    /// Attention over a list of rows for each token; see [`listed_attention`].
    #[must_use]
    pub fn listed_attention(
        &self,
        q: &Act,
        sources: &[BlockRows<'_>],
        lists: &RowLists,
        shape: AttentionShape,
        sinks: &[f32],
    ) -> Act {
        let _time = self.time("listed_attention");
        self.profiler.work.add(listed::work_of(lists, shape));
        listed_attention(self.isa, &self.pool, q, sources, lists, shape, sinks)
    }

    /// The rows that each token attends to; see [`index_select`].
    #[must_use]
    pub fn index_select(
        &self,
        q: &Act,
        weights: &Act,
        keys: BlockRows<'_>,
        spans: &[IndexSpan<'_>],
        top_k: usize,
    ) -> Vec<Vec<u32>> {
        let _time = self.time("index_select");
        self.profiler.work.add(index::work_of(spans, top_k, q.cols()));
        index_select(self.isa, &self.pool, q, weights, keys, spans, top_k)
    }

    /// `down(silu(gate x) * up x)`: `[T, D]` to `[T, D]`.
    #[must_use]
    pub fn feed_forward(&self, x: &Act, ffn: &FeedForward) -> Act {
        let _time = self.time("feed_forward");
        let [gate, up] = self.matmuls(x, [&ffn.gate, &ffn.up]);
        self.matmul(&self.swiglu(gate, &up, ffn.swiglu_limit), &ffn.down)
    }

    pub(crate) fn swiglu(&self, mut gate: Act, up: &Act, limit: f32) -> Act {
        self.in_parts(gate.as_mut_slice(), 16, |first, gate| {
            swiglu_slice(self.isa, gate, &up.as_slice()[first..][..gate.len()], limit);
        });
        gate
    }

    /// The experts of every token; see [`route`].
    #[must_use]
    pub fn route(&self, logits: &Act, spec: &RouterSpec) -> Routing {
        let _time = self.time("route");
        route(logits, spec)
    }

    /// Experts that are given, weighed by their scores; see [`route_to`].
    #[must_use]
    pub fn route_to(&self, logits: &Act, spec: &RouterSpec, chosen: &[u32]) -> Routing {
        let _time = self.time("route");
        route_to(logits, spec, chosen)
    }

    /// Begins the weighted sum of each token's experts; see [`ExpertSum`].
    #[must_use]
    pub fn expert_sum<'a>(&'a self, x: &'a Act, routing: &'a Routing) -> ExpertSum<'a> {
        ExpertSum::new(self, x, routing)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use shoal_base::Blob;
    use shoal_quant::Dtype;
    use shoal_testkit::seeded;

    pub(crate) fn matrix(rows: usize, cols: usize, seed: u64) -> Matrix {
        let bytes: Vec<u8> =
            seeded::normal_f32(seed, rows * cols).iter().flat_map(|x| x.to_le_bytes()).collect();
        Matrix::new(Dtype::F32, rows, cols, Blob::copy_of(&bytes))
    }

    pub(crate) fn cpu(threads: usize) -> Cpu {
        Cpu::new(Isa::best(), Arc::new(Pool::new(threads)))
    }

    #[test]
    fn work_is_counted_by_the_bytes_and_tokens_of_each_product() {
        let (cpu, x) = (cpu(1), Act::zeros(3, 32));
        let (float, quantised) = (matrix(4, 32, 1), Matrix::new(Dtype::Q8_0, 2, 32, Blob::copy_of(&[0; 68])));
        let [_, _] = cpu.in_section("head").matmuls(&x, [&float, &quantised]);
        let want = Work { weight_bytes: 4 * 32 * 4 + 68, int8_macs: 2 * 32 * 3, float_macs: 4 * 32 * 3 };
        assert_eq!(cpu.work(), want, "all sections count together");

        let routing = Routing { per_token: 1, experts: vec![5, 1, 5], weights: vec![1.0; 3] };
        let (gate, up, down) = (matrix(8, 32, 2), matrix(8, 32, 3), matrix(32, 8, 4));
        let network = || FeedForward {
            gate: gate.clone(),
            up: up.clone(),
            down: down.clone(),
            swiglu_limit: f32::INFINITY,
        };
        let mut sum = cpu.expert_sum(&x, &routing);
        sum.add(&[(1, network()), (5, network())]);
        let _ = sum.finish();
        let experts = cpu.work() - want;
        assert_eq!(
            experts,
            Work { weight_bytes: 2 * 3 * 8 * 32 * 4, int8_macs: 0, float_macs: 3 * 3 * 8 * 32 }
        );

        let keys = BlockRows { data: &[0.0; 64 * 12], block_len: 64, width: 12 };
        let span = AttendSpan { rows: 0..2, first_pos: 10, blocks: &[shoal_base::BlockId(0)] };
        let shape = AttentionShape { heads: 2, kv_heads: 1, key_dim: 8, value_dim: 4, scale: 1.0 };
        let before = cpu.work();
        let _ = cpu.attention(&Act::zeros(2, 16), keys, keys, &[span], shape);
        let attention = Work { float_macs: (11 + 12) * 2 * (8 + 4), ..Work::default() };
        assert_eq!(cpu.work() - before, attention, "each token with itself and all before");
    }

    #[test]
    fn a_profile_names_the_verbs_that_were_called() {
        let (cpu, x) = (cpu(1), Act::zeros(1, 16));
        let (gate, up, down) = (matrix(24, 16, 1), matrix(24, 16, 2), matrix(16, 24, 3));
        let ffn = FeedForward { gate, up, down, swiglu_limit: f32::INFINITY };
        let (y, profile) = cpu.profile(|| cpu.in_section("dense ffn").feed_forward(&x, &ffn));
        assert_eq!(y.cols(), 16);
        let verbs: Vec<_> = profile.entries.iter().filter(|entry| entry.calls > 0).collect();
        assert_eq!(verbs.len(), 1, "the products are part of it: {verbs:?}");
        assert_eq!((verbs[0].section, verbs[0].operation), ("dense ffn", "feed_forward"));
        assert_eq!(verbs[0].work, cpu.work());
    }

    #[test]
    fn heads_use_their_own_matrix_and_stand_side_by_side() {
        for n in [5, 64] {
            // With 64 rows a head is several items of work.
            let heads: Vec<Matrix> = (0..3).map(|h| matrix(n, 4, h)).collect();
            let x = Act::from_vec(2, 12, seeded::normal_f32(9, 24));
            let got = cpu(2).heads_matmul(x.clone(), &heads);
            let shared = cpu(2).shared_heads_matmul(&x.columns(4, 4), &heads);
            for t in 0..2 {
                for (h, w) in heads.iter().enumerate() {
                    let own = cpu(1).matmul(&x.select_rows(&[t]).columns(4 * h, 4), w);
                    assert_eq!(got.row(t)[n * h..][..n], *own.row(0), "head {h} of {n} rows");
                    let of_shared = cpu(1).matmul(&x.select_rows(&[t]).columns(4, 4), w);
                    assert_eq!(shared.row(t)[n * h..][..n], *of_shared.row(0), "head {h} of {n} rows");
                }
            }
        }
    }

    #[test]
    fn large_and_small_activations_go_the_same_way() {
        let x = Act::from_vec(64, 512, seeded::normal_f32(3, 64 * 512));
        let weight = seeded::normal_f32(4, 512);
        let (large, one) =
            (cpu(3).rms_norm(&x, &weight, 1e-6), cpu(1).rms_norm(&x.select_rows(&[63]), &weight, 1e-6));
        assert_eq!(large.row(63), one.row(0));
        let mut sum = x.clone();
        cpu(3).add(&mut sum, &x);
        assert!(sum.as_slice().iter().zip(x.as_slice()).all(|(s, x)| *s == 2.0 * x));
    }
}
