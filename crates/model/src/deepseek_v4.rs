//! DeepSeek V4: a residual of several streams around window and compressed attention and a mixture of experts.
//!
//! ```text
//! X       = the embedding, once in every stream
//! layer   h, mix = mHC(X);  X = mix(X, attention(RMSNorm(h)));   h, mix = mHC(X);  X = mix(X, moe(RMSNorm(h)))
//! end     the streams collapsed to one, then the last norm and the head
//! ```
//! Source   DeepSeek-V4 (arXiv 2606.19348). Hyper-connections: `shoal_kernels::hyper`; attention: `compressed_attention`; the
//!          mixture: `moe`.
//! Golden   tests/golden/deepseek_v4: streams by layer and logits
//! Letters  T tokens in this step · D hidden_size · M streams

use shoal_kernels::hyper::HyperConnection;
use shoal_kernels::{Act, Cpu};

use crate::Error;
use crate::compressed_attention::CompressedAttention;
use crate::config::{Compression, DeepseekV4Config};
use crate::forward::Observer;
use crate::kv_cache::KvCache;
use crate::moe::{Moe, MoeLayer};
use crate::rope::{Rope, Turn};
use crate::step::StepContext;
use crate::weights::{Binder, LayerBinder};

pub(crate) struct DeepseekV4 {
    layers: Vec<DecoderLayer>,
    compress_rope: Rope,
    hyper_head: HyperConnection,
    mult: usize,
}

pub(crate) struct DecoderLayer {
    layer_idx: usize,
    rms_norm_eps: f32,
    hyper_attn: HyperConnection,
    attn_norm: Vec<f32>,
    attn: CompressedAttention,
    hyper_ffn: HyperConnection,
    ffn_norm: Vec<f32>,
    ffn: Moe,
}

impl DeepseekV4 {
    pub(crate) fn load(weights: &Binder<'_>, config: &DeepseekV4Config) -> Result<Self, Error> {
        let mult = config.hyper.mult;
        let layer = |i| DecoderLayer::load(i, &weights.layer(i), config);
        Ok(Self {
            layers: (0..config.common.num_hidden_layers).map(layer).collect::<Result<_, _>>()?,
            compress_rope: Rope::new(&config.compress_rope, None, 1.0),
            hyper_head: weights.hyper("output_hc", config, mult, 1)?,
            mult,
        })
    }

    /// The streams as the last layer leaves them: `[T, M·D]`.
    pub(crate) fn forward(
        &self,
        cpu: &Cpu,
        x: &Act,
        context: &StepContext<'_>,
        kv: &mut KvCache,
        observer: &mut dyn Observer,
    ) -> Result<Act, Error> {
        let mut x = x.repeated(self.mult);
        let turns = V4Turns::new(context, &self.compress_rope);
        for (i, layer) in self.layers.iter().enumerate() {
            observer.hidden(i, &x);
            layer.forward(cpu, &mut x, context, &turns, kv, &self.layers[i + 1..])?;
        }
        Ok(x)
    }

    /// The streams collapsed to what the last norm sees.
    pub(crate) fn collapse(&self, cpu: &Cpu, x: &Act) -> Act {
        cpu.hyper_head(x, &self.hyper_head)
    }
}

/// How the step's tokens are turned, in layers of either kind, and windows at their beginnings.
pub(crate) struct V4Turns<'a> {
    plain: Turn,
    compressed: Turn,
    pub(crate) of_windows: &'a Rope,
}

impl<'a> V4Turns<'a> {
    pub(crate) fn new(step: &StepContext<'_>, compress_rope: &'a Rope) -> Self {
        Self {
            plain: Turn::new(&step.rope),
            compressed: Turn::new(&compress_rope.table(&step.positions)),
            of_windows: compress_rope,
        }
    }

    pub(crate) const fn of(&self, compression: Compression) -> &Turn {
        match compression {
            Compression::None => &self.plain,
            Compression::Sparse | Compression::Heavy => &self.compressed,
        }
    }
}

impl DecoderLayer {
    pub(crate) fn load(
        layer_idx: usize,
        weights: &LayerBinder<'_>,
        config: &DeepseekV4Config,
    ) -> Result<Self, Error> {
        let (hidden, mult) = (config.common.hidden_size, config.hyper.mult);
        let hyper = |name: &str| weights.hyper(name, config, mult * (2 + mult), 3);
        let moe_layer = MoeLayer {
            hashed_vocab: (layer_idx < config.num_hash_layers).then_some(config.common.vocab_size),
            swiglu_limits: config.swiglu_limits[layer_idx],
        };
        Ok(Self {
            layer_idx,
            rms_norm_eps: config.common.rms_norm_eps,
            hyper_attn: hyper("hc_attn")?,
            attn_norm: weights.vector("attn_norm.weight", hidden)?,
            attn: CompressedAttention::load(weights, config, config.compressions[layer_idx])?,
            hyper_ffn: hyper("hc_ffn")?,
            ffn_norm: weights.vector("ffn_norm.weight", hidden)?,
            ffn: Moe::load(weights, &config.moe, hidden, moe_layer)?,
        })
    }

    /// `following` are the layers that run after this one.
    pub(crate) fn forward(
        &self,
        cpu: &Cpu,
        x: &mut Act,
        step: &StepContext<'_>,
        turns: &V4Turns<'_>,
        kv: &mut KvCache,
        following: &[Self],
    ) -> Result<(), Error> {
        let (h, mix) = cpu.hyper_input(x, &self.hyper_attn); // [T, D]
        let normed = cpu.rms_norm(&h, &self.attn_norm, self.rms_norm_eps);
        let y = self.attn.forward(&cpu.in_section("attention"), &normed, step, turns, kv, self.layer_idx);
        cpu.hyper_output(x, &y, &mix); // [T, M·D]
        let (h, mix) = cpu.hyper_input(x, &self.hyper_ffn);
        let normed = cpu.rms_norm(&h, &self.ffn_norm, self.rms_norm_eps);
        // Of the streams that another layer will mix for its experts most is there already.
        let following = following.iter().map(|layer| {
            let input =
                || cpu.rms_norm(&cpu.hyper_input(x, &layer.hyper_ffn).0, &layer.ffn_norm, layer.rms_norm_eps);
            (&layer.ffn, input)
        });
        let y = self.ffn.forward(&cpu.in_section("moe"), &normed, step.tokens, following)?;
        cpu.hyper_output(x, &y, &mix);
        Ok(())
    }
}
