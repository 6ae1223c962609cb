//! DeepSeek V4, Flash and Pro.

use shoal_base::limits::WIDTH_MAX;
use shoal_checkpoint::Checkpoint;
use shoal_kernels::hyper::{HyperSpec, STREAMS_MAX};
use shoal_kernels::rope::RopeLayout;

use super::keys::Keys;
use super::moe::MoeConfig;
use super::{CommonConfig, IndexerConfig, RopeConfig, RopeScaling};
use crate::Error;
use crate::kv_cache::{BLOCK_LEN, KvTrack};

/// Tokens of the longest window of compression.
const LONGEST_WINDOW: usize = 128;

/// Times that a matrix of streams is balanced, at the most.
const SINKHORN_ITERS_MAX: u32 = 1000;

/// How a layer keeps what is older than its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all: a layer with the window alone.
    None,
    /// One row for 4 tokens, made of them and the 4 before, of which the indexer chooses (CSA).
    Sparse,
    /// One row for 128 tokens, all of which are seen (HCA).
    Heavy,
}

impl Compression {
    /// Tokens for each row; `None` where there are none.
    #[must_use]
    pub const fn ratio(self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Sparse => Some(4),
            Self::Heavy => Some(128),
        }
    }
}

/// Window and compressed attention, hyper-connections, and a mixture of experts in every layer.
#[derive(Clone, Debug)]
pub struct DeepseekV4Config {
    /// What every family has; its rope is that of layers without compression.
    pub common: CommonConfig,
    /// Rope of layers with compression.
    pub compress_rope: RopeConfig,
    /// Elements of a head, and of the one row that is key and value of all heads (K); the last of them are turned.
    pub head_dim: usize,
    /// Width of the compressed query (Rq).
    pub q_lora_rank: usize,
    /// Groups of heads whose outputs are projected together (G).
    pub o_groups: usize,
    /// Width of a group's projected output (Ro).
    pub o_lora_rank: usize,
    /// Tokens that a token sees as they are, itself included.
    pub sliding_window: usize,
    /// For each layer how it keeps older tokens; draft layers follow the others.
    pub compressions: Vec<Compression>,
    /// The indexer of layers with [`Compression::Sparse`].
    pub indexer: IndexerConfig,
    /// The mixture of experts.
    pub moe: MoeConfig,
    /// Layers from the first on whose experts are named by the token itself.
    pub num_hash_layers: usize,
    /// For each layer the limit of the activation in routed experts, then in shared ones; infinite for none.
    pub swiglu_limits: Vec<[f32; 2]>,
    /// Streams of the residual.
    pub hyper: HyperSpec,
}

impl DeepseekV4Config {
    /// Positions before its own that a position looks at: in its window, or in a window of compression that it may end.
    pub(crate) const fn look_back(&self) -> usize {
        let longest = if self.sliding_window > LONGEST_WINDOW { self.sliding_window } else { LONGEST_WINDOW };
        longest - 1
    }

    /// Rows of the window, compressed rows, and what windows of compression are made of that are not whole yet.
    pub(crate) fn kv_tracks(&self, layer: usize) -> Vec<KvTrack> {
        let window = KvTrack::positions(self.head_dim).recent();
        match self.compressions[layer] {
            Compression::None => vec![window],
            Compression::Sparse => {
                let width = self.head_dim + self.indexer.index_head_dim;
                // Value and gate, each for the token's own window and for the next.
                vec![window, KvTrack::windows(4, width), KvTrack::last(2 * 4 - 1, 4 * width)]
            }
            Compression::Heavy => {
                let raw = KvTrack::positions(2 * self.head_dim).recent();
                vec![window, KvTrack::windows(128, self.head_dim), raw]
            }
        }
    }
}

