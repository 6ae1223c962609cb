//! Each way a file can be wrong gives one sentence that names the place; no byte string makes the parser panic.

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;

use proptest::prelude::*;
use shoal_checkpoint::Checkpoint;
use shoal_testkit::gguf::{GgufWriter, Value};

const F32: u32 = 0;
const Q4_K: u32 = 12;
const U32_TYPE: u32 = 4;
const STRING_TYPE: u32 = 8;
const ARRAY_TYPE: u32 = 9;

fn writer() -> GgufWriter {
    GgufWriter::new(3)
}

/// The type id and count that open an array, and then `items`.
fn array(item_type: u32, count: u64, items: &[u8]) -> Value {
    let mut bytes = item_type.to_le_bytes().to_vec();
    bytes.extend(count.to_le_bytes());
    bytes.extend(items);
    Value::Raw(ARRAY_TYPE, bytes)
}

/// The sentence with which `bytes` are refused.
fn refusal(bytes: &[u8]) -> String {
    match Checkpoint::from_bytes("m.gguf", bytes) {
        Ok(_) => panic!("a broken file was accepted"),
        Err(err) => err.to_string(),
    }
}

/// Asserts that the refusal contains each of `parts`.
fn refused(file: GgufWriter, parts: &[&str]) {
    refused_bytes(&file.finish(), parts);
}

fn refused_bytes(bytes: &[u8], parts: &[&str]) {
    let sentence = refusal(bytes);
    for part in parts {
        assert!(sentence.contains(part), "expected `{part}` in: {sentence}");
    }
    assert!(sentence.contains("m.gguf"), "the sentence names the file: {sentence}");
}

#[test]
fn other_files_are_not_gguf() {
    refused_bytes(b"", &["cut off", "`GGUF` mark", "needs 4 bytes, 0 remain"]);
    refused_bytes(b"GGU", &["cut off", "3 remain"]);
    refused_bytes(b"PK\x03\x04 and so on", &["is not a GGUF file", "`PK\\x03\\x04`"]);
    refused_bytes(b"<!DOCTYPE html>", &["is not a GGUF file", "`<!DO`"]);
}

#[test]
fn other_versions_and_byte_orders_are_refused() {
    for version in [0, 1, 4, u32::MAX] {
        refused(GgufWriter::new(version), &[&format!("version {version}"), "expected version 2 or 3"]);
    }
    for version in [2u32, 3] {
        refused(GgufWriter::new(version.swap_bytes()), &["big-endian"]);
        assert!(Checkpoint::from_bytes("m.gguf", &GgufWriter::new(version).finish()).is_ok());
    }
}

#[test]
fn huge_counts_fail_before_memory_is_taken() {
    for count in [1 << 60, u64::MAX] {
        refused(writer().counts(count, 0), &["the tensor count is", &count.to_string(), "limit"]);
        refused(writer().counts(0, count), &["the number of metadata pairs is", &count.to_string(), "limit"]);
        for (item_type, key) in [(U32_TYPE, "numbers"), (STRING_TYPE, "strings")] {
            let file = writer().kv(key, array(item_type, count, &[]));
            refused(file, &["the number of items of", &format!("`{key}`"), &count.to_string()]);
        }
    }
    // Within the limits, but more than the file can hold.
    refused(writer().counts(1 << 20, 0), &["cut off", "1048576 tensors", "needs 33554432 bytes"]);
    refused(writer().counts(0, 1 << 20), &["cut off", "1048576 metadata pairs", "needs 13631488 bytes"]);
    refused(writer().kv("n", array(U32_TYPE, 1 << 24, &[])), &["cut off", "`n`", "needs 67108864 bytes"]);
    refused(writer().kv("s", array(STRING_TYPE, 1 << 24, &[])), &["cut off", "`s`", "needs 134217728 bytes"]);
}

#[test]
fn huge_strings_fail_before_memory_is_taken() {
    for len in [1u64 << 60, u64::MAX, 1000] {
        let value = Value::Raw(STRING_TYPE, len.to_le_bytes().to_vec());
        refused(writer().kv("k", value), &["cut off", "the value of metadata key `k`", &len.to_string()]);
    }
    // A file that could hold the string still may not: the limit, not the length of the file, decides.
    let mut header = b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0".to_vec();
    header.extend((65u64 << 20).to_le_bytes());
    let sentence = refusal_of_sparse(&header, 1 << 32);
    assert!(sentence.contains("the length of metadata key number 1 is 68157440"), "{sentence}");
}

