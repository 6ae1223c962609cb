//! How the memory that the process may use is divided, before anything large is taken.
//!
//! What cannot be less is counted first: the program, weights that every token needs, KV rows for the whole context, a step's
//! activations, and the experts of one token. If that is too much nothing is loaded, and the error says what would fit. What is
//! left goes to experts. While a model runs, KV rows and activations that are not there yet are lent to experts
//! as well (`shoal_model::memory`).

use anyhow::bail;
use serde::Serialize;
use shoal_base::Bytes;
use shoal_checkpoint::Checkpoint;
use shoal_model::kv_cache::{BLOCK_LEN, KvSizes};
use shoal_model::memory::{Footprint, scratch_bytes};
use shoal_model::{KvCache, ModelConfig};

use crate::machine::resident_memory;

/// What the program takes beside what it has when this is counted: stacks, buffers, a prompt and its answer.
const PROGRAM_GROWTH: u64 = 32 << 20;

/// Tokens of a prompt that are read in one step, where nothing else is said: as many as memory allows.
const CHUNKS: [usize; 7] = [2048, 1024, 512, 256, 128, 64, 32];

/// The longest chunk that helps if nothing is read from disk: it is as fast as any.
const CHUNK_IN_MEMORY: usize = 512;

/// Memory beside weights and KV rows: the program with its tokenizer, and the activations of a prompt's chunk.
pub(crate) fn working_memory(config: &ModelConfig, context_len: usize) -> u64 {
    let chunk = CHUNK_IN_MEMORY.min(context_len);
    resident_memory() + PROGRAM_GROWTH + scratch_bytes(config, chunk, context_len)
}

/// Bytes of a KV block with all that may belong to it.
fn block_bytes(config: &ModelConfig) -> u64 {
    KvCache::bytes_for(config, KvSizes::for_sequences(1, BLOCK_LEN))
}

/// What the memory is to be divided for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    /// All that the process may use; `None` if nobody says.
    pub(crate) memory: Option<Bytes>,
    pub(crate) context_len: usize,
    /// How many contexts at a time.
    pub(crate) sequences: usize,
    /// Tokens of a prompt that are read in one step, if that is said.
    pub(crate) chunk: Option<usize>,
    /// KV blocks on their way to files and back.
    pub(crate) blocks_in_files: usize,
    /// Bytes that a server takes for requests.
    pub(crate) server: u64,
}

/// Memory by purpose, in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Division {
    /// All that the process may use; `None` if nobody says.
    pub(crate) total: Option<u64>,
    /// The program, its tokenizer, its buffers.
    pub(crate) program: u64,
    /// Weights that every token needs.
    pub(crate) weights: u64,
    /// KV rows of the whole context.
    pub(crate) kv: u64,
    /// Activations of a step.
    pub(crate) computing: u64,
    /// Slots for experts.
    pub(crate) experts: u64,
    /// How many experts have a slot.
    pub(crate) expert_slots: u64,
    /// How many experts there are.
    pub(crate) expert_count: u64,
    pub(crate) context_len: usize,
    /// How many contexts the KV rows are for.
    pub(crate) sequences: usize,
    /// Tokens of a prompt that are read in one step.
    pub(crate) prefill_chunk: usize,
}

impl Division {
    /// Divides `memory`. A chunk that is given is taken as it is; else it is chosen.
    pub(crate) fn new(
        name: &str,
        checkpoint: &Checkpoint,
        config: &ModelConfig,
        wish: Wish,
    ) -> anyhow::Result<Self> {
        let Wish { memory, context_len, sequences, chunk, blocks_in_files, server } = wish;
        let footprint = Footprint::of(checkpoint, config);
        let on_their_way = block_bytes(config) * blocks_in_files as u64;
        let program = resident_memory() + PROGRAM_GROWTH + on_their_way + server;
        let kv = KvCache::bytes_for(config, KvSizes::for_sequences(sequences, context_len));
        let scratch = |chunk: usize| scratch_bytes(config, chunk.min(context_len), context_len);
        let fixed = program + footprint.fixed() + kv;
        let all_experts = footprint.slots_max * footprint.slot;
        let room = memory.map_or(u64::MAX, |memory| memory.0.saturating_sub(fixed));
        let prefill_chunk = chunk.unwrap_or_else(|| {
            let is_resident = all_experts + scratch(CHUNK_IN_MEMORY) <= room;
            let mut chunks = CHUNKS.into_iter().filter(|&chunk| !is_resident || chunk <= CHUNK_IN_MEMORY);
            chunks.find(|&chunk| scratch(chunk) <= room / 8).unwrap_or(CHUNKS[CHUNKS.len() - 1])
        });
        let prefill_chunk = prefill_chunk.min(context_len.max(1));
        let computing = scratch(prefill_chunk);
        let experts_min = footprint.slots_min * footprint.slot;
        let division = Self {
            total: memory.map(|memory| memory.0),
            program,
            weights: footprint.fixed(),
            kv,
            computing,
            experts: experts_min,
            expert_slots: footprint.slots_min.min(footprint.slots_max),
            expert_count: footprint.slots_max,
            context_len,
            sequences,
            prefill_chunk,
        };
        if experts_min.saturating_add(computing) > room {
            bail!(division.refusal(name, config));
        }
        let expert_slots =
            (room - computing).checked_div(footprint.slot).unwrap_or(0).min(footprint.slots_max);
        Ok(Self { experts: expert_slots * footprint.slot, expert_slots, ..division })
    }

    /// Memory for a model of the same kind that has `slots` experts: what this division has beside experts, and theirs.
    pub(crate) const fn with_slots(&self, slots: u64, slot: u64) -> Bytes {
        Bytes(self.program + self.weights + self.kv + self.computing + slots * slot)
    }

