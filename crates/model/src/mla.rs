//! Multi-head latent attention (MLA): keys and values of all heads are expanded from one small latent per token.
//!
//! The cache keeps the latent `c^KV` and the one rope key `k^R`, R + P values a token. Two equal forms use them:
//!
//! ```text
//! expanded   k_h = [W^UK_h c | k^R],  v_h = W^UV_h c          then plain attention: 2 (K + V) operations a position
//! absorbed   q'_h = [W^UK_h^T q^C_h | q^R_h]  against  [c | k^R];  o_h = W^UV_h (sum p c):  2 (2 R + P) operations,
//!            but nothing to expand
//! ```
//! A prompt expands its context once for many queries; a generated token absorbs. See [`Phase`] for why the choice
//! follows the token and not the size of the step.
//!
//! In V3.2 a token attends to `index_topk` earlier ones at the most, which an indexer chooses. Tokens with fewer before them
//! see all and are computed as above; the others absorb, whatever their phase, since each has its own list of rows.
//!
//! Source   DeepSeek-V2 (arXiv 2405.04434) section 2.1, DeepSeek-V3 (arXiv 2412.19437) section 2.1.1: equation
//!          numbers of V3 at right; DeepSeek-V3.2 for the choice
//! Letters  T tokens in this step · S context · D hidden_size · H heads · N qk_nope_head_dim · P qk_rope_head_dim ·
//!          V v_head_dim · Rq q_lora_rank · R kv_lora_rank

use shoal_base::BlockId;
use shoal_kernels::attention::index::IndexSpan;
use shoal_kernels::attention::listed::{ListedRow, RowLists};
use shoal_kernels::attention::{AttendSpan, AttentionShape, BlockRows};
use shoal_kernels::rope::RopeLayout;
use shoal_kernels::{Act, Cpu, Matrix};

use crate::Error;
use crate::config::{DeepseekConfig, RopeScaling};
use crate::indexer::{IndexKeys, IndexRope, Indexer};
use crate::kv_cache::KvCache;
use crate::rope::yarn_mscale;
use crate::step::{Phase, Span, StepContext};
use crate::weights::{ATTN_K_B, ATTN_KV_B, LayerBinder, transposed};

/// Memory for the expanded keys and values of a context: as many heads at a time as fit.
pub(crate) const EXPANDED_BYTES_MAX: usize = 64 << 20;

/// Tokens that absorb at a time, where a prompt does.
pub(crate) const ABSORBED_TOKENS: usize = 64;

pub(crate) struct Mla {
    config: DeepseekConfig,
    softmax_scale: f32,
    q: QProj,
    kv_a_proj_with_mqa: Matrix,
    kv_a_layernorm: Vec<f32>,
    /// W^UK of each head, `[N, R]`: from latent to key.
    w_uk: Vec<Matrix>,
    /// Its transpose, `[R, N]`: from query to latent.
    w_uk_t: Vec<Matrix>,
    /// W^UV of each head, `[V, R]`.
    w_uv: Vec<Matrix>,
    o_proj: Matrix,
    sparse: Option<Sparse>,
}

/// What V3.2 chooses rows with.
struct Sparse {
    indexer: Indexer,
    keys: IndexKeys,
}

/// V2-Lite projects queries at once, the others through a latent of their own.
enum QProj {
    Full { q_proj: Matrix },
    LowRank { q_a_proj: Matrix, q_a_layernorm: Vec<f32>, q_b_proj: Matrix },
}

