//! One model of two files that are not parts of a set.

use crate::error::shown;
use crate::{Checkpoint, Error, TensorInfo, Value};

impl Checkpoint {
    /// The same model with tensors of `other` behind its own: those that `name` gives a name in this model. `pairs` take the place of what
    /// the metadata says under their keys.
    ///
    /// # Errors
    /// If a name is there already.
    pub fn joined(
        mut self,
        other: Self,
        name: impl Fn(&str) -> Option<String>,
        pairs: impl IntoIterator<Item = (String, Value)>,
    ) -> Result<Self, Error> {
        let first_source = self.sources.len();
        for tensor in other.tensors {
            let Some(name) = name(&tensor.name) else { continue };
            let mut tensor = TensorInfo { name, ..tensor };
            for piece in &mut tensor.pieces {
                piece.codes.source_idx += first_source;
                piece.scales.iter_mut().for_each(|scales| scales.source_idx += first_source);
            }
            if self.by_name.insert(tensor.name.clone(), self.tensors.len()).is_some() {
                let (file, tensor) = (other.metadata.file().to_owned(), shown(&tensor.name));
                return Err(Error::DuplicateTensor { file, tensor });
            }
            self.tensors.push(tensor);
        }
        self.sources.extend(other.sources);
        pairs.into_iter().for_each(|(key, value)| self.metadata.set(key, value));
        Ok(self)
    }
}
