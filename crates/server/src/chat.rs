//! `/v1/chat/completions`: a conversation in, the next message out. Its fields as OpenAI names them and as those who serve
//! DeepSeek's models have added to them.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Value, json};
use shoal_text::tools::ToolCall;
use shoal_text::{Effort, Message, Role, Thinking};

use crate::answer::{Ask, Chat, answer};
use crate::conversation::{Conversation, Turns};
use crate::error::ApiError;
use crate::fields::Fields;
use crate::generation::{Generation, Names, refuse_what_is_not_there};
use crate::guard::Caller;
use crate::state;
use crate::tools::{Toolbox, take_format};

const NAMES: Names = Names { max_tokens: &["max_completion_tokens", "max_tokens"], stop: "stop" };

/// Most likely tokens that are told of, for each token.
const TOP_LOGPROBS_MAX: usize = 20;

pub(crate) async fn completions(
    State(state): State<Arc<state::State>>,
    request: Request,
) -> Result<Response, ApiError> {
    answer(state, request, ask).await
}

pub(crate) fn ask(state: &Arc<state::State>, mut fields: Fields, _: &Caller) -> Result<Ask, ApiError> {
    let (messages, is_begun) = messages(&mut fields)?;
    let toolbox = Toolbox::take(&mut fields)?;
    let (thinking, effort) = thinking(&mut fields)?;
    let reasoning_max = fields.take("thinking_token_budget", "a number of tokens")?;
    let format = take_format(&mut fields)?;
    let logprobs = logprobs(&mut fields)?;
    let mut generation = Generation::take(&mut fields, state, NAMES)?;
    generation.take_choices(&mut fields)?;
    generation.logprobs = logprobs;
    fields.only("modalities", &[json!(["text"])])?;
    fields.only("verbosity", &[json!("medium")])?;
    refuse_what_is_not_there(fields)?;
    let param = "messages";
    let conversation =
        Conversation { param, messages, is_begun, toolbox, thinking, effort, reasoning_max, format };
    let Generation { include_usage, count, .. } = generation;
    conversation.ask(state, generation, |prepared| {
        Chat::new(&state.tokenizer, prepared.is_thinking, include_usage, logprobs.is_some(), count)
    })
}

fn logprobs(fields: &mut Fields) -> Result<Option<usize>, ApiError> {
    let wanted: bool = fields.take("logprobs", "true or false")?.unwrap_or(false);
    let top: Option<usize> = fields.take("top_logprobs", "a number")?;
    check_top_logprobs("top_logprobs", top)?;
    if !wanted && top.is_some_and(|top| top > 0) {
        let message = "`top_logprobs` goes with `logprobs`; ask for both".to_owned();
        return Err(ApiError::invalid("top_logprobs", message));
    }
    Ok(wanted.then(|| top.unwrap_or(0)))
}

/// Whether so many likely tokens may be asked for.
pub(crate) fn check_top_logprobs(param: &str, top: Option<usize>) -> Result<(), ApiError> {
    match top {
        Some(top) if top > TOP_LOGPROBS_MAX => {
            let message = format!("`{param}`: expected a number up to {TOP_LOGPROBS_MAX}, found {top}");
            Err(ApiError::invalid(param, message))
        }
        _ => Ok(()),
    }
}

/// The messages, and whether the last is the beginning of the answer.
fn messages(fields: &mut Fields) -> Result<(Vec<Message>, bool), ApiError> {
    let list = fields.take_objects("messages", "a list of messages")?;
    if list.is_empty() {
        let message = "`messages`: expected a list of messages, found none".to_owned();
        return Err(ApiError::invalid("messages", message));
    }
    let last = list.len() - 1;
    let mut is_begun = false;
    let mut turns = Turns::default();
    for (i, message) in list.into_iter().enumerate() {
        let place = message.place("prefix");
        let is_prefix = read_message(message, &mut turns)?;
        if is_prefix && i < last {
            return Err(ApiError::invalid(
                &place,
                format!("`{place}`: only the last message can be a prefix"),
            ));
        }
        is_begun |= is_prefix;
    }
    let messages = turns.into_messages();
    // What vLLM calls it.
    is_begun |= fields.take("continue_final_message", "true or false")?.unwrap_or(false);
    fields.only("add_generation_prompt", &[json!(!is_begun)])?;
    if is_begun && messages.last().is_none_or(|last| last.role != Role::Assistant) {
        let message = "`continue_final_message`: the last message is not the assistant's".to_owned();
        return Err(ApiError::invalid("continue_final_message", message));
    }
    Ok((messages, is_begun))
}

