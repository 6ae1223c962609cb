//! The server as programs meet it: requests over a socket; status, headers and JSON back.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{Place, shoal};

/// The id of the token that ends a text of minnow.
const END: &str = "1";

/// A server of minnow, which ends when this is dropped.
pub(crate) struct Server {
    child: Child,
    stderr: BufReader<ChildStderr>,
    pub(crate) address: String,
    _place: Arc<Place>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Server {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_model("minnow", args)
    }

    pub(crate) fn start_model(model: &str, args: &[&str]) -> Self {
        Self::start_at(Arc::new(Place::new()), model, args)
    }

    /// Where others run as well.
    pub(crate) fn start_at(place: Arc<Place>, model: &str, args: &[&str]) -> Self {
        let args = [&["serve", model, "--port", "0", "--threads", "1"], args].concat();
        let command = place.command(&args);
        Self::start_command(place, command)
    }

    /// Where `hub` is the hub.
    pub(crate) fn start_with(place: Arc<Place>, model: &str, args: &[&str], hub: &str) -> Self {
        let args = [&["serve", model, "--port", "0", "--threads", "1"], args].concat();
        let mut command = place.command(&args);
        command.env_remove("ALL_PROXY").env("HF_ENDPOINT", hub);
        Self::start_command(place, command)
    }

    pub(crate) fn start_command(place: Arc<Place>, mut command: Command) -> Self {
        let mut child = command.spawn().expect("the program starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(stderr.read_line(&mut line).expect("text") > 0, "it ended before it served");
            if let Some((_, rest)) = line.split_once("serving ").and_then(|(_, rest)| rest.split_once("://"))
            {
                break rest.split('/').next().expect("an address").to_owned();
            }
        };
        Self { child, stderr, address, _place: place }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
        stream
    }

    /// Sends a request and keeps the connection, from which nothing has been read.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> TcpStream {
        let mut stream = self.connect();
        let host =
            if headers.contains("Host:") { String::new() } else { format!("Host: {}\r\n", self.address) };
        let head = format!(
            "{method} {path} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("the head is taken");
        stream.write_all(body).expect("the body is taken");
        stream
    }

    /// The same until there is an answer: a connection that comes while the model is changed may be closed.
    pub(crate) fn ask_patiently(&self, method: &str, path: &str, body: &[u8]) -> Reply {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let mut bytes = Vec::new();
            let asked = TcpStream::connect(&self.address).and_then(|mut stream| {
                let (host, len) = (&self.address, body.len());
                let head = format!(
                    "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n"
                );
                stream.write_all(&[head.as_bytes(), body].concat())?;
                stream.read_to_end(&mut bytes)
            });
            if asked.is_ok_and(|len| len > 0) {
                return Self::reply(bytes);
            }
            assert!(Instant::now() < until, "no answer to {method} {path}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
        let mut stream = self.send(method, path, headers, body);
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("an answer");
        Self::reply(bytes)
    }

    fn reply(bytes: Vec<u8>) -> Reply {
        let text = String::from_utf8(bytes).expect("UTF-8");
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in: {text}"));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let head = head.to_ascii_lowercase();
        let body =
            if head.contains("transfer-encoding: chunked") { unchunked(body) } else { body.to_owned() };
        Reply { status, head, body }
    }

    pub(crate) fn chat(&self, body: &Value) -> Reply {
        self.ask("POST", "/v1/chat/completions", "", body.to_string().as_bytes())
    }

    /// What it has said on standard error since it began to serve; to be asked when it has ended.
    pub(crate) fn said(&mut self) -> String {
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).expect("text");
        said
    }

    /// The next line that it says on standard error.
    pub(crate) fn next_line(&mut self) -> String {
        let mut line = String::new();
        self.stderr.read_line(&mut line).expect("text");
        line
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.ask("POST", path, "", body.to_string().as_bytes())
    }

    /// Asks it to end, and waits.
    pub(crate) fn end(&mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let status = std::process::Command::new("kill").args(["-TERM", &pid]).status();
        assert!(status.expect("kill is there").success());
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Reply {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in: {self:?}"))
    }

    /// The JSON of each event before `[DONE]`.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        assert!(self.head.contains("content-type: text/event-stream"), "{self:?}");
        let data: Vec<&str> = self.body.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        let (last, events) = data.split_last().expect("events");
        assert_eq!(*last, "[DONE]");
        events.iter().map(|text| serde_json::from_str(text).expect("JSON")).collect()
    }

