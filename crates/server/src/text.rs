//! Texts and tokens as they are, without the form of a conversation: `/v1/completions`, `/tokenize`, `/detokenize`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Value, json};
use shoal_base::TokenId;
use shoal_text::{Detokenizer, Piece};

use crate::answer::{Ask, Form, answer, read_body};
use crate::error::ApiError;
use crate::fields::Fields;
use crate::generation::{Generation, refuse_what_is_not_there};
use crate::state;

type Shared = State<Arc<state::State>>;

pub(crate) async fn completions(State(state): Shared, request: Request) -> Result<Response, ApiError> {
    answer(state, request, ask).await
}

fn ask(state: &state::State, mut fields: Fields) -> Result<Ask, ApiError> {
    let expected = "a text or a list of token ids";
    let missing = || ApiError::invalid("prompt", format!("`prompt`: expected {expected}, found none"));
    let prompt = fields.take::<Value>("prompt", expected)?.ok_or_else(missing)?;
    let tokens = match prompt {
        Value::String(text) => text_tokens(state, "prompt", text)?,
        other => given_tokens(state, "prompt", other)?,
    };
    let generation = Generation::take(&mut fields, state)?;
    fields.only("echo", &[json!(false)])?;
    fields.only("suffix", &[json!("")])?;
    fields.only("logprobs", &[])?;
    fields.only("best_of", &[json!(1)])?;
    refuse_what_is_not_there(fields)?;
    Ok(Ask { form: Form::Text, param: "prompt", tokens, reasoning_open: None, generation })
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
