//! What is served, and whether it is.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::state;

type Shared = State<Arc<state::State>>;

fn model(state: &state::State) -> Value {
    json!({ "id": state.name, "object": "model", "created": state.started, "owned_by": "shoal" })
}

/// Anthropic's clients name a version of their API, and expect a list of another shape.
pub(crate) async fn list(State(state): Shared, headers: HeaderMap) -> Json<Value> {
    if !headers.contains_key("anthropic-version") {
        return Json(json!({ "object": "list", "data": [model(&state)] }));
    }
    let list = [anthropic_model(&state)];
    Json(json!({ "data": list, "has_more": false, "first_id": state.name, "last_id": state.name }))
}

fn anthropic_model(state: &state::State) -> Value {
    json!({
        "type": "model",
        "id": state.name,
        "display_name": state.name,
        "lifecycle": "active",
        // When a model was made stands in no file; Anthropic's documentation has this for what is not known.
        "created_at": "1970-01-01T00:00:00Z",
    })
}

pub(crate) async fn one(
    State(state): Shared,
    headers: HeaderMap,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, Response> {
    let id = id.map_or_else(|_| "?".to_owned(), |Path(id)| id);
    match (state.is_called(&id), headers.contains_key("anthropic-version")) {
        (false, _) => Err(ApiError::no_model(&id, &state.name).respond_to("/v1/models", &headers)),
        (true, false) => Ok(Json(model(&state))),
        (true, true) => Ok(Json(anthropic_model(&state))),
    }
}

/// What a model that writes text has no place for.
pub(crate) async fn no_embeddings(State(state): Shared) -> ApiError {
    let message = format!("`{}` writes text; it was not trained to make embeddings of any use", state.name);
    ApiError::not_found("model", message)
}

/// The process lives.
pub(crate) async fn health() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// New requests are welcome.
pub(crate) async fn ready(State(state): Shared) -> (StatusCode, Json<Value>) {
    if state.is_ready.load(Ordering::SeqCst) {
        (StatusCode::OK, Json(json!({ "status": "ready" })))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "ending" })))
    }
}
