//! The fields of a chat request, as OpenAI names them and as those who serve DeepSeek's models have added to them.

use serde_json::{Map, Number, Value, json};
use shoal_base::TokenId;
use shoal_engine::SamplingParams;
use shoal_text::{Message, Role, Thinking};

use crate::error::ApiError;
use crate::fields::Fields;
use crate::state::State;

/// Most stop texts of a request.
const STOPS_MAX: usize = 16;
/// Most bytes of a stop text.
const STOP_BYTES_MAX: usize = 256;
/// Most tokens with a bias.
const BIASES_MAX: usize = 1024;

/// Fields that say something about the caller or help to find a cache, and nothing about the answer.
const LABELS: [&str; 3] = ["user", "safety_identifier", "prompt_cache_key"];

/// A request whose fields have all been understood.
#[derive(Debug)]
pub(super) struct ChatRequest {
    pub(super) messages: Vec<Message>,
    pub(super) thinking: Thinking,
    pub(super) sampling: SamplingParams,
    pub(super) max_tokens: Option<usize>,
    pub(super) stop: Vec<String>,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
}

impl ChatRequest {
    pub(super) fn parse(body: &[u8], state: &State) -> Result<Self, ApiError> {
        let mut fields = Fields::parse(body)?;
        let model: Option<String> = fields.take("model", "the name of a model")?;
        if let Some(asked) = model.filter(|asked| *asked != state.name) {
            return Err(ApiError::no_model(&asked, &state.name));
        }
        let request = Self {
            messages: messages(&mut fields)?,
            thinking: thinking(&mut fields)?,
            sampling: sampling(&mut fields, &state.sampling, state.tokenizer.vocab_len())?,
            max_tokens: max_tokens(&mut fields)?,
            stop: stop(&mut fields)?,
            stream: fields.take("stream", "true or false")?.unwrap_or(false),
            include_usage: include_usage(&mut fields)?,
        };
        refuse_what_is_not_there(&mut fields)?;
        fields.drop_labels(&LABELS);
        fields.finish("")?;
        Ok(request)
    }
}

/// What this server cannot do yet may be asked for in the one way that means "do not".
fn refuse_what_is_not_there(fields: &mut Fields) -> Result<(), ApiError> {
    fields.only("n", &[json!(1)])?;
    fields.only("logprobs", &[json!(false)])?;
    fields.only("top_logprobs", &[json!(0)])?;
    fields.only("tools", &[json!([])])?;
    fields.only("tool_choice", &[json!("none"), json!("auto")])?;
    // Without tools there are no calls, in parallel or not.
    fields.only("parallel_tool_calls", &[json!(true), json!(false)])?;
    fields.only("response_format", &[json!({"type": "text"})])?;
    fields.only("modalities", &[json!(["text"])])?;
    fields.only("store", &[json!(false)])?;
    fields.only("service_tier", &[json!("auto"), json!("default")])
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

fn sampling(
    fields: &mut Fields,
    usual: &SamplingParams,
    vocab_len: usize,
) -> Result<SamplingParams, ApiError> {
    let mut sampling = usual.clone();
    for (name, value) in [
        ("temperature", &mut sampling.temperature),
        ("top_p", &mut sampling.top_p),
        ("min_p", &mut sampling.min_p),
        ("repeat_penalty", &mut sampling.repeat_penalty),
        ("frequency_penalty", &mut sampling.frequency_penalty),
        ("presence_penalty", &mut sampling.presence_penalty),
    ] {
        *value = fields.take(name, "a number")?.unwrap_or(*value);
    }
    // What vLLM calls it.
    let repetition = fields.take("repetition_penalty", "a number")?;
    sampling.repeat_penalty = repetition.unwrap_or(sampling.repeat_penalty);
    sampling.top_k = fields.take("top_k", "a number, 0 for all")?.unwrap_or(sampling.top_k);
    if let Some(seed) = fields.take::<Number>("seed", "a whole number")? {
        let whole = seed.as_u64().or_else(|| seed.as_i64().map(i64::cast_unsigned));
        let bad = || ApiError::invalid("seed", format!("`seed`: expected a whole number, found {seed}"));
        sampling.seed = whole.ok_or_else(bad)?;
    }
    let biases: Option<Map<String, Value>> =
        fields.take("logit_bias", "an object of token ids and numbers")?;
    for (id, bias) in biases.unwrap_or_default() {
        let token = id.parse().ok().filter(|&id: &u32| (id as usize) < vocab_len);
        let (Some(token), Some(bias)) = (token, bias.as_f64()) else {
            let message = format!("`logit_bias`: expected ids below {vocab_len} and numbers");
            return Err(ApiError::invalid("logit_bias", message));
        };
        sampling.logit_bias.push((TokenId(token), bias as f32));
    }
    if sampling.logit_bias.len() > BIASES_MAX {
        let message = format!("`logit_bias`: expected at most {BIASES_MAX} tokens");
        return Err(ApiError::invalid("logit_bias", message));
    }
    sampling.check().map_err(|error| match error {
        shoal_engine::Error::BadSampling { name, .. } => ApiError::invalid(name, error.to_string()),
        other => ApiError::internal(other.to_string()),
    })?;
    Ok(sampling)
}

fn max_tokens(fields: &mut Fields) -> Result<Option<usize>, ApiError> {
    let mut most = None;
    for name in ["max_completion_tokens", "max_tokens"] {
        let found: Option<u32> = fields.take(name, "a number from 1")?;
        if found == Some(0) {
            return Err(ApiError::invalid(name, format!("`{name}`: expected a number from 1, found 0")));
        }
        most = most.or(found);
    }
    Ok(most.map(|most| most as usize))
}

fn stop(fields: &mut Fields) -> Result<Vec<String>, ApiError> {
    let expected = format!("a text, or at most {STOPS_MAX}, each of at most {STOP_BYTES_MAX} bytes");
    let bad = || ApiError::invalid("stop", format!("`stop`: expected {expected}"));
    let stops = match fields.take::<Value>("stop", &expected)? {
        None => Vec::new(),
        Some(Value::String(stop)) => vec![stop],
        Some(other) => serde_json::from_value::<Vec<String>>(other).map_err(|_| bad())?,
    };
    if stops.len() > STOPS_MAX || stops.iter().any(|stop| stop.len() > STOP_BYTES_MAX) {
        return Err(bad());
    }
    Ok(stops)
}

fn include_usage(fields: &mut Fields) -> Result<bool, ApiError> {
    let options: Option<Map<String, Value>> = fields.take("stream_options", "an object")?;
    let Some(mut options) = options.map(Fields::of) else { return Ok(false) };
    let include = options.take("include_usage", "true or false")?.unwrap_or(false);
    options.only("include_obfuscation", &[json!(false)])?;
    options.finish("stream_options.")?;
    Ok(include)
}
