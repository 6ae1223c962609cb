//! Which expert lies in which slot, and who needs it there: the books, without any memory or disk.
//!
//! ```text
//!            begin                 finish(true)
//!   Free ───────────▶ In flight ───────────────▶ Cached
//!    ▲ │                  │ finish(false)          │ evict (not while held)
//!    │ │ retire           │                        │
//!    │ ▼                  │                        │
//!  Retired                │                        │
//!    └────────────────────┴────────────────────────┘
//! ```
//! A retired slot has no memory: that is how the cache shrinks, and `open` is how it grows again.
//!
//! A slot in flight or cached may be held, any number of times: a held one stays. Holding a slot in flight is how a
//! reader waits for what another has asked for already. Every slot is in exactly one state, always.

/// One expert of one layer: all experts of all layers are counted through.
pub(crate) type Key = u32;

/// Index of a slot.
pub(crate) type SlotIdx = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Retired,
    Free,
    InFlight(Key),
    Cached(Key),
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    state: State,
    holds: u32,
}

/// How many slots are in which state. Those held are among those cached or in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) retired: usize,
    pub(crate) free: usize,
    pub(crate) in_flight: usize,
    pub(crate) cached: usize,
    pub(crate) held: usize,
}

/// The books of all slots.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    of_key: Vec<Option<SlotIdx>>,
}

impl Slots {
    /// Makes keys up to `count` known.
    pub(crate) fn grow_keys(&mut self, count: usize) {
        self.of_key.resize(count.max(self.of_key.len()), None);
    }

    /// One more free slot.
    pub(crate) fn open(&mut self) -> SlotIdx {
        let retired = self.slots.iter().position(|slot| slot.state == State::Retired);
        let idx = retired.unwrap_or_else(|| {
            self.slots.push(Slot { state: State::Retired, holds: 0 });
            self.slots.len() - 1
        });
        self.slots[idx].state = State::Free;
        idx
    }

    /// A free slot loses its memory.
    pub(crate) fn retire(&mut self, slot: SlotIdx) {
        assert_eq!(self.slots[slot].state, State::Free, "only a free slot may go");
        self.slots[slot].state = State::Retired;
    }

    /// Slots that have memory, or will when they are first filled.
    pub(crate) fn open_count(&self) -> usize {
        self.slots.iter().filter(|slot| slot.state != State::Retired).count()
    }

    #[cfg(test)]
    pub(crate) const fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn state(&self, slot: SlotIdx) -> State {
        self.slots[slot].state
    }

    pub(crate) fn find(&self, key: Key) -> Option<SlotIdx> {
        self.of_key[key as usize]
    }

    pub(crate) fn is_cached(&self, key: Key) -> bool {
        self.find(key).is_some_and(|slot| matches!(self.state(slot), State::Cached(_)))
    }

    pub(crate) fn find_free(&self) -> Option<SlotIdx> {
        self.slots.iter().position(|slot| slot.state == State::Free)
    }

    pub(crate) fn hold(&mut self, slot: SlotIdx) {
        let is_used = matches!(self.slots[slot].state, State::InFlight(_) | State::Cached(_));
        assert!(is_used, "a free slot is nobody's");
        self.slots[slot].holds += 1;
    }

    pub(crate) fn release(&mut self, slot: SlotIdx) {
        let holds = &mut self.slots[slot].holds;
        *holds = holds.checked_sub(1).expect("released as often as held");
    }

    pub(crate) fn is_held(&self, slot: SlotIdx) -> bool {
        self.slots[slot].holds > 0
    }

    /// A free slot is being filled with `key`.
    pub(crate) fn begin(&mut self, slot: SlotIdx, key: Key) {
        assert_eq!(self.slots[slot].state, State::Free, "only a free slot can be filled");
        assert_eq!(self.find(key), None, "an expert has one slot");
        self.slots[slot].state = State::InFlight(key);
        self.of_key[key as usize] = Some(slot);
    }

    /// The fill of a slot has ended. If it failed the slot is free, and whoever held it holds nothing any more.
    pub(crate) fn finish(&mut self, slot: SlotIdx, is_filled: bool) {
        let State::InFlight(key) = self.slots[slot].state else { panic!("slot {slot} is not in flight") };
        if is_filled {
            self.slots[slot].state = State::Cached(key);
        } else {
            self.slots[slot] = Slot { state: State::Free, holds: 0 };
            self.of_key[key as usize] = None;
        }
    }

    /// Frees a cached slot that nobody holds.
    pub(crate) fn evict(&mut self, slot: SlotIdx) {
        let State::Cached(key) = self.slots[slot].state else { panic!("slot {slot} is not cached") };
        assert!(!self.is_held(slot), "slot {slot} is held");
        self.slots[slot].state = State::Free;
        self.of_key[key as usize] = None;
    }

    /// The slots that may be evicted, with what they hold.
    pub(crate) fn evictable(&self) -> impl Iterator<Item = (SlotIdx, Key)> {
        self.slots.iter().enumerate().filter_map(|(idx, slot)| match slot.state {
            State::Cached(key) if slot.holds == 0 => Some((idx, key)),
            _ => None,
        })
    }

    /// Slots that are being filled and that nobody waits for.
    pub(crate) fn in_flight_unheld(&self) -> usize {
        let is_it = |slot: &&Slot| matches!(slot.state, State::InFlight(_)) && slot.holds == 0;
        self.slots.iter().filter(is_it).count()
    }

    /// Slots that are being filled.
    pub(crate) fn in_flight(&self) -> usize {
        self.slots.iter().filter(|slot| matches!(slot.state, State::InFlight(_))).count()
    }

    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for slot in &self.slots {
            match slot.state {
                State::Retired => counts.retired += 1,
                State::Free => counts.free += 1,
                State::InFlight(_) => counts.in_flight += 1,
                State::Cached(_) => counts.cached += 1,
            }
            counts.held += usize::from(slot.holds > 0);
        }
        counts
    }
}
