//! What else took the processors while an engine ran, by the kernel's own accounts.
//!
//! ```text
//! /proc/PID/task/*/schedstat   of each thread: ns on a processor, ns waiting for one, time slices
//! /proc/stat, line cpuN        ticks: user nice system idle iowait irq softirq steal guest guest_nice
//! ```
//!
//! A thread that waits could have run and did not: something else had its processor. So the share that is judged is
//! waiting / (running + waiting), summed over the threads. Time in which an engine sleeps or reads its file dilutes
//! nothing, as it would in a share of the wall time. Steal (another guest of the host ran) and other programs on the
//! same processors are recorded beside it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Serialize;

use super::stats::rounded;

/// Largest share of its time that a run may wait and still count.
pub(super) const WAIT_SHARE_MAX: f64 = 0.02;

/// What disturbed one run, as shares from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Noise {
    /// Of the time in which the engine's threads wanted to run, how much they waited for a processor.
    pub(super) wait_share: f64,
    /// Of the time of the pinned processors, how much the host gave to others.
    pub(super) steal_share: f64,
    /// Of the time of the pinned processors, how much other programs here used.
    pub(super) others_share: f64,
}

/// One thread's account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Schedstat {
    running_ns: u64,
    waiting_ns: u64,
}

impl Schedstat {
    /// Reads the line of a `schedstat` file; `None` if it is no such line.
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split_ascii_whitespace().map(str::parse);
        let (running_ns, waiting_ns) = (fields.next()?.ok()?, fields.next()?.ok()?);
        Some(Self { running_ns, waiting_ns })
    }
}

/// The last account seen of every thread of a process: those that ended keep theirs.
#[derive(Default)]
pub(super) struct Watch {
    threads: BTreeMap<String, Schedstat>,
}

impl Watch {
    /// Looks at the process again. One that has ended leaves everything as it was.
    pub(super) fn look(&mut self, pid: u32) {
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return };
        for task in tasks.flatten() {
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            self.note(&task.file_name().to_string_lossy(), &text);
        }
    }

    fn note(&mut self, thread: &str, text: &str) {
        if let Some(stat) = Schedstat::parse(text) {
            self.threads.insert(thread.to_owned(), stat);
        }
    }

    fn total(&self) -> Schedstat {
        self.threads.values().fold(Schedstat::default(), |sum, stat| Schedstat {
            running_ns: sum.running_ns + stat.running_ns,
            waiting_ns: sum.waiting_ns + stat.waiting_ns,
        })
    }
}

/// Ticks of some processors since the machine started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ticks {
    all: u64,
    /// Neither idle nor stolen.
    busy: u64,
    steal: u64,
}

impl Ticks {
    /// The ticks of `cpus` now.
    pub(super) fn now(cpus: &[usize]) -> Result<Self> {
        let text = std::fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        Self::parse(&text, cpus)
    }

    fn parse(text: &str, cpus: &[usize]) -> Result<Self> {
        let mut sum = Self::default();
        for cpu in cpus {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("cpu{cpu} ")));
            let line =
                line.with_context(|| format!("/proc/stat: expected a line for cpu{cpu}, found none"))?;
            // Time of guests is within user and nice already.
            let ticks: Vec<u64> =
                line.split_ascii_whitespace().take(8).filter_map(|field| field.parse().ok()).collect();
            let &[user, nice, system, idle, iowait, irq, softirq, steal] = ticks.as_slice() else {
                anyhow::bail!("/proc/stat: expected eight counts for cpu{cpu}, found `{line}`");
            };
            let busy = user + nice + system + irq + softirq;
            sum.busy += busy;
            sum.steal += steal;
            sum.all += busy + idle + iowait + steal;
        }
        Ok(sum)
    }
}

impl Noise {
    /// What disturbed a run of `seconds` on `cpu_count` processors.
    pub(super) fn between(
        before: Ticks,
        after: Ticks,
        watch: &Watch,
        seconds: f64,
        cpu_count: usize,
    ) -> Self {
        let own = watch.total();
        let wanted = own.running_ns + own.waiting_ns;
        // No ticks at all: the run was shorter than one.
        let ticks = (after.all - before.all).max(1) as f64;
        let busy_share = (after.busy - before.busy) as f64 / ticks;
        let own_share = own.running_ns as f64 / 1e9 / (seconds * cpu_count as f64);
        Self {
            wait_share: rounded(own.waiting_ns as f64 / wanted.max(1) as f64),
            steal_share: rounded((after.steal - before.steal) as f64 / ticks),
            others_share: rounded((busy_share - own_share).max(0.0)),
        }
    }

    /// Why a run with this noise does not count; `None` if it does.
    pub(super) fn objection(&self) -> Option<String> {
        (self.wait_share > WAIT_SHARE_MAX).then(|| {
            format!(
                "its threads waited for a processor {:.1} % of their time: expected at most {:.0} %",
                100.0 * self.wait_share,
                100.0 * WAIT_SHARE_MAX
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "cpu  30 0 0 0 0 0 0 0 0 0\ncpu0 10 1 2 100 5 1 1 0 9 0\ncpu1 10 0 0 100 0 0 0 0 0 0\n\
                          cpu10 7 7 7 7 7 7 7 7 7 7\nintr 5\n";
    const AFTER: &str = "cpu0 80 1 2 120 5 1 1 10 9 0\ncpu1 110 0 0 100 0 0 0 0 0 0\n";

    fn watch(accounts: &[(&str, &str)]) -> Watch {
        let mut watch = Watch::default();
        accounts.iter().for_each(|(thread, text)| watch.note(thread, text));
        watch
    }

    #[test]
    fn each_thread_counts_with_its_last_account() {
        let watch =
            watch(&[("7", "100 5 3\n"), ("8", "40 1 1\n"), ("7", "300 10 9\n"), ("8", ""), ("9", "x y")]);
        assert_eq!(watch.total(), Schedstat { running_ns: 340, waiting_ns: 11 });
    }

    #[test]
    fn ticks_are_those_of_the_processors_asked_for() {
        let one = Ticks::parse(BEFORE, &[1]).unwrap();
        assert_eq!(one, Ticks { all: 110, busy: 10, steal: 0 });
        let both = Ticks::parse(BEFORE, &[0, 1]).unwrap();
        assert_eq!(both, Ticks { all: 230, busy: 25, steal: 0 });
        assert!(Ticks::parse(AFTER, &[2]).unwrap_err().to_string().contains("cpu2"));
        assert!(Ticks::parse("cpu0 1 2 3\n", &[0]).unwrap_err().to_string().contains("eight counts"));
    }

    #[test]
    fn shares_are_of_the_time_wanted_and_of_the_pinned_processors() {
        let [before, after] = [BEFORE, AFTER].map(|text| Ticks::parse(text, &[0, 1]).unwrap());
        // 200 ticks passed, 170 busy and 10 stolen; the engine ran 1.5 of its 2 processor seconds.
        let watch = watch(&[("1", "900000000 100000000 1"), ("2", "600000000 0 1")]);
        let noise = Noise::between(before, after, &watch, 1.0, 2);
        assert_eq!(noise, Noise { wait_share: 0.0625, steal_share: 0.05, others_share: 0.1 });
        assert!(
            noise.objection().unwrap().contains("waited for a processor 6.2 %"),
            "{:?}",
            noise.objection()
        );
        assert_eq!(Noise { wait_share: 0.02, ..noise }.objection(), None);
    }
}
