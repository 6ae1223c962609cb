//! The whole process keeps to its memory: the most that it ever had is what it had before plus what the model may take.
//!
//! Judged by the system's own count, and, where a control group of memory can be made, by a limit at which the kernel
//! would end this process. One test, in a process of its own.

#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use shoal_base::{BlockId, Bytes, TokenId};
use shoal_checkpoint::Checkpoint;
use shoal_kernels::{Cpu, Isa, Pool};
use shoal_model::kv_cache::{BLOCK_LEN, KvSizes};
use shoal_model::memory::{Footprint, scratch_bytes};
use shoal_model::{Ignore, IoMode, KvCache, ModelConfig, OpenOptions, Phase, Span, Step, open};
use shoal_testkit::gguf::GgufWriter;
use shoal_testkit::seeded::random_bytes;

const F32: u32 = 0;
const Q8_0: u32 = 8;

const LAYERS: u64 = 4;
const EXPERTS: u64 = 48;
const USED: u64 = 4;
const HIDDEN: u64 = 512;
const WIDTH: u64 = 512;
const VOCAB: u64 = 512;
const HEADS: u64 = 4;
const NOPE: u64 = 32;
const ROPE: u64 = 16;
const VALUE: u64 = 32;
const RANK: u64 = 64;

/// Tokens of a chunk, and of the prompt.
const CHUNK: usize = 128;
const PROMPT: usize = 256;

/// Blocks of Q8_0 whose weights are small: random bytes behind a scale of 2^-12.
fn q8_0(seed: u64, elements: u64) -> Vec<u8> {
    let mut bytes = random_bytes(seed, (elements / 32 * 34) as usize);
    bytes.chunks_exact_mut(34).for_each(|block| block[..2].copy_from_slice(&0x0C00u16.to_le_bytes()));
    bytes
}

fn ones(len: u64) -> Vec<u8> {
    (0..len).flat_map(|_| 1.0f32.to_le_bytes()).collect()
}

/// Some 150 MB of experts and little else.
fn write_model(path: &Path) {
    let a = "deepseek2";
    let mut file = GgufWriter::new(3).kv("general.architecture", a).kv("general.name", "large");
    let numbers = [
        ("block_count", LAYERS),
        ("context_length", 4096),
        ("embedding_length", HIDDEN),
        ("feed_forward_length", WIDTH),
        ("vocab_size", VOCAB),
        ("attention.head_count", HEADS),
        ("attention.head_count_kv", 1),
        ("attention.kv_lora_rank", RANK),
        ("attention.key_length", RANK + ROPE),
        ("attention.value_length", RANK),
        ("attention.key_length_mla", NOPE + ROPE),
        ("attention.value_length_mla", VALUE),
        ("rope.dimension_count", ROPE),
        ("leading_dense_block_count", 0),
        ("expert_count", EXPERTS),
        ("expert_used_count", USED),
        ("expert_shared_count", 1),
        ("expert_feed_forward_length", WIDTH),
        ("expert_gating_func", 1),
    ];
    for (key, value) in numbers {
        file = file.kv(&format!("{a}.{key}"), value as u32);
    }
    file = file.kv(&format!("{a}.attention.layer_norm_rms_epsilon"), 1e-6f32);
    file = file.kv(&format!("{a}.rope.freq_base"), 1e4f32).kv(&format!("{a}.expert_weights_scale"), 1.0f32);
    let matrix = |file: GgufWriter, name: &str, dims: &[u64]| {
        file.tensor(name, Q8_0, dims, &q8_0(name.len() as u64, dims.iter().product()))
    };
    let vector = |file: GgufWriter, name: &str, len: u64| file.tensor(name, F32, &[len], &ones(len));
    file = matrix(file, "token_embd.weight", &[HIDDEN, VOCAB]);
    file = matrix(file, "output.weight", &[HIDDEN, VOCAB]);
    file = vector(file, "output_norm.weight", HIDDEN);
    for layer in 0..LAYERS {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        let (norms, widths) = (["attn_norm", "ffn_norm", "attn_kv_a_norm"], [HIDDEN, HIDDEN, RANK]);
        for (part, width) in norms.into_iter().zip(widths) {
            file = vector(file, &name(part), width);
        }
        let router = random_bytes(layer, (EXPERTS * HIDDEN) as usize);
        let router: Vec<u8> =
            router.iter().flat_map(|x| (f32::from(*x) / 128.0 - 1.0).to_le_bytes()).collect();
        file = file.tensor(&name("ffn_gate_inp"), F32, &[HIDDEN, EXPERTS], &router);
        let matrices: [(&str, &[u64]); 11] = [
            ("attn_q", &[HIDDEN, HEADS * (NOPE + ROPE)]),
            ("attn_kv_a_mqa", &[HIDDEN, RANK + ROPE]),
            ("attn_k_b", &[NOPE, RANK, HEADS]),
            ("attn_v_b", &[RANK, VALUE, HEADS]),
            ("attn_output", &[HEADS * VALUE, HIDDEN]),
            ("ffn_gate_shexp", &[HIDDEN, WIDTH]),
            ("ffn_up_shexp", &[HIDDEN, WIDTH]),
            ("ffn_down_shexp", &[WIDTH, HIDDEN]),
            ("ffn_gate_exps", &[HIDDEN, WIDTH, EXPERTS]),
            ("ffn_up_exps", &[HIDDEN, WIDTH, EXPERTS]),
            ("ffn_down_exps", &[WIDTH, HIDDEN, EXPERTS]),
        ];
        for (part, dims) in matrices {
            file = matrix(file, &name(part), dims);
        }
    }
    std::fs::write(path, file.finish()).expect("a temporary file");
}

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

#[test]
fn the_peak_stays_within_the_budget() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("model.gguf");
    write_model(&path);
    let checkpoint = Arc::new(Checkpoint::open(&path).expect("our own file"));
    let config = ModelConfig::read(&checkpoint).expect("our own file");
    let footprint = Footprint::of(&checkpoint, &config);
    let all = footprint.slots_max * footprint.slot;
    assert!(all > 140 << 20, "experts dominate: {all}");
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
    let tokens: Vec<TokenId> = (0..PROMPT + 64).map(|i| TokenId((i * 37 % VOCAB as usize) as u32)).collect();
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
