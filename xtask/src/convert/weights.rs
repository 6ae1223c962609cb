//! The tensors of a safetensors file as f32, each taken exactly once.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};
use safetensors::{Dtype as Stored, SafeTensors};
use shoal_quant::{Dtype, decode_row};

/// A file of weights, and what has not been taken from it yet.
pub(crate) struct Weights<'a> {
    file: SafeTensors<'a>,
    left: BTreeSet<String>,
}

impl<'a> Weights<'a> {
    /// Reads the header of `bytes`.
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self> {
        let file = SafeTensors::deserialize(bytes)?;
        let left = file.names().into_iter().map(str::to_owned).collect();
        Ok(Self { file, left })
    }

    /// Whether the file has this tensor.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.file.tensor(name).is_ok()
    }

    /// The tensor `name` of `shape`, slowest dimension first.
    pub(crate) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        ensure!(self.left.remove(name), "tensor `{name}`: missing in model.safetensors, or wanted twice");
        let tensor = self.file.tensor(name)?;
        ensure!(tensor.shape() == shape, "tensor `{name}`: expected {shape:?}, found {:?}", tensor.shape());
        let dtype = match tensor.dtype() {
            Stored::F32 => Dtype::F32,
            Stored::F16 => Dtype::F16,
            Stored::BF16 => Dtype::BF16,
            other => bail!("tensor `{name}`: expected F32, F16 or BF16, found {other:?}"),
        };
        let mut values = vec![0.0; shape.iter().product()];
        decode_row(dtype, tensor.data(), &mut values);
        Ok(values)
    }

    /// The ids `name` of `shape`.
    pub(crate) fn take_ids(&mut self, name: &str, shape: &[usize]) -> Result<Vec<i32>> {
        ensure!(self.left.remove(name), "tensor `{name}`: missing in model.safetensors, or wanted twice");
        let tensor = self.file.tensor(name)?;
        ensure!(tensor.shape() == shape, "tensor `{name}`: expected {shape:?}, found {:?}", tensor.shape());
        let ids: Vec<i64> = match tensor.dtype() {
            Stored::I64 => tensor.data().as_chunks().0.iter().map(|id| i64::from_le_bytes(*id)).collect(),
            Stored::I32 => {
                tensor.data().as_chunks().0.iter().map(|id| i64::from(i32::from_le_bytes(*id))).collect()
            }
            other => bail!("tensor `{name}`: expected I64 or I32, found {other:?}"),
        };
        ids.into_iter().map(|id| Ok(i32::try_from(id)?)).collect()
    }

    /// Leaves out every tensor whose name starts with `prefix`.
    pub(crate) fn leave_out(&mut self, prefix: &str) {
        self.left.retain(|name| !name.starts_with(prefix));
    }

    /// Ends reading.
    ///
    /// # Errors
    /// If a tensor was neither taken nor left out: the converter did not understand the model.
    pub(crate) fn finish(self) -> Result<()> {
        match self.left.first() {
            None => Ok(()),
            Some(name) => bail!("tensor `{name}` and {} more have no place in the file", self.left.len() - 1),
        }
    }
}
