//! `/v1/responses`: OpenAI's newer API, whose conversations are lists of items and may be left with the server.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use serde_json::{Map, Value, json};
use shoal_text::tools::ToolCall;
use shoal_text::{Message, Role, Thinking};

use crate::answer::{Ask, Keeping, Responses, answer, check_len};
use crate::chat::{part_text, thinking_of_effort};
use crate::conversation::Conversation;
use crate::error::ApiError;
use crate::fields::Fields;
use crate::generation::Generation;
use crate::state;
use crate::tools::{Toolbox, read_format};

type Shared = State<Arc<state::State>>;

pub(crate) async fn create(State(state): Shared, request: Request) -> Result<Response, ApiError> {
    answer(state, request, ask).await
}

/// A response that was stored.
pub(crate) async fn get(State(state): Shared, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let stored = state.responses.get(&id, &[]);
    stored.map(|stored| Json(stored.response)).ok_or_else(|| missing("id", &id))
}

/// Forgets one.
pub(crate) async fn delete(State(state): Shared, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    if state.responses.remove(&id, &[]) {
        return Ok(Json(json!({ "id": id, "object": "response", "deleted": true })));
    }
    Err(missing("id", &id))
}

fn missing(param: &str, id: &str) -> ApiError {
    let id: String = id.chars().take(64).collect();
    ApiError::not_found(
        param,
        format!("there is no response `{id}` here; it was not stored, or is forgotten"),
    )
}

/// What the response says of the request.
const ECHOED: [&str; 12] = [
    "instructions",
    "max_output_tokens",
    "metadata",
    "parallel_tool_calls",
    "previous_response_id",
    "reasoning",
    "store",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_p",
];

fn echoed(fields: &Fields, state: &state::State) -> Map<String, Value> {
    let usual = |name: &str| match name {
        "metadata" => json!({}),
        "parallel_tool_calls" | "store" => json!(true),
        "reasoning" => json!({ "effort": null, "summary": null }),
        "temperature" => json!(state.sampling.temperature),
        "text" => json!({ "format": { "type": "text" } }),
        "tool_choice" => json!("auto"),
        "tools" => json!([]),
        "top_p" => json!(state.sampling.top_p),
        _ => Value::Null,
    };
    let said = |name: &str| fields.peek(name).filter(|value| !value.is_null()).cloned();
    let mut echoed: Map<String, Value> =
        ECHOED.iter().map(|&name| (name.to_owned(), said(name).unwrap_or_else(|| usual(name)))).collect();
    echoed.insert("truncation".to_owned(), json!("disabled"));
    echoed
}

pub(crate) fn ask(state: &Arc<state::State>, mut fields: Fields) -> Result<Ask, ApiError> {
    let echoed = echoed(&fields, state);
    let store = fields.take("store", "true or false")?.unwrap_or(true);
    let mut messages = Vec::new();
    if let Some(id) = fields.take::<String>("previous_response_id", "the id of a response")? {
        let previous = state.responses.get(&id, &[]).ok_or_else(|| missing("previous_response_id", &id))?;
        messages = previous.messages;
    }
    let input = fields.take::<Value>("input", "text or a list of items")?;
    read_input(input, &mut messages)?;
    let kept = messages.clone();
    // Instructions are this request's; they do not stay with the conversation.
    if let Some(instructions) = fields.take::<String>("instructions", "a text")? {
        messages.insert(0, Message::new(Role::System, instructions));
    }
    let toolbox = Toolbox::take(&mut fields)?;
    let thinking = reasoning(&mut fields)?;
    let shape = match fields.take::<Map<String, Value>>("text", "an object")? {
        None => None,
        Some(text) => {
            let mut text = Fields::of(text);
            let format: Option<Map<String, Value>> = text.take("format", "an object with a type")?;
            text.only("verbosity", &[json!("medium")])?;
            text.finish("text.")?;
            format.map(|format| read_format("text.format", Fields::of(format))).transpose()?.flatten()
        }
    };
    let logprobs = logprobs(&mut fields)?;
    fields.rename("max_output_tokens", "max_completion_tokens");
    let mut generation = Generation::take(&mut fields, state)?;
    generation.logprobs = logprobs;
    fields.only("background", &[json!(false)])?;
    fields.only("truncation", &[json!("disabled")])?;
    fields.only("service_tier", &[json!("auto"), json!("default")])?;
    fields.drop_labels(&[
        "user",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "metadata",
    ]);
    fields.finish("")?;
    let mut conversation = Conversation {
        param: "input",
        messages,
        is_begun: false,
        toolbox,
        thinking,
        reasoning_max: None,
        shape,
    };
    let prepared = conversation.prepare(state)?;
    check_len(state, conversation.param, prepared.tokens.len())?;
    let bounds = vec![conversation.bounds(state, &prepared)?];
    let keeping =
        store.then(|| Keeping { store: Arc::clone(&state.responses), owner: Vec::new(), messages: kept });
    Ok(Ask {
        form: Responses::new(&state.tokenizer, echoed, keeping, logprobs.is_some()),
        param: conversation.param,
        tokens: prepared.tokens,
        reasoning_open: state.splits_reasoning().then_some(prepared.reasoning_open),
        has_calls: conversation.has_calls(),
        bounds,
        generation,
    })
}

