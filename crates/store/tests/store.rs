//! What a store hands out is what the file holds, by every way of reading; and what it cannot hold or read it says.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use shoal_base::{Bytes, ExpertId};
use shoal_checkpoint::{Checkpoint, TensorInfo};
use shoal_store::disk::{self, Disk, Fill, Filled};
use shoal_store::{Error, IoMode, Role, STALL_LIMIT, Store, StoreOptions};
use shoal_testkit::gguf::GgufWriter;
use shoal_testkit::seeded::random_bytes;

/// ggml's number of F32.
const F32: u32 = 0;

const EXPERTS: usize = 6;

/// Bytes of one matrix of an expert: not a multiple of a block.
const EXPERT_BYTES: usize = 8 * 300 * 4;

struct Sample {
    dir: tempfile::TempDir,
    checkpoint: Arc<Checkpoint>,
    large: Vec<u8>,
    stacks: [Vec<u8>; 3],
}

fn sample() -> Sample {
    let dir = tempfile::tempdir().expect("a temporary folder");
    // Larger than one piece.
    let large = random_bytes(1, 20 << 20);
    let stacks = [2, 3, 4].map(|seed| random_bytes(seed, EXPERTS * EXPERT_BYTES));
    let shape = [8, 300, EXPERTS as u64];
    let bytes = GgufWriter::new(3)
        .kv("general.architecture", "llama")
        .tensor("large", F32, &[1 << 10, 5 << 10], &large)
        .tensor("gate", F32, &shape, &stacks[0])
        .tensor("up", F32, &shape, &stacks[1])
        .tensor("down", F32, &shape, &stacks[2])
        .finish();
    let path = dir.path().join("model.gguf");
    std::fs::write(&path, bytes).expect("a temporary file");
    let checkpoint = Arc::new(Checkpoint::open(&path).expect("a good file"));
    Sample { dir, checkpoint, large, stacks }
}

fn role(tensor: &TensorInfo) -> Role {
    if tensor.name == "large" { Role::Dense } else { Role::Experts }
}

fn options(disk: Box<dyn Disk>, budget: Option<u64>) -> StoreOptions<'static> {
    StoreOptions {
        budget: budget.map(Bytes),
        role: &role,
        disk,
        stall_limit: STALL_LIMIT,
        progress: &|_, _| {},
    }
}

fn open(sample: &Sample, mode: IoMode, budget: Option<u64>) -> Result<Store, Error> {
    let disk = disk::open(sample.checkpoint.sources(), mode)?;
    Store::open(Arc::clone(&sample.checkpoint), options(disk, budget))
}

/// Fetches every expert and compares; the ids in the order they came.
fn fetch_all(sample: &Sample, store: &Store) -> Result<Vec<u32>, Error> {
    let bank = store.expert_bank(["gate", "up", "down"], EXPERTS)?;
    let ids: Vec<ExpertId> = (0..EXPERTS as u32).map(ExpertId).collect();
    let mut arrivals = bank.fetch(&ids);
    let mut came = Vec::new();
    loop {
        let experts = arrivals.take()?;
        if experts.is_empty() {
            came.sort_unstable();
            return Ok(came);
        }
        for expert in experts {
            let range = expert.id.idx() * EXPERT_BYTES..(expert.id.idx() + 1) * EXPERT_BYTES;
            let got = [&expert.gate, &expert.up, &expert.down].map(|blob| blob.as_slice().to_vec());
            assert_eq!(got, [0, 1, 2].map(|part| sample.stacks[part][range.clone()].to_vec()));
            came.push(expert.id.0);
        }
    }
}

#[test]
fn tensors_and_experts_are_the_bytes_of_the_file() {
    let sample = sample();
    for mode in [IoMode::Auto, IoMode::Threads] {
        let store = open(&sample, mode, None).expect("it reads");
        assert_eq!(store.dense("large").expect("dense").as_slice(), sample.large);
        assert_eq!(fetch_all(&sample, &store).expect("it reads"), [0, 1, 2, 3, 4, 5], "{mode:?}");
        assert_eq!(store.traffic().read_bytes, (3 * EXPERTS * EXPERT_BYTES) as u64);
        assert!(matches!(store.dense("gate"), Err(Error::NotLoaded { .. })));
        let uneven = store.expert_bank(["gate", "up", "down"], 7).err();
        assert!(matches!(uneven, Some(Error::UnevenExperts { expert_count: 7, .. })));
    }
}

