//! Metadata to a checked configuration: what is true of a model is made true here, once.
//!
//! The family comes from `general.architecture` alone, never from a size. Names are the checkpoint's: the fields of
//! the hub's `config.json`, read from the GGUF keys that stand for them.

use shoal_base::limits::{CONTEXT_LEN_MAX, EXPERT_COUNT_MAX, LAYER_COUNT_MAX, WIDTH_MAX};
use shoal_checkpoint::{Checkpoint, Metadata};
use shoal_kernels::rope::RopeLayout;
use shoal_kernels::route::{GroupScore, Scoring};

use crate::Error;

/// The architectures that run, as files name them.
pub const ARCHITECTURES: &str = "llama, qwen2, deepseek2";

/// What every family has.
#[derive(Clone, Debug)]
pub struct CommonConfig {
    /// Tokens in the vocabulary.
    pub vocab_size: usize,
    /// Decoder layers.
    pub num_hidden_layers: usize,
    /// Width of the residual stream (D).
    pub hidden_size: usize,
    /// Width of a dense feed-forward layer (F).
    pub intermediate_size: usize,
    /// Longest sequence the model was made for, in tokens.
    pub max_position_embeddings: usize,
    /// Added to the mean square in every RMS norm.
    pub rms_norm_eps: f32,
    /// Query heads (H).
    pub num_attention_heads: usize,
    /// Rotary embedding.
    pub rope: RopeConfig,
}

/// How positions become angles.
#[derive(Clone, Debug)]
pub struct RopeConfig {
    /// Elements of a head that are turned (P).
    pub dim: usize,
    /// Base of the frequencies.
    pub theta: f64,
    /// Stretching for long contexts.
    pub scaling: RopeScaling,
    /// Which elements form a pair.
    pub layout: RopeLayout,
}

/// Stretching of the angles for contexts longer than those of training.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// None.
    None,
    /// All frequencies divided by a factor.
    Linear {
        /// The factor.
        factor: f64,
    },
    /// YaRN: low frequencies divided, high ones kept. Source: Peng et al. 2023.
    Yarn {
        /// The factor.
        factor: f64,
        /// Context of the training before stretching.
        original_max_position_embeddings: f64,
        /// Turns over that context above which a frequency is kept.
        beta_fast: f64,
        /// Turns below which it is divided.
        beta_slow: f64,
        /// DeepSeek's weight of the softmax correction; 0 for none.
        mscale_all_dim: f64,
    },
}

/// Grouped-query attention with a dense feed-forward network: Llama, Qwen2.
#[derive(Clone, Debug)]
pub struct LlamaConfig {
    /// What every family has.
    pub common: CommonConfig,
    /// Key-value heads (G).
    pub num_key_value_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
}

/// Multi-head latent attention with a mixture of experts: DeepSeek V2-Lite to V3.1.
#[derive(Clone, Debug)]
pub struct DeepseekConfig {
    /// What every family has.
    pub common: CommonConfig,
    /// Width of the compressed query (Rq); absent in V2-Lite.
    pub q_lora_rank: Option<usize>,
    /// Width of the compressed key and value (R).
    pub kv_lora_rank: usize,
    /// Elements of a head's query and key without position (N).
    pub qk_nope_head_dim: usize,
    /// Elements with rotary position (P).
    pub qk_rope_head_dim: usize,
    /// Elements of a head's value (V).
    pub v_head_dim: usize,
    /// Layers from the first on that have a dense feed-forward network.
    pub first_k_dense_replace: usize,
    /// The mixture of experts; absent if all layers are dense.
    pub moe: Option<MoeConfig>,
}

/// The mixture of experts of a layer.
#[derive(Clone, Debug)]
pub struct MoeConfig {
    /// Experts to choose from (E).
    pub n_routed_experts: usize,
    /// Experts that every token goes to, stored as one network of their joint width.
    pub n_shared_experts: usize,
    /// Experts a token is routed to.
    pub num_experts_per_tok: usize,
    /// Width of one expert.
    pub moe_intermediate_size: usize,
    /// How logits become scores.
    pub scoring_func: Scoring,
    /// How a group of experts is scored.
    pub group_score: GroupScore,
    /// Groups of experts; 1 for none.
    pub n_group: usize,
    /// Groups whose experts may be chosen.
    pub topk_group: usize,
    /// Whether the chosen weights are divided by their sum.
    pub norm_topk_prob: bool,
    /// What the weights are multiplied with.
    pub routed_scaling_factor: f32,
}

