//! A whole answer as one object; and the parts that streams have as well.

use axum::Json;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use shoal_engine::FinishReason;
use shoal_text::Segment;
use tokio::sync::mpsc::UnboundedReceiver;

use super::{Form, Head};
use crate::error::ApiError;
use crate::worker::{Done, Update};

/// Waits for the end of the answer.
pub(super) async fn answer(
    head: &Head,
    mut updates: UnboundedReceiver<Update>,
) -> Result<Json<Value>, ApiError> {
    let (mut content, mut reasoning) = (String::new(), None::<String>);
    loop {
        match updates.recv().await {
            Some(Update::Segment(Segment::Answer(text))) => content.push_str(&text),
            Some(Update::Segment(Segment::Reasoning(text))) => {
                reasoning.get_or_insert_default().push_str(&text);
            }
            Some(Update::Done(done)) => return Ok(Json(whole(head, content, reasoning, &done))),
            other => return Err(failure(other)),
        }
    }
}

/// Why there will be no answer.
pub(super) fn failure(update: Option<Update>) -> ApiError {
    match update {
        Some(Update::Refused(error)) => ApiError::body(StatusCode::BAD_REQUEST, error.to_string()),
        Some(Update::Failed(why)) => ApiError::internal(format!("the answer ends here: {why}")),
        _ => ApiError::internal("the engine has ended".to_owned()),
    }
}

fn whole(head: &Head, content: String, reasoning: Option<String>, done: &Done) -> Value {
    let mut object = headed(head, head.form.kinds()[0]);
    let choice = choice(head.form.whole(content, reasoning), Some(done.reason));
    object.insert("choices".to_owned(), json!([choice]));
    object.insert("usage".to_owned(), usage(done));
    object.insert("timings".to_owned(), timings(done));
    Value::Object(object)
}

/// What every object of an answer begins with.
pub(super) fn headed(head: &Head, kind: &str) -> Map<String, Value> {
    let mut object = Map::new();
    let mut say = |name: &str, value: Value| object.insert(name.to_owned(), value);
    say("id", head.id.as_str().into());
    say("object", kind.into());
    say("created", head.created.into());
    say("model", head.model.as_str().into());
    say("system_fingerprint", concat!("shoal-", env!("CARGO_PKG_VERSION")).into());
    if let Form::Chat { is_thinking } = head.form {
        say("thinking", json!({ "type": if is_thinking { "enabled" } else { "disabled" } }));
    }
    object
}

/// `what` was said, as the one choice there is, and why it ended there.
pub(super) fn choice(mut what: Value, reason: Option<FinishReason>) -> Value {
    what["index"] = 0.into();
    what["logprobs"] = Value::Null;
    what["finish_reason"] = reason.map_or(Value::Null, |reason| finish_reason(reason).into());
    what
}

const fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::End => "stop",
        FinishReason::Length => "length",
    }
}

/// Tokens as OpenAI counts them, and what the cache held as DeepSeek does.
pub(super) fn usage(done: &Done) -> Value {
    json!({
        "prompt_tokens": done.prompt_tokens,
        "completion_tokens": done.completion_tokens,
        "total_tokens": done.prompt_tokens + done.completion_tokens,
        "prompt_tokens_details": { "cached_tokens": done.cached_tokens },
        "completion_tokens_details": { "reasoning_tokens": done.reasoning_tokens },
        "prompt_cache_hit_tokens": done.cached_tokens,
        "prompt_cache_miss_tokens": done.prompt_tokens - done.cached_tokens,
    })
}

/// How long it took, under the names that llama-server gave these.
pub(super) fn timings(done: &Done) -> Value {
    let per_second = |tokens: usize, seconds: f64| (seconds > 0.0).then(|| tokens as f64 / seconds);
    let prompt_n = done.prompt_tokens - done.cached_tokens;
    // The first token comes with the prompt; what follows is decoded.
    let predicted_n = done.completion_tokens.saturating_sub(1);
    let (prompt_s, predicted_s) = (done.prompt_time.as_secs_f64(), done.completion_time.as_secs_f64());
    json!({
        "cache_n": done.cached_tokens,
        "prompt_n": prompt_n,
        "prompt_ms": prompt_s * 1e3,
        "prompt_per_second": per_second(prompt_n, prompt_s),
        "predicted_n": predicted_n,
        "predicted_ms": predicted_s * 1e3,
        "predicted_per_second": per_second(predicted_n, predicted_s),
    })
}
