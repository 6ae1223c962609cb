//! Anthropic's messages and OpenAI's responses; what is counted; the page.

use std::time::Duration;

use serde_json::{Value, json};

use crate::serve::{Reply, Server, story, with};

fn message(max_tokens: u32) -> Value {
    json!({
        "model": "minnow",
        "max_tokens": max_tokens,
        "temperature": 0,
        "messages": [{"role": "user", "content": "Once upon a time"}],
    })
}

/// What minnow says after that, in the words of the API that other tests hold against the command line.
fn known(server: &Server, max_tokens: u32) -> String {
    server.chat(&story(max_tokens)).json()["choices"][0]["message"]["content"]
        .as_str()
        .expect("text")
        .to_owned()
}

/// The named events of a stream.
#[track_caller]
fn named(reply: &Reply) -> Vec<(String, Value)> {
    assert!(reply.head.contains("content-type: text/event-stream"), "{reply:?}");
    let events = reply.body.split("\n\n").filter(|event| !event.trim().is_empty());
    let read = |event: &str| {
        let name = event.lines().find_map(|line| line.strip_prefix("event: "))?;
        let data = event.lines().find_map(|line| line.strip_prefix("data: "))?;
        Some((name.to_owned(), serde_json::from_str(data).expect("JSON")))
    };
    events.map(|event| read(event).unwrap_or_else(|| panic!("no event: {event}"))).collect()
}

fn weather() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string", "maxLength": 9}}, "required": ["city"], "additionalProperties": false})
}

#[test]
fn messages_are_answered_in_anthropics_words() {
    let server = Server::start(&[]);
    let text = known(&server, 12);
    let whole = server.post("/v1/messages", &message(12)).json();
    assert_eq!(
        (&whole["type"], &whole["role"], &whole["model"]),
        (&json!("message"), &json!("assistant"), &json!("minnow"))
    );
    assert_eq!(whole["content"], json!([{"type": "text", "text": text}]));
    assert_eq!((&whole["stop_reason"], &whole["stop_sequence"]), (&json!("max_tokens"), &Value::Null));
    let usage = &whole["usage"];
    let prompt = usage["input_tokens"].as_u64().expect("a count")
        + usage["cache_read_input_tokens"].as_u64().expect("a count");
    assert_eq!(usage["output_tokens"], 12);
    let counting = json!({"model": "minnow", "messages": message(1)["messages"]});
    assert_eq!(server.post("/v1/messages/count_tokens", &counting).json(), json!({"input_tokens": prompt}));

    let events = named(&server.post("/v1/messages", &with(message(12), "stream", true.into())));
    let names: Vec<&str> =
        events.iter().map(|(name, _)| name.as_str()).filter(|name| *name != "ping").collect();
    assert_eq!(names[..2], ["message_start", "content_block_start"]);
    assert_eq!(names[names.len() - 3..], ["content_block_stop", "message_delta", "message_stop"]);
    assert!(events.iter().all(|(name, data)| data["type"] == name.as_str()));
    let said: String = events.iter().filter_map(|(_, data)| data["delta"]["text"].as_str()).collect();
    assert_eq!(said, text);
    let last = &events[events.len() - 2].1;
    assert_eq!(
        (&last["delta"]["stop_reason"], &last["usage"]["output_tokens"]),
        (&json!("max_tokens"), &json!(12))
    );

    let stop = with(message(40), "stop_sequences", json!([" girl"]));
    let stopped = server.post("/v1/messages", &stop).json();
    assert_eq!(
        (&stopped["stop_reason"], &stopped["stop_sequence"]),
        (&json!("stop_sequence"), &json!(" girl"))
    );
    let begun = json!([{"role": "user", "content": [{"type": "text", "text": "Once", "cache_control": {"type": "ephemeral"}}]},
                       {"role": "assistant", "content": " upon a"}]);
    assert_eq!(server.post("/v1/messages", &with(message(3), "messages", begun)).status, 200);
}

