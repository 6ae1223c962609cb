//! Named limits on everything that untrusted input can make large.
//!
//! A limit is generous for every file and prompt that is known to exist and small against memory.

/// Longest string in a model file, in bytes.
pub const STRING_BYTES_MAX: u64 = 64 << 20;
/// Most key-value pairs in a model file.
pub const METADATA_COUNT_MAX: u64 = 1 << 20;
/// Most tensors in a model file.
pub const TENSOR_COUNT_MAX: u64 = 1 << 20;
/// Most dimensions of a tensor.
pub const TENSOR_DIMS_MAX: u32 = 4;
/// Most parts of a split model file.
pub const SPLIT_COUNT_MAX: u32 = 1024;
/// Longest header of a safetensors file, in bytes: the format's own limit.
pub const SAFETENSORS_HEADER_BYTES_MAX: u64 = 100_000_000;
/// Longest JSON file of a model, in bytes: the largest known, an index or a tokenizer, have some 15 MB.
pub const JSON_BYTES_MAX: u64 = 32 << 20;
/// Largest alignment of tensor data, in bytes.
pub const ALIGNMENT_MAX: u64 = 1 << 20;
/// Most tokens in a vocabulary.
pub const VOCAB_COUNT_MAX: usize = 1 << 22;
/// Longest chat template, in bytes.
pub const TEMPLATE_BYTES_MAX: usize = 1 << 20;
/// Most decoder layers.
pub const LAYER_COUNT_MAX: u32 = 1024;
/// Most routed experts in a layer.
pub const EXPERT_COUNT_MAX: u32 = 4096;
/// Widest hidden state, head or feed-forward layer, in elements.
pub const WIDTH_MAX: u32 = 1 << 20;
/// Longest context, in tokens.
pub const CONTEXT_LEN_MAX: u32 = 1 << 24;
