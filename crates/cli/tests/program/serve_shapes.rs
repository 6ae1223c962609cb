//! What an answer must look like, which functions it calls, how likely its tokens were, and what is known of its prompt.

use serde_json::{Value, json};

use crate::serve::{Server, story, with};

/// Minnow under another name, and so with the format and the marks of a DeepSeek that reasons when it is asked to.
fn reasoning_minnow() -> (Server, tempfile::TempDir) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/minnow/minnow.bf16.gguf");
    let mut bytes = std::fs::read(path).expect("the golden file");
    let at = bytes.windows(6).position(|name| name == b"minnow").expect("its name");
    bytes[at..at + 6].copy_from_slice(b"mullet");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("mullet.gguf");
    std::fs::write(&path, bytes).expect("a temporary file");
    (Server::start_model(path.to_str().expect("UTF-8"), &[]), folder)
}

fn hot(max_tokens: u32) -> Value {
    with(with(story(max_tokens), "temperature", json!(1)), "seed", json!(5))
}

#[track_caller]
fn content(reply: &crate::serve::Reply) -> String {
    let json = reply.json();
    json["choices"][0]["message"]["content"]
        .as_str()
        .unwrap_or_else(|| panic!("no content: {json}"))
        .to_owned()
}

pub(crate) fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer", "minimum": 0, "maximum": 120}},
        "required": ["name", "age"],
        "additionalProperties": false,
    })
}

#[track_caller]
pub(crate) fn is_person(text: &str) {
    let person: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert!(person["name"].as_str().is_some_and(|name| name.chars().count() <= 8), "{person}");
    assert!(person["age"].as_u64().is_some_and(|age| age <= 120), "{person}");
    assert_eq!(person.as_object().map(serde_json::Map::len), Some(2), "{person}");
}

#[test]
fn answers_have_the_format_that_was_asked_for() {
    let server = Server::start(&[]);
    let format =
        json!({"type": "json_schema", "json_schema": {"name": "person", "strict": true, "schema": schema()}});
    for seed in 0..3 {
        let body = with(with(hot(200), "response_format", format.clone()), "seed", json!(seed));
        is_person(&content(&server.chat(&body)));
    }
    let streamed =
        server.chat(&with(with(hot(200), "response_format", format), "stream", true.into())).events();
    is_person(
        &streamed
            .iter()
            .filter_map(|part| part["choices"][0]["delta"]["content"].as_str())
            .collect::<String>(),
    );
    let regex = json!({"type": "regex", "regex": "(red|blue) [0-9]{3}"});
    let text = content(&server.chat(&with(hot(200), "response_format", regex)));
    assert!(
        ["red ", "blue "].iter().any(|word| text.starts_with(word))
            && text.ends_with(|c: char| c.is_ascii_digit()),
        "{text}"
    );
    let choice = json!({"choice": ["yes", "no"]});
    assert!(
        ["yes", "no"].contains(&content(&server.chat(&with(hot(9), "structured_outputs", choice))).as_str())
    );
    let grammar = json!({"type": "grammar", "grammar": "start: \"a\"+ \"b\""});
    let text = content(&server.chat(&with(hot(200), "response_format", grammar)));
    assert_eq!(text.trim_start_matches('a'), "b");
    let text = json!({"prompt": "Once", "structured_outputs": {"regex": "[xyz]{5}"}, "max_tokens": 20});
    let text =
        server.post("/v1/completions", &text).json()["choices"][0]["text"].as_str().expect("text").to_owned();
    assert!(text.len() == 5 && text.chars().all(|c| "xyz".contains(c)), "{text}");
    let no_schema = with(hot(9), "response_format", json!({"type": "json_schema"}));
    server.chat(&no_schema).refused(400, Some("response_format.schema"), "found none");
    for bad in [
        json!({"type": "json_schema", "json_schema": {"schema": {"type": "nothing"}}}),
        json!({"type": "json_schema", "json_schema": {"schema": {"$ref": "https://example.com"}}}),
        json!({"type": "regex", "regex": "("}),
        json!({"type": "grammar", "grammar": "start: nobody"}),
    ] {
        server.chat(&with(hot(9), "response_format", bad)).refused(400, Some("response_format"), "");
    }
    // The format is the answer's promise until its tokens run out.
    let format = json!({"type": "json_schema", "json_schema": {"schema": schema()}});
    let cut = with(hot(3), "response_format", format);
    assert_eq!(server.chat(&cut).json()["choices"][0]["finish_reason"], "length");
}

