//! DSML: how V3.2 and V4 are told of functions and write calls.
//!
//! ```text
//! <｜DSML｜tool_calls>                                       V3.2: function_calls
//! <｜DSML｜invoke name="NAME">
//! <｜DSML｜parameter name="KEY" string="true">plain text</｜DSML｜parameter>
//! <｜DSML｜parameter name="KEY" string="false">{"any": "JSON"}</｜DSML｜parameter>
//! </｜DSML｜invoke>
//! </｜DSML｜tool_calls>
//! ```
//! A call's arguments are a JSON object: each of its fields is a parameter, a text as it stands and everything else as JSON. In V4's
//! vocabulary `｜DSML｜` is a token, so that nothing in a value can end it; V3.2 writes the mark in plain text, and there a value ends at the
//! first `</｜DSML｜parameter>`, whoever wrote it.
//!
//! Source of the texts: `encoding/encoding_dsv32.py` and `encoding/encoding_dsv4.py` in DeepSeek's model repositories, and for the releases with a date
//! in their names the crate `deepseek-recipe-encoding` 0.2.0. See decision 0011.

mod grammar;
mod parse;

use serde_json::{Map, Value};

pub(super) use grammar::grammar;
pub(super) use parse::DsmlParser;

use super::{Tool, ToolCall, V4Release};
use crate::prompt::pieces::Pieces;
use crate::prompt::spaced_json;
use crate::reasoning::{THINK_CLOSE, THINK_OPEN};

/// What every tag of the format begins with.
pub(super) const MARK: &str = "｜DSML｜";

/// What differs between the generations.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// Name of the tag around all calls.
    pub(crate) block: &'static str,
    /// Whether the mark is a token.
    is_token: bool,
    /// Whether a call without arguments has an empty line in their place.
    has_empty_line: bool,
    /// Whether a function without a description is listed with an empty one.
    has_empty_description: bool,
    /// What stands before the list of functions, and after it.
    how: [&'static str; 2],
}

pub(crate) const V32: Dialect = Dialect {
    block: "function_calls",
    is_token: false,
    has_empty_line: true,
    has_empty_description: false,
    how: [V32_HOW, "</functions>\n"],
};

const V4_PREVIEW: Dialect = Dialect {
    block: "tool_calls",
    is_token: true,
    has_empty_line: true,
    has_empty_description: false,
    how: [V4_HOW, V4_END],
};

const V4: Dialect = Dialect {
    block: "tool_calls",
    is_token: true,
    has_empty_line: false,
    has_empty_description: true,
    how: [V4_HOW, V4_END],
};

/// The dialect of a V4.
pub(crate) const fn v4(release: V4Release) -> &'static Dialect {
    match release {
        V4Release::Preview => &V4_PREVIEW,
        V4Release::Dated => &V4,
    }
}

const V32_HOW: &str = r#"## Tools

You have access to a set of tools you can use to answer the user's question.
You can invoke functions by writing a "<｜DSML｜function_calls>" block like the following as part of your reply to the user:
<｜DSML｜function_calls>
<｜DSML｜invoke name="$FUNCTION_NAME">
<｜DSML｜parameter name="$PARAMETER_NAME" string="true|false">$PARAMETER_VALUE</｜DSML｜parameter>
...
</｜DSML｜invoke>
<｜DSML｜invoke name="$FUNCTION_NAME2">
...
</｜DSML｜invoke>
</｜DSML｜function_calls>

String and scalar parameters should be specified as is without any escaping or quotes, while lists and objects should use JSON format. The "string" attribute should be set to "true" for string type parameters and "false" for other types (numbers, booleans, arrays, objects).

If the thinking_mode is enabled, then after function results you should strongly consider outputting a thinking block. Here is an example:

<｜DSML｜function_calls>
...
</｜DSML｜function_calls>

<function_results>
...
</function_results>

<think>...thinking about results</think>

Here are the functions available in JSONSchema format:
<functions>
"#;

const V4_HOW: &str = r#"## Tools

You have access to a set of tools to help answer the user's question. You can invoke tools by writing a "<｜DSML｜tool_calls>" block like the following:

<｜DSML｜tool_calls>
<｜DSML｜invoke name="$TOOL_NAME">
<｜DSML｜parameter name="$PARAMETER_NAME" string="true|false">$PARAMETER_VALUE</｜DSML｜parameter>
...
</｜DSML｜invoke>
<｜DSML｜invoke name="$TOOL_NAME2">
...
</｜DSML｜invoke>
</｜DSML｜tool_calls>

String parameters should be specified as is and set `string="true"`. For all other types (numbers, booleans, arrays, objects), pass the value in JSON format and set `string="false"`.

If thinking_mode is enabled (triggered by <think>), you MUST output your complete reasoning inside <think>...</think> BEFORE any tool calls or final response.

Otherwise, output directly after </think> with tool calls or final response.

### Available Tool Schemas

"#;

const V4_END: &str =
    "\nYou MUST strictly follow the above defined tool name and parameter schemas to invoke tool calls.\n";

/// Writes the functions as part of the instructions.
pub(super) fn describe(dialect: &Dialect, tools: &[Tool], pieces: &mut Pieces) {
    let [before, after] = dialect.how;
    let marks: &[&str] =
        if dialect.is_token { &[MARK, THINK_OPEN, THINK_CLOSE] } else { &[THINK_OPEN, THINK_CLOSE] };
    pieces.marked(before, marks);
    for tool in tools {
        let mut function = Map::new();
        function.insert("name".to_owned(), tool.name.as_str().into());
        let description = tool.description.as_deref();
        if let Some(text) = description.or(dialect.has_empty_description.then_some("")) {
            function.insert("description".to_owned(), text.into());
        }
        function.insert("parameters".to_owned(), tool.parameters.clone());
        pieces.text(&spaced_json(&Value::Object(function)));
        pieces.text("\n");
    }
    pieces.text(after);
}

/// Writes the calls of one message, of which there is one at least.
pub(super) fn write_calls(dialect: &Dialect, calls: &[ToolCall], pieces: &mut Pieces) {
    let mut tag = |open: &str, rest: &str| {
        pieces.text(open);
        if dialect.is_token {
            pieces.special(MARK)
        } else {
            pieces.text(MARK)
        }
        pieces.text(rest);
    };
    let block = dialect.block;
    tag("\n\n<", &format!("{block}>\n"));
    for call in calls {
        tag("<", &format!("invoke name=\"{}\">\n", call.name));
        let arguments = arguments(call);
        for (key, value) in &arguments {
            let (is_text, text) = match value {
                Value::String(text) => (true, text.clone()),
                other => (false, spaced_json(other)),
            };
            tag("<", &format!("parameter name=\"{key}\" string=\"{is_text}\">{text}"));
            tag("</", "parameter>\n");
        }
        let gap = if arguments.is_empty() && dialect.has_empty_line { "\n</" } else { "</" };
        tag(gap, "invoke>\n");
    }
    tag("</", &format!("{block}>"));
}

/// The fields of a call's arguments; what is no object is one text, and nothing is none.
fn arguments(call: &ToolCall) -> Map<String, Value> {
    if call.arguments.trim().is_empty() {
        return Map::new();
    }
    serde_json::from_str(&call.arguments).unwrap_or_else(|_| {
        let text = call.arguments.as_str();
        Map::from_iter([("arguments".to_owned(), text.into())])
    })
}
