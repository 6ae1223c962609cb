//! The engine's thread: takes up jobs, runs steps, and says what became of each.
//!
//! Jobs come over a channel, updates go back over one for each job. The thread waits for a job while nothing runs, and looks
//! for new ones between two steps, so a request joins those that are being answered at the next step. A job that
//! finds the KV cache full waits for one to end, in the order they came. Nobody is waited for: updates are never
//! refused, and a client that has gone is noticed before the next step.

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use shoal_engine::{Engine, Error, Event, FinishReason, Request, SequenceId};
use shoal_text::{AnswerStream, Segment};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::UnboundedSender;

/// What a request holds from its acceptance to its end.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Place {
    pub(crate) const fn new(permit: OwnedSemaphorePermit) -> Self {
        Self { _permit: permit }
    }
}

/// One prompt to be answered.
pub(crate) struct Job {
    pub(crate) request: Request,
    pub(crate) answer: AnswerStream,
    pub(crate) updates: UnboundedSender<Update>,
    pub(crate) place: Place,
}

/// What becomes of a job.
#[derive(Debug)]
pub(crate) enum Update {
    /// More of the answer.
    Segment(Segment),
    /// It is complete.
    Done(Done),
    /// The engine does not take it, because of what it asks.
    Refused(Error),
    /// It ends here, because of something on this side.
    Failed(String),
}

/// A complete answer, in numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Done {
    pub(crate) reason: FinishReason,
    pub(crate) prompt_tokens: usize,
    /// Of those, how many an earlier request had computed.
    pub(crate) cached_tokens: usize,
    pub(crate) completion_tokens: usize,
    /// Of those, how many are reasoning.
    pub(crate) reasoning_tokens: usize,
    /// From the first step to the first token, and from there to the end.
    pub(crate) prompt_time: Duration,
    pub(crate) completion_time: Duration,
}

/// Starts the thread. It ends when all senders of jobs are gone and every job is done.
pub(crate) fn start(engine: Engine) -> std::io::Result<(Sender<Job>, JoinHandle<()>)> {
    let (sender, jobs) = channel();
    let worker = Worker { engine, running: HashMap::new(), waiting: VecDeque::new() };
    let thread =
        std::thread::Builder::new().name("shoal-engine".to_owned()).spawn(move || worker.run(&jobs))?;
    Ok((sender, thread))
}

struct Running {
    answer: AnswerStream,
    updates: UnboundedSender<Update>,
    _place: Place,
    started: Instant,
    first_token: Option<Instant>,
    done: Done,
}

struct Worker {
    engine: Engine,
    running: HashMap<SequenceId, Running>,
    waiting: VecDeque<Job>,
}

impl Worker {
    fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            if self.running.is_empty() && self.waiting.is_empty() {
                let Ok(job) = jobs.recv() else { return };
                self.waiting.push_back(job);
            }
            self.waiting.extend(jobs.try_iter());
            self.drop_the_gone();
            self.take_up();
            let (events, _) = self.engine.step();
            events.into_iter().for_each(|event| self.tell(event));
        }
    }

    /// Ends what nobody listens to any more.
    fn drop_the_gone(&mut self) {
        self.waiting.retain(|job| !job.updates.is_closed());
        let engine = &mut self.engine;
        self.running.retain(|&id, running| {
            let is_gone = running.updates.is_closed();
            if is_gone {
                engine.cancel(id);
            }
            !is_gone
        });
    }

    /// Gives those that wait to the engine, as many as it has room for.
    fn take_up(&mut self) {
        while let Some(Job { request, answer, updates, place }) = self.waiting.pop_front() {
            let prompt_tokens = request.prompt.len();
            match self.engine.submit(request.clone()) {
                Ok(id) => {
                    let done = Done {
                        reason: FinishReason::End,
                        prompt_tokens,
                        cached_tokens: self.engine.computed_len(id),
                        completion_tokens: 0,
                        reasoning_tokens: 0,
                        prompt_time: Duration::ZERO,
                        completion_time: Duration::ZERO,
                    };
                    let (started, first_token) = (Instant::now(), None);
                    let running = Running { answer, updates, _place: place, started, first_token, done };
                    self.running.insert(id, running);
                }
                Err(Error::CacheFull { .. }) if !self.running.is_empty() => {
                    self.waiting.push_front(Job { request, answer, updates, place });
                    return;
                }
                // Who does not listen need not be told.
                Err(error) => drop(updates.send(Update::Refused(error))),
            }
        }
    }

    fn tell(&mut self, event: Event) {
        match event {
            Event::Token(id, token) => {
                let Some(running) = self.running.get_mut(&id) else { return };
                running.first_token.get_or_insert_with(Instant::now);
                running.done.completion_tokens += 1;
                let segments = running.answer.push(token);
                running.send(segments);
                if running.answer.has_stopped() {
                    self.engine.cancel(id);
                    self.end(id, FinishReason::End);
                }
            }
            Event::Finished(id, reason) => self.end(id, reason),
            Event::Failed(id, why) => {
                if let Some(running) = self.running.remove(&id) {
                    let _ = running.updates.send(Update::Failed(why));
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
        let (prompt_time, completion_time) = (first - running.started, now - first);
        let done = Done { reason, prompt_time, completion_time, ..running.done };
        let _ = running.updates.send(Update::Done(done));
    }
}

impl Running {
    fn send(&mut self, segments: Vec<Segment>) {
        for segment in segments {
            if matches!(segment, Segment::Reasoning(_)) {
                self.done.reasoning_tokens = self.done.completion_tokens;
            }
            let _ = self.updates.send(Update::Segment(segment));
        }
    }
}
