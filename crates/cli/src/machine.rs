//! What this machine has free, the default for `--memory`; and what its processor is called.

use shoal_base::Bytes;

/// Memory left to the rest of the machine.
const MARGIN: u64 = 512 << 20;

/// Memory that this process may take: the smaller of what the machine has available and what its control group
/// leaves, less a margin; `None` where neither can be read.
pub(crate) fn available_memory() -> Option<Bytes> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").and_then(|text| meminfo_available(&text));
    // The root of the mount is the own group inside a container, which is where limits are usual.
    let number = |path: &str| read(path).and_then(|text| text.trim().parse::<u64>().ok());
    let v2 = number("/sys/fs/cgroup/memory.max").zip(number("/sys/fs/cgroup/memory.current"));
    let v1 = number("/sys/fs/cgroup/memory/memory.limit_in_bytes")
        .zip(number("/sys/fs/cgroup/memory/memory.usage_in_bytes"));
    let group = v2.or(v1).map(|(limit, used)| limit.saturating_sub(used));
    let least = machine.into_iter().chain(group).min()?;
    Some(Bytes(least.saturating_sub(MARGIN)))
}

/// Memory that this process has now; a guess where the system does not say.
pub(crate) fn resident_memory() -> u64 {
    const GUESS: u64 = 256 << 20;
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    kibibytes(&text, "VmRSS:").unwrap_or(GUESS)
}

fn meminfo_available(text: &str) -> Option<u64> {
    kibibytes(text, "MemAvailable:")
}

/// The number of kibibytes that a line of `text` gives under `name`, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

/// What the processor is called, as far as the system says.
pub(crate) fn processor_name() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    model_name(&text).unwrap_or(std::env::consts::ARCH).to_owned()
}

fn model_name(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"))?;
    Some(line.split_once(':')?.1.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_called_by_its_model() {
        assert_eq!(model_name("processor\t: 0\nmodel name\t: A: B\nmodel name\t: C\n"), Some("A: B"));
        assert_eq!(model_name("Features\t: asimd\n"), None);
    }

    #[test]
    fn meminfo_is_read_in_kibibytes() {
        assert_eq!(meminfo_available("MemTotal: 9 kB\nMemAvailable:   2048 kB\n"), Some(2 << 20));
        assert_eq!(meminfo_available("MemAvailable: many\n"), None);
    }
}
