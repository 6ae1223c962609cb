//! Prompts that are known from before a restart, and servers that are killed while they write what they know.

use std::time::Duration;

use serde_json::json;

use crate::serve::{Server, story, with};

/// The answer to a prompt of many words, and how much of it was known.
fn ask(server: &Server, of: usize) -> (String, u64) {
    let words = ["fish", "boat", "wave", "shell", "crab", "sand", "moon"];
    let text: String = (0..600).map(|i| format!("{} ", words[(i * of + i / 7) % words.len()])).collect();
    let messages = json!([{"role": "user", "content": text}]);
    let reply = server.chat(&with(story(8), "messages", messages)).json();
    let content = reply["choices"][0]["message"]["content"].as_str().unwrap_or_else(|| panic!("{reply}"));
    (content.to_owned(), reply["usage"]["prompt_cache_hit_tokens"].as_u64().expect("a count"))
}

#[test]
fn a_prompt_is_known_after_a_restart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let args = ["--ctx", "2048", "--kv-dir", folder.path().to_str().expect("UTF-8")];
    let mut first = Server::start(&args);
    let (want, cached) = ask(&first, 1);
    assert_eq!(cached, 0);
    assert_eq!(first.end(), Some(0));
    let again = Server::start(&args);
    let (got, cached) = ask(&again, 1);
    assert_eq!(got, want);
    assert!(cached >= 512 && cached % 64 == 0, "{cached} tokens were known");
    let second = crate::shoal(&[&["serve", "minnow", "--port", "0"], &args[..]].concat());
    assert!(second.code == Some(1) && second.stderr.contains("in use by another process"), "{second:?}");
    let alone = crate::shoal(&["serve", "minnow", "--kv-quota", "1GiB"]);
    assert!(alone.code == Some(2) && alone.stderr.contains("--kv-dir"), "{alone:?}");
}

#[test]
fn a_server_that_is_killed_starts_again_and_tells_the_truth() {
    let want: Vec<String> = {
        let server = Server::start(&["--ctx", "2048"]);
        (0..5).map(|of| ask(&server, of).0).collect()
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let args = ["--ctx", "2048", "--kv-dir", folder.path().to_str().expect("UTF-8")];
    let mut known = 0;
    for round in 0..30 {
        let server = Server::start(&args);
        let (got, cached) = ask(&server, round % 5);
        assert_eq!(got, want[round % 5], "round {round}");
        known += cached;
        // Blocks are being written now; when this goes out of scope the process is killed.
        std::thread::sleep(Duration::from_millis((round as u64 * 7) % 23));
    }
    assert!(known > 0, "nothing was ever saved");
}
