//! Same weights, prompt, seed: the same tokens, whatever the threads, the chunks of the prompt, the company or what
//! was kept of earlier prompts.

use std::sync::Arc;

use shoal_base::TokenId;
use shoal_checkpoint::Checkpoint;
use shoal_engine::{Engine, EngineOptions, Error, Event, FinishReason, Request, SamplingParams, SequenceId};
use shoal_kernels::{Cpu, Isa, Pool};
use shoal_model::{IoMode, Model, OpenOptions, open};
use shoal_testkit::golden_dir;

fn load(family: &str, file: &str, threads: usize) -> Model {
    let checkpoint = Checkpoint::open(&golden_dir(family).join(file)).expect("the golden checkpoint reads");
    let options = OpenOptions { memory: None, drafts: false, io: IoMode::Auto, progress: &|_, _| {} };
    let cpu = Cpu::new(Isa::best(), Arc::new(Pool::new(threads)));
    open(Arc::new(checkpoint), &options, cpu).expect("the golden checkpoint loads")
}

fn minnow(threads: usize) -> Model {
    load("minnow", "minnow.bf16.gguf", threads)
}

fn request(prompt: &[u32], max_tokens: usize, seed: u64) -> Request {
    let sampling =
        SamplingParams { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, seed, ..Default::default() };
    let prompt = prompt.iter().map(|&id| TokenId(id)).collect();
    Request::new(prompt, sampling, max_tokens)
}

fn prompt(len: u32) -> Vec<u32> {
    (0..len).map(|i| (i * 37 + 11) % 4000).collect()
}

fn options(prefill_chunk: usize) -> EngineOptions {
    EngineOptions { prefill_chunk, block_count: 64, ..EngineOptions::for_one(512) }
}

/// Runs until nothing is left; the tokens of each request.
fn run(engine: &mut Engine, requests: Vec<Request>) -> Vec<Vec<TokenId>> {
    let ids: Vec<SequenceId> = requests.into_iter().map(|r| engine.submit(r).expect("room")).collect();
    let mut answers = vec![Vec::new(); ids.len()];
    while !engine.is_idle() {
        let (events, _) = engine.step();
        for event in events {
            if let Event::Token(id, token) = event {
                answers[ids.iter().position(|other| *other == id).expect("known")].push(token);
            }
        }
    }
    answers
}

#[test]
fn threads_and_chunks_do_not_change_an_answer() {
    for (family, file) in [
        ("minnow", "minnow.bf16.gguf"),
        ("qwen2", "model.gguf"),
        ("deepseek_v2_lite", "model.gguf"),
        ("deepseek_v32", "model.gguf"),
        ("deepseek_v4", "model.gguf"),
    ] {
        let prompt: Vec<u32> = prompt(90).iter().map(|id| id % 500).collect();
        let answer = |threads, chunk| {
            let mut engine = Engine::new(load(family, file, threads), options(chunk));
            run(&mut engine, vec![request(&prompt, 40, 7)]).remove(0)
        };
        let want = answer(1, 512);
        assert_eq!(want.len(), 40);
        for (threads, chunk) in [(2, 512), (3, 7), (2, 1), (1, 64)] {
            assert_eq!(answer(threads, chunk), want, "{family}: {threads} threads, chunks of {chunk}");
        }
    }
}

#[test]
fn another_seed_is_another_answer() {
    let mut engine = Engine::new(minnow(2), options(512));
    let answers = [1, 2].map(|seed| run(&mut engine, vec![request(&prompt(20), 30, seed)]).remove(0));
    assert_ne!(answers[0], answers[1]);
}

#[test]
fn company_does_not_change_an_answer() {
    let alone = |prompt: &[u32], seed| {
        let mut engine = Engine::new(minnow(2), options(512));
        run(&mut engine, vec![request(prompt, 30, seed)]).remove(0)
    };
    let (a, b) = (prompt(70), prompt(130));
    let want = [alone(&a, 3), alone(&b, 4)];
    let mut engine = Engine::new(minnow(2), options(48));
    let together = run(&mut engine, vec![request(&a, 30, 3), request(&b, 30, 4)]);
    assert_eq!(together, want);
}

