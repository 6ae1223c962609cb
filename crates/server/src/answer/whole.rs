//! A whole answer as one object.

use axum::Json;
use axum::http::StatusCode;
use serde_json::Value;
use shoal_engine::Logprobs;
use shoal_text::Segment;
use shoal_text::tools::ToolCall;
use tokio::sync::mpsc::UnboundedReceiver;

use super::{Form, Totals};
use crate::error::ApiError;
use crate::worker::{Done, Piece, Update};

/// One complete answer.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) content: String,
    pub(crate) reasoning: Option<String>,
    /// Their ids are left to the form.
    pub(crate) calls: Vec<ToolCall>,
    /// Of the tokens of the content, and of the reasoning.
    pub(crate) logprobs: [Vec<Logprobs>; 2],
    /// All of that in the order in which it was written.
    pub(crate) pieces: Vec<Piece>,
    pub(crate) done: Option<Done>,
}

impl Answer {
    /// Adds a piece.
    pub(crate) fn push(&mut self, piece: Piece) {
        self.pieces.push(piece.clone());
        let Piece { segment, logprobs } = piece;
        self.logprobs[usize::from(matches!(segment, Segment::Reasoning(_)))].extend(logprobs);
        match segment {
            Segment::Answer(text) => self.content.push_str(&text),
            Segment::Reasoning(text) => self.reasoning.get_or_insert_default().push_str(&text),
            Segment::CallBegin(name) => {
                self.calls.push(ToolCall { id: String::new(), name, arguments: String::new() });
            }
            Segment::CallArguments(text) => {
                if let Some(call) = self.calls.last_mut() {
                    call.arguments.push_str(&text);
                }
            }
        }
    }
}

/// Waits for the end of all answers.
pub(super) async fn answer(
    mut form: Box<dyn Form>,
    mut updates: UnboundedReceiver<(usize, Update)>,
    count: usize,
) -> Result<Json<Value>, ApiError> {
    let mut answers: Vec<Answer> = (0..count).map(|_| Answer::default()).collect();
    let mut totals = Totals::default();
    while answers.iter().any(|answer| answer.done.is_none()) {
        match updates.recv().await {
            Some((_, Update::Progress(_))) => {}
            Some((choice, Update::Piece(piece))) => answers[choice].push(piece),
            Some((choice, Update::Done(done))) => {
                totals.add(choice, &done);
                answers[choice].done = Some(done);
            }
            other => return Err(failure(other.map(|(_, update)| update))),
        }
    }
    Ok(Json(form.whole(answers, &totals)))
}

/// Why there will be no answer.
pub(super) fn failure(update: Option<Update>) -> ApiError {
    match update {
        Some(Update::Refused(error)) => ApiError::body(StatusCode::BAD_REQUEST, error.to_string()),
        Some(Update::Failed(why)) => ApiError::internal(format!("the answer ends here: {why}")),
        _ => ApiError::internal("the engine has ended".to_owned()),
    }
}
