//! The experts of one layer, handed out as they come.
//!
//! A layer says which experts it needs ([`ExpertBank::fetch`]) and is given those in memory at once and the others as
//! the drive brings them ([`Arrivals::take`]), so what is there computes while the rest is on its way. What it was given
//! it holds until it drops it; then the slot may be filled with another.

use std::collections::VecDeque;

use shoal_base::{Blob, ExpertId};

use crate::Error;
use crate::cache::{BankPlaces, Cache, Inner};
use crate::slots::Key;

/// Experts that are given at a time while others are still to be read: they keep their slots from being filled, so few.
const BATCH: usize = 8;

/// The stored matrices of one expert, which stay in memory while this is held. Drop what was made of the blobs first.
#[derive(Debug)]
pub struct Expert {
    /// Which one.
    pub id: ExpertId,
    /// Gate matrix.
    pub gate: Blob,
    /// Up matrix.
    pub up: Blob,
    /// Down matrix.
    pub down: Blob,
    /// Dropped after the blobs: fields go in the order they stand in.
    pub lease: Lease,
}

/// Keeps an expert in its slot while it lives.
pub struct Lease(Option<(Cache, Key)>);

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lease({:?})", self.0.as_ref().map(|(_, key)| key))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some((cache, key)) = self.0.take() {
            cache.lock().release(key);
        }
    }
}

/// The experts of one layer.
pub struct ExpertBank(Kind);

enum Kind {
    /// In memory for good: gate, up and down of all experts.
    Static {
        stacks: [Blob; 3],
        expert_count: usize,
    },
    Cached {
        cache: Cache,
        first: Key,
        places: BankPlaces,
    },
}

impl ExpertBank {
    pub(crate) const fn in_memory(stacks: [Blob; 3], expert_count: usize) -> Self {
        Self(Kind::Static { stacks, expert_count })
    }

    pub(crate) fn cached(cache: Cache, places: BankPlaces) -> Self {
        let first = cache.lock().add_bank(places.clone());
        Self(Kind::Cached { cache, first, places })
    }

    /// How many experts there are.
    #[must_use]
    pub const fn expert_count(&self) -> usize {
        match &self.0 {
            Kind::Static { expert_count, .. } => *expert_count,
            Kind::Cached { places, .. } => places.expert_count,
        }
    }

    /// Asks for `experts`, each once. Reads start here; what is in memory stays there until it was given.
    ///
    /// # Panics
    /// If the layer has no such expert.
    #[must_use]
    pub fn fetch(&self, experts: &[ExpertId]) -> Arrivals<'_> {
        for expert in experts {
            assert!(expert.idx() < self.expert_count(), "expert {expert} of {}", self.expert_count());
        }
        let mut arrivals = Arrivals {
            bank: self,
            here: Vec::new(),
            coming: Vec::new(),
            joined: Vec::new(),
            unasked: VecDeque::new(),
        };
        match &self.0 {
            Kind::Static { .. } => arrivals.here = experts.iter().map(|expert| expert.0).collect(),
            Kind::Cached { cache, first, .. } => {
                let keys: Vec<Key> = experts.iter().map(|expert| first + expert.0).collect();
                let mut inner = cache.lock();
                inner.collect();
                inner.start_round(&keys);
                for key in keys {
                    if inner.is_here(key) {
                        arrivals.join(&mut inner, key);
                    } else {
                        arrivals.unasked.push_back(key);
                    }
                }
                arrivals.ask(&mut inner);
            }
        }
        arrivals
    }

    /// Says which experts will certainly be asked for next, in that order. They are read after all that has been asked for.
    /// Replaces what was said or forecast before.
    pub fn read_ahead(&self, experts: impl Iterator<Item = ExpertId>) {
        if let Kind::Cached { cache, first, .. } = &self.0 {
            cache.lock().set_ahead(experts.map(|expert| first + expert.0));
        }
    }

    /// Whether an expert of this layer may have to be read, so that a forecast could help.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        let Kind::Cached { cache, first, places } = &self.0 else { return false };
        let inner = cache.lock();
        (*first..first + places.expert_count as Key).any(|key| !inner.is_here(key))
    }

    /// Forecasts what this layer will ask for when it runs, `distance` layers from now (1 is the next one): each expert with
    /// its place in the router's order. What such forecasts have proved to be right about is read after all that has been
    /// asked for, one expert at a time.
    pub fn forecast(&self, distance: usize, choices: impl Iterator<Item = (ExpertId, usize)>) {
        if let Kind::Cached { cache, first, .. } = &self.0 {
            let choices = choices.map(|(expert, place)| (first + expert.0, place)).collect();
            cache.lock().forecast(distance, choices);
        }
    }
}

