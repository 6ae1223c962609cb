//! Models that may be fetched to this machine: what is here of them; fetching, leaving off and deleting; and answering with another.
//!
//! What is fetched and where from is the caller's ([`Catalogue`]); here is how it is asked for. Only a server that is reached from its own
//! machine alone has one. Another model takes the place of the one that answers when the answers that are being written have ended.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::state;

/// Models with a name, and their files.
pub trait Catalogue: Send + Sync {
    /// All of them. Nothing is asked of the network for it.
    fn entries(&self) -> Vec<CatalogueEntry>;

    /// Begins to fetch the files of `name`, or goes on with it.
    ///
    /// # Errors
    /// If there is no such model, or it cannot be now.
    fn fetch(&self, name: &str) -> Result<(), CatalogueError>;

    /// Leaves off fetching; what has come is kept.
    ///
    /// # Errors
    /// If there is no such model, or it is not being fetched.
    fn pause(&self, name: &str) -> Result<(), CatalogueError>;

    /// Deletes the files of `name`, parts too.
    ///
    /// # Errors
    /// If there is no such model, it is in use, or the drive refuses.
    fn remove(&self, name: &str) -> Result<(), CatalogueError>;
}

/// One model of the catalogue.
#[derive(Clone, Debug, Serialize)]
pub struct CatalogueEntry {
    /// What it is called.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Number of parameters, as people say it.
    pub parameters: String,
    /// Licence of the weights.
    pub licence: String,
    /// What to expect of memory, in words.
    pub memory: String,
    /// What is here of it.
    pub state: Holding,
    /// Bytes of its files that are here.
    pub here_bytes: u64,
    /// Bytes of all of them, where that is known.
    pub total_bytes: Option<u64>,
    /// How fast it comes, while it is being fetched.
    pub bytes_per_s: Option<f64>,
    /// Why it could not be fetched, if that was tried.
    pub error: Option<String>,
    /// Whether it answers here.
    pub served: bool,
    /// Whether it is what this machine should have first.
    pub proposed: bool,
}

/// What is here of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Holding {
    /// Nothing.
    Absent,
    /// A part, and no more is coming.
    Part,
    /// A part, and more is coming.
    Fetching,
    /// All of it, checked.
    Here,
}

/// Why something was not done, in one sentence.
#[derive(Clone, Debug)]
pub enum CatalogueError {
    /// There is no such model.
    Unknown(String),
    /// It cannot be now.
    Refused(String),
    /// The drive or the system does not let it.
    Failed(String),
}

impl From<CatalogueError> for ApiError {
    fn from(error: CatalogueError) -> Self {
        match error {
            CatalogueError::Unknown(message) => Self::not_found("model", message),
            CatalogueError::Refused(message) => Self::body(StatusCode::CONFLICT, message),
            CatalogueError::Failed(message) => Self::internal(message),
        }
    }
}

type Shared = State<Arc<state::State>>;
type Name = Result<Path<String>, PathRejection>;

/// What becomes of a call that may wait for the drive.
async fn ask<T: Send + 'static>(
    state: Arc<state::State>,
    act: impl FnOnce(&dyn Catalogue) -> Result<T, CatalogueError> + Send + 'static,
) -> Result<T, ApiError> {
    let Some(catalogue) = state.catalogue.clone() else {
        let message = "models are looked after on the machine itself: this server is reached from others too";
        return Err(ApiError::forbidden(message.to_owned()));
    };
    let done = tokio::task::spawn_blocking(move || act(&*catalogue)).await;
    Ok(done.map_err(|error| ApiError::internal(format!("the catalogue does not answer: {error}")))??)
}

/// The name in a path; one that is no text is no model's.
fn named(name: Name) -> String {
    name.map_or_else(|_| "?".to_owned(), |Path(name)| name)
}

pub(crate) async fn list(State(state): Shared) -> Result<Json<Value>, ApiError> {
    let entries = ask(state, |catalogue| Ok(catalogue.entries())).await?;
    Ok(Json(json!({ "object": "list", "data": entries })))
}

pub(crate) async fn fetch(State(state): Shared, name: Name) -> Result<(StatusCode, Json<Value>), ApiError> {
    let name = named(name);
    ask(state, move |catalogue| catalogue.fetch(&name)).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "status": "fetching" }))))
}

pub(crate) async fn pause(State(state): Shared, name: Name) -> Result<Json<Value>, ApiError> {
    let name = named(name);
    ask(state, move |catalogue| catalogue.pause(&name)).await?;
    Ok(Json(json!({ "status": "paused" })))
}

pub(crate) async fn remove(State(state): Shared, name: Name) -> Result<Json<Value>, ApiError> {
    let name = named(name);
    ask(state, move |catalogue| catalogue.remove(&name)).await?;
    Ok(Json(json!({ "status": "deleted" })))
}

/// Lets another model answer.
pub(crate) async fn serve(State(state): Shared, name: Name) -> Result<(StatusCode, Json<Value>), ApiError> {
    let name = named(name);
    let wanted = name.clone();
    let found = ask(Arc::clone(&state), move |catalogue| {
        let entry = catalogue.entries().into_iter().find(|entry| entry.name == wanted);
        entry.ok_or_else(|| CatalogueError::Unknown(format!("there is no model `{wanted}` in the catalogue")))
    });
    match found.await? {
        CatalogueEntry { served: true, .. } => {
            let message = format!("`{name}` answers here already");
            Err(CatalogueError::Refused(message).into())
        }
        CatalogueEntry { state: Holding::Here, .. } => {
            state.change_to(name);
            Ok((StatusCode::ACCEPTED, Json(json!({ "status": "changing" }))))
        }
        _ => Err(CatalogueError::Refused(format!("`{name}` is not here; fetch it first")).into()),
    }
}
