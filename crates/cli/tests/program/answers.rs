//! `shoal run`: one prompt, one answer.

use serde_json::Value;
use shoal_testkit::golden_dir;

use crate::{Place, arg, shoal};

/// Long enough for several chunks of prefill.
const PROMPT: &str =
    "Once upon a time there was a small fish who lived in a big blue sea and wanted to see the land";

/// `shoal run minnow ARGS --json`, parsed.
fn answer(args: &[&str]) -> Value {
    shoal(&[&["run", "minnow", "--json"], args].concat()).json()
}

fn text(answer: &Value) -> &str {
    answer["answer"].as_str().expect("the answer is text")
}

#[test]
fn a_prompt_is_answered_on_standard_output_and_the_speed_told_on_standard_error() {
    let ran = shoal(&["run", "minnow", "Once upon a time", "--temp", "0", "-n", "20"]);
    assert!(ran.stdout.split_whitespace().count() >= 5, "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    for part in
        ["prompt ", "answer at ", " tokens/s", " MB/token", " GB/s", " bound", "cut at the limit of tokens"]
    {
        assert!(ran.stderr.contains(part), "expected `{part}` in: {}", ran.stderr);
    }
    assert!(!ran.stderr.contains('\x1b'), "no colours in a pipe: {ran:?}");

    let json = answer(&["Once upon a time", "--temp", "0", "-n", "20"]);
    assert_eq!(format!("{}\n", text(&json)), ran.text());
}

#[test]
fn json_tells_answer_usage_and_timings() {
    let json = answer(&["Once upon a time", "--temp", "0", "-n", "20"]);
    assert_eq!(json["model"], "minnow");
    assert_eq!(json["reasoning"], "");
    assert_eq!(json["finish_reason"], "length");
    let number = |group: &str, name: &str| json[group][name].as_f64().expect(name);
    assert_eq!(number("usage", "completion_tokens"), 20.0);
    let total = number("usage", "prompt_tokens") + number("usage", "completion_tokens");
    assert_eq!(number("usage", "total_tokens"), total);
    assert_eq!(number("timings", "prefill_tokens"), number("usage", "prompt_tokens"));
    // The first token of the answer comes of the prompt's last step.
    assert_eq!(number("timings", "decode_tokens"), 19.0);
    let speeds = ["prefill_tokens_per_s", "decode_tokens_per_s", "bytes_per_token", "gb_per_s"];
    for name in speeds.into_iter().chain(["bandwidth_gb_per_s", "prefill_bound_share", "decode_bound_share"])
    {
        assert!(number("timings", name) > 0.0, "{name} in {json}");
    }
}

#[test]
fn memory_that_was_asked_for_is_divided_in_the_open_and_experts_come_from_disk() {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/deepseek_v3/model.gguf");
    let common = ["run", model, "abc", "--raw", "--temp", "0", "-n", "4"];
    let ran = shoal(&[&common[..], &["--memory", "300MiB"]].concat());
    let first = ran.stderr.lines().next().unwrap_or_default();
    for part in
        ["memory 300.0 MiB: weights ", " experts ", "context of 256 tokens ", "computing ", "program "]
    {
        assert!(first.contains(part), "expected `{part}` in: {}", ran.stderr);
    }
    let json = shoal(&[&common[..], &["--json"]].concat()).json();
    assert_eq!(format!("{}\n", text(&json)), ran.text(), "the same answer");
    let disk = &json["timings"]["prefill_disk"];
    assert!(disk["bytes_per_token"].as_f64().is_some_and(|bytes| bytes > 0.0), "{json}");
    let hits = disk["hit_rate"].as_f64().expect("a share");
    assert!(hits < 0.5, "but for what was read ahead nothing was there before the first step: {json}");
    assert!(json["memory"]["experts"].as_u64().is_some_and(|bytes| bytes > 0), "{json}");
}

#[test]
fn one_seed_gives_one_answer_whatever_the_threads_and_the_chunks() {
    let run = |args: &[&str]| {
        let common = ["run", "minnow", PROMPT, "--temp", "0.8", "-n", "40"];
        shoal(&[&common, args].concat()).text()
    };
    let first = run(&["--seed", "7", "--threads", "1"]);
    assert!(first.split_whitespace().count() >= 10, "{first}");
    for args in [["--threads", "2"], ["--prefill-chunk", "1"], ["--prefill-chunk", "7"]] {
        assert_eq!(run(&[&["--seed", "7"], &args[..]].concat()), first, "{args:?}");
    }
    let all = ["--seed", "7", "--threads", "2", "--prefill-chunk", "512", "--ctx", "0", "--memory", "2GiB"];
    assert_eq!(run(&all), first);
    assert_ne!(run(&["--seed", "8"]), first);
}

#[test]
fn a_prompt_comes_from_a_pipe() {
    let given = shoal(&["run", "minnow", "hi there", "--temp", "0", "-n", "8"]).text();
    for (args, input) in [
        (&["run", "minnow", "-", "--temp", "0", "-n", "8"][..], "hi there\n"),
        (&["run", "minnow", "--temp", "0", "-n", "8"], "hi there\r\n"),
        (&["run", "minnow", "--temp", "0", "-n", "8"], "hi there"),
    ] {
        assert_eq!(Place::new().run_with_input(args, input.as_bytes()).text(), given, "{args:?} {input:?}");
    }
}

#[test]
fn without_a_network_the_model_inside_the_program_answers_and_says_so() {
    let given = shoal(&["run", "minnow", "hi there", "--temp", "0", "-n", "8"]).text();
    for args in [&["run", "--temp", "0", "-n", "8"][..], &["run", "-", "--temp", "0", "-n", "8"]] {
        let ran = Place::new().run_with_input(args, b"hi there\n");
        assert!(ran.stderr.contains("seems to be offline"), "{ran:?}");
        assert!(ran.stderr.contains("answering with minnow instead"), "{ran:?}");
        assert!(!ran.stdout.contains("minnow"), "{ran:?}");
        assert_eq!(ran.text(), given, "{args:?}");
    }
}

#[test]
fn a_model_continues_a_text_as_it_stands() {
    let story = shoal(&["run", "minnow", "Once upon a time", "--raw", "--temp", "0", "-n", "12"]).text();
    assert!(story.contains("there was a little girl"), "{story}");
}

#[test]
fn an_answer_ends_before_a_stop_text() {
    let raw = ["Once upon a time", "--raw", "--temp", "0", "-n", "12"];
    let whole = answer(&raw);
    let (before, _) = text(&whole).split_once("little").expect("the story has this word");
    let cut = answer(&[&raw[..], &["--stop", "no such text", "--stop", "little"]].concat());
    assert_eq!(text(&cut), before);
    assert_eq!(cut["finish_reason"], "stop");
    assert!(cut["usage"]["completion_tokens"].as_u64() < whole["usage"]["completion_tokens"].as_u64());
    // Held back for a stop text that does not come, and given out at the end.
    let last = text(&whole).chars().last().expect("a character");
    let held = answer(&[&raw[..], &["--stop", &format!("{last} and never this")]].concat());
    assert_eq!(text(&held), text(&whole));
}

#[test]
fn a_bias_makes_a_token_certain_or_impossible() {
    let comma = "14";
    let raw = ["Once upon a time", "--raw", "-n", "6"];
    let only = answer(&[&raw[..], &["--temp", "1", "--logit-bias", &format!("{comma}=1000")]].concat());
    assert_eq!(text(&only), ",,,,,,");
    let never = answer(&[&raw[..], &["--temp", "0", "--logit-bias", &format!("{comma}=-1000")]].concat());
    assert!(!text(&never).contains(','), "{never}");
}

#[test]
fn instructions_stand_before_the_conversation() {
    let prompt_tokens = |args: &[&str]| {
        let json = answer(&[&["Who are you?", "--temp", "0", "-n", "4"], args].concat());
        json["usage"]["prompt_tokens"].as_u64().expect("a count")
    };
    let without = prompt_tokens(&[]);
    let with = prompt_tokens(&["--system", "You are a kind old turtle who answers in rhymes."]);
    assert!(with >= without + 8, "{with} and {without}");
}

#[test]
fn the_number_of_tokens_is_kept() {
    for count in [1, 3] {
        let json = answer(&["Once upon a time", "--temp", "0", "--max-tokens", &count.to_string()]);
        assert_eq!(json["usage"]["completion_tokens"], count);
        assert_eq!(json["finish_reason"], "length");
    }
}

/// The program's own file has the draft layer that the larger one was made without.
#[test]
fn a_draft_layer_of_another_file_guesses_and_changes_nothing() {
    let place = Place::new();
    let model = golden_dir("minnow").join("minnow.bf16.gguf");
    let draft = place.file("draft.gguf", include_bytes!("../../assets/minnow.gguf"));
    let run = ["run", arg(&model), "Once upon a time", "--raw", "--temp", "0", "-n", "40", "--json"];
    let with = |more: &[&str]| place.run(&[&run, more].concat());
    let (plain, guessed) = (with(&[]).json(), with(&["--draft-model", arg(&draft)]).json());
    assert_eq!(guessed["answer"], plain["answer"]);
    assert!(guessed["timings"]["drafted"].as_u64() > Some(0), "{guessed}");
    assert!(plain["timings"]["drafted"].as_u64().is_none_or(|count| count == 0), "{plain}");

    with(&["--draft-model", arg(&model)]).refused(&["minnow.bf16.gguf holds no draft layer for this model"]);
    place
        .run(&["run", "minnow", "hi", "--draft-model", arg(&draft)])
        .refused(&["draft.gguf cannot give minnow a draft layer", "found one in its own files"]);
}
