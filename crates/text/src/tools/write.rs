//! Calls and results of earlier turns, as the model would have written and read them.

use super::Tool;
use super::describe::hermes_text;
use super::{
    CALL_BEGIN, CALL_END, CALLS_BEGIN, CALLS_END, CallFormat, HERMES_CLOSE, HERMES_OPEN, OUTPUT_BEGIN,
    OUTPUT_END, SEP, ToolCall, dsml,
};
use crate::prompt::pieces::Pieces;
use crate::{Message, Role};

/// Writes the calls of one message.
pub(crate) fn write_calls(format: CallFormat, calls: &[ToolCall], pieces: &mut Pieces) {
    match format {
        CallFormat::Hermes => return hermes(calls, pieces),
        _ if calls.is_empty() => return,
        CallFormat::DeepseekV32 => return dsml::write_calls(&dsml::V32, calls, pieces),
        CallFormat::DeepseekV4(release) => return dsml::write_calls(dsml::v4(release), calls, pieces),
        CallFormat::DeepseekV3 | CallFormat::DeepseekV31 => {}
    }
    pieces.special(CALLS_BEGIN);
    for (idx, ToolCall { name, arguments, .. }) in calls.iter().enumerate() {
        if idx > 0 && format == CallFormat::DeepseekV3 {
            pieces.text("\n");
        }
        pieces.special(CALL_BEGIN);
        if format == CallFormat::DeepseekV3 {
            pieces.text("function");
            pieces.special(SEP);
            pieces.text(&format!("{name}\n```json\n{arguments}\n```"));
        } else {
            pieces.text(name);
            pieces.special(SEP);
            pieces.text(arguments);
        }
        pieces.special(CALL_END);
    }
    pieces.special(CALLS_END);
}

fn hermes(calls: &[ToolCall], pieces: &mut Pieces) {
    for (idx, ToolCall { name, arguments, .. }) in calls.iter().enumerate() {
        if idx > 0 {
            pieces.text("\n");
        }
        pieces.special(HERMES_OPEN);
        pieces.text(&hermes_body(name, arguments));
        pieces.special(HERMES_CLOSE);
    }
}

fn hermes_body(name: &str, arguments: &str) -> String {
    let name = serde_json::Value::from(name);
    format!("\n{{\"name\": {name}, \"arguments\": {arguments}}}\n")
}

/// The conversation for a model that has no marks for calls: functions, calls and results become texts of messages, in Hermes'
/// format. `default_system` stands in front where the conversation has no instructions.
pub(crate) fn as_text(messages: &[Message], tools: &[Tool], default_system: Option<&str>) -> Vec<Message> {
    let mut texts: Vec<Message> = Vec::with_capacity(messages.len() + 1);
    if !tools.is_empty() {
        let own = messages.first().filter(|message| message.role == Role::System);
        let own = own.map(|message| message.content.as_str()).or(default_system);
        let system =
            own.into_iter().filter(|text| !text.is_empty()).map(str::to_owned).chain([hermes_text(tools)]);
        texts.push(Message::new(Role::System, system.collect::<Vec<_>>().join("\n\n")));
    }
    let skipped = usize::from(!tools.is_empty() && messages.first().is_some_and(|m| m.role == Role::System));
    let mut after_result = false;
    for message in &messages[skipped..] {
        if message.role == Role::Tool {
            let result = format!("<tool_response>\n{}\n</tool_response>", message.content);
            match texts.last_mut().filter(|_| after_result) {
                Some(last) => last.content.push_str(&format!("\n{result}")),
                None => texts.push(Message::new(Role::User, result)),
            }
        } else {
            let mut content = message.content.clone();
            for ToolCall { name, arguments, .. } in &message.calls {
                let gap = if content.is_empty() { "" } else { "\n" };
                content
                    .push_str(&format!("{gap}{HERMES_OPEN}{}{HERMES_CLOSE}", hermes_body(name, arguments)));
            }
            texts.push(Message { content, calls: Vec::new(), ..message.clone() });
        }
        after_result = message.role == Role::Tool;
    }
    texts
}

/// Writes one result; what stands around several is the style's.
pub(crate) fn write_result(format: CallFormat, result: &str, pieces: &mut Pieces) {
    let (open, close) = match format {
        CallFormat::DeepseekV3 | CallFormat::DeepseekV31 => {
            pieces.special(OUTPUT_BEGIN);
            pieces.text(result);
            return pieces.special(OUTPUT_END);
        }
        CallFormat::DeepseekV32 => ("<result>", "</result>"),
        CallFormat::DeepseekV4(_) => ("<tool_result>", "</tool_result>"),
        CallFormat::Hermes => ("<tool_response>\n", "\n</tool_response>"),
    };
    for text in [open, result, close] {
        pieces.text(text);
    }
}
