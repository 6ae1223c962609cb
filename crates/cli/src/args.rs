//! The command line as clap sees it; names as users of other local engines expect them.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use shoal_base::Bytes;
use shoal_plan::Mix;
use shoal_text::Effort;

const EXAMPLES: &str = "\
Examples:
  shoal run                                   chat with a small model, fetched on first use
  shoal run minnow \"Once upon a time\"          the model inside this program: no file, no network
  shoal run ./DeepSeek-R1-Distill-Qwen-7B-Q4_K_M.gguf
  shoal run ./DeepSeek-V4-Flash               a folder with a model's own config.json and safetensors files
  echo \"What is a shoal?\" | shoal run -       a prompt from a pipe, the answer to standard output
  shoal app                                   chat in the browser
  shoal serve                                 the same model for programs that speak OpenAI's API
  shoal pull r1-distill-qwen-1.5b             fetch a model by its name; `shoal list` shows the names
  shoal inspect model.gguf                    what a file holds and how much memory it needs
  shoal plan                                  which of DeepSeek's models run here, and how fast
  shoal plan v4-flash --on \"rtx3090 + epyc7443 128GB nvme:7GB/s\"
  shoal bench model.gguf                      tokens per second, bytes per token and what binds";

/// DeepSeek in shallow water: runs the DeepSeek models on the computer that is there.
#[derive(Debug, Parser)]
#[command(name = "shoal", version, about, after_help = EXAMPLES, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Chat with a model, or answer one prompt
    Run(RunArgs),
    /// Serve a chat page, and programs that speak OpenAI's or Anthropic's API, over HTTP on this machine
    Serve(ServeArgs),
    /// Serve the same, and open the chat page in the browser: on a free port if 8080 is taken
    App(ServeArgs),
    /// Fetch a model by its name in the catalogue
    Pull(PullArgs),
    /// Show the models of the catalogue and which are on this machine
    List(ListArgs),
    /// Print the raw logits after given tokens, for comparing engines
    Logits(LogitsArgs),
    /// Measure how well a model predicts a text
    Perplexity(PerplexityArgs),
    /// Show what a model file holds and how much memory it needs
    Inspect(InspectArgs),
    /// Say beforehand what runs here or elsewhere, how fast, in how much memory and at what cost
    Plan(PlanArgs),
    /// Measure the speed of a model: prompts of 128 and 512 tokens, then 32 tokens one by one
    Bench(BenchArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
    /// Print the manual page
    Man,
}

/// Where the model runs and within what limits.
#[derive(Args, Debug, Clone)]
pub(crate) struct RuntimeArgs {
    /// Longest conversation in tokens, such as 8192 or 32k, by default 4096; 0 for the longest the model was made for
    #[arg(long, short = 'c', value_name = "TOKENS", value_parser = parse_tokens)]
    pub(crate) ctx: Option<usize>,
    /// Threads, at most one for each processor; by default one for each physical core this process may use
    #[arg(long, short = 't', value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// Most memory for the whole process, such as 12GiB; by default what the machine has free. Experts that do not
    /// fit are read from disk when they are needed
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<Bytes>,
    /// Instructions to use; `scalar` is the reference that any report can be replayed on
    #[arg(long, value_name = "ISA", value_parser = ["scalar", "avx2", "avxvnni", "avx512", "avx512vbmi"])]
    pub(crate) isa: Option<String>,
    /// Tokens of a prompt that are read in one step, by default as many as memory allows; the answer does not depend
    /// on it
    #[arg(long, value_name = "TOKENS", value_parser = parse_chunk)]
    pub(crate) prefill_chunk: Option<usize>,
}

/// `8192`, `32k`.
fn parse_tokens(text: &str) -> Result<usize, String> {
    let (number, factor) = match text.strip_suffix(['k', 'K']) {
        Some(thousands) => (thousands, 1024),
        None => (text, 1),
    };
    let tokens = number.parse::<usize>().ok().and_then(|number| number.checked_mul(factor));
    tokens.ok_or_else(|| "expected a number of tokens such as 8192 or 32k".to_owned())
}

fn parse_chunk(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(chunk) if (1..=65_536).contains(&chunk) => Ok(chunk),
        _ => Err("expected a number from 1 to 65536".to_owned()),
    }
}

