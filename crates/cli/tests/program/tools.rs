//! The commands around the model: logits, perplexity, inspect, bench, list, and what a shell and a reader want.

use std::io::{BufRead, BufReader};

use serde_json::Value;

use crate::{Place, arg, shoal};

/// The first tokens of the story that every test of minnow begins with.
const IDS: &str = "0,770,837";

fn positions(args: &[&str]) -> Vec<Value> {
    let json = shoal(&[&["logits", "minnow", "--json"], args].concat()).json();
    json["positions"].as_array().expect("positions").clone()
}

/// Ids and logits of one position.
fn best(position: &Value) -> (Vec<u64>, Vec<f64>) {
    let list = |name: &str| position[name].as_array().expect(name).iter();
    let ids = list("ids").map(|id| id.as_u64().expect("an id")).collect();
    (ids, list("logits").map(|logit| logit.as_f64().expect("a number")).collect())
}

#[test]
fn logits_are_the_best_in_falling_order() {
    let last = positions(&["--ids", IDS, "--top", "5"]);
    assert_eq!(last.len(), 1);
    let (ids, logits) = best(&last[0]);
    assert_eq!((ids.len(), logits.len()), (5, 5));
    assert!(logits.is_sorted_by(|a, b| a >= b), "{logits:?}");

    let all = positions(&["--ids", IDS, "--top", "5", "--all"]);
    assert_eq!(all.len(), 3);
    assert_eq!(all[2], last[0]);
    for chunk in ["1", "2"] {
        assert_eq!(positions(&["--ids", IDS, "--top", "5", "--all", "--prefill-chunk", chunk]), all);
    }
    let alone = positions(&["--ids", "0", "--top", "5"]);
    assert_eq!(alone[0], all[0], "later tokens do not change what was known before");
}

#[test]
fn the_reference_instructions_agree_with_the_fast_ones() {
    let (fast_ids, fast) = best(&positions(&["--ids", IDS, "--top", "5"])[0]);
    let (ids, scalar) = best(&positions(&["--ids", IDS, "--top", "5", "--isa", "scalar"])[0]);
    assert_eq!(ids[0], fast_ids[0]);
    for (a, b) in fast.iter().zip(&scalar) {
        assert!((a - b).abs() < 0.1, "{fast:?} and {scalar:?}");
    }
}

#[test]
fn logits_of_a_text_are_those_of_its_tokens() {
    let text = shoal(&["logits", "minnow", "--text", "Once upon a time", "--top", "3"]).text();
    let ids = shoal(&["logits", "minnow", "--ids", "0,770,837,263,533", "--top", "3"]).text();
    assert_eq!(text, ids);
    assert!(text.starts_with("after token 4 (533 \" time\"):\n"), "{text}");
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.lines().nth(1).is_some_and(|line| line.ends_with("\",\"")), "{text}");
}

#[test]
fn a_story_is_less_perplexing_than_noise() {
    let place = Place::new();
    let story =
        "Once upon a time, there was a little girl named Lily. She loved to play in the park with her \
                 friends. One day, she saw a big dog. The dog was very happy and wanted to play. "
            .repeat(2);
    let noise = "qz vxk 9#wj ]mpf ~hh ugk zzt +yx 7@b lrq oo!d jj%k ".repeat(6);
    let perplexity = |name: &str, text: &str| {
        let file = place.file(name, text.as_bytes());
        let ran = place.run(&["perplexity", "minnow", arg(&file), "--ctx", "32", "--tokens", "64", "--json"]);
        let json = ran.json();
        assert_eq!(json["tokens"], 32, "the second halves of two windows");
        json["ppl"].as_f64().expect("a number")
    };
    let (story, noise) = (perplexity("story.txt", &story), perplexity("noise.txt", &noise));
    assert!(1.0 < story && story < 100.0 && noise > 10.0 * story, "{story} and {noise}");
}

#[test]
fn inspect_tells_shape_and_memory() {
    let json = shoal(&["inspect", "minnow", "--json"]).json();
    assert_eq!(json["name"], "minnow");
    assert_eq!(json["architecture"], "deepseek2");
    for name in ["parameters", "file_bytes", "layers", "hidden_size", "context_length", "vocab_size"] {
        assert!(json[name].as_u64().is_some_and(|number| number > 0), "{name}: {json}");
    }
    let sum = |name: &str| -> u64 {
        json["groups"].as_array().expect("groups").iter().map(|group| group[name].as_u64().expect(name)).sum()
    };
    assert_eq!(Some(sum("parameters")), json["parameters"].as_u64());
    assert!(Some(sum("bytes")) < json["file_bytes"].as_u64(), "the header has bytes too");
    let memory = |name: &str| json["memory"][name].as_u64().expect(name);
    let parts = memory("weights_bytes") + memory("kv_bytes") + memory("working_bytes");
    assert_eq!(memory("total_bytes"), parts);

    let text = shoal(&["inspect", "minnow", "--tensors", "--metadata"]).text();
    for part in ["minnow\n", "deepseek2", "routed experts", "token_embd.weight", "general.architecture"] {
        assert!(text.contains(part), "expected `{part}` in: {text}");
    }
}

