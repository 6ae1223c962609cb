//! What the formats with a table of patterns share: groups of four or eight codes by index, and signs by bits.
//!
//! Where hundreds of entries can be looked up at once, magnitudes are (`packed_patterns`). No instruction below AVX-512 VBMI can,
//! so each row fetches its own with plain loads, and from there on all is done by column. Patterns of eight codes are put together in registers. Those of four are twice
//! as many, too many to write out for every row, and go through memory, each being one row's element of one column.
//! Codes come out of the table as magnitudes, and signs are put on them afterwards.

use super::packed_patterns::{self, Patterns};
use super::{FourCodes, Raw, Scales, where_own_bit};
use crate::lanes::{Blocks, Columns, Tables, Vector, by_column, columns_16, written_out};

/// A format with patterns of eight codes, in blocks of `BYTES` bytes.
pub(super) trait Eights<const BYTES: usize> {
    /// The patterns of group `group` of one block, as the table has them.
    fn patterns(block: &[u8; BYTES], group: usize) -> [u64; 4];
}

/// A format with patterns of four codes, in blocks of `BYTES` bytes.
pub(super) trait Fours<const BYTES: usize> {
    /// The patterns of group `group` of one block, as the table has them.
    fn patterns(block: &[u8; BYTES], group: usize) -> [u32; 8];
}

/// A table as words, the first code in the lowest byte: of each code `factor` times that plus `offset`.
pub(super) const fn eights_as_words<const COUNT: usize>(
    grid: &[[i8; 8]; COUNT],
    factor: i8,
    offset: i8,
) -> [u64; COUNT] {
    let mut words = [0; COUNT];
    let mut at = 0;
    while at < 8 * COUNT {
        let code = factor * grid[at / 8][at % 8] + offset;
        words[at / 8] |= (code as u8 as u64) << (8 * (at % 8));
        at += 1;
    }
    words
}

/// A table as words, the first code in the lowest byte.
pub(super) const fn fours_as_words<const COUNT: usize>(grid: &[[i8; 4]; COUNT]) -> [u32; COUNT] {
    let mut words = [0; COUNT];
    let mut at = 0;
    while at < 4 * COUNT {
        words[at / 4] |= (grid[at / 4][at % 4] as u8 as u32) << (8 * (at % 4));
        at += 1;
    }
    words
}

/// The `N` bytes at `at` of a block.
#[inline(always)]
pub(super) fn part<const N: usize>(block: &[u8], at: usize) -> &[u8; N] {
    block[at..].first_chunk().expect("the part lies within the block")
}

