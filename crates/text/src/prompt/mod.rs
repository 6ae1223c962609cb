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
mod deepseek_v32;
mod deepseek_v4;
mod detect;
pub(crate) mod pieces;
mod rewrite;
mod sandbox;
mod sentinel;
mod template;
mod tojson;
mod values;

pub use deepseek::Reasoning;
pub use detect::Origin;
pub use template::ForeignTemplate;
pub(crate) use tojson::spaced_json;

use std::borrow::Cow;

use crate::error::Error;
use crate::grammar::Shape;
use crate::tokenizer::{Piece, Tokenizer};
use crate::tools::{CallFormat, Tool, ToolCall, V4Release, as_text};

/// Who says a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Instructions for the whole conversation.
    System,
    /// The person asking.
    User,
    /// The model.
    Assistant,
    /// A function that the model has called.
    Tool,
    /// The person asking, with instructions of their own: V3.2 and V4 tell the functions in it. Elsewhere these are instructions.
    Developer,
    /// What the model is reminded of before the first question, such as the day: V4 has a place for it. Elsewhere these are instructions.
    Reminder,
}

impl Role {
    /// The role's name in chat templates.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
            Self::Developer => "developer",
            Self::Reminder => "latest_reminder",
        }
    }
}

/// A short answer of one kind, which V4 gives when it is asked by a token at the end of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// Whether to search the web.
    Action,
    /// What to search for.
    Query,
    /// How much the sources must be trusted.
    Authority,
    /// What the question is about.
    Domain,
    /// A title of the conversation.
    Title,
    /// Which of the addresses to read.
    ReadUrl,
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
    /// What the model thought before it said this, if it is known. V3.2 and V4 keep it where they have called functions; the other native
    /// styles leave it out, as the official templates do; a foreign template gets it as `reasoning_content`.
    pub reasoning: Option<String>,
    /// Functions that the model called after it said this.
    pub calls: Vec<ToolCall>,
    /// What is asked for at its end, in V4; other styles leave it out.
    pub task: Option<Task>,
}

impl Message {
    /// A message without reasoning.
    #[must_use]
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into(), reasoning: None, calls: Vec::new(), task: None }
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

/// How long a model is to reason, where it knows degrees: V4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Effort {
    /// No longer than it would of its own accord.
    Low,
    /// What its makers have made the usual one.
    #[default]
    High,
    /// As long as it can.
    Max,
}

/// What a prompt says beside the messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct PromptOptions<'o> {
    /// Functions that the model may call.
    pub tools: &'o [Tool],
    /// Whether it is to reason.
    pub thinking: Thinking,
    /// How long.
    pub effort: Effort,
    /// What the answer must look like; only formats that have a place for it say so.
    pub shape: Option<&'o Shape>,
}

