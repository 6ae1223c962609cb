//! Reading golden tensors: what the reference implementation computed, kept as safetensors.

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;

/// A file of golden tensors.
pub struct Golden {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Golden {
    /// Reads a file.
    ///
    /// # Panics
    /// If it cannot be read: a golden file is part of the repository.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path: path.to_owned(), bytes }
    }

    fn tensor(&self, name: &str) -> (Vec<usize>, Vec<u8>) {
        let file = SafeTensors::deserialize(&self.bytes).expect("a safetensors file");
        let tensor = file.tensor(name).unwrap_or_else(|error| panic!("{} `{name}`: {error}", self.path.display()));
        (tensor.shape().to_vec(), tensor.data().to_vec())
    }

    /// Shape and elements of an f32 tensor.
    ///
    /// # Panics
    /// If there is no such tensor.
    #[must_use]
    pub fn f32(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let (shape, bytes) = self.tensor(name);
        (shape, bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
    }

    /// Elements of an i64 tensor.
    ///
    /// # Panics
    /// If there is no such tensor.
    #[must_use]
    pub fn i64(&self, name: &str) -> Vec<i64> {
        let (_, bytes) = self.tensor(name);
        bytes.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect()
    }
}