    /// Bytes of all but experts.
    pub(crate) const fn beside_experts(&self) -> u64 {
        self.program + self.weights + self.kv + self.computing
    }

    /// What the model may take: everything but the program.
    pub(crate) fn for_model(&self) -> Option<Bytes> {
        self.total.map(|total| Bytes(total - self.program))
    }

    /// Whether all experts have a slot.
    pub(crate) const fn is_resident(&self) -> bool {
        self.expert_slots == self.expert_count
    }

    /// Tokens of context, and how often.
    fn contexts(&self) -> String {
        match self.sequences {
            1 => format!("{} tokens", self.context_len),
            many => format!("{many} times {} tokens", self.context_len),
        }
    }

    const fn sum(&self) -> u64 {
        self.program + self.weights + self.kv + self.computing + self.experts
    }

    /// Why it does not fit, and what would.
    fn refusal(&self, name: &str, config: &ModelConfig) -> String {
        let total = self.total.unwrap_or(0);
        let mut parts = vec![
            format!("{} for weights that every token needs", Bytes(self.weights)),
            format!("{} for the KV cache of {}", Bytes(self.kv), self.contexts()),
            format!("{} to compute", Bytes(self.computing)),
            format!("{} for the program", Bytes(self.program)),
        ];
        if self.experts > 0 {
            parts.insert(1, format!("{} for the experts of one token in a layer", Bytes(self.experts)));
        }
        let without_kv = self.sum() - self.kv;
        // A longer context needs more to compute as well, so this errs on the safe side.
        let shorter = (1..self.context_len / 64).rev().map(|blocks| 64 * blocks);
        let kv = |len| KvCache::bytes_for(config, KvSizes::for_sequences(self.sequences, len));
        let shorter = shorter.into_iter().find(|&len| without_kv + kv(len) <= total);
        let advice = shorter.map_or_else(
            || "no context is short enough: take a smaller quantisation".to_owned(),
            |len| format!("a context of {len} tokens (--ctx {len}) or a smaller quantisation"),
        );
        format!(
            "{name} needs {} of memory at the least, but the memory is {}: {}; give more with --memory, or {advice}",
            Bytes(self.sum()),
            Bytes(total),
            parts.join(", ")
        )
    }

    /// One line for people.
    pub(crate) fn line(&self) -> String {
        let mut parts = vec![format!("weights {}", Bytes(self.weights))];
        if self.expert_count > 0 {
            let (slots, count) = (self.expert_slots, self.expert_count);
            parts.push(format!("{slots} of {count} experts {}", Bytes(self.experts)));
        }
        parts.push(format!("context of {} {}", self.contexts(), Bytes(self.kv)));
        parts.push(format!("computing {}", Bytes(self.computing)));
        parts.push(format!("program {}", Bytes(self.program)));
        let total = Bytes(self.total.unwrap_or_else(|| self.sum()));
        format!("memory {total}: {}", parts.join(" · "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_testkit::golden_dir;

    const fn wish(memory: Option<Bytes>, context_len: usize, chunk: Option<usize>) -> Wish {
        Wish { memory, context_len, sequences: 1, chunk, blocks_in_files: 0, server: 0 }
    }

    #[test]
    fn a_refusal_names_every_part_and_the_longest_context_that_fits() {
        let path = golden_dir("deepseek_v2_lite").join("model.gguf");
        let checkpoint = Checkpoint::open(&path).expect("the golden checkpoint reads");
        let config = ModelConfig::read(&checkpoint).expect("a golden checkpoint");
        let enough = Division::new("it", &checkpoint, &config, wish(None, 256, Some(64))).expect("no bound");
        assert!(enough.is_resident() && enough.expert_slots == 24, "{enough:?}");
        let slot = enough.experts / 24;

        let least = enough.sum() - enough.experts + 3 * slot;
        let block = KvCache::bytes_for(&config, KvSizes::for_sequences(1, 64));
        let refused = |memory: u64| {
            let memory = Some(Bytes(memory));
            Division::new("it", &checkpoint, &config, wish(memory, 256, Some(64)))
                .expect_err("too little")
                .to_string()
        };
        // Memory that the test itself takes meanwhile counts as the program's, so a block is left between.
        let why = refused(least - 2 * block - block / 2);
        for part in [
            "it needs",
            "for weights",
            "experts of one token",
            "KV cache of 256 tokens",
            "to compute",
            "--memory",
        ] {
            assert!(why.contains(part), "expected `{part}` in: {why}");
        }
        let why = refused(enough.program / 2);
        assert!(why.contains("no context is short enough"), "{why}");

        let division = Division { total: Some(least - block), experts: 3 * slot, ..enough };
        let why = division.refusal("it", &config);
        assert!(why.contains("--ctx 192"), "{why}");
    }

    #[test]
    fn what_is_left_goes_to_experts_and_a_chunk_takes_an_eighth_at_most() {
        let path = golden_dir("deepseek_v3").join("model.gguf");
        let checkpoint = Checkpoint::open(&path).expect("the golden checkpoint reads");
        let config = ModelConfig::read(&checkpoint).expect("a golden checkpoint");
        let memory = Bytes(resident_memory() + PROGRAM_GROWTH + (16 << 20));
        let division =
            Division::new("it", &checkpoint, &config, wish(Some(memory), 128, None)).expect("it fits");
        assert!(division.sum() <= memory.0 && division.prefill_chunk <= 128, "{division:?}");
        assert!(division.line().contains(" experts "), "{}", division.line());
    }
}
