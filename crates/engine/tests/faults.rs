//! A drive that fails, and a file that shrinks, end the request that needs them, in one sentence; the engine lives.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shoal_base::{Bytes, TokenId};
use shoal_checkpoint::{Checkpoint, TensorInfo};
use shoal_engine::{Engine, EngineOptions, Event, FinishReason, Request, SamplingParams};
use shoal_kernels::{Cpu, Isa, Pool};
use shoal_model::kv_cache::KvSizes;
use shoal_model::memory::{Footprint, scratch_bytes};
use shoal_model::{IoMode, KvCache, Model, ModelConfig, OpenOptions, open};
use shoal_store::disk::{self, Disk, Fill, Filled};
use shoal_store::{STALL_LIMIT, Store, StoreOptions};
use shoal_testkit::golden_dir;

fn request() -> Request {
    let sampling = SamplingParams { temperature: 0.0, ..SamplingParams::default() };
    let prompt = (0..20).map(|i| TokenId(i * 7 + 3)).collect();
    Request::new(prompt, sampling, 8)
}

/// The tokens of an answer, or why it failed.
fn answer(engine: &mut Engine) -> Result<Vec<TokenId>, String> {
    // What is kept of an earlier prompt would spare it the drive.
    engine.forget();
    engine.submit(request()).expect("room");
    let mut tokens = Vec::new();
    loop {
        for event in engine.step().0 {
            match event {
                Event::Prompt(..) | Event::Logprobs(..) => {}
                Event::Token(_, token) => tokens.push(token),
                Event::Finished(_, reason) => {
                    assert_eq!(reason, FinishReason::Length);
                    return Ok(tokens);
                }
                Event::Failed(_, why) => {
                    assert!(engine.is_idle(), "the request is over");
                    return Err(why);
                }
            }
        }
    }
}

fn cpu() -> Cpu {
    Cpu::new(Isa::best(), Arc::new(Pool::new(2)))
}

/// The model of `path` with so little memory that experts are read all the time.
fn small(path: &Path) -> Engine {
    let checkpoint = Arc::new(Checkpoint::open(path).expect("the golden checkpoint reads"));
    let config = ModelConfig::read(&checkpoint).expect("a golden checkpoint");
    let footprint = Footprint::of(&checkpoint, &config);
    let beside = KvCache::bytes_for(&config, KvSizes::for_sequences(1, 64)) + scratch_bytes(&config, 20, 64);
    let memory = Bytes(footprint.fixed() + beside + footprint.slots_min * footprint.slot);
    let options = OpenOptions { memory: Some(memory), drafts: false, io: IoMode::Auto, progress: &|_, _| {} };
    let model = open(checkpoint, &options, cpu()).expect("it loads");
    Engine::new(model, EngineOptions::for_one(64))
}

#[test]
fn a_file_that_shrinks_ends_the_request_and_no_other() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("model.gguf");
    let whole = std::fs::read(golden_dir("deepseek_v3").join("model.gguf")).expect("the golden file");
    std::fs::write(&path, &whole).expect("a temporary file");
    let mut engine = small(&path);
    let want = answer(&mut engine).expect("a whole file");

    std::fs::File::options().write(true).open(&path).expect("our file").set_len(4096).expect("our file");
    let why = answer(&mut engine).expect_err("the file is cut");
    assert!(
        why.contains("model.gguf") && why.contains("at offset") && why.contains("end of the file"),
        "{why}"
    );
    assert!(!why.contains('\n'), "one sentence: {why}");

    std::fs::write(&path, &whole).expect("a temporary file");
    assert_eq!(answer(&mut engine).expect("the file is whole again"), want);

    std::fs::remove_file(&path).expect("our file");
    assert_eq!(answer(&mut engine).expect("an open file outlives its name"), want);
}

/// Passes on what it is asked for, and while it is told to reports a failure of two experts in three: more than are read
/// ahead, whose failures nobody hears of.
struct Injector {
    drive: Box<dyn Disk>,
    is_broken: Arc<AtomicBool>,
    turn: usize,
}

impl Disk for Injector {
    fn submit(&mut self, fill: Fill) {
        self.drive.submit(fill);
    }

    fn wait(&mut self, at_most: Duration) -> Option<Filled> {
        let filled = self.drive.wait(at_most)?;
        self.turn += 1;
        if !self.is_broken.load(Ordering::SeqCst) || self.turn.is_multiple_of(3) {
            return Some(filled);
        }
        let source = std::io::Error::other("injected");
        let error = shoal_checkpoint::Error::Read { file: "the drive".to_owned(), offset: 7, len: 9, source };
        Some(Filled { result: Err(error.into()), ..filled })
    }

    fn name(&self) -> &'static str {
        "injector"
    }
}

#[test]
fn failures_of_a_drive_come_and_go() {
    let path = golden_dir("deepseek_v2_lite").join("model.gguf");
    let checkpoint = Arc::new(Checkpoint::open(&path).expect("the golden checkpoint reads"));
    let config = ModelConfig::read(&checkpoint).expect("a golden checkpoint");
    let is_broken = Arc::new(AtomicBool::new(false));
    let drive = disk::open(checkpoint.sources(), IoMode::Auto).expect("it opens");
    let injector = Injector { drive, is_broken: Arc::clone(&is_broken), turn: 0 };
    let role = |tensor: &TensorInfo| Model::role(&config, tensor);
    let footprint = Footprint::of(&checkpoint, &config);
    let budget = Some(Bytes(footprint.dense + (footprint.slots_min + 2) * footprint.slot));
    let options = StoreOptions {
        budget,
        role: &role,
        disk: Box::new(injector),
        stall_limit: STALL_LIMIT,
        progress: &|_, _| {},
    };
    let store = Store::open(Arc::clone(&checkpoint), options).expect("dense weights come");
    let model = Model::load(config.clone(), store, cpu()).expect("it loads");
    let mut engine = Engine::new(model, EngineOptions::for_one(64));
    let want = answer(&mut engine).expect("a sound drive");
    for _ in 0..3 {
        is_broken.store(true, Ordering::SeqCst);
        let why = answer(&mut engine).expect_err("a broken drive");
        assert!(why.contains("cannot read 9 bytes at offset 7 of the drive"), "{why}");
        is_broken.store(false, Ordering::SeqCst);
        assert_eq!(answer(&mut engine).expect("a sound drive"), want);
    }
}
