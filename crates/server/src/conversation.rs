//! A conversation to be continued, whatever the API that it came by: from messages, functions and wishes to tokens and the bounds of the
//! answer.

use serde_json::json;
use shoal_base::TokenId;
use shoal_engine::Constraint;
use shoal_text::{
    Effort, Message, Piece, Prompt, PromptOptions, PromptStyle, Role, Shape, THINK_CLOSE, Thinking,
};

use crate::answer::{Ask, Form, check_len};
use crate::constraint::{Bounds, Reasoning};
use crate::error::ApiError;
use crate::generation::Generation;
use crate::state::State;
use crate::tools::{Format, Toolbox};

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
    pub(crate) effort: Effort,
    /// Most tokens of reasoning.
    pub(crate) reasoning_max: Option<usize>,
    pub(crate) format: Option<Format>,
}

/// A conversation as the engine takes it.
pub(crate) struct Prepared {
    pub(crate) tokens: Vec<TokenId>,
    /// Whether the prompt has opened reasoning.
    pub(crate) reasoning_open: bool,
    /// Whether the model will reason, as far as its format says.
    pub(crate) is_thinking: bool,
}

impl Conversation {
    /// The conversation as the model reads it.
    ///
    /// # Errors
    /// If the model's format has no place for it.
    pub(crate) fn prepare(&mut self, state: &State) -> Result<Prepared, ApiError> {
        let invalid = |error: shoal_text::Error| ApiError::invalid(self.param, error.to_string());
        if self.is_begun && self.messages.len() < 2 {
            let message = format!("`{}`: an answer that is begun goes with a question before it", self.param);
            return Err(ApiError::invalid(self.param, message));
        }
        if self.is_begun && self.messages.last().is_some_and(|last| !last.calls.is_empty()) {
            let message = format!("`{}`: an answer that is begun has no calls yet", self.param);
            return Err(ApiError::invalid(self.param, message));
        }
        let begun = if self.is_begun { self.messages.pop() } else { None };
        // A begun answer has its reasoning behind it, if it has any.
        let thinking = match &begun {
            Some(begun) if begun.reasoning.is_none() => Thinking::Off,
            _ => self.thinking,
        };
        let mut prompt = self.render(state, thinking).map_err(invalid)?;
        if let Some(begun) = begun {
            if prompt.reasoning_open {
                prompt.pieces.push(Piece::Text(begun.reasoning.unwrap_or_default()));
                prompt.pieces.push(Piece::Special(THINK_CLOSE.to_owned()));
                prompt.reasoning_open = false;
            }
            prompt.pieces.push(Piece::Text(begun.content));
        }
        let tokens = state.tokenizer.encode_pieces(&prompt.pieces).map_err(invalid)?;
        let may_open = self.template_thinks(state, thinking);
        if may_open && self.reasoning_max.is_some() {
            let message = "this model opens its reasoning itself, so its length cannot be bounded by this server; leave the bound out";
            return Err(ApiError::invalid(self.param, message.to_owned()));
        }
        let is_thinking = prompt.reasoning_open || may_open;
        Ok(Prepared { tokens, reasoning_open: prompt.reasoning_open, is_thinking })
    }

    /// The prompt of the conversation.
    fn render(&self, state: &State, thinking: Thinking) -> Result<Prompt, shoal_text::Error> {
        let options = PromptOptions {
            tools: self.toolbox.offered(),
            thinking,
            effort: self.effort,
            shape: self.format.as_ref().map(|format| &format.shape),
        };
        state.style.render_with(&self.messages, state.call_format, &options)
    }

    /// What the engine is asked for so many answers as `generation` says, written in the form that `form` makes for the prompt.
    ///
    /// # Errors
    /// If the model's format has no place for the conversation, it leaves no room for an answer, or a format cannot be kept.
    pub(crate) fn ask(
        mut self,
        state: &State,
        generation: Generation,
        form: impl FnOnce(&Prepared) -> Box<dyn Form>,
    ) -> Result<Ask, ApiError> {
        let prepared = self.prepare(state)?;
        check_len(state, self.param, prepared.tokens.len())?;
        let bounds =
            (0..generation.count).map(|_| self.bounds(state, &prepared)).collect::<Result<_, _>>()?;
        Ok(Ask {
            form: form(&prepared),
            param: self.param,
            prompts: vec![prepared.tokens],
            reasoning_open: state.splits_reasoning().then_some(prepared.reasoning_open),
            has_calls: self.has_calls(),
            bounds,
            generation,
        })
    }

    /// Whether a foreign template asks the model to reason without opening reasoning itself: then it writes something else when it is not to.
    fn template_thinks(&self, state: &State, thinking: Thinking) -> bool {
        let text = |thinking| self.render(state, thinking).ok();
        matches!(state.style, PromptStyle::Template(_))
            && thinking == Thinking::On
            && text(Thinking::On) != text(Thinking::Off)
    }