impl Keys<'_> {
    pub(super) fn deepseek_v4(&self, checkpoint: &Checkpoint) -> Result<DeepseekV4Config, Error> {
        let (rope_dim, head_dim) =
            (self.count("rope.dimension_count", WIDTH_MAX)?, self.count("attention.key_length", WIDTH_MAX)?);
        let indexer = self.indexer()?;
        for (name, width) in
            [("attention.key_length", head_dim), ("attention.indexer.key_length", indexer.index_head_dim)]
        {
            if width < rope_dim {
                return self.bad(name, format!("at least the {rope_dim} of rope"), width);
            }
        }
        // The stretched frequencies are those of layers with compression.
        let stretched = self.rope(rope_dim, RopeLayout::Interleaved)?;
        let compress_rope = RopeConfig {
            theta: self.positive("attention.compress_rope_freq_base", 160_000.0)?,
            ..stretched.clone()
        };
        let moe = self.moe()?;
        let rope = RopeConfig { scaling: RopeScaling::None, ..stretched };
        let common = self.common(checkpoint, rope, moe.moe_intermediate_size)?;
        Ok(DeepseekV4Config {
            compress_rope,
            head_dim,
            q_lora_rank: self.count("attention.q_lora_rank", WIDTH_MAX)?,
            o_groups: self.output_groups(common.num_attention_heads)?,
            o_lora_rank: self.count("attention.output_lora_rank", WIDTH_MAX)?,
            sliding_window: self.count("attention.sliding_window", WIDTH_MAX)?,
            compressions: self.compressions(&common)?,
            indexer,
            moe,
            num_hash_layers: self.metadata.u32(&self.key("hash_layer_count"))?.unwrap_or(0) as usize,
            swiglu_limits: self.swiglu_limits(&common)?,
            hyper: HyperSpec {
                mult: self.count("hyper_connection.count", STREAMS_MAX as u32)?,
                sinkhorn_iters: self.count("hyper_connection.sinkhorn_iterations", SINKHORN_ITERS_MAX)?,
                eps: self.positive("hyper_connection.epsilon", 1e-6)? as f32,
                norm_eps: common.rms_norm_eps,
            },
            common,
        })
    }

    fn output_groups(&self, heads: usize) -> Result<usize, Error> {
        let name = "attention.output_group_count";
        let groups = self.count(name, WIDTH_MAX)?;
        if heads.is_multiple_of(groups) {
            Ok(groups)
        } else {
            self.bad(name, format!("a divisor of {heads} heads"), groups)
        }
    }

    /// The file may have more numbers than there are layers, those of draft layers, which have a window alone if nothing is said.
    fn compressions(&self, common: &CommonConfig) -> Result<Vec<Compression>, Error> {
        let (name, layers) = ("attention.compress_ratios", common.num_hidden_layers);
        let ratios = self.metadata.required_u32s(&self.key(name))?;
        if ratios.len() < layers {
            return self.bad(name, format!("a number for each of {layers} layers"), ratios.len());
        }
        let compression = |&ratio: &u32| match ratio {
            0 => Ok(Compression::None),
            4 => Ok(Compression::Sparse),
            128 => Ok(Compression::Heavy),
            other => self.bad(name, "0, 4 or 128", other),
        };
        let all = layers + common.num_nextn_predict_layers;
        ratios.iter().chain(std::iter::repeat(&0)).take(all).map(compression).collect()
    }

    /// Draft layers have the limits of the last layer if nothing is said.
    fn swiglu_limits(&self, common: &CommonConfig) -> Result<Vec<[f32; 2]>, Error> {
        let (layers, all) =
            (common.num_hidden_layers, common.num_hidden_layers + common.num_nextn_predict_layers);
        let routed = self.limits("swiglu_clamp_exp", layers)?;
        let shared = self.limits("swiglu_clamp_shexp", layers)?;
        let routed = routed.unwrap_or_else(|| vec![f32::INFINITY; layers]);
        let shared = shared.unwrap_or_else(|| routed.clone());
        let limits = |layer: usize| {
            let of = |limits: &[f32]| limits.get(layer).or(limits.last()).copied().unwrap_or(f32::INFINITY);
            [of(&routed), of(&shared)]
        };
        Ok((0..all).map(limits).collect())
    }

    /// One number for each layer, or one for all; 0 stands for no limit.
    fn limits(&self, name: &str, layers: usize) -> Result<Option<Vec<f32>>, Error> {
        let key = self.key(name);
        let limits = match self.metadata.f32s(&key) {
            Ok(None) => return Ok(None),
            Ok(Some(limits)) if limits.len() < layers => {
                return self.bad(name, format!("a number for each of {layers} layers"), limits.len());
            }
            Ok(Some(limits)) => limits.to_vec(),
            Err(_) => vec![self.metadata.required_f32(&key)?; layers],
        };
        match limits.iter().find(|limit| limit.is_nan() || **limit < 0.0) {
            Some(bad) => self.bad(name, "numbers of at least 0", bad),
            None => Ok(Some(limits.into_iter().map(|x| if x == 0.0 { f32::INFINITY } else { x }).collect())),
        }
    }
}

// Rows of windows stand in whole blocks, or one in the last of several.
const _: () = assert!(BLOCK_LEN.is_multiple_of(4) && 128usize.is_multiple_of(BLOCK_LEN));
