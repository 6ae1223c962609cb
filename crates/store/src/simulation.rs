//! Thousands of random steps against a drive that dawdles, fails and never answers; after each the books must balance.
//!
//! Time does not pass here: a seeded generator decides what the drive has done when it is asked. A failing seed is replayed
//! by its number.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shoal_base::{ExpertId, Prng};
use shoal_checkpoint::{Piece, Place};

use crate::cache::{BankPlaces, Cache, Stack};
use crate::disk::{Disk, Fill, Filled};
use crate::expert_bank::{Expert, ExpertBank};
use crate::{Arrivals, Error};

const BYTES: [usize; 3] = [700, 5000, 64];
const EXPERTS: usize = 9;

/// A drive whose byte at offset `o` of source `s` is [`byte_at`], when it answers.
struct Scripted {
    prng: Prng,
    waiting: Vec<Fill>,
    failures_per_1000: u32,
    stalls_per_1000: u32,
}

const fn byte_at(source_idx: usize, offset: u64) -> u8 {
    (offset.wrapping_mul(0x9E37_79B9) >> 11) as u8 ^ source_idx as u8
}

impl Scripted {
    fn chance(&mut self, per_1000: u32) -> bool {
        self.prng.below(1000) < u64::from(per_1000)
    }
}

impl Disk for Scripted {
    fn submit(&mut self, fill: Fill) {
        self.waiting.push(fill);
    }

    fn wait(&mut self, at_most: Duration) -> Option<Filled> {
        let dawdles = if at_most.is_zero() { self.chance(500) } else { self.chance(self.stalls_per_1000) };
        if self.waiting.is_empty() || dawdles {
            return None;
        }
        let next = self.prng.below(self.waiting.len() as u64) as usize;
        let Fill { ticket, extents, mut buf } = self.waiting.swap_remove(next);
        if self.chance(self.failures_per_1000) {
            // What a read left behind before it failed must not be taken for weights.
            buf.as_mut_slice().fill(0xEE);
            let (file, offset) = ("sim".to_owned(), extents[0].offset);
            let result = Err(Error::Short { file, offset, expected: 1, found: 0 });
            return Some(Filled { ticket, buf, result });
        }
        for extent in &extents {
            for (i, byte) in buf.as_mut_slice()[extent.at..][..extent.len].iter_mut().enumerate() {
                *byte = byte_at(extent.source_idx, extent.offset + i as u64);
            }
        }
        Some(Filled { ticket, buf, result: Ok(()) })
    }

    fn name(&self) -> &'static str {
        "scripted"
    }
}

/// Where layer `layer` lies: its matrices in three places, of two files, at odd offsets.
fn places(layer: usize) -> BankPlaces {
    let piece = |part: usize, expert: usize| {
        let (source_idx, offset, bytes) = place(layer, part, expert);
        Piece { codes: Place { source_idx, offset, bytes: bytes as u64 }, scales: None }
    };
    let stack = |part: usize| Stack {
        pieces: (0..EXPERTS).map(|expert| piece(part, expert)).collect(),
        packed: None,
    };
    BankPlaces::new([stack(0), stack(1), stack(2)])
}

/// Source, first byte and length of one matrix.
const fn place(layer: usize, part: usize, expert: usize) -> (usize, u64, usize) {
    (part % 2, (layer * 3 + part) as u64 * 1_000_003 + (expert * BYTES[part]) as u64, BYTES[part])
}