#[test]
fn a_budget_is_kept_and_two_slots_serve_six_experts() {
    let sample = sample();
    let Err(Error::OverBudget { needed, .. }) = open(&sample, IoMode::Auto, Some(1 << 20)) else {
        panic!("20 MiB in one")
    };
    assert!(needed.0 >= 20 << 20 && needed.0 < 21 << 20, "{needed}");
    let plenty = open(&sample, IoMode::Auto, None).expect("it reads");
    let _ = plenty.expert_bank(["gate", "up", "down"], EXPERTS).expect("it is there");
    let slot = plenty.slot_bytes().one.0;
    let store = open(&sample, IoMode::Auto, Some(needed.0 + 2 * slot)).expect("it fits");
    for _ in 0..3 {
        assert_eq!(fetch_all(&sample, &store).expect("it reads"), [0, 1, 2, 3, 4, 5]);
        assert_eq!(store.slot_bytes().count, 2);
        assert!(store.check_slots(2).is_ok() && store.check_slots(3).is_err());
    }
    let store = open(&sample, IoMode::Auto, Some(needed.0)).expect("the dense part fits");
    let error = fetch_all(&sample, &store).expect_err("no slot at all").to_string();
    assert!(error.contains("for experts of"), "{error}");
}

#[test]
fn a_drive_is_measured_before_experts_are_read_and_not_after() {
    let sample = sample();
    let store = open(&sample, IoMode::Auto, None).expect("it reads");
    assert_eq!(store.measure_drive(), None, "no experts were asked for");
    let _ = store.expert_bank(["gate", "up", "down"], EXPERTS).expect("it is there");
    assert!(store.measure_drive().is_some_and(|rate| rate > 1e6 && rate.is_finite()));
    assert_eq!(store.traffic().read_bytes, 0, "measuring is no traffic");
    let store = open(&sample, IoMode::Auto, None).expect("it reads");
    assert_eq!(fetch_all(&sample, &store).expect("it reads"), [0, 1, 2, 3, 4, 5]);
    assert_eq!(store.measure_drive(), None, "slots are in use");
}

fn cut(dir: &Path, len: u64) {
    let file = std::fs::OpenOptions::new().write(true).open(dir.join("model.gguf")).expect("our own file");
    file.set_len(len).expect("our own file");
}

#[test]
fn a_file_that_shrinks_under_us_is_an_error_and_heals() {
    for mode in [IoMode::Auto, IoMode::Threads] {
        let sample = sample();
        let store = open(&sample, mode, None).expect("it reads");
        let path = sample.dir.path().join("model.gguf");
        let whole = std::fs::read(&path).expect("our own file");
        cut(sample.dir.path(), whole.len() as u64 - 10_000);
        let error = fetch_all(&sample, &store).expect_err("its end is gone").to_string();
        assert!(
            error.contains("model.gguf") && error.contains("offset") && error.contains("end of the file"),
            "{error}"
        );
        assert!(matches!(open(&sample, mode, None), Err(Error::Shrunk { .. })));
        std::fs::write(&path, &whole).expect("our own file");
        assert_eq!(fetch_all(&sample, &store).expect("it is whole again"), [0, 1, 2, 3, 4, 5]);
    }
}

/// A drive that answers for `dense` tensors, if slowly, and never for experts.
struct Stalled {
    drive: Box<dyn Disk>,
    dense: usize,
}

impl Disk for Stalled {
    fn submit(&mut self, fill: Fill) {
        if fill.extents.len() == 1 {
            self.dense += 1;
            self.drive.submit(fill);
        }
    }

    fn wait(&mut self, at_most: Duration) -> Option<Filled> {
        let filled = self.drive.wait(if self.dense > 0 { STALL_LIMIT } else { at_most })?;
        self.dense -= 1;
        Some(filled)
    }

    fn name(&self) -> &'static str {
        "stalled"
    }
}

#[test]
fn a_drive_that_does_not_answer_is_not_waited_for_for_ever() {
    let sample = sample();
    let disk = disk::open(sample.checkpoint.sources(), IoMode::Auto).expect("it opens");
    let stalled = Box::new(Stalled { drive: disk, dense: 0 });
    let options = StoreOptions { stall_limit: Duration::from_millis(20), ..options(stalled, None) };
    let store = Store::open(Arc::clone(&sample.checkpoint), options).expect("dense weights come");
    let error = fetch_all(&sample, &store).expect_err("nothing comes").to_string();
    assert!(error.contains("no answer for 0.02 seconds") && error.contains("model.gguf"), "{error}");
}
