//! Experts in slots: what is read from disk stays until something more urgent needs the room.
//!
//! This file joins the books (`slots`), the judgement (`policy`) and the drive (`disk`) and owns the memory. All of it
//! is behind one lock, held for a moment at a time, except by whoever waits for the drive.
//!
//! Slots are opened one after the other as experts are first needed, up to what the budget allows, so a model that
//! fits becomes resident by being used. Memory that has been taken is kept and filled again. If the budget shrinks,
//! slots close, as soon as nobody holds them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shoal_base::{Blob, BlobBuf, Bytes, Prng};
use shoal_checkpoint::{Piece, TensorInfo};
use shoal_quant::packed::Packed;

use crate::Error;
use crate::disk::{Disk, Extent, Fill, Filled, rate};
use crate::foresight::Foresight;
use crate::placement::Placement;
use crate::policy::Usage;
#[cfg(test)]
use crate::slots::Counts;
use crate::slots::{Key, SlotIdx, Slots};

/// Slots in flight up to which what will certainly be needed is read ahead: enough to keep a drive busy.
const CERTAIN_IN_FLIGHT: usize = 8;

/// Bytes on their way from a drive while a layer waits for each expert, of one token or a few: the first is to come soon.
const STEP_DEPTH: usize = 8 << 20;

/// The same while a prompt sweeps through the layers: products take long there, and nobody looks after the drive meanwhile.
const SWEEP_DEPTH: usize = 64 << 20;

/// Reads in flight up to which a guess is read: only while nothing else is, so that what turns out to be needed waits for one
/// guess at the most.
const GUESSED_IN_FLIGHT: usize = 1;

/// Slots that get their memory together.
const SLAB: usize = 16;

/// Experts that are read while the drive is measured, before the first comes again.
const MEASURED_PLACES: usize = 2048;

/// What has gone between disk and memory since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Experts that were in memory when they were needed.
    pub hits: u64,
    /// Experts that were not.
    pub misses: u64,
    /// Bytes asked of the drive for experts.
    pub read_bytes: u64,
    /// Time that computing stood still for the drive.
    pub waited: Duration,
    /// Experts read before they were known to be needed.
    pub ahead: u64,
    /// Of those, how many were needed while they were there; they count as hits.
    pub ahead_used: u64,
}

impl std::ops::Sub for Traffic {
    type Output = Self;

    /// From an earlier count to a later one.
    fn sub(self, earlier: Self) -> Self {
        Self {
            hits: self.hits - earlier.hits,
            misses: self.misses - earlier.misses,
            read_bytes: self.read_bytes - earlier.read_bytes,
            waited: self.waited.saturating_sub(earlier.waited),
            ahead: self.ahead - earlier.ahead,
            ahead_used: self.ahead_used - earlier.ahead_used,
        }
    }
}

impl std::ops::Add for Traffic {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            hits: self.hits + other.hits,
            misses: self.misses + other.misses,
            read_bytes: self.read_bytes + other.read_bytes,
            waited: self.waited + other.waited,
            ahead: self.ahead + other.ahead,
            ahead_used: self.ahead_used + other.ahead_used,
        }
    }
}

/// Where the three matrices of the experts of one layer lie.
#[derive(Clone, Debug)]
pub(crate) struct BankPlaces {
    stacks: Arc<[Stack; 3]>,
    pub(crate) expert_count: usize,
}

/// One matrix of every expert.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) packed: Option<Packed>,
}

impl Stack {
    /// `expert_count` equal parts of a tensor; `None` if it is not stored in such parts.
    pub(crate) fn of(tensor: &TensorInfo, expert_count: usize) -> Option<Self> {
        Some(Self { pieces: tensor.parts(expert_count)?, packed: tensor.packed })
    }
}

