//! A conversation to be continued, whatever the API that it came by: from messages, functions and wishes to tokens and the bounds of the
//! answer.

use serde_json::json;
use shoal_base::TokenId;
use shoal_engine::Constraint;
use shoal_text::{Message, Piece, Shape, THINK_CLOSE, Thinking};

use crate::constraint::Bounds;
use crate::error::ApiError;
use crate::state::State;
use crate::tools::Toolbox;

/// What is to be continued, and how.
#[derive(Debug)]
pub(crate) struct Conversation {
    /// The field that messages come from, for errors.
    pub(crate) param: &'static str,
    pub(crate) messages: Vec<Message>,
    /// Whether the last message is the beginning of the answer.
    pub(crate) is_begun: bool,
    pub(crate) toolbox: Toolbox,
    pub(crate) thinking: Thinking,
    /// Most tokens of reasoning.
    pub(crate) reasoning_max: Option<usize>,
    pub(crate) shape: Option<Shape>,
}

/// A conversation as the engine takes it.
pub(crate) struct Prepared {
    pub(crate) tokens: Vec<TokenId>,
    /// Whether the prompt has opened reasoning.
    pub(crate) reasoning_open: bool,
    /// Whether the model was asked to reason, when all was said.
    pub(crate) is_thinking: bool,
}

impl Conversation {
    /// The conversation as the model reads it.
    ///
    /// # Errors
    /// If the model's format has no place for it.
    pub(crate) fn prepare(&mut self, state: &State) -> Result<Prepared, ApiError> {
        let invalid = |error: shoal_text::Error| ApiError::invalid(self.param, error.to_string());
        let begun = if self.is_begun { self.messages.pop() } else { None };
        // A begun answer has its reasoning behind it, if it has any.
        let thinking = if begun.is_some() { Thinking::Off } else { self.thinking };
        let prompt = state.style.render_with_tools(
            &self.messages,
            self.toolbox.offered(),
            state.call_format,
            thinking,
        );
        let mut prompt = prompt.map_err(invalid)?;
        if let Some(begun) = begun {
            if prompt.reasoning_open {
                prompt.pieces.push(Piece::Text(begun.reasoning.unwrap_or_default()));
                prompt.pieces.push(Piece::Special(THINK_CLOSE.to_owned()));
                prompt.reasoning_open = false;
            }
            prompt.pieces.push(Piece::Text(begun.content));
        }
        let tokens = state.tokenizer.encode_pieces(&prompt.pieces).map_err(invalid)?;
        let is_thinking = match thinking {
            Thinking::On => true,
            Thinking::Off => false,
            Thinking::Default => prompt.reasoning_open,
        };
        Ok(Prepared { tokens, reasoning_open: prompt.reasoning_open, is_thinking })
    }

    /// What binds one answer.
    ///
    /// # Errors
    /// If a format cannot be kept.
    pub(crate) fn bounds(
        &self,
        state: &State,
        prepared: &Prepared,
    ) -> Result<Option<Box<dyn Constraint>>, ApiError> {
        let json_object = json!({ "type": "object" });
        let schema = match &self.shape {
            Some(Shape::JsonSchema(schema)) => Some(schema),
            Some(Shape::JsonObject) => Some(&json_object),
            Some(Shape::Regex(_) | Shape::Lark(_)) if self.has_calls() => {
                let message =
                    "`response_format`: of formats, only JSON goes together with `tools`".to_owned();
                return Err(ApiError::invalid("response_format", message));
            }
            _ => None,
        };
        let invalid = |param: &str, error: shoal_text::Error| ApiError::invalid(param, error.to_string());
        let grammar = match (self.toolbox.shape(state, schema), &self.shape) {
            (Some((shape, true)), _) => {
                Some(state.grammars()?.compile(&shape).map_err(|error| invalid("tools", error))?)
            }
            // Nobody relies on it, so what cannot be kept does not stop the answer.
            (Some((shape, false)), _) => {
                state.grammars().ok().and_then(|grammars| grammars.compile(&shape).ok())
            }
            (None, Some(shape)) => {
                Some(state.grammars()?.compile(shape).map_err(|error| invalid("response_format", error))?)
            }
            (None, None) => None,
        };
        Ok(Bounds::of(&state.tokenizer, prepared.reasoning_open, self.reasoning_max, grammar))
    }

    /// Whether calls are told apart in the answer.
    pub(crate) fn has_calls(&self) -> bool {
        !self.toolbox.offered().is_empty()
    }
}
