//! `/v1/chat/completions`: a conversation in, the next message out, at once or as it is written.
//!
//! `request` reads the fields, `response` writes whole answers, `stream` writes them piece by piece.

mod request;
mod response;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use shoal_engine::Request;
use shoal_text::{AnswerStream, Thinking};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::BODY_BYTES_MAX;
use crate::error::ApiError;
use crate::state;
use crate::worker::{Job, Place, Update};
use request::ChatRequest;

/// How long the body of a request may take.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// What every part of an answer says of itself.
#[derive(Clone, Debug)]
struct Head {
    id: String,
    created: u64,
    model: String,
    /// Whether the model was asked to reason, when all was said.
    is_thinking: bool,
}

/// A request that was handed to the engine.
struct Asked {
    head: Head,
    updates: UnboundedReceiver<Update>,
    stream: bool,
    include_usage: bool,
}

pub(crate) async fn completions(
    State(state): State<Arc<state::State>>,
    request: axum::extract::Request,
) -> Result<Response, ApiError> {
    let body = read_body(request).await?;
    let place = state.take_place()?;
    // Templates and tokenizers take their time with long conversations; others are answered meanwhile.
    let asked = tokio::task::spawn_blocking(move || ask(&state, &body, place)).await;
    let asked = asked.map_err(|error| ApiError::internal(format!("the request was dropped: {error}")))??;
    if asked.stream {
        Ok(stream::answer(asked.head, asked.updates, asked.include_usage).into_response())
    } else {
        response::answer(&asked.head, asked.updates).await.map(IntoResponse::into_response)
    }
}

async fn read_body(request: axum::extract::Request) -> Result<Bytes, ApiError> {
    let length =
        request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > BODY_BYTES_MAX as u64) {
        let message =
            format!("the body has {} bytes, but at most {BODY_BYTES_MAX} are read", length.unwrap_or(0));
        return Err(ApiError::body(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    let Ok(body) = tokio::time::timeout(BODY_TIME_MAX, Bytes::from_request(request, &())).await else {
        let message = format!("the body did not come within {} seconds", BODY_TIME_MAX.as_secs());
        return Err(ApiError::body(StatusCode::REQUEST_TIMEOUT, message));
    };
    body.map_err(|rejection| ApiError::body(rejection.status(), rejection.body_text()))
}

fn ask(state: &state::State, body: &[u8], place: Place) -> Result<Asked, ApiError> {
    let chat = ChatRequest::parse(body, state)?;
    let (prompt, tokens) = state.render(&chat.messages, chat.thinking)?;
    if tokens.len() >= state.context_len {
        return Err(ApiError::too_long(tokens.len(), state.context_len));
    }
    let is_thinking = match chat.thinking {
        Thinking::On => true,
        Thinking::Off => false,
        Thinking::Default => prompt.reasoning_open,
    };
    let reasoning_open = state.splits_reasoning().then_some(prompt.reasoning_open);
    let room = state.context_len - tokens.len();
    let (sender, updates) = unbounded_channel();
    state.submit(Job {
        request: Request {
            prompt: tokens,
            sampling: chat.sampling,
            max_tokens: chat.max_tokens.unwrap_or(room).min(room),
            end_tokens: state.end_tokens.clone(),
        },
        answer: AnswerStream::new(&state.tokenizer, chat.stop, reasoning_open),
        updates: sender,
        place,
    })?;
    let head = Head {
        id: format!("chatcmpl-{:x}-{}", state.started, state.next_id()),
        created: state::now(),
        model: state.name.clone(),
        is_thinking,
    };
    Ok(Asked { head, updates, stream: chat.stream, include_usage: chat.include_usage })
}