/// By column the patterns of a group of every row.
#[inline(always)]
pub(super) fn eights<V: Vector, F: Eights<B>, const B: usize>(
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

/// By column the patterns of a group of every row.
#[inline(always)]
pub(super) fn fours<V: Vector, F: Fours<B>, const B: usize>(
    v: V,
    blocks: &Blocks<'_, V, B>,
    group: usize,
) -> Columns<V> {
    let mut memory = [[0; 64]; 8];
    fetch_fours::<V, F, B>(blocks, group, &mut memory);
    let memory = V::as_bytes_mut(&mut memory);
    let mut columns = [v.zero(); 8];
    for k in 0..8 {
        columns[k] = v.load(&memory[k]);
    }
    columns
}

/// Writes the patterns of a group: the k-th of every row to register k.
///
/// Not inlined: written out for every row and group it would not fit into the cache of instructions. It has no
/// instruction that is not everywhere.
#[inline(never)]
fn fetch_fours<V: Vector, F: Fours<B>, const B: usize>(
    blocks: &Blocks<'_, V, B>,
    group: usize,
    memory: &mut [[u8; 64]; 8],
) {
    let elements = memory.as_flattened_mut().as_chunks_mut::<4>().0;
    for row in 0..V::ROWS {
        let patterns = F::patterns(blocks.part(row, 0), group);
        for k in 0..8 {
            elements[k * V::ROWS + row] = patterns[k].to_le_bytes();
        }
    }
}

/// The words of both groups of span `span`, from those of all groups at `at`.
#[inline(always)]
pub(super) fn words_of_span<V: Vector, const B: usize>(
    v: V,
    blocks: &Blocks<'_, V, B>,
    at: usize,
    span: usize,
) -> [V::Ints; 2] {
    let [a, b, c, d] = columns_16(v, blocks, at + 16 * (span / 2));
    if span.is_multiple_of(2) { [a, b] } else { [c, d] }
}

/// A word of every row for each of two groups, as the third part of what is kept of a span.
#[inline(always)]
pub(super) fn two_words<V: Vector>(v: V, first: V::Ints, second: V::Ints) -> Columns<V> {
    let mut columns = [v.zero(); 8];
    [columns[0], columns[1]] = [first, second];
    columns
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

/// Seven bits of signs completed to eight.
static EVEN_SIGNS: [u8; 128] = {
    let mut signs = [0; 128];
    let mut sevens = 0;
    while sevens < signs.len() {
        signs[sevens] = (sevens | (sevens.count_ones() as usize % 2) << 7) as u8;
        sevens += 1;
    }
    signs
};

/// Completes the seven signs of every byte so that an even number is negative. The eighth bit is zero, or anything where there
/// are tables.
#[inline(always)]
pub(super) fn with_even_parity<V: Vector>(v: V, seven: V::Ints) -> V::Ints {
    if let Some(tables) = v.tables() {
        return tables.lookup_128(&EVEN_SIGNS, seven);
    }
    let folded = v.and(v.xor(seven, v.srl_16(seven, 4)), v.splat_8(15));
    v.or(seven, v.lookup(&EIGHTH_SIGN, folded))
}

/// The signs of a group, a bit each, from a word that has seven of each eight from its lowest bit on.
#[inline(always)]
pub(super) fn even_signs<V: Vector>(v: V, word: V::Ints) -> V::Ints {
    if let Some(tables) = v.tables() {
        return with_even_parity(v, tables.fields(word, 0, 7));
    }
    let mut sevens = v.and(word, v.splat_32(127));
    for byte in 1..4 {
        sevens = v.or(sevens, v.and(v.sll_32(word, byte), v.splat_32(127 << (8 * byte))));
    }
    with_even_parity(v, sevens)
}

/// Both groups of a span and their words of signs, as [`two_signed`] takes them.
#[inline(always)]
pub(super) fn two_groups<V: Vector, F: Patterns<B>, const B: usize>(
    v: V,
    blocks: &Blocks<'_, V, B>,
    span: usize,
    [first, second]: [V::Ints; 2],
) -> Raw<V> {
    [
        group_of_patterns::<V, F, B>(v, blocks, 2 * span),
        group_of_patterns::<V, F, B>(v, blocks, 2 * span + 1),
        two_words(v, first, second),
    ]
}

/// The patterns of a group of every row: packed where they are looked up, magnitudes by column where they are fetched.
#[inline(always)]
fn group_of_patterns<V: Vector, F: Patterns<B>, const B: usize>(
    v: V,
    blocks: &Blocks<'_, V, B>,
    group: usize,
) -> Columns<V> {
    match v.tables() {
        Some(tables) => packed_patterns::look_up::<V, F, B>(v, tables, blocks, group),
        None => F::fetched(v, blocks, group),
    }
}

/// Codes 4k..4k + 4 of two groups of patterns whose words are their signs, with the offset added.
#[inline(always)]
pub(super) fn two_signed<V: Vector, F: Patterns<B>, const B: usize>(
    v: V,
    raw: &Raw<V>,
    k: usize,
) -> FourCodes<V> {
    let mut out = [v.zero(); 4];
    for s in 0..2 {
        out[s] = match v.tables() {
            Some(tables) => packed_patterns::codes::<V, F, B>(v, tables, &raw[s], raw[2][s], k),
            None => with_signs(v, raw[s][k], raw[2][s], k, F::OFFSET_LOG2),
        };
    }
    out
}

/// Magnitudes 4k..4k + 4 of a group with the signs that are bits of `signs`, and `1 << offset_log2` added.
#[inline(always)]
fn with_signs<V: Vector>(v: V, magnitudes: V::Ints, signs: V::Ints, k: usize, offset_log2: u32) -> V::Ints {
    let negative = where_own_bit(v, signs, k, 255);
    let signed = v.sub_8(v.xor(magnitudes, negative), negative);
    v.sub_8(signed, v.splat_8((1u8 << offset_log2).wrapping_neg()))
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
    let [first, ..] = columns_16(v, blocks, 0);
    Scales::one(v, v.mul(v.f16(first), v.splat_f(factor)))
}
