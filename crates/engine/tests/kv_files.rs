//! What was computed for a prompt comes back from a drive, whatever happens to the files in between.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use shoal_base::{Bytes, TokenId};
use shoal_checkpoint::Checkpoint;
use shoal_engine::kv_files::{FolderError, KvFiles};
use shoal_engine::{Engine, EngineOptions, Event, Request, SamplingParams};
use shoal_kernels::{Cpu, Isa, Pool};
use shoal_model::{IoMode, OpenOptions, open};
use shoal_testkit::golden_dir;

const GIB: Bytes = Bytes(1 << 30);

fn engine(folder: &Path, identity: &str, quota: Bytes) -> Engine {
    engine_of(&golden_dir("minnow").join("minnow.bf16.gguf"), folder, identity, quota)
}

fn engine_of(path: &Path, folder: &Path, identity: &str, quota: Bytes) -> Engine {
    let checkpoint = Checkpoint::open(path).expect("the golden checkpoint reads");
    let options = OpenOptions { memory: None, drafts: false, io: IoMode::Auto, progress: &|_, _| {} };
    let cpu = Cpu::new(Isa::best(), Arc::new(Pool::new(2)));
    let model = open(Arc::new(checkpoint), &options, cpu).expect("the golden checkpoint loads");
    let engine = Engine::new(model, EngineOptions::for_one(512));
    let files = KvFiles::open(folder, identity, engine.block_bytes(), quota).expect("a folder");
    engine.with_files(files)
}

fn prompt(len: u32, of: u32) -> Vec<TokenId> {
    (0..len).map(|i| TokenId((i * 37 + of * 101) % 4000)).collect()
}

/// The answer to a prompt, and how much of the prompt was not computed. Everything is saved afterwards.
fn answer(engine: &mut Engine, prompt: Vec<TokenId>) -> (Vec<TokenId>, usize) {
    engine.submit(Request::new(prompt, SamplingParams::greedy(), 12)).expect("room");
    let (mut tokens, mut cached) = (Vec::new(), 0);
    while !engine.is_idle() {
        for event in engine.step().0 {
            match event {
                Event::Token(_, token) => tokens.push(token),
                Event::Prompt(_, progress) => cached = progress.cached,
                _ => {}
            }
        }
    }
    while engine.save_blocks() {
        std::thread::yield_now();
    }
    (tokens, cached)
}

fn files(folder: &Path, suffix: &str) -> Vec<PathBuf> {
    let models = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path());
    let inner = models.flat_map(|model| std::fs::read_dir(model).expect("a folder of a model"));
    let paths = inner.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.to_string_lossy().ends_with(suffix)).collect()
}

/// V4 keeps its last tokens as they are, and older ones compressed: where it is gone on with, both must have come back.
#[test]
fn v4_goes_on_after_a_restart_where_its_window_was_saved() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = golden_dir("deepseek_v4").join("model.gguf");
    let engine = || engine_of(&path, folder.path(), "a", GIB);
    let small = |len: u32, of: u32| (0..len).map(|i| TokenId((i * 37 + of * 101) % 500)).collect::<Vec<_>>();
    let (want, cached) = answer(&mut engine(), small(300, 1));
    assert_eq!(cached, 0);
    // All blocks of the prompt are there, the last of them with the window.
    assert_eq!(answer(&mut engine(), small(300, 1)), (want, 256));
    // Of the first half the rows that last are there, but its window is not: it is read again.
    let half = small(190, 1);
    let (again, cached) = answer(&mut engine(), half.clone());
    let other = tempfile::tempdir().expect("a temporary folder");
    assert_eq!(again, answer(&mut engine_of(&path, other.path(), "a", GIB), half).0);
    assert!(cached < 128, "{cached}");
}

#[test]
fn a_prefix_comes_back_after_a_restart_as_far_as_it_is_the_same() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (want, cached) = answer(&mut engine(folder.path(), "a", GIB), prompt(300, 1));
    assert_eq!((cached, files(folder.path(), ".kv").len()), (0, 4), "four whole blocks of 300 tokens");
    let mut again = engine(folder.path(), "a", GIB);
    assert_eq!(answer(&mut again, prompt(300, 1)), (want.clone(), 256));
    drop(again);
    let mut fork = prompt(150, 1);
    fork.extend(prompt(100, 2));
    let mut fresh = engine(folder.path(), "b", GIB);
    let (fork_want, cached) = answer(&mut fresh, fork.clone());
    assert_eq!(cached, 0, "another model's blocks are not its own");
    drop(fresh);
    assert_eq!(answer(&mut engine(folder.path(), "a", GIB), fork), (fork_want, 128));
}

/// Does something to a file that it does not survive.
type Spoil = fn(&Path);

