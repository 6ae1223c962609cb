//! Formats that go through tables: IQ2_XXS and IQ4_XS.

use shoal_quant::{iq2_xxs, iq4_nl, iq4_xs};

use super::blocks_32::{nibbles, raw_nibbles};
use super::{Codes, FourCodes, Raw, Scales, Stored};
use crate::lanes::{Blocks, Columns, Vector, by_column, columns_16, written_out};

pub(crate) struct Iq4Xs;

impl Stored<{ iq4_xs::BYTES }> for Iq4Xs {
    const GROUPS: usize = 8;
    const SPAN: usize = 1;
    const SUB: usize = 32;
    const CODES: Codes = Codes::Signed;

    #[inline(always)]
    fn raw<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq4_xs::BYTES }>, span: usize) -> Raw<V> {
        raw_nibbles(v, blocks, iq4_xs::QS + 16 * span)
    }
    #[inline(always)]
    fn codes<V: Vector>(v: V, raw: &Raw<V>, _span: usize, k: usize) -> FourCodes<V> {
        let codes = v.bias_signed(v.lookup(&iq4_nl::VALUES, nibbles(v, raw, k)));
        [codes, v.zero(), v.zero(), v.zero()]
    }
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq4_xs::BYTES }>) -> Scales<V> {
        let mut out = Scales::one(v, v.f16(v.words(blocks, 0)));
        [out.words[0], out.words[1]] = [v.words(blocks, iq4_xs::SCALES_L), v.words(blocks, 0)];
        out
    }
    #[inline(always)]
    fn scale<V: Vector>(v: V, scales: &Scales<V>, j: usize) -> V::Floats {
        let [low, high, ..] = scales.words;
        let four = v.and(v.srl_32(low, 4 * j), v.splat_32(15));
        let two = v.and(v.srl_32(high, 16 + 2 * j), v.splat_32(3));
        let int = v.sub_32(v.or(four, v.sll_32(two, 4)), v.splat_32(32));
        v.mul(scales.d, v.to_floats(int))
    }
}

/// Groups of eight magnitudes, each a word of eight bytes.
static GRID: [u64; 256] = {
    let mut words = [0; 256];
    let mut i = 0;
    while i < words.len() {
        let mut j = 0;
        while j < 8 {
            words[i] |= (iq2_xxs::GRID[i][j] as u64) << (8 * j);
            j += 1;
        }
        i += 1;
    }
    words
};

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

pub(crate) struct Iq2Xxs;

/// Where group `group` of a block begins.
const fn group_at(group: usize) -> usize {
    2 + 8 * group
}

/// By column the magnitudes of a group.
#[inline(always)]
fn magnitudes<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq2_xxs::BYTES }>, group: usize) -> Columns<V> {
    let mut rows = [v.zero(); 8];
    written_out!(i in 0..8 => {
        let mut pair = [[0; 4]; 2];
        for half in 0..V::ROWS / 8 {
            let indices: &[u8; 4] = blocks.part(V::pair(i)[half], group_at(group));
            for g in 0..4 {
                pair[half][g] = GRID[usize::from(indices[g])];
            }
        }
        rows[i] = v.rows_8_by_4(pair);
    });
    by_column(v, rows)
}

/// All ones in the bytes of codes 4k..4k + 4 that are negative. `word` has seven sign bits for each eight codes.
#[inline(always)]
fn negative<V: Vector>(v: V, word: V::Ints, k: usize) -> V::Ints {
    let seven = v.and(v.srl_32(word, 7 * (k / 2)), v.splat_32(127));
    let folded = v.and(v.xor(seven, v.srl_32(seven, 4)), v.splat_32(15));
    let eight = v.or(seven, v.and(v.lookup(&EIGHTH_SIGN, folded), v.splat_32(128)));
    let own_bits = v.splat_32(if k.is_multiple_of(2) { 0x0804_0201 } else { 0x8040_2010_u32 as i32 });
    v.where_bits(v.spread_byte(eight, 0), own_bits, 255)
}

impl Stored<{ iq2_xxs::BYTES }> for Iq2Xxs {
    const GROUPS: usize = 8;
    const SPAN: usize = 2;
    const SUB: usize = 32;
    const CODES: Codes = Codes::Offset(6);

    /// The magnitudes of two groups, then the words of their signs.
    #[inline(always)]
    fn raw<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq2_xxs::BYTES }>, span: usize) -> Raw<V> {
        let mut signs = [v.zero(); 8];
        [_, signs[0], _, signs[1]] = columns_16(v, blocks, group_at(2 * span));
        [magnitudes(v, blocks, 2 * span), magnitudes(v, blocks, 2 * span + 1), signs]
    }
    #[inline(always)]
    fn codes<V: Vector>(v: V, raw: &Raw<V>, _span: usize, k: usize) -> FourCodes<V> {
        let mut out = [v.zero(); 4];
        for s in 0..2 {
            let negative = negative(v, raw[2][s], k);
            let signed = v.sub_8(v.xor(raw[s][k], negative), negative);
            out[s] = v.sub_8(signed, v.splat_8(192)); // 64 added, modulo 256
        }
        out
    }
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq2_xxs::BYTES }>) -> Scales<V> {
        // The last four bits of each of eight groups: two of them to a word.
        let mut out = Scales::one(v, v.mul(v.f16(v.words(blocks, 0)), v.splat_f(0.25)));
        for pair in 0..4 {
            let words = columns_16(v, blocks, group_at(2 * pair));
            out.words[pair] = v.or(v.srl_32(words[1], 28), v.sll_32(v.srl_32(words[3], 28), 4));
        }
        out
    }
    #[inline(always)]
    fn scale<V: Vector>(v: V, scales: &Scales<V>, j: usize) -> V::Floats {
        // d (0.5 + s) / 4, exact in any order of its factors.
        let s = v.and(v.srl_32(scales.words[j / 2], 4 * (j % 2)), v.splat_32(15));
        v.mul(scales.d, v.fma(v.to_floats(s), v.splat_f(1.0), v.splat_f(0.5)))
    }
}