/// Whether answers are guessed ahead.
#[derive(Args, Debug, Clone)]
pub(crate) struct DraftArgs {
    /// Tokens that a model's draft layer guesses ahead, to be checked all at once: by default 1 where all weights are in memory, and
    /// 0 elsewhere. The answer does not depend on it, and guessing stops where it does not pay
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=8))]
    pub(crate) draft: Option<u8>,
    /// A GGUF file with the model's draft layer, where it is published apart (`mtp-*.gguf` of DeepSeek V4)
    #[arg(long, value_name = "FILE")]
    pub(crate) draft_model: Option<PathBuf>,
}

impl DraftArgs {
    /// Tokens to guess ahead; `None` where nobody has said. Who names a draft layer wants it used.
    pub(crate) fn len(&self) -> Option<usize> {
        self.draft.map(usize::from).or(self.draft_model.as_ref().map(|_| 1))
    }
}

/// How the next token is chosen. What is not given comes from what the model's makers recommend.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct SamplingArgs {
    /// Randomness: 0 always takes the likeliest token
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    pub(crate) temp: Option<f32>,
    /// Only the K likeliest tokens; 0 for all
    #[arg(long, value_name = "K")]
    pub(crate) top_k: Option<usize>,
    /// Only the likeliest tokens that together reach this probability
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub(crate) top_p: Option<f32>,
    /// Only tokens with this share of the likeliest one's probability
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub(crate) min_p: Option<f32>,
    /// Make tokens of late less likely; 1 for no change
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) repeat_penalty: Option<f32>,
    /// How many of the last tokens the penalties look at
    #[arg(long, value_name = "N")]
    pub(crate) repeat_last_n: Option<usize>,
    /// Taken from a token's logit for each time it stood lately
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) frequency_penalty: Option<f32>,
    /// Taken from a token's logit once if it stood lately
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) presence_penalty: Option<f32>,
    /// Add to a token's logit: ID=BIAS, may be given several times
    #[arg(long, value_name = "ID=BIAS", value_parser = parse_bias, allow_hyphen_values = true)]
    pub(crate) logit_bias: Vec<(u32, f32)>,
    /// Same seed, same answer
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Most tokens of an answer
    #[arg(long, short = 'n', value_name = "N")]
    pub(crate) max_tokens: Option<usize>,
    /// End the answer before this text; may be given several times
    #[arg(long, value_name = "TEXT")]
    pub(crate) stop: Vec<String>,
}

fn parse_bias(text: &str) -> Result<(u32, f32), String> {
    let parsed = text.split_once('=').and_then(|(id, bias)| Some((id.parse().ok()?, bias.parse().ok()?)));
    parsed.ok_or_else(|| format!("expected ID=BIAS such as 42=-1.5, found `{text}`"))
}

/// When to colour the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How long a model is to reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum EffortChoice {
    /// As it would of its own accord
    Low,
    /// What its makers have made the usual one
    #[default]
    High,
    /// As long as it can
    Max,
}