fn tools() -> Value {
    json!([
        {"type": "function", "function": {"name": "set_person", "description": "Sets a person.", "parameters": schema()}},
        {"type": "function", "function": {"name": "now"}},
    ])
}

#[test]
fn functions_are_called_and_their_results_read() {
    let (with_format, _folder) = reasoning_minnow();
    for server in [Server::start(&[]), with_format] {
        let models = server.ask("GET", "/v1/models", "", b"").json();
        let asked = with(with(hot(300), "model", models["data"][0]["id"].clone()), "tools", tools());
        let named = json!({"type": "function", "function": {"name": "set_person"}});
        let reply = server.chat(&with(asked.clone(), "tool_choice", named.clone())).json();
        let choice = &reply["choices"][0];
        assert_eq!(choice["finish_reason"], "tool_calls", "{reply}");
        assert_eq!(choice["message"]["content"], Value::Null, "{reply}");
        let calls = choice["message"]["tool_calls"].as_array().expect("calls");
        assert_eq!((calls.len(), &calls[0]["function"]["name"]), (1, &json!("set_person")));
        is_person(calls[0]["function"]["arguments"].as_str().expect("text"));

        let streamed = with(with(asked.clone(), "tool_choice", named), "stream", true.into());
        let (mut name, mut arguments, mut finish) = (String::new(), String::new(), Value::Null);
        for part in server.chat(&streamed).events() {
            for call in part["choices"][0]["delta"]["tool_calls"].as_array().into_iter().flatten() {
                assert_eq!(call["index"], 0);
                name.push_str(call["function"]["name"].as_str().unwrap_or_default());
                arguments.push_str(call["function"]["arguments"].as_str().unwrap_or_default());
            }
            finish = part["choices"][0]["finish_reason"].clone();
        }
        assert_eq!((name.as_str(), finish), ("set_person", json!("tool_calls")));
        assert_eq!(arguments, calls[0]["function"]["arguments"].as_str().expect("text"), "the same seed");

        let mut next = with(asked.clone(), "tool_choice", json!("none"));
        let history = next["messages"].as_array_mut().expect("messages");
        history.push(choice["message"].clone());
        history.push(json!({"role": "tool", "tool_call_id": calls[0]["id"], "content": "done"}));
        let reply = server.chat(&with(next, "max_tokens", json!(5))).json();
        assert!(reply["choices"][0]["message"].get("tool_calls").is_none(), "{reply}");
        assert_eq!(reply["choices"][0]["finish_reason"], "length", "{reply}");

        // A call that is cut off is one all the same.
        let cut = with(with(asked.clone(), "tool_choice", json!("required")), "max_tokens", json!(40));
        let reply = server.chat(&cut).json();
        assert_eq!(reply["choices"][0]["finish_reason"], "length", "{reply}");
        assert_eq!(reply["choices"][0]["message"]["tool_calls"].as_array().map(Vec::len), Some(1), "{reply}");

        // Whatever minnow says of its own accord, it is text or a call, and never half of each.
        let reply = server.chat(&with(asked.clone(), "tool_choice", json!("auto"))).json();
        for call in reply["choices"][0]["message"]["tool_calls"].as_array().into_iter().flatten() {
            assert!(
                ["set_person", "now"].contains(&call["function"]["name"].as_str().expect("a name")),
                "{reply}"
            );
        }
        let both = with(asked, "response_format", json!({"type": "json_object"}));
        let reply = server.chat(&both).json();
        let message = &reply["choices"][0]["message"];
        let is_json =
            message["content"].as_str().is_some_and(|text| serde_json::from_str::<Value>(text).is_ok());
        let is_cut = reply["choices"][0]["finish_reason"] == "length";
        assert!(is_json || is_cut || message.get("tool_calls").is_some(), "{reply}");
    }
}

