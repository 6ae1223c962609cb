//! Multi-token prediction: a draft layer that guesses the token after the next.
//!
//! ```text
//! z_t    = W^eh [RMSNorm_e(Emb(token_(t+1))) | RMSNorm_h(h_t)]         h_t: what the model ended with
//! z      = DecoderLayer(z), with keys and values of its own, at position t
//! logits of token_(t+2) = Head(RMSNorm(z_t))
//! ```
//! Up to V3.2 `h` is what the head makes logits of, after the last norm, and the layer is one of latent attention. V4 goes on with all
//! of its M streams: `h` is the streams as the last layer left them, the line above holds for each of them, the layer has a window
//! alone, and its own hyper-connection collapses the streams before the norm.
//!
//! Embedding and head are the model's own unless the file has others. To look further ahead the layer's own output stands for `h`.
//! What it says is a guess that the model checks, so nothing depends on it but speed.
//!
//! Source   DeepSeek-V3 (arXiv 2412.19437) section 2.2, equations 21 to 23; for V4 the inference code beside its weights
//! Golden   tests/golden/deepseek_v4/draft.safetensors: hidden states and logits
//! Letters  T tokens in this step · D hidden_size · M streams, 1 before V4

use shoal_kernels::hyper::HyperConnection;
use shoal_kernels::{Act, Cpu, Matrix};

use crate::config::{CommonConfig, DeepseekConfig, DeepseekV4Config};
use crate::kv_cache::KvCache;
use crate::rope::Rope;
use crate::step::StepContext;
use crate::weights::{Binder, LayerBinder};
use crate::{Error, deepseek_v3, deepseek_v4};

pub(crate) struct DraftLayer {
    rms_norm_eps: f32,
    enorm: Vec<f32>,
    hnorm: Vec<f32>,
    projection: Projection,
    block: Block,
    norm: Vec<f32>,
    embed_tokens: Option<Matrix>,
    head: Option<Matrix>,
}

/// W^eh, which GGUF files have as one matrix and V4's checkpoint as two.
enum Projection {
    Joined { eh_proj: Matrix },
    Apart { e_proj: Matrix, h_proj: Matrix },
}

/// The layer in the middle.
enum Block {
    Latent(Box<deepseek_v3::DecoderLayer>),
    Streams { layer: Box<deepseek_v4::DecoderLayer>, compress_rope: Rope, hyper_head: HyperConnection },
}

/// What a draft layer ends with.
pub(crate) struct Drafted {
    /// What stands for the model's own `h`: `[T, D]`, or `[T, M·D]`.
    pub(crate) hidden: Act,
    /// What the head makes logits of, in the rows that were asked for: `[kept, D]`.
    pub(crate) normed: Act,
}

impl DraftLayer {
    /// The draft layer of a model up to V3.2.
    pub(crate) fn load(weights: &Binder<'_>, config: &DeepseekConfig) -> Result<Self, Error> {
        let idx = config.common.num_hidden_layers;
        let weights = weights.layer(idx);
        let block = Block::Latent(Box::new(deepseek_v3::DecoderLayer::load(idx, &weights, config)?));
        Self::around(block, &weights, &config.common)
    }

    /// That of V4. In a file that says nothing of its own the model's hyper-connection ends it.
    pub(crate) fn load_v4(weights: &Binder<'_>, config: &DeepseekV4Config) -> Result<Self, Error> {
        let (idx, mult) = (config.common.num_hidden_layers, config.hyper.mult);
        let layer = weights.layer(idx);
        let hyper_head = if layer.has("nextn.hc_head_fn.weight") {
            layer.hyper("nextn.hc_head", config, mult, 1)?
        } else {
            weights.hyper("output_hc", config, mult, 1)?
        };
        let block = Block::Streams {
            layer: Box::new(deepseek_v4::DecoderLayer::load(idx, &layer, config)?),
            compress_rope: Rope::new(&config.compress_rope, None, 1.0),
            hyper_head,
        };
        Self::around(block, &layer, &config.common)
    }

