//! How much memory a process takes while a model runs, judged by the system's own count, and, where a control group of memory can be
//! made, by a limit at which the kernel would end this process.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use shoal_base::{BlockId, Bytes, TokenId};
use shoal_checkpoint::Checkpoint;
use shoal_kernels::{Cpu, Isa, Pool};
use shoal_model::kv_cache::{BLOCK_LEN, KvSizes};
use shoal_model::memory::{Footprint, scratch_bytes};
use shoal_model::{Ignore, IoMode, KvCache, ModelConfig, OpenOptions, Phase, Span, Step, open};

/// Tokens of a chunk, and of the prompt.
const CHUNK: usize = 128;
const PROMPT: usize = 256;

/// A number of kibibytes in this process's status, in bytes.
fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a line of that name");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") << 10
}

/// A control group (v1) with this process in it; it goes with this.
struct Group(PathBuf);

impl Group {
    /// `None` where this process may not make one.
    fn with_limit(bytes: u64) -> Option<Self> {
        let path = PathBuf::from(format!("/sys/fs/cgroup/memory/shoal-test-{}", std::process::id()));
        std::fs::create_dir(&path).ok()?;
        let group = Self(path);
        std::fs::write(group.0.join("memory.limit_in_bytes"), bytes.to_string()).ok()?;
        std::fs::write(group.0.join("cgroup.procs"), std::process::id().to_string()).ok()?;
        Some(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::write("/sys/fs/cgroup/memory/cgroup.procs", std::process::id().to_string());
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Runs the model at `path`, which has experts of 70 MB and more, with memory for a third of them, and compares what the process takes with what it
/// may.
pub(crate) fn check(path: &Path) {
    let checkpoint = Arc::new(Checkpoint::open(path).expect("our own file"));
    let config = ModelConfig::read(&checkpoint).expect("our own file");
    let vocab_size = config.common().vocab_size;
    let footprint = Footprint::of(&checkpoint, &config);
    let all = footprint.slots_max * footprint.slot;
    assert!(all > 70 << 20, "there are experts enough: {all}");
    let kv = KvCache::bytes_for(&config, KvSizes::for_sequences(1, PROMPT + 64));
    let memory = footprint.fixed() + kv + scratch_bytes(&config, CHUNK, PROMPT) + all / 3;

    // Writing the file took more than the test will; the peak counts from here on.
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux has it");
    let before = status("VmRSS:");
    // What the process has already is not charged to a group that it joins.
    let group = Group::with_limit(memory + (16 << 20));
    if group.is_none() {
        eprintln!("no control group can be made here: judged by the count of the process alone");
    }
    let cpu = Cpu::new(Isa::best(), Arc::new(Pool::new(2)));
    let options =
        OpenOptions { memory: Some(Bytes(memory)), drafts: false, io: IoMode::Auto, progress: &|_, _| {} };
    let model = open(checkpoint, &options, cpu).expect("it loads");
    let blocks: Vec<BlockId> = (0..(PROMPT + 64).div_ceil(BLOCK_LEN) as u32).map(BlockId).collect();
    let mut kv = KvCache::new(model.config(), KvSizes { block_count: blocks.len(), sequences: 1 });
    let tokens: Vec<TokenId> = (0..PROMPT + 64).map(|i| TokenId((i * 37 % vocab_size) as u32)).collect();
    let mut run = |first: usize, len: usize, phase| {
        let span = Span { rows: 0..len, first_pos: first, blocks: &blocks, phase };
        let step = Step { tokens: &tokens[first..first + len], spans: vec![span], logits: &[len - 1] };
        let _ = model.forward(&step, &mut kv, &mut Ignore).expect("it runs");
    };
    (0..PROMPT).step_by(CHUNK).for_each(|first| run(first, CHUNK, Phase::Prefill));
    (PROMPT..PROMPT + 64).for_each(|first| run(first, 1, Phase::Decode));
    let taken = status("VmHWM:") - before;
    drop(group);
    let traffic = model.traffic();
    assert!(traffic.read_bytes > 2 * all, "experts were read again and again: {traffic:?}");
    assert!(taken > memory / 2, "the budget was used: {} of {}", Bytes(taken), Bytes(memory));
    assert!(taken <= memory + memory / 100 + (4 << 20), "{} taken, {} allowed", Bytes(taken), Bytes(memory));
}
