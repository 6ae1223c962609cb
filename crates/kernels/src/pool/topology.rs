//! How many physical cores this process may use: siblings of one core share its arithmetic, so they count once.

use std::collections::BTreeSet;
use std::marker::PhantomData;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The number of physical cores among the processors of this thread's affinity mask; at least 1.
///
/// Where the machine does not tell which processors are siblings, every processor counts.
#[must_use]
pub fn physical_core_count() -> usize {
    physical_cores().len().max(1)
}

/// One processor of each physical core of this thread's affinity mask, in ascending order.
pub(super) fn physical_cores() -> Vec<usize> {
    let mut seen = BTreeSet::new();
    allowed().into_iter().filter(|&cpu| seen.insert(core_of(cpu))).collect()
}

/// The processors of this thread's affinity mask.
fn allowed() -> Vec<usize> {
    let Ok(mask) = sched_getaffinity(None) else { return Vec::new() };
    (0..CpuSet::MAX_CPU).filter(|&cpu| mask.is_set(cpu)).collect()
}

/// What all processors of one core have in common.
fn core_of(cpu: usize) -> String {
    let siblings = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
    std::fs::read_to_string(siblings).unwrap_or_else(|_| format!("{cpu}"))
}

/// Keeps this thread on one processor. Where that is refused it runs as the system pleases: slower, not wrong.
pub(super) fn pin_to(cpu: usize) {
    let mut mask = CpuSet::new();
    mask.set(cpu);
    let _ = sched_setaffinity(None, &mask);
}

/// The processors of this thread's affinity mask that share no core with `taken`; `None` if there are none.
pub(super) fn beside(taken: &[usize]) -> Option<CpuSet> {
    let taken: BTreeSet<String> = taken.iter().map(|&cpu| core_of(cpu)).collect();
    let free: Vec<usize> = allowed().into_iter().filter(|&cpu| !taken.contains(&core_of(cpu))).collect();
    let mut mask = CpuSet::new();
    free.iter().for_each(|&cpu| mask.set(cpu));
    (!free.is_empty()).then_some(mask)
}

/// Keeps the thread that made it within some processors, until it is dropped.
pub struct Seat {
    before: Option<CpuSet>,
    /// The mask is that of a thread.
    _stays_here: PhantomData<*const ()>,
}

impl Seat {
    pub(super) fn within(processors: Option<&CpuSet>) -> Self {
        let before = processors.and_then(|processors| {
            let before = sched_getaffinity(None).ok()?;
            sched_setaffinity(None, processors).ok().map(|()| before)
        });
        Self { before, _stays_here: PhantomData }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = sched_setaffinity(None, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_more_cores_than_processors() {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        assert!((1..=processors.max(1)).contains(&physical_core_count()));
    }

    #[test]
    fn a_seat_is_left_as_it_was_found() {
        let before = allowed();
        let cores = physical_cores();
        {
            let free = beside(&cores[1..]);
            let _seat = Seat::within(free.as_ref());
            assert!(allowed().contains(&cores[0]));
            assert!(cores[1..].iter().all(|core| !allowed().contains(core)), "the others have those");
        }
        assert_eq!(allowed(), before);
        assert!(beside(&before).is_none(), "where all are taken nobody is kept anywhere");
    }
}
