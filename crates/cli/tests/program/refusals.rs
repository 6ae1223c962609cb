//! What cannot be done is said in one sentence, with an exit code that is not 0 and nothing on standard output.

use shoal_testkit::gguf::GgufWriter;

use crate::{Place, Ran, arg, shoal};

static MINNOW_GGUF: &[u8] = include_bytes!("../../assets/minnow.gguf");

const F32: u32 = 0;

/// Asserts that clap refuses the arguments, which it does with its own text and exit code 2.
#[track_caller]
fn misused(args: &[&str], parts: &[&str]) {
    let ran = shoal(args);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert_eq!(ran.stdout, "", "{ran:?}");
    for part in parts {
        assert!(ran.stderr.contains(part), "expected `{part}` in: {}", ran.stderr);
    }
}

/// A file with nothing but an architecture and one tensor.
fn gguf(architecture: &str, tensor_type: u32) -> Vec<u8> {
    let file = GgufWriter::new(3).kv("general.architecture", architecture);
    file.tensor("token_embd.weight", tensor_type, &[32, 2], &[0; 256]).finish()
}

/// Every command that opens a model refuses `file`, naming `parts`.
#[track_caller]
fn model_refused(bytes: &[u8], parts: &[&str]) {
    let place = Place::new();
    let file = place.file("model.gguf", bytes);
    let text = place.file("text.txt", b"Once upon a time.");
    let (file, text) = (arg(&file), arg(&text));
    place.run(&["run", file, "hi"]).refused(parts);
    place.run(&["logits", file, "--ids", "0"]).refused(parts);
    place.run(&["perplexity", file, text]).refused(parts);
    place.run(&["inspect", file]).refused(parts);
    place.run(&["bench", file, "--json"]).refused(parts);
}

#[test]
fn a_file_that_is_not_there() {
    shoal(&["run", "./none.gguf", "hi"]).refused(&["cannot open ./none.gguf"]);
    shoal(&["inspect", "./none.gguf"]).refused(&["cannot open ./none.gguf"]);
    shoal(&["perplexity", "minnow", "none.txt"]).refused(&["cannot read none.txt"]);
}

#[test]
fn a_folder_is_no_model() {
    let place = Place::new();
    place
        .run(&["run", arg(&place.path("bin")), "hi"])
        .refused(&["is a folder without config.json", "expected a GGUF file, or a folder"]);
}

#[test]
fn other_files_are_not_models() {
    model_refused(b"#!/bin/sh\necho this is no model\n", &["model.gguf", "is not a GGUF file"]);
    model_refused(b"", &["model.gguf"]);
}

#[test]
fn a_file_that_was_cut() {
    // Within the weights, and within the header.
    model_refused(&MINNOW_GGUF[..MINNOW_GGUF.len() / 2], &["model.gguf is incomplete", "bytes, tensor `"]);
    model_refused(&MINNOW_GGUF[..1000], &["model.gguf is cut off"]);
}

#[test]
fn an_architecture_of_others() {
    model_refused(&gguf("mamba", F32), &["model", "expected an architecture of", "found `mamba`"]);
}

#[test]
fn a_tensor_type_of_others() {
    model_refused(&gguf("llama", 99), &["model.gguf", "`token_embd.weight`", "unknown id 99"]);
}

#[test]
fn a_file_cannot_steer_the_terminal() {
    let place = Place::new();
    let file = place.file("model.gguf", &gguf("\x1b]0;owned\x07\nshoal: all is well", F32));
    let ran = place.run(&["run", arg(&file), "hi"]);
    ran.refused(&["owned"]);
    assert!(!ran.stderr.trim_end().contains(char::is_control), "{ran:?}");
}

#[test]
fn a_name_that_is_not_known_and_what_may_have_been_meant() {
    for command in [&["run", "smolm2-135m", "hi"][..], &["pull", "smolm2-135m"], &["inspect", "smolm2-135m"]]
    {
        shoal(command).refused(&["no model called `smolm2-135m`", "did you mean smollm2-135m"]);
    }
    shoal(&["run", "zzzzzzzzzzzzzzzz", "hi"]).refused(&["zzzzzzzzzzzzzzzz", "`shoal list` shows the names"]);
}