impl Mla {
    pub(crate) fn load(weights: &LayerBinder<'_>, config: &DeepseekConfig) -> Result<Self, Error> {
        let (hidden, heads) = (config.common.hidden_size, config.common.num_attention_heads);
        let (nope, rope, v_dim) = (config.qk_nope_head_dim, config.qk_rope_head_dim, config.v_head_dim);
        let rank = config.kv_lora_rank;
        let q_rows = heads * (nope + rope);
        let q = match config.q_lora_rank {
            None => QProj::Full { q_proj: weights.matrix("attn_q.weight", q_rows, hidden)? },
            Some(q_rank) => QProj::LowRank {
                q_a_proj: weights.matrix("attn_q_a.weight", q_rank, hidden)?,
                q_a_layernorm: weights.vector("attn_q_a_norm.weight", q_rank)?,
                q_b_proj: weights.matrix("attn_q_b.weight", q_rows, q_rank)?,
            },
        };
        let (w_uk, w_uk_t, w_uv) = if weights.has(ATTN_K_B) {
            let w_uk_t = weights.heads(ATTN_K_B, heads, rank, nope)?;
            (transposed(&w_uk_t), w_uk_t, weights.heads("attn_v_b.weight", heads, v_dim, rank)?)
        } else {
            // Older files keep kv_b in one piece: for each head the rows of its key, then those of its value.
            let kv_b = weights.matrix(ATTN_KV_B, heads * (nope + v_dim), rank)?;
            let cut = |first: usize, rows: usize| -> Vec<Matrix> {
                (0..heads).map(|head| kv_b.row_range(head * (nope + v_dim) + first, rows)).collect()
            };
            let w_uk = cut(0, nope);
            (w_uk.clone(), transposed(&w_uk), cut(nope, v_dim))
        };
        Ok(Self {
            softmax_scale: softmax_scale(config),
            q,
            kv_a_proj_with_mqa: weights.matrix("attn_kv_a_mqa.weight", rank + rope, hidden)?,
            kv_a_layernorm: weights.vector("attn_kv_a_norm.weight", rank)?,
            w_uk,
            w_uk_t,
            w_uv,
            o_proj: weights.matrix("attn_output.weight", hidden, heads * v_dim)?,
            sparse: Sparse::load(weights, config)?,
            config: config.clone(),
        })
    }

    #[rustfmt::skip]
    pub(crate) fn forward(&self, cpu: &Cpu, x: &Act, step: &StepContext<'_>, kv: &mut KvCache, layer_idx: usize) -> Act {
        let DeepseekConfig { kv_lora_rank: r, qk_nope_head_dim: n, qk_rope_head_dim: p, .. } = self.config;
        let (eps, layout) = (self.config.common.rms_norm_eps, self.config.common.rope.layout);
        let (mut q, kv_a, c_q) = match &self.q {
            QProj::Full { q_proj } => {
                let [q, kv_a] = cpu.matmuls(x, [q_proj, &self.kv_a_proj_with_mqa]);      // [T, H·(N+P)] [T, R+P]
                (q, kv_a, None)
            }
            QProj::LowRank { q_a_proj, q_a_layernorm, q_b_proj } => {
                let [q_a, kv_a] = cpu.matmuls(x, [q_a_proj, &self.kv_a_proj_with_mqa]);
                let c_q = cpu.rms_norm(&q_a, q_a_layernorm, eps);                        // [T, Rq]       c^Q   (6)
                (cpu.matmul(&c_q, q_b_proj), kv_a, Some(c_q))                            // [T, H·(N+P)]  q^C q^R (7)
            }
        };
        cpu.rope(&mut q, &step.rope, n + p, n, layout);                                  //               q^R   (8)
        let c_kv = cpu.rms_norm(&kv_a.columns(0, r), &self.kv_a_layernorm, eps);         // [T, R]        c^KV  (1)
        let mut k_pe = kv_a.columns(r, p);                                               // one for all H
        cpu.rope(&mut k_pe, &step.rope, p, 0, layout);                                   // [T, P]        k^R   (3)
        let k_index = self.sparse.as_ref().map(|sparse| sparse.keys.forward(cpu, x, &step.rope));
        let parts: Vec<&Act> = [&c_kv, &k_pe].into_iter().chain(&k_index).collect();
        for span in step.spans {
            kv.write((layer_idx, 0), span.blocks, span.positions(), span.rows.start, &parts);
        }
        let latents = kv.rows(layer_idx, 0, 0);
        let chosen = self.sparse.as_ref().zip(c_q.as_ref()).map(|(sparse, c_q)| {
            let spans: Vec<_> = step.spans.iter().map(IndexSpan::from).collect();
            sparse.indexer.select(cpu, c_q, x, &step.rope, kv.rows(layer_idx, 0, r + p), &spans)
        });
        let o = self.attend(cpu, &q, step.spans, latents, chosen.as_deref());            // [T, H·V]      o     (10)
        cpu.matmul(&o, &self.o_proj)                                                     // [T, D]        u     (11)
    }