/// What one more request yields, and how many tokens of its prompt were not computed.
fn answer(engine: &mut Engine, request: Request) -> (Vec<TokenId>, usize) {
    let own = engine.submit(request).expect("room");
    let (mut tokens, mut cached) = (Vec::new(), 0);
    while !engine.is_idle() {
        for event in engine.step().0 {
            match event {
                Event::Token(id, token) if id == own => tokens.push(token),
                Event::Prompt(id, progress) if id == own => cached = progress.cached,
                _ => {}
            }
        }
    }
    (tokens, cached)
}

#[test]
fn what_is_known_of_a_prompt_is_not_computed_again_and_changes_nothing() {
    // How much is known of the prompts below. Where rows of generated tokens are those of a prompt's an answer is known as well; of
    // V4 a block is good from its end on, and shortly before that, and not from its middle on.
    let [latent, plain, compressed] =
        [[149, 150, 100, 69, 159], [149, 179, 100, 69, 159], [128, 179, 64, 64, 128]];
    for (family, file, known) in [
        ("minnow", "minnow.bf16.gguf", latent),
        ("qwen2", "model.gguf", plain),
        ("deepseek_v2_lite", "model.gguf", latent),
        ("deepseek_v32", "model.gguf", latent),
        ("deepseek_v4", "model.gguf", compressed),
    ] {
        let engine = || Engine::new(load(family, file, 2), options(48));
        let small = |len: u32, of: u32| -> Vec<u32> { (0..len).map(|i| (i * 37 + of * 101) % 500).collect() };
        let alone = |prompt: &[u32]| answer(&mut engine(), request(prompt, 30, 3));
        let mut shared = engine();
        let a = small(150, 1);
        let (first, cached) = answer(&mut shared, request(&a, 30, 3));
        assert_eq!((&first, cached), (&alone(&a).0, 0), "{family}");
        // The same again, a second turn, one that leaves it midway, one that is within it, one that is new.
        let turn: Vec<u32> = a.iter().copied().chain(first.iter().map(|t| t.0)).chain([5, 6, 7]).collect();
        let fork: Vec<u32> = a[..100].iter().copied().chain(small(60, 2)).collect();
        let prompts = [&a[..], &turn, &fork, &a[..70], &fork, &small(9, 7)];
        for (prompt, known) in prompts.into_iter().zip(known.into_iter().chain([0])) {
            let (got, cached) = answer(&mut shared, request(prompt, 30, 3));
            assert_eq!(got, alone(prompt).0, "{family}: {} tokens", prompt.len());
            assert_eq!(cached, known, "{family}: {} tokens", prompt.len());
        }
        let salted = Request { cache_salt: vec![1], ..request(&a, 30, 3) };
        assert_eq!(answer(&mut shared, salted), (first, 0), "{family}: another salt");
        shared.forget();
        assert_eq!(shared.blocks().free_count(), shared.blocks().total(), "{family}: no block is lost");
    }
}

/// V4's window is kept of few blocks: at the end of what was written, and at every 1024th position.
#[test]
fn v4_goes_on_where_its_window_is_kept_and_answers_as_ever() {
    let small = |len: u32, of: u32| -> Vec<u32> { (0..len).map(|i| (i * 37 + of * 101) % 500).collect() };
    let engine = || {
        let options = EngineOptions { prefill_chunk: 400, ..EngineOptions::for_many(2, 2048) };
        Engine::new(load("deepseek_v4", "model.gguf", 2), options)
    };
    let alone = |prompt: &[u32]| answer(&mut engine(), request(prompt, 20, 3)).0;
    let mut shared = engine();
    let long = small(1500, 1);
    // Steps ended after 400, 800 and 1200 tokens; what they left is still there.
    let fork = |at: usize| -> Vec<u32> { long[..at].iter().copied().chain(small(60, 2)).collect() };
    // Steps ended after 400, 800 and 1200 tokens. What they left gives way to what comes after, the mark at 1024 last.
    let turns = [
        (long.clone(), 0),
        (fork(1200), 1152),
        (fork(700), 448),
        (long.clone(), 1472),
        (fork(1500), 1472),
        (fork(1060), 1024),
    ];
    for (prompt, known) in turns {
        let (got, cached) = answer(&mut shared, request(&prompt, 20, 3));
        assert_eq!(got, alone(&prompt), "{} tokens", prompt.len());
        assert_eq!(cached, known, "{} tokens", prompt.len());
    }
    // Two at a time, each of which looks into its own.
    let both = run(&mut shared, vec![request(&fork(900), 20, 3), request(&small(1100, 5), 20, 4)]);
    assert_eq!(both[0], alone(&fork(900)));
    assert_eq!(both[1], answer(&mut engine(), request(&small(1100, 5), 20, 4)).0);
}

