//! Which texts are answers with calls, as a grammar in Lark's notation.
//!
//! Marks that are tokens are written by their id, so that no other text can stand for them. Before the first call stands free
//! text, unless a call is demanded: then there is nothing else. Where the answer has a format, it is either that or calls.

use serde_json::Value;

use super::{
    CALL_BEGIN, CALL_END, CALLS_BEGIN, CALLS_END, CallFormat, Demand, HERMES_CLOSE, HERMES_OPEN, SEP, Tool,
    dsml,
};
use crate::error::Error;
use crate::grammar::bounded;
use crate::tokenizer::Tokenizer;

impl CallFormat {
    /// The grammar of an answer that may call `tools`; `schema` is that of an answer that calls none, if it has to be JSON.
    ///
    /// # Errors
    /// If the format cannot keep what a function's schema says.
    pub fn grammar(
        self,
        tokenizer: &Tokenizer,
        tools: &[Tool],
        demand: Demand,
        schema: Option<&Value>,
    ) -> Result<String, Error> {
        match self {
            Self::DeepseekV32 => dsml::grammar(&dsml::V32, tokenizer, tools, demand, schema),
            Self::DeepseekV4(release) => dsml::grammar(dsml::v4(release), tokenizer, tools, demand, schema),
            Self::DeepseekV3 | Self::DeepseekV31 | Self::Hermes => {
                Ok(self.marked_grammar(tokenizer, tools, demand, schema))
            }
        }
    }

    /// The grammar of a format whose calls stand between marks, with arguments as one JSON text.
    fn marked_grammar(
        self,
        tokenizer: &Tokenizer,
        tools: &[Tool],
        demand: Demand,
        schema: Option<&Value>,
    ) -> String {
        let mark = |text: &str| match tokenizer.special(text) {
            Some(id) => format!("<[{}]>", id.0),
            None => quoted(text),
        };
        let more = match demand {
            Demand::Free | Demand::Some if self == Self::DeepseekV31 => " call*",
            Demand::Free | Demand::Some => " (\"\\n\" call)*",
            Demand::One | Demand::AtMostOne => "",
        };
        let calls = match self {
            Self::Hermes => format!("call{more}"),
            _ => format!("{} call{more} {}", mark(CALLS_BEGIN), mark(CALLS_END)),
        };
        let start = match (demand, schema) {
            (Demand::Some | Demand::One, _) => "start: calls\n".to_owned(),
            (Demand::Free | Demand::AtMostOne, Some(schema)) => {
                format!("start: answer | calls\nanswer: %json {}\n", bounded(schema.clone()))
            }
            (Demand::Free | Demand::AtMostOne, None) if self.opens_with_text(tokenizer) => {
                format!(
                    "start: FREE | OPEN body{more}\nFREE: /(?s:.*)/ & ~/(?s:.*){HERMES_OPEN}(?s:.*)/\nOPEN: FREE {}\n",
                    quoted(HERMES_OPEN)
                )
            }
            (Demand::Free | Demand::AtMostOne, None) => "start: FREE calls?\nFREE: /(?s:.*)/\n".to_owned(),
        };
        let names: Vec<String> = (0..tools.len()).map(|idx| format!("call_{idx}")).collect();
        let call =
            if self == Self::Hermes { format!("{} body", mark(HERMES_OPEN)) } else { "body".to_owned() };
        let mut grammar = format!("{start}calls: {calls}\ncall: {call}\nbody: {}\n", names.join(" | "));
        for (idx, tool) in tools.iter().enumerate() {
            let (name, arguments) =
                (quoted(&tool.name), format!("%json {}", bounded(tool.parameters.clone())));
            let call = match self {
                Self::DeepseekV3 => format!(
                    "{} \"function\" {} {name} \"\\n```json\\n\" args_{idx} \"\\n```\" {}",
                    mark(CALL_BEGIN),
                    mark(SEP),
                    mark(CALL_END)
                ),
                Self::DeepseekV31 => {
                    format!("{} {name} {} args_{idx} {}", mark(CALL_BEGIN), mark(SEP), mark(CALL_END))
                }
                _ => format!(
                    "\"\\n{{\\\"name\\\": \\\"\" {name} \"\\\", \\\"arguments\\\": \" args_{idx} \"}}\\n\" {}",
                    mark(HERMES_CLOSE)
                ),
            };
            grammar.push_str(&format!("call_{idx}: {call}\nargs_{idx}: {arguments}\n"));
        }
        grammar
    }

    /// Whether a call opens with a text rather than a token of its own. Then that text is no part of free text, and what leads into a call is
    /// one stretch with it: the grammar engine stays in a stretch as long as the text may go on.
    fn opens_with_text(self, tokenizer: &Tokenizer) -> bool {
        self == Self::Hermes && tokenizer.special(HERMES_OPEN).is_none()
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