struct Simulation {
    prng: Prng,
    cache: Cache,
    banks: Vec<Arc<ExpertBank>>,
    slot_bytes: u64,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut prng = Prng::new(seed);
        let disk = Scripted {
            prng: Prng::new(seed ^ 0xD15C),
            waiting: Vec::new(),
            failures_per_1000: [0, 20, 200][prng.below(3) as usize],
            stalls_per_1000: [0, 20, 200][prng.below(3) as usize],
        };
        let names = vec!["a".to_owned(), "b".to_owned()];
        let cache = Cache::new(Box::new(disk), names, None, Duration::from_secs(1));
        let layers = 1 + prng.below(5) as usize;
        let banks = (0..layers).map(|i| Arc::new(ExpertBank::cached(cache.clone(), places(i)))).collect();
        let slot_bytes = cache.lock().slot_bytes() as u64;
        let mut simulation = Self { prng, cache, banks, slot_bytes };
        simulation.set_budget();
        simulation
    }

    fn set_budget(&mut self) {
        let slots = 3 + self.prng.below(30);
        let budget = slots * self.slot_bytes + self.prng.below(self.slot_bytes);
        self.cache.lock().set_budget(Some(budget));
    }

    fn some_experts(&mut self) -> Vec<ExpertId> {
        let share = 1 + self.prng.below(EXPERTS as u64);
        let ids = (0..EXPERTS as u32).map(ExpertId);
        ids.filter(|_| self.prng.below(EXPERTS as u64) < share).collect()
    }

    /// A layer as a model runs it; sometimes it gives up half way.
    fn round(&mut self, layer: usize) {
        let bank = Arc::clone(&self.banks[layer]);
        let wanted = self.some_experts();
        let mut arrivals = bank.fetch(&wanted);
        self.check();
        let ahead = self.some_experts();
        let next = &self.banks[(layer + 1) % self.banks.len()];
        if layer.is_multiple_of(2) {
            next.read_ahead(ahead.into_iter());
        } else {
            next.forecast(1 + ahead.len() % 2, ahead.into_iter().zip(0..));
        }
        self.check();
        let mut given = Vec::new();
        loop {
            if self.prng.below(20) == 0 {
                return;
            }
            let Some(experts) = self.next(&mut arrivals) else { return };
            if experts.is_empty() {
                break;
            }
            for expert in &experts {
                check_bytes(layer, expert);
                given.push(expert.id);
            }
            if self.prng.below(8) == 0 {
                self.set_budget();
            }
            self.check();
            drop(experts);
            self.check();
        }
        given.sort_unstable_by_key(|id| id.0);
        assert_eq!(given, wanted, "each expert is given once");
    }

    fn next(&mut self, arrivals: &mut Arrivals<'_>) -> Option<Vec<Expert>> {
        let outcome = arrivals.take();
        self.check();
        match outcome {
            Ok(experts) => Some(experts),
            Err(Error::Short { .. } | Error::Stalled { .. }) => None,
            Err(error) => panic!("nothing else goes wrong here: {error}"),
        }
    }

    fn check(&self) {
        let inner = self.cache.lock();
        let counts = inner.counts();
        let open = counts.free + counts.cached + counts.in_flight;
        assert_eq!(open + counts.retired, inner.slot_count(), "every slot is in one state: {counts:?}");
        assert!(counts.held <= counts.cached + counts.in_flight, "{counts:?}");
        let excess = open.saturating_sub(inner.slot_limit());
        assert!(excess <= counts.held + counts.in_flight, "{excess} slots too many are open: {counts:?}");
        assert!(inner.memory_taken() <= open as u64 * self.slot_bytes, "memory is that of open slots");
    }
}

fn check_bytes(layer: usize, expert: &Expert) {
    for (part, blob) in [&expert.gate, &expert.up, &expert.down].into_iter().enumerate() {
        let (source_idx, first, bytes) = place(layer, part, expert.id.idx());
        assert_eq!(blob.len(), bytes);
        let as_stored =
            blob.as_slice().iter().zip(first..).all(|(byte, at)| *byte == byte_at(source_idx, at));
        assert!(as_stored, "expert {} of layer {layer}, matrix {part}", expert.id);
    }
}

#[test]
fn the_books_balance_whatever_the_drive_does() {
    for seed in 0..60 {
        let mut simulation = Simulation::new(seed);
        for step in 0..60 {
            let layer = step % simulation.banks.len();
            simulation.round(layer);
            simulation.check();
        }
        let counts = simulation.cache.lock().counts();
        assert_eq!(counts.held, 0, "seed {seed}: what was taken was given back");
    }
}

#[test]
fn what_fits_is_read_once() {
    let mut simulation = Simulation::new(1);
    simulation.cache = {
        let disk =
            Scripted { prng: Prng::new(1), waiting: Vec::new(), failures_per_1000: 0, stalls_per_1000: 0 };
        Cache::new(Box::new(disk), vec![String::new(); 2], None, Duration::from_secs(1))
    };
    let cache = simulation.cache.clone();
    simulation.banks = (0..3).map(|i| Arc::new(ExpertBank::cached(cache.clone(), places(i)))).collect();
    let all: Vec<ExpertId> = (0..EXPERTS as u32).map(ExpertId).collect();
    for _ in 0..3 {
        for bank in &simulation.banks {
            let mut arrivals = bank.fetch(&all);
            while !arrivals.take().expect("this drive does not fail").is_empty() {}
        }
    }
    let traffic = cache.lock().traffic();
    assert_eq!((traffic.misses, traffic.hits), (27, 54));
    assert_eq!(traffic.read_bytes, 27 * BYTES.iter().sum::<usize>() as u64);
}

