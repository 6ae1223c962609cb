//! What would run on this machine and how fast: forecasts for the page, made before anything is sent.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shoal_plan::forecast::{Ask, Forecast, Verdict, forecast};
use shoal_plan::{Machine, Model};

use crate::error::ApiError;
use crate::state;

/// The most tokens of a prompt that are asked about.
const PROMPT_MAX: u32 = 10_000_000;

/// Models, and this machine as each of them meets it.
pub struct Planner {
    /// One line on the machine.
    pub machine: String,
    /// The one that is served, and others that might be.
    pub models: Vec<Planned>,
}

/// One model.
pub struct Planned {
    /// The model.
    pub model: Model,
    /// The machine with what the model leaves of its memory.
    pub machine: Machine,
    /// What is asked where a request does not say.
    pub ask: Ask,
    /// Bytes of memory without which it does not run here, if there are not as many.
    pub lacks: Option<f64>,
    /// Whether it is the one that answers here.
    pub is_served: bool,
}

/// What a request may say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    /// Tokens of a prompt.
    #[serde(default = "usual_prompt")]
    prompt: u32,
    /// Of those, how many are known already.
    #[serde(default)]
    known: u32,
}

const fn usual_prompt() -> u32 {
    512
}

#[derive(Serialize)]
struct Row {
    served: bool,
    context: u64,
    #[serde(flatten)]
    forecast: Forecast,
}

pub(crate) async fn show(
    State(state): State<Arc<state::State>>,
    wish: Result<Query<Wish>, QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    let Query(wish) = wish.map_err(|error| {
        ApiError::invalid("query", format!("expected `prompt` and `known` in tokens: {}", error.body_text()))
    })?;
    let expected = |what: &str, least: u32, most: u32, found: u32| {
        ApiError::invalid(what, format!("`{what}`: expected {least} to {most} tokens, found {found}"))
    };
    if !(1..=PROMPT_MAX).contains(&wish.prompt) {
        return Err(expected("prompt", 1, PROMPT_MAX, wish.prompt));
    }
    if wish.known >= wish.prompt {
        return Err(expected("known", 0, wish.prompt - 1, wish.known));
    }
    let Some(planner) = &state.planner else {
        let message = "this machine was not measured yet: run `shoal plan` once and start the server again";
        return Err(ApiError::not_found("plan", message.to_owned()));
    };
    let rows: Vec<Row> = planner.models.iter().map(|planned| row(planned, &wish)).collect();
    Ok(Json(json!({ "object": "plan", "machine": planner.machine, "models": rows })))
}

fn row(planned: &Planned, wish: &Wish) -> Row {
    let position = f64::from(wish.prompt).min(planned.ask.context);
    let ask = Ask { prompt: f64::from(wish.prompt - wish.known), position, ..planned.ask };
    let mut forecast = forecast(&planned.model, &planned.machine, &ask);
    if let Some(memory_bytes) = planned.lacks {
        let nothing =
            Forecast { decode: None, decode_together: None, prefill: None, first_token_s: None, ..forecast };
        forecast = Forecast { verdict: Verdict::No, memory_bytes, ..nothing };
    }
    Row { served: planned.is_served, context: planned.ask.context as u64, forecast }
}
