//! `/v1/messages` and `/v1/messages/count_tokens`: Anthropic's API for conversations, by its own names.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Map, Value, json};
use shoal_text::tools::ToolCall;
use shoal_text::{Message, Role, Thinking};

use crate::answer::{Ask, Messages, answer, check_len, read_body};
use crate::conversation::Conversation;
use crate::error::ApiError;
use crate::fields::Fields;
use crate::generation::Generation;
use crate::state;
use crate::tools::{Choice, Toolbox, read_format};

const PATH: &str = "/v1/messages";

type Shared = State<Arc<state::State>>;

pub(crate) async fn create(State(state): Shared, request: Request) -> Result<Response, Response> {
    answer(state, request, ask).await.map_err(|error| error.respond_to(PATH))
}

pub(crate) async fn count_tokens(State(state): Shared, request: Request) -> Result<Json<Value>, Response> {
    let count = async move {
        let body = read_body(&state, request).await?;
        let counted = tokio::task::spawn_blocking(move || count(&state, Fields::parse(&body.bytes)?));
        counted.await.map_err(|error| ApiError::internal(error.to_string()))?
    };
    let tokens = count.await.map_err(|error: ApiError| error.respond_to(PATH))?;
    Ok(Json(json!({ "input_tokens": tokens })))
}

fn count(state: &state::State, mut fields: Fields) -> Result<usize, ApiError> {
    let mut conversation = read(&mut fields)?;
    Generation::check_model(&mut fields, state)?;
    finish(fields)?;
    Ok(conversation.prepare(state)?.tokens.len())
}

pub(crate) fn ask(state: &Arc<state::State>, mut fields: Fields) -> Result<Ask, ApiError> {
    let mut conversation = read(&mut fields)?;
    fields.rename("stop_sequences", "stop");
    if !fields.has("max_tokens") {
        return Err(ApiError::invalid(
            "max_tokens",
            "`max_tokens`: expected a number from 1, found none".to_owned(),
        ));
    }
    let mut generation = Generation::take(&mut fields, state)?;
    generation.reports_progress = generation.stream;
    finish(fields)?;
    let prepared = conversation.prepare(state)?;
    check_len(state, conversation.param, prepared.tokens.len())?;
    let bounds = vec![conversation.bounds(state, &prepared)?];
    Ok(Ask {
        form: Messages::new(prepared.tokens.len()),
        param: conversation.param,
        tokens: prepared.tokens,
        reasoning_open: state.splits_reasoning().then_some(prepared.reasoning_open),
        has_calls: conversation.has_calls(),
        bounds,
        generation,
    })
}

/// Refuses what is left.
fn finish(mut fields: Fields) -> Result<(), ApiError> {
    fields.only("service_tier", &[json!("auto"), json!("standard_only")])?;
    // Prefixes are always cached; who asks for it gets it.
    fields.drop_labels(&["metadata", "cache_control"]);
    fields.finish("")
}

fn read(fields: &mut Fields) -> Result<Conversation, ApiError> {
    let mut messages = Vec::new();
    if let Some(system) = fields.take::<Value>("system", "text or text blocks")? {
        let text = texts("system", system)?;
        messages.push(Message::new(Role::System, text));
    }
    let list: Vec<Map<String, Value>> = fields.take("messages", "a list of messages")?.unwrap_or_default();
    if list.is_empty() {
        return Err(ApiError::invalid(
            "messages",
            "`messages`: expected a list of messages, found none".to_owned(),
        ));
    }
    for (i, message) in list.into_iter().enumerate() {
        read_message(i, Fields::of(message), &mut messages)?;
    }
    let is_begun =
        messages.last().is_some_and(|message| message.role == Role::Assistant && message.calls.is_empty());
    let toolbox = toolbox(fields)?;
    let (thinking, reasoning_max) = thinking(fields)?;
    let mut shape = None;
    let mut effort = None;
    if let Some(output) = fields.take::<Map<String, Value>>("output_config", "an object")? {
        let mut output = Fields::of(output);
        effort = output.take::<String>("effort", "an effort")?;
        if let Some(format) = output.take::<Map<String, Value>>("format", "an object with a type")? {
            shape = read_format("output_config.format", Fields::of(format))?;
        }
        output.finish("output_config.")?;
    }
    if effort.as_deref().is_some_and(|effort| !["low", "medium", "high", "xhigh", "max"].contains(&effort)) {
        let message = "`output_config.effort`: expected low, medium, high, xhigh or max".to_owned();
        return Err(ApiError::invalid("output_config", message));
    }
    Ok(Conversation { param: "messages", messages, is_begun, toolbox, thinking, reasoning_max, shape })
}

