//! What the formats with a table of patterns share: groups of four or eight codes by index, and signs by bits.
//!
//! No instruction below AVX-512 VBMI looks hundreds of entries up at once, so each row fetches its own with plain loads,
//! 32 codes of it make half of a register by row, and from there on all is done by column. Codes come out of the table
//! as magnitudes, and signs are put on them afterwards.

use super::{FourCodes, Raw, Scales, where_own_bit};
use crate::lanes::{Blocks, Columns, Vector, by_column, written_out};

/// A format whose groups are indices into a table, in blocks of `BYTES` bytes.
pub(super) trait Patterned<const BYTES: usize> {
    /// The 32 codes of group `group` of one block, eight to a word, as the table has them.
    fn patterns(block: &[u8; BYTES], group: usize) -> [u64; 4];
}

/// A table as words, the first code in the lowest byte: of each code `factor` times that plus `offset`.
pub(super) const fn words<const LEN: usize, const COUNT: usize>(
    grid: &[[i8; LEN]; COUNT],
    factor: i8,
    offset: i8,
) -> [u64; COUNT] {
    let mut words = [0; COUNT];
    let mut at = 0;
    while at < LEN * COUNT {
        let code = factor * grid[at / LEN][at % LEN] + offset;
        words[at / LEN] |= (code as u8 as u64) << (8 * (at % LEN));
        at += 1;
    }
    words
}

/// The `N` bytes at `at` of a block.
#[inline(always)]
pub(super) fn part<const N: usize>(block: &[u8], at: usize) -> &[u8; N] {
    block[at..].first_chunk().expect("the part lies within the block")
}

/// The patterns of two groups of every row, by column, and a word of each row for each of them.
#[inline(always)]
pub(super) fn two_groups<V: Vector, F: Patterned<B>, const B: usize>(
    v: V,
    blocks: &Blocks<'_, V, B>,
    span: usize,
    words: [V::Ints; 2],
) -> Raw<V> {
    let mut more = [v.zero(); 8];
    [more[0], more[1]] = words;
    [group::<V, F, B>(v, blocks, 2 * span), group::<V, F, B>(v, blocks, 2 * span + 1), more]
}

#[inline(always)]
fn group<V: Vector, F: Patterned<B>, const B: usize>(
    v: V,
    blocks: &Blocks<'_, V, B>,
    group: usize,
) -> Columns<V> {
    let mut rows = [v.zero(); 8];
    written_out!(i in 0..8 => {
        let mut pair = [[0; 4]; 2];
        for half in 0..V::ROWS / 8 {
            pair[half] = F::patterns(blocks.part(V::pair(i)[half], 0), group);
        }
        rows[i] = v.rows_8_by_4(pair);
    });
    by_column(v, rows)
}

/// The eighth sign of seven, for the exclusive or of their two nibbles: negative where an odd number of them is.
const EIGHTH_SIGN: [i8; 16] = {
    let mut signs = [0; 16];
    let mut nibble = 0;
    while nibble < signs.len() {
        if nibble.count_ones() % 2 == 1 {
            signs[nibble] = i8::MIN;
        }
        nibble += 1;
    }
    signs
};

/// Completes the seven signs of every byte, the eighth bit of which is zero, so that an even number is negative.
#[inline(always)]
pub(super) fn with_even_parity<V: Vector>(v: V, seven: V::Ints) -> V::Ints {
    let folded = v.and(v.xor(seven, v.srl_16(seven, 4)), v.splat_8(15));
    v.or(seven, v.lookup(&EIGHTH_SIGN, folded))
}

/// The signs of a group, a bit each, from a word that has seven of each eight from its lowest bit on.
#[inline(always)]
pub(super) fn even_signs<V: Vector>(v: V, word: V::Ints) -> V::Ints {
    let mut sevens = v.and(word, v.splat_32(127));
    for byte in 1..4 {
        sevens = v.or(sevens, v.and(v.sll_32(word, byte), v.splat_32(127 << (8 * byte))));
    }
    with_even_parity(v, sevens)
}

/// Codes 4k..4k + 4 of two groups of magnitudes whose words are their signs, with `1 << offset_log2` added.
#[inline(always)]
pub(super) fn two_signed<V: Vector>(v: V, raw: &Raw<V>, k: usize, offset_log2: u32) -> FourCodes<V> {
    let mut out = [v.zero(); 4];
    for s in 0..2 {
        let negative = where_own_bit(v, raw[2][s], k, 255);
        let signed = v.sub_8(v.xor(raw[s][k], negative), negative);
        out[s] = v.sub_8(signed, v.splat_8((1u8 << offset_log2).wrapping_neg()));
    }
    out
}

/// The scale `d (n + 1/2)` for bits `at..at + bits` of `word`. Every format here has it, with d times a power of two;
/// it is exact in any order of its factors.
#[inline(always)]
pub(super) fn scale_and_half<V: Vector>(
    v: V,
    scales: &Scales<V>,
    word: V::Ints,
    at: usize,
    bits: u32,
) -> V::Floats {
    let n = v.and(v.srl_32(word, at), v.splat_32((1 << bits) - 1));
    v.mul(scales.d, v.add_f(v.to_floats(n), v.splat_f(0.5)))
}

/// The f16 at the beginning of every block, times `factor`, a power of two.
#[inline(always)]
pub(super) fn first_f16_times<V: Vector, const B: usize>(
    v: V,
    blocks: &Blocks<'_, V, B>,
    factor: f32,
) -> Scales<V> {
    Scales::one(v, v.mul(v.f16(v.words(blocks, 0)), v.splat_f(factor)))
}