    /// Asserts an error of this status that names `param` and says `part`.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, param: Option<&str>, part: &str) {
        assert_eq!(self.status, status, "{self:?}");
        let error = &self.json()["error"];
        assert_eq!(error["param"].as_str(), param, "{error}");
        assert!(error["message"].as_str().is_some_and(|message| message.contains(part)), "{part}: {error}");
        assert!(error["type"].is_string(), "{error}");
    }
}

fn unchunked(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).expect("the length of a chunk");
        text.push_str(&rest[..length]);
        body = rest[length..].strip_prefix("\r\n").unwrap_or_default();
    }
    text
}

pub(crate) fn story(max_tokens: u32) -> Value {
    json!({
        "model": "minnow",
        "messages": [{"role": "user", "content": "Once upon a time"}],
        "temperature": 0,
        "max_tokens": max_tokens,
    })
}

pub(crate) fn with(mut body: Value, name: &str, value: Value) -> Value {
    body[name] = value;
    body
}

#[test]
fn an_answer_is_the_same_whole_in_parts_and_on_the_command_line() {
    let server = Server::start(&[]);
    let expected = shoal(&["run", "minnow", "Once upon a time", "--temp", "0", "-n", "24", "--json"]).json();
    let whole = server.chat(&story(24));
    assert_eq!(whole.status, 200, "{whole:?}");
    let whole = whole.json();
    let choice = &whole["choices"][0];
    assert_eq!(choice["message"]["content"], expected["answer"]);
    assert_eq!(choice["finish_reason"], expected["finish_reason"]);
    assert_eq!(whole["usage"]["prompt_tokens"], expected["usage"]["prompt_tokens"]);
    assert_eq!(whole["usage"]["completion_tokens"], expected["usage"]["completion_tokens"]);
    assert_eq!(whole["object"], "chat.completion");

    let streamed =
        with(with(story(24), "stream", true.into()), "stream_options", json!({"include_usage": true}));
    let events = server.chat(&streamed).events();
    assert!(events.iter().all(|event| event["object"] == "chat.completion.chunk"));
    let deltas = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str());
    assert_eq!(deltas.collect::<String>(), expected["answer"].as_str().expect("text"));
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    let [.., last, usage] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(last["choices"][0]["finish_reason"], expected["finish_reason"]);
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"]["completion_tokens"], expected["usage"]["completion_tokens"]);
    let cached = usage["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().expect("a number");
    assert!(cached > 0, "the prompt was computed before");
}

#[test]
fn why_a_prompt_was_read_is_said() {
    let server = Server::start(&[]);
    let miss = |system: &str, question: &str| {
        let body = json!({
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": question}],
            "max_tokens": 4, "temperature": 0,
        });
        server.chat(&body).json()["timings"]["cache_miss"].clone()
    };
    let read = server.chat(&story(8)).json()["timings"].clone();
    assert!(read["memory_bytes_per_token"].as_f64() > Some(1e5), "{read}");
    assert_eq!(read["disk_bytes_per_token"], 0.0, "all of minnow is in memory");
    assert_eq!(miss("It is noon.", "Tell me a story.")["reason"], "first");
    assert_eq!(miss("It is noon.", "Tell me a story."), Value::Null, "all of it is known");
    let differs = miss("It is nine.", "Tell me a story.");
    assert_eq!(differs["reason"], "differs", "{differs}");
    let [before, earlier, now] =
        ["before", "earlier", "now"].map(|name| differs[name].as_str().expect("text"));
    assert!(before.ends_with("It is n"), "{differs}");
    assert!(earlier.starts_with("oon.") && now.starts_with("ine."), "{differs}");
    assert!(differs["lost_tokens"].as_u64() > Some(0) && differs["byte"].as_u64() > Some(6), "{differs}");
    let anthropic = server.post("/v1/messages", &json!({
        "system": "It is ten.", "messages": [{"role": "user", "content": "Tell me a story."}], "max_tokens": 4,
    }));
    assert_eq!(anthropic.json()["timings"]["cache_miss"]["reason"], "differs");
}

#[test]
fn company_changes_no_answer() {
    let server = Server::start(&["--parallel", "4"]);
    let alone: Vec<Value> = (0..4).map(|seed| answer(&server, seed)).collect();
    assert_ne!(alone[0], alone[1], "seeds matter");
    let server = &server;
    let together: Vec<Value> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..4).map(|seed| scope.spawn(move || answer(server, seed))).collect();
        asked.into_iter().map(|thread| thread.join().expect("an answer")).collect()
    });
    assert_eq!(together, alone);
}

fn answer(server: &Server, seed: u32) -> Value {
    let body = with(with(story(40), "temperature", json!(1.0)), "seed", seed.into());
    let reply = server.chat(&body);
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["choices"][0]["message"]["content"].clone()
}