#[test]
fn equal_prompts_that_come_together_are_computed_once() {
    let prompt = prompt(200);
    let mut engine = Engine::new(minnow(2), options(64));
    let want =
        run(&mut engine, vec![request(&prompt, 10, 1), request(&prompt, 10, 2), request(&prompt, 10, 3)]);
    let mut engine = Engine::new(minnow(2), options(64));
    let requests = [1, 2, 3].map(|seed| request(&prompt, 10, seed));
    let ids = requests.map(|request| engine.submit(request).expect("room"));
    let (mut computed, mut got) = (0, vec![Vec::new(); 3]);
    while !engine.is_idle() {
        let (events, report) = engine.step();
        computed += report.prefill_tokens;
        for event in events {
            if let Event::Token(id, token) = event {
                got[ids.iter().position(|other| *other == id).expect("known")].push(token);
            }
        }
    }
    assert_eq!(got, want);
    assert!(computed < 2 * prompt.len(), "{computed} tokens of three prompts were computed");
}

#[test]
fn little_room_for_many_prompts_changes_no_answer() {
    let prompts: Vec<Vec<u32>> =
        (0..12u32).map(|i| prompt(60 + 50 * (i % 3)).iter().map(|t| (t + i / 2) % 4000).collect()).collect();
    let alone: Vec<_> = prompts
        .iter()
        .map(|p| answer(&mut Engine::new(minnow(2), options(512)), request(p, 20, 5)).0)
        .collect();
    let mut engine =
        Engine::new(minnow(2), EngineOptions { prefill_chunk: 32, ..EngineOptions::for_many(2, 192) });
    for round in 0..2 {
        for (pair, want) in prompts.chunks(2).zip(alone.chunks(2)) {
            let requests = pair.iter().map(|prompt| request(prompt, 20, 5)).collect();
            assert_eq!(run(&mut engine, requests), want, "round {round}");
            let blocks = engine.blocks();
            assert_eq!(blocks.free_count() + blocks.kept_count(), blocks.total());
        }
    }
}

/// V4's window reaches into three blocks from the middle of one. Sequences that take turns, end at different times and share beginnings
/// must each find theirs, with no frame more than there are for them.
#[test]
fn v4_keeps_the_windows_of_all_that_run() {
    let small = |len: u32, of: u32| -> Vec<u32> { (0..len).map(|i| (i * 37 + of * 101) % 500).collect() };
    // Some share a beginning and leave it shortly before, at, or shortly after the end of a block.
    let prompts: Vec<Vec<u32>> = (0..18u32)
        .map(|i| {
            let shared = small(120 + 9 * (i % 7), 1);
            let own = small(10 + 31 * (i % 5), 2 + i % 4);
            shared.into_iter().chain(own).collect()
        })
        .collect();
    let engine = |chunk: usize, sequences: usize| {
        let options = EngineOptions { prefill_chunk: chunk, ..EngineOptions::for_many(sequences, 512) };
        Engine::new(load("deepseek_v4", "model.gguf", 2), options)
    };
    let alone: Vec<_> = prompts.iter().map(|p| answer(&mut engine(512, 1), request(p, 70, 5)).0).collect();
    for (chunk, sequences) in [(512, 1), (40, 3), (512, 3)] {
        let mut engine = engine(chunk, sequences);
        for round in 0..2 {
            for (group, want) in prompts.chunks(sequences).zip(alone.chunks(sequences)) {
                let requests = group.iter().map(|prompt| request(prompt, 70, 5)).collect();
                assert_eq!(run(&mut engine, requests), want, "chunks of {chunk}, round {round}");
            }
        }
    }
}

