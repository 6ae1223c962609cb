//! The compute pool: one worker per physical core, spinning briefly between the operations of a step.
//!
//! A decoded token runs some hundreds of operations of 5 to 500 microseconds each, so handing one out must cost
//! well under a microsecond. Workers watch an epoch counter, spinning for a while, then sleeping. An operation is
//! a number of items and a function from item to work. Each thread begins with its own run of consecutive items, since
//! neighbours lie beside each other in memory and what one item asked for ahead of its use is the next one's; who has
//! finished takes from the runs of the others. A sleeping worker never delays an operation: it is complete when its
//! items are done and nobody is inside it.
//!
//! Which thread takes which item is left to chance, so an item's result must depend on the item alone. All
//! operations of this crate are built so, which is what makes an answer independent of the number of threads.
//!
//! The state word holds the number of threads inside the current operation and a bit that says it may be entered:
//!
//! ```text
//! caller   write job; state |= OPEN; epoch += 1; wake sleepers; take items; state &= !OPEN; wait for count == 0
//! worker   wait for a new epoch; old = state.fetch_add(1); if old & OPEN { take items }; state.fetch_sub(1)
//! ```
//! A worker touches the job only if its own increment saw OPEN, and the caller leaves only when the count is back
//! at zero with OPEN cleared; so no worker looks at a job whose caller has returned.
#![allow(unsafe_code)]

mod chunks;
mod topology;

use std::cell::UnsafeCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};

use rustix::thread::CpuSet;

pub use chunks::{Chunked, Stripe, Striped};
pub use topology::{Seat, physical_core_count};

/// How many pauses a worker spins before it sleeps: about 50 to 100 microseconds.
const SPINS_BEFORE_SLEEP: u32 = 4_000;
/// How many pauses the caller spins for stragglers before it yields its core to them.
const SPINS_BEFORE_YIELD: u32 = 10_000;
const OPEN: usize = 1 << (usize::BITS - 1);

type ItemFn<'a> = dyn Fn(usize) + Sync + 'a;

#[derive(Clone, Copy)]
struct Job {
    run: *const ItemFn<'static>,
    item_count: usize,
}

/// A counter with a cache line, and the one that is fetched along with it, to itself.
#[repr(align(128))]
struct Counter(AtomicUsize);

struct Shared {
    job: UnsafeCell<Option<Job>>,
    state: AtomicUsize,
    /// For each thread, the caller first, the next item of its run.
    next_items: Vec<Counter>,
    epoch: AtomicU32,
    stop: AtomicBool,
    panicked: AtomicBool,
    asleep: Vec<AtomicBool>,
}

// SAFETY: `job` is written only by the thread that holds `Pool::caller` while `state` is zero (nobody inside), and
// read only by threads whose increment of `state` saw OPEN; the atomics order the two. The rest is atomics.
unsafe impl Sync for Shared {}
// SAFETY: the raw pointer in `job` is dereferenced only while its caller waits (see the module's text).
unsafe impl Send for Shared {}

/// A pool of threads that run one operation at a time, together with the thread that asks for it.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    handles: Vec<Thread>,
    caller: Mutex<()>,
    /// Processors that no worker has, if each worker has its own.
    callers_processors: Option<CpuSet>,
}