#[test]
fn what_is_wrong_with_tools_is_named() {
    let server = Server::start(&[]);
    let ask =
        |tools: Value, choice: Value| server.chat(&with(with(hot(9), "tools", tools), "tool_choice", choice));
    let tool = |name: &str, parameters: Value| json!([{"type": "function", "function": {"name": name, "parameters": parameters}}]);
    ask(tools(), json!({"type": "function", "function": {"name": "other"}})).refused(
        400,
        Some("tool_choice"),
        "`other`",
    );
    ask(tools(), json!("always")).refused(400, Some("tool_choice"), "auto, none, required");
    ask(tool("two words", json!({})), json!("auto")).refused(400, Some("tools[0]"), "expected a name");
    ask(tool("f", json!([])), json!("auto")).refused(400, Some("tools[0]"), "JSON schema");
    let twice = json!([tools()[1], tools()[1]]);
    ask(twice, json!("auto")).refused(400, Some("tools[1]"), "another function");
    ask(json!([{"type": "web_search"}]), json!("auto")).refused(400, Some("tools[0].type"), "not supported");
    ask(tool("f", json!({"type": "nothing"})), json!("required")).refused(
        400,
        Some("tools"),
        "cannot be kept",
    );
    assert_eq!(ask(tool("f", json!({"type": "nothing"})), json!("auto")).status, 200, "nobody relies on it");
    let lost =
        json!([{"role": "user", "content": "x"}, {"role": "tool", "tool_call_id": "call_9", "content": "y"}]);
    server.chat(&with(hot(9), "messages", lost)).refused(400, Some("messages[1].tool_call_id"), "`call_9`");
    let odd =
        json!([{"role": "user", "content": "x", "tool_calls": [{"id": "1", "function": {"name": "f"}}]}]);
    server.chat(&with(hot(9), "messages", odd)).refused(400, Some("messages[0].tool_calls"), "assistant");
}

#[test]
fn reasoning_is_free_and_bounded_and_the_format_comes_after_it() {
    let (server, _folder) = reasoning_minnow();
    let model = server.ask("GET", "/v1/models", "", b"").json()["data"][0]["id"].clone();
    let body = json!({
        "model": model,
        "messages": [{"role": "user", "content": "Once upon a time"}],
        "thinking": {"type": "enabled"},
        "thinking_token_budget": 12,
        "response_format": {"type": "regex", "regex": "[0-9]{4}"},
        "max_tokens": 100,
        "seed": 3,
    });
    let reply = server.chat(&body).json();
    let message = &reply["choices"][0]["message"];
    assert!(message["reasoning_content"].as_str().is_some_and(|text| text.len() > 4), "{reply}");
    let answer = message["content"].as_str().expect("text");
    assert!(answer.len() == 4 && answer.parse::<u32>().is_ok(), "{reply}");
    let reasoned = reply["usage"]["completion_tokens_details"]["reasoning_tokens"].as_u64().expect("a count");
    assert!((1..=12).contains(&reasoned), "{reply}");
    assert_eq!(reply["thinking"]["type"], "enabled");
    // A begun answer goes on as the text would after the same tokens.
    let begun = json!([{"role": "user", "content": "Once"}, {"role": "assistant", "content": " upon a", "prefix": true}]);
    let reply = server.chat(&json!({"messages": begun, "temperature": 0, "max_tokens": 5})).json();
    let ids = |text: &str| {
        let tokens = server.post("/tokenize", &json!({"content": text})).json();
        tokens["tokens"].as_array().expect("tokens").clone()
    };
    // Begin of sentence, User, Assistant.
    let marks = [json!(0), json!(4092), json!(4093)];
    let tokens = [&marks[..2], &ids("Once"), &marks[2..], &ids(" upon a")].concat();
    let text = json!({"prompt": tokens, "temperature": 0, "max_tokens": 5});
    let text = server.post("/v1/completions", &text).json();
    assert_eq!(reply["choices"][0]["message"]["content"], text["choices"][0]["text"], "{reply} {text}");
}

