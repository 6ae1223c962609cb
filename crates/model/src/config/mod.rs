//! Metadata to a checked configuration: what is true of a model is made true here, once.
//!
//! The family comes from `general.architecture` alone, never from a size. Names are the checkpoint's: the fields of
//! the hub's `config.json`, read from the GGUF keys that stand for them.

mod deepseek;
mod deepseek_v4;
mod keys;
mod llama;
mod moe;

use shoal_checkpoint::{Checkpoint, Format};
use shoal_kernels::rope::RopeLayout;

pub use deepseek::DeepseekConfig;
pub use deepseek_v4::{Compression, DeepseekV4Config};
pub use llama::LlamaConfig;
pub use moe::MoeConfig;

use crate::Error;
use crate::kv_cache::KvTrack;
use keys::Keys;

/// The architectures that run, as files name them.
pub const ARCHITECTURES: &str = "llama, qwen2, deepseek2, deepseek32, deepseek4";

/// What every family has.
#[derive(Clone, Debug)]
pub struct CommonConfig {
    /// Tokens in the vocabulary.
    pub vocab_size: usize,
    /// Decoder layers.
    pub num_hidden_layers: usize,
    /// Draft layers in the file, which follow the decoder layers.
    pub num_nextn_predict_layers: usize,
    /// Whether they are used.
    pub drafts: bool,
    /// Whether their experts take more than those of the other layers. All slots are as large as the largest expert, so these are not in
    /// slots but in memory like everything that every token needs.
    pub larger_draft_experts: bool,
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

impl CommonConfig {
    /// Layers that are used: draft layers follow the others.
    #[must_use]
    pub const fn layers_used(&self) -> usize {
        self.num_hidden_layers + if self.drafts { self.num_nextn_predict_layers } else { 0 }
    }

    /// Layers whose experts have slots.
    pub(crate) const fn layers_with_slots(&self) -> usize {
        if self.larger_draft_experts { self.num_hidden_layers } else { self.layers_used() }
    }
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

/// The lightning indexer, which chooses what a token attends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexerConfig {
    /// Heads of the index query.
    pub index_n_heads: usize,
    /// Elements of an index query or key.
    pub index_head_dim: usize,
    /// Rows that a token attends to at the most.
    pub index_topk: usize,
}

/// A model's configuration, by family.
#[derive(Clone, Debug)]
pub enum ModelConfig {
    /// Llama and Qwen2.
    Llama(LlamaConfig),
    /// DeepSeek V2-Lite to V3.2.
    Deepseek(DeepseekConfig),
    /// DeepSeek V4.
    DeepseekV4(DeepseekV4Config),
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
            "llama" => Ok(Self::Llama(keys.llama(checkpoint, llama_layout(checkpoint.format()))?)),
            "qwen2" => Ok(Self::Llama(keys.llama(checkpoint, RopeLayout::Halves)?)),
            "deepseek2" => Ok(Self::Deepseek(keys.deepseek(checkpoint, None)?)),
            "deepseek32" => Ok(Self::Deepseek(keys.deepseek(checkpoint, Some(keys.indexer()?))?)),
            "deepseek4" => Ok(Self::DeepseekV4(keys.deepseek_v4(checkpoint)?)),
            _ => Err(Error::UnknownArchitecture { model: checkpoint.name(), known: ARCHITECTURES, found }),
        }
    }

    /// What every family has.
    #[must_use]
    pub const fn common(&self) -> &CommonConfig {
        match self {
            Self::Llama(config) => &config.common,
            Self::Deepseek(config) => &config.common,
            Self::DeepseekV4(config) => &config.common,
        }
    }

    /// Whether the file has draft layers that can be used, and the same configuration with or without their use.
    ///
    /// One draft layer is used and not several, and of V4 one with a window alone.
    #[must_use]
    pub fn with_drafts(mut self, drafts: bool) -> Self {
        let (common, is_known) = match &mut self {
            Self::Llama(_) => return self,
            Self::Deepseek(config) => (&mut config.common, true),
            Self::DeepseekV4(config) => {
                let is_window = config.compressions.last() == Some(&Compression::None);
                (&mut config.common, is_window)
            }
        };
        common.drafts = drafts && is_known && common.num_nextn_predict_layers == 1;
        self
    }

    /// The mixture of experts, in families that have one.
    #[must_use]
    pub const fn moe(&self) -> Option<&MoeConfig> {
        match self {
            Self::Llama(_) => None,
            Self::Deepseek(config) => config.moe.as_ref(),
            Self::DeepseekV4(config) => Some(&config.moe),
        }
    }

    /// Routed experts that a token takes in a layer; 0 without a mixture.
    #[must_use]
    pub fn experts_per_token(&self) -> usize {
        self.moe().map_or(0, |moe| moe.num_experts_per_tok)
    }

    /// The rows that the KV cache keeps in layer `layer`.
    #[must_use]
    pub fn kv_tracks(&self, layer: usize) -> Vec<KvTrack> {
        match self {
            Self::Llama(config) => vec![KvTrack::positions(2 * config.num_key_value_heads * config.head_dim)],
            Self::Deepseek(config) => vec![KvTrack::positions(config.kv_width())],
            Self::DeepseekV4(config) => config.kv_tracks(layer),
        }
    }

    /// Positions before its own whose recent rows a position looks at; 0 in families that have none.
    #[must_use]
    pub const fn look_back(&self) -> usize {
        match self {
            Self::Llama(_) | Self::Deepseek(_) => 0,
            Self::DeepseekV4(config) => config.look_back(),
        }
    }

    /// Whether a token's rows are the same whether it was in a prompt or generated. With MLA they are not: see
    /// [`crate::Phase`].
    #[must_use]
    pub const fn rows_are_of_one_phase(&self) -> bool {
        !matches!(self, Self::Deepseek(_))
    }
}

/// Whoever made a GGUF file of a Llama has put the rows of query and key in pairs; the hub's files have them in halves.
const fn llama_layout(format: Format) -> RopeLayout {
    match format {
        Format::Gguf => RopeLayout::Interleaved,
        Format::Safetensors => RopeLayout::Halves,
    }
}