#[test]
fn fields_are_honoured_or_refused_by_name() {
    let server = Server::start(&[]);
    let one = |name: &str, value: Value| server.chat(&with(story(4), name, value));
    for (name, value, part) in [
        ("messages", json!([]), "expected a list of messages"),
        ("messages", json!("hello"), "expected a list of messages"),
        ("temperature", json!("warm"), "expected a number, found \"warm\""),
        ("temperature", json!(-1), "expected a number from 0 to 100"),
        ("top_p", json!(0), "top_p"),
        ("max_tokens", json!(0), "from 1"),
        ("max_tokens", json!(-5), "from 1"),
        ("stop", json!(vec!["x"; 17]), "at most 16"),
        ("seed", json!(1.5), "whole number"),
        ("logit_bias", json!({"99999999": 1}), "ids below"),
        ("n", json!(17), "from 1 to 16"),
        ("n", json!(0), "from 1 to 16"),
        ("tools[0]", json!([{"type": "function"}]), "expected a name"),
        ("response_format", json!({"type": "yaml"}), "expected text"),
        ("top_logprobs", json!(21), "up to 20"),
        ("top_logprobs", json!(2), "goes with `logprobs`"),
        ("tool_choice", json!("required"), "no `tools`"),
        ("return_progress", json!(true), "about streams"),
        ("verbosity", json!("low"), "not supported"),
        ("reasoning_effort", json!("extreme"), "expected none"),
        ("temprature", json!(1), "not a field"),
    ] {
        let field = name.split('[').next().expect("a name");
        one(field, value).refused(400, Some(name), part);
    }
    one("stream_options", json!({"verbose": true})).refused(
        400,
        Some("stream_options.verbose"),
        "not a field",
    );
    one("stream_options", json!({"include_usage": true})).refused(
        400,
        Some("stream_options"),
        "how to stream",
    );
    one("messages", json!([{"role": "pirate", "content": "x"}])).refused(
        400,
        Some("messages[0].role"),
        "expected",
    );
    one("messages", json!([{"role": "user", "content": [{"type": "image_url"}]}])).refused(
        400,
        Some("messages[0].content"),
        "text parts",
    );
    let two = with(with(story(4), "thinking", json!({"type": "enabled"})), "enable_thinking", json!(false));
    server.chat(&two).refused(400, Some("enable_thinking"), "disagree");
    one("model", json!("gpt-4")).refused(404, Some("model"), "`minnow`");
    for (name, value) in [
        ("user", json!("me")),
        ("n", json!(1)),
        ("tools", Value::Null),
        ("stop", json!(" time")),
        ("logit_bias", json!({"5": -100})),
        ("messages", json!([{"role": "user", "content": [{"type": "text", "text": "Once"}]}])),
    ] {
        let reply = one(name, value);
        assert_eq!(reply.status, 200, "{name}: {reply:?}");
    }
    let long = "once ".repeat(5000);
    let reply = one("messages", json!([{"role": "user", "content": long}]));
    reply.refused(400, Some("messages"), "the context holds");
    assert_eq!(reply.json()["error"]["code"], "context_length_exceeded");
}

#[test]
fn what_is_no_request_gets_an_error_and_the_server_lives() {
    let server = Server::start(&[]);
    let path = "/v1/chat/completions";
    server.ask("POST", path, "", b"{\"messages\": [").refused(400, None, "not JSON");
    server.ask("POST", path, "", b"").refused(400, None, "not JSON");
    server.ask("POST", path, "", "[".repeat(100_000).as_bytes()).refused(400, None, "not JSON");
    server.ask("GET", path, "", b"").refused(405, None, "not asked in this way");
    server.ask("GET", "/v1/nothing", "", b"").refused(404, None, "/v1/nothing");
    let mut long = server.connect();
    let head = format!("POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: 9000000\r\n\r\n", server.address);
    long.write_all(head.as_bytes()).expect("the head is taken");
    // Five bodies of eight megabytes are more than all may take; they promise them and send nothing.
    let promise = |_| {
        let mut stream = server.connect();
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: 8000000\r\n\r\n", server.address);
        stream.write_all(head.as_bytes()).expect("the head is taken");
        stream
    };
    let promised: Vec<TcpStream> = (0..4).map(promise).collect();
    std::thread::sleep(Duration::from_millis(200));
    let mut fifth = promise(4);
    let mut refused = [0; 12];
    fifth.read_exact(&mut refused).expect("an answer before the body");
    assert_eq!(&refused, b"HTTP/1.1 429");
    drop(promised);
    let mut status = [0; 12];
    long.read_exact(&mut status).expect("an answer before the body");
    assert_eq!(&status, b"HTTP/1.1 413");
    server.ask("GET", "/v1/models", "Host: evil.example\r\n", b"").refused(403, None, "evil.example");
    server.ask("GET", "/v1/models", "Origin: http://evil.example\r\n", b"").refused(
        403,
        None,
        "evil.example",
    );
    drop(server.connect());
    server.connect().write_all(b"POST /v1/chat").expect("half a request");
    let models = server.ask("GET", "/v1/models", "", b"").json();
    assert_eq!(models["data"][0]["id"], "minnow");
    assert_eq!(server.ask("GET", "/v1/models/minnow", "", b"").status, 200);
    server.ask("GET", "/v1/models/other", "", b"").refused(404, Some("model"), "`other`");
    assert_eq!(server.ask("GET", "/ready", "", b"").status, 200);
}

