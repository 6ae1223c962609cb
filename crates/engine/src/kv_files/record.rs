//! What stands in a file of a block.
//!
//! ```text
//! magic        8   "shoalKV1"
//! name        32   the prefix up to the end of the block
//! before      32   the prefix before it
//! tokens     256   64 ids, four bytes each, the lowest first
//! rows        ..   layer after layer, f32, the lowest byte first
//! checksum     4   CRC-32 of all before
//! ```
//! Who reads one knows all of it but the rows, so anything else than what is expected is no block at all.

use shoal_base::TokenId;
use shoal_model::kv_cache::BLOCK_LEN;

use crate::prefix::PrefixName;

const MAGIC: &[u8; 8] = b"shoalKV1";
pub(super) const HEAD_BYTES: usize = MAGIC.len() + 32 + 32 + BLOCK_LEN * 4;
pub(super) const TAIL_BYTES: usize = 4;

/// A block and where it belongs.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The prefix up to its end.
    pub name: PrefixName,
    /// The prefix before it.
    pub before: PrefixName,
    /// Its tokens.
    pub tokens: &'a [TokenId],
    /// Its rows.
    pub rows: &'a [u8],
}

/// Bytes of a file whose rows take `rows` bytes.
pub(super) const fn len(rows: usize) -> usize {
    HEAD_BYTES + rows + TAIL_BYTES
}

/// The bytes of a file.
pub(super) fn encode(record: &Record<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len(record.rows.len()));
    bytes.extend_from_slice(&head(record));
    bytes.extend_from_slice(record.rows);
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Whether `bytes` are a sound file of the block that is expected, of whatever rows, `row_bytes` of them.
#[must_use]
pub fn check(bytes: &[u8], expected: &Record<'_>, row_bytes: usize) -> bool {
    let Some((body, tail)) = bytes.split_last_chunk::<TAIL_BYTES>() else { return false };
    bytes.len() == len(row_bytes)
        && expected.tokens.len() == BLOCK_LEN
        && body.starts_with(&head(expected))
        && crc32fast::hash(body) == u32::from_le_bytes(*tail)
}

fn head(record: &Record<'_>) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(record.name.as_bytes());
    head.extend_from_slice(record.before.as_bytes());
    head.extend(record.tokens.iter().flat_map(|token| token.0.to_le_bytes()));
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_byte_is_noticed() {
        let tokens: Vec<TokenId> = (0..BLOCK_LEN as u32).map(TokenId).collect();
        let before = PrefixName::root(b"");
        let rows = [7; 40];
        let record = Record { name: before.then(&tokens), before, tokens: &tokens, rows: &rows };
        let bytes = encode(&record);
        assert!(check(&bytes, &record, rows.len()));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 16;
            assert!(!check(&changed, &record, rows.len()), "byte {at}");
            assert!(!check(&bytes[..at], &record, rows.len()), "cut at {at}");
        }
        assert!(!check(&bytes, &record, rows.len() + 4));
        let other = Record { before: PrefixName::root(b"x"), ..record };
        assert!(!check(&bytes, &other, rows.len()));
    }
}
