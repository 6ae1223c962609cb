//! Reads golden files: small tensors of a reference implementation, stored as safetensors under `tests/golden`.
//!
//! A golden file is part of the repository, so a wrong one is our own mistake: everything here panics, with the
//! name of the file and of the tensor.

use std::path::{Path, PathBuf};

use ::safetensors::{Dtype, SafeTensors};

/// One golden file, in memory.
pub struct Golden {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Golden {
    /// Reads the file at `path`.
    ///
    /// # Panics
    /// If it cannot be read or is not a safetensors file.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        let bytes =
            std::fs::read(path).unwrap_or_else(|error| panic!("golden file {}: {error}", path.display()));
        let golden = Self { path: path.to_owned(), bytes };
        golden.tensors();
        golden
    }

    /// Shape (slowest dimension first) and elements of an f32 tensor.
    ///
    /// # Panics
    /// If there is no such tensor or it is of another type.
    #[must_use]
    pub fn f32(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let (shape, items) = self.items::<4>(name, Dtype::F32);
        (shape, items.iter().map(|item| f32::from_le_bytes(*item)).collect())
    }

    /// Elements of an i64 tensor.
    ///
    /// # Panics
    /// If there is no such tensor or it is of another type.
    #[must_use]
    pub fn i64(&self, name: &str) -> Vec<i64> {
        let (_, items) = self.items::<8>(name, Dtype::I64);
        items.iter().map(|item| i64::from_le_bytes(*item)).collect()
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes)
            .unwrap_or_else(|error| panic!("golden file {}: {error}", self.path.display()))
    }

    fn items<const B: usize>(&self, name: &str, dtype: Dtype) -> (Vec<usize>, Vec<[u8; B]>) {
        let tensors = self.tensors();
        let tensor = tensors.tensor(name).unwrap_or_else(|_| {
            panic!("golden file {}: no `{name}` among {:?}", self.path.display(), tensors.names())
        });
        assert_eq!(tensor.dtype(), dtype, "golden file {}: type of `{name}`", self.path.display());
        (tensor.shape().to_vec(), tensor.data().as_chunks().0.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden(name: &str) -> Golden {
        let header = br#"{"ids":{"dtype":"I64","shape":[2],"data_offsets":[0,16]},
            "x":{"dtype":"F32","shape":[1,2],"data_offsets":[16,24]}}"#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header);
        bytes.extend([7i64, -1].iter().flat_map(|v| v.to_le_bytes()));
        bytes.extend([1.5f32, -2.0].iter().flat_map(|v| v.to_le_bytes()));
        Golden { path: name.into(), bytes }
    }

    #[test]
    fn values_come_back_with_their_shapes() {
        let golden = golden("read");
        assert_eq!(golden.i64("ids"), [7, -1]);
        assert_eq!(golden.f32("x"), (vec![1, 2], vec![1.5, -2.0]));
    }

    #[test]
    #[should_panic(expected = "type of `ids`")]
    fn a_wrong_type_is_named() {
        let _ = golden("type").f32("ids");
    }
}
