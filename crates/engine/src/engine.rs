//! Requests in, tokens out: the loop around the model.

use shoal_base::{BlockId, TokenId};
use shoal_model::kv_cache::BLOCK_LEN;
use shoal_model::{Ignore, KvCache, Logits, Model, ModelConfig, Span, Step, Traffic, Work};

use crate::Error;
use crate::kv_blocks::BlockPool;
use crate::request::{Request, SequenceId};
use crate::scheduler::{Share, plan};
use crate::sequence::Sequence;

/// Sizes an engine is made with.
#[derive(Clone, Copy, Debug)]
pub struct EngineOptions {
    /// Longest sequence, in tokens.
    pub context_len: usize,
    /// Rows of a step at most: what a prompt is cut into.
    pub prefill_chunk: usize,
    /// KV blocks for all sequences together.
    pub block_count: usize,
}

impl EngineOptions {
    /// Room for one sequence of `context_len` tokens.
    #[must_use]
    pub const fn for_one(context_len: usize) -> Self {
        Self::for_many(1, context_len)
    }

    /// Room for `sequences` at a time, each of `context_len` tokens.
    #[must_use]
    pub const fn for_many(sequences: usize, context_len: usize) -> Self {
        Self { context_len, prefill_chunk: 512, block_count: sequences * context_len.div_ceil(BLOCK_LEN) }
    }
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended it.
    End,
    /// It reached its most tokens, or the end of the context.
    Length,
}

/// What a step did for one sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The next token of the answer.
    Token(SequenceId, TokenId),
    /// The answer is complete.
    Finished(SequenceId, FinishReason),
    /// The answer ends here, because weights that it needs could not be read: in one sentence, why. Other requests, and
    /// the same one again, may fare better.
    Failed(SequenceId, String),
}

/// What a step cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepReport {
    /// Tokens of prompts that ran.
    pub prefill_tokens: usize,
    /// Generated tokens that ran.
    pub decode_tokens: usize,
    /// Weight bytes that were read and multiply-adds that were made.
    pub work: Work,
    /// What went between disk and memory.
    pub traffic: Traffic,
}

/// The KV blocks of an ended sequence, kept for a prompt that begins alike.
struct Retained {
    tokens: Vec<TokenId>,
    blocks: Vec<BlockId>,
}

/// A model and the sequences that run on it.
pub struct Engine {
    model: Model,
    kv: KvCache,
    pool: BlockPool,
    sequences: Vec<Sequence>,
    retained: Option<Retained>,
    options: EngineOptions,
    next_id: u64,
}

impl Engine {
    /// An engine on `model`.
    #[must_use]
    pub fn new(model: Model, options: EngineOptions) -> Self {
        let kv = KvCache::new(model.config(), options.block_count);
        let pool = BlockPool::new(options.block_count);
        Self { model, kv, pool, sequences: Vec::new(), retained: None, options, next_id: 0 }
    }

    /// The model.
    #[must_use]
    pub const fn model(&self) -> &Model {
        &self.model
    }

    /// Longest sequence, in tokens.
    #[must_use]
    pub const fn context_len(&self) -> usize {
        self.options.context_len
    }

    /// Takes up a request. What its prompt shares with the last ended sequence is not computed again.
    ///
    /// # Errors
    /// If the prompt is empty, too long or names unknown tokens, a sampling parameter is out of range, or the KV
    /// cache is full.
    pub fn submit(&mut self, request: Request) -> Result<SequenceId, Error> {
        self.check(&request)?;
        let (blocks, computed) = self.take_retained(&request.prompt);
        let longest = (request.prompt.len() + request.max_tokens).min(self.options.context_len);
        let needed = longest.div_ceil(BLOCK_LEN).saturating_sub(blocks.len());
        if needed > self.pool.free_count() {
            let free = self.pool.free_count();
            self.pool.give_back(blocks);
            return Err(Error::CacheFull { needed, free });
        }
        let mut blocks = blocks;
        // All blocks at once: a request that starts can end.
        blocks.extend((0..needed).map_while(|_| self.pool.take()));
        let id = SequenceId(self.next_id);
        self.next_id += 1;
        self.sequences.push(Sequence::new(id, request, computed, blocks));
        Ok(id)
    }

    fn check(&self, request: &Request) -> Result<(), Error> {
        let (found, limit) = (request.prompt.len(), self.options.context_len);
        if found == 0 {
            return Err(Error::EmptyPrompt);
        }
        if found >= limit {
            return Err(Error::PromptTooLong { found, limit });
        }
        let vocab_size = self.model.config().common().vocab_size;
        if let Some(place) = request.prompt.iter().position(|token| token.idx() >= vocab_size) {
            return Err(Error::UnknownToken { found: request.prompt[place].0, place, vocab_size });
        }
        request.sampling.check()
    }

    /// Blocks kept from the last sequence and how many tokens of `prompt` they hold. The last token of a prompt
    /// always runs: its logits are wanted.
    fn take_retained(&mut self, prompt: &[TokenId]) -> (Vec<BlockId>, usize) {
        let Some(mut retained) = self.retained.take() else { return (Vec::new(), 0) };
        let shared = prompt.iter().zip(&retained.tokens).take_while(|(a, b)| a == b).count();
        let computed = shared.min(prompt.len() - 1);
        let surplus = retained.blocks.split_off(computed.div_ceil(BLOCK_LEN));
        self.pool.give_back(surplus);
        (retained.blocks, computed)
    }

