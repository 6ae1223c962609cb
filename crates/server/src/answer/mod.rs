//! From a request to its answer, for every API that answers with text: the body is read, a place taken, the prompt handed to
//! the engine, and what comes back written as one object (`whole`) or piece by piece (`stream`), in the form of the API
//! ([`Form`]: `chat`, `text`, `messages`, `responses`).

mod chat;
mod messages;
mod openai;
mod responses;
mod stream;
mod text;
mod whole;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use shoal_base::TokenId;
use shoal_engine::Constraint;
use shoal_text::AnswerStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

pub(crate) use chat::Chat;
pub(crate) use messages::Messages;
pub(crate) use responses::{Keeping, Responses};
pub(crate) use text::Text;
pub(crate) use whole::Answer;

use crate::BODY_BYTES_MAX;
use crate::cache_miss::Miss;
use crate::error::ApiError;
use crate::fields::{Fields, bytes_of_values};
use crate::generation::Generation;
use crate::guard::Caller;
use crate::log::RequestId;
use crate::state::{State, now};
use crate::worker::{Done, Job, Piece, Place, Progress, Read, Update};

/// How long the body of a request may take.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// What is asked, whatever the API.
pub(crate) struct Ask {
    pub(crate) form: Box<dyn Form>,
    /// The field that the prompt comes from.
    pub(crate) param: &'static str,
    /// What is to be continued: one prompt, or several, of which each has as many answers.
    pub(crate) prompts: Vec<Vec<TokenId>>,
    /// Whether the prompt has opened reasoning; `None` where it is not told apart.
    pub(crate) reasoning_open: Option<bool>,
    /// Whether calls of functions are told apart.
    pub(crate) has_calls: bool,
    /// What binds each of the answers; nothing if there are fewer of these.
    pub(crate) bounds: Vec<Option<Box<dyn Constraint>>>,
    pub(crate) generation: Generation,
}

/// How one API writes answers. A stream begins, has pieces of one choice or more, each choice is done, and it ends.
pub(crate) trait Form: Send {
    /// What the ids of its answers begin with.
    fn id_prefix(&self) -> &'static str;

    /// Learns which answer this is.
    fn named(&mut self, head: Head);

    /// The first events, as soon as the engine has taken the request up.
    fn begin(&mut self, out: &mut Vec<Event>);

    /// More of the prompt is read.
    fn progress(&mut self, progress: &Progress, out: &mut Vec<Event>);

    /// More of the answer.
    fn piece(&mut self, choice: usize, piece: Piece, out: &mut Vec<Event>);

    /// An answer is complete.
    fn done(&mut self, choice: usize, done: &Done, out: &mut Vec<Event>);

    /// All are.
    fn end(&mut self, totals: &Totals, out: &mut Vec<Event>);

    /// There will be no more.
    fn failure(&mut self, error: &ApiError) -> Event;

    /// The whole answer.
    fn whole(&mut self, answers: Vec<Answer>, totals: &Totals) -> Value;
}

/// One event of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) name: Option<&'static str>,
    pub(crate) data: String,
}

impl Event {
    /// An event without a name.
    pub(crate) fn data(data: &Value) -> Self {
        Self { name: None, data: data.to_string() }
    }
}

/// What every part of an answer says of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(crate) id: String,
    pub(crate) created: u64,
    pub(crate) model: String,
}

/// All answers to a request, in numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) prompt_tokens: usize,
    pub(crate) cached_tokens: usize,
    /// Of the first prompt, why the others were not known.
    pub(crate) miss: Option<Miss>,
    pub(crate) completion_tokens: usize,
    pub(crate) reasoning_tokens: usize,
    /// While the first answer was written.
    pub(crate) read: Read,
    pub(crate) prompt_time: Duration,
    pub(crate) completion_time: Duration,
}

impl Totals {
    /// Counts one more answer; several to one prompt have read it once.
    pub(crate) fn add(&mut self, choice: usize, done: &Done) {
        if done.is_of_new_prompt {
            self.prompt_tokens += done.prompt_tokens;
            self.cached_tokens += done.cached_tokens;
        }
        if choice == 0 {
            self.prompt_time = done.prompt_time;
            self.completion_time = done.completion_time;
            self.miss.clone_from(&done.miss);
            self.read = done.read;
        }
        self.completion_tokens += done.completion_tokens;
        self.reasoning_tokens += done.reasoning_tokens;
    }
}

/// A request that was handed to the engine.
struct Asked {
    form: Box<dyn Form>,
    updates: UnboundedReceiver<(usize, Update)>,
    count: usize,
    stream: bool,
}

