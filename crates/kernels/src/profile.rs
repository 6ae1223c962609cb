//! Where the time of a model goes: each verb of [`Cpu`](crate::Cpu) timed under the section that calls it.
//!
//! A section is a kind of layer (`mla`, `moe`, `head`): a model names it by handing down
//! [`Cpu::in_section`](crate::Cpu::in_section). A verb that calls others counts as one, so times add up; what lies between
//! the verbs is [`OTHER`]. Nothing is timed outside [`Cpu::profile`](crate::Cpu::profile): a verb then costs one look
//! at a flag more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::work::{Work, WorkCounter};

/// The operation, in the section `-`, that stands for all time between the verbs.
pub const OTHER: &str = "other";

/// All calls of one operation in one section.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The kind of layer, as the model calls it.
    pub section: &'static str,
    /// The verb.
    pub operation: &'static str,
    /// How often it was called.
    pub calls: u64,
    /// How long all calls took together.
    pub time: Duration,
    /// What they had to do.
    pub work: Work,
}

/// Where the time went.
#[derive(Clone, Debug)]
pub struct Profile {
    /// From the first to the last moment; the times of the entries add up to it.
    pub wall: Duration,
    /// The longest first.
    pub entries: Vec<Entry>,
}

impl Profile {
    fn new(wall: Duration, mut entries: Vec<Entry>) -> Self {
        let in_verbs = entries.iter().map(|entry| entry.time).sum();
        entries.push(Entry {
            section: "-",
            operation: OTHER,
            calls: 0,
            time: wall.saturating_sub(in_verbs),
            work: Work::default(),
        });
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.time));
        Self { wall, entries }
    }
}

/// What all handles of a backend count.
#[derive(Default)]
pub(crate) struct Profiler {
    pub(crate) work: WorkCounter,
    is_on: AtomicBool,
    /// A verb is being timed: verbs that it calls are its own time.
    is_inside: AtomicBool,
    entries: Mutex<Vec<Entry>>,
}

impl Profiler {
    /// Runs `run` with the clock on.
    ///
    /// # Panics
    /// If it runs already.
    pub(crate) fn profile<R>(&self, run: impl FnOnce() -> R) -> (R, Profile) {
        assert!(!self.is_on.swap(true, Ordering::SeqCst), "one profile at a time");
        let on = On(self);
        let start = Instant::now();
        let result = run();
        let wall = start.elapsed();
        drop(on);
        (result, Profile::new(wall, std::mem::take(&mut *self.entries())))
    }

    /// Times a verb until the result is dropped.
    pub(crate) fn time(&self, section: &'static str, operation: &'static str) -> Timer<'_> {
        let is_timed = self.is_on.load(Ordering::Relaxed) && !self.is_inside.swap(true, Ordering::Relaxed);
        Timer(is_timed.then(|| Running {
            profiler: self,
            section,
            operation,
            work_before: self.work.total(),
            start: Instant::now(),
        }))
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Turns the clock off, after a panic too.
struct On<'a>(&'a Profiler);

impl Drop for On<'_> {
    fn drop(&mut self) {
        self.0.is_on.store(false, Ordering::SeqCst);
    }
}

/// A verb in progress.
pub(crate) struct Timer<'a>(Option<Running<'a>>);

struct Running<'a> {
    profiler: &'a Profiler,
    section: &'static str,
    operation: &'static str,
    work_before: Work,
    start: Instant,
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        let Some(Running { profiler, section, operation, work_before, start }) = self.0.take() else {
            return;
        };
        let (time, work) = (start.elapsed(), profiler.work.total() - work_before);
        let mut entries = profiler.entries();
        let known = entries.iter_mut().find(|entry| (entry.section, entry.operation) == (section, operation));
        match known {
            Some(entry) => {
                entry.calls += 1;
                entry.time += time;
                entry.work = entry.work + work;
            }
            None => entries.push(Entry { section, operation, calls: 1, time, work }),
        }
        profiler.is_inside.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_within_verbs_count_once_and_times_add_up() {
        let profiler = Profiler::default();
        drop(profiler.time("layer", "before")); // nobody looks yet
        let read = |weight_bytes| profiler.work.add(Work { weight_bytes, ..Work::default() });
        let ((), profile) = profiler.profile(|| {
            for _ in 0..2 {
                let _outer = profiler.time("layer", "outer");
                drop(profiler.time("layer", "inner"));
                read(5);
            }
            drop(profiler.time("head", "outer"));
            read(100); // between verbs: nobody's
        });
        let entry = |section, operation| {
            profile.entries.iter().find(|entry| (entry.section, entry.operation) == (section, operation))
        };
        assert_eq!(profile.entries.len(), 3, "{profile:?}");
        let outer = entry("layer", "outer").expect("it ran");
        assert_eq!((outer.calls, outer.work.weight_bytes), (2, 10));
        assert!(
            entry("head", "outer").is_some_and(|entry| entry.calls == 1 && entry.work == Work::default())
        );
        assert!(entry("-", OTHER).is_some());
        assert_eq!(profile.entries.iter().map(|entry| entry.time).sum::<Duration>(), profile.wall);
        assert!(profile.entries.is_sorted_by(|a, b| a.time >= b.time));

        let (seven, empty) = profiler.profile(|| 7);
        assert_eq!((seven, empty.entries.len()), (7, 1), "a profile begins anew");
    }
}
