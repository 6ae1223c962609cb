//! Prompts: a conversation as the model was trained to read it.
//!
//! Each generation of the family has its own format; the known ones are rendered here natively, a file per style.
//! Which style a model wants is found by experiment rather than by name: the model's own chat template is run once in
//! a sandbox on short conversations, and a native style is taken only if it writes exactly the same (`detect.rs`). Any
//! other template is run in the sandbox for every prompt (`template.rs`).
//!
//! In every style, message texts become [`Piece::Text`] and nothing else, so a user cannot write a control token.
//! Markers that are plain text to the model, such as V2's `User:`, can be imitated by a user; that is the format's
//! doing.

mod chatml;
mod deepseek;
mod detect;
mod pieces;
mod rewrite;
mod sandbox;
mod sentinel;
mod template;
mod tojson;
mod values;

pub use deepseek::Reasoning;
pub use template::ForeignTemplate;

use crate::error::Error;
use crate::tokenizer::{Piece, Tokenizer};

/// Who says a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Instructions for the whole conversation.
    System,
    /// The person asking.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// The role's name in chat templates.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
    /// What the model thought before it said this, if it is known. The native styles leave it out, as the official
    /// templates do; a foreign template gets it as `reasoning_content`.
    pub reasoning: Option<String>,
}

impl Message {
    /// A message without reasoning.
    #[must_use]
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into(), reasoning: None }
    }
}

/// Whether the model is to reason before it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Thinking {
    /// Reason. Models that cannot answer directly.
    On,
    /// Answer directly.
    Off,
    /// What the model's own template does.
    #[default]
    Default,
}

/// A conversation ready for the tokenizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Parts in order, the beginning-of-sequence token among them where the style has one. No two texts adjoin.
    pub pieces: Vec<Piece>,
    /// Whether what the model writes first is already reasoning.
    pub reasoning_open: bool,
}

impl Prompt {
    /// The prompt as one text, for a person to read; special tokens cannot be told from text in it.
    #[must_use]
    pub fn text(&self) -> String {
        self.pieces.iter().map(|(Piece::Text(text) | Piece::Special(text))| text.as_str()).collect()
    }
}

/// How a model reads a conversation.
#[derive(Clone, Debug)]
pub enum PromptStyle {
    /// DeepSeek-V2 and V2-Lite: `User: x`, blank line, `Assistant:`.
    DeepseekV2,
    /// DeepSeek-V3, V3-0324, R1 and the distilled models: `<｜User｜>x<｜Assistant｜>`.
    DeepseekV3 {
        /// Whether and when the prompt opens reasoning.
        reasoning: Reasoning,
    },
    /// DeepSeek-V3.1: like V3, and every answer opens with `<think>` or `</think>`.
    DeepseekV31,
    /// `<|im_start|>role`, text, `<|im_end|>`: Qwen, SmolLM and many others.
    ChatMl {
        /// System message the model's own template adds where a conversation has none at its start.
        default_system: Option<String>,
    },
    /// Any other template, run in the sandbox.
    Template(Box<ForeignTemplate>),
    /// No chat format: a base model. Texts are joined by blank lines.
    Plain {
        /// Token that opens a sequence, if the tokenizer adds one.
        bos: Option<String>,
    },
}

impl PromptStyle {
    /// Finds the style of a model from its chat template, or without one from its vocabulary.
    ///
    /// # Errors
    /// If the template does not parse, or does not run and gives no hint at a known style.
    pub fn detect(template: Option<&str>, tokenizer: &Tokenizer) -> Result<Self, Error> {
        detect::detect(template, tokenizer)
    }

    /// A short name for people.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::DeepseekV2 => "deepseek-v2",
            Self::DeepseekV3 { reasoning: Reasoning::ByDefault } => "deepseek-r1",
            Self::DeepseekV3 { .. } => "deepseek-v3",
            Self::DeepseekV31 => "deepseek-v3.1",
            Self::ChatMl { .. } => "chatml",
            Self::Template(_) => "template",
            Self::Plain { .. } => "plain",
        }
    }

    /// Renders a conversation up to where the model goes on.
    ///
    /// # Errors
    /// If there is no message, or a foreign template fails or refuses.
    pub fn render(&self, messages: &[Message], thinking: Thinking) -> Result<Prompt, Error> {
        if messages.is_empty() {
            return Err(Error::NoMessages);
        }
        Ok(match self {
            Self::DeepseekV2 => deepseek::v2(messages),
            Self::DeepseekV3 { reasoning } => deepseek::v3(messages, *reasoning, thinking),
            Self::DeepseekV31 => deepseek::v31(messages, thinking),
            Self::ChatMl { default_system } => chatml::render(messages, default_system.as_deref()),
            Self::Template(template) => template.render(messages, thinking)?,
            Self::Plain { bos } => plain(messages, bos.as_deref()),
        })
    }
}

fn plain(messages: &[Message], bos: Option<&str>) -> Prompt {
    let mut pieces = pieces::Pieces::new();
    if let Some(bos) = bos {
        pieces.special(bos);
    }
    for (idx, message) in messages.iter().enumerate() {
        if idx > 0 {
            pieces.text("\n\n");
        }
        pieces.text(&message.content);
    }
    pieces.prompt(false)
}
