//! With guesses and without: the same answers, only sooner.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use shoal_base::TokenId;
use shoal_checkpoint::Checkpoint;
use shoal_engine::{Engine, EngineOptions, Event, Request, SamplingParams, StepReport};
use shoal_kernels::{Cpu, Isa, Pool};
use shoal_model::{IoMode, OpenOptions, open, with_draft_layer};
use shoal_testkit::gguf::GgufWriter;
use shoal_testkit::{builtin_model, golden_dir, seeded};

fn engine(draft_len: usize, options: EngineOptions) -> Engine {
    engine_of(&builtin_model(), draft_len, options)
}

fn engine_of(path: &Path, draft_len: usize, options: EngineOptions) -> Engine {
    engine_with(Checkpoint::open(path).expect("the model reads"), draft_len, options)
}

fn engine_with(checkpoint: Checkpoint, draft_len: usize, options: EngineOptions) -> Engine {
    let open_options =
        OpenOptions { memory: None, drafts: draft_len > 0, io: IoMode::Auto, progress: &|_, _| {} };
    let cpu = Cpu::new(Isa::best(), Arc::new(Pool::new(2)));
    let model = open(Arc::new(checkpoint), &open_options, cpu).expect("the model loads");
    Engine::new(model, EngineOptions { draft_len, ..options })
}

fn for_one() -> EngineOptions {
    EngineOptions { prefill_chunk: 48, ..EngineOptions::for_one(256) }
}

/// The beginning of a story.
fn prompt(of: u32) -> Vec<TokenId> {
    [0, 770, 837, 263, 533, 300 + of, 282 + 3 * of].map(TokenId).to_vec()
}

fn sampled(temperature: f32, seed: u64) -> SamplingParams {
    SamplingParams { temperature, top_k: 0, top_p: 1.0, min_p: 0.0, seed, ..Default::default() }
}

/// Runs all requests together; their answers in the order of the requests, and what all steps reported.
fn run(engine: &mut Engine, requests: Vec<Request>) -> (Vec<Vec<TokenId>>, StepReport) {
    let ids: Vec<_> = requests.into_iter().map(|request| engine.submit(request).expect("room")).collect();
    let (mut answers, mut all) = (vec![Vec::new(); ids.len()], StepReport::default());
    while !engine.is_idle() {
        let (events, report) = engine.step();
        all.decode_tokens += report.decode_tokens;
        all.drafted += report.drafted;
        all.accepted += report.accepted;
        for event in events {
            if let Event::Token(id, token) = event {
                answers[ids.iter().position(|other| *other == id).expect("known")].push(token);
            }
        }
    }
    (answers, all)
}

#[test]
fn an_answer_is_the_same_with_guesses_greedy_and_sampled() {
    let params = || {
        [
            sampled(0.0, 1),
            sampled(0.6, 2),
            sampled(1.0, 3),
            SamplingParams { repeat_penalty: 1.3, ..sampled(0.8, 4) },
        ]
    };
    let requests =
        || params().into_iter().enumerate().map(|(i, params)| Request::new(prompt(i as u32), params, 90));
    let alone = |draft_len: usize, request| run(&mut engine(draft_len, for_one()), vec![request]);
    let want: Vec<_> = requests().map(|request| alone(0, request).0.remove(0)).collect();
    for draft_len in [1, 3] {
        let (mut drafted, mut accepted) = (0, 0);
        for (request, want) in requests().zip(&want) {
            let (mut got, report) = alone(draft_len, request);
            assert_eq!(&got.remove(0), want, "{draft_len} guesses");
            drafted += report.drafted;
            accepted += report.accepted;
        }
        println!("{draft_len} guesses at a time: {accepted} of {drafted} right");
        assert!(
            accepted * (2 + 2 * draft_len) > drafted,
            "a layer that was trained is right now and then: {accepted} of {drafted}"
        );
    }
    // Steps with rows for every guess, and with fewer: a guess that did not run must not count, whether it was right or not.
    for prefill_chunk in [20, 6] {
        let options = EngineOptions { prefill_chunk, ..EngineOptions::for_many(4, 256) };
        let together = run(&mut engine(2, options), requests().collect());
        assert_eq!(together.0, want, "in one another's company, {prefill_chunk} rows a step");
    }
}