/// Answers `request`, whose fields `ask` understands.
pub(crate) async fn answer(
    state: Arc<State>,
    request: Request,
    ask: fn(&Arc<State>, Fields, &Caller) -> Result<Ask, ApiError>,
) -> Result<Response, ApiError> {
    let RequestId(request_id) =
        request.extensions().get().cloned().unwrap_or_else(|| RequestId(String::new()));
    let caller: Caller = request.extensions().get().cloned().unwrap_or_default();
    let body = read_body(&state, request).await?;
    let place = state.take_place(&caller)?;
    // Templates and tokenizers take their time with long conversations; others are answered meanwhile.
    let asked = tokio::task::spawn_blocking(move || {
        let mut asked = ask(&state, Fields::parse(&body.bytes)?, &caller)?;
        drop(body);
        // One's own prompts are known to oneself alone.
        asked.generation.cache_salt.extend_from_slice(&[&[0], caller.as_bytes()].concat());
        start(&state, asked, place, &request_id)
    });
    let asked =
        asked.await.map_err(|error| ApiError::internal(format!("the request was dropped: {error}")))??;
    if asked.stream {
        Ok(stream::answer(asked.form, asked.updates, asked.count).into_response())
    } else {
        whole::answer(asked.form, asked.updates, asked.count).await.map(IntoResponse::into_response)
    }
}

/// The bytes of a body, and the share of what all bodies may take together.
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    _share: OwnedSemaphorePermit,
    _share_of_values: OwnedSemaphorePermit,
}

/// The body of `request`, within its limits.
pub(crate) async fn read_body(state: &State, request: Request) -> Result<Body, ApiError> {
    let length =
        request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > BODY_BYTES_MAX as u64) {
        let message =
            format!("the body has {} bytes, but at most {BODY_BYTES_MAX} are read", length.unwrap_or(0));
        return Err(ApiError::body(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    // A body that does not say how long it is may be as long as any.
    let share = state.take_body_share(length.unwrap_or(BODY_BYTES_MAX as u64) as usize)?;
    let Ok(body) = tokio::time::timeout(BODY_TIME_MAX, Bytes::from_request(request, &())).await else {
        let message = format!("the body did not come within {} seconds", BODY_TIME_MAX.as_secs());
        return Err(ApiError::body(StatusCode::REQUEST_TIMEOUT, message));
    };
    let bytes = body.map_err(|rejection| ApiError::body(rejection.status(), rejection.body_text()))?;
    // A short body may have many values.
    let values = state.take_body_share(bytes_of_values(&bytes))?;
    Ok(Body { bytes, _share: share, _share_of_values: values })
}

/// Whether a prompt leaves room for an answer.
pub(crate) fn check_len(state: &State, param: &str, found: usize) -> Result<(), ApiError> {
    if found == 0 {
        let message = format!("`{param}`: the prompt has no tokens; expected at least one");
        return Err(ApiError::invalid(param, message));
    }
    if found >= state.context_len {
        return Err(ApiError::too_long(param, found, state.context_len));
    }
    Ok(())
}

/// Hands what is asked to the engine.
fn start(state: &State, ask: Ask, place: Place, request_id: &str) -> Result<Asked, ApiError> {
    let Ask { mut form, param, prompts, reasoning_open, has_calls, bounds, generation } = ask;
    let count = prompts.len() * generation.count;
    let (sender, updates) = unbounded_channel();
    let place = Arc::new(place);
    let mut bounds = bounds.into_iter();
    let per_choice = prompts.iter().flat_map(|own| std::iter::repeat_n(own, generation.count));
    for (choice, tokens) in per_choice.enumerate() {
        check_len(state, param, tokens.len())?;
        let room = state.context_len - tokens.len();
        let mut sampling = generation.sampling.clone();
        // Each choice is that of a seed of its own, and so can be had again alone.
        sampling.seed = sampling.seed.wrapping_add((choice % generation.count) as u64);
        let mut answer = AnswerStream::new(&state.tokenizer, generation.stop.clone(), reasoning_open);
        if has_calls {
            answer = answer.with_calls(state.call_format);
        }
        let max_tokens = generation.max_tokens.unwrap_or(room).min(room);
        state.submit(Job {
            request: shoal_engine::Request {
                end_tokens: state.end_tokens.clone(),
                constraint: bounds.next().flatten(),
                logprobs: generation.logprobs,
                cache_salt: generation.cache_salt.clone(),
                ..shoal_engine::Request::new(tokens.clone(), sampling, max_tokens)
            },
            answer,
            request_id: request_id.to_owned(),
            choice,
            is_of_new_prompt: choice % generation.count == 0,
            updates: sender.clone(),
            reports_progress: generation.reports_progress && choice == 0,
            place: Arc::clone(&place),
        })?;
    }
    let id = format!("{}{:x}{:06x}", form.id_prefix(), state.started, state.next_id());
    form.named(Head { id, created: now(), model: state.name.clone() });
    Ok(Asked { form, updates, count, stream: generation.stream })
}
