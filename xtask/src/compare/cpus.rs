//! Which processors the engines run on, and how they are kept there.

use std::collections::BTreeSet;
use std::process::{Child, Command};

use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// One processor of each physical core that this process may use, in ascending order.
///
/// Siblings share a core's arithmetic: an engine with a thread on each would be measured against half a core.
pub(super) fn physical_cores() -> Result<Vec<usize>> {
    let mask = sched_getaffinity(None).context("cannot read the affinity of this process")?;
    let mut seen = BTreeSet::new();
    let allowed = (0..CpuSet::MAX_CPU).filter(|&cpu| mask.is_set(cpu));
    Ok(allowed
        .filter(|cpu| {
            let siblings = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
            seen.insert(std::fs::read_to_string(siblings).unwrap_or_else(|_| format!("{cpu}")))
        })
        .collect())
}

/// The processors for `threads` threads: the first of `cores`, all of them if nothing is said.
pub(super) fn choose(threads: Option<usize>, mut cores: Vec<usize>) -> Result<Vec<usize>> {
    let threads = threads.unwrap_or(cores.len());
    ensure!(
        (1..=cores.len()).contains(&threads),
        "--threads: expected 1 to {}, a thread for each physical core that this process may use, found {threads}",
        cores.len()
    );
    cores.truncate(threads);
    Ok(cores)
}

/// Starts `command` on `cpus`.
///
/// A child has the affinity of the thread that starts it. That thread is one made for this, so that the one that
/// watches the child stays free to run beside it.
pub(super) fn spawn_pinned(command: &mut Command, cpus: &[usize]) -> Result<Child> {
    let start = || -> Result<Child> {
        let mut mask = CpuSet::new();
        cpus.iter().for_each(|&cpu| mask.set(cpu));
        sched_setaffinity(None, &mask).with_context(|| format!("cannot pin to the processors {cpus:?}"))?;
        let program = command.get_program().to_string_lossy().into_owned();
        command.spawn().with_context(|| format!("cannot start {program}"))
    };
    std::thread::scope(|scope| scope.spawn(start).join().expect("starting a program does not panic"))
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn a_child_runs_where_it_is_told_and_its_parent_does_not() {
        let cores = physical_cores().unwrap();
        let before = sched_getaffinity(None).unwrap();
        let last = cores[cores.len() - 1];
        let mut command = Command::new("cat");
        let child = spawn_pinned(command.arg("/proc/self/status").stdout(Stdio::piped()), &[last]).unwrap();
        let output = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        let allowed = output.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
        assert_eq!(allowed.trim(), last.to_string());
        let after = sched_getaffinity(None).unwrap();
        assert!((0..CpuSet::MAX_CPU).all(|cpu| before.is_set(cpu) == after.is_set(cpu)));
    }

    #[test]
    fn there_is_a_core_for_each_thread() {
        assert_eq!(choose(Some(2), vec![0, 2, 4]).unwrap(), [0, 2]);
        assert_eq!(choose(None, vec![0, 2, 4]).unwrap(), [0, 2, 4]);
        assert!(choose(Some(4), vec![0, 2, 4]).unwrap_err().to_string().contains("expected 1 to 3"));
        assert!(choose(Some(0), vec![0]).is_err());
    }
}
