//! What can be wrong with a vocabulary, a chat template or a conversation.

use shoal_base::TokenId;

/// Why a tokenizer could not be built, or a prompt not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The tokenizer is of a kind this engine does not have.
    #[error("the tokenizer model is `{found}`, expected `gpt2` (byte-level BPE)")]
    Model {
        /// The kind the file names.
        found: String,
    },
    /// The rules that split text into words are unknown, and guessing them would spoil every prompt.
    #[error("the pre-tokenizer `{found}` is unknown, expected one of {known}")]
    PreTokenizer {
        /// The name the file gives.
        found: String,
        /// The names known, separated by commas.
        known: String,
    },
    /// A count is beyond its limit.
    #[error("the vocabulary has {found} {what}, expected at most {max}")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many are allowed.
        max: usize,
    },
    /// The vocabulary has no token.
    #[error("the vocabulary has no tokens, expected at least one")]
    NoTokens,
    /// Two lists that belong together differ in length.
    #[error("the vocabulary has {tokens} tokens and {types} token types, expected as many types or none")]
    TypeCount {
        /// Number of tokens.
        tokens: usize,
        /// Number of types.
        types: usize,
    },
    /// A token type outside the format.
    #[error("token {id} has type {found}, expected 0 to 6")]
    TokenType {
        /// The token.
        id: TokenId,
        /// The type found.
        found: i32,
    },
    /// A special id beyond the vocabulary.
    #[error("the {name} token is {id}, expected an id below {vocab_len}, the length of the vocabulary")]
    SpecialId {
        /// Which special token: `bos`, `eos`, `eot` or `pad`.
        name: &'static str,
        /// Its id.
        id: TokenId,
        /// Length of the vocabulary.
        vocab_len: usize,
    },
    /// A merge that is not two parts.
    #[error("merge {index} is `{found}`, expected two parts separated by one space")]
    Merge {
        /// Its place in the list, from 0.
        index: usize,
        /// The merge, shortened.
        found: String,
    },
    /// Ordinary text could not be expressed.
    #[error(
        "the vocabulary has no token for byte 0x{byte:02x} (letter `{letter}`), so text with it cannot be encoded"
    )]
    ByteMissing {
        /// The byte.
        byte: u8,
        /// How byte-level BPE writes it.
        letter: char,
    },
    /// The BPE model could not be built from a checked vocabulary.
    #[error("the vocabulary and its merges do not form a BPE model: {reason}")]
    Bpe {
        /// What the BPE engine says.
        reason: String,
    },
    /// A prompt needs a special token that the vocabulary lacks.
    #[error("the prompt needs the special token `{text}`, which the vocabulary does not have")]
    SpecialMissing {
        /// The token's text.
        text: String,
    },
    /// There is nothing to answer.
    #[error("the conversation has no messages, expected at least one")]
    NoMessages,
    /// What an answer must look like cannot be made a grammar.
    #[error("the format cannot be kept: {reason}")]
    Grammar {
        /// What the grammar engine says.
        reason: String,
    },
    /// The template is too long to be one.
    #[error("the chat template has {found} bytes, expected at most {max}")]
    TemplateLength {
        /// Its length in bytes.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// The template does not parse.
    #[error("the chat template does not parse: {reason}")]
    TemplateSyntax {
        /// What the template engine says, with the line.
        reason: String,
    },
    /// The template did not run to its end.
    #[error("the chat template failed: {reason}")]
    TemplateRun {
        /// What the template engine says, with the line.
        reason: String,
    },
    /// The template itself declined the conversation, through `raise_exception`.
    #[error("the chat template refuses the conversation: {reason}")]
    TemplateRefuses {
        /// The template's words.
        reason: String,
    },
    /// The template's output is out of proportion.
    #[error("the chat template writes more than {max} bytes for this conversation")]
    TemplateOutput {
        /// The limit.
        max: usize,
    },
    /// The template takes message texts apart, so the user's text could not be told from the template's.
    #[error("the chat template cuts or rewrites the text of message {index}, expected it to be used whole")]
    TemplateCutsText {
        /// The message, from 0, or the count of messages if it could not be told which.
        index: usize,
    },
}