#[test]
fn tools_are_used_in_anthropics_words() {
    let server = Server::start(&[]);
    let tools = json!([{"name": "weather", "description": "Tells it.", "input_schema": weather()}]);
    let asked = with(
        with(message(300), "tools", tools),
        "tool_choice",
        json!({"type": "any", "disable_parallel_tool_use": true}),
    );
    let whole = server.post("/v1/messages", &asked).json();
    assert_eq!(whole["stop_reason"], "tool_use", "{whole}");
    let block = &whole["content"][0];
    assert_eq!((&block["type"], &block["name"]), (&json!("tool_use"), &json!("weather")));
    assert!(
        block["input"]["city"].is_string() && block["id"].as_str().is_some_and(|id| id.starts_with("toolu_")),
        "{block}"
    );
    let events = named(&server.post("/v1/messages", &with(asked.clone(), "stream", true.into())));
    let partial: String =
        events.iter().filter_map(|(_, data)| data["delta"]["partial_json"].as_str()).collect();
    assert_eq!(serde_json::from_str::<Value>(&partial).expect("JSON"), block["input"]);
    // What comes back as a value stands as it was written: the whole call is known.
    let told = json!([asked["messages"][0], {"role": "assistant", "content": [block]},
                      {"role": "user", "content": [{"type": "tool_result", "tool_use_id": block["id"], "content": "rain"}]}]);
    let told = with(with(asked.clone(), "messages", told), "max_tokens", json!(2));
    assert_eq!(server.post("/v1/messages", &told).status, 200);
    let messages = json!([
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": "s"}, {"type": "text", "text": "I look."}, block]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": block["id"], "content": [{"type": "text", "text": "rain"}]},
                                     {"type": "text", "text": "Well?"}]},
    ]);
    let next = with(with(asked, "messages", messages), "tool_choice", json!({"type": "none"}));
    let next = server.post("/v1/messages", &with(next, "max_tokens", json!(3))).json();
    assert_eq!(next["stop_reason"], "max_tokens", "{next}");
}

#[test]
fn errors_come_in_anthropics_words() {
    let server = Server::start(&["--api-key", "secret"]);
    let key = "x-api-key: secret\r\n";
    let ask = |body: &Value, key: &str| server.ask("POST", "/v1/messages", key, body.to_string().as_bytes());
    for (body, key, status, kind, part) in [
        (message(3), "", 401, "authentication_error", "API key"),
        (with(message(3), "model", json!("other")), key, 404, "not_found_error", "`other`"),
        (with(message(3), "max_tokens", Value::Null), key, 400, "invalid_request_error", "max_tokens"),
        (
            with(message(3), "frequency_penalti", json!(1)),
            key,
            400,
            "invalid_request_error",
            "frequency_penalti",
        ),
        (with(message(3), "messages", json!([])), key, 400, "invalid_request_error", "messages"),
        (
            with(message(3), "messages", json!([{"role": "user", "content": [{"type": "image"}]}])),
            key,
            400,
            "invalid_request_error",
            "messages[0].content[0]",
        ),
        (with(message(3), "n", json!(2)), key, 400, "invalid_request_error", "`n`"),
        (
            with(message(3), "stop_sequences", json!(vec!["x"; 17])),
            key,
            400,
            "invalid_request_error",
            "`stop_sequences`",
        ),
        (
            with(message(3), "thinking", json!({"type": "perhaps"})),
            key,
            400,
            "invalid_request_error",
            "thinking",
        ),
        (
            with(message(3), "tools", json!([{"type": "bash_20250124", "name": "bash"}])),
            key,
            400,
            "invalid_request_error",
            "not supported",
        ),
        (
            with(message(3), "tool_choice", json!({"type": "tool", "name": "x"})),
            key,
            400,
            "invalid_request_error",
            "tool_choice",
        ),
    ] {
        let reply = ask(&body, key);
        assert_eq!(reply.status, status, "{reply:?}");
        let json = reply.json();
        assert_eq!((&json["type"], &json["error"]["type"]), (&json!("error"), &json!(kind)), "{json}");
        assert!(json["error"]["message"].as_str().is_some_and(|text| text.contains(part)), "{part}: {json}");
    }
    assert_eq!(server.ask("GET", "/v1/messages", key, b"").json()["type"], "error");
}

