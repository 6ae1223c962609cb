//! Model files to validated, named views; no maths.
//!
//! A [`Checkpoint`] is one model: its metadata and a list of tensors, each with a type, a shape and a place in a
//! file. Opening reads headers only, whatever the size of the model; weights are read later, by position, through
//! [`Source::open`]. Everything in a file is untrusted: what this crate hands out has been checked against the
//! length of the file, so that a reader of weights need not check again.
//!
//! ```text
//!   model.gguf ────────────────────────────── gguf ──┐
//!   config.json, tokenizer.json ── hub_layout ───────┼──► metadata under GGUF's keys, tensors under GGUF's names
//!   *.safetensors ─ safetensors ──────┘              ┘
//! ```
//! This crate does not know what a tensor means, nor which ones a model needs; only `hub_layout` knows how the hub and GGUF
//! name one thing, and where they lay it out differently.
//!
//! Reading order: [`tensor`] and [`metadata`] (what comes out), `gguf` (the format and its checks), `split` (models
//! of several files), `join` (one of two files), [`safetensors`] and `hub_layout` (the hub's own files),
//! [`source`] (reading weights), `fingerprint`, [`error`].

pub mod error;
pub mod metadata;
pub mod safetensors;
pub mod source;
pub mod tensor;
pub mod write;

mod cursor;
mod fingerprint;
mod gguf;
mod hub_layout;
mod join;
mod json;
mod layout;
mod read;
mod split;

use std::collections::HashMap;
use std::path::Path;

pub use error::Error;
pub use metadata::{Metadata, Value};
pub use source::{Reader, Source};
pub use tensor::{Piece, Place, TensorInfo};

/// What kind of files a model is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One GGUF file, or a split set.
    Gguf,
    /// A folder of the hub: JSON and safetensors. Rows of Llama's query and key stand as they do there: for each head all first
    /// elements of the pairs that turn together, then all second ones. GGUF files have the pairs side by side.
    Safetensors,
}

/// One model: metadata, and tensors by name. Metadata of a split model is that of its first part.
#[derive(Debug)]
pub struct Checkpoint {
    format: Format,
    /// Hash of what describes the model, where that is not in the files that hold its tensors.
    digest: Option<[u8; 32]>,
    name: String,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    by_name: HashMap<String, usize>,
    sources: Vec<Source>,
}

impl Checkpoint {
    /// Opens a model: a GGUF file, or the whole set if `path` is any part of a split model; or a folder as models have on the hub,
    /// by its path or that of a file in it.
    ///
    /// # Errors
    /// If a file cannot be read, is not a valid GGUF file of version 2 or 3, is shorter than its tensors need, or
    /// a part is missing or does not belong to the set; of a folder, if its files are not those of a model that is known here.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if let Some(folder) = hub_layout::folder_of(path) {
            return hub_layout::open(&folder);
        }
        let parts = split::open_all(path)?;
        let (sources, parts) = parts.into_iter().unzip();
        Self::assemble(split::model_name(path), sources, parts)
    }

    /// A model that is part of the program; `name` stands in for the file name in messages.
    ///
    /// # Errors
    /// As [`Checkpoint::open`]; a part of a split model is refused.
    pub fn from_static(name: &str, bytes: &'static [u8]) -> Result<Self, Error> {
        let mut checkpoint = Self::from_bytes(name, bytes)?;
        checkpoint.sources.push(Source::Static(bytes));
        Ok(checkpoint)
    }

    /// Parses and checks a whole file held in memory. It has no sources, so its tensors can be listed, not read.
    ///
    /// # Errors
    /// As [`Checkpoint::from_static`].
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self, Error> {
        let part = gguf::parse(name, bytes, bytes.len() as u64)?;
        split::refuse_part(name, &part.metadata)?;
        Self::assemble(split::model_name(Path::new(name)), Vec::new(), vec![part])
    }

    /// Joins the parts of a model, in order, and makes the index of names.
    fn assemble(name: String, sources: Vec<Source>, parts: Vec<gguf::Part>) -> Result<Self, Error> {
        split::check_tensor_count(&parts)?;
        let mut tensors = Vec::new();
        let mut by_name = HashMap::new();
        let mut metadata = None;
        for (source_idx, part) in parts.into_iter().enumerate() {
            for info in part.tensors {
                if by_name.insert(info.name.clone(), tensors.len()).is_some() {
                    let file = part.metadata.file().to_owned();
                    return Err(Error::DuplicateTensor { file, tensor: error::shown(&info.name) });
                }
                tensors.push(info.in_source(source_idx));
            }
            metadata.get_or_insert(part.metadata);
        }
        let metadata = metadata.expect("a model has at least one part");
        Ok(Self { format: Format::Gguf, digest: None, name, metadata, tensors, by_name, sources })
    }

    /// What kind of files it is in.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// The key-value pairs of the (first) file.
    #[must_use]
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The tensor of this name.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.by_name.get(name).map(|&idx| &self.tensors[idx])
    }

    /// All tensors, in the order of the files.
    #[must_use]
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// What holds the tensors, indexed by [`Place::source_idx`].
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// What to call the model: `general.name` if the file states it, else its file name without extension.
    #[must_use]
    pub fn name(&self) -> String {
        match self.metadata.str("general.name") {
            Ok(Some(name)) if !name.trim().is_empty() => name.to_owned(),
            _ => self.name.clone(),
        }
    }

    /// Length of all files together, in bytes.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        let stored = self.sources.iter().filter(|source| !matches!(source, Source::Computed(_)));
        stored.map(Source::bytes).sum()
    }
}
