//! Everything that can be wrong with a model file, one sentence each.
//!
//! Names that come from a file are cut and escaped by [`shown`] before they enter a message, so that a hostile file
//! cannot write control characters to a terminal.

use std::path::PathBuf;

/// Why a model cannot be used.
#[allow(missing_docs, reason = "each variant's sentence says what its fields are")]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot open {path}: {source}", path = path.display())]
    Open { path: PathBuf, source: std::io::Error },
    #[error("{path} is not a file: expected one of a model", path = path.display())]
    NotAFile { path: PathBuf },
    #[error(
        "{path} is a folder without {missing}: expected a GGUF file, or a folder with config.json, tokenizer.json and model.safetensors",
        path = path.display()
    )]
    NoModel { path: PathBuf, missing: &'static str },
    #[error("cannot read {len} bytes at offset {offset} of {file}: {source}")]
    Read { file: String, offset: u64, len: u64, source: std::io::Error },
    #[error("cannot read {len} bytes at offset {offset} of {file}, which holds {held} bytes")]
    ReadBeyond { file: String, offset: u64, len: u64, held: u64 },

    #[error("{file} is not a GGUF file: expected it to begin with the bytes `GGUF`, found `{found}`")]
    NotGguf { file: String, found: String },
    #[error("{file} is a big-endian GGUF file: only little-endian files are supported")]
    BigEndian { file: String },
    #[error("{file} is a GGUF file of version {found}: expected version 2 or 3")]
    Version { file: String, found: u32 },
    #[error("{file} is cut off: {place} needs {needed} bytes, {remaining} remain in the file")]
    HeaderCut { file: String, place: String, needed: u128, remaining: u64 },
    #[error("{file}: {place} is {found}, more than the limit of {max}")]
    Limit { file: String, place: String, found: u64, max: u64 },
    #[error("{file}: {place} is not valid UTF-8")]
    Text { file: String, place: String },
    #[error("{file}: {place} is a bool with the byte {found}: expected 0 or 1")]
    Bool { file: String, place: String, found: u8 },
    #[error("{file}: {place} has the unknown type {found}: expected a type id from 0 to 12")]
    ValueType { file: String, place: String, found: u32 },
    #[error("{file}: {place} is an array of arrays: only arrays of numbers, bools and strings are supported")]
    NestedArray { file: String, place: String },
    #[error("{file}: metadata key {key} occurs twice")]
    DuplicateKey { file: String, key: String },
    #[error("{file}: `general.alignment` is {found}: expected a power of two up to {max}")]
    Alignment { file: String, found: u32, max: u64 },

    #[error("{file}: metadata key `{key}` is missing")]
    MissingKey { file: String, key: String },
    #[error("{file}: metadata key `{key}` holds {found}: expected {expected}")]
    WrongType { file: String, key: String, expected: &'static str, found: &'static str },
    #[error("{file}: metadata key `{key}` holds the number {found}: expected one that fits {expected}")]
    OutOfRange { file: String, key: String, expected: &'static str, found: String },

    #[error("{file}: tensor {tensor} has {found} dimensions: expected 1 to {max}")]
    DimCount { file: String, tensor: String, found: u32, max: u32 },
    #[error("{file}: tensor {tensor} has the shape {shape:?}: expected every dimension to be at least 1")]
    EmptyTensor { file: String, tensor: String, shape: Vec<u64> },
    #[error("{file}: tensor {tensor} of shape {shape:?} is larger than any file can be")]
    TensorTooLarge { file: String, tensor: String, shape: Vec<u64> },
    #[error(
        "{file}: tensor {tensor} has the element type {found}, which is not supported: expected one of {known}"
    )]
    Dtype { file: String, tensor: String, found: String, known: String },
    #[error("{file}: tensor {tensor} has rows of {cols} elements: {dtype} needs a multiple of {block_len}")]
    PartialBlock { file: String, tensor: String, cols: u64, dtype: &'static str, block_len: usize },
    #[error(
        "{file}: tensor {tensor} starts at offset {offset} of the data: expected a multiple of {alignment}"
    )]
    Misaligned { file: String, tensor: String, offset: u64, alignment: u64 },
    #[error("{file}: the data of tensors {first} and {second} overlap")]
    Overlap { file: String, first: String, second: String },
    #[error("{file}: the tensor name {tensor} occurs twice")]
    DuplicateTensor { file: String, tensor: String },
    #[error("{file} is incomplete: the file holds {held} bytes, tensor {tensor} needs it to hold {needed}")]
    DataCut { file: String, held: u64, tensor: String, needed: u64 },

    #[error(
        "{file} is part of a split model of {count} files: expected a name that ends in `-{no:05}-of-{count:05}.gguf`"
    )]
    PartName { file: String, no: u32, count: u32 },
    #[error("part {no} of {count} of the model is missing: expected it at {path}", path = path.display())]
    PartMissing { no: u32, count: u32, path: PathBuf },
    #[error(
        "{file} does not belong to the set: expected part {no} of {count}, its metadata says part {found_no} of {found_count}"
    )]
    PartMismatch { file: String, no: u32, count: u32, found_no: u32, found_count: u32 },
    #[error("{file}: the split model states {expected} tensors, its {count} parts hold {found}")]
    SplitTensorCount { file: String, expected: u32, count: usize, found: usize },
    #[error("{file} is one part of a model split into {count} files: expected a whole model")]
    PartOnly { file: String, count: u32 },

    #[error("{file} is not the JSON that it should be: {reason}")]
    Json { file: String, reason: String },
    #[error("{file}: {key}: expected {expected}, found {found}")]
    Field { file: String, key: String, expected: Box<str>, found: Box<str> },
    #[error(
        "{file}: the data of tensor {tensor} goes from {begin} to {end}: expected a range within the {held} bytes of data"
    )]
    TensorRange { file: String, tensor: String, begin: u64, end: u64, held: u64 },
    #[error("{file}: tensor {tensor} of {form} has {found} bytes: expected {expected}")]
    TensorLength { file: String, tensor: String, form: String, expected: u64, found: u64 },
    #[error("{file}: the weights are said to be in {shard}: expected the name of a file in the same folder")]
    ShardName { file: String, shard: String },
    #[error("the weight file {path} is missing, which {file} names", path = path.display())]
    ShardMissing { file: String, path: PathBuf },
    #[error("{file}: tensor {tensor} is said to be in {shard}, which does not hold it")]
    NotInShard { file: String, tensor: String, shard: String },
    #[error("{file}: tensor {tensor} is missing; the architecture needs it")]
    MissingTensor { file: String, tensor: String },
    #[error(
        "{file}: tensor {tensor}: expected the shape {expected:?} (slowest dimension first), found {found:?}"
    )]
    Shape { file: String, tensor: String, expected: Box<[u64]>, found: Box<[u64]> },
    #[error("{file}: tensor {tensor} is stored as {found}: expected {expected}")]
    Element { file: String, tensor: String, expected: &'static str, found: String },
    #[error("{file}: tensor {tensor} is stored in another way than that of the first expert")]
    MixedExperts { file: String, tensor: String },
    #[error("{file}: nothing is known of tensor {tensor}, and of {more} more")]
    UnknownTensor { file: String, tensor: String, more: usize },
}

/// A name from a file as it is shown in a message: between backquotes, escaped, at most 100 characters.
#[must_use]
pub fn shown(name: &str) -> String {
    const CHARS_MAX: usize = 100;
    let mut out = String::from("`");
    out.extend(name.chars().take(CHARS_MAX).flat_map(char::escape_debug));
    if name.chars().nth(CHARS_MAX).is_some() {
        out.push('…');
    }
    out.push('`');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_is_cut_and_escaped() {
        assert_eq!(shown("blk.0.attn_q.weight"), "`blk.0.attn_q.weight`");
        assert_eq!(shown("\x1b[31m\n"), "`\\u{1b}[31m\\n`");
        assert_eq!(shown(&"x".repeat(1 << 20)).chars().count(), 103);
    }
}
