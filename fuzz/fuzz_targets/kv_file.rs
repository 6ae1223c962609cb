//! Files of KV blocks: whatever stands in one, it is the block that is expected or none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_base::TokenId;
use shoal_engine::kv_files::{Record, check};
use shoal_engine::prefix::PrefixName;

fuzz_target!(|input: &[u8]| {
    let tokens: Vec<TokenId> = (0..64).map(TokenId).collect();
    let before = PrefixName::root(b"");
    let record = Record { name: before.then(&tokens), before, tokens: &tokens, rows: &[] };
    for rows in [0, 4, input.len(), usize::MAX / 2] {
        assert!(!check(input, &record, rows) || input.starts_with(b"shoalKV1"));
    }
});