/// A model's configuration, by family.
#[derive(Clone, Debug)]
pub enum ModelConfig {
    /// Llama and Qwen2.
    Llama(LlamaConfig),
    /// DeepSeek V2-Lite to V3.1.
    Deepseek(DeepseekConfig),
}

impl ModelConfig {
    /// Reads and checks the configuration of `checkpoint`.
    ///
    /// # Errors
    /// If a key is missing, has a value no model can have, or contradicts another.
    pub fn read(checkpoint: &Checkpoint) -> Result<Self, Error> {
        let found = checkpoint.metadata().required_str("general.architecture")?.to_owned();
        let keys = Keys { metadata: checkpoint.metadata(), architecture: &found };
        match found.as_str() {
            "llama" => Ok(Self::Llama(keys.llama(checkpoint, RopeLayout::Interleaved)?)),
            "qwen2" => Ok(Self::Llama(keys.llama(checkpoint, RopeLayout::Halves)?)),
            "deepseek2" => Ok(Self::Deepseek(keys.deepseek(checkpoint)?)),
            _ => Err(Error::UnknownArchitecture { model: checkpoint.name(), known: ARCHITECTURES, found }),
        }
    }

    /// What every family has.
    #[must_use]
    pub const fn common(&self) -> &CommonConfig {
        match self {
            Self::Llama(config) => &config.common,
            Self::Deepseek(config) => &config.common,
        }
    }

    /// Routed experts that a token takes in a layer; 0 without a mixture.
    #[must_use]
    pub fn experts_per_token(&self) -> usize {
        match self {
            Self::Llama(_) => 0,
            Self::Deepseek(config) => config.moe.as_ref().map_or(0, |moe| moe.num_experts_per_tok),
        }
    }

    /// Elements that the KV cache keeps for one token in one layer.
    #[must_use]
    pub const fn kv_width(&self) -> usize {
        match self {
            Self::Llama(config) => 2 * config.num_key_value_heads * config.head_dim,
            Self::Deepseek(config) => config.kv_lora_rank + config.qk_rope_head_dim,
        }
    }
}

struct Keys<'a> {
    metadata: &'a Metadata,
    architecture: &'a str,
}