#[test]
fn a_sparse_file_cannot_make_a_large_header() {
    // Three arrays of 2^24 u64 in a hole of a terabyte: each is within its limit, together they pass the header's.
    let mut header = b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0".to_vec();
    header.extend(1u64.to_le_bytes());
    header.extend(b"k\x09\0\0\0\x0A\0\0\0");
    header.extend((1u64 << 24).to_le_bytes());
    let pair_at = [24, 24 + 25 + (8 << 24), 24 + 2 * (25 + (8 << 24))];
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.as_file().set_len(1 << 40).expect("the file is made long");
    file.as_file().write_all_at(&header, 0).expect("the first pair is written");
    for (at, key) in pair_at.into_iter().zip([b'k', b'l', b'm']) {
        header[32] = key;
        file.as_file().write_all_at(&header[24..], at).expect("a pair is written");
    }
    let sentence = Checkpoint::open(file.path()).map(|_| ()).expect_err("a broken file").to_string();
    assert!(sentence.contains("the length of the header up to the value of metadata key `l`"), "{sentence}");
}

/// The refusal of a file that begins with `header` and is `len` bytes long, the rest a hole.
fn refusal_of_sparse(header: &[u8], len: u64) -> String {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(header).expect("the header is written");
    file.as_file().set_len(len).expect("the file is made long");
    Checkpoint::open(file.path()).map(|_| ()).expect_err("a broken file").to_string()
}

#[test]
fn unknown_value_types_are_errors_not_loops() {
    for id in [13, 255, u32::MAX] {
        refused(writer().kv("k", Value::Raw(id, vec![0; 64])), &["`k`", "unknown type", &id.to_string()]);
        refused(
            writer().kv("k", array(id, 3, &[0; 64])),
            &["an item of", "`k`", "unknown type", &id.to_string()],
        );
        refused(writer().kv("k", array(id, 0, &[])), &["unknown type"]);
    }
    refused(writer().kv("k", array(ARRAY_TYPE, 1, &[0; 64])), &["`k`", "array of arrays"]);
    refused(writer().kv("k", array(ARRAY_TYPE, 0, &[])), &["`k`", "array of arrays"]);
}

#[test]
fn bools_and_text_are_checked() {
    refused(writer().kv("k", Value::Raw(7, vec![2])), &["`k`", "bool with the byte 2"]);
    refused(writer().kv("k", array(7, 3, &[0, 1, 7])), &["`k`", "bool with the byte 7"]);
    let bad_text = [2, 0, 0, 0, 0, 0, 0, 0, b'a', 0xFF];
    refused(writer().kv("k", Value::Raw(STRING_TYPE, bad_text.to_vec())), &["`k`", "not valid UTF-8"]);
    refused(writer().kv("k", array(STRING_TYPE, 1, &bad_text)), &["string 0 of", "`k`", "not valid UTF-8"]);
}

#[test]
fn names_occur_once() {
    refused(writer().kv("k", 1u32).kv("k", 2u32), &["metadata key `k` occurs twice"]);
    let twice = writer().tensor("t", F32, &[1], &[0; 4]).tensor("t", F32, &[1], &[0; 4]);
    refused(twice, &["tensor name `t` occurs twice"]);
    // A name that tries to write to the terminal is escaped.
    refused(writer().kv("\x1b[2J", 1u32).kv("\x1b[2J", 2u32), &["`\\u{1b}[2J`"]);
}

#[test]
fn alignment_is_a_power_of_two_within_the_limit() {
    for alignment in [0u32, 3, 48, 1 << 21, u32::MAX] {
        refused(writer().kv("general.alignment", alignment), &["`general.alignment`", "power of two"]);
    }
    refused(writer().kv("general.alignment", "32"), &["`general.alignment`", "a string", "an integer"]);
    refused(writer().kv("general.alignment", -32), &["`general.alignment`", "-32", "u32"]);
    let tensor = writer().alignment(64).tensor_at("t", F32, &[1], 32);
    refused(tensor, &["`t`", "offset 32", "multiple of 64"]);
    refused(writer().tensor_at("t", F32, &[1], 4), &["`t`", "offset 4", "multiple of 32"]);
}

#[test]
fn shapes_are_checked() {
    refused(writer().tensor_at("t", F32, &[], 0), &["`t`", "0 dimensions", "1 to 4"]);
    refused(writer().tensor_at("t", F32, &[1; 5], 0), &["`t`", "5 dimensions", "1 to 4"]);
    refused(writer().tensor_at("t", F32, &[4, 0], 0), &["`t`", "[4, 0]", "at least 1"]);
    refused(writer().tensor_at("t", Q4_K, &[128, 2], 0), &["`t`", "128", "Q4_K", "multiple of 256"]);
    for shape in
        [&[1u64 << 62, 2, 2, 2][..], &[u64::MAX][..], &[1 << 32, 1 << 32][..], &[1 << 31, 1 << 31][..]]
    {
        refused(writer().tensor_at("t", F32, shape, 0), &["`t`", "larger than any file"]);
    }
    refused(writer().tensor_at("t", F32, &[8], u64::MAX - 31), &["`t`", "larger than any file"]);
    // Start and length each fit, the end does not.
    refused(writer().tensor_at("t", F32, &[64], u64::MAX - 95), &["`t`", "larger than any file"]);
    // 2^64 elements wrap to 0 where a product is unchecked.
    refused(writer().tensor_at("t", Q4_K, &[1 << 32, 1 << 32], 0), &["`t`", "larger than any file"]);
}

