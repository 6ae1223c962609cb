//! Llama and Qwen2: grouped-query attention (GQA) with a SwiGLU feed-forward network.
//!
//! Source   Touvron et al. 2023 (arXiv 2302.13971, section 2.2); Qwen2 (arXiv 2407.10671, section 2.2) adds biases to
//!          q, k and v. The R1 distills are these models.
//! Golden   tests/golden/llama and tests/golden/qwen2: hidden states by layer and logits
//! Letters  T tokens in this step · D hidden_size · H num_attention_heads · G num_key_value_heads · K head_dim

use shoal_kernels::attention::AttentionShape;
use shoal_kernels::ops::FeedForward;
use shoal_kernels::{Act, Cpu, Matrix};

use crate::Error;
use crate::config::LlamaConfig;
use crate::kv_cache::KvCache;
use crate::step::StepContext;
use crate::weights::LayerBinder;

pub(crate) struct DecoderLayer {
    layer_idx: usize,
    rms_norm_eps: f32,
    input_layernorm: Vec<f32>,
    self_attn: Attention,
    post_attention_layernorm: Vec<f32>,
    mlp: FeedForward,
}

struct Attention {
    shape: AttentionShape,
    config: LlamaConfig,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Matrix,
}

/// A projection with Qwen2's bias or Llama's lack of one.
struct Linear {
    weight: Matrix,
    bias: Option<Vec<f32>>,
}

impl DecoderLayer {
    pub(crate) fn load(
        layer_idx: usize,
        weights: &LayerBinder<'_>,
        config: &LlamaConfig,
    ) -> Result<Self, Error> {
        let common = &config.common;
        Ok(Self {
            layer_idx,
            rms_norm_eps: common.rms_norm_eps,
            input_layernorm: weights.vector("attn_norm.weight", common.hidden_size)?,
            self_attn: Attention::load(weights, config)?,
            post_attention_layernorm: weights.vector("ffn_norm.weight", common.hidden_size)?,
            mlp: weights.feed_forward("", common.hidden_size, common.intermediate_size, f32::INFINITY)?,
        })
    }

    pub(crate) fn forward(&self, cpu: &Cpu, mut x: Act, step: &StepContext<'_>, kv: &mut KvCache) -> Act {
        let normed = cpu.rms_norm(&x, &self.input_layernorm, self.rms_norm_eps); // [T, D]
        let y = self.self_attn.forward(&cpu.in_section("attention"), &normed, step, kv, self.layer_idx);
        cpu.add(&mut x, &y);
        let normed = cpu.rms_norm(&x, &self.post_attention_layernorm, self.rms_norm_eps);
        cpu.add(&mut x, &cpu.in_section("dense ffn").feed_forward(&normed, &self.mlp));
        x
    }
}

impl Attention {
    fn load(weights: &LayerBinder<'_>, config: &LlamaConfig) -> Result<Self, Error> {
        let (hidden, dim) = (config.common.hidden_size, config.head_dim);
        let (heads, kv_heads) = (config.common.num_attention_heads, config.num_key_value_heads);
        let linear = |name: &str, rows| -> Result<Linear, Error> {
            let weight = weights.matrix(&format!("{name}.weight"), rows, hidden)?;
            Ok(Linear { weight, bias: weights.optional_vector(&format!("{name}.bias"), rows)? })
        };
        let scale = 1.0 / (dim as f32).sqrt();
        Ok(Self {
            shape: AttentionShape { heads, kv_heads, key_dim: dim, value_dim: dim, scale },
            config: config.clone(),
            q_proj: linear("attn_q", heads * dim)?,
            k_proj: linear("attn_k", kv_heads * dim)?,
            v_proj: linear("attn_v", kv_heads * dim)?,
            o_proj: weights.matrix("attn_output.weight", hidden, heads * dim)?,
        })
    }

    #[rustfmt::skip]
    fn forward(&self, cpu: &Cpu, x: &Act, step: &StepContext<'_>, kv: &mut KvCache, layer_idx: usize) -> Act {
        let (dim, layout) = (self.config.head_dim, self.config.common.rope.layout);
        let [mut q, mut k, mut v] =
            cpu.matmuls(x, [&self.q_proj.weight, &self.k_proj.weight, &self.v_proj.weight]); // [T, H·K] [T, G·K]
        self.q_proj.add_bias(cpu, &mut q);
        self.k_proj.add_bias(cpu, &mut k);
        self.v_proj.add_bias(cpu, &mut v);
        cpu.rope(&mut q, &step.rope, dim, 0, layout);
        cpu.rope(&mut k, &step.rope, dim, 0, layout);
        for span in step.spans {
            kv.write((layer_idx, 0), span.blocks, span.positions(), span.rows.start, &[&k, &v]);
        }
        let spans: Vec<_> = step.spans.iter().map(|span| span.attend()).collect();
        let values_at = self.shape.kv_heads * dim;                                           // keys, then values
        let (keys, values) = (kv.rows(layer_idx, 0, 0), kv.rows(layer_idx, 0, values_at));
        let o = cpu.attention(&q, keys, values, &spans, self.shape);
        cpu.matmul(&o, &self.o_proj)                                                         // [T, D]
    }
}

impl Linear {
    fn add_bias(&self, cpu: &Cpu, y: &mut Act) {
        if let Some(bias) = &self.bias {
            cpu.add_bias(y, bias);
        }
    }
}
