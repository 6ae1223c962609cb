//! From a model file to something that answers: weights, tokenizer and prompt style, wired together.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use shoal_base::{Bytes, TokenId};
use shoal_checkpoint::{Checkpoint, Metadata};
use shoal_engine::kv_files::BLOCKS_IN_MEMORY;
use shoal_kernels::roofline::Bounds;
use shoal_kernels::{Cpu, Isa, Pool, pool::physical_core_count};
use shoal_model::{IoMode, Model, ModelConfig, OpenOptions};
use shoal_text::{Origin, PromptStyle, Tokenizer, VocabSpec};

use crate::args::{DraftArgs, RuntimeArgs};
use crate::division::{Division, Wish};
use crate::environment::Environment;
use crate::machine::available_memory;
use crate::meter::Rates;
use crate::terminal::one_line;
use crate::{drive, roofline};

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
    /// Tokens that a draft layer guesses ahead; 0 for none.
    pub(crate) draft_len: usize,
    pub(crate) isa: Isa,
    /// How the memory was divided.
    pub(crate) division: Division,
    /// Which model this is, if that was asked for: its files, the instructions that compute, and this version.
    pub(crate) identity: Option<String>,
    /// What the machine gives, if that was asked for.
    pub(crate) rates: Option<Rates>,
}

/// When the machine is measured. It is before weights are read: measuring takes memory as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Nobody wants to know.
    Never,
    /// It is not, but what is known from an earlier start is used.
    Known,
    /// If it is not known from an earlier start.
    Once,
    /// In any case.
    Anew,
}

/// Where and within what limits a model runs: [`RuntimeArgs`] made definite.
pub(crate) struct Runtime {
    pub(crate) isa: Isa,
    pub(crate) threads: usize,
    memory: Option<Bytes>,
    ctx: Option<usize>,
    prefill_chunk: Option<usize>,
    /// Tokens to guess ahead; `None`: as many as are good.
    draft: Option<usize>,
    /// Conversations at a time, each with the whole context.
    sequences: usize,
    /// Whether KV blocks are kept in files.
    keeps_kv: bool,
    /// Bytes that a server takes for requests.
    server: u64,
    measure: Measure,
    cache_dir: PathBuf,
}

impl Runtime {
    pub(crate) fn new(
        args: &RuntimeArgs,
        measure: Measure,
        environment: &Environment,
    ) -> anyhow::Result<Self> {
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
        let (ctx, prefill_chunk, cache_dir) = (args.ctx, args.prefill_chunk, environment.cache_dir.clone());
        Ok(Self {
            isa,
            threads,
            memory,
            ctx,
            prefill_chunk,
            draft: Some(0),
            sequences: 1,
            keeps_kv: false,
            server: 0,
            measure,
            cache_dir,
        })
    }

    /// The same for something that writes answers, which may be guessed ahead.
    pub(crate) fn with_drafts(self, args: &DraftArgs) -> Self {
        Self { draft: args.len(), ..self }
    }

    /// All that the process may use, if anybody says.
    pub(crate) const fn memory(&self) -> Option<Bytes> {
        self.memory
    }

    /// The same with the memory and the chunk of `wish`.
    pub(crate) fn with_wish(self, wish: Wish) -> Self {
        Self { memory: wish.memory, prefill_chunk: wish.chunk, ..self }
    }

    /// What memory is divided for, with a model whose longest context is `longest`.
    pub(crate) fn wish(&self, longest: usize) -> Wish {
        let context_len = match self.ctx {
            None => CONTEXT_LEN.min(longest),
            Some(0) => longest,
            Some(ctx) => ctx.min(longest),
        };
        Wish {
            memory: self.memory,
            context_len,
            sequences: self.sequences,
            chunk: self.prefill_chunk,
            blocks_in_files: if self.keeps_kv { BLOCKS_IN_MEMORY } else { 0 },
            server: self.server,
        }
    }

    /// The same for a server: with room for so many conversations at a time, for requests, and for KV blocks on their way to files if they are
    /// kept there.
    pub(crate) fn for_server(self, sequences: usize, keeps_kv: bool) -> Self {
        Self { sequences, keeps_kv, server: shoal_server::MEMORY_MAX, ..self }
    }
}