#[test]
fn a_model_that_cannot_be_fetched() {
    let ran = shoal(&["pull", "smollm2-135m"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    let (first, last) = ran.stderr.trim_end().rsplit_once('\n').expect("what is fetched, and why not");
    assert!(first.starts_with("fetching smollm2-135m"), "{ran:?}");
    assert!(last.starts_with("shoal: cannot fetch `smollm2-135m`"), "{ran:?}");
    assert_eq!(last.matches("cannot fetch").count(), 1, "{ran:?}");
    for part in ["seems to be offline", "127.0.0.1:1", "Python package"] {
        assert!(last.contains(part), "expected `{part}` in: {last}");
    }
}

#[test]
fn a_cache_folder_that_cannot_be_made() {
    let place = Place::new();
    let file = place.file("cache", b"a file where the folder should be");
    let ran = place.run(&["pull", "smollm2-135m"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    assert!(ran.stderr.contains(&format!("shoal: cannot create the folder {}", arg(&file))), "{ran:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_behind_standard_output() {
    for args in [&["list"][..], &["run", "minnow", "hi", "-n", "2"]] {
        let full = std::fs::File::create("/dev/full").expect("the device that is always full");
        let output = Place::new().command(args).stdout(full).output().expect("the program starts");
        Ran::from(output).refused(&["cannot write to standard output", "No space left"]);
    }
}

#[test]
fn an_empty_prompt() {
    for args in [&["run", "minnow", ""][..], &["run", "minnow", " \n"], &["run", "minnow", "-"]] {
        shoal(args).refused(&["the prompt is empty"]);
    }
    // No terminal to chat in and nothing to answer.
    for args in [&["run"][..], &["run", "-"], &["run", "minnow", "--raw"], &["run", "minnow", "--json"]] {
        shoal(args).refused(&["the prompt is empty"]);
    }
}

#[test]
fn a_prompt_that_is_not_text() {
    Place::new().run_with_input(&["run", "minnow"], b"\xff\xfe").refused(&["standard input is not UTF-8"]);
}

#[test]
fn a_prompt_longer_than_the_context() {
    let prompt = "once upon a time ".repeat(20);
    let ran = shoal(&["run", "minnow", &prompt, "--ctx", "16"]);
    ran.refused(&["the prompt has ", "the context holds 16", "--ctx"]);
}

#[test]
fn memory_that_is_no_size_or_too_small() {
    misused(&["run", "minnow", "hi", "--memory", "much"], &["--memory", "found `much`"]);
    shoal(&["run", "minnow", "hi", "--memory", "1MiB"]).refused(&[
        "minnow needs",
        "--memory",
        "smaller quantisation",
    ]);
}

#[test]
fn arguments_that_are_out_of_range() {
    misused(&["run", "minnow", "hi", "--isa", "abacus"], &["--isa", "abacus", "scalar"]);
    misused(&["run", "minnow", "hi", "--threads", "0"], &["--threads"]);
    misused(&["run", "minnow", "hi", "--prefill-chunk", "0"], &["1 to 65536"]);
    misused(&["run", "minnow", "hi", "--logit-bias", "comma"], &["expected ID=BIAS", "`comma`"]);
    misused(&["run", "minnow", "hi", "there"], &["there"]);
    misused(&["logits", "minnow"], &["--ids"]);
    misused(&["swim"], &["swim"]);
    shoal(&["run", "minnow", "hi", "--temp", "-1"]).refused(&["temperature", "found -1"]);
    shoal(&["run", "minnow", "hi", "--temp", "nan"]).refused(&["temperature"]);
    shoal(&["run", "minnow", "hi", "--top-p", "0"]).refused(&["top_p"]);
    shoal(&["run", "minnow", "hi", "--logit-bias", "14=inf"]).refused(&["logit_bias"]);
}

#[test]
fn tokens_and_texts_that_do_not_fit_the_model() {
    shoal(&["logits", "minnow", "--ids", "0,4000000000"]).refused(&["4000000000"]);
    shoal(&["logits", "minnow", "--ids", "0,1,2,3", "--ctx", "3"]).refused(&["4 tokens", "3"]);
    let place = Place::new();
    let text = place.file("text.txt", b"Too short.");
    place.run(&["perplexity", "minnow", arg(&text)]).refused(&["the text has", "512"]);
    place.run(&["perplexity", "minnow", arg(&text), "--ctx", "1"]).refused(&["--ctx 1"]);
    place.run(&["perplexity", "minnow", arg(&text), "--ctx", "9999999"]).refused(&["--ctx 9999999"]);
}

#[test]
fn a_synthetic_model_is_one_of_the_family_and_no_file() {
    shoal(&["bench", "--synthetic", "v5"]).refused(&["--synthetic v5", "v4-flash", "r1-llama-70b"]);
    misused(&["bench", "--synthetic", "v4-flash", "--mix", "q9"], &["q9", "mxfp4"]);
    misused(&["bench", "x.gguf", "--layers", "3"], &["--layers"]);
    misused(&["bench", "x.gguf", "--synthetic", "v3"], &["--synthetic"]);
    misused(&["bench"], &["MODEL"]);
    let refused = shoal(&["bench", "--synthetic", "v4-flash", "--memory", "1GiB"]);
    refused.refused(&["v4-flash needs", "1.00 GiB"]);
}