/// What a sequence takes over it looks into at once: the copy of a half-full block must not take the window before it away.
#[test]
fn v4_takes_over_a_window_whole_when_every_frame_is_in_use() {
    let small = |len: u32, of: u32| -> Vec<u32> { (0..len).map(|i| (i * 37 + of * 101) % 500).collect() };
    let engine = || Engine::new(load("deepseek_v4", "model.gguf", 2), EngineOptions::for_one(960));
    let mut shared = engine();
    let first = small(130, 1);
    let (said, _) = answer(&mut shared, request(&first, 30, 3));
    // Three blocks of the first and four of the second have all seven frames; those of the first are the oldest.
    let _ = answer(&mut shared, request(&small(200, 2), 70, 3));
    let turn: Vec<u32> = first.into_iter().chain(said.iter().map(|token| token.0)).chain([5, 6, 7]).collect();
    let want = answer(&mut engine(), request(&turn, 30, 3)).0;
    assert_eq!(answer(&mut shared, request(&turn, 30, 3)), (want, 159));
}

#[test]
fn answers_end_where_they_should() {
    let mut engine = Engine::new(minnow(1), EngineOptions::for_one(64));
    let greedy = |max_tokens, end_tokens| Request {
        sampling: SamplingParams::greedy(),
        end_tokens,
        ..request(&[0, 770, 837, 263, 533], max_tokens, 0)
    };
    let finish = |engine: &mut Engine, request| {
        engine.submit(request).expect("room");
        let mut all = Vec::new();
        while !engine.is_idle() {
            all.extend(engine.step().0.into_iter().filter(|event| !matches!(event, Event::Prompt(..))));
        }
        all
    };
    let events = finish(&mut engine, greedy(3, vec![]));
    assert!(matches!(
        events[..],
        [Event::Token(..), Event::Token(..), Event::Token(..), Event::Finished(_, FinishReason::Length)]
    ));
    let Event::Token(_, second) = events[1] else { unreachable!("matched above") };
    let events = finish(&mut engine, greedy(30, vec![second]));
    assert!(matches!(events[..], [Event::Token(..), Event::Finished(_, FinishReason::End)]));
    let events = finish(&mut engine, greedy(1000, vec![]));
    assert_eq!(events.len() - 1, 64 - 5, "the end of the context ends the answer");
    assert!(matches!(finish(&mut engine, greedy(0, vec![]))[..], [Event::Finished(_, FinishReason::Length)]));
}

#[test]
fn requests_that_cannot_run_are_refused_and_the_engine_lives_on() {
    let mut engine = Engine::new(minnow(1), EngineOptions::for_one(64));
    let long = vec![1; 64];
    assert!(matches!(
        engine.submit(request(&long, 1, 0)),
        Err(Error::PromptTooLong { found: 64, limit: 64 })
    ));
    assert!(matches!(engine.submit(request(&[], 1, 0)), Err(Error::EmptyPrompt)));
    let unknown = engine.submit(request(&[1, 4096], 1, 0));
    assert!(matches!(unknown, Err(Error::UnknownToken { found: 4096, place: 1, vocab_size: 4096 })));
    let mut hot = request(&[1], 1, 0);
    hot.sampling.temperature = f32::NAN;
    assert!(matches!(engine.submit(hot), Err(Error::BadSampling { name: "temperature", .. })));
    let id = engine.submit(request(&[1], 60, 0)).expect("room for one");
    assert!(matches!(engine.submit(request(&[1], 60, 0)), Err(Error::Full { limit: 1 })));
    engine.cancel(id);
    assert_eq!(run(&mut engine, vec![request(&[1], 5, 0)])[0].len(), 5);
}
