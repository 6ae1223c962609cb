//! A model whose experts do not fit computes what it computes in memory, bit for bit: for every budget, way of reading,
//! number of threads and length of step; and it keeps the budget or says why it cannot.

use std::sync::Arc;

use shoal_base::{BlockId, Bytes, TokenId};
use shoal_checkpoint::Checkpoint;
use shoal_kernels::{Act, Cpu, Isa, Pool};
use shoal_model::kv_cache::{BLOCK_LEN, KvSizes};
use shoal_model::memory::{Footprint, scratch_bytes};
use shoal_model::{Error, Ignore, IoMode, KvCache, Model, ModelConfig, OpenOptions, Phase, Span, Step, open};
use shoal_testkit::golden_dir;

const FAMILIES: [&str; 3] = ["deepseek_v2_lite", "deepseek_v2", "deepseek_v3"];

/// Tokens of the prompt; as many are decoded after it.
const TOKENS: usize = 24;

fn checkpoint(family: &str) -> Arc<Checkpoint> {
    Arc::new(Checkpoint::open(&golden_dir(family).join("model.gguf")).expect("the golden checkpoint reads"))
}

fn load(family: &str, memory: Option<Bytes>, io: IoMode, threads: usize) -> Result<Model, Error> {
    let cpu = Cpu::new(Isa::best(), Arc::new(Pool::new(threads)));
    open(checkpoint(family), &OpenOptions { memory, drafts: false, io, progress: &|_, _| {} }, cpu)
}

/// Logits of a prompt in steps of `chunk`, then of tokens one by one.
fn logits(model: &Model, chunk: usize) -> Result<Vec<Act>, Error> {
    let vocab_size = model.config().common().vocab_size;
    let tokens: Vec<TokenId> =
        (0..2 * TOKENS).map(|i| TokenId(((i * 37 + 11) % vocab_size) as u32)).collect();
    let blocks: Vec<BlockId> = (0..tokens.len().div_ceil(BLOCK_LEN) as u32).map(BlockId).collect();
    let mut kv = KvCache::new(model.config(), KvSizes { block_count: blocks.len(), sequences: 1 });
    let mut run = |range: std::ops::Range<usize>, phase| {
        let tokens = &tokens[range.clone()];
        let rows: Vec<usize> = (0..tokens.len()).collect();
        let span = Span { rows: 0..tokens.len(), first_pos: range.start, blocks: &blocks, phase };
        model.forward(&Step { tokens, spans: vec![span], logits: &rows }, &mut kv, &mut Ignore)
    };
    let mut all = Vec::new();
    for first in (0..TOKENS).step_by(chunk) {
        all.push(run(first..(first + chunk).min(TOKENS), Phase::Prefill)?);
    }
    for token in TOKENS..2 * TOKENS {
        all.push(run(token..token + 1, Phase::Decode)?);
    }
    Ok(all)
}

fn values(logits: &[Act]) -> Vec<u32> {
    logits.iter().flat_map(|act| act.as_slice()).map(|x| x.to_bits()).collect()
}

/// Memory for `slots` experts while `chunk` tokens run.
fn memory_for(family: &str, slots: u64, chunk: usize) -> Bytes {
    let checkpoint = checkpoint(family);
    let config = ModelConfig::read(&checkpoint).expect("a golden checkpoint");
    let footprint = Footprint::of(&checkpoint, &config);
    let kv = KvCache::bytes_for(&config, KvSizes::for_sequences(1, 2 * TOKENS));
    Bytes(footprint.fixed() + kv + scratch_bytes(&config, chunk, 2 * TOKENS) + slots * footprint.slot)
}

#[test]
fn the_logits_are_those_of_the_resident_model() {
    for family in FAMILIES {
        let resident = load(family, None, IoMode::Auto, 1).expect("it loads");
        let want = values(&logits(&resident, TOKENS).expect("it runs"));
        let per_token = resident.config().experts_per_token() as u64;
        for (slots, io, threads, chunk) in [
            (per_token, IoMode::Auto, 2, TOKENS),
            (per_token, IoMode::Threads, 1, 7),
            (per_token + 1, IoMode::Auto, 3, 5),
            (per_token + 3, IoMode::Threads, 2, TOKENS),
            (2 * per_token + 5, IoMode::Auto, 1, 11),
        ] {
            let memory = memory_for(family, slots, chunk);
            let model = load(family, Some(memory), io, threads).expect("it loads");
            let got = values(&logits(&model, chunk).expect("it runs"));
            assert!(got == want, "{family}: {slots} slots, {io:?}, {threads} threads, steps of {chunk}");
            let traffic = model.traffic();
            assert!(traffic.misses > 0 && traffic.read_bytes > 0, "{family}: {traffic:?}");
            assert!(resident.traffic().read_bytes < traffic.read_bytes, "{family}: experts were read again");
        }
    }
}

#[test]
fn too_little_memory_is_refused_before_anything_is_read() {
    for family in FAMILIES {
        let footprint = {
            let checkpoint = checkpoint(family);
            Footprint::of(&checkpoint, &ModelConfig::read(&checkpoint).expect("a golden checkpoint"))
        };
        let least = footprint.fixed() + footprint.slots_min * footprint.slot;
        let error = load(family, Some(Bytes(least - 1)), IoMode::Auto, 1).err().expect("too little");
        assert!(matches!(error, Error::TooLittleMemory { .. }), "{error}");
        // Enough to load, not enough to run a step.
        let model = load(family, Some(Bytes(least)), IoMode::Auto, 1).expect("it loads");
        let error = logits(&model, TOKENS).expect_err("no room for activations").to_string();
        assert!(error.contains("for experts of"), "{error}");
    }
}