/// A drive that answers when it is waited for, in order; what was asked while it was broken fails, even after it was mended.
struct Mended {
    waiting: VecDeque<(Fill, bool)>,
    is_sound: Arc<AtomicBool>,
}

impl Disk for Mended {
    fn submit(&mut self, fill: Fill) {
        self.waiting.push_back((fill, self.is_sound.load(Ordering::SeqCst)));
    }

    fn wait(&mut self, at_most: Duration) -> Option<Filled> {
        let (Fill { ticket, buf, .. }, is_sound) =
            if at_most.is_zero() { None } else { self.waiting.pop_front() }?;
        let error = Error::Short { file: "sim".to_owned(), offset: 0, expected: 1, found: 0 };
        Some(Filled { ticket, buf, result: if is_sound { Ok(()) } else { Err(error) } })
    }

    fn name(&self) -> &'static str {
        "mended"
    }
}

#[test]
fn a_read_of_an_earlier_request_that_fails_late_does_not_fail_this_one() {
    let is_sound = Arc::new(AtomicBool::new(false));
    let disk = Mended { waiting: VecDeque::new(), is_sound: Arc::clone(&is_sound) };
    let cache = Cache::new(Box::new(disk), vec![String::new(); 2], None, Duration::from_secs(1));
    let bank = ExpertBank::cached(cache, places(0));
    let ids = [ExpertId(1), ExpertId(2), ExpertId(3)];
    assert!(bank.fetch(&ids).take().is_err(), "the first of three reads failed, two are on their way");
    is_sound.store(true, Ordering::SeqCst);
    assert_eq!(count(&bank, &ids), ids.len());
}

/// Fetches `ids` from a sound drive; how many came.
fn count(bank: &ExpertBank, ids: &[ExpertId]) -> usize {
    let mut arrivals = bank.fetch(ids);
    let mut given = 0;
    loop {
        let experts = arrivals.take().expect("the drive is sound");
        if experts.is_empty() {
            return given;
        }
        given += experts.len();
    }
}

#[test]
fn a_drive_that_fails_while_it_is_measured_serves_later_requests() {
    let is_sound = Arc::new(AtomicBool::new(false));
    let disk = Mended { waiting: VecDeque::new(), is_sound: Arc::clone(&is_sound) };
    let cache = Cache::new(Box::new(disk), vec![String::new(); 2], None, Duration::from_secs(1));
    let bank = ExpertBank::cached(cache.clone(), places(0));
    assert_eq!(cache.lock().measure_drive(Duration::from_millis(10)), None, "the first read failed");
    is_sound.store(true, Ordering::SeqCst);
    let ids = [ExpertId(1), ExpertId(2)];
    assert_eq!(count(&bank, &ids), ids.len(), "what else was on its way is nobody's");
}

#[test]
fn a_guess_waits_until_nothing_that_is_needed_is_on_its_way() {
    let disk = Mended { waiting: VecDeque::new(), is_sound: Arc::new(AtomicBool::new(true)) };
    let cache = Cache::new(Box::new(disk), vec![String::new(); 2], None, Duration::from_secs(1));
    let [bank, next] = [0, 1].map(|layer| ExpertBank::cached(cache.clone(), places(layer)));
    let slot_bytes = cache.lock().slot_bytes() as u64;
    cache.lock().set_budget(Some(4 * slot_bytes));
    let ids = |round: usize| [ExpertId((round % EXPERTS) as u32)];
    for round in 0..300 {
        assert_eq!(count(&bank, &ids(round)), 1);
        next.forecast(1, ids(round).into_iter().zip(0..));
        assert_eq!(count(&next, &ids(round)), 1);
    }
    let ahead = || cache.lock().traffic().ahead;
    let before = ahead();
    assert!(before > 100, "what always comes true is read: {before}");
    let mut arrivals = bank.fetch(&[ExpertId(4), ExpertId(5)]);
    next.forecast(1, [ExpertId(6)].into_iter().zip(0..));
    assert_eq!(ahead(), before, "two that are needed are on their way");
    while !arrivals.take().expect("the drive is sound").is_empty() {}
    drop(arrivals);
    assert_eq!(ahead(), before + 1, "now the drive is idle");
}
