//! Whole models: what a good file gives, split sets, and reading weights by position.

use std::path::{Path, PathBuf};

use shoal_checkpoint::{Checkpoint, Source, Value};
use shoal_quant::Dtype;
use shoal_testkit::gguf::{self, GgufWriter};

const F32: u32 = 0;
const Q8_0: u32 = 8;

fn save(dir: &Path, name: &str, file: GgufWriter) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, file.finish()).expect("the file is written");
    path
}

fn refusal(path: &Path) -> String {
    Checkpoint::open(path).map(|_| ()).expect_err("a broken model").to_string()
}

#[test]
fn a_file_gives_its_tensors_and_their_bytes() {
    for version in [2, 3] {
        let dir = tempfile::tempdir().expect("a folder");
        let weights: Vec<u8> = (0..68).collect();
        let file = GgufWriter::new(version).alignment(64).tensor("norm", F32, &[3], &[9; 12]).tensor(
            "blk.0.w",
            Q8_0,
            &[32, 1, 2],
            &weights,
        );
        let path = save(dir.path(), "tiny.gguf", file);
        let checkpoint = Checkpoint::open(&path).expect("a good file");
        assert_eq!(checkpoint.name(), "tiny");
        assert_eq!(checkpoint.file_bytes(), std::fs::metadata(&path).expect("the file").len());
        let names: Vec<_> = checkpoint.tensors().iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(names, ["norm", "blk.0.w"]);
        assert_eq!(checkpoint.tensor("blk.1.w"), None);

        let tensor = checkpoint.tensor("blk.0.w").expect("the tensor");
        assert_eq!((tensor.dtype, tensor.bytes, tensor.pieces[0].codes.offset % 64), (Dtype::Q8_0, 68, 0));
        assert_eq!((tensor.cols(), tensor.rows(), tensor.row_bytes(), tensor.elements()), (32, 2, 34, 64));
        let reader =
            checkpoint.sources()[tensor.pieces[0].codes.source_idx].open().expect("the source opens");
        let mut bytes = vec![0; 68];
        reader.read_exact_at(tensor.pieces[0].codes.offset, &mut bytes).expect("the bytes are there");
        assert_eq!(bytes, weights);
        let err = reader.read_exact_at(checkpoint.file_bytes() - 1, &mut bytes).expect_err("beyond the end");
        assert!(err.to_string().contains("cannot read 68 bytes"), "{err}");
    }
}

#[test]
fn a_built_in_model_reads_like_a_file() {
    let bytes: &'static [u8] =
        GgufWriter::new(3).kv("general.name", "Minnow").tensor("t", F32, &[1], &[1, 2, 3, 4]).finish().leak();
    let checkpoint = Checkpoint::from_static("minnow", bytes).expect("a good file");
    assert_eq!((checkpoint.name().as_str(), checkpoint.file_bytes()), ("Minnow", bytes.len() as u64));
    assert_eq!(checkpoint.sources(), [Source::Static(bytes)]);
    let reader = checkpoint.sources()[0].open().expect("the source opens");
    let mut found = [0; 4];
    reader
        .read_exact_at(checkpoint.tensors()[0].pieces[0].codes.offset, &mut found)
        .expect("the bytes are there");
    assert_eq!(found, [1, 2, 3, 4]);
    for offset in [bytes.len() as u64 - 3, bytes.len() as u64 + 1, u64::MAX] {
        let err = reader.read_exact_at(offset, &mut found).expect_err("beyond the end");
        assert!(err.to_string().contains(&format!("which holds {} bytes", bytes.len())), "{err}");
    }
}

#[test]
fn paths_that_are_no_files_get_a_sentence() {
    let dir = tempfile::tempdir().expect("a folder");
    assert!(refusal(dir.path()).contains("is a folder without config.json"));
    let missing = refusal(&dir.path().join("none.gguf"));
    assert!(missing.contains("cannot open") && missing.contains("none.gguf"), "{missing}");
}

/// Part `no` (from 0) of `count`, with one tensor.
fn part(no: u16, count: u16, tensors: i32) -> GgufWriter {
    let file =
        GgufWriter::new(3).kv("split.no", no).kv("split.count", count).kv("split.tensors.count", tensors);
    let file = if no == 0 { file.kv("general.architecture", "deepseek2") } else { file };
    file.tensor(&format!("t{no}"), F32, &[1], &[no as u8; 4])
}

fn part_name(no: u16, count: u16) -> String {
    format!("r1-{:05}-of-{count:05}.gguf", no + 1)
}

fn save_parts(dir: &Path, parts: impl IntoIterator<Item = (u16, GgufWriter)>, count: u16) {
    for (no, file) in parts {
        save(dir, &part_name(no, count), file);
    }
}