#[test]
fn bad_files_are_set_aside_and_computed_again() {
    let spoil: [(&str, Spoil); 4] = [
        ("a changed byte", |path| {
            let mut bytes = std::fs::read(path).expect("a file");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(path, bytes).expect("a file");
        }),
        ("a cut", |path| {
            std::fs::File::options()
                .write(true)
                .open(path)
                .and_then(|file| file.set_len(100))
                .expect("a file");
        }),
        ("nothing in it", |path| std::fs::write(path, b"").expect("a file")),
        ("gone", |path| std::fs::remove_file(path).expect("a file")),
    ];
    for (how, spoil) in spoil {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (want, _) = answer(&mut engine(folder.path(), "a", GIB), prompt(300, 1));
        files(folder.path(), ".kv").iter().for_each(|path| spoil(path));
        let mut again = engine(folder.path(), "a", GIB);
        let (got, cached) = answer(&mut again, prompt(300, 1));
        assert_eq!((got, cached), (want.clone(), 0), "{how}");
        drop(again);
        let set_aside = files(folder.path(), ".bad").len();
        assert!(set_aside >= 1 || how == "gone", "{how}");
        // Each start finds the next bad one; what follows it was computed without looking.
        let starts = (0..4).map(|_| answer(&mut engine(folder.path(), "a", GIB), prompt(300, 1)));
        let (got, cached): (Vec<_>, Vec<_>) = starts.unzip();
        assert!(got.iter().all(|got| *got == want), "{how}");
        assert_eq!(cached[3], 256, "{how}: all are saved anew in the end");
        drop(engine(folder.path(), "a", GIB));
        assert!(files(folder.path(), ".bad").is_empty(), "{how}: the next process clears them away");
    }
}

#[test]
fn a_full_folder_loses_the_ends_of_what_was_used_longest_ago() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut first = engine(folder.path(), "a", GIB);
    let file_bytes = first.block_bytes()[0] as u64 + 332;
    answer(&mut first, prompt(300, 1));
    drop(first);
    assert!(
        files(folder.path(), ".kv").iter().all(|path| path.metadata().expect("a file").len() == file_bytes)
    );
    let mut small = engine(folder.path(), "a", Bytes(6 * file_bytes));
    answer(&mut small, prompt(300, 2));
    drop(small);
    assert_eq!(files(folder.path(), ".kv").len(), 6);
    let mut last = engine(folder.path(), "a", Bytes(6 * file_bytes));
    assert_eq!(answer(&mut last, prompt(300, 2)).1, 256);
    last.forget();
    assert_eq!(answer(&mut last, prompt(300, 1)).1, 128, "its beginning is there, its end is not");
}

#[test]
fn no_block_makes_room_for_one_that_builds_on_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut first = engine(folder.path(), "a", GIB);
    let block = first.block_bytes()[0] as u64 + 332;
    answer(&mut first, prompt(300, 1));
    drop(first);
    let mut full = engine(folder.path(), "a", Bytes(4 * block));
    answer(&mut full, prompt(400, 1));
    drop(full);
    assert_eq!(files(folder.path(), ".kv").len(), 4);
    assert_eq!(
        answer(&mut engine(folder.path(), "a", GIB), prompt(300, 1)).1,
        256,
        "the first four are all there"
    );
}

#[test]
fn models_share_the_room_and_the_one_used_longest_ago_goes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let block = engine(folder.path(), "a", GIB).block_bytes()[0] as u64 + 332;
    for identity in ["a", "b"] {
        answer(&mut engine(folder.path(), identity, GIB), prompt(300, 1));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // Eight blocks of others are more than half of twelve; what b has is less.
    let mut third = engine(folder.path(), "c", Bytes(12 * block));
    assert_eq!(files(folder.path(), ".kv").len(), 4);
    answer(&mut third, prompt(500, 2));
    answer(&mut third, prompt(300, 3));
    drop(third);
    assert_eq!(files(folder.path(), ".kv").len(), 12, "all of them together");
    assert_eq!(answer(&mut engine(folder.path(), "b", GIB), prompt(300, 1)).1, 256);
    assert_eq!(answer(&mut engine(folder.path(), "a", GIB), prompt(300, 1)).1, 0);
}

#[test]
fn what_is_no_block_is_left_alone_and_a_folder_has_one_owner() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut owner = engine(folder.path(), "a", GIB);
    answer(&mut owner, prompt(100, 1));
    let refused = KvFiles::open(folder.path(), "a", owner.block_bytes(), GIB);
    assert!(matches!(refused.err(), Some(FolderError::InUse { .. })));
    drop(owner);
    let model =
        std::fs::read_dir(folder.path()).expect("the folder").next().expect("one").expect("one").path();
    std::fs::write(model.join("notes.txt"), "mine").expect("a file");
    std::fs::write(model.join("0123-4567.kv"), "odd").expect("a file");
    std::fs::write(model.join("left.part"), "half").expect("a file");
    assert_eq!(answer(&mut engine(folder.path(), "a", GIB), prompt(100, 1)).1, 64);
    assert!(model.join("notes.txt").exists() && !model.join("left.part").exists());
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("a file");
    assert!(matches!(KvFiles::open(&file, "a", [64; 2], GIB).err(), Some(FolderError::Folder { .. })));
}