#[test]
fn bench_prints_an_object_for_each_test() {
    let text = shoal(&["bench", "minnow", "--runs", "1", "--json", "--threads", "1"]).text();
    let tests: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("an object on a line")).collect();
    let names: Vec<_> = tests.iter().map(|test| test["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["pp128", "pp512", "tg32"]);
    for test in &tests {
        let number = |value: &Value| value.as_f64().expect("a number");
        for name in
            ["bytes_per_token", "gb_per_s", "bandwidth_gb_per_s", "int8_gmac_per_s", "bf16_gmac_per_s"]
        {
            assert!(number(&test[name]) > 0.0, "{name} in {test}");
        }
        let speed = |name: &str| number(&test["tokens_per_s"][name]);
        assert!(0.0 < speed("min") && speed("min") <= speed("median") && speed("median") <= speed("max"));
        // Two ways to the bandwidth; they were rounded to print.
        let moved = speed("median") * number(&test["bytes_per_token"]) / 1e9;
        assert!((moved / number(&test["gb_per_s"]) - 1.0).abs() < 1e-6, "{test}");
        let memory_share = number(&test["gb_per_s"]) / number(&test["bandwidth_gb_per_s"]);
        let (bound, share) = (test["bound"].as_str().expect("a name"), number(&test["bound_share"]));
        if bound == "memory" {
            assert!((share / memory_share - 1.0).abs() < 1e-6, "{test}");
        } else {
            assert!(bound.ends_with(" arithmetic") && share > memory_share, "{test}");
        }
        assert!(test.get("profile").is_none(), "nobody asked: {test}");
        assert_eq!((test["runs"].as_u64(), test["threads"].as_u64()), (Some(1), Some(1)));
    }
}

#[test]
fn a_profile_names_the_operations_of_every_kind_of_layer_and_adds_up() {
    let args = ["bench", "minnow", "--runs", "2", "--threads", "1", "--ctx", "128", "--profile"];
    let text = shoal(&[&args[..], &["--json"]].concat()).text();
    let tests: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("an object on a line")).collect();
    assert_eq!(tests.len(), 2, "{text}");
    for test in &tests {
        let rows = test["profile"].as_array().expect("rows");
        let number = |row: &Value, name: &str| row[name].as_f64().expect("a number");
        let sum = |name: &str| -> f64 { rows.iter().map(|row| number(row, name)).sum() };
        assert!((sum("share") - 1.0).abs() < 1e-6, "{test}");
        assert!(rows.is_sorted_by(|a, b| number(a, "share") >= number(b, "share")), "{test}");
        let bytes = test["bytes_per_token"].as_f64().expect("a number");
        assert!(
            (sum("bytes_per_token") / bytes - 1.0).abs() < 1e-6,
            "all weights are some operation's: {test}"
        );
        let row = |section: &str, operation: &str| {
            rows.iter().find(|row| row["section"] == section && row["operation"] == operation)
        };
        let (tokens, of_phase) = match test["name"].as_str() {
            Some("pp128") => (128.0, "shared_heads_matmul"),
            _ => (32.0, "heads_matmul"),
        };
        let verbs = [
            ("embedding", "embed"),
            ("residual", "rms_norm"),
            ("mla", "matmul"),
            ("mla", "attention"),
            ("mla", of_phase),
            ("dense ffn", "feed_forward"),
            ("moe", "route"),
            ("moe", "experts"),
            ("head", "matmul"),
            ("-", "other"),
        ];
        for (section, operation) in verbs {
            assert!(row(section, operation).is_some(), "{section} {operation} in {test}");
        }
        assert!(row("mla", "attention").is_some_and(|row| row["bound"] == "float arithmetic"), "{test}");
        assert!(row("moe", "route").is_some_and(|row| row["bound"].is_null()), "{test}");
        let steps = if tokens == 32.0 { 32.0 } else { 1.0 };
        let head = row("head", "matmul").expect("it ran");
        assert_eq!(number(head, "calls"), 2.0 * steps, "once for each step of two runs: {test}");
    }
    let text = shoal(&args).text();
    assert_eq!(text.lines().filter(|line| line.trim_start().starts_with("section ")).count(), 2, "{text}");
}

