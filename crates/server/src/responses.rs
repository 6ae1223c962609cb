//! `/v1/responses`: OpenAI's newer API, whose conversations are lists of items and may be left with the server.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::{Extension, Json};
use serde_json::{Map, Value, json};
use shoal_text::tools::ToolCall;
use shoal_text::{Effort, Message, Role, Thinking};

use crate::answer::{Ask, Keeping, Responses, answer};
use crate::chat::{part_text, thinking_of_effort};
use crate::conversation::{Conversation, Turns};
use crate::error::ApiError;
use crate::fields::Fields;
use crate::generation::{Generation, Names};
use crate::guard::Caller;
use crate::state;
use crate::tools::{Format, Toolbox, read_format};

type Shared = State<Arc<state::State>>;

const NAMES: Names = Names { max_tokens: &["max_output_tokens"], stop: "stop" };

pub(crate) async fn create(State(state): Shared, request: Request) -> Result<Response, ApiError> {
    answer(state, request, ask).await
}

/// A response that was stored.
pub(crate) async fn get(
    State(state): Shared,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    let Path(id) = id.map_err(|_| missing("id", "?"))?;
    let stored = state.responses.get(&id, caller.as_bytes());
    let response = stored.and_then(|stored| serde_json::from_str(&stored.response).ok());
    response.map(Json).ok_or_else(|| missing("id", &id))
}