    /// What binds one answer.
    ///
    /// # Errors
    /// If a format cannot be kept.
    fn bounds(&self, state: &State, prepared: &Prepared) -> Result<Option<Box<dyn Constraint>>, ApiError> {
        let json_object = json!({ "type": "object" });
        let param = self.format.as_ref().map_or("tools", |format| format.param);
        let shape = self.format.as_ref().map(|format| &format.shape);
        let schema = match shape {
            Some(Shape::JsonSchema(schema)) => Some(schema),
            Some(Shape::JsonObject) => Some(&json_object),
            Some(Shape::Regex(_) | Shape::Lark(_)) if self.has_calls() => {
                let message = format!("`{param}`: of formats, only JSON goes together with `tools`");
                return Err(ApiError::invalid(param, message));
            }
            _ => None,
        };
        let compile = |shape: &Shape, param: &str| {
            let compiled = state.grammars()?.compile(shape);
            compiled.map_err(|error| ApiError::invalid(param, format!("`{param}`: {error}")))
        };
        let grammar = match (self.toolbox.shape(state, schema)?, shape) {
            (Some((shape, true)), Some(_)) => Some(compile(&shape, param)?),
            (Some((shape, true)), None) => Some(compile(&shape, "tools")?),
            // Nobody relies on it, so what cannot be kept does not stop the answer.
            (Some((shape, false)), _) => compile(&shape, "tools").ok(),
            (None, Some(shape)) => Some(compile(shape, param)?),
            (None, None) => None,
        };
        Ok(Bounds::of(
            &state.tokenizer,
            if prepared.reasoning_open {
                Reasoning::Open
            } else if prepared.is_thinking {
                Reasoning::MayOpen
            } else {
                Reasoning::No
            },
            self.reasoning_max,
            grammar,
        ))
    }

    /// Whether calls are told apart in the answer.
    fn has_calls(&self) -> bool {
        !self.toolbox.offered().is_empty()
    }
}

/// Most calls of a message that results refer to.
const CALLS_MAX: usize = 128;

/// The messages of a conversation as they are read, with results of calls in the order of the calls: the models know them by that.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    messages: Vec<Message>,
    /// Which calls the results at the end answer, in the order of the calls.
    results: Vec<usize>,
}

impl Turns {
    /// The messages of an earlier conversation, to go on from.
    pub(crate) const fn after(messages: Vec<Message>) -> Self {
        Self { messages, results: Vec::new() }
    }

    /// Adds a message.
    pub(crate) fn push(&mut self, message: Message) {
        self.results.clear();
        self.messages.push(message);
    }

    /// What the assistant is saying: its last message, if nobody else has said anything since.
    pub(crate) fn said(&mut self) -> &mut Message {
        if self.messages.last().is_none_or(|last| last.role != Role::Assistant) {
            self.push(Message::new(Role::Assistant, ""));
        }
        let last = self.messages.len() - 1;
        &mut self.messages[last]
    }

    /// Adds the result of the call `id`, which stands at `place` of the request; of the first call without a result, if nobody says.
    ///
    /// # Errors
    /// If the last message before the results has no such call, or it has its result already.
    pub(crate) fn push_result(
        &mut self,
        place: &str,
        id: Option<&str>,
        text: String,
    ) -> Result<(), ApiError> {
        let first = self.messages.len() - self.results.len();
        let calls = first.checked_sub(1).map_or(&[][..], |last| &self.messages[last].calls);
        if calls.len() > CALLS_MAX {
            let message = format!("`{place}`: expected at most {CALLS_MAX} calls in a message before it");
            return Err(ApiError::invalid(place, message));
        }
        let mut open = (0..calls.len()).filter(|call| !self.results.contains(call));
        let Some(call) = open.find(|&call| id.is_none_or(|id| calls[call].id == id)) else {
            let found = id.unwrap_or("none");
            let message = format!(
                "`{place}`: expected the id of a call before it that has no result yet, found `{found}`"
            );
            return Err(ApiError::invalid(place, message));
        };
        let at = self.results.partition_point(|&other| other < call);
        self.results.insert(at, call);
        self.messages.insert(first + at, Message::new(Role::Tool, text));
        Ok(())
    }

    pub(crate) fn messages(&self) -> &[Message] {
        &self.messages
    }

    pub(crate) fn into_messages(self) -> Vec<Message> {
        self.messages
    }
}

#[cfg(test)]
mod tests {
    use shoal_text::tools::ToolCall;

    use super::*;

    #[test]
    fn results_stand_in_the_order_of_their_calls() {
        let call =
            |id: &str| ToolCall { id: id.to_owned(), name: "f".to_owned(), arguments: "{}".to_owned() };
        let mut turns = Turns::default();
        let result = |turns: &mut Turns, id| turns.push_result("p", id, String::from("x"));
        assert!(
            result(&mut turns, Some("a")).is_err() && result(&mut turns, None).is_err(),
            "nothing was called"
        );
        turns.said().calls.extend(["a", "b", "c"].map(call));
        for id in ["c", "a", "b"] {
            turns.push_result("p", Some(id), id.to_uppercase()).expect("it was called");
        }
        assert!(
            result(&mut turns, Some("b")).is_err() && result(&mut turns, None).is_err(),
            "all have theirs"
        );
        assert!(result(&mut turns, Some("d")).is_err(), "it was not called");
        let texts: Vec<&str> = turns.messages().iter().map(|message| message.content.as_str()).collect();
        assert_eq!(texts, ["", "A", "B", "C"]);
        turns.push(Message::new(Role::User, "x"));
        assert!(result(&mut turns, Some("a")).is_err(), "somebody has spoken since");
        turns.said().calls.extend(["a", "b"].map(call));
        turns.push_result("p", None, "first".to_owned()).expect("a call without a result");
        assert_eq!(turns.messages().last().map(|message| message.content.as_str()), Some("first"));
    }
}