impl BankPlaces {
    pub(crate) fn new(stacks: [Stack; 3]) -> Self {
        let expert_count = stacks[0].pieces.len();
        assert!(stacks.iter().all(|stack| stack.pieces.len() == expert_count), "three matrices for each");
        Self { stacks: Arc::new(stacks), expert_count }
    }

    /// Where an expert lies and what it takes in a slot.
    pub(crate) fn placement(&self, expert: usize) -> Placement {
        Placement::new(self.stacks.iter().map(|stack| (&stack.pieces[expert], stack.packed)))
    }

    /// Whether there is anything to unpack.
    fn is_packed(&self) -> bool {
        self.stacks.iter().any(|stack| stack.packed.is_some())
    }

    /// Memory for any expert of the layer.
    pub(crate) fn slot_bytes(&self) -> usize {
        (0..self.expert_count).map(|expert| self.placement(expert).buf_len).max().unwrap_or(0)
    }
}

/// The memory of a slot.
enum Memory {
    None,
    Empty(BlobBuf),
    /// The disk has it.
    Away,
    /// As it was read, still to be unpacked.
    Packed(BlobBuf),
    Full(Blob),
}

/// The cache of one store; handles to it are cheap.
#[derive(Clone)]
pub(crate) struct Cache(Arc<Mutex<Inner>>);

pub(crate) struct Inner {
    slots: Slots,
    memory: Vec<Memory>,
    /// Memory for slots that were never filled.
    unused: Vec<BlobBuf>,
    usage: Usage,
    banks: Vec<(Key, BankPlaces)>,
    disk: Box<dyn Disk>,
    /// What the sources are called.
    names: Vec<String>,
    /// Memory that slots may take; no bound if `None`.
    budget: Option<u64>,
    slot_bytes: usize,
    failed: HashMap<Key, Error>,
    /// What to read when the drive has nothing better to do.
    ahead: VecDeque<Key>,
    /// Whether all of it will be needed.
    ahead_is_certain: bool,
    is_ahead: Vec<bool>,
    foresight: Foresight,
    /// Whether somebody needs a slot and has none.
    is_short: bool,
    traffic: Traffic,
    stall_limit: Duration,
}

impl Cache {
    pub(crate) fn new(
        disk: Box<dyn Disk>,
        names: Vec<String>,
        budget: Option<u64>,
        stall_limit: Duration,
    ) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            slots: Slots::default(),
            memory: Vec::new(),
            unused: Vec::new(),
            usage: Usage::default(),
            banks: Vec::new(),
            disk,
            names,
            budget,
            slot_bytes: 0,
            failed: HashMap::new(),
            ahead: VecDeque::new(),
            ahead_is_certain: false,
            is_ahead: Vec::new(),
            foresight: Foresight::default(),
            is_short: false,
            traffic: Traffic::default(),
            stall_limit,
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// One more layer; its first key.
    pub(crate) fn add_bank(&mut self, places: BankPlaces) -> Key {
        let first = self.usage.add_layer(places.expert_count);
        self.slots.grow_keys(first as usize + places.expert_count);
        self.is_ahead.resize(first as usize + places.expert_count, false);
        self.slot_bytes = self.slot_bytes.max(places.slot_bytes());
        self.banks.push((first, places));
        first
    }

    /// Slots that the budget allows, and no more than there are experts.
    pub(crate) fn slot_limit(&self) -> usize {
        let all = self.is_ahead.len();
        self.budget.map_or(all, |budget| (budget / self.slot_bytes.max(1) as u64).min(all as u64) as usize)
    }

    pub(crate) const fn slot_bytes(&self) -> usize {
        self.slot_bytes
    }

    pub(crate) const fn traffic(&self) -> Traffic {
        self.traffic
    }

    #[cfg(test)]
    pub(crate) fn counts(&self) -> Counts {
        self.slots.counts()
    }

