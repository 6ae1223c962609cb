//! V4's attention: the last tokens as they are, older ones compressed, in one softmax.
//!
//! ```text
//! c^Q = RMSNorm(W^QA h),  q_h = rope(RMS(W^QB_h c^Q)),   kv = rope(RMSNorm(W^KV h)), key and value of all heads
//! o_h = sum_j p_j row_j over compressed rows and the window's kv,   p = softmax(q_h . row_j / sqrt(K) | sink_h)
//! z_g = W^OA_g (rope back of the o_h of group g),   out = W^OB (z_1 | ... | z_G)
//! ```
//! Since values carry the turn of their keys, outputs are turned back at the query's position. A compressed row is seen from
//! the token on that ends its window; with windows of 4 the indexer chooses among them, windows of 128 are all seen.
//!
//! Source   DeepSeek-V4 (arXiv 2606.19348), section 2.3
//! Letters  T tokens in this step · D hidden_size · H heads · K head_dim · Rq q_lora_rank · G o_groups · Ro o_lora_rank

use shoal_kernels::attention::index::IndexSpan;
use shoal_kernels::attention::listed::{ListedRow, RowLists};
use shoal_kernels::attention::{AttentionShape, BlockRows};
use shoal_kernels::rope::RopeLayout;
use shoal_kernels::{Act, Cpu, Matrix};

use crate::Error;
use crate::compressor::Compressor;
use crate::config::{Compression, DeepseekV4Config};
use crate::deepseek_v4::V4Turns;
use crate::indexer::{IndexRope, Indexer};
use crate::kv_cache::KvCache;
use crate::rope::Turn;
use crate::step::{Span, StepContext};
use crate::weights::LayerBinder;

/// Tracks of a layer: see [`DeepseekV4Config::kv_tracks`].
const WINDOW: usize = 0;
const COMPRESSED: usize = 1;
const RAW: usize = 2;

/// Where rows are that a step looks at: what the cache kept of a track, or what the step itself has computed. The cache keeps recent
/// rows of the last blocks alone, and a step may be longer than that.
const KEPT: u32 = 0;
const OWN: u32 = 1;
const COMPRESSED_ROWS: u32 = 2;

/// The recent row of a position: one that was kept, or one of the step's own.
fn recent_row(kv: &KvCache, at: (usize, usize), span: &Span<'_>, position: usize) -> ListedRow {
    match position.checked_sub(span.first_pos) {
        Some(i) => ListedRow { source: OWN, place: (span.rows.start + i) as u32 },
        None => ListedRow { source: KEPT, place: kv.place(at.0, at.1, span.blocks, position) },
    }
}

pub(crate) struct CompressedAttention {
    shape: AttentionShape,
    rms_norm_eps: f32,
    rope_dim: usize,
    sliding_window: usize,
    wq_a: Matrix,
    q_norm: Vec<f32>,
    wq_b: Matrix,
    /// The norm of a head's query has no weight: ones.
    q_head_norm: Vec<f32>,
    wkv: Matrix,
    kv_norm: Vec<f32>,
    attn_sink: Vec<f32>,
    /// W^OA of each group, `[Ro, H / G * K]`.
    wo_a: Vec<Matrix>,
    wo_b: Matrix,
    compression: Compression,
    compressed: Option<Compressed>,
}

/// What a layer with compression has in addition.
struct Compressed {
    ratio: usize,
    compressor: Compressor,
    choice: Option<Choice>,
}

/// The indexer with the compressor that makes its keys.
struct Choice {
    indexer: Indexer,
    compressor: Compressor,
}

