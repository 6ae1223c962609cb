//! How many physical cores this process may use: siblings of one core share its arithmetic, so they count once.

use std::collections::BTreeSet;

/// The number of physical cores among the processors of this thread's affinity mask; at least 1.
///
/// Where the machine does not tell which processors are siblings, every processor counts.
#[must_use]
pub fn physical_core_count() -> usize {
    physical_cores().len().max(1)
}

/// One processor of each physical core of this thread's affinity mask, in ascending order.
pub(super) fn physical_cores() -> Vec<usize> {
    let Ok(mask) = rustix::thread::sched_getaffinity(None) else { return Vec::new() };
    let allowed = (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| mask.is_set(cpu));
    let mut seen = BTreeSet::new();
    allowed
        .filter(|cpu| {
            let siblings = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
            seen.insert(std::fs::read_to_string(siblings).unwrap_or_else(|_| format!("{cpu}")))
        })
        .collect()
}

/// Keeps this thread on one processor. Where that is refused it runs as the system pleases: slower, not wrong.
pub(super) fn pin_to(cpu: usize) {
    let mut mask = rustix::thread::CpuSet::new();
    mask.set(cpu);
    let _ = rustix::thread::sched_setaffinity(None, &mask);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_more_cores_than_processors() {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        assert!((1..=processors.max(1)).contains(&physical_core_count()));
    }
}
