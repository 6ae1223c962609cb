//! `/v1/messages` and `/v1/messages/count_tokens`: Anthropic's API for conversations, by its own names.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};
use shoal_text::tools::ToolCall;
use shoal_text::{Effort, Message, Role, Thinking};

use crate::answer::{Ask, Messages, answer, read_body};
use crate::chat::{part_text, thinking_of_effort};
use crate::conversation::{Conversation, Turns};
use crate::error::ApiError;
use crate::fields::Fields;
use crate::generation::{Generation, Names};
use crate::guard::Caller;
use crate::state;
use crate::tools::{Choice, Toolbox, read_format};

const PATH: &str = "/v1/messages";

const NAMES: Names = Names { max_tokens: &["max_tokens"], stop: "stop_sequences" };

type Shared = State<Arc<state::State>>;

pub(crate) async fn create(State(state): Shared, request: Request) -> Result<Response, Response> {
    answer(state, request, ask).await.map_err(|error| error.respond_to(PATH, &HeaderMap::new()))
}

pub(crate) async fn count_tokens(State(state): Shared, request: Request) -> Result<Json<Value>, Response> {
    let count = async move {
        let body = read_body(&state, request).await?;
        let counted = tokio::task::spawn_blocking(move || {
            // The body's share of memory goes with it.
            let body = body;
            count(&state, Fields::parse(&body.bytes)?)
        });
        counted.await.map_err(|error| ApiError::internal(error.to_string()))?
    };
    let tokens = count.await.map_err(|error: ApiError| error.respond_to(PATH, &HeaderMap::new()))?;
    Ok(Json(json!({ "input_tokens": tokens })))
}

fn count(state: &state::State, mut fields: Fields) -> Result<usize, ApiError> {
    let mut conversation = read(&mut fields, state)?;
    Generation::check_model(&mut fields, state)?;
    finish(fields)?;
    Ok(conversation.prepare(state)?.tokens.len())
}

pub(crate) fn ask(state: &Arc<state::State>, mut fields: Fields, _: &Caller) -> Result<Ask, ApiError> {
    let conversation = read(&mut fields, state)?;
    if !fields.has("max_tokens") {
        return Err(ApiError::invalid(
            "max_tokens",
            "`max_tokens`: expected a number from 1, found none".to_owned(),
        ));
    }
    let mut generation = Generation::take(&mut fields, state, NAMES)?;
    generation.reports_progress = generation.stream;
    finish(fields)?;
    let call_texts = Arc::clone(&state.call_texts);
    conversation.ask(state, generation, |prepared| Messages::new(prepared.tokens.len(), call_texts))
}

/// Refuses what is left.
fn finish(mut fields: Fields) -> Result<(), ApiError> {
    fields.only("service_tier", &[json!("auto"), json!("standard_only")])?;
    // Prefixes are always cached; who asks for it gets it.
    fields.drop_labels(&["metadata", "cache_control"]);
    fields.finish()
}

fn read(fields: &mut Fields, state: &state::State) -> Result<Conversation, ApiError> {
    let mut turns = Turns::default();
    if let Some(system) = fields.take::<Value>("system", "text or text blocks")? {
        turns.push(Message::new(Role::System, texts("system", system)?));
    }
    let list = fields.take_objects("messages", "a list of messages")?;
    if list.is_empty() {
        let message = "`messages`: expected a list of messages, found none".to_owned();
        return Err(ApiError::invalid("messages", message));
    }
    for message in list {
        read_message(message, &mut turns, state)?;
    }
    let messages = turns.into_messages();
    let is_begun =
        messages.last().is_some_and(|message| message.role == Role::Assistant && message.calls.is_empty());
    let toolbox = toolbox(fields)?;
    let (thinking, reasoning_max) = thinking(fields)?;
    let mut format = None;
    let mut effort = Effort::default();
    if let Some(mut output) = fields.take_object("output_config")? {
        // Whether to reason at all says `thinking`.
        if let Some(asked) = output.take::<String>("effort", "an effort")? {
            effort = effort_of(&asked)?;
        }
        if let Some(asked) = output.take_object("format")? {
            format = read_format("output_config.format", asked)?;
        }
        output.finish()?;
    }
    let param = "messages";
    Ok(Conversation { param, messages, is_begun, toolbox, thinking, effort, reasoning_max, format })
}

/// How long to reason, in Anthropic's words.
fn effort_of(asked: &str) -> Result<Effort, ApiError> {
    let param = "output_config.effort";
    if !["low", "medium", "high", "xhigh", "max"].contains(&asked) {
        let message = format!("`{param}`: expected low, medium, high, xhigh or max");
        return Err(ApiError::invalid("output_config", message));
    }
    thinking_of_effort(param, asked).map(|(_, effort)| effort)
}

