//! A loaded model and its one verb: a step of tokens to logits.

use std::sync::Arc;

use shoal_base::Bytes;
use shoal_checkpoint::{Checkpoint, TensorInfo};
use shoal_kernels::profile::Profile;
use shoal_kernels::{Act, Cpu, Matrix, Pool, Work};
use shoal_store::disk::open as open_disk;
use shoal_store::{IoMode, Role, Store, StoreOptions, Traffic};

use crate::config::{ModelConfig, RopeScaling};
use crate::kv_cache::KvCache;
use crate::memory::{Footprint, Ledger, scratch_bytes};
use crate::mtp::{DraftLayer, Drafted};
use crate::rope::{Rope, plain_magnitude};
use crate::step::{Output, Step, StepContext};
use crate::weights::{Binder, OUTPUT, OUTPUT_NORM, ROPE_FREQS, TOKEN_EMBD, role};
use crate::{Error, deepseek_v3, deepseek_v4, llama};

/// Sees the hidden states of a step as they pass: for tests by layer and for dumps.
pub trait Observer {
    /// The activations `[T, D]` that enter layer `layer` (of V4 all streams side by side, `[T, M * D]`), or, for the number of layers, what follows the last norm
    /// (there only the rows whose logits are wanted).
    fn hidden(&mut self, layer: usize, x: &Act);
}

/// Looks at nothing.
pub struct Ignore;

impl Observer for Ignore {
    fn hidden(&mut self, _layer: usize, _x: &Act) {}
}

enum Layers {
    Llama(Vec<llama::DecoderLayer>),
    Deepseek(Vec<deepseek_v3::DecoderLayer>),
    DeepseekV4(deepseek_v4::DeepseekV4),
}

/// A model with its weights and the backend it runs on.
pub struct Model {
    config: ModelConfig,
    cpu: Cpu,
    rope: Rope,
    embed_tokens: Matrix,
    layers: Layers,
    norm: Vec<f32>,
    lm_head: Matrix,
    draft: Option<DraftLayer>,
    store: Store,
    /// Without one memory has no bound.
    ledger: Option<Ledger>,
}

impl Model {
    /// What a tensor is to a model of this configuration: what a store must be opened with.
    #[must_use]
    pub fn role(config: &ModelConfig, tensor: &TensorInfo) -> Role {
        role(tensor, config.common())
    }

    /// Binds the weights in `store` to the architecture its checkpoint names.
    ///
    /// # Errors
    /// If a tensor is missing or has a shape or format that does not fit.
    pub fn load(config: ModelConfig, mut store: Store, cpu: Cpu) -> Result<Self, Error> {
        let weights = Binder::new(&store);
        let common = config.common().clone();
        let layer_count = common.num_hidden_layers;
        let layers = match &config {
            ModelConfig::Llama(config) => Layers::Llama(
                (0..layer_count)
                    .map(|i| llama::DecoderLayer::load(i, &weights.layer(i), config))
                    .collect::<Result<_, _>>()?,
            ),
            ModelConfig::Deepseek(config) => Layers::Deepseek(
                (0..layer_count)
                    .map(|i| deepseek_v3::DecoderLayer::load(i, &weights.layer(i), config))
                    .collect::<Result<_, _>>()?,
            ),
            ModelConfig::DeepseekV4(config) => {
                Layers::DeepseekV4(deepseek_v4::DeepseekV4::load(&weights, config)?)
            }
        };
        let embed_tokens = weights.matrix(TOKEN_EMBD, common.vocab_size, common.hidden_size)?;
        let lm_head = if weights.has(OUTPUT) {
            weights.matrix(OUTPUT, common.vocab_size, common.hidden_size)?
        } else {
            embed_tokens.clone()
        };
        let norm = weights.vector(OUTPUT_NORM, common.hidden_size)?;
        let rope = load_rope(&config, &weights)?;
        let draft = match &config {
            ModelConfig::Deepseek(config) if common.drafts => Some(DraftLayer::load(&weights, config)?),
            ModelConfig::DeepseekV4(config) if common.drafts => Some(DraftLayer::load_v4(&weights, config)?),
            _ => None,
        };
        store.release_dense();
        Ok(Self { cpu, rope, embed_tokens, layers, norm, lm_head, draft, config, store, ledger: None })
    }

