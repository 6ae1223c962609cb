//! `/v1/chat/completions`: a conversation in, the next message out. Its fields as OpenAI names them and as those who serve
//! DeepSeek's models have added to them.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Map, Value, json};
use shoal_text::{Message, Role, Thinking};

use crate::answer::{Form, answer};
use crate::error::ApiError;
use crate::fields::Fields;
use crate::generation::{Generation, refuse_what_is_not_there};
use crate::state;

pub(crate) async fn completions(
    State(state): State<Arc<state::State>>,
    request: Request,
) -> Result<Response, ApiError> {
    answer(state, request, ask).await
}

/// A request whose fields have all been understood.
#[derive(Debug)]
struct ChatRequest {
    messages: Vec<Message>,
    thinking: Thinking,
    generation: Generation,
}

fn ask(state: &state::State, fields: Fields) -> Result<crate::answer::Ask, ApiError> {
    let ChatRequest { messages, thinking, generation } = ChatRequest::read(fields, state)?;
    let (prompt, tokens) = state.render(&messages, thinking)?;
    let is_thinking = match thinking {
        Thinking::On => true,
        Thinking::Off => false,
        Thinking::Default => prompt.reasoning_open,
    };
    let reasoning_open = state.splits_reasoning().then_some(prompt.reasoning_open);
    Ok(crate::answer::Ask {
        form: Form::Chat { is_thinking },
        param: "messages",
        tokens,
        reasoning_open,
        generation,
    })
}

impl ChatRequest {
    fn read(mut fields: Fields, state: &state::State) -> Result<Self, ApiError> {
        let request = Self {
            messages: messages(&mut fields)?,
            thinking: thinking(&mut fields)?,
            generation: Generation::take(&mut fields, state)?,
        };
        fields.only("logprobs", &[json!(false)])?;
        fields.only("top_logprobs", &[json!(0)])?;
        fields.only("tools", &[json!([])])?;
        fields.only("tool_choice", &[json!("none"), json!("auto")])?;
        // Without tools there are no calls, in parallel or not.
        fields.only("parallel_tool_calls", &[json!(true), json!(false)])?;
        fields.only("response_format", &[json!({"type": "text"})])?;
        fields.only("modalities", &[json!(["text"])])?;
        refuse_what_is_not_there(fields)?;
        Ok(request)
    }
}

fn messages(fields: &mut Fields) -> Result<Vec<Message>, ApiError> {
    let expected = "a list of messages";
    let list: Option<Vec<Map<String, Value>>> = fields.take("messages", expected)?;
    let list = list.filter(|list| !list.is_empty()).ok_or_else(|| {
        ApiError::invalid("messages", format!("`messages`: expected {expected}, found none"))
    })?;
    list.into_iter().enumerate().map(|(i, message)| read_message(i, Fields::of(message))).collect()
}

fn read_message(i: usize, mut fields: Fields) -> Result<Message, ApiError> {
    let place = |name: &str| format!("messages[{i}].{name}");
    let bad = |name: &str, message: String| {
        let place = place(name);
        Err(ApiError::invalid(&place, format!("`{place}`: {message}")))
    };
    let role: Option<String> = fields.take("role", "a role")?;
    let role = match role.as_deref() {
        Some("system" | "developer") => Role::System,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("tool" | "function") => {
            return bad("role", "tools are not supported by this server yet".to_owned());
        }
        _ => return bad("role", "expected system, developer, user or assistant".to_owned()),
    };
    let content = match fields.take::<Value>("content", "text")? {
        Some(Value::String(text)) => text,
        Some(Value::Array(parts)) => match parts.iter().map(part_text).collect::<Option<Vec<_>>>() {
            Some(texts) => texts.concat(),
            None => {
                return bad("content", "expected text parts, `{\"type\": \"text\", \"text\": …}`".to_owned());
            }
        },
        None if role == Role::Assistant => String::new(),
        _ => return bad("content", "expected text".to_owned()),
    };
    let reasoning: Option<String> = fields.take("reasoning_content", "text")?;
    let other: Option<String> = fields.take("reasoning", "text")?;
    fields.only("tool_calls", &[json!([])])?;
    fields.only("refusal", &[])?;
    fields.only("prefix", &[json!(false)])?;
    // The model's formats have no place for names.
    fields.only("name", &[])?;
    fields.finish(&format!("messages[{i}]."))?;
    Ok(Message { role, content, reasoning: reasoning.or(other).filter(|_| role == Role::Assistant) })
}

/// The text of a part of a message; `None` if it is something else.
fn part_text(part: &Value) -> Option<&str> {
    let part = part.as_object()?;
    (part.get("type")? == "text" && part.len() == 2).then(|| part.get("text")?.as_str())?
}

/// Whether to reason, in any of the ways that clients say it; they must agree.
fn thinking(fields: &mut Fields) -> Result<Thinking, ApiError> {
    let mut said: Vec<(&str, bool)> = Vec::new();
    if let Some(mut object) = fields.take::<Map<String, Value>>("thinking", "an object")?.map(Fields::of) {
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
        object.finish("thinking.")?;
    }
    if let Some(effort) = fields.take::<String>("reasoning_effort", "an effort")? {
        match effort.as_str() {
            "none" => said.push(("reasoning_effort", false)),
            "minimal" | "low" | "medium" | "high" | "xhigh" | "max" => said.push(("reasoning_effort", true)),
            _ => {
                let expected = "none, minimal, low, medium, high, xhigh or max";
                let message = format!("`reasoning_effort`: expected {expected}");
                return Err(ApiError::invalid("reasoning_effort", message));
            }
        }
    }
    said.extend(fields.take("enable_thinking", "true or false")?.map(|on| ("enable_thinking", on)));
    let kwargs: Option<Map<String, Value>> = fields.take("chat_template_kwargs", "an object")?;
    if let Some(mut kwargs) = kwargs.map(Fields::of) {
        for name in ["thinking", "enable_thinking"] {
            said.extend(kwargs.take(name, "true or false")?.map(|on| ("chat_template_kwargs", on)));
        }
        kwargs.finish("chat_template_kwargs.")?;
    }
    match said.as_slice() {
        [] => Ok(Thinking::Default),
        [(first, on), rest @ ..] => match rest.iter().find(|(_, other)| other != on) {
            None => Ok(if *on { Thinking::On } else { Thinking::Off }),
            Some((other, _)) => {
                let message = format!("`{first}` and `{other}` disagree about reasoning; say it once");
                Err(ApiError::invalid(other, message))
            }
        },
    }
}
