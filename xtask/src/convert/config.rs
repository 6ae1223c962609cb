//! The parts of a hub `config.json` that the converter needs, with the hub's names.

use anyhow::{Result, bail};
use serde::Deserialize;

/// A model's configuration. What only some families have is optional.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Config {
    pub(crate) model_type: String,
    pub(crate) vocab_size: usize,
    pub(crate) hidden_size: usize,
    /// Width of dense layers; V4 has none.
    #[serde(default)]
    pub(crate) intermediate_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) num_key_value_heads: usize,
    pub(crate) max_position_embeddings: usize,
    pub(crate) rms_norm_eps: f32,
    pub(crate) head_dim: Option<usize>,
    #[serde(default)]
    pub(crate) tie_word_embeddings: bool,
    pub(crate) rope_theta: Option<f32>,
    pub(crate) rope_scaling: Option<RopeScaling>,

    pub(crate) q_lora_rank: Option<usize>,
    #[serde(default)]
    pub(crate) kv_lora_rank: usize,
    #[serde(default)]
    pub(crate) qk_nope_head_dim: usize,
    #[serde(default)]
    pub(crate) qk_rope_head_dim: usize,
    #[serde(default)]
    pub(crate) v_head_dim: usize,

    #[serde(default)]
    pub(crate) first_k_dense_replace: usize,
    #[serde(default)]
    pub(crate) n_routed_experts: usize,
    #[serde(default)]
    pub(crate) n_shared_experts: usize,
    #[serde(default)]
    pub(crate) num_experts_per_tok: usize,
    #[serde(default)]
    pub(crate) moe_intermediate_size: usize,
    pub(crate) n_group: Option<usize>,
    pub(crate) topk_group: Option<usize>,
    pub(crate) scoring_func: Option<String>,
    #[serde(default)]
    pub(crate) norm_topk_prob: bool,
    pub(crate) routed_scaling_factor: Option<f32>,
    pub(crate) num_nextn_predict_layers: Option<usize>,

    #[serde(default)]
    pub(crate) index_n_heads: usize,
    #[serde(default)]
    pub(crate) index_head_dim: usize,
    #[serde(default)]
    pub(crate) index_topk: usize,

    /// For each layer of V4, and its draft layer.
    #[serde(default)]
    pub(crate) compress_ratios: Vec<usize>,
    pub(crate) compress_rope_theta: Option<f32>,
    #[serde(default)]
    pub(crate) sliding_window: Option<usize>,
    #[serde(default)]
    pub(crate) o_groups: usize,
    #[serde(default)]
    pub(crate) o_lora_rank: usize,
    #[serde(default)]
    pub(crate) hc_mult: usize,
    #[serde(default)]
    pub(crate) hc_sinkhorn_iters: usize,
    pub(crate) hc_eps: Option<f32>,
    #[serde(default)]
    pub(crate) num_hash_layers: usize,
    pub(crate) swiglu_limit: Option<f32>,
}

/// How rotation is stretched beyond the trained context.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RopeScaling {
    #[serde(alias = "rope_type")]
    pub(crate) r#type: String,
    pub(crate) factor: f32,
    pub(crate) original_max_position_embeddings: Option<usize>,
    pub(crate) beta_fast: Option<f32>,
    pub(crate) beta_slow: Option<f32>,
    pub(crate) mscale_all_dim: Option<f64>,
    pub(crate) low_freq_factor: Option<f32>,
    pub(crate) high_freq_factor: Option<f32>,
}

/// Which names and layouts a model uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Rows of Q and K are reordered on the way.
    Llama,
    /// As Llama, with biases and without the reordering.
    Qwen2,
    /// Latent attention and experts: V2, V2-Lite, V3.
    Deepseek,
    /// The same with an indexer: V3.2.
    DeepseekV32,
    /// Window and compressed attention, hyper-connections: V4.
    DeepseekV4,
}

impl Family {
    /// `general.architecture`.
    pub(crate) const fn architecture(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Deepseek => "deepseek2",
            Self::DeepseekV32 => "deepseek32",
            Self::DeepseekV4 => "deepseek4",
        }
    }
}

impl Config {
    /// The family, from `model_type` alone.
    pub(crate) fn family(&self) -> Result<Family> {
        Ok(match self.model_type.as_str() {
            "llama" => Family::Llama,
            "qwen2" => Family::Qwen2,
            "deepseek_v2" | "deepseek_v3" => Family::Deepseek,
            "deepseek_v32" => Family::DeepseekV32,
            "deepseek_v4" => Family::DeepseekV4,
            other => {
                bail!("model_type: expected llama, qwen2, deepseek_v2, _v3, _v32 or _v4, found `{other}`")
            }
        })
    }

    /// Elements of a head of a model without latent attention.
    pub(crate) fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads)
    }

    /// Draft layers that follow the decoder layers.
    pub(crate) fn draft_layers(&self) -> usize {
        self.num_nextn_predict_layers.unwrap_or(0)
    }

    /// Whether layer `layer` has experts.
    pub(crate) fn is_moe(&self, layer: usize) -> bool {
        self.n_routed_experts > 0 && layer >= self.first_k_dense_replace
    }
}