    /// Where its weights live.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Weight bytes read and multiply-adds made since the model was loaded.
    #[must_use]
    pub fn work(&self) -> Work {
        self.cpu.work()
    }

    /// What has gone between disk and memory since the model was loaded.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.store.traffic()
    }

    /// Memory of one expert; 0 if the model has none on a drive.
    #[must_use]
    pub fn expert_bytes(&self) -> u64 {
        self.store.slot_bytes().one.0
    }

    /// Bytes per second that the drive gives to reads of experts; `None` if the model has none there, or has run.
    #[must_use]
    pub fn measure_drive(&self) -> Option<f64> {
        self.store.measure_drive()
    }

    /// Runs `run`, which calls [`Model::forward`], and tells where its time went.
    ///
    /// # Panics
    /// If a profile is being taken already.
    pub fn profile<R>(&self, run: impl FnOnce() -> R) -> (R, Profile) {
        self.cpu.profile(run)
    }

    /// The threads it runs on.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        self.cpu.pool()
    }

    /// Runs `step`: writes its tokens into `kv` and yields the wanted logits, one row for each of `step.logits`.
    ///
    /// # Errors
    /// If weights have to be read and cannot be.
    ///
    /// # Panics
    /// If the step's spans do not tile it, or a token is not in the vocabulary: the engine checks both.
    pub fn forward(
        &self,
        step: &Step<'_>,
        kv: &mut KvCache,
        observer: &mut dyn Observer,
    ) -> Result<Act, Error> {
        Ok(self.run(step, kv, observer, false)?.logits)
    }

    /// The same, with what a draft layer needs to go on from: [`Model::draft`].
    ///
    /// # Errors
    /// As [`Model::forward`].
    ///
    /// # Panics
    /// As [`Model::forward`].
    pub fn forward_with_hidden(&self, step: &Step<'_>, kv: &mut KvCache) -> Result<Output, Error> {
        self.run(step, kv, &mut Ignore, true)
    }

    fn run(
        &self,
        step: &Step<'_>,
        kv: &mut KvCache,
        observer: &mut dyn Observer,
        with_hidden: bool,
    ) -> Result<Output, Error> {
        step.check();
        let _seat = self.cpu.pool().take_seat();
        self.share_memory(step, kv)?;
        let positions = step.positions();
        let rope = self.rope.table(&positions);
        let context = StepContext { tokens: step.tokens, spans: &step.spans, positions, rope };
        let [embedding, residual, head] =
            ["embedding", "residual", "head"].map(|section| self.cpu.in_section(section));
        let mut x = embedding.embed(&self.embed_tokens, step.tokens);
        match &self.layers {
            Layers::Llama(layers) => {
                for (i, layer) in layers.iter().enumerate() {
                    observer.hidden(i, &x);
                    x = layer.forward(&residual, x, &context, kv);
                }
            }
            Layers::Deepseek(layers) => {
                for (i, layer) in layers.iter().enumerate() {
                    observer.hidden(i, &x);
                    x = layer.forward(&residual, x, &context, kv, &layers[i + 1..])?;
                }
            }
            Layers::DeepseekV4(model) => x = model.forward(&residual, &x, &context, kv, observer)?,
        }
        let common = self.config.common();
        let norm = |x: &Act| head.rms_norm(x, &self.norm, common.rms_norm_eps);
        let last = x.select_rows(step.logits);
        let (normed, hidden) = match &self.layers {
            // A draft layer goes on from all streams, or from what follows the last norm.
            Layers::DeepseekV4(model) => (norm(&model.collapse(&residual, &last)), with_hidden.then_some(x)),
            Layers::Llama(_) | Layers::Deepseek(_) => (norm(&last), with_hidden.then(|| norm(&x))),
        };
        observer.hidden(common.num_hidden_layers, &normed);
        Ok(Output { logits: head.matmul(&normed, &self.lm_head), hidden })
    }

    /// Whether it has a draft layer that is used.
    #[must_use]
    pub const fn has_drafts(&self) -> bool {
        self.draft.is_some()
    }

    /// Runs the draft layer: row by row `hidden` as [`Model::forward_with_hidden`] gave it, and in `step.tokens` the token that follows
    /// each, at the position of the row. The logits say what may follow that token. What the layer itself ends with stands for the
    /// model's own `hidden` where it is to look further ahead.
    ///
    /// # Errors
    /// As [`Model::forward`].
    ///
    /// # Panics
    /// As [`Model::forward`], and if there is no draft layer.
    pub fn draft(&self, step: &Step<'_>, hidden: &Act, kv: &mut KvCache) -> Result<Output, Error> {
        step.check();
        let draft = self.draft.as_ref().expect("a draft layer");
        let _seat = self.cpu.pool().take_seat();
        self.share_memory(step, kv)?;
        let positions = step.positions();
        let rope = self.rope.table(&positions);
        let context = StepContext { tokens: step.tokens, spans: &step.spans, positions, rope };
        let cpu = self.cpu.in_section("draft");
        let Drafted { hidden, normed } =
            draft.forward(&cpu, hidden, &self.embed_tokens, &context, step.logits, kv)?;
        let logits = cpu.matmul(&normed, draft.head().unwrap_or(&self.lm_head));
        Ok(Output { logits, hidden: Some(hidden) })
    }
}