    /// Attention of all spans, each in the form of its phase, of tokens with a choice over what was `chosen`: `[T, H·V]`.
    fn attend(
        &self,
        cpu: &Cpu,
        q: &Act,
        spans: &[Span<'_>],
        latents: BlockRows<'_>,
        chosen: Option<&[Vec<u32>]>,
    ) -> Act {
        let mut out = Act::zeros(q.rows(), self.config.common.num_attention_heads * self.config.v_head_dim);
        let mut place = |rows: &[usize], part: &Act| {
            for (i, &row) in rows.iter().enumerate() {
                out.row_mut(row).copy_from_slice(part.row(i));
            }
        };
        let mut decode_rows = Vec::new();
        let mut decode_spans = Vec::new();
        for span in spans {
            let (dense, sparse) = self.split(span);
            let rows: Vec<usize> = dense.rows.clone().collect();
            match span.phase {
                _ if rows.is_empty() => {}
                Phase::Prefill => place(&rows, &self.expanded(cpu, &q.select_rows(&rows), &dense, latents)),
                Phase::Decode => {
                    let first = decode_rows.len();
                    decode_spans.push(AttendSpan { rows: first..first + rows.len(), ..dense.attend() });
                    decode_rows.extend(rows);
                }
            }
            let Some(chosen) = chosen else { continue };
            for rows in sparse.collect::<Vec<_>>().chunks(ABSORBED_TOKENS) {
                let row = |&position: &u32| ListedRow {
                    source: 0,
                    place: latents.place(span.blocks, position as usize),
                };
                let lists: RowLists =
                    rows.iter().map(|&token| chosen[token].iter().map(row).collect()).collect();
                let attend = |q: &Act, shape| cpu.listed_attention(q, &[latents], &lists, shape, &[]);
                place(rows, &self.absorbed(cpu, &q.select_rows(rows), attend));
            }
        }
        if !decode_rows.is_empty() {
            let attend = |q: &Act, shape| cpu.attention(q, latents, latents, &decode_spans, shape);
            place(&decode_rows, &self.absorbed(cpu, &q.select_rows(&decode_rows), attend));
        }
        out
    }

    /// The tokens of a span that see all before them, and the rows of those that have a choice.
    fn split<'a>(&self, span: &Span<'a>) -> (Span<'a>, std::ops::Range<usize>) {
        let len = span.rows.len();
        let seen_whole = self.sparse.as_ref().map_or(usize::MAX, |sparse| sparse.indexer.config().index_topk);
        let dense = seen_whole.saturating_sub(span.first_pos).min(len);
        let cut = span.rows.start + dense;
        (Span { rows: span.rows.start..cut, ..span.clone() }, cut..span.rows.end)
    }

    /// The form without expansion: one key-value head, whose key is the cached row and whose value is its latent. `attend` takes
    /// queries over such rows to outputs of the latents' width.
    #[rustfmt::skip]
    fn absorbed(&self, cpu: &Cpu, q: &Act, attend: impl FnOnce(&Act, AttentionShape) -> Act) -> Act {
        let DeepseekConfig { kv_lora_rank: r, qk_nope_head_dim: n, qk_rope_head_dim: p, .. } = self.config;
        let heads = self.config.common.num_attention_heads;
        let tokens = q.rows();
        let q_heads = q.clone().reshaped(n + p);
        let q_c = cpu.heads_matmul(q_heads.columns(0, n).reshaped(heads * n), &self.w_uk_t); // [T, H·R]  W^UK^T q^C
        let q_c = q_c.reshaped(r);
        let q_pe = q_heads.columns(n, p);
        let mut q_full = Act::zeros(tokens * heads, r + p);                              // [T·H, R|P]
        for row in 0..tokens * heads {
            q_full.row_mut(row)[..r].copy_from_slice(q_c.row(row));
            q_full.row_mut(row)[r..].copy_from_slice(q_pe.row(row));
        }
        let shape =
            AttentionShape { heads, kv_heads: 1, key_dim: r + p, value_dim: r, scale: self.softmax_scale };
        let o_c = attend(&q_full.reshaped(heads * (r + p)), shape);                      // [T, H·R]
        cpu.heads_matmul(o_c, &self.w_uv)                                                // [T, H·V]
    }

