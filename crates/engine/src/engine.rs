//! Requests in, tokens out: the loop around the model.
//!
//! A request is taken up with nothing computed and no block. Before each step it is looked up how much more of each prompt is known
//! from others, then the step is planned and the blocks for it are taken; after it, blocks that have become whole are
//! published for others to find (`kv`). So of two equal prompts that come together the second reads what the
//! first has just computed.

use std::time::Duration;

use shoal_base::TokenId;
use shoal_model::kv_cache::{BLOCK_LEN, KvSizes};
use shoal_model::{Ignore, Model, Output, Span, Step, Traffic, Work};

use crate::Error;
use crate::draft::Gate;
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
    /// Tokens that a draft layer guesses ahead, if the model has one; 0 for none.
    pub draft_len: usize,
}

impl EngineOptions {
    /// How much the KV cache holds.
    #[must_use]
    pub const fn kv_sizes(&self) -> KvSizes {
        let sequences = self.block_count / self.context_len.div_ceil(BLOCK_LEN);
        KvSizes { block_count: self.block_count, sequences }
    }

    /// Room for one sequence of `context_len` tokens.
    #[must_use]
    pub const fn for_one(context_len: usize) -> Self {
        Self::for_many(1, context_len)
    }

    /// Room for `sequences` at a time, each of `context_len` tokens.
    #[must_use]
    pub const fn for_many(sequences: usize, context_len: usize) -> Self {
        let block_count = sequences * context_len.div_ceil(BLOCK_LEN);
        Self { context_len, prefill_chunk: 512, block_count, draft_len: 1 }
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
    /// Generated tokens that ran, guesses that were wrong not among them.
    pub decode_tokens: usize,
    /// Guesses that were checked.
    pub drafted: usize,
    /// Of those, how many were right.
    pub accepted: usize,
    /// Weight bytes that were read and multiply-adds that were made.
    pub work: Work,
    /// What went between disk and memory.
    pub traffic: Traffic,
}

/// A model and the sequences that run on it.
pub struct Engine {
    pub(crate) model: Model,
    pub(crate) kv: Kv,
    pub(crate) sequences: Vec<Sequence>,
    pub(crate) options: EngineOptions,
    pub(crate) gate: Gate,
    next_id: u64,
}

impl Engine {
    /// An engine on `model`.
    #[must_use]
    pub fn new(model: Model, options: EngineOptions) -> Self {
        let kv = Kv::new(model.config(), options.kv_sizes());
        Self { model, kv, sequences: Vec::new(), options, gate: Gate::new(), next_id: 0 }
    }

    /// The same, with blocks saved to `files` and restored from there.
    #[must_use]
    pub fn with_files(mut self, files: KvFiles) -> Self {
        self.kv.files = Some(files);
        self
    }

    /// Bytes that a KV block may have: without what is kept of its last positions alone, and with it.
    #[must_use]
    pub const fn block_bytes(&self) -> [usize; 2] {
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
        let speculates = self.options.draft_len > 0 && self.model.has_drafts() && self.gate.admits();
        self.sequences.push(Sequence { speculates, ..Sequence::new(id, request) });
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

    /// Hears how long a step took: whether guesses pay is judged by that, and without it they are always made.
    pub fn took(&mut self, time: Duration, report: &StepReport) {
        if report.prefill_tokens == 0 && self.sequences.iter().any(|sequence| sequence.speculates) {
            self.gate.took(time, report.decode_tokens, report.drafted > 0);
        }
    }

    /// How much faster tokens come with guesses than without; `None` while that is not known, or there is no draft layer.
    #[must_use]
    pub fn draft_gain(&self) -> Option<f64> {
        self.model.has_drafts().then(|| self.gate.gain()).flatten()
    }

    /// Whether any request runs.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.sequences.is_empty()
    }