#[test]
fn who_has_the_key_is_served() {
    let server = Server::start(&["--api-key", "secret"]);
    server.chat(&story(4)).refused(401, None, "API key");
    let bearer = "Authorization: Bearer secret\r\n";
    let body = story(4).to_string();
    let reply = server.ask("POST", "/v1/chat/completions", bearer, body.as_bytes());
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(server.ask("GET", "/health", "", b"").status, 200);
    shoal(&["serve", "minnow", "--api-key", "two words"]).refused(&["API key", "one word"]);
}

#[test]
fn each_key_has_prompts_and_places_of_its_own() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("keys");
    std::fs::write(&file, "one\n\ntwo\n").expect("a temporary file");
    let args = [
        "--api-key-file",
        file.to_str().expect("UTF-8"),
        "--key-limit",
        "1",
        "--parallel",
        "4",
        "--isa",
        "scalar",
    ];
    let server = Server::start(&args);
    let ask = |key: &str, body: &Value| {
        let header = format!("Authorization: Bearer {key}\r\n");
        server.ask("POST", "/v1/chat/completions", &header, body.to_string().as_bytes())
    };
    let cached = |key: &str| ask(key, &story(2)).json()["usage"]["prompt_cache_hit_tokens"].as_u64();
    assert_eq!(
        [cached("one"), cached("one"), cached("two"), cached("two")],
        [Some(0), Some(4), Some(0), Some(4)]
    );
    ask("three", &story(2)).refused(401, None, "API key");
    let responses = |key: &str, body: Value| {
        let header = format!("x-api-key: {key}\r\n");
        server.ask("POST", "/v1/responses", &header, body.to_string().as_bytes())
    };
    let first = responses("one", json!({"input": "Once", "max_output_tokens": 2})).json();
    let next = json!({"input": "And?", "max_output_tokens": 2, "previous_response_id": first["id"]});
    assert_eq!(responses("one", next.clone()).status, 200);
    responses("two", next).refused(404, Some("previous_response_id"), "no response");
    let endless = with(with(story(100_000), "stream", true.into()), "logit_bias", json!({ (END): -1000 }));
    let header = "Authorization: Bearer one\r\n";
    let mut first = server.send("POST", "/v1/chat/completions", header, endless.to_string().as_bytes());
    first.read_exact(&mut [0; 64]).expect("it has begun");
    ask("one", &story(2)).refused(429, None, "try again");
    assert_eq!(ask("two", &story(2)).status, 200);
    std::fs::write(&file, "\n").expect("a temporary file");
    shoal(&["serve", "minnow", "--api-key-file", file.to_str().expect("UTF-8")])
        .refused(&["API key", "one word"]);
}

#[test]
fn a_crowd_that_says_nothing_stops_nobody() {
    let server = Server::start(&[]);
    // More than the server has places for, fewer than this process may have open.
    let crowd: Vec<TcpStream> = (0..940).map(|_| server.connect()).collect();
    let start = std::time::Instant::now();
    for _ in 0..5 {
        assert_eq!(server.chat(&story(2)).status, 200);
    }
    assert!(start.elapsed() < Duration::from_secs(10), "nobody waited for the crowd to be let go");
    let mut first = &crowd[0];
    assert_eq!(first.read(&mut [0]).ok(), Some(0), "the first to come made room");
}