impl From<EffortChoice> for Effort {
    fn from(choice: EffortChoice) -> Self {
        match choice {
            EffortChoice::Low => Self::Low,
            EffortChoice::High => Self::High,
            EffortChoice::Max => Self::Max,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// A GGUF file, a folder with safetensors files, a name from the catalogue, or `minnow`; `-` reads the prompt from standard input
    pub(crate) model: Option<String>,
    /// Answer this and end; `-` reads it from standard input. Without it: a chat
    pub(crate) prompt: Option<String>,
    /// Instructions that stand before the conversation
    #[arg(long, value_name = "TEXT")]
    pub(crate) system: Option<String>,
    /// Answer without reasoning first, where the model can
    #[arg(long)]
    pub(crate) no_think: bool,
    /// How long to reason, where the model knows degrees (DeepSeek V4)
    #[arg(long, value_name = "DEGREE", value_enum, default_value_t)]
    pub(crate) effort: EffortChoice,
    /// Show that the model reasons, not what
    #[arg(long)]
    pub(crate) fold: bool,
    /// Continue the prompt as it stands, without the model's chat format
    #[arg(long)]
    pub(crate) raw: bool,
    /// Print one JSON object with answer, reasoning, token counts and speed
    #[arg(long)]
    pub(crate) json: bool,
    /// When to colour the output
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    pub(crate) color: ColorChoice,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    #[command(flatten)]
    pub(crate) draft: DraftArgs,
    #[command(flatten)]
    pub(crate) runtime: RuntimeArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// A GGUF file, a folder with safetensors files, a name from the catalogue, or `minnow`; by default a small model, fetched on first use
    pub(crate) model: Option<String>,
    /// Address to listen on. Any other than this machine's own asks for a key, and makes one if none is given
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) host: IpAddr,
    /// Port to listen on, by default 8080; 0 takes a free one
    #[arg(long, short = 'p', value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Serve only who shows this key. Other users of the machine may see it here: SHOAL_API_KEY or a file is safer
    #[arg(long, value_name = "KEY", conflicts_with = "api_key_file")]
    pub(crate) api_key: Option<String>,
    /// A file with the key, or with several, one a line: any of them will do, and what is known of one's prompts is one's own
    #[arg(long, value_name = "FILE")]
    pub(crate) api_key_file: Option<PathBuf>,
    /// Requests that may run or wait at a time with one key; by default as many as with all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) key_limit: Option<u16>,
    /// Another name that clients may call the model by, such as `deepseek-chat`; `*` for any. May be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) alias: Vec<String>,
    /// Encrypt connections with the certificate in this file (PEM), and the key in another
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The key of the certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Conversations that run at a time, each with the whole context
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) parallel: u16,
    /// Requests that may wait for one of those to end; further ones are told to come back
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(0..=4096))]
    pub(crate) queue: u16,
    /// Keep what was computed for prompts in this folder as well: known beginnings need not be read again, even after a restart. They can
    /// be read back out of the files, so keep the folder to yourself
    #[arg(long, value_name = "FOLDER")]
    pub(crate) kv_dir: Option<PathBuf>,
    /// Most that the folder may take, for all models together
    #[arg(long, value_name = "SIZE", default_value = "8GiB", requires = "kv_dir")]
    pub(crate) kv_quota: Bytes,
    /// Write a line of JSON about each request to standard error; nothing of what is said stands in it
    #[arg(long)]
    pub(crate) log: bool,
    #[command(flatten)]
    pub(crate) draft: DraftArgs,
    #[command(flatten)]
    pub(crate) runtime: RuntimeArgs,
}

#[derive(Args, Debug)]
pub(crate) struct PullArgs {
    /// Name in the catalogue; `shoal list` shows them
    pub(crate) model: String,
}

#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct LogitsArgs {
    /// A GGUF file, a folder with safetensors files, or a name
    pub(crate) model: String,
    /// Token ids, separated by commas
    #[arg(long, value_name = "IDS", value_delimiter = ',', required_unless_present = "text")]
    pub(crate) ids: Vec<u32>,
    /// Text to tokenize, as a plain sequence of this model begins
    #[arg(long, value_name = "TEXT", conflicts_with = "ids")]
    pub(crate) text: Option<String>,
    /// How many of the best tokens
    #[arg(long, value_name = "K", default_value_t = 20)]
    pub(crate) top: usize,
    /// After every token, not only the last
    #[arg(long)]
    pub(crate) all: bool,
    /// Print JSON: {"positions":[{"ids":[…],"logits":[…]}, …]}
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) runtime: RuntimeArgs,
}