impl PromptOptions<'_> {
    /// Whether a model reasons that does so unless it is told not to.
    const fn thinks(&self) -> bool {
        !matches!(self.thinking, Thinking::Off)
    }
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
    /// DeepSeek-V3.2: like V3.1, with reasoning between calls.
    DeepseekV32,
    /// DeepSeek-V4: results of calls are the user's; the release says what effort means.
    DeepseekV4(V4Release),
    /// `<|im_start|>role`, text, `<|im_end|>`: Qwen, SmolLM and many others.
    ChatMl {
        /// System message the model's own template adds where a conversation has none at its start.
        default_system: Option<String>,
        /// Whether the vocabulary has tokens for the marks of calls.
        has_call_marks: bool,
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
    /// Finds the style of a model from its chat template, or without one from its vocabulary; where several models share that, from what its
    /// file says of its `origin`.
    ///
    /// # Errors
    /// If the template does not parse, or does not run and gives no hint at a known style.
    pub fn detect(template: Option<&str>, tokenizer: &Tokenizer, origin: &Origin) -> Result<Self, Error> {
        detect::detect(template, tokenizer, origin)
    }

    /// The style of a model that goes on with what it is given.
    #[must_use]
    pub fn plain(tokenizer: &Tokenizer) -> Self {
        Self::Plain { bos: tokenizer.bos_text().filter(|_| tokenizer.adds_bos()).map(str::to_owned) }
    }

    /// A short name for people.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::DeepseekV2 => "deepseek-v2",
            Self::DeepseekV3 { reasoning: Reasoning::ByDefault } => "deepseek-r1",
            Self::DeepseekV3 { .. } => "deepseek-v3",
            Self::DeepseekV31 => "deepseek-v3.1",
            Self::DeepseekV32 => "deepseek-v3.2",
            Self::DeepseekV4(V4Release::Preview) => "deepseek-v4-preview",
            Self::DeepseekV4(V4Release::Dated) => "deepseek-v4",
            Self::ChatMl { .. } => "chatml",
            Self::Template(_) => "template",
            Self::Plain { .. } => "plain",
        }
    }

    /// How the model is to write calls of functions: as it was trained to, if its vocabulary has the marks for it, and else in
    /// Hermes' format, of which it is told in plain text.
    #[must_use]
    pub fn call_format(&self, tokenizer: &Tokenizer) -> CallFormat {
        let format = match self {
            Self::DeepseekV3 { .. } => CallFormat::DeepseekV3,
            Self::DeepseekV31 => CallFormat::DeepseekV31,
            Self::DeepseekV32 => CallFormat::DeepseekV32,
            Self::DeepseekV4(release) => CallFormat::DeepseekV4(*release),
            _ => CallFormat::Hermes,
        };
        if format.fits(tokenizer) { format } else { CallFormat::Hermes }
    }

    /// Renders a conversation up to where the model goes on.
    ///
    /// # Errors
    /// If there is no message, or a foreign template fails or refuses.
    pub fn render(&self, messages: &[Message], thinking: Thinking) -> Result<Prompt, Error> {
        self.render_with(
            messages,
            CallFormat::Hermes,
            &PromptOptions { thinking, ..PromptOptions::default() },
        )
    }

    /// Renders a conversation with everything that `options` has to say; `format` is that of [`PromptStyle::call_format`].
    ///
    /// # Errors
    /// As [`PromptStyle::render`].
    pub fn render_with(
        &self,
        messages: &[Message],
        format: CallFormat,
        options: &PromptOptions,
    ) -> Result<Prompt, Error> {
        if messages.is_empty() {
            return Err(Error::NoMessages);
        }
        let PromptOptions { tools, thinking, .. } = *options;
        let is_native = match self {
            Self::DeepseekV3 { .. } | Self::DeepseekV31 => format != CallFormat::Hermes,
            Self::ChatMl { has_call_marks, .. } => *has_call_marks,
            Self::DeepseekV32 | Self::DeepseekV4(_) => true,
            Self::DeepseekV2 | Self::Template(_) | Self::Plain { .. } => false,
        };
        let has_calls = |message: &Message| message.role == Role::Tool || !message.calls.is_empty();
        if !is_native && (!tools.is_empty() || messages.iter().any(has_calls)) {
            let messages = as_text(messages, tools, self.default_system());
            return self.render_with(&messages, format, &PromptOptions { tools: &[], ..*options });
        }
        let messages = &*self.with_known_roles(messages);
        Ok(match self {
            Self::DeepseekV2 => deepseek::v2(messages),
            Self::DeepseekV3 { reasoning } => deepseek::v3(messages, tools, *reasoning, thinking),
            Self::DeepseekV31 => deepseek::v31(messages, tools, thinking),
            Self::DeepseekV32 => deepseek_v32::render(messages, options),
            Self::DeepseekV4(release) => deepseek_v4::render(messages, options, *release),
            Self::ChatMl { default_system, .. } => chatml::render(messages, tools, default_system.as_deref()),
            Self::Template(template) => template.render(messages, thinking)?,
            Self::Plain { bos } => plain(messages, bos.as_deref()),
        })
    }
}

impl PromptStyle {
    /// The messages with the roles that this style has a place for; what else instructs the model is a system message.
    fn with_known_roles<'m>(&self, messages: &'m [Message]) -> Cow<'m, [Message]> {
        let is_known = |role: Role| match role {
            Role::System | Role::User | Role::Assistant | Role::Tool => true,
            Role::Developer => matches!(self, Self::DeepseekV32 | Self::DeepseekV4(_)),
            Role::Reminder => matches!(self, Self::DeepseekV4(_)),
        };
        if messages.iter().all(|message| is_known(message.role)) {
            return Cow::Borrowed(messages);
        }
        let known = messages.iter().map(|message| Message {
            role: if is_known(message.role) { message.role } else { Role::System },
            ..message.clone()
        });
        Cow::Owned(known.collect())
    }

    /// The system message that stands where a conversation has none.
    fn default_system(&self) -> Option<&str> {
        match self {
            Self::ChatMl { default_system, .. } => default_system.as_deref(),
            _ => None,
        }
    }
}

/// What V3.2 and V4 are told of the schema of an answer.
fn format_section(shape: Option<&Shape>) -> Option<String> {
    let Some(Shape::JsonSchema(schema)) = shape else { return None };
    let schema = spaced_json(schema);
    Some(format!(
        "## Response Format:\n\nYou MUST strictly adhere to the following schema to reply:\n{schema}"
    ))
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
