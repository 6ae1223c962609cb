//! A model in the hub's own files, shown as the GGUF file that could be made of it: the same keys, the same names of tensors.
//!
//! ```text
//! config.json ────► config ──────────► keys       ──┐
//! tokenizer*.json ────► tokenizer, splitter ────────┼──► metadata
//! *.safetensors ──► shards ──► weight ──► tensors ──┴──► tensors: name, type in memory, and where their bytes are
//! ```
//! Nothing is converted and nothing is copied: a stack of experts is as many pieces as there are experts, wherever they lie, and
//! what is packed (FP8, FP4) says so and is brought into rows when it is read.
//!
//! Each tensor of the hub is taken once. What is left over must be known to be of no use here: a model that has something more
//! would silently be another.
//!
//! Reading order: this file, `config`, `keys`, `tensors`, `deepseek_v4`, `weight`, `shards`, then `tokenizer` and `splitter`.

mod config;
mod deepseek_v4;
mod keys;
mod shards;
mod splitter;
mod tensors;
mod tokenizer;
mod weight;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::json::{self, Found};
use crate::{Checkpoint, Error, Format, Metadata};
use config::Config;
use shards::Shards;
use tensors::Taken;

/// The folder that `path` means, if it is one or a file in one; `None` if it is something else.
pub(crate) fn folder_of(path: &Path) -> Option<PathBuf> {
    if path.is_dir() {
        return Some(path.to_owned());
    }
    let is_hub = path.extension().is_some_and(|extension| extension == "safetensors" || extension == "json");
    let parent = path.parent().filter(|_| is_hub)?;
    Some(if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() })
}

/// Opens the model in `folder`.
pub(crate) fn open(folder: &Path) -> Result<Checkpoint, Error> {
    let path = folder.join("config.json");
    let Some(Found { value: config, bytes }) = json::load::<Config>(&path)? else {
        return Err(Error::NoModel { path: folder.to_owned(), missing: "config.json" });
    };
    let mut digest = Sha256::new();
    digest.update(bytes);
    let file = path.display().to_string();
    let family = config.check(&file)?;
    let Taken { sources, tensors, drafts } = tensors::take_all(&config, family, Shards::open(folder)?)?;
    let name = name_of(folder);
    let mut metadata = Metadata::new(&file);
    let model = keys::pairs(&file, &config, family, &name, drafts)?;
    // Its table is as long as the embedding, which was found.
    let vocabulary = tokenizer::pairs(folder, config.vocab_size, &mut digest)?;
    for (key, value) in model.into_iter().chain(vocabulary) {
        let is_new = metadata.insert(key, value);
        debug_assert!(is_new, "a key is made once");
    }
    let by_name: HashMap<String, usize> =
        tensors.iter().enumerate().map(|(idx, tensor)| (tensor.name.clone(), idx)).collect();
    let digest = Some(digest.finalize().into());
    Ok(Checkpoint { format: Format::Safetensors, digest, name, metadata, tensors, by_name, sources })
}

/// What to call the model: the folder, or the repository where the folder is one of the hub's cache.
fn name_of(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let text = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let repository = whole.parent().filter(|parent| text(parent) == "snapshots").and_then(Path::parent);
    let repository = repository.map(text);
    match repository.as_deref().and_then(|name| name.strip_prefix("models--")) {
        Some(name) => name.rsplit("--").next().unwrap_or(name).to_owned(),
        None => text(&whole),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_the_cache_is_called_as_its_repository() {
        assert_eq!(
            name_of(Path::new("no/models--deepseek-ai--DeepSeek-V3/snapshots/0123abcd")),
            "DeepSeek-V3"
        );
        assert_eq!(name_of(Path::new("no/DeepSeek-V3")), "DeepSeek-V3");
        assert_eq!(name_of(Path::new("no/snapshots/v3")), "v3");
    }

    #[test]
    fn a_file_of_a_folder_means_the_folder() {
        let of = |path: &str| folder_of(Path::new(path)).map(|path| path.display().to_string());
        assert_eq!(of("a/config.json").as_deref(), Some("a"));
        assert_eq!(of("model-00001-of-00002.safetensors").as_deref(), Some("."));
        assert_eq!((of("a/model.gguf"), of("a/none")), (None, None));
        assert!(of(env!("CARGO_MANIFEST_DIR")).is_some());
    }
}
