//! What the two older APIs of OpenAI have in common.

use serde_json::{Map, Value, json};
use shoal_base::TokenId;
use shoal_engine::{FinishReason, Logprob, Logprobs};
use shoal_text::Tokenizer;

use super::{Head, Totals};
use crate::cache_miss::Miss;
use crate::worker::Progress;

/// What every object of an answer begins with.
pub(super) fn headed(head: &Head, kind: &str) -> Map<String, Value> {
    let mut object = Map::new();
    let mut say = |name: &str, value: Value| object.insert(name.to_owned(), value);
    say("id", head.id.as_str().into());
    say("object", kind.into());
    say("created", head.created.into());
    say("model", head.model.as_str().into());
    say("system_fingerprint", concat!("shoal-", env!("CARGO_PKG_VERSION")).into());
    object
}

/// Why an answer ended.
pub(super) const fn finish_reason(reason: FinishReason, has_called: bool) -> &'static str {
    match (reason, has_called) {
        (FinishReason::End, true) => "tool_calls",
        (FinishReason::End, false) => "stop",
        (FinishReason::Length, _) => "length",
    }
}

/// Tokens as OpenAI counts them, and what the cache held as DeepSeek does.
pub(super) fn usage(totals: &Totals) -> Value {
    json!({
        "prompt_tokens": totals.prompt_tokens,
        "completion_tokens": totals.completion_tokens,
        "total_tokens": totals.prompt_tokens + totals.completion_tokens,
        "prompt_tokens_details": { "cached_tokens": totals.cached_tokens },
        "completion_tokens_details": { "reasoning_tokens": totals.reasoning_tokens },
        "prompt_cache_hit_tokens": totals.cached_tokens,
        "prompt_cache_miss_tokens": totals.prompt_tokens - totals.cached_tokens,
    })
}

/// How long it took, under the names that llama-server gave these, why the prompt was not known further, and what was read for a token; of several answers, the
/// first.
pub(super) fn timings(totals: &Totals, first_answer_tokens: usize) -> Value {
    let per_second = |tokens: usize, seconds: f64| (seconds > 0.0).then(|| tokens as f64 / seconds);
    let prompt_n = totals.prompt_tokens - totals.cached_tokens;
    // The first token comes with the prompt; what follows is decoded.
    let predicted_n = first_answer_tokens.saturating_sub(1);
    let (prompt_s, predicted_s) = (totals.prompt_time.as_secs_f64(), totals.completion_time.as_secs_f64());
    json!({
        "cache_n": totals.cached_tokens,
        "cache_miss": totals.miss.as_ref().map(Miss::to_json),
        "prompt_n": prompt_n,
        "prompt_ms": prompt_s * 1e3,
        "prompt_per_second": per_second(prompt_n, prompt_s),
        "predicted_n": predicted_n,
        "predicted_ms": predicted_s * 1e3,
        "predicted_per_second": per_second(predicted_n, predicted_s),
        "memory_bytes_per_token": totals.read.per_token().map(|[memory, _]| memory),
        "disk_bytes_per_token": totals.read.per_token().map(|[_, disk]| disk),
    })
}

/// How far a prompt is read, under the names that llama-server gave these.
pub(super) fn prompt_progress(progress: &Progress) -> Value {
    json!({
        "total": progress.prompt_tokens,
        "cache": progress.tokens.cached,
        "processed": progress.tokens.computed,
        "time_ms": progress.time.as_secs_f64() * 1e3,
    })
}

/// How likely tokens were, as chat completions say it.
pub(super) fn token_logprobs(tokenizer: &Tokenizer, logprobs: &[Logprobs]) -> Value {
    let of = |logprob: &Logprob| {
        let bytes = tokenizer.token_bytes(logprob.token);
        json!({ "token": String::from_utf8_lossy(bytes), "logprob": finite(logprob.logprob), "bytes": bytes })
    };
    let tokens = logprobs.iter().map(|Logprobs { chosen, top }| {
        let mut token = of(chosen);
        token["top_logprobs"] = top.iter().map(of).collect();
        token
    });
    tokens.collect()
}

/// How likely tokens were, as text completions say it; the first of them stands at `offset` of the text.
pub(super) fn text_logprobs(tokenizer: &Tokenizer, logprobs: &[Logprobs], mut offset: usize) -> Value {
    let text = |token: TokenId| String::from_utf8_lossy(tokenizer.token_bytes(token)).into_owned();
    let (mut tokens, mut likely, mut tops, mut offsets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for Logprobs { chosen, top } in logprobs {
        let token = text(chosen.token);
        offsets.push(offset);
        offset += token.chars().count();
        tokens.push(token);
        likely.push(finite(chosen.logprob));
        let top = top.iter().map(|top| (text(top.token), json!(finite(top.logprob))));
        tops.push(Value::Object(top.collect()));
    }
    json!({ "tokens": tokens, "token_logprobs": likely, "top_logprobs": tops, "text_offset": offsets })
}

/// JSON has no infinity; OpenAI says this of what is as good as impossible.
fn finite(logprob: f64) -> f64 {
    if logprob.is_finite() { logprob } else { -9999.0 }
}