    /// The form that expands keys and values of the whole context, a group of heads at a time.
    #[rustfmt::skip]
    fn expanded(&self, cpu: &Cpu, q: &Act, span: &Span<'_>, latents: BlockRows<'_>) -> Act {
        let DeepseekConfig { kv_lora_rank: r, qk_nope_head_dim: n, qk_rope_head_dim: p, v_head_dim: v, .. } = self.config;
        let heads = self.config.common.num_attention_heads;
        let context = span.first_pos + span.rows.len();
        let c_kv = latents.gather(span.blocks, context, 0..r);                           // [S, R]
        let k_pe = latents.gather(span.blocks, context, r..r + p);                       // [S, P]
        let group = (EXPANDED_BYTES_MAX / (context * (n + p + v) * size_of::<f32>())).clamp(1, heads);
        let mut out = Act::zeros(q.rows(), heads * v);
        for first in (0..heads).step_by(group) {
            let group = group.min(heads - first);
            let k_nope = cpu.shared_heads_matmul(&c_kv, &self.w_uk[first..first + group]); // [S, g·N]    k^C   (2)
            let values = cpu.shared_heads_matmul(&c_kv, &self.w_uv[first..first + group]); // [S, g·V]    v^C   (5)
            let keys = join_heads(&k_nope, &k_pe, n);                                    // [S, g·(N+P)]  k     (4)
            let q = q.columns(first * (n + p), group * (n + p));
            let whole = AttendSpan { rows: 0..q.rows(), first_pos: span.first_pos, blocks: &[BlockId(0)] };
            let shape =
                AttentionShape { heads: group, kv_heads: group, key_dim: n + p, value_dim: v, scale: self.softmax_scale };
            let keys = BlockRows { data: keys.as_slice(), block_len: context, width: keys.cols() };
            let values = BlockRows { data: values.as_slice(), block_len: context, width: values.cols() };
            let o = cpu.attention(&q, keys, values, &[whole], shape);                    // [T, g·V]
            for row in 0..out.rows() {
                out.row_mut(row)[first * v..][..group * v].copy_from_slice(o.row(row));
            }
        }
        out
    }
}

impl Sparse {
    fn load(weights: &LayerBinder<'_>, config: &DeepseekConfig) -> Result<Option<Self>, Error> {
        let (Some(indexer), Some(q_rank)) = (config.indexer, config.q_lora_rank) else { return Ok(None) };
        let (hidden, rope) = (config.common.hidden_size, IndexRope { offset: 0, layout: RopeLayout::Halves });
        Ok(Some(Self {
            indexer: Indexer::load(weights, indexer, rope, hidden, q_rank)?,
            keys: IndexKeys::load(weights, indexer, rope, hidden)?,
        }))
    }
}

/// In V3.2 a token may see itself and all before it.
impl<'a> From<&Span<'a>> for IndexSpan<'a> {
    fn from(span: &Span<'a>) -> Self {
        let visible = span.positions().map(|position| position + 1).collect();
        Self { rows: span.rows.clone(), visible, blocks: span.blocks }
    }
}

/// Keys of all heads: each head's own part, then the rope part that all share.
fn join_heads(k_nope: &Act, k_pe: &Act, nope: usize) -> Act {
    let (heads, rope) = (k_nope.cols() / nope, k_pe.cols());
    let mut keys = Act::zeros(k_nope.rows(), heads * (nope + rope));
    for row in 0..keys.rows() {
        for (key, own) in
            keys.row_mut(row).chunks_exact_mut(nope + rope).zip(k_nope.row(row).chunks_exact(nope))
        {
            key[..nope].copy_from_slice(own);
            key[nope..].copy_from_slice(k_pe.row(row));
        }
    }
    keys
}

/// `(N + P)^-1/2`, times the square of YaRN's temperature where the configuration names one.
fn softmax_scale(config: &DeepseekConfig) -> f32 {
    let plain = 1.0 / ((config.qk_nope_head_dim + config.qk_rope_head_dim) as f64).sqrt();
    let correction = match config.common.rope.scaling {
        RopeScaling::Yarn { factor, mscale_all_dim, .. } if mscale_all_dim != 0.0 => {
            yarn_mscale(factor, mscale_all_dim)
        }
        _ => 1.0,
    };
    (plain * correction * correction) as f32
}
