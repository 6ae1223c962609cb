//! Texts and tokens as they are, without the form of a conversation: `/v1/completions`, `/tokenize`, `/detokenize`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Value, json};
use shoal_base::TokenId;
use shoal_engine::Constraint;
use shoal_text::{Detokenizer, Piece, Shape};

use crate::answer::{Ask, Text, answer, check_len, read_body};
use crate::chat::check_top_logprobs;
use crate::constraint::Bounds;
use crate::error::ApiError;
use crate::fields::Fields;
use crate::generation::{Generation, refuse_what_is_not_there};
use crate::state;
use crate::tools::take_format;

type Shared = State<Arc<state::State>>;

pub(crate) async fn completions(State(state): Shared, request: Request) -> Result<Response, ApiError> {
    answer(state, request, ask).await
}

pub(crate) fn ask(state: &Arc<state::State>, mut fields: Fields) -> Result<Ask, ApiError> {
    let expected = "a text or a list of token ids";
    let missing = || ApiError::invalid("prompt", format!("`prompt`: expected {expected}, found none"));
    let prompt = fields.take::<Value>("prompt", expected)?.ok_or_else(missing)?;
    let is_echoed = fields.take("echo", "true or false")?.unwrap_or(false);
    let suffix: Option<String> = fields.take("suffix", "a text")?;
    let suffix = suffix.filter(|suffix| !suffix.is_empty());
    let echo = match (&prompt, is_echoed) {
        (_, false) => String::new(),
        (Value::String(text), true) => text.clone(),
        (ids, true) => state.tokenizer.decode(&given_tokens(state, "prompt", ids.clone())?),
    };
    let tokens = match (prompt, suffix) {
        (Value::String(text), None) => text_tokens(state, "prompt", text)?,
        (Value::String(text), Some(suffix)) => middle_tokens(state, text, suffix)?,
        (other, None) => given_tokens(state, "prompt", other)?,
        (_, Some(_)) => {
            let message = "`suffix`: expected the prompt to be a text as well".to_owned();
            return Err(ApiError::invalid("suffix", message));
        }
    };
    let logprobs: Option<usize> = fields.take("logprobs", "a number")?;
    check_top_logprobs("logprobs", logprobs)?;
    let shape = take_format(&mut fields)?;
    let mut generation = Generation::take(&mut fields, state)?;
    generation.logprobs = logprobs;
    fields.only("best_of", &[json!(1), json!(generation.count)])?;
    refuse_what_is_not_there(fields)?;
    check_len(state, "prompt", tokens.len())?;
    let bounds = (0..generation.count).map(|_| bounds(state, shape.as_ref())).collect::<Result<_, _>>()?;
    let Generation { include_usage, count, .. } = generation;
    let form = Text::new(&state.tokenizer, echo, include_usage, logprobs.is_some(), count);
    let param = "prompt";
    Ok(Ask { form, param, tokens, reasoning_open: None, has_calls: false, bounds, generation })
}

fn bounds(state: &state::State, shape: Option<&Shape>) -> Result<Option<Box<dyn Constraint>>, ApiError> {
    let Some(shape) = shape else { return Ok(None) };
    let grammar = state.grammars()?.compile(shape);
    let grammar = grammar.map_err(|error| ApiError::invalid("response_format", error.to_string()))?;
    Ok(Bounds::of(&state.tokenizer, false, None, Some(grammar)))
}

/// What models call the marks around a text with a gap: before it, in place of the gap, after it.
const MIDDLES: [[&str; 3]; 3] = [
    ["<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"],
    ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"],
    ["<fim_prefix>", "<fim_suffix>", "<fim_middle>"],
];

/// The tokens of a prompt that asks for what stands between two texts.
fn middle_tokens(state: &state::State, before: String, after: String) -> Result<Vec<TokenId>, ApiError> {
    let tokenizer = &state.tokenizer;
    let known = MIDDLES.iter().find(|marks| marks.iter().all(|mark| tokenizer.special(mark).is_some()));
    let Some([begin, hole, end]) = known else {
        let message =
            "`suffix`: this model was not trained to fill a gap, and its vocabulary has no marks for one";
        return Err(ApiError::invalid("suffix", message.to_owned()));
    };
    let special = |mark: &&str| Piece::Special((*mark).to_owned());
    let pieces = [special(begin), Piece::Text(before), special(hole), Piece::Text(after), special(end)];
    let tokens = tokenizer.encode_pieces(&pieces);
    let tokens = tokens.map_err(|error| ApiError::invalid("prompt", error.to_string()))?;
    Ok(tokenizer.bos().filter(|_| tokenizer.adds_bos()).into_iter().chain(tokens).collect())
}

/// The tokens of a plain sequence that is `text`, as this model begins one.
fn text_tokens(state: &state::State, param: &str, text: String) -> Result<Vec<TokenId>, ApiError> {
    let tokens = state.tokenizer.encode_pieces(&[Piece::Text(text)]);
    let mut tokens = tokens.map_err(|error| ApiError::invalid(param, error.to_string()))?;
    if state.tokenizer.adds_bos() {
        tokens.splice(0..0, state.tokenizer.bos());
    }
    Ok(tokens)
}

fn given_tokens(state: &state::State, param: &str, list: Value) -> Result<Vec<TokenId>, ApiError> {
    let vocab_len = state.tokenizer.vocab_len();
    let ids: Option<Vec<u32>> = serde_json::from_value(list).ok();
    let ids = ids.filter(|ids| !ids.is_empty() && ids.iter().all(|&id| (id as usize) < vocab_len));
    let bad = || {
        ApiError::invalid(param, format!("`{param}`: expected token ids below {vocab_len}, one at the least"))
    };
    Ok(ids.ok_or_else(bad)?.into_iter().map(TokenId).collect())
}

/// `{"content": TEXT}` to `{"tokens": [ID, …]}`; `"add_special": true` begins as a sequence does.
pub(crate) async fn tokenize(State(state): Shared, request: Request) -> Result<Json<Value>, ApiError> {
    let mut fields = Fields::parse(&read_body(&state, request).await?.bytes)?;
    let missing = || ApiError::invalid("content", "`content`: expected a text, found none".to_owned());
    let text: String = fields.take("content", "a text")?.ok_or_else(missing)?;
    let is_begun = fields.take("add_special", "true or false")?.unwrap_or(false);
    fields.finish("")?;
    let tokens = tokio::task::spawn_blocking(move || {
        let begun = text_tokens(&state, "content", text)?;
        let first =
            if is_begun || !state.tokenizer.adds_bos() { 0 } else { state.tokenizer.bos().iter().count() };
        Ok(begun[first..].iter().map(|token| token.0).collect::<Vec<u32>>())
    });
    let tokens = tokens.await.map_err(|error| ApiError::internal(error.to_string()))??;
    Ok(Json(json!({ "tokens": tokens })))
}

/// `{"tokens": [ID, …]}` to `{"content": TEXT}`.
pub(crate) async fn detokenize(State(state): Shared, request: Request) -> Result<Json<Value>, ApiError> {
    let mut fields = Fields::parse(&read_body(&state, request).await?.bytes)?;
    let tokens = fields.take::<Value>("tokens", "a list of token ids")?.unwrap_or_default();
    fields.finish("")?;
    let mut detokenizer = Detokenizer::new(&state.tokenizer);
    let mut text = String::new();
    for token in given_tokens(&state, "tokens", tokens)? {
        text.push_str(&detokenizer.push(token));
    }
    text.push_str(&detokenizer.finish());
    Ok(Json(json!({ "content": text })))
}
