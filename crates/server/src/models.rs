//! What is served, and whether it is.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::state;

type Shared = State<Arc<state::State>>;

fn model(state: &state::State) -> Value {
    json!({ "id": state.name, "object": "model", "created": state.started, "owned_by": "shoal" })
}

pub(crate) async fn list(State(state): Shared) -> Json<Value> {
    Json(json!({ "object": "list", "data": [model(&state)] }))
}

pub(crate) async fn one(State(state): Shared, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    if state.is_called(&id) { Ok(Json(model(&state))) } else { Err(ApiError::no_model(&id, &state.name)) }
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