/// V4 takes tokens back across windows of compression and blocks: a guess may have closed a window that other tokens close then. The
/// draft layer knows nothing, but of four tokens it names the right one now and then.
#[test]
fn an_answer_of_v4_is_the_same_with_guesses() {
    let small_v4 = || {
        let open =
            |name: &str| Checkpoint::open(&golden_dir("deepseek_v4").join(name)).expect("a golden file");
        with_draft_layer(open("model.gguf"), open("draft.gguf")).expect("its draft layer")
    };
    let of_four = |temperature, seed| {
        let logit_bias = [7, 19, 300, 411].map(|id| (TokenId(id), 30.0)).to_vec();
        SamplingParams { logit_bias, ..sampled(temperature, seed) }
    };
    let params = || [sampled(0.0, 1), sampled(1.0, 2), of_four(0.0, 3), of_four(1.0, 4), of_four(5.0, 5)];
    let prompt = |of: u32| (0..60 + 17 * of).map(|i| TokenId((i * 37 + of) % 512)).collect::<Vec<_>>();
    let requests =
        || params().into_iter().enumerate().map(|(i, params)| Request::new(prompt(i as u32), params, 150));
    let options = || EngineOptions { prefill_chunk: 48, ..EngineOptions::for_many(5, 320) };
    let (want, _) = run(&mut engine_with(small_v4(), 0, options()), requests().collect());
    assert!(want.iter().all(|answer| answer.len() == 150));
    for draft_len in [1, 3, 8] {
        let (got, report) = run(&mut engine_with(small_v4(), draft_len, options()), requests().collect());
        println!("{draft_len} guesses at a time: {} of {} right", report.accepted, report.drafted);
        assert_eq!(got, want, "{draft_len} guesses");
        assert!(report.accepted > 30 && report.drafted > 2 * report.accepted, "{report:?}");
    }
}

#[test]
fn guesses_end_where_answers_and_contexts_end() {
    for draft_len in [1, 3] {
        for max_tokens in [1, 2, 3, 7, 1000] {
            let request = || Request::new(prompt(0), sampled(0.0, 1), max_tokens);
            let options = EngineOptions::for_one(64);
            let (want, _) = run(&mut engine(0, options), vec![request()]);
            let (got, _) = run(&mut engine(draft_len, options), vec![request()]);
            assert_eq!(got, want, "{draft_len} guesses, {max_tokens} tokens");
        }
    }
}

#[test]
fn what_was_known_of_a_prompt_is_known_with_guesses_too() {
    let long: Vec<TokenId> = (0..150).map(|i| TokenId((i * 37 + 11) % 4000)).collect();
    let request = || Request::new(long.clone(), sampled(1.0, 5), 30);
    let (want, _) = run(&mut engine(0, for_one()), vec![request()]);
    let mut with_guesses = engine(2, for_one());
    for turn in 0..3 {
        assert_eq!(run(&mut with_guesses, vec![request()]).0, want, "turn {turn}");
    }
}

