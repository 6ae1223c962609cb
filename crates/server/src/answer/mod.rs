//! From a request to its answer, for every API that answers with text: the body is read, a place taken, the prompt handed to
//! the engine, and what comes back written as one object (`whole`) or piece by piece (`stream`), in the form of the API
//! ([`Form`]).

mod stream;
mod whole;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use shoal_base::TokenId;
use shoal_text::{AnswerStream, Segment};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::BODY_BYTES_MAX;
use crate::error::ApiError;
use crate::fields::Fields;
use crate::generation::Generation;
use crate::state::{State, now};
use crate::worker::{Job, Place, Update};

/// How long the body of a request may take.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// What is asked, whatever the API.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) form: Form,
    /// The field that the prompt comes from.
    pub(crate) param: &'static str,
    pub(crate) tokens: Vec<TokenId>,
    /// Whether the prompt has opened reasoning; `None` where it is not told apart.
    pub(crate) reasoning_open: Option<bool>,
    pub(crate) generation: Generation,
}

/// The API whose words an answer uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A message of a conversation.
    Chat {
        /// Whether the model was asked to reason, when all was said.
        is_thinking: bool,
    },
    /// A text that goes on.
    Text,
}

impl Form {
    const fn id_prefix(self) -> &'static str {
        match self {
            Self::Chat { .. } => "chatcmpl",
            Self::Text => "cmpl",
        }
    }

    /// The kind of a whole answer, and of a part of one.
    const fn kinds(self) -> [&'static str; 2] {
        match self {
            Self::Chat { .. } => ["chat.completion", "chat.completion.chunk"],
            Self::Text => ["text_completion", "text_completion"],
        }
    }

    /// What a part of an answer says, before why it ended: of a segment, or of none at the beginning and the end.
    fn part(self, segment: Option<&Segment>) -> Value {
        match (self, segment) {
            (Self::Chat { .. }, None) => json!({ "delta": {} }),
            (Self::Chat { .. }, Some(Segment::Answer(text))) => json!({ "delta": { "content": text } }),
            (Self::Chat { .. }, Some(Segment::Reasoning(text))) => {
                json!({ "delta": { "reasoning_content": text } })
            }
            (Self::Text, None) => json!({ "text": "" }),
            (Self::Text, Some(Segment::Answer(text) | Segment::Reasoning(text))) => json!({ "text": text }),
        }
    }

    /// What a whole answer says.
    fn whole(self, content: String, reasoning: Option<String>) -> Value {
        match self {
            Self::Text => json!({ "text": content }),
            Self::Chat { .. } => {
                let mut message = json!({ "role": "assistant", "content": content, "refusal": null });
                if let Some(reasoning) = reasoning {
                    message["reasoning_content"] = Value::String(reasoning);
                }
                json!({ "message": message })
            }
        }
    }
}

/// What every part of an answer says of itself.
#[derive(Clone, Debug)]
struct Head {
    form: Form,
    id: String,
    created: u64,
    model: String,
}

/// A request that was handed to the engine.
struct Asked {
    head: Head,
    updates: UnboundedReceiver<Update>,
    stream: bool,
    include_usage: bool,
}

/// Answers `request`, whose fields `ask` understands.
pub(crate) async fn answer(
    state: Arc<State>,
    request: Request,
    ask: fn(&State, Fields) -> Result<Ask, ApiError>,
) -> Result<Response, ApiError> {
    let body = read_body(&state, request).await?;
    let place = state.take_place()?;
    // Templates and tokenizers take their time with long conversations; others are answered meanwhile.
    let asked = tokio::task::spawn_blocking(move || {
        let asked = ask(&state, Fields::parse(&body.bytes)?)?;
        drop(body);
        start(&state, asked, place)
    });
    let asked =
        asked.await.map_err(|error| ApiError::internal(format!("the request was dropped: {error}")))??;
    if asked.stream {
        Ok(stream::answer(asked.head, asked.updates, asked.include_usage).into_response())
    } else {
        whole::answer(&asked.head, asked.updates).await.map(IntoResponse::into_response)
    }
}

/// The bytes of a body, and the share of what all bodies may take together.
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    _share: OwnedSemaphorePermit,
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
    Ok(Body { bytes, _share: share })
}

/// Hands what is asked to the engine.
fn start(state: &State, ask: Ask, place: Place) -> Result<Asked, ApiError> {
    let Ask { form, param, tokens, reasoning_open, generation } = ask;
    if tokens.is_empty() {
        return Err(ApiError::invalid(
            param,
            format!("`{param}`: the prompt has no tokens; expected at least one"),
        ));
    }
    if tokens.len() >= state.context_len {
        return Err(ApiError::too_long(param, tokens.len(), state.context_len));
    }
    let room = state.context_len - tokens.len();
    let (sender, updates) = unbounded_channel();
    state.submit(Job {
        request: shoal_engine::Request {
            prompt: tokens,
            sampling: generation.sampling,
            max_tokens: generation.max_tokens.unwrap_or(room).min(room),
            end_tokens: state.end_tokens.clone(),
        },
        answer: AnswerStream::new(&state.tokenizer, generation.stop, reasoning_open),
        updates: sender,
        place,
    })?;
    let id = format!("{}-{:x}-{}", form.id_prefix(), state.started, state.next_id());
    let head = Head { form, id, created: now(), model: state.name.clone() };
    Ok(Asked { head, updates, stream: generation.stream, include_usage: generation.include_usage })
}
