//! Patterns of magnitudes found by column, where hundreds of bytes can be looked up at once (see [`Tables`]).
//!
//! The tables have each code of a pattern as its magnitude's number, of which there are at most four or eight: a pattern of
//! eight codes has 2 bits for each, one of four has 3, so a pattern is two bytes, and a byte of four patterns of every row is one
//! lookup for each 256 patterns. The codes of a column are cut out of that, their signs laid beside them, and both
//! looked up as what is multiplied:
//!
//! ```text
//! bit 1: sign in an even column · bits 2, 3, 4: number of the magnitude · bit 5: sign in an odd column
//! ```
//! Two columns share one cut through the signs, which are four bits apart there. No other bit is looked at.

use crate::lanes::{Blocks, Columns, Tables, Vector};

/// One byte of each of 256 patterns.
#[repr(align(64))]
pub(super) struct Bytes256([u8; 256]);

/// A table of packed patterns, 256 at a time: the lower byte of each and the upper one.
pub(super) type Packed<const PIECES: usize> = [[Bytes256; PIECES]; 2];

/// The codes for the last index, in even columns and in odd ones.
#[repr(align(64))]
pub(super) struct SignedCodes([[u8; 64]; 2]);

/// By column four indices of every row.
pub(super) struct Indices<V: Vector> {
    /// Their lowest eight bits.
    pub(super) low: V::Ints,
    /// Where the bits above those are,
    pub(super) above: V::Ints,
    /// and which they are: that of 256 and that of 512. Not looked at where the table has no more patterns.
    pub(super) own: [V::Ints; 2],
}

impl<V: Vector> Indices<V> {
    /// Indices of eight bits.
    #[inline(always)]
    pub(super) fn of_bytes(v: V, low: V::Ints) -> Self {
        Self { low, above: v.zero(), own: [v.zero(); 2] }
    }
}