impl Pool {
    /// A pool of `threads` threads, the caller's among them; at least one.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        let worker_count = threads.max(1) - 1;
        let shared = Arc::new(Shared {
            job: UnsafeCell::new(None),
            state: AtomicUsize::new(0),
            next_items: (0..=worker_count).map(|_| Counter(AtomicUsize::new(0))).collect(),
            epoch: AtomicU32::new(0),
            stop: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            asleep: (0..worker_count).map(|_| AtomicBool::new(false)).collect(),
        });
        let cores = topology::physical_cores();
        // The first core is left to the caller. Woken workers would otherwise be put beside their waker.
        let workers_cores = cores.get(1..=worker_count).unwrap_or_default();
        let workers: Vec<_> = (0..worker_count)
            .filter_map(|worker_idx| {
                let shared = Arc::clone(&shared);
                let builder = std::thread::Builder::new().name(format!("shoal-compute-{worker_idx}"));
                let cpu = workers_cores.get(worker_idx).copied();
                let work = move || {
                    cpu.into_iter().for_each(topology::pin_to);
                    worker_loop(&shared, worker_idx);
                };
                // Without the thread the rest still do all the work.
                builder.spawn(work).ok()
            })
            .collect();
        let handles = workers.iter().map(|worker| worker.thread().clone()).collect();
        let callers_processors =
            if workers_cores.is_empty() { None } else { topology::beside(workers_cores) };
        Self { shared, workers, handles, caller: Mutex::new(()), callers_processors }
    }

    /// Keeps the calling thread off the processors of the workers while the seat lives. To be taken for a series of
    /// operations: a caller that slept between two of them, such as for a drive, may otherwise wake on a worker's
    /// processor, and the two take turns there while the caller's own stands idle.
    #[must_use]
    pub fn take_seat(&self) -> Seat {
        Seat::within(self.callers_processors.as_ref())
    }

    /// How many threads work on an operation, the caller's included.
    #[must_use]
    pub fn thread_count(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `run(item)` for every item of `0..item_count` and returns when all are done.
    ///
    /// # Panics
    /// If `run` panicked on any thread.
    pub fn run(&self, item_count: usize, run: &ItemFn<'_>) {
        if item_count <= 1 || self.workers.is_empty() {
            (0..item_count).for_each(run);
            return;
        }
        let _one_at_a_time = self.caller.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = &*self.shared;
        let run: *const ItemFn<'_> = run;
        // SAFETY: only the lifetime is erased; this function returns after every thread has left the job.
        let run: *const ItemFn<'static> = unsafe { std::mem::transmute(run) };
        let job = Job { run, item_count };
        for (thread_idx, next) in shared.next_items.iter().enumerate() {
            next.0.store(shared.run_of(thread_idx, item_count).start, Ordering::Relaxed);
        }
        // SAFETY: OPEN is clear and this thread holds `caller`, so nobody else reads or writes the job now.
        unsafe { *shared.job.get() = Some(job) };
        shared.state.fetch_or(OPEN, Ordering::SeqCst);
        shared.epoch.fetch_add(1, Ordering::SeqCst);
        for (asleep, handle) in shared.asleep.iter().zip(&self.handles) {
            if asleep.swap(false, Ordering::SeqCst) {
                handle.unpark();
            }
        }
        let own_panic = take_items(shared, job, 0);
        shared.state.fetch_and(!OPEN, Ordering::SeqCst);
        wait_until_empty(shared);
        let worker_panicked = shared.panicked.swap(false, Ordering::SeqCst);
        if let Err(panic) = own_panic {
            std::panic::resume_unwind(panic);
        }
        assert!(!worker_panicked, "a compute worker panicked; its message stands above");
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.epoch.fetch_add(1, Ordering::SeqCst);
        self.handles.iter().for_each(Thread::unpark);
        for worker in self.workers.drain(..) {
            // A worker catches panics of items, so joining cannot fail with one worth reporting.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// The items that thread `thread_idx` begins with.
    fn run_of(&self, thread_idx: usize, item_count: usize) -> Range<usize> {
        let first_of = |idx: usize| item_count * idx / self.next_items.len();
        first_of(thread_idx)..first_of(thread_idx + 1)
    }
}

fn take_items(shared: &Shared, job: Job, own_idx: usize) -> std::thread::Result<()> {
    catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the caller is inside `Pool::run` until everyone who entered has left, so the closure lives.
        let run = unsafe { &*job.run };
        let threads = shared.next_items.len();
        for thread_idx in (own_idx..threads).chain(0..own_idx) {
            let end = shared.run_of(thread_idx, job.item_count).end;
            loop {
                let item = shared.next_items[thread_idx].0.fetch_add(1, Ordering::Relaxed);
                if item >= end {
                    break;
                }
                run(item);
            }
        }
    }))
}

fn wait_until_empty(shared: &Shared) {
    let mut spins = 0;
    while shared.state.load(Ordering::SeqCst) != 0 {
        spins += 1;
        if spins < SPINS_BEFORE_YIELD {
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }
}

fn worker_loop(shared: &Shared, worker_idx: usize) {
    let mut seen_epoch = 0;
    loop {
        seen_epoch = wait_for_epoch(shared, worker_idx, seen_epoch);
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        if shared.state.fetch_add(1, Ordering::SeqCst) & OPEN != 0 {
            // SAFETY: this thread's increment saw OPEN, so the job is set and stays until the count drops again.
            if let Some(job) = unsafe { *shared.job.get() }
                && take_items(shared, job, worker_idx + 1).is_err()
            {
                shared.panicked.store(true, Ordering::SeqCst);
            }
        }
        shared.state.fetch_sub(1, Ordering::SeqCst);
    }
}

fn wait_for_epoch(shared: &Shared, worker_idx: usize, seen: u32) -> u32 {
    let asleep = &shared.asleep[worker_idx];
    loop {
        for _ in 0..SPINS_BEFORE_SLEEP {
            let epoch = shared.epoch.load(Ordering::SeqCst);
            if epoch != seen {
                return epoch;
            }
            std::hint::spin_loop();
        }
        asleep.store(true, Ordering::SeqCst);
        // The epoch is read again after the flag is up: a caller that missed the flag has moved the epoch before.
        while shared.epoch.load(Ordering::SeqCst) == seen && asleep.load(Ordering::SeqCst) {
            std::thread::park();
        }
        asleep.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn every_item_runs_once_whatever_the_thread_count() {
        for threads in [1, 2, 3, 8] {
            let pool = Pool::new(threads);
            for item_count in [0, 1, 2, 7, 1000] {
                let counts: Vec<AtomicU32> = (0..item_count).map(|_| AtomicU32::new(0)).collect();
                pool.run(item_count, &|item| {
                    counts[item].fetch_add(1, Ordering::Relaxed);
                });
                assert!(
                    counts.iter().all(|count| count.load(Ordering::Relaxed) == 1),
                    "{threads} {item_count}"
                );
            }
        }
    }

    #[test]
    fn many_short_operations_and_pauses_lose_nothing() {
        let pool = Pool::new(4);
        let sum = AtomicU64::new(0);
        for round in 0..3000u64 {
            pool.run(5, &|item| {
                sum.fetch_add(item as u64 + round, Ordering::Relaxed);
            });
            if round % 1000 == 999 {
                std::thread::sleep(std::time::Duration::from_millis(3)); // long enough for the workers to sleep
            }
        }
        assert_eq!(sum.into_inner(), 3000 * 10 + 5 * (3000 * 2999 / 2));
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(3);
        for bad_item in [0, 50, 99] {
            let caught = catch_unwind(AssertUnwindSafe(|| {
                pool.run(100, &|item| assert_ne!(item, bad_item, "expected by the test"));
            }));
            assert!(caught.is_err());
        }
        let done = AtomicU32::new(0);
        pool.run(10, &|_| {
            done.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(done.into_inner(), 10);
    }
}
