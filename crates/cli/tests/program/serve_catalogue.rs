//! Models that a server fetches, deletes and changes to, from a hub on this computer that takes its time.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Place;
use crate::serve::Server;

const MINNOW: &[u8] = include_bytes!("../../assets/minnow.gguf");

/// Minnow under another name, as the model inside the program is called by its own whatever file it comes from.
fn gudgeon() -> Vec<u8> {
    let at = MINNOW.windows(6).position(|bytes| bytes == b"minnow").expect("its name");
    [&MINNOW[..at], b"gudgeo", &MINNOW[at + 6..]].concat()
}

/// Any name of the catalogue of whose file nothing is known beforehand.
const NAME: &str = "r1-distill-qwen-1.5b";
const FILE: &str = "DeepSeek-R1-Distill-Qwen-1.5B-Q4_K_M.gguf";

/// How long something may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A hub that has the same file under every name, and a pause between any two parts of it.
fn hub(pause: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        let file = gudgeon();
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut lines = BufReader::new(stream.try_clone().expect("the same stream")).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", MINNOW.len());
            // Who leaves off closes the connection.
            let _ = stream.write_all(head.as_bytes());
            for part in file.chunks(file.len() / 50) {
                if stream.write_all(part).is_err() {
                    break;
                }
                std::thread::sleep(pause);
            }
        }
    });
    base
}

fn entry(server: &Server, name: &str) -> Value {
    let list = server.ask_patiently("GET", "/v1/catalogue", b"").json();
    let found = list["data"].as_array().expect("a list").iter().find(|entry| entry["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {list}")).clone()
}