fn toolbox(fields: &mut Fields) -> Result<Toolbox, ApiError> {
    let mut toolbox = Toolbox::default();
    for (i, mut tool) in fields.take_objects("tools", "a list of tools")?.into_iter().enumerate() {
        tool.only("type", &[json!("custom")])?;
        let name = tool.take("name", "the name of a function")?;
        let description = tool.take("description", "a text")?;
        let schema = tool.take("input_schema", "a JSON schema")?;
        toolbox.is_strict |= tool.take("strict", "true or false")?.unwrap_or(false);
        tool.drop_labels(&["cache_control"]);
        tool.finish()?;
        toolbox.push(&format!("tools[{i}]"), name, description, schema)?;
    }
    if let Some(mut choice) = fields.take_object("tool_choice")? {
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
        choice.finish()?;
    }
    toolbox.check_choice("tool_choice")?;
    Ok(toolbox)
}

fn thinking(fields: &mut Fields) -> Result<(Thinking, Option<usize>), ApiError> {
    let Some(mut thinking) = fields.take_object("thinking")? else {
        return Ok((Thinking::Default, None));
    };
    let kind: Option<String> = thinking.take("type", "enabled, disabled or adaptive")?;
    let budget: Option<u32> = thinking.take("budget_tokens", "a number of tokens")?;
    thinking.only("display", &[json!("summarized")])?;
    thinking.finish()?;
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
fn read_message(mut fields: Fields, turns: &mut Turns, state: &state::State) -> Result<(), ApiError> {
    let place = fields.place("role");
    let role = match fields.take::<String>("role", "a role")?.as_deref() {
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("system") => Role::System,
        _ => return Err(ApiError::invalid(&place, format!("`{place}`: expected user or assistant"))),
    };
    if let Some(Value::String(_)) = fields.peek("content") {
        let text: String = fields.need("content", "a text")?;
        turns.push(Message::new(role, text));
        return fields.finish();
    }
    if !fields.has("content") {
        let place = fields.place("content");
        return Err(ApiError::invalid(
            &place,
            format!("`{place}`: expected text or a list of blocks, found none"),
        ));
    }
    let blocks = fields.take_objects("content", "text or a list of blocks")?;
    fields.finish()?;
    let mut message = Message::new(role, "");
    let mut results = 0;
    let count = blocks.len();
    for block in blocks {
        results += usize::from(read_block(block, &mut message, turns, state)?);
    }
    if results < count || count == 0 {
        turns.push(message);
    }
    Ok(())
}

/// Adds a block to the message that it is of, or, if it is the result of a tool, a message; says whether it was one.
fn read_block(
    mut block: Fields,
    message: &mut Message,
    turns: &mut Turns,
    state: &state::State,
) -> Result<bool, ApiError> {
    block.drop_labels(&["cache_control", "citations"]);
    let kind: Option<String> = block.take("type", "a type")?;
    let mut is_result = false;
    match (kind.as_deref(), message.role) {
        (Some("text"), _) => message.content.push_str(&block.need::<String>("text", "a text")?),
        (Some("thinking"), Role::Assistant) => {
            message.reasoning = Some(block.need("thinking", "a text")?);
            block.drop_labels(&["signature"]);
        }
        (Some("redacted_thinking"), Role::Assistant) => block.drop_labels(&["data"]),
        (Some("tool_use"), Role::Assistant) => {
            let id: String = block.need("id", "an id")?;
            let name = block.need("name", "a name")?;
            let input = Value::Object(block.need("input", "an object")?);
            let known = state.call_texts.get(&id, &input);
            let arguments = known.unwrap_or_else(|| shoal_text::tools::arguments_text(&input));
            message.calls.push(ToolCall { id, name, arguments });
        }
        (Some("tool_result"), Role::User) => {
            let id: String = block.need("tool_use_id", "the id of a use")?;
            let is_error = block.take("is_error", "true or false")?.unwrap_or(false);
            let content: Option<Value> = block.take("content", "text or text blocks")?;
            let text = texts(&block.place("content"), content.unwrap_or_else(|| json!("")))?;
            // The formats have no mark for it, so it is said.
            let text = if is_error { format!("Error: {text}") } else { text };
            turns.push_result(&block.place("tool_use_id"), Some(&id), text)?;
            is_result = true;
        }
        _ => {
            let place = block.place("type");
            let expected = "expected text, thinking, tool_use or tool_result, where they belong";
            return Err(ApiError::invalid(&place, format!("`{place}`: {expected}")));
        }
    }
    block.finish()?;
    Ok(is_result)
}

/// The text of a text, or of a list of text blocks.
fn texts(place: &str, value: Value) -> Result<String, ApiError> {
    let bad = || ApiError::invalid(place, format!("`{place}`: expected text or text blocks"));
    match value {
        Value::String(text) => Ok(text),
        Value::Array(blocks) => blocks
            .iter()
            .map(part_text)
            .collect::<Option<Vec<_>>>()
            .map(|texts| texts.concat())
            .ok_or_else(bad),
        _ => Err(bad()),
    }
}