impl Keys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    fn bad<T>(&self, name: &str, expected: impl Into<String>, found: impl ToString) -> Result<T, Error> {
        Err(Error::BadConfig { key: self.key(name), expected: expected.into(), found: found.to_string() })
    }

    /// A count from 1 to `max`.
    fn count(&self, name: &str, max: u32) -> Result<usize, Error> {
        let value = self.metadata.required_u32(&self.key(name))?;
        if value == 0 || value > max {
            return self.bad(name, format!("a number from 1 to {max}"), value);
        }
        Ok(value as usize)
    }

    fn optional_count(&self, name: &str, max: u32) -> Result<Option<usize>, Error> {
        self.metadata.u32(&self.key(name))?.map(|_| self.count(name, max)).transpose()
    }

    /// A finite number above 0, or `default` if the key is absent.
    fn positive(&self, name: &str, default: f64) -> Result<f64, Error> {
        match self.metadata.f32(&self.key(name))? {
            None => Ok(default),
            Some(value) if value.is_finite() && value > 0.0 => Ok(f64::from(value)),
            Some(value) => self.bad(name, "a finite number above 0", value),
        }
    }

    fn common(&self, checkpoint: &Checkpoint, rope: RopeConfig) -> Result<CommonConfig, Error> {
        // The embedding table is the vocabulary that counts: some files say nothing, some are padded.
        let vocab_size = crate::weights::embedding_rows(checkpoint)?;
        let eps = "attention.layer_norm_rms_epsilon";
        let rms_norm_eps = self.metadata.required_f32(&self.key(eps))?;
        if !(rms_norm_eps.is_finite() && rms_norm_eps >= 0.0) {
            return self.bad(eps, "a finite number of at least 0", rms_norm_eps);
        }
        Ok(CommonConfig {
            vocab_size,
            num_hidden_layers: self.count("block_count", LAYER_COUNT_MAX)? - self.draft_layers()?,
            hidden_size: self.count("embedding_length", WIDTH_MAX)?,
            intermediate_size: self.count("feed_forward_length", WIDTH_MAX)?,
            max_position_embeddings: self.count("context_length", CONTEXT_LEN_MAX)?,
            rms_norm_eps,
            num_attention_heads: self.count("attention.head_count", WIDTH_MAX)?,
            rope,
        })
    }

    /// Draft layers stand after the decoder layers and are counted with them.
    fn draft_layers(&self) -> Result<usize, Error> {
        let name = "nextn_predict_layers";
        let drafts = self.metadata.u32(&self.key(name))?.unwrap_or(0) as usize;
        let blocks = self.count("block_count", LAYER_COUNT_MAX)?;
        if drafts >= blocks {
            return self.bad(name, format!("fewer than the {blocks} blocks"), drafts);
        }
        Ok(drafts)
    }

    fn rope(&self, dim: usize, layout: RopeLayout) -> Result<RopeConfig, Error> {
        if dim == 0 || !dim.is_multiple_of(2) {
            return self.bad("rope.dimension_count", "an even number of elements", dim);
        }
        let theta = self.positive("rope.freq_base", 10_000.0)?;
        let factor = self.positive("rope.scaling.factor", 1.0)?;
        let kind = self.metadata.str(&self.key("rope.scaling.type"))?.unwrap_or("none");
        let scaling = match kind {
            _ if factor == 1.0 => RopeScaling::None,
            "none" => RopeScaling::None,
            "linear" => RopeScaling::Linear { factor },
            "yarn" => RopeScaling::Yarn {
                factor,
                original_max_position_embeddings: self
                    .count("rope.scaling.original_context_length", CONTEXT_LEN_MAX)?
                    as f64,
                beta_fast: self.positive("rope.scaling.yarn_beta_fast", 32.0)?,
                beta_slow: self.positive("rope.scaling.yarn_beta_slow", 1.0)?,
                // The key holds a tenth of the hub's number.
                mscale_all_dim: f64::from(
                    self.metadata.f32(&self.key("rope.scaling.yarn_log_multiplier"))?.unwrap_or(0.0),
                ) * 10.0,
            },
            other => return self.bad("rope.scaling.type", "none, linear or yarn", format!("`{other}`")),
        };
        Ok(RopeConfig { dim, theta, scaling, layout })
    }

    fn llama(&self, checkpoint: &Checkpoint, layout: RopeLayout) -> Result<LlamaConfig, Error> {
        let heads = self.count("attention.head_count", WIDTH_MAX)?;
        let num_key_value_heads = self.optional_count("attention.head_count_kv", WIDTH_MAX)?.unwrap_or(heads);
        if !heads.is_multiple_of(num_key_value_heads) {
            return self.bad("attention.head_count_kv", format!("a divisor of {heads}"), num_key_value_heads);
        }
        let hidden_size = self.count("embedding_length", WIDTH_MAX)?;
        let head_dim = match self.optional_count("attention.key_length", WIDTH_MAX)? {
            Some(head_dim) => head_dim,
            None if hidden_size.is_multiple_of(heads) => hidden_size / heads,
            None => return self.bad("embedding_length", format!("a multiple of {heads} heads"), hidden_size),
        };
        let rope_dim = self.optional_count("rope.dimension_count", WIDTH_MAX)?.unwrap_or(head_dim);
        if rope_dim > head_dim {
            return self.bad("rope.dimension_count", format!("at most {head_dim}"), rope_dim);
        }
        let common = self.common(checkpoint, self.rope(rope_dim, layout)?)?;
        Ok(LlamaConfig { common, num_key_value_heads, head_dim })
    }

    fn deepseek(&self, checkpoint: &Checkpoint) -> Result<DeepseekConfig, Error> {
        let rope_dim = self.count("rope.dimension_count", WIDTH_MAX)?;
        // Files made since the latent form was split into k_b and v_b name the per-head widths apart.
        let length = |new: &str, old: &str| match self.optional_count(new, WIDTH_MAX)? {
            Some(length) => Ok(length),
            None => self.count(old, WIDTH_MAX),
        };
        let qk_head_dim = length("attention.key_length_mla", "attention.key_length")?;
        let v_head_dim = length("attention.value_length_mla", "attention.value_length")?;
        if qk_head_dim <= rope_dim {
            return self.bad(
                "attention.key_length_mla",
                format!("more than the {rope_dim} of rope"),
                qk_head_dim,
            );
        }
        let common = self.common(checkpoint, self.rope(rope_dim, RopeLayout::Interleaved)?)?;
        let dense_layers = self.metadata.u32(&self.key("leading_dense_block_count"))?.unwrap_or(0) as usize;
        let first_k_dense_replace = dense_layers.min(common.num_hidden_layers);
        let moe = if first_k_dense_replace < common.num_hidden_layers { Some(self.moe()?) } else { None };
        Ok(DeepseekConfig {
            q_lora_rank: self.optional_count("attention.q_lora_rank", WIDTH_MAX)?,
            kv_lora_rank: self.count("attention.kv_lora_rank", WIDTH_MAX)?,
            qk_nope_head_dim: qk_head_dim - rope_dim,
            qk_rope_head_dim: rope_dim,
            v_head_dim,
            first_k_dense_replace,
            moe,
            common,
        })
    }

    fn moe(&self) -> Result<MoeConfig, Error> {
        let experts = self.count("expert_count", EXPERT_COUNT_MAX)?;
        let num_experts_per_tok = self.count("expert_used_count", experts as u32)?;
        let scoring_func = match self.metadata.u32(&self.key("expert_gating_func"))?.unwrap_or(1) {
            0 | 1 => Scoring::Softmax,
            2 => Scoring::Sigmoid,
            other => return self.bad("expert_gating_func", "1 (softmax) or 2 (sigmoid)", other),
        };
        let (n_group, topk_group) = self.groups(experts, scoring_func)?;
        let kept_experts = topk_group * (experts / n_group);
        if kept_experts < num_experts_per_tok {
            let expected = format!("groups that hold the {num_experts_per_tok} experts of a token");
            return self.bad("expert_group_used_count", expected, topk_group);
        }
        Ok(MoeConfig {
            n_routed_experts: experts,
            n_shared_experts: self.metadata.u32(&self.key("expert_shared_count"))?.unwrap_or(0) as usize,
            num_experts_per_tok,
            moe_intermediate_size: self.count("expert_feed_forward_length", WIDTH_MAX)?,
            scoring_func,
            group_score: if scoring_func == Scoring::Sigmoid { GroupScore::Top2Sum } else { GroupScore::Max },
            n_group,
            topk_group,
            norm_topk_prob: self.metadata.bool(&self.key("expert_weights_norm"))?.unwrap_or(false),
            routed_scaling_factor: self.positive("expert_weights_scale", 1.0)? as f32,
        })
    }

    /// Groups of experts and how many of them a token may use.
    ///
    /// Files of V2, V3 and R1 from before the keys existed leave the groups out, though those models route by
    /// them; the two released shapes with groups are known by their number of experts and their gating.
    fn groups(&self, experts: usize, scoring: Scoring) -> Result<(usize, usize), Error> {
        let n_group = self.optional_count("expert_group_count", experts as u32)?;
        let topk_group = self.optional_count("expert_group_used_count", experts as u32)?;
        let (n_group, topk_group) = match (n_group, topk_group) {
            (Some(n_group), Some(topk_group)) => (n_group, topk_group),
            (None, None) if experts == 256 && scoring == Scoring::Sigmoid => (8, 4),
            (None, None) if experts == 160 && scoring == Scoring::Softmax => (8, 3),
            _ => (1, 1),
        };
        if !experts.is_multiple_of(n_group) {
            return self.bad("expert_group_count", format!("a divisor of {experts} experts"), n_group);
        }
        if topk_group > n_group {
            return self.bad("expert_group_used_count", format!("at most {n_group}"), topk_group);
        }
        Ok((n_group, topk_group))
    }
}
