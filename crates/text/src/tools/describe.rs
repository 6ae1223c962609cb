//! What a model is told about the functions it may call.

use super::{
    CALL_BEGIN, CALL_END, CALLS_BEGIN, CALLS_END, CallFormat, HERMES_CLOSE, HERMES_OPEN, SEP, Tool, dsml,
};
use crate::prompt::pieces::Pieces;
use crate::prompt::spaced_json;

/// Writes the functions as part of the instructions, after what stands there already.
pub(crate) fn describe(format: CallFormat, tools: &[Tool], pieces: &mut Pieces) {
    match format {
        CallFormat::DeepseekV3 => v3(tools, pieces),
        CallFormat::DeepseekV31 => v31(tools, pieces),
        CallFormat::DeepseekV32 => dsml::describe(&dsml::V32, tools, pieces),
        CallFormat::DeepseekV4(release) => dsml::describe(dsml::v4(release), tools, pieces),
        CallFormat::Hermes => hermes(tools, pieces),
    }
}

/// V3 and R1 were given no text of their own for this; these words say what V3.1's say, with V3's form of a call.
fn v3(tools: &[Tool], pieces: &mut Pieces) {
    list(tools, pieces);
    pieces.text("\nTo call tools, write exactly this and nothing after it:\n");
    for mark in [CALLS_BEGIN, CALL_BEGIN] {
        pieces.special(mark);
    }
    pieces.text("function");
    pieces.special(SEP);
    pieces.text("tool_call_name\n```json\ntool_call_arguments\n```");
    for mark in [CALL_END, CALLS_END] {
        pieces.special(mark);
    }
    pieces.text(
        "\n\nThe name is that of one of the tools, and the arguments are JSON that follows its parameters. More calls stand between \
         the outer marks, each on a new line.\n",
    );
}

fn v31(tools: &[Tool], pieces: &mut Pieces) {
    list(tools, pieces);
    pieces.text("\nIMPORTANT: ALWAYS adhere to this exact format for tool use:\n");
    for mark in [CALLS_BEGIN, CALL_BEGIN] {
        pieces.special(mark);
    }
    pieces.text("tool_call_name");
    pieces.special(SEP);
    pieces.text("tool_call_arguments");
    pieces.special(CALL_END);
    pieces.text("{{additional_tool_calls}}");
    pieces.special(CALLS_END);
    pieces.text(
        "\n\nWhere:\n- `tool_call_name` must be an exact match to one of the available tools\n\
         - `tool_call_arguments` must be valid JSON that strictly follows the tool's Parameters Schema\n\
         - For multiple tool calls, chain them directly without separators or spaces\n",
    );
}

fn list(tools: &[Tool], pieces: &mut Pieces) {
    pieces.text("## Tools\nYou have access to the following tools:\n");
    for tool in tools {
        let description = tool.description.as_deref().unwrap_or_default();
        let parameters = spaced_json(&tool.parameters);
        pieces
            .text(&format!("\n### {}\nDescription: {description}\n\nParameters: {parameters}\n", tool.name));
    }
}

fn hermes(tools: &[Tool], pieces: &mut Pieces) {
    pieces.text(&hermes_list(tools));
    // Only these marks are the format's; what functions say of themselves is text.
    pieces.marked(HERMES_HOW, &[HERMES_OPEN, HERMES_CLOSE]);
}

/// How a call is written.
const HERMES_HOW: &str = "\n</tools>\n\nFor each function call, return a json object with function name and arguments within \
                          <tool_call></tool_call> XML tags:\n<tool_call>\n\
                          {\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>";

/// All of it in plain text.
pub(super) fn hermes_text(tools: &[Tool]) -> String {
    hermes_list(tools) + HERMES_HOW
}

/// The functions in the words of Qwen2.5's template.
fn hermes_list(tools: &[Tool]) -> String {
    let mut text = String::from(
        "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n\
         You are provided with function signatures within <tools></tools> XML tags:\n<tools>",
    );
    for tool in tools {
        let mut function = serde_json::Map::new();
        function.insert("name".to_owned(), tool.name.as_str().into());
        if let Some(description) = &tool.description {
            function.insert("description".to_owned(), description.as_str().into());
        }
        function.insert("parameters".to_owned(), tool.parameters.clone());
        let signature = serde_json::json!({ "type": "function", "function": function });
        text.push('\n');
        text.push_str(&spaced_json(&signature));
    }
    text
}