impl Model {
    /// Before a step: what it will take beside experts is taken from them.
    fn share_memory(&self, step: &Step<'_>, kv: &mut KvCache) -> Result<(), Error> {
        let mut context = 0;
        for span in &step.spans {
            let end = span.first_pos + span.rows.len();
            kv.will_write(span.blocks, span.first_pos, span.rows.len());
            context = context.max(end);
        }
        if let Some(ledger) = &self.ledger {
            let logits = step.logits.len() * self.config.common().vocab_size * size_of::<f32>();
            let scratch = scratch_bytes(&self.config, step.tokens.len(), context) + logits as u64;
            let budget = ledger.for_experts(kv, scratch);
            self.store.set_expert_budget(Some(budget));
            self.store.check_slots(self.config.experts_per_token())?;
        }
        Ok(())
    }
}

fn load_rope(config: &ModelConfig, weights: &Binder<'_>) -> Result<Rope, Error> {
    let rope = &config.common().rope;
    let divisors = weights.has(ROPE_FREQS).then(|| weights.vector(ROPE_FREQS, rope.dim / 2)).transpose()?;
    let magnitude = match config {
        ModelConfig::Llama(_) => plain_magnitude(&rope.scaling),
        // DeepSeek's two corrections of the magnitude cancel; its temperature is in the softmax scale instead.
        ModelConfig::Deepseek(_) | ModelConfig::DeepseekV4(_) => 1.0,
    };
    debug_assert!(divisors.is_none() || rope.scaling == RopeScaling::None, "divisors replace other scaling");
    Ok(Rope::new(rope, divisors.as_deref(), magnitude))
}

/// Reads the configuration and the weights of `checkpoint` and binds them.
///
/// # Errors
/// As [`ModelConfig::read`], [`Store::open`] and [`Model::load`].
pub fn open(checkpoint: Arc<Checkpoint>, options: &OpenOptions<'_>, cpu: Cpu) -> Result<Model, Error> {
    let config = ModelConfig::read(&checkpoint)?.with_drafts(options.drafts);
    let role = |tensor: &TensorInfo| Model::role(&config, tensor);
    let disk = open_disk(checkpoint.sources(), options.io)?;
    let OpenOptions { memory, progress, .. } = *options;
    let footprint = Footprint::of(&checkpoint, &config);
    let ledger = memory.map(|memory| Ledger::new(memory, &footprint)).transpose()?;
    let stall_limit = shoal_store::STALL_LIMIT;
    let store =
        Store::open(checkpoint, StoreOptions { budget: memory, role: &role, disk, stall_limit, progress })?;
    let model = Model::load(config, store, cpu)?;
    Ok(Model { ledger, ..model })
}

/// How [`open`] reads weights.
pub struct OpenOptions<'a> {
    /// The most memory that the model may take, weights, KV rows and activations together; no bound if `None`.
    pub memory: Option<Bytes>,
    /// Whether a draft layer is to be used, if the model has one.
    pub drafts: bool,
    /// How to read.
    pub io: IoMode,
    /// Told the bytes read so far and the bytes to read at the start.
    pub progress: &'a dyn Fn(u64, u64),
}