impl Runtime {
    /// The bounds of the machine, unless nobody wants them.
    fn bounds(&self) -> Option<Bounds> {
        let memory = self.memory.map_or(u64::MAX, |memory| memory.0);
        match self.measure {
            Measure::Never => None,
            Measure::Known => roofline::known_bounds(&self.cache_dir, self.isa, self.threads),
            Measure::Once => Some(roofline::bounds(&self.cache_dir, self.isa, self.threads, memory)),
            Measure::Anew => Some(roofline::bounds_anew(&self.cache_dir, self.isa, self.threads, memory)),
        }
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
    let style = prompt_style(checkpoint.metadata(), &tokenizer)?;
    let bounds = runtime.bounds();
    let wish = runtime.wish(config.common().max_position_embeddings);
    let context_len = wish.context_len;
    let (config, division, draft_len) = with_drafts(&name, &checkpoint, config, wish, runtime.draft)?;
    let identity = if runtime.keeps_kv {
        Some(identity(&checkpoint, runtime.isa, config.common().drafts)?)
    } else {
        None
    };
    let bar = loading_bar(&name);
    let progress = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let drafts = config.common().drafts;
    let options = OpenOptions { memory: division.for_model(), drafts, io: IoMode::Auto, progress: &progress };
    let cpu = Cpu::new(runtime.isa, Arc::new(Pool::new(runtime.threads)));
    let (device, anew) = (drive::device(&checkpoint), runtime.measure == Measure::Anew);
    let model = shoal_model::open(Arc::new(checkpoint), &options, cpu)?;
    bar.finish_and_clear();
    let rates = bounds.map(|bounds| {
        let drive_bytes_per_s =
            device.and_then(|device| drive::bytes_per_s(&runtime.cache_dir, device, &model, anew));
        Rates { bounds, drive_bytes_per_s }
    });
    let (prefill_chunk, isa) = (division.prefill_chunk, runtime.isa);
    Ok(Loaded {
        name,
        model,
        tokenizer,
        style,
        context_len,
        prefill_chunk,
        draft_len,
        isa,
        division,
        identity,
        rates,
    })
}

/// Whether a draft layer is used, and what memory is divided into then. A guess costs experts of its own: where these would come from
/// a drive, it is only made if that is asked for.
fn with_drafts(
    name: &str,
    checkpoint: &Checkpoint,
    config: ModelConfig,
    wish: Wish,
    asked: Option<usize>,
) -> anyhow::Result<(ModelConfig, Division, usize)> {
    let draft_len = asked.unwrap_or(1);
    let with = config.clone().with_drafts(draft_len > 0);
    if with.common().drafts {
        match Division::new(name, checkpoint, &with, wish) {
            Ok(division) if asked.is_some() || division.is_resident() => {
                return Ok((with, division, draft_len));
            }
            Err(error) if asked.is_some() => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    let division = Division::new(name, checkpoint, &config, wish)?;
    Ok((config, division, 0))
}

/// Everything that KV rows depend on, as a text.
fn identity(checkpoint: &Checkpoint, isa: Isa, drafts: bool) -> anyhow::Result<String> {
    let fingerprint: String = checkpoint.fingerprint()?.iter().map(|byte| format!("{byte:02x}")).collect();
    // A draft layer has rows of its own in every block.
    let drafts = if drafts { " with drafts" } else { "" };
    Ok(format!("{fingerprint} {} {}{drafts}", isa.name(), env!("CARGO_PKG_VERSION")))
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

/// How the model of a file reads a conversation.
pub(crate) fn prompt_style(metadata: &Metadata, tokenizer: &Tokenizer) -> anyhow::Result<PromptStyle> {
    const NAMES: [&str; 7] = [
        "name",
        "basename",
        "version",
        "finetune",
        "base_model.0.name",
        "base_model.0.version",
        "base_model.0.repo_url",
    ];
    let mut names = Vec::new();
    for name in NAMES {
        // A file that calls itself by something else than a text says nothing.
        names.extend(metadata.str(&format!("general.{name}")).ok().flatten().map(str::to_owned));
    }
    let architecture = metadata.required_str("general.architecture")?.to_owned();
    let template = metadata.str("tokenizer.chat_template")?;
    Ok(PromptStyle::detect(template, tokenizer, &Origin { architecture, names })?)
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
