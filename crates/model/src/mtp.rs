//! Multi-token prediction: a draft layer that guesses the token after the next.
//!
//! ```text
//! z_t    = W^eh [RMSNorm_e(Emb(token_(t+1))) | RMSNorm_h(h_t)]         h_t: what the head makes logits of
//! z      = DecoderLayer(z), with keys and values of its own, at position t
//! logits of token_(t+2) = Head(RMSNorm(z_t))
//! ```
//! Embedding and head are the model's own unless the file has others. To look further ahead the layer's own output stands for `h`.
//! What it says is a guess that the model checks, so nothing depends on it but speed.
//!
//! Source   DeepSeek-V3 (arXiv 2412.19437) section 2.2, equations 21 to 23
//! Letters  T tokens in this step · D hidden_size

use shoal_kernels::{Act, Cpu, Matrix};

use crate::Error;
use crate::config::DeepseekConfig;
use crate::deepseek_v3::DecoderLayer;
use crate::kv_cache::KvCache;
use crate::step::StepContext;
use crate::weights::LayerBinder;

pub(crate) struct DraftLayer {
    rms_norm_eps: f32,
    enorm: Vec<f32>,
    hnorm: Vec<f32>,
    eh_proj: Matrix,
    layer: DecoderLayer,
    norm: Vec<f32>,
    embed_tokens: Option<Matrix>,
    head: Option<Matrix>,
}

impl DraftLayer {
    pub(crate) fn load(
        layer_idx: usize,
        weights: &LayerBinder<'_>,
        config: &DeepseekConfig,
    ) -> Result<Self, Error> {
        let (hidden, vocab) = (config.common.hidden_size, config.common.vocab_size);
        let own = |name: &str| weights.has(name).then(|| weights.matrix(name, vocab, hidden)).transpose();
        Ok(Self {
            rms_norm_eps: config.common.rms_norm_eps,
            enorm: weights.vector("nextn.enorm.weight", hidden)?,
            hnorm: weights.vector("nextn.hnorm.weight", hidden)?,
            eh_proj: weights.matrix("nextn.eh_proj.weight", hidden, 2 * hidden)?,
            layer: DecoderLayer::load(layer_idx, weights, config)?,
            norm: weights.vector("nextn.shared_head_norm.weight", hidden)?,
            embed_tokens: own("nextn.embed_tokens.weight")?,
            head: own("nextn.shared_head_head.weight")?,
        })
    }

    /// The head, if it has one of its own.
    pub(crate) const fn head(&self) -> Option<&Matrix> {
        self.head.as_ref()
    }

    /// What the head makes logits of: `[T, D]`. `embed_tokens` is the model's table.
    #[rustfmt::skip]
    pub(crate) fn forward(
        &self, cpu: &Cpu, hidden: &Act, embed_tokens: &Matrix, step: &StepContext<'_>, kv: &mut KvCache,
    ) -> Result<Act, Error> {
        let embedded = cpu.embed(self.embed_tokens.as_ref().unwrap_or(embed_tokens), step.tokens);
        let e = cpu.rms_norm(&embedded, &self.enorm, self.rms_norm_eps);                   // [T, D]
        let h = cpu.rms_norm(hidden, &self.hnorm, self.rms_norm_eps);                      // [T, D]
        let z = cpu.matmul(&e.beside(&h), &self.eh_proj);                                  // [T, D]   (21)
        let z = self.layer.forward(cpu, z, step, kv, &[])?;                                //          (22)
        Ok(cpu.rms_norm(&z, &self.norm, self.rms_norm_eps))
    }
}