#[test]
fn responses_are_made_of_items_and_go_on_from_one_another() {
    let server = Server::start(&[]);
    let text = known(&server, 12);
    let ask =
        json!({"model": "minnow", "input": "Once upon a time", "temperature": 0, "max_output_tokens": 12});
    let whole = server.post("/v1/responses", &ask).json();
    assert_eq!((&whole["object"], &whole["status"]), (&json!("response"), &json!("incomplete")));
    assert_eq!(whole["incomplete_details"]["reason"], "max_output_tokens");
    let item = &whole["output"][0];
    assert_eq!(
        (&item["type"], &item["role"], &item["content"][0]["text"]),
        (&json!("message"), &json!("assistant"), &json!(text))
    );
    assert_eq!(whole["usage"]["output_tokens"], 12);
    assert_eq!(
        (&whole["store"], &whole["tools"], &whole["max_output_tokens"]),
        (&json!(true), &json!([]), &json!(12))
    );

    let events = named(&server.post("/v1/responses", &with(ask.clone(), "stream", true.into())));
    for (i, (name, data)) in events.iter().enumerate() {
        assert_eq!((&data["type"], &data["sequence_number"]), (&json!(name), &json!(i)));
    }
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names[..4],
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added"
        ]
    );
    let ends = [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete",
    ];
    assert_eq!(names[names.len() - 4..], ends);
    let said: String = events.iter().filter_map(|(_, data)| data["delta"].as_str()).collect();
    assert_eq!(said, text);
    let ended = &events.last().expect("events").1["response"];
    assert_eq!(ended["output"][0]["content"], item["content"]);

    let silent = with(with(ask.clone(), "stop", json!(",")), "stream", true.into());
    let ended = named(&server.post("/v1/responses", &silent)).pop().expect("events").1["response"].clone();
    assert_eq!(ended["output"][0]["content"][0]["text"], "", "what says nothing is a message: {ended}");

    let id = whole["id"].as_str().expect("an id");
    let next =
        json!({"model": "minnow", "input": "And then?", "previous_response_id": id, "max_output_tokens": 3});
    let next = server.post("/v1/responses", &next).json();
    assert_eq!(next["previous_response_id"], id);
    let usage = |response: &Value| response["usage"]["input_tokens"].as_u64().expect("a count");
    assert!(usage(&next) > usage(&whole) + 12, "the conversation is part of the prompt: {next}");
    assert_eq!(server.ask("GET", &format!("/v1/responses/{id}"), "", b"").json(), whole);
    assert_eq!(server.ask("DELETE", &format!("/v1/responses/{id}"), "", b"").json()["deleted"], true);
    server.ask("GET", &format!("/v1/responses/{id}"), "", b"").refused(404, Some("id"), "not stored");
    let lost = json!({"model": "minnow", "input": "x", "previous_response_id": id});
    server.post("/v1/responses", &lost).refused(404, Some("previous_response_id"), "forgotten");
    let unstored = server.post("/v1/responses", &with(ask, "store", false.into())).json();
    let id = unstored["id"].as_str().expect("an id");
    assert_eq!(server.ask("GET", &format!("/v1/responses/{id}"), "", b"").status, 404);
}