/// Waits until the entry of `name` is as `is_so` wants it.
fn wait(server: &Server, name: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let entry = entry(server, name);
        if is_so(&entry) {
            return entry;
        }
        assert!(Instant::now() < until, "{entry}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn act(server: &Server, method: &str, path: &str) -> (u16, Value) {
    let reply = server.ask_patiently(method, &format!("/v1/catalogue/{path}"), b"");
    (reply.status, reply.json())
}

fn message(reply: &(u16, Value)) -> &str {
    reply.1["error"]["message"].as_str().expect("a sentence")
}

/// Waits until the model called `name` answers.
fn answers(server: &Server, name: &str) {
    let until = Instant::now() + PATIENCE;
    loop {
        let models = server.ask_patiently("GET", "/v1/models", b"").json();
        // Who is to change is not ready from the moment on that it was asked.
        let is_ready = server.ask_patiently("GET", "/ready", b"").status == 200;
        if is_ready && models["data"][0]["id"] == name {
            break;
        }
        assert!(Instant::now() < until, "{models}");
        std::thread::sleep(Duration::from_millis(20));
    }
    let asked = json!({"messages": [{"role": "user", "content": "Once"}], "max_tokens": 3});
    let body = asked.to_string();
    let answer = server.ask_patiently("POST", "/v1/chat/completions", body.as_bytes()).json();
    assert_eq!(answer["model"], name);
}

#[test]
fn a_model_is_fetched_left_off_fetched_again_changed_to_and_deleted() {
    let hub = hub(Duration::from_millis(20));
    let server = Server::start_with(Arc::new(Place::new()), "minnow", &[], &hub);
    let before = entry(&server, NAME);
    assert_eq!((&before["state"], &before["here_bytes"]), (&"absent".into(), &0.into()), "{before}");
    let absent = act(&server, "POST", &format!("{NAME}/serve"));
    assert_eq!((absent.0, message(&absent)), (409, "`r1-distill-qwen-1.5b` is not here; fetch it first"));

    assert_eq!(act(&server, "POST", &format!("{NAME}/fetch")).0, 202);
    assert_eq!(act(&server, "POST", &format!("{NAME}/fetch")).0, 409, "once is enough");
    assert_eq!(act(&server, "DELETE", NAME).0, 409, "not while it comes");
    let coming = wait(&server, NAME, |entry| entry["here_bytes"].as_u64() > Some(0));
    assert_eq!(coming["state"], "fetching", "{coming}");
    assert_eq!(coming["total_bytes"], MINNOW.len());
    assert!(coming["bytes_per_s"].as_f64() > Some(0.0), "{coming}");
    assert_eq!(act(&server, "POST", &format!("{NAME}/pause")).0, 200);
    let part = wait(&server, NAME, |entry| entry["state"] != "fetching");
    assert_eq!(part["state"], "part", "{part}");
    assert!(part["here_bytes"].as_u64() < Some(MINNOW.len() as u64) && part["error"].is_null(), "{part}");
    assert_eq!(act(&server, "POST", &format!("{NAME}/pause")).0, 409, "nothing to leave off");

    assert_eq!(act(&server, "POST", &format!("{NAME}/fetch")).0, 202);
    let here = wait(&server, NAME, |entry| entry["state"] != "fetching");
    assert_eq!((&here["state"], &here["here_bytes"]), (&"here".into(), &MINNOW.len().into()), "{here}");
    assert_eq!(act(&server, "POST", &format!("{NAME}/serve")).0, 202);
    answers(&server, NAME);
    assert_eq!(entry(&server, NAME)["served"], true);
    assert_eq!(act(&server, "POST", &format!("{NAME}/serve")).0, 409, "it answers already");
    assert_eq!(act(&server, "DELETE", NAME).0, 409, "not while it answers");
}

#[test]
fn what_cannot_be_had_or_loaded_is_said_and_the_model_of_before_goes_on() {
    let place = Arc::new(Place::new());
    let folder: PathBuf = place.path("cache").join("models").join(NAME);
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join(FILE), b"no model at all").expect("a file");
    let mut server = Server::start_at(place, "minnow", &[]);

    assert_eq!(act(&server, "POST", "r1-distill-qwen-7b/fetch").0, 202);
    let failed = wait(&server, "r1-distill-qwen-7b", |entry| entry["state"] != "fetching");
    assert_eq!(failed["state"], "absent", "{failed}");
    assert!(failed["error"].as_str().expect("why").contains("offline"), "{failed}");

    assert_eq!(act(&server, "POST", &format!("{NAME}/serve")).0, 202);
    answers(&server, "minnow");
    assert_eq!(act(&server, "DELETE", NAME).0, 200);
    assert!(!folder.exists());
    for (method, path) in
        [("POST", "no-such/fetch"), ("POST", "no-such/serve"), ("DELETE", "..%2F.."), ("DELETE", "smollm2")]
    {
        assert_eq!(act(&server, method, path).0, 404, "{path}");
    }
    assert_eq!(server.end(), Some(0));
    let said = server.said();
    assert!(said.contains("changing to r1-distill-qwen-1.5b") && said.contains(FILE), "{said}");
}

#[test]
fn what_answers_stays_whatever_it_was_called() {
    let place = Arc::new(Place::new());
    let folder = place.path("cache").join("models").join(NAME);
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join(FILE), gudgeon()).expect("a file");
    let file = folder.join(FILE).display().to_string();
    for called in ["deepseek-r1:1.5b", &file] {
        let server = Server::start_at(Arc::clone(&place), called, &[]);
        assert_eq!(entry(&server, NAME)["served"], true, "{called}");
        assert_eq!(act(&server, "DELETE", NAME).0, 409, "{called}");
    }
    assert!(folder.join(FILE).exists());
}

#[test]
fn others_look_after_no_models() {
    let server = Server::start(&["--host", "0.0.0.0", "--api-key", "secret"]);
    let key = "Authorization: Bearer secret\r\nHost: localhost\r\n";
    for (method, path) in [("GET", "/v1/catalogue"), ("DELETE", "/v1/catalogue/smollm2-135m")] {
        assert_eq!(server.ask(method, path, key, b"").status, 403, "{path}");
    }
    let own = Server::start(&[]);
    let elsewhere = own.ask("DELETE", "/v1/catalogue/smollm2-135m", "Origin: https://example.com\r\n", b"");
    assert_eq!(elsewhere.status, 403, "a page from elsewhere");
}
