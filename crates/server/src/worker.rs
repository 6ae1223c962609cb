//! The engine's thread: takes up jobs, runs steps, and says what became of each.
//!
//! Jobs come over a channel, updates go back over one for each job. The thread waits for a job while nothing runs, and looks
//! for new ones between two steps, so a request joins those that are being answered at the next step. A job that
//! finds as many running as there is room for waits for one to end, in the order they came. Nobody is waited for: updates are never
//! refused, and a client that has gone is noticed before the next step.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;
use shoal_base::TokenId;
use shoal_engine::{
    Engine, Error, Event, FinishReason, Logprobs, PromptProgress, Request, SequenceId, StepReport,
};
use shoal_text::{AnswerStream, Segment, Tokenizer};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::UnboundedSender;

use crate::cache_miss::{Earlier, Miss};
use crate::log::Log;
use crate::metrics::Metrics;

/// How long to wait for the drive to take more KV blocks.
const SAVE_PAUSE: Duration = Duration::from_millis(2);

/// How long the end of the process waits for KV blocks to be saved.
const SAVE_TIME_MAX: Duration = Duration::from_secs(20);

/// What a request holds from its acceptance to its end.
pub(crate) struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_the_caller: OwnedSemaphorePermit,
}

impl Place {
    pub(crate) const fn new(of_all: OwnedSemaphorePermit, of_the_caller: OwnedSemaphorePermit) -> Self {
        Self { _of_all: of_all, _of_the_caller: of_the_caller }
    }
}

/// One prompt to be answered.
pub(crate) struct Job {
    pub(crate) request: Request,
    pub(crate) answer: AnswerStream,
    /// Which request this answers, for the log.
    pub(crate) request_id: String,
    /// Which of several answers to one request this is.
    pub(crate) choice: usize,
    /// Whether it is the first answer to its prompt.
    pub(crate) is_of_new_prompt: bool,
    pub(crate) updates: UnboundedSender<(usize, Update)>,
    /// Whether to say how far the prompt is read.
    pub(crate) reports_progress: bool,
    pub(crate) place: Arc<Place>,
}

/// What becomes of a job.
#[derive(Debug)]
pub(crate) enum Update {
    /// More of the prompt is read.
    Progress(Progress),
    /// More of the answer.
    Piece(Piece),
    /// It is complete.
    Done(Done),
    /// The engine does not take it, because of what it asks.
    Refused(Error),
    /// It ends here, because of something on this side.
    Failed(String),
}

/// How far a prompt is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    pub(crate) tokens: PromptProgress,
    pub(crate) prompt_tokens: usize,
    pub(crate) time: Duration,
}

/// A stretch of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) segment: Segment,
    /// How likely the tokens were that have become certain with it, if that was asked.
    pub(crate) logprobs: Vec<Logprobs>,
}

/// A complete answer, in numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Done {
    pub(crate) reason: FinishReason,
    /// The stop text that ended it.
    pub(crate) stopped_by: Option<String>,
    /// Whether no other answer to the same request counts its prompt.
    pub(crate) is_of_new_prompt: bool,
    pub(crate) prompt_tokens: usize,
    /// Of those, how many an earlier request had computed.
    pub(crate) cached_tokens: usize,
    /// Why the others were not known, if there is anything to say.
    pub(crate) miss: Option<Miss>,
    pub(crate) completion_tokens: usize,
    /// Of those, how many are reasoning.
    pub(crate) reasoning_tokens: usize,
    pub(crate) read: Read,
    /// From the first step to the first token, and from there to the end.
    pub(crate) prompt_time: Duration,
    pub(crate) completion_time: Duration,
}

/// What was read of weights while an answer was written, in steps that read no prompt, for tokens of all answers that were in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Read {
    tokens: usize,
    memory_bytes: u64,
    disk_bytes: u64,
}

impl Read {
    fn add(&mut self, report: &StepReport) {
        if report.prefill_tokens == 0 {
            self.tokens += report.decode_tokens;
            self.memory_bytes += report.work.weight_bytes;
            self.disk_bytes += report.traffic.read_bytes;
        }
    }

    /// Bytes for a token from memory and from the drive; `None` if there was none.
    pub(crate) fn per_token(&self) -> Option<[f64; 2]> {
        let per_token = |bytes: u64| bytes as f64 / self.tokens as f64;
        (self.tokens > 0).then(|| [self.memory_bytes, self.disk_bytes].map(per_token))
    }
}

