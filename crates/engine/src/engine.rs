//! Requests in, tokens out: the loop around the model.
//!
//! A request is taken up with nothing computed and no block. Before each step it is looked up how much more of each prompt is known
//! from others, then the step is planned and the blocks for it are taken; after it, blocks that have become whole are
//! published for others to find (`kv`). So of two equal prompts that come together the second reads what the
//! first has just computed.

use shoal_base::TokenId;
use shoal_model::kv_cache::BLOCK_LEN;
use shoal_model::{Ignore, Logits, Model, Span, Step, Traffic, Work};

use crate::Error;
use crate::kv::Kv;
use crate::kv_blocks::BlockPool;
use crate::kv_files::KvFiles;
use crate::request::{Request, SequenceId};
use crate::sampler::Logprobs;
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
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// More of the prompt is read.
    Prompt(SequenceId, PromptProgress),
    /// How likely the token of the next event was, if the request asked.
    Logprobs(SequenceId, Logprobs),
    /// The next token of the answer.
    Token(SequenceId, TokenId),
    /// The answer is complete.
    Finished(SequenceId, FinishReason),
    /// The answer ends here, because weights that it needs could not be read, or its constraint cannot be kept: in one sentence,
    /// why. Other requests, and in the first case the same one again, may fare better.
    Failed(SequenceId, String),
}

/// How far a prompt is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromptProgress {
    /// Tokens of the prompt whose rows are there.
    pub computed: usize,
    /// Of those, how many were there from earlier prompts.
    pub cached: usize,
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

/// A model and the sequences that run on it.
pub struct Engine {
    model: Model,
    kv: Kv,
    sequences: Vec<Sequence>,
    options: EngineOptions,
    next_id: u64,
}

impl Engine {
    /// An engine on `model`.
    #[must_use]
    pub fn new(model: Model, options: EngineOptions) -> Self {
        let kv = Kv::new(model.config(), options.block_count);
        Self { model, kv, sequences: Vec::new(), options, next_id: 0 }
    }

    /// The same, with blocks saved to `files` and restored from there.
    #[must_use]
    pub fn with_files(mut self, files: KvFiles) -> Self {
        self.kv.files = Some(files);
        self
    }

    /// Bytes of a KV block.
    #[must_use]
    pub const fn block_bytes(&self) -> usize {
        self.kv.cache.block_bytes()
    }

    /// Saves published blocks, as many as the drive takes now; says whether any are left.
    pub fn save_blocks(&mut self) -> bool {
        self.kv.save()
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

    /// Takes up a request. What its prompt shares with earlier ones of the same salt is not computed again.
    ///
    /// # Errors
    /// If the prompt is empty, too long or names unknown tokens, a sampling parameter is out of range, or as many
    /// requests run as there is room for.
    pub fn submit(&mut self, request: Request) -> Result<SequenceId, Error> {
        self.check(&request)?;
        if !self.has_room() {
            return Err(Error::Full { limit: self.room() });
        }
        let id = SequenceId(self.next_id);
        self.next_id += 1;
        self.sequences.push(Sequence::new(id, request));
        Ok(id)
    }

    /// Whether one more request may run.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.sequences.len() < self.room()
    }

    /// Requests that may run at a time: each of them may fill a context.
    fn room(&self) -> usize {
        self.kv.pool.total() / self.options.context_len.div_ceil(BLOCK_LEN)
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

    /// Stops a request; nothing more is said of it.
    pub fn cancel(&mut self, id: SequenceId) {
        if let Some(idx) = self.sequences.iter().position(|sequence| sequence.id == id) {
            self.end(idx);
        }
    }

    /// Forgets what was kept of ended sequences.
    pub fn forget(&mut self) {
        self.kv.pool.forget();
    }

    /// The KV blocks.
    #[must_use]
    pub const fn blocks(&self) -> &BlockPool {
        &self.kv.pool
    }

    /// Whether any request runs.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.sequences.is_empty()
    }

    /// Runs one step. Does nothing while idle. A step whose weights cannot be read ends the requests that took part in
    /// it ([`Event::Failed`]) and nothing else.
    pub fn step(&mut self) -> (Vec<Event>, StepReport) {
        self.sequences.iter_mut().for_each(|sequence| self.kv.adopt(sequence));
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
        let reading = shares.iter().filter(|share| states[share.sequence].prompt_left > 0);
        let mut events: Vec<Event> = reading.map(|share| self.sequences[share.sequence].progress()).collect();
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
        for share in shares {
            self.kv.take_blocks(&mut self.sequences[share.sequence], share.tokens);
        }
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
        let logits = self.model.forward(&step, &mut self.kv.cache, &mut Ignore)?;
        for share in shares {
            let sequence = &mut self.sequences[share.sequence];
            sequence.computed += share.tokens;
            self.kv.publish(sequence);
        }
        Ok(logits)
    }

    /// Takes an ended sequence out and keeps what a later prompt may share.
    fn end(&mut self, idx: usize) {
        let sequence = self.sequences.remove(idx);
        self.kv.end(sequence);
    }
}

/// Samples the next token of `sequence`; says whether the answer has ended.
fn advance(sequence: &mut Sequence, logits: &[f32], context_len: usize, events: &mut Vec<Event>) -> bool {
    let id = sequence.id;
    if sequence.max_tokens == 0 {
        events.push(Event::Finished(id, FinishReason::Length));
        return true;
    }
    let token = match choose(sequence, logits) {
        Ok(token) => token,
        Err(why) => {
            events.push(Event::Failed(id, why));
            return true;
        }
    };
    if sequence.end_tokens.contains(&token) {
        events.push(Event::Finished(id, FinishReason::End));
        return true;
    }
    sequence.tokens.push(token);
    if let Some(count) = sequence.logprobs {
        events.push(Event::Logprobs(id, Logprobs::of(logits, token, count)));
    }
    events.push(Event::Token(id, token));
    if sequence.generated_len() >= sequence.max_tokens || sequence.tokens.len() >= context_len {
        events.push(Event::Finished(id, FinishReason::Length));
        return true;
    }
    false
}

/// The next token, within the constraint of its sequence.
fn choose(sequence: &mut Sequence, logits: &[f32]) -> Result<TokenId, String> {
    let allowed = sequence.constraint.as_mut().map(|constraint| constraint.allowed()).transpose()?.flatten();
    let token = sequence.sampler.sample(logits, &sequence.tokens, allowed.as_ref());
    let token = token.ok_or("no token may follow here under the format that was asked for")?;
    if let Some(constraint) = &mut sequence.constraint {
        constraint.accept(token)?;
    }
    Ok(token)
}
