//! The experts of one layer, handed out one by one.

use shoal_base::{Blob, ExpertId};

use crate::Error;

/// The stored matrices of one expert. They stay in memory while this is held.
#[derive(Clone, Debug)]
pub struct ExpertBlobs {
    /// Gate matrix.
    pub gate: Blob,
    /// Up matrix.
    pub up: Blob,
    /// Down matrix.
    pub down: Blob,
}

/// The experts of one layer.
pub struct ExpertBank {
    stacks: [Blob; 3],
    expert_count: usize,
}

impl ExpertBank {
    pub(crate) const fn new(stacks: [Blob; 3], expert_count: usize) -> Self {
        Self { stacks, expert_count }
    }

    /// Says which experts will be asked for next. A model says so as soon as it knows, so that what is missing can
    /// be read while it does other work; with everything resident there is nothing to do.
    pub fn want(&self, experts: &[ExpertId]) {
        debug_assert!(experts.iter().all(|expert| expert.idx() < self.expert_count), "{experts:?}");
    }

    /// The matrices of `expert`.
    ///
    /// # Errors
    /// If they have to be read and the read fails.
    ///
    /// # Panics
    /// If the layer has no such expert.
    pub fn get(&self, expert: ExpertId) -> Result<ExpertBlobs, Error> {
        assert!(expert.idx() < self.expert_count, "expert {expert} of {}", self.expert_count);
        let cut = |stack: &Blob| {
            let bytes = stack.len() / self.expert_count;
            stack.slice(expert.idx() * bytes..(expert.idx() + 1) * bytes)
        };
        let [gate, up, down] = &self.stacks;
        Ok(ExpertBlobs { gate: cut(gate), up: cut(up), down: cut(down) })
    }
}
