//! What an answer must look like: a shape, made a grammar, which says token by token what may come next.
//!
//! The grammar engine is llguidance. What is ours: the vocabulary as it wants it, limits to what a shape may cost, and the rule that
//! nothing is ever let pass because it was too hard. A shape that does not compile is refused, and an answer whose grammar runs out of
//! its means ends there with an error.

use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};
use shoal_base::TokenId;

use crate::error::Error;
use crate::tokenizer::Tokenizer;

/// Longest schema, expression or grammar, in bytes.
const SHAPE_BYTES_MAX: usize = 256 << 10;
/// Deepest nesting of a schema.
const SCHEMA_DEPTH_MAX: usize = 64;
/// Most space between two parts of a JSON text: a model that finds nothing to say must not go on with spaces for ever.
const JSON_SPACE: &str = r"[ \n\r\t]{1,32}";
/// Longest message of an error.
const REASON_CHARS_MAX: usize = 400;

/// What an answer must look like.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A JSON object.
    JsonObject,
    /// JSON that follows a schema.
    JsonSchema(Value),
    /// A text that a regular expression matches from its beginning to its end.
    Regex(String),
    /// A text of a grammar in Lark's notation, as llguidance reads it.
    Lark(String),
}

/// Makes grammars for one vocabulary.
#[derive(Clone)]
pub struct GrammarCompiler {
    factory: Arc<ParserFactory>,
}

impl GrammarCompiler {
    /// A compiler for the vocabulary of `tokenizer`. Takes tenths of a second for a large one.
    ///
    /// # Errors
    /// If the vocabulary has no token that ends an answer.
    pub fn new(tokenizer: &Tokenizer) -> Result<Self, Error> {
        let ids = || (0..tokenizer.vocab_len() as u32).map(TokenId);
        let end = tokenizer.eos().or_else(|| ids().find(|&id| tokenizer.is_end(id)));
        let end = end.ok_or_else(|| grammar_error("the vocabulary has no token that ends an answer"))?;
        let words: Vec<Vec<u8>> = ids()
            .map(|id| {
                let bytes = tokenizer.token_bytes(id);
                // What is no text can stand in a grammar by its id alone.
                if tokenizer.is_apart(id) || tokenizer.is_end(id) {
                    [&[TokTrie::SPECIAL_TOKEN_MARKER], bytes].concat()
                } else {
                    bytes.to_vec()
                }
            })
            .collect();
        let trie = TokTrie::from(&TokRxInfo::new(words.len() as u32, end.0), &words);
        let env: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory =
            ParserFactory::new_simple(&env).map_err(|error| grammar_error(&error.to_string()))?;
        factory.quiet();
        factory.limits_mut().verbose_errors = false;
        Ok(Self { factory: Arc::new(factory) })
    }

    /// The grammar of `shape`.
    ///
    /// # Errors
    /// If it is too long, too deep or too hard, or says something that cannot be kept.
    pub fn compile(&self, shape: &Shape) -> Result<Grammar, Error> {
        let too_long =
            |len: usize| grammar_error(&format!("it has {len} bytes, expected at most {SHAPE_BYTES_MAX}"));
        let grammar = match shape {
            Shape::JsonObject => TopLevelGrammar::from_json_schema(bounded(json!({ "type": "object" }))),
            Shape::JsonSchema(schema) => {
                let len = schema.to_string().len();
                if len > SHAPE_BYTES_MAX {
                    return Err(too_long(len));
                }
                if !is_shallow(schema, SCHEMA_DEPTH_MAX) {
                    return Err(grammar_error(&format!("it is nested more than {SCHEMA_DEPTH_MAX} deep")));
                }
                TopLevelGrammar::from_json_schema(bounded(schema.clone()))
            }
            Shape::Regex(text) | Shape::Lark(text) if text.len() > SHAPE_BYTES_MAX => {
                return Err(too_long(text.len()));
            }
            Shape::Regex(text) => TopLevelGrammar::from_regex(text),
            Shape::Lark(text) => TopLevelGrammar::from_lark(text.clone()),
        };
        let parser =
            self.factory.create_parser(grammar).map_err(|error| grammar_error(&error.to_string()))?;
        let mut matcher = Matcher::new(Ok(parser));
        // A shape that nothing fits is found out now, not in the middle of an answer.
        matcher.compute_mask_or_eos().map_err(|error| grammar_error(&error.to_string()))?;
        Ok(Grammar { matcher })
    }
}

impl std::fmt::Debug for GrammarCompiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GrammarCompiler")
    }
}

/// Follows one answer.
pub struct Grammar {
    matcher: Matcher,
}

impl Grammar {
    /// The tokens that may come next: one bit for each id, the lowest first. A token that ends the answer is among them where it
    /// may end.
    ///
    /// # Errors
    /// If that takes more than its share of time: in one sentence, why.
    pub fn allowed(&mut self) -> Result<Vec<u32>, String> {
        let mask = self.matcher.compute_mask_or_eos().map_err(|error| short(&error.to_string()))?;
        Ok(mask.as_slice().to_vec())
    }

    /// Goes on with `token`.
    ///
    /// # Errors
    /// If it was not allowed.
    pub fn accept(&mut self, token: TokenId) -> Result<(), String> {
        if self.matcher.is_stopped() && !self.matcher.is_error() {
            return Ok(());
        }
        self.matcher.consume_token(token.0).map_err(|error| short(&error.to_string()))
    }
}

/// `schema` with a bound to the space between its parts, unless it has one.
pub(crate) fn bounded(mut schema: Value) -> Value {
    if let Value::Object(schema) = &mut schema {
        let options = || json!({ "whitespace_pattern": JSON_SPACE });
        schema.entry("x-guidance").or_insert_with(options);
    }
    schema
}

fn is_shallow(value: &Value, depth: usize) -> bool {
    let inner = |value: &Value| depth > 0 && is_shallow(value, depth - 1);
    match value {
        Value::Array(items) => items.iter().all(inner),
        Value::Object(fields) => fields.values().all(inner),
        _ => true,
    }
}

fn grammar_error(reason: &str) -> Error {
    Error::Grammar { reason: short(reason) }
}

/// The first line of what the grammar engine says.
fn short(reason: &str) -> String {
    reason.lines().next().unwrap_or_default().chars().take(REASON_CHARS_MAX).collect()
}
