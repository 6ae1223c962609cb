//! V3.2 and V4 as clients meet them: minnow in their clothes, whose calls a grammar forces, since it has never learnt any.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::serve::{Reply, Server, with};
use crate::serve_shapes::{is_person, schema};
use crate::{arg, shoal};

/// The id of the token that is renamed to the mark, and its text of as many bytes.
const DATETIME: (usize, &str) = (4060, "Ġdatetime");
/// Where minnow's chat template begins and how long it is.
const TEMPLATE: (&str, usize) = ("{{ bos_token }}{% for m in messages %}", 275);

fn at(bytes: &[u8], text: &[u8]) -> usize {
    bytes.windows(text.len()).position(|window| window == text).expect("it is in the golden file")
}

/// Minnow under another name, with a template that writes calls in `block`, and with a token for the mark if it is to have one.
fn disguised(block: &str, has_mark: bool) -> (PathBuf, tempfile::TempDir) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/minnow/minnow.bf16.gguf");
    let mut bytes = std::fs::read(path).expect("the golden file");
    let name = at(&bytes, b"minnow");
    bytes[name..name + 6].copy_from_slice(b"mullet");
    let (begin, len) = TEMPLATE;
    let template = at(&bytes, begin.as_bytes());
    let written = format!("{{# <｜DSML｜{block}> #}}");
    bytes[template..template + len].fill(b' ');
    bytes[template..template + written.len()].copy_from_slice(written.as_bytes());
    if has_mark {
        let (id, text) = DATETIME;
        let stored = [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
        let token = at(&bytes, &stored) + 8;
        bytes[token..token + text.len()].copy_from_slice("｜DSML｜".as_bytes());
        let key = b"tokenizer.ggml.token_type";
        // Behind the key: that it is a list, of what, and how long.
        let types = at(&bytes, key) + key.len() + 4 + 4 + 8;
        bytes[types + 4 * id..types + 4 * id + 4].copy_from_slice(&4i32.to_le_bytes());
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("mullet.gguf");
    std::fs::write(&path, bytes).expect("a temporary file");
    (path, folder)
}

fn ask(question: &str) -> Value {
    json!({
        "messages": [{"role": "user", "content": question}],
        "tools": [
            {"type": "function", "function": {"name": "set_person", "description": "Sets a person.", "parameters": schema()}},
            {"type": "function", "function": {"name": "now"}},
        ],
        "thinking": {"type": "disabled"},
        "max_tokens": 300,
        "temperature": 1,
        "seed": 5,
    })
}

#[test]
fn the_style_is_that_of_the_block_that_a_template_writes() {
    for (block, has_mark, style) in
        [("function_calls", false, "deepseek-v3.2"), ("tool_calls", true, "deepseek-v4")]
    {
        let (path, _folder) = disguised(block, has_mark);
        let report = shoal(&["inspect", arg(&path), "--json"]).json();
        assert_eq!(report["tokenizer"]["prompt_style"], style);
    }
}

#[test]
fn functions_are_called_in_dsml_and_their_results_read() {
    for (block, has_mark) in [("function_calls", false), ("tool_calls", true)] {
        let (path, _folder) = disguised(block, has_mark);
        let server = Server::start_model(arg(&path), &[]);
        let named = json!({"type": "function", "function": {"name": "set_person"}});
        let asked = with(ask("Who?"), "tool_choice", named);
        let reply = server.chat(&asked).json();
        let choice = &reply["choices"][0];
        assert_eq!(choice["finish_reason"], "tool_calls", "{reply}");
        assert_eq!(choice["message"]["content"], Value::Null, "{reply}");
        let call = &choice["message"]["tool_calls"][0];
        let arguments = call["function"]["arguments"].as_str().expect("text").to_owned();
        assert_eq!(call["function"]["name"], "set_person", "{reply}");
        is_person(&arguments);

        let (mut name, mut parts) = (String::new(), Vec::new());
        for event in server.chat(&with(asked.clone(), "stream", true.into())).events() {
            for call in event["choices"][0]["delta"]["tool_calls"].as_array().into_iter().flatten() {
                name.push_str(call["function"]["name"].as_str().unwrap_or_default());
                parts.extend(call["function"]["arguments"].as_str().map(str::to_owned));
            }
        }
        assert_eq!((name.as_str(), parts.concat()), ("set_person", arguments), "the same seed");
        assert!(parts.len() > 3, "they come as they are written: {parts:?}");

        let mut next = with(asked, "tool_choice", json!("none"));
        let history = next["messages"].as_array_mut().expect("messages");
        history.push(choice["message"].clone());
        history.push(json!({"role": "tool", "tool_call_id": call["id"], "content": "done"}));
        let reply = server.chat(&with(next, "max_tokens", json!(5))).json();
        assert_eq!(reply["choices"][0]["finish_reason"], "length", "{reply}");

        // Whatever minnow says of its own accord, it is text or a call.
        let reply = server.chat(&with(ask("Once"), "max_tokens", json!(60))).json();
        for call in reply["choices"][0]["message"]["tool_calls"].as_array().into_iter().flatten() {
            let name = call["function"]["name"].as_str().expect("a name");
            assert!(["set_person", "now"].contains(&name), "{reply}");
        }
    }
}

/// The texts at `pointer` of all events that have one.
fn streamed(reply: &Reply, pointer: &str) -> Vec<String> {
    let data = reply.body.lines().filter_map(|line| line.strip_prefix("data: "));
    let events = data.filter_map(|data| serde_json::from_str::<Value>(data).ok());
    events.filter_map(|event| event.pointer(pointer)?.as_str().map(str::to_owned)).collect()
}

#[test]
fn calls_in_dsml_come_by_the_other_apis_as_well() {
    let (path, _folder) = disguised("tool_calls", true);
    let server = Server::start_model(arg(&path), &[]);
    let message = json!({
        "max_tokens": 300,
        "thinking": {"type": "disabled"},
        "tools": [{"name": "set_person", "input_schema": schema()}],
        "tool_choice": {"type": "tool", "name": "set_person"},
        "messages": [{"role": "user", "content": "Who?"}],
        "temperature": 1,
        "seed": 5,
    });
    let whole = server.post("/v1/messages", &message).json();
    assert_eq!(whole["stop_reason"], "tool_use", "{whole}");
    let input = &whole["content"][0]["input"];
    is_person(&input.to_string());
    let parts =
        streamed(&server.post("/v1/messages", &with(message, "stream", true.into())), "/delta/partial_json");
    assert_eq!(&serde_json::from_str::<Value>(&parts.concat()).expect("JSON"), input);
    assert!(parts.len() > 3, "{parts:?}");

    let response = json!({
        "max_output_tokens": 300,
        "reasoning": {"effort": "none"},
        "tools": [{"type": "function", "name": "set_person", "parameters": schema()}],
        "tool_choice": {"type": "function", "name": "set_person"},
        "input": "Who?",
        "temperature": 1,
        "seed": 5,
    });
    let whole = server.post("/v1/responses", &response).json();
    let arguments = whole["output"][0]["arguments"].as_str().unwrap_or_else(|| panic!("{whole}")).to_owned();
    is_person(&arguments);
    let reply = server.post("/v1/responses", &with(response, "stream", true.into()));
    let deltas: String = reply
        .body
        .split("\n\n")
        .filter(|event| event.starts_with("event: response.function_call_arguments.delta"))
        .filter_map(|event| event.lines().find_map(|line| line.strip_prefix("data: ")))
        .map(|data| {
            serde_json::from_str::<Value>(data).expect("JSON")["delta"].as_str().expect("text").to_owned()
        })
        .collect();
    assert_eq!(deltas, arguments);
}

#[test]
fn reasoning_comes_first_and_is_kept_between_calls() {
    let (path, _folder) = disguised("tool_calls", true);
    let server = Server::start_model(arg(&path), &["--ctx", "2048"]);
    let count = |body: &Value| server.chat(body).json()["usage"]["prompt_tokens"].as_u64().expect("a count");
    let tokens = |text: &str| {
        let tokens = server.post("/tokenize", &json!({"content": text})).json();
        tokens["tokens"].as_array().expect("tokens").len() as u64
    };
    let thinking =
        with(with(ask("Who?"), "thinking", json!({"type": "enabled"})), "thinking_token_budget", json!(7));
    let reply = server.chat(&with(thinking.clone(), "tool_choice", json!("required"))).json();
    let message = &reply["choices"][0]["message"];
    assert!(message["reasoning_content"].as_str().is_some_and(|text| !text.is_empty()), "{reply}");
    assert!(message["tool_calls"].as_array().is_some_and(|calls| !calls.is_empty()), "{reply}");

    let thought = "Once upon a time there was a little fish.";
    let history = |reasoning: &str| {
        let call =
            json!({"id": "call_1", "type": "function", "function": {"name": "now", "arguments": "{}"}});
        let messages = json!([
            {"role": "user", "content": "Who?"},
            {"role": "assistant", "content": null, "reasoning_content": reasoning, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": "noon"},
        ]);
        with(with(thinking.clone(), "messages", messages), "max_tokens", json!(1))
    };
    assert_eq!(count(&history(thought)), count(&history("")) + tokens(thought), "it stands in the prompt");
    let off = |reasoning: &str| {
        let mut body = with(history(reasoning), "thinking", json!({"type": "disabled"}));
        body.as_object_mut().expect("an object").remove("thinking_token_budget");
        body
    };
    assert_eq!(count(&off(thought)), count(&off("")), "who does not reason reads no reasoning");

    let begun = |reasoning: Value| {
        let begun =
            json!({"role": "assistant", "content": "It", "reasoning_content": reasoning, "prefix": true});
        let messages = json!([{"role": "user", "content": "Who?"}, begun]);
        count(&json!({"messages": messages, "reasoning_effort": "low", "max_tokens": 1}))
    };
    let without = begun(Value::Null);
    assert_eq!(
        begun(json!(thought)),
        without + tokens(thought) + 1,
        "a begun answer has its reasoning before it"
    );

    let effort = |effort: &str| {
        let body = json!({"messages": [{"role": "user", "content": "Who?"}], "reasoning_effort": effort, "max_tokens": 1});
        count(&body)
    };
    let efforts = ["none", "low", "medium", "high", "max"].map(effort);
    assert_eq!(efforts[0], efforts[1], "the texts are as long without reasoning as with the least");
    assert!(efforts[1] < efforts[2] && efforts[2] == efforts[3] && efforts[3] != efforts[4], "{efforts:?}");
    let plain = json!({"messages": [{"role": "user", "content": "Who?"}], "max_tokens": 1});
    assert_eq!(count(&plain), efforts[3], "they reason, and much, unless they are told otherwise");
    let anthropic = |effort: &str| {
        let body = json!({"messages": plain["messages"], "output_config": {"effort": effort}});
        server.post("/v1/messages/count_tokens", &body).json()["input_tokens"].as_u64().expect("a count")
    };
    assert_eq!([anthropic("low"), anthropic("max")], [efforts[1], efforts[4]]);
    let schema = json!({"type": "json_schema", "json_schema": {"name": "p", "schema": schema()}});
    let formatted =
        with(with(plain.clone(), "response_format", schema), "thinking", json!({"type": "disabled"}));
    assert!(count(&formatted) > efforts[0] + 30, "the schema stands in the prompt");
}