#[test]
fn tokens_say_how_likely_they_were_and_choices_have_seeds_of_their_own() {
    let server = Server::start(&[]);
    let body = with(with(story(6), "logprobs", true.into()), "top_logprobs", json!(2));
    let reply = server.chat(&body).json();
    let tokens = reply["choices"][0]["logprobs"]["content"].as_array().expect("tokens").clone();
    assert_eq!(tokens.len(), 6, "{reply}");
    let joined: String = tokens.iter().map(|token| token["token"].as_str().expect("text")).collect();
    assert_eq!(joined, reply["choices"][0]["message"]["content"].as_str().expect("text"));
    for token in &tokens {
        assert!(token["logprob"].as_f64().is_some_and(|p| p <= 0.0), "{token}");
        let tops = token["top_logprobs"].as_array().expect("tops");
        assert_eq!((tops.len(), &tops[0]["token"]), (2, &token["token"]), "the likeliest was taken");
    }
    let streamed = server.chat(&with(body, "stream", true.into())).events();
    let parts =
        streamed.iter().filter_map(|part| part["choices"][0]["logprobs"]["content"].as_array()).flatten();
    assert_eq!(parts.cloned().collect::<Vec<_>>(), tokens);
    let text = json!({"prompt": "Once upon a time", "temperature": 0, "max_tokens": 6, "logprobs": 1});
    let text = server.post("/v1/completions", &text).json();
    let likely = &text["choices"][0]["logprobs"];
    assert_eq!(likely["token_logprobs"][2], tokens[2]["logprob"]);
    assert_eq!(
        likely["text_offset"][1].as_u64(),
        tokens[0]["token"].as_str().map(|t| t.chars().count() as u64)
    );

    let three = server.chat(&with(hot(20), "n", json!(3))).json();
    let texts: Vec<&Value> =
        three["choices"].as_array().expect("choices").iter().map(|c| &c["message"]["content"]).collect();
    assert_eq!(texts.len(), 3);
    assert!(texts[0] != texts[1] && texts[1] != texts[2]);
    assert_eq!(three["usage"]["completion_tokens"], 60);
    let second = server.chat(&with(hot(20), "seed", json!(6))).json();
    assert_eq!(
        &second["choices"][0]["message"]["content"], texts[1],
        "the second is that of the next seed, alone"
    );
    let streamed = server.chat(&with(with(hot(20), "n", json!(3)), "stream", true.into())).events();
    for (i, text) in texts.iter().enumerate() {
        let parts = streamed.iter().flat_map(|part| part["choices"].as_array().into_iter().flatten());
        let own = parts.filter(|choice| choice["index"] == i).filter_map(|c| c["delta"]["content"].as_str());
        assert_eq!(own.collect::<String>(), text.as_str().expect("text"));
    }
}

#[test]
fn known_beginnings_are_counted_and_salts_keep_them_apart() {
    let server = Server::start(&["--ctx", "1024"]);
    let long = "Once upon a time there was a fish. ".repeat(40);
    let ask = |salt: Option<&str>, end: &str| {
        let messages = json!([{"role": "user", "content": format!("{long}{end}")}]);
        let body = with(with(story(2), "messages", messages), "cache_salt", json!(salt));
        let usage = server.chat(&body).json()["usage"].clone();
        (
            usage["prompt_tokens"].as_u64().expect("a count"),
            usage["prompt_cache_hit_tokens"].as_u64().expect("a count"),
        )
    };
    let (all, cached) = ask(None, "It swam.");
    assert_eq!(cached, 0);
    assert_eq!(ask(None, "It swam."), (all, all - 1));
    let (_, cached) = ask(None, "It slept.");
    assert!(cached > all - 8 && cached < all, "{cached} of {all}");
    assert_eq!(ask(Some("mine"), "It swam."), (all, 0));
    assert_eq!(ask(Some("mine"), "It swam."), (all, all - 1));
    let body = with(with(story(2), "stream", true.into()), "return_progress", true.into());
    let progress = server.chat(&body).events().into_iter().find(|part| part.get("prompt_progress").is_some());
    let progress = progress.expect("progress")["prompt_progress"].clone();
    assert_eq!(progress["processed"], progress["total"]);
}