#[test]
fn a_full_server_says_so_and_who_leaves_makes_room() {
    let server = Server::start(&["--parallel", "1", "--queue", "0", "--ctx", "0", "--isa", "scalar"]);
    // The token that would end the story is out of the question; the context is 2048 tokens long.
    let endless = with(with(story(100_000), "stream", true.into()), "logit_bias", json!({ (END): -1000 }));
    let body = endless.to_string();
    let mut first = server.send("POST", "/v1/chat/completions", "", body.as_bytes());
    let mut some = [0; 64];
    first.read_exact(&mut some).expect("it has begun");
    let second = server.chat(&story(2));
    second.refused(429, None, "try again");
    assert!(second.head.contains("retry-after: 1"), "{second:?}");
    drop(first);
    // On the reference instructions the story would go on for several seconds.
    let ends = std::time::Instant::now() + Duration::from_secs(2);
    while server.chat(&story(2)).status != 200 {
        assert!(std::time::Instant::now() < ends, "the place was never given back");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn asked_to_end_it_ends_after_its_answers() {
    let mut server = Server::start(&[]);
    let body = with(story(60), "stream", true.into()).to_string();
    let mut stream = server.send("POST", "/v1/chat/completions", "", body.as_bytes());
    let mut begun = [0; 16];
    stream.read_exact(&mut begun).expect("it has begun");
    assert_eq!(server.end(), Some(0));
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("the rest of the answer");
    assert!(rest.contains("data: [DONE]"), "{rest}");
    assert_eq!(server.said(), "", "nothing to complain of");
}

#[test]
fn an_address_that_is_taken_is_told_at_once() {
    let server = Server::start(&[]);
    let port = server.address.rsplit(':').next().expect("a port");
    shoal(&["serve", "minnow", "--port", port]).refused(&["cannot listen on 127.0.0.1", port]);
}

#[test]
fn texts_and_tokens_go_on_as_they_stand() {
    let server = Server::start(&[]);
    let post = |path: &str, body: &Value| server.ask("POST", path, "", body.to_string().as_bytes());
    let expected = shoal(&["run", "minnow", "Once upon a time", "--temp", "0", "-n", "24", "--json"]).json();
    let of_text = json!({"prompt": "Once upon a time", "temperature": 0, "max_tokens": 24});
    let whole = post("/v1/completions", &of_text).json();
    assert_eq!(whole["choices"][0]["text"], expected["answer"]);
    assert_eq!(whole["object"], "text_completion");
    assert!(whole.get("thinking").is_none(), "{whole}");

    let parts = post("/v1/completions", &with(of_text.clone(), "stream", true.into())).events();
    let text = parts.iter().filter_map(|part| part["choices"][0]["text"].as_str()).collect::<String>();
    assert_eq!(text, expected["answer"].as_str().expect("text"));

    let tokens = |special: bool| {
        let reply = post("/tokenize", &json!({"content": "Once upon a time", "add_special": special})).json();
        reply["tokens"].clone()
    };
    let of_tokens = with(of_text.clone(), "prompt", tokens(true));
    assert_eq!(post("/v1/completions", &of_tokens).json()["choices"][0]["text"], expected["answer"]);
    assert_eq!(tokens(true).as_array().map(Vec::len), tokens(false).as_array().map(|ids| ids.len() + 1));
    let back = post("/detokenize", &json!({"tokens": tokens(false)})).json();
    assert_eq!(back["content"], "Once upon a time");

    let both =
        with(with(of_text.clone(), "prompt", json!(["Once upon a time", tokens(true)])), "n", json!(2));
    let both = post("/v1/completions", &both).json();
    let texts: Vec<&Value> =
        both["choices"].as_array().expect("choices").iter().map(|choice| &choice["text"]).collect();
    assert_eq!(texts, vec![&expected["answer"]; 4]);
    assert_eq!(both["usage"]["prompt_tokens"], 10, "each prompt counts once");

    let echoed = post("/v1/completions", &with(of_text.clone(), "echo", true.into())).json();
    let answer = expected["answer"].as_str().expect("text");
    assert_eq!(echoed["choices"][0]["text"], format!("Once upon a time{answer}"));

    for (name, value, part) in [
        ("prompt", json!([]), "one at the least"),
        ("prompt", json!([99_999_999]), "ids below"),
        ("prompt", json!(["a", ["b"]]), "ids below"),
        ("prompt", json!(vec!["a"; 65]), "at most 64"),
        ("prompt", Value::Null, "found none"),
        ("suffix", json!("the end"), "no marks"),
        ("logprobs", json!(21), "up to 20"),
        ("messages", json!([]), "not a field"),
    ] {
        post("/v1/completions", &with(of_text.clone(), name, value)).refused(400, Some(name), part);
    }
    post("/detokenize", &json!({"tokens": [99_999_999]})).refused(400, Some("tokens"), "ids below");
    post("/tokenize", &json!({})).refused(400, Some("content"), "found none");
}