#[derive(Args, Debug)]
pub(crate) struct PerplexityArgs {
    /// A GGUF file, a folder with safetensors files, or a name
    pub(crate) model: String,
    /// A text file
    pub(crate) file: PathBuf,
    /// Tokens of a window; the second half of each is scored
    #[arg(long, value_name = "TOKENS", default_value_t = 512)]
    pub(crate) ctx: usize,
    /// Only the first N tokens of the text
    #[arg(long, value_name = "N")]
    pub(crate) tokens: Option<usize>,
    /// Print JSON: {"ppl":…, "tokens":…}
    #[arg(long)]
    pub(crate) json: bool,
    /// Threads; by default one for each physical core this process may use
    #[arg(long, short = 't', value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// Most memory for the whole process, such as 12GiB; by default what the machine has free. Experts that do not
    /// fit are read from disk when they are needed
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<Bytes>,
    /// Instructions to use
    #[arg(long, value_name = "ISA", value_parser = ["scalar", "avx2", "avxvnni", "avx512", "avx512vbmi"])]
    pub(crate) isa: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct InspectArgs {
    /// A GGUF file, a folder with safetensors files, or a name
    pub(crate) model: String,
    /// Context to count memory for, in tokens; 0 for the longest the model was made for
    #[arg(long, short = 'c', value_name = "TOKENS", default_value_t = 4096)]
    pub(crate) ctx: usize,
    /// List every tensor
    #[arg(long)]
    pub(crate) tensors: bool,
    /// List all metadata
    #[arg(long)]
    pub(crate) metadata: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    /// A GGUF file, a folder with safetensors files, or a name
    #[arg(required_unless_present = "synthetic", conflicts_with = "synthetic")]
    pub(crate) model: Option<String>,
    /// Measure some layers of a model that is not here, such as v4-flash: random weights of its shapes, in a file that is gone
    /// afterwards. What it yields is carried over to all layers, with as great a part of the experts in memory as of all
    #[arg(long, value_name = "NAME")]
    pub(crate) synthetic: Option<String>,
    /// How many layers
    #[arg(long, value_name = "N", conflicts_with = "model", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) layers: u16,
    /// Formats of the weights: q2 (experts in IQ2_XXS and Q2_K), mxfp4, q4_k_m, q8_0 or bf16
    #[arg(long, value_name = "MIX", conflicts_with = "model", default_value = "q4_k_m", value_parser = str::parse::<Mix>)]
    pub(crate) mix: Mix,
    /// Where the weights are written, which should be the drive that the model will be on; by default the cache folder
    #[arg(long, value_name = "FOLDER", conflicts_with = "model")]
    pub(crate) scratch_dir: Option<PathBuf>,
    /// Lengths of the prompts, such as 128,512; 0 for none
    #[arg(long, short = 'p', value_name = "TOKENS", value_delimiter = ',', default_values_t = [128, 512])]
    pub(crate) prompt_tokens: Vec<usize>,
    /// Tokens that are decoded one by one; 0 for none
    #[arg(long, short = 'n', value_name = "TOKENS", value_delimiter = ',', default_values_t = [32])]
    pub(crate) decode_tokens: Vec<usize>,
    /// Counted runs of each test, after one that does not count
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) runs: u16,
    /// Show where the time of each test goes: by operation and kind of layer, with the bound of each
    #[arg(long)]
    pub(crate) profile: bool,
    /// Print one JSON object for each test
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) runtime: RuntimeArgs,
}

#[derive(Args, Debug)]
pub(crate) struct PlanArgs {
    /// Models: names such as v4-flash, with formats such as v4-flash:q2 if they are to be certain ones; GGUF files; their addresses, of which only the
    /// beginning is fetched. By default the whole family
    pub(crate) model: Vec<String>,
    /// Another machine, such as "8x H20", "rtx3090 + epyc7443 128GB nvme:7GB/s" or m3-ultra-512. May be given several times
    #[arg(long, value_name = "HARDWARE", allow_hyphen_values = true)]
    pub(crate) on: Vec<String>,
    /// How much of speed, memory and cost is owed to each saving of the model's design
    #[arg(long, requires = "model", conflicts_with_all = ["check", "plot"])]
    pub(crate) why: bool,
    /// List the chips that are known, with their numbers
    #[arg(long, conflicts_with_all = ["model", "on", "why", "check", "probe", "plot"])]
    pub(crate) chips: bool,
    /// Measure this machine again
    #[arg(long, conflicts_with = "on")]
    pub(crate) probe: bool,
    /// Run a few layers with random weights and compare what they take with what was predicted
    #[arg(long, conflicts_with = "on")]
    pub(crate) check: bool,
    /// Count on every expert being asked for as often as any, as with random weights; a text comes back to the same ones
    #[arg(long)]
    pub(crate) even_routing: bool,
    /// Conversations at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) streams: u32,
    /// Find how many conversations at a time get as many tokens per second each
    #[arg(long, value_name = "X", value_parser = parse_positive, conflicts_with = "streams")]
    pub(crate) min_tps: Option<f64>,
    /// Tokens of a prompt
    #[arg(long, short = 'p', value_name = "TOKENS", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) prompt: u32,
    /// Tokens guessed ahead in each step, on other machines and with models that have a layer for it
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=8), requires = "on")]
    pub(crate) draft: u8,
    /// The share of the time in which the machine has something to do, for what tokens cost
    #[arg(long, value_name = "SHARE", default_value_t = 1.0, value_parser = parse_share)]
    pub(crate) utilisation: f64,
    /// What the machine costs per hour, in dollars, in place of what the catalogue says
    #[arg(long, value_name = "USD", value_parser = parse_positive)]
    pub(crate) usd_per_hour: Option<f64>,
    /// Draw speed against memory, or cost against machines where several are given, to an SVG file
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// When to colour the output
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    pub(crate) color: ColorChoice,
    #[command(flatten)]
    pub(crate) runtime: RuntimeArgs,
}

fn parse_positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("expected a number above 0".to_owned()),
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err("expected a number above 0 and at most 1".to_owned()),
    }
}

#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}