/// A format with patterns of magnitudes, in blocks of `BYTES` bytes.
pub(super) trait Patterns<const BYTES: usize> {
    /// Codes of a pattern: 8 or 4.
    const LEN: usize;
    /// What is added to codes, as a power of two.
    const OFFSET_LOG2: u32;
    /// The lower bytes of the packed patterns, and the upper ones.
    const PACKED: [&'static [Bytes256]; 2];
    /// The codes for a number and a sign.
    const SIGNED_CODES: &'static SignedCodes;
    /// By column indices `4 * word` and following of group `group`.
    fn indices<V: Vector>(
        v: V,
        tables: V::Tables,
        blocks: &Blocks<'_, V, BYTES>,
        group: usize,
        word: usize,
    ) -> Indices<V>;
    /// By column the patterns of a group, fetched one by one.
    fn fetched<V: Vector>(v: V, blocks: &Blocks<'_, V, BYTES>, group: usize) -> Columns<V>;
}

/// Packs a table whose codes are among `magnitudes`.
pub(super) const fn packed<const LEN: usize, const COUNT: usize, const PIECES: usize>(
    grid: &[[i8; LEN]; COUNT],
    magnitudes: &[i8],
) -> Packed<PIECES> {
    const { assert!(COUNT == 256 * PIECES) };
    let mut out = [const { [const { Bytes256([0; 256]) }; PIECES] }; 2];
    let mut at = 0;
    while at < COUNT {
        let pattern = packed_pattern(&grid[at], magnitudes).to_le_bytes();
        out[0][at / 256].0[at % 256] = pattern[0];
        out[1][at / 256].0[at % 256] = pattern[1];
        at += 1;
    }
    out
}

/// Bits of a code in a packed pattern of `len`.
const fn bits_of_code(len: usize) -> usize {
    if len == 8 { 2 } else { 3 }
}

const fn packed_pattern<const LEN: usize>(pattern: &[i8; LEN], magnitudes: &[i8]) -> u16 {
    let mut word = 0;
    let mut j = 0;
    while j < LEN {
        let mut number = 0;
        while magnitudes[number] != pattern[j] {
            number += 1;
        }
        word |= (number as u16) << (bits_of_code(LEN) * j);
        j += 1;
    }
    word
}

/// The codes for the last index: magnitudes with their signs and `1 << offset_log2` added. What number there is with two bits
/// does not depend on the third.
pub(super) const fn signed_codes(magnitudes: &[i8], offset_log2: u32) -> SignedCodes {
    let mut out = [[0; 64]; 2];
    let mut at = 0;
    while at < 128 {
        let (column, index) = (at / 64, at % 64);
        let number = (index >> 2) % if magnitudes.len() > 4 { 8 } else { 4 };
        if number < magnitudes.len() {
            let negative = index >> [1, 5][column] & 1 == 1;
            let signed = if negative { -magnitudes[number] } else { magnitudes[number] };
            out[column][index] = ((1 << offset_log2) + signed as i32) as u8;
        }
        at += 1;
    }
    SignedCodes(out)
}

/// The packed patterns of a group of every row, for [`codes`].
#[inline(always)]
pub(super) fn look_up<V: Vector, F: Patterns<B>, const B: usize>(
    v: V,
    tables: V::Tables,
    blocks: &Blocks<'_, V, B>,
    group: usize,
) -> Columns<V> {
    let mut out = [v.zero(); 8];
    for word in 0..8 / F::LEN {
        let indices = F::indices(v, tables, blocks, group, word);
        let lower = look_up_bytes(v, tables, F::PACKED[0], &indices);
        let upper = look_up_bytes(v, tables, F::PACKED[1], &indices);
        if F::LEN == 8 {
            // Four codes are one byte.
            [out[0], out[1]] = [lower, upper];
        } else {
            // Four codes are both bytes: brought together, for even patterns and for odd ones.
            let evens = v.splat_32(0x00FF_00FF);
            out[2 * word] = bits_of_either(v, evens, lower, v.sll_16(upper, 8));
            out[2 * word + 1] = bits_of_either(v, evens, v.srl_16(lower, 8), upper);
        }
    }
    out
}

#[inline(always)]
fn look_up_bytes<V: Vector>(
    v: V,
    tables: V::Tables,
    pieces: &'static [Bytes256],
    indices: &Indices<V>,
) -> V::Ints {
    let mut found = [v.zero(); 4];
    for piece in 0..pieces.len() {
        found[piece] = tables.lookup_256(&pieces[piece].0, indices.low);
    }
    for bit in 0..pieces.len().ilog2() as usize {
        for pair in 0..pieces.len() >> (bit + 1) {
            let [a, b] = [found[2 * pair], found[2 * pair + 1]];
            found[pair] = tables.choose(indices.above, indices.own[bit], a, b);
        }
    }
    found[0]
}

/// Codes 4k..4k + 4 of a group with their signs and offset, from what [`look_up`] found and a word of signs.
#[inline(always)]
pub(super) fn codes<V: Vector, F: Patterns<B>, const B: usize>(
    v: V,
    tables: V::Tables,
    packed: &Columns<V>,
    signs: V::Ints,
    k: usize,
) -> V::Ints {
    // A pattern is two columns, or one that is 16 bits in one of two registers.
    let (register, first) =
        if F::LEN == 8 { (k % 2, 8 * (k / 2)) } else { (2 * (k / 4) + k % 2, 16 * (k / 2 % 2)) };
    let numbers = tables.fields(packed[register], first as i32 - 2, bits_of_code(F::LEN) as i32);
    let signs = tables.fields(signs, 8 * (k / 2) as i32 - 1, 1);
    tables.lookup_64(&F::SIGNED_CODES.0[k % 2], bits_of_either(v, v.splat_8(0b1_1100), numbers, signs))
}

/// The bits of `a` where `mask` has ones, those of `b` elsewhere.
#[inline(always)]
pub(super) fn bits_of_either<V: Vector>(v: V, mask: V::Ints, a: V::Ints, b: V::Ints) -> V::Ints {
    v.xor(b, v.and(mask, v.xor(a, b)))
}

/// Eight bits, from bit `first` on, of each half of two words: four bytes.
#[inline(always)]
pub(super) fn bytes_of_fours<V: Vector>(
    v: V,
    tables: V::Tables,
    low: V::Ints,
    high: V::Ints,
    first: i32,
) -> V::Ints {
    let (low, high) = (tables.fields(low, first, 16), tables.fields(high, first - 32, 16));
    bits_of_either(v, v.splat_32(0xFFFF), low, high)
}