    #[cfg(test)]
    pub(crate) const fn slot_count(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of the slots that have memory.
    #[cfg(test)]
    pub(crate) fn memory_taken(&self) -> u64 {
        let taken = self.memory.iter().filter(|memory| !matches!(memory, Memory::None)).count();
        taken as u64 * self.slot_bytes as u64
    }

    /// Changes what slots may take. Slots that are held close when they are released.
    pub(crate) fn set_budget(&mut self, budget: Option<u64>) {
        self.budget = budget;
        self.shrink();
    }

    fn shrink(&mut self) {
        let limit = self.slot_limit();
        while self.slots.open_count() > limit {
            let Some(slot) = self.slots.find_free().or_else(|| self.evict_for(None)) else { return };
            self.slots.retire(slot);
            self.memory[slot] = Memory::None;
        }
    }

    /// The layer of `keys` runs and needs those.
    pub(crate) fn start_round(&mut self, keys: &[Key]) {
        self.usage.round(keys);
        for &key in keys {
            let is_here = self.is_here(key);
            if std::mem::take(&mut self.is_ahead[key as usize]) && is_here {
                self.traffic.ahead_used += 1;
            }
            if is_here { self.traffic.hits += 1 } else { self.traffic.misses += 1 }
        }
        let Some(&key) = keys.first() else { return };
        let bank = self.bank_of(key);
        let (first, places) = &self.banks[bank];
        self.is_ahead[*first as usize..][..places.expert_count].fill(false);
        self.foresight.follow_up(bank, keys);
    }

    fn bank_of(&self, key: Key) -> usize {
        self.banks.partition_point(|(first, _)| *first <= key) - 1
    }

    /// Layers until `key` is needed; one that was read ahead is expected in its layer's next run.
    fn wait_of(&self, key: Key) -> f64 {
        if self.is_ahead[key as usize] { self.usage.layers_until(key) } else { self.usage.expected_wait(key) }
    }

    pub(crate) fn is_cached(&self, key: Key) -> bool {
        self.slots.is_cached(key)
    }

    /// Whether `key` is cached or on its way.
    pub(crate) fn is_here(&self, key: Key) -> bool {
        self.slots.find(key).is_some()
    }

    /// Holds `key`, cached or on its way.
    pub(crate) fn hold(&mut self, key: Key) {
        let slot = self.slots.find(key).expect("only what is here can be held");
        self.slots.hold(slot);
    }

    /// Ends a hold. What failed to come holds nothing any more.
    pub(crate) fn release(&mut self, key: Key) {
        if let Some(slot) = self.slots.find(key)
            && self.slots.is_held(slot)
        {
            self.slots.release(slot);
            self.shrink();
            self.collect();
        }
    }

    /// The matrices of a cached expert. The first who asks unpacks them, here behind the lock: it is the thread that runs the model,
    /// which alone waits for the lock and has nothing else to do, and what was read on a guess that fails is not unpacked at all.
    pub(crate) fn matrices(&mut self, key: Key) -> [Blob; 3] {
        let slot = self.slots.find(key).expect("only a cached expert is asked for");
        let placement = self.placement(key);
        if let Memory::Packed(_) = self.memory[slot]
            && let Memory::Packed(mut buf) = std::mem::replace(&mut self.memory[slot], Memory::None)
        {
            placement.unpack(buf.as_mut_slice());
            self.memory[slot] = Memory::Full(buf.freeze());
        }
        let Memory::Full(blob) = &self.memory[slot] else { panic!("slot {slot} is cached, so it is full") };
        [0, 1, 2].map(|part| blob.slice(placement.matrices[part].range.clone()))
    }

    /// Asks the disk for `key`; says whether there was a slot for it.
    pub(crate) fn begin(&mut self, key: Key) -> bool {
        let slot = self.room_for(None);
        if let Some(slot) = slot {
            self.fill(slot, key);
        }
        self.is_short = slot.is_none();
        slot.is_some()
    }

    /// A free slot: one that is, a new one, or that of an expert which is expected after the layer of `key` (any, if
    /// `None`).
    fn room_for(&mut self, key: Option<Key>) -> Option<SlotIdx> {
        if let Some(slot) = self.slots.find_free() {
            return Some(slot);
        }
        if self.slots.open_count() < self.slot_limit() {
            let slot = self.slots.open();
            self.memory.resize_with(self.memory.len().max(slot + 1), || Memory::None);
            return Some(slot);
        }
        self.evict_for(key)
    }

    fn evict_for(&mut self, key: Option<Key>) -> Option<SlotIdx> {
        let waits = self.slots.evictable().map(|(slot, key)| (slot, key, self.wait_of(key)));
        let (slot, victim, wait) = waits.max_by(|a, b| a.2.total_cmp(&b.2))?;
        if key.is_some_and(|key| self.usage.layers_until(key) >= wait) {
            return None;
        }
        self.slots.evict(slot);
        self.is_ahead[victim as usize] = false;
        self.memory[slot] = match std::mem::replace(&mut self.memory[slot], Memory::None) {
            Memory::Full(blob) => {
                // Whoever got the bytes held the slot as long as it had them.
                let buf = blob.into_buf();
                debug_assert!(buf.is_ok(), "the bytes of slot {slot} outlived its hold");
                buf.map_or(Memory::None, Memory::Empty)
            }
            Memory::Packed(buf) => Memory::Empty(buf),
            Memory::None | Memory::Empty(_) | Memory::Away => unreachable!("a cached slot has bytes"),
        };
        Some(slot)
    }

    /// Where the matrices of `key` lie, and where they go.
    fn placement(&self, key: Key) -> Placement {
        let (first, places) = &self.banks[self.bank_of(key)];
        places.placement((key - first) as usize)
    }

    fn fill(&mut self, slot: SlotIdx, key: Key) {
        let extents = self.placement(key).extents;
        let buf = match std::mem::replace(&mut self.memory[slot], Memory::Away) {
            Memory::Empty(buf) => buf,
            _ => self.new_memory(),
        };
        self.slots.begin(slot, key);
        self.failed.remove(&key);
        self.traffic.read_bytes += extents.iter().map(|extent| extent.len as u64).sum::<u64>();
        self.disk.submit(Fill { ticket: u64::from(key), extents, buf });
    }

    /// Memory for a slot that was just opened.
    fn new_memory(&mut self) -> BlobBuf {
        if self.unused.is_empty() {
            let more = (self.slot_limit() + 1).saturating_sub(self.slots.open_count()).clamp(1, SLAB);
            self.unused = BlobBuf::side_by_side(&vec![self.slot_bytes; more]);
        }
        self.unused.pop().unwrap_or_else(|| BlobBuf::zeroed(self.slot_bytes))
    }

    /// What will certainly be needed next, to be read when nothing that is needed now waits for the drive.
    pub(crate) fn set_ahead(&mut self, keys: impl Iterator<Item = Key>) {
        self.foresight.clear();
        self.ahead_is_certain = true;
        self.disk.set_depth(SWEEP_DEPTH);
        self.ahead = keys.collect();
        self.read_ahead();
    }

    /// What the layer of `choices`, which runs `distance` layers from now, would choose as things stand; each with its
    /// place in the router's order. What is surest is read when nothing that is needed waits for the drive.
    pub(crate) fn forecast(&mut self, distance: usize, choices: Vec<(Key, usize)>) {
        let Some(&(key, _)) = choices.first() else { return };
        self.foresight.forecast(self.bank_of(key), distance, choices);
        self.ahead_is_certain = false;
        self.disk.set_depth(STEP_DEPTH);
        self.ahead = self.foresight.surest().into();
        self.collect();
    }

    pub(crate) fn read_ahead(&mut self) {
        while let Some(&key) = self.ahead.front() {
            let is_busy = match self.ahead_is_certain {
                true => self.slots.in_flight_unheld() >= CERTAIN_IN_FLIGHT,
                false => self.slots.in_flight() >= GUESSED_IN_FLIGHT,
            };
            if self.is_short || is_busy {
                return;
            }
            if !self.is_here(key) {
                let Some(slot) = self.room_for(Some(key)) else { return };
                self.fill(slot, key);
                self.is_ahead[key as usize] = true;
                self.traffic.ahead += 1;
            }
            self.ahead.pop_front();
        }
    }

    /// Bytes per second that the drive gives to the reads of experts, as many in flight as when a layer misses many:
    /// reads random ones for about `time` into memory that is not needed yet. `None` if slots have been used already.
    pub(crate) fn measure_drive(&mut self, time: Duration) -> Option<f64> {
        let keys = self.is_ahead.len() as u64;
        let slots = self.slot_limit().min(rate::IN_FLIGHT);
        if slots == 0 || self.slots.open_count() > 0 {
            return None;
        }
        let mut prng = Prng::new(keys);
        let place = |_| self.placement(prng.below(keys) as Key).extents;
        let places: Vec<_> = (0..MEASURED_PLACES).map(place).collect();
        let bufs = BlobBuf::side_by_side(&vec![self.slot_bytes; slots]);
        rate::bytes_per_s(self.disk.as_mut(), bufs, &places, time, self.stall_limit)
    }

    /// Takes in what has come.
    pub(crate) fn collect(&mut self) {
        while let Some(filled) = self.disk.wait(Duration::ZERO) {
            self.arrived(filled);
        }
        self.read_ahead();
    }

    /// Waits until something comes; says whether it did within the limit.
    pub(crate) fn wait(&mut self) -> bool {
        let start = Instant::now();
        let filled = self.disk.wait(self.stall_limit);
        self.traffic.waited += start.elapsed();
        let has_come = filled.is_some();
        filled.into_iter().for_each(|filled| self.arrived(filled));
        has_come
    }

    fn arrived(&mut self, filled: Filled) {
        let Filled { ticket, buf, result } = filled;
        if ticket & rate::MEASURING != 0 {
            return;
        }
        let key = ticket as Key;
        let slot = self.slots.find(key).expect("what comes was asked for");
        self.slots.finish(slot, result.is_ok());
        let is_packed = self.banks[self.bank_of(key)].1.is_packed();
        self.memory[slot] = match result {
            Ok(()) if is_packed => Memory::Packed(buf),
            Ok(()) => Memory::Full(buf.freeze()),
            Err(error) => {
                self.failed.insert(key, error);
                Memory::Empty(buf)
            }
        };
        self.shrink();
    }

    /// Why `key` did not come, if somebody asked and has not been told.
    pub(crate) fn take_failure(&mut self, key: Key) -> Option<Error> {
        self.failed.remove(&key)
    }

    /// Whether anything is on its way.
    pub(crate) fn is_reading(&self) -> bool {
        self.slots.in_flight() > 0
    }

    /// The error of waiting too long for `key`.
    pub(crate) fn stalled(&self, key: Key) -> Error {
        let Extent { source_idx, offset, .. } = self.placement(key).extents[0];
        Error::Stalled { file: self.names[source_idx].clone(), offset, limit: self.stall_limit }
    }

    /// The error of having fewer slots than `needed`.
    pub(crate) fn too_few_slots(&self, needed: usize) -> Error {
        let (budget, slot_bytes) = (Bytes(self.budget.unwrap_or(0)), Bytes(self.slot_bytes as u64));
        Error::TooFewSlots { budget, slot_bytes, needed }
    }

    /// The error of having no slot to fill.
    pub(crate) fn no_slot(&self) -> Error {
        self.too_few_slots(self.slots.counts().held + 1)
    }

    /// Nothing is needed any more by whoever was short of a slot.
    pub(crate) const fn not_short(&mut self) {
        self.is_short = false;
    }
}
