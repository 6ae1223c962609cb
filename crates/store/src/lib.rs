//! Where weights live: read explicitly into memory that the process owns, under a budget.
//!
//! A model asks for weights, it never points into a file: [`Store::dense`] for what every token needs,
//! [`Store::expert_bank`] for the experts of a layer, of which a token needs a few. What a blob's holder sees is
//! memory; when and from where it was read is this crate's matter alone. Nothing is mapped: a mapped file is
//! charged to nobody's budget and read back by the kernel in small pieces.
//!
//! ```text
//!   dense weights ◀── all at the start ──┐
//!                                        ├── disk ◀── files, past the page cache
//!   expert slots ◀── when first needed ──┘
//! ```
//! Dense weights stay. Experts lie in slots, as many as the rest of the budget pays for; a model that fits ends up in
//! memory as a whole, a larger one goes on reading, and what it computes is the same.
//!
//! What is packed in its files (FP8 and FP4 with scales apart) becomes rows that kernels know, in the memory it was read into.
//!
//! What it does not know: what a tensor means, and any arithmetic.
//!
//! Reading order: [`Store::open`], [`disk`] (reads), `placement` (where they go), `dense`; then [`ExpertBank`] (what a layer sees),
//! `cache` (memory), `slots` (its books), `policy` (who gives way), `foresight` (what is read too early).

mod cache;
mod dense;
pub mod disk;
mod error;
mod expert_bank;
mod foresight;
mod placement;
mod policy;
#[cfg(test)]
mod simulation;
mod slots;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use shoal_base::{Blob, Bytes};
use shoal_checkpoint::{Checkpoint, Place, Source, TensorInfo};

pub use cache::Traffic;
use cache::{BankPlaces, Cache, Stack};
use disk::Disk;
pub use disk::IoMode;
pub use error::Error;
pub use expert_bank::{Arrivals, Expert, ExpertBank, Lease};

/// How long a read may take before whoever waits for it gives up.
pub const STALL_LIMIT: Duration = Duration::from_secs(30);

/// How long a drive is measured.
const MEASURED_FOR: Duration = Duration::from_millis(1000);

/// What a tensor is to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Every token needs it: it is read when the store is opened.
    Dense,
    /// The stacked experts of a layer: each is read when it is needed.
    Experts,
    /// Nobody will ask for it.
    Unused,
}

/// How a store is opened.
pub struct StoreOptions<'a> {
    /// The most memory that weights may take; no bound if `None`.
    pub budget: Option<Bytes>,
    /// What each tensor is.
    pub role: &'a dyn Fn(&TensorInfo) -> Role,
    /// What reads: [`disk::open`], or something else that does.
    pub disk: Box<dyn Disk>,
    /// How long a read may take; [`STALL_LIMIT`] is a good one.
    pub stall_limit: Duration,
    /// Told the dense bytes read so far and those to read.
    pub progress: &'a dyn Fn(u64, u64),
}

/// Memory that the dense tensors of a checkpoint will take.
#[must_use]
pub fn dense_bytes(checkpoint: &Checkpoint, role: &dyn Fn(&TensorInfo) -> Role) -> u64 {
    let tensors: Vec<&TensorInfo> = checkpoint.tensors().iter().filter(|t| role(t) == Role::Dense).collect();
    dense::memory_needed(checkpoint, &tensors)
}

/// Memory of a slot for any of the `expert_count` experts in three stacked tensors; 0 if they are part of the program.
#[must_use]
pub fn slot_bytes(checkpoint: &Checkpoint, stacks: [&TensorInfo; 3], expert_count: usize) -> u64 {
    let is_file =
        |t: &TensorInfo| matches!(checkpoint.sources()[t.pieces[0].codes.source_idx], Source::File { .. });
    if !stacks.into_iter().any(is_file) {
        return 0;
    }
    // Stacks that are not so many parts are refused where they are asked for.
    let [gate, up, down] = stacks.map(|tensor| Stack::of(tensor, expert_count));
    let places = gate.zip(up).zip(down).map(|((gate, up), down)| BankPlaces::new([gate, up, down]));
    places.map_or(0, |places| places.slot_bytes() as u64)
}

/// The weights of one checkpoint.
pub struct Store {
    checkpoint: Arc<Checkpoint>,
    dense: HashMap<String, Blob>,
    dense_bytes: u64,
    cache: Cache,
}