    fn around(block: Block, weights: &LayerBinder<'_>, common: &CommonConfig) -> Result<Self, Error> {
        let (hidden, vocab) = (common.hidden_size, common.vocab_size);
        let own = |name: &str| weights.has(name).then(|| weights.matrix(name, vocab, hidden)).transpose();
        let projection = if weights.has("nextn.e_proj.weight") {
            let proj = |name: &str| weights.matrix(name, hidden, hidden);
            Projection::Apart { e_proj: proj("nextn.e_proj.weight")?, h_proj: proj("nextn.h_proj.weight")? }
        } else {
            Projection::Joined { eh_proj: weights.matrix("nextn.eh_proj.weight", hidden, 2 * hidden)? }
        };
        Ok(Self {
            rms_norm_eps: common.rms_norm_eps,
            enorm: weights.vector("nextn.enorm.weight", hidden)?,
            hnorm: weights.vector("nextn.hnorm.weight", hidden)?,
            projection,
            block,
            norm: weights.vector("nextn.shared_head_norm.weight", hidden)?,
            embed_tokens: own("nextn.embed_tokens.weight")?,
            head: own("nextn.shared_head_head.weight")?,
        })
    }

    /// The head, if it has one of its own.
    pub(crate) const fn head(&self) -> Option<&Matrix> {
        self.head.as_ref()
    }

    /// Runs over `hidden`, `[T, M·D]`, and the tokens of the step, which follow its rows. `embed_tokens` is the model's table; logits are
    /// wanted of the rows `kept`.
    #[rustfmt::skip]
    pub(crate) fn forward(
        &self, cpu: &Cpu, hidden: &Act, embed_tokens: &Matrix, step: &StepContext<'_>, kept: &[usize], kv: &mut KvCache,
    ) -> Result<Drafted, Error> {
        let embedded = cpu.embed(self.embed_tokens.as_ref().unwrap_or(embed_tokens), step.tokens);
        let mut z = self.project(cpu, &embedded, hidden);                                  // [T, M·D] (21)
        match &self.block {
            Block::Latent(layer) => {
                let z = layer.forward(cpu, z, step, kv, &[])?;                             //          (22)
                let hidden = cpu.rms_norm(&z, &self.norm, self.rms_norm_eps);              // [T, D]
                Ok(Drafted { normed: hidden.select_rows(kept), hidden })
            }
            Block::Streams { layer, compress_rope, hyper_head } => {
                let turns = deepseek_v4::V4Turns::new(step, compress_rope);
                layer.forward(cpu, &mut z, step, &turns, kv, &[])?;                        // [T, M·D]
                let last = cpu.hyper_head(&z.select_rows(kept), hyper_head);               // [kept, D]
                Ok(Drafted { normed: cpu.rms_norm(&last, &self.norm, self.rms_norm_eps), hidden: z })
            }
        }
    }

    /// W^eh of the embedding beside each stream.
    #[rustfmt::skip]
    fn project(&self, cpu: &Cpu, embedded: &Act, hidden: &Act) -> Act {
        let (dim, width) = (embedded.cols(), hidden.cols());
        let streams = width / dim;
        let e = cpu.rms_norm(embedded, &self.enorm, self.rms_norm_eps);                    // [T, D]
        let h = cpu.rms_norm(&hidden.clone().reshaped(dim), &self.hnorm, self.rms_norm_eps); // [T·M, D]
        match &self.projection {
            Projection::Joined { eh_proj } => {
                let e = e.repeated(streams).reshaped(dim);                                 // [T·M, D]
                cpu.matmul(&e.beside(&h), eh_proj).reshaped(width)
            }
            Projection::Apart { e_proj, h_proj } => {
                let mut z = cpu.matmul(&h, h_proj).reshaped(width);
                cpu.add(&mut z, &cpu.matmul(&e, e_proj).repeated(streams));
                z
            }
        }
    }
}
