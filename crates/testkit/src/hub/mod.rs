//! Models in the hub's own files: a golden GGUF file taken back to the layout it was made of, and official checkpoints in small.
//!
//! The names and layouts stand here a second time, on purpose and the other way round: a test that reads such a folder compares what
//! the reader understands with what the writer meant.

mod config;
mod names;
mod official;
mod tokenizer;

use std::path::Path;

use serde_json::{Map, Value as Json, json};

use crate::gguf_reader::GgufFile;
use crate::safetensors::{HubTensor, write};

pub use official::{EXPERTS, Official, Scales};

/// A model as a folder of the hub holds it.
#[derive(Clone, Debug)]
pub struct HubModel {
    /// `config.json`.
    pub config: Map<String, Json>,
    /// `tokenizer.json`.
    pub tokenizer: Json,
    /// `tokenizer_config.json`.
    pub tokenizer_config: Json,
    /// What the weight files hold.
    pub tensors: Vec<HubTensor>,
}

impl HubModel {
    /// The model that the golden file at `path` was made of.
    ///
    /// # Panics
    /// If it is no file of a golden model.
    #[must_use]
    pub fn of_gguf(path: &Path) -> Self {
        let file = GgufFile::open(path);
        let (tokenizer, tokenizer_config) = tokenizer::of(&file);
        Self { config: config::of(&file), tokenizer, tokenizer_config, tensors: names::tensors(&file) }
    }

    /// Writes the folder `dir`, with the weights in `shards` files and an index if that is more than one. Neighbours come into
    /// different files.
    ///
    /// # Panics
    /// If a file cannot be written.
    pub fn write(&self, dir: &Path, shards: usize) {
        std::fs::create_dir_all(dir).expect("a folder");
        let save = |name: &str, bytes: &[u8]| std::fs::write(dir.join(name), bytes).expect("a file");
        save("config.json", json!(self.config).to_string().as_bytes());
        save("tokenizer.json", self.tokenizer.to_string().as_bytes());
        save("tokenizer_config.json", self.tokenizer_config.to_string().as_bytes());
        if shards == 1 {
            return save("model.safetensors", &write(&self.tensors.iter().collect::<Vec<_>>()));
        }
        let file = |shard: usize| format!("model-{:05}-of-{shards:05}.safetensors", shard + 1);
        let mut map = Map::new();
        for shard in 0..shards {
            let own: Vec<&HubTensor> = self.tensors.iter().skip(shard).step_by(shards).collect();
            map.extend(own.iter().map(|tensor| (tensor.name.clone(), Json::from(file(shard)))));
            save(&file(shard), &write(&own));
        }
        let total: usize = self.tensors.iter().map(|tensor| tensor.bytes.len()).sum();
        let index = json!({"metadata": {"total_size": total}, "weight_map": map});
        save("model.safetensors.index.json", index.to_string().as_bytes());
    }
}