fn reasoning(fields: &mut Fields) -> Result<Thinking, ApiError> {
    let Some(reasoning) = fields.take::<Map<String, Value>>("reasoning", "an object")? else {
        return Ok(Thinking::Default);
    };
    let mut reasoning = Fields::of(reasoning);
    let effort: Option<String> = reasoning.take("effort", "an effort")?;
    // Reasoning comes as it is, in full, whatever summary is asked for.
    reasoning.drop_labels(&["summary", "generate_summary"]);
    reasoning.finish("reasoning.")?;
    effort.map_or(Ok(Thinking::Default), |effort| thinking_of_effort("reasoning.effort", &effort))
}

fn logprobs(fields: &mut Fields) -> Result<Option<usize>, ApiError> {
    let include: Vec<String> = fields.take("include", "a list of names")?.unwrap_or_default();
    let mut wanted = false;
    for name in &include {
        match name.as_str() {
            "message.output_text.logprobs" => wanted = true,
            // It comes in the open.
            "reasoning.encrypted_content" => {}
            _ => {
                let expected = "message.output_text.logprobs or reasoning.encrypted_content";
                return Err(ApiError::invalid("include", format!("`include`: expected {expected}")));
            }
        }
    }
    let top: Option<usize> = fields.take("top_logprobs", "a number")?;
    crate::chat::check_top_logprobs("top_logprobs", top)?;
    Ok((wanted || top.is_some_and(|top| top > 0)).then(|| top.unwrap_or(0)))
}

/// Adds the messages that the items are.
fn read_input(input: Option<Value>, messages: &mut Vec<Message>) -> Result<(), ApiError> {
    let items = match input {
        Some(Value::String(text)) => {
            messages.push(Message::new(Role::User, text));
            return Ok(());
        }
        Some(Value::Array(items)) if !items.is_empty() || !messages.is_empty() => items,
        _ => return Err(ApiError::invalid("input", "`input`: expected text or a list of items".to_owned())),
    };
    for (i, item) in items.into_iter().enumerate() {
        let place = format!("input[{i}]");
        let Value::Object(item) = item else {
            return Err(ApiError::invalid(&place, format!("`{place}`: expected an object")));
        };
        read_item(&place, Fields::of(item), messages)?;
    }
    Ok(())
}

/// What the model said goes into one message, as long as nobody else says anything.
fn said(messages: &mut Vec<Message>) -> &mut Message {
    if messages.last().is_none_or(|last| last.role != Role::Assistant) {
        messages.push(Message::new(Role::Assistant, ""));
    }
    let last = messages.len() - 1;
    &mut messages[last]
}

fn read_item(place: &str, mut item: Fields, messages: &mut Vec<Message>) -> Result<(), ApiError> {
    let bad = |what: &str| Err(ApiError::invalid(place, format!("`{place}`: {what}")));
    let kind: Option<String> = item.take("type", "a type")?;
    item.drop_labels(&["id", "status"]);
    match kind.as_deref() {
        None | Some("message") => {
            let role: Option<String> = item.take("role", "a role")?;
            let text = match item.take::<Value>("content", "text or text parts")? {
                Some(Value::String(text)) => Some(text),
                Some(Value::Array(parts)) => {
                    parts.iter().map(part_text).collect::<Option<Vec<_>>>().map(|t| t.concat())
                }
                _ => None,
            };
            let Some(text) = text else { return bad("expected text or text parts as its content") };
            match role.as_deref() {
                Some("user") => messages.push(Message::new(Role::User, text)),
                Some("system" | "developer") => messages.push(Message::new(Role::System, text)),
                Some("assistant") => said(messages).content.push_str(&text),
                _ => return bad("expected the role user, assistant, system or developer"),
            }
        }
        Some("function_call") => {
            let id = item.take("call_id", "a text")?.unwrap_or_default();
            let name = item.take("name", "a text")?.unwrap_or_default();
            let arguments = item.take("arguments", "a text")?.unwrap_or_default();
            said(messages).calls.push(ToolCall { id, name, arguments });
        }
        Some("function_call_output") => {
            item.drop_labels(&["call_id"]);
            let text = match item.take::<Value>("output", "text or text parts")? {
                Some(Value::String(text)) => Some(text),
                Some(Value::Array(parts)) => {
                    parts.iter().map(part_text).collect::<Option<Vec<_>>>().map(|t| t.concat())
                }
                _ => None,
            };
            let Some(text) = text else { return bad("expected text or text parts as its output") };
            messages.push(Message::new(Role::Tool, text));
        }
        Some("reasoning") => {
            item.drop_labels(&["summary", "encrypted_content"]);
            let parts: Vec<Value> = item.take("content", "a list of parts")?.unwrap_or_default();
            let text: String = parts.iter().filter_map(|part| part.get("text")?.as_str()).collect();
            if !text.is_empty() {
                said(messages).reasoning = Some(text);
            }
        }
        _ => return bad("expected a message, a function_call, a function_call_output or reasoning"),
    }
    item.finish(&format!("{place}."))
}