/// Starts the thread. It ends when all senders of jobs are gone and every job is done.
pub(crate) fn start(
    engine: Engine,
    tokenizer: Tokenizer,
    metrics: Arc<Metrics>,
    log: Arc<Log>,
) -> std::io::Result<(Sender<Job>, JoinHandle<()>)> {
    let (sender, jobs) = channel();
    let worker = Worker {
        engine,
        tokenizer,
        running: HashMap::new(),
        waiting: VecDeque::new(),
        earlier: Earlier::default(),
        metrics,
        log,
    };
    let thread =
        std::thread::Builder::new().name("shoal-engine".to_owned()).spawn(move || worker.run(&jobs))?;
    Ok((sender, thread))
}

struct Running {
    answer: AnswerStream,
    /// Of the prompt and, as they come, of the answer.
    tokens: Vec<TokenId>,
    /// Tokens of the prompt that are read.
    read: usize,
    cache_salt: Vec<u8>,
    request_id: String,
    choice: usize,
    updates: UnboundedSender<(usize, Update)>,
    reports_progress: bool,
    /// Given back before the last word, so that who hears it finds it free.
    place: Option<Arc<Place>>,
    started: Instant,
    first_token: Option<Instant>,
    last_token: Instant,
    /// Of tokens whose text has not come out yet.
    logprobs: Vec<Logprobs>,
    done: Done,
}

struct Worker {
    engine: Engine,
    tokenizer: Tokenizer,
    running: HashMap<SequenceId, Running>,
    waiting: VecDeque<Job>,
    /// What has ended, to say why a prompt was not known.
    earlier: Earlier,
    metrics: Arc<Metrics>,
    log: Arc<Log>,
}

impl Worker {
    fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            if self.running.is_empty() && self.waiting.is_empty() {
                let Some(job) = self.next_job(jobs) else { return };
                self.waiting.push_back(job);
            }
            self.waiting.extend(jobs.try_iter());
            self.drop_the_gone();
            self.take_up();
            let start = Instant::now();
            let (events, report) = self.engine.step();
            self.engine.took(start.elapsed(), &report);
            let writing = self.running.values_mut().filter(|running| running.first_token.is_some());
            writing.for_each(|running| running.done.read.add(&report));
            events.into_iter().for_each(|event| self.tell(event));
            self.engine.save_blocks();
            self.metrics.stepped(&report, &self.engine, self.running.len(), self.waiting.len());
        }
    }

    /// Waits for a job, and saves KV blocks meanwhile; `None` when there will be no more.
    fn next_job(&mut self, jobs: &Receiver<Job>) -> Option<Job> {
        while self.engine.save_blocks() {
            match jobs.recv_timeout(SAVE_PAUSE) {
                Ok(job) => return Some(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let ends = Instant::now() + SAVE_TIME_MAX;
                    while self.engine.save_blocks() && Instant::now() < ends {
                        std::thread::sleep(SAVE_PAUSE);
                    }
                    return None;
                }
            }
        }
        jobs.recv().ok()
    }

    /// Ends what nobody listens to any more.
    fn drop_the_gone(&mut self) {
        self.waiting.retain(|job| !job.updates.is_closed());
        let is_gone = |running: &Running| running.updates.is_closed();
        for (id, running) in self.running.extract_if(|_, running| is_gone(running)) {
            self.engine.cancel(id);
            record(&self.metrics, &self.log, "abort", &running, &running.done);
            running.remember(&mut self.earlier);
        }
    }

    /// Gives those that wait to the engine, as many as it has room for.
    fn take_up(&mut self) {
        while self.engine.has_room() {
            let Some(job) = self.waiting.pop_front() else { return };
            let Job {
                request,
                answer,
                request_id,
                choice,
                is_of_new_prompt,
                updates,
                reports_progress,
                place,
            } = job;
            let (tokens, cache_salt) = (request.prompt.clone(), request.cache_salt.clone());
            let prompt_tokens = tokens.len();
            match self.engine.submit(request) {
                Ok(id) => {
                    let done = Done {
                        reason: FinishReason::End,
                        stopped_by: None,
                        is_of_new_prompt,
                        prompt_tokens,
                        cached_tokens: 0,
                        miss: None,
                        completion_tokens: 0,
                        reasoning_tokens: 0,
                        read: Read::default(),
                        prompt_time: Duration::ZERO,
                        completion_time: Duration::ZERO,
                    };
                    let started = Instant::now();
                    let running = Running {
                        answer,
                        tokens,
                        read: 0,
                        cache_salt,
                        request_id,
                        choice,
                        updates,
                        reports_progress,
                        place: Some(place),
                        started,
                        first_token: None,
                        last_token: started,
                        logprobs: Vec::new(),
                        done,
                    };
                    self.running.insert(id, running);
                }
                // Who does not listen need not be told.
                Err(error) => drop(updates.send((choice, Update::Refused(error)))),
            }
        }
    }

    fn tell(&mut self, event: Event) {
        match event {
            Event::Prompt(id, progress) => {
                if let Some(running) = self.running.get_mut(&id) {
                    running.read(progress);
                    if progress.computed == running.done.prompt_tokens {
                        let token_bytes = |token| self.tokenizer.token_bytes(token);
                        let (salt, prompt) = (&running.cache_salt, &running.tokens);
                        running.done.miss = self.earlier.miss(salt, prompt, progress.cached, token_bytes);
                    }
                }
            }
            Event::Logprobs(id, logprobs) => {
                if let Some(running) = self.running.get_mut(&id) {
                    running.logprobs.push(logprobs);
                }
            }
            Event::Token(id, token) => {
                let Some(running) = self.running.get_mut(&id) else { return };
                running.take(token, &self.metrics);
                if running.answer.has_stopped() {
                    self.engine.cancel(id);
                    self.end(id, FinishReason::End);
                }
            }
            Event::Finished(id, reason) => self.end(id, reason),
            Event::Failed(id, why) => {
                if let Some(mut running) = self.running.remove(&id) {
                    running.place = None;
                    record(&self.metrics, &self.log, "error", &running, &running.done);
                    running.say(Update::Failed(why));
                    running.remember(&mut self.earlier);
                }
            }
        }
    }

    fn end(&mut self, id: SequenceId, reason: FinishReason) {
        let Some(mut running) = self.running.remove(&id) else { return };
        let rest = running.answer.finish();
        running.send(rest);
        let now = Instant::now();
        let first = running.first_token.unwrap_or(now);
        let stopped_by = running.answer.stopped_by();
        let (prompt_time, completion_time) = (first - running.started, now - first);
        let done = Done { reason, stopped_by, prompt_time, completion_time, ..running.done.clone() };
        let why = if reason == FinishReason::Length { "length" } else { "stop" };
        record(&self.metrics, &self.log, why, &running, &done);
        running.place = None;
        running.say(Update::Done(done));
        running.remember(&mut self.earlier);
    }
}

