//! The fields that every request for text has: how tokens are chosen, when the answer ends, how it is sent.

use serde_json::{Map, Number, Value, json};
use shoal_base::TokenId;
use shoal_engine::SamplingParams;

use crate::error::ApiError;
use crate::fields::Fields;
use crate::state::State;

/// Most stop texts of a request.
const STOPS_MAX: usize = 16;
/// Most bytes of a stop text.
const STOP_BYTES_MAX: usize = 256;
/// Most tokens with a bias.
const BIASES_MAX: usize = 1024;

/// What an API calls the fields that have several names.
#[derive(Clone, Copy)]
pub(crate) struct Names {
    /// The most tokens of an answer; of several only one may be there.
    pub(crate) max_tokens: &'static [&'static str],
    /// The texts that end it.
    pub(crate) stop: &'static str,
}

/// Most answers to one request.
const COUNT_MAX: usize = 16;

/// Fields that say something about the caller or help to find a cache, and nothing about the answer.
const LABELS: [&str; 5] =
    ["user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "metadata"];

/// How an answer is to be made and sent.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) sampling: SamplingParams,
    pub(crate) max_tokens: Option<usize>,
    pub(crate) stop: Vec<String>,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    /// Whether a stream says how far the prompt is read.
    pub(crate) reports_progress: bool,
    /// How many answers.
    pub(crate) count: usize,
    /// For each token of the answer, how likely it and this many others were.
    pub(crate) logprobs: Option<usize>,
    /// Under what this caller's prompts are kept for later ones.
    pub(crate) cache_salt: Vec<u8>,
}

impl Generation {
    /// Takes the name of the model.
    ///
    /// # Errors
    /// If it is another's.
    pub(crate) fn check_model(fields: &mut Fields, state: &State) -> Result<(), ApiError> {
        let model: Option<String> = fields.take("model", "the name of a model")?;
        match model.filter(|asked| !state.is_called(asked)) {
            Some(asked) => Err(ApiError::no_model(&asked, &state.name)),
            None => Ok(()),
        }
    }

    /// Takes those fields, the name of the model among them.
    ///
    /// # Errors
    /// If one says what cannot be done.
    pub(crate) fn take(fields: &mut Fields, state: &State, names: Names) -> Result<Self, ApiError> {
        Self::check_model(fields, state)?;
        let stream = fields.take("stream", "true or false")?.unwrap_or(false);
        Ok(Self {
            sampling: sampling(fields, &state.sampling, state.tokenizer.vocab_len())?,
            max_tokens: max_tokens(fields, names.max_tokens)?,
            stop: stop(fields, names.stop)?,
            stream,
            include_usage: include_usage(fields, stream)?,
            reports_progress: false,
            count: 1,
            logprobs: None,
            cache_salt: fields.take::<String>("cache_salt", "a text")?.unwrap_or_default().into_bytes(),
        })
    }
}

impl Generation {
    /// Takes the fields that OpenAI's older APIs have beside those: how many answers, and whether a stream says how far the prompt is read.
    ///
    /// # Errors
    /// If one says what cannot be done.
    pub(crate) fn take_choices(&mut self, fields: &mut Fields) -> Result<(), ApiError> {
        self.count = count(fields)?;
        self.reports_progress = reports_progress(fields, self.stream)?;
        Ok(())
    }
}

/// What this server cannot do yet may be asked for in the one way that means "do not"; what is left then is refused.
pub(crate) fn refuse_what_is_not_there(mut fields: Fields) -> Result<(), ApiError> {
    fields.only("store", &[json!(false)])?;
    fields.only("service_tier", &[json!("auto"), json!("default")])?;
    fields.drop_labels(&LABELS);
    fields.finish()
}

fn sampling(
    fields: &mut Fields,
    usual: &SamplingParams,
    vocab_len: usize,
) -> Result<SamplingParams, ApiError> {
    let mut sampling = usual.clone();
    let has_repeat = fields.has("repeat_penalty");
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
    let repetition: Option<f32> = fields.take("repetition_penalty", "a number")?;
    if repetition.is_some() && has_repeat {
        let message = "`repetition_penalty` and `repeat_penalty` are the same; say it once".to_owned();
        return Err(ApiError::invalid("repetition_penalty", message));
    }
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
        shoal_engine::Error::BadSampling { name, expected, found } => {
            let name =
                if name == "repeat_penalty" && repetition.is_some() { "repetition_penalty" } else { name };
            ApiError::invalid(name, format!("`{name}`: expected {expected}, found {found}"))
        }
        other => ApiError::internal(other.to_string()),
    })?;
    Ok(sampling)
}

fn count(fields: &mut Fields) -> Result<usize, ApiError> {
    let count = fields.take("n", "a number from 1")?.unwrap_or(1);
    if (1..=COUNT_MAX).contains(&count) {
        return Ok(count);
    }
    Err(ApiError::invalid("n", format!("`n`: expected a number from 1 to {COUNT_MAX}, found {count}")))
}

fn reports_progress(fields: &mut Fields, stream: bool) -> Result<bool, ApiError> {
    let reports: bool = fields.take("return_progress", "true or false")?.unwrap_or(false);
    if reports && !stream {
        let message = "`return_progress` is about streams; leave it out, or ask for `stream`".to_owned();
        return Err(ApiError::invalid("return_progress", message));
    }
    Ok(reports)
}

fn max_tokens(fields: &mut Fields, names: &[&str]) -> Result<Option<usize>, ApiError> {
    let mut most: Option<(&str, u32)> = None;
    for name in names {
        let Some(found) = fields.take::<u32>(name, "a number from 1")? else { continue };
        if found == 0 {
            return Err(ApiError::invalid(name, format!("`{name}`: expected a number from 1, found 0")));
        }
        match most {
            Some((other, tokens)) if tokens != found => {
                let message = format!("`{other}` and `{name}` say two things about one; say it once");
                return Err(ApiError::invalid(name, message));
            }
            _ => most = Some((name, found)),
        }
    }
    Ok(most.map(|(_, tokens)| tokens as usize))
}

fn stop(fields: &mut Fields, name: &str) -> Result<Vec<String>, ApiError> {
    let expected = format!("a text, or at most {STOPS_MAX}, each of at most {STOP_BYTES_MAX} bytes");
    let bad = || ApiError::invalid(name, format!("`{name}`: expected {expected}"));
    let stops = match fields.take::<Value>(name, &expected)? {
        None => Vec::new(),
        Some(Value::String(stop)) => vec![stop],
        Some(other) => serde_json::from_value::<Vec<String>>(other).map_err(|_| bad())?,
    };
    if stops.len() > STOPS_MAX || stops.iter().any(|stop| stop.len() > STOP_BYTES_MAX) {
        return Err(bad());
    }
    Ok(stops)
}

fn include_usage(fields: &mut Fields, stream: bool) -> Result<bool, ApiError> {
    let Some(mut options) = fields.take_object("stream_options")? else { return Ok(false) };
    let include = options.take("include_usage", "true or false")?.unwrap_or(false);
    options.only("include_obfuscation", &[json!(false)])?;
    options.finish()?;
    if !stream {
        let message = "`stream_options` says how to stream; leave it out, or ask for `stream`".to_owned();
        return Err(ApiError::invalid("stream_options", message));
    }
    Ok(include)
}