/// Adds a message; says whether it is the beginning of the answer.
fn read_message(mut fields: Fields, turns: &mut Turns) -> Result<bool, ApiError> {
    let bad = |place: String, message: &str| Err(ApiError::invalid(&place, format!("`{place}`: {message}")));
    let role: Option<String> = fields.take("role", "a role")?;
    let role = match role.as_deref() {
        Some("system" | "developer") => Role::System,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("tool") => Role::Tool,
        // DeepSeek's name for what V4 is reminded of.
        Some("latest_reminder") => Role::Reminder,
        _ => return bad(fields.place("role"), "expected system, developer, user, assistant or tool"),
    };
    let content = match fields.take::<Value>("content", "text")? {
        Some(Value::String(text)) => text,
        Some(Value::Array(parts)) => match parts.iter().map(part_text).collect::<Option<Vec<_>>>() {
            Some(texts) => texts.concat(),
            None => {
                let expected = "expected text parts, `{\"type\": \"text\", \"text\": …}`";
                return bad(fields.place("content"), expected);
            }
        },
        None if role == Role::Assistant => String::new(),
        _ => return bad(fields.place("content"), "expected text"),
    };
    if role != Role::Assistant {
        fields.only("reasoning_content", &[])?;
        fields.only("reasoning", &[])?;
    }
    let reasoning: Option<String> = fields.take("reasoning_content", "text")?;
    let other: Option<String> = fields.take("reasoning", "text")?;
    if reasoning.is_some() && other.is_some() && reasoning != other {
        return bad(fields.place("reasoning"), "`reasoning_content` says something else; say it once");
    }
    let calls = calls(&mut fields)?;
    if !calls.is_empty() && role != Role::Assistant {
        return bad(fields.place("tool_calls"), "only the assistant calls tools");
    }
    let is_prefix = fields.take("prefix", "true or false")?.unwrap_or(false);
    if is_prefix && role != Role::Assistant {
        return bad(fields.place("prefix"), "only a message of the assistant can be continued");
    }
    if role == Role::Tool {
        let id: Option<String> = fields.take("tool_call_id", "the id of a call")?;
        turns.push_result(&fields.place("tool_call_id"), id.as_deref(), content)?;
        fields.drop_labels(&["name"]);
        fields.finish()?;
        return Ok(false);
    }
    fields.only("refusal", &[])?;
    // The models' formats have no place for names.
    fields.only("name", &[])?;
    fields.finish()?;
    turns.push(Message { reasoning: reasoning.or(other), calls, ..Message::new(role, content) });
    Ok(is_prefix)
}

/// The calls of a message of the assistant.
fn calls(fields: &mut Fields) -> Result<Vec<ToolCall>, ApiError> {
    let read = |mut call: Fields| {
        call.only("type", &[json!("function")])?;
        call.drop_labels(&["index"]);
        let id = call.take("id", "a text")?.unwrap_or_default();
        let mut function = call.take_object("function")?.ok_or_else(|| {
            let place = call.place("function");
            ApiError::invalid(&place, format!("`{place}`: expected an object, found none"))
        })?;
        call.finish()?;
        let name = function.need("name", "a name")?;
        let arguments = function.take("arguments", "a text")?.unwrap_or_default();
        function.finish()?;
        Ok(ToolCall { id, name, arguments })
    };
    fields.take_objects("tool_calls", "a list of calls")?.into_iter().map(read).collect()
}

/// The text of a part of a message; `None` if it is something else.
pub(crate) fn part_text(part: &Value) -> Option<&str> {
    let part = part.as_object()?;
    let kind = part.get("type")?.as_str()?;
    matches!(kind, "text" | "input_text" | "output_text" | "refusal").then_some(())?;
    let mut others = part.keys().map(String::as_str);
    let known =
        |name| matches!(name, "type" | "text" | "refusal" | "annotations" | "logprobs" | "cache_control");
    others.all(known).then(|| part.get("text").or_else(|| part.get("refusal"))?.as_str())?
}

/// Whether to reason and how long, by an effort. V4 knows three degrees, other models none.
pub(crate) fn thinking_of_effort(param: &str, effort: &str) -> Result<(Thinking, Effort), ApiError> {
    match effort {
        "none" => Ok((Thinking::Off, Effort::default())),
        "minimal" | "low" => Ok((Thinking::On, Effort::Low)),
        "medium" | "high" | "xhigh" => Ok((Thinking::On, Effort::High)),
        "max" | "ultra" => Ok((Thinking::On, Effort::Max)),
        _ => {
            let expected = "none, minimal, low, medium, high, xhigh, max or ultra";
            Err(ApiError::invalid(param, format!("`{param}`: expected {expected}")))
        }
    }
}

/// Whether to reason and how long, in any of the ways that clients say it; they must agree.
fn thinking(fields: &mut Fields) -> Result<(Thinking, Effort), ApiError> {
    let mut said: Vec<(&str, bool)> = Vec::new();
    let mut effort = Effort::default();
    if let Some(mut object) = fields.take_object("thinking")? {
        let kind: Option<String> = object.take("type", "enabled or disabled")?;
        match kind.as_deref() {
            Some("enabled") => said.push(("thinking", true)),
            Some("disabled") => said.push(("thinking", false)),
            _ => {
                return Err(ApiError::invalid(
                    "thinking",
                    "`thinking.type`: expected enabled or disabled".to_owned(),
                ));
            }
        }
        object.finish()?;
    }
    if let Some(asked) = fields.take::<String>("reasoning_effort", "an effort")? {
        let thinking;
        (thinking, effort) = thinking_of_effort("reasoning_effort", &asked)?;
        said.push(("reasoning_effort", thinking == Thinking::On));
    }
    said.extend(fields.take("enable_thinking", "true or false")?.map(|on| ("enable_thinking", on)));
    if let Some(mut kwargs) = fields.take_object("chat_template_kwargs")? {
        for name in ["thinking", "enable_thinking"] {
            said.extend(kwargs.take(name, "true or false")?.map(|on| ("chat_template_kwargs", on)));
        }
        kwargs.finish()?;
    }
    match said.as_slice() {
        [] => Ok((Thinking::Default, effort)),
        [(first, on), rest @ ..] => match rest.iter().find(|(_, other)| other != on) {
            None => Ok((if *on { Thinking::On } else { Thinking::Off }, effort)),
            Some((other, _)) => {
                let message = format!("`{first}` and `{other}` disagree about reasoning; say it once");
                Err(ApiError::invalid(other, message))
            }
        },
    }
}