#[test]
fn the_bounds_of_the_machine_are_measured_once_and_kept() {
    let place = Place::new();
    let kept = place.path("cache/machine.json");
    let run = || {
        let json = place.run(&["run", "minnow", "Once", "-n", "3", "--threads", "1", "--json"]).json();
        json["timings"]["bandwidth_gb_per_s"].as_f64().expect("a number")
    };
    let first = run();
    let text = std::fs::read_to_string(&kept).expect("the first start leaves a file");
    assert_eq!(run(), first);
    assert_eq!(std::fs::read_to_string(&kept).expect("a file"), text, "the second start measures nothing");

    let mut json: Value = serde_json::from_str(&text).expect("JSON");
    json["bounds"][0]["read_bytes_per_s"] = 123e9.into();
    std::fs::write(&kept, json.to_string()).expect("a file");
    assert_eq!(run(), 123.0, "what is kept is believed");
    for broken in
        ["", "{", "[1, 2]", &text.replace("\"isa\": \"", "\"isa\": \"x"), &text.replace(": ", ": -")]
    {
        std::fs::write(&kept, broken).expect("a file");
        assert!(run() != 123.0);
        let again: Value = serde_json::from_slice(&std::fs::read(&kept).expect("a file")).expect("JSON");
        assert_eq!(again["machine"], json["machine"], "measured again after `{broken}`");
    }

    std::fs::write(&kept, json.to_string()).expect("a file");
    place.run(&["bench", "minnow", "--runs", "1", "--ctx", "64", "--threads", "1"]).text();
    assert_ne!(run(), 123.0, "a benchmark measures anew");
}

#[test]
fn bench_leaves_out_what_the_context_cannot_hold() {
    let text = shoal(&["bench", "minnow", "--runs", "1", "--ctx", "64"]).text();
    assert!(text.contains("tg32") && !text.contains("pp128"), "{text}");
}

#[test]
fn list_shows_the_catalogue() {
    let json = shoal(&["list", "--json"]).json();
    let models = json.as_array().expect("a list");
    assert!(models.iter().any(|model| model["name"] == "smollm2-135m"));
    for model in models {
        assert!(model["licence"].as_str().is_some_and(|licence| !licence.is_empty()), "{model}");
        assert_eq!(model["path"], Value::Null, "nothing is cached: {model}");
    }
    let text = shoal(&["list"]).text();
    assert!(text.contains("inside this program") && text.lines().count() == models.len() + 2, "{text}");
}

#[test]
fn a_cached_file_is_listed_and_used() {
    let place = Place::new();
    let models = place.run(&["list", "--json"]).json();
    let model = models.as_array().expect("a list").iter().find(|model| model["name"] == "smollm2-135m");
    let len = model.expect("the model")["bytes"].as_u64().expect("its size");
    let folder = place.path("cache/models/smollm2-135m");
    std::fs::create_dir_all(&folder).expect("a folder");
    // A hole of the right length: present to the cache, and no model.
    let path = folder.join("SmolLM2-135M-Instruct.Q4_1.gguf");
    std::fs::File::create(&path).and_then(|file| file.set_len(len)).expect("a sparse file");
    assert_eq!(place.run(&["pull", "smollm2-135m"]).text(), format!("{}\n", arg(&path)));
    assert!(place.run(&["list"]).text().contains("here · "));
    place.run(&["run", "smollm2-135m", "hi"]).refused(&["is not a GGUF file"]);
}

#[test]
fn shells_and_readers_get_their_pages() {
    for (shell, mark) in [("bash", "_shoal()"), ("zsh", "#compdef shoal"), ("fish", "complete -c shoal")] {
        let text = shoal(&["completions", shell]).text();
        assert!(text.contains(mark) && text.contains("perplexity"), "{shell}: {text}");
    }
    let page = shoal(&["man"]).text();
    for part in [".TH shoal", ".SH \"SHOAL RUN\"", "logit\\-bias", ".SH \"SHOAL BENCH\""] {
        assert!(page.contains(part), "expected `{part}` in: {page}");
    }
    let help = shoal(&["--help"]).text();
    for part in ["Examples:", "shoal run minnow", "completions", "inspect"] {
        assert!(help.contains(part), "expected `{part}` in: {help}");
    }
    assert!(shoal(&["run", "--help"]).text().contains("--prefill-chunk"));
    assert!(shoal(&["--version"]).text().starts_with("shoal "));
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let place = Place::new();
    for args in [&["man"][..], &["list"], &["run", "minnow", "Once upon a time", "-n", "200"]] {
        let mut child = place.command(args).spawn().expect("the program starts");
        let mut line = String::new();
        let mut stdout = BufReader::with_capacity(1, child.stdout.take().expect("a pipe"));
        if args[0] != "run" {
            stdout.read_line(&mut line).expect("a line");
        }
        drop(stdout);
        let output = child.wait_with_output().expect("the program ends");
        assert_eq!(output.status.code(), Some(0), "{args:?} {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
    }
}
