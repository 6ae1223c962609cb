//! DeepSeek V2-Lite, V2, V3, R1, V3.1 and V3.2: latent attention and a mixture of experts behind the same skeleton.
//!
//! Source   DeepSeek-V2 (arXiv 2405.04434), DeepSeek-V3 (arXiv 2412.19437) section 2.1. What differs between them
//!          is in the configuration: how queries are projected and what is attended to (`mla`), how tokens are routed (`moe`), YaRN.
//! Golden   tests/golden/deepseek_v2_lite, deepseek_v2, deepseek_v3, deepseek_v32, minnow: hidden states by layer and logits
//! Letters  T tokens in this step · D hidden_size

use shoal_kernels::ops::FeedForward;
use shoal_kernels::{Act, Cpu};

use crate::Error;
use crate::config::DeepseekConfig;
use crate::kv_cache::KvCache;
use crate::mla::Mla;
use crate::moe::{Moe, MoeLayer};
use crate::step::StepContext;
use crate::weights::LayerBinder;

pub(crate) struct DecoderLayer {
    layer_idx: usize,
    rms_norm_eps: f32,
    input_layernorm: Vec<f32>,
    self_attn: Mla,
    post_attention_layernorm: Vec<f32>,
    mlp: Mlp,
}

/// The first layers are dense, the others mixtures.
enum Mlp {
    Dense(FeedForward),
    Moe(Box<Moe>),
}

impl DecoderLayer {
    pub(crate) fn load(
        layer_idx: usize,
        weights: &LayerBinder<'_>,
        config: &DeepseekConfig,
    ) -> Result<Self, Error> {
        let common = &config.common;
        let mlp = match &config.moe {
            Some(moe) if layer_idx >= config.first_k_dense_replace => {
                Mlp::Moe(Box::new(Moe::load(weights, moe, common.hidden_size, MoeLayer::PLAIN)?))
            }
            _ => Mlp::Dense(weights.feed_forward(
                "",
                common.hidden_size,
                common.intermediate_size,
                f32::INFINITY,
            )?),
        };
        Ok(Self {
            layer_idx,
            rms_norm_eps: common.rms_norm_eps,
            input_layernorm: weights.vector("attn_norm.weight", common.hidden_size)?,
            self_attn: Mla::load(weights, config)?,
            post_attention_layernorm: weights.vector("ffn_norm.weight", common.hidden_size)?,
            mlp,
        })
    }

    /// `following` are the layers that run after this one.
    #[rustfmt::skip]
    pub(crate) fn forward(
        &self,
        cpu: &Cpu,
        mut x: Act,
        step: &StepContext<'_>,
        kv: &mut KvCache,
        following: &[Self],
    ) -> Result<Act, Error> {
        let normed = cpu.rms_norm(&x, &self.input_layernorm, self.rms_norm_eps);           // [T, D]
        cpu.add(&mut x, &self.self_attn.forward(&cpu.in_section("mla"), &normed, step, kv, self.layer_idx));
        let normed = cpu.rms_norm(&x, &self.post_attention_layernorm, self.rms_norm_eps);
        let y = match &self.mlp {
            Mlp::Dense(ffn) => cpu.in_section("dense ffn").feed_forward(&normed, ffn),
            Mlp::Moe(moe) => {
                // Its input has much in common with this one.
                let following = following.iter().map_while(Self::moe).map(|moe| (moe, || normed.clone()));
                moe.forward(&cpu.in_section("moe"), &normed, step.tokens, following)?
            }
        };
        cpu.add(&mut x, &y);
        Ok(x)
    }
    fn moe(&self) -> Option<&Moe> {
        match &self.mlp {
            Mlp::Dense(_) => None,
            Mlp::Moe(moe) => Some(moe),
        }
    }
}