#[test]
fn unsupported_types_are_named() {
    for (id, name) in [
        (15, "Q8_K"),
        (34, "TQ1_0"),
        (41, "Q1_0"),
        (28, "F64"),
        (99, "the unknown id 99"),
        (u32::MAX, "the unknown id 4294967295"),
    ] {
        refused(writer().tensor_at("blk.0.w", id, &[256], 0), &["`blk.0.w`", name, "Q4_K, Q5_K"]);
    }
}

#[test]
fn tensors_do_not_overlap() {
    let data = writer().tensor("a", F32, &[16], &[0; 64]);
    refused(
        data.clone().tensor_at("b", F32, &[16], 32).tensor("c", F32, &[8], &[0; 32]),
        &["`a`", "`b`", "overlap"],
    );
    refused(data.clone().tensor_at("b", F32, &[16], 0), &["overlap"]);
    let apart = data.tensor("b", F32, &[16], &[0; 64]).finish();
    assert_eq!(Checkpoint::from_bytes("m.gguf", &apart).map(|c| c.tensors().len()).ok(), Some(2));
}

#[test]
fn a_download_that_stopped_early_says_how_much_is_missing() {
    // The header of a file of 4 GiB, with one MiB of data.
    let file = writer()
        .tensor("token_embd.weight", F32, &[1 << 18], &[0; 1 << 20])
        .tensor_at("blk.0.attn_q.weight", F32, &[1 << 15, 1 << 15], 1 << 20)
        .tensor_at("output_norm.weight", F32, &[1 << 10], (1 << 20) + (1 << 32))
        .finish();
    let data_start = file.len() - (1 << 20);
    let needed = data_start as u64 + (1 << 20) + (1 << 32) + 4096;
    refused_bytes(
        &file,
        &[
            "is incomplete",
            &format!("holds {} bytes", file.len()),
            "`output_norm.weight`",
            &needed.to_string(),
        ],
    );
}

fn small_file() -> Vec<u8> {
    writer()
        .kv("general.architecture", "llama")
        .kv("llama.block_count", 2u32)
        .kv("tokenizer.ggml.tokens", vec!["<s>", "a", "Ġb"])
        .kv("tokenizer.ggml.scores", vec![0.0f32, -1.0, -2.0])
        .kv("flag", true)
        .tensor("token_embd.weight", F32, &[4, 3], &[1; 48])
        .tensor("blk.0.attn_q.weight", Q4_K, &[256, 1], &[2; 144])
        .finish()
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let file = small_file();
    // The padding behind the last tensor may be missing; nothing else may.
    let last_needed = file.len() - (160 - 144);
    for len in 0..last_needed {
        refusal(&file[..len]);
    }
    assert!(Checkpoint::from_bytes("m.gguf", &file[..last_needed]).is_ok());
}

#[test]
fn a_header_may_end_where_the_file_ends() {
    let file = GgufWriter::new(3).alignment(1).kv("last", "value").finish();
    assert!(file.ends_with(b"value"));
    let checkpoint = Checkpoint::from_bytes("m.gguf", &file).expect("a good file");
    assert_eq!(checkpoint.metadata().required_str("last").ok(), Some("value"));
}

/// Uses every getter; a broken value may be refused, never more.
fn touch(checkpoint: &Checkpoint, len: u64) {
    let metadata = checkpoint.metadata();
    for (key, value) in metadata.iter() {
        assert!(metadata.get(key).is_some());
        assert!(!value.kind().is_empty());
        let _ = (metadata.str(key), metadata.u32(key), metadata.f32(key), metadata.bool(key));
        let _ = (metadata.strings(key), metadata.i32s(key), metadata.u32s(key), metadata.f32s(key));
    }
    for tensor in checkpoint.tensors() {
        assert!(tensor.pieces[0].codes.offset + tensor.bytes <= len);
        assert_eq!(tensor.row_bytes() * tensor.rows(), tensor.bytes);
        assert_eq!(checkpoint.tensor(&tensor.name), Some(tensor));
    }
}

proptest! {
    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut file = small_file();
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if let Ok(checkpoint) = Checkpoint::from_bytes("m.gguf", &file) {
            touch(&checkpoint, file.len() as u64);
        }
    }

    #[test]
    fn random_headers_never_panic(tail in prop::collection::vec(any::<u8>(), 0..200), counts in any::<[u8; 2]>()) {
        let mut file = b"GGUF\x03\0\0\0".to_vec();
        file.extend(u64::from(counts[0] % 4).to_le_bytes());
        file.extend(u64::from(counts[1] % 4).to_le_bytes());
        file.extend(tail);
        if let Ok(checkpoint) = Checkpoint::from_bytes("m.gguf", &file) {
            touch(&checkpoint, file.len() as u64);
        }
    }
}
