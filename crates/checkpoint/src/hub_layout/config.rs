//! The parts of a hub `config.json` that are used, with the hub's names, and checked.

use serde::Deserialize;
use shoal_base::limits::{CONTEXT_LEN_MAX, EXPERT_COUNT_MAX, LAYER_COUNT_MAX, VOCAB_COUNT_MAX, WIDTH_MAX};

use crate::Error;
use crate::error::shown;

/// A model's configuration. What only some families have is optional.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Config {
    pub(super) model_type: String,
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    /// Width of dense layers; V4 has none.
    #[serde(default)]
    pub(super) intermediate_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    pub(super) num_key_value_heads: Option<usize>,
    pub(super) max_position_embeddings: usize,
    pub(super) rms_norm_eps: f32,
    pub(super) head_dim: Option<usize>,
    #[serde(default)]
    pub(super) tie_word_embeddings: bool,
    rope_theta: Option<f32>,
    rope_scaling: Option<RopeScaling>,
    /// Where recent writers put both.
    rope_parameters: Option<RopeScaling>,
    /// Whether the numbers that turn together are neighbours.
    rope_interleave: Option<bool>,
    quantization_config: Option<Quantization>,

    pub(super) q_lora_rank: Option<usize>,
    #[serde(default)]
    pub(super) kv_lora_rank: usize,
    #[serde(default)]
    pub(super) qk_nope_head_dim: usize,
    #[serde(default)]
    pub(super) qk_rope_head_dim: usize,
    #[serde(default)]
    pub(super) v_head_dim: usize,

    #[serde(default)]
    pub(super) first_k_dense_replace: usize,
    #[serde(default)]
    pub(super) n_routed_experts: usize,
    #[serde(default)]
    pub(super) n_shared_experts: usize,
    #[serde(default)]
    pub(super) num_experts_per_tok: usize,
    #[serde(default)]
    pub(super) moe_intermediate_size: usize,
    pub(super) n_group: Option<usize>,
    pub(super) topk_group: Option<usize>,
    pub(super) scoring_func: Option<String>,
    #[serde(default)]
    pub(super) norm_topk_prob: bool,
    pub(super) routed_scaling_factor: Option<f32>,
    num_nextn_predict_layers: Option<usize>,

    #[serde(default)]
    pub(super) index_n_heads: usize,
    #[serde(default)]
    pub(super) index_head_dim: usize,
    #[serde(default)]
    pub(super) index_topk: usize,

    /// For each layer of V4, and its draft layers.
    #[serde(default)]
    pub(super) compress_ratios: Vec<usize>,
    pub(super) compress_rope_theta: Option<f32>,
    pub(super) sliding_window: Option<usize>,
    #[serde(default)]
    pub(super) o_groups: usize,
    #[serde(default)]
    pub(super) o_lora_rank: usize,
    #[serde(default)]
    pub(super) hc_mult: usize,
    #[serde(default)]
    pub(super) hc_sinkhorn_iters: usize,
    pub(super) hc_eps: Option<f32>,
    #[serde(default)]
    pub(super) num_hash_layers: usize,
    pub(super) swiglu_limit: Option<f32>,
}

/// How rotation is stretched beyond the trained context.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct RopeScaling {
    /// The older name of `rope_type`; some files have both.
    r#type: Option<String>,
    rope_type: Option<String>,
    rope_theta: Option<f32>,
    pub(super) factor: Option<f32>,
    pub(super) original_max_position_embeddings: Option<usize>,
    pub(super) beta_fast: Option<f32>,
    pub(super) beta_slow: Option<f32>,
    pub(super) mscale_all_dim: Option<f64>,
    pub(super) low_freq_factor: Option<f32>,
    pub(super) high_freq_factor: Option<f32>,
}

impl RopeScaling {
    /// Which rule it is.
    pub(super) fn kind(&self) -> &str {
        self.rope_type.as_deref().or(self.r#type.as_deref()).unwrap_or("default")
    }
}

#[derive(Clone, Debug, Deserialize)]
struct Quantization {
    weight_block_size: Option<[usize; 2]>,
}

/// Which names and layouts a model uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Grouped-query attention.
    Llama,
    /// As Llama, with biases.
    Qwen2,
    /// Latent attention and experts chosen by softmax: V2, V2-Lite.
    DeepseekV2,
    /// The same chosen by sigmoid: V3, R1.
    DeepseekV3,
    /// The same with an indexer: V3.2.
    DeepseekV32,
    /// Window and compressed attention, hyper-connections: V4.
    DeepseekV4,
}

impl Family {
    /// The family, from `model_type` alone.
    fn named(model_type: &str) -> Option<Self> {
        Some(match model_type {
            "llama" => Self::Llama,
            "qwen2" => Self::Qwen2,
            "deepseek_v2" => Self::DeepseekV2,
            "deepseek_v3" => Self::DeepseekV3,
            "deepseek_v32" => Self::DeepseekV32,
            "deepseek_v4" => Self::DeepseekV4,
            _ => return None,
        })
    }