/// A model of one layer and a draft layer with random weights: it knows nothing, but it is quick.
fn write_tiny_model(path: &Path) {
    let mut file = GgufWriter::new(3).kv("general.architecture", "deepseek2");
    for (key, value) in [
        ("block_count", 2),
        ("nextn_predict_layers", 1),
        ("leading_dense_block_count", 2),
        ("context_length", 64),
        ("embedding_length", HIDDEN),
        ("feed_forward_length", WIDTH),
        ("attention.head_count", HEADS),
        ("attention.kv_lora_rank", RANK),
        ("attention.key_length_mla", NOPE + ROPE),
        ("attention.value_length_mla", VALUE),
        ("rope.dimension_count", ROPE),
    ] {
        file = file.kv(&format!("deepseek2.{key}"), value as u32);
    }
    file = file.kv("deepseek2.attention.layer_norm_rms_epsilon", 1e-6f32);
    let layer = |layer: u64, parts: &[(&'static str, &[u64])]| -> Vec<(String, Vec<u64>)> {
        parts.iter().map(|(name, dims)| (format!("blk.{layer}.{name}"), dims.to_vec())).collect()
    };
    let parts: [(&str, &[u64]); 11] = [
        ("attn_norm", &[HIDDEN]),
        ("attn_q", &[HIDDEN, HEADS * (NOPE + ROPE)]),
        ("attn_kv_a_mqa", &[HIDDEN, RANK + ROPE]),
        ("attn_kv_a_norm", &[RANK]),
        ("attn_k_b", &[NOPE, RANK, HEADS]),
        ("attn_v_b", &[RANK, VALUE, HEADS]),
        ("attn_output", &[HEADS * VALUE, HIDDEN]),
        ("ffn_norm", &[HIDDEN]),
        ("ffn_gate", &[HIDDEN, WIDTH]),
        ("ffn_up", &[HIDDEN, WIDTH]),
        ("ffn_down", &[WIDTH, HIDDEN]),
    ];
    let drafts: [(&str, &[u64]); 4] = [
        ("nextn.enorm", &[HIDDEN]),
        ("nextn.hnorm", &[HIDDEN]),
        ("nextn.eh_proj", &[2 * HIDDEN, HIDDEN]),
        ("nextn.shared_head_norm", &[HIDDEN]),
    ];
    let ends = [
        ("token_embd", vec![HIDDEN, TINY_VOCAB]),
        ("output_norm", vec![HIDDEN]),
        ("output", vec![HIDDEN, TINY_VOCAB]),
    ];
    let ends = ends.into_iter().map(|(name, dims)| (name.to_owned(), dims));
    let tensors = ends.chain(layer(0, &parts)).chain(layer(1, &parts)).chain(layer(1, &drafts));
    for (seed, (name, dims)) in tensors.enumerate() {
        let spread = if dims.len() == 1 { 1.0 } else { 1.5 / (dims[0] as f32).sqrt() };
        let values = seeded::normal_f32(seed as u64, dims.iter().product::<u64>() as usize);
        let bytes: Vec<u8> = values.iter().flat_map(|x| (x * spread).to_le_bytes()).collect();
        file = file.tensor(&format!("{name}.weight"), 0, &dims, &bytes);
    }
    std::fs::write(path, file.finish()).expect("a temporary file");
}

const TINY_VOCAB: u64 = 40;
const HIDDEN: u64 = 32;
const HEADS: u64 = 2;
const RANK: u64 = 16;
const NOPE: u64 = 8;
const ROPE: u64 = 8;
const VALUE: u64 = 8;
const WIDTH: u64 = 48;

/// Equal one by one is equal in distribution; that is what a reader of papers looks for, so it is counted as well.
#[test]
fn a_hundred_thousand_draws_have_the_same_distribution() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("tiny.gguf");
    write_tiny_model(&path);
    let draws = |draft_len: usize| {
        let options = EngineOptions { prefill_chunk: 512, ..EngineOptions::for_many(100, 64) };
        let mut engine = engine_of(&path, draft_len, options);
        let (mut counts, mut drafted, mut accepted) = (vec![0u32; TINY_VOCAB as usize], 0, 0);
        for batch in 0..20u64 {
            let request = |i| Request::new(vec![TokenId(7)], sampled(1.0, 100 * batch + i), 50);
            let (answers, report) = run(&mut engine, (0..100).map(request).collect());
            answers.iter().flatten().for_each(|token| counts[token.idx()] += 1);
            drafted += report.drafted;
            accepted += report.accepted;
        }
        (counts, drafted, accepted)
    };
    let ((plain, ..), (guessed, drafted, accepted)) = (draws(0), draws(1));
    assert_eq!(plain.iter().sum::<u32>(), 100_000, "draws");
    assert!(plain.iter().filter(|&&count| count > 500).count() > 10, "they differ: {plain:?}");
    assert!(accepted > 1000 && accepted < drafted, "guesses were right and wrong: {accepted} of {drafted}");
    assert_eq!(guessed, plain);
}

#[test]
fn guesses_stop_where_the_clock_says_that_they_do_not_pay() {
    let mut engine = engine(1, for_one());
    let mut drafted = Vec::new();
    for _ in 0..3 {
        engine.submit(Request::new(prompt(1), sampled(0.0, 1), 60)).expect("room");
        let mut own = 0;
        while !engine.is_idle() {
            let (_, report) = engine.step();
            own += report.drafted;
            let rows = report.decode_tokens + report.drafted - report.accepted;
            // Every row takes as long as the first.
            engine.took(Duration::from_millis(10 * rows as u64), &report);
        }
        drafted.push(own);
    }
    assert!(drafted[0] > 0 && drafted[0] < 20, "{drafted:?}");
    assert_eq!(drafted[1..], [0, 0], "requests that come after are left alone");
}