fn toolbox(fields: &mut Fields) -> Result<Toolbox, ApiError> {
    let mut toolbox = Toolbox::default();
    let list: Vec<Map<String, Value>> = fields.take("tools", "a list of tools")?.unwrap_or_default();
    for (i, tool) in list.into_iter().enumerate() {
        let place = format!("tools[{i}]");
        let mut tool = Fields::of(tool);
        tool.only("type", &[json!("custom")])?;
        let name = tool.take("name", "the name of a function")?;
        let description = tool.take("description", "a text")?;
        let schema = tool.take("input_schema", "a JSON schema")?;
        toolbox.is_strict |= tool.take("strict", "true or false")?.unwrap_or(false);
        tool.drop_labels(&["cache_control"]);
        tool.finish(&format!("{place}."))?;
        toolbox.push(&place, name, description, schema)?;
    }
    if let Some(choice) = fields.take::<Map<String, Value>>("tool_choice", "an object with a type")? {
        let mut choice = Fields::of(choice);
        let kind: Option<String> = choice.take("type", "a type")?;
        let name: Option<String> = choice.take("name", "the name of a function")?;
        toolbox.choice = match (kind.as_deref(), name) {
            (Some("auto"), None) => Choice::Auto,
            (Some("any"), None) => Choice::Any,
            (Some("none"), None) => Choice::Never,
            (Some("tool"), Some(name)) => Choice::Named(name),
            _ => {
                let message =
                    "`tool_choice`: expected the type auto, any, none, or tool with a name".to_owned();
                return Err(ApiError::invalid("tool_choice", message));
            }
        };
        toolbox.is_parallel = !choice.take("disable_parallel_tool_use", "true or false")?.unwrap_or(false);
        choice.finish("tool_choice.")?;
    }
    toolbox.check_choice("tool_choice")?;
    Ok(toolbox)
}

fn thinking(fields: &mut Fields) -> Result<(Thinking, Option<usize>), ApiError> {
    let Some(thinking) = fields.take::<Map<String, Value>>("thinking", "an object with a type")? else {
        return Ok((Thinking::Default, None));
    };
    let mut thinking = Fields::of(thinking);
    let kind: Option<String> = thinking.take("type", "enabled, disabled or adaptive")?;
    let budget: Option<u32> = thinking.take("budget_tokens", "a number of tokens")?;
    thinking.only("display", &[json!("summarized"), json!("full")])?;
    thinking.finish("thinking.")?;
    match kind.as_deref() {
        Some("enabled") => Ok((Thinking::On, budget.map(|budget| budget as usize))),
        Some("adaptive") => Ok((Thinking::Default, budget.map(|budget| budget as usize))),
        Some("disabled") => Ok((Thinking::Off, None)),
        _ => {
            let message = "`thinking.type`: expected enabled, disabled or adaptive".to_owned();
            Err(ApiError::invalid("thinking", message))
        }
    }
}

/// Adds the messages that one of Anthropic's is: results of tools are parts of a user's.
fn read_message(i: usize, mut fields: Fields, messages: &mut Vec<Message>) -> Result<(), ApiError> {
    let place = format!("messages[{i}]");
    let bad = |what: &str| Err(ApiError::invalid(&place, format!("`{place}`: {what}")));
    let role = match fields.take::<String>("role", "a role")?.as_deref() {
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("system") => Role::System,
        _ => return bad("expected the role user or assistant"),
    };
    let content = fields.take::<Value>("content", "text or blocks")?;
    fields.finish(&format!("{place}."))?;
    let blocks = match content {
        Some(Value::String(text)) => {
            messages.push(Message::new(role, text));
            return Ok(());
        }
        Some(Value::Array(blocks)) => blocks,
        _ => return bad("expected text or a list of blocks as its content"),
    };
    let mut message = Message::new(role, "");
    let mut results = 0;
    let count = blocks.len();
    for (j, block) in blocks.into_iter().enumerate() {
        let place = format!("{place}.content[{j}]");
        let Value::Object(block) = block else {
            return Err(ApiError::invalid(&place, format!("`{place}`: expected an object with a type")));
        };
        let mut block = Fields::of(block);
        block.drop_labels(&["cache_control", "citations"]);
        let kind: Option<String> = block.take("type", "a type")?;
        match (kind.as_deref(), role) {
            (Some("text"), _) => {
                let text: Option<String> = block.take("text", "a text")?;
                message.content.push_str(&text.unwrap_or_default());
            }
            (Some("thinking"), Role::Assistant) => {
                message.reasoning = block.take("thinking", "a text")?;
                block.drop_labels(&["signature"]);
            }
            (Some("redacted_thinking"), Role::Assistant) => block.drop_labels(&["data"]),
            (Some("tool_use"), Role::Assistant) => {
                let id = block.take("id", "a text")?.unwrap_or_default();
                let name = block.take("name", "a text")?.unwrap_or_default();
                let input: Option<Value> = block.take("input", "an object")?;
                let arguments = shoal_text::tools::arguments_text(&input.unwrap_or_else(|| json!({})));
                message.calls.push(ToolCall { id, name, arguments });
            }
            (Some("tool_result"), Role::User) => {
                block.drop_labels(&["tool_use_id", "is_error"]);
                let content: Option<Value> = block.take("content", "text or text blocks")?;
                let text = texts(&format!("{place}.content"), content.unwrap_or_else(|| json!("")))?;
                messages.push(Message::new(Role::Tool, text));
                results += 1;
            }
            _ => {
                let message = format!(
                    "`{place}.type`: expected text, thinking, tool_use or tool_result, where they belong"
                );
                return Err(ApiError::invalid(&place, message));
            }
        }
        block.finish(&format!("{place}."))?;
    }
    if results < count || count == 0 {
        messages.push(message);
    }
    Ok(())
}

/// The text of a text, or of a list of text blocks.
fn texts(place: &str, value: Value) -> Result<String, ApiError> {
    let bad = || ApiError::invalid(place, format!("`{place}`: expected text or text blocks"));
    match value {
        Value::String(text) => Ok(text),
        Value::Array(blocks) => {
            let text = |block: &Value| {
                let is_text = block.get("type")? == "text";
                is_text.then(|| block.get("text")?.as_str().map(str::to_owned))?
            };
            blocks.iter().map(text).collect::<Option<Vec<_>>>().map(|texts| texts.concat()).ok_or_else(bad)
        }
        _ => Err(bad()),
    }
}