#[test]
fn any_part_opens_the_set() {
    let dir = tempfile::tempdir().expect("a folder");
    save_parts(dir.path(), (0..3).map(|no| (no, part(no, 3, 3))), 3);
    for no in 0..3 {
        let checkpoint = Checkpoint::open(&dir.path().join(part_name(no, 3))).expect("a whole set");
        assert_eq!(checkpoint.name(), "r1");
        assert_eq!(checkpoint.metadata().required_str("general.architecture").ok(), Some("deepseek2"));
        assert_eq!(checkpoint.sources().len(), 3);
        for (idx, tensor) in checkpoint.tensors().iter().enumerate() {
            assert_eq!(
                (tensor.name.as_str(), tensor.pieces[0].codes.source_idx),
                (format!("t{idx}").as_str(), idx)
            );
            let mut found = [0xFF; 4];
            let reader = checkpoint.sources()[idx].open().expect("the source opens");
            reader.read_exact_at(tensor.pieces[0].codes.offset, &mut found).expect("the bytes are there");
            assert_eq!(found, [idx as u8; 4]);
        }
    }
}

/// The parts on disk, and what the sentence says when the first is opened.
type BrokenSet = (Vec<(u16, GgufWriter)>, &'static [&'static str]);

#[test]
fn broken_sets_get_a_sentence() {
    let good = |no| (no, part(no, 3, 3));
    let twice =
        GgufWriter::new(3).kv("split.no", 2u16).kv("split.count", 3u16).tensor("t0", F32, &[1], &[0; 4]);
    let cases: [BrokenSet; 6] = [
        (vec![good(0), good(2)], &["part 2 of 3", "missing", "r1-00002-of-00003.gguf"]),
        (vec![good(0), good(1), (2, part(1, 3, 3))], &["expected part 3 of 3", "says part 2 of 3"]),
        (vec![good(0), good(1), (2, part(2, 4, 3))], &["expected part 3 of 3", "says part 3 of 4"]),
        (vec![good(0), (1, GgufWriter::new(3))], &["expected part 2 of 3", "says part 1 of 1"]),
        (vec![(0, part(0, 3, 7)), good(1), good(2)], &["states 7 tensors", "3 parts hold 3"]),
        (vec![good(0), good(1), (2, twice)], &["`t0` occurs twice", "r1-00003-of-00003.gguf"]),
    ];
    for (parts, expected) in cases {
        let dir = tempfile::tempdir().expect("a folder");
        save_parts(dir.path(), parts, 3);
        let sentence = refusal(&dir.path().join(part_name(0, 3)));
        for part in expected {
            assert!(sentence.contains(part), "expected `{part}` in: {sentence}");
        }
    }
}

#[test]
fn split_numbers_are_checked() {
    let dir = tempfile::tempdir().expect("a folder");
    let at = |file| refusal(&save(dir.path(), "model.gguf", file));
    let renamed = at(part(0, 2, 2));
    assert!(renamed.contains("expected a name that ends in `-00001-of-00002.gguf`"), "{renamed}");
    let many = at(GgufWriter::new(3).kv("split.no", 0u32).kv("split.count", 1_000_000u32));
    assert!(many.contains("`split.count` is 1000000, more than the limit of 1024"), "{many}");
    let beyond = at(GgufWriter::new(3).kv("split.no", 2u32).kv("split.count", 2u32));
    assert!(beyond.contains("`split.no` is 2"), "{beyond}");
    let unnumbered = at(GgufWriter::new(3).kv("split.count", 2u32));
    assert!(unnumbered.contains("`split.no` is missing"), "{unnumbered}");
    let uncounted = GgufWriter::new(3).kv("split.no", 0u32).kv("split.count", 2u32);
    let first = save(dir.path(), "u-00001-of-00002.gguf", uncounted);
    save(dir.path(), "u-00002-of-00002.gguf", part(1, 2, 1));
    assert!(refusal(&first).contains("`split.tensors.count` is missing"));

    let bytes = part(0, 2, 2).finish();
    let err = Checkpoint::from_bytes("part", &bytes).expect_err("only a part");
    assert!(err.to_string().contains("one part of a model split into 2 files"), "{err}");
    // A set of one is a whole model.
    assert!(Checkpoint::open(&save(dir.path(), "one.gguf", part(0, 1, 1))).is_ok());
}

fn metadata_file() -> Vec<u8> {
    GgufWriter::new(3)
        .kv("u8", 8u8)
        .kv("i8", -8i8)
        .kv("u16", 16u16)
        .kv("i16", -16i16)
        .kv("u32", u32::MAX)
        .kv("i32", 32i32)
        .kv("u64", 1u64 << 32)
        .kv("i64", 64i64)
        .kv("f32", 0.5f32)
        .kv("f64", 0.1f64)
        .kv("f64 large", 1e300f64)
        .kv("bool", true)
        .kv("str", "Ġhé")
        .kv("u8s", vec![1u8, 2])
        .kv("i8s", vec![-1i8, 2])
        .kv("u16s", vec![1u16, 2])
        .kv("i16s", vec![-1i16, 2])
        .kv("u32s", vec![1u32, u32::MAX])
        .kv("i32s", vec![-1i32, 2])
        .kv("u64s", vec![1u64, 1 << 40])
        .kv("i64s", vec![-1i64, 2])
        .kv("f32s", vec![0.5f32, -1.0])
        .kv("f64s", vec![0.1f64])
        .kv("bools", vec![true, false])
        .kv("strings", vec!["", "a", "Ġb"])
        .kv("empty", gguf::Value::Array(Vec::new()))
        .finish()
}

