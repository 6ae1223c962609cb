//! What a store hands out is what the file holds, and what it cannot hold it says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use shoal_base::{Bytes, ExpertId};
use shoal_checkpoint::Checkpoint;
use shoal_store::{Error, Store, StoreOptions};
use shoal_testkit::gguf::GgufWriter;
use shoal_testkit::seeded::random_bytes;

/// ggml's number of F32.
const F32: u32 = 0;

fn file(dir: &std::path::Path) -> (Arc<Checkpoint>, Vec<u8>, Vec<u8>) {
    // Larger than one piece, so that several threads share a tensor.
    let (large, experts) = (random_bytes(1, 20 << 20), random_bytes(2, 3 * 4 * 8 * 4));
    let bytes = GgufWriter::new(3)
        .kv("general.architecture", "llama")
        .tensor("large", F32, &[1 << 10, 5 << 10], &large)
        .tensor("experts", F32, &[8, 4, 3], &experts)
        .finish();
    let path = dir.join("model.gguf");
    std::fs::write(&path, bytes).expect("a temporary file");
    (Arc::new(Checkpoint::open(&path).expect("a good file")), large, experts)
}

#[test]
fn tensors_and_experts_are_the_bytes_of_the_file() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (checkpoint, large, experts) = file(dir.path());
    let seen = AtomicU64::new(0);
    let progress = |done, total| {
        assert!(done <= total);
        seen.fetch_max(done, Ordering::Relaxed);
    };
    let options = StoreOptions { budget: None, threads: 3, wanted: &|_| true, progress: &progress };
    let store = Store::open(checkpoint, &options).expect("it reads");
    assert_eq!(store.dense("large").expect("wanted").as_slice(), large);
    assert_eq!(seen.into_inner(), (large.len() + experts.len()) as u64);
    assert_eq!(store.resident_bytes(), Bytes((large.len() + experts.len()) as u64));
    let bank = store.expert_bank(["experts"; 3], 3).expect("three equal parts");
    bank.want(&[ExpertId(1)]);
    let expert = bank.get(ExpertId(1)).expect("resident");
    assert_eq!(expert.down.as_slice(), &experts[128..256]);
    assert!(matches!(
        store.expert_bank(["experts"; 3], 5),
        Err(Error::UnevenExperts { expert_count: 5, .. })
    ));
}

#[test]
fn what_was_not_wanted_is_not_read_and_a_budget_is_kept() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (checkpoint, large, experts) = file(dir.path());
    let experts_only = StoreOptions {
        budget: Some(Bytes(experts.len() as u64)),
        threads: 1,
        wanted: &|tensor| tensor.name == "experts",
        progress: &|_, _| {},
    };
    let store = Store::open(Arc::clone(&checkpoint), &experts_only).expect("it fits");
    assert!(matches!(store.dense("large"), Err(Error::NotLoaded { .. })));
    let all = StoreOptions { wanted: &|_| true, ..experts_only };
    let Err(Error::OverBudget { needed, .. }) = Store::open(checkpoint, &all) else {
        panic!("20 MiB in 384 bytes")
    };
    assert_eq!(needed, Bytes((large.len() + experts.len()) as u64));
}

#[test]
fn a_file_that_shrinks_under_us_is_an_error() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (checkpoint, ..) = file(dir.path());
    let path = dir.path().join("model.gguf");
    let file = std::fs::OpenOptions::new().write(true).open(path).expect("our own file");
    file.set_len(1 << 20).expect("our own file");
    let options = StoreOptions { budget: None, threads: 2, wanted: &|_| true, progress: &|_, _| {} };
    assert!(matches!(Store::open(checkpoint, &options), Err(Error::Read(_))));
}