/// Experts that were asked for and not yet given.
pub struct Arrivals<'a> {
    bank: &'a ExpertBank,
    /// Held in memory.
    here: Vec<Key>,
    /// Held, cached or on their way.
    coming: Vec<Key>,
    /// Of those, what another asked for before. If that read fails it says nothing of a read that begins now.
    joined: Vec<Key>,
    /// Without a slot so far.
    unasked: VecDeque<Key>,
}

impl Arrivals<'_> {
    /// Some experts that are in memory; waits for the drive if none is. Empty when all were given.
    ///
    /// # Errors
    /// If a read fails, the drive does not answer, or there is no slot that could be filled.
    pub fn take(&mut self) -> Result<Vec<Expert>, Error> {
        let Kind::Cached { cache, first, .. } = &self.bank.0 else {
            let ids = std::mem::take(&mut self.here);
            return Ok(ids.into_iter().map(|id| self.bank.expert_of_program(id)).collect());
        };
        let mut inner = cache.lock();
        loop {
            inner.collect();
            self.take_in(&mut inner)?;
            self.ask(&mut inner);
            if !self.here.is_empty() {
                let all_here = self.coming.is_empty() && self.unasked.is_empty();
                let count = if all_here { self.here.len() } else { self.here.len().min(BATCH) };
                let give = |key| {
                    let id = ExpertId(key - first);
                    let [gate, up, down] = inner.matrices(key);
                    Expert { id, gate, up, down, lease: Lease(Some((cache.clone(), key))) }
                };
                return Ok(self.here.drain(..count).map(give).collect());
            }
            let Some(&key) = self.coming.first().or_else(|| self.unasked.front()) else {
                return Ok(Vec::new());
            };
            if !inner.is_reading() {
                return Err(inner.no_slot());
            }
            if !inner.wait() {
                return Err(inner.stalled(key));
            }
        }
    }

    /// Moves what has come to what is here.
    fn take_in(&mut self, inner: &mut Inner) -> Result<(), Error> {
        let mut i = 0;
        while i < self.coming.len() {
            let key = self.coming[i];
            if inner.is_cached(key) {
                self.here.push(key);
            } else if inner.is_here(key) {
                i += 1;
                continue;
            } else {
                match inner.take_failure(key).filter(|_| !self.joined.contains(&key)) {
                    Some(error) => {
                        self.coming.swap_remove(i);
                        return Err(error);
                    }
                    None => {
                        self.joined.retain(|joined| *joined != key);
                        self.unasked.push_back(key);
                    }
                }
            }
            self.coming.swap_remove(i);
        }
        Ok(())
    }

    /// Holds what is cached or on its way.
    fn join(&mut self, inner: &mut Inner, key: Key) {
        inner.hold(key);
        self.coming.push(key);
        if !inner.is_cached(key) {
            self.joined.push(key);
        }
    }

    /// Asks for what has no slot yet, as far as there are any.
    fn ask(&mut self, inner: &mut Inner) {
        while let Some(&key) = self.unasked.front() {
            if inner.is_here(key) {
                self.join(inner, key);
            } else if inner.begin(key) {
                inner.hold(key);
                self.coming.push(key);
            } else {
                return;
            }
            self.unasked.pop_front();
        }
        inner.not_short();
    }
}

impl Drop for Arrivals<'_> {
    fn drop(&mut self) {
        if let Kind::Cached { cache, .. } = &self.bank.0 {
            let mut inner = cache.lock();
            inner.not_short();
            self.here.iter().chain(&self.coming).for_each(|&key| inner.release(key));
        }
    }
}

impl ExpertBank {
    fn expert_of_program(&self, id: u32) -> Expert {
        let Kind::Static { stacks, expert_count } = &self.0 else {
            unreachable!("asked of static banks only")
        };
        let [gate, up, down] = stacks.each_ref().map(|stack| {
            let bytes = stack.len() / expert_count;
            stack.slice(id as usize * bytes..(id as usize + 1) * bytes)
        });
        Expert { id: ExpertId(id), gate, up, down, lease: Lease(None) }
    }
}
