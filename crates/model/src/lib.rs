//! Config to weights to forward: one file per model family, which reads like the paper.
//!
//! A [`Model`] turns token ids with positions into logits, one step at a time, and keeps what later tokens need in a
//! [`KvCache`]. It calls the verbs of `shoal_kernels::Cpu` over opaque activations and weight handles.
//!
//! What it does not know: requests, sampling, text; where a weight lies on disk; which instructions compute.
//!
//! Reading order: [`config`] (metadata to checked numbers), [`memory`], `weights` (names to handles), `rope`, [`kv_cache`],
//! [`step`], then a family: `llama` (Llama and Qwen2) or `deepseek_v3` with `mla`, `moe` and `mtp` (V2-Lite to
//! V3.2) or `deepseek_v4` with `compressed_attention`; `draft_file` for draft layers that come apart.

mod compressed_attention;
mod compressor;
pub mod config;
mod deepseek_v3;
mod deepseek_v4;
mod draft_file;
mod error;
mod forward;
mod indexer;
pub mod kv_cache;
mod kv_frames;
mod llama;
pub mod memory;
mod mla;
mod moe;
mod mtp;
mod rope;
pub mod step;
mod weights;

pub use config::ModelConfig;
pub use draft_file::with_draft_layer;
pub use error::Error;
pub use forward::{Ignore, Model, Observer, OpenOptions, open};
pub use kv_cache::KvCache;
/// Logits `[wanted rows, vocabulary]`.
pub use shoal_kernels::Act as Logits;
/// What a draft layer goes on from: what follows the last norm, `[rows, hidden size]`, or all streams of V4, `[rows, M * hidden size]`.
pub use shoal_kernels::Act as Hidden;
/// What a step has to do, however fast.
pub use shoal_kernels::Work;
/// How weights are read, what a tensor is to a store, and what went between disk and memory.
pub use shoal_store::{IoMode, Role, Traffic};
pub use step::{Output, Phase, Span, Step};