    /// Runs one step. Does nothing while idle. A step whose weights cannot be read ends the requests that took part in
    /// it ([`Event::Failed`]) and nothing else.
    pub fn step(&mut self) -> (Vec<Event>, StepReport) {
        for idx in 0..self.sequences.len() {
            self.hold_recent();
            self.kv.adopt(&mut self.sequences[idx]);
        }
        self.hold_recent();
        let states: Vec<_> = self.sequences.iter().map(Sequence::state).collect();
        let shares = plan(&states, self.options.prefill_chunk);
        if shares.is_empty() {
            return (Vec::new(), StepReport::default());
        }
        let (work_before, traffic_before) = (self.model.work(), self.model.traffic());
        let mut report = StepReport::default();
        let before: Vec<usize> = shares.iter().map(|share| self.sequences[share.sequence].computed).collect();
        let output = match self.forward(&shares) {
            Ok(output) => output,
            Err(error) => return (self.fail(&shares, &error.to_string()), report),
        };
        let is_prompt = |share: &Share| states[share.sequence].prompt_left > 0;
        let reading = shares.iter().filter(|share| is_prompt(share));
        let mut events: Vec<Event> = reading.map(|share| self.sequences[share.sequence].progress()).collect();
        let mut ended = Vec::new();
        let mut row = 0;
        for (share, &before) in shares.iter().zip(&before) {
            let logits = (row..row + rows_wanted(share)).map(|row| output.logits.row(row));
            row += rows_wanted(share);
            let sequence = &mut self.sequences[share.sequence];
            sequence.drafts.truncate(share.drafts);
            if answer(sequence, logits, self.options.context_len, &mut events) {
                ended.push(share.sequence);
            }
            let ran = sequence.computed - before;
            if is_prompt(share) {
                report.prefill_tokens += ran;
            } else {
                report.decode_tokens += ran;
                report.drafted += share.drafts;
                report.accepted += ran - 1;
            }
            self.kv.publish(&mut self.sequences[share.sequence]);
        }
        if let Some(hidden) = &output.hidden {
            self.guess(hidden, &shares, &before, &ended);
        }
        report.work = self.model.work() - work_before;
        report.traffic = self.model.traffic() - traffic_before;
        ended.sort_unstable();
        for idx in ended.into_iter().rev() {
            self.end(idx);
        }
        (events, report)
    }

    /// What running sequences look at of their last positions must not give way.
    fn hold_recent(&mut self) {
        self.kv.cache.hold_recent(self.sequences.iter().map(|s| (s.blocks.as_slice(), s.computed)));
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

    /// Runs the shares through the model: a row of logits for each that completes and for each guess.
    fn forward(&mut self, shares: &[Share]) -> Result<Output, Error> {
        for share in shares {
            self.kv.take_blocks(&mut self.sequences[share.sequence], share.tokens);
        }
        let mut tokens = Vec::new();
        let mut spans = Vec::new();
        let mut logits = Vec::new();
        for share in shares {
            let sequence = &self.sequences[share.sequence];
            let first_row = tokens.len();
            let own = sequence.computed..sequence.computed + share.tokens - share.drafts;
            tokens.extend_from_slice(&sequence.tokens[own]);
            tokens.extend_from_slice(&sequence.drafts[..share.drafts]);
            spans.push(Span {
                rows: first_row..tokens.len(),
                first_pos: sequence.computed,
                blocks: &sequence.blocks,
                phase: sequence.phase(),
            });
            logits.extend(tokens.len() - rows_wanted(share)..tokens.len());
        }
        let step = Step { tokens: &tokens, spans, logits: &logits };
        let output = if shares.iter().any(|share| self.guesses_after(share)) {
            self.model.forward_with_hidden(&step, &mut self.kv.cache)?
        } else {
            let logits = self.model.forward(&step, &mut self.kv.cache, &mut Ignore)?;
            Output { logits, hidden: None }
        };
        for share in shares {
            self.sequences[share.sequence].computed += share.tokens - share.drafts;
        }
        Ok(output)
    }

    /// Takes an ended sequence out and keeps what a later prompt may share.
    fn end(&mut self, idx: usize) {
        let sequence = self.sequences.remove(idx);
        self.kv.end(sequence);
    }
}

/// Rows of logits that a share is for: those after its last token and after each guess.
const fn rows_wanted(share: &Share) -> usize {
    if share.completes { 1 + share.drafts } else { 0 }
}

/// Samples from each row of logits in turn, as long as what comes was guessed; says whether the answer has ended.
fn answer<'a>(
    sequence: &mut Sequence,
    logits: impl Iterator<Item = &'a [f32]>,
    context_len: usize,
    events: &mut Vec<Event>,
) -> bool {
    let drafts = std::mem::take(&mut sequence.drafts);
    for (i, logits) in logits.enumerate() {
        if advance(sequence, logits, context_len, events) {
            return true;
        }
        if drafts.get(i) != sequence.tokens.last() {
            break;
        }
        sequence.computed += 1;
    }
    false
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