impl Store {
    /// Reads the dense tensors.
    ///
    /// # Errors
    /// If they do not fit the budget (before anything is read), or a read fails.
    pub fn open(checkpoint: Arc<Checkpoint>, options: StoreOptions<'_>) -> Result<Self, Error> {
        let StoreOptions { budget, role, mut disk, stall_limit, progress } = options;
        let tensors: Vec<&TensorInfo> =
            checkpoint.tensors().iter().filter(|t| role(t) == Role::Dense).collect();
        let dense_bytes = dense::memory_needed(&checkpoint, &tensors);
        if let Some(budget) = budget
            && dense_bytes > budget.0
        {
            let model = checkpoint.name();
            return Err(Error::OverBudget { model, needed: Bytes(dense_bytes), budget });
        }
        let dense = dense::read_all(&checkpoint, &tensors, disk.as_mut(), stall_limit, progress)?;
        let for_experts = budget.map(|budget| budget.0 - dense_bytes);
        let names = checkpoint.sources().iter().map(Source::name).collect();
        let cache = Cache::new(disk, names, for_experts, stall_limit);
        Ok(Self { checkpoint, dense, dense_bytes, cache })
    }

    /// The checkpoint whose weights these are.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Memory that dense weights take. Those of a model inside the program itself take none.
    #[must_use]
    pub const fn dense_bytes(&self) -> Bytes {
        Bytes(self.dense_bytes)
    }

    /// The bytes of a tensor that every token needs; they stay in memory while the blob is held.
    ///
    /// # Errors
    /// If the tensor was not dense when the store was opened.
    pub fn dense(&self, name: &str) -> Result<Blob, Error> {
        self.dense.get(name).cloned().ok_or_else(|| Error::NotLoaded { name: name.to_owned() })
    }

    /// Lets go of the store's own handles on dense weights: from then on they live as long as whoever asked for them.
    pub fn release_dense(&mut self) {
        self.dense.clear();
    }

    /// The experts of one layer, whose three matrices are cut from the stacked tensors `names` (gate, up, down): from slots, or from
    /// where they are if they are dense or part of the program. Layers are asked for in the order they run.
    ///
    /// # Errors
    /// If a tensor is missing, or is not stored in `expert_count` equal parts.
    pub fn expert_bank(&self, names: [&str; 3], expert_count: usize) -> Result<ExpertBank, Error> {
        let (mut tensors, mut stacks) = (Vec::with_capacity(3), Vec::with_capacity(3));
        for name in names {
            let not_loaded = || Error::NotLoaded { name: name.to_owned() };
            let tensor = self.checkpoint.tensor(name).ok_or_else(not_loaded)?;
            let Some(stack) = Stack::of(tensor, expert_count) else {
                let (name, bytes) = (name.to_owned(), tensor.bytes);
                return Err(Error::UnevenExperts { name, expert_count, bytes });
            };
            tensors.push(tensor);
            stacks.push(stack);
        }
        let sources = self.checkpoint.sources();
        let in_memory = |tensor: &TensorInfo| {
            if let Some(blob) = self.dense.get(&tensor.name) {
                return Some(blob.clone());
            }
            let Place { source_idx, offset, bytes } = tensor.pieces[0].codes;
            match sources[source_idx] {
                Source::Static(all) => {
                    Some(Blob::from_static(all).slice(offset as usize..(offset + bytes) as usize))
                }
                Source::File { .. } | Source::Computed(_) => None,
            }
        };
        if let [Some(gate), Some(up), Some(down)] = [0, 1, 2].map(|i| in_memory(tensors[i])) {
            return Ok(ExpertBank::in_memory([gate, up, down], expert_count));
        }
        let stacks = stacks.try_into().expect("as many as there are names");
        Ok(ExpertBank::cached(self.cache.clone(), BankPlaces::new(stacks)))
    }

    /// Changes what slots for experts may take; no bound if `None`. Slots that are held close when they are released.
    pub fn set_expert_budget(&self, budget: Option<Bytes>) {
        self.cache.lock().set_budget(budget.map(|budget| budget.0));
    }

    /// Memory of the slots that the budget allows, and of one.
    #[must_use]
    pub fn slot_bytes(&self) -> SlotBytes {
        let inner = self.cache.lock();
        SlotBytes { one: Bytes(inner.slot_bytes() as u64), count: inner.slot_limit() }
    }

    /// Checks that as many experts as a layer needs at a time fit their budget.
    ///
    /// # Errors
    /// If they do not.
    pub fn check_slots(&self, needed: usize) -> Result<(), Error> {
        let inner = self.cache.lock();
        if inner.slot_bytes() > 0 && inner.slot_limit() < needed {
            Err(inner.too_few_slots(needed))
        } else {
            Ok(())
        }
    }

    /// Bytes per second that the drive gives to reads of experts, by reading some for a moment; `None` if there are no
    /// experts to read, some have been read already, or a read fails.
    #[must_use]
    pub fn measure_drive(&self) -> Option<f64> {
        self.cache.lock().measure_drive(MEASURED_FOR)
    }

    /// What has gone between disk and memory since the start.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.cache.lock().traffic()
    }
}

/// The slots of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotBytes {
    /// Memory of one slot.
    pub one: Bytes,
    /// How many there may be.
    pub count: usize,
}
