//! Where weights live: read explicitly into memory that the process owns, under a budget.
//!
//! A model asks for weights, it never points into a file: [`Store::dense`] for what every token needs,
//! [`Store::expert_bank`] for the experts of a layer, of which a token needs a few. What a blob's holder sees is
//! memory; when and from where it was read is this crate's matter alone. Nothing is mapped: a mapped file is
//! charged to nobody's budget and read back by the kernel in small pieces.
//!
//! Today everything that was asked for is read at the start, in parallel, and stays. Experts are already handed
//! out one by one ([`ExpertBank::want`], then [`ExpertBank::get`]), so that keeping only some of them in memory
//! changes this crate and no other.
//!
//! What it does not know: what a tensor means, and any arithmetic.
//!
//! Reading order: [`Store::open`], then `load` (the parallel read), then [`ExpertBank`].

mod error;
mod expert_bank;
mod load;

use std::collections::HashMap;
use std::sync::Arc;

use shoal_base::{Blob, Bytes};
use shoal_checkpoint::{Checkpoint, TensorInfo};

pub use error::Error;
pub use expert_bank::{ExpertBank, ExpertBlobs};

/// How a store is opened.
pub struct StoreOptions<'a> {
    /// The most memory that weights may take; no bound if `None`.
    pub budget: Option<Bytes>,
    /// How many threads read at a time.
    pub threads: usize,
    /// Which tensors will be asked for; the rest is never read.
    pub wanted: &'a dyn Fn(&TensorInfo) -> bool,
    /// Told the bytes read so far and the bytes to read.
    pub progress: &'a (dyn Fn(u64, u64) + Sync),
}

/// The weights of one checkpoint.
pub struct Store {
    checkpoint: Arc<Checkpoint>,
    resident: HashMap<String, Blob>,
    resident_bytes: u64,
}

impl Store {
    /// Reads every wanted tensor.
    ///
    /// # Errors
    /// If the weights do not fit the budget (before anything is read), or a read fails.
    pub fn open(checkpoint: Arc<Checkpoint>, options: &StoreOptions<'_>) -> Result<Self, Error> {
        let wanted: Vec<&TensorInfo> = checkpoint.tensors().iter().filter(|t| (options.wanted)(t)).collect();
        let resident_bytes = load::memory_needed(&checkpoint, &wanted);
        if let Some(budget) = options.budget
            && resident_bytes > budget.0
        {
            let model = checkpoint.name();
            return Err(Error::OverBudget { model, needed: Bytes(resident_bytes), budget });
        }
        let resident = load::read_all(&checkpoint, &wanted, options)?;
        Ok(Self { checkpoint, resident, resident_bytes })
    }

    /// The checkpoint whose weights these are.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Memory that the weights take. Those of a model inside the program itself take none.
    #[must_use]
    pub const fn resident_bytes(&self) -> Bytes {
        Bytes(self.resident_bytes)
    }

    /// The bytes of a tensor that every token needs; they stay in memory while the blob is held.
    ///
    /// # Errors
    /// If the tensor was not among those wanted when the store was opened.
    pub fn dense(&self, name: &str) -> Result<Blob, Error> {
        self.resident.get(name).cloned().ok_or_else(|| Error::NotLoaded { name: name.to_owned() })
    }

    /// The experts of one layer, whose three matrices are cut from the stacked tensors `names` (gate, up, down).
    ///
    /// # Errors
    /// If a tensor was not wanted when the store was opened, or is not `expert_count` equal parts.
    pub fn expert_bank(&self, names: [&str; 3], expert_count: usize) -> Result<ExpertBank, Error> {
        let stacks = [self.dense(names[0])?, self.dense(names[1])?, self.dense(names[2])?];
        for (name, stack) in names.iter().zip(&stacks) {
            if expert_count == 0 || !stack.len().is_multiple_of(expert_count) {
                let (name, bytes) = ((*name).to_owned(), stack.len() as u64);
                return Err(Error::UnevenExperts { name, expert_count, bytes });
            }
        }
        Ok(ExpertBank::new(stacks, expert_count))
    }
}
