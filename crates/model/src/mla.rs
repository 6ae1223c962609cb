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
//! Source   DeepSeek-V2 (arXiv 2405.04434) section 2.1, DeepSeek-V3 (arXiv 2412.19437) section 2.1.1: equation
//!          numbers of V3 at right
//! Letters  T tokens in this step · S context · D hidden_size · H heads · N qk_nope_head_dim · P qk_rope_head_dim ·
//!          V v_head_dim · Rq q_lora_rank · R kv_lora_rank

use shoal_base::BlockId;
use shoal_kernels::attention::{AttendSpan, AttentionShape, BlockRows};
use shoal_kernels::{Act, Cpu, Matrix};

use crate::Error;
use crate::config::{DeepseekConfig, RopeScaling};
use crate::kv_cache::KvCache;
use crate::rope::yarn_mscale;
use crate::step::{Phase, Span, StepContext};
use crate::weights::{ATTN_K_B, ATTN_KV_B, LayerBinder, transposed};

/// Memory for the expanded keys and values of a context: as many heads at a time as fit.
pub(crate) const EXPANDED_BYTES_MAX: usize = 64 << 20;

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
            config: config.clone(),
        })
    }

    #[rustfmt::skip]
    pub(crate) fn forward(&self, cpu: &Cpu, x: &Act, step: &StepContext<'_>, kv: &mut KvCache, layer_idx: usize) -> Act {
        let DeepseekConfig { kv_lora_rank: r, qk_nope_head_dim: n, qk_rope_head_dim: p, .. } = self.config;
        let (eps, layout) = (self.config.common.rms_norm_eps, self.config.common.rope.layout);
        let (mut q, kv_a) = match &self.q {
            QProj::Full { q_proj } => {
                let [q, kv_a] = cpu.matmuls(x, [q_proj, &self.kv_a_proj_with_mqa]);      // [T, H·(N+P)] [T, R+P]
                (q, kv_a)
            }
            QProj::LowRank { q_a_proj, q_a_layernorm, q_b_proj } => {
                let [q_a, kv_a] = cpu.matmuls(x, [q_a_proj, &self.kv_a_proj_with_mqa]);
                let c_q = cpu.rms_norm(&q_a, q_a_layernorm, eps);                        // [T, Rq]       c^Q   (6)
                (cpu.matmul(&c_q, q_b_proj), kv_a)                                       // [T, H·(N+P)]  q^C q^R (7)
            }
        };
        cpu.rope(&mut q, &step.rope, n + p, n, layout);                                  //               q^R   (8)
        let c_kv = cpu.rms_norm(&kv_a.columns(0, r), &self.kv_a_layernorm, eps);         // [T, R]        c^KV  (1)
        let mut k_pe = kv_a.columns(r, p);                                               // one for all H
        cpu.rope(&mut k_pe, &step.rope, p, 0, layout);                                   // [T, P]        k^R   (3)
        for span in step.spans {
            kv.write(layer_idx, span.blocks, span.first_pos, span.rows.clone(), &[&c_kv, &k_pe]);
        }
        let latents = kv.rows(layer_idx, 0);
        let o = self.attend(cpu, &q, step.spans, latents);                               // [T, H·V]      o     (10)
        cpu.matmul(&o, &self.o_proj)                                                     // [T, D]        u     (11)
    }

    /// Attention of all spans, each in the form of its phase: `[T, H·V]`.
    fn attend(&self, cpu: &Cpu, q: &Act, spans: &[Span<'_>], latents: BlockRows<'_>) -> Act {
        let mut out = Act::zeros(q.rows(), self.config.common.num_attention_heads * self.config.v_head_dim);
        let mut place = |rows: &[usize], part: &Act| {
            for (i, &row) in rows.iter().enumerate() {
                out.row_mut(row).copy_from_slice(part.row(i));
            }
        };
        let mut decode_rows = Vec::new();
        let mut decode_spans = Vec::new();
        for span in spans {
            let rows: Vec<usize> = span.rows.clone().collect();
            match span.phase {
                Phase::Prefill => place(&rows, &self.expanded(cpu, &q.select_rows(&rows), span, latents)),
                Phase::Decode => {
                    let first = decode_rows.len();
                    decode_spans.push(AttendSpan { rows: first..first + rows.len(), ..span.attend() });
                    decode_rows.extend(rows);
                }
            }
        }
        if !decode_rows.is_empty() {
            place(&decode_rows, &self.absorbed(cpu, &q.select_rows(&decode_rows), &decode_spans, latents));
        }
        out
    }

    /// The form without expansion: one key-value head, whose key is the cached row and whose value is its latent.
    #[rustfmt::skip]
    fn absorbed(&self, cpu: &Cpu, q: &Act, spans: &[AttendSpan<'_>], latents: BlockRows<'_>) -> Act {
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
        let o_c = cpu.attention(&q_full.reshaped(heads * (r + p)), latents, latents, spans, shape); // [T, H·R]
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