impl CompressedAttention {
    pub(crate) fn load(
        weights: &LayerBinder<'_>,
        config: &DeepseekV4Config,
        compression: Compression,
    ) -> Result<Self, Error> {
        let (hidden, heads, dim) =
            (config.common.hidden_size, config.common.num_attention_heads, config.head_dim);
        let (groups, rank) = (config.o_groups, config.o_lora_rank);
        let wo_a = weights.matrix("attn_output_a.weight", groups * rank, heads / groups * dim)?;
        Ok(Self {
            shape: AttentionShape {
                heads,
                kv_heads: 1,
                key_dim: dim,
                value_dim: dim,
                scale: 1.0 / (dim as f32).sqrt(),
            },
            rms_norm_eps: config.common.rms_norm_eps,
            rope_dim: config.common.rope.dim,
            sliding_window: config.sliding_window,
            wq_a: weights.matrix("attn_q_a.weight", config.q_lora_rank, hidden)?,
            q_norm: weights.vector("attn_q_a_norm.weight", config.q_lora_rank)?,
            wq_b: weights.matrix("attn_q_b.weight", heads * dim, config.q_lora_rank)?,
            q_head_norm: vec![1.0; dim],
            wkv: weights.matrix("attn_kv.weight", dim, hidden)?,
            kv_norm: weights.vector("attn_kv_a_norm.weight", dim)?,
            attn_sink: weights.vector("attn_sinks.weight", heads)?,
            wo_a: (0..groups).map(|group| wo_a.row_range(group * rank, rank)).collect(),
            wo_b: weights.matrix("attn_output_b.weight", hidden, groups * rank)?,
            compression,
            compressed: Compressed::load(weights, config, compression)?,
        })
    }

    #[rustfmt::skip]
    pub(crate) fn forward(
        &self, cpu: &Cpu, h: &Act, step: &StepContext<'_>, turns: &V4Turns<'_>, kv: &mut KvCache, layer: usize,
    ) -> Act {
        let (dim, eps, turn) = (self.shape.key_dim, self.rms_norm_eps, turns.of(self.compression));
        let offset = dim - self.rope_dim;
        let [q_a, row] = cpu.matmuls(h, [&self.wq_a, &self.wkv]);                        // [T, Rq] [T, K]
        let c_q = cpu.rms_norm(&q_a, &self.q_norm, eps);
        let mut q = cpu.rms_norm(&cpu.matmul(&c_q, &self.wq_b), &self.q_head_norm, eps); // [T, H·K]
        cpu.rope(&mut q, &turn.there, dim, offset, RopeLayout::Interleaved);
        let mut row = cpu.rms_norm(&row, &self.kv_norm, eps);
        cpu.rope(&mut row, &turn.there, dim, offset, RopeLayout::Interleaved);
        for span in step.spans {
            kv.write((layer, WINDOW), span.blocks, span.positions(), span.rows.start, &[&row]);
        }
        if let Some(compressed) = &self.compressed {
            compressed.write_rows(cpu, h, step, turns, kv, layer);
        }
        let lists = self.lists(cpu, &c_q, h, step, turn, (kv, layer));
        let compressed = if self.compressed.is_some() { COMPRESSED } else { WINDOW };
        let sources = [kv.rows(layer, WINDOW, 0), BlockRows::of(&row), kv.rows(layer, compressed, 0)];
        let mut o = cpu.listed_attention(&q, &sources, &lists, self.shape, &self.attn_sink); // [T, H·K]
        cpu.rope(&mut o, &turn.back, dim, offset, RopeLayout::Interleaved);
        let z = cpu.heads_matmul(o, &self.wo_a);                                         // [T, G·Ro]
        cpu.matmul(&z, &self.wo_b)                                                       // [T, D]
    }

    /// What every token sees: compressed rows, then its window.
    #[rustfmt::skip]
    fn lists(
        &self, cpu: &Cpu, c_q: &Act, h: &Act, step: &StepContext<'_>, turn: &Turn, (kv, layer): (&KvCache, usize),
    ) -> RowLists {
        let chosen = self.compressed.as_ref().map(|compressed| compressed.choose(cpu, c_q, h, step, turn, (kv, layer)));
        let mut lists = RowLists::with_capacity(h.rows());
        for span in step.spans {
            let listed = |window: usize| {
                ListedRow { source: COMPRESSED_ROWS, place: kv.place(layer, COMPRESSED, span.blocks, window) }
            };
            for (token, position) in span.rows.clone().zip(span.positions()) {
                let chosen = chosen.as_ref().map_or(&[][..], |chosen| &chosen[token]);
                let window = (position + 1).saturating_sub(self.sliding_window)..position + 1;
                let compressed = chosen.iter().map(|&window| listed(window as usize));
                let recent = window.map(|position| recent_row(kv, (layer, WINDOW), span, position));
                lists.push(compressed.chain(recent).collect());
            }
        }
        lists
    }
}

