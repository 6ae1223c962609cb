//! From a model file to something that answers: weights, tokenizer and prompt style, wired together.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use shoal_base::{Bytes, TokenId};
use shoal_checkpoint::{Checkpoint, Metadata};
use shoal_kernels::roofline::BUFFER_BYTES;
use shoal_kernels::{Cpu, Isa, Pool, pool::physical_core_count};
use shoal_model::{IoMode, KvCache, Model, ModelConfig, OpenOptions};
use shoal_text::{PromptStyle, Tokenizer, VocabSpec};

use crate::args::RuntimeArgs;
use crate::machine::available_memory;
use crate::terminal::one_line;

/// Memory beside weights and KV cache: what the bandwidth is measured with, or, at other times, the activations of a
/// prompt's chunk; and the program itself.
pub(crate) const WORKING_MEMORY: u64 = BUFFER_BYTES as u64 + (128 << 20);

/// Context in tokens where none is asked for.
const CONTEXT_LEN: usize = 4096;

/// A model that is ready to run.
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) model: Model,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) style: PromptStyle,
    pub(crate) context_len: usize,
    pub(crate) prefill_chunk: usize,
    pub(crate) isa: Isa,
}

/// Where and within what limits a model runs: [`RuntimeArgs`] made definite.
pub(crate) struct Runtime {
    pub(crate) isa: Isa,
    pub(crate) threads: usize,
    memory: Option<Bytes>,
    ctx: Option<usize>,
    prefill_chunk: usize,
}

impl Runtime {
    pub(crate) fn new(args: &RuntimeArgs) -> anyhow::Result<Self> {
        let isa = match &args.isa {
            None => Isa::best(),
            Some(name) => Isa::by_name(name).with_context(|| {
                let has: Vec<_> = Isa::available().iter().map(|isa| isa.name()).collect();
                format!("--isa {name}: this machine has {}", has.join(", "))
            })?,
        };
        // More threads than processors would wait for each other at every operation.
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = args.threads.map_or_else(physical_core_count, |threads| processors.min(threads.into()));
        let memory = args.memory.or_else(available_memory);
        Ok(Self { isa, threads, memory, ctx: args.ctx, prefill_chunk: args.prefill_chunk })
    }
}

/// Loads `checkpoint`. A progress bar shows on a terminal.
pub(crate) fn load(checkpoint: Checkpoint, runtime: &Runtime) -> anyhow::Result<Loaded> {
    let name = one_line(&checkpoint.name());
    let config = ModelConfig::read(&checkpoint)?;
    let tokenizer = Tokenizer::new(vocab_spec(checkpoint.metadata())?)?;
    if tokenizer.vocab_len() > config.common().vocab_size {
        let (tokens, rows) = (tokenizer.vocab_len(), config.common().vocab_size);
        bail!("{name}: the tokenizer has {tokens} tokens, but the embedding table has {rows} rows");
    }
    let style = PromptStyle::detect(checkpoint.metadata().str("tokenizer.chat_template")?, &tokenizer)?;
    let longest = config.common().max_position_embeddings;
    let context_len = match runtime.ctx {
        None => CONTEXT_LEN.min(longest),
        Some(0) => longest,
        Some(ctx) => ctx.min(longest),
    };
    let budget = weight_budget(&config, context_len, runtime, &name)?;
    let bar = loading_bar(&name);
    let progress = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let options = OpenOptions { budget, io: IoMode::Auto, progress: &progress };
    let cpu = Cpu::new(runtime.isa, Arc::new(Pool::new(runtime.threads)));
    let model = shoal_model::open(Arc::new(checkpoint), &options, cpu)?;
    bar.finish_and_clear();
    Ok(Loaded {
        name,
        model,
        tokenizer,
        style,
        context_len,
        prefill_chunk: runtime.prefill_chunk,
        isa: runtime.isa,
    })
}

/// What of the memory is left for weights once the KV cache has its part.
fn weight_budget(
    config: &ModelConfig,
    context_len: usize,
    runtime: &Runtime,
    name: &str,
) -> anyhow::Result<Option<Bytes>> {
    let Some(memory) = runtime.memory else { return Ok(None) };
    let kv = KvCache::bytes_for(config, context_len);
    let beside = kv.saturating_add(WORKING_MEMORY);
    if beside >= memory.0 {
        bail!(
            "{name} needs {} for a context of {context_len} tokens and {} to work in, but the memory is {memory}; \
             give more with --memory, or a shorter context with --ctx",
            Bytes(kv),
            Bytes(WORKING_MEMORY)
        );
    }
    Ok(Some(Bytes(memory.0 - beside)))
}

fn loading_bar(name: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("loading {msg} {wide_bar} {bytes}/{total_bytes}");
    let bar = ProgressBar::new(0).with_message(name.to_owned());
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// The vocabulary as `shoal-text` wants it, from GGUF's keys.
pub(crate) fn vocab_spec(metadata: &Metadata) -> anyhow::Result<VocabSpec> {
    let id = |key: &str| -> anyhow::Result<Option<TokenId>> {
        Ok(metadata.u32(&format!("tokenizer.ggml.{key}_token_id"))?.map(TokenId))
    };
    Ok(VocabSpec {
        model: metadata.required_str("tokenizer.ggml.model")?.to_owned(),
        pre: metadata.str("tokenizer.ggml.pre")?.unwrap_or("default").to_owned(),
        tokens: metadata.required_strings("tokenizer.ggml.tokens")?.to_vec(),
        token_types: metadata.i32s("tokenizer.ggml.token_type")?.unwrap_or_default().to_vec(),
        merges: metadata.strings("tokenizer.ggml.merges")?.unwrap_or_default().to_vec(),
        bos: id("bos")?,
        eos: id("eos")?,
        eot: id("eot")?,
        pad: id("padding")?,
        add_bos: metadata.bool("tokenizer.ggml.add_bos_token")?,
    })
}
