//! The weight files of a folder: one, or the shards that an index names; and each tensor taken from them once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use shoal_base::limits::{SPLIT_COUNT_MAX, TENSOR_COUNT_MAX};

use crate::error::shown;
use crate::safetensors::{self, Stored};
use crate::{Error, Place, Source, json};

const WHOLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The tensors of all weight files, and which of them nobody has taken yet.
pub(super) struct Shards {
    folder: String,
    pub(super) sources: Vec<Source>,
    tensors: BTreeMap<String, (usize, Stored)>,
    left: BTreeSet<String>,
}

/// Which file holds which tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Shards {
    /// Reads the headers of all weight files in `folder`.
    pub(super) fn open(folder: &Path) -> Result<Self, Error> {
        let whole = folder.join(WHOLE);
        if whole.exists() {
            return Self::read(folder, &[whole]);
        }
        let index_path = folder.join(INDEX);
        let Some(index) = json::load::<Index>(&index_path)? else {
            return Err(Error::NoModel { path: folder.to_owned(), missing: WHOLE });
        };
        let (map, file) = (index.value.weight_map, index_path.display().to_string());
        let names: BTreeSet<&str> = map.values().map(String::as_str).collect();
        if names.len() > SPLIT_COUNT_MAX as usize {
            let (found, max) = (names.len() as u64, u64::from(SPLIT_COUNT_MAX));
            return Err(Error::Limit { file, place: "the number of weight files".to_owned(), found, max });
        }
        if let Some(name) = names.iter().find(|name| !is_plain(name)) {
            return Err(Error::ShardName { file, shard: shown(name) });
        }
        let paths: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
        if let Some(path) = paths.iter().find(|path| !path.exists()) {
            return Err(Error::ShardMissing { file, path: path.clone() });
        }
        let shards = Self::read(folder, &paths)?;
        let names: Vec<&str> = names.into_iter().collect();
        let is_there = |tensor: &str, shard: &str| {
            shards.tensors.get(tensor).is_some_and(|(source_idx, _)| names[*source_idx] == shard)
        };
        match map.iter().find(|(tensor, shard)| !is_there(tensor, shard)) {
            Some((tensor, shard)) => {
                Err(Error::NotInShard { file, tensor: shown(tensor), shard: shown(shard) })
            }
            None => Ok(shards),
        }
    }

    fn read(folder: &Path, paths: &[PathBuf]) -> Result<Self, Error> {
        let (mut sources, mut tensors) = (Vec::new(), BTreeMap::new());
        for (source_idx, path) in paths.iter().enumerate() {
            let failed = |source| Error::Open { path: path.clone(), source };
            if !std::fs::metadata(path).map_err(failed)?.is_file() {
                return Err(Error::NotAFile { path: path.clone() });
            }
            let opened = File::open(path).map_err(failed)?;
            let len = opened.metadata().map_err(failed)?.len();
            let file = path.display().to_string();
            for stored in safetensors::parse(&file, BufReader::new(opened), len)? {
                let name = stored.name.clone();
                if let Some((_, twice)) = tensors.insert(name, (source_idx, stored)) {
                    return Err(Error::DuplicateTensor { file, tensor: shown(&twice.name) });
                }
            }
            if tensors.len() as u64 > TENSOR_COUNT_MAX {
                let (found, place) = (tensors.len() as u64, "the number of tensors".to_owned());
                return Err(Error::Limit { file, place, found, max: TENSOR_COUNT_MAX });
            }
            sources.push(Source::File { path: path.clone(), len });
        }
        let left = tensors.keys().cloned().collect();
        Ok(Self { folder: folder.display().to_string(), sources, tensors, left })
    }

    /// What messages call the folder.
    pub(super) fn folder(&self) -> String {
        self.folder.clone()
    }

    /// Whether the files have this tensor.
    pub(super) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The tensor `name`.
    pub(super) fn take(&mut self, name: &str) -> Result<(&Stored, Place), Error> {
        let Some((source_idx, stored)) = self.tensors.get(name) else {
            return Err(Error::MissingTensor { file: self.folder.clone(), tensor: shown(name) });
        };
        self.left.remove(name);
        let Stored { offset, bytes, .. } = *stored;
        Ok((stored, Place { source_idx: *source_idx, offset, bytes }))
    }

    /// Leaves out every tensor for which `is_known` holds: it has no place in a model here, and need not have one.
    pub(super) fn leave_out(&mut self, is_known: impl Fn(&str) -> bool) {
        self.left.retain(|name| !is_known(name));
    }

    /// Ends taking.
    ///
    /// # Errors
    /// If a tensor was neither taken nor left out: the model has something that would silently be missing.
    pub(super) fn finish(self) -> Result<Vec<Source>, Error> {
        match self.left.first() {
            None => Ok(self.sources),
            Some(name) => {
                let (tensor, more) = (shown(name), self.left.len() - 1);
                Err(Error::UnknownTensor { file: self.folder, tensor, more })
            }
        }
    }
}

/// Whether `name` is that of a file in the same folder, and no way out of it.
fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(std::path::Component::Normal(only)), None) if only == name)
        && !name.contains(['/', '\\', '\0'])
}