impl Compressed {
    fn load(
        weights: &LayerBinder<'_>,
        config: &DeepseekV4Config,
        compression: Compression,
    ) -> Result<Option<Self>, Error> {
        let Some(ratio) = compression.ratio() else { return Ok(None) };
        let compressor = |prefix, width| Compressor::load(weights, prefix, ratio, width, config);
        let choice = || -> Result<Choice, Error> {
            let offset = config.indexer.index_head_dim - config.common.rope.dim;
            let rope = IndexRope { offset, layout: RopeLayout::Interleaved };
            let (hidden, q_rank) = (config.common.hidden_size, config.q_lora_rank);
            Ok(Choice {
                indexer: Indexer::load(weights, config.indexer, rope, hidden, q_rank)?,
                compressor: compressor("indexer_compressor", config.indexer.index_head_dim)?,
            })
        };
        Ok(Some(Self {
            ratio,
            compressor: compressor("attn_compressor", config.head_dim)?,
            choice: (compression == Compression::Sparse).then(choice).transpose()?,
        }))
    }

    /// The compressors with the column at which each one's part of a raw row begins.
    fn compressors(&self) -> Vec<(&Compressor, usize)> {
        let own = (&self.compressor, 0);
        let of_keys = self.choice.as_ref().map(|choice| (&choice.compressor, self.compressor.raw_width()));
        [own].into_iter().chain(of_keys).collect()
    }

    /// Takes the step's tokens in and writes the rows of all windows that end with one of them.
    fn write_rows(
        &self,
        cpu: &Cpu,
        h: &Act,
        step: &StepContext<'_>,
        turns: &V4Turns<'_>,
        kv: &mut KvCache,
        layer: usize,
    ) {
        let positions = || step.spans.iter().flat_map(Span::positions);
        let compressors = self.compressors();
        let parts = compressors.iter().flat_map(|(compressor, _)| compressor.raw(cpu, h, positions()));
        let raw = parts.reduce(|raw, part| raw.beside(&part)).expect("a compressor");
        for span in step.spans {
            let ended = |position: &usize| (position + 1).is_multiple_of(self.ratio);
            let windows: Vec<usize> =
                span.positions().filter(ended).map(|position| position / self.ratio).collect();
            if let (Some(&first), Some(&last)) = (windows.first(), windows.last()) {
                let sources = [kv.rows(layer, RAW, 0), BlockRows::of(&raw)];
                let row_of = |position| recent_row(kv, (layer, RAW), span, position);
                let finished = |(compressor, column): &(&Compressor, usize)| {
                    let pool = |&window: &usize| compressor.pool(cpu, &sources, row_of, *column, window);
                    let pooled: Vec<Act> = windows.iter().map(pool).collect();
                    compressor.finish(cpu, &Act::stacked(&pooled), &windows, turns.of_windows)
                };
                let rows: Vec<Act> = compressors.iter().map(finished).collect();
                let rows: Vec<&Act> = rows.iter().collect();
                kv.write((layer, COMPRESSED), span.blocks, first..last + 1, 0, &rows);
            }
            kv.write((layer, RAW), span.blocks, span.positions(), span.rows.start, &[&raw]);
        }
    }

    /// For each token the windows whose rows it sees.
    #[rustfmt::skip]
    fn choose(
        &self, cpu: &Cpu, c_q: &Act, h: &Act, step: &StepContext<'_>, turn: &Turn, (kv, layer): (&KvCache, usize),
    ) -> Vec<Vec<u32>> {
        let spans: Vec<IndexSpan<'_>> = step.spans.iter().map(|span| {
            let visible = span.positions().map(|position| (position + 1) / self.ratio).collect();
            IndexSpan { rows: span.rows.clone(), visible, blocks: span.blocks }
        }).collect();
        match &self.choice {
            Some(choice) => {
                // The index key stands behind the row that is attended to.
                let keys = kv.rows(layer, COMPRESSED, self.compressor.width());
                choice.indexer.select(cpu, c_q, h, &turn.there, keys, &spans)
            }
            None => spans.iter().flat_map(|span| &span.visible).map(|&visible| (0..visible as u32).collect()).collect(),
        }
    }
}