    /// Tokens of a running request that need not run, or have run: right after [`submit`](Self::submit), those of its
    /// prompt that an earlier one shared.
    #[must_use]
    pub fn computed_len(&self, id: SequenceId) -> usize {
        self.sequences.iter().find(|sequence| sequence.id == id).map_or(0, |sequence| sequence.computed)
    }

    /// Stops a request; nothing more is said of it.
    pub fn cancel(&mut self, id: SequenceId) {
        if let Some(idx) = self.sequences.iter().position(|sequence| sequence.id == id) {
            self.end(idx);
        }
    }

    /// Forgets what was kept of ended sequences.
    pub fn forget(&mut self) {
        if let Some(retained) = self.retained.take() {
            self.pool.give_back(retained.blocks);
        }
    }

    /// Whether any request runs.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.sequences.is_empty()
    }

    /// Runs one step. Does nothing while idle. A step whose weights cannot be read ends the requests that took part in
    /// it ([`Event::Failed`]) and nothing else.
    pub fn step(&mut self) -> (Vec<Event>, StepReport) {
        let states: Vec<_> = self.sequences.iter().map(Sequence::state).collect();
        let shares = plan(&states, self.options.prefill_chunk);
        if shares.is_empty() {
            return (Vec::new(), StepReport::default());
        }
        let (work_before, traffic_before) = (self.model.work(), self.model.traffic());
        let mut report = StepReport::default();
        for share in &shares {
            match states[share.sequence].prompt_left {
                0 => report.decode_tokens += share.tokens,
                _ => report.prefill_tokens += share.tokens,
            }
        }
        let logits = match self.forward(&shares) {
            Ok(logits) => logits,
            Err(error) => return (self.fail(&shares, &error.to_string()), report),
        };
        report.work = self.model.work() - work_before;
        report.traffic = self.model.traffic() - traffic_before;
        let mut events = Vec::new();
        let mut ended = Vec::new();
        let completing = shares.iter().filter(|share| share.completes);
        for (row, share) in completing.enumerate() {
            let sequence = &mut self.sequences[share.sequence];
            if advance(sequence, logits.row(row), self.options.context_len, &mut events) {
                ended.push(share.sequence);
            }
        }
        ended.sort_unstable();
        for idx in ended.into_iter().rev() {
            self.end(idx);
        }
        (events, report)
    }

    /// Ends the sequences that had a share.
    fn fail(&mut self, shares: &[Share], why: &str) -> Vec<Event> {
        let mut failed: Vec<usize> = shares.iter().map(|share| share.sequence).collect();
        failed.sort_unstable();
        failed.dedup();
        let events =
            failed.iter().map(|&idx| Event::Failed(self.sequences[idx].id, why.to_owned())).collect();
        failed.into_iter().rev().for_each(|idx| self.end(idx));
        events
    }

    /// Runs the shares through the model; one row of logits for each that completes.
    fn forward(&mut self, shares: &[Share]) -> Result<Logits, Error> {
        let mut tokens = Vec::new();
        let mut spans = Vec::new();
        let mut logits = Vec::new();
        for share in shares {
            let sequence = &self.sequences[share.sequence];
            let first_row = tokens.len();
            tokens.extend_from_slice(&sequence.tokens[sequence.computed..sequence.computed + share.tokens]);
            spans.push(Span {
                rows: first_row..tokens.len(),
                first_pos: sequence.computed,
                blocks: &sequence.blocks,
                phase: sequence.phase(),
            });
            if share.completes {
                logits.push(tokens.len() - 1);
            }
        }
        let step = Step { tokens: &tokens, spans, logits: &logits };
        let logits = self.model.forward(&step, &mut self.kv, &mut Ignore)?;
        for share in shares {
            self.sequences[share.sequence].computed += share.tokens;
        }
        Ok(logits)
    }

    /// Takes an ended sequence out and keeps what a next prompt may share.
    fn end(&mut self, idx: usize) {
        let mut sequence = self.sequences.remove(idx);
        self.forget();
        // Generated tokens of latent attention went in by the absorbed form; a prompt takes the expanded one, so
        // they are computed again: a kept prefix must not change an answer.
        let reusable = match self.model.config() {
            ModelConfig::Llama(_) => sequence.computed,
            ModelConfig::Deepseek(_) => sequence.computed.min(sequence.prompt_len),
        };
        sequence.tokens.truncate(reusable);
        let surplus = sequence.blocks.split_off(reusable.div_ceil(BLOCK_LEN));
        self.pool.give_back(surplus);
        self.retained = Some(Retained { tokens: sequence.tokens, blocks: sequence.blocks });
    }
}

/// Samples the next token of `sequence`; says whether the answer has ended.
fn advance(sequence: &mut Sequence, logits: &[f32], context_len: usize, events: &mut Vec<Event>) -> bool {
    if sequence.max_tokens == 0 {
        events.push(Event::Finished(sequence.id, FinishReason::Length));
        return true;
    }
    let token = sequence.sampler.sample(logits, &sequence.tokens);
    if sequence.end_tokens.contains(&token) {
        events.push(Event::Finished(sequence.id, FinishReason::End));
        return true;
    }
    sequence.tokens.push(token);
    events.push(Event::Token(sequence.id, token));
    if sequence.generated_len() >= sequence.max_tokens || sequence.tokens.len() >= context_len {
        events.push(Event::Finished(sequence.id, FinishReason::Length));
        return true;
    }
    false
}