#[test]
fn getters_accept_any_type_that_fits() {
    let checkpoint = Checkpoint::from_bytes("m.gguf", &metadata_file()).expect("a good file");
    let metadata = checkpoint.metadata();
    for (key, expected) in [("u8", 8), ("u16", 16), ("u32", u32::MAX), ("i32", 32), ("i64", 64)] {
        assert_eq!(metadata.u32(key).ok().flatten(), Some(expected), "{key}");
        assert_eq!(metadata.required_u32(key).ok(), Some(expected), "{key}");
    }
    assert_eq!(metadata.required_f32("f32").ok(), Some(0.5));
    assert_eq!(metadata.required_f32("f64").ok(), Some(0.1));
    assert_eq!(metadata.required_bool("bool").ok(), Some(true));
    assert_eq!(metadata.required_str("str").ok(), Some("Ġhé"));
    assert_eq!(metadata.required_strings("strings").expect("strings"), ["", "a", "Ġb"]);
    assert_eq!(metadata.required_strings("empty").expect("strings"), [""; 0]);
    assert_eq!(metadata.required_f32s("f32s").expect("floats"), [0.5, -1.0]);
    for (key, expected) in
        [("i8s", [-1, 2]), ("i16s", [-1, 2]), ("i32s", [-1, 2]), ("i64s", [-1, 2]), ("u8s", [1, 2])]
    {
        assert_eq!(*metadata.required_i32s(key).expect(key), expected, "{key}");
    }
    assert_eq!(*metadata.required_u32s("u32s").expect("u32s"), [1, u32::MAX]);
    assert_eq!(*metadata.required_u32s("u16s").expect("u16s"), [1, 2]);
    assert_eq!(metadata.get("bools"), Some(&Value::Bools(vec![true, false])));
    assert_eq!(metadata.get("f64s").and_then(Value::array_len), Some(1));
    assert_eq!(metadata.get("u64").and_then(Value::array_len), None);
    let keys: Vec<_> = metadata.iter().map(|(key, _)| key).collect();
    assert_eq!((keys.len(), keys[0], keys[25]), (26, "u8", "empty"));
}

#[test]
fn every_value_can_be_shown() {
    let checkpoint = Checkpoint::from_bytes("m.gguf", &metadata_file()).expect("a good file");
    let shown = |key| checkpoint.metadata().get(key).expect("the key").to_string();
    let found = ["i8", "u64", "f32", "bool", "str", "strings", "u64s"].map(shown);
    let expected = [
        "-8",
        "4294967296",
        "0.5",
        "true",
        "`Ġhé`",
        "an array of strings with 3 items",
        "an array of u64 with 2 items",
    ];
    assert_eq!(found, expected);
    for (key, value) in checkpoint.metadata().iter() {
        assert!(!value.to_string().is_empty(), "{key}");
    }
}

#[test]
fn getters_say_what_they_found() {
    let checkpoint = Checkpoint::from_bytes("m.gguf", &metadata_file()).expect("a good file");
    let metadata = checkpoint.metadata();
    let said = |err: Option<shoal_checkpoint::Error>, parts: &[&str]| {
        let sentence = err.expect("an error").to_string();
        for part in parts.iter().chain(&["m.gguf"]) {
            assert!(sentence.contains(part), "expected `{part}` in: {sentence}");
        }
    };
    said(metadata.u32("i8").err(), &["`i8`", "-8", "a u32"]);
    said(metadata.u32("u64").err(), &["`u64`", "4294967296", "a u32"]);
    said(metadata.u32("str").err(), &["`str`", "a string", "an integer"]);
    said(metadata.f32("f64 large").err(), &["`f64 large`", "an f32"]);
    said(metadata.f32("u8").err(), &["`u8`", "a u8", "a floating-point number"]);
    said(metadata.bool("u8").err(), &["`u8`", "a bool"]);
    said(metadata.str("strings").err(), &["an array of strings", "a string"]);
    said(metadata.strings("str").err(), &["`str`", "an array of strings"]);
    said(metadata.i32s("u32s").err(), &["`u32s`", "4294967295", "an i32"]);
    said(metadata.u32s("i32s").err(), &["`i32s`", "-1", "a u32"]);
    said(metadata.u32s("f32s").err(), &["`f32s`", "an array of f32", "an array of integers"]);
    said(metadata.f32s("f64s").err(), &["`f64s`", "an array of f64", "an array of f32"]);
    said(metadata.required_str("none").err(), &["`none` is missing"]);
    said(metadata.required_u32s("none").err(), &["`none` is missing"]);
    assert!(matches!((metadata.str("none"), metadata.u32s("none")), (Ok(None), Ok(None))));
}