    /// `general.architecture`.
    pub(super) const fn architecture(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::DeepseekV2 | Self::DeepseekV3 => "deepseek2",
            Self::DeepseekV32 => "deepseek32",
            Self::DeepseekV4 => "deepseek4",
        }
    }

    /// The scores of experts where the configuration does not name them: what the family's reference computes.
    pub(super) const fn scoring(self) -> &'static str {
        match self {
            Self::DeepseekV3 | Self::DeepseekV32 => "sigmoid",
            Self::DeepseekV4 => "sqrtsoftplus",
            Self::Llama | Self::Qwen2 | Self::DeepseekV2 => "softmax",
        }
    }
}

/// The error of a field that no model can have.
pub(super) fn bad(file: &str, key: &str, expected: impl Into<Box<str>>, found: impl ToString) -> Error {
    let (file, key, found) = (file.to_owned(), format!("`{key}`"), found.to_string().into());
    Error::Field { file, key, expected: expected.into(), found }
}

impl Config {
    /// Checks every number that sizes follow from, so that no product of a few of them can overflow; `file` names the file.
    pub(super) fn check(&self, file: &str) -> Result<Family, Error> {
        let Some(family) = Family::named(&self.model_type) else {
            let expected = "llama, qwen2, deepseek_v2, deepseek_v3, deepseek_v32 or deepseek_v4";
            return Err(bad(file, "model_type", expected, shown(&self.model_type)));
        };
        let width = WIDTH_MAX as usize;
        let is_v4 = family == Family::DeepseekV4;
        for (key, value, min, max) in [
            ("vocab_size", self.vocab_size, 1, VOCAB_COUNT_MAX),
            ("hidden_size", self.hidden_size, 1, width),
            ("intermediate_size", self.intermediate_size, usize::from(!is_v4), width),
            ("num_hidden_layers", self.num_hidden_layers, 1, LAYER_COUNT_MAX as usize),
            ("num_attention_heads", self.num_attention_heads, 1, width),
            ("num_key_value_heads", self.key_value_heads(), 1, width),
            ("max_position_embeddings", self.max_position_embeddings, 1, CONTEXT_LEN_MAX as usize),
            ("head_dim", self.head_dim.unwrap_or(0), 0, width),
            ("q_lora_rank", self.q_lora_rank.unwrap_or(0), 0, width),
            ("kv_lora_rank", self.kv_lora_rank, 0, width),
            ("qk_nope_head_dim", self.qk_nope_head_dim, 0, width),
            ("qk_rope_head_dim", self.qk_rope_head_dim, 0, width),
            ("v_head_dim", self.v_head_dim, 0, width),
            ("n_routed_experts", self.n_routed_experts, 0, EXPERT_COUNT_MAX as usize),
            ("n_shared_experts", self.n_shared_experts, 0, EXPERT_COUNT_MAX as usize),
            ("num_experts_per_tok", self.num_experts_per_tok, 0, EXPERT_COUNT_MAX as usize),
            ("moe_intermediate_size", self.moe_intermediate_size, 0, width),
            ("num_nextn_predict_layers", self.draft_layers(), 0, LAYER_COUNT_MAX as usize),
            ("index_n_heads", self.index_n_heads, 0, width),
            ("index_head_dim", self.index_head_dim, 0, width),
            ("o_groups", self.o_groups, usize::from(is_v4), width),
            ("o_lora_rank", self.o_lora_rank, 0, width),
            ("hc_mult", self.hc_mult, 0, 1 << 10),
            ("weight_block_size", self.weight_block()[0], 1, width),
            ("weight_block_size", self.weight_block()[1], 1, width),
        ] {
            if value < min || value > max {
                return Err(bad(file, key, format!("a number from {min} to {max}"), value));
            }
        }
        if is_v4 && self.compress_ratios.len() < self.num_hidden_layers {
            let expected = format!("a number for each of {} layers", self.num_hidden_layers);
            return Err(bad(file, "compress_ratios", expected, self.compress_ratios.len()));
        }
        if self.rope_interleave == Some(false) {
            return Err(bad(file, "rope_interleave", "true", "false"));
        }
        Ok(family)
    }

    /// Elements of a head of a model without latent attention.
    pub(super) fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    /// Heads of keys and values.
    pub(super) fn key_value_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// Draft layers that follow the decoder layers, as far as the configuration knows.
    pub(super) fn draft_layers(&self) -> usize {
        self.num_nextn_predict_layers.unwrap_or(0)
    }

    /// Whether layer `layer` has experts.
    pub(super) const fn is_moe(&self, layer: usize) -> bool {
        self.n_routed_experts > 0 && layer >= self.first_k_dense_replace
    }

    /// Base of the frequencies.
    pub(super) fn rope_theta(&self) -> f32 {
        let recent = || self.rope_parameters.as_ref().and_then(|rope| rope.rope_theta);
        self.rope_theta.or_else(recent).unwrap_or(10_000.0)
    }

    /// How rotation is stretched, if it is.
    pub(super) fn rope_scaling(&self) -> Option<&RopeScaling> {
        let found = self.rope_scaling.as_ref().or(self.rope_parameters.as_ref());
        found.filter(|scaling| scaling.kind() != "default")
    }

    /// Rows and columns of a block of FP8 weights.
    pub(super) fn weight_block(&self) -> [usize; 2] {
        self.quantization_config.as_ref().and_then(|config| config.weight_block_size).unwrap_or([128, 128])
    }
}
