//! What this machine has free, the default for `--memory`; and what its processor is called.

use std::path::{Path, PathBuf};

use shoal_base::Bytes;

/// Memory left to the rest of the machine, or of the control group: a sixteenth, within these.
const MARGIN: std::ops::RangeInclusive<u64> = 64 << 20..=512 << 20;

/// Memory that this process may take, what it has already included: the smallest of what the machine has available and
/// what its control groups leave, less a margin; `None` where none of it can be read.
pub(crate) fn available_memory() -> Option<Bytes> {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| meminfo_available(&text));
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let left = folders(&groups).into_iter().filter_map(|folder| left_by(&folder, &read));
    let least = machine.into_iter().chain(left).min()?;
    let margin = (least / 16).clamp(*MARGIN.start(), *MARGIN.end());
    Some(Bytes((least + resident_memory()).saturating_sub(margin)))
}

/// The control groups of memory that a process is in, by what `/proc/self/cgroup` says: its own and all above it, of
/// version 1 (a hierarchy for memory) and 2 (one for everything). In a container its own is the root of the mount.
fn folders(groups: &str) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let mount = match controllers {
            "" => "/sys/fs/cgroup",
            _ if controllers.split(',').any(|name| name == "memory") => "/sys/fs/cgroup/memory",
            _ => continue,
        };
        let own = Path::new(mount).join(path.trim_start_matches('/'));
        folders.extend(own.ancestors().take_while(|folder| folder.starts_with(mount)).map(Path::to_owned));
    }
    folders
}

/// What the group `folder` leaves of its limit; files that could be read again count as free. `None` without a limit.
fn left_by(folder: &Path, read: &dyn Fn(&Path) -> Option<String>) -> Option<u64> {
    let number = |name: &str| read(&folder.join(name))?.trim().parse::<u64>().ok();
    let version_2 = number("memory.max").zip(number("memory.current"));
    let version_1 = || number("memory.limit_in_bytes").zip(number("memory.usage_in_bytes"));
    let (limit, used) = version_2.or_else(version_1)?;
    let stat = read(&folder.join("memory.stat")).unwrap_or_default();
    let files = stat.lines().find_map(|line| {
        let (name, bytes) = line.split_once(' ')?;
        ["total_inactive_file", "inactive_file"].contains(&name).then(|| bytes.parse::<u64>().ok())?
    });
    Some(limit.saturating_sub(used.saturating_sub(files.unwrap_or(0))))
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

/// Graphics processors that the system knows of, by name where it says one.
pub(crate) fn graphics_processors() -> Vec<String> {
    let folders =
        |path: &str| std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let nvidia = folders("/proc/driver/nvidia/gpus").filter_map(|folder| {
        let text = std::fs::read_to_string(folder.join("information")).ok()?;
        Some(text.lines().find_map(|line| line.strip_prefix("Model:"))?.trim().to_owned())
    });
    let amd = folders("/sys/class/kfd/kfd/topology/nodes").filter_map(|folder| {
        let text = std::fs::read_to_string(folder.join("properties")).ok()?;
        let is_graphics = text.lines().any(|line| line.strip_prefix("simd_count ").is_some_and(|n| n != "0"));
        is_graphics.then(|| "an AMD GPU".to_owned())
    });
    nvidia.chain(amd).collect()
}

fn model_name(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"))?;
    Some(line.split_once(':')?.1.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_by_version_and_with_all_above_them() {
        let groups = "12:pids:/a\n5:cpu,memory:/a/b\n0::/c\nnonsense\n";
        let found: Vec<String> = folders(groups).iter().map(|folder| folder.display().to_string()).collect();
        let expected =
            ["memory/a/b", "memory/a", "memory", "c", ""].map(|end| format!("/sys/fs/cgroup/{end}"));
        assert_eq!(found, expected.map(|path| path.trim_end_matches('/').to_owned()));
        assert!(folders("").is_empty());
    }

    #[test]
    fn a_group_leaves_its_limit_less_what_is_used_for_good() {
        let files = |all: &'static [(&str, &str)]| {
            move |path: &Path| {
                let name = path.file_name()?.to_str()?;
                all.iter().find(|(key, _)| *key == name).map(|(_, text)| (*text).to_owned())
            }
        };
        let left = |all: &'static [(&str, &str)]| left_by(Path::new("/g"), &files(all));
        assert_eq!(left(&[("memory.max", "1000\n"), ("memory.current", "300\n")]), Some(700));
        assert_eq!(left(&[("memory.max", "max\n"), ("memory.current", "300\n")]), None);
        let version_1 = &[
            ("memory.limit_in_bytes", "1000"),
            ("memory.usage_in_bytes", "900"),
            ("memory.stat", "cache 500\ninactive_file 200\n"),
        ];
        assert_eq!(left(version_1), Some(300));
        assert_eq!(left(&[("memory.limit_in_bytes", "10"), ("memory.usage_in_bytes", "900")]), Some(0));
        assert_eq!(left(&[]), None);
    }

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