/// Counts an answer that has ended, and says so in the log.
fn record(metrics: &Metrics, log: &Log, why: &'static str, running: &Running, done: &Done) {
    let took = running.started.elapsed();
    metrics.ended(why, done, took);
    let numbers = json!({
        "choice": running.choice,
        "finished": why,
        "prompt_tokens": done.prompt_tokens,
        "cached_tokens": done.cached_tokens,
        "completion_tokens": done.completion_tokens,
    });
    log.say(&running.request_id, "answer", took, numbers);
}

impl Running {
    fn say(&self, update: Update) {
        // Who does not listen need not be told.
        let _ = self.updates.send((self.choice, update));
    }

    /// Lets later prompts be compared with this.
    fn remember(mut self, earlier: &mut Earlier) {
        if self.read < self.done.prompt_tokens {
            self.tokens.truncate(self.read);
        }
        earlier.remember(self.cache_salt, self.done.prompt_tokens, self.tokens);
    }

    fn read(&mut self, tokens: PromptProgress) {
        self.read = tokens.computed;
        self.done.cached_tokens = tokens.cached;
        if self.reports_progress {
            let (prompt_tokens, time) = (self.done.prompt_tokens, self.started.elapsed());
            self.say(Update::Progress(Progress { tokens, prompt_tokens, time }));
        }
    }

    fn take(&mut self, token: TokenId, metrics: &Metrics) {
        let now = Instant::now();
        match self.first_token {
            None => metrics.first_token(now - self.started),
            Some(_) => metrics.next_token(now - self.last_token),
        }
        self.first_token.get_or_insert(now);
        self.last_token = now;
        self.tokens.push(token);
        self.done.completion_tokens += 1;
        let segments = self.answer.push(token);
        self.send(segments);
    }

    fn send(&mut self, segments: Vec<Segment>) {
        for segment in segments {
            if matches!(segment, Segment::Reasoning(_)) {
                self.done.reasoning_tokens = self.done.completion_tokens;
            }
            let logprobs = std::mem::take(&mut self.logprobs);
            self.say(Update::Piece(Piece { segment, logprobs }));
        }
    }
}