#[test]
fn responses_call_functions_and_refuse_what_they_do_not_know() {
    let server = Server::start(&[]);
    let tools = json!([{"type": "function", "name": "weather", "parameters": weather(), "strict": true}]);
    let ask = json!({"model": "minnow", "input": [{"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]}],
                     "tools": tools, "tool_choice": {"type": "function", "name": "weather"}, "temperature": 0});
    let whole = server.post("/v1/responses", &ask).json();
    assert_eq!(whole["status"], "completed", "{whole}");
    let call = &whole["output"][0];
    assert_eq!((&call["type"], &call["name"]), (&json!("function_call"), &json!("weather")), "{whole}");
    let arguments: Value = serde_json::from_str(call["arguments"].as_str().expect("text")).expect("JSON");
    assert!(arguments["city"].is_string());
    let events = named(&server.post("/v1/responses", &with(ask.clone(), "stream", true.into())));
    let delta = |name: &str| name == "response.function_call_arguments.delta";
    let grown: String = events
        .iter()
        .filter(|(name, _)| delta(name))
        .filter_map(|(_, data)| data["delta"].as_str())
        .collect();
    assert_eq!(grown, call["arguments"].as_str().expect("text"));
    let items = json!([{"type": "message", "role": "user", "content": "Weather?"}, call,
                       {"type": "function_call_output", "call_id": call["call_id"], "output": "rain"}]);
    let next = with(with(ask.clone(), "input", items), "tool_choice", json!("none"));
    assert_eq!(
        server.post("/v1/responses", &with(next, "max_output_tokens", json!(3))).json()["status"],
        "incomplete"
    );
    let format = json!({"format": {"type": "json_schema", "name": "w", "schema": weather()}});
    let body = json!({"model": "minnow", "input": "Weather?", "text": format});
    let text = server.post("/v1/responses", &body).json()["output"][0]["content"][0]["text"]
        .as_str()
        .expect("text")
        .to_owned();
    assert!(serde_json::from_str::<Value>(&text).expect("JSON")["city"].is_string());
    for (name, value) in [
        ("background", json!(true)),
        ("truncation", json!("auto")),
        ("input", json!([])),
        ("include", json!(["file_search_call.results"])),
        ("top_p", json!(7)),
        ("prompt", json!({"id": "x"})),
        ("n", json!(2)),
        ("max_output_tokens", json!(0)),
        ("metadata", json!("x")),
    ] {
        server.post("/v1/responses", &with(ask.clone(), name, value)).refused(400, Some(name), name);
    }
}

#[test]
fn what_happens_is_counted() {
    let server = Server::start(&["--api-key", "secret"]);
    let key = "Authorization: Bearer secret\r\n";
    assert_eq!(server.ask("GET", "/metrics", "", b"").status, 401);
    let body = story(7).to_string();
    for _ in 0..2 {
        server.ask("POST", "/v1/chat/completions", key, body.as_bytes());
    }
    // The engine's thread counts what is over when it has said so.
    let counted = |text: &String| text.contains("vllm:num_requests_running{model_name=\"minnow\"} 0");
    let looks = std::iter::repeat_with(|| {
        std::thread::sleep(Duration::from_millis(20));
        server.ask("GET", "/metrics", key, b"").body
    });
    let text = looks.take(100).find(counted).expect("in the end nothing runs");
    let value = |name: &str| {
        let line =
            text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
        assert!(line.contains("model_name=\"minnow\""), "{line}");
        line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).expect("a number")
    };
    assert_eq!(value("vllm:generation_tokens_total"), 14.0);
    assert_eq!(value("vllm:prompt_tokens_total"), 10.0);
    assert_eq!(value("vllm:prefix_cache_hits_total"), 4.0);
    assert_eq!(value("vllm:request_success_total"), 2.0);
    assert_eq!(value("vllm:time_to_first_token_seconds_count"), 2.0);
    assert_eq!(value("vllm:inter_token_latency_seconds_count"), 12.0);
    assert_eq!(value("vllm:num_requests_running"), 0.0);
    assert_eq!(value("vllm:kv_cache_usage_perc"), 0.0);
    assert!(value("shoal_kv_kept_ratio") > 0.0 && value("shoal_weight_read_bytes_total") > 0.0);
}

#[test]
fn the_page_is_there_and_loads_nothing_from_elsewhere() {
    let server = Server::start(&["--api-key", "secret"]);
    let page = server.ask("GET", "/", "", b"");
    assert_eq!(page.status, 200);
    assert!(page.head.contains("content-security-policy: default-src 'none'"), "{}", page.head);
    assert!(page.body.contains("/assets/app.js"), "{}", page.body);
    let script = server.ask("GET", "/assets/app.js", "", b"");
    assert!(script.status == 200 && script.head.contains("content-type: text/javascript"), "{}", script.head);
    for path in ["/assets/", "/assets/../lib.rs", "/assets/%2e%2e", "/assets/nothing.js"] {
        assert_ne!(server.ask("GET", path, "", b"").status, 200, "{path}");
    }
}

#[test]
fn what_the_description_names_is_there() {
    let server = Server::start(&[]);
    let described = server.ask("GET", "/openapi.json", "", b"").json();
    let paths = described["paths"].as_object().expect("paths");
    assert!(paths.len() > 15, "{}", paths.len());
    for (path, operations) in paths {
        for method in
            operations.as_object().expect("operations").keys().filter(|name| !name.starts_with("x-"))
        {
            if !["get", "post", "delete"].contains(&method.as_str()) {
                continue;
            }
            let path = path.replace("{id}", "minnow").replace("{name}", "app.js");
            let reply = server.ask(&method.to_uppercase(), &path, "", b"{}");
            assert!(reply.status != 405, "{method} {path}: {reply:?}");
            assert!(!reply.body.contains("there is nothing at"), "{method} {path}: {reply:?}");
        }
    }
}

#[test]
fn other_names_and_addresses_reach_the_model() {
    let server = Server::start(&["--alias", "deepseek-chat", "--alias", "claude"]);
    let named = |name: &str| with(story(2), "model", json!(name));
    for path in ["/v1/chat/completions", "/chat/completions", "/beta/chat/completions"] {
        assert_eq!(server.post(path, &named("deepseek-chat")).json()["model"], "minnow", "{path}");
    }
    let anthropic = with(message(2), "model", json!("claude"));
    assert_eq!(server.post("/anthropic/v1/messages", &anthropic).status, 200);
    server.chat(&named("gpt-4")).refused(404, Some("model"), "`minnow`");
    let embedding = json!({"model": "minnow", "input": "x"});
    server.post("/v1/embeddings", &embedding).refused(404, Some("model"), "embeddings");
    assert_eq!(Server::start(&["--alias", "*"]).chat(&named("gpt-4")).status, 200);
}

#[test]
fn requests_have_names_and_the_log_says_nothing_of_what_was_said() {
    let mut server = Server::start(&["--log"]);
    let body = story(4).to_string();
    let ask = |header: &str| server.ask("POST", "/v1/chat/completions", header, body.as_bytes());
    assert!(ask("x-request-id: mine-7\r\n").head.contains("x-request-id: mine-7"));
    assert!(
        ask("x-request-id: two words\r\n").head.contains("x-request-id: req-"),
        "no such id stands in a log"
    );
    assert!(ask("").head.contains("x-request-id: req-"));
    server.end();
    let log = server.said();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let mine: Vec<&Value> = lines.iter().filter(|line| line["request"] == "mine-7").collect();
    assert_eq!(mine.len(), 2, "{log}");
    let of = |what: &str| mine.iter().find(|line| line["what"] == what).expect("a line");
    assert_eq!(
        (&of("answer")["completion_tokens"], &of("answer")["finished"]),
        (&json!(4), &json!("length"))
    );
    assert_eq!(
        (&of("request")["path"], &of("request")["status"]),
        (&json!("/v1/chat/completions"), &json!(200))
    );
    assert!(!log.contains("Once upon"), "{log}");
}