/// Forgets one.
pub(crate) async fn delete(
    State(state): Shared,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    let Path(id) = id.map_err(|_| missing("id", "?"))?;
    if state.responses.remove(&id, caller.as_bytes()) {
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

/// A number as people write it: 0.95 is nearest to no other f32, but not an f32 itself.
fn decimal(number: f32) -> Value {
    number.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

fn echoed(fields: &Fields, state: &state::State) -> Map<String, Value> {
    let usual = |name: &str| match name {
        "metadata" => json!({}),
        "parallel_tool_calls" | "store" => json!(true),
        "reasoning" => json!({ "effort": null, "summary": null }),
        "temperature" => decimal(state.sampling.temperature),
        "text" => json!({ "format": { "type": "text" } }),
        "tool_choice" => json!("auto"),
        "tools" => json!([]),
        "top_p" => decimal(state.sampling.top_p),
        _ => Value::Null,
    };
    let said = |name: &str| fields.peek(name).filter(|value| !value.is_null()).cloned();
    let mut echoed: Map<String, Value> =
        ECHOED.iter().map(|&name| (name.to_owned(), said(name).unwrap_or_else(|| usual(name)))).collect();
    echoed.insert("truncation".to_owned(), json!("disabled"));
    echoed
}

pub(crate) fn ask(state: &Arc<state::State>, mut fields: Fields, caller: &Caller) -> Result<Ask, ApiError> {
    if fields.peek("metadata").is_some_and(|metadata| !metadata.is_object() && !metadata.is_null()) {
        return Err(ApiError::invalid("metadata", "`metadata`: expected an object".to_owned()));
    }
    let mut echoed = echoed(&fields, state);
    let store = fields.take("store", "true or false")?.unwrap_or(true);
    let mut turns = Turns::default();
    if let Some(id) = fields.take::<String>("previous_response_id", "the id of a response")? {
        let previous = state
            .responses
            .get(&id, caller.as_bytes())
            .ok_or_else(|| missing("previous_response_id", &id))?;
        turns = Turns::after(previous.messages);
    }
    let input = fields.take::<Value>("input", "text or a list of items")?;
    read_input(input, &mut turns)?;
    let mut messages = turns.into_messages();
    let kept = messages.clone();
    // Instructions are this request's; they do not stay with the conversation.
    if let Some(instructions) = fields.take::<String>("instructions", "a text")? {
        messages.insert(0, Message::new(Role::System, instructions));
    }
    let toolbox = Toolbox::take(&mut fields)?;
    echoed.insert("tools".to_owned(), toolbox.to_json());
    let (thinking, effort) = reasoning(&mut fields)?;
    let format = text_format(&mut fields)?;
    let logprobs = logprobs(&mut fields)?;
    let mut generation = Generation::take(&mut fields, state, NAMES)?;
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
    fields.finish()?;
    let conversation = Conversation {
        param: "input",
        messages,
        is_begun: false,
        toolbox,
        thinking,
        effort,
        reasoning_max: None,
        format,
    };
    let owner = caller.as_bytes().to_vec();
    let keeping = store.then(|| Keeping { store: Arc::clone(&state.responses), owner, messages: kept });
    conversation
        .ask(state, generation, |_| Responses::new(&state.tokenizer, echoed, keeping, logprobs.is_some()))
}

/// Takes what the text of the answer must look like.
fn text_format(fields: &mut Fields) -> Result<Option<Format>, ApiError> {
    let Some(mut text) = fields.take_object("text")? else { return Ok(None) };
    let format = match text.take_object("format")? {
        Some(asked) => read_format("text.format", asked)?,
        None => None,
    };
    text.only("verbosity", &[json!("medium")])?;
    text.finish()?;
    Ok(format)
}

fn reasoning(fields: &mut Fields) -> Result<(Thinking, Effort), ApiError> {
    let usual = (Thinking::Default, Effort::default());
    let Some(mut reasoning) = fields.take_object("reasoning")? else { return Ok(usual) };
    let effort: Option<String> = reasoning.take("effort", "an effort")?;
    // Reasoning comes as it is, in full, whatever summary is asked for.
    reasoning.drop_labels(&["summary", "generate_summary"]);
    reasoning.finish()?;
    effort.map_or(Ok(usual), |effort| thinking_of_effort("reasoning.effort", &effort))
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
fn read_input(input: Option<Value>, turns: &mut Turns) -> Result<(), ApiError> {
    let items = match input {
        Some(Value::String(text)) => {
            turns.push(Message::new(Role::User, text));
            return Ok(());
        }
        Some(Value::Array(items)) if !items.is_empty() || !turns.messages().is_empty() => items,
        _ => return Err(ApiError::invalid("input", "`input`: expected text or a list of items".to_owned())),
    };
    for (i, item) in items.into_iter().enumerate() {
        let place = format!("input[{i}]");
        let Value::Object(item) = item else {
            return Err(ApiError::invalid(&place, format!("`{place}`: expected an object")));
        };
        read_item(Fields::of(&place, item), turns)?;
    }
    Ok(())
}

fn read_item(mut item: Fields, turns: &mut Turns) -> Result<(), ApiError> {
    let kind: Option<String> = item.take("type", "a type")?;
    item.drop_labels(&["id", "status"]);
    match kind.as_deref() {
        None | Some("message") => {
            let role: Option<String> = item.take("role", "a role")?;
            let text = text(&mut item, "content")?;
            match role.as_deref() {
                Some("user") => turns.push(Message::new(Role::User, text)),
                Some("system" | "developer") => turns.push(Message::new(Role::System, text)),
                Some("assistant") => turns.said().content.push_str(&text),
                _ => {
                    let place = item.place("role");
                    let expected = "expected user, assistant, system or developer";
                    return Err(ApiError::invalid(&place, format!("`{place}`: {expected}")));
                }
            }
        }
        Some("function_call") => {
            let id = item.need("call_id", "an id")?;
            let name = item.need("name", "a name")?;
            let arguments = item.need("arguments", "a text")?;
            turns.said().calls.push(ToolCall { id, name, arguments });
        }
        Some("function_call_output") => {
            let id: String = item.need("call_id", "the id of a call")?;
            let text = text(&mut item, "output")?;
            turns.push_result(&item.place("call_id"), Some(&id), text)?;
        }
        Some("reasoning") => {
            item.drop_labels(&["summary", "encrypted_content"]);
            let parts: Vec<Value> = item.take("content", "a list of parts")?.unwrap_or_default();
            let text: String = parts.iter().filter_map(|part| part.get("text")?.as_str()).collect();
            if !text.is_empty() {
                turns.said().reasoning = Some(text);
            }
        }
        _ => {
            let place = item.place("type");
            let expected = "expected message, function_call, function_call_output or reasoning";
            return Err(ApiError::invalid(&place, format!("`{place}`: {expected}")));
        }
    }
    item.finish()
}

/// A field that is a text, or a list of text parts.
fn text(item: &mut Fields, name: &str) -> Result<String, ApiError> {
    let place = item.place(name);
    let text = match item.take::<Value>(name, "text or text parts")? {
        Some(Value::String(text)) => Some(text),
        Some(Value::Array(parts)) => {
            parts.iter().map(part_text).collect::<Option<Vec<_>>>().map(|texts| texts.concat())
        }
        _ => None,
    };
    text.ok_or_else(|| ApiError::invalid(&place, format!("`{place}`: expected text or text parts")))
}
