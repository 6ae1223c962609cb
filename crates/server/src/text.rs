//! Texts and tokens as they are, without the form of a conversation: `/v1/completions`, `/tokenize`, `/detokenize`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;
use serde_json::{Value, json};
use shoal_base::TokenId;
use shoal_engine::Constraint;
use shoal_text::{Detokenizer, Piece};

use crate::answer::{Ask, Text, answer, check_len, read_body};
use crate::chat::check_top_logprobs;
use crate::constraint::{Bounds, Reasoning};
use crate::error::ApiError;
use crate::fields::Fields;
use crate::generation::{Generation, Names, refuse_what_is_not_there};
use crate::guard::Caller;
use crate::state;
use crate::tools::{Format, take_format};

type Shared = State<Arc<state::State>>;

const NAMES: Names = Names { max_tokens: &["max_completion_tokens", "max_tokens"], stop: "stop" };

/// Most answers to one request: to all its prompts together.
const CHOICES_MAX: usize = 64;

pub(crate) async fn completions(State(state): Shared, request: Request) -> Result<Response, ApiError> {
    answer(state, request, ask).await
}

pub(crate) fn ask(state: &Arc<state::State>, mut fields: Fields, _: &Caller) -> Result<Ask, ApiError> {
    let prompts = prompts(fields.need("prompt", "a text, a list of token ids, or several of them")?);
    let is_echoed = fields.take("echo", "true or false")?.unwrap_or(false);
    let suffix: Option<String> = fields.take("suffix", "a text")?;
    let suffix = suffix.filter(|suffix| !suffix.is_empty());
    let logprobs: Option<usize> = fields.take("logprobs", "a number")?;
    check_top_logprobs("logprobs", logprobs)?;
    if is_echoed && logprobs.is_some() {
        let message =
            "`echo`: this server cannot tell how likely a prompt is; leave out `echo` or `logprobs`";
        return Err(ApiError::invalid("echo", message.to_owned()));
    }
    let format = take_format(&mut fields)?;
    let mut generation = Generation::take(&mut fields, state, NAMES)?;
    generation.take_choices(&mut fields)?;
    generation.logprobs = logprobs;
    fields.only("best_of", &[json!(1), json!(generation.count)])?;
    refuse_what_is_not_there(fields)?;
    let choices = prompts.len() * generation.count;
    if choices > CHOICES_MAX {
        let message = format!("`prompt`: expected at most {CHOICES_MAX} answers in all, found {choices}");
        return Err(ApiError::invalid("prompt", message));
    }
    let (mut echoes, mut tokens) = (Vec::new(), Vec::new());
    for prompt in prompts {
        let (text, own) = prompt_tokens(state, prompt, suffix.as_deref())?;
        check_len(state, "prompt", own.len())?;
        tokens.push(own);
        let echo = if is_echoed { text } else { String::new() };
        echoes.extend(std::iter::repeat_n(echo, generation.count));
    }
    let bounds = (0..choices).map(|_| bounds(state, format.as_ref())).collect::<Result<_, _>>()?;
    let form = Text::new(&state.tokenizer, echoes, generation.include_usage, logprobs.is_some());
    Ok(Ask {
        form,
        param: "prompt",
        prompts: tokens,
        reasoning_open: None,
        has_calls: false,
        bounds,
        generation,
    })
}

/// The prompts of a request: one, or several.
fn prompts(prompt: Value) -> Vec<Value> {
    match prompt {
        Value::Array(list) if list.iter().any(|item| item.is_string() || item.is_array()) => list,
        one => vec![one],
    }
}

/// A prompt as text and as tokens; with a text after it, the tokens ask for what stands between.
fn prompt_tokens(
    state: &state::State,
    prompt: Value,
    suffix: Option<&str>,
) -> Result<(String, Vec<TokenId>), ApiError> {
    match (prompt, suffix) {
        (Value::String(text), None) => Ok((text.clone(), text_tokens(state, "prompt", text)?)),
        (Value::String(text), Some(suffix)) => {
            Ok((text.clone(), middle_tokens(state, text, suffix.to_owned())?))
        }
        (ids, None) => {
            let tokens = given_tokens(state, "prompt", ids)?;
            Ok((state.tokenizer.decode(&tokens), tokens))
        }
        (_, Some(_)) => {
            let message = "`suffix`: expected the prompt to be a text as well".to_owned();
            Err(ApiError::invalid("suffix", message))
        }
    }
}

fn bounds(state: &state::State, format: Option<&Format>) -> Result<Option<Box<dyn Constraint>>, ApiError> {
    let Some(Format { shape, param }) = format else { return Ok(None) };
    let grammar = state.grammars()?.compile(shape);
    let grammar = grammar.map_err(|error| ApiError::invalid(param, format!("`{param}`: {error}")))?;
    Ok(Bounds::of(&state.tokenizer, Reasoning::No, None, Some(grammar)))
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

/// Tokens as they go out: a list of numbers, which as JSON values would take many times their memory.
#[derive(Serialize)]
pub(crate) struct Tokens {
    tokens: Vec<u32>,
}

/// `{"content": TEXT}` to `{"tokens": [ID, …]}`; `"add_special": true` begins as a sequence does.
pub(crate) async fn tokenize(State(state): Shared, request: Request) -> Result<Json<Tokens>, ApiError> {
    let body = read_body(&state, request).await?;
    let tokens = tokio::task::spawn_blocking(move || {
        // The body's share of memory goes with it.
        let body = body;
        let mut fields = Fields::parse(&body.bytes)?;
        let text: String = fields.need("content", "a text")?;
        let is_begun = fields.take("add_special", "true or false")?.unwrap_or(false);
        fields.finish()?;
        let begun = text_tokens(&state, "content", text)?;
        let first =
            if is_begun || !state.tokenizer.adds_bos() { 0 } else { state.tokenizer.bos().iter().count() };
        Ok(Tokens { tokens: begun[first..].iter().map(|token| token.0).collect() })
    });
    tokens.await.map_err(|error| ApiError::internal(error.to_string()))?.map(Json)
}

/// `{"tokens": [ID, …]}` to `{"content": TEXT}`; no more of them than a context has.
pub(crate) async fn detokenize(State(state): Shared, request: Request) -> Result<Json<Value>, ApiError> {
    let body = read_body(&state, request).await?;
    let text = tokio::task::spawn_blocking(move || {
        let body = body;
        let mut fields = Fields::parse(&body.bytes)?;
        let tokens = fields.take::<Value>("tokens", "a list of token ids")?.unwrap_or_default();
        fields.finish()?;
        let tokens = given_tokens(&state, "tokens", tokens)?;
        if tokens.len() > state.context_len {
            let (found, most) = (tokens.len(), state.context_len);
            let message =
                format!("`tokens`: expected at most {most} ids, as many as the context has, found {found}");
            return Err(ApiError::invalid("tokens", message));
        }
        let mut detokenizer = Detokenizer::new(&state.tokenizer);
        let mut text: String = tokens.into_iter().map(|token| detokenizer.push(token)).collect();
        text.push_str(&detokenizer.finish());
        Ok(json!({ "content": text }))
    });
    text.await.map_err(|error| ApiError::internal(error.to_string()))?.map(Json)
}
